"""What runs beside the thread that forks: the other threads, and the children."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any

from snapshot.core import hosts
from snapshot.core.survey.descriptors import Descriptors
from snapshot.core.survey.finding import Finding
from snapshot.core.survey.subject import Subject
from snapshot.core.threads import call_of, descriptors_of

_LOST = 'snapshot(threads="run") if the experiment needs it'
_LIBRARYS = "nothing, if its library makes it again, as OpenMP does: else on_snapshot()"
_STATES = {"R": "runs", "D": "waits for a disk", "T": "is stopped", "t": "is stopped"}
_WAITS = {
    "child": "waits for a child",
    "descriptor": "waits for a descriptor",
    "file lock": "waits for the lock of a file",
    "lock": "waits for a lock",
    "poll": "waits for descriptors",
    "select": "waits for descriptors",
    "signal": "waits for a signal",
    "sleep": "sleeps",
}


def findings(subject: Subject, descriptors: Descriptors) -> Iterator[Finding]:
    """A line for each thread but the one that asks, and for each child."""
    if subject.own and not subject.has_proc:
        yield from _threads_of_python()
    else:
        yield from _threads(subject, descriptors)
    yield from _children(subject)


def _threads(subject: Subject, descriptors: Descriptors) -> Iterator[Finding]:
    import psutil

    known = {each.native_id: each for each in threading.enumerate()} if subject.own else {}
    with contextlib.suppress(psutil.Error):
        for each in subject.process.threads():
            thread = known.get(each.id)
            if thread is threading.current_thread():
                continue
            name = thread.name if thread else f"{each.id} {_comm(subject, each.id)}".rstrip()
            what = f"{name} {_waits_for(subject, each.id, descriptors)}".rstrip()
            if each.id == subject.pid and not subject.own:
                advice = "nothing: it is taken to be the one that forks"
                yield Finding("thread", what, "private", advice)
            elif thread is None:
                yield Finding("thread", what, "lost", _LIBRARYS if subject.own else _LOST)
            else:
                yield Finding("thread", what, *_fate(thread))


def _comm(subject: Subject, tid: int) -> str:
    return subject.read("task", tid, "comm").strip()


def _threads_of_python() -> Iterator[Finding]:
    """Where threads have no numbers by which they could be known."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            yield Finding("thread", thread.name, *_fate(thread))


def _fate(thread: threading.Thread) -> tuple[str, str]:
    """The verdict, and what to do."""
    pools: Any = sys.modules.get("concurrent.futures.thread")
    logs: Any = sys.modules.get("logging.handlers")
    runs = getattr(getattr(thread, "_target", None), "__self__", None)
    if hosts.made_again(thread):
        return "put back", "nothing: it is made again in the experiment"
    if pools is not None and thread in pools._threads_queues:
        return "guarded", "nothing: its pool works in the experiment, with new threads"
    if logs is not None and isinstance(runs, logs.QueueListener):
        return "guarded", "nothing: it runs again in the experiment"
    return "lost", _LOST


def _waits_for(subject: Subject, tid: int, descriptors: Descriptors) -> str:
    call = call_of(tid, subject.pid)
    if call is None:
        # proc(5): the state follows the name, which stands in parentheses.
        state = subject.read("task", tid, "stat").rpartition(") ")[2][:1]
        return _STATES.get(state, "waits") if state else ""
    fds = descriptors_of(call, subject.pid)
    if fds:
        return f"waits for {', '.join(map(descriptors.name, fds))}"
    if call.kind in ("poll", "select") and call.arguments[call.kind == "poll"] == 0:
        return _WAITS["sleep"]
    if call.kind == "lock" and call.arguments[3]:
        return "waits for a lock, or for its turn to run"  # which Python's GIL gives it
    return _WAITS.get(call.kind, f"is in system call {call.number}")


def _children(subject: Subject) -> Iterator[Finding]:
    import psutil

    with contextlib.suppress(psutil.Error):
        for child in subject.process.children():
            with contextlib.suppress(psutil.Error):
                what = f"{child.pid} {child.name()}, {child.status()}"
                advice = "signal it and wait for it in the original alone"
                yield Finding("child", what, "guarded", advice)
