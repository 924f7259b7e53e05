"""The line from the original to here: the snapshots that wait, and who we are on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple, overload

from snapshot.core.memory import private_memory
from snapshot.errors import UnknownSnapshot

# What stands between a line of the program and us: this package, and a debugger's prompt.
_PASSED_OVER = {__name__.partition(".")[0], "bdb", "cmd", "pdb"}


class Place(NamedTuple):
    """A line of code that runs."""

    file: str
    line: int
    function: str

    @classmethod
    def of(cls, frame: FrameType | None) -> Place:
        """The innermost line that is neither this package's own nor a debugger's."""
        while frame is not None:
            name = str(frame.f_globals.get("__name__", ""))
            if name.partition(".")[0] not in _PASSED_OVER:
                return cls.at(frame, frame.f_lineno)
            frame = frame.f_back
        return cls("?", 0, "?")

    @classmethod
    def at(cls, frame: FrameType, line: int) -> Place:
        """A line of a frame, which need not be the one that it is at now."""
        return cls(frame.f_code.co_filename, line, frame.f_code.co_name)

    def __str__(self) -> str:
        return f"{short(self.file)}:{self.line} {self.function}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A moment one can go back to.

    index: its place on the line, 0 for the one that the original took.
    name: as given to `snapshot()`, or None.
    pid: the process that took it and waits.
    where: the line of code that took it.
    taken: when, on the clock of `time.monotonic`, in seconds.
    """

    index: int
    name: str | None
    pid: int
    where: Place
    taken: float

    @property
    def age(self) -> float:
        """Seconds since it was taken."""
        return time.monotonic() - self.taken

    @property
    def memory(self) -> int | None:
        """Private memory of the process that waits, in bytes; None where it cannot be known."""
        return private_memory(self.pid)

    def __str__(self) -> str:
        return f"{self.index} {self.name!r}" if self.name else str(self.index)


class Line:
    """Who this process is.

    waiting: the snapshots from the original to here.
    moments: what this process remembers of each of them, see core/moment.py.
    before: the processes whose place this one has taken by `keep()`.
    disposable: whether this process, or one that it comes from, is a disposable fork.
    visiting: whether it is a copy of a state of the timeline, and the process that was there first
        lives.
    """

    def __init__(self) -> None:
        self.waiting: list[Snapshot] = []
        self.moments: list[Any] = []
        self.before: set[int] = set()
        self.disposable = False
        self.visiting = False

    def dispose(self) -> Callable[[], None]:
        """This process is a disposable fork: nothing waits for it to revert or to be kept.

        Returns what makes a fork of it that is none what this process was before.
        """
        waiting, moments, disposable = self.waiting[:], self.moments[:], self.disposable
        self.disposable = True
        self.leave()

        def undo() -> None:
            self.waiting[:], self.moments[:], self.disposable = waiting, moments, disposable

        return undo

    def leave(self) -> None:
        """What has waited does so no more: another process was kept."""
        self.waiting.clear()
        self.moments.clear()


here = Line()


def in_snapshot() -> bool:
    """Whether this process is an experiment: some process waits for it to end."""
    return bool(here.waiting)


def is_root() -> bool:
    """Whether this process is the original.

    Nothing waits for it, it is no disposable fork, and no copy of a state of the timeline.
    """
    return not (here.waiting or here.disposable or here.visiting)


def owns(maker: int | None) -> bool:
    """Whether what the process `maker` made is this one's to clean up.

    None stands for the original, which marks nothing.
    """
    if maker == os.getpid():
        return True
    if here.waiting or here.disposable:
        return False
    return maker in here.before or (maker is None and not here.visiting)


def find(to: int | str | None) -> Snapshot:
    """The waiting snapshot of that index or name, the last one for None.

    Raises `UnknownSnapshot`, with a list of those there are.
    """
    if to is None:
        return here.waiting[-1]
    for each in here.waiting:
        if to == (each.index if isinstance(to, int) and not isinstance(to, bool) else each.name):
            return each
    there = ", ".join(map(str, here.waiting))
    raise UnknownSnapshot(f"no snapshot {to!r} waits: there is {there}; nothing was reverted")


class Snapshots(Sequence[Snapshot]):
    """The snapshots that wait, from the first one to here; shows as a table."""

    def __init__(self, waiting: Sequence[Snapshot], place: Place) -> None:
        self._waiting = tuple(waiting)
        self._place = place

    def __len__(self) -> int:
        return len(self._waiting)

    @overload
    def __getitem__(self, index: int) -> Snapshot: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Snapshot]: ...
    def __getitem__(self, index: int | slice) -> Snapshot | Sequence[Snapshot]:
        return self._waiting[index]

    def __repr__(self) -> str:
        rows = [("", "name", "pid", "where", "age", "private")]
        rows += [
            (
                str(each.index),
                each.name or "",
                str(each.pid),
                str(each.where),
                duration(each.age),
                size(each.memory),
            )
            for each in self._waiting
        ]
        memory = size(private_memory(os.getpid()))
        rows.append(("here", "", str(os.getpid()), str(self._place), "", memory))
        return table(rows)


def snapshots() -> Snapshots:
    """The snapshots that wait, from the first one to here: a sequence that shows as a table."""
    return Snapshots(here.waiting, Place.of(sys._getframe(1)))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table: columns two spaces apart, nothing at the end of a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def duration(seconds: float) -> str:
    """`0.42 s`, `17 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(count: int | None) -> str:
    """Bytes as MiB; `?` where unknown."""
    return "?" if count is None else f"{count / 2**20:.1f} MiB"


def short(file: str) -> str:
    """A path, relative to the working directory where it lies below that."""
    try:
        folder = os.path.join(os.getcwd(), "")
    except OSError:  # the working directory is gone
        return file
    return file.removeprefix(folder)
