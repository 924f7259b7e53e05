"""The large objects of a store: a file each, named by its digest, in a folder here or elsewhere."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any, Protocol

from snapshot.errors import StoreError, UsageError
from snapshot.pickling import Bytes, is_interrupt, mapped
from snapshot.store.place import private
from snapshot.store.relying import Reliance

_UNFINISHED = "."
_GOING = ".going"
_ABANDONED = 3600.0  # seconds that nobody takes to write a file
_LATER = "files are left, which `snapshot vacuum` can delete later"
_FRESH = 86400.0  # seconds in which what relies on a file elsewhere is folded in

Spooled = Callable[[], Collection[bytes]]


class Files(Protocol):
    """Where they are. A file is there wholly or not at all."""

    def write(self, digest: bytes, data: Bytes, *, anew: bool = False) -> None:
        """Make one, unless it is there. anew: where the one that is there is damaged, too.

        Raises `StoreError`.
        """

    def rely(self) -> None:
        """What this thread writes from now on it tells later: until then no file is deleted."""

    def told(self) -> None:
        """It has been told."""

    def read(self, digest: bytes, size: int) -> Bytes:
        """Its content, which may be written to without changing the file.

        Raises FileNotFoundError where there is none, ValueError where it has another size,
        `StoreError`.
        """

    def delete(self, digests: Iterable[bytes], spooled: Spooled) -> list[str]:
        """Delete some, but those that somebody may want; what is left else, in lines.

        spooled: the digests of those that have been told of in spools when it is called, which
        nobody folds in while this runs.
        """

    def all(self) -> Iterator[bytes]:
        """The digests of all that are there, if all of them are this store's."""

    def name(self, digest: bytes) -> str:
        """As it is told to people."""

    def sweep(self) -> None:
        """Delete what was being written when its process was killed."""


class Folder:
    """Files in a folder of this machine: what is read is a private map, and not copied."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.reliance = Reliance(path)

    def write(self, digest: bytes, data: Bytes, *, anew: bool = False) -> None:
        path = self.path(digest)
        try:
            if not anew and path.exists() and path.stat().st_size == memoryview(data).nbytes:
                return
            private(path.parent)
            with renamed(path) as file:
                file.write(data)
        except OSError as error:
            if is_interrupt(error):
                raise
            raise StoreError(f"cannot write into {self._path}: {error.strerror}") from None

    def rely(self) -> None:
        try:
            self.reliance.begin()
        except OSError as error:
            raise StoreError(f"cannot write into {self._path}: {error.strerror}") from None

    def told(self) -> None:
        self.reliance.end()

    def read(self, digest: bytes, size: int) -> Bytes:
        path = self.path(digest)
        try:
            return _content(path, size)
        except FileNotFoundError:
            return _content(_going(path), size)  # who would delete it was killed
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from None

    def delete(self, digests: Iterable[bytes], spooled: Spooled) -> list[str]:
        going, left = [], []
        for digest in digests:
            path = self.path(digest)
            try:
                os.rename(path, _going(path))
            except FileNotFoundError:
                pass
            except OSError as error:
                left.append(f"cannot delete {path}: {error.strerror}")
                continue
            going.append((digest, path))
        if not going:
            return left
        wanted: Collection[bytes] = {digest for digest, _ in going}
        try:
            if self.reliance.settle():
                wanted = spooled()
            else:
                left.append(f"a process is recording large values just now: {_LATER}")
        except StoreError as error:
            left.append(f"{error}: {_LATER}")
        finally:
            for digest, path in going:
                with contextlib.suppress(OSError):
                    if path.exists() or digest not in wanted:
                        _going(path).unlink()
                    else:
                        _going(path).rename(path)
        return left

    def all(self) -> Iterator[bytes]:
        for path in self._there():
            with contextlib.suppress(ValueError):
                yield bytes.fromhex(path.parent.name + path.name.removesuffix(_GOING))

    def _there(self) -> Iterator[Path]:
        """All files, where one may look."""
        with contextlib.suppress(OSError):
            for folder in sorted(self._path.iterdir()):
                with contextlib.suppress(OSError):
                    yield from sorted(folder.iterdir())

    def name(self, digest: bytes) -> str:
        return str(self.path(digest))

    def sweep(self) -> None:
        for path in self._there():
            with contextlib.suppress(OSError):
                if path.name.startswith(_UNFINISHED):
                    if time.time() - path.stat().st_mtime > _ABANDONED:
                        path.unlink()
                elif path.name.endswith(_GOING):  # who would delete it was killed
                    whole = path.with_name(path.name.removesuffix(_GOING))
                    path.unlink() if whole.exists() else path.rename(whole)

    def path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._path / name[:2] / name[2:]


def _going(path: Path) -> Path:
    """Its name while it is found out whether somebody wants it."""
    return path.with_name(path.name + _GOING)


def _content(path: Path, size: int) -> Bytes:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size != size:
            raise ValueError("has another size")
        return memoryview(mapped(file.fileno(), size))


class Remote:
    """Files wherever fsspec reaches: `s3://bucket/objects`, `file:///shared/objects`.

    Whoever may write there may have values loaded here that run code: it is trusted by naming it.
    Nobody knows who relies on a file there, so what is deleted is at least a day old, and what is
    told again after half of one is written again.
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

    def write(self, digest: bytes, data: Bytes, *, anew: bool = False) -> None:
        path = self._path(digest)
        try:
            if (
                not anew
                and self._system.exists(path)
                and self._system.size(path) == memoryview(data).nbytes
                and self._age(path) < _FRESH / 2
            ):
                return
            self._system.makedirs(os.path.dirname(path), exist_ok=True)
            with self._system.transaction, self._system.open(path, "wb") as file:
                file.write(data)
        except OSError as error:
            if is_interrupt(error):
                raise
            raise StoreError(f"cannot write {path}: {error}") from None

    def _age(self, path: str) -> float:
        """Seconds since it was written; those of a file that must stay where nobody knows."""
        try:
            when = self._system.modified(path)
        except NotImplementedError:
            return _FRESH / 2
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        return time.time() - float(when.timestamp())

    def rely(self) -> None:
        """Nothing: see the class."""

    def told(self) -> None:
        """Nothing: see the class."""

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

    def delete(self, digests: Iterable[bytes], spooled: Spooled) -> list[str]:
        left = []
        wanted = spooled()
        for digest in digests:
            path = self._path(digest)
            try:
                if digest not in wanted and self._age(path) > _FRESH:
                    self._system.rm_file(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                left.append(f"cannot delete {self.name(digest)}: {error}")
        return left

    def all(self) -> Iterator[bytes]:
        yield from ()  # other stores may have theirs there, too

    def sweep(self) -> None:
        """Nothing: what a transaction leaves behind is its file system's."""

    def name(self, digest: bytes) -> str:
        return str(self._system.unstrip_protocol(self._path(digest)))

    def _path(self, digest: bytes) -> str:
        name = digest.hex()
        return f"{self._root}/{name[:2]}/{name[2:]}"


@contextlib.contextmanager
def renamed(path: Path) -> Iterator[Any]:
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
