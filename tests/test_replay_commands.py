"""The commands for recorded calls, as people use them: on terminals, in scripts, by mistake."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from snapshot import commands
from snapshot.errors import CannotRead, SnapshotError, StoreError
from snapshot.replay.executions import opened
from snapshot.replay.scripts import reanimation_script
from snapshot.store import Store, archive, events
from snapshot.store.place import Place
from snapshot.store.spool import framed, framed_in
from tests import postgres
from tests.debugging import Debugging
from tests.processes import Program, Result, environment, run_python, start_python
from tests.terminal import Terminal

BIN = Path(sys.executable).parent

# What AGAIN is set for happens when calls are made again, and not when they are recorded.
SHOP = """
import asyncio, math, os, signal, sys, threading, time
import numpy as np
from snapshot.replay import record

RATE = 3
LIMITS = {"a": [1, float("inf")]}

@record
def add(a, b=2, *, c=0):
    return a + b + c

@record
def fail(text):
    raise ValueError(text)

class ShopError(Exception):
    pass

@record
def refuse(code):
    raise ShopError(f"no {code}")

@record
def crash():
    if os.environ.get("AGAIN"):
        os.kill(os.getpid(), signal.SIGSEGV)

@record
def leave():
    if os.environ.get("AGAIN"):
        os._exit(3)

@record
def hang():
    if os.environ.get("AGAIN"):
        open("hanging", "w").close()
        time.sleep(1000)

@record
def grow():
    return len(bytearray(300 << 20)) if os.environ.get("AGAIN") else 300 << 20

@record
def interrupt():
    raise KeyboardInterrupt

@record
def interrupted():
    if os.environ.get("AGAIN"):
        raise KeyboardInterrupt

@record
def bye():
    sys.exit(4)

@record
def lock():
    return threading.Lock()

@record(redact=["password"])
def login(user, password):
    return len(password)

@record
def talk():
    print("said")
    print("and cried", end="", file=sys.stderr)
    return 5

@record
def append(path):
    with open(path, "a") as file:
        file.write("x")
    with open(path) as file:
        return file.read()

@record
def total(array):
    return array.sum()

@record
def sum_of(n):
    return sum(add(each) for each in range(n))

@record
def touchy(value):
    return 1

class Touchy:
    def __getstate__(self):
        return {"a": 1}
    def __setstate__(self, state):
        raise RuntimeError("not here")

@record
def never():
    os.kill(os.getpid(), signal.SIGKILL)

@record
def same(value):
    return value

@record
def constant(name):
    return {
        "nan": math.nan, "-0": -0.0, "inf": -math.inf, "in": [math.nan],
        "complex": complex(1, math.inf), "none": None, "true": True, "huge": 10 ** 5000,
        "all": {"a": [(1,), {2}, set(), frozenset({3})], None: b"\\0", 1.5: ()},
    }[name]

@record
def priced(n):
    return n * RATE, LIMITS

@record
async def later(value):
    await asyncio.sleep(0)
    return value

@record
def count(n):
    yield from range(n)

@record
def sort(values, *, reverse=None):
    values.sort()
    if reverse is not None:
        reverse.append(1)

@record
def options(**words):
    return len(words)

class Basket:
    def __init__(self):
        self.prices = [1]
    @record
    def sum(self, more):
        return sum(self.prices) + more
"""

RECORD = """
import asyncio, os, sys
import numpy as np
import shop

def attempt(fn, *args, **kwargs):
    try:
        return fn(*args, **kwargs)
    except BaseException:
        pass

shop.add(1)
shop.add(1, 5, c=3)
attempt(shop.fail, "no\\nmore")
attempt(shop.refuse, 7)
for each in ("crash", "leave", "hang", "grow", "interrupt", "interrupted", "bye", "lock", "talk"):
    attempt(getattr(shop, each))
shop.login("joe", "hunter2")
shop.append(os.path.abspath("log.txt"))
shop.total(np.arange(100_000.0))
shop.sum_of(3)
shop.touchy(shop.Touchy())
for each in ("nan", "-0", "inf", "in", "complex", "none", "true", "huge", "all"):
    shop.constant(each)
shop.same(float("nan"))
shop.same([[1]] * 40)
shop.priced(2)
asyncio.run(shop.later(1))
list(shop.count(3))
next(shop.count(3))
shop.sort([2, 1], reverse=[None])
shop.options(**{"class": 1})
shop.options(options=1, pytest=2)
shop.Basket().sum(4)

from snapshot.replay import record

@record
def local(x):
    return x + 1

local(1)
if os.fork() == 0:
    shop.never()
os.wait()
"""


# Commands, each in a process of its own: a fork of one that has loaded what they need.
SERVER = """
import json, os, sys, traceback
from importlib import import_module
import asyncio, numpy
from snapshot import commands
for each in ("commands." + name for name in ("calls", "export", "import_", "replay", "script")):
    import_module("snapshot." + each)
for each in ("archive", "showing"):
    import_module("snapshot.store." + each)
for each in ("bulk", "cluster", "executions", "reanimation", "scripts"):
    import_module("snapshot.replay." + each)
import snapshot.core.executor, snapshot.core.rollback.overlay
from snapshot.replay import record

for line in sys.stdin:
    folder, words, env = json.loads(line)
    pid = os.fork()
    if pid == 0:
        for fd, (name, flags) in enumerate(
            [(os.devnull, 0), ("stdout", os.O_CREAT | os.O_TRUNC | os.O_RDWR)]
            + [("stderr", os.O_CREAT | os.O_TRUNC | os.O_RDWR)]
        ):
            os.dup2(os.open(name, flags, 0o600), fd)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(env)
        sys.modules["__main__"].__file__ = sys.argv[1]
        sys.argv = ["snapshot", *words]
        sys.exit(commands.main())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(f"ended {code};", flush=True)
"""


class Server:
    """Runs commands."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self._folder = folder
        self._program = start_python(SERVER, BIN / "snapshot", directory=folder, env=env)
        self._count = 0

    def run(self, folder: Path, *words: str | Path, env: dict[str, str] | None = None) -> Result:
        self._program.send(
            json.dumps([str(folder), [*map(str, words)], environment(folder, env)]) + "\n"
        )
        self._count += 1
        found = self._program.wait_for(
            re.compile(rf"\A(?:ended -?\d+;\n){{{self._count - 1}}}ended (-?\d+);"), timeout=60
        )
        stdout, stderr = (
            (self._folder / name).read_bytes().decode("utf-8", "surrogateescape")
            for name in ("stdout", "stderr")
        )
        return Result(stdout, stderr, int(found[1]), None)

    def close(self) -> None:
        self._program.close()


_server: list[Server] = []


@pytest.fixture(scope="module", autouse=True)
def commands_are_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    _server.append(Server(tmp_path_factory.mktemp("server")))
    yield
    _server.pop().close()


def snapshot(folder: Path, *words: str | Path, env: dict[str, str] | None = None) -> Result:
    return _server[0].run(folder, *words, env=env)


def installed(folder: Path, *words: str | Path, **more: Any) -> Result:
    """The same with the command as it is installed."""
    return run_python(BIN / "snapshot", *words, directory=folder, **more)


def record(folder: Path, source: str = RECORD, env: dict[str, str] | None = None) -> None:
    (folder / "shop.py").write_text(SHOP)
    result = run_python(source, directory=folder, env=env)
    assert result.code == 0, result


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with recorded calls, in which nothing may change."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "pyproject.toml").touch()
    record(folder)
    return folder


