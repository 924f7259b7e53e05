"""What an experiment did to the files of its overlay, and what that looks like."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from snapshot.core.line import short, table
from snapshot.core.rollback.differences import Difference, is_regular, is_same

Kind = Literal["created", "modified", "deleted", "renamed"]

_SHOWN_CHANGES = 100
_SHOWN_LINES = 40  # of the differences of one file
_SHOWN_COLUMNS = 160
_TEXT = 1 << 20  # bytes up to which a file is compared line by line


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
    new = [(d.path, d.upper) for d in found if d.upper and d.below is None and is_regular(d.upper)]
    old = [(d.path, d.below) for d in found if d.upper is None and d.below and is_regular(d.below)]
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
