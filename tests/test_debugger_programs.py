"""Real programs under the debugger, on a real terminal: they go on as they do without it, and back
to what they were."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import shutil
import sqlite3
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from snapshot.core.threads import call_of
from tests.debugging import Debugging
from tests.libraries import require
from tests.packages import sources_of
from tests.terminal import Terminal

Start = Callable[..., Debugging]

PACKAGE = "click==8.1.7"
HEAVY = ("test_recursion.py", "test_unicode.py")  # nearly all that happens in the tests

traced = pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="sys.settrace holds on to what a frame held, and gives up where the stack is full",
)


@pytest.fixture
def debug(open_terminal: Callable[..., Terminal]) -> Start:
    """Starts the debugger on a source; or by a command, in the test's own directory."""

    def started(source: str = "", options: str = "", command: str = "") -> Debugging:
        return Debugging(open_terminal(rows=60, columns=160), source, options, command)

    return started


def number_of(path: Path, text: str) -> int:
    """The number of the only line of a file that has the text."""
    (number,) = (n for n, line in enumerate(path.read_text().split("\n"), 1) if text in line)
    return number


# Python's own library.


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy of Python's `json`, with its tests, as somebody has it who works on it."""
    spec = importlib.util.find_spec("test.test_json") if importlib.util.find_spec("test") else None
    if spec is None or spec.origin is None:
        pytest.skip("this Python was installed without its tests")
    tests = Path(spec.origin).parent
    without = shutil.ignore_patterns("__pycache__")
    for folder in (tests, tests.parent / "support"):
        shutil.copytree(folder, tmp_path / "test" / folder.name, ignore=without)
    shutil.copy(tests.parent / "__init__.py", tmp_path / "test")
    for name in HEAVY:
        (tmp_path / "test/test_json" / name).unlink()
    shutil.copytree(Path(json.__file__).parent, tmp_path / "json", ignore=without)
    return tmp_path


def test_a_test_of_json(debug: Start, library: Path) -> None:
    path = library / "test/test_json/test_decode.py"
    begins = number_of(path, "def test_float")
    it = debug(command="snapshot debug -m unittest -q test.test_json.test_decode.TestPyDecode")
    it.say(f"b {path}:{begins + 3}", "c")
    assert (it.function, it.line) == ("test_float", begins + 3)
    stop = it.position
    assert it.say("p rval") == "1.0"
    assert it.lines("rn", "rn") == [begins + 2, begins + 1]
    assert it.lines(f"goto {stop}", "last rval") == [begins + 3, begins + 1]
    assert "rval: (not there) → 1.0" in it.shown
    it.say("s")
    assert it.shown.startswith("--Call--")
    assert it.function == "loads"
    assert it.lines("rr", f"goto {stop}") == [begins + 1, begins + 3]
    assert "no breakpoint was hit before: this is the beginning" in it.say("rc")
    it.say(f"goto {stop}", "cl 1")
    assert "\nOK\n" in it.say("c")
    assert it.quit() == 0


@traced
def test_all_tests_of_json(debug: Start, library: Path) -> None:
    it = debug(command="snapshot debug -m unittest -q test.test_json")
    shown = it.say("c")
    assert re.search("^Ran 1[0-9]{2} tests in ", shown, re.M)
    assert re.search("^OK", shown, re.M)
    assert "The program was ended by SystemExit: 0." in shown
    end = it.position
    it.say("rs")
    assert (it.function, it.position) == ("<module>", end - 1)  # of `unittest/__main__.py`
    while not it.function.startswith("test_"):
        it.say("rs")
    assert it.shown.startswith("--Return--")
    function, line = it.function, it.line
    it.say("rn")
    assert (it.function, it.line, it.is_line) == (function, line, True)
    it.say("back", "forward")
    assert (it.function, it.line) == (function, line)
    it.say("branch 1")
    assert it.position == end
    assert it.quit() == 0


def test_installed_code_and_the_processes_that_it_starts(debug: Start, library: Path) -> None:
    tests = "test.test_json.test_tool.TestTool.test_infile_outfile test.test_json.test_dump"
    it = debug(command=f"cd / && snapshot debug --libraries -m unittest -q {tests}")
    assert re.search("^OK", it.say("c"), re.M)
    it.say("rs")
    assert it.shown.startswith("--Return--")
    called = it.line
    assert it.lines("rn") == [called]  # the only line of a frame in which all else was called
    assert (it.function, it.is_line) == ("<module>", True)
    it.say("s")
    assert it.shown.startswith("--Call--")
    assert it.quit() == 0


# Other people's packages, under pytest.


