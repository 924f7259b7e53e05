"""What goes along to another moment: all that the user has told the debugger."""

from __future__ import annotations

from types import FrameType
from typing import Any

from snapshot.debugger import session
from snapshot.debugger.searching import depth_of
from snapshot.debugger.stepping import Stepping


class Carrying(Stepping):
    """A pdb of which that can be taken, and given to that of another moment.

    shown: what is displayed: depth and name of the frame, the expression, and its value as text.
    """

    stands: int  # the place in the stack of the frame that is looked at first
    displaying: dict[FrameType | None, dict[str, Any]]  # which typeshed does not know

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.shown: list[tuple[int, str, str, str]] = []

    def carry(self) -> bytes:
        """See `engine.Prompt`."""
        self.shown = [
            (depth_of(frame, self.botframe), frame.f_code.co_qualname, expression, repr(value))
            for frame, displays in self.displaying.items()
            if frame is not None
            for expression, value in displays.items()
        ]
        return session.of(self)

    def setup(self, f: FrameType | None, tb: Any) -> Any:
        """As pdb's own; what is displayed in a frame is displayed in that of any moment."""
        done = super().setup(f, tb)
        self.stands = self.curindex
        for frame, _ in self.stack:
            here = depth_of(frame, self.botframe), frame.f_code.co_qualname
            for depth, name, expression, old in self.shown:
                if (depth, name) == here:
                    self.displaying.setdefault(frame, {})[expression] = _Old(old)
        return done

    def take(self, carried: bytes) -> None:
        """See `engine.Prompt`."""
        session.put(self, carried)


class _Old:
    """A value that was displayed at another moment: equal to what looks the same."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __eq__(self, other: object) -> bool:
        try:
            return repr(other) == self._text
        except Exception:
            return False

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._text
