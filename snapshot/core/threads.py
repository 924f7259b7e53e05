"""The other threads of this process, which a fork leaves behind; what a thread waits for."""

from __future__ import annotations

import os
import platform
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from snapshot.core import process

# The system calls in which a thread waits: what for, and its number on each kind of machine.
_MACHINES = ("x86_64", "aarch64")
_CALLS = {
    "descriptor": (
        {0, 1, 19, 20, 40, 42, 43, 44, 45, 46, 47, 232, 275, 281, 288, 299, 441},
        {22, 63, 64, 65, 66, 71, 76, 202, 203, 206, 207, 211, 212, 242, 243, 441},
    ),
    "poll": ({7, 271}, {73}),
    "select": ({23, 270}, {72}),
    "lock": ({202, 449}, {98, 449}),
    "sleep": ({35, 230}, {101, 115}),
    "child": ({61, 247}, {95, 260}),
    "signal": ({34, 128, 130}, {133, 137}),
    "file lock": ({72, 73}, {25, 32}),
}
_KINDS = {
    number: kind
    for kind, numbers in _CALLS.items()
    for machine, each in zip(_MACHINES, numbers, strict=True)
    if machine == platform.machine()
    for number in each
}

_POLLFD = struct.Struct("@ihh")  # poll(2)
_MOST = 1024  # descriptors of one poll that are looked at, as many as select(2) takes


class Call(NamedTuple):
    """The system call that a thread is in.

    kind: what it waits for there, a key of the table above; "" for any other call.
    """

    kind: str
    number: int
    arguments: Sequence[int]

    @property
    def on_descriptors(self) -> bool:
        return self.kind in ("descriptor", "poll", "select")


def call_of(tid: int | None, pid: int | str = "self") -> Call | None:
    """The system call that a thread is in; None for one that runs, or where it cannot be known."""
    try:
        # proc(5): the number of the system call, then its arguments; or "running".
        words = Path(f"/proc/{pid}/task/{tid}/syscall").read_text().split()
    except OSError:
        return None
    if not words or not words[0].isdecimal():
        return None
    number, *arguments = (int(word, 0) for word in words)
    return Call(_KINDS.get(number, ""), number, arguments)


def descriptors_of(call: Call, pid: int | str = "self") -> list[int]:
    """The descriptors that a thread of this process waits for; those that can be known."""
    first, second = call.arguments[:2]
    if call.kind in ("descriptor", "file lock"):
        return [first]
    try:
        if call.kind == "poll":
            table = _memory(pid, first, min(second, _MOST) * _POLLFD.size)
            return [fd for fd, _, _ in _POLLFD.iter_unpack(table) if fd >= 0]
        if call.kind == "select":
            places = [each for each in call.arguments[1:4] if each]
            sets = [_memory(pid, each, -(-min(first, _MOST) // 64) * 8) for each in places]
            return sorted({fd for each in sets for fd in _members(each)})
    except (OSError, OverflowError, struct.error):
        pass  # it went on meanwhile, or its memory may not be read
    return []


def alone() -> bool:
    """Whether no other thread runs Python code, whatever module has started it."""
    return len(sys._current_frames()) == 1


def quiet() -> bool:
    """Whether no other thread is in the middle of something: each is Python's, and waits.

    Such a thread goes on by taking the GIL, which we have. Of one that Python does not know (a pool
    of a numerical library) it cannot be said.
    """
    known = len(sys._current_frames())
    if process.thread_count() != known:
        return False
    if known == 1:
        return True
    this = threading.get_native_id()
    return all(
        (call := call_of(int(tid))) is not None and call.kind
        for tid in os.listdir("/proc/self/task")
        if int(tid) != this
    )


def others() -> list[threading.Thread]:
    """The threads beside this one, without those that a host makes again in an experiment."""
    if alone():
        return []
    from snapshot.core.hosts import made_again  # here, since a disposable fork needs no hosts

    current = threading.current_thread()
    return [t for t in threading.enumerate() if t is not current and not made_again(t)]


def described(threads: Iterable[threading.Thread]) -> str:
    """Their names, and which of them are waiting for a socket, a pipe or the like just now."""
    return ", ".join(
        repr(thread.name) + (" (waiting on a descriptor)" if _waits(thread) else "")
        for thread in threads
    )


def _waits(thread: threading.Thread) -> bool:
    call = call_of(thread.native_id)
    return call is not None and call.on_descriptors


def _memory(pid: int | str, address: int, length: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        return os.pread(memory.fileno(), length, address)


def _members(descriptors: bytes) -> Iterator[int]:
    """Those of an `fd_set`, see select(2)."""
    for fd in range(8 * len(descriptors)):
        if descriptors[fd // 8] >> fd % 8 & 1:
            yield fd
