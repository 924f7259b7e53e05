"""The past of a program under the debugger, as its supervisor knows it: for those who look.

The debugger tells where each state stands, and at each prompt where it is; nobody else uses this.
"""

from __future__ import annotations

import bisect
import sys
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from snapshot.core.timeline.records import Branch, State, Timeline


class Stop(NamedTuple):
    """Where a state stands: on which branch of the past, and when. asked: whether somebody was
    asked there."""

    branch: int
    position: int
    asked: bool


class Course(NamedTuple):
    """A branch of the past.

    parent, root: the branch that it left, and when. until: how far one can go to it, None for all
    of it. process: the branch of the timeline at whose tip its process is. ended: how the program
    ended there.
    """

    number: int
    parent: int | None
    root: int
    until: int | None
    process: int | None
    ended: str | None


_FIRST = Course(1, None, 0, None, None, None)


@dataclass
class Past:
    """stops: by the numbers of states. courses: by their numbers, as told last. branch, position,
    line: where somebody is asked, or was last. runs: whether the program has gone on since."""

    stops: dict[int, Stop] = field(default_factory=dict)
    courses: dict[int, Course] = field(default_factory=lambda: {1: _FIRST})
    branch: int = 1
    position: int = 0
    line: str = ""
    runs: bool = True

    def seen(self, timeline: Timeline) -> tuple[Timeline, int]:
        """The same states in the order of the past, and that at which, or after which, one is."""
        frozen = {each.number: each for each in timeline.frozen()}
        self.stops = {number: self.stops[number] for number in self.stops.keys() & frozen.keys()}
        order = _Order(self)
        states: dict[int, State] = {}
        for number in sorted(frozen.keys() - self.stops.keys()):  # the beginning, before all stops
            order.first = number if order.first is None else order.first
            states[number] = replace(frozen[number], parent=None, branch=1)
        for branch, stops in order.along.items():
            before = order.before(branch)
            for _, number in stops:
                line = frozen[number].line.partition(" ")[2]  # the position is told by itself
                states[number] = replace(frozen[number], parent=before, branch=branch, line=line)
                before = number
        view = Timeline(states, here=self.branch)
        for course in self.courses.values():
            tip = timeline.branches.get(course.process or 0)
            root = None if course.parent is None else order.before(course.number)
            at = order.last(course.number, sys.maxsize) or 0
            pid = None if tip is None else tip.pid
            view.branches[course.number] = Branch(course.number, root, at, pid)
        return view, order.last(self.branch, self.position) or 0


class _Order:
    """The states of each branch by their positions. first: the state before all of them."""

    def __init__(self, past: Past) -> None:
        self._courses = past.courses
        self.first: int | None = None
        self.along: dict[int, list[tuple[int, int]]] = {number: [] for number in past.courses}
        for number, (branch, position, _) in past.stops.items():
            course = past.courses.get(branch)
            if course is not None and (course.until is None or position <= course.until):
                self.along[branch].append((position, number))
        for each in self.along.values():
            each.sort()

    def before(self, branch: int) -> int | None:
        """The state at which a branch has left its parent, or the last one before."""
        course = self._courses.get(branch)
        if course is None or course.parent is None:
            return self.first
        return self.last(course.parent, course.root)

    def last(self, branch: int, position: int) -> int | None:
        """The last state up to a position, on a branch or those that it comes from."""
        stops = self.along.get(branch, [])
        index = bisect.bisect(stops, position, key=lambda each: each[0])
        return stops[index - 1][1] if index else self.before(branch)
