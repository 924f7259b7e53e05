"""The clock on Python 3.11, by `sys.settrace`."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any

from snapshot.debugger.clock import NEVER, Handler
from snapshot.debugger.room import ask_for_room, with_room
from snapshot.errors import DebuggerError

_Now = Callable[[], int]
_Raised = Callable[[FrameType, BaseException], int | None]
_Tracer = Callable[[FrameType, str, Any], Any]
_RETURNS = {dis.opmap["RETURN_VALUE"]: "return", dis.opmap["YIELD_VALUE"]: "yield"}


class TracingClock:
    """See `clock.Clock`."""

    def __init__(self, own: Callable[[CodeType], bool], handler: Handler) -> None:
        self._own = own
        handler = with_room(handler)
        told, self._set, self._called, self._traced = _counter(own, handler)
        self.now, self.raised = told

    def start(self, frame: FrameType | None) -> None:
        """Raises `DebuggerError` if another debugger is there."""
        other = sys.gettrace()
        if other is not None and not hasattr(other, "gives_way"):
            raise DebuggerError(f"another debugger, {other!r}, watches this program already")
        while frame is not None:
            if self._own(frame.f_code):
                frame.f_trace = self._traced
            frame = frame.f_back
        sys.settrace(self._called)

    def stop(self) -> None:
        sys.settrace(None)
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame.f_trace is self._traced:
                del frame.f_trace
            frame = frame.f_back

    def aim(self, time: int, lines: frozenset[int], codes: Iterable[CodeType]) -> None:
        self._set(time, lines, frozenset(map(id, codes)))

    def tell_threads_apart(self) -> None:
        pass


def _counter(
    own: Callable[[CodeType], bool], handler: Handler
) -> tuple[tuple[_Now, _Raised], Callable[..., None], _Tracer, _Tracer]:
    """What is called at each event; variables of a closure are the fastest there are."""
    time, limit = 0, NEVER
    lines: frozenset[int] = frozenset()
    watched: frozenset[int] = frozenset()
    raises: dict[tuple[int, int], int] = {}
    ask = ask_for_room  # once for each frame, as long as it runs

    def now() -> int:
        return time

    def raised(frame: FrameType, error: BaseException) -> int | None:
        return raises.get((id(frame), id(error)))

    def aim(first: int, numbers: frozenset[int], codes: frozenset[int]) -> None:
        nonlocal limit, lines, watched
        limit, lines, watched = first, numbers, codes

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal time
        time += 1
        if event == "exception":
            raises[id(frame), id(argument[1])] = time
        if event == "line":
            if time >= limit or frame.f_lineno in lines:
                handler("line", frame, None)
                return None  # another clock may have begun: then `f_trace` is its own
        elif time >= limit or id(frame.f_code) in watched:
            if event == "return":
                event = _RETURNS.get(frame.f_code.co_code[frame.f_lasti], "unwind")
            handler(event, frame, argument)
            return None
        return traced

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal time
        if not own(frame.f_code):
            return None
        ask()
        time += 1
        if time >= limit or id(frame.f_code) in watched:
            handler("call", frame, None)
        return traced

    return (now, raised), aim, called, traced
