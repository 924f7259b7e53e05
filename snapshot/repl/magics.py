"""The verbs of the time machine as magics of IPython's: at its prompt, and in notebooks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from snapshot.core import tree
from snapshot.core.line import Place
from snapshot.core.messages import say
from snapshot.errors import UsageError
from snapshot.repl import failure
from snapshot.repl.archive import Variables
from snapshot.repl.futures import BranchFuture
from snapshot.repl.timemachine import TimeMachine
from snapshot.repl.views import Tree


def say_not_set(names: Iterable[str], elsewhere: str) -> None:
    """The user has such names, and keeps them. elsewhere: where ours are."""
    if kept := ", ".join(sorted(names)):
        say(f"snapshot: not set, as you have your own: {kept}; ours: {elsewhere}")


class Magics:
    """The verbs as magics. What follows `%` is a state, a name or nothing."""

    def __init__(self, shell: Any, machine: TimeMachine, *more: str) -> None:
        """more: which of `snapshot`, `revert`, `keep` are magics, too."""
        self._shell, self._machine = shell, machine
        self._names = ("backwards", "past", "present", "states", "vars", *more)

    def register(self) -> None:
        """Make them known to the shell, one of IPython's."""
        for name in self._names:
            self._shell.register_magic_function(getattr(self, name), "line", name)
        self._shell.register_magic_function(self.future, "line_cell", "future")

    def forget(self) -> None:
        """Take them from it."""
        for magics in self._shell.magics_manager.magics.values():
            for name in (*self._names, "future"):
                if getattr(magics.get(name), "__self__", None) is self:
                    del magics[name]

    def past(self, line: str) -> None:
        """`%past 20`, `%past loaded`: go to the state after a cell, or that of a name."""
        self._machine.past(_state("past", line))

    def present(self, line: str) -> None:
        """`%present`, `%present 2`: go back to the present, or to the tip of another branch."""
        branch = _state("present", line) if line.strip() else 1
        self._machine.present(branch)  # type: ignore[arg-type]  # which says what branches are

    def states(self, line: str) -> Tree:
        """`%states`: the tree of states."""
        _nothing("states", line)
        return self._machine.states()

    def vars(self, line: str) -> Variables:
        """`%vars 3`: the variables after a cell, fetched when they are looked at."""
        return self._machine.vars(_state("vars", line))

    def backwards(self, line: str) -> None:
        """`%backwards f(x)`: run a statement in the debugger that goes backwards, in an experiment;
        `%backwards`: look at the frames of the last exception, in one.
        """
        source = line.strip()
        if source:
            from snapshot.debugger import Pdb  # here, since it takes long to load

            shell = self._shell
            statement = shell.transform_cell(source)
            try:
                Pdb().run_statement(statement, shell.user_global_ns, shell.user_ns)
            except SyntaxError as wrong:  # what the statement raises itself is not raised here
                raise UsageError(f"%backwards: {source!r} is no statement: {wrong.msg}") from None
            return
        error = getattr(sys, "last_value", None)
        if error is None:
            raise UsageError("%backwards: there was no exception; give a statement to run")
        failure.post_mortem(error)

    def future(self, line: str, cell: str | None = None) -> BranchFuture:
        """`%%future`: run the cell below in a fork in the background; `%future f(x)`: a line.

        `%%future name` gives the future to a variable.
        """
        source, name = (line, "") if cell is None else (cell, line.strip())
        if name and not name.isidentifier():
            raise UsageError(f"%%future: {name!r} is no name of a variable")
        if not source.strip():
            raise UsageError("%future: give an expression; after %%future, code in the lines below")
        future = self._machine.future(self._shell.transform_cell(source))
        if name:
            self._shell.push({name: future})
        return future

    def snapshot(self, line: str) -> bool:
        """`%snapshot`, `%snapshot name`: the next cells are an experiment, until `%revert`."""
        return tree.snapshot_at(self._place(), line.strip() or None)

    def revert(self, line: str) -> None:
        """`%revert`, `%revert name`: end the experiment, and be back where it began."""
        tree.revert(to=_state("revert", line) if line.strip() else None)

    def keep(self, line: str) -> None:
        """`%keep`: the experiment becomes the real process."""
        _nothing("keep", line)
        tree.keep()

    def _place(self) -> Place:
        """The line of the cell that runs."""
        frame = sys._getframe()
        while frame.f_globals is not self._shell.user_ns and frame.f_back is not None:
            frame = frame.f_back
        return Place.at(frame, frame.f_lineno)


def _state(magic: str, line: str) -> int | str:
    text = line.strip()
    if not text:
        raise UsageError(f"%{magic}: give the number of a cell, or a name")
    return int(text) if text.isdecimal() else text.strip("'\"")


def _nothing(magic: str, line: str) -> None:
    if line.strip():
        raise UsageError(f"%{magic} takes nothing, not {line.strip()!r}")


def mistake(text: str) -> Exception:
    """An error that IPython shows in one line."""
    error: type[Exception] = sys.modules["IPython.core.error"].UsageError
    return error(text)
