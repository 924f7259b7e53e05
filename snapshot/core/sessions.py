"""The prompts and debuggers of this user that run now, found and looked at from outside.

Each has a socket in a folder that only this user can open, at which the supervisor of its timeline
answers (see `timeline.door`). To look changes nothing there. A request is a line of JSON, and so is
its answer:

    {"version": 1, "ask": "session"}                         a `Session`
    {"version": 1, "ask": "session", "since": 12}            once its revision is not 12 any more
    {"version": 1, "ask": "output", "future": 3, "since": 0} bytes so far, and text from there on

`SNAPSHOT_ANNOUNCE=0` in the environment of a session keeps it to itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import select
import shlex
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from snapshot.core import proc
from snapshot.errors import SnapshotError, UnknownSession

VERSION = 1
ANNOUNCE = "SNAPSHOT_ANNOUNCE"

_PATIENCE = 0.3  # seconds that all sessions together have to answer
_LONG = 5.0  # seconds that one has which is known to be there
_MOST = 1 << 26  # bytes of an answer
_PAUSE = 0.2  # seconds between two looks at a session in which something happens all the time
_NAME = re.compile("([0-9]+)-([0-9]+)")


class Announced(NamedTuple):
    """What a session says of itself at its beginning; see `Session`."""

    kind: str
    program: str
    directory: str
    python: str
    executable: str
    started: float

    @classmethod
    def here(cls, kind: str) -> Announced | None:
        """Of the program that runs in this process; None if it is not to be announced."""
        if os.environ.get(ANNOUNCE) == "0":
            return None
        try:
            directory = os.getcwd()
        except OSError:
            directory = ""
        python = sys.version.partition(" ")[0]
        return cls(kind, _program(), directory, python, sys.executable or "", time.time())


def _program() -> str:
    interpreter, *words = getattr(sys, "orig_argv", None) or [""]
    if words and not words[0].startswith("-"):
        words[0] = os.path.basename(words[0]) if os.path.isabs(words[0]) else words[0]
    else:
        words.insert(0, os.path.basename(interpreter))
    return shlex.join(words)[:4096]


@dataclass(frozen=True, slots=True)
class State:
    """A state, as it is shown.

    number: of its cell; of a debugger's, as it was made. parent: the number of the one before it.
    branch: the number of its branch. depth: how deep that lies. line: the first line of its cell,
    or the place where the program stood. made: when its cell began, or the future, in seconds since
    1970. status: "running" (a future), "frozen", "evicted", "ended" (a future that left nothing).
    memory: bytes that its process shares with no other, as last measured; None if that is not
    known. position: in the past of a program under the debugger. stop: whether somebody was asked
    there. stands_for: how many states it is, of which only the first is told, since all are gone.
    """

    number: int
    parent: int | None
    branch: int
    depth: int
    line: str
    made: float
    status: str
    failed: bool = False
    future: bool = False
    name: str | None = None
    pid: int | None = None
    memory: int | None = None
    position: int | None = None
    stop: bool = True
    stands_for: int = 1


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch. root: the number of the state that it left; None for the first one. at: that of the
    last one on it. pid: the process at its tip, None if that has gone. ended: how the program ended
    there, in words, if it did."""

    number: int
    root: int | None
    at: int
    pid: int | None
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """Where the process is that is live. branch, state: their numbers. line, position: the place in
    a program under the debugger."""

    branch: int
    state: int
    line: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """What runs. number: of the cell, or the position from which the program has gone on. line: its
    first line, or that place."""

    number: int
    line: str


