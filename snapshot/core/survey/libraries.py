"""Libraries that a fork is known to break, and that the table of resources does not know."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from snapshot.core.survey.finding import Finding
from snapshot.core.survey.subject import Subject

_ANEW = "on_snapshot(enter=…): a new {} in the experiment"

# By the module that must be loaded: the verdict, and what to do.
LIBRARIES = {
    "aiohttp": ("shared", _ANEW.format("ClientSession")),
    "grpc": ("lost", "its threads are not there, calls hang: close channels before snapshot()"),
    "h5py": ("shared", "both would write the same file: open it anew in on_snapshot(enter=…)"),
    "httpx": ("shared", _ANEW.format("Client")),
    "kafka": ("lost", _ANEW.format("producer or consumer")),
    "pika": ("shared", _ANEW.format("connection")),
    "pymongo": ("lost", _ANEW.format("MongoClient")),
    "pymysql": ("shared", _ANEW.format("connection")),
    "redis": ("shared", _ANEW.format("client")),
    "requests": ("shared", _ANEW.format("Session")),
    "urllib3": ("shared", _ANEW.format("PoolManager")),
    "zmq": ("lost", _ANEW.format("Context")),
}


def findings(subject: Subject) -> Iterator[Finding]:
    """A line for each that is loaded; of another process, those that have a part in C."""
    for name, (verdict, advice) in LIBRARIES.items():
        if _is_loaded(name, subject):
            yield Finding("library", name, verdict, advice)


def _is_loaded(name: str, subject: Subject) -> bool:
    if subject.own:
        return name in sys.modules
    return any(f"/{name}/" in path and ".so" in path for path in subject.mapped)
