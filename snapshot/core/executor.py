"""An executor whose calls are disposable forks.

Forks are made in the main thread or in a thread of its own, the collector, which sleeps on the
descriptors of all of them and lives only while there are any: a fork is tied to the life of the
thread that made it.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from typing import Any, ParamSpec, TypeVar

from snapshot.core.disposable import Fork
from snapshot.core.job import Job, name_of
from snapshot.core.limits import Limits
from snapshot.core.process import why_not
from snapshot.core.rollback.wanted import LIMIT, Path, Paths, Wanted
from snapshot.errors import (
    CannotFork,
    ForkError,
    UsageError,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _ForkFuture(Future[_T]):
    """A future that never keeps a process waiting that merely inherited it.

    Everything that concerns the state of a future goes by its condition. In another process than
    that which made it, the condition may be held for ever and nobody will set a result.
    """

    def __init__(self) -> None:
        self._maker = os.getpid()
        super().__init__()

    @property
    def _condition(self) -> threading.Condition:
        if self._maker != os.getpid():
            self._inherit()
        return self._lock

    @_condition.setter
    def _condition(self, condition: threading.Condition) -> None:
        self._lock = condition

    def _inherit(self) -> None:
        maker, self._maker = self._maker, os.getpid()
        self._lock = threading.Condition()
        self._waiters: list[Any] = []
        self._done_callbacks: list[Callable[[Future[_T]], object]] = []
        if not self.done():
            self.set_exception(
                ForkError(
                    f"this future belongs to process {maker}, and was not done when process "
                    f"{os.getpid()} was forked: submit the call again here",
                    pid=maker,
                )
            )


class _Task:
    """A call that was submitted: a job, and the future that it is for."""

    def __init__(self, job: Job) -> None:
        self.future: _ForkFuture[Any] = _ForkFuture()
        self.begun = threading.Event()
        self.fork = Fork(job)
        self._failure: BaseException | None = None  # why it could not begin

    def begin(self) -> bool:
        """Fork, unless it was cancelled; whether there is something to deliver."""
        try:
            if not self.future.set_running_or_notify_cancel():
                return False
            self.fork.start()
        except BaseException as error:
            self.fork.close()
            self._failure = error
            if not isinstance(error, Exception):
                raise
            if not threading.main_thread().is_alive():  # nobody is there to ask the future
                print(f"snapshot: {error}", file=sys.stderr)
        finally:
            self.begun.set()
        return True

    def runs(self) -> bool:
        """Whether its fork is there, which may have ended; else it has only to be delivered."""
        return self.fork.forked and self._failure is None

    def refuse(self, error: CannotFork) -> None:
        self.future.set_running_or_notify_cancel()
        self.future.set_exception(error)

    def cancel(self) -> None:
        if self.future.cancel():
            self.future.set_running_or_notify_cancel()
        self.begun.set()

    def deliver(self) -> None:
        """It has ended: set its result. Runs what waits for that, which is code of the user's."""
        value, error = None, self._failure
        try:
            if error is None:
                value, error = self.fork.outcome()
        except Exception as problem:
            error = problem
        finally:
            self.fork.close()
        with contextlib.suppress(InvalidStateError):  # somebody else has set one
            if error is None:
                self.future.set_result(value)
            else:
                self.future.set_exception(error)


