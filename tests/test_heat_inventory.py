"""Heat: what belongs to an application, and every function of it."""

from __future__ import annotations

import json
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot.errors import CannotRead, FunctionNotFound, UsageError
from snapshot.heat import rootmarker
from snapshot.heat.inventory import Inventory, functions_in, module_of
from tests.packages import sources_of
from tests.processes import Result, run_python

SNAPSHOT = Path(sys.executable).with_name("snapshot")
COMPREHENSIONS = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"}


def make(root: Path, marker: str = "", **files: str) -> Inventory:
    """An application of files, whose names have `/` as `__` and no suffix."""
    write(root, marker, **files)
    return functions_in(root)


def write(root: Path, marker: str = "", **files: str) -> None:
    (root / rootmarker.NAME).write_text(textwrap.dedent(marker))
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def keys(inventory: Inventory) -> list[str]:
    return [each.key for each in inventory]


def compiled(data: bytes, path: str) -> set[tuple[str, int, str]]:
    """What Python itself says of the functions of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(data, path, "exec", dont_inherit=True)
    return {
        (path, each.co_firstlineno, each.co_qualname) for each in walk(code) if is_function(each)
    }


def walk(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from walk(each)


def is_function(code: CodeType) -> bool:
    optimized = code.co_flags & 3 == 3
    generic = code.co_name.startswith("<generic parameters")
    return optimized and not generic and code.co_name not in COMPREHENSIONS


def found(inventory: Inventory) -> set[tuple[str, int, str]]:
    return {(each.path, each.first_line, each.qualname) for each in inventory}


KINDS = """
import functools
from typing import overload

def plain(): pass
async def later(): pass
def generator():
    yield 1
def register(f): return f

@register
@functools.cache
def decorated(): pass

def outer():
    def inner():
        return lambda: 1
    class Local:
        def method(self): pass
    return inner

class Shape:
    side = property(lambda self: 1)

    @property
    def size(self): return 1
    @size.setter
    def size(self, value): pass
    @staticmethod
    def make(): pass
    @classmethod
    def build(cls): pass
    def __len__(self): return 0
    class Inner:
        def deep(self): pass

@overload
def many(x: int) -> int: ...
@overload
def many(x: str) -> str: ...
def many(x): return x

if len("a"):
    def conditional(): pass
else:
    def conditional(): pass

square = lambda x: x * x
table = [lambda: n for n in range(3)]
lazy = (lambda: n for n in range(3))
def default(f=lambda: 1): pass

def declares():
    global made
    def made(): pass
