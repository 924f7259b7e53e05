"""Where the large results of a group are: each under a key, whole or not at all.

Results are pickles, and loading one runs code that it names. `ObjStore.suspicion` tells of a folder
of this machine that others may write to; a place elsewhere is trusted by naming it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC
from pathlib import Path, PurePath
from typing import IO, Any, Protocol, Self

import xxhash

from snapshot.errors import DamagedObject, StoreError, UsageError
from snapshot.pickling import Bytes, is_interrupt, mapped
from snapshot.store.files import renamed
from snapshot.store.place import private

HEAD = 64  # bytes that an object takes beside its content: as long as numpy aligns its memory
ABANDONED = 3600.0  # seconds that nobody takes to write an object

_UNFINISHED = "."  # what a name begins with until all of the object is there
_MAPPED = 1 << 18  # bytes from which on a file is mapped: below that, copying is cheaper
_LONGEST = 100  # bytes of a key, whose name has twice as many, and no more than 255 are allowed


class ObjStore(ABC):
    """Bytes under keys, which are bytes, too. Several processes and machines may use one at once.

    Each method raises `StoreError` where the store cannot be read or written, and names what.
    """

    @abstractmethod
    def read(self, key: bytes) -> Bytes:
        """The content, in memory that may be written to: nothing that is stored changes by it.

        Raises KeyError where there is none, `DamagedObject` where it is not what was written: it
        can be written anew.
        """

    @abstractmethod
    def write(self, key: bytes, parts: Sequence[Bytes]) -> None:
        """Store a content, given in parts, in the place of what has that key.

        Whoever reads meanwhile gets the old one or the new one, whole. Of several that are written
        at once, one stays.
        """

    @abstractmethod
    def delete(self, key: bytes) -> None:
        """Delete what has that key, if something has."""

    @abstractmethod
    def entries(self) -> Iterator[tuple[bytes, int]]:
        """The key of each object that is there, and the bytes that it takes, in no order."""

    @abstractmethod
    def sweep(self, age: float = ABANDONED) -> None:
        """Delete what was being written when its process was killed.

        age: seconds; what was begun later is left, since it may still be written.
        """

    def clear(self) -> None:
        """Delete all objects, and what `sweep` deletes."""
        for key, _ in list(self.entries()):
            self.delete(key)
        self.sweep()

    def suspicion(self) -> str | None:
        """Why nothing that is read here may be loaded; None for no reason."""
        return None


class AnyPath(Protocol):
    """What `DirObjStore` uses of a path that is not this machine's: the methods of pathlib."""

    @property
    def name(self) -> str: ...
    def __truediv__(self, name: str, /) -> Self: ...
    def open(self, mode: str) -> IO[Any]: ...
    def iterdir(self) -> Iterator[Self]: ...
    def stat(self) -> Any: ...
    def mkdir(self, *, parents: bool, exist_ok: bool) -> None: ...
    def replace(self, target: Self, /) -> Any: ...
    def unlink(self) -> None: ...


Where = str | os.PathLike[str] | AnyPath


