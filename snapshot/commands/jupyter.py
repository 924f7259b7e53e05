"""Make the kernel "Python (snapshot)" known to Jupyter, or remove it.

In a notebook with this kernel every cell leaves a state that can be travelled back to, and a cell
that crashes costs nothing but itself. Without an option it is installed for all users;
--sys-prefix is for the Jupyter of this virtual environment.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec

from snapshot.errors import UsageError

USAGE = "install [--user | --sys-prefix | --prefix DIR] | remove"

_NEEDED = ("ipykernel", "jupyter_client")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do, and where."""
    parser.add_argument("action", choices=("install", "remove"))
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for this user alone")
    where.add_argument(
        "--sys-prefix",
        dest="prefix",
        action="store_const",
        const=sys.prefix,
        help=f"for this Python: below {sys.prefix}".replace("%", "%%"),
    )
    where.add_argument("--prefix", metavar="DIR", help="below this directory")


def execute(options: argparse.Namespace) -> int:
    """Do it, and print the folder. Raises `UsageError`."""
    if options.action == "remove" and (options.user or options.prefix):
        raise UsageError("remove takes no option: what Jupyter finds is removed")
    for name in _NEEDED:
        if find_spec(name) is None:
            raise UsageError(
                f"there is no {name}, which the kernel needs: pip install 'snapshot[jupyter]'"
            )
    from snapshot.repl.kernel import spec

    if options.action == "install":
        print("installed", spec.install(user=options.user, prefix=options.prefix))
    else:
        print("removed", spec.remove())
    return 0
