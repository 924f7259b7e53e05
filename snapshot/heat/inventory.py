"""The inventory: every function of an application, found in its text by `ast`.

A key is `module:qualname`, with the qualified name that this Python gives to the code object:
`app.views:View.get`, `app.main:outer.<locals>.inner`, `app.main:<lambda>`. The name of a module is
its path from the root, as if the root were on `sys.path`: folders without `__init__.py` count as
namespace packages, a `src` that is no package itself is left away unless the root has the same
name, too, and where the root is inside a package the packages above it count.

A file beside a package of its name is skipped: Python does not import it.

Several functions of one key, as overloads, setters and redefinitions are, are told apart by the
line of their `def`: `KEY@line`. Functions of one key that begin in one line, as lambdas may, cannot
be told apart, and are one.
"""

from __future__ import annotations

import ast
import bisect
import contextlib
import difflib
import functools
import json
import os
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from snapshot.errors import FunctionNotFound, UsageError
from snapshot.heat.rootmarker import RootMarker, find
from snapshot.heat.writing import home, replace
from snapshot.store.searching import storable

OVERLOAD = "an overload, which is there for type checkers"

_CACHE = "inventory.json"
_FORMAT = [3, *sys.version_info[:2]]
_INLINED = sys.version_info >= (3, 12)  # comprehensions, but generators

# By their names, called by a framework.
_TESTS = re.compile(r"(test|pytest)_\w+|(set|tear)[dD]own|(setup|teardown)_\w+")
_HOOKS = re.compile(
    r"(visit|depart|leave|handle|do|on)_\w+|_[a-z]\w*_|generic_visit|(set|tear)(Up|Down)(Class)?"
    r"|asyncSetUp|asyncTearDown"
)
_DUNDER = re.compile(r"__\w+__")
_PLAIN = frozenset(
    {
        *("abstractmethod", "asynccontextmanager", "cache", "cached_property", "classmethod"),
        *("contextmanager", "deleter", "deprecated", "final", "getter", "lru_cache", "override"),
        *("property", "setter", "staticmethod", "total_ordering", "wraps"),
    }
)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the application.

    key: `module:qualname`. path: of its file, from the root, with slashes. line: of its `def`;
    first_line: of its first decorator, which its code object calls the first one.
    kind: function, method, property, classmethod, staticmethod, nested, or lambda.
    digest: of its text, whatever its place and indentation; 32 hexadecimal digits.
    reached: why it may be called though nothing of the application names it; "" if nothing says so.
    """

    key: str
    path: str
    line: int
    first_line: int
    end_line: int
    kind: str
    digest: str
    reached: str = ""

    @property
    def module(self) -> str:
        """The name of its module."""
        return self.key.partition(":")[0]

    @property
    def qualname(self) -> str:
        """Its name in the module."""
        return self.key.partition(":")[2]

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.qualname.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file whose functions are not known, and why. `path` is from the root."""

    path: str
    reason: str


