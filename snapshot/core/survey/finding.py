"""What a survey finds, and the table that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

from snapshot.core.line import table

_HEAD = ("kind", "what", "verdict", "what to do")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a process holds, and what a fork makes of it.

    kind: "file", "directory", "terminal", "pipe", "socket", "device", "epoll", "memory", "lock",
        "child", "thread", "event loop", "temporary", "timer", "library", "CUDA", "OpenMP", or what
        the kernel calls it.
    what: which one, as text: `3 r+ /tmp/x.db at 4096` is a descriptor, how it is open, and where.
    verdict: what it is in an experiment.
        "shared": the same thing: what the experiment does to it, the original finds done.
        "lost": not there, or not working.
        "put back": the original finds it as it was at the snapshot.
        "guarded": `snapshot` keeps the experiment from damaging what the original has.
        "private": the experiment has its own, and the original does not notice.
    advice: what to do, in a few words.
    """

    kind: str
    what: str
    verdict: str
    advice: str


class Survey(Sequence[Finding]):
    """What a process holds: an immutable sequence of findings that shows as a table."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self._findings = tuple(findings)

    def __len__(self) -> int:
        return len(self._findings)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Survey: ...
    def __getitem__(self, index: int | slice) -> Finding | Survey:
        found = self._findings[index]
        return found if isinstance(found, Finding) else Survey(found)

    def __repr__(self) -> str:
        rows = [(each.kind, each.what, each.verdict, each.advice) for each in self._findings]
        return table([_HEAD, *(tuple(map(_on_one_line, row)) for row in rows)])


def _on_one_line(text: str) -> str:
    """A name of a file may hold any character: those that are not to be seen are escaped."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
