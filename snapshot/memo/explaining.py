"""Why a call hits, or misses: what differs from the nearest entry."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snapshot.errors import UsageError
from snapshot.store.results import Found, Listed, Results

if TYPE_CHECKING:
    from snapshot.memo.group import MemoizedGroup

_NEAR = 1000  # entries, the last used ones, among which the nearest one is looked for

Facts = Mapping[str, Any]
Arguments = Mapping[str, Sequence[str]]  # of each its text and its digest, by its name


@dataclass(frozen=True, slots=True)
class Explanation:
    """hit: whether the call would hit. lines: why, or what is different."""

    hit: bool
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two entries, or two states of a function, differ.

    what: `argument`, `function`, `value`, `package`, … name: of it, empty where there is but one.
    told: what it was then and is now, in words. code: that of a source, as the lines of a diff.
    """

    what: str
    name: str
    told: str
    code: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """All of it, indented."""
        yield "  " + f"{self.what} {self.name}".rstrip() + f": {self.told}".rstrip()
        yield from (f"    {each}" for each in self.code)


def explain(function: Any, /, *args: Any, **kwargs: Any) -> Explanation:
    """Why a call of a memoized function with these arguments would hit, or miss: `f.explain(…)`.

    Raises `UsageError` for a function that is not memoized, `StoreError`.
    """
    if not hasattr(function, "explain"):
        raise UsageError(f"{function!r} is not memoized: put @memoize above it")
    found: Explanation = function.explain(*args, **kwargs)
    return found


def explanation(
    group: MemoizedGroup,
    name: str,
    state: bytes,
    key: bytes,
    facts: Callable[[], Facts],
    arguments: Arguments,
    unusable: Callable[[float], str],
) -> Explanation:
    """Of a call by its key. name, state, facts: of the function as it is now. unusable: told when
    a result was stored, why it is not used all the same; "" where it is.

    Raises `StoreError`.
    """
    group.flush()
    results = group.backend.results
    unfollowed = tuple(f"not followed: {each}" for each in facts().get("unfollowed", ()))
    if (kept := group.find(key)) is not None:
        why = unusable(kept.created)
        told = f"{name}: a {'miss' if why else 'hit'}: {_stored(kept, results.entry(key))}{why}"
        return Explanation(not why, (told, *unfollowed))
    entries = results.listing(name, limit=_NEAR)
    if not entries:
        return Explanation(False, (f"{name}: a miss: nothing is kept of it", *unfollowed))
    near = _nearest(entries, state, arguments)
    found = [*differing_arguments(near.arguments, arguments)]
    if near.state != state:
        found += differing_states(results.facts(name, near.state), facts())
    lines = [f"{name}: a miss: the nearest of {len(entries)} entries differs in"]
    lines += [line for each in found for line in each.lines()]
    return Explanation(False, (*lines, *unfollowed))


def nearest_before(results: Results, each: Listed) -> Listed | None:
    """Of the entries of the function that were stored before this one, that which differs least.

    Which tells why this one was not found, and had to be computed. None if there is none left.
    """
    entries = results.listing(each.function, before=each.entry.created, limit=_NEAR)
    return _nearest(entries, each.state, each.arguments) if entries else None


def differing_entries(results: Results, then: Listed, now: Listed) -> Iterator[Difference]:
    """In what two entries of a function differ."""
    yield from differing_arguments(then.arguments, now.arguments)
    if then.state != now.state:
        before, after = (results.facts(each.function, each.state) for each in (then, now))
        yield from differing_states(before, after)


def _stored(found: Found, listed: Listed | None) -> str:
    """listed: None where the result is in the store of objects alone, which others put it in."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.created))
    size = len(found.data or b"") + sum(memoryview(each).nbytes for each in found.buffers)
    if listed is not None:
        size = listed.entry.size
    return f"stored {when}, took {found.cost:.3g} s, {size:,} bytes"


def _nearest(entries: Iterable[Listed], state: bytes, arguments: Arguments) -> Listed:
    return max(entries, key=lambda each: (*_likeness(each, state, arguments), each.entry.used))


def _likeness(each: Listed, state: bytes, arguments: Arguments) -> tuple[int, bool]:
    same = sum(
        each.arguments.get(name, ["", ""])[1] == digest for name, (_, digest) in arguments.items()
    )
    return same, each.state == state


def differing_arguments(then: Arguments, now: Arguments) -> Iterator[Difference]:
    """Those of two calls that are not the same."""
    for name in {**then, **now}:
        before, after = then.get(name), now.get(name)
        if before is None or after is None:
            what = "is new" if before is None else "is no parameter any more"
            yield Difference("argument", name, f"it {what}")
        elif before[1] != after[1]:
            told = f"{before[0]} then, {after[0]} now"
            if before[0] == after[0]:
                told += " (they look the same: their types, or what is not shown, differ)"
            yield Difference("argument", name, told)


def differing_states(before: Facts | None, now: Facts | None) -> Iterator[Difference]:
    """What has changed between two states of a function; None is one that is not known."""
    if before is None or now is None:
        which = "then" if before is None else "now"
        yield Difference("the function", "", f"what it was {which} is not known")
        return
    for what, key in (("function", "functions"), ("value", "values")):
        old, new = before.get(key, {}), now.get(key, {})
        for each in sorted({*old, *new}):
            if each not in old or each not in new:
                told = "is reached now" if each in new else "was reached then"
                yield Difference(what, each, told)
            elif old[each][0] != new[each][0]:
                yield _differing(what, each, old[each][1], new[each][1])
    old, new = before.get("packages", {}), now.get("packages", {})
    for each in sorted({*old, *new}):
        if old.get(each) != new.get(each):
            told = f"{old.get(each) or 'none'} then, {new.get(each) or 'none'} now"
            yield Difference("package", each, told)
    for each in ("python", "system state", "function state"):
        if before.get(each) != now.get(each):
            yield Difference(each, "", f"{before.get(each)} then, {now.get(each)} now")


def _differing(what: str, name: str, old: str | None, new: str | None) -> Difference:
    if what == "value":
        return Difference(what, name, f"{old} then, {new} now")
    if old is None or new is None or old == new:
        told = "its code (the source of one of the two is not known, or is the same)"
        return Difference(what, name, told)
    changed = difflib.unified_diff(old.splitlines(), new.splitlines(), "then", "now", lineterm="")
    return Difference(what, name, "", tuple(changed))
