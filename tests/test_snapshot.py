"""snapshot, revert, snapshots, last_experiment: what comes back, and what is put back."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.processes import Result

Run = Callable[..., Result]

ENDINGS = {
    "revert()": "reverted",
    "revert(status=3)": "exited with code 3",
    "exit()": "exited with code 0",
    "sys.exit()": "exited with code 0",
    "sys.exit(7)": "exited with code 7",
    "raise SystemExit(7)": "exited with code 7",
    "sys.exit('a text')": "exited with code 1",
    "from sys import exit as leave; leave(5)": "exited with code 5",
    "sys.exit(-1)": "exited with code 255",
    "1 / 0": "exited with code 1",
    "raise KeyboardInterrupt": "was killed by SIGINT",
    "os._exit(4)": "exited with code 4",
    "os.abort()": "was killed by SIGABRT",
    "os.kill(os.getpid(), signal.SIGTERM)": "was killed by SIGTERM",
    "os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL",
    "os.kill(os.getpid(), signal.SIGSEGV)": "was killed by SIGSEGV",
    "import ctypes; ctypes.string_at(0)": "was killed by SIGSEGV",
    "pass": "exited with code 0",
    "try: sys.exit(7)\n    except SystemExit as error: error.code": "exited with code 0",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_back_however_it_ends(python: Run, ending: str) -> None:
    result = python(SCRIPT.replace("ENDING", ending))
    told = ENDINGS[ending]
    assert result.code == 0
    expected = "exited with code 0" if told == "reverted" else told
    assert f"original | {expected} | " in result.stdout
    assert result.stdout.endswith("the original's last line\n")
    pattern = (
        rf"^snapshot: back at 0 'here' \(.*program.py:7 work\); the experiment {told} after \d"
    )
    assert re.search(pattern, result.stderr, re.M)
    assert result.stdout.count("the experiment's last line") == (ending.startswith(("pass", "try")))


SCRIPT = """
import os, signal, sys
from snapshot import last_experiment, revert, snapshot

def work():
    x = "original"
    if snapshot("here"):
        x = "changed"
        try_it()
        return "the experiment's last line"
    last = last_experiment()
    print(x, last.exit, last.code, last.signal, last.snapshot.name, sep=" | ")

def try_it():
    ENDING

