"""What the spools of a store hold, and how it comes into the database."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from snapshot.errors import DamagedSpool
from snapshot.store import events
from snapshot.store.database import Busy, Database
from snapshot.store.spool import Segment, segments

Fold = Callable[[Segment, list[bytes]], None]


class Intake:
    """Of one store.

    folds: what is done with the records of a kind that are in one file, in a transaction.
    undeleted: why files that are folded in are there still, in lines.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self.folds: dict[int, Fold] = {}
        self.undeleted: list[str] = []

    def fold(self, *, wait: bool = True, most: int | None = None) -> int:
        """See `Store.fold`."""
        self.undeleted.clear()
        count = size = 0
        problems: list[Exception] = []
        incomplete: set[str] = set()  # writers of whom something may be folded in later

        def unreadable(writer: str, error: Exception) -> None:
            incomplete.add(writer)
            problems.append(error)

        for each in segments(self._folder, unreadable):
            if most is not None and size >= most:
                break
            if each.writer in incomplete:
                continue  # what it says refers to what was said before
            try:
                records, taken = self._fold(each, wait=wait)
                count += records
                size += taken
            except Busy:
                raise
            except DamagedSpool as error:
                problems.append(error)
            except Exception as error:
                unreadable(each.writer, error)
        if problems:
            raise _first(problems)
        return count

    def _fold(self, segment: Segment, *, wait: bool) -> tuple[int, int]:
        """How many records that was, and how many bytes."""
        left = segment.is_left()  # before its end is looked for
        name = segment.name
        with self._database.transaction(wait=wait):
            self._database.lock(exclusive=True, wait=wait)
            if not segment.is_there():
                return 0, 0  # somebody else has folded in all of it meanwhile
            begin = end = self._folded(name)
            found: dict[int, list[bytes]] = {}
            strange = False
            for kind, after, content in segment.records(begin):
                if kind not in self.folds:
                    strange = True
                    break
                found.setdefault(kind, []).append(content)
                end = after
            for kind in sorted(found):
                self.folds[kind](segment, found[kind])
            if end > begin:
                self._database.rows(
                    "INSERT INTO spools (name, folded) VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET folded = excluded.folded",
                    (name, end),
                )
        if not strange and not segment.is_whole(end, self.folds):
            raise DamagedSpool(
                f"{segment.path} is damaged: what is in it from byte {end} on cannot be read"
            )
        if left and not strange:
            self._delete(segment, wait=wait)
        return sum(map(len, found.values())), end - begin

    def _delete(self, segment: Segment, *, wait: bool) -> None:
        # In a transaction, too: whoever finds the file there must find how far it is folded.
        with self._database.transaction(wait=wait):
            self._database.lock(exclusive=True, wait=wait)
            try:
                segment.path.unlink(missing_ok=True)
            except OSError as error:
                self.undeleted.append(f"cannot delete {segment.path}: {error.strerror}")
                return
            self._database.rows("DELETE FROM spools WHERE name = ?", (segment.name,))
            self._database.rows("DELETE FROM held WHERE spool = ?", (segment.name,))

    def _folded(self, name: str) -> int:
        known = self._database.row("SELECT folded FROM spools WHERE name = ?", (name,))
        return int(known[0]) if known else 0

    def waiting(self) -> int:
        """How many files hold something that is not folded in, or cannot be read."""
        count = 0

        def unreadable(_: str, __: DamagedSpool) -> None:
            nonlocal count
            count += 1

        for each in segments(self._folder, unreadable):
            count += any(each.records(self._folded(each.name)))
        return count

    def referred(self) -> set[bytes]:
        """The digests of the files that records refer to which are not folded in.

        Raises `DamagedSpool` where a file cannot be read.
        """

        def unreadable(_: str, error: DamagedSpool) -> None:
            raise error

        return {
            digest
            for each in segments(self._folder, unreadable)
            for kind, _, content in each.records(self._folded(each.name))
            if kind == events.KIND
            for digest in events.files_of(content)
        }

    def forget_gone(self) -> None:
        """Let go of what is held for files that are not there any more."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            try:
                there = set(os.listdir(self._folder))
            except FileNotFoundError:
                there = set()
            except OSError:
                return
            for table, column in (("spools", "name"), ("held", "spool")):
                known = self._database.rows(f"SELECT DISTINCT {column} FROM {table}")
                gone = [(name,) for (name,) in known if name not in there]
                self._database.many(f"DELETE FROM {table} WHERE {column} = ?", gone)


def _first(problems: list[Exception]) -> Exception:
    """The one to raise: of those that are no damage, the first; else one that tells of all."""
    others = [each for each in problems if not isinstance(each, DamagedSpool)]
    if others or len(problems) == 1:
        return (others or problems)[0]
    return DamagedSpool(f"{problems[0]} (and so with {len(problems) - 1} more)")
