"""An exception that nobody caught: shown as Python would, its frames at hand, and a debugger."""

from __future__ import annotations

import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, overload

from snapshot.core import tree
from snapshot.core.line import Place, table
from snapshot.errors import DebuggerError, SnapshotError

# Whose frames lie between Python's own start and the program.
_MACHINERY = ("IPython", "ptpython", "runpy", "snapshot")


def show(error: BaseException) -> None:
    """Show it through `sys.excepthook`, without the frames that ran the program; remember it."""
    remember(error)
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except Exception:
        traceback.print_exc()
        sys.__excepthook__(type(error), error, error.__traceback__)


def remember(error: BaseException) -> None:
    """Make it the last exception, as Python does for `pdb.pm`; `frames` are its frames now."""
    error.__traceback__ = _of_program(error.__traceback__)
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    sys.last_type, sys.last_value = type(error), error
    sys.last_traceback = error.__traceback__


def post_mortem(
    error: BaseException, *, has_past: bool = False, hindrance: str | None = None
) -> list[str] | None:
    """Open the debugger where the exception was raised, in an experiment.

    Returns when that has ended, in whatever way. After `keep` it returns in the experiment, which
    is the original then, when the debugger ends.

    has_past: whether the past can be had; then a command that goes there ends the experiment, and
    this returns it, after that which goes to the frame where it was given. hindrance: why the past
    cannot be had, after all, which is what such a command says then.
    """
    try:
        frame, line = list(traceback.walk_tb(error.__traceback__))[-1]
        if not tree.snapshot_at(Place.at(frame, line)):
            experiment = tree.last_experiment()
            return experiment.value if has_past and experiment is not None else None
    except SnapshotError as reason:
        print(f"snapshot: no debugger: {reason}", file=sys.stderr)
        return None
    from snapshot.debugger import Pdb  # here, since it takes long to load

    debugger = Pdb()
    if has_past:
        outermost = tree.snapshots()[0].index

        def fetch(command: str) -> None:
            if hindrance is not None:
                raise DebuggerError(hindrance)
            tree.revert(to=outermost, value=[*debugger.way_to_frame(), command])

        debugger.fetch_past = fetch
    debugger.reset()
    debugger.interaction(None, error.__traceback__)
    if tree.in_snapshot():
        tree.revert()
    return None


class Frame:
    """A frame of an exception; its variables are its attributes: `frames[-1].x`.

    locals: all its variables by name, also those whose names are no attributes here.
    """

    def __init__(self, frame: FrameType, line: int) -> None:
        self._frame = frame
        self._where = Place.at(frame, line)

    @property
    def locals(self) -> dict[str, Any]:
        return dict(self._frame.f_locals)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by copy, pickle and prompts
            raise AttributeError(name)
        variables = self.locals
        if name not in variables:
            there = ", ".join(self._names()) or "none"
            raise AttributeError(f"no variable {name!r} in {self._where}; there are: {there}")
        return variables[name]

    def __dir__(self) -> list[str]:
        return sorted({"locals", *self._names()})

    def __repr__(self) -> str:
        return f"<{self._where}: {', '.join(self._names())}>"

    def _names(self) -> list[str]:
        return [name for name in self._frame.f_locals if not name.startswith("__")]


class Frames(Sequence[Frame]):
    """The frames of the last uncaught exception, outermost first; shows as a table.

    It follows the exceptions: whatever was shown last, of the program or of a line at the prompt.
    """

    def __len__(self) -> int:
        return len(self._entries())

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        entries = self._entries()
        try:
            return entries[index]
        except IndexError:
            raise IndexError(f"frames[{index}]: there are {len(entries)} frames") from None

    def __repr__(self) -> str:
        entries = self._entries()
        if not entries:
            return "no uncaught exception so far"
        places = [str(entry._where) for entry in entries]
        room = shutil.get_terminal_size().columns - max(map(len, places)) - 10
        rows = [("", "where", "variables")]
        for index, (place, entry) in enumerate(zip(places, entries, strict=True)):
            names = textwrap.shorten(", ".join(entry._names()), max(room, 20), placeholder=" ...")
            rows.append((str(index), place, names))
        return table(rows)

    def _entries(self) -> list[Frame]:
        last: BaseException | None = getattr(sys, "last_value", None)
        trace = last.__traceback__ if last is not None else None
        return [Frame(frame, line) for frame, line in traceback.walk_tb(trace)]


frames = Frames()


def _of_program(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of the program's own; all of it if there is none."""
    rest = trace
    while rest is not None and _is_machinery(rest.tb_frame):
        rest = rest.tb_next
    return rest or trace


def is_ours(error: BaseException) -> bool:
    """Whether it was raised in this package, called from the cell itself: the user's mistake."""
    own = [each for each in _frames(error.__traceback__) if not _is_machinery(each)]
    return len(own) <= 1


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _is_machinery(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] in _MACHINERY
