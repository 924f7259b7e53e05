"""What importing costs, each time in a fresh process: `python -m benchmarks.load`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.harness import compare, main

_PROJECT = Path(__file__).parent.parent
_PROGRAM = """
import time
begun = time.perf_counter()
{}
print(time.perf_counter() - begun)
"""
_STATEMENTS = (
    "import concurrent.futures, pickle",
    "import snapshot",
    "from snapshot import snapshot",
)


def _run(statement: str) -> tuple[float, float]:
    """Seconds for the statement, and for the whole process."""
    begun = time.perf_counter()
    # Without `site`, since what an editable installation loads there would be no longer counted.
    command = [sys.executable, "-S", "-c", _PROGRAM.format(statement)]
    done = subprocess.run(command, check=True, capture_output=True, cwd=_PROJECT)
    return float(done.stdout), time.perf_counter() - begun


def imports() -> None:
    for statement in _STATEMENTS:
        _run(statement)  # from now on everything is compiled and in the page cache
    runs = [[_run(statement) for statement in _STATEMENTS] for _ in range(100)]
    (peer, peer_whole), (package, package_whole), (name, name_whole) = (
        tuple(median(figure) for figure in zip(*side, strict=True))
        for side in zip(*runs, strict=True)
    )
    other = _STATEMENTS[0].removeprefix("import ")
    compare("import snapshot", package, peer, other, at_most=1.5)
    compare("import snapshot, whole process", package_whole, peer_whole, other)
    compare("from snapshot import snapshot", name, peer, other)
    compare("from snapshot import snapshot, whole process", name_whole, peer_whole, other)


if __name__ == "__main__":
    raise SystemExit(main("benchmarks.load", {"imports": imports}))
