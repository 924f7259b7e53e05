"""Shell commands whose results are kept: what they write, their exit status, and their files."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import select
import selectors
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self, SupportsIndex

from snapshot.core.process import die_with
from snapshot.errors import CannotRead, StoreError, UsageError
from snapshot.memo.contents import FileContents
from snapshot.memo.group import MemoizedGroup
from snapshot.memo.memoized import Memoized
from snapshot.pickling import Bytes
from snapshot.store.files import renamed
from snapshot.store.place import FOLDER, Place

NAME = "shell"  # of the memoized function, and of its group

_FORM = 1  # of what is kept, and of what this module does: results of another one are not found
_MANY = 100_000  # files and folders that are compared
_NAMED = 3  # files, in a message
_CHUNK = 1 << 16
_PIPE = 1 << 20  # bytes, which is the most that a pipe holds
_STDOUT, _STDERR = 1, 2
_PASSED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)

Versions = Mapping[str, str]
"""What there is, by the path of a file or folder."""


class CannotExecute(UsageError):
    """There is no such program, or it cannot be run. `status` is what a shell would exit with."""

    status: int = 127


def program(name: str) -> str:
    """The path of what a shell would run by that name. Raises `CannotExecute`."""
    if (found := shutil.which(name)) is not None:
        return os.path.abspath(found)
    folder = os.path.dirname(name) and os.path.isdir(name)
    if folder or shutil.which(name, mode=os.F_OK) is not None:
        raise _cannot_execute(name, "it is a directory" if folder else "it is not executable", 126)
    raise _cannot_execute(name, "there is no such command", 127)


def _cannot_execute(name: str, why: str, status: int) -> CannotExecute:
    error = CannotExecute(f"cannot run {name}: {why}")
    error.status = status
    return error


# What came of a command.


@dataclass(frozen=True, slots=True)
class Written:
    """What a command has left at a path.

    content: the bytes of a file, the target of a link, None for a folder. mode: its permissions.
    """

    path: str
    mode: int
    content: Bytes | str | None

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        content: object = self.content
        if isinstance(content, bytes) and protocol.__index__() >= 5:
            content = pickle.PickleBuffer(content)
        return Written, (self.path, self.mode, content)


@dataclass(frozen=True, slots=True)
class Recording:
    """status: as a shell has it. chunks: what was written, in its order, each with the descriptor
    that it was written to. files: what was made or changed; a folder stands before its content."""

    status: int
    chunks: tuple[tuple[int, bytes], ...]
    files: tuple[Written, ...]

    def give(self) -> None:
        """Put the files back, and write what was written.

        A file that is the same already is not touched. Raises `StoreError`, and BrokenPipeError or
        `UsageError` where a standard stream cannot be written to.
        """
        for each in self.files:
            with _writing(each.path):
                _restore(each)
        for each in reversed(self.files):  # when all that is in a folder is there
            if each.content is None:
                with _writing(each.path):
                    os.chmod(each.path, each.mode)
        for fd, data in self.chunks:
            try:
                _write(fd, data)
            except BrokenPipeError:
                raise
            except OSError as error:
                stream = "output" if fd == _STDOUT else "error"
                raise UsageError(f"cannot write to standard {stream}: {error.strerror}") from None


def _restore(each: Written) -> None:
    path, content = Path(each.path), each.content
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir(exist_ok=True)
    elif isinstance(content, str):
        if not (path.is_symlink() and os.readlink(path) == content):
            path.unlink(missing_ok=True)
            path.symlink_to(content)
    elif not _holds(path, content):
        with renamed(path) as file:
            os.fchmod(file.fileno(), each.mode)
            file.write(content)
    elif stat.S_IMODE(path.stat().st_mode) != each.mode:
        path.chmod(each.mode)


def _holds(path: Path, content: Bytes) -> bool:
    """Whether there is a file with that content."""
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_size == memoryview(content).nbytes:
            return path.read_bytes() == content
    return False


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot write {error.filename or path}: {error.strerror}") from error


def _write(fd: int, data: bytes) -> None:
    """All of it. The descriptor may be one that does not block, which is shared with others."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:
            select.select([], [fd], [])


