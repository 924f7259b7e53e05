"""What was removed can be put back: the files as they were are kept, the last removal first."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from snapshot.errors import CannotRead, FilesChanged, UsageError
from snapshot.heat.writing import home, replace
from snapshot.store.place import FOLDER, private

_FOLDER = "undo"


class Removed(NamedTuple):
    """A removal that can be taken back.

    id: no other removal has it. functions: their names in the inventory. time: in seconds since
    1970. changes: the contents of files, from the root, before and after.
    """

    id: str
    functions: list[str]
    time: float
    changes: dict[str, tuple[bytes, bytes]]


def write(root: Path, changes: Mapping[str, tuple[bytes, bytes]], names: list[str]) -> None:
    """Put the second contents in the place of the first, all or none, so that `undo` can go back.

    Raises `UsageError` where a file cannot be written; then none is changed. `FilesChanged` where
    one is not what it was.
    """
    home(root)
    folder = _folder(root)
    try:
        private(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from None
    with _alone(folder):
        _write(root, changes, names, folder / f"{_next(folder):06}.json")


def _write(
    root: Path, changes: Mapping[str, tuple[bytes, bytes]], names: list[str], entry: Path
) -> None:
    content = {
        "functions": names,
        "time": time.time(),
        "files": {
            path: [base64.b64encode(each).decode() for each in both]
            for path, both in changes.items()
        },
    }

    def begin() -> None:
        for path, (before, _) in changes.items():
            if _content(root / path) != before:
                raise FilesChanged(
                    f"{path} was changed meanwhile, and nothing was written: ask again"
                )
        replace({entry: json.dumps(content).encode()})

    try:
        replace({root / path: after for path, (_, after) in changes.items()}, begin)
    except BaseException:
        with contextlib.suppress(OSError):
            entry.unlink()
        raise


def undo(root: Path, removal: str | None = None) -> tuple[list[str], list[str]]:
    """Take back the last removal; the functions that are back, and the files.

    removal: its id; None for whichever is the last one.

    Raises `UsageError` if there is none, or a file cannot be written; `FilesChanged` if one has
    been changed since, or the last removal is another one; `CannotRead` if what was kept is
    damaged. Then nothing is changed.
    """
    if not _entries(root):
        raise UsageError(f"nothing was removed in {root} that could be put back")
    with _alone(_folder(root)):
        return _undo(root, removal)


def _undo(root: Path, removal: str | None) -> tuple[list[str], list[str]]:
    entries = _entries(root)
    found = _read(entries[-1]) if entries else None
    if found is None or removal not in (None, found.id):
        raise FilesChanged(
            "that removal is not the last one any more, and nothing was put back: look at what "
            "was removed last"
        )
    _, names, _, files = found
    for path, both in files.items():
        if _content(root / path) not in both:
            raise FilesChanged(
                f"{path} was changed since {', '.join(names)} was removed, and nothing was put "
                f"back: take it from {entries[-1]}, or undo that change first"
            )
    replace({root / path: before for path, (before, _) in files.items()})
    entries[-1].unlink()
    return names, sorted(files)


def last(root: Path) -> Removed | None:
    """What `undo` would take back. Raises `CannotRead` if what was kept is damaged."""
    entries = _entries(root)
    return _read(entries[-1]) if entries else None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else removes or undoes meanwhile: each sees what the one before has left."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _entries(root: Path) -> list[Path]:
    return sorted(_folder(root).glob("*.json"))


def _read(entry: Path) -> Removed:
    try:
        content: dict[str, Any] = json.loads(entry.read_bytes())
        files = {
            str(path): (base64.b64decode(before), base64.b64decode(after))
            for path, (before, after) in content["files"].items()
        }
        names = [str(each) for each in content["functions"]]
        moment = float(content["time"])
        return Removed(f"{entry.stem} {moment}", names, moment, files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise CannotRead(f"{entry} is damaged: nothing was put back") from None


def _folder(root: Path) -> Path:
    return root / FOLDER / "heat" / _FOLDER


def _next(folder: Path) -> int:
    return (
        max((int(each.stem) for each in folder.glob("*.json") if each.stem.isdigit()), default=0)
        + 1
    )


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
