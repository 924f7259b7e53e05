"""What a process shows: what the program writes while it is repeated goes nowhere."""

from __future__ import annotations

import os
import sys

from snapshot.core.descriptors import OURS


class Output:
    """The standard streams of this process, which are there or lead nowhere."""

    def __init__(self) -> None:
        self._kept: list[int] | None = None

    def mute(self) -> None:
        """Until `unmute`; nothing can be read meanwhile, either."""
        if self._kept is None:
            self.flush()
            self._kept = [_copy(fd) for fd in (0, 1, 2)]
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for fd in (0, 1, 2):
                os.dup2(nothing, fd)
            os.close(nothing)

    def unmute(self) -> None:
        if self._kept is not None:
            self.flush()
            for fd, kept in enumerate(self._kept):
                os.dup2(kept, fd)
                OURS.discard(kept)
                os.close(kept)
            self._kept = None

    def flush(self) -> None:
        """What is buffered goes where the streams lead now."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                continue


def _copy(fd: int) -> int:
    copy = os.dup(fd)
    OURS.add(copy)
    return copy
