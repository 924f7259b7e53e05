"""Limits of an experiment, and the line that tells what it changed outside."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.processes import Program, Result, wait_gone
from tests.terminal import Terminal

Run = Callable[..., Result]


def test_an_experiment_that_takes_too_long_is_killed(python: Run) -> None:
    result = python(
        """
        import time
        from snapshot import last_experiment, revert, snapshot

        if snapshot("outer", timeout=0.5):
            if snapshot("inner"):
                time.sleep(60)
            revert(value="the inner one came back")
        ended = last_experiment()
        print(ended.signal, ended.limit, ended.value, ended.duration < 30)
        if snapshot(timeout=60):
            revert(value="in time")
        ended = last_experiment()
        print(ended.signal, ended.limit, ended.value)
        """,
    )
    assert result.stdout.splitlines() == ["9 timeout None True", "None None in time"], result
    (line,) = (each for each in result.stderr.splitlines() if "'outer'" in each)
    assert "was killed by SIGKILL after" in line, result
    assert line.endswith(": it did not end within 0.5 s: give it more time"), result


OUTGROWS = {
    "allocates": ("bytearray(500 << 20)", "MemoryError"),
    "overwrites": ("data[::4096] = bytes(len(data[::4096])); time.sleep(60)", "memory"),
    "in a nested one": (
        "snapshot() and (data.__setitem__(slice(None, None, 4096), bytes(len(data[::4096]))), "
        "time.sleep(60)); revert(value=last_experiment().limit)",
        "memory",
    ),
}


@pytest.mark.parametrize("what", OUTGROWS)
def test_an_experiment_that_outgrows_its_memory(python: Run, what: str) -> None:
    code, outcome = OUTGROWS[what]
    result = python(
        f"""
        import time
        from snapshot import last_experiment, revert, snapshot

        data = bytearray(200 << 20)
        data[::4096] = b"x" * len(data[::4096])
        if snapshot(memory="50M"):
            try:
                {code}
            except MemoryError:
                revert(value="MemoryError")
        print(last_experiment().limit or last_experiment().value, data[:1])
        """,
        timeout=60,
    )
    assert result.stdout == f"{outcome} bytearray(b'x')\n", result
    if outcome == "memory":
        assert "it outgrew its memory: more than 52,428,800 bytes since the fork" in result.stderr


def test_what_is_kept_has_no_limits(python: Run) -> None:
    result = python(
        """
        import resource, sys
        from snapshot import keep, snapshot

        before = resource.getrlimit(resource.RLIMIT_DATA)
        if snapshot(timeout=1, memory="20M"):
            assert resource.getrlimit(resource.RLIMIT_DATA) != before
            keep()
            assert resource.getrlimit(resource.RLIMIT_DATA) == before
            data = bytearray(100 << 20)
            sys.stdin.read()  # until the time would be over
            print("there")
        """,
        via_shell="sleep 2 | {}",
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout == "there\n", result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("timeout=-1", "timeout=-1 is no time: give seconds, or None for no limit"),
        ("timeout='1'", "timeout='1' is no time"),
        ("memory=0", "memory=0 is no size"),
        ("memory='much'", "memory='much' is no size"),
        ("files='.', files_limit='much'", "files_limit='much' is no size"),
        ("files='.', files_on_disk=3", "files_on_disk=3: it is no path"),
    ],
)
def test_limits_that_mean_nothing(python: Run, options: str, message: str) -> None:
    result = python(
        f"""
        import os
        from snapshot import snapshot
        from snapshot.errors import UsageError

        os.register_at_fork(before=lambda: print("forked"))
        try:
            snapshot({options})
        except UsageError as error:
            print(error)
        """
    )
    assert result.stdout.startswith(message), result
    assert "forked\n" not in result.stdout, result


def test_killed_at_a_prompt_for_its_time(terminal: Terminal) -> None:
    """The terminal is as it was, and what is typed next goes to the original."""
    terminal.type("python -q\n")
    terminal.wait_for(">>> ")
    terminal.type("from snapshot import snapshot\nx = 1\n")
    terminal.type("snapshot(timeout=1)\n")
    terminal.wait_for("True")
    terminal.type("x = 2\n")
    terminal.wait_for("give it more time")
    terminal.type("print('x is', x)\n")
    terminal.wait_for("x is 1")
    terminal.type("exit()\n")
    terminal.prompt()


CHANGES_OUTSIDE = """
    import os, socket, subprocess, sys
    from pathlib import Path
    from snapshot import last_experiment, revert, snapshot

    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    peer.sendall(b"hello")
    log = open("log", "w")
    log.write("before\\n")
    updated = open("updated", "w+")
    updated.write("abc")
    Path("read").write_text("read")
    read = open("read")
    port = server.getsockname()[1]
    """


def test_what_was_changed_outside_is_named(python: Run) -> None:
    result = python(
        CHANGES_OUTSIDE
        + """
    if snapshot("nothing"):
        read.read()
        revert()
    if snapshot("much"):
        log.write("12345")
        updated.seek(0)
        updated.write("xyz")
        client.sendall(b"a request")
        client.recv(3)
        revert()
    print("not put back: written to log (+5 bytes), updated; "
          f"used: 127.0.0.1:{port} (9 bytes sent, 3 received)")
    print(last_experiment().report.partition("; not put")[2])
    """,
    )
    expected, report = result.stdout.splitlines()
    assert "not put" + report == expected, result
    (line,) = (each for each in result.stderr.splitlines() if "'nothing'" in each)
    assert re.search(r"the experiment reverted after [\d.]+ m?s$", line), result


def test_what_a_killed_experiment_leaves_is_named(start: Callable[..., Program]) -> None:
    program = start(
        """
        import os, subprocess
        from snapshot import last_experiment, snapshot

        if snapshot():
            nothing = subprocess.DEVNULL
            left = subprocess.Popen(["sleep", "60"], stdout=nothing, stderr=nothing)
            print(left.pid, flush=True)
            os.kill(os.getpid(), 9)
        print(last_experiment().report.partition("; still running: ")[2])
        """,
        via_shell=True,
    )
    result = program.finish()
    pid, left = result.stdout.splitlines()
    assert left == f"{pid} sleep", result
    program.close()
    wait_gone([int(pid)])


def test_a_private_map_stays_what_the_outer_experiment_made_it(python: Run) -> None:
    result = python(
        """
        import mmap
        from pathlib import Path
        from snapshot import keep, last_experiment, revert, snapshot

        Path("map").write_bytes(b"m" * mmap.PAGESIZE)
        with open("map", "r+b") as file:
            pages = mmap.mmap(file.fileno(), 0)
        if snapshot():
            pages[:1] = b"1"
            if snapshot():
                seen = pages[:2]
                pages[1:2] = b"2"
                revert(value=seen)
            revert(value=(last_experiment().value, pages[:2]))
        print(last_experiment().value, pages[:2])
        if snapshot():
            pages[:1] = b"k"
            keep()
            print(Path("map").read_bytes()[:2])
            pages[1:2] = b"K"
            print(Path("map").read_bytes()[:2])
            if snapshot():
                pages[:2] = b"no"
                revert()
            print(Path("map").read_bytes()[:2], pages[:2])
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout.splitlines() == [
        "(b'1m', b'1m') b'mm'",
        "b'km'",
        "b'kK'",
        "b'kK' b'kK'",
    ], result
