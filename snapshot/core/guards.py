"""What belongs to the original is closed, deleted and committed by the original alone."""

from __future__ import annotations

import atexit
import functools
import inspect
import os
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Literal, ParamSpec, TypeVar, cast, overload

from snapshot.core import line
from snapshot.errors import RootOnly, UsageError

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
Otherwise = Literal["skip", "raise"] | Callable[..., Any]


@overload
def root_only(function: F, /) -> F: ...
@overload
def root_only(*, otherwise: Otherwise = "skip") -> Callable[[F], F]: ...
def root_only(function: F | None = None, /, *, otherwise: Otherwise = "skip") -> Any:
    """Let a function run in the original alone.

    otherwise: what a call does in an experiment or a disposable fork. "skip" (the default)
    returns None, and from a generator function no items; "raise" raises `RootOnly`; a callable is
    called with the same arguments and its result returned (awaited, or yielded from, where the
    function is a coroutine or generator function).

    Takes plain functions, methods, coroutine functions, generator functions and asynchronous
    generator functions; each stays what it was, with its name and signature. Used bare
    (`@root_only`) or called (`@root_only(otherwise="raise")`). Raises `UsageError` for another
    `otherwise`.
    """
    if otherwise not in ("skip", "raise") and not callable(otherwise):
        raise UsageError(
            f'root_only(otherwise={otherwise!r}): it must be "skip", "raise" or something callable'
        )
    if function is None:
        return functools.partial(_guarded, otherwise=otherwise)
    return _guarded(function, otherwise)


def _guarded(function: Callable[..., Any], otherwise: Otherwise) -> Callable[..., Any]:
    if isinstance(function, staticmethod | classmethod):
        return cast(Callable[..., Any], type(function)(_guarded(function.__func__, otherwise)))
    if not callable(function):
        raise UsageError(f"root_only takes a function, not {function!r}")
    if inspect.isasyncgenfunction(function):
        return _guarded_async_generator(function, otherwise)
    if inspect.iscoroutinefunction(function):
        return _guarded_coroutine(function, otherwise)
    if inspect.isgeneratorfunction(function):
        return _guarded_generator(function, otherwise)
    return _guarded_function(function, otherwise)


def _guarded_function(function: Callable[P, Any], otherwise: Otherwise) -> Callable[P, Any]:
    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        if line.is_root():
            return function(*args, **kwargs)
        return _instead(function, otherwise, *args, **kwargs)

    return guarded


def _guarded_coroutine(function: Callable[P, Any], otherwise: Otherwise) -> Callable[P, Any]:
    @functools.wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
        if line.is_root():
            return await function(*args, **kwargs)
        result = _instead(function, otherwise, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return guarded


def _guarded_generator(function: Callable[P, Any], otherwise: Otherwise) -> Callable[P, Any]:
    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        if line.is_root():
            return (yield from function(*args, **kwargs))
        result = _instead(function, otherwise, *args, **kwargs)
        if result is None:
            return None
        return (yield from result)

    return guarded


def _guarded_async_generator(function: Callable[P, Any], otherwise: Otherwise) -> Callable[P, Any]:
    @functools.wraps(function)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        if line.is_root():
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


class Finalizers:
    """The finalizers of the original, laid aside in a child that was just forked.

    `weakref.finalize` keeps its callbacks in one registry, and so they are found there, those of
    temporary directories among them.
    """

    def __init__(self) -> None:
        registry = _registry()
        self._aside = registry.copy()
        registry.clear()
        if getattr(weakref.finalize, "_registered_with_atexit", False):
            # The handler that Python registered for it belongs to the original now.
            atexit.register(cast(Any, weakref.finalize)._exitfunc)

    def __contains__(self, finalizer: object) -> bool:
        return finalizer in self._aside

    def take_over(self) -> None:
        """This process is the original now: those whose object is gone run, the others return."""
        registry = _registry()
        registry.update(self._aside)
        for finalizer, info in list(self._aside.items()):
            if info.weakref() is None:
                finalizer()
        self._aside.clear()


def _registry() -> dict[Any, Any]:
    registry: dict[Any, Any] = weakref.finalize._registry  # type: ignore[attr-defined]
    return registry


_finalizers: list[Finalizers] = []
_deferred: list[Callable[[], object]] = []
_closers: weakref.WeakSet[Any] = weakref.WeakSet()


def prepare() -> None:
    """Before a fork, so that the child need not copy the memory: guard the temporary files."""
    tempfile: Any = sys.modules.get("tempfile")
    if tempfile is not None:
        _guard_directories(tempfile.TemporaryDirectory)
        _guard_files(tempfile._TemporaryFileCloser)


def lay_aside() -> None:
    """In a child that was just forked: what the original made is not cleaned up here."""
    if _registry() or getattr(weakref.finalize, "_registered_with_atexit", False):
        _finalizers.append(Finalizers())


def finish() -> None:
    """At an orderly end: delete the temporary files that this process made, as Python would."""
    for closer in list(_closers):
        if closer._made_by == os.getpid():
            getattr(closer, "cleanup", closer.close)()


def take_over() -> None:
    """`keep()`: what was laid aside is this process's own from now on."""
    for finalizers in _finalizers:
        finalizers.take_over()
    _finalizers.clear()
    for cleanup in _deferred:
        cleanup()
    _deferred.clear()


def _guard_directories(directory: Any) -> None:
    """A TemporaryDirectory deletes its directory in `cleanup` even without its finalizer."""
    cleanup = directory.cleanup
    if getattr(cleanup, "_guarded", False):
        return

    @functools.wraps(cleanup)
    def guarded(self: Any) -> None:
        if any(self._finalizer in each for each in _finalizers):
            _deferred.append(functools.partial(cleanup, self))
        else:
            cleanup(self)

    guarded._guarded = True  # type: ignore[attr-defined]
    directory.cleanup = guarded


def _guard_files(closer: Any) -> None:
    """A NamedTemporaryFile is closed in the experiment, but not deleted.

    One that was made in this process carries its pid; those of the original carry none, or
    another.
    """
    if getattr(closer, "_guarded", False):
        return
    make, end = closer.__init__, "cleanup" if hasattr(closer, "cleanup") else "close"
    finish = getattr(closer, end)

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        self._made_by = os.getpid()
        _closers.add(self)

    @functools.wraps(finish)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        if line.owns(getattr(self, "_made_by", None)) or not self.delete:
            finish(self, *args, **kwargs)
            return
        name, self.delete = self.name, False
        finish(self, *args, **kwargs)
        _deferred.append(functools.partial(_unlink, name))

    closer.__init__, closer._guarded = __init__, True
    setattr(closer, end, guarded)


def _unlink(name: str) -> None:
    if os.path.exists(name):
        os.unlink(name)
