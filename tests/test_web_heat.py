"""Heat in the explorer: an application that really ran, and edits that are undone to the byte."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from snapshot.heat import treemap
from snapshot.heat.rootmarker import NAME
from tests.browsing import Answer, Explorer, Person, explorer, in_a_browser, person
from tests.libraries import require
from tests.processes import Program, Result

PRICES = """\
\"\"\"Prices.\"\"\"

with open("imported", "a") as file:
    file.write("imported\\n")


def price(name):
    return len(name) * 0.5


def refund(name):
    return -price(name)  # "<img src=x onerror=alert(1)>"


def discount(name):
    # Rarely.
    return price(name) * 0.9


def unused(name):   # odd    spaces stay
    return name
"""
BASKET = """\
from shop.prices import price, discount


class Basket:
    def add(self, name):
        return price(name)

    def sale(self, name):
        return discount(name)
"""
MAIN = """\
import sys

from shop.views.basket import Basket

for line in sys.stdin:
    getattr(Basket(), line.strip())("pear")
    print(line, flush=True)
"""
HOSTILE = "<img src=x onerror=alert(1)>'\""


def heat(directory: Path, *words: str, stdin: str = "") -> Result:
    """`snapshot heat` to its end."""
    command = [sys.executable, "-m", "snapshot", "heat", *words]
    with Program(command, directory=directory, stdin=stdin) as program:
        return program.finish(60)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An application that ran: `price` and `Basket.add` did, the others did not."""
    root = tmp_path_factory.mktemp("traced") / "app"
    (root / "shop" / "views").mkdir(parents=True)
    (root / NAME).write_text('# What counts.\n[ignore]\nfiles = ["main.py"] # it only starts\n')
    (root / "shop" / "__init__.py").touch()
    (root / "shop" / "prices.py").write_text(PRICES)
    (root / "shop" / "views" / "basket.py").write_text(BASKET)
    (root / "main.py").write_text(MAIN)
    ran = heat(root, "run", "--deployment", HOSTILE, "main.py", stdin="add\nadd\n")
    assert ran.code == 0, ran
    return root


@contextlib.contextmanager
def explored(shop: Path) -> Iterator[Explorer]:
    """Its explorer. Nothing of the application is ever imported by it."""
    before = (shop / "imported").read_text()
    with explorer(shop) as found:
        yield found
    assert (shop / "imported").read_text() == before


@pytest.fixture
def shop(traced: Path, tmp_path: Path) -> Path:
    """It, for a test alone, which may edit it."""
    require("libcst", "tomlkit")
    return shutil.copytree(traced, tmp_path / "app")


@pytest.fixture
def server(shop: Path) -> Iterator[Explorer]:
    """Its explorer."""
    with explored(shop) as found:
        yield found


@pytest.fixture(scope="module")
def standing(traced: Path) -> Iterator[Explorer]:
    """An explorer for tests that change nothing."""
    with explored(traced) as found:
        yield found


def finished(server: Explorer, answer: Answer) -> Answer:
    """The page of the job that a form has started, when it is over."""
    assert answer.status == 303, answer.text
    where = answer.headers["location"]
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    with contextlib.closing(connection):
        topic = quote(f"job:{where.rpartition('/')[2]}")
        connection.request("GET", f"/events?of={topic}", headers={"Cookie": server.cookie})
        response = connection.getresponse()
        while line := response.readline():
            if line.startswith(b"data:") and "data-over" in (page := server.get(where)).text:
                response.close()
                return page
    raise AssertionError("the explorer has ended")


def planned(server: Explorer, *keys: str, **more: str) -> Answer:
    """What the removal of some functions would change."""
    return finished(
        server, server.post("/heat/remove", {"key": keys, **more}, page="/heat/functions")
    )


def hidden(page: Answer) -> dict[str, str]:
    """What the forms of a page hide."""
    return dict(
        re.findall(
            r'<input type="hidden" name="(job|plan|digest|removal)" value="([^"]*)"', page.text
        )
    )


