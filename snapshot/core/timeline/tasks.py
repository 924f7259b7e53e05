"""Futures, as the supervisor keeps them: what they wrote, and how they ended."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from snapshot.core.process import Exit
from snapshot.core.timeline.records import State, Timeline
from snapshot.errors import UnknownState

_MOST = 16 << 20  # bytes that are kept of what a future writes: the last ones


@dataclass(frozen=True, slots=True)
class Task:
    """A future, as it is listed.

    number: of its state. line: the first line of what runs. status: "running", "done", "failed",
    "cancelled", "killed" or "exited". seconds: how long it ran, or has run so far. output: bytes
    that it wrote. last: the last line of those. how: in which way its process ended, if it did.
    """

    number: int
    line: str
    status: str
    seconds: float
    output: int
    last: str
    how: Exit | None = None


class Output:
    """What one future writes to its standard output and error, and what became of it."""

    def __init__(self, fd: int) -> None:
        """Takes the descriptor, from which it can be read, over."""
        self.fd = os.dup(fd)
        os.set_blocking(self.fd, False)
        self.cancelled = False
        self.waiting: list[Any] = []
        self._kept = bytearray()
        self._dropped = 0
        self._status = "running"
        self._ended: float | None = None
        self._how: Exit | None = None

    def read(self) -> bool:
        """Take what there is; whether there was something. At its end the descriptor is closed."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return False
        if not data:
            os.close(self.fd)
            self.fd = -1
            return False
        self._kept += data
        if len(self._kept) > _MOST:
            excess = len(self._kept) - _MOST
            del self._kept[:excess]
            self._dropped += excess
        return True

    def finish(self, how: Exit, *, failed: bool, left: bool) -> None:
        """It has ended: in that way, or with a state left behind."""
        while self.fd >= 0 and self.read():
            continue
        self._ended = time.monotonic()
        if left:
            self._status = "failed" if failed else "done"
        else:
            ended = "killed" if how.signal else "exited"
            self._status, self._how = "cancelled" if self.cancelled else ended, how

    def since(self, position: int, most: int = _MOST) -> tuple[int, bytes]:
        """What was written from there on, counted from the beginning, and where that ends.

        most: bytes of it.
        """
        while self.fd >= 0 and self.read():
            continue
        begin = max(0, position - self._dropped)
        data = bytes(self._kept[begin : begin + most])
        return self._dropped + min(begin, len(self._kept)) + len(data), data

    def task(self, number: int, line: str, began: float) -> Task:
        last = bytes(self._kept[-200:]).rstrip().rpartition(b"\n")[2].decode(errors="replace")
        seconds = (self._ended or time.monotonic()) - began
        output = self._dropped + len(self._kept)
        return Task(number, line, self._status, seconds, output, last, self._how)


class Futures:
    """The futures of a timeline, by the numbers of their states."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._outputs: dict[int, Output] = {}

    def begin(self, state: State, fd: int) -> None:
        """A future runs, and writes to the other end of this descriptor."""
        self._outputs[state.number] = Output(fd)

    def descriptors(self) -> list[int]:
        """Those from which can be read what futures write."""
        return [each.fd for each in self._outputs.values() if each.fd >= 0]

    def read(self, fd: int) -> int | None:
        """Take what has come from a descriptor; the number of the future, if it was something."""
        for number, output in self._outputs.items():
            if output.fd == fd:
                return number if output.read() else None
        return None

    def finish(self, state: State, how: Exit) -> list[Any]:
        """A future has ended, or is frozen now. Returns who waits for that."""
        output = self._outputs[state.number]
        output.finish(how, failed=state.failed, left=state.status == "frozen")
        waiting, output.waiting = output.waiting, []
        return waiting

    def find(self, number: Any) -> State:
        """Its state, which may be evicted by now. Raises `UnknownState`."""
        state = self._timeline.states.get(number) if isinstance(number, int) else None
        if state is None or not state.future:
            there = ", ".join(map(str, self._outputs))
            raise UnknownState(
                f"{number!r} is no future; " + (f"there are {there}" if there else "there is none")
            )
        return state

    def output(self, number: Any) -> Output:
        """What it has written. Raises `UnknownState`."""
        return self._outputs[self.find(number).number]

    def of(self, state: State) -> Task:
        return self._outputs[state.number].task(state.number, state.line, state.made)

    def all(self) -> list[Task]:
        return [self.of(self._timeline.states[each]) for each in sorted(self._outputs)]
