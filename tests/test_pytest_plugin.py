"""Under pytest: the debugger that goes backwards, and `--snapshot`, each test in a fork."""

from __future__ import annotations

import re
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.debugging import Debugging
from tests.processes import Result
from tests.terminal import Terminal

Run = Callable[..., Result]
Debug = Callable[..., Debugging]

PYTEST = "python -m pytest -p no:cacheprovider --basetemp=temporary"


@pytest.fixture
def run(python: Run, tmp_path: Path) -> Run:
    """Runs pytest on a source, without a terminal."""

    def ran(source: str, *options: str) -> Result:
        (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
        options = ("-p", "no:cacheprovider", "--basetemp=temporary", *options)
        return python(
            tmp_path / "test_it.py", *options, options=["-m", "pytest"], env={"COLUMNS": "200"}
        )

    return ran


@pytest.fixture
def debug(open_terminal: Callable[..., Terminal]) -> Debug:
    """Runs pytest on a source, at a terminal, to its first prompt or to its end."""

    def started(source: str, options: str) -> Debugging:
        terminal = open_terminal(rows=50, columns=150)
        return Debugging(terminal, source, command=f"{PYTEST} -q {options} p.py")

    return started


def outcome(text: str) -> str:
    """The last line, without the time."""
    *_, found = re.finditer(r"^=* ?(\d+ \w+.*) in [\d.]+s", text, re.M)
    return found[1]


def ended(it: Debugging) -> str:
    """What pytest has shown at last; nothing of it is left."""
    it.terminal.prompt()
    it.terminal.vacated()
    return outcome(it.terminal.transcript())


# The debugger, where pytest opens one.

DEBUGGED = """
import os, pdb, pytest

def total(prices):
    rate = 0.5
    OPEN
    print("in total")
    found = sum(prices)
    return found * (1 + rate)

def test_total(tmp_path, monkeypatch):
    print("captured")
    monkeypatch.setenv("RATE", "none")
    (tmp_path / "prices").write_text("10 20")
    prices = map(int, (tmp_path / "prices").read_text().split())
    assert total(prices) == 45
    assert os.environ["RATE"] == "none"

def test_fails(capsys):
    print("before")
    value = 1
    value += 1
    assert capsys.readouterr().out == "before\\n"
    assert value == 3
"""
PDBCLS = "--pdbcls=snapshot.debugger:Pdb"


@pytest.mark.parametrize("call", ["breakpoint()", "pdb.set_trace()", "pytest.set_trace()"])
def test_the_debugger_opens_in_a_test(debug: Debug, call: str) -> None:
    it = debug(DEBUGGED.replace("OPEN", call), f"{PDBCLS} -k total")
    assert "captured" not in it.shown
    assert it.line == 5
    assert it.lines("n", "n") == [6, 7]
    assert it.lines("rn", "rn") == [6, 5]
    assert it.lines("n", "n", "n") == [6, 7, 8]
    assert "in total" in it.terminal.transcript()
    assert "The program has ended." in it.say("c")
    it.say("goto 2")
    assert (it.line, it.say("p rate")) == (7, "0.5")
    assert "snapshot: back at 0 (p.py:5 total)" in it.say("revert")
    it.say("p rate", "c")
    assert ended(it) == "1 passed, 1 deselected"


def test_going_back_from_a_failure_into_the_caller(debug: Debug) -> None:
    it = debug(
        """
        def half(n):
            breakpoint()
            return n // 2

        def test_half(capsys):
            print("before")
            found = half(5)
            found += 1
            assert found == 4
        """,
        PDBCLS,
    )
    assert "The program was ended by AssertionError: assert 3 == 4." in it.say("c")
    assert it.lines("rn", "rn") == [9, 8]
    it.say("found = 3")
    assert "branch 2 begins" in it.say("c")
    assert "The program has ended." in it.shown
    assert "the experiment exited with code 0" in it.say("q")
    assert it.line == 2
    it.say("c")
    assert ended(it) == "1 failed"
    assert "Captured stdout" in it.terminal.transcript()


def test_quitting_where_the_program_has_ended(debug: Debug) -> None:
    it = debug(DEBUGGED.replace("OPEN", "breakpoint()"), f"{PDBCLS} -k total")
    it.say("c")
    assert "snapshot: back at 0 (p.py:5 total)" in it.say("q")
    it.say("q")
    assert "Exit: Quitting debugger" in it.terminal.transcript()
    it.terminal.vacated()


def test_post_mortem(debug: Debug) -> None:
    it = debug(DEBUGGED, f"{PDBCLS} --pdb -k fails")
    assert (it.line, it.say("p value")) == (23, "2")
    assert it.say("rn").startswith("*** nothing is kept of the past here")
    assert "entering PDB" in it.terminal.transcript()
    it.say("c")
    assert ended(it) == "1 failed, 1 deselected"


def test_from_the_first_line_on(debug: Debug) -> None:
    it = debug(DEBUGGED, f"{PDBCLS} --trace -k fails")
    assert it.line == 19
    assert it.lines("n", "n", "n", "rn", "rn") == [20, 21, 22, 21, 20]
    it.say("revert")
    assert it.line == 19
    it.say("c")
    assert ended(it) == "1 failed, 1 deselected"


def test_quitting_on_the_way_through_the_test(debug: Debug) -> None:
    it = debug(DEBUGGED, f"{PDBCLS} --trace -k fails")
    it.say("revert", "n")
    assert it.line == 20
    it.say("q")
    it.terminal.prompt()
    assert it.terminal.run("echo $?") == "2"
    assert it.terminal.transcript().count("Exit: Quitting debugger") == 1


def test_reverting_where_the_test_has_ended(debug: Debug) -> None:
    it = debug(DEBUGGED, f"{PDBCLS} --trace -k fails")
    assert "The program was ended by AssertionError" in it.say("c")
    assert "the experiment reverted" in it.say("revert")
    assert it.line == 19
    it.say("c")
    assert ended(it) == "1 failed, 1 deselected"


# --snapshot, without a terminal.

ORDINARY = """
import logging, unittest, warnings
import pytest

here = []

@pytest.fixture
def place(tmp_path):
    print("set up")
    yield tmp_path
    print("torn down")

def test_passes(place, record_property):
    record_property("kind", "plain")
    print("printed")

def test_fails(place):
    print("printed")
    logging.getLogger("shop").warning("logged")
    value = {"apple": 1}
    assert value == {"apple": 2}

def test_raises():
    raise SystemExit(4)

def test_fails_in_words():
    pytest.fail("on purpose", pytrace=False)

def test_cause():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("not this") from error

def test_warns():
    warnings.warn("look out", UserWarning)

def test_warns_of_its_own():
    class Own(Warning):
        pass
    warnings.warn("look out, too", Own)

@pytest.mark.skip(reason="never")
def test_never(): ...

def test_skips():
    pytest.skip("not now")

@pytest.mark.xfail
def test_xfails(): assert 0

@pytest.mark.xfail
def test_xpasses(): ...

@pytest.mark.xfail(strict=True)
def test_xpasses_strictly(): ...

@pytest.mark.xfail(raises=ValueError)
def test_xfails_otherwise(): raise TypeError

class TestCase(unittest.TestCase):
    def setUp(self):
        self.value = 1
    def test_case_passes(self):
        self.assertEqual(self.value, 1)
    def test_case_fails(self):
        self.assertEqual(self.value, 2)
    def test_case_skips(self):
        self.skipTest("not here")

@pytest.mark.parametrize("number", range(3))
def test_numbers(number, capsys):
    print(number)
    assert capsys.readouterr().out == "0\\n"

def test_logged(caplog):
    logging.getLogger("shop").warning("seen")
    assert caplog.messages == ["seen"]

@pytest.fixture
def broken():
    yield
    raise OSError("at the end")

def test_teardown_fails(broken):
    print("before the end")
"""


def told(result: Result) -> list[str]:
    """Everything that does not differ between two runs."""
    text = re.sub(r"0x[0-9a-f]+|\bin [\d.]+s\b", "", result.stdout)
    text = re.sub(r"^snapshot: each test in a fork.*\n", "", text, flags=re.M)
    return text.splitlines()


def cases(tmp_path: Path) -> list[str]:
    """Of the report for a machine: each test case, without its time."""
    tree = ElementTree.parse(tmp_path / "report.xml")
    for case in tree.iter("testcase"):
        del case.attrib["time"]
    text = "\n".join(ElementTree.tostring(case, "unicode") for case in tree.iter("testcase"))
    return re.sub(r"0x[0-9a-f]+", "", text).splitlines()


@pytest.mark.parametrize("options", ["--capture=fd", "--capture=sys", "-p no:logging"])
def test_the_report_is_that_of_an_ordinary_run(run: Run, tmp_path: Path, options: str) -> None:
    more: tuple[str, ...] = (
        "-rA",
        "--junitxml=report.xml",
        "-ojunit_logging=all",
        "-ojunit_family=xunit1",
    )
    source = ORDINARY if "logging" not in options else ORDINARY.replace("(caplog)", "()")
    more += tuple(options.split())
    plain = run(source, *more)
    expected = cases(tmp_path)
    forked = run(source, *more, "--snapshot")
    assert (plain.code, outcome(plain.stdout)) == (forked.code, outcome(forked.stdout))
    assert told(forked) == told(plain)
    assert cases(tmp_path) == expected
    assert re.match(r"(9|10) failed, [67] passed", outcome(plain.stdout)), plain


SUBTESTS = """
import unittest

def test_sub(subtests):
    for number in range(3):
        with subtests.test(number=number):
            assert number != 1

class TestCase(unittest.TestCase):
    def test_case(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)
"""


def test_subtests(run: Run) -> None:
    pytest.importorskip("_pytest.subtests")
    result = run(SUBTESTS, "--snapshot", "-rA")
    failed = re.findall(r"^\w*FAILED.*", result.stdout, re.M)
    assert failed == [
        "SUBFAILED(number=1) test_it.py::test_sub - assert 1 != 1",
        "FAILED test_it.py::test_sub - contains 1 failed subtest",
        "SUBFAILED(number=1) test_it.py::TestCase::test_case - AssertionError: 1 == 1",
    ]


DYING = """
import ctypes, os, pytest, signal

@pytest.fixture
def place(tmp_path):
    yield tmp_path
    with open("notes", "a") as notes:
        print(os.getppid() != PID, "torn down in", os.getpid() == PID, file=notes)

PID = os.getpid()

def test_dies(place):
    print("printed")
    os.write(2, b"written\\n")
    HOW

def test_next(place):
    assert os.getppid() == PID
"""

DEATHS = {
    "ctypes.string_at(0)": "its process was killed by SIGSEGV",
    "os.abort()": "its process was killed by SIGABRT",
    "os.kill(os.getpid(), signal.SIGKILL)": "its process was killed by SIGKILL",
    "os._exit(3)": "its process exited with code 3",
    "os._exit(0)": "its process exited with code 0",
    "while True: pass": "it did not end within 3 s, and was killed",
}


@pytest.mark.parametrize("how", DEATHS)
def test_a_test_that_dies_is_one_failed_test(run: Run, tmp_path: Path, how: str) -> None:
    limit = ["--snapshot-timeout=3"] if "while" in how else []
    result = run(DYING.replace("HOW", how), "--snapshot", "-rf", *limit)
    assert (result.code, outcome(result.stdout)) == (1, "1 failed, 1 passed"), result
    assert f"\nFAILED test_it.py::test_dies - Failed: {DEATHS[how]}\n" in result.stdout
    assert re.search("- Captured stdout call -+\nprinted\n", result.stdout), result
    assert re.search("- Captured stderr call -+\nwritten\n", result.stdout), result
    if "ctypes" in how:
        assert re.search(r'"\S*/test_it.py", line 15 in test_dies', result.stdout), result
    assert "Fatal Python error" not in result.stderr
    assert (tmp_path / "notes").read_text() == "True torn down in True\n" * 2


def test_the_death_that_is_expected(run: Run) -> None:
    source = "import os, pytest\n@pytest.mark.xfail\ndef test_dies(): os._exit(1)\n"
    assert outcome(run(source, "--snapshot").stdout) == "1 xfailed"


def test_what_a_test_changes_is_not_there_for_the_next_one(run: Run) -> None:
    result = run(
        """
        import os, sys, pytest

        @pytest.fixture(scope="session")
        def shared():
            return []

        def test_first(shared):
            shared.append(1)
            os.chdir("/")
            os.environ["FIRST"] = "1"
            sys.modules["first"] = None

        def test_second(shared):
            assert not shared
            assert os.getcwd() != "/"
            assert "FIRST" not in os.environ and "first" not in sys.modules
        """,
        "--snapshot",
    )
    assert outcome(result.stdout) == "2 passed", result


def test_a_fixture_sees_at_its_end_how_the_test_went(run: Run, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        textwrap.dedent(
            """
            import pytest

            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_makereport(item, call):
                report = yield
                setattr(item, "report_" + report.when, report)
                raised = call.excinfo and call.excinfo.value
                report.sections.append(("added", type(raised).__name__))
                return report

            @pytest.fixture
            def look(request):
                yield
                with open("notes", "a") as notes:
                    report = request.node.report_call
                    where = "def test_" in report.longreprtext
                    print(report.outcome, report.sections[-1], where, file=notes)
            """
        )
    )
    result = run(
        """
        import os

        def test_passes(look): ...
        def test_fails(look): assert 0
        def test_dies(look): os._exit(1)
        """,
        "--snapshot",
    )
    assert outcome(result.stdout) == "2 failed, 1 passed"
    assert (tmp_path / "notes").read_text().splitlines() == [
        "passed ('added', 'NoneType') False",
        "failed ('added', 'AssertionError') True",
        "failed ('added', 'Failed') False",
    ]
    assert result.stdout.count("- added -") == 2, result


def test_warnings_go_where_a_fixture_has_them_go(run: Run) -> None:
    source = """
        import gc, logging, warnings
        import pytest

        def test_recorded(recwarn):
            warnings.warn("one")
            assert len(recwarn) == 1

        @pytest.fixture
        def logged():
            logging.captureWarnings(True)
            yield
            logging.captureWarnings(False)

        def test_logged(logged, caplog):
            warnings.warn("two")
            assert "two" in caplog.text

        @pytest.fixture
        def around():
            warnings.warn("set up")
            yield
            warnings.warn("torn down")

        def test_warns(around):
            warnings.warn("three")

        def test_leaves_a_file_open():
            open("/dev/null")
            gc.collect()
        """
    for options in ([], ["-p", "no:warnings"]):
        plain, forked = run(source, *options), run(source, "--snapshot", *options)
        assert (plain.code, told(forked)) == (0, told(plain))


def test_what_a_test_itself_asks_for_is_torn_down(run: Run, tmp_path: Path) -> None:
    source = """
        import pytest, unittest

        def note(text):
            with open("notes", "a") as notes:
                print(text, file=notes)

        @pytest.fixture(scope="module")
        def old():
            note("old is there")
            yield
            note("old is gone")

        @pytest.fixture
        def broken(old):
            yield
            print("printed at the end")
            raise OSError("broken is gone")

        def test_asks(old, request):
            request.getfixturevalue("old")
            request.addfinalizer(lambda: note("finalized"))
            request.getfixturevalue("broken")

        def test_next(old):
            note("next")

        class TestCase(unittest.TestCase):
            def test_fails_twice(self):
                self.addCleanup(lambda: 1 / 0)
                self.fail("first")
        """
    plain = run(source, "-rA", "--junitxml=report.xml")
    expected, notes = cases(tmp_path), (tmp_path / "notes").read_text()
    (tmp_path / "notes").unlink()
    forked = run(source, "-rA", "--junitxml=report.xml", "--snapshot")
    assert outcome(forked.stdout) == "1 failed, 2 passed, 2 errors"
    assert told(forked) == told(plain)
    assert cases(tmp_path) == expected
    assert (tmp_path / "notes").read_text() == notes


def test_functions_of_the_system_that_others_stand_in_for(run: Run) -> None:
    result = run(
        """
        import os, pytest, signal, sys, threading, time, types

        def replace(monkeypatch):
            monkeypatch.setattr(os, "getpid", lambda: 1)
            monkeypatch.setattr(os, "kill", None)
            monkeypatch.setattr(os, "_exit", lambda code: None)
            monkeypatch.setattr(signal, "setitimer", None)
            monkeypatch.setattr(threading, "enumerate", None)
            monkeypatch.setattr(time, "monotonic", lambda: 0.0)
            monkeypatch.delattr(os, "fork")
            for name, module in list(sys.modules.items()):  # as pyfakefs does
                if hasattr(module, "os") and name.startswith(("test_it", "snapshot.")):
                    monkeypatch.setattr(module, "os", types.SimpleNamespace(getpid=lambda: 2))

        def test_in_the_test(monkeypatch):
            replace(monkeypatch)

        @pytest.fixture
        def replaced(monkeypatch):
            replace(monkeypatch)

        def test_in_a_fixture(replaced):
            assert (os.getpid(), time.monotonic()) == (2, 0.0)
            assert not hasattr(os, "fork")

        def test_that_hangs(replaced):
            while True:
                pass

        def test_next():
            assert os.getpid() > 2 and os.fork
        """,
        "--snapshot",
        "--snapshot-timeout=3",
    )
    assert outcome(result.stdout) == "1 failed, 3 passed", result
    assert "test_that_hangs - Failed: it did not end within 3 s" in result.stdout


def test_the_temporary_directory_of_a_failed_test_is_kept(run: Run, tmp_path: Path) -> None:
    source = "def test_passes(tmp_path): ...\ndef test_fails(tmp_path): assert 0\n"
    run(source, "--snapshot", "-otmp_path_retention_policy=failed")
    left = {each.name for each in (tmp_path / "temporary").iterdir()}
    assert {"test_passes0", "test_fails0"} & left == {"test_fails0"}


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("pytest.exit('enough')", 2, "Exit: enough"),
        ("raise KeyboardInterrupt", 2, "KeyboardInterrupt"),
    ],
)
def test_what_ends_the_session_ends_it(run: Run, how: str, code: int, said: str) -> None:
    source = f"import pytest\ndef test_ends():\n    {how}\ndef test_next(): ...\n"
    result = run(source, "--snapshot")
    assert result.code == code, result
    assert said in result.stdout + result.stderr
    assert "passed" not in result.stdout


