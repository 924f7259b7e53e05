"""epoll instances, which a fork shares: what the child registers would wake the original.

Every event loop on Linux has one (asyncio's, uvloop's, trio's, a server's). Its content is read
from the kernel (proc(5), /proc/PID/fdinfo), so that no loop need be known.
"""

from __future__ import annotations

import ctypes
import os
import platform
import select
from collections.abc import Iterable, Iterator

from snapshot.core.descriptors import Descriptor

_libc = ctypes.CDLL(None, use_errno=True)
_EPOLL_CTL_ADD = 1


class _Event(ctypes.Structure):
    """`struct epoll_event`, which is packed on x86-64 alone."""

    if platform.machine() == "x86_64":
        _pack_ = 1
        _layout_ = "ms"
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


class Epolls:
    """The epoll instances among the descriptors of a process that is about to fork."""

    def __init__(self, descriptors: Iterable[Descriptor]) -> None:
        self._instances = [d.fd for d in descriptors if d.fd > 2 and _is_epoll(d.fd)]
        self._remembered: dict[int, list[tuple[int, _Event]]] = {}

    def __bool__(self) -> bool:
        return bool(self._instances)

    def remember(self) -> None:
        """Before the descriptors that are registered become others: know which they are."""
        self._remembered = {fd: list(_registered(fd)) for fd in self._instances}

    def renew(self) -> None:
        """In the child: replace each by an instance of its own, registrations and all.

        Another thread may have closed one before the fork, and something else have its number.
        """
        for fd in filter(_is_epoll, self._instances):
            registered = self._remembered.get(fd) or list(_registered(fd))
            with select.epoll() as fresh:
                os.dup2(fresh.fileno(), fd, inheritable=os.get_inheritable(fd))
            for target, event in registered:
                _libc.epoll_ctl(fd, _EPOLL_CTL_ADD, target, ctypes.byref(event))


def _is_epoll(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"
    except OSError:
        return False


def _registered(fd: int) -> Iterator[tuple[int, _Event]]:
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        for line in lines:
            if line.startswith("tfd:"):
                _, target, _, events, _, data, *_ = line.replace(":", " ").split()
                yield int(target), _Event(int(events, 16), int(data, 16))
