"""The harness: what is left behind fails a test, programs end, and the screen is what is seen."""

from __future__ import annotations

import json
import os
import re
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyte
import pytest

from tests.processes import NotInTime, Program, Result, children_of, runs, wait_gone
from tests.terminal import PROMPT, Screen, ScreenTimeout, Terminal

ROOT = Path(__file__).parent.parent

RUN_PYTEST = """
    import json, os, sys, pytest

    os.environ.pop("PYTEST_ADDOPTS", None)  # `-n` would run the tests in any order

    class Recorder:
        said = {}

        def pytest_runtest_logreport(self, report):
            if report.failed:
                self.said[f"{report.when} {report.head_line}"] = report.longreprtext

    recorder = Recorder()
    pytest.main(
        [
            *("-q", "-c", "/dev/null", "-p", "no:cacheprovider", "-p", "tests.conftest"),
            *("--basetemp", "base", sys.argv[1]),
        ],
        plugins=[recorder],
    )
    with open(sys.argv[2], "w") as file:
        json.dump(recorder.said, file)
"""

LEAKS = """
    import os, subprocess, sys, tempfile, threading

    kept = []

    def test_process():
        kept.append(subprocess.Popen(["sleep", "1000"]))

    def test_stopped_process_of_another_session():
        stopped = subprocess.Popen(["sh", "-c", "kill -STOP $$"], start_new_session=True)
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
        kept.append(stopped)

    def test_orphan():
        subprocess.run(["sh", "-c", "sleep 1001 & exit 0"], check=True)

    def test_thread():
        threading.Thread(target=threading.Event().wait, name="restless", daemon=True).start()

    def test_descriptor():
        os.open(os.devnull, os.O_RDONLY)

    def test_replaced_descriptor():
        if not kept[2:]:
            kept.extend(os.pipe())
        os.dup2(kept[-2], kept[-1])

    def test_temporary_file():
        os.close(tempfile.mkstemp("_forgotten")[0])

    def test_temporary_directory():
        os.makedirs(os.path.join(tempfile.mkdtemp("_forgotten"), "within"))

    def test_that_fails():
        assert kept is None

    def test_clean_after_all_those():
        import asyncio, sqlite3, http.client

        async def echo():
            process = await asyncio.create_subprocess_exec("true")
            await process.wait()
            return await asyncio.to_thread(os.getpid)

        asyncio.run(echo())
        with tempfile.TemporaryDirectory(), tempfile.TemporaryFile():
            subprocess.run(["true"])
        thread = threading.Thread(target=os.getpid)
        thread.start()

    def test_process_that_ends():
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        process.stdin.close()
        kept.append(process)
"""

TTY_LEAK = """
    import os, termios

    def echoes():
        fd = os.open("/dev/tty", os.O_RDWR)
        try:
            return bool(termios.tcgetattr(fd)[3] & termios.ECHO)
        finally:
            os.close(fd)

    def test_modes():
        assert echoes()
        os.system("stty -echo < /dev/tty")
        assert not echoes()

    def test_they_are_back():
        assert echoes()
"""


# Nothing is left behind.


def failures(python: Callable[..., Result], tmp_path: Path, source: str) -> dict[str, str]:
    """What each failed test of the source said, under pytest with this harness."""
    tests, said = tmp_path / "test_generated.py", tmp_path / "said.json"
    tests.write_text(textwrap.dedent(source))
    python(RUN_PYTEST, tests, said, env={"PYTHONPATH": str(ROOT)}, timeout=60)
    loaded: dict[str, str] = json.loads(said.read_text())
    return loaded


def test_what_a_test_leaves_behind_fails_it_alone(
    python: Callable[..., Result], tmp_path: Path
) -> None:
    said = failures(python, tmp_path, LEAKS)
    left = {
        "test_process": r"process \d+ .*: sleep 1000",
        "test_stopped_process_of_another_session": r"process \d+ .*stopped\): sh -c",
        "test_orphan": r"process \d+ .*: sleep 1001",
        "test_thread": r"thread <Thread\(restless",
        "test_descriptor": r"descriptor \d+: /dev/null",
        "test_replaced_descriptor": r"descriptor \d+: pipe:",
        "test_temporary_file": r"temporary file .*_forgotten",
        "test_temporary_directory": r"temporary file .*_forgotten",
    }
    for name, pattern in left.items():
        assert re.search(f"the test left behind:\n{pattern}", said.pop(f"teardown {name}"))
    assert list(said) == ["call test_that_fails"]


