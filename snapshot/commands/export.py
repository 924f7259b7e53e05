"""Write recorded calls into one file, with all their values, for another store."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from snapshot.commands import stores
from snapshot.errors import UsageError
from snapshot.store import wording

USAGE = "FILE ID... | FILE --function F | FILE --all [--store WHERE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which calls, and where to."""
    parser.add_argument("file", metavar="FILE", help="the file; it must not be there yet")
    stores.add_calls(parser)
    parser.add_argument("--all", action="store_true", help="all calls")
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Write it, and say how many calls it has. Raises `UsageError`, `StoreError`."""
    from snapshot.store import archive

    path = Path(options.file)
    if os.path.exists(path):
        raise UsageError(f"{path} is there already: name another file")
    with stores.store(options) as store:
        numbers = stores.chosen(options, store, everything=options.all)
        written = wording.so_many(archive.write(store, numbers, path), "call")
        stores.tell(f"wrote {written} to {path}")
    return 0
