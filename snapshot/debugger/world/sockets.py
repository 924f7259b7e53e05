"""Sockets, and waiting for descriptors to be ready."""

from __future__ import annotations

import _socket
from collections.abc import Callable
from typing import Any

from snapshot.debugger.world import descriptors
from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.calls import fills, plain
from snapshot.debugger.world.choosing import Function, Kind, hidden, noted, replaced

_Socket: Any = _socket.socket
_fileno = _Socket.fileno


def begins(b: Boundary, name: str, original: Function) -> Function:
    """`socket.socket.__init__`: in a repeat the descriptor is that of an unconnected socket."""

    def remembered(self: Any, *args: Any, **kwargs: Any) -> None:
        def begun() -> tuple[int, ...]:
            original(self, *args, **kwargs)
            return int(self.family), int(self.type), self.proto, _fileno(self)

        b.do(name, begun)

    def repeated(self: Any, *args: Any, **kwargs: Any) -> None:
        family, kind, protocol, number = b.take(name)
        fd = _given(*args, **kwargs)
        if fd is None:
            fd = _unconnected(b, number)
        original(self, family, kind, protocol, fd)

    return replaced(b, original, remembered, repeated)


def _given(
    family: Any = -1, type: Any = -1, proto: Any = -1, fileno: int | None = None
) -> int | None:
    return fileno


def _unconnected(b: Boundary, number: int) -> int:
    return descriptors.moved(b, _Socket(_socket.AF_UNIX, _socket.SOCK_STREAM).detach(), number)


def accepts(b: Boundary, name: str, original: Function) -> Function:
    """`socket._accept`."""

    def repeated(self: Any) -> Any:
        number, address = b.take(name)
        return _unconnected(b, number), address

    return replaced(b, original, noted(b, name, original), repeated)


def selects(b: Boundary, name: str, original: Function) -> Function:
    """`select.select`: which of the objects are ready is remembered by their places."""

    def remembered(*args: Any) -> Any:
        lists: list[Any] = [[], [], []]

        def places() -> list[list[int]]:
            given = [list(each) for each in args[:3]]
            lists[:] = original(*given, *args[3:])
            return [_places(*pair) for pair in zip(given, lists, strict=True)]

        b.do(name, places)
        return tuple(lists)

    def repeated(*args: Any) -> Any:
        given = [list(each) for each in args[:3]]
        found = b.take(name)
        return tuple([_at(*pair) for pair in zip(given, found, strict=True)])

    return replaced(b, original, remembered, repeated)


def _places(given: list[Any], ready: list[Any]) -> list[int]:
    places = {id(each): place for place, each in enumerate(given)}
    return [places[id(each)] for each in ready]


def _at(given: list[Any], places: list[int]) -> list[Any]:
    return [given[place] for place in places]


def encrypted_reads(b: Boundary, name: str, original: Function) -> Function:
    """`ssl` reads into a buffer, or returns the data."""
    returns = plain(b, name, original)
    into = _INTO(b, name, original)

    def read(self: Any, *args: Any) -> Any:
        return (into if len(args) > 1 else returns)(self, *args)

    return hidden(read)


def encrypted_ends(b: Boundary, name: str, original: Function) -> Function:
    """The end of what `ssl` does on a socket gives that socket back."""

    def remembered(self: Any) -> Any:
        given: list[Any] = []

        def ended() -> bool:
            given.append(original(self))
            return given[0] is not None

        b.do(name, ended)
        return given[0]

    def repeated(self: Any) -> Any:
        return self.owner if b.take(name) else None

    return replaced(b, original, remembered, repeated)


def _buffer(position: int) -> Callable[..., list[Any]]:
    def buffers(*args: Any, **kwargs: Any) -> list[Any]:
        return [kwargs["buffer"] if len(args) <= position else args[position]]

    return buffers


def _first(outcome: tuple[int, ...]) -> int:
    return outcome[0]


_INTO: Kind = fills(_buffer(2))
receives: Kind = fills(_buffer(1))
receives_from: Kind = fills(_buffer(1), _first)
receives_messages: Kind = fills(lambda self, buffers, *_: buffers, _first)
