"""Tools of `sys.monitoring`, which came with Python 3.12: those that nobody has taken."""

from __future__ import annotations

import sys
from typing import Any

from snapshot.errors import UsageError

_TOOLS = (3, 4, 5)  # 0, 1 and 2 are those of debuggers, coverage and profilers


def take_tool(name: str) -> int:
    """The id of one that is taken under this name now. Raises `UsageError`."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    for each in _TOOLS:
        if monitoring.get_tool(each) is None:
            monitoring.use_tool_id(each, name)
            return each
    holders = ", ".join(f"{each} by {monitoring.get_tool(each)}" for each in _TOOLS)
    raise UsageError(f"no tool id of sys.monitoring is free: {holders}; stop one of them")
