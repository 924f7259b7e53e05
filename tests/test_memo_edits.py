"""Which edits change the surroundings of a function, seen by a process before and one after."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.processes import run_python

Files = Mapping[str, str]
Edits = Mapping[str, tuple[str | Files, str | Files]]

# Two texts of a module, or of a package of several, of which the function f is asked for.
OTHER: Edits = {
    "the body": ("def f(x): return x + 1", "def f(x): return x + 2"),
    "a helper": (
        "def g(x): return 1\ndef f(x): return g(x)",
        "def g(x): return 2\ndef f(x): return g(x)",
    ),
    "a helper's helper": (
        "def h(x): return 1\ndef g(x): return h(x)\ndef f(x): return g(x)",
        "def h(x): return 2\ndef g(x): return h(x)\ndef f(x): return g(x)",
    ),
    "a global constant": ("A = 1\ndef f(x): return A", "A = 2\ndef f(x): return A"),
    "a global of another module": (
        {"__init__": "from . import other\ndef f(x): return other.A", "other": "A = 1"},
        {"__init__": "from . import other\ndef f(x): return other.A", "other": "A = 2"},
    ),
    "a closure cell": (
        "def make(a):\n def f(x): return a\n return f\nf = make(1)",
        "def make(a):\n def f(x): return a\n return f\nf = make(2)",
    ),
    "a default": ("def f(x, y=1): return y", "def f(x, y=2): return y"),
    "a method of a class that is used": (
        "class C:\n def a(self): return 1\ndef f(x): return C().a()",
        "class C:\n def a(self): return 2\ndef f(x): return C().a()",
    ),
    "an inherited method": (
        "class B:\n def a(self): return 1\nclass C(B): pass\ndef f(x): return C().a()",
        "class B:\n def a(self): return 2\nclass C(B): pass\ndef f(x): return C().a()",
    ),
    "an attribute of a class": (
        "class C:\n a = [1]\ndef f(x): return C.a",
        "class C:\n a = [2]\ndef f(x): return C.a",
    ),
    "the body of a decorator": (
        "def d(g):\n def w(x): return g(x) + 1\n return w\n@d\ndef f(x): return x",
        "def d(g):\n def w(x): return g(x) + 2\n return w\n@d\ndef f(x): return x",
    ),
    "the argument of a decorator": (
        "def d(a):\n return lambda g: lambda x: g(x) + a\n@d(1)\ndef f(x): return x",
        "def d(a):\n return lambda g: lambda x: g(x) + a\n@d(2)\ndef f(x): return x",
    ),
    "a lambda": (
        "g = lambda x: 1\ndef f(x): return g(x)",
        "g = lambda x: 2\ndef f(x): return g(x)",
    ),
    "a function inside": (
        "def f(x):\n def g(): return 1\n return g()",
        "def f(x):\n def g(): return 2\n return g()",
    ),
    "a comprehension": (
        "def f(x): return [y + 1 for y in x]",
        "def f(x): return [y + 2 for y in x]",
    ),
    "an f-string": ("def f(x): return f'{x} a {x!r}'", "def f(x): return f'{x} a {x!s}'"),
    "a default of a keyword": ("def f(x, *, y=1): return y", "def f(x, *, y=2): return y"),
    "a field of a dataclass": (
        "import dataclasses as d\n@d.dataclass\nclass C:\n a: int = 1\ndef f(x): return C()",
        "import dataclasses as d\n@d.dataclass\nclass C:\n a: int = 2\ndef f(x): return C()",
    ),
    "a member of an enumeration": (
        "import enum\nclass E(enum.Enum):\n A = 1\ndef f(x): return E.A.value",
        "import enum\nclass E(enum.Enum):\n A = 2\ndef f(x): return E.A.value",
    ),
    "the module that a name is imported from": (
        {"__init__": "from .a import g\ndef f(x): return g", "a": "g = 1", "b": "g = 2"},
        {"__init__": "from .b import g\ndef f(x): return g", "a": "g = 1", "b": "g = 2"},
    ),
    "an argument that is bound by partial": (
        "from functools import partial\ndef g(a, x): return a\nh = partial(g, 1)\n"
        "def f(x): return h(x)",
        "from functools import partial\ndef g(a, x): return a\nh = partial(g, 2)\n"
        "def f(x): return h(x)",
    ),
    "a property": (
        "class C:\n @property\n def a(self): return 1\ndef f(x): return C().a",
        "class C:\n @property\n def a(self): return 2\ndef f(x): return C().a",
    ),
    "an async helper": (
        "async def g(x): return 1\nasync def f(x): return await g(x)",
        "async def g(x): return 2\nasync def f(x): return await g(x)",
    ),
    "a helper that is a generator": (
        "def g(x): yield 1\ndef f(x): return list(g(x))",
        "def g(x): yield 2\ndef f(x): return list(g(x))",
    ),
    "the version of an installed package": (
        {
            "__init__": "import tiny_thing\ndef f(x): return tiny_thing.a(x)",
            "site-packages/tiny_thing": "def a(x): return x",
            "site-packages/Tiny.Thing-1.0.dist-info/METADATA": "Name: Tiny.Thing\nVersion: 1.0\n",
        },
        {
            "__init__": "import tiny_thing\ndef f(x): return tiny_thing.a(x)",
            "site-packages/tiny_thing": "def a(x): return x",
            "site-packages/Tiny.Thing-1.1.dist-info/METADATA": "Name: Tiny.Thing\nVersion: 1.1\n",
        },
    ),
    # Beyond the ones that everybody thinks of.
    "a function that is imported when it runs": (
        {"__init__": "def f(x):\n from .a import g\n return g(x)", "a": "def g(x): return 1"},
        {"__init__": "def f(x):\n from .a import g\n return g(x)", "a": "def g(x): return 2"},
    ),
    "what a module holds that is imported when it runs": (
        {"__init__": "def f(x):\n from . import a as b\n return b.C.d", "a": "class C: d = [1]"},
        {"__init__": "def f(x):\n from . import a as b\n return b.C.d", "a": "class C: d = [2]"},
    ),
    "a mutable default": ("def f(x, y=[1]): return y", "def f(x, y=[2]): return y"),
    "a global layout of bytes": (
        "import struct\nS = struct.Struct('<i')\ndef f(x): return S.pack(x)",
        "import struct\nS = struct.Struct('>i')\ndef f(x): return S.pack(x)",
    ),
    "an attribute of a global instance": (
        "class C:\n def __init__(self): self.a = 1\nc = C()\ndef f(x): return c.a",
        "class C:\n def __init__(self): self.a = 2\nc = C()\ndef f(x): return c.a",
    ),
    "a global of a method of a global instance": (
        "A = [1]\nclass C:\n def a(self): return A\nc = [C()]\ndef f(x): return c[0].a()",
        "A = [2]\nclass C:\n def a(self): return A\nc = [C()]\ndef f(x): return c[0].a()",
    ),
    "a global of a function in a table": (
        "A = 1\ndef g(): return A\nT = {'g': g}\ndef f(x): return T['g']()",
        "A = 2\ndef g(): return A\nT = {'g': g}\ndef f(x): return T['g']()",
    ),
    "an attribute of a function": (
        "def g(x): return g.a\ng.a = 1\ndef f(x): return g(x)",
        "def g(x): return g.a\ng.a = 2\ndef f(x): return g(x)",
    ),
    "the instance of a bound method": (
        "class C:\n def __init__(self, a): self.a = a\n def b(self): return self.a\n"
        "b = C(1).b\ndef f(x): return b()",
        "class C:\n def __init__(self, a): self.a = a\n def b(self): return self.a\n"
        "b = C(2).b\ndef f(x): return b()",
    ),
    "the metadata of a field": (
        "import dataclasses as d\n@d.dataclass\nclass C:\n a: int = d.field(metadata={'b': 1})\n"
        "def f(x): return d.fields(C)",
        "import dataclasses as d\n@d.dataclass\nclass C:\n a: int = d.field(metadata={'b': 2})\n"
        "def f(x): return d.fields(C)",
    ),
    "which of two closures": (
        "def make(a):\n def g(): return a\n return g\nb, c = make(1), make(2)\n"
        "def f(x): return b() - c()",
        "def make(a):\n def g(): return a\n return g\nb, c = make(2), make(1)\n"
        "def f(x): return b() - c()",
    ),
    "which of two names there is": (
        "A = 1\ndef f(x):\n try: return A\n except NameError: return B",
        "B = 1\ndef f(x):\n try: return A\n except NameError: return B",
    ),
    "an attribute of a function that is read by another one": (
        "def g(): pass\ng.a = 1\ndef h(k): return k.a\ndef f(x): return h(g)",
        "def g(): pass\ng.a = 2\ndef h(k): return k.a\ndef f(x): return h(g)",
    ),
    "an attribute of a method": (
        "class C:\n def g(): pass\n g.a = 1\ndef f(x): return C.g.a",
        "class C:\n def g(): pass\n g.a = 2\ndef f(x): return C.g.a",
    ),
    "a function that is an attribute of one": (
        "def g(x): return g.a(x)\ng.a = lambda x: 1\ndef f(x): return g(x)",
        "def g(x): return g.a(x)\ng.a = lambda x: 2\ndef f(x): return g(x)",
    ),
    "a function of a module in a list": (
        {
            "__init__": "from . import a\nT = [a]\ndef f(x): return [b.g() for b in T]",
            "a": "def g(): return 1",
        },
        {
            "__init__": "from . import a\nT = [a]\ndef f(x): return [b.g() for b in T]",
            "a": "def g(): return 2",
        },
    ),
    "a value of a module in an instance": (
        {
            "__init__": "from . import a\nclass C: pass\nc = C()\nc.a = a\ndef f(x): return c.a.B",
            "a": "B = 1",
        },
        {
            "__init__": "from . import a\nclass C: pass\nc = C()\nc.a = a\ndef f(x): return c.a.B",
            "a": "B = 2",
        },
    ),
    "a module that is handed on": (
        {
            "__init__": "from . import a\ndef g(b): return b.g()\ndef f(x): return g(a)",
            "a": "def g(): return 1",
        },
        {
            "__init__": "from . import a\ndef g(b): return b.g()\ndef f(x): return g(a)",
            "a": "def g(): return 2",
        },
    ),
    "a module that is a default": (
        {"__init__": "from . import a\ndef f(x, b=a): return b.g()", "a": "def g(): return 1"},
        {"__init__": "from . import a\ndef f(x, b=a): return b.g()", "a": "def g(): return 2"},
    ),
    "whether a class is registered": (
        "import abc\nclass A(abc.ABC): pass\nclass B: pass\nA.register(B)\n"
        "def f(x): return isinstance(B(), A)",
        "import abc\nclass A(abc.ABC): pass\nclass B: pass\ndef f(x): return isinstance(B(), A)",
    ),
    "one of two modules that a variable may have": (
        {
            "__init__": "def f(x):\n if x:\n  from . import a\n if not x:\n"
            "  from . import b as a\n return a.g()",
            "a": "def g(): return 1",
            "b": "",
        },
        {
            "__init__": "def f(x):\n if x:\n  from . import a\n if not x:\n"
            "  from . import b as a\n return a.g()",
            "a": "def g(): return 2",
            "b": "",
        },
    ),
    "a module that is imported below its use": (
        {
            "__init__": "def f(x):\n a = None\n for _ in 1, 2:\n  if a: return a.g()\n"
            "  from . import a",
            "a": "def g(): return 1",
        },
        {
            "__init__": "def f(x):\n a = None\n for _ in 1, 2:\n  if a: return a.g()\n"
            "  from . import a",
            "a": "def g(): return 2",
        },
    ),
    "an attribute that is None and hides an inherited one": (
        "class B: a = 1\nclass C(B): a = None\ndef f(x): return C.a",
        "class B: a = 1\nclass C(B): pass\ndef f(x): return C.a",
    ),
    "the end of a long regular expression of a class": (
        "import re\nclass C: a = re.compile('b|' * 150 + 'c')\ndef f(x): return C.a.match(x)",
        "import re\nclass C: a = re.compile('b|' * 150 + 'd')\ndef f(x): return C.a.match(x)",
    ),
    "the first function that a method is dispatched to": (
        "import functools\nclass C:\n @functools.singledispatchmethod\n def a(self, x): pass\n"
        " @a.register\n def _(self, x: int): return 1\n"
        " @a.register\n def _(self, x: str): return 3\ndef f(x): return C().a(x)",
        "import functools\nclass C:\n @functools.singledispatchmethod\n def a(self, x): pass\n"
        " @a.register\n def _(self, x: int): return 2\n"
        " @a.register\n def _(self, x: str): return 3\ndef f(x): return C().a(x)",
    ),
    "a property of a class of one's own": (
        "class P(property):\n def __get__(self, *a): return 1\n"
        "class C: a = P(len)\ndef f(x): return C().a",
        "class P(property):\n def __get__(self, *a): return 2\n"
        "class C: a = P(len)\ndef f(x): return C().a",
    ),
    "what such a property holds": (
        "class P(property): pass\nclass C: a = P(len)\nC.a.b = 1\ndef f(x): return C.a.b",
        "class P(property): pass\nclass C: a = P(len)\nC.a.b = 2\ndef f(x): return C.a.b",
    ),
    "the class of an instance in a result": (
        "class A: pass\nC = A\ndef f(x): return C()",
        "class B: pass\nC = B\ndef f(x): return C()",
    ),
    "an attribute of a member of an enumeration": (
        "import enum\nclass E(enum.Enum): A = 1\nE.A.b = 1\ndef f(x): return E.A.b",
        "import enum\nclass E(enum.Enum): A = 1\nE.A.b = 2\ndef f(x): return E.A.b",
    ),
}

BEFORE_BLACK = r"""
from functools import partial
A = {'a':1,'b':[2,3]}
def g( x,y = 'it is',*,z=(1,) ):
    return {'x':x , "y" : y, 'z':z   }
