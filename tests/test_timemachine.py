"""The time machine of snapshot-repl, on a real terminal: every cell can be travelled back to."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.processes import Result, wait_gone
from tests.repl import Repl
from tests.terminal import Terminal

both = pytest.mark.parametrize("options", ["", "--asyncio"], ids=["sync", "asyncio"])

EVERYTHING = """
import os, random, sqlite3, sys, threading, time
import numpy as np
open("data.txt", "w").write("one\\ntwo\\nthree\\nfour\\n")
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1
threading.Thread(target=tick, name="ticker", daemon=True).start()
random.seed(5)
items, numbers, text = [], iter(range(100)), open("data.txt")
database = sqlite3.connect(":memory:")
database.execute("create table t (x)")
array = np.zeros(4)
class Thing:
    version = 0
def step():
    global double, Thing, line, draw, array
    items.append(next(numbers))
    line, draw = text.readline(), random.random()
    double = (lambda n: lambda: 2 * n)(len(items))
    Thing = type("Thing", (), {"version": len(items)})
    database.execute("insert into t values (1)")
    array += 1
def look():
    rows = database.execute("select count(*) from t").fetchone()[0]
    found = [*items], next(numbers), text.readline(), double(), Thing.version, rows, int(array[0])
    print("found", *found, draw, random.random(), "later" in globals())
