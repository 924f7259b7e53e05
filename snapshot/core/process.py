"""Fork, wait, exit: the only module that does any of these.

How a process ended is a value, `Exit`. A child that was forked here is a `Child`: a pid, a
descriptor that becomes readable when the child has ended, and the one place that reaps it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import resource
import select
import signal
import sys
import threading
import time
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from operator import call
from os import _exit, getpid  # whatever a program's test puts in their place
from typing import Any, NamedTuple, NoReturn

from snapshot.errors import CannotFork

# `PyDLL` keeps the interpreter's lock during the call, `CDLL` gives it up.
_HOLDING = ctypes.PyDLL(None, use_errno=True)
_RELEASING = ctypes.CDLL(None, use_errno=True)

# prctl(2)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_GET_TID_ADDRESS = 40

# clone(2)
_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
_CLONE_PARENT = 0x8000
_WALL = 0x40000000  # for waitpid(2): a child that does not signal its end, too
_CLONE_TID = 0x00200000 | 0x01000000  # CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID

if sys.platform == "linux":
    # Plain integers, no error number, found once: a call that converts its arguments in the child
    # copies thirty pages more.
    _PLAIN = ctypes.PyDLL(None)
    _prctl = _PLAIN.prctl
    _DEATH = int(signal.SIGKILL)


class _PollFd(ctypes.Structure):
    """`struct pollfd` of poll(2)."""

    _fields_ = (("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short))


# Once, since ctypes makes a class of it each time.
_OnePollFd, _TwoPollFds = _PollFd * 1, _PollFd * 2


class _TimeSpec(ctypes.Structure):
    """`struct timespec`."""

    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    @classmethod
    def of(cls, seconds: float) -> _TimeSpec:
        whole = max(0.0, seconds)
        return cls(int(whole), int(whole % 1 * 1e9))


class Exit(NamedTuple):
    """How a process ended.

    code: the exit status, 0 to 255, if it exited.
    signal: the number of the signal that killed it, if one did.
    Both are None when it is gone and another part of the program has taken its status.
    """

    code: int | None = None
    signal: int | None = None

    @classmethod
    def from_status(cls, status: int) -> Exit:
        """The exit that a status of waitpid(2) stands for."""
        code = os.waitstatus_to_exitcode(status)
        return cls(code=code) if code >= 0 else cls(signal=-code)

    def __str__(self) -> str:
        if self.signal is not None:
            return f"was killed by {signal_name(self.signal)}"
        if self.code is not None:
            return f"exited with code {self.code}"
        return "ended, its exit status taken by another part of the program"


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 40` where the signal has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Child:
    """A process that was forked here and has not been reaped.

    pid: its process id.
    started: when it was forked, on the clock of `time.monotonic`, in seconds.
    """

    def __init__(self, pid: int, end: int) -> None:
        self.pid = pid
        self.started = time.monotonic()
        self._end: int | None = end
        self._exit: Exit | None = None

    def fileno(self) -> int:
        """The descriptor that becomes readable when the child has ended."""
        if self._end is None:
            raise ValueError(f"process {self.pid} has been reaped")
        return self._end

    def wait_readable(
        self,
        others: Iterable[int] = (),
        *,
        timeout: float | None = None,
        hold_gil: bool = False,
        mask: Any = None,
    ) -> list[int]:
        """Sleep until the child has ended or one of the descriptors `others` can be read.

        timeout: seconds, None for ever. With `hold_gil`, no other thread of this process runs
        Python code meanwhile. mask: a `sigset_t` that is in force while this thread sleeps, so
        that a signal which comes just before wakes it too (ppoll(2)); where there is no such call
        it is in force from then on. Returns those descriptors, the child's own among them, that
        are ready: an empty list when the time was over or a signal arrived (EINTR).
        """
        watched = [self.fileno(), *others]
        table = (_PollFd * len(watched))(*(_PollFd(fd, select.POLLIN, 0) for fd in watched))
        if _poll(_HOLDING if hold_gil else _RELEASING, table, timeout, mask) < 0:
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))
            return []
        return [entry.fd for entry in table if entry.revents]

    def reap(self) -> Exit:
        """Wait for the end and take the status; the second call returns the same value.

        EINTR is retried. ECHILD (SIGCHLD is ignored, or another part of the program waited for
        every child) gives an `Exit` that knows neither code nor signal.
        """
        if self._exit is None:
            try:
                _, status = os.waitpid(self.pid, 0)
            except ChildProcessError:
                self._exit = Exit()
            else:
                self._exit = Exit.from_status(status)
            self.forget()
        assert self._exit is not None
        return self._exit

    def kill(self, number: int = signal.SIGKILL, *, group: bool = False) -> None:
        """Send a signal to the child, or to the whole process group that it leads.

        A child that has ended is none the worse for it; one that was reaped is left alone, since
        its number may be another process's by now.
        """
        if self._exit is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def end(self, grace: float) -> Exit:
        """SIGTERM, and SIGKILL after `grace` seconds; then reap it."""
        self.kill(signal.SIGTERM)
        self.kill(signal.SIGCONT)
        deadline = time.monotonic() + grace
        while (left := deadline - time.monotonic()) > 0:
            if self.wait_readable(timeout=left):
                break
        else:
            self.kill(signal.SIGKILL)
        return self.reap()

    def forget(self) -> None:
        """Close the descriptor: after reaping, or in a process that is not the parent."""
        end, self._end = self._end, None  # first, since another thread may fork at the close
        if end is not None:
            os.close(end)


def _poll(library: Any, table: Any, timeout: float | None, mask: Any) -> int:
    count = ctypes.c_ulong(len(table))
    if hasattr(library, "ppoll"):
        time = None if timeout is None else ctypes.byref(_TimeSpec.of(timeout))
        return int(library.ppoll(table, count, time, mask))
    if mask is not None:
        library.pthread_sigmask(signal.SIG_SETMASK, mask, None)
    return int(library.poll(table, count, -1 if timeout is None else round(timeout * 1000)))


def fork() -> Child | None:
    """Fork. Returns the `Child` in the parent, None in the child.

    The child is killed (SIGKILL) when the thread that called this dies, and so when this process
    dies in whatever way: prctl(2), PR_SET_PDEATHSIG. The caller must therefore be a thread that
    stays until the child has ended. Linux only; elsewhere nothing ends the child.

    Raises `CannotFork` where the system refuses (the number of processes, memory), and where Python
    does, which is about to end.
    """
    parent = getpid()
    life: tuple[int, int] | None = None if hasattr(os, "pidfd_open") else os.pipe()
    try:
        pid = _fork_without_warning()
    except (OSError, RuntimeError) as error:
        for fd in life or ():
            os.close(fd)
        raise _cannot_fork(error) from None
    if pid == 0:
        if life:
            os.close(life[0])  # the other end stays open for as long as this process lives
        die_with(parent)
        return None
    if life:
        os.close(life[1])
        return Child(pid, life[0])
    try:
        return Child(pid, os.pidfd_open(pid))
    except ProcessLookupError:  # SIGCHLD is ignored, and it has ended: nobody will know how
        ended, writable = os.pipe()
        os.close(writable)
        return Child(pid, ended)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise _cannot_fork(error) from None


class Aside(Child):
    """A process that `fork_aside` has made."""

    def kill(self, number: int = signal.SIGKILL, *, group: bool = False) -> None:
        """See `Child`; it may not be our child, and be reaped already."""
        if self._exit is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.fileno(), number)

    def reap(self) -> Exit:
        """See `Child`; where it is not our child nothing is waited for, and it knows nothing."""
        if self._exit is None:
            try:
                self._exit = Exit.from_status(os.waitpid(self.pid, _WALL)[1])
            except ChildProcessError:
                self._exit = Exit()
            self.forget()
        return self._exit


def fork_aside(*, quiet: bool, rest: Rest | None = None) -> Aside | None:
    """Fork a process that the program does not see among its children. Returns None in it.

    No wait for any child finds it, and no SIGCHLD tells of its end; this process has to kill and
    reap it. It must itself see to it that it ends with this one: `own_descriptor`. Raises
    `CannotFork`.

    quiet: as for `fork_sibling`. If not, it is made twice, and is the child of whoever adopts
    orphans; then a SIGCHLD does come, of the process in between.
    rest: what it does first.
    """
    if not hasattr(os, "pidfd_open"):
        raise CannotFork("a process apart from the children needs Linux 5.3; nothing was forked")
    try:
        pid = _clone(0, rest) if quiet and _CLONE else _fork_twice(rest)
    except (OSError, RuntimeError) as error:
        raise _cannot_fork(error) from None
    if pid == 0:
        return None
    try:
        return Aside(pid, os.pidfd_open(pid))
    except OSError as error:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, _WALL)
        raise _cannot_fork(error) from None


def own_descriptor() -> int:
    """A descriptor that can be read in a fork once this process has ended."""
    return os.pidfd_open(getpid())


class Rest(NamedTuple):
    """The sleep of a new process, until one of one or two descriptors can be read.

    replacing: descriptors that it puts in the places of others before, in pairs. leaving: those
    that it closes then. dies: whether it is killed when the thread that has forked ends.
    """

    until: tuple[int, ...]
    leaving: tuple[int, ...]
    replacing: Sequence[tuple[int, int]] = ()
    dies: bool = True

    def steps(self) -> list[Callable[[], Any]]:
        """To be called from C: one page of Python's memory that is touched there is one copied."""
        replacing = [
            functools.partial(_PLAIN.dup3, new, fd, _close_on_exec(fd))
            for new, fd in self.replacing
        ]
        closing = [functools.partial(_PLAIN.close, fd) for fd in self.leaving]
        awaited = [_PollFd(fd, select.POLLIN, 0) for fd in self.until]
        table = (_OnePollFd if len(awaited) == 1 else _TwoPollFds)(*awaited)
        dying = [functools.partial(_prctl, _PR_SET_PDEATHSIG, _DEATH)] if self.dies else []
        sleeping = functools.partial(_PLAIN.poll, table, len(awaited), -1)
        return [*dying, *replacing, *closing, sleeping]


