"""snapshot, revert, keep: the line from the original to here, made of processes that wait.

    snapshot() ── fork ──┬── original: waits, frozen ───────────────── back, returns False
                         └── experiment: returns True … ends ── log ──┘

The experiment tells what it has to tell through a `Log`; the end of its process is what wakes the
original. `keep` needs an answer while both live, and for that alone there is a pipe.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, Literal, NoReturn

from snapshot import pickling
from snapshot.core import ending, guards, line, process, resources
from snapshot.core import threads as threads_
from snapshot.core.line import Place, Snapshot, in_snapshot, is_root, snapshots
from snapshot.core.messages import say
from snapshot.core.moment import Experiment, Moment
from snapshot.core.process import Exit
from snapshot.errors import (
    CannotFork,
    NameTaken,
    NotAnExperiment,
    NotPicklable,
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
Sockets = Literal["share", "drop"]


def snapshot(
    name: str | None = None,
    *,
    threads: Threads = "freeze",
    sockets: Sockets = "share",
    reseed: bool = False,
) -> bool:
    """Fork: True in the child, the experiment; False in this process once the experiment ended.

    name: what `revert(to=name)` may call it; free again when nothing waits under it.
    threads: what this process's other threads do while it waits. "freeze": they run no Python
    code. "run": they go on, but their own snapshots wait until this experiment has ended.
    "refuse": raise if there are any. The experiment has none of them.
    sockets: what the original's sockets are in the experiment. "share": the same connections, and a
    line there names those that lead over a network. "drop": dead, so that nothing is sent or read.
    reseed: give the experiment random numbers of its own (`random`, numpy's global generator)
    instead of the same sequence that the original will see.

    However the experiment ends, this process goes on at the same line, its state unchanged, and
    one line on standard error tells how it ended; the environment variable SNAPSHOT_QUIET, if set
    to anything, silences that.

    Costs a fork (20-50 ms a GB, less after `compact`); the first one also looks once through all
    objects for open files. Raises `UsageError`, `NameTaken`, `ThreadsRunning` or `CannotFork`;
    then nothing was forked.
    """
    place = Place.of(sys._getframe(1))
    return snapshot_at(place, name, threads=threads, sockets=sockets, reseed=reseed)


def snapshot_at(
    place: Place,
    name: str | None = None,
    *,
    threads: Threads = "freeze",
    sockets: Sockets = "share",
    reseed: bool = False,
) -> bool:
    """`snapshot()` by a debugger: at the line that it shows, which may not even be running."""
    global _last
    _check(name, threads, sockets)
    new = Snapshot(len(line.here.waiting), name, os.getpid(), place, time.monotonic())
    lost = threads_.others()
    if threads == "refuse" and lost:
        raise ThreadsRunning(
            "snapshot(threads='refuse'): the experiment would be without "
            f"{threads_.described(lost)}; nothing was forked"
        )
    with _turn:
        try:
            moment = Moment(new, threads_.described(lost))
        except OSError as error:
            reason = process.why_not(error)
            raise CannotFork(f"cannot take a snapshot: {reason}; nothing was forked") from None
        try:
            child = process.fork()
        except BaseException:
            moment.call_off()
            raise
        if child is None:
            moment.begin_experiment(sockets=sockets, reseed=reseed)
        else:
            _last = moment.wait(child, hold_gil=threads == "freeze")
    if child is None:
        guards.entered()
        return True
    guards.left()
    return False


# Signals, the terminal and the positions of files belong to one experiment at a time. A thread
# that takes a snapshot while another one waits for its experiment has to wait for its turn.
_turn = threading.RLock()


def revert(to: int | str | None = None, *, value: Any = None, status: int = 0) -> NoReturn:
    """End the experiment in order; the process that took the snapshot goes on.

    to: the name or index of the snapshot to go back to; the last one by default, 0 for the
    original.
    value: anything that pickle or cloudpickle takes; `last_experiment().value` has it there.
    status: the exit code of this process, 0 to 255.

    Its buffers are written out and what it registered with `atexit` runs; no `finally`, `with` or
    `except` of any frame does. Raises `NotAnExperiment`, `UnknownSnapshot`, `NotPicklable`,
    `UsageError` or, where what is to be told cannot be written, `SnapshotError`; then nothing was
    reverted.
    """
    moment = _current("revert")
    target = line.find(to)
    if not isinstance(status, int) or not 0 <= status <= 255:
        raise UsageError(f"revert(status={status!r}): an exit code is a number from 0 to 255")
    facts: dict[str, Any] = {"to": target.index}
    if value is not None:
        try:
            data, buffers = pickling.dump(value, lacks=moment.lacks)
        except NotPicklable as error:
            raise NotPicklable(f"revert(value=…): {error}; nothing was reverted") from error
        facts["value"] = (data, [bytearray(each) for each in buffers])
    moment.tell_revert(facts)
    ending.end(Exit(code=status))
    raise AssertionError("unreachable")


def keep() -> None:
    """Make this experiment the original; what waited for it gives up its turn.

    Each process that waits replaces itself by a small relay, which keeps its pid, passes signals
    on and ends as this process will. What the original had laid aside (exit handlers, finalizers,
    temporary files) is this process's own from now on. Raises `NotAnExperiment`.
    """
    _current("keep")
    moments: list[Moment] = line.here.moments
    for moment in moments:
        moment.release()
    pids = [each.pid for each in line.here.waiting]
    lost = ", ".join(moment.lost for moment in moments if moment.lost)
    ending.disarm()
    line.here.before.update(pids)
    line.here.waiting.clear()
    resources.take_over()
    for moment in moments:
        moment.guests.keep()
        moment.log.close()
    moments.clear()
    say(
        f"snapshot: kept; process {os.getpid()} is the original now, {pids[0]} relays to it; "
        f"not given back: the pid{', the threads ' + lost if lost else ''}"
    )


def last_experiment() -> Experiment | None:
    """The last experiment that came back to this process; None if there was none."""
    return _last


_last: Experiment | None = None


def _current(verb: str) -> Moment:
    if not line.here.waiting:
        raise NotAnExperiment(
            f"{verb}(): no snapshot waits for process {os.getpid()}; call snapshot() first"
        )
    moment: Moment = line.here.moments[-1]
    return moment


def _check(name: str | None, threads: str, sockets: str) -> None:
    if sockets not in ("share", "drop"):
        raise UsageError(
            f'snapshot(sockets={sockets!r}): it must be "share" or "drop"; nothing was forked'
        )
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