def put_back(server: Explorer) -> Answer:
    """Take back the removal that the page of the last one shows."""
    told = hidden(server.get("/heat/removed"))
    return server.post("/heat/undo", told, page="/heat/functions")


def keys(page: Answer) -> list[str]:
    """The functions of a list, in its order."""
    return re.findall(r'<th scope="row"><a class="function"[^>]* title="([^"]*)"', page.text)


def test_the_map(standing: Explorer) -> None:
    page = standing.get("/heat").text
    assert 'href="/heat/source?key=shop.prices%3Arefund" tabindex="-1"' in page
    assert 'href="/heat?in=shop.views"' in page
    assert "<style" not in page
    assert re.search(r'<title>shop.prices:refund\n[^<]*never ran</title><rect class="h0"', page)
    assert re.search(r'<title>shop.prices:price\n[^<]*</title><rect class="h5"', page)
    inside = standing.get("/heat?in=shop.views").text
    assert "Basket.add" in inside
    assert "refund" not in inside
    assert '<a href="/heat?in=shop">shop</a>' in inside
    by_age = standing.get("/heat?by=last").text
    assert "within 90 days" in by_age
    assert re.search(r'<title>shop.prices:price\n[^<]*</title><rect class="h5"', by_age)


def test_each_colour_of_a_map_is_in_the_stylesheet(standing: Explorer) -> None:
    style = standing.get("/static/style.css").text
    for kind in {"frame", *(kind for legend in treemap.LEGENDS.values() for kind, _ in legend)}:
        assert f"svg.treemap .{kind} {{ fill:" in style


def test_the_list(standing: Explorer) -> None:
    page = standing.get("/heat/functions")
    ran = ["shop.prices:price", "shop.views.basket:Basket.add"]
    cold = [f"shop.prices:{each}" for each in ("discount", "refund", "unused")]
    cold.append("shop.views.basket:Basket.sale")
    assert keys(page) == ran + cold
    assert "&lt;img src=x onerror=alert(1)&gt;" in page.text
    assert "<img src=x" not in page.text
    assert "How many places lead to each is not known" in page.text
    for query, expected in (
        ("show=cold", cold),
        ("show=hot", ran),
        ("show=P60", cold),
        ("show=gone", []),
        ("since=1h&show=hot", ran),
        ("since=2100-01-01&show=hot", []),
        ("in=shop.views", [ran[1], cold[3]]),
        ("in=shop.view", []),
        ("search=REF", ["shop.prices:refund"]),
        ("search=basket.py", [ran[1], cold[3]]),
        ("sort=key&way=up&in=shop.prices", sorted([ran[0], *cold[:3]])),
        ("sort=place&way=up&in=shop.prices", [ran[0], cold[1], cold[0], cold[2]]),
    ):
        assert keys(standing.get(f"/heat/functions?{query}")) == expected, query


def test_references_are_counted_when_asked(server: Explorer, shop: Path) -> None:
    over = finished(server, server.post("/heat/references", {}, page="/heat/functions"))
    assert "6 functions were looked for" in over.text
    page = server.get("/heat/functions?sort=references&way=up")
    assert keys(page)[0] == "shop.prices:refund"
    assert '#references">0</a>' in page.text
    source = "/heat/source?key=shop.prices:discount"
    assert "Nobody has looked" in server.get(source).text
    over = finished(
        server,
        server.post("/heat/references", {"key": "shop.prices:discount"}, page="/heat/functions"),
    )
    link = '<a class="words" href="/heat/file?path=shop%2Fviews%2Fbasket.py&amp;line=9#L9">'
    for each in (over, server.get(source)):
        assert link in each.text
    assert (
        '<li id="L9" class="here">'
        in server.get("/heat/file?path=shop/views/basket.py&line=9").text
    )
    with (shop / "shop" / "views" / "basket.py").open("a") as file:
        file.write("\n# changed\n")
    assert "Nobody has looked" in server.get(source).text


