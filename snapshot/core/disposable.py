"""Disposable forks: a function runs in a throw-away copy of this process, its value comes back.

    this process                                  the fork
    ──────────────────────────────────            ─────────────────────────────────
    makes a file in memory and forks ───────────→ runs the function
    sleeps on the fork's descriptor               pickles what came of it
    kills what is left, reaps, unpickles ←─────── into the file, and ends

The function and its arguments are not pickled: the fork has them. What comes back is pickled out
of band into the file, which this process maps: no pipe can fill up, and no thread has to read.

`ForkExecutor` makes such forks in the main thread or in a thread of its own, the collector, which
sleeps on the descriptors of all of them and lives only while there are any: a fork is tied to the
life of the thread that made it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import contextlib
import contextvars
import fcntl
import functools
import math
import os
import re
import reprlib
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, InvalidStateError
from numbers import Real
from pathlib import Path
from pickle import PickleBuffer
from typing import Any, Generic, Literal, NamedTuple, NoReturn, ParamSpec, TypeVar, overload

from snapshot import pickling
from snapshot.core import process
from snapshot.core.process import Child, Exit
from snapshot.errors import (
    CannotFork,
    ExceptionNotPicklable,
    ForkError,
    ForkExited,
    ForkKilled,
    ForkMemoryExceeded,
    ForkTimeout,
    NotPicklable,
    ResultNotPicklable,
    UsageError,
)

# `signal` has this, too, but makes enums of the old mask: a hundred microseconds in a fork.
pthread_sigmask: Callable[[int, Iterable[int]], set[int]] = _signal.pthread_sigmask

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Outcome = tuple[Any, BaseException | None]


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
    capture: Literal[True],
    **kwargs: Any,
) -> Captured[_T]: ...


def fork_call(
    fn: Callable[..., Any],
    /,
    *args: Any,
    timeout: float | None = None,
    memory: int | str | None = None,
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
    capture: return `Captured(value, stdout, stderr)`, with the bytes written to descriptors 1 and
        2. A `ForkError` then has both as its `output`, and what `fn` raised as
        `__cause__.output`.

    A function with keywords of these names is given as a `functools.partial`.

    Raises what `fn` raised, with its type and attributes, and with the traceback in the fork as
    its cause. Else a `ForkError`: `ForkKilled` by a signal, `ForkExited` if it ended its process
    itself (`sys.exit`, `os._exit`), `ForkTimeout`, `ForkMemoryExceeded` (any MemoryError under
    `memory` included), `ResultNotPicklable`, `ExceptionNotPicklable`. `CannotFork` if the system
    refuses, `UsageError` if an argument means nothing: nothing was run then.
    """
    call = functools.partial(fn, *args, **kwargs)
    fork = _Fork(_Job(_name_of(fn), call, _Limits.of(timeout, memory), capture=bool(capture)))
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


class _Limits(NamedTuple):
    """Seconds that a fork has, and bytes that it may grow by; None is without limit."""

    timeout: float | None
    memory: int | None

    @classmethod
    def of(cls, timeout: float | None, memory: int | str | None) -> _Limits:
        if timeout is not None and not (isinstance(timeout, Real) and timeout >= 0):
            raise UsageError(f"timeout={timeout!r} is no time: give seconds, or None for no limit")
        if memory is not None and not os.path.exists("/proc/self/smaps_rollup"):
            raise UsageError(
                f"memory={memory!r} cannot be watched on this system, which does not tell what a "
                "process has for itself alone: leave it out"
            )
        return cls(timeout, None if memory is None else _bytes(memory))


_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def _bytes(size: int | str) -> int:
    amount: float = 0
    if isinstance(size, Real) and not isinstance(size, bool):
        amount = float(size)
    elif isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(?:([KMGT])(I)?)?(B)?\s*", size.upper())
        if match:
            number, unit, binary, byte = match.groups("")
            amount = float(number) * (1000 if byte and not binary else 1024) ** _UNITS[unit]
    if not 1 <= amount < 1 << 62:
        raise UsageError(f'memory={size!r} is no size: give bytes, or a text as "500M" or "2G"')
    return int(amount)


class _Job(NamedTuple):
    """What a fork is to do: both processes know it."""

    name: str
    call: Callable[[], Any]
    limits: _Limits
    capture: bool = False
    reseed: bool = False

    def error(self, kind: type[ForkError], what: str, pid: int, **details: Any) -> Any:
        error = kind(f"{self.name}, in fork {pid}, {what}", pid=pid)
        error.__dict__.update(details)
        return error


