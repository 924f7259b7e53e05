"""Showing: what a pickle would build, without running, importing or calling what it names.

Plain data and a few harmless classes are built as they are; everything else becomes a stand-in,
which remembers how it would have been made. Memory and time are in proportion to the pickle,
whoever has written it.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import fractions
import functools
import io
import itertools
import math
import os
import pathlib
import pickle
import re
import reprlib
import struct
import uuid
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from snapshot.pickling import Bytes
from snapshot.store import objects
from snapshot.store.objects import Placeholder

_TEXT = 200  # characters of what is shown of a value
_WHY = 120  # characters of why a pickle is refused
_LINE = 1 << 16  # bytes of a line, which only the oldest opcodes have
_WORK = 1_000_000  # units of work that any pickle may cause by hashing, comparing and copying ...
_WORK_PER_BYTE = 10  # ... and how many more for each of its bytes
_KEY = 10_000  # units of work to hash one key
_KEY_DEPTH = 50  # tuples in tuples of one key: hashing them would not mind the stack
_BITS = 1000  # of an integer that is given to a real class, or shown in digits
_DIGITS = 10_000  # of a Decimal

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxlong = _TEXT


def read(data: Bytes, buffers: Sequence[int] = (), *, trusted: bool = False) -> object:
    """What a pickle would build, with stand-ins for what only code could make.

    buffers: the sizes in bytes of those out of band, in their order. trusted: nobody has written it
    to cost memory and time, so that Python's own reader may be used, which is ten times as fast.

    Raises ValueError for what is no pickle, or asks for far more work than its size lets expect;
    MemoryError and KeyboardInterrupt; nothing else.
    """
    if trusted and data[:2] in _MODERN:
        with contextlib.suppress(Exception):  # then it needs the careful one
            return _Quick(io.BytesIO(data), buffers=[_Buffer(size) for size in buffers]).load()
    try:
        return _Reader(data, buffers).load()
    except MemoryError:
        raise
    except Exception as error:
        what = _clean(f"{type(error).__name__}: {str(error)[:_WHY]}")
        raise ValueError(f"not a pickle that can be shown: {what}") from None


def type_of(value: object) -> str:
    """`int`, `numpy.ndarray`: the type of what `read` gave, as `objects.type_name` names it."""
    if isinstance(value, _Kind):
        value = value.named
    if isinstance(value, _Stand):
        return _clean(_title(value.kind))
    if isinstance(value, _Named):
        return {"class": "type", "": "function or class"}.get(value.made, value.made)
    if isinstance(value, _Attribute):
        return "method" if isinstance(value.owner, _Stand) else "attribute"
    return "memoryview" if isinstance(value, _Buffer) else objects.type_name(value)


def text_of(value: object) -> str:
    """What is shown of what `read` gave: one line of at most 200 characters; never raises."""
    pieces = []
    length = 0
    try:
        for piece in _pieces(value, _shown.maxlevel):
            pieces.append(piece[: _TEXT + 1])
            length += len(pieces[-1])
            if length > _TEXT:
                break
    except MemoryError:
        raise
    except Exception as error:
        pieces = [f"<its repr raised {type(error).__name__}>"]
    text = _clean("".join(pieces))
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def _clean(text: str) -> str:
    """Nothing in it moves the cursor of a terminal, or cannot be encoded."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class _Part:
    """What stands for something that is not made. Equal to itself alone, so it may be a key."""

    __slots__ = ()

    def __repr__(self) -> str:
        return text_of(self)


class _Named(_Part):
    """A function or class that a pickle takes by name.

    made: "class", "function" or "module" where the pickle says which, having it by value or, for a
    module, by name.
    """

    __slots__ = ("made", "module", "name")

    def __init__(self, module: str, name: str, made: str = "") -> None:
        self.module = module
        self.name = name
        self.made = made


class _Attribute(_Part):
    """What `getattr` would give: a method, a member of an enumeration."""

    __slots__ = ("name", "owner")

    def __init__(self, owner: _Part, name: str) -> None:
        self.owner = owner
        self.name = name


