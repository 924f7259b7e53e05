"""What came of the calls that reach the world: appended to a tape, or taken from it."""

from __future__ import annotations

import marshal
import pickle
import struct
from _thread import get_ident
from collections.abc import Callable
from time import time_ns
from typing import Any, NoReturn

from snapshot.debugger.tape import Tape
from snapshot.debugger.world.garbage import Garbage
from snapshot.errors import DebuggerError

_FORMAT = 2  # of `marshal`: the last one that is the same whoever else refers to a value
_OFFSET = struct.Struct("=Q")
_put = _OFFSET.pack_into
_dumps = marshal.dumps
_BRANCH = slice(5, 10)  # where a record, a tuple, holds it

# What stands behind an outcome that is not there as it was.
_PICKLED, _RAISED, _LOST = range(3)

# The name in the record of a milestone, whose outcome is its place.
_MILESTONE = ""
_GARBAGE = "the garbage collector"

_NOTHING = "nothing more"


class RepeatError(DebuggerError):
    """A program that is run again does not do what it did."""


class Boundary:
    """What has been remembered, and how far this process has come in it.

    A record is `(branch, time, name, outcome)`. The offset of the next one is this process's own;
    nothing that lasts is allocated for a record.

    aside: whether calls are simply done. differs: called with what was done then, and what is
    done now. shows: called when the program writes to a standard stream.
    accompanied: called with the name of a thread that is about to be started. thread: the only one
    whose calls count, 0 if nobody's do. reopened: the descriptors that a repeat has opened anew,
    on the same file as then. began: when this was made, in nanoseconds. garbage: the program's.
    stands_for: which descriptor the program means by a number.
    """

    def __init__(self, tape: Tape, now: Callable[[], int]) -> None:
        self.aside = True
        self.shows: Callable[[], None] = _nothing
        self.differs: Callable[[str, str], NoReturn] = _refuse
        self.accompanied: Callable[[str], None] = _heard
        self.repeating = False
        self.thread = 0
        self.reopened: set[int] = set()
        self.began = time_ns()
        self.garbage = Garbage()
        self.stands_for: Callable[[int], int] = _itself
        self._owner = 0
        self._tape = tape
        self._append = tape.append
        self._now = now
        self._branch = 0
        self._mark = b""
        self._offset = bytearray(_OFFSET.size)
        _put(self._offset, 0, tape.end)
        self._behind = self._offset  # the record that was appended last
        self._follows = False

    def remember(self, branch: int) -> None:
        """From now on calls are done, and what comes of them is appended for this branch."""
        _put(self._offset, 0, self._tape.end)
        self._behind = self._offset
        self._begin(branch, repeating=False)

    def repeat(self, branch: int) -> None:
        """From now on outcomes are taken from the records of this branch, from here on."""
        self._offset = self._behind
        self._mark = _dumps((branch,), _FORMAT)[_BRANCH]
        self.reopened.clear()
        self._begin(branch, repeating=True)

    @property
    def counts(self) -> bool:
        """Whether the program's events are counted, and so its past is kept."""
        return self._branch > 0

    def follow(self, source: int, branch: int) -> None:
        """From now on outcomes are taken from the records of a branch on which no events were
        counted, from here on, and appended for another branch."""
        self.repeat(source)
        self._behind = bytearray(_OFFSET.size)
        _put(self._behind, 0, self._tape.end)
        self._branch = branch
        self._follows = True

    def milestone(self, place: str) -> None:
        """The program is here now; in a repeat it must be here when it was.

        Here its garbage goes, if there is enough of it.
        """
        if not self.repeating or self._follows:
            self.note(_MILESTONE, place)
            if self.garbage.is_enough():
                self.note(_GARBAGE, None)
                self._collect()
            return
        time = self._now()
        found = self._next()
        if found is None or found[1:4] != (time, _MILESTONE, place):
            self.differs(_told(found), f"{place} at {time}")
        if self.is_next(_GARBAGE):
            self.take(_GARBAGE)
            self._collect()

    def _collect(self) -> None:
        """What finalizers ask of the world is remembered."""
        aside, self.aside = self.aside, False
        try:
            self.garbage.collect()
        finally:
            self.aside = aside

    def note(self, name: str, outcome: Any) -> None:
        """Append what came of a call."""
        try:
            record = _dumps((self._branch, self._now(), name, outcome), _FORMAT)
        except ValueError:
            record = self._pickled(name, outcome, _PICKLED)
        _put(self._behind, 0, self._append(record))

    def note_error(self, name: str, error: BaseException) -> None:
        """Append what a call has raised."""
        record = self._pickled(name, error, _RAISED)
        _put(self._behind, 0, self._append(record))

    def do(self, name: str, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call, and append what comes of it."""
        try:
            outcome = original(*args, **kwargs)
        except (Exception, KeyboardInterrupt) as error:
            self.note_error(name, error)
            raise
        self.note(name, outcome)
        return outcome

    def unheard(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call inside which no other counts."""
        thread, self.thread = self.thread, 0
        try:
            return original(*args, **kwargs)
        finally:
            self.thread = thread

    def take(self, name: str) -> Any:
        """What came of this call then: returned, or raised."""
        time = self._now()
        found = self._next()
        is_then = found is not None and (found[1] == time or self._follows)
        if not is_then or found[2] != name:
            self.differs(_told(found), f"{name}() at {time}")
        if self._follows:
            record = _dumps((self._branch, time, *found[2:]), _FORMAT)
            _put(self._behind, 0, self._append(record))
        if len(found) == 4:
            return found[3]
        outcome, how = found[3:]
        if how == _LOST:
            raise RepeatError(f"what {name}() gave at {time} cannot be given again: {outcome}")
        value = pickle.loads(outcome)
        if how == _RAISED:
            raise value
        return value

    def skip(self, name: str) -> None:
        """Take what came of this call then, whatever it is."""
        try:
            self.take(name)
        except Exception:
            return

    def is_next(self, name: str) -> bool:
        """Whether the next record is of that name."""
        found = self._next(goes_on=False)
        return found is not None and found[2] == name

    def now(self) -> int:
        """The time on the debugger's clock."""
        return self._now()

    def _begin(self, branch: int, *, repeating: bool) -> None:
        self._branch = branch
        self._follows = False
        self.repeating = repeating
        self.thread = self._owner or get_ident()

    def _next(self, *, goes_on: bool = True) -> Any:
        """The next record of this branch, None behind the last one."""
        mark = self._mark
        for end, record in self._tape.records(_OFFSET.unpack(self._offset)[0]):
            if record[_BRANCH] == mark:
                if goes_on:
                    _put(self._offset, 0, end)
                return marshal.loads(record)
        return None

    def _pickled(self, name: str, outcome: Any, how: int) -> bytes:
        try:
            data: bytes | str = pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL)
        except Exception:
            data, how = f"a {type(outcome).__qualname__}", _LOST
        return _dumps((self._branch, self._now(), name, data, how), _FORMAT)


def _nothing() -> None:
    """Who is told that something is shown, if nobody else is."""


def _heard(thread: str) -> None:
    """Who is told that a thread is about to be started, if nobody else is."""


def _itself(fd: int) -> int:
    return fd


def _told(record: Any) -> str:
    if record is None:
        return _NOTHING
    _, time, name, outcome, *_ = record
    return f"{outcome} at {time}" if name == _MILESTONE else f"{name}() at {time}"


def _refuse(then: str, now: str) -> NoReturn:
    raise RepeatError(f"the program takes another path than it took: {now}, and then it was {then}")
