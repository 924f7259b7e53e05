"""Calls: what is stored of each one, and what is read of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypedDict, Unpack

from snapshot import pickling
from snapshot.errors import StoreError, UnknownCall
from snapshot.pickling import Bytes, FindClass
from snapshot.store import folding, looking, searching
from snapshot.store.database import Database
from snapshot.store.events import Outcome
from snapshot.store.looking import Brief, Session, Summary, listed, parts
from snapshot.store.objects import Objects, Shown
from snapshot.store.searching import Condition
from snapshot.store.spool import Segment

Order = Literal["started", "duration", "function"]

# A call that has not ended comes before those that took no time. Keys are put in their order once,
# not for each call.
_ORDERS: dict[Order, tuple[str, tuple[str, ...]]] = {
    "started": ("", ("calls.started", "calls.id")),
    "duration": ("", ("COALESCE(calls.duration, -1)", "calls.started", "calls.id")),
    "function": (
        " JOIN (SELECT versions.id AS version, RANK() OVER (ORDER BY key {as_written}) AS place"
        " FROM versions JOIN functions ON functions.id = function) AS places"
        " ON places.version = calls.version",
        ("places.place", "calls.started", "calls.id"),
    ),
}


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


@dataclass(frozen=True, slots=True)
class Version:
    """A function as it was for some calls. digest: of what it would do.

    function: with what was said of it last. first, last: when a call began, in seconds since 1970.
    """

    digest: bytes
    function: Function
    calls: int
    first: float
    last: float


class Which(TypedDict, total=False):
    """Which calls are meant; what is None, or is not given, is any.

    function: a key, or the end of one: the name of a function, of its class and itself. since,
    until: seconds since 1970. slower, faster: than so many seconds. session: the beginning of its
    name. search: words, each of which is in the key of the function, in what was raised or in what
    is shown of a large argument or result, in upper or lower case, or is in a small argument or
    result as it is written here.
    """

    function: str | None
    outcome: Outcome | None
    since: float | None
    until: float | None
    slower: float | None
    faster: float | None
    session: str | None
    parent: int | None
    search: str | None


_COLUMNS = (
    "calls.id, calls.version, calls.thread, calls.parent, calls.started, calls.duration,"
    " calls.outcome, calls.arguments, calls.arguments_object, calls.result, calls.result_object,"
    " calls.after, calls.surroundings, errors.type, errors.text, errors.traceback"
    " FROM calls LEFT JOIN errors ON errors.call = calls.id"
)


class Calls:
    """Those of a store.

    gone: how many went as others were taken in, whose objects may still be there.
    """

    def __init__(self, database: Database, objects: Objects) -> None:
        self.gone = 0
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
        order: Order = "started",
        newest: bool = False,
        limit: int | None = None,
        offset: int = 0,
        **which: Unpack[Which],
    ) -> Iterator[Call]:
        """Calls, the oldest first; see `Which`.

        order: by what else they come: by how long they took, those first that run still, or by
        the keys of their functions. newest: the other way round: the newest, the longest or the
        last key first. limit: no more than so many. offset: without so many before them.
        """
        beside, condition, values = self._where(**which)
        join, columns = _ORDERS[order]
        join = join.format(**self._database.words)
        way = "DESC" if newest else "ASC"
        some = self._database.words["all"] if limit is None else int(limit)
        return self._in_order(
            f"{beside}SELECT calls.id FROM calls{join}{condition}"
            f" ORDER BY {', '.join(f'{each} {way}' for each in columns)}"
            f" LIMIT {some} OFFSET {int(offset)}",
            values,
        )

    def count(self, **which: Unpack[Which]) -> int:
        """How many there are; see `Which`."""
        beside, condition, values = self._where(**which)
        found = self._database.row(f"{beside}SELECT COUNT(*) FROM calls{condition}", values)
        return 0 if found is None else int(found[0])

    def _where(
        self,
        *,
        function: str | None = None,
        outcome: Outcome | None = None,
        since: float | None = None,
        until: float | None = None,
        slower: float | None = None,
        faster: float | None = None,
        session: str | None = None,
        parent: int | None = None,
        search: str | None = None,
    ) -> tuple[str, str, list[Any]]:
        """What stands before a SELECT and at its end, and the values of both."""
        conditions: list[Condition] = []
        if function is not None:
            versions = listed(self._versions_of(function))
            conditions.append((f"calls.version IN ({versions})", []))
        if session is not None:
            threads = listed(self._threads_of(session))
            conditions.append((f"calls.thread IN ({threads})", []))
        for condition, value in (
            ("calls.outcome = ?", None if outcome is None else int(outcome)),
            ("calls.started >= ?", None if since is None else int(since * 1e6)),
            ("calls.started < ?", None if until is None else int(until * 1e6)),
            ("calls.duration > ?", None if slower is None else int(slower * 1e6)),
            ("calls.duration < ?", None if faster is None else int(faster * 1e6)),
            ("calls.parent = ?", parent),
        ):
            if value is not None:
                conditions.append((condition, [value]))
        beside: list[Condition] = []
        for n, word in enumerate(searching.words(search)):
            objects, values = searching.in_text(self._database, "text", word)
            beside.append(
                (
                    f"objects{n} AS MATERIALIZED"
                    f" (SELECT id FROM objects WHERE type IS NOT NULL AND {objects})",
                    values,
                )
            )
            conditions.append(self._has(word, f"objects{n}"))
        return (
            f"WITH {', '.join(each for each, _ in beside)} " if beside else "",
            f" WHERE {' AND '.join(each for each, _ in conditions)}" if conditions else "",
            [value for _, values in (*beside, *conditions) for value in values],
        )

    def _has(self, word: str, objects: str) -> Condition:
        """Whether a call has a word in it. objects: the name of a query for those that have it."""
        folded = word.lower()
        versions = [number for number, key in self._keys() if folded in key.lower()]
        error, values = searching.either(
            [searching.in_text(self._database, f"errors.{each}", word) for each in ("type", "text")]
        )
        return searching.either(
            [
                (f"calls.version IN ({listed(versions)})", []),
                *(
                    searching.in_bytes(self._database, f"calls.{each}", word)
                    for each in ("arguments", "result")
                ),
                (f"calls.id IN (SELECT call FROM errors WHERE {error})", values),
                *(
                    (f"({each} IS NOT NULL AND {each} IN (SELECT id FROM {objects}))", [])
                    for each in ("arguments_object", "result_object", "after")
                ),
            ]
        )

    def ids(self, function: str | None = None) -> list[int]:
        """The ids of all calls, or of those of a function, the oldest first; see `find`."""
        where = ""
        if function is not None:
            where = f"WHERE version IN ({listed(self._versions_of(function))})"
        found = self._database.rows(f"SELECT id FROM calls {where} ORDER BY started, id")
        return [int(number) for (number,) in found]

    def functions(self) -> list[str]:
        """The keys of the functions that there are calls of, in their order."""
        found = self._database.rows(
            "SELECT DISTINCT key FROM functions JOIN versions ON versions.function = functions.id"
            " WHERE versions.id IN (SELECT DISTINCT version FROM calls)"
        )
        return sorted(str(key) for (key,) in found)

    def summaries(self) -> list[Summary]:
        """What the calls of each function are, by their keys."""
        return looking.summaries(self._database)

    def summary(self, key: str) -> Summary | None:
        """What the calls of one function are, by its whole key; None if there are none."""
        return next(iter(looking.summaries(self._database, self._exactly(key))), None)

    def versions(self, key: str) -> list[Version]:
        """Those of a function that have calls, the newest first."""
        rows = self._database.rows(
            "SELECT version, COUNT(*), MIN(started), MAX(started) FROM calls"
            f" WHERE version IN ({listed(self._exactly(key))}) GROUP BY version"
            " ORDER BY MAX(started) DESC, version DESC"
        )
        found: dict[bytes, Version] = {}
        for number, count, first, last in rows:
            function = self._function(number)
            new = Version(function.digest, function, int(count), first / 1e6, last / 1e6)
            # What is said of a function, as where it stands, may change, and not what it does.
            if (one := found.get(function.digest)) is not None:
                new = Version(
                    *(one.digest, one.function, one.calls + new.calls),
                    *(min(one.first, new.first), max(one.last, new.last)),
                )
            found[function.digest] = new
        return list(found.values())

    def durations(self, key: str, bins: int = 40) -> list[tuple[float, float, int]]:
        """How long the calls of a function took which have ended: from, to (in seconds), how many.

        Each is as many times the one before it; one of 0 s counts as one of a microsecond. A single
        one where they all took the same time. Raises `UsageError` where there are no bins.
        """
        return looking.durations(self._database, self._exactly(key), bins)

    def sessions(self) -> list[Session]:
        """Those that have calls, the newest first."""
        return looking.sessions(self._database)

    def ancestors(self, number: int) -> list[Brief]:
        """The calls that have led to one, the outermost first, as far as they are there.

        Raises `UnknownCall`.
        """
        return looking.ancestors(self._database, number)

    def below(self, number: int, most: int = 2000) -> tuple[list[Brief], bool]:
        """The calls that one has made, each followed by those that it has made, the oldest first.

        Whether there are more than `most`: then those are left out that are furthest down.
        """
        return looking.below(self._database, number, most)

    def neighbours(self, number: int) -> tuple[int | None, int | None]:
        """The calls of the same function before one and after it, by when they began.

        Raises `UnknownCall`.
        """
        call = self.get(number)
        versions = listed(self._exactly(call.function.key))
        found: list[int | None] = []
        for than, way in (("<", "DESC"), (">", "ASC")):
            row = self._database.row(
                f"SELECT id FROM calls WHERE version IN ({versions}) AND (started, id) {than}"
                " (SELECT started, id FROM calls WHERE id = ?)"
                f" ORDER BY started {way}, id {way} LIMIT 1",
                (number,),
            )
            found.append(None if row is None else int(row[0]))
        return found[0], found[1]

    def _in_order(self, numbers: str, values: Sequence[Any]) -> Iterator[Call]:
        """The calls whose ids a query gives; those that were deleted meanwhile are left out."""
        ids = [int(number) for (number,) in self._database.rows(numbers, values)]
        for some in parts(ids):
            found = {
                each.id: each for each in self._found(f"WHERE calls.id IN ({listed(some)})", ())
            }
            yield from (found[number] for number in some if number in found)

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
        return [number for number, key in self._keys() if names(function, key)]

    def _exactly(self, function: str) -> list[int]:
        return [number for number, key in self._keys() if key == function]

    def _keys(self) -> list[tuple[int, str]]:
        """The versions of functions, with their keys."""
        return [
            (int(number), key)
            for number, key in self._database.rows(
                "SELECT versions.id, key FROM versions JOIN functions ON functions.id = function"
            )
        ]

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
        return folding.shown_of(stored.data)

    def read(self, stored: Stored, most: int = folding.READABLE) -> object:
        """The value with stand-ins for what only code could make; nothing is loaded.

        most: bytes that are read, at 2 MB a second. Raises ValueError where it is larger, or
        damaged.
        """
        from snapshot.store import showing  # not needed to make a call again

        if stored.object is None:
            assert stored.data is not None
            data, buffers = stored.data, list[int]()
        else:
            data, buffers = self._objects.pickle(self._objects.digest(stored.object))
        if len(data) > most:
            raise ValueError(f"{len(data)} bytes are too many to be read without loading them")
        return showing.read(data, buffers)

    def arguments(
        self, call: Call, *, after: bool = False, most: int = folding.READABLE
    ) -> tuple[Sequence[object], Mapping[str, object]]:
        """What it was called with, with stand-ins; nothing is loaded. Empty where that is damaged,
        or too large to be read.

        after: what the arguments were when it ended, where they had changed. most: see `read`.
        """
        stored = call.after if after else call.arguments
        found: object = None
        if stored is not None:
            with contextlib.suppress(ValueError, StoreError):
                found = self.read(stored, most)
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
        """The ids of the objects that calls refer to, also those that are put aside."""
        found: set[int] = set()
        for table in ("calls", "aside_calls"):
            for column in ("arguments_object", "result_object", "after", "surroundings"):
                rows = self._database.rows(
                    f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"
                )
                found.update(int(number) for (number,) in rows)
        return found

    # What is folded in.

    def fold(self, segment: Segment | folding.Writer, records: list[bytes]) -> None:
        """Take in records of one spool file, in a transaction. Raises `DamagedSpool`."""
        self.gone += folding.fold(self._database, self._objects, segment, records)


def names(function: str, key: str) -> bool:
    """Whether a function is meant by its key, or by the end of that: `f`, `C.f`, `m:C.f`."""
    qualname = key.partition(":")[2]
    return function in (key, qualname) or qualname.endswith("." + function)


def _stored(data: Any, object_: int | None) -> Stored | None:
    if data is None and object_ is None:
        return None
    return Stored(None if data is None else bytes(data), object_)