def test_the_errors_that_cannot_leave_their_process(run: Run) -> None:
    result = run(
        """
        import threading

        class Stubborn(Exception):
            def __init__(self, one, two):
                self.lock = threading.Lock()

        def test_error():
            raise Stubborn(1, 2)

        def test_property(record_property):
            record_property("lock", threading.Lock())

        class Mute(Stubborn):
            def __str__(self):
                raise ValueError("nothing to say")

        def test_mute():
            raise Mute(1, 2)

        def test_of_a_module_that_is_found_here_alone(monkeypatch, tmp_path):
            (tmp_path / "elsewhere.py").write_text("class Error(Exception): ...")
            monkeypatch.syspath_prepend(tmp_path)
            import elsewhere
            raise elsewhere.Error("from there")

        def test_next(): ...
        """,
        "--snapshot",
        "-rf",
    )
    assert outcome(result.stdout) == "4 failed, 1 passed", result
    assert ">       raise Stubborn(1, 2)" in result.stdout
    assert ">       raise Mute(1, 2)" in result.stdout
    assert "E       elsewhere.Error: from there" in result.stdout
    assert re.search(r"FAILED test_it.py::test_property - Failed: .* cannot be", result.stdout)


@pytest.mark.parametrize("options", ["", "-p no:terminal", "-p no:capture", "-s", "--pdb"])
def test_with_other_options(run: Run, options: str) -> None:
    source = "import os\ndef test_fails(): assert 0\ndef test_dies(): os._exit(1)\n"
    result = run(source, "--snapshot", "-x", "--maxfail=2", *options.split())
    assert result.code == 1, result
    if "terminal" not in options:
        assert outcome(result.stdout) == "2 failed", result


