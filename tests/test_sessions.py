"""Sessions that run, looked at from outside: what is told, to whom, and what comes of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from snapshot.core import sessions
from snapshot.core.sessions import Announced, Session
from snapshot.core.timeline.records import Timeline
from snapshot.core.timeline.telling import told
from snapshot.errors import SnapshotError, UnknownSession
from tests.debugging import Debugging
from tests.processes import Program, run_python, wait_gone
from tests.repl import Repl
from tests.terminal import Terminal
from tests.test_ipython import IPython
from tests.test_timeline import Prompt

Start = Callable[..., Program]
Open = Callable[..., Terminal]

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sockets of a test are; this process looks there, too."""
    runtime = tmp_path / "home" / "runtime"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return runtime / "snapshot"


def the_one() -> Session:
    """The only one that runs."""
    return listed(lambda found: len(found) == 1)[0]


def listed(wanted: Callable[[list[Session]], bool]) -> list[Session]:
    """All that run, as soon as it is so: one that has no time to answer is left out for once."""
    deadline = time.monotonic() + 20
    while not wanted(found := sessions.running()):
        assert time.monotonic() < deadline, found
    return found


def until(wanted: Callable[[Session], object]) -> Session:
    """The one that runs, as soon as it is so."""
    deadline = time.monotonic() + 20
    session = the_one()
    while not wanted(session):
        left = deadline - time.monotonic()
        assert left > 0, session
        session = sessions.changed(session.id, session.revision, left) or session
    return session


def connect(folder: Path, name: str) -> socket.socket:
    """A connection of somebody who does as he likes."""
    end = socket.socket(socket.AF_UNIX)
    opened = os.open(folder, os.O_RDONLY)
    try:
        end.connect(f"/proc/self/fd/{opened}/{name}")
    finally:
        os.close(opened)
    end.settimeout(20)
    return end


def is_closed(end: socket.socket) -> bool:
    """Whether nothing comes any more but the end."""
    try:
        return end.recv(1) == b""
    except ConnectionResetError:  # something was not read
        return True


# What is told.


def test_a_prompt_with_states_branches_and_a_future(open_terminal: Open, tmp_path: Path) -> None:
    began = time.time()
    os.mkfifo(tmp_path / "gate")
    repl = Repl(open_terminal(rows=40, columns=160))
    repl.say("block = bytearray(30 << 20)")
    repl.say("1 / 0")
    repl.say("tm.name(1, 'loaded')")
    repl.say("past(1)")
    repl.say('work = \'print("one é"); open("gate").read(); print(2); 5\'', "branch 2 >>>")
    repl.say("block[:] = b'x' * len(block)", "branch 2 >>>")
    repl.say("block[:] = b'y' * len(block); f = tm.future(work)", "branch 2 >>>")
    session = until(
        lambda now: (
            now.futures
            and now.futures[0].output
            and now.cell is None
            and all(each.memory for each in now.states if each.status == "frozen")
        )
    )

    assert (session.kind, session.program) == ("repl", "snapshot-repl program.py")
    assert session.directory == str(tmp_path)
    assert session.python == sys.version.split()[0]
    assert Path(session.executable).samefile(sys.executable)
    assert began < session.started < time.time()
    assert psutil.Process(session.live).ppid() == session.pid

    assert [(each.depth, each.number, each.parent, each.branch) for each in session.states] == [
        *((0, 0, None, 1), (0, 1, 0, 1)),
        *((1, 5, 1, 2), (1, 6, 5, 2), (2, 8, 6, 3), (1, 7, 6, 2)),
        *((0, 2, 1, 1), (0, 3, 2, 1)),
    ]
    states = {each.number: each for each in session.states}
    assert (states[1].line, states[1].name) == ("block = bytearray(30 << 20)", "loaded")
    assert [each.number for each in session.states if each.failed] == [2]
    assert [each.number for each in session.states if each.future] == [8]
    assert states[8].status == "running"
    assert (states[6].memory or 0) > 30 << 20 > (states[3].memory or 0) > 0
    assert all(psutil.Process(each.pid).ppid() == session.pid for each in session.states)
    assert all(began < each.made < time.time() for each in session.states)
    assert [(each.number, each.root, each.at) for each in session.branches] == [
        (1, None, 3),
        (2, 1, 7),
    ]
    assert session.branches[1].pid == session.live != session.branches[0].pid
    assert (session.here.branch, session.here.state) == (2, 7)

    (future,) = session.futures
    assert (future.number, future.status, future.last) == (8, "running", "one é")
    assert (future.line, future.how) == (states[8].line, None)
    position, text = sessions.output(session.id, 8)
    assert (position, text) == (7, "one é\n")
    assert sessions.output(session.id, 8, 5) == (7, "\ufffd\n")  # in the middle of a character
    (tmp_path / "gate").write_text("")
    session = until(lambda now: now.futures[0].status == "done")
    assert sessions.output(session.id, 8, position) == (9, "2\n")
    assert sessions.output(session.id, 8, 9) == (9, "")
    with pytest.raises(SnapshotError, match=r"^7 is no future; there are 8$"):
        sessions.output(session.id, 7)

    repl.say("open('gate').read()", "branch 2 >>>")
    session = until(lambda now: now.cell)
    assert session.cell == sessions.Cell(9, "open('gate').read()")
    (tmp_path / "gate").write_text("")
    until(lambda now: now.cell is None)
    repl.leave_from("branch 2 >>>")
    assert sessions.running() == []
    with pytest.raises(UnknownSession, match=r"no session '[0-9-]+' runs"):
        sessions.look(session.id)