@pytest.fixture
def shop(recorded: Path, tmp_path: Path) -> Path:
    """A project of the test's own, with the same calls."""
    shutil.copytree(recorded, tmp_path, dirs_exist_ok=True, symlinks=True)
    return tmp_path


@pytest.fixture(scope="module")
def ids(recorded: Path) -> dict[str, int]:
    """The id of a call, by what `calls` says of it."""
    found = snapshot(recorded, "calls", "--json", "--limit", "1000")
    first: dict[str, int] = {}
    for each in json.loads(found.stdout):
        first.setdefault(each["call"], each["id"])
    return first


def one_line(result: Result, expected: str = "", status: int = 2) -> None:
    """A mistake is answered with one line on standard error, and a status."""
    assert result.code == status, result
    assert result.stdout == "", result
    assert re.fullmatch(r"snapshot \w+: .+\n", result.stderr), result
    assert expected in result.stderr, result


def verdicts(result: Result) -> dict[str, tuple[str, str]]:
    """Status and differences of each function's first call."""
    found: dict[str, tuple[str, str]] = {}
    for each in json.loads(result.stdout):
        assert set(each) == {"id", "function", "status", "differences", "duration"}
        assert isinstance(each["id"], int)
        assert each["duration"] > 0
        status = each["status"], "\n".join(each["differences"])
        found.setdefault(each["function"].removeprefix("shop:"), status)
    return found


# Looking.


def test_calls(recorded: Path) -> None:
    shown = snapshot(recorded, "calls", "add").stdout.splitlines()
    assert len(shown) == 5
    line = r" *1  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[\d.]+ (µs|ms)  add\(1\) → 3"
    assert re.fullmatch(line, shown[0]), shown[0]
    assert shown[1].endswith("add(1, 5, c=3) → 9")
    assert [each.split()[-3] for each in shown[2:]] == ["add(0)", "add(1)", "add(2)"]

    def functions(*words: str) -> list[str]:
        found = snapshot(recorded, "calls", "--json", *words)
        assert found.code == 0, found
        return [each["function"].removeprefix("shop:") for each in json.loads(found.stdout)]

    assert functions("--exception") == ["fail", "refuse", "interrupt", "bye"]
    assert functions("--limit", "2") == ["__main__:local", "never"]
    assert functions("Basket.sum", "--since", "1h") == functions("shop:Basket.sum")
    assert functions("--since", "9999-01-01") == []
    assert functions("--slower-than", "2h") == []
    assert len(functions("--since", "2020-01-01T12:00", "--limit", "1000")) > 40
    (never,) = json.loads(snapshot(recorded, "calls", "never", "--json").stdout)
    assert (never["outcome"], never["duration"]) == ("running", None)
    assert functions("--session", never["session"], "--limit", "1") == ["never"]
    assert functions("--session", "nothing") == []
    assert snapshot(recorded, "calls", "--slower-than", "2h").stdout == "no such calls\n"


def test_show(recorded: Path, ids: dict[str, int]) -> None:
    def shown(call: str) -> str:
        return snapshot(recorded, "show", str(ids[call])).stdout

    add = shown("add(1, 5, c=3)")
    assert f"call {ids['add(1, 5, c=3)']} of shop:add, {recorded}/shop.py:" in add
    assert "called with\n  a: 1\n  b: 5\n  c: 3\nreturned\n  9\nsource\n  @record\n" in add
    assert "it made " in shown("sum_of(3)")
    assert f"made by call {ids['sum_of(3)']}\n" in shown("add(0)")
    assert "raised\n  Traceback (most recent call last):\n" in shown("refuse(7)")
    assert "  shop.ShopError: no 7\n" in shown("refuse(7)")
    assert "which had become\n  values: [1, 2]\n" in shown("sort([2, 1], reverse=[None])")
    assert "it read\n  LIMITS: {'a': [1, inf]}\n  RATE: 3\n" in shown("priced(2)")
    assert "still running" in shown("never()")
    assert "hunter2" not in shown(next(call for call in ids if call.startswith("login")))
    facts = json.loads(snapshot(recorded, "show", str(ids["sum_of(3)"]), "--json").stdout)
    assert (facts["arguments"], facts["result"], facts["exception"]) == ({"n": "3"}, "9", None)
    assert facts["children"] == [ids["sum_of(3)"] + n for n in (1, 2, 3)]


# Calls that are made again.


def test_each_kind_of_verdict(shop: Path, ids: dict[str, int]) -> None:
    again = {"AGAIN": "1"}
    hang, crash = (str(ids_of(ids, each)) for each in ("hang", "crash"))
    chosen = [str(n) for call, n in ids.items() if not call.startswith("never") and str(n) != hang]
    limits = ("--memory", "150M", "--files", str(shop))
    result = snapshot(shop, "replay", *chosen, *limits, "--json", "--jobs", "4", env=again)
    assert result.code == 2, result
    timeout = ("--timeout", "1.5")  # which others may need, too, where the machine is busy
    hung = snapshot(shop, "replay", hang, crash, *timeout, *limits, "--json", env=again)
    assert hung.code == 1, hung
    found = verdicts(result) | {"hang": verdicts(hung)["hang"]}
    assert {each for each, (status, _) in found.items() if status != "matched"} == {
        *("crash", "leave", "hang", "grow", "interrupted", "login", "append", "touchy")
    }
    for name, status, why in (
        ("crash", "failed", "shop:crash, in fork \\d+, was killed by SIGSEGV"),
        ("leave", "failed", "ended its process with code 3"),
        ("hang", "failed", "did not end within 1.5 s"),
        ("grow", "failed", "outgrew its memory"),
        ("interrupted", "failed", "KeyboardInterrupt"),
        ("login", "could not run", "argument password .* was not stored \\(redacted\\)"),
        ("touchy", "could not run", "RuntimeError: not here"),
        ("append", "differed", "value: 'x' then, 'xx' now"),
    ):
        assert found[name][0] == status, (name, found[name])
        assert re.search(why, found[name][1]), (name, found[name])
        if name in ("leave", "hang", "touchy"):
            continue  # alone, they are as the others of their kind
        one = snapshot(shop, "replay", str(ids_of(ids, name)), *limits, "--json", env=again)
        assert verdicts(one)[name][0] == status, one
        assert one.code == {"failed": 1, "differed": 1, "could not run": 2}[status]
    some = [crash, str(ids_of(ids, "add"))]
    assert snapshot(shop, "replay", *some, env=again).code == 1
    assert (shop / "log.txt").read_text() == "x"


def ids_of(ids: dict[str, int], name: str) -> int:
    return next(number for call, number in ids.items() if call.startswith(f"{name}("))


def test_all_of_them(recorded: Path) -> None:
    (recorded / "log.txt").unlink(missing_ok=True)
    result = snapshot(recorded, "replay", "--all", "--files", str(recorded))
    (recorded / "log.txt").write_text("x")  # as it was: these tests share the folder
    assert result.code == 2, result
    assert result.stderr == ""
    table = result.stdout[result.stdout.index("    matched") :]
    assert table.splitlines()[0].split() == ["matched", "differed", "failed", "could", "not", "run"]
    assert re.search(r"^shop:add +5$", table, re.MULTILINE), result
    assert re.search(r"^shop:login {40,}1$", table, re.MULTILINE)
    assert re.search(r"^all +\d+ +2$", table, re.MULTILINE), table  # login, touchy
    assert "never" not in table
    assert "said" not in result.stdout


