"""sessions"""

from __future__ import annotations

from starlette.routing import Route

from snapshot.web.site import Site

ROUTES: list[Route] = []


def revision(site: Site, name: str) -> str:
    return ""
