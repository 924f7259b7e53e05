"""Putting what an experiment wrote into the files themselves: all of it, or nothing.

    prepared ── all that is new is copied to a directory beside ── nothing is seen of that yet
    done ────── a rename for each file, directory and removal ──── each can be taken back
    cleared ─── what was replaced or removed goes away

Who reads a file sees the old one or the new one. Nothing that somebody else has changed meanwhile
is replaced or removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from snapshot.core.rollback import attributes
from snapshot.core.rollback.differences import (
    Difference,
    differences,
    is_opaque,
    is_same,
    was_below,
)
from snapshot.errors import FilesChanged, UsageError

Chosen = Callable[[str], bool]

_SHOWN = 5


def check(found: Sequence[Difference], chosen: Chosen, begun: int, *, seen: bool) -> None:
    """Raise `FilesChanged` if what would be replaced was changed after `begun`.

    begun: in nanoseconds since the epoch. The kernel's clock of files has steps of a few
    milliseconds: a change within the one in which the experiment began is not noticed.
    seen: whether files are known by their numbers: in nested overlays each counts for itself.

    Raises `UsageError` if what was chosen cannot be merged by itself.
    """
    here = [each for each in found if chosen(each.path)]
    changed = [each.path for each in here if _is_changed(each, begun)]
    changed += [each.path for each in here if each.is_directory and _has_vanished(each)]
    if seen:
        known = {os.lstat(each.below).st_ino for each in found if each.below is not None}
        files = [each for each in here if not each.is_directory and _has_vanished(each)]
        changed += [each.path for each in files if not _is_renamed(each, known)]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        error = FilesChanged(
            f"keep: {', '.join(changed[:_SHOWN])}{more}: changed by somebody else since the "
            "snapshot; nothing was kept: keep(files=[…]) merges only what it names, "
            "keep(files=False) nothing"
        )
        error.paths = tuple(changed)
        raise error
    _check_choice(found, chosen)


def _check_choice(found: Sequence[Difference], chosen: Chosen) -> None:
    replaced = {each.path for each in found if each.upper is None and not chosen(each.path)}
    for each in found:
        if each.origin is not None and chosen(each.path) != chosen(each.origin):
            raise UsageError(
                f"keep(files=…): {each.path!r} was {each.origin!r} before: name both, or neither; "
                "nothing was kept"
            )
        above = os.path.dirname(each.path)
        if each.upper is not None and chosen(each.path) and above in replaced:
            raise UsageError(
                f"keep(files=…): {each.path!r} is where there was no directory before: name "
                f"{above!r}; nothing was kept"
            )


def _is_changed(difference: Difference, begun: int) -> bool:
    below, upper = difference.below, difference.upper
    if below is None or _is_untouched(difference):
        return False
    try:
        is_late = os.lstat(below).st_ctime_ns > begun
    except FileNotFoundError:
        return False
    if upper is not None and difference.is_directory:
        return is_late and not was_below(difference) and not is_opaque(upper)
    return is_late


def _has_vanished(difference: Difference) -> bool:
    """Whether what it is a copy of is not under that path any more."""
    if difference.upper is None or difference.below is not None or difference.source is not None:
        return False
    return was_below(difference)


def _is_renamed(difference: Difference, known: set[int]) -> bool:
    """Whether the experiment gave it that name: the number that it has is that of one below."""
    try:
        status = os.lstat(difference.path)
    except FileNotFoundError:
        return True
    return status.st_nlink > 1 or status.st_ino in known


def _is_untouched(difference: Difference) -> bool:
    """Whether it is a file that was only open for writing, and has got no second name."""
    below, upper = difference.below, difference.upper
    if below is None or upper is None or difference.is_directory:
        return False
    return os.lstat(upper).st_nlink == 1 and is_same(upper, below)


class Merge:
    """Puts what one layer has written, `upper`, into `target`, the directory as it is below.

    `prepare`, `perform` and `clear` in this order; `take_back` after any of the first two. left:
    what could not be put there, each with the reason.
    """

    def __init__(
        self, directory: str, upper: Path, target: Path, chosen: Chosen, inner: Sequence[Merge]
    ) -> None:
        """inner: those that were done before, into what is to be merged now."""
        self._directory, self._upper, self._target = directory, upper, target
        self._chosen = chosen
        self._ignored: list[str] = [each.beside.name for each in inner]
        self.beside: Path = target / f".snapshot-{os.urandom(8).hex()}"
        self._attributes: dict[Path, attributes.Attributes] = {}  # of directories, before
        self._used = 0  # names in there
        self._undo: list[Callable[[], object]] = []
        self._new: dict[str, Path] = {}  # copies of what is to be put in place, by its path
        self._links: dict[tuple[int, int], Path] = {}  # those of files that have several names
        self.left: list[str] = []

    def prepare(self) -> None:
        """Copy what is new. Raises OSError."""
        everything = differences(self._directory, self._upper, self._target, ignored=self._ignored)
        self._found = [
            each for each in everything if self._chosen(each.path) and not _is_untouched(each)
        ]
        for each in self._found:
            for there in (each.source, each.below, self._place(each.path)):
                if there is not None:
                    self._remember(there)
                    self._remember(there.parent)
        self._remember(self._target)
        self.beside.mkdir(0o700)
        for each in self._found:
            if each.upper is not None and not each.is_directory:
                self._copy(each.path, each.upper)

    def perform(self) -> None:
        """Put all in place. Raises OSError."""
        aside: dict[Path, Path] = {}  # renamed directories, what is deeper first
        sources = [each.source for each in self._found if each.source is not None]
        for source in sorted(sources, key=lambda each: len(each.parts), reverse=True):
            aside[source] = self._name()
            self._rename(source, aside[source])
        for each in reversed(self._found):  # what is in a directory before the directory
            if each.upper is None and each.below is not None:
                self._remove(_now(each.below, aside), is_directory=each.is_directory)
        for each in self._found:
            place = self._place(each.path)
            if each.source is not None:
                self._make_parents(each.path)
                self._rename(aside[each.source], place)
            elif each.upper is not None and each.is_directory:
                self._make_directory(each.path, place)
            elif each.upper is not None and each.path in self._new:
                self._make_parents(each.path)
                self._put(self._new[each.path], place)
        for each in reversed(self._found):  # when nothing in them changes any more
            if each.upper is not None and each.is_directory:
                attributes.copy(each.upper, self._place(each.path))

    def clear(self) -> None:
        """Remove what is not needed any more; it is not seen by anybody."""
        shutil.rmtree(self.beside, ignore_errors=True)
        if self._chosen(self._directory):
            with contextlib.suppress(OSError):
                attributes.copy(self._upper, self._target)

    def take_back(self) -> None:
        """Make everything as it was. Raises OSError."""
        while self._undo:
            self._undo.pop()()
        shutil.rmtree(self.beside, ignore_errors=True)
        for directory, before in reversed(self._attributes.items()):
            with contextlib.suppress(OSError):  # one that nothing could be done to
                before.give(directory)

    def _remember(self, directory: Path) -> None:
        if directory in self._attributes or not directory.is_dir():
            return
        if directory == self._target or not directory.is_symlink():
            self._attributes[directory] = attributes.Attributes(directory)

    def _place(self, path: str) -> Path:
        return self._target / os.path.relpath(path, self._directory)

    def _name(self) -> Path:
        self._used += 1
        return self.beside / str(self._used)

    def _rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)
        self._undo.append(lambda: os.rename(target, source))

    def _remove(self, place: Path, *, is_directory: bool) -> None:
        if not is_directory:
            self._rename(place, self._name())
            return
        before = attributes.Attributes(place)
        place.rmdir()  # on an overlay of an ordinary user's, it could not be renamed
        self._undo.append(lambda: before.give(place))
        self._undo.append(place.mkdir)

    def _put(self, new: Path, place: Path) -> None:
        """In one step. The old file is kept until all is done, under another name."""
        if not os.path.lexists(place):
            self._rename(new, place)
            return
        old = self._name()
        try:
            os.link(place, old, follow_symlinks=False)
        except OSError:  # there are no hard links, or this user may make none of this file
            shutil.copy2(place, old, follow_symlinks=False)
        os.replace(new, place)
        self._undo.append(lambda: os.replace(old, place))

    def _make_directory(self, path: str, place: Path) -> None:
        if not place.is_dir():
            self._make_parents(path)
            place.mkdir(0o700)
            self._undo.append(place.rmdir)

    def _make_parents(self, path: str) -> None:
        """Of one that was chosen alone: the new directories that it is in."""
        above = os.path.dirname(path)
        place = self._place(above)
        if not place.is_dir():
            self._make_parents(above)
            place.mkdir(0o700)
            self._undo.append(place.rmdir)
            attributes.copy(self._upper / os.path.relpath(above, self._directory), place)

    def _copy(self, path: str, upper: Path) -> None:
        status = os.lstat(upper)
        if stat.S_ISSOCK(status.st_mode):
            self.left.append(f"{path} (a socket)")
            return
        new = self._new[path] = self._name()
        linked = self._links.get((status.st_dev, status.st_ino))
        if linked is not None:
            os.link(linked, new)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(upper), new)
            attributes.copy_of_link(upper, new)
        elif stat.S_ISREG(status.st_mode):
            _copy_content(upper, new, status.st_size)
            attributes.copy(upper, new)
        else:
            os.mknod(new, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)
            attributes.copy(upper, new)
        if status.st_nlink > 1:
            self._links[status.st_dev, status.st_ino] = new


def _now(below: Path, aside: dict[Path, Path]) -> Path:
    """Where it is, now that what was renamed is aside."""
    for source, place in aside.items():
        if below.is_relative_to(source):
            return place / below.relative_to(source)
    return below


def _copy_content(source: Path, target: Path, size: int) -> None:
    """A hole stays a hole: lseek(2), SEEK_DATA."""
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        new.truncate(size)
        end = 0
        while True:
            try:
                begin = os.lseek(old.fileno(), end, os.SEEK_DATA)
            except OSError:  # there is no more
                return
            end = os.lseek(old.fileno(), begin, os.SEEK_HOLE)
            os.lseek(new.fileno(), begin, os.SEEK_SET)
            while begin < end:
                begin += os.sendfile(new.fileno(), old.fileno(), begin, end - begin)
