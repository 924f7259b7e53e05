"""`snapshot memo -- COMMAND`: real commands, in real processes, and what of them is given again."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Program, Result, wait_gone
from tests.terminal import Terminal

SNAPSHOT = Path(sys.executable).with_name("snapshot")

UNWATCHED = "snapshot: inputs are not watched: name what it reads with --input\n"

# Each run leaves a line outside of the working directory.
RAN = "echo ran >> ../log; "


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A working directory with a store of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    return folder


class Memo:
    """`snapshot memo`, in the project."""

    def __init__(self, project: Path, stack: contextlib.ExitStack) -> None:
        self.project = project
        self._stack = stack

    def start(self, *words: str | bytes, folder: Path | None = None, **more: Any) -> Program:
        command: list[Any] = [str(SNAPSHOT), "memo", *words]
        return self._stack.enter_context(Program(command, directory=folder or self.project, **more))

    def __call__(self, *words: str | bytes, **more: Any) -> Result:
        with self.start(*words, **more) as program:
            return program.finish()

    def sh(self, script: str, *options: str, **more: Any) -> Result:
        """A script of sh, which counts its runs."""
        return self(*options, "--", "sh", "-c", RAN + script, **more)

    @property
    def runs(self) -> int:
        """Of scripts, until now."""
        log = self.project.parent / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def memo(project: Path) -> Iterator[Memo]:
    with contextlib.ExitStack() as stack:
        yield Memo(project, stack)


class Gate:
    """A pipe with a name: who reads a line of it goes on when it is let through.

    It is open at both ends here. So nobody waits in open(2), and whoever reads finds no end: with
    an end for each line, a second reader can meet the end that was meant for the first.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)

    def let_through(self) -> None:
        """One of them, which may come later."""
        os.write(self._fd, b"\n")

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """`../gate` for a command in the project."""
    with contextlib.closing(Gate(tmp_path / "gate")) as gate:
        yield gate


def ok(result: Result, stdout: str = "", stderr: str = "") -> None:
    assert (result.stdout, result.stderr, result.code) == (stdout, stderr, 0), result


def mistake(result: Result, expected: str, status: int = 2) -> None:
    """One line on standard error."""
    assert (result.code, result.stdout) == (status, ""), result
    assert re.fullmatch(r"snapshot memo: .+\n", result.stderr), result
    assert expected in result.stderr, result


# Output.


def test_output_and_status_are_given_again(memo: Memo) -> None:
    script = r"printf '\377\0out'; printf '\n\033[1merr' >&2"
    first, again = (memo.sh(script) for _ in range(2))
    assert first.stdout == again.stdout == "\udcff\0out"
    assert first.stderr == "\n\x1b[1merr" + UNWATCHED
    ok(again, first.stdout, "\n\x1b[1merr")
    assert memo.runs == 1


def test_the_order_of_both_streams_is_kept(gate: Gate, project: Path) -> None:
    script = "echo one; read x < ../gate; echo two >&2; read x < ../gate; echo three"
    words = [str(SNAPSHOT), "memo", "--", "sh", "-c", script]
    joined = ["sh", "-c", '"$@" 2>&1', "sh", *words]
    with Program(joined, directory=project) as program:
        for each in ("one", "two"):
            program.wait_for(each)  # it is passed on at once
            gate.let_through()
        assert program.finish().stdout == "one\ntwo\nthree\n" + UNWATCHED
    with Program(joined, directory=project) as program:
        assert program.finish().stdout == "one\ntwo\nthree\n"


def test_much_output_is_whole(memo: Memo) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' a; head -c 200000 /dev/zero >&2"
    for _ in range(2):
        result = memo.sh(script, "--input", "pyproject.toml")
        ok(result, "a" * 3_000_000, "\0" * 200_000)
    assert memo.runs == 1


def test_who_reads_no_more_ends_the_command(memo: Memo, project: Path) -> None:
    line = f"{SNAPSHOT} memo -- sh -c '{RAN} exec yes' | head -1"
    for _ in range(2):
        with Program(["sh", "-c", line], directory=project) as program:
            result = program.finish()
        assert result.stdout == "y\n"
        assert "nothing of it is kept: not all that it has written could be" in result.stderr
    assert memo.runs == 2


