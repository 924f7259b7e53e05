"""What an experiment tells the process that waits for it.

A file without a name that both have open: what was told survives the experiment, however it
ended, and nobody need read while it is written.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
from typing import Any, BinaryIO

from snapshot.core.descriptors import OURS, close, identity

_SMALL = 1 << 16  # bytes up to which it is read at once


class Log:
    """Messages in the order in which they were told: pairs of a subject and a picklable value."""

    def __init__(self, fd: int | None = None) -> None:
        """fd: the descriptor of one that there is; by default a new one is made."""
        if fd is not None:
            self._fd = fd
        elif hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("snapshot-log", os.MFD_CLOEXEC)
        else:
            import tempfile  # here, since Linux does not need it, and it loads much

            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        OURS.add(self._fd)
        self._identity = identity(self._fd)

    def tell(self, subject: str, value: Any) -> None:
        """Add a message; after `close`, when nobody waits for it any more, do nothing.

        Raises OSError where it cannot be written; nothing of it is there then.
        """
        if self._fd < 0:
            return
        if identity(self._fd) != self._identity:  # the program may have closed or replaced it
            raise OSError(errno.EBADF, "its descriptor was closed")
        end = os.fstat(self._fd).st_size
        data = memoryview(pickle.dumps((subject, value), protocol=5))
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            os.ftruncate(self._fd, end)
            os.lseek(self._fd, end, os.SEEK_SET)
            raise

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[tuple[str, Any]]:
        """Everything told so far. A message cut off by the end of its writer is left out."""
        messages: list[tuple[str, Any]] = []
        with self._opened() as file:
            while True:
                try:
                    messages.append(pickle.load(file))
                except (EOFError, pickle.UnpicklingError):
                    return messages

    def _opened(self) -> BinaryIO:
        size = os.fstat(self._fd).st_size
        if size < _SMALL:
            return io.BytesIO(os.pread(self._fd, size, 0))
        file = open(os.dup(self._fd), "rb")  # noqa: SIM115 (the caller closes it)
        file.seek(0)
        return file

    def close(self) -> None:
        if identity(self._fd) == self._identity:
            close(self._fd)
        self._fd = -1
