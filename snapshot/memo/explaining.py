"""Why a call hits, or misses: what differs from the nearest entry."""

from __future__ import annotations

import difflib
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from snapshot.memo.group import MemoizedGroup
from snapshot.store.results import Listed, Results

_NEAR = 1000  # entries, the last used ones, among which the nearest one is looked for

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Explanation:
    """hit: whether the call would hit. lines: why, or what is different."""

    hit: bool
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        return str(self)


def explain(function: Any, /, *args: Any, **kwargs: Any) -> Explanation:
    """Why a call of a memoized function with these arguments would hit, or miss: `f.explain(…)`."""
    found: Explanation = function.explain(*args, **kwargs)
    return found


def explanation(
    group: MemoizedGroup,
    name: str,
    state: bytes,
    key: bytes,
    facts: Callable[[], Facts],
    arguments: Mapping[str, tuple[str, str]],
) -> Explanation:
    """Of a call by its key. name, state, facts: of the function as it is now.

    Raises `StoreError`.
    """
    group.flush()
    results = group.backend.results
    entries = [*itertools.islice(results.entries(name), _NEAR)]
    unfollowed = tuple(f"not followed: {each}" for each in facts().get("unfollowed", ()))
    for each in entries:
        if each.key == key:
            return Explanation(True, (*_of_hit(name, each), *unfollowed))
    if not entries:
        return Explanation(False, (f"{name}: a miss: nothing is kept of it", *unfollowed))
    nearest = max(entries, key=lambda each: (*_likeness(each, state, arguments), each.entry.used))
    lines = [f"{name}: a miss: the nearest of {len(entries)} entries differs in"]
    lines += _differing_arguments(nearest.arguments, arguments)
    if nearest.state != state:
        lines += differing_states(results, name, nearest.state, facts())
    return Explanation(False, (*lines, *unfollowed))


def _of_hit(name: str, each: Listed) -> Iterator[str]:
    entry = each.entry
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.created))
    yield f"{name}: a hit: stored {when}, took {entry.cost:.3g} s, {entry.size:,} bytes"


def _likeness(
    each: Listed, state: bytes, arguments: Mapping[str, tuple[str, str]]
) -> tuple[int, bool]:
    same = sum(
        each.arguments.get(name, ["", ""])[1] == digest for name, (_, digest) in arguments.items()
    )
    return same, each.state == state


def _differing_arguments(
    then: Mapping[str, list[str]], now: Mapping[str, tuple[str, str]]
) -> Iterator[str]:
    for name in {**then, **now}:
        before, after = then.get(name), now.get(name)
        if before is None or after is None:
            what = "is new" if before is None else "is no parameter any more"
            yield f"  argument {name}: it {what}"
        elif before[1] != after[1]:
            same = before[0] == after[0]
            yield f"  argument {name}: {before[0]} then, {after[0]} now" + (
                " (they look the same: their types, or what is not shown, differ)" if same else ""
            )


def differing_states(results: Results, name: str, then: bytes, now: Facts) -> Iterator[str]:
    """What has changed between a state of a function and now, in indented lines."""
    before = results.facts(name, then)
    if before is None:
        yield "  the function: what it was then is not known"
        return
    for what, key in (("function", "functions"), ("value", "values")):
        old, new = before.get(key, {}), now.get(key, {})
        for each in sorted({*old, *new}):
            if each not in old or each not in new:
                yield f"  {what} {each}: {'is reached now' if each in new else 'was reached then'}"
            elif old[each][0] != new[each][0]:
                yield from _differing(what, each, old[each][1], new[each][1])
    old, new = before.get("packages", {}), now.get("packages", {})
    for each in sorted({*old, *new}):
        if old.get(each) != new.get(each):
            yield f"  package {each}: {old.get(each) or 'none'} then, {new.get(each) or 'none'} now"
    for each in ("python", "system state", "function state"):
        if before.get(each) != now.get(each):
            yield f"  {each}: {before.get(each)} then, {now.get(each)} now"


def _differing(what: str, name: str, old: str | None, new: str | None) -> Iterator[str]:
    if what == "value":
        yield f"  value {name}: {old} then, {new} now"
        return
    yield f"  {what} {name}:"
    if old is None or new is None or old == new:
        yield "    its code (the source of one of the two is not known, or is the same)"
        return
    changed = difflib.unified_diff(old.splitlines(), new.splitlines(), "then", "now", lineterm="")
    yield from (f"    {each}" for each in changed)
