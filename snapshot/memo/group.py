"""Groups: memoized functions that share a store, and the room in it."""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import os
import re
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from snapshot import pickling
from snapshot.core.limits import in_bytes
from snapshot.errors import (
    DamagedObject,
    DamagedStore,
    MemoWarning,
    NotPicklable,
    StoreError,
    UsageError,
)
from snapshot.memo import ops
from snapshot.memo.backend import Backend, Temporary, backend
from snapshot.memo.contents import taken_along
from snapshot.memo.policies import LRU, GreedyDualSize, ReplacementPolicy
from snapshot.store.objects import Packed
from snapshot.store.results import Entry, Evicted, Found, StateGone, row_size

if TYPE_CHECKING:
    from snapshot.memo.objstore import ObjStore
    from snapshot.store import Store

SIZE = "1GiB"
_SOON = 2.0  # seconds after which uses, and results that wait, are told to the store
_MANY = 1000  # of them, likewise
_ROOM = 8  # where one entry too many is stored, this part of a group's room is freed

_ADDRESS = re.compile(" at 0x[0-9a-f]+")

_POLICIES = {"gdsize": GreedyDualSize, "lru": LRU}

# What an option has that can be used as such, and how that is called.
_WANTED = {
    "obj_store": (("read", "write", "delete"), 'an ObjStore, such as DirObjStore("folder")'),
    "pickler": (("dumps", "loads"), "something with `dumps` and `loads`, such as module pickle"),
    "lock": (("__enter__", "__exit__"), "a context manager"),
    "extra_system_state": (("__call__",), "a function"),
}

Facts = Callable[[], Mapping[str, Any]]


class Pickler(Protocol):
    """What pickles: the modules `pickle`, `cloudpickle` and `dill` are such."""

    def dumps(self, obj: Any, /) -> bytes: ...

    def loads(self, data: bytes, /) -> Any: ...


