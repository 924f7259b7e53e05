"""The job that plans a removal, and what is done with the plan."""

from __future__ import annotations

import base64
import json
from typing import Any

import xxhash

from snapshot.errors import FilesChanged, UsageError
from snapshot.heat import reports, undo
from snapshot.heat.inventory import Inventory, functions_in
from snapshot.heat.references import Reference
from snapshot.heat.removal import Coldness, diff, plan
from snapshot.web.traced import digest_of, functions_named, read
from snapshot.web.worker import Tell


def work(details: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """details: `root`; `keys` of the functions; `force`; the `store` that knows what ran."""
    inventory = functions_in(details["root"])
    digest = digest_of(inventory.marker)
    functions = functions_named(inventory, details["keys"])
    removal = plan(
        inventory,
        functions,
        is_cold=reports.coldness(inventory.root, details["store"]),
        force=details["force"],
        progress=lambda done, total: tell(done, total, "files"),
    )
    stops: dict[str, dict[Reference, dict[str, Any]]] = {}
    for function, each in removal.stops:
        told = {"path": each.path, "line": each.line, "kind": each.kind}
        told["text"] = _line(inventory, each)
        stops.setdefault(inventory.name_of(function), {})[each] = told
    changes = {
        path: [base64.b64encode(each).decode() for each in both]
        for path, both in sorted(removal.changes.items())
    }
    result = {
        "root": str(inventory.root),
        "keys": [inventory.name_of(each) for each in functions],
        "force": details["force"],
        "sources": digest,
        "changes": changes,
        "stops": {name: list(several.values()) for name, several in stops.items()},
        "diffs": {path: diff(path, *both) for path, both in sorted(removal.changes.items())},
    }
    return result | {"digest": xxhash.xxh3_128_hexdigest(json.dumps(result).encode())}


def _line(inventory: Inventory, reference: Reference) -> str:
    lines = (read(inventory.root / reference.path) or b"").decode("utf-8", "replace").splitlines()
    return lines[reference.line - 1].strip()[:200] if 0 < reference.line <= len(lines) else ""


def apply(inventory: Inventory, planned: dict[str, Any], is_cold: Coldness) -> None:
    """Do what was planned, exactly that.

    Raises `UsageError` where something stops it, or a file cannot be written; `FilesChanged` where
    a file that counts is not what it was, or a function has been called meanwhile.
    """
    keys: list[str] = planned["keys"]
    if planned["stops"] and not planned["force"]:
        raise UsageError("something leads to these functions, and nothing was removed")
    if str(inventory.root) != planned["root"] or digest_of(inventory.marker) != planned["sources"]:
        raise FilesChanged(
            "files of the application were changed since this was planned, and nothing was "
            "removed: plan it again"
        )
    if not planned["force"] and (warm := [each for each in keys if not is_cold(each)]):
        raise FilesChanged(
            f"{', '.join(warm)} has been called since this was planned, and nothing was removed"
        )
    changes = {
        path: (base64.b64decode(before), base64.b64decode(after))
        for path, (before, after) in planned["changes"].items()
    }
    undo.write(inventory.root, changes, keys)
