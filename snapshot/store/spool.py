"""Spools: what a process has to store, in a file of its own, until somebody folds it in.

A record is finished when it is in the file's map: neither `os._exit` nor SIGKILL loses it. Whoever
opens the store folds in what the spools hold, those of living processes too. Records are bytes of
some kind; what they mean is known to those who fold them in.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import mmap
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from snapshot.errors import StoreError
from snapshot.store.place import private

SUFFIX = ".spool"
_UNFINISHED = ".new"
_ABANDONED = 60.0  # seconds after which whoever made a file has locked it, or is gone
_HEAD = struct.Struct("<III")  # bytes of the content, its checksum, its kind
_FIRST, _MOST = 1 << 18, 1 << 24  # bytes of a file: the first one, and the largest

_numbers = itertools.count()


def framed(kind: int, content: bytes) -> bytes:
    """A record as a file has it. kind: from 1 on."""
    assert kind > 0, kind
    return _HEAD.pack(len(content), zlib.crc32(content), kind) + content


def framed_in(content: bytes | mmap.mmap, begin: int) -> Iterator[tuple[int, int, bytes]]:
    """From a position on: kind, content, and the position after it, of each finished record."""
    size = len(content)
    position = begin
    while position + _HEAD.size <= size:
        length, checksum, kind = _HEAD.unpack_from(content, position)
        end = position + _HEAD.size + length
        if kind == 0 or end > size:
            return
        record = content[position + _HEAD.size : end]
        if zlib.crc32(record) != checksum:
            return  # it was being written when its process was killed
        yield kind, end, record
        position = end


class Spool:
    """The one that this process writes. It belongs to no fork of it: each makes its own.

    writer: the name that all its files begin with. file: the name of the one that is written to,
    None before there is one.

    From any thread and from signal handlers: a record is written in one step.
    """

    def __init__(self, folder: Path) -> None:
        """Makes a file when there is something to write."""
        self._folder = folder
        self._pid = os.getpid()
        self.writer = f"{self._pid}-{os.urandom(6).hex()}"
        self._lock = threading.RLock()
        self._size = _FIRST
        self._map: mmap.mmap | None = None
        self.file: str | None = None

    @property
    def is_ours(self) -> bool:
        """False in a fork."""
        return self._pid == os.getpid()

    @property
    def size(self) -> int:
        """Of that file, in bytes."""
        return 0 if self._map is None else len(self._map)

    def append(self, kind: int, content: bytes) -> None:
        """Write a record. Raises `StoreError` where there is no room: then nothing was written.

        kind: from 1 on.
        """
        record = _HEAD.pack(len(content), zlib.crc32(content), kind) + content
        while True:
            current = self._map
            try:
                current.write(record)  # type: ignore[union-attr]
            except (AttributeError, ValueError):  # there is none yet, or it is full, or closed
                with self._lock:
                    if self._map is current:  # else another thread was faster
                        self._next(len(record))
            else:
                return

    def _next(self, length: int) -> None:
        size = max(self._size, length + _HEAD.size)
        path = self.another()
        try:
            private(self._folder)
            new = _reserved(path, size)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from None
        self.close()
        self._map, self.file = new, path.name
        self._size = min(2 * size, _MOST)

    def another(self) -> Path:
        """A file of this writer's, for somebody else to write: see `write`.

        What is in it is folded in after all that is written here until now.
        """
        return self._folder / f"{self.writer}-{next(_numbers)}{SUFFIX}"

    def close(self) -> None:
        """Write no more to this file; the next record begins another one."""
        if self._map is not None:
            self._map.close()
            self._map = None


def _reserved(path: Path, size: int) -> mmap.mmap:
    """A new file of that size, mapped, and locked for as long as somebody may write to the map."""
    temporary = path.with_suffix(_UNFINISHED)
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        os.posix_fallocate(fd, 0, size)  # now: a page that finds no room later kills the process
        content = mmap.mmap(fd, size)  # it has a descriptor of its own, and with it the lock
        os.rename(temporary, path)
        return content
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)


def write(path: Path, records: Sequence[tuple[int, bytes]]) -> None:
    """A whole file of records: kind and content of each. Raises OSError."""
    content = b"".join(framed(*each) for each in records)
    private(path.parent)
    with _reserved(path, len(content)) as new:
        new.write(content)


def sweep(folder: Path) -> None:
    """Delete the files that were being made when their process was killed."""
    for path in folder.glob(f"*{_UNFINISHED}"):
        with contextlib.suppress(OSError):  # it is gone, or somebody has locked it
            if time.time() - path.stat().st_mtime < _ABANDONED:
                continue
            with open(path, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


class Segment:
    """A spool file that is read, whoever writes it.

    name: of the file. writer: the same for all files of one spool, and no other.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where it is gone."""
        self.path = path
        self.name = path.name
        self.writer = path.name.rpartition("-")[0]
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def is_there(self) -> bool:
        """Whether this is the file of that name still."""
        try:
            return os.path.samestat(os.fstat(self._fd), self.path.stat())
        except OSError:
            return False

    def is_left(self) -> bool:
        """Whether nobody will write to it any more."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def records(self, begin: int) -> Iterator[tuple[int, int, bytes]]:
        """From a position on: kind, content, and the position after it, of each finished record."""
        size = os.fstat(self._fd).st_size
        if size < begin + _HEAD.size:
            return
        with mmap.mmap(self._fd, size, access=mmap.ACCESS_READ) as content:
            yield from framed_in(content, begin)

    def close(self) -> None:
        os.close(self._fd)


def segments(folder: Path) -> Iterator[Segment]:
    """Those of a store: of a process before those of its forks, else the oldest first."""
    with contextlib.suppress(FileNotFoundError):
        for path in sorted(folder.glob(f"*{SUFFIX}"), key=_age):
            try:
                segment = Segment(path)
            except OSError:
                continue  # somebody else was faster
            try:
                yield segment
            finally:
                segment.close()


def _age(path: Path) -> tuple[int, float]:
    """A fork goes on counting its files where its parent was; times are those of the last write."""
    number = path.stem.rpartition("-")[2]
    try:
        return int(number) if number.isdecimal() else 0, path.stat().st_mtime
    except OSError:
        return 0, 0.0
