"""What a script defines, without running it: each definition comes into being when it is needed.

The body of a script may take long, or delete files. So the functions of it that run again get a
module in which, at first, there is nothing. Whoever reads a global that is not there yet asks the
builtins for it, which are ours, and make it of the statements that define it.

The module's own dict is the globals: an exact dict, which the interpreter's inline caches want. A
dict with `__missing__` in its place would not be asked by class bodies, and would be, in Python, at
each read of a builtin. As the builtins one is asked wherever a name is read, and only once.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import functools
import importlib
import io
import linecache
import re
import sys
import threading
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_NOWHERE: Any = object()

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
_Block = ast.If | ast.Try
_Definition: tuple[type[ast.stmt], ...] = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom),
    getattr(ast, "TypeAlias", ast.ClassDef),  # from 3.12 on
)


class _Kind(IntEnum):
    """When a statement is run: a block has the highest kind of what is in it."""

    DEFINITION = 0  # when it is needed; what it needs may be made by calls
    PLAIN = 1  # when it is needed
    CALL = 2  # when a definition needs it
    BODY = 3  # never


@dataclass(eq=False)
class _Piece:
    """A statement of the script's top level.

    binds: names, and the line of each. imports: those that it only imports. star: it has an
    `import *`. done: it has been run.
    """

    index: int
    node: ast.stmt
    kind: _Kind
    binds: dict[str, int]
    imports: set[str]
    star: bool
    done: bool = False


@dataclass
class _Step:
    """A piece that is running.

    calls: whether calls may be made for it. borrowed: names that it has needed as they were before
    it, and that are bound again after it.
    """

    piece: _Piece
    calls: bool
    borrowed: set[str] = field(default_factory=set)


class Definitions:
    """The definitions of a script, and the module they are in.

    module: its `__dict__` is the globals of what is defined; an attribute that is not there yet is
    defined, too.

    An import, a function or a class is defined when somebody needs it, and so is an assignment of
    what is made without calls, or with a few that are known to do nothing else. One with any other
    call is run only where a definition needs it: its decorators, bases, defaults, class body. What
    a function reads while it runs was recorded, or is missing.

    Of several definitions of a name the last one is taken; while another definition is being made,
    the last one before that.
    """

    module: ModuleType

    def __init__(
        self,
        source: str,
        file: str,
        name: str = "__main__",
        *,
        values: Mapping[str, object] = {},
        package: str | None = None,
    ) -> None:
        """values: globals that are known, which go before what the script says.

        package: of a script that was run with `-m`; empty for a module without one.

        Raises SyntaxError.
        """
        self._source = source.removeprefix("\ufeff")
        self._file = file
        tree = ast.parse(self._source, file)
        self._flags = _future_flags(tree)
        reader = _Reader(tree)
        self._pieces = reader.pieces
        self._binders = reader.binders
        self._changes = reader.changes
        self._additions = reader.additions
        self._stars = [each for each in self._pieces if each.star and each.kind < _Kind.BODY]
        self._codes: dict[_Piece, CodeType] = {}
        self._owners: dict[str, _Piece] = {}
        self._steps: list[_Step] = []
        self._waiting: list[tuple[str, _Piece]] = []
        self._annotating: list[str] = []
        self._seeded = False
        # Held while a definition is being made: what is running belongs to the holder.
        self._lock = threading.RLock()
        self.module = _Module(name, ast.get_docstring(tree, clean=False))
        self.module._definitions = self
        self._globals = self.module.__dict__
        self._globals.update(values)
        self._globals.update(
            __name__=name,
            __file__=file,
            __package__=package,
            __spec__=None if package is None else _spec(package, file),
            __builtins__=_Builtins(self, {*self._binders}, all_=bool(self._stars)),
        )

    def get(self, name: str) -> object:
        """The global of that name, defined now if it was not yet.

        Raises NameError, which says why it cannot be, and whatever the definition raises.
        """
        return self._get(name, calls=False)

    def find_class(self, module: str, name: str) -> Any:
        """What an unpickler has to find. What a pickle names is a definition, also one by a call.

        Raises AttributeError, ImportError, and what `get` does.
        """
        first, *rest = name.split(".")
        if module == self.module.__name__:
            found = self._get(first, calls=True)
        else:
            found = getattr(importlib.import_module(module), first)
        return functools.reduce(getattr, rest, found)

    @contextlib.contextmanager
    def as_main(self) -> Iterator[ModuleType]:
        """In the block the module is the one in `sys.modules`, as pickles by reference want it.

        The module that was there before is put back: it may be the caller's own `__main__`.
        """
        name = self.module.__name__
        before = sys.modules.get(name)
        sys.modules[name] = self.module
        try:
            yield self.module
        finally:
            if before is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = before

    def _get(self, name: str, *, calls: bool) -> Any:
        found = self._resolve(name, calls=calls)
        if found is _NOWHERE:
            raise NameError(f"there is no `{name}` in {self._file}", name=name)
        return found

    def _resolve(self, name: str, *, calls: bool = False) -> Any:
        """The global of that name, or `_NOWHERE`. calls: whether calls may be made for it."""
        with self._lock:
            if name in self._globals:
                return self._globals[name]
            if self._steps:
                calls = self._steps[-1].calls
            for piece in reversed(self._candidates(name)):
                if piece.done:
                    continue
                self._refuse(name, piece, calls=calls)
                self._run(piece, name, calls=calls)
                if name in self._globals:
                    return self._globals[name]
            if not name.startswith("__"):
                for piece in reversed(self._stars):
                    if not piece.done and not self._is_running(piece):
                        self._run(piece, "*", calls=True)
                        if name in self._globals:
                            return self._globals[name]
            return _NOWHERE

    def _candidates(self, name: str) -> list[_Piece]:
        """The pieces that may bind it: where one is running, those before it go first."""
        pieces = [each for each in self._binders.get(name, ()) if not self._is_running(each)]
        if not self._steps:
            return pieces
        step = self._steps[-1]
        before = [each for each in pieces if each.index < step.piece.index]
        if not before:
            return [] if hasattr(builtins, name) else pieces
        if before[-1] is not self._binders[name][-1]:
            step.borrowed.add(name)
        return before

    def _is_running(self, piece: _Piece) -> bool:
        return any(step.piece is piece for step in self._steps)

    def _refuse(self, name: str, piece: _Piece, *, calls: bool) -> None:
        """Raise NameError if that piece must not be run for the name."""
        if piece.kind is _Kind.BODY or (piece.kind is _Kind.CALL and not calls):
            raise _missing(name, "made", piece.binds[name])
        if piece.kind is _Kind.PLAIN and not isinstance(piece.node, _Block):
            end = self._steps[-1].piece.index if self._steps else len(self._pieces)
            for index, line in self._changes.get(name, ()):
                if piece.index < index < end:
                    raise _missing(name, "changed", line)

    def _run(self, piece: _Piece, name: str, *, calls: bool) -> None:
        """Run a piece because the name is needed, or what the piece adds to it.

        What is there already stays, unless an earlier piece has put it there.
        """
        self._seed()
        step = _Step(piece, calls or piece.kind is not _Kind.PLAIN)
        kept = {
            each: self._globals[each]
            for each in piece.binds
            if each in self._globals and not self._is_from_before(piece, each)
        }
        new = piece.binds.keys() - kept.keys()
        later = {each: (self._globals.pop(each), self._owners[each]) for each in self._later(piece)}
        self._steps.append(step)
        try:
            with self.as_main():
                self._prepare_annotations(piece.node)
                if piece.star:
                    found: dict[str, object] = {}
                    exec(self._code(piece), self._globals, found)
                    for each, value in found.items():
                        if each in new or each not in self._binders:
                            self._globals.setdefault(each, value)
                else:
                    exec(self._code(piece), self._globals)
        except BaseException as error:
            line = piece.binds.get(name, piece.node.lineno)
            error.add_note(f"snapshot: in the definition of `{name}`, line {line} of {self._file}")
            for each in new:
                self._forget(each)
            raise
        else:
            piece.done = True
            self._owners.update(dict.fromkeys(new & self._globals.keys(), piece))
        finally:
            self._steps.pop()
            self._globals.update(kept)
            for each in step.borrowed:
                if self._is_from_before(piece, each):
                    self._forget(each)
            for each, (value, owner) in later.items():
                self._globals[each], self._owners[each] = value, owner
        self._complete(piece)

    def _later(self, piece: _Piece) -> list[str]:
        """Names in the piece that a later one has bound already, and that meant something else."""
        names = {each.id for each in ast.walk(piece.node) if isinstance(each, ast.Name)}
        return [
            each
            for each in names & self._owners.keys() & self._globals.keys()
            if self._owners[each].index > piece.index
            and (self._binders[each][0].index < piece.index or hasattr(builtins, each))
        ]

    def _is_from_before(self, piece: _Piece, name: str) -> bool:
        owner = self._owners.get(name)
        return owner is not None and owner.index < piece.index

    def _forget(self, name: str) -> None:
        """Undo a definition: whoever needs the name next makes it again."""
        self._globals.pop(name, None)
        if (owner := self._owners.pop(name, None)) is not None:
            owner.done = False

    def _complete(self, piece: _Piece) -> None:
        """Run what adds to what a piece has bound, once nothing else is running."""
        for name in piece.binds:
            if self._owners.get(name) is piece:
                self._waiting += [
                    (name, each)
                    for each in self._additions.get(name, ())
                    if each.index > piece.index
                ]
        while self._waiting and not self._steps:
            name, each = self._waiting.pop(0)
            owner = self._owners.get(name)
            if owner is None or (each.done and each.binds):
                continue
            try:
                self._run(each, name, calls=False)
            except BaseException as error:
                # A function or a class is of use, too, without an attribute that is missing.
                if isinstance(error, NameError) and owner.kind is _Kind.DEFINITION:
                    continue
                self._waiting.clear()
                self._forget(name)
                raise
        while self._annotating and not self._steps:
            with contextlib.suppress(Exception):
                self._resolve(self._annotating.pop())

    def _code(self, piece: _Piece) -> CodeType:
        if piece not in self._codes:
            tree = ast.Module([piece.node], [])
            self._codes[piece] = compile(tree, self._file, "exec", self._flags, dont_inherit=True)
        return self._codes[piece]

    def _prepare_annotations(self, node: ast.stmt) -> None:
        """Import what annotations of a class name; what else they name is defined after it.

        Where they are strings, `dataclasses` and `typing.get_type_hints` look into the module's
        dict, and ask nobody.
        """
        if not isinstance(node, ast.ClassDef):
            return
        for each in node.body:
            if isinstance(each, ast.AnnAssign):
                for name in re.findall(r"[^\W\d]\w*", ast.unparse(each.annotation)):
                    pieces = self._binders.get(name, ())
                    if any(name in piece.imports for piece in pieces):
                        with contextlib.suppress(ImportError, NameError):
                            self._resolve(name)
                    elif pieces:
                        self._annotating.append(name)

    def _seed(self) -> None:
        """Let tracebacks and pdb show this source where the file has another, or is not there."""
        if self._seeded:
            return
        self._seeded = True
        lines = io.StringIO(self._source, newline=None).readlines()
        try:
            with tokenize.open(self._file) as file:
                if file.readlines() == lines:
                    return
        except (OSError, SyntaxError, ValueError):
            pass
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        linecache.cache[self._file] = (len(self._source), None, lines, self._file)


class _Module(ModuleType):
    __slots__ = ("_definitions",)

    _definitions: Definitions

    def __getattr__(self, name: str) -> Any:
        try:
            found = self._definitions._resolve(name)
        except NameError as error:
            raise AttributeError(str(error), name=name, obj=self) from error
        if found is _NOWHERE:
            message = f"module {self.__name__!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)
        return found


class _Builtins(dict[str, Any]):
    """The builtins of a script: what is asked of them is in no globals yet.

    hidden: names that are asked for, though there is a builtin. all_: each is.
    """

    def __init__(self, definitions: Definitions, hidden: set[str], *, all_: bool) -> None:
        super().__init__(
            (name, value)
            for name, value in vars(builtins).items()
            if name.startswith("__") or not (all_ or name in hidden)
        )
        self._definitions = definitions
        self._hidden = hidden

    def __missing__(self, name: str) -> Any:
        """Raises KeyError for what is nowhere, which the interpreter makes a NameError of."""
        try:
            found = self._definitions._resolve(name)
        except KeyError as error:
            raise NameError(f"`{name}` cannot be defined: KeyError: {error}", name=name) from error
        if found is _NOWHERE:
            found = vars(builtins)[name]
            if name not in self._hidden and not self._definitions._steps:
                self[name] = found
        return found


class _Reader:
    """Takes a script apart.

    pieces: its statements, in order. For each name, binders: those that bind it. additions: those
    that add to what it refers to, and can be run. changes: the index and the line of those that
    change it, and cannot.
    """

    def __init__(self, tree: ast.Module) -> None:
        self._names = _imported(tree)
        names = [_Names(each) for each in tree.body]
        self._own = {name for each in names for name in each.bound}
        self.pieces: list[_Piece] = []
        self.binders: dict[str, list[_Piece]] = {}
        self.additions: dict[str, list[_Piece]] = {}
        self.changes: dict[str, list[tuple[int, int]]] = {}
        for index, (node, found) in enumerate(zip(tree.body, names, strict=True)):
            self._read(index, node, found)
        for name, pieces in self.binders.items():
            if any(each.kind < _Kind.BODY for each in pieces):
                # What the body imports once more is the same.
                self.binders[name] = [
                    each for each in pieces if each.kind < _Kind.BODY or name not in each.imports
                ]

    def _read(self, index: int, node: ast.stmt, found: _Names) -> None:
        piece = _Piece(index, node, self._kind(node), found.bound, found.imports, found.star)
        if (name := self._added_to(node)) is not None:
            piece.kind = min(piece.kind, _Kind.PLAIN)
            self.additions.setdefault(name, []).append(piece)
        elif piece.kind is _Kind.BODY:
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
            if len(node.targets) == 1 and self._value(node.value) is _Kind.PLAIN:
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

    def _kind(self, node: ast.stmt) -> _Kind:
        match node:
            case ast.Assign(targets=targets, value=value):
                if all(map(_is_name, targets)):
                    return self._value(value)
            case ast.AnnAssign(target=ast.Name(), value=value):
                return _Kind.PLAIN if value is None else self._value(value)
            case ast.If(test=test) if not _reads(test, "__name__"):
                if self._value(test) is _Kind.PLAIN:
                    return self._kinds([*node.body, *node.orelse])
            case ast.Try():
                return self._try(node)
            case _ if isinstance(node, _Definition):
                return _Kind.DEFINITION
        return _Kind.BODY

    def _try(self, node: ast.Try) -> _Kind:
        """A handler that does more than define is left out: what it handles is raised."""
        kind = self._kinds([*node.body, *node.orelse, *node.finalbody])
        kinds = {each: self._kinds(each.body) for each in node.handlers}
        node.handlers = [each for each in node.handlers if kinds[each] is _Kind.PLAIN]
        if not node.handlers:
            node.body, node.orelse = [*node.body, *node.orelse], []
            node.finalbody = node.finalbody or [ast.copy_location(ast.Pass(), node)]
        return kind

    def _kinds(self, nodes: Iterable[ast.stmt]) -> _Kind:
        """Of what is in a block, which may do nothing, too, or raise."""
        return max(
            [
                _Kind.PLAIN,
                *(
                    self._kind(each)
                    for each in nodes
                    if not isinstance(each, ast.Pass | ast.Raise)
                    and not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
                ),
            ]
        )

    def _value(self, node: ast.expr) -> _Kind:
        """How an expression is made."""
        match node:
            case ast.Lambda(args=args):
                parts = [*args.defaults, *(each for each in args.kw_defaults if each)]
                return max(map(self._value, parts), default=_Kind.PLAIN)
            case ast.NamedExpr() | ast.Await() | ast.Yield() | ast.YieldFrom():
                return _Kind.BODY
            case ast.Call(func=func):
                kind = _Kind.PLAIN if self._dotted(func) in _HARMLESS else _Kind.CALL
            case _:
                kind = _Kind.PLAIN
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

    bound: names, and the line of each. imports: those that only an import binds. star: there is an
    `import *`. changed: names, and a line, of what an item or an attribute is changed of.
    """

    def __init__(self, node: ast.stmt) -> None:
        self.bound: dict[str, int] = {}
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


def _missing(name: str, how: str, line: int) -> NameError:
    return NameError(
        f"`{name}` is {how} by a statement of the body, line {line}, which is not run again: "
        f"give it in overrides={{{name!r}: ...}}",
        name=name,
    )


def _spec(package: str, file: str) -> ModuleSpec:
    """That of a program that was run with `-m`."""
    name = Path(file).stem
    spec = ModuleSpec(f"{package}.{name}" if package else name, None, origin=file)
    spec.has_location = True
    return spec


def _future_flags(tree: ast.Module) -> int:
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for each in node.names:
                flags |= getattr(__future__, each.name).compiler_flag
    return flags


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
        if isinstance(node, _Block):
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
