"""How long a fork may take, and how much it may grow: set in the fork, watched by its parent."""

from __future__ import annotations

import contextlib
import math
import os
import re
import resource
import time
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from snapshot.core.memory import private_memory
from snapshot.core.process import Child
from snapshot.errors import UsageError


class Limits(NamedTuple):
    """Seconds that a fork has, and bytes that it may grow by; None is without limit."""

    timeout: float | None = None
    memory: int | None = None

    @classmethod
    def of(cls, timeout: float | None, memory: int | str | None) -> Limits:
        """Raises `UsageError`."""
        if timeout is not None and not (isinstance(timeout, Real) and 0 <= timeout < _FOR_EVER):
            raise UsageError(f"timeout={timeout!r} is no time: give seconds, or None for no limit")
        if memory is not None and not os.path.exists("/proc/self/smaps_rollup"):
            raise UsageError(
                f"memory={memory!r} cannot be watched on this system, which does not tell what a "
                "process has for itself alone: leave it out"
            )
        return cls(timeout, None if memory is None else in_bytes("memory", memory))

    @property
    def out_of_time(self) -> str:
        return f"did not end within {self.timeout:g} s: give it more time"

    @property
    def out_of_memory(self) -> str:
        return f"outgrew its memory: more than {self.memory:,} bytes since the fork; give it more"


_FOR_EVER = 1 << 62  # seconds or bytes: more than there will be

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def in_bytes(name: str, size: int | str) -> int:
    """The value of an argument of that name: bytes, or a text as "500M". Raises `UsageError`."""
    amount: float = 0
    if isinstance(size, Real) and not isinstance(size, bool):
        amount = float(size)
    elif isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*(?:([KMGT])(I)?)?(B)?\s*", size.upper())
        if match:
            number, unit, binary, byte = match.groups("")
            amount = float(number) * (1000 if byte and not binary else 1024) ** _UNITS[unit]
    if not 1 <= amount < _FOR_EVER:
        raise UsageError(f'{name}={size!r} is no size: give bytes, or a text as "500M" or "2G"')
    return int(amount)


class Watch:
    """What the parent does about the limits of a child, which it has to be killed for."""

    def __init__(self, limits: Limits, child: Child) -> None:
        self._limits, self._child = limits, child
        self._next_look = 0.0  # at the memory, on the clock of `time.monotonic`
        self._over = limits == Limits()

    def patience(self) -> float:
        """Seconds until `exceeded` has something to do; infinite if it never has."""
        timeout, memory = self._limits
        if self._over:
            return math.inf
        deadline = math.inf if timeout is None else self._child.started + timeout
        moment = deadline if memory is None else min(deadline, self._next_look)
        return max(0.0, moment - time.monotonic())

    def exceeded(self) -> str | None:
        """The name of the limit that is found to be exceeded, once; else None."""
        timeout, memory = self._limits
        now = time.monotonic()
        if self._over:
            return None
        if timeout is not None and now >= self._child.started + timeout:
            self._over = True
            return "timeout"
        if memory is not None and now >= self._next_look:
            if (private_memory(self._child.pid) or 0) > memory:
                self._over = True
                return "memory"
            # The kernel walks the fork's page tables for this: 5 % of the time at most.
            self._next_look = now + max(0.01, 20 * (time.monotonic() - now))
        return None


class DataLimit:
    """In the fork: allocations fail that go further (overwriting is not seen by this)."""

    def __init__(self, growth: int) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_DATA)
        soft, hard = self._before
        with contextlib.suppress(OSError, ValueError):
            status = Path("/proc/self/status").read_bytes()
            now = int(status.partition(b"VmData:")[2].split()[0]) * 1024
            limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
            resource.setrlimit(resource.RLIMIT_DATA, (min([now + growth, *limits]), hard))

    def lift(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_DATA, self._before)
