"""Memoized coroutine functions: nothing of them stops the event loop but looking up."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
from typing import Any, ParamSpec, TypeVar, cast

from snapshot.memo.memoized import Memoized, Run
from snapshot.store.results import Found

_FIRST, _LAST = 0.001, 0.05  # seconds between two looks at whether another one is done


_P = ParamSpec("_P")
_R = TypeVar("_R")


class MemoizedCoroutine(Memoized[_P, _R]):
    """As `Memoized`; a call, `refresh` and what an exception raises are to be awaited."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)
        else:
            self._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]

    async def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:  # type: ignore[override]
        if self._mode == "off":
            return await self._called(args, kwargs)  # type: ignore[no-any-return]
        values = self._parameters.bound(args, kwargs)
        if values is None:
            result = await self._called(args, kwargs)  # which says what is wrong
            self._say_that_it_does_not_fit()
            return result  # type: ignore[no-any-return]
        key = self._key(values)
        again = self._mode != "refresh"
        if again and (found := self._group.find(key)) is not None:
            usable, result = self._used(key, found, values, args, kwargs)
            if usable:
                return result  # type: ignore[no-any-return]
        return await self._wait(key, values, args, kwargs, again=again)  # type: ignore[no-any-return]

    async def refresh(self, *args: _P.args, **kwargs: _P.kwargs) -> _R:  # type: ignore[override]
        """As `Memoized.refresh`."""
        key, values = self._keyed(args, kwargs)
        return await self._wait(key, values, args, kwargs, again=False)  # type: ignore[no-any-return]

    async def _wait(
        self,
        key: bytes,
        values: tuple[Any, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        again: bool,
    ) -> Any:
        flight, runner, pause = self._group.backend.flight, asyncio.current_task(), _FIRST
        while not flight.begin(key, runner, wait=False):
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST)
        try:
            found: Found | None = self._group.find(key) if again else None
            if found is not None:
                usable, result = self._used(key, found, values, args, kwargs)
                if usable:
                    return result
            return await self._compute(key, values, args, kwargs)
        finally:
            try:
                flight.end(key)
            except BaseException:  # Ctrl-C just now
                flight.end(key)
                raise

    async def _compute(
        self, key: bytes, values: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        with Run(self, key, values) as run:
            run.result = await self._called(args, kwargs)
        return run.result

    async def _called(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._run is self._function:
            return await cast("Any", self._function)(*args, **kwargs)
        from snapshot.core.disposable import fork_call

        alone = functools.partial(_alone, self._function, args, kwargs)
        return await asyncio.to_thread(fork_call, alone)

    def _compute_alone(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _alone(self._function, args, kwargs)


def _alone(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """In a fork, whose event loop is the parent's."""

    async def call() -> Any:
        return await function(*args, **kwargs)

    return asyncio.run(call())