class _Fork:
    """A job in a disposable fork, from before the fork until nothing of it is left.

    `start`, `wait` and `outcome` in this order; `close` at any time, and always in the end.
    """

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._files: list[int] = []  # for what comes back, standard output, standard error
        self._child: Child | None = None
        self._ended: Exit | None = None
        self._killed_for: ForkError | None = None
        self._next_look = 0.0  # at the memory, on the clock of `time.monotonic`

    def start(self) -> None:
        """Fork, in a thread that lives on until the fork has ended. Raises `CannotFork`."""
        in_fork = _begin(reseed=self._job.reseed)
        mask = pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)  # here: it may raise what has come
            for _ in range(3 if self._job.capture else 1):
                self._files.append(_memory_file())
            _forks.add(self)
            self._child = process.fork()
            if self._child is None:
                _live(self._job, self._files, in_fork, mask)
            with contextlib.suppress(OSError):  # the fork was faster, or has ended
                os.setpgid(self._child.pid, self._child.pid)
        except CannotFork:
            raise
        except (OSError, RuntimeError) as error:  # no descriptor; the interpreter is ending
            reason = getattr(error, "strerror", None) or error
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
        timeout, memory = self._job.limits
        if self._killed_for is not None or (timeout is None and memory is None):
            return math.inf
        deadline = math.inf if timeout is None else self.child.started + timeout
        moment = deadline if memory is None else min(deadline, self._next_look)
        return max(0.0, moment - time.monotonic()) * 1000

    def look(self) -> None:
        """Kill the fork if its time is over or it has outgrown its memory."""
        timeout, memory = self._job.limits
        now = time.monotonic()
        if self._killed_for is not None:
            return
        if timeout is not None and now >= self.child.started + timeout:
            self._kill_for(ForkTimeout, f"did not end within {timeout:g} s: give it more time")
        elif memory is not None and now >= self._next_look:
            if _private_memory(self.child.pid) > memory:
                self._kill_for(ForkMemoryExceeded, _over(memory))
            # The kernel walks the fork's page tables for this: 5 % of the time at most.
            self._next_look = now + max(0.01, 20 * (time.monotonic() - now))

    def wait(self) -> None:
        """Sleep until the fork has ended, and see to its limits meanwhile."""
        poll = select.poll()
        poll.register(self.child.fileno(), select.POLLIN)
        # A signal that comes just before poll(2) does not wake it; its handler runs between two.
        while not poll.poll(min(self.patience(), 1000)):
            self.look()

    def outcome(self) -> _Outcome:
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

    def _brought_back(self, how: Exit) -> _Outcome:
        record = None if how.signal or how.code else pickling.read(self._files[0])
        if record is not None:
            return _unpacked(self._job, self.child.pid, *record)
        if how.signal == signal.SIGKILL and self._killed_for is not None:
            return None, self._killed_for
        if how.signal is not None:
            what, details = f"{how}{_advice(how.signal)}", {"signal": how.signal}
            return None, self._job.error(ForkKilled, what, self.child.pid, **details)
        if how.code is not None:
            what = f"ended its process with code {how.code} instead of returning"
            return None, self._job.error(ForkExited, what, self.child.pid, code=how.code)
        return None, self._job.error(ForkError, f"returned nothing and {how}", self.child.pid)


def _name_of(fn: object) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__qualname__", None) or reprlib.repr(fn)


_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}


def _advice(number: int) -> str:
    if number == signal.SIGKILL:
        return ", by somebody else: by the system, perhaps, if that ran out of memory"
    if number in _CRASHES:
        return "; `faulthandler.enable()` before the call shows where"
    return ", by somebody else"


def _over(memory: int) -> str:
    return f"outgrew its memory: more than {memory:,} bytes since the fork; give it more"


# What a file that comes back has in it.
_RETURNED, _RAISED, _FAILED = 1, 2, 3
_Record = tuple[int, bytes, list[memoryview]]


def _unpacked(
    job: _Job, pid: int, kind: int, data: memoryview, buffers: list[memoryview]
) -> _Outcome:
    try:
        loaded = pickling.load(data, buffers)
    except NotPicklable as problem:
        what = f"returned something that cannot be brought back: {problem}"
        return None, job.error(ResultNotPicklable, what, pid)
    if kind == _RETURNED:
        return loaded, None
    if kind == _FAILED:
        return None, loaded
    return None, _revived(job, pid, *loaded)


