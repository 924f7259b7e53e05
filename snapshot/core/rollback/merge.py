"""Putting what an experiment wrote into the files themselves, each in one step.

A file is written beside the one that it is to replace, and renamed over it: who reads it sees the
old one or the new one. Nothing that somebody else has changed meanwhile is replaced or removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from snapshot.core.rollback import attributes
from snapshot.core.rollback.changes import Difference, differences, is_same, was_below
from snapshot.errors import FilesChanged, UsageError

Chosen = Callable[[str], bool]

_SHOWN = 5


def check(found: Sequence[Difference], chosen: Chosen, begun: int) -> None:
    """Raise `FilesChanged` if what would be replaced was changed after `begun`.

    begun: in nanoseconds since the epoch. The kernel's clock of files has steps of a few
    milliseconds: a change within the one in which the experiment began is not seen.
    """
    changed = [each.path for each in found if chosen(each.path) and _is_changed(each, begun)]
    if changed:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        error = FilesChanged(
            f"keep: {', '.join(changed[:_SHOWN])}{more}: changed by somebody else since the "
            "snapshot; nothing was kept: keep(files=[…]) merges only what it names, "
            "keep(files=False) nothing"
        )
        error.paths = tuple(changed)
        raise error
    for each in found:
        if each.source is not None and chosen(each.path) != chosen(_origin(each, found)):
            raise UsageError(
                f"keep(files=…): {each.path!r} was {_origin(each, found)!r} before: name both, or "
                "neither; nothing was kept"
            )


def _is_changed(difference: Difference, begun: int) -> bool:
    below, upper = difference.below, difference.upper
    if below is None:
        return upper is not None and difference.is_directory and was_below(difference)
    if _is_untouched(difference) or (upper is not None and difference.is_directory):
        return False
    try:
        return os.lstat(below).st_ctime_ns > begun
    except FileNotFoundError:
        return False


def _is_untouched(difference: Difference) -> bool:
    """Whether it is a file that was only open for writing."""
    below, upper = difference.below, difference.upper
    if below is None or upper is None or difference.is_directory:
        return False
    return is_same(upper, below)


def _origin(renamed: Difference, found: Sequence[Difference]) -> str:
    """The path that a renamed directory had."""
    return next(each.path for each in found if each.upper is None and each.below == renamed.source)


class Merge:
    """Puts what one layer has written, `upper`, into `target`, the directory as it is below.

    left: what could not be put there, each with the reason.
    """

    def __init__(self, directory: str, upper: Path, target: Path) -> None:
        self._directory, self._upper, self._target = directory, upper, target
        self._links: dict[tuple[int, int], Path] = {}  # where files of several names were put
        self.left: list[str] = []

    def run(self, chosen: Chosen) -> None:
        """chosen: says of a path whether it is to be merged. Raises OSError."""
        everything = differences(self._directory, self._upper, self._target)
        found = [each for each in everything if chosen(each.path) and not _is_untouched(each)]
        aside = self._set_aside(found)
        for each in found:
            target = self._place(each)
            if each.upper is None:
                _remove(target)
            elif not each.is_directory:
                self._put(each.path, each.upper, target)
            elif each.source is not None:
                os.rename(aside[each.source], target)
            elif each.below is None:
                target.mkdir(0o700, exist_ok=True)
        for each in reversed(found):
            if each.upper is not None and each.is_directory:
                attributes.copy(each.upper, self._place(each))
        if chosen(self._directory):
            attributes.copy(self._upper, self._target)

    def _place(self, difference: Difference) -> Path:
        return self._target / os.path.relpath(difference.path, self._directory)

    def _set_aside(self, found: Sequence[Difference]) -> dict[Path, Path]:
        """Renamed directories, between their two places; what is deeper first."""
        sources = [each.source for each in found if each.source is not None]
        aside = {}
        for source in sorted(sources, key=lambda each: len(each.parts), reverse=True):
            aside[source] = _beside(self._target / "directory")
            os.rename(source, aside[source])
        return aside

    def _put(self, path: str, upper: Path, target: Path) -> None:
        status = os.lstat(upper)
        if stat.S_ISSOCK(status.st_mode):
            self.left.append(f"{path} (a socket)")
            return
        _make_parents(upper.parent, target.parent)
        temporary = _beside(target)
        try:
            self._copy(upper, status, temporary)
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        if status.st_nlink > 1:
            self._links[status.st_dev, status.st_ino] = target

    def _copy(self, upper: Path, status: os.stat_result, temporary: Path) -> None:
        linked = self._links.get((status.st_dev, status.st_ino))
        if linked is not None:
            os.link(linked, temporary)
            return
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(upper), temporary)
            attributes.copy_of_link(upper, temporary)
            return
        if stat.S_ISREG(status.st_mode):
            shutil.copyfile(upper, temporary)
        else:
            os.mknod(temporary, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)
        attributes.copy(upper, temporary)


def _beside(target: Path) -> Path:
    return target.with_name(f".snapshot-{os.urandom(8).hex()}")


def _remove(target: Path) -> None:
    """What is not there, or was in a directory that is gone, is removed already."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISDIR(os.lstat(target).st_mode):
            shutil.rmtree(target)
        else:
            os.unlink(target)


def _make_parents(upper: Path, target: Path) -> None:
    """Of one that was chosen alone: the new directories that it is in."""
    if not target.exists():
        _make_parents(upper.parent, target.parent)
        target.mkdir(0o700)
        attributes.copy(upper, target)
