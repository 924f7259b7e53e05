"""A statement that is tried out in a disposable fork: its value, and what it has changed there."""

from __future__ import annotations

import sys
import traceback
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from snapshot.debugger.differing import content, difference, shown

_MOST = 20  # changes that are told one by one


def trial(code: CodeType, frame: FrameType) -> list[str]:
    """Run code, compiled as "single", among the names of a frame; a line for each thing to tell."""
    local = dict(frame.f_locals) if frame.f_locals is not frame.f_globals else frame.f_globals
    before = _contents(frame.f_globals, local)
    lines: list[str] = []
    hook, sys.displayhook = sys.displayhook, lambda value: _value(value, lines)
    try:
        exec(code, frame.f_globals, local)
    except BaseException as error:
        lines.append(f"*** {traceback.format_exception_only(error)[-1].strip()}")
    finally:
        sys.displayhook = hook
    after = _contents(frame.f_globals, local)
    absent = "absent", None
    changed = [each for each in {**before, **after} if before.get(each) != after.get(each)]
    for name in changed[:_MOST]:
        old, new = before.get(name, absent), after.get(name, absent)
        lines.append(f"would change {difference(name, old, new)}")
    if len(changed) > _MOST:
        lines.append(f"would change {len(changed) - _MOST} more names")
    return lines or ["would change nothing"]


def _value(value: Any, lines: list[str]) -> None:
    if value is not None:
        lines.append(shown(content(value)))


def _contents(*namespaces: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    return {
        name: content(value)
        for namespace in namespaces
        for name, value in list(namespace.items())
        if not name.startswith("__") and not isinstance(value, ModuleType | FunctionType | type)
    }