"""


def test_every_kind_of_function_is_there(tmp_path: Path) -> None:
    inventory = make(tmp_path, kinds=KINDS)
    assert found(inventory) == compiled((tmp_path / "kinds.py").read_bytes(), "kinds.py")
    kinds = {each.qualname: each.kind for each in inventory}
    assert kinds["plain"] == kinds["later"] == kinds["made"] == "function"
    assert kinds["outer.<locals>.inner"] == "nested"
    assert kinds["outer.<locals>.inner.<locals>.<lambda>"] == "lambda"
    assert kinds["Shape.size"] == "property"
    assert (kinds["Shape.make"], kinds["Shape.build"]) == ("staticmethod", "classmethod")
    assert kinds["outer.<locals>.Local.method"] == kinds["Shape.Inner.deep"] == "method"


def test_where_a_function_is(tmp_path: Path) -> None:
    inventory = make(
        tmp_path,
        m="""\
        import functools
        @functools.cache
        # between
        @(
            functools.cache
        )
        def f(
            x,
        ):
            return x
        """,
    )
    (function,) = inventory
    assert (function.key, function.path) == ("m:f", "m.py")
    assert (function.first_line, function.line, function.end_line) == (2, 7, 10)
    assert inventory.at("m.py", 2, "f") is function
    assert inventory.at("m.py", 3, "f") is None


def test_several_of_a_key_are_told_apart_by_line(tmp_path: Path) -> None:
    inventory = make(tmp_path, m="def f(): return 1\ndef f(): return 2\ndef g(): pass\n")
    assert [inventory.name_of(each) for each in inventory] == ["m:f@1", "m:f@2", "m:g"]
    assert inventory.find("m:f@2").line == 2
    assert inventory.find("m:g@3") is inventory.find("m:g")
    with pytest.raises(UsageError, match=r"say which one, m:f@1, m:f@2$"):
        inventory.find("m:f")
    with pytest.raises(FunctionNotFound, match="no m:f is in line 7, but in 1, 2"):
        inventory.find("m:f@7")


def test_a_key_that_is_none(tmp_path: Path) -> None:
    inventory = make(tmp_path, pkg__shapes="class Circle:\n    def area(self): pass\n")
    with pytest.raises(UsageError, match="shapes:Circle is a class: name its methods"):
        inventory.find("pkg.shapes:Circle")
    with pytest.raises(FunctionNotFound, match=r"did you mean pkg.shapes:Circle.area"):
        inventory.find("pkg.shapes:Circle.aera")
    with pytest.raises(FunctionNotFound, match=r"did you mean pkg.shapes:Circle.area"):
        inventory.find("area")
    with pytest.raises(FunctionNotFound, match="no key is like it"):
        inventory.find("q:zzzzzz")


def test_a_digest_is_of_the_text_alone(tmp_path: Path) -> None:
    before = make(tmp_path, m="def f():\n    return 1\ndef g(): return lambda: 2\n")
    after = make(
        tmp_path, m="import os\nif os:\n    def f():\n        return 1\ndef g(): return 3\n"
    )
    assert before.find("m:f").digest == after.find("m:f").digest
    assert before.find("m:g").digest != after.find("m:g").digest
    same_line = make(tmp_path, m="a, b = lambda: 1, lambda: 2\n")
    assert len(same_line) == 1  # nobody can tell them apart


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("app.py", "app"),
        ("pkg/__init__.py", "pkg"),
        ("pkg/sub/views.py", "pkg.sub.views"),
        ("space/views.py", "space.views"),
        ("src/lib/core.py", "lib.core"),
        ("src/app.py", "src.app"),
        ("pkg/__main__.py", "pkg.__main__"),
    ],
)
def test_the_names_of_modules(tmp_path: Path, path: str, module: str) -> None:
    for each in ("app.py", "pkg/__init__.py", "src/lib/core.py"):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).touch()
    assert module_of(tmp_path, path) == module


def test_a_root_inside_a_package(tmp_path: Path) -> None:
    (tmp_path / "pkg" / "sub").mkdir(parents=True)
    for each in ("pkg", "pkg/sub"):
        (tmp_path / each / "__init__.py").touch()
    inventory = make(tmp_path / "pkg" / "sub", views="def f(): pass\n")
    assert keys(inventory) == ["pkg.sub.views:f"]


def test_reasons_to_be_reached(tmp_path: Path) -> None:
    inventory = make(
        tmp_path,
        m="""
        import functools, app
        from typing import overload
        class C:
            def __eq__(self, other): pass
            def visit_Name(self): pass
            def setUp(self): pass
            def _repr_html_(self): pass
            def _private(self): pass
            def plain(self): pass
            @property
            def value(self): pass
        @app.route("/")
        def index(): pass
        @functools.lru_cache(maxsize=3)
        def kept(): pass
        @overload
        def f(x: int): ...
        def visit_house(): pass
        """,
    )
    reached = {each.qualname: each.reached for each in inventory}
    assert {name for name, why in reached.items() if why} == {
        *("C.__eq__", "C.visit_Name", "C.setUp", "C._repr_html_", "index", "f")
    }
    assert reached["index"] == "@app.route may register it"


# What belongs to an application.


def test_what_is_left_out_by_itself(tmp_path: Path) -> None:
    names = (
        *("venv__a", ".venv__a", ".hidden__a", "node_modules__a", "lib__site-packages__a"),
        *("tests__a", "pkg__tests__a", "test_a", "pkg__a_test", "conftest", "own__lib__a"),
    )
    files = dict.fromkeys((*names, "app", "pkg__attestation"), "def f(): pass\n")
    inventory = make(tmp_path, **files)
    (tmp_path / "own" / "pyvenv.cfg").touch()
    assert [*functions_in(tmp_path).modules] == ["app.py", "pkg/attestation.py"]
    marker = '[include]\nfiles = ["tests", "venv/a.py", "**/a_test.py"]\n'
    inventory = make(tmp_path, marker)
    assert {*inventory.modules} == {
        *("app.py", "pkg/attestation.py", "tests/a.py", "venv/a.py", "pkg/a_test.py")
    }


def test_what_is_ignored(tmp_path: Path) -> None:
    marker = """
        [ignore]
        files = ["legacy", "scripts/*.py", "**/generated_?.py"]
        keys = ["app:main", "app:C.*", "app:twice@2"]
    """
    text = "def f(): pass\n"
    inventory = make(
        tmp_path,
        marker,
        app="def main(): pass\ndef twice(): pass\ndef twice(): pass\n"
        "class C:\n    def m(self): pass\n",
        legacy__deep__a=text,
        scripts__a=text,
        scripts__deep__a=text,
        pkg__generated_1=text,
        pkg__generated_10=text,
    )
    assert [inventory.name_of(each) for each in inventory] == [
        *("app:twice@3", "pkg.generated_10:f", "scripts.deep.a:f")
    ]
    assert [each.key for each in inventory.ignored] == ["app:main", "app:twice", "app:C.m"]
    marker_read = rootmarker.find(tmp_path / "scripts")
    assert not marker_read.takes("scripts/a.py")
    assert marker_read.takes(tmp_path / "app.py")
    assert not marker_read.takes("/elsewhere/app.py")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[ignore", "is no TOML, correct it: "),
        ("\xff", "is no TOML, correct it: "),
        ('ignore = "x"', r"has ignore as no table: write \[ignore\]"),
        ('[ignore]\nfiles = "x"', r"has 'x' as files in \[ignore\]: give a list of texts"),
        ("[ignore]\nkeys = [1]", r"has \[1\] as keys in \[ignore\]: give a list of texts"),
        ("[ignore]\nkey = []", r"has 'key' in \[ignore\], where only files and keys can be"),
        ("[ignored]", r"has 'ignored', which is neither name nor \[ignore\] nor \[include\]"),
    ],
)
def test_a_damaged_root_marker(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / rootmarker.NAME).write_bytes(text.encode("latin-1"))
    with pytest.raises(CannotRead, match=said):
        rootmarker.find(tmp_path)


def test_no_root_marker(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no snapshot.rootmarker in .* or above"):
        rootmarker.find(tmp_path)


def test_keys_are_added_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / rootmarker.NAME
    path.write_text('# mine\n[ignore] # all\nkeys = [\n    "a:b", # why\n]\nfiles = []  # none\n')
    added = rootmarker.ignore(rootmarker.read(path), ["a:c", "a:b"])
    assert added == ["a:c"]
    text = path.read_text()
    assert rootmarker.read(path).keys == ("a:b", "a:c")
    for each in ("# mine\n", "[ignore] # all\n", '    "a:b", # why\n', "files = []  # none\n"):
        assert each in text
    path.write_text("")
    rootmarker.ignore(rootmarker.read(path), ["x:y"])
    assert path.read_text() == '[ignore]\nkeys = ["x:y"]\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            b'[ignore]\nkeys = [\n  "a",  # why\n]\n',
            b'[ignore]\nkeys = [\n  "a",  # why\n  "b",\n]\n',
        ),
        (b"ignore.keys = [\n\t'a'\n]", b"ignore.keys = [\n\t'a',\n\t\"b\",\n]"),
        (b"[ignore]\nkeys = [\n]\n", b'[ignore]\nkeys = [\n    "b",\n]\n'),
        (
            b'[ignore]\r\nkeys = [\r\n  "a",\r\n]\r\n',
            b'[ignore]\r\nkeys = [\r\n  "a",\r\n  "b",\r\n]\r\n',
        ),
        (b'name = "x"\r\n', b'name = "x"\r\n\r\n[ignore]\r\nkeys = ["b"]\r\n'),
    ],
)
def test_keys_are_added_in_the_style_of_the_file(
    tmp_path: Path, before: bytes, after: bytes
) -> None:
    path = tmp_path / rootmarker.NAME
    path.write_bytes(before)
    rootmarker.ignore(rootmarker.read(path), ["b"])
    assert path.read_bytes() == after


# What is kept of files.


def test_files_that_do_not_parse_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, good="def f(): pass\n", bad="def f(:\n")
    (tmp_path / "null.py").write_bytes(b"a = 1\0\n")
    (tmp_path / "latin.py").write_bytes(b"a = '\xe4'\n")
    (tmp_path / "encoded.py").write_bytes(b"# coding: latin-1\ndef \xe4(): pass\n")
    (tmp_path / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    inventory = functions_in(tmp_path)
    assert keys(inventory) == ["encoded:ä", "good:f"]
    assert [each.path for each in inventory.skipped] == ["bad.py", "deep.py", "latin.py", "null.py"]
    assert inventory.skipped[0].reason.startswith("does not parse: line 1: ")
    assert functions_in(tmp_path).skipped == inventory.skipped


def test_a_file_that_a_package_of_its_name_hides(tmp_path: Path) -> None:
    (tmp_path / rootmarker.NAME).touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "__init__.py").write_text("def f(): pass\n")
    (tmp_path / "a.py").write_text("def f(): pass\ndef g(): pass\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b.py").write_text("def f(): pass\n")
    inventory = functions_in(tmp_path)
    assert [(each.key, each.path) for each in inventory] == [
        ("a:f", "a/__init__.py"),
        ("b:f", "b.py"),
    ]
    (skipped,) = inventory.skipped
    assert skipped.path == "a.py"
    assert skipped.reason == "is hidden by a/__init__.py, which Python imports as a"


def test_what_is_kept_goes_by_content(tmp_path: Path) -> None:
    cache = tmp_path / ".snapshot" / "heat" / "inventory.json"
    make(tmp_path, m="def f(): pass\n", n="def f(): pass\n")
    written = cache.stat().st_mtime_ns
    assert keys(functions_in(tmp_path)) == ["m:f", "n:f"]
    assert cache.stat().st_mtime_ns == written
    make(tmp_path, m="def g(): pass\n")
    assert keys(functions_in(tmp_path)) == ["m:g", "n:f"]
    for damaged in ("", "[]", '{"format": 1}', cache.read_text()[:40]):
        cache.write_text(damaged)
        assert keys(functions_in(tmp_path)) == ["m:g", "n:f"]
    content = json.loads(cache.read_text())
    for each in content["files"].values():
        each[3] = [1]
    cache.write_text(json.dumps(content))
    assert keys(functions_in(tmp_path)) == ["m:g", "n:f"]


# Real code.


def test_a_package_has_the_functions_that_python_compiles(tmp_path: Path) -> None:
    root = sources_of("markdown==3.7", tmp_path)
    (root / rootmarker.NAME).write_text('[include]\nfiles = ["tests"]\n')
    inventory = functions_in(root)
    assert len(inventory) > 800
    assert not inventory.skipped
    wanted = set[tuple[str, int, str]]()
    for path in inventory.modules:
        wanted |= compiled((root / path).read_bytes(), path)
    assert found(inventory) == wanted


def test_the_standard_library_has_the_functions_that_python_compiles() -> None:
    folder = Path(json.__file__).parents[1]
    paths = [*folder.glob("*.py"), *folder.glob("asyncio/*.py"), *folder.glob("idlelib/*.py")]
    assert len(paths) > 200
    from snapshot.heat.inventory import _file

    for path in paths:
        _, problem, _, functions = _file(path, None)
        assert not problem
        mine = {(path.name, each[2], each[0]) for each in functions}
        theirs = compiled(path.read_bytes(), path.name)
        # Parameters of types have code of their own, which is no function's.
        assert {
            each for each in theirs - mine if not each[2][0].isupper() and each[2][0] != "_"
        } == (set()), path
        assert mine - theirs == set(), path


NAMES = st.sampled_from(["f", "g", "C", "size", "_x"])
EXPRESSIONS = st.recursive(
    st.sampled_from(["1", "f", "(yield)", "None"]),
    lambda inner: st.one_of(
        inner.map("(lambda: {})".format),
        inner.map("(lambda x={}: x)".format),
        st.tuples(inner, inner).map(lambda each: "[{} for n in {}]".format(*each)),
        st.tuples(inner, inner).map(lambda each: "({} for n in {})".format(*each)),
        st.tuples(inner, inner).map(lambda each: "{{{}: {} for n in () if n}}".format(*each)),
        st.tuples(inner, inner).map(lambda each: "({},\n {})".format(*each)),
        st.tuples(inner, inner).map(lambda each: "f({}, *{})".format(*each)),
        inner.map('f"{{{}}}"'.format),
    ),
    max_leaves=5,
)
SIMPLE = st.one_of(
    EXPRESSIONS.map("x = {}".format),
    EXPRESSIONS.map("x: {} = 1".format),
    NAMES.map("global {}".format),
    EXPRESSIONS.map("del x[{}]".format),
    st.just("pass"),
)


def indented(body: str) -> str:
    return textwrap.indent(body, "    ")


def block(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    bodies = st.lists(inner, min_size=1, max_size=3).map("\n".join).map(indented)
    heads = st.one_of(
        st.tuples(NAMES, EXPRESSIONS).map(lambda each: "def {}(a={}):".format(*each)),
        st.tuples(NAMES, EXPRESSIONS).map(lambda each: "async def {}() -> {}:".format(*each)),
        st.tuples(EXPRESSIONS, NAMES).map(lambda each: "@f\n@({})\ndef {}():".format(*each)),
        st.tuples(NAMES, EXPRESSIONS).map(lambda each: "class {}({}):".format(*each)),
        EXPRESSIONS.map("if {}:".format),
        EXPRESSIONS.map("for n in {}:".format),
        EXPRESSIONS.map("with {} as n:".format),
        EXPRESSIONS.map("try: pass\nexcept {}:".format),
        EXPRESSIONS.map("match {}:\n  case _ if f:".format),
    )
    return st.tuples(heads, bodies).map("\n".join)


SOURCES = st.lists(st.recursive(SIMPLE, block, max_leaves=12), max_size=4).map("\n".join)


@given(source=SOURCES)
def test_any_text_has_the_functions_that_python_compiles(
    tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    from snapshot.heat.inventory import _file

    data = source.encode()
    try:
        theirs = compiled(data, "m.py")
    except SyntaxError:
        return
    path = tmp_path_factory.getbasetemp() / "generated.py"
    path.write_bytes(data)
    mine = {("m.py", each[2], each[0]) for each in _file(path, None)[3]}
    path.unlink()
    # What can never run, as after `if None:`, is not compiled.
    assert theirs <= mine
    if "if None" not in source and "if 1" not in source:
        assert mine == theirs


# The commands.


def heat(*words: str, folder: Path) -> Result:
    return run_python(SNAPSHOT, "heat", *words, directory=folder)


def test_the_commands_on_an_inventory(tmp_path: Path) -> None:
    write(tmp_path, app="def main(): pass\ndef f(): pass\ndef f(): pass\n", bad="def\n")
    assert heat("files", folder=tmp_path).stdout == "app.py\nbad.py\n"
    assert json.loads(heat("files", "--format", "json", folder=tmp_path).stdout) == [
        *("app.py", "bad.py")
    ]
    result = heat("srcs", folder=tmp_path)
    assert result.stdout == "app:main  app.py:1\napp:f@2  app.py:2\napp:f@3  app.py:3\n"
    assert result.stderr.startswith("snapshot: bad.py does not parse: line 1: ")
    (first, *_) = json.loads(heat("srcs", "--format", "json", folder=tmp_path).stdout)
    assert first["key"] == "app:main"
    assert first["line"] == 1
    result = heat("cache", "clear", folder=tmp_path)
    assert result.stdout == "what was kept is forgotten\n"
    assert heat("cache", "clear", folder=tmp_path).stdout == "nothing was kept\n"
    assert (
        heat("cache", "warm", folder=tmp_path).stdout == f"3 functions in 2 files of {tmp_path}\n"
    )


def test_the_command_ignore(tmp_path: Path) -> None:
    write(tmp_path, app="def main(): pass\ndef other(): pass\n")
    result = heat("ignore", "app:mian", folder=tmp_path)
    assert (result.code, result.stderr) == (
        2,
        "snapshot heat ignore: there is no function app:mian: did you mean app:main?\n",
    )
    result = heat("ignore", "app:main", "app:o*", folder=tmp_path)
    assert result.stdout == "app:main: 1 function ignored\napp:o*: 1 function ignored\n", result
    assert heat("srcs", folder=tmp_path).stdout == ""
    result = heat("ignore", "app:main", folder=tmp_path)
    assert result.stdout == "app:main: 1 function ignored, as before\n"


def test_mistakes_are_told_in_a_line(tmp_path: Path) -> None:
    for words in ([], ["srsc"], ["srcs"], ["connect"]):
        result = heat(*words, folder=tmp_path)
        assert (result.stdout, result.code) == ("", 2), result
        assert len(result.stderr.splitlines()) == 1, result
    write(tmp_path, '[ignore]\nfiles = ["nothing/*"]', app="")
    assert heat("files", folder=tmp_path).stderr == (
        f"snapshot: {tmp_path / rootmarker.NAME}: 'nothing/*' in [ignore] files matches no Python "
        "file: correct or delete it\n"
    )