def test_one_call_tells_more(recorded: Path, ids: dict[str, int]) -> None:
    def made(call: str, *words: str) -> tuple[str, int | None]:
        result = snapshot(recorded, "replay", str(ids[call]), *words)
        assert result.stderr == ""
        return result.stdout, result.code

    talk = f"call {ids['talk()']} of shop:talk: as it was recorded\n"
    assert made("talk()") == (f"said\nand cried\n5\n{talk}", 0)
    text, status = made("fail('no\\nmore')")
    assert (text.startswith("! ValueError: no\nmore\ncall "), status) == (True, 0)
    assert made("interrupt()")[1] == made("bye()")[1] == 0
    text, status = made("lock()")
    assert (text.startswith("<unlocked _thread.lock"), status) == (True, 0)
    text, status = made("never()", "--timeout", "5s")
    assert ("of shop:never: failed: shop:never, in fork" in text, status) == (True, 1)
    assert made("local(1)")[0].startswith("2\n")
    text, status = made("sum_of(3)", "--mock", "add")
    assert (text.startswith("9\n"), status) == (True, 0)
    text, status = made("add(1)", "--mock", "fail")
    assert ("could not run: mock='fail'" in text, status) == (True, 2)


def test_a_program_that_has_changed(shop: Path, ids: dict[str, int]) -> None:
    # The calls were recorded elsewhere: what is here comes first only where that is said.
    here = ("--import-path", ".")
    assert snapshot(shop, "replay", "--function", "add", "--changed", *here).stdout == (
        "no such calls\n"
    )
    (shop / "shop.py").write_text(
        SHOP.replace("a + b + c", "a + b - 1 * c").replace("def same", "def s")
    )
    changed = snapshot(shop, "replay", "--all", "--changed", *here, "--json")
    assert changed.code == 2, changed
    found = {each["id"]: each["status"] for each in json.loads(changed.stdout)}
    assert {number for number, status in found.items() if status == "differed"} == {2}
    same = {ids["same(nan)"], ids["same([[1], [1], [1], [1], [1], [1], ...])"]}
    assert {number for number, status in found.items() if status == "could not run"} == same
    # What calls a changed function has changed, too.
    assert found.keys() - same == {1, 2, *range(ids["sum_of(3)"], ids["sum_of(3)"] + 4)}
    result = snapshot(shop, "replay", "2", *here)
    assert (result.code, result.stderr) == (1, "")
    assert result.stdout.startswith("3\ncall 2 of shop:add: not as it was recorded\n")
    assert "  value: 9 then, 3 now\n" in result.stdout
    assert "(the function has changed since)" in result.stdout
    assert snapshot(shop, "replay", "2", *here, "--recorded-code").code == 0
    (shop / "shop.py").write_text("raise SystemExit('not today')\n")
    for words in (["2"], ["1", "2"]):
        gone = snapshot(shop, "replay", *words, *here, "--json")
        assert gone.code == 2, gone
        assert "importing shop raised SystemExit" in verdicts(gone)["add"][1]


def test_what_another_python_has_recorded_has_changed_where_its_source_has(shop: Path) -> None:
    here = ("--import-path", ".")
    with contextlib.closing(sqlite3.connect(shop / ".snapshot" / "store.db")) as database:
        database.execute("UPDATE processes SET facts = json_set(facts, '$.python', '3.9.1')")
        database.commit()
    words = ("replay", "--function", "add", "--changed", *here)
    assert snapshot(shop, *words).stdout == "no such calls\n"
    (shop / "shop.py").write_text(SHOP.replace("a + b + c", "a + b - 1 * c"))
    changed = snapshot(shop, *words, "--json")
    assert {each["function"] for each in json.loads(changed.stdout)} == {"shop:add"}


