"""Free what the store does not need: values that nothing refers to, and the room they took."""

from __future__ import annotations

import argparse

from snapshot.commands import stores

USAGE = "[--store WHERE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which store."""
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Free it, and say how much. Raises `StoreError`."""
    with stores.store(options) as store:
        freed = store.vacuum()
        stores.tell(f"{store.place}: freed {freed} value{'' if freed == 1 else 's'}")
    return 0
