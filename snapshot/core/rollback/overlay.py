"""Directories under a private overlay: what an experiment does to their files is its own.

    the path ──→ overlay ──┬── upper: what the experiment wrote, in memory or on a disk
    (in its own mounts)    └── below: the directory as it was, which is only read

Nothing is copied at the snapshot but what is open for writing in those directories.
"""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from snapshot.core import mappings, process
from snapshot.core.descriptors import OURS, Descriptor, close, open_descriptors
from snapshot.core.limits import in_bytes
from snapshot.core.memory import size
from snapshot.core.messages import say
from snapshot.core.rollback import attributes, disk, mounts
from snapshot.core.rollback.changes import Changes, Difference, described, differences
from snapshot.core.rollback.merge import Chosen, Merge, check
from snapshot.core.rollback.openings import Openings, is_inside
from snapshot.errors import CannotOverlay, SnapshotError, UsageError

LIMIT = "1G"  # of the upper layer, where it is in memory

Path = str | os.PathLike[str]
Paths = Path | Sequence[Path]

# File systems that are the kernel's own windows, and hold no files of anybody's.
_NO_FILES = {
    *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts"),
    *("devtmpfs", "efivarfs", "fusectl", "mqueue", "nsfs", "proc", "pstore", "securityfs"),
    *("sysfs", "tracefs"),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The directories that are to be under an overlay, and how.

    directories: absolute and without links, none within another.
    strict: whether what is open there and cannot be moved is an error.
    limit: bytes that the upper layer may take in memory.
    disk: a directory in which it is to be instead; None for memory.
    """

    directories: tuple[str, ...]
    strict: bool
    limit: int
    disk: str | None

    @classmethod
    def of(
        cls, files: Paths | None, strict: bool, limit: int | str, on_disk: bool | Path
    ) -> Wanted | None:
        """None if nothing is wanted. Raises `UsageError`."""
        if files is None:
            return None
        named = _several(files)
        if not named:
            raise UsageError("files=[]: give a directory, or several; nothing was forked")
        found: list[str] = []
        for each in sorted(_directory(each) for each in named):
            if not is_inside(each, found):
                found.append(each)
        if on_disk is False:
            place = None
        else:
            place = disk.place(None if on_disk is True else on_disk)
            if is_inside(place, found):
                raise UsageError(
                    f"files_on_disk={place!r}: it is inside {found[0]!r}, which is to be rolled "
                    "back: name another directory; nothing was forked"
                )
        return cls(tuple(found), bool(strict), in_bytes("files_limit", limit), place)


def _directory(named: object) -> str:
    if not isinstance(named, str | os.PathLike) or not os.fspath(named):
        raise UsageError(f"files={named!r}: it is no path; nothing was forked")
    path = os.path.realpath(os.fspath(named))
    if not os.path.isdir(path):
        what = "not a directory" if os.path.exists(path) else "not there"
        raise UsageError(f"files={named!r}: {path!r} is {what}; nothing was forked")
    if path == "/":
        raise UsageError(
            "files='/': the root itself cannot be under an overlay: name directories in it; "
            "nothing was forked"
        )
    return path


class Overlay:
    """What a child needs in order to have directories of its own.

    Made before the fork, where all is checked that can be: raises `CannotOverlay`.
    """

    def __init__(self, wanted: Wanted, descriptors: Iterable[Descriptor]) -> None:
        self._wanted = wanted
        self._rights = mounts.Rights.here()
        self._directories = _with_mounts_below(wanted.directories)
        self._openings = Openings.inside(self._directories, descriptors)
        self._check_openings()
        if not here:
            _try_out(self._directories)
        self._upper = None if wanted.disk is None else disk.Upper(wanted.disk)
        self.layers: list[Layer] = []

    @property
    def shared(self) -> Sequence[str]:
        """What is open in the directories and was not moved, each with the reason."""
        return self._openings.immovable

    def begin(self) -> None:
        """In the child, before anything else of the user's runs. Raises `CannotOverlay`."""
        try:
            self._begin()
        except OSError as error:
            raise CannotOverlay(
                f"files=: no overlay of {', '.join(map(repr, self._directories))}: "
                f"{mounts.why_not(error)}"
            ) from error

    def _begin(self) -> None:
        mounts.part(self._rights)
        below = [os.open(each, os.O_PATH | os.O_CLOEXEC) for each in self._directories]
        if self._upper is None:
            mounts.mount_memory(self._directories[0], self._wanted.limit)
            upper = self._directories[0]
        else:
            upper = self._upper.files
        parent = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        begun = time.time_ns()
        for number, (directory, fd) in enumerate(zip(self._directories, below, strict=True)):
            self.layers.append(Layer.mounted(directory, fd, parent, number, begun, self._rights))
        os.close(parent)
        self._openings.move()
        mappings.moved[:] = self._openings.maps
        here.append(self)

    def changes(self) -> Changes:
        """What this process, or one that comes from it, did to the files of the directories."""
        return described([each for layer in self.layers for each in layer.differences()])

    def check(self, chosen: Chosen) -> list[list[Difference]]:
        """Before `merge`: what it needs. Raises `FilesChanged` or `UsageError`."""
        found = [list(layer.differences()) for layer in self.layers]
        for layer, each in zip(self.layers, found, strict=True):
            check(each, chosen, layer.begun)
        return found

    def merge(self, found: list[list[Difference]], chosen: Chosen) -> list[str]:
        """Put what was written into what is below; what could not be put there, with the reason.

        Raises OSError.
        """
        left = []
        for layer, each in zip(self.layers, found, strict=True):
            merge = Merge(layer.directory, layer.below, each)
            merge.run(chosen)
            left += merge.left
        return left

    def leave(self) -> None:
        """In a child that is kept: to what the paths lead to below. Raises OSError."""
        openings = Openings.inside(self._directories, open_descriptors())
        for layer in reversed(self.layers):
            mounts.unmount(layer.directory)
            layer.forget()
        if self._upper is None:
            mounts.unmount(self._directories[0])
        openings.move()
        here.remove(self)

    def sweep(self) -> None:
        """In the process that has forked: when the child has ended, remove what was on a disk."""
        if self._upper is not None:
            self._upper.remove()

    def _check_openings(self) -> None:
        if self._wanted.strict and self._openings.immovable:
            raise CannotOverlay(
                "files=: open in there, and not to be moved into an overlay: "
                f"{', '.join(self._openings.immovable)}; close them, or share them with the "
                "original by files_strict=False; nothing was forked"
            )
        total = sum(self._openings.written.values())
        if self._wanted.disk is None and total > self._wanted.limit:
            largest = max(self._openings.written, key=self._openings.written.__getitem__)
            raise CannotOverlay(
                f"files=: {size(total)} are open for writing in there ({largest} and others), "
                f"and would be copied to memory, more than {size(self._wanted.limit)}: close "
                "them, or give files_limit= or files_on_disk=True; nothing was forked"
            )


class Layer:
    """One directory under an overlay, in the process that has it.

    directory: its path.
    below: a descriptor of what is below; upper: of what was written.
    begun: when, in nanoseconds since the epoch.
    """

    def __init__(self, directory: str, below: int, upper: int, begun: int) -> None:
        self.directory, self.begun = directory, begun
        self.below_fd, self.upper_fd = below, upper
        OURS.update((below, upper))

    @classmethod
    def mounted(
        cls, directory: str, below: int, parent: int, number: int, begun: int, rights: mounts.Rights
    ) -> Layer:
        """Mount it, what is written in a new directory of `parent`. Raises OSError."""
        upper, work = (_new_directory(parent, f"{name}{number}") for name in ("upper", "work"))
        attributes.copy(f"/proc/self/fd/{below}", f"/proc/self/fd/{upper}")
        lower = _lower(directory, below)
        try:
            mounts.mount_overlay(directory, lower, upper, work, trusted=rights.trusted)
        finally:
            os.close(work)
        return cls(directory, below, upper, begun)

    @property
    def below(self) -> pathlib.Path:
        """The directory as it was, by a path that leads there whatever is mounted."""
        return pathlib.Path(f"/proc/self/fd/{self.below_fd}")

    @property
    def upper(self) -> pathlib.Path:
        """What was written: see changes.py for what its entries mean."""
        return pathlib.Path(f"/proc/self/fd/{self.upper_fd}")

    def differences(self) -> Iterator[Difference]:
        return differences(self.directory, self.upper, self.below)

    def forget(self) -> None:
        close(self.below_fd)
        close(self.upper_fd)


# The overlays that this process has, the outermost first; the nested ones lie over them.
here: list[Overlay] = []


def keep(files: bool | Paths) -> None:
    """`keep()`: put what was chosen into the files themselves, and use those from now on.

    Raises `FilesChanged`, `UsageError` or `CannotOverlay`.
    """
    chosen = _chooser(files)
    plans = [(each, each.check(chosen)) for each in reversed(here)]
    if not isinstance(files, bool):
        _check_names(
            files, [difference.path for _, plan in plans for each in plan for difference in each]
        )
    try:
        for overlay, plan in plans:
            for left in overlay.merge(plan, chosen):
                say(f"snapshot: not kept: {left}")
        for overlay, _ in plans:
            overlay.leave()
    except OSError as error:
        raise SnapshotError(
            f"keep: not all of the files could be put in place: {error}; the experiment goes on, "
            "and keep() may be called again"
        ) from error


def _chooser(files: bool | Paths) -> Chosen:
    if isinstance(files, bool):
        return lambda path: bool(files)
    places = [_without_links(each) for each in _several(files)]
    return lambda path: is_inside(path, places)


def _check_names(files: Paths, changed: Sequence[str]) -> None:
    for each in _several(files):
        place = _without_links(each)
        if not any(is_inside(path, (place,)) for path in changed):
            raise UsageError(
                f"keep(files=…): nothing was changed in {os.fspath(each)!r}; see changes(); "
                "nothing was kept"
            )


def _several(files: Paths) -> list[Path]:
    return [files] if isinstance(files, str | os.PathLike) else list(files)


def _without_links(path: Path) -> str:
    """Absolute; a link that it names itself stands for itself."""
    head, tail = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(head), tail)