def test_with_workers(run: Run) -> None:
    many = "@pytest.mark.parametrize('n', range(6))\ndef test_many(n): print(n)\n"
    result = run(DYING.replace("HOW", "os._exit(3)") + many, "--snapshot", "-n2", "-rf")
    assert outcome(result.stdout) == "1 failed, 7 passed", result
    assert "FAILED test_it.py::test_dies - Failed: its process exited with code 3" in result.stdout
    assert "node down" not in result.stdout


@pytest.mark.parametrize("function_only", ["true", "false"])
def test_with_pytest_timeout(run: Run, function_only: str) -> None:
    result = run(
        """
        import pytest, signal

        @pytest.mark.timeout(2)
        def test_hangs():
            while True:
                pass

        @pytest.mark.timeout(2)
        def test_hangs_where_no_signal_is_heard():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            while True:
                pass

        def test_next():
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        """,
        "--snapshot",
        *("--snapshot-timeout=5", f"-otimeout_func_only={function_only}", "-rf"),
    )
    assert outcome(result.stdout) == "2 failed, 1 passed", result
    assert re.search(r"test_it.py:[67]: Failed", result.stdout), result
    over = "Timeout (>2.0s) from pytest-timeout." if function_only == "false" else "it did not end"
    assert f"test_hangs_where_no_signal_is_heard - Failed: {over}" in result.stdout, result


