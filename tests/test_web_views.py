"""Rich views of stored values: real stores, real processes, and values that do what they like."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from snapshot.errors import UsageError
from snapshot.replay.executions import opened
from snapshot.store import Store
from snapshot.web.viewing import Role, View, Where, view
from tests import postgres
from tests.libraries import require
from tests.processes import Program, Result, run_python, wait_gone

MARKUP = "<img src=x onerror=alert(1)>"

# What stands in a store, and does what it is named after when it is loaded, or looked at.
PERILS = """
import ctypes, os, socket, sys, time

class Peril:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return globals()[self.name], ()

def sleep():
    time.sleep(1000)

def leave():
    os._exit(3)

def exit():
    sys.exit(4)

def crash():
    ctypes.string_at(0)

def grow():
    return len(bytearray(5 << 30))

def grow_slowly():
    kept = []
    while True:
        kept.append(bytearray(1 << 20))

def print_much():
    print('{"kind": "text"}', flush=True)
    os.write(1, b"}\\n")
    os.write(2, b"and more\\n")
    return 7

def fill():
    while True:
        print("x" * (1 << 20))

def raise_():
    raise KeyError("no")

def read():
    return input()

def stay():
    return start(os.setpgrp)

def stay_apart():
    return start(os.setsid)

def start(part):
    pid = os.fork()
    if not pid:
        part()
        time.sleep(1000)
    return pid

def tell():
    with open("pids", "w") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(1000)

def connect():
    try:
        socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 5).close()
    except OSError as error:
        return f"refused: {error.strerror}"
    return "reached"

def mark():
    open("marked", "w").close()

def answer(what):
    if not os.environ.get("AGAIN"):
        return "a peril"
    if what == "raise":
        raise SystemExit("no")
    if what == "sleep":
        time.sleep(1000)
    if what == "print":
        print("said much")
    return 3 if what == "number" else "plain"

class Speaks:
    def __init__(self, what):
        self.what = what

    def __repr__(self):
        return answer(self.what)

class Endless(list):
    def __len__(self):
        return 1 << 62 if os.environ.get("AGAIN") else list.__len__(self)

    def __iter__(self):
        while os.environ.get("AGAIN"):
            yield 1
        yield from list.__iter__(self)

class Any:
    def __init__(self):
        self.own = 1

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __eq__(self, other):
        raise ValueError("no")

    __hash__ = None

class Slotted:
    __slots__ = ("filled", "empty")

    def __init__(self):
        self.filled = "full"
"""

SHOP = f"""
import dataclasses, sys, threading
from snapshot.replay import record
sys.path.insert(0, "lib")
import gone, perils

@dataclasses.dataclass
class Order:
    number: int
    parts: list

@record
def order(number, parts=(), *more, note="", **others):
    return Order(number, list(parts))

@record
def give(value):
    return value

RATE = 3

@record
def change(items):
    items.append(RATE)

@record(redact=["password"])
def enter(password, stream):
    pass

order(1, ["a", {{"{MARKUP}": "{MARKUP}"}}], 5, 6, note="{MARKUP}", extra=2)
change([1])
enter("1234", (each for each in ()))
give("{MARKUP}")
give(gone.Thing())
give(perils.Peril("mark"))
loop = [1]
loop.append(loop)
give(loop)
give([perils.Speaks(each) for each in ("raise", "print", "number", "sleep", "plain")])
give([perils.Endless([1, 2]), perils.Any(), perils.Slotted(), {{(1, 2): 3}}])
give([[[[[[1]]]]]] * 150)
give(b"\\x00\\xff" * 40000)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program that has recorded."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "lib").mkdir()
    (folder / "perils.py").write_text(PERILS)
    (folder / "lib" / "gone.py").write_text("class Thing:\n    pass\n")
    _record(folder, SHOP)
    return folder


def _record(folder: Path, source: str) -> None:
    """Run a program in a folder, which has a store there."""
    (folder / ".snapshot").mkdir(mode=0o700, exist_ok=True)
    result = run_python(source, directory=folder)
    assert result.code == 0, result
    with opened(_store(folder)):
        pass


def _store(folder: Path) -> str:
    return str(folder / ".snapshot" / "store.db")


def _calls(folder: Path, function: str) -> list[int]:
    with Store(_store(folder)) as store:
        return store.calls.ids(function)


