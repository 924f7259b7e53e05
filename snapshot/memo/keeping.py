"""Looking after what is kept: what groups hold, and how results go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from snapshot.store import Store
from snapshot.store.results import Evicted, Listed, Memoized, Results
from snapshot.store.wording import so_many


@dataclass(frozen=True, slots=True)
class Sums:
    """What some functions have together: see `store.results.Memoized`.

    name: of their group. functions: how many they are.
    """

    name: str
    functions: int
    entries: int
    size: int
    hits: int
    misses: int
    saved: float

    @classmethod
    def of(cls, name: str, functions: Sequence[Memoized]) -> Sums:
        """Those of all these functions."""
        return cls(
            name,
            len(functions),
            sum(each.entries for each in functions),
            sum(each.size for each in functions),
            sum(each.hits for each in functions),
            sum(each.misses for each in functions),
            sum(each.saved for each in functions),
        )


def groups(functions: Iterable[Memoized]) -> list[Sums]:
    """What each group of functions has, by name."""
    found: dict[str, list[Memoized]] = {}
    for each in functions:
        found.setdefault(each.group, []).append(each)
    return [Sums.of(name, several) for name, several in sorted(found.items())]


def in_use(results: Results) -> list[Memoized]:
    """The functions that have results, or were called."""
    return [each for each in results.functions() if each.entries or each.hits + each.misses]


def rate(each: Memoized | Sums) -> float | None:
    """The part of the calls that were hits; None if there was no call."""
    calls = each.hits + each.misses
    return each.hits / calls if calls else None


def evict(store: Store, entries: Iterable[Listed]) -> list[Evicted]:
    """Drop results, and the objects that nobody else refers to; those that were there still."""
    gone, freed = store.results.forget(each.key for each in entries)
    store.release(freed)
    return gone


def staying(entries: Iterable[Listed]) -> str | None:
    """What is to be told of results that are not in the store itself; None if all are."""
    if not (count := sum(each.elsewhere for each in entries)):
        return None
    return (
        f"{so_many(count, 'result')} of these stay in the obj_store of their group, and are found "
        "there again: delete them there"
    )
