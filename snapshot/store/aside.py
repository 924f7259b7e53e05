"""Calls that are put aside: nobody sees them, and for a while they can be taken back.

Until they are deleted for good, all that they refer to stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

from snapshot.errors import AsideGone, UnknownCall
from snapshot.store.database import Database, Row
from snapshot.store.looking import listed, parts

AS_LONG = 3600.0  # seconds in which they can be taken back
_SINCE = 4  # the version of the schema that has the tables

_CALL = (
    "id, version, thread, parent, started, duration, outcome, arguments, arguments_object, result,"
    " result_object, after, surroundings"
)
_ERROR = "call, type, text, traceback"


@dataclass(frozen=True, slots=True)
class Aside:
    """Calls that were put aside together.

    id: to take them back. put: when, in seconds since 1970. calls: how many. label: the key of
    their function, or how many functions they have.
    """

    id: int
    put: float
    calls: int
    label: str


class Asides:
    """Those of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Aside]:
        """The last one first."""
        if self._database.version < _SINCE:
            return []
        rows = self._database.rows(
            "SELECT asides.id, put, COUNT(*), label FROM asides"
            " JOIN aside_calls ON aside = asides.id"
            " GROUP BY asides.id, put, label ORDER BY put DESC, asides.id"
        )
        return [_of(row) for row in rows]

    def put(self, numbers: Iterable[int]) -> Aside:
        """See `Store.put_aside`."""
        wanted = [*dict.fromkeys(map(int, numbers))]
        # Never the id of another one before: somebody may still ask for that.
        aside = int.from_bytes(os.urandom(6))
        with self._database.transaction():
            self._database.lock(exclusive=True)
            for some in parts(wanted):
                which = f"IN ({listed(some)})"
                self._database.rows(
                    f"INSERT INTO aside_calls (aside, {_CALL})"
                    f" SELECT {aside}, {_CALL} FROM calls WHERE id {which}"
                )
                self._move("errors", "aside_errors", _ERROR, f"call {which}")
                self._database.rows(f"DELETE FROM calls WHERE id {which}")
            keys = self._database.rows(
                "SELECT key, COUNT(*) FROM aside_calls JOIN versions ON versions.id = version"
                " JOIN functions ON functions.id = function WHERE aside = ? GROUP BY key",
                (aside,),
            )
            if not keys:
                raise UnknownCall(f"none of these calls is in {self._database.name}: nothing done")
            label = keys[0][0] if len(keys) == 1 else f"{len(keys)} functions"
            now = time.time()
            self._database.rows(
                "INSERT INTO asides (id, put, label) VALUES (?, ?, ?)", (aside, now, label)
            )
        return Aside(aside, now, sum(int(count) for _, count in keys), label)

    def take_back(self, aside: int) -> int:
        """See `Store.take_back`."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            if self._database.row("SELECT 1 FROM asides WHERE id = ?", (aside,)) is None:
                raise AsideGone(
                    f"no calls are put aside under {aside} in {self._database.name}: they were "
                    f"taken back, or deleted for good, as they are after {AS_LONG / 60:.0f} minutes"
                )
            found = self._database.row("SELECT COUNT(*) FROM aside_calls WHERE aside = ?", (aside,))
            of_it = f"call IN (SELECT id FROM aside_calls WHERE aside = {int(aside)})"
            self._move("aside_errors", "errors", _ERROR, of_it)
            self._move("aside_calls", "calls", _CALL, f"aside = {int(aside)}")
            self._database.rows("DELETE FROM asides WHERE id = ?", (aside,))
        return 0 if found is None else int(found[0])

    def _move(self, source: str, target: str, columns: str, which: str) -> None:
        self._database.rows(
            f"INSERT INTO {target} ({columns}) SELECT {columns} FROM {source} WHERE {which}"
        )
        self._database.rows(f"DELETE FROM {source} WHERE {which}")

    def delete_old(self) -> int:
        """Delete those for good that were put aside too long ago; how many calls that were."""
        count = 0
        with self._database.transaction():
            self._database.lock(exclusive=True)
            old = self._database.rows(
                "SELECT id FROM asides WHERE put < ?", (time.time() - AS_LONG,)
            )
            for (aside,) in old:
                calls = self._database.rows("SELECT id FROM aside_calls WHERE aside = ?", (aside,))
                self._database.many("DELETE FROM aside_errors WHERE call = ?", calls)
                self._database.rows("DELETE FROM aside_calls WHERE aside = ?", (aside,))
                self._database.rows("DELETE FROM asides WHERE id = ?", (aside,))
                count += len(calls)
        return count


def _of(row: Row) -> Aside:
    number, put, calls, label = row
    return Aside(int(number), float(put), int(calls), label)
