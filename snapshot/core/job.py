"""What a disposable fork is to do, and how what came of it is told: both processes know it."""

from __future__ import annotations

import functools
import os
import re
import reprlib
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

from snapshot.errors import (
    ExceptionNotPicklable,
    ForkError,
    UsageError,
)

Outcome = tuple[Any, BaseException | None]


class Limits(NamedTuple):
    """Seconds that a fork has, and bytes that it may grow by; None is without limit."""

    timeout: float | None
    memory: int | None

    @classmethod
    def of(cls, timeout: float | None, memory: int | str | None) -> Limits:
        if timeout is not None and not (isinstance(timeout, Real) and 0 <= timeout < _FOR_EVER):
            raise UsageError(f"timeout={timeout!r} is no time: give seconds, or None for no limit")
        if memory is not None and not os.path.exists("/proc/self/smaps_rollup"):
            raise UsageError(
                f"memory={memory!r} cannot be watched on this system, which does not tell what a "
                "process has for itself alone: leave it out"
            )
        return cls(timeout, None if memory is None else _bytes(memory))


_FOR_EVER = 1 << 62  # seconds or bytes: more than there will be

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def _bytes(size: int | str) -> int:
    amount: float = 0
    if isinstance(size, Real) and not isinstance(size, bool):
        amount = float(size)
    elif isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(?:([KMGT])(I)?)?(B)?\s*", size.upper())
        if match:
            number, unit, binary, byte = match.groups("")
            amount = float(number) * (1000 if byte and not binary else 1024) ** _UNITS[unit]
    if not 1 <= amount < _FOR_EVER:
        raise UsageError(f'memory={size!r} is no size: give bytes, or a text as "500M" or "2G"')
    return int(amount)


class Job(NamedTuple):
    """What a fork is to do: both processes know it."""

    name: str
    call: Callable[[], Any]
    limits: Limits
    capture: bool = False
    reseed: bool = False

    def error(self, kind: type[ForkError], what: str, pid: int, **details: Any) -> Any:
        error = kind(f"{self.name}, in fork {pid}, {what}", pid=pid)
        error.__dict__.update(details)
        return error


def name_of(fn: object) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__qualname__", None) or reprlib.repr(fn)


def over(memory: int) -> str:
    return f"outgrew its memory: more than {memory:,} bytes since the fork; give it more"


def lost(job: Job, pid: int, type_name: str, text: str, problem: object) -> ExceptionNotPicklable:
    what = (
        f"raised {type_name}, which cannot be brought back: {problem}; give it a `__reduce__`"
        f"\n\n{text}"
    )
    details = {"type_name": type_name, "traceback": text}
    lost: ExceptionNotPicklable = job.error(ExceptionNotPicklable, what, pid, **details)
    return lost


# What a file that comes back has in it.
RETURNED, RAISED, FAILED = 1, 2, 3
Record = tuple[int, bytes, list[memoryview]]
