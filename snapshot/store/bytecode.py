"""Code: what a code object does by itself, as a digest, and what it reaches from outside.

It is read without what depends on where the text stands, and without what only a reader looks at:
lines, names of files, documentation, annotations of functions.
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
    """Of one code object: its digest, and what it and those inside it reach, in their order.

    modules: those that they import when they run, as `..shop.tax` where they are relative.
    imported: what they take of these: the name of a module, then attributes. words: attributes that
    they read of anything, and that tell what is no part of the digest.
    """

    digest: bytes
    reaches: tuple[Reach, ...]
    modules: tuple[str, ...] = ()
    imported: tuple[tuple[str, ...], ...] = ()
    words: tuple[str, ...] = ()


def code_digest(code: CodeType) -> bytes:
    """32 bytes that change with what the code itself does, whatever the functions that it calls.

    Names of files, line numbers, docstrings and annotations of the functions inside it do not
    count, and neither do the name of the function and whether it has run. The names of its
    variables do. Two kinds of annotations count: those with a condition in them, since they have
    several ends, and those that alone make a variable one that functions share.
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


_Instruction = tuple[int, int, int]  # operation, argument, and where it begins

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
# What a function is made with: from 3.14 on its annotations are a function, too.
_ANNOTATIONS, _CLOSURE = 0x4 | 0x10, 0x8
_MAKE_FUNCTION = opcode.opmap["MAKE_FUNCTION"]
_SET_ATTRIBUTE = opcode.opmap.get("SET_FUNCTION_ATTRIBUTE", -1)  # from 3.13 on
_COPY = opcode.opmap["COPY"]
_IMPORT_NAME = opcode.opmap["IMPORT_NAME"]
_IMPORT_FROM = opcode.opmap["IMPORT_FROM"]
_BETWEEN = _numbers("SWAP", "POP_TOP", "NOP")  # in `import a.b.c as d`
_STORE = _numbers("STORE_FAST", "STORE_DEREF")
_LOAD_FAST = _numbers("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW")
_LOAD_TWO = _numbers("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW")
_STORE_AND_LOAD = opcode.opmap.get("STORE_FAST_LOAD_FAST", -1)
_WORDS = frozenset(
    {
        *("__doc__", "__annotations__", "__orig_bases__", "__subclasses__"),
        *("co_firstlineno", "f_lineno", "tb_lineno"),
    }
)
_STORE_NAME = opcode.opmap["STORE_NAME"]
_IN_CLASS = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})

_OPTIMIZED = 0x1  # of no class body
_FLAGS = 0x4 | 0x8 | 0x20 | 0x80 | 0x100 | 0x200  # *args, **kwargs, generators, coroutines


def _read(code: CodeType) -> Local:
    raw = code.co_code
    instructions = _without_annotations(list(_instructions(raw)))
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
    words: dict[str, None] = {}
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
            if op in _ATTRIBUTES and name in _WORDS:
                words[name] = None
            if op in _GLOBALS:
                reach = Reach(False, (name,))
            elif op in _ATTRIBUTES and latest is not None:
                reach = Reach(latest.free, (*latest.names, name))
        elif op in _CONSTANTS:
            constant = constants[arg]
            form += (op, form_of(constant))
            if type(constant) is CodeType:
                reaches.update(_through(code, constant))
                words.update(dict.fromkeys(look_into(constant).words))
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
    imports = _imports_of(code, instructions)
    digest = hashlib.sha256(repr(whole).encode()).digest()
    return Local(digest, tuple(reaches), *imports, tuple(words))


def _instructions(raw: bytes) -> Iterator[_Instruction]:
    """All of them, without the caches."""
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


