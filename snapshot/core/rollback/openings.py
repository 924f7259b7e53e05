"""What a process has open in some directories, moved to what the same paths lead to now."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snapshot.core import census, mappings
from snapshot.core.descriptors import Descriptor, identity
from snapshot.core.mappings import Mapping
from snapshot.core.rollback.wanted import is_inside

_KCMP = {"x86_64": 312, "aarch64": 272}.get(platform.machine())  # kcmp(2)
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Opening:
    """A descriptor of a regular file or a directory.

    like: another descriptor, before this one, that has the same position: dup(2).
    file: which file it is, as long as it is the same.
    """

    fd: int
    flags: int
    path: str
    offset: int
    inheritable: bool
    like: int | None
    file: tuple[int, int]

    def move(self) -> None:
        """Open its path, and put that under its number. Raises OSError.

        Another thread may have closed it before the fork, and something else have its number.
        """
        if identity(self.fd) != self.file:
            return
        if self.like is not None:
            os.dup2(self.like, self.fd, inheritable=self.inheritable)
            return
        fd = os.open(self.path, self.flags)
        try:
            if self.offset:
                os.lseek(fd, self.offset, os.SEEK_SET)
            os.dup2(fd, self.fd, inheritable=self.inheritable)
        finally:
            os.close(fd)


@dataclass(slots=True)
class Openings:
    """What is open in some directories.

    immovable: what is open there and cannot be moved, each with the reason, as text.
    written: the files that are copied when they are moved, with their sizes in bytes.
    """

    descriptors: list[Opening] = field(default_factory=list)
    maps: list[Mapping] = field(default_factory=list)
    working_directory: str | None = None
    immovable: list[str] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)

    @classmethod
    def inside(cls, directories: Iterable[str], descriptors: Iterable[Descriptor]) -> Openings:
        """Those of this process."""
        found = cls()
        places = tuple(directories)
        guarded = _sqlite_files()
        for each in descriptors:
            with contextlib.suppress(OSError):  # closed meanwhile
                found._look_at(each, places, guarded)
        for mapping in mappings.shared_mappings():
            if is_inside(mapping.file, places) and mapping.file not in guarded:
                found._look_at_map(mapping)
        with contextlib.suppress(OSError):  # it is gone
            here = os.getcwd()
            found.working_directory = here if is_inside(here, places) else None
        return found

    def move(self) -> None:
        """Move all of it; afterwards nothing leads to what was there before. Raises OSError."""
        for each in self.descriptors:
            each.move()
        for mapping in self.maps:
            if not mapping.share():
                raise OSError(f"the map of {mapping.file} cannot be moved")
        if self.working_directory is not None:
            os.chdir(self.working_directory)

    def _look_at(
        self, descriptor: Descriptor, places: tuple[str, ...], guarded: frozenset[str]
    ) -> None:
        fd = descriptor.fd
        path = os.readlink(f"/proc/self/fd/{fd}")
        if path.startswith("socket:"):
            self._look_at_socket(fd, places)
        elif path.startswith("anon_inode:inotify"):
            self._look_at_watches(fd, places)
        elif not is_inside(path, places):
            self._look_outside(descriptor, path)
        elif path not in guarded:
            problem = _why_immovable(descriptor, path)
            if problem:
                self.immovable.append(f"{path.removesuffix(' (deleted)')} ({problem})")
                return
            self._add(descriptor, path)

    def _look_at_map(self, mapping: Mapping) -> None:
        path = mapping.file.removesuffix(" (deleted)")
        if path == mapping.file:
            self.maps.append(mapping)
            self.written[path] = _size(path)
        else:
            self.immovable.append(f"{path} (deleted, and mapped)")

    def _look_outside(self, descriptor: Descriptor, path: str) -> None:
        """A directory leads to all that is below or beside it, in the mounts that it is of."""
        if stat.S_ISDIR(os.fstat(descriptor.fd).st_mode) and os.path.isabs(path):
            with contextlib.suppress(OSError):
                here, there = os.fstat(descriptor.fd), os.stat(path)
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    self._add(descriptor, path)

    def _add(self, descriptor: Descriptor, path: str) -> None:
        fd = descriptor.fd
        offset = 0 if descriptor.flags & os.O_PATH else os.lseek(fd, 0, os.SEEK_CUR)
        alike = (each.fd for each in self.descriptors if each.path == path)
        like = next((each for each in alike if _same_position(each, fd)), None)
        file = identity(fd)
        if file is None:
            return
        inheritable = os.get_inheritable(fd)
        opening = Opening(fd, descriptor.flags, path, offset, inheritable, like, file)
        self.descriptors.append(opening)
        if descriptor.writable:
            self.written[path] = _size(path)

    def _look_at_socket(self, fd: int, places: tuple[str, ...]) -> None:
        with socket.socket(fileno=os.dup(fd)) as each:
            name = each.getsockname() if each.family == socket.AF_UNIX else ""
        if isinstance(name, str) and name and is_inside(os.path.realpath(name), places):
            self.immovable.append(f"{name} (a socket: who connects reaches the original)")

    def _look_at_watches(self, fd: int, places: tuple[str, ...]) -> None:
        watched = set()
        for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
            if line.startswith("inotify "):
                parts = dict(part.split(":", 1) for part in line.split()[1:] if ":" in part)
                watched.add(int(parts["ino"], 16))
        for place in places if watched else ():
            for path, inode in _entries(place):
                if inode in watched:
                    self.immovable.append(f"{path} (watched, by inotify: descriptor {fd})")


def _why_immovable(descriptor: Descriptor, path: str) -> str:
    """Why it cannot be opened again by its path, nothing if it can."""
    here = os.fstat(descriptor.fd)
    try:
        there = os.lstat(path)
    except OSError:
        return "deleted" if path.endswith(" (deleted)") else "no longer there"
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        return "replaced by another file meanwhile"
    if not stat.S_ISREG(here.st_mode) and not stat.S_ISDIR(here.st_mode):
        return "not a regular file"
    if "\nlock:" in Path(f"/proc/self/fdinfo/{descriptor.fd}").read_text():
        return "locked by this process"
    if stat.S_ISDIR(here.st_mode) and os.lseek(descriptor.fd, 0, os.SEEK_CUR):
        return "a directory that is being listed"
    if not descriptor.flags & os.O_PATH and not os.access(
        path,
        os.R_OK * descriptor.readable | os.W_OK * descriptor.writable,
        effective_ids=True,
    ):
        return "this user may not open it again"
    return ""


def _same_position(one: int, other: int) -> bool:
    """Whether two descriptors are one open file; where the kernel does not tell, they are not."""
    if _KCMP is None:
        return False
    pid = os.getpid()
    return int(_libc.syscall(_KCMP, pid, pid, 0, ctypes.c_ulong(one), ctypes.c_ulong(other))) == 0


def _sqlite_files() -> frozenset[str]:
    """The files of the connections of `sqlite3`, which are guarded: none is used by a child."""
    sqlite3: Any = sys.modules.get("sqlite3")
    found: set[str] = set()
    for connection in census.known(sqlite3.Connection) if sqlite3 else ():
        with contextlib.suppress(Exception):  # closed, or another thread's
            for _, _, file in connection.execute("PRAGMA database_list"):
                if file:
                    path = os.path.realpath(file)
                    found |= {path, f"{path}-wal", f"{path}-shm", f"{path}-journal"}
    return frozenset(found)


def _entries(directory: str) -> Iterator[tuple[str, int]]:
    """A directory and all that is below it: paths, and numbers of inodes."""
    yield directory, os.stat(directory).st_ino
    pending = [directory]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                yield entry.path, entry.inode()
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def _size(path: str) -> int:
    with contextlib.suppress(OSError):
        return os.stat(path).st_size
    return 0
