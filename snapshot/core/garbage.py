"""Cycles that nobody refers to, where states freeze the objects that there are.

What is frozen (`memory.freeze`) is out of the collector's sight, so garbage is best found before
that. A full collection writes to every page that has a container, of each of which the states then
keep a version; it comes when Python itself would make one: when a quarter is new.
"""

from __future__ import annotations

import gc

_LEAST = 100_000  # objects that are new before it is worth while to count the others
_PART = 0.25


class Garbage:
    """Of a process of which states are made, again and again."""

    def __init__(self) -> None:
        self._begun = False
        self._new = 0
        self._enough = 0.0

    def collect(self) -> None:
        """Among what is new since the last state. Nothing where Python's collector is disabled."""
        if gc.isenabled() and self._begun:
            gc.collect()

    def collect_before_freezing(self) -> None:
        """The same; among everything, if that has grown by a quarter since it was last done."""
        self.collect()
        if gc.isenabled() and self._begun:
            self._new += len(gc.get_objects(generation=2))
            if self._new > _LEAST and not self._enough:
                self._enough = _PART * gc.get_freeze_count()  # which goes through all of them
            if self._new > max(_LEAST, self._enough):
                gc.unfreeze()
                gc.collect()
                self._new, self._enough = 0, 0.0
        self._begun = True
