"""Buffers that another thread was writing to at a fork: in the child they are empty, and free.

A buffered file has a lock in C, which a thread holds while the system writes for it. A fork leaves
that thread behind and the lock held: whoever prints in the child would wait for ever. And what the
thread had buffered is written by the original. So the child lets go of such locks and drops the
rest, as CPython does for the locks of its own modules (`_at_fork_reinit`).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import os
import sys
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

_libc = ctypes.CDLL(None)


def part_from_threads(writers: Iterable[Any]) -> None:
    """In a child that was just forked by a process with several threads, before it has any itself.

    writers: those of the original; this thread's own part had been flushed just before the fork.
    """
    streams = {id(each): each for each in (sys.stdout, sys.stderr, *writers) if each is not None}
    for stream in (sys.stdin, *streams.values()):
        _release(getattr(stream, "buffer", stream))
    empty = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    for stream in streams.values():
        _drop(stream, empty)
    os.close(empty)


def _drop(stream: Any, empty: int) -> None:
    """Flush it while its descriptor leads nowhere."""
    try:
        fd = stream.fileno()
        aside, inheritable = os.dup(fd), os.get_inheritable(fd)
    except Exception:  # closed, or of the program's own making
        return
    try:
        os.dup2(empty, fd)
        with contextlib.suppress(Exception):
            stream.flush()
    finally:
        os.dup2(aside, fd, inheritable)
        os.close(aside)


def _release(buffer: object) -> None:
    """Let go of its lock if a thread holds it that is not here."""
    places = _places()
    if places is None or not isinstance(buffer, _BUFFERED):
        return
    words = _words(buffer)
    if words[places.owner] == threading.get_ident() or _is_free(words[places.lock]):
        return
    words[places.owner] = 0
    _libc.sem_post(ctypes.c_void_p(words[places.lock]))


_BUFFERED = (io.BufferedWriter, io.BufferedReader, io.BufferedRandom)


class _Places(NamedTuple):
    """Where in the C structure of a buffered file, counted in words, the lock and its owner are."""

    lock: int
    owner: int


@functools.cache
def _places() -> _Places | None:
    """Found by looking at one whose lock is held; None where locks are not POSIX semaphores."""
    if sys.platform != "linux":
        return None
    probe = _Probe()
    writer = probe.writer = io.BufferedWriter(probe)
    writer.write(b"?")
    writer.flush()
    found = probe.places
    if found is None or not _is_free(_words(writer)[found.lock]):
        return None
    return found


class _Probe(io.RawIOBase):
    """A raw file that looks at its buffer when it is written to, which is when that is locked."""

    writer: io.BufferedWriter
    places: _Places | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        words = _words(self.writer)
        owner = list(words).index(threading.get_ident())
        # Modules/_io/bufferedio.c: `PyThread_type_lock lock; volatile unsigned long owner;`
        if not _is_free(words[owner - 1]):
            self.places = _Places(owner - 1, owner)
        return len(data)


def _words(buffer: Any) -> ctypes.Array[ctypes.c_ulong]:
    size = type(buffer).__basicsize__ // ctypes.sizeof(ctypes.c_ulong)
    return (ctypes.c_ulong * size).from_address(id(buffer))


def _is_free(lock: int) -> bool:
    """Python/thread_pthread.h: a lock is a semaphore with the value 1, or 0 while it is held."""
    value = ctypes.c_int(-1)
    _libc.sem_getvalue(ctypes.c_void_p(lock), ctypes.byref(value))
    return value.value == 1
