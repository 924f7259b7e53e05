"""What is put back on files when an experiment has ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from snapshot.core.descriptors import Descriptor, identity

_STANDARD_OUTPUTS = (1, 2)


class Offsets:
    """The positions of the files that this process reads, or reads and writes.

    A descriptor that is open for writing only keeps the experiment's position, and so do the
    standard outputs: whatever the experiment wrote there is not overwritten. That holds also where
    the file of a standard output is open under another number, as pytest has those that capture.
    """

    def __init__(self, descriptors: Iterable[Descriptor]) -> None:
        self._offsets = {
            d.fd: (offset, identity(d.fd))
            for d in descriptors
            if d.readable and d.fd not in _STANDARD_OUTPUTS and (offset := d.offset()) is not None
        }

    def put_back(self) -> None:
        written = [(fd, offset) for fd in _STANDARD_OUTPUTS if (offset := _position(fd))]
        for fd, (offset, file) in self._offsets.items():
            if identity(fd) == file:  # else another thread has closed it meanwhile
                _seek(fd, offset)
        for fd, offset in written:
            _seek(fd, offset)


def _seek(fd: int, offset: int) -> None:
    with contextlib.suppress(OSError):
        os.lseek(fd, offset, os.SEEK_SET)


def _position(fd: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.lseek(fd, 0, os.SEEK_CUR)
    return None
