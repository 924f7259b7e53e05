"""A stored value, looked at more closely: loaded for that, in a process of its own."""

from __future__ import annotations

from typing import get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.errors import UsageError
from snapshot.replay import telling
from snapshot.replay.executions import number_of
from snapshot.replay.telling import Told
from snapshot.store import Store
from snapshot.web.pages import field, render, site_of
from snapshot.web.viewing import Role, View, Where, view


def show(request: Request) -> Response:
    """`GET /view?call=ID&role=ROLE&name=NAME`, or `?digest=DIGEST`: the text that is stored."""
    return _answer(request, None)


def look(request: Request) -> Response:
    """`POST /view`, with the same in the address or in the form: load it, show what it is like."""
    site = site_of(request)
    with site.store() as store:
        which = _which(request, store)
        _stored(store, which)
    found = view(site.where, which, trust=site.options.trust, is_wanted=lambda: not site.closing)
    return _answer(request, found)


def _answer(request: Request, found: View | None) -> Response:
    with site_of(request).store() as store:
        which = _which(request, store)
        told = _stored(store, which)
        trusted = store.trusted
    return render(request, "view.html", which=which, told=told, view=found, trusted=trusted)


def _which(request: Request, store: Store) -> Where:
    """Raises `UsageError`."""
    digest, call, role, name = (
        request.query_params.get(each) or field(request, each) or None
        for each in ("digest", "call", "role", "name")
    )
    number = None if call is None else number_of(call)
    if digest is not None:
        return Where(number or _user_of(store, _bytes(digest)), digest=digest.lower())
    role = role or "result"
    if number is None:
        raise UsageError("which value? give the id of a call, or the digest of an object")
    for each in get_args(Role):
        if role == each:
            return Where(number, each, name)
    raise UsageError(f"role={role!r}: give one of {', '.join(get_args(Role))}")


def _bytes(digest: str) -> bytes:
    try:
        return bytes.fromhex(digest)
    except ValueError:
        raise UsageError(f"{digest!r} is no digest of an object, in hexadecimal") from None


def _user_of(store: Store, digest: bytes) -> int | None:
    """A call that refers to it: in its program the classes are found."""
    for each in store.users_of(digest, 20):
        if each.kind == "call":
            return int(each.id)
    return None


def _stored(store: Store, which: Where) -> Told:
    """What is shown of it unless it is loaded. Raises `UnknownCall`, `UnknownObject`."""
    if which.digest is not None:
        shown = store.objects.show(_bytes(which.digest))
        return Told(shown.type, shown.text)
    assert which.call is not None
    call = store.calls.get(which.call)
    stored = getattr(call, which.role)
    if stored is None:
        raise UsageError(f"call {call.id} has no {which.role} that was stored")
    if which.name is None or which.role == "result":
        return telling.told(store, stored)
    if which.role == "surroundings":
        values = telling.surrounding_values(store, call)
    else:
        values = telling.argument_values(store, call, after=which.role == "after")
    if which.name not in values and "?" not in values:
        raise UsageError(f"call {call.id} has no {which.name[:200]!r} among its {which.role}")
    return values.get(which.name) or values["?"]


ROUTES = [Route("/view", show), Route("/view", look, methods=["POST"])]
