"""Functions by patterns for their names, `package.*`, `module`, `module:Class.*`."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from types import CodeType, FrameType

from snapshot.errors import UsageError
from snapshot.store import functions

_OURS = "snapshot"
_OPTIMIZED = 0x1  # a flag of code that is neither a module's nor a class's


def patterns(name: str, given: str | Iterable[str]) -> tuple[str, ...]:
    """What was given as one or several. Raises `UsageError` if it means nothing."""
    found = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(each, str) and each for each in found):
        raise UsageError(f"{name}={given!r}: give names of functions, as in {name}='package.*'")
    return found


class Names:
    """Those that are included, and not excluded."""

    def __init__(self, included: tuple[str, ...], excluded: tuple[str, ...]) -> None:
        self.included = included
        self._excluded = excluded

    def __contains__(self, frame: FrameType) -> bool:
        """Whether a frame is that of a function of these names."""
        code = frame.f_code
        if not code.co_flags & _OPTIMIZED:
            return False
        if code.co_name.startswith("<") and code.co_name != "<lambda>":
            return False
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] == _OURS:
            return False
        names = _names(code, module)
        return not _match(self._excluded, names) and bool(_match(self.included, names))

    def which(self, frame: FrameType) -> list[str]:
        """Of the patterns of those that are included, all that a frame's function is found by."""
        return _match(self.included, _names(frame.f_code, str(frame.f_globals.get("__name__"))))


def _names(code: CodeType, module: str) -> tuple[str, ...]:
    return module, f"{module}.{code.co_qualname}", functions.key_of(code, module)


def _match(patterns: tuple[str, ...], names: tuple[str, ...]) -> list[str]:
    return [
        each
        for each in patterns
        if names[0].startswith(f"{each}.") or any(fnmatchcase(name, each) for name in names)
    ]
