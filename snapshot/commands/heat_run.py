"""Run a program as Python would, and count the calls of the application's functions.

It is `snapshot heat run`. The exit status is Python's.
"""

from __future__ import annotations

import argparse

from snapshot import commands
from snapshot.commands import stores
from snapshot.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How the functions are traced, and the program."""
    from snapshot.store.heat import MODES

    parser.add_argument("--mode", choices=MODES, default="activity")
    parser.add_argument("--deployment", metavar="NAME", help="default: what git has checked out")
    stores.add_place(parser)
    commands.add_program(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the program, and count; see `launcher.exit_status` for what comes back."""
    from snapshot.heat import tracing
    from snapshot.repl import failure, launcher

    program = commands.program(options)
    if program is None:
        raise UsageError("nothing to run: give a script, -m module or -c code")
    main = launcher.Main(program)
    tracing.start(options.root, options.mode, store=options.store, deployment=options.deployment)
    ended = main.run()
    if ended is not None and not isinstance(ended, SystemExit):
        failure.show(ended)
    return launcher.exit_status(ended)
