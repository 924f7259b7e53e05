"""What only the interpreter itself knows: its event loops, temporary files, timers."""

from __future__ import annotations

import signal
import weakref
from collections.abc import Iterator
from typing import Any

from snapshot.core.line import duration
from snapshot.core.survey.finding import Finding
from snapshot.core.survey.subject import Subject

_TEMPORARY = "nothing: the original alone deletes it"
_TIMERS = {
    "ITIMER_REAL": signal.ITIMER_REAL,
    "ITIMER_VIRTUAL": signal.ITIMER_VIRTUAL,
    "ITIMER_PROF": signal.ITIMER_PROF,
}


def findings(subject: Subject) -> Iterator[Finding]:
    """Nothing for another process: it cannot be asked."""
    if subject.own:
        yield from _event_loops(subject)
        yield from _temporary(subject)
        yield from _timers()


def _event_loops(subject: Subject) -> Iterator[Finding]:
    for loop in subject.living("asyncio.base_events", "BaseEventLoop"):
        if not loop.is_closed():
            state = "runs" if loop.is_running() else "does not run"
            what = f"{type(loop).__name__}, {state}, {_count(len(_tasks(loop)), 'task')}"
            advice = "nothing: the experiment goes on with a loop of its own"
            yield Finding("event loop", what, "put back", advice)


def _tasks(loop: Any) -> set[Any]:
    import asyncio

    return asyncio.all_tasks(loop)


def _temporary(subject: Subject) -> Iterator[Finding]:
    import tempfile

    directory: Any = tempfile.TemporaryDirectory
    registered: Any = weakref.finalize
    for info in list(registered._registry.values()):
        if getattr(info.func, "__func__", None) is directory._cleanup.__func__:
            yield Finding("temporary", f"{info.args[0]}, a directory", "guarded", _TEMPORARY)
    for closer in subject.living("tempfile", "_TemporaryFileCloser"):
        if closer.delete and not closer.close_called:
            yield Finding("temporary", str(closer.name), "guarded", _TEMPORARY)


def _timers() -> Iterator[Finding]:
    for name, which in _TIMERS.items():
        left, interval = signal.getitimer(which)
        if left:
            again = f", and then every {duration(interval)}" if interval else ""
            what = f"{name} in {duration(left)}{again}"
            advice = "nothing: it stands still while the original waits"
            yield Finding("timer", what, "put back", advice)


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
