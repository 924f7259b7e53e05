"""Objects: stored values, each named by the digest of its content, so that equal ones are one.

A value is its pickle and, out of band, its large buffers, which are objects themselves: the same
array is stored once, whatever holds it. Small objects are in the database, large ones in files.
"""

from __future__ import annotations

import contextlib
import hashlib
import reprlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import xxhash

from snapshot import pickling
from snapshot.errors import DamagedObject, DamagedStore, NotPicklable, UnknownObject
from snapshot.pickling import FindClass, Guarded
from snapshot.store import searching
from snapshot.store.database import Database
from snapshot.store.files import Files, Spooled

# All that refers to objects.
REFERRING = (
    *(
        (table, column)
        for table in ("calls", "aside_calls")
        for column in ("arguments_object", "result_object", "after", "surroundings")
    ),
    *(("buffers", "buffer"), ("held", "object"), ("results", "object"), ("states", "facts")),
)

# Of these, who is shown to use a value.
_USING = (*REFERRING[:4], ("results", "object"), ("states", "facts"))

# By what values come in a list: SQL for those that are beside them, and for their order.
_ORDERS = {
    "size": (
        " LEFT JOIN (SELECT object, SUM(part.size) AS size FROM buffers"
        " JOIN objects AS part ON part.id = buffer GROUP BY object) AS more"
        " ON more.object = objects.id",
        "objects.size + COALESCE(more.size, 0) DESC, objects.id",
    ),
    "type": ("", "type {as_written}, text {as_written}, objects.id"),
    "uses": (
        " LEFT JOIN (SELECT object, SUM(uses) AS uses FROM ("
        + " UNION ALL ".join(
            f"SELECT {column} AS object, COUNT(*) AS uses FROM {table}"
            f" WHERE {column} IS NOT NULL GROUP BY {column}"
            for table, column in _USING
        )
        + ") AS sums GROUP BY object) AS used ON used.object = objects.id",
        "COALESCE(used.uses, 0) DESC, objects.id",
    ),
}

