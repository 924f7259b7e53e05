"""What a generator has yielded: each value as it was then."""

from __future__ import annotations

import pickle
from typing import Any

from snapshot.replay.contents import ATOMS, acceptable, instead_of, whole
from snapshot.replay.redaction import Scrubbing

MOST = 10_000
"""How many values are kept; the others are counted."""


class Yields:
    """Pickled, it is a list of them."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._more = 0

    def add(self, value: Any, most: int | None = None, scrubbing: Scrubbing | None = None) -> None:
        """The next one. What may still change is pickled now; see `Contents.take`."""
        if len(self._values) >= MOST:
            self._more += 1
        elif type(value) in ATOMS and most is None:
            self._values.append(value)
        else:
            self._values.append(_Copy(whole(*acceptable(value, most, scrubbing))))

    def hide(self, scrubbing: Scrubbing) -> None:
        """Leave out values that hold what was not known to be secret when they were added."""
        for index, each in enumerate(self._values):
            if type(each) is _Copy and scrubbing.holds_secret(each.data):
                why = "it holds a value that is redacted"
                self._values[index] = instead_of(each.value(), why, scrubbing)

    def __reduce__(self) -> Any:
        more = [instead_of(self, f"{self._more} more were yielded")] if self._more else []
        return list, ([*self._values, *more],)

    def __repr__(self) -> str:
        return f"<{len(self._values) + self._more} values>"


class _Copy:
    """A value as it was when this was made. Pickled, it is that value."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def value(self) -> Any:
        return pickle.loads(self.data)

    def __reduce__(self) -> Any:
        return pickle.loads, (self.data,)
