"""Run a program, then look around in it: a ptpython prompt on its globals, with snapshots.

The prompt opens when the program has ended, also by an exception or by sys.exit. At hand are
snapshot(), revert(), keep(), snapshots(), and the frames of the last exception as `frames`. It
ends by exit(), exit(n), sys.exit(n) or Ctrl-D, with the status n, else 0.

If standard input is no terminal, the program on it is run in the place of the prompt; the status
is that of the program on it, or if that ends well, of the program before it, as Python's is.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from snapshot import commands
from snapshot.errors import CannotFork, UsageError

if TYPE_CHECKING:
    from snapshot.core.timeline.member import Member
    from snapshot.repl.launcher import Main, Program

USAGE = f"[options] [{commands.PROGRAM_USAGE}]"


def entry_point(argv: Sequence[str] | None = None) -> int:
    """The command `snapshot-repl`: see `commands.main`."""
    description = commands.describe("snapshot-repl", sys.modules[__name__])
    del description["help"]
    parser = argparse.ArgumentParser(**description)
    commands.add_version(parser)
    add_arguments(parser)
    parser.set_defaults(prog=parser.prog)
    return commands.perform(execute, parser.parse_args(argv))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Our own options, those of ptpython, and the program."""
    add = parser.add_argument
    add(
        "--pdb",
        action="store_true",
        help="debug an exception where it was raised, in an experiment",
    )
    add(
        "--no-past",
        dest="past",
        action="store_false",
        help="keep no states: cells cannot be travelled back to",
    )
    add("--vi", action="store_true", help="vi key bindings")
    add("--asyncio", action="store_true", help="run an event loop: `await` works at the prompt")
    add("--light-bg", action="store_true", help="dark colours, for a light background")
    add("--dark-bg", action="store_true", help="light colours, for a dark background")
    add("--config-file", metavar="FILE", help="ptpython's configuration")
    add("--history-file", metavar="FILE", help="where the lines of the prompt are kept")
    commands.add_program(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the program, then the prompt or the program on standard input."""
    interactive = commands.is_terminal(sys.stdin)
    # First of all, while this process is small: what goes on is a child of it.
    member = _supervised() if interactive and options.past else None
    from snapshot.repl import launcher

    if interactive:
        # First of all: the program may hide or change modules that the prompt needs.
        from snapshot.repl import prompt

        settings = prompt.settings(options)
    began = time.monotonic()
    program = _program(options)
    main = launcher.Main(program or launcher.nothing())
    ended = main.run()
    main.reopen_streams()
    _tell(ended, options, interactive=interactive)
    if interactive and program is None:
        _run_startup(main)
    if interactive:
        machine = None
        if member is not None:
            from snapshot.repl.timemachine import TimeMachine

            machine = TimeMachine(member, began=began)
        main.offer(machine)
        try:
            prompt.interact(settings, main.namespace, machine)
        finally:
            if machine is not None:
                machine.bye()
        return 0
    main.offer()
    return _run_standard_input(main, ended)


def _supervised() -> Member | None:
    from snapshot.core.timeline.starting import supervise

    try:
        return supervise()
    except CannotFork as error:
        print(f"snapshot: the past will not be kept: {error}", file=sys.stderr)
        return None


def _program(options: argparse.Namespace) -> Program | None:
    from snapshot.repl import launcher

    if options.script[:1] == ["-"]:
        return launcher.nothing(options.script)
    return commands.program(options)


def _tell(ended: BaseException | None, options: argparse.Namespace, *, interactive: bool) -> None:
    from snapshot.repl import failure

    if isinstance(ended, SystemExit):
        if interactive:
            code = "" if ended.code is None else repr(ended.code)
            print(f"snapshot: the program ended by sys.exit({code})", file=sys.stderr)
    elif ended is not None:
        failure.show(ended)
        if interactive:
            print(
                "snapshot: `frames` has where it failed: frames[-1].x is x there", file=sys.stderr
            )
        if options.pdb:
            failure.post_mortem(ended)


def _run_startup(main: Main) -> None:
    """What Python runs before a prompt without a program; its failure costs nothing more."""
    from snapshot.repl import failure

    path = os.environ.get("PYTHONSTARTUP")
    if not path or sys.flags.ignore_environment:
        return
    try:
        error = main.run_file(path)
    except UsageError as reason:
        print(f"snapshot: PYTHONSTARTUP: {reason}", file=sys.stderr)
        return
    if error is not None:
        failure.show(error)


def _run_standard_input(main: Main, ended: BaseException | None) -> int:
    from snapshot.repl import failure, launcher

    error = main.run_standard_input()
    if error is None:
        return launcher.exit_status(ended)
    if not isinstance(error, SystemExit):
        failure.show(error)
    return launcher.exit_status(error)
