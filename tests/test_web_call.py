"""The page of one call: what it shows, and what can be done from it."""

from __future__ import annotations

import contextlib
import html
import http.client
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snapshot.store import Store
from snapshot.store.events import Outcome
from snapshot.store.looking import Brief
from snapshot.store.sources import source_in
from snapshot.web import flame
from tests import postgres
from tests.browsing import Answer, Explorer, explorer, in_a_browser, person
from tests.libraries import require
from tests.processes import Program, run_python

HOSTILE = "<img src=x onerror=alert(1)>\"'&"

# What `is_again` is asked for happens when a call is made again, and not when it is recorded.
SHOP = """
import os, signal, subprocess, sys, threading, time
from pathlib import Path
from snapshot.replay import record

Path("imported").touch()
RATE = 3

def is_again():
    return Path("again").exists()

class ShopError(Exception):
    pass

class Loud:
    def __init__(self, text):
        self.text = text
    def __setstate__(self, state):
        Path("loaded").touch()
        vars(self).update(state)

@record
def price(n, note):
    return n * RATE

@record
def order(items, *more, discount=0):
    total = sum(price(each, "<img src=x onerror=alert(1)>\\"'&") for each in items)
    items.append("done")
    if total > 20:
        raise ShopError("too much: </pre><script>alert(1)</script>\\n second line")
    return {"total": total - discount}

@record
def talk(words):
    print("said", words)
    print("cried", file=sys.stderr)
    return 42 if is_again() and words == "differ" else words

@record
def happen(what):
    if not is_again():
        return
    print("about to", what)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "leave":
        os._exit(7)
    if what == "interrupt":
        raise KeyboardInterrupt("now")
    if what == "hang":
        subprocess.Popen(["sleep", "1000"])
        time.sleep(1000)

@record(redact=["password"])
def login(user, password, lock):
    return len(password)

@record
def count(n):
    yield from range(n)

@record
def keep(value):
    return value

@record
def unlock(lock):
    return None

@record
def each_of(n):
    for number in range(n):
        price(number, "")

@record
def down(n):
    return down(n - 1) if n else 0

@record
def never():
    os.kill(os.getpid(), signal.SIGKILL)
"""

Shop = Callable[..., Explorer]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """An explorer of the calls that a program makes, which has `shop` as a module."""
    (tmp_path / "shop.py").write_text(SHOP)
    with contextlib.ExitStack() as stack:

        def opened(program: str, *arguments: str, store: str | None = None) -> Explorer:
            (tmp_path / "run.py").write_text(f"import os, threading\nfrom shop import *\n{program}")
            env = None if store is None else {"SNAPSHOT_STORE": store}
            result = run_python(tmp_path / "run.py", directory=tmp_path, env=env)
            assert result.code == 0, result
            (tmp_path / "imported").unlink()
            server = stack.enter_context(explorer(tmp_path, *arguments))
            # Whoever opens it is led to the first call.
            server.address = server.address.replace("/?", "/calls/1?")
            return server

        yield opened


def job_of(server: Explorer, number: int, **form: Any) -> str:
    """Start to make a call again; where its page is."""
    answer = server.post(f"/calls/{number}/reanimate", form, page=f"/calls/{number}/delete")
    assert answer.status == 303, answer.text
    return answer.headers["location"]


