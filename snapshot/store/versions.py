"""Versions: a digest of what a function would do, so that one knows whether it was edited.

A version holds for one minor version of CPython: the next one compiles the same text differently.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import (
    BuiltinFunctionType,
    EllipsisType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    NoneType,
    WrapperDescriptorType,
)
from typing import Any

from snapshot.store.bytecode import Form, form_of, look_into

_ITEMS = 256  # of a container, beyond which it is taken for data and not searched for functions


def version_of(subject: FunctionType | type) -> bytes:
    """32 bytes that change with what a function, or a class, would do.

    What counts: its code, without names of files, line numbers, comments and docstrings; its
    defaults that cannot change; and the same of each function and class of the user's that it
    reaches by a global, a closure cell, a default or an attribute of a module, as these are now.
    A list, tuple or dictionary of functions leads to them, an instance leads to its class. Of
    what is installed only the name counts, of other values nothing: they belong to a call, and
    so do mutable defaults. What only an argument leads to is not reached: ask for its class.

    Nothing of the user's is run. What is known of a code object is kept; the walk is done anew.
    """
    return Versions().of(subject)


class Versions:
    """Versions of functions and classes as they are now; what one walk has found serves the next.

    Later changes are not seen: make another one where a function may have been replaced.
    """

    def __init__(self) -> None:
        self._nodes: dict[int, _Node] = {}

    def of(self, subject: FunctionType | type) -> bytes:
        """As `version_of`."""
        root = self._node(subject)
        if not root.digest:
            try:
                self._settle(root)
            except BaseException:
                self._nodes.clear()
                raise
        return root.digest

    def _node(self, subject: FunctionType | type) -> _Node:
        node = self._nodes.get(id(subject))
        if node is None:
            node = self._nodes[id(subject)] = _Node(subject)
        return node

    def _settle(self, root: _Node) -> None:
        """Tarjan's walk, without recursion: those that reach each other get their digests at once,
        after all that they reach."""
        number = 0
        waiting: list[_Node] = []
        path: list[tuple[_Node, Iterator[_Node]]] = []
        follow: _Node | None = root
        while True:
            if follow is not None:
                number += 1
                follow.number = follow.lowest = number
                self._look_at(follow)
                waiting.append(follow)
                path.append((follow, iter(follow.targets)))
            node, targets = path[-1]
            follow = None
            for target in targets:
                if not target.number:
                    follow = target
                    break
                if not target.digest:
                    node.lowest = min(node.lowest, target.number)
            if follow is not None:
                continue
            path.pop()
            if path:
                path[-1][0].lowest = min(path[-1][0].lowest, node.lowest)
            if node.lowest == node.number:
                members = [waiting.pop()]
                while members[-1] is not node:
                    members.append(waiting.pop())
                _settle_together(members)
            if not path:
                return

    def _look_at(self, node: _Node) -> None:
        subject = node.subject
        seen = _of_function(subject) if isinstance(subject, FunctionType) else _of_class(subject)
        node.form = repr(seen.form)
        node.targets = [self._node(each) for each in seen.targets]


@dataclass(slots=True, eq=False)
class _Node:
    subject: FunctionType | type
    form: str = ""
    targets: list[_Node] = field(default_factory=list)
    number: int = 0
    lowest: int = 0
    digest: bytes = b""


def _settle_together(members: list[_Node]) -> None:
    """Name those that reach each other: each by its own form and those of all that it reaches.

    Names are refined until no two that differ have the same, so they do not depend on where the
    walk began.
    """
    names = {
        node: _hash(node.form.encode(), *[each.digest for each in node.targets]) for node in members
    }
    if len(members) > 1:
        before, distinct = 0, 1
        while distinct > before:
            names = {
                node: _hash(name, *[each.digest or names[each] for each in node.targets])
                for node, name in names.items()
            }
            before, distinct = distinct, len(set(names.values()))
        together = _hash(*sorted(names.values()))
        names = {node: _hash(name, together) for node, name in names.items()}
    for node, name in names.items():
        node.digest = name


def _hash(first: bytes, *others: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(first).digest() + b"".join(others)).digest()


class _Seen:
    """What is seen from a function or class: its form, in which numbers stand for the targets."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.targets: list[FunctionType | type] = []
        self._around: list[object] = []

    def add(self, label: Form, value: object, *, plain: bool = False) -> None:
        form = self.refer(value, plain)
        if form is not None:
            self.form.append([label, form])

    def refer(self, value: Any, plain: bool) -> Form | None:
        """The form of a value, None if it does not count.

        plain: whether a value that is neither a function nor a class counts.
        """
        kind = type(value)
        if kind in _ATOMS:
            return [form_of(value)] if plain else None
        if kind is FunctionType:
            return self._refer_to_function(value)
        if issubclass(kind, type):
            return self._target(value) if _of_user(value.__module__) else ["named", _named(value)]
        if issubclass(kind, ModuleType):
            return ["module", str(vars(value).get("__name__"))]
        if kind in _BUILTIN:
            return ["named", _named(value)]
        if (parts := _parts_of(kind, value)) is not None:
            return self._inside(value, kind.__name__, parts, plain)
        if kind is frozenset:
            return [form_of(value)] if plain and _is_constant(value) else None
        if kind in (tuple, list, dict):
            return self._refer_to_container(value, plain)
        if issubclass(kind, enum.Enum) and plain:
            return ["member", self.refer(kind, False), value._name_]
        if _of_user(kind.__module__):
            return ["instance", self._target(kind)]
        return _shown(value) if plain else None

    def _refer_to_function(self, function: FunctionType) -> Form:
        if _is_users(*_home(function)):
            return self._target(function)
        wrapped = _attribute(function, "__wrapped__")
        inner = list(_cells(function).values()) if wrapped is None else [wrapped]
        if wrapped is not None and _home(function)[0].partition(".")[0] == _OURS:
            return self.refer(wrapped, False)
        return self._inside(function, _named(function), inner, False)

    def _refer_to_container(self, value: Any, plain: bool) -> Form | None:
        if plain and type(value) is tuple:
            return self._sequence("tuple", value, True)
        if len(value) > _ITEMS:
            return None
        items = list(value.values() if type(value) is dict else value)
        functions = [each for each in items if issubclass(type(each), _FUNCTIONS)]
        return self._sequence("items", functions, False) if functions else None

    def _inside(self, value: object, label: str, parts: list[object], plain: bool) -> Form:
        """Functions of a library may hold each other."""
        if any(each is value for each in self._around):
            return ["again"]
        self._around.append(value)
        form = self._sequence(label, parts, plain)
        self._around.pop()
        return form

    def _sequence(self, label: str, values: Iterable[object], plain: bool) -> Form:
        return [label, *[self.refer(each, plain) for each in values]]

    def _target(self, value: FunctionType | type) -> Form:
        self.targets.append(value)
        return ["to"]