@pytest.mark.parametrize("plugin", ["faulthandler", "no:faulthandler"])
def test_with_a_timeout_of_faulthandler(run: Run, plugin: str) -> None:
    result = run(
        """
        import time

        def test_fails():
            assert 0

        def test_takes_long():
            time.sleep(2)
        """,
        *("--snapshot", "--snapshot-timeout=10", "-ofaulthandler_timeout=0.3", "-p", plugin),
    )
    assert outcome(result.stdout).startswith("1 failed, 1 passed"), result
    where = re.findall(r"line (\d+) in test_takes_long", result.stderr)
    assert where == ([] if "no" in plugin else ["8"])


def test_what_is_refused(run: Run) -> None:
    result = run("def test_it(): ...", "--snapshot", "--trace")
    assert result.code == 4
    assert "ERROR: --trace opens a debugger in each test, and --snapshot" in result.stderr
    result = run("def test_it(): ...", "--snapshot-timeout=soon")
    assert result.code == 4
    assert "'soon' is no time: give seconds, as 10 or 0.5" in result.stderr


def test_next_to_nothing_is_loaded_without_the_option(run: Run, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    loaded = sorted(name for name in sys.modules if name.startswith('snapshot'))\n"
        "    print('loaded', *loaded)\n"
    )
    result = run("def test_it(): ...")
    assert "\nloaded snapshot snapshot.testing\n" in result.stdout, result


