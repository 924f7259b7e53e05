"""The arguments that a recorded call is made with, and what is given in the place of others."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from inspect import BoundArguments, Parameter
from types import FunctionType
from typing import Any

from snapshot.errors import CannotReanimate
from snapshot.replay.standins import Standins
from snapshot.store.calls import Call
from snapshot.store.objects import Placeholder

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Binding:
    """Recorded arguments, as the function takes them now.

    args, kwargs: in the form of then, unless something else was given in their place.
    """

    def __init__(self, call: Call, function: FunctionType, args: Args, kwargs: Kwargs) -> None:
        """Raises `CannotReanimate` where the function does not take them."""
        self.args, self.kwargs = args, kwargs
        self._call = call
        self._bound = _bound(call, function, args, kwargs)

    @property
    def names(self) -> list[str]:
        """Those of the parameters."""
        return list(self._bound.signature.parameters)

    def give(self, overrides: dict[str, Any], read: set[str]) -> None:
        """Take what is meant for a parameter, or goes into `**kwargs`, out of `overrides`.

        read: the globals that the function reads, which come before `**kwargs`.
        """
        bound, parameters = self._bound, self._bound.signature.parameters
        others = next((n for n, each in parameters.items() if each.kind is each.VAR_KEYWORD), None)
        if not overrides:
            return
        bound.apply_defaults()
        for name in [*overrides]:
            if name in parameters:
                bound.arguments[name] = overrides.pop(name)
            elif others is not None and (name in bound.arguments[others] or name not in read):
                bound.arguments[others][name] = overrides.pop(name)
        self.args, self.kwargs = bound.args, bound.kwargs

    def check(self, standins: Standins) -> None:
        """Raises `CannotReanimate` where a parameter was not stored, or something is redacted."""
        for name, value in {**self._defaults(), **self._bound.arguments}.items():
            if isinstance(value, Placeholder):
                raise self._is_missing(name, f"was not stored ({value.reason})")
        for name, value in _values(self._bound):
            if standins.hidden_in(value):
                raise self._is_missing(name, "holds something that was not stored (redacted)")

    def _defaults(self) -> dict[str, Any]:
        parameters = self._bound.signature.parameters
        return {name: each.default for name, each in parameters.items()}

    def _is_missing(self, name: str, why: str) -> CannotReanimate:
        return CannotReanimate(
            f"the argument {name} of call {self._call.id} {why}: give one, "
            f"overrides={{{name!r}: ...}}"
        )


def _values(bound: BoundArguments) -> Iterator[tuple[str, Any]]:
    """By the name under which another one is given, also those in `*args` and `**kwargs`."""
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is Parameter.VAR_KEYWORD:
            yield from value.items()
        else:
            yield name, value


def _bound(call: Call, function: FunctionType, args: Args, kwargs: Kwargs) -> BoundArguments:
    signature = inspect.signature(function)
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        # A decorator's function may take others than the one that it stands for.
        own = inspect.signature(function, follow_wrapped=False)
        with contextlib.suppress(TypeError):
            return own.bind(*args, **kwargs)
        raise _does_not_fit(call, f"{function.__name__}{signature}", error) from None


def _does_not_fit(call: Call, now: str, error: TypeError) -> CannotReanimate:
    lines = [each.strip() for each in (call.function.facts["source"] or "").splitlines()]
    was = next(
        (each for each in lines if each.startswith(("def ", "async def "))), "".join(lines[:1])
    )
    return CannotReanimate(
        f"{call.function.key} does not take the recorded arguments any more ({error}): it is "
        f"{now} now, and was: {was}; run what it was with recorded_code=True, or give "
        "other arguments to it yourself"
    )