# What is looked at.


class Around:
    """The files around a command. own: the store, which is none of the command's files."""

    def __init__(self, place: Place) -> None:
        # SQLite's files, and those of objects, are beside the store and begin with its name.
        top = place.path.parent if place.path.parent.name == FOLDER else place.path
        self._own = (str(top), str(place.folder))
        self.unseen: dict[str, None] = {}  # folders that could not be looked into

    def versions(self, inputs: Collection[str], outputs: Collection[str]) -> Versions:
        """What is at some paths. Of a folder, outputs in it and the store do not count.

        Raises `UsageError` where there is nothing, `CannotRead`.
        """
        found: dict[str, str] = {}
        tops = [os.path.realpath(each) for each in outputs]
        for path in inputs:
            if not os.path.lexists(path):
                raise UsageError(f"--input {path}: there is no such file")
            for each in self._without(path, tops):
                found[each] = FileContents(each).__cache_ver__()
        return found

    def _without(self, path: str, tops: list[str]) -> Iterator[str]:
        """The path; its parts where some of it does not count."""
        inside = os.path.join(os.path.realpath(path), "")
        if not any(each.startswith(inside) for each in (*tops, *self._own)):
            yield path
            return
        for each in sorted(os.listdir(path)):
            part = os.path.join(path, each)
            real = os.path.realpath(part)
            if real not in tops and not real.startswith(self._own):
                yield from self._without(part, tops)

    def seen(self, top: str) -> dict[str, os.stat_result]:
        """All that is at a path and below it, itself included; links are not followed.

        Raises `_TooMany`.
        """
        found: dict[str, os.stat_result] = {}
        waiting = [(top, os.path.realpath(top))]
        while waiting:
            path, real = waiting.pop()
            if real.startswith(self._own):
                continue
            try:
                found[path] = status = os.lstat(path)
                within = os.listdir(path) if stat.S_ISDIR(status.st_mode) else []
            except FileNotFoundError:
                continue
            except PermissionError:
                self.unseen[path] = None
                continue
            if len(found) + len(waiting) + len(within) > _MANY:
                raise _TooMany
            waiting += [(os.path.join(path, each), os.path.join(real, each)) for each in within]
        return found


class _TooMany(Exception):
    """There is more than can be compared each time."""


def _differs(before: os.stat_result | None, now: os.stat_result) -> bool:
    if before is None or before.st_mode != now.st_mode:
        return True
    if stat.S_ISDIR(now.st_mode):
        return False
    return (before.st_mtime_ns, before.st_size, before.st_ino) != (
        *(now.st_mtime_ns, now.st_size, now.st_ino),
    )


# Running.


