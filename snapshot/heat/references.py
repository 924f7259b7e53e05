"""References: where the text of an application, its tests included, leads to its functions.

They are found by names, and rather too many than too few: `x.get` may be any method `get`. A plain
name is followed to the scope that binds it, and through imports, also those under another name, of
`*`, and from modules that only pass it on.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple

from snapshot.heat.inventory import OVERLOAD, Function, Inventory, module_of, parsed

ALL = "__all__"
ALL_STAYS = "__all__, of what its module still has"
IMPORT = "import"
STAYS = "import of what its module still has"
CAUGHT = "import, in a try statement that does without it"
UNSURE = "import from a module of that name"
ASSIGNMENT = "assignment"
BEGINNING = "beginning of a name"
END = "end of a name"
UNREAD = "cannot be read, and may use it"
UNPARSED = "the name, in a file that does not parse"

_WORDS = re.compile(rb"[A-Za-z_\x80-\xff][\w\x80-\xff]*")
_AS = re.compile(rb"([\w\x80-\xff]+)\s+as\s+([\w\x80-\xff]+)")
_PLACES = re.compile(rb"%(?:\(\w*\))?[a-z]")  # for what is put into a text
_PERCENT = re.compile(_PLACES.pattern.decode())
_BRACES = re.compile(r"\{[^{}]*\}")
_STAR = re.compile(rb"import\s*\*")
SETTINGS = ("pyproject.toml", "setup.cfg", "setup.py")
_LOCALS = "<locals>"
_SHORTEST = 3  # letters of a part of a name that is put together when the program runs


class Reference(NamedTuple):
    """A place that leads to a function.

    path: of its file, from the root. kind: what it is, in a word or some. name: the one that is
    written there.
    """

    path: str
    line: int
    kind: str
    name: str = ""


class _Import(NamedTuple):
    """`from module import name as local`, in a scope; name may be `*`.

    caught: the program does something else where that fails.
    """

    module: str
    name: str
    local: str
    scope: str
    line: int
    caught: bool = False


class _Mention(NamedTuple):
    """A name in a text: kind is name, attribute, string, the beginning or the end of a name,
    assignment to an attribute, `__all__`, or that it stands in a file that does not parse.

    scope: the one that binds a plain name. through: what an attribute is asked of: "self" for self,
    cls and super(), "foreign" for what the application does not have, else "".
    """

    name: str
    line: int
    kind: str
    scope: str = ""
    through: str = ""


@dataclass(slots=True)
class _File:
    """bound: the lines in which the names of its module are bound."""

    path: str
    module: str
    imports: list[_Import] = field(default_factory=list)
    mentions: list[_Mention] = field(default_factory=list)
    bound: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


def references_to(
    inventory: Inventory,
    functions: Sequence[Function],
    *,
    together: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[Function, list[Reference]]:
    """All references to each of some functions, imports included, in the order of their places.

    What stands in the function itself does not count. together: nor does what stands in another of
    them, as they are removed together. Of a file that does not parse each line with the name is
    one, and one that cannot be read leads to all.
    """
    search = _Search(inventory, functions, together=together)
    search.read(progress)
    return {each: search.of(each) for each in functions}


def _bound(body: Iterable[ast.AST]) -> Iterator[tuple[str, int]]:
    """The names that statements bind, and the lines of these."""
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node.lineno
            case ast.Import() | ast.ImportFrom():
                for each in node.names:
                    yield each.asname or each.name.partition(".")[0], node.lineno
            case ast.Assign(targets=targets):
                yield from ((each, node.lineno) for each in _targets(targets))
            case ast.AnnAssign(target=target, value=ast.expr()) | ast.For(target=target):
                yield from ((each, node.lineno) for each in _targets([target]))
        for _, value in ast.iter_fields(node):
            if (
                isinstance(value, list)
                and value
                and isinstance(value[0], _STATEMENTS)
                and not isinstance(node, _SCOPES)
            ):
                yield from _bound(value)


def _targets(targets: Iterable[ast.expr]) -> Iterator[str]:
    for each in targets:
        for node in ast.walk(each):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


_Broken = defaultdict[tuple[str, str], set[int]]


class _Spread(NamedTuple):
    """How far imports bring a function.

    places: (module, name). visible: (path, scope, name). broken: by (path, name) the lines of a
    module that bind the name, and do so no more without the function and those that go with it.
    """

    places: set[tuple[str, str]]
    visible: set[tuple[str, str, str]]
    imports: list[Reference]
    broken: _Broken


class _Search:
    """The files that have the names of some functions, and what they say."""

    def __init__(
        self, inventory: Inventory, functions: Sequence[Function], *, together: bool
    ) -> None:
        self._inventory = inventory
        self._names = {each.name for each in functions if each.kind != "lambda"}
        self._paths = inventory.marker.sources()
        # By the last part of the name, so that many functions take not much longer than one.
        self._mentions: dict[str, list[tuple[_File, _Mention]]] = defaultdict(list)
        self._imports: dict[str, list[tuple[_File, _Import]]] = defaultdict(list)
        self._unread: list[Reference] = []
        self._files: dict[str, _File] = {}
        self._modules: dict[str, list[str]] = defaultdict(list)  # their paths
        self._together = functions if together else ()
        self._broken: _Broken = defaultdict(set)
        self._families = _Families(inventory)
        self._settings = _settings(inventory)

    def read(self, progress: Callable[[int, int], None] | None) -> None:
        """Look into all files."""
        texts = dict(self._texts())
        names = self._all_names(texts)
        own = {each.partition("/")[0].removesuffix(".py") for each in texts}
        own |= {each.partition(".")[0] for each in self._inventory.modules.values()}
        for path in texts:
            self._modules[module_of(self._inventory.root, path)].append(path)
        parts = {each for name in names for each in _beginnings(name) | _ends(name)}
        wanted = {each.encode() for each in names | parts}
        for number, (path, data) in enumerate(texts.items()):
            if progress is not None:
                progress(number, len(texts))
            if _STAR.search(data) or not wanted.isdisjoint(_words(data)):
                file = _File(path, module_of(self._inventory.root, path))
                try:
                    _Reader(file, names, own).read(parsed(data))
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    file = _File(path, file.module, mentions=list(_unparsed(data, wanted)))
                self._take(file)
        before = -1
        while (now := _size(self._broken)) != before:
            before = now
            for each in self._together:
                self._spread(each)

    def _texts(self) -> Iterator[tuple[str, bytes]]:
        for path in self._paths:
            try:
                yield path, (self._inventory.root / path).read_bytes()
            except OSError:
                self._unread.append(Reference(path, 1, UNREAD))

    def _all_names(self, texts: Mapping[str, bytes]) -> set[str]:
        """The names of the functions, and those that `as` may give to them."""
        others: dict[str, set[str]] = defaultdict(set)
        for data in texts.values():
            for name, other in _AS.findall(data):
                others[name.decode("utf-8", "replace")].add(other.decode("utf-8", "replace"))
        names, more = set[str](), self._names
        while more:
            names |= more
            more = {other for name in more for other in others.get(name, ())} - names
        return names

    def _take(self, file: _File) -> None:
        self._files[file.path] = file
        for mention in file.mentions:
            self._mentions[_last(mention.name)].append((file, mention))
        for one in file.imports:
            self._imports[one.name].append((file, one))

    def of(self, function: Function) -> list[Reference]:
        """All references to a function."""
        if function.kind == "lambda":
            return []
        found = {*self._settings(function), *self._families.references(function), *self._unread}
        found.update(self._in_texts(function))
        here = Reference(function.path, function.line, "", function.name)
        why = [*self._why(function), *self._families.why(function)]
        outside = [each for each in found if not self._inside(each, function)]
        return sorted([*outside, *(here._replace(kind=each) for each in why)])

    def _why(self, function: Function) -> Iterator[str]:
        """What the function itself says; overloads and what they are of only go together."""
        others = [each for each in self._inventory.of_key(function.key) if each != function]
        stay = any(each not in self._together for each in others)
        if function.reached and (function.reached != OVERLOAD or stay):
            yield function.reached
        elif any(each.reached == OVERLOAD and each not in self._together for each in others):
            yield "overloads of it would stay"

    def _inside(self, reference: Reference, function: Function) -> bool:
        """Whether it stands in the function, or in another one that goes with it."""
        return any(
            each.path == reference.path
            and min(each.first_line, each.line) <= reference.line <= each.end_line
            for each in (function, *self._together)
        )

    def _in_texts(self, function: Function) -> Iterator[Reference]:
        parent = function.qualname.rpartition(".")[0]
        places, visible, imports, broken = self._spread(function)
        yield from imports
        names = {name for _, name in places} or {function.name}
        dotted = {
            f"{module}{mark}{name}" for module, name in places or set() for mark in (".", ":")
        }
        if parent and not parent.endswith(_LOCALS):
            whole = f"{function.module}.{function.qualname}"
            dotted |= {whole, function.key, function.qualname}
        in_function = parent.endswith(_LOCALS)
        beginnings, ends = _beginnings(function.name), _ends(function.name)
        known = names | {name for *_, name in visible} | beginnings | ends
        for file, each in [both for name in known for both in self._mentions.get(name, ())]:
            if each.kind == "name":
                led = (file.path, each.scope, each.name) in visible
            elif each.kind == ALL:
                led = (file.path, "", each.name) in visible
            elif each.kind == UNPARSED:
                led = each.name in names and not in_function
            elif in_function or each.through == "foreign":
                led = False
            elif each.kind == ASSIGNMENT:
                led = function.kind == "property" and each.name in names
            elif each.kind == "attribute":
                led = each.name in names and bool(parent or not each.through)
            elif each.kind == "string":
                led = each.name == function.name or each.name in dotted
            else:
                led = each.name in (beginnings if each.kind == BEGINNING else ends)
            if led:
                stays = each.kind == ALL and self._has(file.module, each.name, broken)
                kind = ALL_STAYS if stays else each.kind
                yield Reference(file.path, each.line, kind, each.name)

    def _spread(self, function: Function) -> _Spread:
        """Where imports bring a function, and these."""
        parent = function.qualname.rpartition(".")[0]
        visible = {(function.path, parent, function.name)}
        imports: dict[Reference, None] = {}
        if parent:
            return _Spread(set(), visible, [], defaultdict(set))
        places = {(function.module, function.name)}
        broken = self._broken if self._together else defaultdict(set)
        broken[function.path, function.name].add(function.line)
        before = 0
        while (now := len(visible) + _size(broken)) != before:
            before = now
            imports.clear()
            for module, name in list(places):
                for file, each in (*self._imports.get(name, ()), *self._imports.get("*", ())):
                    is_sure = self._means(each.module, module)
                    if is_sure is None:
                        continue
                    local = name if each.name == "*" else each.local
                    visible.add((file.path, each.scope, local))
                    if not each.scope:
                        places.add((file.module, local))
                    if each.name != "*":
                        kind = self._kind_of(each, is_sure, self._has(module, name, broken))
                        imports[Reference(file.path, each.line, kind, name)] = None
                        if kind in (IMPORT, CAUGHT) and not each.scope:
                            broken[file.path, local].add(each.line)
        return _Spread(places, visible, list(imports), broken)

    def _means(self, written: str, module: str) -> bool | None:
        """Whether an import means a module; None if it does not, False if nobody knows.

        The root may be above the folder that is on `sys.path`; within a package it is not, unless
        a script is there.
        """
        if written == module:
            return True
        if not module.endswith(f".{written}"):
            return None
        first = written.partition(".")[0]
        is_another = written in self._modules or first in sys.stdlib_module_names
        above = module[: -len(written) - 1]
        if any(path.endswith("__init__.py") for path in self._modules.get(above, ())):
            return None if is_another else False
        return not is_another

    def _kind_of(self, one: _Import, is_sure: bool, stays: bool) -> str:
        if not is_sure:
            return UNSURE
        if stays:
            return STAYS
        return CAUGHT if one.caught else IMPORT

    def _has(self, module: str, name: str, broken: _Broken) -> bool:
        """Whether a module still has a name when some of the lines that bind it are gone."""
        waiting, seen = [module], set[str]()
        while waiting:
            seen.add(one := waiting.pop())
            for path in self._modules.get(one, ()):
                if file := self._files.get(path):
                    if file.bound.get(name, set()) - broken.get((path, name), set()):
                        return True
                    stars = (each.module for each in file.imports if each.name == "*")
                    waiting.extend(each for each in stars if each not in seen)
        return False


def _size(broken: _Broken) -> int:
    return sum(map(len, broken.values()))


def _words(data: bytes) -> list[bytes]:
    found = _WORDS.findall(data)
    if b"%" in data:  # `%s_view`, and `x %shown(y)` as well
        found += _WORDS.findall(_PLACES.sub(b" ", data))
    return found


def _unparsed(data: bytes, wanted: AbstractSet[bytes]) -> Iterator[_Mention]:
    """The wanted names of a file that does not parse."""
    for number, line in enumerate(data.split(b"\n"), 1):
        for each in wanted & {*_words(line)}:
            yield _Mention(each.decode("utf-8", "replace"), number, UNPARSED)


def _beginnings(name: str) -> set[str]:
    """`visit_` of `visit_Name`: what is written where a name is put together."""
    places = [place for place, letter in enumerate(name, 1) if letter == "_"]
    return {name[:place] for place in places if _SHORTEST <= place < len(name)}


def _ends(name: str) -> set[str]:
    """`_handler` of `get_handler`."""
    places = [place for place, letter in enumerate(name) if letter == "_"]
    return {name[place:] for place in places if 0 < place <= len(name) - _SHORTEST}


class _Reader:
    """Takes the imports and mentions of some names out of a tree."""

    def __init__(self, file: _File, names: set[str], own: set[str]) -> None:
        self._file = file
        self._names = names
        self._own = own
        self._bound: dict[str, set[str]] = defaultdict(set)
        self._global: dict[str, set[str]] = defaultdict(set)
        self._foreign: set[str] = set()
        self._found: list[_Mention] = []
        self._exports: set[ast.AST] = set()
        self._caught: set[ast.AST] = set()

    def read(self, tree: ast.Module) -> None:
        """Put all that there is into the file."""
        everything = list(_scoped(tree))
        for node, scope in everything:
            self._bind(node, scope)
        for node, scope in everything:
            self._mention(node, scope)
        for each in self._found:
            bound = self._binding(each.name, each.scope) if each.kind == "name" else each.scope
            self._file.mentions.append(each._replace(scope=bound))
        for name, line in _bound(tree.body):
            if name in self._names:
                self._file.bound[name].add(line)

    def _bind(self, node: ast.AST, scope: str) -> None:
        if type(node) is ast.Constant or type(node) is ast.Attribute:
            return
        match node:
            case ast.Name(id=name, ctx=ast.Store()):
                self._bound[scope].add(name)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._bound[scope].add(node.name)
            case ast.ExceptHandler(name=str(name)):
                self._bound[scope].add(name)
            case ast.Global():
                self._global[scope].update(node.names)
            case ast.Import():
                for each in node.names:
                    local = each.asname or each.name.partition(".")[0]
                    self._bound[scope].add(local)
                    if each.name.partition(".")[0] not in self._own:
                        self._foreign.add(local)
            case ast.ImportFrom():
                self._import_from(node, scope)
            case ast.Try() if _does_without(node):
                self._caught.update(_imports_in(node.body))

    def _import_from(self, node: ast.ImportFrom, scope: str) -> None:
        module = node.module or ""
        if node.level:
            package = self._file.module.split(".")
            up = node.level - self._file.path.endswith("__init__.py")
            package = package[: len(package) - up] if up else package
            module = ".".join([*package, *([module] if module else [])])
        for each in node.names:
            local = each.asname or each.name
            self._bound[scope].add(local)
            if each.name in self._names or each.name == "*" or local in self._names:
                caught = node in self._caught
                found = _Import(module, each.name, local, scope, node.lineno, caught)
                self._file.imports.append(found)

    def _mention(self, node: ast.AST, scope: str) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Load() | ast.Del()) if name in self._names:
                self._add(name, node, "name", scope)
            case ast.Attribute(attr=name) if name in self._names:
                kind = ASSIGNMENT if isinstance(node.ctx, ast.Store) else "attribute"
                line = node.end_lineno or node.lineno
                self._found.append(_Mention(name, line, kind, scope, self._through(node.value)))
            case ast.MatchClass(kwd_attrs=names):
                for name in self._names.intersection(names):
                    self._found.append(_Mention(name, node.lineno, "attribute", scope))
            case ast.Constant(value=str(text)) if node not in self._exports:
                if text in self._names or re.split(r"[.:]", text)[-1] in self._names:
                    self._add(text, node, "string", scope)
            case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod()):
                self._add_parts(_PERCENT.split(text), node, scope)
            case ast.BinOp(op=ast.Add()):
                self._add_parts([_constant(node.left), _constant(node.right)], node, scope)
            case ast.JoinedStr(values=values) if values:
                self._add_parts([_constant(values[0]), _constant(values[-1])], node, scope)
            case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
                self._add_parts(_BRACES.split(text), node, scope)
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                self._add_exports(value)
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                self._add_exports(value)
            case ast.AugAssign(target=ast.Name(id="__all__"), value=value):
                self._add_exports(value)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="__all__")), args=args):
                for value in args:
                    self._add_exports(value)

    def _add(self, name: str, node: ast.expr, kind: str, scope: str) -> None:
        self._found.append(_Mention(name, node.lineno, kind, scope))

    def _add_parts(self, parts: Sequence[str], node: ast.expr, scope: str) -> None:
        """What a text that is put together begins and ends with."""
        first, last = parts[0], parts[-1]
        if len(first) >= _SHORTEST and first.isidentifier() and first.endswith("_"):
            self._add(first, node, BEGINNING, scope)
        if len(last) >= _SHORTEST and last.isidentifier() and last.startswith("_"):
            self._add(last, node, END, scope)

    def _add_exports(self, value: ast.expr) -> None:
        for each in ast.walk(value):
            if isinstance(each, ast.Constant) and each.value in self._names:
                self._exports.add(each)
                self._add(str(each.value), each, ALL, "")

    def _through(self, value: ast.expr) -> str:
        match value:
            case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
                return "self"
            case ast.Constant() | ast.JoinedStr() | ast.List() | ast.Dict() | ast.Set():
                return "foreign"
        while isinstance(value, ast.Attribute):
            value = value.value
        named = value.id if isinstance(value, ast.Name) else ""
        return "foreign" if named in self._foreign else ""

    def _binding(self, name: str, scope: str) -> str:
        """The scope whose name it is; that of the module if nothing else binds it."""
        first = scope
        while scope:
            # What a class has is no name in its methods.
            if scope == first or scope.endswith(_LOCALS):
                if name in self._global[scope]:
                    return ""
                if name in self._bound[scope]:
                    return scope
            scope = _outside(scope)
        return ""


def _does_without(node: ast.Try) -> bool:
    """Whether something else is done where an import in it fails."""
    for each in node.handlers:
        types = each.type.elts if isinstance(each.type, ast.Tuple) else [each.type]
        if any(one is None or _last(ast.unparse(one)) in _CAUGHT for one in types):
            is_silent = all(isinstance(one, ast.Pass) for one in each.body) and not node.orelse
            is_more = any(not isinstance(one, ast.ImportFrom) for one in node.body)
            return not isinstance(each.body[-1], ast.Raise) and (is_more or not is_silent)
    return False


def _imports_in(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Those of statements, but of what is defined there."""
    for node in body:
        if isinstance(node, ast.ImportFrom):
            yield node
        elif isinstance(node, _STATEMENTS) and not isinstance(node, _SCOPES):
            yield from _imports_in(ast.iter_child_nodes(node))


