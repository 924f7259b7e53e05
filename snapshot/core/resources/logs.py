"""Log records: each appears once, and the files that hold them stay where they are."""

from __future__ import annotations

import threading
from typing import Any

from snapshot.core.resources.resource import Resource, guard_methods


class LogBuffers(Resource):
    module = "logging.handlers"
    name = "`MemoryHandler`, `SocketHandler`"
    in_experiment = (
        "records that the original has buffered are its own; those made here are written at an "
        "orderly end; a `SocketHandler` connects anew"
    )

    def __init__(self) -> None:
        self._handlers: list[Any] = []
        self._aside: list[tuple[Any, list[Any]]] = []

    def before(self, module: Any) -> None:
        kinds = (module.BufferingHandler, module.SocketHandler)
        self._handlers = [each for each in _handlers() if isinstance(each, kinds)]

    def forget(self, module: Any) -> None:
        self._handlers.clear()

    def lay_aside(self, module: Any) -> None:
        for handler in self._handlers:
            if isinstance(handler, module.BufferingHandler):
                self._aside.append((handler, handler.buffer))
                handler.buffer = []
            else:
                handler.sock = None

    def finish(self, module: Any) -> None:
        for handler in _handlers():
            if isinstance(handler, module.BufferingHandler):
                handler.flush()

    def take_over(self, module: Any) -> None:
        for handler, records in self._aside:
            handler.buffer[:0] = records
        self._aside.clear()


def _handlers() -> list[Any]:
    import logging

    alive = [reference() for reference in getattr(logging, "_handlerList", ())]
    return [handler for handler in alive if handler is not None]


class LogFiles(Resource):
    module = "logging.handlers"
    name = "rotating log files"
    in_experiment = "they are written to, and not rotated under the original"

    def install(self, module: Any) -> None:
        for kind in (module.RotatingFileHandler, module.TimedRotatingFileHandler):
            guard_methods(kind, {"shouldRollover": _never})


def _never(method: Any, handler: Any, record: Any) -> bool:
    return False


class LogListeners(Resource):
    module = "logging.handlers"
    name = "`QueueListener`"
    in_experiment = "it runs again, with a queue that has only the experiment's records"

    def __init__(self) -> None:
        self._listeners: list[Any] = []
        self._restarted: list[Any] = []

    def before(self, module: Any) -> None:
        targets = (getattr(each, "_target", None) for each in threading.enumerate())
        listeners = (getattr(target, "__self__", None) for target in targets)
        self._listeners = [
            each
            for each in listeners
            if isinstance(each, module.QueueListener) and isinstance(each.queue, module.queue.Queue)
        ]

    def forget(self, module: Any) -> None:
        self._listeners.clear()

    def lay_aside(self, module: Any) -> None:
        for listener in self._listeners:
            module.queue.Queue.__init__(listener.queue, listener.queue.maxsize)
            listener._thread = None
            listener.start()
            self._restarted.append(listener)

    def finish(self, module: Any) -> None:
        for listener in self._restarted:
            if listener._thread is not None:
                listener.stop()
