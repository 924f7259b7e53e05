"""A memoized function: what happens when it is called, and what can be asked of a call."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar

from snapshot.errors import NotKept, NotKeyable, NotPicklable, UsageError
from snapshot.memo import ops, report
from snapshot.memo.binding import Parameters
from snapshot.memo.canonical import canonical
from snapshot.memo.group import MemoizedGroup, checked_name
from snapshot.memo.packages import versions_of_packages
from snapshot.memo.surroundings import State, Surroundings
from snapshot.pickling import is_interrupt
from snapshot.store.functions import key_of, underlying
from snapshot.store.objects import text_of
from snapshot.store.results import Found

if TYPE_CHECKING:
    from snapshot.memo.explaining import Explanation
    from snapshot.memo.recorded import Adopted
    from snapshot.store.objects import Packed

_P = ParamSpec("_P")
_R = TypeVar("_R")

_KEY = 16  # bytes

_VARIABLE = "SNAPSHOT_MEMO"
_MODES = ("on", "off", "read-only", "refresh")


@functools.cache
def mode() -> str:
    """What SNAPSHOT_MEMO says: "on" (the default), "off" (nothing is looked up or kept),
    "read-only" (nothing is kept) or "refresh" (nothing is looked up). Raises `UsageError`."""
    found = os.environ.get(_VARIABLE) or "on"
    if found not in _MODES:
        raise UsageError(f"{_VARIABLE}={found!r} means nothing: say {', '.join(_MODES)}")
    return found


class Memoized(Generic[_P, _R]):
    """A function whose results are kept.

    Called with arguments that it had before, it gives the kept result, as long as neither the
    function nor what it reaches has changed: see `Surroundings`. Each result is a copy of its own.

    group: whose room its results take; may be assigned. name: of the function in the store, its
    key by default. hits, misses: of this process. saved, spent: seconds that the hits of this
    process did not take, and that its misses took.
    """

    def __init__(
        self,
        function: Callable[_P, _R],
        group: MemoizedGroup,
        *,
        name: str | None = None,
        ignore: Collection[str] = (),
        extra_function_state: Callable[..., Any] | None = None,
        ttl: float | None = None,
        stale: float = 0.0,
        keep_if: Callable[[_R], object] | None = None,
        keep_exceptions: tuple[type[BaseException], ...] = (),
        fork: bool = False,
        use_obj_store: bool = True,
        use_metadata_size: bool = True,
        verbose: bool = False,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._parameters = Parameters(function, ignore)
        self._count = self._parameters.count
        plain = underlying(function)
        self._surroundings = Surroundings(function, ignore)
        self.name = checked_name(name or "") or (
            key_of(plain) if plain is not None else name_of(function)
        )
        self._extra = _with_one(extra_function_state, function)
        self._ttl, self._stale = ttl, stale
        self._keep_if = keep_if
        self._keep_exceptions = keep_exceptions
        self._run = functools.partial(_forked, function) if fork else function
        self._options = {"use_obj_store": use_obj_store, "use_metadata_size": use_metadata_size}
        self._verbose = verbose
        self._mode = mode()
        self.hits = self.misses = 0
        self.saved = self.spent = 0.0
        self.group = group
        report.add(self)

    @property
    def group(self) -> MemoizedGroup:
        """Whose room its results take."""
        return self._group

    @group.setter
    def group(self, group: MemoizedGroup) -> None:
        if not isinstance(group, MemoizedGroup):
            raise UsageError(f"group={group!r} is none: give a MemoizedGroup")
        # Not at the first call, which may be another function's in each process.
        group.name = group.name or self.name
        self._group = group
        self._current: tuple[State | None, bytes] = None, b""
        self._entered = b""

    @property
    def is_verbose(self) -> bool:
        """Whether there is a report of it at exit."""
        return self._verbose or self._group.verbose

    # A call.

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        if self._mode == "off":
            return self._run(*args, **kwargs)
        if len(args) == self._count and not kwargs:
            values: tuple[Any, ...] = args
        else:
            bound = self._parameters.bound(args, kwargs)
            if bound is None:
                result = self._run(*args, **kwargs)  # which says what is wrong
                self._say_that_it_does_not_fit()
                return result
            values = bound
        key = self._key(values)
        if self._mode != "refresh":
            found = self._group.find(key)
            if found is not None:
                usable, result = self._used(key, found, values, args, kwargs)
                if usable:
                    return result  # type: ignore[no-any-return]
        with self._turn(key):
            if self._mode != "refresh" and (found := self._group.find(key)) is not None:
                usable, result = self._used(key, found, values, args, kwargs)
                if usable:
                    return result  # type: ignore[no-any-return]
            # As few frames as can be are between a function and its call of itself.
            with Run(self, key, values) as run:
                run.result = self._run(*args, **kwargs)
            return run.result  # type: ignore[no-any-return]

    def _say_that_it_does_not_fit(self) -> None:
        self._group.warn(
            f"{self.name} was called with other arguments than it says that it takes, "
            f"{', '.join(self._parameters.names) or 'none'}: the result is not kept; memoize the "
            "function under the decorator that changes them"
        )

    @contextlib.contextmanager
    def _turn(self, key: bytes) -> Iterator[None]:
        """In the block, nobody else runs it for this key; somebody may have just done so."""
        flight = self._group.backend.flight
        flight.begin(key, threading.get_ident())
        try:
            yield
        finally:
            try:
                flight.end(key)
            except BaseException:  # Ctrl-C just now
                flight.end(key)
                raise

    def _key(self, values: tuple[Any, ...]) -> bytes:
        """Raises `NotKeyable`."""
        state = self._surroundings.state()
        known, prefix = self._current
        if state is not known or self._extra or self._group.extra_system_state:
            prefix = self._enter(state)  # another thread may be in another one
        try:
            return hashlib.sha256(prefix + _written(values)).digest()[:_KEY]
        except NotKeyable:
            for name, value in zip(self._parameters.names, values, strict=True):
                _named(name, value)
            raise

    def _enter(self, state: State) -> bytes:
        """The function, or what is around it, is in another state now, or may be; its digest."""
        system, own = self._group.extra_system_state, self._extra
        pickler = self._group.pickler
        parts = (
            *(self.name, state.digest, None if pickler is None else name_of(pickler)),
            *(system() if system else None, own() if own else None),
        )
        try:
            prefix = hashlib.sha256(canonical(parts)).digest()
        except NotKeyable:
            _named("extra_system_state()", parts[3])
            _named("extra_function_state()", parts[4])
            raise
        self._current = state, prefix
        self._extras = parts[3:]
        if prefix != self._entered:
            self._entered = prefix
            if self._may_keep:
                self._group.enter(self.name, prefix, self._facts)
        return prefix

    @property
    def _may_keep(self) -> bool:
        return self._mode in ("on", "refresh")

    @property
    def _prefix(self) -> bytes:
        return self._current[1]

    def _facts(self) -> dict[str, Any]:
        """What is known of the state that the function is in, as JSON."""
        state = self._current[0] or self._surroundings.state()
        system, own = map(text_of, self._extras)
        return state.facts() | {"system state": system, "function state": own}

    def _used(
        self,
        key: bytes,
        found: Found,
        values: tuple[Any, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        may_run: bool = True,
    ) -> tuple[bool, Any]:
        """Whether a result can be used, and it. An exception that was kept is raised."""
        group = self._group
        age = 0.0
        if self._ttl is not None:
            age = time.time() - found.created - self._ttl
            if age > self._stale:
                return False, None
        try:
            result = group.load(found)
        except NotPicklable as error:
            group.warn(f"a result of {self.name} cannot be loaded: {error}; it is computed anew")
            return False, None
        if self._mode != "read-only":
            group.use(key)
        self.hits += 1
        self.saved += found.cost
        self._tell("hit", key, values)
        if age > 0 and may_run:
            self._revalidate(key, values, args, kwargs)
        if found.raised:
            raise result
        return True, result

    def _tell(self, event: str, key: bytes, values: tuple[Any, ...]) -> None:
        if ops.logger() is not None:
            arguments = hashlib.sha256(_written(values)).hexdigest()[: 2 * _KEY]
            versions = tuple(
                each.__cache_ver__() for each in values if hasattr(type(each), "__cache_ver__")
            )
            system, own = map(text_of, self._extras)
            digest = self._prefix.hex()[: 2 * _KEY]
            parts = [system, self.name, [digest, own], arguments, [*map(text_of, versions)]]
            ops.tell(event, name=self.name, key=parts, obj_key=key.hex())

    def _revalidate(
        self, key: bytes, values: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Compute a result anew that is used still, in the background, unless somebody does."""

        def compute() -> None:
            flight = self._group.backend.flight
            if flight.begin(key, threading.get_ident(), wait=False):
                with Run(self, key, values) as run:
                    run.result = self._compute_alone(args, kwargs)

        if self._mode == "on":
            self._group.backend.background.run(compute)

    def _compute_alone(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """In a fork."""
        return self._function(*args, **kwargs)

    # Of one call, without it.

    def refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Run the function, and keep what it returns now."""
        key, values = self._keyed(args, kwargs)
        with self._turn(key), Run(self, key, values) as run:
            run.result = self._run(*args, **kwargs)
        return run.result  # type: ignore[no-any-return]

    def peek(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The kept result; nothing is run. Raises `NotKept`, and an exception that was kept."""
        key, values = self._keyed(args, kwargs)
        found = None if self._mode == "off" else self._group.find(key)
        if found is not None and self._is_fresh(found.created):
            usable, result = self._used(key, found, values, args, kwargs, may_run=False)
            if usable:
                return result  # type: ignore[no-any-return]
        raise NotKept(f"there is no result of {self.name} for these arguments: call it")

    def would_hit(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Whether a call would give a kept result."""
        key, _ = self._keyed(args, kwargs)
        found = None if self._mode in ("off", "refresh") else self._group.find(key)
        return found is not None and self._is_fresh(found.created)

    def put(self, result: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Keep a result as if a call with these arguments had returned it."""
        key, values = self._keyed(args, kwargs)
        Run(self, key, values).done(result)

    def forget(self, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Drop what is kept for these arguments; whether there was something.

        Raises `StoreError`.
        """
        key, _ = self._keyed(args, kwargs)
        return bool(self._group.forget([key]))

    def adopt(self) -> Adopted:
        """Keep what recorded calls of this function have returned, as if it had been memoized then.

        Of those in the group's store: calls of the same version of the function, whose arguments
        they have not changed, and of which it is known that they read the same values: where a
        helper or a method reads one that may change, it is not. What is installed is taken to be
        what it was then. A result is stored once, and its recorded call stays.

        Raises `UsageError` where there can be none, `StoreError`.
        """
        from snapshot.memo import recorded

        plain = underlying(self._function)
        why = self._why_none_is_adopted(plain)
        if plain is None or why:
            raise UsageError(f"{self.name} {why}: no recorded call has results for it")

        def keep(args: Any, kwargs: Any, result: Packed, cost: float) -> str:
            if not self._may_keep:
                return f"{_VARIABLE} is {self._mode}"
            key, values = self._keyed(args, kwargs)
            if self._group.find(key) is not None:
                return "there is a result for its arguments"
            told = self.told(values)
            self._group.keep(
                self.name,
                self._prefix,
                key,
                result,
                facts=self._facts,
                arguments=told,
                cost=cost,
                **self._options,
            )
            return ""

        read = self._surroundings.state().values
        return recorded.adopt(self._group.backend.store, plain, read, keep)

    def _why_none_is_adopted(self, plain: FunctionType | None) -> str:
        if plain is None:
            return "is no function of Python's"
        whole: Any = self._function
        if hasattr(whole, "__recorded__"):
            whole = whole.__wrapped__
        if whole is not plain:
            return f"is made of {plain.__qualname__}, and may return something else"
        if self._group.pickler is not None:
            return "has a pickler of its own"
        if self._extra or self._group.extra_system_state:
            return "depends on extra_function_state= or extra_system_state="
        return "" if self._ttl is None else "has results that hold for a time, ttl="

    def explain(self, *args: _P.args, **kwargs: _P.kwargs) -> Explanation:
        """Why a call with these arguments would hit, or miss: what differs from the nearest entry.

        Raises `StoreError`.
        """
        from snapshot.memo.explaining import explanation

        key, values = self._keyed(args, kwargs)
        told = self.told(values)
        return explanation(
            self._group, self.name, self._prefix, key, self._facts, told, self._why_not_used
        )

    def _why_not_used(self, created: float) -> str:
        if self._mode in ("off", "refresh"):
            return f"; {_VARIABLE} is {self._mode}"
        return "" if self._is_fresh(created) else f"; it held for {self._ttl:g} s (ttl=)"

    def _keyed(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[bytes, tuple[Any, ...]]:
        values = self._parameters.bound(args, kwargs)
        if values is None:
            raise UsageError(
                f"{self.name} cannot be called like that: it takes "
                f"{', '.join(self._parameters.names) or 'nothing'}"
            )
        return self._key(values), values

    def _is_fresh(self, created: float) -> bool:
        return self._ttl is None or time.time() - created <= self._ttl + self._stale

    def told(self, values: tuple[Any, ...]) -> dict[str, tuple[str, str]]:
        """Of each argument by name: what is shown of it, and its digest."""
        return {
            name: (text_of(value), hashlib.sha256(_written(value)).hexdigest())
            for name, value in zip(self._parameters.names, values, strict=True)
        }

    # What it is.

    def __cache_key__(self) -> object:
        """As a value it counts by what it would do; also where that leads back to the value."""
        return self.name, self._function

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else Bound(self, instance)

    def __reduce__(self) -> str:
        return self.__qualname__  # type: ignore[attr-defined, no-any-return]

    def __repr__(self) -> str:
        return f"<memoized {self.name}>"


class Run:
    """One that is under way: when it began, and what its arguments and surroundings were then.

    As a context manager it keeps what has become `result`, or the exception, as that is wanted.
    """

    result: Any

    def __init__(self, memoized: Memoized[..., Any], key: bytes, values: tuple[Any, ...]) -> None:
        self._memoized = memoized
        self._key, self._values = key, values
        self._group = memoized.group
        self._around, self._state = memoized._current
        self._before = memoized.told(values)
        memoized._tell("miss", key, values)
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            self.done(self.result)
        elif isinstance(error, Exception) and isinstance(error, self._memoized._keep_exceptions):
            self.done(error, raised=True)

    def done(self, result: object, *, raised: bool = False) -> None:
        """Keep what came of it, if that is wanted."""
        memoized, cost = self._memoized, time.perf_counter() - self._began
        memoized.misses += 1
        memoized.spent += cost
        self._say_what_changed()
        self._say_what_changed_around()
        if not memoized._may_keep:
            return
        if not raised and not self._is_wanted(result):
            return
        self._group.keep(
            memoized.name,
            self._state,
            self._key,
            result,
            facts=memoized._facts,
            arguments=self._before,
            cost=cost,
            raised=raised,
            **memoized._options,
        )

    def _is_wanted(self, result: object) -> bool:
        try:
            return self._memoized._keep_if is None or bool(self._memoized._keep_if(result))
        except Exception as error:
            if is_interrupt(error):
                raise
            self._group.warn(f"keep_if= of {self._memoized.name} raised {error!r}: nothing is kept")
            return False

    def _say_what_changed(self) -> None:
        if all(type(each) in _CONSTANT for each in self._values):
            return
        try:
            after = self._memoized.told(self._values)
        except NotKeyable:
            after = {}
        changed = [
            name
            for name, (_, digest) in self._before.items()
            if name not in after or after[name][1] != digest
        ]
        if changed:
            self._group.warn(
                f"{self._memoized.name} has changed its argument {' and '.join(changed)}: its "
                "result is kept for what that was before, and a hit changes nothing"
            )

    def _say_what_changed_around(self) -> None:
        before, now = self._around, self._memoized._surroundings.state()
        if before is None or now is before:
            return
        changed = [name for name in before.values if before.values[name] != now.values.get(name)]
        if changed:
            self._group.warn(
                f"{self._memoized.name} has changed {' and '.join(changed)}, which it reads: the "
                "next call will find another value there, and no result for that; make it an "
                "argument that is named in ignore="
            )


_CONSTANT = frozenset({type(None), bool, int, float, complex, str, bytes})


class Bound:
    """A memoized method of an object. What is assigned to it, a group, is the function's."""

    _memoized: Memoized[..., Any]
    __self__: object

    def __init__(self, memoized: Memoized[..., Any], instance: object) -> None:
        vars(self).update(
            _memoized=memoized, __self__=instance, __func__=memoized, __doc__=memoized.__doc__
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._memoized(self.__self__, *args, **kwargs)

    def put(self, result: Any, /, *args: Any, **kwargs: Any) -> None:
        """As `Memoized.put`."""
        self._memoized.put(result, self.__self__, *args, **kwargs)

    @property
    def __signature__(self) -> Any:
        import inspect

        wrapped: Any = self._memoized
        return inspect.signature(MethodType(wrapped.__wrapped__, self.__self__))

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._memoized, name, value)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._memoized, name)
        if name in ("refresh", "peek", "would_hit", "forget", "explain"):
            return functools.partial(found, self.__self__)
        return found

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Bound)
            and self._memoized is other._memoized
            and self.__self__ is other.__self__
        )

    def __hash__(self) -> int:
        return hash((self._memoized, id(self.__self__)))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self.__self__, self._memoized.__name__)

    def __repr__(self) -> str:
        return f"<memoized {self._memoized.name} of {text_of(self.__self__)}>"


