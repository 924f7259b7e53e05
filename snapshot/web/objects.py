"""Stored values: how large they are, who refers to them, and freeing those that nobody does."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.errors import UnknownObject
from snapshot.store.users import User
from snapshot.store.wording import so_many
from snapshot.web.memo import place_of
from snapshot.web.pages import address, asked, render, seen, site_of
from snapshot.web.paging import ROWS, pager, sorting, with_query

_KINDS = 12  # types that are listed
_USERS = 200  # who refers to a value, that are listed

_COLUMNS = ("size", "type", "uses")


def overview(request: Request) -> Response:
    """`GET /objects`: the values, and their types."""
    site = site_of(request)
    revision = site.revision()
    search = asked(request, "search")
    chosen = sorting(request, _COLUMNS, "size")
    with site.store() as store:
        objects = store.objects
        count, size = objects.count(), objects.size()
        kinds = objects.kinds()
        pages = pager(request, count if search is None else objects.count(search))
        values = objects.listing(
            order=chosen.by,  # type: ignore[arg-type]
            search=search,
            limit=ROWS,
            offset=pages.offset,
        )
    return render(
        request,
        "objects.html",
        revision=revision,
        count=count,
        size=size,
        kinds=kinds[:_KINDS],
        more_kinds=kinds[_KINDS:],
        largest_kind=kinds[0].size if kinds else 0,
        values=values,
        largest=max((each.size for each in values), default=0),
        search=search,
        order=chosen.by,
        sorted_by={each: with_query(request, sort=each, page=None) for each in _COLUMNS},
        pager=pages,
    )


def show(request: Request) -> Response:
    """`GET /objects/DIGEST`."""
    name: str = request.path_params["digest"]
    digest = b""
    with contextlib.suppress(ValueError):
        digest = bytes.fromhex(name)
    if digest.hex() != name or not name:
        raise UnknownObject("there is no such value: a digest has 64 digits of 0 to f")
    with site_of(request).store() as store:
        shown = store.objects.show(digest)
        buffers = store.objects.buffers(digest)
        users = store.users_of(digest, _USERS + 1)
        trusted = store.trusted
    return render(
        request,
        "object.html",
        digest=name,
        shown=shown,
        is_buffer=any(each.role == "buffer" for each in users) and not shown.text,
        buffers=buffers,
        own=shown.size - sum(size for _, size in buffers),
        users=[(each, _where(each)) for each in users[:_USERS]],
        more=len(users) > _USERS,
        who=_in_words(users[:_USERS]),
        trusted=trusted,
    )


def _where(user: User) -> str | None:
    """The address of who refers to a value."""
    match user.kind:
        case "call":
            return f"/calls/{user.id}"
        case "memo":
            return place_of(user.label, str(user.id))
        case "value":
            return f"/objects/{user.id}"
        case _:
            return place_of(user.label, "state", str(user.id))


def _in_words(users: Iterable[User]) -> str:
    """`2 calls and 1 memo entry`."""
    names = {"memo": "memo entry", "state of a memoized function": "state of a memoized function"}
    counts = Counter(each.kind for each in users)
    told = []
    for kind, count in counts.items():
        if kind == "memo":
            told.append("1 memo entry" if count == 1 else f"{count:,} memo entries")
        elif kind == "state of a memoized function":
            told.append(f"{so_many(count, 'state')} of memoized functions")
        else:
            told.append(so_many(count, names.get(kind, kind)))
    return " and ".join(filter(None, [", ".join(told[:-1]), *told[-1:]]))


# Freeing.


def ask(request: Request) -> Response:
    """`GET /objects/vacuum`: what it would do; nothing goes yet."""
    with site_of(request).store() as store:
        count, size = store.objects.unused()
        asides = len(store.asides())
    return render(request, "objects_vacuum.html", count=count, size=size, asides=asides)


def vacuum(request: Request) -> Response:
    """`POST /objects/vacuum`: free what nobody refers to, as a job."""
    site = site_of(request)
    place = site.place
    job = site.jobs.start(
        "Vacuum",
        "vacuum",
        {"store": place.url or str(place.path)},
        template="objects_vacuumed.html",
        back="/objects",
    )
    return seen(address(f"/jobs/{job.id}"))


ROUTES = [
    Route("/objects", overview),
    Route("/objects/vacuum", ask),
    Route("/objects/vacuum", vacuum, methods=["POST"]),
    Route("/objects/{digest:anything}", show),
]
