"""What a call costs whose entry is frozen, against a bare fork: `-m benchmarks.rewindable`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

import psutil

from benchmarks.harness import (
    bare,
    by_turns,
    compare,
    main,
    megabytes,
    milliseconds,
    show,
    small_objects,
    small_pages,
    timed,
)
from snapshot import rewindable


@rewindable
def nothing() -> None:
    """Return at once."""


@rewindable
def deep(left: int) -> None:
    """Call itself."""
    if left:
        deep(left - 1)


def _against_bare(what: str, rounds: int, at_most: float | None = None) -> None:
    by_turns(5, partial(timed, nothing), partial(timed, bare))  # not counted: all is loaded now
    ours, floor = by_turns(rounds, partial(timed, nothing), partial(timed, bare))
    compare(f"{what}: a call", ours, floor, "bare", at_most)


def small() -> None:
    heap = small_pages(10 << 20)
    _against_bare("10 MiB", 500, at_most=1.5)
    heap.close()


def pages() -> None:
    heap = small_pages(1 << 30)
    _against_bare("1 GiB of 4 KiB pages", 50, at_most=1.2)
    heap.close()


def objects() -> None:
    heap = small_objects(5_000_000)
    _against_bare("5 M small objects", 50, at_most=1.2)
    heap.clear()


def pipes() -> None:
    """The fork has to part from them before the call goes on."""
    ends = [os.pipe() for _ in range(5)]
    _against_bare("five pipes are open", 500)
    for fd in (each for pair in ends for each in pair):
        os.close(fd)


def many() -> None:
    """What a hundred thousand calls leave."""
    process = psutil.Process()
    nothing()
    before = process.memory_info().rss, process.num_fds(), len(process.children())
    begun = time.perf_counter()
    _times(100_000, nothing)
    took = time.perf_counter() - begun
    memory, *rest = process.memory_info().rss, process.num_fds(), len(process.children())
    assert tuple(rest) == before[1:], rest
    more = megabytes(memory - before[0])
    show("100,000 calls", f"{milliseconds(took / 100_000)} each; they leave {more}")
    show("a recursion of 300 calls", f"{milliseconds(timed(partial(deep, 300)) / 300)} each")


def _times(count: int, action: Callable[[], object]) -> None:
    for _ in range(count):
        action()


if __name__ == "__main__":
    cases = {
        "small": small,
        "pages": pages,
        "objects": objects,
        "pipes": pipes,
        "many": many,
    }
    raise SystemExit(main("benchmarks.rewindable", cases))
