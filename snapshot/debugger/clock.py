"""The clock of the debugger: it counts what happens in the program's own code.

An event is a call, a line, a return (a yield is one, too) or an exception in a frame, as `bdb`
knows them. The time of an event is how many there have been, so that a program which is run again,
and is given the same, is at the same time in the same place. Code that is not the program's own
(what is installed, and what has no file) is not watched, and costs nothing.

What is not waited for is only counted: `aim` says which events are handed on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import Any, Protocol

NEVER = 1 << 62

# What happened ("call", "line", "return", "yield", "unwind" or "exception"), the frame, and what
# goes with it, as for `sys.settrace`.
Handler = Callable[[str, FrameType, Any], None]


class Clock(Protocol):
    """See `monitoring` and `tracing`; for the thread that it is made in. It stands at first."""

    def start(self, frame: FrameType | None) -> None:
        """Count from now on, in the frames from that one outwards, too."""

    def stop(self) -> None:
        """Count no more."""

    def now(self) -> int:
        """How many events there have been."""

    def raised(self, frame: FrameType, error: BaseException) -> int | None:
        """When an exception that is still there went out of a frame that is; None if that frame
        is not watched."""

    def aim(self, time: int, lines: frozenset[int], codes: Iterable[CodeType]) -> None:
        """Hand on every event from that time on, each on one of these lines, of any file, and each
        call, return and exception in this code."""

    def tell_threads_apart(self) -> None:
        """Other threads may run from now on, and are not counted."""
