"""Spools: what a process has to store, in a file of its own, until somebody folds it in.

A record is finished when it is in the file's map: neither `os._exit` nor SIGKILL loses it. Whoever
opens the store folds in what the spools hold, those of living processes too. Records are bytes of
some kind; what they mean is known to those who fold them in.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import mmap
import os
import stat
import struct
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from snapshot.errors import DamagedSpool, StoreError
from snapshot.pickling import is_interrupt
from snapshot.store.place import private

SUFFIX = ".spool"
_UNFINISHED = ".new"
_ABANDONED = 60.0  # seconds after which whoever made a file has locked it, or is gone
_HEAD = struct.Struct("<III")  # bytes of the content, its checksum, its kind
_FIRST, _MOST = 1 << 18, 1 << 24  # bytes of a file: the first one, and the largest

_NOTHING = bytes(1 << 16)  # compared with, which takes a tenth of looking at each byte

_numbers = itertools.count()


def framed(kind: int, content: bytes) -> bytes:
    """A record as a file has it. kind: from 1 on."""
    assert kind > 0, kind
    return _HEAD.pack(len(content), zlib.crc32(content), kind) + content


def more_follows(content: bytes | mmap.mmap, position: int, kinds: Iterable[int]) -> bool:
    """Whether, where `framed_in` finds no record, something is that was written after it.

    A process that is killed leaves a part of one record there, and nothing after it. kinds: of
    records that may be there.
    """
    end = position + _HEAD.size
    if end <= len(content):
        end += _HEAD.unpack_from(content, position)[0]
    if end > len(content):  # no record is begun where it does not fit
        end = position
    elif not content[position]:
        # memcpy(3) of glibc may write the first bytes last: nobody knows how long that record is.
        return any(_has_record(content, position + 1, each) for each in kinds)
    step = len(_NOTHING)
    parts = (content[n : n + step] for n in range(end, len(content), step))
    return any(each != _NOTHING[: len(each)] for each in parts)


def _has_record(content: bytes | mmap.mmap, begin: int, kind: int) -> bool:
    """Whether there is a finished record of a kind, anywhere from a position on.

    One with nothing in it does not count: a kind after zeros would be one.
    """
    sought = struct.pack("<I", kind)  # which ends a head
    found = content.find(sought, begin + _HEAD.size - len(sought))
    while found >= 0:
        first = next(framed_in(content, found + len(sought) - _HEAD.size), None)
        if first is not None and first[2]:
            return True
        found = content.find(sought, found + 1)
    return False


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
    None before there is one. uprooted: whether somebody has deleted a file that was written to.

    From any thread and from signal handlers: a record is written in one step.
    """

    def __init__(
        self,
        folder: Path,
        relying: Collection[int] = (),
        told: Callable[[bytes | None], None] = lambda _: None,
        most: int = _MOST,
    ) -> None:
        """Makes a file when there is something to write.

        most: bytes of a file, unless there is more in one record.
        relying: if there is anything in it, `told` is called with a record that has been written,
        and with None where there is no room for one.
        """
        self._folder = folder
        self._relying, self._told = relying, told
        self.uprooted = self._abandoned = False
        self._pid = os.getpid()
        self.writer = f"{self._pid}-{os.urandom(6).hex()}"
        self._lock = threading.RLock()
        self._size, self._most = _FIRST, most
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
                if self._relying:
                    self._told(content)
                return

    def _next(self, length: int) -> None:
        size = max(self._size, length + _HEAD.size)
        if self._abandoned:
            raise StoreError(f"{self._folder} is not the folder any more that it was")
        path = self.another()
        # While it is written to, and locked, nobody else but a user deletes it.
        if self._map is not None and not os.path.exists(self._folder / f"{self.file}"):
            self.uprooted = True
        try:
            private(self._folder)
            new = _reserved(path, size)
        except OSError as error:
            self._told(None)
            if is_interrupt(error):
                raise
            raise StoreError(f"cannot write {path}: {error.strerror}") from None
        self.close()
        self._map, self.file = new, path.name
        self._size = min(2 * size, self._most)

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

    def abandon(self) -> None:
        """Write no more at all. What is in the file that was begun last is nothing by itself."""
        with self._lock:
            self._abandoned = True
            self.close()
            with contextlib.suppress(OSError):
                os.unlink(self._folder / f"{self.file}")


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
        with contextlib.suppress(FileNotFoundError):  # it has its name
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
    paths: list[Path] = []
    with contextlib.suppress(OSError):
        paths += [each for each in folder.iterdir() if each.suffix == _UNFINISHED]
    for path in paths:
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
        """Raises OSError where it is gone, or cannot be read."""
        self.path = path
        self.name = path.name
        self.writer = _writer(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            raise OSError(errno.EINVAL, "it is no file")

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

    def is_whole(self, end: int, kinds: Iterable[int]) -> bool:
        """Whether what comes after a position is nothing, or a record that is not finished.

        kinds: of records that may be there.
        """
        size = os.fstat(self._fd).st_size
        if size <= end:
            return 0 < size == end
        with mmap.mmap(self._fd, size, access=mmap.ACCESS_READ) as content:
            # In this order, since its process may be writing.
            return not more_follows(content, end, kinds) or any(framed_in(content, end))

    def close(self) -> None:
        os.close(self._fd)


def segments(
    folder: Path, unreadable: Callable[[str, DamagedSpool], None] | None = None
) -> Iterator[Segment]:
    """Those of a store: of a process before those of its forks, else the oldest first.

    unreadable: is told the writer of each that cannot be read, and why.

    Raises `DamagedSpool` where the folder cannot be read.
    """
    try:
        paths = [each for each in folder.iterdir() if each.suffix == SUFFIX]
    except FileNotFoundError:
        return
    except OSError as error:
        raise DamagedSpool(f"cannot look into {folder}: {error.strerror}") from None
    for path in sorted(paths, key=_age):
        try:
            segment = Segment(path)
        except FileNotFoundError:
            continue  # somebody else was faster
        except OSError as error:
            if unreadable is not None:
                unreadable(_writer(path), DamagedSpool(f"cannot read {path}: {error.strerror}"))
            continue
        try:
            yield segment
        finally:
            segment.close()


def _writer(path: Path) -> str:
    return path.name.rpartition("-")[0]


def _age(path: Path) -> tuple[int, float]:
    """A fork goes on counting its files where its parent was; times are those of the last write."""
    number = path.stem.rpartition("-")[2]
    try:
        return int(number) if number.isdecimal() else 0, path.stat().st_mtime
    except OSError:
        return 0, 0.0