def test_output_that_cannot_be_written(project: Path) -> None:
    line = f"{SNAPSHOT} memo --input pyproject.toml -- sh -c 'exec echo said'"
    for where, expected in (
        ("/dev/full", "snapshot: nothing of it is kept: not all that it has written could be\n"),
        ("/dev/null", ""),
        ("/dev/full", "snapshot memo: cannot write to standard output: No space left on device\n"),
    ):
        with Program(["sh", "-c", f"{line} > {where}"], directory=project) as program:
            assert program.finish().stderr == expected
    with Program(["sh", "-c", f"({line}; echo $? >&2) | true"], directory=project) as program:
        assert re.fullmatch("(0|141)\n", program.finish().stderr)


def test_a_status_other_than_0_is_kept_if_that_is_asked_for(memo: Memo) -> None:
    for count in (1, 2):
        result = memo.sh("echo no; exit 3", "--input", "pyproject.toml")
        assert (result.stdout, result.code, memo.runs) == ("no\n", 3, count)
        assert result.stderr == ""
    for _ in range(2):
        result = memo.sh("echo no; exit 3", "--input", "pyproject.toml", "--keep-failures")
        assert (result.stdout, result.stderr, result.code) == ("no\n", "", 3)
        assert memo.runs == 3
    assert memo.sh("echo no; exit 3", "--input", "pyproject.toml").code == 3
    assert memo.runs == 4


def test_killed_by_a_signal(memo: Memo) -> None:
    for number in (signal.SIGSEGV, signal.SIGKILL):
        for _ in range(2):
            result = memo.sh(f"kill -{int(number)} $$", "--keep-failures")
            assert result.code == 128 + number, result
    assert memo.runs == 2


# The key.


def test_what_counts(memo: Memo, project: Path) -> None:
    folder = project / "inputs"
    (folder / "deep").mkdir(parents=True)
    program = project / "program"
    program.write_text(f"#!/bin/sh\n{RAN}\n")
    program.chmod(0o755)
    base: dict[str, Any] = {
        "options": ["--input", "inputs", "pyproject.toml", "--env", "A", "--env", "B"],
        "words": ["./program", "1"],
        "env": {"A": "1", "PATH": os.defpath},
    }

    def changes() -> Iterator[dict[str, Any]]:
        yield {"words": ["./program", "2"]}
        yield {"words": ["./program", "1", ""]}
        yield {"words": [b"./program", b"\xff"]}
        yield {"env": {"A": "2", "PATH": os.defpath}}
        yield {"env": {"PATH": os.defpath}}
        yield {"env": {"A": "1", "B": "", "PATH": os.defpath}}
        yield {"options": [*base["options"], "--env", "C"]}
        yield {"options": [*base["options"], "--output", "x"]}
        yield {"options": [*base["options"], "--stdin"], "stdin": "a"}
        yield {"options": [*base["options"], "--stdin"], "stdin": "b"}
        other = project.parent / "other"
        other.mkdir()
        for each in ("inputs", "pyproject.toml", "program"):
            (other / each).symlink_to(project / each)
        yield {"folder": other}
        (folder / "deep" / "new").touch()
        yield {}
        (folder / "deep" / "new").write_text("a")
        yield {}
        (folder / "deep" / "new").rename(folder / "new")
        yield {}
        (folder / "new").chmod(0o755)
        yield {}
        (project / "pyproject.toml").write_text(" ")
        yield {}
        program.write_text(program.read_text() + " ")
        yield {}

    def run(change: dict[str, Any]) -> Result:
        now = base | change
        return memo(
            *("--store", str(project / "store.db"), *now["options"]),
            *("--", *now["words"]),
            env=now["env"],
            stdin=now.get("stdin", b""),
            folder=now.get("folder"),
        )

    run({})
    for count, change in enumerate(changes(), 2):
        for _ in range(2):
            result = run(change)
            assert result.code == 0, result
            assert memo.runs == count, change
    # Whoever goes back finds what there was.
    (project / "pyproject.toml").write_text("")
    program.write_text(program.read_text()[:-1])
    (folder / "new").unlink()
    before = memo.runs
    ok(run({"env": base["env"] | {"UNNAMED": "1"}}))
    assert memo.runs == before