class DirObjStore(ObjStore):
    """Objects in a folder, a file each, of this machine or of another one.

    What is read is compared with the digest (XXH3-128) that was written with it. On this machine
    what is large is a private map of its file, and not copied, and a folder that is made is for
    one's own eyes.
    """

    def __init__(
        self, path: Where, *, local: ObjStore | str | os.PathLike[str] | None = None
    ) -> None:
        """path: a folder, which is made when something is written; a URL that fsspec knows
        (`s3://bucket/results`, `file:///shared/results`); a `UPath` of universal_pathlib, or
        another object with the methods of `pathlib.Path`. A relative one is in what is the working
        directory now.

        local: a folder, or another store, that is quicker to reach. It is read first, and is given
        what was found at `path` alone, and what is written. All that is in it is at `path`, too,
        but what could not be written there, which was told. That it cannot be read or written
        itself costs time, and is no error.

        Raises `UsageError` where `path` is none of these, or fsspec, which the extra `remote`
        brings, is not installed or does not know the protocol.
        """
        self._place = _place(path)
        self._local = local if isinstance(local, ObjStore | None) else DirObjStore(local)

    def __repr__(self) -> str:
        local = "" if self._local is None else f", local={self._local!r}"
        return f"{type(self).__name__}({str(self._place)!r}{local})"

    def read(self, key: bytes) -> Bytes:
        name = _name(key)
        if self._local is not None:
            with contextlib.suppress(KeyError, StoreError):
                return self._local.read(key)
        with _told(f"read {self._place}/{name}"):
            data = self._place.read(name)
        if data is None:
            raise KeyError(key)
        content = memoryview(data)[HEAD:]
        if memoryview(data)[:HEAD] != _head(key, [content]):
            raise DamagedObject(f"{self._place}/{name} is not what was written", digest=key)
        if self._local is not None:
            with contextlib.suppress(StoreError):
                self._local.write(key, [content])
        return content

    def write(self, key: bytes, parts: Sequence[Bytes]) -> None:
        name = _name(key)
        failure = None
        try:
            # At `path` first: whoever finds an object in the quicker store may tell others of it.
            with _told(f"write {self._place}/{name}"):
                self._place.write(name, [_head(key, parts), *parts])
        except StoreError as error:
            failure = error
        if self._local is not None:
            with contextlib.suppress(StoreError):
                self._local.write(key, parts)
        if failure is not None:
            raise failure

    def delete(self, key: bytes) -> None:
        name = _name(key)
        # At `path` first: else whoever reads meanwhile puts it back into the quicker store.
        with _told(f"delete {self._place}/{name}"):
            self._place.delete(name)
        if self._local is not None:
            self._local.delete(key)

    def entries(self) -> Iterator[tuple[bytes, int]]:
        """Those of both stores. The bytes are `HEAD` more than the content has."""
        seen = set()
        with _told(f"list {self._place}"):
            for name, size in self._place.files():
                if (key := _key(name)) is not None:
                    seen.add(key)
                    yield key, size
        if self._local is not None:
            yield from (each for each in self._local.entries() if each[0] not in seen)

    def sweep(self, age: float = ABANDONED) -> None:
        with _told(f"sweep {self._place}"):
            for name, _ in list(self._place.files()):
                if name[_FOLDER:].startswith(_UNFINISHED):
                    written = self._place.written(name)
                    if written is not None and time.time() - written >= age:
                        self._place.delete(name)
        if self._local is not None:
            self._local.sweep(age)

    def suspicion(self) -> str | None:
        """Why nothing that is read here may be loaded: a user other than this one and the
        administrator owns the folder, one in it or the one above it, or may write to it. None for
        no reason, and where it is not on this machine."""
        own = self._place.suspicion()
        return own if own or self._local is None else self._local.suspicion()


def _name(key: bytes) -> str:
    """The file of a key, and the folder that it is in: some hundred folders, of few files each."""
    if not 0 < len(key) <= _LONGEST:
        raise UsageError(f"a key of {len(key)} bytes: give one of 1 to {_LONGEST}, a digest")
    name = key.hex()
    return f"{name[:2]}/{name}"


_FOLDER = len("00/")


def _key(name: str) -> bytes | None:
    """The key whose file this is; None for a file of no key."""
    with contextlib.suppress(ValueError, UsageError):
        key = bytes.fromhex(name[_FOLDER:])
        return key if name == _name(key) else None
    return None


def _unfinished(name: str) -> str:
    """A name of nobody else's, beside it."""
    return f"{name[:_FOLDER]}{_UNFINISHED}{os.urandom(8).hex()}"


def _head(key: bytes, parts: Sequence[Bytes]) -> bytes:
    """What stands before a content, and can only stand before that, under that key."""
    if len(parts) == 1:
        digest = xxhash.xxh3_128_digest(parts[0])  # a tenth faster than in parts
    else:
        hashing = xxhash.xxh3_128()
        for part in parts:
            hashing.update(part)
        digest = hashing.digest()
    size = sum(memoryview(part).nbytes for part in parts)
    return _HEAD.pack(_MAGIC, size, digest, xxhash.xxh3_128_digest(key))


_HEAD = struct.Struct(f"<16sQ16s16s{HEAD - 56}x")
_MAGIC = b"snapshot object\n"


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What goes wrong in the block is a `StoreError`: what the drivers of fsspec raise is their
    own affair, and may be anything."""
    try:
        yield
    except Exception as error:
        if isinstance(error, StoreError) or is_interrupt(error):
            raise
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise StoreError(f"cannot {what}: {why}") from error


class _Place(ABC):
    """Files in folders, both of which are in a name: `ab/abcd`. `str` is how people call it."""

    @abstractmethod
    def read(self, name: str) -> Bytes | None:
        """The content, in memory of its own; None where there is none."""

    @abstractmethod
    def write(self, name: str, parts: Sequence[Bytes]) -> None:
        """Make or replace a file, at once."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    @abstractmethod
    def files(self) -> Iterator[tuple[str, int]]:
        """The names and sizes of all files in folders, whosever they are."""

    @abstractmethod
    def written(self, name: str) -> float | None:
        """When a file was written, in seconds since 1970; None where nobody knows."""

    def suspicion(self) -> str | None:
        return None


