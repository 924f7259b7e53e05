"""The program of `benchmarks.heat`: a task, under one of several tracers, and how long it took.

Run as `python heat_worker.py TRACER TASK FOLDER`; for slipcover, which runs programs by itself,
TRACER is `nothing`.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import Full, Queue
from types import FrameType
from typing import Any


def tiny(x: int) -> int:
    return x


def calls() -> None:
    """Four million calls of a tiny function."""
    for each in range(4_000_000):
        tiny(each)


def documents() -> None:
    """Markdown, over many files."""
    import markdown  # type: ignore[import-untyped,unused-ignore]

    for path in sorted(Path(sys.argv[3], "documents").glob("*.md")):
        markdown.markdown(path.read_text(), extensions=["extra", "toc"])


def trace_as_the_seed() -> None:
    """A trace function that puts the key of each call into a bounded queue."""
    queue: Queue[str] = Queue(65536)
    root = sys.argv[3]

    def trace(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if code.co_filename.startswith(root):
            try:
                queue.put_nowait(f"{frame.f_globals['__name__']}.{code.co_qualname}")
            except Full:
                queue.queue.clear()

    sys.settrace(trace)


def trace(tracer: str) -> None:
    """Begin."""
    kind, _, how = tracer.partition(" ")
    if kind == "heat":
        from snapshot.heat import tracing

        assert tracing.start(sys.argv[3], how)
    elif kind == "coverage":
        os.environ["COVERAGE_CORE"] = how
        coverage = importlib.import_module("coverage")
        coverage.Coverage(data_file=None, source=[sys.argv[3]]).start()
    elif kind == "seed":
        trace_as_the_seed()


def main() -> None:
    """Time the task, a second time too: tracers have to do more at the first."""
    tracer, task = sys.argv[1:3]
    sys.path.insert(0, sys.argv[3])
    trace(tracer)
    tasks: dict[str, Callable[[], None]] = {"calls": calls, "documents": documents}
    tasks[task]()
    begun = time.perf_counter()
    tasks[task]()
    print("took", time.perf_counter() - begun, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
