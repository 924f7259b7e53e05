"""The calls of functions of some names can be gone back to, without touching their code."""

from __future__ import annotations

import opcode
import sys
import threading
from types import CodeType, FrameType, TracebackType
from typing import Any, Self

from snapshot.core.entry import Entry
from snapshot.core.monitoring import take_tool
from snapshot.debugger.entries import Entries
from snapshot.errors import UsageError
from snapshot.replay.names import Names


class _Entering:
    """While the block runs, each call of these functions is as under `rewindable`.

    All of them share what `entries` keeps. Python 3.12 and later see all threads; 3.11 this one,
    and those that it starts, until the debugger is opened in the program.

    unused: the patterns by which no function was found that was called.
    """

    def __init__(self, names: Names, entries: Entries) -> None:
        self._names = names
        self._entries = entries
        self._calls: dict[FrameType, Entry] = {}  # that are under way
        self.unused = dict.fromkeys(names.included)

    def __enter__(self) -> Self:
        """Raises `UsageError` where something else watches the program in the same way."""
        self._start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def _start(self) -> None:
        raise NotImplementedError

    def _stop(self) -> None:
        raise NotImplementedError

    def _begin(self, frame: FrameType) -> bool:
        """A function of these names begins: whether an entry is kept."""
        if self.unused:
            for each in self._names.which(frame):
                self.unused.pop(each, None)
        entry = self._entries.begin(frame.f_code, frame)
        if entry is not None:
            self._calls[frame] = entry
        return entry is not None

    def _end(self, frame: FrameType, error: BaseException | None) -> None:
        entry = self._calls.pop(frame, None)
        if entry is not None:
            self._entries.end(entry, error)


if sys.version_info >= (3, 12):
    _M = sys.monitoring
    _E = _M.events

    class Entering(_Entering):
        """By `sys.monitoring`: of any other code the first call alone is seen."""

        def _start(self) -> None:
            self._tool = tool = take_tool("snapshot")
            self._watched: dict[int, CodeType] = {}  # held, so that no other one gets the same id
            self._callbacks = {
                _E.PY_START: self._starts,
                _E.PY_RETURN: self._returns,
                _E.PY_UNWIND: self._unwinds,
            }
            for event, callback in self._callbacks.items():
                _M.register_callback(tool, event, callback)
            _M.set_events(tool, _E.PY_START | _E.PY_UNWIND)
            _M.restart_events()

        def _stop(self) -> None:
            _M.set_events(self._tool, 0)
            for code in self._watched.values():
                _M.set_local_events(self._tool, code, 0)
            for event in self._callbacks:
                _M.register_callback(self._tool, event, None)
            _M.free_tool_id(self._tool)

        def _starts(self, code: CodeType, _: int) -> Any:
            frame = sys._getframe(1)
            if id(code) not in self._watched:
                if frame not in self._names:
                    return _M.DISABLE
                self._watched[id(code)] = code
                _M.set_local_events(self._tool, code, _E.PY_RETURN)
            self._begin(frame)
            return None

        def _returns(self, code: CodeType, _: int, value: object) -> None:
            self._end(sys._getframe(1), None)

        def _unwinds(self, code: CodeType, _: int, error: BaseException) -> None:
            if self._calls:
                self._end(sys._getframe(1), error)

else:
    _OPCODES = opcode.opmap

    class Entering(_Entering):
        """By `sys.settrace`, which alone tells what is raised; its function gives way to the
        debugger's."""

        def _start(self) -> None:
            if (other := sys.gettrace()) is not None:
                raise UsageError(f"another trace function, {other!r}, watches this program already")
            self._raised: dict[FrameType, tuple[int, BaseException]] = {}  # where, and what last
            sys.settrace(self._called)
            threading.settrace(self._called)

        def _stop(self) -> None:
            if sys.gettrace() == self._called:
                sys.settrace(None)
            if threading.gettrace() == self._called:
                threading.settrace(None)

        def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
            if event != "call":
                return None
            if frame in self._calls:  # a generator goes on
                return self._inside
            code, last = frame.f_code.co_code, frame.f_lasti
            begins = code[last] == _OPCODES["RESUME"] and code[last + 1] == 0
            if not begins or frame not in self._names or not self._begin(frame):
                return None
            frame.f_trace_lines = False
            return self._inside

        _called.gives_way = True  # type: ignore[attr-defined]

        def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
            last = frame.f_lasti
            if event == "exception":
                self._raised[frame] = last, argument[1]
                frame.f_trace_lines = True
            elif event == "line":
                if sys.exception() is None:  # it was caught, and is not to live longer for us
                    self._raised.pop(frame, None)
                    frame.f_trace_lines = False
            elif event == "return":
                where, error = self._raised.pop(frame, (-1, None))
                frame.f_trace_lines = False
                operation = frame.f_code.co_code[last]
                if operation == _OPCODES["RETURN_VALUE"]:
                    self._end(frame, None)
                elif operation != _OPCODES["YIELD_VALUE"] or where == last:
                    self._end(frame, error)
            return self._inside
