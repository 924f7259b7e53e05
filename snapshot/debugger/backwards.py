"""A pdb that goes backwards: every command of pdb, and those that go to earlier moments."""

from __future__ import annotations

import contextlib
import inspect
import pdb
import sys
from bdb import BdbQuit
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any

from snapshot.core import tree
from snapshot.core.line import Place
from snapshot.core.timeline.member import Member
from snapshot.core.timeline.starting import supervise_experiment
from snapshot.debugger.again import Again
from snapshot.debugger.ahead import Ahead
from snapshot.debugger.engine import Engine, Event
from snapshot.debugger.looking import may_change
from snapshot.debugger.own import COMMAND, Own, is_ours
from snapshot.debugger.prompting import Prompting
from snapshot.debugger.searching import outwards
from snapshot.debugger.stepping import write_locals
from snapshot.debugger.typed import read_no_further
from snapshot.debugger.world import World
from snapshot.errors import DebuggerError


class Pdb(Prompting):
    """`pdb.Pdb` in which every earlier moment of the program can be gone back to.

    In a program that runs already the past begins where it is opened, in an experiment. When that
    has ended it opens there again, in the original, where it goes forwards alone; `snap` begins
    the next experiment. Of an exception it shows the frames, as pdb does.

    own: which code is watched; by default, what is not installed. commands: given at the first
    prompt. options: as for `pdb.Pdb`. changed: whether what was typed may have changed what comes.

    Raises `DebuggerError` where a standard stream is closed.
    """

    def __init__(
        self, own: Own | None = None, commands: Iterable[str] = (), **options: Any
    ) -> None:
        for stream, name in ((sys.stdin, "input"), (sys.stdout, "output"), (sys.stderr, "error")):
            if stream is None:
                raise DebuggerError(f"standard {name} is closed: there is nobody to ask")
        super().__init__(**options)
        self._own = own or Own()
        self.changed = False
        self.cmdqueue.extend(commands)
        self._ahead: Ahead | None = None
        self._from_entry = False

    def run_program(
        self, member: Member, run: Callable[[], BaseException | None]
    ) -> BaseException | None:
        """Run a program; stop at its first line, and then wherever it is told to."""
        with _hooks():
            self._past = Engine(member, self._own, self)
            _become(self)
            return self._past.run(run)

    def set_trace(self, frame: FrameType | None = None, header: str | None = None) -> None:
        """Stop at the line where a frame is, by default the caller's; see the class.

        Where a past is kept already, stop at the next event. header: shown before the prompt.
        """
        frame = frame or sys._getframe(1)
        if header is not None:
            self.message(header)
        if _here is not None and _here.halt():
            return
        for each in outwards(frame, None):
            if each.f_code.co_filename == frame.f_code.co_filename:
                self._own.include(each.f_code)
        self._begin(Event(0, "line", frame))

    def _begin(self, event: Event | None) -> None:
        """Watch the program from now on, in an experiment first."""
        _become(self)
        self._ahead = self._ahead or Ahead(self._own, self)
        self._ahead.event = event
        self._try(self.experiment)
        if self._past is None:
            self._ahead.attach(event)

    def is_here(self) -> bool:
        """See `Engine.is_here`."""
        return self._past is not None and self._past.is_here()

    def halt(self) -> bool:
        """Stop at the next event, if a past is kept; else watch the program no more."""
        if self._past is not None:
            self._past.halt()
            return True
        if self._ahead is not None:
            self._ahead.detach()
        return False

    def experiment(self, name: str | None = None) -> None:
        """See `Branching`; in the experiment, what comes is kept as its past."""
        if self._ahead is None:  # there are frames, but nothing that runs
            frame, number = self.stack[self.curindex]
            tree.snapshot_at(Place.at(frame, number), name or None)
            return
        event = self._ahead.event
        if not tree.snapshot_at(Place.of(event.frame if event else sys._getframe(1)), name or None):
            return
        self._ahead.detach()
        past = self._keep_past()
        past.attach(event)
        self._goes_on = True

    def begin_at_entry(self, code: CodeType, frame: FrameType) -> None:
        """See the function of that name."""
        self._own.include(code)
        self._from_entry = True
        _become(self)
        self._keep_past().attach(None, frame)

    def _keep_past(self) -> Engine:
        """In an experiment that has just begun."""
        read_no_further()
        self.stdin = sys.stdin
        self._past = Engine(supervise_experiment(), self._own, self)
        _hook()
        return self._past

    def remember(self, member: Member, ask: Callable[[str], bool]) -> Again:
        """For a program that runs at its own speed, and is to have its past when that is wanted.

        ask: see `Again`.
        """
        self._past = Again(member, self._own, self, ask)
        return self._past

    def way_to_frame(self) -> list[str]:
        """The commands that go from the frame that is shown first to the one that is looked at."""
        up = self.stands - self.curindex
        return [f"up {up}"] if up > 0 else [f"down {-up}"] if up else []

    def run_statement(
        self, source: str, globals: dict[str, Any], locals: Mapping[str, Any]
    ) -> None:
        """Run it in an experiment, which ends with it; stop at its first line.

        After `keep` this returns in the experiment, which is the original then. Raises what
        `snapshot` raises.
        """
        code = self._compiled(source, "exec")
        if not tree.snapshot_at(Place.of(sys._getframe(1))):
            return

        def run() -> BaseException | None:
            try:
                exec(code, globals, locals)
            except BaseException as error:
                return error
            return None

        self.run_program(supervise_experiment(), run)
        if tree.in_snapshot():
            tree.revert()

    def run_call(self, member: Member, call: Callable[[], Any]) -> Any:
        """Make a call; stop at its first line. Returns and raises what it does."""
        self._include(call)
        found: list[Any] = []

        def run() -> BaseException | None:
            try:
                found.append(call())
            except BaseException as error:
                return error
            return None

        if (error := self.run_program(member, run)) is not None:
            raise error
        return found[0]

    def run(
        self,
        cmd: Any,
        globals: dict[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
    ) -> None:
        """Run a statement, as text or compiled, among the names of `__main__` by default; stop at
        its first line, see the class."""
        namespace = vars(sys.modules["__main__"]) if globals is None else globals
        code = self._compiled(cmd, "exec")
        self._watch_from_here()
        exec(code, namespace, namespace if locals is None else locals)

    def runeval(
        self,
        expr: Any,
        globals: dict[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
    ) -> Any:
        """The same with an expression; its value."""
        namespace = vars(sys.modules["__main__"]) if globals is None else globals
        code = self._compiled(expr, "eval")
        self._watch_from_here()
        return eval(code, namespace, namespace if locals is None else locals)

    def runcall(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, and stop at its first line; see the class."""
        self._include(function)
        self._watch_from_here()
        return function(*args, **kwargs)

    def _watch_from_here(self) -> None:
        if _here is None or not _here.halt():
            self._begin(None)

    def _compiled(self, source: Any, mode: str) -> CodeType:
        if isinstance(source, CodeType):
            self._own.include(source)
            return source
        code = compile(source, COMMAND, mode)
        self._own.include(code, source)
        return code

    def _include(self, function: Callable[..., Any]) -> None:
        code = getattr(inspect.unwrap(function), "__code__", None)
        if code is not None:
            self._own.include(code)

    # Commands.

    def default(self, line: str) -> None:
        if may_change(line):
            self._begin_to_change(line)
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
        self._begin_to_change("interact")
        super().do_interact(arg)

    def _begin_to_change(self, statement: str) -> None:
        self.changed = True
        if self._past is not None:
            self._traveller.runs(statement)

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
        _show_quit_without_ours()
        if self._from_entry and self._engine.event is not None:
            tree.revert()  # no frame of the program's is unwound
        return True

    do_q = do_exit = do_quit

    def do_EOF(self, arg: str) -> bool:
        """EOF

        As `quit`.
        """
        self.message("")
        return self.do_quit(arg)


# The debugger that watches this process, or did last.
_here: Pdb | None = None


def _become(debugger: Pdb) -> None:
    global _here
    _here = debugger


def set_trace(*, header: str | None = None) -> None:
    """Open the debugger at the caller's line, in an experiment; what comes is kept as its past.

    When the experiment ends, in whatever way, the debugger opens again in the original at the
    same line, this time without a fork: `c` there continues the real program, and `snap` forks
    again. `keep` in the experiment makes that one the real program. To have it for every
    `breakpoint()`, set PYTHONBREAKPOINT=snapshot.set_trace.

    header: shown before the first prompt.
    """
    debugger = _in_pytest() or _here or Pdb()
    try:
        debugger.set_trace(sys._getframe(1), header)
    except BdbQuit as end:
        raise end.with_traceback(None)  # noqa: B904 (what is ours is of no interest)


def keeps_past() -> bool:
    """Whether this process, or what it was forked from, keeps the past of what it does."""
    return World.here is not None and World.here.counts


def begin_at_entry(code: CodeType, frame: FrameType) -> None:
    """In an experiment that goes on from the entry of a call: stop at the code's first line.

    frame: of the code, or of whoever is about to call it.
    """
    if _here is not None:
        _here.halt()
    if World.here is not None:
        World.here.leave()  # that of the process that waits
    debugger = _in_pytest()
    if debugger is not None:
        _capture_no_more()
    (debugger or Pdb()).begin_at_entry(code, frame)


def _capture_no_more() -> None:
    """What pytest has captured, and is to capture, is the affair of the process that waits."""
    capture = sys.modules["_pytest.debugging"].pytestPDB._pluginmanager.getplugin("capturemanager")
    if capture is not None and capture._global_capturing is not None:
        capture._global_capturing.stop_capturing()
        capture._global_capturing, capture._method = None, "no"


def _in_pytest() -> Any:
    """The debugger as pytest opens it, which captures nothing until it is left; else None.

    It is opened before the snapshot, so that the lines of both processes are seen.
    """
    debugging = sys.modules.get("_pytest.debugging")
    if debugging is None or debugging.pytestPDB._config is None:
        return None
    options = debugging.pytestPDB._config.option
    chosen = options.usepdb_cls
    options.usepdb_cls = (Pdb.__module__, Pdb.__name__)
    try:
        return debugging.pytestPDB._init_pdb("set_trace")
    finally:
        options.usepdb_cls = chosen


def _show_quit_without_ours() -> None:
    """Where BdbQuit ends the program, its lines are shown, and not those that have raised it."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if kind is BdbQuit:
            each = trace
            while each is not None and each.tb_next is not None:
                if is_ours(each.tb_next.tb_frame.f_code.co_filename):
                    each.tb_next = None
                each = each.tb_next
        before(kind, error, trace)

    sys.excepthook = hook


@contextlib.contextmanager
def _hooks() -> Iterator[None]:
    """While a past is kept, every way to open a debugger stops in the one that is there."""
    before = sys.breakpointhook, pdb.set_trace
    _hook()
    try:
        yield
    finally:
        sys.breakpointhook, pdb.set_trace = before


def _hook() -> None:
    sys.breakpointhook = pdb.set_trace = set_trace
