"""Functions: their keys, their versions, their sources, and how they are found again."""

from __future__ import annotations

import contextlib
import functools
import gc
import inspect
import itertools
import linecache
import os
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from snapshot.errors import FunctionNotFound, UsageError
from snapshot.store.bytecode import code_digest, look_into
from snapshot.store.functions import (
    find,
    key_of,
    parameters,
    split,
    underlying,
)
from snapshot.store.sources import codes_of, source_of
from snapshot.store.versions import Versions, version_of
from tests.processes import Result

Make = Callable[..., ModuleType]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A module of the user's from a source: written to a file, run, and forgotten at the end."""

    def made(source: str, name: str = "work", **names: object) -> ModuleType:
        file = tmp_path / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        linecache.checkcache(str(file))
        module = ModuleType(name)
        module.__file__ = str(file)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), vars(module))
        return module

    return made


def version(make: Make, source: str, name: str = "f", **names: object) -> bytes:
    return version_of(getattr(make(source, **names), name))


def test_the_key_is_that_of_the_code(make: Make) -> None:
    work = make(
        """
        import functools

        def renaming(function):
            @functools.wraps(function)
            def wrapper(*args):
                return function(*args)
            return wrapper

        class C:
            @renaming
            def method(self): pass

        def outer():
            def inner(): pass
            return inner
        """
    )
    assert key_of(work.outer) == "work:outer"
    assert key_of(work.outer()) == "work:outer.<locals>.inner"
    assert key_of(work.C.method) == "work:renaming.<locals>.wrapper"
    assert key_of(work.C.method.__wrapped__) == "work:C.method"
    assert key_of(work.outer().__code__, "elsewhere") == "elsewhere:outer.<locals>.inner"
    with pytest.raises(UsageError, match="module of outer is not known"):
        key_of(work.outer.__code__)


def test_the_function_under_decorators() -> None:
    def plain(self: object = None) -> None:
        pass

    class C:
        def bound(self) -> None:
            pass

    bound = C.bound
    each: Any
    wrapped = functools.wraps(plain)(lambda: plain())
    for each in (
        *(plain, wrapped, functools.wraps(wrapped)(lambda: wrapped()), functools.lru_cache(plain)),
        *(staticmethod(plain), classmethod(plain), property(plain)),
        *(functools.cached_property(plain), functools.partialmethod(plain)),
        *(functools.partial(functools.partial(plain), 1), staticmethod(wrapped)),
    ):
        assert underlying(each) is plain, each
    assert underlying(C().bound) is bound
    assert underlying(functools.partial(C().bound)) is bound
    for nothing in (3, len, C, sys, C(), functools.partial(print), property()):
        assert underlying(nothing) is None

    def ring() -> None:
        pass

    vars(ring)["__wrapped__"] = ring
    assert underlying(ring) is ring


