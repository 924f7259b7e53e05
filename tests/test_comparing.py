"""What is equal to what was recorded, and what is not, whatever kind of value it is."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import io
import pickle
import random
import re
import sys
import types
from collections.abc import Callable, Hashable
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from snapshot.replay.comparing import differences
from snapshot.replay.contents import as_it_was
from snapshot.replay.yields import MOST, Yields
from snapshot.store.objects import Placeholder
from tests.libraries import require
from tests.processes import Result

Run = Callable[..., Result]
Make = Callable[[], Any]

NAN = float("nan")


class Plain:
    def __init__(self, value: Any = 1) -> None:
        self.value = value


class Slots:
    __slots__ = ("__b", "a")

    def __init__(self, a: Any, b: Any = None) -> None:
        self.a, self.__b = a, b


@dataclasses.dataclass
class Data:
    value: Any
    hidden: Any = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    value: Any
    other: Any = None


class Cached:
    """Says itself what it is equal to."""

    def __init__(self, value: Any, cache: Any = None) -> None:
        self.value, self.cache = value, cache

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cached) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]


class Strict:
    """Is equal to nothing, and so are others that hold NaN, or arrays."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth of it is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Lossy:
    """Leaves out something when it is pickled."""

    def __init__(self, value: Any) -> None:
        self.value, self.lock = value, object()

    def __getstate__(self) -> Any:
        return {"value": self.value}


class State:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __getstate__(self) -> Any:
        return "state", [self.value]

    def __setstate__(self, state: Any) -> None:
        (self.value,) = state[1]


class Error(Exception):
    def __init__(self, text: str, status: int) -> None:
        super().__init__(text, status)
        self.status = status


class Text(str):
    kind = ""


class Number(int):
    unit = ""


class Items(list[Any]):
    name = ""


class Table(dict[Any, Any]):
    name = ""


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


Pair = collections.namedtuple("Pair", "x y")


def with_(value: Any, **attributes: Any) -> Any:
    for name, each in attributes.items():
        setattr(value, name, each)
    return value


def noted(error: BaseException, note: str) -> BaseException:
    error.add_note(note)
    return error


def caused(error: BaseException, cause: BaseException | None) -> BaseException:
    error.__cause__ = cause
    return error


def cell(value: Any) -> Callable[[], Any]:
    return lambda: value


def local(value: Any) -> Any:
    class Local:
        def __init__(self) -> None:
            self.value = value

    return Local()


def factory(value: Any) -> type:
    class Made:
        number = value

        def method(self) -> Any:
            return self.number

    return Made


def advanced(iterator: Any) -> Any:
    next(iterator)
    return iterator


def seeded(number: int) -> random.Random:
    return random.Random(number)


def moved(*keys: Any) -> collections.OrderedDict[Any, Any]:
    found = collections.OrderedDict[Any, Any]({1: 1, 2: 2, 3: 3})
    for key in keys:
        found.move_to_end(key)
    return found


def cyclic(value: Any) -> Any:
    one, other = Plain(value), Plain([])
    one.other, other.value = other, [one]  # type: ignore[attr-defined]
    return one


