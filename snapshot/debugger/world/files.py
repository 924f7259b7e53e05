"""Files: `open`, the raw files beneath all others, and descriptors."""

from __future__ import annotations

import _io
import os
import posix
import sys
import warnings
from _thread import get_ident
from typing import Any

from snapshot.debugger.world import descriptors, reading
from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.calls import plain
from snapshot.debugger.world.choosing import Function, hidden, noted, replaced

_fileno = _io.FileIO.fileno


def number(file: Any, *_: Any) -> int:
    """The descriptor of a raw file."""
    return _fileno(file)


def opens(b: Boundary, name: str, original: Function) -> Function:
    """`open`: the original in a repeat, too, with an opener of ours; all else is as ever."""

    def opener(path: Any, flags: int) -> int:
        return descriptors.open_file(b, name, path, flags, 0o666, directories=False)

    def opened(*args: Any, **kwargs: Any) -> Any:
        try:
            given = _open_arguments(*args, **kwargs)
        except TypeError:
            return original(*args, **kwargs)  # which says so in its own words
        file, mode, buffering, encoding, errors, newline, closefd, other = given
        is_text = isinstance(mode, str) and "b" not in mode
        if sys.flags.warn_default_encoding and is_text:
            encoding = _io.text_encoding(encoding, 4)
        by_line = buffering == 1 and type(buffering) is int
        if by_line:
            # The size of the buffer is that of then: see `asks_terminal`.
            buffering = -1
            if not is_text:
                warnings.warn(_BY_LINE, RuntimeWarning, stacklevel=4)
        if other is None and not isinstance(file, int):
            other = opener
        result = original(file, mode, buffering, encoding, errors, newline, closefd, other)
        if by_line and is_text:
            result.reconfigure(line_buffering=True)
        return result

    return replaced(b, original, opened, opened)


_BY_LINE = (
    "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be"
    " used"
)


def _open_arguments(
    file: Any,
    mode: Any = "r",
    buffering: Any = -1,
    encoding: Any = None,
    errors: Any = None,
    newline: Any = None,
    closefd: Any = True,
    opener: Any = None,
) -> tuple[Any, ...]:
    return file, mode, buffering, encoding, errors, newline, closefd, opener


def opens_descriptor(b: Boundary, name: str, original: Function) -> Function:
    """`os.open`."""

    def opened(*args: Any, **kwargs: Any) -> Any:
        try:
            path, flags, mode, dir_fd = _descriptor_arguments(*args, **kwargs)
        except TypeError:
            return original(*args, **kwargs)
        return descriptors.open_file(b, name, path, flags, mode, dir_fd=dir_fd)

    return replaced(b, original, opened, opened)


def _descriptor_arguments(
    path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None
) -> tuple[Any, ...]:
    return path, flags, mode, dir_fd


def raw_reads(b: Boundary, name: str, original: Function) -> Function:
    """`FileIO.read` and `FileIO.readall`."""

    def remembered(file: Any, *args: Any) -> Any:
        try:
            data = original(file, *args)
        except (Exception, KeyboardInterrupt) as error:
            b.note_error(name, error)
            raise
        b.note(name, reading.kept(data, _fileno(file), None, b.began))
        return data

    def repeated(file: Any, *args: Any) -> Any:
        found = b.take(name)
        return reading.given(b, name, found, _fileno(file), moves=True)

    return replaced(b, original, remembered, repeated)


def raw_writes(b: Boundary, name: str, original: Function) -> Function:
    """`FileIO.write`.

    What is written to standard output and error is written when the user is asked, too: how much
    it is at a time is not the same in a repeat.
    """
    elsewhere = plain(b, name, original)

    def write(file: Any, data: Any) -> Any:
        if b.aside or get_ident() != b.thread or _fileno(file) not in (1, 2):
            return elsewhere(file, data)
        if b.repeating:
            return memoryview(data).nbytes
        b.shows()
        return original(file, data)

    return hidden(write)


def raw_seeks(b: Boundary, name: str, original: Function) -> Function:
    """`FileIO.seek` and, with a descriptor in the place of the file, `os.lseek`."""

    def repeated(file: Any, *args: Any, **kwargs: Any) -> Any:
        position = b.take(name)
        fd = file if isinstance(file, int) else _fileno(file)
        if fd in b.reopened:
            posix.lseek(fd, position, os.SEEK_SET)
        return position

    return replaced(b, original, noted(b, name, original), repeated)


def asks_terminal(b: Boundary, name: str, original: Function) -> Function:
    """`FileIO.isatty`, which `open` asks for before it asks for the size of a block."""

    def remembered(file: Any, *args: Any) -> Any:
        def asked() -> tuple[bool, int]:
            return original(file, *args), file._blksize

        return b.do(name, asked)[0]

    def repeated(file: Any, *args: Any) -> Any:
        answer, file._blksize = b.take(name)
        return answer

    return replaced(b, original, remembered, repeated)


def duplicates(b: Boundary, name: str, original: Function) -> Function:
    """`os.dup` and `socket.dup`."""

    def repeated(fd: int) -> int:
        return descriptors.duplicate(b, fd, b.take(name))

    return replaced(b, original, noted(b, name, original), repeated)


def copies(b: Boundary, name: str, original: Function) -> Function:
    """`os.dup2`."""

    def repeated(fd: int, fd2: int, inheritable: bool = True) -> Any:
        number = b.take(name)
        descriptors.copied(b, fd, number, inheritable)
        return number

    return replaced(b, original, noted(b, name, original), repeated)
