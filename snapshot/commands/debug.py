"""Run a program under a debugger that goes backwards as well.

Every command of pdb is there, and those that go to earlier moments: rstep, rnext, rreturn,
rcontinue, last, back, forward, goto. The prompt shows the position in time. The program stops at
its first line.
"""

from __future__ import annotations

import argparse
import os
from bdb import BdbQuit

from snapshot import commands
from snapshot.errors import UsageError

USAGE = f"[--libraries] [--command COMMAND]... {commands.PROGRAM_USAGE}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is watched, and the program."""
    parser.add_argument(
        "--libraries",
        action="store_true",
        help="stop in installed packages, too, and not in the program's own code alone",
    )
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        help="a command of the debugger, given at its first prompt; it may be repeated",
    )
    commands.add_program(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the program; see `launcher.exit_status` for what comes back, 0 if it was not let end."""
    if not options.script and options.module is None and options.code is None:
        raise UsageError("nothing to debug: give a script, -m module or -c code")
    # First of all, while this process is small: what goes on is a child of it.
    from snapshot.core.timeline.starting import supervise

    member = supervise(kind="debugger")
    from snapshot.debugger.backwards import Pdb
    from snapshot.debugger.own import Own
    from snapshot.debugger.typed import read_no_further
    from snapshot.repl import failure, launcher

    read_no_further()
    program = commands.program(options)
    assert program is not None
    main = launcher.Main(program)
    if options.code is None and not os.path.isabs(main.code.co_filename):
        raise UsageError("the working directory is gone: give the whole path of the script")
    own = Own(everything=options.libraries)
    own.include(main.code, program.source)
    debugger = Pdb(own, options.command)
    ended = debugger.run_program(member, main.run)
    if ended is not None and not isinstance(ended, SystemExit) and not debugger.is_here():
        failure.show(ended)  # in a fork that the program made, where nobody is asked
    if isinstance(ended, BdbQuit):
        if not ended.args:
            return 0  # somebody has had enough
        commands.drop_output()
        return 1
    return launcher.exit_status(ended)
