"""The boundary in its place, around a program."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import os
import select
from _thread import get_ident
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType
from typing import Any, ClassVar

from snapshot.debugger.tape import Tape
from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.calls import aside
from snapshot.debugger.world.choosing import Kind
from snapshot.debugger.world.replacing import Replacement, exchange, put_in_type
from snapshot.debugger.world.table import FUNCTIONS, METHODS, Kinds


class World(Boundary):
    """What the program is given by the world, and how it is given that again.

    It counts in the thread that called `enter`. The process may be forked by the debugger while
    `aside` is true; a child that the program forks is on its own.
    """

    here: ClassVar[World | None] = None  # the one that is in place

    def __init__(self, tape: Tape, now: Callable[[], int]) -> None:
        super().__init__(tape, now)
        self._functions: dict[int, Any] = {}  # replacements by the ids of the originals
        self._originals: dict[int, Any] = {}  # and the other way round
        self._methods: list[tuple[type, str, Any, Any]] = []
        self._inside = False

    def enter(self, *, collects: bool = True) -> None:
        """Put all replacements in place. collects: see `collects`."""
        if self._inside:
            return
        self._inside = True
        World.here = self
        self._owner = get_ident()
        if not self._functions:
            self._make()
        exchange(self._functions)
        for functions in _SUPPORTING:
            functions |= {self._functions[id(f)] for f in functions if id(f) in self._functions}
        for cls, name, _, new in self._methods:
            put_in_type(cls, name, new)
        if collects:
            self.collects()
        atexit.register(self.leave)

    def collects(self) -> None:
        """From now on the program's garbage goes at milestones, and is not remembered otherwise."""
        self.garbage.enter()

    def leave(self) -> None:
        """Put the originals back."""
        if not self._inside:
            return
        self._inside = False
        World.here = None
        self.thread = 0
        atexit.unregister(self.leave)
        self.garbage.leave()
        for cls, name, old, _ in self._methods:
            put_in_type(cls, name, old)
        for functions in _SUPPORTING:
            functions -= {f for f in functions if id(f) in self._originals}
        exchange(self._originals)

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        """What is done within is nothing of the program's."""
        if self.aside or get_ident() != self._owner:
            yield
            return
        self.aside = True
        try:
            yield
        finally:
            self.aside = False

    def _make(self) -> None:
        for place, kinds in FUNCTIONS.items():
            for kind, name, original in _there(_found(place), kinds):
                new = kind(self, _told(place, name), original)
                if isinstance(original, BuiltinFunctionType):
                    new = Replacement(new, original, place)
                elif kind is aside:
                    functools.update_wrapper(new, original)
                else:
                    continue  # somebody else has replaced it
                self._functions[id(original)] = new
                self._originals[id(new)] = original
        for place, kinds in METHODS.items():
            cls = _found(place)
            for kind, name, original in _there(cls, kinds):
                new = kind(self, _told(place, name), original)
                functools.update_wrapper(getattr(new, "__func__", new), original)
                self._methods.append((cls, name, original, new))


def _found(place: str) -> Any:
    """The module or the type of that name, or None."""
    if place == "select.poll":  # the name is that of a function
        return type(select.poll())
    module, _, name = place.rpartition(".")
    try:
        if not module:
            return importlib.import_module(name)
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _there(owner: Any, kinds: Kinds) -> Iterator[tuple[Kind, str, Any]]:
    """Of the names of a table, those that the owner has, with what they stand for."""
    for kind, names in kinds:
        for name in names.split():
            original = getattr(owner, "__dict__", {}).get(name)
            if original is not None:
                yield kind, name, original


def _told(place: str, name: str) -> str:
    """How a call is named to a person."""
    if place in ("builtins", "_posixsubprocess"):
        return name
    return f"{place.rpartition('.')[2].lstrip('_')}.{name}"


_SUPPORTING: tuple[set[Any], ...] = (
    os.supports_dir_fd,
    os.supports_effective_ids,
    os.supports_fd,
    os.supports_follow_symlinks,
)