class _Paths(_Place):
    """Below an object with the methods of `pathlib.Path`."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def __str__(self) -> str:
        return str(self._root)

    def read(self, name: str) -> Bytes | None:
        try:
            with (self._root / name).open("rb") as file:
                return bytearray(file.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, parts: Sequence[Bytes]) -> None:
        path, unfinished = self._root / name, self._root / _unfinished(name)
        (self._root / name[:_FOLDER].rstrip("/")).mkdir(parents=True, exist_ok=True)
        try:
            _write(unfinished, parts)
            unfinished.replace(path)
        except NotImplementedError:  # what cannot move its files takes each of them at once
            _write(path, parts)
        finally:
            with contextlib.suppress(Exception):
                unfinished.unlink()

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self._root / name).unlink()

    def files(self) -> Iterator[tuple[str, int]]:
        for folder in _listed(self._root):
            for path in _listed(folder):
                with contextlib.suppress(FileNotFoundError):
                    yield f"{folder.name}/{path.name}", path.stat().st_size

    def written(self, name: str) -> float | None:
        try:
            return float((self._root / name).stat().st_mtime)
        except (AttributeError, FileNotFoundError):
            return None


def _write(path: Any, parts: Sequence[Bytes]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)


def _listed(folder: Any) -> list[Any]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


class _Folder(_Paths):
    """A folder of this machine."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(Path(os.path.abspath(os.fsdecode(path))))

    def read(self, name: str) -> Bytes | None:
        try:
            with open(self._root / name, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size < _MAPPED:
                    return bytearray(file.read())
                return memoryview(mapped(file.fileno(), size))
        except FileNotFoundError:
            return None

    def write(self, name: str, parts: Sequence[Bytes]) -> None:
        path = self._root / name
        private(path.parent)
        with renamed(path) as file:
            for part in parts:
                file.write(part)

    def suspicion(self) -> str | None:
        folder = Path(os.path.realpath(self._root))
        within = [each for each in _listed(folder) if len(each.name) == 2]
        for each in (folder.parent, folder, *within):
            try:
                status = each.stat()
            except OSError:
                continue  # it is not there, or using it will tell
            if status.st_uid not in (os.geteuid(), 0):
                return f"{each} belongs to another user"
            # In a folder like /tmp nobody can put another one in the place of this one.
            is_sticky = each == folder.parent and status.st_mode & stat.S_ISVTX
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not is_sticky:
                return f"other users may write to {each}"
        return None


class _System(_Place):
    """A folder of one of fsspec's file systems."""

    def __init__(self, system: Any, root: str) -> None:
        self._opened, self._pid = system, os.getpid()
        self._root = root.rstrip("/")

    def __str__(self) -> str:
        return str(self._system.unstrip_protocol(self._root))

    @property
    def _system(self) -> Any:
        """One of this process: some have a thread, which a fork has not."""
        if self._pid != os.getpid():
            made = self._opened
            self._opened = type(made)(*made.storage_args, **made.storage_options)
            self._pid = os.getpid()
        return self._opened

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> Bytes | None:
        try:
            return bytearray(self._system.cat_file(self._path(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, parts: Sequence[Bytes]) -> None:
        from fsspec.spec import AbstractFileSystem

        system, path, data = self._system, self._path(name), b"".join(parts)
        system.makedirs(os.path.dirname(path), exist_ok=True)
        if type(system).mv is AbstractFileSystem.mv:  # which copies: what is put is put at once
            system.pipe_file(path, data)
            return
        unfinished = self._path(_unfinished(name))
        try:
            system.pipe_file(unfinished, data)
            system.mv(unfinished, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(unfinished)
            raise

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._system.rm_file(self._path(name))

    def files(self) -> Iterator[tuple[str, int]]:
        self._system.invalidate_cache()
        for path, status in self._system.find(self._root, detail=True).items():
            name = path[len(self._root) :].strip("/")
            if name.find("/") == _FOLDER - 1:
                yield name, status["size"]

    def written(self, name: str) -> float | None:
        try:
            when = self._system.modified(self._path(name))
        except (NotImplementedError, FileNotFoundError):
            return None
        return float((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def _place(path: Where) -> _Place:
    """What stands for a folder, by what it can do: no package is imported to find out."""
    if isinstance(path, str) and "://" in path:
        return _at(path)
    if isinstance(path, str | PurePath) and str(path):
        return _Folder(path)
    if hasattr(path, "fs") and hasattr(path, "path"):  # a UPath
        return _System(path.fs, path.path)
    if hasattr(path, "iterdir"):  # before os.PathLike: some name a copy here of what is elsewhere
        return _Paths(path)
    if isinstance(path, os.PathLike):
        return _Folder(path)
    raise UsageError(f"{path!r} is no folder: give a path or a URL")


def _at(url: str) -> _Place:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise UsageError(f"{url}: install fsspec, which the extra `remote` brings") from None
    try:
        return _System(*url_to_fs(url))
    except (ImportError, ValueError) as error:
        raise UsageError(f"{url}: {error}") from None
