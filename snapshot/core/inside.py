"""What runs in a disposable fork: the function, and the pickling of what came of it."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, NoReturn

from snapshot import pickling
from snapshot.core import ending, guards, line, mappings, process, resources, streams, threads
from snapshot.core.descriptors import may_write, open_descriptors
from snapshot.core.job import FAILED, RAISED, RETURNED, Job, Outcome, Record, lost
from snapshot.core.limits import DataLimit
from snapshot.core.process import Exit
from snapshot.core.randomness import Randomness
from snapshot.core.signals import pthread_sigmask
from snapshot.errors import (
    CannotOverlay,
    ForkError,
    ForkMemoryExceeded,
    NotPicklable,
    ResultNotPicklable,
)

if TYPE_CHECKING:
    from snapshot.core.rollback.overlay import Overlay

# Blocked in the fork: its group is in the background, and would stop for ever where it reads from
# the terminal. So reading is an error (EIO), and writing is always allowed.
_STOPPING = {int(signal.SIGTTIN), int(signal.SIGTTOU)}


class Inside:
    """A job, and what this process is like just before the fork that is to do it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._alone = threads.alone()
        if not job.untouched:
            streams.flush(writers=may_write())
            resources.prepare()
        ending.prepare()
        self._randomness = Randomness()
        self.overlay: Overlay | None = None
        if job.files is not None:
            from snapshot.core.rollback.overlay import Overlay  # it is seldom needed

            self.overlay = Overlay(job.files, open_descriptors())

    def live(self, files: list[int], mask: set[int]) -> NoReturn:
        """In the fork: do the job, and end as an experiment does, nothing of the original's."""
        try:
            os.setpgid(0, 0)
            mappings.moved.clear()
            if self.overlay is not None:
                self._begin_overlay(files[0])
            if not self._alone:
                streams.part_from_threads()
            line.here.dispose()
            if self._job.untouched:
                streams.drop_unwritten(each.fd for each in open_descriptors() if each.writable)
                resources.prepare()
            ending.arm(lambda _: resources.finish())
            resources.lay_aside()
            if self._job.capture:
                _redirect(files)
            self._randomness.in_child(reseed=self._job.reseed)
            lacks = pickling.Newcomers()
            pthread_sigmask(signal.SIG_SETMASK, mask | _STOPPING)
            guards.entered()
            ending.end(work(self._job, files[0], lacks))
        except BaseException:
            traceback.print_exc()
        finally:
            process.exit_now(Exit(code=1))

    def _begin_overlay(self, file: int) -> None:
        assert self.overlay is not None
        try:
            self.overlay.begin()
        except CannotOverlay as error:
            pickling.write(file, FAILED, *pickling.dump(error))
            process.exit_now(Exit(code=0))


def _redirect(files: list[int]) -> None:
    for fd, name in ((1, "stdout"), (2, "stderr")):
        # Appending, so that `> /dev/stdout`, which empties the file, leaves no hole in it.
        fcntl.fcntl(files[fd], fcntl.F_SETFL, fcntl.fcntl(files[fd], fcntl.F_GETFL) | os.O_APPEND)
        os.dup2(files[fd], fd)
        stream = getattr(sys, f"__{name}__")
        if stream is None or stream.closed:
            stream = open(fd, "w", closefd=False)  # noqa: SIM115 (it stays open)
        setattr(sys, name, stream)


def work(job: Job, file: int, lacks: pickling.Lacks) -> Exit:
    """Do the job, and write what came of it into the file. Returns how to end."""
    pid = os.getpid()
    limit = None if job.limits.memory is None else DataLimit(job.limits.memory)
    value, error = attempt(job.call)
    if isinstance(error, SystemExit):
        return Exit(code=exit_code(error))
    if os.getpid() != pid:  # a process that the function forked, and that has come back as well
        return Exit(code=int(error is not None))
    record = _record(job, value, error, lacks, limit)
    try:
        pickling.write(file, *record)
    except OSError as problem:
        os.ftruncate(file, 0)
        what = f"returned more than can be kept: {problem}"
        pickling.write(file, *_failure(job.error(ResultNotPicklable, what, pid)))
    return Exit(code=0)


def attempt(call: Callable[[], Any]) -> Outcome:
    try:
        return call(), None
    except BaseException as error:
        trace = error.__traceback__
        return None, error.with_traceback(trace and trace.tb_next)  # without this function


def exit_code(error: SystemExit) -> int:
    """As Python takes it."""
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _record(
    job: Job,
    value: object,
    error: BaseException | None,
    lacks: pickling.Lacks,
    limit: DataLimit | None,
) -> Record:
    if error is None:
        try:
            return (RETURNED, *pickling.dump(value, lacks=lacks))
        except NotPicklable as problem:
            what = f"returned a {type(value).__qualname__} that cannot be brought back: {problem}"
            return _failure(job.error(ResultNotPicklable, what, os.getpid()))
        except MemoryError as problem:
            error = problem
    if limit is not None:
        limit.lift()
    if isinstance(error, MemoryError) and job.limits.memory is not None:
        return _failure(job.error(ForkMemoryExceeded, job.limits.out_of_memory, os.getpid()))
    return _raised(job, error, lacks)


def _failure(error: ForkError) -> Record:
    return (FAILED, *pickling.dump(error))


def _raised(job: Job, error: BaseException, lacks: pickling.Lacks) -> Record:
    """The exception pickled by itself, so that what is said about it arrives in any case."""
    text = "".join(traceback.format_exception(error))
    kind = type(error).__qualname__
    if type(error).__module__ not in ("__main__", "builtins"):
        kind = f"{type(error).__module__}.{kind}"
    try:
        data, buffers = pickling.dump(error, lacks=lacks)
        if not _alike(pickling.load(data, buffers), error):
            raise NotPicklable("what is unpickled is another exception")
    except Exception as problem:
        return _failure(lost(job, os.getpid(), kind, text, problem))
    return (RAISED, *pickling.dump((kind, text, data, [PickleBuffer(raw) for raw in buffers])))


def _alike(copy: object, error: object) -> bool:
    """Whether they look the same, but for the addresses of what they hold."""
    return type(copy) is type(error) and _text(copy) == _text(error)


def _text(error: object) -> str | None:
    try:
        return re.sub("0x[0-9a-f]+", "", str(error))
    except Exception:
        return None
