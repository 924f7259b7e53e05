"""What a function reads that is no argument: globals, and the cells of its closure."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from snapshot.errors import NotPicklable
from snapshot.pickling import Guarded
from snapshot.replay.contents import ATOMS, pickled
from snapshot.store.objects import type_name

_SMALL = 1 << 12  # bytes of a pickle up to which a global is told by value
_MANY = 100  # elements from which on a container is not even pickled to see how large it is
_BY_NAME = (ModuleType, FunctionType, BuiltinFunctionType, type)


class Surroundings:
    """Those of the functions of one code.

    exist: whether they read anything but what importing would bring, or have defaults that change.
    """

    def __init__(self, function: FunctionType) -> None:
        code = function.__code__
        self._names = tuple(sorted(set(read_by(code))))
        self._free = code.co_freevars
        # A function in a function is found by no name, nor is a lambda: all that its making gave
        # it must be told.
        self._is_nested = "<locals>" in code.co_qualname or "<lambda>" in code.co_qualname
        self._has_changing = any(map(_may_change, _defaults(function).values()))
        self.exist = bool(self._names or self._free or self._is_nested or self._has_changing)
        self._weighed: dict[str, tuple[int, bool]] = {}

    def are_empty(self, function: FunctionType) -> bool:
        """Whether there is nothing to tell, as far as is soon seen."""
        if self._free or self._is_nested or self._has_changing:
            return False
        module = function.__globals__
        return all(type(module.get(each, len)) in _BY_NAME for each in self._names)

    def values(
        self,
        function: FunctionType,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] = {},
    ) -> dict[str, Any]:
        """What is told of one: `globals` and `cells`, by name; `named`, the types of those that are
        too large; `itself`, the cells that hold the function; `defaults` of a nested one, of any
        other `changing`, those that may change, by place; `same`, the arguments of a call that are
        one object with a global, or what is in a cell."""
        inside: dict[str, Any] = {}
        named: dict[str, str] = {}
        module = function.__globals__
        for name in self._names:
            if name not in module:
                continue
            value = module[name]
            if issubclass(type(value), _BY_NAME):
                continue
            if self._is_small(name, value):
                inside[name] = value
            else:
                named[name] = type_name(value)
        cells: dict[str, Any] = {}
        itself: list[str] = []
        for name, cell in zip(self._free, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                continue  # nothing was assigned yet
            value = without_recorder(value)
            if value is function:
                itself.append(name)
            else:
                cells[name] = value
        found: dict[str, Any] = {"globals": inside, "named": named, "cells": cells}
        if itself:
            found["itself"] = itself
        held = {name: module[name] for name in (*inside, *named)} | cells
        if same := _same(held, args, kwargs):
            found["same"] = same
        if self._is_nested:
            found["defaults"] = (function.__defaults__, function.__kwdefaults__)
        elif self._has_changing:
            found["changing"] = {
                place: value
                for place, value in _defaults(function).items()
                if _may_change(value) and self._is_small(f"default {place}", value)
            }
        return found

    def weigh_again(self, size: int) -> None:
        """Told how many bytes all of them were together: what was small may have grown."""
        if size > _SMALL * len(self._weighed):
            self._weighed = {name: each for name, each in self._weighed.items() if not each[1]}

    def _is_small(self, name: str, value: Any) -> bool:
        kind = type(value)
        if kind in (str, bytes):
            return len(value) <= _SMALL
        if kind in ATOMS:
            return True
        if any("__len__" in vars(each) for each in kind.__mro__):
            with Guarded():
                if len(value) > _MANY:
                    return False
        known, is_small = self._weighed.get(name, (0, False))
        if known != id(value):
            try:
                data, buffers = pickled(value)
            except NotPicklable:  # it is nested too deeply
                is_small = False
            else:
                is_small = len(data) <= _SMALL and not buffers
            self._weighed[name] = id(value), is_small
        return is_small


def _defaults(function: FunctionType) -> dict[int | str, Any]:
    """By their places in `__defaults__`, or by name."""
    return dict(enumerate(function.__defaults__ or ())) | (function.__kwdefaults__ or {})


def _may_change(value: Any) -> bool:
    kind = type(value)
    if kind in ATOMS or kind is object or issubclass(kind, _BY_NAME):
        return False
    return any(map(_may_change, value)) if kind in (tuple, frozenset) else True


def read_by(code: CodeType) -> Iterator[str]:
    """The globals that a code reads, and those within it."""
    for each in dis.get_instructions(code):
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield each.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from read_by(constant)


def _same(
    held: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, int | str]:
    """Where each of the values is among the arguments."""
    places = {id(each): index for index, each in enumerate(args)} | {
        id(each): name for name, each in kwargs.items()
    }
    return {
        name: places[id(value)]
        for name, value in held.items()
        if type(value) not in ATOMS and id(value) in places
    }


def without_recorder(value: Any) -> Any:
    """The function that was recorded, where a value is what stands in its place."""
    if type(value) is FunctionType and hasattr(value, "__recorded__"):
        function = value.__recorded__.function
        if value.__dict__.get("__wrapped__") is function:  # else a wrapper has its attributes
            return function
    return value
