"""What the broker and the worker say to each other, and the pipes of the worker's output.

From the broker, a pair: the verb, and its arguments as a dictionary.

    execute, complete, inspect, is_complete, comms    are answered by `done`
    comm                                              a message of a widget; no answer
    input                                             what was typed; None for the end
    leave                                             end in order

From the worker:

    taken (pid)                                 a request is being worked on, by this process
    publish (type, content, metadata, buffers)  a message for the notebook; content is JSON
    ask (prompt, password)                      somebody is to type something
    done (number, content)                      the answer; number is that of the next cell

What the broker reads is made of plain types alone: to read it runs no code of the user's.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import itertools
import os
import sys
from operator import itemgetter
from typing import TextIO

from snapshot.core.timeline.channel import high

_MOST = 64  # reads of a pipe at once, so that a flood of output holds nothing else up


class Streams:
    """Standard output and error of the worker, and of what it starts: two pipes."""

    names = ("stdout", "stderr")

    def __init__(self) -> None:
        self._pipes = [os.pipe() for _ in self.names]
        self._decoders = [codecs.getincrementaldecoder("utf-8")("replace") for _ in self.names]

    def take_place(self) -> None:
        """In the worker's first process: these are its standard streams from now on."""
        for fd, (readable, writable) in enumerate(self._pipes, 1):
            os.dup2(writable, fd)
            os.close(writable)
            os.close(readable)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        for fd, name in enumerate(self.names, 1):
            stream = _writer(fd)
            vars(sys).update({name: stream, f"__{name}__": stream})

    def listen(self) -> list[int]:
        """In the broker: the descriptors to watch."""
        for readable, writable in self._pipes:
            os.close(writable)
            os.set_blocking(readable, False)
        return [readable for readable, _ in self._pipes]

    def read(self) -> list[tuple[str, str]]:
        """What was written since, as pairs of a name and a text."""
        found = []
        for name, (fd, _), decoder in zip(self.names, self._pipes, self._decoders, strict=True):
            if text := decoder.decode(_available(fd)):
                found.append((name, text))
        return found


def _writer(fd: int) -> TextIO:
    """As at a terminal: each line is written when it is complete."""
    return open(fd, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _available(fd: int) -> bytes:
    data = bytearray()
    with contextlib.suppress(BlockingIOError):
        for _ in range(_MOST):
            if not (piece := os.read(fd, 1 << 16)):
                break
            data += piece
    return bytes(data)


class Written:
    """What was written, until it is published.

    size: of all of it, in characters.
    """

    def __init__(self) -> None:
        self._pieces: list[tuple[str, str]] = []
        self.size = 0

    def add(self, pieces: list[tuple[str, str]]) -> None:
        """As pairs of a stream's name and a text."""
        self._pieces += pieces
        self.size += sum(len(text) for _, text in pieces)

    def take(self) -> list[tuple[str, str]]:
        """All of it, in its order; what was written to one stream in a row is one text."""
        rows = itertools.groupby(self._pieces, key=itemgetter(0))
        taken = [(name, "".join(text for _, text in row)) for name, row in rows]
        self._pieces, self.size = [], 0
        return taken


class Outlet:
    """Where Jupyter itself writes to: the terminal that it was started from."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def of_terminal(cls) -> Outlet:
        fd: int = getattr(sys.stderr, "_original_stdstream_copy", 2)  # as ipykernel keeps it
        return cls(high(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)))

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._fd, (text.rstrip("\n") + "\n").encode(errors="backslashreplace"))
