"""List recorded calls.

A line for each: its id, when it was made, how long it took, its arguments and what came of it.
FUNC is a function, `f`, `Class.f` or `module:f`. Nothing is loaded: values are shown as they were.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys

from snapshot.commands import is_terminal, printable, stores
from snapshot.errors import UsageError
from snapshot.replay import telling
from snapshot.store import wording
from snapshot.store.events import Outcome

USAGE = (
    "[FUNC] [--since WHEN] [--exception] [--slower-than TIME] [--session S] [--limit N] "
    "[--json] [--store WHERE]"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which calls, and how to tell them."""
    parser.add_argument("function", nargs="?", metavar="FUNC", help="the calls of this function")
    parser.add_argument("--since", metavar="WHEN", help="2026-01-31, or 15m, 12h, 7d (ago)")
    parser.add_argument("--exception", action="store_true", help="those that raised one")
    parser.add_argument("--slower-than", metavar="TIME", help="0.5, 90s, 2m")
    parser.add_argument("--session", metavar="S", help="of one run of a program, as `show` says")
    parser.add_argument("--limit", metavar="N", default="50", help="the last N (default: 50)")
    parser.add_argument("--json", action="store_true", help="tell them as JSON")
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Print them, the oldest first. Raises `UsageError`, `StoreError`."""
    limit = options.limit
    if not (limit.isdecimal() and len(limit) < 19 and int(limit) > 0):
        raise UsageError(f"--limit {limit}: give a number from 1")
    with stores.store(options) as store:
        if options.function is not None:
            stores.of_function(store, options.function)
        found = list(
            store.calls.find(
                function=options.function,
                outcome=Outcome.raised if options.exception else None,
                since=None if options.since is None else wording.moment(options.since),
                slower=None
                if options.slower_than is None
                else wording.seconds(options.slower_than),
                session=options.session,
                newest=True,
                limit=int(limit),
            )
        )[::-1]
        rows = [
            {
                "id": call.id,
                "function": call.function.key,
                "call": telling.in_words(store, call),
                "outcome": call.outcome.name,
                "result": telling.outcome(store, call),
                "started": call.started,
                "duration": call.duration,
                "parent": call.parent,
                "session": call.process.session,
                "pid": call.process.facts["pid"],
            }
            for call in found
        ]
    if options.json:
        stores.tell(json.dumps(rows, indent=2))
        return 0
    if not rows:
        stores.tell("no such calls")
        return 0
    width = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    digits = max(len(str(each.id)) for each in found)
    lines = []
    for call, row in zip(found, rows, strict=True):
        took = wording.duration(call.duration)
        result = printable(str(row["result"]).partition("\n")[0])
        made = printable(str(row["call"])).replace("\n", "\\n").replace("\t", "\\t")
        head = f"{call.id:>{digits}}  {wording.when(call.started)}  {took:>7}  "
        lines.append(head + _fitted(made, result, None if width is None else width - len(head)))
    stores.tell(*lines)
    return 0


def _fitted(call: str, result: str, width: int | None) -> str:
    """Both in so many columns: of what is too long, the result has at least a third."""
    if width is None:
        return f"{call} → {result}"
    room = max(10, width - 3 - min(stores.columns(result), width // 3))
    if stores.columns(call) + stores.columns(result) + 3 > width:
        call = stores.cut(call, room, "…)")
    return stores.cut(f"{call} → {result}", max(1, width))
