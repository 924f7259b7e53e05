"""Which way a replaced function goes, and how it stays out of sight."""

from __future__ import annotations

import os
from _thread import get_ident
from collections.abc import Callable
from typing import Any

from snapshot.debugger.room import with_room
from snapshot.debugger.world.boundary import Boundary

Function = Callable[..., Any]
Kind = Callable[[Boundary, str, Function], Function]


def replaced(b: Boundary, original: Function, remembered: Function, repeated: Function) -> Function:
    """A function that is one of three, as things stand."""
    remembered, repeated = with_room(remembered), with_room(repeated)

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if b.aside or get_ident() != b.thread:
                return original(*args, **kwargs)
            return (repeated if b.repeating else remembered)(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise

    return call


def hidden(function: Function) -> Function:
    """The same function, which is not seen in a traceback."""
    function = with_room(function)

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            unseen(error)
            raise

    return call


def unseen(error: BaseException) -> None:
    """Take this package's frames off the beginning of a traceback.

    Raised again by `raise` alone, the error does not get the frame where that stands: what the
    program prints is the same whether it is remembered, repeated, or neither.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_OURS):
        traceback = traceback.tb_next
    error.__traceback__ = traceback


_OURS = os.path.dirname(os.path.dirname(__file__))


def noted(b: Boundary, name: str, original: Function) -> Function:
    """The original; what comes of it is appended."""
    return lambda *args, **kwargs: b.do(name, original, *args, **kwargs)
