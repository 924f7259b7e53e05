"""The pages of the explorer on what memo keeps: asked by hand, and by somebody at a browser."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from snapshot.store import Store
from snapshot.store.objects import pack
from snapshot.store.results import Listed
from tests import postgres
from tests.browsing import Explorer, explorer, in_a_browser, person
from tests.processes import run_python

SHOP = '''
import os
import numpy as np
from snapshot.memo import MemoizedGroup, memoize

group = MemoizedGroup("pricing")
RATE = {rate}

def half(n):
    return n {operator} 2

@memoize(group=group)
def price(order, note=""):
    """What it costs."""
    return half(order) * RATE

@memoize(group=group)
def table(n):
    return np.arange(n * 10_000.0)

class Loaded:
    """Whoever loads one leaves a file."""

    def __reduce__(self):
        return open, ("loaded", "w")

    def __repr__(self):
        return "<script>alert(1)</script>"

@memoize()
def noise(x):
    os.urandom(1)
    return [Loaded(), "y" * 200]
'''
RUN = """
from shop import *
for order in range({orders}):
    price(order)
    price(order)
price(1, note="<img src=x onerror=alert(1)>")
table(1), table(3), noise(1)
"""
PRICE = "/memo/shop%3Aprice"


def run(directory: Path, *, rate: float, operator: str, orders: int, **options: str) -> None:
    """The program as it is after an edit."""
    (directory / "shop.py").write_text(SHOP.format(rate=rate, operator=operator))
    result = run_python(
        RUN.format(orders=orders), directory=directory, options=["-B"], env=options or None
    )
    assert result.code == 0, result


def run_three(directory: Path, **options: str) -> None:
    """Three states of `price`: the rate was changed, then what `half` does."""
    (directory / "pyproject.toml").touch()
    for rate, operator, orders in ((1, "/", 2), (2, "/", 3), (2, "//", 4)):
        run(directory, rate=rate, operator=operator, orders=orders, **options)


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, which is not to be changed."""
    directory = tmp_path_factory.mktemp("made")
    run_three(directory)
    return directory


@pytest.fixture(scope="module", autouse=True)
def server(made: Path) -> Iterator[Explorer]:
    """An explorer of it, by which nothing is to be changed."""
    with explorer(made) as found:
        yield found


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A project of the test's own."""
    shutil.copytree(made, tmp_path / "own", symlinks=True)
    return tmp_path / "own"


@pytest.fixture
def other(own: Path) -> Iterator[Explorer]:
    """An explorer of that."""
    with explorer(own) as found:
        yield found


def entries(directory: Path, name: str = "shop:price") -> list[Listed]:
    """Those of a function, the last stored first."""
    with Store(directory / ".snapshot" / "store.db") as store:
        return store.results.listing(name, order="created")


def page_of(each: Listed) -> str:
    return f"/memo/{quote(each.function, safe='')}/{each.key.hex()}"


def rows(text: str) -> list[str]:
    """The texts of the rows of the tables of a page, without what is only read aloud."""
    text = re.sub(r'<span class="visually-hidden">.*?</span>', "", text)
    found = re.findall(r"<tr>(.*?)</tr>", text, re.S)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", " ", each)).split()) for each in found]


# All functions.


def test_groups_and_functions_have_their_figures(server: Explorer) -> None:
    told = rows(server.get("/memo").text)
    groups, functions = told[1:3], told[4:]
    assert [each.split()[:2] for each in groups] == [["default", "1"], ["pricing", "2"]]
    price = next(each for each in functions if each.startswith("shop: price"))
    # Each order is a miss and a hit in each of the three states, but for the one with a note.
    assert price.split()[2:5] == ["12", "9", "12"]
    assert " 43 % " in price
    assert price.endswith("pricing")


def test_functions_are_sorted_searched_and_those_of_a_group(server: Explorer) -> None:
    def names(query: str) -> list[str]:
        return re.findall(r'class="function".*?<wbr>(\w+)</a>', server.get(f"/memo?{query}").text)

    assert names("sort=name&way=up") == ["noise", "price", "table"]
    assert names("sort=size")[0] == "table"
    assert names("sort=hits&way=up")[-1] == "price"
    assert names("group=default") == ["noise"]
    assert names("search=SHOP%20ab") == ["table"]
    assert names("search=%3Cb%3E") == []
    assert names("group=none") == []
    assert server.get("/memo?sort=worth").status == 400
    assert server.get("/memo?page=x").status == 400


