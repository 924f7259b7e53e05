"""`snapshot heat rm` and `undo`: what is taken out of a text, what stops it, and the way back."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from snapshot.errors import CannotRead, FilesChanged, UsageError
from snapshot.heat import rootmarker, undo
from snapshot.heat.inventory import functions_in
from snapshot.heat.removal import Removal, plan
from snapshot.heat.writing import home, replace
from tests.packages import sources_of
from tests.processes import Result, environment, run_python
from tests.terminal import Terminal

SNAPSHOT = Path(sys.executable).with_name("snapshot")


def write(root: Path, files: dict[str, str | bytes]) -> None:
    (root / rootmarker.NAME).touch()
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def planned(root: Path, *keys: str, force: bool = False, cold: bool | None = True) -> Removal:
    inventory = functions_in(root)
    functions = [inventory.find(each) for each in keys]
    return plan(inventory, functions, is_cold=lambda _: cold, force=force)


def after(removal: Removal, path: str) -> str:
    return removal.changes[path][1].decode()


def stops(root: Path, *keys: str) -> list[str]:
    found = (f"{each.path}:{each.line} {each.kind}" for _, each in planned(root, *keys).stops)
    return [*dict.fromkeys(found)]


def removed(root: Path, text: str | bytes, key: str = "m:f") -> bytes:
    write(root, {"m.py": text})
    removal = planned(root, key)
    assert not removal.stops, removal.stops
    return removal.changes["m.py"][1]


# What is taken out.


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (b"def f(): pass\n", b""),
        (b"a = 1\n\n\ndef f():\n    pass\n\n\nb = 2\n", b"a = 1\n\n\nb = 2\n"),
        (b"a = 1\n# of f\n@property\n# too\ndef f():\n    pass\nb = 2", b"a = 1\nb = 2"),
        (b"a = 1\n\n# on\n\n# of f\ndef f(): pass\n\nb = 2\n", b"a = 1\n\n# on\n\nb = 2\n"),
        (b"a = 1\r\n\r\ndef f():\r\n\tpass\r\n\r\nb =  2\r\n", b"a = 1\r\n\r\nb =  2\r\n"),
        (b"\xef\xbb\xbfdef f(): pass\nb = '\xc3\xa4'\n", b"\xef\xbb\xbfb = '\xc3\xa4'\n"),
        (b"# coding: latin-1\na = '\xe4'\ndef f(): pass", b"# coding: latin-1\na = '\xe4'\n"),
        (b"if 1:\n\tdef f():\n\t\tpass\n", b"if 1:\n\tpass\n"),
        (b"try:\n  def f(): pass\nexcept OSError: 1\n", b"try:\n  pass\nexcept OSError: 1\n"),
        (b"a = 1; b\nasync def f(x):\n    await x\nc = (1,\n  2)\n", b"a = 1; b\nc = (1,\n  2)\n"),
        (b"def f():\n    pass\n# of g\ndef g():\n    pass\n", b"# of g\ndef g():\n    pass\n"),
        (b"#!x\n\n# of f\ndef f(): 1\n\ny=1\n", b"#!x\n\ny=1\n"),
        (b"#!x\n# ours\ndef f(): 1\n\ny=1\n", b"#!x\n# ours\n\ny=1\n"),
        (b"# ours\n\nimport a\ndef f(): 1\n", b"# ours\n\nimport a\n"),
        (b"x = 1\n\x0c\ndef f():\n    1\n\x0c\ny = 2\n", b"x = 1\n\x0c\ny = 2\n"),
        (b"def f():\n    return f()\nx = '''\n  f\r\n'''\n", b"x = '''\n  f\r\n'''\n"),
    ],
)  # fmt: skip
def test_nothing_else_of_a_file_changes(tmp_path: Path, before: bytes, expected: bytes) -> None:
    assert removed(tmp_path, before) == expected


def test_methods(tmp_path: Path) -> None:
    text = (
        "class C:\n    def first(self):\n        pass\n\n    # of m\n    def m(self):\n"
        "        pass\n\n    def last(self):\n        pass\n"
    )
    assert removed(tmp_path, text, "m:C.m").decode() == text.replace(
        "    # of m\n    def m(self):\n        pass\n\n", ""
    )
    assert removed(tmp_path, text, "m:C.first").decode().startswith("class C:\n    # of m\n")
    assert removed(tmp_path, text, "m:C.last").decode().endswith("def m(self):\n        pass\n")
    alone = "class C:\n    # of m\n    def m(self): pass\n\nx = 1\n"
    assert removed(tmp_path, alone, "m:C.m") == b"class C:\n    pass\n\nx = 1\n"


def test_one_of_several(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(): return 1\ndef f(): return 2\n"})
    assert after(planned(tmp_path, "m:f@1"), "m.py") == "def f(): return 2\n"
    assert not planned(tmp_path, "m:f@1", "m:f@2").changes["m.py"][1]


def test_imports_of_it_go_too(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pkg/__init__.py": "from .m import f as g, other\n",
            "pkg/m.py": "def f(): pass\ndef other(): pass\n",
            "pkg/far/user.py": "from ..m import (\n    f,  # gone\n    other,\n)\n",
            "a.py": "def later():\n    from pkg.m import f\n",
            "b.py": "import pkg; from pkg import g; x = 1\n",
            "c.py": "try:\n    from pkg.m import f\nexcept ImportError:\n    pass\n",
            "d.py": "from pkg.m import other, f\nfrom elsewhere import f as g\ng()\n",
            "tests/test_it.py": "from pkg.m import f\n",
        },
    )
    removal = planned(tmp_path, "pkg.m:f")
    assert not removal.stops
    assert {path: after(removal, path) for path in removal.changes} == {
        "pkg/__init__.py": "from .m import other\n",
        "pkg/m.py": "def other(): pass\n",
        "pkg/far/user.py": "from ..m import (\n    other,\n)\n",
        "a.py": "def later():\n    pass\n",
        "b.py": "import pkg; x = 1\n",
        "c.py": "try:\n    pass\nexcept ImportError:\n    pass\n",
        "d.py": "from pkg.m import other\nfrom elsewhere import f as g\ng()\n",
        "tests/test_it.py": "",
    }


# What stops it.


REFERENCES = {
    "call": ("def f(): pass\ndef g(): f()\n", ["m.py:2 name"]),
    "passed": ("def f(): pass\nx = [f]\n", ["m.py:2 name"]),
    "decorator": ("def f(): pass\n@f\ndef g(): pass\n", ["m.py:2 name"]),
    "export": ("__all__ = ['f']\ndef f(): pass\n", ["m.py:1 __all__"]),
    "string": ("def f(): pass\nx = getattr(x, 'f')\n", ["m.py:2 string"]),
    "dotted": ("def f(): pass\nx = 'm.f', 'm:f', 'n.f'\n", ["m.py:2 string"]),
    "itself": ("def f(n): return f(n - 1)\n", []),
    "shadowed": ("def f(): pass\ndef g(f): return f()\n", []),
    "local": ("def f(): pass\ndef g():\n    f = 1\n    return f\n", []),
    "of a class": ("def f(): pass\nclass C:\n    f = 1\n    x = f\n", []),
    "beside one": ("def f(): pass\nclass C:\n    f = 1\n    def m(self): f()\n", ["m.py:4 name"]),
    "parameter": ("def f(): pass\nclass C:\n    def m(self, f): f\n    x = f\n", ["m.py:4 name"]),
    "global": ("def f(): pass\ndef g():\n    global f\n    f()\n    f = 1\n", ["m.py:4 name"]),
    "of self": ("def f(): pass\nclass C:\n    def m(self): self.f()\n", []),
    "registered": ("import app\n@app.on\ndef f(): pass\n", ["m.py:3 @app.on may register it"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCES)
def test_what_leads_to_a_function(tmp_path: Path, name: str) -> None:
    text, expected = REFERENCES[name]
    write(tmp_path, {"m.py": text})
    assert stops(tmp_path, "m:f") == expected


def test_what_leads_to_it_from_other_files(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pkg/__init__.py": "from .m import *\n",
            "pkg/m.py": "def f(): pass\n",
            "a.py": "from pkg import f as g\n\ng()\n",
            "b.py": "import pkg.m\npkg.m.f()\n",
            "c.py": "import os\nos.f\n",
            "d.py": "def f(): pass\nf()\n",
            "tests/test_it.py": "from pkg.m import *\nf()\n",
            "setup.cfg": "[options.entry_points]\nscripts =\n  x = pkg.m:f\n  y = pkg.m:ff\n",
            "pyproject.toml": '[project.scripts]\nx = "pkg:f"\n',
        },
    )
    assert stops(tmp_path, "pkg.m:f") == [
        *("a.py:3 name", "b.py:2 attribute", "pyproject.toml:2 entry point"),
        *("setup.cfg:3 entry point", "tests/test_it.py:2 name"),
    ]


def test_what_leads_to_a_method(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "base.py": "class Base:\n    def area(self): pass\n",
            "m.py": "from base import Base as Ground\nclass Middle(Ground): pass\n"
            "class C(Middle):\n    def area(self): pass\n    alias = area\n",
            "far.py": "import m\nclass D(m.C):\n    def area(self): pass\ndef g(c): c.area()\n",
            "local.py": "def g(area): return area\nx = ''.area\n",
        },
    )
    assert stops(tmp_path, "m:C.area") == [
        *("base.py:2 overridden by m:C.area", "far.py:3 overrides m:C.area"),
        *("far.py:4 attribute", "m.py:5 name"),
    ]


def test_what_is_outside_of_the_application(tmp_path: Path) -> None:
    text = (
        "import html.parser as parsing, flask\nfrom typing import Generic\n"
        "class P(parsing.HTMLParser):\n    def unknown_decl(self, data): pass\n"
        "    def own(self): pass\n"
        "class V(flask.View):\n    def anything(self): pass\n"
        "class E(Generic[int], ValueError):\n    def own(self): pass\n"
        "class N:\n    def visit_it(self): return 'visit_' + x\n    def make_it(self): pass\n"
        "    def run(self, n): getattr(self, f'make_{n}')()\n"
    )
    write(tmp_path, {"m.py": text})
    assert stops(tmp_path, "m:P.unknown_decl") == [
        "m.py:4 html.parser.HTMLParser, which is outside of the application, may call it"
    ]
    assert stops(tmp_path, "m:P.own") == []
    assert stops(tmp_path, "m:V.anything") == [
        "m.py:7 flask.View, which is outside of the application, may call it"
    ]
    assert stops(tmp_path, "m:E.own") == []
    assert stops(tmp_path, "m:N.visit_it") == ["m.py:11 a framework may call it by its name"]
    assert stops(tmp_path, "m:N.make_it") == ["m.py:13 beginning of a name"]


ANOTHER: dict[str, str] = {
    "other definition": "if 1:\n    def f(): pass\nelse:\n    def f(): return 1\n",
    "import": "import sys\ntry:\n    from fast import f\nexcept ImportError:\n    def f(): pass\n",
    "value": "f = None\n\n\nwith open('x'):\n    def f(): pass\n",
}  # fmt: skip


@pytest.mark.parametrize("name", ANOTHER)
def test_imports_stay_while_the_name_is_bound(tmp_path: Path, name: str) -> None:
    text = ANOTHER[name]
    write(tmp_path, {"m.py": text, "pkg/__init__.py": "from m import f\n__all__ = ['f']\n"})
    line = max(number for number, each in enumerate(text.splitlines(), 1) if "def f" in each)
    key = f"m:f@{line}" if text.count("def f") > 1 else "m:f"
    removal = planned(tmp_path, key, force=True)
    assert [*removal.changes] == ["m.py"]
    write(tmp_path, {"n.py": "[g for g in ()]\ndef g(): pass\n", "o.py": "from n import g\n"})
    assert [*planned(tmp_path, "n:g").changes] == ["n.py", "o.py"]


def test_imports_stay_where_another_module_passes_the_name_on(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pkg/__init__.py": "try:\n    from .fast import f, g\nexcept ImportError:\n"
            "    from .slow import f, g\n__all__ = ['f']\n",
            "pkg/fast.py": "def f(): return 1\ndef g(): pass\n",
            "pkg/slow.py": "def f(): return 2\ndef g(): pass\n",
            "pkg/both.py": "from .fast import *\nfrom .slow import *\n",
            "a.py": "from pkg import f\n",
            "b.py": "from pkg.both import f\n",
        },
    )
    text = (tmp_path / "pkg" / "__init__.py").read_text()
    fast, slow = (planned(tmp_path, f"pkg.{each}:f", force=True) for each in ("fast", "slow"))
    assert after(fast, "pkg/__init__.py") == text.replace(
        "    from .fast", "    # TODO: pkg.fast:f was removed\n    from .fast"
    )
    assert [*fast.changes] == ["pkg/__init__.py", "pkg/fast.py"]
    assert after(slow, "pkg/__init__.py") == text.replace(".slow import f, g", ".slow import g")
    assert [*slow.changes] == ["pkg/__init__.py", "pkg/slow.py"]
    both = planned(tmp_path, "pkg.fast:f", "pkg.slow:f", force=True)
    assert {*both.changes} == {"a.py", "b.py", *fast.changes, *slow.changes}


CAUGHT = "import, in a try statement that does without it"
DOING_WITHOUT = {
    "another value": ("try:\n    from m import f\nexcept ImportError:\n    f = None\n", [CAUGHT]),
    "any error": (
        "try:\n    if 1:\n        from m import f\nexcept (KeyError, Exception): x = 1\n",
        [CAUGHT],
    ),
    "every error": ("try:\n    from m import f\nexcept:\n    f = None\n", [CAUGHT]),
    "it is known": (
        "try:\n    from m import f\nexcept ImportError: pass\nelse:\n    x = 1\n",
        [CAUGHT],
    ),
    "it is noted": ("try:\n    from m import f\n    x = 1\nexcept ImportError: pass\n", [CAUGHT]),
    "it is said": (
        "try:\n    from m import f\nexcept ImportError:\n    print()\n    raise SystemExit\n",
        [],
    ),
    "it is not caught": ("try:\n    from m import f\nexcept KeyError:\n    f = 1\n", []),
    "not there": (
        "try:\n    def g():\n        from m import f\nexcept ImportError:\n    g = 1\n",
        [],
    ),
}


@pytest.mark.parametrize("name", DOING_WITHOUT)
def test_a_program_that_does_without_an_import(tmp_path: Path, name: str) -> None:
    text, expected = DOING_WITHOUT[name]
    write(tmp_path, {"m.py": "def f(): pass\n", "a.py": text})
    removal = planned(tmp_path, "m:f", force=True)
    assert [each.kind for _, each in removal.stops] == expected
    assert ("from m import f" in after(removal, "a.py")) == bool(expected)


UNSURE = "import from a module of that name"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pkg/__init__.py": "", "pkg/logging.py": "", "a.py": "from logging import f\n"}, []),
        ({"pkg/__init__.py": "", "pkg/logging.py": "", "pkg/a.py": "from logging import f\n"}, []),
        ({"pkg/__init__.py": "", "pkg/m.py": "", "a.py": "from m import f\n", "m.py": ""}, []),
        ({"pkg/__init__.py": "", "pkg/m.py": "", "a.py": "from m import f\n"}, [UNSURE]),
        ({"pkg/m.py": "", "a.py": "from m import f\n", "m.py": ""}, [UNSURE]),
        ({"pkg/logging.py": "", "a.py": "from logging import f\n"}, [UNSURE]),
    ],
)
def test_imports_from_another_module_of_that_name_stay(
    tmp_path: Path, files: dict[str, str | bytes], expected: list[str]
) -> None:
    (module,) = (each for each in files if each.startswith("pkg/") and each[4:] in MODULES)
    write(tmp_path, {**files, module: "def f(): pass\n", "b.py": "from a import f\n"})
    removal = planned(tmp_path, f"pkg.{module[4:-3]}:f", force=True)
    assert [each.kind for _, each in removal.stops] == expected
    assert {*removal.changes} == {module, *(["a.py"] if expected else [])}
    if expected:
        key = f"pkg.{module[4:-3]}:f"
        assert after(removal, "a.py") == f"# TODO: {key} was removed\n{files['a.py']!s}"


MODULES = ("m.py", "logging.py")


def test_imports_from_a_folder_that_is_on_the_path_go(tmp_path: Path) -> None:
    write(tmp_path, {"back/app/m.py": "def f(): pass\n", "back/a.py": "from app.m import f\n"})
    removal = planned(tmp_path, "back.app.m:f")
    assert not removal.stops
    assert after(removal, "back/a.py") == ""


def test_the_setter_of_a_property(tmp_path: Path) -> None:
    text = (
        "class C:\n    @property\n    def x(self): return 1\n    @x.setter\n"
        "    def x(self, value): pass\n"
    )
    write(tmp_path, {"m.py": text, "n.py": "def g(c):\n    c.x = c.y = 1\n    c.z = 2\n"})
    assert stops(tmp_path, "m:C.x@5") == ["n.py:2 assignment"]
    write(tmp_path, {"n.py": "from m import C\nmatch 1:\n    case C(x=1): pass\n"})
    assert stops(tmp_path, "m:C.x@5") == ["n.py:3 attribute"]
    write(
        tmp_path,
        {"n.py": "def g(c):\n    c.plain = 1\n", "o.py": "class D:\n def plain(self): 1\n"},
    )
    assert stops(tmp_path, "o:D.plain") == []


def test_overloads_go_with_what_they_are_of(tmp_path: Path) -> None:
    text = (
        "from typing import overload\n@overload\ndef f(x: int) -> int: ...\n"
        "@overload\ndef f(x: str) -> str: ...\ndef f(x): return x\n"
    )
    write(tmp_path, {"m.py": text})
    reason = "an overload, which is there for type checkers"
    assert stops(tmp_path, "m:f@6") == ["m.py:6 overloads of it would stay"]
    assert stops(tmp_path, "m:f@3") == [f"m.py:3 {reason}"]
    assert stops(tmp_path, "m:f@6", "m:f@3") == [
        "m.py:6 overloads of it would stay",
        f"m.py:3 {reason}",
    ]
    removal = planned(tmp_path, "m:f@3", "m:f@5", "m:f@6")
    assert not removal.stops
    assert after(removal, "m.py") == "from typing import overload\n"


def test_whatever_exports_it(tmp_path: Path) -> None:
    text = "__all__ = []\n__all__ += ['f']\n__all__.append('f')\n__all__.extend(['f', 'g'])\n"
    write(tmp_path, {"m.py": f"{text}def f(): pass\ndef g(): pass\n"})
    assert after(planned(tmp_path, "m:f", force=True), "m.py") == (
        "__all__ = []\n__all__ += []\n__all__.extend(['g'])\ndef g(): pass\n"
    )


def test_names_that_are_put_together(tmp_path: Path) -> None:
    made = [
        *("f'{x}_view'", "'%s_view' % x", "x + '_view'", "'{}_view'.format(x)"),
        *("f'get_{x}'", "'get_%s' % x", "'get_' + x", "'get_{0.y}'.format(x)", "f'get_{x}_view'"),
        *("'%(x)s_view' % x",),
    ]
    text = "class N:\n    def get_my_view(self): pass\n"
    for each in made:
        write(tmp_path, {"m.py": text, "n.py": f"def g(x):\n    return {each}\n"})
        assert stops(tmp_path, "m:N.get_my_view"), each
    for each in ("f'{x}_other'", "'%s_viewed' % x", "f'{x}_my_views'", "'got_%s' % x"):
        write(tmp_path, {"n.py": f"def g(x):\n    return {each}\n"})
        assert not stops(tmp_path, "m:N.get_my_view"), each


def test_what_cannot_be_read_may_use_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "m.py": "def f(): pass\ndef g(): pass\nclass C:\n    def h(self): pass\n",
            "old.py": "import m\nprint m.f()\nprint 2 %h()\n",
            "tests/test_old.py": "from m import f\nexec 'f'\nf()\n",
        },
    )
    said = "the name, in a file that does not parse"
    everywhere = [f"{place} {said}" for place in ("old.py:2", "tests/test_old.py:1")]
    everywhere += [f"tests/test_old.py:{line} {said}" for line in (2, 3)]
    assert stops(tmp_path, "m:f") == everywhere
    assert stops(tmp_path, "m:C.h") == [f"old.py:3 {said}"]
    assert stops(tmp_path, "m:g") == []
    assert [*planned(tmp_path, "m:f", force=True).changes] == ["m.py"]


def test_a_caller_counts_unless_it_goes_too(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(): pass\ndef g(): f()\nx = 1\n"})
    assert stops(tmp_path, "m:f") == ["m.py:2 name"]
    removal = planned(tmp_path, "m:f", "m:g")
    assert not removal.stops
    assert after(removal, "m.py") == "x = 1\n"


@pytest.mark.parametrize(
    ("cold", "why"), [(None, "nothing is known of its calls"), (False, "it has been called")]
)
def test_one_that_is_not_known_to_be_cold(tmp_path: Path, cold: bool | None, why: str) -> None:
    write(tmp_path, {"m.py": "def f(): pass\n"})
    ((_, stop),) = planned(tmp_path, "m:f", cold=cold).stops
    assert stop.kind == why


# By force.


def test_by_force_callers_get_a_comment(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "m.py": "__all__ = ['f', 'g']\n__all__ += ('f',)\ndef f(): pass\n"
            "def g():\n\tif 1: pass\n\telif f(): f(), f()\n\treturn [\n\t\tf,\n\t]\n@f\n"
            "def h(): pass\n",
            "a.py": b"import m\r\nx = m.f('''\r\n''')",
        },
    )
    removal = planned(tmp_path, "m:f", force=True)
    todo = "# TODO: m:f was removed"
    assert after(removal, "m.py") == (
        f"__all__ = ['g']\n__all__ += ()\ndef g():\n\tif 1: pass\n\t{todo}\n\telif f(): f(), f()\n"
        f"\t{todo}\n\treturn [\n\t\tf,\n\t]\n{todo}\n@f\ndef h(): pass\n"
    )
    assert after(removal, "a.py") == f"import m\r\n{todo}\r\nx = m.f('''\r\n''')"
    assert len(removal.stops) == 6


def test_a_lambda_is_edited_by_hand(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "f = lambda: 1\n"})
    with pytest.raises(UsageError, match=r"m:<lambda> is a part of an expression: edit m.py:1"):
        planned(tmp_path, "m:<lambda>")


def test_a_file_that_libcst_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import libcst

    def refuse(_: str) -> libcst.Module:
        raise libcst.ParserSyntaxError("no such syntax", lines=[""], raw_line=1, raw_column=0)

    write(tmp_path, {"m.py": "def f(): pass\n"})
    monkeypatch.setattr(libcst, "parse_module", refuse)
    with pytest.raises(CannotRead, match=r"m.py cannot be edited, and nothing was written: "):
        planned(tmp_path, "m:f")


# Writing, and the way back.


def test_it_is_put_back_byte_for_byte(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "m.py": b"\xef\xbb\xbfdef f(): pass\r\ndef g(): pass",
        "a.py": "from m import f\n",
    }
    write(tmp_path, files)
    (tmp_path / "m.py").chmod(0o751)
    first = planned(tmp_path, "m:f")
    undo.write(tmp_path, first.changes, ["m:f"])
    assert (tmp_path / "a.py").read_bytes() == b""
    assert (tmp_path / "m.py").stat().st_mode & 0o777 == 0o751
    second = planned(tmp_path, "m:g")
    undo.write(tmp_path, second.changes, ["m:g"])
    last = undo.last(tmp_path)
    assert last is not None
    assert (last.functions, last.changes) == (["m:g"], second.changes)
    assert undo.undo(tmp_path) == (["m:g"], ["m.py"])
    assert undo.undo(tmp_path) == (["m:f"], ["a.py", "m.py"])
    for name, content in files.items():
        path = tmp_path / name
        assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert undo.last(tmp_path) is None
    with pytest.raises(UsageError, match=r"nothing was removed in .* that could be put back"):
        undo.undo(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        *(".snapshot", "a.py", "m.py", "snapshot.rootmarker")
    ]


def test_a_file_that_is_changed_meanwhile(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(): pass\n", "a.py": "from m import f\n"})
    removal = planned(tmp_path, "m:f")
    (tmp_path / "m.py").write_text("def f(): return 1\n")
    with pytest.raises(FilesChanged, match=r"m.py was changed meanwhile, and nothing was written"):
        undo.write(tmp_path, removal.changes, ["m:f"])
    assert (tmp_path / "a.py").read_text() == "from m import f\n"
    with pytest.raises(UsageError, match="nothing was removed"):
        undo.undo(tmp_path)


def test_two_removals_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that comes too late changes nothing, and leaves what undoes the first."""
    write(tmp_path, {"m.py": "def f(): pass\n"})
    changes = planned(tmp_path, "m:f").changes
    asked, errors = threading.Event(), []

    def write_as_well() -> None:
        try:
            undo.write(tmp_path, changes, ["m:f"])
        except FilesChanged as error:
            errors.append(error)

    other = threading.Thread(target=write_as_well)
    flock = fcntl.flock

    def asking(handle: int, how: int) -> None:
        if threading.current_thread() is other:
            asked.set()
        flock(handle, how)

    def replacing(*how: Any) -> None:
        if threading.current_thread() is other:
            asked.set()
        elif not other.ident:
            other.start()
            assert asked.wait(60)
        replace(*how)

    monkeypatch.setattr(fcntl, "flock", asking)
    monkeypatch.setattr(undo, "replace", replacing)
    write_as_well()
    other.join()
    assert len(errors) == 1
    assert undo.undo(tmp_path) == (["m:f"], ["m.py"])
    assert (tmp_path / "m.py").read_text() == "def f(): pass\n"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/gone/m\.py cannot be written"):
        replace({tmp_path / "gone" / "m.py": b""})


