"""What a store says of heat: sums over days, versions and deployments."""

from __future__ import annotations

import pytest

from snapshot.store import Store, heat
from snapshot.store.heat import Origin, Seen, Sum

DAY = 86400.0
NOON = 20_000 * DAY + DAY / 2  # of a day
OLD = Seen("m:f", b"1" * 16, "m.py", 1, "a")
NEW = Seen("m:f", b"2" * 16, "m.py", 4, "b")
OTHER = Seen("m:g", b"3" * 16, "m.py", 9, "c")


@pytest.fixture
def store(store: Store) -> Store:
    """One in which two deployments of an application, and another one, were counted."""
    count(store, "app", "one", OLD, [(0, 3), (1, 4)])
    count(store, "app", "one", OLD, [(1, 5)], mode="counts")
    count(store, "app", "two", NEW, [(1, 7), (9, 2)])
    count(store, "app", "two", OTHER, [(1, 100)])
    count(store, "else", "one", OLD, [(1, 1000)])
    assert store.catch_up() == []
    return store


def count(
    store: Store,
    application: str,
    deployment: str,
    seen: Seen,
    days: list[tuple[int, int]],
    *,
    mode: str = "activity",
) -> None:
    """Say that it ran: pairs of a day and its hits."""
    origin = Origin(application, deployment, "3.12")
    spool = store.spool
    spool.append(heat.KIND, heat.told_functions(origin, [(0, seen)]))
    sums = [Sum(0, hits, NOON + day * DAY, NOON + day * DAY + 60) for day, hits in days]
    spool.append(heat.KIND, heat.told_sums(mode, sums))


def test_hits_are_summed_over_days_and_modes(store: Store) -> None:
    found = {(each.seen, each.deployment): each for each in store.heat.hits("app")}
    assert set(found) == {(OLD, "one"), (NEW, "two"), (OTHER, "two")}
    old = found[OLD, "one"]
    assert (old.hits, old.first, old.last) == (12, NOON, NOON + DAY + 60)
    assert old.modes == {"activity", "counts"}
    assert (found[NEW, "two"].hits, found[NEW, "two"].last) == (9, NOON + 9 * DAY + 60)


def test_what_ran_before_is_left_out(store: Store) -> None:
    of_one = store.heat.hits("app", key=NEW.key)
    assert of_one == [each for each in store.heat.hits("app") if each.seen.key == NEW.key] != []
    assert store.heat.hits("app", key="m:nobody") == []
    assert store.heat.hits("app", key="m:\0\udcff") == []
    found = {each.seen: each.hits for each in store.heat.hits("app", NOON + DAY)}
    assert found == {OLD: 9, NEW: 9, OTHER: 100}
    assert {each.seen: each.hits for each in store.heat.hits("app", NOON + 5 * DAY)} == {NEW: 2}


def test_days_are_told_of_each_version(store: Store) -> None:
    begin = NOON - DAY / 2
    assert sorted(store.heat.days("app", "m:f")) == [
        (OLD, begin, 3),
        (OLD, begin + DAY, 9),
        (NEW, begin + DAY, 7),
        (NEW, begin + 9 * DAY, 2),
    ]
    days = [day for _, day, _ in store.heat.days("app", "m:f")]
    assert days == sorted(days)
    assert store.heat.days("app", "m:nothing") == []