def _revived(
    job: _Job, pid: int, type_name: str, text: str, data: bytes, buffers: list[memoryview]
) -> BaseException:
    """The exception that the function raised, its traceback in the fork as its cause."""
    try:
        error: BaseException = pickling.load(data, buffers)
    except NotPicklable as problem:
        return _lost(job, pid, type_name, text, problem)
    error.__cause__ = ChildTraceback(text)
    return error


def _lost(job: _Job, pid: int, type_name: str, text: str, problem: object) -> ExceptionNotPicklable:
    what = (
        f"raised {type_name}, which cannot be brought back: {problem}; give it a `__reduce__`"
        f"\n\n{text}"
    )
    details = {"type_name": type_name, "traceback": text}
    lost: ExceptionNotPicklable = job.error(ExceptionNotPicklable, what, pid, **details)
    return lost


def _memory_file() -> int:
    """The descriptor of an empty file that has no name, and not one of the standard numbers."""
    try:
        fd = os.memfd_create("snapshot")
    except (AttributeError, OSError):
        import tempfile  # here, since it brings in much that is seldom needed

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    if fd > 2:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _private_memory(pid: int) -> int:
    """Bytes that a process shares with no other; 0 if it has ended or is not to be looked at."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(b"Private_")) * 1024


# Signals whose handlers in Python may raise; between a fork and the place that keeps the child in
# mind there must be no exception.
_HELD_BACK = {
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2),
}

# Blocked in the fork: its group is in the background, and would stop for ever where it reads from
# the terminal. So reading is an error (EIO), and writing is always allowed.
_STOPPING = {signal.SIGTTIN, signal.SIGTTOU}


def _begin(*, reseed: bool) -> Callable[[], None]:
    """Prepare this process for a fork; returns what the fork has to do before the function."""
    _flush_standard_streams()
    random: Any = sys.modules.get("random")
    state = random.getstate() if random and not reseed else None

    def in_fork() -> None:
        if state is not None:
            random.setstate(state)
        numpy_random: Any = sys.modules.get("numpy.random")
        if reseed and numpy_random:
            numpy_random.seed()

    return in_fork


def _finish(how: Exit) -> NoReturn:
    """End the fork."""
    _flush_standard_streams()
    process.exit_now(how)


def _flush_standard_streams() -> None:
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        with contextlib.suppress(Exception):
            getattr(sys, name).flush()


# Everything from here to `ForkExecutor` runs in the fork.


def _live(job: _Job, files: list[int], in_fork: Callable[[], None], mask: set[int]) -> NoReturn:
    try:
        os.setpgid(0, 0)
        if job.capture:
            _redirect(files)
        in_fork()
        lacks = pickling.Newcomers()
        pthread_sigmask(signal.SIG_SETMASK, mask | _STOPPING)
        _finish(_work(job, files[0], lacks))
    except BaseException:
        traceback.print_exc()
    finally:
        process.exit_now(Exit(code=1))


def _redirect(files: list[int]) -> None:
    for fd, name in ((1, "stdout"), (2, "stderr")):
        # Appending, so that `> /dev/stdout`, which empties the file, leaves no hole in it.
        fcntl.fcntl(files[fd], fcntl.F_SETFL, fcntl.fcntl(files[fd], fcntl.F_GETFL) | os.O_APPEND)
        os.dup2(files[fd], fd)
        stream = getattr(sys, f"__{name}__")
        if stream is None or stream.closed:
            stream = open(fd, "w", closefd=False)  # noqa: SIM115 (it stays open)
        setattr(sys, name, stream)


def _work(job: _Job, file: int, lacks: pickling.Lacks) -> Exit:
    pid = os.getpid()
    limit = None if job.limits.memory is None else _limit_data(job.limits.memory)
    value, error = _attempt(job.call)
    if isinstance(error, SystemExit):
        return Exit(code=_exit_code(error))
    if os.getpid() != pid:  # a process that the function forked, and that has come back as well
        return Exit(code=int(error is not None))
    record = _record(job, value, error, lacks, limit)
    try:
        pickling.write(file, *record)
    except OSError as problem:
        os.ftruncate(file, 0)
        what = f"returned more than can be kept: {problem}"
        pickling.write(file, *_failure(job.error(ResultNotPicklable, what, pid)))
    return Exit(code=0)


def _limit_data(growth: int) -> tuple[int, int]:
    """Let allocations fail that go further (overwriting is not seen by this); the limit before."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(OSError, ValueError):
        status = Path("/proc/self/status").read_bytes()
        now = int(status.partition(b"VmData:")[2].split()[0]) * 1024
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min([now + growth, *limits]), hard))
    return soft, hard