class _Buffer(_Part):
    """Bytes that are out of band."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


class _Stand(_Part):
    """An instance, or what a function returns.

    kind: the class, or that function. maker: what it takes to read the rest, if that is known.
    args, options: of the call. members, pairs: what was appended and set. state: `__setstate__`'s.
    """

    __slots__ = ("args", "kind", "maker", "members", "options", "pairs", "state")

    def __init__(
        self, kind: _Part, args: tuple[Any, ...], options: dict[Any, Any], maker: str = ""
    ) -> None:
        self.kind = kind
        self.maker = maker
        self.args = args
        self.options = options
        self.members: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []
        self.state: Any = None

    # For Python's own reader.

    def extend(self, members: Iterable[Any]) -> None:
        self.members.extend(members)

    def add(self, member: Any) -> None:
        self.members.append(member)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Word:
    """A text that is shown without quotes."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Pairs:
    """The items of a mapping whose keys nobody has hashed."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs


class _Zone(datetime.tzinfo):
    """The time zone of a real datetime or time, for one that is not made."""

    def __init__(self, of: object) -> None:
        self.of = of

    def utcoffset(self, _: object) -> None:
        return None

    dst = tzname = utcoffset

    def __repr__(self) -> str:
        return text_of(self.of)


class _Source(io.BytesIO):
    """A pickle that ends in the middle of nothing."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        if size is None or len(content) < size:
            raise EOFError("it is truncated")
        return content

    def readline(self, _: int | None = -1) -> bytes:
        line = super().readline(_LINE)
        if not line.endswith(b"\n"):
            raise EOFError("a line of it has no end")
        return line


# What only Python 2 wrote, and what means something to one program alone.
_REFUSED = (
    *(pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING),
    *(pickle.PERSID, pickle.BINPERSID, pickle.EXT1, pickle.EXT2, pickle.EXT4),
)
_SINGLE: dict[str, Any] = {"Ellipsis": ..., "NotImplemented": NotImplemented}
_MODERN = frozenset({b"\x80\x04", b"\x80\x05"})  # how a pickle of protocol 4 or 5 begins
_OLD_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_ATOMS = frozenset({type(None), bool, float, type(...), type(NotImplemented)})
_PARTS = frozenset({_Named, _Attribute, _Buffer, _Stand})


