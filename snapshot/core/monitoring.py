"""How Python tells of what runs: the tools of `sys.monitoring` that nobody has taken, and, before
Python 3.12, functions of `sys.settrace` and `sys.setprofile`."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from types import FrameType, MethodType
from typing import Any

from snapshot.errors import UsageError

_TOOLS = (3, 4, 5)  # 0, 1 and 2 are those of debuggers, coverage and profilers


def take_tool(name: str) -> int:
    """The id of one that is taken under this name now. Raises `UsageError`."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    for each in _TOOLS:
        if monitoring.get_tool(each) is None:
            monitoring.use_tool_id(each, name)
            return each
    holders = ", ".join(f"{each} by {monitoring.get_tool(each)}" for each in _TOOLS)
    raise UsageError(f"no tool id of sys.monitoring is free: {holders}; stop one of them")


def install(
    setter: Callable[[Any], None], method: MethodType, gone: Callable[[], None]
) -> weakref.ref[MethodType]:
    """Give a method to `sys.settrace` or `sys.setprofile`, for this thread.

    Python takes one away in which something is raised, by the handler of a signal or because the
    stack is too deep, be it before its first line. gone: is called then, and when another one has
    taken its place; in the middle of either, when no other one of its kind can be given to Python,
    but one of the other kind can. method: nobody else holds it.
    """
    reference = _Installed(method, _let_go)
    reference.gone, reference.thread = gone, threading.get_ident()
    _installed[id(reference)] = reference
    setter(method)
    return reference


class _Installed(weakref.ref[MethodType]):
    __slots__ = ("gone", "thread")
    gone: Callable[[], None]
    thread: int


_installed: dict[int, _Installed] = {}  # by id; without them nobody is told


def _let_go(reference: Any) -> None:
    del _installed[id(reference)]
    if threading.get_ident() == reference.thread and _runs():
        reference.gone()


def _runs() -> bool:
    """Whether this thread runs Python still; at its end all is let go."""
    try:
        sys._getframe(2)
    except ValueError:
        return False
    return True


def is_letting_go(frame: FrameType) -> bool:
    """Whether an event comes from the middle of what `gone` is called in."""
    back = frame.f_back
    return frame.f_code is _let_go.__code__ or (
        back is not None and back.f_code is _let_go.__code__
    )