class Runner:
    """Runs commands, and records what comes of them: a function to be memoized.

    room: bytes that may be recorded. keeps_failures: whether a status other than 0 is worth being
    kept. ran: whether it was called. worth: whether what came of it the last time is to be kept:
    all of it was recorded. notes: what is to be told, in sentences.
    """

    __slots__ = ("_around", "_look", "keeps_failures", "notes", "ran", "room", "worth")

    def __init__(
        self, around: Around, look: Callable[[], Versions], room: int, *, keeps_failures: bool
    ) -> None:
        """look: what the versions of the inputs are now."""
        self._around, self._look = around, look
        self.room, self.keeps_failures = room, keeps_failures
        self.ran = self.worth = False
        self.notes: list[str] = []

    def __cache_key__(self) -> int:
        """What this package does counts by this number alone."""
        return _FORM

    def __call__(
        self,
        command: str,
        program: tuple[str, str],
        variables: Mapping[str, str | None],
        folder: str,
        inputs: Versions,
        outputs: tuple[str, ...],
        stdin: bytes | None,
    ) -> Recording:
        """Run a command, and write what it writes.

        command: as a shell has it. program: the path of what is run, and its version. variables:
        of the environment, those that count. folder: the working directory. inputs: versions of
        files, by their paths. outputs: paths of what is recorded; by default all that is new, or
        has changed, in the folder. stdin: what it can read; None for nothing.

        Raises `CannotExecute`.
        """
        self.ran = self.worth = True
        before = {} if outputs else self._seen(".")
        record = _Record(self.room)
        with _Signals() as signals:
            status = self._run(shlex.split(command), program[0], stdin, signals, record)
        if signals.came:
            self._leave_out("it was interrupted")
        elif record.broken:
            self._leave_out("not all that it has written could be")
        elif record.size > self.room:
            self._leave_out(f"it has written more than {self.room:,} bytes (--size)")
        elif status and not self.keeps_failures:
            self.worth = False
        elif changed := self._changed(inputs):
            self._leave_out(
                f"{_some(changed)} changed while it ran (what it makes in there itself is to be "
                "named with --output)"
            )
        files = self._files(before, outputs, self.room - record.size) if self.worth else ()
        return Recording(status, record.chunks, files)

    def _leave_out(self, why: str) -> None:
        self.worth = False
        self.notes.append(f"nothing of it is kept: {why}")

    def _run(
        self,
        argv: list[str],
        path: str,
        stdin: bytes | None,
        signals: _Signals,
        record: _Record,
    ) -> int:
        """The exit status."""
        with _readable(stdin) as given:
            try:
                child = signals.start(
                    argv, path, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE
                )
            except OSError as error:
                raise _cannot_execute(argv[0], (error.strerror or "?").lower(), 126) from None
        with child:
            try:
                record.listen(child, signals)
                status = child.wait()
            except BaseException:
                child.kill()
                raise
        return status if status >= 0 else 128 - status

    def _changed(self, inputs: Versions) -> list[str]:
        """Those that are not any more what they were for the key."""
        try:
            now = self._look()
        except (CannotRead, UsageError):
            now = {}
        return [each for each in {**inputs, **now} if inputs.get(each) != now.get(each)]

    # Files.

    def _seen(self, top: str) -> dict[str, os.stat_result] | None:
        try:
            found = self._around.seen(top)
        except _TooMany:
            return None
        found.pop(os.curdir, None)
        return found

    def _files(
        self,
        before: Mapping[str, os.stat_result] | None,
        outputs: tuple[str, ...],
        room: int,
    ) -> tuple[Written, ...]:
        found: dict[str, os.stat_result] = {}
        for top in outputs or (".",):
            now = None if before is None else self._seen(top)
            if now is None:
                self.notes.append(
                    f"more than {_MANY:,} files are in {os.path.abspath(top)}: what it writes "
                    "there is not brought back; name that with --output"
                )
                return ()
            if outputs and not now:
                self.notes.append(f"--output {top}: there is no such file after it has run")
            found.update(now)
            if os.path.islink(top) and outputs:
                found.update(self._seen(os.path.realpath(top)) or {})
        assert before is not None
        if self._around.unseen:
            self.notes.append(
                f"cannot look into {_some(self._around.unseen)}: what it writes there is not "
                "brought back"
            )
        new = [path for path in sorted(found) if _differs(before.get(path), found[path])]
        if not outputs:
            self._tell_of_others(before, found, new)
        return self._taken({path: found[path] for path in new}, room)

    def _tell_of_others(
        self, before: Collection[str], found: Collection[str], new: Collection[str]
    ) -> None:
        """Somebody else may have changed a file meanwhile, and would lose what it becomes later."""
        if changed := [each for each in new if each in before]:
            self.notes.append(
                f"{_some(changed)} changed while it ran: a hit gives that again; if that is not "
                "all its doing, name its files with --output"
            )
        if deleted := sorted({*before} - {*found}):
            self.notes.append(f"{_some(deleted)} went while it ran: a hit does not do that again")

    def _taken(self, found: Mapping[str, os.stat_result], room: int) -> tuple[Written, ...]:
        size = sum(each.st_size for each in found.values() if stat.S_ISREG(each.st_mode))
        if size > room:
            self._leave_out(f"its files take {size:,} bytes, which is too much (--size)")
            return ()
        taken = []
        for path, status in found.items():
            mode = stat.S_IMODE(status.st_mode)
            try:
                if stat.S_ISREG(status.st_mode):
                    taken.append(Written(path, mode, Path(path).read_bytes()))
                elif stat.S_ISLNK(status.st_mode):
                    taken.append(Written(path, mode, os.readlink(path)))
                elif stat.S_ISDIR(status.st_mode):
                    taken.append(Written(path, mode, None))
            except OSError as error:
                self._leave_out(f"cannot read {path}: {error.strerror}")
                return ()
        return tuple(taken)


