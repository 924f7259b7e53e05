"""Time and entropy that types written in C take for themselves, and `input`."""

from __future__ import annotations

import datetime
import os
import sys
import time
import warnings
from _thread import get_ident
from posix import isatty
from typing import Any

from snapshot.debugger.world.boundary import Boundary
from snapshot.debugger.world.choosing import Function, hidden, replaced

_ENTROPY = 2496  # bytes: as many as `random` takes, the size of its state
_time_ns = time.time_ns
_fromtimestamp = datetime.datetime.fromtimestamp


def tells_now(b: Boundary, name: str, original: Any) -> Any:
    """`datetime.now`: what is remembered is the moment, not the object."""

    def now(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if b.aside or get_ident() != b.thread or not _fits_now(args, kwargs):
            return original.__get__(None, cls)(*args, **kwargs)
        return cls.fromtimestamp(_moment(b, name), *args, **kwargs)

    return classmethod(hidden(now))


def tells_utc(b: Boundary, name: str, original: Any) -> Any:
    """`datetime.utcnow`."""

    def utcnow(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if b.aside or get_ident() != b.thread or args or kwargs:
            return original.__get__(None, cls)(*args, **kwargs)
        if sys.version_info >= (3, 12):
            warnings.warn(_DEPRECATED, DeprecationWarning, stacklevel=4)
        at = _fromtimestamp(_moment(b, name), datetime.UTC)
        return cls(*at.timetuple()[:6], at.microsecond, None)

    return classmethod(hidden(utcnow))


_DEPRECATED = (
    "datetime.datetime.utcnow() is deprecated and scheduled for removal in a future version. "
    "Use timezone-aware objects to represent datetimes in UTC: "
    "datetime.datetime.now(datetime.UTC)."
)


def _moment(b: Boundary, name: str) -> float:
    """Exact to the microsecond, as the objects are."""
    microseconds: int = b.take(name) if b.repeating else b.do(name, _microseconds)
    return microseconds / 1e6


def _microseconds() -> int:
    return _time_ns() // 1000


def _fits_now(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    zones = [*args, *kwargs.values()]
    return len(zones) <= 1 and kwargs.keys() <= {"tz"} and all(map(_is_zone, zones))


def _is_zone(value: object) -> bool:
    return value is None or isinstance(value, datetime.tzinfo)


def seeds(b: Boundary, name: str, original: Function) -> Function:
    """`random.Random.seed`, which takes entropy from the system if it is given none."""

    def seed(self: Any, *args: Any) -> Any:
        if args not in ((), (None,)):
            return original(self, *args)
        return original(self, int.from_bytes(os.urandom(_ENTROPY)))

    return replaced(b, original, seed, seed)


def asks(b: Boundary, name: str, original: Function) -> Function:
    """`input`: what a terminal gave is remembered; elsewhere `sys.stdin` is read, as ever."""

    def remembered(*args: Any, **kwargs: Any) -> Any:
        if not _is_terminal():
            return original(*args, **kwargs)
        return b.do(name, b.unheard, original, *args, **kwargs)

    def repeated(*args: Any, **kwargs: Any) -> Any:
        if b.is_next(name):
            return b.take(name)
        if len(args) > 1 or kwargs:
            return original(*args, **kwargs)  # which does not take them
        return _read_line(*args)

    return replaced(b, original, remembered, repeated)


def _is_terminal() -> bool:
    """Whether the original would read the terminal in its own way."""
    try:
        return all(
            stream.fileno() == fd and isatty(fd)
            for fd, stream in enumerate((sys.stdin, sys.stdout))
        )
    except Exception:
        return False  # they are other objects


def _read_line(prompt: object = "", /) -> str:
    """What the original does where there is no terminal."""
    sys.stderr.flush()
    sys.stdout.write(str(prompt))
    sys.stdout.flush()
    line = sys.stdin.readline()
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\n")
