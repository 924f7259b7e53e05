"""Large values are pickled in the background: by a fork, which has them as they are now."""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Callable
from typing import Any

from snapshot.core import process
from snapshot.core.process import Exit
from snapshot.errors import CannotFork
from snapshot.replay.contents import ATOMS

_PID = struct.Struct("<i")
_FREE, _BEGUN = 0, -1
_LONG = 600  # seconds that a fork has; one that waits for a lock of another thread's waits for ever
_LEVELS = 4  # down to which a value is looked into to estimate its size
_SAMPLES = 3  # elements of a container that stand for all


class Background:
    """The forks of a process that pickle, so many at a time as it has processors.

    They are nobody's children: nothing has to wait for them, and nothing is told of their ends.
    """

    def __init__(self) -> None:
        self._pids = mmap.mmap(
            -1, _PID.size * (os.cpu_count() or 1)
        )  # which the forks write to, too

    def run(self, work: Callable[[], None]) -> bool:
        """Let a fork do some work. False where there can be none now: then nothing was done."""
        place = next(filter(self._is_free, range(0, len(self._pids), _PID.size)), None)
        if place is None:
            return False
        _PID.pack_into(self._pids, place, _BEGUN)
        try:
            is_parent = not process.fork_apart()
        except CannotFork:
            _PID.pack_into(self._pids, place, _FREE)
            return False
        if is_parent:
            return True
        try:
            _PID.pack_into(self._pids, place, os.getpid())
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_LONG)
            work()
        finally:
            _PID.pack_into(self._pids, place, _FREE)
            process.exit_now(Exit(code=0))

    def _is_free(self, place: int) -> bool:
        (pid,) = _PID.unpack_from(self._pids, place)
        return pid == _FREE or (pid != _BEGUN and process.has_ended(pid, 0))


def estimated(value: Any, levels: int = _LEVELS) -> int:
    """About how many bytes a value has, from a few of its parts."""
    kind = type(value)
    if kind in (bytes, bytearray, str):
        return len(value)
    if kind in ATOMS or not levels:
        return 8
    if kind is dict:
        return _of_several(value.keys(), levels) + _of_several(value.values(), levels)
    if kind in (list, tuple, set, frozenset):
        return _of_several(value, levels)
    try:
        own = getattr(value, "nbytes", None)
        attributes = getattr(value, "__dict__", {})
    except Exception:  # anybody's code
        return 8
    if type(own) is int:
        return own
    return 8 + sum(estimated(each, levels - 1) for each in [*attributes.values()])


def _of_several(values: Any, levels: int) -> int:
    samples = [each for each, _ in zip(values, range(_SAMPLES), strict=False)]
    if not samples:
        return 8
    return len(values) * sum(estimated(each, levels - 1) for each in samples) // len(samples)