# --snapshot, at a terminal.

SHOP = """
import pytest

stock = {"apple": 3}

def sell(name, count):
    stock[name] -= count

@pytest.fixture
def place(tmp_path):
    yield tmp_path
    with open("notes", "a") as notes:
        print("torn down", file=notes)

def test_sell(place, monkeypatch):
    monkeypatch.setitem(stock, "pear", 2)
    print("selling")
    for count in (1, 2, 3):
        sell("apple", count)
    assert stock == {"apple": 0, "pear": 2}

def test_next(place):
    assert stock == {"apple": 3}

def test_last(place):
    assert sell("apple", 2) == 1
"""


def test_a_failed_test_is_run_again_with_its_past(debug: Debug) -> None:
    it = debug(SHOP, "--snapshot")
    assert "test_sell, run again" in it.shown
    assert "test_sell was ended by AssertionError" in it.shown
    assert "-3" in it.say("p stock")
    assert it.lines("rn", "rn") == [19, 17]
    assert "stock['apple']: 0 → -3" in it.say("last stock['apple']")
    assert (it.line, it.say("p count")) == (6, "3")
    assert it.lines("rr") == [18]
    it.say("count = 0")
    assert "branch 2 begins" in it.say("c")
    assert "test_sell has ended. Its past is there" in it.shown
    assert it.say("p stock") == "{'apple': 0, 'pear': 2}"
    it.say("branch 1", "c")
    assert "test_last was ended by AssertionError: assert None == 1." in it.shown
    assert it.line == 25
    it.say("c")
    assert ended(it) == "2 failed, 1 passed"
    assert (it.terminal.directory / "notes").read_text() == "torn down\n" * 3
    summary = it.terminal.transcript().partition("= FAILURES =")[2]
    assert summary.count("\nselling\n") == 1