def test_the_program_is_found_as_a_shell_does(memo: Memo, project: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"#!/bin/sh\necho {name} $0\n")
        (tmp_path / name / "tool").chmod(0o755)
    (tmp_path / "zero").mkdir()
    (tmp_path / "zero" / "tool").write_text("")
    path = os.pathsep.join(f"{tmp_path}/{each}" for each in ("zero", "one", "two"))
    env = {"PATH": path + os.pathsep + os.defpath}
    ok(memo("--", "tool", env=env), f"one {tmp_path}/one/tool\n", UNWATCHED)
    (tmp_path / "one" / "tool").unlink()
    ok(memo("--", "tool", env=env), f"two {tmp_path}/two/tool\n", UNWATCHED)
    (tmp_path / "two" / "tool").unlink()
    mistake(memo("--", "tool", env=env), "cannot run tool: it is not executable", 126)
    (tmp_path / "zero" / "tool").unlink()
    mistake(memo("--", "tool", env=env), "cannot run tool: there is no such command", 127)
    mistake(memo("--", "./none"), "cannot run ./none: there is no such command", 127)
    mistake(memo("--", "/"), "cannot run /: it is a directory", 126)
    (project / "text").write_text("echo no\n")
    (project / "text").chmod(0o755)
    mistake(memo("--", "./text"), "cannot run ./text: exec format error", 126)
    assert not (project / ".snapshot" / "log").exists()


def test_standard_input(memo: Memo, project: Path) -> None:
    for _ in range(2):
        ok(memo("--input", "pyproject.toml", "--stdin", "--", "sort", stdin="b\na\n"), "a\nb\n")
    (project / "given").write_text("x\n")
    with (project / "given").open("rb") as given:
        result = memo("--", "cat", stdin=given)
    told = "snapshot: it could read nothing: --stdin lets it read standard input\n"
    ok(result, "", told + UNWATCHED)
    with (project / "given").open("rb") as given:
        ok(memo("--", "cat", stdin=given))
    ok(memo("--", "cat", env={"SNAPSHOT_QUIET": "1"}))


def test_results_hold_for_some_time_or_are_made_anew(memo: Memo) -> None:
    for count, options in enumerate((["--ttl", "0.001s"], ["--ttl", "0.001"], ["--refresh"]), 1):
        memo.sh("echo", *options)
        assert memo.runs == count
    memo.sh("echo", "--ttl", "1h")
    assert memo.runs == 3
    for mode, count in (("off", 4), ("refresh", 5), ("read-only", 5)):
        memo.sh("echo", env={"SNAPSHOT_MEMO": mode})
        assert memo.runs == count


def test_what_is_too_large_is_not_kept(memo: Memo) -> None:
    for count in (1, 2):
        result = memo.sh("head -c 20000 /dev/zero", "--size", "10K")
        assert (len(result.stdout), memo.runs) == (20000, count)
        assert "it has written more than 10,240 bytes (--size)" in result.stderr
    result = memo.sh("head -c 20000 /dev/zero > file", "--size", "10K")
    assert "its files take 20,000 bytes, which is too much (--size)" in result.stderr
    assert memo.runs == 3


def test_it_says_why(memo: Memo, project: Path) -> None:
    assert "nothing is kept of it" in memo.sh("echo", "--explain").stdout
    memo.sh("echo")
    assert "a hit: stored " in memo.sh("echo", "--explain").stdout
    told = memo.sh("echo", "--explain", "--env", "HOME").stdout
    assert f"  argument variables: {{}} then, {{'HOME': '{project / 'home'}'}} now\n" in told
    assert memo.runs == 1


# Files.