def ended(server: Explorer, where: str) -> Answer:
    """The page of a job, when that is over. One is told when there is something new of it."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
    try:
        connection.request(
            "GET", f"/events?of=job:{Path(where).name}", headers={"Cookie": server.cookie}
        )
        events = connection.getresponse()
        while "state running" in (page := server.get(where)).text:
            while not events.readline().startswith(b"data:"):
                pass
        return page
    finally:
        connection.close()


def again(server: Explorer, number: int, **form: Any) -> str:
    """The text of the page when a call was made again."""
    return plain(ended(server, job_of(server, number, **form)))


def plain(answer: Answer) -> str:
    """What is read on a page."""
    main = answer.text.partition("<main")[2]
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", main)))


def test_what_a_call_was_is_shown(shop: Shop, tmp_path: Path) -> None:
    server = shop(
        "order([1, 2], 'extra', discount=1)\n"
        "try:\n    order([9])\nexcept ShopError:\n    pass\n"
        "list(count(3))\n"
        "login('me', 'secret', threading.Lock())\n"
    )
    page = server.get("/calls/1")
    text = plain(page)
    assert page.status == 200
    assert "items [1, 2] list" in text
    assert "changed items [1, 2, 'done'] list" in text
    assert "*0 'extra' str" in text
    assert "discount 1 int" in text
    assert "{'total': 8}" in text
    assert "MainThread" in text
    assert re.search(r"the first one · Call 4 →", text)
    assert text.count("changed") == 1
    assert re.search("order 1 .* price 2 .* price 3", text)
    assert f"{tmp_path}/shop.py" in text
    line = SHOP.split("\n").index("def order(items, *more, discount=0):")
    assert f'aria-label="Source of the version that ran" start="{line}">' in page.text

    page = server.get("/calls/4")
    assert "shop.ShopError: too much: </pre><script>" in plain(page)
    assert "<script>alert" not in page.text
    assert "Traceback (most recent call last)" in plain(page)

    page = server.get("/calls/2")
    assert "<img src=x" not in page.text
    assert repr(HOSTILE) in html.unescape(page.text)
    assert "RATE 3 int" in plain(page)
    assert "made by call 1" in plain(page)

    assert "[0, 1, 2]" in plain(server.get("/calls/6"))
    text = plain(server.get("/calls/7"))
    assert "secret" not in text
    assert "password <redacted> str" in text
    assert "not stored: <_thread.lock" in text
    assert not (tmp_path / "imported").exists()


def test_one_that_has_not_ended_follows_what_comes_of_it(shop: Shop) -> None:
    server = shop("if os.fork() == 0:\n    never()\nos.wait()\nkeep(1)")
    numbers = {
        name: n
        for n in (1, 2)
        for name in ("never", "keep")
        if f"shop:</span><wbr>{name}" in server.get(f"/calls/{n}").text
    }
    page = server.get(f"/calls/{numbers['never']}")
    assert 'data-events="/events?of=store' in page.text
    assert "has not ended" in plain(page)
    assert "data-events" not in server.get(f"/calls/{numbers['keep']}").text


def test_what_is_no_call_is_said(shop: Shop) -> None:
    server = shop("keep(1)")
    for number, status in (
        *(("0", 404), ("2", 404), ("9" * 18, 404)),
        *(("9" * 10_000, 400), ("abc", 400), ("-1", 400), ("1%20%00", 400), ("%C2%B2", 400)),
        *(("%3Cimg%20src=x%3E%27%22%0A", 400), ("a" * 10_000, 400)),
    ):
        for path in ("", "/script", "/test", "/delete"):
            answer = server.get(f"/calls/{number}{path}")
            assert answer.status == status, (number, path)
            assert "That is not possible" in answer.text
            assert "<img src=x" not in answer.text
    for path, status in (
        *(("/compare", 400), ("/compare?one=1", 400), ("/compare?one=1&other=x", 400)),
        *(("/compare?one=7&other=1", 404), ("/compare?one=1&other=7", 404)),
        *(
            ("/view", 400),
            ("/view?call=x", 400),
            ("/view?call=7", 404),
            ("/view?call=1&role=", 200),
        ),
        *(("/view?call=1&role=%3Cb%3E", 400), ("/view?call=1&role=after", 400)),
        *(("/view?call=1&role=arguments&name=nobody", 400), ("/view?digest=xyz", 400)),
        *((f"/view?digest={'ab' * 32}", 404), ("/asides/7", 404), ("/asides/x", 400)),
    ):
        assert server.get(path).status == status, path
    for form in ({"timeout": "0"}, {"timeout": "soon"}, {"memory": "much"}, {"timeout": "9" * 400}):
        answer = server.post("/calls/1/reanimate", form, page="/calls/1")
        assert answer.status == 400, form


def test_the_source_of_today_is_read_and_not_run(shop: Shop, tmp_path: Path) -> None:
    server = shop("order([1])\nkeep(1)")
    assert "Its text is the same today" in plain(server.get("/calls/1"))
    file = tmp_path / "shop.py"
    file.write_text("\n\n" + SHOP.replace("total - discount", "total + <b>"))
    assert "has no such function" in plain(server.get("/calls/1"))  # it is no Python
    file.write_text("\n\n" + SHOP.replace("total - discount", "total / discount"))
    page = server.get("/calls/1")
    assert "It is another one today" in plain(page)
    assert '<span class="removed">-    return {&#34;total&#34;: total - discount}' in page.text
    assert '<span class="added">+    return {&#34;total&#34;: total / discount}' in page.text
    assert "Its text is the same today" in plain(server.get("/calls/3"))
    file.write_text(SHOP.replace("def order", "def command"))
    assert "has no such function any more" in plain(server.get("/calls/1"))
    file.unlink()
    assert "is not there any more" in plain(server.get("/calls/1"))
    os.mkfifo(file)
    assert "is not there any more" in plain(server.get("/calls/1"))
    assert server.get("/calls/1/test").status == 200
    assert not (tmp_path / "imported").exists()


def test_a_call_is_made_again(shop: Shop, tmp_path: Path) -> None:
    server = shop(
        "talk('differ')\norder([1, 2], discount=1)\n"
        "try:\n    order([9])\nexcept ShopError:\n    pass"
    )
    text = again(server, 1)
    assert "It matches" in text
    assert "Output said differ cried" in text
    assert "'differ'" in text
    assert "It matches" in again(server, 2)
    assert "raised shop.ShopError: too much" in again(server, 5)
    (tmp_path / "again").touch()
    text = again(server, 1)
    assert "It differs from what was recorded" in text
    assert "value: 'differ' (str) then, 42 (int) now" in text
    edited = SHOP.replace("n * RATE", "n * RATE + 100")
    (tmp_path / "shop.py").write_text(edited)
    assert "its function is another one now" in again(server, 2)
    # Nobody has asked what the others are today.
    assert "It matches" in again(server, 2, mock="shop:price")
    assert "raised" in again(server, 3, code="recorded") or "It matches" in again(
        server, 3, code="recorded"
    )


def test_one_that_hangs_crashes_or_leaves_is_told(shop: Shop, tmp_path: Path) -> None:
    server = shop(
        "\n".join(f"happen({each!r})" for each in ("crash", "leave", "interrupt", "hang"))
    )
    (tmp_path / "again").touch()
    text = again(server, 1)
    assert "SIGSEGV" in text
    assert "about to crash" in text
    assert "ended its process with code 7" in again(server, 2)
    assert "it ended with KeyboardInterrupt" in again(server, 3)
    text = again(server, 4, timeout="1s")
    assert "did not end within 1 s" in text
    assert "about to hang" in text
    assert "memory" in again(server, 4, timeout="1m", memory="1")


def test_nothing_is_loaded_of_a_store_that_others_may_write_to(shop: Shop, tmp_path: Path) -> None:
    server = shop("keep(Loud('x'))")
    assert server.get("/calls/1").status == 200  # it is taken in
    (tmp_path / ".snapshot" / "store.db").chmod(0o666)
    page = server.get("/calls/1")
    assert "Somebody else may have written" in plain(page)
    assert "Reanimate" not in page.text
    assert "Look closer" not in page.text
    assert "(--trust)" in again(server, 1)
    answer = server.post("/view?call=1&role=result", {}, page="/calls/1/delete")
    assert "(--trust)" in plain(answer)
    assert not (tmp_path / "loaded").exists()
    assert not (tmp_path / "imported").exists()


def test_a_folder_stands_in_for_no_module_of_ours(shop: Shop, tmp_path: Path) -> None:
    server = shop("keep(1)")
    for each in ("json.py", "psutil.py", "secrets.py"):
        (tmp_path / each).write_text("raise SystemExit('not this one')")
    assert "It matches" in again(server, 1)


def test_scripts_are_shown_and_fetched(shop: Shop, tmp_path: Path) -> None:
    server = shop(f"price(2, {HOSTILE!r})")
    page = server.get("/calls/1/script")
    assert "reanimate_function" in plain(page)
    assert "<img src=x" not in server.get("/calls/1/test").text
    for kind, name in (("script", "reanimate_1.py"), ("test", "test_price_1.py")):
        answer = server.get(f"/calls/1/{kind}?download=1")
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        (tmp_path / name).write_bytes(answer.body)
    assert run_python(tmp_path / "reanimate_1.py", directory=tmp_path).code == 0
    compile((tmp_path / "test_price_1.py").read_text(), "test", "exec")


ODD = """
def odd(): pass
odd.__code__ = odd.__code__.replace(co_qualname='a"\\r\\nSet-Cookie: x=1; \\u00e9/../<b>')
record(odd)()
"""


def test_a_name_is_no_header(shop: Shop) -> None:
    server = shop(f"from snapshot.replay import record{ODD}")
    assert "<b>" not in server.get("/calls/1").text.partition("<main")[2]
    answer = server.get("/calls/1/test?download=1")
    name = answer.headers["content-disposition"]
    assert re.fullmatch(r'attachment; filename="test_\w+\.py"', name), name
    assert "Set_Cookie" in name
    assert "set-cookie" not in answer.headers


def test_a_call_is_deleted_and_taken_back(shop: Shop) -> None:
    server = shop("each_of(2)\nkeep(bytes(300_000))\nkeep(bytes(300_000))")
    text = plain(server.get("/calls/1/delete"))
    assert "The 2 calls that it has made: 2 , 3" in text
    assert "It can be undone for 60 minutes" in text
    assert "No value that is stored apart" in plain(server.get("/calls/4/delete"))  # 5 has it too
    answer = server.post("/calls/4/delete", {}, page="/calls/4/delete")
    assert answer.status == 303
    assert server.get("/calls/4").status == 404
    where = answer.headers["location"]
    assert "Call 4 is deleted" in plain(server.get(where))
    answer = server.post(f"{where.partition('?')[0]}/undo", {"back": "/calls/4"}, page=where)
    assert (answer.status, answer.headers["location"]) == (303, "/calls/4")
    assert server.get("/calls/4").status == 200
    assert server.get(where).status == 404


def test_what_only_one_call_has_goes_with_it(shop: Shop) -> None:
    server = shop("keep(list(range(1000)))")
    text = plain(server.get("/calls/1/delete"))
    assert "to which only this call refers" in text
    assert "KiB" in text


def test_read_only_has_no_buttons(shop: Shop) -> None:
    server = shop("keep(1)\nkeep(2)", "--read-only")
    page = server.get("/calls/1")
    assert 'method="post"' not in page.text
    assert "/calls/1/script" in page.text
    assert 'method="post"' not in server.get("/calls/1/delete").text
    for path in ("/calls/1/delete", "/calls/1/reanimate", "/view?call=1", "/asides/1/undo"):
        assert server.ask("POST", path, "a=b", {"Origin": server.origin}).status == 403


def test_two_calls_are_compared(shop: Shop) -> None:
    server = shop(
        "order([1, 2], discount=1)\n"
        "try:\n    order([9])\nexcept ShopError:\n    pass\n"
        "keep(list(range(1000)))\nkeep([*range(999), 'x'])\nkeep(1)\nkeep(1)"
    )
    text = plain(server.get("/compare?one=1&other=4"))
    assert "items differs [1, 2] list [9] list" in text
    assert "discount differs 1 int nothing" in text
    assert "ShopError" in text
    assert "Both ran the same version" in text
    assert "differ in what is not shown" in plain(server.get("/compare?one=6&other=7"))
    assert "No difference in their values" in plain(server.get("/compare?one=8&other=9"))
    assert "Calls 9 and 8" in plain(server.get("/compare?one=9"))
    assert "Calls 6 and 7" in plain(server.get("/compare?one=6"))


def test_a_value_is_looked_at_where_somebody_asks(shop: Shop, tmp_path: Path) -> None:
    server = shop(
        f"keep(Loud({HOSTILE!r}))\nkeep([dict(a=1, b={HOSTILE!r})] * 3)\nkeep(b'abc')\n"
        f"keep({HOSTILE!r})\nunlock(threading.Lock())"
    )

    def looked(path: str) -> Answer:
        assert server.get(path).status == 200
        return server.post(path, {}, page="/calls/1")

    assert "Loud" in plain(server.get("/view?call=1"))
    assert not (tmp_path / "loaded").exists()
    answer = looked("/view?call=1&role=arguments&name=value")
    assert (tmp_path / "loaded").exists()
    assert "text" in plain(answer)
    assert "<img src=x" not in answer.text
    answer = looked("/view?call=2&role=result")
    assert "3 rows, 2 columns" in plain(answer)
    assert "<img src=x" not in answer.text
    assert "61 62 63" in plain(looked("/view?call=3"))
    assert HOSTILE in html.unescape(looked("/view?call=4").text)
    assert "It was not stored" in plain(looked("/view?call=5&role=arguments&name=lock"))


def test_an_object_is_looked_at_by_its_digest(shop: Shop, tmp_path: Path) -> None:
    server = shop("keep([Loud(n) for n in range(50)])")
    assert server.get("/calls/1").status == 200  # it is taken in
    with Store(tmp_path / ".snapshot" / "store.db") as store:
        digest = store.would_free([1])[0].digest.hex()
    page = server.get(f"/view?digest={digest.upper()}")
    assert "Loud" in plain(page)
    assert "Loaded" not in plain(page)
    # Its classes are found in the program of a call that has it.
    text = plain(server.post(f"/view?digest={digest}", {}, page="/calls/1"))
    assert "Loaded and looked at" in text
    assert "50 in it" in text
    page = server.get(f"/objects/{digest}")
    assert 'action="/view"' in page.text
    text = plain(server.post("/view", {"digest": digest}, page=f"/objects/{digest}"))
    assert "50 in it" in text


def test_an_array_has_a_picture(shop: Shop) -> None:
    require("numpy")
    server = shop(
        "import numpy\nkeep(numpy.arange(6000.).reshape(60, 100))\nkeep(numpy.arange(50))"
    )
    answer = server.post("/view?call=1", {}, page="/calls/1")
    assert 'src="data:image/png;base64,' in answer.text
    assert "60 \N{MULTIPLICATION SIGN} 100" in plain(answer)
    assert "<polyline" in server.post("/view?call=2", {}, page="/calls/1").text


def test_many_calls_and_deep_ones(shop: Shop) -> None:
    server = shop("each_of(2100)\ndown(200)")
    page = server.get("/calls/1")
    assert "more than 2,000 calls" in plain(page)
    assert page.text.count("<li") > 2000
    page = server.get("/calls/2102")
    assert page.text.count("<ul") == page.text.count("</ul>") < 30
    assert page.text.count("<details id") == page.text.count("</ul></details></li>")
    assert "further down are not drawn" in plain(page)
    page = server.get("/calls/2302")
    assert "188 calls further out are not shown" in plain(page)
    assert page.text.count('class="here"') == 1


def test_calls_that_overlap_have_rows_of_their_own() -> None:
    def brief(number: int, parent: int | None, started: float, duration: float | None) -> Brief:
        return Brief(number, parent, f"m:f{number}", started, duration, Outcome.returned)

    one = brief(1, None, 0.0, 10.0)
    below = [brief(2, 1, 1.0, 4.0), brief(3, 2, 1.5, 1.0), brief(4, 1, 2.0, 2.0)]
    below += [brief(5, 1, 6.0, None), brief(6, 1, 20.0, 5.0)]
    strip = flame.strip(one, below)
    assert strip.seconds == 25.0  # the last one has gone on without it
    assert {bar.call.id: bar.row for bar in strip.bars} == {1: 0, 2: 1, 3: 3, 4: 2, 5: 1, 6: 2}
    assert {bar.call.id: (bar.x, bar.width) for bar in strip.bars if bar.call.id in (1, 4, 5)} == {
        **{1: (0.0, 40.0), 4: (8.0, 8.0), 5: (24.0, 76.0)},
    }
    nothing = flame.strip(brief(7, None, 3.0, 0.0), [])
    assert [(bar.x, bar.row) for bar in nothing.bars] == [(0.0, 0)]
    many = flame.strip(one, [brief(n, 1, 0.0, 10.0) for n in range(2, 102)])
    assert (many.rows, len(many.bars), many.left_out) == (40, 40, 61)
    quick = [brief(2, 1, 1e-4, 1e-3), brief(3, 2, 2e-4, 1e-3)]  # their clocks began a moment later
    strip = flame.strip(brief(1, None, 0.0, 1e-3), quick)
    assert {round(bar.x + bar.width, 6) for bar in strip.bars} == {100.0}


FILE = """
def f(): return "first"


