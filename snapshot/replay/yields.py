"""What a generator has yielded: each value as it was then."""

from __future__ import annotations

import pickle
from typing import Any

from snapshot.replay.contents import ATOMS, acceptable, instead_of, whole
from snapshot.replay.redaction import Parts, Scrubbing

MOST = 10_000
"""How many values are kept; the others are counted."""


class Driven(list[Any]):
    """What a generator has yielded that was not asked for the next value alone.

    sent: what was sent into it, or raised in it, by how many values it had yielded. returned: what
    it has returned. raised: what it has raised, None if nothing.
    """

    sent: dict[int, tuple[str, Any]]
    returned: Any
    raised: BaseException | None


def driven(values: list[Any], facts: dict[str, Any]) -> Driven:
    """One of these."""
    made = Driven(values)
    vars(made).update(facts)
    return made


class Yields(Parts):
    """Pickled, it is a list of them, or `Driven`."""

    def __init__(self) -> None:
        self._values: list[Any] = []
        self._more = 0
        self._sent: dict[int, tuple[str, Any]] = {}
        self._returned: Any = None

    def add(self, value: Any, most: int | None = None, scrubbing: Scrubbing | None = None) -> None:
        """The next one. What may still change is pickled now; see `Contents.take`."""
        if len(self._values) >= MOST:
            self._more += 1
        else:
            self._values.append(_copied(value, most, scrubbing))

    def sent(
        self, how: str, value: Any, most: int | None = None, scrubbing: Scrubbing | None = None
    ) -> None:
        """After the last one: how is "send" or "throw"."""
        if len(self._values) < MOST:
            self._sent[len(self._values)] = how, _copied(value, most, scrubbing)

    def returned(
        self, value: Any, most: int | None = None, scrubbing: Scrubbing | None = None
    ) -> None:
        """In the end."""
        self._returned = _copied(value, most, scrubbing)

    def raises(self, error: BaseException) -> bool:
        """It ends so. Whether that is told here: what was sent into it belongs to it."""
        self.raised = error if self._sent else None
        return bool(self._sent)

    def hide(self, scrubbing: Scrubbing) -> None:
        """Leave out values that hold what was not known to be secret when they were added."""
        self._values = [_hidden(each, scrubbing) for each in self._values]
        self._sent = {at: (how, _hidden(each, scrubbing)) for at, (how, each) in self._sent.items()}
        self._returned = _hidden(self._returned, scrubbing)

    def __reduce__(self) -> Any:
        more = [instead_of(self, f"{self._more} more were yielded")] if self._more else []
        values = [*self._values, *more]
        if not self._sent and self._returned is None and self.raised is None:
            return list, (values,)
        facts = {"sent": self._sent, "returned": self._returned, "raised": self.raised}
        return driven, (values, facts)

    def __repr__(self) -> str:
        return f"<{len(self._values) + self._more} values>"


def _copied(value: Any, most: int | None, scrubbing: Scrubbing | None) -> Any:
    if type(value) in ATOMS and most is None:
        return value
    return _Copy(whole(*acceptable(value, most, scrubbing)))


def _hidden(value: Any, scrubbing: Scrubbing) -> Any:
    if type(value) is _Copy and scrubbing.holds_secret(value.data):
        return instead_of(value.value(), "it holds a value that is redacted", scrubbing)
    return value


class _Copy:
    """A value as it was when this was made. Pickled, it is that value."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def value(self) -> Any:
        return pickle.loads(self.data)

    def __reduce__(self) -> Any:
        return pickle.loads, (self.data,)
