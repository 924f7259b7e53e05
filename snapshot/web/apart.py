"""Processes in which code of the user runs, apart from the server, and what they have started.

Each has a session of its own, and a mark in its environment that goes down to all that descend
from it: what has left the session, or has lost its parent, is found by that.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence

import psutil

_MARK = "SNAPSHOT_WEB_APART"
_SWEEPS = 50  # in which that is killed which is forked meanwhile


class Apart(subprocess.Popen[bytes]):
    """Such a process. mark: of all that descend from it."""

    mark: str


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
    process.mark = mark
    return process


def end(process: Apart) -> None:
    """Kill it, and all that it has started, in whatever session; wait for the process itself."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    for _ in range(_SWEEPS):
        found = False
        for each in _descending(process):
            found = True
            with contextlib.suppress(psutil.Error):
                each.kill()
        if not found:
            break
    process.wait()


def _descending(process: Apart) -> Iterator[psutil.Process]:
    """Those that have not ended."""
    for each in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
            if each.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(each.pid) == process.pid or each.environ().get(_MARK) == process.mark:
                yield each
