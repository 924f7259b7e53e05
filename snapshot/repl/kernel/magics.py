"""`%past`, `%present`, `%states`, `%vars`, `%%future` in a cell of a notebook."""

from __future__ import annotations

import ast
from typing import Any

from snapshot.repl.timemachine import TimeMachine


def register(shell: Any, machine: TimeMachine) -> None:
    """Make them known to a shell of IPython's."""
    magics = Magics(shell, machine)
    for name in ("past", "present", "states", "vars"):
        shell.register_magic_function(getattr(magics, name), "line", name)
    shell.register_magic_function(magics.future, "cell", "future")


class Magics:
    """The verbs of the time machine, as magics."""

    def __init__(self, shell: Any, machine: TimeMachine) -> None:
        self._shell, self._machine = shell, machine

    def past(self, line: str) -> None:
        """%past n: the whole process as it was after cell n, or at the state of that name."""
        self._machine.past(_state(line))

    def present(self, line: str) -> None:
        """%present, %present branch: the process at the tip of the first, or of that branch."""
        self._machine.present(*([int(line)] if line.strip() else []))

    def states(self, line: str) -> Any:
        """%states: the tree of states."""
        return self._machine.states()

    def vars(self, line: str) -> Any:
        """%vars n: the variables after cell n."""
        return self._machine.vars(_state(line))

    def future(self, line: str, cell: str) -> Any:
        """%%future: run the cell in a fork, in the background; %%future name gives it to a name."""
        future = self._machine.future(cell)
        if name := line.strip():
            self._shell.push({name: future})
        return future


def _state(line: str) -> Any:
    text = line.strip()
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
