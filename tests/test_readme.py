"""The README is executed: its programs, and what it says that one sees of them at a terminal.

- A `python` block begins with a comment, the name of its file.
- A `console` block is typed at a terminal: what follows `$ `, and what follows the prompts of the
  programs that are run. The other lines must be shown, in this order. A program that has no prompt
  must show nothing else; of a session at a prompt, lines may be left out.
- A `figures` block has lines of benchmarks/README.md.
- `sh` blocks set things up, from nothing: that is for `.ci/run`, which takes them from there.

Durations, sizes and pids are not compared, and neither is the width of columns.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.sessions import play
from tests.terminal import Terminal

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


@dataclass(frozen=True)
class Block:
    """A fenced block: the number of its first line, the word after the fence, its lines."""

    number: int
    language: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return f"line-{self.number}"


def blocks(language: str) -> list[Block]:
    """The blocks of that language, in the README's order."""
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.M | re.S):
        number = README.read_text().count("\n", 0, match.start()) + 2
        found.append(Block(number, match[1], tuple(match[2].splitlines())))
    return [block for block in found if block.language == language]


def _name(block: Block) -> str:
    name = re.fullmatch(r"# (\w+\.py)", block.lines[0])
    assert name, f"README.md:{block.number} does not begin with the name of its file"
    return name[1]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with the README's programs."""
    for block in blocks("python"):
        (tmp_path / _name(block)).write_text("\n".join(block.lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_console(programs: Path, open_terminal: Callable[..., Terminal], block: Block) -> None:
    terminal = open_terminal(rows=50, columns=150)
    play(terminal, block.lines)
    terminal.vacated()


def test_every_program_is_run() -> None:
    names = {_name(block) for block in blocks("python")}
    typed = "\n".join(line for block in blocks("console") for line in block.lines)
    assert [name for name in names if name not in typed] == []


def test_the_figures_are_those_of_the_benchmarks() -> None:
    measured = (ROOT / "benchmarks" / "README.md").read_text().splitlines()
    for block in blocks("figures"):
        stale = [line for line in block.lines if line not in measured]
        assert not stale, "copy these lines anew from benchmarks/README.md"


def test_the_two_commands_that_set_everything_up() -> None:
    run, test = ("\n".join(block.lines) for block in blocks("sh"))
    for command in (run, test):
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")
    assert (ROOT / run.split()[-1]).is_file()
    assert test.endswith(" .venv/bin/python -m pytest")
    told = ["bash", str(ROOT / ".ci" / "run"), "commands"]
    said = subprocess.run(told, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [run, test]


def test_every_link_leads_somewhere() -> None:
    text = README.read_text()
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    anchors = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (ROOT / target).exists(), target


def test_every_public_name_is_told_of() -> None:
    import snapshot

    text = README.read_text()
    assert [name for name in snapshot.__all__ if name not in text] == []
