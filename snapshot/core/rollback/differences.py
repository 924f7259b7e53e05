"""What an upper layer says: how a directory differs from what is below it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from snapshot.core.rollback import attributes

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry of an upper layer, and what it stands for.

    path: where both processes see it.
    upper: what is there now; None if it was removed.
    below: what was there; None if there was nothing, or it is elsewhere now.
    source, origin: for a directory that was renamed, what it was below, and the path that it had.
    """

    path: str
    upper: Path | None
    below: Path | None
    is_directory: bool
    source: Path | None = None
    origin: str | None = None


def differences(
    directory: str, upper: Path, below: Path, ignored: Iterable[str] = ()
) -> Iterator[Difference]:
    """What an upper layer says of a directory, each directory before what is in it.

    A directory that has only to be passed through, as something below it differs, is among them.
    What the kernel writes there: a character device 0/0 stands for a removed entry; a directory
    marked opaque hides what is below it; one with a redirect was renamed. See overlayfs.rst in the
    kernel's documentation.

    ignored: names of entries that are left out, wherever they are.
    """
    walk = _Walk(directory.rstrip("/"), below, frozenset(ignored))
    walk.find_renamed(upper, below)
    yield from walk.directory(walk.path, upper, below, hides=False)


class _Walk:
    """path, root: of the directory in which the overlay is, and what is below there."""

    def __init__(self, path: str, root: Path, ignored: frozenset[str]) -> None:
        self.path, self._root, self._ignored = path, root, ignored
        self._sources: dict[Path, Path] = {}  # of renamed directories, by what was written

    def find_renamed(self, upper: Path, below: Path | None) -> None:
        with os.scandir(upper) as entries:
            directories = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
        for name in set(directories) - self._ignored:
            source = self._source(upper / name, below)
            if source is not None:
                self._sources[upper / name] = source
            there = source or (None if below is None else below / name)
            self.find_renamed(upper / name, there)

    def directory(
        self, path: str, upper: Path, below: Path | None, *, hides: bool
    ) -> Iterator[Difference]:
        """hides: whether it was made anew, so that nothing which is below is there any more."""
        names = set(os.listdir(upper))
        if hides and below is not None:
            names.update(os.listdir(below))
        for name in sorted(names - self._ignored):
            yield from self._entry(f"{path}/{name}", upper / name, below, hides=hides)

    def _entry(
        self, path: str, upper: Path, parent: Path | None, *, hides: bool
    ) -> Iterator[Difference]:
        below = self._there(parent, upper.name)
        if not os.path.lexists(upper) or _is_whiteout(upper):
            if below is not None:
                yield from self._removed(path, below)
            return
        source = self._sources.get(upper)
        if below is not None and (source or _is_directory(upper) != _is_directory(below)):
            yield from self._removed(path, below)
            below = None
        origin = None
        if source is not None:
            origin = f"{self.path}/{os.path.relpath(source, self._root)}"
        is_directory = _is_directory(upper)
        yield Difference(path, upper, below, is_directory, source, origin)
        if is_directory:
            hides = below is not None and (hides or is_opaque(upper))
            yield from self.directory(path, upper, below or source, hides=hides)

    def _removed(self, path: str, below: Path) -> Iterator[Difference]:
        is_directory = _is_directory(below)
        yield Difference(path, None, below, is_directory)
        if is_directory:
            for name in sorted(os.listdir(below)):
                if (inner := self._there(below, name)) is not None:
                    yield from self._removed(f"{path}/{name}", inner)

    def _there(self, parent: Path | None, name: str) -> Path | None:
        """What is below under that name, and has not gone elsewhere."""
        below = None if parent is None else parent / name
        if below is None or below in self._sources.values() or not os.path.lexists(below):
            return None
        return below

    def _source(self, upper: Path, parent: Path | None) -> Path | None:
        """What a renamed directory was below; None for one that was not renamed."""
        redirect = _overlay_attribute(upper, "redirect")
        if redirect is None:
            return None
        text = os.fsdecode(redirect)
        return self._root / text[1:] if text.startswith("/") else (parent or self._root) / text


def is_same(one: Path, other: Path) -> bool:
    """Whether content and attributes are the same; of directories, the attributes but for times."""
    first, second = os.lstat(one), os.lstat(other)
    if stat.S_IFMT(first.st_mode) != stat.S_IFMT(second.st_mode):
        return False
    if stat.S_ISLNK(first.st_mode):
        return attributes.alike_links(one, other) and os.readlink(one) == os.readlink(other)
    if stat.S_ISDIR(first.st_mode):
        return attributes.alike(one, other, times=False)
    if not attributes.alike(one, other):
        return False
    return not stat.S_ISREG(first.st_mode) or _same_content(one, other)


def _same_content(one: Path, other: Path) -> bool:
    if os.lstat(one).st_size != os.lstat(other).st_size:
        return False
    try:
        with open(one, "rb") as first, open(other, "rb") as second:
            while (chunk := first.read(_CHUNK)) == second.read(_CHUNK):
                if not chunk:
                    return True
    except OSError:
        return False
    return False


def is_opaque(directory: Path) -> bool:
    """Whether it hides what is below it."""
    return _overlay_attribute(directory, "opaque") == b"y"


def was_below(difference: Difference) -> bool:
    """Whether what was written began as a copy, or a view, of something below."""
    upper = difference.upper
    return upper is not None and _overlay_attribute(upper, "origin") is not None


def _overlay_attribute(directory: Path, name: str) -> bytes | None:
    for prefix in attributes.OVERLAY:
        with contextlib.suppress(OSError):
            return os.getxattr(directory, prefix + name, follow_symlinks=False)
    return None


def _is_whiteout(entry: Path) -> bool:
    status = os.lstat(entry)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_directory(entry: Path) -> bool:
    return stat.S_ISDIR(os.lstat(entry).st_mode)


def is_regular(entry: Path) -> bool:
    """Whether it is a regular file, and no link to one."""
    return stat.S_ISREG(os.lstat(entry).st_mode)