class _Reader(pickle._Unpickler):
    """Everything that its opcodes could call or change is one of our own, or a builtin container.

    What hashes and copies is charged for: a few bytes can do either again and again.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    proto: int

    def __init__(self, data: Bytes, buffers: Sequence[int], *, is_within: bool = False) -> None:
        """is_within: a pickle that is in another one, as what a generator has yielded is."""
        self._is_within = is_within
        self._source = _Source(data)
        self._left = _WORK + _WORK_PER_BYTE * memoryview(data).nbytes
        self._crowds: dict[int, tuple[object, Counter[int]]] = {}  # by the holder's id: its hashes
        super().__init__(self._source, buffers=[_Buffer(size) for size in buffers])

    def find_class(self, module: str, name: str) -> Any:
        if self.proto < 3:
            module = _OLD_NAMES.get(module, module)
        if module == "builtins" and name in _SINGLE:
            return _SINGLE[name]
        return _Named(module, name)

    def load_frame(self) -> None:
        self._source.read(8)  # a frame says how much to read at once, which is no matter here

    def load_bytearray8(self) -> None:
        (size,) = struct.unpack("<Q", self._source.read(8))
        self.append(bytearray(self._source.read(size)))

    def load_readonly_buffer(self) -> None:
        if type(self.stack[-1]) not in (_Buffer, bytes, bytearray):
            raise TypeError("it is no buffer that is made read-only")

    def load_frozenset(self) -> None:
        members = self.pop_mark()  # which changes `append`
        self.append(self._frozen(members))

    def load_dict(self) -> None:
        items = self.pop_mark()
        made: dict[Any, Any] = {}
        self._set(made, items)
        self.append(made)

    def load_setitem(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self._set(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._set(self.stack[-1], items)

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend(self.stack[-1], [value])

    def load_appends(self) -> None:
        items = self.pop_mark()
        self._extend(self.stack[-1], items)

    def load_additems(self) -> None:
        items = self.pop_mark()
        holder = self.stack[-1]
        if type(holder) is set:
            self._add(holder, items)
        else:
            self._extend(holder, items)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.append(self._called(self.stack.pop(), args))

    def load_newobj_ex(self) -> None:
        options = self.stack.pop()
        args = self.stack.pop()
        self.append(self._called(self.stack.pop(), args, options))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._called(self.stack[-1], args)

    def _instantiate(self, kind: Any, args: list[Any]) -> None:
        self.append(self._called(kind, tuple(args)))

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        match target, state:
            case _Stand(), _:
                target.state = state
            case uuid.UUID(), {"int": int(number)} if 0 <= number < 1 << 128:
                object.__setattr__(target, "int", number)
            case _Part() | OrderedDict() | Counter() | deque(), _:
                pass  # attributes of the object's own, which nobody looks for there
            case _:
                raise TypeError(f"a {type(target).__name__} has no such state")

    dispatch: ClassVar[Any] = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if bytes([code]) not in _REFUSED
    } | {
        pickle.FRAME[0]: load_frame,
        pickle.BYTEARRAY8[0]: load_bytearray8,
        pickle.READONLY_BUFFER[0]: load_readonly_buffer,
        pickle.FROZENSET[0]: load_frozenset,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.ADDITEMS[0]: load_additems,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
    }

    def _set(self, holder: Any, items: list[Any]) -> None:
        pairs = zip(items[::2], items[1::2], strict=True)
        if type(holder) is _Stand:
            holder.pairs.extend(pairs)
            return
        if type(holder) not in (dict, OrderedDict, Counter):
            raise TypeError(f"a {type(holder).__name__} has no keys")
        for key, value in pairs:
            self._admit(holder, key)
            holder[key] = value

    def _extend(self, holder: Any, items: list[Any]) -> None:
        if type(holder) is _Stand:
            holder.members.extend(items)
        elif type(holder) in (list, deque):
            holder.extend(items)
        else:
            raise TypeError(f"nothing is appended to a {type(holder).__name__}")

    def _add(self, holder: set[Any], members: Iterable[Any]) -> None:
        for each in members:
            self._admit(holder, each)
            holder.add(each)

    def _frozen(self, members: list[Any]) -> frozenset[Any]:
        for each in members:
            self._admit(members, each)
        return frozenset(members)

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise ValueError("it is more work than its size lets expect")

    def _admit(self, holder: object, key: Any) -> None:
        """Charge for putting a key into a set or dictionary, more the more have the same hash."""
        kind = type(key)
        if (
            kind in _ATOMS
            or kind in _PARTS
            or (kind is int and key.bit_length() < 61)
            or (kind in (str, bytes) and len(key) < _BITS)
        ):
            return
        work = _work_of(key)
        _, crowd = self._crowds.setdefault(id(holder), (holder, Counter()))
        digest = hash(key)
        self._spend(work * (1 + crowd[digest]))
        crowd[digest] += 1

    def _called(self, function: Any, args: Any, options: Any = None) -> object:
        """What a call gives: a value of the fixed list, or a stand-in."""
        options = {} if options is None else options
        if type(args) is not tuple or type(options) is not dict:
            raise TypeError("the arguments of a call are no tuple")
        self._spend(len(args))
        match function:
            case _Named(made="") if not options:
                try:
                    return self._real(f"{function.module}.{function.name}", args)
                except (TypeError, ValueError, ArithmeticError):
                    return self._known(function, args)
            case _Part():
                return _Stand(function, args, options)
        raise TypeError(f"a {type(function).__name__} is called")

    def _real(self, name: str, args: tuple[Any, ...]) -> object:
        """The value itself, where making it is harmless. Raises TypeError where it is not."""
        match name, args:
            case "builtins.complex", (float(real), float(imaginary)):
                return complex(real, imaginary)
            case "builtins.range", (int(), int(), int()) if all(map(_is_short, args)):
                return range(*args)
            case "builtins.slice", (_, _, _) if all(map(_is_short, args)):
                return slice(*args)
            case "builtins.bytearray", () | (bytes(),):
                self._spend(sum(map(len, args)))
                return bytearray(*args)
            case "builtins.frozenset", (list(members),):
                self._spend(len(members))
                return self._frozen(members)
            case "builtins.set", (list(members),):
                self._spend(len(members))
                made: set[Any] = set()
                self._add(made, members)
                return made
            case "builtins.list", (list(members),):
                self._spend(len(members))
                return list(members)
            case (("_pickle.loads" | "pickle.loads"), (bytes(data),)) if not self._is_within:
                return _Reader(data, (), is_within=True).load()
            case "collections.OrderedDict", ():
                return OrderedDict()
            case "collections.Counter", () | (dict(),):
                self._spend(sum(map(len, args)))
                return Counter(*args)
            case "collections.deque", () | (list() | tuple(),):
                self._spend(sum(map(len, args)))
                return deque(*args)
            case "collections.deque", (list() | tuple(), int() | None):
                self._spend(len(args[0]))
                return deque(*args)
            case "decimal.Decimal", (str(digits),) if len(digits) <= _DIGITS:
                self._spend(len(digits))
                return decimal.Decimal(digits, decimal.Context(traps=[decimal.InvalidOperation]))
            case "fractions.Fraction", (int(), int()) if all(map(_is_short, args)):
                return fractions.Fraction(*args)
            case "datetime.timedelta", (int(), int(), int()) if all(map(_is_short, args)):
                return datetime.timedelta(*args)
            case "datetime.timezone", (datetime.timedelta(),) | (datetime.timedelta(), str()):
                return datetime.timezone(*args)
            case "datetime.date", (bytes(content),):
                return datetime.date(content)  # type: ignore[call-arg, arg-type]
            case (("datetime.datetime" | "datetime.time"), (bytes(content), *zones)):
                kind: Any = getattr(datetime, name.partition(".")[2])
                return kind(content, *[_zone(each) for each in zones])
            case "uuid.UUID", ():
                return uuid.UUID(int=0)  # its state is to come
            case "snapshot.store.objects.Placeholder", (str(), str(), str()):
                return Placeholder(*args)
        if (kind := _PATHS.get(name)) is not None and all(type(each) is str for each in args):
            self._spend(sum(map(len, args)))
            return kind(*args)
        raise TypeError("it is not of the fixed list")

    def _known(self, function: _Named, args: tuple[Any, ...]) -> object:
        """A stand-in for what a function makes, of the class that it would be."""
        module, name = function.module, function.name
        top = module.partition(".")[0]
        match name, args:
            case "getattr", (_Part() as owner, str(attribute)) if module == "builtins":
                return _renamed(_Attribute(owner, attribute))
            case "__newobj__", (_Part() as kind, *rest) if top == "copyreg":
                return self._called(kind, tuple(rest))
            case "__newobj_ex__", (_Part() as kind, rest, options) if top == "copyreg":
                return self._called(kind, rest, options)
            case "_reconstructor", (_Part() as kind, _Named(name=base), state) if top == "copyreg":
                return self._called(kind, () if base == "object" else (state,))
            case "_frombuffer", (_, _, _, _, *_) if top == "numpy":
                return _Stand(_Named("numpy", "ndarray"), args, {}, "frombuffer")
            case (("_reconstruct" | "_mareconstruct"), (_Named() as kind, *_)) if top == "numpy":
                return _Stand(kind, args, {}, "reconstruct")
            case "scalar", (_Stand() as dtype, bytes()) if top == "numpy":
                _, code = _dtype(dtype)
                kind = _Named("numpy", _SCALARS.get(code[:1]) or _SIZED.get(code) or "generic")
                return _Stand(kind, args, {}, "scalar")
            case _, (_Named() as kind, dict(options)) if top == "pandas" and name[:4] == "_new":
                return _Stand(kind, (), options)
            case _, (_Named() as kind, int(), *_) if name.startswith("__pyx_unpickle_"):
                return _Stand(kind, tuple(each for each in args[2:] if each is not None), {})
        if "cloudpickle" in module:
            return _by_value(function, args)
        return _Stand(_renamed(function), args, {})


class _Maker(_Reader):
    """What calls give where work is not counted."""

    def __init__(self) -> None:
        super().__init__(b"", ())

    def _spend(self, work: int) -> None:
        pass

    def _admit(self, holder: object, key: Any) -> None:
        pass


_maker = _Maker()


class _Kind(type):
    """A function or class that a pickle names, for Python's own reader: that calls it, or makes an
    instance by `__new__`."""

    named: _Named

    def __call__(cls, *args: Any, **options: Any) -> Any:
        own = tuple(each.named if type(each) is _Kind else each for each in args)
        return _maker._called(cls.named, own, options)


@functools.lru_cache(maxsize=1000)
def _kind(module: str, name: str) -> _Kind:
    def new(cls: _Kind, *args: Any, **options: Any) -> Any:
        return cls(*args, **options)

    return _Kind("_", (), {"__new__": new, "__slots__": (), "named": _Named(module, name)})


class _Quick(pickle.Unpickler):
    """Builds the same as `_Reader`, or raises anything."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in _SINGLE:
            return _SINGLE[name]
        return _kind(module, name)


