"""What is evicted first, and how long results hold: snapshot.memo.policies, snapshot.memo.ttl."""

from __future__ import annotations

import datetime
import time
from collections import OrderedDict
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot.errors import UsageError
from snapshot.memo.policies import LRU, Entry, GreedyDualSize, ReplacementPolicy
from snapshot.memo.ttl import TTLInterval


class Wanted(NamedTuple):
    """A result that somebody asks for."""

    name: int
    size: int
    cost: int


# Sizes are powers of two, so that no worth is rounded.
RESULTS = [Wanted(name, 1 << name % 4, name * name % 7) for name in range(12)]
REQUESTS = st.lists(st.sampled_from(RESULTS), max_size=100)
CAPACITIES = st.integers(8, 32)


def evicted(policy: ReplacementPolicy, requests: Sequence[Wanted], capacity: int) -> list[int]:
    """What goes, one after the other, where a policy decides; of equals, what was used earlier."""
    there: dict[int, Entry] = {}
    worth: dict[int, float] = {}
    gone: list[int] = []
    floor = 0.0
    for moment, (name, size, cost) in enumerate(requests):
        if name not in there:
            while sum(each.size for each in there.values()) + size > capacity:
                victim = min(there, key=lambda each: (worth[each], there[each].used))
                floor = max(floor, worth[victim])
                gone.append(victim)
                del there[victim]
        hits = there[name].hits + 1 if name in there else 0
        there[name] = Entry(size, float(cost), float(moment), float(moment), hits)
        worth[name] = policy.worth(there[name], floor)
    return gone


@given(REQUESTS, CAPACITIES)
def test_greedy_dual_size_is_that_of_the_paper(requests: list[Wanted], capacity: int) -> None:
    """As the paper explains it at first: what is evicted takes its worth off that of all others."""
    left: OrderedDict[int, Fraction] = OrderedDict()  # the one used least recently first
    gone = []
    sizes = {each.name: each.size for each in RESULTS}
    for name, size, cost in requests:
        if name not in left:
            while sum(map(sizes.__getitem__, left)) + size > capacity:
                least = min(left.values())
                victim = next(each for each in left if left[each] == least)
                gone.append(victim)
                del left[victim]
                for each in left:
                    left[each] -= least
        left[name] = Fraction(cost, size)
        left.move_to_end(name)
    assert evicted(GreedyDualSize(), requests, capacity) == gone


@given(REQUESTS, CAPACITIES)
def test_lru_evicts_what_was_used_least_recently(requests: list[Wanted], capacity: int) -> None:
    there: OrderedDict[int, int] = OrderedDict()
    gone = []
    for name, size, _ in requests:
        if name not in there:
            while sum(there.values()) + size > capacity:
                gone.append(there.popitem(last=False)[0])
        there[name] = size
        there.move_to_end(name)
    assert evicted(LRU(), requests, capacity) == gone


def test_what_saves_more_for_its_size_is_worth_more() -> None:
    policy = GreedyDualSize()

    def worth(size: int, cost: float, floor: float = 0.0) -> float:
        return policy.worth(Entry(size, cost, used=0.0, created=0.0, hits=0), floor)

    assert worth(100, 5.0) > worth(100, 4.0) > worth(200, 4.0) > worth(100, 0.0) == 0.0
    assert worth(0, 1.0) >= worth(1, 1.0)
    assert worth(100, 0.0, floor=2.0) > worth(1, 1.0)


def test_a_policy_says_what_something_is_worth() -> None:
    with pytest.raises(TypeError):
        ReplacementPolicy()  # type: ignore[abstract]


# Intervals.

MICROSECOND = datetime.timedelta(microseconds=1)


@given(
    st.timedeltas(min_value=MICROSECOND, max_value=datetime.timedelta(days=10_000)),
    st.integers(0, 1 << 61),
    st.integers(0, 1 << 61),
)
def test_a_value_lasts_an_interval_and_no_longer(
    interval: datetime.timedelta, first: int, passed: int
) -> None:
    length = interval // MICROSECOND * 1000
    with pytest.MonkeyPatch.context() as patch:

        def at(moment: int) -> int:
            patch.setattr(time, "time_ns", lambda: moment)
            return TTLInterval(interval)()

        value = at(first)
        assert (at(first + passed) == value) <= (passed < length)
        begin = first - first % length
        assert at(begin) == at(begin + length - 1) == value
        assert at(begin + length) == value + 1


def test_a_number_is_seconds() -> None:
    assert TTLInterval(1.5).interval == datetime.timedelta(seconds=1, milliseconds=500)
    assert repr(TTLInterval(60)) == "TTLInterval(datetime.timedelta(seconds=60))"
    assert TTLInterval(1e6)() == int(time.time()) // 1_000_000


@pytest.mark.parametrize(
    "wrong", [0, -1, 1e-9, float("nan"), float("inf"), 1e20, "60", None, datetime.timedelta(0)]
)
def test_what_is_no_interval_is_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match="above zero"):
        TTLInterval(wrong)
