"""Sources: the text that a function was made of, as far as there is still one."""

from __future__ import annotations

import contextlib
import functools
import linecache
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import decode_source
from types import CodeType, FunctionType
from typing import TYPE_CHECKING

from snapshot.store.bytecode import code_digest

if TYPE_CHECKING:
    import ast

_ALLOW_TOP_LEVEL_AWAIT = 0x2000  # as in a cell of IPython; nothing else is compiled differently
_LARGEST = 8 << 20  # bytes of a file that is looked into


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a function: of its whole statement, with decorators, moved to the left margin.

    line: of the file, where the text begins, from 1. stale: the file was edited since, so that
    this text is another one than the function was made of.
    """

    text: str
    file: str
    line: int
    stale: bool = False


def source_of(subject: object) -> Source | None:
    """The source of a function or code object, wherever in its file it stands by now.

    None where there is none, as for what is built in or was made from a string, or where the file
    does not have a function of that name any more. Never raises.
    """
    code, names = subject, None
    if isinstance(subject, FunctionType):
        code, names = subject.__code__, subject.__globals__
    if not isinstance(code, CodeType):
        return None
    latest: Source | None = None
    for again in (False, True):
        with contextlib.suppress(Exception):  # the file may hold anything by now
            if again:
                linecache.checkcache(code.co_filename)
            latest = _find(code, linecache.getlines(code.co_filename, names)) or latest
            if latest is not None and not latest.stale:
                return latest
    return latest


def source_in(file: str, qualname: str, line: int) -> Source | None:
    """The source that a file has now for a function of that name, the nearest one to a line.

    Nothing is imported or compiled. None where the file cannot be read, is none of Python's, or
    has no such function.
    """
    import ast

    found: ast.stmt | None = None
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):  # a pipe would be waited for
            return None
        with open(file, "rb") as source:
            text = decode_source(source.read(_LARGEST))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        for name, statement in _functions(tree):
            if name == qualname and (
                found is None or abs(_begin(statement) - line) < abs(_begin(found) - line)
            ):
                found = statement
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if found is None:
        return None
    lines = text.splitlines(keepends=True)
    return Source(_on_the_left(lines, found), file, _begin(found))


def _functions(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """The qualified name of each function, and its definition; of a lambda, its statement."""
    import ast

    waiting: list[tuple[ast.AST, str, ast.stmt | None]] = [(tree, "", None)]
    while waiting:
        node, prefix, inside = waiting.pop()
        for each in ast.iter_child_nodes(node):
            within, statement = prefix, each if isinstance(each, ast.stmt) else inside
            match each:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    yield prefix + name, each
                    within = f"{prefix}{name}.<locals>."
                case ast.ClassDef(name=name):
                    within = f"{prefix}{name}."
                case ast.Lambda() if statement is not None:
                    yield f"{prefix}<lambda>", statement
                    within = f"{prefix}<lambda>.<locals>."
            waiting.append((each, within, statement))


def codes_of(text: str, file: str) -> dict[str, list[CodeType]]:
    """Every code object that a text is compiled to, by its qualified name, in their order.

    Raises SyntaxError, and ValueError where it cannot be compiled for another reason.
    """
    found: dict[str, list[CodeType]] = {}
    for code in _compiled(text, file):
        found.setdefault(code.co_qualname, []).append(code)
    return found


@functools.lru_cache(maxsize=16)
def _compiled(text: str, file: str) -> tuple[CodeType, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has been compiled before
        whole = compile(text, file, "exec", _ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return tuple(inner_codes(whole))


def inner_codes(code: CodeType) -> Iterator[CodeType]:
    """A code object, and all that are inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from inner_codes(constant)


def _find(code: CodeType, lines: list[str]) -> Source | None:
    text = "".join(lines)
    candidates = codes_of(text, code.co_filename).get(code.co_qualname, [])
    wanted = code_digest(code)
    same = [each for each in candidates if code_digest(each) == wanted]
    if not candidates:
        return None
    nearest = min(
        same or candidates, key=lambda each: abs(each.co_firstlineno - code.co_firstlineno)
    )
    statement = _statement(_parsed(text), nearest)
    if statement is None:
        return None
    moved = _on_the_left(lines, statement)
    return Source(moved, code.co_filename, _begin(statement), stale=not same)


@functools.lru_cache(maxsize=16)
def _parsed(text: str) -> ast.Module:
    import ast

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def _statement(tree: ast.AST, code: CodeType) -> ast.stmt | None:
    """The definition of that name which begins where the code does, or the innermost statement
    that has this line."""
    import ast

    line = code.co_firstlineno
    found: ast.stmt | None = None
    inner: list[ast.AST] = [tree]
    while inner:
        node = inner.pop()
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.stmt):
                if not _begin(each) <= line <= (each.end_lineno or 0):
                    continue
                if getattr(each, "name", "") == code.co_name and _begin(each) == line:
                    return each
                if found is None or _begin(found) <= _begin(each):
                    found = each
            inner.append(each)
    return found


def _begin(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])


def _on_the_left(lines: list[str], statement: ast.stmt) -> str:
    """The lines of a statement without its indentation; what stands in a text that goes over
    several lines stays as it is, unless it is documentation."""
    import ast

    kept: set[int] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            kept.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    for node in ast.walk(statement):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                kept.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    begin = _begin(statement)
    first = lines[begin - 1]
    margin = first[: len(first) - len(first.lstrip())]
    moved = [
        line if number in kept else line.removeprefix(margin) if line.strip() else "\n"
        for number, line in enumerate(lines[begin - 1 : statement.end_lineno], begin)
    ]
    return "".join(moved)
