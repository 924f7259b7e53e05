"""The program under the debugger: run, stopped, and gone back in.

    clock ── each event that matters ──> Engine ──┬── the prompt, if it is to stop here
                                                  ├── a state, now and then
                                                  └── on the way to a moment: whether it is reached

All this is done by the process in which the program runs: by the first one, and by every copy of a
state, on its way to a moment (a visitor) or in search of one (on an errand).
"""

from __future__ import annotations

import atexit
import signal
import sys
import threading
import traceback
from bdb import BdbQuit
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple, NoReturn, Protocol

from snapshot.core import line, process
from snapshot.core.line import Place
from snapshot.core.process import Exit
from snapshot.core.timeline.member import Member
from snapshot.debugger.clock import NEVER
from snapshot.debugger.own import Own
from snapshot.debugger.searching import Passing, Search
from snapshot.debugger.travel import Traveller
from snapshot.errors import DebuggerError, TimelineError

__all__ = ["Engine", "Event", "ProgramClock", "Prompt", "Wanted"]

if sys.version_info >= (3, 12):
    from snapshot.debugger.monitoring import MonitoringClock as ProgramClock
else:
    from snapshot.debugger.tracing import TracingClock as ProgramClock

_MILESTONE = 1024  # events between two places that a repeat has to come by


class Event(NamedTuple):
    """What happens in the program; see `clock.Handler`."""

    time: int
    kind: str
    frame: FrameType
    argument: Any = None

    def __str__(self) -> str:
        place = str(Place.at(self.frame, self.frame.f_lineno))
        return place if self.kind == "line" else f"{place} ({self.kind})"


class Wanted(NamedTuple):
    """Which events the prompt wants to see next: all, or those on the lines, and in the code."""

    all: bool
    lines: frozenset[int]
    codes: frozenset[CodeType]


class Prompt(Protocol):
    """Who decides where to stop, and is asked there."""

    quitting: bool
    changed: bool

    def begin(self, bottom: FrameType | None) -> None:
        """The program begins; what has called it is none of its own."""

    def wanted(self) -> Wanted: ...

    def stops(self, event: Event) -> bool: ...

    def show(self, event: Event) -> None:
        """Ask what to do next at an event."""

    def show_end(self, moment: int, error: BaseException | None) -> None:
        """The same when the program has ended."""

    def plan(self, here: FrameType) -> Any:
        """The step that is under way, for another process at the same event; None if there is
        none that it could follow."""

    def drop(self) -> None:
        """No step is under way, and no frame is held for one."""

    def carry(self) -> bytes:
        """What goes along to another moment."""

    def take(self, carried: bytes) -> None: ...

    def search(self, news: Any, event: Event) -> Search:
        """The search that a copy of a state was sent for."""

    def tell(self, text: str) -> None: ...

    def interrupt(self) -> None:
        """Stop at the next event."""

    def lose(self, problem: OSError) -> None:
        """Quit, as what is to be shown cannot be written, or nothing can be read."""


