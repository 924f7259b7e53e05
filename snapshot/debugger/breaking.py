"""Breakpoints, `bdb`'s own: where they are, and whether one is hit."""

from __future__ import annotations

import functools
import tokenize
from bdb import Bdb, Breakpoint, checkfuncname
from collections.abc import Iterator
from types import CodeType, FrameType

from snapshot.debugger.seeing import let_go


def lines() -> Iterator[int]:
    """The lines, of any file, at which one may be hit."""
    for breakpoint in Breakpoint.bpbynumber:
        if breakpoint is not None:
            yield breakpoint.line
            if name := breakpoint.funcname:
                yield from _beginnings(breakpoint.file, name)


def is_hit(debugger: Bdb, frame: FrameType) -> bool:
    """Whether one is hit here; it is counted, and deleted if it is temporary."""
    there = list(_there(debugger, frame))
    hit = bool(there and debugger.break_here(frame))
    if any(each.cond for each in there):
        let_go(frame)
    return hit


def would_be_hit(debugger: Bdb, frame: FrameType) -> bool:
    """Whether one is here, enabled, and its condition true; how often it is to be ignored, or was
    hit, plays no part."""
    return any(_applies(each, frame) for each in _there(debugger, frame))


def begins(file: str, name: str, line: int) -> int:
    """Where the function begins that has a line between its decorators and its body."""
    for code in _codes_of(file):
        if code.co_name == name and code.co_firstlineno <= line <= _beginning(code):
            return code.co_firstlineno
    return line


def _there(debugger: Bdb, frame: FrameType) -> Iterator[Breakpoint]:
    code = frame.f_code
    file = debugger.canonic(code.co_filename)
    for line in {frame.f_lineno, code.co_firstlineno}:
        for each in Breakpoint.bplist.get((file, line), ()):
            if each.funcname == code.co_name:
                # `bdb` takes for the first line of a function the first one that it sees.
                each.func_first_executable_line = _beginning(code)
            yield each


def _applies(breakpoint: Breakpoint, frame: FrameType) -> bool:
    if not breakpoint.enabled or not checkfuncname(breakpoint, frame):
        return False
    try:
        return not breakpoint.cond or bool(eval(breakpoint.cond, frame.f_globals, frame.f_locals))
    except Exception:
        return True  # as `bdb` has it
    finally:
        if breakpoint.cond:
            let_go(frame)


def _beginning(code: CodeType) -> int:
    """The first line of a function that is run when it is called."""
    first = code.co_firstlineno
    return next((line for *_, line in code.co_lines() if line and line != first), first)


@functools.cache
def _beginnings(file: str, name: str) -> frozenset[int]:
    """Those of all functions of that name."""
    return frozenset(_beginning(code) for code in _codes_of(file) if code.co_name == name)


def _codes_of(file: str) -> Iterator[CodeType]:
    try:
        with tokenize.open(file) as source:
            module = compile(source.read(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return
    yield from _codes_in(module)


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes_in(each)
