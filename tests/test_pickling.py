"""Pickling: values come back equal, large ones without a copy; the rest is refused by name."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import gc
import io
import multiprocessing
import os
import pickle
import queue
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot import pickling
from snapshot.errors import NotPicklable
from tests.processes import Result


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


def double(number: int) -> int:
    return 2 * number


ATOMS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.text(), st.binary()),
    *(st.floats(allow_nan=False), st.complex_numbers(allow_nan=False), st.datetimes()),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.text(), inner),
        st.builds(Point, inner, inner),
        st.builds(collections.deque, st.lists(inner)),
    ),
    max_leaves=20,
)
# On both sides of the size from which on a buffer stays out of band, and with none at all.
ARRAYS = st.builds(
    lambda length, kind: np.arange(length).astype(kind),
    st.sampled_from([0, 1, 1000, pickling.LARGE // 8 - 1, pickling.LARGE // 8, 50_000]),
    st.sampled_from(["i8", "f8", "u1", ">i4"]),
)


@contextmanager
def file_without_name() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


def through_file(value: object) -> Any:
    with file_without_name() as fd:
        pickling.write(fd, 7, *pickling.dump(value))
        record = pickling.read(fd)
    assert record is not None
    kind, data, buffers = record
    assert kind == 7
    return pickling.load(data, buffers)


@given(VALUES)
def test_round_trip(value: object) -> None:
    assert pickling.load(*pickling.dump(value)) == value


@given(VALUES)
def test_round_trip_through_a_file(value: object) -> None:
    assert through_file(value) == value


@given(st.lists(ARRAYS, max_size=6))
def test_arrays_through_a_file(arrays: list[Any]) -> None:
    copies = through_file(arrays)
    assert len(copies) == len(arrays)
    for array, copy in zip(arrays, copies, strict=True):
        assert copy.dtype == array.dtype
        assert (copy == array).all()
        assert copy.flags.writeable


@given(
    st.sampled_from([r"a*", r"(a)|(b)", r"(?<=a)b+", r"^a|b$", r"(?P<first>\w)(?P<second>\w)?"]),
    st.text("ab c", max_size=12),
    st.integers(0, 3),
    st.integers(0, 12),
)
def test_matches_of_regular_expressions(pattern: str, text: str, begin: int, end: int) -> None:
    compiled = re.compile(pattern)
    ways = (compiled.match, compiled.fullmatch, compiled.search)
    found = [way(text, begin, end) for way in ways]
    for match in filter(None, (*found, *compiled.finditer(text, begin, end))):
        again = pickling.load(*pickling.dump(match))
        assert again.regs == match.regs
        assert (again.re, again.string, again.lastgroup) == (compiled, text, match.lastgroup)
        assert again.endpos == match.endpos


def test_a_match_in_a_text_that_has_changed_is_refused() -> None:
    text = bytearray(b"abc")
    match = re.search(b"b", text)
    text[:] = b"xxx"
    with pytest.raises(NotPicklable, match="does not match again what it has matched"):
        pickling.dump(match)


def test_a_large_buffer_is_the_value_s_own_memory() -> None:
    array = np.zeros(pickling.LARGE, np.uint8)
    data, buffers = pickling.dump([array, array, bytes(10)])
    assert len(data) < 1000
    assert [buffer.nbytes for buffer in buffers] == [array.nbytes]
    array[0] = 9
    assert buffers[0][0] == 9
    first, second, _ = pickling.load(data, buffers)
    assert first is second
    assert np.shares_memory(first, array)


def test_small_buffers_are_in_the_pickle() -> None:
    arrays = [np.arange(8) for _ in range(1000)]
    _, buffers = pickling.dump(arrays)
    assert buffers == []


def test_what_is_read_can_be_written_to_and_the_file_stays_as_it_was() -> None:
    for length in (10_000, 1_000_000):  # read, and mapped
        array = np.ones(length)
        with file_without_name() as fd:
            pickling.write(fd, 1, *pickling.dump(array))
            before = os.listdir("/dev/fd")
            record = pickling.read(fd)
            assert record is not None
            assert os.listdir("/dev/fd") == before  # the mapping holds no descriptor
            copy = pickling.load(*record[1:])
            copy[:] = 5
            again = pickling.read(fd)
            assert again is not None
            assert (pickling.load(*again[1:]) == 1).all()
        assert (copy == 5).all()


def test_a_file_that_was_not_finished_has_no_record() -> None:
    with file_without_name() as fd:
        assert pickling.read(fd) is None
        os.pwrite(fd, b"the pickle, and nothing at the head", 64)
        assert pickling.read(fd) is None


def test_lambdas_closures_and_local_classes_go_by_value() -> None:
    offset = 5

    @dataclasses.dataclass
    class Local:
        number: int

    data = {"f": lambda number: number + offset, "local": Local(3)}
    loaded = pickling.load(*pickling.dump(data))
    assert loaded["f"](1) == 6
    assert loaded["local"].number == 3


def test_named_classes_and_functions_stay_themselves_beside_a_lambda() -> None:
    point, function, _ = pickling.load(*pickling.dump((Point, double, lambda: None)))
    assert point is Point
    assert function is double


@pytest.fixture
def frozen() -> Iterator[None]:
    """As just before a fork."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen")
