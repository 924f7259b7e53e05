"""The debugger where a program runs already: breakpoint(), and the ends of its experiments."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.debugging import Debugging
from tests.processes import Program
from tests.terminal import Terminal

Start = Callable[..., Debugging]

BREAKPOINT = "PYTHONBREAKPOINT=snapshot.set_trace python p.py"

WORK = """
def work():
    x = "original"
    breakpoint()
    print("x is", x)
    return x

work()
print("the end")
"""

SUMS = """
total = 0

def add(numbers):
    global total
    for each in numbers:
        total += each
    breakpoint()
    for each in numbers:
        total -= 2 * each
    return total

print(add([1, 2, 3]))
"""

TASKS = """
import asyncio, selectors

class Others(asyncio.SelectorEventLoop):
    __init__ = lambda self: super(Others, self).__init__(selectors.PollSelector())

async def task(number):
    await asyncio.sleep(0.01 * number)
    if number == 2:
        breakpoint()
    await asyncio.sleep(0.01)
    return 10 * number

async def main():
    print(await asyncio.gather(*map(task, range(4))))

with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(main())
"""


@pytest.fixture
def debug(open_terminal: Callable[..., Terminal]) -> Start:
    """Starts a source by a command; by default with `breakpoint()` leading to the debugger."""

    def started(source: str, command: str = BREAKPOINT) -> Debugging:
        terminal = open_terminal(rows=40, columns=160)
        return Debugging(terminal, source, command=command)

    return started


def test_the_experiment_first_then_the_original_at_the_same_line(debug: Start) -> None:
    it = debug(WORK)
    assert (it.position, it.line) == (0, 3)
    assert it.say("x = 'changed'", "c").splitlines()[:4] == [
        "branch 2 begins at 0",
        "x is changed",
        "the end",
        "The program has ended. Its past is there (rs, back, goto), q quits.",
    ]
    assert re.match(r"snapshot: back at 0 \(p.py:3 work\); the .* code 0 after", it.say("q"))
    assert it.line == 3
    assert it.say("p x") == "'original'"
    assert it.say("c").splitlines() == ["x is original", "the end"]
    assert it.terminal.transcript().count("x is original") == 1
    assert it.terminal.run("echo $?") == "0"
    it.terminal.vacated()


def test_what_comes_in_the_experiment_is_its_past(debug: Start) -> None:
    it = debug(SUMS)
    assert it.line == 7
    assert it.say("p total") == "6"
    assert it.lines("n", "n", "n", "n") == [8, 9, 8, 9]
    assert it.say("p total") == "4"
    assert "total: 6 → 4" in it.say("last total")
    assert (it.line, it.position) == (9, 2)
    assert it.lines("rn", "rn") == [8, 7]
    assert it.say("rs") == "*** this is the beginning: nothing is known of what was before"
    assert it.say("c").splitlines()[0] == "-6"
    assert it.lines("rs", "back") == [12, 9]
    assert it.lines("goto 0") == [7]
    it.say("revert")
    assert it.say("p total") == "6"
    assert it.say("c") == "-6"
    assert it.terminal.run("echo $?") == "0"


def test_the_original_goes_forwards_alone(debug: Start) -> None:
    it = debug(SUMS)
    it.say("revert")
    nothing = "*** nothing is kept of the past here: `snap` begins an experiment"
    for command in ("rs", "rn", "rr", "rc", "back", "forward", "goto 3", "last total", "branch"):
        assert it.say(command) == nothing
    assert it.say("revert") == "*** revert(): no snapshot waits for process " + (
        f"{it.terminal.foreground()}; call snapshot() first"
    )
    assert it.lines("n", "n", "s") == [8, 9, 8]
    it.say("b 10")
    assert it.lines("c", "n") == [10, 10]
    assert it.shown.startswith("--Return--")
    assert it.say("c") == "-6"


def test_snap_begins_an_experiment_that_has_a_past(debug: Start) -> None:
    it = debug(SUMS)
    it.say("revert")
    it.lines("n")
    assert it.say("snap mine").startswith("> ")
    assert (it.position, it.line) == (0, 8)
    assert it.lines("n", "n", "rn", "rn") == [9, 8, 9, 8]
    assert "0 'mine'" in it.say("snaps") or re.search(r"0 +mine ", it.shown)
    it.say("n", "snap there", "n", "n", "revert")
    assert (it.position, it.line) == (1, 9)
    assert "*** no snapshot 'nowhere' waits" in it.say("revert nowhere")
    assert "snapshot: back at 0 'mine' (p.py:8 add)" in it.say("revert mine")
    assert it.say("p each") == "3"  # what the line before has left
    assert it.say("c") == "-6"


def test_keep_makes_the_experiment_the_real_program(debug: Start) -> None:
    it = debug(WORK)
    it.say("x = 'kept'")
    assert it.say("keep").startswith("snapshot: kept; process ")
    assert "the original" not in it.say("n")
    assert it.line == 4
    it.say("rs")
    assert it.say("revert") == "*** no moment before this one was named by `snap`"
    assert it.say("c").splitlines()[0] == "x is kept"
    it.say("q")
    assert it.terminal.run("echo $?") == "0"
    it.terminal.vacated()
    assert "the end" not in it.terminal.run("true")
    assert len(re.findall("^the end$", it.terminal.transcript(), re.M)) == 1


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("!import os; os._exit(3)", "The program exited with code 3, after position 0."),
        ("!import os; os.kill(os.getpid(), 9)", "The program was killed by SIGKILL"),
    ],
)
def test_an_experiment_that_dies_can_be_gone_back_in(debug: Start, end: str, told: str) -> None:
    it = debug(WORK)
    assert told in it.say(end)
    assert (it.position, it.line) == (0, 3)
    assert it.say("p x") == "'original'"
    assert "snapshot: back at 0 (p.py:3 work)" in it.say("revert")
    assert "x is original" in it.say("c")


def test_an_exception_in_the_experiment(debug: Start) -> None:
    it = debug("def f(x):\n    breakpoint()\n    return 1 / x\n\nf(0)\n")
    assert "The program was ended by ZeroDivisionError: division by zero." in it.say("c")
    assert it.lines("rn") == [3]
    assert it.say("x = 4", "c").splitlines()[0] == "branch 2 begins at 1"
    assert "the experiment exited with code 0" in it.say("q")
    assert "ZeroDivisionError" in it.say("c")
    assert it.terminal.run("echo $?") == "1"


def test_each_breakpoint_in_a_loop(debug: Start) -> None:
    it = debug("for turn in range(3):\n    breakpoint()\n    print('turn', turn)\n")
    assert it.lines("c", "c") == [3, 3]
    assert it.say("p turn") == "2"
    it.say("back 2")
    assert it.say("p turn") == "0"
    it.say("revert")
    assert (it.line, it.say("p turn")) == (2, "0")
    it.say("c")
    assert (it.position, it.line, it.say("p turn")) == (0, 2, "1")
    it.say("revert", "c", "revert")
    assert it.say("p turn") == "2"
    it.say("c")
    assert it.terminal.transcript().count("turn 2") == 1  # the experiments were left before


@pytest.mark.parametrize("call", ["breakpoint()", "import pdb; pdb.set_trace()"])
def test_there_is_one_debugger_under_snapshot_debug(debug: Start, call: str) -> None:
    it = debug(SUMS.replace("breakpoint()", call), command="snapshot debug p.py")
    assert it.lines("c") == [8]
    assert it.lines("rn", "rn") == [7, 5]
    assert it.lines("c") == [8]
    assert it.say("c").startswith("-6\nThe program has ended.")
    assert it.quit() == 0


def test_code_that_has_no_file(debug: Start) -> None:
    it = debug("", command="snapshot debug -c 'x = 1\ny = x + 1\nprint(y)'")
    assert "-> x = 1" in it.shown
    assert "-> print(y)" in it.say("n", "n")
    assert "-> y = x + 1" in it.say("rn")
    assert it.quit() == 0


def test_what_libraries_make_of_texts_is_not_of_that_code(debug: Start) -> None:
    source = """import collections, dataclasses
