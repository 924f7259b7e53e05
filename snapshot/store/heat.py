"""Heat: which functions of an application ran, from the records of spools to what is read of it.

A process says once in each of its spool files which function a number stands for, and then no more
than sums. `application` is the name of what is traced, so that several can share a store.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from snapshot.store.database import Database
from snapshot.store.searching import storable
from snapshot.store.spool import Segment

KIND = 2  # of the records of spools
MODES = ("once", "activity", "counts")
_DAY = 86400
_PUBLISHED, _FUNCTIONS, _SUMS = b"P", b"F", b"S"
_SUM = struct.Struct("<IQdd")


class Place(NamedTuple):
    """A function of an application: where its text is, from the root on."""

    key: str
    path: str
    line: int


class Origin(NamedTuple):
    """What a process runs. deployment: a name that keeps its sums apart. python: `3.12`."""

    application: str
    deployment: str
    python: str


class Seen(NamedTuple):
    """A function as it was when it ran.

    digest: its `code_digest`. text: the digest of its text in the inventory; "" where it is not in
    there, as it was made from a string.
    """

    key: str
    digest: bytes
    path: str
    line: int
    text: str


class Sum(NamedTuple):
    """How often a function ran, by its number, since the last record; seconds since 1970."""

    number: int
    hits: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Hit:
    """What is known of one version of a function in one deployment.

    hits: calls in mode `counts`, seconds in which it was called in mode `activity`, and processes
    that called it in mode `once`. first, last: seconds since 1970.
    """

    seen: Seen
    deployment: str
    python: str
    hits: int
    first: float
    last: float
    modes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Published:
    """A function that a traced process has found in the source. archived: when it was found to be
    gone, None if it is there."""

    place: Place
    archived: float | None


def told_published(origin: Origin, places: Iterable[Place]) -> bytes:
    """The record of all functions of an application."""
    facts = {"origin": origin, "time": time.time(), "functions": list(places)}
    return _PUBLISHED + _packed(facts)


def told_functions(origin: Origin, functions: Iterable[tuple[int, Seen]]) -> bytes:
    """The record of what numbers stand for from now on in this file."""
    several = [
        [number, each.key, each.digest.hex(), each.path, each.line, each.text]
        for number, each in functions
    ]
    return _FUNCTIONS + _packed({"origin": origin, "functions": several})


def told_sums(mode: str, sums: Iterable[Sum]) -> bytes:
    """The record of sums, whose functions are told in this file."""
    content = b"".join(_SUM.pack(*each) for each in sums)
    return _SUMS + bytes([MODES.index(mode)]) + zlib.compress(content, 1)


def _packed(facts: Any) -> bytes:
    return zlib.compress(json.dumps(facts).encode(), 1)


def _unpacked(record: bytes) -> Any:
    return _storable(json.loads(zlib.decompress(record[1:])))


def _storable(content: Any) -> Any:
    """Whatever a process has told: a text that no database takes would stop all that come after."""
    match content:
        case str():
            return storable(content)
        case list():
            return [_storable(each) for each in content]
        case dict():
            return {name: _storable(each) for name, each in content.items()}
    return content


class Heat:
    """That of a store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # What is read.

    def hits(
        self, application: str, since: float | None = None, key: str | None = None
    ) -> list[Hit]:
        """What has run, version by version. since: what ran then or later, and its sums from that
        day on. key: of one function."""
        which, values = (
            ("", ()) if key is None else (" AND heat_versions.key = ?", (storable(key),))
        )
        rows = self._database.rows(
            "SELECT heat_versions.key, digest, path, line, text, heat_deployments.name, python,"
            " mode, hits, first, last FROM heat_versions"
            " JOIN heat_deployments ON heat_deployments.id = heat_versions.deployment"
            " JOIN (SELECT version, mode, SUM(hits) AS hits, MIN(first) AS first,"
            " MAX(last) AS last FROM heat_hits WHERE last >= ? GROUP BY version, mode) AS sums"
            " ON sums.version = heat_versions.id"
            f" WHERE application = ?{which} ORDER BY heat_versions.id",
            (-1.0 if since is None else since, application, *values),
        )
        found: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
        for key, digest, path, line, text, deployment, python, *sums in rows:
            seen = Seen(key, bytes(digest), path, int(line), text)
            found[seen, deployment, python].append(tuple(sums))
        return [
            Hit(
                *(seen, deployment, python),
                sum(int(hits) for _, hits, _, _ in sums),
                min(float(first) for _, _, first, _ in sums),
                max(float(last) for _, _, _, last in sums),
                frozenset(MODES[mode] for mode, *_ in sums),
            )
            for (seen, deployment, python), sums in found.items()
        ]

    def days(self, application: str, key: str) -> list[tuple[Seen, float, int]]:
        """On which days a function of that key ran, in each of its versions, and its hits there.

        A day is told by its begin, in seconds since 1970; the earliest comes first.
        """
        rows = self._database.rows(
            "SELECT key, digest, path, line, text, day, SUM(hits) FROM heat_hits"
            " JOIN heat_versions ON heat_versions.id = heat_hits.version"
            " JOIN heat_deployments ON heat_deployments.id = heat_versions.deployment"
            " WHERE application = ? AND key = ?"
            " GROUP BY key, digest, path, line, text, day ORDER BY day",
            (application, key),
        )
        return [
            (Seen(key, bytes(digest), path, int(line), text), float(day) * _DAY, int(hits))
            for key, digest, path, line, text, day, hits in rows
        ]

    def published(self, application: str) -> list[Published]:
        """The functions that traced processes have found, those that are gone included."""
        rows = self._database.rows(
            "SELECT key, path, line, archived FROM heat_functions WHERE application = ?",
            (application,),
        )
        return [
            Published(Place(key, path, int(line)), None if gone is None else float(gone))
            for key, path, line, gone in sorted(rows, key=lambda row: str(row[0]))
        ]

    def applications(self) -> list[str]:
        """Those that were ever traced."""
        rows = self._database.rows("SELECT DISTINCT application FROM heat_deployments")
        return sorted(str(name) for (name,) in rows)

    def deployments(self, application: str) -> list[str]:
        """Those of an application, the first one first."""
        rows = self._database.rows(
            "SELECT name FROM heat_deployments WHERE application = ? ORDER BY id", (application,)
        )
        return [str(name) for (name,) in rows]

    # What is written.

    def restore(self, application: str, keys: Iterable[str]) -> list[str]:
        """Take functions out of the archive, until the source is published again without them;
        the keys of those that were in it."""
        restored = []
        with self._database.transaction():
            self._database.lock(exclusive=True)
            for key in keys:
                values = (application, storable(key))
                which = "application = ? AND key = ? AND archived IS NOT NULL"
                if self._database.row(f"SELECT 1 FROM heat_functions WHERE {which}", values):
                    self._database.rows(
                        f"UPDATE heat_functions SET archived = NULL WHERE {which}", values
                    )
                    restored.append(key)
        return restored

    def fold(self, segment: Segment, records: Sequence[bytes]) -> None:
        """Take in records of one spool file, in a transaction."""
        folding = _Folding(self._database, lambda: _content(segment))
        for each in records:
            folding.take(each)
        folding.finish()


