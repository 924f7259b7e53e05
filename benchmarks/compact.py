"""What `compact` makes of the cost of a fork: `python -m benchmarks.compact`.

Both buffers are in one process all the time. Whichever is not meant is kept out of the fork
(MADV_DONTFORK), so that forks of the one and of the other can take turns.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable

from benchmarks.fork import there_and_back
from benchmarks.harness import (
    bare,
    by_turns,
    compare,
    huge_bytes,
    main,
    megabytes,
    show,
    small_objects,
    small_pages,
    timed,
)
from snapshot import compact


def pages() -> None:
    compacted = small_pages(1 << 30)
    compacted.madvise(mmap.MADV_HUGEPAGE)  # allow again what was not allowed while it was filled
    show("1 GiB of 4 KiB pages: compact()", str(compact()))
    show("1 GiB of 4 KiB pages: in huge pages then", megabytes(huge_bytes()))
    untouched = small_pages(1 << 30)

    def without(other: mmap.mmap, action: Callable[[], None]) -> float:
        other.madvise(mmap.MADV_DONTFORK)
        seconds = timed(action)
        other.madvise(mmap.MADV_DOFORK)
        return seconds

    there_and_back()
    ours, floor, small = by_turns(
        50,
        lambda: without(untouched, there_and_back),
        lambda: without(untouched, bare),
        lambda: without(compacted, bare),
    )
    compare("1 GiB compacted: bare", floor, small, "bare uncompacted", at_most=0.15)
    compare("1 GiB compacted: snapshot and revert", ours, small, "bare uncompacted", at_most=0.15)


def objects() -> None:
    """One heap before and after: the two cannot take turns."""
    heap = small_objects(5_000_000)
    there_and_back()
    [before] = by_turns(30, lambda: timed(bare))
    show("5 M small objects: compact()", str(compact()))
    ours, floor = by_turns(30, lambda: timed(there_and_back), lambda: timed(bare))
    compare("5 M small objects compacted: bare", floor, before, "before")
    compare("5 M small objects compacted: snapshot and revert", ours, before, "bare before")
    heap.clear()


if __name__ == "__main__":
    raise SystemExit(main("benchmarks.compact", {"pages": pages, "objects": objects}))
