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

from snapshot.core import ending, hosts, inside, line, process, threads
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


class Errand:
    """What a copy of a state is to find out by going on from there.

    Nothing of it lasts but the state that it may have left on its way, see `Member.leave`.
    details: as they were given to `Member.send`.
    """

    def __init__(self, details: Mapping[str, Any], file: int, asker: int, mask: set[int]) -> None:
        """file: where the answer goes. asker: the end of a channel to who has asked. Both are taken
        over. mask: the signals that are blocked where a state goes on."""
        self.details = details
        self.mask = mask
        self._file = high(file)
        self._asker = Channel(asker)
        self._left: tuple[Channel, tuple[Any, ...]] | None = None
        self._undo = line.here.dispose()

    def finish(self, value: Any, *, leaves: bool = True) -> NoReturn:
        """Answer, and end. leaves: whether the state that was made on the way is to be one."""
        if self._left is not None and leaves:
            channel, facts = self._left
            with contextlib.suppress(OSError):  # who has asked is gone
                self._asker.send(facts, (channel.fileno(),))
        asking.reply("errand", lambda: value, self._file, self._asker.fileno())

    def left(self, channel: Channel, *facts: Any) -> None:
        """A state was made; nobody else has that end of its channel, so it ends as this does."""
        self._left = channel, facts

    def descriptors(self) -> tuple[int, ...]:
        """What nobody else must hold."""
        return self._file, self._asker.fileno()

    def forget(self) -> None:
        """In a fork that is on no errand, and has closed those descriptors."""
        OURS.difference_update(self.descriptors())
        self._undo()


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

    def leave(self, errand: Errand, about: About, note: Any) -> Landing | None:
        """On an errand: make a state as `freeze` does, for whoever has sent this process.

        note: for them. Where the system refuses to fork there is no state.
        """
        with _Fork(self, may_rest=True, leaving=errand.descriptors()) as fork:
            if fork.pid == 0:
                errand.forget()
                self._is_away = False
                return self._stay(fork.parted, about, errand.mask, rested=fork.rests)
            # What it must not share it has let go of, when it says so.
            if fork.pid and (fork.rests or fork.far.receive() is not None):
                errand.left(fork.taken(), fork.pid, _first_line(about.source), note)
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

    def send(self, state: int, **details: Any) -> tuple[Any, tuple[int, Any] | None]:
        """Let a copy of a state go on, as `freeze` returns there; what it answers.

        Returns, too, the number of the state that it has left on its way, with its note, or None.
        Raises as `ask`.
        """
        value, left = self._ask(state, "errand", details)
        if left is None:
            return value, None
        (pid, label, note), descriptors = left
        try:
            facts = {"pid": pid, "parent": state, "line": label}
            number = self.request("adopt", tuple(descriptors), **facts)
        finally:
            close_all(descriptors)
        return value, None if number is None else (number, note)

    def ask(self, state: int | str, question: str, **details: Any) -> Any:
        """Ask a state; see `asking`. Raises what it answers with, `UnknownState`, `TimelineError`.

        It can be interrupted; then nobody works on the answer any longer.
        """
        return self._ask(state, question, details)[0]

    def _ask(
        self, state: int | str, question: str, details: Mapping[str, Any]
    ) -> tuple[Any, tuple[Any, list[int]] | None]:
        """Returns the answer, and what was said before it with the descriptors that came along."""
        file = os.memfd_create("snapshot-answer")
        near, far = Channel.pair()
        said: tuple[Any, list[int]] | None = None
        try:
            facts = {"state": state, "question": question, "details": details}
            try:
                pid = self.request("ask", (file, far.fileno()), **facts)
            finally:
                far.close()
            try:
                while (more := self._said(near)) is not None:
                    said = more
            except BaseException:
                self.tell("never_mind", pid=pid)
                raise
            found = asking.outcome(question, pid, file)
            if found is None:
                raise TimelineError(f"state {state!r} was asked for its {question}, and died of it")
            value, error = found
            if error is not None:
                raise error
        except BaseException:
            close_all(said[1] if said is not None else ())
            raise
        finally:
            os.close(file)
            near.close()
        return value, said

    def _said(self, channel: Channel) -> tuple[Any, list[int]] | None:
        """Wait for what comes next, in a way that can be interrupted."""
        while not process.wait_for_input(channel.fileno(), None):
            continue
        return channel.receive()

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
        file, ended = descriptors  # the other end sees when the answer is complete
        try:
            pid = process.fork_sibling(quiet=True)
        except CannotFork as error:
            self._channel.send((0, "failed", {"reason": str(error)}))
        else:
            if pid == 0:
                self._part()
                if question == "errand":
                    self._is_away = True
                    return self._go_on(copy, Errand(details, file, ended, mask))
                asking.answer(question, details, self.about, file, ended)  # it does not return
            self._channel.send((0, "asked", {"pid": pid}))
        finally:
            if not self._is_away:
                close_all(descriptors)
        return None

    def _go_on(self, copy: Copy, errand: Errand) -> Landing:
        """Be somebody whom the terminal's keys do not reach. Not to be seen or heard, either, is
        the affair of whoever has made the state."""
        self.pid = os.getpid()
        missing = copy.wake()
        hosts.take({})
        pthread_sigmask(signal.SIG_SETMASK, (errand.mask - _STOPPING) | _KEYS)
        return Landing(self.number, self.at, self.branch, errand=errand, missing=missing)

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
    whether it may. `leaving`: descriptors that it closes.
    """

    def __init__(
        self, member: Member, *, may_rest: bool = False, leaving: tuple[int, ...] = ()
    ) -> None:
        self._member = member
        self._may_rest = may_rest
        self._leaving = leaving
        self.pid: int | None = None
        self.problem: CannotFork | None = None
        self.mask = pthread_sigmask(signal.SIG_BLOCK, _EVERY)

    def __enter__(self) -> _Fork:
        self._copy: Copy | None = None
        try:
            self._copy = Copy(flush=self._member.flushes, guard=self._member.guards)
            self.near, self.far = Channel.pair()
            self.rests = self._may_rest and not self._copy.shares
            leaving = (self.far.fileno(), self._member.fileno(), *self._leaving)
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
        if not self.rests:  # else it has done so before it slept
            close_all(self._leaving)
        self._member._channel.close()
        self._member._channel, self._member._news = self.near, False
        self._member.pid = os.getpid()
        return copy

    def taken(self) -> Channel:
        """The end of the channel to the copy, for the caller to keep."""
        far = self.far
        del self.far
        return far

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
