"""What goes wrong around an experiment, and must not hurt the original."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Result

Run = Callable[..., Result]


def test_the_working_directory_is_gone(python: Run) -> None:
    result = python(
        """
        import os, shutil, tempfile
        from snapshot import revert, snapshot, snapshots
        os.chdir(tempfile.mkdtemp())
        data = [1]
        if snapshot("before"):
            shutil.rmtree(os.getcwd())
            revert(value=1)
        print("goes on", data)
        if snapshot("again"):
            print(len(repr(snapshots()).splitlines()))
            revert()
        """
    )
    assert result.stdout == "goes on [1]\n3\n", result
    assert result.stderr.count("snapshot: back at 0") == 2


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("type('Fails', (), {'write': lambda *_: 1 / 0})()", ""),
        ("open('log', 'wb', buffering=0)", ""),
        ("open('log', 'w', encoding='ascii')", "snapshot: back at 0 'gr\\\\xf6\\\\xdfe' "),
    ],
    ids=["fails", "binary", "ascii"],
)
def test_standard_error_that_refuses_the_report(python: Run, stderr: str, said: str) -> None:
    result = python(
        f"""
        import contextlib
        from snapshot import last_experiment, revert, snapshot
        with contextlib.redirect_stderr({stderr}):
            if snapshot("größe"):
                revert(value=1)
        print(last_experiment().value)
        try:
            print(open("log").read()[:{len(said) - 2}])
        except OSError:
            print()
        """
    )
    assert result.stdout == "1\n" + said.encode().decode("unicode_escape") + "\n", result


def test_a_value_that_cannot_be_written_reverts_nothing(python: Run) -> None:
    result = python(
        """
        import os, resource
        from snapshot import last_experiment, revert, snapshot
        from snapshot.errors import SnapshotError
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        if snapshot("outer"):
            if snapshot("inner"):
                try:
                    revert(to="outer", value="x" * 100_000)
                except SnapshotError as error:
                    print(error, flush=True)
                revert(to="outer", value="small")
            print("never")
        print(last_experiment().value)
        if snapshot():
            os.closerange(3, 1000)
            try:
                revert(value=1)
            except SnapshotError as error:
                print(error, flush=True)
            revert()
        print(last_experiment().value, last_experiment().code)
        """
    )
    first, value, second, last = result.stdout.splitlines()
    assert first.endswith("or the value: File too large; nothing was reverted"), first
    assert second.endswith("or the value: its descriptor was closed; nothing was reverted"), second
    assert (value, last) == ("small", "None 0"), result
    assert "reverted after" in result.stderr


def test_a_status_that_another_thread_takes(python: Run) -> None:
    result = python(
        """
        import os, sys, threading
        from snapshot import last_experiment, snapshot

        def reap():
            while not done.wait(0.001):
                try:
                    os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    pass

        done = threading.Event()
        threading.Thread(target=reap).start()
        for _ in range(10):
            if snapshot(threads="run"):
                threading.Event().wait(0.01)
                sys.exit(7)
            print(last_experiment().code)
        done.set()
        """
    )
    assert result.stdout.split() == ["7"] * 10, result


@pytest.mark.parametrize("ps1", ["sys.ps1 = '>>> '", "pass"])
def test_an_exception_at_the_end_is_one_whatever_the_prompt(python: Run, ps1: str) -> None:
    result = python(
        f"""
        import sys
        from snapshot import last_experiment, snapshot
        if snapshot():
            {ps1}
            1 / 0
        print(last_experiment().code)
        """
    )
    assert result.stdout == "1\n", result


def test_a_snapshot_when_python_is_about_to_end(python: Run) -> None:
    result = python(
        """
        import atexit
        from snapshot import snapshot
        from snapshot.errors import CannotFork

        def late():
            try:
                if snapshot():
                    print("forked")
            except CannotFork as error:
                print("refused")

        atexit.register(late)
        """
    )
    assert result.stdout in ("refused\n", "forked\n"), result  # Python 3.12 refuses
    assert not result.stderr.replace(result.stderr.partition("\n")[0], "").strip(), result


def test_values_that_end_the_program_when_unpickled(python: Run) -> None:
    result = python(
        """
        import sys
        from snapshot import fork_call, last_experiment, revert, snapshot
        from snapshot.errors import NotPicklable, ResultNotPicklable

        class Loaded:
            def __init__(self, kind):
                self.kind = kind
            def __reduce__(self):
                return raise_it, (self.kind,)

        class Dumped:
            def __reduce__(self):
                sys.exit(3)

        def raise_it(kind):
            raise kind

        for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
            if snapshot():
                revert(value=Loaded(kind))
            print(last_experiment().value, "its value is lost" in last_experiment().report)
        for value in (Loaded(SystemExit), Dumped()):
            try:
                fork_call(lambda: value)
            except ResultNotPicklable as error:
                print("SystemExit" in str(error))
        if snapshot():
            try:
                revert(value=Dumped())
            except NotPicklable as error:
                print(str(error).endswith("; nothing was reverted"), flush=True)
            revert()
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout.splitlines() == ["None True"] * 3 + ["True"] * 3, result
    assert result.stderr == "", result