def test_what_a_future_writes_comes_in_pieces(start: Start) -> None:
    prompt = Prompt(start)
    prompt.say("tm.future('print(\"é\" * 1_500_000)').result()")
    id, position, texts = the_one().id, 0, []
    while (more := sessions.output(id, 2, position))[1]:
        position, text = more
        texts.append(text)
    assert "".join(texts) == "é" * 1_500_000 + "\n"
    assert position == 3_000_001
    assert len(texts) > 1


def test_changes_are_told_as_they_come(start: Start) -> None:
    prompt = Prompt(start)
    changes = sessions.changes(the_one().id, pause=0)
    assert next(changes).here.state == 0
    prompt.say("log.append(1)")
    seen = next(each for each in changes if each.here.state == 1)
    assert sessions.changed(seen.id, None, 20) is not None
    prompt.program.send("tm.bye(); sys.exit(0)\n")
    prompt.program.finish()
    assert {each.id for each in changes} <= {seen.id}  # it comes to an end


def test_no_change_is_no_answer(start: Start) -> None:
    Prompt(start)
    session = until(lambda now: all(each.memory for each in now.states))
    revision = session.revision
    assert sessions.changed(session.id, revision, 0.01) is None
    assert sessions.look(session.id).revision == revision  # to look is no change


def test_states_that_are_gone_are_told_once_for_several() -> None:
    timeline = Timeline()
    timeline.begin(4000)
    for number in range(6):
        timeline.ended(number, f"line {number}", 100.0, 4001 + number, failed=False)
    for number in (2, 3, 4):
        timeline.states[number].status = "evicted"
    announced = Announced("repl", "p.py", "/", "3.12.1", "python", 0.0)
    session = told(announced, "1-2", 7, timeline, (), None)
    found = [(each.number, each.parent, each.stands_for) for each in session.states]
    assert found == [(0, None, 1), (1, 0, 1), (2, 1, 3), (5, 2, 1)]


def test_ipython_with_the_extension(open_terminal: Open) -> None:
    shell = IPython(open_terminal(rows=40, columns=160))
    shell.say("x = 1")
    shell.prompt()
    session = until(lambda now: now.here.state and now.cell is None)
    assert session.kind == "ipython"
    assert "ipython" in session.program.lower()
    assert session.states[-1].line == "x = 1"
    shell.leave()
    assert sessions.running() == []


# A debugger.

