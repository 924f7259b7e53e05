"""Showing: pickles are read as what they would build, and nothing that they name runs."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import importlib
import os
import pathlib
import pickle
import random
import struct
import sys
import time
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from snapshot import pickling
from snapshot.store import objects
from snapshot.store.objects import Placeholder
from snapshot.store.showing import read, text_of, type_of
from tests.libraries import require


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


@dataclasses.dataclass(slots=True)
class Slotted:
    x: object
    y: object


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: object
    y: object


class Both:
    __slots__ = ("__dict__", "x")

    def __init__(self) -> None:
        self.x = 1
        self.y = 2


class Vec(NamedTuple):
    x: int
    y: int


class Color(enum.Enum):
    RED = 1


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Celsius(float):
    pass


class Name(str):
    pass


class Names(list[str]):
    pass


class Table(dict[str, int]):
    pass


class Bag(set[int]):
    pass


class Broken(Exception):
    pass


class Outer:
    class Inner:
        pass

    def method(self) -> None:
        pass


class Called:
    """Its pickle is a call."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def shown(value: object) -> tuple[str, str]:
    """The type and the text of a value that went through the store's pickle."""
    data, buffers = pickling.dump(value)
    sizes = [each.nbytes for each in buffers]
    found, quickly = read(data, sizes), read(data, sizes, trusted=True)
    assert (type_of(quickly), text_of(quickly)) == (type_of(found), text_of(found))
    return type_of(found), text_of(found)


@pytest.fixture
def quick() -> Iterator[None]:
    """What takes more than some seconds of the processor has no bound."""
    begin = time.process_time()
    yield
    assert time.process_time() - begin < 10


ATOMS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.floats()),
    *(st.complex_numbers(allow_nan=False), st.datetimes(), st.dates(), st.times(), st.uuids()),
    *(st.timedeltas(), st.datetimes(timezones=st.just(datetime.UTC)), st.fractions()),
    *(st.decimals(allow_nan=False), st.binary().map(bytearray), st.text().map(pathlib.PurePath)),
)
KEYS = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.fractions(), st.dates()),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner)),
    max_leaves=5,
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        *(st.lists(inner), st.tuples(inner), st.tuples(inner, inner), st.sets(KEYS)),
        *(st.dictionaries(KEYS, inner), st.builds(collections.deque, st.lists(inner))),
        st.builds(collections.OrderedDict, st.dictionaries(KEYS, inner)),
    ),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([3, 4, 5]))
@example([float("nan")], 5)
@example([range(3), range(9, 0, -2), slice(1, None), ..., NotImplemented], 5)
@example(collections.Counter("hello"), 5)
@example(collections.deque([1, 2, 3], 2), 5)
def test_plain_data_is_built_as_it_is(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    found = read(data)
    assert repr(read(data, trusted=True)) == repr(found)
    assert repr(found) == repr(pickle.loads(pickle.dumps(value, protocol)))  # NaN is not itself
    assert type_of(found) == objects.type_name(value)
    assert len(text_of(found)) <= 200


SIMPLE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.tuples(inner), st.tuples(inner, inner)),
    max_leaves=30,
)


@given(SIMPLE)
@example([[[[[[[[1]]]]]]]])
@example((((((((1,),),),),),),))
@example(list(range(100)))
def test_simple_data_looks_as_it_did_when_it_was_stored(value: object) -> None:
    assert text_of(read(pickle.dumps(value, 5))) == objects.text_of(value)