# Each is equal to what is loaded of its pickle.
EQUAL: list[Make] = [
    lambda: [None, True, 1, 1.5, NAN, -0.0, 1j, complex(NAN, -0.0), "text", b"bytes", bytearray(3)],
    lambda: {1: {2.5: ("x", NAN)}, NAN: NAN, (NAN, 1): 0},
    lambda: [{1, 2, "x"}, frozenset({NAN}), {Plain(1), Plain(2)}, {(1, Plain(3))}],
    lambda: [Data(NAN), Data(Plain()), Data([Plain()], {1}), Frozen(NAN, Plain()), Slots(1, NAN)],
    lambda: {Frozen(1, 2): Frozen(NAN), Plain(): Plain()},
    lambda: [collections.deque([Plain(), NAN], maxlen=3), types.SimpleNamespace(p=Plain(), n=NAN)],
    lambda: [argparse.Namespace(p=Plain()), collections.UserDict({1: Plain()})],
    lambda: [collections.defaultdict(list, {1: [NAN]}), collections.Counter("aab"), moved(2)],
    lambda: [Pair(1, NAN), with_(Items([NAN]), name="n"), with_(Table(a=Plain()), name="n")],
    lambda: [with_(Text("t"), kind=Plain()), with_(Number(1), unit=NAN), Colour.RED],
    lambda: [Lossy(NAN), State(NAN), Strict(NAN), Cached(NAN)],
    lambda: [iter([1, Plain()]), advanced(iter([1, 2])), iter({1, 2, "x"}), iter({1: 2}), iter(())],
    lambda: [map(int, ["1"]), zip([1], [NAN], strict=False), enumerate(["x"]), filter(None, [0])],
    lambda: [reversed([1, 2]), iter(range(3)), iter("text"), iter({1: 2}.items())],
    lambda: [{1: NAN}.values(), {1: NAN}.keys(), {1: NAN}.items(), types.MappingProxyType({1: 2})],
    lambda: [noted(Error("failed", 404), "a note"), OSError(2, "no", "file"), KeyError("k")],
    lambda: ExceptionGroup("both", [ValueError(1), ExceptionGroup("in", [KeyError(Plain())])]),
    lambda: [cell(1), cell([NAN]), lambda each=NAN: each, len, "x".join, [1].append],
    lambda: [local(1), local(NAN), [local(1), local(2)]],
    lambda: [factory(1), factory(1)(), int, Plain, Colour, list[int], int | None],
    lambda: [
        seeded(1),
        functools.partial(int, "1", base=2),
        re.compile("a", re.I),
        re.match("a", "a"),
    ],
    lambda: [decimal.Decimal("NaN"), decimal.Decimal("1.0"), Fraction(1, 3), range(3), slice(1, 2)],
    lambda: [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC), datetime.timedelta(1), Path("/x")],
    lambda: [io.StringIO("text"), io.BytesIO(b"bytes"), object(), memoryview, sys, ...],
    lambda: cyclic(NAN),
]


@pytest.mark.parametrize("make", EQUAL)
def test_equal_to_what_is_loaded_of_its_pickle(make: Make) -> None:
    then = as_it_was(make())
    assert differences(then, make()) == []
    assert differences(make(), make()) == []


def test_a_cause_counts_where_it_was_stored() -> None:
    error = ValueError(1)
    assert differences(error, caused(ValueError(1), KeyError(2))) == []
    assert differences(caused(ValueError(1), KeyError(2)), error) == [
        "value.__cause__: KeyError(2) (KeyError) then, None (NoneType) now"
    ]


def test_equal_by_what_a_class_says_itself() -> None:
    assert differences(Cached(1, "then"), Cached(1, "now")) == []
    assert differences([Cached(1, "then")], [Cached(2, "now")]) == [
        "value[0].value: 1 then, 2 now",
        "value[0].cache: 'then' then, 'now' now",
    ]


