"""A process of the timeline: it freezes a copy of itself, travels, asks other states.

freeze()  ── fork ──┬── this process goes on
                    └── the copy waits ──┬── woken: a copy of it returns from freeze(), live
                                         └── asked: a copy of it answers, and ends

travel()      this process waits at the tip of its branch, until somebody comes back to it
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

from snapshot.core import ending, hosts, inside, process, threads
from snapshot.core.descriptors import OURS
from snapshot.core.messages import say
from snapshot.core.process import Exit
from snapshot.core.signals import Waiting, pthread_sigmask
from snapshot.core.timeline import asking
from snapshot.core.timeline.asking import About
from snapshot.core.timeline.channel import Channel, close_all, duplicate, high
from snapshot.core.timeline.copies import Copy, entered
from snapshot.errors import CannotFork, TimelineError

_EVERY = sorted({int(number) for number in signal.valid_signals()})
_STOPPING = {int(signal.SIGTTIN), int(signal.SIGTTOU)}
_KEYS = {int(signal.SIGINT), int(signal.SIGQUIT), int(signal.SIGTSTP)}


class Errand(NamedTuple):
    """What a copy of a state is to find out by going on from there; nothing of it lasts.

    details: as they were given to `Member.send`. file: where the answer goes.
    """

    details: Mapping[str, Any]
    file: int

    def finish(self, value: Any) -> NoReturn:
        """Answer, and end."""
        asking.reply("errand", lambda: value, self.file)


class Landing(NamedTuple):
    """What a process learns that goes on where it was frozen, or waited.

    number: of the next cell. at: the state where it is. branch: which it is on.
    brought: what the process that was left has sent along. died: the process whose place it takes,
    what became of it, in words, and how it ended. busy: whether futures run. errand: what it is to
    find out, if it is a copy that does nothing else. missing: what a copy has not, that was there;
    as text.
    """

    number: int
    at: int
    branch: int
    brought: Mapping[str, Any] = MappingProxyType({})
    died: tuple[int, str, Exit] | None = None
    busy: bool = False
    errand: Errand | None = None
    missing: str = ""


class Member:
    """This process's part in the timeline.

    number: of the cell that is typed or runs now. at: the last state on the way to here.
    branch: the one that this process is on. about: the cell of the state where it was woken.
    pid: the process that this speaks for. busy: whether futures may run. quiet: whether who uses
    this says itself where a copy has woken, and why. flushes: whether what is buffered is written
    before a state is made. guards: whether a copy parts from what belongs to the original as soon
    as it wakes, and not only when `guard` is called.
    """

    about = About()
    quiet = False
    flushes = True
    guards = True
    _woke_as: Copy | None = None
    _is_away = False  # on an errand

    def __init__(self, channel: Channel, number: int = 0) -> None:
        self._channel = channel
        self._requests = 0
        self._news = False
        self._parting = False  # the copy that was made last is not frozen yet
        self._group = os.getpgrp()
        self.pid = os.getpid()
        self.number = self.at = number
        self.branch = 1
        self.busy = False

    # What is asked of the supervisor.

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._channel.fileno()

    def tell(self, verb: str, **facts: Any) -> None:
        """Without an answer. Whether anybody listens is found out by the next request."""
        with contextlib.suppress(OSError):
            self._channel.send((0, verb, facts))

    def request(self, verb: str, descriptors: tuple[int, ...] = (), **facts: Any) -> Any:
        """Ask the supervisor, which answers at once. Raises the error that it answers with."""
        mask = pthread_sigmask(signal.SIG_BLOCK, _EVERY)
        try:
            number = self._send(verb, descriptors, facts)
            while True:
                answered, content = self._receive(number)
                if answered:
                    return content
        finally:
            pthread_sigmask(signal.SIG_SETMASK, mask)

    def wait(self, verb: str, timeout: float | None, **facts: Any) -> Any:
        """Ask what may be answered late; it can be interrupted. None when the time is over."""
        number = self._send(verb, (), facts)
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if process.wait_for_input(self._channel.fileno(), left):
                answered, content = self._receive(number)
                if answered:
                    return content
            elif left is not None and left <= 0:
                return None

    @property
    def has_news(self) -> bool:
        """Whether an answer to another request came after the message that there is news."""
        return self._news

    def news(self) -> list[Any]:
        """What has happened to futures since this was asked for: pairs, see the supervisor."""
        while process.wait_for_input(self._channel.fileno(), 0):
            self._receive(0)
        if not self._news:
            return []
        self._news = False
        found: list[Any] = self.request("news")
        return found

    def _send(self, verb: str, descriptors: tuple[int, ...], facts: dict[str, Any]) -> int:
        self._requests += 1
        try:
            self._channel.send((self._requests, verb, facts), descriptors)
        except OSError as error:
            raise _alone(error.strerror) from None
        return self._requests

    def _receive(self, number: int) -> tuple[bool, Any]:
        """Take a message: whether it answers that request, and what. News is laid by."""
        try:
            message = self._channel.receive()
        except OSError as error:
            raise _alone(error.strerror) from None
        if message is None:
            raise _alone("it has ended")
        kind, answered, content = message[0]
        if kind == "news":
            self._news = True
            return False, None
        if kind == "ready":
            self._parting = False
            return False, None
        if kind == "error" and answered == number:
            raise content
        return answered == number, content

    # What becomes of this process.

    def begun(self, source: str) -> None:
        """A cell is about to run."""
        with contextlib.suppress(TimelineError):  # which the cell's end will find out
            self._let_it_part()
        self.tell("begun", cell=self.number, line=_first_line(source))

    def passed(self) -> None:
        """The cell has ended, and leaves no state."""
        self._note(self.request("passed"))

    def freeze(self, about: About, began: float) -> Landing | None:
        """After a cell: make a state of this process as it is.

        began: when the cell began. Returns None; in a copy that is woken, later and as often as
        somebody goes there, or sends one on an errand, a `Landing`. Where the system refuses to
        fork there is no state, which is said in a line.
        """
        self._let_it_part()
        failed = about.error is not None
        facts = {
            "cell": self.number,
            "line": _first_line(about.source),
            "began": began,
            "failed": failed,
        }
        with _Fork(self, may_rest=True) as fork:
            if fork.pid == 0:
                return self._stay(fork.parted, about, fork.mask, rested=fork.rests)
            if fork.problem is not None:
                say(f"snapshot: there will be no state of this cell: {fork.problem}")
            sent = (fork.far.fileno(),) if fork.pid else ()
            self._parting = fork.pid is not None and not fork.rests
            facts |= {"pid": fork.pid, "parting": self._parting}
            self._note(self.request("froze", sent, **facts))
            if fork.others_run:
                self._let_it_part()
        return None

    def _let_it_part(self) -> None:
        """Wait until the copy that was made last has let go of what it must not share.

        While a prompt is drawn nothing of the program's runs, and this need not be waited for.
        """
        mask = pthread_sigmask(signal.SIG_BLOCK, _EVERY)
        try:
            while self._parting:
                self._receive(0)
        finally:
            pthread_sigmask(signal.SIG_SETMASK, mask)

    def guard(self) -> None:
        """See `guards`."""
        if self._woke_as is not None:
            self._woke_as.guard()

    def start(self, work: Callable[[], Any], source: str, ended: int) -> int | Landing:
        """Run something in a copy of this process, in the background: a future.

        ended: a descriptor that is closed there when it is done, and here in any case.
        Returns the number of its state; in a copy that is woken when it is done, a `Landing`.
        Raises `CannotFork`.
        """
        readable, writable = os.pipe()
        with _Fork(self) as fork:
            if fork.pid == 0:
                os.close(readable)
                return self._work(fork.parted(), work, source, (writable, ended), fork.mask)
            try:
                if fork.problem is not None:
                    raise fork.problem
                sent = (fork.far.fileno(), readable)
                facts = {"line": _first_line(source), "began": time.monotonic()}
                self.busy = True
                return int(self.request("started", sent, pid=fork.pid, **facts))
            finally:
                close_all((readable, writable, ended))

    def travel(self, **where: Any) -> Landing:
        """Let another process go on; this one waits here until somebody comes back to it.

        where: `state`, or `branch`; `drop`: whether this process ends if it has made no state,
        `forget`: whether it ends in any case; `brought`: more for the other one to know, with
        `quiet` it is woken without a word unless something is missing. Meanwhile no other thread
        of this process runs Python code. Raises `UnknownState` or `TimelineError`; then nobody
        went anywhere. Raises `SystemExit` where this process is to end.
        """
        brought = {**where.pop("brought", {}), **hosts.handed_over()}
        where["brought"] = pickle.dumps(brought)  # not for the supervisor to understand
        answered, number = False, 0
        while not answered:
            waiting = Waiting()  # before anything is sent: Ctrl-C must not leave two processes live
            try:
                number = number or self._send("travel", (), where)
                answered, content = self._receive_as_tip(number, waiting)
            finally:
                waiting.finish()
        if content is None:
            raise SystemExit(0)
        landing = self._note(content)
        hosts.take(landing.brought)
        return landing

    def _receive_as_tip(self, number: int, waiting: Waiting) -> tuple[bool, Any]:
        """Until there is a message, or a signal that would end this process; that takes its course.

        What comes from the terminal goes by, as it is meant for the process that is live.
        """
        mask = waiting.mask()
        while not waiting.arrived():
            if process.wait_for_input(self._channel.fileno(), None, hold_gil=True, mask=mask):
                return self._receive(number)
        return False, None

    def send(self, state: int | str, **details: Any) -> Any:
        """Let a copy of a state go on, as `freeze` returns there; what it answers.

        Raises as `ask`.
        """
        return self.ask(state, "errand", **details)

    def ask(self, state: int | str, question: str, **details: Any) -> Any:
        """Ask a state; see `asking`. Raises what it answers with, `UnknownState`, `TimelineError`.

        It can be interrupted; then nobody works on the answer any longer.
        """
        file = os.memfd_create("snapshot-answer")
        done, writable = os.pipe()
        try:
            facts = {"state": state, "question": question, "details": details}
            try:
                pid = self.request("ask", (file, writable), **facts)
            finally:
                os.close(writable)
            try:
                while not process.wait_for_input(done, None):
                    continue
            except BaseException:
                self.tell("never_mind", pid=pid)
                raise
            found = asking.outcome(question, pid, file)
        finally:
            close_all((file, done))
        if found is None:
            raise TimelineError(f"state {state!r} was asked for its {question}, and died of it")
        value, error = found
        if error is not None:
            raise error
        return value

    # In copies.

    def _stay(
        self, part: Callable[[], Copy], about: About, mask: set[int], *, rested: bool = False
    ) -> Landing:
        """Be frozen, until this process is ended; returns in copies that are woken.

        rested: whether there was nothing to do before, and nobody waits to hear that it is done.
        """
        self.about = about
        landing: Landing | None = None
        try:
            copy = part()
            copy.freeze()
            if not rested:
                self._channel.send((0, "ready", {}))
            while landing is None:
                landing = self._told(copy, mask)
        except OSError:  # the supervisor is gone
            process.exit_now(Exit(code=1))
        except BaseException:  # a fault of our own: this must not go on as if it were live
            traceback.print_exc()
            process.exit_now(Exit(code=1))
        return landing

    def _told(self, copy: Copy, mask: set[int]) -> Landing | None:
        """While frozen: do what the supervisor says."""
        message = self._channel.receive()
        if message is None:
            process.exit_now(Exit(code=0))
        (verb, facts), descriptors = message
        if verb == "wake":
            return self._woken(copy, facts, mask)
        return self._answer(copy, mask, descriptors, **facts)

    def _woken(self, copy: Copy, facts: dict[str, Any], mask: set[int]) -> Landing | None:
        near, far = Channel.pair()
        try:
            pid = process.fork_sibling(quiet=True)
            if pid:
                self._channel.send((0, "cloned", {"pid": pid}), (far.fileno(),))
        except CannotFork as error:
            pid = -1
            self._channel.send((0, "failed", {"reason": str(error)}))
        far.close()
        if pid:
            near.close()
            return None
        self._channel.close()
        self._channel, self._news, self.pid = near, False, os.getpid()
        with contextlib.suppress(OSError):
            os.setpgid(0, self._group)  # a future had one of its own
        self._woke_as = copy
        missing = copy.wake()
        landing = self._note(facts)._replace(missing=missing)
        if landing.died is not None:
            copy.succeed(landing.died[0])
        hosts.take(landing.brought)
        pthread_sigmask(signal.SIG_SETMASK, mask - _STOPPING)
        because = f"{landing.died[1]}: back " if landing.died is not None else ""
        if not self.quiet and (because or missing or not landing.brought.get("quiet")):
            say(
                f"snapshot: {because}at state {landing.at}, in process {os.getpid()}"
                + (f"; {missing}" if missing else "")
            )
        entered()
        return landing

    def _answer(
        self,
        copy: Copy,
        mask: set[int],
        descriptors: list[int],
        question: str,
        details: dict[str, Any],
    ) -> Landing | None:
        file, ended = descriptors  # the second one is closed when the answer is complete
        try:
            pid = process.fork_sibling(quiet=True)
        except CannotFork as error:
            self._channel.send((0, "failed", {"reason": str(error)}))
        else:
            if pid == 0:
                self._part()
                if question == "errand":
                    high(ended)  # which is closed as this process ends
                    return self._go_on(copy, mask, Errand(details, high(file)))
                asking.answer(question, details, self.about, file)  # it does not return
            self._channel.send((0, "asked", {"pid": pid}))
        finally:
            if not self._is_away:
                close_all(descriptors)
        return None

    def _go_on(self, copy: Copy, mask: set[int], errand: Errand) -> Landing:
        """Be somebody that nobody sees or hears, and whom the terminal's keys do not reach."""
        self._is_away = True
        self.pid = os.getpid()
        asking.hush()
        copy.wake()
        hosts.take({})
        pthread_sigmask(signal.SIG_SETMASK, (mask - _STOPPING) | _KEYS)
        return Landing(self.number, self.at, self.branch, errand=errand)

    def _part(self) -> None:
        """From now on nobody listens: what is said would be taken for the words of another."""
        self._channel.close()
        self._channel, far = Channel.pair()
        far.close()

    def _work(
        self,
        copy: Copy,
        work: Callable[[], Any],
        source: str,
        pipes: tuple[int, int],
        mask: set[int],
    ) -> Landing:
        """Run a future, and be frozen when it is done."""
        output, ended = pipes
        OURS.add(ended)
        pid = os.getpid()
        try:
            with contextlib.suppress(OSError):
                os.setpgid(0, 0)
            terminal = [duplicate(fd) for fd in (0, 1, 2)]
            nothing = os.open(os.devnull, os.O_RDONLY)
            for fd, number in ((nothing, 0), (output, 1), (output, 2)):
                os.dup2(fd, number)
            close_all((nothing, output))
            copy.work()
            pthread_sigmask(signal.SIG_SETMASK, mask | _STOPPING)
            entered()
            value, error = inside.attempt(work)
            if os.getpid() != pid:
                ending.end(Exit(code=0))  # a fork that the work itself has made
            if isinstance(error, SystemExit):
                ending.end(Exit(code=inside.exit_code(error)))
            pthread_sigmask(signal.SIG_BLOCK, _EVERY)
            last = Copy()
            for number, fd in enumerate(terminal):
                os.dup2(fd, number)
            close_all((*terminal, ended))
            OURS.discard(ended)
            self.tell("done", failed=error is not None)
        except BaseException as problem:
            print(f"snapshot: this future ended: {problem}", file=sys.stderr, flush=True)
            process.exit_now(Exit(code=1))
        return self._stay(lambda: last, About(source, value, error), mask)

    def _note(self, facts: dict[str, Any]) -> Landing:
        told, brought = facts.pop("told", ()), facts.pop("brought", b"")
        landing = Landing(**facts, brought=pickle.loads(brought) if brought else {})
        self.number, self.at, self.branch = landing[:3]
        self.busy = landing.busy
        for text in () if self.quiet else told:
            say(text)
        return landing


