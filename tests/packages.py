"""Other people's packages, as the registry has them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest


def sources_of(package: str, folder: Path) -> Path:
    """The sources of a package, `name==version`, with its tests: unpacked below that folder.

    Where there is no registry the test is skipped; under CI it fails.
    """
    download = (*("-m", "pip", "download", "-q", "--no-deps"), *("--no-binary", ":all:", package))
    done = subprocess.run(
        [sys.executable, *download], cwd=folder, capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        reason = f"no package registry: {done.stderr[-500:]}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        content.extractall(folder, filter="data")
    archive.unlink()
    (found,) = (each.parent for each in folder.glob("*/setup.cfg"))
    return found
