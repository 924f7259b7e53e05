"""`recording`: the calls of all functions of some names are stored, without touching their code."""

from __future__ import annotations

import contextlib
import opcode
import os
import sys
import threading
from collections.abc import Callable, Iterable
from types import CodeType, FrameType, MethodType, TracebackType
from typing import Any, Self

from snapshot.core.monitoring import install, is_letting_go, take_tool
from snapshot.errors import UsageError
from snapshot.replay.frames import Call, Calls, Code
from snapshot.replay.names import Names, patterns
from snapshot.replay.recorded import Options
from snapshot.replay.recorder import Recorder

_OURS = "snapshot"


def recording(
    include: str | Iterable[str],
    *,
    exclude: str | Iterable[str] = (),
    store: str | os.PathLike[str] | None = None,
    redact: Iterable[str] = (),
    max_value_bytes: int | None = None,
    when: Callable[..., object] | None = None,
    sample: float = 1.0,
    keep_last: int | None = None,
    background: int | None = None,
) -> Recording:
    """Store each call of the functions of some names: `with recording("package.*"):`.

    What is stored, and the other arguments, are those of `record`, except that arguments are
    stored as they were bound: by position where they can be, defaults included; and of a generator
    it is not seen what is sent into it, nor before Python 3.12 what is thrown. Calls are recorded
    that begin in the block; one that has not ended with it stays `running`. Functions under
    `@record`, those of this package, bodies of modules and classes, and comprehensions are left
    out. Python 3.12 and later record all threads; 3.11 this one, and those that it starts.

    include, exclude: patterns of fnmatch for the name of a module, `module.qualname` or
        `module:qualname`; a module's name includes the modules in it. What is excluded is not
        recorded, even if it is included.

    Raises `UsageError` if an argument means nothing, and on entry if it is entered already, or no
    tool id of `sys.monitoring` is free.
    """
    options = Options.of(redact, max_value_bytes, when, sample, keep_last, background)
    names = Names(patterns("include", include), patterns("exclude", exclude))
    if not names.included:
        raise UsageError("include=(): give names of functions, as in include='package.*'")
    return Recording(Calls(names.__contains__, Recorder.of(store), options))


