"""The program under the debugger, forwards alone: in the original, of which no past is kept."""

from __future__ import annotations

from bdb import BdbQuit
from types import FrameType
from typing import Any

from snapshot.debugger.clock import NEVER
from snapshot.debugger.engine import Event, ProgramClock, Prompt
from snapshot.debugger.own import Own


class Ahead:
    """Stops where the prompt wants to, and is not there as long as it wants nothing.

    event: that at which the prompt is, or was last; None before the first one.
    """

    def __init__(self, own: Own, prompt: Prompt) -> None:
        self._prompt = prompt
        self._clock = ProgramClock(own, self._happened)
        self._begun = False
        self._wanted = False  # whether to watch
        self._ticks = False
        self.event: Event | None = None

    def attach(self, event: Event | None) -> None:
        """Watch the program that runs; ask at an event that happens now."""
        self._wanted = True
        self._begun = event is not None
        self._prompt.begin(None)
        if event is not None:
            self._ask(event)
        if self._wanted:
            self._ticks = True
            self._clock.start(event.frame if event is not None else None)
            self._aim()

    def detach(self) -> None:
        """Stop nowhere any more."""
        self._wanted = False
        if self._ticks:
            self._ticks = False
            self._clock.stop()

    def _happened(self, kind: str, frame: FrameType, argument: Any) -> None:
        event = Event(0, kind, frame, argument)
        if not self._begun:
            self._begun = True
            self._prompt.begin(frame.f_back)
        if self._prompt.stops(event):
            try:
                self._ask(event)
            except BdbQuit as end:
                raise end.with_traceback(None)  # noqa: B904 (what is ours is of no interest)
        if self._wanted:
            self._aim()

    def _ask(self, event: Event) -> None:
        self.event = event
        try:
            self._prompt.show(event)
        except OSError as problem:
            self._prompt.lose(problem)
        finally:
            if self._prompt.quitting:  # by an exception, under pytest
                self.detach()
        if self._prompt.quitting:
            raise BdbQuit

    def _aim(self) -> None:
        wanted = self._prompt.wanted()
        if wanted.all:
            self._clock.aim(0, frozenset(), ())
        elif wanted.lines or wanted.codes:
            self._clock.aim(NEVER, wanted.lines, wanted.codes)
        else:
            self.detach()
