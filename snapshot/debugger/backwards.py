"""A pdb that goes backwards: every command of pdb, and those that go to earlier moments."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any

from snapshot.core.disposable import fork_call
from snapshot.core.timeline.member import Member
from snapshot.debugger import breaking
from snapshot.debugger.branching import Branching
from snapshot.debugger.engine import Engine, Event
from snapshot.debugger.own import Own
from snapshot.debugger.searching import (
    LastChange,
    LastHit,
    LineBefore,
    Passing,
    Search,
    content,
    shown,
)
from snapshot.debugger.stepping import write_locals
from snapshot.debugger.trial import trial
from snapshot.errors import DebuggerError


class Pdb(Branching):
    """`pdb.Pdb` in which every earlier moment of the program can be gone back to.

    changed: whether what was typed may have changed what comes.
    """

    def __init__(
        self, member: Member, own: Own, commands: Iterable[str] = (), **options: Any
    ) -> None:
        super().__init__(**options)
        self._own = own
        self.changed = False
        self.cmdqueue.extend(commands)
        self._engine = Engine(member, own, self)
        self._traveller = self._engine.traveller

    def run_program(self, run: Callable[[], BaseException | None]) -> BaseException | None:
        """Run a program; stop at its first line, and then wherever it is told to."""
        return self._engine.run(run)

    # What the engine asks.

    def show(self, event: Event) -> None:
        """See `engine.Prompt`."""
        self.prompt = f"(Pdb {event.time}) "
        self.changed = False
        with self._streams():
            if event.kind == "line":
                self.user_line(event.frame)
            elif event.kind == "call":
                self.user_call(event.frame, None)
            elif event.kind == "exception":
                self.user_exception(event.frame, event.argument)
            else:
                self.user_return(event.frame, event.argument)

    @contextlib.contextmanager
    def _streams(self) -> Iterator[None]:
        """Ours, wherever the program has put its own."""
        theirs = sys.stdin, sys.stdout
        sys.stdin, sys.stdout = ours = self.stdin, self.stdout
        try:
            yield
        finally:
            if (sys.stdin, sys.stdout) == ours:  # else it was changed at the prompt
                sys.stdin, sys.stdout = theirs

    def user_call(self, frame: FrameType, argument_list: Any) -> None:
        """As pdb's own, wherever it was to stop."""
        self.message("--Call--")
        self.interaction(frame, None)

    def show_end(self, moment: int, error: BaseException | None) -> None:
        """See `engine.Prompt`."""
        self.prompt = f"(Pdb {moment}) "
        while not self.quitting:
            how = "has ended" if error is None else f"was ended by {type(error).__name__}: {error}"
            self.message(f"The program {how}. Its past is there (rs, back, goto), q quits.")
            frame = _frame_of(vars(sys.modules["__main__"]))
            with self._streams():
                if error is None or error.__traceback__ is None:
                    self.interaction(frame, None)
                else:
                    self.interaction(None, error.__traceback__)

    def tell(self, text: str) -> None:
        """See `engine.Prompt`."""
        self.message(text)

    def search(self, news: Mapping[str, Any], event: Event) -> Search:
        """See `engine.Prompt`."""
        if news["sought"] == "path":
            return Passing()
        if news["sought"] == "line":
            return LineBefore(news, event.frame, self.botframe, self._own)
        if news["sought"] == "hit":
            self.take(news["carried"])
            return LastHit(
                lambda kind, frame: kind == "line" and breaking.would_be_hit(self, frame),
                frozenset(breaking.lines()),
            )
        return LastChange(news, event.frame, self.botframe)

    def set_break(self, filename: str, lineno: int, *more: Any, **others: Any) -> str | None:
        """As that of `bdb`; it is refused where it would never be hit."""
        if not self._own(self.canonic(filename)):
            return f"{filename} is installed code, which is not watched: start with --libraries"
        return super().set_break(filename, lineno, *more, **others)

    # Commands.

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
        result = fork_call(trial, code, self.curframe, capture=True)
        for text in (result.stdout, result.stderr):
            if text:
                self.message(text.decode(errors="replace").rstrip("\n"))
        for line in result.value:
            self.message(line)

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

    def default(self, line: str) -> None:
        if _changes(line):
            self.changed = True
        super().default(line)
        write_locals(self._frame)

    def do_jump(self, arg: str) -> None:
        """j(ump) number

        Set the line to be run next. What comes is a branch of its own.
        """
        before = self._frame.f_lineno
        super().do_jump(arg)
        self.changed |= self._frame.f_lineno != before

    do_j = do_jump

    def do_interact(self, arg: str) -> None:
        """interact

        Start Python's own prompt on the names of this frame. What comes is a branch of its own.
        """
        self.changed = True
        super().do_interact(arg)

    def do_debug(self, arg: str) -> None:
        """debug

        A debugger in the debugger: there is none here.
        """
        self.error("there is one debugger at a time: `try` runs a statement in a fork")

    def do_run(self, arg: str) -> None:
        """run, restart

        Go to the beginning.
        """
        self._try(lambda: self._goto(self._first()))

    do_restart = do_run

    def do_quit(self, arg: str) -> bool:
        """q(uit)

        End the program, and forget its past.
        """
        self.quitting = True
        return True

    do_q = do_exit = do_quit

    def do_EOF(self, arg: str) -> bool:
        """EOF

        As `quit`.
        """
        self.message("")
        return self.do_quit(arg)


_CHANGING = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)


def _changes(line: str) -> bool:
    """Whether a statement may change something: only what looks up names and compares does not."""
    try:
        tree = ast.parse(line.removeprefix("!").strip())
    except SyntaxError:
        return False
    if any(isinstance(each, _CHANGING) for each in ast.walk(tree)):
        return True
    return not all(isinstance(each, ast.Expr) for each in tree.body)


def _frame_of(namespace: dict[str, Any]) -> FrameType:
    """A frame in which names mean what they mean in a module that has ended."""
    code = compile("import sys as _\n_ = _._getframe()", "<the end>", "exec")
    local: dict[str, Any] = {}
    exec(code, namespace, local)
    frame: FrameType = local["_"]
    return frame
