"""Versions: a digest of what a function would do, so that one knows whether it was edited.

A version holds for one minor version of CPython: the next one compiles the same text differently.
"""

from __future__ import annotations

import abc
import enum
import functools
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from snapshot.store.functions import key_of

_ITEMS = 256  # of a container, beyond which it is taken for data and not searched for functions


def version_of(subject: FunctionType | type) -> bytes:
    """32 bytes that change with what a function, or a class, would do.

    What counts: its code, without names of files, line numbers, comments, docstrings and the
    annotations of functions; its defaults that cannot change; and the same of each function and
    class of the user's that it reaches by a global, a closure cell, a default or an attribute of a
    module, as these are now. A list, tuple or dictionary of functions leads to them, an instance
    leads to its class, a wrapper to what it wraps. Of what is installed only the name counts, of
    other values nothing: they belong to a call, and so do mutable defaults. What only an argument
    leads to is not reached: ask for its class.

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
        seen = look_at(node.subject)
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


@dataclass(frozen=True, slots=True)
class Datum:
    """A value that is no part of a version, and the name that it is read by.

    home: what stands before the name where it is shown: a module or a class with a dot, or the key
    of a function and what the name is in it.
    """

    home: str
    name: str
    value: object


def look_at(subject: FunctionType | type) -> Seen:
    """What a function or class does by itself, and what it leads to, as it is now."""
    return _of_function(subject) if isinstance(subject, FunctionType) else _of_class(subject)


class Seen:
    """What is seen from a function or class.

    form: what it does by itself, in which numbers stand for the targets. targets: functions and
    classes of the user's. data: what counts for nothing, or by its type alone. installed: what
    counts by its name alone, or whose class does; modules, also the user's.
    """

    def __init__(self, form: Form) -> None:
        self.form = form
        self.targets: list[FunctionType | type] = []
        self.data: list[Datum] = []
        self.installed: list[object] = []
        self._place = ("", "")
        self._around: list[object] = []
        self._counts: Callable[[object], bool] | None = None  # of what a library keeps for itself

    def at(self, home: str, name: str) -> None:
        """By which name the values are read that are referred to from now on."""
        self._place = (home, name)

    def add(self, label: Form, value: object, *, plain: bool = False) -> None:
        form = self.refer(value, plain)
        if form is not None:
            self.form.append([label, form])

    def leave(self, value: object) -> None:
        """Lay aside what is no part of the version."""
        if _top(type(value).__module__) == _OURS:
            return
        if self._counts is None or self._counts(value):
            self.data.append(Datum(*self._place, value))

    def refer(self, value: Any, plain: bool) -> Form | None:
        """The form of a value, None if it does not count.

        plain: whether a value that is neither a function nor a class counts.
        """
        kind = type(value)
        if kind in _ATOMS or kind is frozenset:
            if plain and _is_constant(value):
                return [form_of(value)]
            self.leave(value)
            return None
        if kind is FunctionType:
            return self._refer_to_function(value)
        if issubclass(kind, type):
            return self._target(value) if of_user(value.__module__) else self._by_name(value)
        if issubclass(kind, ModuleType):
            self.installed.append(value)
            if is_module_of_user(value):
                self.leave(value)
            return ["module", str(vars(value).get("__name__"))]
        if kind in _BUILTIN:
            self._leave_owner(value)
            return self._by_name(value)
        if _top(kind.__module__) == _OURS and (wrapped := _attribute(value, "__wrapped__")):
            return self.refer(wrapped, False)
        if (parts := _parts_of(kind, value)) is not None:
            if of_user(kind.__module__):
                parts.append(kind)
                self._leave_wrapper(kind, value)
            self._leave_owner(value)
            return self._inside(value, kind.__name__, parts, plain)
        if kind in (tuple, list, dict):
            return self._refer_to_container(value, plain)
        if issubclass(kind, enum.Enum) and plain:
            return ["member", self.refer(kind, False), value._name_]
        if of_user(kind.__module__):
            self.leave(value)
            return ["instance", self._target(kind)]
        self.installed.append(kind)
        self.leave(value)  # what is shown of it need not be all
        return _shown(value) if plain else None

    def _by_name(self, value: object) -> Form:
        self.installed.append(value)
        return ["named", _named(value)]

    def _leave_wrapper(self, kind: type, value: Any) -> None:
        if not issubclass(kind, property):
            self.leave(value)
        elif not vars(value).keys() <= {"__doc__"}:
            self.leave(vars(value))

    def _leave_owner(self, value: object) -> None:
        """Of a bound method: the instance, of which the version knows the class alone."""
        owner = getattr(value, "__self__", None) if type(value) in _BOUND else None
        if owner is not None and not issubclass(type(owner), type | ModuleType):
            self.leave(owner)

    def _refer_to_function(self, function: FunctionType) -> Form:
        if is_users(*_home(function)):
            return self._target(function)
        wrapped = _attribute(function, "__wrapped__")
        if wrapped is not None and _top(_home(function)[0]) == _OURS:
            return self.refer(wrapped, False)
        inner = list(_cells(function).values())
        if wrapped is not None and not any(each is wrapped for each in inner):
            inner.append(wrapped)
        self.installed.append(function)
        before = self._counts
        # The standard library keeps counters in closures, others what a decorator was called with.
        standard = _top(_home(function)[0]) in sys.stdlib_module_names
        self._counts = _is_table if standard else _is_constant_or_table
        form = self._inside(function, _named(function), inner, False)
        self._counts = before
        return form

    def _refer_to_container(self, value: Any, plain: bool) -> Form | None:
        if plain and type(value) is tuple:
            return self._sequence("tuple", value, True)
        self.leave(value)
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


def _of_function(function: FunctionType) -> Seen:
    local = look_into(function.__code__)
    seen = Seen([local.digest.hex()])
    key = key_of(function)
    for name, label, each in _defaults(function):
        seen.at(f"{key} default ", name)
        seen.form.append([label, seen.refer(each, True) or ["of type", _named(type(each))]])
    spaces = (function.__globals__, _cells(function))
    for reach in local.reaches:
        taken = list(steps(spaces[reach.free], reach.names))
        if not taken:
            continue
        space, name, value = taken[-1]
        inside = reach.free and len(taken) == 1
        seen.at(f"{key} closure " if inside else f"{space.get('__name__')}.", name)
        seen.add(list(reach.names[: len(taken)]), value)
    held = list(_cells(function).values())
    for name, value in sorted(vars(function).items()):
        if name == "__wrapped__" and any(each is value for each in held):
            continue  # one that is made anew, of its code and cells, does the same
        seen.at(f"{key}.", name)
        seen.add(["attribute", name], value)
    return seen


def _defaults(function: FunctionType) -> Iterator[tuple[str, str, object]]:
    """Name, label and value of each: only those of keywords are told apart by their names."""
    code = function.__code__
    values = function.__defaults__ or ()
    for position, each in enumerate(values, code.co_argcount - len(values)):
        yield code.co_varnames[position] if position >= 0 else "", "", each
    for name, each in sorted((function.__kwdefaults__ or {}).items()):
        yield name, name, each


def steps(space: Mapping[str, Any], names: Iterable[str]) -> Iterator[Step]:
    """What is looked up, one after the other: where, under which name, and what is there; through
    modules of the user's, until a name is not there. Through others to what was put there."""
    others: list[Step] = []
    installed = False
    for name in names:
        if name not in space:
            return
        value = space[name]
        others.append((space, name, value))
        if not installed or _is_put_there(value):
            yield from others
            others.clear()
        if not issubclass(type(value), ModuleType):
            return
        installed = installed or not is_module_of_user(value)
        space = vars(value)


