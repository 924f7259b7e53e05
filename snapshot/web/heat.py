"""Heat: a map and a list of the functions of an application, and what is done about the cold ones.

Its text is read and edited; nothing of it is imported.
"""

from __future__ import annotations

import functools
import glob
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import xxhash
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from snapshot.errors import CannotRead, FilesChanged, UsageError
from snapshot.heat import removal, reports, rootmarker, treemap, undo
from snapshot.heat.inventory import Inventory
from snapshot.heat.reports import Row
from snapshot.heat.treemap import Node
from snapshot.heat.writing import replace
from snapshot.store import wording
from snapshot.web import removing
from snapshot.web.jobs import Job
from snapshot.web.pages import address, asked, field, fields, number, render, seen, site_of
from snapshot.web.paging import ROWS, Sorting, pager, sorting
from snapshot.web.traced import (
    Known,
    Traced,
    Unread,
    by_name,
    functions_named,
    name_of,
    read,
    texts,
)

_SHOWN = {
    "all": "all of the source",
    "cold": "never ran",
    "hot": "ran",
    **{f"P{each}": f"P{each}: ran least" for each in range(10, 100, 10)},
    "gone": "not in the source here",
}
_CHOSEN = 200  # functions at once
_AROUND = 4  # lines of source above and below a function
_DAYS = 60  # in the chart
_DAY = 86400
_CHART = (600.0, 90.0)  # its width and height
_LONG = 100_000  # characters of a file; of a longer one a part is shown
_PART = 400  # lines of it above and below

_making = threading.Lock()


def _traced(request: Request) -> Traced:
    with _making:
        state = request.app.state
        if not hasattr(state, "traced"):
            state.traced = Traced(site_of(request))
        found: Traced = state.traced
        return found


