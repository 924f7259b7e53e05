"""What all pages share: the store, how the server was started, and the secrets of its forms."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from snapshot.errors import StoreError
from snapshot.store import Store
from snapshot.store.place import Place, place
from snapshot.web.jobs import Jobs
from snapshot.web.safety import Keys


@dataclass(frozen=True)
class Options:
    """How the server was started.

    store: where it is, None for the default. trust: load its values, whoever may have written
    them. read_only: nothing is changed, and no code of the user's runs. root: a folder of the
    application whose heat is shown. exporting: the pages are written into files.
    """

    store: str | os.PathLike[str] | None = None
    trust: bool = False
    read_only: bool = False
    root: str | os.PathLike[str] = "."
    exporting: bool = False


class _Open:
    """An open store, and how many read in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.users = 0


class Site:
    """One for each server.

    options: how it was started. keys: its secrets. jobs: what it does in the background. place:
    where the store is. begun: when it was made, in seconds since 1970. left_out: what of the store
    could not be taken in, in lines.
    """

    def __init__(self, options: Options) -> None:
        """Raises `UsageError` if there can be no store at that place."""
        self.options = options
        self.keys = Keys()
        self.jobs = Jobs()
        self.place: Place = place(options.store)
        self.begun = time.time()
        self.left_out: list[str] = []
        self.closing = False
        self._lock = threading.Lock()
        self._open: _Open | None = None

    @property
    def title(self) -> str:
        """The store, as people know it: by its folder."""
        if self.place.url is not None:
            return str(self.place)
        path = Path(self.place.path)
        folder = path.parent.parent if path.parent.name == ".snapshot" else path.parent
        return folder.name or str(path)

    @property
    def where(self) -> str:
        """The store as processes of ours are told of it. It may have a password in it."""
        return self.place.url or str(self.place.path)

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """The store as it is now, with what was recorded until now.

        It is opened anew if another one is at its place. Raises `NoStore`, `StoreError`.
        """
        with self._lock:
            if self._open is not None and not self._open.store.is_the_same:
                self._let_go(self._open)
                self._open = None
            if self._open is None:
                self._open = _Open(Store(self.place, trust=self.options.trust))
                self._open.users = 1
            found = self._open
            found.users += 1
        try:
            self.left_out = found.store.catch_up(again=True)
            yield found.store
        finally:
            with self._lock:
                self._let_go(found)

    def _let_go(self, opened: _Open) -> None:
        opened.users -= 1
        if not opened.users:
            opened.store.close()

    def revision(self) -> str:
        """Another text when something was stored, deleted, or is no longer there."""
        try:
            with self.store() as store:
                return f"{id(store)} {store.revision()}"
        except StoreError as error:
            return str(error)

    def close(self) -> None:
        """End what runs in the background, and have no file open."""
        self.closing = True
        self.jobs.close()
        with self._lock:
            if self._open is not None:
                self._let_go(self._open)
                self._open = None
