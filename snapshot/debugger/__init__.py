"""The debugger: pdb, opened in an experiment."""

from __future__ import annotations

from snapshot.debugger.prompt import Debugger, set_trace

__all__ = ["Debugger", "set_trace"]
