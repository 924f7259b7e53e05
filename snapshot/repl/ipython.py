"""`%load_ext snapshot`: IPython's cells leave states, as those of snapshot-repl do.

Everything hangs on the shell's prompt. When it is about to read a cell, the one before has ended
and leaves a state; a process that is woken there goes on with the prompt. So cells that IPython
runs for itself leave none.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from snapshot.core import ending, process, threads, tree
from snapshot.core.hosts.ipython import IPython
from snapshot.core.line import Place
from snapshot.core.messages import say
from snapshot.core.process import Exit
from snapshot.core.timeline.member import Landing, Member
from snapshot.core.timeline.starting import supervise_anew
from snapshot.errors import CannotFork, SnapshotError, TimelineError
from snapshot.repl import failure
from snapshot.repl.archive import Variables
from snapshot.repl.futures import BranchFuture
from snapshot.repl.timemachine import Landed, TimeMachine
from snapshot.repl.views import Tree

_NAMES = ("past", "present", "states")

_extension: Extension | None = None


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext snapshot` calls. Raises IPython's `UsageError` where it cannot be."""
    global _extension
    if _extension is not None and _extension.is_on:
        raise mistake("snapshot is loaded already: tm is its time machine")
    if _is_kernel(shell):
        from snapshot.repl.kernel import extension  # it needs what only a kernel has

        extension.load(shell)
        return
    _check(shell)
    number, source = _running_cell(shell)
    _tell_what_stays_behind()
    try:
        member = supervise_anew(number)
    except CannotFork as error:
        raise mistake(str(error)) from None
    _extension = Extension(shell, Machine(member, shell))
    _extension.machine.begin(source)
    _extension.hook()


def unload_ipython_extension(shell: Any) -> None:
    """What `%unload_ext snapshot` calls: the same as `tm.unhook()`."""
    if _extension is not None and _extension.is_on:
        _extension.machine.unhook()
        _extension.unhook()


def mistake(text: str) -> Exception:
    """An error that IPython shows in one line."""
    error: type[Exception] = sys.modules["IPython.core.error"].UsageError
    return error(text)


def _is_kernel(shell: Any) -> bool:
    return any(each.__module__.startswith("ipykernel.") for each in type(shell).__mro__)


def _check(shell: Any) -> None:
    if not hasattr(shell, "prompt_for_code"):
        raise mistake(f"%load_ext snapshot: {type(shell).__name__} has no prompt in a terminal")
    if shell.user_ns is not vars(sys.modules["__main__"]):
        raise mistake(
            "%load_ext snapshot: this prompt is inside a program; take a snapshot() here instead"
        )
    if tree.in_snapshot():
        raise mistake(
            "%load_ext snapshot: this is an experiment, whose cells leave no states: revert() or "
            "keep() first"
        )
    if threading.current_thread() is not threading.main_thread():
        raise mistake("%load_ext snapshot: only the main thread can load it")


def _running_cell(shell: Any) -> tuple[int, str]:
    """The number and the source of the cell that runs; of none, where one is to be typed yet."""
    running = shell.displayhook.exec_result
    if running is not None and running.info.store_history:
        return running.execution_count, running.info.raw_cell
    return shell.execution_count - 1, ""


def _tell_what_stays_behind() -> None:
    lost = threads.others()
    if lost:
        say(f"snapshot: from here on without the threads {threads.described(lost)}")
    if process.has_children():
        say(
            "snapshot: what was started before is no child of this process any more, and cannot "
            "be waited for: load snapshot first"
        )


def machine() -> TimeMachine:
    """The time machine of this IPython. Raises `TimelineError` where there is none."""
    if _extension is None:
        raise TimelineError("there is no time machine here: %load_ext snapshot")
    return _extension.machine


