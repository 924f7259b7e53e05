"""What is told of a timeline to those who look from outside: records, as a `sessions.Session`."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterable, Iterator

from snapshot.core import sessions
from snapshot.core.sessions import Announced, Session
from snapshot.core.timeline.drawing import walk
from snapshot.core.timeline.past import Past
from snapshot.core.timeline.records import Timeline
from snapshot.core.timeline.tasks import Task


def told(
    announced: Announced,
    id: str,
    revision: int,
    timeline: Timeline,
    tasks: Iterable[Task],
    past: Past | None,
) -> Session:
    """past: of a program under the debugger."""
    epoch = time.time() - time.monotonic()
    if past is None:
        view, cell = timeline, timeline.cell and sessions.Cell(*timeline.cell)
        here = sessions.Here(timeline.here, timeline.live.at)
    else:
        view, at = past.seen(timeline)
        cell = sessions.Cell(past.position, past.line) if past.runs else None
        here = sessions.Here(past.branch, at, past.line, past.position)
    return Session(
        id=id,
        revision=revision,
        pid=os.getpid(),
        live=timeline.live.pid or 0,
        **announced._asdict(),
        here=here,
        cell=cell,
        states=list(_states(view, epoch, past)),
        branches=[
            sessions.Branch(
                each.number,
                each.root,
                each.at,
                each.pid,
                None if past is None else past.courses[each.number].ended,
            )
            for each in view.branches.values()
        ],
        futures=[_future(each) for each in tasks],
    )


def _states(view: Timeline, epoch: float, past: Past | None) -> Iterator[sessions.State]:
    """In the order in which they are drawn; those that are gone are told once for several."""
    shown: set[int] = set()
    last: int | None = None
    for depth, each, folded in walk(view):
        stop = None if past is None else past.stops.get(each.number)
        # What was folded away lies on the way to its parent.
        parent = each.parent if each.parent in shown or each.parent is None else last
        yield sessions.State(
            number=each.number,
            parent=parent,
            branch=each.branch,
            depth=depth,
            line=each.line,
            made=round(each.made + epoch, 3),
            status=each.status,
            failed=each.failed,
            future=each.future,
            name=each.name,
            pid=each.pid,
            memory=each.memory,
            position=None if stop is None else stop.position,
            stop=stop is None or stop.asked,
            stands_for=folded,
        )
        shown.add(each.number)
        last = each.number


def _future(task: Task) -> sessions.Future:
    how = None if task.how is None else str(task.how)
    fields = {each.name: getattr(task, each.name) for each in dataclasses.fields(task)}
    return sessions.Future(**{**fields, "how": how})
