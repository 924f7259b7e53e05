"""Reanimation: a recorded call is loaded, made again, compared and deleted, by other programs."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import pytest

from snapshot.errors import (
    DamagedObject,
    NoStore,
    StoreError,
    StoreTooNew,
    UnknownCall,
    UnknownObject,
    UsageError,
)
from snapshot.replay import (
    FunctionCallTracker,
    ObjectManager,
    delete_function_execution,
    init_db,
    load_execution_data,
    reanimate_function,
)
from snapshot.replay.comparing import differences
from snapshot.replay.executions import opened
from snapshot.replay.restoring import Restoring
from snapshot.replay.scripts import pytest_script
from snapshot.replay.surroundings import Surroundings
from snapshot.store.objects import Placeholder
from snapshot.store.schema import VERSION
from tests.libraries import require
from tests.processes import Result

Run = Callable[..., Result]


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A store that is not there yet."""
    return tmp_path / "stored" / "store.db"


@pytest.fixture
def run(python: Run, where: Path) -> Run:
    """Run a program that uses this store, to its good end, without a word on standard error.

    It has `ids`, which gives the ids of the calls of a function, and `again`, which reanimates
    the one call of a function.
    """

    def ran(source: str | Path, *args: str | Path, **options: Any) -> Result:
        result = python(source, *args, env={"SNAPSHOT_STORE": str(where)}, **options)
        assert (result.code, result.stderr) == (0, ""), result
        return result

    return ran


# What a program that reanimates begins with.
AGAIN = """
import os, sys
import snapshot.errors
from snapshot.errors import *
from snapshot.replay import FunctionCallTracker, init_db, load_execution_data, reanimate_function

def ids(name):
    with init_db()() as session:
        return FunctionCallTracker(session).get_call_history(name)

def again(name, which=0, **options):
    return reanimate_function(ids(name)[which], **options)

def fails(kind, name, which=0, **options):
    try:
        value = again(name, which, **options)
    except BaseException as error:
        assert type(error) is kind, (type(error), error)
        return str(error)
    raise AssertionError(f"{name} gave {value!r}")
"""

MODULE = """
import asyncio, os, random, sys, threading, time
from dataclasses import dataclass
from snapshot.replay import record

LIMIT = 10
LOADED = []
LOADED.append("module")

class Wrong(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code = code

@record
def add(a, b=2, *args, c=5, **kw):
    return a + b + sum(args) + c + sum(kw.values())

@record
def only(a, b=7, /, *, c=3):
    return a, b, c

@record
def limited(n):
    return min(n, LIMIT)

@record
def wrong(code):
    raise Wrong(code, "wrong")

@record
def own(value):
    return Point(value, [value])

@dataclass
class Point:
    x: object
    rest: object
    @record
    def moved(self, by):
        self.x += by
        return self
    @record
    @classmethod
    def origin(cls):
        return cls(0, [])
    @record
    @staticmethod
    def zero():
        return 0
    @record
    @property
    def double(self):
        return 2 * self.x
    @record
    def __call__(self, n):
        return self.x + n

def make(base):
    box = [base]
    @record
    def inner(n, by=2):
        if n == 0:
            return box[0]
        return inner(n - 1) + by
    @record
    def alone(n):
        return [n, *box]
    return inner, alone

double = record(lambda x, y=2: x * y)

@record
async def waits(n):
    await asyncio.sleep(0)
    return n + 1

@record
async def counts(n):
    for each in range(n):
        yield each

@record
def numbers(n):
    box = []
    for each in range(n):
        box.append(each)
        yield box

@record
def harms(n):
    if "REPLAYED" in os.environ:
        global LIMIT
        LIMIT = 99
        os.chdir("/")
        os.environ["HARM"] = "1"
        sys.modules["harm"] = sys
        sys.path.insert(0, "/harm")
        random.random()
        import colorsys
        print("harms")
        print("to stderr", file=sys.stderr)
    return n

@record
def writes(name):
    with open(name, "a") as file:
        file.write("written\\n")
    return os.path.getsize(name)

@record
def ends(how):
    if "REPLAYED" not in os.environ:
        return how
    if how == "exit":
        sys.exit(7)
    if how == "_exit":
        os._exit(8)
    if how == "crash":
        os.kill(os.getpid(), 11)
    if how == "hang":
        time.sleep(60)
    if how == "eat":
        eaten = [bytearray(1 << 20) for _ in range(2000)]
    if how == "lock":
        return threading.Lock()
    return how
"""

RECORDING = """
import asyncio, os
import functions
from functions import *

assert add(1, 2, 3, c=4, d=5) == 15
only(1)
only(1, 2, c=4)
functions.LIMIT = 5
limited(8)
functions.LIMIT = 10
limited(8)
try:
    wrong(42)
except Wrong:
    pass
own("x")
Point(1, []).moved(2)
Point.origin()
Point.zero()
Point(4, []).double
Point(4, [])(3)
inner, alone = make(10)
inner(2)
alone(3)
double(4)
double(4, y=3)
asyncio.run(waits(1))
async def collect(): return [each async for each in counts(3)]
asyncio.run(collect())
list(numbers(3))
each = numbers(3); next(each); next(each); each.close()
harms(5)
for each in ("exit", "_exit", "crash", "hang", "eat", "lock"):
    ends(each)
writes("written.txt")
"""


@pytest.fixture
def recorded(run: Run, where: Path, tmp_path: Path) -> Path:
    """A store with the calls of the module `functions`."""
    (tmp_path / "functions.py").write_text(MODULE)
    run(RECORDING)
    (tmp_path / "written.txt").unlink()
    return where


