"""The pages of the explorer on stored values, and on freeing those that nobody needs."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from snapshot.store import Store
from tests import postgres
from tests.browsing import Explorer, explorer, in_a_browser, person
from tests.processes import run_python

PROGRAM = """
import numpy as np
from snapshot.memo import memoize
from snapshot.replay import record

class Loaded:
    \"\"\"Whoever loads one leaves a file.\"\"\"

    def __reduce__(self):
        return open, ("loaded", "w")

    def __repr__(self):
        return "<img src=x onerror=alert(1)>" * 3

@memoize()
def table(n):
    return np.arange(n * 10_000.0)

@record
def keep(value):
    return value

for n in (1, 2, 3):
    keep(table(n))
keep([Loaded(), "<b>\\n'" * 200])
keep({"orders": list(range(300))})
"""
LARGEST = np.arange(30_000.0)


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, which is not to be changed."""
    directory = tmp_path_factory.mktemp("made")
    (directory / "pyproject.toml").touch()
    result = run_python(PROGRAM, directory=directory)
    assert result.code == 0, result
    return directory


@pytest.fixture(scope="module", autouse=True)
def server(made: Path) -> Iterator[Explorer]:
    """An explorer of it, by which nothing is to be changed."""
    with explorer(made) as found:
        assert found.get("/calls").status == 200  # now the calls are in the database
        yield found


@pytest.fixture
def own(made: Path, server: Explorer, tmp_path: Path) -> Path:
    """A project of the test's own."""
    shutil.copytree(made, tmp_path / "own", symlinks=True)
    return tmp_path / "own"


def store_of(directory: Path) -> Store:
    return Store(directory / ".snapshot" / "store.db")


def values(text: str) -> list[str]:
    """The digests of the values that a page lists."""
    return re.findall(r'<a href="/objects/([0-9a-f]{64})" title', text)


