"""What lasts: values and what is known of them, in SQLite or PostgreSQL.

A store takes and gives Python values as pickles, and loading a pickle runs code that it names. So a
store that somebody else may have written to is listed, and never loaded, unless it is trusted.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from snapshot.errors import NoStore, NotTrusted, StoreError
from snapshot.store import events, sqlite
from snapshot.store.calls import Calls, Writer
from snapshot.store.database import Database
from snapshot.store.files import Files, Folder, Remote
from snapshot.store.objects import Objects
from snapshot.store.place import FOLDER, Place, place, private
from snapshot.store.postgres import Postgres
from snapshot.store.spool import Segment, Spool, segments, sweep

Fold = Callable[[Segment, list[bytes]], None]


class Store:
    """An open store.

    place: where it is. objects: the values in it. calls: the calls. trusted: whether values may be
    loaded.

    It may be used from any thread, and in a fork of the process that has opened it.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | Place | None = None,
        *,
        create: bool = False,
        trust: bool = False,
    ) -> None:
        """Open the store at `where`; see `place.place` for the default.

        create: make it where there is none. trust: load its values, whoever may have written them.

        Raises `NoStore`, `StoreTooNew`, `UsageError`, `StoreError`.
        """
        self.place = where if isinstance(where, Place) else place(where)
        self._database = self._open(create=create)
        self._trust = trust
        self._suspect = self._who_else_may_write()  # before it is opened, which changes its files
        self.objects = Objects(self._database, self._files(), self._may_load)
        self.calls = Calls(self._database, self.objects)
        self._folds: dict[int, Fold] = {events.KIND: self.calls.fold}
        self._spool = Spool(self.spools)
        writes = self.is_writable
        try:
            self._database.prepare(write=writes)
        except BaseException:
            self._database.close()
            raise

    def _open(self, *, create: bool) -> Database:
        if self.place.url is not None:
            return Postgres(self.place)
        if not os.path.exists(self.place.path):
            if not create:
                raise NoStore(f"there is no store {self.place}: record something first")
            try:
                _make_folder(self.place.folder)
                sqlite.make(self.place.path)
            except OSError as error:
                raise StoreError(f"cannot make {self.place}: {error.strerror}") from None
        return sqlite.Sqlite(self.place.path)

    def _files(self) -> Files:
        if self.place.objects is not None:
            return Remote(self.place.objects)
        return Folder(self.place.folder / "objects")

    @property
    def is_writable(self) -> bool:
        """Whether anything can be stored, or deleted."""
        return self.place.url is not None or sqlite.may_write(self.place.path)

    @property
    def trusted(self) -> bool:
        """Whether its values may be loaded."""
        return self._suspect is None and self._who_else_may_write() is None

    def _who_else_may_write(self) -> str | None:
        """Why not to load what is in it; None for no reason. Naming a server is trusting it."""
        if self._trust or self.place.url is not None:
            return None
        path, folder = self.place.path, self.place.folder
        beside = [path.with_name(f"{path.name}-{each}") for each in ("wal", "shm", "journal")]
        # Also a folder like /tmp, where others cannot replace a file: they can put one beside it.
        for each in (path, path.parent, *beside, folder, folder / "objects", self.spools):
            try:
                status = each.stat()
            except OSError:
                continue  # it is not there, or opening it will tell
            if status.st_uid != os.geteuid():
                return f"{each} belongs to another user"
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return f"other users may write to {each}"
        return None

    def _may_load(self) -> None:
        if (why := self._suspect or self._who_else_may_write()) is not None:
            raise NotTrusted(
                f"{why}, and loading a value runs code that it names: "
                "nothing of it is loaded unless you trust it (--trust)"
            )

    # Spools.

    @property
    def spools(self) -> Path:
        """The folder of the spool files."""
        return self.place.folder / "spool"

    @property
    def spool(self) -> Spool:
        """This process's own."""
        if not self._spool.is_ours:
            self._spool = Spool(self.spools)
        return self._spool

    def folds(self, kind: int, fold: Fold) -> None:
        """What is done with the records of a kind that are in one file, in a transaction."""
        self._folds[kind] = fold

    def fold(self) -> int:
        """Take in what the spools hold and nobody has taken in yet; how many records that was.

        Files that nobody will write to any more are deleted then. Records of a kind that nobody
        here knows stay, with all that comes after them in their file. So does a file whose records
        cannot be folded in, which is raised when the others are done. Raises `NotTrusted`.
        """
        self._may_load()
        count = 0
        problem: Exception | None = None
        for each in segments(self.spools):
            try:
                count += self._fold(each)
            except Exception as error:
                problem = problem or error
        if problem is not None:
            raise problem
        return count

    def _fold(self, segment: Segment) -> int:
        left = segment.is_left()  # before its end is looked for
        name = segment.name
        with self._database.transaction():
            self._database.lock(exclusive=True)
            if not segment.is_there():
                return 0  # somebody else has folded in all of it meanwhile
            known = self._database.row("SELECT folded FROM spools WHERE name = ?", (name,))
            begin = end = int(known[0]) if known else 0
            found: dict[int, list[bytes]] = {}
            strange = False
            for kind, after, content in segment.records(begin):
                if kind not in self._folds:
                    strange = True
                    break
                found.setdefault(kind, []).append(content)
                end = after
            for kind in sorted(found):
                self._folds[kind](segment, found[kind])
            if end > begin:
                self._database.rows(
                    "INSERT INTO spools (name, folded) VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET folded = excluded.folded",
                    (name, end),
                )
        if left and not strange:
            # In a transaction, too: whoever finds the file there must find how far it is folded.
            with self._database.transaction():
                self._database.lock(exclusive=True)
                segment.path.unlink(missing_ok=True)
                self._database.rows("DELETE FROM spools WHERE name = ?", (name,))
                self._database.rows("DELETE FROM held WHERE spool = ?", (name,))
        return sum(map(len, found.values()))

    def take_in(self, groups: Iterable[tuple[Writer, list[bytes]]]) -> int:
        """Fold in records of calls that come from no spool; how many calls those are."""
        with self._database.transaction():
            self._database.lock(exclusive=True)
            before = self.calls.count()
            for writer, records in groups:
                self.calls.fold(writer, records)
                self._database.rows("DELETE FROM held WHERE spool = ?", (writer.name,))
            return self.calls.count() - before

    # Its life.

    def delete(self, calls: Iterable[int]) -> int:
        """Delete calls, and the objects that nobody else refers to; how many calls there were."""
        count = self.calls.delete(calls)
        if count:
            self._free(())
        return count

    def vacuum(self, used: Iterable[int] = ()) -> int:
        """Free the objects that nobody refers to, and the room they took; how many that were.

        Files go that were being written when their process was killed.
        """
        sweep(self.spools)
        self._files().sweep()
        freed = self._free(used)
        self._database.rows("VACUUM")
        return freed

    def _free(self, used: Iterable[int]) -> int:
        return self.objects.free(lambda: {*used, *self.calls.uses(), *self._held()})

    def _held(self) -> Iterator[int]:
        """The objects that somebody who still records may refer to."""
        for (number,) in self._database.rows("SELECT DISTINCT object FROM held"):
            yield int(number)

    def close(self) -> None:
        if self._spool.is_ours:
            self._spool.close()
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _make_folder(folder: Path) -> None:
    """A store's folder is for one's own eyes, and not for version control, with the project's."""
    private(folder)
    for each in (folder, folder.parent):
        if each is folder or each.name == FOLDER:
            with contextlib.suppress(FileExistsError), (each / ".gitignore").open("x") as file:
                file.write("*\n")
