"""snapshot, revert, keep: the line from the original to here, made of processes that wait.

    snapshot() ── fork ──┬── original: waits, frozen ───────────────── back, returns False
                         └── experiment: returns True … ends ── log ──┘

The experiment tells what it has to tell through a `Log`; the end of its process is what wakes the
original. `keep` needs an answer while both live, and for that alone there is a pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from snapshot import pickling
from snapshot.core import ending, guards, line, process, streams, survivors
from snapshot.core import threads as threads_
from snapshot.core.descriptors import OURS, close, open_descriptors
from snapshot.core.epoll import Epolls
from snapshot.core.hosts import Guests
from snapshot.core.line import Place, Snapshot, duration, in_snapshot, is_root, snapshots
from snapshot.core.log import Log
from snapshot.core.process import Child, Exit
from snapshot.core.randomness import Randomness
from snapshot.core.rollback import Offsets
from snapshot.core.signals import Waiting
from snapshot.core.terminal import Terminal
from snapshot.errors import (
    CannotFork,
    NameTaken,
    NotAnExperiment,
    SnapshotError,
    ThreadsRunning,
    UsageError,
)

__all__ = [
    "Experiment",
    "in_snapshot",
    "is_root",
    "keep",
    "last_experiment",
    "revert",
    "snapshot",
    "snapshots",
]

Threads = Literal["freeze", "run", "refuse"]

# Seconds that an experiment has between SIGTERM and SIGKILL when its original is told to end.
GRACE = 1.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment that has ended.

    snapshot: what it began with.
    exit: how its process ended.
    value: what `revert(value=…)` carried home, else None.
    duration: seconds from the snapshot to the end.
    report: the line that was written to standard error, or would have been.
    """

    snapshot: Snapshot
    exit: Exit
    value: Any
    duration: float
    report: str

    @property
    def code(self) -> int | None:
        """The exit code, None if a signal killed it."""
        return self.exit.code

    @property
    def signal(self) -> int | None:
        """The signal that killed it, None if it exited."""
        return self.exit.signal


def snapshot(name: str | None = None, *, threads: Threads = "freeze", reseed: bool = False) -> bool:
    """Fork: True in the child, the experiment; False in this process once the experiment ended.

    name: what `revert(to=name)` may call it; free again when nothing waits under it.
    threads: what this process's other threads do while it waits. "freeze": they run no Python
    code. "run": they go on. "refuse": raise if there are any. The experiment has none of them.
    reseed: give the experiment random numbers of its own (`random`, numpy's global generator)
    instead of the same sequence that the original will see.

    However the experiment ends, this process goes on at the same line, its state unchanged, and
    one line on standard error tells how it ended; the environment variable SNAPSHOT_QUIET, if set
    to anything, silences that.

    Costs a fork (20-50 ms a GB, less after `compact`); the first one also looks once through all
    objects for open files. Raises `UsageError`, `NameTaken`, `ThreadsRunning` or `CannotFork`;
    then nothing was forked.
    """
    _check(name, threads)
    place = Place.of(sys._getframe(1))
    new = Snapshot(len(line.here.waiting), name, os.getpid(), place, time.monotonic())
    lost = threads_.others()
    if threads == "refuse" and lost:
        raise ThreadsRunning(
            "snapshot(threads='refuse'): the experiment would be without "
            f"{threads_.described(lost)}; nothing was forked"
        )
    try:
        moment = _Moment(new, threads_.described(lost))
    except OSError as error:
        raise CannotFork(f"cannot take a snapshot: {error}; nothing was forked") from None
    try:
        child = process.fork()
    except BaseException:
        moment.call_off()
        raise
    if child is None:
        moment.begin_experiment(reseed=reseed)
        return True
    moment.wait(child, hold_gil=threads == "freeze")
    return False


