"""Programs that fork, each run in a session of its own, and processes that must be gone.

The test runner itself never forks: what forks is a script, started here with pipes as its
standard streams. A test and its program meet by what they write to each other, not by sleeping.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Literal, Self

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_FOREIGN = re.compile(
    "(PYTHON(?!PATH|HOME)|PYTEST_|SNAPSHOT_|LC_|XDG_|IPYTHON|JUPYTER|PTPYTHON|PROMPT_TOOLKIT_).*"
    "|COLUMNS|LINES|PROMPT_COMMAND|PS1|INPUTRC|ENV|BASH_ENV|NO_COLOR|HISTFILE"
)


class NotInTime(AssertionError):
    """Something did not end, or was not printed, in time; the message shows each process."""


@dataclass(frozen=True, repr=False)
class Result:
    """How a program ended and what it wrote; bytes that are no UTF-8 are surrogates.

    code: its exit status, None if a signal ended it. signal: that signal's number, or None.
    """

    stdout: str
    stderr: str
    code: int | None
    signal: int | None

    def __repr__(self) -> str:
        how = f"code {self.code}" if self.signal is None else signal.Signals(self.signal).name
        return f"<{how}>\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}\n---"


class Program:
    """A running program, leader of a session of its own, with pipes as its standard streams.

    As a context manager it kills, at the end, whatever still runs in its session.
    """

    def __init__(
        self,
        command: list[str],
        *,
        directory: Path,
        stdin: str | bytes | int | IO[bytes] = b"",
        env: Mapping[str, str] | None = None,
    ) -> None:
        """stdin: what is written to the pipe at first, or a file to use in its place."""
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE if isinstance(stdin, str | bytes) else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            env=environment(directory, env),
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._output = {"stdout": bytearray(), "stderr": bytearray()}
        self._unsent = b""
        self._no_more = self._closed = False
        self._selector = selectors.DefaultSelector()
        for name in self._output:
            self._selector.register(self._stream(name), selectors.EVENT_READ, name)
        if isinstance(stdin, str | bytes):
            os.set_blocking(self._stream("stdin").fileno(), False)
            self.send(stdin)

    @property
    def stdout(self) -> str:
        """What has been read of its standard output so far."""
        return _decoded(self._output["stdout"])

    @property
    def stderr(self) -> str:
        """What has been read of its standard error so far."""
        return _decoded(self._output["stderr"])

    def send(self, text: str | bytes) -> None:
        """Write to its standard input: at once what the pipe takes, the rest while waiting."""
        self._unsent += text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        self._write()

    def wait_for(
        self,
        wanted: str | re.Pattern[str],
        *,
        stream: Literal["stdout", "stderr"] = "stdout",
        timeout: float = 60,
    ) -> re.Match[str]:
        """Wait until the text, or a match of the pattern, is in what the stream has brought."""
        pattern = compiled(wanted)

        def found() -> re.Match[str] | None:
            return pattern.search(_decoded(self._output[stream]))

        self._pump(
            lambda: bool(found()) or self._stream(stream).closed,
            f"{pattern.pattern!r} on {stream}",
            timeout,
        )
        if match := found():
            return match
        raise NotInTime(self._report(f"{stream} ended without {pattern.pattern!r}"))

    def members(self) -> list[psutil.Process]:
        """Every process of its session, itself included."""
        return session_members(self.pid)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the program alone."""
        self._process.send_signal(number)

    def finish(self, timeout: float = 60) -> Result:
        """Close its standard input once all is sent; wait for the end of both its streams, and
        for its own.

        A process that outlives the program and holds its streams is waited for, too.
        """
        deadline = time.monotonic() + timeout
        self._no_more = True
        self._write()
        self._pump(
            lambda: all(self._stream(name).closed for name in self._output),
            "end of its output",
            timeout,
        )
        try:
            status = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise NotInTime(self._report(f"no end within {timeout} s")) from None
        code, number = (status, None) if status >= 0 else (None, -status)
        return Result(self.stdout, self.stderr, code, number)

    def close(self) -> None:
        """Kill and reap the whole session; close the pipes."""
        if self._closed:
            return  # its number may be another one's by now
        self._closed = True
        kill_session(self.pid)
        self._process.wait()
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] | None = getattr(self._process, name)
        assert stream is not None, f"the {name} of this program is not a pipe"
        return stream

    def _pump(self, done: Callable[[], bool], awaited: str, timeout: float) -> None:
        """Move bytes in both directions until `done()`."""
        deadline = time.monotonic() + timeout
        while not done():
            left = deadline - time.monotonic()
            if left <= 0:
                raise NotInTime(self._report(f"no {awaited} within {timeout} s"))
            for key, _ in self._selector.select(left):
                self._write() if key.data == "stdin" else self._read(key.data)

    def _read(self, name: str) -> None:
        stream = self._stream(name)
        data = os.read(stream.fileno(), 1 << 16)
        self._output[name] += data
        if not data:
            self._selector.unregister(stream)
            stream.close()

    def _write(self) -> None:
        """Write what the pipe takes; be called again as soon as it takes more."""
        stdin = self._process.stdin
        if stdin is None or stdin.closed:
            return
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(stdin.fileno(), self._unsent) :]
        except BlockingIOError:
            if stdin.fileno() not in self._selector.get_map():
                self._selector.register(stdin, selectors.EVENT_WRITE, "stdin")
            return
        except BrokenPipeError:
            self._unsent, self._no_more = b"", True
        if stdin.fileno() in self._selector.get_map():
            self._selector.unregister(stdin)
        if self._no_more:
            stdin.close()

    def _report(self, problem: str) -> str:
        return "\n".join(
            [
                problem,
                f"--- stdout\n{self.stdout}",
                f"--- stderr\n{self.stderr}",
                "--- processes",
                *map(describe, self.members()),
            ]
        )


