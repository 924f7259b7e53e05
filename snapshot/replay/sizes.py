"""How large a value is, about: what is large is pickled in the background."""

from __future__ import annotations

from typing import Any

from snapshot.replay.contents import ATOMS

_LEVELS = 4  # down to which a value is looked into
_SAMPLES = 3  # elements of a container that stand for all


def estimated(value: Any, levels: int = _LEVELS) -> int:
    """About how many bytes a value has, from a few of its parts."""
    kind = type(value)
    if kind in (bytes, bytearray, str):
        return len(value)
    if kind in ATOMS or not levels:
        return 8
    if kind is dict:
        return _of_several(value.keys(), levels) + _of_several(value.values(), levels)
    if kind in (list, tuple, set, frozenset):
        return _of_several(value, levels)
    try:
        own = getattr(value, "nbytes", None)
        attributes = getattr(value, "__dict__", {})
    except Exception:  # anybody's code
        return 8
    if type(own) is int:
        return own
    return 8 + sum(estimated(each, levels - 1) for each in [*attributes.values()])


def _of_several(values: Any, levels: int) -> int:
    samples = [each for each, _ in zip(values, range(_SAMPLES), strict=False)]
    if not samples:
        return 8
    return len(values) * sum(estimated(each, levels - 1) for each in samples) // len(samples)