COUNTS = """
def work(number):
    print("work")
    return number + 1

total = 0
for each in range(2):
    total += work(each)
"""


def test_the_past_of_a_program_under_the_debugger(open_terminal: Open) -> None:
    it = Debugging(open_terminal(rows=40, columns=160), COUNTS)
    it.say("n", "n", "snap counted", "n", "back")
    session = the_one()
    assert (session.kind, session.program) == ("debugger", "snapshot debug p.py")
    stops = [(each.position, each.line, each.name) for each in session.states if each.stop]
    assert stops == [
        (2, "p.py:1 <module>", None),
        (3, "p.py:5 <module>", None),
        (4, "p.py:6 <module>", "counted"),
        (5, "p.py:7 <module>", None),
    ]
    assert {each.branch for each in session.states} == {1}
    here = session.here
    assert (here.branch, here.position, here.line) == (1, 4, "p.py:6 <module>")
    assert {each.number: each for each in session.states}[here.state].name == "counted"
    assert session.cell is None

    it.say("!total = 50", "n", "n")
    session = the_one()
    assert [(each.number, each.root) for each in session.branches] == [(1, None), (2, here.state)]
    assert {each.depth for each in session.states if each.branch == 2} == {1}
    assert session.here.branch == 2
    it.say("branch 1")
    session = the_one()
    assert (session.here.branch, session.here.position) == (1, 5)
    it.say("c")
    session = the_one()
    assert (session.here.line, session.branches[0].ended) == ("the program ended", "ended")
    it.say("revert counted", "keep")
    it.say("q")
    assert sessions.running() == []


def test_a_branch_that_is_forgotten_is_not_told(open_terminal: Open) -> None:
    it = Debugging(open_terminal(rows=40, columns=160), COUNTS)
    it.say("n", "snap here", "!total = 7", "n", "n")
    assert len(the_one().branches) == 2
    it.say("revert here")
    session = the_one()
    assert [each.number for each in session.branches] == [1]
    assert {each.branch for each in session.states} == {1}
    it.say("!total = 8", "n", "keep")
    session = the_one()
    assert [each.ended for each in session.branches] == [None, None]
    assert session.here.branch == 3
    it.say("q")