@pytest.fixture
def click(tmp_path: Path) -> Path:
    """The sources of click with its tests, as the registry has them."""
    return sources_of(PACKAGE, tmp_path)


def test_a_failing_test_of_a_package(debug: Start, click: Path) -> None:
    path = click / "src/click/formatting.py"
    right = "first_col = min(widths[0], col_max) + col_spacing"
    number = number_of(path, right)
    path.write_text(path.read_text().replace(right, "first_col = min(widths[0], col_max)"))
    test = "tests/test_formatting.py::test_basic_functionality"
    it = debug(
        command=f"cd {click} && PYTHONPATH=src snapshot debug -m pytest -p no:cacheprovider {test}"
    )
    it.say(f"b {path}:{number + 2}", "c")
    assert (it.function, it.line) == ("write_dl", number + 2)
    stop = it.position
    it.say("cl 1")
    shown = it.say("c")
    assert len(re.findall("^E +Left contains one more item", shown, re.M)) == 1
    assert "1 failed in" in shown
    assert "The program was ended by SystemExit: 1." in shown
    assert it.lines("back") == [number + 2]
    assert it.say("p first_col, col_spacing") == "(6, 2)"
    assert it.lines("last first_col") == [number]
    assert "first_col: (not there) → 6" in it.shown
    it.say("last rows")
    assert it.function == "format_options"
    assert it.lines(f"goto {stop}") == [number + 2]
    it.say("first_col += col_spacing")
    shown = it.say("c")
    assert "branch 2 begins at" in shown
    assert "1 passed in" in shown
    assert "The program was ended by SystemExit: 0." in shown
    it.say("branch 1", "rs")
    assert it.quit() == 0


CAPTURED = """
def test_one():
    first = 1
    print("hello")
    second = first + 1
    assert second == 3

def test_two(capfd):
    print("two")
    assert capfd.readouterr().out == "two\\n"
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_what_pytest_captures(debug: Start, capture: str) -> None:
    it = debug(
        CAPTURED,
        command=f"snapshot debug -m pytest -q -p no:cacheprovider --capture={capture} p.py",
    )
    it.say("b p.py:3", "c")
    assert it.lines("n", "n") == [4, 5]
    assert it.lines("rs", "rs", "last first") == [4, 3, 2]
    shown = it.say("cl 1", "c")
    assert shown.count("assert 2 == 3") == 1 + shown.count("- assert 2 == 3")
    assert shown.count("Captured stdout call") == (capture != "no")
    assert "1 failed, 1 passed in" in shown
    assert it.lines("back 3") == [3]
    assert it.say("p first") == "1"
    it.say("first = 2")
    shown = it.say("c")
    assert "2 passed in" in shown
    assert shown.startswith("branch 2 begins at")
    assert it.quit() == 0


# Flask.

ORDERS = """
import sys

from flask import Flask, request

app = Flask(__name__)
orders = {}


@app.post("/order/<name>")
def order(name):
    count = int(request.form["count"])
    total = orders.get(name, 0)
    for _ in range(count):
        total += 1
    orders[name] = total
    return {"name": name, "total": total}


if len(sys.argv) > 1:
    app.run(port=int(sys.argv[1]), threaded=False)
else:
    client = app.test_client()
    for count in (2, 3):
        print(client.post("/order/apple", data={"count": count}).json)
