"""Many recorded calls are made again, by an executor: forks of a warm process, or a cluster."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any, Literal

from snapshot.core.disposable import fork_call
from snapshot.errors import ForkError, SnapshotError
from snapshot.replay import recorder
from snapshot.replay.definitions import Definitions
from snapshot.replay.reanimation import Reanimation, Request
from snapshot.store import Store
from snapshot.store.place import Place

Status = Literal["matched", "differed", "failed", "could not run"]
STATUSES: tuple[Status, ...] = ("matched", "differed", "failed", "could not run")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one call.

    status: `matched` and `differed` say how it compares with what was recorded; `failed` that its
    process did not end well, `could not run` that the call could not be made. differences: a line
    for each, or why. duration: seconds, with all that making the call took.
    """

    id: int
    function: str
    status: Status
    differences: tuple[str, ...]
    duration: float


def replay(
    store: Store,
    numbers: Iterable[int],
    request: Request,
    executor: Executor,
    *,
    ahead: int,
    limits: Mapping[str, Any] | None = None,
) -> Iterator[Verdict]:
    """Make calls again, so many at once; their verdicts, in the order of the calls.

    An executor whose workers are forks of this process finds there what the store has of the call
    and the modules of the functions. Such a one forks when a call is submitted, and not while this
    process uses the store, if `ahead` is the number of its workers. Others open the store
    themselves, and fork for each call.

    limits: of such a fork, as for `fork_call`.
    """
    waiting: deque[tuple[int, str, float, Future[Verdict]]] = deque()
    running: list[Future[Verdict]] = []
    warm = _Warm(store, request)
    trust = store.trusted
    with recorder.paused():
        for number in numbers:
            key = warm.up(number)
            began = time.perf_counter()
            future = executor.submit(
                _made_again, store.place, trust, number, request, dict(limits or {})
            )
            waiting.append((number, key, began, future))
            running.append(future)
            while len(running := [each for each in running if not each.done()]) >= ahead:
                wait(running, return_when=FIRST_COMPLETED)
            while waiting and waiting[0][3].done():
                yield _verdict(*waiting.popleft())
        while waiting:
            yield _verdict(*waiting.popleft())


def changed(store: Store, numbers: Iterable[int], request: Request) -> Iterator[int]:
    """Those of the calls whose function is another one now, or is not to be found."""
    warm = _Warm(store, request)
    for number in numbers:
        warm.up(number)
        try:
            if _prepared[number].has_changed():
                yield number
        except SnapshotError:
            yield number
        finally:
            del _prepared[number]


# In a fork of the process that asks, what it has prepared.
_prepared: dict[int, Reanimation] = {}


class _Warm:
    """Makes ready, in the process that is forked, what its forks need."""

    def __init__(self, store: Store, request: Request) -> None:
        self._store = store
        self._request = request
        self._definitions: dict[str, Definitions] = {}
        self._imported: set[str] = set()

    def up(self, number: int) -> str:
        """Make one call ready; the key of its function."""
        call = self._store.calls.get(number)
        reanimation = Reanimation(self._store, call, self._request, self._definitions)
        _prepared.clear()
        _prepared[number] = reanimation
        key = call.function.key
        with contextlib.suppress(SnapshotError):  # which the fork will tell of
            reanimation.prefetch()
            if key not in self._imported:
                self._imported.add(key)
                with contextlib.redirect_stdout(sys.stderr):
                    reanimation.warm_up()
        return key


def _made_again(
    where: Place, trust: bool, number: int, request: Request, limits: dict[str, Any]
) -> Verdict:
    """In a worker."""
    if (reanimation := _prepared.get(number)) is not None:
        return _in_a_fork(reanimation)
    with Store(where, trust=trust) as store:
        reanimation = Reanimation(store, store.calls.get(number), request)
        reanimation.prefetch()
        found: Verdict = fork_call(_in_a_fork, reanimation, **limits)
        return found


def _in_a_fork(reanimation: Reanimation) -> Verdict:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what many calls print at once is of no use to anybody
    os.dup2(nowhere, 2)
    began = time.perf_counter()
    with recorder.paused():
        found = reanimation.compared()
    took = time.perf_counter() - began
    status: Status = "matched" if found.matches else "differed"
    return Verdict(reanimation.call.id, found.function, status, tuple(found.differences), took)


def _verdict(number: int, key: str, began: float, future: Future[Verdict]) -> Verdict:
    error = future.exception()  # Ctrl-C is raised here, and one that the fork has raised is not
    if error is None:
        return future.result()
    ran = isinstance(error, ForkError) or not isinstance(error, SnapshotError)
    status: Status = "failed" if ran else "could not run"
    why = str(error) if isinstance(error, SnapshotError) else f"{type(error).__name__}: {error}"
    for ours in (_made_again, _in_a_fork):
        why = why.replace(f"{ours.__name__}, in fork", f"{key}, in fork", 1)
    return Verdict(number, key, status, (why,), time.perf_counter() - began)
