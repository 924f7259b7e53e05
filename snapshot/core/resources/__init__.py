"""What belongs to the original is closed, deleted and committed by the original alone: a table.

Every entry of `RESOURCES` says what a fork does to one kind of thing and sees to it; each acts
only if its module is loaded. A library of one's own is added by appending a `Resource` to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

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


def prepare() -> None:
    """Before a fork."""
    for resource, module in _present():
        resource.prepare(module)


def lay_aside() -> None:
    """In a child that was just forked: what the original made is not cleaned up here."""
    for resource, module in _present():
        resource.lay_aside(module)


def finish() -> None:
    """At an orderly end of a child: clean up what this process made, as Python would."""
    for resource, module in _present():
        resource.finish(module)


def take_over() -> None:
    """`keep()`: what was laid aside is this process's own from now on."""
    for resource, module in _present():
        resource.take_over(module)


def _present() -> Iterator[tuple[Resource, Any]]:
    for resource in RESOURCES:
        module = sys.modules.get(resource.module)
        if module is not None:
            yield resource, module
