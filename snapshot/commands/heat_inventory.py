"""The application that the commands of `snapshot heat` are about."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snapshot.commands import stores

if TYPE_CHECKING:
    from snapshot.heat.inventory import Inventory


def add_root(parser: argparse.ArgumentParser) -> None:
    """Which application."""
    parser.add_argument(
        "--root", metavar="FOLDER", help="of the root marker, or one below; default: here"
    )


def inventory_of(root: str | None) -> Inventory:
    """That of the application; what could not be read, and globs for nothing, are said.

    Raises `UsageError` where there is no root marker, `CannotRead`.
    """
    from snapshot.heat.inventory import functions_in

    with progress("files are read") as step:
        inventory = functions_in(root, progress=step)
    stores.say(inventory.marker.unmatched())
    stores.say(f"{each.path} {each.reason}: skipped" for each in inventory.skipped)
    return inventory


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A line on a terminal, for what is done step by step, perhaps several times."""
    bars: list[stores.Progress] = []

    def step(number: int, total: int) -> None:
        if not number:
            bars[:] = [stores.Progress(total, what)]
        bars[0].step()

    try:
        yield step
    finally:
        for each in bars:
            each.close()