def test_a_function(standing: Explorer) -> None:
    page = standing.get("/heat/source?key=shop.prices:price").text
    assert '<li id="L7" class="here">' in page
    assert '<li id="L8" class="here">' in page
    assert '<li id="L9">' in page
    assert 'aria-label="Ran on 1 day, with at most' in page
    assert "as here" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    cold = standing.get("/heat/source?key=shop.prices:refund").text
    assert "never ran" in cold
    assert "&lt;img src=x onerror=alert(1)&gt;" in cold
    assert "<img src=x" not in page + cold


def test_the_source_may_change_meanwhile(server: Explorer, shop: Path) -> None:
    assert "shop.prices:fresh" not in server.get("/heat/functions").text
    with (shop / "shop" / "prices.py").open("a") as file:
        file.write("\n\ndef fresh():\n    pass\n")
    (shop / "shop" / "broken.py").write_text("def (")
    page = server.get("/heat/functions").text
    assert "shop.prices:fresh" in page
    assert "1 file could not be read" in page
    assert "No traced process has known it" in page


def test_no_root_marker(tmp_path: Path) -> None:
    with explorer(tmp_path) as server:
        page = server.get("/heat")
        assert (page.status, "touch snapshot.rootmarker" in page.text) == (200, True)
        assert server.get("/heat/functions").status == 400


def test_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / NAME).touch()
    (tmp_path / "module.py").write_text("def f(): pass\n")
    with explorer(tmp_path) as server:
        for path in ("/heat", "/heat/functions"):
            page = server.get(path)
            assert page.status == 200
            assert "snapshot heat run script.py" in page.text
        assert keys(server.get("/heat/functions")) == ["module:f"]
        assert server.get("/heat/source?key=module:f").status == 200


def test_an_application_that_is_counted_in_another_store(shop: Path) -> None:
    (shop.parent / "pyproject.toml").touch()
    with explorer(shop.parent, "--root", "app") as server:
        page = server.get("/heat").text
        assert "Nothing is known of app in this store" in page
        assert f"It would be counted in {shop / '.snapshot' / 'store.db'}" in page


def test_a_damaged_root_marker(server: Explorer, shop: Path) -> None:
    (shop / NAME).write_text("[ignore\n")
    page = server.get("/heat")
    assert (page.status, "is no TOML" in page.text) == (409, True)


def test_another_application_of_the_store(server: Explorer, shop: Path) -> None:
    other = shop.parent / "other"
    other.mkdir()
    (other / NAME).touch()
    (other / "alone.py").write_text("def f(): pass\ndef g(): pass\nf()\n")
    ran = heat(other, "run", "--store", str(shop / ".snapshot" / "store.db"), "alone.py")
    assert ran.code == 0, ran
    while "application=other" not in (page := server.get("/heat").text):
        pass  # what is new is looked for twice a second
    assert "alone:f" not in page
    listed = server.get("/heat/functions?application=other").text
    assert "alone:f" in listed
    assert "never ran" in listed
    assert "<form method" not in listed
    assert server.get("/heat/functions?application=third").status == 404


@pytest.mark.parametrize("path", ["/heat", "/heat/functions", "/heat/source", "/heat/file"])
def test_bad_input(standing: Explorer, path: str) -> None:
    for name in ("in", "by", "since", "show", "sort", "page", "key", "path", "line", "application"):
        for value in (
            HOSTILE,
            "\0",
            "a/b",
            "../..",
            "x" * 10_000,
            "-1",
            "1e9",
            "\n",
            "é",
            ":",
            "@",
        ):
            answer = standing.get(f"{path}?{name}={quote(value)}")
            assert answer.status in (200, 400, 404), (name, value, answer.text)
            assert "<img src=x" not in answer.text