def start_python(
    source: str | Path,
    *args: str | Path,
    directory: Path,
    stdin: str | bytes | int | IO[bytes] = b"",
    env: Mapping[str, str] | None = None,
    options: Iterable[str] = (),
    via_shell: bool | str = False,
) -> Program:
    """Start a script: the given file, or the given source (dedented, put into `directory`).

    options: the interpreter's own. env: variables added to `environment()`. via_shell: a line for
    `sh` in which `{}` stands for the whole command, as in "{} | cat"; True is "{}; exit $?",
    which keeps the shell as the program's parent.
    """
    script = source if isinstance(source, Path) else write_script(directory, source)
    command = [sys.executable, *options, str(script), *map(str, args)]
    if via_shell:
        line = via_shell if isinstance(via_shell, str) else "{}; exit $?"
        command = ["/bin/sh", "-c", line.replace("{}", shlex.join(command))]
    return Program(command, directory=directory, stdin=stdin, env=env)


def run_python(
    source: str | Path,
    *args: str | Path,
    directory: Path,
    stdin: str | bytes | int | IO[bytes] = b"",
    env: Mapping[str, str] | None = None,
    options: Iterable[str] = (),
    via_shell: bool | str = False,
    timeout: float = 60,
) -> Result:
    """Run a script to its end (see `start_python`); what outlives it in its session is killed."""
    with start_python(
        source,
        *args,
        directory=directory,
        stdin=stdin,
        env=env,
        options=options,
        via_shell=via_shell,
    ) as program:
        return program.finish(timeout)


def write_script(directory: Path, source: str) -> Path:
    """Put dedented source into the first free one of program.py, program_2.py, …"""
    names = (f"program_{number}.py" if number > 1 else "program.py" for number in count(1))
    script = next(path for name in names if not (path := directory / name).exists())
    script.write_text(textwrap.dedent(source), encoding="utf-8")
    return script


# Where what Jedi has parsed and Matplotlib's fonts outlive a test: they take seconds to compute.
# One for each process of the runner, since these files are not written atomically.
_CACHE = Path(__file__).parents[1] / ".pytest_cache" / "programs"


_KINDS = ("CACHE", "CONFIG", "DATA", "STATE")


