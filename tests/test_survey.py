"""What a fork would share, lose or put back: told from inside a process, and from outside."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from snapshot import survey
from snapshot.core.survey import running
from snapshot.errors import CannotSurvey, UsageError
from tests.processes import Program, Result, wait_gone

Run = Callable[..., Result]
Start = Callable[..., Program]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

DOCTOR = Path(sys.executable).parent / "snapshot"

# Tells its findings for each line on its standard input, from a coroutine of the main thread.
ANSWER = """
import asyncio, json, sys
from dataclasses import asdict
from snapshot import survey

def tell(value):
    print(json.dumps(value), flush=True)

async def answer():
    for _ in sys.stdin:
        tell([asdict(each) for each in survey()])
"""

# Everything at once; its first line of output says what is what.
HOLDER = (
    ANSWER
    + """
import concurrent.futures, ctypes, fcntl, mmap, multiprocessing, os, select, signal, socket
import subprocess, logging.handlers, queue, tempfile, threading, time

read = open("read", "w+b")
read.write(bytes(8192))
read.flush()
mapped = mmap.mmap(read.fileno(), 8192)
db = open("x.db", "w+b")
db.seek(4096)
log = open("x.log", "a")
source = open(__file__, "rb", buffering=0)
source.seek(10)
written = open("written", "w")
gone = open("gone", "w+")
os.unlink("gone")
directory = os.open(".", os.O_RDONLY)
place = os.open(".", os.O_PATH)
master, terminal = os.openpty()
os.mkfifo("fifo")
fifo = os.open("fifo", os.O_RDWR)
r, w = os.pipe()

server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
accepted, _ = server.accept()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
local = socket.socket(socket.AF_UNIX)
local.bind("unix")
local.listen()
caller = socket.socket(socket.AF_UNIX)
caller.connect("unix")
left, right = socket.socketpair()

event = os.eventfd(0)
memory = os.memfd_create("mine")
poll = select.epoll()
poll.register(left, select.EPOLLIN)
anonymous = mmap.mmap(-1, 4096)
semaphore = multiprocessing.Lock()

fcntl.flock(db, fcntl.LOCK_EX)
fcntl.lockf(log, fcntl.LOCK_EX)
again = open("x.db", "rb")

child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
process = os.pidfd_open(child.pid)
folder = tempfile.TemporaryDirectory()
file = tempfile.NamedTemporaryFile()
signal.setitimer(signal.ITIMER_REAL, 5000, 3)

held = threading.Lock()
held.acquire()
pool = concurrent.futures.ThreadPoolExecutor(1)
pool.submit(int)
listener = logging.handlers.QueueListener(queue.Queue())
listener.start()
create, pause = ctypes.CDLL(None).pthread_create, ctypes.CDLL(None).pause
create(ctypes.byref(ctypes.c_ulong()), None, pause, None)  # a thread that Python does not know
accepted.settimeout(5000)
for name, function, *arguments in (
    ("locked", held.acquire),
    ("patient", held.acquire, True, 5000),
    ("asleep", time.sleep, 5000),
    ("at the pipe", os.read, r, 1),
    ("receiving", client.recv, 1),
    ("polling", accepted.recv, 1),
    ("selecting", select.select, [udp, left], [], []),
    ("waiting", poll.poll),
    ("locking", fcntl.flock, again, fcntl.LOCK_SH),
    ("expecting", os.waitid, os.P_PID, child.pid, os.WEXITED),
):
    threading.Thread(target=function, args=arguments, name=name, daemon=True).start()

async def main():
    task = asyncio.create_task(asyncio.sleep(5000))
    await asyncio.sleep(0)
    names = {name: value for name, value in globals().items() if type(value) in (int, str)}
    for name, value in globals().items():
        if hasattr(value, "fileno") and value is not mapped:
            names[name] = value.fileno()
    names |= {
        "listener": listener._thread.name, "here": os.getcwd(), "pid": os.getpid(),
        "child": child.pid, "slave": os.ttyname(terminal),
        "stdin": child.stdin.fileno(), "stdout": child.stdout.fileno(),
        "server_port": server.getsockname()[1], "client_port": client.getsockname()[1],
        "udp_port": udp.getsockname()[1], "folder": folder.name, "path": file.name,
        "threads": {each.name: each.native_id for each in threading.enumerate()},
        "loop": asyncio.get_running_loop()._selector.fileno(),
    }
    tell(names)
    await answer()

