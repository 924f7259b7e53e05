"""Show a recorded call: what it was made with, what it read, what came of it.

Nothing is loaded: values are shown as they were.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from snapshot.commands import stores
from snapshot.replay import telling
from snapshot.replay.executions import number_of
from snapshot.store import wording

if TYPE_CHECKING:
    from snapshot.store import Store
    from snapshot.store.calls import Call

USAGE = "ID [--json] [--store WHERE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which call, and how to tell it."""
    parser.add_argument("id", metavar="ID", help="the id of a call")
    parser.add_argument("--json", action="store_true", help="tell the same as JSON")
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Print it. Raises `UnknownCall`, `UsageError`, `StoreError`."""
    with stores.store(options) as store:
        call = store.calls.get(number_of(options.id))
        if options.json:
            stores.tell(json.dumps(_facts(store, call), indent=2))
        else:
            stores.tell(*_lines(store, call))
    return 0


def _facts(store: Store, call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "function": call.function.key,
        "version": call.function.digest.hex(),
        "file": call.function.facts["file"],
        "line": call.function.facts["line"],
        "source": call.function.facts["source"],
        "started": call.started,
        "duration": call.duration,
        "outcome": call.outcome.name,
        "thread": call.thread,
        "parent": call.parent,
        "children": [each.id for each in store.calls.find(parent=call.id)],
        "session": call.process.session,
        "process": call.process.facts,
        "arguments": telling.arguments(store, call),
        "after": None if call.after is None else telling.arguments(store, call, after=True),
        "surroundings": telling.surroundings(store, call),
        "result": None if call.result is None else store.calls.show(call.result).text,
        "exception": None if call.failure is None else call.failure.type,
        "traceback": None if call.failure is None else call.failure.traceback,
    }


def _lines(store: Store, call: Call) -> list[str]:
    facts = _facts(store, call)
    process = call.process.facts
    took = "still running" if call.duration is None else f"took {wording.duration(call.duration)}"
    lines = [
        f"call {call.id} of {call.function.key}, {facts['file']}:{facts['line']}",
        f"  {wording.when(call.started)}, {took}",
        f"  process {process['pid']} on {process['host']}, Python {process['python']}, "
        f"thread {call.thread or '?'}, session {call.process.session}",
    ]
    if call.parent is not None:
        lines.append(f"  made by call {call.parent}")
    if facts["children"]:
        shown = ", ".join(map(str, facts["children"][:10]))
        more = f" and {len(facts['children']) - 10} more" if len(facts["children"]) > 10 else ""
        lines.append(f"  it made {shown}{more}")
    for title, values in (
        ("called with", facts["arguments"]),
        ("which had become", facts["after"] or {}),
        ("it read", facts["surroundings"]),
    ):
        if values:
            lines += [f"{title}", *(f"  {name}: {text}" for name, text in values.items())]
    if call.failure is not None:
        lines += [
            "raised",
            *(f"  {each}" for each in call.failure.traceback.rstrip("\n").split("\n")),
        ]
    elif call.result is not None:
        lines += [call.outcome.name, f"  {facts['result']}"]
    if facts["source"]:
        lines += ["source", *(f"  {each}" for each in facts["source"].rstrip("\n").split("\n"))]
    return lines