# What changes nothing: two texts of f that do the same.
SAME = {
    "nothing": ("def f(x): return x + 1", "def f(x): return x + 1"),
    "a comment": ("def f(x):\n    return x", "# x\n\n\ndef f(x):  # it\n\n    # is\n    return x"),
    "the text of a docstring": ("def f(x):\n 'a'\n return x", "def f(x):\n 'b'\n return x"),
    "a docstring": ("def f(x):\n return [x, 7]", "def f(x):\n 'b'\n return [x, 7]"),
    "a docstring that is a constant, too": (
        "def f(x):\n return 'a', None",
        "def f(x):\n 'a'\n return 'a', None",
    ),
    "a docstring alone": ("def f(x):\n pass", "def f(x):\n 'b'"),
    "a docstring of a function inside": (
        "def f(x):\n def g():\n  return 8\n return g",
        "def f(x):\n def g():\n  'b'\n  return 8\n return g",
    ),
    "a docstring of a class inside": (
        "def f(x):\n class C:\n  for y in x:\n   z = y\n  a: int = 8\n return C",
        "\n\n\ndef f(x):\n class C:\n  'b'\n  for y in x:\n   z = y\n  a: int = 8\n return C",
    ),
    "annotations": ("def f(x, y=1): return x", "def f(x: int, y: str = 1) -> int: return x"),
    "annotations of locals": ("def f():\n y = 3\n return y", "def f():\n y: int = 3\n return y"),
    "annotations of functions inside": (
        "def f(x):\n def g(y=1, *, z=2):\n  def h(): return y, z\n  return h\n return g",
        "def f(x):\n def g(y: 'a' = 1, *, z: D[E, 'a'](3, b=4) | None = 2) -> [5]:\n"
        "  w: int\n  def h() -> lambda c: c: return y, z\n  return h\n return g",
    ),
    "annotations of functions inside, as texts": (
        "def f(x):\n def g(y: int = 1) -> x: return x\n return g",
        "from __future__ import annotations\n"
        "def f(x):\n def g(y: int = 1) -> x: return x\n return g",
    ),
    "a blank line in a handler": (
        "def f(x):\n try:\n  return x()\n except E:\n  raise F",
        "def f(x):\n try:\n  return x()\n\n except E:\n\n  raise F",
    ),
    "a pass": ("def f(x):\n if x:\n  x()\n", "def f(x):\n pass\n if x:\n  x()\n  pass\n"),
    "a global that is a value": ("A = 1\ndef f(): return A", "A = 2\ndef f(): return A"),
    "a global that is not there": ("def f(): return A", "A = 2\ndef f(): return A"),
    "a cell that is a value": (
        "def m(a):\n def f(): return a\n return f\nf = m(1)",
        "def m(a):\n def f(): return a\n return f\nf = m(2)",
    ),
    "another function": ("def g(): return 1\ndef f(): pass", "def g(): return 2\ndef f(): pass"),
    "the order of functions": (
        "def g(): return 1\ndef f(): return g()",
        "def f(): return g()\ndef g(): return 1",
    ),
    "the order of methods": (
        "class C:\n def a(self): pass\n def b(self): pass\ndef f(): return C()",
        "class C:\n def b(self): pass\n\n def a(self): pass\ndef f(): return C()",
    ),
    "a docstring of a class that it reaches": (
        "class C:\n def a(self): self.x = 1\ndef f(): return C()",
        "class C:\n 'b'\n y: int\n def a(self):\n  'b'\n  self.x = 1\ndef f(): return C()",
    ),
    "what a mutable default has by now": (
        "def f(x, cache={}): return cache",
        "def f(x, cache={}): return cache\nf(0)[1] = 2",
    ),
    "whether the only instance is made": (
        "class C:\n only = None\ndef f(): return C.only",
        "class C:\n only = None\nC.only = C()\ndef f(): return C.only",
    ),
    "what a class keeps for itself": (
        "class C:\n lock = None\n known = {}\ndef f(): return C",
        "class C:\n lock = None\n known = {}\ndef f(): return C\n"
        "import threading\nC.lock = threading.Lock()\nC.known[1] = 2\nC.more = []",
    ),
    "the name of what is reached": (
        "class C:\n def a(self): return 1\n m = a\ndef f(): return C()",
        "class C:\n def b(self): return 1\n a = m = b\n del b\ndef f(): return C()",
    ),
}


@pytest.mark.parametrize("what", SAME)
def test_the_version_stays(make: Make, what: str) -> None:
    one, other = SAME[what]
    assert version(make, one) == version(make, other)


