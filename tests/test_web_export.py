"""Pages of the explorer in files: they lead to each other alone, and open without a server."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from snapshot.heat.rootmarker import NAME
from tests import libraries
from tests.browsing import chromium, in_a_browser, violations
from tests.processes import Program, Result
from tests.terminal import Terminal

SHOP = '''
from snapshot.memo import memoize
from snapshot.replay import record

NAMES = [
    "<img src=x onerror=alert(1)>",
    "../../../../etc/passwd",
    "a/b\\\\c:d?e=f#g&h%2e%2e",
    "'quotes\\" and\\nlines\\t\\x00",
    "Same", "same", "SAME",
    "über.html", ".hidden", "con", "n" * 3000, "n" * 3001,
]

@record
def price(n, note):
    """What it costs."""
    if n == 3:
        raise ValueError("<b>three</b> \\" ' \\n\\x00")
    return "<a href='http://evil.example/'>" * n

@memoize()
def half(n):
    return [n / 2, "<script>alert(1)</script>"] * 20

def named(name):
    def shown(x):
        return x
    shown.__code__ = shown.__code__.replace(co_name=name, co_qualname=name)
    return record(shown)

for each in NAMES:
    named(each)('"><script>alert(1)</script>')
for n in range(60):
    try:
        price(n, note="</main><form action='http://evil.example/'>")
    except ValueError:
        pass
for n in (1, 1, 2):
    half(n)
'''


KINDS = {"calls", "functions", "heat", "memo", "objects"}


class _Page(HTMLParser):
    """What a page leads to, and of what it is made."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.leads: list[str] = []
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(path.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name.endswith(("href", "src")):
                self.leads.append(value or "")


def export(folder: Path, *arguments: str) -> Result:
    """`snapshot web --export` there."""
    for each in ("starlette", "uvicorn", "jinja2"):
        libraries.require(each)
    command = [sys.executable, "-m", "snapshot", "web", "--export", *arguments]
    with Program(command, directory=folder) as program:
        return program.finish(60)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a store of 72 calls, 14 functions and 2 memo entries, traced by heat."""
    for each in ("libcst", "tomlkit"):
        libraries.require(each)
    (tmp_path / NAME).touch()
    (tmp_path / "shop.py").write_text(SHOP)
    command = [sys.executable, "-m", "snapshot", "heat", "run", "shop.py"]
    with Program(command, directory=tmp_path) as program:
        assert program.finish(60).code == 0
    return tmp_path


def pages(folder: Path) -> dict[str, Path]:
    """Those that were written, by their names."""
    return {str(each.relative_to(folder)): each for each in sorted(folder.rglob("*.html"))}


def of_each_kind(folder: Path) -> list[str]:
    """The names of the lists, and of a page of each other kind."""
    kinds = {}
    for name in pages(folder):
        folders, _, last = name.rpartition("/")
        kinds[re.sub("/.*", "/", folders), name.count("/"), last * (name.count("/") != 1)] = name
    return [*kinds.values()]


def test_pages_lead_to_files_alone(shop: Path) -> None:
    done = export(shop, "out")
    found = pages(shop / "out")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == f"wrote {len(found) - 1} pages to out\n"  # one is there under two names
    assert {"index.html", "calls.html", "calls-page-2.html", "functions.html"} < found.keys()
    assert {
        "functions/__main__-price.html",
        "heat.html",
        "memo.html",
        "objects.html",
    } < found.keys()
    assert {name.split("/")[0] for name in found if "/" in name} == KINDS
    reached = {shop / "out" / "index.html"}
    for path in found.values():
        page = _Page(path)
        assert page.leads
        for each in page.leads:
            parts = urlsplit(each)
            assert (parts.scheme, parts.netloc, parts.path[:1] == "/") == ("", "", False), each
            target = path.parent / unquote(parts.path) if parts.path else path
            assert target.is_file(), each
            reached.add(target.resolve())
            if target.suffix == ".html" and parts.fragment:
                assert f'id="{parts.fragment}"' in target.read_text(), each
        assert page.elements.isdisjoint({"form", "input", "button", "script", "select", "label"})
        assert page.attributes.isdisjoint({"action", "onclick", "onerror", "data-events"})
        text = path.read_text("utf-8")
        assert '<meta http-equiv="Content-Security-Policy" content="default-src' in text
        assert "nothing can be changed here" in text
    assert reached == {each for each in (shop / "out").rglob("*") if each.is_file()}


def test_nothing_that_is_stored_is_more_than_text(shop: Path) -> None:
    assert export(shop, "out").code == 0
    shown = ""
    for name, path in pages(shop / "out").items():
        page = _Page(path)
        assert not [each for each in page.leads if "evil" in each]
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", name)
        assert all(len(each) < 120 for each in name.split("/"))
        shown += path.read_text("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "&lt;/main&gt;&lt;form action=" in shown
    functions = [each for each in pages(shop / "out") if each.startswith("functions/")]
    assert len({each.lower() for each in functions}) == 14
    assert [*shop.rglob("*passwd*")] == [
        shop / "out" / each for each in functions if "pass" in each
    ]


def test_the_newest_calls_are_written(shop: Path) -> None:
    done = export(shop, "out", "--most", "10")
    assert done.code == 0
    assert re.fullmatch(
        r"wrote \d+ pages to out; 62 older calls have no page of their own, "
        r"not everything has one in Functions, Objects: --most\n",
        done.stdout,
    )
    found = pages(shop / "out")
    assert "calls-page-2.html" not in found
    assert len([each for each in found if each.startswith("functions/")]) == 10
    text = found["calls.html"].read_text()
    assert "The newest 10 calls were written here; 62 older calls have no page" in text
    assert "Next →" in text
    assert "No more than 10 pages of a kind" in found["functions.html"].read_text()
    everything = export(shop, "all", "--most", "72")
    assert "older" not in everything.stdout
    assert "were written here" not in (shop / "all" / "calls.html").read_text()


def test_where_it_can_be_written(shop: Path) -> None:
    (shop / "empty").mkdir()
    os.symlink(shop / "empty", shop / "link")
    before = (shop / "empty").stat().st_ino
    assert export(shop, "link").code == 0
    assert (shop / "empty").stat().st_ino == before
    assert (shop / "empty" / "index.html").is_file()
    (shop / "file").touch()
    listed = sorted(os.listdir(shop))
    for arguments, why in (
        (("empty",), "empty is not empty: name a folder that is new, or empty"),
        (("file",), "file is a file: name a folder that is new, or empty"),
        (("no/where",), "cannot write no/where: No such file or directory"),
        (("out", "--most", "x"), "--most x: give a number, such as 1000"),
        (("out", "--store", "none/store.db"), "none/store.db"),
    ):
        done = export(shop, *arguments)
        assert done.code != 0
        assert why in done.stderr
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
    assert sorted(os.listdir(shop)) == listed


def test_a_progress_bar_on_a_terminal(shop: Path, open_terminal: Callable[..., Terminal]) -> None:
    libraries.require("starlette")
    terminal = open_terminal()
    shown = terminal.run("python -m snapshot web --export out", timeout=60)
    assert re.search(r"wrote \d+ pages to out$", shown)
    assert re.search(r"█ (\d+)/\1 pages\r\x1b\[K", terminal.raw())


@in_a_browser
def test_they_open_from_files(shop: Path) -> None:
    assert export(shop, "out").code == 0
    problems: list[str] = []
    address = (shop / "out").as_uri()
    with chromium(viewport={"width": 1300, "height": 900}) as context:
        page = context.new_page()
        page.on("console", lambda each: problems.append(each.text))
        page.on("pageerror", lambda each: problems.append(str(each)))
        page.on("dialog", lambda each: problems.append(each.message))
        page.on(
            "request",
            lambda each: None if each.url.startswith(address) else problems.append(each.url),
        )
        for name in of_each_kind(shop / "out"):
            page.goto(f"{address}/{name}")
            assert page.evaluate("getComputedStyle(document.body).margin") == "0px", "no style"
        page.goto(f"{address}/index.html")
        page.get_by_role("link", name="Next").click()
        page.get_by_text("Page 2 of 2").wait_for()
        page.get_by_role("link", name="Functions").focus()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="price", exact=False).first.click()
        page.get_by_role("heading", name="How long its calls took").wait_for()
    assert problems == []
    with chromium(bypass_csp=True) as context:  # axe reads the stylesheet, which a page may not
        page = context.new_page()
        for name in of_each_kind(shop / "out"):
            page.goto(f"{address}/{name}")
            assert violations(page) == [], name
