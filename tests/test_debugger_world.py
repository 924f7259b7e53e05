"""What the world gives a program, remembered and given again."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Program, Result, write_script
from tests.terminal import Terminal

Run = Callable[..., Result]

# A child remembers what `work` does, and then its parent, which is where the child began, repeats
# it. The time is the number of lines that the program has come to.
PRELUDE = """
import posix, sys
from snapshot.debugger.tape import Tape
from snapshot.debugger.world import RepeatError, World

events = []

def watch(frame, event, argument):
    if frame.f_code.co_filename != __file__:
        return None
    events.append(event)
    return watch

world = World(Tape(), events.__len__)
world.enter()
world.remember(1)

def run(label):
    sys.settrace(watch)
    world.aside = False
    try:
        result = work()
    except RepeatError as error:
        result = str(error)
    finally:
        world.aside = True
        sys.settrace(None)
    posix.write(2, f"{label} {result!r} at {len(events)}\\n".encode())

def twice():
    child = posix.fork()
    if not child:
        try:
            run("then")
        finally:
            sys.excepthook(*sys.exc_info()) if sys.exc_info()[0] else None
            posix._exit(0)
    posix.waitpid(child, 0)
    between()
    world.repeat(1)
    run("again")

def between():
    pass
"""

END = """
twice()
posix._exit(0)
"""


def outcomes(result: Result) -> tuple[Any, Any]:
    """What `work` returned then, and again, each with the time at its end."""
    found = re.findall("^(then|again) (.*) at (\\d+)$", result.stderr, re.M)
    assert [label for label, *_ in found] == ["then", "again"], result
    assert result.stderr.count("\n") == 2, result
    then, again = [(ast.literal_eval(value), time) for _, value, time in found]
    return then, again


def same(result: Result) -> Any:
    """What `work` returned both times."""
    then, again = outcomes(result)
    assert then == again, result
    return then[0]


# Each is the body of `work`, whose last line returns what must be the same again.
WORKS = {
    "time": """
        import time
        now = [time.time(), time.time_ns(), time.monotonic(), time.monotonic_ns()]
        now += [time.perf_counter(), time.perf_counter_ns(), time.process_time()]
        now += [time.process_time_ns(), time.thread_time(), time.thread_time_ns()]
        now += [time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime_ns(0)]
        return now, time.sleep(0.01)
    """,
    "calendar": """
        import time
        now = tuple(time.localtime()), tuple(time.gmtime()), time.ctime(), time.asctime()
        assert time.strftime("%Y", (2000, *now[0][1:])) == "2000" and time.gmtime(0)[0] == 1970
        return *now, time.strftime("%H:%M:%S"), time.gmtime().tm_zone
    """,
    "datetime": """
        import datetime
        from datetime import date
        class Mine(datetime.datetime):
            pass
        zone = datetime.timezone(datetime.timedelta(hours=3))
        found = [datetime.datetime.now(), datetime.datetime.now(zone), Mine.now(tz=None)]
        found += [datetime.datetime.today(), date.today(), Mine.now(), Mine.today()]
        import warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found += [datetime.datetime.utcnow(), Mine.utcnow()]
        assert not caught or {each.filename for each in caught} == {__file__}
        assert [type(each) for each in found[-4:]] == [Mine, Mine, datetime.datetime, Mine]
        assert type(datetime.datetime(2000, 1, 1)) is datetime.datetime
        try:
            datetime.datetime.now(1)
        except TypeError as error:
            found.append(str(error))
        return list(map(str, found))
    """,
    "entropy": """
        import os, random, secrets, uuid
        found = [os.urandom(8), os.getrandom(8), secrets.token_hex(), secrets.randbelow(10**9)]
        random.seed()
        found += [random.random(), random.Random().random(), random.SystemRandom().random()]
        random.seed(None)
        found += [random.random(), random.choice(range(10**6))]
        random.seed(5)
        assert random.random() == 0.6229016948897019
        return [*found, str(uuid.uuid1()), str(uuid.uuid4()), uuid.getnode()]
    """,
    "numpy": """
        try:
            import numpy
        except ImportError:
            return []
        found = [numpy.random.default_rng().random(), numpy.random.SeedSequence().entropy]
        numpy.random.seed()
        return [float(found[0]), found[1], float(numpy.random.random())]
    """,
    "the process": """
        import os, resource, shutil, socket, threading
        found = [os.getpid(), os.getppid(), os.getloadavg(), os.cpu_count(), tuple(os.times())]
        found += [tuple(resource.getrusage(0)), socket.gethostname(), tuple(os.uname())]
        found += [tuple(shutil.disk_usage(".")), threading.get_native_id()]
        assert resource.getrusage(0).ru_maxrss
        return found, tuple(shutil.get_terminal_size()), os.getcwd()
    """,
    "files": """
        import io, os
        with open("new", "w") as file:
            print("one", "two", sep="\\n", file=file)
            found = [file.name, file.mode, file.encoding, file.tell()]
            assert type(file.buffer) is io.BufferedWriter
        with open("new", "a") as file:
            found += [file.tell(), file.write("three\\n"), file.fileno()]
        with open("new") as file:
            found += [file.readline(), file.tell(), file.read(), file.fileno()]
        with open("new", "r+b") as file:
            found += [file.read(2), file.seek(1), file.write(b"X"), file.truncate(5), file.tell()]
            found += [type(file) is io.BufferedRandom, file.seek(0), file.read()]
        with open("new", "rb", buffering=0) as file:
            found += [file.readall(), file.seek(0, 2), type(file) is io.FileIO, file.seekable()]
        with open("new", "w+", buffering=1) as file:
            found += [file.write("a\\nb"), file.line_buffering]
        fd = os.open("new", os.O_RDWR)
        with open(fd, "rb", closefd=False) as file:
            found += [file.name, file.read()]
        with os.fdopen(fd, "w") as file:
            found.append(file.write("last"))
        return found
    """,
    "failures": """
        import errno, os
        def failed(function, *args, **kwargs):
            try:
                function(*args, **kwargs)
            except Exception as error:
                fields = [getattr(error, name, None) for name in ("errno", "strerror", "filename")]
                return type(error).__name__, str(error), fields
        return [
            failed(open, "nowhere"), failed(open, "."), failed(open, "x", "rw"), failed(open),
            failed(open, "x", closefd=False), failed(open, "x", bad=1), failed(os.stat, "nowhere"),
            failed(os.open), failed(os.read, 99, 1), failed(os.getpid, 1), failed(os.listdir, "no"),
            failed(os.mkdir, "/"), failed(os.close, 99), failed(open, "a" + chr(0)),
            failed(open, "x", "rt", 0), failed(os.kill, 99999999, 0),
        ]
    """,
    "paths": """
        import glob, os, pathlib, shutil, tempfile
        os.makedirs("d/e")
        pathlib.Path("d/f").write_text("text")
        os.symlink("f", "d/link")
        os.chmod("d/f", 0o600)
        os.rename("d/f", "d/g"), os.replace("d/g", "d/f"), os.link("d/f", "d/h")
        os.utime("d/f", (1, 1)), os.truncate("d/h", 2)
        found = [sorted(os.listdir("d")), os.stat("d/f").st_mtime, os.readlink("d/link")]
        found += [list(os.walk("d")), sorted(glob.glob("d/*")), os.access("d/f", os.R_OK)]
        with os.scandir("d") as entries:
            for each in sorted(entries, key=lambda entry: entry.name):
                assert isinstance(each, os.DirEntry)
                found += [each.name, each.path, each.is_dir(), each.is_symlink(), os.fspath(each)]
                found += [each.inode(), each.stat(follow_symlinks=False).st_size]
        found += [pathlib.Path("d/f").read_text(), sorted(map(str, pathlib.Path("d").rglob("*")))]
        shutil.copytree("d", "copy"), shutil.move("copy", "moved")
        shutil.rmtree("moved")
        with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile("w") as file:
            found += [directory, file.name, file.write("x"), os.path.exists(file.name)]
        with tempfile.TemporaryFile() as file:
            found += [file.write(b"x"), file.seek(0), file.read()]
        os.mkdir("inner"), os.chdir("inner")
        found += [os.getcwd(), os.path.realpath("."), os.umask(0o22), os.path.isfile("../d/f")]
        os.chdir(".."), os.rmdir("inner"), shutil.rmtree("d")
        return found, os.path.exists("d")
    """,
    "descriptors": """
        import os
        read, write = os.pipe()
        found = [read, write, os.write(write, b"abcdef"), os.read(read, 2)]
        found += [os.readv(read, [one := bytearray(1), two := bytearray(9)]), bytes(one + two)]
        copy = os.dup(write)
        found += [copy, os.close(write), os.close(copy), os.read(read, 9), os.close(read)]
        fd = os.open("data", os.O_RDWR | os.O_CREAT, 0o600)
        found += [fd, os.writev(fd, [b"ab", b"cd"]), os.pwrite(fd, b"X", 1), os.lseek(fd, 1, 0)]
        found += [os.read(fd, 9), os.pread(fd, 2, 0), os.ftruncate(fd, 2), os.fstat(fd).st_size]
        found += [os.dup2(fd, 77), os.isatty(fd), os.fsync(fd), os.close(fd), os.close(77)]
        os.set_blocking(1, True)
        return found
    """,
    "processes": """
        import os, subprocess, sys
        both = ["sh", "-c", "echo $$; echo error >&2"]
        found = [subprocess.run(both, capture_output=True).stdout]
        twice = [sys.executable, "-c", "print(input() * 2)"]
        run = subprocess.run(twice, input="ab", text=True, stdout=-1)
        found += [run.stdout, run.returncode, subprocess.call("exit 3", shell=True)]
        found += [subprocess.check_output("date +%N", shell=True), os.system("exit 2")]
        try:
            subprocess.run(["/nowhere/program"])
        except FileNotFoundError as error:
            found.append(str(error))
        try:
            subprocess.run(["sleep", "9"], timeout=0.05)
        except subprocess.TimeoutExpired as error:
            found.append(str(error))
        with os.popen("echo popen") as stream:
            found.append(stream.read())
        subprocess.run(["true"], preexec_fn=lambda: (os.getpid(), os.umask(0)))
        child = os.fork()
        if not child:
            os.getpid(), os.write(1, b"child\\n")
            os._exit(7)
        found += [child, os.waitpid(child, 0)]
        return found
    """,
    "signals": """
        import os, signal
        found = []
        signal.signal(signal.SIGUSR1, lambda *_: found.append(os.urandom(4)))
        os.kill(os.getpid(), signal.SIGUSR1)
        found.append(os.getpid())
        return found
    """,
    "sockets": """
        import os, select, selectors, socket
        server = socket.create_server(("127.0.0.1", 0))
        found = [server.getsockname(), server.fileno()]
        client = socket.create_connection(server.getsockname())
        peer, address = server.accept()
        found += [address, peer.fileno(), peer.getpeername(), client.send(b"hello")]
        found += [peer.recv(2), peer.recv_into(buffer := bytearray(5)), bytes(buffer)]
        found += [peer.sendall(b"answer"), client.recvfrom(3), client.recvmsg(9)]
        client.settimeout(0.01)
        try:
            client.recv(1)
        except TimeoutError as error:
            found.append(str(error))
        peer.send(b"x")
        chosen = select.select([server, client], [peer], [], 1)
        found.append([each.fileno() for ready in chosen for each in ready])
        for kind in ("Default", "Select", "Poll", "Epoll"):
            with getattr(selectors, kind + "Selector")() as selector:
                selector.register(client, selectors.EVENT_READ, "client")
                selector.register(server, selectors.EVENT_READ, "server")
                found.append([(key.data, key.fd, events) for key, events in selector.select(1)])
        with client.makefile("rb") as file:
            peer.shutdown(socket.SHUT_WR)
            client.settimeout(None)
            found.append(file.read())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            found += [udp.sendto(b"self", udp.getsockname()), udp.recv(9)]
        left, right = socket.socketpair()
        found += [left.send(b"pair"), right.recv(9), left.fileno()]
        found.append(str(socket.getaddrinfo("localhost", 80)))
        found += [client.connect_ex(("127.0.0.1", 9)), client.family.name, client.getsockopt(1, 4)]
        for each in (server, client, peer, left, right):
            each.close()
        return found
    """,
    "asyncio": """
        import asyncio, time
        async def serve(reader, writer):
            while line := await reader.readline():
                await asyncio.sleep(0.01)
                writer.write(line.upper())
            writer.close()
        async def ask(port, text):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(text)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer, time.time()
        async def main():
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            answers = await asyncio.gather(*[ask(port, b"text %d\\n" % n) for n in range(5)])
            try:
                await asyncio.wait_for(asyncio.sleep(9), 0.01)
            except TimeoutError:
                answers.append(asyncio.get_running_loop().time())
            server.close()
            return port, answers
        return asyncio.run(main())
    """,
    "imports": """
        import sys, pathlib, linecache, traceback
        pathlib.Path("late.py").write_text("import time\\nloaded = time.time()\\n1 / 0\\n")
        sys.path.insert(0, ".")
        try:
            import late
        except ZeroDivisionError:
            told = traceback.format_exc()
        assert "1 / 0" in told
        import colorsys
        return told.splitlines()[-2:]
    """,
}


@pytest.mark.parametrize("name", WORKS)
def test_what_the_world_gave_is_given_again(python: Run, name: str) -> None:
    same(python(PRELUDE + "def work():" + WORKS[name] + END))


def test_what_is_written_is_written_once(python: Run, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("old\n")
    work = """