# What changes something: two texts of f that do not do the same.
OTHER = {
    "a constant": ("def f(x): return x + 1", "def f(x): return x + 2"),
    "the type of a constant": ("def f(): return 1", "def f(): return 1.0"),
    "a truth": ("def f(): return 1", "def f(): return True"),
    "the sign of zero": ("def f(): return 0.0", "def f(): return -0.0"),
    "bytes": ("def f(): return 'a'", "def f(): return b'a'"),
    "a constant in a tuple": ("def f(): return (1, (2,))", "def f(): return (1, (2.0,))"),
    "a set": ("def f(x): return x in {1, 2}", "def f(x): return x in {1, 3}"),
    "an operator": ("def f(x): return x + 1", "def f(x): return x - 1"),
    "a comparison": ("def f(x): return x < 1", "def f(x): return x <= 1"),
    "a global name": ("def f(x): return a(x)", "def f(x): return b(x)"),
    "an attribute": ("def f(x): return x.a", "def f(x): return x.b"),
    "a jump": (
        "def f(x):\n while x:\n  if x(): continue\n  x = 2\n",
        "def f(x):\n while x:\n  if x(): break\n  x = 2\n",
    ),
    "where an exception is caught": (
        "def f(x):\n x(1)\n try:\n  x(2)\n except E:\n  pass",
        "def f(x):\n try:\n  x(1)\n  x(2)\n except E:\n  pass",
    ),
    "a parameter": ("def f(x): pass", "def f(y): pass"),
    "the kind of a parameter": ("def f(x): pass", "def f(*, x): pass"),
    "a parameter by position alone": ("def f(x): pass", "def f(x, /): pass"),
    "stars": ("def f(*x): pass", "def f(**x): pass"),
    "async": ("def f(x): return x", "async def f(x): return x"),
    "a default": ("def f(x=1): pass", "def f(x=2): pass"),
    "a default or none": ("def f(x): pass", "def f(x=None): pass"),
    "a default of a keyword": ("def f(*, x=1): pass", "def f(*, x=2): pass"),
    "a default in a tuple": ("def f(x=(1, (2,))): pass", "def f(x=(1, (3,))): pass"),
    "a default of a standard type": (
        "from decimal import Decimal as D\ndef f(x=D(1)): pass",
        "from decimal import Decimal as D\ndef f(x=D(2)): pass",
    ),
    "a default beside an annotation": (
        "def f(x):\n def g(y: int = x(1)): pass\n return g",
        "def f(x):\n def g(y: int = x(2)): pass\n return g",
    ),
    "a closure beside an annotation": (
        "def f(x, z):\n def g(y: int): return x\n return g",
        "def f(x, z):\n def g(y: int): return z\n return g",
    ),
    "annotations of a class inside": (
        "def f(x):\n class C:\n  y: int = 1\n return C",
        "def f(x):\n class C:\n  y: str = 1\n return C",
    ),
    "a default that is a function": (
        "def f(x=lambda: 1): return x",
        "def f(x=lambda: 2): return x",
    ),
    "the type of a mutable default": ("def f(x=[]): pass", "def f(x={}): pass"),
    "a member as a default": (
        "import enum\nclass E(enum.Enum):\n A = 1\n B = 2\ndef f(x=E.A): pass",
        "import enum\nclass E(enum.Enum):\n A = 1\n B = 2\ndef f(x=E.B): pass",
    ),
    "the value of a member": (
        "import enum\nclass E(enum.Enum):\n A = 1\ndef f(x): return E.A",
        "import enum\nclass E(enum.Enum):\n A = 2\ndef f(x): return E.A",
    ),
    "a lambda inside": ("def f(): return lambda: 1", "def f(): return lambda: 2"),
    "a comprehension": (
        "def f(x): return [y + 1 for y in x]",
        "def f(x): return [y + 2 for y in x]",
    ),
    "a helper": (
        "def g(): return 1\ndef f(): return g()",
        "def g(): return 2\ndef f(): return g()",
    ),
    "a helper's helper": (
        "def h(): return 1\ndef g(): return h()\ndef f(): return g()",
        "def h(): return 2\ndef g(): return h()\ndef f(): return g()",
    ),
    "a helper that is called in a comprehension": (
        "def g(): return 1\ndef f(x): return [g() for y in x]",
        "def g(): return 2\ndef f(x): return [g() for y in x]",
    ),
    "a helper that is called in a lambda": (
        "def g(): return 1\ndef f(x): return lambda: lambda: g()",
        "def g(): return 2\ndef f(x): return lambda: lambda: g()",
    ),
    "a default of a helper": (
        "def g(x=1): return x\ndef f(): return g()",
        "def g(x=2): return x\ndef f(): return g()",
    ),
    "a helper with a cache": (
        "import functools\n@functools.lru_cache\ndef g(): return 1\ndef f(): return g()",
        "import functools\n@functools.lru_cache\ndef g(): return 2\ndef f(): return g()",
    ),
    "a context manager": (
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield 1\ndef f(): return g()",
        "import contextlib\n@contextlib.contextmanager\ndef g(): yield 2\ndef f(): return g()",
    ),
    "a partial": (
        "import functools\ndef g(x): return 1\nh = functools.partial(g, 1)\ndef f(): return h()",
        "import functools\ndef g(x): return 2\nh = functools.partial(g, 1)\ndef f(): return h()",
    ),
    "a table of functions": (
        "def g(): return 1\nH = {'g': g}\ndef f(): return H['g']()",
        "def g(): return 2\nH = {'g': g}\ndef f(): return H['g']()",
    ),
    "a function in a cell": (
        "def m(a):\n def f(): return a()\n return f\nf = m(lambda: 1)",
        "def m(a):\n def f(): return a()\n return f\nf = m(lambda: 2)",
    ),
    "a function in a cell, for one inside": (
        "def m(a):\n def f(): return lambda: a()\n return f\nf = m(lambda: 1)",
        "def m(a):\n def f(): return lambda: a()\n return f\nf = m(lambda: 2)",
    ),
    "what a decorated one wraps": (
        "def d(g):\n def w(): return g()\n return w\n@d\ndef f(): return 1",
        "def d(g):\n def w(): return g()\n return w\n@d\ndef f(): return 2",
    ),
    "a method": (
        "class C:\n def a(self): return 1\ndef f(): return C().a()",
        "class C:\n def a(self): return 2\ndef f(): return C().a()",
    ),
    "a class method": (
        "class C:\n @classmethod\n def a(cls): return 1\ndef f(): return C.a()",
        "class C:\n @classmethod\n def a(cls): return 2\ndef f(): return C.a()",
    ),
    "the setter of a property": (
        "class C:\n @property\n def a(self): pass\n @a.setter\n def a(self, x): return 1\n"
        "def f(): return C",
        "class C:\n @property\n def a(self): pass\n @a.setter\n def a(self, x): return 2\n"
        "def f(): return C",
    ),
    "an attribute of a class": (
        "class C:\n a = 1\ndef f(): return C.a",
        "class C:\n a = 2\ndef f(): return C.a",
    ),
    "a base class": (
        "class B:\n def a(self): return 1\nclass C(B): pass\ndef f(): return C().a()",
        "class B:\n def a(self): return 2\nclass C(B): pass\ndef f(): return C().a()",
    ),
    "the bases": (
        "class C(dict): pass\ndef f(): return C()",
        "class C(list): pass\ndef f(): return C()",
    ),
    "a metaclass": (
        "class M(type):\n def a(self): return 1\nclass C(metaclass=M): pass\ndef f(): return C.a()",
        "class M(type):\n def a(self): return 2\nclass C(metaclass=M): pass\ndef f(): return C.a()",
    ),
    "the class of a global instance": (
        "class C:\n def a(self): return 1\nc = C()\ndef f(): return c.a()",
        "class C:\n def a(self): return 2\nc = C()\ndef f(): return c.a()",
    ),
    "what another import brings": (
        "from json import dumps as g\ndef f(): return g()",
        "from json import loads as g\ndef f(): return g()",
    ),
    "another built-in one": (
        "from math import sin as g\ndef f(): return g()",
        "from math import cos as g\ndef f(): return g()",
    ),
    "another module": (
        "import json as g\ndef f(): return g.dumps()",
        "import pickle as g\ndef f(): return g.dumps()",
    ),
    "one of two that call each other": (
        "def g(x): return f(x) + 1\ndef f(x): return g(x)",
        "def g(x): return f(x) + 2\ndef f(x): return g(x)",
    ),
    "which of two alike is called": (
        "def a(): return 1\ndef b(): return 2\ndef f(): return a() - b()",
        "def a(): return 2\ndef b(): return 1\ndef f(): return a() - b()",
    ),
}


