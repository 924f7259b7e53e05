"""Calls that can be gone back to: `@rewindable`, `rewind()`, `snapshot run --rewindable`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable

import pytest

from snapshot import rewindable
from snapshot.errors import UsageError
from tests.debugging import Debugging
from tests.processes import Program, Result, wait_gone
from tests.terminal import Terminal

Start = Callable[..., Debugging]
Python = Callable[..., Result]


@pytest.fixture
def debug(open_terminal: Callable[..., Terminal]) -> Start:
    """Starts a source by a command, by default `python p.py`, up to the first prompt."""

    def started(source: str, command: str = "python p.py") -> Debugging:
        return Opened(open_terminal(rows=50, columns=160), source, command=command)

    return started


class Opened(Debugging):
    """After an exception that is not caught, the debugger is wanted."""

    def _typed(self, command: str) -> str:
        self.terminal.line(command)
        if command.startswith("snapshot run"):
            self.terminal.wait_for("[Y/n] ", since=self.terminal.typed_at)
            self.terminal.line("y")
        return self.wait()


SHARE = """
from snapshot import rewind, rewindable

@rewindable
def share(total, people):
    count = len(people)
    people.clear()
    return total / (count - 2)

def main():
    print("begins")
    try:
        share(12, ["a", "b", "c"])
        share(12, ["a", "b"])
    except ZeroDivisionError as error:
        print("caught", error)
        rewind()
        print("and on")

main()
"""


def answers(result: Result) -> list[str]:
    """What a program under the debugger, with its commands on a pipe, has shown at each prompt."""
    return [each.strip() for each in re.split(r"\(Pdb[ \d]*\)", result.stdout)[1:]]


# At the prompt.


def test_the_call_is_stood_in_as_it_began(debug: Start) -> None:
    it = debug(SHARE)
    assert (it.line, it.function) == (5, "share")
    assert it.say("p total, people") == "(12, ['a', 'b'])"
    assert it.lines("n", "n") == [6, 7]
    assert it.say("p people") == "[]"
    assert "people: ['a', 'b'] → []" in it.say("last people")
    assert it.lines("rn") == [5]
    assert it.say("rs", "rs").startswith("*** this is the beginning")
    it.say("b 7", "c")
    assert (it.line, it.say("p count")) == (7, "2")
    assert it.lines("rn") == [6]
    assert "snapshot: back at 0 (p.py:16 main); the experiment reverted" in it.say("revert")
    assert it.shown.splitlines()[-1] == "and on"
    assert it.terminal.run("echo $?") == "0"
    it.terminal.vacated()
    assert it.terminal.transcript().count("begins") == 1


def test_the_rest_of_the_program_runs_in_the_experiment(debug: Start) -> None:
    it = debug(SHARE.replace("people.clear()", "people.clear(); print('cleared')"))
    it.say("people.append('d')", "c")
    assert it.shown.splitlines()[1:3] == [
        "cleared",
        "The program has ended. Its past is there (rs, back, goto), q quits.",
    ]
    assert "the experiment exited with code 0" in it.say("q")
    assert it.shown.splitlines()[-1] == "and on"
    assert it.terminal.transcript().count("caught division by zero") == 1


def test_it_is_gone_back_to_as_often_as_one_likes(debug: Start) -> None:
    it = debug(SHARE.replace("rewind()", "rewind(); rewind('share'); rewind(2)"))
    for _ in range(3):
        assert it.say("p people.pop(), people") == "('b', ['a'])"
        it.say("q")
    assert it.shown.splitlines()[-1] == "and on"


def test_it_cannot_be_kept(debug: Start) -> None:
    it = debug(SHARE)
    assert re.match(r"\*\*\* keep\(\): process \d+ goes on from a call", it.say("keep"))
    assert it.say("p people") == "['a', 'b']"


POST_MORTEM = """
import sys

class Shop:
    def __init__(self):
        self.stock = {"apple": 2, "pear": 1}

    def sell(self, name):
        left = self.stock.pop(name)
        return 1 / (left - 1)

def fact(n):
    return n and fact(n - 1)

def day(shop, names):
    for name in names:
        shop.sell(name)

def main():
    fact(20)
    day(Shop(), ["apple", "pear"])