_IN_FILE = 1 << 18  # bytes from which on an object has a file of its own
_HALVED = 1 << 25  # bytes from which on there is a checksum of each half
_CHECKSUM = 16  # bytes of one
_DIGEST = 32  # bytes of SHA-256
_TEXT = 200  # characters of what is shown of a value

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = _shown.maxlong = _TEXT


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Stands in the store for what could not be stored.

    type: of what it was. reason: why. text: what its `repr` said.
    """

    type: str
    reason: str
    text: str

    def __repr__(self) -> str:
        if self.reason == "redacted":
            return self.text
        return f"<not stored: {self.text}: {self.reason}>"

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{self!r} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return Placeholder, (self.type, self.reason, self.text)


@dataclass(frozen=True, slots=True)
class Packed:
    """A value, ready to be stored: its digest, what is shown of it, its pickle and its buffers.

    digest: 32 bytes. The buffers are the value's own memory: store them before it changes.
    """

    digest: bytes
    type: str
    text: str
    data: bytes
    buffers: Sequence[tuple[bytes, pickling.Bytes]] = ()

    @classmethod
    def of(cls, value: object, data: bytes, buffers: Iterable[pickling.Bytes] = ()) -> Packed:
        """A value that is pickled."""
        parts = [(hashlib.sha256(each).digest(), each) for each in buffers]
        digest = digest_of(data, [digest for digest, _ in parts])
        return cls(digest, type_name(value), text_of(value), data, parts)

    @property
    def size(self) -> int:
        """Bytes, with the buffers."""
        return len(self.data) + sum(memoryview(data).nbytes for _, data in self.buffers)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of an object without loading it: type, text (a short `repr`), size in bytes."""

    type: str
    text: str
    size: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A value in a list. size: bytes, with its buffers. uses: how many calls, memo entries and
    states of memoized functions refer to it."""

    digest: bytes
    type: str
    text: str
    size: int
    uses: int


@dataclass(frozen=True, slots=True)
class Kind:
    """Values of one type. size: bytes of all of them, with their buffers, of which one that
    several share counts with each."""

    type: str
    count: int
    size: int


def pack(value: object) -> Packed:
    """Pickle a value. What cannot be pickled becomes a `Placeholder`."""
    try:
        data, buffers = pickling.dump(value)
    except NotPicklable as error:
        value = Placeholder(type_name(value), str(error), text_of(value))
        data, buffers = pickling.dump(value)
    return Packed.of(value, data, buffers)


def digest_of(data: bytes, buffers: Iterable[bytes] = ()) -> bytes:
    """The name of a value: the SHA-256 of its pickle, and of the names of its buffers after it."""
    digest = hashlib.sha256(data)
    for each in buffers:
        digest.update(each)
    return digest.digest()


def type_name(value: object) -> str:
    """`int`, `numpy.ndarray`."""
    kind = type(value)
    name = kind.__qualname__
    module = "?"
    with Guarded():
        module = kind.__module__
    return _clean(name if module == "builtins" else f"{module}.{name}")


def text_of(value: object) -> str:
    """A `repr` that is short, and never raises."""
    try:
        # Of bytes the beginning is enough, and a repr of all of them would be large.
        shown = value[:_TEXT] if isinstance(value, bytes | bytearray) else value
        text = _shown.repr(shown)
    except BaseException as error:
        if pickling.is_interrupt(error):
            raise
        text = f"<its repr raised {type(error).__name__}>"
    text = _clean(text)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


class Objects:
    """Those of a store.

    files: where the large ones are. may_load: raises where a pickle of this store must not be
    loaded.
    """

    def __init__(self, database: Database, files: Files, may_load: Callable[[], None]) -> None:
        self._database = database
        self._files = files
        self._may_load = may_load

    def put(self, value: object) -> bytes:
        """Store a value; its digest."""
        packed = pack(value)
        self.add([packed])
        return packed.digest

    def add(self, several: Iterable[Packed]) -> None:
        """Store values that are packed; those that are there already are passed over."""
        with self._database.transaction():
            self._database.lock(exclusive=False)
            for packed in several:
                self._add(packed)

    @contextlib.contextmanager
    def added(self, packed: Packed, *, anew: bool = False) -> Iterator[int]:
        """Store a value; within nobody else writes, and its id is to be referred to.

        Its files are written before, so that nobody waits for them. anew: it may be there, and
        damaged. Raises `StoreError`.
        """
        parts = [(packed.digest, packed.data), *packed.buffers]
        try:
            for digest, data in parts:
                if memoryview(data).nbytes >= _IN_FILE:
                    self._files.rely()
                    self._files.write(digest, data, anew=anew)
            with self._database.transaction():
                self._database.lock(exclusive=True)
                number = self._add(packed)
                for digest, data in parts if anew else ():
                    self._mend(digest, data)
                yield number
        finally:
            self._files.told()

    def _mend(self, digest: bytes, data: pickling.Bytes) -> None:
        size = memoryview(data).nbytes
        self._database.rows(
            "UPDATE objects SET size = ?, data = ?, checksum = ? WHERE digest = ?",
            (
                *(size, None if size >= _IN_FILE else bytes(data)),
                *(_checksum(digest, data) if size >= _IN_FILE else None, digest),
            ),
        )

    def _add(self, packed: Packed) -> int:
        number = self._insert(packed.digest, packed.data, packed.type, packed.text)
        self._join(number, [self._insert(digest, data) for digest, data in packed.buffers])
        return number

    def adopt(
        self, data: bytes, buffers: Iterable[tuple[bytes, int]], type_: str | None, text: str | None
    ) -> int:
        """Store a pickle whose buffers are in files, of which digest and size are given; its id.

        In a transaction.
        """
        named = list(buffers)
        number = self._insert(digest_of(data, [digest for digest, _ in named]), data, type_, text)
        self._join(number, [self._row(digest, size, None, None, None) for digest, size in named])
        return number

    def keep(
        self, data: bytes, buffers: Iterable[bytes], type_: str | None, text: str | None
    ) -> int:
        """Store a pickle with its buffers; its id. In a transaction."""
        parts = [(hashlib.sha256(each).digest(), each) for each in buffers]
        number = self._insert(digest_of(data, [digest for digest, _ in parts]), data, type_, text)
        self._join(number, [self._insert(digest, each) for digest, each in parts])
        return number

    def _join(self, number: int, buffers: Iterable[int]) -> None:
        for position, buffer in enumerate(buffers):
            self._database.rows(
                "INSERT INTO buffers (object, position, buffer) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (number, position, buffer),
            )

    def _insert(
        self, digest: bytes, data: pickling.Bytes, type_: str | None = None, text: str | None = None
    ) -> int:
        size = memoryview(data).nbytes
        if size >= _IN_FILE:
            self._files.write(digest, data)  # also where only the row is there
        inside = None if size >= _IN_FILE else bytes(data)
        checksum = _checksum(digest, data) if size >= _IN_FILE else None
        return self._row(digest, size, inside, type_, text, checksum)

    def _row(
        self,
        digest: bytes,
        size: int,
        data: bytes | None,
        type_: str | None,
        text: str | None,
        checksum: bytes | None = None,
    ) -> int:
        if (number := self._id(digest)) is not None:
            return number
        self._database.rows(
            "INSERT INTO objects (digest, size, data, type, text, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (digest, size, data, type_, text, checksum),
        )
        if (number := self._id(digest)) is None:
            raise DamagedStore(f"{self._database.name} is damaged: it does not find what it has")
        return number

    def id(self, digest: bytes) -> int:
        """That of an object. Raises `UnknownObject`."""
        number = self._id(digest)
        if number is None:
            raise _unknown(digest, self._database)
        return number

    def digest(self, number: int) -> bytes:
        """Of the object with an id. Raises `UnknownObject`."""
        found = self._database.row("SELECT digest FROM objects WHERE id = ?", (number,))
        if found is None:
            raise UnknownObject(f"there is no object number {number} in {self._database.name}")
        return bytes(found[0])

    def _id(self, digest: bytes) -> int | None:
        found = self._database.row("SELECT id FROM objects WHERE digest = ?", (digest,))
        return None if found is None else int(found[0])

    def ids(self) -> Iterator[tuple[bytes, int]]:
        """Digest and id of each object."""
        for digest, number in self._database.rows("SELECT digest, id FROM objects"):
            yield bytes(digest), int(number)

    def __contains__(self, digest: bytes) -> bool:
        return self._id(digest) is not None

    def show(self, digest: bytes) -> Shown:
        """Of what type it is, and what it looks like; nothing is loaded. Raises `UnknownObject`."""
        found = self._database.row(
            "SELECT type, text, size + (SELECT COALESCE(SUM(part.size), 0) FROM buffers"
            " JOIN objects AS part ON part.id = buffer WHERE object = objects.id)"
            " FROM objects WHERE digest = ?",
            (digest,),
        )
        if found is None:
            raise _unknown(digest, self._database)
        type_, text, size = found
        return Shown(type_ or "bytes", text or "", int(size))

    def count(self, search: str | None = None) -> int:
        """How many values there are; see `listing`."""
        where, values = self._where(search)
        found = self._database.row(f"SELECT COUNT(*) FROM objects {where}", values)
        return 0 if found is None else int(found[0])

    def listing(
        self,
        *,
        order: Literal["size", "type", "uses"] = "size",
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Listed]:
        """Values, the largest first; nothing is loaded.

        order: else by type and text, or those first that are used most. search: words, each of
        which is in the type or the text, in upper or lower case. limit: no more than so many.
        offset: without so many before them.
        """
        where, values = self._where(search)
        join, by = _ORDERS[order]
        some = self._database.words["all"] if limit is None else int(limit)
        ids = self._database.rows(
            f"SELECT objects.id FROM objects{join} {where} ORDER BY"
            f" {by.format(**self._database.words)} LIMIT {some} OFFSET {int(offset)}",
            values,
        )
        found = [self._listed(int(number)) for (number,) in ids]
        return [each for each in found if each is not None]

    def kinds(self) -> list[Kind]:
        """The types of the values, those first that take most."""
        rows = self._database.rows(
            "SELECT type, SUM(count), SUM(size) FROM ("
            "SELECT type, COUNT(*) AS count, SUM(size) AS size FROM objects"
            " WHERE type IS NOT NULL GROUP BY type UNION ALL"
            " SELECT objects.type, 0, SUM(part.size) FROM buffers"
            " JOIN objects ON objects.id = object JOIN objects AS part ON part.id = buffer"
            " WHERE objects.type IS NOT NULL GROUP BY objects.type"
            ") AS sums GROUP BY type"
        )
        kinds = [Kind(type_, int(count), int(size)) for type_, count, size in rows]
        return sorted(kinds, key=lambda each: (-each.size, each.type))

    def size(self) -> int:
        """Bytes of all values and buffers, each of which is stored once."""
        found = self._database.row("SELECT COALESCE(SUM(size), 0) FROM objects")
        return 0 if found is None else int(found[0])

    def buffers(self, digest: bytes) -> list[tuple[bytes, int]]:
        """Digest and size in bytes of each buffer of a value, in their order."""
        rows = self._database.rows(
            "SELECT part.digest, part.size FROM objects JOIN buffers ON object = objects.id"
            " JOIN objects AS part ON part.id = buffer WHERE objects.digest = ? ORDER BY position",
            (digest,),
        )
        return [(bytes(part), int(size)) for part, size in rows]

    def unused(self) -> tuple[int, int]:
        """How many values and buffers nobody refers to, and their bytes."""
        used = " UNION ".join(
            f"SELECT {column} AS id FROM {table} WHERE {column} IS NOT NULL"
            for table, column in REFERRING
            if table != "buffers"
        )
        found = self._database.row(
            f"WITH used AS ({used}) SELECT COUNT(*), COALESCE(SUM(size), 0) FROM objects"
            " WHERE id NOT IN (SELECT id FROM used) AND id NOT IN"
            " (SELECT buffer FROM buffers WHERE object IN (SELECT id FROM used))"
        )
        return (0, 0) if found is None else (int(found[0]), int(found[1]))

    def _where(self, search: str | None) -> searching.Condition:
        """Values, for a buffer has no type."""
        conditions: list[searching.Condition] = [("type IS NOT NULL", [])]
        for word in searching.words(search):
            columns = ("type", "text")
            conditions.append(
                searching.either(
                    [searching.in_text(self._database, each, word) for each in columns]
                )
            )
        return (
            f"WHERE {' AND '.join(each for each, _ in conditions)}",
            [value for _, values in conditions for value in values],
        )

    def _listed(self, number: int) -> Listed | None:
        found = self._database.row("SELECT digest FROM objects WHERE id = ?", (number,))
        if found is None:  # it was deleted meanwhile
            return None
        shown = self.show(bytes(found[0]))
        counts = [
            self._database.row(f"SELECT COUNT(*) FROM {table} WHERE {column} = ?", (number,))
            for table, column in _USING
        ]
        uses = sum(int(each[0]) for each in counts if each is not None)
        return Listed(bytes(found[0]), shown.type, shown.text, shown.size, uses)

    def trusted(self, data: bytes) -> bytes:
        """A pickle that this store has elsewhere, if it may be loaded. Raises `NotTrusted`."""
        self._may_load()
        return data

    def pickle(self, digest: bytes) -> tuple[bytes, list[int]]:
        """The pickle of an object, and the sizes of its buffers.

        Raises `UnknownObject`, `DamagedObject`.
        """
        number, data, _ = self._read(digest)
        sizes = self._database.rows(
            "SELECT size FROM objects JOIN buffers ON objects.id = buffer"
            " WHERE object = ? ORDER BY position",
            (number,),
        )
        return bytes(data), [int(size) for (size,) in sizes]

    def get(self, digest: bytes, *, find_class: FindClass | None = None) -> Any:
        """The value. Loading runs code that its pickle names. find_class: as for `pickling.load`.

        Raises `NotPicklable` where it cannot be built here, and what `fetch` does.
        """
        return pickling.load(*self.fetch(digest), find_class=find_class)

    def fetch(self, digest: bytes) -> tuple[bytes, list[pickling.Bytes]]:
        """The pickle of a value and its buffers, to be loaded.

        Raises `UnknownObject`, `DamagedObject`, and `NotTrusted` where somebody else may have put
        it there.
        """
        self._may_load()
        number, data, _ = self._read(digest)
        parts = self._database.rows(
            "SELECT digest FROM objects JOIN buffers ON objects.id = buffer"
            " WHERE object = ? ORDER BY position",
            (number,),
        )
        names = [bytes(each) for (each,) in parts]
        if digest_of(bytes(data), names) != digest:
            raise self._damaged(digest, "its content is not what its name says")
        return bytes(data), [self._buffer(each) for each in names]

    def _buffer(self, digest: bytes) -> pickling.Bytes:
        _, data, checksum = self._read(digest)
        if not _is_whole(digest, data, checksum):
            if isinstance(data, memoryview):
                data.release()
            raise self._damaged(digest, "its content is not what its name says")
        return bytearray(data) if isinstance(data, bytes) else data

    def _read(self, digest: bytes) -> tuple[int, pickling.Bytes, bytes | None]:
        """Id, content and checksum, if there is one."""
        found = self._database.row(
            "SELECT id, size, data, checksum FROM objects WHERE digest = ?", (digest,)
        )
        if found is None:
            raise _unknown(digest, self._database)
        number, size, data, checksum = found
        if data is not None:
            return int(number), bytes(data), checksum
        try:
            return int(number), self._files.read(digest, size), checksum
        except FileNotFoundError:
            raise self._damaged(digest, f"{self._files.name(digest)} is missing") from None
        except ValueError as error:
            raise self._damaged(digest, f"{self._files.name(digest)} {error}") from None

    def write(self, digest: bytes, data: pickling.Bytes) -> None:
        """Make the file of a large object, or of a buffer, which this thread tells of next.

        Raises `StoreError`.
        """
        self._files.rely()
        self._files.write(digest, data)

    def _damaged(self, digest: bytes, why: str) -> DamagedObject:
        return DamagedObject(
            f"object {digest.hex()} of {self._database.name} is damaged: {why}", digest=digest
        )

    def release(self, numbers: Iterable[int], spooled: Spooled) -> list[str]:
        """Delete those of some objects that nobody refers to any more, with their buffers.

        What could not be deleted, in lines. spooled: see `Files.delete`.
        """
        with self._database.transaction():
            self._database.lock(exclusive=True)
            files: set[bytes] = set()
            for number in numbers:
                parts = self._database.rows(
                    "SELECT buffer FROM buffers WHERE object = ?", (number,)
                )
                if self._release(number, files):
                    for (part,) in parts:
                        self._release(part, files)
            return self._files.delete(files, spooled) if files else []

    def _release(self, number: int, files: set[bytes]) -> bool:
        """Whether an object went; the name of its file, if it had one, is added to `files`."""
        for table, column in REFERRING:
            sql = f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1"
            if self._database.row(sql, (number,)) is not None:
                return False
        found = self._database.row(
            "SELECT digest, data IS NULL FROM objects WHERE id = ?", (number,)
        )
        if found is None:
            return False
        self._database.rows("DELETE FROM buffers WHERE object = ?", (number,))
        self._database.rows("DELETE FROM objects WHERE id = ?", (number,))
        if found[1]:
            files.add(bytes(found[0]))
        return True

    def free(
        self, used: Callable[[], Iterable[int]], spooled: Spooled, *, sweep: bool = False
    ) -> tuple[int, list[str]]:
        """Delete the objects that nobody refers to, and their files.

        How many that were, and what could not be deleted, in lines.

        used: the ids of those that somebody refers to; their buffers need not be among them.
        spooled: see `Files.delete`. Both are called while nobody else writes. sweep: files that
        are no object's go, too.
        """
        with self._database.transaction():
            self._database.lock(exclusive=True)
            kept = set(used())
            kept.update(
                int(buffer)
                for object_, buffer in self._database.rows("SELECT object, buffer FROM buffers")
                if object_ in kept
            )
            everything = self._database.rows("SELECT id, digest, data IS NULL FROM objects")
            going = [each for each in everything if each[0] not in kept]
            ids = [(number,) for number, _, _ in going]
            self._database.many("DELETE FROM buffers WHERE object = ?", ids)
            self._database.many("DELETE FROM objects WHERE id = ?", ids)
            files = {bytes(digest) for _, digest, in_file in going if in_file}
            strays: set[bytes] = set()
            if sweep:
                self._files.sweep()
                known = {bytes(digest) for _, digest, in_file in everything if in_file}
                strays.update(each for each in self._files.all() if each not in known)
            # Before anybody else may fold in what refers to it. Should we be killed here, a row
            # without its file is left, to which nobody refers.
            left = self._files.delete(files | strays, spooled)
        return len(going) + (0 if left else len(strays)), left


def _checksum(digest: bytes, data: pickling.Bytes) -> bytes:
    whole = memoryview(data).cast("B")
    return _of_halves(digest, whole) if len(whole) >= _HALVED else _of_one(digest, whole)


def _of_one(digest: bytes, data: memoryview) -> bytes:
    checksum = xxhash.xxh3_128(digest)
    checksum.update(data)
    return checksum.digest()


def _of_halves(digest: bytes, data: memoryview) -> bytes:
    """Two processors make them at a time, each with the pages that it has to wait for."""
    middle = len(data) // 2
    first: list[bytes] = []
    helper = threading.Thread(target=lambda: first.append(_of_one(digest, data[:middle])))
    try:
        helper.start()
    except RuntimeError:  # there can be no more threads, as at exit
        first.append(_of_one(digest, data[:middle]))
    second = _of_one(digest, data[middle:])
    if helper.ident is not None:
        helper.join()
    return first[0] + second


def _is_whole(digest: bytes, data: pickling.Bytes, checksum: bytes | None) -> bool:
    """Whether a buffer is what its name says."""
    if checksum is None:
        return hashlib.sha256(data).digest() == digest
    if len(checksum) == _CHECKSUM:
        return _of_one(digest, memoryview(data)) == bytes(checksum)
    return _of_halves(digest, memoryview(data)) == bytes(checksum)


def _unknown(digest: bytes, database: Database) -> UnknownObject:
    return UnknownObject(f"there is no object {digest.hex()} in {database.name}")
