"""`%load_ext snapshot` in IPython on a real terminal: what a person sees there."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import psutil
import pytest

from tests.terminal import ScreenTimeout, Terminal

IPYTHON = "python -m IPython --no-banner --no-confirm-exit --colors=NoColor"


class IPython:
    """IPython with the extension in a terminal, and a person who waits for its prompt."""

    def __init__(self, terminal: Terminal, *before: str, load: bool = True) -> None:
        """before: cells that are run before the extension is loaded."""
        self.terminal = terminal
        self._modes = terminal.run("stty -g")
        terminal.line(IPYTHON)
        for line in before:
            self.say(line)
        if load:
            self.say("%load_ext snapshot")
            self.sees("states() to see them")

    def prompt(self, number: int | None = None) -> int:
        """Wait for the prompt below what was typed last; the number in it."""
        found: re.Match[str] | None = None
        pattern = re.compile(r"(?:.* )?In \[(\d+)\]:")

        def shown() -> bool:
            nonlocal found
            _, *below = self.terminal.lines(self.terminal.typed_at)
            lines = [line.strip() for line in below if line.strip()]
            found = pattern.fullmatch(lines[-1]) if lines else None
            return found is not None and number in (None, int(found[1]))

        self.terminal.wait_until(shown, awaited=f"prompt {number or ''}")
        assert found is not None
        return int(found[1])

    def say(self, line: str, number: int | None = None) -> None:
        """Wait for the prompt, with that number, and type a line there."""
        self.prompt(number)
        self.terminal.line(line)

    def sees(self, wanted: str | re.Pattern[str]) -> re.Match[str]:
        """Wait for something below the line that was typed last."""
        start = self.terminal.typed_at
        return self.terminal.wait_for(wanted, since=start._replace(row=start.row + 1, column=0))

    def gives(self, line: str, value: str) -> None:
        """A cell of which that is shown as the value."""
        self.say(line)
        self.sees(re.compile(rf"^Out\[\d+\]: {re.escape(value)}$", re.M))

    def told(self, line: str) -> list[str]:
        """A cell, and the lines that are shown below it; the next prompt is not one of them."""
        self.say(line)
        start = self.terminal.typed_at
        self.prompt()
        _, *below = self.terminal.lines(start)
        *shown, _prompt = (each.rstrip() for each in below if each.strip())
        return shown

    def recall(self, line: str) -> None:
        """Go up in the history until that line is there; it is loaded after the prompt appears."""
        self.prompt()
        shown = re.compile(rf"In \[\d+\]: {re.escape(line)}\s*\Z")
        for _ in range(20):
            self.terminal.type("\x10")
            with contextlib.suppress(ScreenTimeout):
                self.terminal.wait_for(shown, timeout=0.5)
                return
        raise AssertionError(f"no {line!r} in the history:\n{self.terminal.screen()}")

    def leave(self, line: str = "exit") -> None:
        """End it, and find the shell as it was."""
        self.say(line)
        self.terminal.prompt()
        assert self.terminal.run("echo status $?") == "status 0"
        assert self.terminal.run("stty -g") == self._modes
        self.terminal.vacated()
        transcript = self.terminal.transcript()
        assert "not unique" not in transcript
        assert "history saving thread" not in transcript
        assert "sqlite" not in transcript.lower()


def test_everything_is_as_it_was(terminal: Terminal) -> None:
    shell = IPython(terminal, "import random")
    shell.say("random.seed(7); data = [1]; squares = (n * n for n in range(2, 9))", 3)
    shell.say("count = lambda: len(data)", 4)
    look = "next(squares), count(), round(random.random(), 3)"
    shell.gives(look, "(4, 1, 0.324)")
    shell.say("data.append(2)")
    shell.gives(look, "(9, 2, 0.151)")
    shell.say("%past 4", 8)
    shell.sees("snapshot: at state 4, in process")
    shell.gives(look, "(4, 1, 0.324)")
    shell.say("%past 7")
    shell.sees("Out[7]: (9, 2, 0.151)")
    shell.gives(look, "(16, 2, 0.651)")
    shell.leave()


def test_arrays(terminal: Terminal) -> None:
    shell = IPython(terminal, "import numpy")
    shell.say("numpy.random.seed(3); grid = numpy.ones((300, 300))", 3)
    shell.say("grid += numpy.random.rand(300, 300)")
    shell.gives("bool((grid @ grid).sum() > 1e9), int(grid.sum() > 9e4)", "(False, 1)")
    shell.say("past(3)")
    shell.sees("snapshot: at state 3")
    shell.gives("float((grid @ grid).sum())", "27000000.0")
    shell.gives("int(numpy.random.rand() * 1000)", "550")
    shell.leave()


def test_the_present_is_the_same_process(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("import os, threading; pid = os.getpid(); go = threading.Event()", 2)
    shell.say("waiting = threading.Thread(target=go.wait, name='patient'); waiting.start()", 3)
    shell.say("%past 2", 4)
    shell.sees("snapshot: at state 2, in process")
    shell.gives("os.getpid() == pid", "False")
    shell.say("%past 3")
    shell.sees("without the threads 'patient'")
    shell.say("%present")
    shell.sees(re.compile(r"^snapshot: back in process \d+, at state 3$", re.M))
    shell.gives("os.getpid() == pid, waiting.is_alive()", "(True, True)")
    shell.say("go.set(); waiting.join()")
    shell.leave()


def test_the_tree(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("x = 1", 2)
    shell.say("x = 2", 3)
    shell.say("tm.name(2, 'loaded')", 4)
    shell.say("%past loaded", 5)
    shell.say("x = 3", 6)
    shell.say("%states", 7)
    rows = [r"Out\[7\]:", r"state +branch +name +code.*", r"1 +1 +%load_ext snap.*"]
    rows += [r"2 +1 +loaded +x = 1 .*", r"├─6 +2 +x = 3 .*<- here", r"3 +1 +x = 2 .*"]
    rows += [r"4 +1 +tm.name\(2, 'l.*tip \(\d+\)"]
    shell.sees(re.compile(r"\s*\n".join(rows)))
    shell.say("%vars 3", 8)
    shell.sees(re.compile(r"Out\[8\]:\s*\nname +type +size\s*\nx +int +28 B\s*\n"))
    shell.gives("tm.vars(3)['x'], type(tm.ans(8)).__name__", "(2, 'Unavailable')")
    shell.say("%present 1")
    shell.gives("x", "2")
    shell.say("%present 2")
    shell.gives("x", "3")
    shell.leave()


def test_twenty_fast_snapshots_and_travels_in_a_row(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.prompt(2)
    terminal.type("".join(f"x = {n}\r" for n in range(2, 22)))
    shell.prompt(22)
    terminal.type("".join(f"%past {n}\r" for n in range(21, 1, -1)))
    shell.prompt(42)
    shell.gives("x", "2")
    for n in range(5):
        shell.say(f"past({n + 10})")
        shell.sees(f"snapshot: at state {n + 10}")
        shell.say("present()")
        shell.sees("snapshot: back in process")
    shell.gives("x", "21")
    shell.say("%history -n")
    shell.sees(re.compile(r"^ +2: x = 2\s*$(.*\n)+ +21: x = 21\s*$", re.M))
    shell.leave()
    assert unique_lines(terminal.directory) >= 43


def unique_lines(home: Path) -> int:
    """How many lines there are in IPython's history; each is that of one session and number."""
    (path,) = home.rglob("history.sqlite")
    with sqlite3.connect(path) as database:
        (count,) = database.execute("SELECT count(*) FROM history").fetchone()
        assert list(database.execute("PRAGMA integrity_check")) == [("ok",)]
    database.close()
    return int(count)