print("begins")
main()
"""


def test_a_post_mortem_goes_back_and_forth(debug: Start) -> None:
    it = debug(POST_MORTEM, "snapshot run --rewindable __main__ p.py")
    assert (it.line, it.function) == (9, "sell")
    rows = [re.split("  +", each) for each in it.say("rewind").splitlines()]
    assert [each[1] for each in rows[1:]] == ["p.py:19 main", "p.py:15 day", "p.py:8 Shop.sell"]
    assert {each[3] for each in rows[1:]} == {"ZeroDivisionError"}
    it.say("rewind sell")
    assert (it.line, it.say("p self.stock")) == (8, "{'pear': 1}")
    assert it.lines("n") == [9]
    assert "The program was ended by ZeroDivisionError" in it.say("c")
    assert "debug it there" not in it.shown
    assert it.say("goto 1", "p self.stock") == "{'pear': 1}"
    assert "snapshot: back at 1 (p.py:9 sell)" in it.say("q")
    it.say("rewind day")
    assert (it.line, it.say("p shop.stock")) == (15, "{'apple': 2, 'pear': 1}")
    assert "snapshot: back at 1 (p.py:9 sell); the experiment reverted" in it.say("q")
    it.say("rewind sell", "n", "rewind day")
    assert (it.line, it.say("p shop.stock")) == (15, "{'apple': 2, 'pear': 1}")
    assert "snapshot: back at 2 (p.py:9 sell)" in it.say("q")
    assert it.lines("rn") == [8]
    it.say("q")
    told = "*** rewind nothing: there is no such call; there is "
    assert it.say("rewind nothing").startswith(told + rows[1][0])
    it.terminal.line("q")
    it.terminal.wait_for("[y/N] ", since=it.terminal.typed_at)
    it.terminal.line("n")
    it.terminal.prompt()
    assert it.terminal.run("echo $?") == "1"
    assert it.terminal.transcript().count("begins") == 1
    it.terminal.vacated()


def test_the_program_can_also_be_run_again(debug: Start) -> None:
    it = debug(
        """
        import time
        from snapshot import rewindable

        passwords = open("/etc/passwd")

        @rewindable
        def share(people):
            begun = time.time_ns()
            line = passwords.readline()
            people.clear()
            return begun / len(people)

        for count in (0, 1):
            try:
                share([count])
            except ZeroDivisionError:
                if count:
                    raise
        """,
        "snapshot run p.py",
    )
    begun = it.say("p begun, line")
    it.say("rewind share")
    assert (it.line, it.say("p people")) == (8, "[1]")
    assert it.lines("n", "rn") == [9, 8]
    assert "snapshot: back at 1" in it.say("q")
    it.say("rn")
    assert "the program runs again" in it.shown
    assert it.say("p begun, line") == begun
    assert it.lines("rn", "rn") == [10, 9]
    assert it.say("rewind").startswith("no call can be gone back to")


def test_where_nothing_was_kept_the_command_says_so(debug: Start) -> None:
    it = debug("1 / 0\n", "snapshot run p.py")
    assert it.say("rewind").startswith("no call can be gone back to: @rewindable")
    assert it.say("rewind 3").startswith("*** rewind 3: no call can be gone back to")


def test_in_a_test_of_pytest(debug: Start) -> None:
    it = debug(
        """
        from snapshot import rewindable

        @rewindable
        def share(total, people):
            count = len(people)
            people.clear()
            print("shared by", count)
            return total / (count - 2)

        def test_share():
            share(12, ["a", "b"])
        """,
        "python -m pytest -q -p no:cacheprovider --pdb --pdbcls=snapshot.debugger:Pdb p.py",
    )
    assert it.shown.count("shared by 2") == 1
    it.say("rewind share")
    assert (it.line, it.say("p people")) == (5, "['a', 'b']")
    assert "shared by 2" in it.say("n", "n", "n")
    assert it.lines("rn") == [7]
    assert "The program was ended by ZeroDivisionError" in it.say("c")
    assert "snapshot: back at 0 (p.py:8 share)" in it.say("q")
    assert "1 failed" in it.say("q")
    assert "written to" not in it.terminal.transcript()
    assert it.terminal.transcript().count("Captured stdout") == 0
    it.terminal.vacated()


def test_a_breakpoint_in_a_call_that_is_under_way(debug: Start) -> None:
    it = debug(
        SHARE.replace("people.clear()", "people.clear(); import snapshot; snapshot.set_trace()")
    )
    assert it.line == 6
    it.say("revert")
    assert re.search(r"1 +p.py:5 share .* \(under way\)", it.say("rewind"))
    it.say("rewind share")
    assert (it.line, it.say("p people")) == (5, "['a', 'b', 'c']")
    it.say("q")
    assert it.say("p people") == "[]"


def test_under_the_debugger_the_past_is_kept_anyway(debug: Start) -> None:
    it = debug(SHARE.replace("rewind()", "pass"), "snapshot debug p.py")
    it.say("b 16", "c")
    assert it.line == 16
    assert it.say("rewind").startswith("no call can be gone back to")


# Arguments, and kinds of functions.


def test_arguments_that_cannot_be_pickled(python: Python) -> None:
    result = python(
        """
        import socket, threading
        from snapshot import rewind, rewindable

        @rewindable
        def work(file, lock, numbers, double, connection):
            read = file.readline(), next(numbers)
            lock.release()
            connection.close()
            raise ValueError(read)

        open("lines.txt", "w").write("one\\ntwo\\nthree\\n")
        file, lock, numbers = open("lines.txt"), threading.Lock(), iter([1, 2, 3])
        one, other = socket.socketpair()
        file.readline(), lock.acquire(), next(numbers)
        try:
            work(file, lock, (each for each in numbers), lambda x: 2 * x, one)
        except ValueError as error:
            rewind()
            print("here:", error, file.readline(), lock.locked(), list(numbers), one.fileno())
        """,
        stdin="p file.readline(), next(numbers)\n"
        "p lock.locked(), double(4), connection.fileno() > 2\nq\n",
    )
    first, second, last = answers(result)
    assert first == "('two\\n', 2)"
    assert second == "(True, 8, True)"
    assert last.splitlines() == ["here: ('two\\n', 2) three", " False [3] -1"]
    assert "closed: socket" in result.stderr


KINDS = {
    "a method": """
        class Stack:
            @rewindable
            def pop(self, x):
                y = x.pop()
                raise ValueError(y)
        call = Stack().pop
        """,
    "a class method": """
        class Stack:
            @classmethod
            @rewindable
            def pop(cls, x):
                y = x.pop()
                raise ValueError(y)
        call = Stack.pop
        """,
    "a static method": """
        class Stack:
            @rewindable
            @staticmethod
            def pop(x):
                y = x.pop()
                raise ValueError(y)
        call = Stack().pop
        """,
    "a function in a function": """
        def make(number):
            @rewindable
            def pop(x):
                y = x.pop()
                raise ValueError(number)
            return pop
        call = make(3)
        """,
    "a coroutine": """
        import asyncio

        @rewindable
        async def pop(x):
            y = x.pop()
            await asyncio.sleep(0.001)
            raise ValueError(y)
        call = lambda x: asyncio.run(pop(x))
        """,
    "a generator": """
        @rewindable
        def pop(x):
            y = x.pop()
            yield 1
            raise ValueError(y)
        call = lambda x: list(pop(x))
        """,
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_functions(python: Python, kind: str) -> None:
    source = textwrap.dedent(KINDS[kind])
    result = python(
        f"""from snapshot import rewind, rewindable
{source}
try:
    call([3])
