"""What of this package works on this machine, with this Python: tried, where it can be."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from snapshot.core.disposable import fork_call
from snapshot.core.line import duration
from snapshot.core.memory import why_not_compact
from snapshot.core.rollback import overlay
from snapshot.core.survey.finding import Finding, Survey
from snapshot.errors import SnapshotError

_STRICT = "2"  # of overcommit_memory: proc_sys_vm(5)


def machine() -> Survey:
    """A line for each part of the system that this package uses.

    The verdict is "works", "limited" (a part of it does, or something else takes its place), or
    "missing". A disposable fork, and a process that makes an overlay, try what cannot be known
    otherwise.
    """
    return Survey(check() for check in _CHECKS)


def _python() -> Finding:
    what = f"{platform.python_implementation()} {platform.python_version()}, {sys.platform}"
    if platform.python_implementation() != "CPython":
        return Finding("Python", what, "limited", "use CPython: no other is tested")
    if sys.platform != "linux":
        return Finding("Python", what, "limited", "use Linux: no other system is tested")
    return Finding("Python", what, "works", "nothing")


def _fork() -> Finding:
    began = time.perf_counter()
    try:
        fork_call(int)
    except SnapshotError as error:
        return Finding("fork", str(error), "missing", "raise that limit: nothing works without")
    what = f"{duration(time.perf_counter() - began)} for a disposable fork"
    return Finding("fork", what, "works", "nothing")


def _overcommit() -> Finding:
    try:
        how = Path("/proc/sys/vm/overcommit_memory").read_text().strip()
    except OSError:
        return Finding("memory for forks", "as the system has it", "works", "nothing")
    what = f"vm.overcommit_memory is {how}"
    if how == _STRICT:
        advice = "vm.overcommit_memory=0: else each fork needs as much memory as it may write"
        return Finding("memory for forks", what, "limited", advice)
    return Finding("memory for forks", what, "works", "nothing")


def _gil() -> Finding:
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return Finding("GIL", 'threads="freeze" stops the other threads', "works", "nothing")
    advice = 'threads="run" or "refuse", or set PYTHON_GIL=1'
    return Finding("GIL", 'switched off: no threads="freeze"', "missing", advice)


def _pidfd() -> Finding:
    what = "descriptors of processes"
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return Finding("pidfd", what, "limited", "nothing: pipes take their place")
    return Finding("pidfd", what, "works", "nothing")


def _memfd() -> Finding:
    what = "files in memory"
    try:
        os.close(os.memfd_create("snapshot-doctor"))
    except (AttributeError, OSError):
        return Finding("memfd", what, "limited", "nothing: temporary files take their place")
    return Finding("memfd", what, "works", "nothing")


def _parent_death() -> Finding:
    what = "experiments end with the original"
    if sys.platform == "linux":
        return Finding("prctl", what, "works", "nothing")
    return Finding("prctl", what, "missing", "end them yourself if the original was killed")


def _huge_pages() -> Finding:
    reason = why_not_compact()
    if reason is None:
        return Finding("huge pages", "compact() makes forks cheap", "works", "nothing")
    return Finding("huge pages", reason, "missing", "nothing: compact() does nothing here")


def _overlays() -> Finding:
    what = "snapshot(files=…) rolls files back"
    if sys.platform != "linux":
        return Finding("overlays", what, "missing", "use Linux for snapshot(files=…)")
    with tempfile.TemporaryDirectory() as directory:
        try:
            reason = overlay.why_not((os.path.realpath(directory),))
        except SnapshotError as error:
            reason = str(error)
    if reason:
        return Finding("overlays", what, "missing", reason)
    return Finding("overlays", what, "works", "nothing")


def _other_processes() -> Finding:
    what = "snapshot doctor PID looks at them"
    folder = f"/proc/{os.getppid() or os.getpid()}"
    if not os.path.isdir(folder):
        return Finding("other processes", what, "limited", "nothing: there is no /proc to read")
    try:
        os.listdir(f"{folder}/fd")
    except OSError:
        return Finding("other processes", what, "missing", "run it as their user, or as root")
    try:
        Path(f"{folder}/syscall").read_bytes()
    except OSError:
        advice = "run it as root, or kernel.yama.ptrace_scope=0, to see what threads wait for"
        return Finding("other processes", what, "limited", advice)
    return Finding("other processes", what, "works", "nothing")


_CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _fork,
    _overcommit,
    _gil,
    _pidfd,
    _memfd,
    _parent_death,
    _huge_pages,
    _overlays,
    _other_processes,
)
