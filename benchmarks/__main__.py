"""All benchmarks, one after the other: `python -m benchmarks`."""

from __future__ import annotations

import subprocess
import sys

_NAMES = ("fork", "guards", "files", "compact", "call", "collect", "load")


def _run(name: str) -> int:
    print(f"\n$ python -m benchmarks.{name}", flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(max([_run(name) for name in _NAMES]))