class C:
    @property
    @staticmethod
    def f(self):
        return (
            "in a class"
        )

    def g(self):
        def f(): return "inside"
        each = lambda: [f for f in (lambda: 1,)]


def f(): return "second"
"""


@pytest.mark.parametrize(
    ("name", "line", "found", "begins"),
    [
        ("f", 2, 'def f(): return "first"', 2),
        ("f", 99, 'def f(): return "second"', 18),
        ("C.f", 1, "@property", 6),
        ("C.g.<locals>.f", 1, 'def f(): return "inside"', 14),
        ("C.g.<locals>.<lambda>", 1, "each = lambda: [f", 15),
        ("C.g.<locals>.<lambda>.<locals>.<lambda>", 1, "each = lambda: [f", 15),
    ],
)
def test_a_function_is_found_in_its_file(
    tmp_path: Path, name: str, line: int, found: str, begins: int
) -> None:
    file = tmp_path / "file.py"
    file.write_text(FILE)
    source = source_in(str(file), name, line)
    assert source is not None
    assert source.text.startswith(found)
    assert source.line == begins
    for other in ("g", "C.h", "", "<module>"):
        assert source_in(str(file), other, 1) is None


def test_what_is_large_or_odd_is_shown_in_short(shop: Shop) -> None:
    odd = {f"k{n}": n for n in range(300)} | {"</td><b>'\"\n": 1, "": 2, "é/../": 3}
    server = shop(
        f"def take(**words): return words\nfrom snapshot.replay import record\n"
        f"record(take)(**{odd!r})\nkeep(list(range(400_000)))\nkeep('\\0\\x1b[1m\\ud800')\n"
        "@record\ndef fail(): raise ValueError('<i>' * 1_000_000)\n"
        "try:\n    fail()\nexcept ValueError:\n    pass"
    )
    page = server.get("/calls/1")
    assert "and 103 more" in plain(page)
    assert "<b>" not in page.text
    assert "all of them" in plain(server.get("/calls/2"))
    assert server.get("/calls/3").status == 200
    page = server.get("/calls/4")
    assert len(page.body) < 1_500_000
    assert "<i>" not in page.text
    assert "It matches" in again(server, 4)
    assert server.get("/compare?one=1&other=4").status == 200


@pytest.fixture
def database() -> Iterator[str]:
    """The URL of a server, which outlives the explorer."""
    postgres.require()
    with postgres.server() as url:
        yield url


def test_a_store_in_postgresql(database: str, shop: Shop) -> None:
    server = shop("order([1, 2], discount=1)\nkeep([1])", "--store", database, store=database)
    assert "{'total': 8}" in plain(server.get("/calls/1"))
    assert "It matches" in again(server, 1)
    assert "0 1 int" in plain(server.post("/view?call=4", {}, page="/calls/4"))
    answer = server.post("/calls/4/delete", {}, page="/calls/4/delete")
    where = answer.headers["location"]
    assert server.get("/calls/4").status == 404
    server.post(f"{where.partition('?')[0]}/undo", {"back": "/calls/4"}, page=where)
    assert server.get("/calls/4").status == 200


# In a browser.


@in_a_browser
def test_output_is_seen_while_it_runs_and_it_can_be_ended(shop: Shop, tmp_path: Path) -> None:
    server = shop("happen('hang')")
    (tmp_path / "again").touch()
    with person(server) as somebody:
        page = somebody.page
        page.get_by_role("button", name="Reanimate").click()
        page.get_by_text("about to hang").wait_for()
        assert "Running" in page.get_by_role("status").inner_text()
        page.get_by_role("button", name="End it").click()
        page.get_by_text("Ended after").wait_for()
        assert page.get_by_text("about to hang").is_visible()


@in_a_browser
def test_one_that_runs_is_followed(shop: Shop, start: Callable[..., Program]) -> None:
    server = shop("keep(1)")
    program = start(
        """
        import sys
        from snapshot.replay import record

        @record
        def wait():
            print("in it", flush=True)
            return sys.stdin.readline()

        wait()
        """
    )
    program.wait_for("in it")
    with person(server) as somebody:
        somebody.goto("/calls/2")
        somebody.page.get_by_text("It has not ended yet").wait_for()
        program.send("go\n")
        somebody.page.get_by_text(r"'go\n'", exact=True).wait_for()
        assert somebody.page.get_by_text("It has not ended yet").count() == 0
    assert program.finish().code == 0


@in_a_browser
def test_all_is_done_by_keyboard(shop: Shop) -> None:
    server = shop("each_of(3)\nkeep([1])\nkeep([2])")
    with person(server, permissions=["clipboard-read", "clipboard-write"]) as somebody:
        page = somebody.page

        def press(role: str, name: str) -> None:
            found = page.get_by_role(role, name=name, exact=True)
            found.focus()
            page.keyboard.press("Enter")

        press("button", "Reanimate")
        page.get_by_text("It matches").wait_for()
        assert somebody.violations() == []
        press("link", "Back")
        page.wait_for_url("**/calls/1")
        page.locator("#tree a[href='/calls/3']").press("Enter")
        page.wait_for_url("**/calls/3")
        somebody.goto("/calls/5")
        press("button", "Compare")
        page.wait_for_url("**/compare?one=5&other=6")
        assert somebody.violations() == []
        somebody.goto("/calls/5")
        press("link", "Script")
        press("button", "Copy")
        page.get_by_role("button", name="Copied").wait_for()
        assert "reanimate_function" in page.evaluate("navigator.clipboard.readText()")
        assert somebody.violations() == []
        somebody.goto("/calls/5")
        press("button", "Look closer at value")
        page.get_by_text("Loaded and looked at").wait_for()
        assert somebody.violations() == []
        somebody.goto("/calls/5")
        press("link", "Delete…")
        page.wait_for_url("**/calls/5/delete")
        assert somebody.violations() == []
        press("button", "Delete call 5")
        page.get_by_text("Call 5 is deleted").wait_for()
        assert somebody.violations() == []
        press("button", "Undo")
        page.wait_for_url("**/calls/5")


@in_a_browser
@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1600)])
def test_pages_are_for_everybody(shop: Shop, scheme: str, width: int) -> None:
    server = shop(
        "order([1, 2], discount=1)\n"
        "try:\n    order([9])\nexcept ShopError:\n    pass\n"
        "keep([dict(a=1, b=2)] * 3)"
    )
    with person(server, viewport={"width": width, "height": 800}, color_scheme=scheme) as somebody:
        for path in ("/calls/1", "/calls/4", "/compare?one=1&other=4", "/view?call=6"):
            somebody.goto(path)
            if path.startswith("/view"):
                somebody.page.get_by_role("button", name="Look closer").click()
                somebody.page.get_by_text("Loaded and looked at").wait_for()
            assert somebody.violations() == [], path
            wide = somebody.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, path
