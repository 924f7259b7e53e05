"""Tell what a fork of a process would share, lose or put back.

A line each for open files, memory, sockets, pipes, locks, children, threads: what a snapshot makes
of it, and what to do. The process PID is only looked at; it need not be Python's. Without PID, tell
what of snapshot works on this machine.

--sweep removes the upper layers of overlays on a disk (files_on_disk=) that killed programs left,
in the user's cache or in DIR; those in use stay.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict

from snapshot.errors import UsageError

USAGE = "[--json] [PID] | --sweep [DIR]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Whom to look at, and how to tell."""
    parser.add_argument("pid", nargs="?", metavar="PID", help="the process to look at")
    parser.add_argument("--json", action="store_true", help="tell the same as JSON")
    parser.add_argument(
        "--sweep", nargs="?", const="", metavar="DIR", help="remove what killed programs left"
    )


def execute(options: argparse.Namespace) -> int:
    """Look, and print what was found. Raises `UsageError` and `CannotSurvey`."""
    if options.sweep is not None:
        return _sweep(options)
    from snapshot.core.survey import survey
    from snapshot.core.survey.machine import machine

    pid = None if options.pid is None else _number(options.pid)
    found = machine() if pid is None else survey(pid)
    shown: object = found
    if options.json:
        shown = json.dumps({"pid": pid, "findings": [asdict(each) for each in found]}, indent=2)
    print(shown, flush=True)
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from snapshot.core.rollback import disk

    if options.pid is not None or options.json:
        raise UsageError("--sweep goes with no PID, and not with --json")
    place = disk.place(options.sweep or None)
    if options.sweep and not os.path.isdir(place):
        raise UsageError(f"{options.sweep!r} is no directory")
    swept = disk.sweep(place)
    for each in swept:
        print("removed", each)
    if not swept:
        print(f"nothing to sweep in {place}")
    return 0


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{text!r} is no pid: give the number of a process") from None
