"""The history of the cells in IPython's own file: one session for all branches.

The worker cannot write it: a connection to a database does not survive a fork.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from IPython.core.history import HistoryAccessor


class History:
    """What was typed in this session and those before, of one profile of IPython's."""

    def __init__(self, folder: str) -> None:
        try:
            self._accessor = HistoryAccessor(hist_file=os.path.join(folder, "history.sqlite"))
            self._session = self._begin()
        except sqlite3.Error:
            self._accessor = HistoryAccessor(hist_file=":memory:")
            self._session = self._begin()

    def _begin(self) -> int | None:
        with self._accessor.db as database:
            database.execute("PRAGMA synchronous=OFF")
            started = datetime.now().isoformat(" ")
            insert = "INSERT INTO sessions (start) VALUES (?)"
            session: int | None = database.execute(insert, (started,)).lastrowid
            return session

    def add(self, number: int, code: str) -> None:
        """A cell is about to run. Where it cannot be written, it is not remembered."""
        try:
            with self._accessor.db as database:
                row = (self._session, number, code.rstrip("\n"), code.rstrip("\n"))
                database.execute("INSERT INTO history VALUES (?, ?, ?, ?)", row)
        except sqlite3.Error:
            return

    def entries(
        self,
        hist_access_type: str,
        output: bool = False,
        raw: bool = True,
        session: int = 0,
        start: int = 0,
        stop: int | None = None,
        n: int | None = None,
        pattern: str | None = None,
        unique: bool = False,
    ) -> list[Any]:
        """What a history_request of the notebook asks for."""
        found: Iterable[Any] = ()
        if hist_access_type == "tail":
            found = self._accessor.get_tail(n or 10, raw=raw, output=output, include_latest=True)
        elif hist_access_type == "range":
            if session <= 0:
                session += self._session or 0
            found = self._accessor.get_range(session, start, stop, raw=raw, output=output)
        elif hist_access_type == "search":
            found = self._accessor.search(
                pattern or "*", raw=raw, search_raw=raw, output=output, n=n, unique=unique
            )
        return list(found)
