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
