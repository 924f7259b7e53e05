"""Objects of a few types, wherever they are: found once, and then only among what is new.

The first look goes through everything that the garbage collector tracks (about 0.1 s a million
objects). What has been looked at is frozen (`gc.freeze`), so that later looks see the rest alone.
"""

from __future__ import annotations

import gc
import io
import sys
from typing import Any, TypeVar
from weakref import WeakSet

from snapshot.core.memory import freeze

T = TypeVar("T")

# Module and class of what hosts and streams ask for; looked up only if the module is loaded.
_WANTED = (
    ("asyncio.base_events", "BaseEventLoop"),
    ("prompt_toolkit.history", "History"),
)
_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)

_found: WeakSet[Any] = WeakSet()
_everything_seen = False


def look() -> None:
    """Look through the objects that are new since the last time."""
    global _everything_seen
    if not _everything_seen:
        gc.unfreeze()  # what the program itself froze has not been seen; it is frozen again below
        _everything_seen = True
    objects = gc.get_objects()
    wanted = _wanted()
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, wanted)}
    if kinds:
        _found.update(each for each in objects if type(each) in kinds)
    del objects
    freeze()


def pass_over() -> None:
    """Take it that none of the objects there are is of interest: later looks see the rest."""
    global _everything_seen
    _everything_seen = True
    freeze()


def known(*kinds: type[T]) -> list[T]:
    """The living objects of these types that the looks so far have found."""
    return [each for each in list(_found) if isinstance(each, kinds)]


def _wanted() -> tuple[type, ...]:
    loaded = [
        getattr(sys.modules[module], name)
        for module, name in _WANTED
        if module in sys.modules and hasattr(sys.modules[module], name)
    ]
    return (*_WRITERS, *loaded)
