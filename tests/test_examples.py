"""Every example runs, and prints what it says."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Program, Result
from tests.sessions import play
from tests.terminal import Terminal

EXAMPLES = Path(__file__).parent.parent / "examples"

# What each prints, as a pattern; and those that are for a person at a terminal.
PRINTS = {
    "explore.py": r"""
        (\d+) functions, the longest is \S+ with \d+ lines
        without those above 50 lines it is \S+ with (50|4\d) lines
        \1 functions are still here
        """,
    "kept_counts.py": r"""
        (\d+) are long, (\d+) of \2 files read \(\d\.\d+ s\)
        \1 are long, 0 of \2 files read \(\d\.\d+ s\)
        (\d+) are long, \2 of \2 files read \(\d\.\d+ s\)
        \1 are long, 0 of \2 files read \(\d\.\d+ s\)
        """,
    "root_only_commit.py": r"""
        original: sold 1 apples, {'apples': 99, 'pears': 40} left
          \(not recorded: 99 apples\)
        experiment: sold 99 apples, {'apples': 0, 'pears': 40} left
          \(not recorded: 40 pears\)
        experiment: sold 40 pears, {'apples': 0, 'pears': 0} left
        original: sold 2 pears, {'apples': 99, 'pears': 38} left
        in the database: \[\('apples', 1\), \('pears', 2\)\]
        """,
    "segfault.py": r"""
        hello
        read_text_at, in fork \d+, was killed by SIGSEGV; .*
        and we are still here
        """,
}
TYPED = {"inside_pdb.py", "travel.py"}


def test_no_example_is_forgotten() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == PRINTS.keys() | TYPED
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == {"shop"}


def test_the_shop(tmp_path: Path) -> None:
    """What it does is recorded, kept and counted, for `snapshot web` to show."""
    shop = shutil.copytree(
        EXAMPLES / "shop", tmp_path / "shop", ignore=shutil.ignore_patterns(".snapshot")
    )

    def told(*words: str) -> str:
        command = [sys.executable, "-m", "snapshot", *words]
        with Program(command, directory=shop) as program:
            result = program.finish(30)
        assert result.code == 0, result
        return result.stdout

    assert told("heat", "run", "day.py") == "21 orders, 19 refused; out of cup, kettle\n"
    (last,) = told("calls", "--exception", "--limit", "1").splitlines()
    assert last.endswith("OutOfStock: 3 x cup were ordered, and 0 are there")
    assert "shop.prices:forecast" in told("memo", "ls")
    assert "shop.mail:newsletter" in told("heat", "fetch", "--cold")


@pytest.mark.parametrize("name", PRINTS)
def test_example(python: Callable[..., Result], name: str) -> None:
    result = python(EXAMPLES / name)
    assert result.code == 0, result
    pattern = textwrap.dedent(PRINTS[name]).lstrip("\n")
    assert re.fullmatch(pattern, result.stdout), result
    assert "Traceback" not in result.stderr, result


def test_inside_pdb(terminal: Terminal) -> None:
    terminal.python(EXAMPLES / "inside_pdb.py")
    terminal.wait_for("(Pdb 0)")
    terminal.line("functions.clear()")
    terminal.wait_for("(Pdb 0)", since=terminal.typed_at)
    terminal.line("revert")
    terminal.wait_for("the experiment reverted after")
    terminal.wait_for("(Pdb) ", since=terminal.typed_at)
    terminal.line("p longest(functions)")
    terminal.wait_for(re.compile(r"'\S+ with \d+ lines'"), since=terminal.typed_at)
    terminal.wait_for("(Pdb) ", since=terminal.typed_at)
    terminal.line("c")
    terminal.wait_for(re.compile(r"^\d{4} functions", re.M), since=terminal.typed_at)
    terminal.prompt()
    terminal.vacated()


@pytest.mark.parametrize("session", sorted(EXAMPLES.glob("*.console")), ids=lambda path: path.stem)
def test_session(open_terminal: Callable[..., Terminal], session: Path) -> None:
    terminal = open_terminal(rows=50, columns=120)
    for program in EXAMPLES.glob("*.py"):
        (terminal.directory / program.name).write_text(program.read_text())
    play(terminal, session.read_text().splitlines())
    terminal.vacated()
