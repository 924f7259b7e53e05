"""Directories under a private overlay: what an experiment does to their files is its own.

    the path ──→ overlay ──┬── upper: what the experiment wrote, in memory or on a disk
    (in its own mounts)    └── below: the directory as it was, which is only read

Nothing is copied at the snapshot but what is open for writing in those directories.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence

from snapshot.core import mappings, process
from snapshot.core.descriptors import Descriptor, open_descriptors
from snapshot.core.memory import size
from snapshot.core.messages import say
from snapshot.core.rollback import disk, layers, mounts
from snapshot.core.rollback.changes import Changes, described
from snapshot.core.rollback.layers import Layer, Shelf, Stack
from snapshot.core.rollback.merge import Chosen, Merge, check
from snapshot.core.rollback.openings import Openings
from snapshot.core.rollback.wanted import Paths, Wanted, is_inside, paths
from snapshot.errors import CannotOverlay, SnapshotError, UsageError

# File systems that are the kernel's own windows, and hold no files of anybody's.
_NO_FILES = {
    *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts"),
    *("devtmpfs", "efivarfs", "fusectl", "mqueue", "nsfs", "proc", "pstore", "securityfs"),
    *("sysfs", "tracefs"),
}


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
        _see_that_descriptors_are_free(4 + 6 * len(self._directories))
        self._disk = None if wanted.disk is None else disk.Upper(wanted.disk)
        self._layers: list[Layer] = []

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
                f"files=: no overlay of {_named(self._directories)}: {mounts.why_not(error)}"
            ) from error

    def _begin(self) -> None:
        carried = self._part()
        stacks = dict(carried)
        below = [os.open(each, os.O_PATH | os.O_CLOEXEC) for each in self._directories]
        self._shelf = Shelf(self._directories[0], self._wanted.limit)
        space = self._shelf.path(".") if self._disk is None else self._disk.files
        for number, (directory, fd) in enumerate(zip(self._directories, below, strict=True)):
            stack = stacks.get(directory, [fd])
            layer, stacks[directory] = layers.mount(
                directory, fd, stack, space, number, self._rights
            )
            self._layers.append(layer)
        for directory, stack in stacks.items():
            self._shelf.keep(directory, stack)
        for stack in carried.values():
            for fd in stack:
                os.close(fd)
        self._openings.move()
        mappings.moved[:] = self._openings.maps
        here.append(self)

    def _part(self) -> dict[str, Stack]:
        """Get mounts of its own; the layers there are already, of each directory."""
        if here:
            return here[-1]._shelf.carry(lambda: mounts.part(self._rights))
        mounts.part(self._rights)
        return {}

    def changes(self) -> Changes:
        """What this process, or one that comes from it, did to the files of the directories."""
        return described([each for layer in self._layers for each in layer.differences()])

    def check(self, chosen: Chosen) -> list[str]:
        """Before `merges`: the paths of what differs. Raises `FilesChanged` or `UsageError`."""
        changed = []
        for layer in self._layers:
            found = list(layer.differences())
            check(found, chosen, layer.begun, seen=len(here) == 1)
            changed += [each.path for each in found]
        return changed

    def merges(self, chosen: Chosen, inner: Sequence[Merge]) -> list[Merge]:
        """What puts the files of each directory into what is below it."""
        return [
            Merge(layer.directory, layer.upper, layer.below, chosen, inner)
            for layer in self._layers
        ]

    def begin_anew(self) -> None:
        """What was put in place has been taken back, and is not to be seen as changed."""
        for layer in self._layers:
            layer.begun = time.time_ns()

    def leave(self) -> None:
        """In a child that is kept: to what the paths lead to below. Raises OSError."""
        openings = Openings.inside(self._directories, open_descriptors())
        if lost := [each for each in openings.immovable if not each.endswith("(deleted)")]:
            say(f"snapshot: still leads to what is not there any more: {', '.join(lost)}")
        for layer in reversed(self._layers):
            mounts.unmount(layer.directory)
            layer.forget()
        mounts.unmount(self._directories[0])
        self._shelf.forget()
        openings.move()
        here.remove(self)

    def sweep(self) -> None:
        """In the process that has forked: when the child has ended, remove what was on a disk."""
        if self._disk is not None:
            self._disk.remove()

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


# The overlays that this process has, the outermost first; the nested ones lie over them.
here: list[Overlay] = []


def keep(files: bool | Paths) -> None:
    """`keep()`: put what was chosen into the files themselves, and use those from now on.

    Raises `FilesChanged`, `UsageError` or `SnapshotError`.
    """
    chosen = _chooser(files)
    changed = [path for each in here for path in each.check(chosen)]
    if not isinstance(files, bool):
        _check_names(files, changed)
    for merge in _merge(chosen):
        for left in merge.left:
            say(f"snapshot: not kept: {left}")
        merge.clear()
    for overlay in reversed(here):
        overlay.leave()


def _merge(chosen: Chosen) -> list[Merge]:
    """Each overlay into the one below it, and the outermost into the files themselves."""
    done: list[Merge] = []
    try:
        for overlay in reversed(here):
            merges = overlay.merges(chosen, tuple(done))
            for merge in merges:
                done.append(merge)
                merge.prepare()
            for merge in merges:
                merge.perform()
    except BaseException as error:
        for merge in reversed(done):
            merge.take_back()
        for overlay in here:
            overlay.begin_anew()
        if not isinstance(error, OSError):
            raise
        raise SnapshotError(
            f"keep: not all of the files could be put in place: {error}; nothing was kept, and "
            "the files are as they were: keep() may be called again"
        ) from error
    return done


def _chooser(files: bool | Paths) -> Chosen:
    if isinstance(files, bool):
        return lambda path: bool(files)
    places = [_without_links(each) for each in paths("keep: files", files)]
    return lambda path: is_inside(path, places)


def _check_names(files: Paths, changed: Sequence[str]) -> None:
    for each in paths("keep: files", files):
        place = _without_links(each)
        if not any(is_inside(path, (place,)) for path in changed):
            raise UsageError(
                f"keep(files=…): nothing was changed in {each!r}; see changes(); nothing was kept"
            )


def _without_links(path: str) -> str:
    """Absolute; a link that it names itself stands for itself."""
    head, tail = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(head), tail)


def _see_that_descriptors_are_free(count: int) -> None:
    """That many are open in the child while it makes the overlays. Raises OSError."""
    opened: list[int] = []
    try:
        while len(opened) < count:
            opened.append(os.open("/", os.O_PATH | os.O_CLOEXEC))
    finally:
        for fd in opened:
            os.close(fd)


# What has been tried out and works: it is not tried again.
_tried: set[tuple[str, ...]] = set()


def _try_out(directories: tuple[str, ...]) -> None:
    if directories not in _tried:
        if reason := why_not(directories):
            raise CannotOverlay(
                f"files=: no overlay of {_named(directories)}: {reason}; nothing was forked"
            )
        _tried.add(directories)


def why_not(directories: tuple[str, ...]) -> str:
    """Why there can be no overlay of them, tried in a process that is no copy of this one.

    Nothing if there can be. Raises `CannotFork`.
    """
    code = f"from {mounts.__name__} import try_out; try_out({directories!r})"
    how, reason = process.ask(code)
    return "" if how.code == 0 else reason or str(how)


def _with_mounts_below(directories: tuple[str, ...]) -> tuple[str, ...]:
    """With the directories below them where other file systems are mounted, outermost first.

    An overlay shows the file system that it lies over alone, so each gets one of its own. Raises
    `CannotOverlay` where that cannot be.
    """
    mounted = {each.point: each.type for each in mounts.table()}  # the topmost of several
    for directory in directories:
        above = (each for each in mounted if is_inside(directory, (each.rstrip("/"),)))
        kind = mounted[max(above, key=len)]
        if kind in _NO_FILES:
            raise CannotOverlay(
                f"files={directory!r}: {kind} is the kernel's own file system, and has no files "
                "that could be rolled back; nothing was forked"
            )
    below = {each for each in mounted if is_inside(each, directories)}
    for each in below:
        if mounted[each] in _NO_FILES or not os.path.isdir(each):
            raise CannotOverlay(
                f"files=: {each!r} in {_named(directories)} is a mount of its own "
                f"({mounted[each]}), which cannot be rolled back: name the directories beside it; "
                "nothing was forked"
            )
    return tuple(sorted({*directories, *below}))


def _named(directories: Sequence[str]) -> str:
    return ", ".join(map(repr, directories))