def test_changed_modes_of_the_runners_terminal_fail_the_test_and_are_put_back(
    terminal: Terminal, tmp_path: Path
) -> None:
    tests, said = tmp_path / "test_generated.py", tmp_path / "said.json"
    tests.write_text(textwrap.dedent(TTY_LEAK))
    terminal.run(f"export PYTHONPATH={ROOT}")
    terminal.python(RUN_PYTEST, str(tests), str(said))
    terminal.prompt()
    failed = json.loads(said.read_text())
    assert list(failed) == ["teardown test_modes"], failed
    assert "left behind:\ntty modes" in failed["teardown test_modes"]


# Programs.


def test_a_program_gets_its_input_and_ends_with_a_code(python: Callable[..., Result]) -> None:
    result = python(
        """
        import sys
        text = sys.stdin.read()
        print(len(text), *sys.argv[1:])
        sys.stderr.write(text[:2])
        sys.exit(3)
        """,
        "argument",
        stdin="é" * 1_000_000,
    )
    assert (result.stdout, result.stderr) == ("1000000 argument\n", "éé")
    assert (result.code, result.signal) == (3, None)


def test_a_program_that_a_signal_ended(python: Callable[..., Result]) -> None:
    result = python("import os; os.kill(os.getpid(), 9)", stdin=b"never read" * 100_000)
    assert (result.code, result.signal) == (None, signal.SIGKILL)
    assert "SIGKILL" in repr(result)


def test_bytes_that_are_no_text_come_back_as_they_are(python: Callable[..., Result]) -> None:
    data = bytes(range(256))
    result = python("import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())", stdin=data)
    assert result.stdout.encode("utf-8", "surrogateescape") == data


def test_a_program_reads_a_file(python: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "input").write_text("from a file")
    with open(tmp_path / "input", "rb") as file:
        assert python("print(input())", stdin=file).stdout == "from a file\n"


def test_a_program_within_a_shell_line(python: Callable[..., Result]) -> None:
    result = python("print('x'); exit(5)", via_shell="{} | tr x y; exit 4")
    assert (result.stdout, result.code) == ("y\n", 4)
    result = python("import os; print(os.getppid() != os.getsid(0))", via_shell=True)
    assert (result.stdout, result.code) == ("False\n", 0)