def test_calls_of_a_module_are_made_again(recorded: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    source = (
        AGAIN
        + """
assert "functions" not in sys.modules
assert again("add") == 15
assert again("only") == (1, 7, 3) and again("only", 1) == (1, 2, 4)
assert again("limited") == 5 and again("limited", 1) == 8
assert again("Point.zero") == 0 and again("Point.double") == 8 and again("Point.__call__") == 7
assert again("numbers") == [[0, 1, 2]] * 3 and len(again("numbers", 1)) == 2
assert again("counts") == [0, 1, 2] and again("waits") == 2
assert again("make.<locals>.inner") == 14
assert again("alone") == [3, 10]
assert again("<lambda>") == 8 and again("<lambda>", 1) == 12
assert again("add", overrides={"a": 10}) == 24
assert again("limited", overrides={"LIMIT": 3}) == 3
assert "functions" not in sys.modules
point = again("own")
import functions
assert type(point) is functions.Point and (point.x, point.rest) == ("x", ["x"])
assert again("own") == point and again("Point.moved") == functions.Point(3, [])
assert again("Point.origin") == functions.Point(0, [])
try:
    again("wrong")
except functions.Wrong as error:
    assert (error.code, error.args) == (42, (42, "wrong"))
    assert "in wrong" in str(error.__cause__)
else:
    raise AssertionError
functions.LIMIT = 1000
assert again("limited") == 5 and functions.LIMIT == 1000  # what was recorded is put in place
assert functions.LOADED == ["module"]
"""
    )
    run(source)


def test_the_caller_is_left_as_it_was(recorded: Path, run: Run, tmp_path: Path) -> None:
    source = (
        AGAIN
        + """
import random
os.environ["REPLAYED"] = "1"
name = ids("harms")[0]
reanimate_function(name, compare=True)  # what we import ourselves
def state():
    names = {name: each for name, each in globals().items() if name != "before"}
    return (names, set(sys.modules), list(sys.path), os.getcwd(), dict(os.environ),
            random.getstate(), sorted(os.listdir(".")), sorted(os.listdir("/dev/fd")))
before = state()
made = reanimate_function(name, compare=True)
assert (made.value, made.output, made.matches) == (5, "harms\\nto stderr\\n", True), made
del made
assert state() == before
made = again("writes", files=".", compare=True)
assert made.value == 8, made
assert again("writes", files=["."]) == 8
assert not os.path.exists("written.txt")
assert again("writes") == 8 and os.path.exists("written.txt")
"""
    )
    run(source)


def test_what_becomes_of_the_fork_is_an_error_of_its_own(recorded: Path, run: Run) -> None:
    source = (
        AGAIN
        + """
os.environ["REPLAYED"] = "1"
assert "code 7" in fails(ForkExited, "ends")
assert "code 8" in fails(ForkExited, "ends", 1)
assert "SIGSEGV" in fails(ForkKilled, "ends", 2)
assert "0.3 s" in fails(ForkTimeout, "ends", 3, timeout=0.3)
assert fails(ForkMemoryExceeded, "ends", 4, memory="60M")
assert "lock" in fails(ResultNotPicklable, "ends", 5)
for kind in (ForkExited, ForkKilled, ForkTimeout, ForkMemoryExceeded, ResultNotPicklable):
    assert issubclass(kind, ForkError)
fails(ForkKilled, "ends", 2, compare=True)
fails(ForkTimeout, "ends", 3, timeout=0.3, compare=True)
for options in ({"timeout": 1}, {"memory": 1}, {"files": "."}):
    fails(UsageError, "add", fork=False, **options)
fails(UsageError, "add", timeout=-1)
"""
    )
    run(source)


def test_without_a_fork_only_the_globals_are_put_back(recorded: Path, run: Run) -> None:
    source = (
        AGAIN
        + """
import functions
functions.LIMIT = 1000
assert again("limited", fork=False) == 5
assert functions.LIMIT == 1000
assert again("limited", fork=False, overrides={"LIMIT": 2}) == 2
assert functions.LIMIT == 1000
made = again("limited", fork=False, compare=True)
assert (made.value, made.matches, functions.LIMIT) == (5, True, 1000)
fails(functions.Wrong, "wrong", fork=False)
count = len(ids(None))
assert again("add", fork=False) == 15 and len(ids(None)) == count  # what is made again is none
"""
    )
    run(source)


SCRIPT = '''
import asyncio, os, sys, threading
from pathlib import Path
from snapshot.replay import record

Path("ran").open("a").write("ran\\n")
BASE = 7
COUNT = 0

class Counter:
    def __init__(self):
        self.n, self.lock = 10, threading.Lock()
    @record
    def add(self, n):
        """Add."""
        self.n += n
        return self
    @record
    def locked(self):
        with self.lock:
            return self.n

@record
def based(n, /):
    """Documentation
    of two lines."""
    return helper(n) * COUNT + BASE

def helper(n):
    return Special and n

@record
def fails(n):
    raise Special(n)

class Special(Exception):
    pass

def make(n):
    @record
    def inner():
        return n
    return inner

@record
async def waits(n):
    return n

@record
def numbers(n):
    yield from range(n)

def decorated(fn):
    def around(*args):
        return fn(*args) + 1
    return around

@decorated
@record
def below(n):
    return n

@record
@decorated
def above(n):
    return n

double = record(lambda x, y=3: x * y)

if __name__ == "__main__":
    COUNT = 3
    assert based(5) == 22
    COUNT = 4
    Counter().add(5)
    Counter().locked()
    try:
        fails(1)
    except Special:
        pass
    make([1])()
    asyncio.run(waits(6))
    list(numbers(3))
    assert below(1) == above(1) == 2
    double(2)
'''


def test_calls_of_a_script_are_made_again_and_its_body_is_not_run(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run(script)
    assert (tmp_path / "ran").read_text() == "ran\n"
    (tmp_path / "elsewhere").mkdir()
    source = (
        AGAIN
        + """
COUNT, BASE = "ours", "ours"
main = sys.modules["__main__"]
assert again("based") == 22
made = again("based", compare=True)
assert (made.value, made.matches, made.changed) == (22, True, False), str(made)
counter = again("Counter.add")
assert type(counter).__name__ == "Counter" and counter.n == 15
made = again("Counter.add", compare=True)
assert made.matches, str(made)
assert again("Counter.locked") == 10
text = fails_special = None
try:
    again("fails")
except Exception as error:
    assert (type(error).__name__, error.args) == ("Special", (1,))
assert again("fails", compare=True).matches
assert again("make.<locals>.inner") == [1] and again("waits") == 6
assert again("numbers") == [0, 1, 2] and again("<lambda>") == 6
assert again("below") == 1 and again("decorated.<locals>.around") == 2
for name in ("based", "Counter.add", "below", "decorated.<locals>.around", "<lambda>", "waits",
             "numbers", "make.<locals>.inner", "Counter.locked"):
    assert again(name, recorded_code=True, compare=True).matches, name
assert (COUNT, BASE) == ("ours", "ours") and sys.modules["__main__"] is main
assert not os.path.exists("ran"), "the body was run"
"""
    )
    run(source.replace("import os, sys\n", "import os, sys\nos.chdir('elsewhere')\n", 1))
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_calls_of_a_package_with_relative_imports(run: Run, tmp_path: Path) -> None:
    package = tmp_path / "place" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text("def base(n): return n + 1\n")
    (package / "work.py").write_text(
        "from snapshot.replay import record\n"
        "from .base import base\n"
        "@record\ndef work(n):\n    from .base import base as again\n"
        "    return base(n) + again(n)\n"
    )
    (package / "__main__.py").write_text(
        "from snapshot.replay import record\n"
        "from .base import base\n"
        "@record\ndef main(n): return base(n)\n"
        "open('ran', 'a').write('ran')\n"
        "main(1)\n"
        "from .work import work\n"
        "work(1)\n"
    )
    runner = "import sys, runpy; sys.path.insert(0, 'place'); "
    run(runner + "runpy.run_module('package', run_name='__main__', alter_sys=True)")
    source = (
        AGAIN
        + """
assert again("work") == 4
assert again("work", import_path="place") == 4
assert again("main") == 2
assert "package" not in sys.modules
assert open("ran").read() == "ran"
"""
    )
    run(source)


CHANGING = '''
from snapshot.replay import record
FACTOR = 2

@record
def value(n):
    text = """several
  lines"""
    return [n * FACTOR, {"text": text}, helper(n)]

def helper(n):
    return n

@record
def error(n):
    raise ValueError(n)

@record
def fine(n):
    return n

@record
def mutates(items, *, box):
    items.append(1)
    box["x"] = 1

@record
def signature(a, b=5):
    return a + b

@record
def renamed(n, by=FACTOR):
    return helper(n) + by

class Thing:
    def __init__(self):
        self.__n = 3
    @record
    def private(self):
        return self.__n

class Child(Thing):
    @record
    def private(self):
        return super().private() + 1
'''

CHANGED = (
    ("n * FACTOR", "n * FACTOR + 1"),
    ("raise ValueError(n)", "raise KeyError(n)"),
    ("def fine(n):\n    return n", "def fine(n):\n    raise OSError(n)"),
    ("items.append(1)", "items.append(2)"),
    ('box["x"] = 1', 'box["y"] = 1'),
    ("def signature(a, b=5):\n    return a + b", "def signature(a):\n    return a"),
    ("def renamed(", "def other("),
    ("return self.__n", "return -self.__n"),
)


def test_compared_with_what_was_recorded(run: Run, where: Path, tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    module.write_text(CHANGING)
    recording = """
    from changing import *
    value(3)
    for each in (error, fine):
        try:
            each(1)
        except ValueError:
            pass
    mutates([0], box={})
    signature(1, 2)
    signature(1)
    renamed(1)
    Child().private()
    """
    run(recording)
    names = ("value", "error", "fine", "mutates", "signature", "renamed", "Child.private")
    same = (
        AGAIN
        + f"""
for name in {names}:
    for options in ({{}}, {{"recorded_code": True}}, {{"fork": False}}):
        made = again(name, compare=True, **options)
        assert made.matches and not made.changed and not made.differences, (name, options, made)
        assert "as it was recorded" in str(made)
assert type(again("error", compare=True).error) is ValueError
"""
    )
    run(same)
    text = CHANGING
    for old, new in CHANGED:
        assert old in text
        text = text.replace(old, new)
    module.write_text(text)
    shutil.rmtree(tmp_path / "__pycache__")
    changed = (
        AGAIN
        + """
made = again("value", compare=True)
assert (made.value[0], made.matches, made.changed) == (7, False, True)
assert made.differences[0] == "value[0]: 6 then, 7 now", made.differences
assert "changed since" in str(made)
made = again("error", compare=True)
assert type(made.error) is KeyError and made.value is None
assert made.differences[0] == "exception: ValueError: 1 then, KeyError: 1 now", made.differences
made = again("fine", compare=True)
assert made.differences[0] == "exception: nothing then, OSError: 1 now", made.differences
made = again("mutates", compare=True)
assert made.differences[:3] == [
    "arguments[0][1]: 1 then, 2 now",
    "keywords['box']['x']: 1 then, missing now",
    "keywords['box']['y']: missing then, 1 now",
], made.differences
text = fails(CannotReanimate, "signature")
assert "signature(a)" in text and "def signature(a, b=5)" in text or "recorded_code" in text, text
assert again("signature", 1) == 1 and again("signature", 1, recorded_code=True) == 6
assert again("signature", recorded_code=True) == 3
assert "other" in fails(FunctionNotFound, "renamed")
assert again("renamed", recorded_code=True) == 3
assert again("Child.private") == -2
made = again("value", compare=True, recorded_code=True)
assert made.matches, str(made)
for name in ("error", "fine", "mutates"):
    assert again(name, compare=True, recorded_code=True).matches, name
"""
    )
    run(changed)
    module.unlink()
    shutil.rmtree(tmp_path / "__pycache__")
    gone = (
        AGAIN
        + """
for name in ("value", "renamed"):
    assert "changing" in fails(FunctionNotFound, name)
    fails(FunctionNotFound, name, compare=True)
assert load_execution_data(ids("value")[0]) == ((3,), {})
"""
    )
    run(gone)


def test_a_private_name_is_found_by_the_recorded_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "changing.py").write_text(CHANGING)
    run("from changing import *\nThing().private()\n")
    source = (
        AGAIN
        + """
assert again("Thing.private") == again("Thing.private", recorded_code=True) == 3
"""
    )
    run(source)


def test_calls_within_are_answered_with_what_they_returned(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mocking.py").write_text(
        """
import asyncio, os, threading
from snapshot.replay import record

class Asks(Exception):
    pass

@record
def fetch(url, *, times=1):
    if "REPLAYED" in os.environ:
        raise AssertionError("the network is asked")
    if url == "bad":
        raise Asks(url)
    fetch.count += 1
    return {"url": url, "count": fetch.count}
fetch.count = 0

@record
async def afetch(url):
    return fetch(url)["url"]

@record
def several(n):
    for each in range(n):
        yield fetch(str(each))["count"]

@record
def lock():
    return threading.Lock()

class Service:
    @record
    def ask(self, url):
        return fetch(url)["count"] * 10

@record
def report(urls):
    found = []
    for each in urls:
        try:
            found.append(fetch(each, times=2)["count"])
        except Asks as error:
            found.append(str(error))
    return found

@record
def deep(url):
    return Service().ask(url) + asyncio.run(afetch(url)).count("x") + sum(several(2))

@record
def locks():
    return type(lock()).__name__

@record
def plain(n):
    return n
"""
    )
    recording = """
    from mocking import *
    assert report(["a", "b", "a", "bad", "a"]) == [1, 2, 3, "bad", 4]
    deep("x")
    locks()
    plain(1)
    """
    run(recording)
    source = (
        AGAIN
        + """
import mocking
os.environ["REPLAYED"] = "1"
code = mocking.fetch.__wrapped__.__code__
fails(AssertionError, "report")
for mock in ("fetch", ["fetch"], "mocking:fetch"):
    for fork in (True, False):
        assert again("report", mock=mock, fork=fork) == [1, 2, 3, "bad", 4]
assert again("report", mock="fetch", compare=True).matches
assert mocking.fetch.__wrapped__.__code__ is code and "__snapshot_answer__" not in vars(mocking)
text = fails(CannotReanimate, "report", mock="fetch", overrides={"urls": ["a", "c"]})
assert "mocking:fetch" in text and "'c'" in text, text
text = fails(CannotReanimate, "report", mock="fetch", overrides={"urls": ["a"] * 4})
assert "once more" in text
assert again("report", mock="fetch", overrides={"urls": ["b"]}) == [2]
for mock in ("fetch", ["ask", "afetch", "several"], ["Service.ask", "fetch"]):
    assert again("deep", mock=mock) == again("deep", mock=mock, fork=False), mock
    assert again("deep", mock=mock, compare=True).matches, mock
text = fails(CannotReanimate, "plain", mock="fetch")
assert "made no recorded call" in text
text = fails(CannotReanimate, "locks", mock="lock")
assert "mocking:lock" in text and "not stored" in text, text
"""
    )
    run(source)


# What is not there, or is not what it should be.


SIMPLE = """
from snapshot.replay import record
try:
    import numpy
except ImportError:
    numpy = None

@record
def given(value, n=0): return n
@record
def other(value): return [value]
@record
def fails(value): raise ValueError(value)
for n in range(3):
    given("same" * 100, n)
    given(f"own {n}" * 100)
other("same" * 100)
large = list(range(100_000))
given(large)
if numpy is not None:
    array = numpy.arange(1 << 17)
    given(array)
    other({"the same": array})
    given(array + 1)
try:
    fails("v" * 300)
except ValueError:
    pass
"""


def files(where: Path) -> set[Path]:
    folder = where.with_name(where.name + ".files") / "objects"
    return {each for each in folder.rglob("*") if each.is_file()}


def test_a_call_that_is_deleted_meanwhile_costs_no_others(recorded: Path, run: Run) -> None:
    source = (
        AGAIN
        + """
from snapshot.core.executor import ForkExecutor
from snapshot.replay.bulk import replay
from snapshot.replay.executions import opened
from snapshot.replay.reanimation import Request

with opened(None) as store, ForkExecutor(1, reseed=False) as executor:
    first, second, *rest = found = store.calls.ids("limited") + store.calls.ids("add")
    assert rest, found
    store.delete([second])
    made = [*replay(store, found, Request(), executor, ahead=1)]
    print([each.id for each in made] == [first, *rest])
"""
    )
    assert run(source).stdout == "True\n"


def test_delete_frees_what_nobody_else_refers_to_and_nothing_else(run: Run, where: Path) -> None:
    require("numpy")
    run(SIMPLE)
    with opened(where) as store:
        calls = list(store.calls.find())
        values = {each.id: repr(load_execution_data(each.id, store)) for each in calls}
    assert len(calls) == 12
    count = len(files(where))
    gone: list[int] = []
    for each in calls:
        assert delete_function_execution(str(each.id), where) is True
        assert delete_function_execution(each.id, where) is False
        gone.append(each.id)
        with opened(where) as store:
            for left in calls:
                if left.id in gone:
                    with pytest.raises(UnknownCall, match=str(left.id)):
                        load_execution_data(left.id, store)
                else:
                    assert repr(load_execution_data(left.id, store)) == values[left.id]
        assert len(files(where)) <= count
        count = len(files(where))
    with opened(where) as store:
        assert dict(store.objects.ids()) == {}
        assert store.calls.ids() == []
    assert not files(where)
    with sqlite3.connect(where) as connection:
        assert connection.execute("SELECT COUNT(*) FROM errors").fetchone() == (0,)
    connection.close()


MALFORMED = ["abc", "", "-1", "1.5", 1.0, None, True, 10**30, "1e3", "\uff11", b"1", [], -1, "1 2"]


def test_ids_that_are_none(run: Run, where: Path) -> None:
    run(SIMPLE)
    for ask in (load_execution_data, delete_function_execution):
        for each in MALFORMED:
            with pytest.raises(UsageError, match="is no id of a call"):
                ask(each, where)  # type: ignore[arg-type]
    for each in (0, "999", 10**17):
        with pytest.raises(UnknownCall, match=f"no call {each} .*between 1 and"):
            load_execution_data(each, where)
        with pytest.raises(UnknownCall):
            reanimate_function(each, where, fork=False)
        assert delete_function_execution(each, where) is False
    with pytest.raises(UsageError):
        reanimate_function("abc", where, fork=False)
    assert load_execution_data(" 1 ", where) == load_execution_data("01", where)
    with init_db(where)() as session:
        for wrong in ("abc", "1:nothing", "1:args:9", "1:kwargs:n", "1:after", "1:result:x", "00"):
            with pytest.raises((UsageError, UnknownObject)) as caught:
                ObjectManager(session).get(wrong)
            assert str(caught.value)
        with pytest.raises(UnknownCall):
            FunctionCallTracker(session).get_call("999")
        with pytest.raises(UsageError):
            FunctionCallTracker(session).get_call("abc")


def test_stores_that_are_none(run: Run, where: Path, tmp_path: Path) -> None:
    asks: list[Callable[[Any], Any]] = [
        lambda place: load_execution_data(1, place),
        lambda place: delete_function_execution(1, place),
        lambda place: reanimate_function(1, place, fork=False),
    ]
    missing = tmp_path / "nothing" / "store.db"
    corrupt = tmp_path / "corrupt.db"
    corrupt.write_bytes(b"no database" * 1000)
    for ask in asks:
        with pytest.raises(NoStore, match=r"no store .*store\.db"):
            ask(missing)
        assert not missing.parent.exists()
        with pytest.raises(UsageError, match="is a directory"):
            ask(tmp_path)
        with pytest.raises(StoreError, match=r"corrupt\.db"):
            ask(corrupt)
        assert corrupt.read_bytes() == b"no database" * 1000
    with pytest.raises(UsageError, match="is a directory"):
        init_db(tmp_path)
    with pytest.raises(StoreError, match=r"corrupt\.db"):
        init_db(corrupt)
    run(SIMPLE)
    load_execution_data(1, where)
    connection = sqlite3.connect(where)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.commit()
    connection.close()
    for ask in asks:
        with pytest.raises((StoreTooNew, StoreError)):
            ask(where)


def test_a_damaged_object_is_named(run: Run, where: Path) -> None:
    run(SIMPLE)
    with opened(where) as store:
        ids = store.calls.ids("other")
    assert load_execution_data(ids[0], where)
    with sqlite3.connect(where) as connection:
        connection.execute(
            "UPDATE objects SET data = zeroblob(length(data)) WHERE type IS NOT NULL"
        )
    connection.close()
    with pytest.raises(DamagedObject):
        load_execution_data(1, where)
    with pytest.raises(DamagedObject):
        reanimate_function(1, where, fork=False)
    for each in files(where):
        each.unlink()
    assert delete_function_execution(1, where) is True


# The history.


def test_the_history(run: Run, where: Path) -> None:
    run(SIMPLE)
    with init_db(where)() as session:
        tracker, manager = FunctionCallTracker(session), ObjectManager(session)
        history = tracker.get_call_history("given")
        assert history == sorted(history, key=int)
        assert len(tracker.get_call_history()) >= len(history) + 2
        assert tracker.get_call_history("nothing") == []
        first = tracker.get_call(history[0])
        assert first["function"] == "__main__:given"
        assert (first["id"], first["parent"], first["outcome"]) == (history[0], None, "returned")
        assert [manager.get(each) for each in first["args"]] == ["same" * 100, 0]
        assert manager.get(first["result"]) == 0
        assert first["after"] is None
        large = tracker.get_call(history[6])
        got = manager.get(large["args"][0])
        assert manager.get(large["args"][0]) is got
        assert manager.rehydrate(large["args"][0]) is not got
        (failed,) = map(tracker.get_call, tracker.get_call_history("fails"))
        assert failed["exception"] == "ValueError: " + "v" * 300
        assert "raise ValueError(value)" in failed["traceback"]
        assert type(manager.get(failed["result"])) is ValueError


def test_what_is_asked_of_what_was_not_stored_is_named(run: Run) -> None:
    run("""
from snapshot.replay import record, reanimate_function

class Holder:
    def __init__(self, lock): self.numbers = (n for n in range(lock))

@record
def close(holder): holder.numbers.close()

close(Holder(3))
made = reanimate_function(1, compare=True)
(difference,) = [each for each in made.differences if each.startswith("exception")]
assert "AttributeError: <not stored: <generator object" in difference, difference
assert "cannot pickle 'generator' object> has no attribute 'close'" in difference, difference
""")


def test_differences() -> None:
    class Same:
        def __init__(self, value: object) -> None:
            self.value = value

    class Refuses:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    nan = float("nan")
    cycle: list[Any] = [1]
    cycle.append(cycle)
    other: list[Any] = [1]
    other.append(other)
    equal: list[tuple[Any, Any]] = [
        *((nan, float("nan")), ([nan], [float("nan")]), (complex(nan), complex(float("nan")))),
        *((Same([nan]), Same([nan])), (cycle, other), (Placeholder("x", "", ""), 5)),
        *((ValueError(1), ValueError(1)), ({1, 2}, {2, 1}), ({"a": 1, "b": 2}, {"b": 2, "a": 1})),
        ({Same(1): [1], "a": 0, Same(2): [2]}, {"a": 0, Same(1): [1], Same(2): [2]}),
        ({Same(1), Same(2), 3}, {3, Same(2), Same(1)}),
        ([1].append, [1].append),
        (Same(1).__init__, Same(1).__init__),  # type: ignore[misc]
    ]
    for then, now in equal:
        assert differences(then, now) == [], (then, now)
    other_ones: list[tuple[Any, Any]] = [
        *((0.0, -0.0), (1, 1.0), (1, True), ("1", 1), (None, "None"), ([1], (1,)), ([1], [1, 2])),
        *(({"a": 1}, {"a": 2}), (Same(1), Same(2)), (ValueError(1), ValueError(2))),
        *((Refuses(), Refuses()), (b"a", "a"), (cycle, [1, [1, 2]])),
        ({Same(1): [1], Same(2): [2]}, {Same(1): [1], Same(2): [3]}),
        *(({1, Same(1)}, {1}), ([1].append, [2].append), ([1].append, [1].extend)),
    ]
    for then, now in other_ones:
        assert len(differences(then, now)) == 1, (then, now)
        assert differences(then, now, "x")[0].startswith("x"), (then, now)
    assert len(differences(list(range(100)), list(range(1, 101)))) == 21
    assert differences({1, 2}, {2, 3}) == [
        "value: 1 then, missing now",
        "value: missing then, 3 now",
    ]
    found = differences({Same(1): 1}, {Same(2): 1})
    assert [each.rpartition("]: ")[2] for each in found] == [
        "1 then, missing now",
        "missing then, 1 now",
    ]


# As it is used.


LIBRARY = """
from snapshot.replay import record
class Complex:
    def some_method(self): return "method"
@record
def my_function(n): return n
@record
def your_function(n, *, complex_param=None): return n * 2
@record
def problematic_function(n): return n
@record
def test_something(n): return n
@record
def fails(n): raise ValueError("it fails")
def make():
    for n in range(122):
        my_function(n)
    your_function(21, complex_param=Complex())
    problematic_function(1)
    try:
        fails(1)
    except ValueError:
        pass
    for n in range(2):
        test_something(n)
"""

USES = """
import os, sys
import snapshot.replay
ID, DB = "123", "monitoring.db"

# Making again, loading.
result = snapshot.replay.reanimate_function(
    function_execution_id="123", db_path="monitoring.db", import_path="modules"
)
assert result == 42

# A function with an error.
try:
    result = snapshot.replay.reanimate_function("125", "monitoring.db")
except Exception as e:
    assert (type(e), str(e)) == (ValueError, "it fails")
    args, kwargs = snapshot.replay.load_execution_data("125", "monitoring.db")
    assert args == (1,)
else:
    raise AssertionError

# The script that was generated.
sys.path.insert(0, "modules")
assert snapshot.replay.reanimate_function(
    function_execution_id="123", db_path=os.path.abspath("monitoring.db")) == 42
args, kwargs = snapshot.replay.load_execution_data(
    function_execution_id="123", db_path="monitoring.db")
assert args == (21,) and list(kwargs) == ["complex_param"]

# Debugging.
import pdb
args, kwargs = snapshot.replay.load_execution_data("124", "monitoring.db")
from your_module import problematic_function
pdb.set_trace()
result = problematic_function(*args, **kwargs)
assert result == 1

# A test case.
import unittest
class TestFromRecordedExecution(unittest.TestCase):
    def test_recorded_function(self):
        args, kwargs = snapshot.replay.load_execution_data("123", "monitoring.db")
        from your_module import your_function
        result = your_function(*args, **kwargs)
        self.assertEqual(result, 42)
suite = unittest.defaultTestLoader.loadTestsFromTestCase(TestFromRecordedExecution)
assert unittest.TextTestRunner(stream=open(os.devnull, "w")).run(suite).wasSuccessful()

# Complex objects.
complex_obj = kwargs.get("complex_param")
args, kwargs = snapshot.replay.load_execution_data("123", "monitoring.db")
complex_obj = kwargs.get("complex_param")
assert type(complex_obj).__name__ == "Complex" and "some_method" in dir(complex_obj)
assert complex_obj.some_method() == "method"

# The values.
from snapshot.replay import init_db, ObjectManager
Session = init_db("monitoring.db")
session = Session()
try:
    obj_manager = ObjectManager(session)
    stored_obj = obj_manager.get("123:kwargs:complex_param")
    rehydrated = obj_manager.rehydrate("123:kwargs:complex_param")
    assert type(stored_obj) is type(rehydrated) and stored_obj is not rehydrated
finally:
    session.close()

# Cleaning up.
from snapshot.replay import init_db, FunctionCallTracker
db_path = "monitoring.db"
Session = init_db(db_path)
session = Session()
tracker = FunctionCallTracker(session)
call_ids = tracker.get_call_history("my_function")
session.close()
assert len(call_ids) == 122
if len(call_ids) > 5:
    for call_id in call_ids[:-5]:
        assert snapshot.replay.delete_function_execution(call_id, db_path)
session = Session()
assert FunctionCallTracker(session).get_call_history("my_function") == call_ids[-5:]

# Many of them.
tracker = FunctionCallTracker(session)
all_calls = tracker.get_call_history()
test_calls = [call_id for call_id in all_calls
              if "test_" in tracker.get_call(call_id)["function"]]
session.close()
assert len(test_calls) == 2
for call_id in test_calls:
    snapshot.replay.delete_function_execution(call_id, db_path)

# One of them.
success = snapshot.replay.delete_function_execution(
    function_execution_id="123", db_path="monitoring.db")
assert success is True
assert not snapshot.replay.delete_function_execution("123", "monitoring.db")
"""


def test_every_way_it_is_used(run: Run, python: Run, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "your_module.py").write_text(LIBRARY)
    recording = """
    import os, sys
    os.environ["SNAPSHOT_STORE"] = "monitoring.db"
    sys.path.insert(0, "modules")
    import your_module
    your_module.make()
    """
    run(recording)
    result = run(USES, stdin="p result\nc\n")
    assert "(Pdb) 42" in result.stdout


# What a replay gets wrong most easily.


def test_a_script_that_calls_functions_of_modules_has_not_changed(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import json
from snapshot.replay import record

class Text:
    @property
    @record
    def text(self): return json.dumps(self.n)
    @text.setter
    @record
    def text(self, value): self.n = json.loads(value)

@record
def told(n): return json.dumps(n)

if __name__ == "__main__":
    told(1)
    each = Text()
    each.text = "5"
    each.text
""")
    run(script)
    source = (
        AGAIN
        + """
for name, which in (("told", 0), ("Text.text", 0), ("Text.text", 1)):
    made = again(name, which, compare=True)
    assert made.matches and not made.changed, str(made)
assert again("Text.text", 1) == "5"
"""
    )
    run(source)


RECURSIVE = """
import asyncio
from snapshot.replay import record

class Base:
    def name(self): return "base"

class Outer:
    class Inner(Base):
        @record
        def name(self): return "inner " + super().name()
        @record
        def __hidden(self): return self.__class__.__qualname__
        def shown(self): return self.__hidden()

@record
def fact(n): return 1 if n < 2 else n * fact(n - 1)

@record
def local(n):
    class Local:
        pass
    return Local.__qualname__, n

@record
def lambdas(n):
    return sorted(range(n), key=lambda each: -each)

def around(n):
    @record
    def down(m):
        class Local: pass
        return Local.__qualname__ if m == 0 else down(m - n)
    return down

chosen = [record(lambda n: n + 1), record(lambda n: n.bit_length())]
"""


def test_the_recorded_code_knows_itself(run: Run, tmp_path: Path) -> None:
    (tmp_path / "recursive.py").write_text(RECURSIVE)
    run("""
        from recursive import *
        fact(5), local(3), Outer.Inner().name(), Outer.Inner().shown(), lambdas(3), around(1)(2)
        chosen[0](1), chosen[1](8)
    """)
    source = (
        AGAIN
        + """
assert again("fact", recorded_code=True) == 120
assert again("around.<locals>.down", recorded_code=True) == "around.<locals>.down.<locals>.Local"
for name in ("fact", "local", "Outer.Inner.name", "Outer.Inner.__hidden", "lambdas",
             "around.<locals>.down"):
    made = again(name, recorded_code=True, compare=True)
    assert made.matches, str(made)
assert again("recursive:<lambda>", 0, recorded_code=True) == 2
assert again("recursive:<lambda>", 1, recorded_code=True) == 4
"""
    )
    run(source)


def test_arguments_are_compared_however_they_were_passed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "keywords.py").write_text("""
from snapshot.replay import record

@record
def plain(a, b): return a + b
@record
def others(a, b, c=0, **k): return a + b
@record
def rest(a, *c, b=1): return a
@record
def changes(a, b): b.append(a)
class Thing:
    @record
    def method(self, a, **k): return a
@record
def calls(n): return [plain(n, 2), plain(n, b=3), plain(b=n, a=1)]
""")
    run("""
        from keywords import *
        plain(1, b=2), plain(a=1, b=2), plain(b=1, a=2), others(1, b=2), others(1, b=2, z=3)
        others(1, 2, c=3, z=1), rest(1, b=3), changes(1, b=[]), Thing().method(a=1, q=2), calls(1)
    """)
    source = (
        AGAIN
        + """
for number in ids(None):
    made = reanimate_function(number, compare=True)
    assert made.matches, str(made)
assert again("calls", mock="plain", compare=True).matches
"""
    )
    run(source)
    text = (tmp_path / "keywords.py").read_text()
    (tmp_path / "keywords.py").write_text(text.replace("b.append(a)", "b.append( 2 )"))
    text = (tmp_path / "keywords.py").read_text()
    (tmp_path / "keywords.py").write_text(text.replace("plain(n, 2)", "plain(a=n, b=2)"))
    source = (
        AGAIN
        + """
made = again("changes", compare=True)
assert made.differences[0] == "keywords['b'][0]: 1 then, 2 now", str(made)
assert again("calls", mock="plain") == [3, 4, 2]
"""
    )
    run(source)


SHARING = """
import functools, sys
from snapshot.replay import record

@functools.singledispatch
@record
def show(x): return "object"
@show.register
@record
def _(x: int): return "int"
@show.register
@record
def _(x: str): return "str"

class Shows:
    @functools.singledispatchmethod
    @record
    def show(self, x): return "object"
    @show.register
    @record
    def _(self, x: int): return "int"
    @show.register
    @record
    def _(self, x: str, y=[1]): return "str", y

HANDLERS = {}
def handler(name):
    def decorate(f):
        HANDLERS[name] = f
        return f
    return decorate
@handler("a")
@record
def handle(x): return "a" + x
@handler("b")
@record
def handle(x): return "b" + x

# Nobody but another module knows the first one.
@record
def rebound(x, by=[2]): return x, by
sys.rebound = rebound
@record
def rebound(x): return x

class Both:
    n = 1
    @property
    @record
    def value(self): return self.n
    @value.setter
    @record
    def value(self, n): self.n = n

@record
def all_of(x): return show(x), show(str(x))

def make():
    show(1), show("a"), show(1.5), Shows().show(1), Shows().show("q"), Shows().show(2.5)
    HANDLERS["a"]("1"), HANDLERS["b"]("1"), sys.rebound(1), rebound(2), all_of(3)
    Both().value = 5
    Both().value
if __name__ == "__main__":
    make()
"""


def test_a_wrapper_of_a_recorded_function_is_no_recorder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "wrappers.py").write_text("""
import functools
from snapshot.replay import record

def doubled(function):
    @functools.wraps(function)
    def wrapper(n): return 2 * function(n)
    return wrapper
@record
def plain(n): return n + 1
TWICE = doubled(plain)
def outer(function):
    @record
    def inner(n): return function(n)
    return inner
@record
@doubled
@record
def thrice(n): return 3 * n
""")
    run("import wrappers as w; w.outer(w.TWICE)(3), w.outer(w.plain)(3), w.thrice(4)")
    check = """
assert [again("outer.<locals>.inner", which) for which in (0, 1)] == [8, 4]
assert again("doubled.<locals>.wrapper") == 24
assert again("thrice") == 12
for number in ids(None):
    made = reanimate_function(number, compare=True)
    assert made.matches and not made.changed, str(made)
"""
    run(AGAIN + check)


def test_functions_that_share_a_name(run: Run, tmp_path: Path) -> None:
    module = tmp_path / "sharing.py"
    module.write_text(SHARING)
    run("import sharing; sharing.make()")
    check = """
for number in ids(None):
    made = reanimate_function(number, compare=True)
    assert made.matches and not made.changed, str(made)
    made = reanimate_function(number, compare=True, recorded_code=True)
    assert made.matches, str(made)
assert again("all_of", mock="_", compare=True).matches
"""
    run(AGAIN + check)
    with opened(tmp_path / "stored" / "store.db") as store:
        for number in store.calls.ids():
            text = pytest_script(store, store.calls.get(number))
            (tmp_path / f"test_{number}.py").write_text(text)
    tests = "import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))"
    assert "15 passed" in run(tests).stdout
    text = module.read_text()
    module.write_text(text.replace("self.n = n", "self.n = n + 1").replace('"int"', '"whole"'))
    changed = """
made = again("Both.value", compare=True)
assert made.changed and "now" in str(made), str(made)
assert again("Both.value", 1, compare=True).matches
text = fails(FunctionNotFound, "sharing:_")
assert "several functions" in text and "recorded_code" in text, text
assert again("sharing:_", 1) == "str"
assert again("sharing:_", recorded_code=True) == "int"
"""
    run(AGAIN + changed)


def test_a_test_says_what_its_function_does(run: Run, where: Path, tmp_path: Path) -> None:
    """Not what a decorator around it does, nor where in memory something was."""
    (tmp_path / "decorated.py").write_text("""
import contextlib, functools
from snapshot import replay
from snapshot.replay import record

def listed(function):
    @functools.wraps(function)
    def wrapper(n): return [function(n)]
    return wrapper
@contextlib.contextmanager
@record
def context(n): yield n
@listed
@record(keep_last=10)
def kept(n): return n
@replay.record
def plain(n): return n
@record
def fails(n): raise ValueError(f"not {object()}")
@record
def refuses(thing): raise ValueError(thing)
class Thing: pass
@record
def shared(n): return n
FIRST = shared
@record
def shared(n): return -n
""")
    run("""
        from decorated import *
        with context(1): kept(2), FIRST(3)
        plain(4), shared(5)
        for fail, each in ((fails, 4), (refuses, Thing())):
            try: fail(each)
            except ValueError: pass
    """)
    literal = []
    with opened(where) as store:
        for call in store.calls.find():
            text = pytest_script(store, call)
            (tmp_path / f"test_{call.id}.py").write_text(text)
            if "reanimate_function" not in text:
                literal.append(text.rpartition("assert ")[2])
    assert literal == ["plain(4) == 4\n", "shared(5) == -5\n"]
    tests = "import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))"
    assert "7 passed" in run(tests).stdout


def test_functions_of_a_script_that_share_a_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SHARING)
    run(tmp_path / "script.py")
    check = """
for number in ids(None):
    made = reanimate_function(number, compare=True)
    assert made.matches and not made.changed, str(made)
"""
    run(AGAIN + check)


def test_a_test_has_no_literals_where_they_would_say_something_else(
    run: Run, where: Path, tmp_path: Path
) -> None:
    (tmp_path / "literals.py").write_text("""
from snapshot.replay import record
@record
def alias(a, b):
    a.append(1)
    return b
@record
def deep(a): a["x"].append(1)
@record
def once(a): a["x"].append(1)
@record
def set(values): return {*values}
@record
def argument_1(value): value.append(argument_1.__name__)
def make():
    same = []
    alias(same, same), alias([], []), deep({"x": same, "y": [same]}), once({"x": [], "y": []})
    set(()), argument_1([])
""")
    run("import literals; literals.make()")
    with opened(where) as store:
        texts = {
            (name, n): pytest_script(store, store.calls.get(number))
            for name in ("alias", "deep", "once", "set", "argument_1")
            for n, number in enumerate(store.calls.ids(f"literals:{name}"))
        }
    literal = {key for key, text in texts.items() if "reanimate_function" not in text}
    assert literal == {("alias", 1), ("once", 0)}
    for (name, n), text in texts.items():
        (tmp_path / f"test_{name}_{n}.py").write_text(text)
    tests = "import pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider']))"
    assert "6 passed" in run(tests).stdout


REGISTRY = """
REGISTRY, STATE, NAMES, MISSING = [], {}, {"a"}, object()
class Config:
    def __init__(self): self.x = 1
class Slotted:
    __slots__ = ("x", "y")
SHARED, SLOTTED = Config(), Slotted()
def add(n): REGISTRY.append(n); NAMES.add(n)
"""

IDENTITY = """
from snapshot.replay import record
import registry
from registry import *
from registry import add

LOCAL = {"inner": []}
INNER = LOCAL["inner"]

@record
def sentinel(x=MISSING): return "nothing" if x is MISSING else x
@record
def keyword(*, x=MISSING): return x is MISSING
@record
def registers(name):
    add(name)
    return sorted(REGISTRY), sorted(NAMES)
@record
def stored(name):
    registry.STATE["k"] = name
    return STATE["k"]
@record
def by_default(n, state=STATE, shared=SHARED):
    state[n] = shared.x = n
    return state is STATE, STATE, shared is SHARED, SHARED.x
@record
def slotted(n):
    registry.SLOTTED.x = n
    return SLOTTED.x, hasattr(SLOTTED, "y")
@record
def inner(n):
    INNER.append(n)
    return LOCAL["inner"] is INNER, LOCAL
@record
def same(x, y=None): return x is STATE, y is SHARED, x is MISSING
def around(box):
    @record
    def nested(n, missing=MISSING, state=STATE):
        box.append(n)
        return missing is MISSING, state is STATE, box
    return nested
def make():
    sentinel(), sentinel(1), keyword()
    registers("b"), registers("c"), stored("q"), by_default(1), by_default(2)
    registry.SLOTTED.y = 5
    slotted(1)
    inner(1), inner(2)
    same(STATE, SHARED), same(MISSING), same(STATE, y=SHARED)
    around(REGISTRY)("d")
if __name__ == "__main__":
    make()
"""


@pytest.mark.parametrize("as_script", [False, True])
def test_what_was_one_object_is_one(run: Run, tmp_path: Path, as_script: bool) -> None:
    (tmp_path / "registry.py").write_text(REGISTRY)
    (tmp_path / "identity.py").write_text(IDENTITY)
    run(tmp_path / "identity.py" if as_script else "import identity; identity.make()")
    source = (
        AGAIN
        + """
import registry
for number in ids(None):
    made = reanimate_function(number, compare=True)
    assert made.matches, str(made)
assert not registry.STATE and not registry.REGISTRY and registry.SHARED.x == 1
for name in ("sentinel", "keyword", "nested"):
    made = again(name, compare=True, fork=False)
    assert made.matches, str(made)
assert not registry.STATE and not registry.REGISTRY and registry.SHARED.x == 1
"""
    )
    run(source)


def test_what_surroundings_say_of_arguments() -> None:
    box: list[int] = []

    def reads(x: object, y: object = None) -> object:
        return box, INDEX, x, y

    function = cast(FunctionType, reads)
    told = Surroundings(function).values(function, (INDEX, 1), {"y": box})
    assert told["same"] == {"INDEX": 0, "box": "y"}
    assert "same" not in Surroundings(function).values(function, ([], 1), {"y": []})
    restoring = Restoring(function, None, in_place=True)
    then = {"globals": {"INDEX": [1]}, "cells": {"box": box}, "same": {"INDEX": 0, "box": "y"}}
    values = restoring.globals(then, ())
    assert values == {"INDEX": [1]}
    assert values["INDEX"] is INDEX
    args, kwargs = restoring.arguments(then, values, ([1], 1), {"y": []})
    assert (args[0], kwargs["y"]) == ([1], box)
    assert args[0] is INDEX
    assert kwargs["y"] is box


INDEX: list[int] = []


def test_what_overrides_may_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "overridden.py").write_text("""
from snapshot.replay import record
RATE, OTHER = 2, 3
def helper(): return OTHER
@record
def plain(a, b=1, *args): return a, b, args, RATE
@record
def keywords(a, **k): return a, k, RATE, helper()
def around(n):
    @record
    def inner(x): return x, n
    return inner
def make(): plain(1), keywords(1, d=5, RATE=7), around(4)(3)
""")
    run("import overridden; overridden.make()")
    source = (
        AGAIN
        + """
assert again("plain", overrides={"a": 5, "args": (7, 8), "RATE": 0}) == (5, 1, (7, 8), 0)
assert again("keywords") == (1, {"d": 5, "RATE": 7}, 2, 3)
assert again("keywords", overrides={"d": 50, "e": 6}) == (1, {"d": 50, "RATE": 7, "e": 6}, 2, 3)
assert again("keywords", overrides={"RATE": 8})[1:3] == ({"d": 5, "RATE": 8}, 2)
assert again("keywords", overrides={"k": {"x": 1}}) == (1, {"x": 1}, 2, 3)
assert again("plain", overrides={"OTHER": 9}) == (1, 1, (), 2)
assert again("inner", overrides={"n": 5}) == (3, 5)
text = fails(CannotReanimate, "plain", overrides={"bb": 1})
for each in ("'bb'", "a, b, args", "RATE"):
    assert each in text, text
text = fails(CannotReanimate, "inner", overrides={"m": 1})
assert "the cells n" in text and "'m'" in text, text
"""
    )
    run(source)


def test_the_working_directory_is_that_of_then(run: Run, tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (folder / "data.txt").write_text("data")
    (other / "reading.py").write_text("""
import os
from snapshot.replay import record
@record
def read():
    with open("data.txt") as file: return file.read()
@record
def where(): return os.getcwd()
""")
    run(f"""
        import os, sys
        sys.path.insert(0, {str(other)!r})
        os.chdir("folder")
        import reading
        reading.read(), reading.where()
    """)
    source = (
        AGAIN
        + f"""
os.chdir({str(other)!r})
sys.path.insert(0, "")
path = [*sys.path]
for options in ({{}}, {{"compare": True}}, {{"import_path": "."}}, {{"fork": False}}):
    made = again("read", **options)
    assert made == "data" or made.matches, str(made)
    assert os.getcwd() == {str(other)!r} and sys.path[:len(path)] == path
assert "reading" in sys.modules
import shutil
shutil.rmtree({str(folder)!r})
assert again("where") == {str(other)!r}
"""
    )
    run(source)


def test_a_script_of_workers_that_are_spawned(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "spawning.py"
    script.write_text("""
import multiprocessing, sys
from snapshot.replay import record, reanimate_function

class Wrong(Exception):
    pass

class Point:
    def __init__(self, x): self.x = x

@record
def work(point, how):
    if how == "raise":
        raise Wrong(point.x)
    return Point(point.x + 1)

def swallow(how):
    try:
        work(Point(1), how)
    except Wrong:
        pass

if __name__ == "__main__":
    if sys.argv[1:]:
        found = [reanimate_function(each, compare=True) for each in (1, 2)]
        assert all(each.matches for each in found), found
    else:
        context = multiprocessing.get_context("spawn")
        for how in ("return", "raise"):
            process = context.Process(target=swallow, args=(how,))
            process.start()
            process.join()
""")
    run(script)
    source = (
        AGAIN
        + """
assert len(ids("__mp_main__:work")) == 2
for number in ids("work"):
    made = reanimate_function(number, compare=True)
    assert made.matches and not made.changed, str(made)
    assert reanimate_function(number, compare=True, recorded_code=True).matches
"""
    )
    run(source)
    run(script, "again")
    with opened(tmp_path / "stored" / "store.db") as store:
        assert "reanimate_function" in pytest_script(store, store.calls.get(1))


def test_a_script_whose_body_is_run_by_workers(python: Run, tmp_path: Path) -> None:
    """What they record is where their parent's is, wherever they run."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "setup.cfg").touch()
    script = tmp_path / "project" / "spawning.py"
    script.write_text("""
import multiprocessing
from snapshot.replay import FunctionCallTracker, init_db, reanimate_function, record

@record
def twice(n):
    return 2 * n

twice(1)
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=twice, args=(3,))
    process.start()
    process.join()
    with init_db()() as session:
        for number in FunctionCallTracker(session).get_call_history():
            made = reanimate_function(number, session.store, compare=True)
            print(made.function, made.value, made.matches, made.changed)
""")
    result = python(script)
    assert sorted(result.stdout.splitlines()) == [
        "__main__:twice 2 True False",
        "__mp_main__:twice 2 True False",
        "__mp_main__:twice 6 True False",
    ], result


def test_what_a_mocked_call_changed_is_changed_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "database.py").write_text("""
import threading
from snapshot.replay import record

class Database:
    def __init__(self, shared):
        self.log, self.shared, self.lock = [], shared, threading.Lock()
    @record
    def query(self, text, into):
        assert not self.log or self.log[-1] != "forbidden"
        with self.lock:
            self.log.append(text)
            self.shared["n"] = into["n"] = len(self.log)
            return f"{text} {len(self.log)}"

@record
def drive(n):
    shared = {}
    database, rows = Database(shared), {}
    found = [database.query("q", rows) for _ in range(n)]
    return found, shared, rows, database.log, database.shared is shared

@record
def lines(n):
    got = yield n
    yield got
    return "end"

@record
def asks():
    made = lines(1)
    next(made), made.send(7)
    try:
        next(made)
    except StopIteration as stop:
        return stop.value
def make(): drive(3), asks()
""")
    run("import database; database.make()")
    source = (
        AGAIN
        + """
made = again("drive", mock=["Database.query"], compare=True)
assert made.matches, str(made)
assert again("asks", mock="lines") == "end"
"""
    )
    run(source)


def test_a_generator_is_driven_as_it_was(run: Run, tmp_path: Path) -> None:
    (tmp_path / "driven.py").write_text("""
import asyncio, contextlib
from snapshot.replay import record

DONE = []

@contextlib.contextmanager
@record
def transaction(name):
    try:
        yield name
    except ValueError:
        DONE.append("rolled back")
        raise
    else:
        DONE.append("committed")

@record
def echoes(n):
    while n != "end":
        n = yield n
    return "ended"

@record
def swallows():
    for each in range(3):
        try:
            yield each
        except KeyError as error:
            yield error.args
    return DONE

@record
async def asynchronous(n):
    try:
        n = yield n
        yield n
    except LookupError:
        yield "caught"

def make():
    with transaction("a"): pass
    try:
        with transaction("b"): raise ValueError("no")
    except ValueError: pass
    made = echoes(1)
    next(made), made.send(2), made.send([3])
    try: made.send("end")
    except StopIteration: pass
    made = swallows()
    next(made), made.throw(KeyError("k")), next(made)
    made.close()
    list(swallows())
    async def drive():
        made = asynchronous(1)
        await anext(made), await made.asend("x"), await made.athrow(LookupError())
        await made.aclose()
    asyncio.run(drive())
""")
    run("import driven; driven.make()")
    source = (
        AGAIN
        + """
for number in ids(None):
    made = reanimate_function(number, compare=True)
    assert made.matches, str(made)
assert again("echoes") == [1, 2, [3]]
assert again("swallows") == [0, ("k",), 1]
assert again("asynchronous") == [1, "x", "caught"]
assert "no" in fails(ValueError, "transaction", 1)
"""
    )
    run(source)
    text = (tmp_path / "driven.py").read_text()
    (tmp_path / "driven.py").write_text(text.replace('return "ended"', 'return "over"'))
    run(AGAIN + """
made = again("echoes", compare=True)
assert made.differences[0] == "value.returned: 'ended' then, 'over' now", str(made)
""")  # fmt: skip


def test_a_script_in_another_encoding(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "latin.py"
    script.write_bytes(
        "# -*- coding: latin-1 -*-\nfrom snapshot.replay import record\n"
        "@record\ndef word(n): return 'gr\xfcn' * n\nword(2)\n".encode("latin-1")
    )
    run(script)
    check = "\nmade = again('word', compare=True)\nassert made.matches and not made.changed, made\n"
    run(AGAIN + check)


def test_a_call_with_something_redacted_in_it_is_not_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hiding.py").write_text("""
from snapshot.replay import record
class User:
    def __init__(self, name, password): self.name, self.password = name, password
    @record(redact=["password"])
    def greet(self): return self.name
    def __call__(self): return self.name
@record(redact=["password"])
def names(users, n=1): return [each.name for each in users][:n]
def make(): User("a", "secret").greet(), names([User("b", "secret")]), names([])
""")
    run("import hiding; hiding.make()")
    source = (
        AGAIN
        + """
for name, argument in (("greet", "self"), ("names", "users")):
    text = fails(CannotReanimate, name)
    assert f"the argument {argument} of call" in text and "redacted" in text, text
    fails(CannotReanimate, name, compare=True)
    fails(CannotReanimate, name, fork=False)
assert again("names", overrides={"users": []}) == [] == again("names", 1)
import hiding
assert again("greet", overrides={"self": hiding.User("c", "")}) == "c"
"""
    )
    run(source)


def test_a_module_that_is_gone(run: Run, tmp_path: Path) -> None:
    module = tmp_path / "gone.py"
    module.write_text("""
from snapshot.replay import record
FACTOR, helper = 3, len
@record
def fact(n, by=1): return by if n < 2 else n * fact(n - 1)
@record
def scaled(n): return n * FACTOR
@record
def helped(n): return helper(n)
@record
def raises(n): raise ValueError(n)
def make():
    fact(3), scaled(2), helped("abc")
    try: raises(1)
    except ValueError: pass
""")
    run("import gone; gone.make()")
    module.unlink()
    shutil.rmtree(tmp_path / "__pycache__")
    source = (
        AGAIN
        + f"""
text = fails(FunctionNotFound, "scaled")
for each in ({str(module)!r}, "line ", "not there any more", "importing gone raised",
             "import_path", "recorded_code=True"):
    assert each in text, text
assert again("scaled", recorded_code=True) == 6
assert again("scaled", recorded_code=True, overrides={{"FACTOR": 5}}) == 10
assert again("raises", recorded_code=True, compare=True).matches
text = fails(FunctionNotFound, "helped", recorded_code=True)
assert "reads helper" in text and "not there any more" in text, text
assert again("helped", recorded_code=True, overrides={{"helper": str.upper}}) == "ABC"
"""
    )
    run(source)


MUTABLE = """
from snapshot.replay import record

@record
def gather(value, found=[], *, counts={"n": 0}):
    found.append(value)
    counts["n"] += 1
    return found[:], dict(counts)

if __name__ == "__main__":
    for each in "abc":
        gather(each)
"""


def test_defaults_that_change_are_what_they_were(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gathering.py").write_text(MUTABLE)
    run("import gathering\nfor each in 'abc': gathering.gather(each)")
    run(
        AGAIN
        + """
for number in ids("gather"):
    assert reanimate_function(number, compare=True).matches, number
made = reanimate_function(ids("gather")[2])
assert made == (["a", "b", "c"], {"n": 3}), made
"""
    )