def test_bad_forms(standing: Explorer) -> None:
    for path, form in (
        ("/heat/chosen", {}),
        ("/heat/chosen", {"key": ["x"] * 201}),
        ("/heat/remove", {"key": HOSTILE}),
        ("/heat/ignore", {"key": HOSTILE}),
        ("/heat/ignore", {"key": "shop.prices:refund", "digest": "x"}),
        ("/heat/references", {"key": "\0"}),
        ("/heat/removed", {"job": "x", "plan": "y"}),
        ("/heat/removed", {}),
        ("/heat/restore", {"key": "x"}),
        ("/heat/ignored/x/undo", {}),
        ("/heat/undo", {}),
    ):
        answer = standing.post(path, form, page="/heat/functions")
        assert answer.status in (400, 404, 409), (path, form, answer.text)


def test_no_path_leads_out(server: Explorer, shop: Path) -> None:
    (shop.parent / "secret.py").write_text("def secret(): pass\n")
    (shop / "shop" / "link.py").symlink_to(shop.parent / "secret.py")
    for path in (
        "../secret.py",
        f"{shop.parent}/secret.py",
        "shop/link.py",
        "shop",
        "",
        "imported",
    ):
        answer = server.get(f"/heat/file?path={quote(path)}")
        assert answer.status == 404, path
        assert "def secret" not in answer.text
    answer = server.get("/heat/source?key=shop.link:secret")
    assert answer.status == 409
    assert "leads out" in answer.text


def test_ignore_and_undo(server: Explorer, shop: Path) -> None:
    marker = shop / NAME
    before = marker.read_bytes()
    chosen = server.post(
        "/heat/chosen",
        {"key": ["shop.prices:refund", "shop.prices:unused"], "do": "ignore"},
        page="/heat/functions",
    )
    page = server.get(chosen.headers["location"])
    assert "shop.prices:unused" in page.text
    assert '<span class="added">' in page.text
    assert marker.read_bytes() == before
    form = {"key": ["shop.prices:refund", "shop.prices:unused"], **hidden(page)}
    done = server.post("/heat/ignore", form, page="/heat/functions")
    assert done.status == 303
    text = marker.read_text()
    assert text.startswith('# What counts.\n[ignore]\nfiles = ["main.py"] # it only starts\n')
    assert "shop.prices:refund" not in keys(server.get("/heat/functions"))
    assert "It is ignored" in server.get("/heat/source?key=shop.prices:refund").text
    told = server.get(done.headers["location"])
    assert "Undo" in told.text
    undone = server.post(f"{done.headers['location']}/undo", {}, page="/heat/functions")
    assert marker.read_bytes() == before
    assert "counts again" in server.get(undone.headers["location"]).text
    again = server.post(f"{done.headers['location']}/undo", {}, page="/heat/functions")
    assert again.status == 409


def test_a_name_is_ignored_as_it_is_and_is_no_pattern(server: Explorer, shop: Path) -> None:
    (shop / "od[d].py").write_text("def one():\n    pass\n")
    (shop / "odd.py").write_text("def one():\n    pass\n")
    page = server.get("/heat/ignore?key=od%5Bd%5D:one")
    form = {"key": "od[d]:one", **hidden(page)}
    assert server.post("/heat/ignore", form, page="/heat/functions").status == 303
    there = keys(server.get("/heat/functions?search=odd"))
    assert there == ["odd:one"]
    assert keys(server.get("/heat/functions?search=od[d]")) == []


def test_a_root_marker_that_is_a_link_stays_one(server: Explorer, shop: Path) -> None:
    real = (shop / NAME).rename(shop / "kept.toml")
    (shop / NAME).symlink_to(real)
    before = real.read_bytes()
    page = server.get("/heat/ignore?key=shop.prices:refund")
    form = {"key": "shop.prices:refund", **hidden(page)}
    done = server.post("/heat/ignore", form, page="/heat/functions")
    assert (shop / NAME).is_symlink()
    assert b"shop.prices:refund" in real.read_bytes()
    undo = f"{done.headers['location']}/undo"
    assert server.post(undo, {}, page="/heat/functions").status == 303
    assert (shop / NAME).is_symlink()
    assert real.read_bytes() == before


