"""What is redacted, and what it would be known by elsewhere: the texts of it, and itself."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from types import (
    BuiltinFunctionType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from snapshot.pickling import Guarded
from snapshot.store.objects import Placeholder

MARK = "<redacted>"

_SHORT = 4  # characters below which a value is looked for under its name alone
_LEVELS = 4  # of attributes of attributes that are searched
_OBJECTS = 1_000  # whose attributes are searched
_MANY = 10_000  # elements of an array that are searched, of a container that is asked for its text
_NESTED = 3  # exception groups in each other whose margins are known

_FEW = 100  # forms that are looked for one by one

_T = TypeVar("_T", str, bytes)

_NUMBERS = (int, float, complex)
_BYTES = (bytes, bytearray, memoryview)
_SEQUENCES = (list, tuple, set, frozenset, deque)
_MAPPINGS = (dict, MappingProxyType)
_PLAIN = frozenset({str, *_BYTES, *_NUMBERS})
_CONTAINERS = frozenset({*_SEQUENCES, *_MAPPINGS})
_ARRAYS = ("array", "numpy", "pandas")
_FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)
_NEVER = (type, ModuleType, *_FUNCTIONS, type(None), bool, Placeholder)

_members: WeakKeyDictionary[type, list[tuple[str, MemberDescriptorType]]] = WeakKeyDictionary()


class Secrets(set[str | bytes]):
    """Texts of what is redacted; and, by their ids, the things among it that are no texts."""

    def __init__(self, known: Secrets | None = None) -> None:
        super().__init__(known or ())
        self.things: dict[int, object] = {} if known is None else known.things.copy()

    def add_value(self, value: object) -> None:
        """Something that is redacted."""
        kind = type(value)
        if kind is str or kind is bytes:
            if len(value) >= _SHORT:  # type: ignore[arg-type]
                self.add(value)  # type: ignore[arg-type]
            return
        self.update(texts_of(value))
        if kind in _PLAIN or issubclass(kind, _NEVER) or (kind in _CONTAINERS and not value):
            return  # there may be one for all
        self.things[id(value)] = value

    def add_values(self, values: Iterable[object]) -> None:
        for each in values:
            self.add_value(each)


def texts_of(value: object) -> set[str | bytes]:
    """The texts by which a value would be known elsewhere.

    They are its own, what `str`, `repr` and `format` make of it, and those of what is in it: in
    containers, and in the attributes of objects some levels down. Code of the value's own runs;
    what it raises is no matter.
    """
    found: set[str | bytes] = set()
    seen: dict[int, object] = {}
    objects = 0
    waiting: deque[tuple[object, int]] = deque([(value, 0)])
    while waiting:
        each, level = waiting.popleft()
        kind = type(each)
        if id(each) in seen or issubclass(kind, _NEVER):
            continue
        seen[id(each)] = each
        found |= _own(each)
        waiting.extend((part, level) for part in _elements(each))
        if kind in _PLAIN or (kind in _CONTAINERS and each is not value):
            continue
        attributes = [] if _is_array(kind) else [part for _, part in attributes_of(each)]
        if not level or not attributes:
            found |= _words(each)
        objects += 1
        if level < _LEVELS and objects < _OBJECTS:
            waiting.extend((part, level + 1) for part in attributes)
    return {each for each in found if len(each) >= _SHORT}


def _own(value: Any) -> set[str | bytes]:
    """What a text, a number or a path is, whatever its class says that it is."""
    kind = type(value)
    if issubclass(kind, str):
        return {str.__str__(value)}
    for number in _NUMBERS:
        if issubclass(kind, number):
            return {number.__repr__(value)}
    with Guarded():  # a view may be released
        if issubclass(kind, _BYTES):
            return {memoryview(value).tobytes()}
        if hasattr(kind, "__fspath__"):
            path = os.fspath(value)
            return {path, os.path.basename(path)}
    return set()


def _words(value: Any) -> set[str | bytes]:
    kind = type(value)
    shows: tuple[object, object] = (kind.__str__, kind.__repr__)
    if shows == (object.__str__, object.__repr__):
        return set()  # it says what it is, and where
    found: set[str | bytes] = set()
    for show in (str, repr, format):
        with Guarded():
            if issubclass(kind, (*_SEQUENCES, *_MAPPINGS)) and len(value) > _MANY:
                break
            found.add("".join([show(value)]))
    return found


def _elements(value: Any) -> list[Any]:
    kind = type(value)
    if kind in _PLAIN:
        return []
    if issubclass(kind, Enum):
        return [value._value_]
    if issubclass(kind, BaseException):
        return [*BaseException.__getattribute__(value, "args")]
    for sequence in _SEQUENCES:
        if issubclass(kind, sequence):
            return [*sequence.__iter__(value)]
    for mapping in _MAPPINGS:
        if issubclass(kind, mapping):
            return [*mapping.values(value)]
    if _is_array(kind):
        return _of_array(value)
    return []


def _is_array(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] in _ARRAYS


def _of_array(value: Any) -> list[Any]:
    with Guarded():  # other things are in these modules, too
        if getattr(value, "size", 0) > _MANY:
            return []
        array = value.to_numpy() if hasattr(value, "to_numpy") else value
        inside = array.tolist()
        return inside if isinstance(inside, list) else [inside]
    return []


def attributes_of(value: object) -> Iterator[tuple[str, Any]]:
    """Those that an object has itself, in its dictionary or in slots; no code of its own runs."""
    kind = type(value)
    if issubclass(kind, Enum):
        return  # they say which member it is
    own: list[tuple[str, Any]] = []
    with Guarded():  # there is none, or it is something else
        own = [*object.__getattribute__(value, "__dict__").items()]
    yield from own
    for name, member in _members_of(kind):
        with contextlib.suppress(AttributeError):  # nothing was assigned
            yield name, member.__get__(value)


def _members_of(kind: type) -> list[tuple[str, MemberDescriptorType]]:
    if kind not in _members:
        _members[kind] = [
            (name, each)
            for base in kind.__mro__
            for name, each in [*vars(base).items()]
            if type(each) is MemberDescriptorType
        ]
    return _members[kind]


class Forms(Generic[_T]):
    """What secrets may look like in a text, or in bytes."""

    def __init__(self, forms: Iterable[_T]) -> None:
        long = {each for each in forms if len(each) >= _SHORT and not _in_mark(each)}
        self._forms: list[_T] = sorted(long, key=len, reverse=True)  # one may hold another
        self._heads: set[_T] = {each[:_SHORT] for each in long}

    def within(self, text: _T) -> list[_T]:
        """Those that a text has, longer ones first."""
        forms = self._forms
        if len(forms) > _FEW:
            last = len(text) - _SHORT + 1
            heads = self._heads.intersection(text[at : at + _SHORT] for at in range(last))
            forms = [each for each in forms if each[:_SHORT] in heads] if heads else []
        return [each for each in forms if each in text]


def _in_mark(text: str | bytes) -> bool:
    return text in MARK if isinstance(text, str) else text in MARK.encode()


@functools.lru_cache(maxsize=256)
def written(secret: str | bytes) -> list[str]:
    """What a text has of a secret: itself, and its `repr` without the quotes, either kind."""
    shown = repr(secret).lstrip("b")[1:-1]
    if isinstance(secret, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return [secret.decode(), shown]
        return [shown]
    quoted = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    lines = (  # as in the traceback of an exception group
        secret.replace("\n", f"\n{'  ' * level}| ") for level in range(1, 1 + _NESTED)
    )
    return [secret, *{shown, shown.replace("\\'", "'"), *quoted, *lines} - {secret}]


@functools.lru_cache(maxsize=256)
def in_bytes(secret: str | bytes) -> list[bytes]:
    """The same, in bytes."""
    found = [each.encode("utf-8", "surrogatepass") for each in written(secret)]
    return [secret, *found] if isinstance(secret, bytes) else found


@functools.lru_cache(maxsize=256)
def in_arrays(secret: str | bytes) -> list[bytes]:
    """What bytes have of a secret in arrays of text."""
    if isinstance(secret, bytes):
        return []
    return [secret.encode(each, "surrogatepass") for each in ("utf-16-le", "utf-32-le")]
