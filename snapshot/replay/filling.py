"""Objects that get the content of a copy, so that all who hold them see it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from types import MemberDescriptorType
from typing import Any

_NOTHING: Any = object()
_MADE_IN_PYTHON = 1 << 9  # a flag of a class
_DICTS = (dict, OrderedDict, Counter, defaultdict)
_LISTS = (list, deque)
_STATE = ("__reduce__", "__reduce_ex__", "__getstate__")


class Filling:
    """Puts what was recorded into what is there now.

    What is one object in what was recorded is one object afterwards.

    in_place: False leaves what is there as it is; only an `object()`, which has no content, is
    taken for the one that is there.
    """

    def __init__(self, *, in_place: bool = True) -> None:
        self._in_place = in_place
        # By the id of what was recorded, which is nobody else's as long as that is kept here.
        self._found: dict[int, tuple[object, Any]] = {}
        self._taken: set[int] = set()

    def of(self, then: Any) -> Any:
        """What stands for it by now: itself, if nothing else does."""
        return self._found.get(id(then), (then, then))[1]

    def filled(self, now: Any, then: Any) -> Any:
        """`now` with the content of `then`, where it can have that; else `then`."""
        try:
            return self._fill(now, then)
        except RecursionError:
            return then

    def _fill(self, now: Any, then: Any) -> Any:
        if id(then) in self._found or then is now:
            return self.of(then)
        if type(now) is not type(then) or id(now) in self._taken:
            return then
        if not (type(then) is object or (self._in_place and _can_be_filled(then))):
            return then
        self._found[id(then)] = then, now
        self._taken.add(id(now))
        if type(then) in _DICTS:
            self._fill_dict(now, then)
        elif type(then) in _LISTS:
            parts = [self._fill(_at(now, n), each) for n, each in enumerate(then)]
            now.clear()
            now.extend(parts)
        elif type(then) is set:
            parts = [self.of(each) for each in then]
            now.clear()
            now.update(parts)
        elif type(then) is bytearray:
            now[:] = then
        else:
            self._fill_object(now, then)
        return now

    def _fill_dict(self, now: Any, then: Any) -> None:
        if isinstance(then, defaultdict):
            now.default_factory = then.default_factory
        parts = {self.of(key): self._fill(now.get(key), each) for key, each in then.items()}
        now.clear()
        now.update(parts)

    def _fill_object(self, now: Any, then: Any) -> None:
        if hasattr(then, "__dict__"):
            self._fill_dict(vars(now), vars(then))
        for each in _slots(type(then)):
            value = _in_slot(each, then)
            if value is not _NOTHING:
                each.__set__(now, self._fill(_in_slot(each, now), value))
            elif _in_slot(each, now) is not _NOTHING:
                each.__delete__(now)


def _can_be_filled(value: Any) -> bool:
    """Whether it may change, and all that it has can be reached: the usual containers, and
    instances of classes that leave to Python what is pickled of them, and are compared by identity.
    """
    kind = type(value)
    if kind in (*_DICTS, *_LISTS, set, bytearray):
        return True
    if any(not each.__flags__ & _MADE_IN_PYTHON for each in kind.__mro__[:-1]):
        return False
    if any(getattr(kind, each) is not getattr(object, each) for each in _STATE):
        return False
    changes = getattr(kind, "__hash__", None) in (None, object.__hash__)
    return changes and not hasattr(kind, "__setstate__")


def _slots(kind: type) -> Iterator[MemberDescriptorType]:
    for each in kind.__mro__:
        yield from (x for x in vars(each).values() if type(x) is MemberDescriptorType)


def _in_slot(slot: MemberDescriptorType, value: Any) -> Any:
    try:
        return slot.__get__(value)
    except AttributeError:
        return _NOTHING


def _at(values: Any, index: int) -> Any:
    return values[index] if index < len(values) else _NOTHING