def _close_on_exec(fd: int) -> int:
    """As a flag of dup3(2); of one that another thread has closed meanwhile, too."""
    try:
        return 0 if os.get_inheritable(fd) else os.O_CLOEXEC
    except OSError:
        return os.O_CLOEXEC


def fork_apart() -> bool:
    """Fork a process that is nobody's child, in a group of its own. Returns True in it.

    It outlives this one, which has nothing to wait for. Raises `CannotFork`.
    """
    try:
        between = _fork_without_warning()
    except (OSError, RuntimeError) as error:
        raise _cannot_fork(error) from None
    if between == 0:
        try:
            if _fork_without_warning() != 0:
                _exit(0)
        except BaseException:
            _exit(1)
        os.setpgid(0, 0)
        return True
    with contextlib.suppress(ChildProcessError):  # another part of the program has reaped it
        _, status = os.waitpid(between, 0)
        if status != 0:
            raise CannotFork("the system refuses to fork")
    return False


def adopt_orphans() -> None:
    """Let what this process's children leave behind be its own children: what `fork_sibling` needs.

    prctl(2), PR_SET_CHILD_SUBREAPER. Raises `CannotFork` where there is no such thing.
    """
    if sys.platform != "linux":
        raise CannotFork("the timeline needs Linux, which lets a process adopt what others forked")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def fork_sibling(*, quiet: bool, rest: Rest | None = None) -> int:
    """Fork a child of our own parent, which must have called `adopt_orphans`.

    So this process has no child more to wait for. Returns the pid of the new process, 0 in it. It
    is killed (SIGKILL) when the parent dies. Raises `CannotFork`.

    quiet: whether no other thread can be in the middle of something in the C library. Then it is
    clone(2) with CLONE_PARENT, as fast as a fork, which goes by the handlers that libraries have
    for a fork: they see to the locks and the pools of other threads. Else the fork is a true one,
    and it is made twice.

    rest: where it is clone(2), the new process first sleeps, and copies hardly a page meanwhile.
    """
    try:
        pid = _clone(_CLONE_PARENT | signal.SIGCHLD, rest) if quiet and _CLONE else _fork_twice()
    except (OSError, RuntimeError) as error:
        raise _cannot_fork(error) from None
    if pid == 0:
        die_with(os.getppid())
    return pid


