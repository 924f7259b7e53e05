"""Redaction: what has one of some names is never stored, nor is a text that holds it.

A name is that of a parameter, of a key in a dictionary or of an attribute, wherever in a value.
"""

from __future__ import annotations

import contextlib
import copyreg
import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MemberDescriptorType
from typing import Any, TypeVar

from snapshot.pickling import Guarded
from snapshot.replay.secrets import (
    MARK,
    Forms,
    Secrets,
    attributes_of,
    in_arrays,
    in_bytes,
    written,
)
from snapshot.store.functions import parameters
from snapshot.store.objects import Placeholder, type_name

_DEEP = 100  # levels beyond which nothing is looked for
_BEHIND = 100  # exceptions that are looked at behind one
_PARTS = 6  # of what an object is reduced to

_NOTHING: Any = object()

_T = TypeVar("_T", str, bytes)
_Reduced = tuple[Any, ...]

_NUMBERS = frozenset({int, float, complex})
_ATOMS = _NUMBERS | {str, bytes}
_COPIED = frozenset({dict, list, tuple, set, frozenset})
_TEXTS = (str, bytes, bytearray)
_OF_CLASSES = (FunctionType, property, classmethod, staticmethod, MemberDescriptorType)
# Where the modules are from whose values, once made, say in `str` alone what they are.
_VALUES = frozenset({"datetime", "pathlib", "uuid"})

_NONE = Forms[str](()), Forms[bytes](()), Forms[bytes](())


class Parts:
    """What is pickled as a list of its parts, each of which may be hidden.

    raised: what came last, None for nothing.
    """

    raised: BaseException | None = None


# Those that can be made of other things, and of other texts.
_TAKE_THINGS = (BaseException, tuple, list, dict, set, frozenset, Parts)
_TAKE_MARKS = (*_TAKE_THINGS, *_TEXTS, FunctionType, type, CodeType)


def hidden(value: object) -> Placeholder:
    """What stands for a value that is redacted."""
    if type(value) is Placeholder:
        return value
    return Placeholder(type_name(value), "redacted", MARK)


class Redaction:
    """Hides what has one of some names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        private = (each for each in self.names if each.startswith("__"))
        self._private = tuple(each for each in private if not each.endswith("__"))

    def __contains__(self, name: Any) -> bool:
        """Whether a name, or a key, is one of these: as a text, as bytes or as that of an enum."""
        if issubclass(type(name), Enum):
            return name._name_ in self.names or name._value_ in self
        if type(name) is bytes:
            name = name.decode("utf-8", "replace")
        if not issubclass(type(name), str):
            return False
        text = str.__str__(name)
        return text in self.names or bool(
            self._private and text.startswith("_") and text.endswith(self._private)
        )

    def by_name(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same, those of these names hidden."""
        return {name: hidden(each) if name in self else each for name, each in values.items()}

    def named(self, values: Mapping[str, Any]) -> list[Any]:
        """The values of these names."""
        return [each for name, each in values.items() if name in self]

    def scrubbing(self, secrets: Secrets, *, searching: bool = False) -> Scrubbing:
        """For one value, or several that share parts. searching: see there."""
        return Scrubbing(self, secrets, searching)