def test_a_program_that_has_gone_on_from_a_prompt(open_terminal: Open, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    source = "def f():\n    breakpoint()\n    return open('gate').read()\nf()\nprint('over')"
    command = "PYTHONBREAKPOINT=snapshot.set_trace python p.py"
    it = Debugging(open_terminal(rows=40, columns=160), source, command=command)
    session = the_one()
    assert (session.kind, session.program, session.cell) == ("debugger", "p.py", None)
    assert (session.here.position, session.here.line) == (0, "p.py:2 f")
    it.say("n")
    position = it.position
    it.terminal.line("n")
    session = until(lambda now: now.cell)
    assert session.cell == sessions.Cell(position, "p.py:3 f")
    (tmp_path / "gate").write_text("")
    it.wait()
    assert the_one().cell is None
    it.say("c")
    it.say("q")  # in the original, where the experiment and its session have ended
    assert sessions.running() == []


def test_an_experiment_that_has_ended_is_no_session(open_terminal: Open) -> None:
    command = "PYTHONBREAKPOINT=snapshot.set_trace python p.py"
    it = Debugging(open_terminal(rows=40, columns=160), "breakpoint()\nx = 1\n", command=command)
    first = the_one().id
    it.say("q")
    assert sessions.running() == []
    it.say("snap again")
    assert the_one().id != first
    it.say("q", "q")
    assert sessions.running() == []


def test_a_program_whose_past_comes_when_it_is_wanted(open_terminal: Open) -> None:
    terminal = open_terminal(rows=40, columns=160)
    it = Debugging(terminal, "x = 1\nprint(input())\ny = 1 / 0\n", command="stty -g")
    terminal.line("snapshot run p.py")
    session = until(lambda now: [each.name for each in now.states] == ["the beginning"])
    assert (session.kind, session.program) == ("debugger", "snapshot run p.py")
    assert session.cell is not None
    terminal.line("")
    terminal.wait_for("debug it there, in an experiment?")
    it.say("y", "back")
    session = the_one()
    assert session.cell is None
    assert session.here.line == "the program was ended by ZeroDivisionError"
    assert (session.states[0].name, session.states[0].position) == ("the beginning", None)
    assert session.states[-1].position == session.here.position
    terminal.line("q")
    terminal.wait_for("debug it once more?")
    terminal.line("n")
    terminal.prompt()
    assert sessions.running() == []


def test_a_test_under_the_debugger(open_terminal: Open) -> None:
    source = "def test_it():\n    x = 1\n    assert x == 2\n"
    terminal = open_terminal(rows=40, columns=160)
    it = Debugging(terminal, source, command="pytest -p no:cacheprovider --snapshot --pdb p.py")
    session = the_one()
    assert (session.kind, session.program) == (
        "debugger",
        "pytest -p no:cacheprovider --snapshot --pdb p.py",
    )
    assert session.here.line == "the program was ended by AssertionError"
    it.say("back")
    assert the_one().here.line == session.states[-2].line
    it.say("q")
    assert sessions.running() == []


# Who is told.


def test_several_sessions_and_one_that_is_stopped(start: Start) -> None:
    one, other = Prompt(start), Prompt(start)
    pids = [one.program.pid, other.program.pid]
    listed(lambda found: [each.pid for each in found] == pids)
    os.kill(pids[0], signal.SIGSTOP)
    listed(lambda found: [each.pid for each in found] == pids[1:])
    os.kill(pids[0], signal.SIGCONT)
    listed(lambda found: [each.pid for each in found] == pids)


def test_one_that_was_killed_is_forgotten_by_who_looks(start: Start, folder: Path) -> None:
    prompt, other = Prompt(start), Prompt(start)
    name = listed(lambda found: len(found) == 2)[0].id
    members = [each.pid for each in prompt.program.members()]
    prompt.program.kill()
    prompt.program.finish()
    wait_gone(members)
    assert (folder / name).is_socket()
    assert the_one().pid == other.program.pid
    assert not (folder / name).exists()


def test_a_socket_is_left_alone_where_its_process_has_only_begun(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.mkdir(0o700)
    path = folder / sessions.name_of(os.getpid())
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(folder)
        try:
            bound.bind(path.name)  # it does not listen yet
        finally:
            os.chdir("/")
        assert sessions.running() == []
        assert path.is_socket()


def test_nobody_else_can_open_it_whatever_the_umask(start: Start, folder: Path) -> None:
    for mask in ("0", "0o777"):
        prompt = Prompt(start, before=f"import os; os.umask({mask})\n")
        name = the_one().id
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
        assert prompt.value("os.umask(0)") == int(mask, 0)
        prompt.program.send("tm.bye(); sys.exit(0)\n")
        prompt.program.finish()
        assert list(folder.iterdir()) == []
        folder.rmdir()


def _open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o711)


def _elsewhere(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir(0o700)
    folder.symlink_to("elsewhere")


def _a_file(folder: Path) -> None:
    folder.write_text("")


def _somebodys(folder: Path) -> None:
    folder.mkdir(0o700)
    os.chown(folder, 65534, 65534)


def _full(folder: Path) -> None:
    folder.symlink_to("/proc/self")  # where nothing can be made


@pytest.mark.parametrize(
    "prepare",
    [_open_to_others, _elsewhere, _a_file, pytest.param(_somebodys, marks=AS_ROOT), _full],
)
def test_where_there_can_be_no_socket_the_session_is_not_listed(
    start: Start, folder: Path, prepare: Callable[[Path], None]
) -> None:
    folder.parent.mkdir(parents=True)
    folder.parent.chmod(0o700)
    prepare(folder)
    prompt = Prompt(start)
    prompt.say("log.append(1)").say("tm.past(0)")
    assert prompt.log == []
    assert sessions.running() == []
    prompt.program.send("tm.bye(); sys.exit(0)\n")
    result = prompt.program.finish()
    assert result.code == 0
    assert "Error" not in result.stderr, result
    assert not list((folder.parent / "elsewhere").glob("*"))


@pytest.mark.parametrize("how", ["unset", "open to others", "relative"])
def test_without_a_folder_of_the_login_it_is_the_temporary_one(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    runtime.chmod(0o777)
    named = {"unset": "", "open to others": str(runtime), "relative": "runtime"}[how]
    before = f"import os; os.environ.update(XDG_RUNTIME_DIR={named!r}, TMPDIR={str(temporary)!r})\n"
    prompt = Prompt(start, before=before)
    (path,) = (temporary / f"snapshot-{os.geteuid()}").iterdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert the_one().pid == prompt.program.pid  # though the folder of the login is known here
    assert path.name == the_one().id
    assert not list(runtime.iterdir())


def test_where_the_path_is_long(start: Start, tmp_path: Path, monkeypatch: Any) -> None:
    runtime = tmp_path / ("r" * 200)
    runtime.mkdir(0o700)
    prompt = Prompt(start, before=f"import os; os.environ['XDG_RUNTIME_DIR'] = {str(runtime)!r}\n")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert the_one().pid == prompt.program.pid


def test_a_session_may_keep_to_itself(start: Start, folder: Path) -> None:
    prompt = Prompt(start, before="import os; os.environ['SNAPSHOT_ANNOUNCE'] = '0'\n")
    assert prompt.say("log.append(1)").at == 1
    assert not folder.exists()


@AS_ROOT
def test_another_user_is_not_answered(start: Start, folder: Path) -> None:
    prompt = Prompt(start)
    name = the_one().id
    ask = f"""
import os, socket, sys
end = socket.socket(socket.AF_UNIX)
os.chdir({str(folder)!r})
if sys.argv[1:]:
    os.setuid(int(sys.argv[1]))
try:
    end.connect({name!r})
except PermissionError as error:
    sys.exit(type(error).__name__)
try:
    end.sendall(b'{{"version": 1, "ask": "session"}}\\n')
    print(len(end.recv(100)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
"""

    def asked_by(*user: str) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-I", "-c", ask, *user], capture_output=True, text=True, check=False
        )
        return done.stdout, done.stderr

    assert asked_by() == ("100\n", "")
    assert asked_by("65534") == ("", "PermissionError\n")
    (folder / name).chmod(0o666)
    folder.chmod(0o755)
    assert asked_by("65534") == ("0\n", "")
    folder.chmod(0o700)
    assert the_one().id == name
    assert prompt.say("pass").at == 1


@pytest.mark.parametrize(
    "path", ["../../program.py", "", "1-2", "a-b", "1-2/../x"], ids=["up", "no", "1-2", "a", "in"]
)
def test_what_is_no_session(path: str) -> None:
    with pytest.raises(UnknownSession, match=r"no session '.*' runs: `running\(\)` tells"):
        sessions.look(path)


# Nothing comes of it.


GARBAGE = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x80\x05\x95\n",
    b"[]\n",
    b"1\n",
    b"null\n",
    b'"version"\n',
    b'{"version": 2, "ask": "session"}\n',
    b'{"ask": "session"}\n',
    b'{"version": 1}\n',
    b'{"version": 1, "ask": "unhook"}\n',
    b'{"version": 1, "ask": ["session"]}\n',
    b'{"version": 1, "ask": "output"}\n',
    b'{"version": 1, "ask": "output", "future": 2, "since": "x"}\n',
    b'{"version": 1, "ask": "session"}\n{"version": 1, "ask": "session"}\n',
    b"[" * 4000 + b"\n",
    b"x" * 100_000,
]


def test_garbage_closes_its_connection_and_nothing_else(start: Start, folder: Path) -> None:
    prompt = Prompt(start)
    prompt.say("tm.future('print(1)').result()")
    name = the_one().id
    for garbage in GARBAGE:
        with connect(folder, name) as end:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                end.sendall(garbage)
            assert is_closed(end), garbage
    assert the_one().id == name
    assert prompt.say("log.append(1)").log == [1]


def test_a_connection_may_ask_again(start: Start, folder: Path) -> None:
    Prompt(start)
    with connect(folder, the_one().id) as end, end.makefile("rb") as lines:
        for _ in range(3):
            end.sendall(b'{"version": 1, "ask": "ses')
            end.sendall(b'sion"}\n')
            answer = json.loads(lines.readline())
            assert answer["session"]["kind"] == "repl"


def test_those_who_say_nothing_or_never_read_keep_nobody_waiting(
    start: Start, folder: Path
) -> None:
    prompt = Prompt(start)
    prompt.say("tm.future('print(\"x\" * 4_000_000)').result()")
    name = the_one().id
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(folder, name)) for _ in range(50)]
        for each in silent[::2]:
            with contextlib.suppress(OSError):  # it has made room for another one
                each.sendall(b'{"version": 1, "ask": "output", "future": 2, "since": 0}\n')
        waiting = stack.enter_context(connect(folder, name))
        revision = the_one().revision
        waiting.sendall(json.dumps({"version": 1, "ask": "session", "since": revision}).encode())
        waiting.close()
        assert prompt.say("log.append(1)").say("tm.past(1)").at == 1
        assert the_one().here.state == 1
        held = psutil.Process(prompt.program.pid).num_fds()
    assert held < 60


