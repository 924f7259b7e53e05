"""`%load_ext snapshot`: IPython's cells leave states, as those of snapshot-repl do.

Everything hangs on the shell's prompt. When it is about to read a cell, the one before has ended
and leaves a state; a process that is woken there goes on with the prompt. So cells that IPython
runs for itself leave none.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from snapshot.core import ending, process, threads, tree
from snapshot.core.hosts.ipython import IPython
from snapshot.core.messages import say
from snapshot.core.process import Exit
from snapshot.core.timeline.member import Landing, Member
from snapshot.core.timeline.starting import supervise_anew
from snapshot.errors import CannotFork, SnapshotError, TimelineError
from snapshot.repl import failure
from snapshot.repl.magics import Magics, mistake, say_not_set
from snapshot.repl.news import News
from snapshot.repl.timemachine import Landed, TimeMachine

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
        self._magics = Magics(shell, machine, "snapshot", "revert", "keep")
        self._news = News(machine, getattr(shell.pt_app, "app", None))
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
        taken = offered.keys() & self._shell.user_ns.keys()
        self._ours = {name: value for name, value in offered.items() if name not in taken}
        self._shell.push(self._ours, interactive=False)
        say_not_set(taken, "%past, %present, %states, snapshot.repl.ipython.machine()")

    # The prompt.

    def _read(self) -> str:
        """Finish the cell before, and get the next one."""
        again = self._finish()
        if not self.is_on:
            self.unhook()
            return str(self._shell.prompt_for_code())
        self._follow()
        self._news.tell()
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
        self._news.listen_at_next_prompt()
        return str(self._originals["prompt_for_code"]())

    def _repeated(self, source: str) -> str:
        print("".join(text for _, text in self._in_prompt()) + source)
        return source

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
        """The value of a cell as it was shown then; `_` and `Out` get that of a future."""
        hook = self._shell.displayhook
        self._shell.execution_count += number - hook.prompt_count
        if self._shell.user_ns["_oh"].get(number) is not value:
            hook.update_user_ns(value)
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
