"""What is known of the program's past: branches, states and stops, by time; all forks share it."""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from snapshot.debugger.tape import Tape

_NAMED = 5  # of several threads


class Stop(NamedTuple):
    """A moment at which there is, or was, a state.

    time: on the debugger's clock. state: its number. prompted: whether the user stood there.
    place: as text.
    """

    branch: int
    time: int
    state: int
    prompted: bool
    place: str


@dataclass
class Company:
    """Other threads ran beside the program's own.

    begin and end: from when to when, as far as is known. names: of those that were started.
    """

    begin: int
    names: list[str]
    end: int | None = None

    def __str__(self) -> str:
        names = ", ".join(map(repr, self.names[:_NAMED])) + ", …" * (len(self.names) > _NAMED)
        until = "on" if self.end is None else f"to {self.end}"
        return f"from position {self.begin} {until} other threads ran: {names}"


@dataclass
class Branch:
    """A line of events; where it was left, another one may have begun.

    number: 1 is what the program did first. parent and root: the branch that it left, and when;
    None for the first one. stops: by time. tip: how far it is known. process: the branch of the
    timeline at whose tip its process is, None if that has gone. ended: how the program ended.
    shown: when the program has written to the terminal last, or to what stands in its place.
    names: times that were named. hidden: whether it was forgotten. past: until when it is the past
    of a branch that was kept; None if one can go to its end. company: other threads, by time.
    """

    number: int
    parent: int | None
    root: int
    stops: list[Stop] = field(default_factory=list)
    tip: int = 0
    process: int | None = None
    ended: str | None = None
    shown: int = 0
    names: dict[str, int] = field(default_factory=dict)
    hidden: bool = False
    past: int | None = None
    company: list[Company] = field(default_factory=list)