def _constant(node: ast.expr) -> str:
    """The text that it is, if any."""
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _outside(scope: str) -> str:
    """The scope around one: `f.<locals>` is around `f.<locals>.C`, nothing around `f.<locals>`."""
    return scope.removesuffix(f".{_LOCALS}").rpartition(".")[0]


def _scoped(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """The nodes of a tree that may say something, with the scope each is in, a qualified name."""
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, scope = waiting.pop()
        if type(node) in _TELLING:
            yield node, scope
        inside = _scope_of(node, scope) if isinstance(node, _SCOPES) else scope
        for name in node._fields:
            value = getattr(node, name, None)
            within = inside if name == "body" else scope
            if type(value) is list:
                waiting.extend((each, within) for each in value if isinstance(each, ast.AST))
            elif isinstance(value, ast.AST) and name not in _SILENT:
                waiting.append((value, within))
        if inside != scope and not isinstance(node, ast.ClassDef):
            waiting.extend((each, inside) for each in _names_of(node.args))  # type: ignore[attr-defined]


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
_CAUGHT = frozenset({"ImportError", "Exception", "BaseException"})
_SILENT = frozenset({"ctx", "op"})
_TELLING = frozenset(
    {
        *(ast.Name, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Global),
        *(ast.ExceptHandler, ast.Import, ast.ImportFrom, ast.Attribute, ast.Constant, ast.BinOp),
        *(ast.JoinedStr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Call, ast.MatchClass),
        ast.Try,
    }
)


def _scope_of(node: ast.AST, scope: str) -> str:
    prefix = f"{scope}." if scope else ""
    if isinstance(node, ast.Lambda):
        return f"{prefix}<lambda>.{_LOCALS}"
    name: str = getattr(node, "name", "")
    return prefix + name if isinstance(node, ast.ClassDef) else f"{prefix}{name}.{_LOCALS}"


def _names_of(args: ast.arguments) -> list[ast.AST]:
    """The parameters as names that the function binds."""
    several = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
    return [ast.Name(each.arg, ast.Store()) for each in several if each is not None]


class _Families:
    """The classes of an application, and which of them come from which."""

    def __init__(self, inventory: Inventory) -> None:
        self._classes = inventory.classes
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._methods: dict[tuple[str, str], Function] = {}
        self._children: dict[str, set[str]] = defaultdict(set)
        for key in self._classes:
            self._by_name[_last(key)].append(key)
        for key, bases in self._classes.items():
            for base in bases:
                for parent in self._by_name.get(_last(base), ()):
                    self._children[parent].add(key)
        for each in (*inventory.functions, *inventory.ignored):
            self._methods[each.key.rpartition(".")[0], each.name] = each

    def references(self, function: Function) -> Iterator[Reference]:
        """The methods that a method stands for, and those that stand for it."""
        home = function.key.rpartition(".")[0]
        if home not in self._classes:
            return
        for key in self._reach(home, self._parents) - {home}:
            if found := self._methods.get((key, function.name)):
                yield Reference(found.path, found.line, f"overridden by {function.key}", found.name)
        for key in self._reach(home, lambda each: self._children[each]) - {home}:
            if found := self._methods.get((key, function.name)):
                yield Reference(found.path, found.line, f"overrides {function.key}", found.name)

    def why(self, function: Function) -> Iterator[str]:
        """Why a method may be called by what is outside of the application."""
        home = function.key.rpartition(".")[0]
        bases = {
            base
            for key in (self._reach(home, self._parents) if home in self._classes else ())
            for base in self._classes[key]
        }
        for base in sorted(bases):
            if not self._by_name.get(_last(base)) and _may_have(base, function.name):
                yield f"{base}, which is outside of the application, may call it"

    def _parents(self, key: str) -> Iterable[str]:
        for base in self._classes[key]:
            yield from self._by_name.get(_last(base), ())

    def _reach(self, key: str, step: Callable[[str], Iterable[str]]) -> set[str]:
        found = {key}
        waiting = [key]
        while waiting:
            for each in step(waiting.pop()):
                if each not in found:
                    found.add(each)
                    waiting.append(each)
        return found


def _last(name: str) -> str:
    return re.split(r"[.:]", name)[-1]


def _may_have(base: str, name: str) -> bool:
    """Whether a class that the application does not have may have a method of that name.

    Those of the standard library are asked; of others nobody knows.
    """
    module, _, cls = base.rpartition(".")
    if not module and hasattr(builtins, cls):
        return hasattr(getattr(builtins, cls), name)
    if module.partition(".")[0] in sys.stdlib_module_names:
        with contextlib.suppress(Exception):
            return hasattr(getattr(importlib.import_module(module), cls), name)
    return True


def _settings(inventory: Inventory) -> Callable[[Function], Iterator[Reference]]:
    """Finds the entry points that name a function."""
    lines = [
        (name, number, line)
        for name in SETTINGS
        for number, line in enumerate(_lines(inventory, name), 1)
    ]

    def found(function: Function) -> Iterator[Reference]:
        if not any(function.name in line for _, _, line in lines):
            return
        whole = rf"[\w.]*[.:]{re.escape(function.qualname)}(?!\w)"
        for name, number, line in lines:
            for each in re.finditer(rf"(?<![\w.]){whole}", line):
                module = each[0][: -len(function.qualname) - 1]
                if function.module == module or function.module.startswith(f"{module}."):
                    yield Reference(name, number, "entry point", function.name)

    return found


def _lines(inventory: Inventory, name: str) -> list[str]:
    try:
        return (inventory.root / name).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