_PATHS: dict[str, type[pathlib.PurePath]] = {
    f"{module}.{kind.__name__}": kind
    for module in ("pathlib", "pathlib._local")
    for kind in (
        *(pathlib.PurePosixPath, pathlib.PureWindowsPath),
        pathlib.PosixPath if os.name == "posix" else pathlib.WindowsPath,
    )
}
# Functions that make an instance of a class under whose name it is shown.
_MAKERS = {
    "re._compile": ("re", "Pattern"),
    "zoneinfo.ZoneInfo._unpickle": ("zoneinfo", "ZoneInfo"),
    "pandas._libs.tslibs.timestamps._unpickle_timestamp": ("pandas", "Timestamp"),
}


def _renamed(function: _Part) -> _Part:
    name = _MAKERS.get(_title(function))
    return function if name is None else _Named(*name)


def _by_value(function: _Named, args: tuple[Any, ...]) -> object:
    """What cloudpickle makes of a function, class or module that it has by value."""
    match function.name, args:
        case "_make_function", (_Stand(args=code), dict(names), *_):
            name = next((each for each in reversed(code[10:13]) if type(each) is str), "?")
            module = names.get("__name__")
            return _Named(module if type(module) is str else "?", name, "function")
        case "_function_setstate", (_Named(), (_, {"__qualname__": str(name)})):
            args[0].name = name
        case "_make_skeleton_class", (_, str(name), _, dict(options), *_):
            module = options.get("__module__")
            return _Named(module if type(module) is str else "?", name, "class")
        case "_make_skeleton_enum", (_, _, str(name), _, str(module), *_):
            return _Named(module, name, "class")
        case "_builtin_type", (str(name),):
            return _Named("types", name)
        case (("subimport" | "dynamic_subimport"), (str(name), *_)):
            return _Named("", name, "module")
    return _Stand(function, args, {})