DIFFERENT: list[tuple[Any, Any, str]] = [
    # Exceptions.
    (Error("failed", 404), Error("failed", 500), "value.args[1]: 404 then, 500 now"),
    (
        with_(OSError("no"), status=404),
        with_(OSError("no"), status=500),
        "value.status: 404 then, 500 now",
    ),
    (
        ExceptionGroup("both", [ValueError(1)]),
        ExceptionGroup("both", [KeyError(1)]),
        "value.args[1][0]: ValueError(1) (ValueError) then, KeyError(1) (KeyError) now",
    ),
    (noted(ValueError(), "a"), noted(ValueError(), "b"), "value.__notes__[0]: 'a' then, 'b' now"),
    (noted(ValueError(), "a"), ValueError(), "value.__notes__: ['a'] then, missing now"),
    (
        caused(ValueError(), KeyError(1)),
        caused(ValueError(), KeyError(2)),
        "value.__cause__.args[0]: 1 then, 2 now",
    ),
    (OSError(2, "no", "a"), OSError(2, "no", "b"), "value.args[2]: 'a' then, 'b' now"),
    # Values that == calls equal.
    (Data(0.0), Data(-0.0), "value.value: 0.0 then, -0.0 now"),
    (complex(0.0, 0.0), complex(0.0, -0.0), "value: 0j then, -0j now"),
    (complex(NAN, 1), complex(NAN, 2), "value: (nan+1j) then, (nan+2j) now"),
    (collections.deque([0.0]), collections.deque([-0.0]), "value[0]: 0.0 then, -0.0 now"),
    (Data(1), Data(True), "value.value: 1 (int) then, True (bool) now"),
    (Frozen(1), Frozen(True), "value.value: 1 (int) then, True (bool) now"),
    (collections.deque([1]), collections.deque([True]), "value[0]: 1 (int) then, True (bool) now"),
    (
        types.SimpleNamespace(a=1),
        types.SimpleNamespace(a=True),
        "value.a: 1 (int) then, True (bool) now",
    ),
    (argparse.Namespace(a=1), argparse.Namespace(a=True), "value.a: 1 (int) then, True (bool) now"),
    (
        collections.UserDict({1: 1}),
        collections.UserDict({1: True}),
        "value.data[1]: 1 (int) then, True (bool) now",
    ),
    ({1}, {True}, "value: 1 then, missing now"),
    (frozenset({(1, 0.0)}), frozenset({(1, -0.0)}), "value: (1, 0.0) then, missing now"),
    ({1: "x"}, {True: "x"}, "value[1]: 'x' then, missing now"),
    ({0.0: 1}, {-0.0: 1}, "value[0.0]: 1 then, missing now"),
    ({1: NAN}.values(), {1: 2.0}.values(), "value[0]: nan then, 2.0 now"),
    ({1: NAN}.keys(), {2: NAN}.keys(), "value: 1 then, missing now"),
    (Data(1, 2), Data(1, 3), "value.hidden: 2 then, 3 now"),
    (with_(Text("t"), kind="a"), with_(Text("t"), kind="b"), "value.kind: 'a' then, 'b' now"),
    (with_(Number(1), unit="a"), Number(1), "value.unit: 'a' then, missing now"),
    (with_(Table(), name="a"), with_(Table(), name="b"), "value.name: 'a' then, 'b' now"),
    (
        collections.defaultdict(list),
        collections.defaultdict(set),
        "value.default_factory: <class 'list'> then, <class 'set'> now",
    ),
    (
        collections.deque([1], 3),
        collections.deque([1]),
        "value.__reduce_ex__(4)[1]: ((), 3) then, () now",
    ),
    (moved(1), moved(2), "value: the order of its keys is another one"),
    (collections.Counter(a=0), collections.Counter(), "value['a']: 0 then, missing now"),
    (decimal.Decimal("1.0"), decimal.Decimal(1), "value: Decimal('1.0') then, Decimal('1') now"),
    (range(0, 3, 2), range(0, 4, 2), "value: range(0, 3, 2) then, range(0, 4, 2) now"),
    # Functions, classes, methods, modules.
    (cell(1), cell(2), "value.__closure__['value'].cell_contents: 1 then, 2 now"),
    (lambda: 1, lambda: 2, "value.__code__: <code object <lambda>"),
    (lambda each=1: each, lambda each=2: each, "value.__defaults__[0]: 1 then, 2 now"),
    (with_(cell(1), kind=1), with_(cell(1), kind=2), "value.kind: 1 then, 2 now"),
    (int, str, "value: <class 'int'> then, <class 'str'> now"),
    (factory(1), factory(2), "value.number: 1 then, 2 now"),
    (sys, types, "value.__name__: 'sys' then, 'types' now"),
    (len, repr, "value: <built-in function len> then, <built-in function repr> now"),
    (str.upper, str.lower, "value: <method 'upper' of 'str' objects> then, <method 'lower'"),
    (functools.partial(int, "1"), functools.partial(int, "2"), "value.__reduce_ex__(4)[2][1][0]: "),
    # Others.
    (seeded(1), seeded(2), "value.__reduce_ex__(4)[2][1]"),
    (iter([1, 2]), iter([1, 3]), "value[1]: 2 then, 3 now"),
    (iter([1, 2]), advanced(iter([1, 2])), "value[0]: 1 then, 2 now"),
    (iter({1, 2}), iter({1, 3}), "value: 2 then, missing now"),
    (map(int, ["1"]), map(int, ["2"]), "value.__reduce_ex__(4)[1][1][0]: '1' then, '2' now"),
    (Slots(1, 2), Slots(1, 3), "value._Slots__b: 2 then, 3 now"),
    (State(1), State(2), "value.__reduce_ex__(4)[2][1][0]: 1 then, 2 now"),
    (Lossy(1), Lossy(2), "value.value: 1 then, 2 now"),
    (Strict(1), Strict(2), "value.value: 1 then, 2 now"),
    (Colour.RED, Colour.BLUE, "value: <Colour.RED: 1> then, <Colour.BLUE: 2> now"),
    (io.StringIO("a"), io.StringIO("b"), "value.__reduce_ex__(4)[2][0]: 'a' then, 'b' now"),
    (re.match("a", "a"), re.match("a", "ab"), "value.string: 'a' then, 'ab' now"),
    (cyclic(1), cyclic(2), "value.value: 1 then, 2 now"),
    (local(1), local(2), "value.value: 1 then, 2 now"),
]


