"""OpenMP: GNU's library waits for ever in a child for threads that it had in the original."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import Any

from snapshot.core.resources.resource import Resource

_PAUSE_SOFT = 1  # omp_pause_soft of omp.h


class OpenMP(Resource):
    module = "sys"
    name = "OpenMP (scikit-learn, torch)"
    in_experiment = "its threads are ended before the fork, and both start their own when needed"

    def __init__(self) -> None:
        self._libraries: dict[str, Any] = {}

    def before(self, module: Any) -> None:
        for library in self._libraries.values():
            library.omp_pause_resource_all(_PAUSE_SOFT)

    def install(self, module: Any) -> None:
        """No library comes but with a module."""
        if not any(each in sys.modules for each in _USERS):
            return
        with contextlib.suppress(OSError), open("/proc/self/maps", "rb") as lines:
            names = {line.split()[-1] for line in lines if b"gomp" in line and b"/" in line}
            for name in names - {each.encode() for each in self._libraries}:
                library = ctypes.CDLL(name.decode())
                if hasattr(library, "omp_pause_resource_all"):
                    self._libraries[name.decode()] = library


# Whoever uses it from Python has one of these loaded: what makes threads for arrays.
_USERS = ("numpy", "torch", "sklearn")
