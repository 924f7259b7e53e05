"""The explorer answers who has its address, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browsing import Explorer, explorer
from tests.processes import Result

RECORD = """
from snapshot.replay import record

@record
def price(n, note):
    return n * 2

for n in range(3):
    price(n, "<img src=x onerror=alert(1)>")
"""


@pytest.fixture
def server(tmp_path: Path, python: Callable[..., Result]) -> Iterator[Explorer]:
    """An explorer of three calls."""
    assert python(RECORD).code == 0
    with explorer(tmp_path) as found:
        yield found


def test_without_the_token_there_is_nothing(server: Explorer) -> None:
    for path in ("/", "/calls", "/calls/1", "/events?of=store", "/nowhere"):
        answer = server.ask("GET", path, cookie="")
        assert answer.status == 403, path
        assert "price" not in answer.text
        assert "the token" in answer.text
    assert server.ask("GET", "/calls?token=wrong", cookie="").status == 403
    assert server.ask("GET", "/calls", cookie=f"snapshot-{server.port}=wrong").status == 403
    assert server.ask("GET", "/calls", cookie='snapshot-1="; é; =;;').status == 403


def test_another_name_of_this_machine_is_refused(server: Explorer) -> None:
    """A page of somebody else's can let its own name lead here."""
    for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example", "[::2]"):
        answer = server.ask("GET", "/calls", headers={"Host": host})
        assert answer.status == 421, host
        assert "price" not in answer.text
    for host in (f"localhost:{server.port}", "127.0.0.1:1", "LOCALHOST"):
        assert server.ask("GET", "/jobs/x", headers={"Host": host}).status == 404, host


def test_other_pages_may_not_ask(server: Explorer) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
    ):
        assert server.ask("GET", "/jobs/x", headers=headers).status == 403, headers
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert server.ask("GET", "/jobs/x", headers=followed).status == 404


def test_nothing_changes_without_a_form_of_ours(server: Explorer) -> None:
    for body in ("", "form-token=wrong", "form-token=", "%ff=%ff", "a" * 100, "=&=&=\0"):
        answer = server.ask("POST", "/jobs/x/end", body, {"Origin": server.origin})
        assert answer.status in (400, 403), body
    for method in ("PUT", "DELETE", "PATCH"):
        assert server.ask(method, "/calls/1").status == 405
    assert server.ask("POST", "/jobs/x/end", "a=" + "b" * (2 << 20)).status == 413


def test_every_answer_has_a_policy(server: Explorer) -> None:
    for path in ("/", "/jobs/x", "/static/style.css", "/static/../safety.py"):
        headers = server.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_no_path_leads_out(server: Explorer) -> None:
    for path in (
        *("/static/../safety.py", "/static/%2e%2e/safety.py", "/static/..%2fsafety.py"),
        *("/static//etc/passwd", "/../../etc/passwd", "/jobs/..%2f..%2fetc"),
    ):
        answer = server.get(path)
        assert answer.status == 404, path
        assert "root:" not in answer.text


def test_a_job_that_is_forgotten_says_so(server: Explorer) -> None:
    for answer in (server.get("/jobs/x"), server.post("/jobs/x/end", {})):
        assert answer.status == 404
        assert "not known any more" in answer.text


def test_the_address_loses_its_token(server: Explorer) -> None:
    token = server.address.partition("token=")[2]
    answer = server.ask("GET", f"/calls?sort=started&token={token}&way=up", cookie="")
    assert answer.status == 303
    assert answer.headers["location"] == "/calls?sort=started&way=up"
    assert "HttpOnly" in answer.headers["set-cookie"]
    away = server.ask("GET", f"//evil.example/?token={token}", cookie="")
    assert not away.headers.get("location", "").startswith("//")


def test_read_only_refuses_every_form(tmp_path: Path, python: Callable[..., Result]) -> None:
    assert python(RECORD).code == 0
    with explorer(tmp_path, "--read-only") as server:
        answer = server.ask("POST", "/jobs/x/end", "a=b", {"Origin": server.origin})
        assert answer.status == 403
        assert "--read-only" in answer.text
