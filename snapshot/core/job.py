"""What a disposable fork is to do, and how what came of it is told: both processes know it."""

from __future__ import annotations

import functools
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple

from snapshot.core.limits import Limits
from snapshot.core.rollback.wanted import Wanted
from snapshot.errors import ExceptionNotPicklable, ForkError

Outcome = tuple[Any, BaseException | None]


class Job(NamedTuple):
    """What a fork is to do: both processes know it.

    untouched: whether the process that forks is left as it is: what is buffered there is not
    written, and what is to be guarded is exchanged in the fork alone.
    """

    name: str
    call: Callable[[], Any]
    limits: Limits
    files: Wanted | None = None
    capture: bool = False
    reseed: bool = False
    untouched: bool = False

    def error(self, kind: type[ForkError], what: str, pid: int, **details: Any) -> Any:
        error = kind(f"{self.name}, in fork {pid}, {what}", pid=pid)
        error.__dict__.update(details)
        return error


def name_of(fn: object) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__qualname__", None) or reprlib.repr(fn)


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
