"""`snapshot memo ls|stats|explain|evict|clear|verify`: what is kept, and what is done about it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.processes import Program, Result, run_python
from tests.terminal import Terminal

SNAPSHOT = Path(sys.executable).with_name("snapshot")

# What loading the result of `evil` does is seen.
SHAPES = """
import os
from pathlib import Path
from snapshot.memo import DirObjStore, MemoizedGroup, memoize

FACTOR = {factor}
shapes = MemoizedGroup("shapes")

@memoize(group=shapes)
def area(width, height=1):
    return width * height * FACTOR

@memoize(group=shapes)
def noise(size):
    return os.urandom(size)

class Circle:
    def __init__(self, radius):
        self.radius = radius
    @memoize
    def area(self):
        return 3 * self.radius ** 2

class Evil:
    def __reduce__(self):
        return Path.touch, (Path("loaded"),)

@memoize(name="evil")
def evil(x):
    return Evil()
"""

CALLS = """
from shapes import *
for n in range(3):
    area(n)
area(height=1, width=2)
{more}
"""

MORE = r"""
area("wide\n\x1b[31m")
Circle(2).area()
evil(1)
noise(500_000)
"""


def run(folder: Path, factor: int, more: str = "", env: dict[str, str] | None = None) -> None:
    (folder / "shapes.py").write_text(SHAPES.format(factor=factor))
    # A file that is written twice in a second, and as long, is the same one to Python's cache.
    result = run_python(CALLS.format(more=more), directory=folder, env=env, options=["-B"])
    assert (result.stderr, result.code) == ("", 0), result


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with results of two states of a function, in which nothing may change."""
    folder = tmp_path_factory.mktemp("shapes")
    (folder / "pyproject.toml").touch()
    run(folder, 1)
    run(folder, 2, MORE)
    return folder


@pytest.fixture
def own(kept: Path, tmp_path: Path) -> Iterator[Path]:
    """The same of the test's own. Nothing is ever loaded."""
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True, symlinks=True)
    yield tmp_path
    assert not (tmp_path / "loaded").exists()


def memo(folder: Path, *words: str, env: dict[str, str] | None = None) -> Result:
    with Program([str(SNAPSHOT), "memo", *words], directory=folder, env=env) as program:
        return program.finish()


def said(folder: Path, *words: str, env: dict[str, str] | None = None) -> str:
    """What it prints, where all is well."""
    result = memo(folder, *words, env=env)
    assert (result.stderr, result.code) == ("", 0), result
    return result.stdout


def read(folder: Path, *words: str) -> Any:
    return json.loads(said(folder, *words, "--json"))


def mistake(result: Result, expected: str) -> None:
    """One line on standard error."""
    assert (result.code, result.stdout) == (2, ""), result
    assert re.fullmatch(r"snapshot memo( \w+)?: .+\n", result.stderr), result
    assert expected in result.stderr, result


def counts(folder: Path) -> dict[str, int]:
    return {each["name"]: each["entries"] for each in read(folder, "ls")}


ALL = {"evil": 1, "shapes:Circle.area": 1, "shapes:area": 7, "shapes:noise": 1}


# Looking.


def test_functions(kept: Path) -> None:
    heads, *lines = said(kept, "ls").splitlines()
    assert heads.split() == ["entries", "size", "hits", "misses", "saved", "group", "function"]
    assert [line.split()[-1] for line in lines] == sorted(ALL)
    assert re.fullmatch(r" *7 +[\d.]+ KiB +2 +7 +[\d.]+ (µs|ms) +shapes +shapes:area", lines[2]), (
        lines
    )
    found = read(kept, "ls")
    assert {each["name"]: each["entries"] for each in found} == ALL
    assert {each["name"]: each["states"] for each in found}["shapes:area"] == 2
    assert said(kept, "ls", "--long").split()[1] == "states"