"""

# How cells end their process, and what is said of it.
DEATHS = {
    "os._exit(3)": "exited with code 3",
    "os.kill(os.getpid(), signal.SIGSEGV)": "was killed by SIGSEGV",
    "os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL",
    "os.abort()": "was killed by SIGABRT",
}


def begin(terminal: Terminal, source: str = "import os, signal, time\n", options: str = "") -> Repl:
    return Repl(terminal, options, source=source)


def number(repl: Repl, expression: str, prompt: str = ">>>") -> int:
    """What an expression is, at the prompt."""
    repl.say(f"print('it is', {expression}, '.')", prompt)
    return int(repl.sees(re.compile(r"^it is (\d+) \.", re.M))[1])


@both
def test_a_state_is_the_whole_process_as_it_was(terminal: Terminal, options: str) -> None:
    repl = begin(terminal, EVERYTHING, options)
    for _ in range(3):
        repl.say("step()")
    repl.say("later = 1")
    pid = number(repl, "os.getpid()")
    repl.say("past(2)")
    repl.sees("snapshot: at state 2, in process ")
    repl.sees("without the threads 'ticker'")
    repl.say("look()", "branch 2 >>>")
    first = repl.sees(re.compile(r"^found (.*)$", re.M))[1]
    assert first.startswith("[0, 1] 2 three")
    repl.sees(re.compile(r"^ 4 2 2 2 0\.74\d+ 0\.79\d+ False", re.M))
    terminal.line()
    assert number(repl, "os.getpid()", "branch 2 >>>") != pid
    repl.say("past(2)", "branch 2 >>>")
    repl.say("look()", "branch 3 >>>")
    repl.sees(re.compile(r"^found \[0, 1\] 2 three\n 4 2 2 2 0\.74\d+ 0\.79\d+ False", re.M))
    repl.say("states()", "branch 3 >>>")
    repl.sees(re.compile(r"├─7 +2 +look\(\)"))
    repl.sees(re.compile(r"├─8 +2 +print.*tip \(\d+\)"))
    repl.sees(re.compile(r"├─10 +3 +look\(\).*<- here"))
    repl.say("present()", "branch 3 >>>")
    repl.sees(f"snapshot: back in process {pid}, at state 5")
    assert number(repl, "os.getpid()") == pid
    repl.say("look()")
    repl.sees(re.compile(r"^found \[0, 1, 2\] 3 four\n 6 3 3 3 .* True", re.M))
    repl.say("before = ticks")
    repl.say("all(time.sleep(0.01) is None for _ in iter(lambda: ticks > before, True))")
    repl.sees("True")
    repl.leave()


def test_the_value_of_the_cell_is_shown_again(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("'the ' + 'value'")
    repl.say("x = 5")
    repl.say("past(1)")
    repl.sees("Out[1]: 'the value'")
    repl.say("print('again:', _, _1, 'x' in globals())", "branch 2 >>>")
    repl.sees("again: the value the value False")
    repl.leave_from("branch 2 >>>")


@pytest.mark.parametrize("death", DEATHS)
@both
def test_a_cell_that_dies_lands_at_the_state_before(
    terminal: Terminal, options: str, death: str
) -> None:
    repl = begin(terminal, options=options)
    repl.say("x = 'bef' + 'ore'")
    repl.say(f"x = 'lost'; {death}")
    repl.sees(re.compile(rf"snapshot: process \d+, in cell 2, {DEATHS[death]}: back at state 1"))
    repl.say("x", "In [3]:")
    repl.sees("Out[3]: 'before'")
    repl.recall(f"x = 'lost'; {death}", "In [4]:")
    terminal.type("\x15")
    terminal.line("os._exit(4)")
    repl.sees(re.compile(r"in cell 4, exited with code 4: back at state 3"))
    repl.leave()


def test_killed_at_the_prompt_or_before_the_first_cell(terminal: Terminal) -> None:
    repl = begin(terminal, "import os; x = 'loaded'\n")
    repl.prompt()
    os.kill(live(terminal), signal.SIGKILL)
    repl.sees("at the prompt, was killed by SIGKILL: back at state 0")
    repl.say("x + '!'")
    repl.sees("'loaded!'")
    repl.prompt()
    os.kill(live(terminal), signal.SIGTERM)
    repl.sees("at the prompt, was killed by SIGTERM: back at state")
    repl.say("x + '?'")
    repl.sees("'loaded?'")
    repl.leave()


def live(terminal: Terminal) -> int:
    """The process at the prompt, or in a cell: it alone can be interrupted."""
    blocked = {
        each.pid: re.search(r"SigBlk:\s+(\w+)", Path(f"/proc/{each.pid}/status").read_text())
        for each in terminal.processes()
        if each.pid != supervisor(terminal)
    }
    (pid,) = (pid for pid, mask in blocked.items() if mask and not int(mask[1], 16) & 2)
    return pid


def supervisor(terminal: Terminal) -> int:
    return terminal.foreground()


@pytest.mark.parametrize("death", ["SIGKILL", "SIGTERM", "SIGHUP", "terminal"])
def test_nothing_is_left_when_all_of_it_is_ended(terminal: Terminal, death: str) -> None:
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("f = tm.future('time.sleep(1000)')")
    repl.say("past(1)")
    repl.say("y = 2", "branch 3 >>>")
    repl.prompt("branch 3 >>>")
    pids = [each.pid for each in psutil.Process(supervisor(terminal)).children()]
    pids.append(supervisor(terminal))
    assert len(pids) > 5
    if death == "terminal":
        terminal.hang_up()
    else:
        os.kill(supervisor(terminal), getattr(signal, death))
        terminal.prompt()
        assert "echo" in terminal.run("stty -a | tr ' ' '\\n' | grep -x echo")
    wait_gone(pids, timeout=10)


@pytest.mark.parametrize("leaving", ["exit(7)", "import sys; sys.exit(7)", "raise SystemExit(7)"])
def test_the_exit_status_reaches_the_shell_from_a_branch(terminal: Terminal, leaving: str) -> None:
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("past(0)")
    repl.say(leaving, "branch 2 >>>")
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 7"
    terminal.vacated()


def test_another_program_takes_the_place_of_the_process(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("os.execlp('sh', 'sh', '-c', 'sleep 0.2; echo changed; exit 5')")
    repl.sees(re.compile("^changed", re.M))
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 5"
    terminal.vacated()


def test_ctrl_c_ctrl_z_and_resizing_in_a_branch(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("print('asleep'); [time.sleep(0.01) for _ in range(10000)]")
    repl.sees(re.compile("^asleep", re.M))
    terminal.type("\x03")
    repl.sees("KeyboardInterrupt")
    repl.say("past(0)")
    pid = number(repl, "os.getpid()", "branch 2 >>>")
    for _ in range(2):
        repl.say("print('asleep'); [time.sleep(0.01) for _ in range(10000)]", "branch 2 >>>")
        repl.sees(re.compile("^asleep", re.M))
        terminal.type("\x03")
        repl.sees("KeyboardInterrupt")
    repl.say("print('asleep'); [time.sleep(0.01) for _ in range(10000)]", "branch 2 >>>")
    repl.sees(re.compile("^asleep", re.M))
    terminal.type("\x1a")
    terminal.prompt()
    terminal.wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    terminal.resume()
    terminal.type("\x03")
    repl.sees("KeyboardInterrupt")
    repl.prompt("branch 2 >>>")
    terminal.resize(30, 120)
    repl.say("os.get_terminal_size().columns", "branch 2 >>>")
    repl.sees(re.compile(r"Out\[\d+\]: 120"))
    repl.say("present()", "branch 2 >>>")
    repl.say("os.get_terminal_size().lines")
    repl.sees(re.compile(r"Out\[\d+\]: 30"))
    assert terminal.transcript().count("KeyboardInterrupt") == 4
    repl.leave()


def test_frozen_states_hold_no_pipe_no_socket_no_lock_and_are_no_children(
    terminal: Terminal,
) -> None:
    repl = begin(terminal, "import fcntl, os, socket, subprocess, time\n")
    repl.say("cat = subprocess.Popen(['cat'], stdin=subprocess.PIPE)")
    repl.say("server = socket.create_server(('127.0.0.1', 0)); port = server.getsockname()[1]")
    repl.say("lock = open('lock', 'w'); fcntl.flock(lock, fcntl.LOCK_EX)")
    repl.say("cat.stdin.close(); print('cat', cat.wait(timeout=10))")
    repl.sees("cat 0")
    repl.say("server.close(); again = socket.create_server(('127.0.0.1', port))")
    repl.say("'bo' + 'und'")
    repl.sees("'bound'")
    repl.say("lock.close(); subprocess.run(['flock', '-n', 'lock', 'echo', 'locked'])")
    repl.sees(re.compile("^locked", re.M))
    repl.say("os.wait()")
    repl.sees("ChildProcessError")
    repl.say("past(3)")
    repl.sees(re.compile(r"snapshot: at state 3, .*closed: .*a server on 127\.0\.0\.1:\d+", re.S))
    repl.say("cat.stdin.write(b'x'); cat.stdin.flush()", "branch 2 >>>")
    repl.sees("BrokenPipeError")
    repl.leave_from("branch 2 >>>")


def test_what_belongs_to_the_present_is_cleaned_up_once_at_the_end(terminal: Terminal) -> None:
    source = """
