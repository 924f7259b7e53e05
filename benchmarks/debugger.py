"""What the debugger costs: forwards, backwards, and in memory.

`python -m benchmarks.debugger`

Other debuggers that go back run beside it where there is one: SNAPSHOT_DEBUGGERS names the Pythons,
separated as in PATH, in which they are looked for.
"""

from __future__ import annotations

import contextlib
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
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

from benchmarks.harness import by_turns, check, compare, main, megabytes, milliseconds, show

_LINES = 200_000
_PROMPT = rb"\(Pdb (\d+)\) "
_ROUNDS = 9
_FEW = 5  # rounds with what takes long

# A loop of calls, of which each turn has five lines; it tells how long it took.
_PROGRAM = f"""
import time

def step(n, found):
    if n % 1000 == 0:
        found = n
    return found

def work(found=None):
    for n in range({_LINES} // 5):
        if n == 7:
            first = n
        found = step(n, found)
    return found

began = time.perf_counter()
work()
took = time.perf_counter() - began
print("took", took, flush=True)
"""

_LAST = len(_PROGRAM.splitlines())
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
    """A program under a debugger, by default `snapshot debug`, on a pty of its own."""

    def __init__(self, program: Path, *command: str, prompt: bytes = _PROMPT) -> None:
        command = (*(command or (sys.executable, "-m", "snapshot", "debug")), str(program))
        self._prompt = re.compile(prompt)
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
        children = psutil.Process(self.pid).children(recursive=True)
        os.kill(self.pid, signal.SIGTERM)
        os.close(self._fd)
        os.waitpid(self.pid, 0)
        for each in children:  # some debuggers leave theirs behind
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def _until_prompt(self) -> None:
        self.shown = b""
        while not self._prompt.search(self.shown):
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
        debugged.say(f"break {_LAST}")
        debugged.say("continue")
        yield debugged
    finally:
        debugged.close()


def _took(shown: bytes) -> float:
    found = re.search(rb"took ([\d.e-]+)", shown)
    assert found is not None, shown
    return float(found[1])


def _run(program: Path, python: str = sys.executable) -> float:
    return _took(subprocess.check_output([python, program]))


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
        for command, at_most in (("rnext", 2), ("rcontinue", 15), ("last work.__name__", 30)):
            ours, floor = by_turns(_ROUNDS, partial(_back, program, command), partial(_run, traced))
            compare(command, ours, floor, "a run with empty callbacks", at_most=at_most)


def _back(program: Path, command: str) -> float:
    with _at_the_end(program) as debugged:
        debugged.say("tbreak 12")  # which is hit near the beginning alone
        return debugged.say(command)


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


class _Debugger(NamedTuple):
    """One that goes back.

    module: by which it is known to be installed. words: after `python -m`. end: commands, in the
    course of which the program comes to its end. back: to the line before. far: back to a
    breakpoint, if it can. lines: of the program; fewer where it takes minutes.
    """

    module: str
    words: tuple[str, ...]
    prompt: bytes
    end: tuple[str, ...]
    back: str
    far: str | None = None
    lines: int = _LINES


_AS_PDB = (f"break {_LAST}", "continue", "next")
_OURS = _Debugger("snapshot", ("snapshot", "debug"), _PROMPT, _AS_PDB, "rnext", "rcontinue")
_PEERS = (
    _Debugger("dejaview", ("dejaview",), rb"\(Pdb\) ", _AS_PDB, "rnext", "rcontinue"),
    # The program has run when it asks first. It has no breakpoints.
    _Debugger("chronotrace", ("chronotrace.cli", "step"), rb"\(chrono\) ", ("g 400000",), "p"),
    # `break` raises there: "cannot pickle 'socket' object".
    _Debugger("epdblib", ("epdb",), rb"\(Epdb\) ", 7 * ("next",), "rnext", lines=_LINES // 10),
)


def peers() -> None:
    """The same as others do it, if they are there."""
    pythons = [each for each in os.environ.get("SNAPSHOT_DEBUGGERS", "").split(os.pathsep) if each]
    for peer in _PEERS:
        python = next((each for each in pythons if _has(each, peer.module)), None)
        if python is None:
            show(peer.module, "not installed in a Python of SNAPSHOT_DEBUGGERS")
            continue
        ours = _OURS._replace(lines=peer.lines, far=peer.far)
        rounds = [(_figures(ours, sys.executable), _figures(peer, python)) for _ in range(_FEW)]
        for what in rounds[0][1]:
            here = median(each[what] for each, _ in rounds)
            there = median(each[what] for _, each in rounds)
            figure = f"{milliseconds(here)}, {peer.module} {milliseconds(there)}"
            show(what, f"{figure}, {there / here:,.2f} times as long")


def _has(python: str, module: str) -> bool:
    found = f"import importlib.util; raise SystemExit(not importlib.util.find_spec({module!r}))"
    return subprocess.run([python, "-c", found], check=False).returncode == 0


def _figures(debugger: _Debugger, python: str) -> dict[str, float]:
    """Seconds that each of the things takes which the debugger can do."""
    with _program(_PROGRAM.replace(str(_LINES), str(debugger.lines))) as program:
        bare = _run(program, python)
        command = (python, "-m", *debugger.words)
        debugged = Debugged(program, *command, prompt=debugger.prompt)
        try:
            shown = debugged.shown
            for each in debugger.end:
                debugged.say(each)
                shown += debugged.shown
            figures = {"forward: a thousand lines": (_took(shown) - bare) / debugger.lines * 1000}
            debugged.say(debugger.back)  # from the end to the last line
            figures["one line back"] = debugged.say(debugger.back)
            if debugger.far is not None:
                debugged.say("tbreak 12")
                figures["back to a breakpoint"] = debugged.say(debugger.far)
            return figures
        finally:
            debugged.close()


if __name__ == "__main__":
    cases = {"forward": forward, "backward": backward, "memory": memory, "peers": peers}
    raise SystemExit(main("benchmarks.debugger", cases))
