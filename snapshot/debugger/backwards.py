"""A pdb that goes backwards: every command of pdb, and those that go to earlier moments."""

from __future__ import annotations

import ast
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

from snapshot.core.disposable import fork_call
from snapshot.core.timeline.member import Member
from snapshot.debugger import session
from snapshot.debugger.chronicle import Chronicle
from snapshot.debugger.drawing import drawn, listed
from snapshot.debugger.engine import Engine, Event
from snapshot.debugger.own import Own
from snapshot.debugger.searching import (
    Found,
    LastChange,
    LastHit,
    LineBefore,
    Search,
    content,
    depth_of,
    outwards,
    shown,
)
from snapshot.debugger.stepping import Stepping, write_locals
from snapshot.debugger.trial import trial
from snapshot.errors import DebuggerError, SnapshotError


class Pdb(Stepping):
    """`pdb.Pdb` in which every earlier moment of the program can be gone back to.

    changed: whether what was typed may have changed what comes. shown: what is displayed: depth and
    name of the frame, the expression, and its value as text.
    """

    displaying: dict[FrameType | None, dict[str, Any]]  # which typeshed does not know

    def __init__(
        self, member: Member, own: Own, commands: Iterable[str] = (), **options: Any
    ) -> None:
        super().__init__(**options)
        self._own = own
        self.changed = False
        self.shown: list[tuple[int, str, str, str]] = []
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
        if event.kind == "line":
            self.user_line(event.frame)
        elif event.kind == "call":
            self.user_call(event.frame, None)
        elif event.kind == "exception":
            self.user_exception(event.frame, event.argument)
        else:
            self.user_return(event.frame, event.argument)

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
            if error is None or error.__traceback__ is None:
                self.interaction(frame, None)
            else:
                self.interaction(None, error.__traceback__)

    def message_of(self, event: Event) -> None:
        """What pdb says of an event that is no line."""
        if event.kind == "exception":
            self.message(traceback.format_exception_only(event.argument[1])[-1].strip())
        elif event.kind != "line":
            self.message("--Call--" if event.kind == "call" else "--Return--")

    def carry(self) -> bytes:
        """See `engine.Prompt`."""
        self.shown = [
            (depth_of(frame, self.botframe), frame.f_code.co_qualname, expression, repr(value))
            for frame, displays in self.displaying.items()
            if frame is not None
            for expression, value in displays.items()
        ]
        return session.of(self)

    def setup(self, f: FrameType | None, tb: Any) -> Any:
        """As pdb's own; what is displayed in a frame is displayed in that of any moment."""
        done = super().setup(f, tb)
        for frame, _ in self.stack:
            here = depth_of(frame, self.botframe), frame.f_code.co_qualname
            for depth, name, expression, old in self.shown:
                if (depth, name) == here:
                    self.displaying.setdefault(frame, {})[expression] = _Old(old)
        return done

    def take(self, carried: bytes) -> None:
        """See `engine.Prompt`."""
        session.put(self, carried)

    def tell(self, text: str) -> None:
        """See `engine.Prompt`."""
        self.message(text)

    def search(self, news: Mapping[str, Any], event: Event) -> Search:
        """See `engine.Prompt`."""
        if news["sought"] == "line":
            return LineBefore(news, event.frame, self.botframe)
        if news["sought"] == "hit":
            self.take(news["carried"])
            return LastHit(lambda kind, frame: self.is_hit(Event(0, kind, frame)))
        return LastChange(news, event.frame, self.botframe)

    # Commands.

    def _go(self, branch: int, moment: int, told: str = "", *, drop: bool = False) -> None:
        """Stand at another moment; here again, when somebody comes back."""
        if (branch, moment) == (self._traveller.branch, self._engine.moment):
            raise DebuggerError(f"this is position {moment}")
        self._traveller.go(branch, moment, drop=drop, carried=self.carry(), told=told)
        self._come_back()

    def _come_back(self) -> None:
        """Somebody has come back to this process, which stood at its prompt."""
        news = self._traveller.news
        session.put(self, news["carried"])
        if news.get("failed"):
            self.error(news["failed"])
        if news.get("told"):
            self.message(news["told"])
        if self._engine.event is not None:
            self.message_of(self._engine.event)
        self.print_stack_entry(self.stack[self.curindex])

    def _try(self, action: Callable[[], Any]) -> None:
        try:
            action()
        except SnapshotError as error:
            self.error(str(error))

    def _goto(self, moment: int, told: str = "") -> None:
        owner = self._chronicle.owner(self._traveller.branch, moment)
        if owner is None:
            first = self._first()
            raise DebuggerError(f"position {moment} is before the beginning, which is {first}")
        if moment > owner.tip:
            raise DebuggerError(
                f"position {moment} is beyond the end: it is known up to {owner.tip}"
            )
        self._go(owner.number, moment, told)

    def _first(self) -> int:
        return self._chronicle.first(self._chronicle.branches()[1])

    @property
    def _frame(self) -> FrameType:
        """The one that is looked at."""
        assert self.curframe is not None
        return self.curframe

    @property
    def _chronicle(self) -> Chronicle:
        return self._traveller.chronicle

    def do_goto(self, arg: str) -> None:
        """goto position|name

        Go to a moment: a position, as the prompts show it, or one that `snap` has named.
        """
        word = arg.strip()
        if word.isdecimal():
            self._try(lambda: self._goto(int(word)))
        else:
            self._try(lambda: self._go(*self._named(word)))

    def _named(self, name: str) -> tuple[int, int]:
        """The branch and the time of that name. Raises `DebuggerError`."""
        marks = self._chronicle.marks()
        if name not in marks:
            names = ", ".join(map(repr, marks)) or "none: `snap name` gives one"
            raise DebuggerError(f"no moment is named {name!r}; there is {names}")
        return marks[name]

    def do_back(self, arg: str) -> None:
        """back [count]

        Go to the stop before this one, or the one so many before: exactly as it was.
        """
        self._try(lambda: self._jump(-_count(arg)))

    def do_forward(self, arg: str) -> None:
        """forward [count]

        Go to the stop after this one, or the one so many after: exactly as it was.
        """
        self._try(lambda: self._jump(_count(arg)))

    def _jump(self, count: int) -> None:
        stops = self._chronicle.prompts(self._traveller.branch)
        if count < 0:
            there = [each for each in stops if each.time < self._engine.moment]
            if len(there) < -count:
                raise DebuggerError(f"{_stops(len(there))} before this one")
            stop = there[count]
        else:
            there = [each for each in stops if each.time > self._engine.moment]
            if len(there) < count:
                raise DebuggerError(f"{_stops(len(there))} after this one")
            stop = there[count - 1]
        self._go(stop.branch, stop.time)

    def do_rstep(self, arg: str) -> None:
        """rs(tep)

        Go back to the event before: the inverse of `step`.
        """
        self._try(self._rstep)

    do_rs = do_rstep

    def _rstep(self) -> None:
        if self._engine.moment <= self._first():
            raise DebuggerError("this is the beginning: nothing is known of what was before")
        self._goto(self._engine.moment - 1)

    def do_rnext(self, arg: str) -> None:
        """rn(ext)

        Go back to the line that this frame was at before; from its first one, to the line that has
        called it. The inverse of `next`.
        """
        self._try(lambda: self._line_before(self._frame))

    do_rn = do_rnext

    def do_rreturn(self, arg: str) -> None:
        """rr(eturn)

        Go back to the line that has called this function.
        """
        self._try(self._rreturn)

    do_rr = do_rreturn

    def _rreturn(self) -> None:
        for frame in outwards(self._frame.f_back, self.botframe):
            if self._own(frame.f_code.co_filename):
                self._line_before(frame)
                return
        raise DebuggerError("nothing of the program's own has called this")

    def _line_before(self, frame: FrameType) -> None:
        depth = depth_of(frame, self.botframe)
        found = self._traveller.search("line", self._engine.moment, {"depth": depth})
        if found.time is None:
            raise DebuggerError("there is no line before this one: this is where the past begins")
        self._goto(found.time)

    def do_rcontinue(self, arg: str) -> None:
        """rc(ontinue)

        Go back to the last breakpoint that was hit before; without one, to the beginning.
        """
        self._try(self._rcontinue)

    do_rc = do_rcontinue

    def _rcontinue(self) -> None:
        found = Found(None)
        if self.breaks:
            details = {"carried": self.carry()}
            found = self._traveller.search("hit", self._engine.moment, details)
        first = self._first()
        if found.time is not None:
            self._goto(found.time)
        elif self._engine.moment > first:
            self._goto(first, "no breakpoint was hit before: this is the beginning")
        else:
            raise DebuggerError("this is the beginning: no breakpoint was hit before")

    def do_last(self, arg: str) -> None:
        """last expression

        Go back to the line that has changed the value of an expression last, before it ran.
        """
        self._try(lambda: self._last(arg.strip()))

    do_rwatch = do_last

    def _last(self, expression: str) -> None:
        frame, depth = self.curframe, 0
        assert frame is not None
        self._evaluated(expression, frame)
        if session.names(frame) & _names_in(expression):
            depth = depth_of(frame, self.botframe)
        details = {
            "expression": expression,
            "depth": depth,
            "module": frame.f_globals["__name__"],
        }
        found = self._traveller.search("change", self._engine.moment, details)
        if found.time is None:
            raise DebuggerError(f"{expression} has not changed before, as far as is known")
        self._goto(found.time, f"{expression}: {found.told}")

    def _evaluated(self, expression: str, frame: FrameType) -> Any:
        """Its value in that frame. Raises `DebuggerError`."""
        try:
            return eval(expression, frame.f_globals, frame.f_locals)
        except SyntaxError as error:
            raise DebuggerError(f"{expression!r} is no expression: {error.msg}") from None
        except Exception as error:
            raise DebuggerError(f"{expression}: {type(error).__name__}: {error}") from None

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


class _Old:
    """A value that was displayed at another moment: equal to what looks the same."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __eq__(self, other: object) -> bool:
        try:
            return repr(other) == self._text
        except Exception:
            return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._text


def _count(arg: str) -> int:
    word = arg.strip() or "1"
    if not word.isdecimal() or not int(word):
        raise DebuggerError(f"{word!r} is no number of stops")
    return int(word)


def _stops(count: int) -> str:
    if count == 1:
        return "there is 1 stop"
    return f"there are {count or 'no'} stops"


def _names_in(expression: str) -> set[str]:
    return {each.id for each in ast.walk(ast.parse(expression)) if isinstance(each, ast.Name)}


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
