"""What belongs to the original is closed, deleted and committed by the original alone: a table.

Every entry of `RESOURCES` says what a fork does to one kind of thing and sees to it; each acts
only if its module is loaded. A library of one's own is added by appending a `Resource` to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from snapshot.core import modules
from snapshot.core.resources.connections import Psycopg, Sockets, Sqlalchemy, Sqlite, Tls
from snapshot.core.resources.files import Flock, SharedMappings
from snapshot.core.resources.logs import LogBuffers, LogFiles, LogListeners
from snapshot.core.resources.openmp import OpenMP
from snapshot.core.resources.pools import Managers, ProcessPools, ThreadPools, WorkerPools
from snapshot.core.resources.processes import Multiprocessing, Popen, Processes, SharedMemory
from snapshot.core.resources.resource import Resource
from snapshot.core.resources.temporary import Finalizers, TemporaryDirectories, TemporaryFiles

RESOURCES: list[Resource] = [
    Finalizers(),
    TemporaryDirectories(),
    TemporaryFiles(),
    Popen(),
    Multiprocessing(),
    Processes(),
    WorkerPools(),
    Managers(),
    SharedMemory(),
    ThreadPools(),
    ProcessPools(),
    Sockets(),
    Tls(),
    Sqlite(),
    Psycopg(),
    Sqlalchemy(),
    Flock(),
    SharedMappings(),
    LogBuffers(),
    LogFiles(),
    LogListeners(),
    OpenMP(),
]


Step = tuple[Callable[[Any], None], Any]

_modules = 0  # how many were loaded when the steps below were listed
_steps: dict[str, list[Step]] = {}


def prepare() -> None:
    """Before a fork."""
    if len(sys.modules) != _modules:
        _look_at_modules()
    _perform("before")


def forget() -> None:
    """In the process that has forked, or could not."""
    _perform("forget")


def lay_aside() -> None:
    """In a child that was just forked: what the original made is not cleaned up here."""
    _perform("lay_aside")


def finish() -> None:
    """At an orderly end of a child: clean up what this process made, as Python would."""
    _perform("finish")


def take_over() -> None:
    """`keep()`: what was laid aside is this process's own from now on."""
    _perform("take_over")


def _perform(name: str) -> None:
    for step, module in _steps[name]:
        step(module)


def _look_at_modules() -> None:
    """List what is to be done at a fork: a child copies each page that it touches, so no more."""
    global _modules, _steps
    count = len(sys.modules)
    found = [(each, modules.loaded(each.module)) for each in RESOURCES]
    present = [(resource, module) for resource, module in found if module is not None]
    if any(each.module in sys.modules for each, module in found if module is None):
        count = -1  # another thread imports one of them: look again
    for resource, module in present:
        resource.install(module)
    steps = {
        name: [
            (getattr(resource, name), module)
            for resource, module in present
            if getattr(type(resource), name) is not getattr(Resource, name)
        ]
        for name in ("before", "forget", "lay_aside", "finish", "take_over")
    }
    _steps, _modules = steps, count  # last: a signal's handler may have raised before
