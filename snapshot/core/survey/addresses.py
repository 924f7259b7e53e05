"""The sockets of a process: where they listen, and whom they lead to."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from snapshot.core.survey.finding import Finding
from snapshot.core.survey.subject import Subject

_CONNECTED = 'snapshot(sockets="drop"), or on_snapshot() to connect anew'
_LISTENS = 'snapshot(sockets="drop"), or both accept clients'
_LISTENING_UNIX = 0x10000  # __SO_ACCEPTCON, in the flags of /proc/net/unix


class Addresses:
    """What is known of the sockets of a process, by their descriptors."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def of(self, fd: int, inode: int | None = None) -> tuple[str, str]:
        """What the socket of that number is, and what to do."""
        connection = self._connections.get(fd)
        if connection is None:
            return "of another family", _CONNECTED
        if connection.family == socket.AF_UNIX:
            path = str(connection.laddr or "")
            if inode in self._listening_unix:
                return f"unix listens on {path}", _LISTENS
            path = path or (_peer(fd) if self._subject.own else "")
            return f"unix {path or 'without a path'}", _CONNECTED
        kind = "tcp" if connection.type == socket.SOCK_STREAM else "udp"
        local, peer = _text(connection.laddr), _text(connection.raddr)
        if connection.status == "LISTEN":
            return f"{kind} listens on {local}", _LISTENS
        return f"{kind} {local} to {peer}" if peer else f"{kind} {local}", _CONNECTED

    def findings(self) -> Iterator[Finding]:
        """One for each, for where nothing else lists them."""
        for fd in sorted(self._connections):
            what, advice = self.of(fd)
            yield Finding("socket", f"{fd} {what}", "shared", advice)

    @cached_property
    def _connections(self) -> dict[int, Any]:
        import psutil

        with contextlib.suppress(psutil.Error, OSError):
            return {each.fd: each for each in self._subject.process.net_connections("all")}
        return {}

    @cached_property
    def _listening_unix(self) -> set[int]:
        """Their inodes; psutil leaves out which of them listen."""
        rows = (line.split() for line in self._subject.read("net", "unix").splitlines()[1:])
        return {int(row[6]) for row in rows if int(row[3], 16) & _LISTENING_UNIX}


def _text(address: Any) -> str:
    if not address:
        return ""
    host = f"[{address.ip}]" if ":" in address.ip else address.ip
    return f"{host}:{address.port}"


def _peer(fd: int) -> str:
    """The path at the other end of a unix socket of this process, which only it can ask for."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as each:
        name = each.getpeername()
        text = name if isinstance(name, str) else os.fsdecode(name)
        path = text.replace("\0", "@", 1)  # so an abstract name is shown everywhere
        return f"to {path}" if path else ""
    return ""