def test_a_store_that_cannot_be_written_is_read(shop: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    count = len(snapshot(shop, "calls", "add").stdout.splitlines())
    more = "import shop\nshop.add(1)\nshop.add(2)"  # which nobody folds in
    assert run_python(more, directory=shop).code == 0
    of_ours = [each for each in shop.parents if "pytest-" in str(each)]
    for each in of_ours:
        each.chmod(0o755)
    for each in (shop, *shop.rglob("*")):
        if each.is_symlink():
            continue
        os.chown(each, 65534, 65534)
        each.chmod(0o555 if each.is_dir() else 0o444)
    program = """
import os
from snapshot.commands import main
from snapshot.store import showing
main(["calls", "add"])  # somebody else may not read what it imports
main(["delete", "0"])
os.setregid(65534, 65534)
os.setreuid(65534, 65534)
for words in (["calls", "add"], ["delete", "1"]):
    print(main(words))
"""
    found = run_python(program, directory=shop)
    assert found.stdout.count("  add(") == 2 * count > 0, found
    assert found.stdout.endswith("\n0\n2\n"), found
    left, refused = found.stderr.splitlines()[-2:]
    assert "calls that it has only in its spool are left out" in left
    assert refused.startswith("snapshot delete: ")
    assert "store.db cannot be written" in refused


def test_a_module_that_is_gone(tmp_path: Path) -> None:
    record(tmp_path, "import shop; shop.add(1); shop.add(2)")
    (tmp_path / "shop.py").unlink()
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    for words in (["1"], ["--all"]):
        gone = snapshot(tmp_path, "replay", *words, "--json")
        assert gone.code == 2, gone
        assert verdicts(gone)["add"][0] == "could not run"
        assert "give the folder that it is in as import_path" in verdicts(gone)["add"][1]
    assert snapshot(tmp_path, "show", "1").code == 0


# Programs and tests.


def test_a_script_runs_from_anywhere(shop: Path, ids: dict[str, int]) -> None:
    bare = {"PATH": os.defpath, "HOME": "/", "PYTHONPATH": ""}
    elsewhere = shop / "elsewhere"
    elsewhere.mkdir()

    def run(call: int | str) -> Result:
        where = shop / f"again_{call}.py"
        wrote = snapshot(shop, "script", str(call), "-o", where)
        assert wrote.stdout == f"wrote {where}\n", wrote
        command = f"cd {elsewhere} && env -i {{}}"
        return run_python(where, directory=shop, env=bare, via_shell=command)

    result = run(2)
    assert result.code == 0, result
    assert result.stdout == "Result: 9\ncall 2 of shop:add: as it was recorded\n"
    assert run(ids["local(1)"]).code == 0
    assert run(ids["refuse(7)"]).stdout.startswith("Error: ShopError('no 7')\n")
    differs = run(ids_of(ids, "append"))
    assert (differs.code, differs.stderr) == (1, ""), differs
    assert "not as it was recorded\n  value: 'x' then, 'xx' now" in differs.stdout
    for name, why in (("login", "was not stored"), ("touchy", "not here"), ("never", "SIGKILL")):
        refused = run(ids_of(ids, name))
        assert (refused.code, refused.stdout) == (1, ""), refused
        assert re.fullmatch(f"It could not be made: .*{why}.*\n", refused.stderr), refused
    again = snapshot(shop, "script", "2", "-o", shop / "again_2.py")
    one_line(again, "is there already: name another file")


def test_a_test_is_written_with_literals(shop: Path, ids: dict[str, int]) -> None:
    texts = {}
    for call, number in ids.items():
        if call.startswith(("login", "touchy", "never", "append", "add(0", "hang", "grow")):
            continue
        wrote = snapshot(shop, "script", str(number), "--pytest")
        assert wrote.code == 0, wrote
        texts[call] = wrote.stdout
        (shop / f"test_{number}.py").write_text(wrote.stdout)
    number = ids["sort([2, 1], reverse=[None])"]
    assert re.sub("recorded .{19}", "recorded then", texts["sort([2, 1], reverse=[None])"]) == (
        f'"""Call {number} of shop:sort, recorded then, made again."""\n\nfrom shop import sort\n'
        f"\n\ndef test_sort_{number}() -> None:\n    argument_1 = [2, 1]\n"
        "    argument_reverse = [None]\n"
        "    assert sort(argument_1, reverse=argument_reverse) is None\n"
        "    assert argument_1 == [1, 2]\n    assert argument_reverse == [None, 1]\n"
    )
    number = ids["refuse(7)"]
    assert re.sub("recorded .{19}", "recorded then", texts["refuse(7)"]) == (
        f'"""Call {number} of shop:refuse, recorded then, made again."""\n\nimport pytest\n\n'
        "from shop import refuse\nfrom shop import ShopError\n\n\n"
        f"def test_refuse_{number}() -> None:\n    with pytest.raises(ShopError) as raised:\n"
        "        refuse(7)\n    assert str(raised.value) == 'no 7'\n"
    )
    for call, line in (
        ("add(1, 5, c=3)", "assert add(1, 5, c=3) == 9"),
        ("constant('nan')", "assert str(constant('nan')) == 'nan'"),
        ("constant('-0')", "assert str(constant('-0')) == '-0.0'"),
        ("constant('inf')", "assert constant('inf') == float('-inf')"),
        ("constant('none')", "assert constant('none') is None"),
        ("constant('true')", "assert constant('true') is True"),
        ("same(nan)", "assert str(same(float('nan'))) == 'nan'"),
        ("priced(2)", "monkeypatch.setattr(shop, 'LIMITS', {'a': [1, float('inf')]})"),
        ("priced(2)", "assert priced(2) == (6, {'a': [1, float('inf')]})"),
        ("later(1)", "assert asyncio.run(later(1)) == 1"),
        ("count(3)", "assert list(count(3)) == [0, 1, 2]"),
        ("fail('no\\nmore')", "assert str(raised.value) == 'no\\nmore'"),
    ):
        assert f"    {line}\n" in texts[call], texts[call]
    for call in ("constant('in')", "constant('complex')", "constant('huge')", "local(1)", "lock()"):
        assert "reanimate_function(" in texts[call], texts[call]
    assert "reanimate_function(" in texts["Basket.sum(Basket(prices=[1]), 4)"]
    script = shop / "run.py"
    script.write_text("import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))")
    result = run_python(script, directory=shop, env={"PYTHONPATH": str(shop)})
    assert result.code == 0, result
    assert f"{len(texts)} passed" in result.stdout


# What is deleted.


def test_delete(shop: Path) -> None:
    def left() -> list[int]:
        found = snapshot(shop, "calls", "add", "--json")
        return [each["id"] for each in json.loads(found.stdout)] if found.code == 0 else []

    def say(*words: str) -> str:
        result = snapshot(shop, *words)
        assert (result.code, result.stderr) == (0, ""), result
        return result.stdout

    first, second, *others = before = left()
    assert say("delete", "--older-than", "7d") == "deleted 0 calls\n"
    assert say("delete", "--older-than", "7d", "--dry-run") == "would delete 0 calls\n"
    some = f"{first}, {second}"
    assert say("delete", str(first), str(second), "--dry-run") == f"would delete 2 calls: {some}\n"
    assert left() == before
    assert say("delete", str(first), str(first)) == "deleted 1 call\n"
    one_line(snapshot(shop, "delete", str(first), str(second)), f"there is no call {first}")
    assert left() == [second, *others]
    assert say("delete", "--function", "add", "--keep-last", "3") == "deleted 1 call\n"
    assert say("delete", "--function", "add", "--keep-last", "5") == "deleted 0 calls\n"
    assert left() == others
    assert say("delete", "--older-than", "0s", "--function", "shop:add") == "deleted 3 calls\n"
    one_line(snapshot(shop, "calls", "add"), "there are no calls of 'add'")
    large = shop / ".snapshot" / "store.db.files" / "objects"
    assert [each for each in large.rglob("*") if each.is_file()]
    assert say("delete", "--function", "total") == "deleted 1 call\n"
    assert [each for each in large.rglob("*") if each.is_file()] == []
    assert say("vacuum") == f"{shop}/.snapshot/store.db: freed 0 values\n"
    assert "of shop:sum_of" in say("show", str(ids_of_store(shop, "sum_of")))


def test_a_script_has_no_password(recorded: Path) -> None:
    with opened(recorded / ".snapshot" / "store.db") as store:
        call = store.calls.get(store.calls.ids("refuse")[0])
    for url in ("postgresql://me:secret@host/db", "postgresql://host/db?password=secret"):
        elsewhere: Any = SimpleNamespace(place=Place(recorded, recorded, url))
        text = reanimation_script(elsewhere, call)
        assert "secret" not in text
        assert f"reanimate_function('{call.id}', os.environ['SNAPSHOT_STORE'], " in text
        compile(text, "script", "exec")


def ids_of_store(shop: Path, name: str) -> int:
    found = json.loads(snapshot(shop, "calls", name, "--json").stdout)
    return int(found[0]["id"])


def test_a_damaged_spool_costs_no_other_calls(shop: Path) -> None:
    spool = shop / ".snapshot" / "store.db.files" / "spool" / "1-0-0.spool"
    spool.write_bytes(framed(events.KIND, b"no record"))
    spool.chmod(0o600)
    for words in (["calls", "add"], ["show", "1"], ["replay", "--function", "add"]):
        result = snapshot(shop, *words)
        assert result.code == 0, result
        assert re.fullmatch(f"snapshot: {spool} is damaged: .*; its calls .*\n", result.stderr), (
            result
        )
    assert spool.exists()


# Archives.


def test_an_archive_is_taken_in(shop: Path, ids: dict[str, int], tmp_path: Path) -> None:
    assert snapshot(shop, "export", "all.calls", "--all").stdout == (
        f"wrote {len(ids) + 2} calls to all.calls\n"  # of two there are two
    )
    one_line(snapshot(shop, "export", "all.calls", "1"), "is there already")
    assert snapshot(shop, "export", "add.calls", "--function", "add").code == 0
    new = ("--store", "new/other.db")
    for _ in range(2):
        taken = snapshot(shop, "import", "all.calls", *new)
        assert taken.stdout == f"imported {len(ids) + 2} calls\n", taken
    listed = json.loads(snapshot(shop, "calls", "--json", "--limit", "1000", *new).stdout)
    assert len({each["id"] for each in listed}) == 2 * len(ids) + 4
    for call in ("total(array(shape=(100000,), dtype=float64))", "sum_of(3)", "refuse(7)"):
        old = json.loads(snapshot(shop, "show", "--json", str(ids[call])).stdout)
        for each in (found for found in listed if found["call"] == call):
            taken = json.loads(snapshot(shop, "show", "--json", str(each["id"]), *new).stdout)
            assert len(taken.pop("children")) == len(old["children"])
            same = old.keys() - {"id", "children"}
            assert {name: taken[name] for name in same} == {name: old[name] for name in same}
    ours = [str(each["id"]) for each in listed if each["function"] in ("shop:total", "shop:sum_of")]
    again = snapshot(shop, "replay", *ours, *new)
    assert again.code == 0, again


def test_an_archive_that_is_not_whole(shop: Path) -> None:
    assert snapshot(shop, "export", "all.calls", "--all").code == 0
    whole = (shop / "all.calls").read_bytes()
    damaged = shop / "damaged.calls"
    begin = whole.index(b"\n") + 1
    ends = [begin, *(after for _, after, _ in framed_in(whole, begin))]
    assert ends[-1] == len(whole)
    assert archive.records(shop / "all.calls")
    for size in [0, 1, begin - 1, *ends[:-1], *(each - 1 for each in ends)]:
        damaged.write_bytes(whole[:size])
        with pytest.raises(CannotRead):
            archive.records(damaged)
    for position in range(0, len(whole), len(whole) // 50):
        damaged.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(CannotRead):
            archive.records(damaged)
    one_line(snapshot(shop, "import", damaged, "--store", "new.db"), "damaged.calls is damaged")
    assert not (shop / "new.db").exists()
    one_line(snapshot(shop, "import", "shop.py"), "shop.py is no archive of calls")
    one_line(snapshot(shop, "import", "nothing"), "cannot read nothing: No such file")


PROCESS: dict[str, Any] = {
    **{"session": "s", "parent": None, "forked": 0, "pid": 1, "host": "h", "python": "3.12.1"},
    **{"folder": None, "path": [], "main": None},
}
FUNCTION: dict[str, Any] = {
    **{"number": 1, "key": "os:getpid", "digest": "00" * 32, "kind": "function", "source": None},
    **{"file": "f", "line": 1, "parameters": [], "code": "00" * 32},
}
VALUE = b"\x80\x05)}\x86."  # ((), {})

# What no archive says of a function, or of a process.
ODD: list[dict[str, Any]] = [
    *({"keep_last": 0}, {"keep_last": 1}, {"code": "x"}, {"code": "00"}, {"line": -1}),
    *({"parameters": [1]}, {"kind": "x"}, {"source": "\0"}, {"key": "a\0"}, {"x": []}),
    *({"key": "\ud800"}, {"number": True}, {"line": 1 << 40}, {"digest": "00 " * 32}),
]
ODD_PROCESSES: list[dict[str, Any]] = [
    *({"path": [1]}, {"folder": "\0"}, {"package": 1}, {"pid": -1}, {"x": {}})
]


def test_a_hostile_archive(shop: Path) -> None:
    process = events.told("process", PROCESS)
    function = events.told("function", FUNCTION)
    thread = events.told("thread", {"number": 1, "name": "t"})
    entered = events.entered(1, 1, 0, 1, 1, VALUE, b"")
    good = [process, function, thread, entered, events.left(1, 1, 1, VALUE)]
    bad: list[list[bytes]] = [
        [process, function, thread, b"?"],
        [process, function, thread, b""],
        [process, function, thread, b"E"],
        [process, function, thread, b"T[]"],
        [process, function, thread, b'T["function", 1]'],
        [process, function, thread, b"T" + b"[" * 100_000],
        [entered],
        [process, entered],
        [process, function, entered],
        [events.told("process", {**PROCESS, "forked": 5})],
        [events.told("process", {**PROCESS, "parent": "other"})],
        *([events.told("process", {**PROCESS, each: 1.5})] for each in PROCESS),
        *([process, events.told("function", {**FUNCTION, each: {}})] for each in FUNCTION),
        *([process, events.told("function", FUNCTION | each), thread, entered] for each in ODD),
        *([events.told("process", PROCESS | each)] for each in ODD_PROCESSES),
        [process, events.told("other", {}), function, thread, entered],
        [process, function, thread, events.entered(1, 1, 0, -(1 << 62), 1, VALUE, b"")],
        [process, events.told("function", {**FUNCTION, "digest": "x"}), thread, entered],
        [process, function, thread, events.entered(1, 1, 1, 1, 1, VALUE, b"")],
        [process, function, thread, events.entered(1, 1, 0, 1 << 62, 1, VALUE, b"")],
        [process, function, thread, events.entered(1, 7, 0, 1, 1, VALUE, b"")],
        *(
            [process, function, thread, events.entered(1, 1, 0, 1, 1, each, b"")]
            for each in (b"#" + bytes(32), b"%", b"%\xff\xff\xff\xff", b"@\2\0\0\0{}", b"nothing",
                         events.outside(VALUE, [(bytes(32), 7)], "t", "t"))
        ),
        [*good[:4], events.left(1, 9, 1, VALUE)],
        [*good[:4], events.left(1, 2, 1, VALUE, b"", {"type": "E"})],
    ]  # fmt: skip
    with Store(shop / ".snapshot" / "store.db") as store:
        before = store.calls.count()
        for records in [good, *bad]:
            content = [framed(2, b"w"), *(framed(1, each) for each in records)]
            content.append(framed(3, str(len(content)).encode()))
            path = shop / "hostile.calls"
            path.write_bytes(b"snapshot: an archive of calls, version 1\n" + b"".join(content))
            if records is good:
                assert archive.read(store, path) == 1
                continue
            with pytest.raises((CannotRead, SnapshotError)) as raised:
                archive.read(store, path)
            assert "\n" not in str(raised.value)
            assert store.calls.count() == before + 1, records
    one_line(snapshot(shop, "import", "hostile.calls"), "hostile.calls is damaged")
    path.write_bytes(path.read_bytes().replace(b"version 1", b"version 2"))
    one_line(
        snapshot(shop, "import", "hostile.calls"), "no archive of calls, or of another version"
    )


# Which store.


def test_the_store_that_is_meant(shop: Path, tmp_path: Path) -> None:
    inner = shop / "deep" / "down"
    inner.mkdir(parents=True)
    command = "cd deep/down && {}"
    assert "add(1)" in installed(shop, "calls", via_shell=command).stdout
    other = str(shop / "other.db")
    for words, env in ((["--store", other], {}), ([], {"SNAPSHOT_STORE": other})):
        for reading in (["calls"], ["show", "1"], ["replay", "1"], ["replay", "--all"],
                        ["delete", "1"], ["script", "1"], ["vacuum"],
                        ["export", "x", "--all"]):  # fmt: skip
            result = snapshot(shop, *reading, *words, env=env)
            one_line(result, f"there is no store {other}: record something first")
    assert not list(shop.glob("other*"))
    assert not (shop / "x").exists()
    assert snapshot(shop, "export", "x", "1").code == 0
    assert snapshot(shop, "import", "x", env={"SNAPSHOT_STORE": other}).code == 0
    assert snapshot(shop, "calls", "--store", other).stdout.startswith("1  ")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("show 99999", "there is no call 99999 in "),
        ("show 0", "there is no call 0"),
        ("show one", "'one' is no id of a call: give a number from 1"),
        ("show ²", "is no id of a call"),
        ("show 9999999999999999999999", "is no id of a call"),
        ("replay", "give the ids of calls, or --function, or --all"),
        ("replay 1 99999", "there is no call 99999"),
        ("replay 1 --all", "--all goes without"),
        ("replay --all --function add", "--all goes without"),
        ("replay 1 2 --jobs 0", "--jobs 0: give a number from 1"),
        ("replay 1 --jobs 2", "go with several calls"),
        ("replay 1 --timeout soon", "'soon' is no duration: write"),
        ("replay 1 2 --memory much", "is no size"),
        ("replay 1 --memory much", "is no size"),
        ("replay 1 2 --files /nowhere", "'/nowhere' is not there"),
        ("replay --function nothing", "there are no calls of 'nothing'; functions that have some:"),
        (
            "calls nothing",
            "there are no calls of 'nothing'; functions that have some: __main__:local",
        ),
        ("calls --limit 0", "--limit 0: give a number from 1"),
        ("calls --limit 99999999999999999999", "give a number from 1"),
        ("calls --since yesterday", "'yesterday' is no time: write 2026-01-31"),
        ("calls --since 99999999999999999999d", "is no time"),
        ("calls --slower-than 99999999999999999999d", "is too long"),
        ("delete", "give the ids of calls, or --function"),
        ("delete 1 99999", "there is no call 99999"),
        ("delete 1 --older-than 1d", "--older-than goes with --function alone"),
        ("delete 1 --keep-last 1", "--keep-last goes with --function"),
        ("delete --function add --keep-last x", "is a number"),
        ("delete --older-than 99999999999999999999d", "is too long"),
        ("script 99999", "there is no call 99999"),
        ("script 1 -o /nowhere/x", "cannot write /nowhere/x: No such file or directory"),
        ("export /nowhere/x --all", "cannot write /nowhere/x: No such file or directory"),
        ("export x", "give the ids of calls, or --function, or all"),
        ("calls --store .", "'.' is a directory: name the file in it that is the store"),
        ("calls --store http://user:pw@host/x", "'http://user:***@host/x' is no store"),
        ("calls --store shop.py", "shop.py is no store, or is damaged"),
        ("import /", "cannot read /: Is a directory"),
    ],
)
def test_a_mistake_is_one_line(recorded: Path, words: str, expected: str) -> None:
    one_line(snapshot(recorded, *words.split()), expected)


