"""Files that both processes have open: their locks, and their shared memory."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import weakref
from collections.abc import Iterator
from typing import Any, NamedTuple

from snapshot.core import census
from snapshot.core.messages import say
from snapshot.core.resources.connections import inherited
from snapshot.core.resources.resource import Resource


class Flock(Resource):
    module = "fcntl"
    name = "`fcntl.flock`"
    in_experiment = (
        "unlocking what the original has locked is not done; locks of `lockf` are not inherited "
        "by a fork, and the experiment would wait for the original's"
    )

    def install(self, module: Any) -> None:
        flock = module.flock
        if hasattr(flock, "_guarded"):
            return

        @functools.wraps(flock)
        def guarded(fd: Any, operation: int, /) -> None:
            if not (operation & module.LOCK_UN and inherited(_number(fd))):
                flock(fd, operation)

        guarded._guarded = True  # type: ignore[attr-defined]
        module.flock = guarded


def _number(fd: Any) -> int:
    number = fd if isinstance(fd, int) else fd.fileno()
    return number if isinstance(number, int) else -1


class SharedMappings(Resource):
    module = "mmap"
    name = "`mmap` and `numpy.memmap`, shared and writable, of a file"
    in_experiment = (
        "they are private there, at the same address: what is written to them is seen by nobody "
        "else and is not in the file, unless `keep()` puts it there"
    )

    def __init__(self) -> None:
        self._places: list[Place] = []  # where the objects were when the mappings were listed
        self._mappings: list[Mapping] = []
        self._aside: list[Mapping] = []

    def before(self, module: Any) -> None:
        """The kernel's list is long and slow to read: it is read again if an object changed.

        Only what belongs to a living object is mapped anew: nothing else is known to be there yet.
        """
        found = (place_of(each) for each in census.known(module.mmap))
        places = sorted((each for each in found if each is not None), key=lambda each: each.start)
        if places != self._places:
            shared = [each for each in shared_mappings() if each.of_file] if places else []
            self._mappings = [
                mapping.part(place.start, place.end)
                for place in places
                for mapping in shared
                if mapping.start <= place.start and place.end <= mapping.end
            ]
            self._places = places

    def lay_aside(self, module: Any) -> None:
        if self._mappings:
            self._aside += [each for each in self._mappings if each.map(mmap.MAP_PRIVATE)]

    def take_over(self, module: Any) -> None:
        for each in self._aside:
            if not each.write_back():
                say(f"snapshot: not in its file: what this process wrote to the map of {each.file}")
        self._aside.clear()


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


_libc = ctypes.CDLL(None, use_errno=True)
_MAP_FIXED = 0x10  # mmap(2)


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

    def map(self, how: int) -> bool:
        """Map the same part of the file over it; False if the file is not there any more."""
        try:
            fd = os.open(self.file, os.O_RDWR if how == mmap.MAP_SHARED else os.O_RDONLY)
        except OSError:
            return False
        try:
            return os.fstat(fd).st_ino == self.inode and self._map(fd, how)
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
        return bool(place != -1)

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
        return self.map(mmap.MAP_SHARED)


def shared_mappings(pid: int | str = "self") -> Iterator[Mapping]:
    """Those of a process that are shared and writable, as far as they can be seen."""
    try:
        lines = open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    except OSError:
        return
    with lines:
        for text in lines:
            addresses, modes, offset, device, inode, *name = text.rstrip("\n").split(None, 5)
            if modes.startswith("rw") and modes[3] == "s":
                start, end = (int(each, 16) for each in addresses.split("-"))
                yield Mapping(start, end, int(offset, 16), device, int(inode), "".join(name))
