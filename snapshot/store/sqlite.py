"""A store in a file of SQLite, with a write-ahead log."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote
from weakref import WeakSet

from snapshot.errors import DamagedStore, StoreError
from snapshot.store.database import Busy, Database, Refused

_APPLICATION = 0x536E6170  # what SQLite calls the application's id: "Snap"
_DAMAGED = ("not a database", "malformed", "no such table", "no such column", "decode to UTF-8")
_STEP = 0.01
_SOON = 2.0  # seconds that a fork waits for a transaction of another thread's


class Sqlite(Database):
    """One file, which is there.

    SQLite keeps account of its locks for the whole process, and a fork inherits the account, not
    the locks. So no connection is open at a fork: it is closed before, and opened when needed.
    """

    words: ClassVar = {
        "id": "INTEGER PRIMARY KEY",
        "bytes": "BLOB",
        "all": "-1",
        "as_written": "COLLATE BINARY",
        "shown": "type, text, size",
        "in_bytes": "instr({}, ?) > 0",
    }

    def __init__(self, path: Path, patience: float) -> None:
        super().__init__(str(path), patience)
        self._path = path
        self._spoiled = self._held = False
        _databases.add(self)
        _register()

    def before_fork(self) -> None:
        """Close the connection. A transaction of another thread's may end before."""
        self._held = self._lock.acquire(timeout=_SOON)
        if self._held:
            self.rest()

    def rest(self) -> None:
        with self._lock:
            if self._depth == 0 and self._connection is not None:
                self._connection.close()
                self._connection = None

    def after_fork(self, *, in_child: bool) -> None:
        if in_child:
            self._spoiled = self._spoiled or self._connection is not None
        elif self._held:
            self._lock.release()

    def _connect(self) -> sqlite3.Connection:
        if self._spoiled:
            raise StoreError(
                f"{self.name}: process {os.getpid()} was forked in a transaction, and cannot use it"
            )
        writes = may_write(self._path)
        options = "mode=rw"
        if not writes:
            # Without a log, and in a folder where none can be made, nobody else writes either.
            log = self._path.with_name(f"{self._path.name}-wal")
            options = "mode=ro" if log.exists() else "mode=ro&immutable=1"
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(self._path))}?{options}",
            uri=True,
            timeout=self._patience,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if writes:
                _log_ahead(connection, self._patience)
                connection.execute("PRAGMA synchronous = NORMAL")
        except (sqlite3.Error, UnicodeDecodeError):
            connection.close()
            raise
        return connection

    def _leave(self, connection: sqlite3.Connection) -> None:
        """Nothing more: its locks are the parent's, and it is never closed here."""

    def _problem(self, error: Exception) -> StoreError | None:
        if isinstance(error, UnicodeDecodeError):  # what SQLite quotes of a damaged file
            return DamagedStore(f"{self.name} is damaged")
        if not isinstance(error, sqlite3.Error):
            return None
        text = str(error)
        if "locked" in text:
            return Busy(f"{self.name} is locked by another process for {self._patience:.0f} s now")
        if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
            return Refused(f"{self.name}: {text}")
        if any(each in text for each in _DAMAGED):
            return DamagedStore(f"{self.name} is no store, or is damaged ({text})")
        if "readonly" in text:
            return StoreError(f"{self.name} cannot be written: file, folder or system is read-only")
        if "unable to open" in text:
            return StoreError(f"{self.name} cannot be opened: is it there, and may you read it?")
        return StoreError(f"{self.name}: {text}")

    def _begin(self, *, wait: bool) -> None:
        if wait:
            self.rows("BEGIN IMMEDIATE")
            return
        self.rows("PRAGMA busy_timeout = 0")
        try:
            self.rows("BEGIN IMMEDIATE")
        finally:
            self.rows(f"PRAGMA busy_timeout = {self._patience * 1000:.0f}")

    def lock(self, *, exclusive: bool, wait: bool = True) -> None:
        """Whoever writes is alone."""

    def may_write(self) -> bool:
        return may_write(self._path)

    def revision(self) -> str:
        ((others,),) = self.rows("PRAGMA data_version")
        ((ours,),) = self.rows("SELECT total_changes()")
        return f"{others} {ours}"

    def has(self, text: str, part: str) -> tuple[str, str]:
        literal = re.sub("([!%_])", r"!\1", part)
        return f"{text} LIKE ? ESCAPE '!'", f"%{literal}%"  # twice as fast as INSTR of LOWER

    def _check_new(self) -> None:
        """Any file can be one."""

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


_databases: WeakSet[Sqlite] = WeakSet()


@functools.cache
def _register() -> None:
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=functools.partial(_after_fork, in_child=False),
        after_in_child=functools.partial(_after_fork, in_child=True),
    )


def _before_fork() -> None:
    for each in list(_databases):
        each.before_fork()


def _after_fork(*, in_child: bool) -> None:
    for each in list(_databases):
        each.after_fork(in_child=in_child)


def _log_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Have a write-ahead log. Where others begin one just now, SQLite does not wait by itself."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_STEP)
        else:
            return


def may_write(path: Path) -> bool:
    """To a database, which needs other files beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def make(path: Path) -> None:
    """An empty file for one's own eyes, whatever the umask; one that is there is left alone."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        os.chmod(path, 0o600)
