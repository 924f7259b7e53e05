"""The large objects of a store: a file each, named by its digest, in a folder here or elsewhere."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from snapshot.errors import StoreError, UsageError
from snapshot.pickling import Bytes, mapped
from snapshot.store.place import private

_UNFINISHED = "."
_ABANDONED = 3600.0  # seconds that nobody takes to write a file


class Files(Protocol):
    """Where they are. A file is there wholly or not at all."""

    def write(self, digest: bytes, data: Bytes) -> None:
        """Make one, unless it is there. Raises `StoreError`."""

    def read(self, digest: bytes, size: int) -> Bytes:
        """Its content, which may be written to without changing the file.

        Raises FileNotFoundError where there is none, ValueError where it has another size,
        `StoreError`.
        """

    def delete(self, digest: bytes) -> None:
        """Delete one, if it is there."""

    def name(self, digest: bytes) -> str:
        """As it is told to people."""

    def sweep(self) -> None:
        """Delete what was being written when its process was killed."""


class Folder:
    """Files in a folder of this machine: what is read is a private map, and not copied."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, digest: bytes, data: Bytes) -> None:
        path = self.path(digest)
        try:
            if path.exists() and path.stat().st_size == memoryview(data).nbytes:
                return
            private(path.parent)
            with _renamed(path) as file:
                file.write(data)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from None

    def read(self, digest: bytes, size: int) -> Bytes:
        try:
            with open(self.path(digest), "rb") as file:
                if os.fstat(file.fileno()).st_size != size:
                    raise ValueError("has another size")
                return memoryview(mapped(file.fileno(), size))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"cannot read {self.path(digest)}: {error.strerror}") from None

    def delete(self, digest: bytes) -> None:
        with contextlib.suppress(OSError):
            self.path(digest).unlink()

    def name(self, digest: bytes) -> str:
        return str(self.path(digest))

    def sweep(self) -> None:
        for path in self._path.glob(f"??/{_UNFINISHED}*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    def path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._path / name[:2] / name[2:]


class Remote:
    """Files wherever fsspec reaches: `s3://bucket/objects`, `file:///shared/objects`.

    Whoever may write there may have values loaded here that run code: it is trusted by naming it.
    """

    def __init__(self, url: str) -> None:
        """Raises `UsageError` where fsspec is not installed, or does not know the protocol."""
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise UsageError(f"{url}: install fsspec, which the extra `remote` brings") from None
        try:
            self._system, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url}: {error}") from None

    def write(self, digest: bytes, data: Bytes) -> None:
        path = self._path(digest)
        try:
            if self._system.exists(path) and self._system.size(path) == memoryview(data).nbytes:
                return
            self._system.makedirs(os.path.dirname(path), exist_ok=True)
            with self._system.transaction, self._system.open(path, "wb") as file:
                file.write(data)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error}") from None

    def read(self, digest: bytes, size: int) -> Bytes:
        try:
            content: bytes = self._system.cat_file(self._path(digest))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"cannot read {self._path(digest)}: {error}") from None
        if len(content) != size:
            raise ValueError("has another size")
        return content

    def delete(self, digest: bytes) -> None:
        with contextlib.suppress(OSError):
            self._system.rm_file(self._path(digest))

    def sweep(self) -> None:
        """Nothing: what a transaction leaves behind is its file system's."""

    def name(self, digest: bytes) -> str:
        return str(self._system.unstrip_protocol(self._path(digest)))

    def _path(self, digest: bytes) -> str:
        name = digest.hex()
        return f"{self._root}/{name[:2]}/{name[2:]}"


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Any]:
    """A new file that gets its name when all of it is there."""
    fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    try:
        with open(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
