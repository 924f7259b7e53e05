"""Processes that an experiment started and that are still there when it has ended."""

from __future__ import annotations

import os
import time
from typing import Any

from snapshot.core import proc, process

Survivor = tuple[int, str]  # pid and name


def of_this_process() -> list[Survivor]:
    """The children of this process that live, with all that come from them."""
    if not process.has_children():
        return []  # the usual case, known without psutil
    import psutil

    living = []
    for each in psutil.Process().children(recursive=True):
        try:
            if each.status() != psutil.STATUS_ZOMBIE:
                living.append((each.pid, each.name()))
        except psutil.Error:
            continue
    return living


def now() -> float:
    """The time on the clock by which the kernel says when a process was started, in seconds."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.time() if clock is None else time.clock_gettime(clock)


def orphans_since(moment: float) -> list[Survivor]:
    """The orphans in this process's session that were started after `moment`.

    moment: on the clock of `now`.

    For experiments that could not say what they left. What has made a session of its own is not
    found, and neither is what another job of the same shell has started.
    """
    import psutil

    session = os.getsid(0)
    adopters = {each.pid for each in psutil.Process().parents()} | {1}
    if os.getppid() != 1:
        adopters.discard(os.getppid())
    found = []
    for pid in psutil.pids():
        try:
            each = psutil.Process(pid)  # those of `process_iter` may be of one that had this number
            young = _started(each) >= moment - 0.02  # the kernel counts in ticks of 0.01 s
            if young and each.ppid() in adopters and os.getsid(each.pid) == session:
                found.append((each.pid, each.name()))
        except (psutil.Error, OSError):
            continue
    return found


def _started(each: Any) -> float:
    """psutil adds the time of the boot, which is known to the second only."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return float(each.create_time())
    return proc.started(each.pid)
