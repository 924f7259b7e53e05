"""The text of a function that was recorded: its code and its defaults, made of it again."""

from __future__ import annotations
import __future__

import ast
import copy
import warnings
from collections.abc import Iterable, Mapping
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
        *around, self._name = qualname.split(".")
        # In a class, names that begin with two underscores are others.
        self._home = around[-1] if around and around[-1] != "<locals>" else None

    def code(self, cells: Iterable[str], digest: bytes) -> CodeType:
        """The code, which has these names of the function around it; the one of that digest, if
        there are several. Raises LookupError."""
        found = [
            each
            for flags in (0, __future__.annotations.compiler_flag)
            for each in inner_codes(self._compiled(cells, flags))
            if each.co_name == self._name
        ]
        if not found:
            raise LookupError(f"it has no function {self._name}")
        return next((each for each in found if code_digest(each) == digest), found[0])

    def _compiled(self, cells: Iterable[str], flags: int) -> CodeType:
        around = ast.parse(f"def around({', '.join(cells)}): pass")
        body = copy.deepcopy(self._tree.body)
        if self._home is not None:
            home = ast.parse(f"class {self._home}: pass")
            assert isinstance(home.body[0], ast.ClassDef)
            home.body[0].body = body
            body = home.body
        assert isinstance(around.body[0], ast.FunctionDef)
        around.body[0].body = body
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it has been compiled before
            code = compile(around, self._file, "exec", flags, dont_inherit=True)
        assert isinstance(code, CodeType)
        return code

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
