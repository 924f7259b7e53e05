"""The process that `viewing` starts: a stored value is loaded in a fork of it, and looked at."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import json
import os
import resource
import sys
from typing import TYPE_CHECKING, Any

from snapshot.core import process
from snapshot.core.disposable import fork_call
from snapshot.errors import (
    CannotFork,
    CannotReanimate,
    ForkError,
    ForkExited,
    ForkKilled,
    ForkMemoryExceeded,
    ForkTimeout,
    NotPicklable,
    SnapshotError,
)
from snapshot.web.viewing import Where, failed

if TYPE_CHECKING:
    from snapshot.pickling import Bytes, FindClass
    from snapshot.store import Store
    from snapshot.store.calls import Call, Stored

_OUTPUT = 4000  # bytes of what the value's code has printed
_FILE = 64 << 20  # bytes that it may write to one file; what it prints goes to one
_NEWUSER, _NEWNET = 0x10000000, 0x40000000  # for unshare(2)


def main() -> None:
    """Read a task from standard input, and write the answer to standard output."""
    task = json.loads(sys.stdin.buffer.read())
    process.die_with(task.pop("parent"))
    with contextlib.suppress(CannotFork):
        process.adopt_orphans()
    _limit(resource.RLIMIT_CORE, 0)
    answer = answered(task)
    _end_strays()
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()


def answered(task: dict[str, Any]) -> dict[str, Any]:
    """What `View` is made of: `kind`, `type`, `data` and `output`."""
    timeout, memory = task.pop("timeout"), task.pop("memory")
    look = functools.partial(_looked_at, **task)
    try:
        answer, *streams = fork_call(look, timeout=timeout, memory=memory, capture=True)
    except ForkError as error:
        answer, streams = failed(_why(error, timeout, memory)), list(error.output or ())
    except SnapshotError as error:
        answer, streams = failed(str(error)), []
    answer["output"] = b"".join(streams)[:_OUTPUT].decode(errors="backslashreplace")
    return answer


def _why(error: ForkError, timeout: float, memory: int | None) -> str:
    match error:
        case ForkTimeout():
            return f"loading it and looking at it took longer than {timeout:g} s"
        case ForkMemoryExceeded():
            return f"loading it and looking at it took more memory than {memory:,} bytes"
        case ForkKilled():
            name = process.signal_name(error.signal)
            return f"the process that loaded it was killed by {name}"
        case ForkExited():
            return f"its own code ended the process that loaded it, with code {error.code}"
    return f"the process that loaded it told nothing: {error}"


def _end_strays() -> None:
    """Kill what the value's code has started and left, also in sessions of its own."""
    while process.has_children():
        import psutil  # seldom needed

        for each in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                each.kill()
            process.reap(each.pid)


# What follows runs in the fork.


def _looked_at(store: str, which: dict[str, Any], *, trust: bool, rows: int) -> dict[str, Any]:
    from snapshot.replay import recorder
    from snapshot.store import Store
    from snapshot.web import views

    with recorder.paused():
        try:
            wanted = _Wanted(Where(**which))
            with Store(store, trust=trust) as opened:
                wanted.fetch(opened)
            value = wanted.load()
        except SnapshotError as error:
            if isinstance(error.__context__, OSError) and error.__context__.errno == errno.ENOMEM:
                raise MemoryError from error  # a file of the store could not be mapped
            return failed(str(error))
        return views.seen(value, rows)


class _Wanted:
    """The value that is meant: its pickle while there is a store, and then the value itself."""

    def __init__(self, which: Where) -> None:
        self._which = which
        self._call: Call | None = None
        self._data: bytes = b""
        self._buffers: list[Bytes] = []
        self._find_class: FindClass | None = None

    def fetch(self, store: Store) -> None:
        """Raises `StoreError`, `CannotReanimate` where nothing is stored."""
        which = self._which
        if which.call is not None:
            self._call = store.calls.get(which.call)
        if which.digest is not None:
            self._data, self._buffers = store.objects.fetch(bytes.fromhex(which.digest))
        elif self._call is not None:
            self._data, self._buffers = store.calls.fetch(self._stored(self._call))
        if self._call is not None:  # the store is trusted by now, and may say what is imported
            self._find_classes(store, self._call)

    def load(self) -> Any:
        """Raises `NotPicklable`, `CannotReanimate` where there is nothing of that name."""
        _go_offline()
        _limit(resource.RLIMIT_FSIZE, _FILE)
        value = self._loaded()
        if self._call is None or self._which.digest is not None or self._which.role == "result":
            return value
        return self._part(value, self._call)

    def _stored(self, call: Call) -> Stored:
        stored: dict[str, tuple[Stored | None, str]] = {
            "arguments": (call.arguments, "the arguments of call {} were not stored"),
            "after": (call.after, "the arguments of call {} had not changed when it ended"),
            "result": (call.result, "call {} has no result"),
            "surroundings": (call.surroundings, "call {} read no globals that were stored"),
        }
        found, why = stored[self._which.role]
        if found is None:
            raise CannotReanimate(why.format(call.id))
        return found

    def _find_classes(self, store: Store, call: Call) -> None:
        """They are found in the recording process's modules, and in its script."""
        from snapshot.replay.reanimation import Reanimation, Request

        with contextlib.suppress(OSError, TypeError):  # it is gone, or was then
            os.chdir(call.process.facts["folder"])
        reanimation = Reanimation(store, call, Request())
        reanimation.find_path()
        self._find_class = reanimation.classes()

    def _loaded(self) -> Any:
        from snapshot import pickling

        try:
            return pickling.load(self._data, self._buffers, find_class=self._find_class)
        except NotPicklable as error:
            if self._call is not None and self._call.process.facts["main"] is None:
                raise NotPicklable(
                    f"{error}; what was defined in that program, an interactive session, is in no "
                    "file"
                ) from None
            raise

    def _part(self, value: Any, call: Call) -> Any:
        """What has the name, or all by their names."""
        from snapshot.store.objects import Placeholder

        match value:
            case Placeholder():
                return value
            case {"globals": dict(read), "cells": dict(cells)}:
                parts = {**read, **cells}
            case (tuple(args), dict(kwargs)):
                parameters = call.function.facts["parameters"]
                names = [*parameters, *(f"*{number}" for number in range(len(args)))]
                parts = {**dict(zip(names, args, strict=False)), **kwargs}
            case _:
                raise CannotReanimate(f"the {self._which.role} of call {call.id} are none")
        name = self._which.name
        if name is None:
            return parts
        if name not in parts:
            there = ", ".join(parts) or "none"
            raise CannotReanimate(f"no {name} was stored of call {call.id}, but {there}")
        return parts[name]


def _go_offline() -> None:
    """Into a network of this process's own, with nobody in it, where the kernel lets us."""
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # elsewhere than on Linux
        if libc.unshare(_NEWNET) != 0:
            libc.unshare(_NEWUSER | _NEWNET)


def _limit(which: int, most: int) -> None:
    hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