def test_a_store_that_is_damaged(shop: Path, ids: dict[str, int]) -> None:
    store = shop / ".snapshot" / "store.db"
    number = str(ids["total(array(shape=(100000,), dtype=float64))"])
    (large,) = (each for each in (store.parent / "store.db.files").rglob("*") if is_large(each))
    large.write_bytes(b"x" * large.stat().st_size)
    assert "array(shape=(100000,)" in snapshot(shop, "show", number).stdout
    assert "total(array(shape=(100000,)" in snapshot(shop, "calls", "total").stdout
    alone = snapshot(shop, "replay", number)
    assert (alone.code, alone.stderr) == (2, "")
    assert re.search("could not run: object [0-9a-f]{64} of .* is damaged", alone.stdout)
    several = snapshot(shop, "replay", number, "1", "--json")
    assert [each["status"] for each in json.loads(several.stdout)] == ["could not run", "matched"]
    one_line(snapshot(shop, "export", "x", number), "is damaged: its content is not what its name")
    assert not (shop / "x").exists()
    with contextlib.closing(sqlite3.connect(store)) as database:
        database.execute("PRAGMA user_version = 99")
    for words in ("calls", "show 1", "replay 1", "vacuum", "import all.calls"):
        if words.startswith("import"):
            continue
        one_line(snapshot(shop, *words.split()), "was made by a later snapshot (version 99")
    store.write_bytes(b"SQLite format 3\0" + b"\1" * 5000)
    one_line(snapshot(shop, "calls"), "is no store, or is damaged")
    assert store.stat().st_size == 5016


