"""Reuse what a shell command did, or look after the results that are kept.

`snapshot memo -- COMMAND` runs a command, and gives again what it has written, its exit status and
the files that it has made, as long as these are the same: the command and its program, the working
directory, the variables named by --env, and the contents of the files and folders named by --input.
It can read nothing, unless --stdin is given; its output is a pipe. What it deletes, or does
elsewhere, is not done again.

For what is kept, of functions too:

  ls [FUNCTION]            list functions, or the results of one
  stats                    how much each group holds, and has saved
  explain FUNCTION [KEY]   what is kept, and how the function has changed since
  evict FUNCTION|KEY...    drop results
  clear                    drop results and statistics
  verify                   look for damage
"""

from __future__ import annotations

import argparse
import os
import select
import stat
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from snapshot.commands import kept, printable, stores
from snapshot.core.messages import say
from snapshot.errors import MemoWarning, UsageError
from snapshot.store import wording

USAGE = (
    "[--input PATH...] [--env NAME...] [--output PATH...] [--stdin] [--ttl TIME] [--keep-failures] "
    "[--refresh | --explain] [--size SIZE] [--store WHERE] -- COMMAND...\n"
    "       snapshot memo ls|stats|explain|evict|clear|verify ..."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What counts of a command, and what is kept of it."""
    parser.add_argument(
        "--input",
        **_several("PATH"),
        help="files and folders whose contents count",
    )
    parser.add_argument("--env", **_several("NAME"), help="variables that count")
    parser.add_argument(
        "--output",
        **_several("PATH"),
        help="files and folders that are given again (default: those that are made or changed in "
        "the working directory meanwhile)",
    )
    parser.add_argument(
        "--stdin", action="store_true", help="it reads standard input, which counts"
    )
    parser.add_argument("--ttl", metavar="TIME", help="how long results hold: 45s, 15m, 12h, 7d")
    parser.add_argument(
        "--keep-failures", action="store_true", help="keep what ended with another status than 0"
    )
    parser.add_argument("--refresh", action="store_true", help="run it in any case")
    parser.add_argument("--explain", action="store_true", help="only say why it would be run")
    parser.add_argument(
        "--size", metavar="SIZE", help="of all results of commands together (default: 1GiB)"
    )
    stores.add_place(parser)
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def _several(metavar: str) -> dict[str, Any]:
    return {"nargs": "+", "action": "extend", "default": [], "metavar": metavar}


def execute(options: argparse.Namespace) -> int:
    """Run a command, or look after what is kept. Raises `UsageError`, `StoreError`."""
    words: list[str] = options.words
    if words[:1] == ["--"]:
        return _run(options, words[1:])
    known = ", ".join(kept.SUBCOMMANDS)
    if not words:
        raise UsageError(f"give -- and a command to run, or one of {known}")
    if words[0] not in kept.SUBCOMMANDS:
        raise UsageError(f"{words[0]!r} is none of {known}: put -- before a command to run it")
    given = [name for name, value in vars(options).items() if name in _OF_A_COMMAND and value]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} goes with -- and a command to run")
    return kept.look_after(options, words[0], words[1:])


_OF_A_COMMAND = frozenset(
    {"input", "env", "output", "stdin", "ttl", "keep_failures", "refresh", "explain", "size"}
)


# A command that is run.


def _run(options: argparse.Namespace, argv: list[str]) -> int:
    from snapshot.memo.group import SIZE, MemoizedGroup
    from snapshot.memo.shell import NAME, CannotExecute, Command

    if not argv:
        raise UsageError("give a command after --")
    if sys.stdout is None or sys.stderr is None:
        raise UsageError("standard output or error is closed: open it, as with > FILE")
    if unnamed := [each for each in options.env if not each or "=" in each]:
        raise UsageError(
            f"--env {unnamed[0]!r} is no name of a variable: give NAME, not NAME=VALUE"
        )
    ttl = None if options.ttl is None else wording.seconds(options.ttl)
    if ttl == 0:
        raise UsageError(f"--ttl {options.ttl}: nothing holds for no time; say --refresh")
    group = MemoizedGroup(NAME, store=options.store, size=options.size or SIZE)
    ignored = not options.stdin and _has_input()
    try:
        with _warnings_told():
            command = Command(
                argv,
                group,
                variables=options.env,
                inputs=options.input,
                outputs=options.output,
                stdin=_standard_input() if options.stdin else None,
                ttl=ttl,
                keep_failures=options.keep_failures,
            )
            if options.explain:
                stores.tell(command.explain())
                return 0
            recording = command.run(refresh=options.refresh)
            group.flush()
    except CannotExecute as error:
        print(f"{options.prog}: {printable(str(error))}", file=sys.stderr)
        return error.status
    finally:
        group.backend.close()
    stores.say(command.notes)
    if command.ran:
        if ignored:
            say("snapshot: it could read nothing: --stdin lets it read standard input")
        if not options.input:
            say("snapshot: inputs are not watched: name what it reads with --input")
    return recording.status


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Each in a line."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", MemoWarning)
        try:
            yield
        finally:
            stores.say(str(each.message) for each in found)


def _has_input() -> bool:
    """Whether somebody has given something to be read, which is no terminal."""
    try:
        status = os.fstat(0)
    except OSError:
        return False
    if stat.S_ISREG(status.st_mode):
        return status.st_size > os.lseek(0, 0, os.SEEK_CUR)
    if not (stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)):
        return False
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll(0))


def _standard_input() -> bytes:
    if sys.stdin is None:
        raise UsageError("--stdin: standard input is closed")
    return sys.stdin.buffer.read()