import os, subprocess
early = open("early", "w")

def work():
    print("printed", flush=True)
    os.write(1, b"written\\n")
    subprocess.run(["echo", "started"])
    with open("log", "a") as log:
        log.write("new\\n")
    early.write("early\\n"), early.flush()
    os.remove("gone") if os.path.exists("gone") else os.mkdir("gone")
    return os.path.isdir("gone")
"""
    result = python(PRELUDE + work + END)
    assert same(result) is True
    assert result.stdout == "printed\nwritten\nstarted\n"
    assert (tmp_path / "log").read_text() == "old\nnew\n"
    assert (tmp_path / "early").read_text() == "early\n"
    assert (tmp_path / "gone").is_dir()


def test_input_from_a_pipe(python: Run) -> None:
    work = """
def work():
    lines = [input("1? "), sys.stdin.readline(), input(), sys.stdin.buffer.readline()]
    lines += [*sys.stdin]
    try:
        input()
    except EOFError as error:
        return [*lines, str(error)]
"""
    result = python(PRELUDE + work + END, stdin="a\nb\nc\nd\ne\nf\n")
    lines = ["a", "b\n", "c", b"", "d\n", "e\n", "f\n", "EOF when reading a line"]
    assert same(result) == lines
    assert result.stdout == "1? "


def test_input_from_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    work = """
import readline  # which puts the prompt on standard output

