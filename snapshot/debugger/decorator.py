"""`rewindable`: a function whose calls can be gone back to when they have raised."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Generator
from types import CodeType, FunctionType, TracebackType
from typing import Any, TypeVar, overload

from snapshot.core.entry import Entry
from snapshot.debugger.entries import KEEP, Entries
from snapshot.errors import UsageError

_T = TypeVar("_T")


@overload
def rewindable(function: _T, /) -> _T: ...
@overload
def rewindable(*, keep: int = KEEP) -> Callable[[_T], _T]: ...
def rewindable(function: Any = None, /, *, keep: int = KEEP) -> Any:
    """Keep a frozen fork at the entry of a function's calls, so that one that raises can be redone.

    `@rewindable`, or `@rewindable(keep=10)`. A call that returns ends its fork. One that raises
    leaves it for as long as the exception is there, and no longer than until `keep` later calls
    have raised: until then `rewind()`, or `rewind` at the debugger's prompt, goes back there. The
    debugger stands at the function's first line then, in an experiment, with the arguments
    themselves as they were, whatever they are.

    keep: how many calls that are under way have a fork, nested ones included: the outermost, and
        the latest ones; and how many that have raised.

    The function may be a method, a class or static method, a coroutine function or a generator
    function; of these two the fork is made when the body begins. Where a past is kept already,
    under the debugger, none is made.

    Each call costs a fork, which is frozen and killed: a millisecond or two, and 20-50 ms in a
    process of 1 GB. The fork has no other threads. Where the system refuses, the call goes on, and
    one line says so once.

    Raises `UsageError` if `function` is none, or an asynchronous generator function, or if `keep`
    means nothing.
    """
    entries = Entries(keep)
    if function is None:
        return functools.partial(_decorated, entries=entries)
    return _decorated(function, entries)


def _decorated(function: Any, entries: Entries) -> Any:
    if isinstance(function, classmethod | staticmethod):
        return type(function)(_decorated(function.__func__, entries))
    if not isinstance(function, FunctionType):
        raise UsageError(f"rewindable({function!r}): give a function that is written in Python")
    if inspect.isasyncgenfunction(function):
        raise UsageError(
            f"rewindable({function.__qualname__}): an asynchronous generator cannot be gone back "
            "to; decorate what it calls"
        )
    if inspect.iscoroutinefunction(function):
        return _coroutine(function, entries)
    if inspect.isgeneratorfunction(function):
        return _generator(function, entries)
    return _function(function, entries)


class _Call:
    """One call, from its entry to its end."""

    def __init__(self, code: CodeType, entries: Entries) -> None:
        self._code = code
        self._entries = entries
        self._entry: Entry | None = None

    def __enter__(self) -> None:
        self._entry = self._entries.begin(self._code, sys._getframe(1))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._entry is not None:
            self._entries.end(self._entry, error)


def _code_of(function: FunctionType) -> CodeType:
    """Of what other decorators have been put around."""
    inner = inspect.unwrap(function)
    return inner.__code__ if isinstance(inner, FunctionType) else function.__code__


def _function(function: FunctionType, entries: Entries) -> Any:
    code = _code_of(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Call(code, entries):
            return function(*args, **kwargs)

    return wrapper


def _coroutine(function: FunctionType, entries: Entries) -> Any:
    code = _code_of(function)

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _Call(code, entries):
            return await function(*args, **kwargs)

    return wrapper


def _generator(function: FunctionType, entries: Entries) -> Any:
    code = _code_of(function)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with _Call(code, entries):
            return (yield from function(*args, **kwargs))

    return wrapper