@pytest.mark.parametrize("at", ["the end", "an earlier moment"])
def test_leaving_the_debugger_of_a_failed_test(debug: Debug, at: str) -> None:
    it = debug(SHOP, "--snapshot")
    if at != "the end":
        it.say("rn")
    assert it.say("keep") == "*** this is a test that is run again: the real one has ended"
    it.say("revert")
    assert "test_last, run again" in it.shown
    if at != "the end":
        it.say("rn")
    it.say("q")
    assert ended(it) == "2 failed, 1 passed"
    assert "Exit: Quitting debugger" in it.terminal.transcript()
    assert (it.terminal.directory / "notes").read_text() == "torn down\n" * 3


def test_one_that_passes_the_second_time(debug: Debug) -> None:
    it = debug(
        """
        import os

        def test_flaky():
            if not os.path.exists("ran"):
                open("ran", "w").close()
                assert False
        """,
        "--snapshot",
    )
    assert ended(it) == "1 failed"
    told = "snapshot: test_flaky has passed when it was run again\n"
    assert it.terminal.transcript().count(told) == 1


def test_one_that_crashes(debug: Debug) -> None:
    it = debug(
        """
        import ctypes

        def test_crash():
            text = "there"
            address = 0
            ctypes.string_at(address)
        """,
        "--snapshot",
    )
    assert "The program was killed by SIGSEGV, after position " in it.shown
    assert it.lines("n", "n") == [5, 6]
    assert it.say("p text, address") == "('there', 0)"
    assert it.lines("rn") == [5]
    it.say("revert")
    assert ended(it) == "1 failed"


