"""What the commands on a store share: which store, which calls, and how they are told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from snapshot.commands import drop_output, printable
from snapshot.errors import UsageError
from snapshot.store import Store

_NAMED = 20  # functions, in a message


def add_store(parser: argparse.ArgumentParser) -> None:
    """Which store, and whether its values may be loaded."""
    add_place(parser)
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load values though somebody else may have written them: that runs code they name",
    )


def add_place(parser: argparse.ArgumentParser, **more: Any) -> None:
    """Which store."""
    parser.add_argument(
        "--store",
        metavar="WHERE",
        help="a file, or a postgresql:// URL; default: SNAPSHOT_STORE, else .snapshot/store.db",
        **more,
    )


@contextmanager
def store(options: argparse.Namespace) -> Iterator[Store]:
    """The one that was asked for, with what was recorded for it until now.

    What is left out, and what cannot be undone, is said. Raises `StoreError`, `UsageError`.
    """
    with Store(options.store, trust=options.trust) as found:
        say(found.catch_up())
        yield found
        say(found.undone)


def say(lines: Iterable[str]) -> None:
    """On standard error, a line each."""
    for each in lines:
        print(f"snapshot: {printable(each)}", file=sys.stderr)


def add_calls(parser: argparse.ArgumentParser) -> None:
    """Which calls: by their ids, or all of a function, or all."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="the id of a call")
    parser.add_argument("--function", metavar="F", help="all calls of a function: f, C.f, module:f")


def chosen(options: argparse.Namespace, store: Store, *, everything: bool) -> list[int]:
    """The ids of the calls that were asked for. Raises `UsageError`, `UnknownCall`."""
    given = [bool(options.ids), options.function is not None, everything]
    if sum(given) != 1:
        raise UsageError("give the ids of calls, or --function, or all of them")
    if options.ids:
        from snapshot.replay.executions import number_of  # only who names calls needs it

        numbers = list(dict.fromkeys(map(number_of, options.ids)))
        for each in numbers:
            store.calls.get(each)
        return numbers
    return of_function(store, options.function)


def of_function(store: Store, function: str | None) -> list[int]:
    """The ids of the calls of a function, or of all. Raises `UsageError` if there is none."""
    found = store.calls.ids(function)
    if not found and function is not None:
        known = store.calls.functions()
        shown = ", ".join(known[:_NAMED]) or "none"
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        raise UsageError(
            f"there are no calls of {function!r}; functions that have some: {shown}{more}"
        )
    return found


def tell(*lines: str) -> None:
    """Print lines, in which only their ends are control characters."""
    write("".join(f"{printable(each)}\n" for each in lines))


def write(text: str) -> None:
    """Print a text as it is, whatever the encoding. Raises `UsageError`, BrokenPipeError."""
    if sys.stdout is None:
        raise UsageError("standard output is closed: open it, as with > FILE")
    encoding = sys.stdout.encoding
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop_output()
        raise UsageError(f"cannot write to standard output: {error.strerror}") from None


def columns(text: str) -> int:
    """How many columns of a terminal it takes."""
    from unicodedata import combining, east_asian_width

    return sum(
        0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text
    )


def cut(text: str, width: int, end: str = "…") -> str:
    """A text in no more than so many columns; where it is longer, `end` says so."""
    if columns(text) <= width:
        return text
    while text and columns(text) + columns(end) > width:
        text = text[:-1]
    return text + end


class Progress:
    """A line on a terminal that says how far a long work is; nothing elsewhere."""

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what = total, what
        self._done = 0
        self._shown = sys.stderr is not None and sys.stderr.isatty() and total != 1

    def step(self) -> None:
        """One more is done."""
        self.reach(self._done + 1, self._total)

    def reach(self, done: int, total: int) -> None:
        """So many are done, of so many that are known of by now."""
        self._done, self._total = done, total
        if self._shown:
            width = 30 * self._done // self._total
            bar = "█" * width + "░" * (30 - width)
            print(f"\r{bar} {self._done}/{self._total} {self._what}", end="", file=sys.stderr)

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
