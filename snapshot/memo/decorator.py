"""`memoize`: a function whose results are kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from snapshot.errors import UsageError
from snapshot.memo.group import MemoizedGroup
from snapshot.memo.memoized import Memoized, OfClass, name_of
from snapshot.store.functions import underlying

if TYPE_CHECKING:
    from snapshot.memo.coroutines import MemoizedCoroutine

_P = ParamSpec("_P")
_R = TypeVar("_R")

_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200  # inspect.CO_…


@functools.cache
def _default_group() -> MemoizedGroup:
    return MemoizedGroup("default")


class Decorator(Protocol):
    """What `memoize(…)` gives."""

    @overload
    def __call__(
        self, function: Callable[_P, Coroutine[Any, Any, _R]], /
    ) -> MemoizedCoroutine[_P, _R]: ...

    @overload
    def __call__(self, function: Callable[_P, _R], /) -> Memoized[_P, _R]: ...


@overload
def memoize(function: Callable[_P, Coroutine[Any, Any, _R]], /) -> MemoizedCoroutine[_P, _R]: ...


@overload
def memoize(function: Callable[_P, _R], /) -> Memoized[_P, _R]: ...


@overload
def memoize(
    function: None = None,
    /,
    *,
    group: MemoizedGroup | None = None,
    name: str | None = None,
    ignore: Collection[str] = (),
    extra_function_state: Callable[..., Any] | None = None,
    ttl: float | None = None,
    stale: float = 0.0,
    keep_if: Callable[[Any], object] | None = None,
    keep_exceptions: type[BaseException] | tuple[type[BaseException], ...] = (),
    fork: bool = False,
    use_obj_store: bool = True,
    use_metadata_size: bool = True,
    verbose: bool = False,
    **of_group: Any,
) -> Decorator: ...


def memoize(
    function: Callable[..., Any] | None = None,
    /,
    *,
    group: MemoizedGroup | None = None,
    name: str | None = None,
    ignore: Collection[str] = (),
    extra_function_state: Callable[..., Any] | None = None,
    ttl: float | None = None,
    stale: float = 0.0,
    keep_if: Callable[[Any], object] | None = None,
    keep_exceptions: type[BaseException] | tuple[type[BaseException], ...] = (),
    fork: bool = False,
    use_obj_store: bool = True,
    use_metadata_size: bool = True,
    verbose: bool = False,
    **of_group: Any,
) -> Any:
    """Keep the results of a function, and give them again: `@memoize` or `@memoize(…)`.

    For functions, methods (which have their object for an argument), static and class methods
    (in any order of the decorators, but from Python 3.13 on what is asked of one call of a class
    method needs @memoize above @classmethod) and coroutine functions. What the function prints, and
    what it does to files or to its arguments, does not happen at a hit.

    group: whose room the results take; a common one of 1 GiB by default.
    name: of the function in the store; its key, `module:qualname`, by default. Those of one name,
        as lambdas have, are one function there, and in one group: that of the last that was stored.
    ignore: names of parameters that do not change the result.
    extra_function_state: called at each call, with the function if it takes a parameter; what it
        returns is a part of the key.
    ttl: seconds that a result is used for; None, the default, is for ever.
    stale: seconds after that in which it is used still, while a fork computes it anew.
    keep_if: called with a result; whether to keep it.
    keep_exceptions: those that are kept, too, and raised again at a hit; none by default, and
        nothing that is no `Exception`: a Ctrl-C is not kept. A result of None is kept as any other.
    fork: run the function in a disposable fork (`fork_call`), so that it leaves nothing behind in
        this process.
    use_obj_store, use_metadata_size, verbose: as those of `MemoizedGroup`, for this function,
        whichever group it is in: False and False, or True, are stronger than what that says.
    of_group: other options of `MemoizedGroup`: then the function has a group of its own.

    Raises `UsageError` for what cannot be memoized, and options that mean nothing. A call raises
    `NotKeyable` where an argument cannot be told from others.
    """
    if ttl is not None and not (isinstance(ttl, float | int) and ttl > 0):
        raise UsageError(f"ttl={ttl!r} is no time: give seconds, or None")
    if not (isinstance(stale, float | int) and stale >= 0):
        raise UsageError(f"stale={stale!r} is no time: give seconds")
    if stale and ttl is None:
        raise UsageError(f"stale={stale!r} is the time after ttl=: give that, too")
    for option, given in (("keep_if", keep_if), ("extra_function_state", extra_function_state)):
        if given is not None and not callable(given):
            raise UsageError(f"{option}={given!r} cannot be called: give a function")
    if of_group:
        if group is not None:
            raise UsageError(
                f"{', '.join(of_group)}: these are options of a group, and one is given: set them "
                "there"
            )
        group = _made_group(of_group)
    if isinstance(keep_exceptions, type):
        keep_exceptions = (keep_exceptions,)
    if not (
        isinstance(keep_exceptions, tuple)
        and all(
            isinstance(each, type) and issubclass(each, BaseException) for each in keep_exceptions
        )
    ):
        raise UsageError(
            f"keep_exceptions={keep_exceptions!r}: give a class of exceptions, or a tuple of them"
        )
    try:
        ignored = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    except TypeError:
        raise UsageError(f"ignore={ignore!r}: give the names of parameters") from None
    options: dict[str, Any] = {
        **{"name": name, "ignore": ignored},
        **{"extra_function_state": extra_function_state, "ttl": ttl, "stale": stale},
        **{"keep_if": keep_if, "keep_exceptions": keep_exceptions, "fork": fork},
        **{"use_obj_store": use_obj_store, "use_metadata_size": use_metadata_size},
        **{"verbose": verbose},
    }

    def decorate(decorated: Any) -> Any:
        if isinstance(decorated, staticmethod | classmethod):
            kind = OfClass if isinstance(decorated, classmethod) else staticmethod
            return kind(decorate(decorated.__func__))
        return _made(decorated, group or _default_group(), options)

    return decorate if function is None else decorate(function)


def _made_group(options: dict[str, Any]) -> MemoizedGroup:
    try:
        return MemoizedGroup(**options)
    except TypeError as error:
        raise UsageError(f"memoize: {error}") from None


def _made(function: Any, group: MemoizedGroup, options: dict[str, Any]) -> Memoized[..., Any]:
    if isinstance(function, property):
        raise UsageError("memoize the function, and make a property of that: @property first")
    if isinstance(function, Memoized):
        raise UsageError(f"{function.name} is memoized already")
    if isinstance(function, type) or not callable(function):
        raise UsageError(f"{function!r} is no function: memoize one")
    plain = underlying(function)
    flags = plain.__code__.co_flags if plain is not None else 0
    if flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise UsageError(
            f"{name_of(function)} is a generator function, which gives something that can be "
            "read once: memoize one that returns a list"
        )
    if flags & _COROUTINE:
        from snapshot.memo.coroutines import MemoizedCoroutine  # which needs asyncio

        return MemoizedCoroutine(function, group, **options)
    return Memoized(function, group, **options)
