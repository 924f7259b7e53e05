"""Calls that are seen by their frames: what is recorded of a code, and those that run."""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FrameType, FunctionType
from typing import Any

from snapshot.errors import FunctionNotFound, StoreError
from snapshot.replay.recorded import Args, Kwargs, Options, Recorded
from snapshot.replay.recorder import Recorder, Running
from snapshot.replay.yields import Yields
from snapshot.store import functions
from snapshot.store.bytecode import code_digest
from snapshot.store.events import Outcome

_RECORD = "snapshot.replay.decorator"
_KINDS = {0x20: "generator", 0x80: "coroutine", 0x200: "async generator"}
_HAS_MONITORING = sys.version_info >= (3, 12)
_IS_QUIET = sys.version_info >= (3, 13)  # a generator may be closed with no event at all


class Code(Recorded):
    """What is recorded of a code object. Its function is not known where no name leads to it."""

    def __init__(self, frame: FrameType, options: Options) -> None:
        code = self.code = frame.f_code
        named = _named(frame)
        kind = next((kind for flag, kind in _KINDS.items() if code.co_flags & flag), "function")
        super().__init__(named or _made(frame), kind, options)
        self.is_async = kind == "async generator"
        self._is_named = named is not None
        names = functions.parameters(code)
        self._keywords = names.keyword_only
        self._more, self._others = names.varargs, names.varkw
        if named is None:
            facts = self.facts  # now: what is in its cells is not kept
            if any(each in options.redact for each in (*self._positional, *self._keywords)):
                facts["source"] = None  # it may have a default that is to be redacted
            empty = tuple(CellType() for _ in code.co_freevars)
            self.function = FunctionType(code, frame.f_globals, code.co_name, None, empty)

    def bound(self, frame: FrameType) -> tuple[Args, Kwargs]:
        """The arguments of a frame that begins; as `functions.split`."""
        values = frame.f_locals
        args = tuple([values[each] for each in self._positional])
        if self._more is not None:
            args += values[self._more]
        kwargs = {each: values[each] for each in self._keywords}
        if self._others is not None:
            kwargs.update(values[self._others])
        return args, kwargs

    def function_of(self, frame: FrameType) -> FunctionType:
        """The function that was called, or one with the same globals and contents of cells."""
        if self._is_named and self.function.__globals__ is frame.f_globals:
            return self.function
        return _made(frame)


def _named(frame: FrameType) -> FunctionType | None:
    """The function of a frame, if its name leads to it."""
    code, name = frame.f_code, str(frame.f_globals.get("__name__"))
    module = sys.modules.get(name)
    if module is None or "<locals>" in code.co_qualname:
        return None
    try:
        key = functions.key_of(code, name)
        found = functions.find(key, digest=code_digest(code), module=module)
    except FunctionNotFound:
        return None
    return found if found.__code__ is code else None


def _made(frame: FrameType) -> FunctionType:
    """The function of a frame where it holds itself, else one like it, without its defaults."""
    code, values = frame.f_code, frame.f_locals
    cells = []
    for name in code.co_freevars:
        value = values.get(name)
        if type(value) is FunctionType and value.__code__ is code:
            return value
        cells.append(CellType(value) if name in values else CellType())
    return FunctionType(code, frame.f_globals, code.co_name, None, tuple(cells))


class Call:
    """One that runs.

    waits: after a yield. closing: a GeneratorExit was thrown into it. before: the number of the
    call that it was asked in. alive: of what lives as long as its frame.

    For a trace function, error: what was raised in its frame and is not known to be handled;
    around: what was handled when its frame began; last: the opcode it has reached, if no exception
    came since; handled: whether that ends a handler.
    """

    __slots__ = (
        *("alive", "args", "around", "before", "closing", "error", "handled"),
        *("kwargs", "last", "recorded", "running", "waits", "yields"),
    )

    def __init__(self, recorded: Code, running: Running, args: Args, kwargs: Kwargs) -> None:
        self.recorded = recorded
        self.running = running
        self.args = args
        self.kwargs = kwargs
        self.yields = Yields() if recorded.is_generator else None
        self.waits = False
        self.closing = False
        self.before = running.parent
        self.alive: weakref.ref[_Mark] | None = None
        self.error: BaseException | None = None
        self.around: BaseException | None = None
        self.last = -1
        self.handled = False


class _Mark:
    """As a trace function that nobody calls it dies with a frame, which has no weak references."""

    def __bool__(self) -> bool:
        return False  # a debugger puts its own there

    def __call__(self, *_: object) -> None:
        pass


