"""What a generator has yielded: each value as it was then."""

from __future__ import annotations

import pickle
from typing import Any

from snapshot.pickling import Change
from snapshot.replay.contents import ATOMS, instead_of, pickled_whole

MOST = 10_000
"""How many values are kept; the others are counted."""


class Yields:
    """Pickled, it is a list of them."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._more = 0

    def add(self, value: Any, change: Change | None = None) -> None:
        """The next one. What may still change is pickled now; for `change`, see `pickling.dump`."""
        if len(self._values) >= MOST:
            self._more += 1
        else:
            self._values.append(value if type(value) in ATOMS else _Copy(value, change))

    def __reduce__(self) -> Any:
        more = [instead_of(self, f"{self._more} more were yielded")] if self._more else []
        return list, ([*self._values, *more],)

    def __repr__(self) -> str:
        return f"<{len(self._values) + self._more} values>"


class _Copy:
    """A value as it was when this was made. Pickled, it is that value."""

    def __init__(self, value: Any, change: Change | None) -> None:
        self._data = pickled_whole(value, change)

    def __reduce__(self) -> Any:
        return pickle.loads, (self._data,)
