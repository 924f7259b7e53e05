"""The application: which page is at which address, and what is said where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from snapshot.errors import (
    AsideGone,
    NoStore,
    SnapshotError,
    UnknownCall,
    UnknownObject,
    UsageError,
)
from snapshot.web import (
    call,
    calls,
    closer,
    comparing,
    functions,
    heat,
    memo,
    objects,
    sessions,
    working,
)
from snapshot.web.live import Topics
from snapshot.web.pages import render
from snapshot.web.safety import HEADERS, Safety
from snapshot.web.site import Site

_STATIC = Path(__file__).with_name("static")

TOPICS = Topics(
    {
        "store": lambda site, _: site.revision(),
        "job": working.revision,
        "sessions": sessions.revision,
    }
)


def application(
    site: Site, *, hosts: Iterable[str], any_address: bool = False, port: int = 0
) -> Starlette:
    """All pages of a site; hosts, any_address: see `Safety`. port: part of the cookie's name."""
    made = Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse("/calls", 303)),
            *(*calls.ROUTES, *functions.ROUTES, *heat.ROUTES, *memo.ROUTES, *objects.ROUTES),
            *(*call.ROUTES, *comparing.ROUTES, *closer.ROUTES),
            *(*sessions.ROUTES, *working.ROUTES),
            Route("/events", TOPICS.events),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[
            Middleware(
                Safety,
                keys=site.keys,
                hosts=hosts,
                any_address=any_address,
                name=f"snapshot-{port}",
                read_only=site.options.read_only,
                refuse=_refuse,
            )
        ],
        exception_handlers={
            SnapshotError: _on_error,
            HTTPException: _on_http_error,
            Exception: _on_fault,
        },
    )
    made.state.site = site
    return made


def _refuse(request: Request, status: int, why: str) -> Response:
    return render(request, "refused.html", status, why=why)


def _on_error(request: Request, error: Exception) -> Response:
    if isinstance(error, NoStore):
        return render(request, "nothing.html", why=str(error))
    status = 400 if isinstance(error, UsageError) else 500
    if isinstance(error, UnknownCall | UnknownObject | AsideGone):
        status = 404
    return render(request, "error.html", status, why=str(error))


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = error.detail
    if error.status_code == 404:
        why = f"there is no page {request.url.path}"
    return render(request, "error.html", error.status_code, why=why)


def _on_fault(request: Request, error: Exception) -> Response:
    """Of something that is not as it should be: of ours, in the store, or told by a job."""
    answer = render(
        request,
        "error.html",
        500,
        why=f"this page could not be made ({type(error).__name__}): what it shows is damaged, or "
        "the explorer has a fault. Where the explorer was started, more is told",
    )
    answer.headers.update(HEADERS)  # `Safety` is further in
    return answer
