"""How a value is written for a key: the form, the way through a value, and what is refused.

What `marshal` knows is written as it writes it; anything else is `@` and a tuple, of a word that
says what it is and of what it is made of. Each form says where it ends, so no two values that
differ have one form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from marshal import dumps
from types import EllipsisType, NoneType
from typing import Any, TypeVar

from xxhash import xxh3_128_digest

Bytes = bytes | bytearray | memoryview
Handler = Callable[["Writer", Any], bytes]
T = TypeVar("T")
R = TypeVar("R")

# Of marshal: without references between equal parts, floats as their bits.
VERSION = 2
# Exact types without parts. Marshal takes whatever has a buffer for bytes, so types are looked at.
ATOMS = frozenset({NoneType, bool, int, float, complex, str, EllipsisType})
LARGE = 1 << 16  # bytes from which on a buffer stands by its digest

_KEPT = 1 << 5  # bytes from which on what was written is kept, for the next way that leads to it
_LONGEST = 1 << 30  # bytes of one form
_AGAIN = 100_000  # visits to what was visited before, and cannot be kept as it is in a cycle
_NOWHERE = 1 << 62


class Refusal(Exception):
    """What cannot be written.

    what: a noun for it. why: a clause, None where it is like any other in another process.
    steps: of the way to it, the last one first.
    """

    def __init__(self, what: str, why: str | None = None) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why
        self.steps: list[str] = []


def plain(value: Any) -> bytes:
    """The form of an atom, or of what is made of atoms."""
    try:
        return dumps(value, VERSION)
    except ValueError:
        raise Refusal(f"the {type(value).__name__}", "it is too large") from None


def buffer(data: Bytes) -> bytes:
    """The form of bytes: large ones stand by their length and digest."""
    size = memoryview(data).nbytes
    if size < LARGE:
        return dumps(bytes(data), VERSION)
    return special("large", dumps(size, VERSION), dumps(xxh3_128_digest(data), VERSION))


def sequence(tag: bytes, parts: list[bytes]) -> bytes:
    """The form of a list, tuple or set, which its tag says, with these parts."""
    return b"".join([tag, len(parts).to_bytes(4, "little"), *parts])


def special(word: str, *parts: bytes) -> bytes:
    """The form of what is no plain data. The word decides what the parts are."""
    return b"@" + sequence(b"(", [dumps(word, VERSION), *parts])


def _left_out(value: object) -> bytes:
    return special("left out", plain(f"{type(value).__module__}.{type(value).__qualname__}"))


def _is_tool(kind: type) -> bool:
    """Whether it is a class of a library's: of an event, or a queue, the lock is what it is for,
    and the rest changes with its use."""
    from snapshot.store.versions import of_user  # which plain data can do without

    module = str(kind.__module__)
    return module not in ("builtins", "functools", "types") and not of_user(module)


class Writer:
    """Writes one value.

    find: says how. installed: the packages that were met beside those of `kinds`, the classes of
    what was written. is_apart: whether it writes
    what belongs to a class, whose version covers the classes that it leads to.
    """

    def __init__(self, find: Callable[[Any], Handler]) -> None:
        self._find = find
        self.installed: set[str] = set()
        self.kinds: set[type] = set()
        self.is_apart = False
        self.left_out: list[str] | None = None
        self._once: dict[int, tuple[object, Any]] = {}
        self._around: dict[int, int] = {}  # ids of what is being written, and how deep each is
        self._lowest = _NOWHERE  # of these: the outermost that was referred to
        self._kept: dict[int, tuple[object, bytes]] = {}
        self._open: dict[int, object] = {}
        self._visits = 0

    def write(self, value: Any) -> bytes:
        """The form of a value. A way back to what is being written counts the levels upwards.

        Raises `Refusal`.
        """
        if type(value) in ATOMS:
            return plain(value)
        number = id(value)
        if number in self._kept:
            return self._kept[number][1]
        depth = len(self._around)
        if number in self._around:
            self._lowest = min(self._lowest, self._around[number])
            return special("around", plain(depth - self._around[number]))
        outer, self._lowest = self._lowest, _NOWHERE
        self._around[number] = depth
        known = 0 if self.left_out is None else len(self.left_out)
        try:
            self.kinds.add(type(value))
            written = self._find(value)(self, value)
            if self.left_out is not None and len(self.left_out) > known and _is_tool(type(value)):
                written = _left_out(value)
        except Refusal as refusal:
            if self.left_out is None or refusal.steps:
                raise
            self.left_out.append(refusal.what)
            written = _left_out(value)
        finally:
            del self._around[number]
        if len(written) > _LONGEST:
            raise Refusal(f"the {type(value).__name__}", "it is too large")
        if self._lowest < depth:
            self._visit_again(value)
        elif len(written) >= _KEPT:
            self._kept[number] = value, written
        self._lowest = min(outer, self._lowest if self._lowest < depth else _NOWHERE)
        return written

    def _visit_again(self, value: object) -> None:
        """What is part of a larger cycle has another form from each way that leads to it."""
        if id(value) not in self._open:
            self._open[id(value)] = value
            return
        self._visits += 1
        if self._visits > _AGAIN:
            raise Refusal(f"the {type(value).__name__}", "too many ways lead through its cycles")

    def apart(self) -> Writer:
        """Another one, which does not see what is being written here."""
        writer = Writer(self._find)
        writer.installed, writer.kinds = self.installed, self.kinds
        writer.is_apart = True
        return writer

    def once(self, subject: T, find: Callable[[T], R]) -> R:
        """What is found of a thing, which is taken not to change while a value is written."""
        known = self._once.get(id(subject))
        if known is None:
            known = self._once[id(subject)] = subject, find(subject)
        found: R = known[1]
        return found

    def at(self, step: str, value: object) -> bytes:
        """The form of a part, and how to name the way to it."""
        try:
            return self.write(value)
        except Refusal as refusal:
            refusal.steps.append(step)
            raise

    def each(self, values: Iterable[object], step: str = "[{}]") -> list[bytes]:
        """The forms of the items of a sequence. step: what leads to the item of that number.

        They are taken at once, as another thread may change the sequence meanwhile.
        """
        parts: list[bytes] = []
        try:
            for value in [*values]:
                parts.append(self.write(value))
        except Refusal as refusal:
            refusal.steps.append(step.format(len(parts)))
            raise
        return parts

    def members(self, values: Iterable[object]) -> list[bytes]:
        """The forms of the members of a set, in an order of their own."""
        try:
            return sorted(map(self.write, [*values]))
        except Refusal as refusal:
            refusal.steps.append(".(member)")
            raise

    def mapping(self, items: Iterable[tuple[Any, Any]], step: str = "[{!r}]") -> bytes:
        """The form of a dictionary; its order counts. step: what leads to the item of that key."""
        parts = [b"{"]
        key: object = None
        try:
            for key, item in [*items]:
                parts.append(self.write(key))
                parts.append(self.write(item))
        except Refusal as refusal:
            shown = step.format(key) if type(key) in ATOMS else "[…]"
            refusal.steps.append(".(key)" if len(parts) % 2 else shown)
            raise
        return b"".join([*parts, b"0"])
