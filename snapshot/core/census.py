"""Objects of a few types, wherever they are: found once, and then only among what is new.

The first look goes through everything that the garbage collector tracks (about 0.1 s a million
objects). What has been looked at is frozen (`gc.freeze`), so that later looks see the rest alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import sys
from collections.abc import Iterator
from typing import Any, TypeVar
from weakref import WeakSet

from snapshot.core.memory import freeze

T = TypeVar("T")

# Module and class of what hosts and streams ask for; looked up only if the module is loaded.
_WANTED = (
    ("asyncio.base_events", "BaseEventLoop"),
    ("prompt_toolkit.history", "History"),
    ("sqlite3", "Connection"),
    ("sqlalchemy.engine.base", "Engine"),
    ("mmap", "mmap"),
    ("tempfile", "_TemporaryFileCloser"),
)
_WITHOUT_DESCRIPTOR = ("asyncio.base_events", "prompt_toolkit.history", "sqlalchemy.engine.base")
_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)

_found: dict[type, WeakSet[Any]] = {}
_eyes_closed = False
_everything_seen = False


def look() -> None:
    """Look through the objects that are new since the last time."""
    global _everything_seen
    if _eyes_closed:
        return
    if not _everything_seen:
        gc.unfreeze()  # what the program itself froze has not been seen; it is frozen again below
        _everything_seen = True
    for each in _new():
        _remember(each)
    freeze()


@contextlib.contextmanager
def not_looking() -> Iterator[None]:
    """Within it `look` does nothing."""
    global _eyes_closed
    _eyes_closed = True
    try:
        yield
    finally:
        _eyes_closed = False


def living() -> list[Any]:
    """Every living object of interest, found without freezing any.

    What the program itself froze before the first look is not seen.
    """
    found: list[Any] = [*known(*_wanted()), *_new()]
    return list({id(each): each for each in found}.values())


def pass_over() -> None:
    """Take it that none of the objects there are is of interest: later looks see the rest."""
    global _everything_seen
    _everything_seen = True
    freeze()


def is_needed() -> bool:
    """Whether there may be objects of interest that have no open descriptor."""
    return any(module in sys.modules for module in _WITHOUT_DESCRIPTOR)


def known(*kinds: type[T]) -> list[T]:
    """The living objects of these types that the looks so far have found."""
    found = [each for kind, all_ in _found.items() if issubclass(kind, kinds) for each in all_]
    if _ties:
        tied = [ctypes.cast(tie.address, ctypes.py_object).value for tie in list(_ties)]
        found += [each for each in tied if isinstance(each, kinds)]
    return found


class _Tie:
    """Lives as long as the object that holds it, whose address it has."""

    def __init__(self, address: int) -> None:
        self.address = address

    def __call__(self) -> None:
        """It is held as a function of SQL that nobody calls."""


_ties: WeakSet[_Tie] = WeakSet()


def _remember(thing: Any) -> None:
    try:
        _found.setdefault(type(thing), WeakSet()).add(thing)
    except TypeError:  # sqlite3.Connection has no weak references; it holds its functions
        tie = _Tie(id(thing))
        with contextlib.suppress(Exception):  # closed, or another thread's alone
            thing.create_function("snapshot_tie", 0, tie)
            _ties.add(tie)


def _new() -> list[Any]:
    """The objects of interest that are not frozen."""
    objects = gc.get_objects()
    wanted = set(_wanted())
    # By the bases: `issubclass` of an abstract class keeps a note of each that it was asked for.
    kinds = {kind for kind in set(map(type, objects)) if not wanted.isdisjoint(kind.__mro__)}
    return [each for each in objects if type(each) in kinds] if kinds else []


def _wanted() -> tuple[type, ...]:
    loaded = [
        getattr(sys.modules[module], name)
        for module, name in _WANTED
        if module in sys.modules and hasattr(sys.modules[module], name)
    ]
    return (*_WRITERS, *loaded)
