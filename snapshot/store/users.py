"""Who refers to objects, and what goes with the calls that do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from snapshot.store.database import Database
from snapshot.store.looking import listed, parts
from snapshot.store.objects import REFERRING

_OF_CALLS = ("arguments_object", "result_object", "after", "surroundings")


@dataclass(frozen=True, slots=True)
class User:
    """Who refers to an object.

    id: of a call; of a memo entry its key, and of a state or another value its digest, in
    hexadecimal. role: what the object is to it. label: the key or the name of the function; what
    is shown of a value.
    """

    kind: Literal["call", "memo", "state of a memoized function", "value"]
    id: int | str
    role: Literal["arguments", "result", "after", "surroundings", "buffer"]
    label: str


@dataclass(frozen=True, slots=True)
class Going:
    """An object to which only calls refer that may be deleted.

    size: bytes that go with it: its own, and those of its buffers to which nobody else refers; a
    buffer of several counts with one of them.
    """

    digest: bytes
    type: str
    text: str
    size: int


def users_of(database: Database, number: int, most: int | None) -> list[User]:
    """See `Store.users_of`. number: the id of the object."""
    limit = f"LIMIT {database.words['all'] if most is None else int(most)}"
    found: list[User] = []
    for column in _OF_CALLS:
        rows = database.rows(
            "SELECT calls.id, key FROM calls JOIN versions ON versions.id = version"
            f" JOIN functions ON functions.id = function WHERE calls.{column} = ?"
            f" ORDER BY calls.id {limit}",
            (number,),
        )
        role = _role(column)
        found += [User("call", int(call), role, key) for call, key in rows]
    rows = database.rows(
        "SELECT key, name FROM results JOIN states ON states.id = results.state"
        f" JOIN memoized ON memoized.id = function WHERE object = ? ORDER BY key {limit}",
        (number,),
    )
    found += [User("memo", bytes(key).hex(), "result", name) for key, name in rows]
    rows = database.rows(
        "SELECT digest, name FROM states JOIN memoized ON memoized.id = function"
        f" WHERE facts = ? ORDER BY states.id {limit}",
        (number,),
    )
    found += [
        User("state of a memoized function", bytes(digest).hex(), "surroundings", name)
        for digest, name in rows
    ]
    rows = database.rows(
        "SELECT DISTINCT objects.id, digest, text FROM buffers"
        f" JOIN objects ON objects.id = object WHERE buffer = ? ORDER BY objects.id {limit}",
        (number,),
    )
    found += [User("value", bytes(digest).hex(), "buffer", text or "") for _, digest, text in rows]
    return found if most is None else found[:most]


def _role(column: str) -> Literal["arguments", "result", "after", "surroundings"]:
    match column:
        case "arguments_object":
            return "arguments"
        case "result_object":
            return "result"
        case "after":
            return "after"
        case _:
            return "surroundings"


def only_of(database: Database, calls: Iterable[int]) -> list[Going]:
    """See `Store.would_free`."""
    by_them: Counter[int] = Counter()
    for some in parts([*dict.fromkeys(map(int, calls))]):
        rows = database.rows(
            f"SELECT {', '.join(_OF_CALLS)} FROM calls WHERE id IN ({listed(some)})"
        )
        by_them.update(number for row in rows for number in row if number is not None)
    by_all = _referring(database, by_them)
    values = [number for number, count in by_them.items() if by_all[number] == count]
    of_values: dict[int, list[int]] = {}  # their buffers
    for some in parts(values):
        rows = database.rows(f"SELECT object, buffer FROM buffers WHERE object IN ({listed(some)})")
        for object_, buffer in rows:
            of_values.setdefault(object_, []).append(buffer)
    by_values = Counter(each for several in of_values.values() for each in several)
    by_all = _referring(database, by_values)
    going = {number for number, count in by_values.items() if by_all[number] == count}
    shown = {}
    for some in parts([*values, *going]):
        rows = database.rows(
            f"SELECT id, digest, type, text, size FROM objects WHERE id IN ({listed(some)})"
        )
        shown.update({number: row for number, *row in rows})
    found = []
    for number in values:
        if number in shown:
            digest, type_, text, size = shown[number]
            for each in {*of_values.get(number, ())} & going:
                going.discard(each)
                size += shown[each][3] if each in shown else 0
            found.append(Going(bytes(digest), type_ or "bytes", text or "", int(size)))
    return sorted(found, key=lambda each: (-each.size, each.digest))


def _referring(database: Database, objects: Iterable[int]) -> Counter[int]:
    """How many refer to each of some objects."""
    found: Counter[int] = Counter()
    for some in parts([*objects]):
        for table, column in REFERRING:
            rows = database.rows(
                f"SELECT {column}, COUNT(*) FROM {table} WHERE {column} IN ({listed(some)})"
                f" GROUP BY {column}"
            )
            found.update({int(number): int(count) for number, count in rows})
    return found
