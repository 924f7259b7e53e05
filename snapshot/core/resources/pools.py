"""Pools: their threads are not in an experiment, and their processes answer to the original."""

from __future__ import annotations

import os
import threading
from typing import Any

from snapshot.core.resources.resource import Resource, guard_methods, owner, refused, skip
from snapshot.errors import RootOnly


class ThreadPools(Resource):
    module = "concurrent.futures.thread"
    name = "`ThreadPoolExecutor`"
    in_experiment = (
        "it works again, with new threads; what was queued is the original's, and its futures "
        "say so"
    )

    def install(self, module: Any) -> None:
        guard_methods(module.ThreadPoolExecutor, {"submit": _submit}, ours=_has_its_threads)


def _has_its_threads(executor: Any) -> bool:
    """False if a fork has left them behind, be it an experiment or one that was kept."""
    return not executor._threads or any(thread.is_alive() for thread in executor._threads)


def _submit(method: Any, executor: Any, /, *args: Any, **kwargs: Any) -> Any:
    import queue  # here, where it is loaded already

    queued, executor._work_queue = executor._work_queue, queue.SimpleQueue()
    executor._threads = set()
    executor._idle_semaphore = threading.Semaphore(0)
    executor._shutdown_lock = threading.Lock()
    whose = owner(executor)
    executor._made_by = os.getpid()
    while not queued.empty():
        item = queued.get_nowait()
        if item is not None and item.future.set_running_or_notify_cancel():
            item.future.set_exception(
                RootOnly(f"this call was queued by {whose} and runs there: submit it again here")
            )
    return method(executor, *args, **kwargs)


class ProcessPools(Resource):
    module = "concurrent.futures.process"
    name = "`ProcessPoolExecutor`"
    in_experiment = "`submit` and `map` are refused; `shutdown` and a `with` block do nothing"

    def install(self, module: Any) -> None:
        guard_methods(module.ProcessPoolExecutor, {"submit": refused, "shutdown": skip})


class WorkerPools(Resource):
    module = "multiprocessing.pool"
    name = "`multiprocessing.Pool`"
    in_experiment = "calls are refused; `close`, `terminate`, `join` and a `with` block do nothing"

    def install(self, module: Any) -> None:
        guard_methods(
            module.Pool,
            {
                "_check_running": refused,
                "close": skip,
                "terminate": skip,
                "join": skip,
                "__del__": skip,
            },
        )


class Managers(Resource):
    module = "multiprocessing.managers"
    name = "`multiprocessing.Manager`"
    in_experiment = (
        "its objects are shared, over a connection of the experiment's own; `shutdown` and a "
        "`with` block do nothing"
    )

    def install(self, module: Any) -> None:
        guard_methods(module.BaseManager, {"__exit__": skip})
