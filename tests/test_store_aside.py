"""Calls that are put aside and taken back: one contract for SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from snapshot.errors import AsideGone, UnknownCall
from snapshot.store import Store, archive, database, events, schema
from snapshot.store.aside import AS_LONG
from snapshot.store.calls import Call
from snapshot.store.events import Outcome
from snapshot.store.objects import pack
from tests import stores
from tests.processes import Result
from tests.stores import Made, make

LARGE = np.arange(1 << 17, dtype=np.int64)  # 1 MiB
LONG = "long " * 50  # too long to be stored with the call itself


@pytest.fixture
def other(where: str, store: Store) -> Iterator[Store]:
    """The same store, as of another process."""
    with Store(where) as opened:
        yield opened


def wait_out(store: Store) -> None:
    """Have the calls that are put aside be there for longer than they can be taken back."""
    store._database.rows("UPDATE asides SET put = put - ?", (AS_LONG + 1,))


def everything(store: Store) -> dict[int, tuple[Call, object]]:
    return {each.id: (each, loaded(store, each)) for each in store.calls.find()}


def loaded(store: Store, call: Call) -> object:
    values = (call.arguments, call.result)
    return [repr(store.calls.load(each)) for each in values if each is not None]


def test_what_is_put_aside_comes_back_as_it_was(store: Store, other: Store) -> None:
    ids = make(
        store,
        Made(args=(LONG,), result=LARGE),
        Made("m:g", raised=("KeyError", "x"), parent=0),
        Made("m:h", args=(LARGE,), parent=1, took=None),
    )
    before = everything(store)
    began = time.time()
    aside = store.put_aside([ids[1], ids[2], ids[1], 99])
    assert (aside.calls, aside.label) == (2, "2 functions")
    assert began <= aside.put <= time.time()
    assert other.asides() == [aside]
    assert other.calls.ids() == ids[:1]
    assert other.take_back(aside.id) == 2
    assert everything(store) == before
    assert store.asides() == []
    assert store._database.rows("SELECT * FROM aside_errors") == []
    assert store._database.rows("SELECT * FROM aside_calls") == []
    with pytest.raises(AsideGone, match=f"put aside under {aside.id} .*60 minutes"):
        store.take_back(aside.id)
    assert store.put_aside(ids[:1]).label == "m:f"


def test_nobody_sees_what_is_put_aside(store: Store, tmp_path: Path) -> None:
    gone, child = make(store, Made(args=(LONG,), raised=("E", "t")), Made("m:g", parent=0))
    aside = store.put_aside([gone])
    assert store.calls.ids() == [child]
    assert store.calls.count() == store.calls.count(search="m") == 1
    assert [each.id for each in store.calls.find(search="m")] == [child]
    assert list(store.calls.find(search="E t")) == []
    assert store.calls.functions() == ["m:g"]
    assert [each.key for each in store.calls.summaries()] == ["m:g"]
    assert store.calls.versions("m:f") == []
    assert store.calls.ancestors(child) == []
    assert [each.calls for each in store.calls.sessions()] == [1]
    assert [each.uses for each in store.objects.listing()] == [0]
    assert store.users_of(pack(((LONG,), {})).digest) == []
    for ask in (store.calls.get, store.calls.neighbours, store.calls.ancestors):
        with pytest.raises(UnknownCall):
            ask(gone)
    with pytest.raises(UnknownCall):
        archive.write(store, [gone], tmp_path / "archive")
    assert store.delete([gone]) == 0
    for numbers in ([gone], []):
        with pytest.raises(UnknownCall, match="none of these calls"):
            store.put_aside(numbers)
    assert store.take_back(aside.id) == 1
    assert [each.id for each in store.calls.ancestors(child)] == [gone]


def test_an_id_is_never_anothers(store: Store) -> None:
    (first,) = make(store, Made(args=("first",)))
    aside = store.put_aside([first])
    (second,) = make(store, Made(args=("second",)))
    store.delete([second])
    (third,) = make(store, Made(args=("third",)))
    assert len({first, second, third}) == 3
    store.take_back(aside.id)
    assert store.calls.ids() == [first, third]
    again = store.put_aside([first])
    assert again.id != aside.id
    with pytest.raises(AsideGone):
        store.take_back(aside.id)


def test_what_they_refer_to_stays_whatever_others_free(store: Store, other: Store) -> None:
    ids = make(
        store, Made(args=(LONG,), result=LARGE), Made(args=(LONG,)), Made(result=[LARGE, LONG])
    )
    before = everything(store)
    first, second = store.put_aside(ids[:1]), store.put_aside(ids[2:])
    other.delete([ids[1]])
    other.vacuum()
    state, _ = other.results.enter("m:f", "group", b"state", dict)
    other.results.put(
        *(b"key", state, pack(((LONG,), {}))), raised=False, arguments={}, cost=1, worth=min_worth
    )
    _, freed = other.results.forget([b"key"])
    other.release(freed)
    assert [each.id for each in other.asides()] == [second.id, first.id]
    store.take_back(first.id)
    store.take_back(second.id)
    del before[ids[1]]
    assert everything(store) == before


def min_worth(*_: object) -> float:
    return 1.0


@pytest.mark.parametrize("by", ["put_aside", "delete", "vacuum"])
def test_after_an_hour_they_go_for_good(store: Store, other: Store, by: str) -> None:
    ids = make(
        store,
        Made(args=(LONG,), result=LARGE, raised=("E", "")),
        Made(args=(LONG,)),
        Made(args=(LONG[1:],)),
    )
    aside = store.put_aside(ids[:1])
    objects = len(list(store.objects.ids()))
    wait_out(store)
    if by == "put_aside":
        (new,) = [other.put_aside(ids[2:])]
        assert other.asides() == [new]
    elif by == "delete":
        assert other.delete([]) == 0
    else:
        assert other.vacuum() == 2
    with pytest.raises(AsideGone):
        store.take_back(aside.id)
    assert len(list(store.objects.ids())) == objects - 2  # the array, and what has it
    assert pack(((LONG,), {})).digest in store.objects
    assert not any(path.is_file() for path in (store.place.folder / "objects").rglob("*"))
    assert store._database.rows("SELECT * FROM aside_errors") == []


def test_a_call_may_end_while_it_is_put_aside(store: Store) -> None:
    facts = {"session": "s", "parent": None, "forked": 0, "pid": 1, "host": "h", "python": "3"}
    function = {"number": 1, "key": "m:f", "digest": "00" * 32, "source": ""}
    for record in (
        events.told("process", facts),
        events.told("function", function),
        events.told("thread", {"number": 1, "name": "t"}),
        *(events.entered(n, 1, 0, n, 1, events.LATER, b"") for n in (1, 2)),
    ):
        store.spool.append(events.KIND, record)
    store.fold()
    ids = store.calls.ids()
    aside = store.put_aside(ids)
    for n, raised in ((1, None), (2, ("E", "text"))):
        arguments = events.later(n, "arguments", stores.content(((LONG, n), {})))
        store.spool.append(events.KIND, arguments)
        store.spool.append(events.KIND, stores.left(n, Made(result=LONG, raised=raised, took=2)))
    store.fold()
    store.spool.close()
    store.vacuum()
    assert store.calls.count() == 0
    store.take_back(aside.id)
    first, second = store.calls.find()
    assert (first.outcome, first.duration, first.failure) == (Outcome.returned, 2, None)
    assert second.failure is not None
    assert (second.outcome, second.failure.text) == (Outcome.raised, "text")
    for n, call in ((1, first), (2, second)):
        assert loaded(store, call) == [repr(((LONG, n), {})), repr(LONG)]


def test_who_is_killed_while_putting_aside_has_done_nothing(
    where: str, store: Store, python: Callable[..., Result]
) -> None:
    ids = make(store, Made(args=(LONG,), raised=("E", "")), Made(result=LARGE))
    before = everything(store)
    source = """
    import os, sys
    from snapshot.store import Store
    from snapshot.store.aside import Asides
    Asides._move = lambda *_: os.kill(os.getpid(), 9)  # what was put there is still here
    with Store(sys.argv[1]) as store:
        store.put_aside(store.calls.ids())
    """
    assert python(source, where).signal == signal.SIGKILL
    assert everything(store) == before
    assert store.asides() == []
    assert store._database.rows("SELECT * FROM aside_calls") == []
    assert store.put_aside(ids).calls == 2


def test_what_would_go_with_calls(store: Store) -> None:
    ids = make(
        store,
        Made(args=(LONG,), result=LARGE),
        Made(args=(LONG,), result=[LARGE, "a"]),
        Made(args=(LONG[1:],), result=[LARGE + 1, LARGE + 1]),
        Made(result=[LARGE + 1, "b"]),
        Made(),
    )
    assert store.would_free([]) == store.would_free([ids[4], 99]) == []
    for some in itertools.chain.from_iterable(
        itertools.combinations(ids, n) for n in range(len(ids) + 1)
    ):
        would = store.would_free([*some, *some])
        going = not_of(store, set(ids) - set(some))
        assert {each.digest for each in would} <= going.keys()
        assert sum(each.size for each in would) == sum(going.values())
        assert [each.size for each in would] == sorted((e.size for e in would), reverse=True)
    assert {each.type for each in store.would_free(ids)} == {"tuple", "list", "numpy.ndarray"}
    before, going = {digest for digest, _ in store.objects.ids()}, not_of(store, {*ids[1:3]})
    assert store.delete([*ids[:1], *ids[3:]]) == 3
    assert {digest for digest, _ in store.objects.ids()} == before - going.keys()


def not_of(store: Store, calls: set[int]) -> dict[bytes, int]:
    """The objects that none of some calls has, and their sizes."""
    refer = "SELECT id, arguments_object, result_object FROM calls"
    used = {each for number, *row in store._database.rows(refer) if number in calls for each in row}
    rows = store._database.rows("SELECT object, buffer FROM buffers")
    used |= {buffer for number, buffer in rows if number in used}
    sizes = store._database.rows("SELECT id, digest, size FROM objects")
    return {bytes(digest): size for number, digest, size in sizes if number not in used}


def test_what_somebody_else_refers_to_would_stay(store: Store) -> None:
    ids = make(store, Made(args=(LONG,)), Made(args=(LONG,)))
    assert store.would_free(ids[:1]) == []
    (only,) = store.would_free(ids)
    assert (only.type, only.size) == ("tuple", store.objects.show(only.digest).size)
    aside = store.put_aside(ids[1:])
    assert store.would_free(ids[:1]) == []
    store.take_back(aside.id)
    number = store.objects.id(only.digest)
    store._database.rows("INSERT INTO held (spool, object) VALUES ('x', ?)", (number,))
    assert store.would_free(ids) == []


def test_a_store_of_the_third_version_is_brought_forward(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        for module in (schema, database):
            earlier.setattr(module, "MIGRATIONS", schema.MIGRATIONS[:3])
            earlier.setattr(module, "VERSION", 3)
        with Store(where, create=True) as store:
            ids = make(store, Made(args=(LONG,)), Made(parent=0, raised=("E", "t"), result=LARGE))
            before = everything(store)
            assert store.asides() == []
            assert store.calls.count(search="t") == 1
            assert [each.id for each in store.calls.below(ids[0])[0]] == ids[1:]
            assert len(store.objects.listing()) == 2
    with Store(where) as store:
        assert everything(store) == before
        aside = store.put_aside(ids)
        store.vacuum()
        assert store.take_back(aside.id) == 2
        assert everything(store) == before


# Whatever is done, in whatever order, by whom.

VALUES = (LONG, LARGE, [LARGE, 1], [LARGE + 1, LONG], 7)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["make", "put", "put", "take", "take", "delete", "vacuum", "wait"]),
        st.integers(0, 999),
        st.booleans(),
    ),
    min_size=4,
    max_size=16,
)


@hypothesis.given(STEPS)
@hypothesis.settings(
    max_examples=30, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_nothing_is_lost_and_nothing_is_left(
    store: Store, other: Store, steps: list[tuple[str, int, bool]]
) -> None:
    model = Model(store)
    for what, number, elsewhere in steps:
        model.step(what, number, other if elsewhere else store)
        assert everything(store) == model.seen
        assert {each.id: each.calls for each in store.asides()} == {
            aside: len(calls) for aside, calls in model.aside.items()
        }
    store.vacuum()
    model.forget_old()
    for aside, calls in model.aside.items():
        assert store.take_back(aside) == len(calls)
        model.seen |= calls
    assert everything(store) == model.seen
    store.delete(store.calls.ids())
    assert list(store.objects.ids()) == []
    assert not any(path.is_file() for path in (store.place.folder / "objects").rglob("*"))


class Model:
    """What is to be in a store. seen: calls, and what they hold. aside: the same, by asides."""

    def __init__(self, store: Store) -> None:
        self.seen: dict[int, tuple[Call, object]] = {}
        self.aside: dict[int, dict[int, tuple[Call, object]]] = {}
        self._old: set[int] = set()
        self._store = store

    def step(self, what: str, number: int, by: Store) -> None:
        some = [each for n, each in enumerate(self.seen) if number >> n % 10 & 1]
        if what == "make":
            first, second = VALUES[number % 5], VALUES[number // 5 % 5]
            error = ("E", "t") if number % 2 else None
            make(by, Made(args=(first,), result=second), Made(args=(second,), raised=error))
            known = self.seen.keys() | {each for calls in self.aside.values() for each in calls}
            new = {each: call for each, call in everything(by).items() if each not in self.seen}
            assert len(new.keys() - known) == 2
            self.seen |= new
        elif what == "put" and some:
            self.forget_old()
            self.aside[by.put_aside(some).id] = {each: self.seen.pop(each) for each in some}
        elif what == "take" and self.aside:
            aside = [*self.aside][number % len(self.aside)]
            assert by.take_back(aside) == len(self.aside[aside])
            self.seen |= self.aside.pop(aside)
            self.seen = dict(sorted(self.seen.items()))
        elif what == "delete":
            self.forget_old()
            assert by.delete(some) == len(some)
            for each in some:
                del self.seen[each]
        elif what == "vacuum":
            self.forget_old()
            by.vacuum()
        elif what == "wait":
            wait_out(by)
            self._old |= self.aside.keys()
        self._old &= self.aside.keys()

    def forget_old(self) -> None:
        """As whoever deletes, puts aside or vacuums does."""
        for each in self._old:
            self.aside.pop(each, None)
        self._old.clear()
