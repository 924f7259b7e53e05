"""The page of a job: what it writes, how far it is, what came of it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.web.jobs import KEPT, Job
from snapshot.web.live import GONE
from snapshot.web.pages import render, seen, site_of
from snapshot.web.site import Site


def revision(site: Site, name: str) -> str:
    """Another text when there is something new of a job."""
    job = site.jobs.get(name)
    return GONE if job is None else f"{job.revision}"


def _job(request: Request) -> Job | None:
    return site_of(request).jobs.get(request.path_params["id"])


def _unknown(request: Request) -> Response:
    why = (
        f"this job is not known any more: the last {KEPT} are, until the server ends; do again "
        "what it did"
    )
    return render(request, "error.html", 404, why=why)


def show(request: Request) -> Response:
    """`GET /jobs/ID`."""
    job = _job(request)
    if job is None:
        return _unknown(request)
    return render(request, "job.html", job=job, revision=str(job.revision))


def end(request: Request) -> Response:
    """`POST /jobs/ID/end`: kill it."""
    job = _job(request)
    if job is None:
        return _unknown(request)
    site_of(request).jobs.end(job)
    return seen(f"/jobs/{job.id}")


ROUTES = [
    Route("/jobs/{id}", show),
    Route("/jobs/{id}/end", end, methods=["POST"]),
]