def f(x):
    if (x):
        t = g( x,y='a long text', z=( 1,2,3,), ) or \
            partial(g, 1, y = 'another long text', z=[x for x in (1,2)])
    else: t = lambda x:x[1 :2], 0XFF, 1E5, 'b'
    assert isinstance(t, (tuple,dict)) and (not (x)), 'this is a message'
    return (t)
"""

AFTER_BLACK = """
from functools import partial

A = {"a": 1, "b": [2, 3]}


def g(x, y="it is", *, z=(1,)):
    return {"x": x, "y": y, "z": z}


def f(x):
    if x:
        t = g(
            x,
            y="a long text",
            z=(
                1,
                2,
                3,
            ),
        ) or partial(g, 1, y="another long text", z=[x for x in (1, 2)])
    else:
        t = lambda x: x[1:2], 0xFF, 1e5, "b"
    assert isinstance(t, (tuple, dict)) and (not (x)), "this is a message"
    return t
"""

ATTRS = """
try:
    from attrs import frozen
except ImportError:
    from dataclasses import dataclass as frozen
@frozen
class C:
    a: int = 1
def f(x): return C()
"""

SAME: Edits = {
    "the seed of hashes, which attrs writes into its code": (ATTRS, ATTRS),
    "comments": (
        "A = 1\ndef g(x): return A\ndef f(x):\n return g(x)",
        "# one\nA = 1  # two\ndef g(x): return A  # three\ndef f(x):\n # four\n return g(x)",
    ),
    "docstrings": (
        "class C:\n def a(self): return 1\ndef f(x): return C().a()",
        "'module'\nclass C:\n 'class'\n def a(self):\n  'method'\n  return 1\n"
        "def f(x):\n 'function'\n return C().a()",
    ),
    "annotations of parameters and of what is returned": (
        "def g(x, *y, z=1): return x\ndef f(x, y=2): return g(x)",
        "from typing import Any\ndef g(x: int, *y: 'str', z: list[int] = 1) -> Any: return x\n"
        "def f(x: dict[str, Any], y: int | None = 2) -> 'Later': return g(x)",
    ),
    "annotations of variables": (
        "A = 1\ndef f(x):\n y = A\n return y",
        "A: int = 1\ndef f(x):\n y: int = A\n z: 'str'\n return y",
    ),
    "annotations of functions inside": (
        "def f(x):\n def g(y, *, z=1):\n  def h(): return y, z\n  return h\n return g(x)",
        "import typing\ndef f(x):\n"
        " def g(y: 'int', *, z: typing.Callable[[int], str] = 1) -> list['str' | None]:\n"
        "  def h() -> (int, {'a': 1}): return y, z\n  return h\n return g(x)",
    ),
    "annotations of the attributes of a class": (
        "class C:\n a = 1\ndef f(x): return C.a",
        "class C:\n a: int = 1\n b: str\ndef f(x): return C.a",
    ),
    "the type of a field of a dataclass": (
        "import dataclasses as d\n@d.dataclass\nclass C:\n a: int = 1\ndef f(x): return C()",
        "import dataclasses as d\n@d.dataclass\nclass C:\n a: 'bool' = 1\ndef f(x): return C()",
    ),
    "annotations that are not evaluated any more": (
        "class C:\n a: int = 1\ndef f(x: int):\n def g(y: int) -> C: return y\n return g(x), C",
        "from __future__ import annotations\nclass C:\n a: int = 1\n"
        "def f(x: int):\n def g(y: int) -> C: return y\n return g(x), C",
    ),
    "black": (BEFORE_BLACK, AFTER_BLACK),
    "moved lines": ("def f(x): return [x]", "\n" * 300 + "def f(x):\n\n\n return [\n\n  x\n ]"),
    "an edit elsewhere in the file": (
        "A = 1\ndef g(): return A\nclass C: pass\ndef f(x): return x",
        "A = 2\nB = 3\ndef g(): return B\nclass C:\n a = 1\ndef f(x): return x",
    ),
    "another name of a function that is not used": (
        "def g(): return 1\ndef f(x): return x",
        "def h(): return 1\ndef f(x): return x",
    ),
    "the order of functions": (
        "A = 1\nB = [2]\ndef g(): return A\ndef h(): return B\ndef f(x): return h(), g()",
        "def f(x): return h(), g()\ndef h(): return B\ndef g(): return A\nB = [2]\nA = 1",
    ),
    "the order of methods": (
        "class C:\n A = [1]\n def a(self): return 1\n def b(self): return 2\ndef f(x): return C()",
        "class C:\n def b(self): return 2\n def a(self): return 1\n A = [1]\ndef f(x): return C()",
    ),
    "parentheses, quotes and blank lines": (
        "def f(x):\n y = 'a' + x\n return y, 1",
        'def f(x):\n\n y = ("a") + (x)\n\n return (y, 1)\n',
    ),
    "another spelling of a number": ("def f(x): return 255, 1e3", "def f(x): return 0xff, 1_000.0"),
    "another module with the same": (
        {"__init__": "from . import a\ndef f(x): return a.A", "a": "A = 1\ndef g(): pass"},
        {"__init__": "from . import a\ndef f(x): return a.A", "a": "B = 2\nA = 1\ndef g(): pass"},
    ),
    "a file that the installed package has beside": (
        {
            "__init__": "import tiny_other\ndef f(x): return tiny_other.a(x)",
            "site-packages/tiny_other": "def a(x): return x",
            "site-packages/tiny_other-1.0.dist-info/METADATA": "Name: tiny-other\nVersion: 1.0\n",
        },
        {
            "__init__": "import tiny_other\ndef f(x): return tiny_other.a(x)",
            "site-packages/tiny_other": "def a(x): return (x)\ndef b(): pass",
            "site-packages/tiny_other-1.0.dist-info/METADATA": "Name: tiny-other\nVersion: 1.0\n",
        },
    ),
}

PROGRAM = """
import importlib, os, sys
from snapshot.memo.surroundings import Surroundings