import atexit, os, tempfile
folder = tempfile.TemporaryDirectory(dir='.', prefix='present-')
atexit.register(lambda: print('at exit of', os.getpid(), flush=True))
"""
    repl = begin(terminal, source)
    pid = number(repl, "os.getpid()")
    repl.say("past(0)")
    repl.say("here = tempfile.TemporaryDirectory(dir='.', prefix='branch-')", "branch 2 >>>")
    repl.say("folder.cleanup(); print(os.path.isdir(folder.name))", "branch 2 >>>")
    repl.sees(re.compile("^True", re.M))
    repl.say("past(0)", "branch 2 >>>")
    repl.say("print(sorted(each[:7] for each in os.listdir('.')))", "branch 3 >>>")
    repl.sees("'branch-'")
    repl.leave_from("branch 3 >>>")
    assert re.findall(r"at exit of (\d+)", terminal.transcript()) == [str(pid)]
    left = [each.name for each in terminal.directory.iterdir()]
    assert not [each for each in left if each.startswith(("present-", "branch-"))]


def test_whoever_takes_the_place_of_the_present_cleans_up_for_it(terminal: Terminal) -> None:
    repl = begin(
        terminal,
        "import os, tempfile\nfolder = tempfile.TemporaryDirectory(dir='.', prefix='present-')\n",
    )
    repl.say("os._exit(1)")
    repl.sees("back at state 0")
    repl.say("print(os.path.isdir(folder.name))")
    repl.sees(re.compile("^True", re.M))
    repl.leave()
    assert not list(terminal.directory.glob("present-*"))


def test_typed_ahead_goes_where_one_travels(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("x = 'ol' + 'd'")
    repl.say("x = 'ne' + 'w'")
    repl.prompt()
    terminal.type("past(1)\rprint('x is', x)\rpresent()\rprint('and x is', x)\r")
    repl.sees("and x is new")
    shown = terminal.transcript()
    assert shown.count("x is old\n") == 1
    assert shown.count("x is new\n") == 1
    repl.leave()


def test_the_history_is_there_in_a_process_woken_before_it_was_loaded(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("first = 1")
    repl.say("past(0)")
    repl.recall("first = 1", "branch 2 >>>")
    terminal.type("\x15")
    terminal.line("exit()")
    terminal.prompt()


def test_lines_of_every_branch_are_in_the_history(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("first = 1")
    repl.say("second = 2")
    repl.say("past(1)")
    repl.recall("second = 2", "branch 2 >>>")
    terminal.type("\x15")
    terminal.line("third = 3")
    repl.say("present()", "branch 2 >>>")
    repl.recall("third = 3")
    terminal.type("\x15")
    terminal.line("exit()")
    terminal.prompt()


def test_looking_into_states(terminal: Terminal) -> None:
    repl = begin(terminal, "import numpy as np\n")
    repl.say("x = [1, 2]; big = np.arange(300000); f = open('program.py')")
    repl.say("x.append(3); big[:5] = 9; del f; more = {'a': 1}")
    repl.say("len(x)")
    repl.say("tm.vars(1)")
    repl.sees(re.compile(r"x +list +\d+ B\n.*big +ndarray +2\.3 MiB\n.*f +TextIOWrapper"))
    repl.say("tm.vars(1)['x'], tm.vars(1)['big'].sum() == sum(range(300000))")
    repl.sees("([1, 2], np.True_)")
    repl.say("tm.vars(1)['f']")
    repl.sees("<TextIOWrapper, only there: ")
    repl.say("tm.vars(1)['nothing']")
    repl.sees("KeyError: 'nothing'")
    repl.say("tm.ans(3)")
    repl.sees(re.compile(r"Out\[8\]: 3"))
    repl.say("tm.diff(1, 2)")
    repl.sees("+ more: dict, ")
    repl.sees("- f: TextIOWrapper, ")
    repl.sees("~ x: list: 2 -> 3 items")
    repl.sees("~ big: ndarray of shape (300000,): 5 of 300000 values differ")
    repl.say("1 / 0")
    repl.say("tm.ans(10)")
    repl.sees("ZeroDivisionError: division by zero")
    repl.leave()


def test_names_clearing_saving_and_the_budget(terminal: Terminal) -> None:
    repl = begin(terminal)
    for each in range(1, 6):
        repl.say(f"x = {each}")
    repl.say("tm.name(2, 'load' + 'ed')")
    repl.say("past('loaded')")
    repl.say("print('x is', x)", "branch 2 >>>")
    repl.sees("x is 2")
    repl.say("present()", "branch 2 >>>")
    repl.say("tm.clear_past([3])")
    repl.sees("snapshot: cleared 1 state")
    repl.say("past(3)")
    repl.sees(re.compile(r"^UnknownState: state 3 is gone .*the nearest is 2: x = 2", re.M | re.S))
    repl.say("tm.clear_past()")
    repl.sees(re.compile(r"cleared \d+ states; kept, as named: 2"))
    repl.say("len(tm.VX)")
    repl.sees(re.compile(r"Out\[\d+\]: 2"))  # and the one of the cell that cleared
    repl.say("tm.saving(False)")
    repl.say("unsaved = 1")
    repl.say("len(tm.VX)")
    repl.sees(re.compile(r"Out\[\d+\]: 3"))
    repl.say("tm.saving(True)")
    repl.say("tm.budget(states=3)")
    repl.sees(re.compile(r"3 states with .* of their own; allowed are 3 states and "))
    repl.say("y = 1")
    repl.prompt()
    repl.say("y = 2")
    repl.sees(re.compile("snapshot: given up, to stay within 3 states"))
    repl.say("past('loaded')")
    repl.say("print('still', x)", "branch 3 >>>")
    repl.sees("still 2")
    repl.leave_from("branch 3 >>>")


def test_an_archive_has_each_value_once_and_is_read_elsewhere(
    terminal: Terminal, python: Callable[..., Result]
) -> None:
    repl = begin(terminal, "import numpy as np\nbig = np.arange(3_000_000)\nclass A: pass\n")
    for each in range(5):
        repl.say(f"x = {each}; a = A(); a.x = x; gen = iter([]); f = open('program.py')")
    repl.say("secret = 'hid' + 'den'; tm.dontsave(secret)")
    repl.say("tm.save('archive.zip')")
    repl.say("VX = tm.load('archive.zip'); tm.to_main(tm.vars(VX, 3)); x, a.x, big.sum()")
    repl.prompt()
    repl.say("print('it has', x, a.x, tm.vars(tm.VX, 2)['x'])")
    repl.sees("it has 2 2 1")
    repl.say("tm.vars(VX, 99)")
    repl.sees("UnknownState: 'archive.zip' has no state 99; it has 0, 1, 2")
    repl.leave()
    path = terminal.directory / "archive.zip"
    assert 24_000_000 < path.stat().st_size < 25_000_000
    assert not [each for each in terminal.directory.iterdir() if each.name.startswith(".arch")]
    result = python(
        f"""