def revert(to: int | str | None = None, *, value: Any = None, status: int = 0) -> NoReturn:
    """End the experiment in order; the process that took the snapshot goes on.

    to: the name or index of the snapshot to go back to; the last one by default, 0 for the
    original.
    value: anything that pickle or cloudpickle takes; `last_experiment().value` has it there.
    status: the exit code of this process, 0 to 255.

    Its buffers are written out and what it registered with `atexit` runs; no `finally`, `with` or
    `except` of any frame does. Raises `NotAnExperiment`, `UnknownSnapshot`, `NotPicklable` or
    `UsageError`; then nothing was reverted.
    """
    moment = _current("revert")
    target = line.find(to)
    if not 0 <= status <= 255:
        raise UsageError(f"revert(status={status!r}): an exit code is a number from 0 to 255")
    if value is not None:
        data, buffers = pickling.dump(value, lacks=moment.lacks)
        moment.log.tell("value", (data, [bytearray(each) for each in buffers]))
    moment.log.tell("to", target.index)
    ending.end(Exit(code=status))
    raise AssertionError("unreachable")


def keep() -> None:
    """Make this experiment the original; what waited for it gives up its turn.

    Each process that waits replaces itself by a small relay, which keeps its pid, passes signals
    on and ends as this process will. What the original had laid aside (exit handlers, finalizers,
    temporary files) is this process's own from now on. Raises `NotAnExperiment`.
    """
    _current("keep")
    for moment in _moments:
        moment.release()
    pids = [each.pid for each in line.here.waiting]
    lost = ", ".join(moment.lost for moment in _moments if moment.lost)
    ending.disarm()
    line.here.before.update(pids)
    line.here.waiting.clear()
    guards.take_over()
    for moment in _moments:
        moment.guests.keep()
        moment.log.close()
    _moments.clear()
    _say(
        f"snapshot: kept; process {os.getpid()} is the original now, {pids[0]} relays to it; "
        f"not given back: the pid{', the threads ' + lost if lost else ''}"
    )


def last_experiment() -> Experiment | None:
    """The last experiment that came back to this process; None if there was none."""
    return _last


_last: Experiment | None = None
_moments: list[_Moment] = []


class _Moment:
    """What is remembered of a snapshot: in the original to be put back, in the child to go on.

    While it is being made signals are held back; `call_off`, `begin_experiment` or `wait` follows.
    """

    def __init__(self, new: Snapshot, lost: str) -> None:
        self.snapshot, self.lost = new, lost
        self.time = time.time()
        with contextlib.ExitStack() as undo:
            self.guests = Guests()
            undo.callback(self.guests.back, [])
            self._look_at_descriptors()
            self.terminal = Terminal.here()
            self.randomness = Randomness()
            self.log = Log()
            undo.callback(self.log.close)
            self.ear, self.mouth = os.pipe()
            OURS.update((self.ear, self.mouth))
            undo.callback(close, self.ear)
            undo.callback(close, self.mouth)
            guards.prepare()
            ending.prepare()
            self.signals = Waiting()
            undo.callback(self.signals.go_on)
            self.call_off = undo.pop_all().close

    def _look_at_descriptors(self) -> None:
        streams.flush()
        descriptors = open_descriptors()
        self.offsets = Offsets(descriptors)
        self.epolls = Epolls(descriptors)

    def begin_experiment(self, *, reseed: bool) -> None:
        try:
            close(self.ear)
            self.main = dict(vars(sys.modules["__main__"]))
            line.here.waiting.append(self.snapshot)
            _moments.append(self)
            ending.arm(self._tell_end)
            guards.lay_aside()
            self.guests.in_experiment(self.log.tell)
            self.epolls.renew()
            self.randomness.in_child(reseed=reseed)
        except BaseException as error:
            self.log.tell("failed", f"{type(error).__name__}: {error}")
            process.exit_now(Exit(code=1))
        self.signals.go_on()
        if self.lost:
            _say(
                f"snapshot: not in the experiment: the original's threads {self.lost}; one that "
                'needs them to go on there needs snapshot(threads="run")'
            )

    def lacks(self, named: Any) -> bool:
        """Whether the original does not know this class or function of `__main__` by its name."""
        name = named.__qualname__.partition(".")[0]
        known = self.main.get(name, self)
        return named.__module__ == "__main__" and known is not vars(sys.modules["__main__"])[name]

    def _tell_end(self, how: Exit) -> None:
        self.guests.at_end(self.log.tell)
        guards.finish()
        self.log.tell("survivors", survivors.of_this_process())

    def release(self) -> None:
        """Let the process that waits become a relay, and wait until it is one."""
        os.write(self.mouth, b"k")
        poll = select.poll()
        poll.register(self.mouth, 0)
        poll.poll(5000)  # its end of the pipe is closed as it becomes the relay
        close(self.mouth)

    def wait(self, child: Child, *, hold_gil: bool) -> None:
        close(self.mouth)
        try:
            how = self._end_of(child, hold_gil)
        except BaseException:
            child.end(GRACE)
            self._put_back([], killed=True)
            self.signals.finish()
            raise
        self._back(how)

    def _end_of(self, child: Child, hold_gil: bool) -> Exit:
        watched = [self.ear, *self.signals.descriptors()]
        mask = self.signals.mask()
        while True:
            ready = child.wait_readable(watched, hold_gil=hold_gil, mask=mask)
            if self.signals.arrived(ready):
                return child.end(GRACE)
            if self.ear in ready:
                if os.read(self.ear, 1):
                    process.become_relay(child.pid)
                watched.remove(self.ear)  # closed, though the experiment may go on
            if child.fileno() in ready:
                return child.reap()

    def _back(self, how: Exit) -> None:
        global _last
        told = self.log.read()
        facts = dict(told)
        dropped = self._put_back(told, killed="survivors" not in facts)
        if "failed" in facts:
            self.signals.finish()
            raise SnapshotError(f"the experiment could not begin: {facts['failed']}")
        if facts.get("to", self.snapshot.index) < self.snapshot.index:
            _pass_on(facts, how)
        left = (
            facts.get("survivors") or survivors.orphans_since(self.time)
            if ("survivors" not in facts or facts["survivors"])
            else []
        )
        ended = "reverted" if "to" in facts and how.code == 0 else str(how)
        report = self._report(ended, left, dropped)
        _last = Experiment(self.snapshot, how, _value(facts), self.snapshot.age, report)
        _say(report)
        self.signals.finish()

    def _put_back(self, told: list[tuple[str, Any]], *, killed: bool) -> int:
        self.log.close()
        close(self.ear)
        self.offsets.put_back()
        dropped = streams.drop_read_ahead()
        if self.terminal is not None:
            self.terminal.put_back(reset=killed)
        self.guests.back(told)
        return dropped

    def _report(self, ended: str, left: list[survivors.Survivor], dropped: int) -> str:
        text = (
            f"snapshot: back at {self.snapshot} ({self.snapshot.where}); "
            f"the experiment {ended} after {duration(self.snapshot.age)}"
        )
        if left:
            text += "; still running: " + ", ".join(f"{pid} {name}" for pid, name in left)
        if dropped:
            text += f"; {dropped} bytes of standard input that were read ahead belonged to it"
        return text


