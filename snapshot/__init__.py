"""Try anything on a long-running Python process, and be back where you were.

Everything public is resolved when it is first used, so that `import snapshot` costs little.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if not hasattr(os, "fork"):
    raise ImportError(
        f"snapshot needs os.fork, which {sys.platform} does not have: use Linux, macOS or WSL"
    )

if TYPE_CHECKING:
    from snapshot.core.disposable import fork_call
    from snapshot.core.executor import ForkExecutor
    from snapshot.core.guards import guard, on_snapshot, root_only
    from snapshot.core.memory import compact
    from snapshot.core.survey import survey
    from snapshot.core.tree import (
        changes,
        in_snapshot,
        is_root,
        keep,
        last_experiment,
        revert,
        snapshot,
        snapshots,
    )
    from snapshot.debugger import rewind, rewindable, set_trace

__version__ = "0.1.0"

_HOMES = {
    "ForkExecutor": "snapshot.core.executor",
    "changes": "snapshot.core.tree",
    "compact": "snapshot.core.memory",
    "fork_call": "snapshot.core.disposable",
    "guard": "snapshot.core.guards",
    "in_snapshot": "snapshot.core.tree",
    "is_root": "snapshot.core.tree",
    "keep": "snapshot.core.tree",
    "load_ipython_extension": "snapshot.repl.ipython",
    "last_experiment": "snapshot.core.tree",
    "on_snapshot": "snapshot.core.guards",
    "revert": "snapshot.core.tree",
    "rewind": "snapshot.debugger",
    "rewindable": "snapshot.debugger",
    "root_only": "snapshot.core.guards",
    "set_trace": "snapshot.debugger",
    "snapshot": "snapshot.core.tree",
    "snapshots": "snapshot.core.tree",
    "survey": "snapshot.core.survey",
    "unload_ipython_extension": "snapshot.repl.ipython",
}

__all__ = [
    "ForkExecutor",
    "changes",
    "compact",
    "fork_call",
    "guard",
    "in_snapshot",
    "is_root",
    "keep",
    "last_experiment",
    "on_snapshot",
    "revert",
    "rewind",
    "rewindable",
    "root_only",
    "set_trace",
    "snapshot",
    "snapshots",
    "survey",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
