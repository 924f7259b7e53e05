"""Hooks: Python tells of each call of a function, and the calls are counted by code object.

A code object is asked for once whether it is counted. From Python 3.12 on `sys.monitoring` tells,
under a tool id of its own, beside debuggers, coverage and profilers. Where no more is wanted than
that a function was called, it is told of its first call alone, until `again`; what is not counted
costs nothing either. Python 3.11 tells a profile function, of each call, and of those of C
functions: that is as cheap as a trace function, and leaves coverage and debuggers alone.
"""

from __future__ import annotations

import ctypes
import itertools
import opcode
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, MethodType
from typing import Any

from snapshot.core.monitoring import install, take_tool
from snapshot.errors import UsageError

_OURS = "snapshot.heat"
_UNUSED = 2  # references to a code object that nobody else has

Calls = Iterator[int]  # each `next` is one more


class Counter:
    """The calls of one code object.

    what: what was said of it when it was admitted. number: for whoever asks to keep one.
    """

    __slots__ = ("_taken", "calls", "code", "number", "what")

    def __init__(self, code: CodeType, what: Any) -> None:
        self.code, self.what = code, what
        self.number: int | None = None
        self.calls: Calls = itertools.count()
        self._taken = 0

    def take(self) -> int:
        """How many there were since this was asked last."""
        now = next(self.calls)
        count, self._taken = now - self._taken, now + 1  # our own `next` is no call
        return count


class _Counting:
    """What both kinds of hooks share.

    admit: what is to be kept of a code object that is called for the first time, in its first
    frame; None if its calls are not counted. every: whether each call is of interest.
    """

    def __init__(self, admit: Callable[[FrameType], Any], *, every: bool) -> None:
        self._admit = admit
        self._every = every
        self._calls: dict[int, Calls] = {}  # by the id of a code object, which a counter holds
        self._counters: dict[int, Counter] = {}

    def counters(self) -> list[Counter]:
        """Those of all functions that were called."""
        return list(self._counters.values())

    def forget_unused(self) -> None:
        """Let go of code that nobody can call any more: programs that make code make it anew."""
        for number in list(self._counters):  # numbers, so that one that goes may take others along
            counter = self._counters[number]
            if sys.getrefcount(counter.code) <= _UNUSED:
                del self._calls[number], self._counters[number]

    def restart(self) -> list[Counter]:
        """Begin anew: with each next call code is asked for again. Returns what was counted."""
        before, self._counters = self._counters, {}  # in this order: other threads go on calling
        self._calls.clear()
        self.again()
        return [each for each in before.values() if each.what is not None]

    def again(self) -> None:
        """Tell of a next call of each function that was told of already."""

    def _first(self, frame: FrameType) -> bool:
        """Code is called for the first time. Whether its calls are counted."""
        try:
            what = self._admit(frame)
            if what is not None:
                self._add(frame.f_code, what)
        except Exception:  # in the last moments of Python its modules are empty
            return False
        return what is not None

    def _add(
        self, code: CodeType, what: Any, through: Callable[[Calls], Calls] | None = None
    ) -> None:
        """The first call. through: what the hook counts the others through."""
        counter = self._counters.setdefault(id(code), Counter(code, what))
        self._calls[id(code)] = through(counter.calls) if through else counter.calls
        next(counter.calls)


if sys.version_info >= (3, 12):
    _M = sys.monitoring
    _START = _M.events.PY_START

    class Counting(_Counting):
        """By `sys.monitoring`; that a generator goes on is no event that it asks for."""

        def start(self) -> None:
            """Begin. Raises `UsageError` where that cannot be."""
            self._tool = tool = take_tool(_OURS)
            _M.register_callback(tool, _START, self._hook())
            _M.set_events(tool, _START)

        def stop(self) -> None:
            """End it."""
            _M.set_events(self._tool, 0)
            _M.register_callback(self._tool, _START, None)
            _M.free_tool_id(self._tool)

        def again(self) -> None:
            """Other tools, too, are told again of what they had disabled: it is for all of them."""
            if not self._every:
                _M.restart_events()

        def _hook(self) -> Callable[[CodeType, int], Any]:
            calls, first, disable, caller = self._calls, self._first, _M.DISABLE, sys._getframe

            # Two functions, since of one of them each call is counted: `next` is one step, which no
            # other thread comes between.
            def each(
                code: CodeType, _: int, calls: dict[int, Calls] = calls, id: Any = id
            ) -> object:
                try:
                    next(calls[id(code)])
                except KeyError:
                    return None if first(caller(1)) else disable
                return None

            def once(code: CodeType, _: int) -> object:
                try:
                    next(calls[id(code)])
                except KeyError:
                    first(caller(1))
                return disable

            return each if self._every else once

