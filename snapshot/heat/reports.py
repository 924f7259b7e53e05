"""Reports: what is known of each function of an application."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from snapshot.core.messages import say
from snapshot.errors import NoStore
from snapshot.heat import treemap
from snapshot.heat.inventory import Function, Inventory, functions_in
from snapshot.heat.rootmarker import RootMarker, find
from snapshot.heat.tracing import store_of
from snapshot.store import Store
from snapshot.store.heat import Hit, Published
from snapshot.store.wording import so_many

Where = str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a function.

    key: with its line where there are several of that key. path: from the root. hits: see
    `store.heat.Hit`; None for one that no traced process has known. first_seen, last_seen: when it
    ran, in ISO 8601. references: how many other places of the source lead to it, cold ones, too;
    None where nobody has looked, and for what is not here. drift: `changed` since it ran last,
    `new` here, `gone` from here, `archived`: gone from what was traced last, `generated` from a
    string; else "". deployments: those in which it ran. size: its lines.
    """

    key: str
    path: str
    line: int
    hits: int | None
    first_seen: str | None
    last_seen: str | None
    references: int | None
    drift: str
    deployments: tuple[str, ...]
    size: int = 1

    @property
    def is_here(self) -> bool:
        """Whether it is a function of the source here."""
        return self.drift not in ("gone", "archived", "generated")


def known(inventory: Inventory, where: Where, *, since: float | None = None) -> list[Row]:
    """What is known of each function of an application: first those of the inventory, in its
    order, then those that are not there. Raises `NoStore`, `StoreError`."""
    name = inventory.marker.name
    with opened(inventory.marker, where) as store:
        hits = store.heat.hits(name, since)
        published = store.heat.published(name)
        others = store.heat.applications()
    if name not in others:
        more = f"; there are {', '.join(others)}" if others else ""
        say(f"snapshot: nothing is known of {name}: trace it, by `snapshot heat run`{more}")
    return rows_of(inventory, hits, published)


def rows_of(
    inventory: Inventory, hits: Iterable[Hit], found_before: Iterable[Published]
) -> list[Row]:
    """What these say of each function; see `known`. found_before: by traced processes."""
    published = {each.place.key: each for each in found_before}
    found, left = _matched(inventory, hits)
    bare = {each.partition("@")[0] for each in published}
    rows = [_row(inventory, each, found[each], is_known=each.key in bare) for each in inventory]
    keys = {inventory.name_of(each) for each in inventory}
    away = {inventory.name_of(each) for each in inventory.ignored} | keys
    for key, several in sorted(left.items()):
        drift = "gone" if several[-1].seen.line else "generated"
        rows.append(_summed(key, several[-1].seen.path, several[-1].seen.line, several, drift))
    for key, each in published.items():
        if key not in away and key.partition("@")[0] not in left:
            drift = "gone" if each.archived is None else "archived"
            rows.append(_summed(key, each.place.path, each.place.line, [], drift))
    return rows


def rows_of_others(hits: Iterable[Hit], published: Iterable[Published]) -> list[Row]:
    """What these say of an application whose source is not here, in the order of the keys."""
    found: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        found[hit.seen.key].append(hit)
    rows = []
    for each in published:
        several = found.pop(each.place.key.partition("@")[0], [])
        drift = "" if each.archived is None else "archived"
        rows.append(_summed(each.place.key, each.place.path, each.place.line, several, drift))
    for key, several in found.items():
        seen = several[-1].seen
        rows.append(_summed(key, seen.path, seen.line, several, "" if seen.line else "generated"))
    return sorted(rows, key=lambda each: each.key)


def ran_as(inventory: Inventory, key: str, hits: Iterable[Hit]) -> list[Hit]:
    """Those of the function that has this key in a `Row`."""
    found, left = _matched(inventory, hits)
    for function, several in found.items():
        if inventory.name_of(function) == key:
            return several
    return left.get(key, [])


