"""What is known of the program's past: branches, states and stops, by time; all forks share it."""

from __future__ import annotations

import marshal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from snapshot.debugger.tape import Tape


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
class Branch:
    """A line of events; where it was left, another one may have begun.

    number: 1 is what the program did first. parent and root: the branch that it left, and when;
    None for the first one. stops: by time. tip: how far it is known. process: the branch of the
    timeline at whose tip its process is, None if that has gone. ended: how the program ended.
    names: times that were named. hidden: whether it was forgotten.
    """

    number: int
    parent: int | None
    root: int
    stops: list[Stop] = field(default_factory=list)
    tip: int = 0
    process: int | None = None
    ended: str | None = None
    names: dict[str, int] = field(default_factory=dict)
    hidden: bool = False


class Chronicle:
    """The branches of a program under the debugger."""

    def __init__(self) -> None:
        self._tape = Tape()
        self._read = 0
        self._branches: dict[int, Branch] = {}

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

    def _add(self, *facts: Any) -> None:
        self._tape.append(marshal.dumps(facts))

    def _begun(self, number: int, parent: int | None, root: int) -> None:
        self._branches[number] = Branch(number, parent, root, tip=root)

    def _stop(self, *facts: int | str | bool) -> None:
        stop = Stop(*facts)  # type: ignore[arg-type]
        self._branches[stop.branch].stops.append(stop)

    def _tip(self, branch: int, time: int, process: int | None, ended: str | None) -> None:
        found = self._branches[branch]
        found.tip, found.process, found.ended = max(time, found.tip), process, ended

    def _mark(self, branch: int, name: str, time: int) -> None:
        for each in self._branches.values():
            each.names.pop(name, None)
        self._branches[branch].names[name] = time

    def _hidden(self, branch: int, hidden: bool) -> None:
        self._branches[branch].hidden = hidden

    def _lost(self, state: int) -> None:
        for branch in self._branches.values():
            branch.stops = [each for each in branch.stops if each.state != state]

    # What can be asked.

    def marks(self) -> dict[str, tuple[int, int]]:
        """Branch and time of each name."""
        branches = self.branches().values()
        return {name: (each.number, at) for each in branches for name, at in each.names.items()}

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
