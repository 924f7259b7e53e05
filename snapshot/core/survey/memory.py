"""The memory that a process shares with others, and libraries whose state a fork cannot copy."""

from __future__ import annotations

import os
from collections.abc import Iterator

from snapshot.core.mappings import Mapping, Place, place_of, shared_mappings
from snapshot.core.memory import size
from snapshot.core.survey.descriptors import Descriptors
from snapshot.core.survey.finding import Finding
from snapshot.core.survey.subject import Subject

_ANONYMOUS = "/dev/zero (deleted)"  # so the kernel calls what has no file
_OPENMP = {
    "libgomp": ("guarded", "nothing: its threads are ended before the fork, both start their own"),
    "libomp": ("private", "nothing: the experiment starts threads of its own"),
    "libiomp5": ("private", "nothing: the experiment starts threads of its own"),
}


def findings(subject: Subject, descriptors: Descriptors) -> Iterator[Finding]:
    """A line for each file or piece of memory that is mapped shared and writable; CUDA; OpenMP."""
    yield from _maps(subject)
    yield from _cuda(subject, descriptors)
    for path in sorted(subject.mapped):
        for name, (verdict, advice) in _OPENMP.items():
            if _is_library(path, name):
                yield Finding("OpenMP", path, verdict, advice)


def _maps(subject: Subject) -> Iterator[Finding]:
    places = [place for each in subject.living("mmap", "mmap") if (place := place_of(each))]
    sizes: dict[tuple[str, str, str, str], int] = {}
    for each in shared_mappings(subject.pid):
        key = _judged(each, _is_python(each, places), own=subject.own)
        sizes[key] = sizes.get(key, 0) + each.end - each.start
    for (kind, what, verdict, advice), length in sizes.items():
        yield Finding(kind, f"{what}, {size(length)}", verdict, advice)


def _judged(mapping: Mapping, is_python: bool, *, own: bool) -> tuple[str, str, str, str]:
    """Kind, what, verdict, and what to do."""
    file = mapping.file
    if file.startswith("/dev/shm/sem."):
        advice = "killed while it holds it, an experiment leaves it locked: revert()"
        return "lock", f"semaphore {file}", "shared", advice
    if is_python:
        return "memory", file, "private", "nothing: keep() writes it to the file"
    if mapping.of_file and own:
        return "memory", file, "shared", "it is no mmap object of Python's: leave it alone there"
    if mapping.of_file:
        return "memory", file, "shared", "private if Python's mmap made it: survey() inside tells"
    name = "without a file" if file == _ANONYMOUS else file or "without a name"
    return "memory", name, "shared", "what is written there is written here: write to a copy"


def _is_python(mapping: Mapping, places: list[Place]) -> bool:
    """Whether an mmap object has its pages there: see `SharedMappings` in core/resources."""
    return mapping.of_file and any(
        mapping.start <= each.start and each.end <= mapping.end for each in places
    )


def _cuda(subject: Subject, descriptors: Descriptors) -> Iterator[Finding]:
    devices = sorted({e.link for e in descriptors.all if e.link.startswith("/dev/nvidia")})
    libraries = sorted(path for path in subject.mapped if _is_library(path, "libcuda"))
    if devices or libraries:
        what = f"{', '.join(devices)} open" if devices else f"{libraries[0]} mapped"
        advice = "its context does not survive a fork: snapshot() before the first use of CUDA"
        yield Finding("CUDA", what, "lost", advice)


def _is_library(path: str, name: str) -> bool:
    """`libgomp.so.1`, and `libgomp-a34b3233.so.1.0.0` as wheels have it."""
    file = os.path.basename(path)
    return file.startswith((f"{name}.", f"{name}-")) and (".so" in file or ".dylib" in file)
