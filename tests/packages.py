"""Other people's packages, as the registry has them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.processes import kill_session

_KEPT = Path(__file__).parents[1] / ".pytest_cache" / "sources"
_PATIENCE = 90.0  # seconds, which leaves the test some of its own time


def sources_of(package: str, folder: Path) -> Path:
    """The sources of a package, `name==version`, with its tests: unpacked below that folder.

    Where there is no registry, or it does not answer, the test is skipped; under CI it fails.
    """
    with tarfile.open(_archive(package)) as content:
        content.extractall(folder, filter="data")
    (found,) = (each.parent for each in folder.glob("*/setup.cfg"))
    return found


def _archive(package: str) -> Path:
    """It is downloaded once: pip installs a build system for it, a minute on a busy machine."""
    kept = _KEPT / f"{package}.tar.gz"
    if not kept.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_KEPT) as folder:
            _download(package, folder)
            (archive,) = Path(folder).glob("*.tar.gz")
            archive.rename(kept)
    return kept


def _download(package: str, folder: str) -> None:
    command = (*("-m", "pip", "download", "-q", "--no-deps"), *("--no-binary", ":all:", package))
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "TMPDIR": folder, "PIP_NO_COMPILE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as pip:
        try:
            _, said = pip.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            said = f"{package} has not come within {_PATIENCE:.0f} s"
        finally:
            kill_session(pip.pid)  # it has processes of its own, which would outlive it
    if pip.returncode != 0:
        reason = f"no package registry: {said[-500:]}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
