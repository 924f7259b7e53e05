"""Where pdb stops: what `bdb` does by `sys.settrace` is decided here, event by event."""

from __future__ import annotations

import ctypes
import pdb
import sys
from types import FrameType, TracebackType
from typing import Any, NamedTuple, cast

from snapshot.debugger import breaking
from snapshot.debugger.differing import ABSENT, content, difference
from snapshot.debugger.engine import Event, Wanted
from snapshot.debugger.own import is_ours
from snapshot.debugger.searching import frame_at, outwards
from snapshot.debugger.seeing import let_go

_NEVER = -1  # `bdb`'s stoplineno after `continue`
_FIRST = 1  # the time of the first event: the program's own code is called
THE_END = "<the end>"  # the file of the frame that stands for a program that has ended
_LEAVING = ("return", "yield", "unwind")
_RESUMABLE = 0x20 | 0x80 | 0x200  # generators, coroutines, asynchronous generators: inspect.CO_…


def write_locals(frame: FrameType) -> None:
    """What was bound in `f_locals` is in the frame: Python 3.13 does that itself (PEP 667), and
    earlier ones after a trace function, in its frame alone."""
    if sys.version_info < (3, 13):
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


class Plan(NamedTuple):
    """Of a step: `bdb`'s stopframe and returnframe by their depths, 0 for what called the program;
    and its stoplineno."""

    stop: int | None
    returns: int | None
    line: int


class Stepping(pdb.Pdb):
    """A pdb that is asked about each event, and does not trace."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"nosigint": True})
        self.reset()
        self.quitting = False
        self.watches: dict[str, tuple[str, Any]] = {}

    def begin(self, bottom: FrameType | None) -> None:
        # The first of the program's own code may be called by a library that runs it.
        while bottom is not None and not is_ours(bottom.f_code.co_filename):
            bottom = bottom.f_back
        self.botframe = bottom
        self.set_step()

    def wanted(self) -> Wanted:
        """See `engine.Prompt`."""
        lines = set(breaking.lines())
        codes = set()
        if self.stoplineno != _NEVER:
            for frame in (self.stopframe, self.returnframe):
                if frame is not None:
                    codes.add(frame.f_code)
                    lines.update(number for *_, number in frame.f_code.co_lines() if number)
        steps = self.stopframe is None and self.stoplineno != _NEVER
        return Wanted(steps or bool(self.watches), frozenset(lines), frozenset(codes))

    def stops(self, event: Event) -> bool:
        """Whether to stop at an event; steps that end there do so."""
        _, kind, frame, _ = event
        if self.watches and self._has_changed(frame):
            return True
        if kind == "line":
            return bool(self._steps_to(frame) or (self.breaks and breaking.is_hit(self, frame)))
        if kind == "yield" and self.stopframe is not None:
            return frame is self.returnframe  # `next` stays in a generator, or coroutine
        if kind in _LEAVING:
            stops = self._steps_to(frame) or frame is self.returnframe
            if frame is self.stopframe and self.stoplineno != _NEVER:
                self.set_step()
            return bool(stops)
        if kind == "call":
            resumes = self.stopframe is not None and frame.f_code.co_flags & _RESUMABLE
            if resumes or event.time == _FIRST or frame.f_back is self.botframe:
                return False
        return self._steps_to(frame)

    def _has_changed(self, frame: FrameType) -> bool:
        changed = False
        for expression, old in self.watches.items():
            try:
                value = eval(expression, frame.f_globals, frame.f_locals)
            except Exception:
                value = ABSENT
            new = content(value)
            if new != old and value is not ABSENT:
                self.watches[expression] = new
                self.message(difference(expression, old, new))
                changed = True
        let_go(frame)
        return changed

    def _steps_to(self, frame: FrameType) -> bool:
        """Whether the step that is under way, if one is, ends here."""
        return self.stoplineno != _NEVER and bool(self.stop_here(frame))

    def leave(self, frame: FrameType) -> None:
        """A step that was begun where a frame is left goes on in its caller."""
        if self.stopframe is frame and self.stoplineno != _NEVER:
            self.set_step()

    def interrupt(self) -> None:
        """Stop at the next event."""
        self.set_step()

    def drop(self) -> None:
        """See `engine.Prompt`."""
        self.set_continue()

    def _plan(self, stop: FrameType | None, returns: FrameType | None, line: int = 0) -> None:
        cast(Any, self)._set_stopinfo(stop, returns, line)

    def plan(self, here: FrameType) -> Plan | None:
        """The step that is under way; None if it can be followed in this process alone."""
        frames = [*outwards(here, self.botframe), self.botframe]
        depths: dict[FrameType | None, int | None] = {
            each: len(frames) - place for place, each in enumerate(frames, 1)
        }
        depths[None] = None
        if self.stopframe not in depths or self.returnframe not in depths:
            return None
        return Plan(depths[self.stopframe], depths[self.returnframe], self.stoplineno)

    def follow(self, plan: Plan, here: FrameType) -> None:
        """Go on as the process has planned that stood at this event, too."""

        def found(depth: int | None) -> FrameType | None:
            if not depth:
                return None if depth is None else self.botframe
            return frame_at(depth, here, self.botframe)

        self._plan(found(plan.stop), found(plan.returns), plan.line)

    def forget(self) -> None:
        """As pdb's own, whatever was looked at."""
        frames = [frame for frame, _ in vars(self).get("stack", [])]
        super().forget()
        self.curframe_locals = {}
        for frame in frames:
            frame.f_globals.pop("__pdb_convenience_variables", None)
            let_go(frame)

    def lineinfo(self, identifier: str) -> Any:
        """As pdb's own, which overlooks the decorators of a function that is not there yet."""
        name, file, line = super().lineinfo(identifier)
        return name, file, line and breaking.begins(str(file), str(name), line)

    def _look_at(self, place: int) -> None:
        """As `up` and `down` do."""
        cast(Any, self)._select_frame(place)

    def set_step(self) -> None:
        self._plan(None, None)

    def set_next(self, frame: FrameType) -> None:
        self._plan(frame, None)

    def set_return(self, frame: FrameType) -> None:
        self._plan(frame.f_back, frame)

    def set_continue(self) -> None:
        self._plan(self.botframe, None, _NEVER)

    def get_stack(
        self, frame: FrameType | None, traceback: TracebackType | None
    ) -> tuple[list[tuple[FrameType, int]], int]:
        """Without the frames that have called the program, and those of this package."""
        stack, index = super().get_stack(frame, traceback)
        if stack[-1][0].f_code.co_filename == THE_END:
            return stack[-1:], 0
        while traceback is not None and index and is_ours(stack[index][0].f_code.co_filename):
            del stack[index]
            index -= 1
        frames = [each for each, _ in stack]
        below = frames.index(self.botframe) + 1 if self.botframe in frames else 0
        return stack[below:], max(0, index - below)