def _zone(value: object) -> datetime.tzinfo | None:
    return value if value is None or isinstance(value, datetime.tzinfo) else _Zone(value)


def _is_short(value: object) -> bool:
    """Whether it is an atom, and small: arithmetic with a large integer takes long."""
    if type(value) is int:
        return value.bit_length() <= _BITS
    return type(value) in _ATOMS or (type(value) is str and len(value) <= _BITS)


def _work_of(key: object) -> int:
    """The units of work to hash a key, as large as the tree is; a tuple forgets what it was."""
    work = 0
    left = [(key, 0)]
    while left:
        value, depth = left.pop()
        match value:
            case tuple() | frozenset():
                if len(value) > _KEY or depth > _KEY_DEPTH:
                    raise ValueError("a key is too large")
                work += 1 + len(value)
                left.extend((each, depth + 1) for each in value)
            case int():
                work += 1 + value.bit_length() // 16
            case str() | bytes():
                work += 1 + len(value) // 64
            case decimal.Decimal() | fractions.Fraction():
                work += 100
            case _:
                work += 10
        if work > _KEY and not isinstance(key, str | bytes):
            raise ValueError("a key is too large")
    return work


def _title(part: _Part) -> str:
    """`module.name`, and of an attribute `module.name.attribute`."""
    names: list[str] = []
    while isinstance(part, _Attribute) and len(names) < _shown.maxlevel:
        names.append(part.name[:_TEXT])
        part = part.owner
    if isinstance(part, _Named):
        names.append(part.name[:_TEXT])
        if part.module not in ("", "builtins"):
            names.append(part.module[:_TEXT])
    else:
        names.append("?")
    return ".".join(reversed(names))


# Below, a value is shown piece by piece, and nobody asks for more pieces than a text can have.
# level: how many containers in one another may still be looked into.


def _pieces(value: Any, level: int) -> Iterator[str]:
    shower = _SHOWERS.get(type(value))
    if shower is not None:
        yield from shower(value, level)
    else:
        yield repr(value)


def _named(value: _Named, _: int) -> Iterator[str]:
    if not value.made:
        yield _title(value)
    elif value.made == "module":
        yield f"<module {value.name[:_TEXT]}>"
    else:
        yield f"<{value.made} {value.name[:_TEXT]}, by value>"


def _attribute(value: _Attribute, level: int) -> Iterator[str]:
    if level <= 0:
        yield "..."
    else:
        yield from _pieces(value.owner, level - 1)
    yield f".{value.name[:_TEXT]}"


def _head(value: _Stand, level: int) -> Iterator[str]:
    """The name of a class; of a function, as which it looks, with its module."""
    if isinstance(value.kind, _Named):
        name = value.kind.name[:_TEXT]
        yield _title(value.kind) if name.startswith("_") and not value.kind.made else name
    else:
        yield from _pieces(value.kind, level - 1) if level > 0 else ("...",)


