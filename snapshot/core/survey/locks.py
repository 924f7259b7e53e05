"""Locks of files: which the process has, and which it waits for (proc(5), /proc/locks)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from snapshot.core.survey.descriptors import Descriptors
from snapshot.core.survey.finding import Finding
from snapshot.core.survey.subject import Subject

# By the kernel's names: what programs call it, the verdict, and what to do.
_KINDS = {
    "FLOCK": ("flock", "guarded", "nothing: the original alone unlocks it"),
    "POSIX": ("lockf", "lost", "the experiment would wait for the original's: do not lock there"),
    "OFDLCK": ("OFD lock", "shared", "unlock it in the original alone: root_only"),
    "LEASE": ("lease", "shared", "give it up in the original alone: root_only"),
    "DELEG": ("lease", "shared", "give it up in the original alone: root_only"),
}
# 1: FLOCK  ADVISORY  WRITE 4711 fe:00:12345 0 EOF, and an arrow for one that is waited for
_LOCK = re.compile(r"\d+: (->)? ?(\w+) +\w+ +(\w+) (-?\d+) (\w+):(\w+):(\d+) (\S+ \S+)")


def findings(subject: Subject, descriptors: Descriptors) -> Iterator[Finding]:
    """One for each lock of a file, however many descriptors of it are open."""
    seen = set()
    for each in descriptors.all:
        for match in _LOCK.finditer(subject.read("fdinfo", each.fd)):
            kind, access = match[2], match[3]
            if (lock := match.groups()[1:]) not in seen:
                seen.add(lock)
                yield _finding(kind, access, f"has it on {each.link}")
    files = {
        (os.major(each.status.st_dev), os.minor(each.status.st_dev), each.status.st_ino): each.link
        for each in descriptors.all
    }
    for match in _LOCK.finditer(_all_locks()):
        waits, kind, access, pid, major, minor, inode, _ = match.groups()
        if waits and int(pid) == subject.pid:
            place = (int(major, 16), int(minor, 16), int(inode))
            file = files.get(place, f"the file with inode {inode}")
            yield Finding(
                "lock", f"{_name(kind, access)}: a thread waits for it on {file}", "lost", _THREAD
            )


_THREAD = "nothing: the thread that waits is not in the experiment"


def _finding(kind: str, access: str, where: str) -> Finding:
    _, verdict, advice = _KINDS.get(kind, (kind, "shared", "leave it to the original: root_only"))
    return Finding("lock", f"{_name(kind, access)}: {where}", verdict, advice)


def _name(kind: str, access: str) -> str:
    """`flock, exclusive`; a lease is read or write."""
    name = _KINDS.get(kind, (kind,))[0]
    if name == "lease":
        return f"{name}, {access.lower()}"
    return f"{name}, {'shared' if access == 'READ' else 'exclusive'}"


def _all_locks() -> str:
    try:
        return Path("/proc/locks").read_text()
    except OSError:
        return ""