@dataclass(frozen=True, slots=True)
class Future:
    """A future. number: of its state. status: "running", "done", "failed", "cancelled", "killed" or
    "exited". seconds: how long it ran, or has run so far. output: bytes that it has written. last:
    the last line of those. how: in which way its process ended, in words, if it left no state."""

    number: int
    line: str
    status: str
    seconds: float
    output: int
    last: str
    how: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A session, as it was when it answered.

    id: its name, for `look`, `output` and `changes`. revision: another one whenever something has
    changed; the seconds of a future that runs are nothing of that kind. kind: "repl", "ipython",
    "jupyter" or "debugger". pid: of the supervisor. live: of the process in which cells run, or the
    program. program: what Python was told to run. directory: in which. python: its version.
    executable: its path. started: in seconds since 1970. states: each below the one before it,
    those of a branch that left it first. cell: what runs; None at a prompt.
    """

    id: str
    revision: int
    kind: str
    pid: int
    live: int
    program: str
    directory: str
    python: str
    executable: str
    started: float
    here: Here
    cell: Cell | None
    states: list[State]
    branches: list[Branch]
    futures: list[Future]


# What both sides know.


def name_of(pid: int) -> str:
    """The name of the socket of a process: another one where its number is used again."""
    return f"{pid}-{round(proc.started(pid) * 100)}"


def line_of(message: dict[str, Any]) -> bytes:
    """A message on its way. What is no text (of a path, perhaps) has question marks."""
    text = json.dumps({"version": VERSION, **message}, ensure_ascii=False)
    return text.encode("utf-8", "replace") + b"\n"


def encoded(session: Session) -> dict[str, Any]:
    return dataclasses.asdict(session)


def opened(*, make: bool = False) -> list[int]:
    """The folders of this user in which sockets can be, as descriptors for the caller to close.

    make: the one for a new socket, made if there is none. One that others can open, or may have put
    there, is none of them.
    """
    found = []
    for path in _folders()[: 1 if make else None]:
        with contextlib.suppress(OSError):
            found.append(_opened(path, make=make))
    return found


def _folders() -> list[str]:
    """Where they are, the best one first."""
    paths = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    with contextlib.suppress(OSError):
        if os.path.isabs(runtime):
            status = os.stat(runtime)
            if status.st_uid == os.geteuid() and not status.st_mode & 0o022:
                paths.append(os.path.join(runtime, "snapshot"))
    with contextlib.suppress(OSError):  # there may be no place for temporary files
        paths.append(os.path.join(tempfile.gettempdir(), f"snapshot-{os.geteuid()}"))
    return paths


def _opened(path: str, *, make: bool) -> int:
    """Raises OSError if it is not there, or not this user's alone."""
    made = False
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            made = True
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(folder)
        if status.st_uid != os.geteuid():
            raise PermissionError(f"{path} is another user's")
        if made:
            os.fchmod(folder, 0o700)  # whatever the umask
        elif stat.S_IMODE(status.st_mode) & 0o077:
            raise PermissionError(f"{path} is open to others")
    except BaseException:
        os.close(folder)
        raise
    return folder


def path_in(folder: int, name: str) -> str:
    """Of a socket: short enough for one, wherever the folder is."""
    return f"/proc/self/fd/{folder}/{name}"


# Looking.


def running() -> list[Session]:
    """Those that run, and answer at once; the oldest comes first.

    The socket of one that has died is removed.
    """
    asked = list(_ask_all())
    _hear(asked, time.monotonic() + _PATIENCE)
    found = [_session(each) for each in asked]
    return sorted(filter(None, found), key=lambda each: (each.started, each.id))


def look(id: str) -> Session:
    """One of them. Raises `UnknownSession`."""
    found = changed(id, None, _LONG)
    if found is None:
        raise _silent(id)
    return found


def changed(id: str, revision: int | None, timeout: float) -> Session | None:
    """The session, as soon as it has another revision; None after so many seconds without.

    Raises `UnknownSession` if it has ended.
    """
    since = {} if revision is None else {"since": revision}
    with contextlib.closing(_asked(id, {"ask": "session", **since})) as one:
        _hear([one], time.monotonic() + timeout)
        if one.is_open and not one.is_complete:
            return None
        found = _session(one)
    if found is None:
        raise _silent(id)
    return found


def changes(id: str, pause: float = _PAUSE) -> Iterator[Session]:
    """The session as it is, and again whenever something has changed, until it ends.

    pause: seconds between two of them, at least. Raises `UnknownSession` if it is not there now.
    """
    session = look(id)
    while True:
        yield session
        time.sleep(pause)
        try:
            while (found := changed(id, session.revision, _LONG)) is None:
                continue
        except UnknownSession:
            return
        session = found