if "traced" in sys.argv:
    def trace(*_):
        return trace
    sys.settrace(trace)
for name in sorted(os.listdir("cases")):
    sys.path[:0] = ["cases", f"cases/{name}/site-packages"]
    function = importlib.import_module(name).f
    first, second = (Surroundings(function).state().digest for _ in range(2))
    assert first == second
    print(name, first.hex())
"""


def write(folder: Path, source: str | Files) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in ({"__init__": source} if isinstance(source, str) else source).items():
        path = folder / (name if "dist-info" in name else f"{name}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


CASES = {f"case_{number}": edit for number, edit in enumerate([*OTHER.values(), *SAME.values()])}
NAMES = dict(zip([*OTHER, *SAME], CASES, strict=True))

Digests = dict[str, str]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Digests]:
    """The digests of all cases before the edits, after them, and after they are undone, each in a
    process of its own; then once more, traced."""
    directory = tmp_path_factory.mktemp("edits")
    found = []
    for seed, (number, how) in enumerate([(0, ""), (1, ""), (0, ""), (0, "traced")]):
        for name, edit in CASES.items():
            write(directory / "cases" / name, edit[number])
        result = run_python(
            PROGRAM,
            how,
            directory=directory,
            env={
                "PYTHONHASHSEED": str(seed),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            },
        )
        assert result.code == 0, result
        found.append(dict(line.split() for line in result.stdout.splitlines()))
    return found


@pytest.mark.parametrize("what", OTHER)
def test_an_edit_that_counts(runs: list[Digests], what: str) -> None:
    before, after, *again = (each[NAMES[what]] for each in runs)
    assert before != after
    assert again == [before, before]


@pytest.mark.parametrize("what", SAME)
def test_an_edit_that_does_not(runs: list[Digests], what: str) -> None:
    assert len({each[NAMES[what]] for each in runs}) == 1


# What is x here is the argument of a function.
THROUGH_ARGUMENTS: Edits = {
    "what a method imports when it runs": (
        {
            "__init__": "class C:\n def m(self):\n  from .a import g\n  return g()\nx = C()",
            "a": "def g(): return 1",
        },
        {
            "__init__": "class C:\n def m(self):\n  from .a import g\n  return g()\nx = C()",
            "a": "def g(): return 2",
        },
    ),
    "a value that a method imports when it runs": (
        {
            "__init__": "class C:\n def m(self):\n  from . import a\n  return a.B\nx = C()",
            "a": "B = 1",
        },
        {
            "__init__": "class C:\n def m(self):\n  from . import a\n  return a.B\nx = C()",
            "a": "B = 2",
        },
    ),
    "what a function imports when it runs": (
        {"__init__": "def x():\n from .a import g\n return g()", "a": "def g(): return 1"},
        {"__init__": "def x():\n from .a import g\n return g()", "a": "def g(): return 2"},
    ),
    "a module that is the argument": (
        {"__init__": "from . import a as x", "a": "def g(): return 1"},
        {"__init__": "from . import a as x", "a": "def g(): return 2"},
    ),
    "the version of the package of its class": (
        {
            "__init__": "import tiny_more\nx = tiny_more.C()",
            "site-packages/tiny_more": "class C: pass",
            "site-packages/tiny_more-1.0.dist-info/METADATA": "",
        },
        {
            "__init__": "import tiny_more\nx = tiny_more.C()",
            "site-packages/tiny_more": "class C: pass",
            "site-packages/tiny_more-1.1.dist-info/METADATA": "",
        },
    ),
    "the version of a package that a method uses": (
        {
            "__init__": "import tiny_other\nclass C:\n def m(self): return tiny_other.a()\nx = C()",
            "site-packages/tiny_other": "def a(): pass",
            "site-packages/tiny_other-1.0.dist-info/METADATA": "",
        },
        {
            "__init__": "import tiny_other\nclass C:\n def m(self): return tiny_other.a()\nx = C()",
            "site-packages/tiny_other": "def a(): pass",
            "site-packages/tiny_other-1.1.dist-info/METADATA": "",
        },
    ),
}

ASKING = """
import sys
from snapshot.memo import memoize
sys.path.insert(0, "case/site-packages")
import case

@memoize(store="results")
def f(x):
    return 1

print(f.would_hit(case.x))
f(case.x)
assert f.would_hit(case.x)
"""


@pytest.mark.parametrize("what", THROUGH_ARGUMENTS)
def test_an_edit_that_counts_through_an_argument(tmp_path: Path, what: str) -> None:
    told = []
    for number in (0, 0, 1, 0):
        write(tmp_path / "case", THROUGH_ARGUMENTS[what][number])
        told.append(
            run_python(
                ASKING,
                directory=tmp_path,
                env={
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "PYTHONPATH": os.pathsep.join([".", os.environ.get("PYTHONPATH", "")]),
                },
            ).stdout.split()
        )
    assert told == [["False"], ["True"], ["False"], ["True"]]
