"""What is around a function that is called again, put back as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from types import FunctionType, ModuleType
from typing import Any

from snapshot.replay.filling import Filling
from snapshot.store.functions import underlying
from snapshot.store.objects import Placeholder
from snapshot.store.sources import inner_codes

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Restoring:
    """Brings what was recorded around a function to what is there now.

    A global is filled where it is, so that it stays one object for the module that it comes from,
    for defaults and arguments.

    module: that of the function, where it is no module to be imported. in_place: whether what is
    there may be changed.
    """

    def __init__(
        self, function: FunctionType, module: ModuleType | None, *, in_place: bool
    ) -> None:
        self._function = function
        self._module = module
        self._filling = Filling(in_place=in_place)

    def globals(self, surroundings: Mapping[str, Any], others: Collection[str]) -> dict[str, Any]:
        """The values to be put in place. others: those that are given in another way."""
        found = {
            name: self._filling.filled(self._now(name), value)
            for name, value in surroundings.get("globals", {}).items()
            if name not in others and not isinstance(value, Placeholder)
        }
        if "defaults" in surroundings:  # it was made with copies
            self._replace_copies()
        for place, value in surroundings.get("changing", {}).items():
            self._fill_default(place, value)
        return found

    def _fill_default(self, place: int | str, value: Any) -> None:
        function = self._function
        if isinstance(place, str):
            keywords = function.__kwdefaults__ or {}
            if place in keywords:
                keywords[place] = self._filling.filled(keywords[place], value)
        elif place < len(function.__defaults__ or ()):
            defaults = [*(function.__defaults__ or ())]
            defaults[place] = self._filling.filled(defaults[place], value)
            function.__defaults__ = tuple(defaults)

    def arguments(
        self, surroundings: Mapping[str, Any], values: dict[str, Any], args: Args, kwargs: Kwargs
    ) -> tuple[Args, Kwargs]:
        """Those of a call, of which some were a global, or in a cell, as well.

        values: of globals; such as were too large to be recorded there are added.
        """
        all_args, all_kwargs = [*args], dict(kwargs)
        for name, place in surroundings.get("same", {}).items():
            holder: Any = all_kwargs if isinstance(place, str) else all_args
            if name in surroundings.get("cells", {}):
                holder[place] = self._filling.of(surroundings["cells"][name])
                continue
            if name not in values:
                values[name] = self._filling.filled(self._now(name), holder[place])
            holder[place] = values[name]
        return tuple(all_args), all_kwargs

    def _now(self, name: str) -> Any:
        if self._module is not None:
            with contextlib.suppress(Exception):  # it is made by the body, or cannot be made
                return getattr(self._module, name)
        return self._function.__globals__.get(name)

    def _replace_copies(self) -> None:
        function, of = self._function, self._filling.of
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):  # it is empty
                cell.cell_contents = of(cell.cell_contents)
        if function.__defaults__ is not None:
            function.__defaults__ = tuple(map(of, function.__defaults__))
        if function.__kwdefaults__ is not None:
            function.__kwdefaults__ = {n: of(v) for n, v in function.__kwdefaults__.items()}


def among(function: FunctionType, values: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """Make a call while the globals of its function have these values."""
    home = function.__globals__
    before = {name: home[name] for name in values if name in home}
    home.update(values)
    try:
        return make()
    finally:
        for name in values:
            home.pop(name, None)
        home.update(before)


def define(function: FunctionType, module: ModuleType) -> None:
    """Define what a function of a script reaches by its globals, and what that does."""
    waiting: list[Any] = [function]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and each.__module__ == module.__name__:
            waiting += vars(each).values()
        plain = underlying(each)
        if plain is None or plain.__globals__ is not module.__dict__ or id(plain) in seen:
            continue
        seen.add(id(plain))
        for name in {name for code in inner_codes(plain.__code__) for name in code.co_names}:
            with contextlib.suppress(Exception):  # it is made by the body, or cannot be made
                waiting.append(getattr(module, name))
