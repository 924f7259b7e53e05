"""Many recorded calls are made again, by an executor: forks of a warm process, or a cluster."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Literal

from snapshot.errors import CannotFork, ForkError, SnapshotError
from snapshot.replay import recorder
from snapshot.replay.definitions import Definitions
from snapshot.replay.reanimation import Reanimation, Request
from snapshot.store import Store

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
    store: Store, numbers: Iterable[int], request: Request, executor: Executor, *, ahead: int
) -> Iterator[Verdict]:
    """Make calls again, so many at once; their verdicts, in the order of the calls.

    An executor whose workers are forks of this process finds there what the store has of the call
    and the modules of the functions; others open the store themselves.
    """
    waiting: deque[tuple[int, str, float, Future[Verdict]]] = deque()
    warm = _Warm(store, request)
    where = store.place.url or os.fspath(store.place.path)
    trust = store.trusted
    with recorder.paused():
        for number in numbers:
            key = warm.up(number)
            began = time.perf_counter()
            future = executor.submit(_made_again, where, trust, number, request)
            waiting.append((number, key, began, future))
            if len(waiting) > ahead:
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


def _made_again(where: str, trust: bool, number: int, request: Request) -> Verdict:
    began = time.perf_counter()
    if (reanimation := _prepared.get(number)) is not None:
        _be_silent()
        found = reanimation.compared()
    else:
        with Store(where, trust=trust) as store:
            found = Reanimation(store, store.calls.get(number), request).compared()
    lines = tuple(found.differences)
    status: Status = "matched" if found.matches else "differed"
    return Verdict(number, found.function, status, lines, time.perf_counter() - began)


def _be_silent() -> None:
    """In a fork: what many calls print at once is of no use to anybody."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _verdict(number: int, key: str, began: float, future: Future[Verdict]) -> Verdict:
    try:
        return future.result()
    except CannotFork as error:
        status: Status = "could not run"
        why = str(error)
    except ForkError as error:
        status, why = "failed", str(error)
    except SnapshotError as error:
        status, why = "could not run", str(error)
    return Verdict(number, key, status, (why,), time.perf_counter() - began)
