"""What can go wrong: one root exception, every one of them picklable.

A message says what happened, to which value, and what to do next.
"""

from __future__ import annotations

from typing import Any


class SnapshotError(Exception):
    """The root of every error that this package raises on purpose."""


class UsageError(SnapshotError, ValueError):
    """An argument has a value that means nothing here. Nothing was done."""


class CannotRun(UsageError):
    """A module, a folder or a zip file is no program that can be run."""


class CannotFork(SnapshotError, OSError):
    """The system refused to fork. Nothing was forked, nothing changed."""


class CannotWait(SnapshotError):
    """What runs in this process would hang if it stood still. Nothing was forked."""


class CannotOverlay(SnapshotError, OSError):
    """Directories cannot be put under a private overlay. Nothing was forked, nothing changed."""


class FilesChanged(SnapshotError):
    """What an experiment would put into files was changed by somebody else meanwhile.

    `paths` are those files. Nothing was kept.
    """

    paths: tuple[str, ...] = ()


class NotAnExperiment(SnapshotError):
    """`revert` or `keep` was called where no snapshot waits."""


class UnknownSnapshot(SnapshotError, LookupError):
    """No snapshot of that name or index waits. Nothing was reverted."""


class TimelineError(SnapshotError):
    """The timeline cannot do what it was asked for. Nothing was changed."""


class UnknownState(TimelineError, LookupError):
    """There is no frozen state of that number or name, or no such branch."""


class UnknownSession(SnapshotError, LookupError):
    """No session of that name runs, or it does not answer."""


class DebuggerError(SnapshotError):
    """The debugger cannot do, or cannot go, as asked."""


class CannotRead(SnapshotError):
    """A file is not what it should be, or is damaged."""


class NameTaken(SnapshotError, ValueError):
    """A snapshot of that name waits already. Nothing was forked."""


class ThreadsRunning(SnapshotError):
    """`threads="refuse"`, and there are other threads. Nothing was forked."""


class RootOnly(SnapshotError):
    """Something that only the original may do was tried in an experiment."""


class CannotSurvey(SnapshotError):
    """A process cannot be looked at: it is not there, has ended, or is somebody else's.

    `pid` is its number.
    """

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class NotPicklable(SnapshotError):
    """A value cannot travel from one process to another."""


class StoreError(SnapshotError):
    """A store cannot be read or written. Nothing of it was changed."""


class NoStore(StoreError, LookupError):
    """There is no store at that place."""


class DamagedStore(StoreError):
    """The file of a store is no database, or one that cannot be read any more."""


class StoreTooNew(StoreError):
    """A store was made by a later version of this package."""


class NotTrusted(StoreError):
    """Somebody else may have written to a store, and loading a value from it would run code."""


class UnknownObject(StoreError, LookupError):
    """There is no object of that digest."""


class RecordingWarning(RuntimeWarning):
    """Calls could not be recorded. The program goes on, and is none the worse for it."""


class NotKeyable(SnapshotError, TypeError):
    """An argument is nothing that could be told from another one in another process.

    The message names the way to it. `path`: that way, from the argument on.
    """

    path: str = ""


class NotKept(SnapshotError, LookupError):
    """There is no stored result for these arguments."""


class MemoWarning(RuntimeWarning):
    """A result could not be kept, or found, or may not be what it seems. The caller has it all
    the same."""


class UnknownCall(StoreError, LookupError):
    """There is no recorded call of that id."""


class AsideGone(StoreError, LookupError):
    """Nothing is put aside under that id any more. Nothing was taken back."""


class DamagedSpool(StoreError):
    """What a process has told for a store cannot be read. It is left as it is."""


class CannotReanimate(SnapshotError):
    """A recorded call cannot be made again here."""


class FunctionNotFound(CannotReanimate, LookupError):
    """There is no function of that key here, or its module cannot be imported. `key` is the key."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class DamagedObject(StoreError):
    """An object is not what was stored. `digest` is its name: 32 bytes."""

    def __init__(self, message: str, *, digest: bytes = b"") -> None:
        super().__init__(message)
        self.digest = digest


class ForkError(SnapshotError):
    """A disposable fork did not bring back a value.

    Every subclass carries `pid`, the process that is meant, and `output`: what it wrote to its
    standard output and error, as a pair of `bytes`, when that was captured, else None.
    """

    def __init__(
        self, message: str, *, pid: int | None = None, output: tuple[bytes, bytes] | None = None
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.output = output

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.args, self.__dict__))


class ForkKilled(ForkError):
    """The disposable fork was killed by a signal; `signal` is its number."""

    signal: int = 0


class ForkExited(ForkError):
    """The function ended its process by itself; `code` is the exit status."""

    code: int = 0


class ForkTimeout(ForkError):
    """The time given as `timeout` was over; the disposable fork was killed."""


class ForkMemoryExceeded(ForkError):
    """The disposable fork outgrew the memory given as `memory`."""


class ResultNotPicklable(ForkError, NotPicklable):
    """The function returned, but its value cannot be brought back."""


class ExceptionNotPicklable(ForkError, NotPicklable):
    """The function raised an exception that cannot be brought back.

    `type_name` names its type and `traceback` is the text that Python would have shown.
    """

    type_name: str = ""
    traceback: str = ""


def _rebuild(cls: type[ForkError], args: tuple[Any, ...], state: dict[str, Any]) -> ForkError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
