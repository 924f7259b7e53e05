"""What was asked for: directories that an experiment is to have for itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snapshot.core.limits import in_bytes
from snapshot.core.rollback import disk
from snapshot.core.rollback.openings import is_inside
from snapshot.errors import UsageError

LIMIT = "1G"  # of what is written, where it is held in memory

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The directories that are to be under an overlay, and how.

    directories: absolute and without links, none within another.
    strict: whether what is open there and cannot be moved is an error.
    limit: bytes that the upper layer may take in memory.
    disk: a directory in which it is to be instead; None for memory.
    """

    directories: tuple[str, ...]
    strict: bool
    limit: int
    disk: str | None

    @classmethod
    def of(
        cls, files: Paths | None, strict: bool, limit: int | str, on_disk: bool | Path
    ) -> Wanted | None:
        """None if nothing is wanted. Raises `UsageError`."""
        if files is None:
            return None
        named = several(files)
        if not named:
            raise UsageError("files=[]: give a directory, or several; nothing was forked")
        found: list[str] = []
        for each in sorted(_directory(each) for each in named):
            if not is_inside(each, found):
                found.append(each)
        if on_disk is False:
            place = None
        else:
            place = disk.place(None if on_disk is True else on_disk)
            if is_inside(place, found):
                raise UsageError(
                    f"files_on_disk={place!r}: it is inside {found[0]!r}, which is to be rolled "
                    "back: name another directory; nothing was forked"
                )
        return cls(tuple(found), bool(strict), in_bytes("files_limit", limit), place)


def _directory(named: object) -> str:
    if not isinstance(named, str | os.PathLike) or not os.fspath(named):
        raise UsageError(f"files={named!r}: it is no path; nothing was forked")
    path = os.path.realpath(os.fspath(named))
    if not os.path.isdir(path):
        what = "not a directory" if os.path.exists(path) else "not there"
        raise UsageError(f"files={named!r}: {path!r} is {what}; nothing was forked")
    if path == "/":
        raise UsageError(
            "files='/': the root itself cannot be under an overlay: name directories in it; "
            "nothing was forked"
        )
    return path


def several(files: Paths) -> list[Path]:
    """One path or several, as several. Raises `UsageError`."""
    if isinstance(files, str | os.PathLike):
        return [files]
    if not isinstance(files, Iterable):
        raise UsageError(f"files={files!r}: give a path, or several; nothing was forked")
    return list(files)
