"""What libraries define, made immortal, so that a process that runs them writes less memory.

CPython counts references in the object itself. Code that only reads its functions, classes and
constants writes to them all the time, and of each page that is written to a frozen state keeps a
version of its own. Since Python 3.12 an object whose count has one certain value is immortal: it is
not counted any more, and never freed (PEP 683). What an installed module defines at its top level
lives as long as the process does, as a rule; what the program itself defines is left alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import sysconfig
from functools import cache
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

_FUNCTIONS = {FunctionType, staticmethod, classmethod, property}
_CONSTANTS = {
    *(str, bytes, int, float, complex),
    *(ClassMethodDescriptorType, GetSetDescriptorType, MemberDescriptorType),
    *(MethodDescriptorType, WrapperDescriptorType),
}


class Immortals:
    """Those of this process. Where Python has no such objects, there are none."""

    def __init__(self) -> None:
        self._modules: set[str] = set()

    def add(self) -> int:
        """What the modules define that have been imported since; how many objects that is.

        It takes about 0.1 ms a module.
        """
        if len(self._modules) == len(sys.modules) or (counts := _counts()) is None:
            return 0
        found = _Found()
        for name, module in list(sys.modules.items()):
            if name not in self._modules:
                self._modules.add(name)
                with contextlib.suppress(Exception):  # of a module that is like no other
                    if _is_installed(module):
                        found.module(module)
        immortal = counts[id(None) >> 2]
        for address in found.objects:
            counts[address >> 2] = immortal
        return len(found.objects)


class _Found:
    """objects: what was found, by address. Another thread must not free any of it meanwhile."""

    def __init__(self) -> None:
        self.objects: dict[int, Any] = {}
        self._known: dict[int, bool] = {}

    def module(self, module: ModuleType) -> None:
        name, content = module.__name__, vars(module)
        self._keep(module, content, name)
        for each in list(content.values()):  # another thread may import something into it
            if _is_class(each):
                if getattr(each, "__module__", "") == name:
                    self._class(each)
            else:
                self._attribute(each)

    def _attribute(self, each: Any) -> None:
        if type(each) in _FUNCTIONS:
            self._function(each)
        elif type(each) in _CONSTANTS or _is_plain(each):
            self._keep(each)

    def _keep(self, *several: Any) -> None:
        for each in several:
            self.objects[id(each)] = each

    def _class(self, kind: type) -> None:
        if id(kind) in self.objects:
            return
        # With its dictionary and the tuples of its bases.
        self._keep(kind, *(one for one in gc.get_referents(kind) if type(one) in (dict, tuple)))
        for each in list(vars(kind).values()):
            if not _is_class(each):
                self._attribute(each)
            elif each.__qualname__.startswith(kind.__qualname__):
                self._class(each)

    def _function(self, function: Any) -> None:
        if id(function) in self.objects:
            return
        if type(function) is property:
            within = [function.fget, function.fset, function.fdel]
        elif type(function) is FunctionType:
            if not self._is_of_a_library(function):
                return
            self._code(function.__code__)
            cells = function.__closure__ or ()
            self._keep(*cells)
            within = [_content(cell) for cell in cells]
        else:
            within = [function.__func__]
        self._keep(function)
        for each in within:
            if type(each) is FunctionType:
                self._function(each)

    def _is_of_a_library(self, function: FunctionType) -> bool:
        """Not one that the program has put there, nor one of its own in a wrapper."""
        within = sys.modules.get(function.__globals__.get("__name__", ""))
        named = sys.modules.get(function.__module__ or "")
        return (
            within is not None
            and vars(within) is function.__globals__
            and self._installed(within)
            and self._installed(named)
        )

    def _installed(self, module: ModuleType | None) -> bool:
        if id(module) not in self._known:
            self._known[id(module)] = _is_installed(module)
        return self._known[id(module)]

    def _code(self, code: CodeType) -> None:
        self._keep(code, code.co_name, code.co_qualname)
        for each in code.co_consts:
            if type(each) is CodeType:
                self._code(each)
            elif type(each) in _CONSTANTS or type(each) in (tuple, frozenset):
                self._keep(each)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _is_plain(thing: Any) -> bool:
    """Whether it holds nothing of the program's: a tuple of constants, a function in C."""
    if type(thing) is BuiltinFunctionType:
        return thing.__self__ is None or type(thing.__self__) is ModuleType
    return type(thing) in (tuple, frozenset) and all(type(each) in _CONSTANTS for each in thing)


def _is_class(thing: Any) -> bool:
    return issubclass(type(thing), type)  # `isinstance` asks a proxy what it stands for


def _is_installed(module: Any) -> bool:
    """Whether it is one of the standard library, of an installed package or of ours."""
    if type(module) is not ModuleType or module.__name__ == "__main__":
        return False
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return isinstance(origin, str) and origin.startswith(("built-in", "frozen", *_places()))


@cache
def _places() -> tuple[str, ...]:
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    places = {os.path.join(place, "") for place in map(sysconfig.get_path, kinds)}
    return (os.path.join(ours, ""), *places)


@cache
def _counts() -> Any:
    """The memory of this process as the counts that objects begin with; None without immortals."""
    if sys.version_info < (3, 12) or sys.implementation.name != "cpython" or sys.maxsize < 1 << 32:
        return None
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    counts = memoryview((ctypes.c_uint32 * (1 << 45)).from_address(0)).cast("B").cast("I")
    tried: Any = []
    address = id(tried) >> 2
    count, counts[address] = counts[address], counts[id(None) >> 2]
    references = [tried, tried]
    immortal = sys.getrefcount(tried) == sys.getrefcount(None)
    del references
    counts[address] = count
    return counts if immortal else None
