"""The debugger that goes backwards as well."""

from __future__ import annotations

from snapshot.debugger.backwards import Pdb, set_trace

__all__ = ["Pdb", "set_trace"]
