"""Functions by their keys, `module:qualname`: the names that replay, memo and heat share.

The qualified name is the code's, which no decorator changes, so that a frame and a function give
the same key. What a function would do is told by `versions`, its text by `sources`.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from snapshot.errors import FunctionNotFound, UsageError
from snapshot.store.bytecode import code_digest
from snapshot.store.sources import codes_of, inner_codes

_SEARCHED = 1000  # objects that are looked at in a decorated one
_LOCALS = ".<locals>."
_VARARGS, _VARKEYWORDS = 0x4, 0x8  # flags of a code object


def key_of(subject: FunctionType | CodeType, module: str | None = None) -> str:
    """`module:qualname`; a function inside another is `module:outer.<locals>.inner`.

    module: its name, which a code object does not know: the `__name__` of the frame's globals.
    """
    if isinstance(subject, FunctionType):
        home = subject.__globals__.get("__name__") if module is None else module
        return f"{home or '?'}:{subject.__code__.co_qualname}"
    if module is None:
        raise UsageError(f"the module of {subject.co_qualname} is not known: pass module=")
    return f"{module}:{subject.co_qualname}"


def underlying(subject: object) -> FunctionType | None:
    """The plain function under decorators, None if there is none.

    Of a property it is the one that reads.
    """
    seen: list[object] = []
    while not any(each is subject for each in seen):
        seen.append(subject)
        inner = next(_wrapped(subject), None)
        if inner is None:
            return subject if type(subject) is FunctionType else None
        subject = inner
    return subject if type(subject) is FunctionType else None


def _wrapped(value: Any) -> Iterator[object]:
    """What this is a wrapper of, by attributes that say so."""
    kind = type(value)
    if issubclass(kind, type | ModuleType):
        return
    names = ["__wrapped__"]
    if issubclass(kind, staticmethod | classmethod | MethodType):
        names = ["__func__"]
    elif issubclass(kind, property):
        names = ["fget", "fset", "fdel"]
    elif issubclass(kind, _HOLDERS):
        names = ["func"]
    for name in names:
        try:
            inner = object.__getattribute__(value, name)
        except Exception:
            continue
        if inner is not None:
            yield inner


_HOLDERS = (
    functools.partial,
    functools.partialmethod,
    functools.cached_property,
    functools.singledispatchmethod,
)


def find(
    key: str, *, digest: bytes | None = None, module: ModuleType | None = None
) -> FunctionType:
    """The function of that key as it is now, without its decorators. Imports its module.

    module: where it is, if not in the one to be imported.
    digest: the `code_digest` of the one that is meant, where there are several of that name, as
    there are of lambdas and of what a property has.

    Raises `FunctionNotFound`, also for a function inside another: that one makes it, and
    `find_code` gives its code.
    """
    home, qualname = _imported(key, module)
    if _LOCALS in qualname:
        outer = qualname.partition(_LOCALS)[0]
        raise FunctionNotFound(
            f"{key} is made anew each time that {outer} is called: call that one",
            key=key,
        )
    found = _functions(home, qualname)
    if not found:
        raise _not_found(key, home, qualname)
    # A name leads to the first one; nothing says which lambda is meant.
    named = not qualname.endswith(">")
    chosen = _choose(key, [each.__code__ for each in found], digest, named)
    return next(each for each in found if each.__code__ is chosen)


def find_code(
    key: str, *, digest: bytes | None = None, module: ModuleType | None = None
) -> CodeType:
    """The code of that key as it is now, also of a function inside another. Imports its module.

    Where no name leads to the function, its code is compiled from the source of the module.

    digest, module: as for `find`. Raises `FunctionNotFound`.
    """
    home, qualname = _imported(key, module)
    outer, _, inside = qualname.partition(_LOCALS)
    found = [each.__code__ for each in _functions(home, outer)]
    if inside:
        inner = [each for code in found for each in inner_codes(code)]
        found = [each for each in inner if each.co_qualname == qualname]
    named = bool(found) and not inside and not qualname.endswith(">")
    if not found:
        found = _compiled(home, qualname)
    if not found:
        raise _not_found(key, home, qualname)
    return _choose(key, found, digest, named)


def _choose(key: str, codes: list[CodeType], digest: bytes | None, named: bool) -> CodeType:
    digests = [code_digest(each) for each in codes]
    if digest in digests:
        return codes[digests.index(digest)]
    if named or len(set(digests)) == 1:
        return codes[0]
    lines = ", ".join(str(each.co_firstlineno) for each in codes)
    raise FunctionNotFound(
        f"there are several functions {key}, in the lines {lines} of {codes[0].co_filename}, and "
        "none is the one that was meant: give it a name",
        key=key,
    )


def _imported(key: str, given: ModuleType | None) -> tuple[ModuleType, str]:
    name, colon, qualname = key.partition(":")
    if not (name and colon and qualname):
        raise FunctionNotFound(f"{key!r} is no key of a function: write module:qualname", key=key)
    if given is not None:
        return given, qualname
    try:
        return sys.modules[name] if name == "__main__" else importlib.import_module(name), qualname
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        raise FunctionNotFound(
            f"cannot look for {key}: importing {name} raised {type(error).__name__}: {text}; "
            "give the folder that it is in as import_path",
            key=key,
        ) from error


def _functions(module: ModuleType, qualname: str) -> list[FunctionType]:
    """Those whose code has that name: what the name leads to, else what others of its place do."""
    holder, name = _holder(module, qualname)
    if holder is None:
        return []
    values = [_member(holder, name)]
    found = _matching(values, module, qualname)
    return found or _matching(list(vars(holder).values()), module, qualname)


def _holder(module: ModuleType, qualname: str) -> tuple[Any, str]:
    """The module or class that has the last name; None if there is none."""
    holder: Any = module
    *path, name = qualname.split(".")
    for each in path:
        holder = _member(holder, each)
        if not issubclass(type(holder), type):
            return None, name
    return holder, name


def _member(holder: Any, name: str) -> object:
    """What a class or module has under a name, as it is kept there."""
    if not issubclass(type(holder), type):
        try:
            return getattr(holder, name, None)
        except Exception:  # of a module's own __getattr__
            return None
    if name.startswith("__") and not name.endswith("__"):
        name = f"_{holder.__name__.lstrip('_')}{name}"
    return next((vars(each)[name] for each in holder.__mro__ if name in vars(each)), None)


def _matching(values: list[object], module: ModuleType, qualname: str) -> list[FunctionType]:
    found = [
        each
        for value in values
        for each in _inside(value)
        if each.__code__.co_qualname == qualname
        and each.__globals__.get("__name__") == module.__name__
    ]
    return list({id(each): each for each in found}.values())


def _inside(value: object) -> Iterator[FunctionType]:
    """The functions in a decorated one, the outermost first."""
    waiting, seen = [value], {id(value)}
    for each in waiting:
        if type(each) is FunctionType:
            yield each
        for part in _parts(each):
            if len(seen) >= _SEARCHED:
                break
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append(part)


def _parts(value: Any) -> Iterable[object]:
    kind = type(value)
    if issubclass(kind, type | ModuleType) or kind in (str, bytes, int, float):
        return
    yield from _wrapped(value)
    if kind is FunctionType:
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:
                continue
    elif kind in (list, tuple):
        yield from value
    elif kind is dict:
        yield from value.values()
    else:
        try:
            kept = object.__getattribute__(value, "__dict__")
        except Exception:
            return
        yield from dict(kept).values()


def _compiled(module: ModuleType, qualname: str) -> list[CodeType]:
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return []
    lines = linecache.getlines(file, vars(module))
    try:
        return codes_of("".join(lines), file).get(qualname, [])
    except (SyntaxError, ValueError):
        return []


def _not_found(key: str, module: ModuleType, qualname: str) -> FunctionNotFound:
    place = getattr(module, "__file__", None) or "which has no file"
    outer = qualname.partition(_LOCALS)[0]
    holder, name = _holder(module, outer)
    prefix = outer[: -len(name)]
    if holder is None:
        holder, prefix = module, ""
    there = _member(holder, name)
    close = difflib.get_close_matches(outer.removeprefix(prefix), _callables(holder))
    if there is not None:
        found = f"the name {prefix}{name} is that of a {type(there).__qualname__}"
        if function := next(_inside(there), None):
            found = f"the name {prefix}{name} leads to {key_of(function)}"
    elif close:
        found = f"the names {', '.join(prefix + each for each in close)} are like it"
    else:
        found = "and no name is like it"
    return FunctionNotFound(
        f"there is no function {qualname} in the module {module.__name__} ({place}): {found}; if "
        "it was in another file, give the folder of that one as import_path",
        key=key,
    )


def _callables(holder: Any) -> list[str]:
    return [name for name, value in vars(holder).items() if any(_inside(value)) or callable(value)]


@dataclass(frozen=True, slots=True)
class Parameters:
    """The names of a function's parameters, by their kinds.

    varargs, varkw: of `*args` and `**kwargs`, None if there is none.
    """

    positional_only: tuple[str, ...]
    positional: tuple[str, ...]
    varargs: str | None
    keyword_only: tuple[str, ...]
    varkw: str | None


def parameters(code: CodeType) -> Parameters:
    """Those of the function that has this code."""
    names = iter(code.co_varnames)
    only = tuple(next(names) for _ in range(code.co_posonlyargcount))
    positional = tuple(next(names) for _ in range(code.co_argcount - code.co_posonlyargcount))
    keywords = tuple(next(names) for _ in range(code.co_kwonlyargcount))
    varargs = next(names) if code.co_flags & _VARARGS else None
    varkw = next(names) if code.co_flags & _VARKEYWORDS else None
    return Parameters(only, positional, varargs, keywords, varkw)


def split(code: CodeType, values: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How to call a function again: from its locals at entry, its arguments and keywords.

    Raises `UsageError` if a parameter is missing.
    """
    names = parameters(code)
    try:
        args = [values[each] for each in (*names.positional_only, *names.positional)]
        kwargs = {each: values[each] for each in names.keyword_only}
        if names.varargs is not None:
            args.extend(values[names.varargs])
        if names.varkw is not None:
            kwargs.update(values[names.varkw])
    except KeyError as error:
        raise UsageError(f"there is no value for {error.args[0]} of {code.co_qualname}") from None
    return tuple(args), kwargs
