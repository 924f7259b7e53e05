"""What is told to the user: a line at a time, on standard error."""

from __future__ import annotations

import os
import sys


def say(text: str) -> None:
    """A line on standard error, unless SNAPSHOT_QUIET is set or nobody is there to read it."""
    stream = sys.stderr
    if os.environ.get("SNAPSHOT_QUIET") or stream is None:
        return
    line = text + "\n"  # written at once, so that lines of two processes do not mix
    try:
        try:
            stream.write(line)
        except UnicodeEncodeError:
            stream.write(line.encode("ascii", "backslashreplace").decode())
        stream.flush()
    except Exception:
        return  # nobody is there to read it, or it is a stream of the program's own that fails
