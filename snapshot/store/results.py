"""Results that memo keeps, by the keys of the calls that had them."""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

import xxhash

from snapshot import pickling
from snapshot.errors import DamagedObject, DamagedStore, StoreError, UnknownObject
from snapshot.pickling import Bytes
from snapshot.store.database import Database, Row
from snapshot.store.events import SMALL
from snapshot.store.folding import shown_of
from snapshot.store.objects import Objects, Packed, Shown, digest_of

_CHECKSUM = 8  # bytes
_TIMES = struct.Struct("<dd")
_INLINE, _OBJECT, _ELSEWHERE = b"i", b"o", b"e"  # where a result is
_RETURNED, _RAISED = b"r", b"x"
_DIGEST = 32
_TEXT = 200  # characters of what is shown of a state
_ROW = 256  # bytes that a row takes here with its indexes, beside what is in it
_LATELY = 60.0  # seconds
_SOME = 256  # rows that are read at once, to be evicted
_MOST = 1000  # of them that go where none would have to: nobody else writes meanwhile

# What an entry is worth: of its size, its cost, and when it was used; see `memo.policies`.
Worth = Callable[["Entry", float], float]

_FIND = "SELECT data, created, cost FROM results WHERE key = ?"
_Statement = tuple[str, tuple[Any, ...]]  # SQL, and its values


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a kept result.

    size: bytes. cost: seconds that the call took. created, used: seconds since 1970, when it was
    stored, and used last. hits: how often it was used.
    """

    size: int
    cost: float
    created: float
    used: float
    hits: int


class Found(NamedTuple):
    """A kept result: its pickle and the buffers of that, None where it is in another store.

    created: seconds since 1970. cost: seconds that the call took. raised: it is an exception.
    """

    data: Bytes | None
    buffers: list[Bytes]
    created: float
    cost: float
    raised: bool


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as it is listed. arguments: a text for each, by name, with its digest."""

    key: bytes
    function: str
    state: bytes
    current: bool
    arguments: dict[str, list[str]]
    entry: Entry
    elsewhere: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A result as it is shown, without loading it.

    raised: it is an exception. shown: None where it is in another store. digest: of the object
    that has it, None where it is too small to be one.
    """

    raised: bool
    shown: Shown | None
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Memoized:
    """A memoized function.

    entries, size: how many results it has, and their bytes. states: in how many states it was
    that have some. saved: seconds that its hits did not take.
    """

    name: str
    group: str
    entries: int
    size: int
    states: int
    hits: int
    misses: int
    saved: float


@dataclass(frozen=True, slots=True)
class Stated:
    """A state of a function. used: when the function was in it last, in seconds since 1970.

    current: it still was when it was seen last. count, size: of its results, and their bytes.
    """

    digest: bytes
    current: bool
    used: float
    count: int
    size: int


@dataclass(frozen=True, slots=True)
class Evicted:
    """An entry that is gone. function: its name."""

    key: bytes
    function: str
    size: int


def row_size(arguments: Mapping[str, tuple[str, str]]) -> int:
    """Bytes that an entry takes with the indexes, beside its result. arguments: see `put`."""
    return _ROW + len(json.dumps(arguments))


class StateGone(StoreError):
    """A state was forgotten, as it had no results: the function is to enter it again."""


class Results:
    """Those of a store."""

    def __init__(self, database: Database, objects: Objects, may_load: Callable[[], None]) -> None:
        """may_load: raises where a pickle of this store must not be loaded."""
        self._database = database
        self._objects = objects
        self._may_load = may_load

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """What is written in the block is there wholly, or not at all."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            yield

    # Looking up.

    def find(self, key: bytes) -> Found | None:
        """The result of a key.

        Raises `DamagedObject`, `DamagedStore`, `NotTrusted`, `StoreError`.
        """
        row = self._database.row(_FIND, (key,))
        if row is None:
            return None
        data, created, cost = row
        if not isinstance(data, bytes):  # what is damaged may be of another type
            data = b""
        content = data[_CHECKSUM:]
        if data[:_CHECKSUM] != _checksum(key, content, created, cost):
            raise DamagedObject(f"the result {key.hex()} of {self._database.name} is damaged")
        raised, where = content[:1] == _RAISED, content[1:2]
        if where == _INLINE:
            self._may_load()
            return Found(content[2:], [], created, cost, raised)
        if where == _ELSEWHERE:
            return Found(None, [], created, cost, raised)
        try:
            return Found(*self._objects.fetch(content[2:]), created, cost, raised)
        except (DamagedObject, UnknownObject) as error:
            if self._database.row(_FIND, (key,)) != row:
                return self.find(key)  # it was evicted meanwhile
            if isinstance(error, UnknownObject):
                raise self._lost() from None
            raise

    def holds(self, key: bytes) -> float | None:
        """When the result of a key was stored, None if there is none."""
        row = self._database.row("SELECT created FROM results WHERE key = ?", (key,))
        return None if row is None else float(row[0])

    # Storing.

    def function(self, name: str, group: str) -> int:
        """The id of a memoized function, which is in that group from now on."""
        (number,) = self._made(
            ("SELECT id FROM groups WHERE name = ?", (group,)),
            lambda: ("INSERT INTO groups (name, floor) VALUES (?, 0)", (group,)),
        )
        function, before = self._made(
            ('SELECT id, "group" FROM memoized WHERE name = ?', (name,)),
            lambda: (
                'INSERT INTO memoized (name, "group", hits, misses, saved) VALUES (?, ?, 0, 0, 0)',
                (name, number),
            ),
        )
        if before != number:
            self._database.rows('UPDATE memoized SET "group" = ? WHERE id = ?', (number, function))
        return int(function)

    def _made(self, find: _Statement, make: Callable[[], _Statement]) -> Row:
        """The row that a query finds, which is made where there is none."""
        row = self._database.row(*find)
        if row is None:
            sql, values = make()
            self._database.rows(f"{sql} ON CONFLICT DO NOTHING", values)
            row = self._database.row(*find)
        if row is None:
            raise self._lost()
        return row

    def _lost(self) -> DamagedStore:
        return DamagedStore(f"{self._database.name} is damaged: it does not find what it has")

    def is_current(self, name: str, group: str, digest: bytes) -> bool:
        """Whether a function is known to be in that group, and in that state."""
        row = self._database.row(
            "SELECT 1 FROM memoized JOIN states ON states.id = memoized.state"
            ' JOIN groups ON groups.id = "group"'
            " WHERE memoized.name = ? AND groups.name = ? AND states.digest = ?",
            (name, group, digest),
        )
        return row is not None

    def belongs(self, state: int, group: str) -> bool:
        """Whether the function of a state, see `enter`, is in that group."""
        row = self._database.row(
            "SELECT 1 FROM states JOIN memoized ON memoized.id = function"
            ' JOIN groups ON groups.id = "group" WHERE states.id = ? AND groups.name = ?',
            (state, group),
        )
        return row is not None

    def enter(
        self, name: str, group: str, digest: bytes, facts: Callable[[], Mapping[str, Any]]
    ) -> tuple[int, list[int]]:
        """A function is in a state now: the id of that. facts: what is known of it, as JSON.

        Others that have no results, and have not been entered lately, are forgotten: also the
        objects that had their facts.
        """
        with self._database.transaction():
            self._database.lock(exclusive=True)
            function = self.function(name, group)
            now = time.time()

            def make() -> _Statement:
                told = json.dumps(facts(), sort_keys=True)
                shown = f"<a state of {name}>"[:_TEXT]
                number = self._objects.keep(pickle.dumps(told, 5), (), "str", shown)
                return (
                    "INSERT INTO states (function, digest, facts, used, count, size)"
                    " VALUES (?, ?, ?, ?, 0, 0)",
                    (function, digest, number, now),
                )

            (state,) = self._made(
                ("SELECT id FROM states WHERE function = ? AND digest = ?", (function, digest)),
                make,
            )
            self._database.rows("UPDATE states SET used = ? WHERE id = ?", (now, state))
            self._database.rows("UPDATE memoized SET state = ? WHERE id = ?", (state, function))
            return int(state), self._forget_empty(function, int(state), now - _LATELY)

    def _forget_empty(self, function: int, state: int, before: float) -> list[int]:
        rows = self._database.rows(
            "SELECT id, facts FROM states"
            " WHERE function = ? AND id != ? AND count <= 0 AND used < ?",
            (function, state, before),
        )
        self._database.many("DELETE FROM states WHERE id = ?", [(number,) for number, _ in rows])
        return [int(facts) for _, facts in rows if facts is not None]

    def put(
        self,
        key: bytes,
        state: int,
        result: Packed | None,
        *,
        raised: bool,
        arguments: Mapping[str, tuple[str, str]],
        cost: float,
        worth: Worth,
        size: int | None = None,
        with_row: bool = True,
        anew: bool = False,
    ) -> list[int]:
        """Store a result; the ids of objects that it may have been the last to refer to.

        state: see `enter`. result: None if it is in another store, where it takes `size` bytes.
        with_row: whether what it takes here counts, too. anew: its object may be there, and
        damaged. Raises `StoreError`.
        """
        how = _RAISED if raised else _RETURNED
        told = json.dumps(arguments, sort_keys=True)
        took = (size or 0) if result is None else result.size
        took += row_size(arguments) if with_row else 0
        now = time.time()
        entry = Entry(took, cost, now, now, 0)
        if result is None or (not result.buffers and len(result.data) <= SMALL):
            content = how + (_ELSEWHERE if result is None else _INLINE + result.data)
            with self._database.transaction():
                self._database.lock(exclusive=True)
                return self._insert(key, state, content, None, told, entry, worth)
        with self._objects.added(result, anew=anew) as number:
            content = how + _OBJECT + result.digest
            return self._insert(key, state, content, number, told, entry, worth)

    def _insert(
        self,
        key: bytes,
        state: int,
        content: bytes,
        number: int | None,
        told: str,
        entry: Entry,
        worth: Worth,
    ) -> list[int]:
        if self._database.row("SELECT 1 FROM states WHERE id = ?", (state,)) is None:
            raise StateGone(f"state {state} of a function in {self._database.name} is gone")
        freed = self._remove(key)
        data = _checksum(key, content, entry.created, entry.cost) + content
        self._database.rows(
            "INSERT INTO results (key, state, data, object, arguments, size, cost, created, used,"
            " hits, worth) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?)",
            (
                *(key, state, data, number, told, entry.size),
                *(entry.cost, entry.created, entry.used, worth(entry, self._floor(state))),
            ),
        )
        if self._database.row("SELECT 1 FROM results WHERE key = ?", (key,)) is None:
            raise DamagedStore(f"{self._database.name} is damaged: it does not find what it stores")
        self._database.rows(
            "UPDATE states SET count = count + 1, size = size + ? WHERE id = ?",
            (entry.size, state),
        )
        self._database.rows(
            "UPDATE memoized SET misses = misses + 1"
            " WHERE id = (SELECT function FROM states WHERE id = ?)",
            (state,),
        )
        return [each for each in freed if each != number]

    def _floor(self, state: int) -> float:
        row = self._database.row(
            'SELECT floor FROM groups JOIN memoized ON memoized."group" = groups.id'
            " JOIN states ON states.function = memoized.id WHERE states.id = ?",
            (state,),
        )
        return 0.0 if row is None else float(row[0])

    def _remove(self, key: bytes) -> list[int]:
        """Delete an entry, if there is one; its object."""
        row = self._database.row("SELECT state, size, object FROM results WHERE key = ?", (key,))
        if row is None:
            return []
        state, size, number = self._numbers((*row[:2], row[2] or 0))
        self._database.rows("DELETE FROM results WHERE key = ?", (key,))
        self._database.rows(
            "UPDATE states SET count = count - 1, size = size - ? WHERE id = ?", (size, state)
        )
        return [number] if number else []

    def _numbers(self, row: Row) -> Row:
        """What is damaged may be of another type than what was stored."""
        if not all(isinstance(each, int | float) for each in row):
            raise self._lost()
        return row

    def use(self, hits: Mapping[bytes, tuple[int, float]], worth: Worth) -> None:
        """Entries were used: how often, and when last, in seconds since 1970."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            for key, (count, last) in hits.items():
                row = self._database.row(
                    "SELECT state, size, cost, created, used, hits FROM results WHERE key = ?",
                    (key,),
                )
                if row is None:
                    continue
                state, size, cost, created, used, before = self._numbers(row)
                entry = Entry(size, cost, created, max(used, last), before + count)
                self._database.rows(
                    "UPDATE results SET used = ?, hits = ?, worth = ? WHERE key = ?",
                    (entry.used, entry.hits, worth(entry, self._floor(state)), key),
                )
                self._database.rows(
                    "UPDATE memoized SET hits = hits + ?, saved = saved + ?"
                    " WHERE id = (SELECT function FROM states WHERE id = ?)",
                    (count, count * cost, state),
                )

    # Deleting.

    def forget(self, keys: Iterable[bytes]) -> tuple[list[Evicted], list[int]]:
        """Delete entries: those that were there, and the objects that they referred to."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            gone, freed = [], []
            for key in keys:
                row = self._database.row(
                    "SELECT name, results.size FROM results"
                    " JOIN states ON states.id = results.state"
                    " JOIN memoized ON memoized.id = function WHERE key = ?",
                    (key,),
                )
                if row is not None:
                    gone.append(Evicted(key, str(row[0]), *self._numbers(row[1:])))
                    freed += self._remove(key)
            return gone, freed

    def reset(self, functions: Iterable[str]) -> None:
        """Count the hits and misses of functions anew."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            for name in functions:
                self._database.rows(
                    "UPDATE memoized SET hits = 0, misses = 0, saved = 0 WHERE name = ?", (name,)
                )

    def forget_other_states(self, state: int) -> tuple[list[Evicted], list[int]]:
        """Delete the entries of the function that were stored in other states than this one."""
        keys = self._database.rows(
            "SELECT key FROM results WHERE state IN (SELECT other.id FROM states AS other"
            " JOIN states ON states.function = other.function"
            " WHERE states.id = ? AND other.id != states.id)",
            (state,),
        )
        return self.forget([bytes(key) for (key,) in keys])

    def size(self, group: str) -> int:
        """Bytes of the entries of a group."""
        row = self._database.row(
            "SELECT COALESCE(SUM(size), 0) FROM states JOIN memoized ON memoized.id = function"
            ' JOIN groups ON groups.id = "group" WHERE groups.name = ?',
            (group,),
        )
        return 0 if row is None else int(row[0])

    def shrink(self, group: str, size: int, room: int = 0) -> tuple[list[Evicted], list[int]]:
        """Evict entries of a group until it takes no more than so many bytes.

        Those of states that no function is in any more go first, then those that are worth least.
        As `forget` otherwise. room: bytes that are to be free then, as far as that costs no large
        entry, and little time.
        """
        gone: list[Evicted] = []
        freed: list[int] = []
        with self._database.transaction():
            self._database.lock(exclusive=True)
            total = self.size(group)
            for key, bytes_, worth in self._least(group):
                enough = total <= size - room or bytes_ > room or len(gone) >= _MOST
                if total <= size and enough:
                    break
                more, objects = self.forget([key])
                gone += more
                freed += objects
                total -= bytes_
                if worth is not None:
                    self._database.rows(
                        "UPDATE groups SET floor = ? WHERE name = ? AND floor < ?",
                        (worth, group, worth),
                    )
            else:  # there is none left, whatever was counted
                self._database.rows(
                    "UPDATE states SET count = 0, size = 0 WHERE function IN"
                    ' (SELECT memoized.id FROM memoized JOIN groups ON groups.id = "group"'
                    " WHERE groups.name = ?)",
                    (group,),
                )
        return gone, freed

    def _least(self, group: str) -> Iterator[tuple[bytes, int, float | None]]:
        """Key, size and, if its state is a current one, worth of the entries of a group, those
        first that are to be evicted first."""
        states = self._database.rows(
            "SELECT states.id, states.id = memoized.state FROM states"
            " JOIN memoized ON memoized.id = function"
            ' JOIN groups ON groups.id = "group"'
            " WHERE groups.name = ? AND count > 0 ORDER BY used",
            (group,),
        )
        for state, current in states:
            if not current:
                while rows := self._worst(state):
                    yield from ((key, size, None) for key, size, _ in rows)
        left = [state for state, current in states if current]
        while left:
            rows = sorted((row for each in left for row in self._worst(each)), key=lambda r: r[2])
            if not rows:
                return
            yield from rows[:_SOME]

    def _worst(self, state: int) -> list[tuple[bytes, int, float]]:
        rows = self._database.rows(
            f"SELECT key, size, worth FROM results WHERE state = ? ORDER BY worth LIMIT {_SOME}",
            (state,),
        )
        return [(bytes(key), *self._numbers(tuple(numbers))) for key, *numbers in rows]

    # Listing.

    def uses(self) -> Iterator[int]:
        """The ids of the objects that results refer to."""
        for table, column in (("results", "object"), ("states", "facts")):
            sql = f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL"
            for (number,) in self._database.rows(sql):
                yield int(number)

    def functions(self) -> list[Memoized]:
        """All memoized functions, by name."""
        rows = self._database.rows(
            "SELECT memoized.name, groups.name, COALESCE(SUM(count), 0),"
            " COALESCE(SUM(size), 0), COUNT(CASE WHEN count > 0 THEN 1 END), hits, misses, saved"
            ' FROM memoized JOIN groups ON groups.id = "group"'
            " LEFT JOIN states ON function = memoized.id"
            " GROUP BY memoized.id, memoized.name, groups.name, hits, misses, saved"
        )
        return [
            Memoized(
                *(name, group, int(entries), int(size), int(states), int(hits), int(misses)),
                float(saved),
            )
            for name, group, entries, size, states, hits, misses, saved in sorted(rows)
        ]

    def states(self, function: str) -> list[Stated]:
        """Those of a function, the last used first."""
        rows = self._database.rows(
            "SELECT digest, states.id = memoized.state, used, count, size FROM states"
            " JOIN memoized ON memoized.id = function WHERE name = ? ORDER BY used DESC, states.id",
            (function,),
        )
        return [
            Stated(bytes(digest), bool(current), float(used), int(count), int(size))
            for digest, current, used, count, size in rows
        ]

    def entries(self, function: str | None = None) -> Iterator[Listed]:
        """Those of a function, or all, the last used first."""
        where = "" if function is None else " WHERE name = ?"
        rows = self._database.rows(
            f"{_LIST}{where} ORDER BY results.used DESC", () if function is None else (function,)
        )
        yield from map(_listed, rows)

    def count(self, function: str, state: bytes | None = None) -> int:
        """How many entries a function has; state: in that one."""
        where, values = _of(function, state)
        row = self._database.row(f"SELECT COUNT(*) FROM {_ENTRIES} WHERE {where}", values)
        return 0 if row is None else int(row[0])

    def listing(
        self,
        function: str,
        *,
        state: bytes | None = None,
        before: float | None = None,
        order: Literal["used", "created", "size", "cost", "hits"] = "used",
        down: bool = True,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Listed]:
        """Entries of a function, by one of their figures, the largest or the latest first.

        state: those in that one alone. before: those alone that were stored before that, in
        seconds since 1970. down: False turns the order round. limit, offset: no more than so many,
        without so many before them.
        """
        where, values = _of(function, state)
        if before is not None:
            where, values = f"{where} AND results.created < ?", (*values, before)
        by = f"ORDER BY results.{order} {'DESC' if down else 'ASC'}, key"
        if limit is not None or offset:
            # What is in the entries is read of those alone that are listed.
            some = self._database.words["all"] if limit is None else int(limit)
            where = (
                f"key IN (SELECT key FROM {_ENTRIES} WHERE {where} {by}"
                f" LIMIT {some} OFFSET {int(offset)})"
            )
        rows = self._database.rows(f"{_LIST} WHERE {where} {by}", values)
        return [*map(_listed, rows)]

    def entry(self, key: bytes) -> Listed | None:
        """The one with that key, None if there is none."""
        row = self._database.row(f"{_LIST} WHERE key = ?", (key,))
        return None if row is None else _listed(row)

    def show(self, key: bytes) -> Kept | None:
        """What is shown of a result, None if there is none.

        Raises `UnknownObject` where the object is gone that has it.
        """
        row = self._database.row(_FIND, (key,))
        if row is None:
            return None
        content = row[0][_CHECKSUM:] if isinstance(row[0], bytes) else b""
        raised, where = content[:1] == _RAISED, content[1:2]
        if where == _ELSEWHERE:
            return Kept(raised, None, None)
        if where == _OBJECT:
            return Kept(raised, self._objects.show(content[2:]), content[2:])
        return Kept(raised, shown_of(content[2:]), None)

    def facts(self, function: str, state: bytes) -> dict[str, Any] | None:
        """What is known of a state of a function; None if it is unknown.

        Whoever may have written it, as it is only read. Raises `DamagedObject`, `UnknownObject`.
        """
        row = self._database.row(
            "SELECT facts FROM states JOIN memoized ON memoized.id = function"
            " WHERE name = ? AND digest = ?",
            (function, state),
        )
        if row is None or row[0] is None:
            return None
        digest = self._objects.digest(row[0])
        data, _ = self._objects.pickle(digest)
        if digest_of(data) != digest:
            raise DamagedObject(
                f"object {digest.hex()} of {self._database.name} is damaged: its content is not "
                "what its name says",
                digest=digest,
            )
        found: dict[str, Any] = json.loads(pickling.load(data, find_class=_no_class))
        return found


_ENTRIES = (
    "results JOIN states ON states.id = results.state JOIN memoized ON memoized.id = function"
)
_LIST = (
    "SELECT key, name, digest, states.id = memoized.state, arguments, results.size, cost, created,"
    f" results.used, results.hits, data FROM {_ENTRIES}"
)


def _listed(row: Row) -> Listed:
    key, name, digest, current, arguments, size, cost, created, used, hits, data = row
    return Listed(
        *(bytes(key), name, bytes(digest), bool(current), _read(arguments)),
        Entry(size, cost, created, used, hits),
        bytes(data)[_CHECKSUM + 1 : _CHECKSUM + 2] == _ELSEWHERE,
    )


def _of(function: str, state: bytes | None) -> _Statement:
    """Which entries: of a function, and in a state if one is given."""
    if state is None:
        return "name = ?", (function,)
    return "name = ? AND digest = ?", (function, state)


def _read(arguments: str) -> dict[str, list[str]]:
    """Nothing of what is damaged, which is to be listed all the same."""
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        found = json.loads(arguments)
        return {str(name): [str(text), str(digest)] for name, (text, digest) in found.items()}
    return {}


def _no_class(module: str, name: str) -> NoReturn:
    """A text needs none: whoever may have written it, loading it runs nothing."""
    raise pickle.UnpicklingError(f"it names {module}.{name}")


def _checksum(key: bytes, content: bytes, created: float, cost: float) -> bytes:
    try:
        times = _TIMES.pack(created, cost)
    except struct.error:  # see `Results.find`
        times = b""
    return xxhash.xxh3_64_digest(key + times + content)