class Recording:
    """Made by `recording`; see there. It may be entered again when it was left."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._events: _Events | None = None

    def start(self) -> Self:
        """Record from here on."""
        if self._events is not None:
            raise UsageError("it records already: make another recording, or stop this one first")
        self._events = _Events(self._calls)
        return self

    def stop(self) -> None:
        """Record no more. Nothing happens if it does not record."""
        if self._events is not None:
            self._events.stop()
            self._events = None
            self._calls.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


if sys.version_info >= (3, 12):
    _monitoring = sys.monitoring
    _EVENTS = _monitoring.events
    _EVERYWHERE = _EVENTS.PY_START | _EVENTS.PY_UNWIND | _EVENTS.PY_THROW

    class _Events:
        """Events from `sys.monitoring`: of a code that is not recorded the first one alone."""

        def __init__(self, calls: Calls) -> None:
            self._calls = calls
            self._watched: set[int] = set()
            self._callbacks: dict[int, Callable[..., Any]] = {
                _EVENTS.PY_START: self._start,
                _EVENTS.PY_RESUME: self._resume,
                _EVENTS.PY_YIELD: self._yield,
                _EVENTS.PY_RETURN: self._return,
                _EVENTS.PY_THROW: self._throw,
                _EVENTS.PY_UNWIND: self._unwind,
            }
            self._tool = take_tool(_OURS)
            for event, callback in self._callbacks.items():
                _monitoring.register_callback(self._tool, event, callback)
            _monitoring.set_events(self._tool, _EVERYWHERE)
            _monitoring.restart_events()

        def stop(self) -> None:
            _monitoring.set_events(self._tool, 0)
            for code in self._calls.codes():
                _monitoring.set_local_events(self._tool, code, 0)
            for event in self._callbacks:
                _monitoring.register_callback(self._tool, event, None)
            _monitoring.free_tool_id(self._tool)

        def _start(self, code: CodeType, _: int) -> Any:
            frame = sys._getframe(1)
            recorded = self._calls.code(frame)
            if recorded is None:
                return _monitoring.DISABLE
            if id(code) not in self._watched:
                self._watch(code, recorded)
            self._calls.begin(frame, recorded)
            return None

        def _watch(self, code: CodeType, recorded: Code) -> None:
            events = _EVENTS.PY_RETURN
            if recorded.is_generator:
                events |= _EVENTS.PY_YIELD | _EVENTS.PY_RESUME
            with contextlib.suppress(ValueError):  # another thread has stopped it
                _monitoring.set_local_events(self._tool, code, events)
                self._watched.add(id(code))

        def _resume(self, code: CodeType, _: int) -> None:
            self._calls.goes_on(sys._getframe(1))

        def _yield(self, code: CodeType, _: int, value: object) -> None:
            self._calls.waits(sys._getframe(1), value)

        def _return(self, code: CodeType, _: int, value: object) -> None:
            self._calls.returns(sys._getframe(1), value)

        def _throw(self, code: CodeType, _: int, error: BaseException) -> None:
            self._calls.goes_on(sys._getframe(1), error)

        def _unwind(self, code: CodeType, _: int, error: BaseException) -> None:
            self._calls.raises(sys._getframe(1), error)

else:
    _OPCODES = opcode.opmap
    _SWALLOWING = (_OPCODES["FOR_ITER"], _OPCODES["SEND"])  # StopIteration, which is an event
    _RAISING = (_OPCODES["COPY"], _OPCODES["SWAP"])  # before a POP_EXCEPT that ends no handler
    _Trace = Callable[..., Any]

    class _Events:
        """Events from `sys.settrace`, which alone tells what is raised.

        Each call of any function is an event, and each opcode of a recorded one while it handles an
        exception. Another trace function is called along.
        """

        def __init__(self, calls: Calls) -> None:
            self.calls = calls
            self.is_on = True
            self._thread = threading.get_ident()
            self._theirs = threading.gettrace()
            self._ours = self._follow  # the same one at the end
            self._here = _Thread(self, sys.gettrace())
            self._here.begin()
            threading.settrace(self._ours)

        def stop(self) -> None:
            self.is_on = False
            if threading.get_ident() == self._thread:
                if sys.gettrace() is None and "bdb" not in sys.modules:
                    self.calls.miss(
                        "Python took the trace function away, after an exception in it or by "
                        "sys.settrace(): calls that came later are missing"
                    )
                self._here.end()
            if threading.gettrace() is self._ours:
                threading.settrace(self._theirs)

        def _follow(self, frame: FrameType, event: str, arg: Any) -> Any:
            """Another thread begins."""
            thread = _Thread(self, self._theirs)
            thread.begin()
            return thread.trace(frame, event, arg)

        def begins(self, frame: FrameType) -> bool:
            """Whether a frame that begins, or goes on, is recorded."""
            code = frame.f_code
            recorded = self.calls.code(frame)
            if recorded is None:
                if code.co_name == "set_trace" and frame.f_globals.get("__name__") == "bdb":
                    self._give_lines(frame)
                return False
            last = frame.f_lasti
            if code.co_code[last] == _OPCODES["RESUME"] and code.co_code[last + 1] == 0:
                self.calls.begin(frame, recorded)
            else:
                self.calls.goes_on(frame)
            call = self.calls.find(frame)
            if call is not None and call.error is None:
                call.around = sys.exc_info()[1]
            return call is not None

        def _give_lines(self, frame: FrameType | None) -> None:
            """A debugger begins: it wants to stop at the lines of all that runs."""
            while frame is not None:
                frame.f_trace_lines = True
                frame = frame.f_back

        def inside(self, theirs: _Trace | None) -> _Trace:
            """The trace function of a frame, where there is another one."""
            if theirs is None:
                return self.event

            def trace(frame: FrameType, event: str, arg: Any) -> None:
                nonlocal theirs
                if theirs is not None and event != "opcode":
                    theirs = theirs(frame, event, arg) or theirs
                self.event(frame, event, arg)

            return trace

        def event(self, frame: FrameType, event: str, arg: Any) -> None:
            """The trace function of a frame that is recorded."""
            call = self.calls.find(frame) if self.is_on else None
            if call is not None:
                self._take(call, frame, event, arg)

        def _take(self, call: Call, frame: FrameType, event: str, arg: Any) -> None:
            last = frame.f_lasti
            code = frame.f_code.co_code
            operation = code[last]
            if event == "exception":
                if operation in _SWALLOWING and isinstance(arg[1], StopIteration):
                    return
                call.error, call.last = arg[1], -1
                call.error.with_traceback(arg[2])  # which it gets when it is caught
                frame.f_trace_opcodes = True
                if operation == _OPCODES["YIELD_VALUE"] and call.yields is not None:
                    call.closing |= isinstance(call.error, GeneratorExit)
            elif event == "opcode":
                if call.handled and operation != _OPCODES["PUSH_EXC_INFO"]:
                    error = sys.exc_info()[1]
                    call.error = None if error is call.around else error
                    frame.f_trace_opcodes = call.error is not None
                call.last = last
                call.handled = operation == _OPCODES["END_ASYNC_FOR"] or (
                    operation == _OPCODES["POP_EXCEPT"] and code[last - 2] not in _RAISING
                )
            elif event == "return":
                if operation == _OPCODES["RETURN_VALUE"]:
                    self.calls.returns(frame, arg)
                elif operation == _OPCODES["YIELD_VALUE"] and (
                    call.error is None or call.last == last
                ):
                    self.calls.waits(frame, arg)
                else:
                    self.calls.raises(frame, call.error)

    class _Thread:
        """What follows one thread.

        before: the trace function that was there. Ours is put back where Python took it away, as
        something was raised in it: by a profile function, at the next call or return.
        """

        def __init__(self, events: _Events, before: _Trace | None) -> None:
            self._events = events
            self._before = before

        def begin(self) -> None:
            self._ours = install(sys.settrace, MethodType(_Thread.trace, self), self._put_back_soon)

        def end(self) -> None:
            if self._is_there():
                sys.settrace(self._before)

        def _is_there(self) -> bool:
            return sys.gettrace() is not None and sys.gettrace() is self._ours()

        def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
            events, before = self._events, self._before
            if not events.is_on:
                self.end()
                return before and before(frame, event, arg)
            theirs = before and before(frame, event, arg)
            if before is not None and sys.gettrace() is before:
                self.begin()  # one that is written in C has put itself there
            if not events.begins(frame):
                return theirs
            frame.f_trace_lines = theirs is not None
            return events.inside(theirs)

        def _put_back_soon(self) -> None:
            if self._events.is_on:
                self._profile = sys.getprofile()
                sys.setprofile(self._put_back)

        def _put_back(self, frame: FrameType, event: str, arg: Any) -> None:
            if is_letting_go(frame):
                return
            sys.setprofile(self._profile)
            if not self._events.is_on or sys.gettrace() is not None:
                return
            self.begin()
            each: FrameType | None = frame
            while each is not None:
                if self._events.calls.find(each) is not None and each.f_trace is None:
                    each.f_trace = self._events.event
                each = each.f_back
            if event == "call":  # which it would have heard of
                frame.f_trace = self.trace(frame, event, arg)
