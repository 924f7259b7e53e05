"""The open descriptors of a process: files, terminals, pipes, sockets, and the kernel's own."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from snapshot.core import descriptors, sockets
from snapshot.core.survey.addresses import Addresses
from snapshot.core.survey.finding import Finding
from snapshot.core.survey.subject import Subject

_STREAMS = {0: ", standard input", 1: ", standard output", 2: ", standard error"}
_BYTES = "nothing: each byte is read once"
_TERMINALS = {4, *range(136, 144)}  # major numbers of devices, see Linux's devices.txt
_SHOWN = 3  # processes at the other end of a pipe, or descriptors that an epoll watches

# What the kernel makes, by the name that it gives it: the verdict, and what to do.
_ANONYMOUS = {
    "eventpoll": ("epoll", "private", "nothing: the experiment has one that watches the same"),
    "inotify": ("inotify", "shared", "each event is read once: on_snapshot() to watch anew"),
    "fanotify": ("fanotify", "shared", "each event is read once: on_snapshot() to watch anew"),
    "timerfd": ("timerfd", "shared", "each expiry is read once: on_snapshot() to make another"),
    "eventfd": ("eventfd", "shared", "each event is read once: on_snapshot() to make another"),
    "signalfd": ("signalfd", "private", "nothing: it brings the signals of whoever reads it"),
    "pidfd": ("pidfd", "shared", "wait for that process in the original alone"),
    "io_uring": (
        "io_uring",
        "shared",
        "its queues are shared memory: on_snapshot() to make others",
    ),
}
_OTHERWISE = ("shared", "leave it to the original: root_only")


@dataclass(frozen=True, slots=True)
class Open:
    """A descriptor of a process, as /proc shows it.

    link: what its link in /proc/PID/fd says.
    """

    fd: int
    link: str
    status: os.stat_result
    flags: int
    offset: int

    @property
    def mode(self) -> str:
        """As for the function `open`: r, w, r+, a, a+; path for what is there as a place alone."""
        if self.flags & getattr(os, "O_PATH", 0):
            return "path"
        access = self.flags & os.O_ACCMODE
        if self.flags & os.O_APPEND and access != os.O_RDONLY:
            return "a+" if access == os.O_RDWR else "a"
        return {os.O_RDONLY: "r", os.O_WRONLY: "w"}.get(access, "r+")

    @property
    def identity(self) -> tuple[int, int]:
        """What two descriptors of the same file or pipe have in common."""
        return self.status.st_dev, self.status.st_ino

    @property
    def is_pipe(self) -> bool:
        return stat.S_ISFIFO(self.status.st_mode)

    @property
    def writable(self) -> bool:
        return self.flags & os.O_ACCMODE != os.O_RDONLY

    def meets(self, other: Open) -> bool:
        """Whether, of two ends of one pipe, one reads what the other writes."""
        return self.writable != other.writable or "r+" in (self.mode, other.mode)


def opened(subject: Subject) -> Iterator[Open]:
    """Its descriptors in the order of their numbers; those that vanish meanwhile are left out."""
    try:
        numbers = sorted(map(int, os.listdir(subject.path("fd"))))
    except OSError:
        return
    for fd in numbers:
        facts = dict(re.findall(r"^(pos|flags):\s*(\d+)$", subject.read("fdinfo", fd), re.M))
        with contextlib.suppress(OSError, KeyError):
            place = subject.path("fd", fd)
            link, status = os.readlink(place), os.stat(place)
            yield Open(fd, link, status, int(facts["flags"], 8), int(facts["pos"]))


class Descriptors:
    """What a process has open, without what is this package's own."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        hidden = descriptors.OURS | _of_event_loops(subject) if subject.own else set()
        self.all = [each for each in opened(subject) if each.fd not in hidden]
        self._addresses = Addresses(subject)

    def findings(self) -> list[Finding]:
        """One for each."""
        if not self._subject.has_proc:
            return list(_by_psutil(self._subject))
        return list(self._found.values())

    def name(self, fd: int) -> str:
        """Its number and what it is, for a sentence about whoever uses it."""
        found = self._found.get(fd)
        return f"{found.kind} {found.what}" if found else f"descriptor {fd}"

    @cached_property
    def _found(self) -> dict[int, Finding]:
        return {each.fd: self._finding(each) for each in self.all}

    def _finding(self, each: Open) -> Finding:
        kind = each.status.st_mode
        if stat.S_ISREG(kind):
            return self._file(each)
        if stat.S_ISFIFO(kind):
            return self._pipe(each)
        if stat.S_ISSOCK(kind):
            what, advice = self._addresses.of(each.fd, each.status.st_ino)
            advice = _BYTES if each.fd in _STREAMS else advice
            return Finding("socket", f"{each.fd} {what}{_stream(each)}", "shared", advice)
        if stat.S_ISDIR(kind):
            return Finding("directory", _what(each), "shared", "nothing: it is only looked at")
        if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
            return _device(each)
        return self._made_by_kernel(each)

    def _file(self, each: Open) -> Finding:
        what = f"{_what(each)} at {each.offset}"
        if each.mode == "path":
            return Finding("file", _what(each), "shared", "nothing: it is not read or written")
        if not each.writable:
            return Finding("file", what, "put back", "nothing: the original reads on from there")
        if each.link.startswith("/memfd:") or each.link.endswith(" (deleted)"):
            advice = "nothing rolls it back, it has no name: root_only"
        else:
            advice = "snapshot(files=…) rolls it back"
        kind = "temporary" if self._is_temporary(each) else "file"
        return Finding(kind, what, "shared", advice)

    def _is_temporary(self, each: Open) -> bool:
        """Of this process the objects are known, see interpreter.py."""
        looked_for = not self._subject.own and each.fd not in _STREAMS
        return looked_for and each.link.startswith(self._temporary_directory)

    @cached_property
    def _temporary_directory(self) -> str:
        import psutil

        with contextlib.suppress(psutil.Error, OSError):
            if directory := self._subject.process.environ().get("TMPDIR"):
                return os.path.join(os.path.realpath(directory), "")
        return os.path.join(os.path.realpath(tempfile.gettempdir()), "")

    def _pipe(self, each: Open) -> Finding:
        named = "" if each.link.startswith("pipe:[") else f" {each.link}"
        ends = self._other_ends(each)
        towards = {"r": " from ", "w": " to "}.get(each.mode, " with ")
        what = f"{each.fd} {each.mode} pipe{named}{towards if ends else ''}{', '.join(ends)}"
        advice = {
            "r": "each byte is read once: root_only",
            "w": "what the experiment writes is read there: root_only",
        }.get(each.mode, "each byte is read once: root_only")
        if each.fd in _STREAMS:
            advice = _BYTES
        return Finding("pipe", what + _stream(each), "shared", advice)

    def _other_ends(self, each: Open) -> list[str]:
        """Who has the other end: this process itself, its parent, its children."""
        meeting = (who for who, other in self._pipes[each.identity] if each.meets(other))
        found = list(dict.fromkeys(who for who in meeting if who != f"{each.fd} here"))
        more = [f"{len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        return [*found[:_SHOWN], *more]

    @cached_property
    def _pipes(self) -> dict[tuple[int, int], list[tuple[str, Open]]]:
        """The ends of each pipe, and who has them."""
        import psutil

        ends = [(f"{each.fd} here", each) for each in self.all]
        for process in self._subject.relatives:
            with contextlib.suppress(psutil.Error):
                who = f"process {process.pid} ({process.name()})"
                ends += [(who, each) for each in opened(Subject(process.pid, process))]
        found = defaultdict(list)
        for who, each in ends:
            if each.is_pipe:
                found[each.identity].append((who, each))
        return found

    def _made_by_kernel(self, each: Open) -> Finding:
        name = each.link.removeprefix("anon_inode:").strip("[]")
        kind, verdict, advice = _ANONYMOUS.get(name, (name, *_OTHERWISE))
        about = self._subject.read("fdinfo", each.fd)
        if name == "eventpoll":
            watched = re.findall(r"^tfd:\s*(\d+)", about, re.M)
            more = [f"{len(watched) - _SHOWN} more"] if len(watched) > _SHOWN else []
            detail = f" watches {', '.join([*watched[:_SHOWN], *more])}" if watched else ""
        else:
            pid = re.search(r"^Pid:\s*(\d+)$", about, re.M)
            detail = f" of process {pid[1]}" if pid else ""
        return Finding(kind, f"{each.fd}{detail}{_stream(each)}", verdict, advice)


def _what(each: Open) -> str:
    return f"{each.fd} {each.mode} {each.link}{_stream(each)}"


def _stream(each: Open) -> str:
    return _STREAMS.get(each.fd, "")


def _device(each: Open) -> Finding:
    major, minor = os.major(each.status.st_rdev), os.minor(each.status.st_rdev)
    if major in _TERMINALS or (major, minor) == (5, 0):
        return Finding("terminal", _what(each), "put back", "nothing: its modes are put back")
    if major == 1:  # null, zero, random and their like
        return Finding("device", _what(each), "shared", "nothing: it keeps no state")
    return Finding("device", _what(each), *_OTHERWISE)


def _of_event_loops(subject: Subject) -> set[int]:
    """What asyncio's loops watch and wake themselves by; the loops are named in their place."""
    loops = subject.living("asyncio.base_events", "BaseEventLoop")
    found = set(sockets.wakers(loops))
    for loop in loops:
        fileno = getattr(getattr(loop, "_selector", None), "fileno", None)
        if fileno is not None and not loop.is_closed():
            found.add(fileno())
    return found


def _by_psutil(subject: Subject) -> Iterator[Finding]:
    """Where there is no /proc: files and sockets, without modes and positions."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for file in subject.process.open_files():
            if not (subject.own and file.fd in descriptors.OURS):
                advice = "snapshot(files=…) rolls back what is written to it"
                yield Finding("file", f"{file.fd} {file.path}", "shared", advice)
    yield from Addresses(subject).findings()
