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
from snapshot.replay.filling import Filling
from snapshot.replay.yields import Driven
from snapshot.store.calls import Call, Calls, Function, Stored, names
from snapshot.store.events import Outcome
from snapshot.store.objects import Placeholder

Load = Callable[[Stored | None], Any]
Find = Callable[[Function], FunctionType]

_ANSWER = "__snapshot_answer__"


@contextlib.contextmanager
def mocked(
    calls: Calls, call: Call, wanted: Sequence[str], load: Load, find: Find
) -> Iterator[None]:
    """In the block, functions answer as they did in the calls that this one made, and theirs.

    wanted: the functions, by key or the end of one. An answer is that to equal arguments, in the
    order in which they were given; what was raised is raised again, and what was changed of the
    arguments is changed again.

    Raises `CannotReanimate` where there was no such call.
    """
    answers: dict[str, list[Call]] = defaultdict(list)
    for each in calls.descendants(call.id):
        answers[each.function.key].append(each)
    for name in wanted:
        if not any(names(name, key) for key in answers):
            there = ", ".join(sorted(answers)) or "none"
            raise CannotReanimate(
                f"mock={name!r}: call {call.id} made no recorded call of it (recorded: {there})"
            )
    # Several functions may have one key, and one function several versions.
    found: dict[FunctionType, list[Call]] = defaultdict(list)
    for key, several in answers.items():
        if any(names(name, key) for name in wanted):
            functions = {each.function.digest: find(each.function) for each in several}
            for each in several:
                found[functions[each.function.digest]].append(each)
    with contextlib.ExitStack() as stack:
        for number, (function, several) in enumerate(found.items()):
            stack.enter_context(_replaced(function, number, _Answers(function, several, load)))
        yield


class _Answers:
    """Those of one function."""

    def __init__(self, function: FunctionType, calls: list[Call], load: Load) -> None:
        self._key = calls[0].function.key
        self._signature = inspect.signature(function)
        self._load = load
        self._left = sorted(calls, key=lambda each: each.started)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        now = self._bound(args, kwargs)
        for call in self._left:
            then = self._load(call.arguments)
            if isinstance(then, tuple) and not differences(self._bound(*then), now):
                self._left.remove(call)
                return self._answer(call, now)
        raise CannotReanimate(
            f"{self._key} is called with arguments that it was not called with then, or once more: "
            f"{args!r} {kwargs!r}; it is in mock="
        )

    def _bound(self, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """However it was called, by position or by name."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError:
            return args, kwargs
        return bound.args, bound.kwargs

    def _answer(self, call: Call, now: object) -> Any:
        if call.outcome is Outcome.running:
            raise CannotReanimate(f"call {call.id} of {self._key} never ended: it has no answer")
        value = self._load(call.result)
        if isinstance(value, Placeholder):
            raise CannotReanimate(
                f"what call {call.id} of {self._key} gave was not stored: {value.reason}"
            )
        after = self._load(call.after)
        if isinstance(after, tuple):
            _change(now, self._bound(*after))
        if call.outcome is Outcome.raised and not isinstance(value, Driven):
            raise value
        return value


def _change(now: Any, then: Any) -> None:
    """Change arguments as they were changed then."""
    filling = Filling()
    for one, other in zip(now[0], then[0], strict=False):
        filling.filled(one, other)
    for name, other in then[1].items():
        filling.filled(now[1].get(name), other)


def _yielded(values: Any) -> Any:
    """What a generator yields again, returns and raises."""
    for each in values:  # noqa: UP028 (a list takes nothing that is sent)
        yield each
    if isinstance(values, Driven):
        if values.raised is not None:
            raise values.raised
        return values.returned
    return None


@contextlib.contextmanager
def _replaced(function: FunctionType, number: int, answers: _Answers) -> Iterator[None]:
    """In the block, whoever holds the function calls something else: its code is another one."""
    before = function.__code__
    function.__globals__.setdefault(_ANSWER, {})[number] = answers, _yielded
    function.__code__ = _trampoline(function, number)
    try:
        yield
    finally:
        function.__code__ = before
        function.__globals__.pop(_ANSWER, None)


def _trampoline(function: FunctionType, number: int) -> CodeType:
    answers = f"globals()[{_ANSWER!r}][{number}]"
    call, yielded = f"{answers}[0](args, kwargs)", f"{answers}[1]"
    head, body = "def", f"return {call}"
    if inspect.isasyncgenfunction(function):
        head, body = "async def", f"for each in {yielded}({call}): yield each"
    elif inspect.iscoroutinefunction(function):
        head = "async def"
    elif inspect.isgeneratorfunction(function):
        body = f"return (yield from {yielded}({call}))"
    cells = function.__code__.co_freevars
    # The code must have as many cells as the function: they are named, and not used.
    keep = "".join(f"\n  if 0: {name}" for name in cells)
    source = f"def around({', '.join(cells)}):\n {head} answer(*args, **kwargs):{keep}\n  {body}\n"
    namespace = compile(source, "<mock>", "exec").co_consts
    around = next(each for each in namespace if isinstance(each, CodeType))
    return next(each for each in around.co_consts if isinstance(each, CodeType))
