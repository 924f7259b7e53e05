"""What an experiment tells the process that waits for it.

A file without a name that both have open: what was told survives the experiment, however it
ended, and nobody need read while it is written.
"""

from __future__ import annotations

import os
import pickle
import tempfile
from typing import Any

from snapshot.core.descriptors import OURS, close


class Log:
    """Messages in the order in which they were told: pairs of a subject and a picklable value."""

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("snapshot-log", os.MFD_CLOEXEC)
        else:
            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        OURS.add(self._fd)

    def tell(self, subject: str, value: Any) -> None:
        """Add a message; after `close`, when nobody waits for it any more, do nothing."""
        if self._fd < 0:
            return
        data = memoryview(pickle.dumps((subject, value), protocol=5))
        while data:
            data = data[os.write(self._fd, data) :]

    def read(self) -> list[tuple[str, Any]]:
        """Everything told so far. A message cut off by the end of its writer is left out."""
        messages: list[tuple[str, Any]] = []
        with open(os.dup(self._fd), "rb") as file:
            file.seek(0)
            while True:
                try:
                    messages.append(pickle.load(file))
                except (EOFError, pickle.UnpicklingError):
                    return messages

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        close(fd)
