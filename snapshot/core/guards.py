"""What belongs to the original is closed, deleted and committed by the original alone."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Literal, ParamSpec, TypeVar, cast, overload

from snapshot.core import line
from snapshot.core.messages import say
from snapshot.errors import RootOnly, UsageError

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
Otherwise = Literal["skip", "raise"] | Callable[..., Any]
Allowed = Callable[[], bool]
Callback = Callable[[], object]


@overload
def root_only(function: F, /) -> F: ...
@overload
def root_only(
    manager: AbstractContextManager[T] | AbstractAsyncContextManager[T], /
) -> RootOnlyContext: ...
@overload
def root_only(*, otherwise: Otherwise = "skip") -> Callable[[F], F]: ...
def root_only(function: Any = None, /, *, otherwise: Otherwise = "skip") -> Any:
    """Let a function, or the exit of a context manager, run in the original alone.

    otherwise: what a call does in an experiment or a disposable fork. "skip" (the default)
    returns None, and from a generator function no items; "raise" raises `RootOnly`; a callable is
    called with the same arguments and its result returned (awaited, or yielded from, where the
    function is a coroutine or generator function).

    Takes plain functions, methods, coroutine functions, generator functions and asynchronous
    generator functions; each stays what it was, with its name and signature. Used bare
    (`@root_only`) or called (`@root_only(otherwise="raise")`).

    `with root_only(manager) as x:` enters a context manager, a synchronous or an asynchronous one;
    its exit runs in the process that entered it, and in an experiment that leaves the block it is
    skipped.

    Raises `UsageError` for another `otherwise`, and for what is neither.
    """
    _check(otherwise, "root_only")
    if function is None:
        return functools.partial(_guarded, otherwise=otherwise, allowed=line.is_root)
    if hasattr(type(function), "__exit__") or hasattr(type(function), "__aexit__"):
        return RootOnlyContext(function)
    return _guarded(function, otherwise, line.is_root)


def _check(otherwise: Otherwise, name: str) -> None:
    if otherwise not in ("skip", "raise") and not callable(otherwise):
        raise UsageError(
            f'{name}(otherwise={otherwise!r}): it must be "skip", "raise" or something callable'
        )


def guard(thing: T, /, *names: str, otherwise: Otherwise = "skip") -> T:
    """Let these methods of an object run in the process that called this, and nowhere else.

    names: as "close", "commit", or "__exit__" for the end of a `with` block that begins later.
    otherwise: what a call does in an experiment or a disposable fork, as for `root_only`.

    Returns the object. After `keep()` the methods run in the process that is the original then.
    Raises `UsageError` for a method that is not there, and where Python lets nobody set attributes
    of such an object; nothing is guarded then.
    """
    _check(otherwise, "guard")
    if not names:
        raise UsageError('guard: name the methods, as guard(connection, "commit", "close")')
    for name in names:
        if not callable(getattr(thing, name, None)):
            kind = type(thing).__qualname__
            raise UsageError(f"guard: this {kind} has no method {name!r}; nothing is guarded")
    allowed = functools.partial(line.owns, os.getpid())
    special = {name for name in names if name.startswith("__")}
    try:
        if special:
            _guard_special(cast(Any, thing), special, otherwise, allowed)
        for name in set(names) - special:
            setattr(thing, name, _guarded(getattr(thing, name), otherwise, allowed))
    except (AttributeError, TypeError):
        raise UsageError(
            f"guard: the methods of a {type(thing).__qualname__} cannot be replaced; decorate the "
            "functions that call them with @root_only; nothing is guarded"
        ) from None
    return thing


def _guard_special(thing: Any, names: set[str], otherwise: Otherwise, allowed: Allowed) -> None:
    """Python looks these up in the class, so the object gets one of its own."""
    kind = type(thing)
    methods = {name: _guarded(getattr(kind, name), otherwise, allowed) for name in names}
    thing.__class__ = type(kind.__name__, (kind,), {**methods, "__module__": kind.__module__})


class RootOnlyContext:
    """A context manager whose exit is left to the process that entered it."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._entered: int | None = None

    def __enter__(self) -> Any:
        self._entered = os.getpid()
        return self._context.__enter__()

    def __exit__(self, *error: Any) -> Any:
        return self._context.__exit__(*error) if line.owns(self._entered) else None

    async def __aenter__(self) -> Any:
        self._entered = os.getpid()
        return await self._context.__aenter__()

    async def __aexit__(self, *error: Any) -> Any:
        return await self._context.__aexit__(*error) if line.owns(self._entered) else None