class OfClass(classmethod):  # type: ignore[type-arg]
    """A memoized class method: from Python 3.13 on `classmethod` does not bind as what it holds."""

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self.__func__.__get__(type(instance) if owner is None else owner)


def _forked(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    from snapshot.core.disposable import fork_call  # only who wants it pays for it

    return fork_call(functools.partial(function, *args, **kwargs))


def _with_one(
    extra: Callable[..., Any] | None, function: Callable[..., Any]
) -> Callable[[], Any] | None:
    """What is called without arguments; it is given the function if it takes a parameter."""
    if extra is None:
        return None
    try:
        known = Parameters(extra, ())
    except UsageError:
        return extra
    return functools.partial(extra, function) if known.names else extra


def _written(value: object) -> bytes:
    """What tells an argument from others, with the versions of the packages that its classes are
    of. Raises `NotKeyable`."""
    installed: set[str] = set()
    written = canonical(value, installed=installed)
    versions = versions_of_packages(frozenset(installed)) if installed else ()
    return written + canonical(versions) if versions else written


def _named(name: str, value: object) -> None:
    """Raises `NotKeyable` with the name of what cannot be keyed, if it is this one."""
    try:
        canonical(value, name)
    except NotKeyable as error:
        raise error from None


def name_of(thing: Any) -> str:
    if isinstance(thing, functools.partial):
        return name_of(thing.func)
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None)
    home = getattr(thing, "__module__", None)
    if name is None:
        thing = type(thing)
        home, name = thing.__module__, thing.__qualname__
    return f"{home}:{name}"
