"""Calls: what is stored of each one, from the records of spools to what is read of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from snapshot import pickling
from snapshot.errors import DamagedSpool, StoreError, UnknownCall, UnknownObject
from snapshot.pickling import Bytes, FindClass
from snapshot.store import events
from snapshot.store.database import Database, Refused
from snapshot.store.events import Outcome
from snapshot.store.objects import Objects, Shown
from snapshot.store.spool import Segment

_AT_ONCE = 4000  # records that are in memory as what they say
_READABLE = 1 << 20  # bytes up to which a pickle is read to be shown, at 2 MB a second


class Writer(NamedTuple):
    """Somebody whose records come from no spool. path: where they come from."""

    name: str
    writer: str
    path: Path


class Stored(NamedTuple):
    """A value of a call: its pickle, or the id of an object."""

    data: bytes | None
    object: int | None


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it was when it was called.

    key: `module:qualname`. digest: of what it would do, 32 bytes. facts: what the recorder has
    said of it, among it `source`, `file`, `line` and `parameters`.
    """

    key: str
    digest: bytes
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Process:
    """A process that has recorded.

    session: the same for all processes that were forked from one. facts: what the recorder has
    said of it, among it `pid`, `host`, `python`, `main` and `started`.
    """

    writer: str
    session: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """What a call raised, in words. traceback: as Python prints it, the last line included."""

    type: str
    text: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Call:
    """A recorded call.

    id: from 1. parent: the id of the call that made it, None for none. started: seconds since
    1970. duration: seconds, None while it runs. arguments: as (args, kwargs); after: the same when
    the call ended, where they had changed. result: what it returned, raised, or a list of what it
    yielded. surroundings: the globals and cells that it read.
    """

    id: int
    function: Function
    process: Process
    thread: str
    parent: int | None
    started: float
    duration: float | None
    outcome: Outcome
    arguments: Stored | None
    result: Stored | None
    after: Stored | None
    surroundings: Stored | None
    failure: Failure | None


_COLUMNS = (
    "calls.id, calls.version, calls.thread, calls.parent, calls.started, calls.duration,"
    " calls.outcome, calls.arguments, calls.arguments_object, calls.result, calls.result_object,"
    " calls.after, calls.surroundings, errors.type, errors.text, errors.traceback"
    " FROM calls LEFT JOIN errors ON errors.call = calls.id"
)


