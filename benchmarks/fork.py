"""A snapshot that is reverted at once, against bare fork, exit and wait: `-m benchmarks.fork`."""

from __future__ import annotations

import os

from benchmarks.harness import (
    bare,
    by_turns,
    compare,
    main,
    milliseconds,
    show,
    small_objects,
    small_pages,
    timed,
)
from snapshot import revert, snapshot

os.environ["SNAPSHOT_QUIET"] = "1"


def there_and_back() -> None:
    """Take a snapshot; the experiment ends at once."""
    if snapshot():
        revert()


def _against_bare(what: str, rounds: int, at_most: float) -> None:
    show(f"{what}: the first snapshot", milliseconds(timed(there_and_back)))
    ours, floor = by_turns(rounds, lambda: timed(there_and_back), lambda: timed(bare))
    compare(f"{what}: snapshot and revert", ours, floor, "bare", at_most)


def small() -> None:
    heap = small_pages(10 << 20)
    _against_bare("10 MiB", 500, at_most=2.0)
    heap.close()


def pages() -> None:
    heap = small_pages(1 << 30)
    _against_bare("1 GiB of 4 KiB pages", 50, at_most=1.2)
    heap.close()


def objects() -> None:
    heap = small_objects(5_000_000)
    _against_bare("5 M small objects", 50, at_most=1.2)
    heap.clear()


def objects_and_writer() -> None:
    """The same with a file open for writing: then the first snapshot looks for its buffers."""
    heap = small_objects(5_000_000)
    with open(os.devnull, "w"):
        _against_bare("5 M objects, one open file", 50, at_most=1.2)
    heap.clear()


if __name__ == "__main__":
    cases = {
        "small": small,
        "pages": pages,
        "objects": objects,
        "objects_and_writer": objects_and_writer,
    }
    raise SystemExit(main("benchmarks.fork", cases))
