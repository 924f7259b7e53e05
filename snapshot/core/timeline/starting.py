"""How a timeline begins: this process forks, and one of the two becomes the supervisor."""

from __future__ import annotations

import gc
import os
import signal
from typing import Any, NoReturn

from snapshot.core import line, process, signals
from snapshot.core.hosts.loops import RunningLoop
from snapshot.core.moment import Moment
from snapshot.core.randomness import Randomness
from snapshot.core.sessions import Announced
from snapshot.core.timeline.channel import Channel
from snapshot.core.timeline.copies import Copy
from snapshot.core.timeline.member import Member
from snapshot.core.timeline.supervisor import Supervisor


def supervise(cell: int = 1, kind: str = "repl") -> Member:
    """Fork; this process supervises from now on and never returns, the new one is live.

    cell: the number of the first cell. kind: of session, see `sessions.Session`. Returns its part
    in the timeline. Raises `CannotFork`.
    """
    process.adopt_orphans()
    ours, theirs = Channel.pair()
    child = process.fork()
    if child is not None:
        theirs.close()
        child.forget()
        Supervisor(child.pid, ours, cell=cell, announced=Announced.here(kind)).run()
    ours.close()
    return Member(theirs)


def supervise_anew(first: int) -> Member:
    """The same in a process that has lived: the new one has all that it had, but the threads.

    This one becomes a small interpreter, so that no thread, no descriptor and no copy of the memory
    stays behind. first: the number of the cell that runs, 0 before the first one.
    """
    process.adopt_orphans()
    pid, copy = os.getpid(), Copy()
    ours, theirs = Channel.pair()
    try:
        child = process.fork()
    except BaseException:
        ours.close()
        theirs.close()
        copy.go_on()
        raise
    if child is not None:
        os.set_inheritable(ours.fileno(), True)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        announced = Announced.here("ipython")
        facts = child.pid, ours.fileno(), first, announced and tuple(announced)
        process.become(f"from {__name__} import go_on; go_on(*{facts!r})")
        go_on(*facts)
    ours.close()
    copy.replace(pid)
    return Member(theirs, first)


def supervise_experiment() -> Member:
    """The same in an experiment that has just begun: it goes on in a fork of its process.

    The process that waits for the experiment waits for the supervisor, which ends as it does.
    """
    process.adopt_orphans()
    ours, theirs = Channel.pair()
    # What a fork forgets. All else that two processes would share is the new one's alone: this one
    # closes its descriptors, an event loop's among them, and runs nothing of the program.
    loop, randomness = RunningLoop(), Randomness()
    timers = {which: signal.setitimer(which, 0) for which in signals.TIMERS}
    child = process.fork()
    if child is not None:
        gc.freeze()  # nothing of the program's is deleted here, nor closes a descriptor
        child.forget()
        go_on(child.pid, ours.fileno(), 0, Announced.here("debugger"))
    ours.close()
    moment: Moment = line.here.moments[-1]
    moment.go_on_in_fork()
    loop.in_child()
    randomness.in_child(reseed=False)
    for which, (left, interval) in timers.items():
        signal.setitimer(which, left, interval)
    return Member(theirs)


def go_on(pid: int, fd: int, first: int, announced: tuple[Any, ...] | None) -> NoReturn:
    """Supervise the process `pid`, at the other end of the descriptor, and have nothing else.

    announced: an `Announced`, as a plain tuple.
    """
    os.closerange(3, fd)
    os.closerange(fd + 1, os.sysconf("SC_OPEN_MAX"))
    os.set_inheritable(fd, False)
    Supervisor(
        pid, Channel(fd), first, announced=None if announced is None else Announced(*announced)
    ).run()
