"""Arguments as bytes: what is equal has the same in every process, what differs has other ones."""

from __future__ import annotations

import collections
import copyreg
import importlib
import json
import mmap
import pickle
import socket
import struct
import sys
import threading
import types
import unittest.mock
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapshot.errors import NotKeyable
from snapshot.memo.canonical import canonical
from tests import hashing_libraries, hashing_oracles
from tests.libraries import require
from tests.processes import Program, Result

Start = Callable[..., Program]
Run = Callable[..., Result]

ROOT = Path(__file__).parents[1]
SEEDS = ("0", "1", "2", "12345", "random")


# Of one process.


@pytest.mark.parametrize("name", hashing_oracles.EQUAL)
def test_equal_values_have_one_key(name: str) -> None:
    assert len(keys_of(hashing_oracles.EQUAL[name]())) == 1


@pytest.mark.parametrize("name", hashing_oracles.DIFFERENT)
def test_other_values_have_other_keys(name: str) -> None:
    check_different(hashing_oracles.DIFFERENT[name]())


@pytest.mark.parametrize("name", hashing_oracles.DIFFERENT)
def test_the_same_values_have_the_same_keys_again(name: str) -> None:
    made = hashing_oracles.DIFFERENT[name]
    assert list(map(canonical, made())) == list(map(canonical, made()))


def keys_of(values: list[Any]) -> set[bytes]:
    """Also inside of others, where a container of plain data is written in another way."""
    inside = {canonical((value, [value], bytearray())) for value in values}
    assert len(inside) == len({canonical(value) for value in values})
    return inside


def check_different(values: list[Any]) -> None:
    found: dict[bytes, Any] = {}
    for value in values:
        key = canonical(value)
        assert key not in found, (found[key], value)
        found[key] = value
    assert len({canonical([value]) for value in values}) == len(values)


def test_what_is_made_in_a_default_order_is_no_set() -> None:
    numbers = [*range(1000)]
    assert canonical(dict.fromkeys(numbers)) != canonical(dict.fromkeys(reversed(numbers)))
    assert canonical({*numbers}) == canonical({*reversed(numbers)})


# Other processes.


KEYS = """
    import hashlib, pickle, sys, warnings
    sys.path.insert(0, sys.argv[1])
    warnings.simplefilter("ignore")
    from snapshot.memo.canonical import canonical
    from tests import hashing_libraries, hashing_oracles

    def tell(name, values):
        for value in values:
            for each in (value, (bytearray(), [value])):
                print(name, hashlib.sha256(canonical(each)).hexdigest(), end=" ")
            print()

    def made_for(library):
        for table in (hashing_libraries.EQUAL, hashing_libraries.DIFFERENT):
            for name, (needed, made) in table.items():
                if needed == library:
                    yield name, hashing_libraries.values(library, made)

    for name in sys.argv[2:]:
        if name.endswith(".pickle"):
            with open(name, "rb") as file:
                tell("value", pickle.load(file))
        else:
            for name, values in [*made_for(name), *made_for(name)]:
                tell(name, values)
    if not sys.argv[2:]:
        for table in (hashing_oracles.EQUAL, hashing_oracles.DIFFERENT):
            for name, made in table.items():
                tell(name, made())
    print("done")
"""


def test_keys_are_the_same_in_every_process(start: Start) -> None:
    assert len(told_with_each(SEEDS, start)) == 1


LIBRARIES = sorted({library for library, _ in hashing_libraries.EQUAL.values()})


@pytest.mark.parametrize("library", LIBRARIES)
def test_values_of_libraries(start: Start, library: str) -> None:
    require(library.partition(".")[0])
    (told,) = told_with_each(SEEDS[:2], start, library)
    found: dict[str, list[str]] = {}
    for line in told.splitlines()[:-1]:
        found.setdefault(line.partition(" ")[0], []).append(line)
    for name, (needed, _) in hashing_libraries.EQUAL.items():
        assert needed != library or len(set(found[name])) == 1, name
    for name, (needed, _) in hashing_libraries.DIFFERENT.items():
        if needed == library:  # all of them were made twice
            lines = found.get(name, [])
            assert lines[: len(lines) // 2] == lines[len(lines) // 2 :], name
            assert len(set(lines)) == len(lines) // 2, name


def test_keys_of_any_plain_data_are_the_same_in_every_process(start: Start, tmp_path: Path) -> None:
    values: list[Any] = []

    @settings(max_examples=200, database=None)
    @given(data())
    def collect(value: Any) -> None:
        values.append(value)

    collect()
    path = tmp_path / "values.pickle"
    path.write_bytes(pickle.dumps([*values, pickle.loads(pickle.dumps(values))]))
    (told,) = told_with_each(SEEDS, start, str(path))
    assert sum(line.startswith("value ") for line in told.splitlines()) == len(values) + 1


def told_with_each(seeds: Iterable[str], start: Start, *args: str) -> set[str]:
    programs = [start(KEYS, str(ROOT), *args, env={"PYTHONHASHSEED": seed}) for seed in seeds]
    results = [program.finish(100) for program in programs]
    assert not [result for result in results if not result.stdout.endswith("done\n")]
    return {result.stdout for result in results}


# Any plain data.

ATOMS = st.one_of(
    st.sampled_from([None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, float("nan"), 0j, -0j, 1j, ...]),
    st.sampled_from(["", "a", "1", "\0", "\ud800", "ab", b"", b"a", b"1", 2**31, 2**63, -(2**64)]),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.binary(max_size=4).map(bytearray),
)
KEYS_OF_DICTS = st.recursive(
    st.one_of(st.booleans(), st.integers(-2, 2), st.text("ab", max_size=2), st.binary(max_size=1)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple), st.frozensets(inner, max_size=3)
    ),
    max_leaves=4,
)


