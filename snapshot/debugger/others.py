"""Other threads of the program: what they do is not repeated with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

_STARTS = {"_thread.start_new_thread", "_thread.start_joinable_thread"}


def watch(starts: Callable[[str], None]) -> None:
    """From now on `starts` is called with the name of each thread that is about to be started; in
    forks of this process, too."""

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _STARTS:
            starts(_name_of(arguments[0]))

    sys.addaudithook(heard)


def _name_of(function: Any) -> str:
    thread = getattr(function, "__self__", None)
    return str(getattr(thread, "name", None) or getattr(function, "__qualname__", function))
