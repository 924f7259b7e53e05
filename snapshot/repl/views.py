"""What a person looks at: the tree of states, the futures, the variables of all states."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from snapshot.core.line import duration, table
from snapshot.core.memory import size
from snapshot.core.timeline.records import Timeline
from snapshot.core.timeline.tasks import Task
from snapshot.repl.archive import Variables
from snapshot.repl.picture import picture


class Tree(str):
    """The tree of states as text, shown as it is; in a notebook, a picture."""

    _timeline: Timeline

    def __new__(cls, text: str, timeline: Timeline) -> Tree:
        tree = super().__new__(cls, text)
        tree._timeline = timeline
        return tree

    def __reduce__(self) -> Any:
        return Tree, (str(self), self._timeline)

    def _repr_html_(self) -> str:
        return picture(self._timeline, time.monotonic())

    def __repr__(self) -> str:
        return str(self)


class Tasks(tuple[Task, ...]):
    """Futures; shows as a table."""

    def __new__(cls, tasks: Iterable[Task] = ()) -> Tasks:
        return super().__new__(cls, tuple(tasks))

    def __repr__(self) -> str:
        if not self:
            return "no futures"
        rows = [("", "code", "", "ran", "output", "last line")]
        for each in self:
            ran, written = duration(each.seconds), size(each.output)
            rows.append(
                (str(each.number), each.line[:44], each.status, ran, written, each.last[:60])
            )
        return table(rows)


class Past(Mapping[int, Variables]):
    """The variables of all states, by the numbers of their cells."""

    def __init__(self, states: Callable[[], Tree], variables: Callable[[int], Variables]) -> None:
        """states: gives all there are; variables: those of the state of a number."""
        self._states, self.vars = states, variables

    def __getitem__(self, n: int) -> Variables:
        return self.vars(n)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(each.number for each in self._states()._timeline.frozen()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return repr(self._states())


def ending(task: Task) -> str:
    """What is told of a future that has ended."""
    text = f"snapshot: future {task.number} {task.status} after {duration(task.seconds)}"
    if task.status in ("killed", "exited"):
        return f"{text}: it {task.how}"
    return (
        text if task.status == "cancelled" else f"{text}: ans({task.number}), past({task.number})"
    )


def progress(task: Task) -> str:
    """One that runs, in a line."""
    return f"[{task.number}] {task.line[:30]}  {duration(task.seconds)}  {task.last[:40]}".rstrip()
