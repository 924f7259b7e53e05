"""Pages of many calls: the list, and those that were deleted and can be had back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.errors import UsageError
from snapshot.replay import telling
from snapshot.replay.executions import number_of
from snapshot.store import Store, wording
from snapshot.store.aside import AS_LONG, Aside
from snapshot.store.calls import Call, Which
from snapshot.store.events import Outcome
from snapshot.web.pages import asked, field, fields, render, seen, site_of
from snapshot.web.paging import ROWS, pager, sorting

_ORDERS = {"started": "when", "duration": "took", "function": "function"}
_TOLD = 3  # how many deletions a page tells of
_WORDS = 300  # characters of a row
_MOST_WORDS = 50  # of a search: a database takes conditions up to some number


@dataclass(frozen=True)
class Row:
    """A call in the list."""

    call: Call
    words: str
    result: str


def show(request: Request) -> Response:
    """`GET /calls`: those that are asked for by the query."""
    which = wanted(request)
    order = sorting(request, _ORDERS, "started")
    with site_of(request).store() as store:
        everything = store.calls.count()
        total = store.calls.count(**which) if which else everything
        page = pager(request, total)
        rows = [
            row(store, each)
            for each in store.calls.find(
                order=order.by,  # type: ignore[arg-type]  # it is one of `_ORDERS`
                newest=order.down,
                limit=ROWS,
                offset=page.offset,
                **which,
            )
        ]
        return render(
            request,
            "calls.html",
            rows=rows,
            total=total,
            everything=everything,
            pager=page,
            sorting=order,
            filters={name: asked(request, name) or "" for name in _FILTERS},
            functions=store.calls.functions(),
            outcomes=[each.name for each in Outcome],
            asides=recent(store),
            since=site_of(request).revision(),
        )


_FILTERS = ("search", "function", "outcome", "since", "until", "slower", "faster", "session")


def wanted(request: Request) -> Which:
    """Which calls the query asks for. Raises `UsageError`."""
    which: Which = {}
    if (text := asked(request, "search")) is not None:
        if len(text.split()) > _MOST_WORDS:
            raise UsageError(f"search: give no more than {_MOST_WORDS} words")
        which["search"] = text
    if (text := asked(request, "function")) is not None:
        which["function"] = text
    if (text := asked(request, "session")) is not None:
        which["session"] = text
    if (text := asked(request, "outcome")) is not None:
        if text not in Outcome.__members__:
            raise UsageError(f"outcome={text!r}: give one of {', '.join(Outcome.__members__)}")
        which["outcome"] = Outcome[text]
    if (text := asked(request, "since")) is not None:
        which["since"] = wording.moment(text)
    if (text := asked(request, "until")) is not None:
        which["until"] = wording.moment(text)
    if (text := asked(request, "slower")) is not None:
        which["slower"] = wording.seconds(text)
    if (text := asked(request, "faster")) is not None:
        which["faster"] = wording.seconds(text)
    return which


def row(store: Store, call: Call) -> Row:
    """A call as it is listed."""
    return Row(
        call,
        telling.in_words(store, call).partition("(")[2].removesuffix(")")[:_WORDS],
        telling.outcome(store, call)[:_WORDS],
    )


def recent(store: Store) -> list[tuple[Aside, float]]:
    """The last deletions that can be undone, and until when that is possible."""
    now = time.time()
    return [
        (each, each.put + AS_LONG) for each in store.asides()[:_TOLD] if each.put + AS_LONG > now
    ]


def delete(request: Request) -> Response:
    """`POST /calls/delete`: put those aside that are named `call`."""
    numbers = [number_of(each) for each in fields(request, "call")]
    if not numbers:
        raise UsageError("no call is chosen: check those that are to be deleted")
    with site_of(request).store() as store:
        store.put_aside(numbers)
    return seen(_back(request))


def undo(request: Request) -> Response:
    """`POST /asides/ID/undo`: the calls are back under their ids."""
    with site_of(request).store() as store:
        store.take_back(number_of(request.path_params["id"]))
    return seen(_back(request))


def _back(request: Request) -> str:
    """The page that the form was on, as it says; one of ours in any case."""
    back = field(request, "back", "/calls")
    return back if back.startswith("/calls") else "/calls"


ROUTES = [
    Route("/calls", show),
    Route("/calls/delete", delete, methods=["POST"]),
    Route("/asides/{id}/undo", undo, methods=["POST"]),
]