@pytest.mark.parametrize(("then", "now", "expected"), DIFFERENT)
def test_different(then: Any, now: Any, expected: str) -> None:
    found = differences(then, now)
    assert found[0].startswith(expected), found
    assert differences(now, then)
    assert not differences(then, then)
    assert differences([Placeholder("x", "", ""), [then]], [1, [now]])[0].startswith("value[1][0]")


def test_a_class_that_is_defined_anew_is_the_same() -> None:
    then, now = local(1), local(1)
    type(then).__qualname__ = "Local"  # as it is rebuilt of its pickle
    assert type(then) is not type(now)
    assert differences(then, now) == differences(now, then) == []
    assert differences(then, local(2)) == ["value.value: 1 then, 2 now"]
    (found,) = differences(Plain(1), with_(local(1)))
    assert re.search("Plain.*Local", found)


def test_classes_of_one_name_in_two_places_are_others() -> None:
    one, other = type("A", (), {"__qualname__": "X.A"}), type("A", (), {"__qualname__": "Y.A"})
    assert len(differences(one(), other())) == 1


def test_what_is_deep_or_shared_comes_to_an_end() -> None:
    def deep(end: Any) -> Any:
        value = end
        for _ in range(30_000):
            value = [value]
        return value

    def linked(end: Any) -> Any:
        value = end
        for _ in range(30_000):
            value = Plain(value)
        return value

    def shared(end: Any) -> Any:
        value = [end]
        for _ in range(60):
            value = [value, {"x": value}, value]
        return value

    for make in (deep, linked, shared):
        assert differences(make(1), make(1)) == []
        (found,) = differences(make(1), make(2))[:1]
        assert found.endswith(": 1 then, 2 now")
        assert len(found) < 1000


def test_what_is_too_deep_is_said() -> None:
    def nested(end: Any) -> Any:
        value = frozenset({end})
        for _ in range(30_000):
            value = frozenset({value})
        return value

    assert differences(nested(Plain(1)), nested(Plain(1)))[0].startswith("value: ")


def test_a_match_that_fails_is_forgotten() -> None:
    """Parts that are equal if the wholes are, and the wholes are not."""

    def node(name: str) -> Any:
        one, other = Plain(name), Plain("same")
        one.other, other.other = other, one  # type: ignore[attr-defined]
        return one

    a, b, c = node("a"), node("b"), node("b")
    assert differences({a, b}, {c, node("a")}) == []
    assert len(differences({a}, {c})) == 2
    assert differences([{a, 1}, a.other], [{node("a"), 1}, c.other])


def test_sets_are_matched_where_something_was_not_stored() -> None:
    missing = Placeholder("x", "", "")
    assert differences({missing, Plain(1)}, {Plain(1), Plain(2)}) == []
    assert differences({missing: 1}, {Plain(): 1}) == []