def _stand(value: _Stand, level: int) -> Iterator[str]:
    special = _array(value, level) or _scalar(value) or _table(value)
    if special is not None:
        yield from special
        return
    yield from _head(value, level)
    yield "("
    entries = _entries(value)
    if level <= 0:
        yield "" if next(entries, None) is None else "..."
    else:
        for count, (name, each) in enumerate(entries):
            if count:
                yield ", "
            if type(name) is str and name:
                yield f"{name[:_TEXT]}="
            elif name is not None:
                yield from _pieces(name, level - 1)
                yield "="
            yield from _pieces(each, level - 1)
    yield ")"


def _entries(value: _Stand) -> Iterator[tuple[Any, Any]]:
    """What stands between the parentheses: names, None for what has none, and values."""
    args, options, state = value.args, value.options, value.state
    if _title(value.kind) == "functools.partial" and type(state) is tuple and len(state) == 4:
        _, partial, named, state = state
        args = args + partial if type(partial) is tuple else args
        options = named if type(named) is dict else options
    if _title(value.kind) == "numpy.dtype" and args:
        yield None, _dtype_name(value)
        return
    yield from ((None, each) for each in args)
    yield from options.items()
    if value.members:
        yield None, value.members
    if value.pairs:
        yield None, _Pairs(value.pairs)
    match state:
        case None:
            return
        case dict():
            yield from state.items()
        case (dict() | None, dict()):
            yield from (state[0] or {}).items()
            yield from state[1].items()
        case list():
            yield from ((None, each) for each in state)
        case _:
            yield None, state


def _several(
    values: Iterable[Any], length: int, level: int, most: int, around: Sequence[str] = ("", "")
) -> Iterator[str]:
    yield around[0]
    if level <= 0 and length:
        yield "..."
    else:
        for count, each in enumerate(itertools.islice(values, most)):
            if count:
                yield ", "
            yield from _pieces(each, level - 1)
        if length > most:
            yield ", ..."
    yield around[1]


def _list(value: list[Any], level: int) -> Iterator[str]:
    return _several(value, len(value), level, _shown.maxlist, "[]")


def _tuple(value: tuple[Any, ...], level: int) -> Iterator[str]:
    yield "("
    yield from _several(value, len(value), level, _shown.maxtuple)
    yield ",)" if len(value) == 1 and level > 0 else ")"


def _deque(value: deque[Any], level: int) -> Iterator[str]:
    yield "deque("
    yield from _several(value, len(value), level, _shown.maxdeque, "[]")
    yield ")" if value.maxlen is None else f", maxlen={value.maxlen})"


def _set(value: Collection[Any], level: int) -> Iterator[str]:
    name = "frozenset" if isinstance(value, frozenset) else "set"
    if not value:
        yield f"{name}()"
        return
    ordered: Iterable[Any] = value
    if len(value) <= _BITS and len({type(each) for each in value} | {int, str}) == 2:
        ordered = sorted(value, key=lambda each: (type(each) is str, each))
    inside = _several(ordered, len(value), level, _shown.maxset, "{}")
    yield from inside if name == "set" else itertools.chain(["frozenset("], inside, [")"])


def _mapping(pairs: Iterable[tuple[Any, Any]], length: int, level: int) -> Iterator[str]:
    yield "{"
    if level <= 0 and length:
        yield "..."
    else:
        for count, (key, each) in enumerate(itertools.islice(pairs, _shown.maxdict)):
            if count:
                yield ", "
            yield from _pieces(key, level - 1)
            yield ": "
            yield from _pieces(each, level - 1)
        if length > _shown.maxdict:
            yield ", ..."
    yield "}"


def _dict(value: dict[Any, Any], level: int) -> Iterator[str]:
    inside = _mapping(value.items(), len(value), level)
    if type(value) is dict:
        return inside
    name = type(value).__name__
    return itertools.chain([f"{name}("], inside if value else (), [")"])


def _int(value: int, _: int) -> Iterator[str]:
    if value.bit_length() <= _BITS:
        yield _shown.repr_int(value, 0)
    else:
        yield f"<{'negative ' if value < 0 else ''}int of {value.bit_length()} bits>"


