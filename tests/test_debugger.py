"""set_trace and the debugger's own commands, on a real terminal."""

from __future__ import annotations

import re

from tests.terminal import Terminal

SCRIPT = """
def work():
    x = "original"
    breakpoint()
    print("x is", x)
    return x

work()
print("the end")
"""


def start(terminal: Terminal) -> None:
    (terminal.directory / "debugged.py").write_text(SCRIPT)
    terminal.line("PYTHONBREAKPOINT=snapshot.set_trace python debugged.py")


def say(terminal: Terminal, prompt: str, line: str) -> None:
    terminal.wait_for(prompt, since=terminal.typed_at)
    terminal.line(line)


def test_the_experiment_first_then_the_original_at_the_same_line(terminal: Terminal) -> None:
    start(terminal)
    say(terminal, "(Pdb 1) ", "x = 'changed'")
    say(terminal, "(Pdb 1) ", "c")
    terminal.wait_for("x is changed")
    terminal.wait_for("the experiment exited with code 0")
    say(terminal, "(Pdb) ", "p x")
    terminal.wait_for("'original'")
    say(terminal, "(Pdb) ", "c")
    terminal.wait_for("x is original")
    terminal.prompt()
    assert terminal.transcript().count("the end") == 2
    assert len(re.findall(r"debugged.py\([45]\)work\(\)", terminal.transcript())) == 2


def test_snap_revert_and_snaps(terminal: Terminal) -> None:
    start(terminal)
    say(terminal, "(Pdb 1) ", "q")
    terminal.wait_for("the experiment exited with code 1")
    say(terminal, "(Pdb) ", "snap mine")
    say(terminal, "(Pdb 1) ", "x = 'changed'")
    say(terminal, "(Pdb 1) ", "snap")
    say(terminal, "(Pdb 2) ", "snaps")
    terminal.wait_for("mine")
    say(terminal, "(Pdb 2) ", "snap mine")
    terminal.wait_for("*** a snapshot 'mine' waits already")
    say(terminal, "(Pdb 2) ", "revert nowhere")
    terminal.wait_for("*** no snapshot 'nowhere' waits")
    say(terminal, "(Pdb 2) ", "revert mine")
    terminal.wait_for(re.compile(r"snapshot: back at 0 'mine' \(debugged.py:[45] work\)"))
    say(terminal, "(Pdb) ", "p x")
    terminal.wait_for("'original'")
    say(terminal, "(Pdb) ", "revert")
    terminal.wait_for("*** revert(): no snapshot waits")
    say(terminal, "(Pdb) ", "help snap")
    terminal.wait_for("Take a snapshot here")
    say(terminal, "(Pdb) ", "c")
    terminal.prompt()


def test_keep_makes_the_experiment_the_real_program(terminal: Terminal) -> None:
    start(terminal)
    say(terminal, "(Pdb 1) ", "x = 'kept'")
    say(terminal, "(Pdb 1) ", "keep")
    say(terminal, "(Pdb) ", "c")
    terminal.wait_for("x is kept")
    terminal.prompt()
    assert terminal.transcript().count("the end") == 1
    assert terminal.run("echo $?") == "0"
    assert not terminal.pids()


def test_a_snapshot_at_a_post_mortem_names_the_line_that_failed(terminal: Terminal) -> None:
    (terminal.directory / "failing.py").write_text(
        "def share(of):\n    return 1 / of\n\nshare(0)\n"
    )
    terminal.line("snapshot run failing.py")
    terminal.wait_for("[Y/n] ")
    terminal.line("y")
    say(terminal, "(Pdb 1) ", "snap mine")
    say(terminal, "(Pdb 2) ", "up")
    say(terminal, "(Pdb 2) ", "revert")
    terminal.wait_for("snapshot: back at 1 'mine' (failing.py:2 share)")
    say(terminal, "(Pdb 1) ", "revert")
    terminal.wait_for("snapshot: back at 0 (failing.py:2 share)")
    terminal.wait_for("[y/N] ")
    terminal.line("n")
    terminal.prompt()
