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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from snapshot import pickling
from snapshot.core import ending, guards, hosts, line, process, resources
from snapshot.core import threads as threads_
from snapshot.core.limits import Limits
from snapshot.core.line import Place, Snapshot, in_snapshot, is_root, snapshots
from snapshot.core.messages import say
from snapshot.core.moment import Experiment, Moment, Options
from snapshot.core.process import Child, Exit
from snapshot.core.rollback.wanted import LIMIT, Path, Paths, Wanted
from snapshot.errors import (
    CannotFork,
    CannotWait,
    NameTaken,
    NotAnExperiment,
    NotPicklable,
    SnapshotError,
    ThreadsRunning,
    UsageError,
)

if TYPE_CHECKING:
    from snapshot.core.rollback.changes import Changes

__all__ = [
    "Experiment",
    "changes",
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
    files: Paths | None = None,
    files_strict: bool = True,
    files_limit: int | str = LIMIT,
    files_on_disk: bool | Path = False,
    timeout: float | None = None,
    memory: int | str | None = None,
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
    files: a directory, or several, that the experiment has for itself: what it does to the files in
    there is gone when it ends, and `keep` puts it there; see `changes`. Linux only.
    files_strict: False to let it begin although something is open in there that cannot be private;
    a line names what is shared then.
    files_limit: how much it may write there, in bytes or as "500M"; it is held in memory, and
    beyond it there is "no space left" in the experiment. 1 GiB by default.
    files_on_disk: True to hold that on a disk, in the user's cache, instead; or a directory for it.
    timeout: seconds after which the experiment is killed; None is for ever.
    memory: how much it may grow, as for `fork_call`; allocations fail beyond, or it is killed.

    However the experiment ends, this process goes on at the same line, its state unchanged, and
    one line on standard error tells how it ended; the environment variable SNAPSHOT_QUIET, if set
    to anything, silences that.

    Costs a fork (20-50 ms a GB, less after `compact`); the first one also looks once through all
    objects for open files. `files` costs a few milliseconds more, and a copy of each file that is
    open for writing in there. Raises `UsageError`, `NameTaken`, `ThreadsRunning`, `CannotFork`,
    `CannotOverlay` or, in an ordinary Jupyter kernel, `CannotWait`; then nothing was forked.
    """
    limits = Limits.of(timeout, memory)
    private = Wanted.of(files, files_strict, files_limit, files_on_disk)
    options = Options(sockets, reseed, private, limits)
    return snapshot_at(Place.of(sys._getframe(1)), name, threads, options)


PLAIN = Options()


def _forked(_: Moment) -> Child | None:
    return process.fork()


def snapshot_at(
    place: Place,
    name: str | None = None,
    threads: Threads = "freeze",
    options: Options = PLAIN,
    *,
    begin: Callable[[Moment], Child | None] = _forked,
) -> bool:
    """`snapshot()` by a debugger: at the line that it shows, which may not even be running.

    begin: makes the process of the experiment, or finds one; it returns None in a fork of this one.
    """
    global _last
    _check(name, threads, options.sockets)
    if reason := hosts.hangs():
        raise CannotWait(f"snapshot(): {reason}; nothing was forked")
    new = Snapshot(len(line.here.waiting), name, os.getpid(), place, time.monotonic())
    lost = threads_.others()
    if threads == "refuse" and lost:
        raise ThreadsRunning(
            "snapshot(threads='refuse'): the experiment would be without "
            f"{threads_.described(lost)}; nothing was forked"
        )
    with _turn:
        try:
            moment = Moment(new, threads_.described(lost), options)
        except SnapshotError:
            raise
        except OSError as error:
            reason = process.why_not(error)
            raise CannotFork(f"cannot take a snapshot: {reason}; nothing was forked") from None
        try:
            child = begin(moment)
        except BaseException:
            moment.call_off()
            raise
        if child is None:
            moment.begin_experiment()
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


def keep(files: bool | Paths = True) -> None:
    """Make this experiment the original; what waited for it gives up its turn.

    files: what of its private files is put into the real ones, where it has such (see `snapshot`):
        all (True, the default), nothing (False), or these paths and what is below them. Each file
        is replaced in one step.

    Each process that waits replaces itself by a small relay, which keeps its pid, passes signals
    on and ends as this process will. What the original had laid aside (exit handlers, finalizers,
    temporary files) is this process's own from now on. Raises `NotAnExperiment`, `FilesChanged` if
    somebody else has changed such a file meanwhile, `UsageError`; then nothing was kept.
    """
    _current("keep")
    moments: list[Moment] = line.here.moments
    if not all(each.can_be_kept for each in moments):
        raise NotAnExperiment(
            f"keep(): process {os.getpid()} goes on from a call that was gone back to, and cannot "
            "take the place of the process that waits; revert() ends it; nothing was kept"
        )
    if not isinstance(files, bool) or any(moment.overlay for moment in moments):
        from snapshot.core.rollback import overlay

        overlay.keep(files)
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
        moment.lift_limit()
        moment.log.close()
    moments.clear()
    say(
        f"snapshot: kept; process {os.getpid()} is the original now, {pids[0]} relays to it; "
        f"not given back: the pid{', the threads ' + lost if lost else ''}"
    )


def changes() -> Changes:
    """What this experiment did so far to the files that are its own: `snapshot(files=…)`.

    A sequence of `Change`, which shows as a table and the differences of text files. Files are
    compared with what they were: costs reading those that were written. In the process that has
    resumed, `last_experiment().changes` has the same without the differences. Raises
    `NotAnExperiment` where there are no such files.
    """
    from snapshot.core.rollback import overlay

    if not overlay.here:
        raise NotAnExperiment(
            f"changes(): process {os.getpid()} has no files of its own; take the snapshot with "
            "files=, the directories that matter"
        )
    return overlay.here[-1].changes()


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
