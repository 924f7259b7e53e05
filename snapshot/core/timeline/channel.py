"""Messages between the supervisor and a process of the timeline.

A socket that keeps messages apart (unix(7), SOCK_SEQPACKET); what is larger than fits goes through
a file in memory, whose descriptor is sent along. The descriptors have high numbers, out of the way
of the program's own.
"""

from __future__ import annotations

import _socket
import array
import contextlib
import errno
import fcntl
import os
import pickle
import resource
import socket
from collections.abc import Iterable, Sequence
from typing import Any

from snapshot.core.descriptors import OURS, identity

_SMALL = 1 << 15  # bytes of a message that is sent by itself
_MOST_DESCRIPTORS = 8
_HIGH = 64


class _End(_socket.socket):
    """Not `socket.socket`, which others replace by one of theirs.

    It closes nothing when it is collected: another descriptor may have the number by then, and at
    the end of Python a process that still closed it would seem to have become another program.
    """

    def __del__(self) -> None:
        self.detach()


class Channel:
    """One end of it. Messages are what pickle takes."""

    def __init__(self, fd: int) -> None:
        """Takes the descriptor over."""
        self._fd = high(fd)
        self._identity = identity(self._fd)
        self._end = _End(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, self._fd)
        self._end.settimeout(None)  # whatever the program's default is

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one.detach()), cls(other.detach())

    def __reduce__(self) -> Any:
        raise TypeError("the connection of a process to its timeline is its own")

    def fileno(self) -> int:
        return self._fd

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        """Raises OSError where nobody is at the other end any more."""
        data = pickle.dumps(message, 5)
        large = len(data) > _SMALL
        sent = list(descriptors)
        with contextlib.ExitStack() as stack:
            if large:
                file = os.memfd_create("snapshot-message")
                stack.callback(os.close, file)
                _write(file, data)
                sent.append(file)
                data = b""
            each = array.array("i", sent)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, each)] if sent else []
            self._check()
            self._end.sendmsg([bytes([large]) + data], rights, socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[Any, list[int]] | None:
        """The next message and the descriptors with it; None when the other end is gone."""
        self._check()
        room = socket.CMSG_SPACE(_MOST_DESCRIPTORS * 4)
        try:
            data, rights = self._received(room)
        except ConnectionResetError:  # it has closed with something unread; what it sent comes next
            data, rights = self._received(room)
        descriptors = array.array("i")
        for _, _, each in rights:
            descriptors.frombytes(each[: len(each) - len(each) % descriptors.itemsize])
        if not data:
            return None
        received = descriptors.tolist()
        if not data[0]:
            return pickle.loads(data[1:]), received
        with open(received.pop(), "rb") as file:
            file.seek(0)
            return pickle.load(file), received

    def _received(self, room: int) -> tuple[bytes, list[Any]]:
        return self._end.recvmsg(2 * _SMALL, room, socket.MSG_CMSG_CLOEXEC)[:2]

    def close(self) -> None:
        OURS.discard(self._fd)
        if self._fd >= 0 and identity(self._fd) == self._identity:
            os.close(self._fd)
        self._fd = -1

    def _check(self) -> None:
        if identity(self._fd) != self._identity:  # the program may have closed or replaced it
            raise OSError(errno.EBADF, "its descriptor was closed")


def high(fd: int) -> int:
    """The same descriptor as one of our own: under a number that programs do not count on."""
    try:
        ours = duplicate(fd)
    finally:
        os.close(fd)
    OURS.add(ours)
    return ours


def duplicate(fd: int) -> int:
    """Another descriptor for the same, with a high number; of few, one in the upper half."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, min(_HIGH, max(3, most // 2)))


def close_all(descriptors: Iterable[int]) -> None:
    for fd in descriptors:
        with contextlib.suppress(OSError):
            os.close(fd)


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
