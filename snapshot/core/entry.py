"""The moment in which a call began, in a frozen fork: an experiment can go on from there.

    freeze() ── fork ──┬── the call runs in the program
                       └── the entry waits, frozen ─────────────────┐
    rewind(): the program tells the entry, and waits ───────────────┤
                       ┌── how it ended ── the entry waits for it ──┤
    the program goes on┘   the experiment returns from freeze() ────┘

The entry is no child that the program could wait for, and has none of its pipes, sockets and locks.
It ends when the program ends it, or dies; the experiment is its child, and dies with it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import select
import signal
import time
import traceback
from typing import Any

from snapshot.core import line, process, threads, tree
from snapshot.core.descriptors import close, identity
from snapshot.core.line import Place, Snapshot
from snapshot.core.log import Log
from snapshot.core.messages import say
from snapshot.core.moment import Moment
from snapshot.core.process import Aside, Child, Exit
from snapshot.core.signals import pthread_sigmask
from snapshot.core.timeline.channel import Channel, close_all, high
from snapshot.core.timeline.copies import Copy, entered
from snapshot.errors import CannotFork, SnapshotError

_EVERY = sorted({int(number) for number in signal.valid_signals()})


class Entry:
    """The frozen fork at the beginning of a call.

    number: of the call, counted from 1 in this process. where: the function's first line. began:
    when, on the clock of `time.monotonic`, in seconds. error: what the call was ended by, as text;
    None while it is under way.
    """

    def __init__(self, where: Place, process: Aside, channel: Channel) -> None:
        self.where = where
        self.number = next(_numbers)
        self.began = time.monotonic()
        self.error: str | None = None
        self._maker = os.getpid()
        self._process = process
        self._channel = channel
        _living[self.number] = self

    def rewind(self, place: Place) -> None:
        """Let an experiment go on from there, and wait until it has ended.

        place: where this process waits. Raises as `snapshot`, and `SnapshotError` where the entry
        is gone.
        """
        tree.snapshot_at(place, begin=self._wake)

    def _wake(self, moment: Moment) -> Child:
        near, far = Channel.pair()
        waiting = [*line.here.waiting, moment.snapshot]
        standard = [fd for fd in (0, 1, 2) if identity(fd) is not None]
        sent = (far.fileno(), moment.log.fileno(), *standard)
        try:
            self._channel.send((waiting, standard), sent)
            answer = near.receive()
        except OSError:
            answer = None
        finally:
            far.close()
        if answer is None:
            near.close()
            self.end()
            what = f"call {self.number} ({self.where})"
            raise SnapshotError(f"{what} cannot be gone back to any more: its process has ended")
        pid, refused = answer[0]
        if refused:
            near.close()
            raise CannotFork(refused)
        return _Experiment(pid, near)

    def end(self) -> None:
        """End the frozen fork; in a process that has not made it, only forget it."""
        if _living.pop(self.number, None) is None:
            return
        if os.getpid() == self._maker:
            self._process.kill()
            self._process.reap()
        else:
            self._process.forget()
        self._channel.close()

    @property
    def lives(self) -> bool:
        """Whether it was not ended."""
        return self.number in _living


_numbers = itertools.count(1)
_living: dict[int, Entry] = {}


def living() -> list[Entry]:
    """The entries that there are, in the order in which their calls began."""
    return list(_living.values())


def freeze(where: Place) -> Entry | None:
    """Fork, and let the fork wait; None in an experiment that goes on from here, later.

    Costs a fork. In the experiment, a line names what is missing there. Raises `CannotFork`; then
    nothing was forked.
    """
    mask = pthread_sigmask(signal.SIG_BLOCK, _EVERY)
    try:
        with contextlib.ExitStack() as undo:  # in the program; what is frozen leaves it to be
            copy = Copy(passing=True)
            undo.callback(copy.go_on)
            near, far = Channel.pair()
            undo.callback(far.close)
            failed = undo.enter_context(contextlib.ExitStack())
            failed.callback(near.close)
            original = high(process.own_descriptor())
            undo.callback(close, original)
            replacing = copy.replacements()
            new = {each for each, _ in replacing}
            undo.callback(close_all, new)
            until, leaving = (far.fileno(), original), (near.fileno(), *new)
            rest = process.Rest(until, leaving, replacing, dies=False)
            child = process.fork_aside(quiet=threads.quiet(), rest=rest)
            failed.pop_all()
            if child is not None:
                _end_all_at_exit()
                return Entry(where, child, near)
            undo.pop_all()
            _Frozen(copy, far, original).stay()
            near.close()
    except CannotFork:
        raise
    except OSError as error:
        raise CannotFork(f"cannot fork: {process.why_not(error)}") from None
    finally:
        pthread_sigmask(signal.SIG_SETMASK, mask)
    entered()
    return None


class _Frozen:
    """The process that waits, from its fork on.

    channel: to the program. original: the descriptor that can be read once that has ended.
    """

    def __init__(self, copy: Copy, channel: Channel, original: int) -> None:
        self._copy = copy
        self._channel = channel
        self._original = original

    def stay(self) -> None:
        """Wait until this process is ended; returns in each experiment that is to go on from here.

        Somebody has spoken by now, or has ended: the fork has rested until then.
        """
        try:
            while True:
                (message, descriptors) = self._heard()
                if self._begin(message[0], message[1], descriptors):
                    return
        except OSError:  # the program is gone
            process.exit_now(Exit(code=1))
        except BaseException:  # a fault of our own: this must not go on as if it were live
            traceback.print_exc()
            process.exit_now(Exit(code=1))

    def _heard(self) -> tuple[Any, list[int]]:
        self._wait([self._channel.fileno()])
        message = self._channel.receive()
        if message is None:
            process.exit_now(Exit(code=0))
        return message

    def _wait(self, descriptors: list[int]) -> list[int]:
        """Which of them can be read. This process ends where the program has ended."""
        poll = select.poll()
        for fd in (*descriptors, self._original):
            poll.register(fd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll()]
        if self._original in ready:
            process.exit_now(Exit(code=0))
        return ready

    def _begin(self, waiting: list[Snapshot], standard: list[int], descriptors: list[int]) -> bool:
        """Fork the experiment, and wait for its end; True in it."""
        report = Channel(descriptors.pop(0))
        try:
            child = process.fork()
        except CannotFork as error:
            report.send((0, str(error)))
        else:
            if child is None:
                report.close()
                self._go_on(waiting, standard, descriptors)
                return True
            self._attend(child, report)
        close_all(descriptors)
        report.close()
        return False

    def _attend(self, child: Child, report: Channel) -> None:
        """Wait for the experiment, and tell how it has ended; meanwhile, pass signals on to it."""
        try:
            report.send((child.pid, ""))
            while child.fileno() not in self._wait([child.fileno(), report.fileno()]):
                message = report.receive()
                if message is None:
                    break
                child.kill(message[0])
            else:
                report.send(child.reap())
                return
        except OSError:  # nobody waits for it any more
            pass
        child.kill()
        child.reap()

    def _go_on(self, waiting: list[Snapshot], standard: list[int], descriptors: list[int]) -> None:
        """In the experiment: everything is as it was, with the terminal of the one that waits."""
        self._channel.close()
        close(self._original)
        log = Log(high(descriptors.pop(0)))
        for fd, number in zip(descriptors, standard, strict=True):
            os.dup2(fd, number)
        close_all(descriptors)
        line.here.waiting[:] = waiting
        line.here.moments[:] = []
        missing = self._copy.wake(log.tell)
        moment = Moment.of_entry(waiting[-1], log, self._copy.guests)
        line.here.moments.append(moment)
        moment.go_on_in_fork()
        if missing:
            say(f"snapshot: in the experiment, as it was at {waiting[-1]}: {missing}")


class _Experiment(Child):
    """An experiment that an entry has begun, which waits for it in our place."""

    def __init__(self, pid: int, report: Channel) -> None:
        super().__init__(pid, report.fileno())
        self._report = report

    def reap(self) -> Exit:
        if self._exit is None:
            with contextlib.suppress(OSError):
                message = self._report.receive()
                self._exit = message[0] if message is not None else None
            self._exit = self._exit or Exit()
            self.forget()
        return self._exit

    def kill(self, number: int = signal.SIGKILL, *, group: bool = False) -> None:
        if self._exit is None:
            with contextlib.suppress(OSError):
                self._report.send(number)

    def forget(self) -> None:
        self._end = None
        self._report.close()


@functools.cache
def _end_all_at_exit() -> None:
    atexit.register(_end_all)


def _end_all() -> None:
    for each in living():
        each.end()
