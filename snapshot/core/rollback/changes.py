"""What an experiment did to the files of its overlay, and what that looks like."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from snapshot.core.line import short, table
from snapshot.core.rollback import attributes

Kind = Literal["created", "modified", "deleted", "renamed"]

_SHOWN_CHANGES = 100
_SHOWN_LINES = 40  # of the differences of one file
_SHOWN_COLUMNS = 160
_TEXT = 1 << 20  # bytes up to which a file is compared line by line
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """One file or directory that is not as it was.

    kind: "created", "modified", "deleted" or "renamed". A file that was renamed and written to is
        one that was deleted and one that was created.
    path: its absolute path; a directory's ends in a slash.
    before: the path that it had, if it was renamed, else None.
    """

    kind: Kind
    path: str
    before: str | None = None


class Changes(Sequence[Change]):
    """What an experiment did to the files of its overlay, in the order of their paths.

    Shows as a table, followed by the differences of text files as long as the experiment lives.
    """

    def __init__(self, changes: Iterable[Change], differences: Sequence[Difference] = ()) -> None:
        self._changes = tuple(changes)
        self._differences = {each.path: each for each in differences}

    def __len__(self) -> int:
        return len(self._changes)

    @overload
    def __getitem__(self, index: int) -> Change: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Change]: ...
    def __getitem__(self, index: int | slice) -> Change | Sequence[Change]:
        return self._changes[index]

    def __reduce__(self) -> tuple[Any, ...]:
        return Changes, (self._changes,)

    def __repr__(self) -> str:
        if not self:
            return "no file was changed"
        shown = self._changes[:_SHOWN_CHANGES]
        lines = [table([(each.kind, _shown(each)) for each in shown])]
        if len(self) > len(shown):
            lines.append(f"… and {len(self) - len(shown)} more")
        for each in shown:
            if each.kind == "modified" and (text := self.diff(each.path)):
                lines += ["", *_cut(text.splitlines())]
        return "\n".join(lines)

    def diff(self, path: str | os.PathLike[str]) -> str:
        """A unified diff of a file that was created, modified or deleted.

        Empty for what is no text, has more than 1 MiB, or was not changed, and when the experiment
        has ended.
        """
        found = self._differences.get(os.path.abspath(path))
        if found is None:
            return ""
        before, after = _lines(found.below), _lines(found.upper)
        if before is None or after is None:
            return ""
        import difflib

        name = short(found.path)
        names = (name if found.below else "/dev/null", name if found.upper else "/dev/null")
        return "\n".join(difflib.unified_diff(before, after, *names, lineterm=""))

    @property
    def summary(self) -> str:
        """How many there are of each kind: `2 created, 1 deleted`; nothing if there are none."""
        kinds = [each.kind for each in self._changes]
        return ", ".join(
            f"{kinds.count(kind)} {kind}"
            for kind in ("created", "modified", "deleted", "renamed")
            if kind in kinds
        )


def _shown(change: Change) -> str:
    path = short(change.path)
    return path if change.before is None else f"{short(change.before)} → {path}"


def _cut(lines: list[str]) -> list[str]:
    shown = [
        each if len(each) <= _SHOWN_COLUMNS else each[:_SHOWN_COLUMNS] + "…"
        for each in lines[:_SHOWN_LINES]
    ]
    if len(lines) > len(shown):
        shown.append(f"… {len(lines) - len(shown)} more lines")
    return shown


def _lines(file: Path | None) -> list[str] | None:
    """The lines of a text; None for anything else. What is not there has no lines."""
    if file is None:
        return []
    try:
        status = os.lstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _TEXT:
            return None
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None


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


def described(found: Sequence[Difference]) -> Changes:
    """The differences as a user sees them."""
    moved = _moved(found)
    elsewhere = set(moved.values())
    changes: list[Change] = []
    for each in found:
        slash = "/" if each.is_directory else ""
        if each.origin is not None:
            changes.append(Change("renamed", each.path + slash, each.origin + slash))
        elif each.path in moved:
            changes.append(Change("renamed", each.path, moved[each.path]))
        elif each.upper is None:
            if each.path not in elsewhere:
                changes.append(Change("deleted", each.path + slash))
        elif each.below is None:
            changes.append(Change("created", each.path + slash))
        elif not is_same(each.upper, each.below):
            changes.append(Change("modified", each.path + slash))
    return Changes(sorted(changes, key=lambda each: each.path), found)


def _moved(found: Sequence[Difference]) -> dict[str, str]:
    """Files that are elsewhere now, with the same content: new path and old path."""
    new = [(d.path, d.upper) for d in found if d.upper and d.below is None and _is_regular(d.upper)]
    old = [(d.path, d.below) for d in found if d.upper is None and d.below and _is_regular(d.below)]
    sizes = {_size(file) for _, file in new} & {_size(file) for _, file in old}
    gone: dict[bytes, list[str]] = {}
    for path, file in old:
        if _size(file) in sizes:
            gone.setdefault(_digest(file), []).append(path)
    moved = {}
    alike = [(path, _digest(file)) for path, file in new if _size(file) in sizes]
    # First those that have kept their name: a whole directory may have been moved.
    for keeps_name in (True, False):
        for path, digest in alike:
            candidates = gone.get(digest)
            if not candidates or path in moved:
                continue
            before = candidates[-1]
            if not keeps_name or os.path.basename(before) == os.path.basename(path):
                moved[path] = candidates.pop()
    return moved


def _size(file: Path) -> int:
    return os.lstat(file).st_size


def _digest(file: Path) -> bytes:
    """Of the content; of what cannot be read, nothing that equals another's."""
    try:
        with open(file, "rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except OSError:
        return os.fsencode(file)


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


def _is_regular(entry: Path) -> bool:
    return stat.S_ISREG(os.lstat(entry).st_mode)
