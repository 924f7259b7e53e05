"""Work in the background: by a fork, which has everything as it is now."""

from __future__ import annotations

import mmap
import os
import signal
import struct
from collections.abc import Callable

from snapshot.core import process
from snapshot.core.process import Exit
from snapshot.errors import CannotFork

_PID = struct.Struct("<i")
_FREE, _BEGUN = 0, -1
_LONG = 600  # seconds that a fork has; one that waits for a lock of another thread's waits for ever


class Background:
    """The forks of a process that work for it, so many at a time as it has processors.

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
