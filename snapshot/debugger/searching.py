"""What a copy of a state looks for while it runs on to a later time, where it answers and ends.

Only a time is found, never a guess: what does not lie between the state and the end of the search
is looked for from an earlier state, see `travel`.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple, Protocol

from snapshot.debugger.differing import ABSENT, content, difference

CUT = -1
_LEAVING = ("return", "yield", "unwind")

# A frame is known by its hash, which is that of its address: `id` raises an audit event, and takes
# ten times as long where the program listens to them.


class Found(NamedTuple):
    """What a search has come to.

    time: of the event; None if there is none in this stretch. depth: of the frame to go on with
    from an earlier state; None if an earlier one is of no use; CUT if what was found began
    before this stretch.
    told: to show to the user.
    """

    time: int | None
    depth: int | None = None
    told: str = ""


class Search(Protocol):
    """What is handed every event up to the end of the search, and is asked then.

    lines: the numbers of those that it wants to see alone, None for every event.
    """

    lines: frozenset[int] | None

    def seen(self, kind: str, frame: FrameType, time: int) -> None: ...

    def end(self, frame: FrameType | None, time: int) -> Found: ...


def outwards(frame: FrameType | None, bottom: FrameType | None) -> Iterator[FrameType]:
    """A frame and those that have called it, down to the program's first one."""
    while frame is not None and frame is not bottom:
        yield frame
        frame = frame.f_back


def depth_of(frame: FrameType, bottom: FrameType | None) -> int:
    """How many frames of the program's there are up to this one."""
    return sum(1 for _ in outwards(frame, bottom))


def frame_at(depth: int, frame: FrameType, bottom: FrameType | None) -> FrameType | None:
    """The frame of that depth, seen from an inner one."""
    above = depth_of(frame, bottom) - depth
    for each in outwards(frame, bottom):
        if above == 0:
            return each
        above -= 1
    return None


class Passing:
    """Nothing: whether the way is the same as it was is seen at its end."""

    lines: frozenset[int] | None = frozenset()

    def seen(self, kind: str, frame: FrameType, time: int) -> None:
        pass

    def end(self, frame: FrameType | None, time: int) -> Found:
        return Found(time)


class Depth(Passing):
    """That of the frame in which the last event was."""

    def __init__(self, bottom: FrameType | None) -> None:
        self._bottom = bottom

    def end(self, frame: FrameType | None, time: int) -> Found:
        return Found(time, depth_of(frame, self._bottom)) if frame is not None else Found(None)


class LineBefore:
    """The last line that a frame was at: where it was called, if it was at none."""

    lines: frozenset[int] | None = None

    def __init__(
        self,
        details: Mapping[str, Any],
        here: FrameType,
        bottom: FrameType | None,
        own: Callable[[CodeType], bool],
    ) -> None:
        self._own = own
        self._depth: int = details["depth"]
        self._bottom = bottom
        # At the start: a frame that was there is known by its depth, in an earlier search, too.
        # Of others nothing is ever seen.
        self._there = {
            hash(each): depth_of(each, bottom)
            for each in outwards(here, bottom)
            if own(each.f_code)
        }
        self._lines: dict[int, int] = {}
        self._born: set[int] = set()

    def seen(self, kind: str, frame: FrameType, time: int) -> None:
        key = hash(frame)
        if kind == "line":
            self._lines[key] = time
        elif kind == "call" and is_first(frame):
            self._forget(key)
            self._born.add(key)
        elif kind in ("return", "unwind"):
            self._forget(key)

    def _forget(self, key: int) -> None:
        self._lines.pop(key, None)
        self._there.pop(key, None)
        self._born.discard(key)

    def _call(self, frame: FrameType) -> Found:
        """The line that made the call; or the depth of its frame, if it was before the start."""
        for caller in outwards(frame.f_back, self._bottom):
            if not self._own(caller.f_code):
                continue  # it may be where one of the program's own was
            if hash(caller) in self._lines:
                return Found(self._lines[hash(caller)])
            if hash(caller) in self._there:
                return Found(None, self._there[hash(caller)])
        return Found(None)

    def end(self, frame: FrameType | None, time: int) -> Found:
        wanted = None if frame is None else frame_at(self._depth, frame, self._bottom)
        if wanted is None:
            return Found(None)
        key = hash(wanted)
        if key in self._lines:
            return Found(self._lines[key])
        # Where the stack had no room for a call, nothing has told of it.
        if key in self._born or (key not in self._there and is_first(wanted)):
            return self._call(wanted)  # it has come to no line, so its caller has come to no other
        return Found(None, self._there.get(key, CUT))


