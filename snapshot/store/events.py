"""What a recording process tells of its calls: the records of its spool.

A process first says which it is, and of each function and thread once, under a number, what is
known of it. A call is two records, one when it is entered and one when it is left, so that a
process which is killed in a call has told of it. Times are microseconds.

A value is told as its content:

    nothing         none was stored
    0x80 ...        its pickle
    # digest        a value that this writer has told before, in the same spool file
    @ head, pickle  one whose large buffers are in files already: their digests and sizes
    % head, pickle, buffers     one with all that belongs to it, for another store
    &               one that is told later, by another record
"""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from snapshot.pickling import Bytes

KIND: Final = 1  # of a spool's records
LATER: Final = b"&"
SMALL: Final = 109  # bytes up to which a pickle, with its frame, is told again and again

_ENTERED = struct.Struct("<cIQQqII")
_LEFT = struct.Struct("<cBQQIII")
_LATER = struct.Struct("<ccQ")
_LENGTH = struct.Struct("<I")


class Outcome(IntEnum):
    """How a call ended. `yielded`: a generator that ran to its end; `closed`: one that did not."""

    running = 0
    returned = 1
    raised = 2
    yielded = 3
    closed = 4


_OUTCOMES = tuple(Outcome)
_NAMES = {b"A": "arguments", b"C": "after", b"R": "result"}
_LETTERS = {name: letter for letter, name in _NAMES.items()}


class Entered(NamedTuple):
    """A call begins. number: counted by the process, from 1. parent: that of another, 0 for none.

    function, thread: numbers, told before. started: since 1970.
    """

    number: int
    function: int
    parent: int
    started: int
    thread: int
    arguments: bytes
    surroundings: bytes


class Left(NamedTuple):
    """A call has ended. after: the arguments, where they are not what they were.

    error: of an exception, its type, text and traceback.
    """

    number: int
    outcome: Outcome
    duration: int
    result: bytes
    after: bytes
    error: dict[str, str] | None


class Later(NamedTuple):
    """A value of a call that has begun. what: `arguments`, `after` or `result`.

    Told of the arguments afterwards, whether they have changed or not.
    """

    number: int
    what: str
    value: bytes


class Told(NamedTuple):
    """What is known of a process, a function or a thread. what: `process`, `function`, `thread`."""

    what: str
    facts: dict[str, Any]


def entered(
    number: int,
    function: int,
    parent: int,
    started: int,
    thread: int,
    arguments: bytes,
    surroundings: bytes,
) -> bytes:
    """The record of `Entered`."""
    head = _ENTERED.pack(b"E", function, number, parent, started, thread, len(arguments))
    return head + arguments + surroundings


def left(
    number: int,
    outcome: int,
    duration: int,
    result: bytes,
    after: bytes = b"",
    error: dict[str, str] | None = None,
) -> bytes:
    """The record of `Left`."""
    problem = b"" if error is None else json.dumps(error).encode()
    head = _LEFT.pack(b"L", outcome, number, duration, len(result), len(after), len(problem))
    return head + result + after + problem


def later(number: int, what: str, value: bytes) -> bytes:
    """The record of `Later`."""
    return _LATER.pack(b"V", _LETTERS[what], number) + value


def told(what: str, facts: dict[str, Any]) -> bytes:
    """The record of `Told`."""
    return b"T" + json.dumps([what, facts]).encode()