def _page(show: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """A page that says it when the application or a file is not as it should be."""

    @functools.wraps(show)
    def told(request: Request) -> Response:
        try:
            return show(request)
        except Unread as error:
            return seen(f"/jobs/{_read(request, error).id}")
        except (FilesChanged, CannotRead) as error:
            return render(request, "heat_error.html", 409, why=str(error))

    return told


def _read(request: Request, wanted: Unread) -> Job:
    """The job after which the page can be made."""
    back = address("/heat")
    if request.method == "GET":
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    jobs = site_of(request).jobs

    def start() -> Job:
        return jobs.start(
            "Reading the source",
            "inventory",
            {"root": str(wanted.root)},
            template="heat_read.html",
            back=back,
            returns=True,
        )

    return _traced(request).reading(start)


def _missing(request: Request, why: str) -> Response:
    return render(request, "heat_error.html", 404, why=why)


# The map.


class _Part(NamedTuple):
    """A row below the map. where: its address. functions, cold: how many there are; cold is None
    for one function. hits: None where that is unknown."""

    name: str
    key: str
    where: str
    functions: int
    cold: int | None
    hits: int | None
    last: float | None


@_page
def show_map(request: Request) -> Response:
    """`GET /heat`."""
    traced = _traced(request)
    try:
        inventory = traced.inventory()
    except UsageError as error:
        others = [(each, _address_of_other(each)) for each in traced.others()]
        return render(request, "heat_nothing.html", why=str(error), others=others)
    by = asked(request, "by") or "hits"
    if by not in treemap.LEGENDS:
        raise UsageError(f"by={by!r}: give one of {', '.join(treemap.LEGENDS)}")
    since, within = _since(request), asked(request, "in")
    known = traced.known(inventory, since)
    rows = [each for each in known.rows if each.is_here]
    node = _found(reports.tree(name_of(inventory), rows), within)
    if node is None:
        return _missing(request, f"there is no package or module {within}")

    def leads(each: Node) -> str:
        if each.inside:
            return _map(request, each.key)
        return address("/heat/source", key=each.key)

    parts = sorted((_part(each, leads(each)) for each in node.inside), key=_by_heat)
    pages = pager(request, len(parts))
    return render(
        request,
        "heat.html",
        **_frame(request, traced, inventory, known, "map"),
        node=node,
        summary=_part(node, ""),
        parts=parts[pages.offset : pages.offset + ROWS],
        pager=pages,
        drawing=Markup(treemap.linked(node, leads, by=by)) if node.inside else None,
        legend=treemap.LEGENDS[by],
        crumbs=_crumbs(request, within),
        within=within or "",
        by=by,
        since=asked(request, "since") or "",
    )


def _map(request: Request, within: str) -> str:
    return address("/heat", **{**request.query_params, "in": within, "page": None, "done": None})


def _found(root: Node, within: str | None) -> Node | None:
    """The package or module of that name; the whole for none."""
    node = root
    while within and node.key != within:
        inside = [each for each in node.inside if each.inside]
        several = (each for each in inside if f"{within}.".startswith(f"{each.key}."))
        found = next(several, None)
        if found is None:
            return None
        node = found
    return node


def _part(node: Node, where: str) -> _Part:
    leaves = [*node.leaves()] if node.inside or node.size else []
    known = [each.hits for each in leaves if each.hits is not None]
    return _Part(
        node.name,
        node.key,
        where,
        len(leaves),
        sum(not each for each in known) if node.inside else None,
        sum(known) if known else None,
        max((each.last for each in leaves if each.last is not None), default=None),
    )


def _by_heat(part: _Part) -> tuple[bool, int, str]:
    return part.cold is None, -(part.hits or 0), part.name


def _crumbs(request: Request, within: str | None) -> list[tuple[str, str]]:
    """What is around a package, from the outside: name and address."""
    parts = (within or "").split(".") if within else []
    return [(each, _map(request, ".".join(parts[: place + 1]))) for place, each in enumerate(parts)]


def _since(request: Request) -> float | None:
    text = asked(request, "since")
    return None if text is None else wording.moment(text)


def _frame(
    request: Request, traced: Traced, inventory: Inventory, known: Known, view: str
) -> dict[str, Any]:
    """What the pages on all functions have around it."""
    return {
        "view": view,
        "application": name_of(inventory),
        "root": inventory.root,
        "known": known,
        "others": [(each, _address_of_other(each)) for each in known.others],
        "ignored": len(inventory.ignored),
        "marker": inventory.marker.path.name,
        "skipped": inventory.skipped,
        "elsewhere": None if known.deployments else traced.elsewhere(inventory),
        **_last(inventory),
        "said": traced.said(asked(request, "done")),
    }


def _last(inventory: Inventory) -> dict[str, Any]:
    """The last removal; if what is kept of it is damaged, the page is shown, and tells it."""
    try:
        return {"last": undo.last(inventory.root), "damage": ""}
    except CannotRead as error:
        return {"last": None, "damage": str(error)}


def _address_of_other(name: str) -> str:
    return address("/heat/functions", application=name)


# The list.


@_page
def show_list(request: Request) -> Response:
    """`GET /heat/functions`."""
    traced = _traced(request)
    other = asked(request, "application")
    if other is not None:
        return _show_other(request, traced, other)
    inventory = traced.inventory()
    known = traced.known(inventory, _since(request))
    counts = traced.references()
    wanted = asked(request, "show") or "all"
    rows = _filtered(request, _shown(known.rows, wanted))
    order = _order(request)
    rows = _sorted(rows, order, counts or {})
    pages = pager(request, len(rows))
    return render(
        request,
        "heat_list.html",
        **_frame(request, traced, inventory, known, "list"),
        **_filters(request),
        show=wanted,
        shown=_SHOWN,
        packages=_packages(known.rows),
        rows=rows[pages.offset : pages.offset + ROWS],
        order=order,
        pager=pages,
        counts=counts,
        moment_of=reports.moment_of,
    )


def _show_other(request: Request, traced: Traced, name: str) -> Response:
    """An application that the store knows, and whose source is not here."""
    with site_of(request).store() as store:
        if name not in store.heat.applications():
            return _missing(request, f"no application {name} was traced into this store")
        hits = store.heat.hits(name, _since(request))
        rows = reports.rows_of_others(hits, store.heat.published(name))
        deployments = store.heat.deployments(name)
    order = _order(request)
    rows = _sorted(_filtered(request, rows), order, {})
    pages = pager(request, len(rows))
    return render(
        request,
        "heat_other.html",
        **_filters(request),
        application=name,
        deployments=deployments,
        moment_of=reports.moment_of,
        rows=rows[pages.offset : pages.offset + ROWS],
        order=order,
        pager=pages,
    )


def _filters(request: Request) -> dict[str, str]:
    return {
        "within": asked(request, "in") or "",
        "search": asked(request, "search") or "",
        "since": asked(request, "since") or "",
    }


def _shown(rows: list[Row], wanted: str) -> list[Row]:
    if wanted not in _SHOWN:
        raise UsageError(f"show={wanted!r}: give one of {', '.join(_SHOWN)}")
    if wanted == "gone":
        return [each for each in rows if not each.is_here]
    here = [each for each in rows if each.is_here]
    if wanted == "cold":
        return [each for each in here if each.hits == 0]
    if wanted == "hot":
        return [each for each in here if each.hits]
    if wanted == "all":
        return here
    return reports.least_active(here, int(wanted[1:]))


def _filtered(request: Request, rows: list[Row]) -> list[Row]:
    if within := asked(request, "in"):
        rows = [each for each in rows if f"{each.key.partition(':')[0]}.".startswith(f"{within}.")]
    if search := asked(request, "search"):
        text = search.casefold()
        rows = [each for each in rows if text in f"{each.key} {each.path}".casefold()]
    return rows


_COLUMNS: dict[str, Callable[[Row], Any]] = {
    "hits": lambda row: -1 if row.hits is None else row.hits,
    "key": lambda row: row.key,
    "place": lambda row: (row.path, row.line),
    "first": lambda row: row.first_seen or "",
    "last": lambda row: row.last_seen or "",
    "drift": lambda row: row.drift,
    "deployments": lambda row: len(row.deployments),
}


def _order(request: Request) -> Sorting:
    return sorting(request, (*_COLUMNS, "references"), "hits")


def _sorted(rows: Iterable[Row], order: Sorting, counts: dict[str, int]) -> list[Row]:
    ordered = sorted(rows, key=lambda row: row.key)
    if order.by == "references":
        return sorted(ordered, key=lambda row: counts.get(row.key, -1), reverse=order.down)
    return sorted(ordered, key=_COLUMNS[order.by], reverse=order.down)


def _packages(rows: Iterable[Row]) -> list[str]:
    """Those that have functions, and what is in them."""
    found = set()
    for each in rows:
        parts = each.key.partition(":")[0].split(".")
        found |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return sorted(found)


# A function, and the files that lead to it.


class _Bar(NamedTuple):
    """A day of the chart; said: the day and its hits."""

    x: float
    y: float
    width: float
    height: float
    said: str


@_page
def show_source(request: Request) -> Response:
    """`GET /heat/source?key=KEY`."""
    traced = _traced(request)
    inventory = traced.inventory()
    key = request.query_params.get("key", "")
    known = traced.known(inventory)
    row = next((each for each in known.rows if each.key == key), None)
    function = by_name(inventory).get(key)
    if row is None and function is None:
        return _missing(request, f"no function {key} is known")
    ran = reports.ran_as(inventory, key, known.hits)
    days: dict[float, int] = {}
    if ran:
        versions = {each.seen for each in ran}
        with site_of(request).store() as store:
            for version, day, hits in store.heat.days(name_of(inventory), ran[0].seen.key):
                if version in versions:
                    days[day] = days.get(day, 0) + hits
    text, first = "", 1
    if function is not None:
        first = max(1, function.first_line - _AROUND)
        lines = _text(inventory, function.path).split("\n")
        text = "\n".join(lines[first - 1 : function.end_line + _AROUND])
    return render(
        request,
        "heat_source.html",
        application=name_of(inventory),
        key=key,
        row=row,
        function=function,
        ignored=function is not None and function in inventory.ignored,
        text=text,
        first=first,
        references=traced.references_to(key),
        ran=sorted(ran, key=lambda each: each.last, reverse=True),
        bars=_bars(days),
        days=len(days),
        earlier=sum(day < _begin() for day in days),
        most=max(days.values(), default=0),
        chart=_CHART,
        shown_days=_DAYS,
        said=traced.said(asked(request, "done")),
        moment_of=reports.moment_of,
    )


def _begin() -> float:
    """Of the first day of the chart, which ends today."""
    return time.time() // _DAY * _DAY - (_DAYS - 1) * _DAY


def _bars(days: dict[float, int]) -> list[_Bar]:
    width, height = _CHART
    step, begin = width / _DAYS, _begin()
    shown = {day: hits for day, hits in days.items() if day >= begin}
    most = max(shown.values(), default=1)
    return [
        _Bar(
            round((day - begin) / _DAY * step + 0.5, 1),
            round(height - max(3.0, tall := hits / most * height), 1),
            round(step - 1, 1),
            round(max(3.0, tall), 1),
            f"{time.strftime('%Y-%m-%d', time.gmtime(day))}: {wording.so_many(hits, 'hit')}",
        )
        for day, hits in sorted(shown.items())
    ]


@_page
def show_file(request: Request) -> Response:
    """`GET /heat/file?path=PATH&line=N`: a file that leads to a function, from the root."""
    inventory = _traced(request).inventory()
    path = request.query_params.get("path", "")
    line = number(request, "line", 0, 10_000_000)
    if path not in texts(inventory.marker):
        return _missing(request, f"no file {path} of the application is shown")
    text, first = _text(inventory, path), 1
    if len(text) > _LONG:
        lines = text.split("\n")
        first = max(1, line - _PART)
        text = "\n".join(lines[first - 1 : line + _PART])
    return render(
        request,
        "heat_file.html",
        **{"file": path, "line": line, "text": text, "first": first},
        application=name_of(inventory),
        is_part=first > 1 or len(text) < len(_text(inventory, path)),
    )


def _text(inventory: Inventory, path: str) -> str:
    """The text of one of its files, with line feeds alone. Raises `CannotRead`."""
    content = read(inventory.root / path) if path in texts(inventory.marker) else None
    if content is None:
        raise CannotRead(f"{path} cannot be read, or is a link that leads out of the application")
    return content.decode("utf-8-sig", "replace").replace("\r\n", "\n").replace("\r", "\n")


@_page
def count_references(request: Request) -> Response:
    """`POST /heat/references`: to the function `key`, or how many lead to each one."""
    traced = _traced(request)
    inventory = traced.inventory()
    key = field(request, "key") or None
    if key is None:
        title, back = "Counting what leads to each function", "/heat/functions"
    else:
        functions_named(inventory, [key])
        title, back = f"Looking for what leads to {key}", address("/heat/source", key=key)
    job = site_of(request).jobs.start(
        title,
        "references",
        {"root": str(inventory.root), "key": key},
        template="heat_references.html",
        back=back,
    )
    if key is None:
        traced.count_references(job)
    else:
        traced.find_references(key, job)
    return seen(f"/jobs/{job.id}")


# What is ignored.


@_page
def choose(request: Request) -> Response:
    """`POST /heat/chosen`: what is to be done with functions of the list."""
    keys = _keys(fields(request, "key"))
    if field(request, "do") == "remove":
        return plan(request)
    return seen("/heat/ignore?" + address("", key=keys[0])[1:] + _more(keys[1:]))


def _more(keys: Iterable[str]) -> str:
    return "".join("&" + address("", key=each)[1:] for each in keys)


def _keys(given: list[str]) -> list[str]:
    if not given:
        raise UsageError("no function was chosen: tick the ones that are meant")
    if len(given) > _CHOSEN:
        raise UsageError(f"choose {_CHOSEN} functions at once, or fewer")
    return given


@_page
def show_ignoring(request: Request) -> Response:
    """`GET /heat/ignore?key=KEY&key=…`: what that would change."""
    inventory = _traced(request).inventory()
    keys = _keys(request.query_params.getlist("key"))
    functions = functions_named(inventory, keys)
    change = rootmarker.ignoring(inventory.marker, _ignored_keys(inventory, keys))
    several = {each.key for each in functions}
    return render(
        request,
        "heat_ignore.html",
        application=name_of(inventory),
        keys=keys,
        diff=removal.diff(inventory.marker.path.name, change.before, change.after),
        digest=xxhash.xxh3_128_hexdigest(change.before),
        count=sum(each.key in several for each in inventory),
        is_new=bool(change.keys),
    )


def _ignored_keys(inventory: Inventory, names: Iterable[str]) -> list[str]:
    """As patterns, without lines, which change: all functions of a key are ignored together."""
    keys = dict.fromkeys(each.key for each in functions_named(inventory, names))
    return [glob.escape(each) for each in keys]


@_page
def ignore(request: Request) -> Response:
    """`POST /heat/ignore`: write that."""
    traced = _traced(request)
    inventory = traced.inventory()
    keys = _keys(fields(request, "key"))
    change = rootmarker.ignoring(inventory.marker, _ignored_keys(inventory, keys))
    if xxhash.xxh3_128_hexdigest(change.before) != field(request, "digest"):
        raise FilesChanged(f"{inventory.marker.path.name} was changed since this was shown")
    if not change.keys:
        raise UsageError("these functions are ignored already")
    replace({inventory.marker.path: change.after})
    return seen(f"/heat/ignored/{traced.ignored(change)}")


def _change(request: Request) -> rootmarker.Ignoring:
    change = _traced(request).ignoring(request.path_params["id"])
    if change is None:
        raise HTTPException(404)
    return change


@_page
def show_ignored(request: Request) -> Response:
    """`GET /heat/ignored/ID`: what was written, and how it is undone."""
    inventory, change = _traced(request).inventory(), _change(request)
    marker = inventory.marker.path
    return render(
        request,
        "heat_ignored.html",
        application=name_of(inventory),
        id=request.path_params["id"],
        keys=change.keys,
        diff=removal.diff(marker.name, change.before, change.after),
        is_there=read(marker) == change.after,
    )


@_page
def undo_ignoring(request: Request) -> Response:
    """`POST /heat/ignored/ID/undo`."""
    traced, change = _traced(request), _change(request)
    marker = traced.inventory().marker.path
    if read(marker) != change.after:
        raise FilesChanged(f"{marker.name} was changed since, and nothing was put back")
    replace({marker: change.before})
    said = traced.say(f"{', '.join(change.keys)} counts again.")
    return seen(address("/heat/functions", done=said))


# What is removed.


@_page
def plan(request: Request) -> Response:
    """`POST /heat/remove`: a job that says what the removal of functions would change."""
    inventory = _traced(request).inventory()
    keys = _keys(fields(request, "key"))
    functions_named(inventory, keys)
    site = site_of(request)
    what = keys[0] if len(keys) == 1 else wording.so_many(len(keys), "function")
    job = site.jobs.start(
        f"Removing {what}: what would change",
        "remove",
        {
            "root": str(inventory.root),
            "keys": keys,
            "force": field(request, "force") == "yes",
            "store": site.place.url or str(site.place.path),
        },
        template="heat_removal.html",
        back="/heat/functions" if len(keys) > 1 else address("/heat/source", key=keys[0]),
    )
    return seen(f"/jobs/{job.id}")


@_page
def remove(request: Request) -> Response:
    """`POST /heat/removed`: do what a job has planned."""
    traced = _traced(request)
    inventory = traced.inventory()
    job: Job | None = site_of(request).jobs.get(field(request, "job"))
    if job is None or job.result.get("digest", "") != field(request, "plan"):
        raise FilesChanged("this plan is not known any more: plan it again")
    is_cold = reports.coldness_in(traced.known(inventory).rows)
    removing.apply(inventory, job.result, is_cold)
    return seen("/heat/removed")


@_page
def show_removed(request: Request) -> Response:
    """`GET /heat/removed`: the last removal, which can be taken back."""
    inventory = _traced(request).inventory()
    last = undo.last(inventory.root)
    diffs = {}
    if last is not None:
        diffs = {path: removal.diff(path, *both) for path, both in sorted(last.changes.items())}
    return render(
        request,
        "heat_removed.html",
        application=name_of(inventory),
        last=last,
        diffs=diffs,
    )


@_page
def put_back(request: Request) -> Response:
    """`POST /heat/undo`: take the last removal back."""
    traced = _traced(request)
    names, files = undo.undo(traced.inventory().root, field(request, "removal"))
    said = traced.say(f"Put back {', '.join(names)}, in {', '.join(files)}.")
    return seen(address("/heat/functions", done=said))


@_page
def restore(request: Request) -> Response:
    """`POST /heat/restore`: take functions out of the archive."""
    traced = _traced(request)
    inventory = traced.inventory()
    keys = _keys(fields(request, "key"))
    with site_of(request).store() as store:
        restored = store.heat.restore(name_of(inventory), keys)
    if not restored:
        raise UsageError(f"not in the archive: {', '.join(keys)}")
    said = traced.say(f"Taken out of the archive: {', '.join(restored)}.")
    return seen(address("/heat/functions", show="gone", done=said))


ROUTES = [
    Route("/heat", show_map),
    Route("/heat/functions", show_list),
    Route("/heat/source", show_source),
    Route("/heat/file", show_file),
    Route("/heat/references", count_references, methods=["POST"]),
    Route("/heat/chosen", choose, methods=["POST"]),
    Route("/heat/ignore", show_ignoring),
    Route("/heat/ignore", ignore, methods=["POST"]),
    Route("/heat/ignored/{id}", show_ignored),
    Route("/heat/ignored/{id}/undo", undo_ignoring, methods=["POST"]),
    Route("/heat/remove", plan, methods=["POST"]),
    Route("/heat/removed", show_removed),
    Route("/heat/removed", remove, methods=["POST"]),
    Route("/heat/undo", put_back, methods=["POST"]),
    Route("/heat/restore", restore, methods=["POST"]),
]
