"""The sockets that a fork shares: named, or with `sockets="drop"` dead in the experiment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
import sys
import termios
from collections.abc import Iterable, Iterator
from typing import Any

from snapshot.core import census, modules
from snapshot.core.descriptors import Descriptor

_SHOWN = 5


class Sockets:
    """The sockets among the descriptors of a process that is about to fork.

    Those that an event loop wakes itself by are its own business, and the standard streams too.
    """

    def __init__(self, descriptors: Iterable[Descriptor]) -> None:
        candidates = [each.fd for each in descriptors if each.fd > 2 and _is_socket(each.fd)]
        own = of_event_loops() if candidates else set()
        self._fds = [fd for fd in candidates if fd not in own]
        self._before = {fd: _traffic(fd) for fd in self._fds}

    def described(self) -> str:
        """Those that lead over a network: `127.0.0.1:5432, a server on 0.0.0.0:80`; or nothing."""
        return _first([end for fd in self._fds if (end := end_of(fd))])

    def used(self) -> str:
        """Those to which something was written, or from which something was read, since then.

        `127.0.0.1:5432 (12 bytes sent, 40 received)`; or nothing. Of TCP alone it is known.
        """
        found = []
        for fd, before in self._before.items():
            after = _traffic(fd)
            if before is None or after is None or after == before:
                continue
            sent, received = after[0] - before[0], after[1] - before[1]
            found.append(f"{end_of(fd)} ({sent} bytes sent, {received} received)")
        return _first(found)

    def drop(self) -> None:
        """In the child: replace each by a socket whose peer is gone: nothing is read or sent.

        Another thread may have closed one before the fork, and something else have its number.
        """
        sockets = [fd for fd in self._fds if _is_socket(fd)]
        if not sockets:
            return
        dead, peer = socket.socketpair()
        peer.close()
        for fd in sockets:
            with contextlib.suppress(OSError):
                os.dup2(dead.fileno(), fd, inheritable=os.get_inheritable(fd))
        dead.close()


def _first(texts: list[str]) -> str:
    more = [f"{len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return ", ".join([*texts[:_SHOWN], *more])


# Where `struct tcp_info` of <linux/tcp.h> has what was received, what is not sent yet, and what was
# sent, once and again.
_RECEIVED, _NOT_SENT, _SENT, _INFO_SIZE = 128, 144, 200, 216


def _traffic(fd: int) -> tuple[int, int] | None:
    """Bytes that were ever written to a connection, and read from it; None where not known."""
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as each:
        if each.family not in (socket.AF_INET, socket.AF_INET6) or each.type != socket.SOCK_STREAM:
            return None
        info = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        if len(info) < _INFO_SIZE:  # before Linux 4.19
            return None
        (received,) = struct.unpack_from("Q", info, _RECEIVED)
        (waiting,) = struct.unpack_from("I", info, _NOT_SENT)
        sent, again = struct.unpack_from("QQ", info, _SENT)
        unread = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]
        return sent - again + waiting, received - unread
    return None


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:
        return False


def of_event_loops() -> set[int]:
    """Those by which the event loops of asyncio wake themselves."""
    events: Any = modules.loaded("asyncio.base_events")
    return set(wakers(census.known(events.BaseEventLoop))) if events else set()


def wakers(loops: Iterable[Any]) -> Iterator[int]:
    """The sockets by which these event loops of asyncio wake themselves."""
    for loop in loops:
        for name in ("_ssock", "_csock"):
            if (each := getattr(loop, name, None)) is not None:
                yield each.fileno()


def end_of(fd: int) -> str:
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
