"""Which variables differ between two states, and how: as text."""

from __future__ import annotations

import difflib
import pprint
import reprlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from snapshot.core.memory import size
from snapshot.core.timeline.asking import Stored, Unavailable
from snapshot.repl.archive import Variables

_FETCHED = 16 << 20  # bytes up to which a value is fetched to see how it differs
_LINES = 12  # that are shown of one variable

_short = reprlib.Repr()
_short.maxother = _short.maxstring = 60


class Differences(NamedTuple):
    """What differs between two states; shows as text.

    added, removed, changed: a line, or more, for each variable by name.
    """

    title: str
    added: dict[str, str]
    removed: dict[str, str]
    changed: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __repr__(self) -> str:
        lines = [self.title] if self else [f"{self.title}: no difference"]
        lines += [f"+ {name}: {text}" for name, text in self.added.items()]
        lines += [f"- {name}: {text}" for name, text in self.removed.items()]
        lines += [f"~ {name}: {text}" for name, text in self.changed.items()]
        return "\n".join(lines)


def between(
    one: tuple[Variables, Mapping[str, Stored]],
    other: tuple[Variables, Mapping[str, Stored]],
    first: object,
    second: object,
) -> Differences:
    """Compare two states: their variables, and the digests of these."""
    (before, old), (after, new) = one, other
    return Differences(
        f"from state {first} to {second}",
        {name: _listed(after, name) for name in after if name not in before},
        {name: _listed(before, name) for name in before if name not in after},
        {
            name: how
            for name in before
            if name in after and (how := _how(before, after, old[name], new[name], name))
        },
    )


def _listed(variables: Variables, name: str) -> str:
    each = variables.listing[name]
    return f"{each.type}, {size(each.size)}"


def _how(before: Variables, after: Variables, old: Stored, new: Stored, name: str) -> str | None:
    if old.pickle == new.pickle and old.buffers == new.buffers and old.pickle is not None:
        return None
    if old.pickle is None and new.pickle is None:
        if old.unavailable == new.unavailable:
            return None
        return f"{_text(old.unavailable)} -> {_text(new.unavailable)}"
    if old.type != new.type:
        return f"{_listed(before, name)} -> {_listed(after, name)}"
    if max(old.size, new.size) > _FETCHED:
        return f"{old.type}, {size(old.size)} -> {size(new.size)}: too large to look into"
    try:
        return described(before[name], after[name])
    except Exception as error:  # of what the values themselves do when they are looked at
        return f"{old.type}: cannot be compared: {type(error).__name__}: {error}"


def _text(unavailable: Unavailable | None) -> str:
    return unavailable.repr if unavailable is not None else "?"


def described(before: Any, after: Any) -> str | None:
    """How two values of one type differ; None where they look the same."""
    for describe in (_arrays, _mappings, _sets, _texts):
        told = describe(before, after)
        if told is not None:
            return told
    old, new = _short.repr(before), _short.repr(after)
    if old == new:
        return f"{type(after).__qualname__}: {new}, with other contents"
    return f"{old} -> {new}"


def _arrays(before: Any, after: Any) -> str | None:
    shapes = getattr(before, "shape", None), getattr(after, "shape", None)
    if not all(isinstance(shape, tuple) for shape in shapes):
        return None
    kind = type(after).__qualname__
    if shapes[0] != shapes[1]:
        return f"{kind}: shape {shapes[0]} -> {shapes[1]}"
    try:
        differ = before != after
        count = int(differ.to_numpy().sum() if hasattr(differ, "to_numpy") else differ.sum())
        total = int(before.size)
    except Exception:
        return f"{kind} of shape {shapes[1]}: other values"
    return f"{kind} of shape {shapes[1]}: {count} of {total} values differ"


def _mappings(before: Any, after: Any) -> str | None:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return None
    added = [key for key in after if key not in before]
    removed = [key for key in before if key not in after]
    changed = [key for key in after if key in before and not _same(before[key], after[key])]
    parts = [f"{len(before)} -> {len(after)} items"]
    for what, keys in (("added", added), ("removed", removed), ("changed", changed)):
        if keys:
            more = ", …" if len(keys) > 5 else ""
            parts.append(f"{what} " + ", ".join(map(_short.repr, keys[:5])) + more)
    return "dict: " + "; ".join(parts)


def _sets(before: Any, after: Any) -> str | None:
    if not isinstance(before, set | frozenset) or not isinstance(after, set | frozenset):
        return None
    gone, new = before - after, after - before
    shown = [f"+{_short.repr(each)}" for each in list(new)[:5]]
    shown += [f"-{_short.repr(each)}" for each in list(gone)[:5]]
    return f"set: {len(before)} -> {len(after)} elements; {', '.join(shown)}"


def _texts(before: Any, after: Any) -> str | None:
    """Differences of lines: of texts that have several, and of what is printed as several."""
    if isinstance(before, str) and isinstance(after, str):
        old, new = before.splitlines(), after.splitlines()
        if len(old) < 2 and len(new) < 2:
            return None
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        old, new = [_short.repr(each) for each in before], [_short.repr(each) for each in after]
        if len(old) != len(new) and (old[: len(new)] == new or new[: len(old)] == old):
            return f"{type(after).__qualname__}: {len(old)} -> {len(new)} items"
    else:
        old, new = pprint.pformat(before).splitlines(), pprint.pformat(after).splitlines()
        if len(old) < 2 and len(new) < 2:
            return None
    if max(len(old), len(new)) > 10_000:
        return f"{type(after).__qualname__}: {len(old)} -> {len(new)} items or lines"
    lines = [line for line in difflib.ndiff(old, new) if line[0] in "+-"]
    if not lines:
        return None
    more = [f"… {len(lines) - _LINES} more"] if len(lines) > _LINES else []
    head = f"{type(after).__qualname__}: {len(old)} -> {len(new)} items or lines"
    return "\n    ".join([head, *lines[:_LINES], *more])


def _same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:
        return one is other
