"""snapshot() at every prompt there is, ended in every way there is, on a real terminal."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.terminal import ScreenTimeout, Terminal

PDB_SCRIPT = """
def work():
    x = 1
    breakpoint()
    return x

work()
"""


POST_MORTEM_SCRIPT = """
import pdb

def work():
    1 / 0

try:
    work()
except ZeroDivisionError:
    pdb.post_mortem()
"""


@dataclass(frozen=True)
class Prompt:
    """A prompt under test.

    start: types what opens it. text: a pattern for its prompt, at the end of the screen.
    leave: what is typed to end its process.
    """

    name: str
    start: Callable[[Terminal], None]
    text: str
    leave: str = "exit()"

    def wait(self, terminal: Terminal) -> None:
        """Wait for the prompt below the line that was typed last."""
        pattern = re.compile(self.text)

        def shown() -> bool:
            _, *below = terminal.lines(terminal.typed_at)
            lines = [line.rstrip() for line in below if line.strip()]
            return any(map(pattern.fullmatch, lines[-2:]))  # ptpython has its status bar below

        terminal.wait_until(shown, awaited=f"prompt {self.text!r}")


def _python(terminal: Terminal) -> None:
    terminal.line("python -q")


def _pdb(terminal: Terminal) -> None:
    (terminal.directory / "debugged.py").write_text(PDB_SCRIPT)
    terminal.line("python debugged.py")


def _post_mortem(terminal: Terminal) -> None:
    (terminal.directory / "failing.py").write_text(POST_MORTEM_SCRIPT)
    terminal.line("python failing.py")


def _ipython(terminal: Terminal) -> None:
    terminal.line("python -m IPython --no-banner --no-confirm-exit --colors=NoColor")


def _ptpython(terminal: Terminal) -> None:
    terminal.line("python -m ptpython")


def _ptpython_asyncio(terminal: Terminal) -> None:
    terminal.line("python -m ptpython --asyncio")


PYTHON = Prompt("python", _python, r">>>")
PDB = Prompt("pdb", _pdb, r"\(Pdb\)", leave="q")
POST_MORTEM = Prompt("post-mortem", _post_mortem, r"\(Pdb\)", leave="q")
IPYTHON = Prompt("ipython", _ipython, r"In \[\d+\]:")
PTPYTHON = Prompt("ptpython", _ptpython, r">>>")
# ptpython's own exit() does not work there, and it ends with status 0 at any SystemExit.
PTPYTHON_ASYNCIO = Prompt("ptpython-asyncio", _ptpython_asyncio, r">>>", leave="raise SystemExit")
PROMPTS = [PYTHON, PDB, POST_MORTEM, IPYTHON, PTPYTHON, PTPYTHON_ASYNCIO]

ENDINGS = {
    "revert()": r"reverted",
    "leave": r"exited with code [01]",
    "sys.exit(7)": r"exited with code 7",
    "raise SystemExit(7)": r"exited with code 7",
    "Ctrl-D": r"exited with code [01]",
    "import os; os._exit(4)": r"exited with code 4",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": r"was killed by SIGSEGV",
    "SIGKILL": r"was killed by SIGKILL",
}


def say(prompt: Prompt, terminal: Terminal, line: str) -> None:
    """Wait for the prompt and type a line there."""
    prompt.wait(terminal)
    terminal.line(line)


def begin(prompt: Prompt, terminal: Terminal) -> None:
    """Open the prompt, set x, take a snapshot and change x in the experiment."""
    prompt.start(terminal)
    say(prompt, terminal, "import sys; from snapshot import snapshot, revert")
    say(prompt, terminal, "x = 'ori' + 'ginal'")
    say(prompt, terminal, "snapshot()")
    terminal.wait_for("True")
    say(prompt, terminal, "x = 'changed'")


def end(prompt: Prompt, terminal: Terminal, ending: str) -> None:
    prompt.wait(terminal)
    if ending == "SIGKILL":
        (experiment,) = [each for each in terminal.processes() if not each.children()]
        experiment.kill()
    elif ending == "Ctrl-D":
        terminal.type("\x04")
        if prompt in (PTPYTHON, PTPYTHON_ASYNCIO):
            terminal.wait_for("Do you really want to exit?")
            terminal.type("y")
    else:
        terminal.line(prompt.leave if ending == "leave" else ending)


@pytest.mark.parametrize(
    ("prompt", "ending"),
    [
        pytest.param(prompt, ending, id=f"{prompt.name}-{ending}")
        for prompt in PROMPTS
        for ending in ENDINGS
        if not (prompt is IPYTHON and "7" in ending)  # it shows a SystemExit and goes on
    ],
)
def test_back_at_the_prompt(terminal: Terminal, prompt: Prompt, ending: str) -> None:
    modes = terminal.run("stty -a")
    begin(prompt, terminal)
    end(prompt, terminal, ending)
    told = ENDINGS[ending]
    if prompt is PTPYTHON_ASYNCIO and "7" in ending:
        told = "exited with code 0"
    if prompt in (PDB, POST_MORTEM) and ending in ("sys.exit(7)", "raise SystemExit(7)"):
        terminal.wait_for("SystemExit: 7")  # pdb shows it and goes on
        end(prompt, terminal, "leave")
        told = ENDINGS["leave"]
    terminal.wait_for(re.compile(rf"snapshot: back at 0 .*the experiment {told}", re.S))
    say(prompt, terminal, "x + '!'")
    terminal.wait_for("original!")
    prompt.wait(terminal)
    terminal.type("print('last', x.up")
    terminal.line("per())")
    terminal.wait_for("last ORIGINAL")
    say(prompt, terminal, prompt.leave)
    terminal.prompt()
    assert terminal.run("stty -a") == modes
    terminal.vacated()


def test_pdb_continues_the_program_in_the_experiment_and_then_in_the_original(
    terminal: Terminal,
) -> None:
    begin(PDB, terminal)
    say(PDB, terminal, "import atexit; atexit.register(print, 'x was', x)")
    say(PDB, terminal, "c")
    terminal.wait_for("x was changed")
    terminal.wait_for("the experiment exited with code 0")
    say(PDB, terminal, "import atexit; atexit.register(print, 'x was', x)")
    say(PDB, terminal, "c")
    terminal.prompt()
    assert "x was original" in terminal.transcript()


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_a_pasted_burst_runs_each_line_once(terminal: Terminal, prompt: Prompt) -> None:
    prompt.start(terminal)
    say(prompt, terminal, "from snapshot import snapshot, revert")
    say(prompt, terminal, "x = 1; ran = open('ran', 'a', 1)")
    prompt.wait(terminal)
    start = terminal.mark()
    leave = "revert()" if prompt in (PDB, POST_MORTEM) else prompt.leave
    terminal.type(
        f"snapshot()\rx = ran.write('a') * 5\r{leave}\rprint('x is', x, ran.write('b'))\r"
    )
    terminal.wait_for("x is 1", since=start)
    say(prompt, terminal, prompt.leave)
    terminal.prompt()
    # What the original has not written out by itself is written at its end, as without a snapshot.
    assert "x is 5" not in terminal.transcript()
    assert terminal.transcript().count("snapshot: back at 0") == 1
    assert (terminal.directory / "ran").read_text() == "ab"


@pytest.mark.parametrize("ending", ["revert()", "SIGKILL"])
@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_lines_of_the_experiment_are_in_the_history(
    terminal: Terminal, prompt: Prompt, ending: str
) -> None:
    begin(prompt, terminal)
    say(prompt, terminal, "y = 'in the ' + 'experiment'")
    for n in range(2):  # IPython's thread writes a line a moment after it was typed
        say(prompt, terminal, f"z = {n}")
    end(prompt, terminal, ending)
    terminal.wait_for("snapshot: back at 0")
    prompt.wait(terminal)
    # prompt_toolkit loads the history after it has drawn the prompt: a key too early does nothing.
    for _ in range(20):
        terminal.type("\x10")
        with contextlib.suppress(ScreenTimeout):
            terminal.wait_until(
                lambda: "y = 'in the ' + 'ex" in terminal.screen().rpartition("back at 0")[2],
                timeout=0.5,
            )
            return
    pytest.fail(terminal.screen())


# In ptpython --asyncio Ctrl-C cancels the task of the cell, and a cell that does not await goes on.
@pytest.mark.parametrize("prompt", PROMPTS[:-1], ids=lambda prompt: prompt.name)
def test_three_interrupts_reach_the_experiment_alone(terminal: Terminal, prompt: Prompt) -> None:
    (terminal.directory / "sleeper.py").write_text(
        "import time\n"
        "def sleep(times):\n"
        "    for n in range(1, times + 1):\n"
        "        try:\n"
        "            print('asleep', n, flush=True)\n"
        "            while True:\n"
        "                time.sleep(0.01)\n"
        "        except KeyboardInterrupt:\n"
        "            print('interrupted', n, flush=True)\n"
    )
    prompt.start(terminal)
    say(prompt, terminal, "import sys; sys.path.insert(0, '.'); import sleeper")
    say(prompt, terminal, "from snapshot import snapshot, revert")
    say(prompt, terminal, "snapshot()")
    terminal.wait_for("True")
    say(prompt, terminal, "sleeper.sleep(3)")
    for n in (1, 2, 3):
        terminal.wait_for(f"asleep {n}")
        terminal.type("\x03")
        terminal.wait_for(f"interrupted {n}")
    say(prompt, terminal, "revert()")
    terminal.wait_for("snapshot: back at 0")
    assert "KeyboardInterrupt" not in terminal.transcript()
    say(prompt, terminal, "sleeper.sleep(1)")
    terminal.wait_until(lambda: terminal.transcript().count("asleep 1") == 2)
    terminal.type("\x03")
    terminal.wait_until(lambda: terminal.transcript().count("interrupted 1") == 2)


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_the_prompt_goes_on_after_keep(terminal: Terminal, prompt: Prompt) -> None:
    begin(prompt, terminal)
    say(prompt, terminal, "from snapshot import keep; keep()")
    terminal.wait_for("snapshot: kept")
    say(prompt, terminal, "files = [open(f'file{n}', 'w') for n in range(6)]")
    say(prompt, terminal, "print('x is', x.upper())")
    terminal.wait_for("x is CHANGED")
    say(prompt, terminal, prompt.leave)
    terminal.prompt()
    assert "Error" not in terminal.transcript().replace("BdbQuit", "")
    assert not any((terminal.directory / f"file{n}").read_bytes() for n in range(6))
    terminal.vacated()
