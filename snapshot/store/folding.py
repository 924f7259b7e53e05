"""How what processes tell of calls is taken in: from the records of spools to rows."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from snapshot.errors import DamagedSpool, UnknownObject
from snapshot.store import events
from snapshot.store.database import Database, Refused
from snapshot.store.events import Outcome
from snapshot.store.objects import Objects, Shown
from snapshot.store.searching import storable
from snapshot.store.spool import Segment

_AT_ONCE = 4000  # records that are in memory as what they say
_ERROR = "INSERT INTO {} (call, type, text, traceback) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
READABLE = 1 << 20  # bytes up to which a pickle is read to be shown, at 2 MB a second and more


class Writer(NamedTuple):
    """Somebody whose records come from no spool. path: where they come from."""

    name: str
    writer: str
    path: Path


def fold(
    database: Database, objects: Objects, segment: Segment | Writer, records: list[bytes]
) -> int:
    """Take in records of one writer, in a transaction. Raises `DamagedSpool`.

    How many calls went, since their functions want no more to be kept.
    """
    count = 0
    for begin in range(0, len(records), _AT_ONCE):
        part = records[begin : begin + _AT_ONCE]
        count += _Folding(database, objects, segment).take(part)
    return count


def shown_of(data: bytes, buffers: Sequence[int] = (), *, trusted: bool = False) -> Shown:
    """What is shown of a pickle, whose buffers have these sizes; nothing is loaded.

    trusted: see `showing.read`.
    """
    from snapshot.store import showing

    size = len(data) + sum(buffers)
    if len(data) > READABLE:
        return Shown("?", f"<{len(data)} bytes>", size)
    try:
        value = showing.read(data, buffers, trusted=trusted)
    except ValueError as error:
        return Shown("?", f"<cannot be shown: {error}>", size)
    return Shown(showing.type_of(value), showing.text_of(value), size)


class _Folding:
    """Takes in records of one writer."""

    def __init__(self, database: Database, objects: Objects, segment: Segment | Writer) -> None:
        self._database = database
        self._objects = objects
        self._segment = segment
        self._process, self._parent, self._forked = self._find_process()
        self._numbers: dict[tuple[str, int], int] = {}
        self._held: set[int] = set()
        self._ids: dict[bytes, int | None] = {}

    def take(self, records: list[bytes]) -> int:
        """How many calls went. Raises `DamagedSpool` where the records tell of none."""
        try:
            return self._take(records)
        except (
            *(ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError),
            *(struct.error, Refused),
        ) as error:
            raise DamagedSpool(f"{self._segment.path} is damaged: {error}") from error

    def _take(self, records: list[bytes]) -> int:
        entered, left, later = self._read(records)
        ids = self._ids_for(sorted(entered))
        errors = self._insert(entered, left, ids) + self._complete(left, ids)
        for each in later:
            self._add_value(each, ids)
        self._database.many(_ERROR.format("errors"), errors)
        self._hold()
        return self._keep_last()

    def _read(
        self, records: list[bytes]
    ) -> tuple[dict[int, events.Entered], dict[int, events.Left], list[events.Later]]:
        """What is told of calls, by their numbers; all else is taken in at once."""
        entered: dict[int, events.Entered] = {}
        left: dict[int, events.Left] = {}
        later: list[events.Later] = []
        for record in records:
            event = events.read(record)
            if isinstance(event, events.Told) and event.what == "process":
                self._tell_process(event.facts)
            elif self._process is None:
                raise self._missing()
            elif isinstance(event, events.Entered):
                entered[event.number] = event
                self._store_first(event.arguments, event.surroundings)
            elif isinstance(event, events.Left):
                left[event.number] = event
                self._store_first(event.result, event.after)
            elif isinstance(event, events.Later):
                later.append(event)
            elif event.what == "function":
                self._tell_function(event.facts)
            elif event.what == "thread":
                self._tell_thread(event.facts)
        return entered, left, later

    def _insert(
        self,
        entered: dict[int, events.Entered],
        left: dict[int, events.Left],
        ids: dict[int, int],
    ) -> list[tuple[Any, ...]]:
        """Make the calls that are new, and take their ends out of `left`; their errors."""
        rows, errors = [], []
        for number, event in entered.items():
            end = left.pop(number, None)
            ended = self._ended(end)
            rows.append(
                (
                    ids[number],
                    self._number("function", event.function),
                    self._number("thread", event.thread),
                    self._call(event.parent, ids),
                    event.started,
                    *ended[:2],
                    *self._value(event.arguments),
                    *ended[2:5],
                    self._object(event.surroundings),
                )
            )
            if end is not None and end.error is not None:
                errors.append((ids[number], *_words(end.error)))
        self._database.many(
            "INSERT INTO calls (id, version, thread, parent, started, duration, outcome,"
            " arguments, arguments_object, result, result_object, after, surroundings)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        return errors

    def _complete(self, left: dict[int, events.Left], ids: dict[int, int]) -> list[tuple[Any, ...]]:
        """Say how calls ended that were entered before; their errors."""
        errors = []
        for number, end in left.items():
            if number <= self._forked:
                continue  # a fork comes out of a call of the process that it was forked from, too
            if (call := self._call(number, ids)) is None:
                continue
            if (table := self._table(call)) is None:
                continue
            self._database.rows(
                f"UPDATE {table} SET duration = ?, outcome = ?, result = ?, result_object = ?,"
                " after = ? WHERE id = ?",
                (*self._ended(end), call),
            )
            if end.error is None:
                continue
            error = call, *_words(end.error)
            if table == "calls":
                errors.append(error)
            else:
                self._database.many(_ERROR.format("aside_errors"), [error])
        return errors

    def _table(self, call: int) -> str | None:
        """Where a call is: it may be put aside before it ends. None if it was deleted."""
        for table in ("calls", "aside_calls"):
            if self._database.row(f"SELECT 1 FROM {table} WHERE id = ?", (call,)) is not None:
                return table
        return None

    def _add_value(self, event: events.Later, ids: dict[int, int]) -> None:
        """Add what was told of a call in the background: of any two of its values, in any order."""
        if (call := self._call(event.number, ids)) is None:
            return
        value = self._object(event.value)  # other calls may refer to it
        if (table := self._table(call)) is None:
            return
        column = event.what if event.what == "after" else f"{event.what}_object"
        self._database.rows(f"UPDATE {table} SET {column} = ? WHERE id = ?", (value, call))
        self._database.rows(
            f"UPDATE {table} SET after = NULL WHERE id = ? AND after = arguments_object", (call,)
        )

    def _ended(self, end: events.Left | None) -> tuple[Any, ...]:
        if end is None:
            return None, int(Outcome.running), None, None, None
        return end.duration, int(end.outcome), *self._value(end.result), self._object(end.after)

    # Values.

    def _store_first(self, *contents: bytes) -> None:
        """Store what is told in full: an earlier call may refer to it, which ended later."""
        for told in contents:
            if told and told[:1] not in b"#&" and not _is_inline(told):
                self._object(told)

    def _value(self, told: bytes) -> tuple[bytes | None, int | None]:
        return (_unframed(told), None) if _is_inline(told) else (None, self._object(told))

    def _object(self, told: bytes) -> int | None:
        if told in (b"", events.LATER):
            return None
        if told not in self._ids:
            found = events.content(told)
            assert found is not None
            self._ids[told] = self._stored(found)
        number = self._ids[told]
        if number is not None:
            self._held.add(number)
        return number

    def _stored(self, found: events.Content) -> int | None:
        if found.digest is not None:
            try:
                return self._objects.id(found.digest)
            except UnknownObject:  # it was deleted just as the writer began another file
                return None
        shown = storable(found.type or ""), storable(found.text or "")
        if found.type is None:
            as_shown = shown_of(found.data, trusted=isinstance(self._segment, Segment))
            shown = as_shown.type, as_shown.text
        if found.parts:
            return self._objects.keep(found.data, found.parts, *shown)
        return self._objects.adopt(found.data, found.buffers, *shown)

    def _hold(self) -> None:
        name = self._segment.name
        self._database.many(
            "INSERT INTO held (spool, object) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(name, each) for each in self._held],
        )

    # Who and where.

    def _find_process(self) -> tuple[int | None, int | None, int]:
        found = self._database.row(
            "SELECT processes.id, parents.id, processes.forked FROM processes"
            " LEFT JOIN processes AS parents ON parents.writer = processes.parent"
            " WHERE processes.writer = ?",
            (self._segment.writer,),
        )
        return (None, None, 0) if found is None else (found[0], found[1], found[2])

    def _tell_process(self, facts: dict[str, Any]) -> None:
        session, parent, forked = facts.pop("session"), facts.pop("parent"), facts.pop("forked")
        self._database.rows(
            "INSERT INTO processes (writer, session, parent, forked, facts)"
            " VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (self._segment.writer, session, parent, forked, json.dumps(facts)),
        )
        self._process, self._parent, self._forked = self._find_process()

    def _tell_function(self, facts: dict[str, Any]) -> None:
        number, key, digest = facts.pop("number"), facts.pop("key"), facts.pop("digest")
        self._database.rows("INSERT INTO functions (key) VALUES (?) ON CONFLICT DO NOTHING", (key,))
        row = (self._one("SELECT id FROM functions WHERE key = ?", key), bytes.fromhex(digest))
        text = json.dumps(facts)
        name = hashlib.sha256(text.encode()).digest()
        self._database.rows(
            "INSERT INTO versions (function, digest, facts_digest, facts) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (*row, name, text),
        )
        version = self._one(
            "SELECT id FROM versions WHERE function = ? AND digest = ? AND facts_digest = ?",
            *row,
            name,
        )
        self._tell_number("function", number, version)

    def _tell_thread(self, facts: dict[str, Any]) -> None:
        number = facts.pop("number")
        found = self._database.row(
            "INSERT INTO threads (process, facts) VALUES (?, ?) RETURNING id",
            (self._process, json.dumps(facts)),
        )
        assert found is not None
        self._tell_number("thread", number, found[0])

    def _tell_number(self, what: str, number: int, id_: int) -> None:
        self._numbers[what, number] = id_
        self._database.rows(
            "INSERT INTO numbers (process, what, number, id) VALUES (?, ?, ?, ?)",
            (self._process, what, number, id_),
        )

    def _number(self, what: str, number: int) -> int:
        if (what, number) not in self._numbers:
            self._numbers[what, number] = self._one(
                "SELECT id FROM numbers WHERE process = ? AND what = ? AND number = ?",
                self._process,
                what,
                number,
            )
        return self._numbers[what, number]

    def _one(self, sql: str, *values: Any) -> int:
        found = self._database.row(sql, values)
        if found is None:
            raise self._missing()
        return int(found[0])

    def _missing(self) -> DamagedSpool:
        return DamagedSpool(
            f"{self._segment.path} refers to what is not in {self._database.name}: "
            "an earlier spool file of its process is missing, or is damaged"
        )

    # Ids.

    def _ids_for(self, numbers: list[int]) -> dict[int, int]:
        """New ids, which never were another call's."""
        if not numbers:
            return {}
        found = self._database.row("SELECT MAX(call + count) FROM ranges")
        free = int(found[0]) if found is not None and found[0] is not None else 1
        ids = {number: free + position for position, number in enumerate(numbers)}
        begins = [n for n, number in enumerate(numbers) if not n or numbers[n - 1] != number - 1]
        ranges = [
            (self._process, numbers[begin], ids[numbers[begin]], end - begin)
            for begin, end in zip(begins, [*begins[1:], len(numbers)], strict=True)
        ]
        self._database.many(
            "INSERT INTO ranges (process, number, call, count) VALUES (?, ?, ?, ?)", ranges
        )
        return ids

    def _call(self, number: int, ids: dict[int, int]) -> int | None:
        """The id of the call that this process has given a number, or one it was forked from."""
        if number in ids:
            return ids[number]
        if not number:
            return None
        process, parent, forked = self._process, self._parent, self._forked
        while process is not None and number <= forked:
            process = parent
            found = self._database.row(
                "SELECT parents.id, processes.forked FROM processes"
                " LEFT JOIN processes AS parents ON parents.writer = processes.parent"
                " WHERE processes.id = ?",
                (process,),
            )
            parent, forked = (None, 0) if found is None else found
        found = self._database.row(
            "SELECT number, call, count FROM ranges WHERE process = ? AND number <= ?"
            " ORDER BY number DESC LIMIT 1",
            (process, number),
        )
        if found is None or number >= found[0] + found[2]:
            return None
        return int(found[1] + number - found[0])

    def _keep_last(self) -> int:
        """Of functions that want no more, only the last calls. How many went."""
        count = 0
        for (what, _), version in self._numbers.items():
            if what != "function":
                continue
            found = self._database.row(
                "SELECT function, facts FROM versions WHERE id = ?", (version,)
            )
            assert found is not None
            most = json.loads(found[1]).get("keep_last")
            if most is None:
                continue
            going = self._database.rows(
                "SELECT id FROM calls WHERE version IN"
                " (SELECT id FROM versions WHERE function = ?) AND outcome != ?"
                f" ORDER BY id DESC LIMIT {self._database.words['all']} OFFSET ?",
                (found[0], int(Outcome.running), most),
            )
            self._database.many("DELETE FROM calls WHERE id = ?", going)
            self._database.many("DELETE FROM errors WHERE call = ?", going)
            count += len(going)
        return count


def _words(error: dict[str, str]) -> tuple[str, str, str]:
    """As a database takes it: PostgreSQL has no place for a null character."""
    kind, text, traceback = (storable(error[each]) for each in ("type", "text", "traceback"))
    return kind, text, traceback


def _is_inline(told: bytes) -> bool:
    """Whether a content is stored with the call itself: nothing refers to it."""
    return told[:1] == b"\x80" and len(told) <= events.SMALL


def _unframed(data: bytes) -> bytes:
    """A pickle without its frame, which is there for those who read from a file."""
    if data[:3] == b"\x80\x05\x95" and int.from_bytes(data[3:11], "little") == len(data) - 11:
        return data[:2] + data[11:]
    return data
