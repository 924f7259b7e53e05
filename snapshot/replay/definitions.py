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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from snapshot.replay.statements import Block, Kind, Piece, Reader

_NOWHERE: Any = object()


@dataclass
class _Step:
    """A piece that is running.

    calls: whether calls may be made for it. borrowed: names that it has needed as they were before
    it, and that are bound again after it.
    """

    piece: Piece
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
        reader = Reader(tree)
        self._pieces = reader.pieces
        self._binders = reader.binders
        self._changes = reader.changes
        self._additions = reader.additions
        self._stars = [each for each in self._pieces if each.star and each.kind < Kind.BODY]
        self._imports = _imports(reader.imported)
        self._codes: dict[Piece, CodeType] = {}
        self._owners: dict[str, Piece] = {}
        self._steps: list[_Step] = []
        self._waiting: list[tuple[str, Piece]] = []
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

    def binds(self, name: str) -> bool:
        """Whether the script has a global of that name."""
        return name in self._binders

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

    def _candidates(self, name: str) -> list[Piece]:
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

    def _is_running(self, piece: Piece) -> bool:
        return any(step.piece is piece for step in self._steps)

    def _refuse(self, name: str, piece: Piece, *, calls: bool) -> None:
        """Raise NameError if that piece must not be run for the name."""
        if piece.kind is Kind.BODY or (piece.kind is Kind.CALL and not calls):
            raise _missing(name, "made", piece.binds[name])
        if piece.kind is Kind.PLAIN and not isinstance(piece.node, Block):
            end = self._steps[-1].piece.index if self._steps else len(self._pieces)
            for index, line in self._changes.get(name, ()):
                if piece.index < index < end:
                    raise _missing(name, "changed", line)

    def _run(self, piece: Piece, name: str, *, calls: bool) -> None:
        """Run a piece because the name is needed, or what the piece adds to it.

        What is there already stays, unless an earlier piece has put it there.
        """
        self._seed()
        step = _Step(piece, calls or piece.kind is not Kind.PLAIN)
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

    def _later(self, piece: Piece) -> list[str]:
        """Names in the piece that a later one has bound already, and that meant something else."""
        names = {each.id for each in ast.walk(piece.node) if isinstance(each, ast.Name)}
        return [
            each
            for each in names & self._owners.keys() & self._globals.keys()
            if self._owners[each].index > piece.index
            and (self._binders[each][0].index < piece.index or hasattr(builtins, each))
        ]

    def _is_from_before(self, piece: Piece, name: str) -> bool:
        owner = self._owners.get(name)
        return owner is not None and owner.index < piece.index

    def _forget(self, name: str) -> None:
        """Undo a definition: whoever needs the name next makes it again."""
        self._globals.pop(name, None)
        if (owner := self._owners.pop(name, None)) is not None:
            owner.done = False

    def _complete(self, piece: Piece) -> None:
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
                if isinstance(error, NameError) and owner.kind is Kind.DEFINITION:
                    continue
                self._waiting.clear()
                self._forget(name)
                raise
        while self._annotating and not self._steps:
            with contextlib.suppress(Exception):
                self._resolve(self._annotating.pop())

    def _code(self, piece: Piece) -> CodeType:
        if piece not in self._codes:
            tree = ast.Module([piece.node, *self._imports], [])
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


def _imports(names: set[str]) -> list[ast.stmt]:
    """A statement that does nothing, beside which another one is compiled as in the whole script.

    What is called of a name is called in another way if the name is imported anywhere there.
    """
    if not names:
        return []
    again = ast.Import([ast.alias(each) for each in sorted(names)])
    return [ast.fix_missing_locations(ast.If(ast.Constant(False), [again], []))]


def _future_flags(tree: ast.Module) -> int:
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            for each in node.names:
                flags |= getattr(__future__, each.name).compiler_flag
    return flags
