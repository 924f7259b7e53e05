"""Recording: what is stored of a call is what it was, and the program is none the worse for it."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import re
import signal
import sqlite3
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from snapshot.errors import CannotReanimate, NotPicklable
from snapshot.replay import load_execution_data
from snapshot.replay.executions import opened
from snapshot.replay.sizes import estimated
from snapshot.store import Store
from snapshot.store.calls import Call
from snapshot.store.events import Outcome
from snapshot.store.objects import Placeholder
from tests.processes import Program, Result

Run = Callable[..., Result]


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A store that is not there yet, with nothing else in its folder."""
    return tmp_path / "stored" / "store.db"


@pytest.fixture
def run(python: Run, where: Path) -> Run:
    """Run a program that records there, to its good end, without a word on standard error."""

    def ran(source: str | Path, *args: str | Path, **options: Any) -> Result:
        result = python(source, *args, env={"SNAPSHOT_STORE": str(where)}, **options)
        assert (result.code, result.stderr) == (0, ""), result
        return result

    return ran


@contextlib.contextmanager
def recorded(where: Path) -> Iterator[tuple[Store, list[Call]]]:
    """The store and its calls, in the order in which they were made."""
    with opened(where) as store:
        calls = list(store.calls.find())
        # Of those of one microsecond, the order is that of their ids.
        yield store, sorted(calls, key=lambda each: each.id)


def given(store: Store, call: Call) -> Any:
    """What it was called with, of many calls, faster than `load_execution_data`."""
    assert call.arguments is not None
    return store.calls.load(call.arguments)


def result(store: Store, call: Call) -> Any:
    """What it returned."""
    assert call.result is not None
    return store.calls.load(call.result)


def names(calls: list[Call]) -> list[str]:
    return [each.function.key.partition(":")[2] for each in calls]


def parents(calls: list[Call]) -> list[tuple[str, str | None]]:
    """The name of each call, and that of the one that it was made in."""
    by_id = dict(zip([each.id for each in calls], names(calls), strict=True))
    return [
        (name, None if each.parent is None else by_id[each.parent])
        for name, each in zip(names(calls), calls, strict=True)
    ]


# Values.


class Pair(NamedTuple):
    left: Any
    right: Any


class Color(Enum):
    RED = 1
    GREEN = "green"


ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.sampled_from(["1", "None", "True", 1, 1.0, True, None, -0.0, Color.RED, Color.GREEN])
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.none() | st.booleans(), inner)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
        | st.sets(st.text() | st.integers())
        | st.frozensets(st.binary())
        | st.builds(bytearray, st.binary())
    ),
    max_leaves=12,
)

MANY_VALUES = """
import pickle, sys
from snapshot.replay import record

@record(store=sys.argv[1])
def given(*args, **kwargs):
    return args[0]

with open(sys.argv[2], "rb") as file:
    values = pickle.load(file)
for each in values:
    given(each, 1, again=[each])
"""


@hypothesis.given(batch=st.lists(VALUES, min_size=40, max_size=60))
@hypothesis.settings(
    max_examples=5,
    suppress_health_check=[*hypothesis.HealthCheck],
    phases=[hypothesis.Phase.generate],
)
def test_any_value_is_loaded_as_it_was(batch: list[Any], python: Run, tmp_path: Path) -> None:
    folder = tmp_path / os.urandom(4).hex()
    folder.mkdir()
    where, values = folder / "store.db", folder / "values.pickle"
    values.write_bytes(pickle.dumps(batch))
    root = str(Path(__file__).parents[1])
    result = python(MANY_VALUES, where, values, env={"PYTHONPATH": root})
    assert (result.code, result.stderr) == (0, ""), result
    with recorded(where) as (store, calls):
        assert len(calls) == len(batch)
        for call, value in zip(calls, batch, strict=True):
            (first, one), kwargs = given(store, call)
            assert call.result is not None
            for found in (first, kwargs["again"][0], store.calls.load(call.result)):
                assert (type(found), typed(found)) == (type(value), typed(value))
            assert one == 1


def typed(value: Any) -> Any:
    """A value with the type of each part, in a form that is equal to that of an equal value."""
    if isinstance(value, dict):
        return [(typed(key), typed(each)) for key, each in value.items()]
    if isinstance(value, list | tuple):
        return type(value).__name__, [typed(each) for each in value]
    if isinstance(value, set | frozenset):
        return type(value).__name__, sorted(map(repr, value))
    return type(value).__name__, repr(value)


KINDS = """
import enum
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import NamedTuple

class Color(enum.Enum):
    RED = 1

class Level(enum.IntEnum):
    HIGH = 3

class Flags(enum.Flag):
    A = 1
    B = 2

@dataclass
class Plain:
    x: int
    rest: list = field(default_factory=list)

@dataclass(slots=True)
class Slotted:
    x: int

@dataclass(frozen=True)
class Frozen:
    x: int

@dataclass(frozen=True, slots=True)
class Both:
    x: int

class Point(NamedTuple):
    x: int
    y: str = "y"

class MyInt(int):
    pass

class MyList(list):
    pass

class MyDict(dict):
    pass

class MyStr(str):
    __slots__ = ("more",)

class Slots:
    __slots__ = ("a", "b")
    def __init__(self):
        self.a = 1

class Node:
    def __init__(self):
        self.me = self
        self.others = [self]

def every():
    listed = MyList([1, 2])
    listed.name = "listed"
    text = MyStr("text")
    text.more = [1]
    mapping = MyDict(a=1)
    mapping.owner = mapping
    cycle = []
    cycle.append({"cycle": cycle})
    return [
        Color.RED, Level.HIGH, Flags.A | Flags.B, Plain(1, [2]), Slotted(1), Frozen(1), Both(1),
        Point(1), MyInt(5), listed, mapping, text, Slots(), Node(), cycle,
        OrderedDict(a=1), defaultdict(list, a=[1]), deque([1], 3), Counter("aa"), range(3),
        Ellipsis, NotImplemented, b"bytes", bytearray(b"x"), {1, "1"}, frozenset({2.0}),
        1j, 10**100, "\\ud800", "a\\0b", int, len, Plain, ValueError("x", 2), slice(1, 2),
    ]

def check(values):
    (color, level, flags, plain, slotted, frozen, both, point, my_int, listed, mapping, text,
     slots, node, cycle, *rest) = values
    assert (color, level, flags) == (Color.RED, Level.HIGH, Flags.A | Flags.B)
    assert color is Color.RED and level is Level.HIGH
    assert (plain, slotted, frozen, both) == (Plain(1, [2]), Slotted(1), Frozen(1), Both(1))
    assert point == Point(1) and type(point) is Point and point.y == "y"
    assert type(my_int) is MyInt and my_int == 5
    assert type(listed) is MyList and listed == [1, 2] and listed.name == "listed"
    assert type(mapping) is MyDict and mapping == {"a": 1} and mapping.owner is mapping
    assert type(text) is MyStr and text == "text" and text.more == [1]
    assert slots.a == 1 and not hasattr(slots, "b")
    assert node.me is node and node.others[0] is node and type(node) is Node
    assert cycle[0]["cycle"] is cycle
    again = every()[len(values) - len(rest):]
    for found, wanted in zip(rest, again, strict=True):
        assert type(found) is type(wanted), (found, wanted)
        if type(found) is set:  # of which the order may be another one in another program
            found, wanted = (sorted(map(repr, each)) for each in (found, wanted))
        assert repr(found) == repr(wanted), (found, wanted)
    assert rest[1].default_factory is list
"""