"""


def test_requests_of_a_test_client(debug: Start) -> None:
    require("flask")
    it = debug(ORDERS)
    it.say("b order", "c")
    assert (it.function, it.line) == ("order", 11)
    assert it.lines("n", "n", "n", "n", "rs", "rn") == [12, 13, 14, 13, 14, 13]
    assert it.lines("last total", "last name") == [12, 24]
    assert "name: (not there) → 'apple'" in it.shown
    it.say("cl 1")
    shown = it.say("c")
    assert shown.count("{'name': 'apple', 'total': 2}") == 1
    assert shown.count("{'name': 'apple', 'total': 5}") == 1
    assert it.lines("last orders", "last total") == [15, 14]
    assert "total: 4 → 5" in it.shown
    assert it.say("p name, count, total") == "('apple', 3, 4)"
    assert it.quit() == 0


def test_requests_from_outside(debug: Start) -> None:
    require("flask")

    def post(count: int) -> bytes:
        url = f"{server}/order/apple"
        with urllib.request.urlopen(url, data=b"count=%d" % count, timeout=60) as answer:
            return bytes(answer.read())

    it = debug(ORDERS, command="snapshot debug p.py 0")
    it.say("b order")
    it.terminal.line("c")
    started = r"Running on (http://[\d.:]+)\n"
    server = it.terminal.wait_for(re.compile(started), since=it.terminal.typed_at)[1]
    with ThreadPoolExecutor() as pool:
        first: Future[bytes] = pool.submit(post, 2)
        it.wait()
        assert (it.function, it.line) == ("order", 11)
        assert it.lines("n", "n", "n", "n", "rs", "rn") == [12, 13, 14, 13, 14, 13]
        assert it.lines("last total", "rr") == [12, 20]
        assert not first.done()
        it.say("branch 1")
        it.terminal.line("c")
        assert json.loads(first.result(60)) == {"name": "apple", "total": 2}
        second = pool.submit(post, 3)
        it.wait()
        assert (it.function, it.line) == ("order", 11)
        assert it.lines("last orders", "rs", "branch 1", "n", "n") == [15, 13, 11, 12, 13]
        assert it.say("p total") == "2"
        it.terminal.line("c")
        assert json.loads(second.result(60)) == {"name": "apple", "total": 5}
        third = pool.submit(post, 4)
        it.wait()
        assert it.lines("last orders") == [15]
        assert "orders: {'apple': 2} → {'apple': 5}" in it.shown
        assert it.quit() == 0
        assert third.exception(60) is not None


# Smaller ones, each with what a repeat could get wrong.


def test_the_output_of_another_process(debug: Start) -> None:
    it = debug(
        """
        import subprocess
        found = []
        for word in ("one", "two"):
            done = subprocess.run(["echo", word], capture_output=True, text=True)
            found.append(done.stdout)
        print(found)
        """
    )
    assert "['one\\n', 'two\\n']" in it.say("c")
    assert it.lines("last found", "rs", "last found", "last done") == [5, 4, 5, 4]
    assert it.say("p found") == "[]"
    assert it.quit() == 0


@traced
def test_when_objects_go(debug: Start) -> None:
    it = debug(
        """
        log = []
        class Thing:
            def __init__(self, name):
                self.name = name
            def __del__(self):
                log.append(self.name)
        def work():
            first = Thing("first")
            first = None
            try:
                second = Thing("second")
                raise ValueError(second)
            except ValueError:
                del second
            return len(log)
        work()
        work()
        print(log)
        """
    )
    it.say("b 8", "c")
    assert it.lines("n", "n", "n", "n", "n", "n", "n") == [9, 10, 11, 12, 12, 13, 14]
    assert it.lines("n", "rs", "rs", "rs") == [15, 6, 6, 5]
    assert it.lines("last log") == [6]
    assert "log: [] → ['first']" in it.shown
    assert it.lines("watch log ;; cl 1 ;; c", "c", "c", "c") == [6, 6, 6, 6]
    assert it.say("unwatch ;; p log") == "['first', 'second', 'first', 'second']"
    end = it.position
    assert it.lines("rr", "rc", f"goto {end}") == [14, 1, 6]
    assert it.quit() == 0


def test_cycles_go_when_they_went(debug: Start) -> None:
    it = debug(
        """
        import gc
        count = 0
        class Cycle:
            def __init__(self):
                self.me = self
            def __del__(self):
                global count
                count += 1
        for number in range(30000):
            Cycle()
        before = count
        gc.collect()
        print(count, before > 0, gc.get_threshold()[0] < 100000)
        """
    )
    assert "30000 True True" in it.say("c")
    before = int(it.say("p before"))
    assert it.lines("last count", "last before") == [8, 11]
    assert f"before: (not there) → {before}" in it.shown
    it.say("last count")  # wherever the collector ran
    assert f"→ {before}\n" in it.shown
    found = it.position, it.line
    it.say("branch 1", "last before", "last count")
    assert (it.position, it.line) == found
    assert it.quit() == 0


@traced
def test_as_deep_as_python_goes(debug: Start) -> None:
    it = debug(
        """
        def deeper(n):
            global deepest
            deepest = n
            return deeper(n + 1)
        found = []
        for _ in range(20):
            try:
                deeper(0)
            except RecursionError:
                found.append(deepest)
        print(len(set(found)))
        """
    )
    assert it.say("c").startswith("1\n")
    deepest = int(it.say("p deepest"))
    assert it.lines("last deepest", "rr", "rn") == [3, 4, 3]
    assert it.say("p n") == str(deepest - 1)
    assert it.quit() == 0


def test_a_fork_of_the_program_is_not_watched(debug: Start) -> None:
    it = debug(
        """
        import os
        def count():
            total = 0
            for number in range(30000):
                total += number
            return total
        child = os.fork()
        if not child:
            count()
            os._exit(3)
        ended = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(ended))
        """
    )
    assert it.say("b count", "c").startswith("3\n")
    assert it.lines("last ended", "rs", "rs", "n") == [11, 8, 7, 8]
    assert it.quit() == 0


def test_output_that_is_put_elsewhere(debug: Start) -> None:
    it = debug(
        """
        import contextlib, io
        total = 0
        with open("log", "w") as log, contextlib.redirect_stdout(log):
            for number in range(3000):
                print(number)
                total += number
        text = open("log").read()
        print(total, len(text))
        """
    )
    it.say("b 6, number == 2000", "c")
    assert it.line == 6
    assert it.say("p total") == str(sum(range(2000)))
    assert it.lines("n", "rs", "rs", "last total") == [4, 6, 5, 6]
    it.say("cl 1")
    assert f"{sum(range(3000))} 13890" in it.say("c")
    assert it.lines("last text", "last total") == [7, 6]
    assert (it.terminal.directory / "log").read_text().count("\n") == 3000
    assert it.quit() == 0


def test_chance_of_numpy(debug: Start) -> None:
    require("numpy")
    it = debug(
        """
        import numpy
        generator = numpy.random.default_rng()
        steps = []
        for _ in range(20):
            if generator.random() < 0.5:
                steps.append("left")
            else:
                steps.append("right")
        print(steps)
        """
    )
    it.say("c")
    taken = it.say("p steps")
    it.say("rs")
    assert it.lines("last steps") == [6 if taken.endswith("'left']") else 8]
    assert it.lines("goto 5") == [4]
    it.say("b 9")
    assert it.lines("c") == [9]
    assert it.say("p steps") == taken
    assert it.quit() == 0


def test_ctrl_c_where_the_program_waits(debug: Start) -> None:
    it = debug(
        """
        import time
        try:
            time.sleep(1000)
        except KeyboardInterrupt as error:
            found = repr(error)
        print(found)
        """
    )
    it.terminal.line("c")
    sleepers: dict[int, int] = {}  # how often each process has begun to wait, of those that sleep

    def sleeps() -> bool:
        """Again, since this was asked last."""
        before = dict(sleepers)
        for each in it.terminal.pids():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                status = Path(f"/proc/{each}/status").read_text()
                waits = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)
                call = call_of(each, each)
                if waits is not None and call is not None and call.kind == "sleep":
                    sleepers[each] = int(waits[1])
        return sleepers != before

    it.terminal.wait_until(sleeps)
    it.terminal.type("\x03")  # to stop at the next line, which does not come
    it.terminal.wait_until(sleeps)
    it.interrupt()  # the program's
    it.say("c")
    assert it.shown.startswith("KeyboardInterrupt()")
    assert it.lines("rs", "last found", "rn", "rn") == [6, 5, 4, 3]
    assert it.lines("n", "n") == [3, 4]
    assert it.quit() == 0


def test_ctrl_c_where_a_returned_value_is_shown(debug: Start) -> None:
    it = debug(
        """
        import sys, time

        class Slow:
            def __repr__(self):
                print("shown", file=sys.stderr, flush=True)
                while True:  # `pause` would miss a signal that comes just before it
                    time.sleep(0.01)

        def made():
            return Slow()

        made()
        print("done")
        """
    )
    it.say("b 10", "c")
    it.terminal.line("r")
    it.terminal.wait_for("shown", since=it.terminal.typed_at)
    it.terminal.type("\x03")
    it.terminal.wait_for("KeyboardInterrupt", since=it.terminal.typed_at)
    assert "done" in it.say("c")
    assert it.quit() == 0


def test_what_c_code_writes_is_written_once(debug: Start) -> None:
    it = debug(
        """
        import mmap, sqlite3
        store = sqlite3.connect("store.db")
        store.execute("create table numbers (number)")
        with open("shared.bin", "w+b") as file:
            file.truncate(4096)
            shared = mmap.mmap(file.fileno(), 4096)
        for number in range(3):
            store.execute("insert into numbers values (?)", [number])
            store.commit()
        print(store.execute("select count(*) from numbers").fetchone())
        """
    )
    it.say("b 10", "c")
    stop = it.position
    for command in ("rn", "last number", "rs", "goto 9"):
        if not it.say(command).startswith("*** the program takes another path when it is repeated"):
            # A state stands behind what was written, and nothing of that is repeated.
            assert command == "goto 9" or it.lines("w")[-1:] == [7]
            it.say(f"goto {stop}")
        assert it.lines("w")[-1:] == [10]
    it.say("cl 1")
    assert it.say("c").splitlines()[0] == "(3,)"
    assert it.lines("back") == [10]
    assert it.quit() == 0
    with contextlib.closing(sqlite3.connect(it.terminal.directory / "store.db")) as store:
        assert store.execute("select count(*) from numbers").fetchone() == (3,)
