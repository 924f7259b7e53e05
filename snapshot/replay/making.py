"""A call that is made again, and followed to its end: generators, coroutines."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from snapshot.errors import CannotReanimate
from snapshot.replay.yields import Driven, driven
from snapshot.store.objects import Placeholder

Keep = Callable[[Any], Any]


class Driving:
    """How a generator was driven.

    then: what it had yielded, if that is on record. closed: it was closed after these. keep: what
    is done with each value that it yields now.
    """

    def __init__(self, then: Any, *, closed: bool, keep: Keep) -> None:
        """Raises `CannotReanimate` where something was sent into it that was not stored."""
        self._sent = then.sent if isinstance(then, Driven) else {}
        for how, value in self._sent.values():
            if isinstance(value, Placeholder):
                raise CannotReanimate(
                    f"what was given to the generator by {how}() was not stored ({value.reason})"
                )
        self._most = len(then) if closed and isinstance(then, list) else None
        self._keep = keep
        self._found: list[Any] = []

    def made(self, call: Callable[[], Any]) -> Any:
        """What a call returns, when it has been awaited, or iterated as then."""
        value = call()
        if inspect.iscoroutine(value):
            return _awaited(value)
        if inspect.isasyncgen(value):
            return _awaited(self._drive_asynchronously(value))
        return self._drive(value) if inspect.isgenerator(value) else value

    def _steps(self, step: Any, send: Any, throw: Any) -> Iterator[Callable[[], Any]]:
        """How to get one value after the other, as long as each is added to those found."""
        while self._most is None or len(self._found) < self._most:
            how, what = self._sent.get(len(self._found), ("", None))
            if not how or not self._found:
                yield step
            else:
                yield functools.partial(throw if how == "throw" else send, what)

    def _drive(self, value: Any) -> list[Any]:
        returned = None
        for step in self._steps(value.__next__, value.send, value.throw):
            try:
                self._found.append(self._keep(step()))
            except StopIteration as stop:
                returned = stop.value
                break
        value.close()
        return self._all(returned)

    async def _drive_asynchronously(self, value: Any) -> list[Any]:
        for step in self._steps(value.__anext__, value.asend, value.athrow):
            try:
                self._found.append(self._keep(await step()))
            except StopAsyncIteration:
                break
        await value.aclose()
        return self._all(None)

    def _all(self, returned: Any) -> list[Any]:
        if not self._sent and returned is None:
            return self._found
        facts = {"sent": self._sent, "returned": self._keep(returned), "raised": None}
        return driven(self._found, facts)


def alike(then: Any, now: Any) -> tuple[Any, Any]:
    """What a generator has yielded then and now, to be compared: in the same form."""
    if isinstance(then, Driven) == isinstance(now, Driven):
        return then, now
    return _as_driven(then), _as_driven(now)


def _as_driven(values: Any) -> Any:
    if type(values) is not list:
        return values
    return driven(values, {"sent": {}, "returned": None, "raised": None})


def is_driven(data: bytes) -> bool:
    """Whether this is, most probably, the pickle of what a generator has yielded that was driven
    by more than asking for the next value."""
    return Driven.__module__.encode() in data


def _awaited(value: Any) -> Any:
    import asyncio  # what makes few calls wait, and each fork dearer

    return asyncio.run(value)
