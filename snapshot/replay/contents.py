"""Values as a recorder tells them: pickled at once, since they may change; each content once."""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from snapshot import pickling
from snapshot.pickling import Change
from snapshot.store import events
from snapshot.store.objects import Objects, Placeholder, text_of, type_name

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""What never changes, and pickles without code of anybody's."""

_SMALL = 100  # bytes up to which a content is told again and again
_LARGE = 1 << 16  # bytes from which on a buffer has a file, and a pickle says what it looks like
_MOST = 1 << 24  # bytes of pickles that are remembered, to tell of them by their digest

_dumps: Callable[..., bytes] = pickle.dumps


class Taken(NamedTuple):
    """A value as it was: its pickle, and the digests and sizes of its large buffers."""

    data: bytes
    buffers: tuple[tuple[bytes, int], ...] = ()


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

    def take(self, value: object, most: int | None = None, change: Change | None = None) -> Taken:
        """Pickle a value. What cannot be pickled has a `Placeholder` in its place.

        most: bytes, None for no limit; of more, only the `Placeholder` is taken. change: see
        `pickling.dump`. Raises `StoreError` where a large buffer cannot be written.
        """
        data, buffers = pickled(value, change)
        size = len(data) + sum(each.nbytes for each in buffers)
        if most is not None and size > most:
            return Taken(_dumps(instead_of(value, f"{size} bytes, more than {most}"), 5))
        if not buffers:
            return Taken(data)
        named = []
        for each in buffers:
            digest = hashlib.sha256(each).digest()
            self._objects.write(digest, each)
            named.append((digest, each.nbytes))
        return Taken(data, tuple(named))

    def tell(self, taken: Taken, value: object) -> bytes:
        """The content of a value, for a record."""
        data, buffers = taken
        if buffers:
            return events.outside(data, buffers, type_name(value), text_of(value))
        if len(data) <= _SMALL:
            return data
        if (found := self._told.get(data)) is not None:
            return found
        if self._size > _MOST:
            self.forget()
        self._told[data] = events.reference(hashlib.sha256(data).digest())
        self._size += len(data)
        if len(data) > _LARGE:
            return events.outside(data, (), type_name(value), text_of(value))
        return data

    def tell_atoms(self, value: object) -> bytes:
        """The content of a value that holds atoms alone."""
        data = _dumps(value, 5)
        return data if len(data) <= _SMALL else self.tell(Taken(data), value)


def pickled(value: object, change: Change | None = None) -> tuple[bytes, list[memoryview]]:
    """As `pickling.dump` does it, and faster where nothing of it can go wrong."""
    # Of a pipe's end, a plain pickle has the number, and its copy would close what has that then.
    if change is None and "multiprocessing.connection" not in sys.modules:
        buffers: list[memoryview] = []

        def keep(buffer: pickle.PickleBuffer) -> bool:
            raw = buffer.raw()
            if raw.nbytes < _LARGE:
                return True
            buffers.append(raw)
            return False

        try:
            return _dumps(value, 5, buffer_callback=keep), buffers
        except (MemoryError, KeyboardInterrupt):
            raise
        except BaseException:
            pass
    return pickling.dump(value, instead=_instead, change=change)


def pickled_whole(value: object, change: Change | None = None) -> bytes:
    """As `pickled`, with all buffers in the pickle."""
    data, buffers = pickled(value, change)
    if not buffers:
        return data
    return _dumps(pickling.load(data, buffers), 5)


def as_it_was(value: Any) -> Any:
    """A copy of a value that may still change."""
    return value if type(value) in ATOMS else pickling.load(pickled_whole(value))


def _instead(value: object, error: BaseException) -> Placeholder:
    return instead_of(value, f"{type(error).__name__}: {error}")


def instead_of(value: Any, reason: str) -> Placeholder:
    """Stands for a value that is not stored."""
    return Placeholder(type_name(value), " ".join(reason.split()), text_of(value))