def test_arguments_that_mean_nothing(python: Run) -> None:
    result = python(
        """
        from snapshot import ForkExecutor, fork_call, revert, snapshot

        def attempt(call):
            try:
                call()
            except Exception as error:
                print(type(error).__name__, "|", error, flush=True)

        attempt(lambda: fork_call(None))
        attempt(lambda: fork_call(int, timeout=10**400))
        with ForkExecutor(1) as executor:
            attempt(lambda: executor.submit(None))
        if snapshot():
            attempt(lambda: revert(status="x"))
        """
    )
    assert result.stdout.splitlines() == [
        "UsageError | fork_call(None): give a function; nothing was run",
        f"UsageError | timeout={10**400} is no time: give seconds, or None for no limit",
        "UsageError | submit(None): give a function; nothing was run",
        "UsageError | revert(status='x'): an exit code is a number from 0 to 255",
    ]


def test_executors_where_no_descriptor_is_free(python: Run) -> None:
    result = python(
        """
        import os, resource
        from snapshot import ForkExecutor, fork_call, snapshot
        from snapshot.errors import CannotFork

        def attempt(call):
            try:
                call()
            except CannotFork as error:
                print(error)

        def descriptors():
            return sorted(os.listdir("/proc/self/fd"))

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        before = descriptors()
        for free in range(4):
            held = [os.dup(0) for _ in range(64 - len(before) + 1 - free)]
            with ForkExecutor(1) as executor:
                attempt(lambda: executor.submit(int).result())
            if free == 0:
                attempt(lambda: fork_call(int))
                attempt(lambda: fork_call(int, capture=True))
                attempt(snapshot)
            for fd in held:
                os.close(fd)
            print(before == descriptors())
        with ForkExecutor(1) as executor:
            print(executor.submit(int).result())
        """
    )
    lines = result.stdout.splitlines()
    errors = [line for line in lines if line not in ("True", "0")]
    assert len(errors) >= 5, result
    assert all("no descriptor is free (`ulimit -n`)" in line for line in errors), result
    assert lines.count("True") == 4, result
    assert lines[-1] == "0", result


def test_an_exception_that_cannot_say_what_it_is(python: Run) -> None:
    result = python(
        """
        from snapshot import fork_call

        class Mute(Exception):
            def __str__(self):
                raise ValueError("no words")

        def fail():
            raise Mute(5)

        try:
            fork_call(fail)
        except Mute as error:
            print(error.args)
        """
    )
    assert result.stdout == "(5,)\n", result


@pytest.mark.parametrize("command", ["snapshot run", "snapshot-repl"])
def test_a_program_is_run_in_a_directory_that_is_gone(
    python: Run, tmp_path: Path, command: str
) -> None:
    (tmp_path / "program.py").write_text("print('ran')\n")
    result = python(
        f"""
        import os, subprocess, sys
        os.mkdir("gone")
        os.chdir("gone")
        os.rmdir(os.path.abspath("."))
        name, *rest = "{command}".split()
        run = [os.path.join(os.path.dirname(sys.executable), name), *rest]
        for program in ([{str(tmp_path / "program.py")!r}], ["-c", "print('ran')"]):
            subprocess.run([*run, *program], stdin=subprocess.DEVNULL)
        """
    )
    assert result.stdout == "ran\nran\n", result
    assert "Traceback" not in result.stderr, result
