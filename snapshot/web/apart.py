"""Processes in which code of the user runs, apart from the server, and what they have started.

Each has a session of its own, and a mark in its environment that goes down to all that descend
from it: what has left the session, or has lost its parent, is found by that. Beside each waits
another process, which ends all of them where the server was killed and cannot.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

_MARK = "SNAPSHOT_WEB_APART"
_SWEEPS = 50  # in which that is killed which is forked meanwhile

# Reads a session, and then nothing more until the server is no longer there.
_WATCH = f"""
import sys
session = sys.stdin.readline()
sys.stdin.read()
sys.path.append({str(Path(__file__).parents[2])!r})
from snapshot.web import apart
apart.sweep(int(session or -1), sys.argv[1])
"""


class Apart(subprocess.Popen[bytes]):
    """Such a process. mark: of all that descend from it. watch: the process that waits beside."""

    mark: str
    watch: subprocess.Popen[bytes]


def begin(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    pass_fds: Collection[int] = (),
    cwd: str | None = None,
) -> Apart:
    """Start it, as `subprocess.Popen` does. Raises OSError."""
    mark = secrets.token_hex(16)
    watch = _watch(mark)
    try:
        process = Apart(
            command,
            env={**environment, _MARK: mark},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            cwd=cwd,
            start_new_session=True,
        )
    except BaseException:
        _dismiss(watch)
        raise
    process.mark, process.watch = mark, watch
    assert watch.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # somebody has killed it
        watch.stdin.write(f"{process.pid}\n".encode())
    return process


def end(process: Apart) -> None:
    """Kill it, and all that it has started, in whatever session; wait for the process itself."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    sweep(process.pid, process.mark)
    process.wait()
    _dismiss(process.watch)


def sweep(session: int, mark: str) -> None:
    """Kill all that are in that session, or have that mark."""
    for _ in range(_SWEEPS):
        found = False
        for each in _descending(session, mark):
            found = True
            with contextlib.suppress(psutil.Error):
                each.kill()
        if not found:
            break


def _watch(mark: str) -> subprocess.Popen[bytes]:
    """Signals from a terminal do not reach it, and it holds nothing open that is the server's."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _WATCH, mark],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _dismiss(watch: subprocess.Popen[bytes]) -> None:
    watch.kill()
    watch.wait()
    assert watch.stdin is not None
    watch.stdin.close()


def _descending(session: int, mark: str) -> Iterator[psutil.Process]:
    """Those that have not ended."""
    for each in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if each.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(each.pid) == session or each.environ().get(_MARK) == mark:
                yield each
