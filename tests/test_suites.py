"""Other people's code: a package's own tests are recorded, and its calls are made again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.packages import sources_of
from tests.processes import environment

PACKAGE = "markdown==3.7"
HEAVY = "tests/test_legacy.py"  # documents of 100 KB, which each of a thousand calls would hold


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The package with its tests, as the registry has it."""
    folder = sources_of(PACKAGE, tmp_path)
    (folder / HEAVY).unlink()
    return folder


def test_the_calls_of_a_package_s_own_tests_are_made_again(sources: Path) -> None:
    # Its tests leave temporary files behind.
    extra = {"SNAPSHOT_STORE": str(sources.parent / "calls.db"), "TMPDIR": str(sources)}
    variables = environment(sources.parent, extra)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snapshot", *words],
            cwd=sources,
            env=variables,
            capture_output=True,
            text=True,
            timeout=300,
        )

    tests = ("-m", "unittest", "discover", "-q", "tests")
    recorded = run("record", "--sample", "0.002", "--include", "markdown.*", *tests)
    assert recorded.returncode == 0, recorded.stderr
    assert "not recorded" not in recorded.stderr
    verdicts = json.loads(run("replay", "--all", "--json").stdout)
    count = Counter(each["status"] for each in verdicts)
    others = [each for each in verdicts if each["status"] != "matched"]
    assert len(verdicts) > 100
    assert count["failed"] == 0, others
    # Those that differ have something in them that cannot be stored, or depend on how deep the
    # stack is: one or two in a thousand.
    assert len(others) <= max(3, len(verdicts) // 50), others
    assert all(each["differences"] for each in others)