else:
    _RESUME = opcode.opmap["RESUME"]
    _PendingCall = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    _GENERATORS = 0x20 | 0x80 | 0x200  # flags of a code object: generator, coroutine, both

    class Counting(_Counting):
        """By `sys.setprofile`: this thread, and those that it starts.

        What takes the place of the profile function, as cProfile does, ends it in that thread; in
        the main thread until `again` is called after that. Where Python takes the function away, as
        the handler of a signal raised something in it, it is put back at the next call, by a trace
        function, unless there is another one of these. Where the stack was full nobody is told.
        """

        def start(self) -> None:
            """Begin. Raises `UsageError` where that cannot be."""
            if (other := sys.getprofile()) is not None:
                raise UsageError(f"another profile function, {other!r}, is there already")
            self._hook = self._made()
            self._is_on = True
            self._ours = self._begin  # the same one at the end
            self._main: Any = None
            self._put_back_now = _PendingCall(self._pending)
            _started.append(self)
            threading.setprofile(self._ours)
            self._install()

        def stop(self) -> None:
            """End it."""
            self._is_on = False
            if getattr(sys.getprofile(), "__func__", None) is self._hook:
                sys.setprofile(None)
            if threading.getprofile() is self._ours:
                threading.setprofile(None)

        def again(self) -> None:
            """See whether the main thread has its function."""
            if self._is_on and self._main is not None and self._main() is None:
                ctypes.pythonapi.Py_AddPendingCall(self._put_back_now, None)

        def _pending(self, _: object) -> int:
            """In the main thread, between two steps of whatever it does."""
            if self._is_on and sys.getprofile() is None:
                self._install()
            return 0

        def _begin(self, frame: FrameType, event: str, arg: Any) -> None:
            """Another thread begins."""
            self._install()
            self._hook(self._calls, frame, event, arg)

        def _install(self) -> None:
            hook = MethodType(self._hook, self._calls)
            installed = install(sys.setprofile, hook, self._put_back_soon)
            if threading.current_thread() is threading.main_thread():
                self._main = installed

        def _put_back_soon(self) -> None:
            if self._is_on and sys.gettrace() is None:
                sys.settrace(self._put_back)

        def _put_back(self, frame: FrameType, event: str, arg: Any) -> None:
            """At a call, which the profile function hears of next."""
            sys.settrace(None)
            if self._is_on and sys.getprofile() is None:
                self._install()

        def _made(self) -> Callable[..., None]:
            first = self._first

            def hook(
                calls: dict[int, Calls], frame: FrameType, event: str, _: Any, id: Any = id
            ) -> None:
                if event == "call":
                    try:
                        next(calls[id(frame.f_code)])
                    except KeyError:
                        first(frame)

            return hook

        def _first(self, frame: FrameType) -> bool:
            try:
                code, what = frame.f_code, self._admit(frame)
                if what is None or not code.co_flags & _GENERATORS:
                    self._add(code, what)
                elif _begins(frame):  # else it was begun before, and the next one is asked for
                    self._add(code, what, _Beginnings)
            except Exception:  # as above
                return False
            return what is not None

        def counters(self) -> list[Counter]:
            """Also code that is not counted has one, so that it is asked for once."""
            return [each for each in super().counters() if each.what is not None]

    _started: list[Counting] = []  # for ever, as what is pending may be called at any later time

    class _Beginnings:
        """The calls of a generator: that it goes on is told as a call, too."""

        def __init__(self, calls: Calls) -> None:
            self._calls = calls

        def __iter__(self) -> _Beginnings:
            return self

        def __next__(self) -> int:
            """From the hook, whose caller it is."""
            return next(self._calls) if _begins(sys._getframe(2)) else 0

    def _begins(frame: FrameType) -> bool:
        last, code = frame.f_lasti, frame.f_code.co_code
        return code[last] == _RESUME and code[last + 1] == 0
