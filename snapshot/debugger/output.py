"""What a process shows: what the program writes while it is repeated goes nowhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper

from snapshot.core.descriptors import close, identity
from snapshot.core.timeline.channel import high

_STANDARD = (0, 1, 2)


class Output:
    """The standard streams of this process, which are there or lead nowhere.

    What it keeps of them has numbers that the program is not given.
    """

    def __init__(self) -> None:
        self._first = {fd: identity(fd) for fd in _STANDARD}
        self._ours = {fd: _copy(fd) for fd in _STANDARD}
        self._kept: dict[int, int | None] = {}

    def mute(self) -> None:
        """Until `unmute`; nothing can be read meanwhile, either."""
        if not self._kept:
            self.flush()
            self._kept = {fd: _copy(fd) for fd in _STANDARD}
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for fd in _STANDARD:
                os.dup2(nothing, fd)
            os.close(nothing)

    def unmute(self) -> None:
        if self._kept:
            self.flush()
            _put_back(self._kept)
            self._kept = {}

    def stands_for(self, fd: int) -> int:
        """What the program means by a descriptor: while the streams lead nowhere, one kept."""
        kept = self._kept.get(fd)
        return fd if kept is None else kept

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """They lead where they led at first, wherever the program has put its own."""
        away = {fd: _copy(fd) for fd in _STANDARD if identity(fd) != self._first[fd]}
        if not away:
            yield
            return
        self.flush()
        _put_back({fd: _copy(ours) for fd, ours in self._ours.items() if fd in away and ours})
        try:
            yield
        finally:
            self.flush()
            _put_back(away)

    def flush(self) -> None:
        """What is buffered for the standard streams goes where they lead now."""
        for stream in {sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__}:
            # One that leads elsewhere is flushed by the program alone, and so in a repeat, too.
            with contextlib.suppress(OSError, ValueError):
                if isinstance(stream, TextIOWrapper) and stream.fileno() in _STANDARD:
                    stream.flush()


def _copy(fd: int) -> int | None:
    """None if it is closed."""
    try:
        return high(os.dup(fd))
    except OSError:
        return None


def _put_back(copies: dict[int, int | None]) -> None:
    for fd, copy in copies.items():
        if copy is None:
            with contextlib.suppress(OSError):
                os.close(fd)
        else:
            os.dup2(copy, fd)
            close(copy)