class Calls:
    """Those that run, by the ids of their frames, and the codes that were met."""

    def __init__(
        self, wanted: Callable[[FrameType], bool], recorder: Recorder, options: Options
    ) -> None:
        self._wanted = wanted
        self._recorder = recorder
        self._options = options
        self._running: dict[int, Call] = {}
        self._codes: dict[int, tuple[CodeType, Code | None]] = {}

    def code(self, frame: FrameType) -> Code | None:
        """What is to be recorded of a frame. Never raises."""
        code = frame.f_code
        known = self._codes.get(id(code))
        if known is None:
            found = None
            try:
                if self._wanted(frame):
                    found = Code(frame, self._options)
            except Exception as error:
                self._recorder._lose(error)
            if found is None and _HAS_MONITORING:
                return None  # which nobody will ask again
            known = self._codes.setdefault(id(code), (code, found))
        return known[1]

    def codes(self) -> Iterator[CodeType]:
        """Those that are recorded."""
        return (code for code, found in [*self._codes.values()] if found is not None)

    def find(self, frame: FrameType) -> Call | None:
        call = self._running.get(id(frame))
        return call if call is not None and call.recorded.code is frame.f_code else None

    def begin(self, frame: FrameType, recorded: Code) -> None:
        """A frame begins."""
        self._running.pop(id(frame), None)  # of one that is gone
        back = frame.f_back
        if back is not None and back.f_globals.get("__name__") == _RECORD:
            return
        try:
            args, kwargs = recorded.bound(frame)
            function = recorded.function_of(frame) if recorded.surroundings.exist else None
        except Exception as problem:
            self._recorder._lose(problem)
            return
        running = self._recorder.enter(recorded, args, kwargs, function)
        if running is None:
            return
        call = self._running[id(frame)] = Call(recorded, running, args, kwargs)
        if _IS_QUIET and recorded.is_generator and frame.f_trace is None:
            mark = frame.f_trace = _Mark()
            call.alive = weakref.ref(mark, functools.partial(self._gone, id(frame), call))

    def goes_on(self, frame: FrameType, error: BaseException | None = None) -> None:
        """It goes on, with what is thrown into it."""
        call = self.find(frame)
        if call is not None and call.yields is not None:
            call.closing |= isinstance(error, GeneratorExit)
            if error is not None and not call.closing and call.waits:
                self._tell(call, error, "throw")
            if call.waits:  # for who asks it, and not for what it awaits
                call.waits = False
                call.before = self._recorder.inside(call.running)

    def waits(self, frame: FrameType, value: Any) -> None:
        """It yields, or awaits."""
        call = self.find(frame)
        if call is None or call.yields is None:
            return
        if call.recorded.is_async:
            if type(value).__name__ != "async_generator_wrapped_value":
                return
            (value,) = gc.get_referents(value)
        call.waits = True
        self._recorder.outside(call.before)
        self._recorder.yields(call.recorded, call.running, call.yields, value)

    def returns(self, frame: FrameType, value: Any) -> None:
        """It ends."""
        call = self.find(frame)
        if call is None:
            return
        if call.yields is None:
            self._end(frame, call, value, Outcome.returned)
        else:
            if value is not None:
                self._tell(call, value, "return")
            outcome = Outcome.closed if call.closing else Outcome.yielded
            self._end(frame, call, call.yields, outcome)

    def raises(self, frame: FrameType, error: BaseException | None) -> None:
        """It is left with an exception."""
        call = self.find(frame)
        if call is None:
            return
        if call.yields is not None and isinstance(error, GeneratorExit):
            self._end(frame, call, call.yields, Outcome.closed)
        elif call.yields is not None and error is not None and call.yields.raises(error):
            self._end(frame, call, call.yields, Outcome.raised)
        else:
            self._end(frame, call, error, Outcome.raised)

    def _tell(self, call: Call, value: Any, how: str) -> None:
        assert call.yields is not None
        self._recorder.yields(call.recorded, call.running, call.yields, value, how)

    def _end(self, frame: FrameType, call: Call, value: Any, outcome: Outcome) -> None:
        self._running.pop(id(frame), None)
        if call.yields is not None:
            self._recorder.outside(call.before)
        self._leave(call, value, outcome)

    def _leave(self, call: Call, value: Any, outcome: Outcome) -> None:
        call.alive = None
        recorder, recorded = self._recorder, call.recorded
        recorder.leave(recorded, call.running, call.args, call.kwargs, value, outcome)

    def _gone(self, number: int, call: Call, _: object) -> None:
        """A frame has ended without an event."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if id(frame) == number:
                return  # a debugger has put its own trace function there
            frame = frame.f_back
        if self._running.get(number) is call:
            del self._running[number]
            self._leave(call, call.yields, Outcome.closed)

    def miss(self, why: str) -> None:
        """Calls could not be recorded; it is counted, and said once."""
        self._recorder._lose(StoreError(why))

    def stop(self) -> None:
        """What runs in this thread is no more the parent of what comes."""
        outermost = None
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            outermost = self.find(frame) or outermost
            frame = frame.f_back
        if outermost is not None:
            self._recorder.outside(outermost.before)
        while self._running:
            self._running.popitem()[1].alive = None
