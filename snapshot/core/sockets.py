"""The sockets that a fork shares: named, or with `sockets="drop"` dead in the experiment."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from snapshot.core import census
from snapshot.core.descriptors import Descriptor

_SHOWN = 5


class Sockets:
    """The sockets among the descriptors of a process that is about to fork.

    Those that an event loop wakes itself by are its own business, and the standard streams too.
    """

    def __init__(self, descriptors: Iterable[Descriptor]) -> None:
        candidates = [each.fd for each in descriptors if each.fd > 2 and _is_socket(each.fd)]
        own = _of_event_loops() if candidates else set()
        self._fds = [fd for fd in candidates if fd not in own]

    def described(self) -> str:
        """Those that lead over a network: `127.0.0.1:5432, a server on 0.0.0.0:80`; or nothing."""
        ends = [end for fd in self._fds if (end := _end_of(fd))]
        more = [f"{len(ends) - _SHOWN} more"] if len(ends) > _SHOWN else []
        return ", ".join([*ends[:_SHOWN], *more])

    def drop(self) -> None:
        """In the child: replace each by a socket whose peer is gone: nothing is read or sent."""
        if not self._fds:
            return
        dead, peer = socket.socketpair()
        peer.close()
        for fd in self._fds:
            with contextlib.suppress(OSError):
                os.dup2(dead.fileno(), fd, inheritable=os.get_inheritable(fd))
        dead.close()


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def _of_event_loops() -> set[int]:
    events: Any = sys.modules.get("asyncio.base_events")
    return set(wakers(census.known(events.BaseEventLoop))) if events else set()


def wakers(loops: Iterable[Any]) -> Iterator[int]:
    """The sockets by which these event loops of asyncio wake themselves."""
    for loop in loops:
        for name in ("_ssock", "_csock"):
            if (each := getattr(loop, name, None)) is not None:
                yield each.fileno()


def _end_of(fd: int) -> str:
    """Whom it leads to, or where it listens; nothing for what stays on this machine's own paths."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as each:
        if each.family not in (socket.AF_INET, socket.AF_INET6):
            return ""
        try:
            host, port, *_ = each.getpeername()
        except OSError:
            host, port, *_ = each.getsockname()
            return f"a server on {host}:{port}" if port else ""
        return f"{host}:{port}"
    return ""