def _lower(directory: str, view: int) -> list[int]:
    """What an overlay of the directory is to read, topmost first, where `view` is what is seen.

    Where it has overlays already their layers are read side by side, since the kernel stacks
    overlays only two high.
    """
    stack = [layer for each in here for layer in each.layers if layer.directory == directory]
    if not stack:
        return [view]
    return [*(layer.upper_fd for layer in reversed(stack)), stack[0].below_fd]


# What has been tried out and works: it is not tried again.
_tried: set[tuple[str, ...]] = set()


def _try_out(directories: tuple[str, ...]) -> None:
    """See in a process that is none of ours whether it can be done. Raises `CannotOverlay`."""
    if directories in _tried:
        return
    code = f"from {mounts.__name__} import try_out; try_out({directories!r})"
    how, reason = process.ask(code)
    if how.code != 0:
        raise CannotOverlay(
            f"files=: no overlay of {', '.join(map(repr, directories))}: {reason or how}; "
            "nothing was forked"
        )
    _tried.add(directories)


def _with_mounts_below(directories: tuple[str, ...]) -> tuple[str, ...]:
    """With the directories below them where other file systems are mounted, outermost first.

    An overlay shows the file system that it lies over alone, so each gets one of its own. Raises
    `CannotOverlay` where that cannot be.
    """
    mounted = {each.point: each.type for each in mounts.table()}  # the topmost of several
    for directory in directories:
        around = max(
            (each for each in mounted if is_inside(directory, (each.rstrip("/"),))), key=len
        )
        if mounted[around] in _NO_FILES:
            raise CannotOverlay(
                f"files={directory!r}: the kernel's file system {mounted[around]} has no files "
                "that could be rolled back; nothing was forked"
            )
    below = {each for each in mounted if is_inside(each, directories)}
    for each in below:
        if mounted[each] in _NO_FILES or not os.path.isdir(each):
            raise CannotOverlay(
                f"files={directories!r}: {each!r} in there is a mount of its own "
                f"({mounted[each]}), which cannot be rolled back: name the directories beside it; "
                "nothing was forked"
            )
    return tuple(sorted({*directories, *below}))


def _new_directory(parent: int, name: str) -> int:
    os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
