"""The job of freeing what nobody refers to."""

from __future__ import annotations

from typing import Any

from snapshot.store import Store
from snapshot.web.worker import Tell


def work(details: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """`Store.vacuum`. details: `store`, where it is. How much was freed: `values`, `bytes`, and in
    `undone` what could not be done, in lines. Raises `StoreError`."""
    with Store(details["store"]) as store:
        before = store.objects.size()
        freed = store.vacuum()
        after = store.objects.size()
        return {"values": freed, "bytes": max(0, before - after), "undone": store.undone}
