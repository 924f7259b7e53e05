"""Other functions in the place of the originals, wherever these are held."""

from __future__ import annotations

import ctypes
import functools
import gc
import importlib
import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Base = staticmethod[..., Any]
else:
    _Base = staticmethod

# These keep the originals: the debugger's own, what imports modules, and where originals are from.
_LEFT_ALONE = {
    *("snapshot", "bdb", "pdb", "cmd", "posix", "_io"),
    *("_frozen_importlib", "_frozen_importlib_external", "zipimport"),
}

_modified = ctypes.pythonapi.PyType_Modified
_modified.argtypes = [ctypes.py_object]
_modified.restype = None


class Replacement(_Base):
    """In the place of a built-in function: like that one, it does not bind to an instance.

    place: the name of the module that it is put in, which `pickle` finds it by.
    """

    def __init__(self, function: Callable[..., Any], original: Any, place: str) -> None:
        super().__init__(functools.wraps(original)(function))
        self.original = original
        self.place = place

    def __get__(self, instance: object, owner: Any = None) -> Any:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (_Module(self.place), self.original.__name__)

    def __repr__(self) -> str:
        return repr(self.original)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)

    if not TYPE_CHECKING:
        __class__ = property(lambda self: type(self.original))


class _Module:
    """What a module is pickled as."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self._name,)


def exchange(table: Mapping[int, Any]) -> None:
    """Put objects in the place of those with these ids, wherever a module, a class of a module, or
    a default of a function holds one."""
    for module in list(sys.modules.values()):
        names: dict[str, Any] = getattr(module, "__dict__", {})
        name = names.get("__name__")
        if not isinstance(name, str) or name.partition(".")[0] in _LEFT_ALONE:
            continue
        for key, value in list(names.items()):
            new = table.get(id(value))
            if new is not None:
                names[key] = new
            elif issubclass(type(value), type):
                if getattr(value, "__module__", None) == name:
                    _exchange_in_class(table, value)
            else:
                _exchange_in_function(table, value)


def _exchange_in_class(table: Mapping[int, Any], cls: type) -> None:
    for key, value in list(cls.__dict__.items()):
        new = table.get(id(value))
        held = table.get(id(value.__func__)) if type(value) is staticmethod else None
        if new is not None:
            setattr(cls, key, new)
        elif held is not None:
            setattr(cls, key, staticmethod(held))
        else:
            _exchange_in_function(table, value)


def _exchange_in_function(table: Mapping[int, Any], value: Any) -> None:
    function = value.__func__ if type(value) in (staticmethod, classmethod) else value
    if type(function) is not FunctionType:
        return
    defaults = function.__defaults__ or ()
    if any(id(each) in table for each in defaults):
        function.__defaults__ = tuple([table.get(id(each), each) for each in defaults])
    named = function.__kwdefaults__ or {}
    named.update({key: table[id(each)] for key, each in named.items() if id(each) in table})


def put_in_type(cls: type, name: str, value: Any) -> None:
    """Set an attribute of a class, one written in C, too."""
    names: Any = gc.get_referents(cls.__dict__)[0]
    names[name] = value
    _modified(cls)
