"""The boundary of a program: what the world gives it is remembered, and given again."""

from __future__ import annotations

from snapshot.debugger.world.boundary import RepeatError
from snapshot.debugger.world.world import World

__all__ = ["RepeatError", "World"]