def _content(segment: Segment) -> Iterator[bytes]:
    return (content for kind, _, content in segment.records(0) if kind == KIND)


class _Folding:
    """Takes in records of one file."""

    def __init__(self, database: Database, whole: Callable[[], Iterator[bytes]]) -> None:
        """whole: all records of the file, of which the first may be taken in already."""
        self._database = database
        self._whole = whole
        self._versions: dict[int, int] = {}
        self._sums: dict[tuple[int, int, int], Sum] = {}

    def take(self, record: bytes) -> None:
        kind = record[:1]
        if kind == _PUBLISHED:
            self._publish(_unpacked(record))
        elif kind == _FUNCTIONS:
            self._learn(record)
        elif kind == _SUMS:
            self._add(record[1], zlib.decompress(record[2:]))

    def finish(self) -> None:
        """Write what the sums are."""
        self._database.many(
            "INSERT INTO heat_hits (version, day, mode, hits, first, last)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (version, day, mode) DO UPDATE SET"
            " hits = heat_hits.hits + excluded.hits,"
            " first = CASE WHEN excluded.first < heat_hits.first"
            " THEN excluded.first ELSE heat_hits.first END,"
            " last = CASE WHEN excluded.last > heat_hits.last"
            " THEN excluded.last ELSE heat_hits.last END",
            [(*where, hits, first, last) for where, (_, hits, first, last) in self._sums.items()],
        )

    def _add(self, mode: int, content: bytes) -> None:
        for each in map(Sum._make, _SUM.iter_unpack(content)):
            if each.number not in self._versions:
                self._learn_all()
            if each.number not in self._versions:  # it was killed before it had said that
                continue
            where = (self._versions[each.number], int(each.last // _DAY), mode)
            before = self._sums.get(where, Sum(0, 0, each.first, each.last))
            self._sums[where] = Sum(
                0,
                before.hits + each.hits,
                min(before.first, each.first),
                max(before.last, each.last),
            )

    def _learn_all(self) -> None:
        for each in self._whole():
            if each[:1] == _FUNCTIONS:
                self._learn(each)

    def _learn(self, record: bytes) -> None:
        facts = _unpacked(record)
        origin = Origin(*facts["origin"])
        deployment = self._deployment(origin)
        for number, key, digest, path, line, text in facts["functions"]:
            names = ("deployment", "key", "digest", "line", "python")
            values = (deployment, key, bytes.fromhex(digest), line, origin.python)
            more = {"path": path, "text": text}
            self._versions[number] = self._made("heat_versions", names, values, more)

    def _deployment(self, origin: Origin) -> int:
        names = ("application", "name")
        return self._made("heat_deployments", names, (origin.application, origin.deployment), {})

    def _made(
        self, table: str, names: Sequence[str], values: Sequence[Any], more: dict[str, Any]
    ) -> int:
        """The id of a row with these values, which is made where there is none."""
        find = f"SELECT id FROM {table} WHERE {' AND '.join(f'{each} = ?' for each in names)}"
        row = self._database.row(find, values)
        if row is None:
            columns = [*names, *more]
            marks = ", ".join("?" * len(columns))
            self._database.rows(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})",
                (*values, *more.values()),
            )
            row = self._database.row(find, values)
        assert row is not None
        return int(row[0])

    def _publish(self, facts: dict[str, Any]) -> None:
        """These are the functions of an application; others that it had are archived."""
        origin, now = Origin(*facts["origin"]), float(facts["time"])
        self._deployment(origin)
        known = {
            key: (path, int(line), archived)
            for key, path, line, archived in self._database.rows(
                "SELECT key, path, line, archived FROM heat_functions WHERE application = ?",
                (origin.application,),
            )
        }
        places = {place.key: place for place in (Place(*each) for each in facts["functions"])}
        self._database.many(
            "INSERT INTO heat_functions (path, line, application, key) VALUES (?, ?, ?, ?)",
            [
                (each.path, each.line, origin.application, each.key)
                for each in places.values()
                if each.key not in known
            ],
        )
        self._database.many(
            "UPDATE heat_functions SET path = ?, line = ?, archived = NULL"
            " WHERE application = ? AND key = ?",
            [
                (each.path, each.line, origin.application, each.key)
                for each in places.values()
                if each.key in known and known[each.key] != (each.path, each.line, None)
            ],
        )
        self._database.many(
            "UPDATE heat_functions SET archived = ? WHERE application = ? AND key = ?",
            [
                (now, origin.application, key)
                for key, (_, _, archived) in known.items()
                if archived is None and key not in places
            ],
        )
