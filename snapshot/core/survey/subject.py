"""The process that a survey looks at: this one or another, which may end at any moment."""

from __future__ import annotations

import contextlib
import os
import sys
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snapshot.core import census
from snapshot.errors import CannotSurvey, UsageError

if TYPE_CHECKING:
    import psutil


class Subject:
    """A process, and how to look at it.

    own: whether it is this process, whose objects can be looked at as well.
    has_proc: whether /proc tells of it.
    """

    proc = "/proc"

    def __init__(self, pid: int, process: psutil.Process) -> None:
        self.pid = pid
        self.process = process
        self.own = pid == os.getpid()
        self.has_proc = os.path.isdir(self.path("fd"))

    @classmethod
    def this(cls) -> Subject:
        import psutil

        return cls(os.getpid(), psutil.Process())

    @classmethod
    def other(cls, pid: int) -> Subject:
        """Another process, which this one may look at. Raises `UsageError`, `CannotSurvey`."""
        import psutil

        if not isinstance(pid, int) or pid <= 0:
            raise UsageError(f"{pid!r} is no process: a pid is a number greater than 0")
        if pid == os.getpid():
            raise UsageError(f"{pid} is this very process: call survey() in it, without a pid")
        try:
            subject = cls(pid, psutil.Process(pid))
        except psutil.NoSuchProcess:
            raise CannotSurvey(f"there is no process {pid}; `ps` lists them", pid=pid) from None
        subject._check()
        return subject

    def _check(self) -> None:
        import psutil

        if not psutil.pid_exists(self.pid):
            raise CannotSurvey(f"{self.pid} is a thread, not a process", pid=self.pid)
        self.check_alive("has ended, and its parent has not noticed yet")
        try:
            if self.has_proc:
                os.listdir(self.path("fd"))
            else:
                self.process.open_files()
        except (PermissionError, psutil.AccessDenied):
            raise CannotSurvey(
                f"process {self.pid} is {self._user()}'s, which this one may not look at: "
                "run this as that user, or as root",
                pid=self.pid,
            ) from None
        except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
            self.check_alive("has ended")

    def _user(self) -> str:
        import psutil

        try:
            return self.process.username()
        except (psutil.Error, KeyError):
            return "another user"

    def check_alive(self, how: str) -> None:
        """Raise `CannotSurvey` with these words if it has ended."""
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):
            if self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
                return
        raise CannotSurvey(f"process {self.pid} {how}: nothing is left to look at", pid=self.pid)

    def path(self, *parts: object) -> str:
        """A file of it below /proc."""
        return "/".join((self.proc, str(self.pid), *map(str, parts)))

    def read(self, *parts: object) -> str:
        """The text of such a file; nothing if it has vanished, or may not be read."""
        try:
            return Path(self.path(*parts)).read_text("utf-8", "surrogateescape")
        except OSError:
            return ""

    @cached_property
    def mapped(self) -> set[str]:
        """The files that are mapped to its memory, programs and libraries among them."""
        rows = (line.split(None, 5) for line in self.read("maps").splitlines())
        return {row[5] for row in rows if len(row) == 6 and row[5].startswith("/")}

    @cached_property
    def relatives(self) -> list[psutil.Process]:
        """Its parent and its children."""
        import psutil

        with contextlib.suppress(psutil.Error):
            parent = self.process.parent()
            return [*([parent] if parent else []), *self.process.children()]
        return []

    def living(self, module: str, name: str) -> list[Any]:
        """The objects of a type that census.py knows, in this process; else none."""
        kind = getattr(sys.modules.get(module), name, None)
        return [each for each in self._objects if isinstance(each, kind)] if kind else []

    @cached_property
    def _objects(self) -> list[Any]:
        return census.living() if self.own else []
