"""How functions, classes and modules are written."""

from __future__ import annotations

import abc
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from operator import is_
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from snapshot.memo.imports import follow, imported_by, load, modules_of
from snapshot.memo.writing import Handler, Refusal, Writer, plain, sequence, special
from snapshot.store.bytecode import code_digest, look_into
from snapshot.store.versions import (
    Datum,
    Seen,
    Versions,
    beyond,
    is_abstract,
    is_module_of_user,
    is_users,
    look_at,
    module_of,
    of_user,
    steps,
)

_OURS = __name__.partition(".")[0]
_HEAP = 1 << 9  # a flag of a class that may have a namesake
_KEPT = 256  # functions and classes of which what was found is kept


def _function(writer: Writer, function: FunctionType) -> bytes:
    """By its version and the data that it reaches; of an installed one by the name, or where that
    does not lead to it, by its code and what was put into that."""
    attributes = dict(vars(function))
    wrapped = attributes.pop("__wrapped__", None)
    module = str(function.__globals__.get("__name__"))
    if is_users(module, function.__globals__.get("__file__")):
        definition = writer.once(function, _definition_of)
        writer.installed |= definition.installed
        form = definition.form(writer)
        return special("function", form, writer.mapping(attributes.items(), ".{}"))
    if wrapped is not None and module.partition(".")[0] == _OURS:
        return special("wrapped", writer.at(".__wrapped__", wrapped))
    if module == "functools" and "registry" in attributes:
        return special("dispatch", writer.mapping(attributes["registry"].items()))
    writer.installed.add(module.partition(".")[0])
    if function.__closure__ is None and _is_found(function):
        return _named(function)
    return special(
        "closure",
        plain((_name_of(function), code_digest(function.__code__))),
        writer.mapping(_cells(function).items(), ".(closure {!r})"),
        writer.write((function.__defaults__, function.__kwdefaults__)),
    )


def _method(writer: Writer, method: MethodType) -> bytes:
    function = writer.at(".__func__", method.__func__)
    return special("method", function, writer.at(".__self__", method.__self__))


def _builtin(writer: Writer, function: Any) -> bytes:
    owner = getattr(function, "__self__", None)
    if owner is None or isinstance(owner, ModuleType):
        return _named(function)
    return special("bound", writer.at(".__self__", owner), plain(function.__name__))


def _slot(writer: Writer, descriptor: Any) -> bytes:
    return special("slot", writer.write(descriptor.__objclass__), plain(descriptor.__name__))


def _module(writer: Writer, module: ModuleType) -> bytes:
    """Of an installed one the name; else also what has a public name in it, as far as that can be
    written. What is private counts where a function reads it."""
    space = vars(module)
    parts = [plain(str(space.get("__name__")))]
    if not is_module_of_user(module):
        writer.installed.add(str(space.get("__name__")).partition(".")[0])
        return special("module", *parts)
    for name, value in sorted(space.items()):
        if not name.startswith("_") and not issubclass(type(value), ModuleType):
            with suppress(Refusal):
                parts += plain(name), writer.write(value)
    return special("module", *parts)


def _code(_: Writer, code: CodeType) -> bytes:
    return special("code", plain((code.co_qualname, code_digest(code))))


def _class(writer: Writer, cls: type) -> bytes:
    """Of an installed one the name; else the version, and the data that its methods reach.

    Such data as cannot be written does not count.
    """
    module = str(cls.__module__)
    if not of_user(module):
        writer.installed.add(module.partition(".")[0])
        if not cls.__flags__ & _HEAP or _is_found(cls):
            return _named(cls)
    definition = writer.once(cls, _definition_of)
    writer.installed |= definition.installed
    if writer.is_apart:  # the version of the class outside covers this one, as its data does
        return special("class", definition.head)
    return special("class", writer.once(definition, lambda each: each.form_apart(writer)))


DERIVED: dict[str, Handler] = {
    "builtins.function": _function,
    "builtins.method": _method,
    "builtins.builtin_function_or_method": _builtin,
    "builtins.method-wrapper": _builtin,
    "builtins.method_descriptor": _slot,
    "builtins.classmethod_descriptor": _slot,
    "builtins.wrapper_descriptor": _slot,
    "builtins.getset_descriptor": _slot,
    "builtins.member_descriptor": _slot,
    "builtins.module": _module,
    "builtins.code": _code,
    "builtins.type": _class,
}


_definitions: dict[int, _Definition] = {}


def _definition_of(subject: FunctionType | type) -> _Definition:
    found = _definitions.get(id(subject))
    if found is None or found.subject is not subject or not found.holds():
        if len(_definitions) >= _KEPT:
            _definitions.clear()
        found = _definitions[id(subject)] = _Definition(subject)
    return found


