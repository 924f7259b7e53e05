"""What the program does to itself: signals, and its garbage."""

from __future__ import annotations

import importlib
import posix
import signal
from typing import Any

from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.choosing import Function, noted, replaced


def kills(b: Boundary, name: str, original: Function) -> Function:
    """`os.kill`: a signal that the program handles itself comes in a repeat, too."""
    to_others = noted(b, name, original)

    def remembered(*args: Any) -> None:
        if len(args) == 2 and args[0] == posix.getpid() and callable(_handler(args[1])):
            b.note(name, True)  # before the handler has its own calls remembered
            original(*args)
        else:
            to_others(*args)

    def repeated(*args: Any) -> None:
        if b.take(name):
            signal.raise_signal(args[1])

    return replaced(b, original, remembered, repeated)


# As written in C: that of `signal` calls what the standard library has in Python.
_getsignal: Any = importlib.import_module("_signal").getsignal


def _handler(number: Any) -> Any:
    try:
        return _getsignal(number)
    except (TypeError, ValueError):
        return None


def collects(b: Boundary, name: str, original: Function) -> Function:
    """`gc.collect`: all that there is, in a repeat, too."""

    def collect(generation: int = 2) -> Any:
        found = b.garbage.collect()
        # Now, as finalizers are the program's: a state may be made in the middle of them.
        if b.repeating:
            return b.take(name)
        b.note(name, found)
        return found

    return replaced(b, original, collect, collect)


def sets_thresholds(b: Boundary, name: str, original: Function) -> Function:
    """`gc.set_threshold`."""
    return replaced(b, original, b.garbage.set, b.garbage.set)


def tells_thresholds(b: Boundary, name: str, original: Function) -> Function:
    """`gc.get_threshold`."""

    def tell() -> tuple[int, ...]:
        return b.garbage.thresholds

    return replaced(b, original, tell, tell)