def look_at(folder: Path) -> dict[str, Any]:
    """All that is in a folder, but its `home`: kinds, permissions and contents."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            mode = stat.filemode(path.stat().st_mode)
            found[name] = mode, path.read_bytes() if path.is_file() else None
    return {name: each for name, each in found.items() if not name.startswith("home")}


def test_files_are_given_again(memo: Memo, project: Path) -> None:
    work = project.parent / "work"
    work.mkdir()
    env = {"HOME": "/", "SNAPSHOT_STORE": str(project / "store.db")}
    (work / "changed").write_text("before")
    (work / "old").write_text("old")
    script = (
        "echo after > changed; mkdir -p a/b closed; printf '\\377' > 'a/b/new\nline'; "
        "echo key > secret; chmod 600 secret; echo run > tool; chmod 755 tool; chmod 444 old; "
        "ln -s a/b link; ln -s nowhere dangling; echo in > closed/in; chmod 555 closed"
    )
    first = memo.sh(script, folder=work, env=env)
    told = (
        "snapshot: changed, old changed while it ran: a hit gives that again; if that is not all "
        "its doing, name its files with --output\n"
    )
    ok(first, "", told + UNWATCHED)
    made = look_at(work)
    assert made["secret"] == ("-rw-------", b"key\n")
    (work / "closed").chmod(0o755)
    for each in ("a", "closed"):
        shutil.rmtree(work / each)
    for each in ("link", "dangling", "secret", "tool"):
        (work / each).unlink()
    (work / "changed").write_text("before")
    (work / "old").chmod(0o644)
    (work / "mine").write_text("stays")
    ok(memo.sh(script, folder=work, env=env))
    now = look_at(work)
    assert now.pop("mine")[1] == b"stays"
    assert now == made
    assert memo.runs == 1
    # What is as it should be is not touched.
    times = {path: path.lstat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    ok(memo.sh(script, folder=work, env=env))
    assert times == {path: path.lstat().st_mtime_ns for path in times}


def test_what_is_deleted_is_not_deleted_again(memo: Memo, project: Path) -> None:
    for each in "abcde":
        (project / each).touch()
    told = "snapshot: a, b, c and 1 more went while it ran: a hit does not do that again\n"
    assert told in memo.sh("rm a b c d").stderr
    (project / "a").touch()
    ok(memo.sh("rm a b c d"))
    assert (project / "a").exists()
    assert memo.runs == 1


def test_named_outputs(memo: Memo, project: Path) -> None:
    """Anywhere, and no others; they do not count as inputs, and neither does the store."""
    outside = project.parent / "outside"
    outside.mkdir()
    (project / "build").mkdir()
    (project / "latest").symlink_to("../target")
    script = "echo 1 > ../outside/a; echo 2 > build/b; echo 3 > c; echo 4 > latest"
    options = ["--input", ".", "--output", "../outside", "build", "latest", "--output", "c"]
    for _ in range(2):
        ok(memo.sh(script, *options))
        assert memo.runs == 1
        assert (outside / "a").read_text() == "1\n"
        assert (project / "build" / "b").read_text() == "2\n"
        assert (project.parent / "target").read_text() == "4\n"
        assert os.readlink(project / "latest") == "../target"
        shutil.rmtree(outside)
        shutil.rmtree(project / "build")
        (project.parent / "target").unlink()
    result = memo.sh("echo", "--input", "pyproject.toml", "--output", "none")
    ok(result, "\n", "snapshot: --output none: there is no such file after it has run\n")


def test_a_file_that_cannot_be_put_back_is_an_error(memo: Memo, project: Path) -> None:
    memo.sh("echo 1 > x; echo said")
    (project / "x").unlink()
    (project / "x").mkdir()
    mistake(memo.sh("echo 1 > x; echo said"), "cannot write ")


def test_inputs_that_change_meanwhile(memo: Memo, project: Path) -> None:
    """What came of it is neither of the old content nor of the new one."""
    (project / "data").write_text("1")
    for count in (1, 2):
        result = memo.sh("echo 1 >> data", "--input", "data", "pyproject.toml")
        assert "snapshot: nothing of it is kept: data changed while it ran (" in result.stderr
        assert memo.runs == count
    (project / "folder").mkdir()
    result = memo.sh("rm -r folder", "--input", "folder")
    assert "nothing of it is kept: folder changed while it ran (" in result.stderr
    result = memo.sh("echo > made", "--input", ".")
    assert "is to be named with --output" in result.stderr
    for _ in range(2):
        ok(memo.sh("echo > made", "--input", ".", "--output", "made"))


def test_a_file_that_cannot_be_read_is_told(memo: Memo, project: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    result = memo.sh("echo > x; chmod 0 x", "--input", "pyproject.toml")
    ok(result, "", "snapshot: nothing of it is kept: cannot read ./x: Permission denied\n")


def test_more_files_than_can_be_compared(project: Path, python: Callable[..., Result]) -> None:
    result = python(
        """
        import sys
        from snapshot import commands
        from snapshot.memo import shell
        shell._MANY = 10
        for _ in range(2):
            commands.main(["memo", "--input", "in", "--", "sh", "-c", "echo ran > made; echo ran"])
        """,
        env={"SNAPSHOT_STORE": str(project / "store.db")},
        via_shell="mkdir in; touch in/0 in/1 in/2 in/3 in/4 in/5 in/6 in/7 in/8; {}",
    )
    assert result.stdout == "ran\nran\n", result
    (line,) = result.stderr.splitlines()
    assert line.startswith("snapshot: more than 10 files are in /")


# Several callers.


def waits_for_lock(program: Program) -> bool:
    """Whether it waits for what another process has locked."""
    locks = Path("/proc/locks").read_text()
    return re.search(rf"-> POSIX .* {program.pid} ", locks) is not None


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline


@pytest.mark.skipif(sys.platform != "linux", reason="who waits is read from /proc")
def test_eight_callers_run_it_once(memo: Memo, gate: Gate) -> None:
    script = RAN + "echo started; read x < ../gate; echo done; echo made > file"
    words = ("--input", "pyproject.toml", "--", "sh", "-c", script)
    first = memo.start(*words)
    first.wait_for("started")
    others = [memo.start(*words) for _ in range(7)]
    wait_until(lambda: all(map(waits_for_lock, others)))
    gate.let_through()
    for program in (first, *others):
        ok(program.finish(), "started\ndone\n")
    assert memo.runs == 1


@pytest.mark.skipif(sys.platform != "linux", reason="who waits is read from /proc")
def test_another_caller_takes_over_from_one_that_is_killed(memo: Memo, gate: Gate) -> None:
    words = ("--", "sh", "-c", RAN + "echo pid $$; read x < ../gate; echo done")
    first = memo.start(*words)
    killed = int(first.wait_for(re.compile(r"pid (\d+)\n"))[1])
    second = memo.start(*words)
    wait_until(lambda: waits_for_lock(second))
    first.kill()
    wait_gone([killed, first.pid])  # the command ends with the one that ran it
    second.wait_for("pid")
    gate.let_through()
    assert second.finish().stdout.endswith("\ndone\n")
    assert memo.runs == 2


@pytest.mark.skipif(sys.platform != "linux", reason="who waits is read from /proc")
def test_who_waits_can_be_interrupted(memo: Memo, gate: Gate) -> None:
    words = ("--", "sh", "-c", "echo started; read x < ../gate; echo done")
    first = memo.start(*words)
    first.wait_for("started")
    second = memo.start(*words)
    wait_until(lambda: waits_for_lock(second))
    second.kill(signal.SIGINT)
    result = second.finish()
    assert (result.stderr, result.code) == ("snapshot memo: interrupted\n", 130)
    gate.let_through()
    ok(first.finish(), "started\ndone\n", UNWATCHED)


# Signals.

COUNT = """
import signal, sys, time
got = []
def stop(number, frame):
    got.append(number)
