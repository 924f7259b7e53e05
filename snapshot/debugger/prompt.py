"""A pdb whose prompt knows snapshots: `snap`, `snaps`, `revert`, `keep`."""

from __future__ import annotations

import pdb
import sys
from types import FrameType
from typing import Any

from snapshot.core import tree
from snapshot.core.line import Place
from snapshot.errors import SnapshotError


def set_trace(*, header: str | None = None) -> None:
    """Open the debugger at the caller's line, in an experiment.

    When the experiment ends, in whatever way, the debugger opens again in the original at the
    same line, this time without a fork: `c` there continues the real program, and `snap` forks
    again. `keep` in the experiment makes that one the real program. To have it for every
    `breakpoint()`, set PYTHONBREAKPOINT=snapshot.set_trace.

    header: shown before the first prompt.
    """
    frame = sys._getframe(1)
    debugger = _in_pytest() or Debugger()
    tree.snapshot()
    if header is not None:
        debugger.message(header)
    debugger.set_trace(frame)


def _in_pytest() -> Any:
    """The debugger as pytest opens it, which captures nothing until it is left; else None.

    It is opened before the snapshot, so that the lines of both processes are seen.
    """
    debugging = sys.modules.get("_pytest.debugging")
    if debugging is None or debugging.pytestPDB._config is None:
        return None
    options = debugging.pytestPDB._config.option
    chosen = options.usepdb_cls
    options.usepdb_cls = (Debugger.__module__, Debugger.__name__)
    try:
        return debugging.pytestPDB._init_pdb("set_trace")
    finally:
        options.usepdb_cls = chosen


class Debugger(pdb.Pdb):
    """`pdb.Pdb` with the commands of snapshots; all others are pdb's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._show_where()

    def do_snap(self, arg: str) -> None:
        """snap [name]

        Take a snapshot here. What follows is an experiment: when it ends (`revert`, `q`, the end
        of the program, a crash), this prompt is back.
        """
        frame, line = self.stack[self.curindex]
        self._try(lambda: tree.snapshot_at(Place.at(frame, line), arg.strip() or None))
        self._show_where()

    def do_snaps(self, arg: str) -> None:
        """snaps

        List the snapshots that wait, from the first one to here.
        """
        self.message(repr(tree.snapshots()))

    def do_revert(self, arg: str) -> None:
        """revert [name or index]

        End the experiment and go back to the last snapshot, or to the one named.
        """
        to = arg.strip()
        self._try(lambda: tree.revert(int(to) if to.isdecimal() else to or None))

    def do_keep(self, arg: str) -> None:
        """keep

        Make this experiment the original. What waited for it gives up its turn.
        """
        self._try(tree.keep)
        self._show_where()

    def _try(self, action: Any) -> None:
        try:
            action()
        except SnapshotError as error:
            self.error(str(error))

    def _show_where(self) -> None:
        depth = len(tree.snapshots())
        self.prompt = f"(Pdb {depth}) " if depth else "(Pdb) "

    def interaction(self, frame: FrameType | None, *args: Any) -> None:
        self._show_where()
        super().interaction(frame, *args)
