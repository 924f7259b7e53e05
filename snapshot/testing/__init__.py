"""The plugin of pytest: `--snapshot` runs each test in a disposable fork.

pytest loads this module whenever this package is installed, so there is next to nothing in it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("snapshot", "tests in disposable forks (snapshot)")
    group.addoption(
        "--snapshot",
        dest="snapshot_tests",
        action="store_true",
        help="Run each test in a fork of this process: one that crashes is one failed test. At a "
        "terminal, a test that fails is run again under a debugger that goes backwards.",
    )
    group.addoption(
        "--snapshot-timeout",
        metavar="SECONDS",
        type=_seconds,
        help="With --snapshot: kill a test that takes longer. No limit by default.",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give seconds, as 10 or 0.5")
    return seconds


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("snapshot_tests"):
        from snapshot.testing.forks import Forks

        config.pluginmanager.register(Forks(config), Forks.__module__)
