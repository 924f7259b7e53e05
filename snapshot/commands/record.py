"""Run a program as Python would, and record the calls of some of its functions.

The code is not touched: --include names modules and functions by patterns, `package.*`, `module`,
`module:Class.*`; --exclude leaves some of them out. The exit status is Python's.
"""

from __future__ import annotations

import argparse

from snapshot import commands
from snapshot.errors import UsageError

USAGE = (
    "--include PATTERN... [--exclude PATTERN] [--redact NAME] [--max-value-bytes N] [--sample P] "
    f"[--keep-last N] [--background N] [--store WHERE] {commands.PROGRAM_USAGE}"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which functions, how, and the program."""
    parser.add_argument(
        "--include", action="append", metavar="PATTERN", help="record these; may be repeated"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN", help="but not these"
    )
    parser.add_argument(
        "--redact", action="append", default=[], metavar="NAME", help="store no such value"
    )
    parser.add_argument("--max-value-bytes", type=int, metavar="N", help="store no larger value")
    parser.add_argument(
        "--sample", type=float, default=1.0, metavar="P", help="a part of the calls"
    )
    parser.add_argument("--keep-last", type=int, metavar="N", help="so many of each function")
    parser.add_argument(
        "--background", type=int, metavar="N", help="pickle values of so many bytes in a fork"
    )
    parser.add_argument(
        "--store",
        metavar="WHERE",
        help="a file, or a postgresql:// URL; default: SNAPSHOT_STORE, else .snapshot/store.db",
    )
    commands.add_program(parser)


def execute(options: argparse.Namespace) -> int:
    """Run the program; see `launcher.exit_status` for what comes back. Raises `UsageError`."""
    from snapshot.repl import failure, launcher
    from snapshot.replay import recording

    program = commands.program(options)
    if program is None:
        raise UsageError("nothing to run: give a script, -m module or -c code")
    if not options.include:
        raise UsageError("nothing to record: give --include, as in --include 'package.*'")
    main = launcher.Main(program)
    calls = recording(
        options.include,
        exclude=options.exclude,
        store=options.store,
        redact=options.redact,
        max_value_bytes=options.max_value_bytes,
        sample=options.sample,
        keep_last=options.keep_last,
        background=options.background,
    )
    with calls:
        ended = main.run()
    if ended is not None and not isinstance(ended, SystemExit):
        failure.show(ended)
    return launcher.exit_status(ended)