@pytest.mark.parametrize("what", OTHER)
def test_the_version_changes(make: Make, what: str) -> None:
    one, other = OTHER[what]
    assert version(make, one) != version(make, other)


def test_a_helper_in_a_module(make: Make) -> None:
    def using(helper: str) -> bytes:
        helpers = make(helper, "shop.helpers")
        shop = make("from shop import helpers", "shop", helpers=helpers)
        return version(make, "def f(x): return shop.helpers.tax(x)", shop=shop)

    one = using("def rate(): return 1\ndef tax(x): return rate() * x\ndef other(): return 1")
    assert one == using(
        "def rate(): return 1\ndef other(): return 2\ndef tax(x): return rate() * x"
    )
    assert one != using("def rate(): return 2\ndef tax(x): return rate() * x")


def test_of_what_is_installed_the_name_counts(make: Make, tmp_path: Path) -> None:
    def using(number: int, file: Path) -> bytes:
        library = make(
            f"def g(): return {number}\nclass C: x = {number}\n"
            f"def d(h):\n def w(): return h(), {number}\n return w",
            "library",
        )
        names = {"library": library, "g": library.g, "C": library.C, "d": library.d}
        vars(library)["__file__"] = str(file)
        return version(
            make, "@d\ndef h(): return 1\ndef f(): return library.g() + g(C, h())", **names
        )

    for folder in ("lib/site-packages", "lib/dist-packages"):
        installed = tmp_path / folder / "library.py"
        assert using(1, installed) == using(2, installed)
    own = tmp_path / "library.py"
    assert using(1, own) != using(2, own)


def test_a_decorator_of_a_library_lets_the_function_be_seen(make: Make) -> None:
    source = (
        "import contextlib\ndef g(): yield {}\nh = contextlib.contextmanager(g)\ndef f(): return h"
    )
    one, other = (version(make, source.format(number)) for number in (1, 2))
    assert one != other


def test_a_helper_that_is_replaced_is_seen_at_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = make("def g(): return 1\ndef f(): return g()")
    versions = Versions()
    before = version_of(work.f)
    assert versions.of(work.f) == before
    monkeypatch.setattr(work, "g", lambda: 2)
    assert version_of(work.f) != before
    assert versions.of(work.f) == before
    assert Versions().of(work.f) == version_of(work.f)
    monkeypatch.undo()
    assert version_of(work.f) == before


KNOT = """
class Base:
    def start(self): return Tree
class Tree(Base):
    child: "Tree"
    def grow(self): return Tree(), even(3), super().start()
    @property
    def twin(self): return __class__
def even(n): return n == 0 or odd(n - 1)
def odd(n): return n and even(n - 1)
def twice(n): return thrice(n) + twice(n)
def thrice(n): return helper(n)(twice)
def helper(n):
    def inner(m): return helper(m), Tree
    return inner
def loop(x={}): return loop
loop.__defaults__[0]["me"] = loop
lone = lambda n: lone(n - 1)
"""


def test_the_order_of_asking_does_not_matter(make: Make) -> None:
    work = make(KNOT)
    names = ["Tree", "Base", "even", "odd", "twice", "thrice", "helper", "loop", "lone"]
    alone = {name: version_of(getattr(work, name)) for name in names}
    assert len(set(alone.values())) == len(names)
    for order in itertools.islice(itertools.permutations(names), 0, None, 9973):
        versions = Versions()
        assert {name: versions.of(getattr(work, name)) for name in order} == alone


