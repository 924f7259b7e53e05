"""The job that reads the source of an application, so that what it has is kept."""

from __future__ import annotations

from typing import Any

from snapshot.heat.inventory import functions_in
from snapshot.web.worker import Tell


def work(details: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """details: `root`."""
    inventory = functions_in(
        details["root"], progress=lambda done, total: tell(done, total, "files")
    )
    return {"functions": len(inventory)}