def _of_function(function: FunctionType) -> _Seen:
    local = look_into(function.__code__)
    seen = _Seen([local.digest.hex()])
    defaults = [("", each) for each in function.__defaults__ or ()]
    for name, each in (*defaults, *sorted((function.__kwdefaults__ or {}).items())):
        seen.form.append([name, seen.refer(each, True) or ["of type", _named(type(each))]])
    spaces = (function.__globals__, _cells(function))
    for reach in local.reaches:
        space = spaces[reach.free]
        if reach.names[0] in space:
            value, label = _follow(space[reach.names[0]], reach.names)
            seen.add(label, value)
    return seen


def _follow(value: Any, names: tuple[str, ...]) -> tuple[Any, list[str]]:
    """What a name and its attributes lead to, through modules of the user's."""
    taken = 1
    for name in names[1:]:
        if not issubclass(type(value), ModuleType):
            break
        space = vars(value)
        if not _is_users(str(space.get("__name__")), space.get("__file__")) or name not in space:
            break
        value = space[name]
        taken += 1
    return value, list(names[:taken])


def _of_class(cls: type) -> _Seen:
    seen = _Seen(["class"])
    seen.form.append([seen.refer(each, False) for each in (type(cls), *cls.__bases__)])
    for name, value in sorted(dict(vars(cls)).items()):
        # One that is None until the only instance is made would count as a change.
        if name in _INCIDENTAL or value is None or type(value) is cls:
            continue
        seen.add(name, value, plain=True)
    if issubclass(cls, enum.Enum):
        for name, member in cls._member_map_.items():
            seen.add(["member", name], member._value_, plain=True)
    return seen


