"""Take the pictures of the explorer that the README shows: `python -m docs.screenshots`.

A day at the shop of the examples is recorded, kept and counted, twice with an edit between; a
prompt with branches and a future runs beside it. Each page is taken in light and in dark, and some
as on a telephone, into `docs/explorer`.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browsing import Explorer, chromium, explorer
from tests.processes import Program
from tests.repl import Repl
from tests.terminal import Terminal

HERE = Path(__file__).parent
SHOP = HERE.parent / "examples" / "shop"
SIZES = {"": (1280, 860), "narrow-": (360, 740)}
NARROW = {"calls", "heat", "session"}


def main() -> None:
    """Take all of them."""
    pictures = HERE / "explorer"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        shutil.copytree(SHOP, shop, ignore=shutil.ignore_patterns(".snapshot", "__pycache__"))
        run(shop, "-m", "snapshot", "heat", "run", "day.py")
        prices = shop / "shop" / "prices.py"
        prices.write_text(prices.read_text().replace("orders_before >= 5", "orders_before >= 3"))
        run(shop, "-m", "snapshot", "heat", "run", "day.py")
        with prompt(shop), explorer(shop) as server:
            for scheme in ("light", "dark"):
                for kind, (width, height) in SIZES.items():
                    with chromium(
                        viewport={"width": width, "height": height}, color_scheme=scheme
                    ) as context:
                        page = context.new_page()
                        page.goto(server.address)
                        for name in visited(page, server):
                            if not kind or name in NARROW:
                                print(f"{kind}{name}-{scheme}.png", flush=True)
                                page.screenshot(path=pictures / f"{kind}{name}-{scheme}.png")


def run(folder: Path, *command: str) -> None:
    """Run Python there to its end."""
    with Program([sys.executable, *command], directory=folder) as program:
        assert program.finish(60).code == 0


@contextmanager
def prompt(folder: Path) -> Iterator[None]:
    """A prompt at which somebody has tried a few things."""
    with Terminal(folder, rows=40, columns=120) as terminal:
        repl = Repl(
            terminal, source="import time\nstock = {name: 100 for name in ('tea', 'coffee')}\n"
        )
        repl.say("orders = [bytes(2_000_000) for _ in range(10)]")
        repl.say("tm.name(1, 'loaded')")
        repl.say("stock.clear()")
        repl.say("stock['tea']")
        repl.say("past(1)")
        repl.say("stock['tea'] -= 60", "branch 2 >>>")
        slow = "for day in range(9999): print('day', day, flush=True); time.sleep(0.4)"
        repl.say(f"f = tm.future({slow!r})", "branch 2 >>>")
        yield


def visited(page: Any, server: Explorer) -> Iterator[str]:
    """Go from page to page; the name of each when it is there."""

    def go(path: str) -> None:
        page.goto(server.origin + path)

    go("/calls")
    yield "calls"
    go("/calls?function=checkout&outcome=raised")
    page.locator("tbody th a").first.click()
    page.get_by_role("heading", name="Source").wait_for()
    yield "call"
    page.get_by_role("button", name="Reanimate").click()
    page.get_by_text("It matches").wait_for()
    yield "reanimated"
    go("/functions")
    yield "functions"
    go("/functions/shop.prices%3Adiscount")
    yield "function"
    go("/heat")
    yield "heat"
    go("/memo")
    yield "memo"
    page.get_by_role("link", name=re.compile("forecast")).first.click()
    page.get_by_role("heading", name=re.compile("forecast")).wait_for()
    yield "memoized"
    go("/objects")
    yield "objects"
    go("/sessions")
    page.get_by_role("link", name="snapshot-repl").click()
    page.locator("pre.output").get_by_text("day 3").wait_for()
    yield "session"


if __name__ == "__main__":
    main()