def test_each_of_a_knot_sees_a_change_in_any(make: Make) -> None:
    work = make(KNOT)
    knot = ("twice", "thrice")
    before = {name: version_of(getattr(work, name)) for name in knot}
    for old, new in (("(n) + twice", "(n) - twice"), ("helper(n)(", "helper(2)(")):
        assert old in KNOT
        work = make(KNOT.replace(old, new))
        for name in knot:
            assert version_of(getattr(work, name)) != before[name]


@hypothesis.given(st.data())
def test_a_version_is_the_same_for_the_same_graph_alone(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 6))
    numbers = st.lists(st.integers(0, size - 1), max_size=3)
    calls = data.draw(st.lists(numbers, min_size=size, max_size=size))
    values = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    changed = data.draw(st.integers(0, size - 1))

    def versions(values: list[int], order: list[int]) -> list[bytes]:
        names: dict[str, Any] = {"__name__": "work"}
        for number in order:
            called = "".join(f"f{each}(), " for each in calls[number])
            exec(f"def f{number}(): return [{called}], {values[number]}", names)
        known = Versions()
        found = {number: known.of(names[f"f{number}"]) for number in order}
        assert found == {number: version_of(names[f"f{number}"]) for number in order}
        return [found[number] for number in range(size)]

    order = data.draw(st.permutations(range(size)))
    before = versions(values, list(range(size)))
    assert versions(values, order) == before
    values[changed] += 2
    after = versions(values, order)
    reaching = {changed}
    while more := {each for each in range(size) if reaching & {*calls[each]}} - reaching:
        reaching |= more
    assert {each for each in range(size) if before[each] != after[each]} == reaching


def test_a_version_is_the_same_in_each_process(
    python: Callable[..., Result], make: Make, tmp_path: Path
) -> None:
    source = KNOT + textwrap.dedent(
        """
        def f(x, y=frozenset("abc"), *, z=("d", 2.5, None, ...)):
            class Inner:
                def __init__(self): self.a = self.b = self.c = self.d = 1
            assert x in {"a", "b", "c", 4, (5, "e")}
            return even, Tree, Inner
        """
    )
    here = [version(make, source, name).hex() for name in ("f", "Tree", "even")]
    for seed in ("0", "1", "4711"):
        result = python(
            """
            import work
            from snapshot.store.versions import version_of
            print(*(version_of(each).hex() for each in (work.f, work.Tree, work.even)))
            """,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(["", *sys.path])},
        )
        assert result.stdout.split() == here, result


def test_a_function_that_runs_stays_the_same(make: Make) -> None:
    source = "def f(x):\n t = 0\n for y in range(x):\n  t += y * 2 if y % 2 else len(str(y))\n"
    before = version(make, source)
    work = make(source)
    work.f(10_000)
    with traced():
        work.f(100)
        assert version_of(work.f) == before
    assert version_of(work.f) == before


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """Each line is watched, by `sys.monitoring` where there is one."""
    if sys.version_info < (3, 12):
        before = sys.gettrace()
        sys.settrace(lambda *_: None)
        try:
            yield
        finally:
            sys.settrace(before)
        return
    monitoring = sys.monitoring
    monitoring.use_tool_id(4, "test")
    monitoring.set_events(4, monitoring.events.LINE | monitoring.events.INSTRUCTION)
    try:
        yield
    finally:
        monitoring.set_events(4, 0)
        monitoring.free_tool_id(4)


def test_what_is_imported_by_a_function() -> None:
    names: dict[str, Any] = {}
    exec(
        """def f(x):
        import a.b.c
        import a.b.c as d
        from . import e
        from ..helpers import g, h as i
        def inner():
            import j
            return j.k, [j.l for _ in j.m]
        i = i.n.o
        return a.b.p(d), e, g, x.y, d.q(x), inner
        """,
        names,
    )
    local = look_into(names["f"].__code__)
    assert set(local.modules) == {"a.b.c", ".", "..helpers", "j"}
    assert set(local.imported) == {
        *(("j", "k"), ("j", "l"), ("j", "m")),
        *(("a", "b", "p"), ("a", "b", "c"), ("a", "b", "c", "q"), (".", "e")),
        *(("..helpers", "g"), ("..helpers", "h", "n", "o")),
    }


def test_an_index_beyond_a_byte(make: Make) -> None:
    body = "".join(f" if x == {number + 0.5}: y = None\n" for number in range(300))
    one = version(make, f"def f(x):\n{body}")
    assert version(make, f"def f(x):\n 'documentation'\n{body}") == one
    assert version(make, f"def f(x):\n{body.replace('299.5', '299.75')}") != one