def _clone(flags: int, rest: Rest | None) -> int:
    """Python's own steps around a fork, with clone(2) between them.

    They are called from C, one after the other: the interpreter must not run in between. It might
    be asked, by a thread that waits for the GIL, to give it up, and in the child nobody is left who
    could take it; or in the parent, while Python's own locks are held for the fork.
    """
    # Where the C library keeps the number of this thread, which it must know in the child, too.
    tid = ctypes.c_void_p()
    if _prctl(_PR_GET_TID_ADDRESS, ctypes.byref(tid)) != 0:
        return _fork_twice(rest)
    last = (None, tid) if platform.machine() == "aarch64" else (tid, None)
    python = ctypes.pythonapi
    # What follows, by the number that clone returns; the parent finds its child's there.
    following: defaultdict[int, Any] = defaultdict(repeat(python.PyOS_AfterFork_Parent).__next__)
    following[0] = _in_turn([*(rest.steps() if rest else ()), python.PyOS_AfterFork_Child])
    clone = _HOLDING["syscall"]
    clone.restype = following.__getitem__
    all_flags = ctypes.c_ulong(flags | _CLONE_TID)
    cloning = functools.partial(clone, _CLONE, all_flags, None, None, *last)
    _in_turn(chain([python.PyOS_BeforeFork], map(call, [cloning])))()
    pid = max(following, key=abs)
    if pid < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return pid


