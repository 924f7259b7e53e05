"""What memo keeps: groups and functions, their states and entries, why one missed; evicting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from urllib.parse import quote, unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.errors import StoreError, UsageError
from snapshot.memo import keeping
from snapshot.memo.explaining import (
    Difference,
    Facts,
    differing_entries,
    differing_states,
    nearest_before,
)
from snapshot.store import Store
from snapshot.store.results import Listed, Memoized, Results, Stated
from snapshot.web.pages import address, asked, fields, number, render, seen, site_of
from snapshot.web.paging import ROWS, pager, sorting, with_query

_STATES = 25  # of a function, that are shown with what differs in them
_CHOICE = 20  # entries, or states, that can be compared with by choosing them
_NAMED = 10  # entries that are shown of those that go

_COLUMNS = ("name", "group", "entries", "hits", "misses", "rate", "saved", "size")
_ENTRY_COLUMNS = ("used", "created", "size", "cost", "hits")


@dataclass(frozen=True)
class _Source:
    """That of a function that a state reaches; text: None where there is none."""

    name: str
    text: str | None


@dataclass(frozen=True)
class _Compared:
    """A state, and what of it is not as in the current one; None for the current one itself."""

    state: Stated
    differences: list[Difference] | None

    @property
    def words(self) -> list[str]:
        """What differs, without how."""
        return [f"{each.what} {each.name}".rstrip() for each in self.differences or ()]


def place_of(function: str, *more: str) -> str:
    """The address of a memoized function, or of a page of it."""
    return "/".join(["/memo", *(quote(each, safe="") for each in (function, *more))])


# All functions.


def overview(request: Request) -> Response:
    """`GET /memo`: the groups, and their functions."""
    site = site_of(request)
    revision = site.revision()
    with site.store() as store:
        functions = keeping.in_use(store.results)
    chosen = sorting(request, _COLUMNS, "saved")
    group, search = asked(request, "group"), asked(request, "search")
    found = [
        each
        for each in functions
        if group in (None, each.group)
        and all(word in each.name.lower() for word in (search or "").lower().split())
    ]
    found.sort(key=attrgetter("name"))
    found.sort(key=_figure(chosen.by), reverse=chosen.down)
    pages = pager(request, len(found))
    groups = keeping.groups(functions)
    return render(
        request,
        "memo.html",
        revision=revision,
        sums=keeping.Sums.of("all", functions),
        groups=groups,
        largest_group=max((each.size for each in groups), default=0),
        functions=found[pages.offset : pages.offset + ROWS],
        largest=max((each.size for each in found), default=0),
        rate=keeping.rate,
        place_of=place_of,
        sorting=chosen,
        pager=pages,
        group=group,
        search=search,
    )


def _figure(column: str) -> Callable[[Memoized], Any]:
    if column == "rate":
        return lambda each: -1.0 if (rate := keeping.rate(each)) is None else rate
    return attrgetter(column)


# A function, and what is its own.


class _Unknown(Exception):
    """There is no function, state or entry of that name."""


def pages_of(request: Request) -> Response:
    """`GET /memo/FUNCTION`, and the pages below it; what is posted there."""
    try:
        return _page(request)
    except _Unknown as error:
        return render(request, "error.html", 404, why=str(error))


def _page(request: Request) -> Response:
    match _parts(request), request.method:
        case [function], "GET" | "HEAD":
            return _show_function(request, function)
        case [function, "compare"], "GET" | "HEAD":
            return _compare(request, function)
        case [function, "evict"], "GET" | "HEAD":
            return _ask(request, function)
        case [function, "evict"], "POST":
            return _evict(request, function)
        case [function, "state", digest], "GET" | "HEAD":
            return _show_state(request, function, digest)
        case [function, key], "GET" | "HEAD":
            return _show_entry(request, function, key)
    raise HTTPException(404)


def _parts(request: Request) -> list[str]:
    """What is behind `/memo/`, part by part, of which each may have slashes of its own."""
    raw: bytes = request.scope.get("raw_path") or quote(request.url.path).encode()
    return [unquote(each) for each in raw.partition(b"?")[0].decode("latin-1").split("/")[2:]]


def _function(results: Results, name: str) -> Memoized:
    for each in results.functions():
        if each.name == name:
            return each
    raise _Unknown("no function of that name is memoized in this store")


def _show_function(request: Request, name: str) -> Response:
    site = site_of(request)
    revision = site.revision()
    with site.store() as store:
        results = store.results
        function = _function(results, name)
        states = results.states(name)
        chosen = sorting(request, _ENTRY_COLUMNS, "used")
        state = _chosen_state(states, asked(request, "state"))
        pages = pager(request, results.count(name, None if state is None else state.digest))
        entries = results.listing(
            name,
            state=None if state is None else state.digest,
            order=chosen.by,  # type: ignore[arg-type]
            down=chosen.down,
            limit=ROWS,
            offset=pages.offset,
        )
        current = next((each for each in states if each.current), None)
        facts = None if current is None else _facts(results, name, current.digest)
        compared = [
            _Compared(each, _differences(results, name, each, facts)) for each in states[:_STATES]
        ]
    return render(
        request,
        "memo_function.html",
        revision=revision,
        function=function,
        rate=keeping.rate(function),
        states=compared,
        more_states=len(states) - len(compared),
        earlier=sum(each.count for each in states if not each.current),
        largest_state=max((each.size for each in states), default=0),
        state=state,
        entries=entries,
        largest=max((each.entry.size for each in entries), default=0),
        sources_of=_sources(name, facts),
        unfollowed=_unfollowed(facts),
        sorting=chosen,
        pager=pages,
        place_of=place_of,
        every=with_query(request, state=None, page=None),
        gone=number(request, "gone", -1),
        freed=number(request, "freed", 0),
    )


def _differences(
    results: Results, name: str, state: Stated, now: Facts | None
) -> list[Difference] | None:
    if state.current:
        return None
    return [*differing_states(_facts(results, name, state.digest), now)]


def _facts(results: Results, name: str, state: bytes) -> Facts | None:
    """What is known of a state; nothing of one that is damaged."""
    try:
        return results.facts(name, state)
    except StoreError:
        return None


def _sources(name: str, facts: Facts | None) -> list[_Source]:
    """Those of the functions and classes that a state reaches, its own first."""
    found = [_Source(each, text) for each, (_, text) in (facts or {}).get("functions", {}).items()]
    return sorted(found, key=lambda each: (each.name != name, each.name))


def _unfollowed(facts: Facts | None) -> Sequence[str]:
    found: Sequence[str] = (facts or {}).get("unfollowed", ())
    return found


def _chosen_state(states: Sequence[Stated], digest: str | None) -> Stated | None:
    """The one with that digest, None where none is asked for."""
    if digest is None:
        return None
    for each in states:
        if each.digest.hex() == digest:
            return each
    raise _Unknown("the function is not known to have been in that state")


# A state.


def _show_state(request: Request, name: str, digest: str) -> Response:
    site = site_of(request)
    with site.store() as store:
        results = store.results
        function = _function(results, name)
        states = results.states(name)
        state = _chosen_state(states, digest)
        assert state is not None
        current = next((each for each in states if each.current), None)
        other = _chosen_state(states, asked(request, "with")) or current
        facts = _facts(results, name, state.digest)
        differences: list[Difference] = []
        then, now = state, state
        if other is not None and other.digest != state.digest:
            then, now = sorted((state, other), key=lambda each: (each.current, each.used))
            differences = [
                *differing_states(*(_facts(results, name, each.digest) for each in (then, now)))
            ]
    return render(
        request,
        "memo_state.html",
        function=function,
        state=state,
        other=other,
        then=then,
        now=now,
        differences=differences,
        choice=[each for each in states if each.digest != state.digest][:_CHOICE],
        facts=facts,
        found=_sources(name, facts),
        unfollowed=_unfollowed(facts),
        place_of=place_of,
    )


# An entry.


def _entry(results: Results, function: str, key: str) -> Listed:
    try:
        found = results.entry(bytes.fromhex(key))
    except ValueError:
        raise HTTPException(404) from None
    if found is None or found.function != function:
        raise _Unknown("there is no such entry: it was evicted, or never kept")
    return found


def _show_entry(request: Request, name: str, key: str) -> Response:
    site = site_of(request)
    with site.store() as store:
        results = store.results
        function = _function(results, name)
        entry = _entry(results, name, key)
        wanted = asked(request, "with") or "nearest"
        last = results.listing(name, limit=_CHOICE)
        newest = results.listing(name, order="created", limit=1)
        other: Listed | None
        match wanted:
            case "nearest":
                other = nearest_before(results, entry)
            case "newest":
                other = newest[0] if newest else None
            case _:
                other = _entry(results, name, wanted)
        if other is not None and other.key == entry.key:
            other = None
        then, now = entry, entry
        differences: list[Difference] = []
        if other is not None:
            then, now = sorted((entry, other), key=lambda each: each.entry.created)
            differences = _differing(results, then, now)
        kept, damage = None, ""
        try:
            kept = results.show(entry.key)
        except StoreError as error:
            damage = str(error)
        trusted = store.trusted
    return render(
        request,
        "memo_entry.html",
        function=function,
        entry=entry,
        kept=kept,
        damage=damage,
        trusted=trusted,
        wanted=wanted,
        other=other,
        then=then,
        now=now,
        differences=differences,
        choice=[each for each in last if each.key != entry.key],
        place_of=place_of,
        in_words=_in_words,
    )


def _differing(results: Results, then: Listed, now: Listed) -> list[Difference]:
    try:
        return [*differing_entries(results, then, now)]
    except StoreError as error:
        return [Difference("the function", "", str(error))]


def _in_words(each: Listed) -> str:
    return ", ".join(f"{name}={text}" for name, (text, _) in each.arguments.items())


def _compare(request: Request, name: str) -> Response:
    """Two entries that were chosen in a list."""
    keys = request.query_params.getlist("entry")
    if len(keys) != 2:
        raise UsageError("choose two entries to compare, not one and not more")
    with site_of(request).store() as store:
        first, second = (_entry(store.results, name, key) for key in keys)
    then, now = sorted((first, second), key=lambda each: each.entry.created)
    where = place_of(name, now.key.hex())
    return seen(address(where, **{"with": then.key.hex()}) + "#differs")


# Evicting.


@dataclass(frozen=True)
class _Chosen:
    """Which entries are to go. what: in words. asked: how the form tells that."""

    what: str
    asked: list[tuple[str, str]]
    entries: list[Listed]


def _choose(store: Store, name: str, told: Sequence[tuple[str, str]]) -> _Chosen:
    """`entry=KEY` several times, `state=DIGEST`, `earlier=yes`, or `all=yes`."""
    results = store.results
    _function(results, name)
    wanted = [(what, which) for what, which in told if what in ("entry", "state", "earlier", "all")]
    match wanted:
        case [("all", "yes")]:
            return _Chosen("all entries", wanted, results.listing(name))
        case [("earlier", "yes")]:
            entries = [each for each in results.listing(name) if not each.current]
            return _Chosen("all entries of earlier states", wanted, entries)
        case [("state", digest)]:
            state = _chosen_state(results.states(name), digest)
            assert state is not None
            which = "the current state" if state.current else f"the state {digest[:12]}"
            return _Chosen(
                f"all entries of {which}", wanted, results.listing(name, state=state.digest)
            )
        case [("entry", _), *others] if all(what == "entry" for what, _ in others):
            keys = dict.fromkeys(which for _, which in wanted)
            one = "this entry" if len(keys) == 1 else "the chosen entries"
            return _Chosen(one, wanted, [_entry(results, name, key) for key in keys])
    raise UsageError("choose the entries that are to be evicted")


def _ask(request: Request, name: str) -> Response:
    """What would go; nothing goes yet."""
    with site_of(request).store() as store:
        chosen = _choose(store, name, request.query_params.multi_items())
    return render(
        request,
        "memo_evict.html",
        name=name,
        what=chosen.what,
        told=chosen.asked,
        count=len(chosen.entries),
        size=sum(each.entry.size for each in chosen.entries),
        cost=sum(each.entry.cost for each in chosen.entries),
        hits=sum(each.entry.hits for each in chosen.entries),
        current=sum(each.current for each in chosen.entries),
        staying=keeping.staying(chosen.entries),
        some=chosen.entries[:_NAMED],
        place_of=place_of,
        in_words=_in_words,
    )


def _evict(request: Request, name: str) -> Response:
    told = [
        (what, which)
        for what in ("entry", "state", "earlier", "all")
        for which in fields(request, what)
    ]
    with site_of(request).store() as store:
        chosen = _choose(store, name, told)
        gone = keeping.evict(store, chosen.entries)
    size = sum(each.size for each in gone)
    return seen(address(place_of(name), gone=len(gone), freed=size))


ROUTES = [
    Route("/memo", overview),
    Route("/memo/{names:anything}", pages_of, methods=["GET", "POST"]),
]