def beyond(value: object, names: Iterable[str]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Where the names are looked up that no step was taken for, as far as modules lead."""
    for name in names:
        if not issubclass(type(value), ModuleType):
            return
        space = vars(value)
        yield space, name
        value = space.get(name)


def _is_put_there(value: object) -> bool:
    """Whether something in an installed module is the user's, or stands for what was there."""
    if issubclass(type(value), ModuleType):
        return False
    home = module_of(value)
    return home.startswith("unittest.mock") or (home in sys.modules and of_user(home))


Step = tuple[Mapping[str, Any], str, Any]


def is_module_of_user(value: object) -> bool:
    """Whether it is a module of the user's own."""
    if not issubclass(type(value), ModuleType):
        return False
    space = vars(value)
    return is_users(str(space.get("__name__")), space.get("__file__"))


def _of_class(cls: type) -> Seen:
    # Where it is found, as a result that is kept may hold an instance. A process that
    # multiprocessing has spawned calls the program's module by another name.
    seen = Seen(["class", _named(cls).replace("__mp_main__:", "__main__:")])
    seen.form.append([seen.refer(each, False) for each in (type(cls), *cls.__bases__)])
    home = f"{_named(cls)}."
    for name, value in sorted(dict(vars(cls)).items()):
        seen.at(home, name)
        if name in _INCIDENTAL:
            continue
        if name == "__hash__" and _is_seeded(value):
            seen.form.append([name, *value.__code__.co_names])
        elif value is None:
            # One that is None until the only instance is made would else count as a change.
            if any(name in vars(base) for base in cls.__mro__[1:]):
                seen.form.append([name])
        elif type(value) is not cls:
            seen.add(name, value, plain=True)
        elif not issubclass(cls, enum.Enum):
            seen.leave(value)
    if registered := _registered(cls):
        seen.form.append(["registered", *[seen.refer(each, False) for each in registered]])
    _leave_declarations(seen, cls)
    if issubclass(cls, enum.Enum):
        for name, member in cls._member_map_.items():
            seen.at(home, name)
            seen.add(["member", name], member._value_, plain=True)
            if given := {n: each for n, each in vars(member).items() if n not in _OF_MEMBER}:
                seen.leave(given)
    return seen


def _is_seeded(method: object) -> bool:
    """Whether `attrs` has made it, with a number in it that is another one in each process."""
    if type(method) is not FunctionType:
        return False
    return method.__code__.co_filename.startswith("<attrs generated")


def is_abstract(cls: type) -> bool:
    """Whether others may be registered as if they were derived from it."""
    return "_abc_impl" in vars(cls)


def _registered(cls: type) -> list[type]:
    dump: Any = getattr(abc, "_get_dump", None)
    if not is_abstract(cls) or dump is None:
        return []
    found = (reference() for reference in dump(cls)[0])
    return sorted((each for each in found if each is not None), key=_named)


def _leave_declarations(seen: Seen, cls: type) -> None:
    """What its methods do not say: the metadata of the fields of a dataclass, and the annotations
    where an installed class among its bases may make something of them."""
    space = vars(cls)
    fields = space.get("__dataclass_fields__") or {}
    if told := {name: dict(each.metadata) for name, each in fields.items() if each.metadata}:
        seen.at(f"{_named(cls)}.", "__dataclass_fields__")
        seen.leave(told)
    if "__annotations__" in space and any(_is_installed(each.__module__) for each in cls.__mro__):
        seen.at(f"{_named(cls)}.", "__annotations__")
        seen.leave(tuple((name, repr(each)) for name, each in space["__annotations__"].items()))


# Of a class: what follows from where it stands, from its text without what it does, or from others.
_INCIDENTAL = frozenset(
    {
        *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__"),
        *("__annotate__", "__annotations_cache__", "__firstlineno__", "__static_attributes__"),
        *("__orig_bases__", "__parameters__", "__type_params__", "__abstractmethods__"),
        *("_member_names_", "_member_map_", "_value2member_map_"),
        *("__dataclass_fields__", "__dataclass_params__", "_abc_impl", "__slotnames__"),
    }
)

_OF_MEMBER = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"})

_FUNCTIONS = (FunctionType, MethodType, type)
_BOUND = frozenset({MethodType, BuiltinFunctionType})
_BUILTIN = frozenset({BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType})


def _parts_of(kind: type, value: Any) -> list[object] | None:
    """What stands in a wrapper of functions; None if it is no such thing."""
    if issubclass(kind, staticmethod | classmethod):
        return [value.__func__]
    if kind is MethodType:
        owner = value.__self__
        return [value.__func__, owner if issubclass(type(owner), type) else type(owner)]
    if issubclass(kind, property):
        return [value.fget, value.fset, value.fdel]
    if issubclass(kind, functools.partial | functools.partialmethod):
        return [value.func, *value.args, *value.keywords, *value.keywords.values()]
    if issubclass(kind, functools.cached_property):
        return [value.func]
    if issubclass(kind, functools.singledispatchmethod):
        return [value.dispatcher]
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


def _is_table(value: Any) -> bool:
    """Whether functions are chosen from it, as those that were registered for a type."""
    items = value.values() if type(value) is dict else value if type(value) is list else ()
    return bool(items) and all(issubclass(type(each), _FUNCTIONS) for each in items)


def _is_constant_or_table(value: object) -> bool:
    return _is_constant(value) or _is_table(value)


def _shown(value: object) -> Form | None:
    """The `repr` of a value of an installed type, if it is one that is compared by its content
    and cannot change: a date, a path, a number."""
    kind = type(value)
    if kind.__hash__ in (None, object.__hash__) or kind.__repr__ is object.__repr__:
        return None
    try:
        text = repr((value.pattern, value.flags) if isinstance(value, re.Pattern) else value)
    except Exception:
        return None
    return None if _ADDRESS.search(text) else ["shown", _named(kind), text]


def _named(named: Any) -> str:
    return f"{getattr(named, '__module__', '?')}:{getattr(named, '__qualname__', '?')}"


# Whose it is.


def _top(module: object) -> str:
    return str(module).partition(".")[0]


_OURS = _top(__name__)


def _home(function: FunctionType) -> tuple[str, str | None]:
    """The name and the file of the module that the code of a function is in."""
    space = function.__globals__
    return str(space.get("__name__")), space.get("__file__")


def of_user(module: object) -> bool:
    """Whether a module of that name is the user's."""
    name = str(module)
    return is_users(name, getattr(sys.modules.get(name), "__file__", None))


def module_of(value: Any) -> str:
    """The name of the module that something is in, or is."""
    kind = type(value)
    if issubclass(kind, ModuleType):
        return str(vars(value).get("__name__"))
    if kind is FunctionType:  # a wrapper may bear the name of another one
        return str(value.__globals__.get("__name__"))
    if kind is BuiltinFunctionType and value.__module__ is None:
        return type(value.__self__).__module__
    return told_by(value, "__module__") or kind.__module__


def told_by(value: object, name: str) -> str:
    """What something says of itself, without what it does to look like another."""
    try:
        found = object.__getattribute__(value, name)
    except Exception:
        return ""
    return found if isinstance(found, str) else ""


def _is_installed(module: object) -> bool:
    top = _top(module)
    return top != _OURS and top not in sys.stdlib_module_names and not of_user(module)


@functools.lru_cache(maxsize=4096)
def is_users(module: str, file: str | None) -> bool:
    """Whether a module of that name and file is: it is neither this package, nor of the standard
    library, nor installed."""
    top = _top(module)
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
    """The folders that `sysconfig` would name, without the time that it takes."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = [os.path.dirname(os.__file__)]
    folders.append(os.path.join(sys.base_exec_prefix, sys.platlibdir, python))
    return tuple(os.path.join(os.path.realpath(each), "") for each in folders)
