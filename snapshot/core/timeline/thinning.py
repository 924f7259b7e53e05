"""Which states to give up when there are too many, or they hold too much memory: pure decisions.

The older the states, the farther apart are those that stay: their distance grows with their age.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snapshot.core.memory import size
from snapshot.core.timeline.records import State


@dataclass(frozen=True, slots=True)
class Budget:
    """What states may cost.

    states: how many there may be. memory: bytes that they may hold for themselves, all together.
    """

    states: int
    memory: int

    def __str__(self) -> str:
        return f"{self.states} states and {size(self.memory)}"


def superfluous(states: Iterable[State], budget: Budget, spared: frozenset[int]) -> list[State]:
    """The states to give up, in that order, so that the others are within the budget.

    spared: numbers of those that stay in any case. Named ones go last.
    """
    left = sorted((each for each in states if each.status == "frozen"), key=lambda s: s.number)
    going: list[State] = []
    while True:
        over = sum(each.memory or 0 for each in left) > budget.memory
        if len(left) <= budget.states and not over:
            return going
        victim = _victim(left, spared, heavy=over)
        if victim is None:
            return going
        left.remove(victim)
        going.append(victim)


def _victim(states: Sequence[State], spared: frozenset[int], *, heavy: bool) -> State | None:
    """The state whose neighbours are nearest to each other, seen from the last one.

    heavy: weigh that by the memory which giving it up sets free.
    """
    last = states[-1].number if states else 0
    best: tuple[bool, float] | None = None
    victim = None
    for index, state in enumerate(states):
        if state.number in spared:
            continue
        before = states[index - 1].number if index else -last - 1  # nothing replaces the oldest
        after = states[index + 1].number if index + 1 < len(states) else last + 1
        cost = (after - before) / (last - state.number + 1)
        if heavy:
            cost /= (state.memory or 0) + 1
        rank = (state.name is not None, cost)
        if best is None or rank < best:
            best, victim = rank, state
    return victim
