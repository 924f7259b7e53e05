"""What a fork of a process would share, lose or put back: looked at, and nothing is changed."""

from __future__ import annotations

from snapshot.core.survey import interpreter, libraries, locks, memory, running
from snapshot.core.survey.descriptors import Descriptors
from snapshot.core.survey.finding import Finding, Survey
from snapshot.core.survey.subject import Subject

__all__ = ["Finding", "Survey", "survey"]


def survey(pid: int | None = None) -> Survey:
    """What `snapshot()` would share, lose or put back here, or in the process `pid`.

    Returns a `Survey`: a sequence of `Finding`, each with a kind, a verdict and an advice, that
    shows as a table. Nothing is changed, and nothing forked; in this process it looks through all
    objects (about 0.1 s a million). Of another process, which need not be Python's, it has what the
    kernel tells: no event loops, no names of threads but the kernel's. Where there is no /proc
    there are files, sockets, threads and children only.

    Raises `UsageError` for a pid that is none, or this process's own, and `CannotSurvey` for one
    that is not there, has ended, ends meanwhile, or belongs to another user.
    """
    subject = Subject.this() if pid is None else Subject.other(pid)
    descriptors = Descriptors(subject)
    found = [
        *descriptors.findings(),
        *locks.findings(subject, descriptors),
        *memory.findings(subject, descriptors),
        *running.findings(subject, descriptors),
        *interpreter.findings(subject),
        *libraries.findings(subject),
    ]
    if pid is not None:
        subject.check_alive("ended while it was looked at")
    return Survey(found)
