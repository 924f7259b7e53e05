"""Bytes once: pipes, files, buffers and positions around an experiment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Result

Run = Callable[..., Result]

PROGRAM = """
import sys
from snapshot import revert, snapshot
print("before", end=" ")
file = open("written", "w")
file.write("before ")
if snapshot():
    print("experiment", end=" ")
    file.write("experiment ")
    ENDING
else:
    print("original", end=" ")
    file.write("original ")
"""


@pytest.mark.parametrize("ending", ["revert()", "sys.exit()", "pass"])
@pytest.mark.parametrize("shell", ["{} | cat", "{} > out; cat out", "setsid {} | cat", "env -i {}"])
def test_what_is_buffered_appears_once(
    python: Run, tmp_path: Path, shell: str, ending: str
) -> None:
    result = python(PROGRAM.replace("ENDING", ending), via_shell=shell)
    assert result.stdout == "before experiment original ", result
    assert (tmp_path / "written").read_text() == "before experiment original "


def test_positions_of_files(python: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("0123456789")
    result = python(
        """
        import os
        from snapshot import revert, snapshot
        reads = os.open("data", os.O_RDONLY)
        both = os.open("data", os.O_RDWR)
        writes = os.open("log", os.O_WRONLY | os.O_CREAT)
        text = open("data")
        os.read(reads, 1), os.read(both, 2), os.write(writes, b"abc"), text.read(3)
        if snapshot():
            os.read(reads, 5), os.read(both, 5), os.write(writes, b"def"), text.read()
            revert()
        os.write(writes, b"ghi")
        print(os.read(reads, 2), os.read(both, 2), text.read(), open("log").read())
        """
    )
    assert result.stdout == "b'12' b'23' 3456789 abcdefghi\n"


def test_output_through_another_descriptor_is_not_overwritten(python: Run, tmp_path: Path) -> None:
    python(
        """
        import os
        from snapshot import revert, snapshot
        both = os.open("data", os.O_RDWR | os.O_CREAT)
        os.dup2(both, 1)
        print("before")
        if snapshot():
            print("experiment")
            revert()
        print("after")
        """
    )
    assert (tmp_path / "data").read_text().split() == ["before", "experiment", "after"]


LINES = """
import sys
from snapshot import revert, snapshot
print("first:", sys.stdin.readline().strip())
if snapshot():
    print("experiment:", sys.stdin.readline().strip())
    revert()
print("original:", sys.stdin.read().split())
"""


def test_standard_input_from_a_file_is_read_again(python: Run, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("a\nb\nc\n")
    result = python(LINES, via_shell="{} < lines")
    assert result.stdout.splitlines() == ["first: a", "experiment: b", "original: ['b', 'c']"]


def test_from_a_pipe_each_byte_is_read_once(python: Run) -> None:
    result = python(LINES, stdin="a\nb\nc\n")
    assert result.stdout.splitlines() == ["first: a", "experiment: b", "original: []"]
    assert "; 4 bytes of standard input that were read ahead belonged to it" in result.stderr


@pytest.mark.parametrize("options", [("-W", "error"), ("-X", "dev")])
def test_nothing_raw_about_threads(python: Run, options: tuple[str, str]) -> None:
    result = python(
        """
        import threading
        from snapshot import fork_call, revert, snapshot
        done = threading.Event()
        threading.Thread(target=done.wait).start()
        if snapshot():
            revert()
        print(fork_call(lambda: 5))
        done.set()
        """,
        options=options,
    )
    assert (result.code, result.stdout) == (0, "5\n")
    assert "Warning" not in result.stderr


@pytest.mark.parametrize("lose", ["sys.stderr = None", "sys.stderr.close()", "os.close(2)"])
def test_without_standard_error(python: Run, lose: str) -> None:
    result = python(
        f"""
        import os, sys
        from snapshot import last_experiment, revert, snapshot
        {lose}
        if snapshot():
            revert(value=1)
        print(last_experiment().value, last_experiment().report[:19])
        os._exit(0 if sys.stdout.flush() is None else 1)
        """
    )
    assert (result.code, result.stdout) == (0, "1 snapshot: back at 0\n"), result


def test_the_reader_goes_away(python: Run) -> None:
    result = python(
        """
        from snapshot import revert, snapshot
        if snapshot():
            for n in range(100_000):
                print(n)
        print("original")
        """,
        via_shell="{} | head -1; exit 0",
    )
    assert result.stdout == "0\n"
    assert result.stderr.count("BrokenPipeError") <= 3
