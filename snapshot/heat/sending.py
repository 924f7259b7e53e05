"""What leaves a traced process: sums, written to a spool file of its own.

A spool file is written without the database, so that sums are safe although a server is away: who
opens the store next folds them in. On the machine of a PostgreSQL store nobody else may do so, and
so the process does it now and then.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

from snapshot.store import Store, heat
from snapshot.store.heat import Origin, Seen, Sum
from snapshot.store.place import Place
from snapshot.store.spool import Spool

_EVERY = 20.0  # seconds, in which what is for a server is folded in
_ENOUGH = 1 << 24  # bytes of spool files, which for a file of SQLite are
_LEAST = 1 << 18  # bytes of each


class Sender:
    """That of a process, and of no fork of it."""

    def __init__(self, place: Place, origin: Origin) -> None:
        self._place = place
        self._origin = origin
        self._numbers: dict[Seen, int] = {}
        self._names: list[Seen] = []
        self._begin()
        with contextlib.suppress(OSError):  # of processes that were too short to fold them in
            self._unfolded = _LEAST * len(os.listdir(self._place.folder / "spool"))

    def _begin(self) -> None:
        self._spool = Spool(self._place.folder / "spool")
        self._told: set[int] = set()  # of the numbers, in the present file
        self._file: str | None = None
        self._unfolded = 0
        self._next_fold = time.monotonic() + (_EVERY if self._place.url is not None else 0)
        self._reachable = True

    def has_forked(self) -> None:
        """There is one more process with a spool file."""
        self._unfolded += _LEAST

    def forked(self) -> None:
        """In a fork: it has a spool of its own."""
        self._spool.close()
        self._begin()

    def number(self, seen: Seen) -> int:
        """What a function is called in sums."""
        number = self._numbers.setdefault(seen, len(self._names))
        if number == len(self._names):
            self._names.append(seen)
        return number

    def publish(self, places: Iterable[heat.Place]) -> None:
        """Say which functions there are. Raises `StoreError`, OSError."""
        self._append(heat.told_published(self._origin, places))

    def send(self, mode: str, sums: list[Sum]) -> None:
        """Write sums. Raises `StoreError`, OSError; then nothing was written."""
        numbers = {each.number for each in sums}
        self._tell(numbers - self._told)
        self._append(heat.told_sums(mode, sums))
        self._tell(numbers - self._told)  # that may have begun another file

    def _tell(self, numbers: set[int]) -> None:
        if numbers:
            known = ((each, self._names[each]) for each in sorted(numbers))
            self._append(heat.told_functions(self._origin, known))
            self._told |= numbers

    def _append(self, record: bytes) -> None:
        self._spool.append(heat.KIND, record)
        if self._spool.file != self._file:
            self._file = self._spool.file
            self._told.clear()
            self._unfolded += self._spool.size

    def is_due(self) -> bool:
        """Whether something is to be folded in by this process."""
        return self._is_much() and time.monotonic() > self._next_fold

    def _is_much(self) -> bool:
        """Whether there is something for a server, or much for a file."""
        if self._place.url is not None:
            return self._file is not None
        return self._unfolded > _ENOUGH

    def fold(self) -> None:
        """Fold in what the spools of this machine hold. Raises `StoreError`."""
        self._next_fold = time.monotonic() + _EVERY
        self._reachable = False
        with Store(self._place, create=True) as store:
            store.fold(wait=False)
        self._unfolded = 0
        self._reachable = True

    def make_store(self) -> None:
        """Make it, where it is a file and is not there. Raises `StoreError`."""
        if self._place.url is None and not self._place.path.exists():
            Store(self._place, create=True).close()

    def is_due_at_end(self) -> bool:
        """Whether it is, where it was possible before: an end is not to wait for a server."""
        return self._is_much() and self._reachable


def revision(root: str | os.PathLike[str]) -> str:
    """The revision of a checkout of git, 12 digits, read from its files; "" where it is none."""
    folder = os.path.abspath(root)
    while not os.path.exists(os.path.join(folder, ".git")):
        if (above := os.path.dirname(folder)) == folder:
            return ""
        folder = above
    git = os.path.join(folder, ".git")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if os.path.isfile(git):  # of a worktree, or a submodule
            git = os.path.join(folder, _read(git).removeprefix("gitdir: "))
        head = _read(os.path.join(git, "HEAD"))
        if not head.startswith("ref: "):
            return head[:12]
        name = head.removeprefix("ref: ")
        common = git
        with contextlib.suppress(OSError):
            common = os.path.join(git, _read(os.path.join(git, "commondir")))
        for each in (git, common):
            with contextlib.suppress(OSError):
                return _read(os.path.join(each, name))[:12]
        packed = _read(os.path.join(common, "packed-refs")).splitlines()
        return next((line[:12] for line in packed if line.endswith(f" {name}")), "")
    return ""


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read().strip()
