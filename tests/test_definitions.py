"""Definitions: what a script defines comes into being when it is needed; its body is not run."""

from __future__ import annotations

import io
import linecache
import pickle
import pickletools
import sys
import textwrap
import threading
import traceback
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snapshot.replay.definitions import Definitions
from snapshot.store.bytecode import code_digest
from snapshot.store.sources import codes_of, inner_codes
from tests.processes import Result

Define = Callable[..., Definitions]

HOT = 10_000  # calls, after which inline caches are warm


@pytest.fixture
def define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Define]:
    """The definitions of a script in the test's own directory, from which it imports, too."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)

    def defined(source: str, **options: Any) -> Definitions:
        path = tmp_path / "script.py"
        path.write_text(source := textwrap.dedent(source))
        return Definitions(source, str(path), **options)

    yield defined
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    linecache.cache.pop(str(tmp_path / "script.py"), None)


def call(definitions: Definitions, name: str, *args: object) -> Any:
    """Call a function of the script."""
    function: Any = definitions.get(name)
    return function(*args)


def made(definitions: Definitions) -> set[str]:
    """The names that have been defined."""
    return {each for each in vars(definitions.module) if not each.startswith("__")}


def why(definitions: Definitions, name: str) -> str:
    """Why a name cannot be had."""
    with pytest.raises(NameError) as caught:
        definitions.get(name)
    assert caught.value.name
    return str(caught.value)


# The body.


def test_the_body_is_not_run(define: Define, tmp_path: Path) -> None:
    definitions = define(
        """
        import pathlib, time
        pathlib.Path("made").touch()
        time.sleep(3600)
        def helper(n): return n + 1
        data = [helper(n) for n in range(3)]
        def work(n): return helper(n) * 2
        for n in data: work(n)
        with open("made", "w") as file: file.write("x")
        raise SystemExit(1)
        if __name__ == "__main__":
            raise SystemExit(2)
        """
    )
    assert made(definitions) == set()
    assert call(definitions, "work", 20) == 42
    assert made(definitions) == {"work", "helper"}
    assert not (tmp_path / "made").exists()


def test_the_body_is_not_run_by_a_program_either(
    python: Callable[..., Result], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text("print('body')\nN = 3\ndef f(x): return x * N\nprint(f(1))\n")
    result = python(
        f"""
        from snapshot.replay.definitions import Definitions
        definitions = Definitions(open({str(script)!r}).read(), {str(script)!r})
        with definitions.as_main():
            print(definitions.get("f")(14))
        """
    )
    assert result.stdout == "42\n", result


def test_what_the_body_makes_is_missing_and_said(define: Define) -> None:
    definitions = define(
        """
        def load(): raise SystemExit
        data = load()
        for row in (): pass
        total = 0
        total += 1
        names = []
        names.append("x")
        table = {}
        for each in (): table[each] = 1
        with open("x") as file: pass
        if __name__ == "__main__":
            inner = 3
            def function(): pass
        def f(): return data
        """
    )
    said = (
        "`data` is made by a statement of the body, line 3, which is not run again: "
        "give it in overrides={'data': ...}"
    )
    assert why(definitions, "data") == said
    with pytest.raises(NameError) as caught:
        call(definitions, "f")
    assert str(caught.value) == said
    assert caught.value.name == "data"
    for name, line in {"row": 4, "total": 6, "file": 11, "inner": 13, "function": 14}.items():
        assert why(definitions, name).startswith(f"`{name}` is made by a statement of the body, ")
        assert f", line {line}, " in why(definitions, name)
    assert ", line 8, " in why(definitions, "names")
    assert why(definitions, "table").startswith("`table` is changed by a statement of the body, ")
    assert f"there is no `nothing` in {definitions.module.__file__}" == why(definitions, "nothing")


def test_a_name_that_nobody_binds_is_a_plain_name_error(define: Define) -> None:
    definitions = define("def f(): return nothing\ndef g(): return later")
    with pytest.raises(NameError, match=r"^name 'nothing' is not defined$"):
        call(definitions, "f")
    definitions.module.__dict__["later"] = 3
    assert call(definitions, "g") == 3


def test_values_go_before_what_the_script_says(define: Define) -> None:
    definitions = define(
        """
        n = 1
        a, b = 2, 3
        data = load()
        def helper(): return "script"
        def f(): return n, a, b, data, helper()
        """,
        values={"n": 10, "b": 30, "data": 40, "helper": lambda: "given", "__name__": "x"},
    )
    assert call(definitions, "f") == (10, 2, 30, 40, "given")
    assert definitions.module.__name__ == "__main__"


def test_a_global_that_a_function_sets_stays(define: Define) -> None:
    definitions = define(
        """
        cache = None
        def fill():
            global cache, fresh
            cache = (cache or 0) + 1
            fresh = 7
            return cache
        def read(): return cache, fresh
        def forget():
            global cache
            del cache
        """
    )
    assert [call(definitions, "fill") for _ in range(3)] == [1, 2, 3]
    assert call(definitions, "read") == (3, 7)
    call(definitions, "forget")
    with pytest.raises(NameError, match="name 'cache' is not defined"):
        call(definitions, "read")


# What is a definition.


def test_assignments_without_calls(define: Define) -> None:
    definitions = define(
        """
        import math
        N = 3
        M: int = N * 2
        later: int
        TABLE = {"a": [N, M, *range(2)], "b": (1 < N < 5, -M, f"{N}")}
        SQUARES = [n * n for n in (1, 2, N) if n != 2]
        TAU = math.pi * 2
        double = lambda n: unknown(n) if n is None else 2 * n
        (first, *others), last = [(1, 2, 3), 4]
        PICK = TABLE["a"][0] if N else None
        X = Y = N
        def f():
            return M, TABLE, SQUARES, TAU > 6, double(4), first, others, last, PICK, X, Y
        """
    )
    table = {"a": [3, 6, 0, 1], "b": (True, -6, "3")}
    assert call(definitions, "f") == (6, table, [1, 9], True, 8, 1, [2, 3], 4, 3, 3, 3)
    assert why(definitions, "later").startswith("there is no `later`")
    assert definitions.module.__annotations__ == {"M": int}


def test_what_an_assignment_names_must_be_there_too(define: Define) -> None:
    definitions = define("args = parse()\nn = args.n\ndef f(): return n")
    with pytest.raises(NameError, match=r"^`args` is made by .*, line 1, ") as caught:
        call(definitions, "f")
    file = definitions.module.__file__
    assert caught.value.__notes__ == [f"snapshot: in the definition of `n`, line 2 of {file}"]


def test_calls_that_only_make_a_value(define: Define) -> None:
    definitions = define(
        """
        import collections as c, logging, re
        import typing as t
        from pathlib import Path
        from threading import Lock as Mutex
        Point = c.namedtuple("Point", "x y")
        T = t.TypeVar("T")
        logger = logging.getLogger(__name__)
        pattern = re.compile(r"\\d+")
        here = Path(__file__).parent / "data"
        lock = Mutex()
        missing = object()
        infinite = float("inf")
        def list(): raise SystemExit
        own = list()
        opened = set(open("x"))
        def f():
            with lock:
                return Point(1, 2), T, logger.name, pattern, here.name, missing is missing, infinite
        """
    )
    point, variable, *others = call(definitions, "f")
    assert point == (1, 2)
    assert type(point).__module__ == "__main__"
    assert variable.__module__ == "__main__"
    assert others[0] == "__main__"
    assert others[2:] == ["data", True, float("inf")]
    for name in ("own", "opened"):
        assert "which is not run again" in why(definitions, name)


CALLS = """
    class App:
        def __init__(self): self.routes = []
        def route(self, function):
            self.routes.append(function.__name__)
            return function
    def make(): return App()
    app = make()
    {}
    def f(): return app
