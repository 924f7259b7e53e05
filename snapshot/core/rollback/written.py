"""Which files of the original an experiment has written to, and left so."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from snapshot.core.descriptors import Descriptor
from snapshot.core.line import short

_STANDARD = (0, 1, 2)  # what is written there is seen
_SHOWN = 5


class Written:
    """The sizes and times of the regular files that a process has open as it forks."""

    def __init__(self, descriptors: Iterable[Descriptor]) -> None:
        self._before = {
            each.fd: facts
            for each in descriptors
            if each.fd not in _STANDARD and (facts := _facts(each.fd)) is not None
        }

    def described(self) -> str:
        """Those that are not as they were: `log (+120 bytes), data.db`; or nothing.

        Whoever wrote to them: it may have been another process, too.
        """
        found: dict[str, str] = {}
        for fd, (number, size, time) in self._before.items():
            after = _facts(fd)
            if after is None or after[0] != number or after[1:] == (size, time):
                continue
            name = short(os.readlink(f"/proc/self/fd/{fd}"))
            growth = after[1] - size
            found[name] = f"{name} ({growth:+} bytes)" if growth else name
        more = [f"{len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return ", ".join([*list(found.values())[:_SHOWN], *more])


def _facts(fd: int) -> tuple[tuple[int, int], int, int] | None:
    """Which file it is, its size, and when it was written; None for what is no regular file."""
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns
