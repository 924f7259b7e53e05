"""Disposable forks: each way in which a call can end, and nothing left behind by any of them.

Everything that forks is a program of its own. A program states what must hold by `assert`, and
prints "done" when it has come to its end. Processes meet at pipes: the end of a file is reached
when every process that held it is gone.
"""

from __future__ import annotations

import re
import signal
import sys
import textwrap
from collections.abc import Callable

import pytest

from tests.processes import Program, Result
from tests.terminal import Terminal

PRELUDE = """
import asyncio, atexit, contextlib, contextvars, ctypes, gc, os, random, resource, signal
import subprocess, sys, tempfile, threading, time, traceback, weakref
from concurrent.futures import ALL_COMPLETED, CancelledError, as_completed, wait
from snapshot import ForkExecutor, fork_call
from snapshot.errors import *


def error_of(fn, /, *args, **options):
    try:
        value = fork_call(fn, *args, **options)
    except BaseException as error:
        return error
    raise AssertionError(f"returned {value!r}")


def fail(error):
    raise error


class Gate:
    # A pipe. `wait` returns when `open` was called somewhere, `all_gone` when nobody has it.
    def __init__(self):
        self.reader, self.writer = os.pipe()
        os.set_inheritable(self.writer, True)

    def open(self):
        os.write(self.writer, b"!")

    def wait(self):
        assert os.read(self.reader, 1) == b"!"

    def all_gone(self):
        os.close(self.writer)
        return os.read(self.reader, 1) == b""


def belongings():
    with contextlib.suppress(ChildProcessError):
        raise AssertionError(f"a child is left: {os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)}")
    return sorted(os.listdir("/proc/self/fd")), threading.enumerate()


def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name + ":")) / 1024
"""


@pytest.fixture
def passes(python: Callable[..., Result]) -> Callable[..., Result]:
    """Run a program after the prelude; it must end in order, and print "done" at last."""

    def run(source: str, **options: object) -> Result:
        result = python(PRELUDE + textwrap.dedent(source) + '\nprint("done")\n', **options)
        assert result.code == 0, result
        assert re.search("^done$", result.stdout, re.MULTILINE), result
        return result

    return run


Passes = Callable[..., Result]


def test_values_come_back_and_nothing_else_does(passes: Passes) -> None:
    result = passes("""
        data = {"a": [1]}

        def change(key, *, value):
            data[key] = value
            return data, os.getpid()

        back, pid = fork_call(change, "b", value=2)
        assert back == {"a": [1], "b": 2} and data == {"a": [1]}
        assert pid != os.getpid()
        assert fork_call(lambda: None) is None
        assert fork_call([3, 1, 2].index, 1) == 1
        assert fork_call(lambda file: file.fileno(), sys.stdin) == 0  # arguments are not pickled
    """)
    assert result.stderr == ""


def test_what_was_made_in_the_fork_comes_back_by_value(passes: Passes) -> None:
    passes("""
        class Kept:
            version = 1

        class Changed:
            version = 1

        def function():
            return 1

        def make():
            global Changed, function
            class Changed:
                version = 2
            class Added(Kept):
                pass
            globals()["Added"] = Added
            def function():
                return 2
            import fractions
            local = 40
            return (
                Kept, Kept(), Changed(), Added(), function, lambda: local + Changed.version,
                fractions.Fraction(1, 2),
            )

        kept, instance, changed, added, new_function, closure, half = fork_call(make)
        assert kept is Kept and type(instance) is Kept
        assert type(changed) is not Changed and changed.version == 2
        assert isinstance(added, Kept) and "Added" not in globals()
        assert new_function is not function and new_function() == 2
        assert closure() == 42
        assert half == 0.5
    """)


def test_the_fork_s_exception_comes_back_as_it_is(passes: Passes) -> None:
    passes("""
        class Mine(Exception):
            pass

        def fails(step):
            try:
                {}["absent"]
            except KeyError as first:
                error = Mine("text", 5)
                error.attribute = [step]
                error.add_note("a note")
                raise error from first

        error = error_of(fails, 3)
        assert type(error) is Mine
        assert error.args == ("text", 5) and error.attribute == [3]
        assert error.__notes__ == ["a note"]
        text = "".join(traceback.format_exception(error))
        assert "in fails" in text and "KeyError: 'absent'" in text and "a note" in text
        assert "The above exception was the direct cause" in str(error.__cause__)
        assert "_attempt" not in text
        assert error.__cause__.output is None

        for original in (
            KeyboardInterrupt(), StopIteration(5), OSError(2, "text", "name"), GeneratorExit(),
            ExceptionGroup("group", [ValueError(1), KeyError("k")]),
            UnicodeDecodeError("utf-8", b"abc", 0, 1, "reason"), ValueError(object()),
        ):
            def fails():
                raise original
            error = error_of(fails)
            assert type(error) is type(original)
            assert len(error.args) == len(original.args)

        local = error_of(lambda: exec("class Local(Exception): pass\\nraise Local(5)", {}))
        assert type(local).__name__ == "Local" and local.args == (5,)
    """)