def test_values_of_all_kinds_are_loaded_in_another_program(
    run: Run, where: Path, tmp_path: Path
) -> None:
    """Those of classes of a module, and of the script that has recorded, which is not run."""
    (tmp_path / "kinds.py").write_text(KINDS)
    recording = (
        KINDS
        + """
if __name__ == "__main__":
    import kinds
    from pathlib import Path
    from snapshot.replay import record

    assert not Path("ran").exists()
    Path("ran").touch()

    @record
    def given(values, *, more):
        values.append("changed")
        return more

    given(kinds.every(), more=every())
"""
    )
    run(recording)
    loading = """
    import sys
    import kinds
    from snapshot.replay import load_execution_data
    from snapshot.replay.executions import opened
    (values,), kwargs = load_execution_data("1")
    kinds.check(values)
    more = kwargs["more"]
    names = sys._getframe().f_globals
    main = vars(kinds).copy()
    assert type(more[3]).__module__ == "__main__" and type(more[3]) is not kinds.Plain
    assert [type(each).__qualname__ for each in more] == [
        type(each).__qualname__ for each in values]
    assert type(more[3])(1, [2]) == more[3]
    assert type(more[13]) is not kinds.Node and more[13].me is more[13]
    assert "Plain" not in vars(sys.modules["__main__"])
    with opened(None) as store:
        (call,) = store.calls.find()
        after = store.calls.load(call.after, find_class=lambda module, name: getattr(
            kinds if module == "__main__" else __import__(module), name))
    assert after[0][0][-1] == "changed"
    """
    run(loading)


def test_arrays_and_frames(run: Run, where: Path) -> None:
    pytest.importorskip("numpy")
    source = """
    import sys
    import numpy as np
    from snapshot.replay import record

    try:
        import pandas as pd
    except ImportError:
        pd = None

    def values():
        yield np.arange(5)
        yield np.zeros((3, 4), dtype="f4", order="F")
        yield np.float64(1.5)
        yield np.array([1, "x", None], dtype=object)
        yield np.array(["2024-01-01"], dtype="M8[D]")
        yield np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])
        yield np.arange(1 << 17)  # which has a file
        yield np.arange(1 << 10)[::2]
        yield np.array(["a", "ab"])
        yield np.float32("nan")
        if pd is not None:
            yield pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, float("nan")]})
            yield pd.Series(range(20_000), name="s")
            yield pd.Timestamp("2024-01-01", tz="UTC")
            yield pd.Categorical(["a", "b"])
            yield pd.MultiIndex.from_tuples([(1, "x"), (2, "y")])

    @record
    def given(value):
        if isinstance(value, np.ndarray) and value.dtype.kind == "i" and value.size:
            value[0] = 77
        return value

    if sys.argv[1:] == ["record"]:
        for each in values():
            given(each)
    else:
        from snapshot.replay.comparing import differences
        from snapshot.replay.executions import load_execution_data, opened
        with opened(None) as store:
            calls = list(store.calls.find())
            wanted = list(values())
            assert len(calls) == len(wanted)
            for call, value in zip(calls, wanted):
                ((found,), _) = load_execution_data(call.id, store)
                assert type(found) is type(value)
                assert not differences(value, found), (value, found)
                if isinstance(found, np.ndarray):
                    assert found.dtype == value.dtype and found.shape == value.shape
                    found[...] = found[::-1]  # its own memory
                    if value.dtype.kind == "i":
                        assert store.calls.load(call.result)[0] == 77
                        assert store.calls.load(call.after)[0][0][0] == 77
                    (again,), _ = load_execution_data(call.id, store)
                    assert not differences(value, again)
    """
    run(source, "record")
    run(source, "load")


def test_classes_that_no_name_leads_to(run: Run, where: Path) -> None:
    source = """
    from dataclasses import dataclass
    from enum import Enum
    from snapshot.replay import record

    def make():
        @dataclass
        class Local:
            x: int
            def double(self):
                return 2 * self.x
        class Kind(Enum):
            ONE = 1
        return Local(21), Kind.ONE, lambda: 5
    @record
    def given(local, kind, function):
        return local.double() + kind.value + function()
    print(given(*make()))
    """
    assert run(source).stdout == "48\n"
    (local, kind, function), _ = load_execution_data(1, where)
    assert (local.double(), kind.name, kind.value, function()) == (42, "ONE", 1, 5)
    assert repr(local).endswith("Local(x=21)")


def test_a_class_that_is_gone_is_named(run: Run, where: Path, tmp_path: Path) -> None:
    source = """
    from snapshot.replay import record
    class Gone: pass
    @record
    def given(value): pass
    given(Gone())
    """
    run(source)
    (tmp_path / "program.py").write_text("pass\n")
    with pytest.raises(NotPicklable, match="Gone"):
        load_execution_data(1, where)
    (tmp_path / "program.py").unlink()
    with pytest.raises(NotPicklable, match="Gone"):
        load_execution_data(1, where)


# Calls.


CALLS = """
import asyncio, threading
from snapshot.replay import record

@record
def add(a, b=2, *args, c=5, **kw):
    return a + b + sum(args) + c + sum(kw.values())

@record
def only(a, b, /, c=3):
    return a, b, c

@record
def keyword(*, a, b=2):
    return a, b

assert add(1, 2, 3, c=4, d=5) == 15
assert only(1, 2) == (1, 2, 3)
assert only(1, 2, c=4) == (1, 2, 4)
assert keyword(a=1) == (1, 2)
for wrong in (lambda: add(), lambda: keyword(1), lambda: only(a=1, b=2)):
    try:
        wrong()
    except TypeError:
        pass
    else:
        raise AssertionError
"""


def test_arguments_are_loaded_as_they_were_given(run: Run, where: Path) -> None:
    run(CALLS)
    assert load_execution_data("1", where) == ((1, 2, 3), {"c": 4, "d": 5})
    assert load_execution_data(2, where) == ((1, 2), {})
    assert load_execution_data(3, where) == ((1, 2), {"c": 4})
    assert load_execution_data(4, where) == ((), {"a": 1})
    with recorded(where) as (store, calls):
        assert [each.outcome for each in calls] == [Outcome.returned] * 4 + [Outcome.raised] * 3
        assert calls[0].result is not None
        assert store.calls.load(calls[0].result) == 15
        assert all(each.failure and each.failure.type == "TypeError" for each in calls[4:])
        assert all(each.parent is None for each in calls)


def test_equal_values_of_any_size_are_loaded(run: Run, where: Path) -> None:
    # The second one is told by its digest from some size on, and found if it has a row of its own.
    run("""
from snapshot.replay import record

@record
def same(value):
    return value

for size in range(200):
    assert same(b"x" * size) == same(b"x" * size)
""")
    with recorded(where) as (store, calls):
        found = [(given(store, each)[0][0], result(store, each)) for each in calls]
    assert found == [(b"x" * size,) * 2 for size in range(200) for _ in range(2)]


