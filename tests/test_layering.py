"""The house keeps its own rules: who imports whom, who forks, what an import costs."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import snapshot
from snapshot.core.resources import RESOURCES
from tests import matrix
from tests.processes import Result
from tests.test_resources import CASES, ENDINGS

PACKAGE = Path(snapshot.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    ): ast.parse(path.read_bytes(), str(path))
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Each may import what stands before it; what stands on one line does not know its neighbours.
LINE = (
    ("errors",),
    ("pickling",),
    ("core",),
    ("store",),
    ("replay", "memo", "heat"),
    ("debugger",),
    ("repl", "web", "testing"),
    ("commands",),
)
_PLACES = {part: place for place, parts in enumerate(LINE) for part in parts}

# These may import the package itself, whose public names come from everywhere below them.
_MAY_USE_THE_WHOLE = {"repl", "web", "commands"}

# A module that only starts another part, as `python -m` wants it, imports that part.
_STARTERS = {"snapshot.__main__", "snapshot.repl.__main__"}

# Of the standard library, what takes long to load, or what only some parts need.
_DEAR = {
    *("argparse", "ast", "asyncio", "atexit", "concurrent", "ctypes", "dataclasses", "dis"),
    *("inspect", "logging", "multiprocessing", "pathlib", "pdb", "pickle", "random", "select"),
    *("shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading"),
    *("traceback", "unittest", "weakref"),
}

# os.register_at_fork, os.waitstatus_to_exitcode and os.WEXITED do nothing of the kind.
_PROCESS_CALLS = ("fork", "posix_spawn", "spawn", "exec", "wait", "_exit", "abort", "popen")
_HARMLESS = {"waitstatus_to_exitcode"}


def part(module: str) -> str:
    """`core` for `snapshot.core.tree`, nothing for `snapshot` itself."""
    return "".join(module.split(".")[1:2])


def imports(name: str) -> Iterator[str]:
    """The modules of this package that a module imports anywhere, those of functions included."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] == "snapshot")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import"
            if (node.module or "").split(".")[0] == "snapshot":
                full = [f"{node.module}.{each.name}" for each in node.names]
                yield from (each if each in MODULES else f"{node.module}" for each in full)


def test_imports_point_one_way() -> None:
    wrong = []
    for name in MODULES.keys() - _STARTERS:
        for imported in imports(name):
            if not _may_import(part(name), part(imported)):
                wrong.append(f"{name} imports {imported}")
    assert not wrong


def _may_import(part: str, other: str) -> bool:
    if not part or part == other:
        return True
    return _PLACES[other] < _PLACES[part] if other else part in _MAY_USE_THE_WHOLE


def test_every_part_has_its_place() -> None:
    assert {part(name) for name in MODULES.keys() - _STARTERS} - {""} <= _PLACES.keys()


def test_no_two_modules_import_each_other() -> None:
    graph = {name: {each for each in imports(name) if part(each)} for name in MODULES}
    pairs = itertools.combinations(MODULES, 2)
    assert not [pair for pair in pairs if pair[1] in graph[pair[0]] and pair[0] in graph[pair[1]]]


def process_calls(tree: ast.Module) -> Iterator[str]:
    """What a module takes of `os` and `pty` that forks, waits, replaces or ends the process."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            taken = [node.attr] if node.value.id in ("os", "pty") else []
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "pty", "posix"):
            taken = [each.name for each in node.names]
        else:
            continue
        for name in taken:
            if name.startswith(_PROCESS_CALLS) and name not in _HARMLESS:
                yield name


def test_one_module_forks_waits_and_exits() -> None:
    found = {name: sorted(set(process_calls(tree))) for name, tree in MODULES.items()}
    assert "fork" in found.pop("snapshot.core.process")
    assert {name: calls for name, calls in found.items() if calls} == {}


def test_process_calls_are_seen() -> None:
    source = "import os, pty\nfrom os import _exit\npty.fork()\nos.execv\nos.waitid\nos.WEXITED\n"
    assert sorted(process_calls(ast.parse(source))) == ["_exit", "execv", "fork", "waitid"]


def test_the_layout_is_told_as_it_is() -> None:
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    layout = text[text.index("## The layout") : text.index("## Words")]
    parts = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert set(re.findall(r"^  (\w+)/ ", layout, re.M)) == parts
    modules = {path.name for path in PACKAGE.glob("core/*.py")} - {"__init__.py"}
    assert set(re.findall(r"^    (\w+\.py) ", layout, re.M)) == modules


def test_the_table_of_resources_is_the_one_in_the_documentation() -> None:
    text = (PACKAGE.parent / "README.md").read_text()
    rows = [f"| {each.name} | {each.in_experiment} |" for each in RESOURCES]
    assert "\n".join(rows) in text


def test_the_matrix_of_resources_is_the_one_in_the_documentation() -> None:
    text = matrix.DOCUMENT.read_text()
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    ways, _, *rows = table
    assert ways == [*ENDINGS], "run `python -m tests.matrix`"
    assert rows == [[name, *["ok"] * len(ENDINGS)] for name in CASES], (
        "run `python -m tests.matrix`"
    )


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_what_it_is_for(name: str) -> None:
    assert ast.get_docstring(MODULES[name])


def test_public_names_are_sorted_and_there() -> None:
    assert snapshot.__all__ == sorted(set(snapshot.__all__))
    for name in snapshot.__all__:
        assert getattr(snapshot, name) is not None
    assert set(snapshot.__all__) <= set(dir(snapshot))
    with pytest.raises(AttributeError, match="no attribute 'snapshoot'"):
        snapshot.snapshoot  # noqa: B018


def test_import_star_brings_the_public_names(python: Callable[..., Result]) -> None:
    result = python(
        """
        before = {*globals(), "before"}
        from snapshot import *
        print(*sorted(globals().keys() - before))
        """
    )
    assert result.stdout.split() == snapshot.__all__, result


def test_the_import_loads_next_to_nothing(python: Callable[..., Result]) -> None:
    result = python(
        f"""
        import sys
        sys.path.insert(0, {str(PACKAGE.parent)!r})
        before = set(sys.modules)
        import snapshot
        print(*sorted(set(sys.modules) - before))
        """,
        options=["-S"],  # without `site`, where an editable installation loads things of its own
    )
    loaded = set(result.stdout.split())
    assert {name for name in loaded if name.startswith("snapshot")} == {"snapshot"}, result
    top = {name.partition(".")[0] for name in loaded} - {"snapshot"}
    assert top <= sys.stdlib_module_names | {"typing"}, result
    assert not top & _DEAR, result


def test_a_snapshot_needs_the_standard_library_alone(python: Callable[..., Result]) -> None:
    result = python(
        f"""
        import sys
        sys.path.insert(0, {str(PACKAGE.parent)!r})
        from snapshot import fork_call, last_experiment, revert, snapshot
        if snapshot():
            revert(value=7)
        fork_call(len, "")
        print(last_experiment().value, *{{name.partition(".")[0] for name in sys.modules}})
        """,
        options=["-S"],
    )
    value, *loaded = result.stdout.split()
    assert value == "7", result
    assert set(loaded) - {"snapshot", "__main__"} <= sys.stdlib_module_names, result
    assert "asyncio" not in loaded, result


def test_where_there_is_no_fork_the_import_says_so(python: Callable[..., Result]) -> None:
    result = python("import os; del os.fork; import snapshot")
    assert result.code == 1
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("ImportError")]
    assert line == (
        f"ImportError: snapshot needs os.fork, which {sys.platform} does not have: "
        "use Linux, macOS or WSL"
    )