def test_an_uncaught_exception_shows_where_in_the_fork(python: Callable[..., Result]) -> None:
    result = python("""
        from snapshot import fork_call

        def deep():
            raise LookupError("lost")

        def middle():
            deep()

        fork_call(middle)
    """)
    assert result.code == 1
    assert re.search(r"in middle\n.*in deep\n.*LookupError: lost", result.stderr, re.DOTALL)
    assert result.stderr.endswith("LookupError: lost\n")


def test_exceptions_whose_constructors_take_other_arguments(passes: Passes) -> None:
    passes("""
        class TwoArguments(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} and {b}")
                self.a, self.b = a, b

        class Wraps(KeyError):
            def __init__(self, text):
                super().__init__("wrapped: " + text)

        class InNew(ValueError):
            def __new__(cls, n):
                return super().__new__(cls, n, n)
            def __init__(self, n):
                super().__init__(n, n)

        class System(OSError):
            def __init__(self, code):
                super().__init__(code, f"code {code}", "name")

        class Decoding(UnicodeDecodeError):
            def __init__(self, n):
                super().__init__("utf-8", b"abc", 0, n, "reason")

        class Group(ExceptionGroup):
            def __new__(cls, n):
                return super().__new__(cls, "group", [TwoArguments(n, n)])

        class Slotted(Exception):
            __slots__ = ("n",)
            def __init__(self, n):
                super().__init__(n)
                self.n = n

        def noted():
            error = TwoArguments("x", 1)
            error.add_note("a note")
            return error

        for make in (
            lambda: TwoArguments(1, [2]), lambda: Wraps("text"), lambda: InNew(3),
            lambda: System(2), lambda: Decoding(2), lambda: Group(5), lambda: Slotted(4), noted,
        ):
            def fails():
                raise make()
            error, original = error_of(fails), make()
            assert type(error) is type(original), error
            assert (str(error), repr(error.args)) == (str(original), repr(original.args))
            assert repr(vars(error)) == repr(vars(original)), vars(error)
            assert "in fails" in str(error.__cause__)
        assert error_of(lambda: fail(Slotted(4))).n == 4
        error = error_of(lambda: fail(System(2)))
        assert (error.errno, error.filename) == (2, "name")
        assert error_of(lambda: fail(Decoding(2))).end == 2
        (inner,) = error_of(lambda: fail(Group(5))).exceptions
        assert (type(inner), inner.a) == (TwoArguments, 5)
        assert fork_call(lambda: [Wraps("returned")])[0].args == ("wrapped: returned",)
    """)


def test_exceptions_that_do_not_survive_pickling(passes: Passes) -> None:
    passes("""
        class Reduces(Exception):
            def __init__(self, a, b):
                super().__init__(a)
            def __reduce__(self):
                return Reduces, self.args

        class Other(Exception):
            def __reduce__(self):
                return ValueError, ("another",)

        class Holds(Exception):
            def __init__(self):
                self.file = sys.stdin

        for make, said in (
            (lambda: Reduces(1, 2), "TypeError"), (lambda: Other(1), "another exception"),
            (lambda: Holds(), "an open file"),
        ):
            def fails():
                raise make()
            error = error_of(fails)
            assert type(error) is ExceptionNotPicklable, error
            assert isinstance(error, ForkError) and isinstance(error, NotPicklable)
            assert error.type_name == type(make()).__name__
            assert "in fails" in error.traceback
            assert error.type_name in str(error) and said in str(error), error
            assert "Traceback" in str(error)
    """)


def test_killed_by_a_signal(passes: Passes) -> None:
    passes("""
        for fn, number, said in (
            (lambda: ctypes.string_at(0), signal.SIGSEGV, "was killed by SIGSEGV"),
            (os.abort, signal.SIGABRT, "was killed by SIGABRT"),
            (lambda: os.kill(os.getpid(), signal.SIGKILL), signal.SIGKILL, "memory"),
            (lambda: os.kill(os.getpid(), signal.SIGTERM), signal.SIGTERM, "somebody else"),
        ):
            error = error_of(fn)
            assert type(error) is ForkKilled
            assert error.signal == number and error.pid > 0
            assert said in str(error), error
    """)


