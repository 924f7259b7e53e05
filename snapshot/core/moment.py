"""A moment that was taken: what is remembered of it in the original, and in the experiment."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from snapshot import pickling
from snapshot.core import ending, line, mappings, process, resources, streams, survivors, threads
from snapshot.core.descriptors import OURS, Descriptor, close, open_descriptors
from snapshot.core.epoll import Epolls
from snapshot.core.hosts import Guests
from snapshot.core.limits import DataLimit, Limits, Watch
from snapshot.core.line import Snapshot, duration
from snapshot.core.log import Log
from snapshot.core.messages import say
from snapshot.core.process import Child, Exit
from snapshot.core.randomness import Randomness
from snapshot.core.rollback.offsets import Offsets
from snapshot.core.rollback.wanted import Wanted
from snapshot.core.rollback.written import Written
from snapshot.core.signals import Waiting
from snapshot.core.sockets import Sockets
from snapshot.core.terminal import Terminal
from snapshot.errors import NotPicklable, SnapshotError

if TYPE_CHECKING:
    from snapshot.core.rollback.changes import Changes
    from snapshot.core.rollback.overlay import Overlay

# Seconds that an experiment has between SIGTERM and SIGKILL when its original is told to end.
GRACE = 1.0

_A_DAY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment that has ended.

    snapshot: what it began with.
    exit: how its process ended.
    value: what `revert(value=…)` carried home, else None.
    duration: seconds from the snapshot to the end.
    changes: what it did to the files of its overlay, if it had one and ended in order; else None.
    limit: "timeout" or "memory" if it was killed for that, else None.
    report: the line that was written to standard error, or would have been.
    """

    snapshot: Snapshot
    exit: Exit
    value: Any
    duration: float
    changes: Changes | None
    limit: str | None
    report: str

    @property
    def code(self) -> int | None:
        """The exit code, None if a signal killed it."""
        return self.exit.code

    @property
    def signal(self) -> int | None:
        """The signal that killed it, None if it exited."""
        return self.exit.signal


class Options(NamedTuple):
    """What was asked for: see `snapshot`.

    supervised: whether who takes the snapshot sees itself to the experiment's end, and tells of it:
    no host ends it before the program does, and no line is written.
    """

    sockets: str = "share"
    reseed: bool = False
    files: Wanted | None = None
    limits: Limits = Limits()
    supervised: bool = False