class Engine:
    """See above.

    moment: where the prompt is, or was last. event: that at which it is; None at the end. error:
    by which the program was ended, if it was. halts: when the program itself has asked for a stop.
    """

    def __init__(self, member: Member, own: Own, prompt: Prompt) -> None:
        self._prompt = prompt
        self._clock = ProgramClock(own, self._event)
        self.traveller = Traveller(member, self._clock.now, self._differs)
        self._world = self.traveller.world
        self._world.accompanied = self._accompanied
        self._searching: Search | None = None
        self._until = 0  # the time at which the search ends, or begins
        self._approaches = False
        self._next_look = 1
        self._interrupts = False  # whether the program is to stop at the next event, by Ctrl-C
        self._attached = False
        self._entered = False
        self._ticks = False
        self._begun = False
        self._asked = False
        self._before: Any = None  # what was done at Ctrl-C
        self._last_exception = _latest_exception()
        self.moment = 0
        self.event: Event | None = None
        self.error: BaseException | None = None
        self.halts: list[int] = []

    def run(self, run: Callable[[], BaseException | None]) -> BaseException | None:
        """Run a program; returns what it was ended by, as `run` has returned it."""
        self._enter()
        self._start(None)
        try:
            error = run()
        finally:
            if self.is_here():
                self._leave()
        if self.is_here():
            self._close(error)
        return error

    def is_here(self) -> bool:
        """Whether this process is the debugger's, and not a fork that the program made."""
        self._world.aside = True
        return self.traveller.is_here()

    def attach(self, event: Event | None, frame: FrameType | None = None) -> None:
        """Watch the program that runs, to its end; ask at an event that happens now.

        frame: where it is, if there is no such event but the next one is one of the program's.
        """
        self._enter()
        self._close_at_exit()
        self._attached = True
        if event is not None:
            frame = event.frame
        if frame is not None:
            self._begun = True
            self._prompt.begin(None)
        if event is not None:
            self._event(event.kind, event.frame, event.argument)
        self._start(frame)

    def halt(self) -> None:
        """Stop at the next event, if this is no way to another moment."""
        self.halts.append(self._clock.now() + 1)
        if self._searching is None and self.traveller.target is None:
            self._prompt.interrupt()
            self._clock.aim(0, frozenset(), ())

    def _enter(self) -> None:
        self._entered = True
        self._aim(0)
        if threading.active_count() > 1:
            self._clock.tell_threads_apart()
        self._world.enter()
        self._world.remember(self.traveller.branch)
        self._before = signal.signal(signal.SIGINT, self._interrupted)

    def _start(self, frame: FrameType | None) -> None:
        self._world.aside = True
        self._clock.start(frame)
        self._ticks = True
        self._world.aside = False

    def _leave(self) -> None:
        self._world.aside = True
        if not self._entered:  # the prompt at the end has ended this process
            return
        self._entered = False
        if self._ticks:  # else something has ended this process at its first prompt
            self._clock.stop()
        self._world.leave()
        signal.signal(signal.SIGINT, self._before)

    def _close(self, error: BaseException | None) -> None:
        if not self._prompt.quitting:
            self._end(error)
        self.traveller.bye()

    def _close_at_exit(self) -> None:
        """Handlers run last in, first out: this one before those that end a copy of a state."""
        atexit.unregister(self._exit)
        atexit.register(self._exit)

    def _exit(self) -> None:
        if self.is_here():
            self._leave()
            error = _latest_exception()
            self._close(None if error is self._last_exception else error)

    def raised(self, frame: FrameType, error: BaseException) -> int | None:
        """See `clock.Clock`."""
        return self._clock.raised(frame, error)

    def _accompanied(self, thread: str) -> None:
        """The program is about to start another thread."""
        self._clock.tell_threads_apart()
        self.traveller.accompanied(thread)

    def _event(self, kind: str, frame: FrameType, argument: Any) -> None:
        """The clock has come to an event that `_aim` has asked for."""
        woken = False
        if self._searching is not None:
            woken = self._search_on(kind, frame)
            if not woken:
                return
        self._world.aside = True
        if not self.traveller.is_here():
            self._clock.stop()  # a fork that the program has made is on its own
            return
        try:
            event = self.event = Event(self._clock.now(), kind, frame, argument)
            if woken:
                self._wake(event)
            else:
                self._come_to(event)
            if self._searching is None:
                self._aim(event.time)
        except OSError as problem:
            self._lose(problem)
            raise BdbQuit(problem) from None
        except BdbQuit as end:
            raise end.with_traceback(None)  # noqa: B904 (what is ours is of no interest)
        finally:
            self.event = None  # it would keep the frame alive, and what is in it
            self._world.aside = False

    def _come_to(self, event: Event) -> None:
        if not self._begun:
            self._begun = True
            self._prompt.begin(event.frame.f_back)
        if event.time % _MILESTONE == 0:
            self._world.milestone(str(event))
        self._interrupts = False
        self._see(event)

    def _see(self, event: Event) -> None:
        traveller = self.traveller
        if traveller.target is not None:
            if event.time >= traveller.target:
                self._arrive(event)
        elif traveller.visiting and event.time >= traveller.known.tip:
            self._reach_the_tip(event)
        elif traveller.visiting and (company := traveller.company(event.time, event.time + 1)):
            traveller.unmute()
            self._prompt.tell(f"{company}, and cannot be repeated")
            self._stop(event)
        elif self._prompt.stops(event):
            self._stop(event)
        if event.time >= self._next_look and self._asked:  # the first state is that of a stop
            self._next_look = traveller.look_at(event.time)
            if traveller.is_due():
                self._freeze(event, prompted=False)

    def _aim(self, now: int) -> None:
        """Ask the clock for what matters next."""
        time = self._next_time(now)
        if self.traveller.target is not None:
            self._clock.aim(min(time, self.traveller.target), frozenset(), ())
            return
        if self.traveller.visiting:
            time = min(time, self.traveller.known.tip)
            if company := self.traveller.company(now, time):
                time = company.begin
        wanted = self._prompt.wanted()
        self._clock.aim(now + 1 if wanted.all else time, wanted.lines, wanted.codes)

    def _next_time(self, now: int) -> int:
        """When there is something to do in any case."""
        return min(now - now % _MILESTONE + _MILESTONE, self._next_look)

    # Here.

    def _stop(self, event: Event) -> None:
        """Make a state of this moment, and ask."""
        self._compare(event)
        self.traveller.unmute()
        if not self._freeze(event, prompted=True):
            self._show(event)

    def _freeze(self, event: Event, *, prompted: bool) -> bool:
        """Make a state; True in a copy that has woken here, when it has seen to that."""
        if not self.traveller.freeze(event.time, str(event), prompted=prompted):
            return False
        self._wake(event)
        return True

    def _show(self, event: Event) -> None:
        traveller = self.traveller
        traveller.unmute()
        traveller.tell_where(event.time)
        traveller.asks(event.time, str(event))
        self.moment, self._asked = event.time, True
        try:
            with _Keyboard():
                self._ask(event)
        except BaseException:  # of whoever has made a debugger of this one, such as pytest
            if self._prompt.quitting:
                self._part()
            raise
        if self._prompt.quitting:
            self._quit()
        traveller.begun(str(event), self._prompt.carry())
        if self._prompt.changed:
            self._branch_off(event)
        elif traveller.visiting:
            if event.time >= traveller.known.tip:
                traveller.settle(event.time)
            else:
                traveller.mute()

    def _ask(self, event: Event) -> None:
        """Until it is known how to go on from an event."""
        while True:
            self._prompt.show(event)
            if self._prompt.quitting or self._prompt.changed or not self.traveller.visiting:
                return
            company = self.traveller.company(event.time, event.time + 1)
            if company is None:
                return
            self._prompt.tell(f"*** {company}, and cannot be repeated")

    def _quit(self) -> NoReturn:
        self._part()
        raise BdbQuit

    def _lose(self, problem: OSError) -> None:
        self._prompt.lose(problem)
        self._part()

    def _part(self) -> None:
        """Nothing is asked any more; a visitor ends."""
        self._clock.aim(NEVER, frozenset(), ())
        self.traveller.bye()
        if self.traveller.visiting:
            process.exit_now(Exit(code=0))

    def _branch_off(self, event: Event) -> None:
        """What the prompt has changed makes another past, from here on."""
        self._prompt.changed = False
        if self.traveller.visiting and self.traveller.missing:
            self._prompt.tell(self.traveller.missing)
        self.traveller.begin_branch(event.time)
        self._prompt.tell(f"branch {self.traveller.branch} begins at {event.time}")
        self._freeze(event, prompted=False)

    def _end(self, error: BaseException | None) -> None:
        """The program has ended; what it has done can still be gone back to."""
        self.moment = self._clock.now() + 1
        traveller = self.traveller
        awaited = self._until if traveller.errand is not None else traveller.target
        if awaited is not None:
            self._differs(f"it was on its way at {awaited}", f"{_told_end(error)} at {self.moment}")
        if traveller.visiting and traveller.target is None and traveller.known.process is not None:
            traveller.go(traveller.branch, traveller.known.tip, carried=self._prompt.carry())
        how = "ended" if error is None else f"was ended by {type(error).__name__}"
        self.event, self.error = None, error
        if traveller.freeze(self.moment, f"the program {how}", prompted=True):
            if "carried" in traveller.news:
                self._prompt.take(traveller.news["carried"])
            traveller.target = None
            if traveller.died is not None:
                traveller.unmute()
                self._tell_of_death(self.moment)
        traveller.unmute()
        traveller.tell_where(self.moment, ended=how)
        traveller.asks(self.moment, f"the program {how}")
        try:
            with _Keyboard():
                self._prompt.show_end(self.moment, error)
        except OSError as problem:
            self._lose(problem)
        except BaseException:  # see `_show`
            if not self._prompt.quitting:
                raise
        if traveller.visiting:
            self._quit()

    # In a copy of a state.

    def _wake(self, event: Event) -> None:
        """It is to stand here, or to go on to another moment."""
        self._prompt.drop()  # the step that has come here: its frames would live on
        traveller = self.traveller
        if traveller.chronicle.is_kept():
            line.here.leave()
        if self._attached:
            for moment in line.here.moments[-1:]:
                moment.go_on_in_fork()
            self._close_at_exit()
        if traveller.errand is not None:
            self._begin_search(event)
            return
        self._next_look = event.time + 1
        if traveller.died is not None:
            traveller.unmute()
            if told := traveller.chronicle.told:
                self._prompt.take(told)
            if traveller.takes_the_place_of_a_visitor():
                self._tell_of_death(event.time)
                self._stop(event)
                return
            last = traveller.recover(event.time)
            if last == event.time:
                self._prompt.tell(f"The program {traveller.died}, after position {last}.")
                self._stop(event)
                return
            traveller.stand_before_the_end(last, self._prompt.carry())
        self._prompt.take(traveller.news["carried"])
        if traveller.target in (None, event.time):  # None: somebody has given up, and is back
            self._arrive(event)
        else:
            signal.signal(signal.SIGINT, self._interrupted)
            traveller.mute()

    def _tell_of_death(self, moment: int) -> None:
        """Of a process whose end is not the program's."""
        died, self.traveller.died = self.traveller.died, None
        self._prompt.tell(f"What went on from position {moment} {died}; this is that moment again.")

    def _arrive(self, event: Event) -> None:
        self.traveller.target = None
        self.traveller.unmute()
        news = self.traveller.news
        failed = f"*** {news['failed']}" if "failed" in news else None
        accompanied = self.traveller.company(event.time, event.time + 1)
        for told in (failed, news.get("told"), accompanied and self.traveller.missing):
            if told:
                self._prompt.tell(told)
        self._stop(event)

    def _reach_the_tip(self, event: Event) -> None:
        """All that was known has been repeated: what comes is done by the process at the tip."""
        self._compare(event)
        traveller, stops = self.traveller, self._prompt.stops(event)
        plan = None if stops else self._prompt.plan(event.frame)
        if traveller.known.process is not None:
            carried = self._prompt.carry()
            traveller.go(traveller.branch, event.time, carried=carried, plan=plan)
        traveller.unmute()
        traveller.settle(event.time)
        if stops:
            self._stop(event)

    def _begin_search(self, event: Event) -> None:
        """Search from here on, or from a later event: up to that one, events are counted alone."""
        news = self.traveller.news
        self._approaches = event.time < news.get("start", 0)
        self._until = news["start"] if self._approaches else news["time"]
        if self._approaches:
            self._searching = Passing()
        else:
            self._searching = self._prompt.search(news, event)
            self._searching.seen(event.kind, event.frame, event.time)
        self._aim_search(event.time)

    def _search_on(self, kind: str, frame: FrameType) -> bool:
        """An event on the way of a search; there are many, and this is all that is done at one.

        True in a copy that has woken at the state which was left there.
        """
        search, now = self._searching, self._clock.now()
        assert search is not None
        if now < self._until and now % _MILESTONE:
            search.seen(kind, frame, now)
            return False
        self._world.aside = True
        if now % _MILESTONE == 0:
            self._world.milestone(str(Event(now, kind, frame)))
        if now < self._until:
            search.seen(kind, frame, now)
            self._aim_search(now)
        elif self._approaches:
            event = Event(now, kind, frame)
            if self.traveller.news["leaves"] and self.traveller.leave(now, str(event)):
                self._searching = None
                return True
            self._begin_search(event)
        else:
            if kind == "call":
                search.seen(kind, frame, now)  # or a frame that begins here would not be known
            self._compare(Event(now, kind, frame))
            self.traveller.finish(search.end(frame, now))
        self._world.aside = False
        return False

    def _aim_search(self, now: int) -> None:
        assert self._searching is not None
        time = min(self._until, now - now % _MILESTONE + _MILESTONE)
        lines = self._searching.lines
        self._clock.aim(0 if lines is None else time, lines or frozenset(), ())

    def _compare(self, event: Event) -> None:
        """In a repeat: see whether the program is where it was, if that is known."""
        place = self.traveller.place(event.time) if self.traveller.visiting else None
        if place not in (None, str(event)):
            self._differs(f"{place} at {event.time}", f"{event} at {event.time}")

    def _differs(self, then: str, now: str) -> NoReturn:
        self._world.aside = True
        told = f"the program takes another path when it is repeated: {then} then, {now} now"
        traveller = self.traveller
        if traveller.errand is not None:
            traveller.fail(told)
        if traveller.visiting:
            traveller.give_up(told, self._prompt.carry())
        raise DebuggerError(told)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        """Ctrl-C, while the program runs, or is repeated: stop; on the way to a moment, go back."""
        if self._is_on_its_way():
            self._world.aside = True
            try:
                self.traveller.give_up("interrupted", self._prompt.carry())
            except TimelineError:  # there is nowhere to go back to: stop here
                self._world.aside = False
                self.traveller.target = None
        if self._interrupts and not self.traveller.visiting:
            self._interrupts = False
            raise KeyboardInterrupt  # asked again, and the program has come to no event since
        self._interrupts = True
        self._prompt.interrupt()
        self._clock.aim(0, frozenset(), ())

    def _is_on_its_way(self) -> bool:
        """To a moment, and nobody is asked before."""
        return self.traveller.target is not None


def _told_end(error: BaseException | None) -> str:
    """How a program has ended."""
    if error is None:
        return "it ended"
    told = traceback.format_exception_only(error)[-1]
    return f"it was ended by {told.strip().partition(chr(10))[0]}"


def _latest_exception() -> BaseException | None:
    """The last one that nobody caught, and Python has shown."""
    latest: BaseException | None = getattr(sys, "last_value", None)
    return latest


class _Keyboard:
    """From a stop to the prompt, Ctrl-C has nothing more to stop: the prompt makes a
    KeyboardInterrupt of it where a command is waited for, or carried out, or a value shown."""

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, lambda *_: None)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)
