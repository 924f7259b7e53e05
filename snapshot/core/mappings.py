"""Maps that are shared and writable, to which both processes would write: the kernel's list."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Iterator
from typing import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_MAP_FIXED = 0x10  # mmap(2)
_FAILED = ctypes.c_void_p(-1).value


class Mapping(NamedTuple):
    """A line of /proc/self/maps, see proc(5)."""

    start: int
    end: int
    offset: int
    device: str
    inode: int
    file: str

    @property
    def of_file(self) -> bool:
        """Whether a regular file is behind it, and not memory that is shared on purpose."""
        named = self.file.startswith("/") and not self.file.startswith(("/dev/", "/memfd:"))
        return named and not self.file.endswith(" (deleted)")

    def part(self, start: int, end: int) -> Mapping:
        """The pages between these addresses."""
        return self._replace(start=start, end=end, offset=self.offset + start - self.start)

    def make_private(self) -> bool:
        """Map the same part of the file over it, for this process alone.

        False if the file is not there any more.
        """
        try:
            fd = os.open(self.file, os.O_RDONLY)
        except OSError:
            return False
        try:
            return os.fstat(fd).st_ino == self.inode and self._map(fd, mmap.MAP_PRIVATE)
        finally:
            os.close(fd)

    def share(self) -> bool:
        """Map that part of the file over it which its path leads to; False if that fails."""
        try:
            fd = os.open(self.file, os.O_RDWR)
        except OSError:
            return False
        try:
            return self._map(fd, mmap.MAP_SHARED)
        finally:
            os.close(fd)

    def _map(self, fd: int, how: int) -> bool:
        place = _libc.mmap(
            ctypes.c_void_p(self.start),
            ctypes.c_size_t(self.end - self.start),
            mmap.PROT_READ | mmap.PROT_WRITE,
            how | _MAP_FIXED,
            fd,
            ctypes.c_ssize_t(self.offset),
        )
        return bool(place != _FAILED)

    def write_back(self) -> bool:
        """Put the content into the file and share it again; the part beyond its end is no part."""
        try:
            with open(self.file, "r+b", buffering=0) as file:
                length = min(self.end - self.start, os.fstat(file.fileno()).st_size - self.offset)
                file.seek(self.offset)
                content = (ctypes.c_char * max(0, length)).from_address(self.start)
                rest = memoryview(content).cast("B")
                while rest:
                    rest = rest[file.write(rest) :]
        except OSError:
            return False
        return self.share()


# Those that the fork which made this process has moved to the files of its overlay.
moved: list[Mapping] = []


def has_moved(mapping: Mapping) -> bool:
    """Whether it leads to a file that is this process's own."""
    return any(each.start <= mapping.start and mapping.end <= each.end for each in moved)


def shared_mappings(pid: int | str = "self") -> Iterator[Mapping]:
    """Those of a process that are shared and writable, as far as they can be seen."""
    try:
        lines = open(f"/proc/{pid}/maps", "rb")  # noqa: SIM115
    except OSError:
        return
    with lines:
        for each in lines:
            addresses, modes, rest = each.split(b" ", 2)
            if modes[:2] == b"rw" and modes[3:] == b"s":  # of hundreds, hardly any
                start, end = (int(address, 16) for address in addresses.split(b"-"))
                text = rest.decode("utf-8", "surrogateescape").rstrip("\n")
                offset, device, inode, *name = text.split(None, 3)
                yield Mapping(start, end, int(offset, 16), device, int(inode), "".join(name))


class Place(NamedTuple):
    """An object and its pages. A reference to one that is gone equals no other."""

    start: int
    end: int
    mapping: weakref.ref[mmap.mmap]


def place_of(mapping: mmap.mmap) -> Place | None:
    """Where it is; None for one that is closed, or that is not written to."""
    try:
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
    except (TypeError, ValueError):
        return None
    pages = -(-len(mapping) // mmap.PAGESIZE)
    return Place(start, start + pages * mmap.PAGESIZE, weakref.ref(mapping))
