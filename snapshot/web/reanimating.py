"""The job "reanimate": a recorded call is made again, and compared with what it was.

It imports nothing of the server: what the call finds loaded should be little.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from snapshot.core.disposable import fork_call
from snapshot.errors import CannotReanimate
from snapshot.replay import recorder, telling
from snapshot.replay.reanimation import Reanimated, Reanimation, Request, in_words
from snapshot.store import Store
from snapshot.store.calls import Call
from snapshot.store.objects import Placeholder, text_of, type_name
from snapshot.store.searching import storable
from snapshot.web.worker import Tell

_LONG = 20_000  # characters of a traceback
_SHORT = 2000  # of a text, which may have in it what somebody has raised
_OURS = str(Path(__file__).parents[1])


def work(details: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Make it in a disposable fork, with what it writes on the standard streams of this process.

    Only words come back: its values may be of classes that this process has not.

    Raises what `Reanimation` and `fork_call` do, and `CannotReanimate` for what ends a process
    by its nature, which the call did not raise then.
    """
    with Store(details["store"], trust=details["trust"]) as store:
        call = store.calls.get(details["id"])
        request = Request(recorded_code=details["recorded_code"], mock=details["mock"])
        reanimation = Reanimation(store, call, request)
        then = telling.outcome(store, call)
        store.rest()
        again = _Again(call, reanimation)
        try:
            made = fork_call(again, timeout=details["timeout"], memory=details["memory"])
        except (KeyboardInterrupt, GeneratorExit, MemoryError) as error:
            if error.__cause__ is None:  # it happened here, and not in the fork
                raise
            name = type(error).__name__
            raise CannotReanimate(f"it ended with {name}, as it did not then: {error}") from error
    return {
        "id": call.id,
        "recorded_code": details["recorded_code"],
        "mock": details["mock"],
        "then": {
            "text": _cut(then.removeprefix("! ")),
            "raised": call.failure is not None,
            "duration": call.duration,
        },
        **made,
    }


class _Again:
    """Makes a call in the fork, which is told of by the name of the function."""

    def __init__(self, call: Call, reanimation: Reanimation) -> None:
        self.__qualname__ = call.function.key
        self._reanimation = reanimation

    def __call__(self) -> dict[str, Any]:
        with recorder.paused():
            return _told(self._reanimation.compared())


def _told(made: Reanimated) -> dict[str, Any]:
    """What came of it: data of JSON."""
    if made.error is not None:
        kind, text = type_name(made.error), in_words(made.error)
    elif isinstance(made.value, Placeholder):
        kind, text = made.value.type, made.value.text
    else:
        kind, text = type_name(made.value), text_of(made.value)
    return {
        "matches": made.matches,
        "changed": made.changed,
        "differences": [_cut(each) for each in made.differences],
        "now": {
            "type": _cut(kind),
            "text": _cut(text),
            "raised": made.error is not None,
            "duration": made.duration,
        },
        "traceback": "" if made.error is None else storable(_traceback(made.error))[-_LONG:],
    }


def _cut(text: str) -> str:
    short = storable(text)
    return short if len(short) <= _SHORT else short[: _SHORT - 1] + "…"


def _traceback(error: BaseException) -> str:
    """From the function on that was called."""
    place: TracebackType | None = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename.startswith(_OURS):
        place = place.tb_next
    return "".join(traceback.format_exception(type(error), error, place))
