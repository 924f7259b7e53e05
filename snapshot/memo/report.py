"""What memo saved, said at exit where somebody wants to know."""

from __future__ import annotations

import atexit
import functools
import os
import sys
import weakref
from typing import Protocol


class Counted(Protocol):
    """A memoized function: how often its results were used here, and the seconds of that."""

    name: str
    hits: int
    misses: int
    saved: float
    spent: float

    @property
    def is_verbose(self) -> bool: ...


_functions: weakref.WeakSet[Counted] = weakref.WeakSet()


def add(memoized: Counted) -> None:
    """One whose group may want a report."""
    _functions.add(memoized)
    _register(os.getpid())


@functools.cache
def _register(pid: int) -> None:
    atexit.register(_say, pid)


def _say(pid: int) -> None:
    if os.getpid() != pid:
        return
    told = [each for each in _functions if each.is_verbose and each.hits + each.misses]
    for each in sorted(told, key=lambda each: each.name):
        print(line(each), file=sys.stderr)


def line(memoized: Counted) -> str:
    """`snapshot.memo: m:f: 3 hits saved 1.2 s, 1 miss took 0.4 s`."""
    hits = f"{memoized.hits} hit{'' if memoized.hits == 1 else 's'}"
    misses = f"{memoized.misses} miss{'' if memoized.misses == 1 else 'es'}"
    return (
        f"snapshot.memo: {memoized.name}: {hits} saved {memoized.saved:.3g} s, "
        f"{misses} took {memoized.spent:.3g} s"
    )