def _some(paths: Collection[str]) -> str:
    shown = [os.path.normpath(each) for each in [*paths][:_NAMED]]
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return ", ".join(shown) + more


@contextlib.contextmanager
def _readable(stdin: bytes | None) -> Iterator[int | IO[bytes]]:
    """What a command reads: a file, so that nobody has to feed it."""
    if stdin is None:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(stdin)
        file.seek(0)
        yield file


class _Record:
    """What a command writes. broken: somebody who reads that of us has gone."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._parts: list[tuple[int, bytearray]] = []
        self.size = 0
        self.broken = False

    @property
    def chunks(self) -> tuple[tuple[int, bytes], ...]:
        return tuple((fd, bytes(data)) for fd, data in self._parts)

    def _add(self, fd: int, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._room:
            self._parts.clear()
        elif self._parts and self._parts[-1][0] == fd:
            self._parts[-1][1].extend(data)
        else:
            self._parts.append((fd, bytearray(data)))

    def listen(self, child: subprocess.Popen[bytes], signals: _Signals) -> None:
        """Record and write what a command writes, until all who may write have ended.

        After a signal, until the command itself has.
        """
        assert child.stdout is not None
        assert child.stderr is not None
        pipes = {child.stdout: _STDOUT, child.stderr: _STDERR}
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            for pipe in pipes:
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(signals, selectors.EVENT_READ)
            if hasattr(os, "pidfd_open"):
                end = os.pidfd_open(child.pid)
                stack.callback(os.close, end)
                selector.register(end, selectors.EVENT_READ)
            while pipes:
                for key, _ in selector.select():
                    if key.fileobj in pipes:
                        if not self._pass_on(key.fd, pipes[key.fileobj]):
                            selector.unregister(key.fileobj)
                            del pipes[key.fileobj]
                            key.fileobj.close()
                        continue
                    if key.fileobj is signals:
                        signals.clear()
                    else:
                        selector.unregister(key.fileobj)
                    if signals.came and child.poll() is not None:
                        self._empty(pipes)
                        return

    def _empty(self, pipes: Mapping[IO[bytes], int]) -> None:
        """What the command has written before it ended; others may go on writing."""
        for pipe, fd in pipes.items():
            end = self.size + _PIPE
            while self.size < end and select.select([pipe], [], [], 0)[0]:
                if not self._pass_on(pipe.fileno(), fd):
                    break

    def _pass_on(self, pipe: int, fd: int) -> bool:
        """Whether there can be more."""
        data = os.read(pipe, _CHUNK)
        if not data:
            return False
        self._add(fd, data)
        try:
            _write(fd, data)
        except OSError:
            self.broken = True  # the command will find its own pipe broken
            return False
        return True


class _Signals:
    """While a command runs, signals that would end this process are passed on to it.

    came: the number of the last one, 0 for none. Its descriptor can be read when one has come.
    """

    def __init__(self) -> None:
        self.came = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._readable, self._writable = os.pipe()
        os.set_blocking(self._writable, False)
        for number in _PASSED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as for `nohup`
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._readable)
        os.close(self._writable)

    def fileno(self) -> int:
        return self._readable

    def clear(self) -> None:
        """Let it be readable only when another one has come."""
        os.read(self._readable, _CHUNK)

    def start(self, argv: list[str], path: str, **streams: Any) -> subprocess.Popen[bytes]:
        """Start a command, which misses no signal from now on, and ends with this process."""
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
        try:
            self._child = subprocess.Popen(
                argv, executable=path, preexec_fn=_preparation(self._before, mask), **streams
            )
            return self._child
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _pass_on(self, number: int, _: object) -> None:
        self.came = number
        with contextlib.suppress(BlockingIOError):
            os.write(self._writable, b".")
        if self._child is not None and not _is_told_by_terminal(number):
            self._child.send_signal(number)


def _preparation(numbers: Iterable[int], mask: Iterable[int]) -> Callable[[], None]:
    """What a new process does before it becomes the command."""
    parent = os.getpid()
    numbers = [*numbers]

    def prepare() -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        die_with(parent)

    return prepare


def _is_told_by_terminal(number: int) -> bool:
    """Whether the command has got this signal, too: what is typed goes to the foreground group."""
    if number not in (signal.SIGINT, signal.SIGQUIT):
        return False
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


# Memoized.


class Command:
    """A command, memoized.

    notes: what is to be told of it, in sentences.
    """

    def __init__(
        self,
        argv: list[str],
        group: MemoizedGroup,
        *,
        variables: Iterable[str] = (),
        inputs: Collection[str] = (),
        outputs: Collection[str] = (),
        stdin: bytes | None = None,
        ttl: float | None = None,
        keep_failures: bool = False,
    ) -> None:
        """variables: names of those of the environment that count. inputs: files and folders whose
        contents do. outputs: those that are given again; by default all that is made or changed in
        the working directory. stdin: what it reads. ttl: as for `memoize`. keep_failures: keep, and
        give again, what ended with another status than 0.

        Raises `CannotExecute`, `CannotRead`, `UsageError`.
        """
        around = Around(group.backend.place)
        path = program(argv[0])
        look = functools.partial(around.versions, inputs, outputs)
        self._runner = runner = Runner(around, look, group.size, keeps_failures=keep_failures)
        self._memoized: Memoized[..., Recording] = Memoized(
            runner, group, name=NAME, ttl=ttl, keep_if=lambda _: runner.worth
        )
        self._arguments: dict[str, Any] = {
            "command": shlex.join(argv),
            "program": (path, FileContents(path).__cache_ver__()),
            "variables": {name: os.environ.get(name) for name in sorted({*variables})},
            "folder": _working_directory(),
            "inputs": look(),
            "outputs": tuple(outputs),
            "stdin": stdin,
        }

    @property
    def notes(self) -> list[str]:
        return self._runner.notes

    def run(self, *, refresh: bool = False) -> Recording:
        """What it gives, after it has been given. refresh: run it in any case.

        Raises `CannotExecute`, and what `Recording.give` does.
        """
        call = self._memoized.refresh if refresh else self._memoized
        recording = call(**self._arguments)
        if self._runner.ran:
            return recording
        if recording.status and not self._runner.keeps_failures:  # somebody else has kept it
            return self.run(refresh=True)
        recording.give()
        return recording

    @property
    def ran(self) -> bool:
        """Whether it was run; else what was kept was given."""
        return self._runner.ran

    def explain(self) -> str:
        """Why it would be run, or not. Raises `StoreError`."""
        return str(self._memoized.explain(**self._arguments))


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError("the working directory was deleted: go to another one") from None
