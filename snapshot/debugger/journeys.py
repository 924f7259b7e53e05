"""The commands that go to another moment of the program's past."""

from __future__ import annotations

import ast
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from snapshot.debugger.carrying import Carrying
from snapshot.debugger.chronicle import Chronicle
from snapshot.debugger.engine import Engine, Event
from snapshot.debugger.own import Own
from snapshot.debugger.searching import Found
from snapshot.debugger.session import names
from snapshot.debugger.travel import Traveller
from snapshot.errors import DebuggerError, SnapshotError


class Journeys(Carrying):
    """A pdb with those commands."""

    _own: Own
    _past: Engine | None = None
    # What is done at a command that needs the past, which is not there; it need not return.
    fetch_past: Callable[[str], None] | None = None
    _goes_on = False  # whether the program is to, after the command that has brought us here

    @property
    def _engine(self) -> Engine:
        if self._past is None:
            if self.fetch_past is not None:
                self.fetch_past(self.lastcmd)
            raise DebuggerError("nothing is kept of the past here: `snap` begins an experiment")
        return self._past

    @property
    def _traveller(self) -> Traveller:
        return self._engine.traveller

    def preloop(self) -> None:
        self._goes_on = False
        super().preloop()

    def postcmd(self, stop: bool, line: str) -> bool:
        return self._goes_on or stop

    def _go(
        self, branch: int, moment: int, told: str = "", *, drop: bool = False, sure: bool = False
    ) -> None:
        """Stand at another moment; here again, when somebody comes back."""
        if (branch, moment) == (self._traveller.branch, self._engine.moment):
            raise DebuggerError(f"this is position {moment}")
        carried = self.carry()
        self._traveller.go(branch, moment, drop=drop, sure=sure, carried=carried, told=told)
        self._come_back()

    def _come_back(self) -> None:
        """Somebody has come back to this process, which stood at its prompt."""
        news, event = self._traveller.news, self._engine.event
        if "carried" in news:  # else whoever was live has died
            self.take(news["carried"])
        if news.get("plan") is not None and event is not None:
            self.follow(news["plan"], event.frame)
            self._goes_on = True
            return
        if news.get("failed"):
            self.error(news["failed"])
        if news.get("told"):
            self.message(news["told"])
        if event is not None:
            self.message_of(event)
        self._look_at(self.stands)

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except (SnapshotError, OSError) as error:  # OSError: what the machine has too little of
            self.error(str(error))

    def message_of(self, event: Event) -> None:
        """What pdb says of an event that is no line."""
        if event.kind == "exception":
            self.message(traceback.format_exception_only(event.argument[1])[-1].strip())
        elif event.kind != "line":
            self.message("--Call--" if event.kind == "call" else "--Return--")

    def _goto(self, moment: int, told: str = "", *, sure: bool = False) -> None:
        owner = self._chronicle.owner(self._traveller.branch, moment)
        if owner is None:
            first = self._first()
            raise DebuggerError(f"position {moment} is before the beginning, which is {first}")
        if moment > owner.tip:
            raise DebuggerError(
                f"position {moment} is beyond the end: it is known up to {owner.tip}"
            )
        self._go(owner.number, moment, told, sure=sure)

    def _first(self) -> int:
        return self._chronicle.first(self._chronicle.branches()[1])

    @property
    def _known(self) -> int:
        """The time up to which the past can be looked through: the end is no event."""
        return self._engine.moment - (self._engine.event is None)

    def _depth(self, frame: FrameType) -> int:
        """Of a frame on the stack that is looked at; of one that has ended, as it was then: in a
        traceback there are others between them, and those that have called them are not."""
        if self._engine.event is None and self._engine.error is not None:
            raiser, time = self._raised(frame)
            if raiser is frame and (depth := self._traveller.search("depth", time, {}).depth):
                return depth
        frames = list(dict.fromkeys(each for each, _ in self.stack))
        return frames.index(frame) + 1

    def _raised(self, frame: FrameType) -> tuple[FrameType, int]:
        """Where the exception that has ended the program went out of a frame, or of the nearest
        one of the program's own that has called it; and when."""
        error = self._engine.error
        frames = [each for each, _ in self.stack]
        for each in reversed(frames[: frames.index(frame) + 1]):
            time = None if error is None else self._engine.raised(each, error)
            if time is not None:
                return each, time
        return frames[0], self._known

    @property
    def _frame(self) -> FrameType:
        """The one that is looked at."""
        assert self.curframe is not None
        return self.curframe

    @property
    def _chronicle(self) -> Chronicle:
        return self._traveller.chronicle

    def do_goto(self, arg: str) -> None:
        """goto position|name

        Go to a moment: a position, as the prompts show it, or one that `snap` has named.
        """
        word = arg.strip()
        if word.isdecimal():
            self._try(lambda: self._goto(int(word)))
        else:
            self._try(lambda: self._go(*self._named(word)))

    def _named(self, name: str) -> tuple[int, int]:
        """The branch and the time of that name. Raises `DebuggerError`."""
        marks = self._chronicle.marks()
        if name not in marks:
            names = ", ".join(map(repr, marks)) or "none: `snap name` gives one"
            raise DebuggerError(f"no moment is named {name!r}; there is {names}")
        return marks[name]

    def do_back(self, arg: str) -> None:
        """back [count]

        Go to the stop before this one, or the one so many before: exactly as it was.
        """
        self._try(lambda: self._jump(-_count(arg)))

    def do_forward(self, arg: str) -> None:
        """forward [count]

        Go to the stop after this one, or the one so many after: exactly as it was.
        """
        self._try(lambda: self._jump(_count(arg)))

    def _jump(self, count: int) -> None:
        stops = self._chronicle.prompts(self._traveller.branch)
        if count < 0:
            there = [each for each in stops if each.time < self._engine.moment]
            if len(there) < -count:
                raise DebuggerError(f"{_stops(len(there))} before this one")
            stop = there[count]
        else:
            there = [each for each in stops if each.time > self._engine.moment]
            if len(there) < count:
                raise DebuggerError(f"{_stops(len(there))} after this one")
            stop = there[count - 1]
        self._go(stop.branch, stop.time)

    def do_rstep(self, arg: str) -> None:
        """rs(tep)

        Go back to the event before: the inverse of `step`.
        """
        self._try(self._rstep)

    do_rs = do_rstep

    def _rstep(self) -> None:
        if self._engine.moment <= self._first():
            raise DebuggerError("this is the beginning: nothing is known of what was before")
        self._goto(self._engine.moment - 1)

    def do_rnext(self, arg: str) -> None:
        """rn(ext)

        Go back to the line that this frame was at before; from its first one, to the line that has
        called it. The inverse of `next`.
        """
        self._try(lambda: self._line_before(self._frame))

    do_rn = do_rnext

    def do_rreturn(self, arg: str) -> None:
        """rr(eturn)

        Go back to the line that has called this function.
        """
        self._try(self._rreturn)

    do_rr = do_rreturn

    def _rreturn(self) -> None:
        for frame in reversed([each for each, _ in self.stack[: self.curindex]]):
            if frame is not self._frame and self._own(frame.f_code):
                self._line_before(frame)
                return
        raise DebuggerError("nothing of the program's own has called this")

    def _line_before(self, frame: FrameType) -> None:
        until = self._known
        if self._engine.event is None:
            frame, until = self._raised(frame)
        elif not self._own(frame.f_code):
            self._rreturn()
            return
        depth = self._depth(frame)
        found = self._traveller.search("line", until, {"depth": depth})
        if found.time is None:
            raise DebuggerError("there is no line before this one: this is where the past begins")
        self._goto(found.time, sure=True)

    def do_rcontinue(self, arg: str) -> None:
        """rc(ontinue)

        Go back to the last breakpoint that was hit before; without one, to the beginning.
        """
        self._try(self._rcontinue)

    do_rc = do_rcontinue

    def _rcontinue(self) -> None:
        found = Found(None)
        if self.breaks:
            details = {"carried": self.carry()}
            found = self._traveller.search("hit", self._known, details)
        first = self._first()
        halts = [each for each in self._engine.halts if first < each < self._engine.moment]
        if halts and halts[-1] > (found.time or 0):  # the program has called `breakpoint()`
            self._goto(halts[-1])
        elif found.time is not None:
            self._goto(found.time, sure=True)
        elif self._engine.moment > first:
            self._goto(first, "no breakpoint was hit before: this is the beginning")
        else:
            raise DebuggerError("this is the beginning: no breakpoint was hit before")

    def do_last(self, arg: str) -> None:
        """last expression

        Go back to the line that has changed the value of an expression last, before it ran.
        """
        self._try(lambda: self._last(arg.strip()))

    do_rwatch = do_last

    def _last(self, expression: str) -> None:
        frame, depth = self.curframe, 0
        assert frame is not None
        self._evaluated(expression, frame)
        until = self._known
        if names(frame) & _names_in(expression):
            if self._engine.event is None:  # what the frame held is gone by the end
                raiser, until = self._raised(frame)
                if raiser is not frame:
                    raise DebuggerError(f"{expression} is of installed code, which is not watched")
            depth = self._depth(frame)
        details = {
            "expression": expression,
            "depth": depth,
            "module": frame.f_globals["__name__"],
        }
        found = self._traveller.search("change", until, details)
        if found.time is None:
            raise DebuggerError(f"{expression} has not changed before, as far as is known")
        self._goto(found.time, found.told, sure=True)

    def _evaluated(self, expression: str, frame: FrameType) -> Any:
        """Its value in that frame. Raises `DebuggerError`."""
        try:
            return eval(expression, frame.f_globals, frame.f_locals)
        except SyntaxError as error:
            raise DebuggerError(f"{expression!r} is no expression: {error.msg}") from None
        except Exception as error:
            raise DebuggerError(f"{expression}: {type(error).__name__}: {error}") from None


def _count(arg: str) -> int:
    word = arg.strip() or "1"
    if not word.isdecimal() or not int(word):
        raise DebuggerError(f"{word!r} is no number of stops")
    return int(word)


def _stops(count: int) -> str:
    if count == 1:
        return "there is 1 stop"
    return f"there are {count or 'no'} stops"


def _names_in(expression: str) -> set[str]:
    return {each.id for each in ast.walk(ast.parse(expression)) if isinstance(each, ast.Name)}
