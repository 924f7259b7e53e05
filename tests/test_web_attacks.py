"""The explorer among those who mean it no good: other servers, odd stores, code that escapes."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.browsing import Explorer, explorer, in_a_browser, person
from tests.processes import Program, Result

RECORD = r"""
import os, signal, subprocess, sys, time
from snapshot.replay import record

def again():
    return "AGAIN" in os.environ

@record
def plain(n):
    return n

@record
def leave(told):
    if again() and os.fork() == 0:
        os.setsid()
        if os.fork() != 0:
            os._exit(0)
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        with open(told, "w") as file:
            file.write(f"{os.getpid()}\n")
        while True:
            time.sleep(1000)
    elif again():
        os.wait()
        while not os.path.exists(told) or not open(told).read().endswith("\n"):
            time.sleep(0.01)
    return 1

@record
def stay(told):
    if again():
        here = subprocess.Popen(["sleep", "1000"], env={}).pid
        there = subprocess.Popen(["sleep", "1000"], start_new_session=True).pid
        with open(told + ".new", "w") as file:
            file.write(f"{os.getpid()} {here} {there}")
        os.rename(told + ".new", told)
        time.sleep(1000)
    return 1

@record
def forge(line):
    if again():
        for each in os.listdir("/proc/self/fd"):
            try:
                if int(each) > 2 and "pipe" in os.readlink(f"/proc/self/fd/{each}"):
                    os.write(int(each), line.encode())
            except OSError:
                pass
    return 1

@record
def say():
    if again():
        for each in "é".encode():
            os.write(1, bytes([each]))
            time.sleep(0.05)
    return 1

@record
def count():
    if again():
        for n in range(1, 11):
            os.write(1, f"{n} of 10 lines\n".encode())
            time.sleep(0.1)
        while not os.path.exists("go"):
            time.sleep(0.01)
    return 1

class Waits:
    def __reduce__(self):
        return wait, (os.path.abspath("waits"),)

def wait(told):
    with open(told, "w") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(1000)

@record
def keep(value):
    return None

@record
def shout(text):
    raise ValueError(text)

@record
def total(numbers):
    return len(numbers)

def main():
    plain(1)
    leave(os.path.abspath("left"))
    stay(os.path.abspath("stayed"))
    for each in ("no json\n", '{"result": {"x": 1}}\n', '{"error": "\\ud800"}\n'):
        forge(each)
    say()
    count()
    keep(Waits())
    try:
        shout("\u202e" + "w" * 30_000)
    except ValueError:
        pass
    total([*range(100_000)])
"""


@pytest.fixture
def recorded(tmp_path: Path, python: Callable[..., Result]) -> dict[str, list[int]]:
    """The ids of the calls of each function."""
    (tmp_path / "made.py").write_text(RECORD)
    assert python("import made; made.main()").code == 0
    assert (
        python("from snapshot.store import Store\nwith Store() as store: store.catch_up()").code
        == 0
    )
    found: dict[str, list[int]] = {}
    with sqlite3.connect(store_of(tmp_path)) as store:
        rows = store.execute(
            "SELECT calls.id, key FROM calls JOIN versions ON versions.id = version"
            " JOIN functions ON functions.id = function ORDER BY calls.id"
        )
        for number, key in rows:
            found.setdefault(key.partition(":")[2], []).append(number)
    store.close()
    return found


@pytest.fixture
def server(tmp_path: Path, recorded: dict[str, list[int]]) -> Iterator[Explorer]:
    """An explorer of these calls, which do otherwise when they are made again."""
    with explorer(tmp_path, env={"AGAIN": "1"}) as found:
        yield found


def store_of(directory: Path) -> Path:
    """Where its store is."""
    return next(directory.glob("**/store.db"))


def job(server: Explorer, call: int) -> str:
    """Make a call again: the page of that."""
    page = f"/calls/{call}"
    return server.post(f"{page}/reanimate", {}, page=page).headers["location"]


def over(server: Explorer, page: str) -> str:
    """What the page of a job says when that is over, and its status."""
    while True:
        answer = server.get(page)
        if '"state running"' not in answer.text:
            return f"{answer.status} {answer.text}"
        time.sleep(0.05)


def ended(pid: int) -> bool:
    """Whether it has, or is about to be reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# Others on this machine.


def test_the_address_with_the_token_leads_to_no_other_host(server: Explorer) -> None:
    token = server.address.partition("token=")[2]
    for path in ("///evil.example/", "////evil.example", "/%2F%2Fevil.example"):
        where = server.ask("GET", f"{path}?token={token}", cookie="").headers["location"]
        assert not where.startswith("//"), path


def test_cookies_of_other_servers_lock_nobody_out(server: Explorer) -> None:
    """Browsers send those of all ports of a host."""
    name = server.cookie.partition("=")[0]
    for other in ('a={"b": [1]}', 'b="open', "path=/", "c", "a b=c", ",=", f"{name}=of-old"):
        for cookies in (f"{other}; {server.cookie}", f"{server.cookie}; {other}"):
            assert server.ask("GET", "/calls", cookie=cookies).status == 200, cookies


