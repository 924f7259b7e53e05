"""Memo: reuse a stored result while the code, its surroundings and the arguments are the same."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snapshot.memo.contents import FileContents
    from snapshot.memo.decorator import memoize
    from snapshot.memo.explaining import explain
    from snapshot.memo.group import MemoizedGroup
    from snapshot.memo.memoized import Memoized
    from snapshot.memo.objstore import DirObjStore, ObjStore
    from snapshot.memo.policies import LRU, GreedyDualSize, ReplacementPolicy
    from snapshot.memo.ttl import TTLInterval

_HOMES = {
    "DirObjStore": "objstore",
    "FileContents": "contents",
    "GreedyDualSize": "policies",
    "LRU": "policies",
    "Memoized": "memoized",
    "MemoizedGroup": "group",
    "ObjStore": "objstore",
    "ReplacementPolicy": "policies",
    "TTLInterval": "ttl",
    "explain": "explaining",
    "memoize": "decorator",
}

__all__ = [
    "LRU",
    "DirObjStore",
    "FileContents",
    "GreedyDualSize",
    "Memoized",
    "MemoizedGroup",
    "ObjStore",
    "ReplacementPolicy",
    "TTLInterval",
    "explain",
    "memoize",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
