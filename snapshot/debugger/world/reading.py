"""What was read: short data are kept, long data of a file are read from it again."""

from __future__ import annotations

import os
import posix
import stat
from fcntl import F_GETFL, fcntl
from typing import Any
from zlib import crc32

from snapshot.debugger.world.boundary import Boundary

# Bytes from which on data are not kept if they can be had again: of any file, and of a big one.
_LONG = 1 << 16
_LONG_OF_BIG = 1 << 12
_BIG = 1 << 24


def kept(data: bytes | None, fd: int, start: int | None, since: int) -> Any:
    """What is remembered of data that were just read: these, or length, checksum and offset.

    start: where they were, None if it is before the present position. since: a file that was
    changed since that time, in nanoseconds, may be changed again.
    """
    if data is None or len(data) < _LONG_OF_BIG:
        return data
    status = posix.fstat(fd)
    if len(data) < (_LONG_OF_BIG if status.st_size >= _BIG else _LONG):
        return data
    if not stat.S_ISREG(status.st_mode) or status.st_mtime_ns >= since:
        return data
    if start is None:
        start = posix.lseek(fd, 0, os.SEEK_CUR) - len(data)
    if fcntl(fd, F_GETFL) & posix.O_ACCMODE == posix.O_RDONLY and start >= 0:
        return len(data), crc32(data), start
    return data


def given(b: Boundary, name: str, found: Any, fd: int, *, moves: bool) -> Any:
    """The data of which that is remembered; moves: what read them moved the file's position.

    It is a difference if the file does not have them any more.
    """
    if found is None:
        return None
    if isinstance(found, tuple):
        length, checksum, start = found
        data = _read(fd, length, start)
        if crc32(data) != checksum or len(data) != length:
            place = f"of {length} bytes at {b.now()}"
            b.differs(f"{name}() {place}", f"{name}() {place} of a file that has changed")
        found = data
    if moves and fd in b.reopened:
        posix.lseek(fd, len(found), os.SEEK_CUR)
    return found


def _read(fd: int, length: int, start: int) -> bytes:
    parts = []
    while length:
        try:
            part = posix.pread(fd, length, start)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
        length -= len(part)
        start += len(part)
    return b"".join(parts)