def test_a_root_marker_that_has_changed_is_not_written(server: Explorer, shop: Path) -> None:
    page = server.get("/heat/ignore?key=shop.prices:refund")
    (shop / NAME).write_text("# other\n")
    form = {"key": "shop.prices:refund", **hidden(page)}
    answer = server.post("/heat/ignore", form, page="/heat/functions")
    assert (answer.status, (shop / NAME).read_text()) == (409, "# other\n")


def test_remove_and_undo(server: Explorer, shop: Path) -> None:
    prices = shop / "shop" / "prices.py"
    plan = planned(server, "shop.prices:refund", "shop.prices:unused")
    assert "What stops it" not in plan.text
    assert '<span class="removed">-def refund(name):' in plan.text
    assert prices.read_text() == PRICES
    done = server.post("/heat/removed", hidden(plan), page="/heat/functions")
    assert done.headers["location"] == "/heat/removed"
    after = prices.read_text()
    assert "refund" not in after
    assert "unused" not in after
    assert "Removed 2 functions" in server.get("/heat").text
    assert '<span class="removed">-def refund(name):' in server.get("/heat/removed").text
    twice = server.post("/heat/removed", hidden(plan), page="/heat/functions")
    assert (twice.status, prices.read_text()) == (409, after)
    undone = put_back(server)
    assert prices.read_text() == PRICES
    assert (
        "Put back shop.prices:refund, shop.prices:unused"
        in server.get(undone.headers["location"]).text
    )
    assert "Nothing was removed" in server.get("/heat/removed").text


def test_an_undo_takes_back_what_its_page_has_shown(server: Explorer, shop: Path) -> None:
    for key in ("shop.prices:unused", "shop.prices:refund"):
        page = planned(server, key)
        assert server.post("/heat/removed", hidden(page), page="/heat/functions").status == 303
    shown = hidden(server.get("/heat/removed"))
    assert server.post("/heat/undo", shown, page="/heat/functions").status == 303
    again = server.post("/heat/undo", shown, page="/heat/functions")
    assert again.status == 409
    assert "is not the last one any more" in again.text
    page = planned(server, "shop.prices:refund")
    assert server.post("/heat/removed", hidden(page), page="/heat/functions").status == 303
    assert server.post("/heat/undo", shown, page="/heat/functions").status == 409
    assert "unused" not in (shop / "shop" / "prices.py").read_text()


def test_what_undoes_a_removal_may_be_damaged(server: Explorer, shop: Path) -> None:
    page = planned(server, "shop.prices:unused")
    assert server.post("/heat/removed", hidden(page), page="/heat/functions").status == 303
    (kept,) = (shop / ".snapshot" / "heat" / "undo").iterdir()
    kept.write_text("{")
    for path in ("/heat", "/heat/functions"):
        page = server.get(path)
        assert page.status == 200
        assert f"{kept} is damaged" in page.text
    assert server.get("/heat/removed").status == 409