def work():
    name = input("Name? ")
    print("More?", flush=True)
    return name, sys.stdin.isatty(), sys.stdin.readline()
"""
    script = write_script(tmp_path, PRELUDE + work + END)
    terminal.line(f"{sys.executable} {script} 2> errors")
    terminal.wait_for("Name? ")
    terminal.line("somebody")
    terminal.wait_for("More?")
    terminal.line("more")
    terminal.wait_until(lambda: (tmp_path / "errors").read_text().count("\n") == 2)
    told = (tmp_path / "errors").read_text().splitlines()
    assert told[0].removeprefix("then") == told[1].removeprefix("again")
    assert "('somebody', True, 'more\\n')" in told[0]
    assert terminal.transcript().count("More?") == 1


SERVER = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
while True:
    peer, _ = server.accept()
    with peer, peer.makefile("rwb") as stream:
        line = stream.readline()
        print("heard", line, flush=True)
        stream.write(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + line)
"""


def test_a_server_hears_it_once(start: Callable[..., Program], python: Run) -> None:
    server = start(SERVER)
    port = server.wait_for(re.compile(r"\d+\n"))[0].strip()
    work = f"""
import socket, urllib.request

def work():
    with socket.create_connection(("127.0.0.1", {port})) as client:
        client.sendall(b"one\\n")
        answer = client.makefile().read()
    with urllib.request.urlopen("http://127.0.0.1:{port}/two") as response:
        return answer, response.read(), response.status
"""
    answer = same(python(PRELUDE + work + END))
    assert answer == ("HTTP/1.0 200 OK\n\none\n", b"GET /two HTTP/1.1\r\n", 200)
    server.wait_for("GET /two")
    assert server.stdout.count("heard") == 2


