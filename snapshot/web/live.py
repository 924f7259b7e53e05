"""Pages that change while they are looked at: server-sent events say when to load them again.

See "Server-sent events" in the HTML standard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse

from snapshot.web.pages import site_of
from snapshot.web.site import Site

_STEP = 0.4  # seconds between two looks, for all who wait
_ALIVE = 15.0  # seconds after which something is sent, for who wants to know whether we are there

Revision = Callable[[Site, str], str]
GONE = "gone"  # the revision of what is there no more


class Topics:
    """What pages can be told about: `name` or `name:which`, and a text that changes with it."""

    def __init__(self, revisions: dict[str, Revision]) -> None:
        self._revisions = revisions
        self._looked: dict[str, tuple[float, str]] = {}

    def __contains__(self, topic: str) -> bool:
        return topic.partition(":")[0] in self._revisions

    def revision(self, site: Site, topic: str) -> str:
        """The text of a topic; looked at once for all who ask at about the same time."""
        at, found = self._looked.get(topic, (0.0, ""))
        if time.monotonic() - at > _STEP / 2:
            name, _, which = topic.partition(":")
            found = self._revisions[name](site, which)
            if len(self._looked) > 1000:
                self._looked.clear()
            self._looked[topic] = time.monotonic(), found
        return found

    async def events(self, request: Request) -> StreamingResponse:
        """`GET /events?of=TOPIC`: an event whenever it has changed since `since`, and goes on.

        Of what is there no more, there is an event `gone`, the last one.
        """
        topic = request.query_params.get("of", "")
        if topic not in self:
            return StreamingResponse(iter(()), 404)
        return StreamingResponse(
            iter(()) if request.method == "HEAD" else self._stream(request, topic),
            headers={"X-Accel-Buffering": "no"},
            media_type="text/event-stream",
        )

    async def _stream(self, request: Request, topic: str) -> AsyncIterator[str]:
        site = site_of(request)
        # A page may be older than the first look: it says what it was made of.
        last = request.query_params.get("since", "")
        said = time.monotonic()
        yield "retry: 1000\n\n"
        while not site.closing:
            found = await run_in_threadpool(self.revision, site, topic)
            if found == GONE:
                yield "event: gone\ndata:\n\n"
                return
            if found != last:
                last, said = found, time.monotonic()
                yield f"data: {found}\n\n"
            elif time.monotonic() - said > _ALIVE:
                said = time.monotonic()
                yield ": still here\n\n"
            await asyncio.sleep(_STEP)