def test_ending_its_process_by_itself(passes: Passes) -> None:
    result = passes("""
        for fn, code in (
            (lambda: sys.exit(3), 3), (sys.exit, 0), (lambda: sys.exit("the reason"), 1),
            (lambda: os._exit(4), 4), (lambda: os._exit(0), 0), (lambda: sys.exit(256 + 7), 7),
        ):
            error = error_of(fn)
            assert type(error) is ForkExited, error
            assert error.code == code
            assert f"with code {code}" in str(error)
    """)
    assert result.stderr == "the reason\n"


def test_timeout(passes: Passes) -> None:
    passes("""
        gate = Gate()
        begun = time.monotonic()
        error = error_of(time.sleep, 1000, timeout=0.05)
        assert type(error) is ForkTimeout
        assert "sleep" in str(error) and "0.05 s" in str(error)
        assert type(error_of(time.sleep, 1000, timeout=0)) is ForkTimeout

        def stubborn():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            os.setpgid(0, os.getppid())  # out of the group that was made for it
            os.kill(os.getpid(), signal.SIGSTOP)

        assert type(error_of(stubborn, timeout=0.05)) is ForkTimeout
        assert time.monotonic() - begun < 100
        assert gate.all_gone()
        assert fork_call(lambda: 5, timeout=1e9) == 5
    """)


def test_memory_limit(passes: Passes) -> None:
    passes("""
        kept = bytearray(300 << 20)
        page = memoryview(bytes(1 << 20))

        def allocate():
            return len(bytearray(200 << 20))

        def overwrite():
            for position in range(0, len(kept), len(page)):
                kept[position:position + len(page)] = page
            time.sleep(1000)

        error = error_of(allocate, memory="100M")
        assert type(error) is ForkMemoryExceeded and f"{100 << 20:,} bytes" in str(error)
        assert type(error_of(overwrite, memory=50_000_000)) is ForkMemoryExceeded
        assert fork_call(allocate, memory="1G") == fork_call(allocate) == 200 << 20
        assert fork_call(len, kept, memory="20MB") == 300 << 20  # what was there is not counted

        def too_much():
            raise MemoryError("by itself")

        assert type(error_of(too_much)) is MemoryError
        assert type(error_of(too_much, memory="1G")) is ForkMemoryExceeded
        assert type(error_of(lambda: bytes(60 << 20), memory="100M")) is ForkMemoryExceeded

        def survives():
            try:
                allocate()
            except MemoryError:
                return resource.getrlimit(resource.RLIMIT_DATA)[0]

        assert fork_call(survives, memory="100M") >= 300 << 20
    """)


def test_results_that_cannot_be_brought_back(passes: Passes) -> None:
    passes("""
        class Odd:
            def __reduce__(self):
                return Odd.make, (os.getpid(),)
            @staticmethod
            def make(pid):
                if pid != os.getpid():
                    raise ValueError("not here")

        for fn, *said in (
            (lambda: sys.stdin, "a TextIOWrapper", "an open file", "<stdin>"),
            (lambda: {"a": [threading.Lock()]}, "a dict", "a lock", "value['a'][0]"),
            (lambda: (i for i in "abc"), "a generator"),
            (threading.current_thread, "_MainThread", "a thread"),
            (Odd, "ValueError: not here"),
        ):
            error = error_of(fn)
            assert type(error) is ResultNotPicklable, error
            assert isinstance(error, ForkError) and isinstance(error, NotPicklable)
            assert all(text in str(error) for text in said), error
    """)


def test_a_large_array_is_not_copied_on_arrival(passes: Passes) -> None:
    passes("""
        import numpy

        size = 256  # MiB
        fork_call(numpy.ones, 1 << 17)
        before = memory("VmHWM")
        array = fork_call(lambda: numpy.ones(size << 17))
        assert array.nbytes == size << 20
        assert memory("VmHWM") - before < 32
        fds = os.listdir("/proc/self/fd")
        assert array.sum() == size << 17  # reads all of it: the pages are the file's
        assert memory("VmHWM") - before < size + 32
        private = memory("RssAnon")
        array[:1 << 17] = 7  # one MiB
        assert memory("RssAnon") - private < 8
        assert array.sum() == (size << 17) + 6 * (1 << 17)
        del array
        assert memory("VmRSS") - before < 32

        arrays = [fork_call(numpy.ones, 1 << 17) for _ in range(20)]
        assert os.listdir("/proc/self/fd") == fds
        assert all(each.sum() == 1 << 17 for each in arrays)
    """)


def test_a_hundred_calls_leave_nothing(passes: Passes) -> None:
    passes("""
        gate = Gate()
        fork_call(list)
        error_of(lambda: 1 / 0)
        gc.collect()
        before = belongings()
        for _ in range(10):
            assert fork_call(lambda: 1) == 1
            assert len(fork_call(lambda: bytes(1_000_000))) == 1_000_000
            assert fork_call(lambda: 1, capture=True, memory="1G", timeout=100).value == 1
            error_of(lambda: 1 / 0)
            error_of(lambda: sys.stdin)
            error_of(lambda: sys.exit(3))
            error_of(lambda: ctypes.string_at(0))
            error_of(lambda: sys.exit(3), capture=True)
            error_of(time.sleep, 1000, timeout=0.01)
            error_of(lambda: bytearray(200 << 20), memory="100M")
        assert belongings() == before
        assert gate.all_gone()
    """)


def test_the_frame_of_a_failed_call_is_in_no_cycle(passes: Passes) -> None:
    passes("""
        class Watched:
            pass

        gc.disable()
        watched = Watched()
        seen = weakref.ref(watched)
        with contextlib.suppress(ZeroDivisionError):
            fork_call(lambda argument: 1 / 0, watched)
        del watched
        assert seen() is None
    """)


def test_ctrl_c_kills_the_fork_and_goes_on_as_keyboard_interrupt(
    start: Callable[..., Program],
) -> None:
    program = start(
        PRELUDE
        + textwrap.dedent("""
        gate = Gate()
        before = belongings()

        def sleeps():
            subprocess.Popen(["sleep", "1000"], close_fds=False)
            print("sleeping", flush=True)
            time.sleep(1000)

        try:
            fork_call(sleeps, capture=False)
        except KeyboardInterrupt:
            print("interrupted")
        assert belongings() == before
        assert gate.all_gone()
        """)
    )
    program.wait_for("sleeping\n")
    program.kill(signal.SIGINT)
    result = program.finish()
    assert (result.code, result.stdout) == (0, "sleeping\ninterrupted\n"), result


def test_any_exception_of_a_signal_handler_leaves_nothing(passes: Passes) -> None:
    passes("""
        gate = Gate()
        before = belongings()

        class Late(BaseException):
            pass

        def late(number, frame):
            raise Late

        signal.signal(signal.SIGALRM, late)
        for delay in [i / 20_000 for i in range(1, 100)]:  # before, at and after the fork
            with contextlib.suppress(Late):
                signal.setitimer(signal.ITIMER_REAL, delay)
                fork_call(time.sleep, 1000)
        assert belongings() == before
        assert gate.all_gone()
    """)


def test_what_the_function_started_ends_with_it(passes: Passes) -> None:
    passes("""
        def starts(end):
            subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], close_fds=False)
            if os.fork() == 0:
                time.sleep(1000)
            return end()

        for end, expected in (
            (lambda: 5, None), (lambda: time.sleep(1000), ForkTimeout),
            (lambda: ctypes.string_at(0), ForkKilled), (lambda: 1 / 0, ZeroDivisionError),
        ):
            gate = Gate()
            if expected:
                assert type(error_of(starts, end, timeout=1)) is expected
            else:
                assert fork_call(starts, end) == 5
            assert gate.all_gone()
    """)


def test_a_process_that_the_function_forked_brings_back_nothing(passes: Passes) -> None:
    result = passes("""
        def twice():
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                return "the fork"
            print("the other")
            return "the other"

        assert fork_call(twice) == "the fork"
    """)
    assert result.stdout == "the other\ndone\n"


def test_captured_output(passes: Passes) -> None:
    result = passes("""
        def writes(end):
            print("printed")
            subprocess.run(["sh", "-c", "echo from sh; echo complaint >&2"])
            os.write(1, b"raw\\n")
            print("last", end="")
            return end()

        expected = b"printed\\nfrom sh\\nraw\\nlast", b"complaint\\n"

        sys.stdout.reconfigure(line_buffering=True)  # the subprocess writes between the lines
        print("before", end="")
        captured = fork_call(writes, lambda: 5, capture=True)
        assert captured == (5, *expected), captured
        assert captured.value == 5 and captured.stdout == expected[0]
        assert error_of(writes, lambda: 1 / 0, capture=True).__cause__.output == expected
        assert error_of(writes, lambda: sys.exit(3), capture=True).output == expected
        assert error_of(writes, lambda: sys.stdin, capture=True).output == expected
        error = error_of(lambda: [os.write(1, b"raw"), time.sleep(1000)], capture=True, timeout=1)
        assert error.output == (b"raw", b"")
        assert error_of(sys.exit).output is None

        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            assert fork_call(print, "x", capture=True).stdout == b"x\\n"
        error = error_of(fork_call, lambda: 1 / 0, capture=True)
        assert error.__cause__.output == (b"", b"")
        big = fork_call(lambda: print("x" * 10_000_000), capture=True)
        assert len(big.stdout) == 10_000_001
        print()
    """)
    assert result.stdout == "before\ndone\n"
    assert result.stderr == ""


