"""An archive of calls: one file, with all their values, for another store.

It has the records by which a process tells of its calls, and is taken in as a spool is. A call
that was made by one of another process has no parent in it.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from snapshot.errors import CannotRead, StoreError
from snapshot.store import Store, events
from snapshot.store.calls import Call, Stored
from snapshot.store.folding import Writer
from snapshot.store.searching import storable
from snapshot.store.spool import framed, framed_in

_HEAD = b"snapshot: an archive of calls, version 1\n"
_PROCESS = 2  # the kind of the record that begins those of a process
_END = 3  # the kind of the last record, which says how many there are before it

_LARGEST = (1 << 32) - 1  # bytes of a record
_ROOM = 1 << 20  # of these, for all but the values
_MANY = 1 << 62  # no number of ours, also of microseconds, is so large
_KINDS = ("function", "coroutine", "generator", "async generator")

Check = Callable[[object], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_name(value: object) -> bool:
    """Whether it is a text that a database takes as it is."""
    return isinstance(value, str) and storable(value) == value


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < _MANY


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_none(value: object) -> bool:
    return value is None


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | None)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


# What is known of a process, a function and a thread. How many calls of a function are kept is for
# each store to say.
_FACTS: dict[str, dict[str, Check]] = {
    "process": {
        "session": _is_name,
        "parent": _is_none,
        "forked": lambda value: type(value) is int and value == 0,
        "pid": _is_number,
        "host": _is_text,
        "python": _is_text,
        "folder": _or_none(_is_text),
        "path": _are_texts,
        "main": _or_none(_is_text),
    },
    "function": {
        "number": _is_number,
        "key": _is_name,
        "digest": _is_digest,
        "kind": lambda value: value in _KINDS,
        "source": _or_none(_is_text),
        "file": _is_text,
        "line": lambda value: type(value) is int and 0 <= value < 1 << 31,
        "parameters": _are_texts,
        "code": _is_digest,
    },
    "thread": {"number": _is_number, "name": _is_text},
}
_MORE: dict[str, Check] = {"package": _or_none(_is_text), "keep_last": _is_none}


def write(store: Store, numbers: Iterable[int], path: Path) -> int:
    """Write calls into a new file; how many. Raises `StoreError`, `UnknownCall`."""
    calls = sorted(map(store.calls.get, numbers), key=lambda each: each.process.writer)
    temporary = path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}")
    try:
        with open(temporary, "xb") as file:
            file.write(_HEAD)
            count = 0
            for writer, several in groupby(calls, key=lambda each: each.process.writer):
                file.write(framed(_PROCESS, writer.encode()))
                count += 1
                for record in _told(store, list(several)):
                    file.write(framed(events.KIND, record))
                    count += 1
            file.write(framed(_END, str(count).encode()))
        os.link(temporary, path)  # unlike a rename, this replaces nothing
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return len(calls)


def _told(store: Store, calls: list[Call]) -> Iterator[bytes]:
    """The records of the calls of one process."""
    process = calls[0].process
    facts = {**process.facts, "session": process.session, "parent": None, "forked": 0}
    yield events.told("process", facts)
    functions: dict[tuple[str, bytes], int] = {}
    threads: dict[str, int] = {}
    numbers = {each.id for each in calls}
    for call in sorted(calls, key=lambda each: each.id):
        _check_size(store, call)
        key = call.function.key, call.function.digest
        if key not in functions:
            functions[key] = len(functions) + 1
            named = {"number": functions[key], "key": key[0], "digest": key[1].hex()}
            yield events.told("function", {**call.function.facts, **named, "keep_last": None})
        if call.thread not in threads:
            threads[call.thread] = len(threads) + 1
            yield events.told("thread", {"number": threads[call.thread], "name": call.thread})
        yield events.entered(
            call.id,
            functions[key],
            call.parent if call.parent in numbers else 0,
            round(call.started * 1e6),
            threads[call.thread],
            _content(store, call.arguments),
            _content(store, call.surroundings),
        )
        if call.duration is not None:
            error: dict[str, Any] | None = None
            if (failure := call.failure) is not None:
                error = {
                    "type": failure.type,
                    "text": failure.text,
                    "traceback": failure.traceback,
                }
            result, after = _content(store, call.result), _content(store, call.after)
            took = round(call.duration * 1e6)
            yield events.left(call.id, call.outcome, took, result, after, error)


def _check_size(store: Store, call: Call) -> None:
    values = (call.arguments, call.result, call.after, call.surroundings)
    size = sum(store.calls.show(each).size for each in values if each is not None)
    if size > _LARGEST - _ROOM:
        raise StoreError(
            f"the values of call {call.id} have {size} bytes: an archive holds calls of less than "
            "4 GiB; export the others"
        )


def _content(store: Store, stored: Stored | None) -> bytes:
    if stored is None:
        return b""
    data, buffers = store.calls.fetch(stored)
    shown = store.calls.show(stored)
    return events.whole(data, buffers, shown.type, shown.text)


def read(store: Store, path: Path) -> int:
    """Take the calls of an archive into a store, under new ids; how many.

    Raises `CannotRead`, `StoreError`; then nothing was taken.
    """
    return store.take_in(records(path))


def records(path: Path) -> list[tuple[Writer, list[bytes]]]:
    """Those of an archive, by the processes, as `Store.take_in` wants them. Raises `CannotRead`."""
    salt = os.urandom(4).hex()
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as all_:
            if all_[: len(_HEAD)] != _HEAD:
                raise CannotRead(f"{path} is no archive of calls, or of another version")
            groups: list[tuple[Writer, list[bytes]]] = []
            end, count, told = len(_HEAD), -1, None
            for kind, after, content in framed_in(all_, end):
                end = after
                count += 1
                told = int(content) if kind == _END else None
                if kind == _PROCESS:
                    writer = f"{content.decode()}-{salt}"
                    if not _is_name(writer):
                        raise ValueError("what it says of a process cannot be")
                    groups.append((Writer(f"archive-{salt}", writer, path), []))
                elif kind != _END:
                    _check(content)
                    groups[-1][1].append(content)
            if end != len(all_) or told != count:
                raise CannotRead(f"{path} is damaged, or not all of it is there")
    except OSError as error:
        raise CannotRead(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, struct.error, RecursionError) as error:
        raise CannotRead(f"{path} is damaged: {error}") from None
    return groups


def _check(record: bytes) -> None:
    """Raises ValueError, or another error, for what no archive has that was written here."""
    event = events.read(record)
    if isinstance(event, events.Told):
        checks = _FACTS[event.what]
        good = all(check(event.facts[name]) for name, check in checks.items()) and all(
            _MORE.get(name, _is_plain)(event.facts[name]) for name in event.facts.keys() - checks
        )
        if not good:
            raise ValueError(f"what it says of a {event.what} cannot be")
        return
    if isinstance(event, events.Later):
        raise ValueError("a value of a call is apart from it")
    numbers = [event.number]
    if isinstance(event, events.Entered):
        if event.parent >= event.number:
            raise ValueError("a call is made by a later one")
        contents = [event.arguments, event.surroundings]
        numbers += [abs(event.started), event.function, event.thread]
    else:
        contents = [event.result, event.after]
        numbers.append(event.duration)
        if event.error is not None and not all(
            isinstance(event.error[each], str) for each in ("type", "text", "traceback")
        ):
            raise ValueError("what it says of an exception cannot be")
    if max(numbers) >= _MANY:
        raise ValueError("a number is too large")
    for each in contents:
        found = events.content(each)
        if found is not None and (found.digest is not None or found.buffers):
            raise ValueError("it refers to values that it has not")
        if found is not None and not all(
            isinstance(t, str | None) for t in (found.type, found.text)
        ):
            raise ValueError("what it says of a value cannot be")
