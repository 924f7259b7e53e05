"""Recorded calls as results: what a function returned when it was recorded need not be run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from snapshot import pickling
from snapshot.errors import NotKeyable, NotPicklable, StoreError
from snapshot.memo import contents
from snapshot.memo.canonical import canonical
from snapshot.store import Store
from snapshot.store.calls import Call
from snapshot.store.events import Outcome
from snapshot.store.functions import key_of
from snapshot.store.objects import Packed, digest_of
from snapshot.store.versions import version_of

Keep = Callable[[tuple[Any, ...], dict[str, Any], Packed, float], str]

# In a pickle.
_STANDS_FOR_ANOTHER = b"Placeholder"  # of a value that could not be stored wholly
_FILES = contents.__name__.encode()  # what names a file stands for its contents


@dataclass(frozen=True, slots=True)
class Adopted:
    """calls: the ids of those whose results are kept now. left: of the others, why not."""

    calls: tuple[int, ...]
    left: Mapping[int, str]


def adopt(store: Store, function: FunctionType, read: Collection[str], keep: Keep) -> Adopted:
    """See `Memoized.adopt`.

    read: the names of the values that decide what it returns, see `memo.surroundings.State`. keep:
    keeps the result of a call; why it does not, "" if it does.
    """
    store.catch_up()
    version = version_of(function)
    calls: list[int] = []
    left: dict[int, str] = {}
    for call in store.calls.find(function=key_of(function)):
        why = _unfit(store, call, function, version, read)
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
        heads = [bytes(data) for data, _ in (arguments, result)]
        if any(_STANDS_FOR_ANOTHER in each for each in heads):
            return "something in it could not be stored, or was redacted"
        if any(_FILES in each for each in heads):
            return _FILE
        args, kwargs = pickling.load(*arguments)
        data, buffers = result
        parts = [(hashlib.sha256(each).digest(), each) for each in buffers]
        shown = store.calls.show(call.result)
        digest = digest_of(data, [digest for digest, _ in parts])
        packed = Packed(digest, shown.type, shown.text, data, parts)
        return keep(args, kwargs, packed, call.duration or 0.0)
    except (StoreError, NotPicklable, NotKeyable) as error:
        return str(error)


_FILE = "it had a FileContents: what was in the file then is not known"


def _unfit(
    store: Store, call: Call, function: FunctionType, version: bytes, read: Collection[str]
) -> str:
    """Why its result is not what the function would return now; "" where it is."""
    if call.function.key != key_of(function):
        return "it is of another function"
    if call.outcome is not Outcome.returned or call.result is None or call.arguments is None:
        return "it did not return, or not all of it was stored"
    if call.function.digest != version:
        return "the function was another one then"
    if call.after is not None:
        return "it changed its arguments"
    try:
        around: Mapping[str, Any] = {}
        if call.surroundings is not None:
            data, buffers = store.calls.fetch(call.surroundings)
            if _FILES in bytes(data):
                return _FILE
            around = pickling.load(data, buffers)
        return next(_differing(around, function, read), "")
    except (StoreError, NotPicklable, NotKeyable) as error:
        return str(error)


def _differing(
    around: Mapping[str, Any], function: FunctionType, read: Collection[str]
) -> Iterator[str]:
    """What is read that is not known to be the same as then.

    A recorded call tells of what its function reads by itself. What others read for it, helpers
    and methods, is not known.
    """
    for name in around.get("named", {}):
        yield f"the value of {name} was not stored"
    key, module = key_of(function), function.__globals__
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    known = set()
    for name, value in around.get("globals", {}).items():
        known.add(f"{module.get('__name__')}.{name}")
        if canonical(value) != canonical(module.get(name)):
            yield f"{name} had another value"
    for name, value in around.get("cells", {}).items():
        known.add(f"{key} closure {name}")
        if name not in cells or canonical(value) != canonical(cells[name].cell_contents):
            yield f"{name} had another value"
    defaults = _by_place(function.__defaults__, function.__kwdefaults__)
    then = around.get("changing", {})
    if "defaults" in around:
        then = _by_place(*around["defaults"])
    for place, value in then.items():
        name = _name_of_default(function, place)
        known.add(f"{key} default {name}")
        if place not in defaults or canonical(value) != canonical(defaults[place]):
            yield f"the default of {name} was another one"
    for each in read:
        if each not in known:
            yield f"what {each} was then is not known"


def _by_place(
    defaults: tuple[Any, ...] | None, keywords: Mapping[str, Any] | None
) -> dict[int | str, Any]:
    return dict(enumerate(defaults or ())) | dict(keywords or {})


def _name_of_default(function: FunctionType, place: int | str) -> str:
    """Of the parameter: its place is that among the defaults, or it is found by its name."""
    if isinstance(place, str):
        return place
    code = function.__code__
    return code.co_varnames[code.co_argcount - len(function.__defaults__ or ()) + place]
