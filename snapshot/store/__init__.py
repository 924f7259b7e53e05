"""What lasts: values and what is known of them, in SQLite or PostgreSQL.

A store takes and gives Python values as pickles, and loading a pickle runs code that it names. So a
store that somebody else may have written to is listed, and never loaded, unless it is trusted.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType

from snapshot.errors import DamagedSpool, NoStore, NotTrusted, StoreError
from snapshot.store import events, heat, sqlite, users
from snapshot.store.aside import Aside, Asides
from snapshot.store.calls import Calls
from snapshot.store.database import Database
from snapshot.store.files import Files, Folder, Remote
from snapshot.store.folding import Writer
from snapshot.store.intake import Fold, Intake
from snapshot.store.objects import Objects
from snapshot.store.place import FOLDER, Place, place, private
from snapshot.store.postgres import Postgres
from snapshot.store.results import Results
from snapshot.store.spool import Spool, sweep
from snapshot.store.users import Going, User

PATIENCE = 60.0  # seconds
_OF_CALLS = 1 << 19  # bytes of a spool file: a call that folds one in waits 65 ms, and of 16 MB 2 s
_TRUSTED = 0.5  # seconds for which a store is trusted that was found to be nobody else's


class Store:
    """An open store.

    place: where it is. objects: the values in it. calls: the calls. results: those that memo
    keeps. heat: which functions ran. trusted: whether values may be loaded.

    It may be used from any thread, and in a fork of the process that has opened it.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | Place | None = None,
        *,
        create: bool = False,
        trust: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """Open the store at `where`; see `place.place` for the default.

        create: make it where there is none. trust: load its values, whoever may have written them.
        patience: seconds to wait for others that write.

        Raises `NoStore`, `StoreTooNew`, `UsageError`, `StoreError`.
        """
        self.place = where if isinstance(where, Place) else place(where)
        self._patience = patience
        self._database = self._open(create=create)
        self._trust = trust
        self._suspect = self._who_else_may_write()  # before it is opened, which changes its files
        self._looked = -math.inf
        self._files = self._make_files()
        self.objects = Objects(self._database, self._files, self.check_trust)
        self.calls = Calls(self._database, self.objects)
        self.results = Results(self._database, self.objects, self.check_trust)
        self.heat = heat.Heat(self._database)
        self._asides = Asides(self._database)
        self._intake = Intake(self._database, self.spools)
        self.folds(events.KIND, self.calls.fold)
        self.folds(heat.KIND, self.heat.fold)
        self._spool = self._make_spool()
        self._identity = self._identify()
        self.undone: list[str] = []  # by the last `delete` or `vacuum`, in lines
        self._said: set[str] = set()
        try:
            self._database.prepare(create=create)
        except BaseException:
            self._database.close()
            raise

    def _open(self, *, create: bool) -> Database:
        if self.place.url is not None:
            return Postgres(self.place, self._patience)
        if not self.place.path.is_absolute():
            raise StoreError(
                f"there is no working directory to find {self.place} from: it was deleted; go to "
                "another one"
            )
        if not _is_there(self.place.path):
            if not create:
                raise NoStore(f"there is no store {self.place}: record something first")
            try:
                _make_folder(self.place.folder)
                sqlite.make(self.place.path)
            except OSError as error:
                raise StoreError(f"cannot make {self.place}: {error.strerror}") from None
        return sqlite.Sqlite(self.place.path, self._patience)

    def _make_files(self) -> Files:
        if self.place.objects is not None:
            return Remote(self.place.objects)
        return Folder(self.place.folder / "objects")

    @property
    def is_writable(self) -> bool:
        """Whether anything can be stored, or deleted."""
        return self._database.may_write()

    @property
    def is_the_same(self) -> bool:
        """Whether it is at its place still: not deleted, and no other one made there."""
        return not self._spool.uprooted and self._identity == self._identify()

    def _identify(self) -> tuple[int, int] | None:
        """Of SQLite's file; of a server's database nothing is known."""
        if self.place.url is not None:
            return None
        try:
            found = self.place.path.stat()
        except OSError:
            return 0, 0
        return found.st_dev, found.st_ino

    @property
    def trusted(self) -> bool:
        """Whether its values may be loaded."""
        return self._suspicion() is None

    def _suspicion(self) -> str | None:
        """Why nothing of it is loaded; None for no reason."""
        why = self._suspect or self._who_else_may_write()
        self._looked = time.monotonic() if why is None else -math.inf
        return why

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

    def check_trust(self) -> None:
        """Raises `NotTrusted` if its values may not be loaded, nor code run that it names."""
        # Who may write to a store is asked for by a dozen system calls.
        if time.monotonic() - self._looked < _TRUSTED:
            return
        if (why := self._suspicion()) is not None:
            raise NotTrusted(
                f"{why}, and loading a value runs code that it names: "
                "nothing of it is loaded unless you trust it (--trust)"
            )

    def revision(self) -> str:
        """Another text when anything was stored, counted or deleted; what it says means nothing."""
        return self._database.revision()

    # Spools.

    @property
    def spools(self) -> Path:
        """The folder of the spool files."""
        return self.place.folder / "spool"

    @property
    def spool(self) -> Spool:
        """This process's own."""
        if not self._spool.is_ours:
            self._spool = self._make_spool()
        return self._spool

    def _make_spool(self) -> Spool:
        def told(record: bytes | None) -> None:
            if record is None or events.is_of_call(record):
                self._files.told()

        relying = self._files.reliance.open if isinstance(self._files, Folder) else ()
        return Spool(self.spools, relying, told, _OF_CALLS)

    def folds(self, kind: int, fold: Fold) -> None:
        """What is done with the records of a kind that are in one file, in a transaction."""
        self._intake.folds[kind] = fold

    def fold(self, *, wait: bool = True, most: int | None = None) -> int:
        """Take in what the spools hold and nobody has taken in yet; how many records that was.

        Files that nobody will write to any more are deleted then. Records of a kind that nobody
        here knows stay, with all that comes after them in their file. So does a file whose records
        cannot be folded in, which is raised when the others are done. Of calls that go, since their
        functions want no more to be kept, the objects are freed that nobody else refers to.

        wait: for others that write. Else it raises `StoreError`, and frees nothing. most: bytes of
        records after which no other file is begun, of all that there are the oldest first. Raises
        `NotTrusted`, `DamagedSpool`.
        """
        self.check_trust()
        count = self._intake.fold(wait=wait, most=most)
        if self.calls.gone and wait:
            self._free((), sweep=False)
            self.calls.gone = 0
        return count

    def catch_up(self, *, again: bool = False) -> list[str]:
        """Take in what the spools hold, as far as that may and can be done.

        What is left out, and why, in lines. again: those as well that were given before.
        """
        found = [each for each in self._left_out() if again or each not in self._said]
        self._said.update(found)
        return found

    def _left_out(self) -> list[str]:
        try:
            if not self.is_writable:
                why, more = f"{self.place} cannot be written", ""
            elif (suspect := self._suspicion()) is not None:
                why, more = suspect, " (--trust takes them in, and lets its values be loaded)"
            else:
                self.fold()
                return []
            count = self._intake.waiting()
        except DamagedSpool as error:  # the other calls are there all the same
            return [f"{error}; its calls are left out"]
        except StoreError as error:
            return [f"{error}; calls that it has only in its spool are left out"]
        if not count:
            return []
        files = "1 file" if count == 1 else f"{count} files"
        return [f"{why}: calls that it has only in its spool are left out, in {files}{more}"]

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
        """Delete calls, and the objects that nobody else refers to; how many calls there were.

        As with `put_aside`, those go for good that were put aside too long ago.
        """
        count = self.calls.delete(calls)
        if self._asides.delete_old() or count:
            self._free((), sweep=False)
        return count

    def put_aside(self, calls: Iterable[int]) -> Aside:
        """Put calls where nobody sees them, so that for a while they can be taken back.

        Until then nothing is freed to which they refer. Those go for good that were put aside more
        than `aside.AS_LONG` ago, and the objects that nobody else refers to. Raises `UnknownCall`
        where there is none of the calls, `StoreError`.
        """
        if self._asides.delete_old():
            self._free((), sweep=False)
        return self._asides.put(calls)

    def asides(self) -> list[Aside]:
        """The calls that can be taken back, those first that were put aside last."""
        return self._asides.all()

    def take_back(self, aside: int) -> int:
        """Put calls back, under their ids; how many. Raises `AsideGone`, `StoreError`.

        aside: the id of an `Aside`.
        """
        return self._asides.take_back(aside)

    def would_free(self, calls: Iterable[int]) -> list[Going]:
        """The values that would go with calls if these were deleted now, the largest first."""
        return users.only_of(self._database, calls)

    def users_of(self, digest: bytes, most: int | None = None) -> list[User]:
        """Who refers to an object: calls, but for those put aside; what memo keeps; values that
        have it as a buffer. Raises `UnknownObject`.

        most: no more than so many.
        """
        return users.users_of(self._database, self.objects.id(digest), most)

    def vacuum(self, used: Iterable[int] = ()) -> int:
        """Free the objects that nobody refers to, and the room they took; how many that were.

        Files go that were being written when their process was killed, and those that are no
        object's. Calls that were put aside keep theirs as long as they can be taken back; those
        go that were put aside too long ago. What could not be done is in `undone`.
        """
        self._asides.delete_old()
        sweep(self.spools)
        if self.place.url is None:  # else others may be elsewhere
            self._intake.forget_gone()
        freed = self._free(used, sweep=True)
        self.undone += self._intake.undeleted
        try:
            self._database.rows("VACUUM")
        except StoreError as error:
            self.undone.append(f"the database takes as much room as before: {error}")
        return freed

    def _free(self, used: Iterable[int], *, sweep: bool) -> int:
        freed, self.undone = self.objects.free(
            lambda: {*used, *self.calls.uses(), *self.results.uses(), *self._held()},
            self._intake.referred,
            sweep=sweep,
        )
        return freed

    def _held(self) -> Iterator[int]:
        """The objects that somebody who still records may refer to."""
        for (number,) in self._database.rows("SELECT DISTINCT object FROM held"):
            yield int(number)

    def release(self, objects: Iterable[int]) -> None:
        """Delete those of some objects that nobody refers to any more."""
        if numbers := [*objects]:
            self.undone = self.objects.release(numbers, self._intake.referred)

    def rest(self) -> None:
        """Have no file of the database open until it is needed again.

        Before a fork: where a file is open for writing, all objects are searched for its writer.
        """
        self._database.rest()

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


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(f"cannot look for {path}: {error.strerror}") from None
    return True


def _make_folder(folder: Path) -> None:
    """A store's folder is for one's own eyes, and not for version control, with the project's."""
    private(folder)
    for each in (folder, folder.parent):
        if each is folder or each.name == FOLDER:
            with contextlib.suppress(FileExistsError), (each / ".gitignore").open("x") as file:
                file.write("*\n")