def test_one_that_hangs(debug: Debug) -> None:
    it = debug(
        """
        def test_hangs():
            number = 0
            while number < 5:
                number = 1
            assert number
        """,
        "--snapshot --snapshot-timeout=2",
    )
    before = {3: [4, 3], 4: [3, 4, 3]}[it.line]
    assert it.say("p number") == "1"
    assert it.lines(*["rn"] * len(before)) == before
    it.say("number = 6")
    assert "branch 2 begins" in it.say("c")
    it.say("q")
    assert ended(it) == "1 failed"


def test_one_whose_fixture_stands_in_for_the_system_s_functions(debug: Debug) -> None:
    it = debug(
        """
        import os, pytest

        @pytest.fixture
        def replaced(monkeypatch):
            for name in ("fork", "waitpid", "pidfd_open"):
                monkeypatch.setattr(os, name, None)

        def test_it(replaced):
            number = 1
            number += 1
            assert os.fork
        """,
        "--snapshot",
    )
    assert "test_it was ended by AssertionError: assert None" in it.shown
    assert it.lines("rn", "rn") == [11, 10]
    assert it.say("p number") == "1"
    it.say("revert")
    assert ended(it) == "1 failed"


def test_one_that_hangs_while_states_take_long(debug: Debug) -> None:
    it = debug(
        """
        import functools, os, time

        def test_hangs():
            os.register_at_fork(before=functools.partial(time.sleep, 2.5))
            number = 0
            while number < 5:
                number = 1
            assert number
        """,
        "--snapshot --snapshot-timeout=0.5",
    )
    assert "Exception ignored" not in it.shown
    assert "waits for too long" not in it.shown
    it.say("q")
    assert ended(it) == "1 failed"


