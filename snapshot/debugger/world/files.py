"""Files: `open`, the raw files beneath all others, and the functions of `os` that take paths."""

from __future__ import annotations

import _io
import os
import posix
import stat
import sys
import warnings
from _thread import get_ident
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from snapshot.debugger.world import descriptors, reading
from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.calls import Function, noted, replaced

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
            encoding = _io.text_encoding(encoding, 3)
        by_line = buffering == 1 and type(buffering) is int
        if by_line:
            # The size of the buffer is that of then: see `asks_terminal`.
            buffering = -1
            if not is_text:
                warnings.warn(_BY_LINE, RuntimeWarning, stacklevel=3)
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
        except Exception as error:
            b.note_error(name, error)
            raise
        b.note(name, reading.kept(data, _fileno(file), None, b.began))
        return data

    def repeated(file: Any, *args: Any) -> Any:
        found = b.take(name)
        return reading.given(b, name, found, _fileno(file), moves=True)

    return replaced(b, original, remembered, repeated)


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
    """`os.dup`."""

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


def scans(b: Boundary, name: str, original: Function) -> Function:
    """`os.scandir`, whose entries are remembered at once."""

    def remembered(*args: Any, **kwargs: Any) -> Any:
        found: list[Any] = []

        def listed() -> list[tuple[Any, Any, int]]:
            with original(*args, **kwargs) as entries:
                found.extend(entries)
            return [(each.name, each.path, each.inode()) for each in found]

        listing = b.do(name, listed)
        return Scan([Entry(b, told, real) for told, real in zip(listing, found, strict=True)])

    def repeated(path: Any = None) -> Any:
        descriptors.as_path(path)
        return Scan([Entry(b, told, None) for told in b.take(name)])

    return replaced(b, original, remembered, repeated)


class Scan:
    """What `os.scandir` returns."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Entry]:
        return self

    def __next__(self) -> Entry:
        return next(self._entries)

    def close(self) -> None:
        self._entries = iter([])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, traceback: TracebackType | None
    ) -> None:
        self.close()


class Entry:
    """An `os.DirEntry`, as far as can be seen; in a repeat there is no real one."""

    __slots__ = ("_b", "_inode", "_real", "name", "path")

    def __init__(self, b: Boundary, told: tuple[Any, Any, int], real: Any) -> None:
        self.name, self.path, self._inode = told
        self._b, self._real = b, real

    def inode(self) -> int:
        return self._inode

    def is_dir(self, *, follow_symlinks: bool = True) -> Any:
        return self._ask("is_dir", follow_symlinks=follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> Any:
        return self._ask("is_file", follow_symlinks=follow_symlinks)

    def is_symlink(self) -> Any:
        return self._ask("is_symlink")

    def is_junction(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        return self._ask("stat", follow_symlinks=follow_symlinks)

    def _ask(self, question: str, **kwargs: bool) -> Any:
        b = self._b
        name = f"DirEntry.{question}"
        if b.aside or get_ident() != b.thread:
            return self._really(question, **kwargs)
        if b.repeating:
            return b.take(name)
        return b.do(name, self._really, question, **kwargs)

    def _really(self, question: str, **kwargs: bool) -> Any:
        if self._real is not None:
            return getattr(self._real, question)(**kwargs)
        follows = question != "is_symlink" and kwargs["follow_symlinks"]
        status = posix.stat(self.path, follow_symlinks=follows)
        return status if question == "stat" else _IS[question](status.st_mode)

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    if not TYPE_CHECKING:
        __class__ = property(lambda self: os.DirEntry)


_IS = {"is_dir": stat.S_ISDIR, "is_file": stat.S_ISREG, "is_symlink": stat.S_ISLNK}
