"""What objects lead to, as the garbage collector sees it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType

_SEARCHED = 50_000  # objects that are looked at


def reached(
    roots: Iterable[object], enter: Callable[[object], bool] = lambda _: True
) -> Iterator[object]:
    """The objects and what they hold, the nearest first; modules are not looked into.

    enter: whether to look into an object.
    """
    modules = {id(vars(each)) for each in [*sys.modules.values()] if isinstance(each, ModuleType)}
    waiting = [*roots]
    seen = {id(each) for each in waiting}
    for each in waiting:
        yield each
        if isinstance(each, ModuleType) or not enter(each):
            continue
        for part in gc.get_referents(each):
            if len(seen) >= _SEARCHED:
                break
            if id(part) not in seen and id(part) not in modules:
                seen.add(id(part))
                waiting.append(part)
