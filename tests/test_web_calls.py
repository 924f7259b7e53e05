"""The lists of calls and of functions in the explorer: asked for by hand, and used by a person."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browsing import Explorer, explorer, in_a_browser, person
from tests.processes import Result

SHOP = '''
import time
from snapshot.replay import record

class Basket:
    @record
    def price(self, n, note=None):
        """What it costs."""
        if n == 3:
            raise ValueError("no <b>three</b> & \\"more\\"")
        if n == 4:
            time.sleep(0.02)
        return list(range(n))

@record
def greet(name):
    return "hello " + name

for n in range(60):
    try:
        Basket().price(n, note="<img src=x onerror=alert(1)>")
    except ValueError:
        pass
greet("world\\x00\\n'\\"" + "x" * 5000)
'''


@pytest.fixture
def server(tmp_path: Path, python: Callable[..., Result]) -> Iterator[Explorer]:
    """An explorer of 61 calls of two functions."""
    assert python(SHOP).code == 0
    with explorer(tmp_path) as found:
        yield found


def ids(text: str) -> list[int]:
    """Those of the calls that a page lists."""
    return [int(each) for each in re.findall(r'<a href="/calls/(\d+)">', text)]


def test_calls_are_filtered_sorted_and_paged(server: Explorer) -> None:
    page = server.get("/calls")
    assert "61 recorded calls" in page.text
    assert ids(page.text) == list(range(61, 11, -1))
    assert ids(server.get("/calls?page=2").text) == list(range(11, 0, -1))
    assert ids(server.get("/calls?page=99").text) == list(range(11, 0, -1))
    assert ids(server.get("/calls?way=up").text)[:3] == [1, 2, 3]
    assert ids(server.get("/calls?outcome=raised").text) == [4]
    assert ids(server.get("/calls?function=greet").text) == [61]
    assert ids(server.get("/calls?function=Basket.price&way=up").text)[0] == 1
    assert ids(server.get("/calls?sort=duration").text)[0] == 5
    assert ids(server.get("/calls?slower=0.019").text) == [5]
    assert ids(server.get("/calls?slower=19ms").text) == [5]
    assert ids(server.get("/calls?slower=19000%20%C2%B5s&faster=19s").text) == [5]
    assert ids(server.get("/calls?search=THREE").text) == [4]
    assert ids(server.get("/calls?search=world").text) == [61]
    assert ids(server.get("/calls?since=1h").text)[0] == 61
    assert "No call is like that" in server.get("/calls?until=1h").text
    assert "1 of 61 recorded calls" in server.get("/calls?function=greet").text


def test_what_is_stored_is_text(server: Explorer) -> None:
    text = server.get("/calls").text + server.get("/calls?page=2").text
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "<b>three" not in text


def test_what_makes_no_sense_is_said(server: Explorer) -> None:
    for query in (
        *("page=x", "page=-1", "page=" + "9" * 30, "sort=nothing", "outcome=maybe"),
        *("since=soon", "slower=fast", "faster=-1", "until=<b>"),
    ):
        answer = server.get(f"/calls?{query}")
        assert answer.status == 400, query
        assert "That is not possible" in answer.text
        assert "<b>" not in answer.text
    assert server.get("/calls?search=%25_%27%22%3B--").status == 200
    assert server.get("/calls?function=%00&search=%00").status == 200
    assert server.get("/functions/nobody%3Aknows").status == 404
    assert server.get("/functions?sort=x").status == 400


def test_calls_are_deleted_and_had_back(server: Explorer) -> None:
    answer = server.post("/calls/delete", {"call": ["1", "2", "61"], "back": "/calls?way=up"})
    assert (answer.status, answer.headers["location"]) == (303, "/calls?way=up")
    page = server.get("/calls?way=up").text
    assert ids(page)[0] == 3
    assert "58 recorded calls" in page
    undo = re.search(r'action="(/asides/\d+/undo)"', page)
    assert undo is not None
    assert server.post(undo[1], {}).status == 303
    assert ids(server.get("/calls?way=up").text)[:2] == [1, 2]
    assert server.post(undo[1], {}).status >= 400
    for form in ({}, {"call": "x"}, {"call": "999"}):
        assert server.post("/calls/delete", form).status in (400, 404), form
    assert "61 recorded calls" in server.get("/calls").text
    away = server.post("/calls/delete", {"call": "5", "back": "http://evil.example"})
    assert away.headers["location"] == "/calls"


def test_functions_and_their_versions(
    server: Explorer, tmp_path: Path, python: Callable[..., Result]
) -> None:
    text = server.get("/functions").text
    assert "2 functions with recorded calls" in text
    page = server.get("/functions/__main__%3ABasket.price").text
    assert "60" in page
    assert "What it costs." in page
    assert "What has changed" not in page
    assert python(SHOP.replace("range(n)", "range(n + 1)")).code == 0
    while "What has changed from the version before" not in page:  # within half a second
        page = server.get("/functions/__main__%3ABasket.price").text
    assert re.search(r'class="added">\+ .*range\(n \+ 1\)', page)


def test_a_store_that_is_not_there_yet(tmp_path: Path, python: Callable[..., Result]) -> None:
    with explorer(tmp_path) as server:
        assert "Nothing is stored yet" in server.get("/calls").text
        assert python(SHOP).code == 0
        assert "61 recorded calls" in server.get("/calls").text


def test_a_store_that_is_replaced(
    server: Explorer, tmp_path: Path, python: Callable[..., Result]
) -> None:
    assert "61 recorded calls" in server.get("/calls").text
    (tmp_path / ".snapshot").rename(tmp_path / "before")
    assert "Nothing is stored yet" in server.get("/calls").text
    assert python(SHOP.replace("range(60)", "range(2)")).code == 0
    assert "3 recorded calls" in server.get("/calls").text
    (tmp_path / ".snapshot").rename(tmp_path / "other")
    (tmp_path / "before").rename(tmp_path / ".snapshot")
    assert "61 recorded calls" in server.get("/calls").text


@in_a_browser
def test_a_person_finds_deletes_and_has_back(
    server: Explorer, tmp_path: Path, python: Callable[..., Result]
) -> None:
    with person(server, viewport={"width": 1300, "height": 900}) as someone:
        page = someone.page
        page.get_by_text("61 recorded calls").wait_for()
        assert someone.violations() == []
        page.keyboard.press("/")
        page.keyboard.type("three")
        page.keyboard.press("Enter")
        page.get_by_text("1 of 61 recorded calls").wait_for()
        page.get_by_role("link", name="Show all").click()

        page.get_by_label("Call 61", exact=True).check()
        page.get_by_role("button", name="Delete those").click()
        page.get_by_text("60 recorded calls").wait_for()
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("61 recorded calls").wait_for()

        page.get_by_role("link", name="Took").click()
        page.locator("th[aria-sort=descending]", has_text="Took").wait_for()
        page.get_by_role("link", name="Took").click()
        page.locator("th[aria-sort=ascending]", has_text="Took").wait_for()

        someone.goto("/calls")  # what is recorded now is seen without anything being done
        assert python(SHOP).code == 0
        page.get_by_role("link", name="122", exact=True).wait_for()
        page.get_by_role("button", name="Live").click()
        assert page.locator("#live").get_attribute("aria-pressed") == "false"


@in_a_browser
def test_functions_by_keyboard_alone(server: Explorer) -> None:
    with person(server, viewport={"width": 360, "height": 700}, color_scheme="dark") as someone:
        page = someone.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        for _ in range(3):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/functions")
        assert someone.violations() == []
        page.get_by_role("link", name="Basket.price").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="How long its calls took").wait_for()
        assert someone.violations() == []
        summary = page.locator("details.version summary")
        summary.focus()
        page.keyboard.press("Enter")
        assert page.locator("details.version[open]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@in_a_browser
def test_that_the_server_has_ended_is_seen(server: Explorer) -> None:
    with person(server) as someone:
        lost = someone.page.get_by_text("the server has ended")
        someone.page.get_by_text("61 recorded calls").wait_for()
        assert not lost.is_visible()
        server.program.close()
        lost.wait_for()
        assert all("ERR_" in each for each in someone.problems)  # what the browser says of it
        someone.problems.clear()
        someone.page.close()


@in_a_browser
@pytest.mark.parametrize("width", [1280, 2000])
def test_the_list_has_room_for_names_and_for_all_columns(server: Explorer, width: int) -> None:
    """However long arguments and results are."""
    with person(server, viewport={"width": width, "height": 900}) as somebody:
        page = somebody.page
        somebody.goto("/calls")
        wide, room = page.evaluate(
            "(box => [box.scrollWidth, box.clientWidth])(document.querySelector('.table'))"
        )
        assert wide <= room
        heights = page.locator("td.of a").evaluate_all("all => all.map(each => each.clientHeight)")
        assert max(heights) < 30  # a line


def test_what_could_not_be_taken_in_is_not_told_for_good(
    server: Explorer, tmp_path: Path, python: Callable[..., Result]
) -> None:
    """What stood in the way may go: others may write, a disk is full."""
    folder = next(tmp_path.glob("**/store.db")).parent
    assert "61 recorded calls" in server.get("/calls").text
    folder.chmod(0o777)
    assert python(SHOP).code == 0
    for _ in range(2):
        page = server.get("/calls").text
        assert page.count("other users may write") == 1
        assert "61 recorded calls" in page
    folder.chmod(0o700)
    page = server.get("/calls").text
    assert "other users may write" not in page
    assert "122 recorded calls" in page
