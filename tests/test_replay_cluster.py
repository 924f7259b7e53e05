"""Recorded calls are made again by the workers of a real cluster."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres

pytest.importorskip("distributed", reason="distributed is not installed")

MODULE = """
import os
import numpy as np
from snapshot.replay import record

@record
def total(array, factor):
    return float(array.sum() * factor)

@record
def fragile(x):
    if os.environ.get("FRAGILE"):
        os.abort()
    return x
"""

# A scheduler and two workers; the address is said when they are there.
CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[str | None]:
    if postgres.binaries() is None:
        yield None
        return
    with postgres.server() as url:
        yield url


@contextlib.contextmanager
def cluster(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def test_two_workers_make_the_calls(server: str | None, tmp_path: Path) -> None:
    if server is None:
        assert os.environ.get("CI") != "true", "PostgreSQL is not installed"
        pytest.skip("PostgreSQL is not installed")
    (tmp_path / "sums.py").write_text(MODULE)
    environment = os.environ | {
        "SNAPSHOT_STORE": server,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "SNAPSHOT_OBJECTS": (tmp_path / "shared").as_uri(),
        "PYTHONPATH": str(tmp_path),
        "DASK_TEMPORARY_DIRECTORY": str(tmp_path / "dask"),
    }

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    made = run(
        "-c",
        "import numpy as np, sums\n"
        "for n in range(10): sums.total(np.arange(50_000.0), n)\n"
        "sums.fragile(3)",
    )
    assert made.returncode == 0, made.stderr
    # The same array is stored once, where every machine finds it.
    assert len([each for each in (tmp_path / "shared").rglob("*") if each.is_file()]) == 1
    with cluster(tmp_path, environment | {"FRAGILE": "1"}) as address:
        replay = ("-m", "snapshot", "replay", "--all", "--cluster")
        found = run(*replay, address, "--json")
        verdicts = json.loads(found.stdout)
        assert [each["status"] for each in verdicts] == ["matched"] * 10 + ["failed"]
        assert "SIGABRT" in verdicts[-1]["differences"][0]  # and the worker lives
        assert found.returncode == 1
        again = run(*replay, address, "--json", "--jobs", "1")
        assert json.loads(again.stdout)[:1][0]["status"] == "matched"
    gone = run(*replay, "tcp://127.0.0.1:1")
    assert gone.returncode == 2
    assert gone.stderr.startswith(
        "snapshot replay: no dask scheduler answers at 'tcp://127.0.0.1:1'"
    )
    here = run(*replay, "tcp://127.0.0.1:1", "--store", "calls.db")
    assert here.stderr.startswith("snapshot replay: there is no store")