class Inventory:
    """The functions of an application.

    marker: its root marker. functions: those that are not ignored. ignored: those that are.
    classes: of each class, by its key, its bases by their full names. skipped: files that could not
    be read. modules: the names of the modules by the paths of their files.
    """

    def __init__(
        self,
        marker: RootMarker,
        functions: list[Function],
        classes: dict[str, tuple[str, ...]],
        skipped: list[Skipped],
        modules: dict[str, str],
    ) -> None:
        self.marker = marker
        self.root = marker.root
        # Patterns are slow, and most keys are ignored by none.
        self.functions = [each for each in functions if not marker.keys or not self._ignored(each)]
        self.ignored = [each for each in functions if marker.keys and self._ignored(each)]
        self.classes = classes
        self.skipped = skipped
        self.modules = modules
        self._count = Counter(each.key for each in functions)
        self._by_place: dict[tuple[str, int, str], Function] | None = None
        self._by_key: dict[str, list[Function]] | None = None

    def __iter__(self) -> Iterator[Function]:
        return iter(self.functions)

    def __len__(self) -> int:
        return len(self.functions)

    def name_of(self, function: Function) -> str:
        """Its key; `KEY@line` where there are several of that key."""
        several = self._count[function.key] > 1
        return f"{function.key}@{function.line}" if several else function.key

    def at(self, path: str, first_line: int, qualname: str) -> Function | None:
        """The function that a code object of a file is of; the path is from the root."""
        if self._by_place is None:
            self._by_place = {
                (each.path, each.first_line, each.qualname): each for each in self.functions
            }
        return self._by_place.get((path, first_line, qualname))

    def of_key(self, key: str) -> list[Function]:
        """All functions of a key; ignored ones, too."""
        if self._by_key is None:
            self._by_key = defaultdict(list)
            for each in (*self.functions, *self.ignored):
                self._by_key[each.key].append(each)
        return self._by_key.get(key, [])

    def find(self, key: str) -> Function:
        """The one function of a key, or of `KEY@line`; ignored ones, too.

        Raises `UsageError` where there are several, and for a class; `FunctionNotFound`.
        """
        bare, _, line = key.partition("@")
        found = self.of_key(bare)
        chosen = [each for each in found if not line or str(each.line) == line]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            named = ", ".join(f"{each.key}@{each.line}" for each in chosen)
            raise UsageError(f"there are several functions {bare}: say which one, {named}")
        if found:
            lines = ", ".join(str(each.line) for each in found)
            raise FunctionNotFound(f"no {bare} is in line {line}, but in {lines}", key=key)
        if bare in self.classes:
            raise UsageError(f"{bare} is a class: name its methods, as {bare}.METHOD")
        raise FunctionNotFound(f"there is no function {key}{self._like(bare)}", key=key)

    def matching(self, pattern: str) -> list[Function]:
        """Those that an ignored key, or pattern of keys, concerns."""
        marker = RootMarker(self.marker.path, keys=(pattern,))
        return [each for each in (*self.functions, *self.ignored) if self._ignored(each, marker)]

    def suggestions(self, key: str) -> list[str]:
        """Keys that are like it."""
        known = list({each.key for each in (*self.functions, *self.ignored)})
        last = key.rpartition(":")[2].rpartition(".")[2]
        same = [each for each in known if re.split(r"[:.]", each)[-1] == last]
        return list(dict.fromkeys([*difflib.get_close_matches(key, known), *sorted(same)]))[:3]

    def _like(self, key: str) -> str:
        close = self.suggestions(key)
        return f": did you mean {' or '.join(close)}?" if close else ", and no key is like it"

    def _ignored(self, function: Function, marker: RootMarker | None = None) -> bool:
        named = f"{function.key}@{function.line}"
        return (marker or self.marker).ignores(named)


