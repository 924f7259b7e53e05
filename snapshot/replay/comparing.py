"""How two values differ: what was recorded, and what came of it now.

Both are walked in step: `parts` says what two values of one type are made of, and this module which
parts belong together. However deep a value is, nothing recurses but keys in keys.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from types import (
    BuiltinMethodType,
    CodeType,
    FunctionType,
    MethodType,
    MethodWrapperType,
)
from typing import Any

from snapshot.replay import parts
from snapshot.replay.arrays import of_library
from snapshot.replay.parts import Compare, Parts, Place, Step, are_one_class, are_same
from snapshot.replay.yields import Driven, Yields
from snapshot.store.objects import Placeholder, text_of, type_name

_MOST = 20  # differences that are told
_MANY = 100  # elements of a set up to which each is looked for among all others

_NOWHERE: Any = object()
_TRIED = Place("")


def differences(then: object, now: object, place: str = "value") -> list[str]:
    """Where they differ, a line for each: `value['a'][3]: 1 then, 2 now`. Empty if they are equal.

    Equal are values of one type whose parts are equal, down to numbers and texts: NaN is equal to
    itself, 0.0 is not -0.0, and 1 is not True. So are values that an `__eq__` which the user has
    written calls equal. Parts are elements, in their order where that counts, attributes, and what
    else is pickled of a value; the class of a value counts by its name. What was not stored is
    equal to whatever is there now.
    """
    found: list[str] = []
    for each in _Walk().differences(Step(then, now, Place("{0}", place))):
        if len(found) == _MOST:
            return [*found, "… and more"]
        found.append(each)
    return found


class _Frame:
    """Two values that are being compared. pair: their ids. differ: whether they do so far."""

    def __init__(self, pair: tuple[int, int], place: Place, parts: Parts) -> None:
        self.pair = pair
        self.place = place
        self.parts = parts
        self.differ = False

    def next(self) -> str | Step | None:
        try:
            return next(self.parts, None)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # code of the values' own may raise anything
            return f"{self.place}: cannot be compared: {_in_words(error)}"


class _Walk:
    def __init__(self) -> None:
        # That were found equal, or are being compared: they may be cyclic. By their ids, which are
        # nobody else's as long as the two are kept here.
        self._pairs: dict[tuple[int, int], tuple[object, object]] = {}
        self._unlike: dict[tuple[int, int], tuple[object, object]] = {}
        self._known: dict[type, tuple[bool, Compare]] = {}
        self._kinds: tuple[tuple[tuple[type, ...], Compare], ...] = (
            ((dict,), self._mappings),
            ((list, tuple), self._sequences),
            ((set, frozenset), self._sets),
            (parts.BASES, parts.atoms),
            ((BaseException,), parts.errors),
            ((BuiltinMethodType, MethodType, MethodWrapperType), parts.methods),
            ((FunctionType,), parts.functions),
            ((CodeType,), parts.codes),
            ((type,), parts.classes),
            (tuple(parts.NAMES), parts.members),
        )

    def differences(self, first: Step) -> Iterator[str]:
        frames = [_Frame((0, 0), first.place, iter((first,)))]
        while frames:
            frame = frames[-1]
            try:
                each = frame.next()
            except RecursionError:  # keys in keys, which are matched as a whole
                if first.place is _TRIED:
                    raise
                each = f"{frame.place}: nested too deeply to be compared"
            if isinstance(each, str):
                frame.differ = True
                yield each
            elif each is not None:
                self._begin(each, frames)
            else:
                frames.pop()
                if frame.differ:
                    self._pairs.pop(frame.pair, None)
                    if frames:
                        frames[-1].differ = True

    def _begin(self, step: Step, frames: list[_Frame]) -> None:
        then, now, place = step
        pair = id(then), id(now)
        if pair in self._pairs or are_same(then, now) or type(then) is Placeholder:
            return
        self._pairs[pair] = then, now
        frames.append(_Frame(pair, place, self._parts(then, now, place)))

    def _are_alike(self, then: Any, now: Any) -> bool:
        """Whether two belong together. If not, nothing is kept that was taken for equal."""
        if are_same(then, now):
            return True
        if (id(then), id(now)) in self._unlike:
            return False
        before = len(self._pairs)
        if next(self.differences(Step(then, now, _TRIED)), None) is None:
            return True
        while len(self._pairs) > before:
            self._pairs.popitem()
        self._unlike[id(then), id(now)] = then, now
        return False

    def _parts(self, then: Any, now: Any, place: Place) -> Parts:
        kind, kind_now = type(then), type(now)
        if kind_now in parts.INSTEAD and kind in (kind_now, parts.STORED_AS.get(kind_now)):
            instead = parts.INSTEAD[kind_now]
            yield Step(instead(then), instead(now), place)
            return
        if not are_one_class(kind, kind_now):
            yield f"{place}: {_typed(then)} then, {_typed(now)} now"
            return
        if kind not in self._known:
            self._known[kind] = self._compared_by(kind)
        asks, compare = self._known[kind]
        if not asks or not _call_each_other_equal(then, now):
            yield from compare(then, now, place)

    def _compared_by(self, kind: type) -> tuple[bool, Compare]:
        """How those of a type are compared, and whether they are asked first."""
        if (compare := of_library(kind)) is not None:
            return False, compare
        compare = next((each for kinds, each in self._kinds if issubclass(kind, kinds)), None)
        return parts.says_itself(kind), compare or parts.objects

    # Containers. What a class of the user's does to look like another is not asked for.

    def _sequences(self, then: Any, now: Any, place: Place) -> Parts:
        each = list if issubclass(type(then), list) else tuple
        one, lengths = _kept(then)
        pairs = zip(each.__iter__(one), each.__iter__(now), strict=False)
        for index, (part, other) in enumerate(pairs):
            if not are_same(part, other):
                yield Step(part, other, place.inside("[{0}]", index))
        if each.__len__(now) not in lengths:
            yield f"{place}: {lengths[-1]} elements then, {each.__len__(now)} now"
        yield from _attributes(then, now, place)

    def _mappings(self, then: Any, now: Any, place: Place) -> Parts:
        one, other = _entries(then), _entries(now)
        pairs, gone, come = self._paired(one, other)
        names = {id(key): name for key, name in pairs}
        for key in one:
            if id(key) not in names:
                yield f"{place.inside('[{1}]', key)}: {text_of(one[key])} then, missing now"
            elif not are_same(one[key], other[names[id(key)]]):
                yield Step(one[key], other[names[id(key)]], place.inside("[{1}]", key))
        for key in come:
            yield f"{place.inside('[{1}]', key)}: missing then, {text_of(other[key])} now"
        if issubclass(type(then), OrderedDict) and not gone and not come:
            order = [id(names[id(key)]) for key in one]
            if order != [*map(id, other)]:
                yield f"{place}: the order of its keys is another one"
        yield from _attributes(then, now, place)

    def _sets(self, then: Any, now: Any, place: Place) -> Parts:
        kind = set if issubclass(type(then), set) else frozenset
        _, gone, come = self._paired([*kind.__iter__(then)], [*kind.__iter__(now)])
        for each in gone:
            yield f"{place}: {text_of(each)} then, missing now"
        for each in come:
            yield f"{place}: missing then, {text_of(each)} now"
        yield from _attributes(then, now, place)

    def _paired(
        self, ones: Iterable[Any], others: Iterable[Any]
    ) -> tuple[list[tuple[Any, Any]], list[Any], list[Any]]:
        """Which keys belong together, and those on either side that belong to none.

        A key that is equal to itself alone has its place: a dictionary keeps its order.
        """
        there = {each: each for each in others}
        pairs, gone, taken = [], [], set()
        for one in ones:
            other = there.get(one, _NOWHERE)
            if other is not _NOWHERE and self._are_alike(one, other):
                pairs.append((one, other))
                taken.add(id(other))
            else:
                gone.append(one)
        missing = [one for one in gone if type(one) is Placeholder]  # any other one is equal to it
        come = dict(enumerate(each for each in others if id(each) not in taken))
        left = []
        for index, one in enumerate(each for each in gone if type(each) is not Placeholder):
            if index in come and self._are_alike(one, come[index]):
                pairs.append((one, come.pop(index)))
            else:
                left.append(one)
        if max(len(left), len(come)) <= _MANY:
            left = [one for one in left if not self._is_found(one, come, pairs)]
        left += [one for one in missing if not self._is_found(one, come, pairs)]
        return pairs, left, [*come.values()]

    def _is_found(self, one: Any, come: dict[int, Any], pairs: list[tuple[Any, Any]]) -> bool:
        """Whether one of them belongs to it, which is taken then."""
        for index, other in come.items():
            if self._are_alike(one, other):
                pairs.append((one, come.pop(index)))
                return True
        return False


def _call_each_other_equal(then: Any, now: Any) -> bool:
    try:
        return bool(then == now)
    except MemoryError:
        raise
    except Exception:
        return False


def _attributes(then: Any, now: Any, place: Place) -> Parts:
    if type(then) in (dict, list, tuple, set, frozenset):
        return iter(())
    return parts.attributes(parts.state_of(then), parts.state_of(now), place)


def _kept(values: Any) -> tuple[Any, tuple[int, ...]]:
    """The elements that were recorded, and how many there may be now.

    Of a generator with many of them the rest were counted, and if it was closed, as many as the
    recorded elements are were asked for now.
    """
    last = values[-1] if type(values) in (list, Driven) and values else None
    if type(last) is Placeholder and last.type == _YIELDS:
        kept = values[:-1]
        return kept, (len(values), len(kept) + int(last.reason.partition(" ")[0]))
    return values, (len(values),)


_YIELDS = f"{Yields.__module__}.{Yields.__qualname__}"


def _entries(value: Any) -> Mapping[Any, Any]:
    kind = type(value)
    if kind is dict:
        return value  # type: ignore[no-any-return]
    return dict((OrderedDict if issubclass(kind, OrderedDict) else dict).items(value))


def _typed(value: object) -> str:
    return f"{text_of(value)} ({type_name(value)})"


def _in_words(error: Exception) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # its str is anybody's code, too
        return type(error).__name__
