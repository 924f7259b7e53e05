"""What is seen of many calls at once, without the calls themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from snapshot.errors import UnknownCall, UsageError
from snapshot.store.database import Database, Row
from snapshot.store.events import Outcome

_BRIEF = (
    "SELECT calls.id, calls.parent, key, started, duration, outcome FROM calls"
    " JOIN versions ON versions.id = calls.version"
    " JOIN functions ON functions.id = versions.function"
)


@dataclass(frozen=True, slots=True)
class Brief:
    """What is shown of a call among others. started: seconds since 1970. duration: seconds."""

    id: int
    parent: int | None
    key: str
    started: float
    duration: float | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Summary:
    """The calls of a function.

    raised: how many raised an exception. total, longest: seconds that those took which have ended.
    first, last: when one began, in seconds since 1970.
    """

    key: str
    calls: int
    raised: int
    total: float
    longest: float
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Session:
    """The processes that were forked from one, which is the first of them.

    facts: of that one, see `Process`. processes: how many have calls. first, last: when a call
    began, in seconds since 1970.
    """

    name: str
    facts: dict[str, Any]
    processes: int
    calls: int
    first: float
    last: float


def summaries(database: Database, versions: Iterable[int] | None = None) -> list[Summary]:
    """Of all functions that have calls, or of those with these versions, by their keys."""
    which = "" if versions is None else f" WHERE version IN ({listed(versions)})"
    rows = database.rows(
        "SELECT key, SUM(calls), SUM(raised), SUM(total), MAX(longest), MIN(first), MAX(last) FROM"
        " (SELECT version, COUNT(*) AS calls, COUNT(CASE WHEN outcome = ? THEN 1 END) AS raised,"
        " COALESCE(SUM(duration), 0) AS total, COALESCE(MAX(duration), 0) AS longest,"
        f" MIN(started) AS first, MAX(started) AS last FROM calls{which} GROUP BY version) AS sums"
        " JOIN versions ON versions.id = version JOIN functions ON functions.id = function"
        " GROUP BY key",
        (int(Outcome.raised),),
    )
    found = [
        Summary(key, int(calls), int(raised), *(float(each) / 1e6 for each in times))
        for key, calls, raised, *times in rows
    ]
    return sorted(found, key=lambda each: each.key)


def durations(
    database: Database, versions: Iterable[int], bins: int
) -> list[tuple[float, float, int]]:
    """See `Calls.durations`."""
    if bins < 1:
        raise UsageError(f"a histogram has at least one bin, not {bins}")
    rows = database.rows(
        "SELECT duration, COUNT(*) FROM calls"
        f" WHERE version IN ({listed(versions)}) AND duration IS NOT NULL GROUP BY duration"
    )
    if not rows:
        return []
    shortest, longest = (max(1, each) for each in (min(rows)[0], max(rows)[0]))
    if shortest == longest:
        return [(shortest / 1e6, longest / 1e6, sum(int(count) for _, count in rows))]
    step = math.log(longest / shortest) / bins
    counts = [0] * bins
    for duration, count in rows:
        counts[min(bins - 1, int(math.log(max(1, duration) / shortest) / step))] += int(count)
    edges = [shortest / 1e6 * math.exp(step * n) for n in range(bins)] + [longest / 1e6]
    return list(zip(edges, edges[1:], counts, strict=False))


def sessions(database: Database) -> list[Session]:
    """Those that have calls, the newest first."""
    rows = database.rows(
        "SELECT session, COUNT(DISTINCT process), SUM(calls), MIN(first), MAX(last),"
        " MIN(process) FROM (SELECT thread, COUNT(*) AS calls, MIN(started) AS first,"
        " MAX(started) AS last FROM calls GROUP BY thread) AS sums"
        " JOIN threads ON threads.id = thread JOIN processes ON processes.id = process"
        " GROUP BY session"
    )
    found = []
    for name, processes, calls, first, last, oldest in rows:
        facts = database.row(  # the first one itself may have no calls
            "SELECT facts FROM processes WHERE writer = ? OR id = ? ORDER BY writer = ? DESC",
            (name, oldest, name),
        )
        assert facts is not None
        times = float(first) / 1e6, float(last) / 1e6
        found.append(Session(name, json.loads(facts[0]), int(processes), int(calls), *times))
    return sorted(found, key=lambda each: (each.first, each.name), reverse=True)


def ancestors(database: Database, number: int) -> list[Brief]:
    """See `Calls.ancestors`."""
    call = _brief(database, number)
    if call is None:
        raise UnknownCall(f"there is no call {number} in {database.name}")
    found: list[Brief] = []
    seen = {number}
    while call.parent is not None and call.parent not in seen:
        seen.add(call.parent)
        if (parent := _brief(database, call.parent)) is None:
            break
        found.append(parent)
        call = parent
    return found[::-1]


def below(database: Database, number: int, most: int) -> tuple[list[Brief], bool]:
    """See `Calls.below`."""
    children: dict[int, list[Brief]] = {}
    seen = {number}
    level = [number]
    cut = False
    while level and not cut:
        left = most - (len(seen) - 1)
        # Those that were seen are read again only where calls are damaged.
        rows = database.rows(
            f"{_BRIEF} WHERE calls.parent IN ({listed(level)})"
            f" AND calls.id != calls.parent AND calls.id != {int(number)}"
            f" ORDER BY started, calls.id LIMIT {left + 1}"
        )
        cut = len(rows) > left
        level = []
        for each in map(_of, rows[:left]):
            if each.id not in seen:
                assert each.parent is not None
                seen.add(each.id)
                level.append(each.id)
                children.setdefault(each.parent, []).append(each)
    return list(_in_depth(children, number)), cut


def _in_depth(children: dict[int, list[Brief]], number: int) -> Iterator[Brief]:
    waiting = children.get(number, [])[::-1]
    while waiting:
        call = waiting.pop()
        yield call
        waiting += children.get(call.id, [])[::-1]


def _brief(database: Database, number: int) -> Brief | None:
    row = database.row(f"{_BRIEF} WHERE calls.id = ?", (number,))
    return None if row is None else _of(row)


def _of(row: Row) -> Brief:
    number, parent, key, started, duration, outcome = row
    took = None if duration is None else duration / 1e6
    return Brief(number, parent, key, started / 1e6, took, Outcome(outcome))


def listed(numbers: Iterable[int]) -> str:
    """What stands between the brackets of an IN, also if that is nothing."""
    return ", ".join(map(str, numbers)) or "NULL"


def parts(numbers: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    """As many at a time as a statement should name."""
    for begin in range(0, len(numbers), size):
        yield numbers[begin : begin + size]