class ForkExecutor(Executor):
    """A `concurrent.futures.Executor` that runs each call in a disposable fork (see `fork_call`).

    Neither functions nor arguments are pickled. A call that finds a free place is forked before
    `submit` returns, and sees this process as it is at that moment. One that has to queue, or is
    submitted by a thread while results are being delivered, sees it as it is when its turn comes.
    A call that dies is one future's error, and nothing else's. The context variables are those of
    `submit`. In a process that inherits an executor it begins afresh, with nothing running.

    The interpreter waits for all calls before it ends. Python 3.12.0 and 3.12.1 do not fork any
    more then: what is still queued is not run, and a line on stderr says so.

    max_workers: how many forks there may be at a time; by default, the usable CPUs.
    timeout, memory: limits for each call, as in `fork_call`; the time counts from its fork.
    files, files_strict, files_limit, files_on_disk: directories that each call has for itself, as
        in `fork_call`.
    reseed: by default, each call has its own random numbers (module `random`, numpy's global
        generator); False lets each go on with this process's sequence.

    Raises `UsageError` if an argument means nothing.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        timeout: float | None = None,
        memory: int | str | None = None,
        files: Paths | None = None,
        files_strict: bool = True,
        files_limit: int | str = LIMIT,
        files_on_disk: bool | Path = False,
        reseed: bool = True,
    ) -> None:
        if max_workers is not None and not (isinstance(max_workers, int) and max_workers > 0):
            raise UsageError(f"max_workers={max_workers!r}: give a number from 1, or None")
        self._places = max_workers or _usable_cpus()
        self._limits = Limits.of(timeout, memory)
        self._files = Wanted.of(files, files_strict, files_limit, files_on_disk)
        self._reseed = bool(reseed)
        self._closed = False
        self._pipe: tuple[int, int] | None = None  # wakes the collector while that is at work
        self._begin_afresh()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `fn(*args, **kwargs)` in a fork, at once if there is a free place.

        Raises RuntimeError after `shutdown`, or when the interpreter is about to end. If the
        system refuses to fork, the future has `CannotFork`.
        """
        if not callable(fn):
            raise UsageError(f"submit({fn!r}): give a function; nothing was run")
        context = contextvars.copy_context()
        call = functools.partial(context.run, fn, *args, **kwargs)
        task = _Task(Job(name_of(fn), call, self._limits, self._files, reseed=self._reseed))
        with self._locked():
            self._check_open()
            try:
                self._open_pipe()
            except OSError as error:
                task.refuse(
                    CannotFork(f"cannot fork for {name_of(fn)}, never run: {why_not(error)}")
                )
                return task.future
            self._queue.append(task)
            free = len(self._running) + len(self._queue) <= self._places
            waits = free and not self._may_fork_here() and not self._delivering
            try:
                if self._may_fork_here():
                    self._begin_queued()
            finally:
                self._call_collector()
        if waits:
            task.begun.wait()
        return task.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls.

        wait: return when every call has ended and its future is done.
        cancel_futures: cancel those that have not begun.
        """
        with self._locked():
            self._closed = True
            dropped = list(self._queue) if cancel_futures else []
            if cancel_futures:
                self._queue.clear()
            collector = self._collector
        for task in dropped:
            task.cancel()
        if wait and collector is not None and collector is not threading.current_thread():
            collector.join()

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> bool | None:
        """Wait for all calls; after Ctrl-C, which does not reach the forks, kill them instead."""
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.shutdown(wait=False, cancel_futures=True)
            with self._locked():
                for task in self._running:
                    if task.runs():
                        task.fork.kill()
        return super().__exit__(kind, *rest)

    def _begin_afresh(self) -> None:
        self._close_pipe()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: deque[_Task] = deque()
        self._running: list[_Task] = []
        self._collector: threading.Thread | None = None
        self._delivering = False
        self._collecting = False

    def _locked(self) -> threading.Lock:
        """The lock; in a process that inherited the executor, of one with nothing running."""
        if self._pid != os.getpid():
            with _inheriting:
                if self._pid != os.getpid():
                    self._begin_afresh()
        return self._lock

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if not threading.main_thread().is_alive():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def _may_fork_here(self) -> bool:
        """A fork is killed when the thread ends that made it; of these two it is known when."""
        return threading.current_thread() in (threading.main_thread(), self._collector)

    def _begin_queued(self) -> None:
        """Fork for as many as there are places for. The lock is held."""
        while self._queue and len(self._running) < self._places:
            task = self._queue.popleft()
            self._running.append(task)
            if not task.begin():
                self._running.remove(task)

    def _call_collector(self) -> None:
        """Have the collector look at what has changed. The lock is held."""
        if self._collecting and self._pipe is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._pipe[1], b"!")
        elif self._running or self._queue:
            collector = threading.Thread(target=self._collect, name="ForkExecutor")
            collector.start()  # if that fails, the next call tries again
            self._collector, self._collecting = collector, True
        else:
            self._close_pipe()

    def _collect(self) -> None:
        """The collector: a thread that lives while there are calls, and delivers what they give.

        It is joined by the interpreter before that ends, as every thread is that is no daemon.
        """
        while watched := self._next_watch():
            ended = _wait_for_any(*watched)
            with self._lock:
                self._running = [task for task in self._running if task not in ended]
                self._begin_queued()  # before anything of the user's runs and may wait for that
                self._delivering = True
            _deliver(ended)

    def _next_watch(self) -> tuple[list[_Task], int] | None:
        with self._lock:
            self._delivering = False
            self._begin_queued()
            if self._running and self._pipe is not None:
                return list(self._running), self._pipe[0]
            self._collecting = False
            self._close_pipe()
            return None

    def _open_pipe(self) -> None:
        """Before anything is begun: what wakes the collector."""
        if self._pipe is None:
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)

    def _close_pipe(self) -> None:
        pipe, self._pipe = self._pipe, None
        for fd in pipe or ():
            os.close(fd)


def _deliver(tasks: list[_Task]) -> None:
    for task in tasks:
        try:
            task.deliver()
        except BaseException as error:  # from a callback; the other futures must not suffer
            thread = threading.current_thread()
            threading.excepthook(
                threading.ExceptHookArgs((type(error), error, error.__traceback__, thread))
            )


_A_DAY = 24 * 3600 * 1000.0  # milliseconds; poll(2) cannot be told much more


def _wait_for_any(tasks: list[_Task], wake: int) -> list[_Task]:
    """Sleep until one of them has ended or `wake` can be read; those that have ended."""
    running = {task.fork.child.fileno(): task for task in tasks if task.runs()}
    failed = [task for task in tasks if not task.runs()]
    poll = select.poll()
    for fd in (wake, *running):
        poll.register(fd, select.POLLIN)
    patience = min([0.0] if failed else [task.fork.patience() for task in running.values()])
    ready = {fd for fd, _ in poll.poll(None if patience > _A_DAY else patience)}
    if wake in ready:
        os.read(wake, 4096)
    for task in running.values():
        task.fork.look()
    return [*failed, *(task for fd, task in running.items() if fd in ready)]


def _usable_cpus() -> int:
    if hasattr(os, "process_cpu_count"):
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_inheriting = threading.Lock()


def _inherit_unlocked() -> None:
    global _inheriting
    _inheriting = threading.Lock()


os.register_at_fork(after_in_child=_inherit_unlocked)
