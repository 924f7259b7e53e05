"""`snapshot run` at a terminal: a program that fails is run once more when its past is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.debugging import Debugging
from tests.terminal import Terminal

ASKED = re.compile(r"\[(Y/n|y/N)\] $")

FAILS = """
import random, time, uuid

def share(of, among):
    part = random.random()
    began = time.time()
    name = uuid.uuid4()
    return of / among

print("begins")
words = input("words? ").split()
total = 0
for each in words:
    total += int(each)
share(total, 0)
"""


class Running:
    """A program under `snapshot run`, up to its end; then `it` is the debugger there."""

    def __init__(self, terminal: Terminal, source: str) -> None:
        self.terminal = terminal
        self._source = source.lstrip("\n")
        (terminal.directory / "p.py").write_text(self._source)
        terminal.line("snapshot run p.py")

    def answer(self, text: str) -> None:
        """To a question, with [Y/n]."""
        self.terminal.wait_for(ASKED, since=self.terminal.typed_at)
        self.terminal.line(text)

    def debug(self) -> Debugging:
        """Answer that the program is to be debugged; at the prompt."""
        self.terminal.wait_for(ASKED, since=self.terminal.typed_at)
        return Debugging(self.terminal, self._source, command="y")


@pytest.fixture
def run(open_terminal: Callable[..., Terminal]) -> Callable[[str], Running]:
    return lambda source: Running(open_terminal(rows=40, columns=160), source)


def test_the_past_of_a_program_that_failed(run: Callable[[str], Running]) -> None:
    program = run(FAILS)
    terminal = program.terminal
    terminal.wait_for("words? ")
    terminal.line("3 4 5")
    it = program.debug()
    values = it.say("p of, part, began, name")
    it.say("rn")
    assert "snapshot: the program runs again, for its past; it took " in terminal.transcript()
    assert it.line == 7
    assert it.lines("rn", "n") == [6, 7]
    assert it.say("p of, part, began, name") == values
    assert "total: 7 → 12" in it.say("up", "last total")
    assert (it.line, it.say("p words, each")) == (13, "(['3', '4', '5'], '5')")
    it.say("total = 30", "c")
    assert "branch 2 begins at" in terminal.transcript()
    assert it.say("p of") == "35"
    terminal.line("q")
    program.answer("n")
    terminal.prompt()
    assert terminal.run("echo $?") == "1"
    terminal.vacated()
    assert terminal.transcript().count("begins") == 1 + terminal.transcript().count(
        "branch 2 begins"
    )


def test_the_past_of_code_that_has_no_file(terminal: Terminal) -> None:
    terminal.line("snapshot run -c $'x = 1\\ny = 0\\nz = x / y'")
    terminal.wait_for(ASKED, since=terminal.typed_at)
    it = Debugging(terminal, "", command="y")
    assert "-> z = x / y" in it.shown
    assert "-> z = x / y" in it.say("rn")
    assert "-> y = 0" in it.say("rn")
    it.terminal.line("q")
    it.terminal.wait_for(ASKED, since=it.terminal.typed_at)
    it.terminal.line("n")
    it.terminal.prompt()


def test_each_time_from_the_frame_where_it_was_asked(run: Callable[[str], Running]) -> None:
    program = run(
        "def inner(x):\n    x = x * 10\n    return x / 0\n\ndef outer(x):\n    x += 1\n"
        "    inner(x)\n\nouter(1)\n"
    )
    it = program.debug()
    it.say("up")
    assert "x: 1 → 2" in it.say("last x")
    assert it.line == 6
    it.terminal.line("q")
    it = program.debug()
    assert "x: 2 → 20" in it.say("last x")
    assert it.line == 2
    it.terminal.line("q")
    it = program.debug()
    assert it.lines("rn") == [3]
    it.terminal.line("q")
    program.answer("n")
    it.terminal.prompt()


def test_a_fork_of_the_program_is_not_run_again(run: Callable[[str], Running]) -> None:
    program = run("import os\nif os.fork() == 0:\n    1 / 0\nprint('status', os.wait()[1])\n")
    it = program.debug()
    told = "*** the program cannot be run again from here: this is a fork that it has made"
    assert it.say("rn") == told
    program.terminal.line("q")
    program.answer("n")
    program.terminal.prompt()
    assert "status 256" in program.terminal.transcript()
    assert program.terminal.run("echo $?") == "0"
    program.terminal.vacated()


def test_a_branch_that_is_kept_is_the_program(run: Callable[[str], Running]) -> None:
    program = run("def f(k):\n    return 1 / k\n\nprint('value', f(0))\n")
    it = program.debug()
    it.say("rn", "k = 4", "n")
    assert "branch 2 is the program now" in it.say("keep")
    assert "value 0.25" in it.say("c")
    it.say("back", "q")
    assert program.terminal.run("echo $?") == "0"
    program.terminal.vacated()


def test_a_crash_is_gone_back_from(run: Callable[[str], Running]) -> None:
    program = run(
        "import ctypes\n\ndef crash(number):\n    twice = 2 * number\n    ctypes.string_at(0)\n\n"
        "for each in range(2000):\n    pass\ncrash(4)\n"
    )
    program.terminal.wait_for("snapshot: the program was killed by SIGSEGV; debug it? [Y/n] ")
    it = program.debug()
    assert "The program was killed by SIGSEGV, after position " in it.shown
    assert it.line == 5
    assert it.say("p twice") == "8"
    assert it.lines("rn", "rn", "rn") == [4, 9, 7]
    assert it.say("p each") == "1999"
    it.say("q")
    assert program.terminal.run("echo $?") == "139"
    program.terminal.vacated()


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("os._exit(3)", "3"),
        ("sys.exit(4)", "4"),
        ("sys.exit('no')", "1"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "143"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "137"),
        ("pass", "0"),
    ],
)
def test_the_status_is_the_programs(
    run: Callable[[str], Running], statement: str, status: str
) -> None:
    terminal = run(f"import os, signal, sys\nprint('once')\n{statement}\n").terminal
    terminal.prompt()
    assert terminal.transcript().count("once") == 1
    assert terminal.run("echo $?") == status
    terminal.vacated()  # the kernel ends the frozen copy


def test_a_program_with_threads_is_not_run_again(run: Callable[[str], Running]) -> None:
    program = run(
        "import threading\nthread = threading.Thread(target=int, name='counts')\n"
        "thread.start()\nthread.join()\n1 / 0\n"
    )
    it = program.debug()
    it.say("mine = 5")
    for command in ("rn", "rs", "last mine"):
        assert it.say(command) == (
            "*** the program cannot be run again: it had other threads, 'counts'"
        )
    assert it.say("p mine") == "5"  # in the same experiment, still
    it.terminal.line("q")
    program.answer("n")
    it.terminal.prompt()
    assert it.terminal.run("echo $?") == "1"


@pytest.mark.parametrize(
    "statement",
    [
        "sys.stdin, sys.stdout = io.StringIO('n\\n'), io.StringIO()",
        "sys.stdin = sys.stdout = None",
        "sys.stdout.close()",
        "sys.stdin.close(), sys.stdout.close()",
        "os.close(0), os.close(1)",
        "os.dup2(os.open('out', os.O_CREAT | os.O_WRONLY), 1)",
    ],
)
def test_the_terminal_is_asked_wherever_the_program_has_put_its_streams(
    run: Callable[[str], Running], statement: str
) -> None:
    program = run(f"import io, os, sys\ntotal = 5\n{statement}\ntotal += 1\n1 / 0\n")
    it = program.debug()
    assert (it.line, it.say("p total")) == (5, "6")
    it.say("rn")
    assert (it.line, it.say("p total")) == (5, "6")
    assert (it.lines("rn"), it.say("p total")) == ([4], "5")
    it.terminal.line("q")
    program.answer("n")
    it.terminal.prompt()
    assert it.terminal.run("echo $?") == "1"
    assert "snapshot/" not in it.terminal.transcript()
    it.terminal.vacated()


def test_the_terminal_is_asked_about_a_program_without_a_past(terminal: Terminal) -> None:
    source = "import sys\nsys.stdin.close(), sys.stdout.close()\ntotal = 5\n1 / 0\n"
    (terminal.directory / "p.py").write_text(source)
    terminal.line("snapshot run --rewindable p.none p.py")
    terminal.wait_for(ASKED, since=terminal.typed_at)
    it = Debugging(terminal, source, command="y")
    assert (it.line, it.say("p total")) == (4, "5")


def test_a_program_that_ends_otherwise_is_not_believed(run: Callable[[str], Running]) -> None:
    program = run("import ctypes\nraise ValueError(ctypes.CDLL(None).getpid())\n")
    it = program.debug()
    it.terminal.line("rs")
    it.terminal.wait_for("run again, the program ends otherwise: ValueError: ")
    program.answer("n")
    it.terminal.prompt()


def test_ctrl_c_ends_the_second_run(run: Callable[[str], Running]) -> None:
    program = run(
        "import os\nfor turn in range(3_000_000):\n    pass\nos.write(1, b'done\\n')\n1 / 0\n"
    )
    it = program.debug()
    it.terminal.line("rn")
    it.terminal.wait_for("Ctrl-C ends that")
    it.terminal.type("\x03")
    it.terminal.wait_for("snapshot: interrupted")
    program.answer("n")
    it.terminal.prompt()
    assert it.terminal.run("echo $?") == "1"
    it.terminal.vacated()


def test_ctrl_c_ends_the_program(run: Callable[[str], Running]) -> None:
    program = run("import time\nprint('sleeps')\nwhile True:\n    time.sleep(0.01)\n")
    program.terminal.wait_for("sleeps")
    program.terminal.type("\x03")
    program.terminal.wait_for("KeyboardInterrupt")
    program.answer("n")
    program.terminal.prompt()
    assert program.terminal.run("echo $?") == "130"
