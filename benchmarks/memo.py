"""Kept results, against a bare lookup and against peers: `python -m benchmarks.memo`.

Each library runs in a process, and the peers in environments of their own; they take turns.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import IO

from benchmarks.harness import (
    by_turns,
    check_time,
    compare,
    main,
    milliseconds,
    python_with,
    show,
)

_WORKER = str(Path(__file__).with_name("memo_worker.py"))
_MORE = ("numpy", "pandas")
_PEERS = {
    **{each: (each, *_MORE) for each in ("diskcache", "joblib", "checkpointer", "cachier")},
    # It does not say that it needs the others.
    "charmonium.cache": (
        *("charmonium.cache==1.4.1", "charmonium.freeze==0.8.5", "typing_extensions"),
        *("fsspec", *_MORE),
    ),
}
_ROUNDS = 7


class _Library:
    """One that keeps results in a folder, in a process of its own."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        self.name, self._folder = name, folder
        self._command = [python, _WORKER, name, str(folder)]
        self._environment = {**os.environ, "PYTHONPATH": os.getcwd() if name == "snapshot" else ""}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment,
            cwd=folder,
        )

    def is_ready(self) -> bool:
        """Whether it is there to be asked; a line, where it is not."""
        answer = self._answer()
        if answer != "ready":
            show(self.name, answer)
        return answer == "ready"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.split()[:1] in (["took"], ["ready"], ["failed"]):
                return line.strip()
        return "failed: it has ended"

    def seconds(self, case: str) -> float | None:
        """Of a call; None where it cannot do that."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{case}\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer.startswith("took"):
            return float(answer.split()[1])
        show(f"{self.name}: {case}", answer)
        return None

    def first(self) -> float | None:
        """Of the first hit in a new process, beyond the import."""
        done = subprocess.run(
            [*self._command, "first"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
            env=self._environment,
            cwd=self._folder,
        )
        told = [each for each in done.stdout.splitlines() if each.startswith("took")]
        return float(told[0].split()[1]) if told else None

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


@contextlib.contextmanager
def _libraries() -> Iterator[list[_Library]]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        found = []
        for name in ("floor", "snapshot", *_PEERS):
            ours = name not in _PEERS
            python = sys.executable if ours else python_with(*_PEERS[name])
            if python is not None:
                place = Path(folder, name)
                place.mkdir()
                library = _Library(name, python, place)
                stack.callback(library.close)
                if library.is_ready():
                    found.append(library)
        yield found


def _medians(libraries: list[_Library], case: str) -> dict[str, float]:
    """They take turns; one that is much slower than the rest has fewer."""
    times: dict[str, list[float]] = {each.name: [] for each in libraries}
    waiting = [*libraries]
    for _ in range(_ROUNDS):
        for each in [*waiting]:
            took = each.first() if case == "first" else each.seconds(case)
            if took is not None:
                times[each.name].append(took)
            if took is None or (len(times[each.name]) == 3 and took > 0.5):
                waiting.remove(each)
    return {name: median(several) for name, several in times.items() if several}


_CASES = {
    "int": "hit, int argument",
    "dict": "hit, dict of 10⁴",
    "array": "hit, 100 MB array argument",
    "frame": "hit, data frame of 10⁶ by 5",
    "miss": "miss, and stored, int",
    "result": "hit, 100 MB result",
    "first": "first hit in a new process",
}
_AT_MOST = {
    "dict": 2e-3,
    "array": 10e-3,
    "frame": 5e-3,
    "miss": 400e-6,
    "result": 10e-3,
    "first": 5e-3,
}


def hits() -> None:
    """Each case, of each library."""
    with _libraries() as libraries:
        for case, what in _CASES.items():
            found = _medians(libraries, case)
            floor, ours = found.pop("floor"), found.pop("snapshot")
            peers = ", ".join(f"{name} {_time(took)}" for name, took in found.items())
            if case == "int":
                ratio = ours / floor
                verdict = "met" if ratio <= 5 else "missed"
                fastest = "faster" if ours < min(found.values(), default=ours + 1) else "slower"
                show(what, f"{_time(ours)}, ratio to the floor {ratio:.2f} (at most 5: {verdict})")
                show("", f"{fastest} than every peer: {peers}")
                continue
            check_time(what, ours, _AT_MOST[case])
            show("", f"floor {_time(floor)}, ratio {ours / floor:.2f}; {peers}")


_WAITS = {
    "bare": """
import fcntl
with open("lock", "a") as file:
    print("asks", flush=True)
    fcntl.lockf(file, fcntl.LOCK_EX)
    print(time.monotonic(), flush=True)
    time.sleep(60)
""",
    "kept": """
from snapshot.memo import memoize
@memoize
def slow():
    print(time.monotonic(), flush=True)
    time.sleep(60)
print("asks", flush=True)
slow()
""",
}


def takeover() -> None:
    """Who waits for a process that is killed, and runs the function in its place."""
    with tempfile.TemporaryDirectory() as folder:
        ours, bare = by_turns(
            _ROUNDS, *(lambda way=way: _taken_over(folder, way) for way in ("kept", "bare"))
        )
    compare("takeover where the runner is killed", ours, bare, "bare lock of a file")
    check_time("takeover where the runner is killed", ours, 1.0)


def _taken_over(folder: str, way: str) -> float:
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "SNAPSHOT_STORE": f"{folder}/store.db"}
    with contextlib.ExitStack() as stack:
        outputs: list[IO[str]] = []
        for _ in range(2):
            process = subprocess.Popen(
                [sys.executable, "-c", "import time\n" + _WAITS[way]],
                stdout=subprocess.PIPE,
                text=True,
                cwd=folder,
                env=environment,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "asks\n"
            if not outputs:
                process.stdout.readline()  # it has begun
                runner = process
            outputs.append(process.stdout)
        time.sleep(0.2)  # until the other one waits
        killed = time.monotonic()
        runner.kill()
        return float(outputs[1].readline()) - killed


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} µs" if seconds < 1e-3 else milliseconds(seconds)


if __name__ == "__main__":
    raise SystemExit(main("benchmarks.memo", {"hits": hits, "takeover": takeover}))
