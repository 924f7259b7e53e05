"""`record`: a function whose calls are stored, with all that is needed to make them again."""

from __future__ import annotations

import functools
import inspect
import os
import types
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from typing import Any, TypeVar, overload

from snapshot.errors import UsageError
from snapshot.replay.recorded import Options, Recorded
from snapshot.replay.recorder import Recorder
from snapshot.replay.surroundings import without_recorder
from snapshot.replay.yields import Yields
from snapshot.store.events import Outcome
from snapshot.store.functions import underlying

_T = TypeVar("_T")


@overload
def record(fn: _T, /) -> _T: ...


@overload
def record(
    *,
    store: str | os.PathLike[str] | None = None,
    redact: Iterable[str] = (),
    max_value_bytes: int | None = None,
    when: Callable[..., object] | None = None,
    sample: float = 1.0,
    keep_last: int | None = None,
    background: int | None = None,
) -> Callable[[_T], _T]: ...


def record(
    fn: Any = None,
    /,
    *,
    store: str | os.PathLike[str] | None = None,
    redact: Iterable[str] = (),
    max_value_bytes: int | None = None,
    when: Callable[..., object] | None = None,
    sample: float = 1.0,
    keep_last: int | None = None,
    background: int | None = None,
) -> Any:
    """Store each call of a function: `@record`, or `@record(keep_last=100)`.

    Of a call are stored its arguments as they were, and as they were afterwards where they had
    changed; the globals and the cells of the closure that it reads; what it returned, raised or
    yielded; when it began and how long it took; thread, process and the recorded call that made
    it. The function may be a method (its instance is stored), a class or static method, a
    property, nested, a coroutine function or a generator function. What cannot be stored has a
    placeholder that says why.

    A call costs a few microseconds, and pickling its arguments, twice if they may change: see
    `benchmarks/README.md`. It is on the disk, in the sense of write(2), when it is entered and
    when it is left, whatever becomes of the process. Nothing of the call is changed by it.

    store: a file, or a `postgresql://` URL; None is what SNAPSHOT_STORE says, else
        `.snapshot/store.db` of the project. It is made at the first call.
    redact: names of parameters, keys and attributes whose values are never stored.
    max_value_bytes: of arguments or results that are larger only a placeholder is stored; None,
        the default, is without limit.
    when: called with the arguments; only calls for which it returns something true are recorded.
    sample: the part of the calls that is recorded, above 0 and up to 1.
    keep_last: how many calls of the function are kept in the store; None, the default, is all.
        What went is freed when the store is opened, except for what this process has told last.
    background: bytes, as far as is soon seen, from which on arguments and results are pickled by a
        fork of their own, and the call waits for that fork alone: once for the arguments, once at
        its end. The fork has the descriptors of this process open meanwhile. If it is killed, the
        call is there without those values. None, the default, is never. Not with `redact`.

    Raises `UsageError` if `fn` is no function, or an argument means nothing.
    """
    options = Options.of(redact, max_value_bytes, when, sample, keep_last, background)
    recorder = Recorder.of(store)

    def decorate(fn: Any) -> Any:
        return _decorated(fn, recorder, options)

    return decorate if fn is None else decorate(fn)


def _decorated(fn: Any, recorder: Recorder, options: Options) -> Any:
    if isinstance(fn, classmethod | staticmethod):
        return type(fn)(_decorated(fn.__func__, recorder, options))
    if isinstance(fn, property):
        get, set_, delete = (
            each and _decorated(each, recorder, options) for each in (fn.fget, fn.fset, fn.fdel)
        )
        return property(get, set_, delete, fn.__doc__)
    if not isinstance(fn, types.FunctionType):
        inner = underlying(fn)
        advice = "give a function that is written in Python, a method or a property"
        if inner is not None:
            advice = f"put @record below what was made of {inner.__qualname__}, which it can record"
        raise UsageError(f"record({fn!r}): {advice}")
    if without_recorder(fn) is not fn:
        raise UsageError(f"record({fn.__qualname__}): it is recorded already")
    return _wrapped(fn, recorder, options)