def test_each_byte_is_written_once(python: Callable[..., Result]) -> None:
    result = python("""
        import sys
        from snapshot import fork_call
        print("before", end=" ")
        sys.stderr.write("complaint ")
        fork_call(print, "inside", end=" ")
        fork_call(lambda: 1)
        print("after")
    """)
    assert (result.stdout, result.stderr) == ("before inside after\n", "complaint ")


def test_standard_streams_that_are_closed_or_odd(passes: Passes) -> None:
    passes("""
        class NoHash(list):
            write = list.append

        sys.stderr, kept = NoHash(), sys.stderr
        assert fork_call(lambda: 5) == 5
        sys.stderr = kept

        saved = [os.dup(fd) for fd in (0, 1, 2)]
        for fd in (0, 1, 2):
            os.close(fd)
        value, captured, error = fork_call(lambda: 5), None, None
        captured = fork_call(os.write, 1, b"raw", capture=True)
        error = error_of(lambda: 1 / 0)
        for fd, copy in enumerate(saved):
            os.dup2(copy, fd)
        assert (value, captured.stdout, type(error)) == (5, b"raw", ZeroDivisionError)
    """)


def test_random_goes_on_where_the_original_is(passes: Passes) -> None:
    passes("""
        import numpy

        random.seed(1), numpy.random.seed(1)
        expected = [random.random(), numpy.random.random()]
        random.seed(1), numpy.random.seed(1)
        for _ in range(2):
            assert fork_call(lambda: [random.random(), numpy.random.random()]) == expected
        assert [random.random(), numpy.random.random()] == expected
    """)


def test_the_original_s_exit_handlers_stay_its_own(passes: Passes) -> None:
    result = passes("""
        atexit.register(print, "at exit")
        watched = Gate()
        weakref.finalize(watched, print, "finalized")
        with tempfile.TemporaryDirectory() as directory:
            assert fork_call(os.path.isdir, directory)
            error_of(sys.exit)
            error_of(lambda: 1 / 0)
            assert os.path.isdir(directory)
    """)
    assert result.stdout == "done\nfinalized\nat exit\n"


def test_forks_in_forks(passes: Passes) -> None:
    passes("""
        def factorial(n):
            return n * fork_call(factorial, n - 1) if n else 1

        assert fork_call(factorial, 6) == 720
        error = error_of(fork_call, lambda: 1 / 0)
        assert type(error) is ZeroDivisionError
        assert str(error.__cause__).count("ZeroDivisionError") == 2
        inner = error_of(fork_call, os._exit, 5, capture=True)
        assert type(inner) is ForkExited and inner.code == 5

        gate = Gate()
        begun = time.monotonic()
        outer = lambda: fork_call(time.sleep, 1000)
        assert type(error_of(outer, timeout=0.2)) is ForkTimeout
        assert gate.all_gone()
        assert time.monotonic() - begun < 100
    """)


def test_arguments_that_mean_nothing(passes: Passes) -> None:
    passes("""
        for options in (
            {"timeout": -1}, {"timeout": float("nan")}, {"timeout": "3"}, {"memory": 0},
            {"memory": "much"}, {"memory": "10 X"}, {"memory": True}, {"memory": -5},
            {"memory": "1KK"}, {"memory": float("nan")}, {"memory": b"1M"},
        ):
            (name, value), = options.items()
            error = error_of(print, "never", **options)
            assert type(error) is UsageError and isinstance(error, ValueError)
            assert f"{name}={value!r}" in str(error) and ": give" in str(error)
            with contextlib.suppress(UsageError):
                raise AssertionError(ForkExecutor(**options))
        for places in (0, -1, "two", 1.5):
            with contextlib.suppress(UsageError):
                raise AssertionError(ForkExecutor(places))
        from snapshot.core.limits import in_bytes
        for text, size in (
            (1, 1), (5e8, 500_000_000), ("500M", 500 << 20), ("2G", 2 << 30), ("2g", 2 << 30),
            ("100KiB", 100 << 10), ("100 kb", 100_000), ("1.5K", 1536), ("1T", 1 << 40),
            ("77", 77), ("77B", 77),
        ):
            assert in_bytes("memory", text) == size, text
    """)


def test_no_descriptor_left(passes: Passes) -> None:
    passes("""
        gate = Gate()
        fork_call(list)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = belongings()
        free = os.dup(0)
        os.close(free)
        for left in (0, 1):
            resource.setrlimit(resource.RLIMIT_NOFILE, (free + left, hard))
            error = error_of(lambda: time.sleep(1000))
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            assert type(error) is CannotFork and isinstance(error, OSError), error
            assert belongings() == before
        assert gate.all_gone()
    """)


def test_other_parts_of_the_program_that_take_every_status(passes: Passes) -> None:
    passes("""
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        assert fork_call(lambda: 5) == 5
        assert type(error_of(lambda: 1 / 0)) is ZeroDivisionError
        error = error_of(sys.exit)
        assert type(error) is ForkError and "taken by another part" in str(error)
    """)


def test_called_in_threads_that_end(passes: Passes) -> None:
    passes(
        """
        before = belongings()
        values = []
        threads = [
            threading.Thread(target=lambda i=i: values.append(fork_call(lambda: i * i)))
            for i in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(values) == [i * i for i in range(20)]
        assert belongings() == before
    """,
        options=["-W", "error"],
    )


def test_reading_from_the_terminal_is_an_error_and_no_stop(terminal: Terminal) -> None:
    (terminal.directory / "asks.py").write_text(
        "import os\n"
        "from snapshot import fork_call\n"
        "fork_call(print, 'shown')\n"
        "for read in (input, lambda: os.read(0, 1)):\n"
        "    try:\n"
        "        fork_call(read, timeout=20)\n"
        "    except (EOFError, OSError) as error:\n"
        "        print(repr(error))\n"
    )
    terminal.line("stty tostop; python asks.py")
    terminal.wait_for("shown")
    terminal.wait_for("EOFError()")
    terminal.wait_for("OSError(5, 'Input/output error')")


def test_executor_is_one_of_concurrent_futures(passes: Passes) -> None:
    passes("""
        before = belongings()
        with ForkExecutor(2) as executor:
            futures = {executor.submit(pow, i, 2): i for i in range(10)}
            for future in as_completed(futures):
                assert future.result() == futures[future] ** 2
            assert wait(futures).not_done == set()
            assert list(executor.map(lambda a, b: a + b, range(5), range(5))) == [0, 2, 4, 6, 8]
            assert executor.submit(os.getpid).result() != os.getpid()
            assert executor.submit(lambda: 1 / 0).exception().__cause__ is not None
            called = []
            future = executor.submit(int, "7", base=8)
            future.add_done_callback(called.append)
        assert called == [future] and future.result() == 7
        try:
            executor.submit(print, "never")
        except RuntimeError as error:
            assert "after shutdown" in str(error)
        assert belongings() == before
        executor.shutdown()
        assert ForkExecutor()._places == len(os.sched_getaffinity(0))
    """)


def test_executor_has_so_many_forks_at_a_time(passes: Passes) -> None:
    passes("""
        gates = [Gate() for _ in range(3)]
        begun = Gate()

        def task(gate):
            begun.open()
            gate.wait()

        with ForkExecutor(2) as executor:
            futures = [executor.submit(task, gate) for gate in gates]
            begun.wait(), begun.wait()
            assert [future.running() for future in futures] == [True, True, False]
            os.set_blocking(begun.reader, False)
            with contextlib.suppress(BlockingIOError):
                raise AssertionError(begun.wait())
            os.set_blocking(begun.reader, True)
            gates[1].open()
            begun.wait()
            assert wait(futures, return_when="FIRST_COMPLETED").done == {futures[1]}
            gates[0].open(), gates[2].open()
    """)


def test_a_call_sees_the_state_at_submit_or_when_its_turn_comes(passes: Passes) -> None:
    passes("""
        state = 0
        gate = Gate()
        with ForkExecutor(1) as executor:
            first = executor.submit(lambda: (gate.wait(), state)[1])
            state = 1
            queued = executor.submit(lambda: state)
            state = 2
            gate.open()
            assert (first.result(), queued.result()) == (0, 2)

            seen = []
            def submits():  # also from a thread that is not the main one
                global state
                for state in range(10):
                    seen.append(executor.submit(lambda: state))
                    state = -1
                    seen[-1].result()
            thread = threading.Thread(target=submits)
            thread.start()
            thread.join()
            results = [future.result() for future in seen]
            assert results[0] == 0 and set(results) <= {*range(10), -1}
    """)


def test_cancelling_and_shutting_down(passes: Passes) -> None:
    passes("""
        gate = Gate()
        executor = ForkExecutor(1)
        running = executor.submit(gate.wait)
        queued = [executor.submit(print, "never") for _ in range(3)]
        assert not running.cancel() and queued[0].cancel()
        executor.shutdown(wait=False, cancel_futures=True)
        assert wait(queued, timeout=20).not_done == set()
        assert all(future.cancelled() for future in queued) and not running.done()
        gate.open()
        executor.shutdown()
        assert running.done() and running.exception() is None

        with ForkExecutor(1) as executor:
            running = executor.submit(gate.wait)
            queued = executor.submit(print, "never")
            queued.cancel()
            last = executor.submit(int)
            gate.open()
            assert set(as_completed([running, queued, last], timeout=20)) == {running, queued, last}

        with ForkExecutor(1) as executor:
            results = executor.map(lambda i: i and gate.wait(), range(3), timeout=0.2)
            try:
                list(results)
            except TimeoutError:
                gate.open(), gate.open()
    """)


def test_a_call_that_dies_is_one_futures_error(passes: Passes) -> None:
    passes("""
        with ForkExecutor(3, timeout=5, memory="200M") as executor:
            good = [executor.submit(lambda i=i: i) for i in range(5)]
            bad = {
                executor.submit(lambda: ctypes.string_at(0)): ForkKilled,
                executor.submit(os._exit, 1): ForkExited,
                executor.submit(time.sleep, 1000): ForkTimeout,
                executor.submit(lambda: bytearray(1 << 30)): ForkMemoryExceeded,
                executor.submit(lambda: sys.stdin): ResultNotPicklable,
                executor.submit(sys.exit): ForkExited,
            }
            good += [executor.submit(lambda i=i: i) for i in range(5)]
            assert [future.result() for future in good] == [*range(5)] * 2
            for future, expected in bad.items():
                assert type(future.exception()) is expected
    """)


def test_run_in_executor(passes: Passes) -> None:
    passes("""
        async def main():
            loop = asyncio.get_running_loop()
            with ForkExecutor(2) as executor:
                calls = [loop.run_in_executor(executor, pow, i, 2) for i in range(10)]
                assert await asyncio.gather(*calls) == [i * i for i in range(10)]
                try:
                    await loop.run_in_executor(executor, lambda: ctypes.string_at(0))
                except ForkKilled:
                    pass
                nested = await loop.run_in_executor(executor, lambda: asyncio.run(other()))
                assert nested == "other"

        async def other():
            await asyncio.sleep(0)
            return "other"

        asyncio.run(main())
    """)


def test_submitted_in_threads_that_end(passes: Passes) -> None:
    passes(
        """
        gate = Gate()
        futures = []
        with ForkExecutor(2) as executor:
            for _ in range(4):
                thread = threading.Thread(
                    target=lambda: futures.append(executor.submit(lambda: (gate.wait(), 5)[1]))
                )
                thread.start()
                thread.join()  # its forks must not end with it
            for _ in range(4):
                gate.open()
            assert [future.result() for future in futures] == [5] * 4
    """,
        options=["-W", "error"],
    )


def test_callbacks_may_submit_and_take_locks(passes: Passes) -> None:
    passes("""
        results = []
        lock = threading.Lock()
        executor = ForkExecutor(1)
        inside, submitting = threading.Event(), threading.Event()

        def again(future):
            results.append(future.result())
            if future.result() < 3:
                executor.submit(int, future.result() + 1).add_done_callback(again)

        def takes_lock(future):
            inside.set()
            with lock:  # held by the thread that submits
                results.append("locked")

        def submits():
            with lock:
                executor.submit(int).add_done_callback(takes_lock)
                inside.wait()
                submitting.set()
                results.append(executor.submit(int, 9))

        def fails(future):
            raise SystemExit("in a callback")

        executor.submit(int).add_done_callback(again)
        thread = threading.Thread(target=submits)
        thread.start()
        thread.join()
        executor.submit(int).add_done_callback(fails)
        results.append(executor.submit(int, 10))
        while len([r for r in results if type(r) is int]) < 4:
            wait([executor.submit(int)])
        executor.shutdown()
        assert [r for r in results if type(r) is int] == [0, 1, 2, 3]
        assert "locked" in results
        assert sorted(f.result() for f in results if hasattr(f, "result")) == [9, 10]
    """)


def test_an_inherited_executor_begins_afresh(passes: Passes) -> None:
    passes("""
        gate = Gate()
        executor = ForkExecutor(1)
        done = executor.submit(lambda: "done")
        done.result()
        running, queued = executor.submit(gate.wait), executor.submit(int)
        pid = os.getpid()

        def in_fork():
            assert done.result() == "done"
            for future in (running, queued):
                error = future.exception()
                assert type(error) is ForkError and error.pid == pid, error
                assert f"belongs to process {pid}" in str(error)
                assert future.done() and not future.cancel()
            assert set(as_completed([running, queued])) == {running, queued}
            assert wait([running, queued]).not_done == set()
            assert executor.submit(lambda: 5).result() == 5
            assert list(executor.map(int, "123")) == [1, 2, 3]
            executor.shutdown()
            assert not [fd for fd in os.listdir("/proc/self/fd") if
                        "pidfd" in os.path.realpath(f"/proc/self/fd/{fd}")]
            return True

        assert fork_call(in_fork)
        if (child := os.fork()) == 0:
            os._exit(0 if in_fork() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        nested = executor.submit(lambda: executor.submit(int, 7).result())
        gate.open()
        assert nested.result() == 7 and running.exception() is None and queued.result() == 0
        executor.shutdown()
    """)


def test_idle_an_executor_has_nothing(passes: Passes) -> None:
    passes("""
        executor = ForkExecutor(4)
        executor.submit(int).result()
        for thread in threading.enumerate()[1:]:
            thread.join()
        gc.collect()
        before = belongings()
        for _ in range(25):
            wait([executor.submit(lambda: bytes(300_000)) for _ in range(4)])
        for thread in threading.enumerate()[1:]:
            thread.join()
        assert belongings() == before
        assert len(before[1]) == 1
    """)


def test_the_interpreter_waits_for_what_is_pending(python: Callable[..., Result]) -> None:
    result = python("""
        import os, threading
        from snapshot import ForkExecutor

        executor = ForkExecutor(1)
        reader, writer = os.pipe()
        running = executor.submit(os.read, reader, 1)
        queued = executor.submit(int)
        running.add_done_callback(lambda future: print("running", future.result()))
        queued.add_done_callback(lambda future: print("queued", repr(future.exception())))

        def late():
            threading.main_thread().join()
            try:
                executor.submit(int)
            except RuntimeError as error:
                print(error)
            os.write(writer, b"!")

        threading.Thread(target=late).start()
        print("end")
    """)
    assert result.code == 0, result
    end, refused, running, queued = result.stdout.splitlines()
    assert end == "end"
    assert refused == "cannot schedule new futures after interpreter shutdown"
    assert running == "running b'!'"
    if (3, 12, 0) <= sys.version_info < (3, 12, 2):
        reason = "can't fork at interpreter shutdown; nothing was forked"
        assert reason in queued
        assert result.stderr.startswith("snapshot: cannot fork ")
        assert reason in result.stderr
    else:
        assert (queued, result.stderr) == ("queued None", "")


def test_ctrl_c_in_the_block_of_an_executor_kills_its_forks(start: Callable[..., Program]) -> None:
    program = start(
        PRELUDE
        + textwrap.dedent("""
        gate = Gate()

        def sleeps():
            print("sleeping", flush=True)
            time.sleep(1000)

        try:
            with ForkExecutor(1) as executor:
                futures = [executor.submit(sleeps) for _ in range(3)]
                print("waiting", flush=True)
                futures[0].result()
        except KeyboardInterrupt:
            print(type(futures[0].exception()).__name__, futures[1].cancelled())
        belongings()
        assert gate.all_gone()
        """)
    )
    program.wait_for("sleeping\n")
    program.wait_for("waiting\n")
    program.kill(signal.SIGINT)
    result = program.finish()
    assert result.code == 0, result
    assert result.stdout.endswith("ForkKilled True\n")


def test_random_in_an_executor(passes: Passes) -> None:
    passes("""
        import numpy

        def draw(_=None):
            return random.random(), numpy.random.random()

        with ForkExecutor(2) as executor:
            drawn = [*executor.map(draw, range(4)), draw()]
            assert len({a for a, _ in drawn}) == len({b for _, b in drawn}) == 5
        with ForkExecutor(2, reseed=False) as executor:
            drawn = [*executor.map(draw, range(4)), draw()]
            assert len(set(drawn)) == 1
    """)


def test_context_variables_are_those_of_submit(passes: Passes) -> None:
    passes("""
        variable = contextvars.ContextVar("variable", default=0)
        gate = Gate()
        with ForkExecutor(1) as executor:
            first = executor.submit(gate.wait)
            variable.set(1)
            queued = executor.submit(variable.get)
            variable.set(2)
            gate.open()
            assert queued.result() == 1
            assert executor.submit(lambda: (variable.set(5), variable.get())[1]).result() == 5
            assert variable.get() == 2
    """)


def test_where_no_fork_is_possible_the_future_says_so(passes: Passes) -> None:
    passes("""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        gate = Gate()
        with ForkExecutor(3) as executor:
            first = executor.submit(gate.wait)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            second = executor.submit(int)
            third = executor.submit(int)
            assert type(second.exception()) is type(third.exception()) is CannotFork
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            gate.open()
            assert first.result() is None and executor.submit(int).result() == 0
    """)
