"""Many recorded calls are made again, by an executor: forks of a warm process, or a cluster."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from snapshot.core.disposable import fork_call
from snapshot.core.immortal import Immortals
from snapshot.errors import ForkError, SnapshotError, UnknownCall, UsageError
from snapshot.replay import recorder
from snapshot.replay.reanimation import Reanimation, Request, Shared
from snapshot.store import Store
from snapshot.store.place import Place

_AT_ONCE = 64  # calls that are fetched together
_MUCH = 1 << 24  # bytes from which on no more are fetched with them
_SOON = 0.2  # seconds after which a worker is heard of again, if calls take no longer
_MANY = 50  # calls from which on forks are made cheaper, which takes a tenth of a second

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
    """Make calls again, each in a fork of its own; their verdicts, in the order of the calls.

    One that is deleted before its turn has none.

    A worker of the executor makes several one after the other, for a fraction of a second. Where
    the workers are forks of this process, they find there what the store has of the calls, and the
    modules of the functions. Others open the store themselves.

    ahead: how many workers there are, or twice as many where they are far away. limits: of each
    fork, as for `fork_call`.

    Raises `UsageError` where the limits mean nothing.
    """
    waiting: deque[_Batch] = deque()
    size = 1
    with recorder.paused():
        for chunk in _Warm(store, request).ready(numbers):
            left = deque(chunk)
            while left:
                most = min(size, -(-len(left) // ahead))
                these = [left.popleft() for _ in range(most)]
                task = _Task(store.place, store.trusted, [n for n, _ in these], request)
                future = executor.submit(_make_again, task, dict(limits or {}))
                waiting.append(_Batch(these, time.perf_counter(), future))
                running = [each.future for each in waiting if not each.future.done()]
                while len(running) >= ahead:
                    running = list(wait(running, return_when=FIRST_COMPLETED).not_done)
                while waiting and waiting[0].future.done():
                    verdicts = waiting.popleft().verdicts()
                    size = _fitting(verdicts)
                    yield from verdicts
        while waiting:
            yield from waiting.popleft().verdicts()


def _fitting(verdicts: list[Verdict]) -> int:
    """How many calls like these a worker makes until it is heard of again."""
    took = sum(each.duration for each in verdicts) / len(verdicts)
    return max(1, min(_AT_ONCE, int(_SOON / max(took, 1e-6))))


class _Task(NamedTuple):
    """What a worker is to do."""

    where: Place
    trust: bool
    numbers: list[int]
    request: Request


@dataclass(frozen=True)
class _Batch:
    """Calls that a worker makes: their numbers, and the keys of their functions."""

    calls: list[tuple[int, str]]
    began: float
    future: Future[list[Verdict]]

    def verdicts(self) -> list[Verdict]:
        """Waits for them. Raises `UsageError` where the limits mean nothing."""
        error = self.future.exception()
        if error is None:
            return self.future.result()
        if isinstance(error, UsageError):
            raise error
        return [_failed(*each, self.began, error) for each in self.calls]


def changed(store: Store, numbers: Iterable[int], request: Request) -> Iterator[int]:
    """Those of the calls whose function is another one now, or is not to be found."""
    for chunk in _Warm(store, request).ready(numbers):
        for number, _ in chunk:
            try:
                if _prepared[number].has_changed():
                    yield number
            except SnapshotError:
                yield number


# In a fork of the process that asks, what it has prepared.
_prepared: dict[int, Reanimation] = {}


class _Warm:
    """Makes ready, in the process that is forked, what its forks need."""

    def __init__(self, store: Store, request: Request) -> None:
        self._store = store
        self._request = request
        self._shared = Shared()
        self._tried: set[tuple[str, bytes]] = set()
        self._immortals = Immortals()
        self._count = 0

    def ready(self, numbers: Iterable[int]) -> Iterator[list[tuple[int, str]]]:
        """Calls that are ready, several at once, and the keys of their functions.

        No connection to the store outlives a fork, and to make another one takes longer than to
        fetch a call.
        """
        left = iter(numbers)
        while fetched := self._fetch(left):
            yield fetched

    def _fetch(self, left: Iterator[int]) -> list[tuple[int, str]]:
        _prepared.clear()
        fetched, size = [], 0
        for number in left:
            try:
                call = self._store.calls.get(number)
            except UnknownCall:
                continue  # it was deleted meanwhile
            reanimation = Reanimation(self._store, call, self._request, self._shared)
            _prepared[number] = reanimation
            fetched.append((number, call.function.key))
            with contextlib.suppress(SnapshotError):  # which the fork will tell of
                size += reanimation.prefetch()
                self._import(reanimation)
            if len(fetched) == _AT_ONCE or size > _MUCH:
                break
        self._count += len(fetched)
        if self._count > _MANY:
            self._immortals.add()  # a fork copies what it writes to, also reference counts
        return fetched

    def _import(self, reanimation: Reanimation) -> None:
        function = reanimation.call.function
        if (function.key, function.digest) not in self._tried:
            self._tried.add((function.key, function.digest))
            with contextlib.redirect_stdout(sys.stderr):
                reanimation.warm_up()


def _make_again(task: _Task, limits: dict[str, Any]) -> list[Verdict]:
    """In a worker."""
    if all(number in _prepared for number in task.numbers):
        ready = [_prepared[number] for number in task.numbers]
    else:
        ready = []
        with Store(task.where, trust=task.trust) as store:
            for number in task.numbers:
                ready.append(Reanimation(store, store.calls.get(number), task.request))
                with contextlib.suppress(SnapshotError):  # which the fork will tell of
                    ready[-1].prefetch()
    return [_made_again(each, limits) for each in ready]


def _made_again(reanimation: Reanimation, limits: dict[str, Any]) -> Verdict:
    began = time.perf_counter()
    try:
        found: Verdict = fork_call(_in_a_fork, reanimation, **limits)
    except BaseException as error:
        if isinstance(error, UsageError) or (
            not isinstance(error, SnapshotError) and error.__cause__ is None
        ):
            raise  # it is of the limits, or happened here, and not in the fork
        call = reanimation.call
        return _failed(call.id, call.function.key, began, error)
    return replace(found, duration=time.perf_counter() - began)


def _in_a_fork(reanimation: Reanimation) -> Verdict:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what many calls print at once is of no use to anybody
    os.dup2(nowhere, 2)
    with recorder.paused():
        found = reanimation.compared()
    status: Status = "matched" if found.matches else "differed"
    return Verdict(reanimation.call.id, found.function, status, tuple(found.differences), 0)


def _failed(number: int, key: str, began: float, error: BaseException) -> Verdict:
    ran = isinstance(error, ForkError) or not isinstance(error, SnapshotError)
    status: Status = "failed" if ran else "could not run"
    why = str(error) if isinstance(error, SnapshotError) else f"{type(error).__name__}: {error}"
    for ours in (_make_again, _in_a_fork):
        why = why.replace(f"{ours.__name__}, in fork", f"{key}, in fork", 1)
    return Verdict(number, key, status, (why,), time.perf_counter() - began)
