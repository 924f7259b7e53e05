"""Run a program as Python would, and count the calls of the application's functions.

It is `snapshot heat run`. The exit status is Python's.
"""

from __future__ import annotations

import argparse

from snapshot import commands
from snapshot.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How the functions are traced, and the program."""
    from snapshot.heat import reports

    reports.add_arguments_run(parser)
    commands.add_program(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the program, and count; see `launcher.exit_status` for what comes back."""
    from snapshot.heat import reports
    from snapshot.repl import failure, launcher

    program = commands.program(options)
    if program is None:
        raise UsageError("nothing to run: give a script, -m module or -c code")
    main = launcher.Main(program)
    reports.begin_run(options)
    ended = main.run()
    if ended is not None and not isinstance(ended, SystemExit):
        failure.show(ended)
    return launcher.exit_status(ended)
