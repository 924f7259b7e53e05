"""Reports: what is known of each function of an application, as text, JSON, CSV, or a treemap."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from snapshot.core.messages import say
from snapshot.errors import NoStore, UsageError
from snapshot.heat import tracing, treemap
from snapshot.heat.inventory import Function, Inventory, functions_in
from snapshot.heat.references import references_to
from snapshot.heat.rootmarker import find
from snapshot.heat.tracing import application, store_of
from snapshot.store import Store
from snapshot.store.heat import MODES, Hit

_FORMATS = ("text", "json", "csv")
_EVERY = 25  # files, after which it is told how far they are read

Where = str | os.PathLike[str] | None


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a function.

    key: with its line where there are several of that key. path: from the root. hits: see
    `store.heat.Hit`; None for one that no traced process has known. first_seen, last_seen: when it
    ran, in ISO 8601. references: how many other places of
    the source lead to it, cold ones, too; None where nobody has looked, and for what is not here.
    drift: `changed` since it ran last, `new` here, `gone` from here, `archived`: gone from what was
    traced last, `generated` from a string; else "". deployments: those in which it ran. size: its
    lines.
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


def add_arguments_fetch(parser: argparse.ArgumentParser) -> None:
    """Which functions, since when, and how they are told."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cold", action="store_true", help="those that never ran")
    which.add_argument("--hot", action="store_true", help="those that ran, the most active first")
    which.add_argument(
        "--percentile", metavar="P10", help="those that ran least, as the tenth part of all"
    )
    parser.add_argument("--since", metavar="DATE", help="what ran then or later: 2026-01-31")
    parser.add_argument("--format", choices=_FORMATS, default="text")
    parser.add_argument(
        "--all", action="store_true", help="also what is not in the source here, and the archive"
    )
    _add_place(parser)


def add_arguments_map(parser: argparse.ArgumentParser) -> None:
    """Which file, and since when."""
    parser.add_argument(
        "-o", "--output", default="heat.html", metavar="FILE", help="heat.html, or heat.svg"
    )
    parser.add_argument("--since", metavar="DATE", help="what ran then or later: 2026-01-31")
    _add_place(parser)


def add_arguments_restore(parser: argparse.ArgumentParser) -> None:
    """Which functions."""
    parser.add_argument("keys", nargs="+", metavar="KEY", help="of a function in the archive")
    _add_place(parser)


def add_arguments_run(parser: argparse.ArgumentParser) -> None:
    """How the functions are traced; the program comes after it."""
    parser.add_argument("--mode", choices=MODES, default="activity")
    parser.add_argument("--deployment", metavar="NAME", help="default: what git has checked out")
    _add_place(parser)


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", metavar="FOLDER", help="of the root marker, or one below")
    parser.add_argument(
        "--store",
        metavar="WHERE",
        help="a file, or a postgresql:// URL; default: SNAPSHOT_STORE, else that of the root",
    )


def execute_fetch(options: argparse.Namespace) -> int:
    """Print what is known. Raises `UsageError`, `StoreError`."""
    inventory = _inventory(options.root)
    rows = known(inventory, options.store, since=_moment(options.since))
    shown = list(_chosen(rows, options))
    if not options.all:
        away = sum(each.drift in ("gone", "archived", "generated") for each in rows)
        if away:
            say(f"snapshot: not shown, since they are not in the source here: {away} (--all)")
    if options.format != "text":
        shown = _with_references(inventory, shown)
    _FORMATTED[options.format](shown, sys.stdout)
    return 0


def execute_map(options: argparse.Namespace) -> int:
    """Write the treemap. Raises `UsageError`, `StoreError`."""
    inventory = _inventory(options.root)
    rows = known(inventory, options.store, since=_moment(options.since))
    root = _tree(application(inventory.root), [each for each in rows if _is_here(each)])
    drawn = treemap.svg(root) if options.output.endswith(".svg") else treemap.html(root)
    try:
        Path(options.output).write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror}") from None
    print(f"{options.output}: {root.title}")
    return 0


def execute_restore(options: argparse.Namespace) -> int:
    """Take functions out of the archive. Raises `UsageError`, `StoreError`."""
    root = find(options.root).root
    with _opened(root, options.store) as store:
        restored = store.heat.restore(application(root), options.keys)
    for key in restored:
        print(key)
    missing = [each for each in options.keys if each not in restored]
    if missing:
        raise UsageError(f"not in the archive: {', '.join(missing)}")
    return 0


def begin_run(options: argparse.Namespace) -> None:
    """Trace what runs from here on, as `snapshot heat run` was asked to."""
    tracing.start(options.root, options.mode, store=options.store, deployment=options.deployment)


def known(inventory: Inventory, where: Where, *, since: float | None = None) -> list[Row]:
    """What is known of each function of an application: first those of the inventory, in its
    order, then those that are not there. Raises `NoStore`, `StoreError`."""
    name = application(inventory.root)
    with _opened(inventory.root, where) as store:
        hits = store.heat.hits(name, since)
        published = {each.place.key: each for each in store.heat.published(name)}
        traced = store.heat.deployments(name)
    if not traced:
        say(f"snapshot: nothing is known of {name}: trace it first, by `snapshot heat run`")
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