class Scrubbing:
    """One pass over a value that is pickled: see `change` of `pickling.dump`.

    secrets: what was found under the names is added; texts that hold one have a mark in its place.
    searching: it is a pass before another one, to find them all.
    """

    def __init__(self, redaction: Redaction, secrets: Secrets, searching: bool) -> None:
        self.secrets = secrets
        self._redaction = redaction
        self._searching = searching
        self._copies: dict[tuple[int, bool], tuple[object, Any]] = {}
        self._level = 0
        self._changes = 0  # of texts and things, which had not one of the names
        self._loose: list[Any] = []  # looked for however short they are
        self._known = 0
        self._found = _NONE

    def text(self, text: str) -> str:
        """A text, or what of it may be told."""
        return self._masked(text)

    def holds_secret(self, data: bytes) -> bool:
        """Whether a secret is in a pickle all the same, in a way that nobody foresaw."""
        forms = self._forms()
        return bool(forms[1].within(data) or forms[2].within(data))

    def __call__(self, obj: Any, reduced: _Reduced) -> _Reduced:
        """What an object is to be reduced to, in place of `reduced`."""
        if type(obj) is Placeholder:
            return reduced
        if id(obj) in self.secrets.things or self._is_told(obj):
            return hidden(obj).__reduce__()
        if (table := self._table(obj)) is not obj:
            if type(table) is Placeholder:
                return table.__reduce__()
            obj, reduced = table, table.__reduce_ex__(5)
        kind = type(obj)
        fields = getattr(kind, "_fields", None)
        if issubclass(kind, tuple) and isinstance(fields, tuple) and len(fields) == len(obj):
            values = [self._item(name, each) for name, each in zip(fields, obj, strict=True)]
            return copyreg.__newobj__, (kind, *values), *reduced[2:]  # type: ignore[attr-defined]
        mine = dict(self._named(obj))
        parts = [*reduced, *(None,) * (_PARTS - len(reduced))]
        states = _named_states(obj, parts[2])
        # Under its name, a value is hidden anyway.
        loose = [v for name, v in mine.items() if not any(name in each for each in states)]
        self.secrets.add_values(loose)
        self._loose = [each for each in loose if type(each) in _ATOMS and each]
        try:
            is_whole = self._scrub(obj, parts, is_named=bool(states))
        finally:
            self._loose = []
        if issubclass(kind, FunctionType):
            is_whole = all(each is None for each in mine.values())
        return tuple(parts) if is_whole or self._searching else hidden(obj).__reduce__()

    def _scrub(self, obj: Any, parts: list[Any], is_named: bool) -> bool:
        """Clean the parts of a reduction. Whether they still make such an object.

        is_named: its state has the names of attributes.
        """
        kind = type(obj)
        before = self._changes
        parts[1] = self.value(parts[1], issubclass(kind, _TAKE_THINGS))
        is_whole = self._changes == before or _takes_marks(kind, parts[0])
        before = self._changes
        if parts[2] is not None:
            parts[2] = self._state(obj, parts[2], is_named)
        if self._changes > before and not is_named:
            is_whole &= type(getattr(kind, "__setstate__", None)) is not FunctionType
        if parts[3] is not None:
            parts[3] = map(self.value, parts[3])
        if parts[4] is not None:
            parts[4] = ((self.value(key), self._item(key, each)) for key, each in parts[4])
        return is_whole

    def value(self, value: Any, numbers: bool = True) -> Any:
        """A copy without secrets of what is made of dictionaries, lists, tuples, sets and texts.

        numbers: numbers can be hidden, too.
        """
        kind = type(value)
        if self._loose and any(kind is type(each) and value == each for each in self._loose):
            self._changes += 1
            return hidden(value)
        if kind is str or kind is bytes:
            return self._masked(value)
        if kind in _NUMBERS:
            if not numbers or repr(value) not in self.secrets:
                return value
            self._changes += 1
            return hidden(value)
        if id(value) in self.secrets.things:
            self._changes += 1
            return hidden(value)
        if kind is bytearray:
            return bytearray(self._masked(bytes(value)))
        if kind not in _COPIED:
            return value
        if (id(value), numbers) in self._copies:
            return self._copies[id(value), numbers][1]
        if self._level == _DEEP:
            return Placeholder(type_name(value), "nested too deeply to be redacted", MARK)
        self._level += 1
        try:
            return self._copied(kind, value, numbers)
        finally:
            self._level -= 1

    def _copied(self, kind: type, value: Any, numbers: bool) -> Any:
        place = id(value), numbers
        if kind is dict:
            copy: Any = {}
            self._copies[place] = value, copy
            copy.update(
                (self.value(key, numbers), self._item(key, each, numbers))
                for key, each in value.items()
            )
        elif kind is list:
            copy = []
            self._copies[place] = value, copy
            copy.extend(self.value(each, numbers) for each in value)
        else:
            copy = kind(self.value(each, numbers) for each in value)
            self._copies[place] = value, copy
        return copy

    def _item(self, key: object, value: Any, numbers: bool = True) -> Any:
        if key in self._redaction and not issubclass(type(value), _OF_CLASSES):
            self.secrets.add_value(value)
            return hidden(value)
        return self.value(value, numbers)

    def _state(self, obj: Any, state: Any, is_named: bool) -> Any:
        if (names := _fields(obj, state)) is not None:
            return [self._item(name, each) for name, each in zip(names, state, strict=True)]
        return self.value(state, is_named)

    def _named(self, obj: Any) -> Iterator[tuple[str, Any]]:
        """What an object has under the names: attributes, what its properties say; a function's
        defaults and cells."""
        kind = type(obj)
        if issubclass(kind, type):
            return
        if issubclass(kind, FunctionType):
            found = _inside_function(obj)
        else:
            found = attributes_of(obj)
            yield from self._properties(obj)
        yield from ((name, each) for name, each in found if name in self._redaction)

    def _properties(self, obj: Any) -> Iterator[tuple[str, Any]]:
        kind = type(obj)
        for name in self._redaction.names:
            for base in kind.__mro__:
                if name in vars(base):
                    found = vars(base)[name]
                    if isinstance(found, property):
                        value = _NOTHING
                        with Guarded():
                            value = found.__get__(obj, kind)
                        if value is not _NOTHING:
                            yield name, value
                    break

    def _is_told(self, obj: Any) -> bool:
        """Whether it is a date or a path, say, that a text would not be stored of."""
        home = str(type(obj).__mro__[-2:][0].__module__)
        if home.partition(".")[0] not in _VALUES:
            return False
        text = str(obj)
        return self._masked(text) != text

    def _table(self, obj: Any) -> Any:
        """What is stored of an array or a table that has parts of these names."""
        if _is_a(obj, "numpy", "ndarray", "void"):
            names = [each for each in obj.dtype.names or () if each in self._redaction]
            self.secrets.add_values(obj[each] for each in names)
            return hidden(obj) if names else obj
        if _is_a(obj, "pandas", "Series", "Index") and obj.name in self._redaction:
            self.secrets.add_value(obj)
            return hidden(obj)
        if _is_a(obj, "pandas", "Series") and (rows := self._rows(obj)):
            self.secrets.add_values(obj.iloc[each] for each in rows)
            copy = obj.astype(object)
            copy.iloc[rows] = MARK
            return copy
        if _is_a(obj, "pandas", "DataFrame"):
            columns = [each for each in obj.columns if self._is_label(each)]
            rows = self._rows(obj)
            self.secrets.add_values(obj[each] for each in columns)
            self.secrets.add_values(obj.iloc[each] for each in rows)
            if columns or rows:
                copy = obj.astype(object) if rows else obj.copy(deep=False)
                for each in columns:
                    copy[each] = MARK
                if rows:
                    copy.iloc[rows] = MARK
                return copy
        return obj

    def _rows(self, table: Any) -> list[int]:
        """Where those are whose labels are such names, as in a row that is taken from a table."""
        labels = table.index
        if labels.dtype.kind != "O":  # they are numbers, or dates
            return []
        return [place for place, each in enumerate(labels) if self._is_label(each)]

    def _is_label(self, name: object) -> bool:
        names = name if type(name) is tuple else (name,)
        return any(each in self._redaction for each in names)

    def _masked(self, text: _T) -> _T:
        if self._searching:
            return text
        texts, data, _ = self._forms()
        clean = text
        if isinstance(clean, str):
            for form in texts.within(clean):
                clean = clean.replace(form, MARK)
        else:
            for each in data.within(clean):
                clean = clean.replace(each, MARK.encode())
        self._changes += clean != text
        return clean

    def _forms(self) -> tuple[Forms[str], Forms[bytes], Forms[bytes]]:
        if self._known != len(self.secrets):  # nothing is ever taken out of them
            self._known = len(self.secrets)
            self._found = (
                Forms(form for each in self.secrets for form in written(each)),
                Forms(form for each in self.secrets for form in in_bytes(each)),
                Forms(form for each in self.secrets for form in in_arrays(each)),
            )
        return self._found


