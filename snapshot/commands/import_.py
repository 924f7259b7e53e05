"""Take the calls of a file that `snapshot export` has written into a store, under new ids.

The values in it are pickles: to load one later, as `snapshot replay` does, runs code that it names.
Import what comes from those whom you trust.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from snapshot.commands import stores
from snapshot.store import Store, wording

USAGE = "FILE [--store WHERE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where from, and where to."""
    parser.add_argument("file", metavar="FILE", help="the file")
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Take it in, and say how many calls that were. Raises `CannotRead`, `StoreError`."""
    from snapshot.store import archive

    found = archive.records(Path(options.file))  # before a store is made
    with Store(options.store, create=True, trust=options.trust) as store:
        stores.tell(f"imported {wording.so_many(store.take_in(found), 'call')}")
    return 0
