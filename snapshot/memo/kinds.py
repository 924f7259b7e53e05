"""How values of the language and of its standard library are written."""

from __future__ import annotations

import copyreg
import sys
from types import ModuleType
from typing import Any

from snapshot.memo.writing import ATOMS, Handler, Refusal, Writer, buffer, plain, sequence, special

# Containers, each as `marshal` would write it.


def _list(writer: Writer, value: list[Any]) -> bytes:
    if ATOMS.issuperset(map(type, value)):
        return plain(value)
    return sequence(b"[", writer.each(value))


def _tuple(writer: Writer, value: tuple[Any, ...]) -> bytes:
    if ATOMS.issuperset(map(type, value)):
        return plain(value)
    return sequence(b"(", writer.each(value))


def _dict(writer: Writer, value: dict[Any, Any]) -> bytes:
    if ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, value.values())):
        return plain(value)
    return writer.mapping(value.items())


def _set(writer: Writer, value: set[Any]) -> bytes:
    return sequence(b"<", writer.members(value))


def _frozenset(writer: Writer, value: frozenset[Any]) -> bytes:
    return sequence(b">", writer.members(value))


def _bytes(_: Writer, value: bytes) -> bytes:
    return buffer(value)


BUILTIN: dict[type, Handler] = {
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set,
    frozenset: _frozenset,
    bytes: _bytes,
}


# What has no `__reduce__`, or one that says too little or too much.


def _bytearray(_: Writer, value: bytearray) -> bytes:
    return special("bytearray", buffer(value))


def _memoryview(_: Writer, value: memoryview) -> bytes:
    try:
        form = plain((value.format, value.shape, value.readonly))
    except ValueError:
        raise Refusal("the memoryview", "it was released") from None
    return special("memoryview", form, buffer(value if value.c_contiguous else value.tobytes()))


def _array(_: Writer, value: Any) -> bytes:
    return special("array", plain(value.typecode), buffer(memoryview(value).cast("B")))


def _pickle_buffer(_: Writer, value: Any) -> bytes:
    return special("buffer", buffer(value.raw()))


def _view(writer: Writer, value: Any) -> bytes:
    return special(type(value).__name__, sequence(b"[", writer.each(value)))


def _proxy(writer: Writer, value: Any) -> bytes:
    return special("mappingproxy", writer.write(value.copy()))


def _member(writer: Writer, value: Any) -> bytes:
    """A member of an enumeration; of a flag the value, as several members may be joined."""
    kind = type(value)
    is_flag = issubclass(kind, sys.modules["enum"].Flag)
    named = plain(value._value_ if is_flag else value._name_)
    return special("member", writer.write(kind), named)


def _path(writer: Writer, value: Any) -> bytes:
    """The text counts, not what is there."""
    kind = type(value)
    base = next(each for each in kind.__mro__ if each.__module__.partition(".")[0] == "pathlib")
    if kind is base:
        return special("path", plain((kind.__name__, str(value))))
    if kind.__reduce__ is not base.__reduce__:
        return reduced(writer, value)
    attributes = writer.mapping(getattr(value, "__dict__", {}).items(), ".{}")
    return special("path", writer.write(kind), plain(str(value)), attributes)


def _error(writer: Writer, value: BaseException) -> bytes:
    """Where it was raised does not count."""
    around = (value.__cause__, value.__context__, value.__suppress_context__)
    return special("error", reduced(writer, value), writer.write(around))


def _cached(writer: Writer, value: Any) -> bytes:
    """What `functools.lru_cache` and the like have wrapped: what is kept so far does not count."""
    parameters = writer.write(value.cache_parameters())
    return special("cached", parameters, writer.at(".__wrapped__", value.__wrapped__))


def _weak(_: Writer, value: Any) -> bytes:
    raise Refusal("the weak reference")


def _iterator(_: Writer, value: Any) -> bytes:
    raise Refusal(f"the iterator {type(value).__name__}")


def _struct(_: Writer, value: Any) -> bytes:
    return special("struct", plain(value.format))


def _object(_: Writer, value: object) -> bytes:
    """A sentinel has nothing but its name."""
    return special("sentinel", plain(_names_of_sentinel(value)))