def functions_in(
    root: RootMarker | str | os.PathLike[str] | None = None,
    *,
    cached: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Inventory:
    """The inventory of an application: of its marker, or of the one found from a folder upwards.

    What a file has is kept, by its content, in `.snapshot/heat` at the root, where that can be
    written. cached: look there. progress: called with the number of files done, and of all.

    Raises `UsageError` where there is no root marker, `CannotRead`.
    """
    marker = root if isinstance(root, RootMarker) else find(root)
    known = _read_cache(marker.root) if cached else {}
    fresh: dict[str, Any] = {}
    paths = marker.paths()
    for number, path in enumerate(paths):
        if progress is not None:
            progress(number, len(paths))
        fresh[path] = _file(marker.root / path, known.get(path))
    if fresh != known:
        _write_cache(marker.root, fresh)
    try:
        return _inventory(marker, fresh)
    except (TypeError, ValueError):  # what was kept is damaged
        if not known:
            raise
        clear_cache(marker.root)
        return functions_in(marker, cached=False, progress=progress)


def unread(marker: RootMarker) -> int:
    """How many bytes the files have whose functions are not kept: these take long to read."""
    known = _read_cache(marker.root)
    found = 0
    for path in marker.paths():
        with contextlib.suppress(OSError):
            data = (marker.root / path).read_bytes()
            if not _is_of(known.get(path), xxhash.xxh3_128_hexdigest(data)):
                found += len(data)
    return found


def clear_cache(root: Path) -> bool:
    """Forget what is kept of the files; whether there was something. Raises `UsageError`."""
    try:
        (root / ".snapshot" / "heat" / _CACHE).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be deleted: {error.strerror}") from None
    return True


def module_of(root: Path, path: str) -> str:
    """The name of the module of a file, whose path is from the root."""
    *folders, name = path.removesuffix(".py").split("/")
    if folders[:1] == ["src"] and not (root / "src" / "__init__.py").exists():
        first = folders[1] if len(folders) > 1 else name
        if not (root / first).exists() and not (root / f"{first}.py").exists():
            folders = folders[1:]
    parts = [*_above(root), *folders, *([] if name == "__init__" else [name])]
    return ".".join(parts) or name


@functools.lru_cache(maxsize=64)
def _above(root: Path) -> tuple[str, ...]:
    """The packages that a folder is inside of, itself included."""
    names: list[str] = []
    while (root / "__init__.py").exists() and root.name:
        names.insert(0, root.name)
        root = root.parent
    return tuple(names)


def _inventory(marker: RootMarker, files: dict[str, Any]) -> Inventory:
    functions: list[Function] = []
    classes: dict[str, tuple[str, ...]] = {}
    skipped: list[Skipped] = []
    modules: dict[str, str] = {}
    for path, (_, problem, own_classes, own) in files.items():
        if storable(path) != path:
            skipped.append(Skipped(storable(path), "has a name that is no UTF-8: give it another"))
            continue
        if (package := f"{path.removesuffix('.py')}/__init__.py") in files:
            module = module_of(marker.root, package)
            reason = f"is hidden by {package}, which Python imports as {module}"
            skipped.append(Skipped(path, reason))
            continue
        module = modules[path] = module_of(marker.root, path)
        if problem:
            skipped.append(Skipped(path, problem))
        classes.update((f"{module}:{name}", tuple(bases)) for name, bases in own_classes)
        functions.extend(Function(f"{module}:{qualname}", path, *rest) for qualname, *rest in own)
    return Inventory(marker, functions, classes, skipped, modules)


# What is kept: of each file a digest, why it could not be read, its classes, its functions.


def _read_cache(root: Path) -> dict[str, Any]:
    try:
        content = json.loads((root / ".snapshot" / "heat" / _CACHE).read_bytes())
        files = content["files"] if content["format"] == _FORMAT else {}
        return files if isinstance(files, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_cache(root: Path, files: dict[str, Any]) -> None:
    content = json.dumps({"format": _FORMAT, "files": files}).encode()
    with contextlib.suppress(UsageError):  # of a tree that is read-only
        replace({home(root) / _CACHE: content})


def _file(path: Path, known: Any) -> list[Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        return ["", f"cannot be read: {error.strerror}", [], []]
    digest = xxhash.xxh3_128_hexdigest(data)
    if _is_of(known, digest):
        kept: list[Any] = known
        return kept
    try:
        tree = parsed(data)
        walk = _Walk(data)
        walk.module(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [digest, _reason(error), [], []]
    return [digest, "", walk.classes, walk.functions]


def _is_of(known: Any, digest: str) -> bool:
    return isinstance(known, list) and len(known) == 4 and known[0] == digest


def parsed(data: bytes) -> ast.Module:
    """The tree of a file. Raises SyntaxError, ValueError, RecursionError, MemoryError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the application's own text
        return ast.parse(data)


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        line = f"line {error.lineno}: " if error.lineno else ""
        return f"does not parse: {line}{error.msg}"
    return f"does not parse: {str(error) or type(error).__name__}"


class _Walk:
    """Collects the functions and classes of a file, as [qualname, line, …] of `Function`."""

    def __init__(self, data: bytes) -> None:
        self.functions: list[list[Any]] = []
        self.classes: list[tuple[str, list[str]]] = []
        self._imported: dict[str, str] = {}
        # As Python counts lines; a form feed ends none.
        self._lines = re.split(rb"\r\n|\r|\n", data.removeprefix(b"\xef\xbb\xbf"))
        self._lambdas = [number for number, line in enumerate(self._lines, 1) if b"lambda" in line]
        self._seen: set[tuple[str, int]] = set()
        self._unevaluated = False

    def module(self, tree: ast.Module) -> None:
        """Collect all of a file."""
        self._unevaluated = any(
            isinstance(each, ast.ImportFrom)
            and each.module == "__future__"
            and any(name.name == "annotations" for name in each.names)
            for each in tree.body
        )
        self._block(tree.body, "", "", frozenset())

    def _block(
        self, body: Iterable[ast.AST], prefix: str, within: str, top: frozenset[str]
    ) -> None:
        """Collect what statements have; `within` is "class", "function" or "" for the module.

        top: names that the scope has declared global, which are no part of it.
        """
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self._function(node, prefix, within, top)
            elif isinstance(node, ast.ClassDef):
                self._class(node, prefix, within, top)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
                for name, value in ast.iter_fields(node):
                    if isinstance(value, list) and value and isinstance(value[0], _STATEMENTS):
                        self._block(value, prefix, within, top)
                    elif name != "annotation" or not (self._unevaluated or within == "function"):
                        self._expression(value, prefix)

    def _function(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        prefix: str,
        within: str,
        top: frozenset[str],
    ) -> None:
        self._expression(node.decorator_list, prefix)
        self._expression([*node.args.defaults, *node.args.kw_defaults], prefix)
        if not self._unevaluated:
            self._expression([each.annotation for each in _parameters(node.args)], prefix)
            self._expression(node.returns, prefix)
        is_global = node.name in top
        qualname = node.name if is_global else prefix + node.name
        first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
        kind = _kind(node, "" if is_global else within)
        begin = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        text = self._lines[begin - 1 : node.end_lineno]
        self._add(qualname, node, first, kind, text, _reached(node, within))
        self._block(node.body, f"{qualname}.<locals>.", "function", _globals(node.body))

    def _class(self, node: ast.ClassDef, prefix: str, within: str, top: frozenset[str]) -> None:
        self._expression([*node.decorator_list, *node.bases, *node.keywords], prefix)
        qualname = node.name if node.name in top else prefix + node.name
        self.classes.append((qualname, [self._full_name(each) for each in node.bases]))
        self._block(node.body, f"{qualname}.", "class", _globals(node.body))

    def _full_name(self, base: ast.expr) -> str:
        """With the module that a name was imported from, as far as that is told here."""
        named = base.value if isinstance(base, ast.Subscript) else base
        first, dot, rest = ast.unparse(named).partition(".")
        return self._imported.get(first, first) + dot + rest

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for each in node.names:
            if isinstance(node, ast.ImportFrom):
                whole = f"{'.' * node.level}{node.module or ''}.{each.name}"
                self._imported[each.asname or each.name] = whole
            elif each.asname:
                self._imported[each.asname] = each.name

    def _expression(self, value: object, prefix: str) -> None:
        """Collect the lambdas in an expression, or in several; most have none."""
        if isinstance(value, list):
            for each in value:
                self._expression(each, prefix)
        elif isinstance(value, ast.Lambda):
            self._expression([*value.args.defaults, *value.args.kw_defaults], prefix)
            qualname = f"{prefix}<lambda>"
            self._add(qualname, value, value.lineno, "lambda", self._segment(value), "")
            self._expression(value.body, f"{qualname}.<locals>.")
        elif isinstance(value, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            self._comprehension(value, prefix)
        elif isinstance(value, ast.AST) and self._may_have_lambda(value):
            for each in ast.iter_child_nodes(value):
                self._expression(each, prefix)

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, prefix: str
    ) -> None:
        if not self._may_have_lambda(node):
            return
        self._expression(node.generators[0].iter, prefix)
        inner = prefix
        if not _INLINED or isinstance(node, ast.GeneratorExp):
            inner = f"{prefix}{_COMPREHENSIONS[type(node)]}."
        for place, each in enumerate(node.generators):
            self._expression([each.target, *each.ifs, *([each.iter] if place else [])], inner)
        results = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        self._expression(list(results), inner)

    def _may_have_lambda(self, node: ast.AST) -> bool:
        if not self._lambdas:
            return False
        line: int | None = getattr(node, "lineno", None)
        if line is None:
            return True
        place = bisect.bisect_left(self._lambdas, line)
        return place < len(self._lambdas) and self._lambdas[place] <= (node.end_lineno or line)  # type: ignore[attr-defined]

    def _segment(self, node: ast.Lambda) -> list[bytes]:
        text = self._lines[node.lineno - 1 : node.end_lineno]
        text[-1] = text[-1][: node.end_col_offset]
        text[0] = text[0][node.col_offset :]
        return text

    def _add(
        self,
        qualname: str,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        first: int,
        kind: str,
        text: list[bytes],
        reached: str,
    ) -> None:
        if (qualname, first) in self._seen:
            return
        self._seen.add((qualname, first))
        digest = xxhash.xxh3_128_hexdigest(b"\n".join(each.strip() for each in text))
        end = node.end_lineno or node.lineno
        self.functions.append([qualname, node.lineno, first, end, kind, digest, reached])


_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
_COMPREHENSIONS: dict[type, str] = {
    ast.ListComp: "<listcomp>",
    ast.SetComp: "<setcomp>",
    ast.DictComp: "<dictcomp>",
    ast.GeneratorExp: "<genexpr>",
}


def _parameters(args: ast.arguments) -> list[ast.arg]:
    several = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [each for each in several if each is not None]


def _globals(body: list[ast.stmt]) -> frozenset[str]:
    """The names that a scope declares to be global."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Global):
            found.update(node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        else:
            for _, value in ast.iter_fields(node):
                if isinstance(value, list) and value and isinstance(value[0], _STATEMENTS):
                    waiting.extend(value)
    return frozenset(found)


def decorator_name(node: ast.expr) -> str:
    """`app.route` of `@app.route("/")`; the text of it where it is no name."""
    called = node.func if isinstance(node, ast.Call) else node
    return ast.unparse(called)


def _kind(node: ast.FunctionDef | ast.AsyncFunctionDef, within: str) -> str:
    if within == "function":
        return "nested"
    if within != "class":
        return "function"
    last = {decorator_name(each).rpartition(".")[2] for each in node.decorator_list}
    for kind in ("staticmethod", "classmethod"):
        if kind in last:
            return kind
    return "property" if last & {"property", "cached_property", "setter", "deleter"} else "method"


def _reached(node: ast.FunctionDef | ast.AsyncFunctionDef, within: str) -> str:
    """Why it may be called by what is not in the text of the application."""
    names = [decorator_name(each) for each in node.decorator_list]
    if any(each.rpartition(".")[2] == "overload" for each in names):
        return OVERLOAD
    for each in names:
        if each.rpartition(".")[2] not in _PLAIN:
            return f"@{each} may register it"
    if _DUNDER.fullmatch(node.name) and within != "function":
        return "Python calls it by its special name"
    hook = _HOOKS.fullmatch(node.name) if within == "class" else None
    if hook or (within != "function" and _TESTS.fullmatch(node.name)):
        return "a framework may call it by its name"
    return ""
