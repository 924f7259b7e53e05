"""The open descriptors of this process, listed once for each fork."""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import dataclass

_LIST = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An open descriptor: its number, its mode as in `os.stat`, its flags as in open(2)."""

    fd: int
    mode: int
    flags: int

    @property
    def writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def readable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def has_offset(self) -> bool:
        """Whether it has a position that reading and writing move."""
        return stat.S_ISREG(self.mode) or stat.S_ISBLK(self.mode)


def open_descriptors() -> list[Descriptor]:
    """Every descriptor that is open now, in the order of their numbers."""
    found = []
    for fd in sorted(map(int, os.listdir(_LIST))):
        try:
            found.append(
                Descriptor(fd, os.fstat(fd).st_mode, fcntl.fcntl(fd, fcntl.F_GETFL))
            )
        except OSError:
            continue  # the descriptor that did the listing
    return found
