"""What is put right in a copy of a process of the timeline: when it freezes, and when it wakes.

A copy that is frozen holds no pipe, no socket and no lock of the original's, so that their other
ends see what the original does with them; the files that it reads have positions of its own. What
else must be seen to waits until a copy wakes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterable, Iterator

from snapshot.core import census, ending, guards, line, mappings, resources, streams, threads
from snapshot.core.descriptors import OURS, Descriptor, open_descriptors
from snapshot.core.epoll import Epolls
from snapshot.core.hosts import Guests
from snapshot.core.process import Exit
from snapshot.core.randomness import Randomness
from snapshot.core.sockets import end_of, of_event_loops

_PTMX = (5, 2)  # the device of a pseudo-terminal's master, see pts(4)
_PTS = range(136, 144)  # the major numbers of their slaves
_NOT_TO_OPEN = os.O_CREAT | os.O_EXCL | os.O_TRUNC
_SHOWN = 5


class Copy:
    """What must be known of a process just before a copy of it is forked."""

    def __init__(self, *, flush: bool = True) -> None:
        """flush: whether what is buffered is written before."""
        self.guests = Guests()
        self._descriptors = open_descriptors()
        if flush:
            streams.flush(writers=any(each.writable and each.fd > 2 for each in self._descriptors))
        else:
            census.pass_over()
        self._epolls = Epolls(self._descriptors)
        self._randomness = Randomness()
        self._alone = threads.alone()
        self._lost = threads.described(threads.others())
        self._closed: list[str] = []
        resources.prepare()
        ending.prepare()

    @property
    def others_run(self) -> bool:
        """Whether threads or an event loop may run while this one does nothing."""
        return not self._alone or bool(self._epolls)

    @property
    def shares(self) -> bool:
        """Whether there is anything for `freeze` to see to."""
        theirs = filter(_is_theirs, self._descriptors)
        return bool(self._epolls) or any(_kind(each.fd) or _is_read(each) for each in theirs)

    def go_on(self) -> None:
        """In the process that was copied, or could not be."""
        resources.forget()
        self.guests.go_on()

    def freeze(self) -> None:
        """In the copy, before the original goes on."""
        self._epolls.remember()
        self._closed = list(_part_from_others(self._descriptors))
        _own_files(self._descriptors)

    def wake(self) -> str:
        """In a copy of the copy, which is live now. Returns what is missing, or nothing."""
        _own_files(self._descriptors)
        self._begin(reseed=False)
        missing = [f"without the threads {self._lost}"] if self._lost else []
        if self._closed:
            more = [f"{len(self._closed) - _SHOWN} more"] if len(self._closed) > _SHOWN else []
            missing.append(f"closed: {', '.join([*self._closed[:_SHOWN], *more])}")
        return "; ".join(missing)

    def work(self) -> None:
        """In the copy, which runs in the background from the start."""
        _own_files(self._descriptors)
        self._begin(reseed=True)

    def replace(self, pid: int) -> None:
        """In a fork that goes on in the place of the process `pid`, which runs no more of this."""
        self._begin(reseed=False)
        self.succeed(pid)

    def succeed(self, pid: int) -> None:
        """The process `pid` has died; this copy takes its place, and what was its own is ours."""
        line.here.before.add(pid)
        line.here.visiting = self._visited
        if self._visited:
            return  # what is laid aside may also be that of the process which was there first
        ending.disarm()
        resources.take_over()
        self.guests.keep()

    def _begin(self, *, reseed: bool) -> None:
        self._visited, line.here.visiting = line.here.visiting, True
        mappings.moved.clear()
        if not self._alone:
            streams.part_from_threads()
        ending.arm(self._at_end)
        resources.lay_aside()
        self.guests.in_experiment(lambda *_: None)
        self._epolls.renew()
        self._randomness.in_child(reseed=reseed)

    def _at_end(self, how: Exit) -> None:
        self.guests.at_end(lambda *_: None)
        resources.finish()


def entered() -> None:
    """The program's own callbacks of `on_snapshot`, once all is right."""
    guards.entered()


def _part_from_others(descriptors: Iterable[Descriptor]) -> Iterator[str]:
    """Let everything that leads to somebody else lead nowhere; yields what each was."""
    dead: socket.socket | None = None
    own = of_event_loops()
    for each in filter(_is_theirs, descriptors):
        kind = _kind(each.fd)
        if kind is None:
            continue
        if dead is None:
            dead, peer = socket.socketpair()
            peer.close()
        described = end_of(each.fd) if kind == "socket" else ""
        with contextlib.suppress(OSError):
            os.dup2(dead.fileno(), each.fd, inheritable=os.get_inheritable(each.fd))
            if each.fd not in own:
                yield described or f"{kind} {each.fd}"
    if dead is not None:
        dead.close()


def _kind(fd: int) -> str | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    if stat.S_ISSOCK(status.st_mode):
        return "socket"
    if stat.S_ISFIFO(status.st_mode):
        return "pipe"
    if stat.S_ISCHR(status.st_mode):
        device = os.major(status.st_rdev), os.minor(status.st_rdev)
        if device == _PTMX or (device[0] in _PTS and status.st_rdev not in _standard_terminals()):
            return "terminal"
    return None


def _standard_terminals() -> set[int]:
    """The terminals that the standard streams are."""
    found = set()
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            found.add(os.fstat(fd).st_rdev)
    return found


def _own_files(descriptors: Iterable[Descriptor]) -> None:
    """Open the files anew that are read, or locked: a fork shares positions and locks.

    One that is only written keeps the position that all share, so that nothing is overwritten.
    """
    for each in filter(_is_theirs, descriptors):
        with contextlib.suppress(OSError):
            if not _is_read(each):
                continue
            position = os.lseek(each.fd, 0, os.SEEK_CUR)
            flags = fcntl.fcntl(each.fd, fcntl.F_GETFL) & ~_NOT_TO_OPEN
            fresh = os.open(f"/proc/self/fd/{each.fd}", flags | os.O_CLOEXEC)
            try:
                os.lseek(fresh, position, os.SEEK_SET)
                os.dup2(fresh, each.fd, inheritable=os.get_inheritable(each.fd))
            finally:
                os.close(fresh)


def _is_theirs(descriptor: Descriptor) -> bool:
    return descriptor.fd > 2 and descriptor.fd not in OURS


def _is_read(descriptor: Descriptor) -> bool:
    """Whether it is a file that is read, or locked."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor.fd).st_mode):
            return False
        return descriptor.readable or _is_locked(descriptor.fd)
    except OSError:
        return False


def _is_locked(fd: int) -> bool:
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        return any(line.startswith("lock:") for line in lines)