print(work() or "the original's last line")
"""


def test_back_although_the_program_replaces_how_a_process_ends(python: Run) -> None:
    result = python(
        """
        import os
        from unittest import mock
        from snapshot import fork_call, revert, snapshot

        for leave in (revert, exit):
            with mock.patch("os._exit"), mock.patch("os.getpid", return_value=1):
                if snapshot():
                    leave()
        with mock.patch("os._exit"), mock.patch("os.getpid", return_value=1):
            print(fork_call(os.getpid))
        """
    )
    assert (result.code, result.stdout) == (0, "1\n"), result
    assert result.stderr.count("snapshot: back at 0") == 2


def test_values_come_home(python: Run) -> None:
    result = python(
        """
        import numpy
        from snapshot import last_experiment, revert, snapshot

        class Known: pass

        print(last_experiment())
        if snapshot():
            class Known: text = "made in the experiment"
            def double(x): return 2 * x
            array = numpy.arange(1_000_000)
            try:
                revert(value=open(__file__))
            except Exception as error:
                print(type(error).__name__)
            revert(value=[Known(), double, array, lambda: "lambda"])
        known, double, array, function = last_experiment().value
        array[0] = 5
        print(known.text, double(4), array.sum(), function(), hasattr(Known, "text"))
        if snapshot():
            revert()
        print(last_experiment().value)
        """
    )
    assert result.stdout.splitlines() == [
        "None",
        "NotPicklable",
        "made in the experiment 8 499999500005 lambda False",
        "None",
    ]


def test_nested_snapshots_by_name_and_index(python: Run) -> None:
    result = python(
        """
        import os
        from snapshot import in_snapshot, is_root, last_experiment, revert, snapshot, snapshots
        from snapshot.errors import NameTaken, UnknownSnapshot

        print(in_snapshot(), is_root(), len(snapshots()))
        os.environ["SNAPSHOT_QUIET"] = "1"
        trail = ["original"]
        if snapshot("a"):
            trail.append("a")
            if snapshot("b"):
                trail.append("b")
                if snapshot("c"):
                    names = [s.name for s in snapshots()]
                    print(in_snapshot(), is_root(), names, snapshots()[1].index)
                    print(len({s.pid for s in snapshots()} | {os.getpid()}))
                    print(repr(snapshots()))
                    for wrong in ("z", 3, -1, True):
                        try:
                            revert(to=wrong)
                        except UnknownSnapshot as error:
                            print(error)
                    try:
                        snapshot("b")
                    except NameTaken as error:
                        print("taken:", str(error).startswith("a snapshot 'b' waits already"))
                    revert(to="b", value=1)
            print("in a's experiment", trail, last_experiment().value, len(snapshots()))
            if snapshot("b"):
                if snapshot():
                    revert(to=0, value=2, status=9)
            print("never")
        print("original", trail, last_experiment().value, last_experiment().code, is_root())
        """
    )
    out = result.stdout.splitlines()
    assert out[0] == "False True 0"
    assert out[1] == "True False ['a', 'b', 'c'] 1"
    assert out[2] == "4"
    assert re.fullmatch(r"\s+name\s+pid\s+where\s+age\s+private", out[3])
    assert re.fullmatch(r"0\s+a\s+\d+\s+.*program.py:\d+ <module>\s+\S+ m?s\s+[\d.]+ MiB", out[4])
    assert re.fullmatch(r"here\s+\d+\s+.*program.py:\d+ <module>\s+[\d.]+ MiB", out[7])
    assert out[8] == "no snapshot 'z' waits: there is 0 'a', 1 'b', 2 'c'; nothing was reverted"
    assert out[12] == "taken: True"
    assert out[13:] == ["in a's experiment ['original', 'a'] 1 1", "original ['original'] 2 9 True"]


def test_a_loop_may_use_a_name_again(python: Run) -> None:
    result = python(
        """
        from snapshot import last_experiment, revert, snapshot
        total = 0
        for n in range(5):
            if snapshot("step"):
                revert(value=n * n)
            total += last_experiment().value
        print(total)
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert (result.stdout, result.stderr) == ("30\n", "")


def test_what_the_original_made_survives(python: Run) -> None:
    """Whether a `with` block unwinds in the experiment, or Python's own end comes."""
    result = python(
        """
        import atexit, os, sys, tempfile, weakref
        from snapshot import snapshot

        class Thing: pass

        def note(*text):
            os.write(1, (" ".join(map(str, text)) + "\\n").encode())

        def work(how):
            thing = Thing()
            weakref.finalize(thing, note, "finalized", how)
            with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile() as file:
                loose = tempfile.TemporaryDirectory()
                if snapshot():
                    mine = tempfile.TemporaryDirectory()
                    also = tempfile.NamedTemporaryFile()
                    note("made", mine.name, also.name)
                    other = Thing()
                    weakref.finalize(other, note, "experiment's finalized")
                    atexit.register(note, "experiment's atexit")
                    loose.cleanup()
                    exec(how)
                note(os.path.isdir(directory), os.path.isfile(file.name), os.path.isdir(loose.name))
            return directory, file.name, loose.name

        atexit.register(note, "original's atexit")
        for how in ("sys.exit(1)", "1 / 0", "import snapshot; snapshot.revert()"):
            note([os.path.exists(name) for name in work(how)])
        note(os.listdir(tempfile.gettempdir()))
        """
    )
    assert result.code == 0
    out = [line for line in result.stdout.splitlines() if not line.startswith("made ")]
    once = ["experiment's atexit", "experiment's finalized", "True True True"]
    for index, how in enumerate(["sys.exit(1)", "1 / 0", "import snapshot; snapshot.revert()"]):
        block = out[index * 5 : index * 5 + 5]
        assert sorted(block[:3]) == sorted(once)
        assert block[3:] == [f"finalized {how}", "[False, False, False]"]
    assert out[15:] == ["[]", "original's atexit"]