except ValueError as error:
    rewind("pop")
    print("here", error)
""",
        stdin="p x\nn\np x, y\nq\n",
    )
    shown = answers(result)
    assert (shown[0], shown[2]) == ("[3]", "([], 3)"), result
    assert shown[3] == "here 3"


def test_the_function_is_what_it_was() -> None:
    @rewindable(keep=5)
    async def wait(seconds: float = 1.0) -> None:
        """Wait."""

    assert (wait.__name__, wait.__doc__) == ("wait", "Wait.")
    assert wait.__wrapped__.__defaults__ == (1.0,)  # type: ignore[attr-defined]


@pytest.mark.parametrize("keep", [0, -1, "3", True, None])
def test_a_number_that_means_nothing_is_refused(keep: object) -> None:
    with pytest.raises(UsageError, match="keep="):
        rewindable(keep=keep)  # type: ignore[call-overload]


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(UsageError, match="written in Python"):
        rewindable(len)
    with pytest.raises(UsageError, match="asynchronous generator"):

        @rewindable
        async def numbers() -> object:
            yield 1


# How many there are, and for how long.

COUNTING = """
import gc, os, psutil, signal, sys
from snapshot import rewind, rewindable
from snapshot.core.entry import living

def forks():
    return len(psutil.Process().children())

def descriptors():
    return len(os.listdir("/proc/self/fd"))
"""


def test_a_thousand_calls_leave_nothing(python: Python) -> None:
    result = python(
        COUNTING
        + """
import asyncio, logging
loop = asyncio.new_event_loop()

@rewindable
def double(x):
    return 2 * x

double(0)
before = descriptors(), gc.get_freeze_count()
for number in range(1000):
    assert double(number) == 2 * number
print(forks(), living(), before == (descriptors(), gc.get_freeze_count()))
"""
    )
    assert result.stdout == "0 [] True\n", result


def test_a_recursion_keeps_the_outermost_call_and_the_latest(python: Python) -> None:
    result = python(
        COUNTING
        + """
@rewindable
def down(n):
    if n == 100:
        print(forks(), [each.number for each in living()])
    if n == 120:
        raise ValueError
    return down(n + 1)

try:
    down(1)
except ValueError:
    print(forks(), [each.number for each in living()])
print(forks(), living())
"""
    )
    assert result.stdout.splitlines() == ["3 [1, 99, 100]", "3 [1, 119, 120]", "0 []"], result


def test_an_exception_that_is_caught_leaves_nothing(python: Python) -> None:
    result = python(
        COUNTING
        + """
@rewindable
def fail(n):
    raise ValueError(n)

before = descriptors()
for number in range(20):
    try:
        fail(number)
    except ValueError:
        assert forks() == 1
print(forks(), living(), descriptors() == before)
errors = []
for number in range(20):
    try:
        fail(number)
    except ValueError as error:
        errors.append(error)
print(forks(), [each.number for each in living()])
errors.pop()
print(forks())
errors.clear()
print(forks(), descriptors() == before)
"""
    )
    assert result.stdout.splitlines() == ["0 [] True", "3 [38, 39, 40]", "2", "0 True"], result


def test_an_exception_that_another_one_came_of_is_there_still(python: Python) -> None:
    result = python(
        COUNTING
        + """
import pickle

@rewindable
def fail(x):
    x.clear()
    raise ValueError("inner")

try:
    try:
        fail([1])
    except ValueError as error:
        raise KeyError("outer") from error
except KeyError as error:
    copy = pickle.loads(pickle.dumps(error.__cause__))
    print(repr(copy), forks())
    rewind()
""",
        stdin="p x\nq\n",
    )
    assert result.stdout.startswith("ValueError('inner') 1\n"), result
    assert answers(result)[0] == "[1]"


def test_a_fork_of_the_program_ends_none(python: Python) -> None:
    result = python(
        COUNTING
        + """
@rewindable
def fail(x):
    x.clear()
    raise ValueError

try:
    fail([1])
except ValueError as error:
    if os.fork() == 0:
        error.__dict__.clear()
        assert not living()
        sys.stdin.close()
        os._exit(0)
    print(os.wait()[1], forks())
    rewind()
""",
        stdin="p x\nq\n",
    )
    assert result.stdout.startswith("0 1\n"), result
    assert answers(result)[0] == "[1]"


def test_a_fork_that_somebody_has_killed_is_gone_from_the_list(python: Python) -> None:
    result = python(
        COUNTING
        + """
from snapshot.errors import SnapshotError

@rewindable
def fail():
    raise ValueError

before = descriptors()
try:
    fail()
except ValueError:
    psutil.Process().children()[0].kill()
    for _ in range(2):
        try:
            rewind()
        except SnapshotError as error:
            print(error)
print(forks(), descriptors() == before)
"""
    )
    first, second, left = result.stdout.splitlines()
    told = r"call 1 \(program.py:\d+ fail\) cannot be gone back to any more: its process has ended"
    assert re.fullmatch(told, first)
    assert second.startswith("rewind(): no call can be gone back to")
    assert left == "0 True"


def test_where_the_system_refuses_to_fork_the_call_goes_on(python: Python) -> None:
    result = python(
        COUNTING
        + """
import resource

@rewindable
def double(x):
    return 2 * x

before = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() - 1, before[1]))
print(double(1), double(2))
resource.setrlimit(resource.RLIMIT_NOFILE, before)
print(double(3), forks())
"""
    )
    assert result.stdout == "2 4\n6 0\n", result
    (line,) = result.stderr.splitlines()
    assert line.startswith("snapshot: some calls cannot be gone back to: cannot fork")


# What the program does not notice.


def test_the_program_does_not_see_the_forks(python: Python) -> None:
    result = python(
        COUNTING
        + """
import multiprocessing, subprocess

signals = []
signal.signal(signal.SIGCHLD, lambda *_: signals.append(forks()))

@rewindable
def work():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("no child", len(signals))
    if (pid := os.fork()) == 0:
        os._exit(3)
    print(os.wait() == (pid, 3 << 8), len(signals))
    print(subprocess.run(["true"]).returncode, multiprocessing.active_children())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(abs, [-1, 2]))

@rewindable
def nothing():
    pass

nothing()
print("after a call", len(signals))
work()
signals.clear()
for _ in range(10):
    nothing()
print(len(signals), forks())
"""
    )
    assert result.stdout.splitlines() == [
        *("after a call 0", "no child 0", "True 1", "0 []", "[1, 2]", "0 0")
    ], result


def test_a_thread_that_runs_is_no_hindrance(python: Python) -> None:
    result = python(
        COUNTING
        + """
import threading

done = False
def run():
    while not done:
        pass

@rewindable
def fail(x):
    x.clear()
    raise ValueError

threading.Thread(target=run, name="runner").start()
for number in range(5):
    try:
        fail([number])
    except ValueError as error:
        last = error
try:
    os.wait()
except ChildProcessError:
    print("no child")
rewind()
print(len(living()))
done = True
""",
        stdin="p x, threading.active_count()\nq\n",
    )
    assert result.stdout.startswith("no child\n"), result
    assert answers(result)[0] == "([4], 1)"
    assert answers(result)[-1] == "1"
    assert "without the threads 'runner'" in result.stderr


def test_calls_in_several_threads(python: Python) -> None:
    result = python(
        COUNTING
        + """
from concurrent.futures import ThreadPoolExecutor

@rewindable
def share(x):
    if x == 7:
        raise ValueError(x)
    return x

with ThreadPoolExecutor(3) as pool:
    futures = [pool.submit(share, number) for number in range(20)]
print(sum(each.result() for each in futures if not each.exception()))
print([each.where.function for each in living()])
futures.clear()
del pool
gc.collect()
print(forks(), living())
"""
    )
    assert result.stdout.splitlines() == ["183", "['share']", "0 []"], result


def test_threads_that_call_and_open_and_close_files_all_the_time(python: Python) -> None:
    result = python(
        COUNTING
        + """
import threading, time

program = os.getpid()

@rewindable
def share(x):
    if os.getpid() != program:
        os.write(2, b"a fork goes on as the program\\n")
        os._exit(1)
    return 1 / x

def call():
    for number in range(20):
        try:
            share(number % 2)
        except ZeroDivisionError:
            pass

done = False
def open_and_close():
    while not done:
        for each in [os.open("/dev/null", 0), *os.pipe(), *os.pipe()]:
            os.close(each)

share(1)
before = descriptors()
other = threading.Thread(target=open_and_close)
callers = [threading.Thread(target=call) for _ in range(6)]
for each in [other, *callers]:
    each.start()
for each in callers:
    each.join()
done = True
other.join()
gc.collect()
print(forks(), living(), descriptors() == before)
"""
    )
    assert (result.stdout, result.stderr) == ("0 [] True\n", "")


def test_a_worker_of_a_pool_is_gone_back_to(debug: Start) -> None:
    it = debug(
        """
        import asyncio
        from snapshot import rewind, rewindable

        @rewindable
        def share(x):
            y = x.pop()
            return 1 / y

        async def main():
            try:
                await asyncio.to_thread(share, [0])
            except ZeroDivisionError:
                rewind()
            print("and on")

        asyncio.run(main())
        """
    )
    assert "as it was at 0: without the threads 'MainThread'" in it.shown
    assert "closed:" not in it.shown  # the loop has a self-pipe of its own
    assert (it.line, it.say("p x")) == (6, "[0]")
    assert it.lines("n", "n", "rn") == [7, 7, 7]
    assert "The program has ended" in it.say("c")  # as far as it is in that thread
    assert it.say("q").splitlines()[-1] == "and on"


def test_an_entry_holds_no_pipe_of_the_programs(python: Python) -> None:
    result = python(
        COUNTING
        + """
@rewindable
def fail():
    raise ValueError

readable, writable = os.pipe()
try:
    fail()
except ValueError as error:
    os.close(writable)
    print(os.read(readable, 1), forks())
"""
    )
    assert result.stdout == "b'' 1\n", result


def test_bytes_are_written_once_and_exit_handlers_run_once(python: Python) -> None:
    result = python(
        COUNTING
        + """
import atexit