HERE = __name__
SHOWN: tuple[tuple[object, str, str], ...] = (
    (Point(1, "a"), f"{HERE}.Point", "Point(x=1, y='a')"),
    (Slotted(1, 2), f"{HERE}.Slotted", "Slotted(x=1, y=2)"),
    (Frozen(1, 2), f"{HERE}.Frozen", "Frozen(1, 2)"),
    (Both(), f"{HERE}.Both", "Both(y=2, x=1)"),
    (Vec(1, 2), f"{HERE}.Vec", "Vec(1, 2)"),
    (Color.RED, f"{HERE}.Color", "Color(1)"),
    (Access.READ | Access.WRITE, f"{HERE}.Access", "Access(3)"),
    (Celsius(1.5), f"{HERE}.Celsius", "Celsius(1.5)"),
    (Name("x"), f"{HERE}.Name", "Name('x')"),
    (Names("ab"), f"{HERE}.Names", "Names(['a', 'b'])"),
    (Table(a=1), f"{HERE}.Table", "Table({'a': 1})"),
    (Bag([1]), f"{HERE}.Bag", "Bag([1])"),
    (Broken("why"), f"{HERE}.Broken", "Broken('why')"),
    (Outer.Inner(), f"{HERE}.Outer.Inner", "Outer.Inner()"),
    (Outer().method, "method", "Outer().method"),
    (object(), "object", "object()"),
    (Point, "function or class", f"{HERE}.Point"),
    (os.path.join, "function or class", "posixpath.join"),
    (len, "function or class", "len"),
    (functools.partial(print, 1, sep=""), "functools.partial", "partial(print, 1, sep='')"),
    (
        collections.defaultdict(list, a=[1]),
        "collections.defaultdict",
        "defaultdict(list, {'a': [1]})",
    ),
    (datetime.date(2024, 2, 29), "datetime.date", "datetime.date(2024, 2, 29)"),
    (decimal.Decimal("1.50"), "decimal.Decimal", "Decimal('1.50')"),
    (fractions.Fraction(1, 3), "fractions.Fraction", "Fraction(1, 3)"),
    (uuid.UUID(int=1), "uuid.UUID", "UUID('00000000-0000-0000-0000-000000000001')"),
    (pathlib.Path("/a/b"), objects.type_name(pathlib.Path()), "PosixPath('/a/b')"),
    ({"b", "a", "c"}, "set", "{'a', 'b', 'c'}"),
    (frozenset(), "frozenset", "frozenset()"),
    (collections.deque([1], 3), "collections.deque", "deque([1], maxlen=3)"),
    (collections.Counter("a"), "collections.Counter", "Counter({'a': 1})"),
    (10**1000, "int", "<int of 3322 bits>"),
    (
        Placeholder("a.B", "no", "<B>"),
        "snapshot.store.objects.Placeholder",
        "<not stored: <B>: no>",
    ),
    (sys, "module", "<module sys>"),
    (lambda: 0, "function", "<function <lambda>, by value>"),
    ("\ud800\0\n", "str", r"'\ud800\x00\n'"),
)


