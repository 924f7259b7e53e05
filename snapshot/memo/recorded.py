"""Recorded calls as results: what a function returned when it was recorded need not be run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from snapshot import pickling
from snapshot.errors import NotKeyable, NotPicklable, StoreError
from snapshot.memo.canonical import canonical
from snapshot.store import Store
from snapshot.store.calls import Call
from snapshot.store.events import Outcome
from snapshot.store.functions import key_of
from snapshot.store.objects import Packed, digest_of
from snapshot.store.versions import version_of

Keep = Callable[[tuple[Any, ...], dict[str, Any], Packed, float], str]

_STANDS_FOR_ANOTHER = b"Placeholder"  # in the pickle of a value that could not be stored wholly


@dataclass(frozen=True, slots=True)
class Adopted:
    """calls: the ids of those whose results are kept now. left: of the others, why not."""

    calls: tuple[int, ...]
    left: Mapping[int, str]


def adopt(store: Store, function: FunctionType, keep: Keep) -> Adopted:
    """See `Memoized.adopt`. keep: keeps the result of a call; why it does not, "" if it does."""
    store.catch_up()
    version = version_of(function)
    calls: list[int] = []
    left: dict[int, str] = {}
    for call in store.calls.find(function=key_of(function)):
        why = _unfit(store, call, function, version)
        if not why:
            why = _kept(store, call, keep)
        if why:
            left[call.id] = why
        else:
            calls.append(call.id)
    return Adopted(tuple(calls), left)


def _kept(store: Store, call: Call, keep: Keep) -> str:
    assert call.arguments is not None
    assert call.result is not None
    try:
        arguments = store.calls.fetch(call.arguments)
        result = store.calls.fetch(call.result)
        if any(_STANDS_FOR_ANOTHER in bytes(data) for data, _ in (arguments, result)):
            return "something in it could not be stored, or was redacted"
        args, kwargs = pickling.load(*arguments)
        data, buffers = result
        parts = [(hashlib.sha256(each).digest(), each) for each in buffers]
        shown = store.calls.show(call.result)
        digest = digest_of(data, [digest for digest, _ in parts])
        packed = Packed(digest, shown.type, shown.text, data, parts)
        return keep(args, kwargs, packed, call.duration or 0.0)
    except (StoreError, NotPicklable, NotKeyable) as error:
        return str(error)


def _unfit(store: Store, call: Call, function: FunctionType, version: bytes) -> str:
    """Why its result is not what the function would return now; "" where it is."""
    if call.function.key != key_of(function):
        return "it is of another function"
    if call.outcome is not Outcome.returned or call.result is None or call.arguments is None:
        return "it did not return, or not all of it was stored"
    if call.function.digest != version:
        return "the function was another one then"
    if call.after is not None:
        return "it changed its arguments"
    if call.surroundings is None:
        return ""
    try:
        around = store.calls.load(call.surroundings)
        return next(_differing(around, function), "")
    except (StoreError, NotPicklable, NotKeyable) as error:
        return str(error)


def _differing(around: Mapping[str, Any], function: FunctionType) -> Iterator[str]:
    """What it read then that is not known to be the same now."""
    for name in around.get("named", {}):
        yield f"the value of {name} was not stored"
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    for name, value in around.get("globals", {}).items():
        if canonical(value) != canonical(function.__globals__.get(name)):
            yield f"{name} had another value"
    for name, value in around.get("cells", {}).items():
        if name not in cells or canonical(value) != canonical(cells[name].cell_contents):
            yield f"{name} had another value"
