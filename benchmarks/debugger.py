"""What the debugger costs: forwards, backwards, and in memory.

`python -m benchmarks.debugger`
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import psutil

from benchmarks.harness import by_turns, check, compare, main, megabytes, show

_LINES = 200_000
_PROMPT = re.compile(rb"\(Pdb (\d+)\) ")
_ROUNDS = 9

# A loop of calls, of which each turn has five lines; it tells how long it took.
_PROGRAM = f"""
import time

def step(n, found):
    if n % 1000 == 0:
        found = n
    return found

def work(found=None):
    for n in range({_LINES // 5}):
        if n == 7:
            first = n
        found = step(n, found)
    return found

began = time.perf_counter()
work()
took = time.perf_counter() - began
print("took", took, flush=True)
"""

_TRACED = f"""
import sys

def nothing(*_): pass

if sys.version_info >= (3, 12):
    events = sys.monitoring.events
    sys.monitoring.use_tool_id(0, "floor")
    sys.monitoring.register_callback(0, events.LINE, nothing)
    sys.monitoring.set_events(0, events.LINE)
else:
    def traced(*_): return traced
    sys.settrace(traced)
{_PROGRAM}
"""


class Debugged:
    """A program under `snapshot debug`, on a pty of its own."""

    def __init__(self, program: Path) -> None:
        command = [sys.executable, "-m", "snapshot", "debug", str(program)]
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.closerange(3, 1024)  # what whoever runs this has left open
            os.environ["TERM"] = "dumb"
            os.execv(command[0], command)
        self._until_prompt()

    def say(self, command: str) -> float:
        """Give a command; seconds until the next prompt. `shown` is what came meanwhile."""
        begun = time.perf_counter()
        os.write(self._fd, f"{command}\n".encode())
        self._until_prompt()
        return time.perf_counter() - begun

    def memory(self) -> int:
        """Bytes that all its processes hold, what they share counted once."""
        one = psutil.Process(self.pid)
        return sum(each.memory_full_info().pss for each in [one, *one.children(recursive=True)])

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        os.close(self._fd)
        os.waitpid(self.pid, 0)

    def _until_prompt(self) -> None:
        self.shown = b""
        while not _PROMPT.search(self.shown):
            if not select.select([self._fd], [], [], 60)[0]:
                raise SystemExit(f"no prompt after {self.shown!r}")
            self.shown += os.read(self._fd, 1 << 16)


@contextmanager
def _program(source: str = _PROGRAM) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "loop.py")
        path.write_text(source)
        yield path


@contextmanager
def _at_the_end(program: Path) -> Iterator[Debugged]:
    """It has run to its last line."""
    debugged = Debugged(program)
    try:
        debugged.say(f"break {len(_PROGRAM.splitlines())}")
        debugged.say("continue")
        yield debugged
    finally:
        debugged.close()


def _took(shown: bytes) -> float:
    found = re.search(rb"took ([\d.e-]+)", shown)
    assert found is not None, shown
    return float(found[1])


def _run(program: Path) -> float:
    return _took(subprocess.check_output([sys.executable, program]))


def _debugged(program: Path) -> float:
    with _at_the_end(program) as debugged:
        debugged.say("next")
        return _took(debugged.shown)


def forward() -> None:
    """The program runs on, and its past is kept."""
    with _program() as program, _program(_TRACED) as traced:
        bare, floor, ours = by_turns(
            _ROUNDS, lambda: _run(program), lambda: _run(traced), lambda: _debugged(program)
        )
    callback = (floor - bare) / _LINES
    show("one empty callback", f"{1e6 * callback:.3f} µs a line")
    ours = 1000 * (ours - bare) / _LINES
    compare("a thousand lines", ours, 1000 * callback, "empty callbacks", at_most=5)


def backward() -> None:
    """Back to the line before, to a breakpoint, and to the last change of a value."""
    with _program() as program, _program(_TRACED) as traced:
        floor = median(_run(traced) for _ in range(_ROUNDS))
        for command, at_most in (("rnext", 2), ("rcontinue", 15), ("last work.__name__", 30)):
            times = []
            for _ in range(_ROUNDS):
                with _at_the_end(program) as debugged:
                    debugged.say("tbreak 12")  # which is hit near the beginning alone
                    times.append(debugged.say(command))
            compare(command, median(times), floor, "a run with empty callbacks", at_most=at_most)


def memory() -> None:
    """Ten states of a program that holds 100 MB."""
    source = "data = [[n] for n in range(1_000_000)]\n" + "n = 1\n" * 20
    with _program(source + "input()\n") as program:
        bare = subprocess.Popen([sys.executable, program], stdin=subprocess.PIPE)
        while psutil.Process(bare.pid).status() != psutil.STATUS_SLEEPING:
            time.sleep(0.1)
        held = psutil.Process(bare.pid).memory_full_info().pss
        bare.communicate(b"\n")
        debugged = Debugged(program)
        for _ in range(12):
            debugged.say("next")
        ours = debugged.memory()
        debugged.close()
    show("memory of the program alone", megabytes(held))
    check("memory with ten states", ours, int(1.5 * held))


if __name__ == "__main__":
    cases = {"forward": forward, "backward": backward, "memory": memory}
    raise SystemExit(main("benchmarks.debugger", cases))
