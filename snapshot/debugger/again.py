"""A program that runs at its own speed, and once more when its past is wanted.

    remember   what the world gives it is remembered, and no event is counted
    again      a copy of its beginning runs it again, is given the same, and keeps the past

Meanwhile the process that has run it waits, where it has ended; who is asked there, and quits, is
back in it.
"""

from __future__ import annotations

import contextlib
import mmap
import signal
import struct
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from snapshot.core import process
from snapshot.core.line import duration
from snapshot.core.process import Exit
from snapshot.core.timeline.member import Member
from snapshot.debugger.engine import Engine, Event, Prompt
from snapshot.debugger.own import Own
from snapshot.errors import DebuggerError, TimelineError

# Signals by which a program is ended that does something wrong, and not because somebody wants it.
_CRASHES = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
}
_TIME = struct.Struct("=Q")
_UNCOUNTED = 0  # the branch of what the world gave while no event was counted


class Again(Engine):
    """An engine for that.

    ask: whether a program that was killed is to run again, to where it was.
    """

    def __init__(
        self, member: Member, own: Own, prompt: Prompt, ask: Callable[[str], bool]
    ) -> None:
        super().__init__(member, own, prompt)
        self._ask_whether = ask
        self._runs_again = self._is_unwanted = False
        self._began = self._took = 0.0
        self.traveller.home = member.branch
        self._killed: Exit | None = None
        # Of a program that is run again until it is killed: the time of its last event, for all.
        self._latest: mmap.mmap | None = None

    def remember(self, run: Callable[[], BaseException | None]) -> BaseException | None:
        """Run a program; returns what it was ended by, as `run` has returned it."""
        traveller, world = self.traveller, self._world
        world.enter(collects=False)
        world.remember(_UNCOUNTED)
        self._runs_again = True  # in the copy, from the first moment on
        before = signal.signal(signal.SIGINT, self._interrupted)
        if traveller.begin():
            self._before = before
            self._run_again(run)
        self._runs_again = False
        signal.signal(signal.SIGINT, before)
        self._began = time.monotonic()
        world.aside = False
        try:
            error = run()
        finally:
            world.aside = True
            world.leave()
            self._took = time.monotonic() - self._began
        return error

    def again(self, error: BaseException | None) -> None:
        """Run the program again, and ask at its end; returns when that is over.

        error: by which it was ended. Raises `DebuggerError` where it cannot be run again.
        """
        carried = self._prompt.carry()
        took = duration(self._took)
        self.traveller.go_to_beginning(ended=_told(error), carried=carried, took=took)
        if failed := self.traveller.news.get("failed"):
            raise DebuggerError(failed)

    def hindrance(self) -> str | None:
        """Why that cannot be done, as far as it is known before."""
        return self.traveller.hindrance()

    def close(self) -> None:
        """The program has ended, and its past is not wanted any more."""
        if self.traveller.is_here():
            self.traveller.bye()

    # In a copy of the beginning.

    def _run_again(self, run: Callable[[], BaseException | None]) -> NoReturn:
        traveller, world = self.traveller, self._world
        if traveller.died is not None:
            traveller.home, self._killed = None, traveller.died
            told = f"snapshot: the program {traveller.died}"
            if traveller.died.signal not in _CRASHES or not self._ask_whether(told):
                process.exit_now(traveller.died)
            self._latest = mmap.mmap(-1, _TIME.size)
        else:
            self._prompt.take(traveller.news["carried"])
            self._prompt.tell(
                "snapshot: the program runs again, for its past; it took "
                f"{traveller.news['took']}, Ctrl-C ends that"
            )
        traveller.mute()
        world.collects()
        world.follow(_UNCOUNTED, traveller.branch)
        self._aim(0)
        self._start(None)
        if self._is_unwanted:
            world.aside = True
            traveller.give_up("interrupted", self._prompt.carry())
        try:
            error = run()
        finally:
            self._leave()
        if self._runs_again:
            self._runs_again = False
            if self._killed is None and _told(error) != traveller.news["ended"]:
                then, now = traveller.news["ended"], _told(error)
                traveller.give_up(f"run again, the program ends otherwise: {now}, not {then}", b"")
            traveller.settle(self._clock.now())
        if traveller.is_here():
            self._end(error)
            self._part()
        process.exit_now(Exit(code=0))

    def _see(self, event: Event) -> None:
        if not self._runs_again:
            super()._see(event)
            return
        if self._latest is not None:
            _TIME.pack_into(self._latest, 0, event.time)
        if event.time >= self._next_look:
            self._next_look = self.traveller.look_at(event.time)
            if event.time == 1 or self.traveller.is_due():
                self._freeze(event, prompted=False)

    def _aim(self, now: int) -> None:
        if self._runs_again:
            time = self._next_time(now) if self._latest is None else now + 1
            self._clock.aim(time, frozenset(), ())
        else:
            super()._aim(now)

    def _wake(self, event: Event) -> None:
        if self._runs_again and self._latest is not None and self.traveller.died is not None:
            (last,) = _TIME.unpack_from(self._latest)
            if last > event.time:
                self.traveller.stand_before_the_end(last, self._prompt.carry())
        self._runs_again = False
        super()._wake(event)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._runs_again and not self._ticks:
            self._is_unwanted = True
        else:
            super()._interrupted(number, frame)

    def _is_on_its_way(self) -> bool:
        return self._runs_again or super()._is_on_its_way()

    def _part(self) -> None:
        """Back to the process that has run the program first, if it is there."""
        if self.traveller.home is not None:
            with contextlib.suppress(TimelineError):  # another one was kept
                self.traveller.go_home()
        elif self._killed is not None:
            self.traveller.bye()
            process.exit_now(self._killed)
        super()._part()


def _told(error: BaseException | None) -> str:
    if error is None:
        return "without an exception"
    return traceback.format_exception_only(error)[-1].strip()


__all__ = ["Again"]
