"""The clock on Python 3.12 and later, by `sys.monitoring` (PEP 669).

Only code of the program's own has events; of the rest, each first call is seen once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from threading import get_ident
from types import CodeType, FrameType
from typing import Any

from snapshot.debugger.clock import NEVER, Handler
from snapshot.debugger.room import ask_for_room, with_room
from snapshot.errors import DebuggerError

if sys.version_info < (3, 12):
    raise ImportError("sys.monitoring came with Python 3.12")

_M = sys.monitoring
_E = _M.events
_TOOL = _M.DEBUGGER_ID
_RAISED = 10_000  # exceptions of which the time is known
_LOCAL = _E.LINE | _E.PY_START | _E.PY_RESUME | _E.PY_RETURN | _E.PY_YIELD
_Now = Callable[[], int]
_Raised = Callable[[FrameType, BaseException], int | None]
_Callback = Callable[..., Any]
_Aim = Callable[[int, frozenset[int], frozenset[int]], _Callback]
_GLOBAL = _E.PY_START | _E.PY_RESUME | _E.PY_THROW | _E.PY_UNWIND | _E.RAISE


class MonitoringClock:
    """See `clock.Clock`."""

    def __init__(self, own: Callable[[CodeType], bool], handler: Handler) -> None:
        self._own = own
        handler = with_room(handler)
        self._codes: dict[int, CodeType] = {}  # held, so that no other one gets the same id
        told, asked, self._callbacks = _counter(self._add, self._codes, handler)
        self.now, self.raised = told
        self._set, self._crowd = asked
        self._ticks = False

    def start(self, frame: FrameType | None) -> None:
        """Raises `DebuggerError` if another debugger is there."""
        other = _M.get_tool(_TOOL)
        if other is not None:
            raise DebuggerError(f"another debugger, {other!r}, watches this program already")
        _M.use_tool_id(_TOOL, "snapshot")
        self._ticks = True
        for event, callback in self._callbacks.items():
            _M.register_callback(_TOOL, event, callback)
        while frame is not None:
            self._add(frame.f_code)
            frame = frame.f_back
        _M.set_events(_TOOL, _GLOBAL)

    def stop(self) -> None:
        self._ticks = False
        _M.set_events(_TOOL, _E.NO_EVENTS)
        for code in self._codes.values():
            _M.set_local_events(_TOOL, code, _E.NO_EVENTS)
        for event in self._callbacks:
            _M.register_callback(_TOOL, event, None)
        _M.free_tool_id(_TOOL)
        self._codes.clear()

    def aim(self, time: int, lines: frozenset[int], codes: Iterable[CodeType]) -> None:
        self._call_at_lines(self._set(time, lines, frozenset(map(id, codes))))

    def tell_threads_apart(self) -> None:
        self._call_at_lines(self._crowd())

    def _call_at_lines(self, callback: _Callback) -> None:
        if callback is not self._callbacks[_E.LINE]:
            self._callbacks[_E.LINE] = callback
            if self._ticks:
                _M.register_callback(_TOOL, _E.LINE, callback)

    def _add(self, code: CodeType) -> bool:
        if not self._own(code):
            return False
        self._codes[id(code)] = code
        _M.set_local_events(_TOOL, code, _LOCAL)
        return True


def _counter(
    add: Callable[[CodeType], bool], known: dict[int, CodeType], handler: Handler
) -> tuple[tuple[_Now, _Raised], tuple[_Aim, Callable[[], _Callback]], dict[int, _Callback]]:
    """What is called at each event; variables of a closure are the fastest there are.

    `aim` and `crowd` return what is called at a line from then on: most events are such, and where
    they are only to be counted, that is all which is done. To ask which thread it is takes as long
    as all the rest: that is done where there are several.
    """
    # Counted down, as a comparison with a constant takes half the time of one with a variable.
    left = limit = NEVER
    crowded = False
    lines: frozenset[int] = frozenset()
    watched: frozenset[int] = frozenset()
    thread = get_ident()
    raises: dict[tuple[int, int], int] = {}
    frame_at = sys._getframe
    disable = _M.DISABLE
    ask = ask_for_room  # once for each frame, as long as it runs

    def now() -> int:
        return limit - left

    def raised(frame: FrameType, error: BaseException) -> int | None:
        return raises.get((id(frame), id(error)))

    def aim(first: int, numbers: frozenset[int], codes: frozenset[int]) -> _Callback:
        nonlocal left, limit, lines, watched
        left, limit, lines, watched = left + first - limit, first, numbers, codes
        return line if crowded or lines else any_line

    def crowd() -> _Callback:
        nonlocal crowded
        crowded = True
        return line

    def any_line(code: CodeType, number: int) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            handler("line", frame_at(1), None)

    def line(code: CodeType, number: int) -> None:
        nonlocal left
        if crowded and get_ident() != thread:
            return
        left -= 1
        if left <= 0 or number in lines:
            handler("line", frame_at(1), None)

    def call(code: CodeType, offset: int, error: BaseException | None = None) -> Any:
        nonlocal left
        if id(code) not in known and not add(code):
            return disable if error is None else None
        if crowded and get_ident() != thread:
            return None
        ask()
        left -= 1
        if left <= 0 or (watched and id(code) in watched):
            handler("call", frame_at(1), None)
        return None

    def leaving(kind: str) -> Callable[[CodeType, int, Any], None]:
        def leave(code: CodeType, offset: int, value: Any) -> None:
            nonlocal left
            if crowded and get_ident() != thread:
                return
            left -= 1
            if left <= 0 or (watched and id(code) in watched):
                handler(kind, frame_at(1), value)

        return leave

    def unwinding(code: CodeType, offset: int, error: BaseException) -> None:
        nonlocal left
        if id(code) not in known or (crowded and get_ident() != thread):
            return
        left -= 1
        if left <= 0 or (watched and id(code) in watched):
            handler("unwind", frame_at(1), None)

    def raising(code: CodeType, offset: int, error: BaseException) -> None:
        nonlocal left
        if id(code) not in known or (crowded and get_ident() != thread):
            return
        left -= 1
        frame = frame_at(1)
        if len(raises) > _RAISED:
            raises.clear()
        raises[id(frame), id(error)] = limit - left
        if left <= 0 or (watched and id(code) in watched):
            handler("exception", frame, (type(error), error, error.__traceback__))

    callbacks: dict[int, Callable[..., Any]] = {
        _E.LINE: line,
        _E.PY_START: call,
        _E.PY_RESUME: call,
        _E.PY_THROW: call,
        _E.PY_RETURN: leaving("return"),
        _E.PY_YIELD: leaving("yield"),
        _E.PY_UNWIND: unwinding,
        _E.RAISE: raising,
    }
    return (now, raised), (aim, crowd), callbacks
