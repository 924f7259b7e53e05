"""How two values differ: what was recorded, and what came of it now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import BuiltinMethodType, MethodType, MethodWrapperType
from typing import Any

from snapshot.core.modules import loaded
from snapshot.store.objects import Placeholder, text_of, type_name

_MOST = 20  # differences that are told
_MANY = 100  # elements of a set up to which each is looked for among all others

_METHODS = (BuiltinMethodType, MethodType, MethodWrapperType)

Differences = Iterator[str]


def differences(then: object, now: object, place: str = "value") -> list[str]:
    """Where they differ, a line for each: `value['a'][3]: 1 then, 2 now`. Empty if they are equal.

    Equal are values of one type whose parts are equal: NaN is equal to itself, 0.0 is not -0.0.
    What does not say what it is equal to is compared by its attributes, also as a key; a method
    by what it is bound to. What was not stored is equal to whatever is there now.
    """
    found: list[str] = []
    for each in _Comparing().differ(then, now, place):
        if len(found) == _MOST:
            return [*found, "… and more"]
        found.append(each)
    return found


class _Comparing:
    def __init__(self) -> None:
        # That were found equal, or are being compared: they may be cyclic. By their ids, which are
        # nobody else's as long as the two are kept here.
        self._pairs: dict[tuple[int, int], tuple[object, object]] = {}

    def differ(self, then: Any, now: Any, place: str) -> Differences:
        if isinstance(then, Placeholder):
            return
        if _name(then) != _name(now):
            yield f"{place}: {_typed(then)} then, {_typed(now)} now"
            return
        pair = id(then), id(now)
        if then is now or pair in self._pairs:
            return
        self._pairs[pair] = then, now
        equal = True
        try:
            for each in self._by_kind(then, now, place):
                equal = False
                yield each
        except RecursionError:
            equal = False
            yield f"{place}: nested too deeply to be compared"
        finally:
            if not equal:
                self._pairs.pop(pair, None)

    def _are_equal(self, then: Any, now: Any) -> bool:
        return next(self.differ(then, now, ""), None) is None

    def _by_kind(self, then: Any, now: Any, place: str) -> Differences:
        compare: Callable[[Any, Any, str], Differences]
        if isinstance(then, float) and isinstance(now, float):
            compare = _floats
        elif isinstance(then, dict):
            compare = self._mappings
        elif isinstance(then, list | tuple):
            compare = self._sequences
        elif isinstance(then, BaseException):
            compare = self._errors
        elif isinstance(then, _METHODS):
            compare = self._methods
        elif isinstance(then, set | frozenset):
            compare = self._sets
        elif (numpy := loaded("numpy")) is not None and isinstance(then, numpy.ndarray):
            compare = _arrays
        elif type(then).__module__.partition(".")[0] == "pandas" and hasattr(then, "equals"):
            compare = _frames
        elif getattr(type(then), "__eq__", None) is object.__eq__:
            compare = self._objects
        else:
            compare = self._others
        yield from compare(then, now, place)

    def _mappings(self, then: Any, now: Any, place: str) -> Differences:
        gone = [key for key in then if key not in now]
        come = [key for key in now if key not in then]
        # A key that is equal to itself alone has its place: a dictionary keeps its order.
        in_place = [pair for pair in zip(gone, come, strict=False) if self._are_equal(*pair)]
        names = {id(one): other for one, other in in_place}
        found = {id(other) for _, other in in_place}
        for key in then:
            inside = f"{place}[{text_of(key)}]"
            if key in now:
                yield from self.differ(then[key], now[key], inside)
            elif id(key) in names:
                yield from self.differ(then[key], now[names[id(key)]], inside)
            else:
                yield f"{inside}: {text_of(then[key])} then, missing now"
        for key in come:
            if id(key) not in found:
                yield f"{place}[{text_of(key)}]: missing then, {text_of(now[key])} now"
        yield from self._attributes(then, now, place)

    def _sets(self, then: Any, now: Any, place: str) -> Differences:
        gone, come = list(then - now), list(now - then)
        if max(len(gone), len(come)) <= _MANY:
            gone, come = self._unmatched(gone, come)
        for each in gone:
            yield f"{place}: {text_of(each)} then, missing now"
        for each in come:
            yield f"{place}: missing then, {text_of(each)} now"
        yield from self._attributes(then, now, place)

    def _unmatched(self, gone: Iterable[Any], come: list[Any]) -> tuple[list[Any], list[Any]]:
        left, rest = [], list(come)
        for one in gone:
            index = next((i for i, other in enumerate(rest) if self._are_equal(one, other)), None)
            if index is None:
                left.append(one)
            else:
                del rest[index]
        return left, rest

    def _methods(self, then: Any, now: Any, place: str) -> Differences:
        if then.__name__ != now.__name__:
            yield f"{place}: {text_of(then)} then, {text_of(now)} now"
        else:
            yield from self.differ(then.__self__, now.__self__, f"{place}.__self__")

    def _sequences(self, then: Any, now: Any, place: str) -> Differences:
        for index, (one, other) in enumerate(zip(then, now, strict=False)):
            yield from self.differ(one, other, f"{place}[{index}]")
        if len(then) != len(now):
            yield f"{place}: {len(then)} elements then, {len(now)} now"
        yield from self._attributes(then, now, place)

    def _errors(self, then: BaseException, now: BaseException, place: str) -> Differences:
        yield from self.differ(then.args, now.args, f"{place}.args")

    def _attributes(self, then: Any, now: Any, place: str) -> Differences:
        one, other = _state(then), _state(now)
        for name in {**one, **other}:
            if name not in other:
                yield f"{place}.{name}: {text_of(one[name])} then, missing now"
            elif name not in one:
                yield f"{place}.{name}: missing then, {text_of(other[name])} now"
            else:
                yield from self.differ(one[name], other[name], f"{place}.{name}")

    def _objects(self, then: Any, now: Any, place: str) -> Differences:
        if _state(then) or _state(now):
            yield from self._attributes(then, now, place)
            return
        try:
            one, other = then.__reduce_ex__(4), now.__reduce_ex__(4)
        except Exception:
            return  # there is nothing that could differ, or be asked for
        if isinstance(one, tuple) and isinstance(other, tuple) and len(one) == len(other):
            for part, other_part in zip(one[1:], other[1:], strict=True):
                if isinstance(part, tuple | list | dict):
                    yield from self.differ(part, other_part, place)
        elif one != other:
            yield f"{place}: {text_of(then)} then, {text_of(now)} now"

    def _others(self, then: Any, now: Any, place: str) -> Differences:
        try:
            same = bool(then == now) or bool(then != then and now != now)  # NaN of any type
        except Exception as error:
            yield f"{place}: cannot be compared: {type(error).__name__}: {error}"
            return
        if same:
            return
        found = list(self._attributes(then, now, place))
        yield from found or [f"{place}: {text_of(then)} then, {text_of(now)} now"]


def _floats(then: float, now: float, place: str) -> Differences:
    if math.isnan(then) and math.isnan(now):
        return
    if then != now or math.copysign(1, then) != math.copysign(1, now):
        yield f"{place}: {then!r} then, {now!r} now"


def _arrays(then: Any, now: Any, place: str) -> Differences:
    if then.dtype != now.dtype or then.shape != now.shape:
        yield f"{place}: {then.dtype} {then.shape} then, {now.dtype} {now.shape} now"
        return
    numpy: Any = loaded("numpy")
    floats = then.dtype.kind in "fc"
    if not numpy.array_equal(then, now, equal_nan=floats):
        differ = (then != now) & ~((then != then) & (now != now)) if floats else then != now
        count = int(numpy.count_nonzero(differ))
        yield f"{place}: {count} of {then.size} elements differ"


def _frames(then: Any, now: Any, place: str) -> Differences:
    if not then.equals(now):
        yield f"{place}: {then.shape} then, {now.shape} now, and their elements differ"


def _name(value: object) -> str:
    """Of its type: a class that is defined anew is the same for us."""
    return type_name(value)


def _typed(value: object) -> str:
    return f"{text_of(value)} ({type_name(value)})"


def _state(value: Any) -> Mapping[str, Any]:
    found = dict(getattr(value, "__dict__", {}))
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                found[name] = getattr(value, name)
    return found
