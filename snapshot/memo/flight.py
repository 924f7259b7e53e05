"""Single flight: of several callers of one key, one runs the function, and the others wait."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Hashable
from pathlib import Path

from snapshot.store.place import private

_OFFSETS = 0x7FFF_FFFF_FFFF_FFFF


class Flight:
    """Who runs what, among the threads and processes that share a folder.

    Each key is a byte of one file, which its runner locks (POSIX record locks, fcntl(2)): the
    kernel lets it go however the process ends, and no fork holds it.

    What was under way when this process was forked is not waited for: who runs it may wait for
    this fork, and stands still in a snapshot.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fd = -1
        self._before: frozenset[bytes] = frozenset()
        self._clear()

    def _clear(self) -> None:
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._running: dict[bytes, _Run] = {}
        self._ending = False

    def _arrive(self) -> None:
        """In a fork: what runs is the parent's, and so are the locks."""
        if self._pid != os.getpid():
            self._before = self._before.union(self._running)
            self._clear()

    def begin(self, key: bytes, runner: Hashable, *, wait: bool = True) -> bool:
        """Be the one that runs a key, for which others wait; `end` must follow.

        runner: the same where a call is inside another one of this key, which it does not wait for.
        wait: until the one that runs it is done. Else it is False where there is one.
        """
        self._arrive()
        own, outer = _Run(runner), None
        try:
            while True:
                with self._mutex:
                    run = self._running.setdefault(key, own)
                    if run is own:
                        break
                    if run.runner == runner:
                        outer = run
                        outer.depth += 1
                        return True
                if not wait:
                    return False
                run.done.wait()
            before = key in self._before
            if self._lock(key, wait=wait and not before) or before:
                return True
        except BaseException:  # Ctrl-C, at any moment
            if outer is not None:
                outer.depth -= 1
            elif self._running.get(key) is own:
                self.end(key)
            raise
        self._leave(key)
        return False

    def _lock(self, key: bytes, *, wait: bool) -> bool:
        """Where there are no locks, everybody runs it: that is slower, and not wrong."""
        try:
            with self._mutex:
                if self._fd < 0:
                    self._fd = self._opened()
            fcntl.lockf(
                self._fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, _offset(key), 0
            )
        except OSError as error:
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def _opened(self) -> int:
        private(self._folder)
        path = self._folder / "running"
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def end(self, key: bytes) -> None:
        """It is done, one way or another. If a Ctrl-C interrupts this, it is to be called again."""
        self._arrive()
        run = self._running.get(key)
        if run is None:
            return  # it was begun before the fork
        if run.depth:
            run.depth -= 1
            return
        with contextlib.suppress(OSError):
            if self._fd >= 0:
                fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _offset(key), 0)
        self._leave(key)

    def _leave(self, key: bytes) -> None:
        with self._mutex:
            self._running[key].done.set()  # whoever was waiting looks when the mutex is free
            del self._running[key]
            self._close_if_idle()

    def close(self) -> None:
        """Have no file open as soon as nothing is under way: closing lets all locks go."""
        self._arrive()
        with self._mutex:
            self._ending = True
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._ending and not self._running:
            self._ending = False
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


class _Run:
    """One that is under way. depth: of the calls inside it that are for the same key."""

    def __init__(self, runner: Hashable) -> None:
        self.runner = runner
        self.depth = 0
        self.done = threading.Event()


def _offset(key: bytes) -> int:
    return int.from_bytes(key[:8], "little") & _OFFSETS