def _wrapped(fn: types.FunctionType, recorder: Recorder, options: Options) -> Any:
    kind, wrap = next((kind, wrap) for is_one, kind, wrap in _KINDS if is_one(fn))
    recorded = Recorded(fn, kind, options)
    wrapper = functools.wraps(fn)(wrap(fn, recorder, recorded))
    if fn.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE:
        wrapper = types.coroutine(wrapper)
    wrapper.__recorded__ = recorded  # type: ignore[attr-defined]
    return wrapper


def _function(fn: Callable[..., Any], recorder: Recorder, recorded: Recorded) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        running = recorder.enter(recorded, args, kwargs)
        if running is None:
            return fn(*args, **kwargs)
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            recorder.leave(recorded, running, args, kwargs, error, Outcome.raised)
            raise
        recorder.leave(recorded, running, args, kwargs, value)
        return value

    return wrapper


def _coroutine(fn: Callable[..., Any], recorder: Recorder, recorded: Recorded) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        running = recorder.enter(recorded, args, kwargs)
        if running is None:
            return await fn(*args, **kwargs)
        try:
            value = await fn(*args, **kwargs)
        except BaseException as error:
            recorder.leave(recorded, running, args, kwargs, error, Outcome.raised)
            raise
        recorder.leave(recorded, running, args, kwargs, value)
        return value

    return wrapper


def _generator(fn: Callable[..., Any], recorder: Recorder, recorded: Recorded) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = fn(*args, **kwargs)
        running = recorder.enter(recorded, args, kwargs)
        if running is None:
            return (yield from body)
        recorder.outside(running.parent)
        yields = Yields()
        result: Any = yields
        outcome, end = Outcome.closed, Outcome.yielded
        step = functools.partial(next, body)
        try:
            while True:
                before = recorder.inside(running)
                try:
                    item = step()
                except StopIteration as stop:
                    outcome = end
                    if stop.value is not None:
                        recorder.yields(recorded, running, yields, stop.value, "return")
                    return stop.value
                finally:
                    recorder.outside(before)
                recorder.yields(recorded, running, yields, item)
                try:
                    sent = yield item
                    step = functools.partial(body.send, sent)
                    if sent is not None:
                        recorder.yields(recorded, running, yields, sent, "send")
                except BaseException as error:  # also GeneratorExit, which the body may refuse
                    step = functools.partial(body.throw, error)
                    if isinstance(error, GeneratorExit):
                        end = Outcome.closed
                    else:
                        recorder.yields(recorded, running, yields, error, "throw")
        except GeneratorExit:
            raise
        except BaseException as error:
            outcome, result = Outcome.raised, yields if yields.raises(error) else error
            raise
        finally:
            recorder.leave(recorded, running, args, kwargs, result, outcome)

    return wrapper


def _async_generator(fn: Callable[..., Any], recorder: Recorder, recorded: Recorded) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        body = fn(*args, **kwargs)
        running = recorder.enter(recorded, args, kwargs)
        if running is not None:
            recorder.outside(running.parent)
        yields = Yields()
        result: Any = yields
        outcome, end = Outcome.closed, Outcome.yielded
        step = body.__anext__
        try:
            while True:
                before = 0 if running is None else recorder.inside(running)
                try:
                    item = await step()
                except StopAsyncIteration:
                    outcome = end
                    return
                finally:
                    if running is not None:
                        recorder.outside(before)
                if running is not None:
                    recorder.yields(recorded, running, yields, item)
                try:
                    sent = yield item
                    step = functools.partial(body.asend, sent)
                    if sent is not None and running is not None:
                        recorder.yields(recorded, running, yields, sent, "send")
                except BaseException as error:  # also GeneratorExit, which the body may refuse
                    step = functools.partial(body.athrow, error)
                    if isinstance(error, GeneratorExit):
                        end = Outcome.closed
                    elif running is not None:
                        recorder.yields(recorded, running, yields, error, "throw")
        except GeneratorExit:
            raise
        except BaseException as error:
            outcome, result = Outcome.raised, yields if yields.raises(error) else error
            raise
        finally:
            if running is not None:
                recorder.leave(recorded, running, args, kwargs, result, outcome)

    return wrapper


_KINDS: tuple[tuple[Callable[[Any], bool], str, Callable[..., Any]], ...] = (
    (inspect.isasyncgenfunction, "async generator", _async_generator),
    (inspect.iscoroutinefunction, "coroutine", _coroutine),
    (inspect.isgeneratorfunction, "generator", _generator),
    (callable, "function", _function),
)
