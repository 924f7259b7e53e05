"""The commands about named moments, and about branches of the past."""

from __future__ import annotations

from snapshot.core import line, tree
from snapshot.debugger.drawing import drawn, listed
from snapshot.debugger.journeys import Journeys
from snapshot.errors import DebuggerError


class Branching(Journeys):
    """A pdb with those commands."""

    changed: bool  # at this prompt, see `backwards.Pdb`

    def do_snap(self, arg: str) -> None:
        """snap [name]

        Keep this moment, under a name for `goto` and `revert`; else its position is the name.
        Where no past is kept, which is in the original: begin an experiment here.
        """
        name = arg.strip()
        self._try(lambda: self.experiment(name) if self._past is None else self._snap(name))

    def experiment(self, name: str | None = None) -> None:
        """Begin one at the line that is shown; back here when it has ended."""
        raise NotImplementedError

    def _snap(self, name: str) -> None:
        if self.changed:  # the state of this moment is one without the change
            raise DebuggerError(
                "something was changed here, and is no past yet: go on by a step, then `snap`"
            )
        name = name or f"{self._engine.moment}"
        self._traveller.name(name)
        self._chronicle.mark(self._traveller.branch, name, self._engine.moment)
        self.message(f"position {self._engine.moment} is {name!r}")

    def do_snaps(self, arg: str) -> None:
        """snaps

        Draw the stops and the named moments of all branches, and list the snapshots that wait.
        """
        if self._past is not None:
            here = self._traveller.branch, self._engine.moment
            self.message(drawn(self._chronicle.branches(), here))
        if self._past is None or tree.in_snapshot():
            self.message(repr(tree.snapshots()))

    def do_branch(self, arg: str) -> None:
        """branch [number]

        Go to the end of a branch; without a number, list them. A branch begins where something was
        changed and the program went on: what it did without the change stays reachable.
        """
        self._try(lambda: self._branch(arg.strip()))

    def _branch(self, word: str) -> None:
        here = self._traveller.branch
        branches = self._chronicle.there(here)
        if not word:
            self.message(listed(branches, here))
        elif not word.isdecimal() or int(word) not in branches:
            raise DebuggerError(f"branch {word!r}: there is {', '.join(map(str, branches))}")
        else:
            self._go(int(word), branches[int(word)].tip)

    do_branches = do_branch

    def do_revert(self, arg: str) -> None:
        """revert [name]

        Go back to the moment that `snap` has named last, or to that of the name. The branch that is
        left is forgotten if it began after that. In an experiment in which nothing was named, or
        with the name or the index of a snapshot that waits: end it.
        """
        name = arg.strip()
        self._try(lambda: self._end_experiment(name) if self._past is None else self._revert(name))

    def _end_experiment(self, name: str) -> None:
        to = int(name) if name.isdecimal() else name or None
        if tree.in_snapshot():
            line.find(to)
            self.quitting = True
        tree.revert(to)

    def _revert(self, name: str) -> None:
        before = self._chronicle.marks_before(self._traveller.branch, self._engine.moment)
        is_known = name in self._chronicle.marks() if name else bool(before)
        if not is_known and tree.in_snapshot():
            self._end_experiment(name)
        if not name:
            if not before:
                raise DebuggerError("no moment before this one was named by `snap`")
            name = before[-1]
        branch, moment = self._named(name)
        self._go(branch, moment, drop=branch < self._traveller.branch)

    def do_keep(self, arg: str) -> None:
        """keep

        This branch is the program from now on: the others are forgotten, and their processes end.
        What one that it comes from did before it began is its past.
        In an experiment: it is the original from now on.
        """
        self._try(tree.keep if self._past is None else self._keep)

    def _keep(self) -> None:
        is_experiment = tree.in_snapshot()
        if self._traveller.branch == 1 and not is_experiment:
            raise DebuggerError("nothing was changed: this is the program")
        if self._traveller.visiting:
            raise DebuggerError("this is the past of a branch: `branch` goes to its end")
        if self._traveller.branch > 1:
            self._traveller.drop_others()
            self.message(f"branch {self._traveller.branch} is the program now")
        if is_experiment:
            tree.keep()
            self._chronicle.kept()
