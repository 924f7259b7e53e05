"""Looking after the results that are kept: `snapshot memo ls` and the like, see `memo`."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from snapshot.commands import is_terminal, printable, stores
from snapshot.errors import StoreError, UsageError
from snapshot.memo import keeping
from snapshot.store import Store, wording
from snapshot.store.wording import age, so_many, when

if TYPE_CHECKING:
    from snapshot.store.results import Listed, Memoized, Results

_SHOWN = 12  # characters of a key
_KEY = re.compile(r"[0-9a-f]{6,32}")
_NAMED = 20  # functions, in a message


def look_after(options: argparse.Namespace, name: str, words: list[str]) -> int:
    """Parse the words of a subcommand, and execute it."""
    subcommand = SUBCOMMANDS[name]
    prog = f"snapshot memo {name}"
    parser = argparse.ArgumentParser(prog, description=subcommand.__doc__, allow_abbrev=False)
    for argument, more in _ARGUMENTS[name].items():
        parser.add_argument(argument, **more)
    stores.add_place(parser, default=argparse.SUPPRESS)
    options.prog = prog
    parser.parse_args(words, options)
    # Nothing of it is loaded, so it need not be trusted.
    with Store(options.store, trust=True) as store:
        status = subcommand(store, options)
        stores.say(store.undone)
    return status


def _ls(store: Store, options: argparse.Namespace) -> int:
    """List memoized functions, or the results of one: FUNCTION is f, C.f, or module:f."""
    if options.function is None:
        return _list_functions(store, options)
    now = time.time()
    entries = [
        each
        for function in _functions(store.results, options.function)
        for each in store.results.entries(function.name)
    ]
    if options.json:
        _tell_json([_facts_of(each) for each in entries])
        return 0
    if not entries:
        stores.tell("nothing is kept of it")
        return 0
    if options.long:
        for each in entries:
            stores.tell(*_lines_of(each))
        return 0
    _table(
        ("key", ">size", ">took", ">age", ">hits", "state", "arguments"),
        (
            (
                *(
                    _short(each.key),
                    wording.size(each.entry.size),
                    wording.duration(each.entry.cost),
                ),
                *(age(now - each.entry.created), str(each.entry.hits)),
                *("current" if each.current else "earlier", _in_words(each)),
            )
            for each in entries
        ),
    )
    return 0


def _list_functions(store: Store, options: argparse.Namespace) -> int:
    found = keeping.in_use(store.results)
    if options.json:
        _tell_json([asdict(each) for each in found])
        return 0
    if not found:
        stores.tell("nothing is memoized")
        return 0
    _table(
        (">entries", ">states", ">size", ">hits", ">misses", ">saved", "group", "function")
        if options.long
        else (">entries", ">size", ">hits", ">misses", ">saved", "group", "function"),
        (
            (
                *(str(each.entries), *([str(each.states)] if options.long else [])),
                *(wording.size(each.size), str(each.hits), str(each.misses)),
                *(wording.duration(each.saved), each.group, each.name),
            )
            for each in found
        ),
    )
    return 0


def _stats(store: Store, options: argparse.Namespace) -> int:
    """Say what each group of functions holds, and how much time that has saved."""
    functions = store.results.functions()
    rows = keeping.groups(functions)
    if options.json:
        _tell_json([{"group": each.name} | asdict(each) for each in rows])
        return 0
    if not rows:
        stores.tell("nothing is memoized")
        return 0
    if len(rows) > 1:
        rows.append(keeping.Sums.of("all", functions))
    _table(
        (">functions", ">entries", ">size", ">hits", ">misses", ">hit rate", ">saved", "group"),
        (
            (
                *(str(each.functions), str(each.entries), wording.size(each.size)),
                *(str(each.hits), str(each.misses), _rate(each)),
                *(wording.duration(each.saved), each.name),
            )
            for each in rows
        ),
    )
    return 0


def _explain(store: Store, options: argparse.Namespace) -> int:
    """Say what is kept of a function, and what has changed since: between the two states of it
    that were used last, or between that of one result and the current one."""
    results = store.results
    function = _one_function(results, options.function)
    states = results.states(function.name)
    current = next((each.digest for each in states if each.current), None)
    if options.key is not None:
        entry = _entry(results, options.key, function.name)
        then: bytes | None = entry.state
    else:
        entry, then = None, next((each.digest for each in states if not each.current), None)
    lines = _differences(results, function.name, then, current)
    if options.json:
        _tell_json(
            {
                "function": asdict(function),
                "states": [asdict(each) | {"digest": each.digest.hex()} for each in states],
                "entry": None if entry is None else _facts_of(entry),
                "differences": lines,
            }
        )
        return 0
    stores.tell(
        f"{function.name}: {so_many(function.entries, 'result')}, "
        f"{wording.size(function.size)}, in group {function.group}; "
        f"{so_many(function.hits, 'hit')} saved {wording.duration(function.saved)}, "
        f"{so_many(function.misses, 'miss')}"
    )
    for each in states:
        which = "the current state" if each.current else "an earlier state"
        stores.tell(
            f"  {which}, {_short(each.digest)}: {so_many(each.count, 'result')}, "
            f"{wording.size(each.size)}; in use {when(each.used)}"
        )
    if entry is not None:
        stores.tell(*_lines_of(entry))
    if then is not None and lines:
        stores.tell(f"what differs between {_short(then)} and the current state:", *lines)
    if current is not None:
        facts = results.facts(function.name, current) or {}
        stores.tell(*(f"not followed: {each}" for each in facts.get("unfollowed", ())))
    return 0


def _differences(results: Results, name: str, then: bytes | None, now: bytes | None) -> list[str]:
    from snapshot.memo.explaining import differing_states

    if then is None or now is None or then == now:
        return []
    found = differing_states(results.facts(name, then), results.facts(name, now) or {})
    return [line for each in found for line in each.lines()]


def _evict(store: Store, options: argparse.Namespace) -> int:
    """Drop the results of functions, or those of keys as `snapshot memo ls FUNCTION` shows them."""
    results = store.results
    if not options.which and options.older_than is None:
        raise UsageError("give functions, keys, or --older-than")
    until = time.time() - (0 if options.older_than is None else wording.seconds(options.older_than))
    chosen: dict[bytes, Listed] = {}
    for word in options.which or [None]:
        for each in _entries_of(results, word):
            if each.entry.created <= until:
                chosen[each.key] = each
    return _drop(store, chosen.values(), "evict", dry_run=options.dry_run)


def _entries_of(results: Results, word: str | None) -> Iterator[Listed]:
    """Those of a function, or the one with a key; all by default."""
    if word is None:
        yield from results.entries()
    elif not (found := _named(results, word)) and _KEY.fullmatch(word):
        yield _entry(results, word)
    else:
        for function in found or _functions(results, word):
            yield from results.entries(function.name)


def _clear(store: Store, options: argparse.Namespace) -> int:
    """Drop all results and statistics of a function, of a group, or of all."""
    results = store.results
    if sum([options.function is not None, options.group is not None, options.all]) != 1:
        count = sum(each.entries for each in results.functions())
        raise UsageError(
            f"give a function, --group, or --all, which drops {so_many(count, 'result')} of "
            f"{store.place}"
        )
    functions = results.functions()
    if options.function is not None:
        functions = _functions(results, options.function)
    elif options.group is not None:
        known = sorted({each.group for each in functions})
        functions = [each for each in functions if each.group == options.group]
        if not functions:
            raise UsageError(
                f"there is no group {options.group!r}; groups: {', '.join(known) or 'none'}"
            )
    entries = [entry for each in functions for entry in results.entries(each.name)]
    status = _drop(store, entries, "clear", dry_run=options.dry_run)
    if not options.dry_run:
        results.reset(each.name for each in functions)
    return status


def _drop(store: Store, entries: Iterable[Listed], verb: str, *, dry_run: bool) -> int:
    entries = [*entries]
    if dry_run:
        size = wording.size(sum(each.entry.size for each in entries))
        stores.tell(f"would {verb} {so_many(len(entries), 'result')}, {size}")
        return 0
    gone = keeping.evict(store, entries)
    size = wording.size(sum(each.size for each in gone))
    stores.tell(f"{verb.removesuffix('e')}ed {so_many(len(gone), 'result')}, {size}")
    if (staying := keeping.staying(entries)) is not None:
        stores.say([staying])
    return 0


def _verify(store: Store, options: argparse.Namespace) -> int:
    """Read all results, without loading them, and list those that are damaged."""
    results = store.results
    entries = list(results.entries())
    damaged: list[tuple[Listed, str]] = []
    progress = stores.Progress(len(entries), "results")
    try:
        for each in entries:
            try:
                results.find(each.key)
            except StoreError as error:
                damaged.append((each, str(error)))
            progress.step()
    finally:
        progress.close()
    elsewhere = sum(each.elsewhere for each in entries)
    dropped = 0
    if options.drop:
        dropped = len(keeping.evict(store, [each for each, _ in damaged]))
    if options.json:
        _tell_json(
            {
                "results": len(entries),
                "elsewhere": elsewhere,
                "damaged": [
                    {"key": each.key.hex(), "function": each.function, "problem": why}
                    for each, why in damaged
                ],
                "dropped": dropped,
            }
        )
    else:
        for each, why in damaged:
            stores.tell(f"{_short(each.key)}  {each.function}: {why}")
        stores.tell(
            f"{store.place}: {so_many(len(entries), 'result')}, {len(damaged)} damaged"
            + (f", {dropped} dropped" if options.drop else "")
            + (f"; {elsewhere} in another store were not read" if elsewhere else "")
        )
    return 1 if damaged else 0


# Which.


def _named(results: Results, word: str) -> list[Memoized]:
    """The functions with that name, or whose name ends with it."""
    found = [each for each in results.functions() if each.name == word]
    ends = re.compile(rf".*[:.]{re.escape(word)}", re.S)
    return found or [each for each in results.functions() if ends.fullmatch(each.name)]


def _functions(results: Results, word: str) -> list[Memoized]:
    """Raises `UsageError` for none."""
    if found := _named(results, word):
        return found
    known = [each.name for each in results.functions()]
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    raise UsageError(
        f"no function {word!r} is memoized; those that are: "
        f"{', '.join(known[:_NAMED]) or 'none'}{more}"
    )


def _one_function(results: Results, word: str) -> Memoized:
    found = _functions(results, word)
    if len(found) > 1:
        raise UsageError(f"{word!r} is one of {', '.join(each.name for each in found)}: say which")
    return found[0]


def _entry(results: Results, word: str, function: str | None = None) -> Listed:
    """The one whose key begins like that. Raises `UsageError`."""
    found = [each for each in results.entries(function) if each.key.hex().startswith(word)]
    if not found:
        raise UsageError(f"there is no result with the key {word!r}: see `snapshot memo ls`")
    if len(found) > 1:
        raise UsageError(f"{so_many(len(found), 'result')} have keys that begin with {word}")
    return found[0]


# How it is told.


def _tell_json(value: object) -> None:
    stores.tell(json.dumps(value, indent=2))


def _facts_of(each: Listed) -> dict[str, Any]:
    return {
        "key": each.key.hex(),
        "function": each.function,
        "state": each.state.hex(),
        "current": each.current,
        "arguments": {name: text for name, (text, _) in each.arguments.items()},
        **asdict(each.entry),
        "elsewhere": each.elsewhere,
    }


def _lines_of(each: Listed) -> Iterator[str]:
    """All that is known of a result."""
    entry = each.entry
    state = "the current state" if each.current else f"an earlier state, {_short(each.state)}"
    yield f"{each.key.hex()}  {each.function}, in {state}"
    yield (
        f"  stored {when(entry.created)}, took {wording.duration(entry.cost)}, "
        f"{wording.size(entry.size)}{', in another store' if each.elsewhere else ''}; "
        f"{so_many(entry.hits, 'hit')}, used last {when(entry.used)}"
    )
    for name, (text, _) in each.arguments.items():
        yield f"  {name}: {text}"


def _in_words(each: Listed) -> str:
    return ", ".join(f"{name}={text}" for name, (text, _) in each.arguments.items())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns, of which the last one is cut to the terminal; those with `>` are numbers."""
    names = [each.removeprefix(">") for each in heads]
    lines = [names, *([printable(each).replace("\n", "\\n") for each in row] for row in rows)]
    widths = [max(stores.columns(line[n]) for line in lines) for n in range(len(heads) - 1)]
    room = shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None
    for line in lines:
        shown = ""
        for text, width, head in zip(line, widths, heads, strict=False):
            fill = " " * (width - stores.columns(text))
            shown += (fill + text if head.startswith(">") else text + fill) + "  "
        shown += line[-1]
        stores.tell(shown if room is None else stores.cut(shown, room))