class Machine(TimeMachine):
    """A time machine with IPython's history, which all of its processes write to one database.

    ended: whether this process was left, and nobody will come back to it.
    """

    ended = False

    def __init__(self, member: Member, shell: Any) -> None:
        super().__init__(member)
        self._shell = shell

    def _travel(self, **where: Any) -> None:
        # Or the thread that writes might be stopped while it has the database locked.
        with contextlib.suppress(Exception):
            self._shell.history_manager.writeout_cache()
        try:
            super()._travel(**where)
        except SystemExit:
            if not tree.is_root():
                ending.end(Exit(code=0))  # IPython's own end is that of the process it began in
            self.ended = True
            raise
        IPython().refresh(self._shell)


class Extension:
    """What stands between one shell and its time machine."""

    def __init__(self, shell: Any, machine: Machine) -> None:
        self.machine = machine
        self._shell = shell
        self._originals = {name: getattr(shell, name) for name in self._replaced()}
        self._prompts = shell.prompts
        self._in_prompt_tokens = shell.prompts.in_prompt_tokens
        self._magics = Magics(shell, machine)
        self._ours: dict[str, Any] = {}
        self._landing: Landing | None = None
        self._last = shell.last_execution_result  # of the cell before
        self._open = True  # whether a cell has begun that has left no state yet

    @property
    def is_on(self) -> bool:
        return self.machine.is_on

    def hook(self) -> None:
        vars(self._shell).update(self._replaced())
        vars(self._prompts)["in_prompt_tokens"] = self._in_prompt
        self._magics.register()
        self._offer()
        say("snapshot: past(n) to be where you were after cell n, states() to see them")

    def unhook(self) -> None:
        vars(self._prompts).pop("in_prompt_tokens", None)
        for name, ours in self._replaced().items():
            if getattr(self._shell, name) == ours:
                setattr(self._shell, name, self._originals[name])
        self._magics.forget()
        self._shell.drop_by_id(self._ours)
        self._shell.extension_manager.loaded.discard("snapshot")

    def _replaced(self) -> dict[str, Callable[..., Any]]:
        """Methods of the shell, and what stands in for them."""
        return {
            "prompt_for_code": self._read,
            "ask_exit": self._leave,
            "showtraceback": self._show,
        }

    def _offer(self) -> None:
        """Our names, unless the user has such ones."""
        offered = {"tm": self.machine, **{name: getattr(self.machine, name) for name in _NAMES}}
        taken = sorted(offered.keys() & self._shell.user_ns.keys())
        self._ours = {name: value for name, value in offered.items() if name not in taken}
        self._shell.push(self._ours, interactive=False)
        if taken:
            say(
                f"snapshot: not set, as you have your own: {', '.join(taken)}; "
                "ours: %past, %present, %states, snapshot.repl.ipython.machine()"
            )

    # The prompt.

    def _read(self) -> str:
        """Finish the cell before, and get the next one."""
        again = self._finish()
        if not self.is_on:
            self.unhook()
            return str(self._shell.prompt_for_code())
        self._follow()
        self._tell_news()
        source = self._typed() if again is None else self._repeated(again)
        if source.strip():
            self._last, self._open = self._shell.last_execution_result, True
            self.machine.begin(source)
        return source

    def _in_prompt(self) -> list[tuple[Any, str]]:
        """The prompt, after the branch and the last snapshot, where there is such a thing."""
        tokens: list[tuple[Any, str]] = self._in_prompt_tokens()
        return [(tokens[0][0], _where(self.machine)), *tokens]

    def _typed(self) -> str:
        app = getattr(self._shell.pt_app, "app", None)
        if app is not None:
            app.pre_run_callables.append(self._listen)
        return str(self._originals["prompt_for_code"]())

    def _repeated(self, source: str) -> str:
        print("".join(text for _, text in self._in_prompt()) + source)
        return source

    def _listen(self) -> None:
        """While the prompt waits for keys, show what futures do, above it."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self.machine.fileno(), lambda: loop.create_task(self._show_news()))

    async def _show_news(self) -> None:
        from prompt_toolkit.application import run_in_terminal

        await run_in_terminal(self._tell_news)

    def _tell_news(self) -> None:
        for line in self.machine.news():
            print(line, file=sys.__stderr__, flush=True)

    def _finish(self) -> str | None:
        """Make a state, if a cell has ended. Returns what is to be run where this was woken."""
        if not self._open or not self.is_on:
            return None
        landing = self._landing or self.machine.end(*self._outcome())
        self._open, self._landing = False, None
        return None if landing is None else self._arrive(landing)

    def _outcome(self) -> tuple[Any, BaseException | None]:
        """The value of the cell that has ended, and the error that ended it."""
        result = self._shell.last_execution_result
        if result is None or result is self._last:
            return None, None
        return result.result, result.error_before_exec or result.error_in_exec

    def _arrive(self, landing: Landing) -> str | None:
        value = self.machine.about.value
        if value is not None and landing.died is None:
            self._show_value(value, landing.at)
        source: str | None = landing.brought.get("source")
        print(self._shell.separate_in, end="")
        return source

    def _show_value(self, value: Any, number: int) -> None:
        """The value of a cell as it was shown then; `_` and `Out` have it already."""
        hook = self._shell.displayhook
        self._shell.execution_count += number - hook.prompt_count
        hook.start_displayhook()
        hook.write_output_prompt()
        hook.write_format_data(*hook.compute_format_data(value))
        hook.finish_displayhook()

    def _follow(self) -> None:
        """The number in the prompt is that of the cell, and so are the places in `In`."""
        number = self._shell.execution_count = self.machine.number
        history = self._shell.history_manager
        for lines in (history.input_hist_parsed, history.input_hist_raw):
            lines.extend([""] * (number - len(lines)))

    # The end.

    def _leave(self) -> None:
        if self.machine.may_leave():
            self.machine.bye()
            self._originals["ask_exit"]()

    # Errors.

    def _show(self, exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        """Show an error: in one line, if it is one of ours that the cell itself has caused."""
        error = exc_tuple[1] if exc_tuple else sys.exception()
        if isinstance(error, Landed):
            self._landing, self._shell.keep_running = error.landing, True
        elif isinstance(error, SystemExit) and self.machine.ended:
            self._shell.keep_running = False
            warnings.filterwarnings("ignore", "To exit: use")  # which it will do
        elif isinstance(error, SnapshotError) and failure.is_ours(error):
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        else:
            self._originals["showtraceback"](exc_tuple, *args, **options)


def _where(machine: TimeMachine) -> str:
    branch = f"branch {machine.branch} " if machine.is_on and machine.branch != 1 else ""
    waiting = tree.snapshots()
    depth = f"{len(waiting)} {waiting[-1].name or ''}".rstrip() + " " if waiting else ""
    return branch + depth


class Magics:
    """The verbs as magics. What follows `%` is a state, a name or nothing."""

    _LINE = ("past", "present", "states", "vars", "snapshot", "revert", "keep")

    def __init__(self, shell: Any, machine: TimeMachine) -> None:
        self._shell, self._machine = shell, machine

    def register(self) -> None:
        for name in self._LINE:
            self._shell.register_magic_function(getattr(self, name), "line", name)
        self._shell.register_magic_function(self.future, "line_cell", "future")

    def forget(self) -> None:
        for magics in self._shell.magics_manager.magics.values():
            for name in (*self._LINE, "future"):
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

    def future(self, line: str, cell: str | None = None) -> BranchFuture:
        """`%%future`: run the cell below in a fork in the background; `%future f(x)`: a line."""
        if cell is not None:
            _nothing("%future", line)
        source = line if cell is None else cell
        if not source.strip():
            raise mistake("%future: give an expression; after %%future, code in the lines below")
        return self._machine.future(self._shell.transform_cell(source))

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
        raise mistake(f"%{magic}: give the number of a cell, or a name")
    return int(text) if text.isdecimal() else text.strip("'\"")


def _nothing(magic: str, line: str) -> None:
    if line.strip():
        raise mistake(f"%{magic} takes nothing, not {line.strip()!r}")
