"""Run a program as Python would; if it fails, debug it in an experiment.

When an exception is not caught and there is a terminal, the debugger can be opened where the
exception was raised, as often as you like, each time in an experiment: nothing that is done there
lasts, unless you `keep` it. The exit status is Python's: that of sys.exit(), 1 after an exception.
"""

from __future__ import annotations

import argparse
import sys

from snapshot import commands
from snapshot.errors import UsageError

USAGE = commands.PROGRAM_USAGE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The program alone."""
    commands.add_program(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the program; see `launcher.exit_status` for what comes back."""
    from snapshot.repl import failure, launcher

    program = commands.program(options)
    if program is None:
        raise UsageError("nothing to run: give a script, -m module or -c code")
    ended = launcher.Main(program).run()
    if ended is not None and not isinstance(ended, SystemExit):
        failure.show(ended)
        if commands.is_terminal(sys.stdin) and commands.is_terminal(sys.stdout):
            _offer_debugger(ended)
    return launcher.exit_status(ended)


def _offer_debugger(error: BaseException) -> None:
    from snapshot.repl import failure

    question, default = "snapshot: debug it there, in an experiment?", True
    while _yes(question, default=default):
        failure.post_mortem(error)
        question, default = "snapshot: debug it once more?", False


def _yes(question: str, *, default: bool) -> bool:
    choices = "[Y/n]" if default else "[y/N]"
    while True:
        try:
            answer = input(f"{question} {choices} ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            print()
            return False
        if answer in ("", "y", "yes", "n", "no"):
            return default if not answer else answer.startswith("y")
