"""Event loops, pools and servers, one of whose threads may be the one that takes a snapshot."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import Any

from snapshot.core import census
from snapshot.core.hosts.host import Host, Tell, callers


class RunningLoop:
    """The loop that runs in this thread, and what belongs to it: asyncio forgets it at a fork."""

    def __init__(self) -> None:
        self._events: Any = sys.modules.get("asyncio.events")
        if self._events is None:
            return
        self._loop = self._events._get_running_loop()
        self._policy = getattr(self._events, "_event_loop_policy", None)
        self._local = getattr(self._policy, "_local", None)
        self._wakeup = -1
        with contextlib.suppress(ValueError):  # only the main thread may ask, or has set one
            self._wakeup = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(self._wakeup)

    def in_child(self) -> None:
        """In a fork: it runs on."""
        if self._events is None:
            return
        if self._policy is not None:
            self._policy._local = self._local
        self._events._set_running_loop(self._loop)
        signal.set_wakeup_fd(self._wakeup)


class Asyncio(Host):
    """The running loop goes on in the experiment, with a self-pipe of its own (also: `epoll`)."""

    module = "asyncio"
    threads = ("asyncio_",)

    def before(self) -> Any:
        running = RunningLoop()
        census.look()
        return running

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        for loop in census.known(sys.modules["asyncio.base_events"].BaseEventLoop):
            self._own_self_pipe(loop)
        memo.in_child()

    def _own_self_pipe(self, loop: Any) -> None:
        loop._default_executor = None
        if getattr(loop, "_csock", None) is None:
            return
        import socket  # here, where it is loaded already

        for old, new in zip((loop._ssock, loop._csock), socket.socketpair(), strict=True):
            new.setblocking(False)
            os.dup2(new.fileno(), old.fileno(), inheritable=False)
            new.close()


class ThreadPool(Host):
    """A snapshot taken by a worker of a thread pool: its queue is never filled in the child.

    So the worker is told to stop when it has done its present work, and the experiment ends.
    """

    module = "concurrent.futures.thread"

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        worker = sys.modules[self.module]._worker.__code__
        for frame in callers():
            if frame.f_code is worker:
                self._stop(frame.f_locals["work_queue"], frame.f_locals["executor_reference"]())
                return

    def _stop(self, queue: Any, executor: Any) -> None:
        with contextlib.suppress(Exception):
            while True:
                queue.get_nowait()
        if executor is not None:
            executor._shutdown = True
            executor._threads = set()
            executor._shutdown_lock = threading.Lock()
        queue.put(None)


class SocketServer(Host):
    """A snapshot in a request handler: the experiment serves this request, and no other.

    So the loop that serves, if it is in the experiment at all, ends after it: other requests are
    the original's, and where the sockets were dropped there is no other one.
    """

    module = "socketserver"
    ends = True

    def before(self) -> Any:
        serve_forever = sys.modules[self.module].BaseServer.serve_forever.__code__
        return [each.f_locals["self"] for each in callers() if each.f_code is serve_forever]

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        for server in memo:
            server._BaseServer__shutdown_request = True

    def keep(self, memo: Any) -> None:
        for server in memo:
            server._BaseServer__shutdown_request = False


class ForkExecutors(Host):
    """An executor that was inherited starts its thread anew when something is submitted."""

    module = "snapshot.core.executor"
    threads = ("ForkExecutor",)
