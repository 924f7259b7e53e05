"""Programs that nobody here wrote, each with a snapshot in the middle of what it does."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Result
from tests.terminal import Terminal

Run = Callable[..., Result]

# pytest

TESTS = """
import os, signal, sys
import pytest
from snapshot import last_experiment, revert, snapshot

ENDINGS = {
    "revert": (lambda: revert(), 0),
    "the last line": (lambda: None, 0),
    "assert": (lambda: 1 / 0, 1),
    "sys.exit": (lambda: sys.exit(3), 3),
    "pytest.fail": (lambda: pytest.fail("on purpose"), 1),
    "pytest.skip": (lambda: pytest.skip("on purpose"), 0),
    "pytest.exit": (lambda: pytest.exit("on purpose"), 2),
    "Ctrl-C": (lambda: os.kill(os.getpid(), signal.SIGINT), signal.SIGINT),
    "os._exit": (lambda: os._exit(3), 3),
    "SIGKILL": (lambda: os.kill(os.getpid(), signal.SIGKILL), signal.SIGKILL),
}

@pytest.fixture
def place(tmp_path):
    yield tmp_path
    note("torn down")

def note(what):
    with open("notes", "a") as notes:
        print(what, os.getpid(), file=notes)

@pytest.mark.parametrize("ending", ENDINGS)
def test_ending(place, ending):
    print("before")
    (place / "made").touch()
    leave, expected = ENDINGS[ending]
    if snapshot():
        print("experiment", flush=True)
        leave()
        return
    print("after")
    assert (place / "made").exists()
    assert expected in (last_experiment().code, last_experiment().signal)

def test_last():
    note("run")
"""


def pytest_run(python: Run, tmp_path: Path, tests: str, *options: str) -> Result:
    (tmp_path / "test_it.py").write_text(tests)
    return python(
        tmp_path / "test_it.py",
        "--basetemp=temporary",
        "--junitxml=report.xml",
        "--override-ini=junit_logging=all",
        *options,
        options=["-m", "pytest"],
    )


def captured(tmp_path: Path, stream: str) -> list[list[str]]:
    """The lines of each test's `system-out` or `system-err` in the report, without headings."""
    cases = ElementTree.parse(tmp_path / "report.xml").iter("testcase")
    texts = [case.findtext(stream) or "" for case in cases]
    return [[line for line in text.splitlines() if line and "--- " not in line] for text in texts]


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_a_test_of_pytest(python: Run, tmp_path: Path, capture: str) -> None:
    result = pytest_run(python, tmp_path, TESTS, f"--capture={capture}")
    assert result.code == 0, result
    assert result.stdout.count("test session starts") == 1, result
    assert re.findall(r"=+ (.*) in [\d.]+s =+", result.stdout) == ["11 passed"], result
    assert result.stdout.count("generated xml file") == 1, result
    notes = (tmp_path / "notes").read_text().split("\n")
    assert len(notes) == 10 + 1 + 1, notes
    assert len({note.split()[-1] for note in notes if note}) == 1, notes
    if capture == "fd":
        *endings, _ = captured(tmp_path, "system-out")
        assert endings == [["before", "experiment", "after"]] * 10
    if capture != "no":
        told = captured(tmp_path, "system-err")
        failures = [text[-2].partition(" ")[2] for text in told if len(text) > 1]
        assert failures == ["ZeroDivisionError", "Failed"]


def test_pytest_goes_on_in_what_is_kept(python: Run, tmp_path: Path) -> None:
    result = pytest_run(
        python,
        tmp_path,
        """
        from snapshot import keep, revert, snapshot

        def test_keep(capfd):
            print("before")
            assert snapshot("first") and snapshot("second")
            keep()
            print("kept")
            assert capfd.readouterr().out == "before\\nkept\\n"

        def test_next():
            print("before")
            if snapshot():
                revert()
            print("after")
        """.replace("\n        ", "\n"),
    )
    assert "2 passed" in result.stdout, result
    assert captured(tmp_path, "system-out") == [[], ["before", "after"]]


def test_the_fixtures_that_capture(python: Run, tmp_path: Path) -> None:
    result = pytest_run(
        python,
        tmp_path,
        """
        import pytest
        from snapshot import snapshot

        @pytest.mark.parametrize("leave", [lambda: None, lambda: 1 / 0])
        def test_files(capfd, leave):
            print("before")
            if snapshot():
                print("experiment")
                return leave()
            assert capfd.readouterr().out == "before\\nexperiment\\n"

        @pytest.mark.parametrize("leave", [lambda: None, lambda: 1 / 0])
        def test_memory(capsys, leave):
            print("before")
            if snapshot():
                print("experiment")
                return leave()
            assert capsys.readouterr().out == "before\\n"
        """.replace("\n        ", "\n"),
    )
    assert "4 passed" in result.stdout, result


