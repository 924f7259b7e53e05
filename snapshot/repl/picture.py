"""The tree of states as a picture for notebooks: HTML with an SVG in it, from records alone.

It takes its colour from the text around it, so that it can be read in light and dark themes, and
needs nothing from elsewhere. A disc is a state, a circle one that is gone, red one whose cell
failed; the ring is where one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from snapshot.core.line import duration, size
from snapshot.core.timeline.drawing import walk
from snapshot.core.timeline.records import State, Timeline

_STEP, _ROW, _RADIUS = 18, 24, 5  # pixels: between branches, between states, of a disc
_CODE = 60  # characters of the first line of a cell
_FAILED = "#d9534f"


def picture(timeline: Timeline, now: float) -> str:
    """now: on the clock of `time.monotonic`."""
    rows = list(walk(timeline))
    places = {state.number: (depth, row) for row, (depth, state, _) in enumerate(rows)}
    left = _STEP * (max((depth for depth, _, _ in rows), default=0) + 1) + 10
    parts = [*_edges(rows, places)]
    for row, (depth, state, folded) in enumerate(rows):
        parts.append(_disc(timeline, depth, row, state))
        parts.append(_text(timeline, left, row, state, folded, now))
    height = _ROW * len(rows) + 4
    return (
        '<div style="overflow-x:auto">'
        f'<svg width="{left + 760}" height="{height}" role="img" aria-label="states" '
        'style="color:inherit" font-size="13" fill="currentColor" '
        'font-family="var(--jp-code-font-family, monospace)">'
        f"{''.join(parts)}</svg></div>"
    )


def _at(depth: int, row: int) -> tuple[int, int]:
    return 10 + _STEP * depth, _ROW // 2 + 2 + _ROW * row


def _edges(rows: list[tuple[int, State, int]], places: dict[int, tuple[int, int]]) -> Iterator[str]:
    """From each state to the one before it; what was folded away lies between."""
    for row, (depth, state, _) in enumerate(rows):
        above = places.get(state.parent) if state.parent is not None else None
        if above is None:
            above = next(((d, r) for r, (d, _, _) in _before(rows, row) if d <= depth), None)
        if above is not None:
            (x, y), (to_x, to_y) = _at(*above), _at(depth, row)
            yield (
                f'<path d="M{x} {y}V{to_y - _ROW // 2}L{to_x} {to_y}" fill="none" '
                'stroke="currentColor" stroke-opacity="0.4"/>'
            )


def _before(
    rows: list[tuple[int, State, int]], row: int
) -> Iterator[tuple[int, tuple[int, State, int]]]:
    return ((each, rows[each]) for each in range(row - 1, -1, -1))


def _disc(timeline: Timeline, depth: int, row: int, state: State) -> str:
    x, y = _at(depth, row)
    colour = _FAILED if state.failed else "currentColor"
    fill = colour if state.status == "frozen" else "none"
    disc = f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" fill="{fill}" stroke="{colour}"/>'
    if timeline.live.at == state.number:
        disc += f'<circle cx="{x}" cy="{y}" r="{_RADIUS + 3}" fill="none" stroke="{colour}"/>'
    return disc


def _text(timeline: Timeline, left: int, row: int, state: State, folded: int, now: float) -> str:
    _, y = _at(0, row)
    if folded > 1:
        return f'<text x="{left}" y="{y + 4}" fill-opacity="0.6">{folded} states gone</text>'
    code = state.line or ("(before the first cell)" if state.parent is None else "")
    shown = code if len(code) <= _CODE else code[: _CODE - 1] + "…"
    about = [state.name, *_marks(timeline, state), duration(now - state.made) + " ago"]
    if state.status == "frozen":
        about.append(size(state.memory))
    return (
        f'<text x="{left}" y="{y + 4}"><title>{escape(code)}</title>'
        f'<tspan font-weight="bold">{state.number}</tspan>'
        f'<tspan dx="8">{escape(shown)}</tspan>'
        f'<tspan dx="12" fill-opacity="0.6">{escape(", ".join(filter(None, about)))}</tspan></text>'
    )


def _marks(timeline: Timeline, state: State) -> Iterator[str]:
    if state.status != "frozen":
        yield state.status
    if state.failed:
        yield "failed"
    for branch in timeline.branches.values():
        if branch.at == state.number:
            here = branch.number == timeline.here
            yield "here" if here else f"tip of branch {branch.number}"
