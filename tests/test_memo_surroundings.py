"""Surroundings: seen at once when they change, in one process; what is named; what it costs."""

from __future__ import annotations

import functools
import json
import os
import sys
import textwrap
import threading
import unittest.mock
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from snapshot.memo.packages import version_of_package
from snapshot.memo.surroundings import PYTHON, State, Surroundings
from snapshot.store.versions import version_of
from tests.processes import Result


def work(source: str, name: str = "work", **names: object) -> Any:
    """A module of the user's that was run and is in no file."""
    module = ModuleType(name)
    vars(module).update(names)
    exec(textwrap.dedent(source), vars(module))
    return module


SOURCE = """
import enum
RATE = 3
TABLE = [1, 2]
NESTED = {"a": [1]}
class Base:
    limit = 1
    def low(self): return 1
class C(Base):
    known = {"a": 1}
    def high(self): return 2
    @property
    def both(self): return self.low() + self.high()
only = C()
only.size = 1
class Meta(type): pass
class Other(type): pass
class Plain: pass
class Spare: pass
class Kind(enum.Enum): A = 1
Kind.A.size = 1
class Property(property): pass
C.own = Property(len)
C.own.size = 1
class Pair(Plain, metaclass=Meta):
    __slots__ = ("left",)
Pair.last = 1
def helper(x, y=1, *, z=2): return x + y + z + helper.extra + helper.later
helper.extra = 1
def other(x): return x
def make(a):
    def inner(): return a
    def change(b):
        nonlocal a
        a = b
    return inner, change
inner, change = make(1)
def f(x):
    return helper(x), RATE, TABLE, NESTED, C(), only, inner(), sum(x), Pair, Kind
"""