def test_random_numbers_go_on_as_in_the_original(python: Run) -> None:
    result = python(
        """
        import random, numpy
        from snapshot import last_experiment, revert, snapshot
        random.seed(1); numpy.random.seed(1)
        if snapshot():
            revert(value=(random.random(), numpy.random.random()))
        print(last_experiment().value == (random.random(), numpy.random.random()))
        if snapshot(reseed=True):
            revert(value=(random.random(), numpy.random.random()))
        mine = (random.random(), numpy.random.random())
        print([a == b for a, b in zip(last_experiment().value, mine)])
        """
    )
    assert result.stdout.splitlines() == ["True", "[False, False]"]


@pytest.mark.parametrize("kind", ["Thread", "_thread", "pool"])
@pytest.mark.parametrize("how", ["return", "sys.exit(7)", "revert()", "1 / 0"])
def test_in_another_thread(python: Run, kind: str, how: str) -> None:
    """The experiment ends in order when the thread's function returns."""
    result = python(
        """
        import _thread, atexit, concurrent.futures, sys, threading
        from snapshot import last_experiment, revert, snapshot
        done = threading.Event()

        def work():
            if snapshot():
                atexit.register(print, "atexit of the experiment")
                print("text that is not flushed", end=" ")
                HOW
                return
            print("back", last_experiment().code)
            done.set()

        if KIND == "Thread":
            thread = threading.Thread(target=work); thread.start(); thread.join()
        elif KIND == "_thread":
            _thread.start_new_thread(work, ()); done.wait()
        else:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(work).result()
                pool.submit(print, "the pool works").result()
        print("end")
        """.replace("HOW", how).replace("KIND", repr(kind))
    )
    assert result.code == 0, result
    code = {"sys.exit(7)": 7, "1 / 0": 1}.get(how, 0)
    if kind != "Thread" and how in ("sys.exit(7)", "1 / 0"):
        code = 0  # nobody there tells how the function ended
    expected = ["text that is not flushed atexit of the experiment", f"back {code}"]
    expected += ["the pool works"] if kind == "pool" else []
    assert result.stdout.splitlines() == [*expected, "end"]
    assert "MainThread" in result.stderr


def test_asyncio_goes_on_in_both(python: Run) -> None:
    result = python(
        """
        import asyncio, os
        from snapshot import last_experiment, revert, snapshot

        async def ticks(found):
            while True:
                await asyncio.sleep(0.001)
                found.append(os.getpid())

        async def main():
            loop = asyncio.get_running_loop()
            readable, writable = os.pipe()
            got = []
            loop.add_reader(readable, lambda: got.append(os.read(readable, 100)))
            found = []
            task = asyncio.create_task(ticks(found))
            await asyncio.sleep(0.01)
            in_thread = await loop.run_in_executor(None, lambda: "thread")
            if snapshot():
                assert asyncio.get_running_loop() is loop
                found.clear()
                await asyncio.sleep(0.02)
                loop.remove_reader(readable)
                again = await loop.run_in_executor(None, lambda: "thread again")
                process = await asyncio.create_subprocess_exec("true")
                code = await process.wait()
                revert(value=(set(found) == {os.getpid()}, again, code))
            print(last_experiment().value)
            os.write(writable, b"still heard")
            while not got:
                await asyncio.sleep(0.001)
            thread = await loop.run_in_executor(None, lambda: "thread")
            print(got, thread, set(found) == {os.getpid()})
            if snapshot():
                await asyncio.sleep(0.001)
                return "end of the experiment's loop"
            return "end of the original's loop"

        print(asyncio.run(main()))
        """
    )
    assert result.stdout.splitlines() == [
        "(True, 'thread again', 0)",
        "[b'still heard'] thread True",
        "end of the experiment's loop",
        "end of the original's loop",
    ], result


