"""Pages of functions: all that were recorded, and one of them with its versions and durations."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.store import Store
from snapshot.store.calls import Version
from snapshot.store.looking import Summary
from snapshot.store.results import Memoized
from snapshot.web.calls import row
from snapshot.web.pages import asked, render, site_of
from snapshot.web.paging import ROWS, pager, sorting

_LATEST = 12  # calls that are shown of a function
_COLUMNS = {
    "function": lambda each: each.key,
    "calls": lambda each: each.calls,
    "raised": lambda each: each.raised,
    "total": lambda each: each.total,
    "mean": lambda each: each.total / each.calls,
    "longest": lambda each: each.longest,
    "last": lambda each: each.last,
}


def show(request: Request) -> Response:
    """`GET /functions`: those that there are calls of."""
    order = sorting(request, _COLUMNS, "last")
    search = asked(request, "search") or ""
    with site_of(request).store() as store:
        everything = store.calls.summaries()
        found = [each for each in everything if search.lower() in each.key.lower()]
        found.sort(key=_COLUMNS[order.by], reverse=order.down)
        page = pager(request, len(found))
        return render(
            request,
            "functions.html",
            rows=found[page.offset : page.offset + ROWS],
            total=len(found),
            everything=len(everything),
            pager=page,
            sorting=order,
            search=search,
            longest=max((each.total for each in everything), default=0.0),
            since=site_of(request).revision(),
        )


@dataclass(frozen=True)
class Bar:
    """One of a histogram: its place in a drawing of 100 by 100, and what it stands for."""

    x: float
    width: float
    height: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Edit:
    """A version, and how its text differs from the one before; none for the first."""

    version: Version
    diff: str | None


@dataclass(frozen=True)
class Warmth:
    """How often it ran, as heat has counted it in an application."""

    application: str
    hits: int
    first: float
    last: float


def show_one(request: Request) -> Response:
    """`GET /functions/KEY`."""
    key = request.path_params["key"]
    with site_of(request).store() as store:
        summary = store.calls.summary(key)
        warm = _heat(store, key)
        memoized = _memoized(store, key)
        if summary is None and not warm and memoized is None:
            raise HTTPException(404)
        calls = store.calls.find(function=key, newest=True, limit=_LATEST)
        return render(
            request,
            "function.html",
            key=key,
            summary=summary or Summary(key, 0, 0, 0.0, 0.0, 0.0, 0.0),
            bars=_bars(store.calls.durations(key)),
            edits=_edits(store.calls.versions(key)),
            rows=[row(store, each) for each in calls if each.function.key == key],
            heat=warm,
            memoized=memoized,
            since=site_of(request).revision(),
        )


def _bars(bins: list[tuple[float, float, int]]) -> list[Bar]:
    most = max((count for _, _, count in bins), default=0)
    width = 100 / max(1, len(bins))
    return [
        Bar(width * n, width, 100 * count / most if most else 0.0, low, high, count)
        for n, (low, high, count) in enumerate(bins)
    ]


def _edits(versions: list[Version]) -> list[Edit]:
    before = [*versions, None][1:]
    return [
        Edit(each, None if other is None else _diff(other, each))
        for each, other in zip(versions, before, strict=True)
    ]


def _diff(one: Version, other: Version) -> str:
    then, now = ((each.function.facts["source"] or "").splitlines() for each in (one, other))
    names = (each.digest.hex()[:12] for each in (one, other))
    return "\n".join(difflib.unified_diff(then, now, next(names), next(names), lineterm=""))


def _heat(store: Store, key: str) -> list[Warmth]:
    found = []
    for application in store.heat.applications():
        hits = store.heat.hits(application, key=key)
        if hits:
            found.append(
                Warmth(
                    application,
                    sum(each.hits for each in hits),
                    min(each.first for each in hits),
                    max(each.last for each in hits),
                )
            )
    return found


def _memoized(store: Store, key: str) -> Memoized | None:
    return next((each for each in store.results.functions() if each.name == key), None)


def where(key: str) -> str:
    """The address of the page of a function."""
    return f"/functions/{quote(key, safe='')}"


ROUTES = [
    Route("/functions", show),
    Route("/functions/{key:anything}", show_one),
]
