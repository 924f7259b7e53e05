"""What an entry of the table of resources is, and the one way in which methods are guarded."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from snapshot.core import line
from snapshot.core.messages import say
from snapshot.errors import RootOnly

Instead = Callable[..., Any]


class Resource:
    """An entry of the table; it acts only if its module is loaded.

    module: the module that must be loaded, which is handed to each method.
    name: what it is called in the documentation.
    in_experiment: what it does there, and why: a sentence for the documentation.
    """

    module = ""
    name = ""
    in_experiment = ""

    def install(self, module: Any) -> None:
        """Before a fork, when the module or another one is new: replace what is to be guarded."""

    def before(self, module: Any) -> None:
        """Before each fork: look for what is there, since a child copies each page it looks at."""

    def forget(self, module: Any) -> None:
        """In the process that forked, or could not: let go of what `before` found."""

    def lay_aside(self, module: Any) -> None:
        """In a child that was just forked: part from what the original made."""

    def finish(self, module: Any) -> None:
        """At an orderly end of a child: see to what it made itself, as Python would."""

    def take_over(self, module: Any) -> None:
        """`keep()`: what was laid aside is this process's own from now on."""


def maker(thing: object) -> int | None:
    """The process that made it; None for what was made before anything was guarded."""
    made_by: int | None = getattr(thing, "_made_by", None)
    return made_by


def is_ours(thing: object) -> bool:
    """Whether this process made it, or is no experiment.

    What a program forks without this package is none: there everything is as Python has it.
    """
    return line.is_root() or line.owns(maker(thing))


def mark_makers(kind: Any) -> None:
    """Let each new instance of this class know the process that made it."""
    if "_made_by" in vars(kind):
        return
    make = kind.__init__

    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        self._made_by = os.getpid()
        make(self, *args, **kwargs)

    kind._made_by, kind.__init__ = None, __init__


def guard_methods(
    kind: Any, instead: dict[str, Instead], *, ours: Callable[[Any], bool] = is_ours
) -> None:
    """Where an instance is not this process's own, call these instead of its methods.

    They are called with the method that is replaced, the instance, and the arguments.
    """
    mark_makers(kind)
    for name, replacement in instead.items():
        replace_once(kind, name, functools.partial(_guarded, replacement, ours))


def _guarded(replacement: Instead, ours: Callable[[Any], bool], method: Any) -> Instead:
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        if ours(self):
            return method(self, *args, **kwargs)
        return replacement(method, self, *args, **kwargs)

    return guarded


def replace_once(holder: Any, name: str, make: Callable[[Any], Instead]) -> None:
    """Put what `make` makes of a function of a class or a module, if it has it, in its place.

    Asked again, it does nothing.
    """
    function = getattr(holder, name, None)
    if function is None or hasattr(function, "_guarded"):
        return
    guarded: Any = functools.wraps(function)(make(function))
    guarded._guarded = True
    setattr(holder, name, guarded)


def skip(method: Any, thing: Any, *args: Any, **kwargs: Any) -> None:
    """For what unwinds and what deletes: nothing is done, and nothing need be said."""


def left_alone(method: Any, thing: Any, *args: Any, **kwargs: Any) -> None:
    """For what somebody asked for: nothing is done, and that is said."""
    say(
        f"snapshot: {method.__qualname__}() left {described(thing)} alone: it belongs to "
        f"{owner(thing)}"
    )


def refused(method: Any, thing: Any, *args: Any, **kwargs: Any) -> Any:
    """For what would hang, or damage what the original holds."""
    raise RootOnly(
        f"{method.__qualname__}(): {described(thing)} belongs to {owner(thing)}; process "
        f"{os.getpid()} is not it: make another one here"
    )


def described(thing: Any) -> str:
    pid = getattr(thing, "pid", None)
    return f"process {pid}" if isinstance(pid, int) else f"this {type(thing).__qualname__}"


def owner(thing: object) -> str:
    made_by = maker(thing)
    return "the original" if made_by is None else f"process {made_by}"