def _seen(
    folder: Path, call: int, role: Role = "result", name: str | None = None, **options: Any
) -> View:
    return view(_store(folder), Where(call, role, name), **options)


def _given(folder: Path, source: str, **options: Any) -> View:
    """The view of a value that another program has recorded, made of some source."""
    (folder / "perils.py").write_text(PERILS)
    _record(
        folder,
        f"""
        from snapshot.replay import record
        import perils

        @record
        def give(value):
            pass

        give({source})
        """,
    )
    return _seen(folder, 1, "arguments", "value", **options)


def _reason(seen: View) -> str:
    assert seen.kind == "failed", seen
    return str(seen.data["reason"])


def _outline(node: dict[str, Any]) -> Any:
    """A tree as names and texts."""
    inside = {each["name"]: _outline(each) for each in node["children"]}
    return inside or node["text"]


# Which value.


def test_the_values_of_a_call(shop: Path) -> None:
    (call,) = _calls(shop, "order")
    seen = _seen(shop, call)
    assert (seen.kind, seen.type) == ("tree", "__main__.Order")
    markup = {"'" + MARKUP + "'": f"'{MARKUP}'"}
    assert _outline(seen.data) == {"number": "1", "parts": {"0": "'a'", "1": markup}}
    assert _seen(shop, call, "arguments", "number").data["text"] == "1"
    assert _seen(shop, call, "arguments", "*1").data["text"] == "6"
    assert _seen(shop, call, "arguments", "note").data["text"] == MARKUP
    assert [*_outline(_seen(shop, call, "arguments").data)] == [
        *("'number'", "'parts'", "'*0'", "'*1'", "'note'", "'extra'")
    ]
    assert _reason(_seen(shop, call, "arguments", "price")) == (
        f"no price was stored of call {call}, but number, parts, *0, *1, note, extra"
    )
    assert "had not changed" in _reason(_seen(shop, call, "after"))


def test_what_was_changed_and_what_was_read(shop: Path) -> None:
    (call,) = _calls(shop, "change")
    assert _outline(_seen(shop, call, "arguments", "items").data) == {"0": "1"}
    assert _outline(_seen(shop, call, "after", "items").data) == {"0": "1", "1": "3"}
    assert _seen(shop, call, "surroundings", "RATE").data["text"] == "3"
    assert _outline(_seen(shop, call, "surroundings").data) == {"'RATE'": "3"}


def test_what_was_not_stored(shop: Path) -> None:
    (call,) = _calls(shop, "enter")
    password = _seen(shop, call, "arguments", "password")
    assert (password.kind, password.data["reason"]) == ("placeholder", "redacted")
    stream = _seen(shop, call, "arguments", "stream")
    assert stream.kind == "placeholder"
    assert stream.data["type"] == "generator"
    assert "1234" not in json.dumps(_seen(shop, call, "arguments").data)


def test_an_object_by_its_digest(shop: Path) -> None:
    with Store(_store(shop)) as store:
        digest = store.objects.put({"a": MARKUP}).hex()
    seen = view(_store(shop), Where(digest=digest))
    assert _outline(seen.data) == {"'a'": f"'{MARKUP}'"}
    assert "there is no object" in _reason(view(_store(shop), Where(digest="00" * 32)))


def test_what_is_not_there(shop: Path, tmp_path: Path) -> None:
    assert "there is no call 999" in _reason(_seen(shop, 999))
    assert "there is no store" in _reason(view(str(tmp_path / "none.db"), Where(1)))


def test_what_means_nothing(shop: Path) -> None:
    with pytest.raises(UsageError, match="which value"):
        view(_store(shop), Where())
    with pytest.raises(UsageError, match="no digest"):
        view(_store(shop), Where(digest="xyz"))
    with pytest.raises(UsageError, match="memory"):
        _seen(shop, 1, memory="much")
    with pytest.raises(UsageError, match="timeout"):
        _seen(shop, 1, timeout=-1)


# What cannot be had.


def test_a_store_of_somebody_else_is_not_loaded(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shop, folder)
    os.chmod(_store(folder), 0o666)
    call = _calls(shop, "give")[2]
    reason = _reason(_seen(folder, call))
    assert "other users may write" in reason
    assert "(--trust)" in reason
    assert not (shop / "marked").exists()
    assert _seen(folder, call, trust=True).data["text"] == "None"
    assert (shop / "marked").exists()  # that the value's code runs would have been seen


