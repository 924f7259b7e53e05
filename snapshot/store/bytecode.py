"""Code: what a code object does by itself, as a digest, and what it reaches from outside.

It is read without what depends on where the text stands: lines, names of files, documentation.
"""

from __future__ import annotations

import functools
import hashlib
import opcode
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

_DIGITS = 4000  # bits from which on an integer is written in hexadecimal, which has no limit

# A form is built of lists and of constants. Its `repr` says all that is in it, as no constant is a
# list, and is the same in each process, as sets are sorted.
Form = Any


def form_of(constant: Any) -> Form:
    """The form of a constant of a code object."""
    kind = type(constant)
    if kind is int and constant.bit_length() > _DIGITS:
        return ["int", hex(constant)]
    if kind is tuple:
        return ["tuple", *map(form_of, constant)]
    if kind is frozenset:
        return ["frozenset", *sorted(repr(form_of(each)) for each in constant)]
    if kind is CodeType:
        return ["code", look_into(constant).digest.hex()]
    if kind is slice:
        return ["slice", *map(form_of, (constant.start, constant.stop, constant.step))]
    return constant


@dataclass(frozen=True, slots=True)
class Reach:
    """A global, or a variable of a function around, and the attributes that are taken from it."""

    free: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Local:
    """Of one code object: its digest, and what it and those inside it reach, in their order."""

    digest: bytes
    reaches: tuple[Reach, ...]


def code_digest(code: CodeType) -> bytes:
    """32 bytes that change with what the code itself does, whatever the functions that it calls.

    Names of files, line numbers and docstrings do not count, and neither do the name of the
    function and whether it has run. The names of its variables do.
    """
    return look_into(code).digest


# By the id of a code object: hashing one takes longer than anything else here. The weak reference
# removes the entry before another object can have that id.
_known: dict[int, tuple[weakref.ref[CodeType], Local]] = {}


def look_into(code: CodeType) -> Local:
    """What is to be known of it, read once."""
    found = _known.get(id(code))
    if found is not None:
        return found[1]
    local = _read(code)
    _known[id(code)] = (weakref.ref(code, functools.partial(_forget, id(code))), local)
    return local


def _forget(number: int, _: object, forget: Callable[..., object] = _known.pop) -> None:
    forget(number, None)


_CACHE = 0
_EXTENDED = opcode.EXTENDED_ARG
_NOP = opcode.opmap["NOP"]
_LOAD_CONST = opcode.opmap["LOAD_CONST"]
_CONSTANTS = frozenset(opcode.hasconst)
_NAMES = frozenset(opcode.hasname)
_JUMPS = frozenset(opcode.hasjrel)
_BACKWARD = frozenset(op for op in _JUMPS if "BACKWARD" in opcode.opname[op])
_NEW = sys.version_info >= (3, 12)
# How many bits of the argument stand below the index of a name.
_BELOW = {
    opcode.opmap["LOAD_GLOBAL"]: 1,
    opcode.opmap["LOAD_ATTR"]: 1 if _NEW else 0,
    opcode.opmap.get("LOAD_SUPER_ATTR", -1): 2,
}


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(opcode.opmap[name] for name in names if name in opcode.opmap)


_GLOBALS = _numbers("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_FREE = _numbers("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
_ATTRIBUTES = _numbers("LOAD_ATTR", "LOAD_METHOD")
_STORE_NAME = opcode.opmap["STORE_NAME"]
_IN_CLASS = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})

_OPTIMIZED = 0x1  # of no class body
_FLAGS = 0x4 | 0x8 | 0x20 | 0x80 | 0x100 | 0x200  # *args, **kwargs, generators, coroutines


def _read(code: CodeType) -> Local:
    raw = code.co_code
    instructions = list(_instructions(raw))
    dropped = _dropped(code, instructions)
    places: dict[int, int] = {}  # of each instruction: how many that count stand before it
    count = 0
    for position, (_, _, start) in enumerate(instructions):
        places[start] = count
        count += position not in dropped
    places[len(raw)] = count

    names, constants = code.co_names, code.co_consts
    variables = _variables(code)
    form: list[Form] = []
    reaches: dict[Reach, None] = {}
    latest: Reach | None = None
    for position, (op, arg, _) in enumerate(instructions):
        if position in dropped:
            continue
        reach: Reach | None = None
        if latest is not None and op not in _ATTRIBUTES:
            reaches[latest] = None
        if op in _NAMES:
            below = _BELOW.get(op, 0)
            name = names[arg >> below]
            form += (op, name, arg & ((1 << below) - 1))
            if op in _GLOBALS:
                reach = Reach(False, (name,))
            elif op in _ATTRIBUTES and latest is not None:
                reach = Reach(latest.free, (*latest.names, name))
        elif op in _CONSTANTS:
            constant = constants[arg]
            form += (op, form_of(constant))
            if type(constant) is CodeType:
                reaches.update(_through(code, constant))
        elif op in _JUMPS:
            after = instructions[position + 1][2] if position + 1 < len(instructions) else len(raw)
            form += (op, places[after + (-2 * arg if op in _BACKWARD else 2 * arg)])
        else:
            form += (op, arg)
            if op in _FREE and variables[arg] in code.co_freevars:
                reach = Reach(True, (variables[arg],))
        latest = reach
    whole = [
        *(code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        *(code.co_flags & _FLAGS, code.co_varnames, code.co_cellvars, code.co_freevars),
        form,
        [_handler(places, *each) for each in _handlers(code.co_exceptiontable)],
    ]
    return Local(hashlib.sha256(repr(whole).encode()).digest(), tuple(reaches))


def _instructions(raw: bytes) -> Iterator[tuple[int, int, int]]:
    """Operation, argument, and where it begins, without the caches."""
    arg, start = 0, -1
    for at in range(0, len(raw), 2):
        op = raw[at]
        if op == _CACHE:
            continue
        if start < 0:
            start = at
        arg |= raw[at + 1]
        if op == _EXTENDED:
            arg <<= 8
            continue
        yield op, arg, start
        arg, start = 0, -1


def _dropped(code: CodeType, instructions: list[tuple[int, int, int]]) -> set[int]:
    """Those that do nothing, for a line of their own, and the documentation of a class."""
    dropped = {position for position, (op, _, _) in enumerate(instructions) if op == _NOP}
    if not code.co_flags & _OPTIMIZED:
        for position, (op, arg, _) in enumerate(instructions):
            if (
                op == _STORE_NAME
                and code.co_names[arg] in _IN_CLASS
                and instructions[position - 1][0] == _LOAD_CONST
            ):
                dropped |= {position - 1, position}
    return dropped


def _variables(code: CodeType) -> tuple[str, ...]:
    own = code.co_varnames
    return (*own, *(each for each in code.co_cellvars if each not in own), *code.co_freevars)


def _through(code: CodeType, inner: CodeType) -> dict[Reach, None]:
    """What a function inside reaches that is no variable of this one."""
    return {
        reach: None
        for reach in look_into(inner).reaches
        if not reach.free or reach.names[0] in code.co_freevars
    }


def _handlers(table: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Begin, length, target and depth of each entry of a table of exceptions."""
    numbers, value = [], 0
    for byte in table:
        value = value << 6 | byte & 63
        if not byte & 64:
            numbers.append(value)
            value = 0
    yield from zip(*[iter(numbers)] * 4, strict=True)


def _handler(places: dict[int, int], start: int, length: int, target: int, depth: int) -> Form:
    return [places[2 * start], places[2 * (start + length)], places[2 * target], depth]