def coldness(root: str | os.PathLike[str], store: Where) -> Callable[[str], bool | None]:
    """Whether the function of a key, or of `KEY@line`, never ran; None where nobody knows that,
    since no process was traced that had it."""
    inventory = functions_in(find(root))
    try:
        rows = known(inventory, store)
    except NoStore:
        rows = []
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


def _opened(root: Path, where: Where) -> contextlib.AbstractContextManager[Store]:
    """The store, with what was counted until now. Raises `NoStore`, `StoreError`."""

    @contextlib.contextmanager
    def opened() -> Iterator[Store]:
        place = store_of(root, where)
        there = place.url is not None or place.path.exists()
        waiting = place.folder.exists()  # a process that could write no more than its spool
        with Store(place, create=waiting and not there) as store:
            for line in store.catch_up():
                say(f"snapshot: {line}")
            yield store

    return opened()


def _inventory(root: Where) -> Inventory:
    with _progress("files are read") as step:
        return functions_in(find(root), progress=step)


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A line on a terminal that says how far something is."""
    stream = sys.stderr
    shows = stream is not None and stream.isatty()

    def step(done: int, total: int) -> None:
        if shows and done % _EVERY == 0:
            stream.write(f"\r\x1b[K{what}: {done} of {total}")
            stream.flush()

    try:
        yield step
    finally:
        if shows:
            stream.write("\r\x1b[K")
            stream.flush()


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


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise UsageError(f"{text!r} is no date: write 2026-01-31, or 2026-01-31T12:00") from None


def _is_here(row: Row) -> bool:
    return row.drift not in ("gone", "archived", "generated")


def _chosen(rows: list[Row], options: argparse.Namespace) -> Iterator[Row]:
    shown = [each for each in rows if options.all or _is_here(each)]
    if options.cold:
        yield from (each for each in shown if each.hits == 0)
    elif options.hot:
        hot = [each for each in shown if each.hits]
        yield from sorted(hot, key=lambda each: -(each.hits or 0))
    elif options.percentile is not None:
        part = _percentile(options.percentile)
        ranked = sorted((each for each in shown if each.hits is not None), key=_hits)
        most = ranked[max(0, -(-len(ranked) * part // 100) - 1)].hits if ranked else 0
        yield from (each for each in ranked if _hits(each) <= (most or 0))
    else:
        yield from shown


def _hits(row: Row) -> int:
    return row.hits or 0


def _percentile(text: str) -> int:
    number = text.removeprefix("P").removeprefix("p")
    if not number.isascii() or not number.isdigit() or not 0 < int(number) <= 100:
        raise UsageError(f"{text!r} is no percentile: write P10, from P1 to P100")
    return int(number)


def _with_references(inventory: Inventory, rows: list[Row]) -> list[Row]:
    functions = {inventory.name_of(each): each for each in inventory}
    wanted = [functions[each.key] for each in rows if each.key in functions]
    with _progress("files are searched") as step:
        found = references_to(inventory, wanted, progress=step)
    count = {inventory.name_of(each): len(places) for each, places in found.items()}
    return [replace(each, references=count.get(each.key)) for each in rows]


def _text(rows: list[Row], out: TextIO) -> None:
    table = [
        (
            "?" if each.hits is None else str(each.hits),
            (each.last_seen or "").removesuffix("+00:00").replace("T", " "),
            each.key,
            f"{each.path}:{each.line}",
            each.drift,
        )
        for each in rows
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for hits, last, *words in table:
        padded = [each.ljust(width) for each, width in zip(words, widths[2:], strict=True)]
        line = "  ".join([hits.rjust(widths[0]), last.ljust(widths[1]), *padded])
        print(line.rstrip(), file=out)


def _json(rows: list[Row], out: TextIO) -> None:
    json.dump([asdict(each) for each in rows], out, indent=2)
    out.write("\n")


def _csv(rows: list[Row], out: TextIO) -> None:
    names = list(Row.__slots__)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for each in rows:
        values = [getattr(each, name) for name in names]
        writer.writerow(" ".join(v) if isinstance(v, tuple) else v for v in values)


_FORMATTED = {"text": _text, "json": _json, "csv": _csv}


def _tree(name: str, rows: list[Row]) -> treemap.Node:
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
                nodes[parts[:depth]] = treemap.Node(parts[depth - 1], dotted)
                nodes[parts[: depth - 1]].inside.append(nodes[parts[:depth]])
        said = "unknown" if each.hits is None else "never ran" if not each.hits else ""
        said = said or f"{each.hits} hits, last {each.last_seen}"
        title = f"{each.key}\n{each.path}:{each.line}\n{said}"
        nodes[parts].inside.append(treemap.Node(qualname, title, float(each.size), each.hits))
    return root
