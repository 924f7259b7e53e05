"""Bytes once: what was buffered before a fork must not appear, or be read, twice."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import os
import stat
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snapshot.core import buffers, census

_libc = ctypes.CDLL(None)
_WRITERS = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)


def flush(*, writers: bool) -> None:
    """Before a fork: write out the standard streams, every other open writer, C's own streams.

    writers: False if no descriptor beside the standard ones is open for writing, so that no writer
    need be searched for. A stream that cannot be flushed (closed, its reader gone) keeps what it
    has. What the garbage collector tracks is frozen afterwards.
    """
    if writers or census.is_needed():
        census.look()
    else:
        census.pass_over()
    _flush_all(census.known(*_WRITERS))


def flush_last() -> None:
    """At the end of a child: the same, without a trace for later."""
    _flush_all(census.known(*_WRITERS))
    for each in gc.get_objects():  # what is new since the fork: not much, as a rule
        if isinstance(each, _WRITERS):
            _flush(each)


def _flush_all(writers: Iterable[Any]) -> None:
    _flush(sys.stdout)
    _flush(sys.stderr)
    if sys.__stdout__ is not sys.stdout:
        _flush(sys.__stdout__)
    if sys.__stderr__ is not sys.stderr:
        _flush(sys.__stderr__)
    for writer in writers:
        _flush(writer)
    _libc.fflush(None)


def part_from_threads() -> None:
    """In a child of a process with several threads: nothing that those were writing is here."""
    buffers.part_from_threads(census.known(*_WRITERS))


def drop_unwritten(descriptors: Iterable[int]) -> None:
    """In a copy: forget what was buffered when it was made, which the original writes.

    descriptors: those that can be written. What is buffered is written to files that nobody reads,
    which stand in their places meanwhile, at the same positions.
    """
    with contextlib.ExitStack() as stack:
        for fd in descriptors:
            with contextlib.suppress(OSError):
                aside, nothing = os.dup(fd), os.memfd_create("snapshot-dropped")
                stack.callback(os.close, aside)
                stack.callback(os.close, nothing)
                with contextlib.suppress(OSError):  # a pipe or a terminal has no position
                    os.lseek(nothing, os.lseek(fd, 0, os.SEEK_CUR), os.SEEK_SET)
                stack.callback(os.dup2, aside, fd, os.get_inheritable(fd))
                os.dup2(nothing, fd)
        flush(writers=True)


def drop_read_ahead() -> int:
    """Forget what this process has read from its standard input and not used; how many bytes.

    What was read ahead belongs to the experiment. A regular file is left alone: its position is
    put back, and what was read ahead is then right again.
    """
    with contextlib.suppress(OSError, ValueError):
        mode = os.fstat(0).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0):
            return _drop_python() + _drop_c()
    return 0


def _flush(stream: Any) -> None:
    try:
        if stream is not None:
            stream.flush()
    except Exception:
        return  # closed, or its reader is gone, or it is a writer of the program's own that fails


def _drop_python() -> int:
    """Read `sys.stdin` to its end while descriptor 0 is an empty file, which never blocks."""
    stdin = sys.__stdin__
    if stdin is None or stdin.closed or stdin.fileno() != 0 or _somebody_reads():
        return 0
    aside = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    try:
        os.dup2(empty, 0)
        return len(stdin.read().encode(stdin.encoding, "surrogateescape"))
    finally:
        os.dup2(aside, 0)
        os.close(aside)
        os.close(empty)


def _somebody_reads() -> bool:
    """Whether another thread waits for standard input, and so holds the lock of `sys.stdin`."""
    if threading.active_count() == 1:
        return False
    for thread in os.listdir("/proc/self/task"):
        call = Path(f"/proc/self/task/{thread}/syscall").read_text().split()
        if call[:2] in (["0", "0x0"], ["63", "0x0"]):  # read(0, …) on x86-64, and on arm64
            return True
    return False


class _CFile(ctypes.Structure):
    """The beginning of glibc's `FILE`: what is buffered lies between the two pointers."""

    _fields_ = (
        ("flags", ctypes.c_int),
        ("read_ptr", ctypes.c_void_p),
        ("read_end", ctypes.c_void_p),
    )


def _drop_c() -> int:
    """The same for C's `stdin`, which Python's own prompt reads where there is no terminal."""
    if not hasattr(_libc, "__fpurge"):
        return 0
    stdin = ctypes.POINTER(_CFile).in_dll(_libc, "stdin")
    unread = (stdin.contents.read_end or 0) - (stdin.contents.read_ptr or 0)
    if unread > 0:
        getattr(_libc, "__fpurge")(stdin)
    return max(0, unread)