def least_active(rows: Iterable[Row], part: int) -> list[Row]:
    """Those that ran least, the coldest first: so many of a hundred, and who ran as often as the
    last of them. Functions of which nothing is known do not count."""
    ranked = sorted((each for each in rows if each.hits is not None), key=_hits)
    most = _hits(ranked[max(0, -(-len(ranked) * part // 100) - 1)]) if ranked else 0
    return [each for each in ranked if _hits(each) <= most]


def _hits(row: Row) -> int:
    return row.hits or 0


def coldness(root: str | os.PathLike[str], store: Where) -> Callable[[str], bool | None]:
    """Whether the function of a key, or of `KEY@line`, never ran; None where nobody knows that,
    since no process was traced that had it."""
    inventory = functions_in(find(root))
    try:
        rows = known(inventory, store)
    except NoStore:
        rows = []
    return coldness_in(rows)


def coldness_in(rows: Iterable[Row]) -> Callable[[str], bool | None]:
    """The same, of what is known."""
    cold: dict[str, list[bool | None]] = defaultdict(list)
    for each in rows:
        answer = None if each.hits is None else each.hits == 0
        for name in {each.key, each.key.partition("@")[0]}:
            cold[name].append(answer)

    def is_cold(key: str) -> bool | None:
        answers = cold.get(key, [None])
        if False in answers:
            return False
        return None if None in answers else True

    return is_cold


@contextlib.contextmanager
def opened(marker: RootMarker, where: Where) -> Iterator[Store]:
    """The store, with what was counted until now. Raises `NoStore`, `StoreError`."""
    place = store_of(marker.root, where)
    there = place.url is not None or place.path.exists()
    waiting = place.folder.exists()  # a process that could write no more than its spool
    if not there and not waiting:
        raise NoStore(f"there is no store {place}: trace first, by `snapshot heat run`")
    with Store(place, create=waiting) as store:
        for line in store.catch_up():
            say(f"snapshot: {line}")
        yield store


def _matched(
    inventory: Inventory, hits: Iterable[Hit]
) -> tuple[dict[Function, list[Hit]], dict[str, list[Hit]]]:
    """What has run of each function, and, by its key, of those that are not there.

    Of several functions of one key the one is meant that has the same text, or that line; where
    that is none, any of them may have run, and none is to be taken for cold.
    """
    by_key: dict[str, list[Function]] = defaultdict(list)
    for function in inventory:
        by_key[function.key].append(function)
    ignored = {each.key for each in inventory.ignored}
    found: dict[Function, list[Hit]] = defaultdict(list)
    left: dict[str, list[Hit]] = defaultdict(list)
    for hit in hits:
        several = by_key.get(hit.seen.key, [])
        same = [each for each in several if each.digest == hit.seen.text]
        there = [each for each in same or several if each.line == hit.seen.line]
        for function in there or same or several:
            found[function].append(hit)
        if not several and hit.seen.key not in ignored:
            left[hit.seen.key].append(hit)
    return found, left


def _row(inventory: Inventory, function: Function, hits: list[Hit], *, is_known: bool) -> Row:
    drift = ""
    if hits:
        last = max(hits, key=lambda each: each.last)
        if last.seen.text and last.seen.text != function.digest:
            drift = "changed"
    elif not is_known:
        drift = "new"
    row = _summed(inventory.name_of(function), function.path, function.line, hits, drift)
    size = function.end_line - function.first_line + 1
    return replace(row, size=size, hits=None if drift == "new" else row.hits)


def _summed(key: str, path: str, line: int, hits: list[Hit], drift: str) -> Row:
    return Row(
        *(key, path, line),
        sum(each.hits for each in hits),
        _date(min((each.first for each in hits), default=None)),
        _date(max((each.last for each in hits), default=None)),
        None,
        drift,
        tuple(dict.fromkeys(each.deployment for each in hits if each.deployment)),
    )


def _date(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def tree(name: str, rows: Sequence[Row]) -> treemap.Node:
    """Packages, in them modules, in them functions."""
    cold = sum(each.hits == 0 for each in rows)
    title = f"{name}: {len(rows)} functions, of which {cold} never ran"
    root = treemap.Node(name, title)
    nodes: dict[tuple[str, ...], treemap.Node] = {(): root}
    for each in rows:
        module, _, qualname = each.key.partition(":")
        parts = tuple(module.split("."))
        for depth in range(1, len(parts) + 1):
            if parts[:depth] not in nodes:
                dotted = ".".join(parts[:depth])
                nodes[parts[:depth]] = treemap.Node(parts[depth - 1], dotted, key=dotted)
                nodes[parts[: depth - 1]].inside.append(nodes[parts[:depth]])
        said = "unknown" if each.hits is None else "never ran" if not each.hits else ""
        said = said or f"{so_many(each.hits or 0, 'hit')}, last {each.last_seen}"
        title = f"{each.key}\n{each.path}:{each.line}\n{said}"
        last = moment_of(each.last_seen)
        leaf = treemap.Node(qualname, title, float(each.size), each.hits, last, each.key)
        nodes[parts].inside.append(leaf)
    return root


def moment_of(text: str | None) -> float | None:
    """When a `Row` says that it ran, in seconds since 1970."""
    return None if text is None else datetime.fromisoformat(text).timestamp()
