"""The statements of a script: which names they bind, and when they may be run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

# Calls that make a value of their arguments alone and change nothing: like operators.
_HARMLESS = frozenset(
    f"{module}.{name}"
    for module, names in {
        "builtins": "bool bytearray bytes complex dict enumerate float frozenset getattr hasattr"
        " int isinstance issubclass len list max min object range reversed round set slice sorted"
        " str sum tuple type zip",
        "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
        "contextvars": "ContextVar",
        "dataclasses": "field make_dataclass",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "enum": "Enum Flag IntEnum IntFlag StrEnum auto",
        "fractions": "Fraction",
        "functools": "cache lru_cache partial",
        "logging": "getLogger",
        "operator": "attrgetter itemgetter methodcaller",
        "os.path": "basename dirname join",
        "pathlib": "Path PosixPath PurePath PurePosixPath",
        "re": "compile",
        "sys": "platform.startswith",
        "threading": "Lock RLock local",
        "types": "MappingProxyType SimpleNamespace",
        "typing": "NamedTuple NewType ParamSpec TypeVar TypeVarTuple TypedDict cast",
        "typing_extensions": "NamedTuple NewType ParamSpec TypeVar TypeVarTuple TypedDict",
        "weakref": "WeakKeyDictionary WeakSet WeakValueDictionary",
    }.items()
    for name in names.split()
)

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Import = ast.Import | ast.ImportFrom
Block = ast.If | ast.Try
_Definition: tuple[type[ast.stmt], ...] = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom),
    getattr(ast, "TypeAlias", ast.ClassDef),  # from 3.12 on
)


class Kind(IntEnum):
    """When a statement is run: a block has the highest kind of what is in it."""

    DEFINITION = 0  # when it is needed; what it needs may be made by calls
    PLAIN = 1  # when it is needed
    CALL = 2  # when a definition needs it
    BODY = 3  # never


@dataclass(eq=False)
class Piece:
    """A statement of the script's top level.

    binds: names, and the line of each. imports: those that it only imports. star: it has an
    `import *`. done: it has been run.
    """

    index: int
    node: ast.stmt
    kind: Kind
    binds: dict[str, int]
    imports: set[str]
    star: bool
    done: bool = False


class Reader:
    """Takes a script apart.

    pieces: its statements, in order. imported: the names that any of them imports. For each name,
    binders: those that bind it. additions: those that add to what it refers to, and can be run.
    changes: the index and the line of those that change it, and cannot.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._names = _imported(tree)
        names = [_Names(each) for each in tree.body]
        self._own = {name for each in names for name in each.bound}
        self.imported = {name for each in names for name in each.imported}
        self.pieces: list[Piece] = []
        self.binders: dict[str, list[Piece]] = {}
        self.additions: dict[str, list[Piece]] = {}
        self.changes: dict[str, list[tuple[int, int]]] = {}
        for index, (node, found) in enumerate(zip(tree.body, names, strict=True)):
            self._read(index, node, found)
        for name, pieces in self.binders.items():
            if any(each.kind < Kind.BODY for each in pieces):
                # What the body imports once more is the same.
                self.binders[name] = [
                    each for each in pieces if each.kind < Kind.BODY or name not in each.imports
                ]

    def _read(self, index: int, node: ast.stmt, found: _Names) -> None:
        piece = Piece(index, node, self._kind(node), found.bound, found.imports, found.star)
        if (name := self._added_to(node)) is not None:
            piece.kind = min(piece.kind, Kind.PLAIN)
            self.additions.setdefault(name, []).append(piece)
        elif piece.kind is Kind.BODY:
            for name, line in found.changed:
                self.changes.setdefault(name, []).append((index, line))
        self.pieces.append(piece)
        for name in piece.binds:
            self.binders.setdefault(name, []).append(piece)

    def _added_to(self, node: ast.stmt) -> str | None:
        """The name of what a statement adds to: `f.x = 1`, `TABLE["x"] = 1`, `@f.register`.

        What is imported is changed for others, too, and is left as it is.
        """
        found = []
        if isinstance(node, ast.Assign):
            if len(node.targets) == 1 and self._value(node.value) is Kind.PLAIN:
                found = [each for each in node.targets if not isinstance(each, ast.Name)]
        elif isinstance(node, _Function):
            decorators = [
                each.func if isinstance(each, ast.Call) else each for each in node.decorator_list
            ]
            found = [
                each
                for each in decorators
                if isinstance(each, ast.Attribute) and each.attr == "register"
            ]
        names = [name for name in map(_root, found) if name and name not in self._names]
        return names[0] if names else None

    def _kind(self, node: ast.stmt) -> Kind:
        match node:
            case ast.Assign(targets=targets, value=value):
                if all(map(_is_name, targets)):
                    return self._value(value)
            case ast.AnnAssign(target=ast.Name(), value=value):
                return Kind.PLAIN if value is None else self._value(value)
            case ast.If(test=test) if not _reads(test, "__name__"):
                if self._value(test) is Kind.PLAIN:
                    return self._kinds([*node.body, *node.orelse])
            case ast.Try():
                return self._try(node)
            case _ if isinstance(node, _Definition):
                return Kind.DEFINITION
        return Kind.BODY

    def _try(self, node: ast.Try) -> Kind:
        """A handler that does more than define is left out: what it handles is raised."""
        kind = self._kinds([*node.body, *node.orelse, *node.finalbody])
        kinds = {each: self._kinds(each.body) for each in node.handlers}
        node.handlers = [each for each in node.handlers if kinds[each] is Kind.PLAIN]
        if not node.handlers:
            node.body, node.orelse = [*node.body, *node.orelse], []
            node.finalbody = node.finalbody or [ast.copy_location(ast.Pass(), node)]
        return kind

    def _kinds(self, nodes: Iterable[ast.stmt]) -> Kind:
        """Of what is in a block, which may do nothing, too, or raise."""
        return max(
            [
                Kind.PLAIN,
                *(
                    self._kind(each)
                    for each in nodes
                    if not isinstance(each, ast.Pass | ast.Raise)
                    and not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
                ),
            ]
        )

    def _value(self, node: ast.expr) -> Kind:
        """How an expression is made."""
        match node:
            case ast.Lambda(args=args):
                parts = [*args.defaults, *(each for each in args.kw_defaults if each)]
                return max(map(self._value, parts), default=Kind.PLAIN)
            case ast.NamedExpr() | ast.Await() | ast.Yield() | ast.YieldFrom():
                return Kind.BODY
            case ast.Call(func=func):
                kind = Kind.PLAIN if self._dotted(func) in _HARMLESS else Kind.CALL
            case _:
                kind = Kind.PLAIN
        return max([kind, *map(self._value, _expressions(node))])

    def _dotted(self, node: ast.expr) -> str | None:
        """`collections.namedtuple`, by whatever name the script has imported it."""
        match node:
            case ast.Name(id=name):
                if name in self._names:
                    return self._names[name]
                return None if name in self._own else f"builtins.{name}"
            case ast.Attribute(value=value, attr=name):
                return f"{self._dotted(value)}.{name}"
        return None