# Of a class: what follows from where it stands, from its text without what it does, or from others.
_INCIDENTAL = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__"),
        *("__annotate__", "__annotations_cache__", "__firstlineno__", "__static_attributes__"),
        *("__orig_bases__", "__parameters__", "__type_params__", "__abstractmethods__"),
        *("_member_names_", "_member_map_", "_value2member_map_"),
    }
)

_FUNCTIONS = (FunctionType, MethodType, type)
_BUILTIN = frozenset({BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType})


def _parts_of(kind: type, value: Any) -> list[object] | None:
    """What stands in a wrapper of functions; None if it is no such thing."""
    if kind in (staticmethod, classmethod):
        return [value.__func__]
    if kind is MethodType:
        owner = value.__self__
        return [value.__func__, owner if issubclass(type(owner), type) else type(owner)]
    if issubclass(kind, property):
        return [value.fget, value.fset, value.fdel]
    if issubclass(kind, functools.partial | functools.partialmethod):
        return [value.func, *value.args, *value.keywords, *value.keywords.values()]
    if issubclass(kind, functools.cached_property | functools.singledispatchmethod):
        return [value.func]
    wrapped = _attribute(value, "__wrapped__")
    return None if wrapped is None else [wrapped, kind]


def _attribute(value: object, name: str) -> Any:
    """An attribute without what an object does to look like another, None if there is none."""
    try:
        return object.__getattribute__(value, name)
    except Exception:
        return None


def _cells(function: FunctionType) -> dict[str, object]:
    """What is in its closure by name; a cell may be empty yet."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


_ATOMS = frozenset({NoneType, bool, int, float, complex, str, bytes, EllipsisType})
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


def _is_constant(value: Any) -> bool:
    kind = type(value)
    return kind in _ATOMS or (kind in (tuple, frozenset) and all(map(_is_constant, value)))


def _shown(value: object) -> Form | None:
    """The `repr` of a value of an installed type, if it is one that is compared by its content
    and cannot change: a date, a path, a number."""
    kind = type(value)
    if kind.__hash__ in (None, object.__hash__) or kind.__repr__ is object.__repr__:
        return None
    try:
        text = repr(value)
    except Exception:
        return None
    return None if _ADDRESS.search(text) else ["shown", _named(kind), text]


def _named(named: Any) -> str:
    return f"{getattr(named, '__module__', '?')}:{getattr(named, '__qualname__', '?')}"


# Whose it is.

_OURS = __name__.partition(".")[0]


def _home(function: FunctionType) -> tuple[str, str | None]:
    """The name and the file of the module that the code of a function is in."""
    space = function.__globals__
    return str(space.get("__name__")), space.get("__file__")


def _of_user(module: object) -> bool:
    """Whether a module of that name is the user's."""
    name = str(module)
    return _is_users(name, getattr(sys.modules.get(name), "__file__", None))


@functools.lru_cache(maxsize=4096)
def _is_users(module: str, file: str | None) -> bool:
    """Neither this package, nor the standard library, nor installed."""
    top = module.partition(".")[0]
    if module == "__main__":
        return True
    if top == _OURS:
        return False
    if not isinstance(file, str):
        return top not in sys.stdlib_module_names
    parts = os.path.normpath(file).split(os.sep)
    if "site-packages" in parts or "dist-packages" in parts:
        return False
    return not os.path.realpath(file).startswith(_standard_library())


@functools.cache
def _standard_library() -> tuple[str, ...]:
    folders = [sysconfig.get_path(each) for each in ("stdlib", "platstdlib")]
    return tuple(os.path.join(os.path.realpath(each), "") for each in folders)
