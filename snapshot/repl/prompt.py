"""The prompt: ptpython's own, which says how deep in experiments one is."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prompt_toolkit.formatted_text import AnyFormattedText, to_formatted_text
from prompt_toolkit.input import create_input
from prompt_toolkit.output import create_output
from ptpython.entry_points.run_ptpython import get_config_and_history_file
from ptpython.prompt_style import PromptStyle
from ptpython.repl import PythonRepl, enable_deprecation_warnings, run_config
from ptpython.repl import exit as PtpythonExit

import snapshot
from snapshot.errors import UsageError
from snapshot.repl import failure


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


def interact(settings: Settings, namespace: dict[str, Any]) -> None:
    """Read, evaluate and print in these globals until Ctrl-D or `exit`.

    Raises the SystemExit of `exit(n)`, `sys.exit(n)` and the like.
    """
    print(
        f"snapshot {snapshot.__version__}: "
        "snapshot() to try anything, revert() or exit() to be back",
        file=sys.stderr,
    )
    enable_deprecation_warnings()
    if "" not in sys.path:
        sys.path.append("")  # or ptpython puts it first, before the program's own folder
    repl = Repl(settings, namespace)
    if not settings.asyncio:
        _run(repl)
        return
    asyncio.run(repl.run_async())
    if repl.end is not None:
        raise repl.end


def _run(repl: Repl) -> None:
    while True:
        try:
            return repl.run()
        except KeyboardInterrupt:  # that came between two prompts
            continue


class Repl(PythonRepl):
    """ptpython's REPL on the globals of a program.

    end: the SystemExit that ended it under asyncio, where it does not come through.
    """

    def __init__(self, settings: Settings, namespace: dict[str, Any]) -> None:
        super().__init__(
            get_globals=lambda: namespace,
            history_filename=settings.history_file,
            # The terminal's own streams: the program may have put others into their place.
            input=create_input(sys.__stdin__),
            output=create_output(sys.__stdout__),
            vi_mode=settings.vi,
        )
        self.end: SystemExit | None = None
        if os.path.exists(settings.config_file):
            run_config(self, settings.config_file)
        if settings.brightness is not None:
            self.min_brightness, self.max_brightness = settings.brightness
        self.all_prompt_styles = _with_where(self.all_prompt_styles)

    async def eval_async(self, line: str) -> object:
        result = await super().eval_async(line)
        if isinstance(result, PtpythonExit):
            raise SystemExit
        return result

    async def run_and_show_expression_async(self, text: str) -> Any:
        try:
            return await super().run_and_show_expression_async(text)
        except SystemExit as end:
            self.end = end
            raise

    def _handle_exception(self, e: BaseException) -> None:
        super()._handle_exception(e)
        failure.remember(e)

    def _handle_keyboard_interrupt(self, e: KeyboardInterrupt) -> None:
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

    def __init__(self, style: PromptStyle) -> None:
        self._style = style

    def in_prompt(self) -> AnyFormattedText:
        return [
            ("class:prompt.snapshot ansiyellow", _where()),
            *_fragments(self._style.in_prompt()),
        ]

    def in2_prompt(self, width: int) -> AnyFormattedText:
        return self._style.in2_prompt(width)

    def out_prompt(self) -> AnyFormattedText:
        return self._style.out_prompt()


def _with_where(styles: Mapping[str, PromptStyle]) -> dict[str, PromptStyle]:
    return {name: Where(style) for name, style in styles.items()}


def _where() -> str:
    waiting = snapshot.snapshots()
    if not waiting:
        return ""
    name = waiting[-1].name
    return f"{len(waiting)} {name} " if name else f"{len(waiting)} "


def _fragments(text: AnyFormattedText) -> list[Any]:
    return list(to_formatted_text(text))
