"""Delete recorded calls, and the values that nothing else refers to."""

from __future__ import annotations

import argparse
import time

from snapshot.commands import stores
from snapshot.errors import UsageError
from snapshot.store import wording

_DIGITS = 18  # of a number of calls

USAGE = (
    "ID... | --function F [--keep-last N] | --older-than AGE [--function F] "
    "[--dry-run] [--store WHERE]"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which calls."""
    stores.add_calls(parser)
    parser.add_argument("--keep-last", metavar="N", help="all but the last N of the function")
    parser.add_argument("--older-than", metavar="AGE", help="12h, 7d, 2w")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Delete them, and say how many. Raises `UsageError`, `UnknownCall`, `StoreError`."""
    keep = options.keep_last
    if keep is not None and (
        not keep.isdecimal() or len(keep) > _DIGITS or options.function is None
    ):
        raise UsageError("--keep-last goes with --function, and is a number")
    with stores.store(options) as store:
        if options.older_than is not None:
            if options.ids or keep is not None:
                raise UsageError("--older-than goes with --function alone")
            until = time.time() - wording.seconds(options.older_than)
            if options.function is not None:
                stores.of_function(store, options.function)
            numbers = [each.id for each in store.calls.find(function=options.function, until=until)]
        else:
            numbers = stores.chosen(options, store, everything=False)
            if keep is not None:
                numbers = numbers[: max(0, len(numbers) - int(keep))]
        if options.dry_run:
            which = f": {', '.join(map(str, numbers))}" if numbers else ""
            stores.tell(f"would delete {wording.so_many(len(numbers), 'call')}{which}")
        else:
            stores.tell(f"deleted {wording.so_many(store.delete(numbers), 'call')}")
    return 0
