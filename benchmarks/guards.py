"""What the table of resources adds to a snapshot: `-m benchmarks.guards`."""

from __future__ import annotations

import concurrent.futures.process
import concurrent.futures.thread
import logging.handlers
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.shared_memory
import os
import sqlite3
import ssl
import subprocess
import tempfile

from benchmarks.harness import by_turns, compare, main, small_pages, timed
from snapshot import revert, snapshot
from snapshot.core import resources

os.environ["SNAPSHOT_QUIET"] = "1"

LOADED = (
    *(concurrent.futures.process, concurrent.futures.thread, logging.handlers),
    *(multiprocessing.managers, multiprocessing.pool, multiprocessing.shared_memory),
    *(sqlite3, ssl, subprocess, tempfile),
)


def there_and_back() -> None:
    if snapshot():
        revert()


def everything() -> None:
    """All that the standard library has of the table is loaded, and nothing of it is in use."""
    heap = small_pages(10 << 20)
    there_and_back()
    steps = dict(resources._steps)
    nothing: dict[str, list[resources.Step]] = {name: [] for name in steps}

    def run(what: dict[str, list[resources.Step]]) -> float:
        resources._steps = what
        return timed(there_and_back)

    ours, bare = by_turns(500, lambda: run(steps), lambda: run(nothing))
    compare(f"10 MiB, {len(LOADED)} modules loaded: with guards", ours, bare, "without", 1.1)
    heap.close()


if __name__ == "__main__":
    raise SystemExit(main("benchmarks.guards", {"everything": everything}))
