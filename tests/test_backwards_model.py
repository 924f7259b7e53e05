"""The reverse commands visit what the program visited: programs that hypothesis writes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.processes import environment

EXAMPLES = 5
MOST = 45  # stops of one program


class Stop(NamedTuple):
    """Where the program stands; kind: "line", or what is shown of an event that is none."""

    position: int
    line: int
    function: str
    kind: str


@st.composite
def programs(draw: st.DrawFn) -> str:
    """A program that ends, of the kinds of statements there are."""
    functions = draw(st.integers(1, 3))
    parts = [_PRELUDE]
    for number in range(functions):
        body = draw(blocks(depth=2, callable_=number, inside=True))
        parts.append(f"def f{number}(n):\n    a = n\n{_indented(body)}\n    return a\n")
    parts.append("a = 2\n" + draw(blocks(depth=2, callable_=functions, inside=False)) + "\na = 0\n")
    return "\n".join(parts)


_PRELUDE = """
import contextlib

@contextlib.contextmanager
def around():
    yield 1

def numbers(n):
    for i in range(n):
        yield i

def down(n):
    return 0 if n < 1 else 1 + down(n - 1)
"""


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")


@st.composite
def blocks(draw: st.DrawFn, depth: int, callable_: int, inside: bool) -> str:
    """One to three statements."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        lines.append(draw(statements(depth, callable_, inside)))
    return "\n".join(lines)


@st.composite
def statements(draw: st.DrawFn, depth: int, callable_: int, inside: bool) -> str:
    simple = [
        "a += 1",
        "a = [i for i in range(2)] and a",
        "a = sum(i for i in range(2))",
        "a = down(2)",
        "for each in numbers(2): a = each",
        "a = max([1, 2], key=lambda x: -x)",
        *(f"a = f{number}(1)" for number in range(callable_)),
        *(["return a"] if inside else []),
    ]
    kinds = ["simple", "simple"]
    if depth:
        kinds += ["if", "for", "while", "try", "finally", "with", "def", "raise"]
    kind = draw(st.sampled_from(kinds))
    if kind == "simple":
        return draw(st.sampled_from(simple))
    body = _indented(draw(blocks(depth - 1, callable_, inside)))
    other = _indented(draw(blocks(depth - 1, callable_, inside)))
    if kind == "while":
        return f"w{depth} = 2\nwhile w{depth}:\n    w{depth} -= 1\n{body}"
    return {
        "if": f"if a % 2:\n{body}\nelse:\n{other}",
        "for": f"for i{depth} in range(2):\n{body}",
        "try": f"try:\n{body}\n    1 / 0\nexcept ZeroDivisionError:\n{other}",
        "finally": f"try:\n{body}\nfinally:\n    a = 3",
        "with": f"with around() as a:\n{body}",
        "def": f"def g{depth}(a):\n{body}\n    return a\na = g{depth}(1)",
        "raise": f"try:\n    raise KeyError(1)\nexcept KeyError as error:\n{body}",
    }[kind]


def arrivals(directory: Path, commands: list[str]) -> list[Stop | str]:
    """Where the program stands at first, and after each command; or what was said instead."""
    result = subprocess.run(
        [sys.executable, "-m", "snapshot", "debug", "p.py"],
        input="\n".join([*commands, "q", ""]),
        capture_output=True,
        text=True,
        cwd=directory,
        env=environment(directory),
        timeout=300,  # a hundred stops, on a loaded machine
        check=False,
    )
    assert result.stderr == ""
    shown: list[str] = re.split(r"\(Pdb (\d+)\) ", result.stdout)
    return [_arrival(text, int(at)) for text, at in zip(shown[::2], shown[1::2], strict=False)]


def _arrival(text: str, position: int) -> Stop | str:
    *_, place = [None, *re.finditer(r"^> .*?p\.py\((\d+)\)([\w<>]+)\(\)", text, re.M)]
    if place is None:
        return text.strip()
    kind = re.search(r"^--(Call|Return)--$|^(Internal )?\w+(Error|Iteration)", text, re.M)
    return Stop(position, int(place[1]), place[2], kind[0] if kind else "line")


def forwards(directory: Path, command: str) -> list[Stop]:
    """All stops from the beginning, or the first ones, as a person comes by."""
    stops = arrivals(directory, [command] * MOST)
    return [each for each in stops if isinstance(each, Stop)]


def backwards(directory: Path, command: str, reverse: str) -> list[Stop]:
    """The same from the last of these, to the beginning."""
    stops = arrivals(directory, [command] * MOST + [reverse] * (MOST + 1))[MOST + 1 :]
    assert str(stops[-1]).startswith("*** ")
    return [each for each in stops if isinstance(each, Stop)]


def _program(factory: pytest.TempPathFactory, source: str) -> Path:
    hypothesis.note(source)
    directory = factory.mktemp("model")
    (directory / "p.py").write_text(source)
    return directory


_settings = hypothesis.settings(
    max_examples=EXAMPLES,
    derandomize=bool(os.environ.get("CI")),
)


@_settings
@hypothesis.given(source=programs(), data=st.data())
def test_every_stop_is_found_again(
    tmp_path_factory: pytest.TempPathFactory, source: str, data: st.DataObject
) -> None:
    directory = _program(tmp_path_factory, source)
    stops = forwards(directory, "s")
    last = [] if len(stops) <= MOST else stops[-1:]
    assert [*last, *backwards(directory, "s", "rs")] == stops[::-1]

    places = {each.position: each for each in stops}
    sample = data.draw(st.lists(st.sampled_from(sorted(places)), max_size=8, unique=True))
    going = ["c", *(f"goto {each}" for each in sample)]
    assert arrivals(directory, going)[2:] == [places[each] for each in sample]


@_settings
@hypothesis.given(source=programs())
def test_the_lines_of_the_module_are_found_again(
    tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    directory = _program(tmp_path_factory, source)
    stops = forwards(directory, "n")
    lines = [each for each in stops if each.kind == "line"]
    is_at_a_line = len(stops) > MOST and stops[-1].kind == "line"
    last = stops[-1:] if is_at_a_line else []
    assert [*last, *backwards(directory, "n", "rn")] == lines[::-1]