def test_code_of_theirs_that_raises_is_named() -> None:
    class Refuses:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        def __hash__(self) -> int:
            return 1

    expected = ["value: cannot be compared: RuntimeError: no"]
    assert differences(Refuses(), Refuses()) == expected
    assert differences({Refuses(): 1}, {Refuses(): 1}) == expected


def test_of_a_generator_as_many_values_as_were_kept() -> None:
    def yielded(count: int) -> Any:
        values = Yields()
        for number in range(count):
            values.add(number)
        return as_it_was(values)

    then = yielded(2 * MOST)
    assert len(then) == MOST + 1
    assert differences(then, list(range(2 * MOST))) == []
    assert differences(then, list(range(MOST + 1))) == []  # so many were asked for
    assert differences(then, list(range(2 * MOST + 1))) == [
        f"value: {2 * MOST} elements then, {2 * MOST + 1} now"
    ]
    assert differences(then, list(range(MOST))) == [f"value: {2 * MOST} elements then, {MOST} now"]
    assert differences(then, [*range(MOST - 1), 0, *range(MOST)]) == [
        f"value[{MOST - 1}]: {MOST - 1} then, 0 now"
    ]
    assert differences(yielded(3), [0, 1]) == ["value: 3 elements then, 2 now"]


# Arrays and frames.


def test_arrays() -> None:
    require("numpy")
    import numpy

    np: Any = numpy

    def objects(*values: Any) -> Any:
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array

    def masked(*mask: int, fill: float = 9) -> Any:
        return np.ma.array([1.0, 2.0], mask=mask, fill_value=fill)

    pairs = [("a", "f8"), ("b", "O"), ("c", "M8[s]", 2)]
    equal: list[Make] = [
        lambda: np.array([1.0, NAN, -0.0]),
        lambda: np.array([complex(NAN, 1), 1j]),
        lambda: np.array(["NaT", "2020-01-01"], dtype="M8[s]"),
        lambda: np.array(["NaT"], dtype="m8[s]"),
        lambda: objects(Plain(), NAN, [NAN], None, np.array([NAN])),
        lambda: np.array([(NAN, Plain(), "NaT"), (1, NAN, "2020-01-01")], dtype=pairs),
        lambda: [
            np.float32("nan"),
            np.float64(-0.0),
            np.int8(3),
            np.datetime64("NaT", "s"),
            np.str_("x"),
        ],
        lambda: np.array([(NAN, Plain(), "NaT")], dtype=pairs)[0],
        lambda: np.array([b"abc", b"def"], dtype="V3"),
        lambda: np.array(["a", "bc"]),
        lambda: [masked(0, 1), np.ma.masked, np.ma.array([objects(Plain())[0]], mask=[0])],
        lambda: [Data(np.array([1, 2])), {"x": np.arange(3)}, np.zeros((0, 3))],
        lambda: [np.random.default_rng(1), np.random.RandomState(1), np.dtype("f4"), np.sin],
        lambda: np.rec.array([(1, NAN)], dtype=[("a", int), ("b", float)]),
    ]
    for make in equal:
        assert differences(as_it_was(make()), make()) == [], make()
        assert differences(make(), make()) == [], make()
    generator = np.random.default_rng(1)
    generator.random()
    different: list[tuple[Any, Any, str]] = [
        (np.array([0.0, 1]), np.array([-0.0, 1]), "value: 1 of 2 elements differ"),
        (np.array([0j]), np.array([-0j]), "value: 1 of 1 elements differ"),
        (np.array([complex(NAN, 1)]), np.array([complex(NAN, 2)]), "value: 1 of 1 elements"),
        (np.array([1]), np.array([1.0]), "value: int64 (1,) then, float64 (1,) now"),
        (np.array([1, 2]), np.array([[1, 2]]), "value: int64 (2,) then, int64 (1, 2) now"),
        (objects(1, Plain(1)), objects(1, Plain(2)), "value.flat[1].value: 1 then, 2 now"),
        (objects(1), objects(True), "value.flat[0]: 1 (int) then, True (bool) now"),
        (np.array(["NaT"], "M8[s]"), np.array(["2020"], "M8[s]"), "value: 1 of 1 elements differ"),
        (
            np.array([(1, 2, "NaT")], dtype=pairs),
            np.array([(1, 3, "NaT")], dtype=pairs),
            "value['b'].flat[0]: 2 then, 3 now",
        ),
        (np.array([b"abc"], "V3"), np.array([b"abd"], "V3"), "value: 1 of 1 elements differ"),
        (np.float32(0), np.float32(-0.0), "value: np.float32(0.0) then, np.float32(-0.0) now"),
        (masked(0, 1), masked(0, 0), "value.mask: 1 of 2 elements differ"),
        (masked(0, 1), masked(0, 1, fill=8), "value.fill_value: "),
        (Data(np.array([1, 2])), Data(np.array([1, 3])), "value.value: 1 of 2 elements differ"),
        (np.random.default_rng(1), generator, "value.__reduce_ex__(4)"),
        (np.sin, np.cos, "value: <ufunc 'sin'> then, <ufunc 'cos'> now"),
    ]
    for then, now, expected in different:
        found = differences(then, now)
        assert "".join(found[:1]).startswith(expected), (then, now, found)