@pytest.mark.parametrize(("value", "type_", "text"), SHOWN, ids=[each[2] for each in SHOWN])
def test_a_value_is_shown_as_a_reader_would_like(value: object, type_: str, text: str) -> None:
    assert shown(value) == (type_, text)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value", [Point(1, 2), Vec(1, 2), Names("ab"), {1}, frozenset([1]), 1 << 99]
)
def test_any_protocol_is_read(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert type_of(read(data)) == objects.type_name(value)
    if protocol >= 2 or not isinstance(value, Vec):
        assert text_of(read(data)) == shown(value)[1]


def test_a_time_zone_that_is_not_made_is_shown_with_its_time() -> None:
    moment = datetime.datetime(2024, 1, 2, tzinfo=zoneinfo.ZoneInfo("UTC"))
    assert shown([moment, {moment: 1}])[1].startswith(
        "[datetime.datetime(2024, 1, 2, 0, 0, tzinfo=ZoneInfo('UTC', 1)), {datetime.datetime("
    )
    assert repr(read(pickle.dumps(moment))).startswith("datetime.datetime(2024, 1, 2, 0, 0, tz")


def test_a_class_by_value_and_its_instance() -> None:
    class Local:
        def __init__(self) -> None:
            self.a = 1

    def local() -> type[Local]:
        return Local

    assert shown(Local) == ("type", "<class Local, by value>")
    assert shown(Local()) == (f"{HERE}.Local", "Local(a=1)")
    kind, text = shown(local)
    assert (kind, text) == ("function", f"<function {local.__qualname__}, by value>")
    Hue = enum.Enum("Hue", {"RED": 1}, module="__main__")
    assert text_of(read(cloudpickle.dumps(Hue.RED))) == "Hue(1)"


def test_cycles() -> None:
    values: list[Any] = [1]
    values.append(values)
    found: Any = read(pickle.dumps(values))
    assert found[1] is found
    assert text_of(found) == "[1, [1, [1, [1, [1, [1, [...]]]]]]]"
    point = Point(1)
    point.y = point
    assert text_of(read(pickle.dumps(point))).startswith("Point(x=1, y=Point(x=1, y=Point(")


ARRAYS: tuple[tuple[Any, str, str], ...] = (
    (np.arange(3), "ndarray", "array([0, 1, 2], shape=(3,), dtype=int64)"),
    (np.arange(9, dtype=">i2"), "ndarray", "array([0, 1, 2, 3, 4, 5, ...], shape=(9,), dtype=>i2)"),
    (np.eye(2), "ndarray", "array([[1.0, 0.0], [0.0, 1.0]], shape=(2, 2), dtype=float64)"),
    (
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        "ndarray",
        "array([[0, 1, 2], [3, 4, 5]], shape=(2, 3), dtype=int64)",
    ),
    (np.zeros(100_000), "ndarray", "array(shape=(100000,), dtype=float64)"),
    (np.array(0.1, "f4"), "ndarray", "array(0.1, shape=(), dtype=float32)"),
    (np.array(["a", "bcd"]), "ndarray", "array(['a', 'bcd'], shape=(2,), dtype=U3)"),
    (np.array([b"a"]), "ndarray", "array([b'a'], shape=(1,), dtype=S1)"),
    (np.array([1 + 2j]), "ndarray", "array([(1+2j)], shape=(1,), dtype=complex128)"),
    (np.array([1, "x"], object), "ndarray", "array([1, 'x'], shape=(2,), dtype=object)"),
    (np.zeros((0, 3)), "ndarray", "array([], shape=(0, 3), dtype=float64)"),
    (np.zeros(2, [("a", "i4")]), "ndarray", "array(shape=(2,), dtype=('a',))"),
    (np.array(["2020"], "M8[ns]"), "ndarray", "shape=(1,), dtype=datetime64[ns])"),
    (np.ma.array([1, 2]), "ma.MaskedArray", "MaskedArray([1, 2], shape=(2,), dtype=int64)"),
    (np.float64(1.5), "float64", "np.float64(1.5)"),
    (np.int8(-1), "int8", "np.int8(-1)"),
    (np.str_("ab"), "str_", "np.str_('ab')"),
    (np.str_(""), "str_", "np.str_('')"),
    (np.datetime64("1970-01-02"), "datetime64", "np.datetime64[D](1)"),
)


@pytest.mark.parametrize(("value", "type_", "text"), ARRAYS, ids=[each[2] for each in ARRAYS])
def test_numpy(value: object, type_: str, text: str) -> None:
    kind, found = shown(value)
    assert kind == f"numpy.{type_}"
    assert found.endswith(text)


def test_a_buffer_out_of_band_is_its_size() -> None:
    data, buffers = pickling.dump(pickle.PickleBuffer(bytes(100_000)))
    assert text_of(read(data, [len(each) for each in buffers])) == "<buffer of 100000 bytes>"
    with pytest.raises(ValueError, match="not enough"):
        read(data)


def test_pandas() -> None:
    require("pandas")
    pd: Any = importlib.import_module("pandas")

    frame = pd.DataFrame({"a": [1, 2, 3], "b": list("xyz")})
    assert shown(frame) == (objects.type_name(frame), "DataFrame(shape=(3, 2))")
    assert shown(frame.set_index("b"))[1] == "DataFrame(shape=(3, 1))"
    assert shown(pd.DataFrame({"a": np.zeros(50_000)}))[1] == "DataFrame(shape=(50000, 1))"
    assert shown(frame["a"])[1] == "Series(shape=(3,))"
    assert shown(pd.DataFrame({"a": [1, 2]}, index=pd.MultiIndex.from_product([[1], [2, 3]])))[
        1
    ].startswith("<pandas.")
    assert shown(pd.Timestamp("2020"))[0].endswith(".Timestamp")


# Nothing runs.


def opcodes(*parts: bytes | str) -> bytes:
    """A pickle of these opcodes; a text is pushed as such."""
    joined = b"".join(
        pickle.BINUNICODE + struct.pack("<I", len(part.encode())) + part.encode()
        if isinstance(part, str)
        else part
        for part in parts
    )
    return b"\x80\x05" + joined + b"."


def named(module: str, name: str) -> bytes:
    return opcodes(module, name)[2:-1] + pickle.STACK_GLOBAL


def test_no_call_is_made(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "made"
    data = pickle.dumps([Called(os.system, f"touch {path}"), Called(open, str(path), "w")])
    text = text_of(read(data))
    assert text.startswith("[system('touch ")
    assert not path.exists()
    pickle.loads(data)[1].close()
    assert path.exists()  # the pickle is one that does it


def test_no_attribute_is_looked_up_and_nothing_is_changed() -> None:
    looked = Called(getattr, Called(getattr, Point, "__init__"), "__globals__")
    assert text_of(read(pickle.dumps(looked))) == f"{HERE}.Point.__init__.__globals__"
    names = ("__class__", "__dict__", "__reduce__", "args", "kind")
    pushed: list[bytes | str] = [part for name in names for part in (name, b"N")]
    data = opcodes(named(HERE, "Point"), b")\x81}(", *pushed, b"ub")
    found = read(data)
    assert type_of(found) == f"{HERE}.Point"
    assert text_of(found).startswith("Point(__class__=None, __dict__=None, __reduce__=None, args=")
    with pytest.raises(ValueError, match="no such state"):
        read(opcodes(named("uuid", "UUID"), b")\x81}(", "__class__", b"Nub"))
    with pytest.raises(ValueError, match="no such state"):
        read(opcodes(b"]}b"))


@pytest.mark.parametrize("module", ["this", "antigravity", "no.such.module", "", "..", "a b", "\n"])
def test_nothing_is_imported(module: str) -> None:
    before = dict(sys.modules)
    for opcode in (b")R", b")\x81", b"}b", b")}\x92", b""):
        read(opcodes(named(module, "s.t"), opcode))
    assert sys.modules == before


def test_a_pickle_in_a_pickle_is_read_once() -> None:
    # So a generator's values are told, each as it was when it was yielded.
    inner = Called(pickle.loads, pickle.dumps([1]))
    assert read(pickle.dumps([inner])) == [[1]]
    twice = Called(pickle.loads, pickle.dumps(inner))
    assert text_of(read(pickle.dumps(twice))).startswith("loads(b")


def test_odd_names_are_escaped() -> None:
    found = read(opcodes(named("mod\x1b[2J\n", "Na\x1b[31m\u202eme\0"), b")\x81}(", "a\nb", b"Nub"))
    assert text_of(found) == r"Na\x1b[31m\u202eme\x00(a\nb=None)"
    assert type_of(found) == r"mod\x1b[2J\n.Na\x1b[31m\u202eme\x00"


# What somebody has written who means harm.

HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no opcode": b"\xff.",
    "no end": b"\x80\x05N",
    "nothing on the stack": b"\x80\x05.",
    "no mark": b"\x80\x05Nt.",
    "persistent id": opcodes("x", pickle.BINPERSID),
    "persistent id, old": b"Px\n.",
    "extension": opcodes(pickle.EXT1 + b"\x01"),
    "bytes of Python 2": b"S'\\q'\n.",
    "memo": opcodes(b"h\x01"),
    "too long bytes": opcodes(b"\x8e" + struct.pack("<Q", 1 << 62)),
    "far too long bytes": opcodes(b"\x8e" + struct.pack("<Q", (1 << 64) - 1)),
    "too long bytearray": opcodes(b"\x96" + struct.pack("<Q", 1 << 40)),
    "too long text": opcodes(b"\x8d" + struct.pack("<Q", 1 << 40)),
    "too long integer": opcodes(b"\x8b" + struct.pack("<i", (1 << 31) - 1)),
    "too long frame": b"\x80\x05\x95" + struct.pack("<Q", 1 << 60) + b"C\x05N.",
    "many digits": b"I" + b"9" * 10_000_000 + b"\n.",
    "a list as a key": opcodes(b"}]Ns"),
    "a list in a set": opcodes(b"\x8f(]\x90"),
    "a list in a frozenset": opcodes(b"(]\x91"),
    "an integer is called": opcodes(b"K\x01)R"),
    "no tuple": opcodes(named("a", "b"), b"]R"),
    "odd items": opcodes(b"}(Nu"),
    "an append to a tuple": opcodes(b")Na"),
    "a key of a list": opcodes(b"]K\x00Ns"),
    "not read-only": opcodes(b"N\x98"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("quick")
def test_what_is_no_pickle_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"^not a pickle that can be shown: "):
        read(HOSTILE[name])


def laughs(one: bytes, opcode: bytes, times: int) -> bytes:
    """Two of it, two of that, and so on."""
    return opcodes(one, *[pickle.DUP + opcode] * times)


def here(number: int) -> bytes:
    """What has this number in the memo."""
    return pickle.BINGET + bytes([number])


LARGE: dict[str, bytes] = {
    "tuples": laughs(b")", pickle.TUPLE2, 60),
    "lists": opcodes(b"]\x94", *[b"0(" + 2 * here(n) + b"l\x94" for n in range(200)]),
    "dictionaries": opcodes(
        b"}\x94", *[b"0(N" + here(n) + b"\x89" + here(n) + b"d\x94" for n in range(200)]
    ),
    "stand-ins": opcodes(
        named("m", "C"),
        b"\x94)R\x94",
        *[b"0" + here(0) + 2 * here(n) + b"\x86R\x94" for n in range(1, 200)],
    ),
    "states": opcodes(
        named("m", "C"),
        b"\x94)R\x94",
        *[b"0" + here(0) + b")R\x94(" + 2 * here(n) + b"lb" for n in range(1, 200)],
    ),
    "deep tuples": opcodes(b"N", b"\x85" * 1_000_000),
    "deep calls": opcodes(named("m", "C"), b")R" * 300_000),
    "deep states": opcodes(
        b"N\x94", named("m", "C"), b"\x94", b"0" + here(1) + b")R" + here(0) + b"b"
    ),
    "deep zones": opcodes(
        named("datetime", "time"),
        b"\x940N",
        *[
            b"\x940" + here(0) + b"C\x06" + bytes(6) + b"(h" + bytes([n]) + b"l\x86R"
            for n in range(1, 200)
        ],
    ),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.usefixtures("quick")
def test_what_is_large_or_deep_is_shown_short(name: str) -> None:
    found = read(LARGE[name])
    assert len(text_of(found)) <= 200
    assert type_of(found)
    assert "raised" not in text_of(found)


def test_a_chain_of_attributes_ends() -> None:
    links: list[bytes | str] = [
        b"q\x000",
        named("builtins", "getattr"),
        b"h\x00",
        "x",
        b"\x86R",
    ] * 10_000
    found = read(opcodes(named("m", "C"), *links))
    assert text_of(found) == "....x.x.x.x.x.x.x"
    assert type_of(found) == "attribute"


def integers_of_one_hash(count: int) -> bytes:
    step = sys.hash_info.modulus
    return b"".join(pickle.dumps(n * step, 5)[2:-1] for n in range(1 << 40, (1 << 40) + count))


@pytest.mark.parametrize(
    "data",
    [
        opcodes(b"}", laughs(b")", pickle.TUPLE2, 60)[2:-1], b"Ns"),
        opcodes(b"(", laughs(b")", pickle.TUPLE2, 60)[2:-1], b"\x91"),
        opcodes(b"}N", b"\x85" * 100_000, b"Ns"),
        opcodes(b"\x8f(", integers_of_one_hash(50_000), b"\x90"),
        opcodes(b"\x8f(\x8b" + struct.pack("<i", 1 << 22) + b"\x01" * (1 << 22), b"\x90"),
        opcodes(
            "x" * 10_000_000,
            b"\x940",
            "x" * 10_000_000,
            b"\x940}(h\x00Nu(",
            b"h\x01N" * 100_000,
            b"u",
        ),
    ],
    ids=["tuples", "members", "deep", "equal hashes", "large integer", "equal texts"],
)
@pytest.mark.usefixtures("quick")
def test_a_key_that_takes_long_to_hash_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"it is more work|a key is too large|list"):
        read(data)


@pytest.mark.usefixtures("quick")
def test_copies_of_something_large_are_not_made() -> None:
    many = b"(" + b"N" * 500_000
    for parts in (
        [
            many,
            b"l",
            b"\x85\x940",
            named("collections", "deque"),
            b"\x940",
            b"(" + b"h\x01h\x00R" * 50_000,
            b"t",
        ],
        [many, b"t", b"\x940", named("m", "f"), b"\x940", b"(" + b"h\x01h\x00R" * 50_000, b"t"],
    ):
        with pytest.raises(ValueError, match="more work"):
            read(opcodes(*parts))


@pytest.mark.parametrize(
    ("module", "name", "argument", "text"),
    [
        ("builtins", "bytearray", 1 << 50, "bytearray(1125899906842624)"),
        ("builtins", "bytes", 1 << 50, "bytes(1125899906842624)"),
        ("fractions", "Fraction", "1e999999999", "Fraction('1e999999999')"),
        ("decimal", "Decimal", "1e999999999", "Decimal('1E+999999999')"),
        ("decimal", "Decimal", "nonsense", "Decimal('nonsense')"),
        ("datetime", "date", b"\xff\xff\xff\xff", r"date(b'\xff\xff\xff\xff')"),
        ("builtins", "set", [[]], "set([[]])"),
        ("builtins", "range", 1 << 50, "range(1125899906842624)"),
        ("collections", "deque", 5, "deque(5)"),
        ("pathlib", "PosixPath", 5, "PosixPath(5)"),
        ("builtins", "eval", "1/0", "eval('1/0')"),
        ("builtins", "__import__", "this", "__import__('this')"),
    ],
)
def test_a_harmless_class_with_other_arguments_is_a_stand_in(
    module: str, name: str, argument: object, text: str
) -> None:
    data = opcodes(named(module, name), pickle.dumps(argument, 5)[2:-1], b"\x85R")
    assert text_of(read(data)) == text


@pytest.mark.usefixtures("quick")
def test_large_integers_are_not_turned_into_digits() -> None:
    data = pickle.dumps([1 << 80_000_000, -1 << 80_000_000])
    assert text_of(read(data)) == "[<int of 80000001 bits>, <negative int of 80000001 bits>]"
    for name in ("range", "slice"):
        call = [named("builtins", name), pickle.dumps((1 << 8_000_000,) * 3)[2:-1], b"R"]
        assert text_of(read(opcodes(*call))).startswith(f"{name}(<int of 8000001 bits>, ")


@pytest.mark.usefixtures("quick")
def test_large_containers_are_shown_at_once() -> None:
    values: tuple[object, ...] = (
        *(list(range(200_000)), dict.fromkeys(range(200_000)), set(range(200_000))),
        *(b"x" * 10_000_000, "x" * 10_000_000, [bytearray(10_000_000)] * 6),
        Names("x" * 200_000),
    )
    for found in [read(pickle.dumps(value)) for value in values]:
        begin = time.process_time()
        assert len(text_of(found)) <= 200
        assert time.process_time() - begin < 0.1


def test_arrays_that_lie() -> None:
    data = pickle.dumps(np.arange(3), 5)
    for shape in (
        b"K\x04\x85",
        b"\x8a\x10" + b"\x7f" * 16 + b"\x85",
        b"N\x85",
        b"J\xff\xff\xff\xff\x85",
    ):
        changed = data.replace(b"K\x03\x85", shape)
        assert changed != data
        assert len(text_of(read(changed))) <= 200
    for code in (b"O8", b"V8", b"M8", b"U8", b"?8", b"i9", b"f4"):
        assert len(text_of(read(data.replace(b"i8", code)))) <= 200


def test_a_stand_in_is_a_key() -> None:
    class Key:
        pass

    found: Any = read(cloudpickle.dumps({Key(): 1, (Key(), Key): 2}))
    assert text_of(found) == "{Key(): 1, (Key(), <class Key, by value>): 2}"


def harmless(data: bytes) -> None:
    try:
        found = read(data, [5])
    except ValueError:
        return
    assert len(text_of(found)) <= 200
    assert text_of(found).isprintable()
    assert type_of(found).isprintable()


@given(st.binary())
def test_random_bytes_do_no_harm(data: bytes) -> None:
    harmless(data)
    harmless(b"\x80\x05" + data + b".")


OPCODES = sorted(pickle._Unpickler.dispatch)
WORDS = st.one_of(
    st.sampled_from([bytes([each]) for each in OPCODES]),
    st.sampled_from([pickle.dumps(each[0], 5)[2:-1] for each in SHOWN[:32]]),
    st.sampled_from([pickle.dumps(each[0], 5)[2:-1] for each in ARRAYS]),
    st.sampled_from(
        [b"h\x00", b"h\x01", b"q\x00", b")R", b")\x81", b"}b", b"2a", b"(Nt", b"K\x05"]
    ),
)


@given(st.lists(WORDS, max_size=30))
def test_random_opcodes_do_no_harm(words: list[bytes]) -> None:
    harmless(b"\x80\x05" + b"".join(words) + b".")


@pytest.mark.usefixtures("quick")
def test_changed_pickles_do_no_harm() -> None:
    chance = random.Random(1)
    values = [each[0] for each in SHOWN + ARRAYS]
    pickles = [pickling.dump(value)[0] for value in values]
    before = set(sys.modules)
    for _ in range(5000):
        data = bytearray(chance.choice(pickles))
        for _ in range(chance.randrange(1, 5)):
            start = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[start] = chance.randrange(256)
                case 1:
                    data[start] = chance.choice(OPCODES)
                case 2:
                    del data[start : start + chance.randrange(1, 9)]
                case _:
                    other = chance.choice(pickles)
                    begin = chance.randrange(len(other))
                    data[start:start] = other[begin : begin + chance.randrange(50)]
            data = data or bytearray(b"N")
        harmless(bytes(data))
    assert not [each for each in set(sys.modules) - before if not each.startswith("encodings.")]
