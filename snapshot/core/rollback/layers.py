"""What an overlay consists of, and where a later one finds it."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence

from snapshot.core.descriptors import OURS, close
from snapshot.core.rollback import attributes, mounts
from snapshot.core.rollback.differences import Difference, differences

# Descriptors of what an overlay reads or writes, the topmost first.
Stack = Sequence[int]


class Shelf:
    """A file system in memory that nobody sees, as an overlay lies over the place where it is.

    What is written may be in it. It has mounts of all that the overlays of its process read and
    write: the kernel stacks overlays only two high, so a later one is to read their layers side by
    side, and it takes a directory for a layer only in mounts of its own.
    """

    def __init__(self, place: str, limit: int) -> None:
        """Mount it at a directory. Raises OSError."""
        mounts.mount_memory(place, limit)
        self._fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        OURS.add(self._fd)
        self._stacks: dict[str, list[str]] = {}  # names of the layers of each directory

    def path(self, name: str) -> str:
        """Leads there whatever is mounted over it."""
        return f"/proc/self/fd/{self._fd}/{name}"

    def keep(self, directory: str, stack: Stack) -> None:
        """The layers that are to be read there. Raises OSError."""
        names = [f"{len(self._stacks)}.{height}" for height in range(len(stack))]
        for name, fd in zip(names, stack, strict=True):
            os.mkdir(self.path(name))
            mounts.bind(fd, self.path(name))
        self._stacks[directory] = names

    def carry(self, part: Callable[[], None]) -> dict[str, Stack]:
        """Part from these mounts; descriptors of the same layers in the new ones. Raises OSError.

        The kernel carries nothing over but the working directory.
        """
        try:
            here = os.getcwd()
        except OSError:  # it is gone, and may as well stay where it is
            here = None
        away = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            os.fchdir(self._fd)
            part()
            return {
                directory: [os.open(name, os.O_PATH | os.O_CLOEXEC) for name in names]
                for directory, names in self._stacks.items()
            }
        finally:
            os.fchdir(away) if here is None else os.chdir(here)
            os.close(away)

    def forget(self) -> None:
        close(self._fd)


class Layer:
    """One directory under an overlay, in the process that has it.

    directory: its path.
    begun: when, in nanoseconds since the epoch.
    """

    def __init__(self, directory: str, below: int, upper: int) -> None:
        self.directory, self.begun = directory, time.time_ns()
        self._below, self._upper = below, upper
        OURS.update((below, upper))

    @property
    def below(self) -> pathlib.Path:
        """The directory as it was, by a path that leads there whatever is mounted."""
        return pathlib.Path(f"/proc/self/fd/{self._below}")

    @property
    def upper(self) -> pathlib.Path:
        """What was written: see differences.py for what its entries mean."""
        return pathlib.Path(f"/proc/self/fd/{self._upper}")

    def differences(self) -> Iterator[Difference]:
        return differences(self.directory, self.upper, self.below)

    def forget(self) -> None:
        close(self._below)
        close(self._upper)


def mount(
    directory: str, below: int, stack: Stack, space: str, number: int, rights: mounts.Rights
) -> tuple[Layer, Stack]:
    """Lay an overlay over a directory, which writes into the directory `space`.

    below: what is seen there; stack: what it reads. Returns the stack with the new layer on top.
    Raises OSError.
    """
    upper, work = (_new(f"{space}/{name}{number}") for name in ("upper", "work"))
    attributes.copy(f"/proc/self/fd/{below}", f"/proc/self/fd/{upper}")
    try:
        mounts.mount_overlay(directory, stack, upper, work, trusted=rights.trusted)
    finally:
        os.close(work)
    return Layer(directory, below, upper), [upper, *stack]


def _new(directory: str) -> int:
    os.mkdir(directory, 0o700)
    return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
