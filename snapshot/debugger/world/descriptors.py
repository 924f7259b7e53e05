"""The descriptors of a repeat: the numbers are those of then, and most lead nowhere.

`posix` is what the originals of `os` are in, which nobody replaces.
"""

from __future__ import annotations

import errno
import posix
import stat
from collections.abc import Iterable
from typing import Any

from snapshot.debugger.world.boundary import Boundary

# How a file was opened matters to who only reads it; nothing is made, or made empty, again.
_NOT_AGAIN = posix.O_CREAT | posix.O_EXCL | posix.O_TRUNC

# Device and inode, and of a file also its size and when it was changed.
Identity = tuple[int, ...]


def open_file(
    b: Boundary,
    name: str,
    path: Any,
    flags: int,
    mode: int = 0o777,
    *,
    dir_fd: int | None = None,
    directories: bool = True,
) -> int:
    """open(2), remembered or repeated.

    In a repeat a file that was only read, and is still the same, is opened again, for reading;
    any other is an empty one that nobody else sees.
    """
    if b.repeating:
        (path,) = ask_paths(b, name, [path])
        number, identity = b.take(name)
        return _opened_again(b, number, identity, path, flags, dir_fd)
    try:
        fd = posix.open(path, flags, mode, dir_fd=dir_fd)
        status = posix.fstat(fd)
        if stat.S_ISDIR(status.st_mode) and not directories:
            posix.close(fd)
            raise IsADirectoryError(errno.EISDIR, posix.strerror(errno.EISDIR), path)
    except Exception as error:
        b.note_error(name, error)
        raise
    reads = flags & (posix.O_ACCMODE | posix.O_TRUNC) == posix.O_RDONLY
    b.note(name, (fd, _identity(status) if reads else None))
    return fd


def ask_paths(b: Boundary, name: str, values: Iterable[Any]) -> list[Any]:
    """The values, with paths in place of the objects that have one.

    Those are asked, as the original asks them: it may be the program's own code that answers.
    """
    try:
        return [
            posix.fspath(each) if hasattr(type(each), "__fspath__") else each for each in values
        ]
    except Exception:
        b.skip(name)  # which was this error
        raise


def placeholder(b: Boundary, number: int) -> int:
    """A descriptor that leads nowhere, with this number if it is free."""
    return moved(b, _nowhere(), number)


def moved(b: Boundary, fd: int, number: int) -> int:
    """Give a descriptor this number if it is free; returns the one that it has then."""
    if fd != number and _is_free(number):
        posix.dup2(fd, number, inheritable=False)
        posix.close(fd)
        fd = number
    b.reopened.discard(fd)
    return fd


def duplicate(b: Boundary, fd: int, number: int) -> int:
    """What a copy of a descriptor is in a repeat."""
    try:
        copy = moved(b, posix.dup(b.stands_for(fd)), number)
    except OSError:
        return placeholder(b, number)
    if fd in b.reopened:
        b.reopened.add(copy)
    return copy


def copied(b: Boundary, fd: int, number: int, inheritable: bool) -> None:
    """dup2(2) in a repeat."""
    b.reopened.discard(number)
    try:
        posix.dup2(b.stands_for(fd), b.stands_for(number), inheritable)
    except OSError:
        placeholder(b, number)
    else:
        if fd in b.reopened:
            b.reopened.add(number)


def _opened_again(
    b: Boundary, number: int, identity: Identity | None, path: Any, flags: int, dir_fd: int | None
) -> int:
    if identity is not None:
        try:
            if _identity(posix.stat(path, dir_fd=dir_fd)) == identity:
                fd = posix.open(path, flags & ~_NOT_AGAIN | posix.O_CLOEXEC, dir_fd=dir_fd)
                fd = moved(b, fd, number)
                b.reopened.add(fd)
                return fd
        except OSError:
            pass  # it is gone, or somebody has taken the right to read it
    return placeholder(b, number)


def _identity(status: Any) -> Identity | None:
    if stat.S_ISDIR(status.st_mode):
        return status.st_dev, status.st_ino
    if stat.S_ISREG(status.st_mode) and status.st_size:  # those of proc(5) have no size
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _nowhere() -> int:
    if hasattr(posix, "memfd_create"):
        return posix.memfd_create("snapshot-nowhere", posix.MFD_CLOEXEC)
    return posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)


def _is_free(number: int) -> bool:
    try:
        posix.fstat(number)
    except OSError:
        return True
    return False
