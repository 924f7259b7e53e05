"""Modules that are loaded: what is not used yet need not be seen to."""

from __future__ import annotations

import sys
from types import ModuleType


def loaded(name: str) -> ModuleType | None:
    """A module that is loaded to its end: one that another thread imports just now is not."""
    module = sys.modules.get(name)
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        return None
    return module


def main() -> ModuleType | None:
    """That of the program, whose `__file__` is its script's, if it has one.

    A worker that multiprocessing has not forked runs the script's body under another name.
    """
    modules = [sys.modules.get(name) for name in ("__main__", "__mp_main__")]
    return next((each for each in modules if hasattr(each, "__file__")), modules[0])
