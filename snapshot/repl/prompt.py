"""The prompt: ptpython's own, which says how deep in experiments one is."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, is_done
from prompt_toolkit.formatted_text import AnyFormattedText, to_formatted_text
from prompt_toolkit.input import create_input
from prompt_toolkit.layout import ConditionalContainer, FormattedTextControl, Window
from prompt_toolkit.output import create_output
from ptpython.entry_points.run_ptpython import get_config_and_history_file
from ptpython.prompt_style import PromptStyle
from ptpython.repl import PythonRepl, enable_deprecation_warnings, run_config
from ptpython.repl import exit as PtpythonExit

import snapshot
from snapshot.core import process, tree
from snapshot.core.process import Exit as ProcessExit
from snapshot.core.timeline.member import Landing
from snapshot.errors import SnapshotError, UsageError
from snapshot.repl import failure
from snapshot.repl.news import News
from snapshot.repl.reading import PAUSE, AfterPause, LineHistory, interrupt, run_in_thread
from snapshot.repl.timemachine import Landed, TimeMachine
from snapshot.repl.views import progress

_FAILURES = 3  # times in a row that a prompt fails which will not work any more


@dataclass(frozen=True)
class Settings:
    """How the prompt is to be; the history file exists."""

    vi: bool
    asyncio: bool
    brightness: tuple[float, float] | None
    config_file: str
    history_file: str


def settings(options: argparse.Namespace) -> Settings:
    """Look for ptpython's files, before a program runs that takes long.

    options: `vi`, `asyncio`, `light_bg`, `dark_bg`, `config_file`, `history_file`, as ptpython's
    command takes them. Raises `UsageError` where one of the files cannot be used.
    """
    try:
        config_file, history_file = get_config_and_history_file(options)
        if options.config_file:
            open(config_file, "rb").close()
        open(history_file, "ab").close()
    except OSError as error:
        raise UsageError(f"cannot open {error.filename!r}: {error.strerror}") from None
    brightness = (0.0, 0.6) if options.light_bg else (0.6, 1.0) if options.dark_bg else None
    return Settings(options.vi, options.asyncio, brightness, config_file, history_file)


def interact(
    settings: Settings, namespace: dict[str, Any], machine: TimeMachine | None = None
) -> None:
    """Read, evaluate and print in these globals until Ctrl-D or `exit`.

    machine: gets every cell, so that one can travel back to it. Raises the SystemExit of `exit(n)`,
    `sys.exit(n)` and the like.
    """
    print(
        f"snapshot {snapshot.__version__}: "
        "snapshot() to try anything, revert() or exit() to be back",
        file=sys.stderr,
    )
    if machine is not None:
        print("past(n) to be where you were after cell n, states() to see them", file=sys.stderr)
    enable_deprecation_warnings()
    if "" not in sys.path:
        sys.path.append("")  # or ptpython puts it first, before the program's own folder
    repl = Repl(settings, namespace, machine)
    if machine is not None:
        machine.end()
    repl.follow()
    while True:
        end = _run(repl, settings)
        if machine is None or machine.may_leave():
            break
    if end is not None:
        raise end


def _run(repl: Repl, settings: Settings) -> SystemExit | None:
    """Until somebody wants to leave; how."""
    while True:
        repl.end = None
        try:
            if settings.asyncio:
                repl.listen()
                asyncio.run(repl.run_async())
            else:
                repl.run()
        except KeyboardInterrupt:  # that came between two prompts
            continue
        except SystemExit as end:
            return end
        except Exception:
            with contextlib.suppress(EOFError):
                repl.give_up()
        return repl.end


class Repl(PythonRepl):
    """ptpython's REPL on the globals of a program.

    end: the SystemExit that ended it under asyncio, where it does not come through.
    """

    def __init__(
        self,
        settings: Settings,
        namespace: dict[str, Any],
        machine: TimeMachine | None = None,
    ) -> None:
        self._machine = machine
        super().__init__(
            get_globals=lambda: namespace,
            _extra_toolbars=[_tasks_toolbar(machine)] if machine else None,
            # The terminal's own streams: the program may have put others into their place.
            input=create_input(sys.__stdin__),
            output=create_output(sys.__stdout__),
            vi_mode=settings.vi,
        )
        self.history = self.default_buffer.history = LineHistory(settings.history_file)
        self.default_buffer.completer = AfterPause(self.default_buffer)
        vars(self.app)["run"] = functools.partial(run_in_thread, self.app, self.app.run)
        self._failures = 0
        self.end: SystemExit | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._landing: Landing | None = None
        if machine is not None:
            self._news = News(machine, self.app)
            self.prompt_style = "ipython"  # the one that has the number of the cell
        if os.path.exists(settings.config_file):
            run_config(self, settings.config_file)
        if settings.brightness is not None:
            self.min_brightness, self.max_brightness = settings.brightness
        self.all_prompt_styles = _with_where(self.all_prompt_styles, machine)

    def follow(self) -> None:
        """The number in the prompt is that of the cell."""
        if self._machine is not None and self._machine.is_on:
            self.current_statement_index = self._machine.number

    def read(self) -> str:
        if self._machine is not None and self._machine.is_on:
            self.follow()
            self._news.tell()
            self._news.listen_at_next_prompt()
            self.app.refresh_interval = 1.0 if self._machine.running else None
        try:
            text = super().read()
        except EOFError:
            if not self._has_input():
                self.give_up()
            raise
        except Exception:
            self._failures += 1
            if self._failures == _FAILURES:
                self.give_up()
            raise
        self._failures = 0
        return text

    def _has_input(self) -> bool:
        """Whether standard input is open still. One that has reached its end is."""
        try:
            os.fstat(0)
        except OSError:
            return False
        return True

    def give_up(self) -> NoReturn:
        """This prompt cannot go on. With a time machine, an earlier one does in its place."""
        with contextlib.suppress(Exception):
            traceback.print_exc(file=sys.__stderr__)
        if self._machine is not None and self._machine.is_on and not tree.in_snapshot():
            process.exit_now(ProcessExit(code=1))
        self.end = SystemExit(1)
        raise EOFError

    def _on_input_timeout(self, buff: Buffer) -> None:
        if self.app.is_running:
            self.app.create_background_task(self._show_signature(buff, buff.document))

    async def _show_signature(self, buffer: Buffer, document: Document) -> None:
        await asyncio.sleep(PAUSE)
        if buffer.document == document:
            super()._on_input_timeout(buffer)

    def run_and_show_expression(self, expression: str) -> None:
        self._begin(expression)
        super().run_and_show_expression(expression)
        while (again := self._finish()) is not None:
            self._begin(again)
            super().run_and_show_expression(again)

    def _begin(self, source: str) -> None:
        self._value = self._error = self._landing = None
        if self._machine is not None:
            self._machine.begin(source)

    def _finish(self) -> str | None:
        """A cell has ended: make a state. Returns what is to be run where this was woken."""
        if self._machine is None:
            return None
        landing = self._landing or self._machine.end(self._value, self._error)
        self.follow()
        if landing is None:
            return None
        about = self._machine.about
        if about.value is not None and landing.died is None:
            self.get_globals()["_"] = about.value
            self.current_statement_index = landing.at
            self._show_result(about.value)
            self.follow()
        source: str | None = landing.brought.get("source")
        if source is not None:
            print(source)
        return source

    def eval(self, line: str) -> object:
        try:
            return super().eval(line)
        except Landed as landed:
            self._landing = landed.landing
            return None

    def _store_eval_result(self, result: object) -> None:
        super()._store_eval_result(result)
        self._value = result

    async def eval_async(self, line: str) -> object:
        try:
            result = await super().eval_async(line)
        except Landed as landed:
            self._landing = landed.landing
            return None
        if isinstance(result, PtpythonExit):
            raise SystemExit
        return result

    async def run_and_show_expression_async(self, text: str) -> Any:
        try:
            self._begin(text)
            result = await super().run_and_show_expression_async(text)
            while (again := self._finish()) is not None:
                self._begin(again)
                result = await super().run_and_show_expression_async(again)
        except SystemExit as end:
            self.end = end
            raise
        finally:
            self.listen()
        return result

    def listen(self) -> None:
        """Under asyncio: let SIGINT at the prompt end the line that is typed, and not the loop.

        A cell has a handler of ptpython's, in whose place there is Python's own afterwards.
        """
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        if self.app.loop is None or not self.app.is_running:
            raise KeyboardInterrupt
        self.app.loop.call_soon_threadsafe(interrupt, self.app)

    def _handle_exception(self, e: BaseException) -> None:
        self._error = e
        if isinstance(e, SnapshotError) and failure.is_ours(e):
            print(f"{type(e).__name__}: {e}", file=sys.stderr)
        else:
            super()._handle_exception(e)
        failure.remember(e)

    def _handle_keyboard_interrupt(self, e: KeyboardInterrupt) -> None:
        self._error = e
        super()._handle_keyboard_interrupt(e)
        failure.remember(e)

    def _add_to_namespace(self) -> None:
        self.get_globals().setdefault("exit", Exit())
        self.get_globals().setdefault("get_ptpython", lambda: self)

    def _remove_from_namespace(self) -> None:
        self.get_globals().pop("get_ptpython", None)


class Exit(PtpythonExit):
    """What `exit` is at the prompt: ptpython's, which leaves standard input open, with a code."""

    def __call__(self, code: object = None) -> Any:
        raise SystemExit(code)