for each in ("SIGINT", "SIGTERM", "SIGHUP"):
    signal.signal(getattr(signal, each), stop)
print("ready", flush=True)
while not got:
    time.sleep(0.01)  # `pause` would miss a signal that comes just before it
print("got", *got, flush=True)
signal.signal(got[0], signal.SIG_DFL)
signal.raise_signal(got[0])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_are_passed_on(memo: Memo, number: signal.Signals) -> None:
    for _ in range(2):
        program = memo.start("--keep-failures", "--", sys.executable, "-c", COUNT)
        program.wait_for("ready")
        program.kill(number)
        result = program.finish()
        assert result.stdout == f"ready\ngot {int(number)}\n", result
        assert result.code == 128 + number
        assert "snapshot: nothing of it is kept: it was interrupted\n" in result.stderr


def test_a_signal_that_is_ignored_stays_ignored(memo: Memo, project: Path) -> None:
    source = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    words = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", str(SNAPSHOT), "memo", "--"]
    command = [*words, sys.executable, "-c", source]
    with Program(command, directory=project) as program:
        assert program.finish().stdout == "True\n"


def test_who_holds_the_output_is_not_waited_for_after_a_signal(memo: Memo) -> None:
    program = memo.start("--", "sh", "-c", "sleep 1000 & echo $! $$")
    _, ended = map(int, program.wait_for(re.compile(r"(\d+) (\d+)\n")).groups())
    wait_until(lambda: is_zombie(ended))
    program.kill(signal.SIGTERM)
    program.wait_for("interrupted", stream="stderr")


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_ctrl_c_reaches_the_command_once(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "count.py").write_text(COUNT)
    terminal.line("snapshot memo -- python count.py")
    terminal.wait_for("ready")
    terminal.type("\x03")
    terminal.prompt()
    assert "got 2\n" in "\n".join(terminal.lines())
    assert terminal.run("echo $?") == "130"
    terminal.vacated()