class LastHit:
    """The last event at which the program would have been stopped."""

    def __init__(
        self, is_hit: Callable[[str, FrameType], bool], lines: frozenset[int] | None
    ) -> None:
        self.lines = lines
        self._is_hit = is_hit
        self._last: int | None = None

    def seen(self, kind: str, frame: FrameType, time: int) -> None:
        if self._is_hit(kind, frame):
            self._last = time

    def end(self, frame: FrameType | None, time: int) -> Found:
        return Found(self._last, depth=0)


class LastChange:
    """The line that has changed the value of an expression last.

    Its names are those of the frame of a depth, or with depth 0 of a module.
    """

    lines: frozenset[int] | None = None

    def __init__(
        self, details: Mapping[str, Any], here: FrameType, bottom: FrameType | None
    ) -> None:
        self._expression: str = details["expression"]
        self._code = compile(self._expression, "<expression>", "eval")
        self._module: str = details["module"]
        self._depth: int = details["depth"]
        self._bottom = bottom
        self._scope = frame_at(self._depth, here, bottom) if self._depth else None
        self._asked: Any = None  # the module of which `_ask` is a function
        self._ask: Callable[[], Any]
        self._lines: dict[int, int] = {}
        self._line: int | None = None  # the one that runs; None if it began before the start
        self._before = self._value()
        self._old = content(self._before)
        # Of the last change: its line, and what was there before.
        self._found: tuple[int | None, tuple[str, Any]] | None = None

    def _value(self) -> Any:
        try:
            if self._depth:
                if self._scope is None:
                    return ABSENT
                return eval(self._code, self._scope.f_globals, self._scope.f_locals)
            module = sys.modules[self._module]
            if module is not self._asked:
                # To call one is what `eval` does with this code, in a third of the time.
                self._asked, self._ask = module, FunctionType(self._code, vars(module))
            return self._ask()
        except Exception:
            return ABSENT

    def seen(self, kind: str, frame: FrameType, time: int) -> None:
        if kind == "call" and is_first(frame):
            # What the caller's line has changed is seen at the next event: nothing runs until then.
            if self._depth and depth_of(frame, self._bottom) == self._depth:
                self._scope = frame
                self._before, self._old = ABSENT, content(ABSENT)
            return
        value = self._value()
        if value is not self._before or type(value) not in _UNCHANGING:
            self._compare(value)
        if kind == "line":
            self._lines[hash(frame)] = self._line = time
        elif kind in _LEAVING:
            self._leave(frame, ended=kind != "yield")

    def _leave(self, frame: FrameType, *, ended: bool) -> None:
        """The line that has called goes on."""
        if ended:
            self._lines.pop(hash(frame), None)
            if frame is self._scope:
                self._scope = None  # or what it holds would live on
        self._line = None
        for caller in outwards(frame.f_back, self._bottom):
            if (line := self._lines.get(hash(caller))) is not None:
                self._line = line
                return

    def _compare(self, value: Any) -> None:
        self._before = value
        new = content(value)
        if new != self._old:
            self._found = self._line, self._old
            self._old = new

    def end(self, frame: FrameType | None, time: int) -> Found:
        self._compare(self._value())
        if self._found is None:
            return Found(None, depth=self._depth)
        line, before = self._found
        told = difference(self._expression, before, self._old)
        return Found(line, None if line is not None else CUT, told)


_UNCHANGING = {object, bool, int, float, complex, str, bytes, type(None)}
_SUSPENDING = 0x20 | 0x80 | 0x200  # generators, coroutines, asynchronous generators: inspect.CO_…
_RESUME = dis.opmap["RESUME"]


def is_first(frame: FrameType) -> bool:
    """Whether a call begins the frame, and does not resume it."""
    if not frame.f_code.co_flags & _SUSPENDING:
        return True
    opcode, argument = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return opcode == _RESUME and argument & 3 == 0
