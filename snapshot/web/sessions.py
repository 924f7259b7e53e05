"""Pages of sessions: prompts and debuggers of this user that run now, looked at from outside."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.core import sessions
from snapshot.core.sessions import Future, Session, State
from snapshot.errors import SnapshotError, UnknownSession
from snapshot.web.live import GONE
from snapshot.web.pages import render
from snapshot.web.site import Site

_STEP, _HEIGHT = 18, 34  # pixels: between branches; of a row
_TAIL = 20_000  # bytes of the output of a future


@dataclass(frozen=True)
class Row:
    """A state in the tree, and the part of the drawing that is beside it.

    lines: paths of SVG. x, y: of the disc. marks: what else is told of it.
    """

    state: State
    lines: list[str]
    x: int
    y: int
    is_here: bool
    marks: list[str]


@dataclass(frozen=True)
class Told:
    """A future, and what it has written last."""

    future: Future
    output: str
    is_cut: bool


def revision(site: Site, name: str) -> str:
    """Another text when something has changed in a session, or in which there are."""
    if not name:
        return " ".join(f"{each.id}:{each.revision}" for each in sessions.running())
    try:
        return str(sessions.look(name).revision)
    except UnknownSession:
        return GONE


def show(request: Request) -> Response:
    """`GET /sessions`: all that run."""
    return render(request, "sessions.html", sessions=sessions.running(), now=time.time())


def show_one(request: Request) -> Response:
    """`GET /sessions/ID`: the tree of its states, and its futures."""
    try:
        session = sessions.look(request.path_params["id"])
    except UnknownSession:
        raise HTTPException(404) from None
    rows = [*tree(session)]
    return render(
        request,
        "session.html",
        session=session,
        rows=rows,
        width=_STEP * (1 + max((each.state.depth for each in rows), default=0)) + 8,
        height=_HEIGHT,
        most=max((each.memory or 0 for each in session.states), default=0),
        memory=sum(each.memory or 0 for each in session.states),
        futures=[_told(session, each) for each in session.futures],
    )


def tree(session: Session) -> Iterator[Row]:
    """The rows of the tree, each state below the one that it came from."""
    states = session.states
    places = {each.number: row for row, each in enumerate(states)}
    edges = [
        (places.get(each.parent, -1), row) if each.parent is not None else (-1, row)
        for row, each in enumerate(states)
    ]
    for row, state in enumerate(states):
        is_here = state.number == session.here.state
        yield Row(
            *(state, [*_lines(states, edges, row)], _x(state), _HEIGHT // 2, is_here),
            [*_marks(session, state)],
        )


def _x(state: State) -> int:
    return _STEP // 2 + 4 + _STEP * state.depth


def _lines(states: Sequence[State], edges: Sequence[tuple[int, int]], row: int) -> Iterator[str]:
    """What of the edges is beside a row: they go down below the parent, then over to the child."""
    middle = _HEIGHT // 2
    for above, below in edges:
        if above < 0:
            continue
        x = _x(states[above])
        if above == row:
            yield f"M{x} {middle}V{_HEIGHT}"
        elif above < row < below:
            yield f"M{x} 0V{_HEIGHT}"
        elif below == row:
            to = _x(states[below])
            yield (
                f"M{x} 0V{middle}" if to == x else f"M{x} 0C{x} {middle} {x} {middle} {to} {middle}"
            )


def _marks(session: Session, state: State) -> Iterator[str]:
    if state.status != "frozen":
        yield state.status
    if state.failed:
        yield "failed"
    if state.future:
        yield "future"
    if state.number == session.here.state:
        yield "here"
    for branch in session.branches:
        if branch.at == state.number and branch.number != session.here.branch:
            yield f"tip of branch {branch.number}" + (f", {branch.ended}" if branch.ended else "")


def _told(session: Session, future: Future) -> Told:
    begin = max(0, future.output - _TAIL)
    text = ""
    try:
        while len(text) < 2 * _TAIL:
            end, more = sessions.output(session.id, future.number, begin)
            if end == begin:
                break
            text, begin = text + more, end
    except SnapshotError:
        pass  # it has ended meanwhile, and the page will say so
    return Told(future, text, future.output > _TAIL)


ROUTES = [
    Route("/sessions", show),
    Route("/sessions/{id}", show_one),
]
