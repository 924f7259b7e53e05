"""What is found among the calls and values of a store: one contract for SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snapshot.errors import UnknownCall, UnknownObject, UsageError
from snapshot.store import Store
from snapshot.store.calls import Order, Which
from snapshot.store.database import Row
from snapshot.store.events import Outcome
from snapshot.store.objects import pack
from snapshot.store.users import User
from tests.stores import Made, make

LARGE = np.arange(1 << 17, dtype=np.int64)  # 1 MiB
LONG = "long " * 50  # too long to be stored with the call itself


# Lists of calls.


def test_calls_come_in_the_order_that_is_asked_for(store: Store) -> None:
    ids = make(
        store,
        Made("m:b", started=3, took=2),
        Made("m:a", started=1, took=3),
        Made("m:b", started=2, took=1),
        Made("m:c", started=4, took=None),
        Made("m:a", started=5, took=2),
    )
    orders: dict[Order, list[int]] = {
        "started": [1, 2, 0, 3, 4],
        "duration": [3, 2, 0, 4, 1],
        "function": [1, 4, 2, 0, 3],
    }
    for order, expected in orders.items():
        in_order = [ids[n] for n in expected]
        for newest in (False, True):
            found = [each.id for each in store.calls.find(order=order, newest=newest)]
            assert found == (in_order[::-1] if newest else in_order)
            pages = [
                [
                    each.id
                    for each in store.calls.find(
                        order=order, newest=newest, limit=limit, offset=offset
                    )
                ]
                for limit, offset in ((2, 0), (2, 2), (None, 4), (2, 9))
            ]
            assert pages == [found[:2], found[2:4], found[4:], []]


def test_more_calls_than_a_statement_names_keep_their_order(store: Store) -> None:
    ids = make(store, *(Made(started=n * 7 % 1201) for n in range(1201)))
    expected = [number for _, number in sorted((n * 7 % 1201, ids[n]) for n in range(1201))]
    assert [each.id for each in store.calls.find()] == expected
    assert [each.id for each in store.calls.find(offset=1000, limit=150)] == expected[1000:1150]


def test_what_is_counted_is_what_is_found(store: Store) -> None:
    first = make(
        store,
        Made("m:f", args=("Alice",), started=1, took=1),
        Made("m:C.f", parent=0, started=2, took=5, raised=("KeyError", "Bob")),
        Made("m:g", started=3, took=None),
    )
    make(store, Made("n:f", started=4, took=2), session="t")
    cases: tuple[tuple[Which, int], ...] = (
        ({}, 4),
        ({"function": "f"}, 3),
        ({"function": "C.f"}, 1),
        ({"function": "nobody"}, 0),
        ({"outcome": Outcome.raised}, 1),
        ({"outcome": Outcome.running}, 1),
        ({"since": 2}, 3),
        ({"until": 2}, 1),
        ({"slower": 1}, 2),
        ({"faster": 2}, 1),
        ({"slower": 1, "faster": 5}, 1),
        ({"session": "t"}, 1),
        ({"parent": first[0]}, 1),
        ({"search": "alice"}, 0),
        ({"search": "Alice"}, 1),
        ({"search": "bob", "function": "f", "slower": 1, "session": "s"}, 1),
        ({"search": " "}, 4),
    )
    for which, expected in cases:
        found = list(store.calls.find(**which))
        assert (len(found), store.calls.count(**which)) == (expected, expected), which
    with pytest.raises(TypeError):
        store.calls.count(functions="f")  # type: ignore[call-arg]


# Searches.


def test_each_word_of_a_search_is_found_somewhere(store: Store) -> None:
    ids = make(
        store,
        Made("shop.orders:Cart.total", args=("Straße 100%", 7), result="sum_of"),
        Made("shop.orders:Cart.add", raised=("shop.NoSuchItem", "Der Ärger mit 'Äpfeln'\0")),
        Made("shop:ship", args=([f"{LONG}Ünïcode"] * 2,), result=1),
        Made("shop:ship", args=(1,), result={"city": f"{LONG[:20]} Paris", "x": "y" * 200}),
        Made("shop:größe", args=("\ud800x",), result="語"),
    )
    for search, expected in (
        ("cart", [0, 1]),
        ("CART TOTAL", [0]),
        ("total cart", [0]),
        ("cart ship", []),
        ("100%", [0]),
        ("%", [0]),
        ("100_", []),
        ("sum_of", [0]),
        ("sumxof", []),
        ("_", [0]),
        ("Straße", [0]),
        ("STRAßE", []),  # in a small value as it is written
        ("nosuchitem", [1]),
        ("ärger ÄPFELN", [1]),
        ("'äpfeln'\0", [1]),
        ("long ship", [2, 3]),
        ("LONG", [2, 3]),
        ("paris", [3]),
        ("GRÖSSE", []),
        ("GRÖßE", [4]),
        ("語", [4]),
        ("\ud800x", [4]),
        ("!", []),
        ("\\", [1]),  # in which a null character is written
        ("nothing", []),
    ):
        found = [each.id for each in store.calls.find(search=search)]
        assert found == [ids[n] for n in expected], search
        assert store.calls.count(search=search) == len(expected), search


def test_a_search_of_values_knows_the_same_letters(store: Store) -> None:
    digests = {text: store.objects.put([text]) for text in ("Ärger 5%", "50 äpfel", "x_y", "xzy")}
    store.objects.put(LARGE)
    for search, expected in (
        ("ä", ["Ärger 5%", "50 äpfel"]),
        ("ÄRGER LIST", ["Ärger 5%"]),
        ("5%", ["Ärger 5%"]),
        ("x_y", ["x_y"]),
        ("NDARRAY", []),
    ):
        found = {each.digest for each in store.objects.listing(search=search)}
        found.discard(pack(LARGE).digest)
        assert found == {digests[each] for each in expected}, search
    assert store.objects.count("ndarray") == 1
    assert store.objects.count() == 5


LETTERS = (
    "İstanbul",
    "I\N{LATIN SMALL LETTER DOTLESS I}",
    "IRIS",
    "iris",
    "ΣΊΣΥΦΟΣ",
    "Σίσυφος",
    "\N{LATIN SMALL LETTER LONG S}S",
    "ẞ",
    "ß",
    "\N{KELVIN SIGN}",
)


def test_a_text_is_found_as_it_is_written_whatever_its_letters(store: Store) -> None:
    digests = {text: store.objects.put([text]) for text in LETTERS}
    for search, digest in digests.items():
        found = {each.digest for each in store.objects.listing(search=search)}
        assert digest in found, search
        assert (digests["ß"] in found) == (search == "ß")


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_the_language_of_a_database_changes_no_order_and_no_letter(where: str) -> None:
    import psycopg

    with psycopg.connect(where, autocommit=True) as server:
        if server.info.server_version < 150000:
            pytest.skip("a database has its own language by ICU from PostgreSQL 15 on")
        server.execute("DROP DATABASE IF EXISTS turkish")
        server.execute(
            "CREATE DATABASE turkish LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' TEMPLATE template0"
        )
    with Store(where.replace("/postgres?", "/turkish?"), create=True) as store:
        keys = ["m:Beta", "m:Zed", "m:_under", "m:alpha", "m:éa"]
        make(store, *(Made(each, (f"IRIS {LONG}",)) for each in reversed(keys)))
        assert store.calls.functions() == keys
        assert [each.function.key for each in store.calls.find(order="function")] == keys
        digests = [store.objects.put([text]) for text in ("Iris", "_iris", "iris")]
        found = [each.digest for each in store.objects.listing(order="type", search="iris")]
        assert found == [*digests, *found[3:]]
        assert len(found) == 4
        assert store.calls.count(search="iris") == len(keys)


# What functions, versions and sessions there are.


def test_the_sums_of_functions(store: Store) -> None:
    assert store.calls.summaries() == []
    assert store.calls.summary("m:f") is None
    make(
        store,
        Made("m:g", started=10, took=None),
        Made("m:f", started=2, took=1),
        Made("m:f", started=5, took=3, raised=("E", ""), version=1),
        Made("m:f", started=4, took=None),
    )
    f, g = store.calls.summaries()
    assert (store.calls.summary(f.key), store.calls.summary(g.key)) == (f, g)
    assert store.calls.summary("f") is None
    assert (f.key, f.calls, f.raised, f.total, f.longest, f.first, f.last) == (
        *("m:f", 3, 1),
        *(4, 3, 2, 5),
    )
    assert (g.key, g.calls, g.raised, g.total, g.longest, g.first, g.last) == (
        *("m:g", 1, 0),
        *(0, 0, 10, 10),
    )


def test_versions_are_what_a_function_does(store: Store) -> None:
    make(
        store,
        Made(version=1, started=1),
        Made(version=2, started=2),
        Made(version=1, line=7, started=9),
        Made("m:C.f", version=3, started=3),
    )
    new, old = store.calls.versions("m:f")
    assert (int.from_bytes(new.digest), new.calls, new.first, new.last) == (1, 2, 1, 9)
    assert new.function.facts["line"] == 7
    assert (int.from_bytes(old.digest), old.calls, old.first, old.last) == (2, 1, 2, 2)
    assert old.function.key == "m:f"
    assert store.calls.versions("f") == []  # a key, and not the end of one
    store.delete([call.id for call in store.calls.find(until=2.5, function="m:f")])
    assert [(int.from_bytes(each.digest), each.calls) for each in store.calls.versions("m:f")] == [
        (1, 1)
    ]


def test_durations_are_counted_on_a_logarithmic_scale(store: Store) -> None:
    make(store, *(Made(took=each) for each in (0, 2e-6, 2e-3, 2e-3, 2, 100, None)))
    make(store, Made("m:other", took=1e4))
    found = store.calls.durations("m:f", bins=8)
    assert [count for _, _, count in found] == [2, 0, 0, 2, 0, 0, 1, 1]
    assert found[0][0] == pytest.approx(1e-6)
    assert found[-1][1] == pytest.approx(100)
    for (low, high, _), (after, _, _) in itertools.pairwise(found):
        assert high == after
        assert high / low == pytest.approx(10)
    assert len(store.calls.durations("m:f")) == 40
    assert store.calls.durations("m:other") == [(1e4, 1e4, 1)]
    assert store.calls.durations("m:nobody") == []
    with pytest.raises(UsageError, match="at least one bin, not 0"):
        store.calls.durations("m:f", bins=0)


def test_sessions_are_those_of_forks(store: Store) -> None:
    make(store, Made(started=1), Made(started=4), session="old", pid=11)
    make(store, Made(started=2), session="new", pid=21)
    make(store, Made(started=7), session="old", pid=12)
    new, old = store.calls.sessions()
    assert (new.name, new.facts["pid"], new.processes, new.calls) == ("new", 21, 1, 1)
    assert (old.name, old.facts["pid"], old.processes, old.calls) == ("old", 11, 2, 3)
    assert (old.first, old.last) == (1, 7)
    store.delete([each.id for each in store.calls.find(session="old", until=5)])
    assert [each.facts["pid"] for each in store.calls.sessions()] == [12 - 1, 21]
    store.delete(store.calls.ids())
    assert store.calls.sessions() == []


# What has made which.


def test_what_is_above_a_call_and_below_it(store: Store) -> None:
    ids = make(
        store,
        Made("m:root", started=1),
        Made("m:b", parent=0, started=5, took=None),
        Made("m:a", parent=0, started=2, raised=("E", "")),
        Made("m:a", parent=2, started=3),
        Made("m:c", parent=1, started=6),
        Made("m:other", started=2),
    )
    assert [each.id for each in store.calls.ancestors(ids[3])] == [ids[0], ids[2]]
    assert store.calls.ancestors(ids[0]) == []
    found, cut = store.calls.below(ids[0])
    assert ([each.id for each in found], cut) == ([ids[n] for n in (2, 3, 1, 4)], False)
    a, _, b, _ = found
    assert (a.key, a.parent, a.started, a.duration, a.outcome) == (
        *("m:a", ids[0], 2.0, 1.0),
        Outcome.raised,
    )
    assert (b.duration, b.outcome) == (None, Outcome.running)
    assert store.calls.below(ids[3]) == ([], False)
    for most in range(5):
        found, cut = store.calls.below(ids[0], most)
        assert (len(found), cut) == (most, most < 4)
        known = {ids[0], *(each.id for each in found)}
        assert all(each.parent in known for each in found)
    with pytest.raises(UnknownCall, match="no call 99"):
        store.calls.ancestors(99)


def test_a_parent_that_is_gone_and_a_circle_end_what_is_followed(store: Store) -> None:
    ids = make(store, *(Made(parent=n - 1 if n else None, started=n) for n in range(5)))
    store.delete([ids[1]])
    assert [each.id for each in store.calls.ancestors(ids[4])] == ids[2:4]
    assert store.calls.below(ids[0]) == ([], False)
    assert [each.id for each in store.calls.below(ids[1])[0]] == ids[2:]
    for parent in (ids[4], ids[2]):  # a circle, and a call that has made itself
        store._database.rows("UPDATE calls SET parent = ? WHERE id = ?", (parent, ids[2]))
        assert ids[4] not in [each.id for each in store.calls.ancestors(ids[4])]
        for each in (1, 2, 10):
            found, _ = store.calls.below(ids[2], each)
            assert [call.id for call in found] == ids[3:5][:each]
        assert len(store.calls.below(ids[4])[0]) <= 2


def test_calls_within_calls_as_deep_as_it_gets(store: Store) -> None:
    ids = make(store, *(Made(parent=n - 1 if n else None, started=n) for n in range(1500)))
    assert [each.id for each in store.calls.ancestors(ids[-1])] == ids[:-1]
    found, cut = store.calls.below(ids[0])
    assert ([each.id for each in found], cut) == (ids[1:], False)


def test_neighbours_are_calls_of_the_same_function(store: Store) -> None:
    ids = make(
        store,
        Made("m:f", started=3),
        Made("m:f", started=1, version=1),
        Made("m:f", started=3),
        Made("m:g", started=2),
        Made("m:C.f", started=2),
    )
    assert store.calls.neighbours(ids[0]) == (ids[1], ids[2])
    assert store.calls.neighbours(ids[1]) == (None, ids[0])
    assert store.calls.neighbours(ids[2]) == (ids[0], None)
    assert store.calls.neighbours(ids[3]) == (None, None)
    with pytest.raises(UnknownCall):
        store.calls.neighbours(99)


# Values, and who refers to them.


def test_values_are_listed_with_their_buffers(store: Store) -> None:
    small, large = {"a": LONG}, {"array": LARGE}
    make(store, Made(args=(small,)), Made(args=(small,)), Made(result=large), Made(result=large))
    make(store, Made(result=large))
    alone = store.objects.put([1, 2])
    by_size = store.objects.listing()
    assert [(each.type, each.uses) for each in by_size] == [("dict", 3), ("tuple", 2), ("list", 0)]
    assert by_size[0].size > LARGE.nbytes
    assert by_size[0].size == store.objects.show(by_size[0].digest).size
    assert by_size[2].digest == alone
    assert by_size[2].text == "[1, 2]"
    assert [each.type for each in store.objects.listing(order="type")] == ["dict", "list", "tuple"]
    assert [each.uses for each in store.objects.listing(order="uses")] == [3, 2, 0]
    assert store.objects.listing(limit=1, offset=1) == by_size[1:2]
    assert store.objects.listing(offset=1) == by_size[1:]
    assert store.objects.listing(limit=0) == []
    assert store.objects.count() == 3
    assert len(list(store.objects.ids())) == 4


def test_who_refers_to_a_value(store: Store) -> None:
    given, got = ("x" * 500,), {"y": LONG, "array": LARGE}
    ids = make(store, Made(args=given, result=got), Made("m:g", args=given, result=(given, {})))
    both = store.objects.put((given, {}))
    assert store.users_of(both) == [
        User("call", ids[0], "arguments", "m:f"),
        User("call", ids[1], "arguments", "m:g"),
        User("call", ids[1], "result", "m:g"),
    ]
    assert store.users_of(both, 2) == store.users_of(both)[:2]
    assert store.users_of(both, 0) == []
    packed = pack(got)
    ((buffer, _),) = packed.buffers
    (user,) = store.users_of(buffer)
    assert (user.kind, user.id, user.role) == ("value", packed.digest.hex(), "buffer")
    state = keep(store, b"key", (given, {}))
    store._database.rows(
        "UPDATE states SET facts = ? WHERE id = ?", (store.objects.id(packed.digest), state)
    )
    assert store.users_of(both)[3:] == [User("memo", b"key".hex(), "result", "m:memoized")]
    assert store.users_of(packed.digest)[1:] == [
        User("state of a memoized function", b"state".hex(), "surroundings", "m:memoized")
    ]
    uses = {each.digest: each.uses for each in store.objects.listing(order="uses")}
    assert (uses[both], uses[packed.digest]) == (4, 2)
    with pytest.raises(UnknownObject):
        store.users_of(bytes(32))


def keep(store: Store, key: bytes, value: object) -> int:
    """Have memo keep a result; the state of its function."""
    state, _ = store.results.enter("m:memoized", "group", b"state", dict)
    store.results.put(
        *(key, state, pack(value)), raised=False, arguments={}, cost=1, worth=lambda *_: 1
    )
    return state


# Many.


def test_a_page_reads_no_more_than_it_must(tmp_path: Path) -> None:
    """What SQLite says that it would do: no list of values reads these themselves."""
    with Store(tmp_path / "store.db", create=True) as store:
        asked: list[str] = []
        rows = store._database.rows

        def noted(sql: str, values: Sequence[Any] = ()) -> list[Row]:
            asked.append(sql)
            return rows(sql, values)

        store._database.rows = noted  # type: ignore[method-assign]
        plans: list[tuple[Callable[[], object], str]] = [
            (lambda: store.objects.listing(order="type"), "COVERING INDEX objects_shown"),
            (lambda: store.objects.listing(search="x y"), "COVERING INDEX objects_shown"),
            (lambda: list(store.calls.find(search="x")), "COVERING INDEX objects_shown"),
            (lambda: list(store.calls.find(parent=1)), "USING INDEX calls_parent"),
            (lambda: store.calls.below(1), "USING INDEX calls_parent"),
        ]
        for ask, expected in plans:
            asked.clear()
            ask()
            sql = next(each for each in asked if "ORDER BY" in each)
            plan = rows(f"EXPLAIN QUERY PLAN {sql}", [""] * sql.count("?"))
            assert any(expected in each[3] for each in plan), (sql, plan)