class Where(PromptStyle):
    """A prompt style after the depth and the name of the last snapshot, in an experiment."""

    def __init__(self, style: PromptStyle, machine: TimeMachine | None) -> None:
        self._style, self._machine = style, machine

    def in_prompt(self) -> AnyFormattedText:
        return [
            ("class:prompt.snapshot ansiyellow", _branch(self._machine) + _where()),
            *_fragments(self._style.in_prompt()),
        ]

    def in2_prompt(self, width: int) -> AnyFormattedText:
        return self._style.in2_prompt(width)

    def out_prompt(self) -> AnyFormattedText:
        return self._style.out_prompt()


def _with_where(
    styles: Mapping[str, PromptStyle], machine: TimeMachine | None
) -> dict[str, PromptStyle]:
    return {name: Where(style, machine) for name, style in styles.items()}


def _branch(machine: TimeMachine | None) -> str:
    if machine is None or not machine.is_on or machine.branch == 1:
        return ""
    return f"branch {machine.branch} "


def _tasks_toolbar(machine: TimeMachine) -> ConditionalContainer:
    """A line for each future that runs, below what is typed."""

    def lines() -> AnyFormattedText:
        running = machine.running if machine.is_on else ()
        return [("class:toolbar.snapshot", "\n".join(map(progress, running)))]

    window = Window(FormattedTextControl(lines), dont_extend_height=True)
    shown = Condition(lambda: machine.is_on and bool(machine.running)) & ~is_done
    return ConditionalContainer(window, shown)


def _where() -> str:
    waiting = snapshot.snapshots()
    if not waiting:
        return ""
    name = waiting[-1].name
    return f"{len(waiting)} {name} " if name else f"{len(waiting)} "


def _fragments(text: AnyFormattedText) -> list[Any]:
    return list(to_formatted_text(text))
