"""Stores for tests, in SQLite and PostgreSQL, and calls to put into them."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from snapshot.store import Store, events
from snapshot.store.events import Outcome
from snapshot.store.folding import Writer
from snapshot.store.objects import pack
from tests import postgres

KINDS = ("sqlite", "postgresql")

_numbers = itertools.count(1)


def servers() -> Iterator[str | None]:
    """The URL of a server that runs meanwhile, None where none is installed."""
    if postgres.binaries() is None:
        yield None
        return
    with postgres.server() as url:
        yield url


def place(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, server: str | None) -> str:
    """The place of a store that is not there yet."""
    monkeypatch.chdir(folder)
    if kind == "sqlite":
        return str(folder / "store.db")
    postgres.require()
    assert server is not None
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS snapshot CASCADE")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "home" / "state"))  # as for its programs
    return server


@dataclass
class Made:
    """A call to be put into a store.

    parent: its place among those made together, from 0. started, took: seconds; took: None if it
    runs still. raised: the type and text of an exception. version: of the function. facts: more
    of what is said of that.
    """

    function: str = "m:f"
    args: tuple[Any, ...] = ()
    result: Any = None
    raised: tuple[str, str] | None = None
    parent: int | None = None
    started: float = 0
    took: float | None = 1
    version: int = 0
    line: int = 1


def make(store: Store, *calls: Made, session: str = "s", pid: int = 1) -> list[int]:
    """Put calls into a store, as of a process of its own; their ids.

    session: the first process that has it is the one that the others were forked from.
    """
    taken = store._database.row("SELECT 1 FROM processes WHERE writer = ?", (session,))
    writer = session if taken is None else f"{session}-{next(_numbers)}"
    facts = {"session": session, "parent": None, "forked": 0, "pid": pid, "host": "h"}
    records = [
        events.told("process", facts | {"python": "3"}),
        events.told("thread", {"number": 1, "name": "MainThread"}),
    ]
    for n, each in enumerate(calls, 1):
        function = {"number": n, "key": each.function, "digest": f"{each.version:064x}"}
        records.append(events.told("function", function | {"source": "", "line": each.line}))
        parent = 0 if each.parent is None else each.parent + 1
        started = round(each.started * 1e6)
        records.append(events.entered(n, n, parent, started, 1, content((each.args, {})), b""))
    records += [left(n, each) for n, each in enumerate(calls, 1) if each.took is not None]
    store.take_in([(Writer(f"spool-{writer}", writer, Path("made")), records)])
    found = store._database.rows("SELECT MAX(call + count) FROM ranges")
    return [*range(found[0][0] - len(calls), found[0][0])]


def left(number: int, made: Made) -> bytes:
    """The record of the end of a call."""
    error = None
    if made.raised is not None:
        kind, text = made.raised
        error = {"type": kind, "text": text, "traceback": f"{kind}: {text}"}
    outcome = Outcome.returned if error is None else Outcome.raised
    took = round((made.took or 0) * 1e6)
    return events.left(number, outcome, took, content(made.result), b"", error)


def content(value: Any) -> bytes:
    """Of a value, as it is told."""
    packed = pack(value)
    if not packed.buffers:
        return pickle.dumps(value, 5)
    buffers = [bytes(each) for _, each in packed.buffers]
    return events.whole(packed.data, buffers, packed.type, packed.text)
