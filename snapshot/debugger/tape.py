"""Records in memory that all forks of a process share: what one appends, the others can read."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

from snapshot.errors import TimelineError

_MOST = 1 << 36  # bytes of address space; memory is taken as it is written
_LEAST = 1 << 26
_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # which Python 3.11 does not name
_END = struct.Struct("=Q")
_LENGTH = struct.Struct("=I")


class Tape:
    """An append-only sequence of records.

    Only one of the processes that share it may append at a time; what it has appended survives it,
    however it ends.
    """

    def __init__(self) -> None:
        self._memory, self._most = _shared()
        self._set_end(_END.size)

    @property
    def end(self) -> int:
        """Where the next record will be."""
        end: int = _END.unpack_from(self._memory)[0]
        return end

    def append(self, record: bytes) -> int:
        """Returns where it ends. Raises `TimelineError` if there is no room for it."""
        begin = self.end + _LENGTH.size
        end = begin + len(record)
        if end > self._most:
            raise TimelineError(f"what is to be repeated takes more than {self._most} bytes")
        _LENGTH.pack_into(self._memory, begin - _LENGTH.size, len(record))
        self._memory[begin:end] = record
        self._set_end(end)
        return end

    begin = _END.size  # where the first record is

    def records(self, start: int = _END.size) -> Iterator[tuple[int, bytes]]:
        """Each record from an offset on, with the offset behind it."""
        while start < self.end:
            (length,) = _LENGTH.unpack_from(self._memory, start)
            begin = start + _LENGTH.size
            start = begin + length
            yield start, self._memory[begin:start]

    def _set_end(self, end: int) -> None:
        _END.pack_into(self._memory, 0, end)


def _shared() -> tuple[mmap.mmap, int]:
    size = _MOST
    while True:
        try:
            flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _NORESERVE
            return mmap.mmap(-1, size, flags=flags), size
        except OSError:
            if size <= _LEAST:
                raise
            size //= 2