def test_a_long_chain_of_helpers(make: Make) -> None:
    source = "".join(f"def f{number}(): return f{number + 1}()\n" for number in range(5000))
    assert version(make, source, "f0") != version(make, source + "def f5000(): pass", "f0")


def test_what_is_forgotten_is_not_kept(make: Make) -> None:
    from snapshot.store import bytecode

    version_of(make("def f(): return lambda: 1").f)
    before = len(bytecode._known)
    for number in range(50):
        names: dict[str, Any] = {}
        exec(f"def f(): return lambda: {number}", names)
        version_of(names["f"])
    names.clear()
    gc.collect()
    assert len(bytecode._known) <= before


@hypothesis.given(st.integers(), st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_where_the_text_stands_is_no_matter(line: int, blank: list[int]) -> None:
    lines = [
        "def f(x):",
        "    if x:",
        "        x += 1",
        "        while x():",
        "            with x: y = lambda: x",
        "    else:",
        "        try: return [x for y in x]",
        "        finally: x = (y, {1, 2})",
    ]
    moved = "\n" * abs(line % 1000)
    for each, count in zip(lines, blank, strict=True):
        moved += f"{each}  # {count}\n" + "\n" * count + "# it\n" * (count == 1)
    one, other = (
        code_digest(codes_of(text, file)["f"][0])
        for text, file in (("\n".join(lines), "a.py"), (moved, "b.py"))
    )
    assert one == other


_ANNOTATION = st.recursive(
    st.sampled_from(["int", "'a'", "None", "x", "a.b", "3", "lambda: 3", "f'{x} a'"]),
    lambda inner: st.one_of(
        st.builds("D[{}, {}]".format, inner, inner),
        st.builds("(({}) | ({}))".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("a.b({}, k={})".format, inner, inner),
        st.builds("{{{}: {}}}".format, inner, inner),
    ),
    max_leaves=6,
)


@hypothesis.given(
    st.fixed_dictionaries({}, optional=dict.fromkeys("yzvwr", _ANNOTATION)),
    st.sets(st.sampled_from(["y", "w", "closure"])),
)
def test_no_annotation_of_a_function_inside_counts(
    annotations: dict[str, str], others: set[str]
) -> None:
    def text(annotations: dict[str, str]) -> str:
        told = {name: f": {annotations[name]}" if name in annotations else "" for name in "yzvw"}
        returned = f" -> {annotations['r']}" if "r" in annotations else ""
        y, w = ("= x(1)" if name in others else "" for name in "yw")
        values = "x, z" if "closure" in others else "z"
        return (
            f"def f(x):\n try:\n  def g(z{told['z']}, y{told['y']}{y}, *v{told['v']}, "
            f"w{told['w']}{w}){returned}:\n   return {values}\n finally:\n  x()\n return g"
        )

    one, other = (codes_of(text(each), "a.py")["f"][0] for each in (annotations, {}))
    assert code_digest(one) == code_digest(other)


# Sources.

TEXT = '''\
import functools


def deco(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)
    return wrapper


class C:
    """C."""

    @deco
    @deco
    def method(self):
        """Say it,
        twice.
        """
        return """a
  b
        c"""

    pair = (lambda self: 1,
            2)


def outer():
    # a reason
    def inner(x):

        return x
    return inner


if outer:
    key = sorted([], key=lambda pair: pair[1])
    named = lambda: 3
'''


def test_the_source_of_a_function(make: Make) -> None:
    work = make(TEXT)

    def check(function: Any, line: int, text: str) -> None:
        source = source_of(function)
        assert source is not None
        assert (source.line, source.text) == (line, text)
        assert source.file == work.__file__
        assert not source.stale
        assert source_of(function.__code__) == source

    check(work.outer(), 30, "def inner(x):\n\n    return x\n")
    check(work.named, 38, "named = lambda: 3\n")
    check(work.C.pair[0], 24, "pair = (lambda self: 1,\n        2)\n")
    method = underlying(work.C.method)
    text = '@deco\n@deco\ndef method(self):\n    """Say it,\n    twice.\n    """\n'
    check(method, 14, text + '    return """a\n  b\n        c"""\n')
    check(work.C.method, 5, inspect_dedented(work.C.method.__code__))


def inspect_dedented(code: CodeType) -> str:
    return textwrap.dedent(inspect.getsource(code))


def test_the_source_is_right_when_the_file_was_edited(make: Make) -> None:
    work = make(TEXT)
    path = Path(str(work.__file__))
    inner = work.outer()
    before = source_of(inner)
    assert before is not None

    path.write_text("import os\n\n" + TEXT)
    linecache.checkcache(str(path))
    moved = source_of(inner)
    assert moved is not None
    assert (moved.text, moved.line, moved.stale) == (before.text, 32, False)

    path.write_text(TEXT.replace("return x\n", "return x * 1000\n"))
    linecache.checkcache(str(path))
    edited = source_of(inner)
    assert edited is not None
    assert "x * 1000" in edited.text
    assert edited.stale

    path.write_text(TEXT.replace("def inner", "def another"))
    linecache.checkcache(str(path))
    assert source_of(inner) is None
    path.write_text("def (")
    linecache.checkcache(str(path))
    assert source_of(inner) is None
    path.unlink()
    linecache.checkcache(str(path))
    assert source_of(inner) is None


def test_the_text_of_the_import_is_used_where_it_is_known(make: Make) -> None:
    work = make(TEXT)
    linecache.getlines(str(work.__file__))
    Path(str(work.__file__)).write_text("nothing = 1\n")
    source = source_of(work.outer)
    assert source is not None
    assert source.text.startswith("def outer")
    assert not source.stale


def test_no_source_is_no_error() -> None:
    names: dict[str, Any] = {}
    exec("def f(): pass", names)
    for each in (names["f"], names["f"].__code__, len, 3, functools.partial(len), int):
        assert source_of(each) is None


@pytest.mark.parametrize("module", [inspect, contextlib, functools, textwrap])
def test_the_sources_of_a_library(module: ModuleType) -> None:
    """Each source, compiled after the imports of its module, gives the code that it is of: a call
    `re.sub()` is compiled otherwise where `re` is known to be imported."""
    lines = inspect.getsource(module).splitlines(keepends=True)
    imports = "".join(line for line in lines if line.startswith("import "))
    for value in vars(module).values():
        function = underlying(value)
        if function is None or function.__module__ != module.__name__:
            continue
        source = source_of(function)
        if "<locals>" in function.__code__.co_qualname or source is None:
            continue
        codes = codes_of(imports + source.text, "alone").get(function.__code__.co_qualname, [])
        assert code_digest(function.__code__) in map(code_digest, codes), source


# Finding.

LIBRARY = """
import functools

def bare(function):
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

class Keeping:
    def __init__(self, function):
        self.function = function
    def __call__(self, *args):
        return self.function(*args)

@bare
@functools.lru_cache
@bare
def decorated(x): return "decorated"

@Keeping
def kept(x): return "kept"

def plain(x):
    class Local:
        def method(self): return [lambda: 1, lambda: 2]
    def inner(y):
        return lambda: y
    return inner

class C:
    def method(self): return "method"
    @classmethod
    def cls(cls): return "cls"
    @staticmethod
    def static(): return "static"
    @property
    def value(self): return "get"
    @value.setter
    def value(self, value): return "set"
    @functools.cached_property
    def cached(self): return "cached"
    def __secret(self): return "secret"
    class Inner:
        @bare
        def deep(self): return "deep"
    part = functools.partialmethod(lambda self, x: "part", 1)

TABLE = {"one": lambda: 1, "two": lambda: 2}
alone = [x for x in ()]

def gone(): return "gone"
gone = None
"""

FIND = """
import pickle, sys
from snapshot.errors import FunctionNotFound
from snapshot.store.functions import find, find_code, key_of
from snapshot.store.bytecode import code_digest
"""


@pytest.fixture
def program(python: Callable[..., Result], tmp_path: Path) -> Callable[..., list[str]]:
    """The lines that a program prints that can import `library`."""
    (tmp_path / "library.py").write_text(LIBRARY)

    def run(source: str) -> list[str]:
        path = os.pathsep.join(["", *sys.path])
        result = python(FIND + textwrap.dedent(source), env={"PYTHONPATH": path})
        assert result.code == 0, result
        return result.stdout.splitlines()

    return run


def test_a_function_is_found_by_its_key(program: Callable[..., list[str]]) -> None:
    lines = program(
        """
        names = ["decorated", "kept", "plain", "bare", "C.method", "C.cls", "C.static", "C.value",
                 "C.cached", "C.__secret", "C.Inner.deep", "C.<lambda>"]
        for name in names:
            function = find(f"library:{name}")
            assert type(function).__name__ == "function"
            assert key_of(function) == f"library:{name}", name
            assert find_code(f"library:{name}") is function.__code__
        print(find("library:decorated")(1), find("library:C.value")(None))
        import library
        setter = library.C.value.fset
        print(find("library:C.value", digest=code_digest(setter.__code__)) is setter)
        for one in library.TABLE.values():
            print(find("library:<lambda>", digest=code_digest(one.__code__)) is one)
        def here(): pass
        print(find("__main__:here") is here)
        """
    )
    assert lines == ["decorated get", "True", "True", "True", "True"]


def test_code_inside_a_function_is_found(program: Callable[..., list[str]]) -> None:
    lines = program(
        """
        import library
        inner = library.plain(1)
        print(find_code("library:plain.<locals>.inner") is inner.__code__)
        print(find_code(key_of(inner(2))).co_qualname)
        print(find_code("library:plain.<locals>.Local.method").co_qualname)
        key = "library:plain.<locals>.Local.method.<locals>.<lambda>"
        for wanted in find_code("library:plain.<locals>.Local.method").co_consts[1:]:
            if hasattr(wanted, "co_code"):
                print(find_code(key, digest=code_digest(wanted)) is wanted)
        print(find_code("library:gone").co_firstlineno)
        """
    )
    gone = LIBRARY.splitlines().index('def gone(): return "gone"') + 1
    assert lines == [
        *("True", "plain.<locals>.inner.<locals>.<lambda>", "plain.<locals>.Local.method"),
        *("True", "True", str(gone)),
    ]


def test_what_is_not_found_is_told(program: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise SystemExit('not today')")
    lines = program(
        """
        for look, key in [
            (find, "library"),
            (find, "nowhere:f"),
            (find, "broken:f"),
            (find, "library:decorate"),
            (find, "library:C.metod"),
            (find, "library:alone"),
            (find_code, "library:Absent.method"),
            (find, "library:plain.<locals>.inner"),
            (find_code, "library:plain.<locals>.iner"),
            (find, "library:<lambda>"),
            (find_code, "library:plain.<locals>.Local.method.<locals>.<lambda>"),
        ]:
            try:
                print(look(key))
            except FunctionNotFound as error:
                again = pickle.loads(pickle.dumps(error))
                assert (str(again), again.key) == (str(error), key)
                print(error)
        """
    )
    wanted = [
        "'library' is no key of a function: write module:qualname",
        "importing nowhere raised ModuleNotFoundError: No module named 'nowhere'; give",
        "importing broken raised SystemExit: not today; give",
        "there is no function decorate in the module library",
        "the names C.method are like it",
        "the name alone is that of a list; if",
        "there is no function Absent.method in the module library",
        "is made anew each time that plain is called",
        "there is no function plain.<locals>.iner in the module library",
        "there are several functions library:<lambda>, in the lines",
        "give it a name",
    ]
    assert len(lines) == len(wanted)
    for line, part in zip(lines, wanted, strict=True):
        assert part in line


# Parameters.


def test_parameters_by_their_kinds() -> None:
    def every(a: int, /, b: int, c: int = 3, *d: int, e: int, f: int = 6, **g: int) -> None:
        h = a  # noqa: F841

    found = parameters(every.__code__)
    assert found.positional_only == ("a",)
    assert found.positional == ("b", "c")
    assert (found.varargs, found.varkw) == ("d", "g")
    assert found.keyword_only == ("e", "f")
    with pytest.raises(UsageError, match=r"no value for b of .*every"):
        split(every.__code__, {"a": 1})


_NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


@hypothesis.given(_NAMES, st.data())
def test_a_call_is_split_as_it_was_made(names: list[str], data: st.DataObject) -> None:
    kinds = sorted((data.draw(st.sampled_from(inspect._ParameterKind)), name) for name in names)
    stars = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    chosen = [
        inspect.Parameter(name, kind)
        for number, (kind, name) in enumerate(kinds)
        if kind not in stars or kind not in [before for before, _ in kinds[:number]]
    ]
    signature = inspect.Signature(chosen)
    space: dict[str, Any] = {}
    exec(f"def function{signature}:\n    return locals()", space)
    function: FunctionType = space["function"]
    own = parameters(function.__code__)
    args = list(range(len(own.positional_only) + len(own.positional)))
    kwargs = {name: name for name in own.keyword_only}
    if own.varargs is not None:
        args += data.draw(st.lists(st.integers(), max_size=3))
    if own.varkw is not None:
        # A name that is positional only may be a keyword at the same time.
        taken = {*own.positional, *own.keyword_only}
        more = data.draw(st.sets(st.sampled_from("abcdefghijk")))
        kwargs.update({name: name for name in sorted(more - taken)})
    assert split(function.__code__, function(*args, **kwargs)) == (tuple(args), kwargs)


def test_the_locals_of_a_frame_at_entry() -> None:
    seen = []

    class C:
        def method(self, x: int, *rest: int, **named: int) -> Callable[[], object]:
            return lambda: (self, x, rest, named, __class__)  # type: ignore[name-defined]

    def watch(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code is C.method.__code__:
            seen.append(split(frame.f_code, frame.f_locals))

    this = C()
    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        this.method(1, 2, 3, four=4)
    finally:
        sys.setprofile(before)
    assert seen == [((this, 1, 2, 3), {"four": 4})]


def test_an_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(FunctionNotFound("no", key="a:b")))
    assert (str(error), error.key) == ("no", "a:b")
    with pytest.raises(LookupError):
        find("json:dumpz")
    assert find("json:dumps").__name__ == "dumps"
    with pytest.raises(FunctionNotFound, match=r"leads to json\.encoder:JSONEncoder"):
        find("json:JSONEncoder.encode")