def data() -> st.SearchStrategy[Any]:
    """Nested data, small parts of which are often alike."""
    return st.recursive(
        st.one_of(ATOMS, KEYS_OF_DICTS),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.lists(inner, max_size=4).map(collections.deque),
            st.dictionaries(KEYS_OF_DICTS, inner, max_size=4),
            st.dictionaries(KEYS_OF_DICTS, inner, max_size=4).map(collections.OrderedDict),
            st.sets(KEYS_OF_DICTS, max_size=4),
        ),
        max_leaves=12,
    )


def are_same(one: Any, other: Any) -> bool:
    """Whether a function could not tell them apart."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is float:
        return struct.pack("d", one) == struct.pack("d", other)
    if kind is complex:
        return are_same(one.real, other.real) and are_same(one.imag, other.imag)
    if kind in (list, tuple, collections.deque):
        return len(one) == len(other) and all(map(are_same, one, other))
    if kind in (dict, collections.OrderedDict):
        return are_same([*one.items()], [*other.items()])
    if kind in (set, frozenset):
        return len(one) == len(other) and all(any(are_same(a, b) for b in other) for a in one)
    return bool(one == other)


@settings(max_examples=150)
@given(data(), data())
def test_keys_are_equal_where_values_are_the_same(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == are_same(one, other)


@given(st.lists(st.one_of(ATOMS, KEYS_OF_DICTS), min_size=2, max_size=40))
def test_keys_of_small_values_are_equal_where_they_are_the_same(values: list[Any]) -> None:
    for one in values:
        for other in values:
            assert (canonical(one) == canonical(other)) == are_same(one, other)


@given(data())
def test_a_copy_has_the_same_key(value: Any) -> None:
    assert canonical(pickle.loads(pickle.dumps(value))) == canonical(value)


@given(data(), data())
def test_a_value_is_written_alike_beside_any_other(value: Any, other: Any) -> None:
    """Data that is plain to its end is written at once, other data part by part."""
    assert canonical(value) in canonical([value, other])
    assert canonical(value) in canonical({"a": (other, value, bytearray())})


@given(st.lists(st.integers(0, 3), max_size=6), st.lists(st.integers(0, 3), max_size=6))
def test_forms_do_not_run_into_each_other(one: list[int], other: list[int]) -> None:
    forms = [canonical([one, other]), canonical([one + other]), canonical([[one], other])]
    assert len(set(forms)) == len(forms)


# What is refused.


@pytest.mark.parametrize("name", hashing_oracles.refused())
def test_what_means_nothing_elsewhere_is_refused_with_the_way_to_it(name: str) -> None:
    value, path = hashing_oracles.refused()[name]
    with pytest.raises(NotKeyable) as raised:
        canonical(value)
    assert raised.value.path == path
    assert f"at value{path} " in str(raised.value)


def test_the_message_says_what_it_is_where_and_what_to_do() -> None:
    config = {"model": types.SimpleNamespace(lock=threading.Lock())}
    with pytest.raises(NotKeyable) as raised:
        canonical(config, "config")
    assert str(raised.value) == (
        "cannot tell the lock at config['model'].lock from another one in another process: "
        "name the parameter in ignore=, or give its class a __cache_key__"
    )
    assert pickle.loads(pickle.dumps(raised.value)).path == "['model'].lock"


RESOURCES: dict[str, Callable[[], object]] = {
    "lock": threading.Lock,
    "RLock": threading.RLock,
    "event": threading.Event,
    "local": threading.local,
    "TextIOWrapper": lambda: sys.__stdout__,
    "frame": sys._getframe,
    "mmap": lambda: mmap.mmap(-1, 1),
}


@pytest.mark.parametrize("name", RESOURCES)
def test_what_belongs_to_a_process_is_refused(name: str) -> None:
    with pytest.raises(NotKeyable, match="cannot tell the"):
        canonical([RESOURCES[name]()])


def test_open_files_and_sockets_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, socket.socket() as connection:
        for value in (file, file.buffer, connection):
            with pytest.raises(NotKeyable, match=type(value).__name__):
                canonical({"a": value})


def test_coroutines_are_refused() -> None:
    async def coroutine() -> None: ...

    made = coroutine()
    with pytest.raises(NotKeyable, match=r"the coroutine at job\[0\] "):
        canonical([made], "job")
    made.close()


def test_what_is_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(NotKeyable, match="nested too deeply"):
        canonical(deep)
    while deep:
        deep = deep.pop()


def test_what_grows_with_each_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapshot.memo.writing._LONGEST", 1 << 20)
    doubled: list[Any] = [bytearray()]
    for _ in range(100):
        doubled = [doubled, doubled]
    with pytest.raises(NotKeyable, match="too large"):
        canonical(doubled)


def test_what_has_too_many_ways_through_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snapshot.memo.writing._AGAIN", 1000)
    nodes = [hashing_oracles.Node() for _ in range(30)]
    for node in nodes:
        node.others = [*nodes]
    with pytest.raises(NotKeyable, match="too many ways") as raised:
        canonical(nodes)
    assert len(str(raised.value)) < 1000


def test_what_others_have_defined_may_raise() -> None:
    class Broken:
        def __reduce__(self) -> Any:
            raise OSError("gone")

    class Wrong:
        def __reduce__(self) -> Any:
            return 1

    class Asked:
        def __cache_key__(self) -> Any:
            raise KeyError("no")

    for value, why in ((Broken(), "OSError: gone"), (Wrong(), "no tuple"), (Asked(), "KeyError")):
        with pytest.raises(NotKeyable, match=why):
            canonical([value])


# What changes while a program runs.


def test_a_method_that_is_replaced_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    value = hashing_oracles.Two(1, 2)
    before = canonical(value)
    monkeypatch.setattr(hashing_oracles.Two, "joined", lambda self: self.a)
    changed = canonical(value)
    monkeypatch.undo()
    assert before != changed
    assert canonical(value) == before


def test_a_helper_and_a_constant_of_a_method_count(monkeypatch: pytest.MonkeyPatch) -> None:
    value = Measured()
    before = canonical(value)
    monkeypatch.setitem(globals(), "UNIT", 2)
    constant = canonical(value)
    monkeypatch.setitem(globals(), "helped", lambda x: x + 1)
    assert len({before, constant, canonical(value)}) == 3
    monkeypatch.undo()
    LIMITS.append(4)
    assert canonical(value) != before
    LIMITS.pop()
    assert canonical(value) == before


UNIT = 1
LIMITS = [1, 2, 3]
GUARD = threading.Lock()


def helped(x: Any) -> Any:
    return x


class Measured:
    """What one of its methods reads and cannot be written does not count."""

    def value(self) -> Any:
        with GUARD:
            return helped(UNIT) in LIMITS


def test_a_global_of_a_function_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = canonical(hashing_oracles.calling), canonical(hashing_oracles.looked_up)
    monkeypatch.setattr(hashing_oracles, "FACTOR", 4)
    monkeypatch.setitem(hashing_oracles.TABLE, "rate", 3)
    assert canonical(hashing_oracles.calling) != before[0]
    assert canonical(hashing_oracles.looked_up) != before[1]


def test_pickling_an_instance_does_not_change_its_class() -> None:
    class Local:
        pass

    before = canonical(Local)
    Local().__reduce_ex__(2)
    assert canonical(Local) == before


# What it costs.


def test_nothing_large_is_loaded_for_plain_data(python: Run) -> None:
    result = python(
        f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from snapshot.memo.canonical import canonical
        canonical([1, {{"a": (b"b", 1.5)}}])
        canonical([bytearray(), {{1: range(3)}}][:1])
        print(*sys.modules)
        """
    )
    loaded = set(result.stdout.split())
    assert "snapshot.memo.canonical" in loaded, result
    assert not loaded & {"dataclasses", "inspect", "numpy", "snapshot.store.versions"}, result


def test_what_was_put_into_a_module_that_a_method_uses() -> None:
    class Reader:
        def read(self) -> object:
            return json.loads("1")

    before = canonical(Reader())
    with unittest.mock.patch("json.loads", lambda text: text):
        assert canonical(Reader()) != before
    assert canonical(Reader()) == before


def test_the_packages_of_installed_classes_are_told() -> None:
    require("numpy")
    np: Any = importlib.import_module("numpy")
    installed: set[str] = set()
    canonical([1], installed=installed)
    assert not installed
    canonical([np.float64(1)], installed=installed)
    assert "numpy" in installed


def test_large_buffers_stand_by_their_digest() -> None:
    assert len(canonical([b"a" * 10_000_000, bytearray(10_000_000)])) < 500


def test_what_is_registered_for_exceptions_brings_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def raised() -> ValueError:
        try:
            raise ValueError("a")
        except ValueError as error:
            return error

    def with_traceback(error: ValueError) -> Any:
        return ValueError, error.args, {"traceback": str(error.__traceback__ is None)}

    monkeypatch.setitem(copyreg.dispatch_table, ValueError, with_traceback)
    assert canonical(raised()) == canonical(ValueError("a"))
