"""Imports: what a function imports when it runs, as if its module had imported it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import FunctionType

from snapshot.memo.packages import places_of
from snapshot.store.bytecode import look_into
from snapshot.store.versions import Step, is_module_of_user, is_users, steps


def modules_of(function: FunctionType) -> Iterator[str]:
    """The names of those that it imports."""
    for module in look_into(function.__code__).modules:
        yield _absolute(module, function)


def imported_by(function: FunctionType) -> Iterator[tuple[str, ...]]:
    """What it takes of them: the name of a module, then attributes."""
    for first, *others in look_into(function.__code__).imported:
        yield _absolute(first, function), *others


def load(name: str) -> Exception | None:
    """Import a module of the user's as a function would; why that is not possible."""
    top = name.partition(".")[0]
    if name not in sys.modules and is_users_top(top):
        try:
            importlib.import_module(name)
        except Exception as error:
            return error
    return None


def is_users_top(top: str) -> bool:
    return any(is_users(top, place) for place in places_of(top))


def follow(taken: tuple[str, ...]) -> list[Step]:
    """The steps from the module on, those through modules of the user's; none of another module.

    What is named may be a module that is imported by this.
    """
    name, *others = taken
    module = sys.modules.get(name)
    if not is_module_of_user(module):
        return []
    if others and others[0] not in vars(module) and "__path__" in vars(module):
        load(f"{name}.{others[0]}")
    return list(steps(sys.modules, [name]))[:1] + list(steps(vars(module), others))


def _absolute(name: str, function: FunctionType) -> str:
    """The name of a module, also of one that is named from within a package."""
    bare = name.lstrip(".")
    above = len(name) - len(bare)
    if not above:
        return name
    package = str(function.__globals__.get("__package__") or "")
    base = package.rsplit(".", above - 1)[0]
    return f"{base}.{bare}" if bare else base