def _current(verb: str) -> _Moment:
    if not line.here.waiting:
        raise NotAnExperiment(
            f"{verb}(): process {os.getpid()} is the original, no snapshot waits; "
            "call snapshot() first"
        )
    return _moments[-1]


def _pass_on(facts: dict[str, Any], how: Exit) -> NoReturn:
    """The experiment goes further back than to us, so our own ends too."""
    moment = _moments[-1]
    if "value" in facts:
        moment.log.tell("value", facts["value"])
    moment.log.tell("to", facts["to"])
    ending.end(how)
    raise AssertionError("unreachable")


def _value(facts: dict[str, Any]) -> Any:
    if "value" not in facts:
        return None
    return pickling.load(*facts["value"])


def _check(name: str | None, threads: str) -> None:
    if threads not in ("freeze", "run", "refuse"):
        raise UsageError(
            f'snapshot(threads={threads!r}): it must be "freeze", "run" or "refuse"; '
            "nothing was forked"
        )
    if threads == "freeze" and not getattr(sys, "_is_gil_enabled", lambda: True)():
        raise UsageError(
            'snapshot(threads="freeze") needs the GIL, which this free-threaded Python has '
            'switched off; use threads="run" or "refuse"; nothing was forked'
        )
    if name is None:
        return
    if not isinstance(name, str) or not name:
        raise UsageError(f"snapshot({name!r}): a name is a text; nothing was forked")
    for each in line.here.waiting:
        if each.name == name:
            raise NameTaken(
                f"a snapshot {name!r} waits already, taken at {each.where} by process {each.pid}; "
                "choose another name; nothing was forked"
            )


def _say(text: str) -> None:
    if os.environ.get("SNAPSHOT_QUIET") or sys.stderr is None:
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return  # nobody is there to read it