class Chronicle:
    """The branches of a program under the debugger.

    told: what the user had told the debugger when the program went on last.
    """

    def __init__(self) -> None:
        self._told = b""
        self._tape = Tape()
        self._read = 0
        self._branches: dict[int, Branch] = {}
        self._is_kept = False

    def branches(self) -> dict[int, Branch]:
        """All of them, with what other processes have added."""
        for end, record in self._tape.records(self._read or self._tape.begin):
            kind, *facts = marshal.loads(record)
            getattr(self, f"_{kind}")(*facts)
            self._read = end
        return self._branches

    # What is added; there is no other way to change anything.

    def begin(self, parent: int | None, root: int) -> int:
        """A branch; its number."""
        number = max(self.branches(), default=0) + 1
        self._add("begun", number, parent, root)
        return number

    def stopped(self, stop: Stop) -> None:
        """A state was made."""
        self._add("stop", *stop)

    def reached(
        self, branch: int, time: int, process: int | None, ended: str | None = None
    ) -> None:
        """How far a branch is known, and whose process stands there."""
        self._add("tip", branch, time, process, ended)

    def mark(self, branch: int, name: str, time: int) -> None:
        """A moment has a name."""
        self._add("mark", branch, name, time)

    def gone(self, state: int) -> None:
        """The state was given up."""
        self._add("lost", state)

    def forget(self, branch: int) -> None:
        """A branch is not to be gone to any more."""
        self._add("hidden", branch, True)

    def restore(self, branch: int) -> None:
        self._add("hidden", branch, False)

    def become_past(self, branch: int, time: int) -> None:
        """Of a branch, what was up to a time is the past of one that was kept."""
        self._add("passed", branch, time)

    def accompanied(self, branch: int, time: int, name: str) -> None:
        """A thread of that name runs beside the program's own."""
        self._add("joined", branch, time, name)

    def shown(self, branch: int, time: int) -> None:
        """The program has written to a standard stream."""
        self._add("output", branch, time)

    def alone(self, branch: int, time: int) -> None:
        """No other thread runs any more."""
        self._add("alone", branch, time)

    def leave(self, told: bytes) -> None:
        """The program goes on, and that is what the user has told the debugger."""
        if told != self.told:
            self._add("left", told)

    def kept(self) -> None:
        """The process at the tip is the original now: nothing waits for an experiment to end."""
        self._add("original")

    def _add(self, *facts: Any) -> None:
        self._tape.append(marshal.dumps(facts))

    def _begun(self, number: int, parent: int | None, root: int) -> None:
        self._branches[number] = Branch(number, parent, root, tip=root)
        left = None if parent is None else self._branches[parent]
        if left is not None and left.past is not None:
            left.past = max(left.past, root)

    def _stop(self, *facts: int | str | bool) -> None:
        stop = Stop(*facts)  # type: ignore[arg-type]
        self._branches[stop.branch].stops.append(stop)

    def _tip(self, branch: int, time: int, process: int | None, ended: str | None) -> None:
        for each in self._branches.values():
            if each.process == process:
                each.process = None  # it has left that branch
        found = self._branches[branch]
        found.tip, found.process, found.ended = max(time, found.tip), process, ended
        if process is not None:
            found.past = None  # somebody has come to its end again, and it goes on

    def _mark(self, branch: int, name: str, time: int) -> None:
        for each in self._branches.values():
            each.names.pop(name, None)
        self._branches[branch].names[name] = time

    def _hidden(self, branch: int, hidden: bool) -> None:
        self._branches[branch].hidden = hidden

    def _passed(self, branch: int, time: int) -> None:
        self._branches[branch].past = time

    def _joined(self, branch: int, time: int, name: str) -> None:
        company = self._branches[branch].company
        if not company or company[-1].end is not None:
            company.append(Company(time, []))
        if name not in company[-1].names:
            company[-1].names.append(name)

    def _output(self, branch: int, time: int) -> None:
        self._branches[branch].shown = time

    def _alone(self, branch: int, time: int) -> None:
        self._branches[branch].company[-1].end = time

    def _original(self) -> None:
        self._is_kept = True

    def _left(self, told: bytes) -> None:
        self._told = told

    def _lost(self, state: int) -> None:
        for branch in self._branches.values():
            branch.stops = [each for each in branch.stops if each.state != state]

    # What can be asked.

    @property
    def told(self) -> bytes:
        self.branches()
        return self._told

    def is_kept(self) -> bool:
        """Whether the experiment of which this is the past was kept."""
        self.branches()
        return self._is_kept

    def company(self, branch: int, begin: int, end: int) -> Company | None:
        """The first other threads that ran between two times."""
        for each in self.branches()[branch].company:
            if begin < end and each.begin < end and (each.end is None or begin < each.end):
                return each
        return None

    def there(self, here: int) -> dict[int, Branch]:
        """The branches that one can go to the end of, and the one where somebody is."""
        return {
            number: each
            for number, each in self.branches().items()
            if number == here or (not each.hidden and each.past is None)
        }

    def marks(self) -> dict[str, tuple[int, int]]:
        """Branch and time of each name."""
        return {
            name: (each.number, at)
            for each in self.branches().values()
            for name, at in each.names.items()
            if not each.hidden and (each.past is None or at <= each.past)
        }

    def marks_before(self, branch: int, time: int) -> list[str]:
        """The names of earlier moments of a branch and those it comes from, in their order."""
        found = []
        for each, last in self.lineage(branch):
            found += [(at, name) for name, at in each.names.items() if at < time and at <= last]
        return [name for _, name in sorted(found)]

    def lineage(self, branch: int) -> Iterator[tuple[Branch, int]]:
        """The branch and those that it comes from, each with the last time that counts there."""
        found = self.branches()[branch]
        last = found.tip
        while True:
            yield found, last
            if found.parent is None:
                return
            found, last = self._branches[found.parent], found.root

    def owner(self, branch: int, time: int) -> Branch | None:
        """The branch of a lineage to which that time belongs; None before its beginning."""
        for found, _ in self.lineage(branch):
            if time >= self.first(found):
                return found
        return None

    def first(self, branch: Branch) -> int:
        """The earliest time at which there was a state."""
        return min((each.time for each in branch.stops), default=branch.root)

    def known(self, branch: int, time: int) -> Stop | None:
        """The first state of that time or later whose place an event can be compared with."""
        found = self.branches()[branch]
        end = found.tip if found.ended else None
        stops = [each for each in found.stops if each.time >= time and each.time != end]
        return min(stops, key=lambda each: each.time, default=None)

    def before(self, branch: int, time: int) -> list[Stop]:
        """The states of one branch from which that time can be reached, the nearest first."""
        stops = [each for each in self.branches()[branch].stops if each.time <= time]
        return sorted(stops, key=lambda each: (each.time, each.state), reverse=True)

    def prompts(self, branch: int) -> list[Stop]:
        """Where the user stood, in the order of time, one for each time."""
        found: dict[int, Stop] = {}
        for each, last in reversed(list(self.lineage(branch))):
            for stop in each.stops:
                if stop.prompted and stop.time <= last:
                    found[stop.time] = stop
        return [found[time] for time in sorted(found)]