def _attempt(call: Callable[[], Any]) -> _Outcome:
    try:
        return call(), None
    except BaseException as error:
        trace = error.__traceback__
        return None, error.with_traceback(trace and trace.tb_next)  # without this function


def _exit_code(error: SystemExit) -> int:
    """As Python takes it."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _record(
    job: _Job,
    value: object,
    error: BaseException | None,
    lacks: pickling.Lacks,
    limit: tuple[int, int] | None,
) -> _Record:
    if error is None:
        try:
            return (_RETURNED, *pickling.dump(value, lacks=lacks))
        except NotPicklable as problem:
            what = f"returned a {type(value).__qualname__} that cannot be brought back: {problem}"
            return _failure(job.error(ResultNotPicklable, what, os.getpid()))
        except MemoryError as problem:
            error = problem
    if limit is not None:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, limit)
    if isinstance(error, MemoryError) and job.limits.memory is not None:
        return _failure(job.error(ForkMemoryExceeded, _over(job.limits.memory), os.getpid()))
    return _raised(job, error, lacks)


def _failure(error: ForkError) -> _Record:
    return (_FAILED, *pickling.dump(error))


def _raised(job: _Job, error: BaseException, lacks: pickling.Lacks) -> _Record:
    """The exception pickled by itself, so that what is said about it arrives in any case."""
    text = "".join(traceback.format_exception(error))
    kind = type(error).__qualname__
    if type(error).__module__ not in ("__main__", "builtins"):
        kind = f"{type(error).__module__}.{kind}"
    try:
        data, buffers = pickling.dump(error, lacks=lacks)
        if not _alike(pickling.load(data, buffers), error):
            raise NotPicklable("what is unpickled is another exception")
    except Exception as problem:
        return _failure(_lost(job, os.getpid(), kind, text, problem))
    return (_RAISED, *pickling.dump((kind, text, data, [PickleBuffer(raw) for raw in buffers])))


def _alike(copy: object, error: BaseException) -> bool:
    """Whether they look the same, but for the addresses of what they hold."""
    texts = {re.sub("0x[0-9a-f]+", "", str(each)) for each in (copy, error)}
    return type(copy) is type(error) and len(texts) == 1


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

    def __init__(self, job: _Job) -> None:
        self.future: _ForkFuture[Any] = _ForkFuture()
        self.begun = threading.Event()
        self.fork = _Fork(job)
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
        reseed: bool = True,
    ) -> None:
        if max_workers is not None and not (isinstance(max_workers, int) and max_workers > 0):
            raise UsageError(f"max_workers={max_workers!r}: give a number from 1, or None")
        self._places = max_workers or _usable_cpus()
        self._limits = _Limits.of(timeout, memory)
        self._reseed = bool(reseed)
        self._closed = False
        self._pipe: tuple[int, int] | None = None  # wakes the collector while that is at work
        self._begin_afresh()

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run `fn(*args, **kwargs)` in a fork, at once if there is a free place.

        Raises RuntimeError after `shutdown`, or when the interpreter is about to end. If the
        system refuses to fork, the future has `CannotFork`.
        """
        context = contextvars.copy_context()
        call = functools.partial(context.run, fn, *args, **kwargs)
        task = _Task(_Job(_name_of(fn), call, self._limits, reseed=self._reseed))
        with self._locked():
            self._check_open()
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
        if self._pipe is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._pipe[1], b"!")
        elif self._running or self._queue:
            collector = threading.Thread(target=self._collect, name="ForkExecutor")
            self._pipe = os.pipe()
            os.set_blocking(self._pipe[1], False)
            try:
                collector.start()
            except BaseException:
                self._close_pipe()  # the next call tries again
                raise
            self._collector = collector

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
            self._close_pipe()
            return None

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


_forks: set[_Fork] = set()
_inheriting = threading.Lock()


def _disown_all() -> None:
    global _inheriting
    _inheriting = threading.Lock()
    for fork in list(_forks):
        fork.disown()


os.register_at_fork(after_in_child=_disown_all)
