"""The page of one call, and what can be done with it: make it again, write it down, delete it."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from snapshot.core.limits import Limits
from snapshot.errors import AsideGone, UsageError
from snapshot.replay import telling
from snapshot.replay.executions import number_of
from snapshot.replay.secrets import MARK
from snapshot.replay.telling import Told
from snapshot.store import Store, aside, wording
from snapshot.store.calls import Call
from snapshot.store.sources import source_in
from snapshot.web import flame
from snapshot.web.pages import address, asked, field, fields, render, seen, site_of

_TIMEOUT = 60  # seconds that a reanimation has unless more are given
_LONG = 100_000  # characters of a traceback that are shown
_LINES = 3000  # of a source up to which a difference is looked for
_ABOVE = 12  # ancestors that are shown
_MOST = 200  # arguments, and globals
_SOME = 30  # of what else goes, or stays, and of functions to be mocked


@dataclass(frozen=True)
class Argument:
    """after: what it was when the call ended, where that was something else."""

    name: str
    value: Told | None
    after: Told | None


@dataclass(frozen=True)
class Today:
    """What the file of a function has now. difference: to what it had then, if there is any."""

    told: str
    difference: str = ""


def call_of(request: Request, store: Store) -> Call:
    """The call of the address. Raises `UsageError`, `UnknownCall`."""
    return store.calls.get(number_of(request.path_params["id"]))


def arguments_of(store: Store, call: Call) -> list[Argument]:
    """Those it was called with, and those that are there since."""
    before = telling.argument_values(store, call)
    after = {} if call.after is None else telling.argument_values(store, call, after=True)
    return [
        Argument(name, before.get(name), after.get(name) if after.get(name) != value else None)
        for name, value in {**after, **before}.items()
    ]


def result_of(store: Store, call: Call) -> Told | None:
    """What it returned, or yielded; None where it raised, runs, or nothing was stored."""
    if call.failure is not None or call.result is None:
        return None
    return telling.told(store, call.result)


def show(request: Request) -> Response:
    """`GET /calls/ID`."""
    site = site_of(request)
    with site.store() as store:
        call = call_of(request, store)
        above = store.calls.ancestors(call.id)
        below, is_cut = store.calls.below(call.id)
        this = flame.brief(call)
        before, after = store.calls.neighbours(call.id)
        arguments = arguments_of(store, call)
        values: dict[str, Any] = {
            "call": call,
            "arguments": arguments,
            "not_seen": call.after is not None and not any(each.after for each in arguments),
            "read": telling.surrounding_values(store, call),
            "result": result_of(store, call),
            "trusted": store.trusted,
            "writable": store.is_writable,
            "revision": site.revision(),
        }
    return render(
        request,
        "call.html",
        **values,
        tree=flame.tree(above[-_ABOVE:], this, below),
        further=len(above[:-_ABOVE]),
        below=len(below),
        is_cut=is_cut,
        strip=flame.strip(this, below),
        before=before,
        after=after,
        traceback="" if call.failure is None else call.failure.traceback[-_LONG:],
        today=today(call),
        timeout=_TIMEOUT,
        most=_MOST,
        mocks=sorted({each.key for each in below} - {call.function.key})[:_SOME],
    )


def today(call: Call) -> Today:
    """The source of its function beside what is in the file now; nothing is imported."""
    facts = call.function.facts
    then, file = facts["source"], facts["file"]
    if then is None:
        return Today("No source was recorded.")
    if file.startswith("<"):
        return Today("It was made of no file, so there is no text of today.")
    file = os.path.join(call.process.facts["folder"] or "", file)
    now = source_in(file, call.function.key.partition(":")[2], facts["line"])
    if now is None and not os.path.isfile(file):
        return Today(f"{file} is not there any more, so there is no text of today.")
    if now is None:
        return Today(f"{file} has no such function any more.")
    if now.text == then:
        return Today(
            "Its text is the same today. Whether that holds for what it calls is said when the "
            "call is made again."
        )
    if MARK in then:
        return Today("Something in its text was redacted, so it is not compared with today's.")
    return Today(
        f"It is another one today, in line {now.line} of {file}:",
        difference(then, now.text, "recorded", "today"),
    )


def difference(one: str, other: str, name: str, other_name: str) -> str:
    """Of two texts, as `diff -u` tells it."""
    ones, others = one.splitlines(), other.splitlines()
    if max(len(ones), len(others)) > _LINES:
        return "" if one == other else "@@ too long to be compared here @@"
    return "\n".join(difflib.unified_diff(ones, others, name, other_name, lineterm=""))


def reanimate(request: Request) -> Response:
    """`POST /calls/ID/reanimate`: make it again, in a process of its own."""
    site = site_of(request)
    limit = wording.seconds(field(request, "timeout", str(_TIMEOUT)).strip() or str(_TIMEOUT))
    memory = field(request, "memory").strip() or None
    if limit <= 0:
        raise UsageError("a call that may take no time cannot be made again: give seconds")
    Limits.of(limit, memory)
    with site.store() as store:
        call = call_of(request, store)
    folder = call.process.facts["folder"]
    job = site.jobs.start(
        f"Call {call.id} of {call.function.key}, made again",
        "reanimate",
        {
            "id": call.id,
            "store": site.where,
            "trust": site.options.trust,
            "timeout": limit,
            "memory": memory,
            "recorded_code": field(request, "code") == "recorded",
            "mock": fields(request, "mock"),
        },
        template="reanimation.html",
        back=f"/calls/{call.id}",
        directory=folder if folder is not None and os.path.isdir(folder) else None,
    )
    return seen(f"/jobs/{job.id}")


def script(request: Request) -> Response:
    """`GET /calls/ID/script`: a program that makes it again."""
    return _script(request, "script")


def test(request: Request) -> Response:
    """`GET /calls/ID/test`: a test that does."""
    return _script(request, "test")


def _script(request: Request, kind: str) -> Response:
    from snapshot.replay.scripts import pytest_script, reanimation_script

    with site_of(request).store() as store:
        call = call_of(request, store)
        text = (pytest_script if kind == "test" else reanimation_script)(store, call)
    name = f"reanimate_{call.id}.py"
    if kind == "test":
        short = re.sub(r"[^A-Za-z0-9]+", "_", call.function.key.partition(":")[2]).strip("_")
        name = f"test_{short[:80] or 'call'}_{call.id}.py"
    if asked(request, "download") is not None:
        told = {"Content-Disposition": f'attachment; filename="{name}"'}
        return PlainTextResponse(text, headers=told)
    return render(request, "script.html", call=call, kind=kind, text=text, name=name)


def ask_delete(request: Request) -> Response:
    """`GET /calls/ID/delete`: what would go."""
    with site_of(request).store() as store:
        call = call_of(request, store)
        going = store.would_free([call.id])
        made = [each.id for each in store.calls.find(parent=call.id, limit=_SOME)]
        count = store.calls.count(parent=call.id)
        in_words = telling.in_words(store, call)
        writable = store.is_writable
    return render(
        request,
        "delete.html",
        call=call,
        in_words=in_words,
        going=going[:_SOME],
        more=len(going[_SOME:]),
        total=sum(each.size for each in going),
        made=made,
        count=count,
        writable=writable,
        minutes=_minutes(),
    )


def delete(request: Request) -> Response:
    """`POST /calls/ID/delete`: put it aside."""
    with site_of(request).store() as store:
        call = call_of(request, store)
        put = store.put_aside([call.id])
    return seen(address(f"/asides/{put.id}", call=call.id))


def show_aside(request: Request) -> Response:
    """`GET /asides/ID?call=ID`: what was deleted, and can be had back for a while."""
    number, one = number_of(request.path_params["id"]), asked(request, "call")
    with site_of(request).store() as store:
        found = next((each for each in store.asides() if each.id == number), None)
        if found is None:
            raise AsideGone(
                "nothing is put aside under that number any more: it was had back, or deleted "
                f"for good, as it is after {_minutes()} minutes"
            )
    return render(
        request,
        "deleted.html",
        aside=found,
        call=None if one is None else number_of(one),
        until=found.put + aside.AS_LONG,
        minutes=_minutes(),
    )


def _minutes() -> int:
    return round(aside.AS_LONG / 60)


ROUTES = [
    Route("/calls/{id}", show),
    Route("/calls/{id}/reanimate", reanimate, methods=["POST"]),
    Route("/calls/{id}/script", script),
    Route("/calls/{id}/test", test),
    Route("/calls/{id}/delete", ask_delete),
    Route("/calls/{id}/delete", delete, methods=["POST"]),
    Route("/asides/{id}", show_aside),
]
