"""Calls that are answered with what they returned when they were recorded."""

from __future__ import annotations

import contextlib
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

from snapshot.errors import CannotReanimate
from snapshot.replay.comparing import differences
from snapshot.store.calls import Call, Calls, Stored, names
from snapshot.store.events import Outcome
from snapshot.store.objects import Placeholder

Load = Callable[[Stored | None], Any]
Find = Callable[[str], FunctionType]

_ANSWER = "__snapshot_answer__"


@contextlib.contextmanager
def mocked(
    calls: Calls, call: Call, wanted: Sequence[str], load: Load, find: Find
) -> Iterator[None]:
    """In the block, functions answer as they did in the calls that this one made, and theirs.

    wanted: the functions, by key or the end of one. An answer is that to equal arguments, in the
    order in which they were given; what was raised is raised again.

    Raises `CannotReanimate` where there was no such call.
    """
    answers: dict[str, list[Call]] = defaultdict(list)
    for each in calls.descendants(call.id):
        answers[each.function.key].append(each)
    for name in wanted:
        keys = [key for key in answers if names(name, key)]
        if not keys:
            there = ", ".join(sorted(answers)) or "none"
            raise CannotReanimate(
                f"mock={name!r}: call {call.id} made no recorded call of it (recorded: {there})"
            )
    with contextlib.ExitStack() as stack:
        for key, several in answers.items():
            if any(names(name, key) for name in wanted):
                stack.enter_context(_replaced(find(key), _Answers(key, several, load)))
        yield


class _Answers:
    """Those of one function."""

    def __init__(self, key: str, calls: list[Call], load: Load) -> None:
        self._key = key
        self._load = load
        self._left = sorted(calls, key=lambda each: each.started)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for call in self._left:
            then = self._load(call.arguments)
            if isinstance(then, tuple) and not differences(then, (args, kwargs)):
                self._left.remove(call)
                return self._answer(call)
        raise CannotReanimate(
            f"{self._key} is called with arguments that it was not called with then, or once more: "
            f"{args!r} {kwargs!r}; it is in mock="
        )

    def _answer(self, call: Call) -> Any:
        if call.outcome is Outcome.running:
            raise CannotReanimate(f"call {call.id} of {self._key} never ended: it has no answer")
        value = self._load(call.result)
        if isinstance(value, Placeholder):
            raise CannotReanimate(
                f"what call {call.id} of {self._key} gave was not stored: {value.reason}"
            )
        if call.outcome is Outcome.raised:
            raise value
        return value


@contextlib.contextmanager
def _replaced(function: FunctionType, answers: _Answers) -> Iterator[None]:
    """In the block, whoever holds the function calls something else: its code is another one."""
    before = function.__code__
    function.__globals__.setdefault(_ANSWER, {})[function.__qualname__] = answers
    function.__code__ = _trampoline(function)
    try:
        yield
    finally:
        function.__code__ = before
        function.__globals__.pop(_ANSWER, None)


def _trampoline(function: FunctionType) -> CodeType:
    call = f"globals()[{_ANSWER!r}][{function.__qualname__!r}](args, kwargs)"
    head, body = "def", f"return {call}"
    if inspect.isasyncgenfunction(function):
        head, body = "async def", f"for each in {call}: yield each"
    elif inspect.iscoroutinefunction(function):
        head = "async def"
    elif inspect.isgeneratorfunction(function):
        body = f"yield from {call}"
    cells = function.__code__.co_freevars
    # The code must have as many cells as the function: they are named, and not used.
    keep = "".join(f"\n  if 0: {name}" for name in cells)
    source = f"def around({', '.join(cells)}):\n {head} answer(*args, **kwargs):{keep}\n  {body}\n"
    namespace = compile(source, "<mock>", "exec").co_consts
    around = next(each for each in namespace if isinstance(each, CodeType))
    return next(each for each in around.co_consts if isinstance(each, CodeType))