def _time(value: Any, level: int) -> Iterator[str]:
    if isinstance(value.tzinfo, _Zone):
        yield repr(value.replace(tzinfo=None))[:-1] + ", tzinfo="
        yield from _pieces(value.tzinfo.of, level - 1) if level > 0 else ("...",)
        yield ")"
    else:
        yield repr(value)


_SHOWERS: dict[type, Callable[[Any, int], Iterator[str]]] = {
    int: _int,
    str: lambda value, _: iter([_shown.repr_str(value, 0)]),
    bytes: lambda value, _: iter([repr(value[:_TEXT])]),
    bytearray: lambda value, _: iter([repr(value[:_TEXT])]),
    list: _list,
    tuple: _tuple,
    deque: _deque,
    set: _set,
    frozenset: _set,
    dict: _dict,
    OrderedDict: _dict,
    Counter: _dict,
    _Pairs: lambda value, level: _mapping(value.pairs, len(value.pairs), level),
    datetime.datetime: _time,
    datetime.time: _time,
    _Named: _named,
    _Kind: lambda value, level: _named(value.named, level),
    _Attribute: _attribute,
    _Buffer: lambda value, _: iter([f"<buffer of {value.size} bytes>"]),
    _Stand: _stand,
    _Word: lambda value, _: iter([value.text]),
}


