"""Where results are: an open store, and whoever runs what is not in it yet, once in a process."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path

from snapshot.core.background import Background
from snapshot.errors import DamagedStore
from snapshot.memo import ops
from snapshot.memo.flight import Flight
from snapshot.store import Store
from snapshot.store.place import Place, place
from snapshot.store.results import Results

_PATIENCE = 5.0  # seconds to wait for others that write: whoever calls a function can do without


class Backend:
    """One store.

    flight: who runs what. background: forks in which what is stale is computed anew.
    """

    def __init__(self, where: Place) -> None:
        self.place = where
        self.flight = Flight(where.folder)
        self.background = Background()
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """Opened, and made, when it is first needed. Raises `StoreError`."""
        if self._store is None:
            self._store = Store(self.place, create=True, patience=_PATIENCE)
            ops.tell("index_read", name=str(self.place))
        return self._store

    @property
    def results(self) -> Results:
        """See `store`."""
        return (self._store or self.store).results

    def is_lost(self) -> bool:
        """Whether its file was deleted, or another one was put in its place; it is opened anew."""
        if self._store is None or self._store.is_the_same:
            return False
        self.close()
        return True

    def put_aside(self, error: DamagedStore) -> str:
        """Give a damaged store another name and begin a new one; what was done, in a sentence."""
        if self.is_lost():
            return f"{error}; it is another one now"
        self.close()
        if self.place.url is not None or not os.access(self.place.path, os.W_OK):
            return str(error)
        kept = self.place.path.with_name(f"{self.place.path.name}.damaged-{time.time_ns()}")
        for end in ("-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.rename(f"{self.place.path}{end}", f"{kept}{end}")
        try:
            os.rename(self.place.path, kept)
        except OSError as problem:
            return f"{error}; it cannot be renamed: {problem.strerror}"
        return f"{error}: it is {kept} now, and a new one was begun"

    def close(self) -> None:
        """Have no file open until it is used again."""
        if self._store is not None:
            self._store.close()
            self._store = None
        self.flight.close()


class Temporary(Backend):
    """One that is gone when the process that has made it exits."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="snapshot-memo-")
        super().__init__(place(Path(self._folder, "store.db")))
        self._end = weakref.finalize(self, _remove, self._folder, os.getpid(), self.flight)


def _remove(folder: str, pid: int, flight: Flight) -> None:
    flight.close()
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


_backends: dict[str, Backend] = {}


def backend(where: str | os.PathLike[str] | None) -> Backend:
    """The one of a store, see `store.place.place`. Raises `UsageError`."""
    found = place(where)
    name = found.url or str(found.path)
    if name not in _backends:
        _backends[name] = Backend(found)
    return _backends[name]


def close_all() -> None:
    """Have no file of any store open until it is used again."""
    for each in _backends.values():
        each.close()
