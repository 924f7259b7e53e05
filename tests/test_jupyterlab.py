"""JupyterLab in a browser: what a person sees and does there."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from snapshot.repl.kernel import spec
from tests.browsing import chromium, in_a_browser, missing
from tests.processes import Program, wait_gone

EXAMPLE = Path(__file__).parent.parent / "examples" / "timeline.ipynb"
NO_NEWS = "jupyterlab.NeverCheckForUpdate"

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), in_a_browser]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """A page of a headless Chromium."""
    if reason := missing("jupyterlab"):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with chromium(viewport={"width": 1400, "height": 1400}) as context:
        page = context.new_page()
        yield page
        page.screenshot(path=tmp_path / "last.png")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Program]:
    """JupyterLab with the example, and the kernel installed."""
    spec.install(prefix=str(tmp_path))
    shutil.copy(EXAMPLE, tmp_path)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"),
        *("--IdentityProvider.token=", "--ServerApp.password="),
        *("--LabApp.news_url=None", f"--LabApp.check_for_updates_class={NO_NEWS}"),
    ]
    env = {"JUPYTER_PATH": str(tmp_path / "share" / "jupyter")}
    with Program(command, directory=tmp_path, env=env) as program:
        yield program


def kernels(server: Program) -> list[psutil.Process]:
    """The processes of all kernels of the server."""
    found = []
    for each in psutil.Process(server.pid).children(recursive=True):
        if "snapshot.repl.kernel" in each.cmdline():
            found.append(each)
    return found


class Lab:
    """The example in JupyterLab, and a person at it."""

    def __init__(self, server: Program, page: Any) -> None:
        there = re.compile(r"http://127\.0\.0\.1:\d+/lab")
        address = server.wait_for(there, stream="stderr", timeout=60)[0]
        self.page = page
        page.goto(f"{address}/tree/timeline.ipynb")
        page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        page.locator("text=Python (snapshot) | Idle").wait_for()

    def command(self, name: str) -> None:
        """An entry of the menus, by way of the palette."""
        self.page.keyboard.press("Control+Shift+C")
        self.page.locator(".lm-CommandPalette-input").fill(name)
        self.page.locator(".lm-CommandPalette-item", has_text=name).first.click()

    def write(self, code: str) -> Any:
        """Run this in a new cell at the end. Returns the cell."""
        last = self.page.locator(".jp-CodeCell").last
        last.locator(".cm-content").click()
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("b")
        self.page.keyboard.press("Enter")
        self.page.keyboard.type(code)
        self.page.keyboard.press("Shift+Enter")
        return self.page.locator(".jp-CodeCell").filter(has_text=code).last


def test_the_example_in_the_browser(server: Program, browser: Any) -> None:
    lab = Lab(server, browser)
    lab.command("Run All Cells")
    tree = browser.locator(".jp-OutputArea svg[aria-label=states]")
    tree.wait_for()
    assert "(before the first cell)" in tree.text_content()
    crash = browser.locator(".jp-OutputArea-output", has_text="was killed by SIGSEGV").first
    crash.wait_for()

    there = lab.write("print('there', len(functions) < all_of_them // 2)")
    there.locator("text=there True").wait_for()
    lab.write("past(1)").locator("text=snapshot: at state 1").wait_for()
    lab.write("print('past', len(functions) == all_of_them)").locator("text=past True").wait_for()

    sleeping = lab.write("import time; print('asleep'); time.sleep(1000)")
    sleeping.locator(".jp-OutputArea-output", has_text="asleep").wait_for()
    lab.command("Interrupt Kernel")
    sleeping.locator("text=KeyboardInterrupt").first.wait_for()
    lab.write("print('still', all_of_them > 1000)").locator("text=still True").wait_for()

    before = kernels(server)
    assert len(before) > 5
    lab.command("Restart Kernel…")
    browser.locator(".jp-Dialog button", has_text="Restart").last.click()
    wait_gone(before, 15)
    lab.write("print('new', 'functions' in globals())").locator("text=new False").wait_for()
    assert not {each.pid for each in before} & {each.pid for each in kernels(server)}