def output(id: str, number: int, position: int = 0) -> tuple[int, str]:
    """What a future has written, from a position on, and the position behind that.

    position: in bytes, 0 is the beginning. What is long comes in pieces: there is no more when the
    position stays. Raises `UnknownSession`; `SnapshotError` if there is no such future.
    """
    with contextlib.closing(
        _asked(id, {"ask": "output", "future": number, "since": position})
    ) as one:
        _hear([one], time.monotonic() + _LONG)
        answer = _answer(one)
    if answer is None:
        raise _silent(id)
    if "error" in answer:
        raise SnapshotError(str(answer["error"]))
    end, text = answer["output"]
    return int(end), str(text)


class _Asked:
    """A session that was asked something, and what has come of the answer."""

    def __init__(self, folder: int, name: str, request: dict[str, Any]) -> None:
        """Raises OSError if nobody is there."""
        self.name = name
        self.data = bytearray()
        self.is_open = True
        self._end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._end.setblocking(False)
            self._end.connect(path_in(folder, name))
            self._end.sendall(line_of(request))
        except BaseException:
            self._end.close()
            raise

    @property
    def is_complete(self) -> bool:
        return self.data.endswith(b"\n")

    def fileno(self) -> int:
        return self._end.fileno()

    def read(self) -> None:
        try:
            data = self._end.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.data += data
        if not data or len(self.data) > _MOST:
            self.is_open = False

    def close(self) -> None:
        self._end.close()


def _ask_all() -> Iterator[_Asked]:
    for folder in opened():
        try:
            for name in filter(_NAME.fullmatch, os.listdir(folder)):
                with contextlib.suppress(OSError):
                    yield _ask_in(folder, name, {"ask": "session"})
        finally:
            os.close(folder)


def _asked(id: str, request: dict[str, Any]) -> _Asked:
    """Raises `UnknownSession`."""
    with contextlib.ExitStack() as stack:
        folders = opened() if _NAME.fullmatch(id) else []
        for folder in folders:
            stack.callback(os.close, folder)
        for folder in folders:
            with contextlib.suppress(OSError):
                return _ask_in(folder, id, request)
    raise UnknownSession(f"no session {id!r} runs: `running()` tells which do")


def _ask_in(folder: int, name: str, request: dict[str, Any]) -> _Asked:
    try:
        return _Asked(folder, name, request)
    except ConnectionRefusedError:
        pid = int(name.partition("-")[0])
        if name_of(pid) != name or proc.is_ending(pid):  # else it has only begun
            os.unlink(name, dir_fd=folder)
        raise


def _hear(asked: Iterable[_Asked], deadline: float) -> None:
    """Read answers until all are complete, or it is too late."""
    waiting = {each.fileno(): each for each in asked}
    poll = select.poll()
    for fd in waiting:
        poll.register(fd, select.POLLIN)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(1000 * left):
            one = waiting[fd]
            one.read()
            if one.is_complete or not one.is_open:
                poll.unregister(fd)
                del waiting[fd]


def _answer(one: _Asked) -> dict[str, Any] | None:
    """What has come, if it is whole, and of our version. The connection is closed."""
    one.close()
    if not one.is_complete:
        return None
    try:
        answer = json.loads(one.data)
        return answer if answer["version"] == VERSION else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _session(one: _Asked) -> Session | None:
    answer = _answer(one)
    try:
        return None if answer is None else _decoded(answer["session"])
    except (TypeError, KeyError):
        return None


def _decoded(told: dict[str, Any]) -> Session:
    cell = told["cell"]
    parts = {
        "here": Here(**told["here"]),
        "cell": None if cell is None else Cell(**cell),
        "states": [State(**each) for each in told["states"]],
        "branches": [Branch(**each) for each in told["branches"]],
        "futures": [Future(**each) for each in told["futures"]],
    }
    return Session(**{**told, **parts})


def _silent(id: str) -> UnknownSession:
    return UnknownSession(f"session {id!r} does not answer: it has ended, or was stopped")
