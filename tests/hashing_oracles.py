"""Values that must have one key, and values that must have different ones.

Many claims are those of the hashing suites of joblib, dask.tokenize and charmonium.freeze. Each
entry makes its values anew, so that no two of them share a part.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import ipaddress
import itertools
import logging
import operator
import pathlib
import random
import re
import struct
import types
import typing
import uuid
import weakref
import zoneinfo
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Values = Callable[[], list[Any]]

EQUAL: dict[str, Values] = {}
DIFFERENT: dict[str, Values] = {}

FACTOR = 3
TABLE = {"rate": 2}
MISSING, OTHER = object(), object()


def equal(values: Values) -> Values:
    """All of these have one key."""
    EQUAL[values.__name__] = values
    return values


def different(values: Values) -> Values:
    """No two of these have one key."""
    DIFFERENT[values.__name__] = values
    return values


# Plain data.


@different
def atoms() -> list[Any]:
    return [
        *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 2**20000, -(2**20000), 97),
        *(0.0, -0.0, 1.0, 0.1, float("inf"), float("-inf"), float("nan"), 5e-324),
        *(0j, 1j, -0j, complex(1, 0), complex(-0.0, 0.0), complex(0.0, float("nan"))),
        *("", "a", "1", "None", "\0", "a\0", "\ud83d\ude00", "\U0001f600", "\ud83d"),
        *("é", "e\u0301", "ab", b"", b"a", b"ab", b"\0", ..., NotImplemented),
    ]


@different
def containers() -> list[Any]:
    return [
        *((), [], {}, set(), frozenset(), (None,), [None], {None}, {None: None}),
        *(
            (1, 2),
            [1, 2],
            {1, 2},
            frozenset({1, 2}),
            {1: 2},
            (2, 1),
            [[1, 2]],
            [[1], 2],
            [[1], [2]],
        ),
        *(((1,), 2), (1, (2,)), ((), ()), ((),), ([],), [()], {(): ()}, {"a": 1}, {"a": 1.0}),
        *(
            {"a": True},
            {"a": [1]},
            {"a": (1,)},
            {"b": 1},
            [{"a": 1}],
            ["a", 1],
            ["a1"],
            ["", "a", 1],
        ),
        *(
            [b"a"],
            ["a"],
            [97],
            {1: "x", 2: "y"},
            {1: "y", 2: "x"},
            {(1, 2): 3},
            {frozenset({1}): 3},
        ),
        *({"a", 1}, {"a", 1, ("a", 1)}, {"a": 1, 1: 2}, {"a": 1, 1: 2, "d": {"a": 1}}, [1, 1], [1]),
        *({1.0, 2.0}, {True, 2}, [True, 2], [1.0, 2.0], {"a": None}, {"a": ...}, [[[]]], [[], []]),
    ]


@different
def order_of_a_dictionary() -> list[Any]:
    """joblib and dask take these for one; a function sees the order, and makes columns of it."""
    return [
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        collections.OrderedDict(a=1, b=2),
        collections.OrderedDict(b=2, a=1),
        [("a", 1), ("b", 2)],
    ]


@equal
def order_of_a_set() -> list[Any]:
    words = [f"word {number}" for number in range(50)]
    return [set(words), {*reversed(words)}, set(words[25:]) | set(words[:25])]


@equal
def order_of_a_frozenset_inside() -> list[Any]:
    members: list[Any] = [(number, frozenset({str(number), number})) for number in range(50)]
    return [{"key": [frozenset(members)]}, {"key": [frozenset(reversed(members))]}]


@equal
def order_of_a_set_of_no_plain_data() -> list[Any]:
    members = [decimal.Decimal(0), decimal.Decimal("NaN"), decimal.Decimal(2), pathlib.Path("a")]
    return [set(members), {*reversed(members)}]


@equal
def order_of_a_set_without_an_order() -> list[Any]:
    def member() -> complex:
        return complex(float("nan"), float("nan"))

    return [{member(), member(), 1}, {1, member(), member()}]


@equal
def not_a_number() -> list[Any]:
    return [float("nan"), float("nan"), [float("nan")][0]]


@equal
def shared_or_not() -> list[Any]:
    part = [1, "a" * 100]
    return [[part, part], [part, list(part)], [[1, "a" * 100], [1, "a" * 100]]]


@equal
def shared_among_instances() -> list[Any]:
    part = bytearray(b"x" * 1000)
    return [(part, [part]), (bytearray(part), [bytearray(part)])]


@equal
def interned_or_not() -> list[Any]:
    text = "foo"
    return [[{text: "bar"}, {text: "bar"}], [{"foo": "bar"}, {"".join(["f", "oo"]): "bar"}]]


@different
def around_in_cycles() -> list[Any]:
    def cycle(*parts: Any) -> list[Any]:
        made = [*parts]
        made.insert(1, made)
        return made

    inner: list[Any] = [[], []]
    inner[0].append(inner[0])
    inner[1].append(inner[1])
    crossed: list[Any] = [[], []]
    crossed[0].append(crossed[1])
    crossed[1].append(crossed[0])
    itself: dict[Any, Any] = {}
    itself[0] = itself
    return [cycle(1, 2, 3), cycle(1, 2, 4), inner, crossed, itself, Node.ring(2), Node.ring(3)]


@equal
def same_cycles() -> list[Any]:
    return [Node.ring(3), Node.ring(3)]


@equal
def cycles_with_siblings() -> list[Any]:
    def tree() -> Node:
        root = Node()
        root.others = [Node(), Node(), Node()]
        for each in root.others:
            each.others = [root]
        return root

    return [tree(), tree()]


@different
def large() -> list[Any]:
    size = 1 << 16
    return [
        *(b"a" * size, b"a" * (size + 1), b"a" * (size - 1), b"b" * size),
        *(bytearray(b"a" * size), [b"a" * size], memoryview(b"a" * size), "a" * size),
        *((b"a" * size, 1), {b"a" * size: 1}, array.array("b", b"a" * size)),
    ]


# What derives of plain data, or has its bytes.


class Text(str):
    pass


class Number(int):
    pass


class Octets(bytes):
    pass


class Items(list[Any]):
    pass


class Table(dict[Any, Any]):
    pass


class Pair(tuple[Any, ...]):
    pass


class Group(set[Any]):
    pass


class Fixed(frozenset[Any]):
    pass


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Name(enum.StrEnum):
    ONE = "1"


@different
def ones() -> list[Any]:
    return [
        *(1, True, 1.0, 1 + 0j, "1", b"1", Number(1), Number(2), Text("1"), Octets(b"1")),
        *(Level.LOW, Level.HIGH, Color.RED, Color.BLUE, Shade.RED, Right.READ, Right.WRITE),
        *(Right.READ | Right.WRITE, Right(0), Name.ONE, decimal.Decimal(1), fractions.Fraction(1)),
        *(
            decimal.Decimal("1.0"),
            [1],
            (1,),
            {1},
            frozenset({1}),
            Items([1]),
            Pair([1]),
            Group({1}),
        ),
        *(Fixed({1}), Table({1: 1}), {1: 1}, collections.Counter([1]), collections.deque([1])),
        *(
            collections.deque([1], 5),
            range(1),
            range(0, 1, 2),
            slice(1),
            slice(1, None),
            slice(0, 1),
        ),
        *(collections.defaultdict(int, {1: 1}), collections.defaultdict(bool, {1: 1})),
        *(
            collections.ChainMap({1: 1}),
            types.MappingProxyType({1: 1}),
            {1: 1}.keys(),
            {1: 1}.values(),
        ),
        *({1: 1}.items(), iter([1]), types.SimpleNamespace(a=1), types.SimpleNamespace(b=1)),
        *(collections.UserDict({1: 1}), collections.UserList([1]), int, bool, float, Number, Text),
        *(
            Level,
            Color,
            type(None),
            types.NoneType | int,
            list,
            list[int],
            list[float],
            dict[int, int],
        ),
    ]


@different
def bytes_alike() -> list[Any]:
    data = b"\1\0\0\0\0\0\0\0"
    return [
        *(data, bytearray(data), memoryview(data), memoryview(bytearray(data)), Octets(data)),
        *(
            memoryview(data).cast("q"),
            memoryview(data).cast("B", (2, 4)),
            [*data],
            io.BytesIO(data),
        ),
        *(array.array(code, data) for code in "bBhHiIlLqQd"),
        *(array.array("b"), array.array("B"), bytearray(), b"", memoryview(b"")),
    ]


@equal
def members() -> list[Any]:
    return [Color.RED, Color(1), Color["RED"]]


@equal
def views_of_a_mapping() -> list[Any]:
    return [types.MappingProxyType({"a": [3]}), types.MappingProxyType({"a": [3]})]


@equal
def strided_memory() -> list[Any]:
    return [memoryview(b"abcd")[::2], memoryview(b"a-c-")[::2], memoryview(b"ac")]


@different
def ordered() -> list[Any]:
    return [
        collections.OrderedDict([("a", 1), ("b", 2)]),
        collections.OrderedDict([("b", 2), ("a", 1)]),
        collections.ChainMap({"a": 1}, {"b": 2}),
        collections.ChainMap({"b": 2}, {"a": 1}),
        collections.deque([1, 2]),
        collections.deque([2, 1]),
    ]


@equal
def counted() -> list[Any]:
    return [collections.Counter("abca"), collections.Counter({"a": 2, "b": 1, "c": 1})]


# Instances.


class Node:
    def __init__(self) -> None:
        self.others: list[Node] = []

    @staticmethod
    def ring(size: int) -> Node:
        nodes = [Node() for _ in range(size)]
        for here, there in itertools.pairwise([*nodes, nodes[0]]):
            here.others.append(there)
        return nodes[0]


class Two:
    def __init__(self, a: Any, b: Any) -> None:
        self.a = a
        self.b = b

    def joined(self) -> Any:
        return self.a, self.b

    @classmethod
    def made(cls) -> str:
        return cls.__name__

    @staticmethod
    def fixed() -> int:
        return 1


class Third(Two):
    pass


class Slots:
    __slots__ = ("p", "q")

    def __init__(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)


class SlotsAndMore(Slots):
    pass


class Property:
    def __init__(self, value: int) -> None:
        self._value = value

    @property
    def value(self) -> int:
        raise RuntimeError("nobody asked")

    def __repr__(self) -> str:
        return "always the same"

    def __getattr__(self, name: str) -> Any:
        return lambda: name


@dataclasses.dataclass
class Data:
    a: int
    b: Any = dataclasses.field(default=0, repr=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenData:
    a: int


class Point(typing.NamedTuple):
    x: int
    y: int


class Reduced:
    def __init__(self, x: int) -> None:
        self.x = x

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, (self.x,)


class Stateful:
    def __init__(self, x: int, y: Any) -> None:
        self.x = x
        self.y = y

    def __getstate__(self) -> int:
        return self.x


class Place(type(pathlib.Path())):  # type: ignore[misc]
    """On 3.12 and later a path may be given other arguments; here it has another attribute."""

    note: int


class Callable_:
    def __init__(self, x: int) -> None:
        self.x = x

    def __call__(self) -> int:
        return self.x


@different
def instances() -> list[Any]:
    return [
        *(Two(1, 2), Two(2, 1), Two(None, 2), Two(1, None), Two(None, None), Two(1, [])),
        Third(1, 2),
        *(Slots(), Slots(p=1), Slots(q=1), Slots(p=1, q=None), Slots(p=None), SlotsAndMore(p=1)),
        *(SlotsAndMore(p=1, r=1), SlotsAndMore(r=1), Property(1), Property(2), Data(1), Data(2)),
        *(Data(1, 2), FrozenData(1), Point(1, 2), Point(2, 1), (1, 2), Reduced(1), Reduced(2)),
        *(Stateful(1, 2), Stateful(2, 2), Callable_(1), Callable_(2), {"a": 1, "b": 2}),
        *(Two(1, 2).joined, Two(2, 1).joined, Third(1, 2).joined, Two.joined, Two.fixed),
        *(Two.made, Third.made, Two(1, 2).__repr__, Two.__repr__, Two, Third, Data, FrozenData),
    ]


@equal
def same_instances() -> list[Any]:
    return [Two([1], {"x": 2}), Two([1], {"x": 2})]


@equal
def static_methods() -> list[Any]:
    return [Two(1, 2).fixed, Two(2, 1).fixed, Third(1, 2).fixed]


@equal
def class_methods() -> list[Any]:
    return [Two(1, 2).made, Two(2, 1).made, Two.made]


@equal
def by_their_state() -> list[Any]:
    return [Stateful(1, 2), Stateful(1, iter([]))]


def class_with(number: int) -> Any:
    class Local:
        value = number

        def get(self) -> int:
            return self.value

    return Local


def class_around(number: Any) -> Any:
    class Local:
        def get(self) -> Any:
            return number

    return Local


def class_that_holds(data: Any) -> Any:
    class Local:
        table = data

    return Local


@different
def classes_of_one_name() -> list[Any]:
    return [
        *(class_with(3), class_with(4), class_with(3)(), class_with(4)(), class_with(3)().get),
        *(class_around(3), class_around(4), class_around(3)(), class_around(4)()),
        *(
            class_around([3])(),
            class_around([4])(),
            class_that_holds([3])(),
            class_that_holds([4])(),
        ),
        *(class_that_holds({"a": 3})(), class_that_holds({"a": 4})()),
    ]


@equal
def one_class_made_twice() -> list[Any]:
    return [class_with(3)(), class_with(3)()]


# Instances that say themselves what they are.


class Keyed:
    def __init__(self, key: Any, other: Any = None) -> None:
        self.key = key
        self.other = other

    def __cache_key__(self) -> Any:
        return self.key


class KeyedToo(Keyed):
    pass


class Versioned:
    def __init__(self, value: Any, version: Any) -> None:
        self.value = value
        self._version = (version, iter([version]))

    def __cache_ver__(self) -> Any:
        return self._version[0]

    def __getstate__(self) -> Any:
        return self.value


class Both(Keyed):
    def __cache_ver__(self) -> Any:
        return self.other


class KeyedNumber(int):
    def __cache_key__(self) -> str:
        return "number"


class KeyedColor(enum.Enum):
    RED = 1

    def __cache_key__(self) -> str:
        return "color"


def told(value: Any, **names: Any) -> Any:
    for name, each in names.items():
        setattr(value, name, each)
    return value


@different
def keys_of_their_own() -> list[Any]:
    return [
        *(Keyed(1), Keyed(True), Keyed("1"), Keyed([1]), Keyed(None), KeyedToo(1), Keyed(Keyed(1))),
        *(Both(1, 1), Both(1, 2), Both(2, 1), Versioned(1, 1), Versioned(1, 2), Versioned(2, 1)),
        *(KeyedNumber(1), KeyedColor.RED, told(Two(1, 2), __cache_key__=lambda: 1), Two(1, 2)),
        *(told(Two(1, 2), __cache_key__=lambda: 2), told(Two(1, 2), __cache_ver__=lambda: 1)),
    ]


@equal
def a_key_stands_for_all() -> list[Any]:
    return [Keyed(1, 2), Keyed(1, iter([])), Keyed(1, open)]


@equal
def a_key_of_an_instance() -> list[Any]:
    return [
        told(Two(1, 2), __cache_key__=lambda: "same"),
        told(Two(3, 4), __cache_key__=lambda: "same"),
    ]


@equal
def a_key_of_a_number() -> list[Any]:
    return [KeyedNumber(1), KeyedNumber(2)]


# Functions.


def adder(number: Any) -> Callable[[int], Any]:
    return lambda x: x + number


def defaulted(value: Any) -> Callable[..., Any]:
    def inner(x: Any = value, *, y: Any = value) -> Any:
        return x, y

    return inner


def scaled(x: float) -> float:
    return x * FACTOR


def looked_up(x: float) -> float:
    return x * TABLE["rate"]


def calling(x: float) -> float:
    return scaled(x)


def plain_function(x: int) -> int:
    return x


def plain_function_too(x: int) -> int:
    return x


def counting(start: int) -> Iterator[int]:
    yield start


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


@functools.singledispatch
def dispatched(value: object) -> object:
    return value


@dispatched.register
def _(value: int) -> int:
    return value


@functools.singledispatch
def dispatched_too(value: object) -> object:
    return value


def _functions() -> Iterable[Any]:
    first, second = (lambda x: x), (lambda x: x + 1)
    yield from (first, second, lambda y: y, lambda y: y + 1)
    yield from (adder(1), adder(2), adder(1.0), adder([1]), adder([2]), adder(adder(1)))
    yield from (defaulted(1), defaulted(2), defaulted(first), defaulted(second), defaulted([1]))
    yield from (defaulted([2]), defaulted(None), scaled, looked_up, calling, plain_function)
    yield from (plain_function_too, counting, decorated(plain_function), decorated(scaled))
    yield from (decorated(adder(1)), decorated(adder(2)), dispatched, dispatched_too)
    yield from (functools.lru_cache(plain_function), functools.lru_cache(scaled))
    yield from (functools.lru_cache(maxsize=3)(scaled), functools.cache(adder(1)))
    yield functools.cache(adder(2))

    def nested_two(x: int) -> Any:
        return (lambda x: x + 2)(x)

    def nested_three(x: int) -> Any:
        return (lambda x: x + 3)(x)

    def through(function: Any) -> Any:
        return lambda x: function(x)

    def flag(told: Any) -> Any:
        return lambda: told.a

    yield from (nested_two, nested_three, through(first), through(second))
    yield from (through(adder(1)), through(adder(2)), flag(Two(1, 2)), flag(Two(2, 2)))


@different
def functions() -> list[Any]:
    return [
        *_functions(),
        *(len, print, getattr, open, str.join, "foo".join, "bar".join, [].append, [1].append),
        *(operator.add, operator.mul, operator.itemgetter(1), operator.itemgetter(2)),
        *(operator.attrgetter("a"), operator.methodcaller("a", 1), dict.fromkeys, int.from_bytes),
        *(functools.partial(plain_function, 3), functools.partial(plain_function, 4)),
        *(functools.partial(plain_function, x=3), functools.partial(scaled, 3)),
        *(functools.partial(adder(1)), functools.partial(adder(2)), scaled.__code__),
        *(plain_function.__code__, collections, re, pathlib, collections.abc, type, object),
        *(random.Random(1).random, random.Random(2).random, io.StringIO("a").read),
        *(io.StringIO("b").read, Two.__init__, object.__init__, object.__repr__, int.real),
        *(told(decorated(plain_function), marked=1), told(decorated(plain_function), marked=2)),
    ]


@equal
def closures_of_one_value() -> list[Any]:
    return [adder([1, {"a": 2}]), adder([1, {"a": 2}])]


@equal
def functions_made_anew() -> list[Any]:
    return [defaulted(adder(1)), defaulted(adder(1))]


@equal
def wrapped_by_a_cache() -> list[Any]:
    used, unused = functools.cache(plain_function), functools.cache(plain_function)
    used(3)
    return [used, unused]


@equal
def recursive_functions() -> list[Any]:
    def make() -> Callable[[int], Any]:
        def again(n: int) -> Any:
            return n and again(n - 1)

        return again

    return [make(), make()]


# The standard library.


@different
def moments() -> list[Any]:
    utc = datetime.UTC
    full = (2021, 6, 25, 1, 2, 3, 4)
    moment: Any = datetime.datetime
    at = functools.partial(moment, *full)
    return [
        *(moment(*full[:count]) for count in range(3, 8)),
        *(at(utc), at(zoneinfo.ZoneInfo("UTC"))),
        at(zoneinfo.ZoneInfo("Europe/Paris")),
        at(datetime.timezone(datetime.timedelta(hours=1))),
        at(datetime.timezone(datetime.timedelta(hours=1), "name")),
        at(fold=1),
        *(datetime.date(2021, 6, 25), datetime.date(2002, 6, 25), datetime.date(2021, 7, 25)),
        *(datetime.time(1, 2), datetime.time(1, 2, 3), datetime.time(1, 2, tzinfo=utc)),
        *(datetime.time(1, 2, fold=1), datetime.timedelta(1), datetime.timedelta(2), utc),
        *(zoneinfo.ZoneInfo("UTC"), zoneinfo.ZoneInfo("Europe/Paris")),
    ]


@equal
def durations() -> list[Any]:
    return [datetime.timedelta(seconds=120), datetime.timedelta(minutes=2)]


@different
def standard() -> list[Any]:
    return [
        *(uuid.UUID(int=1), uuid.UUID(int=2), pathlib.Path("a"), pathlib.Path("b"), pathlib.Path()),
        *(Place("a"), Place("b"), told(Place("a"), note=1), told(Place("a"), note=2)),
        *(pathlib.PurePath("a"), pathlib.PureWindowsPath("a"), pathlib.Path("a/b"), "a"),
        *(re.compile("a"), re.compile("b"), re.compile("a", re.M), re.compile(b"a")),
        *(struct.Struct("<i"), struct.Struct(">i"), struct.Struct("<I")),
        *(ValueError("a"), ValueError("b"), ValueError("a", 1), KeyError("a"), OSError(2, "a")),
        *(OSError(2, "b"), caused(ValueError("a"), KeyError("b")), StopIteration(1)),
        *(ExceptionGroup("a", [ValueError("b")]), ExceptionGroup("a", [ValueError("c")])),
        *(random.Random(1), random.Random(2), io.BytesIO(b"a"), io.BytesIO(b"b"), io.StringIO("a")),
        *(logging.getLogger("a.b"), logging.getLogger("a.c"), ipaddress.ip_address("::1")),
        *(ipaddress.ip_address("127.0.0.1"), iter(range(10)), advanced(iter(range(10)))),
        *(typing.Optional[int], typing.Any, typing.Literal["a"], typing.Literal["b"]),  # noqa: UP045
        *(list[int], list[float], typing.List, collections.abc.Callable[[int], int]),  # noqa: UP006
        *(MISSING, OTHER, dataclasses.MISSING, decimal.Decimal("NaN"), decimal.Decimal("-0")),
        *(decimal.Decimal(0), decimal.Decimal("0.0"), decimal.Decimal("sNaN")),
    ]


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def advanced(iterator: Iterator[Any]) -> Iterator[Any]:
    next(iterator)
    return iterator


@equal
def paths_of_one_text() -> list[Any]:
    used = pathlib.Path("a/b")
    assert hash(used)
    assert used.parts
    return [used, pathlib.Path("a/b"), pathlib.Path("a", "b"), pathlib.Path("a") / "b"]


@equal
def raised_or_not() -> list[Any]:
    try:
        raise ValueError("a")
    except ValueError as error:
        return [error, ValueError("a")]


@equal
def one_state_of_randomness() -> list[Any]:
    return [random.Random(1), random.Random(1)]


class Weak:
    """Something that can be referred to weakly."""


def refused() -> dict[str, tuple[Any, str]]:
    """What cannot be told from another one, and the way to it."""
    kept = Weak()
    return {
        "lambda": (adder(counting(1)), f".({__name__}:adder.<locals>.<lambda> closure number)"),
        "weak reference": (weakref.ref(kept), ""),
        "weak proxy": ([weakref.proxy(kept)], "[0]"),
        "generator": ({"a": [counting(1)]}, "['a'][0]"),
        "iterator": ((itertools.count(),), "[0]"),
        "attribute": ({"model": Two(1, Two(counting(1), 2))}, "['model'].b.a"),
        "slot": (Slots(p=counting(1)), ".p"),
        "member": ([{counting(1)}], "[0].(member)"),
        "key": ({counting(1): 1}, ".(key)"),
        "item": (Items([1, counting(1)]), "[1]"),
        "value": (Table(a=counting(1)), "['a']"),
        "anonymous": ([object()], "[0]"),
        "its key": (Keyed(counting(1)), ".__cache_key__()"),
        "its version": (Both(1, counting(1)), ".__cache_ver__()"),
        "frame": (counting(1).gi_frame, ""),  # type: ignore[attr-defined]
        "method": (Two(1, counting(1)).joined, ".__self__.b"),
    }