def test_results_of_a_function(kept: Path) -> None:
    heads, *lines = said(kept, "ls", "area").splitlines()  # the method, too
    assert heads.split() == ["key", "size", "took", "age", "hits", "state", "arguments"]
    assert len(lines) == 8
    found = read(kept, "ls", "shapes:area")
    assert [each["current"] for each in found].count(True) == 4
    assert {each["arguments"]["width"] for each in found if not each["current"]} == {*"012"}
    (wide,) = (each for each in found if "wide" in each["arguments"]["width"])
    assert wide["arguments"] == {"height": "1", "width": r"'wide\n\x1b[31m'"}
    assert [each["hits"] for each in found if each["arguments"]["width"] == "2"] == [1, 1]
    (line,) = (each for each in lines if each.startswith(wide["key"][:12]))
    assert line.endswith("current  height=1, width='wide\\n\\x1b[31m'")
    long = said(kept, "ls", "Circle.area", "--long").splitlines()
    assert re.fullmatch(r"[0-9a-f]{32}  shapes:Circle.area, in the current state", long[0])
    assert re.fullmatch(r"  stored [-\d]+ [:\d]+, took .+, \d+ B; 0 hits, used last .+", long[1])
    assert long[2].startswith("  self: <shapes.Circle object at 0x")


def test_on_a_terminal(kept: Path) -> None:
    with Terminal(kept, columns=60) as terminal:
        heads, line = terminal.run("snapshot memo ls Circle.area").splitlines()
        assert heads.endswith("arguments")
        assert len(line) == 60
        assert line.endswith("…")
        assert terminal.run("snapshot memo verify").endswith(" 10 results, 0 damaged")
        assert "█ 10/10 results" in terminal.raw()


def test_statistics(kept: Path) -> None:
    heads, *lines = said(kept, "stats").splitlines()
    assert heads.split()[-1] == "group"
    assert [line.split()[-1] for line in lines] == ["default", "shapes", "all"]
    assert [line.split()[:2] for line in lines] == [["2", "2"], ["2", "8"], ["4", "10"]]
    assert " 20%  " in lines[1]
    default, shapes = read(kept, "stats")
    assert (default["group"], shapes["group"]) == ("default", "shapes")
    assert (shapes["hits"], shapes["misses"]) == (2, 8)
    assert shapes["size"] > 500_000


def test_what_has_changed(kept: Path) -> None:
    lines = said(kept, "explain", "shapes:area").splitlines()
    assert re.fullmatch(
        r"shapes:area: 7 results, .+ KiB, in group shapes; 2 hits saved .+, 7 misses", lines[0]
    )
    assert re.fullmatch(r"  the current state, [0-9a-f]{12}: 4 results, .+; in use .+", lines[1])
    assert re.fullmatch(r"  an earlier state, [0-9a-f]{12}: 3 results, .+; in use .+", lines[2])
    assert re.fullmatch(r"what differs between [0-9a-f]{12} and the current state:", lines[3])
    assert lines[4:] == ["  value shapes.FACTOR: 1 then, 2 now"]
    earlier = next(each for each in read(kept, "ls", "shapes:area") if not each["current"])
    told = read(kept, "explain", "shapes:area", earlier["key"][:8])
    assert told["entry"]["key"] == earlier["key"]
    assert told["differences"] == lines[4:]
    assert [each["current"] for each in told["states"]] == [True, False]
    text = said(kept, "explain", "shapes:area", earlier["key"])
    assert f"\n{earlier['key']}  shapes:area, in an earlier state, " in text
    assert "\n  value shapes.FACTOR: 1 then, 2 now\n" in text
    assert read(kept, "explain", "Circle.area")["differences"] == []
    assert "not followed: shapes:noise uses os.urandom" in said(kept, "explain", "noise")


def test_code_that_has_changed_is_shown(own: Path) -> None:
    source = SHAPES.replace("width * height *", "width * width *").format(factor=2)
    (own / "shapes.py").write_text(source)
    run_python("from shapes import *\narea(1)", directory=own, options=["-B"])
    told = said(own, "explain", "shapes:area").splitlines()
    assert "    -    return width * height * FACTOR" in told
    assert "    +    return width * width * FACTOR" in told


