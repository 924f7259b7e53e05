"""What tracing costs, beside other tracers: `python -m benchmarks.heat`.

The tasks are calls of a tiny function, and markdown over many files. Each run is a process of its
own; the tracers take turns.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.harness import compare, main, python_with, show

_WORKER = Path(__file__).with_name("heat_worker.py")
_ROUNDS = 5
_LINES = 60  # of a document
_MONITORS = sys.version_info >= (3, 12)
_OLD = {"calls": 4.0, "documents": 2.0}  # on Python 3.11
_COUNTS = {"calls": 5.0, "documents": 3.0}
_PACKAGES = ("coverage", "slipcover", "markdown==3.7", "xxhash", "cloudpickle", "psutil")
_TASKS = {
    "calls": "calls of a tiny function",
    "documents": "markdown over 1,000 files",
}


def _tracers(task: str) -> dict[str, float | None]:
    """Each with its bound."""
    light = 1.05 if _MONITORS else _OLD[task]
    ours = {"heat once": light, "heat activity": light}
    ours["heat counts"] = _COUNTS[task] if _MONITORS else _OLD[task]
    peers = ["coverage ctrace", "slipcover", "seed"]
    return {**ours, **dict.fromkeys(["coverage sysmon"] * _MONITORS + peers)}


def _folder(folder: Path, packages: Path) -> Path:
    """An application that has the worker, markdown and documents in it."""
    (folder / "snapshot.rootmarker").touch()
    shutil.copy(_WORKER, folder)
    shutil.copytree(packages / "markdown", folder / "markdown")
    (folder / "documents").mkdir()
    text = (Path(__file__).parent.parent / "README.md").read_text().splitlines()
    for number in range(1000):
        begin = number * 5 % (len(text) - _LINES)
        part = text[begin : begin + _LINES]
        (folder / "documents" / f"{number}.md").write_text("\n".join(part))
    return folder


def _seconds(python: str, tracer: str, task: str, folder: Path) -> float | None:
    worker = str(folder / _WORKER.name)
    words = [worker, tracer, task, str(folder)]
    if tracer == "slipcover":
        out = str(folder / "slipcover.json")
        words = ["-m", "slipcover", "--source", str(folder), "--out", out, worker, "nothing"]
        words += [task, str(folder)]
    done = subprocess.run(
        [python, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        cwd=folder,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("took")]
    return float(told[0].split()[1]) if told else None


def tasks() -> None:
    """Each task, under each tracer."""
    python = python_with(*_PACKAGES)
    if python is None:
        return
    found = "import markdown, os; print(os.path.dirname(os.path.dirname(markdown.__file__)))"
    packages = subprocess.run([python, "-c", found], capture_output=True, text=True, check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(Path(name), Path(packages.stdout.strip()))
        for task, what in _TASKS.items():
            _compare(python, task, what, folder)


def _compare(python: str, task: str, what: str, folder: Path) -> None:
    tracers = _tracers(task)
    times: dict[str, list[float]] = {each: [] for each in ("nothing", *tracers)}
    for _ in range(_ROUNDS):
        for tracer, several in times.items():
            took = _seconds(python, tracer, task, folder)
            if took is not None:
                several.append(took)
    for tracer, bound in tracers.items():
        label = f"{what}, {tracer}"
        if times[tracer]:
            compare(label, median(times[tracer]), median(times["nothing"]), "untraced", bound)
        else:
            show(label, "does not run")


if __name__ == "__main__":
    sys.exit(main("benchmarks.heat", {"tasks": tasks}))
