"""Cycles that nobody refers to: when they go is given by the world, too.

Python looks for them whenever a number of objects was made, among those that are young. The
debugger makes objects of its own, and what was frozen with a state is not looked at any more: a
repeat would find others, at other times. So Python is kept from it, and all there is is looked
through at milestones of the clock, which a repeat comes by.
"""

from __future__ import annotations

from gc import (
    collect,
    get_count,
    get_objects,
    get_threshold,
    isenabled,
    set_threshold,
    unfreeze,
)

_FEW = 10_000  # objects: fewer new ones are not worth it
_PART = 4  # of all objects, that must be new
_NEVER = 1 << 30  # objects that Python would have to make before it looks itself


class Garbage:
    """Of a program, while the debugger is around it.

    thresholds: those that the program has set, and sees. `gc.disable` and `gc.enable` are left to
    it: they hold here, too.
    """

    def __init__(self) -> None:
        self._inside = False
        self._new = self._counted = 0
        self._enough = _FEW
        self.thresholds = get_threshold()

    def enter(self) -> None:
        """Python looks for none from now on."""
        self._inside = True
        self.set(*get_threshold())

    def leave(self) -> None:
        """It does again."""
        if self._inside:
            self._inside = False
            set_threshold(*self.thresholds)

    def set(self, first: int, *others: int) -> None:
        """What `gc.set_threshold` is to do."""
        set_threshold(first, *others)
        self.thresholds = get_threshold()
        if self._inside and first:
            set_threshold(_NEVER, *self.thresholds[1:])

    def is_enough(self) -> bool:
        """Whether there is so much that is new that it should be looked through."""
        count = get_count()[0]
        # To freeze all objects, as is done with each state, begins the count anew.
        self._new += count - self._counted if count >= self._counted else count
        self._counted = count
        return self._new > self._enough and isenabled() and get_threshold()[0] == _NEVER

    def collect(self) -> int:
        """Free what can be reached no more, whenever it was made; how many objects that were."""
        unfreeze()
        found = collect()
        self._new = self._counted = 0
        self._enough = max(_FEW, len(get_objects()) // _PART)
        return found
