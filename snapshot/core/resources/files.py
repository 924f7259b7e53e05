"""Files that both processes have open: their locks, and their shared memory."""

from __future__ import annotations

from typing import Any

from snapshot.core import census, mappings
from snapshot.core.mappings import Mapping, Place, place_of, shared_mappings
from snapshot.core.messages import say
from snapshot.core.resources.connections import inherited
from snapshot.core.resources.resource import Resource, replace_once


class Flock(Resource):
    module = "fcntl"
    name = "`fcntl.flock`"
    in_experiment = (
        "unlocking what the original has locked is not done; locks of `lockf` are not inherited "
        "by a fork, and the experiment would wait for the original's"
    )

    def install(self, module: Any) -> None:
        def make(flock: Any) -> Any:
            def guarded(fd: Any, operation: int, /) -> None:
                if not (operation & module.LOCK_UN and inherited(_number(fd))):
                    flock(fd, operation)

            return guarded

        replace_once(module, "flock", make)


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
        shared = [each for each in self._mappings if not mappings.has_moved(each)]
        self._aside += [each for each in shared if each.make_private()]
        self._list_anew()

    def take_over(self, module: Any) -> None:
        for each in self._aside:
            if not each.write_back():
                say(f"snapshot: not in its file: what this process wrote to the map of {each.file}")
        self._aside.clear()
        self._list_anew()

    def _list_anew(self) -> None:
        """Which of them are shared has changed."""
        self._places, self._mappings = [], []
