"""keep(): the experiment becomes the original, and what waited relays to it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.processes import Program, Result, children_of, wait_gone
from tests.terminal import Terminal

Run = Callable[..., Result]
Start = Callable[..., Program]

KEPT = """
import atexit, os, signal, sys, tempfile, time, weakref
from snapshot import is_root, keep, revert, snapshot, snapshots

class Thing: pass

ballast = bytearray(100_000_000)
thing = Thing()
weakref.finalize(thing, print, "finalized once")
atexit.register(print, "atexit of the original")
directory = tempfile.TemporaryDirectory()
file = tempfile.NamedTemporaryFile()
signal.signal(signal.SIGUSR1, lambda *_: print("got SIGUSR1", flush=True))
with tempfile.TemporaryDirectory() as unwound:
    if snapshot("a"):
        inside = snapshot("b")
        if not inside:
            print("never")
            sys.exit()
    else:
        print("never")
        sys.exit()
print(os.path.isdir(unwound), end=" ")
keep()
print(os.path.isdir(unwound), os.path.isdir(directory.name), os.path.exists(file.name), end=" ")
print(is_root(), len(snapshots()), flush=True)
if snapshot("again"):
    revert()
"""


SLEEPING = KEPT + "print('kept', flush=True)\ntime.sleep(1000)\n"


@pytest.mark.parametrize(
    ("ending", "code", "killed_by"),
    [
        ("sys.exit(7)", 7, None),
        ("os.kill(os.getpid(), signal.SIGTERM)", None, signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGSEGV)", None, signal.SIGSEGV),
    ],
)
def test_the_relay_ends_as_the_kept_process(
    python: Run, tmp_path: Path, ending: str, code: int | None, killed_by: int | None
) -> None:
    result = python(KEPT + ending, env={"TMPDIR": str(tmp_path)})
    assert (result.code, result.signal) == (code, killed_by), result
    out = result.stdout.splitlines()
    assert out[0] == "True False True True True 0"
    if code is not None:
        assert sorted(out[1:]) == ["atexit of the original", "finalized once"]
    assert "snapshot: kept; process " in result.stderr
    assert "back at 0 'again'" in result.stderr


def test_bytes_through_a_pipe(python: Run) -> None:
    result = python(KEPT + "print('x' * 100_000)", via_shell="{} | cat")
    assert result.code == 0
    assert "x" * 100_000 in result.stdout


def test_signals_reach_the_kept_process(start: Start, tmp_path: Path) -> None:
    program = start(SLEEPING, env={"TMPDIR": str(tmp_path)})
    program.wait_for("kept")
    relays = [psutil.Process(program.pid), *children_of(program.pid)]
    assert all(relay.memory_info().rss < 30_000_000 for relay in relays)
    os.kill(program.pid, signal.SIGUSR1)
    program.wait_for("got SIGUSR1")
    os.kill(program.pid, signal.SIGTERM)
    assert program.finish().signal == signal.SIGTERM


def test_killing_the_relay_kills_the_kept_process(start: Start, tmp_path: Path) -> None:
    program = start(SLEEPING, env={"TMPDIR": str(tmp_path)})
    program.wait_for("kept")
    line = children_of(program.pid, recursive=True)
    assert len(line) == 2
    os.kill(program.pid, signal.SIGKILL)
    wait_gone(line)


def test_on_a_terminal(terminal: Terminal) -> None:
    terminal.python(
        """
        import time
        from snapshot import keep, snapshot
        if snapshot():
            keep()
            for n in range(2):
                try:
                    print("asleep", n, flush=True)
                    while True:
                        time.sleep(0.01)
                except KeyboardInterrupt:
                    print("interrupted", n, flush=True)
            print("got", input("ready? "))
        """
    )
    for n in range(2):
        terminal.wait_for(f"asleep {n}")
        terminal.type("\x03")
        terminal.wait_for(f"interrupted {n}")
    terminal.wait_for("ready? ")
    terminal.suspend()
    terminal.resume()
    terminal.line("hello")
    terminal.wait_for("got hello")
    terminal.prompt()
    assert terminal.run("echo $?") == "0"
    terminal.vacated()


def test_what_the_original_held_is_the_kept_ones(python: Run) -> None:
    result = python(
        """
        import fcntl, logging, logging.handlers, mmap, os, subprocess
        from concurrent.futures import ThreadPoolExecutor
        import numpy
        from snapshot import keep, snapshot
        from snapshot.errors import RootOnly

        with open("mapped", "wb") as made:
            made.write(b"original" * 1000)
        file = open("mapped", "r+b")
        mapping = mmap.mmap(file.fileno(), 0)
        array = numpy.memmap("array", dtype="i8", mode="w+", shape=(1000,))
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        sleeper = subprocess.Popen(["sleep", "1000"])
        memory = logging.handlers.MemoryHandler(100, target=logging.FileHandler("log"))
        memory.emit(logging.makeLogRecord({"msg": "before", "levelno": 20}))
        pool = ThreadPoolExecutor(2)
        pool.submit(abs, -1).result()
        lock = open("lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if snapshot():
            mapping[:8] = b"changed!"
            array[:] = 7
            assert open("mapped", "rb").read(8) == b"original"
            keep()
            mapping[8:16] = b"and more"
            print(open("mapped", "rb").read(16), numpy.fromfile("array", dtype="i8").sum())
            print("asked", file=cat.stdin, flush=True)
            print(cat.poll(), cat.stdout.readline(), end="")
            sleeper.terminate()
            for each in (sleeper, cat):
                try:
                    if each is cat:
                        cat.stdin.close()
                    each.wait(30)
                except RootOnly as error:
                    print("has ended" in str(error))
            memory.close()
            print(open("log").read(), end="")
            print(pool.submit(abs, -3).result())
            pool.shutdown()
            fcntl.flock(lock, fcntl.LOCK_UN)
            fcntl.flock(open("lock"), fcntl.LOCK_EX | fcntl.LOCK_NB)
            cat.stdout.close()
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout.splitlines() == [
        "b'changed!and more' 7000",
        "None asked",
        "True",
        "True",
        "before",
        "3",
    ], result
    assert result.code == 0, result
