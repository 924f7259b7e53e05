"""The job that finds what leads to functions of an application."""

from __future__ import annotations

from typing import Any

from snapshot.heat.inventory import functions_in
from snapshot.heat.references import references_to
from snapshot.web.traced import functions_named, stamp_of
from snapshot.web.worker import Tell


def work(details: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """details: `root`, and `key` of a function, or None for how many lead to each of them."""
    inventory = functions_in(details["root"])
    key: str | None = details["key"]
    stamp = stamp_of(inventory.marker)
    functions = list(inventory) if key is None else functions_named(inventory, [key])
    found = references_to(
        inventory, functions, progress=lambda done, total: tell(done, total, "files")
    )
    if key is not None:
        return {"stamp": stamp, "key": key, "references": found[functions[0]]}
    counts = {inventory.name_of(each): len(places) for each, places in found.items()}
    return {"stamp": stamp, "counts": counts}