class MemoizedGroup:
    """Options that memoized functions share, and how much room their results may take together.

    name: of the group in the store; by default that of the first function that is put in it.
    store: a file or `postgresql://` URL; by default the store of the project (`store.place`).
    size: of all results together, with what the store needs for them: bytes, or "100KiB", "2GB"
        (K, M, G, T and KiB, … are powers of 1024; KB, … of 1000); 1 GiB by default. A result that
        is larger by itself is not kept.
    obj_store: where the results are, an `ObjStore` such as `DirObjStore`; by default in the store.
        Others that share it find there what was stored; each counts, and evicts, its own.
    use_obj_store: False leaves the results in the store all the same.
    replacement_policy: a `ReplacementPolicy`, "gdsize" (the default) or "lru".
    pickler: something with `dumps` and `loads`; by default pickle, with large buffers out of band,
        and cloudpickle where that fails.
    lock: a context manager that is held while results are stored and evicted, where what the
        store does itself is not enough: an `obj_store` on a file system of several machines.
    fine_grain_persistence: False stores results together, each second or so and at exit. That is
        faster for many small ones; a kill loses them, and nobody else sees them before. In a fork
        each is stored at once.
    fine_grain_eviction: True evicts no more than is needed each time; by default an eighth of
        `size` is freed at once. The limit holds after each call in any case.
    use_metadata_size: False counts the results alone, and not what the store needs to find them.
    extra_system_state: called at each call; what it returns is a part of all keys.
    keep_versions: False drops the results of a function when it, or its state, has changed.
    temporary: in a store of its own, which is gone at exit.
    verbose: at exit, say on standard error how much time was saved.

    All may be assigned later. Raises `UsageError` for one that means nothing.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        store: str | os.PathLike[str] | None = None,
        size: int | str = SIZE,
        obj_store: ObjStore | None = None,
        use_obj_store: bool = True,
        replacement_policy: ReplacementPolicy | str = "gdsize",
        pickler: Pickler | None = None,
        lock: contextlib.AbstractContextManager[Any] | None = None,
        fine_grain_persistence: bool = True,
        fine_grain_eviction: bool = False,
        use_metadata_size: bool = True,
        extra_system_state: Callable[[], Any] | None = None,
        keep_versions: bool = True,
        temporary: bool = False,
        verbose: bool = False,
    ) -> None:
        self.name = name
        self.size = size
        self.obj_store = obj_store
        self.use_obj_store = use_obj_store
        self.replacement_policy = replacement_policy
        self.pickler = pickler
        self.lock = lock
        self.fine_grain_persistence = fine_grain_persistence
        self.fine_grain_eviction = fine_grain_eviction
        self.use_metadata_size = use_metadata_size
        self.extra_system_state = extra_system_state
        self.keep_versions = keep_versions
        self.temporary = temporary
        self.verbose = verbose
        if temporary and store is not None:
            raise UsageError(f"store={store!r}: with temporary=True there is another one")
        self.backend: Backend = Temporary() if temporary else backend(store)
        self._forked = False
        self._clear()
        self._warned: set[str] = set()
        _groups.add(self)
        _flush_at_exit()

    def _clear(self) -> None:
        """Nothing is known of the store, and there is nothing to tell it."""
        self._mutex = threading.RLock()
        self._uses: dict[bytes, tuple[int, float]] = {}
        self._waiting: dict[bytes, tuple[Found, Callable[[], None]]] = {}
        self._told = time.time()
        self._store: Store | None = None  # of which these are the states
        self._states: dict[tuple[str, bytes], int] = {}
        self._damaged: set[bytes] = set()

    def __setattr__(self, name: str, value: Any) -> None:
        has, wanted = _WANTED.get(name, ((), ""))
        if value is not None and not all(hasattr(value, each) for each in has):
            raise UsageError(f"{name}={value!r} is none: give {wanted}")
        if name == "name" and value is not None:
            checked_name(value)
        super().__setattr__(name, value)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    @size.setter
    def size(self, size: int | str) -> None:
        self._size = in_bytes("size", size)

    @property
    def replacement_policy(self) -> ReplacementPolicy:
        """What is evicted first."""
        return self._policy

    @replacement_policy.setter
    def replacement_policy(self, given: ReplacementPolicy | str) -> None:
        if isinstance(given, str) and given in _POLICIES:
            given = _POLICIES[given]()
        if not isinstance(given, ReplacementPolicy):
            raise UsageError(
                f"replacement_policy={given!r} is none: give a ReplacementPolicy, or one of "
                f"{', '.join(map(repr, _POLICIES))}"
            )
        self._policy = given

    @property
    def _elsewhere(self) -> ObjStore | None:
        return self.obj_store if self.use_obj_store else None

    # What a call needs. Nothing here raises because of the store: the caller has its result.

    def find(self, key: bytes) -> Found | None:
        """What is kept for a key, None if nothing that can be used."""
        if (waiting := self._waiting.get(key)) is not None:
            return waiting[0]
        try:
            found = self.backend.results.find(key)
            if found is None or found.data is None:
                return self._find_elsewhere(key)
        except Exception:
            with self._trouble(key):
                raise
            return None
        return found

    def _find_elsewhere(self, key: bytes) -> Found | None:
        """In the store of objects, which others may have put it in."""
        if self._elsewhere is None:
            return None
        if (why := self._elsewhere.suspicion()) is not None:
            raise StoreError(f"{why}, and loading a result runs code that it names")
        try:
            content = self._elsewhere.read(key)
        except KeyError:
            return None
        head, buffers = pickling.parted(content)
        created, cost, raised, data = pickling.load(head)
        return Found(data, [*buffers], created, cost, raised)

    def load(self, found: Found) -> Any:
        """The value of a result, or the exception. Raises `NotPicklable`."""
        assert found.data is not None
        with taken_along:
            if self.pickler is None:
                return pickling.load(found.data, found.buffers)
            try:
                return self.pickler.loads(bytes(found.data))
            except Exception as error:
                if pickling.is_interrupt(error):
                    raise
                raise NotPicklable(f"{type(error).__name__}: {error}") from error

    def use(self, key: bytes) -> None:
        """A result was used: tell the store of it, sooner or later."""
        now = time.time()
        known = self._uses.get(key)
        self._uses[key] = (1 if known is None else known[0] + 1), now
        if now - self._told > _SOON or len(self._uses) > _MANY:
            self.flush()

    def keep(
        self,
        name: str,
        state: bytes,
        key: bytes,
        value: object,
        *,
        facts: Facts,
        arguments: Mapping[str, tuple[str, str]],
        cost: float,
        raised: bool = False,
        use_obj_store: bool = True,
        use_metadata_size: bool = True,
    ) -> None:
        """Store a result. Where that fails, there is a `MemoWarning`, and no more.

        value: or one that is pickled. name: of the function. state: its digest, of which `facts`
        are known. arguments: of each its text and its digest. cost: seconds that the call took.
        raised: it is an exception. use_obj_store, use_metadata_size: False is stronger than what
        the group says.
        """
        elsewhere = self._elsewhere if use_obj_store else None
        row = row_size(arguments) if use_metadata_size and self.use_metadata_size else 0
        with self._trouble(key):
            try:
                packed = self._fit(name, value, row)
            except StoreError:
                if self.find(key) is not None:  # which is not what the function gives now
                    self.forget([key])
                raise
            buffers = [data for _, data in packed.buffers]
            found = Found(packed.data, buffers, time.time(), cost, raised)

            def put() -> None:
                self._put(name, state, key, packed, found, facts, arguments, row, elsewhere)

            # A fork may end, as those of multiprocessing do, without what is done at exit.
            waits = not (self.fine_grain_persistence or packed.buffers or self._forked)
            with self._mutex:
                self._waiting.pop(key, None)  # an older one
                if waits:
                    self._waiting[key] = found, put
            if not waits:
                put()
            elif len(self._waiting) > _MANY or time.time() - self._told > _SOON:
                self.flush()

    def _fit(self, name: str, value: object, row: int) -> Packed:
        """A result as it can be stored. Raises `StoreError` where it cannot, or is too large."""
        packed = value if isinstance(value, Packed) else self._packed(name, value)
        size = packed.size + row
        if size > self.size:
            raise StoreError(
                f"a result of {name} takes {size:,} bytes, more than its group may take "
                f"({self.size:,}): it is not kept; give the group a larger size"
            )
        return packed

    def _packed(self, name: str, value: object) -> Packed:
        try:
            with taken_along:
                if self.pickler is None:
                    return Packed.of(value, *pickling.dump(value))
                data = self.pickler.dumps(value)
            if not isinstance(data, bytes):
                raise TypeError(f"its pickler makes {type(data).__name__}, and not bytes")
            return Packed.of(value, data)
        except MemoryError:
            raise StoreError(f"there is no memory to pickle a result of {name}") from None
        except Exception as error:
            if pickling.is_interrupt(error):
                raise
            if self.pickler is None and not isinstance(error, NotPicklable):
                raise
            raise StoreError(f"the result of {name} cannot be kept: {error}") from None

    def _put(
        self,
        name: str,
        state: bytes,
        key: bytes,
        packed: Packed,
        found: Found,
        facts: Facts,
        arguments: Mapping[str, tuple[str, str]],
        row: int,
        elsewhere: ObjStore | None,
    ) -> None:
        size = packed.size
        with contextlib.ExitStack() as held:
            if self.lock is not None:
                with _told("lock"):
                    held.enter_context(self.lock)
            if elsewhere is not None:
                head, _ = pickling.dump((found.created, found.cost, found.raised, packed.data))
                parts = pickling.joined(head, found.buffers)
                elsewhere.write(key, parts)
                size = sum(memoryview(each).nbytes for each in parts)
            assert self.name is not None
            if not self.backend.results.belongs(self._enter(name, state, facts), self.name):
                self._states.clear()  # another function of that name is in another group
                self._enter(name, state, facts)
            # What goes for it raises the floor above which it begins.
            self._shrink(size + row)

            def put() -> list[int]:
                return self.backend.results.put(
                    key,
                    self._enter(name, state, facts),
                    None if elsewhere is not None else packed,
                    raised=found.raised,
                    arguments=arguments,
                    cost=found.cost,
                    worth=self._worth,
                    size=size,
                    with_row=row > 0,
                    anew=key in self._damaged,
                )

            try:
                freed = put()
            except StateGone:
                self._states.clear()
                freed = put()
            self._damaged.discard(key)
            self.backend.store.release(freed)
            self._shrink()

    def _worth(self, entry: Entry, floor: float) -> float:
        with _told("replacement_policy"):
            worth = float(self._policy.worth(entry, floor))
            if math.isnan(worth):
                raise ValueError("nan is no worth")
            return worth

    def enter(self, name: str, state: bytes, facts: Facts) -> None:
        """A function is in a state now: what it has stored in others is evicted first."""
        if (name, state) in self._states:
            return
        with self._trouble():
            self.name = self.name or name
            if self.backend.results.is_current(name, self.name, state):
                return
            if self.backend.store.is_writable:
                self._enter(name, state, facts)

    def _enter(self, name: str, state: bytes, facts: Facts) -> int:
        self.backend.is_lost()  # whoever deletes a store tells nobody
        if self._store is not self.backend.store:
            self._store = self.backend.store
            self._states.clear()
        known = self._states.get((name, state))
        if known is not None:
            return known
        self.name = self.name or name
        for each in [each for each in list(self._states) if each[0] == name]:
            self._states.pop(each, None)
        number, freed = self.backend.results.enter(name, self.name, state, facts)
        self._states[name, state] = number
        self.backend.store.release(freed)
        if not self.keep_versions:
            self._gone("cascading_delete", *self.backend.results.forget_other_states(number))
        return number

    def _shrink(self, more: int = 0) -> None:
        """Let the limit hold, when so many bytes more are stored."""
        assert self.name is not None
        if self.backend.results.size(self.name) + more > self.size:
            room = 0 if self.fine_grain_eviction else self.size // _ROOM
            gone = self.backend.results.shrink(self.name, max(self.size - more, 0), room)
            self._gone("evict", *gone)

    def forget(self, keys: Iterable[bytes]) -> int:
        """Delete entries; how many there were. Raises `StoreError`."""
        keys = [*keys]
        with self._mutex:
            waiting = [each for each in keys if self._waiting.pop(each, None) is not None]
        gone, freed = self.backend.results.forget(keys)
        self._gone("forget", gone, freed)
        if self._elsewhere is not None:
            for key in keys:
                self._elsewhere.delete(key)
        return len({*waiting, *(each.key for each in gone)})

    def _gone(self, event: str, entries: list[Evicted], objects: list[int]) -> None:
        for each in entries:
            ops.tell(event, name=each.function, obj_key=each.key.hex(), size=each.size)
            if self._elsewhere is not None:
                self._elsewhere.delete(each.key)
        self.backend.store.release(objects)

    def flush(self) -> None:
        """Tell the store of what was used, and store what waits for that."""
        with self._mutex:
            uses, self._uses = self._uses, {}
            self._told = time.time()
            # They wait, and are found, until they are stored: nobody runs one meanwhile.
            waiting = dict(self._waiting)
            try:
                with self._trouble():
                    if waiting or (uses and self.backend.store.is_writable):
                        self._store_together(waiting, uses)
            finally:
                for key in waiting:
                    self._waiting.pop(key, None)

    def _store_together(
        self,
        waiting: Mapping[bytes, tuple[Found, Callable[[], None]]],
        uses: Mapping[bytes, tuple[int, float]],
    ) -> None:
        with self.backend.results.together():
            for _, put in waiting.values():
                try:
                    put()
                except DamagedStore:
                    raise
                except StoreError as error:
                    self.warn(str(error))
            self.backend.results.use(uses, self._worth)

    # Troubles.

    @contextlib.contextmanager
    def _trouble(self, key: bytes | None = None) -> Iterator[None]:
        """What goes wrong with the store in the block costs a warning, and a damaged entry."""
        try:
            yield
        except DamagedObject as error:
            self.warn(f"{error}: it is computed anew")
            if key is not None:
                self._damaged.add(key)
                with contextlib.suppress(StoreError):
                    self.forget([key])
        except DamagedStore as error:
            self.warn(self.backend.put_aside(error))
        except (StoreError, NotPicklable) as error:
            self.warn(str(error))
            self.backend.is_lost()

    def warn(self, text: str) -> None:
        """A `MemoWarning`, once for each text, whatever the address that a `repr` has in it."""
        known = _ADDRESS.sub("", text)
        if known not in self._warned:
            self._warned.add(known)
            warnings.warn(MemoWarning(text), stacklevel=_outside())


@contextlib.contextmanager
def _told(option: str) -> Iterator[None]:
    """What an option's own code raises in the block is a `StoreError`: no affair of a caller's."""
    try:
        yield
    except Exception as error:
        if pickling.is_interrupt(error):
            raise
        raise StoreError(f"{option} raised {type(error).__name__}: {error}") from error


def checked_name(name: str) -> str:
    """A name that every store can hold. Raises `UsageError`."""
    with contextlib.suppress(AttributeError, UnicodeEncodeError):
        if b"\0" not in name.encode():
            return name
    raise UsageError(f"name={name!r} is none: give a text")


_groups: weakref.WeakSet[MemoizedGroup] = weakref.WeakSet()


def _outside() -> int:
    """How far up the stack is what is not this package's."""
    level, frame = 1, sys._getframe(1)
    ours = ("snapshot.", "contextlib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(ours):
        frame = frame.f_back
        level += 1
    return level


@functools.cache
def _flush_at_exit() -> None:
    atexit.register(_flush_all)
    os.register_at_fork(after_in_child=_clear_all)


def _flush_all() -> None:
    for each in list(_groups):
        each.flush()


def _clear_all() -> None:
    """What the parent has to tell, it tells itself."""
    for each in list(_groups):
        each._clear()
        each._forked = True
