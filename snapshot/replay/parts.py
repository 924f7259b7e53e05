"""What two values of one type are made of, side by side, and how they differ where that has no
parts.

Each function here is given the two and their place. It yields the pairs of their parts that are
yet to be compared, and a line for each difference that it sees itself.
"""

from __future__ import annotations

import copy
import copyreg
import dataclasses
import re
import sys
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from types import (
    CellType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any, NamedTuple

from snapshot.replay.contents import ATOMS
from snapshot.store.bytecode import code_digest
from snapshot.store.objects import text_of

_STEPS = 40  # of a place that are told at its beginning, and at its end


class Place(NamedTuple):
    """Where in a value something is, put into words only where something differs.

    form: of the last step, in which {0} is the name, {1} what is shown of it.
    """

    form: str
    name: object = None
    around: Place | None = None

    def inside(self, form: str, name: object = None) -> Place:
        return Place(form, name, self)

    def __str__(self) -> str:
        words: list[str] = []
        place: Place | None = self
        while place is not None:
            words.append(place.form.format(place.name, text_of(place.name)))
            place = place.around
        words.reverse()
        if len(words) > 2 * _STEPS:
            words[_STEPS:-_STEPS] = ["…"]
        return "".join(words)


class Step(NamedTuple):
    """Two parts that are yet to be compared."""

    then: Any
    now: Any
    place: Place


Parts = Iterator[str | Step]
Compare = Callable[[Any, Any, Place], Parts]


def unlike(then: object, now: object, place: Place) -> str:
    return f"{place}: {text_of(then)} then, {text_of(now)} now"


def are_same(then: Any, now: Any) -> bool:
    """Whether they are equal without a look at any parts: identical, or atoms."""
    if then is now:
        return True
    kind = type(then)
    # What is false may be one of the two zeros.
    return (
        kind is type(now)
        and kind in ATOMS
        and kind is not complex
        and bool(then == now and (then or kind is not float))
    )


def are_one_class(one: type, other: type) -> bool:
    """A class that is defined anew is the same for us. Rebuilt, it has the last of its names."""
    if one is other:
        return True
    names = one.__qualname__, other.__qualname__
    if one.__module__ != other.__module__:
        return False
    is_local = "<locals>" in names[0] or "<locals>" in names[1]
    return names[0] == names[1] or (is_local and one.__name__ == other.__name__)


def says_itself(kind: type) -> bool:
    """Whether the user has written what these values are equal to."""
    equal = getattr(kind, "__eq__", None)
    if not isinstance(equal, FunctionType):
        return False
    code = equal.__code__
    generated = code.co_qualname.startswith("__create_fn__") or code.co_filename.startswith(
        "<attrs generated"
    )
    module = str(equal.__globals__.get("__name__")).partition(".")[0]
    return not generated and module not in sys.stdlib_module_names


# Atoms, and what is derived of them.

BASES = (float, complex, int, str, bytes, bytearray)


def atoms(then: Any, now: Any, place: Place) -> Parts:
    if not _are_equal(then, now):
        yield unlike(then, now, place)
    elif type(then) not in BASES:
        yield from attributes(state_of(then), state_of(now), place)


def _are_equal(then: Any, now: Any) -> bool:
    base = next(each for each in BASES if issubclass(type(then), each))
    if base is float:
        return float.hex(then) == float.hex(now)  # one text for NaN, two for the zeros
    if base is complex:
        return _are_equal(then.real, now.real) and _are_equal(then.imag, now.imag)
    return base.__eq__(then, now) is True


# What can be taken apart as it is for a pickle.


class Reduced(NamedTuple):
    """What `__reduce_ex__` says of a value. make: what it is made by, None for its class."""

    make: Any
    args: tuple[Any, ...] = ()
    state: Mapping[str, Any] = MappingProxyType({})
    items: tuple[Any, ...] = ()
    pairs: Mapping[Any, Any] = MappingProxyType({})

    def has_parts(self) -> bool:
        given = any(each is not None for each in self.args)
        return bool(given or self.state or self.items or self.pairs)


_STATE = "__reduce_ex__(4)[2]"
_PLAINLY = copyreg.__newobj__, copyreg.__newobj_ex__  # type: ignore[attr-defined]


def reduced(value: Any) -> Reduced:
    """A value apart; by its attributes, where it cannot be pickled."""
    try:
        found = _reduce(value)
        if isinstance(found, str):
            return Reduced(found)
        make, args, state, items, pairs = (*found, None, None, None)[:5]
        items, pairs = tuple(items or ()), dict(pairs or ())
    except MemoryError:
        raise
    except Exception:
        return Reduced(None, (), _attributes_of(value))
    return Reduced(
        None if make is type(value) else make,
        tuple(None if each is type(value) else each for each in args),
        _named(value, state, plainly=make in _PLAINLY),
        items,
        pairs,
    )


def _reduce(value: Any) -> Any:
    reduce = copyreg.dispatch_table.get(type(value))
    # Libraries put ways in there in which all exceptions of the process are to be pickled.
    if reduce is not None and not isinstance(value, BaseException):
        return reduce(value)
    if type(value).__module__ != "itertools":
        return value.__reduce_ex__(4)
    with warnings.catch_warnings():  # that these are pickled is deprecated
        warnings.simplefilter("ignore")
        return value.__reduce_ex__(4)


def _named(value: Any, state: Any, *, plainly: bool) -> Mapping[str, Any]:
    """The state of a value by names of attributes, if it is made of these.

    plainly: it is reduced as `object` does it.
    """
    if state is None:
        return {}
    own = getattr(type(value), "__getstate__", None)
    if plainly and own is object.__getstate__:
        return _attributes_of(value)
    if isinstance(state, list) and dataclasses.is_dataclass(value):
        names = [each.name for each in dataclasses.fields(value)]
        if len(names) == len(state):
            return dict(zip(names, state, strict=True))
    if isinstance(state, dict) and all(isinstance(name, str) for name in state):
        return state
    return {_STATE: state}


def _attributes_of(value: Any) -> Mapping[str, Any]:
    state: Any = object.__getstate__(value)
    if isinstance(state, tuple):
        return {**(state[0] or {}), **state[1]}
    return state or {}


def state_of(value: Any) -> Mapping[str, Any]:
    """The attributes of what is derived of a builtin type, whose own content is none of them."""
    found = reduced(value)
    state = found.state
    if not state and found.make not in _PLAINLY:
        state = _attributes_of(value)
    if isinstance(value, defaultdict):
        return {**state, "default_factory": value.default_factory}
    return state


def attributes(
    one: Mapping[str, Any], other: Mapping[str, Any], place: Place, form: str = ".{0}"
) -> Parts:
    for name in {**one, **other}:
        inside = place.inside(form, name)
        if name not in other:
            yield f"{inside}: {text_of(one[name])} then, missing now"
        elif name not in one:
            yield f"{inside}: missing then, {text_of(other[name])} now"
        elif not are_same(one[name], other[name]):
            yield Step(one[name], other[name], inside)


def objects(then: Any, now: Any, place: Place) -> Parts:
    """Of any type that nothing else is known of."""
    one, other = reduced(then), reduced(now)
    if isinstance(one.make, str) or isinstance(other.make, str):
        if one.make != other.make:
            yield unlike(then, now, place)
    elif not one.has_parts() and not other.has_parts():
        yield from _asked(then, now, place)
    elif _atoms_differ(one.args, other.args):
        if text_of(then) != text_of(now):
            yield unlike(then, now, place)
        else:
            yield unlike(one.args, other.args, place.inside(".__reduce_ex__(4)[1]"))
    else:
        yield Step(one.make, other.make, place.inside(".__reduce_ex__(4)[0]"))
        for index, (part, other_part) in enumerate(zip(one.args, other.args, strict=True)):
            yield Step(part, other_part, place.inside(".__reduce_ex__(4)[1][{0}]", index))
        yield from attributes(one.state, other.state, place)
        if one.items or other.items:
            yield Step(one.items, other.items, place)
        if one.pairs or other.pairs:
            yield Step(dict(one.pairs), dict(other.pairs), place)


def _atoms_differ(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) != len(other) or any(
        type(part) is not type(other_part) or not _are_equal(part, other_part)
        for part, other_part in zip(one, other, strict=True)
        if part is not other_part and type(part) in ATOMS and type(other_part) in ATOMS
    )


def _asked(then: Any, now: Any, place: Place) -> Parts:
    """Two that have no parts: they say themselves whether they are equal, if they do."""
    if getattr(type(then), "__eq__", None) is object.__eq__:
        return
    if not (then == now or (then != then and now != now)):  # NaN of any type
        yield unlike(then, now, place)


def errors(then: BaseException, now: BaseException, place: Place) -> Parts:
    """Where they come from does not count. Their causes are pickled where somebody sees to it."""
    one, other = reduced(then), reduced(now)
    yield Step(one.args, other.args, place.inside(".args"))
    yield from attributes(one.state, other.state, place)
    if then.__cause__ is not None:
        yield Step(then.__cause__, now.__cause__, place.inside(".__cause__"))


# What is pickled by name, or not at all, or of which another order is the same.

_LIST_ITERATOR = type(iter([0]))
_FROM_DICTS: tuple[Iterator[Any], ...] = (
    *(iter({0: 0}), iter({0: 0}.items()), iter({0: 0}.values())),
    *(reversed({0: 0}), reversed({0: 0}.items()), reversed({0: 0}.values())),
)
_ORDERED = OrderedDict({0: 0})


def _left(iterator: Any) -> list[Any]:
    return [*copy.copy(iterator)]


INSTEAD: Mapping[type, Callable[[Any], Any]] = {
    type({0: 0}.keys()): set,
    type({0: 0}.items()): dict,
    **dict.fromkeys((type({0: 0}.values()), type(_ORDERED.values())), list),
    **dict.fromkeys((type(_ORDERED.keys()), type(_ORDERED.items())), list),
    **dict.fromkeys((_LIST_ITERATOR, *map(type, _FROM_DICTS)), _left),
    type(iter({0})): lambda iterator: set(_left(iterator)),
    MappingProxyType: dict,
    memoryview: bytes,
}
"""What stands for a container, and what makes one whose elements are compared."""

STORED_AS: Mapping[type, type] = {
    **dict.fromkeys((type(iter({0})), *map(type, _FROM_DICTS)), _LIST_ITERATOR),
    memoryview: bytes,
}
"""Those whose pickle gives something else."""

NAMES: Mapping[type, tuple[str, ...]] = {
    CellType: ("cell_contents",),
    ModuleType: ("__name__",),
    property: ("fget", "fset", "fdel"),
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    re.Match: ("re", "string", "pos", "endpos", "regs"),
}
"""Types all of whose content has these names."""


def members(then: Any, now: Any, place: Place) -> Parts:
    """Of a type that is in `NAMES`."""
    one, other = (
        {name: getattr(each, name) for name in NAMES[type(each)] if hasattr(each, name)}
        for each in (then, now)
    )
    return attributes(one, other, place)


def methods(then: Any, now: Any, place: Place) -> Parts:
    if then.__name__ != now.__name__:
        yield unlike(then, now, place)
    else:
        yield Step(then.__self__, now.__self__, place.inside(".__self__"))


def functions(then: FunctionType, now: FunctionType, place: Place) -> Parts:
    if then.__name__ != now.__name__:
        yield unlike(then, now, place)
        return
    yield Step(then.__code__, now.__code__, place.inside(".__code__"))
    for name in ("__defaults__", "__kwdefaults__"):
        yield Step(getattr(then, name), getattr(now, name), place.inside(f".{name}"))
    yield from attributes(vars(then), vars(now), place)
    yield from attributes(_cells(then), _cells(now), place, ".__closure__[{1}]")


def _cells(function: FunctionType) -> dict[str, Any]:
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))


def codes(then: Any, now: Any, place: Place) -> Parts:
    if code_digest(then) != code_digest(now):
        yield unlike(then, now, place)


def classes(then: type, now: type, place: Place) -> Parts:
    pairs = zip((then, *then.__bases__), (now, *now.__bases__), strict=False)
    if len(then.__bases__) != len(now.__bases__) or not all(are_one_class(*each) for each in pairs):
        yield unlike(then, now, place)
    else:
        yield from attributes(_own(then), _own(now), place)


def _own(kind: type) -> dict[str, Any]:
    """What the body of a class has put there."""
    return {
        name: each
        for name, each in vars(kind).items()
        if not isinstance(each, GetSetDescriptorType | MemberDescriptorType)
        and (isinstance(each, FunctionType | classmethod | staticmethod) or not _is_special(name))
    }


def _is_special(name: str) -> bool:
    """Whether it is Python that has put this there, or `Enum`, or `ABC`."""
    return name.startswith("__") or (name[:1] == name[-1:] == "_") or name == "_abc_impl"