# Dropping.


def test_evict(own: Path) -> None:
    keys = [each["key"] for each in read(own, "ls", "shapes:area")]
    assert re.fullmatch(
        r"would evict 8 results, .+ KiB\n", said(own, "evict", "shapes:area", "noise", "--dry-run")
    )
    assert counts(own) == ALL
    assert said(own, "evict", keys[0][:7], keys[1]).startswith("evicted 2 results, ")
    assert counts(own) == ALL | {"shapes:area": 5}
    assert said(own, "evict", "--older-than", "1h").startswith("evicted 0 results, 0 B")
    assert said(own, "evict", "noise").startswith("evicted 1 result, ")
    assert said(own, "evict", "--older-than", "0").startswith("evicted 7 results, ")
    assert counts(own) == dict.fromkeys(ALL, 0)
    objects = [*(own / ".snapshot" / "store.db.files" / "objects").rglob("*")]
    assert [each for each in objects if each.is_file()] == []


def test_clear(own: Path) -> None:
    mistake(memo(own, "clear"), "give a function, --group, or --all, which drops 10 results of")
    mistake(memo(own, "clear", "noise", "--all"), "give a function, --group, or --all")
    assert "would clear 2 results" in said(own, "clear", "--group", "default", "--dry-run")
    assert counts(own) == ALL
    assert said(own, "clear", "--group", "default").startswith("cleared 2 results, ")
    assert counts(own) == {"shapes:area": 7, "shapes:noise": 1}
    assert said(own, "clear", "noise").startswith("cleared 1 result, ")
    assert said(own, "clear", "--all").startswith("cleared 7 results, ")
    assert said(own, "ls") == "nothing is memoized\n"
    assert read(own, "stats")[0]["hits"] == 0
    run(own, 2)
    assert counts(own) == {"shapes:area": 3}


def test_results_in_an_obj_store_stay_there(own: Path) -> None:
    group = "shapes.obj_store = DirObjStore('results')\n"
    (own / "shapes.py").write_text(SHAPES.format(factor=2) + group)
    run_python("from shapes import *\narea(50)", directory=own, options=["-B"])
    (found,) = (each for each in read(own, "ls", "shapes:area") if each["elsewhere"])
    assert memo(own, "verify").stdout.endswith("; 1 in another store were not read\n")
    result = memo(own, "evict", found["key"])
    assert (result.stdout[:16], result.code) == ("evicted 1 result", 0)
    assert "snapshot: 1 result of these stay in the obj_store of their group" in result.stderr


# Damage.


def spoiled(store: Path, sql: str, *values: Any) -> None:
    with contextlib.closing(sqlite3.connect(store)) as database:
        database.execute(sql, values)
        database.commit()


def test_verify(own: Path) -> None:
    store = own / ".snapshot" / "store.db"
    assert said(own, "verify") == f"{store}: 10 results, 0 damaged\n"
    (large,) = read(own, "ls", "noise")
    (file,) = (
        each
        for each in (store.parent).rglob("*")
        if each.stat().st_size > 499_999 and each.parent.parent.name == "objects"
    )
    inline = read(own, "ls", "shapes:area")
    rows = [bytes.fromhex(each["key"]) for each in inline]
    with contextlib.closing(sqlite3.connect(store)) as database:
        ((data,),) = database.execute("SELECT data FROM results WHERE key = ?", (rows[0],))
    flipped = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    spoiled(store, "UPDATE results SET data = ? WHERE key = ?", flipped, rows[0])
    spoiled(store, "UPDATE results SET data = 5 WHERE key = ?", rows[1])
    spoiled(store, "UPDATE results SET arguments = '{' WHERE key = ?", rows[2])
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    for spoil in (
        lambda: file.write_bytes(content),
        lambda: file.write_bytes(content[:1000]),
        lambda: file.write_bytes(b""),
        file.unlink,
    ):
        spoil()
        result = memo(own, "verify")
        assert result.code == 1, result
        *lines, last = result.stdout.splitlines()
        assert last == f"{store}: 10 results, 3 damaged"
        assert {line[:12] for line in lines} == {
            *(each.hex()[:12] for each in rows[:2]),
            large["key"][:12],
        }
        assert all(" damaged" in line for line in lines)
    found = memo(own, "verify", "--json")
    assert found.code == 1
    assert len(json.loads(found.stdout)["damaged"]) == 3
    dropped = memo(own, "verify", "--drop")
    assert dropped.stdout.endswith(": 10 results, 3 damaged, 3 dropped\n")
    assert dropped.code == 1
    assert said(own, "verify") == f"{store}: 7 results, 0 damaged\n"
    assert counts(own) == ALL | {"shapes:area": 5, "shapes:noise": 0}
    run(own, 2)


