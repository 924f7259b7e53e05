"""The other threads of this process, which a fork leaves behind."""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

from snapshot.core.hosts import made_again

# Numbers of the system calls that wait for descriptors: reading, writing, connecting, polling.
_WAITING = {
    "x86_64": {0, 1, 7, 19, 20, 23, 42, 43, 44, 45, 46, 47, 232, 270, 271, 281, 288},
    "aarch64": {22, 63, 64, 65, 66, 72, 73, 202, 203, 206, 207, 211, 212, 242},
}.get(platform.machine(), set())


def alone() -> bool:
    """Whether no other thread runs Python code, whatever module has started it."""
    return len(sys._current_frames()) == 1


def others() -> list[threading.Thread]:
    """The threads beside this one, without those that a host makes again in an experiment."""
    if alone():
        return []
    current = threading.current_thread()
    return [t for t in threading.enumerate() if t is not current and not made_again(t)]


def described(threads: Iterable[threading.Thread]) -> str:
    """Their names, and which of them are waiting for a socket, a pipe or the like just now."""
    return ", ".join(
        repr(thread.name) + (" (waiting on a descriptor)" if _waits(thread) else "")
        for thread in threads
    )


def _waits(thread: threading.Thread) -> bool:
    try:
        # proc(5): the number of the system call, then its arguments; or "running".
        call = Path(f"/proc/self/task/{thread.native_id}/syscall").read_text().split()[0]
    except (OSError, IndexError):
        return False
    return call.isdecimal() and int(call) in _WAITING
