"""The tree of states as text: pure functions on records."""

from __future__ import annotations

from collections.abc import Iterator

from snapshot.core.line import duration, size, table
from snapshot.core.timeline.records import State, Timeline

_SHORTEST, _LONGEST = 16, 60  # columns for the first line of a cell


def drawn(timeline: Timeline, now: float, processes: dict[int, str], width: int) -> str:
    """The tree, a row for each state, children below their parent, branches to the right.

    processes: what is to be said of the process at the tip of each branch, as " (4103)". now: on
    the clock of `time.monotonic`. width: columns that there are.
    """
    wide = _table(timeline, now, processes, _LONGEST)
    excess = max(map(len, wide.splitlines())) - width
    if excess <= 0:
        return wide
    longest = max((len(each.line) for each in timeline.states.values()), default=0)
    fitting = max(_SHORTEST, min(_LONGEST, longest) - excess)
    return _table(timeline, now, processes, fitting)


def _table(timeline: Timeline, now: float, processes: dict[int, str], code: int) -> str:
    rows: list[tuple[str, ...]] = [("state", "branch", "name", "code", "age", "private", "")]
    for depth, each, folded in walk(timeline):
        if folded > 1:
            rows.append(
                (f"{_bars(depth)}…", str(each.branch), "", f"{folded} states gone", "", "", "")
            )
            continue
        rows.append(_row(timeline, depth, each, now, processes, code))
    return table(rows)


def _row(
    timeline: Timeline,
    depth: int,
    state: State,
    now: float,
    processes: dict[int, str],
    columns: int,
) -> tuple[str, ...]:
    marks: list[str] = [] if state.status == "frozen" else [state.status]
    marks += ["failed"] if state.failed else []
    for branch in timeline.branches.values():
        if branch.at == state.number:
            here = branch.number == timeline.here
            own = "tip" if branch.number == state.branch else f"tip of branch {branch.number}"
            marks.append("<- here" if here else own + processes.get(branch.number, ""))
    code = state.line or ("(before the first cell)" if state.parent is None else "")
    return (
        f"{_bars(depth)}{state.number}",
        str(state.branch),
        state.name or "",
        code if len(code) <= columns else code[: columns - 1] + "…",
        duration(now - state.made),
        size(state.memory) if state.status == "frozen" else "",
        ", ".join(filter(None, marks)),
    )


def _bars(depth: int) -> str:
    return "│ " * (depth - 1) + "├─" if depth else ""


def walk(timeline: Timeline) -> Iterator[tuple[int, State, int]]:
    """Each state after its parent: how deep its branch lies, the state, how many it stands for.

    Of the states of a branch the oldest comes first; what left it at a state comes right below
    that. States that are gone, follow each other and have no branch are folded into one row.
    """
    children: dict[int | None, list[State]] = {}
    for number in sorted(timeline.states):
        state = timeline.states[number]
        parent = state.parent if state.parent in timeline.states else None
        children.setdefault(parent, []).append(state)
    tips = {branch.at for branch in timeline.branches.values()}
    pending = [(0, state) for state in reversed(children.get(None, []))]
    folded: list[tuple[int, State]] = []
    while pending:
        depth, state = pending.pop()
        below = children.get(state.number, [])
        foldable = (
            state.status in ("evicted", "ended")
            and state.number not in tips
            and len(below) == 1
            and below[0].branch == state.branch
        )
        if foldable:
            folded.append((depth, state))
        else:
            if folded:
                yield (*folded[0], len(folded))
                folded.clear()
            yield depth, state, 1
        # The branch goes on last, since what comes first is taken last.
        for each in sorted(below, key=lambda s: (s.branch != state.branch, -s.number)):
            pending.append((depth + (each.branch != state.branch), each))
    if folded:
        yield (*folded[0], len(folded))