def test_one_that_waits_for_ever(debug: Debug) -> None:
    it = debug(
        """
        import threading

        def test_waits():
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        """,
        "--snapshot --snapshot-timeout=2",
    )
    assert "Failed: it waits for too long" in it.shown
    assert (it.line, it.say("p lock.locked()")) == (6, "True")
    assert it.lines("back", "n", "n") == [4, 5, 6]
    it.say("revert")
    assert ended(it) == "1 failed"


@pytest.mark.parametrize("call", ["breakpoint()", "pytest.set_trace()"])
def test_one_that_opens_the_debugger(debug: Debug, call: str) -> None:
    it = debug(
        f"""
        import pytest

        def test_it(capfd):
            print("one")
            number = 1
            {call}
            number += 1
            print("two")
            assert capfd.readouterr().out == "one\\ntwo\\n"
            with open("notes", "a") as notes:
                print("ran", file=notes)
        """,
        "--snapshot",
    )
    assert "test_it opens the debugger" in it.shown
    assert it.line == 7
    assert it.lines("rn", "rn") == [6, 5]
    assert it.lines("n", "n", "n", "n") == [6, 7, 8, 9]
    assert "test_it has ended." in it.say("c")
    it.say("c")
    assert ended(it) == "1 passed"
    assert (it.terminal.directory / "notes").read_text() == "ran\n" * 2


def test_subtests_and_test_cases_that_fail(debug: Debug) -> None:
    pytest.importorskip("_pytest.subtests")
    it = debug(SUBTESTS, "--snapshot")
    assert "test_sub was ended by AssertionError: assert 1 != 1." in it.shown
    assert it.line == 6
    assert it.lines("rn") == [6]
    assert it.say("p number") == "1"
    assert it.lines("rn") == [5]
    it.say("c", "c")
    assert "test_case was ended by AssertionError: 1 == 1." in it.shown
    assert it.line == 12
    assert it.lines("rn") == [12]
    it.say("revert")
    assert ended(it).startswith("3 failed, 1 passed")


def test_one_that_is_expected_to_fail_is_let_go(debug: Debug) -> None:
    it = debug(
        """
        import pytest

        @pytest.mark.xfail
        def test_xfails(): assert 0

        @pytest.mark.xfail(strict=True)
        def test_xpasses(): ...

        def test_skips(): pytest.skip()

        @pytest.fixture
        def broken(): 1 / 0

        def test_error(broken): ...
        """,
        "--snapshot",
    )
    assert ended(it) == "1 failed, 1 skipped, 1 xfailed, 1 error"
    assert "run again" not in it.terminal.transcript()


def test_ctrl_c_ends_the_session(terminal: Terminal) -> None:
    source = "def test_runs():\n    print('running')\n    while True: pass\ndef test_next(): ...\n"
    (terminal.directory / "p.py").write_text(source)
    terminal.line(f"{PYTEST} -s --snapshot p.py")
    terminal.wait_for("running")
    terminal.type("\x03")
    terminal.prompt()
    assert "KeyboardInterrupt" in terminal.transcript()
    assert "passed" not in terminal.transcript()
    terminal.vacated()


def test_nobody_is_asked_without_a_terminal(debug: Debug) -> None:
    it = debug(SHOP, "--snapshot --collect-only")
    it.say(f"{PYTEST} -p no:terminal --snapshot p.py")
    assert it.terminal.run("echo $?") == "1"
    for redirected in ("< /dev/null", "| cat"):
        shown = it.terminal.run(f"{PYTEST} -q --snapshot p.py {redirected}")
        assert outcome(shown) == "2 failed, 1 passed"
        assert "(Pdb" not in shown
