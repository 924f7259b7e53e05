"""Upper layers on a disk: directories that are in use as long as their lock is held."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from snapshot.core.descriptors import OURS, close
from snapshot.errors import CannotOverlay

_PREFIX = "snapshot-files-"


def place(chosen: str | os.PathLike[str] | None = None) -> str:
    """The directory that upper layers are in: the chosen one, or one in the user's cache."""
    if chosen is not None:
        return os.path.realpath(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.realpath(os.path.join(cache, "snapshot"))


class Upper:
    """A new directory for an upper layer, made before the fork.

    Both processes hold its lock; when both have let go of it, it can be swept. Raises
    `CannotOverlay`.
    """

    def __init__(self, directory: str) -> None:
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            sweep(directory)
            self._path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
            self._lock = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.mkdir(self._path / "files", 0o700)
        except OSError as error:
            raise CannotOverlay(
                f"files_on_disk=: nothing can be written in {directory!r}: "
                f"{error.strerror}; nothing was forked"
            ) from None
        OURS.add(self._lock)

    @property
    def files(self) -> str:
        """Where the layers themselves are."""
        return str(self._path / "files")

    def remove(self) -> None:
        """Nobody uses it any more."""
        close(self._lock)
        _remove(self._path)


def sweep(directory: str) -> list[str]:
    """Remove the upper layers that nobody uses any more; the paths of those that are gone."""
    swept = []
    for path in sorted(Path(directory).glob(f"{_PREFIX}*")):
        with contextlib.suppress(OSError):
            lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
                swept.append(str(path))
            finally:
                os.close(lock)
    return swept


def _remove(path: Path) -> None:
    """The kernel leaves a directory that nobody may enter, not even its owner."""
    for closed in path.glob("files/work*/work"):
        closed.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