def test_many_who_look_at_once(start: Start) -> None:
    prompt = Prompt(start)
    look = f"from snapshot.core import sessions; print(sessions.look({the_one().id!r}).pid)"
    several = [
        subprocess.Popen([sys.executable, "-c", look], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for number in range(10):
        assert prompt.say("log.append(1)").at == number + 1
    for each in several:
        assert each.communicate(timeout=60)[0] == f"{prompt.program.pid}\n"
    assert the_one().here.state == 10


def test_only_the_supervisor_has_the_socket(start: Start, folder: Path) -> None:
    prompt = Prompt(start)
    prompt.say("waiting = tm.future('import time; time.sleep(1000)')").say("tm.past(0)")
    session = the_one()
    with connect(folder, session.id):
        prompt.say("pass")
        holders = []
        for each in prompt.program.members():
            links = []
            for fd in Path(f"/proc/{each.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    links.append(os.readlink(fd))
            if str(folder) in links:
                holders.append(each.pid)
            inodes = {link for link in links if link.startswith("socket:")}
            table = Path(f"/proc/{each.pid}/net/unix").read_text().splitlines()
            ours = {f"socket:[{row.split()[6]}]" for row in table if row.endswith(session.id)}
            assert bool(inodes & ours) == (each.pid == session.pid)
        assert holders == [session.pid]


def test_a_program_that_unhooks_the_time_machine_is_no_session(start: Start) -> None:
    prompt = Prompt(start)
    assert the_one()
    prompt.say("tm.unhook()")
    assert sessions.running() == []


def test_to_ask_one_leaves_no_folder_open(tmp_path: Path) -> None:
    """There may be two of them."""
    script = """
        import os, socket
        from snapshot.core import sessions

        folders = (
            os.path.join(os.environ["XDG_RUNTIME_DIR"], "snapshot"),
            os.path.join(os.environ["TMPDIR"], f"snapshot-{os.geteuid()}"),
        )
        for each in folders:
            os.makedirs(each, 0o700)
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(folders[0])
            listener.bind("1-1")
            listener.listen()
            before = os.listdir("/proc/self/fd")
            assert sessions.changed("1-1", None, 0.01) is None
            assert os.listdir("/proc/self/fd") == before
    """
    runtime, temporary = tmp_path / "run", tmp_path / "tmp"
    runtime.mkdir(0o700)
    temporary.mkdir()
    env = {"XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(temporary)}
    assert run_python(script, directory=tmp_path, env=env).code == 0
