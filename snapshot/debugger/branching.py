"""The commands about named moments, and about branches of the past."""

from __future__ import annotations

from snapshot.debugger.drawing import drawn, listed
from snapshot.debugger.journeys import Journeys
from snapshot.errors import DebuggerError


class Branching(Journeys):
    """A pdb with those commands."""

    def do_snap(self, arg: str) -> None:
        """snap [name]

        Keep this moment, under a name for `goto` and `revert`; else its position is the name.
        """
        self._try(lambda: self._snap(arg.strip() or f"{self._engine.moment}"))

    def _snap(self, name: str) -> None:
        self._traveller.name(name)
        self._chronicle.mark(self._traveller.branch, name, self._engine.moment)
        self.message(f"position {self._engine.moment} is {name!r}")

    def do_snaps(self, arg: str) -> None:
        """snaps

        Draw the stops and the named moments of all branches.
        """
        here = self._traveller.branch, self._engine.moment
        self.message(drawn(self._chronicle.branches(), here))

    def do_branch(self, arg: str) -> None:
        """branch [number]

        Go to the end of a branch; without a number, list them. A branch begins where something was
        changed and the program went on: what it did without the change stays reachable.
        """
        word = arg.strip()
        branches = self._chronicle.branches()
        if not word:
            self.message(listed(branches, self._traveller.branch))
        elif not word.isdecimal() or int(word) not in branches:
            self.error(f"branch {word!r}: there is {', '.join(map(str, branches))}")
        else:
            self._try(lambda: self._go(int(word), branches[int(word)].tip))

    do_branches = do_branch

    def do_revert(self, arg: str) -> None:
        """revert [name]

        Go back to the moment that `snap` has named last, or to that of the name. The branch that is
        left is forgotten if it began after that.
        """
        self._try(lambda: self._revert(arg.strip()))

    def _revert(self, name: str) -> None:
        if not name:
            marks = self._chronicle.marks_before(self._traveller.branch, self._engine.moment)
            if not marks:
                raise DebuggerError("no moment before this one was named by `snap`")
            name = marks[-1]
        branch, moment = self._named(name)
        self._go(branch, moment, drop=branch < self._traveller.branch)

    def do_keep(self, arg: str) -> None:
        """keep

        This branch is the program from now on: the others are forgotten, and their processes end.
        """
        self._try(self._keep)

    def _keep(self) -> None:
        if self._traveller.branch == 1:
            raise DebuggerError("nothing was changed: this is the program")
        if self._traveller.visiting:
            raise DebuggerError("this is the past of a branch: `branch` goes to its end")
        self._traveller.drop_others()
        self.message(f"branch {self._traveller.branch} is the program now")