from pathlib import Path
from snapshot.repl.archive import Archive
archive = Archive(Path({str(path)!r}))
assert len(archive) == 7, list(archive)
for n in range(1, 6):
    assert archive[n]["x"] == archive[n]["a"].x == n - 1
    assert archive[n]["big"].sum() == sum(range(3_000_000))
    assert "open file" in archive[n]["f"].reason
assert "secret" not in archive[6]
print(archive)
"""
    )
    assert result.code == 0, result


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("other", "is no archive of states"),
        ("missing", "there is no archive"),
        ("flipped", "is damaged"),
        ("version", "is an archive of version 99"),
    ],
)
def test_what_is_no_archive_is_refused(
    tmp_path: Path, python: Callable[..., Result], damage: str, said: str
) -> None:
    result = python(
        f"""
import json, sys, zipfile
from pathlib import Path
from snapshot.core.timeline import asking
from snapshot.core.timeline.records import State
from snapshot.errors import CannotRead
from snapshot.repl import archive

def contents(number, known):
    pieces = {{}}
    return {{"x": asking.store("a text", known, pieces)}}, pieces

path = Path("archive.zip")
if {damage!r} != "missing":
    archive.write(path, [State(1, 0, 1, "x = 1", 0.0)], contents)
    assert archive.Archive(path)[1]["x"] == "a text"