asyncio.run(main())
folder.cleanup()
file.close()
os._exit(0)  # the other threads never end
"""
)

# Kind, what, and verdict of all that HOLDER has.
DESCRIPTORS = r"""
pipe        0 r pipe from process \d+ \(.*\), standard input          shared
pipe        1 w pipe to process \d+ \(.*\), standard output           shared
pipe        2 w pipe to process \d+ \(.*\), standard error            shared
file        {read} r\+ {here}/read at 8192                            shared
file        \d+ r\+ {here}/read at 8192                               shared
file        {db} r\+ {here}/x.db at 4096                              shared
file        {log} a {here}/x.log at 0                                 shared
file        {source} r {here}/program.py at 10                        put back
file        {written} w {here}/written at 0                           shared
file        {gone} r\+ {here}/gone \(deleted\) at 0                   shared
file        {again} r {here}/x.db at 0                                put back
directory   {directory} r {here}                                      shared
directory   {place} path {here}                                       shared
device      {master} r\+ /dev/(pts/)?ptmx                             shared
terminal    {terminal} r\+ {slave}                                    put back
pipe        {fifo} r\+ pipe {here}/fifo                               shared
pipe        {r} r pipe from {w} here                                  shared
pipe        {w} w pipe to {r} here                                    shared
socket      {server} tcp listens on 127.0.0.1:{server_port}           shared
socket      {client} tcp 127.0.0.1:{client_port} to 127.0.0.1:{server_port}    shared
socket      {accepted} tcp 127.0.0.1:{server_port} to 127.0.0.1:{client_port}  shared
socket      {udp} udp 127.0.0.1:{udp_port}                            shared
socket      {local} unix listens on unix                              shared
socket      {left} unix without a path                                shared
socket      {right} unix without a path                               shared
eventfd     {event}                                                   shared
pidfd       {process} of process {child}                              shared
file        {memory} r\+ /memfd:mine \(deleted\) at 0                 shared
epoll       {poll} watches {left}                                     private
pipe        {stdin} w pipe to process {child} \(cat\)                 shared
pipe        {stdout} r pipe from process {child} \(cat\)              shared
lock        flock, exclusive: has it on {here}/x.db                   guarded
lock        flock, shared: a thread waits for it on {here}/x.db       lost
lock        lockf, exclusive: has it on {here}/x.log                  lost
lock        semaphore /dev/shm/sem.\S+ \(deleted\), 4.0 KiB           shared
memory      without a file, 4.0 KiB                                   shared
child       {child} cat, sleeping                                     guarded
thread      \d+ python\S* (waits for a signal|sleeps)                 lost
"""

WAITING = r"""
locked             waits for a lock
patient            waits for a lock, or for its turn to run
asleep             sleeps
at the pipe        waits for pipe {r} r pipe from {w} here
receiving          waits for socket {client} tcp 127.0.0.1:{client_port} to .*:{server_port}
polling            waits for socket {accepted} tcp 127.0.0.1:{server_port} to .*:{client_port}
selecting          waits for socket {udp} .*, socket {left} unix without a path
waiting            waits for epoll {poll} watches {left}
locking            waits for file {again} r {here}/x.db at 0
expecting          waits for a child
"""

INSIDE = r"""
socket      {caller} unix to unix                                     shared
file        \d+ r\+ {path} at 0                                       shared
memory      {here}/read, 8.0 KiB                                      private
event loop  _UnixSelectorEventLoop, runs, 2 tasks                     put back
temporary   {folder}, a directory                                     guarded
temporary   {path}                                                    guarded
timer       ITIMER_REAL in 1 h .* min, and then every 3 s            put back
thread      ThreadPoolExecutor-0_0 waits for a lock                   guarded
thread      {listener} waits for a lock                               guarded
"""

OUTSIDE = r"""
socket      {caller} unix without a path                              shared
temporary   \d+ r\+ {path} at 0                                       shared
memory      {here}/read, 8.0 KiB                                      shared
epoll       {loop} watches \d+                                        private
socket      \d+ unix without a path                                   shared
socket      \d+ unix without a path                                   shared
thread      {pid} python\S* waits for pipe 0 r pipe .*                private
thread      \d+ python\S* waits for a lock                            lost
thread      \d+ python\S* waits for a lock                            lost
"""


def rows(text: str) -> list[list[str]]:
    """The lines of such a table, cut where there are two spaces."""
    return [re.split(r" {2,}", line.strip()) for line in text.strip().splitlines()]


def expected(names: dict[str, Any], *, inside: bool) -> list[list[str]]:
    """All that is to be found, as patterns."""
    wanted = []  # first those that match one thread alone
    for name, waits in rows(WAITING):
        who = name if inside else rf"{names['threads'][name]} python\S*"
        wanted.append(["thread", f"{who} {waits}", "lost"])
    wanted += rows(DESCRIPTORS) + rows(INSIDE if inside else OUTSIDE)
    values = {name: re.escape(str(value)) for name, value in names.items()}
    return [[kind, what.format_map(values), verdict] for kind, what, verdict in wanted]


def unmatched(found: Iterable[dict[str, str]], wanted: list[list[str]]) -> list[str]:
    """What was found and not wanted, and what was wanted and not found: each matches one."""
    rest, surplus = list(wanted), []
    for each in found:
        for row in rest:
            same = (each["kind"], each["verdict"]) == (row[0], row[2])
            if same and re.fullmatch(row[1], each["what"]):
                rest.remove(row)
                break
        else:
            surplus.append(f"+ {each['kind']}  {each['what']}  {each['verdict']}")
    return surplus + ["- " + "  ".join(row) for row in rest]


def ask(program: Program) -> list[dict[str, str]]:
    """What the program finds itself."""
    before = program.stdout.count("\n")
    program.send("\n")
    told = program.wait_for(re.compile(rf"(?:.*\n){{{before}}}(.*)\n"))[1]
    answer: list[dict[str, str]] = json.loads(told)
    assert all(each["advice"] for each in answer)
    return answer


def look(python: Run, pid: int) -> list[dict[str, str]]:
    """What the command finds."""
    result = python(DOCTOR, "doctor", "--json", str(pid))
    assert (result.code, result.stderr) == (0, ""), result
    answer = json.loads(result.stdout)
    assert answer["pid"] == pid
    found: list[dict[str, str]] = answer["findings"]
    return found


def told(program: Program) -> Any:
    """The first line that the program wrote."""
    return json.loads(program.wait_for(re.compile(r"(.*)\n"))[1])


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_all_that_a_process_holds(python: Run, start: Start, where: str) -> None:
    program = start(HOLDER)
    names = told(program)
    wanted = expected(names, inside=where == "inside")
    deadline = time.monotonic() + 20
    while True:  # until each thread has come to where it waits
        found = ask(program) if where == "inside" else look(python, program.pid)
        wrong = unmatched(found, wanted)
        if not wrong:
            break
        assert time.monotonic() < deadline, "\n".join(wrong)
    advised = {each["advice"] for each in found if each["kind"] == "thread"}
    assert any("its library" in each for each in advised) == (where == "inside")
    assert program.finish().code == 0


def test_a_process_that_is_not_python(python: Run, start: Start) -> None:
    program = start(
        """
        import subprocess, sys
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
            print(cat.pid, flush=True)
            sys.stdin.read()
        """
    )
    pid = told(program)
    found = {(each["kind"], each["what"]) for each in look(python, pid)}
    assert any(kind == "thread" and what.startswith(f"{pid} cat") for kind, what in found), found
    name = rf"process {program.pid} \(python\S*\), standard input"
    assert any(re.fullmatch(f"0 r pipe from {name}", what) for _, what in found), found
    program.finish()


def test_what_is_no_process(python: Run, start: Start) -> None:
    program = start(
        """
        import json, subprocess, sys, threading
        ended = subprocess.Popen(["true"], stdout=subprocess.PIPE)
        ended.stdout.read()
        import os
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        threading.Thread(target=sys.stdin.read).start()
        print(json.dumps([ended.pid, threading.enumerate()[-1].native_id]), flush=True)
        """
    )
    zombie, thread = told(program)
    for pid, reason in (
        ("0", "0 is no process: a pid is a number greater than 0"),
        ("-5", "-5 is no process: a pid is a number greater than 0"),
        ("x", "'x' is no pid: give the number of a process"),
        ("9" * 9, f"there is no process {'9' * 9}; `ps` lists them"),
        ("9" * 30, f"there is no process {'9' * 30}; `ps` lists them"),
        (
            str(zombie),
            f"process {zombie} has ended, and its parent has not noticed yet: nothing is left to "
            "look at",
        ),
        (str(thread), f"{thread} is a thread, not a process"),
    ):
        result = python(DOCTOR, "doctor", pid)
        assert (result.code, result.stdout) == (2, ""), result
        assert result.stderr == f"snapshot doctor: {reason}\n"
    program.finish()


def test_this_very_process(python: Run) -> None:
    result = python(
        "import os, sys; os.execv(sys.argv[1], [sys.argv[1], 'doctor', str(os.getpid())])", DOCTOR
    )
    assert result.code == 2
    assert re.fullmatch(
        r"snapshot doctor: \d+ is this very process: call survey\(\) in it, without a pid\n",
        result.stderr,
    ), result
    with pytest.raises(UsageError, match="without a pid"):
        survey(os.getpid())
    with pytest.raises(UsageError, match="'1' is no process"):
        survey("1")  # type: ignore[arg-type]


def test_somebody_elses_process(python: Run) -> None:
    result = python(
        """
        import os, psutil, snapshot.core.survey
        from snapshot.errors import CannotSurvey
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            snapshot.survey(1)
        except CannotSurvey as error:
            print(error, error.pid)
        """
    )
    assert result.stdout == (
        "process 1 is root's, which this one may not look at: run this as that user, or as root 1\n"
    ), result


def test_a_process_that_ends_meanwhile(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    program = start("import sys; print('there', flush=True); sys.stdin.read()")
    program.wait_for("there")
    findings = running.findings

    def late(*arguments: Any) -> Any:
        program.kill()
        wait_gone([program.pid])
        return findings(*arguments)

    monkeypatch.setattr(running, "findings", late)
    with pytest.raises(CannotSurvey, match="ended while it was looked at") as caught:
        survey(program.pid)
    assert caught.value.pid == program.pid
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.pid) == (str(caught.value), program.pid)


def test_descriptors_that_vanish_meanwhile_are_left_out(python: Run) -> None:
    result = python(
        """
        import os, threading
        from snapshot import survey

        def open_and_close():
            while not stop:
                os.close(os.open("/dev/null", os.O_RDONLY))

        stop = False
        threads = [threading.Thread(target=open_and_close) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            survey()
        stop = True
        """
    )
    assert (result.code, result.stderr) == (0, ""), result


def test_the_process_is_left_as_it_was(python: Run) -> None:
    result = python(
        """
        import gc, os, threading
        from snapshot import survey

        def state():
            return gc.get_freeze_count(), os.listdir("/proc/self/fd"), threading.enumerate()

        before = state()
        first = survey()
        print(state() == before, len(first) == len(survey()))
        """
    )
    assert result.stdout == "True True\n", result


def test_our_own_descriptors_are_left_out(python: Run) -> None:
    result = python(
        """
        import mmap, tempfile
        from snapshot import revert, snapshot, survey

        file = tempfile.NamedTemporaryFile()
        file.write(b"four")
        file.flush()
        mapped = mmap.mmap(file.fileno(), 4)

        def lines():
            return [(e.what, e.verdict) for e in survey() if e.kind not in ("child", "pipe")]

        before = lines()
        if snapshot():
            print(*({*lines()} ^ {*before}), flush=True)
            revert()
        print(lines() == before, len(before))
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    shown, again = result.stdout.splitlines()
    assert "snapshot" not in shown, result
    assert again == "True 4", result


def test_libraries_that_a_fork_breaks(python: Run, start: Start, tmp_path: Path) -> None:
    (tmp_path / "redis.py").touch()
    (tmp_path / "grpc").mkdir()
    for name in ("libcuda.so.1", "libgomp-1a2b.so.1.0", "libiomp5.so", "libompany.so", "grpc/c.so"):
        (tmp_path / name).write_bytes(b"code")
    program = start(
        ANSWER
        + """
import mmap, redis
files = [open(name, "rb") for name in sys.argv[1:]]
maps = [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) for file in files]
print(0, flush=True)
asyncio.run(answer())
""",
        *("libcuda.so.1", "libgomp-1a2b.so.1.0", "libiomp5.so", "libompany.so", "grpc/c.so"),
    )
    told(program)
    for found, library in ((ask(program), "redis"), (look(python, program.pid), "grpc")):
        shown = {
            (each["kind"], each["what"].removeprefix(f"{tmp_path}/"), each["verdict"])
            for each in found
            if each["kind"] in ("CUDA", "OpenMP", "library")
        }
        assert shown == {
            ("CUDA", "libcuda.so.1 mapped", "lost"),
            ("OpenMP", "libgomp-1a2b.so.1.0", "guarded"),
            ("OpenMP", "libiomp5.so", "private"),
            ("library", library, "shared" if library == "redis" else "lost"),
        }
    program.finish()


def test_where_there_is_no_proc(python: Run, start: Start) -> None:
    program = start("import sys; f = open(__file__); print(0, flush=True); sys.stdin.read()")
    told(program)
    result = python(
        """
        import json, socket, subprocess, sys, threading
        from dataclasses import asdict
        from snapshot import survey
        from snapshot.core.survey.subject import Subject

        Subject.proc = "/nowhere"
        file = open(__file__)
        server = socket.create_server(("127.0.0.1", 0))
        stop = threading.Event()
        threading.Thread(target=stop.wait, name="worker").start()
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
            own, other = survey(), survey(int(sys.argv[1]))
            print(json.dumps([[each.kind, each.what] for each in own]))
            print(json.dumps([[each.kind, each.what] for each in other]))
        stop.set()
        """,
        str(program.pid),
    )
    own, other = (dict(json.loads(line)) for line in result.stdout.splitlines())
    assert own.keys() == {"file", "socket", "thread", "child"}, result
    assert own["file"].endswith("/program_2.py")
    assert "tcp listens on 127.0.0.1:" in own["socket"]
    assert own["thread"] == "worker"
    assert own["child"].endswith("cat, sleeping")
    assert other.keys() == {"file", "thread"}, result
    assert other["file"].endswith("/program.py")
    program.finish()


def test_it_is_a_sequence_that_shows_as_a_table(python: Run) -> None:
    result = python(
        r"""
        from snapshot import survey

        file = open("two\nlines", "w")
        found = survey()
        print(found)
        assert [each for each in found if "two" in each.what] == [found[-1]]
        assert list(found[:2]) == [found[0], found[1]] and len(found) == 4
        assert repr(found[:]) == repr(found)
        try:
            found[0].what = ""
        except AttributeError:
            print("frozen")
        """
    )
    head, *lines, last = result.stdout.splitlines()
    assert head.split() == ["kind", "what", "verdict", "what", "to", "do"], result
    assert len(lines) == 4
    assert re.fullmatch(
        r"file +3 w \S+/two\\nlines at 0 +shared +snapshot\(files=…\) rolls it back", lines[-1]
    )
    assert last == "frozen"


def test_the_machine(python: Run) -> None:
    shown, answer = python(DOCTOR, "doctor"), python(DOCTOR, "doctor", "--json")
    assert (shown.code, shown.stderr, answer.code) == (0, "", 0), shown
    found = json.loads(answer.stdout)
    assert found["pid"] is None
    verdicts = {each["kind"]: each["verdict"] for each in found["findings"]}
    assert verdicts["fork"] == "works"
    assert verdicts["pidfd"] == "works"
    assert set(verdicts.values()) <= {"works", "limited", "missing"}
    assert all(each["what"] and each["advice"] for each in found["findings"])
    lines = shown.stdout.splitlines()[1:]
    assert len(lines) == len(verdicts)
    for line, (kind, verdict) in zip(lines, verdicts.items(), strict=True):
        assert re.match(rf"{kind} .* {verdict} ", line), shown


def test_what_does_not_work_on_a_machine(python: Run) -> None:
    result = python(
        """
        import ctypes, os, sys

        del os.pidfd_open, os.memfd_create
        sys._is_gil_enabled = lambda: False
        from snapshot.core.survey.machine import machine

        # No more user namespaces below this one, as a careful administrator has it.
        assert ctypes.CDLL(None).unshare(0x10000000) == 0
        open("/proc/sys/user/max_user_namespaces", "w").write("0")
        for each in machine():
            print(f"{each.kind}: {each.verdict}; {each.what}; {each.advice}")
        """
    )
    if "Error" in result.stderr:
        pytest.skip("no user namespaces here")
    for line in (
        "pidfd: limited; descriptors of processes; ",
        "memfd: limited; files in memory; ",
        'GIL: missing; switched off: no threads="freeze"; ',
        "overlays: missing; snapshot(files=…) rolls files back; no more namespaces are allowed",
    ):
        assert f"\n{line}" in result.stdout, result
