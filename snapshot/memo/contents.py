"""Files as arguments and results: a path, and what is there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, SupportsIndex

import xxhash

from snapshot.errors import CannotRead, StoreError, UsageError
from snapshot.pickling import Bytes
from snapshot.store.files import renamed

_MISSING, _FOLDER, _LINK = "missing", "folder", "link"
_FILE, _EXECUTABLE = "file", "executable"

_OTHERS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

Part = tuple[str, str, Any]
"""Something of a tree: its name below the top (nothing for the top), its kind, and its content: the
bytes of a file, the target of a link, None for a folder."""


class _TakenAlong(threading.local):
    """While a result of a memoized function is pickled or unpickled, in this thread."""

    depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1


taken_along = _TakenAlong()
"""Within it what is at a path is pickled with it, and put back; elsewhere a path is a path. Nobody
who sends one to another process, or looks at a recorded call, wants files to change by that."""


class FileContents(str):
    """The path of a file or folder, and with it what is there.

    It is a string wherever a path is wanted, and is equal to that string: `open(src)` and
    `os.path.exists(src)` work, and `src + ".bak"` and `src / "name"` are FileContents again. A
    relative path is taken as such, from what is the working directory then.

    As an argument of a memoized function it stands for what is there at the call. As a part of a
    result it takes what is there along: that is kept with the result, and a hit puts it back to the
    same path, folders above it included, unless it is there already; a file that is the same is not
    touched. Each file is replaced at once, keeps its own permissions or gets those of a new file,
    and is executable or not as it was. Nothing is deleted: a path where nothing was leaves what is
    there by now, and so does a folder what else is in it. Wherever else it is pickled
    (`multiprocessing`, a recorded call) it is its path alone.

    Of a folder all that is in it counts, the names, and which files are executable. A link in it
    is kept as a link, and what it leads to counts. A path that is a link itself stands for what it
    leads to, as it does for `open`.

    Copies (`copy`, `deepcopy`) do not look at the disk. All of a file is read each time, since the
    times of a file do not tell whether it is the same: not where it is written to by way of a map.
    """

    __slots__ = ()

    def __new__(cls, path: str | os.PathLike[str] | os.PathLike[bytes]) -> Self:
        """Nothing is read yet. Raises `UsageError` for what is no path."""
        try:
            text = os.fsdecode(path)
        except TypeError:
            raise UsageError(f"{path!r} is no path: give a string or an os.PathLike") from None
        if not text or "\0" in text:
            raise UsageError(f"{text!r} names no file: give a path")
        return super().__new__(cls, text)

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __add__(self, end: str) -> Self:
        return type(self)(str(self) + end)

    def __radd__(self, begin: str) -> Self:
        return type(self)(begin + str(self))

    def __truediv__(self, name: str | os.PathLike[str]) -> Self:
        return type(self)(os.path.join(str(self), name))

    def __rtruediv__(self, folder: str) -> Self:
        return type(self)(os.path.join(folder, str(self)))

    def __cache_key__(self) -> str:
        """The path as it was given."""
        return str(self)

    def __cache_ver__(self) -> str:
        """What is there: its kind, and a digest (XXH3-128) of the contents; "missing" for nothing.

        Raises `CannotRead`, `UsageError` for what has no contents: a FIFO, a device.
        """
        with _reading(self):
            return _version(str(self))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """In a result with the contents, out of band where the pickler has room for that.

        Raises `CannotRead`, `UsageError` as `__cache_ver__` does.
        """
        if not taken_along.depth:
            return type(self), (str(self),)
        contained = pickle.PickleBuffer if protocol.__index__() >= 5 else bytes
        with _reading(self):
            parts = [
                (name, kind, contained(content) if isinstance(content, bytes) else content)
                for name, kind, content in _taken(str(self))
            ]
        return restored, (type(self), str(self), parts)


def restored(kind: type[FileContents], path: str, parts: Iterable[Part]) -> FileContents:
    """A path, where what was there when it was pickled is put back, if a result is loaded.

    Raises `StoreError` where it cannot be written, `UsageError` where there is a FIFO or a device
    by now.
    """
    if not taken_along.depth:
        return kind(path)
    there = top = _followed(path)
    try:
        os.makedirs(os.path.dirname(top) or os.curdir, exist_ok=True)
        for name, what, content in parts:
            there = os.path.join(top, name) if name else top
            _restore(there, what, content)
    except OSError as error:
        raise StoreError(f"cannot write {there}: {error.strerror}") from error
    return kind(path)


def _restore(path: str, kind: str, content: Any) -> None:
    there = _kind(path)
    if kind == _FOLDER:
        os.makedirs(path, exist_ok=True)
    elif kind == _LINK:
        if there != _LINK or os.readlink(path) != content:
            _link(path, content)
    elif there not in (_FILE, _EXECUTABLE) or not _holds(path, content):
        mode = _mode(path, kind)
        with renamed(Path(path)) as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
    elif there != kind:
        os.chmod(path, _mode(path, kind))


def _link(path: str, target: str) -> None:
    """Make a link, in the place of a file or another link, at once."""
    unfinished = f"{path}.{os.urandom(8).hex()}"
    os.symlink(target, unfinished)
    try:
        os.rename(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def _holds(path: str, content: Bytes) -> bool:
    """Whether a file has that content."""
    if os.path.getsize(path) != memoryview(content).nbytes:
        return False
    return _digest(path) == xxhash.xxh3_128_hexdigest(content)


def _mode(path: str, kind: str) -> int:
    """The permissions of a file: those that it has, or that a new one gets."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mode = 0o666 & ~_umask()
    readers = mode & 0o444
    return mode | readers >> 2 if kind == _EXECUTABLE else mode & ~0o111


