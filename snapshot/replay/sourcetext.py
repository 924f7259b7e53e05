"""The text of a function that was recorded: its code and its defaults, made of it again."""

from __future__ import annotations
import __future__

import ast
import copy
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

from snapshot.store.bytecode import code_digest
from snapshot.store.sources import inner_codes

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class SourceText:
    """That of one function, or of the statement that it is in."""

    def __init__(self, source: str, qualname: str, file: str) -> None:
        """Raises SyntaxError, ValueError."""
        self._tree = ast.parse(source)
        self._file = file
        self._qualname = qualname
        self._name = qualname.rpartition(".")[2]
        self._places = list(_places(qualname))

    def code(self, cells: Iterable[str], digest: bytes) -> CodeType:
        """The code, which has these names of the function around it; the one of that digest, if
        there are several. Raises LookupError."""
        names = [*cells]
        found: list[CodeType] = []
        for flags in (0, __future__.annotations.compiler_flag):
            for imported in ([], _called(self._tree)):
                several = self._named(self._compiled(names, flags, imported))
                for each in several:
                    if code_digest(each) == digest:
                        return each
                found = found or several
        if len(found) != 1:
            which = (
                "several functions, none of which is the one that was recorded,"
                if found
                else ("no function")
            )
            raise LookupError(f"it has {which} of the name {self._name}")
        return found[0]

    def _named(self, code: CodeType) -> list[CodeType]:
        found = [each for each in inner_codes(code) if each.co_name == self._name]
        return [each for each in found if each.co_qualname == self._qualname] or found

    def _compiled(self, cells: list[str], flags: int, imported: list[str]) -> CodeType:
        """Within classes and functions as it was, of which the innermost function has the cells.

        imported: names to be taken for those of modules, which are called in another way.
        """
        body = copy.deepcopy(self._tree.body)
        left = [each for each in cells if each != "__class__" or not self._is_in_class]
        for name, is_function in reversed(self._places):
            if is_function:
                body, left = _function(name, left, body), []
            else:
                body = _within(f"class {name}: pass", body)
        if left:
            body = _function("around", left, body)
        if imported:
            body += ast.parse(f"if False: import {', '.join(imported)}").body
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has been compiled before
            module = ast.Module(body, [])
            code = compile(module, self._file, "exec", flags, dont_inherit=True)
        assert isinstance(code, CodeType)
        return code

    @property
    def _is_in_class(self) -> bool:
        return bool(self._places) and not self._places[-1][1]

    def defaults(self, names: Mapping[str, Any]) -> FunctionType:
        """A function that has its defaults, made anew among these globals.

        Raises LookupError, and what making them raises.
        """
        for node in ast.walk(self._tree):
            if isinstance(node, _Function) and getattr(node, "name", "<lambda>") == self._name:
                like = ast.Expression(ast.Lambda(_plain(node.args), ast.Constant(None)))
                ast.fix_missing_locations(like)
                made = eval(compile(like, self._file, "eval"), dict(names))
                assert isinstance(made, FunctionType)
                return made
        raise LookupError(f"it has no function {self._name}")


def _plain(parameters: ast.arguments) -> ast.arguments:
    """Without annotations."""
    found = copy.deepcopy(parameters)
    for each in ast.walk(found):
        if isinstance(each, ast.arg):
            each.annotation = None
    return found


def _places(qualname: str) -> Iterator[tuple[str, bool]]:
    """The classes and functions that a name leads through, the outermost first, and whether each is
    a function. What has no name is in the text."""
    parts = qualname.split(".")
    for name, following in itertools.pairwise(parts):
        if name.startswith("<") and name != "<locals>":
            return
        if name != "<locals>":
            yield name, following == "<locals>"


def _function(name: str, parameters: list[str], body: list[ast.stmt]) -> list[ast.stmt]:
    return _within(f"def {name}({', '.join(parameters)}): pass", body)


def _within(head: str, body: list[ast.stmt]) -> list[ast.stmt]:
    """A class or function that has this body."""
    around = ast.parse(head).body
    assert isinstance(around[0], ast.ClassDef | ast.FunctionDef)
    around[0].body = body
    return around


def _called(tree: ast.Module) -> list[str]:
    """The names of which an attribute is called."""
    return sorted(
        {
            each.func.value.id
            for each in ast.walk(tree)
            if isinstance(each, ast.Call)
            and isinstance(each.func, ast.Attribute)
            and isinstance(each.func.value, ast.Name)
        }
    )
