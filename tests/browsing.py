"""The explorer under test: a real server, asked by hand or in a real Chromium."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests import libraries
from tests.processes import Program

TIMEOUT = 30_000  # ms
NEEDED = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NEEDED)), None)

in_a_browser = pytest.mark.skipif(
    sys.version_info[:2] != (3, 12), reason="a browser is tried on 3.12 alone"
)


def missing(*modules: str) -> str | None:
    """What is not there that a test in a browser needs."""
    for each in ("playwright", *modules):
        try:
            __import__(each)
        except ImportError:
            return f"there is no {each}: pip install -e '.[test]'"
    return None if CHROMIUM else f"there is none of {', '.join(NEEDED)}"


@contextlib.contextmanager
def chromium(**options: Any) -> Iterator[Any]:
    """A context of a headless Chromium; where there is none, the test is skipped, not under CI.

    options: of playwright's `Browser.new_context`.
    """
    if reason := missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(**options)
        context.set_default_timeout(TIMEOUT)
        yield context
        browser.close()


@dataclass
class Answer:
    """What a server has answered. headers: by names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body."""
        return self.body.decode()

    @property
    def form_token(self) -> str:
        """What is hidden in the forms of a page."""
        found = re.search(r'name="form-token" value="([^"]+)"', self.text)
        assert found is not None, self.text
        return found[1]


class Explorer:
    """A running `snapshot web`, and somebody who has opened its address."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.address = program.wait_for(re.compile(r"http://\S+\n"), timeout=60)[0].strip()
        parts = urlsplit(self.address)
        self.host, self.port = parts.hostname or "", parts.port or 0
        self.origin = f"http://{parts.netloc}"
        answer = self.ask("GET", f"{parts.path}?{parts.query}", cookie="")
        assert answer.status == 303
        self.cookie = answer.headers["set-cookie"].partition(";")[0]

    def ask(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        cookie: str | None = None,
    ) -> Answer:
        """One request, exactly as it is given; redirections are not followed."""
        told = {"Cookie": self.cookie if cookie is None else cookie, **(headers or {})}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, {k: v for k, v in told.items() if v})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """A page."""
        return self.ask("GET", path)

    def post(self, path: str, form: Mapping[str, Any], *, page: str = "/calls") -> Answer:
        """Send a form, with what `page` hides in those that it has."""
        told = {"form-token": self.get(page).form_token, **form}
        return self.ask(
            "POST",
            path,
            urlencode(told, doseq=True),
            {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.origin},
        )


@contextlib.contextmanager
def explorer(
    directory: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Iterator[Explorer]:
    """`snapshot web` in that directory, on a port that is free."""
    for each in ("starlette", "uvicorn", "jinja2"):
        libraries.require(each)
    command = [sys.executable, "-m", "snapshot", "web", "--port", "0", *arguments]
    with Program(command, directory=directory, env=env) as program:
        yield Explorer(program)


class Person:
    """Somebody at a page of the explorer. Nothing may go wrong there that is not looked for.

    page: of playwright.
    """

    def __init__(self, context: Any, explorer: Explorer) -> None:
        self.explorer = explorer
        self.page = context.new_page()
        self.problems: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("request", self._asks)
        self.page.goto(explorer.address)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(f"{message.type}: {message.text}")

    def _asks(self, request: Any) -> None:
        if not request.url.startswith((self.explorer.origin, "data:")):
            self.problems.append(f"asked for {request.url}")

    def goto(self, path: str) -> None:
        """Another page."""
        self.page.goto(self.explorer.origin + path)

    def violations(self) -> list[str]:
        """See `violations`."""
        return violations(self.page)


def violations(page: Any) -> list[str]:
    """What axe-core finds on a page of playwright's that is serious, a line each."""
    if reason := missing("axe_playwright_python"):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    import importlib

    axe: Any = importlib.import_module("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['impact']}: {each['id']}: {node['target']} {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@contextlib.contextmanager
def person(explorer: Explorer, **options: Any) -> Iterator[Person]:
    """Somebody at the explorer; in the end nothing must have gone wrong. options: `chromium`."""
    with chromium(**options) as context:
        found = Person(context, explorer)
        yield found
        assert found.problems == []
