"""Scripts and tests that make a recorded call again."""

from __future__ import annotations

import math
import os
from datetime import datetime
from typing import Any

from snapshot.errors import StoreError
from snapshot.store import Store
from snapshot.store.calls import Call, Stored
from snapshot.store.events import Outcome

_LONG = 1000  # characters up to which a value is written as a literal


def reanimation_script(store: Store, call: Call) -> str:
    """A program that makes the call again, and says whether what came of it is what was recorded.

    It ends with status 0 if it is, else 1.
    """
    return f'''\
"""Make {_described(call)} again, in a disposable fork."""

import sys

from snapshot.replay import reanimate_function

found = reanimate_function({str(call.id)!r}, {_where(store)!r}, compare=True)
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

from snapshot.replay import reanimate_function


def test_{_name(call)}() -> None:
    found = reanimate_function({str(call.id)!r}, {_where(store)!r}, compare=True)
    assert found.matches, found
'''
    )


def _described(call: Call, *, capital: bool = False) -> str:
    when = datetime.fromtimestamp(call.started).strftime("%Y-%m-%d %H:%M:%S")
    return f"{'Call' if capital else 'call'} {call.id} of {call.function.key}, recorded {when}"


def _where(store: Store) -> str:
    return store.place.url or os.fspath(store.place.path)


def _name(call: Call) -> str:
    name = call.function.key.partition(":")[2]
    plain = "".join(each if each.isalnum() else "_" for each in name).strip("_")
    return f"{plain or 'call'}_{call.id}"


def _literal_test(store: Store, call: Call) -> str | None:
    """None where something of it can be no literal, or no import leads to the function."""
    module, _, name = call.function.key.partition(":")
    kind = call.function.facts["kind"]
    if module == "__main__" or not name.isidentifier() or kind == "async generator":
        return None
    if call.outcome in (Outcome.running, Outcome.closed):
        return None
    try:
        args, kwargs = _plain(store, call.arguments)
        after = None if call.after is None else _plain(store, call.after)
        result = None if call.outcome is Outcome.raised else _plain(store, call.result)
        read = {} if call.surroundings is None else _plain(store, call.surroundings)
        if read.get("named") or read.get("cells"):
            return None
        globals_ = {each: _literal(value) for each, value in read.get("globals", {}).items()}
        before = [f"    {_variable(n)} = {_literal(each)}" for n, each in enumerate(args)]
        before += [f"    {each} = {_literal(value)}" for each, value in kwargs.items()]
        names = [_variable(n) for n in range(len(args))]
        written = [_literal(each) for each in args]
        words = [f"{each}={_literal(value)}" for each, value in kwargs.items()]
        if after is not None:
            written, words = names, [f"{each}={each}" for each in kwargs]
        expected = _literal(result)
    except (_NoLiteral, StoreError):
        return None
    made = f"{name}({', '.join(written + words)})"
    imports = [f"import {module}" if globals_ else "", f"from {module} import {name}"]
    if kind == "coroutine":
        made, imports = f"asyncio.run({made})", ["import asyncio", "", *imports]
    if kind == "generator":
        made = f"list({made})"
    lines = [f"    monkeypatch.setattr({module}, {each!r}, {v})" for each, v in globals_.items()]
    lines += before if after is not None else []
    parameter = "monkeypatch: pytest.MonkeyPatch" if globals_ else ""
    if call.outcome is Outcome.raised:
        assert call.failure is not None
        error = _exception(call.failure.type)
        if error is None:
            return None
        lines.append(f"    with pytest.raises({error[0]}) as raised:")
        lines.append(f"        {made}")
        lines.append(f"    assert str(raised.value) == {call.failure.text!r}")
        imports = [*imports, error[1]]
    elif isinstance(result, float) and math.isnan(result):
        lines.append(f"    assert str({made}) == 'nan'")
    else:
        operator = "is" if result is None or isinstance(result, bool) else "=="
        lines.append(f"    assert {made} {operator} {expected}")
    if after is not None:
        for each, value in zip(names, after[0], strict=True):
            lines.append(f"    assert {each} == {_literal(value)}")
        lines += [f"    assert {each} == {_literal(value)}" for each, value in after[1].items()]
    if globals_ or call.outcome is Outcome.raised:
        imports = ["import pytest", "", *imports]
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


def _exception(name: str) -> tuple[str, str] | None:
    """How to write the class, and the import that this needs."""
    module, _, last = name.rpartition(".")
    if not module:
        return name, ""
    if "<locals>" in name or "__main__" in module:
        return None
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
    text = _written(value, 0)
    if len(text) > _LONG:
        raise _NoLiteral
    return text


def _written(value: Any, depth: int) -> str:
    kind = type(value)
    if depth > 20:  # it may hold itself
        raise _NoLiteral
    if kind is float and not math.isfinite(value):
        return f"float({str(value)!r})"
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