CHANGES: dict[str, tuple[str, str]] = {
    "a global": ("RATE = 4", "RATE = 3"),
    "a type of a global": ("RATE = 3.0", "RATE = 3"),
    "an item of a list": ("TABLE[0] = True", "TABLE[0] = 1"),
    "the length of a list": ("TABLE.append(3)", "TABLE.pop()"),
    "a nested list": ("NESTED['a'].append(3)", "NESTED['a'].pop()"),
    "a key": ("NESTED['b'] = NESTED.pop('a')", "NESTED['a'] = NESTED.pop('b')"),
    "a method": ("kept = C.high; C.high = lambda self: 3", "C.high = kept"),
    "an inherited method": ("kept = Base.low; Base.low = lambda self: 3", "Base.low = kept"),
    "a method that shadows another": ("C.low = lambda self: 3", "del C.low"),
    "a property": ("kept = C.both; C.both = property(lambda self: 3)", "C.both = kept"),
    "an attribute of a class": ("Base.limit = 2", "Base.limit = 1"),
    "what an attribute of a class holds": ("C.known['b'] = 1", "del C.known['b']"),
    "an attribute of an instance": ("only.size = 2", "only.size = 1"),
    "the code of a helper": (
        "kept = helper.__code__; helper.__code__ = (lambda x, y, *, z: 3).__code__",
        "helper.__code__ = kept",
    ),
    "a helper": ("kept = helper; helper = other", "helper = kept"),
    "the defaults of a helper": ("helper.__defaults__ = (2,)", "helper.__defaults__ = (1,)"),
    "a default of a keyword": ("helper.__kwdefaults__['z'] = 3", "helper.__kwdefaults__['z'] = 2"),
    "all defaults of keywords": (
        "helper.__kwdefaults__ = {'z': 3}",
        "helper.__kwdefaults__['z'] = 2",
    ),
    "an attribute of a helper": ("helper.extra = 2", "helper.extra = 1"),
    "an attribute that a helper gets": ("helper.later = 2", "del helper.later"),
    "the name of an attribute": ("del Pair.last; Pair.end = 1", "del Pair.end; Pair.last = 1"),
    "a cell": ("change(2)", "change(1)"),
    "what is built in": ("sum = len", "del sum"),
    "the bases of a class": ("Pair.__bases__ = (Spare,)", "Pair.__bases__ = (Plain,)"),
    "the class of a class": ("Pair.__class__ = Other", "Pair.__class__ = Meta"),
    "an attribute of a member": ("Kind.A.size = 2", "Kind.A.size = 1"),
    "what a property holds": ("C.own.size = 2", "C.own.size = 1"),
    "a name that is gone": ("kept = RATE; del RATE", "RATE = kept"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_seen_at_once_and_gone_when_it_is_undone(what: str) -> None:
    module = work(SOURCE)
    surroundings = Surroundings(module.f)
    before = surroundings.state()
    assert surroundings.state() is before
    change, undo = CHANGES[what]
    exec(change, vars(module))
    changed = surroundings.state()
    assert changed.digest != before.digest
    assert changed == Surroundings(module.f).state()
    assert surroundings.state() is changed
    exec(undo, vars(module))
    after = surroundings.state()
    assert after == before
    assert surroundings.state() is after


def test_the_version_is_the_one_that_calls_are_recorded_with() -> None:
    module = work(SOURCE)
    assert Surroundings(module.f).state().version == version_of(module.f)


@pytest.mark.parametrize(
    "source",
    [
        "def f(n): return n and f(n - 1)",
        "def f(n): return n and g(n - 1)\n@wrap\ndef g(n): return f(n)",
        "class C: pass\nc = C()\ndef f(n): return c\nc.f = [f]",
        "def g(n=[]): return n\ng.__defaults__[0].append(g)\ndef f(n): return g()",
        "a = []\na.append(a)\ndef f(n): return a",
    ],
)
def test_what_refers_to_itself(source: str) -> None:
    one, other = (Surroundings(work(source, wrap=memoized).f).state() for _ in range(2))
    assert one == other


class Memoized:
    """As a memoizer's wrapper: its inside changes with each call."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.calls: list[object] = []
        self.lock = threading.Lock()

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)


Memoized.__module__ = "snapshot.memo.memoized"
memoized = Memoized


def test_a_memoized_function_counts_by_what_it_wraps() -> None:
    source = "@wrap\ndef g(x): return {}\n@wrap\ndef f(x): return f(x), g(x)"
    module = work(source.format(1), wrap=Memoized)
    surroundings = Surroundings(module.f.__wrapped__)
    before = surroundings.state()
    module.f(1)
    module.g(2)
    assert surroundings.state() is before
    assert not before.values
    assert not before.unfollowed
    edited = work(source.format(2), wrap=Memoized)
    assert Surroundings(edited.f.__wrapped__).state().digest != before.digest


def test_a_class_that_answers_to_nothing() -> None:
    module = work(
        """
        class Meta(type):
            def __getattr__(cls, name): raise RuntimeError(name)
        class C(metaclass=Meta): pass
        def f(): return C
        """
    )
    facts = Surroundings(module.f).state().facts()
    assert list(facts["functions"]) == ["work:f", "work:C", "work:Meta", "work:Meta.__getattr__"]


def test_a_value_that_pretends_to_be_another() -> None:
    module = work(
        """
        class Proxy:
            __slots__ = ()
            def __getattribute__(self, name): raise RuntimeError(name)
            def __reduce_ex__(self, protocol): raise RuntimeError
        p = Proxy()
        def f(): return p.a
        """
    )
    (sentence,) = Surroundings(module.f).state().unfollowed
    assert sentence.startswith("work.p counts by its type alone: ")


def test_what_is_beside_a_lock_counts() -> None:
    def state(url: str, name: str = "f") -> State:
        function = getattr(
            work(
                f"""
                import threading
                class Service:
                    def __init__(self, url): self.url, self.lock = url, threading.Lock()
                s, done = Service({url!r}), threading.Event()
                if {url!r} == "set": done.set()
                def f(): return s.url, done
                def g(): return done
                """
            ),
            name,
        )
        return Surroundings(function).state()

    first, again, other = map(state, ("a", "a", "b"))
    assert first.digest == again.digest != other.digest
    assert state("a", "g").digest == state("set", "g").digest  # all of it is for its lock
    sentence, _ = first.unfollowed
    assert sentence.startswith("work.s counts in part by its type alone: ")
    assert "the lock at work.s.lock" in sentence


def test_anything_that_can_be_called() -> None:
    def states(source: str) -> list[bytes]:
        module = work(source)
        subjects = (
            functools.partial(module.g, 1),
            functools.lru_cache(module.g),
            module.C().m,
            module.C(),
            module.C,
            staticmethod(module.g),
        )
        return [Surroundings(each).state().digest for each in subjects]

    source = """
        A = {}
        def g(x, y=0): return A
        class C:
            def m(self): return A
            def __call__(self): return A
        """
    one, same, other = (states(source.format(number)) for number in (1, 1, 2))
    assert one == same
    assert all(before != after for before, after in zip(one, other, strict=True))
    assert Surroundings(len).state().digest != Surroundings(sum).state().digest
    module = work("def g(x, y): return x")
    bound = [Surroundings(functools.partial(module.g, each)).state() for each in ([1], [2])]
    assert bound[0].digest != bound[1].digest
    assert bound[0].version == bound[1].version == version_of(module.g)


NAMED = {
    "eval('1')": "uses eval: the code that it runs is not known",
    "exec('1')": "uses exec: ",
    "open('a').read()": "uses open: the content of a file does not count",
    "input()": "uses input: ",
    "globals()['a']": "uses globals: ",
    "__import__('a' + 'b')": "uses __import__: ",
    "os.environ['A']": "uses os.environ: what the process was started with does not count",
    "environ['A']": "uses os.environ: ",
    "os.getenv('A')": "uses os.getenv: ",
    "importlib.import_module(x)": "uses importlib.import_module: ",
    "x.__doc__": "reads __doc__: documentation does not count",
    "[y.__subclasses__() for y in x]": "reads __subclasses__: ",
    "inspect.signature(x)": "uses inspect.signature: annotations do not count",
    "sys.modules[x]": "uses sys.modules: ",
    "time.time()": "uses time.time: it is another one at each time",
    "now()": "uses time.time: ",
    "datetime.now()": "uses datetime.datetime.now: ",
    "random.random()": "uses random: ",
    "chance()": "uses random: ",
    "argv[1]": "uses sys.argv: ",
    "Path('a').read_text()": "uses pathlib",
    "getattr(mine, x)": "uses the module mine as a whole: ",
    "secret": "reads secret, which was put among the builtins",
    "lock": None,
    "log.info('a')": None,
    "mine.A": None,
    "sorted(x)": None,
    "generator": "work.generator counts by its type alone: ",
}
IMPORTS = """
import importlib, inspect, logging, os, random, sys, threading, time
from datetime import datetime
from os import environ
from pathlib import Path
from random import random as chance
from sys import argv
from time import time as now
lock = threading.Lock()
log = logging.getLogger()
generator = (each for each in ())
"""


@pytest.mark.parametrize("expression", NAMED)
def test_what_cannot_be_followed_is_named(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.secret", 1, raising=False)
    mine = work("A = 1", "mine")
    module = work(f"{IMPORTS}def g(x): return {expression}\ndef f(x): return g(x)", mine=mine)
    state = Surroundings(module.f).state()
    wanted = NAMED[expression]
    assert len(state.unfollowed) == (wanted is not None), state.unfollowed
    for sentence in state.unfollowed:
        assert str(wanted) in sentence
        assert sentence.startswith("work:g " if "generator" not in sentence else "work.generator")


def test_what_is_imported_when_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_one.py").write_text("import late_two\nA = 1\ndef g(): return late_two.B\n")
    (tmp_path / "late_two.py").write_text("B = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = work(
        """
        def f(x):
            import late_one, time
            from late_three import nothing
            from json import dumps
            return late_one.g(), time.time(), [late_one.A for _ in x]
        """
    )
    surroundings = Surroundings(module.f)
    state = surroundings.state()
    try:
        assert list(state.values) == ["late_one.A", "late_two.B"]
        missing, clock = sorted(state.unfollowed)
        assert "late_three" in missing
        assert clock == "work:f uses time.time: it is another one at each time"
        monkeypatch.setattr(sys.modules["late_two"], "B", 3)
        assert surroundings.state().digest != state.digest
        monkeypatch.undo()
        assert surroundings.state().digest == state.digest
    finally:
        for name in ("late_one", "late_two"):
            sys.modules.pop(name, None)


def test_facts_are_for_people() -> None:
    module = work("import pytest\nA = [1, 2]\ndef g(): return A, pytest\ndef f(x): return g(), g")
    state = Surroundings(module.f).state()
    facts = json.loads(json.dumps(state.facts()))
    assert list(facts["functions"]) == ["work:f", "work:g"]
    assert facts["values"] == {"work.A": [state.values["work.A"].hex(), "[1, 2]"]}
    assert facts["packages"] == {"pytest": pytest.__version__} == state.packages
    assert facts["python"] == PYTHON
    other = work("import pytest\nA = [1, 2]\ndef g(): return A, pytest\ndef f(x): return g(), 1")
    again = Surroundings(other.f).state().facts()
    assert again["functions"]["work:g"] == facts["functions"]["work:g"]
    assert again["functions"]["work:f"] != facts["functions"]["work:f"]


def test_what_was_put_into_an_installed_module(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import os, json\ndef f(): return os.path.exists('a'), json.dumps(1)\n"
    surroundings = Surroundings(work(source).f)
    before = surroundings.state()
    found = []
    for number in (1, 2):
        mine = work(f"def g(x): return {number}", "mine")
        monkeypatch.setitem(sys.modules, "mine", mine)
        for name in ("os.path.exists", "json.dumps"):
            with monkeypatch.context() as patch:
                patch.setattr(name, mine.g)
                found.append(surroundings.state().digest)
    assert len({before.digest, *found}) == 5
    assert surroundings.state() == before
    with unittest.mock.patch("json.dumps"):
        assert surroundings.state().digest != before.digest
    assert surroundings.state() == before


def test_a_class_that_is_registered() -> None:
    module = work("import abc\nclass A(abc.ABC): pass\ndef f(x): return isinstance(x, A)")
    surroundings = Surroundings(module.f)
    before = surroundings.state()
    module.A.register(int)
    assert surroundings.state().digest != before.digest


def test_what_is_registered_for_a_type() -> None:
    module = work("import functools\n@functools.singledispatch\ndef g(x): pass\ndef f(x): g(x)")
    surroundings = Surroundings(module.f)
    states = [surroundings.state()]
    for kind in (int, float):
        module.g.register(kind, lambda x: 1)
        module.g(1)
        states.append(surroundings.state())
    assert len({each.digest for each in states}) == 3
    module.g(1.0)
    assert surroundings.state() is states[-1]


def test_the_argument_of_an_installed_decorator(site: Path) -> None:
    (site / "tiny_eight.py").write_text(
        "import functools\n__version__ = '1'\ncalls = []\n"
        "def retry(times, log=calls):\n def d(g):\n  @functools.wraps(g)\n"
        "  def w(x):\n   log.append(x)\n   return times, g(x)\n  return w\n return d\n"
    )
    source = "import tiny_eight\n@tiny_eight.retry({})\ndef f(x): return x"
    one, same, other = (work(source.format(each)) for each in (3, 3, 4))
    surroundings = Surroundings(one.f)
    before = surroundings.state()
    assert before.digest == Surroundings(same.f).state().digest
    assert before.digest != Surroundings(other.f).state().digest
    assert before.packages == {"tiny_eight": "1"}
    one.f(1)
    assert surroundings.state() is before
    assert before.version == version_of(one.f.__wrapped__)


def test_two_closures_of_one_function_are_told_apart() -> None:
    module = work("def make(a):\n def g(): return a\n return g\nb, c = make(1), make(2)")
    exec("def f(): return b(), c()", vars(module))
    state = Surroundings(module.f).state()
    label = "work:make.<locals>.g closure a"
    assert list(state.values) == [label, f"{label} (2)"]
    assert list(state.facts()["functions"])[1:] == [
        "work:make.<locals>.g",
        "work:make.<locals>.g (2)",
    ]


def test_a_cell_that_is_empty_yet() -> None:
    module = work("def make():\n def f(): return a\n yield f\n a = 1\n yield a")
    steps = module.make()
    surroundings = Surroundings(next(steps))
    empty = surroundings.state()
    assert surroundings.state() == empty
    next(steps)
    full = surroundings.state()
    assert full.digest != empty.digest
    assert surroundings.state() is full


def test_what_is_redefined_in_a_prompt(python: Callable[..., Result]) -> None:
    result = python(
        """
        from snapshot.memo.surroundings import Surroundings
        cells = ("A = 1\\ndef g(): return A", "def f(): return g()", "def g(): return A + 1",
                 "A = 2", "A = 1", "def g(): return A")
        for cell in cells:
            exec(cell, globals())
            if "f" in globals():
                surroundings = globals().setdefault("surroundings", Surroundings(f))
                print(surroundings.state().digest.hex())
        """,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    first, plus, two, one, last = result.stdout.split()
    assert first == last
    assert plus == one
    assert len({first, plus, two}) == 3


def test_memoized_functions_in_a_table_that_they_read(python: Callable[..., Result]) -> None:
    result = python(
        """
        from snapshot.memo import memoize
        table = {}
        @memoize(store="results")
        def odd(n): return n > 0 and table["even"](n - 1)
        @memoize(store="results")
        def even(n): return n == 0 or table["odd"](n - 1)
        table.update(odd=odd, even=even)
        print(odd(3), odd.misses, even.misses, odd.explain(3).hit)
        """,
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )
    assert result.stdout == "True 2 2 True\n", result


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=5,
)


@hypothesis.given(st.lists(_VALUES, min_size=2, max_size=6))
def test_a_global_that_takes_one_value_after_the_other(values: list[Any]) -> None:
    module = work("A = 0\ndef f(): return A")
    surroundings = Surroundings(module.f)
    found: list[tuple[str, bytes]] = []
    for value in values:
        module.A = value
        found.append((repr(value), surroundings.state().digest))
        if isinstance(value, list):
            value.append(7)
            found.append((repr(value), surroundings.state().digest))
            value.pop()
            assert surroundings.state().digest == found[-2][1]
    texts, digests = zip(*found, strict=True)
    assert len(set(found)) == len(set(texts)) == len(set(digests))


# Packages.


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("tiny"):
            del sys.modules[name]


def test_the_version_of_a_package(site: Path) -> None:
    assert version_of_package("pytest") == pytest.__version__
    assert version_of_package("pytest.anything") == pytest.__version__
    for info in ("Tiny.One-1.5.dist-info", "tiny_two-2.0rc1-py3.12.egg-info"):
        (site / info).mkdir()
    for name in ("tiny_one", "tiny_two", "tiny_four"):
        (site / f"{name}.py").write_text("__version__ = '4'\n")
    assert version_of_package("tiny_one") == "1.5"
    assert version_of_package("tiny_two") == "2.0rc1"
    assert version_of_package("tiny_three") is None
    assert version_of_package("tiny_four") is None
    __import__("tiny_four")
    assert version_of_package("tiny_four") == "4"
    assert "tiny_one" not in sys.modules
    (site / "Tiny.One-1.5.dist-info").rename(site / "Tiny.One-1.6.dist-info")
    assert version_of_package("tiny_one") == "1.6"


def test_a_package_of_another_name(site: Path) -> None:
    for name, listing in (
        ("Something-3.0.dist-info", {"RECORD": "tiny_five.py,sha256=1,2\n"}),
        ("Else-4.0.dist-info", {"RECORD": "else.py,,\ntiny_names/a.py,,\n"}),
        ("Other-5.0.egg-info", {"top_level.txt": "other\ntiny_names\n"}),
    ):
        (site / name).mkdir()
        for file, text in listing.items():
            (site / name / file).write_text(text)
    (site / "tiny_five.py").write_text("")
    (site / "tiny_names").mkdir()
    assert version_of_package("tiny_five") == "something 3.0"
    assert version_of_package("tiny_names") == "else 4.0, other 5.0"


def test_an_editable_installation_is_the_users_own(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (site / "tiny_nine-1.0.dist-info").mkdir()
    (site / "__editable__.tiny_nine-1.0.pth").write_text(f"{tmp_path}/src")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "tiny_nine.py").write_text("A = 1\ndef g(): return A\n")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    surroundings = Surroundings(work("import tiny_nine\ndef f(): return tiny_nine.g()").f)
    before = surroundings.state()
    assert not before.packages
    monkeypatch.setattr("tiny_nine.A", 2)
    assert surroundings.state().digest != before.digest


def test_a_package_that_says_nothing_is_named(site: Path) -> None:
    (site / "tiny_six.py").write_text("def a(): pass\n")
    module = work("import tiny_six\ndef f(): return tiny_six.a()")
    state = Surroundings(module.f).state()
    assert state.packages == {"tiny_six": "?"}
    assert state.unfollowed == ("nothing tells the version of tiny_six",)


def test_a_base_class_that_is_installed_may_read_annotations(site: Path) -> None:
    (site / "tiny_seven.py").write_text("__version__ = '1'\nclass Model: pass\n")
    source = "from tiny_seven import Model\nclass C(Model):\n a: {}\ndef f(): return C"
    one, other = (Surroundings(work(source.format(each)).f).state() for each in ("int", "str"))
    assert one.digest != other.digest
    assert one.version == other.version


def test_a_compiled_module_of_the_users_counts_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"quick{EXTENSION_SUFFIXES[0]}"
    quick = work("class C: pass", "quick", __file__=str(file))
    monkeypatch.setitem(sys.modules, "quick", quick)
    for source in ("def f(): return quick.C", "def f(): return quick.go()", "def f(): return C"):
        states = []
        for content in (b"1", b"2"):
            file.write_bytes(content)
            states.append(Surroundings(work(source, quick=quick, C=quick.C).f).state())
        assert states[0].digest != states[1].digest
        assert states[0].packages["quick"].startswith("sha256:")
        assert states[0].unfollowed == ("quick is compiled: it counts by the digest of its file",)