def test_newcomers_go_by_value_though_they_have_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = pickling.Newcomers()
    here = sys.modules[__name__]
    new_double: Callable[[int], int] = types.FunctionType(
        (lambda number: number * 20).__code__, {"__name__": __name__}, "double"
    )
    new_double.__qualname__ = "double"
    new_double.__module__ = __name__
    monkeypatch.setattr(here, "double", new_double)
    assert lacks(new_double)
    assert not lacks(Point)
    data, buffers = pickling.dump((double, Point, Point(1)), lacks=lacks)
    monkeypatch.undo()
    loaded, point, instance = pickling.load(data, buffers)
    assert loaded is not double
    assert loaded(2) == 40
    assert point is Point
    assert type(instance) is Point


@pytest.mark.usefixtures("frozen")
def test_newcomers_of_a_module_imported_since_are_imported_by_the_reader() -> None:
    sys.modules.pop("this_is_new", None)
    lacks = pickling.Newcomers()
    module = types.ModuleType("this_is_new")
    exec("class New: pass", module.__dict__)
    sys.modules["this_is_new"] = module
    try:
        assert not lacks(module.New)
        assert pickling.load(*pickling.dump(module.New, lacks=lacks)) is module.New
    finally:
        del sys.modules["this_is_new"]


class Stubborn:
    def __reduce__(self) -> Any:
        raise ValueError("not\nme")


def refused() -> Iterator[tuple[str, object]]:
    """What is refused, and the word that says so. Each is closed when the next is asked for."""
    with open(os.devnull) as text, open(os.devnull, "rb") as binary:
        yield "an open file", text
        yield "an open file", binary
    with tempfile.NamedTemporaryFile() as temporary:
        yield "an open file", temporary
    with socket.socket() as unconnected:
        yield "a socket", unconnected
    yield "a lock", threading.Lock()
    yield "a lock", threading.RLock()
    yield "a thread", threading.Thread()
    yield "a generator", (letter for letter in "")
    with closing(sqlite3.connect(":memory:")) as connection:
        yield "a database connection", connection
    for end in multiprocessing.Pipe():
        with end:
            yield "a pipe", end
    with subprocess.Popen(["true"]) as child:
        yield "a running process", child


def test_what_means_nothing_elsewhere_is_refused_by_name() -> None:
    for word, value in refused():
        for holder, place in ((value, ""), ({"a": [0, Point(value)]}, r"at value['a'][1].x")):
            with pytest.raises(NotPicklable) as caught:
                pickling.dump(holder)
            message = str(caught.value)
            assert message.startswith(f"cannot pickle {word}, ")
            assert place in message
            assert message.rpartition(": ")[2]  # what to do instead


def test_a_file_is_refused_though_cloudpickle_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("hello")
    with open(path) as file:
        with pytest.raises(NotPicklable, match=r"an open file, .*text.*closure 'file'"):
            pickling.dump(lambda: file.read())
        with pytest.raises(NotPicklable, match="an open file"):
            pickling.dump([lambda: None, file])
    assert pickling.load(*pickling.dump(io.StringIO("text"))).getvalue() == "text"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([Stubborn()], r"Stubborn object .*, at value\[0\]: ValueError: not me"),
        ({"q": queue.Queue()}, r"a lock, .* at value\['q'\]\.mutex"),
    ],
)
def test_other_failures_say_what_and_where(value: object, said: str) -> None:
    with pytest.raises(NotPicklable, match=said):
        pickling.dump(value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(200_000):
        nested = [nested]
    with pytest.raises(NotPicklable, match="this list: it is nested too deeply"):
        pickling.dump(nested)
    while nested:  # or freeing it recurses as deep
        nested = nested[0]


@pytest.mark.parametrize("held", [1, lambda: 1, threading.Lock()])
def test_what_was_pickled_is_not_kept_alive(held: object) -> None:
    gc.collect()
    gc.disable()
    try:
        value = Point(held)
        reference = weakref.ref(value)
        with contextlib.suppress(NotPicklable):
            pickling.dump(value)
        del value
        assert reference() is None
    finally:
        gc.enable()


def test_memory_error_is_not_hidden() -> None:
    class Greedy:
        def __reduce__(self) -> Any:
            raise MemoryError

    with pytest.raises(MemoryError):
        pickling.dump(Greedy())


def test_load_says_what_it_could_not_find() -> None:
    data = pickle.dumps(double).replace(b"double", b"absent")
    with pytest.raises(NotPicklable, match=r"AttributeError: .*absent.* found here"):
        pickling.load(data)
    with pytest.raises(NotPicklable, match="UnpicklingError"):
        pickling.load(b"nonsense")


def test_dates_and_other_library_values_need_no_cloudpickle(
    python: Callable[..., Result],
) -> None:
    program = """
        import datetime, sys
        import numpy
        from snapshot import pickling
        pickling.load(*pickling.dump([datetime.date(2000, 1, 1), numpy.arange(3), {1: "a"}]))
        print("cloudpickle" in sys.modules)
    """
    result = python(program)
    assert (result.code, result.stdout) == (0, "False\n"), result
    assert datetime.date(2000, 1, 1) == pickling.load(*pickling.dump(datetime.date(2000, 1, 1)))
