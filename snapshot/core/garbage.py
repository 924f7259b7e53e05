"""Cycles that nobody refers to, where states freeze the objects that there are.

What is frozen (`memory.freeze`) is out of the collector's sight, so garbage is best found before
that. A full collection writes to every page that has a container, of each of which the states then
keep a version; it comes when Python itself would make one: when a quarter is new.
"""

from __future__ import annotations

import gc

_MANY = 100_000  # objects: fewer are soon looked through, however often
_PART = 0.25


class Garbage:
    """Of a process of which states are made, again and again.

    Nothing is collected where Python's own collector is disabled.
    """

    def __init__(self) -> None:
        self._begun = False
        self._new = 0  # objects that were frozen since everything was looked through
        self._enough = 0.0

    def collect(self) -> None:
        """Among what is new since the last state."""
        if gc.isenabled() and self._begun and len(gc.get_objects()) < _MANY:
            gc.collect()

    def collect_before_freezing(self) -> None:
        """The same; or among everything, if a quarter of it is new since that was last done.

        Where a cell has made many objects, and they are less than that quarter, only the youngest.
        """
        if gc.isenabled() and self._begun:
            new = len(gc.get_objects())
            if new < _MANY:
                gc.collect()
                new = len(gc.get_objects())
            if self._is_enough(new):
                gc.unfreeze()
                gc.collect()
                self._new, self._enough = 0, 0.0
            else:
                self._new += new
                if new >= _MANY:
                    gc.collect(1)
        self._begun = True

    def _is_enough(self, new: int) -> bool:
        if self._new + new <= _MANY:
            return False
        if not self._enough:
            self._enough = _PART * gc.get_freeze_count()  # which goes through all of them
        return self._new + new > self._enough
