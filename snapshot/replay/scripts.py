"""Scripts and tests that make a recorded call again."""

from __future__ import annotations

import ast
import linecache
import math
import os
import re
import textwrap
from keyword import iskeyword
from typing import Any
from urllib.parse import urlsplit

from snapshot.errors import StoreError
from snapshot.replay.programs import MAINS
from snapshot.store import Store, wording
from snapshot.store.bytecode import code_digest
from snapshot.store.calls import Call, Failure, Stored
from snapshot.store.events import Outcome
from snapshot.store.place import VARIABLE
from snapshot.store.sources import codes_of

_LONG = 1000  # characters up to which a value is written as a literal
# Names in a test, also those that stand in literals.
_OURS = frozenset(
    {"asyncio", "monkeypatch", "pytest", "raised"}
    | {"complex", "float", "frozenset", "list", "set", "str"}
)


def reanimation_script(store: Store, call: Call) -> str:
    """A program that makes the call again, and says whether what came of it is what was recorded.

    It ends with status 0 if it is, else 1.
    """
    return f'''\
"""Make {_described(call)} again, in a disposable fork."""

{_imports(store)}import sys

from snapshot.errors import SnapshotError
from snapshot.replay import reanimate_function

try:
    found = reanimate_function({str(call.id)!r}, {_where(store)}, compare=True)
except SnapshotError as error:
    sys.exit(f"It could not be made: {{error}}")
print(found.output, end="")
print(f"Result: {{found.value!r}}" if found.error is None else f"Error: {{found.error!r}}")
print(found)
sys.exit(0 if found.matches else 1)
'''


def pytest_script(store: Store, call: Call) -> str:
    """A test that makes the call again; with the arguments as literals, where they can be."""
    return (
        _literal_test(store, call)
        or f'''\
"""{_described(call, capital=True)}, made again."""

{_imports(store)}from snapshot.replay import reanimate_function


def test_{_name(call)}() -> None:
    found = reanimate_function({str(call.id)!r}, {_where(store)}, compare=True)
    assert found.matches, found
'''
    )


def _described(call: Call, *, capital: bool = False) -> str:
    key = "".join(
        each if each.isprintable() and each not in '"\\' else "?" for each in call.function.key
    )
    when = wording.when(call.started)
    return f"{'Call' if capital else 'call'} {call.id} of {key}, recorded {when}"


def _where(store: Store) -> str:
    """How the store is written; a URL with a password is left to the environment."""
    if _has_secrets(store):
        return f"os.environ[{VARIABLE!r}]"
    return repr(store.place.url or os.fspath(store.place.path))


def _imports(store: Store) -> str:
    return "import os\n" if _has_secrets(store) else ""


def _has_secrets(store: Store) -> bool:
    url = store.place.url
    return url is not None and ("password" in url or bool(urlsplit(url).password))


def _name(call: Call) -> str:
    name = call.function.key.partition(":")[2]
    plain = "".join(each if f"_{each}".isidentifier() else "_" for each in name).strip("_")
    return f"{plain or 'call'}_{call.id}"


def _literal_test(store: Store, call: Call) -> str | None:
    """None where something of it can be no literal, or no import leads to the function."""
    module, _, name = call.function.key.partition(":")
    kind = call.function.facts["kind"]
    if not _can_be_imported(module, name) or _is_hidden(call) or kind == "async generator":
        return None
    if _is_decorated(call):
        return None
    if call.outcome in (Outcome.running, Outcome.closed):
        return None
    try:
        args, kwargs = _plain(store, call.arguments)
        after = None if call.after is None else _plain(store, call.after)
        result = None if call.outcome is Outcome.raised else _plain(store, call.result)
        read = {} if call.surroundings is None else _plain(store, call.surroundings)
        if not (isinstance(read, dict) and all(map(_is_name, kwargs))):
            return None
        if any(read.get(each) for each in ("named", "cells", "same")):
            return None
        if _holds_twice([args, kwargs, read.get("globals")]) or _holds_twice(after):
            return None  # literals would be two objects
        if read.get("globals") and name in module.split("."):
            return None  # the name of the module would be that of the function
        globals_ = {each: _literal(value) for each, value in read.get("globals", {}).items()}
        before = [f"    {_variable(n)} = {_literal(each)}" for n, each in enumerate(args)]
        before += [f"    argument_{each} = {_literal(v)}" for each, v in kwargs.items()]
        names = [_variable(n) for n in range(len(args))]
        written = [_literal(each) for each in args]
        words = [f"{each}={_literal(value)}" for each, value in kwargs.items()]
        if after is not None:
            written, words = names, [f"{each}=argument_{each}" for each in kwargs]
        changed = {} if after is None else dict(zip(names, after[0], strict=True))
        if after is not None:
            changed |= {f"argument_{each}": value for each, value in after[1].items()}
        made = f"{name}({', '.join(written + words)})"
        if kind == "coroutine":
            made = f"asyncio.run({made})"
        if kind == "generator":
            made = f"list({made})"
        ended = [_compared(made, result), *(_compared(*each) for each in changed.items())]
    except (_NoLiteral, StoreError, TypeError, ValueError):  # or the store holds something else
        return None
    imports = [f"import {module}" if globals_ else "", f"from {module} import {name}"]
    if kind == "coroutine":
        imports = ["import asyncio", "", *imports]
    lines = [f"    monkeypatch.setattr({module}, {each!r}, {v})" for each, v in globals_.items()]
    lines += before if after is not None else []
    parameter = "monkeypatch: pytest.MonkeyPatch" if globals_ else ""
    if call.outcome is Outcome.raised:
        assert call.failure is not None
        if (raised := _raised(call.failure, name, made)) is None:
            return None
        lines += raised[0]
        imports += raised[1]
        ended = ended[1:]
    lines += [f"    assert {each}" for each in ended]
    if globals_ or call.outcome is Outcome.raised:
        imports = ["import pytest", "", *imports]
    return _test(call, imports, lines, parameter)


