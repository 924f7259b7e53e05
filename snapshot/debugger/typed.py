"""Standard input that is no terminal: the commands, and what the program reads between them."""

from __future__ import annotations

import io
import os
import sys


def read_no_further() -> None:
    """From now on nothing is read ahead: what one process has read, its forks must not find again.

    Of a terminal a line is read at a time, at most.
    """
    if sys.stdin is None or os.isatty(0):
        return
    was = sys.stdin
    raw = io.FileIO(0, closefd=False)
    stream = io.TextIOWrapper(io.BufferedReader(raw, 1), was.encoding, was.errors)
    stream._CHUNK_SIZE = 1  # type: ignore[attr-defined]
    sys.stdin = sys.__stdin__ = stream  # type: ignore[misc]