def test_nothing_of_the_runners_environment_reaches_a_program(
    python: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PYTHONSTARTUP", "PYTHONUNBUFFERED", "SNAPSHOT_QUIET", "COLUMNS", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, "1")
    result = python("import json, os; print(json.dumps(dict(os.environ)))", env={"EXTRA": "1"})
    seen: dict[str, Any] = json.loads(result.stdout)
    assert not {"PYTHONSTARTUP", "PYTHONUNBUFFERED", "SNAPSHOT_QUIET", "COLUMNS"} & set(seen)
    assert seen["EXTRA"] == "1"
    assert all(seen[name].startswith(str(tmp_path)) for name in ("HOME", "XDG_DATA_HOME"))


def test_a_program_and_a_test_take_turns(start: Callable[..., Program]) -> None:
    program = start(
        """
        import os, sys
        print("ready", flush=True)
        print(input(), os.getpid(), file=sys.stderr, flush=True)
        print(input())
        """
    )
    program.wait_for("ready")
    program.send("first\n")
    pid = program.wait_for(re.compile(r"first (\d+)"), stream="stderr")[1]
    assert int(pid) == program.pid
    program.send("second\n")
    assert program.finish().stdout == "ready\nsecond\n"


def test_waiting_for_what_a_program_never_writes(start: Callable[..., Program]) -> None:
    program = start("print('only this'); input()")
    with pytest.raises(NotInTime, match=r"(?s)no 'that' on stdout.*program\.py"):
        program.wait_for("that", timeout=0.1)
    program.send("\n")
    with pytest.raises(NotInTime, match="stdout ended without 'that'"):
        program.wait_for("that")
    assert program.finish().code == 0


FOREVER = """
    import os, sys, time
    print(os.getpid(), flush=True)
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
        print(os.getpid(), flush=True)
    time.sleep(1000)
"""


def test_a_program_that_does_not_end_is_shown_and_killed_with_its_whole_session(
    start: Callable[..., Program],
) -> None:
    program = start(FOREVER)
    program.wait_for(re.compile(r"(\d+\s+){3}"))
    pids = [int(pid) for pid in program.stdout.split()]
    assert sorted(pids) == [member.pid for member in program.members()]
    with pytest.raises(NotInTime) as caught:
        program.finish(timeout=0.1)
    for pid in pids:
        assert re.search(rf"(?m)^{pid} \(parent \d+, \w+\): .*program\.py", str(caught.value))
    program.close()
    wait_gone(pids)


def test_who_gets_the_number_of_one_that_ended_is_another(
    start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start("input()")
    with monkeypatch.context() as patch:
        # What psutil remembers is a process that had this number before.
        patch.setattr(psutil.Process, "create_time", lambda _: 1.0)
        patch.setattr(psutil.Process, "_get_ident", lambda each: (each.pid, 1.0))
        psutil.process_iter.cache_clear()
        assert program.pid in [each.pid for each in psutil.process_iter()]
    program.close()
    wait_gone([program.pid])
    with start("input()") as other:
        program.pid = other.pid
        program.close()
        other.send("\n")
        assert other.finish().code == 0


def test_gone_is_gone_only_when_it_is(start: Callable[..., Program]) -> None:
    program = start("input()")
    assert program.pid in [child.pid for child in children_of(os.getpid())]
    with pytest.raises(NotInTime, match=rf"still there after 0 s:\n{program.pid} "):
        wait_gone([program.pid], timeout=0)
    program.kill()
    wait_gone(program.members())
    assert not any(runs(member) for member in program.members())
    assert program.finish().signal == signal.SIGKILL
    wait_gone([program.pid])


# The terminal.


def test_the_lines_of_a_command_and_no_others(terminal: Terminal) -> None:
    assert terminal.run("echo one; echo two") == "one\ntwo"
    assert terminal.run("true") == ""
    assert terminal.run("printf unfinished") == "unfinished"
    assert terminal.screen().endswith(f"unfinished{PROMPT.rstrip()}")


def test_lines_that_scrolled_off_or_were_cleared_are_kept(terminal: Terminal) -> None:
    numbers = "\n".join(map(str, range(1, 101)))
    assert terminal.run("seq 100") == numbers
    assert "\n77\n" not in terminal.screen()
    start = terminal.mark()
    for clearing in ("clear", "printf '\\033c'"):
        terminal.run(clearing)
        assert terminal.screen() == PROMPT.rstrip()
    assert "\n77\n" in "\n".join(terminal.lines())
    assert "\n77\n" not in "\n".join(terminal.lines(start))


def test_a_line_broken_at_the_edge_is_found_as_one(terminal: Terminal) -> None:
    word = "-".join(map(str, range(50)))
    terminal.line(f"echo {word}; printf 'é日本%.0s' $(seq 40)")
    terminal.wait_for(f"\n{word}\n")
    terminal.wait_for("é日本" * 40)
    assert word not in terminal.screen()
    terminal.prompt()


def test_only_what_was_shown_since_the_mark(terminal: Terminal) -> None:
    terminal.run("echo here")
    start = terminal.mark()
    terminal.wait_for("here")
    with pytest.raises(ScreenTimeout):
        terminal.wait_for("here", timeout=0, since=start)
    terminal.line("echo there")
    terminal.wait_for("\nthere", since=start)


def test_the_screen_in_time_or_all_there_is_to_know(terminal: Terminal) -> None:
    terminal.python("print('started'); input()")
    terminal.wait_for("started")
    with pytest.raises(ScreenTimeout) as caught:
        terminal.wait_for(re.compile("fin.shed"), timeout=0.1)
    message = str(caught.value)
    (pid,) = terminal.pids()
    assert message.startswith("no 'fin.shed' within 0.1 s\n--- screen\nsh$ python")
    assert re.search(r"started\\r\\n'\n--- <Modes echo=True, canonical=True", message)
    assert re.search(rf"foreground group {pid}\)\n{terminal.shell_pid} .*bash", message)
    assert re.search(rf"\n{pid} \(parent {terminal.shell_pid}, \w+\): .* program\.py", message)


def test_a_terminal_whose_shell_ended(terminal: Terminal) -> None:
    terminal.line("exit")
    with pytest.raises(ScreenTimeout, match=r"'more': the terminal closed"):
        terminal.wait_for("more")


def test_no_prompt_before_the_command_has_ended(terminal: Terminal) -> None:
    terminal.python(f"print({PROMPT!r}, end='', flush=True); input()")
    with pytest.raises(ScreenTimeout, match="no shell's prompt"):
        terminal.prompt(timeout=0.1)
    terminal.line()
    terminal.prompt()


def test_keys_are_signals(terminal: Terminal) -> None:
    terminal.python("import time\nprint('ready')\nwhile True: time.sleep(1000)")
    terminal.wait_for("ready")
    terminal.suspend()
    terminal.resume()
    assert terminal.pids() == [terminal.foreground()]
    terminal.type("\x03")
    terminal.prompt()
    assert "KeyboardInterrupt" in terminal.screen()
    terminal.vacated()


def test_modes_differ_while_a_program_changes_them(terminal: Terminal) -> None:
    before = terminal.modes()
    terminal.python(
        """
        import sys, tty
        tty.setraw(0)
        print("raw", flush=True)
        sys.stdin.read(1)
        """
    )
    terminal.wait_for("raw")
    raw = terminal.modes()
    assert raw != before
    assert (raw.echo, raw.canonical, raw.signals) == (False, False, False)
    # bash puts back what a program that a signal ended has changed; of another it keeps it.
    os.kill(terminal.pids()[0], signal.SIGKILL)
    terminal.prompt()
    assert terminal.modes() == before


@pytest.mark.parametrize(
    ("command", "prompt"), [("python", ">>> "), ("ipython", "In [1]: "), ("ptpython", ">>> ")]
)
def test_a_repl_is_seen_as_it_is_seen(terminal: Terminal, command: str, prompt: str) -> None:
    terminal.line(command)
    terminal.wait_for(prompt)
    start = terminal.mark()
    terminal.line("6 * 7")
    terminal.wait_for(re.compile(r"\n(Out\[1\]: )?42\n"), since=start)
    terminal.line("exit()")
    terminal.prompt()
    assert "\x1b" not in terminal.transcript()


def test_everything_on_the_terminal_ends_with_it(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.run("sleep 1000 & sh -c 'trap \"\" HUP TERM; sleep 1001; :' & ")
    terminal.python(FOREVER)
    terminal.wait_for(re.compile(r"(\n\d+){3}\n"))
    terminal.wait_until(lambda: len(terminal.pids()) == 6)
    pids = terminal.pids()
    assert terminal.shell_pid not in pids
    terminal.close()
    wait_gone([*pids, terminal.shell_pid])
    terminal.close()


def test_an_orphan_that_ended_is_no_process_of_the_terminal(terminal: Terminal) -> None:
    terminal.run("(sleep 1000 & echo $! > pid)")
    (pid,) = terminal.pids()
    terminal.run("kill $(cat pid)")
    wait_gone([pid])
    assert terminal.pids() == []


def test_hanging_up_ends_a_program_as_a_closed_window_does(terminal: Terminal) -> None:
    terminal.python("print('ready'); input()")
    terminal.wait_for("ready")
    pids = terminal.pids()
    terminal.hang_up()
    wait_gone([*pids, terminal.shell_pid])


def test_another_shell_and_size(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal(shell=("sh", "-i"), rows=10, columns=132, env={"EXTRA": "given"})
    assert terminal.run("stty size; echo $EXTRA") == "10 132\ngiven"
    terminal.resize(30, 100)
    assert terminal.run("stty size") == "30 100"


def test_a_smaller_window_loses_nothing(terminal: Terminal) -> None:
    terminal.run("seq 3")
    terminal.resize(10, 80)
    assert terminal.run("echo kept") == "kept"
    assert terminal.screen().startswith("sh$ seq 3\n1\n2\n3\nsh$ echo kept")
    terminal.run("seq 11 20")
    terminal.resize(5, 80)
    assert terminal.run("echo kept, too") == "kept, too"
    assert "\n11\n12\n13\n14\n15\n16\n17\n18\n19\n20\n" in "\n".join(terminal.lines())


def test_much_is_typed_while_much_is_shown(terminal: Terminal) -> None:
    terminal.run("stty -echo")
    terminal.python(
        """
        import sys
        print("ready")
        for line in sys.stdin:
            print(line * 10, flush=True)
            if line == "end\\n":
                break
        """
    )
    terminal.wait_for("ready")
    terminal.type(("x" * 1000 + "\r") * 30 + "end\r")
    terminal.prompt()
    assert terminal.transcript().count("x") == 300_000


def test_escapes_that_pyte_does_not_know_draw_nothing() -> None:
    screen = Screen(20, 3)
    pyte.Stream(screen).feed("\x1b[?2004h\x1b[>4;1m\x1b[?4m\x1b[6n\x1b[cseen")
    assert ["".join(row.cells) for row in screen.rows(0)] == ["seen"]


def test_a_broken_line_that_was_erased_is_whole_again() -> None:
    screen = Screen(4, 3)
    stream = pyte.Stream(screen)
    stream.feed("123456\x1b[H\x1b[J")
    stream.feed("a\r\nb")
    assert ["".join(row.cells) for row in screen.rows(0)] == ["a", "b"]
    assert not any(row.broken for row in screen.rows(0))