def _raised(failure: Failure, name: str, made: str) -> tuple[list[str], list[str]] | None:
    """Lines that expect the exception of a call, and what they import; None where none can.

    name: of the function, and no exception's then. made: the call.
    """
    error = _exception(failure.type)
    if error is None or error[0] == name:
        return None
    if re.search(r"\\(0|ud)", failure.text):  # stored as escapes
        return None
    if re.search(r"\bat 0x", failure.text):  # where something was then
        return None
    lines = [
        f"    with pytest.raises({error[0]}) as raised:",
        f"        {made}",
        f"    assert str(raised.value) == {failure.text!r}",
    ]
    return lines, [each for each in error[1:] if each]


def _can_be_imported(module: str, name: str) -> bool:
    """By a test, in which it is neither taken for a test nor for something else."""
    parts = *module.split("."), name
    if module in MAINS or not _OURS.isdisjoint(parts):
        return False
    return not name.startswith(("test", "Test", "argument_")) and all(map(_is_name, parts))


def _is_hidden(call: Call) -> bool:
    """Whether another function of that name comes after it in its file."""
    facts = call.function.facts
    if not os.path.isfile(facts["file"]):  # a pipe would be waited for
        return False
    linecache.checkcache(facts["file"])  # it may have been edited since
    try:
        codes = codes_of("".join(linecache.getlines(facts["file"])), facts["file"])
    except (SyntaxError, ValueError):
        return False
    found = codes.get(call.function.key.partition(":")[2], [])
    return len(found) > 1 and code_digest(found[-1]).hex() != facts["code"]


def _is_decorated(call: Call) -> bool:
    """Whether its name leads to what another decorator than `record` has made of it."""
    try:
        (definition,) = ast.parse(textwrap.dedent(call.function.facts["source"] or "")).body
    except (SyntaxError, ValueError):
        return False
    outermost = [*map(ast.unparse, getattr(definition, "decorator_list", []))][:1]
    return not all(re.match(r"(\w+\.)*record\b", each) for each in outermost)


def _holds_twice(value: Any) -> bool:
    """Whether one and the same object that may change is in it in several places."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | dict | set):
            if id(each) in seen:
                return True
            seen.add(id(each))
        if isinstance(each, list | tuple):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
    return False


def _test(call: Call, imports: list[str], lines: list[str], parameter: str) -> str:
    """The text of one. imports: with an empty line between groups."""
    head = "\n".join(each for n, each in enumerate(imports) if each or (n and imports[n - 1]))
    body = "\n".join(lines)
    return f'''\
"""{_described(call, capital=True)}, made again."""

{head}


def test_{_name(call)}({parameter}) -> None:
{body}
'''


def _variable(n: int) -> str:
    return f"argument_{n + 1}"


def _is_name(text: object) -> bool:
    return isinstance(text, str) and text.isidentifier() and not iskeyword(text)


def _compared(made: str, value: Any) -> str:
    """A comparison with a value. Raises `_NoLiteral`."""
    if value is None or isinstance(value, bool):
        return f"{made} is {value}"
    if isinstance(value, float) and (math.isnan(value) or str(value) == "-0.0"):
        return f"str({made}) == {str(value)!r}"
    text = _literal(value)
    if "float('nan')" in text or "complex('" in text:  # no NaN is equal to another
        raise _NoLiteral
    return f"{made} == {text}"


def _exception(name: str) -> tuple[str, str] | None:
    """How to write the class, and the import that this needs."""
    module, _, last = name.rpartition(".")
    if not module:
        return name, ""
    parts = name.split(".")
    if module in MAINS or not all(map(_is_name, parts)) or not module.islower():
        return None  # a class in a class, perhaps
    return last, f"from {module} import {last}"


class _NoLiteral(Exception):
    """A value cannot be written down."""


def _plain(store: Store, stored: Stored | None) -> Any:
    """A value of which no part is a stand-in. Nothing is loaded."""
    if stored is None:
        raise _NoLiteral
    try:
        return store.calls.read(stored)
    except ValueError:
        raise _NoLiteral from None


def _literal(value: Any) -> str:
    """How a value is written in Python. Raises `_NoLiteral`."""
    return _written(value, 0)


def _written(value: Any, depth: int) -> str:
    text = _in_parts(value, depth)
    if len(text) > _LONG:  # its parts may be the same again and again
        raise _NoLiteral
    return text


def _in_parts(value: Any, depth: int) -> str:
    kind = type(value)
    if depth > 20:  # it may hold itself
        raise _NoLiteral
    if kind is float and not math.isfinite(value):
        return f"float({str(value)!r})"
    if kind is complex and not (math.isfinite(value.real) and math.isfinite(value.imag)):
        return f"complex({str(value)!r})"
    if kind is int and value.bit_length() > 3 * _LONG:
        raise _NoLiteral  # Python refuses to write it
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return repr(value)
    if kind is dict:
        items = (f"{_written(k, depth + 1)}: {_written(v, depth + 1)}" for k, v in value.items())
        return f"{{{', '.join(items)}}}"
    if kind in (list, tuple, set, frozenset):
        parts = ", ".join(_written(each, depth + 1) for each in value)
        if kind is tuple:
            return f"({parts},)" if len(value) == 1 else f"({parts})"
        if kind is list:
            return f"[{parts}]"
        if kind is set and value:
            return f"{{{parts}}}"
        return f"{kind.__name__}([{parts}])" if value else f"{kind.__name__}()"
    raise _NoLiteral
