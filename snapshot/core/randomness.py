"""A child goes on with the original's sequence of random numbers, or has one of its own."""

from __future__ import annotations

import sys
from typing import Any, cast


class Randomness:
    """The state of module `random` before a fork: Python gives the child another one.

    It is got and set by the C class, since `random.setstate` makes 625 numbers anew in Python: a
    fifth of what a small fork costs.
    """

    def __init__(self) -> None:
        self._module: Any = sys.modules.get("random")
        if self._module:
            self._sequence: Any = self._module.getstate.__self__
            # What `super()` gives is found at run time; its type is not known.
            self._plain = cast(Any, super(self._module.Random, self._sequence))
            self._state = self._plain.getstate()
            self._next_gauss = self._sequence.gauss_next

    def in_child(self, *, reseed: bool) -> None:
        """Go on with the sequence, or with `reseed` seed `random` and numpy's global generator.

        Generator objects that the program holds itself are not touched.
        """
        numpy_random: Any = sys.modules.get("numpy.random")
        if not reseed:
            if self._module:
                self._plain.setstate(self._state)
                self._sequence.gauss_next = self._next_gauss
        else:
            if self._module:
                self._module.seed()
            if numpy_random:
                numpy_random.seed()