def test_a_module_that_is_gone(shop: Path) -> None:
    call = _calls(shop, "give")[1]
    assert _seen(shop, call).type == "gone.Thing"
    os.rename(shop / "lib", shop / "away")
    try:
        assert "No module named 'gone'" in _reason(_seen(shop, call))
    finally:
        os.rename(shop / "away", shop / "lib")


def test_a_class_of_an_interactive_session(tmp_path: Path) -> None:
    (tmp_path / ".snapshot").mkdir(mode=0o700)
    code = (
        "from snapshot.replay import record\nclass sys: pass\n"
        "@record\ndef give(value): pass\ngive(sys())"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    with opened(_store(tmp_path)):
        pass
    assert "an interactive session" in _reason(_seen(tmp_path, 1, "arguments"))


def test_a_damaged_object(tmp_path: Path) -> None:
    require("numpy")
    _record(
        tmp_path,
        """
        import numpy as np
        from snapshot.replay import record

        @record
        def give(value):
            return 1

        give(np.ones(100_000))
        """,
    )
    with Store(_store(tmp_path)) as store:
        files = [each for each in store.place.folder.rglob("*") if each.stat().st_size == 800_000]
    (file,) = files
    file.chmod(0o600)
    with file.open("r+b") as stream:
        stream.seek(4000)
        stream.write(b"spoiled")
    assert "is damaged" in _reason(_seen(tmp_path, 1, "arguments", "value"))
    assert _seen(tmp_path, 1).data["text"] == "1"


# Perils.


@pytest.mark.parametrize(
    ("peril", "reason"),
    [
        ("leave", "its own code ended the process that loaded it, with code 3"),
        ("exit", "cannot unpickle: SystemExit: 4"),
        ("crash", "the process that loaded it was killed by SIGSEGV"),
        ("grow", "loading it and looking at it took more memory than 1,073,741,824 bytes"),
        ("grow_slowly", "loading it and looking at it took more memory than 1,073,741,824 bytes"),
        ("raise_", "cannot unpickle: KeyError: 'no'"),
        ("read", "cannot unpickle: EOFError: EOF when reading a line"),
    ],
)
def test_a_value_that_does_harm(tmp_path: Path, peril: str, reason: str) -> None:
    assert _reason(_given(tmp_path, f"perils.Peril({peril!r})")) == reason


def test_a_value_that_takes_for_ever(tmp_path: Path) -> None:
    seen = _given(tmp_path, "perils.Peril('sleep')", timeout=3)
    assert _reason(seen) == "loading it and looking at it took longer than 3 s"


def test_what_is_printed_does_not_spoil_the_answer(tmp_path: Path) -> None:
    seen = _given(tmp_path, "perils.Peril('print_much')")
    assert seen.data["text"] == "7"
    assert seen.output == '{"kind": "text"}\n}\nand more\n'


def test_what_is_printed_without_end_has_one(tmp_path: Path) -> None:
    seen = _given(tmp_path, "perils.Peril('fill')")
    assert "File too large" in _reason(seen)
    assert len(seen.output) == 4000


@pytest.mark.parametrize("how", ["stay", "stay_apart"])
def test_what_a_value_starts_does_not_outlive_its_view(tmp_path: Path, how: str) -> None:
    seen = _given(tmp_path, f"perils.Peril({how!r})")
    wait_gone([int(seen.data["text"])], timeout=0)  # `nothing_left` would forgive what is ending


def test_a_server_that_is_killed_leaves_nothing(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    os.mkfifo(tmp_path / "pids")
    program = start(
        f"""
        from snapshot.web.viewing import Where, view
        print("ready", flush=True)
        input()
        view({_store(tmp_path)!r}, Where(1, "arguments"))
        """
    )
    program.wait_for("ready")
    (tmp_path / "perils.py").write_text(PERILS)
    _record(
        tmp_path,
        """
        from snapshot.replay import record
        import perils

        @record
        def give(value):
            pass

        give(perils.Peril("tell"))
        """,
    )
    program.send("\n")
    pid = int((tmp_path / "pids").read_text())
    program.kill(signal.SIGKILL)
    wait_gone([pid])


def test_the_network_is_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    unshare = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x50000000) != 0)"
    if run_python(unshare, directory=tmp_path).code != 0:
        pytest.skip("the kernel refuses a network of one's own")
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("PORT", str(server.getsockname()[1]))
        seen = _given(tmp_path, "perils.Peril('connect')")
    assert seen.data["text"] == "refused: Network is unreachable"


