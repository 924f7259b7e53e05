"""epoll instances, which a fork shares: what the child registers would wake the original.

Every event loop on Linux has one (asyncio's, uvloop's, trio's, a server's). Its content is read
from the kernel (proc(5), /proc/PID/fdinfo), so that no loop need be known.
"""

from __future__ import annotations

import ctypes
import os
import platform
import select
from collections.abc import Iterator

from snapshot.core.descriptors import open_descriptors

_libc = ctypes.CDLL(None, use_errno=True)


class _Event(ctypes.Structure):
    """`struct epoll_event`, which is packed on x86-64 alone."""

    if platform.machine() == "x86_64":
        _pack_ = 1
        _layout_ = "ms"
    _fields_ = (("events", ctypes.c_uint32), ("data", ctypes.c_uint64))


def renew() -> None:
    """Replace each epoll instance by one of this process's own, registrations and all."""
    if not hasattr(select, "epoll"):
        return
    for descriptor in open_descriptors():
        if _is_epoll(descriptor.fd):
            _renew(descriptor.fd)


def _is_epoll(fd: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]"
    except OSError:
        return False


def _renew(fd: int) -> None:
    registered = list(_registered(fd))
    with select.epoll() as fresh:
        os.dup2(fresh.fileno(), fd, inheritable=os.get_inheritable(fd))
    for target, event in registered:
        _libc.epoll_ctl(fd, 1, target, ctypes.byref(event))  # 1: EPOLL_CTL_ADD


def _registered(fd: int) -> Iterator[tuple[int, _Event]]:
    with open(f"/proc/self/fdinfo/{fd}") as lines:
        for line in lines:
            if line.startswith("tfd:"):
                _, target, _, events, _, data, *_ = line.replace(":", " ").split()
                yield int(target), _Event(int(events, 16), int(data, 16))
