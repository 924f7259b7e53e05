"""Who dies with whom, who gets which signal, and who stands still meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.processes import Program, Result, children_of, wait_gone
from tests.terminal import Terminal

Run = Callable[..., Result]
Start = Callable[..., Program]

NESTED = """
import sys, threading, time
from snapshot import snapshot

def nest():
    for _ in range(5):
        snapshot(threads=sys.argv[2])
    print("ready", flush=True)
    time.sleep(1000)

if sys.argv[1] == "main":
    nest()
else:
    thread = threading.Thread(target=nest)
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("threads", ["freeze", "run"])
@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_the_whole_line_dies_with_the_original(
    start: Start, where: str, threads: str, number: signal.Signals
) -> None:
    program = start(NESTED, where, threads)
    program.wait_for("ready")
    line = children_of(program.pid, recursive=True)
    assert len(line) == 5
    os.kill(program.pid, number)
    wait_gone([program.pid, *line], timeout=5)
    assert program.finish().signal == number


def test_the_shell_has_its_terminal_back_when_all_are_killed(terminal: Terminal) -> None:
    modes = terminal.run("stty -a")
    terminal.python(NESTED, "main", "freeze")
    terminal.wait_for("ready")
    os.kill(terminal.foreground(), signal.SIGKILL)
    terminal.prompt()
    terminal.vacated()
    assert terminal.run("stty -a") == modes


def test_closing_the_terminal_leaves_nothing(terminal: Terminal) -> None:
    terminal.python(NESTED, "main", "freeze")
    terminal.wait_for("ready")
    everyone = terminal.processes()
    terminal.hang_up()
    wait_gone(everyone)


@pytest.mark.parametrize("where", ["main", "thread"])
def test_the_experiment_ends_before_the_programs_own_handler_runs(start: Start, where: str) -> None:
    program = start(
        """
        import os, signal, sys, threading, time
        from snapshot import last_experiment, snapshot

        original = os.getpid()

        def handler(number, frame):
            os.write(1, b"handled in the original: %d\\n" % (os.getpid() == original))
            if os.getpid() != original:
                os._exit(5)

        signal.signal(signal.SIGTERM, handler)

        def work():
            if snapshot():
                print("ready", flush=True)
                while True:
                    time.sleep(1)
            print("back after code", last_experiment().code, flush=True)

        if sys.argv[1] == "main":
            work()
        else:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        """,
        where,
    )
    program.wait_for("ready")
    os.kill(program.pid, signal.SIGTERM)
    result = program.finish()
    assert result.code == 0
    first, *rest = result.stdout.splitlines()[1:]
    assert first == "handled in the original: 0", result
    assert sorted(rest) == ["back after code 5", "handled in the original: 1"]


def test_an_experiment_that_ignores_sigterm_is_killed(start: Start) -> None:
    program = start(
        """
        import signal, time
        from snapshot import snapshot
        if snapshot():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("ready", flush=True)
            time.sleep(1000)
        """
    )
    program.wait_for("ready")
    os.kill(program.pid, signal.SIGTERM)
    result = program.finish()
    assert result.signal == signal.SIGTERM
    assert "was killed by SIGKILL" in result.stderr


def test_under_timeout(python: Run) -> None:
    result = python(NESTED, "main", "freeze", via_shell="timeout 1 {}")
    assert result.code == 124


def test_stop_and_continue(terminal: Terminal) -> None:
    terminal.python(
        """
        from snapshot import snapshot
        if snapshot():
            print("got", input("ready? "))
        print("the end")
        """
    )
    terminal.wait_for("ready? ")
    terminal.suspend()
    terminal.resume()
    terminal.line("hello")
    terminal.wait_for("got hello")
    terminal.wait_for("the experiment exited with code 0")
    terminal.prompt()
    assert terminal.transcript().count("the end") == 2


def test_interrupts_in_a_script_and_then_in_the_original(terminal: Terminal) -> None:
    terminal.python(
        """
        import signal, time
        from snapshot import snapshot

        def sleep(who):
            try:
                print(who, "sleeps", flush=True)
                while True:  # a signal that comes just before a long sleep would be seen after it
                    time.sleep(0.01)
            except KeyboardInterrupt:
                print(who, "was interrupted", flush=True)

        if snapshot():
            for n in range(3):
                sleep(f"experiment {n}")
            print("quit me", flush=True)
            time.sleep(1000)
        sleep("original")
        """
    )
    for n in range(3):
        terminal.wait_for(f"experiment {n} sleeps")
        terminal.type("\x03")
        terminal.wait_for(f"experiment {n} was interrupted")
    terminal.wait_for("quit me")
    terminal.type("\x1c")
    terminal.wait_for("was killed by SIGQUIT")
    terminal.wait_for("original sleeps")
    terminal.type("\x03")
    terminal.wait_for("original was interrupted")
    terminal.prompt()


@pytest.mark.parametrize("threads", ["freeze", "run"])
def test_other_threads_stand_still(python: Run, threads: str) -> None:
    """Also while signals arrive at the original that it handles, or that mean nothing."""
    result = python(
        """
        import os, signal, sys, threading
        from snapshot import last_experiment, revert, snapshot

        ticks, stop = 0, False
        ready, go = os.pipe()

        def tick():
            global ticks
            while not stop:
                ticks += 1
                os.write(go, b"t")
                threading.Event().wait(0.0005)

        signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
        original = os.getpid()
        thread = threading.Thread(target=tick, name="ticker")
        thread.start()
        os.read(ready, 1)
        if snapshot(threads=sys.argv[1]):
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            for _ in range(200):
                for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGCHLD):
                    os.kill(original, number)
                threading.Event().wait(0.001)
            revert()
        moved = ticks
        stop = True
        thread.join()
        print("moved" if moved > 100 else "stood still")
        """,
        threads,
    )
    *handled, moved = result.stdout.splitlines()
    assert moved == ("stood still" if threads == "freeze" else "moved")
    assert set(handled) == {"handled"}
    assert "not in the experiment: the original's threads 'ticker'" in result.stderr


def test_threads_refused(python: Run) -> None:
    result = python(
        """
        import threading
        from snapshot import snapshot
        from snapshot.errors import ThreadsRunning
        done = threading.Event()
        threading.Thread(target=done.wait, name="waits").start()
        try:
            snapshot(threads="refuse")
        except ThreadsRunning as error:
            print(error)
        done.set()
        """
    )
    assert "would be without 'waits'; nothing was forked" in result.stdout


def test_timers_of_the_original_stand_still(python: Run) -> None:
    result = python(
        """
        import os, signal, time
        from snapshot import revert, snapshot
        original, fired = os.getpid(), []
        signal.signal(signal.SIGALRM, lambda *_: fired.append(os.getpid() == original))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        if snapshot():
            while not fired:
                time.sleep(0.01)
            time.sleep(0.3)
            revert()
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        print(fired, 0.05 < left <= 0.3)
        while not fired:
            time.sleep(0.01)
        print(fired)
        """
    )
    assert result.stdout.splitlines() == ["[] True", "[True]"]


def test_a_hundred_snapshots_leave_nothing(python: Run) -> None:
    result = python(
        """
        import os, threading
        from snapshot import revert, snapshot

        def have():
            children = open("/proc/self/task/%d/children" % os.getpid()).read()
            return os.listdir("/proc/self/fd"), os.listdir("/proc/self/task"), children

        if snapshot():
            revert()
        before = have()
        for n in range(100):
            if snapshot():
                if n % 3 == 0:
                    os.abort()
                elif n % 3 == 1:
                    os._exit(0)
                revert()
        print(have() == before)
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout == "True\n"
