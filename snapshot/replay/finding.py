"""Functions that were recorded, as they are now: by their names, or by what they do."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import linecache
import os
import sys
from collections.abc import Collection, Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from snapshot.errors import CannotReanimate, FunctionNotFound
from snapshot.replay.reaching import reached
from snapshot.replay.surroundings import read_by
from snapshot.store.bytecode import code_digest
from snapshot.store.functions import find, find_code, parameters
from snapshot.store.sources import codes_of, source_of

Facts = Mapping[str, Any]


def living(key: str, facts: Facts, module: ModuleType | None = None) -> FunctionType | None:
    """The function of that key which does what the recorded one did, or else stands in its place
    now. None where its module makes such a one, but keeps none.

    Several functions may have one key, as those have that are registered somewhere under `_`.

    module: where it is, if not in the one to be imported. Raises `FunctionNotFound`.
    """
    digest, problem = bytes.fromhex(facts["code"]), None
    found: list[FunctionType] = []
    try:
        found.append(find(key, digest=digest, module=module))
    except FunctionNotFound as error:
        problem = error
    if found and code_digest(found[0].__code__) == digest:
        return found[0]
    name, _, qualname = key.partition(":")
    home = module or sys.modules.get(name)
    if home is None:
        assert problem is not None
        raise _not_imported(key, facts, problem) from problem.__cause__
    found += [each for each in _kept(home, qualname) if each not in found]
    for each in found:
        if code_digest(each.__code__) == digest:
            return each
    if _with_digest(home, qualname, digest) is not None:
        return None
    if not found:
        assert problem is not None
        raise problem
    return _likest(key, facts, found)


def made_of_its_module(
    key: str, facts: Facts, surroundings: Mapping[str, Any], module: ModuleType | None = None
) -> FunctionType:
    """The function of that key, made anew: one in another one, a lambda, or one nobody keeps.

    Raises `FunctionNotFound`.
    """
    digest = bytes.fromhex(facts["code"])
    name, _, qualname = key.partition(":")
    if "<" in key:
        try:
            code = find_code(key, digest=digest, module=module)
        except FunctionNotFound as error:
            if module is None and name not in sys.modules:
                raise _not_imported(key, facts, error) from error.__cause__
            raise
        return made(code, (module or sys.modules[name]).__dict__, surroundings)
    home = module or sys.modules[name]
    known = _with_digest(home, qualname, digest)
    assert known is not None
    function = made(known, home.__dict__, surroundings)
    from snapshot.replay.sourcetext import SourceText  # here, since few functions are made anew

    with contextlib.suppress(Exception):  # they may be made of what is not there any more
        text = SourceText(facts["source"], qualname, facts["file"])
        take_defaults(function, text.defaults(home.__dict__))
    return function


def made_of_its_source(
    key: str,
    facts: Facts,
    surroundings: Mapping[str, Any],
    module: ModuleType | None,
    overrides: Collection[str],
) -> FunctionType:
    """The function as it was, from its text, among what is there now.

    Where there is nothing of its module, it must need nothing of that. overrides: globals that are
    given to it. Raises `CannotReanimate`.
    """
    if facts["source"] is None:
        raise CannotReanimate(f"the source of {key} was not recorded: there was none")
    from snapshot.replay.sourcetext import SourceText  # as above

    qualname = key.partition(":")[2]
    names = [*surroundings.get("cells", {}), *surroundings.get("itself", ())]
    try:
        text = SourceText(facts["source"], qualname, facts["file"])
        code = text.code(names, bytes.fromhex(facts["code"]))
    except (SyntaxError, ValueError, LookupError) as error:
        raise CannotReanimate(f"the recorded source of {key} does not make it: {error}") from None
    known = {*surroundings.get("globals", {}), *overrides, *vars(builtins)}
    home = module or _imported(key, facts, {*read_by(code)} - known)
    code = _moved(code, facts["line"] - code.co_firstlineno)
    function = made(code, home.__dict__, surroundings)
    if "defaults" not in surroundings:
        try:
            take_defaults(function, text.defaults(home.__dict__))
        except Exception:  # they may be made of what is not there any more
            with contextlib.suppress(FunctionNotFound):
                take_defaults(function, find(key, module=module))
    return function


def _imported(key: str, facts: Facts, needed: set[str]) -> ModuleType:
    """The module of a function, or an empty one, if it is gone and nothing of it is needed."""
    name = key.partition(":")[0]
    try:
        return importlib.import_module(name)
    except Exception as error:
        if needed:
            raise FunctionNotFound(
                f"{_recorded_from(key, facts)}; {name} cannot be imported ({error}), of which it "
                f"reads {', '.join(sorted(needed))}: give the folder that it is in as "
                "import_path, or these in overrides",
                key=key,
            ) from error
        return ModuleType(name)


def _moved(code: CodeType, lines: int) -> CodeType:
    """The same code, so many lines further down."""
    constants = tuple(
        _moved(each, lines) if isinstance(each, CodeType) else each for each in code.co_consts
    )
    return code.replace(co_consts=constants, co_firstlineno=code.co_firstlineno + lines)


def made(code: CodeType, home: dict[str, Any], surroundings: Mapping[str, Any]) -> FunctionType:
    """A function that is found by no name, with its cells as they were recorded."""
    cells = surroundings.get("cells", {})
    closure = tuple(CellType(cells[n]) if n in cells else CellType() for n in code.co_freevars)
    function = FunctionType(code, home, code.co_name, None, closure)
    defaults, keywords = surroundings.get("defaults", (None, None))
    function.__defaults__, function.__kwdefaults__ = defaults, keywords
    for name, cell in zip(code.co_freevars, closure, strict=True):
        if name in surroundings.get("itself", ()):
            cell.cell_contents = function
    return function


def take_defaults(function: FunctionType, like: FunctionType) -> None:
    """Let a function have the defaults of another one."""
    function.__defaults__, function.__kwdefaults__ = like.__defaults__, like.__kwdefaults__


def _kept(module: ModuleType, qualname: str) -> list[FunctionType]:
    """The functions of that name which a module has anywhere, as in a registry."""
    return [
        each
        for each in reached([vars(module)])
        if type(each) is FunctionType
        and each.__code__.co_qualname == qualname
        and each.__globals__ is vars(module)
    ]


def _with_digest(module: ModuleType, qualname: str, digest: bytes) -> CodeType | None:
    """The code of that name and digest in the file of a module."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return None
    try:
        codes = codes_of("".join(linecache.getlines(file, vars(module))), file)
    except (SyntaxError, ValueError):
        return None
    return next((each for each in codes.get(qualname, []) if code_digest(each) == digest), None)


