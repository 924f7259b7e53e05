"""What every test stands on: nothing is left behind, and programs run elsewhere than here."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import stat
import tempfile
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

from snapshot.store import Store
from tests import stores
from tests.processes import (
    NotInTime,
    Program,
    Result,
    adopt_orphans,
    children_of,
    describe,
    run_python,
    start_python,
    wait_gone,
)
from tests.terminal import Terminal

# In the background of a script, or under nohup, the runner ignores these, and so would every
# program that it starts.
for _number, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

# A loaded machine is no fault of a strategy.
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")

# What is ending when a test ends has this long to be gone.
_GRACE = 1.0  # seconds


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., Result]:
    """`run_python` in the test's own directory."""
    return functools.partial(run_python, directory=tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """`start_python` in the test's own directory; each program is closed at the end."""
    with contextlib.ExitStack() as stack:

        def started(source: str | Path, *args: str | Path, **options: Any) -> Program:
            return stack.enter_context(start_python(source, *args, directory=tmp_path, **options))

        yield started


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """A factory of terminals in the test's own directory; each is closed at the end."""
    with contextlib.ExitStack() as stack:

        def opened(**options: Any) -> Terminal:
            return stack.enter_context(Terminal(tmp_path, **options))

        yield opened


@pytest.fixture
def terminal(open_terminal: Callable[..., Terminal]) -> Terminal:
    """A terminal of 24 rows and 80 columns with bash in it."""
    return open_terminal()


@pytest.fixture(scope="module")
def server() -> Iterator[str | None]:
    """A PostgreSQL for the tests of a file, which is there before the first that asks for it."""
    yield from stores.servers()


@pytest.fixture(params=stores.KINDS)
def where(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str | None,
) -> str:
    """The place of a store that is not there yet: the test runs for each kind of them."""
    return stores.place(request.param, tmp_path, monkeypatch, server)


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    """A new one, of each kind."""
    with Store(where, create=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def temporary_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The temporary directory of this run alone, for the tests and for what they start."""
    path = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(path))
        patch.setattr(tempfile, "tempdir", None)
        yield path


@pytest.fixture(scope="session")
def orphans() -> None:
    """Every orphan of the tests becomes a child of the runner, and is seen as left behind."""
    adopt_orphans()


@pytest.fixture(autouse=True)
def nothing_left(temporary_directory: Path, orphans: None) -> Iterator[None]:
    """Fail the test that leaves a process, thread, descriptor, temporary file or tty mode.

    An unreaped process that has ended is reaped and forgiven: it may be an orphan, which the
    runner's parent would have reaped. What was left is removed as far as it can be, so that only
    one test fails for it.
    """
    before = Belongings.of_runner(temporary_directory)
    yield
    left = before.left_behind(temporary_directory)
    if left:
        pytest.fail("the test left behind:\n" + "\n".join(left), pytrace=False)


@dataclass(frozen=True)
class Belongings:
    """What the runner has at one moment."""

    children: set[int]
    threads: set[threading.Thread]
    descriptors: dict[int, str]
    files: set[str]
    modes: list[Any] | None

    @classmethod
    def of_runner(cls, temporary: Path) -> Belongings:
        return cls(
            children={child.pid for child in _children()},
            threads=set(threading.enumerate()),
            descriptors=_descriptors(),
            files=set(os.listdir(temporary)),
            modes=_tty_modes(),
        )

    def left_behind(self, temporary: Path) -> list[str]:
        """A line for each thing that is there now and was not; as many as can are removed."""
        return [
            *(f"process {line}" for line in self._end_children()),
            *(f"thread {thread!r}" for thread in self._join_threads()),
            *(f"descriptor {line}" for line in self._descriptors_left()),
            *(f"temporary file {path}" for path in self._remove_files(temporary)),
            *self._restore_modes(),
        ]

    def _end_children(self) -> Iterator[str]:
        while children := [child for child in _children() if child.pid not in self.children]:
            for child in children:
                try:
                    wait_gone([child], _GRACE)
                except NotInTime:
                    yield describe(child)
                    child.kill()
                    wait_gone([child])
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, 0)

    def _join_threads(self) -> Iterator[threading.Thread]:
        for thread in set(threading.enumerate()) - self.threads:
            thread.join(_GRACE)
            if thread.is_alive():
                yield thread

    def _descriptors_left(self) -> Iterator[str]:
        for fd, target in sorted(_descriptors().items() - self.descriptors.items()):
            yield f"{fd}: {target}"

    def _remove_files(self, temporary: Path) -> Iterator[Path]:
        for name in sorted(set(os.listdir(temporary)) - self.files):
            path = temporary / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            yield path

    def _restore_modes(self) -> Iterator[str]:
        if self.modes is not None and (now := _tty_modes()) != self.modes:
            yield f"tty modes {now} in the place of {self.modes}"
            _tty_modes(restored=self.modes)


def _children() -> list[psutil.Process]:
    """The runner's children; that there are none, as there should be, is cheap to know."""
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return []
    return children_of(os.getpid())


def _descriptors() -> dict[int, str]:
    """What each open descriptor of the runner stands for."""
    found = {}
    for fd in map(int, os.listdir("/dev/fd")):
        with contextlib.suppress(OSError):  # the one that lists them is closed by now
            status = os.fstat(fd)
            found[fd] = f"{stat.filemode(status.st_mode)} {status.st_dev}:{status.st_ino}"
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found


def _tty_modes(restored: list[Any] | None = None) -> list[Any] | None:
    """The modes of the runner's controlling terminal, if it has one; put back before, if given."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if restored is not None and os.tcgetpgrp(fd) == os.getpgrp():
            termios.tcsetattr(fd, termios.TCSANOW, restored)
        return termios.tcgetattr(fd)
    finally:
        os.close(fd)
