"""The past as text: pure functions on records."""

from __future__ import annotations

from collections.abc import Mapping

from snapshot.core.line import table
from snapshot.debugger.chronicle import Branch, Stop


def drawn(branches: Mapping[int, Branch], here: tuple[int, int]) -> str:
    """The stops and named moments of all branches: a branch is below the moment where it began."""
    rows: list[tuple[str, ...]] = [("position", "name", "place", "")]
    for depth, branch, stop in _walk(branches, 1, 0, here[0]):
        names = [name for name, time in branch.names.items() if time == stop.time]
        marks = []
        if stop.time == branch.tip and branch.past is None:
            marks.append(f"end of branch {branch.number}")
        if here == (branch.number, stop.time):
            marks.append("<- here")
        row = f"{_bars(depth)}{stop.time}", ", ".join(names), stop.place, ", ".join(marks)
        rows.append(row)
    return table(rows)


def _walk(
    branches: Mapping[int, Branch], number: int, depth: int, here: int
) -> list[tuple[int, Branch, Stop]]:
    branch = branches[number]
    last = branch.tip if branch.past is None or number == here else branch.past
    stops: dict[int, Stop] = {}
    for each in branch.stops:
        if each.time <= last and (each.prompted or each.time in branch.names.values()):
            stops[each.time] = each
    below = [each for each in branches.values() if each.parent == number and not each.hidden]
    rows: list[tuple[int, Branch, Stop]] = []
    for time in sorted(stops):
        rows.append((depth, branch, stops[time]))
        for other in below:
            if other.root == time:
                rows += _walk(branches, other.number, depth + 1, here)
    return rows


def _bars(depth: int) -> str:
    return "│ " * (depth - 1) + "├─" if depth else ""


def listed(branches: Mapping[int, Branch], here: int) -> str:
    """The branches, a row for each."""
    rows: list[tuple[str, ...]] = [("branch", "began", "end", "")]
    for each in branches.values():
        began = f"at {each.root} of branch {each.parent}" if each.parent else ""
        told = f"the program {each.ended}" if each.ended else ""
        mark = "<- here" if each.number == here else ""
        rows.append((f"{each.number}", began, f"{each.tip}", ", ".join(filter(None, (told, mark)))))
    return table(rows)
