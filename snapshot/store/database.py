"""A database: what a store needs of SQLite and of PostgreSQL alike.

SQL is written once, with `?` for a parameter. A connection belongs to the process that made it: a
fork leaves its parent's alone, never closes it, and makes one of its own.
"""

from __future__ import annotations

import abc
import contextlib
import ctypes
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NoReturn

from snapshot.errors import NoStore, StoreError, StoreTooNew
from snapshot.store.schema import MIGRATIONS, VERSION

Row = tuple[Any, ...]


class Busy(StoreError):
    """Somebody else writes."""


class Refused(StoreError):
    """The database takes no such values."""


class Database(abc.ABC):
    """One database, from any thread, and after a fork too.

    name: as it is told to people. patience: seconds to wait for others that write. words: what the
    schema's types, no limit, the order of characters, and what is found in something are called
    here. version: of the schema, as it was found; of a store that cannot be written it may be an
    earlier one.
    """

    words: ClassVar[dict[str, str]]
    version = 0

    def __init__(self, name: str, patience: float) -> None:
        self.name, self._patience = name, patience
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._connection: Any = None
        self._depth = 0  # of the transactions that are within each other
        self._begun = False  # whether there is one

    @abc.abstractmethod
    def _connect(self) -> Any:
        """A connection, which begins no transaction by itself."""

    @abc.abstractmethod
    def _leave(self, connection: Any) -> None:
        """See that the parent's connection is not spoiled when this fork ends."""

    @abc.abstractmethod
    def _problem(self, error: Exception) -> StoreError | None:
        """What an error of the database's own is, in our words; None for another error."""

    @abc.abstractmethod
    def _begin(self, *, wait: bool) -> None:
        """Begin a transaction that may write. wait: for others that do, else raise `Busy`."""

    @abc.abstractmethod
    def _version(self) -> int | None:
        """Of the schema; 0 where there is no table yet, None where the tables are not ours."""

    @abc.abstractmethod
    def _set_version(self, version: int) -> None: ...

    @abc.abstractmethod
    def lock(self, *, exclusive: bool, wait: bool = True) -> None:
        """In a transaction that writes: alone, or only beside others that are not exclusive."""

    @abc.abstractmethod
    def may_write(self) -> bool:
        """Whether anything can be stored, as far as that is known before."""

    @abc.abstractmethod
    def revision(self) -> str:
        """Another text whenever anything has changed, and perhaps at other times."""

    @abc.abstractmethod
    def _check_new(self) -> None:
        """Before tables are made in it. Raises `StoreError` where it can be no store."""

    @abc.abstractmethod
    def _lock_schema(self) -> None:
        """In a transaction: let nobody else change the tables until it ends."""

    @abc.abstractmethod
    def has(self, text: str, part: str) -> tuple[str, str]:
        """SQL for whether a text has a part in it, and what to give for that part.

        The part is in lower case; the text may have ASCII letters of the other one.
        """

    @abc.abstractmethod
    def rest(self) -> None:
        """Have no file open until the next statement, unless there is a transaction."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run a statement; the rows that it gives. Raises `StoreError`."""
        with self._using() as connection:
            cursor = connection.execute(self._dialect(sql), values)
            return [] if cursor.description is None else cursor.fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of what a query gives, None if there is none."""
        # As `rows`, without a generator around it: a hit of memo is little else.
        if self._pid != os.getpid():
            self._arrive()
        with self._lock:
            try:
                row: Row | None = self._connected().execute(self._dialect(sql), values).fetchone()
            except Exception as error:
                self._raise(error)
            return row

    def many(self, sql: str, several: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each of several sets of values."""
        with self._using() as connection:
            self._each(connection, self._dialect(sql), several)

    @abc.abstractmethod
    def _each(self, connection: Any, sql: str, several: Iterable[Sequence[Any]]) -> None: ...

    @contextlib.contextmanager
    def transaction(self, *, wait: bool = True) -> Iterator[None]:
        """All that is written within, or nothing. It may be nested; the outermost one counts.

        wait: for others that write. Else it raises `Busy`.
        """
        with self._using():
            outermost = self._depth == 0
            self._depth += 1
            try:
                if outermost:
                    self._begin(wait=wait)
                    self._begun = True
                yield
                if outermost:
                    self.rows("COMMIT")
            except BaseException:  # Ctrl-C while others write, too
                if outermost:
                    with contextlib.suppress(Exception):
                        self.rows("ROLLBACK")
                raise
            finally:
                self._depth -= 1
                self._begun = self._begun and not outermost

    def prepare(self, *, create: bool) -> None:
        """Make the tables, or bring them forward. Raises `StoreError`, `StoreTooNew`.

        create: make them where there are none; else that raises `NoStore`. A store of an earlier
        version that cannot be written is read as it is.
        """
        version = self._version()
        if version is None:  # or somebody has made the tables just now
            version = self._version()
        version = self._check(version)
        if version == 0 and not create:
            raise NoStore(f"there is no store {self.name}: record something first")
        self.version = version
        if version == VERSION or not (create or self.may_write()):
            return
        if version == 0:
            self._check_new()
        with self.transaction():
            self._lock_schema()
            version = self._check(self._version())  # somebody else may have been faster
            for statement in (each for more in MIGRATIONS[version:] for each in more):
                self.rows(statement.format(**self.words))
            self._set_version(VERSION)
        self.version = VERSION

    def _check(self, version: int | None) -> int:
        if version is None:
            raise StoreError(f"{self.name} is a database, but no store of snapshot's")
        if version > VERSION:
            raise StoreTooNew(
                f"{self.name} was made by a later snapshot (version {version} of its tables; "
                f"this one knows {VERSION}): update snapshot"
            )
        return version

    def close(self) -> None:
        with self._lock:
            if self._pid == os.getpid() and self._connection is not None:
                self._connection.close()
            self._connection = None

    def _dialect(self, sql: str) -> str:
        return sql

    @contextlib.contextmanager
    def _using(self) -> Iterator[Any]:
        if self._pid != os.getpid():
            self._arrive()
        with self._lock:
            try:
                yield self._connected()
            except Exception as error:
                self._raise(error)

    def _connected(self) -> Any:
        if self._connection is None:
            if self._begun:
                raise StoreError(f"{self.name}: the connection was lost, and nothing done")
            self._connection = self._connect()
        return self._connection

    def _raise(self, error: Exception) -> NoReturn:
        problem = self._problem(error)
        if problem is None:
            raise error
        raise problem from error

    def _arrive(self) -> None:
        """In a fork, which has its parent's connection, and perhaps a lock of another thread's."""
        left, self._connection = self._connection, None
        self._lock, self._pid = threading.RLock(), os.getpid()
        self._depth, self._begun = 0, False
        if left is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))  # nothing of it is closed here
            self._leave(left)