def test_bad_input_forks_nothing(python: Run) -> None:
    result = python(
        """
        import os
        from snapshot import keep, last_experiment, revert, snapshot, root_only
        forks = []
        os.register_at_fork(before=lambda: forks.append(1))

        def attempt(call):
            try:
                call()
            except Exception as error:
                print(type(error).__name__, "|", error)

        attempt(lambda: revert())
        attempt(lambda: keep())
        attempt(lambda: snapshot(threads="frezee"))
        attempt(lambda: snapshot(5))
        attempt(lambda: snapshot(""))
        attempt(lambda: root_only(otherwise="skp"))
        attempt(lambda: root_only(5))
        print(forks)
        """
    )
    lines = result.stdout.splitlines()
    assert lines[0].startswith("NotAnExperiment | revert(): no snapshot waits for process ")
    assert lines[1].startswith("NotAnExperiment | keep(): no snapshot waits for process ")
    assert lines[2].startswith("UsageError | snapshot(threads='frezee'): it must be ")
    assert lines[3] == "UsageError | snapshot(5): a name is a text; nothing was forked"
    assert [line.partition(" ")[0] for line in lines[4:7]] == ["UsageError"] * 3
    assert lines[7] == "[]"


def test_where_fork_fails(python: Run) -> None:
    """As an ordinary user who may have no more processes; root has no such limit."""
    result = python(
        """
        import os, resource
        from snapshot import snapshot
        from snapshot.errors import CannotFork
        import snapshot.core.tree
        if os.getuid() == 0:
            os.setuid(65534)
        before = sorted(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        for _ in range(2):
            try:
                snapshot.core.tree.snapshot()
            except CannotFork as error:
                print(error.args[0].partition(": ")[2])
        print(before == sorted(os.listdir("/proc/self/fd")))
        """.replace("from snapshot import snapshot\n", "import snapshot\n")
    )
    told = "no more processes are allowed (`ulimit -u`, or the limit of a container)"
    assert result.stdout.splitlines() == [f"{told}; nothing was forked"] * 2 + ["True"]


def test_a_disposable_fork_has_a_line_of_its_own(python: Run) -> None:
    result = python(
        """
        from snapshot import ForkExecutor, fork_call, in_snapshot, is_root, last_experiment
        from snapshot import keep, revert, snapshot
        from snapshot.errors import NotAnExperiment

        def inside():
            found = [in_snapshot(), is_root()]
            for call in (revert, keep):
                try:
                    call()
                except NotAnExperiment:
                    found.append(call.__name__)
            if snapshot():
                revert(value=in_snapshot())
            return [*found, last_experiment().value, is_root()]

        if snapshot():
            print(fork_call(inside))
            revert()
        with ForkExecutor(2) as executor:
            future = executor.submit(inside)
            if snapshot():
                revert(value=executor.submit(pow, 2, 5).result())
            print(last_experiment().value, future.result())
        """
    )
    found = "[False, False, 'revert', 'keep', True, False]"
    assert result.stdout.splitlines() == [found, f"32 {found}"]
    assert "not in the experiment" not in result.stderr


def test_root_only(python: Run) -> None:
    result = python(
        """
        import asyncio, inspect
        from snapshot import fork_call, last_experiment, revert, root_only, snapshot
        from snapshot.errors import RootOnly

        class Account:
            @root_only
            def commit(self, n):
                "Commit."
                return n + 1

            @root_only(otherwise="raise")
            @staticmethod
            def close():
                return "closed"

        @root_only(otherwise=lambda n: n * 10)
        async def fetch(n):
            return n

        @root_only
        def items(n):
            got = yield n
            yield got

        @root_only
        async def events():
            try:
                got = yield 1
                yield got
            finally:
                pass

        def everything():
            generator = items(1)
            found = [Account().commit(1), list(items(2)), next(generator, None)]
            found.append(asyncio.run(fetch(3)))
            try:
                found.append(Account.close())
            except RootOnly as error:
                found.append(str(error).partition(";")[0])

            async def collect():
                agen = events()
                return [await anext(agen, None), await agen.asend("sent") if found[0] else None]

            found.append(asyncio.run(collect()))
            return found

        print(everything())
        if snapshot():
            revert(value=everything())
        print(last_experiment().value)
        print(fork_call(Account().commit, 1))
        print(Account.commit.__doc__, inspect.iscoroutinefunction(fetch))
        print(inspect.isgeneratorfunction(items), inspect.isasyncgenfunction(events))
        """
    )
    assert result.stdout.splitlines() == [
        "[2, [2, None], 1, 3, 'closed', [1, 'sent']]",
        "[None, [], None, 30, 'Account.close runs in the original alone', [None, None]]",
        "None",
        "Commit. True",
        "True True",
    ], result
