"""Room on the stack: what the debugger does must not make a deep recursion fail earlier.

Else it would fail elsewhere when it is repeated, where the debugger does less on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import getrecursionlimit, setrecursionlimit
from typing import Any

_ROOM = 200  # frames


def with_room(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which may go deeper than the program may.

    Raises RecursionError where the program is as deep as it may be.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        limit = getrecursionlimit()
        setrecursionlimit(limit)  # which is refused where it could not be set back
        setrecursionlimit(limit + _ROOM)
        try:
            return function(*args, **kwargs)
        finally:
            if getrecursionlimit() == limit + _ROOM:  # else it was set meanwhile
                setrecursionlimit(limit)

    return call


def ask_for_room() -> None:
    """Raises RecursionError where a function of `with_room` could not be called."""
    _deeper()


def _deeper() -> None:
    _deepest()


def _deepest() -> None:
    """As deep as `call` is, and one more."""