def test_frames() -> None:
    pd: Any = pytest.importorskip("pandas")

    def series(values: Any, index: Any = None, dtype: Any = None, **options: Any) -> Any:
        return pd.Series(values, index=index, dtype=dtype, **options)

    def frame(name: str = "a", **options: Any) -> Any:
        return pd.DataFrame({name: [1.0, NAN], "o": [Plain(), NAN], "s": ["x", None]}, **options)

    def kept(**attributes: Any) -> Any:
        made = series([1])
        made.attrs.update(attributes)
        return made

    times = pd.date_range("2020", periods=2, freq="D", tz="UTC")
    equal: list[Make] = [
        frame,
        lambda: [
            series([1, None], dtype="Int64"),
            series(["a", None], dtype="string"),
            kept(a=NAN),
        ],
        lambda: [
            series(["a", "b"], dtype="category"),
            series([0.5], dtype="Float64"),
            series(times),
        ],
        lambda: [times, pd.RangeIndex(3, name="x"), pd.Index([Plain(), NAN])],
        lambda: pd.MultiIndex.from_tuples([(1, "x"), (NAN, None)], names=["n", None]),
        lambda: [pd.Timestamp("2020", tz="UTC"), pd.NaT, pd.NA, pd.Period("2020"), pd.Timedelta(1)],
        lambda: [pd.interval_range(0, 2), pd.period_range("2020", periods=2), pd.Interval(0, 1)],
        lambda: [pd.DataFrame(), frame().T, frame().groupby("s"), pd.Categorical(["a", None])],
        lambda: pd.DataFrame([[1, 2.0], [3, NAN]], columns=["x", "x"]),
        lambda: [series([0.0, 1.0], dtype="Sparse[float]"), pd.array([True, None])],
    ]
    for make in equal:
        assert differences(as_it_was(make()), make()) == [], make()
        assert differences(make(), make()) == [], make()
    one, other = frame(), frame()
    other["o"] = [Plain(2), NAN]
    different: list[tuple[Any, Any, str]] = [
        (series([0.0]), series([-0.0]), "value: 1 of 1 elements differ"),
        (
            series([0.0], dtype="Float64"),
            series([-0.0], dtype="Float64"),
            "value.flat[0]: 0.0 then",
        ),
        (series([1], name="a"), series([1], name="b"), "value.name: 'a' then, 'b' now"),
        (series([1]), series([True], dtype=object), "value: "),
        (series([1]), series([1], index=[1]), "value.index: "),
        (
            series([1], index=pd.Index([0], name="a")),
            series([1], index=pd.Index([0], name="b")),
            "value.index.name: 'a' then, 'b' now",
        ),
        (
            series([1], index=pd.Index([0], dtype="int32")),
            series([1], index=pd.Index([0], dtype="int64")),
            "value.index: int32 (1,) then, int64 (1,) now",
        ),
        (one, other, "value['o'].flat[0].value: 1 then, 2 now"),
        (one, frame("b"), "value.columns.flat[0]: 'a' then, 'b' now"),
        (one, one[:1], "value: (2, 3) then, (1, 3) now"),
        (kept(a=1), kept(a=2), "value.attrs['a']: 1 then, 2 now"),
        (times, times._with_freq(None), "value.freq: "),
        (pd.Categorical(["a"], ["a", "b"]), pd.Categorical(["a"], ["b", "a"]), "value"),
        (pd.Categorical(["a"]), pd.Categorical(["a"], ordered=True), "value.ordered: "),
        (
            pd.MultiIndex.from_tuples([(1, "x")]),
            pd.MultiIndex.from_tuples([(1, "y")]),
            "value.get_level_values(1).flat[0]: 'x' then, 'y' now",
        ),
        (pd.Timestamp("2020"), pd.Timestamp("2021"), "value: Timestamp('2020-01-01 00:00:00') th"),
    ]
    for then, now, expected in different:
        found = differences(then, now)
        assert "".join(found[:1]).startswith(expected), (then, now, found)


