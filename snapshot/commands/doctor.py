"""Tell what a fork of a process would share, lose or put back.

A line each for open files, memory, sockets, pipes, locks, children, threads: what a snapshot makes
of it, and what to do. The process PID is only looked at; it need not be Python's. Without PID, tell
what of snapshot works on this machine.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from snapshot.errors import UsageError

USAGE = "[--json] [PID]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom to look at, and how to tell."""
    parser.add_argument("pid", nargs="?", metavar="PID", help="the process to look at")
    parser.add_argument("--json", action="store_true", help="tell the same as JSON")


def execute(options: argparse.Namespace) -> int:
    """Look, and print what was found. Raises `UsageError` and `CannotSurvey`."""
    from snapshot.core.survey import survey
    from snapshot.core.survey.machine import machine

    pid = None if options.pid is None else _number(options.pid)
    found = machine() if pid is None else survey(pid)
    if options.json:
        print(json.dumps({"pid": pid, "findings": [asdict(each) for each in found]}, indent=2))
    else:
        print(found)
    return 0


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{text!r} is no pid: give the number of a process") from None
