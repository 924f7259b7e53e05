"""Disposable forks: a function runs in a throw-away copy of this process, its value comes back.

    this process                                  the fork
    ──────────────────────────────────            ─────────────────────────────────
    makes a file in memory and forks ───────────→ runs the function
    sleeps on the fork's descriptor               pickles what came of it
    kills what is left, reaps, unpickles ←─────── into the file, and ends

The function and its arguments are not pickled: the fork has them. What comes back is pickled out
of band into the file, which this process maps: no pipe can fill up, and no thread has to read.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import select
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, ParamSpec, TypeVar, overload

from snapshot import pickling
from snapshot.core import process, resources
from snapshot.core.inside import Inside
from snapshot.core.job import FAILED, RETURNED, Job, Outcome, lost, name_of
from snapshot.core.limits import Limits, Watch
from snapshot.core.process import Child, Exit
from snapshot.core.rollback.wanted import LIMIT, Path, Paths, Wanted
from snapshot.core.signals import pthread_sigmask
from snapshot.errors import (
    CannotFork,
    CannotOverlay,
    ForkError,
    ForkExited,
    ForkKilled,
    ForkMemoryExceeded,
    ForkTimeout,
    NotPicklable,
    ResultNotPicklable,
    UsageError,
)

if TYPE_CHECKING:
    from snapshot.core.rollback.overlay import Overlay

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Captured(NamedTuple, Generic[_T]):
    """What a call returned, and the bytes that its fork and the fork's children wrote."""

    value: _T
    stdout: bytes
    stderr: bytes


class ChildTraceback(Exception):
    """The cause of an exception that came out of a fork: where it was raised there, as text.

    output: what the fork wrote to its standard output and error, if that was captured, else None.
    """

    output: tuple[bytes, bytes] | None = None

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@overload
def fork_call(
    fn: Callable[..., _T],
    /,
    *args: Any,
    timeout: float | None = None,
    memory: int | str | None = None,
    files: Paths | None = None,
    files_strict: bool = True,
    files_limit: int | str = LIMIT,
    files_on_disk: bool | Path = False,
    capture: Literal[False] = False,
    **kwargs: Any,
) -> _T: ...


@overload
def fork_call(
    fn: Callable[..., _T],
    /,
    *args: Any,
    timeout: float | None = None,
    memory: int | str | None = None,
    files: Paths | None = None,
    files_strict: bool = True,
    files_limit: int | str = LIMIT,
    files_on_disk: bool | Path = False,
    capture: Literal[True],
    **kwargs: Any,
) -> Captured[_T]: ...


def fork_call(
    fn: Callable[..., Any],
    /,
    *args: Any,
    timeout: float | None = None,
    memory: int | str | None = None,
    files: Paths | None = None,
    files_strict: bool = True,
    files_limit: int | str = LIMIT,
    files_on_disk: bool | Path = False,
    capture: bool = False,
    **kwargs: Any,
) -> Any:
    """Run `fn(*args, **kwargs)` in a disposable fork of this process, and return its value.

    Nothing that it does to memory is seen here, and it may crash. Function and arguments are
    taken as they are; only the value is pickled (by cloudpickle where pickle cannot), and large
    buffers are not copied on arrival. The only product of a disposable fork is what it returns:
    however the function ends, what is left of its process group is killed; a daemon in a session
    of its own escapes. It cannot read from the terminal. Module `random` goes on with this
    process's sequence. This blocks: in asyncio, use `loop.run_in_executor` and a `ForkExecutor`.

    timeout: seconds from the fork on; None, the default, is for ever.
    memory: how much the fork may grow, in bytes or as "500M", "2G", "100KiB" (K, M, G, T and KiB,
        … are powers of 1024; KB, … of 1000); None, the default, is without limit. What the fork
        allocates counts, and so does each page that it no longer shares because it or this
        process wrote to it. The memory of programs that it starts does not.
    files: a directory, or several, that the fork has for itself: what it does to the files in there
        is gone with it. `files_strict`, `files_limit` and `files_on_disk` are as for `snapshot`.
    capture: return `Captured(value, stdout, stderr)`, with the bytes written to descriptors 1 and
        2. A `ForkError` then has both as its `output`, and what `fn` raised as
        `__cause__.output`.

    A function with keywords of these names is given as a `functools.partial`.

    Raises what `fn` raised, with its type and attributes, and with the traceback in the fork as
    its cause. Else a `ForkError`: `ForkKilled` by a signal, `ForkExited` if it ended its process
    itself (`sys.exit`, `os._exit`), `ForkTimeout`, `ForkMemoryExceeded` (any MemoryError under
    `memory` included), `ResultNotPicklable`, `ExceptionNotPicklable`. `CannotFork` or
    `CannotOverlay` if the system refuses, `UsageError` if an argument means nothing: nothing was
    run then.
    """
    if not callable(fn):
        raise UsageError(f"fork_call({fn!r}): give a function; nothing was run")
    call = functools.partial(fn, *args, **kwargs)
    limits = Limits.of(timeout, memory)
    private = Wanted.of(files, files_strict, files_limit, files_on_disk)
    return fork_job(Job(name_of(fn), call, limits, private, capture=bool(capture)))