# numpy's data types by their codes, and what `struct` calls them.
_FORMATS = {
    **{"b1": "?", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"},
    **{"i8": "q", "u8": "Q", "f2": "e", "f4": "f", "f8": "d"},
}
_SIZED = {
    **{"b1": "bool", "f16": "longdouble", "c32": "clongdouble"},
    **{f"i{size}": f"int{8 * size}" for size in (1, 2, 4, 8)},
    **{f"u{size}": f"uint{8 * size}" for size in (1, 2, 4, 8)},
    **{f"f{size}": f"float{8 * size}" for size in (2, 4, 8)},
    **{f"c{size}": f"complex{8 * size}" for size in (8, 16)},
}
_SCALARS = {
    **{"U": "str_", "S": "bytes_", "V": "void", "M": "datetime64", "m": "timedelta64"},
    "O": "object_",
}


def _dtype(value: object) -> tuple[str, str]:
    """The order of the bytes, as `struct` has it, and the code; nothing if it is no data type."""
    match value:
        case _Stand(args=(str(code), *_), state=state) if re.fullmatch(r"[a-zA-Z]\d{1,9}", code):
            big = type(state) is tuple and len(state) > 1 and state[1] == ">"
            return ">" if big else "<", code
    return "", ""


def _dtype_name(value: object) -> Any:
    order, code = _dtype(value)
    match value:
        case _Stand(state=(_, _, _, tuple(names), *_)):
            return names
        case _Stand(state=(*_, (_, (bytes(unit), int(number), *_)))) if code in ("M8", "m8"):
            several = "" if number == 1 else f"{number:d}" if _is_short(number) else "?"
            return _Word(f"{_SCALARS[code[0]]}[{several}{unit.decode('ascii', 'replace')[:9]}]")
    if not code:
        return value
    name = "object" if code[0] == "O" else _SIZED.get(code, code)
    return _Word(name if order == "<" or code not in _SIZED else f">{code}")


def _element(data: Any, position: int, order: str, code: str) -> Any:
    """What is at a position of an array's data; of a type whose `_size_of` is known."""
    if type(data) is list:
        return data[position]
    size = int(code[1:])
    match code[0]:
        case "U":
            start = 4 * position * size
            part = data[start : start + 4 * min(size, _TEXT)]
            return part.decode("utf-32-le" if order == "<" else "utf-32-be", "replace").rstrip("\0")
        case "S":
            start = position * size
            return bytes(data[start : start + min(size, _TEXT)]).rstrip(b"\0")
        case "c":
            half = code.replace("c", "f").replace(str(size), str(size // 2))
            return complex(*[_element(data, 2 * position + each, order, half) for each in (0, 1)])
        case "M" | "m":
            code = "i8"
    (number,) = struct.unpack_from(order + _FORMATS[code], data, position * size)
    return float(f"{number:.7g}") if code in ("f2", "f4") else number


def _size_of(code: str) -> int | None:
    """Bytes of one element, if that can be told."""
    if code in _FORMATS or code in ("c8", "c16", "M8", "m8") or code[:1] == "S":
        return int(code[1:])
    return 4 * int(code[1:]) if code[:1] == "U" else None


def _layout(value: object) -> tuple[Any, tuple[int, ...], str, Any] | None:
    """The data type, the shape, the order and the data of what is an array."""
    match value:
        case _Stand(maker="frombuffer", args=(data, dtype, tuple(shape), order, *_)):
            pass
        case _Stand(maker="reconstruct", state=(_, tuple(shape), dtype, fortran, data, *_)):
            order = "F" if fortran else "C"
        case _:
            return None
    if len(shape) > 64 or not all(type(each) is int and 0 <= each < 1 << 63 for each in shape):
        return None
    return dtype, shape, order if order in ("C", "F") or len(shape) > 1 else "C", data


def _array(value: _Stand, level: int) -> Iterator[str] | None:
    layout = _layout(value)
    if layout is None:
        return None
    dtype, shape, order, data = layout
    name = value.kind.name[:_TEXT] if isinstance(value.kind, _Named) else "array"
    return itertools.chain(
        ["array(" if name == "ndarray" else f"{name}("],
        _elements(dtype, shape, order, data, level) if level > 0 else (),
        ["shape="],
        _several(shape, len(shape), 1, _shown.maxtuple, "()")
        if len(shape) != 1
        else (f"({shape[0]},)",),
        [", dtype="],
        _pieces(_dtype_name(dtype), level - 1) if level > 0 else ("...",),
        [")"],
    )


def _elements(
    dtype: Any, shape: tuple[int, ...], order: str, data: Any, level: int
) -> Iterator[str]:
    """The first ones of each dimension, if they are there."""
    ends, code = _dtype(dtype)
    if type(data) is list:
        size = 1 if code[:1] == "O" else None
    else:
        size = _size_of(code) if type(data) in (bytes, bytearray) else None
    if order not in ("C", "F") or size is None or len(data) != size * math.prod(shape):
        return
    steps = [
        math.prod(shape[axis + 1 :] if order == "C" else shape[:axis]) for axis in range(len(shape))
    ]

    def along(axis: int, position: int) -> Iterator[str]:
        if axis == len(shape):
            yield from _pieces(_element(data, position, ends, code), level - 1)
            return
        yield "["
        for place in range(min(shape[axis], _shown.maxlist)):
            if place:
                yield ", "
            yield from along(axis + 1, position + place * steps[axis])
        yield ", ...]" if shape[axis] > _shown.maxlist else "]"

    yield from along(0, 0)
    yield ", "


def _scalar(value: _Stand) -> Iterator[str] | None:
    if value.maker != "scalar" or not isinstance(value.kind, _Named):
        return None
    dtype, data = value.args
    order, code = _dtype(dtype)
    named = _dtype_name(dtype)
    name = named.text if code in ("M8", "m8") and type(named) is _Word else value.kind.name
    if len(data) != _size_of(code):
        return iter([f"np.{name}(...)"])
    return itertools.chain([f"np.{name}("], _pieces(_element(data, 0, order, code), 1), [")"])


def _table(value: _Stand) -> Iterator[str] | None:
    """A table of pandas: its shape, if its axes are of a sort that is known."""
    kind = value.kind
    if (
        not isinstance(kind, _Named)
        or kind.module.partition(".")[0] != "pandas"
        or kind.name not in ("DataFrame", "Series")
    ):
        return None
    match value.state:
        case {"_mgr": _Stand(args=(_, list(axes)))} | {"_mgr": _Stand(state=(list(axes), *_))}:
            lengths = [_length(each, _shown.maxlevel) for each in axes[:2]]
            if lengths and None not in lengths:
                shape = ", ".join(map(str, reversed(lengths))) + "," * (len(lengths) == 1)
                return iter([f"{kind.name}(shape=({shape}))"])
    return iter([f"<{_title(kind)}>"])


def _length(value: object, level: int) -> int | None:
    """How long an index is."""
    if (layout := _layout(value)) is not None:
        return layout[1][0] if len(layout[1]) == 1 else None
    match value:
        case list():
            return len(value)
        case _Stand(options={"start": int(start), "stop": int(stop), "step": int(step)}) if all(
            map(_is_short, (start, stop, step))
        ):
            try:
                return len(range(start, stop, step))
            except (ValueError, OverflowError):
                return None
        case _Stand(options={"data": data}) if level > 0:
            return _length(data, level - 1)
        case _Stand(state=tuple(parts)) if level > 0:
            found = (_length(each, level - 1) for each in parts[:4])
            return next((each for each in found if each is not None), None)
    return None
