"""What a function reads that is no argument: globals, and the cells of its closure."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from snapshot.replay.contents import ATOMS, pickled
from snapshot.store.objects import type_name

_SMALL = 1 << 12  # bytes of a pickle up to which a global is told by value
_MANY = 100  # elements from which on a container is not even pickled to see how large it is
_BY_NAME = (ModuleType, FunctionType, BuiltinFunctionType, type)


class Surroundings:
    """Those of the functions of one code.

    exist: whether they read anything but what importing would bring.
    """

    def __init__(self, code: CodeType) -> None:
        self._names = tuple(sorted(set(_read(code))))
        self._free = code.co_freevars
        # A function in a function is found by no name, nor is a lambda: all that its making gave
        # it must be told.
        self._is_nested = "<locals>" in code.co_qualname or "<lambda>" in code.co_qualname
        self.exist = bool(self._names or self._free or self._is_nested)
        self._weighed: dict[str, tuple[int, bool]] = {}

    def are_empty(self, function: FunctionType) -> bool:
        """Whether there is nothing to tell, as far as is soon seen."""
        if self._free or self._is_nested:
            return False
        module = function.__globals__
        return all(type(module.get(each, len)) in _BY_NAME for each in self._names)

    def values(self, function: FunctionType) -> dict[str, Any]:
        """What is told of one: `globals` and `cells`, by name; `named`, the types of those that are
        too large; `itself`, the cells that hold the function; `defaults` of a nested one."""
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
        if self._is_nested:
            found["defaults"] = (function.__defaults__, function.__kwdefaults__)
        return found

    def _is_small(self, name: str, value: Any) -> bool:
        kind = type(value)
        if kind in (str, bytes):
            return len(value) <= _SMALL
        if kind in ATOMS:
            return True
        try:
            if len(value) > _MANY:
                return False
        except Exception:
            pass
        known, is_small = self._weighed.get(name, (0, False))
        if known != id(value):
            data, buffers = pickled(value)
            is_small = len(data) <= _SMALL and not buffers
            self._weighed[name] = id(value), is_small
        return is_small


def _read(code: CodeType) -> Iterator[str]:
    """The globals that a code reads, and those within it."""
    for each in dis.get_instructions(code):
        if each.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield each.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _read(constant)


def without_recorder(value: Any) -> Any:
    """The function that was recorded, where a value is what stands in its place."""
    if type(value) is FunctionType and hasattr(value, "__recorded__"):
        return value.__recorded__.function
    return value