class _Fork:
    """A fork of a process of the timeline, signals held back: in it, and in its copy.

    pid: of the copy, 0 there, None where there is none: then `problem` says why.
    rests: whether the copy does nothing before it is told to, since it shares nothing. `may_rest`:
    whether it may.
    """

    def __init__(self, member: Member, *, may_rest: bool = False) -> None:
        self._member = member
        self._may_rest = may_rest
        self.pid: int | None = None
        self.problem: CannotFork | None = None
        self.mask = pthread_sigmask(signal.SIG_BLOCK, _EVERY)

    def __enter__(self) -> _Fork:
        self._copy: Copy | None = None
        try:
            self._copy = Copy(flush=self._member.flushes, guard=self._member.guards)
            self.near, self.far = Channel.pair()
            self.rests = self._may_rest and not self._copy.shares
            leaving = (self.far.fileno(), self._member.fileno())
            rest = process.Rest((self.near.fileno(),), leaving) if self.rests else None
            self.pid = process.fork_sibling(quiet=threads.quiet(), rest=rest)
        except CannotFork as error:
            self.problem = error
        except OSError as error:
            self.problem = CannotFork(f"cannot fork: {process.why_not(error)}")
        except BaseException:
            self._undo()
            raise
        if self.pid:
            self.near.close()
        return self

    @property
    def others_run(self) -> bool:
        """Whether something of the program's may run between its cells."""
        return self._copy is None or self._copy.others_run

    def parted(self) -> Copy:
        """In the copy: from now on it speaks for itself."""
        assert self._copy is not None
        copy, self._copy = self._copy, None
        self.far.close()
        self._member._channel.close()
        self._member._channel, self._member._news = self.near, False
        self._member.pid = os.getpid()
        return copy

    def __exit__(self, *_: object) -> None:
        if self.pid != 0:
            self._undo()

    def _undo(self) -> None:
        for channel in (getattr(self, "near", None), getattr(self, "far", None)):
            if channel is not None:
                channel.close()
        if self._copy is not None:
            self._copy.go_on()
        pthread_sigmask(signal.SIG_SETMASK, self.mask)


def _alone(reason: str | None) -> TimelineError:
    return TimelineError(f"the supervisor of the timeline cannot be reached: {reason}")


def _first_line(source: str) -> str:
    first = source.strip().partition("\n")[0]
    return first if len(first) <= 200 else first[:199] + "…"