class _Names(ast.NodeVisitor):
    """What a statement does to the names of its scope.

    bound: names, and the line of each. imported: those that an import binds; imports: and nothing
    else does. star: there is an `import *`. changed: names, and a line, of what an item or an
    attribute is changed of.
    """

    def __init__(self, node: ast.stmt) -> None:
        self.bound: dict[str, int] = {}
        self.imported: set[str] = set()
        self.imports: set[str] = set()
        self.star = False
        self.changed: list[tuple[str, int]] = []
        self.visit(node)

    def _bind(self, name: str, line: int) -> None:
        self.bound[name] = line
        self.imports.discard(name)

    def _change(self, node: ast.expr) -> None:
        if (name := _root(node)) is not None:
            self.changed.append((name, node.lineno))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._bind(node.name, node.lineno)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._bind(node.name, node.lineno)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind(node.name, node.lineno)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        pass

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for each in (node.iter, *node.ifs):
            self.visit(each)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._change(node.target)
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._import(node, [each.asname or each.name.partition(".")[0] for each in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._import(node, [each.asname or each.name for each in node.names])

    def _import(self, node: _Import, names: list[str]) -> None:
        for name in names:
            if name == "*":
                self.star = True
            else:
                self.imported.add(name)
                if name not in self.bound:
                    self.imports.add(name)
                self.bound[name] = node.lineno

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id, node.lineno)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node.value)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node.value)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
            self._change(node.value.func.value)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name is not None:
            self._bind(node.name, node.lineno)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name is not None:
            self._bind(node.name, node.lineno)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest is not None:
            self._bind(node.rest, node.lineno)
        self.generic_visit(node)


def _imported(tree: ast.Module) -> dict[str, str]:
    """What is imported at the top level, by the name it gets there."""
    names = {}
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            for each in node.names:
                names[each.asname or each.name.partition(".")[0]] = (
                    each.name if each.asname else each.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for each in node.names:
                names[each.asname or each.name] = f"{node.module}.{each.name}"
    return names


def _statements(nodes: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those of the top level, and of its blocks."""
    for node in nodes:
        yield node
        if isinstance(node, Block):
            yield from _statements([*node.body, *node.orelse])
        if isinstance(node, ast.Try):
            for each in node.handlers:
                yield from _statements(each.body)


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    """The parts of an expression, those of its comprehensions and arguments included."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.expr):
            yield each
        else:
            yield from _expressions(each)


def _reads(node: ast.expr, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))


def _is_name(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List):
        return all(map(_is_name, node.elts))
    return isinstance(node.value if isinstance(node, ast.Starred) else node, ast.Name)


def _root(node: ast.expr) -> str | None:
    """`a` of `a.b["c"].d`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
