"""What an entry of the table of hosts can do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

Tell = Callable[[Any], None]


class Host:
    """An entry that does nothing; `module` is the one that must be loaded."""

    module = ""
    # Beginnings of the names of threads that the host makes again itself: their loss is no loss.
    threads: tuple[str, ...] = ()
    # Whether it lets an experiment end before the program does; a state of a timeline does not.
    ends = False

    def hangs(self) -> str | None:
        return None

    def before(self) -> Any:
        return None

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        pass

    def go_on(self, memo: Any) -> None:
        pass

    def at_end(self, memo: Any, tell: Tell) -> None:
        pass

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        pass

    def keep(self, memo: Any) -> None:
        pass


def callers() -> Iterator[FrameType]:
    """The frames from the one that asks on, outwards."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
