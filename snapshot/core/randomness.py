"""A child goes on with the original's sequence of random numbers, or has one of its own."""

from __future__ import annotations

import sys
from typing import Any


class Randomness:
    """The state of module `random` before a fork: Python gives the child another one."""

    def __init__(self) -> None:
        self._module: Any = sys.modules.get("random")
        self._state = self._module.getstate() if self._module else None

    def in_child(self, *, reseed: bool) -> None:
        """Go on with the sequence, or with `reseed` seed `random` and numpy's global generator.

        Generator objects that the program holds itself are not touched.
        """
        numpy_random: Any = sys.modules.get("numpy.random")
        if not reseed:
            if self._module:
                self._module.setstate(self._state)
        else:
            if self._module:
                self._module.seed()
            if numpy_random:
                numpy_random.seed()