def test_who_leaves_in_the_middle_of_a_form_leaves_no_traceback(server: Explorer) -> None:
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(
            f"POST /calls/delete HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\n"
            "Content-Length: 100\r\n\r\na".encode()
        )
    assert server.get("/calls").status == 200
    server.program.kill(signal.SIGTERM)
    assert "Traceback" not in server.program.finish(timeout=30).stderr


def test_the_head_of_events_has_an_end(server: Explorer) -> None:
    with socket.create_connection((server.host, server.port), 20) as connection:
        connection.sendall(
            f"HEAD /events?of=store HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        answer = b""
        while data := connection.recv(4096):
            answer += data
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_browser_is_started_without_the_token(tmp_path: Path) -> None:
    """All users can see with which arguments."""
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {told}.new && mv {told}.new {told}\n')
    browser.chmod(0o700)
    with explorer(tmp_path, "--open", env={"BROWSER": f"{browser} %s"}) as server:
        while not told.exists():
            time.sleep(0.01)
        where = told.read_text().strip()
        page = Path(where.removeprefix("file://"))
        token = server.address.partition("token=")[2]
        assert token not in where
        assert token in page.read_text()
        assert page.parent.stat().st_mode & 0o077 == 0
        server.program.kill(signal.SIGHUP)
        server.program.finish(timeout=30)
        assert not page.parent.exists()


def test_it_is_told_that_there_is_no_browser(tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}
    with explorer(tmp_path, "--open", env=env) as server:
        server.program.wait_for("no browser can be opened", stream="stderr", timeout=30)
        server.program.kill(signal.SIGTERM)
        server.program.finish()


@pytest.mark.parametrize(
    ("redirection", "why"), [(">&-", "is closed"), (">/dev/full", "No space left")]
)
def test_who_cannot_be_told_the_address_is_told_so(
    tmp_path: Path, redirection: str, why: str
) -> None:
    command = f"exec '{sys.executable}' -m snapshot web --port 0 {redirection}"
    with Program(["sh", "-c", command], directory=tmp_path) as program:
        result = program.finish(timeout=60)
    assert result.code != 0
    assert why in result.stderr
    assert "Traceback" not in result.stderr.partition("Exception ignored")[0]


# What runs apart.


def test_nothing_that_a_job_has_started_is_left(
    server: Explorer, recorded: dict[str, list[int]], tmp_path: Path
) -> None:
    """In a session of its own, without a parent, deaf to signals, with the job's pipes open."""
    assert "state done" in over(server, job(server, recorded["leave"][0]))
    assert ended(int((tmp_path / "left").read_text()))


def test_a_server_that_is_killed_leaves_nothing_of_its_jobs(
    server: Explorer, recorded: dict[str, list[int]], tmp_path: Path
) -> None:
    """Neither a call, nor what it has started, in its session or in another one."""
    told = tmp_path / "stayed"
    job(server, recorded["stay"][0])
    while not told.exists():
        time.sleep(0.01)
    started = [int(each) for each in told.read_text().split()]
    assert not any(map(ended, started))
    server.program.kill(signal.SIGKILL)
    while not all(map(ended, started)):
        time.sleep(0.01)


def test_what_a_job_tells_may_be_forged(server: Explorer, recorded: dict[str, list[int]]) -> None:
    garbage, result, error = recorded["forge"]
    assert over(server, job(server, garbage)).startswith("200")
    assert "could not be made" in over(server, job(server, result))
    assert over(server, job(server, error)).startswith("200")
    assert server.get("/calls").status == 200


def test_a_letter_that_comes_in_pieces_is_one(
    server: Explorer, recorded: dict[str, list[int]]
) -> None:
    assert ">é</pre>" in over(server, job(server, recorded["say"][0]))


def test_the_server_ends_while_a_value_is_looked_at(
    server: Explorer, recorded: dict[str, list[int]], tmp_path: Path
) -> None:
    """Which takes twenty seconds, and half a minute more before it is given up."""
    page = f"/calls/{recorded['keep'][0]}"
    form = f"form-token={server.get(page).form_token}&call={recorded['keep'][0]}&role=arguments"
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(
            f"POST /view HTTP/1.1\r\nHost: {server.host}\r\nCookie: {server.cookie}\r\n"
            f"Content-Length: {len(form)}\r\n\r\n{form}".encode()
        )
        told = tmp_path / "waits"
        while not told.exists() or not told.read_text().endswith("\n"):
            time.sleep(0.01)
        server.program.kill(signal.SIGTERM)
        server.program.finish(timeout=12)
    assert ended(int(told.read_text()))


@in_a_browser
def test_a_job_is_read_out_when_it_ends_and_not_all_the_time(
    server: Explorer, recorded: dict[str, list[int]], tmp_path: Path
) -> None:
    """A screen reader tells of what changes within an element that stays."""
    with person(server) as somebody:
        page = somebody.page
        somebody.goto(job(server, recorded["count"][0]))
        page.evaluate(
            """() => {
                const status = document.getElementById("state");
                window.told = [];
                new MutationObserver(() => window.told.push(status.textContent))
                    .observe(status, { childList: true, characterData: true, subtree: true });
            }"""
        )
        page.wait_for_selector("pre:has-text('10 of 10 lines')")
        (tmp_path / "go").touch()
        page.wait_for_selector(".state.done")
        assert page.evaluate("window.told") == ["Done"]


# Odd stores.


def test_a_long_line_is_not_coloured(server: Explorer, recorded: dict[str, list[int]]) -> None:
    """The lexers need minutes for that."""
    page = server.get(f"/calls/{recorded['shout'][0]}").text
    traceback = page.partition('id="traceback"')[2].partition("</pre>")[0]
    assert "wwww" in traceback
    assert "hl-" not in traceback
    shown = server.get(f"/calls/{recorded['plain'][0]}").text
    assert "hl-" in shown


def test_large_arguments_are_not_taken_apart_for_a_list(
    server: Explorer, recorded: dict[str, list[int]]
) -> None:
    assert "([0, 1, 2, 3, 4, 5" in server.get("/calls?function=made:total").text
    page = server.get(f"/calls/{recorded['total'][0]}").text
    assert ">numbers</th>" in page


def test_a_value_that_is_gone_spoils_no_list(
    server: Explorer, recorded: dict[str, list[int]], tmp_path: Path
) -> None:
    store = sqlite3.connect(store_of(tmp_path))
    with store:
        store.execute("DELETE FROM objects")
    store.close()
    answer = server.get("/calls")
    assert answer.status == 200
    assert "plain" in answer.text


def test_what_is_no_text_can_be_shown(recorded: dict[str, list[int]], tmp_path: Path) -> None:
    """A folder, perhaps, whose name is none."""
    store = sqlite3.connect(store_of(tmp_path))
    with store:
        ((facts,),) = store.execute("SELECT facts FROM processes").fetchall()
        facts = json.dumps({**json.loads(facts), "folder": "/\udcff", "host": "\ud800"})
        store.execute("UPDATE processes SET facts = ?", (facts,))
    store.close()
    with explorer(tmp_path) as server:
        assert "on ?" in server.get(f"/calls/{recorded['plain'][0]}").text


def test_the_name_of_a_function_may_have_two_lines(
    recorded: dict[str, list[int]], tmp_path: Path
) -> None:
    store = sqlite3.connect(store_of(tmp_path))
    with store:
        store.execute("UPDATE functions SET key = ? WHERE key = 'made:plain'", ("made:a\nb",))
    store.close()
    with explorer(tmp_path) as server:
        assert server.get("/functions/" + quote("made:a\nb", safe="")).status == 200
        assert re.search("/functions/made%3Aa%0Ab", server.get("/functions").text)


def test_a_search_has_no_more_words_than_a_database_takes(server: Explorer) -> None:
    answer = server.get("/calls?search=" + "x+" * 5000)
    assert answer.status == 400
    assert "words" in answer.text


def test_a_fault_has_a_page(server: Explorer, tmp_path: Path) -> None:
    store = sqlite3.connect(store_of(tmp_path))
    with store:
        store.execute("UPDATE calls SET outcome = 99")
    store.close()
    answer = server.get("/calls")
    assert answer.status == 500
    assert "could not be made (ValueError)" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@in_a_browser
def test_what_turns_the_direction_of_writing_turns_nothing_else(
    recorded: dict[str, list[int]], tmp_path: Path
) -> None:
    store = sqlite3.connect(store_of(tmp_path))
    with store:
        store.execute("UPDATE functions SET key = ? WHERE key = 'made:plain'", ("m:\u202eabc",))
    store.close()
    with explorer(tmp_path) as server, person(server) as somebody:
        somebody.goto(f"/calls/{recorded['plain'][0]}")
        somebody.page.evaluate("document.querySelector('h1').append(' 123 xyz')")
        where = somebody.page.evaluate(
            """() => {
                const text = document.querySelector("h1").lastChild, range = document.createRange();
                const at = (n) => { range.setStart(text, n); range.setEnd(text, n + 1);
                                    return range.getBoundingClientRect().left; };
                return [at(1), at(text.length - 1)];
            }"""
        )
        assert where[0] < where[1]


@in_a_browser
def test_what_needs_a_script_is_not_there_without_one(server: Explorer) -> None:
    with person(server) as somebody:
        assert somebody.page.locator("[data-all]").is_visible()
    with person(server, java_script_enabled=False) as somebody:
        assert not somebody.page.locator("[data-all]").is_visible()
