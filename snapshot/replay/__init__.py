"""Calls that were recorded with all that they read, and are made again in disposable forks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snapshot.replay.decorator import record
    from snapshot.replay.executions import (
        delete_function_execution,
        load_execution_data,
        reanimate_function,
    )
    from snapshot.replay.reanimation import Reanimated
    from snapshot.replay.recorder import lost
    from snapshot.replay.tracker import FunctionCallTracker, ObjectManager, init_db
    from snapshot.replay.watching import recording

_HOMES = {
    "FunctionCallTracker": "snapshot.replay.tracker",
    "ObjectManager": "snapshot.replay.tracker",
    "Reanimated": "snapshot.replay.reanimation",
    "delete_function_execution": "snapshot.replay.executions",
    "init_db": "snapshot.replay.tracker",
    "load_execution_data": "snapshot.replay.executions",
    "lost": "snapshot.replay.recorder",
    "reanimate_function": "snapshot.replay.executions",
    "record": "snapshot.replay.decorator",
    "recording": "snapshot.replay.watching",
}

__all__ = [
    "FunctionCallTracker",
    "ObjectManager",
    "Reanimated",
    "delete_function_execution",
    "init_db",
    "load_execution_data",
    "lost",
    "reanimate_function",
    "record",
    "recording",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
