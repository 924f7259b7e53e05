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
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from snapshot.core import census, ending, guards, line, mappings, proc, resources, streams, threads
from snapshot.core.descriptors import OURS, Descriptor, identity, open_descriptors
from snapshot.core.epoll import Epolls
from snapshot.core.hosts import Guests
from snapshot.core.process import Exit
from snapshot.core.randomness import Randomness
from snapshot.core.sockets import end_of, of_event_loops

_PTMX = (5, 2)  # the device of a pseudo-terminal's master, see pts(4)
_PTS = range(136, 144)  # the major numbers of their slaves
_NOT_TO_OPEN = os.O_CREAT | os.O_EXCL | os.O_TRUNC
_SHOWN = 5
Tell = Callable[[str, Any], None]


def _tell_nobody(subject: str, value: Any) -> None:
    pass


class Copy:
    """What must be known of a process just before a copy of it is forked."""

    def __init__(self, *, flush: bool = True, guard: bool = True, passing: bool = False) -> None:
        """flush: whether what is buffered is written before. guard: whether the copy parts from
        what belongs to the original, see `resources`. passing: whether it is one of many that
        hardly ever wake, and then is an experiment: what would be looked for among all objects, and
        frozen, is looked for when it wakes."""
        self._guards = guard
        self._passing = passing
        with census.not_looking() if passing else contextlib.nullcontext():
            self.guests = Guests(ending=passing)
        self._descriptors = open_descriptors()
        if flush and not passing:
            streams.flush(writers=any(each.writable and each.fd > 2 for each in self._descriptors))
        elif not passing:
            census.pass_over()
        self._epolls = Epolls(self._descriptors)
        self._randomness = Randomness()
        self._alone = threads.alone()
        self._lost = threads.described(threads.others())
        self._closed: list[str] = []
        self._replaced: dict[int, str] = {}
        if guard:
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
        if self._guards:
            resources.forget()
        self.guests.go_on()

    def freeze(self) -> None:
        """In the copy, before the original goes on."""
        self._epolls.remember()
        self._closed = list(_part_from_others(self._descriptors))
        _own_files(self._descriptors)

    def replacements(self) -> list[tuple[int, int]]:
        """Before the fork: what `freeze` would do in the copy, for it to do by itself alone.

        Pairs of a new descriptor, which the caller closes, and the one in whose place the copy is
        to put it.
        """
        self._epolls.remember()
        found, dead = [], -1
        for each in filter(_is_theirs, self._descriptors):
            with contextlib.suppress(OSError):
                if kind := _kind(each.fd):
                    dead = _dead_socket() if dead < 0 else dead
                    found.append((dead, each.fd))
                    self._replaced[each.fd] = _described(each.fd, kind)
                elif _is_read(each):
                    found.append((_opened_again(each.fd), each.fd))
        return found

    def wake(self, tell: Tell = _tell_nobody) -> str:
        """In a copy of the copy, which is live now. Returns what is missing, or nothing.

        tell: as for `Guests.in_experiment`.
        """
        _own_files(self._descriptors)
        if self._passing:
            self._look()
        self._begin(reseed=False, tell=tell)
        missing = [f"without the threads {self._lost}"] if self._lost else []
        if self._closed:
            more = [f"{len(self._closed) - _SHOWN} more"] if len(self._closed) > _SHOWN else []
            missing.append(f"closed: {', '.join([*self._closed[:_SHOWN], *more])}")
        return "; ".join(missing)

    def _look(self) -> None:
        """For what was not looked for before the fork; what was buffered is the original's."""
        streams.drop_unwritten({1, 2, *(each.fd for each in self._descriptors if each.writable)})
        streams.drop_read_ahead()
        resources.prepare()
        own = of_event_loops()
        self._closed = [text for fd, text in self._replaced.items() if fd not in own]

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
        if self._guards:
            resources.take_over()
        self.guests.keep()

    def _begin(self, *, reseed: bool, tell: Tell = _tell_nobody) -> None:
        self._visited, line.here.visiting = line.here.visiting, True
        mappings.moved.clear()
        if not self._alone:
            streams.part_from_threads()
        ending.arm(self._at_end)
        if self._guards:
            resources.lay_aside()
        self.guests.in_experiment(tell)
        self._epolls.renew()
        self._randomness.in_child(reseed=reseed)

    def _at_end(self, how: Exit) -> None:
        self.guests.at_end(_tell_nobody)
        if self._guards:
            resources.finish()

    def guard(self) -> None:
        """In the copy, which parts from what belongs to the original only now."""
        if not self._guards:
            self._guards = True
            resources.prepare()
            resources.lay_aside()


def entered() -> None:
    """The program's own callbacks of `on_snapshot`, once all is right."""
    guards.entered()


def _part_from_others(descriptors: Iterable[Descriptor]) -> Iterator[str]:
    """Let everything that leads to somebody else lead nowhere; yields what each was."""
    dead = -1
    own = of_event_loops()
    for each in filter(_is_theirs, descriptors):
        kind = _kind(each.fd)
        if kind is None:
            continue
        if dead < 0:
            dead = _dead_socket()
        described = _described(each.fd, kind)
        with contextlib.suppress(OSError):
            os.dup2(dead, each.fd, inheritable=os.get_inheritable(each.fd))
            if each.fd not in own:
                yield described
    if dead >= 0:
        os.close(dead)


def _dead_socket() -> int:
    """The descriptor of one that leads nowhere."""
    dead, peer = socket.socketpair()
    peer.close()
    return dead.detach()


def _described(fd: int, kind: str) -> str:
    return (end_of(fd) if kind == "socket" else "") or f"{kind} {fd}"


def _kind(fd: int) -> str | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    if stat.S_ISSOCK(status.st_mode):
        kind = "socket"
    elif stat.S_ISFIFO(status.st_mode):
        kind = "pipe"
    elif stat.S_ISCHR(status.st_mode) and _is_other_terminal(status.st_rdev):
        kind = "terminal"
    else:
        return None
    return None if _is_standard(status) else kind


def _is_other_terminal(device: int) -> bool:
    """Whether it is a pseudo-terminal, and not the one of our session."""
    number = os.major(device), os.minor(device)
    if number[0] in _PTS:
        return device != proc.terminal_of(os.getpid())
    return number == _PTMX


def _is_standard(status: os.stat_result) -> bool:
    """Whether it is what a standard stream leads to, or led to: the program may have put another
    in its place, and have kept the first one to put it back."""
    return (status.st_dev, status.st_ino) in {identity(fd) for fd in (0, 1, 2, *OURS)}


def _own_files(descriptors: Iterable[Descriptor]) -> None:
    """Open the files anew that are read, or locked: a fork shares positions and locks.

    One that is only written keeps the position that all share, so that nothing is overwritten.
    """
    for each in filter(_is_theirs, descriptors):
        with contextlib.suppress(OSError):
            if not _is_read(each):
                continue
            fresh = _opened_again(each.fd)
            try:
                os.dup2(fresh, each.fd, inheritable=os.get_inheritable(each.fd))
            finally:
                os.close(fresh)


def _opened_again(fd: int) -> int:
    """A descriptor of its own for the same file, at the same position."""
    position = os.lseek(fd, 0, os.SEEK_CUR)
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) & ~_NOT_TO_OPEN
    fresh = os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
    try:
        os.lseek(fresh, position, os.SEEK_SET)
    except BaseException:
        os.close(fresh)
        raise
    return fresh


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