def test_where_nothing_is_memoized_it_is_said_how(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db", create=True):
        pass
    with explorer(tmp_path, "--store", str(tmp_path / "store.db")) as found:
        assert "@memoize()" in found.get("/memo").text


# A function.


def test_a_function_has_states_that_tell_what_differs(server: Explorer) -> None:
    page = server.get(PRICE)
    assert page.status == 200
    current, edited, first = rows(page.text)[1:4]
    assert "current" in current
    assert "5" in current.split()
    assert "earlier" in edited
    assert "function shop:half" in edited
    assert "RATE" not in edited
    assert "function shop:half value shop.RATE" in first
    assert "<summary><code>shop:price</code></summary>" in page.text
    assert "<summary><code>shop:half</code></summary>" in page.text
    assert "os.urandom: it is another one at each time" in server.get("/memo/shop%3Anoise").text


def test_entries_are_sorted_and_those_of_a_state(server: Explorer, made: Path) -> None:
    def keys(query: str) -> list[str]:
        page = server.get(f"{PRICE}?{query}").text
        return re.findall(r'type="checkbox" name="entry" value="(\w+)"', page)

    kept = entries(made)
    assert keys("sort=created") == [each.key.hex() for each in kept]
    assert keys("sort=created&way=up") == [each.key.hex() for each in reversed(kept)]
    assert keys("sort=hits")[-1] in {each.key.hex() for each in kept if not each.entry.hits}
    state = kept[-1].state
    of_state = {each.key.hex() for each in kept if each.state == state}
    assert len(of_state) == 3
    assert set(keys(f"state={state.hex()}")) == of_state
    assert server.get(f"{PRICE}?state=00").status == 404
    assert server.get(f"{PRICE}?sort=key").status == 400


def test_a_state_is_compared_with_the_current_one_and_with_others(
    server: Explorer, made: Path
) -> None:
    states = list(dict.fromkeys(each.state for each in entries(made)))
    text = html.unescape(server.get(f"{PRICE}/state/{states[2].hex()}").text)
    assert "1 then, 2 now" in text
    assert '<span class="removed">-    return n / 2</span>' in text
    assert '<span class="added">+    return n // 2</span>' in text
    assert "Values that it reads" in text
    text = server.get(f"{PRICE}/state/{states[1].hex()}?with={states[2].hex()}").text
    assert "1 then, 2 now" in text
    assert "return n // 2" not in text
    assert "choose another one" in server.get(f"{PRICE}/state/{states[0].hex()}").text
    assert server.get(f"{PRICE}/state/xyz").status == 404


# An entry.


def test_an_entry_tells_why_it_missed(server: Explorer, made: Path) -> None:
    kept = entries(made)
    # Of the same arguments there was an entry, of an earlier state.
    text = html.unescape(server.get(page_of(kept[0])).text)
    assert '<span class="added">+    return n // 2</span>' in text
    assert "<strong>argument</strong>" not in text
    # A fourth order was never priced, and the others in this state, too.
    fourth = next(each for each in kept if each.arguments["order"][0] == "3")
    text = html.unescape(server.get(page_of(fourth)).text)
    assert "<strong>argument</strong> <code>order</code>" in text
    assert "2 then, 3 now" in text
    assert "<strong>function</strong>" not in text
    assert "there was nothing to find" in server.get(page_of(kept[-1])).text


def test_two_entries_are_compared(server: Explorer, made: Path) -> None:
    kept = entries(made)
    oldest, newest = kept[-1], kept[0]
    asked = urlencode([("entry", newest.key.hex()), ("entry", oldest.key.hex())])
    answer = server.get(f"{PRICE}/compare?{asked}")
    assert answer.status == 303
    where = answer.headers["location"].partition("#")[0]
    assert where == f"{page_of(newest)}?with={oldest.key.hex()}"
    text = html.unescape(server.get(where).text)
    assert "0 then, 1 now" in text
    assert "1 then, 2 now" in text
    assert server.get(f"{page_of(oldest)}?with=newest").text.count("1 then, 2 now") == 1
    assert "this entry itself" in server.get(f"{page_of(newest)}?with=newest").text
    for some in ("", f"entry={oldest.key.hex()}", f"{asked}&entry={oldest.key.hex()}"):
        assert server.get(f"{PRICE}/compare?{some}").status == 400


def test_a_result_is_shown_and_not_loaded(server: Explorer, made: Path) -> None:
    (made / "loaded").unlink(missing_ok=True)
    (noise,) = entries(made, "shop:noise")
    text = server.get(page_of(noise)).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text
    table = entries(made, "shop:table")[0]
    text = server.get(page_of(table)).text
    assert "numpy.ndarray" in text
    assert re.search(r'<a class="button" href="/objects/[0-9a-f]{64}">', text)
    assert re.search(r'action="/view">.*name="digest" value="[0-9a-f]{64}"', text)
    assert not (made / "loaded").exists()


# What there is not, and what is hostile.


def test_what_is_unknown_is_said_to_be(server: Explorer, made: Path) -> None:
    key = entries(made)[0].key.hex()
    for path in (
        *("/memo/none", "/memo/%3Cb%3E", "/memo/a%2Fb%0A%22", f"/memo/{'x' * 10_000}", "/memo/%ff"),
        *(f"{PRICE}/00", f"{PRICE}/xyz", f"{PRICE}/{'0' * 32}", f"/memo/shop%3Atable/{key}"),
        *(f"{PRICE}/{key}/more", f"{PRICE}/{key}?with=%00", f"{PRICE}/evict?entry={'1' * 32}"),
        *(f"{PRICE}/evict?state=x", "/memo/none/evict?all=yes", "/memo//"),
    ):
        answer = server.get(path)
        assert answer.status == 404, path
        assert "<b>" not in answer.text
    for query in ("", "all=no", "entry=1&state=2", "all=yes&earlier=yes"):
        assert server.get(f"{PRICE}/evict?{query}").status == 400, query


@pytest.mark.parametrize(
    "name", ["a/b:c/d", "m:<img src=x onerror=alert(1)>", "m:\n'\"?#%2F&", "m:" + "é" * 3000, "m"]
)
def test_any_name_has_its_page(own: Path, other: Explorer, name: str) -> None:
    with Store(own / ".snapshot" / "store.db") as store:
        state, _ = store.results.enter(name, "<b>", b"s" * 32, lambda: {"python": "<i>"})
        told = {"<u>": ("'<img src=x onerror=alert(2)>'", "0" * 64), "y": ("\n" * 50, "1" * 64)}
        store.results.put(
            b"k" * 16,
            state,
            pack("<img src=x onerror=alert(3)>"),
            raised=True,
            arguments=told,
            cost=1.0,
            worth=lambda entry, floor: 1.0,
        )
    where = f"/memo/{quote(name, safe='')}"
    assert where in other.get("/memo").text
    assert where in other.get("/memo?group=%3Cb%3E").text
    key = (b"k" * 16).hex()
    for path in ("", f"/{key}", f"/state/{(b's' * 32).hex()}", f"/evict?entry={key}"):
        answer = other.get(where + path)
        assert answer.status == 200, path
        assert not re.search("<img src=x|<b>|<u>|<i>", answer.text), path
    assert other.post(f"{where}/evict", {"entry": key}, page=f"{where}/evict?all=yes").status == 303
    assert "No entry is kept" in other.get(where).text


def test_what_is_damaged_spoils_no_page(own: Path, other: Explorer) -> None:
    with Store(own / ".snapshot" / "store.db") as store:
        store._database.rows("UPDATE objects SET data = ? WHERE data IS NOT NULL", (b"no",))
        store._database.rows("UPDATE results SET data = ?, arguments = 'no'", (b"12345678",))
    each = entries(own)[0]
    for path in ("/memo", PRICE, page_of(each), f"{PRICE}/state/{each.state.hex()}"):
        assert other.get(path).status == 200, path
    assert "is not known" in other.get(f"{PRICE}/state/{each.state.hex()}").text


def test_what_others_may_have_written_is_told_and_not_looked_at(own: Path) -> None:
    """What differs is a text, which needs no trust; a value is not to be loaded."""
    (own / ".snapshot" / "store.db").chmod(0o666)
    with explorer(own) as server:
        assert "function shop:half" in rows(server.get(PRICE).text)[2]
        text = server.get(page_of(entries(own, "shop:table")[0])).text
        assert "numpy.ndarray" in text
        assert 'action="/view"' not in text


# Evicting.


def test_an_entry_is_evicted_after_it_was_said_what_goes(own: Path, other: Explorer) -> None:
    each = entries(own)[0]
    asked = f"{PRICE}/evict?entry={each.key.hex()}"
    assert asked.replace("&", "&amp;") in other.get(page_of(each)).text
    page = other.get(asked)
    assert "This cannot be taken back." in page.text
    assert "computes its result again" in page.text
    assert len(entries(own)) == 12
    answer = other.post(f"{PRICE}/evict", {"entry": each.key.hex()}, page=asked)
    assert answer.status == 303
    assert each.key not in {left.key for left in entries(own)}
    assert "1 entry was evicted" in other.get(answer.headers["location"]).text
    again = other.post(f"{PRICE}/evict", {"entry": each.key.hex()}, page=f"{PRICE}/evict?all=yes")
    assert again.status == 404
    run(own, rate=2, operator="//", orders=4)
    assert len(entries(own)) == 12


def test_earlier_states_go_and_the_current_one_stays(own: Path, other: Explorer) -> None:
    earlier = [each for each in entries(own) if not each.current]
    page = other.get(f"{PRICE}/evict?earlier=yes")
    assert f"Evict {len(earlier)} entries" in page.text
    assert "No call finds them now" in page.text
    state = earlier[0].state.hex()
    other.post(f"{PRICE}/evict", {"state": state}, page=f"{PRICE}/evict?state={state}")
    assert {each.state.hex() for each in earlier} - {each.state.hex() for each in entries(own)} == {
        state
    }
    other.post(f"{PRICE}/evict", {"earlier": "yes"}, page=f"{PRICE}/evict?earlier=yes")
    assert [each.current for each in entries(own)] == [True] * 5
    assert "nothing would go" in other.get(f"{PRICE}/evict?earlier=yes").text
    with Store(own / ".snapshot" / "store.db") as store:
        before = store.objects.count()
    other.post("/memo/shop%3Atable/evict", {"all": "yes"}, page=f"{PRICE}/evict?all=yes")
    with Store(own / ".snapshot" / "store.db") as store:
        assert store.objects.count() == before - 2  # with their arrays
    assert entries(own, "shop:table") == []


def test_who_may_only_look_evicts_nothing(own: Path) -> None:
    with explorer(own, "--read-only") as server:
        for path in ("/memo", PRICE, page_of(entries(own)[0]), f"{PRICE}/evict?all=yes"):
            text = server.get(path).text
            assert 'method="post"' not in text
            assert "Evict" not in text or path.endswith("all=yes")
        assert server.ask("POST", f"{PRICE}/evict", "all=yes").status == 403
    assert len(entries(own)) == 12


def test_results_in_an_obj_store_are_told_to_stay(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    source = """
    from snapshot.memo import DirObjStore, MemoizedGroup, memoize

    @memoize(group=MemoizedGroup(obj_store=DirObjStore("results")))
    def f(x):
        return x

    f(1)
    """
    assert run_python(source, directory=tmp_path).code == 0
    with explorer(tmp_path) as server:
        assert ">elsewhere<" in server.get("/memo/__main__%3Af").text
        (each,) = entries(tmp_path, "__main__:f")
        assert "in another store, which is not read here" in server.get(page_of(each)).text
        asked = server.get("/memo/__main__%3Af/evict?all=yes").text
        assert "1 result of these stay in the obj_store" in asked


# A server's database; a person.


def test_a_store_of_postgresql(tmp_path: Path) -> None:
    postgres.require()
    with postgres.server() as url:
        env = {"SNAPSHOT_STORE": url, "XDG_STATE_HOME": str(tmp_path / "state")}
        run_three(tmp_path, **env)
        with explorer(tmp_path, env=env) as server:
            assert "12" in rows(server.get("/memo?sort=entries").text)[-3].split()
            text = server.get(f"{PRICE}?sort=size").text
            assert "value shop.RATE" in text
            keys = re.findall(r'name="entry" value="(\w+)"', text)
            assert len(keys) == 12
            assert server.get(f"{PRICE}/{keys[0]}").status == 200
            answer = server.post(
                f"{PRICE}/evict", {"entry": keys[:2]}, page=f"{PRICE}/evict?all=yes"
            )
            assert "2 entries were evicted" in server.get(answer.headers["location"]).text


@in_a_browser
def test_a_person_compares_and_evicts_by_keyboard(own: Path, other: Explorer) -> None:
    with person(other, viewport={"width": 360, "height": 800}) as someone:
        page = someone.page
        someone.goto("/memo")
        assert someone.violations() == []
        page.get_by_role("link", name="price", exact=True).focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/memo/shop%3Aprice")
        assert someone.violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        boxes = page.get_by_role("checkbox")
        for number in (0, 11):
            boxes.nth(number).focus()
            page.keyboard.press("Space")
        page.get_by_role("button", name="Compare two").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**?with=*")
        assert "then" in page.locator(".changes").inner_text()
        assert someone.violations() == []
        page.get_by_role("link", name="Evict …").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/evict?**")
        assert someone.violations() == []
        page.get_by_role("button", name="Evict 1 entry").focus()
        page.keyboard.press("Enter")
        page.get_by_role("status").get_by_text("1 entry was evicted").wait_for()
    assert len(entries(own)) == 11


@in_a_browser
def test_a_page_shows_what_is_memoized_meanwhile(own: Path, other: Explorer) -> None:
    with person(other) as someone:
        someone.goto("/memo")
        (own / "other.py").write_text(
            "from snapshot.memo import memoize\n@memoize()\ndef later(x):\n    return x\nlater(1)\n"
        )
        assert run_python(own / "other.py", directory=own).code == 0
        someone.page.get_by_role("link", name="__main__:later").click()
        state = someone.page.get_by_role("link", name=re.compile("^[0-9a-f]{12}$")).first
        state.click()
        someone.page.get_by_role("heading", name="What it was made of").wait_for()
        assert someone.violations() == []
