"""The commands where no person types: as Python itself, with its output and its exit status."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import snapshot
from snapshot import commands
from snapshot.commands import repl
from tests.processes import Program, Result
from tests.terminal import Terminal

BIN = Path(sys.executable).parent

TELL = """
import inspect, pickle, sys
class Thing:
    'A thing of this program.'
print(__name__, globals().get('__file__'), __spec__ and __spec__.name, repr(__package__))
print(sys.argv, repr(sys.path[0]), sys.modules['__main__'].Thing is Thing)
print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, sorted(globals()))
"""

GET_SOURCE = "print(inspect.getsource(Thing))\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with programs of each kind in it."""
    (tmp_path / "tell.py").write_text(TELL + GET_SOURCE)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(TELL + GET_SOURCE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("print('imported', __name__)\n")
    (tmp_path / "package" / "__main__.py").write_text(TELL)
    (tmp_path / "package" / "module.py").write_text("from . import __name__ as n\n" + TELL)
    (tmp_path / "package" / "bad.py").write_text("x = \n")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.py").symlink_to(tmp_path / "tell.py")
    (tmp_path / "fails.py").write_text("def f():\n    1 / 0\nprint('out')\nf()\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "syntax.py").write_text("def f(:\n    pass\n")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "null.py").write_bytes(b"x = 1\0\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("1 / 0\n")
    return tmp_path


both = pytest.mark.parametrize("command", ["snapshot-repl", "snapshot run", "snapshot repl"])


def run(python: Callable[..., Result], command: str, *arguments: str, stdin: str = "") -> Result:
    """Run one of the installed commands, without a terminal."""
    name, *rest = command.split()
    return python(BIN / name, *rest, *arguments, stdin=stdin)


def plain(python: Callable[..., Result], *arguments: str) -> Result:
    """Run Python itself with those arguments."""
    source = "import os, sys\nos.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    return python(source, *arguments)


@both
@pytest.mark.parametrize(
    "arguments",
    [
        "tell.py",
        "tell.py one --two -m three -c four -- five --help",
        "./tell.py --vi",
        "elsewhere/link.py",
        "folder one",
        "-m package one --version",
        "-m package.module -h",
        "-m package -- --pdb",
    ],
)
@pytest.mark.usefixtures("files")
def test_a_program_sees_what_python_shows_it(
    python: Callable[..., Result], command: str, arguments: str
) -> None:
    ours = run(python, command, *arguments.split())
    theirs = plain(python, *arguments.split())
    assert ours.stderr == theirs.stderr == ""
    # 3.11 to 3.13 put an empty `__annotations__` into `__main__` before anything asks for it.
    assert ours.stdout == theirs.stdout.replace("'__annotations__', ", "")
    assert ours.code == theirs.code == 0


@both
def test_code_sees_what_python_shows_it(python: Callable[..., Result], command: str) -> None:
    ours, theirs = (
        run(python, command, "-c", TELL, "one", "-c"),
        plain(python, "-c", TELL, "one", "-c"),
    )
    assert ours.stdout.replace("'__builtins__', ", "") == re.sub(
        "'__(annotations|builtins)__', ", "", theirs.stdout
    )
    assert ours.code == theirs.code == 0


@both
@pytest.mark.parametrize(
    "source",
    [
        "1 / 0",
        "def f():\n    raise ValueError('no')\ntry:\n    f()\nexcept ValueError:\n    [][1]",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('no more')",
        "import sys; sys.exit()",
        "raise SystemExit(4)",
        "raise KeyboardInterrupt",
        "import sys; sys.excepthook = lambda *a: print('hook', a[0].__name__, a[1], a[2].tb_lineno)"
        "\n1 / 0",
        "import atexit; atexit.register(print, 'at exit')\n1 / 0",
        "import helper",
        "from __future__ import annotations\ndef f(x: no): pass\nprint(f.__annotations__)",
        "def f(x: int): pass\nprint(f.__annotations__)",
    ],
)
def test_the_end_is_pythons(
    python: Callable[..., Result], tmp_path: Path, command: str, source: str
) -> None:
    (tmp_path / "helper.py").write_text("x = \n")
    (tmp_path / "program.py").write_text(source + "\n")
    ours, theirs = run(python, command, "program.py"), python(tmp_path / "program.py")
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
    assert (ours.code, ours.signal) == (theirs.code, theirs.signal)


@both
def test_ctrl_c(start: Callable[..., Program], tmp_path: Path, command: str) -> None:
    source = "print('ready', flush=True)\nwhile True: pass\n"
    (tmp_path / "program.py").write_text(source)
    name, *rest = command.split()
    program = start(BIN / name, *rest, "program.py")
    program.wait_for("ready")
    program.kill(signal.SIGINT)
    result = program.finish()
    assert result.signal == signal.SIGINT
    assert result.stderr.count("Traceback") == 1
    assert result.stderr.endswith("KeyboardInterrupt\n")


@both
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("missing.py", r"COMMAND: cannot read 'missing\.py': No such file or directory"),
        ("fails.py/x.py", r"COMMAND: cannot read 'fails\.py/x\.py': Not a directory"),
        ("empty", r"COMMAND: cannot run 'empty': can't find '__main__' module in '\S+/empty'"),
        ("-m missing", r"COMMAND: cannot run 'missing': No module named missing"),
        ("-m package.missing", r"COMMAND: cannot run .*: No module named package\.missing"),
        ("-m missing.py", r"COMMAND: cannot run 'missing\.py': .*No module named 'missing'.*"),
        ("-m", r"COMMAND: nothing follows -m"),
        ("syntax.py", r'  File "\S+syntax.py", line 1\n    def f\(:\n +\^\nSyntaxError: .*'),
        ("latin.py", r'  File "\S+latin.py", line 1\n.*\n +\^+\nSyntaxError: .*utf-8.*'),
        ("null.py", r"SyntaxError: source code .* null bytes .*null\.py.*"),
        ("-m package.bad", r'  File "\S+bad.py", line 1\n    x = ?\n +\^\nSyntaxError: .*'),
        (
            "-m broken.module",
            r'Traceback .*\n  File "\S+broken/__init__\.py", line 1, in <module>\n    1 / 0\n'
            r"( +~~\^~~\n)?ZeroDivisionError: division by zero\n"
            r"COMMAND: cannot run 'broken\.module': a package that it is in cannot be imported",
        ),
    ],
)
@pytest.mark.usefixtures("files")
def test_what_cannot_be_run(
    python: Callable[..., Result], command: str, arguments: str, said: str
) -> None:
    result = run(python, command, *arguments.split(), stdin="print('never')")
    assert result.code == (2 if re.search("cannot read|nothing follows", said) else 1), result
    assert result.stdout in ("", "imported package\n")
    assert re.fullmatch(said.replace("COMMAND", command) + "\n", result.stderr), result


@pytest.mark.parametrize(
    ("arguments", "stdin", "stdout", "code"),
    [
        ("", "print(__name__, __file__, __import__('sys').argv)", "__main__ <stdin> ['']\n", 0),
        ("", "", "", 0),
        ("- one", "print(__import__('sys').argv)", "['-', 'one']\n", 0),
        ("", "# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))", "'\\xc3\\xa9'\n", 0),
        ("", "import sys; sys.exit(3)", "", 3),
        ("", "raise SystemExit('no')", "", 1),
        ("", "print('on'); 1 / 0", "on\n", 1),
        ("", "x = ", "", 1),
        ("fails.py", "", "out\n", 1),
        ("fails.py", "print(f.__name__, frames[-1])", "out\nf <fails.py:2 f: >\n", 1),
        ("fails.py", "raise SystemExit(0)", "out\n", 0),
        ("-c 'raise SystemExit(5)'", "print('more')", "more\n", 5),
        ("-c 'x=input()'", "first\nprint(x)\nprint('second')\n", "first\nsecond\n", 0),
        ("-c 'exit(6)'", "print('more')", "more\n", 6),
        ("-c 1", "print(callable(snapshot), len(snapshots()), revert, keep)", None, 0),
    ],
)
@pytest.mark.usefixtures("files")
def test_the_program_on_standard_input(
    python: Callable[..., Result], arguments: str, stdin: str, stdout: str | None, code: int
) -> None:
    result = run(python, "snapshot-repl", *shlex.split(arguments), stdin=stdin)
    assert result.code == code, result
    assert stdout is None or result.stdout == stdout, result
    assert "snapshot/" not in result.stderr


def test_standard_input_that_is_no_text(python: Callable[..., Result]) -> None:
    result = python(BIN / "snapshot-repl", stdin=b"x = '\xe9'\n")
    assert result.code == 1
    assert "SyntaxError" in result.stderr
    assert "Traceback" not in result.stderr


def test_no_standard_input(python: Callable[..., Result]) -> None:
    result = python(BIN / "snapshot-repl", "-c", "print(1)", via_shell="{} <&-")
    assert (result.stdout, result.stderr, result.code) == ("1\n", "", 0)


def test_an_experiment_on_standard_input(python: Callable[..., Result]) -> None:
    source = """if snapshot('here'):
    x = 'changed'
    print('experiment', x)
    revert(value=x)
print('original', x, last_experiment().value)
"""
    given = "from snapshot import last_experiment; x = 1"
    result = run(python, "snapshot-repl", "-c", given, stdin=source)
    assert result.stdout == "experiment changed\noriginal 1 changed\n"
    assert result.stderr.startswith("snapshot: back at 0 'here' (<stdin>:1 <module>); ")
    assert result.code == 0


def test_no_prompt_is_loaded_without_a_terminal(python: Callable[..., Result]) -> None:
    source = "import sys; print([m for m in sys.modules if m.startswith(('ptpython', 'prompt_'))])"
    assert run(python, "snapshot-repl", stdin=source).stdout == "[]\n"


def test_python_m(python: Callable[..., Result]) -> None:
    tell = "import sys; print(sys.argv, __name__, repr(sys.path[0]))"
    result = plain(python, "-m", "snapshot.repl", "-c", tell, "-m")
    assert (result.stdout, result.stderr) == ("['-c', '-m'] __main__ ''\n", "")


def test_safe_path(python: Callable[..., Result]) -> None:
    tell = "import sys; print(sys.path)"
    ours = plain(python, "-P", str(BIN / "snapshot-repl"), "-c", tell)
    assert ours.stdout == plain(python, "-P", "-c", tell).stdout


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for main, argv, wanted in (
        (commands.main, ["--help"], "repl  "),
        (
            commands.main,
            ["repl", "--help"],
            "usage: snapshot repl [options] [script [args...] | -m",
        ),
        (commands.main, ["run", "-h"], "usage: snapshot run [--rewindable PATTERN]"),
        (repl.entry_point, ["--help"], "usage: snapshot-repl [options]"),
        (commands.main, ["--version"], f"snapshot {snapshot.__version__}\n"),
        (repl.entry_point, ["--version"], f"snapshot {snapshot.__version__}\n"),
    ):
        with pytest.raises(SystemExit) as end:
            main(argv)
        assert end.value.code == 0
        assert wanted in capsys.readouterr().out


def test_misuse(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["nothing"], ["repl", "--nothing"]):
        with pytest.raises(SystemExit) as end:
            commands.main(argv)
        assert end.value.code == 2
        assert "error: " in capsys.readouterr().err
    assert commands.main(["run"]) == 2
    said = capsys.readouterr().err
    assert said == "snapshot run: nothing to run: give a script, -m module or -c code\n"


# `snapshot run` at a terminal.


def test_run_offers_an_experiment(terminal: Terminal) -> None:
    (terminal.directory / "fails.py").write_text(
        "def f(x):\n    y = x + 1\n    return y / 0\nf(20)\n"
    )
    terminal.line("snapshot run fails.py")
    terminal.wait_for("ZeroDivisionError: division by zero")
    terminal.wait_for("debug it there, in an experiment? [Y/n] ")
    terminal.line()
    terminal.wait_for("(Pdb) ")
    terminal.line("!y = 5")
    terminal.wait_for("(Pdb) ", since=terminal.typed_at)
    terminal.line("p x + y")
    terminal.wait_for(re.compile("^25", re.M))
    terminal.wait_for("(Pdb) ", since=terminal.typed_at)
    terminal.line("q")
    terminal.wait_for("snapshot: back at 0 (fails.py:3 f); the experiment reverted")
    terminal.wait_for("debug it once more? [y/N] ")
    terminal.line("what")
    terminal.wait_for("debug it once more? [y/N] ", since=terminal.typed_at)
    terminal.line("y")
    terminal.wait_for("(Pdb) ", since=terminal.typed_at)
    terminal.line("p x + y")
    terminal.wait_for(re.compile("^41", re.M))
    terminal.wait_for("(Pdb) ", since=terminal.typed_at)
    terminal.line("restart")
    terminal.wait_for("(Pdb 1) ", since=terminal.typed_at)
    terminal.line("q")
    terminal.wait_for("debug it once more? [y/N] ", since=terminal.typed_at)
    terminal.line()
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 1"
    terminal.vacated()


@pytest.mark.parametrize("answer", ["n\r", "\x04", "\x03"], ids=["no", "Ctrl-D", "Ctrl-C"])
def test_run_takes_no_for_an_answer(terminal: Terminal, answer: str) -> None:
    terminal.line("snapshot run -c '1/0'")
    terminal.wait_for("[Y/n] ")
    # A Ctrl-C between the question and the reading of the answer would be seen after the answer.
    terminal.wait_until(lambda: {p.status() for p in terminal.processes()} == {"sleeping"})
    terminal.type(answer)
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 1"


def test_run_and_ctrl_c(terminal: Terminal) -> None:
    terminal.line("snapshot run -c 'print(\"at work\")\nwhile True: pass'")
    terminal.wait_for(re.compile("^at work", re.M))
    terminal.type("\x03")
    terminal.wait_for("KeyboardInterrupt")
    terminal.wait_for("[Y/n] ")
    terminal.line("no")
    terminal.prompt()
    assert terminal.run("echo status $?") == "status 130"
    assert terminal.transcript().count("Traceback") == 1


def test_run_asks_nobody_who_cannot_see_the_question(terminal: Terminal) -> None:
    shown = terminal.run("snapshot run -c '1/0' | cat; echo status ${PIPESTATUS[0]}")
    assert "ZeroDivisionError" in shown
    assert "experiment?" not in shown
    assert shown.endswith("status 1")


def test_run_that_ends_by_itself(terminal: Terminal) -> None:
    assert terminal.run("snapshot run -c 'raise SystemExit(7)'; echo status $?") == "status 7"
    assert terminal.run("snapshot run -c 'print(1)'; echo status $?") == "1\nstatus 0"
