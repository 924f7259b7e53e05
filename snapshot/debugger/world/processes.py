"""Signals that the program sends."""

from __future__ import annotations

import contextlib
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


def _handler(number: Any) -> Any:
    with contextlib.suppress(TypeError, ValueError):
        return signal.getsignal(number)
    return None
