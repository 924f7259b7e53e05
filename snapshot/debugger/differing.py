"""How two contents of a value differ, as text; see `searching.content`."""

from __future__ import annotations

import pickle
import re
from typing import Any

from snapshot.debugger.searching import content, shown

_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")
_MOST = 3  # attributes that are named


def difference(name: str, old: tuple[str, Any], new: tuple[str, Any]) -> str:
    """Of a value that shows nothing of what is in it, the attributes that have changed."""
    before, after = shown(old), shown(new)
    if _ADDRESS.sub("", before) != _ADDRESS.sub("", after):
        return f"{name}: {before} → {after}"
    found = _attributes(name, old, new) if old[0] == new[0] == "pickle" else []
    if not found:
        return f"{name}: {after} (changed)"
    return ", ".join(found[:_MOST]) + ", …" * (len(found) > _MOST)


def _attributes(name: str, old: tuple[str, Any], new: tuple[str, Any]) -> list[str]:
    then, now = (getattr(pickle.loads(data), "__dict__", {}) for _, data in (old, new))
    found = []
    for each in {**then, **now}:
        a, b = (_content(attributes, each) for attributes in (then, now))
        if a != b:
            before, after = shown(a), shown(b)
            told = f"{before} → {after}" if before != after else f"{after} (changed)"
            found.append(f"{name}.{each}: {told}")
    return found


def _content(attributes: dict[str, Any], name: str) -> tuple[str, Any]:
    return content(attributes[name]) if name in attributes else ("absent", None)
