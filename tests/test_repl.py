"""snapshot-repl on a real terminal: what a person sees there, and is left with."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.repl import Repl
from tests.terminal import Terminal

FAILING = """
import sys
def outer(number):
    inner(number + 1)
def inner(number):
    text = 'in ' + 'here'
    return 1 / (number - number)
before = 'the ' + 'failure'
outer(6)
"""

# How an experiment may be ended at its prompt, and what is then said of it.
ENDINGS = {
    "revert()": "reverted",
    "exit()": "exited with code 0",
    "exit": "exited with code 0",
    "exit(3)": "exited with code 3",
    "import sys; sys.exit(7)": "exited with code 7",
    "raise SystemExit(7)": "exited with code 7",
    "raise SystemExit('no more')": "exited with code 1",
    "Ctrl-D": "exited with code 0",
    "import os; os._exit(4)": "exited with code 4",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "was killed by SIGSEGV",
    "SIGKILL": "was killed by SIGKILL",
}

both = pytest.mark.parametrize("options", ["", "--asyncio"], ids=["sync", "asyncio"])


@both
def test_load_break_everything_and_be_back(terminal: Terminal, options: str) -> None:
    repl = Repl(terminal, options)
    repl.say("snapshot('loaded')")
    repl.sees("True")
    repl.say("data.clear(); del broken, time, snapshot", "1 loaded >>>")
    repl.say("print('left', len(data))", "1 loaded >>>")
    repl.sees("left 0")
    repl.say("exit()", "1 loaded >>>")
    repl.sees(re.compile("snapshot: back at 0 'loaded' .*the experiment exited with code 0", re.S))
    repl.say("print('left', len(data), callable(broken), time.__name__, callable(snapshot))")
    repl.sees("left 1000 True time True")
    repl.leave()
    assert "threads" not in terminal.transcript()


@both
@pytest.mark.parametrize("ending", ENDINGS)
def test_back_however_the_experiment_ends(terminal: Terminal, ending: str, options: str) -> None:
    repl = Repl(terminal, options)
    repl.say("x = 'ori' + 'ginal'")
    repl.say("snapshot()")
    repl.say("x = 'changed'", "1 >>>")
    repl.prompt("1 >>>")
    if ending == "SIGKILL":
        os.kill(max(terminal.pids()), signal.SIGKILL)
    elif ending == "Ctrl-D":
        repl.type_ctrl_d()
    else:
        terminal.line(ending)
    repl.sees(re.compile(rf"snapshot: back at 0 .*the experiment {ENDINGS[ending]}", re.S))
    repl.say("x + '!'")
    repl.sees("original!")
    repl.leave()


@both
def test_an_exception_stays_in_the_experiment(terminal: Terminal, options: str) -> None:
    repl = Repl(terminal, options)
    repl.say("snapshot('try')")
    repl.say("broken(21)", "1 try >>>")
    repl.sees("ValueError: 42")
    repl.say("frames[-1].local", "1 try >>>")
    repl.sees("42")
    repl.say("revert()", "1 try >>>")
    repl.sees("the experiment reverted")
    repl.say("frames")
    repl.sees("no uncaught exception so far")
    repl.leave()


@both
def test_nested_by_name(terminal: Terminal, options: str) -> None:
    repl = Repl(terminal, options)
    repl.say("snapshot('outer')")
    repl.say("snapshot()", "1 outer >>>")
    repl.say("snapshot('inner')", "2 >>>")
    repl.say("snapshots()", "3 inner >>>")
    repl.sees(re.compile(r"0 +outer.*\n *1 .*\n *2 +inner.*\n *here"))
    repl.say("snapshot('outer')", "3 inner >>>")
    repl.sees("NameTaken")
    repl.say("revert(to='nowhere')", "3 inner >>>")
    repl.sees("UnknownSnapshot")
    repl.say("revert()", "3 inner >>>")
    repl.sees("back at 2 'inner'")
    repl.say("revert(to='outer')", "2 >>>")
    repl.sees("back at 0 'outer'")
    repl.leave()


@both
def test_keep(terminal: Terminal, options: str) -> None:
    repl = Repl(terminal, options)
    repl.say("snapshot('try')")
    repl.say("data = 'ke' + 'pt'", "1 try >>>")
    repl.say("keep()", "1 try >>>")
    repl.sees("snapshot: kept; process")
    repl.say("data")
    repl.sees("'kept'")
    repl.say("revert()")
    repl.sees("NotAnExperiment")
    repl.say("exit(5)")
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 5"


@both
def test_a_pasted_burst_runs_each_line_once(terminal: Terminal, options: str) -> None:
    repl = Repl(terminal, options)
    repl.say("x = 1; ran = open('ran', 'a', 1)")
    repl.prompt()
    terminal.type("snapshot()\rx = ran.write('a') * 5\rexit()\rprint('x is', x, ran.write('b'))\r")
    repl.sees("x is 1")
    repl.leave()
    assert "x is 5" not in terminal.transcript()
    assert terminal.transcript().count("snapshot: back at 0") == 1
    assert (terminal.directory / "ran").read_text() == "ab"


@both
@pytest.mark.parametrize("ending", ["revert()", "SIGKILL"])
def test_history_has_the_lines_of_the_experiment(
    terminal: Terminal, ending: str, options: str
) -> None:
    repl = Repl(terminal, options)
    repl.say("snapshot()")
    repl.say("y = 'in the ' + 'experiment'", "1 >>>")
    repl.prompt("1 >>>")
    if ending == "SIGKILL":
        os.kill(max(terminal.pids()), signal.SIGKILL)
    else:
        terminal.line(ending)
    repl.sees("snapshot: back at 0")
    repl.recall("y = 'in the ' + 'experiment'")
    terminal.line(" + '!'; print(y)")
    repl.sees("in the experiment!")
    repl.leave()


def test_interrupts_in_the_experiment(terminal: Terminal) -> None:
    repl = Repl(terminal)
    repl.say("snapshot()")
    for _ in range(3):
        repl.say("sleep()", "1 >>>")
        repl.sees(re.compile("^asleep", re.M))
        terminal.type("\x03")
        repl.sees(re.compile("^KeyboardInterrupt", re.M))
    repl.say("revert()", "1 >>>")
    repl.sees("the experiment reverted")
    repl.say("sleep()")
    repl.sees(re.compile("^asleep", re.M))
    terminal.type("\x03")
    repl.sees(re.compile("^KeyboardInterrupt", re.M))
    repl.say("frames")
    repl.sees("<stdin>:1 <module>")
    repl.leave()
    assert sum(line == "KeyboardInterrupt" for line in terminal.lines()) == 4


def test_await_at_the_prompt(terminal: Terminal) -> None:
    repl = Repl(terminal, "--asyncio")
    repl.say("import asyncio; later = asyncio.create_task(asyncio.sleep(0.1, 'slept'))")
    repl.say("snapshot()")
    repl.say("await later", "1 >>>")
    repl.sees("'slept'")
    repl.say("await asyncio.sleep(0.01, 'again')", "1 >>>")
    repl.sees("'again'")
    repl.say("exit()", "1 >>>")
    repl.sees("exited with code 0")
    repl.say("await later")
    repl.sees("'slept'")
    repl.leave()


def test_frames_of_an_uncaught_exception(terminal: Terminal) -> None:
    repl = Repl(terminal, source=FAILING)
    repl.prompt()
    shown = "\n".join(terminal.lines())
    assert 'program.py", line 9, in <module>\n    outer(6)' in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert shown.count("  File ") == 3
    assert "frames[-1].x" in shown
    repl.say("before")
    repl.sees("'the failure'")
    repl.say("frames")
    repl.sees(re.compile(r"0 +program.py:9 <module> .*\n *1 +program.py:4 outer +number\n"))
    repl.sees(re.compile(r"2 +program.py:7 inner +number, text"))
    repl.say("frames[-1].text, frames[1].number, frames[-1].locals['number']")
    repl.sees("('in here', 6, 7)")
    repl.say("frames[-1].nothing")
    repl.sees("no variable 'nothing' in program.py:7 inner; there are: number, text")
    repl.say("frames[3]")
    repl.sees("IndexError: frames[3]: there are 2 frames")
    repl.leave()


def test_pdb(terminal: Terminal) -> None:
    repl = Repl(terminal, "--pdb", source=FAILING)
    repl.sees("ZeroDivisionError: division by zero")
    repl.sees("(Pdb)")
    terminal.line("p text.upper()")
    repl.sees("'IN HERE'")
    repl.sees("(Pdb)")
    terminal.line("!text = 'spoilt'")
    repl.sees("(Pdb)")
    terminal.line("q")
    repl.sees("snapshot: back at 0 (program.py:7 inner); the experiment reverted")
    repl.say("frames[-1].text")
    repl.sees("'in here'")
    repl.leave()


def test_pdb_and_keep(terminal: Terminal) -> None:
    repl = Repl(terminal, "--pdb", source=FAILING)
    repl.sees("(Pdb)")
    terminal.line("!import sys; sys.modules['__main__'].before = 'kept'")
    repl.sees("(Pdb)")
    terminal.line("keep")
    repl.sees("snapshot: kept")
    repl.sees("(Pdb) ")
    terminal.line("q")
    repl.say("before")
    repl.sees("'kept'")
    repl.leave()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("sys.exit()", "sys.exit()"),
        ("sys.exit(3)", "sys.exit(3)"),
        ("sys.exit('no more')", "sys.exit('no more')"),
        ("raise SystemExit", "sys.exit()"),
    ],
)
def test_after_sys_exit(terminal: Terminal, call: str, said: str) -> None:
    repl = Repl(terminal, source=f"import sys\nx = 'set'\n{call}\n")
    repl.sees(f"snapshot: the program ended by {said}\n")
    repl.say("x")
    repl.sees("'set'")
    repl.leave()


def test_ctrl_c_in_the_program(terminal: Terminal) -> None:
    source = "x = 'set'\nprint('at work')\nwhile x:\n    pass\n"
    repl = Repl(terminal, source=source)
    repl.sees("at work")
    terminal.type("\x03")
    repl.sees(re.compile(r"line [2-4], in <module>\n    .*\n(.*\n)?KeyboardInterrupt"))
    repl.say("x")
    repl.sees("'set'")
    repl.leave()


def test_the_programs_own_names(terminal: Terminal) -> None:
    repl = Repl(terminal, source="from snapshot import snapshot\nkeep = frames = 'own'\n")
    repl.sees(
        "snapshot: not set, as the program has its own: frames, keep; "
        "ours: snapshot.repl.frames, snapshot.keep"
    )
    repl.say("keep + frames")
    repl.sees("'ownown'")
    repl.leave()


def test_completions_come_in_a_pause_of_the_typing(terminal: Terminal) -> None:
    repl = Repl(terminal)
    repl.say("'jedi' in __import__('sys').modules")
    repl.sees(re.compile(r"^Out\[1\]: False", re.M))
    repl.prompt()
    terminal.type("data.ins")
    repl.sees(re.compile(r"data\.ins.*^ *insert\(\) *$", re.M | re.S))
    terminal.line("ert(0, 'first'); print(*data[:2])")
    repl.sees("first 0")
    repl.prompt()
    repl.say("'jedi' in __import__('sys').modules")
    repl.sees("True")
    repl.leave()


@pytest.mark.parametrize(
    ("breaks", "shown"),
    [
        ("import os; os.close(0)", "at the prompt, exited with code 1: back at state"),
        ("sys.stdout.close()", "at the prompt, exited with code 1: back at state"),
    ],
)
def test_a_prompt_that_is_broken_gives_way_to_the_one_before(
    terminal: Terminal, breaks: str, shown: str
) -> None:
    repl = Repl(terminal)
    repl.say("import sys; x = 'it ' + 'is here'")
    repl.say(breaks)
    terminal.wait_for(shown)
    terminal.type("x\r")
    repl.sees("it is here")
    terminal.line("exit()")
    terminal.prompt()
    terminal.vacated()


def test_a_prompt_that_is_broken_ends_where_there_is_no_past(terminal: Terminal) -> None:
    Repl(terminal, "--no-past")
    terminal.wait_for(">>> ")
    terminal.line("__import__('sys').stdout.close()")
    terminal.prompt()
    assert terminal.run("echo $?") == "1"


@pytest.mark.parametrize("options", ["", "--asyncio"], ids=["sync", "asyncio"])
def test_an_interrupt_from_elsewhere_is_one_at_the_prompt(terminal: Terminal, options: str) -> None:
    repl = Repl(terminal, options)
    repl.say("__import__('os').getpid()")
    pid = int(repl.sees(re.compile(r"^Out\[1\]: (\d+)", re.M))[1])
    repl.prompt()
    terminal.type("half a li")
    terminal.wait_for("half a li")
    os.kill(pid, signal.SIGINT)
    terminal.wait_for(re.compile(r"^In \[2\]: half a li\s*^In \[2\]:\s*$", re.M))
    terminal.line("print('a whole', 'line')")
    repl.sees("a whole line")
    assert "already running" not in terminal.transcript()
    assert "Traceback" not in terminal.transcript()
    repl.say("__import__('os').getpid()")
    repl.sees(f"Out[3]: {pid}")
    repl.leave()


def test_no_program(terminal: Terminal) -> None:
    (terminal.directory / "startup.py").write_text("started = 'at ' + 'once'\n1 / 0\n")
    terminal.run("export PYTHONSTARTUP=startup.py")
    repl = Repl(terminal, source=None)
    repl.sees("ZeroDivisionError")
    repl.say("started, __name__, __import__('sys').argv")
    repl.sees("('at once', '__main__', [''])")
    repl.leave()
    repl = Repl(terminal)
    repl.say("'started' in globals()")
    repl.sees("False")
    repl.leave()


def test_a_snapshot_that_the_program_takes(terminal: Terminal) -> None:
    source = "import snapshot\nwho = 'experiment' if snapshot.snapshot('mine') else 'original'\n"
    repl = Repl(terminal, source=source)
    repl.say("who.upper()", "1 mine >>>")
    repl.sees("'EXPERIMENT'")
    repl.say("exit(3)", "1 mine >>>")
    repl.sees(re.compile("back at 0 'mine' .*code 3", re.S))
    repl.say("who.upper()")
    repl.sees("'ORIGINAL'")
    repl.leave()


@pytest.mark.parametrize(
    ("end", "status"),
    [("exit()", 0), ("exit(3)", 3), ("quit(4)", 4), ("import sys; sys.exit('no more')", 1)],
)
@both
def test_status_is_that_of_the_prompt(
    terminal: Terminal, end: str, status: int, options: str
) -> None:
    repl = Repl(terminal, options, source="import sys\nsys.exit(9)\n")
    repl.say(end)
    terminal.prompt()
    assert terminal.run("echo status $?") == f"status {status}"


def test_vi(terminal: Terminal) -> None:
    repl = Repl(terminal, "--vi")
    repl.say("print('vi is', get_ptpython().vi_mode)")
    repl.sees("vi is True")
    repl.leave()


def test_ptpythons_files(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "config.py").write_text(
        "def configure(repl):\n    repl.prompt_style = 'ipython'\n    repl.confirm_exit = False\n"
    )
    (tmp_path / "history").write_text("\n# 2020-01-01 00:00:00\n+print('of o' + 'ld')\n")
    arguments = ("--config-file", "config.py", "--history-file", "history")
    repl = Repl(terminal, *arguments)
    repl.recall("print('of o' + 'ld')", "In [1]:")
    terminal.line()
    repl.sees(re.compile("^of old", re.M))
    repl.say("snapshot('named')", "In [2]:")
    repl.say("1 + 1", "1 named In [3]:")
    repl.sees("Out[3]: 2")
    repl.prompt("1 named In [4]:")
    terminal.type("\x04")
    repl.sees("the experiment exited with code 0")
    repl.prompt("In [5]:")
    terminal.type("\x04")
    terminal.prompt()
    assert "+1 + 1\n" in (tmp_path / "history").read_text()


def test_files_that_cannot_be_used(terminal: Terminal) -> None:
    command = "snapshot-repl --{} -c 'print(1)'; echo status $?"
    for option, said in (
        ("config-file missing.py", "cannot open 'missing.py': No such file or directory"),
        ("history-file no/where", "cannot open 'no/where': No such file or directory"),
        ("history-file home", "cannot open 'home': Is a directory"),
    ):
        shown = terminal.run(command.format(option))
        assert shown == f"snapshot-repl: {said}\nstatus 2"


def test_standard_streams_that_the_program_has_spoilt(terminal: Terminal) -> None:
    source = "x = 'whole'\nexit()\n"
    repl = Repl(terminal, source=source)
    repl.sees("the program ended by sys.exit()")
    repl.say("x, input('name: ')")
    repl.sees(re.compile("^name: ", re.M))
    terminal.line("typed")
    repl.sees("('whole', 'typed')")
    repl.leave()
    source = "import io, sys\nsys.stdin, sys.stdout = io.StringIO('here'), io.StringIO()\n"
    repl = Repl(terminal, source=source)
    repl.say("print('not shown')")
    repl.say("sys.stdout.getvalue().upper(), input()")
    repl.sees(r"('NOT SHOWN\n', 'here')")
    repl.leave()


def test_pythons_own_files_shadow_nothing(terminal: Terminal) -> None:
    (terminal.directory / "prompt_toolkit.py").write_text("raise SystemExit('shadowed')\n")
    (terminal.directory / "code.py").write_text("raise SystemExit('shadowed')\n")
    repl = Repl(terminal)
    repl.say("data[:2]")
    repl.sees("[0, 1]")
    repl.leave()


def test_several_lines(terminal: Terminal) -> None:
    repl = Repl(terminal)
    repl.say("snapshot('a')")
    repl.prompt("1 a >>>")
    terminal.type("if data:\rprint('some', 'data')\r\r")
    repl.sees("some data")
    repl.say("exit()", "1 a >>>")
    repl.sees("back at 0")
    repl.leave()


def test_umbrella_command(terminal: Terminal) -> None:
    repl = Repl(terminal, "-c", "x = 20", "--vi", source=None, command="snapshot repl")
    repl.say("x + 22, __import__('sys').argv")
    repl.sees("(42, ['-c', '--vi'])")
    repl.leave()