def _without_annotations(instructions: list[_Instruction]) -> list[_Instruction]:
    """With nothing in the place of what evaluates the annotations of a function and gives them to
    it: an expression before those of its closure and of its code."""
    for position, (op, arg, start) in enumerate(instructions):
        if op == _SET_ATTRIBUTE and arg & _ANNOTATIONS:
            made, rest = position, _NOP
            closed = False
            while instructions[made][0] != _MAKE_FUNCTION:
                made -= 1
                closed |= instructions[made][:2] == (_SET_ATTRIBUTE, _CLOSURE)
        elif op == _MAKE_FUNCTION and arg & _ANNOTATIONS and _SET_ATTRIBUTE < 0:
            made, rest, closed = position, op, bool(arg & _CLOSURE)
        else:
            continue
        end = _begin_of(instructions, made - 1) if closed else made - 1
        begin = None if end is None else _begin_of(instructions, end)
        if begin is not None and end is not None:
            instructions[position] = (rest, arg & ~_ANNOTATIONS, start)
            for each in range(begin, end):
                instructions[each] = (_NOP, 0, instructions[each][2])
    return instructions


def _begin_of(instructions: list[_Instruction], end: int) -> int | None:
    """Where the expression begins whose value is on the stack at an instruction; None if there are
    several ways to it."""
    depth = 0
    for position in range(end - 1, -1, -1):
        op, arg, _ = instructions[position]
        if op in _JUMPS or op == _COPY:
            return None
        depth += opcode.stack_effect(op, arg if op >= opcode.HAVE_ARGUMENT else None)
        if depth > 0:
            return position if depth == 1 else None
    return None


def _imports_of(
    code: CodeType, instructions: list[_Instruction]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """`modules` and `imported` of a `Local`: also what is taken of a variable that has a module."""
    names, variables = code.co_names, _variables(code)
    modules: dict[str, None] = {}
    taken: dict[tuple[str, ...], None] = {}
    held: dict[str, tuple[str, ...]] = {}
    early: set[str] = set()  # variables that were read before they had a module
    base: tuple[str, ...] = ()
    latest: tuple[str, ...] = ()
    members = False
    for position, (op, arg, _) in enumerate(instructions):
        if op == _IMPORT_NAME:
            level, members = _operands(code, instructions, position)
            module = "." * level + names[arg]
            modules[module] = None
            base = latest = (module if members else module.partition(".")[0],)
        elif op == _IMPORT_FROM:
            latest = (*base, names[arg])
            base = base if members else latest
        elif op in _CONSTANTS and type(inner := code.co_consts[arg]) is CodeType:
            local = look_into(inner)
            modules.update(dict.fromkeys(local.modules))
            taken.update(dict.fromkeys(local.imported))
            for first, *others in (each.names for each in local.reaches if each.free):
                if first in held:
                    taken[*held[first], *others] = None
        elif op in _ATTRIBUTES and latest:
            latest = (*latest, names[arg >> _BELOW.get(op, 0)])
        elif op not in _BETWEEN:
            stored, loaded = _moves(op, arg)
            if stored is not None and latest:
                name = variables[stored]
                before = held.get(name, latest)
                if name in early or latest[: len(before)] != before:
                    # What is read of it is not known to be of which: all of both may be.
                    taken[before] = taken[latest] = None
                held[name] = latest
            if latest and (stored is None or instructions[position - 1][0] in _ATTRIBUTES):
                taken[latest] = None
            latest = ()
            for each in loaded:
                if latest:
                    taken[latest] = None
                # The cell itself, for a function inside, is loaded as if it were a variable.
                in_cell = op not in _FREE and variables[each] in code.co_cellvars
                latest = () if in_cell else held.get(variables[each], ())
                if not latest:
                    early.add(variables[each])
    return tuple(modules), tuple(taken)


def _operands(code: CodeType, instructions: list[_Instruction], position: int) -> tuple[int, bool]:
    """Of an import: how many packages up, and whether names are taken from the module."""
    (level_op, level, _), (_, members, _) = instructions[position - 2 : position]
    above = code.co_consts[level] if level_op == _LOAD_CONST else level
    return above, bool(code.co_consts[members])


def _moves(op: int, arg: int) -> tuple[int | None, tuple[int, ...]]:
    """The variables that an instruction stores the top of the stack in, and puts there."""
    if op in _STORE:
        return arg, ()
    if op in _LOAD_FAST or op in _FREE:
        return None, (arg,)
    if op in _LOAD_TWO:
        return None, (arg >> 4, arg & 15)
    if op == _STORE_AND_LOAD:
        return arg >> 4, (arg & 15,)
    return None, ()


def _dropped(code: CodeType, instructions: list[_Instruction]) -> set[int]:
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
