"""The debugger that goes backwards as well."""

from __future__ import annotations

from snapshot.debugger.backwards import Pdb, set_trace
from snapshot.debugger.decorator import rewindable
from snapshot.debugger.rewinding import rewind

__all__ = ["Pdb", "rewind", "rewindable", "set_trace"]
