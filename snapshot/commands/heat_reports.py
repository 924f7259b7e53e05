"""What is known of an application's functions: told as text, JSON, CSV or a treemap.

It is `snapshot heat fetch`, `map` and `restore`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from snapshot.commands import printable, stores
from snapshot.commands.heat_inventory import inventory_of, progress
from snapshot.errors import UsageError
from snapshot.heat import reports, rootmarker, treemap
from snapshot.heat.inventory import Inventory
from snapshot.heat.references import references_to
from snapshot.heat.reports import Row
from snapshot.store import wording


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    """Which functions, since when, and how they are told."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--cold", action="store_true", help="those that never ran")
    which.add_argument("--hot", action="store_true", help="those that ran, the most active first")
    which.add_argument(
        "--percentile", metavar="P10", help="those that ran least, as the tenth part of all"
    )
    _add_since(parser)
    parser.add_argument("--format", choices=tuple(_FORMATTED), default="text")
    parser.add_argument(
        "--all", action="store_true", help="also what is not in the source here, and the archive"
    )
    stores.add_place(parser)


def _fetch(options: argparse.Namespace) -> int:
    """List functions with what is known of their calls."""
    since, part = _moment(options.since), _percentile(options.percentile)
    inventory = inventory_of(options.root)
    rows = reports.known(inventory, options.store, since=since)
    chosen = list(_chosen([each for each in rows if options.all or each.is_here], options, part))
    if not options.all and (away := sum(not each.is_here for each in rows)):
        stores.say([f"not shown, since they are not in the source here: {away} (--all)"])
    if options.format != "text":
        chosen = _with_references(inventory, chosen)
    stores.write(_FORMATTED[options.format](chosen))
    return 0


def _add_map(parser: argparse.ArgumentParser) -> None:
    """Which file, and since when."""
    parser.add_argument(
        "-o", "--output", default="heat.html", metavar="FILE", help="heat.html, or heat.svg"
    )
    _add_since(parser)
    stores.add_place(parser)


def _map(options: argparse.Namespace) -> int:
    """Draw functions by size, in the colours of how often they run."""
    since = _moment(options.since)
    inventory = inventory_of(options.root)
    rows = reports.known(inventory, options.store, since=since)
    root = reports.tree(inventory.marker.name, [each for each in rows if each.is_here])
    drawn = treemap.svg(root) if options.output.endswith(".svg") else treemap.html(root)
    try:
        Path(options.output).write_text(drawn, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {options.output}: {error.strerror}") from None
    stores.tell(f"{options.output}: {root.title}")
    return 0


def _add_restore(parser: argparse.ArgumentParser) -> None:
    """Which functions."""
    parser.add_argument("keys", nargs="+", metavar="KEY", help="of a function in the archive")
    stores.add_place(parser)


def _restore(options: argparse.Namespace) -> int:
    """Take functions that were gone out of the archive."""
    marker = rootmarker.find(options.root)
    with reports.opened(marker, options.store) as store:
        restored = store.heat.restore(marker.name, options.keys)
    stores.tell(*restored)
    if missing := [each for each in options.keys if each not in restored]:
        raise UsageError(f"not in the archive: {', '.join(missing)}")
    return 0


def _add_since(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", metavar="TIME", help="what ran then or later: 2026-01-31, or 12h, 7d (ago)"
    )


def _moment(text: str | None) -> float | None:
    return None if text is None else wording.moment(text)


def _percentile(text: str | None) -> int | None:
    if text is None:
        return None
    number = text.removeprefix("P").removeprefix("p")
    if not number.isascii() or not number.isdigit() or not 0 < int(number) <= 100:
        raise UsageError(f"{text!r} is no percentile: write P10, from P1 to P100")
    return int(number)


def _chosen(rows: list[Row], options: argparse.Namespace, part: int | None) -> Iterator[Row]:
    if options.cold:
        yield from (each for each in rows if each.hits == 0)
    elif options.hot:
        yield from sorted((each for each in rows if each.hits), key=_hits, reverse=True)
    elif part is not None:
        yield from reports.least_active(rows, part)
    else:
        yield from rows


def _hits(row: Row) -> int:
    return row.hits or 0


def _with_references(inventory: Inventory, rows: list[Row]) -> list[Row]:
    functions = {inventory.name_of(each): each for each in inventory}
    wanted = [functions[each.key] for each in rows if each.key in functions]
    with progress("files are searched") as step:
        found = references_to(inventory, wanted, progress=step)
    count = {inventory.name_of(each): len(places) for each, places in found.items()}
    return [replace(each, references=count.get(each.key)) for each in rows]


def _text(rows: list[Row]) -> str:
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
    lines = []
    for hits, last, *words in table:
        padded = [each.ljust(width) for each, width in zip(words, widths[2:], strict=True)]
        line = "  ".join([hits.rjust(widths[0]), last.ljust(widths[1]), *padded])
        lines.append(f"{printable(line.rstrip())}\n")
    return "".join(lines)


def _json(rows: list[Row]) -> str:
    return json.dumps([asdict(each) for each in rows], indent=2) + "\n"


def _csv(rows: list[Row]) -> str:
    out = io.StringIO()
    names = list(Row.__slots__)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for each in rows:
        values = [getattr(each, name) for name in names]
        writer.writerow(" ".join(v) if isinstance(v, tuple) else v for v in values)
    return out.getvalue()


_FORMATTED = {"text": _text, "json": _json, "csv": _csv}

SUBCOMMANDS: dict[
    str,
    tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]],
] = {
    "fetch": (_add_fetch, _fetch),
    "map": (_add_map, _map),
    "restore": (_add_restore, _restore),
}