def _in_turn(functions: Iterable[Callable[[], Any]]) -> Callable[[], Any]:
    """A function that calls all of these, from C."""
    return functools.partial(deque, map(call, functions), 0)


def _fork_twice(rest: Rest | None = None) -> int:
    """The child in between ends at once, and its own child is the parent's."""
    steps = [] if rest is None else rest.steps()
    readable, writable = os.pipe()
    try:
        between = _fork_without_warning()
    except BaseException:
        os.close(readable)
        os.close(writable)
        raise
    if between == 0:
        try:
            between = getpid()
            if _fork_on(writable) != 0:
                _exit(0)
            os.close(readable)
            os.close(writable)
            while os.getppid() == between:
                os.sched_yield()
            for step in steps:
                step()
        except BaseException:  # it must not go on as the program
            _exit(1)
        return 0
    os.close(writable)
    number = int.from_bytes(os.read(readable, 8), "little", signed=True)
    os.close(readable)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(between, 0)
    if number <= 0:
        raise OSError(-number, os.strerror(-number))
    return number


def _fork_on(writable: int) -> int:
    """In the child in between: fork, and tell the pid, or the number of the error."""
    try:
        pid = _fork_without_warning()
    except OSError as error:
        pid = -(error.errno or errno.EAGAIN)
    if pid:
        os.write(writable, pid.to_bytes(8, "little", signed=True))
    return pid


def ask(code: str) -> tuple[Exit, str]:
    """Run some code in an interpreter of its own, which is no copy of this process.

    It may import this package and the standard library. Returns how it ended, and what it wrote to
    its standard output. Raises `CannotFork`.
    """
    readable, writable = os.pipe()
    try:
        try:
            actions = [(os.POSIX_SPAWN_DUP2, writable, 1)]
            arguments = _interpreter(code)
            pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=actions)
        finally:
            os.close(writable)
        with open(readable, encoding="utf-8", errors="replace", closefd=False) as output:
            told = output.read()
    except OSError as error:
        raise _cannot_fork(error) from None
    finally:
        os.close(readable)
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:  # another part of the program has taken it
        return Exit(), told.strip()
    return Exit.from_status(status), told.strip()


def _interpreter(code: str) -> list[str]:
    """The command that runs some code which may import this package, and nothing else of ours."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = f"import sys; sys.path.append({root!r}); "
    return [sys.executable, "-I", "-S", "-c", path + code]


def wait_for_input(
    fd: int, timeout: float | None, *, hold_gil: bool = False, mask: Any = None
) -> bool:
    """Sleep until a descriptor can be read, at most `timeout` seconds (None: for ever).

    False when the time was over or a signal arrived. With `hold_gil`, no other thread of this
    process runs Python code meanwhile. mask: as for `Child.wait_readable`.
    """
    table = _OnePollFd(_PollFd(fd, select.POLLIN, 0))
    found = _poll(_HOLDING if hold_gil else _RELEASING, table, timeout, mask)
    if found < 0 and ctypes.get_errno() != errno.EINTR:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found > 0


def changed_children() -> Iterator[tuple[int, Exit | None]]:
    """Children that have ended, and are reaped, or that have stopped (None), since last asked."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, None if os.WIFSTOPPED(status) else Exit.from_status(status)


