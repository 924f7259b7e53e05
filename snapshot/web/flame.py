"""The calls around one: as a tree, and as a strip on which each has its time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snapshot.store.calls import Call
from snapshot.store.events import Outcome
from snapshot.store.looking import Brief

_FEW = 60  # calls up to which the whole tree is unfolded
_DEEPEST = 24  # levels of lists in lists; what is deeper stands in the last one
_ROWS = 40  # of a strip
_MOMENT = 1e-3  # seconds that a call may seem to outlast the one that has made it
_COLOURS = 6
_NARROWEST = 0.15  # percent of the width that a bar has at least, to be seen
_NAMED = 1.5  # percent from which on it has its name in it


@dataclass(frozen=True, slots=True)
class Node:
    """A call in a tree. level: from 1. opens: a list of its calls follows; is_open: unfolded.

    closes: how many lists end after it.
    """

    call: Brief
    level: int
    opens: bool
    is_open: bool
    closes: int


@dataclass(frozen=True, slots=True)
class Bar:
    """A call on a strip. x, width: percent of that. row: from 0. look: the class of its colour."""

    call: Brief
    x: float
    width: float
    row: int
    look: str
    name: str


@dataclass(frozen=True, slots=True)
class Strip:
    """seconds: what the whole width is. left_out: how many calls are in rows that are not drawn."""

    bars: list[Bar]
    rows: int
    seconds: float
    left_out: int


def brief(call: Call) -> Brief:
    """The call as it is shown among others."""
    parts = call.id, call.parent, call.function.key, call.started, call.duration, call.outcome
    return Brief(*parts)


def tree(above: Sequence[Brief], call: Brief, below: Sequence[Brief]) -> list[Node]:
    """above: its ancestors, the outermost first. below: what it has made, in depth."""
    calls = [*above, call, *below]
    levels = [min(each, _DEEPEST) for each in _levels(above, call, below)]
    found = []
    for place, (each, level) in enumerate(zip(calls, levels, strict=True)):
        after = levels[place + 1] if place + 1 < len(levels) else 1
        is_open = place <= len(above) or len(calls) <= _FEW
        found.append(Node(each, level, after > level, is_open, max(0, level - after)))
    return found


def _levels(above: Sequence[Brief], call: Brief, below: Sequence[Brief]) -> Iterator[int]:
    known = {each.id: place for place, each in enumerate((*above, call), 1)}
    yield from known.values()
    for each in below:
        assert each.parent is not None
        known[each.id] = known[each.parent] + 1
        yield known[each.id]


def strip(call: Brief, below: Sequence[Brief]) -> Strip:
    """The call, with those that it has made beneath it. Those that overlap have rows of their own,
    as those of threads and of coroutines do."""
    calls = [call, *below]
    begin = min(each.started for each in calls)
    end = max(each.started + (each.duration or 0.0) for each in calls)
    ends = _ends(calls, end)
    whole = max(end - begin, 1e-6)
    lanes: list[list[float]] = []  # of each level, where each of its rows is free again
    placed: list[tuple[Brief, float, float, int, int]] = []
    for each, level in zip(calls, _levels((), call, below), strict=True):
        while len(lanes) < level:
            lanes.append([])
        free = lanes[level - 1]
        until = ends[each.id]
        slack = max(2e-6, whole * 1e-5)
        lane = next((n for n, at in enumerate(free) if at <= each.started + slack), len(free))
        if lane == len(free):
            free.append(until)
        free[lane] = until
        x = 100 * (each.started - begin) / whole
        width = max(_NARROWEST, 100 * (until - each.started) / whole)
        placed.append((each, min(x, 100 - _NARROWEST), width, level - 1, lane))
    firsts = [sum(map(len, lanes[:level])) for level in range(len(lanes))]
    bars = [
        Bar(each, x, min(width, 100 - x), firsts[level] + lane, _look(each), _name(each, width))
        for each, x, width, level, lane in placed
        if firsts[level] + lane < _ROWS
    ]
    rows = min(_ROWS, sum(map(len, lanes)))
    return Strip(bars, rows, whole, len(calls) - len(bars))


def _ends(calls: Sequence[Brief], end: float) -> dict[int, float]:
    """When each has ended; what runs still, at the end of the strip.

    The clock of a call begins when its arguments are stored, a moment after `started`.
    """
    ends = {
        each.id: end if each.duration is None else each.started + each.duration for each in calls
    }
    for each in reversed(calls[1:]):
        assert each.parent is not None
        if 0 < ends[each.id] - ends[each.parent] < _MOMENT:
            ends[each.parent] = ends[each.id]
    return ends


def _look(call: Brief) -> str:
    if call.outcome is Outcome.raised:
        return "raised"
    return f"of{zlib.crc32(call.key.encode(errors='replace')) % _COLOURS}"


def _name(call: Brief, width: float) -> str:
    return call.key.partition(":")[2] if width >= _NAMED else ""