def _umask() -> int:
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)  # elsewhere than on Linux it cannot be known without being set
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotRead(f"cannot read {error.filename or path}: {error.strerror}") from error


def _kind(path: str) -> str:
    """What is there. Raises OSError, `UsageError` for what has no contents."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    if stat.S_ISREG(mode):
        return _EXECUTABLE if mode & stat.S_IXUSR else _FILE
    if stat.S_ISDIR(mode):
        return _FOLDER
    if stat.S_ISLNK(mode):
        return _LINK
    other = next((words for is_one, words in _OTHERS if is_one(mode)), "something else")
    raise UsageError(f"{path} is {other}, which has no contents: name a file or a folder")


def _followed(path: str) -> str:
    """What a path leads to, if it is a link; it is told by the name that it was given else."""
    return os.path.realpath(path) if os.path.islink(path) else path


def _tree(top: str) -> Iterator[tuple[str, str, str]]:
    """What is there, folders before their content: the name below the top, the kind, the path."""
    names = [""]
    while names:
        name = names.pop()
        path = os.path.join(top, name) if name else top
        kind = _kind(path)
        yield name, kind, path
        if kind == _FOLDER:
            within = sorted(os.listdir(path), reverse=True)
            names += [os.path.join(name, each) for each in within]


def _taken(path: str) -> Iterator[Part]:
    for name, kind, there in _tree(_followed(path)):
        if kind == _FOLDER:
            yield name, kind, None
        elif kind == _LINK:
            yield name, kind, os.readlink(there)
        elif kind != _MISSING:
            with open(there, "rb", buffering=0) as file:
                yield name, kind, file.read()


def _version(path: str, above: tuple[str, ...] = ()) -> str:
    """above: the folders that are being read, to which a link in one of them may lead back."""
    top = _followed(path)
    hashing = xxhash.xxh3_128()
    for name, kind, there in _tree(top):
        content: object = None
        if kind == _LINK:
            content = os.readlink(there)
            tops = (*above, os.path.realpath(top))
            if not _is_within(os.path.realpath(there), tops):
                content = content, _version(there, tops)
        elif kind in (_FILE, _EXECUTABLE):
            content = _digest(there)
        if not name and kind != _FOLDER:
            return kind if content is None else f"{kind} {content}"
        # Unlike that of repr, its text is the same in each version of Python.
        hashing.update(ascii((name, kind, content)).encode())
    return f"{_FOLDER} {hashing.hexdigest()}"


def _is_within(path: str, folders: Iterable[str]) -> bool:
    return any(path == each or path.startswith(os.path.join(each, "")) for each in folders)


def _digest(path: str) -> str:
    """Of a file's content, which is not mapped: cut meanwhile, that would end the process."""
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()
