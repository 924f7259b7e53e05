"""Connections: both processes have the same one, and what one says the other's peer hears."""

from __future__ import annotations

import os
from typing import Any

from snapshot.core import census, line
from snapshot.core.messages import say
from snapshot.core.resources.resource import Resource, guard_methods, refused, replace_once, skip


def inherited(fd: int) -> bool:
    """Whether the process that waits for this one has the same file open under this number."""
    if line.is_root():
        return False
    try:
        there, here = os.stat(f"/proc/{os.getppid()}/fd/{fd}"), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


class Sockets(Resource):
    module = "socket"
    name = "sockets"
    in_experiment = (
        "they are shared: what is sent is sent; `close` closes the experiment's own copy alone, "
        "and `shutdown`, which would end the connection for both, is not done"
    )

    def install(self, module: Any) -> None:
        def make(shutdown: Any) -> Any:
            def guarded(self: Any, how: int, /) -> None:
                if not inherited(self.fileno()):
                    shutdown(self, how)

            return guarded

        replace_once(module.socket, "shutdown", make)


class Tls(Resource):
    module = "ssl"
    name = "TLS connections"
    in_experiment = (
        "reading and writing are refused, since each record is numbered; `close` closes the "
        "experiment's copy, and says nothing to the peer"
    )

    def install(self, module: Any) -> None:
        for kind in (module.SSLSocket, module.SSLObject):
            if "_made_by" in vars(kind):
                continue
            kind._made_by = None
            _mark_created(kind)
            guard_methods(
                kind,
                {
                    "read": refused,
                    "write": refused,
                    "send": refused,
                    "do_handshake": refused,
                    "unwrap": skip,
                    "shutdown": skip,
                },
            )


def _mark_created(kind: Any) -> None:
    """They are made without `__init__`, and shake hands before anybody else has them."""
    make = kind.__new__

    def __new__(cls: Any, *args: Any, **kwargs: Any) -> Any:
        made = make(cls, *args, **kwargs)
        made._made_by = os.getpid()
        return made

    kind.__new__ = __new__


class Sqlite(Resource):
    module = "sqlite3"
    name = "`sqlite3` connections to a file"
    in_experiment = (
        "`commit`, `rollback`, `close` and a `with` block do nothing, every other use is refused "
        "(`not authorized`): SQLite forbids carrying one over a fork; one to `:memory:` is a copy"
    )

    def __init__(self) -> None:
        self._connections: list[Any] = []
        self._aside: list[Any] = []
        self._refused = False

    def before(self, module: Any) -> None:
        aside = {id(each) for each in self._aside}
        self._connections = [c for c in census.known(module.Connection) if id(c) not in aside]

    def forget(self, module: Any) -> None:
        self._connections.clear()

    def lay_aside(self, module: Any) -> None:
        for connection in self._connections:
            if any(connection is each for each in self._aside):
                continue  # of an original further up
            # Closing it would undo the original's transaction. So it is kept to the very end, and
            # with it a statement that has not ended: SQLite closes nothing before that has.
            self._aside.append(connection)
            cursor = _cursor_on_files(connection)
            if cursor is not None:
                self._aside.append(cursor)
                self._refused = True
                connection.set_authorizer(_Authorizer(module))

    def take_over(self, module: Any) -> None:
        # What SQLite had locked for the original is gone with that process: it stays refused.
        if self._refused:
            say("snapshot: not given back: the connections to SQLite's databases; open them again")


def _cursor_on_files(connection: Any) -> Any:
    """A cursor in the middle of the list of its files.

    None if it has no file, is closed, or was made by another thread, which alone may use it.
    """
    try:
        if not any(file for _, _, file in connection.execute("PRAGMA database_list")):
            return None
        cursor = connection.execute("SELECT 1 UNION ALL SELECT 2")
        cursor.fetchone()
    except Exception:
        return None
    return cursor


class _Authorizer:
    """Answers SQLite: ignore the end of a transaction, deny everything else, and say so once."""

    def __init__(self, module: Any) -> None:
        self._module, self._said = module, False

    def __call__(self, action: int, *_: object) -> int:
        if action == self._module.SQLITE_TRANSACTION and _[0] in ("COMMIT", "ROLLBACK"):
            ignore: int = self._module.SQLITE_IGNORE
            return ignore
        if not self._said:
            self._said = True
            say(
                "snapshot: this sqlite3 connection belongs to the original, and SQLite forbids to "
                "use it in a fork: open another one here"
            )
        deny: int = self._module.SQLITE_DENY
        return deny


class Psycopg(Resource):
    module = "psycopg"
    name = "psycopg connections"
    in_experiment = (
        "`commit`, `rollback`, `close` and a `with` block do nothing, so the server goes on with "
        "the original's transaction; every other use is refused"
    )

    def install(self, module: Any) -> None:
        for kind in (module.Connection, module.AsyncConnection):
            guard_methods(
                kind,
                {
                    "cursor": refused,
                    "execute": refused,
                    "pipeline": refused,
                    "transaction": refused,
                    **dict.fromkeys(
                        ("commit", "rollback", "close", "__exit__", "__aexit__", "__del__"),
                        _skip_asynchronously if kind is module.AsyncConnection else skip,
                    ),
                },
            )


def _skip_asynchronously(method: Any, thing: Any, *args: Any) -> Any:
    async def nothing() -> None:
        pass

    return None if method.__name__ == "__del__" else nothing()


class Sqlalchemy(Resource):
    module = "sqlalchemy.engine.base"
    name = "SQLAlchemy engines"
    in_experiment = "an engine has a new pool, and connects anew; its old connections are refused"

    def lay_aside(self, module: Any) -> None:
        for engine in census.known(module.Engine):
            engine.dispose(close=False)
