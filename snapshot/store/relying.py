"""Who relies on files that are there: a lock that whoever deletes files waits for.

A recorder does not write a large value whose file is there, and tells of it in its spool a moment
later. Whoever deletes files first takes their names away, then waits until all that relied on
something before has been told, and then looks into the spools. Who comes later finds no file, and
writes one. A process that is killed relies on nothing any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

from snapshot.errors import StoreError
from snapshot.store.place import private

_LONG = 1.0  # seconds; the lock is nobody's alone for longer than it takes to let it go
_PATIENCE = 5.0  # seconds to wait for values that are being told
_STEP = 0.002


class Reliance:
    """On the files of a folder.

    open: descriptors with the lock, by the threads that rely on something.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid = os.getpid()
        self.open: dict[int, int] = {}

    def begin(self) -> None:
        """Until its `end`, this thread relies on what is there. Raises OSError, `StoreError`."""
        self._arrive()
        thread = threading.get_ident()
        if thread in self.open:
            return
        private(self._folder)
        fd = self._opened()
        try:
            if not _locked(fd, fcntl.LOCK_SH, _LONG):
                raise StoreError(f"{self._folder} is locked by a process that deletes, and stands")
        except BaseException:
            os.close(fd)
            raise
        self.open[thread] = fd

    def end(self) -> None:
        """All that this thread relied on has been told, or never will be."""
        self._arrive()
        fd = self.open.pop(threading.get_ident(), None)
        if fd is not None:
            fcntl.flock(fd, fcntl.LOCK_UN)  # a fork may have the descriptor, too
            os.close(fd)

    def settle(self) -> bool:
        """Wait until nobody relies on what was there before; whether that is so now."""
        try:
            fd = self._opened()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            return _locked(fd, fcntl.LOCK_EX, _PATIENCE)
        finally:
            os.close(fd)

    def _opened(self) -> int:
        return os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _arrive(self) -> None:
        """In a fork: what threads of the parent rely on is the parent's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            while self.open:
                with contextlib.suppress(OSError):
                    os.close(self.open.popitem()[1])


def _locked(fd: int, how: int, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_STEP)
        except OSError:  # there are no locks here: whoever deletes finds out, and leaves the files
            return how == fcntl.LOCK_SH
        else:
            return True