def test_what_is_told_once_may_be_referred_to_by_a_call_around_it(run: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    @record
    def inner(): return ["x" * 1000]
    @record
    def middle(value): return value
    @record
    def outer(): return middle(inner())
    outer()
    outer()
    """
    run(source)
    with recorded(where) as (store, calls):
        assert len(calls) == 6
        for each in calls:
            assert each.result is not None
            assert store.calls.load(each.result) == ["x" * 1000]
        assert len(dict(store.objects.ids())) == 2


def test_what_a_call_changes_is_told_beside_what_it_was(run: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    @record
    def change(items, mapping=None, *, box):
        items.append(len(items))
        box["x"] = items
        return items
    @record
    def keep(items):
        return len(items)
    items = [0]
    assert change(items, box={}) is items
    keep(items)
    """
    run(source)
    with recorded(where) as (store, (change, keep)):
        assert load_execution_data(change.id, store) == (([0],), {"box": {}})
        assert change.after is not None
        args, kwargs = store.calls.load(change.after)
        assert (args, kwargs) == (([0, 1],), {"box": {"x": [0, 1]}})
        assert kwargs["box"]["x"] is args[0]
        assert keep.after is None


def test_parents(run: Run, where: Path) -> None:
    source = """
    import asyncio, threading
    from concurrent.futures import ThreadPoolExecutor
    from snapshot.replay import record

    @record
    def leaf(n=0):
        if n < 0:
            raise ValueError(n)
        return n
    @record
    def fails():
        leaf()
        leaf(-1)
    @record
    def down(n):
        return down(n - 1) + 1 if n else leaf()
    @record
    def threads():
        each = threading.Thread(target=in_thread)
        each.start()
        leaf(1)
        each.join()
        leaf(2)
    @record
    def in_thread():
        leaf(3)
    @record
    async def child(n):
        leaf(n)
        await asyncio.sleep(0.001 * (3 - n))
        leaf(n)
    @record
    async def gathers():
        await asyncio.gather(*(child(n) for n in range(3)))
        leaf(9)
        return await asyncio.to_thread(leaf, 10)

    try:
        fails()
    except ValueError:
        pass
    leaf()
    down(2)
    threads()
    asyncio.run(gathers())
    leaf()
    """
    run(source)
    with recorded(where) as (_, calls):
        found = parents(calls)
        assert found[:4] == [("fails", None), ("leaf", "fails"), ("leaf", "fails"), ("leaf", None)]
        assert found[4:8] == [("down", None), ("down", "down"), ("down", "down"), ("leaf", "down")]
        assert [calls[n].parent for n in (5, 6, 7)] == [calls[n].id for n in (4, 5, 6)]
        assert sorted(found[8:13], key=str) == [
            ("in_thread", None),
            ("leaf", "in_thread"),
            ("leaf", "threads"),
            ("leaf", "threads"),
            ("threads", None),
        ]
        (gathers,) = [each for each in calls if names([each]) == ["gathers"]]
        children = [each for each in calls if names([each]) == ["child"]]
        assert [each.parent for each in children] == [gathers.id] * 3
        for each in children:
            assert names([call for call in calls if call.parent == each.id]) == ["leaf", "leaf"]
        assert sum(each.parent == gathers.id for each in calls) == 5
        assert found[-1] == ("leaf", None)


def test_a_generator_belongs_to_who_began_it_and_its_calls_to_it(run: Run, where: Path) -> None:
    source = """
    import asyncio
    from snapshot.replay import record
    @record
    def leaf(name): pass
    @record
    def numbers():
        try:
            leaf("first")
            yield 1
            leaf("second")
            yield 2
        finally:
            leaf("last")
    @record
    def begins():
        each = numbers()
        next(each)
        leaf("begins")
        return each
    @record
    def goes_on(each):
        next(each)
        leaf("goes on")
        each.close()
        leaf("closed")
    @record
    async def anumbers():
        try:
            leaf("afirst")
            yield 1
        finally:
            leaf("alast")
    @record
    async def amain():
        each = anumbers()
        await anext(each)
        leaf("amain")
        await each.aclose()
        leaf("aclosed")
    goes_on(begins())
    leaf("outside")
    asyncio.run(amain())
    """
    run(source)
    with recorded(where) as (store, calls):
        found = dict(zip([each.id for each in calls], names(calls), strict=True))
        leaves = {
            load_execution_data(each.id, store)[0][0]: found.get(each.parent or 0)
            for each in calls
            if names([each]) == ["leaf"]
        }
        assert leaves == {
            **{"first": "numbers", "second": "numbers", "last": "numbers"},
            **{"begins": "begins", "goes on": "goes_on", "closed": "goes_on", "outside": None},
            **{"afirst": "anumbers", "alast": "anumbers", "amain": "amain", "aclosed": "amain"},
        }
        assert ("numbers", "begins") in parents(calls)


def test_calls_in_two_stores_are_no_parents_of_each_other(run: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    @record(store="other/store.db")
    def inner(): return 1
    @record
    def outer(): return inner()
    @record
    def outermost(): return outer()
    outermost()
    """
    run(source)
    with recorded(where) as (_, calls):
        assert parents(calls) == [("outermost", None), ("outer", "outermost")]
    with recorded(where.parents[1] / "other" / "store.db") as (_, calls):
        assert parents(calls) == [("inner", None)]


FORMS = """
import asyncio, contextlib, functools, inspect, sys
from dataclasses import dataclass
from snapshot.replay import record

def loud(fn):
    @functools.wraps(fn)
    def around(*args, **kwargs):
        return fn(*args, **kwargs)
    return around

class Base:
    def hello(self): return "hello"

class Thing(Base):
    @record
    def __init__(self, x):
        self.x = x
    @record
    def method(self, y):
        return self.x + y
    @record
    @classmethod
    def made(cls, x):
        return cls(x)
    @classmethod
    @record
    def made_too(cls, x):
        return cls(x)
    @record
    @staticmethod
    def still(x):
        return -x
    @property
    @record
    def double(self):
        return 2 * self.x
    @record
    @property
    def triple(self):
        return 3 * self.x
    @triple.setter
    def triple(self, value):
        self.x = value // 3
    @record
    def __call__(self, y):
        return self.x * y
    @record
    def hello(self):
        return super().hello() + "!"
    @record
    def __secret(self):
        return "private"
    def public(self):
        return self.__secret()

@dataclass
class Data:
    n: int
    @record
    def plus(self, m: int = 1) -> int:
        return self.n + m

@loud
@record
def above(x): return x + 1

@record
@loud
def below(x): return x + 1

@record
def outer(a):
    b = [a]
    @record
    def inner(c):
        b.append(c)
        return inner(c - 1) if c else list(b)
    return inner

double = record(lambda x, y=2: x * y)

@record
async def waits(x):
    await asyncio.sleep(0)
    return x

@record
async def counts(n):
    for each in range(n):
        yield each

@record
def numbers(n):
    return (yield from range(n))

thing = Thing(3)
assert thing.x == 3
assert thing.method(4) == 7
assert Thing.made(5).x == 5 and Thing.made_too(6).x == 6
assert Thing.still(1) == thing.still(1) == -1
assert (thing.double, thing.triple) == (6, 9)
thing.triple = 30
assert thing.x == 10
assert thing(2) == 20
assert thing.hello() == "hello!"
assert thing.public() == "private"
assert Data(1).plus() == 2
assert above(1) == below(1) == 2
assert outer(1)(2) == [1, 2, 1, 0]
assert double(4) == 8
assert asyncio.run(waits(5)) == 5
async def collect():
    return [each async for each in counts(3)]
assert asyncio.run(collect()) == [0, 1, 2]
assert list(numbers(3)) == [0, 1, 2]

assert inspect.iscoroutinefunction(waits) and asyncio.iscoroutinefunction(waits)
assert inspect.isasyncgenfunction(counts) and not inspect.iscoroutinefunction(counts)
assert inspect.isgeneratorfunction(numbers) and not inspect.isgeneratorfunction(above)
assert inspect.isfunction(above) and not inspect.iscoroutinefunction(above)
assert str(inspect.signature(Data.plus)) == "(self, m: int = 1) -> int"
assert (Data.plus.__name__, Data.plus.__qualname__) == ("plus", "Data.plus")
"""


def test_every_form_of_a_function(run: Run, where: Path) -> None:
    source = FORMS.replace(
        "import asyncio,", "import warnings; warnings.simplefilter('ignore')\nimport asyncio,"
    )
    run(source)
    with recorded(where) as (store, calls):
        found = names(calls)
        assert [each for each in found if not each.startswith("Thing.__init__")] == [
            *("Thing.method", "Thing.made", "Thing.made_too", "Thing.still", "Thing.still"),
            *("Thing.double", "Thing.triple", "Thing.__call__", "Thing.hello"),
            *("Thing.__secret", "Data.plus", "above", "loud.<locals>.around"),
            *("outer", *["outer.<locals>.inner"] * 3, "<lambda>", "waits", "counts", "numbers"),
        ]
        assert found.count("Thing.__init__") == 3
        assert all(each.outcome in (Outcome.returned, Outcome.yielded) for each in calls)
        by_name = dict(zip(found, calls, strict=True))
        for name, wanted in {
            "Thing.method": 7,
            "Data.plus": 2,
            "<lambda>": 8,
            "waits": 5,
            "counts": [0, 1, 2],
            "numbers": [0, 1, 2],
        }.items():
            result = by_name[name].result
            assert result is not None
            assert store.calls.load(result) == wanted
        (thing, four), _ = load_execution_data(by_name["Thing.method"].id, store)
        assert (type(thing).__name__, dict(vars(thing)), four) == ("Thing", {"x": 3}, 4)


GENERATORS = """
import asyncio, sys
from snapshot.replay import record, lost

log = []

def body(n):
    try:
        box = []
        for each in range(n):
            box.append(each)
            try:
                sent = yield box
            except KeyError as error:
                sent = f"caught {error.args[0]}"
            log.append(sent)
        return "returned"
    except GeneratorExit:
        log.append("closed")
        raise
    finally:
        log.append("finally")

def drive(numbers):
    log.clear()
    seen = []
    each = numbers(5)
    seen.append(list(next(each)))
    seen.append(list(each.send("sent")))
    seen.append(list(each.throw(KeyError("thrown"))))
    each.close()
    seen.append(each.gi_frame)
    try:
        each.send(None)
    except StopIteration as stop:
        seen.append(stop.value)
    def around():
        seen.append((yield from numbers(1)))
    seen.append(list(map(list, around())))
    each = numbers(3)
    next(each)
    try:
        each.throw(ValueError("out"))
    except ValueError as error:
        seen.append(error.args)
    try:
        numbers(1, 2)
        next(numbers(1, 2))
    except TypeError:
        seen.append("TypeError")
    each = numbers(2)
    next(each)
    del each
    numbers(1).close()  # which was never begun
    return seen, log[:]

assert drive(record(body)) == drive(body), (drive(record(body)), drive(body))

def stubborn():
    try:
        yield 1
    except GeneratorExit:
        return "at close"
def refuses():
    try:
        yield 1
    except GeneratorExit:
        yield 2
def closing(numbers):
    each = numbers()
    next(each)
    try:
        return each.close()
    except RuntimeError as error:
        return str(error)
for each in (stubborn, refuses):
    assert closing(record(each)) == closing(each), each

async def abody(n):
    try:
        for each in range(n):
            try:
                sent = yield [each]
            except KeyError as error:
                sent = error.args[0]
            log.append(sent)
    finally:
        await asyncio.sleep(0)
        log.append("finally")

async def adrive(numbers):
    log.clear()
    seen = []
    each = numbers(5)
    seen.append(await anext(each))
    seen.append(await each.asend("sent"))
    seen.append(await each.athrow(KeyError("thrown")))
    await each.aclose()
    seen.append([one async for one in each])
    seen.append([one async for one in numbers(2)])
    each = numbers(2)
    await anext(each)
    try:
        await each.athrow(ValueError("out"))
    except ValueError as error:
        seen.append(error.args)
    return seen, log[:]

assert asyncio.run(adrive(record(abody))) == asyncio.run(adrive(abody))
print(lost())
"""


def test_generators_go_on_as_they_would(run: Run, where: Path) -> None:
    assert run(GENERATORS).stdout == "0\n"
    with recorded(where) as (store, calls):
        bodies = [each for each in calls if names([each]) == ["body"]]
        told: list[tuple[str, Any]] = []
        for each in bodies:
            assert each.result is not None
            told.append((each.outcome.name, store.calls.load(each.result)))
        assert told[0] == ("closed", [[0], [0, 1], [0, 1, 2]])  # each as it was when yielded
        closed, returned, raised = (value for _, value in told[:3])
        assert repr(closed.sent) == "{1: ('send', 'sent'), 2: ('throw', KeyError('thrown'))}"
        assert told[1] == ("yielded", [[0]])
        assert returned.returned == "returned"
        assert told[2][0] == "raised"
        assert repr(raised.raised) == "ValueError('out')"
        assert repr(raised.sent) == "{1: ('throw', ValueError('out'))}"
        assert told[3] == ("closed", [[0]])
        assert len(told) == 4
        ends = {names([each])[0]: each.outcome.name for each in calls}
        assert (ends["stubborn"], ends["refuses"]) == ("closed", "closed")
        several = [each for each in calls if names([each]) == ["abody"]]
        assert [each.outcome.name for each in several] == ["closed", "yielded", "raised"]


# Redaction.


SECRET = "hunter2-secret"
ODD = "pa\"ss'w\\örd\n-secret"

LOGINS = """
import asyncio, collections, dataclasses, json, os, threading, types, typing
from snapshot.replay import record

def told(): return os.environ["SECRET"]

hide = record(redact=["password", "token"])
secret = os.environ["SECRET"]
PASSWORD = {"not": "read"}
password = secret

@hide
def by_parameter(user, password): return user
by_parameter("bob", secret)
by_parameter("bob", password=secret)
by_parameter(user="bob", password=secret)

@hide
def by_kind(token, /, *rest, password, **kw): return len(kw)
by_kind(secret, 1, password=secret, more=2)
by_kind("short-token", 1, password=[secret], token=secret)

def with_default(secret):
    @hide
    def inner(user, password=secret, *, token=secret): return user + str(password)
    @hide
    def in_other(user, password=(secret, 1)): return user
    inner("bob")
    inner("bob", token=None)
    in_other("bob")
with_default(secret)

class Client:
    def __init__(self): self.password, self.user = secret, "bob"
    @hide
    def ask(self, text): return self
    def __repr__(self): return f"Client({self.password!r})"
Client().ask("text")
Client().ask("x" * 100_000)

@hide
def anything(value, *more): return value

@dataclasses.dataclass
class Plain:
    user: str
    password: str
@dataclasses.dataclass(slots=True)
class Slotted:
    user: str
    password: str
@dataclasses.dataclass(frozen=True)
class Frozen:
    user: str
    password: str
@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    user: str
    password: str
class Named(typing.NamedTuple):
    user: str
    password: str
Classic = collections.namedtuple("Classic", ["password", "user"])
class Locked:
    def __init__(self):
        self.password, self.lock = secret, threading.Lock()
    def __repr__(self): return f"Locked({self.password})"
class Refuses(Locked):
    def __reduce__(self): raise TypeError(f"not {self!r}")
class Attributes:
    __slots__ = ("password", "user")

slots = Attributes()
slots.password, slots.user = secret, "bob"
made = [
    {"a": {"b": {"password": secret}}},
    [{"password": secret}, {"password": [secret, {"x": secret}]}],
    *(kind("bob", secret) for kind in (Plain, Slotted, Frozen, Both, Named)),
    Classic(secret, "bob"), Locked(), Refuses(), slots,
    types.SimpleNamespace(password=secret), collections.OrderedDict(password=secret),
    collections.defaultdict(list, password=secret), collections.deque([{"password": secret}]),
    collections.UserDict(password=secret), collections.ChainMap({"password": secret}),
    {1: (Plain("bob", secret), secret)}, [secret, {"password": secret}],
    {secret: 1, "password": secret}, {"password": secret, "said": f"it is {secret}!"},
    Plain("bob", Plain(secret, secret)),
]
for each in made:
    anything(each)
    anything(1, each, "x" * 70_000)
    anything((each, {"k": each}))

@hide
def returns(password): return [password, {"is": f"<{password}>"}, password.encode()]
returns(secret)

@hide
def returns_pair(password): return ("abc", {"x": password})
assert returns_pair(secret) == ("abc", {"x": secret})

@hide
def changes(box, password): box.append(password); box.append({"token": secret})
changes([], secret)

@hide
def reads(): return password
reads()

def closure(password, other):
    @hide
    def inner(): return password, other
    inner()
closure(secret, [secret])

@hide
def numbers(password):
    yield password
    yield [password, {"password": password}]
    box = Plain("bob", password)
    yield box
    yield {"x": box}
@hide
def late(value):
    yield [told()]
    yield told()
    yield Plain("bob", told())
    yield {"password": told()}
assert len(list(numbers(secret))) == len(list(late(1))) == 4
@hide
async def waits(password): return password
assert asyncio.run(waits(secret)) == secret
@hide
async def anumbers(password): yield [password]
async def drive(): return [each async for each in anumbers(secret)]
asyncio.run(drive())

class LoginError(Exception):
    def __init__(self, user, password):
        super().__init__(user, password)
        self.password = password

def check(user, password): raise PermissionError(f"{user} {password!r}", {"password": password})
@hide
def login(user, password): LITERAL_CALL
@hide
def fails(user, password): raise LoginError(user, password)
@hide
def fails_with(user, password):
    error = ValueError(password)
    error.add_note(f"note {password}")
    raise error from KeyError(password)
@hide
def fails_late(user): raise LoginError(user, told())
for each in (login, fails, fails_with):
    try:
        each("bob", secret)
    except Exception as error:
        assert secret in str(error) or repr(secret)[1:-1] in str(error), error
try:
    fails_late("bob")
except LoginError as error:
    saved = error
@hide
def again(password): raise RuntimeError(password) from saved
try:
    again(secret)
except RuntimeError:
    pass
print(json.dumps([]))
"""


@pytest.mark.parametrize("secret", [SECRET, ODD], ids=["plain", "odd"])
def test_what_is_redacted_is_nowhere(python: Run, where: Path, secret: str) -> None:
    source = LOGINS.replace("LITERAL_CALL", f"check(user, {secret!r})")
    # Of its own source, whoever records a function says what may be told of it.
    source = source.replace(
        "@hide\ndef login(user, password): ",
        "@hide\ndef login(user, password): call()\ndef call(user='bob'): ",
    )
    result = python(
        source, env={"SNAPSHOT_STORE": str(where), "SECRET": secret}, options=["-W", "error"]
    )
    assert (result.code, result.stderr) == (0, ""), result
    files = [each for each in where.parent.rglob("*") if each.is_file()]
    assert where in files
    assert any("spool" in each.parts for each in files)

    def search() -> None:
        forms = {secret, repr(secret)[1:-1], repr(secret)[1:-1].replace("\\'", "'")}
        forms |= {repr(secret).encode("unicode_escape").decode()[1:-1]}
        for each in files:
            if each.is_file():
                content = each.read_bytes()
                for form in forms:
                    place = content.find(form.encode())
                    assert place < 0, (each, content[max(0, place - 300) : place + 100])

    search()
    with recorded(where) as (store, calls):
        found = names(calls)
        assert len(calls) > 60
        assert not [each for each in calls if each.outcome is Outcome.running]
        assert load_execution_data(1, store)[0][0] == "bob"
        hidden = load_execution_data(1, store)[0][1]
        assert (type(hidden), hidden.type, hidden.reason) == (Placeholder, "str", "redacted")
        client = load_execution_data(found.index("Client.ask") + 1, store)[0][0]
        assert client.user == "bob"
        assert isinstance(client.password, Placeholder)
        place = found.index("anything")
        plain = load_execution_data(calls[place + 6].id, store)[0][0]
        assert (plain.user, plain.password.reason) == ("bob", "redacted")
        locked = [
            load_execution_data(each.id, store)[0][0]
            for each in calls[place:]
            if names([each]) == ["anything"]
        ]
        assert any(type(each).__name__ == "Locked" for each in locked)
        pair = calls[found.index("returns_pair")].result
        assert pair is not None
        assert store.calls.load(pair) == ("abc", {"x": "<redacted>"})
        raised = calls[found.index("login")]
        assert raised.failure is not None
        assert "check(user, " in raised.failure.traceback
        assert "<redacted>" in raised.failure.text
    search()


def test_a_default_that_is_redacted_is_not_in_the_source(run: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    @record(redact="password")
    def login(user, password="hunter2-secret", *, token="short"):
        raise ValueError(password)
    try:
        login("bob")
    except ValueError as error:
        assert str(error) == "hunter2-secret"
    """
    run(source)
    with recorded(where) as (_, (call,)):
        assert 'password="<redacted>"' in call.function.facts["source"]
        assert call.failure is not None
        assert call.failure.text == "<redacted>"
    for each in where.parent.rglob("*"):
        assert not each.is_file() or SECRET.encode() not in each.read_bytes(), each


# What cannot be stored.


def test_what_cannot_be_stored_has_a_placeholder_and_spoils_nothing_else(
    run: Run, where: Path
) -> None:
    source = """
    import queue, socket, sys, threading
    from snapshot.replay import lost, record

    class Refuses:
        def __reduce__(self): raise RuntimeError("not me")
    class Exits:
        def __reduce__(self): raise SystemExit(5)
        def __repr__(self): raise SystemExit(6)
    class Badly:
        def __repr__(self): raise RuntimeError("no repr")
        def __eq__(self, other): raise RuntimeError("no eq")
        __hash__ = None
        def __reduce__(self): raise BadError
    class BadError(Exception):
        def __str__(self): raise RuntimeError("no str")
    class Service:
        def __init__(self):
            self.lock, self.n = threading.Lock(), 20
        @record
        def add(self, n):
            with self.lock:
                return self.n + n

    def numbers():
        yield 1
    deep = []
    for _ in range(100_000):
        deep = [deep]
    nested = {}
    for _ in range(5_000):
        nested = {"x": nested}

    @record
    def given(first, value, last, **named):
        return first, value, named
    @record(redact=["password"])
    def hidden(first, value, last, **named):
        return first, value, named
    @record
    def back(value): return value
    @record
    def raises(value):
        error = ValueError("text")
        error.value = value
        raise error
    with socket.socket() as one, open(__file__) as file:
        values = [
            threading.Lock(), one, numbers(), file, Refuses(), Exits(), Badly(), deep, nested,
            sys._getframe(), [1, {"x": threading.Lock()}], [threading.Event(), queue.Queue()],
        ]
        for each in values:
            for function in (given, hidden):
                first, value, named = function(1, each, [2], k=each, password=3)
                assert value is each and named["k"] is each
            assert back(each) is each
            try:
                raises(each)
            except ValueError as error:
                assert error.value is each
    assert Service().add(1) == 21
    print(len(values), lost())
    while deep:
        deep = deep[0]
    """
    count, lost = map(int, run(source, options=["-W", "error"]).stdout.split())
    assert lost == 0
    kinds = ["lock", "socket.socket", "generator", "_io.TextIOWrapper", "Refuses", "Exits", "Badly"]
    with recorded(where) as (store, calls):
        assert len(calls) == 4 * count + 1
        assert not [each for each in calls if each.outcome is Outcome.running]
        for position, call in enumerate(calls[:-1]):
            args, kwargs = load_execution_data(call.id, store)
            number, which = divmod(position, 4)
            if which < 2:
                first, value, last = args
                assert (first, last) == (1, [2])
                assert type(kwargs["password"]) is (int, Placeholder)[which]
                assert type(kwargs["k"]) is type(value)
                assert call.result is not None
            else:
                (value,) = args
            if number < len(kinds):
                assert isinstance(value, Placeholder), value
                assert value.type.endswith(kinds[number])
                assert value.reason
            elif number in (len(kinds), len(kinds) + 1):
                assert which == 1 or isinstance(value, Placeholder)  # 1: down to some level
                assert isinstance(value, list | dict) or "nested too deeply" in value.reason
            elif number == len(kinds) + 3 and which != 1:
                assert value[0] == 1
                assert isinstance(value[1]["x"], Placeholder)
            assert (call.outcome is Outcome.raised) == (which == 3)
        service, _ = load_execution_data(calls[-1].id, store)
        assert service[0].n == 20
        assert isinstance(service[0].lock, Placeholder)


def test_what_a_function_reads_may_be_anything(run: Run, where: Path) -> None:
    source = """
    import functools
    from snapshot.replay import lost, record

    class Named:
        def __reduce__(self): return "nowhere"
    class Closed:
        def __getattribute__(self, name): raise KeyError(name)

    DEEP, NAMED, CLOSED = [], Named(), Closed()
    CACHED = functools.lru_cache(lambda n: n + 1)
    for _ in range(100_000):
        DEEP = [DEEP]
    HOLDS = {"cached": CACHED, "n": 1}

    @record
    def deep(): return type(DEEP)
    @record
    def named(n): return CACHED(n), NAMED is not None
    @record
    def closed(n): return CLOSED
    @record
    def holds(n): return HOLDS["n"] + n
    deep(), named(1), closed(1), holds(2)
    print(lost())
    while DEEP:
        DEEP = DEEP[0]
    """
    assert run(source, options=["-W", "error"]).stdout == "0\n"
    with recorded(where) as (store, calls):
        assert [each.function.key.partition(":")[2] for each in calls] == [
            *("deep", "named", "closed", "holds")
        ]
        assert calls[3].surroundings is not None
        read = store.calls.load(calls[3].surroundings)["globals"]["HOLDS"]
        assert isinstance(read["cached"], Placeholder)
        assert read["n"] == 1
        assert calls[2].result is not None
        assert isinstance(store.calls.load(calls[2].result), Placeholder)


def test_what_a_function_reads_may_grow(run: Run, where: Path) -> None:
    source = """
    from types import SimpleNamespace
    from snapshot import pickling
    from snapshot.replay import lost, record

    REGISTRY, LINES = SimpleNamespace(items=[]), [[]]
    asked = []
    is_interrupt = pickling.is_interrupt
    pickling.is_interrupt = lambda error: asked.append(error) or is_interrupt(error)

    @record
    def adds(n):
        REGISTRY.items.append("x" * n)
        LINES[0].append("x" * n)
    for _ in range(10):
        adds(1_000)
    print(lost(), asked)
    """
    assert run(source).stdout == "0 []\n"
    with recorded(where) as (store, calls):
        read = [store.calls.load(each.surroundings) for each in calls if each.surroundings]
        assert [*map(len, (each["globals"] for each in read))][:2] == [2, 2]
        assert (read[-1]["globals"], read[-1]["named"]) == (
            *({}, {"REGISTRY": "types.SimpleNamespace", "LINES": "list"}),
        )


def test_large_values_are_left_out_one_by_one(run: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    large = "x" * 5_000
    @record(max_value_bytes=1_000)
    def given(small, value, *, k): return value
    @record(max_value_bytes=1_000)
    def text(value): return value
    @record(max_value_bytes=1_000)
    def yields():
        yield large
        yield 1
        yield [large]
    assert given(1, [large], k=large) == [large]
    assert given(1, 2, k=3) == 2
    assert text(large) == large
    assert list(yields()) == [large, 1, [large]]
    """
    run(source)
    with recorded(where) as (store, (first, second, text, yields)):
        (small, value), kwargs = load_execution_data(first.id, store)
        assert small == 1
        for each, kind in ((value, "list"), (kwargs["k"], "str")):
            assert (each.type, "more than 1000" in each.reason) == (kind, True)
        assert load_execution_data(second.id, store) == ((1, 2), {"k": 3})
        for call in (first, text):
            assert call.result is not None
            assert "more than 1000" in store.calls.load(call.result).reason
        assert "more than 1000" in load_execution_data(text.id, store)[0][0].reason
        assert yields.result is not None
        one, number, other = store.calls.load(yields.result)
        assert (one.type, number, other.type) == ("str", 1, "list")


def test_arguments_that_were_not_stored_are_named(run: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    @record
    def given(a, b): return a
    given(1, (n for n in range(3)))
    """
    run(source)
    with recorded(where) as (_, (call,)):
        from snapshot.replay import reanimate_function

        with pytest.raises(
            CannotReanimate, match=r"the argument b of call 1 .*generator.*overrides"
        ):
            reanimate_function(call.id, where, fork=False)


# The program is none the worse for it.


HARM = """
import json, os, shutil, sys, warnings
from pathlib import Path
from snapshot.replay import lost, record

where = Path(os.environ["SNAPSHOT_STORE"])
harm = sys.argv[1]
if harm == "file":
    where.parent.mkdir()
    where.write_bytes(b"this is no database" * 1000)
elif harm == "folder":
    where.mkdir(parents=True)
elif harm == "parent":
    where.parent.write_text("a file in the place of the folder")
elif harm == "read-only":
    where.parent.mkdir()
    where.parent.chmod(0o500)
    os.seteuid(65534)
elif harm == "when":
    where.parent.mkdir()

def refuse(*args):
    raise (KeyError if len(sys.argv) < 3 else SyntaxError)("when")

@record(when=refuse if harm == "when" else None)
def work(n, text):
    if n % 10 == 7:
        raise ValueError(n)
    return [n, len(text)]

@record
def numbers(n):
    yield from range(n)

seen = []
for n in range(300):
    if n == 100 and harm == "deleted":
        shutil.rmtree(where.parent)
    if n == 100 and harm == "full":
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, 1 << 18))
    try:
        seen.append(work(n, str(n) * 3_000))
    except ValueError as error:
        seen.append(error.args)
seen.append(list(numbers(3)))
assert seen == [
    *((n,) if n % 10 == 7 else [n, len(str(n)) * 3_000] for n in range(300)), [0, 1, 2]
], seen
print(lost())
"""


@pytest.mark.parametrize("strict", [False, True], ids=["warns", "-W error"])
@pytest.mark.parametrize("harm", ["file", "parent", "read-only", "when", "deleted", "full"])
def test_the_recorder_does_no_harm(
    python: Run, where: Path, tmp_path: Path, harm: str, strict: bool
) -> None:
    if harm == "read-only" and os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    tmp_path.chmod(0o755)
    for each in (tmp_path.parent, tmp_path.parent.parent):
        if harm == "read-only" and each.stat().st_uid == os.geteuid():
            each.chmod(0o755)
    options = ["-W", "error"] if strict else []
    result = python(HARM, harm, env={"SNAPSHOT_STORE": str(where)}, options=options)
    assert result.code == 0, result
    lost = int(result.stdout)
    assert 0 < lost <= 301
    if harm in ("file", "parent", "read-only"):
        assert lost == 301
    elif harm == "when":
        assert lost == 300
    told = [line for line in result.stderr.splitlines() if "calls are not recorded in" in line]
    assert len(told) == 1, result
    assert re.search(f"calls are not recorded in {re.escape(str(where))}: [A-Za-z/]", told[0])
    assert ("RecordingWarning" in told[0]) != strict


def test_what_was_recorded_dies_when_it_would(run: Run, where: Path) -> None:
    # By its reference count: nothing that pickled it, and no exception of that, keeps it alive.
    run("""
import gc, threading, weakref
from snapshot.replay import record

class Thing:
    def __init__(self, held=None): self.held = held
class Refuses:
    def __reduce__(self): raise KeyError("no")

def reads(thing): return 1
def changes(thing): thing.changed = True
def fails(thing): raise ValueError(thing.held)

gc.disable()
for function in (reads, changes, fails):
    for options in ({}, {"redact": ["held"]}, {"redact": ["other"]}, {"max_value_bytes": 10}):
        recorded = record(**options)(function)
        for held in (1, threading.Lock(), Refuses(), lambda: 1, Thing):
            thing = Thing(held)
            reference = weakref.ref(thing)
            try:
                recorded(thing)
            except ValueError:
                pass
            del thing
            assert reference() is None, (function, options, held)
""")


# Several at a time.


CROWD = """
import multiprocessing, os, sys, threading, warnings
from snapshot.replay import lost, record
warnings.simplefilter("ignore", DeprecationWarning)

@record
def outer(who, n): return inner([who, n])
@record
def inner(value): return value[1]

def work(who, count):
    for n in range(count // 2):
        assert outer(who, n) == n
    assert lost() == 0

name = sys.argv[1]
work(f"{name} before", 2)
threads = [threading.Thread(target=work, args=(f"{name} thread {n}", 1000)) for n in range(8)]
for each in threads:
    each.start()
for each in threads:
    each.join()
children = []
for n in range(4):
    if (pid := os.fork()) == 0:
        work(f"{name} fork {n}", 1000)
        sys.exit(0) if n % 2 else os._exit(0)
    children.append(pid)
forks = multiprocessing.get_context("fork")
several = [forks.Process(target=work, args=(f"{name} child {n}", 1000)) for n in range(4)]
for each in several:
    each.start()
for each in several:
    each.join()
codes = [os.waitpid(each, 0)[1] for each in children] + [each.exitcode for each in several]
work(f"{name} after", 2)
print(codes, lost())
"""


def test_nothing_is_lost_whoever_records(
    start: Callable[..., Program], where: Path, tmp_path: Path
) -> None:
    programs = [start(CROWD, name, env={"SNAPSHOT_STORE": str(where)}) for name in "ab"]
    for each in programs:
        result = each.finish(60)
        assert (result.stdout, result.stderr) == (f"{[0] * 8} 0\n", ""), result
    with recorded(where) as (store, calls):
        assert len(calls) == 2 * (8 * 1000 + 8 * 1000 + 4)
        outers = {each.id: each for each in calls if names([each]) == ["outer"]}
        found = {each: given(store, call)[0] for each, call in outers.items()}
        wanted = [
            *(
                (f"{name} {kind} {k}", n)
                for kind, most in (("thread", 8), ("fork", 4), ("child", 4))
                for name in "ab"
                for k in range(most)
                for n in range(500)
            ),
            *((f"{name} {when}", 0) for name in "ab" for when in ("before", "after")),
        ]
        assert sorted(found.values()) == sorted(wanted)
        for call in calls:
            assert call.outcome is Outcome.returned
            if call.id not in outers:
                ((who, n),), _ = given(store, call)
                assert found[call.parent or 0] == (who, n)
        assert len({each.process.writer for each in calls}) == 2 * 9
        assert len({each.process.session for each in calls}) == 2


def test_what_a_fork_does_with_a_call_that_was_entered_before_it(run: Run, where: Path) -> None:
    source = """
    import os
    from snapshot.replay import record
    @record
    def leaf(n): return n
    @record
    def outer():
        leaf(1)
        pid = os.fork()
        leaf(2 if pid else 3)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        leaf(4)
        return "parent"
    outer()
    """
    run(source)
    with recorded(where) as (store, calls):
        (outer,) = [each for each in calls if names([each]) == ["outer"]]
        assert outer.result is not None
        assert store.calls.load(outer.result) == "parent"
        leaves = [each for each in calls if each is not outer]
        assert len(leaves) == 4
        assert {each.parent for each in leaves} == {outer.id}
        ways = [given(store, each)[0][0] for each in leaves]
        assert [ways.count(n) for n in (1, 2, 3, 4)] == [1, 1, 1, 1]


def test_kill_9_loses_nothing(start: Callable[..., Program], where: Path) -> None:
    source = """
    import os, signal
    from snapshot.replay import record
    @record
    def work(n): return [n]
    @record
    def last(): os.kill(os.getpid(), signal.SIGKILL)
    for n in range(10_000):
        work(n)
    last()
    """
    result = start(source, env={"SNAPSHOT_STORE": str(where)}).finish()
    assert (result.signal, result.stderr) == (signal.SIGKILL, "")
    with recorded(where) as (store, calls):
        assert [given(store, each)[0] for each in calls[:-1:100]] == [
            (n,) for n in range(0, 10_000, 100)
        ]
        assert len(calls) == 10_001
        assert {each.outcome for each in calls[:-1]} == {Outcome.returned}
        assert (calls[-1].outcome, calls[-1].duration) == (Outcome.running, None)
        assert calls[-1].result is None
    check(where)


def check(where: Path) -> None:
    """SQLite finds no fault with the store."""
    with contextlib.closing(sqlite3.connect(where)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


KILLED = """
import os, sys, threading
from snapshot.replay import lost, record
@record
def work(name, n): return ["x" * (n % 7000), name, n]
@record
def numbers(n):
    yield from range(n % 5)
def on(name):
    n = 0
    while True:
        work(name, n)
        list(numbers(n))
        assert not lost()
        n += 1
        if n % 10 == 0:
            os.write(1, f"{name}{n}\\n".encode())
for name in "ab":
    threading.Thread(target=on, args=(name,)).start()
on("m")
"""


def test_a_kill_at_any_moment_loses_nothing(start: Callable[..., Program], where: Path) -> None:
    chance = random.Random(20)
    told: dict[int, int] = {}
    for _ in range(20):
        program = start(KILLED, env={"SNAPSHOT_STORE": str(where)})
        program.wait_for(f"{chance.choice('abm')}{10 * chance.randrange(1, 20)}\n")
        program.kill()
        result = program.finish()
        assert (result.signal, result.stderr) == (signal.SIGKILL, "")
        counts = dict.fromkeys("abm", 0)
        for line in result.stdout.split("\n")[:-1]:
            counts[line[0]] = int(line[1:])
        told[program.pid] = sum(counts.values())
        program.close()
    with recorded(where) as (store, calls):
        for pid, count in told.items():
            ours = [each for each in calls if each.process.facts["pid"] == pid]
            ended = [each for each in ours if each.outcome is not Outcome.running]
            assert names(ended).count("work") >= count
            assert names(ended).count("numbers") >= count
            assert len(ours) - len(ended) <= 3  # one in each thread
        for each in random.Random(1).sample(calls, 200):
            if each.outcome is Outcome.returned and names([each]) == ["work"]:
                assert each.result is not None
                (name, n), _ = given(store, each)
                assert store.calls.load(each.result) == ["x" * (n % 7000), name, n]
    check(where)


# What is recorded at all.


def test_when_sample_and_keep_last(run: Run, where: Path) -> None:
    source = """
    from snapshot.replay import record
    @record(when=lambda n, **kw: n % 3 == 0)
    def chosen(n, **kw): return n
    @record(sample=0.25)
    def some(n): return n
    @record(keep_last=5)
    def last(n): return n
    class Thing:
        @record(when=lambda self, n: n == self.n)
        def method(self, n): return n
        n = 4
    for n in range(400):
        assert chosen(n) == some(n) == last(n) == Thing().method(n) == n
    """
    run(source)
    with recorded(where) as (store, calls):
        by_name: dict[str, list[int]] = {}
        for each in calls:
            name = names([each])[0]
            value = 4 if name == "Thing.method" else given(store, each)[0][0]
            by_name.setdefault(name, []).append(value)
        assert by_name["chosen"] == list(range(0, 400, 3))
        assert by_name["last"] == list(range(395, 400))
        assert by_name["Thing.method"] == [4]
        assert 40 < len(by_name["some"]) < 180


def test_what_is_kept_no_more_takes_no_room(run: Run, where: Path) -> None:
    run("""
    from snapshot.replay import record
    @record(keep_last=2)
    def last(data): return len(data)
    @record
    def all(data): return len(data)
    for n in range(10):
        last(bytearray([n]) * 200_000)
    all(bytearray([3]) * 200_000)
    """)
    for _ in range(2):
        with recorded(where) as (store, calls):
            assert names(calls) == ["last", "last", "all"]
            assert [given(store, each)[0][0][0] for each in calls] == [8, 9, 3]
            assert store.objects.count() == len(calls)
            assert store.vacuum() == 0


BACKGROUND = """
import os
import snapshot.core.background
from snapshot.core import process
from snapshot.errors import CannotFork
from snapshot.replay import lost, record
process.adopt_orphans()  # so that their ends can be waited for
main = os.getpid()

class Fatal:
    def __reduce__(self):
        if os.getpid() != main:
            os.kill(os.getpid(), 9)
        return Fatal, ()

@record(background=10_000)
def work(value, change=None, result=None):
    if change is not None:
        value[0] = change
    if result == "fail":
        raise ValueError("it fails")
    return result

def ended():
    while process.has_children():
        os.wait()
    assert lost() == 0

def numbers(): return list(range(100_000))
def call(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except ValueError:
        pass
    ended()

def calls():
    call(work, numbers())
    call(work, numbers(), -1)
    call(work, numbers(), result=numbers())
    call(work, [1], result=numbers())
    call(work, numbers(), result="fail")
    call(work, [1])

calls()
call(work, [Fatal(), b"x" * 10_000])
# Where no fork can be had, it is told at once.
def refused(): raise CannotFork("no")
process.fork_apart = refused
calls()
"""


def test_large_values_are_told_in_the_background(run: Run, where: Path) -> None:
    run(BACKGROUND)
    numbers = list(range(100_000))
    with recorded(where) as (store, calls):

        def now(call: Call) -> Any:
            return None if call.after is None else store.calls.load(call.after)[0][0]

        assert len(calls) == 13
        for first in (0, 7):
            plain, changed, returned, small, failed, lean = calls[first : first + 6]
            for each in (plain, changed, returned, failed):
                assert given(store, each)[0][0] == numbers
            assert now(changed) == [-1, *numbers[1:]]
            assert [now(each) for each in (plain, returned, small, failed, lean)] == [None] * 5
            assert result(store, plain) is None
            assert result(store, returned) == result(store, small) == numbers
            assert failed.failure is not None
            assert failed.failure.text == "it fails"
            assert given(store, lean) == (([1],), {})
        assert (calls[6].outcome, calls[6].arguments) == (Outcome.returned, None)


def test_there_are_as_many_forks_as_processors_in_the_background(python: Run) -> None:
    result = python("""
import os
from snapshot.core import process
from snapshot.core.background import Background
process.adopt_orphans()
background, count = Background(), os.cpu_count()
began, gate = os.pipe(), os.pipe()

def work():
    os.write(began[1], b"x")
    os.read(gate[0], 1)

assert all(background.run(work) for _ in range(count))
for _ in range(count):
    os.read(began[0], 1)
assert not background.run(work)
os.write(gate[1], b"x" * count)
for _ in range(count):
    os.wait()
def fatal(): os.kill(os.getpid(), 9)
for _ in range(2 * count):  # one that is killed leaves its place, too
    assert background.run(fatal)
    os.wait()
print("done")
""")
    assert (result.stdout, result.stderr, result.code) == ("done\n", "", 0), result


def test_how_large_a_value_is_is_estimated() -> None:
    class Holder:
        def __init__(self, value: object) -> None:
            self.value = value

    class Refuses:
        @property
        def nbytes(self) -> int:
            raise RuntimeError("no")

    large = (b"x" * 10_000, "x" * 10_000, [0] * 2000, {1: "x" * 10_000}, np.zeros(1250))
    for value in (*large, *map(Holder, large), ((large[0],), {})):
        assert 9_000 <= estimated(value) <= 20_000, value
    for value in (None, 1, [], {}, Refuses(), Refuses, Holder(Refuses()), iter([1])):
        assert estimated(value) < 1000, value
    endless: list[Any] = []
    endless.append(endless)
    assert estimated(endless) < 1000


def test_arguments_of_record_that_mean_nothing(run: Run) -> None:
    source = """
    import functools
    from snapshot.errors import UsageError
    from snapshot.replay import record
    wrong = [
        dict(redact=[""]), dict(redact=[1]), dict(max_value_bytes=0), dict(max_value_bytes=True),
        dict(keep_last=-1), dict(keep_last=1.5), dict(when=3), dict(sample=0), dict(sample=1.5),
        dict(sample="x"), dict(store=""), dict(store="/"), dict(store="http://x/"),
        dict(background=0), dict(background=100, redact=["password"]),
    ]
    for each in wrong:
        try:
            record(**each)
        except UsageError as error:
            assert str(error)
        else:
            raise AssertionError(each)
    def f(): pass
    for each in (len, int, 5, None.__class__, functools.partial(f), record(f)):
        try:
            record(each)
        except UsageError as error:
            assert str(error)
        else:
            raise AssertionError(each)
    """
    run(source)


ALARMS = """
import signal
import sys
import time

from snapshot.replay import record, recording

class Late(Exception): pass

def alarm(*_): raise Late

class Slow:
    def __reduce__(self):
        for _ in range(300): pass
        return Slow, ()

@record
def takes(value): return value

@record(redact=["password"])
def hides(value): return value

values = {"a": [1, "x"]}, Slow(), lambda: turn
for value in values:  # Python's imports lose an exception of a handler
    takes(value), hides(value)
signal.signal(signal.SIGALRM, alarm)
def calls(call, value):  # a loop's jump back is outside the "try" that it stands in
    end = time.monotonic() + 2  # unless the alarm has come where nothing can be raised
    while time.monotonic() < end:
        call(value)

seen = 0
for turn in range(200):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001 + turn % 50 * 0.00001)
        calls((takes, hides)[turn % 2], values[turn % 3])
    except Late:
        seen += 1
print(seen)
"""


def test_what_the_handler_of_a_signal_raises_comes_through(python: Run, where: Path) -> None:
    # Of each of them, before; one now and then comes while Python itself runs a callback, or closes
    # a generator, where nothing can be raised: it says so.
    result = python(ALARMS, env={"SNAPSHOT_STORE": str(where)})
    assert result.code == 0, result
    assert int(result.stdout) >= 195
    assert not result.stderr or result.stderr.startswith("Exception ignored in: "), result


INTERRUPTED = """
import os
import signal

from snapshot.replay import record

class Late(Exception): pass

def alarm(*_): raise Late if is_late else TimeoutError("too late")
signal.signal(signal.SIGALRM, alarm)

@record
def takes(value): return value

def interrupting(call):
    def interrupted(*args):
        call(*args)
        signal.raise_signal(signal.SIGALRM)
    return interrupted

takes(1)
for is_late in (False, True):
    for name in ("posix_fallocate", "rename", "fsync"):
        call = getattr(os, name)
        setattr(os, name, interrupting(call))
        try:
            for _ in range(10_000):  # till the spool needs another file
                takes(os.urandom(1 << (20 if name == "fsync" else 10)))
        except (Late, TimeoutError) as error:
            print(name, type(error).__name__)
        finally:
            setattr(os, name, call)
        assert takes(2) == 2
"""


def test_a_signal_comes_while_a_file_is_made(python: Run, where: Path) -> None:
    """What its handler raises is no error of the file's, though it may be an `OSError`."""
    result = python(INTERRUPTED, env={"SNAPSHOT_STORE": str(where)})
    files = ("posix_fallocate", "rename", "fsync")
    names = [f"{name} {kind}" for kind in ("TimeoutError", "Late") for name in files]
    assert (result.stdout.splitlines(), result.stderr, result.code) == (names, "", 0)
    with recorded(where) as (store, calls):
        whole = [each for each in calls if each.outcome is Outcome.returned]
        assert [store.calls.load(each.result) for each in whole if each.result].count(2) == 6


ITERABLE = """
import asyncio
import types

from snapshot.replay import record

@record
@types.coroutine
def tick():
    yield
    return 3

@types.coroutine
@record
def tock():
    yield
    return 4

async def both(): return await tick(), await tock()
print(asyncio.run(both()))
"""


def test_a_generator_that_can_be_awaited_still_can(run: Run) -> None:
    assert run(ITERABLE).stdout == "(3, 4)\n"
