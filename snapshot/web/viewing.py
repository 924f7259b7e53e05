"""Rich views of stored values, each made in a process of its own.

A page shows what the store has as text, and loads nothing. Where somebody asks for more, the value
is loaded and looked at elsewhere: its own code may take long, crash, print or never come back.

    the server                        its child                     a disposable fork of that
    ──────────────────────            ────────────────────          ─────────────────────────
    a task as JSON on stdin ────────→ forks ──────────────────────→ loads the value, looks at it
    waits, kills it if need be        watches time and memory
    a `View` of the answer  ←──────── JSON on stdout       ←─────── lists, dicts, texts, numbers
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from snapshot.core.limits import Limits
from snapshot.errors import UsageError
from snapshot.web import apart
from snapshot.web.apart import Apart

Role = Literal["arguments", "after", "result", "surroundings"]
Kind = Literal["table", "array", "image", "text", "tree", "placeholder", "failed"]

# Where the system does not tell how much a process has for itself, nothing can be watched.
MEMORY = "1G" if os.path.exists("/proc/self/smaps_rollup") else None

_IN_LINE = 16  # that may work or wait: each has a thread of the server
_LOOK = 0.2  # seconds between two looks whether somebody still wants it
_GRACE = 30.0  # seconds beyond its time that a process has to begin, and to tell what came of it
_WHY = 300  # characters of what a process said before it ended without an answer

# Libraries that begin a thread for each processor reserve memory for each, which has a limit here.
_ONE_THREAD = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")
_NOT_HANDED_ON = ("SNAPSHOT_", "PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONWARNINGS", "DISPLAY")

_at_once = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
_in_line = threading.BoundedSemaphore(_IN_LINE)


@dataclass(frozen=True, slots=True)
class Where:
    """Which value is meant: of a call, or an object by its digest.

    call: the id of a call. role: which of its values. name: a parameter's, a global's or a cell's;
    None is all of them. The positional arguments beyond the parameters are `*0`, `*1` and so on.
    digest: of an object, in hexadecimal; then `call` is one in whose program its classes are, and
    role and name mean nothing.
    """

    call: int | None = None
    role: Role = "result"
    name: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a value looks like, as plain data. Every text in it may be anybody's: escape it.

    kind: what is in `data`; see `views`. type: of the value, as `numpy.ndarray`; empty where it is
    not known. data: dicts, lists, texts, numbers and None, which JSON has. output: the beginning of
    what the value's own code has printed meanwhile. seconds: how long it took.

    Of the kind `failed`, `data["reason"]` is one sentence, without its full stop.
    """

    kind: Kind
    type: str
    data: dict[str, Any]
    output: str
    seconds: float


def view(
    store_place: str,
    which: Where,
    *,
    trust: bool = False,
    timeout: float = 20,
    memory: int | str | None = MEMORY,
    rows: int = 200,
    is_wanted: Callable[[], bool] = lambda: True,
) -> View:
    """Load a stored value in a process of its own, and say what it looks like.

    Nothing of the value's code runs here. That process has no terminal and, where the kernel lets
    it, no network; it records nothing; whatever it has started is killed at the end. Only as many
    as there are processors work at a time, and others wait. It may be called from any thread.

    store_place: as `Store` takes it. trust: load it, whoever may have written it.
    timeout: seconds for loading and looking. memory: bytes that this may take, or as "500M";
        by default "1G", and on macOS None, without limit.
    rows: how many rows of a table are given.
    is_wanted: asked now and then whether to go on.

    All that can go wrong with the value is a view of the kind `failed`. Raises `UsageError` where
    the arguments mean nothing, or too many wait.
    """
    limits = Limits.of(timeout, memory)
    if which.call is None and which.digest is None:
        raise UsageError("which value? give the id of a call, or the digest of an object")
    if which.digest is not None and not re.fullmatch("([0-9a-f]{2})+", which.digest):
        raise UsageError(f"{which.digest!r} is no digest of an object, in hexadecimal")
    task = {
        "store": store_place,
        "which": asdict(which),
        "trust": bool(trust),
        "timeout": limits.timeout,
        "memory": limits.memory,
        "rows": max(0, int(rows)),
        "parent": os.getpid(),
    }
    if not _in_line.acquire(blocking=False):
        raise UsageError(f"{_IN_LINE} values are being looked at: try again when that is done")
    try:
        while not _at_once.acquire(timeout=_LOOK):
            if not is_wanted():
                return View(**_not_wanted(), seconds=0.0)
        try:
            began = time.monotonic()
            answer = _answer(task, timeout + _GRACE, is_wanted)
            return View(**answer, seconds=time.monotonic() - began)
        finally:
            _at_once.release()
    finally:
        _in_line.release()


def failed(reason: str, type_: str = "") -> dict[str, Any]:
    """The answer where there is nothing to be seen, and why."""
    return {"kind": "failed", "type": type_, "data": {"reason": reason}, "output": ""}


def _not_wanted() -> dict[str, Any]:
    return failed("nobody wanted to see it any more")


def _answer(task: dict[str, Any], patience: float, is_wanted: Callable[[], bool]) -> dict[str, Any]:
    try:
        child = apart.begin(
            _command(),
            _environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return failed(f"no process can be started to look at it: {error.strerror}")
    try:
        until = time.monotonic() + patience
        wanted: bytes | None = json.dumps(task).encode()
        while True:
            try:
                told, complaint = child.communicate(wanted, _LOOK)
                break
            except subprocess.TimeoutExpired:
                wanted = None
            if time.monotonic() > until:
                return failed(f"the process that looks at it gave no answer within {patience:g} s")
            if not is_wanted():
                return _not_wanted()
    finally:
        _end(child)
    try:
        answer: dict[str, Any] = json.loads(told)
    except ValueError:
        last = complaint.decode(errors="backslashreplace").strip().rpartition("\n")[2][:_WHY]
        why = f": {last}" if last else ""
        return failed(f"the process that looks at it ended ({child.returncode}){why}")
    return answer


def _end(child: Apart) -> None:
    apart.end(child)
    for each in (child.stdin, child.stdout, child.stderr):
        if each is not None:
            with contextlib.suppress(OSError):  # what it never read
                each.close()


def _command() -> list[str]:
    """An interpreter whose `__main__` has next to nothing of ours, and which has no folder of its
    own among those of modules: these are the recording process's."""
    root = str(Path(__file__).parents[2])
    path = f"import sys; sys.path.append({root!r})"
    run = "__import__('snapshot.web.viewer', fromlist=['main']).main()"
    return [sys.executable, "-P", "-c", f"{path}; {run}"]


def _environment() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_NOT_HANDED_ON)}
    single = {f"{each}_NUM_THREADS": "1" for each in _ONE_THREAD}
    ours = {"SNAPSHOT_QUIET": "1", "SNAPSHOT_MEMO": "off", "MPLBACKEND": "Agg"}
    return {**kept, **single, "POLARS_MAX_THREADS": "1", **ours}
