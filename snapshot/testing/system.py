"""The functions of the system, which tests and their fixtures put others in the place of."""

from __future__ import annotations

import builtins
import os
import pickle
import select
import signal
import sys
import threading
import time
from types import BuiltinFunctionType, ModuleType
from typing import Any

_MODULES = (builtins, os, pickle, select, signal, threading, time)
_NOTHING: Any = object()

_OWN = f"{__name__.partition('.')[0]}."

Patches = list[tuple[dict[str, Any], str, Any]]


class System:
    """What there is when this is made: `monkeypatch`, for one, is undone at the teardown only."""

    def __init__(self) -> None:
        self._real = [(vars(module), dict(vars(module))) for module in _MODULES]
        for name, module in list(sys.modules.items()):
            if name.startswith(_OWN):
                self._real.append((vars(module), dict(filter(_is_used, vars(module).items()))))

    def restore(self) -> Patches:
        """Put them back, for code of our own to run; what stood in their place, for `put`."""
        patches = [
            (names, name, names.get(name, _NOTHING))
            for names, real in self._real
            for name, value in real.items()
            if names.get(name, _NOTHING) is not value
        ]
        for names, real in self._real:
            names.update(real)
        return patches


def put(patches: Patches) -> None:
    """The opposite of `System.restore`."""
    for names, name, value in patches:
        if value is _NOTHING:
            del names[name]
        else:
            names[name] = value


def _is_used(item: tuple[str, object]) -> bool:
    """Of a module of our own, what it has imported: pyfakefs, for one, replaces it there."""
    return isinstance(item[1], ModuleType | BuiltinFunctionType)