Pair = collections.namedtuple("Pair", "a b")
@dataclasses.dataclass
class Point:
    x: int
def both():
    return Pair(1, Point(2))
x = both()
y = x.c
"""
    it = debug("", command=f"snapshot debug -c '{source}'")
    it.say("b 7", "c")
    assert "-> return Pair(1, Point(2))" in it.shown
    assert "--Return--" in it.say("s")
    assert "-> y = x.c" in it.say("s")
    assert "-> return Pair(1, Point(2))" in it.say("rc")
    assert "AttributeError" in it.say("c", "c", "c")
    assert "-> y = x.c" in it.shown
    assert it.quit() == 1


def test_an_installed_module_is_the_program_that_was_asked_for(debug: Start) -> None:
    it = debug("", command="snapshot debug -m json.tool --nothing")
    assert re.search(r"json/tool\.py\(1\)<module>\(\)", it.shown)
    it.say("c", "rn")
    assert it.function == "main"
    assert "-> options = parser.parse_args()" in it.shown
    it.say("c")
    assert it.quit() == 2


@pytest.mark.parametrize(("number", "name"), [(0, "input"), (1, "output"), (2, "error")])
def test_nobody_is_asked_through_a_closed_stream(
    terminal: Terminal, number: int, name: str
) -> None:
    (terminal.directory / "p.py").write_text("import snapshot\nsnapshot.set_trace()\n")
    told = f"standard {name} is closed: there is nobody to ask"
    other = ">&1" if number == 2 else "2>&1"  # where it is told
    shown = terminal.run(f"(snapshot debug p.py {number}<&-) {other} | cat; echo $PIPESTATUS")
    assert shown.splitlines() == [f"snapshot debug: {told}", "2"]
    shown = terminal.run(f"(python p.py {number}<&-) {other} | cat")
    assert number == 2 or shown.splitlines()[-1].endswith(told)


def test_a_terminal_that_fails_ends_the_debugger(terminal: Terminal) -> None:
    (terminal.directory / "p.py").write_text("import snapshot\nsnapshot.set_trace()\nx = 1\n")
    told = "snapshot: the debugger ends, as its terminal fails: [Errno 28] No space left on device"
    terminal.run("export PYTHONUNBUFFERED=1")  # or it is found out at the end, by Python
    shown = terminal.run("(echo n; echo n) | snapshot debug p.py >/dev/full; echo $?")
    assert shown.splitlines() == [told, "1"]
    shown = terminal.run("(echo n; echo n) | python p.py >/dev/full")
    assert shown.count(told) == 2  # in the experiment, and in the original
    assert "message" not in shown
    shown = terminal.run("(echo n; echo n; echo rn; echo n) | snapshot debug p.py | head -1")
    assert len(shown.splitlines()) == 1


def test_what_the_terminal_has_no_letters_for(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("a = 1\na = 2\nraise ValueError('x\\udcff\\u2192')\n")
    commands = b"n\nn\nlast a\np '\xff'\ngoto x\nc\nrn\nq\n"
    command = [sys.executable, "-m", "snapshot", "debug", "p.py"]
    for encoding, arrow in (("ascii", r"\u2192"), ("utf-8:strict", "→")):
        environment = {"PYTHONIOENCODING": encoding}
        with Program(command, directory=tmp_path, stdin=commands, env=environment) as program:
            result = program.finish()
        assert (result.code, result.stderr) == (0, "")
        assert f"a: 1 {arrow} 2\n" in result.stdout
        assert "*** what was typed is no text: " in result.stdout
        assert rf"was ended by ValueError: x\udcff{arrow}. Its past" in result.stdout


def test_where_the_working_directory_is_gone(terminal: Terminal) -> None:
    (terminal.directory / "p.py").write_text("x = 1\n")
    terminal.run("mkdir gone; cd gone; rmdir ../gone")
    told = "snapshot debug: the working directory is gone: give the whole path of the script"
    assert terminal.run("snapshot debug ../p.py").splitlines()[-1] == told
    shown = terminal.run(f"snapshot debug {terminal.directory}/p.py </dev/null")
    assert shown.splitlines()[1] == "-> x = 1"


def test_the_threads_of_the_original_are_there_afterwards(debug: Start) -> None:
    it = debug(
        """
        import queue
        import threading

        asked, answered = queue.Queue(), queue.Queue()
        def serve():
            while (number := asked.get()) is not None:
                answered.put(2 * number)
        threading.Thread(target=serve, name="server").start()
        breakpoint()
        asked.put(21)
        asked.put(None)
        print("answered", answered.get())
        """
    )
    assert "not in the experiment: the original's threads 'server'" in it.shown
    assert it.lines("n", "n", "n", "rn", "rn") == [10, 11, 12, 11, 10]
    it.say("revert")
    assert it.say("c") == "answered 42"


def test_commands_that_come_through_a_pipe(terminal: Terminal) -> None:
    (terminal.directory / "p.py").write_text(WORK)
    shown = terminal.run(f"printf 'n\\nrn\\np x\\nq\\nn\\nc\\n' | {BREAKPOINT}")
    assert "(Pdb 0) 'original'" in shown
    assert shown.count("x is original") == 1
    assert shown.count("the end") == 1


def test_runcall_stops_at_the_first_line(debug: Start) -> None:
    it = debug(
        """
        from snapshot.debugger import Pdb

        def double(x):
            y = x + x
            return y

        print(Pdb().runcall(double, 4))
        """,
        command="python p.py",
    )
    assert it.lines("n", "rn") == [5, 4]
    assert it.say("p x") == "4"
    assert "snapshot: back at 0 (p.py:7 <module>)" in it.say("revert")
    assert it.line == 4
    assert it.say("c") == "8"


def test_a_statement_stops_at_its_first_line(debug: Start) -> None:
    it = debug(
        """
        from snapshot.debugger import Pdb

        def double(x):
            y = x + x
            return y

        Pdb().run("print(double(4))")
        print(Pdb().runeval("double(5)"))
        """,
        command="python p.py",
    )
    assert "-> print(double(4))" in it.shown
    assert it.lines("s", "s", "s") == [3, 4, 5]
    assert it.lines("rs", "rs") == [4, 3]
    assert "-> print(double(4))" in it.say("rn")  # from the call itself
    it.say("revert")
    assert it.say("c").splitlines()[0] == "8"
    assert "-> double(5)" in it.shown
    it.say("revert")
    assert it.say("c") == "10"


def test_to_the_end_of_the_program_again(debug: Start) -> None:
    it = debug("def f():\n    breakpoint()\n    return 1\n\nprint(f())\n")
    it.say("c")
    end = it.position
    it.say("rs", "c")
    assert it.position == end
    assert it.lines("goto 1") == [3]
    it.say("c")
    assert it.position == end
    assert it.lines("goto 0", "n", "n", "n") == [2, 3, 3, 5]


def test_what_is_left_by_quit_names_the_programs_lines(debug: Start) -> None:
    it = debug("def f():\n    breakpoint()\n    return 1\n\nf()\n")
    it.say("n", "q")
    shown = it.shown.partition("snapshot: back at 0")[0]
    assert shown.count("p.py") == 2
    assert shown.count('  File "') == 2
    assert "bdb.BdbQuit" in shown
    assert it.say("q").count('  File "') == 2
    assert it.terminal.run("echo $?") == "1"


def test_a_header_is_shown(debug: Start) -> None:
    it = debug("from snapshot import set_trace\nset_trace(header='look')\n", command="python p.py")
    assert it.shown.splitlines()[0] == "look"
    it.say("q")
    assert it.say("c") == ""


def test_a_snapshot_at_a_post_mortem_names_the_line_that_failed(terminal: Terminal) -> None:
    (terminal.directory / "p.py").write_text("def share(of):\n    return 1 / of\n\nshare(0)\n")
    terminal.line("snapshot run p.py")
    for answer, asked in (("y", "[Y/n] "), ("snap mine", "(Pdb) "), ("up", "(Pdb) ")):
        terminal.wait_for(asked, since=terminal.typed_at)
        terminal.line(answer)
    terminal.wait_for("(Pdb) ", since=terminal.typed_at)
    terminal.line("revert")
    terminal.wait_for("snapshot: back at 1 'mine' (p.py:2 share)")
    terminal.wait_for(re.compile(r"\(Pdb\) $"), since=terminal.typed_at)
    terminal.line("revert")
    terminal.wait_for("snapshot: back at 0 (p.py:2 share)")
    terminal.wait_for("[y/N] ")
    terminal.line("n")
    terminal.prompt()


def test_an_interval_timer_goes_on_in_the_experiment(debug: Start) -> None:
    it = debug(
        """
        import signal
        import time

        heard = []
        signal.signal(signal.SIGALRM, lambda *_: heard.append(1))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        breakpoint()
        while not heard:
            time.sleep(0.01)
        print("heard", len(heard))
        """
    )
    assert "heard 1" in it.say("c")
    assert "the experiment exited with code 0" in it.say("q")
    assert "heard 1" in it.say("c")


@pytest.mark.parametrize("event_loop", ["asyncio.SelectorEventLoop", "Others"])
def test_an_event_loop_runs_on_in_the_experiment_and_in_its_past(
    debug: Start, event_loop: str
) -> None:
    it = debug(TASKS.replace("LOOP", event_loop))
    assert (it.line, it.say("p number")) == (9, "2")
    assert it.lines("n", "rs", "n") == [10, 9, 10]
    assert it.say("c").splitlines()[:2] == [
        "[0, 10, 20, 30]",
        "The program has ended. Its past is there (rs, back, goto), q quits.",
    ]
    assert it.lines("goto 0", "n") == [9, 10]
    assert it.say("number = 5", "c").splitlines()[:2] == [
        "branch 2 begins at 1",
        "[0, 10, 50, 30]",
    ]
    it.say("q")
    assert (it.line, it.say("p number")) == (9, "2")
    assert it.say("c") == "[0, 10, 20, 30]"
    assert it.terminal.run("echo $?") == "0"
    it.terminal.vacated()


def test_random_numbers_are_those_of_the_original(debug: Start) -> None:
    it = debug("import random\nrandom.seed(1)\nbreakpoint()\nprint(random.random())\n")
    drawn = it.say("c").splitlines()[0]
    it.say("q")
    assert it.say("c") == drawn == "0.13436424411240122"


def test_a_state_that_a_search_has_left_is_of_the_experiment(debug: Start) -> None:
    program = """
    import snapshot

    def work(count):
        total = 0
        for n in range(count):
            total += n
        return total

    breakpoint()
    work(30_000)
    print("in the experiment:", snapshot.in_snapshot())
    """
    it = debug(program, command=BREAKPOINT)
    it.say("b 7", "c")
    assert it.lines("rn", "rn") == [5, 6]
    it.say("n = 0", "c")
    assert it.say("c").startswith("in the experiment: True\n")
    assert it.say("q").startswith("snapshot: back at 0")
    assert it.say("c") == "in the experiment: False"
