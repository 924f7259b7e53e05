"""All benchmarks, one after the other: `python -m benchmarks`, or those that are named.

`python -m benchmarks timeline` runs what concerns the timeline, `checkouts` must be named.
"""

from __future__ import annotations

import subprocess
import sys

_NAMES = (
    *("fork", "guards", "files", "compact", "call", "collect", "load", "timeline", "prompts"),
    "replay",
    "memo",
    "heat",
    "web",
    "debugger",
    "testing",
    "rewindable",
)
_TOGETHER = {"timeline": ("timeline", "prompts", "checkouts")}


def _run(name: str) -> int:
    print(f"\n$ python -m benchmarks.{name}", flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode


def _chosen(names: list[str]) -> list[str]:
    return [each for name in names for each in _TOGETHER.get(name, (name,))] or list(_NAMES)


if __name__ == "__main__":
    raise SystemExit(max([_run(name) for name in _chosen(sys.argv[1:])]))
