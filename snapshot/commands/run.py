"""Run a program as Python would; if it fails, debug it in an experiment.

When an exception is not caught and there is a terminal, the debugger can be opened where the
exception was raised, as often as you like, each time in an experiment: nothing that is done there
lasts, unless you `keep` it. The exit status is Python's: that of sys.exit(), 1 after an exception.

--rewindable names functions by patterns, `package.*`, `module`, `module:Class.*`. Of their latest
calls a fork is kept that is frozen at the entry, and `rewind` in the debugger goes back there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING, TypeGuard

from snapshot import commands
from snapshot.core.messages import say
from snapshot.errors import DebuggerError, UsageError

if TYPE_CHECKING:
    from snapshot.debugger.again import Again
    from snapshot.debugger.backwards import Pdb
    from snapshot.debugger.entering import Entering
    from snapshot.repl.launcher import Program

USAGE = f"[--rewindable PATTERN]... [--keep N] {commands.PROGRAM_USAGE}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which calls can be gone back to, and the program."""
    parser.add_argument(
        "--rewindable",
        action="append",
        default=[],
        metavar="PATTERN",
        help="keep a frozen fork of the entry of these functions' calls; may be repeated",
    )
    parser.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="of how many of the latest calls, in all; 3 by default",
    )
    commands.add_program(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the program; see `launcher.exit_status` for what comes back."""
    from snapshot.repl import failure, launcher

    program = commands.program(options)
    if program is None:
        raise UsageError("nothing to run: give a script, -m module or -c code")
    is_asked = commands.is_terminal(sys.stdin) and commands.is_terminal(sys.stdout)
    if is_asked and not options.rewindable and options.keep is None:
        return _run_with_past(program)
    main = launcher.Main(program)
    pid = os.getpid()
    with _rewindable(options) as entering:
        ended = main.run()
    if entering is not None and os.getpid() == pid:  # else this is a fork that the program has made
        for each in entering.unused:
            say(f"snapshot: --rewindable {each!r}: no function of that name was called")
    if _has_failed(ended):
        failure.show(ended)
        if is_asked:
            _offer_debugger(ended)
    return launcher.exit_status(ended)


def _run_with_past(program: Program) -> int:
    """What the world gives the program is remembered, so that it can be run again at its end."""
    # First of all, while this process is small: what goes on is a child of it.
    from snapshot.core.timeline.starting import supervise

    member = supervise(kind="debugger")
    from snapshot.debugger.backwards import Pdb
    from snapshot.debugger.own import Own
    from snapshot.repl import failure, launcher

    main = launcher.Main(program)
    own = Own()
    own.include(main.code, program.source)
    debugger = Pdb(own)
    past = debugger.remember(member, lambda told: _yes(f"{told}; debug it?", default=True))
    ended = past.remember(main.run)
    if _has_failed(ended):
        failure.show(ended)
        _offer_debugger(ended, debugger, past)
    past.close()
    return launcher.exit_status(ended)


def _has_failed(ended: BaseException | None) -> TypeGuard[BaseException]:
    from bdb import BdbQuit  # what was left by `q` has not failed

    return ended is not None and not isinstance(ended, SystemExit | BdbQuit)


def _rewindable(
    options: argparse.Namespace,
) -> contextlib.AbstractContextManager[Entering | None]:
    if not options.rewindable:
        if options.keep is not None:
            raise UsageError("--keep says of how many calls: give --rewindable, too")
        return contextlib.nullcontext()
    from snapshot.debugger.entering import Entering
    from snapshot.debugger.entries import KEEP, Entries
    from snapshot.replay.names import Names, patterns

    keep = KEEP if options.keep is None else options.keep
    names = Names(patterns("--rewindable", options.rewindable), ())
    return Entering(names, Entries(keep))


def _offer_debugger(
    error: BaseException, debugger: Pdb | None = None, past: Again | None = None
) -> None:
    from snapshot.core import terminal
    from snapshot.debugger.backwards import keeps_past
    from snapshot.repl import failure

    if keeps_past():  # it opens there again at the end
        return
    question, default = "snapshot: debug it there, in an experiment?", True
    while _yes(question, default=default):
        hindrance = None if past is None else past.hindrance()
        with terminal.asking():
            commands = failure.post_mortem(error, has_past=past is not None, hindrance=hindrance)
        if commands is not None and debugger is not None and past is not None:
            debugger.cmdqueue = commands
            try:
                past.again(error)
            except DebuggerError as problem:
                print(f"snapshot: {problem}", file=sys.stderr)
        question, default = "snapshot: debug it once more?", False


def _yes(question: str, *, default: bool) -> bool:
    from snapshot.core import terminal

    choices = "[Y/n]" if default else "[y/N]"
    while True:
        with terminal.asking():
            try:
                answer = input(f"{question} {choices} ").strip().lower()
            except (EOFError, KeyboardInterrupt):
                print()
                return False
        if answer in ("", "y", "yes", "n", "no"):
            return default if not answer else answer.startswith("y")