def test_what_was_changed_since_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(): pass\n", "a.py": "from m import f\n"})
    undo.write(tmp_path, planned(tmp_path, "m:f").changes, ["m:f"])
    (tmp_path / "a.py").write_text("mine\n")
    with pytest.raises(FilesChanged, match=r"a.py was changed since m:f was removed"):
        undo.undo(tmp_path)
    assert (tmp_path / "m.py").read_text() == ""
    (tmp_path / "a.py").write_text("from m import f\n")
    assert undo.undo(tmp_path) == (["m:f"], ["a.py", "m.py"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied"), UsageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_all_files_or_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    told: type[BaseException],
) -> None:
    files: dict[str, str | bytes] = {f"{each}.py": "from m import f\n" for each in "abc"}
    write(tmp_path, {**files, "m.py": "def f(): pass\n"})
    removal = planned(tmp_path, "m:f")
    real = os.replace

    def failing(source: str, target: Path) -> None:
        if target == tmp_path / "c.py":
            raise error
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(told) as raised:
        undo.write(tmp_path, removal.changes, ["m:f"])
    if told is UsageError:
        assert f"{tmp_path}/c.py cannot be written, and nothing was changed" in str(raised.value)
    monkeypatch.undo()
    for name, content in files.items():
        assert (tmp_path / name).read_text() == content
    assert not [*tmp_path.glob(".*.py.*")]
    with pytest.raises(UsageError, match="nothing was removed"):
        undo.undo(tmp_path)


# The command.


def heat(*words: str, folder: Path, stdin: str = "") -> Result:
    return run_python(SNAPSHOT, "heat", *words, directory=folder, stdin=stdin)


def test_the_diff_is_shown_first_and_it_asks(tmp_path: Path) -> None:
    write(tmp_path, {"m.py": "def f(): pass\n"})
    diff = "--- a/m.py\n+++ b/m.py\n@@ -1 +0,0 @@\n-def f(): pass\n"
    unknown = "m.py:1: m:f: nothing is known of its calls\n"
    for words, stdin, status, said in (
        (["m:f"], "", 1, "nothing was removed: see to these places first, or give --force"),
        (["m:f", "--force", "--dry-run"], "", 0, ""),
        (["m:f", "--force"], "n\n", 1, "nothing was removed"),
        (["m:f", "--force"], "", 2, "nobody answers on standard input: give --yes"),
    ):
        result = heat("rm", *words, folder=tmp_path, stdin=stdin)
        assert (result.code, result.stdout) == (status, diff + unknown), result
        assert said in result.stderr
        assert (tmp_path / "m.py").read_text() == "def f(): pass\n"
    result = heat("rm", "m:f", "--force", folder=tmp_path, stdin="y\n")
    assert result.stdout.endswith("removed m:f: `snapshot heat undo` puts it back\n"), result
    assert (tmp_path / "m.py").read_text() == ""
    assert heat("undo", folder=tmp_path).stdout == "put back m:f, in m.py\n"
    assert heat("rm", "m:f", "--force", "--yes", folder=tmp_path).code == 0
    assert heat("undo", folder=tmp_path).code == 0
    result = heat("undo", folder=tmp_path)
    assert (result.code, len(result.stderr.splitlines())) == (2, 1)


def test_at_a_terminal(tmp_path: Path, terminal: Terminal) -> None:
    more = {f"m{number}.py": "from m import f\n" for number in range(4)}
    write(tmp_path, {"m.py": "def f(): pass\nx = 1\n", **more})
    terminal.line("snapshot heat rm m:f --force")
    terminal.wait_for("remove m:f? [y/N]")
    assert "-def f(): pass" in terminal.transcript()
    assert terminal.transcript().count("5/5 files are searched, or edited") == 2
    terminal.line("yes")
    terminal.wait_for("puts it back")
    assert (tmp_path / "m.py").read_text() == "x = 1\n"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("m:C", "m:C is a class: name its methods, as m:C.METHOD"),
        ("m:ff", "there is no function m:ff: did you mean m:f?"),
        ("m:twice", "there are several functions m:twice: say which one, m:twice@4, m:twice@5"),
    ],
)
def test_keys_that_name_no_function(tmp_path: Path, key: str, said: str) -> None:
    write(
        tmp_path,
        {"m.py": "def f(): pass\nclass C:\n    x = 1\ndef twice(): pass\ndef twice(): pass\n"},
    )
    result = heat("rm", key, "--yes", folder=tmp_path)
    assert (result.code, result.stderr) == (2, f"snapshot heat rm: {said}\n")