# By the name of the type, so that nothing is imported.
EXACT: dict[str, Handler] = {
    "builtins.bytearray": _bytearray,
    "builtins.memoryview": _memoryview,
    "builtins.mappingproxy": _proxy,
    "builtins.dict_keys": _view,
    "builtins.dict_values": _view,
    "builtins.dict_items": _view,
    "builtins.object": _object,
    "array.array": _array,
    "pickle.PickleBuffer": _pickle_buffer,
    "_pickle.PickleBuffer": _pickle_buffer,
    "_struct.Struct": _struct,
    "functools._lru_cache_wrapper": _cached,
    "weakref.ProxyType": _weak,
    "weakref.CallableProxyType": _weak,
}
# By the name of a class that it has among its bases.
DERIVED: dict[str, Handler] = {
    "enum.Enum": _member,
    "pathlib.PurePath": _path,
    "pathlib._local.PurePath": _path,
    "builtins.BaseException": _error,
    "weakref.ReferenceType": _weak,
}


def handler_of(kind: type) -> Handler:
    """How to write the instances of a class of no other handler."""
    if kind.__module__ == "itertools":
        return _iterator
    for base in (set, frozenset):
        if issubclass(kind, base) and kind.__reduce__ is base.__reduce__:
            return _of_set
    return reduced


def _of_set(writer: Writer, value: Any) -> bytes:
    members = set.__iter__(value) if isinstance(value, set) else frozenset.__iter__(value)
    return special(
        "set",
        writer.write(type(value)),
        sequence(b"<", writer.members(members)),
        _attributes(writer, value),
    )


# What takes itself apart for a pickle.


def reduced(writer: Writer, value: Any) -> bytes:
    """By `copyreg` or `__reduce_ex__`: what makes it, from what, and its state and items."""
    kind = type(value)
    # What is registered for exceptions (by tblib, for all of them) brings their tracebacks.
    is_error = issubclass(kind, BaseException)
    reductor = None if is_error else copyreg.dispatch_table.get(kind)
    try:
        found = value.__reduce_ex__(5) if reductor is None else reductor(value)
    except RecursionError:
        raise
    except Exception as error:
        why = None if isinstance(error, TypeError) else f"{type(error).__name__}: {error}"
        raise Refusal(f"the {kind.__name__}", why) from error
    if isinstance(found, str):
        return special("global", writer.write(kind), plain(_where_named(value, found)))
    if not isinstance(found, tuple) or not 2 <= len(found) <= 6:
        raise Refusal(f"the {kind.__name__}", "its __reduce__ returned no tuple that can be used")
    absent: list[Any] = [None] * (6 - len(found))
    make, args, state, items, pairs, setter = [*found, *absent]
    return special(
        "made",
        writer.write(make),
        sequence(b"(", writer.each(args, ".(part {})")),
        write_state(writer, state),
        plain(None) if items is None else sequence(b"[", writer.each(items)),
        plain(None) if pairs is None else writer.mapping(pairs),
        writer.write(setter),
    )


def _attributes(writer: Writer, value: Any) -> bytes:
    return write_state(writer, value.__getstate__())


def write_state(writer: Writer, state: Any) -> bytes:
    """As any value is written; the ways to attributes, those in slots too, are named as such."""
    if type(state) is dict:
        return writer.mapping(state.items(), ".{}")
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict:
        return sequence(b"(", [write_state(writer, each) for each in state])
    return writer.write(state)


# What has nothing but its name: the module, and the name there, stand for it.


def _where_named(value: object, name: str) -> tuple[str, str]:
    home = getattr(value, "__module__", None)
    if isinstance(home, str) and _found(home, name) is value:
        return home, name
    places = [each for each in [*sys.modules] if _found(each, name) is value]
    return _first(value, [(each, name) for each in places])


def _found(module: str, name: str) -> object:
    found: object = sys.modules.get(module)
    for each in name.split("."):
        space = getattr(found, "__dict__", {})
        found = space.get(each)
    return found


_sentinels: dict[int, list[tuple[str, str]]] = {}  # by the id, where each was found


def _names_of_sentinel(value: object) -> list[tuple[str, str]]:
    """All of them, as another one may have one of these at another time."""
    known = _sentinels.get(id(value))
    if known is None or not all(_found(*each) is value for each in known):
        known = sorted(
            (module, name)
            for module, space in [*sys.modules.items()]
            if isinstance(space, ModuleType)
            for name, each in [*vars(space).items()]
            if each is value and (module != "__main__" or name.isupper())
        )
        if not known:
            why = "it has no name in a module, nor one in capitals in the program"
            raise Refusal(f"the {type(value).__name__}", why)
        _sentinels[id(value)] = known
    return known


def _first(value: object, places: list[tuple[str, str]]) -> tuple[str, str]:
    """The same in another process, whatever modules took the value from its own."""
    kind = type(value)
    if not places:
        raise Refusal(f"the {kind.__name__}", "it is not found by a name")
    top = kind.__module__.partition(".")[0]
    return min(places, key=lambda each: (each[0].partition(".")[0] != top, len(each[0]), each))
