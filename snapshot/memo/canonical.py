"""Arguments as bytes: the same for values that a function could not tell apart, else different."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from itertools import chain
from marshal import dumps
from typing import Any

from snapshot.errors import NotKeyable
from snapshot.memo.kinds import BUILTIN, DERIVED, EXACT, handler_of
from snapshot.memo.writing import ATOMS, LARGE, VERSION, Handler, Refusal, Writer, special

_LEVELS = 16  # of nested containers that are looked at before one is written
_ITEMS = 1 << 24  # of one level: parts that are shared count as often as they are met
_ATTEMPTS = 5  # at what other threads change while it is looked at
_STEPS = 20  # of a way that are told at its beginning, and at its end
_DO = "name the parameter in ignore=, or give its class a __cache_key__"


def canonical(
    value: object,
    name: str = "value",
    *,
    installed: set[str] | None = None,
    left_out: list[str] | None = None,
) -> bytes:
    """Bytes that are the same for equal values, in each process, and differ for any others.

    Equal are values of one type and one content: numbers by their bits, containers by their items
    in their order, sets in any; instances by the version of their class and by what a pickle
    would hold of them; functions by their version and by the data that they reach. Whether parts
    are shared does not count. `__cache_key__` of a value, a method without parameters or an
    attribute that holds such a callable, stands in its place, beside the name of its class; what
    `__cache_ver__` returns is joined to either.

    For an instance also the data counts that the methods of its class read from globals, closures
    and the class, as far as it can be written. Of installed classes the name counts: `installed`
    is given the packages of those that were met, and of what their methods and functions reach.

    name: what to call the value in a message. left_out: of what means nothing in another process
    the type counts, and it is named there; by default it is refused.

    Raises `NotKeyable`, which names the way to what means nothing in another process.
    """
    if type(value) is tuple:
        for each in value:
            if type(each) not in ATOMS:
                break
        else:
            return _plain_or_none(value) or _written(value, name, installed, left_out)
    return (_is_plain(value) and _plain_or_none(value)) or _written(
        value, name, installed, left_out
    )


def _plain_or_none(value: Any) -> bytes | None:
    try:
        return dumps(value, VERSION)
    except (MemoryError, ValueError):  # members of a set without an order; more than 2 GiB
        return None


_CONTAINERS = frozenset({tuple, list, set, frozenset, dict})
_PLAIN = ATOMS | _CONTAINERS | {bytes}


def _is_plain(value: object) -> bool:
    """Whether `marshal` writes it as a `Writer` would: a look at the types, level by level."""
    if type(value) not in _CONTAINERS:
        return type(value) in ATOMS
    below: list[Any] = [value]
    for _ in range(_LEVELS):
        level = [*below, *[each.values() for each in below if type(each) is dict]]
        if ATOMS.issuperset(map(type, chain.from_iterable(level))):
            return True
        items = [*chain.from_iterable(level)]  # at once: another thread may change them meanwhile
        kinds = set(map(type, items))
        if not kinds <= _PLAIN:
            return False
        if bytes in kinds and any(type(each) is bytes and len(each) >= LARGE for each in items):
            return False
        below = [each for each in items if type(each) in _CONTAINERS]
        if not below:
            return True
        if sum(map(len, below)) > _ITEMS:
            return False
    return False


def _written(
    value: object, name: str, installed: set[str] | None, left_out: list[str] | None
) -> bytes:
    for _ in range(_ATTEMPTS - 1):
        try:
            return _written_once(value, name, installed, left_out)
        except NotKeyable as error:
            if type(error.__cause__) is not RuntimeError:
                raise
    return _written_once(value, name, installed, left_out)


def _written_once(
    value: object, name: str, installed: set[str] | None, left_out: list[str] | None
) -> bytes:
    writer = Writer(_handler)
    writer.left_out = left_out
    try:
        return writer.write(value)
    except Refusal as refusal:
        path = _path(refusal.steps)
        raise _error(f"{refusal.what} at {name}{path}", refusal.why, path) from refusal.__cause__
    except RecursionError:
        raise _error(f"the {type(value).__name__} at {name}", "it is nested too deeply") from None
    except MemoryError:
        raise
    except Exception as error:  # what others have defined may raise anything
        why = f"looking at it raised {type(error).__name__}: {error}"
        raise _error(f"the {type(value).__name__} at {name}", why) from error
    finally:
        if installed is not None:
            from snapshot.store.versions import of_user  # which plain data can do without

            installed |= writer.installed
            kinds = {str(kind.__module__) for kind in writer.kinds}
            installed |= {each.partition(".")[0] for each in kinds if not of_user(each)}


def _path(steps: list[str]) -> str:
    if len(steps) > 2 * _STEPS:
        steps = [*steps[:_STEPS], "…", *steps[-_STEPS:]]
    return "".join(reversed(steps))


def _error(what: str, why: str | None, path: str = "") -> NotKeyable:
    whence = f": {why}; " if why else " in another process: "
    error = NotKeyable(f"cannot tell {what} from another one{whence}{_DO}")
    error.path = path
    return error


def _handler(value: Any) -> Handler:
    kind: Any = type(value)
    if (found := BUILTIN.get(kind)) is not None:
        return found
    if not issubclass(kind, type) and (_says(kind) or not _KEYS.isdisjoint(_attributes(value))):
        return _keyed
    return _handler_of(kind)


def _attributes(value: Any) -> Iterable[str]:
    try:
        own = getattr(value, "__dict__", ())
    except Exception:  # a proxy of what is gone, for instance
        return ()
    return own if isinstance(own, dict) else ()


_KEYS = frozenset({"__cache_key__", "__cache_ver__"})


@functools.lru_cache(maxsize=256)
def _says(kind: Any) -> bool:
    """Whether its instances say of themselves what they are."""
    return any(not _KEYS.isdisjoint(vars(each)) for each in kind.__mro__)


def _keyed(writer: Writer, value: Any) -> bytes:
    """What an instance says of itself."""
    kind: Any = type(value)
    key, version = _own(value, "__cache_key__"), _own(value, "__cache_ver__")
    parts = [writer.at(".__cache_ver__()", _asked(value, version))] if version else []
    if key is None:
        return special("version", _handler_of(kind)(writer, value), *parts)
    named = writer.write((kind.__module__, kind.__qualname__))
    return special("key", named, writer.at(".__cache_key__()", _asked(value, key)), *parts)


def _own(value: object, name: str) -> Callable[[], object] | None:
    """An attribute, without what a `__getattr__` would make up."""
    try:
        found: Callable[[], object] = object.__getattribute__(value, name)
    except AttributeError:
        return None
    return found


def _asked(value: object, question: Callable[[], object]) -> object:
    try:
        return question()
    except RecursionError:
        raise
    except Exception as error:
        why = f"what it says of itself raised {type(error).__name__}: {error}"
        raise Refusal(f"the {type(value).__name__}", why) from error


@functools.lru_cache(maxsize=256)
def _handler_of(kind: Any) -> Handler:
    """How to write the instances of a class: that of one of its bases, else by a reduction.

    Modules of handlers are loaded when they are needed: they, or what they import, are large.
    """
    names = [f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__]
    if names[0] in EXACT:
        return EXACT[names[0]]
    from snapshot.memo import definitions

    tables = [definitions.DERIVED, DERIVED]
    packages = {name.partition(".")[0] for name in names}
    if not packages.isdisjoint(("numpy", "torch")):
        from snapshot.memo import arrays

        tables.append(arrays.DERIVED)
    if not packages.isdisjoint(("pandas", "polars", "pyarrow")):
        from snapshot.memo import frames

        tables.append(frames.DERIVED)
    for name in names:
        for table in tables:
            if name in table:
                return table[name]
    return handler_of(kind)
