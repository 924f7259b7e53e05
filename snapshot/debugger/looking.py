"""The commands that look at a moment, and change nothing."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from typing import Any

from snapshot.core.disposable import fork_job
from snapshot.core.job import Job, name_of
from snapshot.core.limits import Limits
from snapshot.debugger.differing import content, shown
from snapshot.debugger.rewinding import Rewinding
from snapshot.debugger.trial import trial
from snapshot.errors import DebuggerError


class Looking(Rewinding):
    """A pdb with those commands."""

    def do_try(self, arg: str) -> None:
        """try statement

        Run it in a fork that is thrown away: what it writes, its value, and what it would change.
        """
        self._try(lambda: self._tried(arg.strip()))

    def _tried(self, statement: str) -> None:
        assert self.curframe is not None
        try:
            code = compile(statement, "<try>", "single")
        except SyntaxError as error:
            raise DebuggerError(f"{statement!r} is no statement: {error.msg}") from None
        result = _in_fork(trial, code, self.curframe, capture=True)
        for text in (result.stdout, result.stderr):
            if text:
                self.message(text.decode(errors="replace").rstrip("\n"))
        for line in result.value:
            self.message(line)

    def do_p(self, arg: str) -> None:
        """p expression

        Print the value. What the expression calls is called in a fork that is thrown away; a
        statement changes the program.
        """
        self._looked_at(arg, super().do_p)

    def do_pp(self, arg: str) -> None:
        """pp expression

        Pretty-print the value; otherwise as `p`.
        """
        self._looked_at(arg, super().do_pp)

    def do_whatis(self, arg: str) -> None:
        """whatis expression

        Print the type of the value; otherwise as `p`.
        """
        self._looked_at(arg, super().do_whatis)

    def _looked_at(self, arg: str, look: Callable[[str], Any]) -> None:
        if self._past is None or not may_change(arg):
            look(arg)
        else:
            self._try(lambda: _in_fork(look, arg))

    def do_watch(self, arg: str) -> None:
        """watch [expression]

        Stop whenever the value of the expression has changed; without one, list those.
        """
        expression = arg.strip()
        if not expression:
            for each, value in self.watches.items():
                self.message(f"{each}: {shown(value)}")
            return
        self._try(lambda: self._watch(expression))

    def _watch(self, expression: str) -> None:
        assert self.curframe is not None
        value = self._evaluated(expression, self.curframe)
        self.watches[expression] = content(value)
        self.message(f"{expression}: {shown(content(value))}")

    def do_unwatch(self, arg: str) -> None:
        """unwatch [expression]

        Watch it no more; without one, watch nothing.
        """
        expression = arg.strip()
        if not expression:
            self.watches.clear()
        elif self.watches.pop(expression, None) is None:
            self.error(f"{expression!r} is not watched")


def _in_fork(function: Callable[..., Any], *args: Any, capture: bool = False) -> Any:
    """Call it in a disposable fork, which leaves no trace here: a repeat would not have it."""
    call = functools.partial(function, *args)
    return fork_job(Job(name_of(function), call, Limits(), capture=capture, untouched=True))


_CHANGING = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)


def may_change(line: str) -> bool:
    """Whether a statement may change something: only what looks up names and compares does not."""
    try:
        tree = ast.parse(line.removeprefix("!").strip())
    except SyntaxError:
        return False
    if any(isinstance(each, _CHANGING) for each in ast.walk(tree)):
        return True
    return not all(isinstance(each, ast.Expr) for each in tree.body)
