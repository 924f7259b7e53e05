"""Values as a recorder tells them: pickled at once, since they may change; each content once."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable, Sequence
from types import BuiltinMethodType, MethodType, MethodWrapperType, ModuleType
from typing import Any, NamedTuple

from snapshot import pickling
from snapshot.errors import NotPicklable
from snapshot.pickling import Change
from snapshot.replay.redaction import Scrubbing
from snapshot.store import events
from snapshot.store.objects import Objects, Placeholder, text_of, type_name

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""What never changes, and pickles without code of anybody's."""

_LARGE = 1 << 16  # bytes from which on a pickle says what it looks like
_MOST = 1 << 24  # bytes of pickles that are remembered, to tell of them by their digest

_METHODS = frozenset({BuiltinMethodType, MethodType, MethodWrapperType})

_TOO_DEEP = "it is nested too deeply to be pickled"

_dumps: Callable[..., bytes] = pickle.dumps


class Taken(NamedTuple):
    """A value as it was: its pickle, and the digests and sizes of its large buffers.

    shown: its type and what is shown of it, where it is too large to be looked into later.
    """

    data: bytes
    buffers: tuple[tuple[bytes, int], ...] = ()
    shown: tuple[str, str] | None = None


class Contents:
    """Those that a recorder has told."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._told: dict[bytes, bytes] = {}
        self._size = 0

    def forget(self) -> None:
        """Tell everything anew: another spool file begins."""
        self._told.clear()
        self._size = 0

    def take(
        self,
        value: object,
        most: int | None = None,
        scrubbing: Scrubbing | None = None,
        levels: int = 0,
    ) -> Taken:
        """Pickle a value. What cannot be pickled has a `Placeholder` in its place.

        most: bytes, None for no limit; of more, only the `Placeholder` is taken. scrubbing: hides
        what of it is redacted. levels: of tuples and dictionaries down to which each part is a
        value of its own, which no other one's `Placeholder` stands for. Raises `StoreError` where
        a large buffer cannot be written.
        """
        data, buffers = acceptable(value, most, scrubbing, levels)
        if not buffers and len(data) <= _LARGE:
            return as_taken(data)
        kind = type_name(value)
        shown = kind, text_of(value) if scrubbing is None else f"<{kind}>"
        named = []
        for each in buffers:
            digest = hashlib.sha256(each).digest()
            self._objects.write(digest, each)
            named.append((digest, each.nbytes))
        return Taken(data, tuple(named), shown)

    def tell(self, taken: Taken) -> bytes:
        """The content of a value, for a record that is written before anything else is told."""
        data, buffers, shown = taken
        if shown is not None and buffers:
            return events.outside(data, buffers, *shown)
        content = self.told(data)
        return content if shown is None or content is not data else events.outside(data, (), *shown)

    def told(self, data: bytes) -> bytes:
        """The content of a value that is its pickle, or of one that was told before."""
        if len(data) <= events.SMALL:
            return data
        if (found := self._told.get(data)) is not None:
            return found
        if self._size > _MOST:
            self.forget()
        self._told[data] = events.reference(hashlib.sha256(data).digest())
        self._size += len(data)
        return data


def as_taken(data: bytes) -> Taken:
    """As fast as a tuple is made."""
    return tuple.__new__(Taken, (data, (), None))


def pickled_at_once(value: object) -> bytes | None:
    """A value all of which can be pickled, into one piece of no great size; None for any other."""
    if "multiprocessing.connection" in sys.modules or issubclass(type(value), BaseException):
        return None  # see `pickled`
    buffers: list[pickle.PickleBuffer] = []
    try:
        data = _dumps(value, 5, buffer_callback=buffers.append)
    except BaseException as error:  # code of the value's own may raise anything
        if pickling.is_interrupt(error):
            raise
        return None
    return None if buffers or len(data) > _LARGE else data


def taken_at_once(value: object) -> Taken | None:
    """The same, as it is told."""
    data = pickled_at_once(value)
    return None if data is None else as_taken(data)


def small_atoms(value: object) -> bytes | None:
    """The content of a value that holds atoms alone, if that is no matter for `Contents`."""
    data = _dumps(value, 5)
    return data if len(data) <= events.SMALL else None


def taken_atoms(value: object) -> Taken:
    """A value that holds atoms alone."""
    data = _dumps(value, 5)
    if len(data) <= _LARGE:
        return as_taken(data)
    return Taken(data, (), (type_name(value), text_of(value)))


def pickled(value: object, change: Change | None = None) -> tuple[bytes, list[memoryview]]:
    """As `pickling.dump` does it, and faster where nothing of it can go wrong."""
    # Of a pipe's end, a plain pickle has the number, and its copy would close what has that then;
    # of an exception, arguments that its class may not take.
    is_plain = change is None and not issubclass(type(value), BaseException)
    if is_plain and "multiprocessing.connection" not in sys.modules:
        buffers: list[memoryview] = []
        there_are: list[pickle.PickleBuffer] = []
        try:
            data = _dumps(value, 5, buffer_callback=there_are.append)
            if there_are:
                data = _dumps(value, 5, buffer_callback=pickling.out_of_band(buffers))
            return data, buffers
        except RecursionError as error:
            raise NotPicklable(_TOO_DEEP) from error
        except BaseException as error:
            if pickling.is_interrupt(error):
                raise
    elif change is None:
        try:
            return pickling.dump(value)
        except NotPicklable as error:
            if isinstance(error.__cause__, RecursionError):
                raise

    def instead(value: object, error: BaseException) -> Placeholder:
        return instead_of(value, type(error).__name__ if change else _reason(error), change)

    def settled(obj: Any, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        if type(obj) in _METHODS and not isinstance(obj.__self__, type | ModuleType):
            obj.__self__.__reduce_ex__(5)  # what stands for something else has no such method
        return reduced if change is None else change(obj, reduced)

    return pickling.dump(value, instead=instead, change=settled)


def _reason(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException as other:  # its str is anybody's code
        if pickling.is_interrupt(other):
            raise
        return type(error).__name__


def whole(data: bytes, buffers: Sequence[memoryview]) -> bytes:
    """A pickle with all its buffers in it."""
    return _dumps(pickling.load(data, buffers), 5) if buffers else data


def as_it_was(value: Any) -> Any:
    """A copy of a value that may still change."""
    return value if type(value) in ATOMS else pickling.load(whole(*pickled(value)))


def acceptable(
    value: object, most: int | None, scrubbing: Scrubbing | None, levels: int = 0
) -> tuple[bytes, list[memoryview]]:
    """A value as `pickled` gives it, or what may be stored of it: see `Contents.take`."""
    data, buffers, why = _weighed(value, most, scrubbing)
    if why is None:
        return data, buffers
    data, buffers, why = _weighed(_parted(value, most, scrubbing, levels), None, scrubbing)
    if why is None:
        return data, buffers
    return pickled(instead_of(value, why, scrubbing))


def _weighed(
    value: object, most: int | None, scrubbing: Scrubbing | None
) -> tuple[bytes, list[memoryview], str | None]:
    """A value as `pickled` gives it, and why it is not stored, None for no reason."""
    try:
        data, buffers = pickled(value, scrubbing)
    except NotPicklable as error:  # it is nested too deeply
        return b"", [], "it cannot be pickled" if scrubbing else str(error)
    size = len(data) + sum(each.nbytes for each in buffers)
    if most is not None and size > most:
        return data, buffers, f"{size} bytes, more than {most}"
    if scrubbing is not None and any(map(scrubbing.holds_secret, [data, *map(bytes, buffers)])):
        return data, buffers, "it may hold a value that is redacted"
    return data, buffers, None


def _parted(value: Any, most: int | None, scrubbing: Scrubbing | None, levels: int) -> Any:
    """A copy of a value in which something stands for each part that is not stored."""
    if levels and type(value) is tuple:
        return tuple(_parted(each, most, scrubbing, levels - 1) for each in value)
    if levels and type(value) is dict:
        return {key: _parted(each, most, scrubbing, levels - 1) for key, each in value.items()}
    why = _weighed(value, most, scrubbing)[2]
    return value if why is None else instead_of(value, why, scrubbing)


def instead_of(value: Any, reason: str, change: Change | None = None) -> Placeholder:
    """Stands for a value that is not stored.

    change: where there is one, something of the value may have to be hidden, and its `repr`, which
    may say anything, is not asked for.
    """
    text = text_of(value) if change is None else f"<{type_name(value)}>"
    return Placeholder(type_name(value), " ".join(reason.split()), text)