def test_a_snapshot_in_a_fixture_runs_the_test_twice(python: Run, tmp_path: Path) -> None:
    result = pytest_run(
        python,
        tmp_path,
        """
        import pytest
        from snapshot import in_snapshot, last_experiment, snapshot

        @pytest.fixture
        def twice():
            snapshot()

        def test_twice(twice):
            if not in_snapshot():
                print("code", last_experiment().code)
            assert not in_snapshot()
        """.replace("\n        ", "\n"),
    )
    assert "1 passed" in result.stdout, result
    assert captured(tmp_path, "system-out") == [["code 1"]]


DEBUGGED = """
def total(prices):
    rate = 0.5
    breakpoint()
    return sum(prices) * (1 + rate)

def test_total(tmp_path):
    print("captured")
    assert total([10, 20]) == 45

def test_fails():
    value = 1
    assert value == 2
"""
IN_EXPERIMENT, IN_ORIGINAL = (re.compile(rf"\(Pdb{n}\) $") for n in (" 1", ""))


def start_pytest(terminal: Terminal, options: str, *, hook: str = "") -> None:
    (terminal.directory / "test_it.py").write_text(DEBUGGED)
    hook = f"PYTHONBREAKPOINT={hook} " if hook else ""
    terminal.line(f"{hook}python -m pytest -q --basetemp=temporary {options} test_it.py")


def say(terminal: Terminal, prompt: re.Pattern[str], line: str) -> None:
    terminal.wait_for(prompt, since=terminal.typed_at)
    terminal.line(line)


def session(terminal: Terminal) -> str:
    terminal.prompt()
    return "\n".join(terminal.lines())


@pytest.mark.parametrize("capture", ["", "-s"])
def test_breakpoint_in_a_test(open_terminal: Callable[..., Terminal], capture: str) -> None:
    terminal = open_terminal(rows=50, columns=100)
    start_pytest(terminal, f"{capture} -k total", hook="snapshot.set_trace")
    say(terminal, IN_EXPERIMENT, "rate = 1")
    say(terminal, IN_EXPERIMENT, "c")
    terminal.wait_for("E       assert 60 == 45", since=terminal.typed_at)
    back = r"snapshot: back at 0 \(test_it\.py:4 total\); the experiment exited with code 1"
    terminal.wait_for(re.compile(back), since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "p rate")
    terminal.wait_for("0.5", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "c")
    shown = session(terminal)
    assert re.findall(r"\d+ (?:passed|failed)", shown) == ["1 passed"], shown
    assert shown.count("assert 60 == 45") == 1, shown
    assert shown.count("\ncaptured\n") == (1 if capture else 0), shown


def test_quitting_the_debugger_in_a_test(terminal: Terminal) -> None:
    start_pytest(terminal, "-k total", hook="snapshot.set_trace")
    say(terminal, IN_EXPERIMENT, "q")
    terminal.wait_for("the experiment exited with code 2", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "snap")
    say(terminal, IN_EXPERIMENT, "revert")
    say(terminal, IN_ORIGINAL, "q")
    assert session(terminal).count("Exit: Quitting debugger") == 1


def test_breakpoint_with_the_debugger_of_pytest(terminal: Terminal) -> None:
    start_pytest(terminal, "-k total")
    say(terminal, IN_ORIGINAL, "import snapshot; snapshot.snapshot()")
    terminal.wait_for("True", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "rate = 1")
    say(terminal, IN_ORIGINAL, "c")
    terminal.wait_for("False", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "p rate")
    terminal.wait_for("0.5", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "c")
    assert re.findall(r"\d+ (?:passed|failed)", session(terminal)) == ["1 passed"]


def test_a_snapshot_after_a_failure_in_pytest(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal(rows=50, columns=100)
    start_pytest(terminal, "--pdb -k fails")
    say(terminal, IN_ORIGINAL, "from snapshot import revert, snapshot")
    for leave in ("revert()", "c", "q"):
        say(terminal, IN_ORIGINAL, "snapshot()")
        terminal.wait_for("True", since=terminal.typed_at)
        say(terminal, IN_ORIGINAL, "value = 7")
        say(terminal, IN_ORIGINAL, leave)
        terminal.wait_for("False", since=terminal.typed_at)
        say(terminal, IN_ORIGINAL, "p 'value', value")
        terminal.wait_for("('value', 1)", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "c")
    shown = session(terminal)
    assert re.findall(r"\d+ (?:passed|failed)", shown) == ["1 failed"], shown