# Any values of builtin types.


def said(value: Any) -> str:
    """A text that is the same for equal values alone."""
    kind = type(value).__name__
    if isinstance(value, set | frozenset):
        return f"{kind}({sorted(map(said, value))})"
    if isinstance(value, dict):
        return f"{kind}({sorted((said(key), said(each)) for key, each in value.items())})"
    if isinstance(value, list | tuple):
        return f"{kind}({[*map(said, value)]})"
    if isinstance(value, Data | Frozen):
        return f"{kind}({[said(getattr(value, each.name)) for each in dataclasses.fields(value)]})"
    return f"{kind}({value!r})"


ATOMS: st.SearchStrategy[Hashable] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2),
    st.sampled_from([0.0, -0.0, 1.0, NAN, float("inf")]),
    st.sampled_from([0j, -0j, complex(NAN, 1), complex(1, -0.0)]),
    st.sampled_from(["", "a", b"", b"a", Colour.RED]),
)


def hashable(inner: st.SearchStrategy[Hashable]) -> st.SearchStrategy[Hashable]:
    return st.one_of(
        st.lists(inner, max_size=2).map(tuple),
        st.frozensets(inner, max_size=2),
        st.builds(Frozen, inner),
    )


HASHABLE = st.recursive(ATOMS, hashable, max_leaves=3)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=3),
        st.sets(HASHABLE, max_size=3),
        st.builds(Data, inner, inner),
    )


VALUES = st.recursive(HASHABLE, containers, max_leaves=6)


@hypothesis.given(VALUES)
def test_any_value_is_equal_to_what_is_loaded_of_its_pickle(value: Any) -> None:
    assert differences(pickle.loads(pickle.dumps(value)), value) == []
    assert differences(value, pickle.loads(pickle.dumps(value))) == []


@hypothesis.given(VALUES, VALUES)
@hypothesis.example([1], [True])
@hypothesis.example({(0.0,): 1}, {(-0.0,): 1})
def test_any_two_values_are_told_apart(then: Any, now: Any) -> None:
    assert bool(differences(then, now)) == (said(then) != said(now))


# In calls that are made again.


@pytest.fixture
def run(python: Run, tmp_path: Path) -> Run:
    """Run a program that uses one store, to its good end."""

    def ran(source: str) -> Result:
        result = python(source, env={"SNAPSHOT_STORE": str(tmp_path / "store.db")})
        assert (result.code, result.stderr) == (0, ""), result
        return result

    return ran