def _likest(key: str, facts: Facts, found: list[FunctionType]) -> FunctionType:
    """The one that is to be taken for one that is there no more."""
    if len({code_digest(each.__code__) for each in found}) == 1:
        return found[0]
    for each in found:  # another version of Python compiles it differently
        source = source_of(each)
        if source is not None and source.text == facts["source"]:
            return each
    same = [each for each in found if _positional(each) == tuple(facts["parameters"])]
    if len(same) == 1:  # of a property that is set, and not the one that reads
        return same[0]
    lines = ", ".join(str(each.__code__.co_firstlineno) for each in found)
    raise FunctionNotFound(
        f"there are several functions {key}, in the lines {lines} of "
        f"{found[0].__code__.co_filename}, and none is the one that was recorded: run what it was "
        "with recorded_code=True, or give each a name of its own",
        key=key,
    )


def _positional(function: FunctionType) -> tuple[str, ...]:
    names = parameters(function.__code__)
    return names.positional_only + names.positional


def _not_imported(key: str, facts: Facts, problem: FunctionNotFound) -> FunctionNotFound:
    return FunctionNotFound(
        f"{_recorded_from(key, facts)}; {problem}, or run what was recorded with "
        "recorded_code=True",
        key=key,
    )


def _recorded_from(key: str, facts: Facts) -> str:
    there = "is still there" if os.path.exists(facts["file"]) else "is not there any more"
    return f"{key} was recorded from {facts['file']}, line {facts['line']}, which {there}"