def test_what_others_may_have_written_is_listed_and_not_loaded(own: Path) -> None:
    store = own / ".snapshot" / "store.db"
    expected = {name: said(own, *name.split()) for name in ("ls", "stats", "explain shapes:area")}
    store.chmod(0o666)
    for name, text in expected.items():
        assert said(own, *name.split()) == text
    assert said(own, "verify").endswith("10 results, 0 damaged\n")
    facts = b"\x80\x05cpathlib\nPath\n(Vloaded\ntR."
    spoiled(
        store,
        "UPDATE objects SET data = ? WHERE id IN (SELECT facts FROM states)",
        facts,
    )
    mistake(memo(own, "explain", "shapes:area"), "is damaged")


def test_a_store_of_postgresql(kept: Path, tmp_path: Path) -> None:
    postgres.require()
    with postgres.server() as url:
        env = {"SNAPSHOT_STORE": url}
        run(tmp_path, 1, env=env)
        run(tmp_path, 2, MORE, env=env)
        assert {
            each["name"]: each["entries"]
            for each in json.loads(said(tmp_path, "ls", "--json", env=env))
        } == ALL
        assert "value shapes.FACTOR: 1 then, 2 now" in said(
            tmp_path, "explain", "shapes:area", env=env
        )
        assert "10 results, 0 damaged" in said(tmp_path, "--store", url, "verify")
        for _ in range(2):
            assert memo(tmp_path, "--", "echo", "x", env=env).stdout == "x\n"
        assert "; 1 hit saved " in said(tmp_path, "explain", "shell", env=env)
        assert "cleared 11 results" in said(tmp_path, "clear", "--all", "--store", url)


# Mistakes.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ls none", "no function 'none' is memoized; those that are: evil, shapes:Circle.area, sh"),
        ("ls are", "no function 'are' is memoized"),
        ("explain area", "'area' is one of shapes:Circle.area, shapes:area: say which"),
        ("explain evil abcdef", "there is no result with the key 'abcdef'"),
        ("evict", "give functions, keys, or --older-than"),
        ("evict 000000", "there is no result with the key '000000'"),
        ("evict 0000", "no function '0000' is memoized"),
        ("evict evil --older-than x", "'x' is no duration"),
        ("clear --group none", "there is no group 'none'; groups: default, shapes"),
        ("ls --store none.db", "there is no store"),
        ("--store none.db ls", "there is no store"),
    ],
)
def test_mistakes(kept: Path, words: str, expected: str) -> None:
    mistake(memo(kept, *words.split()), expected)
    assert counts(kept) == ALL


def test_help(kept: Path) -> None:
    told = said(kept, "--help")
    assert "usage: snapshot memo [--input PATH...]" in told
    for name in ("ls", "stats", "explain", "evict", "clear", "verify"):
        assert f"  {name} " in told
        assert said(kept, name, "--help").startswith(f"usage: snapshot memo {name} ")
    result = memo(kept, "verify", "--fast")
    assert result.code == 2
    assert "unrecognized arguments: --fast" in result.stderr
