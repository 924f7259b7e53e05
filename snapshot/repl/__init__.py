"""The REPL: a program is run as `__main__`, then looked at from a prompt that knows snapshots."""

from __future__ import annotations

from snapshot.repl.failure import Frame, Frames, frames

__all__ = ["Frame", "Frames", "frames"]