class Moment:
    """What is remembered of a snapshot: in the original to be put back, in the child to go on.

    While it is being made signals are held back; `call_off`, `begin_experiment` or `wait` follows.

    can_be_kept: whether the experiment may take the place of the process that waits.
    """

    can_be_kept = True

    def __init__(self, new: Snapshot, lost: str, options: Options) -> None:
        if options.limits.memory is None and line.here.moments:  # it holds for nested ones, too
            outer: Moment = line.here.moments[-1]
            options = options._replace(
                limits=options.limits._replace(memory=outer._options.limits.memory)
            )
        self.snapshot, self.lost = new, lost
        self._options: Options = options
        self.overlay: Overlay | None = None
        self._data_limit: DataLimit | None = None
        self._limit: str | None = None  # the one that the experiment was killed for
        self.time = survivors.now()
        self.facts: dict[str, Any] = {}  # what the experiment tells at its end
        with contextlib.ExitStack() as undo:
            self.guests = Guests(ending=not options.supervised)
            undo.callback(self.guests.back, [])
            descriptors = self._look_at_descriptors()
            if options.files is not None:
                from snapshot.core.rollback.overlay import Overlay  # it is seldom needed

                self.overlay = Overlay(options.files, descriptors)
                undo.callback(self.overlay.sweep)
            self.alone = threads.alone()
            self.terminal = Terminal.here()
            self.randomness = Randomness()
            self.log = Log()
            undo.callback(self.log.close)
            self.ear, self.mouth = os.pipe()
            OURS.update((self.ear, self.mouth))
            undo.callback(close, self.ear)
            undo.callback(close, self.mouth)
            resources.prepare()
            undo.callback(resources.forget)
            ending.prepare()
            self.signals = Waiting()
            undo.callback(self.signals.go_on)
            self.call_off = undo.pop_all().close

    def _look_at_descriptors(self) -> list[Descriptor]:
        descriptors = open_descriptors()
        streams.flush(writers=any(each.writable and each.fd > 2 for each in descriptors))
        self.offsets = Offsets(descriptors)
        self.epolls = Epolls(descriptors)
        self.sockets = Sockets(descriptors)
        self.written = Written(descriptors)
        return descriptors

    def begin_experiment(self) -> None:
        sockets = self._options.sockets
        try:
            close(self.ear)
            mappings.moved.clear()
            if self.overlay is not None:
                self.overlay.begin()
            self.main = dict(vars(sys.modules["__main__"]))
            if not self.alone:
                streams.part_from_threads()
            line.here.waiting.append(self.snapshot)
            line.here.moments.append(self)
            ending.arm(self._tell_end)
            resources.lay_aside()
            self.guests.in_experiment(self.log.tell)
            if sockets == "drop":
                self.sockets.drop()
            self.epolls.renew()  # with what stands for the sockets now
            self.randomness.in_child(reseed=self._options.reseed)
            if self._options.limits.memory is not None:
                self._data_limit = DataLimit(self._options.limits.memory)
        except BaseException as error:
            self.log.tell("failed", _failure(error))
            process.exit_now(Exit(code=1))
        self.signals.go_on()
        if self.lost:
            say(
                f"snapshot: not in the experiment: the original's threads {self.lost}; one that "
                'needs them to go on there needs snapshot(threads="run")'
            )

        if self.overlay is not None and self.overlay.shared:
            say(f"snapshot: shared with the original: {', '.join(self.overlay.shared)}")
        if sockets == "share" and (shared := self.sockets.described()):
            say(f"snapshot: shared with the original: the connections to {shared}")

    @classmethod
    def of_entry(cls, new: Snapshot, log: Log, guests: Guests) -> Moment:
        """In an experiment that was frozen before the snapshot was taken, see `entry`."""
        moment = cls.__new__(cls)
        moment.snapshot, moment.lost, moment._options = new, "", Options()
        moment.can_be_kept = False
        moment.overlay, moment._data_limit, moment._limit = None, None, None
        moment.time, moment.facts = survivors.now(), {}
        moment.log, moment.guests = log, guests
        moment.main = dict(vars(sys.modules["__main__"]))
        return moment

    def go_on_in_fork(self) -> None:
        """In a fork of the experiment's process, which is the experiment from now on."""
        ending.arm(self._tell_end)

    def lacks(self, named: Any) -> bool:
        """Whether the original does not know this class or function of `__main__` by its name."""
        name = named.__qualname__.partition(".")[0]
        known = self.main.get(name, self)
        return named.__module__ == "__main__" and known is not vars(sys.modules["__main__"])[name]

    def tell_revert(self, facts: dict[str, Any]) -> None:
        """Where to go back to, and what to carry there; raises `SnapshotError` if that fails."""
        if facts == {"to": self.snapshot.index}:
            self.facts = facts  # told at the end, with the rest
            return
        try:
            self.log.tell("revert", facts)
        except OSError as error:
            raise SnapshotError(
                f"revert: cannot tell process {self.snapshot.pid} where to go back to, or "
                f"the value: {error.strerror or error}; nothing was reverted"
            ) from None

    def _tell_end(self, how: Exit) -> None:
        with contextlib.suppress(OSError):  # it was told all that it cannot do without
            self.guests.at_end(self.log.tell)
            resources.finish()
            if self.overlay is not None:
                with contextlib.suppress(Exception):  # what is told is not worth the rest
                    self.facts["changes"] = self.overlay.changes()
            self.facts["survivors"] = survivors.of_this_process()
            self.facts["how"] = how.code, how.signal
            self.log.tell("end", self.facts)

    def lift_limit(self) -> None:
        """The experiment is kept, and its memory no longer limited."""
        if self._data_limit is not None:
            self._data_limit.lift()

    def release(self) -> None:
        """Let the process that waits become a relay, and wait until it is one."""
        os.write(self.mouth, b"k")
        poll = select.poll()
        poll.register(self.mouth, 0)
        poll.poll(5000)  # its end of the pipe is closed as it becomes the relay
        close(self.mouth)

    def wait(self, child: Child, *, hold_gil: bool) -> Experiment:
        """In the original: sleep until the experiment has ended, and put everything back."""
        close(self.mouth)
        resources.forget()
        try:
            try:
                how = self._end_of(child, hold_gil)
            except BaseException:
                child.end(GRACE)
                self._put_back([], killed=True)
                raise
            return self._back(how)
        finally:
            self.signals.finish()

    def _end_of(self, child: Child, hold_gil: bool) -> Exit:
        watched = [self.ear, *self.signals.descriptors()]
        mask = self.signals.mask()
        watch = Watch(self._options.limits, child)
        while True:
            patience = None if (seconds := watch.patience()) > _A_DAY else seconds
            ready = child.wait_readable(watched, timeout=patience, hold_gil=hold_gil, mask=mask)
            if limit := watch.exceeded():
                self._limit = limit
                child.kill()
            if self.signals.arrived(ready):
                return child.end(GRACE)
            if self.ear in ready:
                if os.read(self.ear, 1):
                    process.become_relay(child.pid)
                watched.remove(self.ear)  # closed, though the experiment may go on
            if child.fileno() in ready:
                return child.reap()

    def _back(self, how: Exit) -> Experiment:
        told = self.log.read()
        subjects = dict(told)
        facts: dict[str, Any] = {**subjects.get("revert", {}), **subjects.get("end", {})}
        if how == Exit():  # another part of the program has taken the status
            how = Exit(*facts.get("how", ()))
        dropped = self._put_back(told, killed="end" not in subjects)
        if "failed" in subjects:
            kind, reason = subjects["failed"]
            raise kind(f"the experiment could not begin: {reason}")
        if facts.get("to", self.snapshot.index) < self.snapshot.index:
            _pass_on(subjects["revert"], how)
        value, trouble = _value(facts)
        report = self._report(how, facts) + trouble
        if self.overlay is not None:
            self.overlay.sweep()
        if dropped:
            report += f"; {dropped} bytes of standard input that were read ahead belonged to it"
        if not self._options.supervised:
            say(report)
        age, changes = self.snapshot.age, facts.get("changes")
        return Experiment(self.snapshot, how, value, age, changes, self._limit, report)

    def _put_back(self, told: list[tuple[str, Any]], *, killed: bool) -> int:
        self.log.close()
        close(self.ear)
        self.offsets.put_back()
        dropped = streams.drop_read_ahead()
        if self.terminal is not None:
            self.terminal.put_back(reset=killed)
        self.guests.back(told)
        return dropped

    def _report(self, how: Exit, facts: dict[str, Any]) -> str:
        ended = "reverted" if "to" in facts and how.code == 0 else str(how)
        left = facts.get("survivors")
        if left is None:
            left = survivors.orphans_since(self.time)
        text = (
            f"snapshot: back at {self.snapshot} ({self.snapshot.where}); "
            f"the experiment {ended} after {duration(self.snapshot.age)}"
        )
        if self._limit is not None:
            limits = self._options.limits
            time_is_over = self._limit == "timeout"
            text += f": it {limits.out_of_time if time_is_over else limits.out_of_memory}"
        if changes := facts.get("changes"):
            text += f"; files rolled back: {changes.summary}"
        if written := self.written.described():
            text += f"; not put back: written to {written}"
        if used := self.sockets.used():
            text += f"; used: {used}"
        if left:
            text += "; still running: " + ", ".join(f"{pid} {name}" for pid, name in left)
        return text


def _failure(error: BaseException) -> tuple[type[SnapshotError], str]:
    if isinstance(error, SnapshotError):
        return type(error), str(error)
    return SnapshotError, f"{type(error).__name__}: {error}"


def _pass_on(facts: dict[str, Any], how: Exit) -> NoReturn:
    """The experiment goes further back than to us, so our own ends too."""
    moment: Moment = line.here.moments[-1]
    moment.tell_revert(facts)
    ending.end(how)
    raise AssertionError("unreachable")


def _value(facts: dict[str, Any]) -> tuple[Any, str]:
    """What `revert(value=…)` sent, and what is to be said if it did not arrive."""
    if "value" not in facts:
        return None, ""
    try:
        return pickling.load(*facts["value"]), ""
    except NotPicklable as error:
        return None, f"; its value is lost: {error}"
    except BaseException as error:  # raised by the code that a pickle may run
        return None, f"; its value is lost: unpickling it raised {type(error).__name__}"
