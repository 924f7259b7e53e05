"""What goes along to another moment: all that the user has told the debugger."""

from __future__ import annotations

from types import FrameType
from typing import Any

from snapshot.debugger import session
from snapshot.debugger.differing import ABSENT, content
from snapshot.debugger.searching import depth_of
from snapshot.debugger.stepping import Stepping


class Carrying(Stepping):
    """A pdb of which that can be taken, and given to that of another moment.

    shown: what is displayed: depth and name of the frame, the expression, and its value as text.
    """

    stands: int  # the place in the stack of the frame that is looked at first
    displaying: dict[FrameType | None, dict[str, Any]]  # which typeshed does not know

    def __init__(self, **options: Any) -> None:
        self.shown: list[tuple[int, str, str, str]] = []
        super().__init__(**options)
        self._arrives = False  # whether the next prompt is that of another moment

    def carry(self) -> bytes:
        """See `engine.Prompt`."""
        self._note_displays()
        return session.of(self)

    def forget(self) -> None:
        """As pdb's own; what is displayed is not known by its frame, which would live on."""
        self._note_displays()
        self.displaying.clear()
        super().forget()

    def _note_displays(self) -> None:
        here = {self._known_by(frame) for frame, _ in vars(self).get("stack", [])}
        others = [each for each in self.shown if each[:2] not in here]
        self.shown = others + [
            (*self._known_by(frame), expression, repr(value))
            for frame, displays in self.displaying.items()
            if frame is not None
            for expression, value in displays.items()
        ]

    def _known_by(self, frame: FrameType) -> tuple[int, str]:
        return depth_of(frame, self.botframe), frame.f_code.co_qualname

    def _getval_except(self, *args: Any, **options: Any) -> Any:
        """As pdb's own, of what is displayed; comparing and showing it raises nothing."""
        return _Displayed(super()._getval_except(*args, **options))

    def setup(self, f: FrameType | None, tb: Any) -> Any:
        """As pdb's own; what is displayed in a frame is displayed in that of any moment."""
        done = super().setup(f, tb)
        self.stands = self.curindex
        self._display_again()
        if self._arrives:
            self._watch_again()
        return done

    def take(self, carried: bytes) -> None:
        """See `engine.Prompt`."""
        session.put(self, carried)
        if vars(self).get("curframe") is None:
            self._arrives = True
            return
        for frame, _ in self.stack:  # it stands at its prompt, and displays what it did then
            self.displaying.pop(frame, None)
        self._display_again()

    def _look_at(self, place: int) -> None:
        """At a prompt that somebody has come back to."""
        super()._look_at(place)
        self._watch_again()
        show = getattr(self, "_show_display", super().preloop)  # which is Python 3.13's name of it
        show()

    def _display_again(self) -> None:
        for frame, _ in self.stack:
            here = self._known_by(frame)
            for depth, name, expression, old in self.shown:
                if (depth, name) == here:
                    self.displaying.setdefault(frame, {})[expression] = _Old(old)

    def _watch_again(self) -> None:
        """What comes is compared with the values that are here, and not with those of a moment
        that may be later: the values of the innermost frame that has them."""
        self._arrives = False
        for expression in self.watches:
            self.watches[expression] = content(self._seen(expression))

    def _seen(self, expression: str) -> Any:
        for frame, _ in reversed(self.stack):
            try:
                return eval(expression, frame.f_globals, frame.f_locals)
            except Exception:
                continue
        return ABSENT


class _Displayed:
    """A value, whatever its class makes of `==` and `repr`."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Displayed):
            try:
                return self._value is other._value or bool(self._value == other._value)
            except Exception:  # an array, for instance, is equal here and there
                return repr(self) == repr(other)
        return bool(other == self._value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        try:
            return repr(self._value)
        except Exception as error:
            return f"*** repr failed: {type(error).__name__} ***"


class _Old:
    """A value that was displayed at another moment: equal to what looks the same."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __eq__(self, other: object) -> bool:
        return repr(_Displayed(other)) == self._text

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return self._text
