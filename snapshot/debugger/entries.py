"""The entries of calls that can be gone back to: which are kept, and for how long.

begin ── a fork is frozen ── the call ──┬── returns: it ends
                                        └── raises: it lives as long as the exception does
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

from snapshot.core import entry, tree
from snapshot.core.entry import Entry
from snapshot.core.line import Place
from snapshot.core.messages import say
from snapshot.debugger import backwards
from snapshot.debugger.world import World
from snapshot.errors import CannotFork, SnapshotError, UsageError

KEEP = 3

_ATTRIBUTE = "__snapshot_entries__"  # of an exception: those of the calls that it has left


class Entries:
    """Those of some functions.

    keep: how many calls that are under way have one: the outermost, and the latest ones; and how
    many of those that exceptions have left, the latest.
    """

    def __init__(self, keep: int) -> None:
        if not isinstance(keep, int) or isinstance(keep, bool) or keep < 1:
            raise UsageError(f"keep={keep!r}: how many calls can be gone back to, at least 1")
        self._keep = keep
        self._under_way: list[Entry] = []
        self._left: list[Entry] = []

    def begin(self, code: CodeType, frame: FrameType) -> Entry | None:
        """A function is called. None where no fork is kept of that, for one reason or another.

        frame: of the function, or of whoever calls it. In an experiment that goes on from here the
        debugger stops at the next line.
        """
        if backwards.keeps_past():
            return None
        try:
            with _beside():
                if len(self._under_way) >= self._keep:
                    self._under_way.pop(min(1, self._keep - 1)).end()
                frozen = entry.freeze(_first_line(code))
                if frozen is not None:
                    self._under_way.append(frozen)
        except CannotFork as error:
            _warn(error)
            return None
        if frozen is None:
            _open(code, frame)
        return frozen

    def end(self, ended: Entry, error: BaseException | None) -> None:
        """A call has returned, or an exception has left it."""
        with _beside():
            if ended in self._under_way:
                self._under_way.remove(ended)
            self._end(ended, error)

    def _end(self, ended: Entry, error: BaseException | None) -> None:
        if error is None:
            ended.end()
        elif ended.lives:
            ended.error = type(error).__qualname__
            _keep_with(error, ended)
            self._left = [*filter(lambda each: each.lives, self._left), ended]
            while len(self._left) > self._keep:
                self._left.pop(0).end()


class _Kept:
    """What an exception holds: the entries end with it. It is not pickled along."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def __del__(self) -> None:
        with _beside():
            for each in self.entries:
                each.end()

    def __reduce__(self) -> Any:
        return tuple, ()


@contextlib.contextmanager
def _beside() -> Iterator[None]:
    """One thread at a time; and if what the world gives the program is remembered, this is not."""
    with _lock, contextlib.nullcontext() if World.here is None else World.here.beside():
        yield


_lock = threading.RLock()  # what is finalized in the block comes here again


def _renew_lock() -> None:
    """In a fork, where the thread that held it is perhaps not there."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def _keep_with(error: BaseException, ended: Entry) -> None:
    kept = vars(error).get(_ATTRIBUTE)
    if not isinstance(kept, _Kept):
        kept = vars(error)[_ATTRIBUTE] = _Kept()
    kept.entries = [*filter(lambda each: each.lives, kept.entries), ended]


def _first_line(code: CodeType) -> Place:
    first = code.co_firstlineno
    lines = (line for *_, line in code.co_lines() if line not in (None, first))
    return Place(code.co_filename, next(lines, None) or first, code.co_qualname)


def _open(code: CodeType, frame: FrameType) -> None:
    try:
        backwards.begin_at_entry(code, frame)
    except SnapshotError as error:
        say(f"snapshot: no debugger: {error}")
        tree.revert()


_warned = False


def _warn(error: CannotFork) -> None:
    global _warned
    if not _warned:
        _warned = True
        say(f"snapshot: some calls cannot be gone back to: {error}")
