"""A store in a file of SQLite, with a write-ahead log."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from snapshot.errors import StoreError
from snapshot.store.database import Database

_APPLICATION = 0x536E6170  # what SQLite calls the application's id: "Snap"
_PATIENCE = 60.0  # seconds to wait for others that write


class Sqlite(Database):
    """One file, which is there."""

    words: ClassVar = {"id": "INTEGER PRIMARY KEY", "bytes": "BLOB", "real": "REAL"}

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def _connect(self) -> sqlite3.Connection:
        mode = "rw" if os.access(self._path, os.W_OK) else "ro"
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode={mode}",
            uri=True,
            timeout=_PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if mode == "rw":
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _leave(self, connection: sqlite3.Connection) -> None:
        """Nothing more: its locks are the parent's, and it is never closed here."""

    def _problem(self, error: Exception) -> StoreError | None:
        if not isinstance(error, sqlite3.Error):
            return None
        text = str(error)
        if "locked" in text:
            return StoreError(f"{self.name} is locked by another process for {_PATIENCE:.0f} s now")
        if "not a database" in text or "malformed" in text:
            return StoreError(f"{self.name} is no store, or is damaged ({text})")
        if "unable to open" in text:
            return StoreError(f"{self.name} cannot be opened: is it there, and may you read it?")
        return StoreError(f"{self.name}: {text}")

    def _begin(self) -> None:
        self.rows("BEGIN IMMEDIATE")

    def lock(self, *, exclusive: bool) -> None:
        """Whoever writes is alone."""

    def _lock_schema(self) -> None:
        """Whoever writes is alone."""

    def _each(self, connection: Any, sql: str, several: Iterable[Sequence[Any]]) -> None:
        connection.executemany(sql, several)

    def _version(self) -> int | None:
        ((application,),) = self.rows("PRAGMA application_id")
        ((version,),) = self.rows("PRAGMA user_version")
        if application == _APPLICATION:
            return int(version)
        return None if self.rows("SELECT 1 FROM sqlite_master LIMIT 1") else 0

    def _set_version(self, version: int) -> None:
        self.rows(f"PRAGMA application_id = {_APPLICATION}")
        self.rows(f"PRAGMA user_version = {version}")


def make(path: Path) -> None:
    """An empty file for one's own eyes, whatever the umask; one that is there is left alone."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        os.chmod(path, 0o600)
