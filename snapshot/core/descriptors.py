"""The open descriptors of this process, listed once for each fork."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import NamedTuple

_LIST = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"

# Descriptors of this package's own, which are nobody else's business.
OURS: set[int] = set()


class Descriptor(NamedTuple):
    """An open descriptor: its number, and its flags as in open(2)."""

    fd: int
    flags: int

    @property
    def writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    @property
    def readable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    def offset(self) -> int | None:
        """The position that reading and writing move, in bytes; None where there is none."""
        try:
            mode = os.fstat(self.fd).st_mode
            if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
                return os.lseek(self.fd, 0, os.SEEK_CUR)
        except OSError:
            pass
        return None


def open_descriptors() -> list[Descriptor]:
    """Every descriptor that is open now, except our own, in the order of their numbers."""
    found = []
    for fd in sorted(set(map(int, os.listdir(_LIST))) - OURS):
        try:
            found.append(Descriptor(fd, fcntl.fcntl(fd, fcntl.F_GETFL)))
        except OSError:
            continue  # the descriptor that did the listing
    return found


def identity(fd: int) -> tuple[int, int] | None:
    """Which file a descriptor stands for; None if it is closed."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def may_write() -> bool:
    """Whether a descriptor beside the standard ones, and not our own, is open for writing."""
    for name in os.listdir(_LIST):
        fd = int(name)
        if fd > 2 and fd not in OURS:
            try:
                if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                    return True
            except OSError:
                continue
    return False


def close(fd: int) -> None:
    """Close a descriptor of our own."""
    OURS.discard(fd)
    os.close(fd)
