"""States and branches: what there is, where one is, and what follows from an event.

Everything here is decided on records; no process is known by more than its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from snapshot.errors import UnknownState, UsageError

Status = Literal["running", "frozen", "evicted", "ended"]


@dataclass(slots=True)
class State:
    """What there was after a cell, or is to be after a future.

    number: of its cell; 0 is before the first one.
    parent: the state from which its cell began, None for the first state.
    branch: the branch that it is on.
    line: the first line of the cell.
    made: when its cell began, on the clock of `time.monotonic`, in seconds.
    status: "running" (a future), "frozen", "evicted" (given up, or killed), "ended" (a future that
        left nothing).
    failed: whether the cell raised an exception.
    future: whether it is that of a future.
    name: as given by `name`, else None.
    pid: its process, while it is running or frozen.
    memory: bytes that its process shares with no other, as last measured.
    """

    number: int
    parent: int | None
    branch: int
    line: str
    made: float
    status: Status = "frozen"
    failed: bool = False
    future: bool = False
    name: str | None = None
    pid: int | None = None
    memory: int | None = None


@dataclass(slots=True)
class Branch:
    """A line of states.

    number: 1 is the branch that was there first.
    root: the state that it left, None for the first one.
    at: the last state on it, or its root.
    pid: the process at its tip, running or kept; None if it has died.
    """

    number: int
    root: int | None
    at: int
    pid: int | None


@dataclass(slots=True)
class Timeline:
    """All states and branches.

    first: the number of the first state.
    here: the branch that is live.
    next: the number that a cell or a future is given next. last_branch: that was given.
    cell: the number and the first line of the cell that runs, None at the prompt.
    """

    states: dict[int, State] = field(default_factory=dict)
    branches: dict[int, Branch] = field(default_factory=dict)
    first: int = 0
    here: int = 1
    next: int = 1
    last_branch: int = 1
    cell: tuple[int, str] | None = None

    @property
    def live(self) -> Branch:
        return self.branches[self.here]

    def begin(self, pid: int, first: int = 0) -> None:
        """The first process is there, before any cell, or in the one of that number."""
        self.first, self.next = first, first + 1
        self.branches[1] = Branch(1, None, first, pid)

    def take(self) -> int:
        """A number for a cell, or a future: each is given once."""
        number, self.next = self.next, self.next + 1
        return number

    def begun(self, number: int, line: str) -> None:
        """The live process runs a cell."""
        self.cell = number, line

    def passed(self) -> None:
        """The cell has ended, and left no state; or it never will."""
        self.cell = None

    def ended(self, number: int, line: str, made: float, pid: int | None, *, failed: bool) -> State:
        """The cell has ended; `pid` is the copy of the process, None if none could be made."""
        branch = self.live
        status: Status = "frozen" if pid is not None else "evicted"
        parent = branch.at if number != self.first else None
        state = State(number, parent, branch.number, line, made, status, failed, pid=pid)
        self.states[number] = state
        branch.at = number
        self.cell = None
        return state

    def started(self, line: str, made: float, pid: int) -> State:
        """A future has begun: a branch of its own."""
        number, branch = self.take(), self.take_branch()
        state = State(number, self.live.at, branch, line, made, "running", future=True, pid=pid)
        self.states[number] = state
        return state

    def adopted(self, parent: int, line: str, made: float, pid: int) -> State:
        """A copy of a state has gone on to another one, which nobody is at."""
        number, branch = self.take(), self.states[parent].branch
        self.states[number] = State(number, parent, branch, line, made, pid=pid)
        return self.states[number]

    def find(self, number: object) -> State:
        """The state of that number or name, frozen. Raises `UnknownState`, with the nearest one."""
        if isinstance(number, str):
            for state in self.states.values():
                if state.name == number and state.status == "frozen":
                    return state
            names = ", ".join(repr(each.name) for each in self.frozen() if each.name)
            raise UnknownState(f"there is no state {number!r}; {_those('named', names)}")
        if not isinstance(number, int) or isinstance(number, bool):
            raise UsageError(f"{number!r} is no state: give the number of a cell, or a name")
        found = self.states.get(number)
        if found is not None and found.status == "frozen":
            return found
        if found is not None and found.status == "running":
            raise UnknownState(f"the future {number} still runs: it is a state when it is done")
        raise UnknownState(f"{self._absence(number, found)}; {self._nearest(number)}")

    def frozen(self) -> Iterator[State]:
        return (each for each in self.states.values() if each.status == "frozen")

    def left(self, *, drop: bool) -> None:
        """The live process is left, and kept as the tip of its branch, or dropped with it."""
        self.cell = None
        if drop:
            del self.branches[self.here]

    def landed(self, number: int, state: State, pid: int) -> Branch:
        """A copy of a state is live: a branch of that number begins there."""
        self.branches[number] = Branch(number, state.number, state.number, pid)
        self.here = number
        return self.branches[number]

    def returned(self, branch: Branch) -> None:
        """The process at the tip of that branch is live."""
        self.here = branch.number

    def inherited(self, branch: Branch, state: State, pid: int) -> None:
        """A copy of that state is live in the place of the process of that branch, which died."""
        self.cell = None
        branch.at, branch.pid, self.here = state.number, pid, branch.number

    def died(self, pid: int) -> Branch | State | None:
        """A process has ended: the branch whose tip it was, or the state, or nothing of ours."""
        for branch in self.branches.values():
            if branch.pid == pid:
                branch.pid = None
                return branch
        for state in self.states.values():
            if state.pid == pid:
                state.status = "ended" if state.status == "running" else "evicted"
                state.pid = state.memory = None
                return state
        return None

    def refuge(self, branch: Branch) -> State | None:
        """Where to land when the process of a branch has died: the last state before it."""
        number: int | None = branch.at
        while number is not None:
            state = self.states.get(number)
            if state is None:
                return None
            if state.status == "frozen":
                return state
            number = state.parent
        return None

    def branch(self, number: object) -> Branch:
        """Raises `UnknownState` if there is no such branch."""
        if isinstance(number, int) and number in self.branches:
            return self.branches[number]
        there = ", ".join(map(str, sorted(self.branches)))
        verb = "is" if len(self.branches) == 1 else "are"
        raise UnknownState(f"there is no branch {number!r}; there {verb} {there}")

    def take_branch(self) -> int:
        """A number for a branch: each is given once."""
        self.last_branch += 1
        return self.last_branch

    def _absence(self, number: int, found: State | None) -> str:
        if found is None:
            reached = 0 <= number < self.next
            return f"there is no state {number}" + ("" if reached else " yet" * (number > 0))
        if found.status == "ended":
            return f"the future {number} left no state"
        return f"state {number} is gone (thinned out, cleared or killed)"

    def _nearest(self, number: int) -> str:
        there = sorted(self.frozen(), key=lambda each: (abs(each.number - number), each.number))
        if not there:
            return "there is none; tm.saving(True) keeps them"
        return f"the nearest is {there[0].number}: {there[0].line or 'before the first cell'}"


def _those(kind: str, names: str) -> str:
    return f"there are {names}" if names else f"none is {kind}"
