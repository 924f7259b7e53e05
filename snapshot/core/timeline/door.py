"""The socket at which the supervisor answers whoever looks from outside; see `core.sessions`.

Nothing that happens here delays the supervisor, or ends it: it reads and writes what is possible at
once, a connection that does not keep to the rules is closed, and where there can be no socket there
is none.
"""

from __future__ import annotations

import _socket
import contextlib
import json
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snapshot.core import descriptors, sessions
from snapshot.core.timeline.channel import high

_MOST_CLIENTS = 16
_WAITING = 128  # connections that are not accepted yet
_LONGEST = 4096  # bytes of a request
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: see unix(7)

Answer = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(eq=False)
class _Client:
    """A connection. asked: the request that is answered later. unsent: of the answer."""

    end: _socket.socket
    data: bytes = b""
    asked: dict[str, Any] | None = None
    unsent: bytes | memoryview = b""

    @property
    def is_served(self) -> bool:
        """Whether it is not its turn to speak."""
        return self.asked is not None or bool(self.unsent)


class Door:
    """Such a socket, in the supervisor alone."""

    def __init__(self, answer: Answer) -> None:
        """answer: what is answered to a request; None as long as there is nothing to tell."""
        self._answer = answer
        self._listener: _socket.socket | None = None
        self._folder = -1
        self._clients: dict[int, _Client] = {}  # who was heard last comes last
        self.name = sessions.name_of(os.getpid())

    def open(self) -> None:
        """Be found from now on, if that can be."""
        try:
            (self._folder,) = map(high, sessions.opened(make=True))
            self._listener = _end(_socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach())
            path = sessions.path_in(self._folder, self.name)
            self._listener.bind(path)
            os.chmod(path, 0o600)
            self._listener.listen(_WAITING)
        except (OSError, ValueError):
            self.close()

    def close(self) -> None:
        """Be found no more."""
        for client in list(self._clients.values()):
            self._drop(client)
        if self._listener is not None:
            descriptors.close(self._listener.detach())
            self._listener = None
        if self._folder >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self.name, dir_fd=self._folder)
            descriptors.close(self._folder)
            self._folder = -1

    def register(self, poll: select.poll) -> None:
        """What there is to wait for."""
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        for fd, client in self._clients.items():
            poll.register(fd, select.POLLOUT if client.unsent else select.POLLIN)

    def serve(self, fd: int) -> bool:
        """Do what is to be done there, if it is a descriptor of this one's; whether it is."""
        if self._listener is not None and fd == self._listener.fileno():
            self._accept()
        elif fd in self._clients:
            self._serve(self._clients[fd])
        else:
            return False
        return True

    def answer_those_who_wait(self) -> None:
        """For something has happened."""
        for client in list(self._clients.values()):
            if client.asked is not None:
                self._reply(client)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
            client = _Client(_end(fd))
            self._clients[client.end.fileno()] = client
            peer = client.end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is free: it would be asked for again and again
            self.close()
            return
        if _CREDENTIALS.unpack(peer)[1] != os.geteuid():
            self._drop(client)
        elif len(self._clients) > _MOST_CLIENTS:
            self._drop(next(iter(self._clients.values())))

    def _serve(self, client: _Client) -> None:
        try:
            if client.unsent:
                self._send(client)
            elif not self._read(client):
                self._drop(client)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)

    def _read(self, client: _Client) -> bool:
        """False where the connection is to be closed."""
        data = client.end.recv(_LONGEST)
        if not data or client.is_served or len(client.data) + len(data) > _LONGEST:
            return False
        client.data += data
        line, end, more = client.data.partition(b"\n")
        if not end:
            return True
        try:
            request = json.loads(line)
            if more or request["version"] != sessions.VERSION:
                return False
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        client.data, client.asked = b"", request
        self._clients[client.end.fileno()] = self._clients.pop(client.end.fileno())
        self._reply(client)
        return True

    def _reply(self, client: _Client) -> None:
        assert client.asked is not None
        try:
            answer = self._answer(client.asked)
            if answer is None:
                return
            client.asked, client.unsent = None, memoryview(sessions.line_of(answer))
            self._send(client)
        except BlockingIOError:
            return
        except Exception:  # whatever it is, it must not cost the user the session
            self._drop(client)

    def _send(self, client: _Client) -> None:
        sent = client.end.send(client.unsent, socket.MSG_NOSIGNAL)
        client.unsent = client.unsent[sent:]

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.end.fileno(), None) is not None:
            descriptors.close(client.end.detach())


def _end(fd: int) -> _socket.socket:
    """Not `socket.socket`, which others replace by one of theirs. It does not block."""
    end = _socket.socket(fileno=high(fd))
    end.setblocking(False)
    return end