atexit.register(lambda: print("at exit", file=sys.stderr))
log = open("log.txt", "w")
log.write("buffered\\n")
sys.stdout.write("also buffered\\n")

@rewindable
def fail():
    log.write("in the call\\n")
    raise ValueError

try:
    fail()
except ValueError:
    rewind()
log.close()
print(open("log.txt").read())
""",
        stdin="until 99\nq\n",
    )
    assert result.stdout.count("buffered") == 2, result
    assert result.stdout.endswith(" buffered\nin the call\nin the call\n\n")
    assert result.stderr.count("at exit") == 1


@pytest.mark.parametrize("under_way", [True, False])
def test_the_forks_die_with_the_program(start: Callable[..., Program], under_way: bool) -> None:
    wait = "print('waits', flush=True); sys.stdin.read()"
    program = start(
        COUNTING
        + f"""
@rewindable
def call(deep):
    if deep:
        call(deep - 1)
    {wait if under_way else "raise ValueError"}

try:
    call(2)
except ValueError:
    {wait}
"""
    )
    program.wait_for("waits")
    members = program.members()
    assert len(members) == 4
    program.kill()
    wait_gone(members)


def test_an_experiment_dies_with_the_program(start: Callable[..., Program]) -> None:
    program = start(SHARE, stdin="n\n")
    program.wait_for("(Pdb 3)")
    members = program.members()
    program.kill()
    wait_gone(members)


def test_without_a_call_there_is_nothing_to_go_back_to(python: Python) -> None:
    result = python("import snapshot\nsnapshot.rewind()\n")
    assert "DebuggerError: rewind(): no call can be gone back to: @rewindable" in result.stderr


# By their names.


SHOP = """
import psutil

def forks():
    return len(psutil.Process().children())

class Till:
    def add(self, n):
        return forks(), 1 / n

def numbers():
    yield forks()
    yield forks()
"""

MAIN = """
import shop

def main():
    print(shop.Till().add(1)[0], list(shop.numbers()), shop.forks())
    try:
        shop.Till().add(0)
    except ZeroDivisionError as error:
        print(shop.forks())
    print(shop.forks())

main()
"""


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ("--rewindable shop:Till.* --rewindable shop.numbers", ["1 [1, 1] 0", "1", "0"]),
        ("--rewindable shop:Till.* --rewindable __main__", ["2 [1, 1] 1", "2", "1"]),
        ("--rewindable __main__ --rewindable shop:Till.* --keep 1", ["1 [0, 0] 0", "1", "0"]),
        (
            "--rewindable nothing.* --rewindable shop:Till.* --rewindable shop:til*",
            [
                *("1 [0, 0] 0", "1", "0"),
                "snapshot: --rewindable 'nothing.*': no function of that name was called",
                "snapshot: --rewindable 'shop:til*': no function of that name was called",
            ],
        ),
    ],
)
def test_functions_are_found_by_patterns(
    terminal: Terminal, options: str, shown: list[str]
) -> None:
    (terminal.directory / "shop.py").write_text(SHOP)
    (terminal.directory / "p.py").write_text(MAIN)
    assert terminal.run(f"set -f; snapshot run {options} p.py").splitlines() == shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--keep 1", "--keep says of how many calls: give --rewindable, too"),
        ("--rewindable shop --keep 0", "keep=0: how many calls can be gone back to, at least 1"),
        ("--rewindable ''", "--rewindable=['']: give names of functions"),
    ],
)
def test_options_that_mean_nothing_are_refused(terminal: Terminal, options: str, told: str) -> None:
    (terminal.directory / "p.py").write_text("print('runs')\n")
    shown = terminal.run(f"snapshot run {options} p.py")
    assert shown.startswith(f"snapshot run: {told}")
    assert terminal.run("echo $?") == "2"


def test_a_generator_that_is_thrown_into_and_goes_on(terminal: Terminal) -> None:
    (terminal.directory / "p.py").write_text(
        """
import psutil

def forks():
    return len(psutil.Process().children())

def numbers():
    while True:
        try:
            yield 1
        except KeyError:
            yield 2

one = numbers()
next(one)
print(forks(), one.throw(KeyError()), next(one), forks())
one.close()
print(forks())
two = numbers()
next(two)
try:
    two.throw(ValueError())
except ValueError as error:
    print(forks())
print(forks())
"""
    )
    shown = terminal.run("snapshot run --rewindable __main__.numbers p.py")
    assert shown.splitlines() == ["1 2 1 1", "0", "1", "0"]
