"""Going back to the entry of a call: the command of the debugger, and the function `rewind`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from snapshot.core import entry
from snapshot.core.entry import Entry
from snapshot.core.line import Place, duration, table
from snapshot.debugger.branching import Branching
from snapshot.errors import DebuggerError


class Rewinding(Branching):
    """A pdb with that command."""

    def do_rewind(self, arg: str) -> None:
        """rewind [number|function]

        Go back to where a call began that has raised, or is under way: to its first line, with its
        arguments as they were, in an experiment; here again when that has ended. Without an
        argument, list those calls: of functions under @rewindable, or `snapshot run --rewindable`.
        """
        word = arg.strip()
        if word:
            self._try(lambda: found(entry.living(), word).rewind(self._place()))
        else:
            self.message(listed(entry.living()))

    def _place(self) -> Place:
        frame, number = self.stack[self.curindex]
        return Place.at(frame, number)


def rewind(call: int | str | None = None) -> None:
    """Go back to where a call began, in an experiment; here again when that has ended.

    call: its number, or the function's name; by default that which has raised last, in an `except`
    block the innermost that the exception came through; else the last one that is under way. The
    debugger stops there at the first line, and keeps the past from then on. One line tells how the
    experiment ended, as for `snapshot`.

    Raises `DebuggerError`, with a list of those there are, if there is no such call, and what
    `snapshot` raises; then nothing was done.
    """
    found(entry.living(), call).rewind(Place.of(sys._getframe(1)))


def found(entries: Sequence[Entry], call: int | str | None) -> Entry:
    """That of a call, by its number or by the name of its function: the last one. Raises
    `DebuggerError`."""
    if call is None:
        wanted = [each for each in entries if each.error is not None] or entries
    else:
        wanted = [each for each in entries if _is_meant(each, str(call))]
    if wanted:
        return wanted[-1]
    what = "rewind()" if call is None else f"rewind {call}"
    raise DebuggerError(f"{what}: {_no_such(entries)}")


def _is_meant(each: Entry, word: str) -> bool:
    name = each.where.function
    return word in (str(each.number), name, name.rpartition(".")[2])


def _no_such(entries: Sequence[Entry]) -> str:
    if not entries:
        return _NONE
    there = ", ".join(f"{each.number} {each.where.function}" for each in entries)
    return f"there is no such call; there is {there}"


def listed(entries: Sequence[Entry]) -> str:
    """A table of the calls that can be gone back to."""
    if not entries:
        return _NONE
    now = time.monotonic()
    rows = [("", "call", "began", "ended by")]
    for each in entries:
        ago = f"{duration(now - each.began)} ago"
        rows.append((str(each.number), str(each.where), ago, each.error or "(under way)"))
    return table(rows)


_NONE = (
    "no call can be gone back to: @rewindable, or `snapshot run --rewindable`, keeps where they "
    "began"
)