def test_ssl(start: Callable[..., Program], python: Run, tmp_path: Path) -> None:
    authority = pytest.importorskip("trustme").CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        tmp_path / "server.pem"
    )
    secured = """
import ssl
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain("server.pem")
"""
    server = start(
        secured
        + SERVER.replace(
            "    with peer", "    peer = context.wrap_socket(peer, server_side=True)\n    with peer"
        )
    )
    port = server.wait_for(re.compile(r"\d+\n"))[0].strip()
    work = f"""
import asyncio, socket, ssl
context = ssl.create_default_context(cafile="ca.pem")

async def ask():
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", {port}, ssl=context, server_hostname="localhost"
    )
    writer.write(b"two\\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer

def work():
    with socket.create_connection(("127.0.0.1", {port})) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(b"one\\n")
            into = client.recv_into(buffer := bytearray(4))
            found = [client.version(), client.cipher(), str(client.getpeercert()["serialNumber"])]
            found += [client.recv(100), bytes(buffer), into, client.recv(100)]
    return found, asyncio.run(ask())
"""
    found = same(python(PRELUDE + work + END))
    assert found[1].endswith(b"two\n")
    server.wait_for("two")
    assert server.stdout.count("heard") == 2


def test_a_file_that_was_open_at_the_start(python: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("".join(f"{n}\n" for n in range(100_000)))
    work = """
text = open("data")
binary = open("data", "rb")
text.readline(), binary.readline()

def work():
    found = [text.readline(), binary.readline(), binary.seek(300_000), binary.read(20)]
    return *found, len(text.read()), len(binary.read()), text.tell(), binary.tell()
"""
    assert same(python(PRELUDE + work + END))[:2] == ("1\n", b"1\n")


def test_a_descriptor_is_where_it_was(python: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(range(256)) * 1000)
    work = """
import mmap, os

def work():
    found = []
    with open("data", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        found += [file.read(3), posix.lseek(file.fileno(), 0, 1), memory[700:705]]
        found += [len(file.read(200_000)), posix.lseek(file.fileno(), 0, 1)]
        found += [file.seek(9), posix.lseek(file.fileno(), 0, 1), posix.read(file.fileno(), 4)]
    fd = os.open("data", os.O_RDONLY)
    found += [fd, os.read(fd, 2), os.lseek(fd, 7, 1), posix.read(fd, 2), os.dup(fd)]
    directory = os.open(".", os.O_RDONLY)
    return found, sorted(os.listdir(directory)), os.open("data", os.O_RDONLY, dir_fd=directory)
"""
    same(python(PRELUDE + work + END))


def test_long_reads_and_numpy_in_a_file(python: Run, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(range(256)) * 4096)
    work = """
import os, zlib
before = world._tape.end

def work():
    with open("long", "rb") as file:
        found = [zlib.crc32(file.read()), file.readinto(bytearray(9)), file.seek(5)]
        found += [file.readinto(buffer := bytearray(700_000)), zlib.crc32(buffer)]
    fd = os.open("long", os.O_RDONLY)
    found += [zlib.crc32(os.read(fd, 500_000)), zlib.crc32(os.pread(fd, 500_000, 7))]
    found.append(zlib.crc32(posix.read(fd, 1000)))
    try:
        import numpy
    except ImportError:
        return found, []
    numpy.save("array.npy", numpy.arange(50_000))
    return found, int(numpy.load("array.npy").sum()), int(numpy.fromfile("long", "u1").sum())

def between():
    assert world._tape.end - before < 20_000
"""
    same(python(PRELUDE + work + END))


def test_a_file_that_has_changed(python: Run, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(bytes(1 << 20))
    (tmp_path / "short").write_text("short")
    work = """
import os
os.utime("long", (1, 1))

def work():
    with open("short") as file:
        short = file.read()
    with open("long", "rb") as file:
        return short, len(file.read())

def between():
    for name in ("long", "short"):
        with open(name, "w") as file:
            file.write("other")
"""
    then, again = outcomes(python(PRELUDE + work + END))
    assert then[0] == ("short", 1 << 20)
    assert "FileIO.readall() of 1048576 bytes at 6 of a file that has changed" in again[0]


def test_another_path_is_a_difference(python: Run) -> None:
    work = """
import os, time
other = False

def work():
    if other:
        os.urandom(4)
    return time.time()

def between():
    global other
    other = True
"""
    _, (told, _) = outcomes(python(PRELUDE + work + END))
    assert told == (
        "the program takes another path than it took: os.urandom() at 3, and then it was "
        "time.time() at 3"
    )
    work = work.replace("return time.time()", "return 1").replace("def between", "def more")
    work += """
world.differs = lambda then, now: told.append((then, now)) or posix._exit(world.milestone("x"))
told = []

def between():
    more()
    def differs(then, now):
        raise RepeatError(f"{then}, {now}")
    world.differs = differs
"""
    _, (told, _) = outcomes(python(PRELUDE + work + END))
    assert told == "nothing more, os.urandom() at 3"


def test_milestones_and_branches(python: Run) -> None:
    work = """
import time
place = "here"

def work():
    found = [time.time()]
    world.milestone("a.py:1")
    world.remember(2) if not world.repeating else None
    other = world.repeating or time.time(), time.time_ns()
    world.remember(1) if not world.repeating else None
    world.milestone(place)
    return found + [time.time()]

def between():
    global place
    place = "there"
"""
    then, again = outcomes(python(PRELUDE + work.replace("    place = ", "    moved = ") + END))
    assert then[0] != again[0]
    assert "time.time_ns() at 5, and then it was here at" in again[0]
    work = work.replace(", time.time_ns()", "")
    same(python(PRELUDE + work.replace("    place = ", "    moved = ") + END))
    _, (told, _) = outcomes(python(PRELUDE + work + END))
    assert told.endswith("there at 7, and then it was here at 7")


def test_other_threads_and_the_debugger_pass_through(python: Run) -> None:
    work = """
import os, threading, time
before = world._tape.end

def work():
    threads = [threading.Thread(target=read) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    world.aside = True
    assert time.time() > 0 and os.urandom(3) and open(__file__).read()
    world.aside = False
    return time.time()

def read():
    for _ in range(100):
        assert len(os.urandom(9)) == 9 and open(__file__).read() and time.time()

def between():
    assert world._tape.end - before < 4000
"""
    same(python(PRELUDE + work + END))


def test_the_originals_are_back(python: Run) -> None:
    result = python(
        """
        import builtins, datetime, io, os, random, select, socket, ssl, subprocess, sys, time
        import tempfile, linecache, importlib.machinery
        from time import time as held

        class Holder:
            clock = time.monotonic
            wrapped = staticmethod(os.scandir)
            def default(self, now=time.time, *, sleep=time.sleep):
                return now, sleep

        types = [io.FileIO, socket.socket, socket.socket.__base__, datetime.datetime]
        types += [random.Random, random.Random.__base__, select.epoll, type(select.poll()), Holder]
        types += [importlib.machinery.SourceFileLoader, subprocess.Popen, ssl.SSLSocket]

        def everything():
            found = {}
            for name, module in [*sys.modules.items(), *((repr(each), each) for each in types)]:
                for key, value in vars(module).items():
                    found[name, key] = id(value.__func__ if type(value) is staticmethod else value)
                    if type(value) is type(everything) and module is not sys.modules["__main__"]:
                        found[name, key, "defaults"] = list(map(id, value.__defaults__ or ()))
            return found

        from snapshot.debugger.tape import Tape
        from snapshot.debugger.world import World
        world = World(Tape(), lambda: 0)
        original, opener, read = time.time, open, io.FileIO.__dict__["read"]
        originals = [original, opener, read]
        world.enter()
        world.leave()
        before = everything()
        world.enter()
        world.enter()
        assert originals[0] is not time.time is held and original is held  # this module's too
        assert Holder().clock == time.monotonic and Holder().default() == (time.time, time.sleep)
        assert Holder.wrapped is os.scandir
        import colorsys, uuid  # what is imported meanwhile has the replacements
        world.leave()
        after = everything()
        changed = {key for key in before if after[key] != before[key]}
        assert not changed, changed
        assert originals[0] is time.time is held and open is originals[1]
        assert io.FileIO.__dict__["read"] is originals[2]
        assert uuid.os.urandom is os.urandom and type(os.urandom) is type(len)
        world.enter(), world.remember(1)
        world.aside = False
        """
    )
    assert result.code == 0, result
    assert not result.stderr


def test_replacements_look_like_the_originals(python: Run) -> None:
    work = """
import copy, inspect, io, os, pickle, shutil, socket, threading, time, types
import cloudpickle

def work():
    for function in (time.time, os.open, open, os.stat):
        assert function.__name__ in ("time", "open", "stat") and callable(function)
        assert isinstance(function, types.BuiltinFunctionType) and inspect.isbuiltin(function)
        assert copy.deepcopy(function) is function
        assert pickle.loads(pickle.dumps(function)) is function
        assert pickle.loads(cloudpickle.dumps(lambda: function))() is function
    assert time.time.__module__ == "time" and "floating" in time.time.__doc__
    assert "dir_fd" in str(inspect.signature(os.open))
    assert os.open in os.supports_dir_fd and os.stat in os.supports_follow_symlinks
    assert os.scandir in os.supports_fd and {os.access} <= os.supports_effective_ids
    assert shutil.rmtree.avoids_symlink_attacks
    class Timer:
        now = time.time
    assert Timer().now() and threading.Lock()
    with open(__file__) as file:
        assert type(file) is io.TextIOWrapper and type(file.buffer) is io.BufferedReader
        assert type(file.buffer.raw) is io.FileIO and file.mode == "r" and file.name == __file__
    with open(__file__, "rb", 0) as file:
        assert type(file) is io.FileIO and file.mode == "rb"
    return "".join(map(repr, [time.time, os.open, open, io.open])), [str(inspect.signature(open))]
"""
    told, (signature,) = same(python(PRELUDE + work + END))
    assert told.count("<built-in function") == 4
    assert signature.startswith("(file, mode='r', buffering=-1")


def test_warnings_point_to_the_program(python: Run, tmp_path: Path) -> None:
    work = """
import warnings

def work():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        open(__file__).close()
        open(__file__, encoding="utf-8").close()
        open(__file__, "rb", buffering=1).close()
    return [(each.category.__name__, str(each.message), each.filename) for each in caught]
"""
    result = python(PRELUDE + work + END, options=["-X", "warn_default_encoding"])
    script = str(tmp_path / "program.py")
    assert same(result) == [
        ("EncodingWarning", "'encoding' argument not specified", script),
        ("RuntimeWarning", BY_LINE, script),
    ]


BY_LINE = (
    "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be"
    " used"
)


def test_tracebacks_show_the_program_alone(python: Run) -> None:
    work = """
import os, socket, time, traceback

class Mine:
    def __fspath__(self):
        return 1 / 0

def opener(path, flags):
    return os.open("nowhere", flags)

def work():
    told = []
    with socket.socket() as client:
        for attempt in (
            lambda: open("nowhere"), lambda: os.stat("nowhere"), lambda: time.sleep(-1),
            lambda: os.scandir("no"), lambda: time.strftime(1), lambda: client.connect(("", 1)),
            lambda: os.stat(Mine()), lambda: open("x", opener=opener), lambda: input(1, 2),
        ):
            try:
                attempt()
            except Exception:
                told.append(traceback.format_exc())
    with open("log", "w") as log:
        return told, [log.write(each) for each in told]
"""
    told, _ = same(python(PRELUDE + work + END))
    assert len(told) == 9
    assert not [each for each in told if "debugger" in each]
    assert [each.count("program.py") for each in told] == [2, 2, 2, 2, 2, 2, 3, 3, 2]


def test_a_child_of_the_program_is_on_its_own(python: Run) -> None:
    work = """
import multiprocessing, os, random, time

def child(pipe):
    for _ in range(1000):
        os.urandom(1), random.seed(), time.time()
    pipe.send(os.getpid())

def work():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=child, args=[theirs])
    process.start()
    found = [process.pid, ours.recv()]
    process.join()
    return found, process.exitcode, time.time()
"""
    found, code, _ = same(python(PRELUDE + work + END))
    assert found[0] == found[1]
    assert code == 0
