"""Write a program, or a test, that makes a recorded call again.

The program runs from anywhere, and says whether what came of the call is what was recorded. With
--pytest it is a test, with the arguments written as literals where they can be.
"""

from __future__ import annotations

import argparse

from snapshot.commands import stores
from snapshot.errors import UsageError
from snapshot.replay.executions import number_of

USAGE = "ID [--pytest] [-o FILE] [--store WHERE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which call, and what to write where."""
    parser.add_argument("id", metavar="ID", help="the id of a call")
    parser.add_argument("--pytest", action="store_true", help="write a test")
    parser.add_argument("-o", dest="output", metavar="FILE", help="where; it must not be there yet")
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Write it. Raises `UnknownCall`, `UsageError`, `StoreError`."""
    from snapshot.replay.scripts import pytest_script, reanimation_script

    with stores.store(options) as store:
        call = store.calls.get(number_of(options.id))
        text = (pytest_script if options.pytest else reanimation_script)(store, call)
    if options.output is None:
        stores.write(text)
        return 0
    try:
        with open(options.output, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{options.output} is there already: name another file") from None
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror}") from None
    stores.tell(f"wrote {options.output}")
    return 0
