"""What is in a value at a moment, and how that differs from what was in it before."""

from __future__ import annotations

import marshal
import pickle
import re
from typing import Any

_ADDRESS = re.compile(r"\b0x[0-9a-f]+\b")
_MOST = 3  # attributes that are named
_LONGEST = 200  # characters of a value that is shown

ABSENT = object()


def content(value: Any) -> tuple[str, Any]:
    """What is equal as long as neither the value nor anything in it has changed."""
    if value is ABSENT:
        return "absent", None
    for how, dumps in (("marshal", _marshalled), ("pickle", pickle.dumps)):
        try:
            return how, dumps(value)
        except Exception:
            continue
    return "repr", f"{_text(value)} at {id(value):#x}"


def _marshalled(value: Any) -> bytes:
    return marshal.dumps(value, 2)  # from 3 on it tells what is shared, too


def shown(found: tuple[str, Any]) -> str:
    """As text what `content` has taken of a value."""
    how, data = found
    if how == "absent":
        return "(not there)"
    if how == "repr":
        return str(data)
    return _text((marshal if how == "marshal" else pickle).loads(data))


def _text(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        return f"({type(value).__qualname__}, whose repr raised {type(error).__name__})"
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


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
