"""What was asked for: directories that an experiment is to have for itself."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from snapshot.core.limits import in_bytes
from snapshot.errors import CannotOverlay, UsageError

LIMIT = "1G"  # of what is written, where it is held in memory

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]


class Wanted(NamedTuple):
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
        """None if nothing is wanted. Raises `UsageError` or `CannotOverlay`."""
        size = in_bytes("files_limit", limit)
        place = _disk(on_disk)
        if files is None:
            return None
        if sys.platform != "linux":
            raise CannotOverlay(
                f"files={files!r}: only Linux has overlays of directories; nothing was forked"
            )
        found: list[str] = []
        for each in sorted(_directory(each) for each in paths("files", files)):
            if not is_inside(each, found):
                found.append(each)
        if place is not None and is_inside(place, found):
            raise UsageError(
                f"files_on_disk: {place!r} is inside of what is to be rolled back: name another "
                "directory; nothing was forked"
            )
        return cls(tuple(found), bool(strict), size, place)


def paths(name: str, given: Paths) -> list[str]:
    """One path or several, the value of an argument of that name, as texts. Raises `UsageError`."""
    several = [given] if isinstance(given, str | bytes | os.PathLike) else given
    if not isinstance(several, Iterable):
        raise UsageError(f"{name}={given!r}: give a path, or several; nothing was done")
    found = [_text(name, each) for each in several]
    if not found:
        raise UsageError(f"{name}={given!r}: give a path, or several; nothing was done")
    return found


def is_inside(path: str, directories: Iterable[str]) -> bool:
    """Whether a path is one of the directories, or below one; all of them without links."""
    return any(path == each or path.startswith(each + "/") for each in directories)


def _text(name: str, path: object) -> str:
    if isinstance(path, str | os.PathLike):
        text = os.fspath(path)
        with contextlib.suppress(UnicodeEncodeError):
            if isinstance(text, str) and text and "\0" not in text and os.fsencode(text):
                return text
    raise UsageError(f"{name}={path!r}: it is no path; nothing was done")


def _directory(named: str) -> str:
    try:
        path = os.path.realpath(named)
    except OSError as error:
        raise UsageError(f"files={named!r}: {error.strerror}; nothing was forked") from None
    if not os.path.isdir(path):
        what = "not a directory" if os.path.exists(path) else "not there"
        raise UsageError(f"files={named!r}: {path!r} is {what}; nothing was forked")
    if path == "/":
        raise UsageError(
            "files='/': the root itself cannot be under an overlay: name directories in it; "
            "nothing was forked"
        )
    return path


def _disk(chosen: bool | Path) -> str | None:
    if chosen is False:
        return None
    from snapshot.core.rollback import disk

    return disk.place(None if chosen is True else _text("files_on_disk", chosen))