def test_what_is_outside_is_not_edited(server: Explorer, shop: Path, tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text("def outside():\n    return 'secret'\n")
    (shop / "far.py").symlink_to(tmp_path / "far.py")
    page = planned(server, "far:outside", force="yes")
    assert "far.py is a link that leads out of the application" in page.text
    assert "secret" not in page.text


def test_names_of_files_that_are_no_text_and_links_to_themselves(shop: Path) -> None:
    (shop / os.fsdecode(b"bad\xff.py")).write_text("def f():\n    pass\n")
    (shop / "loop.py").symlink_to("loop.py")
    ran = heat(shop, "run", "--deployment", os.fsdecode(b"\xfe"), "main.py", stdin="add\n")
    assert (ran.code, ran.stderr) == (0, "")
    with explorer(shop) as found:
        for path in ("/heat", "/heat/functions"):
            page = found.get(path)
            assert page.status == 200
            assert "<code>bad\\udcff.py</code> has a name that is no UTF-8" in page.text
        assert "\\udcfe" in found.get("/heat/functions").text


def test_what_leads_to_a_function_stops_its_removal(server: Explorer, shop: Path) -> None:
    prices, basket = shop / "shop" / "prices.py", shop / "shop" / "views" / "basket.py"
    plan = planned(server, "shop.prices:discount")
    assert "What stops it" in plan.text
    assert "basket.py&amp;line=9#L9" in plan.text
    assert "return discount(name)" in plan.text
    assert 'name="plan"' not in plan.text
    forced = planned(server, "shop.prices:discount", force="yes")
    assert "# TODO: shop.prices:discount was removed" in forced.text
    done = server.post("/heat/removed", hidden(forced), page="/heat/functions")
    assert done.status == 303
    assert "def discount" not in prices.read_text()
    assert "# TODO: shop.prices:discount was removed" in basket.read_text()
    assert put_back(server).status == 303
    assert (prices.read_text(), basket.read_text()) == (PRICES, BASKET)
    warm = planned(server, "shop.prices:price")
    assert "it has been called" in warm.text


def test_a_plan_stands_on_the_files_it_has_seen(server: Explorer, shop: Path) -> None:
    prices, basket = shop / "shop" / "prices.py", shop / "shop" / "views" / "basket.py"
    plan = planned(server, "shop.prices:refund")
    basket.write_text(f"{BASKET}\n\ndef back(name):\n    from shop.prices import refund\n")
    answer = server.post("/heat/removed", hidden(plan), page="/heat/functions")
    assert (answer.status, prices.read_text()) == (409, PRICES)
    assert "plan it again" in answer.text
    basket.write_text(BASKET)
    edited = f"{PRICES}\n# More.\n"
    prices.write_text(edited)
    answer = server.post("/heat/removed", hidden(plan), page="/heat/functions")
    assert (answer.status, prices.read_text()) == (409, edited)


def test_a_function_that_was_called_meanwhile_stays(server: Explorer, shop: Path) -> None:
    plan = planned(server, "shop.views.basket:Basket.sale")
    assert 'name="plan"' in plan.text
    before = (shop / "imported").read_text()
    assert heat(shop, "run", "main.py", stdin="sale\n").code == 0
    (shop / "imported").write_text(before)
    while "shop.views.basket:Basket.sale" in keys(server.get("/heat/functions?show=cold")):
        pass  # what is new is looked for twice a second
    answer = server.post("/heat/removed", hidden(plan), page="/heat/functions")
    assert answer.status == 409
    assert "has been called" in answer.text
    assert (shop / "shop" / "views" / "basket.py").read_text() == BASKET


def test_the_archive(server: Explorer, shop: Path) -> None:
    prices = shop / "shop" / "prices.py"
    prices.write_text(PRICES.partition("def unused")[0].rstrip() + "\n")
    before = (shop / "imported").read_text()
    assert heat(shop, "run", "main.py", stdin="add\n").code == 0
    (shop / "imported").write_text(before)
    gone = "/heat/functions?show=gone"
    while "archived" not in (page := server.get(gone)).text:
        pass  # what is new is looked for twice a second
    assert keys(page) == ["shop.prices:unused"]
    assert "Restore" in page.text
    assert "Its source is not here" in server.get("/heat/source?key=shop.prices:unused").text
    done = server.post("/heat/restore", {"key": "shop.prices:unused"}, page=gone)
    after = server.get(done.headers["location"]).text
    assert "Taken out of the archive: shop.prices:unused" in after
    assert ">archived<" not in after


def test_read_only(shop: Path) -> None:
    with explorer(shop, "--read-only") as server:
        for path in (
            *("/heat", "/heat/functions", "/heat/source?key=shop.prices:refund"),
            *("/heat/ignore?key=shop.prices:refund", "/heat/removed"),
        ):
            page = server.get(path)
            assert page.status == 200
            assert 'method="post"' not in page.text, path
            assert 'type="checkbox"' not in page.text, path
        body = {"Origin": server.origin}
        assert server.ask("POST", "/heat/remove", "key=shop.prices:refund", body).status == 403


def test_connect_begins_with_heat(shop: Path) -> None:
    for each in ("starlette", "uvicorn", "jinja2"):
        require(each)
    command = [sys.executable, "-m", "snapshot", "heat", "connect", "--port", "0"]
    with Program(command, directory=shop / "shop" / "views") as program:
        server = Explorer(program)
        assert "/heat?token=" in server.address
        assert keys(server.get("/heat/functions?show=hot"))
    outside = heat(shop.parent, "connect", "--port", "0")
    assert outside.code == 2
    assert "there is no snapshot.rootmarker" in outside.stderr


@in_a_browser
def test_the_list_is_alive_while_the_application_runs(server: Explorer, shop: Path) -> None:
    before = (shop / "imported").read_text()
    command = [sys.executable, "-m", "snapshot", "heat", "run", "main.py"]
    with person(server) as someone:
        someone.goto("/heat/functions?show=cold&search=Basket")
        row = someone.page.get_by_role("checkbox", name="shop.views.basket:Basket.sale")
        row.wait_for()
        with Program(command, directory=shop) as program:
            program.send("sale\n")
            program.wait_for("sale")
            row.wait_for(state="detached")  # while it runs on
            program.send("add\n")
            program.wait_for("add")
            assert program.finish().code == 0
    (shop / "imported").write_text(before)


@in_a_browser
def test_a_box_leads_to_its_function(standing: Explorer) -> None:
    with person(standing, viewport={"width": 1200, "height": 900}) as someone:
        page = someone.page
        someone.goto("/heat")
        page.locator("svg a", has_text="views").first.click(position={"x": 9, "y": 5})
        page.get_by_role("heading", name="What is in shop.views").wait_for()
        page.locator("svg a", has_text="Basket.sale").first.click()
        page.get_by_role("heading", name="shop.views.basket:Basket.sale", level=1).wait_for()
        page.get_by_role("button", name="Look for references").click()
        page.get_by_role("link", name="The function").click()
        page.get_by_text("Nothing in the source leads to it.").wait_for()


@in_a_browser
def test_by_keyboard_alone(server: Explorer, shop: Path) -> None:
    """Two functions are chosen, removed, and put back; another is ignored."""
    prices = shop / "shop" / "prices.py"
    with person(server) as someone:
        page = someone.page

        def press_at(name: str, key: str) -> None:
            """Tab until what has that name has the focus, and press a key."""
            for _ in range(90):
                page.keyboard.press("Tab")
                focused = page.evaluate(
                    "document.activeElement.ariaLabel || document.activeElement.textContent"
                )
                if focused.strip() == name:
                    page.keyboard.press(key)
                    return
            raise AssertionError(f"{name} is not reached")

        someone.goto("/heat/functions")
        press_at("shop.prices:refund", "Space")
        press_at("shop.prices:unused", "Space")
        press_at("Remove…", "Enter")
        page.get_by_text("exactly as it is shown").wait_for()
        press_at("Remove 2 functions", "Enter")
        page.get_by_role("heading", name="Removed").wait_for()
        assert "refund" not in prices.read_text()
        press_at("Undo", "Enter")
        page.get_by_text("Put back").wait_for()
        assert prices.read_text() == PRICES
        someone.goto("/heat/source?key=shop.prices:refund")
        press_at("Ignore…", "Enter")
        page.get_by_role("heading", name="Ignore 1 function").wait_for()
        press_at("Ignore", "Enter")
        page.get_by_text("neither counted nor listed from now on").wait_for()
        press_at("Undo", "Enter")
        page.get_by_text("counts again").wait_for()


@in_a_browser
def test_a_forced_removal(server: Explorer, shop: Path) -> None:
    with person(server) as someone:
        page = someone.page
        someone.goto("/heat/source?key=shop.prices:discount")
        page.get_by_role("button", name="Remove…").click()
        page.get_by_role("heading", name="What stops it").wait_for()
        assert someone.violations() == []
        page.get_by_role("button", name="Plan it by force").click()
        assert page.get_by_role("heading", name="What stops it").is_visible()  # not ticked
        page.get_by_label("Remove it all the same").check()
        page.get_by_role("button", name="Plan it by force").click()
        page.get_by_role("button", name="Remove 1 function").click()
        page.get_by_role("heading", name="Removed").wait_for()
        assert someone.violations() == []
        someone.goto("/heat")
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("Put back shop.prices:discount").wait_for()
    assert (shop / "shop" / "prices.py").read_text() == PRICES


@in_a_browser
@pytest.mark.parametrize("width", [360, 1600])
def test_everybody_can_use_the_pages(standing: Explorer, width: int) -> None:
    def check(someone: Person, path: str) -> None:
        someone.goto(path)
        assert someone.violations() == [], path
        room = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        assert someone.page.evaluate(room), path

    scheme = "dark" if width > 360 else "light"
    with person(standing, viewport={"width": width, "height": 800}, color_scheme=scheme) as someone:
        for path in (
            *("/heat", "/heat?in=shop.prices&by=last", "/heat/functions"),
            *("/heat/source?key=shop.prices:price", "/heat/ignore?key=shop.prices:refund"),
            *("/heat/file?path=shop/prices.py&line=8", "/heat/removed"),
        ):
            check(someone, path)


# A large application is read apart, with a progress bar.


def large(root: Path) -> None:
    """An application of more text than is read while somebody waits."""
    root.mkdir()
    (root / NAME).touch()
    for n in range(25):
        (root / f"module{n}.py").write_text(f'"""{"." * 90_000}"""\n\n\ndef f{n}():\n    pass\n')


def test_a_large_source_is_read_by_a_job(tmp_path: Path) -> None:
    large(tmp_path / "app")
    with explorer(tmp_path / "app") as server:
        answer = server.get("/heat/functions?search=f24")
        assert answer.status == 303
        job = answer.headers["location"]
        assert server.get("/heat").headers["location"] == job  # the same one
        while '"state running"' in (page := server.get(job).text):
            assert "<progress" in page
            time.sleep(0.05)
        assert "25 functions are in the source" in page
        assert '<meta http-equiv="refresh" content="0; url=/heat/functions?search=f24">' in page
        assert server.get("/heat/functions?search=f24").status == 200
        assert server.get("/heat").status == 200
        with (tmp_path / "app" / "module0.py").open("a") as file:
            file.write("\n")
        assert server.get("/heat").status == 200  # the others are known


def test_a_large_source_is_shown_where_nothing_can_be_kept(tmp_path: Path) -> None:
    large(tmp_path / "app")
    (tmp_path / "app" / ".snapshot").touch()
    with explorer(tmp_path / "app", "--store", str(tmp_path / "store.db"), "--read-only") as server:
        job = server.get("/heat").headers["location"]
        while '"state running"' in server.get(job).text:
            time.sleep(0.05)
        assert server.get("/heat").status == 200


@in_a_browser
@pytest.mark.parametrize("script", [True, False])
def test_who_waits_for_a_large_source_is_led_on(tmp_path: Path, script: bool) -> None:
    large(tmp_path / "app")
    with (
        explorer(tmp_path / "app") as server,
        person(server, java_script_enabled=script) as somebody,
    ):
        somebody.goto("/heat")
        somebody.page.wait_for_url(f"{server.origin}/heat")
        assert somebody.page.get_by_role("heading", level=1).is_visible()
