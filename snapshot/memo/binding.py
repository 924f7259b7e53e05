"""The arguments of a call as its function has them: by name, by position or by default, they are
the same call."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any

from snapshot.errors import UsageError
from snapshot.store.functions import parameters

_DECORATORS = 100  # of one function; that many are a circle


class Parameters:
    """Those of one function.

    names: of what `bound` gives. count: how many arguments, given by position alone, are what
    `bound` would give; -1 if that depends on more than their number.
    """

    def __init__(self, function: Callable[..., Any], ignored: Collection[str]) -> None:
        """Raises `UsageError` for a name that is no parameter, and where there is no signature."""
        plain = _same_parameters(function)
        self._function = plain if plain is not None else function
        self._bind = self._bind_plain if plain is not None else self._bind_any
        if plain is not None:
            known = parameters(plain.__code__)
            self._first = _first(plain)
            self._only = len(known.positional_only)
            self._varargs, self._keywords, self._varkw = (
                known.varargs,
                known.keyword_only,
                known.varkw,
            )
        else:
            self._read_signature(function)
        every = (*self._first, self._varargs, *self._keywords, self._varkw)
        self.names = tuple(each for each in every if each is not None)
        if unknown := [each for each in ignored if each not in self.names]:
            raise UsageError(
                f"ignore={[*ignored]!r}: {unknown[0]!r} is no parameter of {_named(function)}; it "
                f"has {', '.join(self.names) or 'none'}"
            )
        self._kept = tuple(n for n, each in enumerate(self.names) if each not in ignored)
        plainly = len(self._first) == len(self.names) == len(self._kept)
        self.count = len(self._first) if plainly else -1
        self.names = tuple(self.names[n] for n in self._kept)
        self._all = len(self._kept) == len(every) - every.count(None)

    def _read_signature(self, function: Callable[..., Any]) -> None:
        import inspect  # only for what is no function of Python's

        try:
            # `update_wrapper` has a partial function say that it wraps the whole one.
            wraps = not isinstance(function, functools.partial)
            self._signature = inspect.signature(function, follow_wrapped=wraps)
        except (TypeError, ValueError):
            raise UsageError(
                f"{_named(function)} does not say what arguments it takes: memoize a function of "
                "your own that calls it"
            ) from None

        def of(kind: Any) -> list[str]:
            return [n for n, each in self._signature.parameters.items() if each.kind is kind]

        kinds = inspect.Parameter
        only = of(kinds.POSITIONAL_ONLY)
        self._only = len(only)
        self._first = (*only, *of(kinds.POSITIONAL_OR_KEYWORD))
        self._keywords = tuple(of(kinds.KEYWORD_ONLY))
        self._varargs = next(iter(of(kinds.VAR_POSITIONAL)), None)
        self._varkw = next(iter(of(kinds.VAR_KEYWORD)), None)

    def bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        """The values of all parameters that count; None if there can be no such call."""
        values = self._bind(args, kwargs)
        if values is None or self._all:
            return values
        return tuple(values[n] for n in self._kept)

    def _bind_plain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        function = self._function
        assert isinstance(function, FunctionType)
        defaults = function.__defaults__ or ()
        of_keywords = function.__kwdefaults__ or {}
        first = self._first
        given = len(args)
        if given > len(first) and self._varargs is None:
            return None
        rest = dict(kwargs)
        values = [*args[: len(first)]]
        optional = len(first) - len(defaults)
        for n in range(given, len(first)):
            if n >= self._only and first[n] in rest:
                values.append(rest.pop(first[n]))
            elif n >= optional:
                values.append(defaults[n - optional])
            else:
                return None
        if self._varargs is not None:
            values.append(args[len(first) :])
        for name in self._keywords:
            if name in rest:
                values.append(rest.pop(name))
            elif name in of_keywords:
                values.append(of_keywords[name])
            else:
                return None
        if self._varkw is None:
            return None if rest else tuple(values)
        if any(each in rest for each in first[self._only : given]):
            return None
        values.append(rest)
        return tuple(values)

    def _bind_any(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return None
        bound.apply_defaults()
        return tuple(bound.arguments.values())


def _same_parameters(function: Any) -> FunctionType | None:
    """The function under decorators that leave its parameters as they are: `functools.partial`, and
    a method's object, take some of them away."""
    for _ in range(_DECORATORS):
        names = getattr(function, "__dict__", {})
        if "__signature__" in names:
            return None
        if "__wrapped__" not in names or not _passes_on(function, names["__wrapped__"]):
            break
        function = names["__wrapped__"]
    return function if type(function) is FunctionType else None


def _passes_on(wrapper: Any, wrapped: Any) -> bool:
    """Whether a wrapper, as far as its parameters tell, gives its arguments to what it wraps."""
    if type(wrapper) is not FunctionType:
        return not isinstance(wrapper, functools.partial)
    own, inner = (_first(each) for each in (wrapper, wrapped))
    return (
        parameters(wrapper.__code__).varargs is not None
        and not (wrapper.__defaults__ or wrapper.__kwdefaults__)
        and own == inner[: len(own)]
    )


def _first(function: Any) -> tuple[str, ...]:
    if type(function) is not FunctionType:
        return ()
    known = parameters(function.__code__)
    return (*known.positional_only, *known.positional)


def _named(function: Any) -> str:
    return getattr(function, "__qualname__", None) or repr(function)