def fork_job(job: Job) -> Any:
    """The same of a job."""
    fork = Fork(job)
    try:
        fork.start()
        fork.wait()
        value, error = fork.outcome()
    finally:
        fork.close()
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # its traceback has this frame


class Fork:
    """A job in a disposable fork, from before the fork until nothing of it is left.

    `start`, `wait` and `outcome` in this order; `close` at any time, and always in the end.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._files: list[int] = []  # for what comes back, standard output, standard error
        self._child: Child | None = None
        self._ended: Exit | None = None
        self._killed_for: ForkError | None = None
        self._overlay: Overlay | None = None

    def start(self) -> None:
        """Fork, in a thread that lives on until the fork has ended. Raises `CannotFork`."""
        mask = pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            inside = Inside(self._job)
            self._overlay = inside.overlay
            pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)  # here: it may raise what has come
            for _ in range(3 if self._job.capture else 1):
                self._files.append(_memory_file())
            _forks.add(self)
            self._child = process.fork()
            if self._child is None:
                inside.live(self._files, mask)
            self._watch = Watch(self._job.limits, self._child)
            if not self._job.untouched:
                resources.forget()
            with contextlib.suppress(OSError):  # the fork was faster, or has ended
                os.setpgid(self._child.pid, self._child.pid)
        except (CannotFork, CannotOverlay):
            raise
        except (OSError, RuntimeError) as error:  # no descriptor; the interpreter is ending
            reason = process.why_not(error)
            raise CannotFork(f"cannot fork for {self._job.name}, never run: {reason}") from error
        finally:
            pthread_sigmask(signal.SIG_SETMASK, mask)

    @property
    def forked(self) -> bool:
        return self._child is not None

    @property
    def child(self) -> Child:
        if self._child is None:
            raise ForkError(f"{self._job.name} has not been started in a fork")
        return self._child

    def patience(self) -> float:
        """Milliseconds until `look` has something to do; infinite if it never has."""
        return self._watch.patience() * 1000

    def look(self) -> None:
        """Kill the fork if its time is over or it has outgrown its memory."""
        limit = self._watch.exceeded()
        if limit == "timeout":
            self._kill_for(ForkTimeout, self._job.limits.out_of_time)
        elif limit == "memory":
            self._kill_for(ForkMemoryExceeded, self._job.limits.out_of_memory)

    def wait(self) -> None:
        """Sleep until the fork has ended, and see to its limits meanwhile."""
        poll = select.poll()
        poll.register(self.child.fileno(), select.POLLIN)
        # A signal that comes just before poll(2) does not wake it; its handler runs between two.
        while not poll.poll(min(self.patience(), 1000)):
            self.look()

    def outcome(self) -> Outcome:
        """The value or the error of a fork that has ended. Raises OSError and MemoryError."""
        self._kill_rest()
        self._ended = self.child.reap()
        value, error = self._brought_back(self._ended)
        output = self._output()
        if output is None:
            return value, error
        if isinstance(error, ForkError) and error.pid == self.child.pid:
            error.output = output
        elif error is not None and isinstance(error.__cause__, ChildTraceback):
            error.__cause__.output = output
        return Captured(value, *output), error

    def kill(self) -> None:
        """Kill the fork, which may have left its group, and whatever is in the group."""
        self.child.kill()
        self._kill_rest()

    def close(self) -> None:
        """Leave nothing of it: no process, no descriptor."""
        if self._child is not None and self._ended is None:
            mask = pthread_sigmask(signal.SIG_BLOCK, ())
            try:
                pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
                self.kill()
                self._child.reap()
                self._forget()
            finally:
                pthread_sigmask(signal.SIG_SETMASK, mask)
        self._forget()
        overlay, self._overlay = self._overlay, None
        if overlay is not None:
            overlay.sweep()

    def disown(self) -> None:
        """In a process that inherited it: have no part in it. One that is being made is kept."""
        if self._child is not None:
            self._child.forget()
            self._forget()

    def _forget(self) -> None:
        """Close the files, each forgotten before: another thread may fork at the close."""
        _forks.discard(self)
        while self._files:
            os.close(self._files.pop())

    def _kill_rest(self) -> None:
        with contextlib.suppress(PermissionError):  # one of them may be another user's
            self.child.kill(group=True)

    def _kill_for(self, kind: type[ForkError], what: str) -> None:
        self._killed_for = self._job.error(kind, what, self.child.pid)
        self.kill()

    def _output(self) -> tuple[bytes, bytes] | None:
        if not self._job.capture:
            return None
        _, stdout, stderr = (os.pread(fd, os.fstat(fd).st_size, 0) for fd in self._files)
        return stdout, stderr

    def _brought_back(self, how: Exit) -> Outcome:
        record = None if how.signal or how.code else pickling.read(self._files[0])
        if record is not None:
            return unpacked(self._job, self.child.pid, *record)
        if how.signal == signal.SIGKILL and self._killed_for is not None:
            return None, self._killed_for
        if how.signal is not None:
            what, details = f"{how}{_advice(how.signal)}", {"signal": how.signal}
            return None, self._job.error(ForkKilled, what, self.child.pid, **details)
        if how.code is not None:
            what = f"ended its process with code {how.code} instead of returning"
            return None, self._job.error(ForkExited, what, self.child.pid, code=how.code)
        return None, self._job.error(ForkError, f"returned nothing and {how}", self.child.pid)


_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


def _advice(number: int) -> str:
    if number == signal.SIGKILL:
        return ", by somebody else: by the system, perhaps, if that ran out of memory"
    if number in _CRASHES:
        return "; `faulthandler.enable()` before the call shows where"
    return ", by somebody else"


def unpacked(job: Job, pid: int, kind: int, data: memoryview, buffers: list[memoryview]) -> Outcome:
    """The value or the error that a fork has written into its file."""
    try:
        loaded = pickling.load(data, buffers)
    except NotPicklable as problem:
        what = f"returned something that cannot be brought back: {problem}"
        return None, job.error(ResultNotPicklable, what, pid)
    if kind == RETURNED:
        return loaded, None
    if kind == FAILED:
        return None, loaded
    return None, _revived(job, pid, *loaded)


def _revived(
    job: Job, pid: int, type_name: str, text: str, data: bytes, buffers: list[memoryview]
) -> BaseException:
    """The exception that the function raised, its traceback in the fork as its cause."""
    try:
        error: BaseException = pickling.load(data, buffers)
    except NotPicklable as problem:
        return lost(job, pid, type_name, text, problem)
    error.__cause__ = ChildTraceback(text)
    return error


def _memory_file() -> int:
    """The descriptor of an empty file that has no name, and not one of the standard numbers."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("snapshot")
    else:
        import tempfile  # here, since it brings in much that is seldom needed

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


# Signals whose handlers in Python may raise; between a fork and the place that keeps the child in
# mind there must be no exception.
_HELD_BACK = {
    int(number)
    for number in (
        *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        *(signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2),
    )
}

_forks: set[Fork] = set()


def _disown_all() -> None:
    for fork in list(_forks):
        fork.disown()


os.register_at_fork(after_in_child=_disown_all)