def reap(pid: int) -> None:
    """Wait for the end of a child; how it ended is of no interest."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def has_children() -> bool:
    """Whether this process has a child, ended or not; none is reaped."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def has_ended(pid: int, timeout: float | None = None) -> bool:
    """Whether a process that need not be our child has ended; wait for that, `timeout` seconds.

    A process that ended and was not reaped by its parent has ended. How it ended, only its parent
    can learn.
    """
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (AttributeError, OSError):
        return _has_gone(pid, timeout)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0, timeout) * 1000))
    finally:
        os.close(fd)


def _has_gone(pid: int, timeout: float | None) -> bool:
    """The same where there are no descriptors of processes: look every 10 ms."""
    import psutil

    try:
        psutil.Process(pid).wait(timeout)
    except psutil.TimeoutExpired:
        return False
    except psutil.NoSuchProcess:
        return True
    return True


def thread_count() -> int:
    """How many threads this process has, those that run no Python code included."""
    try:
        return os.stat("/proc/self/task").st_nlink - 2  # a directory for each, `.` and `..`
    except OSError:
        return threading.active_count()


def exit_now(how: Exit) -> NoReturn:
    """End this process at once: no finalizer, no exit handler, no buffer is seen to."""
    if how.signal is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        with contextlib.suppress(ValueError, OSError):
            signal.signal(how.signal, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {how.signal})
        os.kill(getpid(), how.signal)
    _exit(how.code if how.code is not None else 1)


def become(code: str) -> None:
    """Replace this process (execve(2)) by an interpreter that runs some code, as for `ask`.

    Its pid, its children and the descriptors that can be inherited stay; its threads and its memory
    go, and nothing is seen to before. Returns only where that fails.
    """
    with contextlib.suppress(OSError, TypeError, ValueError):
        os.execv(sys.executable, _interpreter(code))


def become_relay(pid: int) -> NoReturn:
    """Stand in for the child `pid` for the rest of its life, with as little memory as can be.

    This process replaces itself (execve(2)) by an interpreter that runs nothing but `relay`; its
    pid stays. Where that fails it does the same as it is.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    become(f"from {__name__} import relay; relay({pid})")
    relay(pid)


def relay(pid: int) -> NoReturn:
    """Pass signals on to the child `pid`, stop and go on with it, and end as it ends.

    What comes from the terminal reaches the child without us, since it is in the same process
    group. All signals must be blocked. Other children are reaped, and are of no consequence.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    awaited = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    while True:
        if (how := _reap_for_relay(pid)) is not None:
            exit_now(how)
        info = signal.sigwaitinfo(awaited)
        if info.si_signo != signal.SIGCHLD and info.si_code <= 0:  # sent by a process
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, info.si_signo)


def _reap_for_relay(pid: int) -> Exit | None:
    while True:
        try:
            changed, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return Exit()
        if changed == 0:
            return None
        if changed == pid and os.WIFSTOPPED(status):
            os.kill(getpid(), signal.SIGSTOP)
            os.kill(pid, signal.SIGCONT)
        elif changed == pid:
            return Exit.from_status(status)


def _fork_without_warning() -> int:
    """Python 3.12+ warns of threads at a fork, after it: under `-W error` the child is lost."""
    if sys.version_info < (3, 12) or thread_count() == 1:
        return os.fork()
    with _changing_filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


# The filters are one list for all threads, so no two of ours may change them at a time.
_changing_filters = threading.Lock()


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, and see that it has not yet."""
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, _DEATH)
    if os.getppid() != parent:
        _exit(1)


def why_not(error: OSError | RuntimeError) -> str:
    """Why the system refuses, in words that say what to look at."""
    reasons = {
        errno.EAGAIN: "no more processes are allowed (`ulimit -u`, or the limit of a container)",
        errno.ENOMEM: "there is not enough memory to copy this process's page tables",
        errno.EMFILE: "no descriptor is free (`ulimit -n`)",
        errno.ENFILE: "no descriptor is free in the whole system",
    }
    if isinstance(error, OSError):
        return reasons.get(error.errno or 0, error.strerror or str(error))
    return str(error)


def _cannot_fork(error: OSError | RuntimeError) -> CannotFork:
    return CannotFork(f"cannot fork process {getpid()}: {why_not(error)}; nothing was forked")
