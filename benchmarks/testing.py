"""What `pytest --snapshot` costs, and the plugin where it is not asked for.

`python -m benchmarks.testing`
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.harness import by_turns, compare, main, timed

_ROUNDS = 9
_TESTS = "import pytest\n\n@pytest.mark.parametrize('n', range(300))\ndef test_it(n): ...\n"

# The floor: a fork that does nothing, for each test.
_BARE = """
import os, pytest

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""


@contextmanager
def _suite(source: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_it.py").write_text(source)
        Path(folder, "bare.py").write_text(_BARE)
        yield Path(folder)


def _pytest(folder: Path, *options: str) -> float:
    """Seconds that a run takes, from start to end."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    run = partial(subprocess.run, command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return timed(lambda: run(stdin=subprocess.DEVNULL))


def forks() -> None:
    """300 tests that do nothing."""
    with _suite(_TESTS) as folder:
        ours, bare, plain = by_turns(
            _ROUNDS,
            partial(_pytest, folder, "--snapshot"),
            partial(_pytest, folder, "-p", "bare"),
            partial(_pytest, folder),
        )
    compare("300 tests, each in a fork", ours, plain, "in one process")
    compare("300 tests, each in a fork", ours, bare, "with a bare fork each")


def start() -> None:
    """A run without the option."""
    with _suite("def test_it(): ...\n") as folder:
        ours, without = by_turns(
            2 * _ROUNDS,
            partial(_pytest, folder),
            partial(_pytest, folder, "-p", "no:snapshot-testing"),
        )
    compare("pytest, without --snapshot", ours, without, "without the plugin", at_most=1.05)


if __name__ == "__main__":
    raise SystemExit(main("benchmarks.testing", {"forks": forks, "start": start}))