def environment(directory: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables a program under test gets: nothing of the user's own, a HOME in `directory`,
    a cache that outlives it, this interpreter's commands first on the path."""
    home = directory / "home"
    if not home.exists():
        _make_home(home)
    (home / "runtime").mkdir(0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    return {
        **kept,
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "PYTEST_ADDOPTS": "-p no:hypothesispytest",  # which takes half of pytest's start
        "PYTHON_HISTORY": str(home / ".python_history"),
        **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in _KINDS},
        "XDG_RUNTIME_DIR": str(home / "runtime"),
        **(extra or {}),
    }


def _make_home(home: Path) -> None:
    (home / "cache").mkdir(parents=True)
    lasting = _CACHE / os.environ.get("PYTEST_XDIST_WORKER", "alone")
    for program in ("jedi", "matplotlib", "parso"):
        (lasting / program).mkdir(parents=True, exist_ok=True)
        (home / "cache" / program).symlink_to(lasting / program)


def compiled(wanted: str | re.Pattern[str]) -> re.Pattern[str]:
    """A plain text is looked for as it stands."""
    return re.compile(re.escape(wanted)) if isinstance(wanted, str) else wanted


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, so that none is overlooked."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(pid: int, *, recursive: bool = False) -> list[psutil.Process]:
    """The children of a process, those that ended and were not reaped included."""
    try:
        return psutil.Process(pid).children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []


def session_members(leader: int) -> list[psutil.Process]:
    """Each process of the leader's session, and each descendant of one of them.

    An unreaped one is listed if its parent lives on; one that this process adopted is reaped.
    """
    psutil.process_iter.cache_clear()  # of one that has another one's number it knows the other
    everyone = {process.pid: process for process in psutil.process_iter()}
    parents = {pid: _parent(process) for pid, process in everyone.items()}
    members = {pid for pid in everyone if _session(pid) == leader}
    while more := {pid for pid in everyone if parents[pid] in members} - members:
        members |= more
    return [
        everyone[pid]
        for pid in sorted(members)
        if pid == leader or parents[pid] != os.getpid() or not _reaped(pid)
    ]


def kill_session(leader: int) -> None:
    """Kill every member of a session and wait for their end; the leader is left unreaped."""
    while members := [process for process in session_members(leader) if runs(process)]:
        for process in members:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_gone(members)


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended; an unreaped one has."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_gone(processes: Iterable[int | psutil.Process], timeout: float = 10) -> None:
    """Wait until each of them has ended, reaped or not; raise `NotInTime` that describes one."""
    deadline = time.monotonic() + timeout
    for pid in (item if isinstance(item, int) else item.pid for item in processes):
        try:
            process = psutil.Process(pid)
            if not _wait_for_end(process, max(0.0, deadline - time.monotonic())):
                raise NotInTime(f"still there after {timeout} s:\n{describe(process)}")
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue


def describe(process: psutil.Process) -> str:
    """What a process is, what it waits for, and its stack where that can be had."""
    try:
        with process.oneshot():
            line = shlex.join(process.cmdline()) or process.name()
            text = f"{process.pid} (parent {process.ppid()}, {process.status()}): {line}"
    except psutil.NoSuchProcess:
        return f"{process.pid}: has ended"
    if shutil.which("py-spy") and runs(process):
        spy = ["py-spy", "dump", "--pid", str(process.pid)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            seen = subprocess.run(spy, capture_output=True, text=True, timeout=10, check=False)
            if seen.returncode == 0:
                return f"{text}\n{textwrap.indent(seen.stdout, '    ')}"
    for name in ("wchan", "stack"):
        with contextlib.suppress(OSError):
            seen_text = Path(f"/proc/{process.pid}/{name}").read_text().strip()
            text += "\n" + textwrap.indent(f"{name}: {seen_text}", "    ")
    return text


def _wait_for_end(process: psutil.Process, timeout: float) -> bool:
    if sys.platform != "linux":
        return not psutil.wait_procs([process], timeout)[1]
    end = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(end, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    finally:
        os.close(end)


def _reaped(pid: int) -> bool:
    """Take the status of a child of this process if it has ended."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _decoded(data: bytearray) -> str:
    return data.decode("utf-8", "surrogateescape")
