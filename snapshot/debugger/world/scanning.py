"""Directories: what `os.scandir` finds."""

from __future__ import annotations

import os
import posix
import stat
from _thread import get_ident
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from snapshot.debugger.world import descriptors
from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.choosing import Function, hidden, replaced


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
        descriptors.ask_paths(b, name, [path])
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

    @hidden
    def is_dir(self, *, follow_symlinks: bool = True) -> Any:
        return self._ask("is_dir", follow_symlinks=follow_symlinks)

    @hidden
    def is_file(self, *, follow_symlinks: bool = True) -> Any:
        return self._ask("is_file", follow_symlinks=follow_symlinks)

    @hidden
    def is_symlink(self) -> Any:
        return self._ask("is_symlink")

    def is_junction(self) -> bool:
        return False

    @hidden
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