def _short(key: bytes) -> str:
    return key.hex()[:_SHOWN]


def _rate(each: keeping.Sums) -> str:
    rate = keeping.rate(each)
    return "" if rate is None else f"{rate:.0%}"


SUBCOMMANDS: dict[str, Callable[[Store, argparse.Namespace], int]] = {
    "ls": _ls,
    "stats": _stats,
    "explain": _explain,
    "evict": _evict,
    "clear": _clear,
    "verify": _verify,
}

_FUNCTION = {"metavar": "FUNCTION", "help": "f, C.f, or module:f"}
_AS_JSON = {"action": "store_true", "help": "tell it as JSON"}
_DRY_RUN = {"action": "store_true", "help": "only say what would be dropped"}
_ARGUMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "ls": {
        "function": {"nargs": "?", **_FUNCTION},
        "--long": {"action": "store_true", "help": "tell all that is known"},
        "--json": _AS_JSON,
    },
    "stats": {"--json": _AS_JSON},
    "explain": {
        "function": _FUNCTION,
        "key": {"nargs": "?", "metavar": "KEY", "help": "of a result, or its beginning"},
        "--json": _AS_JSON,
    },
    "evict": {
        "which": {"nargs": "*", "metavar": "FUNCTION|KEY", "help": "whose results, or which one"},
        "--older-than": {"metavar": "AGE", "help": "stored longer ago: 12h, 7d, 2w"},
        "--dry-run": _DRY_RUN,
    },
    "clear": {
        "function": {"nargs": "?", **_FUNCTION},
        "--group": {"metavar": "G", "help": "all functions of a group"},
        "--all": {"action": "store_true", "help": "all functions"},
        "--dry-run": _DRY_RUN,
    },
    "verify": {
        "--drop": {"action": "store_true", "help": "drop those that are damaged"},
        "--json": _AS_JSON,
    },
}