class _Definition:
    """A function or class of the user's: its version, and the data that it leads to."""

    def __init__(self, subject: FunctionType | type) -> None:
        self.subject = subject
        self.installed: set[str] = set()  # packages that it reaches
        self._data: list[Datum] = []
        self._registered: object = None  # how often, where an abstract class is reached
        # What would be another if a version were another: classes, functions, names in modules.
        self._classes: list[tuple[type, list[str], list[Any]]] = []
        self._functions: list[tuple[FunctionType, list[Any]]] = []
        self._names: dict[tuple[int, str], tuple[Mapping[str, Any], Any]] = {}
        versions, parts = Versions(), list[object]()
        waiting: list[FunctionType | type] = [subject]
        reached = {id(subject)}
        for each in waiting:
            self._watch_class(each) if isinstance(each, type) else self._watch_function(each)
            for seen in (look_at(each), imports := self._imports(each)):
                self._data += [datum for datum in seen.data if datum.name != _COPYREG]
                self._count_installed(map(module_of, seen.installed))
                waiting += [target for target in seen.targets if id(target) not in reached]
                reached |= set(map(id, seen.targets))
            if imports.form:
                parts += imports.form, [versions.of(target) for target in imports.targets]
        self.head = plain((_name_of(subject), versions.of(subject), repr(parts)))

    def _imports(self, subject: FunctionType | type) -> Seen:
        """What it imports when it runs."""
        seen = Seen([])
        if isinstance(subject, type):
            return seen
        for module in modules_of(subject):
            load(module)
            self._count_installed([module])
        for names in imported_by(subject):
            for space, name, value in (taken := follow(names)):
                self._names[id(space), name] = space, value
            if taken:
                seen.at(f"{names[0]}.", taken[-1][1])
                seen.add([*names[: len(taken)]], taken[-1][2])
        return seen

    def _count_installed(self, modules: Iterable[str]) -> None:
        self.installed |= {each.partition(".")[0] for each in modules if not of_user(each)}

    def form(self, writer: Writer) -> bytes:
        """Raises `Refusal`."""
        parts = [self.head]
        for each in self._data:
            label = f"{each.home}{each.name}"
            parts += plain(label), writer.at(f".({label})", each.value)
        return sequence(b"(", parts)

    def form_apart(self, around: Writer) -> bytes:
        """The same wherever one meets it, and without the data that cannot be written."""
        writer = around.apart()
        parts = [self.head]
        for each in self._data:
            with suppress(Refusal):
                parts += plain(f"{each.home}{each.name}"), writer.write(each.value)
        return sequence(b"(", parts)

    def holds(self) -> bool:
        """Whether it is still the same, the data aside that is looked at anew."""
        return (
            all(
                space.get(name, _MISSING) is value
                for (_, name), (space, value) in self._names.items()
            )
            and self._registered in (None, abc.get_cache_token())
            and all(
                [*vars(cls)] == names and _same(_parts_of_class(cls), parts)
                for cls, names, parts in self._classes
            )
            and all(_same(_parts(function), parts) for function, parts in self._functions)
        )

    def _watch_class(self, cls: type) -> None:
        self._classes.append((cls, [*vars(cls)], _parts_of_class(cls)))
        if is_abstract(cls):
            self._registered = abc.get_cache_token()

    def _watch_function(self, function: FunctionType) -> None:
        self._functions.append((function, _parts(function)))
        cells = _cells(function)
        for reach in look_into(function.__code__).reaches:
            taken = list(steps(cells if reach.free else function.__globals__, reach.names))
            for space, name, value in taken[1:] if reach.free else taken:
                self._names[id(space), name] = space, value
            for space, name in beyond(taken[-1][2], reach.names[len(taken) :]) if taken else ():
                self._names[id(space), name] = space, space.get(name, _MISSING)
            if not (taken or reach.free):
                name = reach.names[0]
                self._names[id(function.__globals__), name] = function.__globals__, _MISSING


_MISSING = object()
_COPYREG = "__slotnames__"  # kept in a class from the first time that an instance is pickled on


def _same(now: list[Any], then: list[Any]) -> bool:
    return len(now) == len(then) and all(map(is_, now, then))


def _parts_of_class(cls: type) -> list[Any]:
    return [*vars(cls).values(), type(cls), cls.__mro__]


def _parts(function: FunctionType) -> list[Any]:
    """What a function may be given anew."""
    keywords, attributes = function.__kwdefaults__ or {}, vars(function)
    own = (function.__code__, function.__defaults__, *keywords.values())
    return [*own, *_cells(function).values(), *attributes, *attributes.values()]


def _cells(function: FunctionType) -> dict[str, Any]:
    """What is in its closure by name; a cell may be empty yet."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def _is_found(named: Any) -> bool:
    """Whether its name leads to it."""
    found: Any = sys.modules.get(named.__module__)
    for name in named.__qualname__.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found is named


def _name_of(named: Any) -> str:
    return f"{named.__module__}:{named.__qualname__}"


def _named(named: Any) -> bytes:
    return special("named", plain(_name_of(named)))