@pytest.mark.parametrize(
    ("crash", "how"),
    [
        ("import ctypes; ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("import os; os._exit(4)", "exited with code 4"),
    ],
)
def test_a_crash_lands_at_the_state_before(terminal: Terminal, crash: str, how: str) -> None:
    shell = IPython(terminal)
    shell.say("x = 'still ' + 'here'; x", 2)
    shell.say(crash, 3)
    shell.sees(re.compile(rf"snapshot: process \d+, in cell 3, {how}: back at\s+state 2, in pro"))
    shell.prompt(4)
    assert "Out[2]" not in "\n".join(terminal.lines(terminal.typed_at))
    shell.gives("x", "'still here'")
    shell.leave()


def test_history_stays_whole(terminal: Terminal) -> None:
    shell = IPython(terminal, "early = 1")
    shell.say("a = 1", 3)
    shell.say("elsewhere = 'not yet'", 4)
    shell.say("%past 3", 5)
    shell.say("b = 'on the ' + 'branch'", 6)
    shell.gives(
        "In[1], In[3:7], In[-1] is In[7]",
        "('early = 1', ['a = 1', '', '', \"b = 'on the ' + 'branch'\"], True)",
    )
    shell.say("%present")
    shell.recall("b = 'on the ' + 'branch'")
    terminal.type("\r")
    shell.gives("b, sorted(Out)", "('on the branch', [])")
    shell.leave()
    terminal.line(IPYTHON)
    shell.recall("b, sorted(Out)")
    terminal.type("\x15")
    terminal.line("%history -g early")
    shell.sees("early = 1")
    shell.leave()


def test_failed_cells_are_counted_and_kept(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("x = 1; 1/0", 2)
    shell.sees("ZeroDivisionError")
    shell.say("x = = 2", 3)
    shell.sees("SyntaxError")
    shell.say("", 4)
    shell.say("get_ipython().run_cell('x = 4', store_history=False); x", 4)
    shell.sees("Out[4]: 4")
    shell.say("%past 2", 5)
    shell.sees("at state 2")
    shell.gives("x", "1")
    shell.say("tm.ans(3)", 7)
    shell.sees("SyntaxError: invalid syntax")
    shell.leave()


def test_rerun(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("x = [1]", 2)
    shell.say("x.append(len(x)); x", 3)
    shell.say("x = None", 4)
    shell.say("tm.rerun(3)", 5)
    shell.sees(
        re.compile(r"^branch 2 In \[6\]: x\.append\(len\(x\)\); x\s*\n+Out\[6\]: \[1, 1\]", re.M)
    )
    shell.gives("x", "[1, 1]")
    shell.leave()


def test_a_future(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("x = 20", 2)
    shell.prompt(3)
    terminal.type("%%future\rprint('work', 'ing')\rx += 1\rx * 2\x1b\r")
    shell.sees(re.compile(r"Out\[3\]: <future 4: print\('work', 'ing'\): (running|done)>"))
    shell.sees(re.compile(r"^\[4\] work ing\s*$", re.M))
    shell.sees(re.compile(r"^snapshot: future 4 done after .*: ans\(4\), past\(4\)", re.M))
    shell.gives("_.result(), x", "(42, 20)")
    shell.say("%future 1 / 0", 6)
    shell.sees("future 7 failed after")
    shell.say("_.result()", 8)
    shell.sees("ZeroDivisionError: division by zero")
    shell.say("%past 4", 9)
    shell.sees("snapshot: at state 4")
    shell.sees("Out[4]: 42")
    shell.gives("_, Out[4], x", "(42, 42, 21)")
    shell.leave()
    assert "Landed" not in terminal.transcript()


def test_leaving_asks_about_futures(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("f = tm.future('import time; time.sleep(600)')", 2)
    for leave in ("exit\r", "\x04"):
        shell.prompt()
        terminal.type(leave)
        shell.sees("These futures still run: end them and leave?")
        terminal.line("n")
    shell.gives("f.running()", "True")
    shell.prompt()
    terminal.type("\x04")
    shell.sees("end them and leave?")
    terminal.line("y")
    terminal.prompt()
    terminal.vacated()


def test_a_statement_in_the_debugger_that_goes_backwards(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("def part(x): y = x * 2; return 100 / y", 2)
    shell.say("%backwards part(0)", 3)
    shell.sees("-> part(0)")
    for line, shown in (
        ("c", "The program was ended by ZeroDivisionError: division by zero."),
        ("rn", "-> def part(x): y = x * 2; return 100 / y"),
        ("p x", "0"),
        ("x = 5", ""),
        ("c", "The program has ended."),
        ("rn", "-> part(0)"),
    ):
        terminal.wait_for(re.compile(r"\(Pdb \d+\) $"), since=terminal.typed_at)
        terminal.line(line)
        shell.sees(shown)
    terminal.wait_for(re.compile(r"\(Pdb \d+\) $"), since=terminal.typed_at)
    terminal.line("q")
    shell.sees("snapshot: back at 0 (")
    shell.say("part(0)", 4)
    shell.say("%backwards", 5)
    terminal.wait_for(re.compile(r"\(Pdb\) $"), since=terminal.typed_at)
    terminal.line("p y")
    shell.sees("0")
    terminal.wait_for(re.compile(r"\(Pdb\) $"), since=terminal.typed_at)
    terminal.line("q")
    shell.gives("part(5)", "10.0")
    shell.leave()


MISTAKES = {
    "%backwards": "UsageError: %backwards: there was no exception; give a statement to run",
    "%backwards 1 +": "UsageError: %backwards: '1 +' is no statement: invalid syntax",
    "%past": "UsageError: %past: give the number of a cell, or a name",
    "%past 99": "UnknownState: there is no state 99 yet; the nearest is",
    "%past nowhere": "UnknownState: there is no state 'nowhere'; none is named",
    "tm.past(2.5)": "UsageError: 2.5 is no state: give the number of a cell, or a name",
    "%present": "TimelineError: this is the tip of branch 1 already",
    "%present 7": "UnknownState: there is no branch 7; there is 1",
    "%states 3": "UsageError: %states takes nothing, not '3'",
    "%vars": "UsageError: %vars: give the number of a cell, or a name",
    "%future": "UsageError: %future: give an expression; after %%future",
    "%revert": "NotAnExperiment: revert(): no snapshot waits",
    "%keep": "NotAnExperiment: keep(): no snapshot waits",
}


def test_a_mistake_is_one_line(terminal: Terminal) -> None:
    shell = IPython(terminal)
    for line, told in MISTAKES.items():
        (shown,) = shell.told(line)
        assert shown.startswith(told)
    shell.leave()


def test_an_experiment(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("x = 1", 2)
    shell.say("%snapshot try", 3)
    shell.sees("Out[3]: True")
    shell.say("x = 2", 4)
    shell.prompt(5)
    assert terminal.screen().endswith("\n1 try In [5]:")
    terminal.line("%past 2")
    shell.sees("TimelineError: past(): this is an experiment")
    shell.say("%revert")
    shell.sees(re.compile(r"snapshot: back at 0 'try' .*the experiment reverted", re.S))
    shell.gives("x", "1")
    shell.say("%snapshot")
    shell.say("x = 3")
    shell.say("%keep")
    shell.sees("snapshot: kept")
    shell.gives("x", "3")
    shell.say("%past 2")
    shell.gives("x", "1")
    shell.leave()


def test_where_it_cannot_be_loaded(terminal: Terminal) -> None:
    shell = IPython(terminal, "from snapshot import revert, snapshot; snapshot()", load=False)
    shell.say("%load_ext snapshot")
    shell.sees("UsageError: %load_ext snapshot: this is an experiment")
    shell.say("revert()")
    shell.sees("the experiment reverted")
    shell.say("from snapshot import load_ipython_extension as load")
    shell.say("%load_ext snapshot")
    shell.sees("states() to see them")
    shell.say("load(get_ipython())")
    shell.sees("UsageError: snapshot is loaded already")
    shell.leave()


def test_not_inside_a_program(terminal: Terminal) -> None:
    shell = IPython(terminal, load=False)
    shell.say("def inside(): import IPython; IPython.embed(colors='NoColor')")
    shell.say("inside()")
    shell.say("%load_ext snapshot")
    shell.sees("UsageError: %load_ext snapshot: this prompt is inside a program")
    shell.say("exit")
    shell.leave()


def test_what_stays_behind_is_named(terminal: Terminal) -> None:
    shell = IPython(
        terminal,
        "import threading; threading.Thread(target=threading.Event().wait, name='lost', "
        "daemon=True).start()",
        "import subprocess; child = subprocess.Popen(['sleep', '600'])",
        "tm = 'mine'",
    )
    shown = "\n".join(terminal.lines(terminal.typed_at))
    assert "snapshot: from here on without the threads 'lost'" in shown
    assert "snapshot: what was started before is no child of this process any more" in shown
    assert "snapshot: not set, as you have your own: tm; ours: %past, %present" in shown
    shell.gives("tm, threading.active_count() <= 2", "('mine', True)")
    shell.say("import os, signal; os.kill(child.pid, signal.SIGKILL)")
    assert "past" not in " ".join(shell.told("%who"))
    shell.leave()


def test_what_it_had_is_its_own(terminal: Terminal) -> None:
    """IPython's temporary files, open files, exit handlers: each is seen to once, at the end."""
    shell = IPython(
        terminal,
        "path = get_ipython().mktempfile('x = 1')",
        "log = open('log', 'w'); log.write('buf' + 'fered')",
        "import atexit; atexit.register(print, 'at', 'exit')",
        "import os, tempfile; folder = tempfile.TemporaryDirectory()",
    )
    shell.say("%past 5")
    shell.sees("snapshot: at state 5")
    shell.say("os.path.exists(path), os.path.exists(folder.name)")
    shell.sees("(True, True)")
    shell.say("present()")
    shell.gives("os.path.exists(path), os.path.exists(folder.name)", "(True, True)")
    shell.say("print('files', path, folder.name, 'end')")
    files = shell.sees(re.compile(r"files (\S+) (\S+) end"))
    shell.leave()
    assert terminal.transcript().count("at exit") == 1
    assert (terminal.directory / "log").read_text() == "buffered"
    assert not Path(files[1]).exists()
    assert not Path(files[2]).exists()


def test_interrupts_and_suspension(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("import time; from pathlib import Path", 2)
    shell.say("%past 2", 3)
    shell.say("print('as' + 'leep'); time.sleep(600)", 4)
    shell.sees(re.compile("^asleep", re.M))
    terminal.type("\x03")
    shell.sees("KeyboardInterrupt")
    shell.say("print('as' + 'leep'); [time.sleep(0.01) for _ in iter(Path('go').exists, True)];", 5)
    shell.sees(re.compile("^asleep", re.M))
    terminal.type("\x1a")
    terminal.prompt()  # the states, which are frozen, are not stopped
    terminal.resume()
    terminal.typed_at = terminal.mark()
    (terminal.directory / "go").touch()
    shell.leave()


def test_unhook(terminal: Terminal) -> None:
    shell = IPython(terminal)
    shell.say("x = 1", 2)
    shell.say("tm.unhook()", 3)
    shell.sees("snapshot: the time machine is off")
    shell.say("past", 4)
    shell.sees("NameError")
    shell.say("%past 2", 5)
    shell.sees("UsageError: Line magic function `%past` not found.")
    shell.gives("x", "1")
    terminal.wait_until(lambda: len(terminal.pids()) == 2)
    shell.say("%load_ext snapshot", 7)
    shell.say("x = 2", 8)
    shell.say("%past 7", 9)
    shell.gives("x", "1")
    shell.say("%present")
    shell.say("%unload_ext snapshot")
    shell.sees("snapshot: the time machine is off")
    shell.gives("x", "2")
    shell.leave()


def test_loaded_by_the_configuration(terminal: Terminal) -> None:
    profile = terminal.directory / "ipy" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text(
        "c = get_config()\n"
        "c.InteractiveShellApp.extensions = ['snapshot']\n"
        "c.InteractiveShellApp.exec_lines = ['x = 0']\n"
    )
    terminal.run("export IPYTHONDIR=$PWD/ipy")
    shell = IPython(terminal, load=False)
    shell.say("x = 1", 1)
    shell.say("%past 0", 2)
    shell.sees("snapshot: at state 0")
    shell.gives("x", "0")
    shell.leave()


def test_a_simple_prompt(terminal: Terminal) -> None:
    terminal.run("export IPY_TEST_SIMPLE_PROMPT=1")
    shell = IPython(terminal)
    shell.say("x = 1", 2)
    shell.say("x = 2", 3)
    shell.say("past(2)", 4)
    shell.sees("snapshot: at state 2")
    shell.gives("x", "1")
    shell.leave()


@pytest.mark.parametrize("number", [15, 9])
def test_a_kill_of_the_supervisor_ends_everything(terminal: Terminal, number: int) -> None:
    shell = IPython(terminal)
    shell.say("x = 1", 2)
    shell.say("%past 2", 3)
    shell.prompt(4)
    (supervisor,) = (p for p in terminal.processes() if p.ppid() == terminal.shell_pid)
    psutil.Process(supervisor.pid).send_signal(number)
    terminal.prompt()
    terminal.vacated()
    terminal.run("reset")
