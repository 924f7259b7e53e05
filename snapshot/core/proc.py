"""What the kernel says about a process that may be another one's child: proc(5)."""

from __future__ import annotations

import contextlib
import os

_PF_EXITING = 0x4  # of its flags: include/linux/sched.h


def is_stopped(pid: int) -> bool:
    """Whether it was stopped by a signal, and not continued."""
    return _stat(pid)[0] == b"T"


def is_ending(pid: int) -> bool:
    """Whether it is on its way out: its descriptors are closed before it has ended."""
    state, *_ = fields = _stat(pid)
    return state in (b"Z", b"X") or bool(int(fields[6]) & _PF_EXITING)


def parent_of(pid: int) -> int:
    """Its parent, 0 if it is gone."""
    return int(_stat(pid)[1])


def terminal_of(pid: int) -> int:
    """The device of its controlling terminal, 0 if it has none or is gone."""
    return int(_stat(pid)[4])


def started(pid: int) -> float:
    """When it was, in seconds on the clock CLOCK_BOOTTIME, by ticks of 0.01 s; 0 if it is gone."""
    return int(_stat(pid)[19]) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name; those of a dead one if it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()
    return [b"X", *[b"0"] * 20]