_callbacks: list[tuple[Callback | None, Callback | None]] = []


def on_snapshot(enter: Callback | None = None, leave: Callback | None = None) -> Callable[[], None]:
    """Call a function in each experiment as it begins, another one in the original when it is back.

    enter: called in the child, of `snapshot()` and of a disposable fork, before anything else of
        the user's: to connect anew, for instance.
    leave: called in the process that resumes, before `snapshot()` returns there;
        `last_experiment()` has what ended. Not called for disposable forks.

    Those that were registered first are called first; what one raises is told in a line on standard
    error, and the rest goes on. Returns a function that takes both back. Raises `UsageError` for
    what cannot be called.
    """
    for callback in (enter, leave):
        if callback is not None and not callable(callback):
            raise UsageError(f"on_snapshot: {callback!r} cannot be called")
    if enter is None and leave is None:
        raise UsageError("on_snapshot: give enter=, leave= or both")
    entry = (enter, leave)
    _callbacks.append(entry)

    def remove() -> None:
        if entry in _callbacks:
            _callbacks.remove(entry)

    return remove


def entered() -> None:
    """In a child that is about to go on."""
    for enter, _ in list(_callbacks):
        _call(enter)


def left() -> None:
    """In the process that resumes."""
    for _, leave in list(_callbacks):
        _call(leave)


def _call(callback: Callback | None) -> None:
    try:
        if callback is not None:
            callback()
    except Exception as error:
        name = getattr(callback, "__qualname__", repr(callback))
        say(f"snapshot: on_snapshot: {name} raised {type(error).__name__}: {error}")


def _guarded(
    function: Callable[..., Any], otherwise: Otherwise, allowed: Allowed
) -> Callable[..., Any]:
    if isinstance(function, staticmethod | classmethod):
        inner = _guarded(function.__func__, otherwise, allowed)
        return cast(Callable[..., Any], type(function)(inner))
    if not callable(function):
        raise UsageError(f"root_only takes a function or a context manager, not {function!r}")
    if inspect.isasyncgenfunction(function):
        return _guarded_async_generator(function, otherwise, allowed)
    if inspect.iscoroutinefunction(function):
        return _guarded_coroutine(function, otherwise, allowed)
    if inspect.isgeneratorfunction(function):
        return _guarded_generator(function, otherwise, allowed)
    return _guarded_function(function, otherwise, allowed)


def _guarded_function(
    function: Callable[P, Any], otherwise: Otherwise, allowed: Allowed
) -> Callable[P, Any]:
    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        if allowed():
            return function(*args, **kwargs)
        return _instead(function, otherwise, *args, **kwargs)

    return guarded


def _guarded_coroutine(
    function: Callable[P, Any], otherwise: Otherwise, allowed: Allowed
) -> Callable[P, Any]:
    @functools.wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        if allowed():
            return await function(*args, **kwargs)
        result = _instead(function, otherwise, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return guarded


def _guarded_generator(
    function: Callable[P, Any], otherwise: Otherwise, allowed: Allowed
) -> Callable[P, Any]:
    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        if allowed():
            return (yield from function(*args, **kwargs))
        result = _instead(function, otherwise, *args, **kwargs)
        if result is None:
            return None
        return (yield from result)

    return guarded


def _guarded_async_generator(
    function: Callable[P, Any], otherwise: Otherwise, allowed: Allowed
) -> Callable[P, Any]:
    @functools.wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        if allowed():
            items = function(*args, **kwargs)
        else:
            items = _instead(function, otherwise, *args, **kwargs)
        if items is None:
            return
        step = items.__anext__()
        while True:
            try:
                item = await step
            except StopAsyncIteration:
                return
            try:
                sent = yield item
            except GeneratorExit:
                await items.aclose()
                raise
            except BaseException as error:
                step = items.athrow(error)
            else:
                step = items.asend(sent)

    return guarded


def _instead(
    function: Callable[..., Any], otherwise: Otherwise, /, *args: Any, **kwargs: Any
) -> Any:
    if callable(otherwise):
        return otherwise(*args, **kwargs)
    if otherwise == "raise":
        name = getattr(function, "__qualname__", repr(function))
        raise RootOnly(f"{name} runs in the original alone; process {os.getpid()} is not it")
    return None