def test_hostile_reprs(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGAIN", "1")
    seen = _seen(shop, _calls(shop, "give")[4])
    exits, prints, number, *slow = (each["text"] for each in seen.data["children"])
    assert (exits, prints) == ("<its repr raised SystemExit>", "plain")
    assert number.startswith("<Speaks instance at ")
    assert slow == ["<its repr takes too long>"] * 2  # once is enough to know it
    inside = [each["children"][0]["text"] for each in seen.data["children"]]
    assert inside == ["'raise'", "'print'", "'number'", "'sleep'", "'plain'"]
    assert seen.output == "said much\n"


def test_what_a_value_is_asked_is_none_of_its_code(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGAIN", "1")
    seen = _seen(shop, _calls(shop, "give")[5])
    endless, anything, slotted, pairs = seen.data["children"]
    assert (endless["count"], _outline(endless)) == (2, {"0": "1", "1": "2"})
    assert _outline(anything) == {"own": "1"}
    assert _outline(slotted) == {"filled": "'full'"}
    assert _outline(pairs) == {"(1, 2)": "3"}


def test_a_value_that_holds_itself(shop: Path) -> None:
    seen = _seen(shop, _calls(shop, "give")[3])
    assert [each["cycle"] for each in seen.data["children"]] == [False, True]
    assert seen.data["children"][1]["children"] == []


def test_deep_and_long_values_are_cut(shop: Path) -> None:
    seen = _seen(shop, _calls(shop, "give")[6])
    assert (seen.data["count"], len(seen.data["children"]), seen.data["more"]) == (150, 100, 50)
    node, depth = seen.data, 0
    while node["children"]:
        node, depth = node["children"][0], depth + 1
    assert (depth, node["count"], node["more"]) == (4, 1, 1)


# What values look like.


def test_texts(shop: Path) -> None:
    gives = _calls(shop, "give")
    seen = _seen(shop, gives[0])
    assert (seen.kind, seen.data) == ("text", {"text": MARKUP, "length": 28, "lines": 1})
    dump = _seen(shop, gives[7])
    assert (dump.kind, dump.data["length"], len(dump.data["hex"])) == ("text", 80_000, 256)
    assert dump.data["hex"][1] == ["00000010", "00 ff " * 7 + "00 ff", "." * 16]


def _looks(
    python: Callable[..., Result], source: str, *values: str, rows: int = 200
) -> list[dict[str, Any]]:
    """What values look like, in a program that has them."""
    result = python(
        f"""
        import json
        from snapshot.web.views import seen
        {source}
        for value in [{", ".join(values)}]:
            print(json.dumps(seen(value, {rows}), allow_nan=False))
        """
    )
    assert result.code == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


def _pixels(image: dict[str, Any]) -> tuple[int, int, bytes]:
    """Width, height and bytes of a picture."""
    data = base64.b64decode(image["base64"])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")
    width, height, depth, kind = struct.unpack(">IIBB", data[16:26])
    assert (depth, image["width"], image["height"]) == (8, width, height)
    line = 1 + {2: 3, 6: 4}[kind] * width
    length = struct.unpack(">I", data[33:37])[0]
    raw = zlib.decompress(data[41 : 41 + length])
    assert len(raw) == height * line
    return width, height, b"".join(raw[n + 1 : n + line] for n in range(0, len(raw), line))


def test_lists_of_one_form_are_tables(python: Callable[..., Result]) -> None:
    dicts, tuples, named, *others = _looks(
        python,
        "from collections import namedtuple; Point = namedtuple('Point', 'x y')",
        f"[{{'a': 1, 'b': {MARKUP!r}}}, {{'b': None, 'a': 2.5}}]",
        "[(1, 'x'), (2, 'y'), (3, 'z')]",
        "[Point(1, 2), Point(3, 4)]",
        *("[{'a': 1}, {'b': 1}]", "[(1, 2), (3,)]", "[{1: 2}, {1: 3}]", "[(), ()]", "[{}, {}]"),
        rows=2,
    )
    assert dicts["kind"] == "table"
    assert dicts["data"] == {
        "shape": [2, 2],
        "columns": [
            {"name": "a", "type": "int or float", "nulls": 0},
            {"name": "b", "type": "str", "nulls": 1},
        ],
        "index": ["0", "1"],
        "rows": [["1", MARKUP], ["2.5", None]],
    }
    assert tuples["data"]["rows"] == [["1", "x"], ["2", "y"]]
    assert tuples["data"]["shape"] == [3, 2]
    assert [each["name"] for each in named["data"]["columns"]] == ["x", "y"]
    assert {each["kind"] for each in others} == {"tree"}


def test_data_frames(python: Callable[..., Result]) -> None:
    require("pandas", "numpy")
    frame, series, wide, odd = _looks(
        python,
        "import pandas as pd, numpy as np",
        f"pd.DataFrame({{'a': [1, 2, 3], {MARKUP!r}: ['x', None, {MARKUP!r}],"
        " 'f': [.5, np.nan, 1]}, index=['one', 'two', 'three'])",
        "pd.Series(pd.to_datetime(['2020-01-01', None]), name='when')",
        "pd.DataFrame(np.zeros((3, 200)))",
        "pd.DataFrame({'a': [[1, 2], {'k': 'v'}], 'b': ['y' * 1000, 2]})",
        rows=2,
    )
    assert frame["kind"] == "table"
    assert frame["data"]["shape"] == [3, 3]
    names = [each["name"] for each in frame["data"]["columns"]]
    assert names == ["a", MARKUP, "f"]
    assert [each["nulls"] for each in frame["data"]["columns"]] == [0, 1, 1]
    assert frame["data"]["index"] == ["one", "two"]
    assert frame["data"]["rows"] == [["1", "x", "0.5"], ["2", None, None]]
    assert series["data"]["rows"] == [["2020-01-01 00:00:00"], [None]]
    assert wide["data"]["shape"] == [3, 200]
    assert len(wide["data"]["columns"]) == len(wide["data"]["rows"][0]) == 50
    assert odd["data"]["rows"][1] == ["{'k': 'v'}", "2"]
    assert len(odd["data"]["rows"][0][1]) == 200


def test_frames_of_polars(python: Callable[..., Result]) -> None:
    require("polars")
    frame, series = _looks(
        python,
        "import polars as pl",
        "pl.DataFrame({'a': [1, None, 3], 'b': ['x', 'y', 'z']})",
        "pl.Series('s', [1.5])",
        rows=2,
    )
    assert frame["data"]["columns"][0] == {"name": "a", "type": "Int64", "nulls": 1}
    assert frame["data"]["rows"] == [["1", "x"], [None, "y"]]
    assert frame["data"]["shape"] == [3, 2]
    assert series["data"]["rows"] == [["1.5"]]


def test_tables_of_arrow(python: Callable[..., Result]) -> None:
    require("pyarrow")
    (table,) = _looks(python, "import pyarrow as pa", "pa.table({'a': [1, None], 'b': ['x', 'y']})")
    assert table["data"]["columns"][0] == {"name": "a", "type": "int64", "nulls": 1}
    assert table["data"]["rows"] == [["1", "x"], [None, "y"]]


def test_a_structured_array_is_a_table(python: Callable[..., Result]) -> None:
    require("numpy")
    (table,) = _looks(
        python,
        "import numpy as np",
        "np.array([(1, 2.5), (2, np.nan)], dtype=[('n', 'i4'), ('f', 'f8')])",
    )
    assert table["data"]["columns"][1] == {"name": "f", "type": "float64", "nulls": 1}
    assert table["data"]["rows"] == [["1", "2.5"], ["2", "nan"]]


def test_numbers_of_arrays(python: Callable[..., Result]) -> None:
    require("numpy")
    mixed, whole, huge, empty, nothing, flags, waves, texts, hidden = _looks(
        python,
        "import numpy as np",
        "np.array([1.0, 2.0, 3.0, np.nan, np.inf, -np.inf])",
        "np.array([0, 2**64 - 1], dtype=np.uint64)",
        "np.array([-1.7e308, 1.7e308])",
        "np.zeros((0, 3))",
        "np.array([np.nan])",
        "np.array([True, False])",
        "np.array([3 + 4j])",
        f"np.array([{MARKUP!r}])",
        "np.ma.array([1, 2, 300], mask=[False, False, True])",
    )
    data = mixed["data"]
    assert mixed["kind"] == "array"
    assert (data["nan"], data["inf"]) == (1, 2)
    assert (data["min"], data["max"], data["mean"]) == (1, 3, 2)
    assert data["std"] == pytest.approx((2 / 3) ** 0.5)
    assert (sum(data["histogram"]), data["histogram"][0], data["histogram"][-1]) == (3, 1, 1)
    assert (data["type"], data["shape"], data["bytes"]) == ("float64", [6], 48)
    assert data["values"] == ["1.0", "2.0", "3.0", "nan", "inf", "-inf"]
    assert (whole["data"]["min"], whole["data"]["max"]) == (0, 2**64 - 1)
    assert (huge["data"]["min"], huge["data"]["std"]) == (-1.7e308, None)
    assert sum(huge["data"]["histogram"]) == 2
    assert "min" not in empty["data"]
    assert (nothing["data"]["min"], nothing["data"]["line"]) == (None, None)
    assert flags["data"]["mean"] == 0.5
    assert (waves["data"]["max"], waves["data"]["of"]) == (5, "magnitudes")
    assert texts["data"]["values"] == [MARKUP]
    assert (hidden["data"]["max"], hidden["data"]["nan"]) == (2, 1)


def test_lines_of_arrays(python: Callable[..., Result]) -> None:
    require("numpy")
    short, long = _looks(
        python,
        "import numpy as np; peak = np.zeros(100_000); peak[70_001] = 5",
        "np.array([0.0, 10.0, np.nan, 5.0])",
        "peak",
    )
    assert short["data"]["line"]["points"] == "0.0,100.0 166.7,0.0 500.0,50.0"
    points = long["data"]["line"]["points"].split()
    assert len(points) <= 500
    assert [each for each in points if each.endswith(",0.0")] == ["350.0,0.0"]


def test_pictures_of_arrays(python: Callable[..., Result]) -> None:
    require("numpy")
    small, large, wide, colored, first, floats, deep = _looks(
        python,
        "import numpy as np",
        "np.array([[0, 1], [np.nan, 0.5]])",
        "np.repeat(np.repeat(np.arange(4.0).reshape(2, 2), 1000, 0), 1000, 1)",
        "np.zeros((3, 5000))",
        "np.array([[[255, 0, 0], [0, 7, 0]]], dtype=np.uint8)",
        "np.moveaxis(np.array([[[255, 0, 9], [1, 2, 3]]] * 5, dtype=np.uint8), 2, 0)",
        "np.array([[[1.0, 0.5, 0.0, 1.0]]])",
        "np.zeros((5, 6, 7))",
    )
    width, height, pixels = _pixels(small["data"]["picture"])
    assert (width, height) == (2, 2)
    dark, bright, unknown, between = (pixels[n : n + 4] for n in range(0, 16, 4))
    assert (dark, bright) == (bytes((68, 1, 84, 255)), bytes((253, 231, 37, 255)))
    assert (unknown[3], between) == (0, bytes((33, 145, 140, 255)))
    assert small["data"]["table"]["rows"] == [["0.0", "1.0"], ["nan", "0.5"]]
    assert _pixels(large["data"]["picture"])[:2] == (500, 500)
    assert _pixels(wide["data"]["picture"])[:2] == (500, 3)
    assert _pixels(colored["data"]["picture"]) == (2, 1, bytes((255, 0, 0, 0, 7, 0)))
    assert _pixels(first["data"]["picture"]) == (2, 5, bytes((255, 0, 9, 1, 2, 3)) * 5)
    assert _pixels(floats["data"]["picture"]) == (1, 1, bytes((255, 128, 0, 255)))
    assert "picture" not in deep["data"]


def test_tensors(python: Callable[..., Result]) -> None:
    require("torch")
    (tensor,) = _looks(python, "import torch", "torch.tensor([[1.0, 3.0]], requires_grad=True)")
    assert (tensor["kind"], tensor["data"]["mean"]) == ("array", 2)


def test_images(python: Callable[..., Result]) -> None:
    png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03"
    drawn, raw, jpeg, web, svg, page, lying = _looks(
        python,
        f"""
        class Drawn:
            def _repr_png_(self):
                return {png!r}
        class Lying:
            def _repr_png_(self):
                return b"<svg onload=alert(1)>"
        """.strip(),
        "Drawn()",
        repr(png),
        repr(b"\xff\xd8\xff\xe0"),
        repr(b"RIFF\0\0\0\0WEBP"),
        repr(b"<svg onload=alert(1)></svg>"),
        repr(b"<html><script>"),
        "Lying()",
    )
    for each in (drawn, raw):
        assert each["kind"] == "image"
        assert (each["data"]["width"], each["data"]["height"]) == (2, 3)
        assert base64.b64decode(each["data"]["base64"]) == png
    types = [each["data"]["media_type"] for each in (drawn, raw, jpeg, web)]
    assert types == ["image/png", "image/png", "image/jpeg", "image/webp"]
    assert [each["kind"] for each in (svg, page, lying)] == ["text", "text", "tree"]


def test_figures_and_pictures_of_libraries(python: Callable[..., Result]) -> None:
    require("matplotlib", "PIL")
    figure, picture, printed = _looks(
        python,
        "from matplotlib.figure import Figure; from PIL import Image; figure = Figure((2, 1));"
        " _ = figure.subplots().plot([1, 2])",
        "figure",
        "Image.new('RGB', (3000, 10), 'red')",
        "Image.new('CMYK', (3, 2))",
    )
    assert (figure["kind"], figure["data"]["width"]) == ("image", 200)
    assert (picture["data"]["width"], picture["data"]["height"]) == (3000, 10)
    assert printed["kind"] == "image"


def test_numbers_that_are_too_large_to_be_read(python: Callable[..., Result]) -> None:
    (seen,) = _looks(python, "", "-(2**20_000)")
    assert seen["data"]["text"] == "<int of 20001 bits>"


def test_text_that_cannot_be_encoded(python: Callable[..., Result]) -> None:
    (seen,) = _looks(python, "", r"'a\udc80b'")
    assert seen["data"]["text"] == "a\\udc80b"


# Large ones, and many.


def test_a_large_frame(tmp_path: Path) -> None:
    require("pandas")
    _record(
        tmp_path,
        """
        import numpy as np, pandas as pd
        from snapshot.replay import record

        @record
        def frame(count):
            return pd.DataFrame({"n": range(count), "f": np.arange(count) / 2, "t": ["x"] * count})

        frame(1_000_000)
        """,
    )
    seen = _seen(tmp_path, 1, timeout=60, rows=10)
    assert seen.kind == "table", seen
    assert seen.data["shape"] == [1_000_000, 3]
    assert seen.data["rows"][9] == ["9", "4.5", "x"]
    assert len(seen.data["rows"]) == 10


def test_a_large_array_is_not_copied(tmp_path: Path) -> None:
    require("numpy")
    _record(
        tmp_path,
        """
        import numpy as np
        from snapshot.replay import record

        @record
        def zeros(count):
            return np.zeros((count, 1000))

        zeros(20_000)
        """,
    )
    seen = _seen(tmp_path, 1, timeout=60, memory="300M")  # 160 MB are the array itself
    assert (seen.kind, seen.data.get("mean")) == ("array", 0), seen
    assert "more memory" in _reason(_seen(tmp_path, 1, memory="100M"))


def test_many_at_once(shop: Path) -> None:
    (call,) = _calls(shop, "order")
    names = ["number", "*0", "*1", "extra", "note"] * 2
    with ThreadPoolExecutor(10) as pool:
        seen = list(pool.map(lambda name: _seen(shop, call, "arguments", name, timeout=60), names))
    assert [each.data["text"] for each in seen] == ["1", "5", "6", "2", MARKUP] * 2
    assert threading.active_count() == 1


def test_a_store_in_postgresql(tmp_path: Path) -> None:
    postgres.require()
    require("psycopg")
    with postgres.server() as url:
        result = run_python(
            f"""
            from snapshot.replay import record
            from snapshot.replay.executions import opened

            @record(store={url!r})
            def give(value):
                pass

            give([1, 2])
            with opened({url!r}):
                pass
            """,
            directory=tmp_path,
        )
        assert result.code == 0, result
        seen = view(url, Where(1, "arguments", "value"))
        assert _outline(seen.data) == {"0": "1", "1": "2"}
