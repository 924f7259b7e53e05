"""The terminal: its modes put back after an experiment, and the streams by which one is asked."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import termios
from collections.abc import Iterator
from typing import TextIO, cast

# Bracketed paste, cursor keys, cursor, colours, mouse reports, alternate screen: as in a shell.
_RESET = (
    b"\x1b[?2004l\x1b[?1l\x1b[?25h\x1b[0m\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1047l\r"
)


class Terminal:
    """A terminal and the modes it had when this was made."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._modes = termios.tcgetattr(fd)

    @classmethod
    def here(cls) -> Terminal | None:
        """The terminal of the standard streams, if one of them is on a terminal."""
        for fd in (0, 2, 1):
            with contextlib.suppress(OSError, termios.error):
                if os.isatty(fd):
                    return cls(fd)
        return None

    def put_back(self, *, reset: bool) -> None:
        """Put the modes back, while the terminal is ours: not once a shell has taken it back.

        With `reset` also undo what a full-screen program or an editor of lines had switched on,
        as one that was killed did not do it itself.
        """
        with contextlib.suppress(OSError, termios.error):
            if os.tcgetpgrp(self._fd) != os.getpgrp():
                return
            if termios.tcgetattr(self._fd) != self._modes:
                self._set_modes()
            if reset and os.environ.get("TERM", "dumb") != "dumb":
                os.write(self._fd, _RESET)

    def _set_modes(self) -> None:
        # The shell may take the terminal back at any moment: then fail, instead of being stopped.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._modes)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """Meanwhile `sys.stdin` and `sys.stdout` are the terminal's, wherever the program has put its
    own. Without a terminal nothing can be read, and what is shown goes nowhere."""
    theirs = sys.stdin, sys.stdout
    sys.stdin, sys.stdout = ours = _leading_there(0), _leading_there(1)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):
            ours[1].flush()
        if (sys.stdin, sys.stdout) == ours:  # else somebody has put others there meanwhile
            sys.stdin, sys.stdout = theirs


def _leading_there(fd: int) -> TextIO:
    """Python's own stream; a new one where that is closed, and where it leads elsewhere, too."""
    python = sys.__stdout__ if fd else sys.__stdin__
    if python is not None and not python.closed and python.isatty():
        return python
    if os.isatty(fd):
        return opened(fd)
    try:
        return opened(fd, "/dev/tty")
    except OSError:
        return opened(fd, os.devnull)


def opened(fd: int, path: str | None = None) -> TextIO:
    """A new stream for standard input or output; it leads where the descriptor does, or to a file.

    The descriptor stays open when the stream is closed.
    """
    file = fd if path is None else path
    return cast(TextIO, open(file, "w" if fd else "r", closefd=path is not None))