def behind(error: BaseException) -> list[BaseException]:
    """The exceptions that a traceback tells of along with this one."""
    found = [error]
    for each in found:  # which grows meanwhile
        group = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        for other in (each.__cause__, each.__context__, *group):
            if other is not None and len(found) < _BEHIND and not any(other is e for e in found):
                found.append(other)
    return found[1:]


def _takes_marks(kind: type, make: object) -> bool:
    """Whether a thing of a type can be made of other texts."""
    if issubclass(kind, Enum) or not issubclass(kind, _TAKE_MARKS):
        return False
    if not issubclass(kind, (str, bytes)):
        return True
    is_usual = type(kind.__new__) is BuiltinFunctionType
    return is_usual and make in (copyreg.__newobj__, kind)  # type: ignore[attr-defined]


def _fields(obj: Any, state: Any) -> list[str] | None:
    # Of a dataclass with slots that is frozen, the state is a list, of its fields in order.
    if isinstance(state, list) and dataclasses.is_dataclass(type(obj)):
        names = [each.name for each in dataclasses.fields(obj)]
        return names if len(names) == len(state) else None
    return None


def _named_states(obj: Any, state: Any) -> list[Any]:
    """What of an object's state has the names of its attributes."""
    if (names := _fields(obj, state)) is not None:
        return [names]
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    if not all(each is None or type(each) is dict for each in parts):
        return []
    return [each for each in parts if each is not None]


def _inside_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # nothing was assigned yet
            yield name, cell.cell_contents
    names, last = parameters(code), function.__defaults__ or ()
    positional = names.positional_only + names.positional
    yield from zip(positional[len(positional) - len(last) :], last, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def _is_a(obj: object, module: str, *names: str) -> bool:
    """Whether an object is of one of some classes of a module, if that was imported."""
    home = sys.modules.get(module)
    kinds = tuple(getattr(home, each, ()) for each in names)
    return issubclass(type(obj), kinds)