if {damage!r} == "other":
    path.write_text("something")
elif {damage!r} == "flipped":
    path.write_bytes(path.read_bytes().replace(b"a text", b"b text"))
elif {damage!r} == "version":
    with zipfile.ZipFile(path) as file:
        index = json.loads(file.read("index.json"))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("index.json", json.dumps(index | {{"version": 99}}))
try:
    print(archive.Archive(path)[1]["x"])
except CannotRead as error:
    print(error)
"""
    )
    assert said in result.stdout, result


def test_futures(terminal: Terminal) -> None:
    source = """
import os, signal, time
from concurrent.futures import wait
x = 6
def work(n, gate):
    print('at', 'work', flush=True)
    while not os.path.exists(gate):
        time.sleep(0.01)
    global x
    x = n
    return n * 7
"""
    repl = begin(terminal, source)
    repl.say("f = tm.future(work, x, 'gate')")
    repl.sees("[2] at work")
    repl.sees(re.compile(r"^\[2\] work\(6, 'gate'\)  ", re.M))  # the line of progress
    repl.prompt_above_toolbar("In [3]:")
    terminal.type("print('typed " + "before'")
    (terminal.directory / "gate").touch()
    terminal.wait_for("snapshot: future 2 done after ")
    terminal.line(" + ' and after')")
    repl.sees(re.compile("^typed before and after", re.M))
    repl.say("f.result(), f.done(), f.output, tm.output(2), f.state, x")
    repl.sees(r"(42, True, 'at work\n', 'at work\n', 2, 6)")
    repl.say("tm.vars(2)['x'], tm.ans(2), len(tm.running), len(tm.finished)")
    repl.sees("(6, 42, 0, 1)")
    repl.say("g = tm.future('print(1)\\n1 / 0'); wait([g])")
    repl.say("g.exception()")
    repl.sees("ZeroDivisionError('division by zero')")
    repl.say("tm.future('os.kill(os.getpid(), 9)').exception()")
    repl.sees("was killed by SIGKILL")
    repl.say("tm.future(exit, 5).exception()")
    repl.sees("exited with code 5")
    repl.say("lines = '\\n'.join(map(str, range(1000)))")
    repl.say("tm.future('print(lines)').result()")
    repl.sees(re.compile(r"^\[\d+\] … \d+ lines more: tm\.output\(\d+\)$", re.M))
    repl.say("i = tm.future('time.sleep(1000)')")
    repl.prompt_above_toolbar(">>>")
    terminal.line("i.running(), i.cancel(), i.cancelled(), i.cancel()")
    repl.sees("(True, True, True, False)")
    repl.say("i.result()")
    repl.sees("CancelledError")
    repl.say("tm.future('x = ')")
    repl.sees("UsageError: future(source): invalid syntax in line 1: x =")
    repl.say("past(2)")
    repl.sees("Out[2]: 42")
    repl.say("print('there', x, _)", "branch 8 >>>")
    repl.sees("there 6 42")
    repl.say("x + 1", "branch 8 >>>")
    repl.leave_from("branch 8 >>>")


def test_leaving_asks_about_futures_that_run(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("f = tm.future('time.sleep(1000)')")
    repl.prompt_above_toolbar(">>>")
    terminal.line("exit(3)")
    repl.sees("These futures still run: end them and leave? [y/N]")
    terminal.line("n")
    repl.prompt_above_toolbar(">>>")
    terminal.type("\x03")
    terminal.line("f.running()")
    repl.sees("True")
    repl.prompt_above_toolbar(">>>")
    terminal.line("exit(3)")
    repl.sees("end them and leave? [y/N]")
    terminal.line("y")
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 3"
    terminal.vacated()


def test_rerun_is_a_branch(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("x += 1; print('x is', x)")
    repl.say("x = 50")
    repl.say("tm.rerun(2)")
    repl.sees(re.compile("snapshot: at state 1, .*^x is 2", re.S | re.M))
    repl.say("present()", "branch 2 >>>")
    repl.say("print('present', x)")
    repl.sees("present 50")
    repl.leave()


def test_experiments_leave_no_states(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("snapshot()")
    repl.say("x = 2", "1 >>>")
    repl.say("past(1)", "1 >>>")
    repl.sees("TimelineError: past(): this is an experiment, whose cells leave no states")
    repl.say("revert()", "1 >>>")
    repl.say("past(1)")
    repl.say("print('x is', x)", "branch 2 >>>")
    repl.sees("x is 1")
    repl.leave_from("branch 2 >>>")


def test_unhook(terminal: Terminal) -> None:
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("f = tm.future('time.sleep(1000)')")
    repl.prompt_above_toolbar(">>>")
    terminal.line("tm.unhook()")
    repl.sees("snapshot: the time machine is off")
    repl.say("print('still', 'here')")
    repl.sees("still here")
    repl.say("past(1)")
    repl.sees("TimelineError: the time machine is off")
    repl.prompt()
    assert len(terminal.pids()) == 2
    repl.leave()


def test_without_a_past(terminal: Terminal) -> None:
    repl = Repl(terminal, "--no-past", source="x = 1\n")
    terminal.wait_for(re.compile("^>>> ", re.M))
    assert len(terminal.pids()) == 1
    terminal.line("past")
    repl.sees("NameError")
    terminal.wait_for(re.compile("^>>> ", re.M), since=terminal.typed_at)
    terminal.line("exit()")
    terminal.prompt()


# What a person may get wrong, and the line that says so.
MISTAKES = {
    "past(99)": "UnknownState: there is no state 99 yet; the nearest is 1: x = 1",
    "past(-1)": "UnknownState: there is no state -1; the nearest is 0: before the first cell",
    "past('no')": "UnknownState: there is no state 'no'; none is named",
    "past(1.5)": "UsageError: 1.5 is no state: give the number of a cell, or a name",
    "past(None)": "UsageError: None is no state: give the number of a cell, or a name",
    "present()": "TimelineError: this is the tip of branch 1 already",
    "present(7)": "UnknownState: there is no branch 7; there is 1",
    "tm.name(1, 5)": "UsageError: name(1, 5): a name is a text",
    "tm.budget(states=0)": "UsageError: budget(states=0): give a number from 1 on",
    "tm.budget(memory='much')": "UsageError: memory='much' is no size",
    "tm.future(5)": "UsageError: future(5): give a function and its arguments, or source",
    "tm.output(1)": "UnknownState: 1 is no future; there is none",
    "tm.save('no/where')": "UsageError: save('no/where'): No such file or directory",
    "tm.load('nothing')": "CannotRead: there is no archive 'nothing'",
    "tm.vars(5, 5)": "UsageError: vars(VX, n): VX is what load() returned",
    "tm.rerun(0)": "UsageError: rerun(0): nothing comes before state 0",
    "present(None)": "UsageError: present(None): give the number of a branch",
    "tm.name(1, 'a\\nb')": "a name is a text in one line, and no number",
    "tm.name(1, '3')": "a name is a text in one line, and no number",
    "tm.budget(states=True)": "UsageError: budget(states=True): give a number from 1 on",
    "tm.clear_past(5.5)": "UsageError: clear_past(5.5): 5.5 is not the number of a cell",
    "tm.clear_past('a')": "UsageError: clear_past('a'): 'a' is not the number of a cell",
    "tm.notify_terminal('x')": "UsageError: notify_terminal('x'): give True or False",
    "tm.save(5)": "UsageError: save(5): give the path of a file",
    "os.mkfifo('pipe') or tm.save('pipe')": "UsageError: save('pipe'): it is there, and no regular",
    "tm.to_main(3)": "UsageError: to_main(3): give a mapping, such as vars(n)",
    "tm.to_main({5: 6})": "UsageError: to_main(…): 5 is no name of a variable",
}


def test_odd_objects_spoil_nothing_but_themselves(terminal: Terminal) -> None:
    repl = Repl(
        terminal,
        source="class Odd:\n    __class__ = property(lambda self: 1 / 0)\n"
        "    __repr__ = lambda self: str(1 / 0)\nodd = Odd()\nx = 1\nglobals()[5] = 6\n",
    )
    repl.say("x = 2; odd = Odd()")
    repl.say("x = 3")
    repl.say("tm.vars(2)['x']")
    repl.sees("Out[3]: 3")
    repl.say("tm.diff(1, 2)")
    repl.sees("~ x: 2 -> 3")
    repl.say("tm.save('kept'); print(tm.load('kept').vars(1)['x'])")
    repl.sees(re.compile(r"^2\s*$", re.M))
    repl.say("import sys; sys.stdout = None")
    repl.say("past(1)")
    repl.sees("snapshot: at state 1")
    repl.say("exit()", "branch 2 >>>")
    terminal.prompt()
    assert "Traceback" not in terminal.transcript()


def test_a_mistake_is_told_in_a_line(terminal: Terminal) -> None:
    terminal.resize(24, 120)
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("tm.saving(False)")
    for line, said in MISTAKES.items():
        repl.say(line)
        repl.sees(said)
    repl.prompt()
    assert "Traceback" not in terminal.transcript()
    repl.leave()


def test_a_program_that_closes_everything_costs_the_past_and_nothing_else(
    terminal: Terminal,
) -> None:
    repl = begin(terminal)
    repl.say("x = 1")
    repl.say("os.closerange(3, 256)")
    repl.sees("snapshot: the time machine is off")
    repl.say("print('still', x)")
    repl.sees("still 1")
    assert "Traceback" not in terminal.transcript()
    repl.say("exit(4)")
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 4"
    terminal.vacated()
