"""Reports: what is known of functions, as text, JSON, CSV and a treemap."""

from __future__ import annotations

import csv
import io
import json
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from snapshot.commands import heat
from snapshot.errors import CannotRead, NoStore, StoreTooNew, UsageError
from snapshot.heat import reports, treemap
from snapshot.heat.treemap import Node
from snapshot.store import Store
from tests.libraries import require
from tests.packages import sources_of
from tests.processes import Result, environment
from tests.terminal import Terminal

Run = Callable[..., Result]

SOURCE = """
from snapshot.heat import tracing
from pack import module
tracing.start(mode="counts")
module.often()
module.often()
module.once()
"""


@pytest.fixture
def root(tmp_path: Path, python: Run) -> Path:
    """An application that was traced."""
    (tmp_path / "snapshot.rootmarker").touch()
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").touch()
    (tmp_path / "pack" / "module.py").write_text(
        "def often(): pass\ndef once(): pass\ndef never():\n    often()\n"
    )
    assert python(SOURCE).code == 0
    return tmp_path


def asked(name: str, root: Path, *words: str) -> int:
    options = Namespace(words=[name, *words, "--root", str(root)])
    return heat.execute(options)


def fetched(root: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    asked("fetch", root, "--format", "json", *words)
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_json(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {each["key"]: each for each in fetched(root, capsys)}
    assert set(rows) == {f"pack.module:{each}" for each in ("often", "once", "never")}
    often, never = rows["pack.module:often"], rows["pack.module:never"]
    assert (often["hits"], often["path"], often["line"]) == (2, "pack/module.py", 1)
    assert often["first_seen"] <= often["last_seen"]
    assert (often["references"], never["references"]) == (3, 0)
    assert (never["hits"], never["first_seen"], never["last_seen"]) == (0, None, None)


def test_cold_hot_and_percentile(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def keys(*words: str) -> list[str]:
        return [each["key"].partition(":")[2] for each in fetched(root, capsys, *words)]

    assert keys("--cold") == ["never"]
    assert keys("--hot") == ["often", "once"]
    assert keys("--percentile", "P10") == ["never"]
    assert keys("--percentile", "50") == ["never", "once"]
    assert keys("--cold", "--since", "2100-01-01") == ["often", "once", "never"]


def test_text_and_csv(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked("fetch", root, "--cold")
    assert capsys.readouterr().out == "0    pack.module:never  pack/module.py:3\n"
    asked("fetch", root, "--hot", "--format", "csv")
    (first, _) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["key"], first["hits"]) == ("pack.module:often", "2")


def test_what_is_not_in_the_source_is_shown_with_all(
    root: Path, capsys: pytest.CaptureFixture[str], python: Run
) -> None:
    (root / "pack" / "module.py").write_text("def often(): pass\ndef once(): pass\n")
    assert [each["key"] for each in fetched(root, capsys, "--cold")] == []
    (row,) = fetched(root, capsys, "--cold", "--all")
    assert (row["key"], row["drift"]) == ("pack.module:never", "gone")
    assert python(SOURCE).code == 0
    (row,) = fetched(root, capsys, "--cold", "--all")
    assert row["drift"] == "archived"
    assert asked("restore", root, "pack.module:never") == 0
    capsys.readouterr()
    (row,) = fetched(root, capsys, "--cold", "--all")
    assert row["drift"] == "gone"
    with pytest.raises(UsageError, match=r"not in the archive: pack\.module:never"):
        asked("restore", root, "pack.module:never")


def test_coldness(root: Path) -> None:
    (root / "pack" / "new.py").write_text("def new(): pass\n")
    is_cold = reports.coldness(root, None)
    names = ("module:often", "module:never", "module:never@3", "new:new", "module:unknown")
    assert [is_cold(f"pack.{each}") for each in names] == [False, True, None, None, None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--since", "yesterday"], "'yesterday' is no time: write 2026-01-31"),
        (["--percentile", "P0"], "'P0' is no percentile: write P10"),
    ],
)
def test_mistakes(root: Path, words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        asked("fetch", root, *words)


def test_how_far_it_is_is_shown_on_a_terminal(tmp_path: Path, terminal: Terminal) -> None:
    (tmp_path / "snapshot.rootmarker").touch()
    for number in range(60):
        (tmp_path / f"m{number}.py").write_text(f"def f{number}(): pass\n")
    terminal.line("snapshot heat run m0.py; snapshot heat fetch --format json > out; echo DO''NE")
    terminal.wait_for("DONE")
    shown = terminal.transcript()
    assert "█ 60/60 files are read" in shown
    assert "█ 60/60 files are searched" in shown
    assert "files are" not in terminal.screen()
    assert len(json.loads((tmp_path / "out").read_text())) == 60


def test_since_is_a_duration_as_well(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {each["hits"] for each in fetched(root, capsys, "--hot", "--since", "1h")} == {1, 2}
    assert fetched(root, capsys, "--hot", "--since", "0s") == []


def test_an_application_is_known_by_its_name(
    root: Path, capsys: pytest.CaptureFixture[str], python: Run
) -> None:
    marker = root / "snapshot.rootmarker"
    marker.write_text('name = "shop"\n')
    assert not fetched(root, capsys, "--hot")
    asked("fetch", root)
    assert f"nothing is known of shop: trace it, by `snapshot heat run`; there are {root.name}" in (
        capsys.readouterr().err
    )
    assert python(SOURCE).code == 0
    assert len(fetched(root, capsys, "--hot")) == 2
    with Store(root / ".snapshot" / "store.db") as store:
        assert store.heat.applications() == sorted([root.name, "shop"])
    marker.write_text("name = 3\n")
    with pytest.raises(CannotRead, match="has 3 as name: give a text"):
        asked("fetch", root)


def test_two_versions_at_once(root: Path, capsys: pytest.CaptureFixture[str], python: Run) -> None:
    """As while a deployment rolls: each publishes what it has, in turn."""
    source, old = root / "pack" / "module.py", (root / "pack" / "module.py").read_text()
    more = "def once(): fresh()\ndef fresh(): pass\ndef cold(): pass\n"
    new = old.replace("def once(): pass\n", more).replace("never", "never_more")
    for text in (old, new, old, new, old):
        source.write_text(text)
        assert python(SOURCE).code == 0

    def told(text: str) -> dict[str, tuple[int | None, str]]:
        source.write_text(text)
        rows = fetched(root, capsys, "--all")
        return {each["key"].partition(":")[2]: (each["hits"], each["drift"]) for each in rows}

    assert told(new) == {
        **{"often": (12, ""), "once": (6, "changed"), "fresh": (2, ""), "cold": (0, "")},
        **{"never_more": (0, ""), "never": (0, "gone")},
    }
    assert told(old) == {
        **{"often": (12, ""), "once": (6, ""), "never": (0, "")},
        **{"fresh": (2, "gone"), "cold": (0, "archived"), "never_more": (0, "archived")},
    }


def test_without_a_store(tmp_path: Path) -> None:
    (tmp_path / "snapshot.rootmarker").touch()
    with pytest.raises(NoStore, match="there is no store"):
        asked("fetch", tmp_path)


def test_a_store_of_a_later_version(root: Path, python: Run) -> None:
    with Store(root / ".snapshot" / "store.db") as store:
        store._database.rows("PRAGMA user_version = 99")
    with pytest.raises(StoreTooNew, match="update snapshot"):
        asked("fetch", root)
    result = python(SOURCE)
    assert result.code == 0, result


def test_the_command_runs_a_program(tmp_path: Path) -> None:
    (tmp_path / "snapshot.rootmarker").touch()
    (tmp_path / "program.py").write_text(
        "import sys\ndef f(): pass\ndef g(): pass\nf()\nsys.exit(len(sys.argv))\n"
    )

    def heat(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snapshot", "heat", *words],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = heat("run", "--mode", "once", "program.py", "--cold")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
    assert heat("fetch", "--cold").stdout == "0    program:g  program.py:3\n"
    assert heat("run", "-m", "program").returncode == 1
    assert heat("run").stderr == (
        "snapshot heat run: nothing to run: give a script, -m module or -c code\n"
    )


def test_a_program_that_ctrl_c_ends(tmp_path: Path) -> None:
    """As Python does, it dies of the signal, and what ran is known."""
    (tmp_path / "snapshot.rootmarker").touch()
    (tmp_path / "program.py").write_text(
        "import os, signal\ndef f(): pass\nf()\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    command = [sys.executable, "-m", "snapshot", "heat"]
    where: dict[str, Any] = {"cwd": tmp_path, "env": environment(tmp_path), "timeout": 60}
    done = subprocess.run([*command, "run", "program.py"], **where, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT, done
    assert done.stderr.splitlines()[-1] == "KeyboardInterrupt"
    told = subprocess.run([*command, "fetch", "--hot"], **where, capture_output=True, text=True)
    assert "program:f" in told.stdout


def in_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of the shell there, in which $0 is this Python."""
    return subprocess.run(
        ["sh", "-c", line, sys.executable],
        cwd=folder,
        env=environment(folder.parent),
        timeout=60,
        capture_output=True,
        text=True,
    )


def test_standard_error_may_be_closed(root: Path) -> None:
    done = in_shell('exec "$0" -m snapshot heat fetch --cold 2>&-', root)
    assert (done.returncode, done.stdout) == (0, "0    pack.module:never  pack/module.py:3\n")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    (folder := tmp_path / "gone").mkdir()
    done = in_shell('rmdir "$PWD" && exec "$0" -m snapshot heat files', folder)
    assert done.returncode == 2
    assert done.stderr.startswith("snapshot heat files: there is no working directory to look for")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["heat.html", "heat.svg"])
def test_the_map(root: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = root / name
    asked("map", root, "-o", str(output))
    text = output.read_text()
    begin = text.index("<svg")
    picture = ElementTree.fromstring(text[begin : text.index("</svg>") + 6])
    space = "{http://www.w3.org/2000/svg}"
    titles = {f"{each.text}".splitlines()[0] for each in picture.iter(f"{space}title")}
    assert {"pack", "pack.module", "pack.module:often", "pack.module:never"} <= titles
    assert "prefers-color-scheme: dark" in text
    assert not [each for each in ("src=", "href=", "url(", "<script") if each in text]


def test_a_map_in_a_page_has_links_and_brings_no_colours() -> None:
    inside = [
        Node("f", "f", 3.0, 0, key="m:f"),
        Node("<g>", "<g>", 2.0, 9, time.time() - 8 * 86400, "m:<g>"),
    ]
    drawn = treemap.linked(Node("m", "m", inside=inside), lambda each: f"/?k={each.key}", by="last")
    root = ElementTree.fromstring(drawn)
    assert root.find("style") is None
    links = {each.get("href"): each.find("rect") for each in root.iter("a")}
    assert {name: each is not None and each.get("class") for name, each in links.items()} == {
        "/?k=": "frame",
        "/?k=m:f": "h0",
        "/?k=m:<g>": "h3",
    }


def test_the_map_is_filled_without_overlaps() -> None:
    inside = [Node(f"f{size}", "", float(size), size % 3) for size in range(1, 40)]
    picture = ElementTree.fromstring(treemap.svg(Node("all", "all", inside=inside)))
    space = "{http://www.w3.org/2000/svg}"
    boxes = [
        [float(each.attrib[name]) for name in ("x", "y", "width", "height")]
        for each in picture.iter(f"{space}rect")
        if each.attrib["class"] != "frame" and float(each.attrib["y"]) > 20  # of the legend
    ]
    assert len(boxes) == len(inside)
    for index, (x, y, width, height) in enumerate(boxes):
        for left, top, wide, high in boxes[:index]:
            apart = x >= left + wide - 0.2 or left >= x + width - 0.2
            assert apart or y >= top + high - 0.2 or top >= y + height - 0.2


def test_a_package_s_own_tests(tmp_path: Path) -> None:
    require("yaml")  # which its tests need
    sources = sources_of("markdown==3.7", tmp_path)
    (sources / "snapshot.rootmarker").touch()
    variables = environment(tmp_path, {"TMPDIR": str(tmp_path)})
    code = (
        "import unittest\nfrom snapshot.heat import tracing\nassert tracing.start()\n"
        "unittest.main(None, argv=['-', 'discover', '-q', 'tests'])\n"
    )
    (sources / "run_all.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "run_all.py"],
        cwd=sources,
        env=variables,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    is_cold = reports.coldness(sources, None)
    assert is_cold("markdown.core:Markdown.convert") is False
    assert is_cold("markdown.extensions.toc:TocTreeprocessor.run") is False
    assert is_cold("markdown.__main__:run") is True
