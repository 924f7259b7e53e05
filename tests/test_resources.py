"""Every resource of the table, every way for the experiment to end, used there or not.

One program for each resource: it makes the thing, takes a snapshot inside the thing's own `with`
block, uses it in the experiment or not, ends that in one of the ways, and then uses the thing for
real in the original.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.processes import Result

Run = Callable[..., Result]

ENDINGS = {
    "revert": "revert()",
    "sys.exit": "sys.exit(3)",
    "exception": "raise RuntimeError('on purpose')",
    "os._exit": "os._exit(3)",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "segfault": "ctypes.string_at(0)",
}

PROGRAM = """
import contextlib, ctypes, itertools, os, signal, sys, time
import snapshot.errors
from snapshot import revert, snapshot

IMPORTS

@contextlib.contextmanager
def made():
    MADE

def use(thing):
    USE

def check(thing):
    CHECK

ending = sys.argv[1]
faults = []
if __name__ == "__main__":
    for used in (False, True):
        with made() as thing:
            if snapshot():
                if used:
                    use(thing)
                ENDING
            check(thing)
        after(thing)
        print(ending, "used" if used else "not used", "ok", flush=True)
"""


class Case(NamedTuple):
    """made: a generator that yields the thing, within its own `with` block where it has one.

    use: what the experiment does with it. check: what the original does with it then.
    after: what must hold when the original has left the `with` block.
    """

    imports: str
    made: str
    use: str
    check: str
    after: str = "pass"


CASES = {
    "weakref.finalize": Case(
        "import weakref\nclass Thing: pass\nran = []",
        """
        thing = Thing()
        ran.clear()
        thing.finalizer = weakref.finalize(thing, open, f"ran{os.getpid()}", "a")
        yield thing
        """,
        "thing.finalizer.atexit = True",
        "assert thing.finalizer.alive and not os.path.exists(f'ran{os.getpid()}')",
        "thing.finalizer(); os.unlink(f'ran{os.getpid()}'); "
        "assert not [n for n in os.listdir() if n.startswith('ran')]",
    ),
    "shutil.rmtree finalizer": Case(
        "import atexit, shutil, tempfile, weakref\nclass Thing: pass",
        """
        thing = Thing()
        thing.path = tempfile.mkdtemp(dir=".")
        thing.finalizer = weakref.finalize(thing, shutil.rmtree, thing.path)
        atexit.register(shutil.rmtree, thing.path, True)
        yield thing
        """,
        "open(thing.path + '/x', 'w').close()",
        "assert os.path.isdir(thing.path)",
        "thing.finalizer(); assert not os.path.exists(thing.path)",
    ),
    "TemporaryDirectory": Case(
        "import tempfile",
        """
        directory = tempfile.TemporaryDirectory(dir=".")
        with directory:
            yield directory
        """,
        "open(thing.name + '/x', 'w').close(); thing.cleanup()",
        "assert os.path.isdir(thing.name)",
        "assert not os.path.exists(thing.name)",
    ),
    "NamedTemporaryFile": Case(
        "import tempfile",
        """
        with tempfile.NamedTemporaryFile(dir=".") as file:
            yield file
        """,
        "thing.write(b'x'); thing.close()",
        "assert os.path.exists(thing.name); thing.write(b'y'); thing.flush()",
        "assert not os.path.exists(thing.name)",
    ),
    "Popen": Case(
        "import subprocess",
        """
        pipe = subprocess.PIPE
        with subprocess.Popen(["cat"], stdin=pipe, stdout=pipe, text=True) as cat:
            yield cat
        """,
        """
        assert thing.poll() is None
        try:
            thing.wait(0.01)
        except subprocess.TimeoutExpired:
            pass
        thing.terminate()
        thing.kill()
        try:
            thing.communicate("x")
        except snapshot.errors.RootOnly:
            pass
        """,
        """
        assert thing.poll() is None
        print("asked", file=thing.stdin, flush=True)
        assert thing.stdout.readline() == "asked\\n"
        """,
        "assert thing.returncode == 0, thing.returncode",
    ),
    "Popen that ends meanwhile": Case(
        "import subprocess",
        """
        with subprocess.Popen(["sh", "-c", "exit 5"]) as shell:
            while open(f"/proc/{shell.pid}/stat").read().split()[2] != "Z":
                pass
            yield shell
        """,
        """
        for method in (thing.poll, thing.wait):
            try:
                method()
            except snapshot.errors.RootOnly as error:
                assert "has ended" in str(error)
            else:
                os.abort()
        """,
        "assert thing.poll() == 5",
    ),
    "multiprocessing.Process": Case(
        """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        def work(connection):
            while (got := connection.recv()) is not None:
                connection.send(got + 1)
        """,
        """
        ours, theirs = context.Pipe()
        worker = context.Process(target=work, args=(theirs,), daemon=True)
        worker.start()
        worker.ours = ours
        yield worker
        """,
        """
        assert thing.is_alive()
        thing.join(0.01)
        thing.terminate()
        thing.kill()
        mine = context.Process(target=print)
        mine.start()
        mine.join()
        """,
        "assert thing.is_alive(); thing.ours.send(1); assert thing.ours.recv() == 2",
        "thing.ours.send(None); thing.join(); assert thing.exitcode == 0",
    ),
    "multiprocessing.Pool": Case(
        "import multiprocessing",
        """
        with multiprocessing.get_context("fork").Pool(1) as pool:
            yield pool
        """,
        """
        try:
            thing.apply(abs, (-1,))
        except snapshot.errors.RootOnly:
            pass
        thing.close()
        thing.terminate()
        """,
        "assert thing.apply(abs, (-1,)) == 1",
    ),
    "multiprocessing.Manager": Case(
        "import multiprocessing",
        """
        with multiprocessing.get_context("fork").Manager() as manager:
            yield manager.dict(x=1)
        """,
        "assert thing['x'] == 1; thing['y'] = 2",
        "assert thing['x'] == 1; thing['z'] = 3; assert thing['z'] == 3",
    ),
    "multiprocessing.Queue": Case(
        "import multiprocessing",
        """
        queue = multiprocessing.get_context("fork").Queue()
        queue.put("first")
        assert queue.get(timeout=10) == "first"
        with queue._wlock:  # its thread is done
            pass
        yield queue
        queue.close()
        queue.join_thread()
        """,
        """
        thing.put("here")
        assert thing.get(timeout=10) == "here"
        thing.close()  # or its thread might be killed with the lock that all its writers share
        thing.join_thread()
        """,
        "thing.put('second'); assert thing.get(timeout=10) == 'second'",
    ),
    "SharedMemory": Case(
        "from multiprocessing.shared_memory import SharedMemory",
        """
        memory = SharedMemory(create=True, size=10)
        memory.buf[0] = 1
        yield memory
        memory.close()
        memory.unlink()
        """,
        "thing.unlink(); thing.close()",
        "other = SharedMemory(thing.name); assert other.buf[0] == 1; other.close()",
    ),
    "ThreadPoolExecutor": Case(
        "from concurrent.futures import ThreadPoolExecutor",
        """
        with ThreadPoolExecutor(2) as pool:
            assert pool.submit(abs, -1).result() == 1
            yield pool
        """,
        "assert list(thing.map(abs, [-1, -2])) == [1, 2]",
        "assert list(thing.map(abs, [-1, -2])) == [1, 2]",
    ),
    "ProcessPoolExecutor": Case(
        """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        """,
        """
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            assert pool.submit(abs, -1).result() == 1
            yield pool
        """,
        """
        try:
            thing.submit(abs, -1)
        except snapshot.errors.RootOnly as error:
            assert "ProcessPoolExecutor belongs to the original" in str(error)
        """,
        "assert thing.submit(abs, -2).result() == 2",
    ),
    "socket": Case(
        "import socket",
        """
        ours, theirs = socket.socketpair()
        with ours, theirs:
            yield ours, theirs
        """,
        "thing[0].shutdown(socket.SHUT_RDWR); thing[0].close(); thing[1].close()",
        """
        thing[0].sendall(b"asked")
        assert thing[1].recv(10) == b"asked"
        thing[1].sendall(b"answered")
        assert thing[0].recv(10) == b"answered"
        """,
    ),
    "sqlite3": Case(
        "import sqlite3",
        """
        connection = sqlite3.connect("data.db")
        connection.execute("create table if not exists t (x)")
        connection.execute("delete from t")
        connection.commit()
        with contextlib.closing(connection), connection:
            connection.execute("insert into t values (1)")
            yield connection
        """,
        """
        for statement in ("insert into t values (2)", "select * from t"):
            try:
                thing.execute(statement)
            except sqlite3.DatabaseError as error:
                assert "not authorized" in str(error)
            else:
                os.abort()
        thing.commit()
        thing.rollback()
        thing.close()
        """,
        "thing.execute('insert into t values (3)'); thing.commit(); "
        "thing.execute('insert into t values (4)')",
        """
        with contextlib.closing(sqlite3.connect("data.db")) as other:
            assert other.execute("select x from t").fetchall() == [(1,), (3,), (4,)]
            assert other.execute("pragma integrity_check").fetchall() == [("ok",)]
        """,
    ),
    "sqlite3 in WAL mode": Case(
        "import sqlite3",
        """
        connection = sqlite3.connect("wal.db")
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table if not exists t (x)")
        connection.execute("delete from t")
        connection.commit()
        connection.execute("insert into t values (1)")
        yield connection
        connection.close()
        """,
        "thing.close()",
        "thing.execute('insert into t values (3)'); thing.commit()",
        """
        with contextlib.closing(sqlite3.connect("wal.db")) as other:
            assert other.execute("select x from t").fetchall() == [(1,), (3,)]
            assert other.execute("pragma integrity_check").fetchall() == [("ok",)]
        """,
    ),
    "flock": Case(
        """
        import fcntl
        def is_free():
            with open("lock", "w") as other:
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return False
            return True
        """,
        """
        with open("lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield file
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)
        """,
        "fcntl.flock(thing, fcntl.LOCK_UN); thing.close(); assert not is_free()",
        "assert not is_free()",
        "assert is_free()",
    ),
    "logging": Case(
        """
        import logging, logging.handlers, queue
        open("log", "w").close()
        """,
        """
        open("log", "w").close()
        target = logging.FileHandler("log")
        memory = logging.handlers.MemoryHandler(100, target=target)
        memory.emit(logging.makeLogRecord({"msg": "once", "levelno": 20}))
        yield memory
        memory.close()
        target.close()
        """,
        "thing.emit(logging.makeLogRecord({'msg': 'here', 'levelno': 20}))",
        "assert open('log').read() in ('', 'here\\n'), open('log').read()",
        "assert open('log').read().replace('here\\n', '') == 'once\\n', open('log').read()",
    ),
    "rotating log": Case(
        "import logging, logging.handlers",
        """
        handler = logging.handlers.RotatingFileHandler("rotating", maxBytes=50, backupCount=2)
        yield handler
        handler.close()
        """,
        """
        for _ in range(9):
            thing.emit(logging.makeLogRecord({"msg": "x" * 30, "levelno": 20}))
        """,
        "thing.emit(logging.makeLogRecord({'msg': 'original', 'levelno': 20}))",
        "assert 'original' in open('rotating').read()",
    ),
    "QueueListener": Case(
        """
        import logging, logging.handlers, queue
        class Collect(logging.Handler):
            def __init__(self):
                super().__init__()
                self.got = []
            def emit(self, record):
                self.got.append(record.getMessage())
        """,
        """
        collect = Collect()
        pending = queue.Queue()
        listener = logging.handlers.QueueListener(pending, collect)
        listener.collect, listener.handler = collect, logging.handlers.QueueHandler(pending)
        listener.start()
        listener.handler.emit(logging.makeLogRecord({"msg": "before", "levelno": 20}))
        yield listener
        listener.stop()
        """,
        """
        thing.handler.emit(logging.makeLogRecord({"msg": "here", "levelno": 20}))
        thing.queue.join()
        assert "here" in thing.collect.got
        """,
        "thing.handler.emit(logging.makeLogRecord({'msg': 'after', 'levelno': 20}))",
        "assert thing.collect.got == ['before', 'after'], thing.collect.got",
    ),
    "setitimer": Case(
        "rang = []\nsignal.signal(signal.SIGALRM, lambda *_: rang.append(os.getpid()))",
        """
        rang.clear()
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        yield
        """,
        "signal.setitimer(signal.ITIMER_REAL, 100)",
        """
        while not rang:
            time.sleep(0.01)
        assert rang == [os.getpid()]
        """,
    ),
    "mmap": Case(
        "import mmap",
        """
        with open("mapped", "wb") as file:
            file.write(b"original" * 1000)
        with open("mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            yield mapping
        """,
        "thing[:8] = b'changed!'; thing.flush(); assert thing[:8] == b'changed!'",
        """
        assert thing[:8] == b'original' == open('mapped', 'rb').read(8)
        thing[8:16] = b'ORIGINAL'
        """,
        "assert open('mapped', 'rb').read(16) == b'originalORIGINAL'",
    ),
    "numpy.memmap": Case(
        "import numpy",
        "yield numpy.memmap('array', dtype='i8', mode='w+', shape=(1000,))",
        "thing[:] = 5; thing.flush(); assert thing.sum() == 5000",
        "assert thing.sum() == 0; thing[0] = 1; thing.flush()",
        "assert numpy.fromfile('array', dtype='i8').sum() == 1",
    ),
}


def program(case: Case, ending: str) -> str:
    text = PROGRAM.replace("ENDING", ENDINGS[ending])
    text += "\n"
    parts = {
        "IMPORTS": textwrap.dedent(case.imports)
        + "\ndef after(thing):\n"
        + textwrap.indent(textwrap.dedent(case.after).strip(), "    "),
        "    MADE": textwrap.indent(textwrap.dedent(case.made).strip(), "    "),
        "    USE": textwrap.indent(textwrap.dedent(case.use).strip(), "    "),
        "    CHECK": textwrap.indent(textwrap.dedent(case.check).strip(), "    "),
    }
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", CASES)
def test_the_original_uses_it_afterwards(python: Run, name: str, ending: str) -> None:
    result = python(program(CASES[name], ending), ending)
    said = [line for line in result.stdout.splitlines() if line.startswith(ending)]
    assert said == [f"{ending} not used ok", f"{ending} used ok"], result
    assert result.code == 0, result