class Calls:
    """Those of a store."""

    def __init__(self, database: Database, objects: Objects) -> None:
        self._database = database
        self._objects = objects
        self._functions: dict[int, Function] = {}
        self._threads: dict[int, tuple[Process, str]] = {}

    # What is read.

    def get(self, number: int) -> Call:
        """One call. Raises `UnknownCall`."""
        for each in self._found("WHERE calls.id = ?", (number,)):
            return each
        raise UnknownCall(f"there is no call {number} in {self._database.name}: {self._range()}")

    def _range(self) -> str:
        found = self._database.row("SELECT MIN(id), MAX(id) FROM calls")
        if found is None or found[0] is None:
            return "it has no calls"
        return f"those it has are between {found[0]} and {found[1]}"

    def find(
        self,
        *,
        function: str | None = None,
        outcome: Outcome | None = None,
        since: float | None = None,
        until: float | None = None,
        slower: float | None = None,
        session: str | None = None,
        parent: int | None = None,
        newest: bool = False,
        limit: int | None = None,
    ) -> Iterator[Call]:
        """Calls, the oldest first.

        function: a key, or the end of one: the name of a function, of its class and itself.
        since, until: seconds since 1970. slower: than so many seconds. session: the beginning of
        its name. newest: the newest first; limit: no more than so many.
        """
        conditions: list[str] = []
        values: list[Any] = []
        if function is not None:
            versions = self._versions_of(function)
            conditions.append(f"calls.version IN ({', '.join(map(str, versions)) or 'NULL'})")
        if session is not None:
            threads = self._threads_of(session)
            conditions.append(f"calls.thread IN ({', '.join(map(str, threads)) or 'NULL'})")
        for condition, value in (
            ("calls.outcome = ?", None if outcome is None else int(outcome)),
            ("calls.started >= ?", None if since is None else int(since * 1e6)),
            ("calls.started < ?", None if until is None else int(until * 1e6)),
            ("calls.duration > ?", None if slower is None else int(slower * 1e6)),
            ("calls.parent = ?", parent),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        way = "DESC" if newest else "ASC"
        some = "" if limit is None else f" LIMIT {int(limit)}"
        return self._found(f"{where} ORDER BY calls.started {way}, calls.id {way}{some}", values)

    def count(self) -> int:
        """How many there are."""
        found = self._database.row("SELECT COUNT(*) FROM calls")
        return 0 if found is None else int(found[0])

    def ids(self, function: str | None = None) -> list[int]:
        """The ids of all calls, or of those of a function, the oldest first; see `find`."""
        where = ""
        if function is not None:
            versions = ", ".join(map(str, self._versions_of(function)))
            where = f"WHERE version IN ({versions or 'NULL'})"
        found = self._database.rows(f"SELECT id FROM calls {where} ORDER BY started, id")
        return [int(number) for (number,) in found]

    def functions(self) -> list[str]:
        """The keys of the functions that there are calls of."""
        found = self._database.rows(
            "SELECT DISTINCT key FROM functions JOIN versions ON versions.function = functions.id"
            " WHERE versions.id IN (SELECT DISTINCT version FROM calls) ORDER BY key"
        )
        return [str(key) for (key,) in found]

    def _found(self, which: str, values: Sequence[Any]) -> Iterator[Call]:
        for row in self._database.rows(f"SELECT {_COLUMNS} {which}", values):
            number, version, thread, parent, started, duration, outcome = row[:7]
            arguments, arguments_object, result, result_object, after, surroundings = row[7:13]
            process, name = self._thread(thread)
            yield Call(
                id=number,
                function=self._function(version),
                process=process,
                thread=name,
                parent=parent,
                started=started / 1e6,
                duration=None if duration is None else duration / 1e6,
                outcome=Outcome(outcome),
                arguments=_stored(arguments, arguments_object),
                result=_stored(result, result_object),
                after=_stored(None, after),
                surroundings=_stored(None, surroundings),
                failure=None if row[13] is None else Failure(*row[13:16]),
            )

    def _function(self, version: int) -> Function:
        if version not in self._functions:
            found = self._database.row(
                "SELECT key, digest, facts FROM versions"
                " JOIN functions ON functions.id = versions.function WHERE versions.id = ?",
                (version,),
            )
            if found is None:
                raise StoreError(f"{self._database.name} is damaged: version {version} is missing")
            key, digest, facts = found
            self._functions[version] = Function(key, bytes(digest), json.loads(facts))
        return self._functions[version]

    def _thread(self, thread: int) -> tuple[Process, str]:
        if thread not in self._threads:
            found = self._database.row(
                "SELECT writer, session, processes.facts, threads.facts FROM threads"
                " JOIN processes ON processes.id = threads.process WHERE threads.id = ?",
                (thread,),
            )
            if found is None:
                raise StoreError(f"{self._database.name} is damaged: thread {thread} is missing")
            writer, session, facts, named = found
            process = Process(writer, session, json.loads(facts))
            self._threads[thread] = process, json.loads(named)["name"]
        return self._threads[thread]

    def _versions_of(self, function: str) -> list[int]:
        found = self._database.rows(
            "SELECT versions.id, key FROM versions"
            " JOIN functions ON functions.id = versions.function"
        )
        return [int(number) for number, key in found if names(function, key)]

    def _threads_of(self, session: str) -> list[int]:
        found = self._database.rows(
            "SELECT threads.id, session FROM threads"
            " JOIN processes ON processes.id = threads.process"
        )
        return [int(number) for number, named in found if named.startswith(session)]

    def descendants(self, number: int) -> Iterator[Call]:
        """The calls that one has made, and those that they have made, and so on."""
        for each in self.find(parent=number):
            yield each
            yield from self.descendants(each.id)

    def fetch(self, stored: Stored) -> tuple[bytes, list[Bytes]]:
        """The pickle of a value and its buffers, to be loaded later; see `Objects.get`."""
        if stored.data is not None:
            return self._objects.trusted(stored.data), []
        assert stored.object is not None
        return self._objects.fetch(self._objects.digest(stored.object))

    def load(self, stored: Stored, *, find_class: FindClass | None = None) -> Any:
        """The value. Loading runs code that its pickle names; see `Objects.get`."""
        return pickling.load(*self.fetch(stored), find_class=find_class)

    def show(self, stored: Stored) -> Shown:
        """What is shown of a value; nothing is loaded."""
        if stored.object is not None:
            return self._objects.show(self._objects.digest(stored.object))
        assert stored.data is not None
        return _shown(stored.data)

    def read(self, stored: Stored) -> object:
        """The value with stand-ins for what only code could make; nothing is loaded.

        Raises ValueError where it is too large for that, or damaged.
        """
        from snapshot.store import showing  # not needed to make a call again

        if stored.data is not None:
            return showing.read(stored.data)
        assert stored.object is not None
        data, buffers = self._objects.pickle(self._objects.digest(stored.object))
        if len(data) > _READABLE:
            raise ValueError(f"{len(data)} bytes are too many to be read without loading them")
        return showing.read(data, buffers)

    def arguments(
        self, call: Call, *, after: bool = False
    ) -> tuple[Sequence[object], Mapping[str, object]]:
        """What it was called with, with stand-ins; nothing is loaded. Empty where that is damaged,
        or too large to be read.

        after: what the arguments were when it ended, where they had changed.
        """
        stored = call.after if after else call.arguments
        found: object = None
        if stored is not None:
            with contextlib.suppress(ValueError, StoreError):
                found = self.read(stored)
        match found:
            case (tuple(args), dict(kwargs)):
                return args, kwargs
        return (), {}

    # What is deleted.

    def delete(self, numbers: Iterable[int]) -> int:
        """Delete calls; how many of them there were. Objects are freed by `Store.vacuum`."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            count = 0
            for each in numbers:
                if self._database.row("SELECT 1 FROM calls WHERE id = ?", (each,)) is not None:
                    self._database.rows("DELETE FROM calls WHERE id = ?", (each,))
                    self._database.rows("DELETE FROM errors WHERE call = ?", (each,))
                    count += 1
        return count

    def uses(self) -> set[int]:
        """The ids of the objects that calls refer to."""
        found: set[int] = set()
        for column in ("arguments_object", "result_object", "after", "surroundings"):
            rows = self._database.rows(
                f"SELECT DISTINCT {column} FROM calls WHERE {column} IS NOT NULL"
            )
            found.update(int(number) for (number,) in rows)
        return found

    # What is folded in.

    def fold(self, segment: Segment | Writer, records: list[bytes]) -> None:
        """Take in records of one spool file, in a transaction."""
        for begin in range(0, len(records), _AT_ONCE):
            part = records[begin : begin + _AT_ONCE]
            _Folding(self._database, self._objects, segment).take(part)


def names(function: str, key: str) -> bool:
    """Whether a function is meant by its key, or by the end of that: `f`, `C.f`, `m:C.f`."""
    qualname = key.partition(":")[2]
    return function in (key, qualname) or qualname.endswith("." + function)


def _stored(data: Any, object_: int | None) -> Stored | None:
    if data is None and object_ is None:
        return None
    return Stored(None if data is None else bytes(data), object_)


def _shown(data: bytes, buffers: Sequence[int] = ()) -> Shown:
    from snapshot.store import showing

    size = len(data) + sum(buffers)
    if len(data) > _READABLE:
        return Shown("?", f"<{len(data)} bytes>", size)
    try:
        value = showing.read(data, buffers)
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

    def take(self, records: list[bytes]) -> None:
        """Raises `DamagedSpool` where they tell of no calls."""
        try:
            self._take(records)
        except (
            *(ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError),
            *(struct.error, Refused),
        ) as error:
            raise DamagedSpool(f"{self._segment.path} is damaged: {error}") from error

    def _take(self, records: list[bytes]) -> None:
        entered, left, later = self._read(records)
        ids = self._ids_for(sorted(entered))
        errors = self._insert(entered, left, ids) + self._complete(left, ids)
        for each in later:
            self._add_value(each, ids)
        self._database.many(
            "INSERT INTO errors (call, type, text, traceback) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            errors,
        )
        self._hold()
        self._keep_last()

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
            self._database.rows(
                "UPDATE calls SET duration = ?, outcome = ?, result = ?, result_object = ?,"
                " after = ? WHERE id = ?",
                (*self._ended(end), call),
            )
            there = self._database.row("SELECT 1 FROM calls WHERE id = ?", (call,))
            if end.error is not None and there is not None:
                errors.append((call, *_words(end.error)))
        return errors

    def _add_value(self, event: events.Later, ids: dict[int, int]) -> None:
        """Add what was told of a call in the background: of any two of its values, in any order."""
        if (call := self._call(event.number, ids)) is None:
            return
        column = event.what if event.what == "after" else f"{event.what}_object"
        self._database.rows(
            f"UPDATE calls SET {column} = ? WHERE id = ?", (self._object(event.value), call)
        )
        self._database.rows(
            "UPDATE calls SET after = NULL WHERE id = ? AND after = arguments_object", (call,)
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
            as_shown = _shown(found.data)
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

    def _keep_last(self) -> None:
        """Of functions that want no more, only the last calls."""
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


def _words(error: dict[str, str]) -> tuple[str, str, str]:
    """As a database takes it: PostgreSQL has no place for a null character."""
    kind, text, traceback = (storable(error[each]) for each in ("type", "text", "traceback"))
    return kind, text, traceback


def storable(text: str) -> str:
    """A text as the words of an exception are stored."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _is_inline(told: bytes) -> bool:
    """Whether a content is stored with the call itself: nothing refers to it."""
    return told[:1] == b"\x80" and len(told) <= events.SMALL


def _unframed(data: bytes) -> bytes:
    """A pickle without its frame, which is there for those who read from a file."""
    if data[:3] == b"\x80\x05\x95" and int.from_bytes(data[3:11], "little") == len(data) - 11:
        return data[:2] + data[11:]
    return data