def plain(text: str) -> str:
    """What is read of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def result_of(directory: Path, n: int) -> bytes:
    """The digest of the array that `table` returned."""
    with store_of(directory) as store:
        (entry,) = (
            each
            for each in store.results.listing("__main__:table")
            if each.arguments["n"][0] == str(n)
        )
        kept = store.results.show(entry.key)
        assert kept is not None
        assert kept.digest is not None
        return kept.digest


def test_values_are_listed_by_size_type_and_use(server: Explorer, made: Path) -> None:
    with store_of(made) as store:
        for order in ("size", "type", "uses"):
            expected = [each.digest.hex() for each in store.objects.listing(order=order)]
            assert values(server.get(f"/objects?sort={order}").text) == expected[:50]
        by_size = store.objects.listing()
        count, size = store.objects.count(), store.objects.size()
    assert expected != [each.digest.hex() for each in by_size]
    text = plain(server.get("/objects").text)
    assert f"{count} values" in text
    assert f"{size / 1024:.1f} KiB of values and their buffers" in text
    assert server.get("/objects?sort=text").status == 400
    assert server.get("/objects?page=-1").status == 400


def test_types_have_the_room_that_they_take(server: Explorer, made: Path) -> None:
    text = server.get("/objects").text
    first = plain(re.findall(r"<tr>.*?</tr>", text, re.S)[1])
    with store_of(made) as store:
        kinds = store.objects.kinds()
        shown = {each.digest: each for each in store.objects.listing()}
    for kind in kinds:
        of_kind = [each for each in shown.values() if each.type == kind.type]
        assert (kind.count, kind.size) == (len(of_kind), sum(each.size for each in of_kind))
    assert first.startswith(f"{kinds[0].type} {kinds[0].count} ")


def test_values_are_searched(server: Explorer) -> None:
    assert len(values(server.get("/objects?search=NDARRAY").text)) == 3
    assert values(server.get("/objects?search=ndarray%20nowhere").text) == []
    text = server.get("/objects?search=%3Cb%3E").text
    assert values(text)
    assert "<b>" not in text
    assert values(server.get("/objects?search=%25").text) == []


def test_many_values_are_paged(own: Path) -> None:
    with store_of(own) as store:
        for n in range(120):
            store.objects.put(f"value {n}")
    with explorer(own) as server:
        pages = [values(server.get(f"/objects?sort=type&page={n}").text) for n in (1, 2, 3)]
    assert [len(each) for each in pages[:2]] == [50, 50]
    assert len({*pages[0], *pages[1], *pages[2]}) == sum(map(len, pages))


def test_a_value_tells_who_refers_to_it(server: Explorer, made: Path) -> None:
    digest = result_of(made, 3).hex()
    text = server.get(f"/objects/{digest}").text
    told = plain(text)
    assert "numpy.ndarray" in told
    assert "memo entry" in told
    assert re.search(r'<a href="/calls/3">call 3</a>.*?__main__:keep.*?its result', text, re.S)
    assert re.search(r'<a href="/memo/__main__%3Atable/[0-9a-f]{32}">', text)
    assert "1 call and 1 memo entry" in told
    assert f'name="digest" value="{digest}"' in text
    buffer = re.search(r'<a class="mono" href="/objects/([0-9a-f]{64})">', text)
    assert buffer is not None
    of_buffer = server.get(f"/objects/{buffer[1]}")
    assert f"/objects/{digest}" in of_buffer.text
    assert "240,000 bytes" in plain(of_buffer.text)
    assert 'action="/view"' not in of_buffer.text
    for where in re.findall(r'<th scope="row" class="nowrap"><a href="([^"]+)"', text):
        if not where.startswith("/calls/"):
            assert server.get(where).status == 200


def test_the_facts_of_a_state_are_told_to_be_such(server: Explorer, made: Path) -> None:
    (digest,) = values(server.get("/objects?search=state%20table").text)
    text = server.get(f"/objects/{digest}").text
    (where,) = re.findall(r'href="(/memo/__main__%3Atable/state/[0-9a-f]{64})"', text)
    assert server.get(where).status == 200


def test_hostile_values_are_shown_and_not_loaded(server: Explorer, made: Path) -> None:
    (made / "loaded").unlink(missing_ok=True)
    for digest in values(server.get("/objects").text):
        text = server.get(f"/objects/{digest}").text
        assert "<img src=x" not in text
        assert "<b>" not in text
    assert not (made / "loaded").exists()


def test_what_is_no_value_is_said_to_be_none(server: Explorer) -> None:
    for name in (
        *("00", "0" * 64, "xyz", "A" * 64, "%3Cimg%20src=x%3E", "a%2Fb", "%0A", "0" * 10_000),
        *("%ff", "%00", "..%2f..", "1 2"),
    ):
        answer = server.get(f"/objects/{name.replace(' ', '%20')}")
        assert answer.status == 404, name
        assert "<img" not in answer.text.partition("<main")[2]


# Freeing.


def freed(server: Explorer) -> str:
    """What the page of a vacuum says when it has ended."""
    answer = server.post("/objects/vacuum", {}, page="/objects/vacuum")
    assert answer.status == 303
    while 'class="state running"' in (text := server.get(answer.headers["location"]).text):
        pass
    return plain(text)


def test_vacuum_says_what_it_does_and_what_it_has_freed(own: Path) -> None:
    with store_of(own) as store:
        digest = store.objects.put(np.arange(100_000.0))
        store.objects.put("nobody needs it")
        kept = {each.digest for each in store.objects.listing()}
    with explorer(own) as server:
        text = plain(server.get("/objects/vacuum").text)
        assert "3 values and buffers that nobody refers to" in text
        assert "781." in text
        assert "What goes cannot be had back" in text
        assert "Nobody." in server.get(f"/objects/{digest.hex()}").text
        assert digest.hex() in server.get("/objects").text
        text = freed(server)
        assert re.search(r"Freed \d+ values and files; the values took 781\.", text)
        assert server.get(f"/objects/{digest.hex()}").status == 404
        assert "Freed nothing" in freed(server)
    with store_of(own) as store:
        left = {each.digest for each in store.objects.listing()}
    assert len(kept) - len(left) == 2
    assert left < kept


def test_who_may_only_look_frees_nothing(own: Path) -> None:
    with store_of(own) as store:
        digest = store.objects.put("nobody needs it")
    with explorer(own, "--read-only") as server:
        for path in ("/objects", f"/objects/{digest.hex()}", "/objects/vacuum"):
            text = server.get(path).text
            assert 'method="post"' not in text
            assert 'href="/objects/vacuum"' not in text
        assert server.ask("POST", "/objects/vacuum", "").status == 403
        assert server.get(f"/objects/{digest.hex()}").status == 200


def test_what_others_may_have_written_is_listed_and_not_looked_at(own: Path) -> None:
    digest = result_of(own, 1).hex()
    (own / ".snapshot" / "store.db").chmod(0o666)
    with explorer(own) as server:
        text = server.get(f"/objects/{digest}").text
        assert 'action="/view"' not in text
        assert "--trust" in text


def test_a_store_of_postgresql(tmp_path: Path) -> None:
    postgres.require()
    with postgres.server() as url:
        env = {"SNAPSHOT_STORE": url, "XDG_STATE_HOME": str(tmp_path / "state")}
        assert run_python(PROGRAM, directory=tmp_path, env=env).code == 0
        with explorer(tmp_path, env=env) as server:
            assert server.get("/calls").status == 200
            found = values(server.get("/objects?sort=uses").text)
            assert values(server.get("/objects?search=NDArray").text)
            text = plain(server.get("/objects").text)
            assert "numpy.ndarray 3 " in text
            assert all(server.get(f"/objects/{each}").status == 200 for each in found)
            assert "0 values and buffers" in plain(server.get("/objects/vacuum").text)
            # What was both recorded and kept is in a file, too, which nobody needs.
            assert "Freed 3 values and files; the values took 0 B" in freed(server)
            assert "Freed nothing" in freed(server)


@in_a_browser
def test_a_person_looks_at_values_and_vacuums_by_keyboard(own: Path) -> None:
    with store_of(own) as store:
        store.objects.put(LARGEST * 2)
    with explorer(own) as server, person(server, viewport={"width": 360, "height": 800}) as someone:
        page = someone.page
        someone.goto("/objects")
        assert someone.violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.keyboard.press("/")
        page.keyboard.type("ndarray")
        page.keyboard.press("Enter")
        page.wait_for_url("**search=ndarray**")
        page.get_by_role("link", name=re.compile(r"^array")).first.focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Who refers to it").wait_for()
        assert someone.violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        someone.goto("/objects")
        page.get_by_role("link", name="Vacuum …").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/objects/vacuum")
        assert someone.violations() == []
        page.get_by_role("button", name="Vacuum").focus()
        page.keyboard.press("Enter")
        page.get_by_text(re.compile(r"Freed \d values and files")).wait_for()
        assert someone.violations() == []