def test_a_tree_that_is_read_only(tmp_path: Path) -> None:
    write(tmp_path, {"pkg/m.py": "def f(): pass\n", "a.py": "from pkg.m import f\n"})
    home(tmp_path)
    folder = tmp_path / "pkg"
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):  # root may write everywhere
        folder.chmod(0o755)
        made = subprocess.run(["chattr", "+i", folder], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("nothing is read-only for this user")
    try:
        result = heat("rm", "pkg.m:f", "--force", "--yes", folder=tmp_path)
    finally:
        subprocess.run(["chattr", "-i", folder], capture_output=True, check=False)
        folder.chmod(0o755)
    assert result.code == 2, result
    assert "cannot be written, and nothing was changed" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (tmp_path / "a.py").read_text() == "from pkg.m import f\n"
    assert [each.name for each in folder.iterdir()] == ["m.py"]


def test_a_link_that_leads_out_is_not_edited(tmp_path: Path) -> None:
    write(tmp_path, {"secret.py": "def f(): pass\n", "app/own.py": "def g(): pass\n"})
    (tmp_path / "app" / "out.py").symlink_to(tmp_path / "secret.py")
    (tmp_path / "app" / "within.py").symlink_to(tmp_path / "app" / "own.py")
    (tmp_path / "app" / "snapshot.rootmarker").touch()
    with pytest.raises(CannotRead, match=r"out\.py is a link that leads out of the application"):
        planned(tmp_path / "app", "out:f")
    assert after(planned(tmp_path / "app", "within:g"), "within.py") == ""


# Real code.


UNUSED = "markdown.util:HtmlStash.store_tag"
USED = "markdown.util:nearing_recursion_limit"


def test_a_function_of_a_package_goes_and_its_tests_pass(tmp_path: Path) -> None:
    root = sources_of("markdown==3.7", tmp_path)
    (root / rootmarker.NAME).touch()
    before = contents(root)
    passed = own_tests(root)
    assert int(passed[-1].split()[1]) > 800
    result = heat("rm", USED, "--yes", folder=root)
    assert result.code == 1, result
    assert f"markdown/blockprocessors.py:290: {USED}: attribute\n" in result.stdout
    assert contents(root) == before
    result = heat("rm", UNUSED, "--force", "--yes", folder=root)
    assert result.code == 0, result
    now = contents(root)
    assert {path for path, data in now.items() if before[path] != data} == {"markdown/util.py"}
    old, new = (each["markdown/util.py"].splitlines(True) for each in (before, now))
    at = next(place for place, line in enumerate(new) if line != old[place])
    gone = len(old) - len(new)
    assert old[:at] + old[at + gone :] == new
    assert b"def store_tag(" in b"".join(old[at : at + gone])
    assert own_tests(root) == passed
    assert heat("undo", folder=root).code == 0
    assert contents(root) == before


def own_tests(root: Path) -> list[str]:
    """What its own tests say: what fails, for want of another package, and how many there are."""
    done = subprocess.run(
        [sys.executable, "-m", "unittest", "discover", "-q", "tests"],
        cwd=root,
        env=environment(root.parent, {"TMPDIR": str(root)}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return re.findall("^(?:ERROR|FAIL):.*|^Ran .* tests", done.stderr, re.MULTILINE)


def contents(root: Path) -> dict[str, bytes]:
    paths: Sequence[Path] = [*root.rglob("*.py")]
    return {str(each.relative_to(root)): each.read_bytes() for each in paths}
