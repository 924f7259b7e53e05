"""Redaction: what has one of some names is never stored, nor is a text that holds it.

A name is that of a parameter, of a key in a dictionary or of an attribute, wherever in a value.
"""

from __future__ import annotations

import contextlib
import copyreg
import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from snapshot.store.objects import Placeholder, type_name

_DEEP = 100  # levels beyond which nothing is looked for
_SHORT = 4  # characters below which a value is looked for under its name alone
MARK = "<redacted>"

_T = TypeVar("_T", str, bytes)


def _hidden(value: object) -> Any:
    if type(value) is Placeholder:
        return value
    return Placeholder(type_name(value), "redacted", MARK)


class Redaction:
    """Hides what has one of some names."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def by_name(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same, those of these names hidden."""
        return {n: _hidden(v) if n in self._names else v for n, v in values.items()}

    def hidden(self, name: str, value: Any) -> Any:
        """A value, or what stands for it if its name is one of these."""
        return _hidden(value) if name in self._names else value

    def named(self, values: Mapping[str, Any]) -> set[str | bytes]:
        """The values of these names that are long enough to be looked for anywhere."""
        return set().union(*(_searched(v) for n, v in values.items() if n in self._names))

    def scrubbing(self, secrets: set[str | bytes]) -> Scrubbing:
        """For one value, or several that share parts."""
        return Scrubbing(self._names, secrets)


class Scrubbing:
    """One pass over a value that is pickled: see `change` of `pickling.dump`.

    secrets: what was found under the names is added; texts that hold one have a mark in its place.
    """

    def __init__(self, names: frozenset[str], secrets: set[str | bytes]) -> None:
        self._names = names
        self.secrets = secrets
        self._copies: dict[int, tuple[object, Any]] = {}
        self._level = 0

    def text(self, text: str) -> str:
        """A text, or what of it may be told."""
        return self._masked(text)

    def holds_secret(self, data: bytes) -> bool:
        """Whether a secret is in a pickle all the same, in a way that nobody foresaw."""
        return any(form in data for each in self.secrets for form in _forms(each))

    def __call__(self, obj: Any, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        """What an object is to be reduced to, in place of `reduced`."""
        fields = getattr(type(obj), "_fields", None)
        if isinstance(obj, tuple) and isinstance(fields, tuple) and len(fields) == len(obj):
            values = [self._item(name, each) for name, each in zip(fields, obj, strict=True)]
            return copyreg.__newobj__, (type(obj), *values), *reduced[2:]  # type: ignore[attr-defined]
        parts = list(reduced)
        parts[1] = self.value(parts[1])
        if len(parts) > 2 and parts[2] is not None:
            parts[2] = self._state(obj, parts[2])
        if len(parts) > 3 and parts[3] is not None:
            parts[3] = map(self.value, parts[3])
        if len(parts) > 4 and parts[4] is not None:
            parts[4] = ((key, self._item(key, each)) for key, each in parts[4])
        return tuple(parts)

    def value(self, value: Any) -> Any:
        """A copy without secrets of what is made of dictionaries, lists, tuples, sets and texts."""
        kind = type(value)
        if kind in (str, bytes):
            return self._masked(value)
        if kind not in (dict, list, tuple, set, frozenset):
            return value
        if id(value) in self._copies:
            return self._copies[id(value)][1]
        if self._level == _DEEP:
            return Placeholder(type_name(value), "nested too deeply to be redacted", MARK)
        self._level += 1
        try:
            return self._copied(kind, value)
        finally:
            self._level -= 1

    def _copied(self, kind: type, value: Any) -> Any:
        if kind is dict:
            copy: Any = {}
            self._copies[id(value)] = value, copy
            copy.update((self.value(key), self._item(key, each)) for key, each in value.items())
        elif kind is list:
            copy = []
            self._copies[id(value)] = value, copy
            copy.extend(map(self.value, value))
        else:
            copy = kind(map(self.value, value))
            self._copies[id(value)] = value, copy
        return copy

    def _item(self, key: object, value: Any) -> Any:
        if type(key) is str and key in self._names:
            self.secrets |= _searched(value)
            return _hidden(value)
        return self.value(value)

    def _state(self, obj: Any, state: Any) -> Any:
        # Of a dataclass with slots that is frozen, the state is a list, of its fields in order.
        if isinstance(state, list) and dataclasses.is_dataclass(obj):
            names = [each.name for each in dataclasses.fields(obj)]
            if len(names) == len(state):
                return [self._item(name, each) for name, each in zip(names, state, strict=True)]
        return self.value(state)

    def _masked(self, text: _T) -> _T:
        for secret in sorted(self.secrets, key=len, reverse=True):  # one may hold another
            if isinstance(text, str):
                for form in _written(secret):
                    text = text.replace(form, MARK)
            else:
                for form in _forms(secret):
                    text = text.replace(form, MARK.encode())
        return text


@functools.lru_cache(maxsize=64)
def _written(secret: str | bytes) -> list[str]:
    """What a text has of a secret: itself, and its `repr` without the quotes, either kind."""
    shown = repr(secret).lstrip("b")[1:-1]
    if isinstance(secret, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return [secret.decode(), shown]
        return [shown]
    quoted = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    return [secret, *{shown, shown.replace("\\'", "'"), *quoted} - {secret}]


@functools.lru_cache(maxsize=64)
def _forms(secret: str | bytes) -> list[bytes]:
    """The same, in bytes."""
    found = [each.encode("utf-8", "surrogatepass") for each in _written(secret)]
    return [secret, *found] if isinstance(secret, bytes) else found


def _searched(value: object) -> set[str | bytes]:
    """The texts by which a value would be known elsewhere."""
    found: set[str | bytes] = set()
    if isinstance(value, str):
        found.add(str.__str__(value))  # of a subclass, too, whatever that says
    elif isinstance(value, bytes):
        found.add(b"".join([value]))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found.add(repr(value))
    elif isinstance(value, dict):
        found.update(*map(_searched, value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        found.update(*map(_searched, value))
    return {each for each in found if len(each) >= _SHORT}