def read(record: bytes) -> Entered | Left | Later | Told:
    """What a record says. Raises ValueError if it says nothing."""
    try:
        what = record[:1]
        if what == b"E":
            _, function, number, parent, started, thread, length = _ENTERED.unpack_from(record)
            end = _ENTERED.size + length
            arguments, surroundings = record[_ENTERED.size : end], record[end:]
            return Entered(number, function, parent, started, thread, arguments, surroundings)
        if what == b"L":
            _, outcome, number, duration, *lengths = _LEFT.unpack_from(record)
            if not (lengths[1] or lengths[2]):
                return Left(number, _OUTCOMES[outcome], duration, record[_LEFT.size :], b"", None)
            result, after, problem = _cut(record, _LEFT.size, lengths)
            error = json.loads(problem) if problem else None
            return Left(number, _OUTCOMES[outcome], duration, result, after, error)
        if what == b"V":
            _, name, number = _LATER.unpack_from(record)
            return Later(number, _NAMES[name], record[_LATER.size :])
        if what == b"T":
            return Told(*json.loads(record[1:]))
    except (struct.error, TypeError, LookupError) as error:
        raise ValueError(f"no record of a call: {error}") from None
    raise ValueError(f"no record of a call: it begins with {record[:1]!r}")


def _cut(record: bytes, begin: int, lengths: Sequence[int]) -> list[bytes]:
    ends = list(itertools.accumulate(lengths, initial=begin))
    return [record[start:end] for start, end in itertools.pairwise(ends)]


def reference(digest: bytes) -> bytes:
    """The content of a value that was told before."""
    return b"#" + digest


def outside(data: bytes, buffers: Sequence[tuple[bytes, int]], type_: str, text: str) -> bytes:
    """The content of a value whose buffers are in files: digest and size of each."""
    named = [[digest.hex(), size] for digest, size in buffers]
    head = json.dumps({"buffers": named, "type": type_, "text": text}).encode()
    return b"@" + _LENGTH.pack(len(head)) + head + data


def whole(data: bytes, buffers: Sequence[Bytes], type_: str, text: str) -> bytes:
    """The content of a value that another store is to have."""
    sizes = [memoryview(each).nbytes for each in buffers]
    head = json.dumps({"sizes": [len(data), *sizes], "type": type_, "text": text}).encode()
    return b"".join([b"%", _LENGTH.pack(len(head)), head, data, *buffers])


def files_of(record: bytes) -> Iterator[bytes]:
    """The digests of the files that a record refers to, as far as it can be read."""
    try:
        event = read(record)
        if isinstance(event, Entered):
            told = [event.arguments, event.surroundings]
        elif isinstance(event, Left):
            told = [event.result, event.after]
        elif isinstance(event, Later):
            told = [event.value]
        else:
            return
        for each in told:
            if each[:1] == b"@" and (found := content(each)) is not None:
                yield from (digest for digest, _ in found.buffers)
    except (ValueError, LookupError, TypeError, struct.error, RecursionError):
        return


def is_of_call(record: bytes) -> bool:
    """Whether it is of a call: it may refer to a value."""
    return record[:1] != b"T"


class Content(NamedTuple):
    """A value as it was told. digest: of one that was told before, with nothing else then.

    buffers: digests and sizes of those that are in files. parts: buffers that are in none.
    type, text: what is shown of it, where the writer has said.
    """

    digest: bytes | None
    data: bytes
    buffers: Sequence[tuple[bytes, int]] = ()
    parts: Sequence[bytes] = ()
    type: str | None = None
    text: str | None = None


def content(told: bytes) -> Content | None:
    """What the content of a value says; None where none was stored. Raises ValueError."""
    if not told:
        return None
    if told[:1] == b"\x80":
        return Content(None, told)
    if told == LATER:
        return None
    if told[:1] == b"#":
        return Content(told[1:], b"")
    if told[:1] in (b"@", b"%"):
        (length,) = _LENGTH.unpack_from(told, 1)
        begin = 1 + _LENGTH.size
        head = json.loads(told[begin : begin + length])
        if told[:1] == b"%":
            data, *parts = _cut(told, begin + length, head["sizes"])
            return Content(None, data, (), parts, head["type"], head["text"])
        buffers = [(bytes.fromhex(digest), int(size)) for digest, size in head["buffers"]]
        data = told[begin + length :]
        return Content(None, data, buffers, (), head["type"], head["text"])
    raise ValueError(f"no content of a value: it begins with {told[:1]!r}")
