"""Memory that collecting garbage costs a child: `python -m benchmarks.collect`."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable

from benchmarks.harness import check, main, megabytes, show, small_objects
from snapshot import revert, snapshot
from snapshot.core.memory import private_memory
from snapshot.core.tree import last_experiment

os.environ["SNAPSHOT_QUIET"] = "1"


def _private_after(action: Callable[[], object]) -> int:
    action()
    return private_memory(os.getpid()) or 0


def _in_bare_fork(action: Callable[[], object]) -> int:
    """Private memory of a forked child after the action."""
    readable, writable = os.pipe()
    if os.fork() == 0:
        os.write(writable, str(_private_after(action)).encode())
        os._exit(0)
    os.wait()
    os.close(writable)
    with open(readable) as pipe:
        return int(pipe.read())


def _in_experiment(action: Callable[[], object]) -> int:
    if snapshot():
        revert(value=_private_after(action))
    experiment = last_experiment()
    assert experiment is not None
    return int(experiment.value)


def containers() -> None:
    heap = small_objects(4_000_000)
    what = "4 M containers:"
    show(f"{what} a bare fork that does nothing", megabytes(_in_bare_fork(int)))
    show(f"{what} a bare fork that collects", megabytes(_in_bare_fork(gc.collect)))
    show(f"{what} an experiment that does nothing", megabytes(_in_experiment(int)))
    check(f"{what} an experiment that collects", _in_experiment(gc.collect), at_most=8_000_000)
    heap.clear()


if __name__ == "__main__":
    raise SystemExit(main("benchmarks.collect", {"containers": containers}))
