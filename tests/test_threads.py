"""Threads around a fork: what they were writing, and several that take snapshots at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Result

Run = Callable[..., Result]

# A thread writes numbered lines all the time: most forks find it between a write and a flush, or
# in the middle of the system call, with the lock of the buffer held.
BUSY = """
import io, itertools, sys, threading
from snapshot import fork_call, revert, snapshot

binary = open("binary", "wb")
text = open("text", "w")
stop = False

def write():
    for n in itertools.count():
        binary.write(b"%d\\n" % n)
        text.write(f"{n}\\n" * 50)
        text.flush()
        binary.flush()
        print(n, flush=True)
        if stop:
            return

thread = threading.Thread(target=write, name="writer")
thread.start()
"""


@pytest.mark.parametrize("fork", ["call", "snapshot", "run"])
def test_files_that_another_thread_writes_to(python: Run, tmp_path: Path, fork: str) -> None:
    result = python(
        BUSY
        + """
def work():
    print("in the fork")  # no thread holds the lock of standard output there
    text.write("here\\n")

for _ in range(100):
    if sys.argv[1] == "call":
        fork_call(work)
    elif snapshot(threads="run" if sys.argv[1] == "run" else "freeze"):
        work()
        revert()
stop = True
thread.join()
binary.close(), text.close()
""",
        fork,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.code == 0, result
    printed = result.stdout.splitlines()
    assert printed.count("in the fork") == 100
    numbers = [int(each) for each in printed if each != "in the fork"]
    assert numbers == list(range(len(numbers)))
    assert [*map(int, (tmp_path / "binary").read_text().split())] == numbers
    lines = (tmp_path / "text").read_text().split()
    assert lines.count("here") == 100
    assert [int(each) for each in lines if each != "here"] == [
        n for n in numbers for _ in range(50)
    ]


def test_a_reader_that_another_thread_has_locked(python: Run) -> None:
    result = python(
        """
        import os, sys, threading
        from snapshot import revert, snapshot
        readable, writable = os.pipe()
        pipe = open(readable, "rb")
        started = threading.Event()
        def read():
            started.set()
            print("the thread read", pipe.readline())
        sys.stdin = pipe
        thread = threading.Thread(target=read)
        thread.start()
        started.wait()
        while open(f"/proc/self/task/{thread.native_id}/syscall").read().split()[0] != "0":
            pass
        if snapshot(threads="run"):
            os.write(writable, b"one\\n")
            revert()
        thread.join()
        """
    )
    assert result.stdout == "the thread read b'one\\n'\n", result


@pytest.mark.parametrize("threads", ["freeze", "run"])
def test_snapshots_of_several_threads_take_turns(python: Run, threads: str) -> None:
    result = python(
        """
        import signal, sys, threading
        from snapshot import last_experiment, revert, snapshot

        lock = threading.Lock()

        def work(who):
            for n in range(8):
                if snapshot(f"{who} {n}", threads=sys.argv[1]):
                    revert(value=(who, n))
                with lock:
                    experiments.append(last_experiment())

        experiments = []
        workers = [threading.Thread(target=work, args=(each,)) for each in range(3)]
        before = signal.getsignal(signal.SIGINT)
        for each in workers:
            each.start()
        for each in workers:
            each.join()
        assert all(each.value is not None for each in experiments), experiments
        assert all("reverted" in each.report for each in experiments), experiments
        assert signal.getsignal(signal.SIGINT) is before
        with open("/proc/self/status") as status:
            masks = dict(line.split() for line in status if line.startswith("Sig"))
        print(int(masks["SigIgn:"], 16) & 1 << signal.SIGINT - 1)
        """,
        threads,
    )
    assert result.stdout == "0\n", result
    assert all(line.startswith("snapshot: ") for line in result.stderr.splitlines()), result


def test_another_thread_closes_what_was_open_a_moment_ago(python: Run) -> None:
    result = python(
        """
        import select, socket, threading
        from snapshot import last_experiment, revert, snapshot

        def come_and_go():
            while not done.is_set():
                select.epoll().close()
                for each in socket.socketpair():
                    each.close()

        done = threading.Event()
        threads = [threading.Thread(target=come_and_go) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for number in range(60):
                if snapshot(sockets="drop"):
                    revert(value=number)
                assert last_experiment().value == number, last_experiment()
        finally:
            done.set()
        print("all of them")
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout == "all of them\n", result


def test_a_number_that_another_thread_uses_anew_meanwhile(python: Run) -> None:
    """The position of the file that it stood for is nobody's any more."""
    result = python(
        """
        import os, threading
        from pathlib import Path
        from snapshot import revert, snapshot

        Path("old").write_text("0123456789")
        Path("new").write_text("abcdefghij")
        there, here = os.pipe()
        number = os.open("old", os.O_RDONLY)
        os.lseek(number, 2, os.SEEK_SET)
        done = threading.Event()

        def use_anew():
            os.read(there, 1)
            os.close(number)
            assert os.open("new", os.O_RDONLY) == number
            os.lseek(number, 8, os.SEEK_SET)
            done.set()

        thread = threading.Thread(target=use_anew)
        thread.start()
        back, tell = os.pipe()
        threading.Thread(target=lambda: (done.wait(), os.write(tell, b"!"))).start()
        if snapshot(threads="run"):
            os.write(here, b"!")
            os.read(back, 1)
            revert()
        thread.join()
        print(os.read(number, 10))
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout == "b'ij'\n", result
