"""Sessions in the explorer: what a person sees of prompts and debuggers that run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from snapshot.core import sessions
from tests.browsing import explorer, in_a_browser, person
from tests.debugging import Debugging
from tests.repl import Repl
from tests.terminal import Terminal

Open = Callable[..., Terminal]


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the sockets of a test are; the server looks there, too."""
    found = tmp_path / "home" / "runtime"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(found))
    return found


def test_nobody_runs(tmp_path: Path, runtime: Path) -> None:
    with explorer(tmp_path, env={"XDG_RUNTIME_DIR": str(runtime)}) as server:
        assert "Nothing runs." in server.get("/sessions").text
        for name in ("1-2", "..%2f..%2fetc", "x" * 5000, "%00", "%3Cb%3E"):
            assert server.get(f"/sessions/{name}").status == 404, name


@in_a_browser
def test_a_prompt_is_followed(open_terminal: Open, tmp_path: Path, runtime: Path) -> None:
    """The tree of states with their memory, and what a future writes, as it comes."""
    os.mkfifo(tmp_path / "gate")
    with (
        explorer(tmp_path, env={"XDG_RUNTIME_DIR": str(runtime)}) as server,
        person(server, viewport={"width": 1300, "height": 900}) as someone,
    ):
        page = someone.page
        someone.goto("/sessions")
        page.get_by_text("Nothing runs.").wait_for()
        repl = Repl(open_terminal(rows=40, columns=160))
        page.get_by_role("link", name="snapshot-repl program.py").wait_for()
        assert someone.violations() == []
        page.keyboard.press("Tab")
        page.get_by_role("link", name="snapshot-repl program.py").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="States").wait_for()
        page.get_by_text("No futures: tm.future(f, x)").wait_for()
        page.get_by_text("goes to a state with past(n)").wait_for()

        rows = page.locator("table.tree tbody tr")
        repl.say("text = '<img src=x onerror=alert(1)>'")
        rows.filter(has_text="<img src=x onerror=alert(1)>").wait_for()
        repl.say("1 / 0")
        rows.filter(has_text="1 / 0").locator(".badge.bad").wait_for()
        repl.say("past(1)")
        page.locator("tr.here", has_text="<img src=x").wait_for()
        assert "tip of branch 1" in rows.filter(has_text="1 / 0").inner_text()
        work = 'print("<b>one</b>", flush=True); open("gate").read(); print("two")'
        repl.say(f"f = tm.future({work!r})", "branch 2 >>>")
        output = page.locator("pre.output")
        output.get_by_text("<b>one</b>").wait_for()
        assert "running" in page.locator("#futures").inner_text()
        (tmp_path / "gate").write_text("")
        output.get_by_text("two").wait_for()
        page.locator("#futures .badge.good", has_text="done").wait_for()
        page.locator("table.tree td", has_text="MiB").first.wait_for()
        assert someone.violations() == []
        assert page.locator("table.tree circle.ring").count() == 1

        (session,) = sessions.running()
        page.goto(f"{server.origin}/sessions/{session.id}")
        repl.terminal.line("exit()")
        page.get_by_text("This session has ended").wait_for()
        assert server.get(f"/sessions/{session.id}").status == 404


@in_a_browser
def test_a_debugger_is_followed(open_terminal: Open, tmp_path: Path, runtime: Path) -> None:
    """Stops and branches, on a narrow screen in the dark."""
    with (
        explorer(tmp_path, env={"XDG_RUNTIME_DIR": str(runtime)}) as server,
        person(server, viewport={"width": 360, "height": 800}, color_scheme="dark") as someone,
    ):
        debugging = Debugging(open_terminal(rows=40, columns=160), "x = 1\nx = 2\nx = 3\n")
        page = someone.page
        someone.goto("/sessions")
        page.locator(".session h2 a").click()
        page.get_by_role("heading", name="States").wait_for()
        page.get_by_text("goes to a state with goto n").wait_for()
        debugging.say("n")
        debugging.say("n")
        page.locator("table.tree tbody tr").nth(2).wait_for()
        debugging.say("back 1")
        page.locator("tr.here").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert someone.violations() == []