"""


@pytest.mark.parametrize(
    "definition",
    [
        "@app.route\n    def g(): pass",
        "def g(x=app): pass",
        "class g(type(app)): pass",
        "class g: x = app",
        "class g:\n        class inner:\n            @app.route\n            def method(): pass",
        "def wrap(f): return app and f\n    @wrap\n    def g(): pass",
    ],
)
def test_a_call_is_made_for_a_definition_alone(define: Define, definition: str) -> None:
    definitions = define(CALLS.format(definition))
    with pytest.raises(NameError, match="`app` is made by a statement of the body"):
        call(definitions, "f")
    definitions.get("g")
    assert type(call(definitions, "f")).__name__ == "App"


def test_a_function_that_is_wrapped_is_no_definition_of_a_call(define: Define) -> None:
    definitions = define(
        """
        def twice(f): return lambda n: f(f(n))
        def f(n): return n + 1
        f = twice(f)
        def g(n): return f(n)
        n = 1
        n = n + 1
        n = n + 1
        """
    )
    assert definitions.get("n") == 3
    assert "line 4" in why(definitions, "f")
    assert definitions.find_class("__main__", "f")(1) == 3
    assert call(definitions, "g", 1) == 3


def test_blocks(define: Define, tmp_path: Path) -> None:
    definitions = define(
        """
        import sys
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import nowhere_to_be_found
            from nowhere_to_be_found import Thing
        else:
            kind = "run"
        if sys.version_info >= (3, 8):
            def version(): return "new"
        elif sys.version_info < (3, 0):
            raise RuntimeError
        else:
            def version(): return "old"
        try:
            import nowhere_to_be_found as fast
            HAS = True
        except ImportError:
            fast, HAS = None, False
        try:
            import json
        except ImportError:
            print("pip install json")
            sys.exit(1)
        else:
            dumps = json.dumps
        if sys.platform.startswith("plan9"):
            sep = ":"
        else:
            sep = "/"
        if input():
            chosen = 1
        if HAS:
            open("made", "w")
            effect = 1
        def f(x: Thing = None): return kind, version(), fast, HAS, dumps([1]), sep
        """
    )
    assert why(definitions, "Thing").startswith("there is no `Thing`")
    with pytest.raises(NameError, match="name 'Thing' is not defined"):
        definitions.get("f")
    definitions.module.__dict__["Thing"] = int
    assert call(definitions, "f") == ("run", "new", None, False, "[1]", "/")
    assert "line 32" in why(definitions, "chosen")
    assert "line 35" in why(definitions, "effect")
    assert not (tmp_path / "made").exists()


def test_a_block_that_binds_nothing_leaves_what_was_before(define: Define) -> None:
    definitions = define(
        """
        FAST = False
        lib = "none"
        if FAST:
            import nowhere_to_be_found as lib
        size = 1
        if size == 1:
            size = size + 1
        def f(): return lib, size
        """
    )
    assert call(definitions, "f") == ("none", 2)


def test_an_import_that_fails_is_told(define: Define) -> None:
    definitions = define(
        """
        try:
            import nowhere_to_be_found as lib
        except ImportError:
            print("pip install it")
            raise SystemExit(1)
        def f(): return lib
        """
    )
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError) as caught:
            call(definitions, "f")
        assert "in the definition of `lib`, line 3" in caught.value.__notes__[0]


def test_what_the_body_imports_once_more_is_no_obstacle(define: Define) -> None:
    definitions = define(
        """
        import json
        if __name__ == "__main__":
            import json
            import shelve
        def f(): return json.dumps(1)
        """
    )
    assert call(definitions, "f") == "1"
    assert "line 5" in why(definitions, "shelve")


def test_star_imports_come_last(define: Define, tmp_path: Path) -> None:
    (tmp_path / "stars_one.py").write_text("a = 1; b = 1; own = 1; sum = 'star'")
    (tmp_path / "stars_two.py").write_text("b = 2; given = 2")
    definitions = define(
        """
        from stars_one import *
        from stars_two import *
        own = 3
        given = load()
        def f(): return a, b, own, given, sum, len("abc")
        def g(): return nothing
        """,
        values={"given": 4},
    )
    assert definitions.get("own") == 3
    assert "stars_one" not in sys.modules
    assert call(definitions, "f") == (1, 2, 3, 4, "star", 3)
    with pytest.raises(NameError, match="name 'nothing' is not defined"):
        call(definitions, "g")


def test_attributes_items_and_registrations_are_added(define: Define) -> None:
    definitions = define(
        """
        import functools, sys
        def load(): raise SystemExit
        @functools.singledispatch
        def show(x): return "any"
        @show.register
        def _(x: int): return "int"
        @show.register(str)
        def _(x): return "str" + show.mark
        show.mark = "!"
        show.missing = load_result
        load_result = load()
        TABLE = {}
        TABLE["show"] = show
        TABLE["n"] = 1
        OTHER = {}
        OTHER["data"] = load_result
        sys.mark = "x"
        class Base: pass
        class Derived(Base): pass
        Base.derived = Derived
        def f(): return show(1), show("x"), show(()), sorted(TABLE), sys
        def g(): return OTHER
        """
    )
    assert call(definitions, "f") == ("int", "str!", "any", ["n", "show"], sys)
    assert not hasattr(sys, "mark")
    derived: Any = definitions.get("Derived")
    assert derived.__base__.derived is derived
    for _ in range(2):
        with pytest.raises(NameError, match="`load_result` is made by"):
            call(definitions, "g")


def test_of_two_definitions_the_last_one_wins(define: Define) -> None:
    definitions = define(
        """
        from typing import overload
        def mark(n): return lambda f: (setattr(f, "n", n), f)[1]
        n = 3
        @overload
        def f(x: int) -> int: ...
        @overload
        def f(x: str) -> str: ...
        @mark(n)
        def f(x): return x, n
        @mark(n)
        def g(): pass
        n = 4
        def h(x=n): return x
        def print(*args): return 5
        """
    )
    function: Any = definitions.get("f")
    assert function.n == 3
    assert "n" not in made(definitions)
    assert function(1) == (1, 4)
    again: Any = definitions.get("g")
    assert again.n == 3
    assert definitions.get("n") == call(definitions, "h") == 4
    assert call(definitions, "print") == 5


def test_the_body_after_a_definition_is_not_asked(define: Define) -> None:
    definitions = define(
        """
        n = 3
        def f(x=n): return x
        n = int(input())
        @undefined_yet(n)
        def g(): pass
        """
    )
    assert call(definitions, "f") == 3
    assert "line 4" in why(definitions, "n")


def test_builtins_that_the_script_redefines(define: Define) -> None:
    definitions = define(
        """
        _print = print
        def print(*args): return "own", _print
        def f(): return print(), len("abc")
        for id in (): pass
        def g(): return id
        class C:
            id: int = 3
            def input(self): return self.id
        """
    )
    assert call(definitions, "f") == (("own", print), 3)
    assert "id" not in made(definitions)
    with pytest.raises(NameError, match="`id` is made by"):
        call(definitions, "g")


# How it is asked for.


def test_hot_loops(define: Define) -> None:
    definitions = define(
        """
        N = 2
        def helper(n): return n + N
        def late(n): return -n
        class Number:
            scale = N
            def __init__(self, n): self.n = helper(n) * self.scale
        def f(count):
            total = 0
            for n in range(count):
                total += helper(n) + len("abc") + Number(n).n
                if n == count - 1:
                    total += late(abs(total)) - total
            return total
        def step(n): return helper(n) + max(n, 0)
        def change():
            global N
            N = 3
        def nested():
            class Inner:
                value = helper(1)
                values = [helper(n) for n in range(N)]
            return Inner
        def absent():
            try:
                return nowhere
            except NameError:
                return None
        """
    )
    count = HOT
    expected = sum(n + 2 + 3 + (n + 2) * 2 for n in range(count))
    for _ in range(3):
        assert call(definitions, "f", count) == -expected
    step: Any = definitions.get("step")
    assert [step(n) for n in range(count)] == [2 * n + 2 for n in range(count)]
    call(definitions, "change")
    assert step(1) == 5
    assert [call(definitions, "absent") for _ in range(count)] == [None] * count
    inner = call(definitions, "nested")
    assert (inner.value, inner.values) == (4, [3, 4, 5])
    del vars(definitions.module)["helper"]
    with pytest.raises(NameError, match="name 'helper' is not defined"):
        step(1)


def test_a_name_first_read_in_a_warm_loop(define: Define) -> None:
    definitions = define(
        """
        def f(count):
            for n in range(count):
                try:
                    found = table[n]
                except NameError:
                    found = None
            return found
        """
    )
    assert call(definitions, "f", HOT) is None
    vars(definitions.module)["table"] = range(HOT)
    assert call(definitions, "f", HOT) == HOT - 1


def test_names_in_every_kind_of_scope(define: Define) -> None:
    definitions = define(
        """
        import asyncio
        a = b = c = d = e = g = h = 1
        class C:
            x = a
            y = [b + n for n in (1, 2)]
            z = lambda self: c
            class D:
                w = d
        async def later(): return e
        def numbers(): yield g
        def f(): return C.x, C.y, C().z(), C.D.w, asyncio.run(later()), [*numbers()], eval("h")
        """
    )
    assert call(definitions, "f") == (1, [2, 3], 1, 1, 1, [1], 1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is new in 3.12")
def test_type_parameters(define: Define) -> None:
    definitions = define(
        """
        class Base: pass
        type Pair[T] = tuple[T, Other]
        class Other: pass
        class Box[T: Base](Base):
            def get[S: Base](self, other: S) -> Pair[S]: return helper()
        def helper(): return 3
        """
    )
    box: Any = definitions.get("Box")
    assert box().get(None) == 3
    assert box.__type_params__[0].__bound__ is definitions.get("Base")
    pair: Any = definitions.get("Pair")
    assert pair.__value__.__args__[1] is definitions.get("Other")


def test_the_module_defines_what_it_is_asked_for(define: Define) -> None:
    definitions = define("import json\ndef f(): return 3\ndata = load()", name="program")
    module = definitions.module
    assert module.f() == 3
    assert module.f.__globals__ is vars(module)
    assert module.f.__module__ == module.__name__ == "program"
    assert not hasattr(module, "nothing")
    with pytest.raises(AttributeError, match="`data` is made by a statement of the body, line 3"):
        _ = module.data
    with pytest.raises(AttributeError, match="module 'program' has no attribute 'nothing'"):
        _ = module.nothing


def test_threads_define_once(define: Define) -> None:
    definitions = define(
        """
        import itertools
        counter = itertools.count()
        def once(f):
            f.number = next(counter)
            return f
        @once
        def helper(): pass
        def f(): return helper.number
        """
    )
    function: Any = definitions.get("f")
    found: list[int] = []
    barrier = threading.Barrier(8)

    def read() -> None:
        barrier.wait()
        found.append(function())

    threads = [threading.Thread(target=read) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == [0] * 8


# What it looks like.


def test_lines_and_files_are_those_of_the_script(define: Define) -> None:
    definitions = define("\n\n\ndef f():\n\n    return 1 / 0\n")
    function: Any = definitions.get("f")
    file = definitions.module.__file__
    assert function.__code__.co_filename == file
    assert function.__code__.co_firstlineno == 4
    with pytest.raises(ZeroDivisionError) as caught:
        function()
    *_, frame = traceback.extract_tb(caught.tb)
    assert (frame.filename, frame.lineno, frame.name) == (file, 6, "f")
    assert frame.line == "return 1 / 0"
    entry: Any = linecache.cache[str(file)]
    assert entry[1] is not None, "nothing was seeded: the time is that of the file"


def test_the_source_is_shown_though_the_file_has_another(define: Define, tmp_path: Path) -> None:
    definitions = define("def f():\n    return 1 / 0  # recorded")
    (tmp_path / "script.py").write_text("def f():\n    return 'edited'\n")
    with pytest.raises(ZeroDivisionError) as caught:
        call(definitions, "f")
    linecache.checkcache()
    assert "# recorded" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("problem", ["1 / 0", "int('x')", "{}['key']", "exit(3)"])
def test_a_definition_that_fails_is_named(define: Define, problem: str) -> None:
    definitions = define(
        f"""
        def bad(f): {problem}
        @bad
        def helper(): pass
        def f(): return helper()
        """
    )
    file = definitions.module.__file__
    note = f"snapshot: in the definition of `helper`, line 4 of {file}"
    for _ in range(2):
        with pytest.raises((ArithmeticError, ValueError, KeyError, SystemExit)) as caught:
            definitions.get("helper")
        assert caught.value.__notes__ == [note]
        with pytest.raises((ArithmeticError, ValueError, NameError, SystemExit)) as caught:
            call(definitions, "f")
        error = caught.value.__cause__ or caught.value
        assert error.__notes__ == [note]
    assert "helper" not in made(definitions)


def test_future_statements_hold_for_each_piece(define: Define) -> None:
    definitions = define(
        '''
        """What it does."""
        from __future__ import annotations
        import dataclasses
        from typing import ClassVar
        import typing as t
        @dataclasses.dataclass
        class Node:
            count: ClassVar[int] = 0
            total: t.ClassVar[int] = 0
            next: Node | None = None
            other: Other | None = None
        def f(x: Other): return Node(None)
        class Other: pass
        '''
    )
    function: Any = definitions.get("f")
    assert function.__annotations__ == {"x": "Other"}
    assert [*vars(function(None))] == ["next", "other"]
    with definitions.as_main():
        hints = typing.get_type_hints(definitions.get("Node"))
    assert hints["next"] == definitions.get("Node") | None  # type: ignore[operator]
    assert definitions.module.__doc__ == "What it does."
    assert call(define("def f(x: 1 + 1): pass\ndef g(): return f.__annotations__"), "g") == {"x": 2}


def test_relative_imports_of_a_program_in_a_package(define: Define, tmp_path: Path) -> None:
    folder = tmp_path / "relative_package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "sibling.py").write_text("value = 42")
    source = "from .sibling import value\nfrom . import sibling\ndef f(): return value, __spec__\n"
    definitions = Definitions(source, str(folder / "script.py"), package="relative_package")
    value, spec = call(definitions, "f")
    assert value == 42
    assert (spec.name, definitions.module.__package__) == (
        "relative_package.script",
        "relative_package",
    )
    define("")
    alone = Definitions(source, str(folder / "script.py"))
    with pytest.raises((ImportError, ImportWarning), match="package"):
        call(alone, "f")
    assert alone.module.__spec__ is None


# Pickles.


def test_pickles_by_reference(define: Define) -> None:
    definitions = define(
        """
        from collections import namedtuple
        import enum
        def fields(): return "x y"
        Point = namedtuple("Point", fields())
        class Outer:
            class Inner:
                def __init__(self, n): self.n = n
                def __eq__(self, other): return self.n == other.n and SCALE
        class Color(enum.Enum):
            RED = 1
        SCALE = 2
        def f(): return 3
        """
    )
    with definitions.as_main() as module:
        assert sys.modules["__main__"] is module
        point = definitions.find_class("__main__", "Point")(1, 2)
        inner = definitions.find_class("__main__", "Outer.Inner")(3)
        value = [definitions.get("f"), point, inner, module.Color.RED]
        data = pickle.dumps(value)
        assert pickle.loads(data) == value
    fresh = Definitions(Path(str(module.__file__)).read_text(), str(module.__file__))

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            return fresh.find_class(module, name)

    function, *others = Unpickler(io.BytesIO(data)).load()
    assert function() == 3
    assert function is fresh.get("f")
    assert others[0] == (1, 2)
    assert others[1].n == 3
    assert others[2].name == "RED"
    assert fresh.find_class("os.path", "join")
    assert fresh.find_class("pickletools", "OpcodeInfo.__init__") is pickletools.OpcodeInfo.__init__
    with pytest.raises(NameError, match="there is no `gone`"):
        fresh.find_class("__main__", "gone.inner")
    with pytest.raises(AttributeError):
        fresh.find_class("__main__", "Outer.gone")


def test_the_module_before_is_put_back(define: Define) -> None:
    before = sys.modules["__main__"]
    definitions = define("def f(): raise KeyError")
    with definitions.as_main():
        with definitions.as_main():
            assert sys.modules["__main__"] is definitions.module
        assert sys.modules["__main__"] is definitions.module
    with pytest.raises(KeyError), definitions.as_main():
        call(definitions, "f")
    assert sys.modules["__main__"] is before
    other = define("def f(): pass", name="not_there_before")
    with other.as_main():
        assert sys.modules["not_there_before"] is other.module
    assert "not_there_before" not in sys.modules
    other.get("f")
    assert "not_there_before" not in sys.modules


def test_a_definition_sees_its_own_module(define: Define) -> None:
    definitions = define(
        """
        import sys
        class C: own = sys.modules[__name__]
        """
    )
    found: Any = definitions.get("C")
    assert found.own is definitions.module
    assert sys.modules["__main__"] is not definitions.module


def test_a_source_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SyntaxError) as caught:
        Definitions("def f(:", "script.py")
    assert caught.value.filename == "script.py"
    assert call(Definitions("\ufeffdef f(): return 1", "<input>"), "f") == 1
    assert linecache.cache.pop("<input>")


def test_code_is_what_the_whole_script_is_compiled_to(define: Define) -> None:
    source = """
        import json
        import os.path as place
        if True:
            from collections import deque
        class C:
            @property
            def text(self): return json.dumps(self.n)
            @text.setter
            def text(self, value): self.n = json.loads(value)
        def with_parameter(json): return json.dumps(1)
        def several(n):
            for each in range(n):
                if each: return place.join("a", str(each))
            return deque.fromkeys and deque.copy(deque())
        """
    definitions = define(source)
    text = textwrap.dedent(source)
    whole = {each.co_qualname: each for each in inner_codes(compile(text, "", "exec"))}
    for name in ("with_parameter", "several"):
        function: Any = definitions.get(name)
        assert function.__code__.co_code == whole[name].co_code, name
    kind: Any = definitions.get("C")
    wanted = codes_of(text, "script.py")["C.text"]
    assert [code_digest(each.__code__) for each in (kind.text.fget, kind.text.fset)] == [
        code_digest(each) for each in wanted
    ]
