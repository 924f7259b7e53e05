"""Work that takes long, or may hang or crash: each piece in a process of its own.

Its page shows what it writes and how far it is, and can end it. See `worker` for the other side.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import secrets
import selectors
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snapshot.core.process import Exit
from snapshot.errors import UsageError
from snapshot.web import apart
from snapshot.web.apart import Apart

KEPT = 100  # jobs that are remembered
_RUNNING = 8  # at the same time
_GRACE = 5.0  # seconds to end in, for a process that has told all
_LAST = 0.5  # seconds for which is read what a process has left in its pipes
_LOOK = 0.2  # seconds between two looks whether it has ended
_LONGEST = 1 << 24  # bytes of what it may tell in a line
_MOST = 1 << 17  # characters of output that are kept of a job

# What lies in the folder where it is done does not stand in for modules of ours.
_OURS = f"import sys; sys.path.append({str(Path(__file__).parents[2])!r})"
_RUN = "import snapshot.web.worker as worker; sys.exit(worker.main())"
_COMMAND = [sys.executable, "-P", "-c", f"{_OURS}; {_RUN}"]


@dataclass(eq=False)
class Job:
    """A piece of work.

    title: what is done. template: the one that shows its result. back: the page it came from.
    returns: whether its page leads there by itself when it is done.
    status: `running`, `done`, `failed` or `ended` (by the user). done, total, what: how far it is.
    result: what came of it, data of JSON. error: why it failed, in a sentence. revision: another
    number whenever any of this has changed.
    """

    id: str
    title: str
    template: str
    back: str
    began: float
    returns: bool = False
    status: str = "running"
    output: str = ""
    done: int = 0
    total: int = 0
    what: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    took: float | None = None
    revision: int = 0

    @property
    def seconds(self) -> float:
        """How long it takes, or took."""
        return time.monotonic() - self.began if self.took is None else self.took


class Jobs:
    """Those of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._processes: dict[str, Apart] = {}
        self._threads: list[threading.Thread] = []

    def start(
        self,
        title: str,
        task: str,
        details: Mapping[str, Any],
        *,
        template: str,
        back: str,
        directory: str | None = None,
        returns: bool = False,
    ) -> Job:
        """Do a task of `worker` in a process of its own; details: for it, data of JSON.

        directory: where the process is to be. Raises `UsageError` where too many run.
        """
        job = Job(secrets.token_urlsafe(9), title, template, back, time.monotonic(), returns)
        wanted = json.dumps({"task": task, "details": dict(details)}).encode()
        with self._lock:
            if sum(each.status == "running" for each in self._jobs.values()) >= _RUNNING:
                raise UsageError(f"{_RUNNING} jobs run already: wait for one, or end one")
            self._jobs[job.id] = job
            self._forget()
            # A thread of its own: the kernel ends a process with the thread that has started it.
            thread = threading.Thread(target=self._do, args=(job, wanted, directory))
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()
        return job

    def get(self, name: str) -> Job | None:
        """The job of that id, if it is still known."""
        return self._jobs.get(name)

    def end(self, job: Job) -> None:
        """Kill what does it, with all that it has started."""
        with self._lock:
            if job.status == "running":
                job.status = "ended"
                if job.id in self._processes:
                    apart.end(self._processes[job.id])

    def close(self) -> None:
        """End all of them, and wait for that."""
        for each in [*self._jobs.values()]:
            self.end(each)
        for thread in self._threads:
            thread.join()

    def _forget(self) -> None:
        over = [each for each in self._jobs.values() if each.status != "running"]
        for each in over[: max(0, len(self._jobs) - KEPT)]:
            del self._jobs[each.id]

    def _do(self, job: Job, wanted: bytes, directory: str | None) -> None:
        try:
            process, told = _begin(directory)
        except OSError as error:
            job.error = f"no process could be started: {error.strerror}"
        else:
            with self._lock:
                self._processes[job.id] = process
                if job.status == "ended":
                    apart.end(process)
            try:
                _follow(job, process, told, wanted)
            finally:
                with self._lock:
                    del self._processes[job.id]
            if not job.result and not job.error:
                job.error = f"its process {_ending(process)}"
        with self._lock:
            job.took = time.monotonic() - job.began
            if job.status == "running":
                job.status = "done" if job.result else "failed"
            job.revision += 1


def _begin(directory: str | None) -> tuple[Apart, int]:
    """The process, and a descriptor from which can be read what it tells."""
    told, ours = os.pipe()
    try:
        process = apart.begin(
            [*_COMMAND, str(ours), str(os.getpid())],
            {**os.environ, "PYTHONUNBUFFERED": "1"},  # what it writes is seen as it comes
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[ours],
            cwd=directory,
        )
    except BaseException:
        os.close(told)
        raise
    finally:
        os.close(ours)
    return process, told


def _follow(job: Job, process: Apart, told: int, wanted: bytes) -> None:
    """Until it has ended, and nothing of it is left.

    What it has started may have its pipes open, and may write what it likes to them.
    """
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(wanted)
    text = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    rest = b""
    until: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(told, selectors.EVENT_READ)
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.get_map() and (until is None or time.monotonic() < until):
            for key, _ in selector.select(_LOOK):
                data = os.read(key.fd, 1 << 16)
                if key.fd == told:
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        _take(job, line)
                    if len(rest) > _LONGEST:
                        rest, job.error = b"", "its process told more than can be taken in"
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fd != told:
                    job.output = (job.output + text.decode(data))[-_MOST:]
                    job.revision += 1
                if key.fd == told and (job.result or job.error or not data):
                    _leave(process)
            if until is None and process.poll() is not None:
                apart.end(process)
                until = time.monotonic() + _LAST
    os.close(told)
    process.stdout.close()
    _leave(process)


def _leave(process: Apart) -> None:
    """It has told all that it will."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    apart.end(process)


def _ending(process: Apart) -> Exit:
    status = process.returncode
    return Exit(code=status) if status >= 0 else Exit(signal=-status)


def _take(job: Job, line: bytes) -> None:
    """What is not of this form was not told by `worker`, but by the code that it runs."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return
    match told:
        case {"done": int(done), "total": int(total), "what": str(what)}:
            job.done, job.total, job.what = done, total, what
        case {"result": dict(result)}:
            job.result = result
        case {"error": str(error)}:
            job.error = error
    job.revision += 1
