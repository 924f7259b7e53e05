"""Processes that the original started, and memory that it shares with them."""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from snapshot.core import line, process
from snapshot.core.resources.resource import (
    Resource,
    guard_methods,
    left_alone,
    maker,
    owner,
    refused,
    skip,
)
from snapshot.errors import RootOnly


class Popen(Resource):
    module = "subprocess"
    name = "`subprocess.Popen`"
    in_experiment = (
        "`poll` and `wait` see whether it lives, and say that only the original can learn how it "
        "ended; `kill`, `terminate` and `send_signal` are not sent; a `with` block does not wait; "
        "`communicate` is refused"
    )

    def install(self, module: Any) -> None:
        guard_methods(
            module.Popen,
            {
                "poll": _poll,
                "wait": _wait,
                "communicate": refused,
                "send_signal": _send_signal,
                "__exit__": _leave,
                "__del__": skip,
            },
            ours=_is_child,
        )


def _is_child(started: Any) -> bool:
    """Whether this process started it. One that was kept has not started what the original had."""
    return maker(started) == os.getpid() or (line.is_root() and not line.here.before)


def _send_signal(method: Any, popen: Any, number: int) -> None:
    if not line.is_root():
        left_alone(method, popen)
    elif not process.has_ended(popen.pid, 0):
        os.kill(popen.pid, number)


def _poll(method: Any, popen: Any) -> int | None:
    return _wait(method, popen, timeout=0) if _known_or_over(popen, 0) else None


def _wait(method: Any, popen: Any, timeout: float | None = None) -> int | None:
    if _leaves_block(sys._getframe(2)) and not line.is_root():
        return None
    if not _known_or_over(popen, timeout):
        import subprocess  # here, since it is loaded where there is a Popen, and is not light

        raise subprocess.TimeoutExpired(popen.args, timeout or 0)
    if popen.returncode is None:
        raise RootOnly(
            f"process {popen.pid} has ended; how, only {owner(popen)} can learn, which started it"
        )
    code: int = popen.returncode
    return code


def _leaves_block(caller: FrameType | None) -> bool:
    """Whether Python's own `__exit__` waits: of a block that was entered before it was guarded."""
    import subprocess  # here, as above

    leave: Any = inspect.unwrap(subprocess.Popen.__exit__)
    return caller is not None and caller.f_code is leave.__code__


def _known_or_over(popen: Any, timeout: float | None) -> bool:
    return popen.returncode is not None or process.has_ended(popen.pid, timeout)


def _leave(method: Any, popen: Any, *error: object) -> None:
    for pipe in (popen.stdin, popen.stdout, popen.stderr):
        if pipe is not None:
            try:
                pipe.close()
            except OSError:
                continue  # nobody reads it any more
    if line.is_root():
        process.has_ended(popen.pid)


class Multiprocessing(Resource):
    module = "multiprocessing.util"
    name = "`multiprocessing`"
    in_experiment = (
        "its registries are as in a child that it forked itself: the original's workers are not "
        "joined or killed, proxies connect anew, a queue sends only what is put into it here"
    )

    def __init__(self) -> None:
        self._aside: list[tuple[dict[Any, Any], set[Any]]] = []
        self._after_forkers: list[tuple[Any, Callable[[Any], object]]] = []

    def before(self, module: Any) -> None:
        registered = sorted(module._afterfork_registry.items())
        self._after_forkers = [(thing, function) for (*_, function), thing in registered]

    def forget(self, module: Any) -> None:
        self._after_forkers.clear()

    def lay_aside(self, module: Any) -> None:
        processes: Any = sys.modules["multiprocessing.process"]
        if module._finalizer_registry or processes._children:
            self._aside.append((module._finalizer_registry.copy(), processes._children))
            module._finalizer_registry.clear()
            processes._children = set()
        for thing, function in self._after_forkers:
            with contextlib.suppress(Exception):  # its server is gone, for instance
                function(thing)

    def finish(self, module: Any) -> None:
        processes: Any = sys.modules["multiprocessing.process"]
        if module._finalizer_registry or processes._children:
            module._exit_function()

    def take_over(self, module: Any) -> None:
        for finalizers, children in self._aside:
            for finalizer in finalizers.values():
                finalizer._pid = os.getpid()
            module._finalizer_registry.update(finalizers)
            # They are children of the process that relays now: nothing is left to wait for.
            processes: Any = sys.modules["multiprocessing.process"]
            processes._children.difference_update(children)
        self._aside.clear()


class Processes(Resource):
    module = "multiprocessing.process"
    name = "`multiprocessing.Process`"
    in_experiment = (
        "`is_alive` and `join` see whether it lives; `terminate`, `kill` and `close` are not done"
    )

    def install(self, module: Any) -> None:
        guard_methods(
            module.BaseProcess,
            {
                "is_alive": _is_alive,
                "join": _join,
                "terminate": _terminate,
                "kill": _kill,
                "close": skip,
            },
            ours=_is_child,
        )


def _terminate(method: Any, worker: Any) -> None:
    _send_signal(method, worker, signal.SIGTERM)


def _kill(method: Any, worker: Any) -> None:
    _send_signal(method, worker, signal.SIGKILL)


def _is_alive(method: Any, worker: Any) -> bool:
    return worker.pid is not None and not process.has_ended(worker.pid, 0)


def _join(method: Any, worker: Any, timeout: float | None = None) -> None:
    if worker.pid is not None:
        process.has_ended(worker.pid, timeout)


class SharedMemory(Resource):
    module = "multiprocessing.shared_memory"
    name = "`SharedMemory`"
    in_experiment = "it is shared, and what is written to it is written; `unlink` is not done"

    def install(self, module: Any) -> None:
        guard_methods(module.SharedMemory, {"unlink": left_alone})