def test_on_a_terminal(terminal: Terminal) -> None:
    """What reads the terminal finds nothing; what is written is shown as it is."""
    assert terminal.run("snapshot memo -- cat") == UNWATCHED.rstrip()
    assert terminal.run("snapshot memo -- cat") == ""
    script = "snapshot memo -- printf '\\033[1mbold\\033[0m\\n'"
    assert terminal.run(script) == "bold\n" + UNWATCHED.rstrip()
    assert terminal.run(script) == "bold"
    assert "\x1b[1mbold" in terminal.raw()


def test_it_can_be_suspended(terminal: Terminal, gate: Gate) -> None:
    terminal.line("snapshot memo -- sh -c 'echo beg''un; read x < gate; echo do''ne'")
    terminal.wait_for("begun")
    terminal.suspend()
    terminal.resume()
    gate.let_through()
    terminal.wait_for("done")
    terminal.prompt()
    assert terminal.run("echo $?") == "0"


# Damage, and mistakes.


def test_a_damaged_result_is_made_anew(memo: Memo, project: Path) -> None:
    script = "head -c 500000 /dev/zero | tr '\\0' b > big"
    memo.sh(script)
    (file,) = (
        path
        for path in (project / ".snapshot").rglob("*")
        if path.is_file() and path.stat().st_size == 500000
    )
    file.write_bytes(b"x" * 500000)
    (project / "big").unlink()
    result = memo.sh(script, "--input", "pyproject.toml")
    assert result.code == 0
    (project / "big").unlink()
    result = memo.sh(script)
    assert "is damaged" in result.stderr
    assert (project / "big").read_bytes() == b"b" * 500000
    (project / "big").unlink()
    ok(memo.sh(script))
    assert (project / "big").read_bytes() == b"b" * 500000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "give -- and a command to run, or one of ls, stats"),
        ("--", "give a command after --"),
        ("make all", "'make' is none of ls, stats, explain, evict, clear, verify: put -- before"),
        ("--env A=1 -- true", "--env 'A=1' is no name of a variable"),
        ("--ttl x -- true", "'x' is no duration"),
        ("--ttl 0 -- true", "--ttl 0: nothing holds for no time"),
        ("--size x -- true", "size='x' is no size"),
        ("--input none -- true", "--input none: there is no such file"),
        ("--input /dev/null -- true", "/dev/null is a device"),
        ("--keep-failures ls", "--keep-failures goes with -- and a command"),
        ("--store / -- true", "'/' is a directory"),
        ("--store mysql://x -- true", "'mysql://x' is no store"),
    ],
)
def test_mistakes(memo: Memo, words: str, expected: str) -> None:
    mistake(memo(*words.split()), expected)


def test_closed_streams_and_a_folder_that_is_gone(memo: Memo, project: Path) -> None:
    line = f"{SNAPSHOT} memo -- echo x"
    gone = project / "gone"
    gone.mkdir()
    for script, expected in (
        (f"{line} >&-", "standard output or error is closed"),
        (f"{SNAPSHOT} memo --stdin -- cat <&-", "standard input is closed"),
        (f"cd gone; rmdir ../gone; {line}", "the working directory was deleted: go to another one"),
    ):
        with Program(["sh", "-c", script], directory=project) as program:
            result = program.finish()
        assert result.code == 2, result
        assert expected in result.stderr, result


def test_a_store_that_cannot_be_written_costs_a_line(memo: Memo, project: Path) -> None:
    (project / ".snapshot").write_text("no folder")
    result = memo.sh("echo out", "--input", "pyproject.toml")
    assert (result.stdout, result.code) == ("out\n", 0)
    assert result.stderr.startswith("snapshot: ")