MODULE = """
import collections, functools, itertools
from dataclasses import dataclass
from snapshot.replay import record

class HTTPError(Exception):
    def __init__(self, text, status):
        super().__init__(text)
        self.status = status

    def __reduce__(self):
        return HTTPError, (*self.args, self.status)

@record
def returned():
    error = HTTPError("failed", 404)
    error.add_note("a note")
    return error

@record
def consume(*iterators):
    return [next(each) for each in iterators]

@record
def plain():
    class Q:
        def __init__(self): self.n = 1
    return Q(), [Q()]

@record
def several():
    @dataclass
    class P:
        x: float = float("nan")
    return P(), collections.deque([P()]), lambda: P

@record
def many(count):
    yield from range(count)

def around(n):
    @record
    def inner(value=None):
        class Q:
            number = n
        made = Q()
        made.value = value
        return made, lambda: n
    return inner
"""


def test_calls_that_are_made_again(run: Run, tmp_path: Path) -> None:
    module = tmp_path / "several.py"
    module.write_text(MODULE)
    run("""
        from several import *
        returned(), plain(), several(), around(3)(1)
        consume(iter([1, 2]), map(int, ["1"]), zip([1]), enumerate("x"), reversed([1]), iter({1}))
        for count in (5, 10_001, 20_000):
            list(many(count))
        for each in many(15_000):
            if each == 12_000:
                break
    """)
    again = """
        from snapshot.replay import FunctionCallTracker, init_db, reanimate_function

        with init_db()() as session:
            tracker = FunctionCallTracker(session)
            ids = {
                name: tracker.get_call_history(name)
                for name in ("returned", "plain", "several", "inner", "consume", "many")
            }
        for name, numbers in ids.items():
            assert numbers, name
            for number in numbers:
                for recorded_code in (False, True):
                    made = reanimate_function(number, compare=True, recorded_code=recorded_code)
                    print(made)
    """
    lines = run(again).stdout.splitlines()
    assert [each for each in lines if not each.endswith(": as it was recorded")] == []
    assert len(lines) == 18
    # Of another size, or its bytecode of the same second would be taken.
    module.write_text(MODULE.replace("404", "500").replace("n = 1", "n = 2") + "\n")
    told = run(again).stdout
    assert "  value.args[1]: 404 then, 500 now\n" in told
    assert "  value[0].n: 1 then, 2 now\n  value[1][0].n: 1 then, 2 now\n" in told


RAISING = """
from snapshot.replay import record

class HTTPError(Exception):
    status = 200

class Unloadable(Exception):
    def __init__(self, one, other):
        super().__init__(one)

def raised(error, **attributes):
    vars(error).update(attributes)
    raise error

@record
def status(): raised(HTTPError("failed"), status=404)
@record
def group(): raise ExceptionGroup("both", [ValueError(1)])
@record
def note():
    error = ValueError(1)
    error.add_note("then")
    raise error
@record
def same(): raise HTTPError("failed", float("nan"))
@record
def unloadable(): raise Unloadable(1, 2)
@record
def driven():
    try:
        yield 1
    except KeyError:
        raised(HTTPError("failed"), status=404)
"""


def test_what_a_raised_exception_holds(run: Run, tmp_path: Path) -> None:
    module = tmp_path / "raising.py"
    module.write_text(RAISING)
    run("""
        import contextlib
        from raising import *
        for each in (status, group, note, same, unloadable):
            with contextlib.suppress(Exception):
                each()
        values = driven()
        next(values)
        with contextlib.suppress(HTTPError):
            values.throw(KeyError())
    """)
    again = """
        from snapshot.replay import reanimate_function
        for number in range(1, 7):
            made = reanimate_function(number, compare=True)
            print(*made.differences[:1] or ["-"], sep=chr(10))
    """
    assert run(again).stdout.split() == ["-"] * 6
    for old, new in (("404", "500"), ("[ValueError", "[KeyError"), ('"then"', '"now"')):
        module.write_text(module.read_text().replace(old, new) + "\n\n")  # of another size
    assert run(again).stdout.splitlines() == [
        "exception.status: 404 then, 500 now",
        "exception.args[1][0]: ValueError(1) (ValueError) then, KeyError(1) (KeyError) now",
        "exception.__notes__[0]: 'then' then, 'now' now",
        "-",
        "-",
        "exception.status: 404 then, 500 now",
    ]
