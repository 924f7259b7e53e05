"""A real PostgreSQL server of a test's own, on a Unix socket."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_USERS = ("postgres", "nobody")  # as root it refuses to run


def binaries() -> Path | None:
    """The folder of the server's programs, None if they are not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    found = versions[0] if versions else shutil.which("initdb")
    return None if found is None else Path(found).parent


def require() -> None:
    """Skip the test where the server is not installed; fail it in CI."""
    if binaries() is None:
        reason = "PostgreSQL's server is not installed"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Start one and yield its URL; when the block is left, nothing of it is there any more."""
    programs = binaries()
    assert programs is not None
    user = _user()
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as folder:
        if user is not None:
            os.chmod(folder, 0o755)
            shutil.chown(folder, user)
        data = f"{folder}/data"
        _run(user, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N")
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-k", folder, "-h", "", "-F"],
            user=user,
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            while "ready to accept connections" not in (line := process.stderr.readline()):
                assert line, "the server ended"
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            process.terminate()  # it waits for its clients
            with process.stderr:
                process.stderr.read()
            process.wait()


def _user() -> str | None:
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in names)


def _run(user: str | None, *command: str | Path) -> None:
    subprocess.run(command, user=user, check=True, capture_output=True, cwd="/tmp")