def is_large(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 1 << 18


def test_a_store_that_others_may_write_to(shop: Path) -> None:
    store = shop / ".snapshot" / "store.db"
    store.chmod(0o666)
    assert "add(1)" in snapshot(shop, "calls").stdout
    assert "called with\n  a: 1\n" in snapshot(shop, "show", "1").stdout
    assert snapshot(shop, "delete", "1", "--dry-run").code == 0
    for words in ("replay 1", "replay 1 2", "export x --all"):
        result = snapshot(shop, *words.split())
        assert result.code == 2, result
        assert f"other users may write to {store}" in result.stdout + result.stderr
        assert "(--trust)" in result.stdout + result.stderr
        assert "Traceback" not in result.stderr
    assert snapshot(shop, "replay", "1", "--trust").code == 0
    assert snapshot(shop, "export", "x", "--all", "--trust").code == 0
    if os.getuid() == 0:
        store.chmod(0o600)
        os.chown(store, 12345, 12345)
        assert "add(1)" in snapshot(shop, "calls").stdout
        one_line(snapshot(shop, "replay", "1"), f"{store} belongs to another user")


def test_no_room(shop: Path) -> None:
    full = "ulimit -f 0; {}"  # no file may grow
    before = snapshot(shop, "calls", "--limit", "1000").stdout
    for words in ("vacuum", "delete --function add", "export x --all"):
        one_line(installed(shop, *words.split(), via_shell=full))
    assert snapshot(shop, "calls", "--limit", "1000").stdout == before
    assert not (shop / "x").exists()


STRANGE = r"""
import shop
from snapshot.replay import record
BAD = "\x1b[31mred\x1b]0;title\x07\r\x00\udc80\u202e\x9b"
NAME = BAD.replace("\x00", "").replace("\udc80", "")  # such names there are

def fail(text, **words):
    raise type("Error" + NAME, (Exception,), {})(text + "\nsecond" + text)
fail.__code__ = fail.__code__.replace(co_qualname="fail" + NAME)

class Odd:
    def __repr__(self):
        return BAD
    def __reduce__(self):
        return Odd, ()

def odd(value):
    return Odd()

try:
    record(fail)(BAD, **{BAD: BAD})
except Exception:
    pass
record(odd)(Odd())
"""


def test_what_is_told_does_not_garble_a_terminal(tmp_path: Path) -> None:
    record(tmp_path, STRANGE)
    strange = re.compile(r"[^\n -~\xa1-\u2000\u2010-\u2027\u2030-\ud7ff]")
    for env in ({"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}):
        with contextlib.closing(Server(tmp_path, env)) as server:  # whose encoding is that
            for line in (
                *("calls", "calls --json", "show 1", "show 1 --json", "show 2", "calls nothing"),
                *("replay 1", "replay 2", "replay --all", "replay 1 2 --timeout 0.000001"),
                *("script 1", "script 1 --pytest"),
            ):
                result = server.run(tmp_path, *line.split(), env=env)
                said = result.stdout + result.stderr
                assert said, line
                assert result.code in (0, 1, 2), result
                assert "snapshot/commands" not in said, result
                assert not strange.search(said), (line, env, said)
                assert "PYTHONIOENCODING" not in env or said.isascii(), (line, said)
    shown = snapshot(tmp_path, "show", "1").stdout
    assert "Error\\x1b[31mred\\x1b]0;title\\x07\\r\\u202e\\x9b: " in shown
    assert "second\\x1b[31mred\\x1b]0;title\\x07\\r\\0\\udc80\\u202e\\x9b\n" in shown
    assert "of __main__:fail\\x1b[31mred\\x1b]0;title" in shown


def test_piping_into_head(recorded: Path) -> None:
    for words in ("calls", "show 1", "replay 1 2"):
        for end in ("head -n 1", "true"):
            result = installed(recorded, *words.split(), via_shell=f"{{}} | {end}")
            assert (result.code, result.stderr) == (0, ""), result


def test_help(recorded: Path) -> None:
    shown = snapshot(recorded, "--help").stdout
    names = ("calls", "show", "replay", "script", "delete", "vacuum", "export", "import")
    for name in names:
        own = snapshot(recorded, name, "--help")
        assert (own.code, own.stderr) == (0, ""), own
        assert own.stdout.startswith(f"usage: snapshot {name} ")
        assert "--store WHERE" in own.stdout
        assert re.search(f"^    {name} +[A-Z]", shown, re.MULTILINE)
    assert set(names) <= set(commands.COMMANDS)


# A server.


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    if postgres.binaries() is None:
        reason = "PostgreSQL's server is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with postgres.server() as url:
        yield url


def test_a_store_in_postgresql(server: str, shop: Path, ids: dict[str, int]) -> None:
    there = {"SNAPSHOT_STORE": server}
    (shop / "empty").mkdir()
    record(shop, "import shop; shop.add(1); shop.add(2); shop.talk()", env=there)
    listed = snapshot(shop, "calls", env=there)
    assert [line.split("  ")[-1] for line in listed.stdout.splitlines()] == [
        *("add(1) → 3", "add(2) → 4", "talk() → 5")
    ]
    assert "called with\n  a: 1\n" in snapshot(shop, "show", "1", "--store", server).stdout
    result = snapshot(shop, "replay", "--all", "--json", env=there)
    assert (result.code, set(verdicts(result).values())) == (0, {("matched", "")}), result
    assert snapshot(shop, "replay", "3", env=there).stdout.startswith("said\nand cried\n5\n")
    assert snapshot(shop, "delete", "1", env=there).stdout == "deleted 1 call\n"
    one_line(snapshot(shop, "show", "1", env=there), "those it has are between 2 and 3")
    assert snapshot(shop, "vacuum", env=there).code == 0
    assert snapshot(shop, "export", "all.calls", "--all").code == 0
    assert snapshot(shop, "import", "all.calls", env=there).code == 0
    numbers = {each["call"]: str(each["id"]) for each in json.loads(
        snapshot(shop, "calls", "--json", "--limit", "1000", env=there).stdout)}  # fmt: skip
    assert ids.keys() <= numbers.keys()
    large = numbers["total(array(shape=(100000,), dtype=float64))"]
    again = snapshot(shop, "replay", large, numbers["sum_of(3)"], numbers["refuse(7)"], env=there)
    assert again.code == 0, again
    (shop / "damaged.calls").write_bytes((shop / "all.calls").read_bytes()[:-1])
    one_line(snapshot(shop, "import", "damaged.calls", env=there), "is damaged")


# On a terminal.


def test_on_a_terminal(shop: Path, open_terminal: Callable[..., Terminal]) -> None:
    record(shop, "import shop; shop.same('語' * 100); shop.same('x' * 100); shop.hang()")
    terminal = open_terminal(columns=60)
    shown = terminal.run("snapshot calls same").splitlines()
    assert len(shown) == 4
    wide, plain = shown[-2:]
    assert len(plain) == 60
    assert plain.endswith("…")
    assert "…) → 'xxx" in plain
    assert len(wide) < 60
    shown_again = terminal.run("snapshot calls --slower-than 1h")
    assert shown_again == "no such calls"
    mark = terminal.mark()
    table = terminal.run("snapshot replay --function add --jobs 1")
    assert table.splitlines()[0].split()[0] == "matched"
    assert "shop:add" in table
    assert re.search(r"█+░+ 1/5 calls\r.*█{30} 5/5 calls\r\x1b\[K", terminal.raw(), re.DOTALL)
    assert mark
    number = json.loads(snapshot(shop, "calls", "hang", "--json").stdout)[-1]["id"]
    for words in ("--function hang", str(number)):
        (shop / "hanging").unlink(missing_ok=True)  # there may be several calls that hang
        terminal.line(f"AGAIN=1 snapshot replay {words}")
        terminal.wait_until((shop / "hanging").exists, awaited="call that hangs")
        terminal.type("\x03")
        terminal.prompt()
        # With the line "interrupted", unless it came while a fork was made.
        assert "Traceback" not in terminal.screen()
        assert terminal.run("echo $?") == "130"


def test_the_program_that_records_goes_on(shop: Path, start: Callable[..., Program]) -> None:
    """Calls of one that still runs are there."""
    program = start("import shop; shop.same(12345); print('ready', flush=True); input()")
    program.wait_for("ready")
    assert "same(12345) → 12345" in snapshot(shop, "calls", "same").stdout
    program.send("\n")
    assert program.finish().code == 0


# What may be amiss.


def more(shop: Path, source: str = "import shop; shop.add(71)") -> None:
    """Calls that nobody has folded in."""
    assert run_python(source, directory=shop).code == 0


def unprivileged(folder: Path, *words: str) -> Result:
    """As installed, by somebody whom permissions concern: also as root."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root is refused nothing, and setpriv is not installed")
    without = "setpriv --bounding-set=-all --inh-caps=-all -- {}"
    return installed(folder, *words, via_shell=without if os.geteuid() == 0 else "{}")


@contextlib.contextmanager
def mode(path: Path, permissions: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(permissions)
    try:
        yield
    finally:
        path.chmod(before)


def test_what_is_not_taken_in_of_a_store_that_others_may_write_to_is_said(shop: Path) -> None:
    snapshot(shop, "calls")
    more(shop)
    store = shop / ".snapshot" / "store.db"
    store.chmod(0o666)
    replay = ["replay", "1", "--store", f"{store}"]
    for words in (["calls"], ["show", "1"], ["delete", "1", "--dry-run"], replay):
        result = snapshot(shop, *words)
        if words is replay:
            assert result.stderr.count("are left out") == 1, result
            continue
        assert (result.code, "add(71)" in result.stdout) == (0, False)
        assert result.stderr == (
            f"snapshot: other users may write to {store}: calls that it has only in its spool are "
            "left out, in 1 file (--trust takes them in, and lets its values be loaded)\n"
        )
    trusted = snapshot(shop, "calls", "--trust")
    assert (trusted.stderr, "add(71)" in trusted.stdout) == ("", True)
    assert snapshot(shop, "calls").stderr == ""


def test_permissions(shop: Path) -> None:
    snapshot(shop, "calls")
    store = shop / ".snapshot" / "store.db"
    files = shop / ".snapshot" / "store.db.files"
    more(shop)
    (spool,) = (files / "spool").iterdir()
    with mode(spool, 0):
        result = unprivileged(shop, "calls")
        assert (result.code, "add(71)" in result.stdout) == (0, False), result
        assert result.stderr == (
            f"snapshot: cannot read {spool}: Permission denied; its calls are left out\n"
        )
    with mode(files, 0):
        for words in (["calls"], ["vacuum"]):
            result = unprivileged(shop, *words)
            assert result.code == 0, result
            assert f"cannot look into {files}/spool: Permission denied" in result.stderr
            assert len(result.stderr.splitlines()) == 1, result
        assert "add(1)" in unprivileged(shop, "calls").stdout
    assert [each for each in (files / "objects").rglob("*") if each.is_file()]
    with mode(files / "spool", 0o500):
        for words in (["calls"], ["vacuum"], ["calls"]):
            result = unprivileged(shop, *words)
            assert result.code == 0, result
            assert "add(71)" in result.stdout or words == ["vacuum"]
            expected = f"snapshot: cannot delete {spool}: Permission denied\n"
            assert result.stderr == (expected if words == ["vacuum"] else "")
    with mode(store.parent, 0):
        refused = f"cannot look for {store}: Permission denied"
        for words in (["calls"], ["vacuum"], ["import", "x"], ["replay", "--all"]):
            one_line(unprivileged(shop, *words), refused if words[0] != "import" else "")
    with mode(store, 0):
        one_line(unprivileged(shop, "calls"), "may you read it")
    (large,) = (each for each in (files / "objects").rglob("*") if each.is_file())
    with mode(large.parent, 0o500):
        result = unprivileged(shop, "delete", "--function", "total")
        assert (result.code, result.stdout) == (0, "deleted 1 call\n")
        assert result.stderr == f"snapshot: cannot delete {large}: Permission denied\n"
    assert unprivileged(shop, "vacuum").stdout.endswith("freed 1 value\n")
    assert not large.exists()
    assert unprivileged(shop, "calls").code == 0


def test_spool_files_that_are_damaged_or_missing(shop: Path) -> None:
    spools = shop / ".snapshot" / "store.db.files" / "spool"
    snapshot(shop, "calls")
    more(shop, "import shop\nfor n in range(5000): shop.add(n)")
    first, second, *_ = sorted(spools.iterdir(), key=lambda each: each.name)
    first.write_bytes(first.read_bytes()[:100])
    more(shop)
    for words in (["calls", "add", "--json"], ["show", "1"], ["vacuum"], ["delete", "1"]):
        result = snapshot(shop, *words)
        assert result.code == 0, result
        assert re.fullmatch(
            f"snapshot: {first} is damaged: .* from byte 0 on .*; its calls are left out\n",
            result.stderr,
        ), result
    assert "add(71)" in snapshot(shop, "calls").stdout
    first.unlink()
    assert f"{second} refers to what is not in" in snapshot(shop, "calls").stderr


def test_without_a_working_directory(tmp_path: Path) -> None:
    source = """
    import os, sys
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")
    del sys.modules["__main__"].__file__
    from snapshot.replay import lost, record

    @record
    def add(a):
        return a + 1

    @record(store="relative.db")
    def sub(a):
        return a - 1

    print(add(1), sub(1), lost())
    from snapshot.commands import main
    for words in ("calls", "vacuum", "calls --store x.db", "export x 1", "import x"):
        print(main(words.split()))
    """
    result = run_python(source, directory=tmp_path)
    assert result.stdout == "2 0 2\n" + "2\n" * 5
    said = [line for line in result.stderr.splitlines() if line.startswith("snapshot ")]
    assert len(said) == 5
    assert all("there is no working directory" in line for line in said[:4]), said
    assert result.stderr.count("Warning: calls are not recorded in") == 2
    assert "Traceback" not in result.stderr


def test_a_call_that_is_too_large_for_an_archive(
    recorded: Path, tmp_path: Path, ids: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = ids["total(array(shape=(100000,), dtype=float64))"]
    monkeypatch.setattr(archive, "_LARGEST", archive._ROOM + 800_000)
    with opened(recorded / ".snapshot" / "store.db") as store:
        with pytest.raises(StoreError, match=f"the values of call {number} have 8.* bytes: an"):
            archive.write(store, store.calls.ids(), tmp_path / "x")
        assert not list(tmp_path.iterdir())
        others = [each for each in store.calls.ids() if each != number]
        assert archive.write(store, others, tmp_path / "x") == len(others)


def test_names_of_archives(shop: Path) -> None:
    long = "x" * 250
    assert snapshot(shop, "export", long, "1").code == 0
    one_line(snapshot(shop, "export", "y" * 256, "1"), "File name too long")
    strange = shop / os.fsdecode(b"\xff.calls")
    (shop / long).rename(strange)
    command = "{} $(printf '\\377').calls --store new.db"
    result = installed(shop, "import", via_shell=command)
    assert (result.stdout, result.stderr) == ("imported 1 call\n", ""), result
    one_line(snapshot(shop, "import", strange.with_suffix(".gone")), "\\udcff.gone: No such file")


def test_what_cannot_be_printed(recorded: Path) -> None:
    for words in ("calls", "show 1", "replay 1", "replay 1 2", "calls --json"):
        for end, why in ((">/dev/full", "No space left"), (">&-", "standard output is closed")):
            one_line(installed(recorded, *words.split(), via_shell=f"{{}} {end}"), why)


def test_ctrl_c_is_one_line(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for words in ("calls", "show 1", "vacuum", "delete 1", "export x 1", "replay 1", "import x"):
        for where in ("snapshot.commands.import_module", "snapshot.store.Store._open"):
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(recorded)
                patch.setattr(where, interrupt)
                if words == "import x" and "_open" in where:
                    patch.setattr(archive, "records", lambda _: [])
                assert commands.main(words.split()) == 130
            said = capsys.readouterr()
            name = words.partition(" ")[0]
            assert (said.out, said.err) == ("", f"snapshot {name}: interrupted\n")


def test_a_number_may_have_thousands_of_digits(recorded: Path) -> None:
    digits = "9" * 5000
    one_line(snapshot(recorded, "replay", "1", "2", "--jobs", digits), "give a number from 1")
    one_line(
        snapshot(recorded, "delete", "--function", "add", "--keep-last", digits), "is a number"
    )


def test_where_nothing_can_be_folded_in_room_is_made(shop: Path) -> None:
    snapshot(shop, "calls")
    more(shop, "import shop\nfor n in range(2000): shop.same(str(n) * 500)")
    small = "ulimit -f 2048; {}"  # a megabyte, or two
    for words, said in (
        (["delete", "--function", "total"], "deleted 1 call\n"),
        (["calls", "total"], ""),
        (["vacuum"], f"{shop}/.snapshot/store.db: freed 0 values\n"),
    ):
        result = installed(shop, *words, via_shell=small)
        assert result.stdout == said, result
        assert re.match(
            "snapshot: .*; calls that it has only in its spool are left out\n", result.stderr
        ), result
    objects = shop / ".snapshot" / "store.db.files" / "objects"
    assert not [each for each in objects.rglob("*") if each.is_file()]
    shown = json.loads(snapshot(shop, "calls", "same", "--limit", "9999", "--json").stdout)
    assert len(shown) >= 2000


def test_a_call_under_the_debugger(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal(rows=40, columns=160)
    (terminal.directory / "sums.py").write_text(
        textwrap.dedent(
            """
            from snapshot.replay import record

            @record
            def total(prices, rate=0.5):
                result = 0
                for price in prices:
                    result += price
                return result * (1 + rate)

            print(total([10, 20]))
            """
        )
    )
    (terminal.directory / ".snapshot").mkdir()
    terminal.run("python sums.py")
    it = Debugging(terminal, "", command="snapshot replay 1 --debug")
    assert (it.position, it.line) == (2, 6)
    assert it.lines("n", "n", "n", "n", "rn", "rn") == [7, 8, 7, 8, 7, 8]
    assert it.say("p prices, result") == "([10, 20], 0)"
    assert "result: (not there) → 0" in it.say("last result")
    assert it.say("c").startswith("The program has ended.")
    assert it.lines("rn") == [9]
    it.say("c")
    assert it.say("q").splitlines() == ["45.0", "call 1 of __main__:total: as it was recorded"]
    assert it.terminal.run("echo $?") == "0"
    assert Debugging(terminal, "", command="snapshot replay 1 --debug").quit() == 0
    for wrong, told in (
        ("1 1 --debug", "--debug: one call at a time, give its id"),
        ("1 --debug --timeout 3", "--debug goes without --cluster, --timeout, --memory, --files"),
        ("7 --debug", "there is no call 7 in "),
    ):
        assert terminal.run(f"snapshot replay {wrong}").startswith(f"snapshot replay: {told}")
        assert terminal.run("echo $?") == "2"
