"""How long pages of the explorer take, in a large store: `python -m benchmarks.web`.

An application of 2,000 functions is run, which makes 100,000 calls that are recorded, and counted
by heat; 10,000 results are kept. Pages are asked for over one connection; the floor is a page of as
many bytes that is there already, from the same kind of server.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psutil

from benchmarks.harness import check, check_time, compare, main, show, timed

_MODULES, _FUNCTIONS, _EACH = 100, 20, 50
_RESULTS = 10_000
_ROUNDS = 15
_FIRST, _MAP = 0.300, 0.500  # seconds, the targets
_MEMORY = 150_000_000

_FLOOR = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)

page = Route("/{size:int}", lambda request: HTMLResponse("x" * request.path_params["size"]))
config = uvicorn.Config(Starlette(routes=[page]), port=0, log_level="warning", access_log=False)
Server(config).run()
"""


def _application(folder: Path) -> None:
    (folder / "snapshot.rootmarker").touch()
    package = folder / "app"
    package.mkdir()
    (package / "__init__.py").touch()
    for module in range(_MODULES):
        functions = [
            f"def work_{n}(x, note='none'):\n    y = x * {n}\n    return y + 1\n"
            for n in range(_FUNCTIONS)
        ]
        (package / f"part_{module}.py").write_text("\n\n".join(functions))
    (folder / "run.py").write_text(
        "import importlib\n"
        "from snapshot.memo import memoize\n"
        "from snapshot.replay import recording\n"
        "@memoize()\n"
        "def kept(n): return n + 1\n"
        "def outer(works):\n"
        "    for work in works[:500]: work(1, 'nested')\n"
        "works = []\n"
        f"for module in range({_MODULES}):\n"
        "    part = importlib.import_module(f'app.part_{module}')\n"
        f"    works += [getattr(part, f'work_{{n}}') for n in range({_FUNCTIONS})]\n"
        "with recording(['app.*', '__main__:outer']):\n"
        "    outer(works)\n"
        f"    for x in range({_EACH}):\n"
        "        for work in works: work(x, 'needle' if x == 25 and work is works[7] else 'hay')\n"
        f"for n in range({_RESULTS}): kept(n)\n"
    )
    run = [sys.executable, "-m", "snapshot", "heat", "run", "run.py"]
    subprocess.run(run, cwd=folder, env=_environment(), check=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.getcwd()}


@contextmanager
def _started(folder: Path, *command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server, and the line that it prints when it is ready."""
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
        process.terminate()


class _Asking:
    """Somebody who asks one server for pages, over one connection."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Cookie": cookie} if cookie else {}

    def get(self, path: str) -> tuple[bytes, str]:
        """The body, and the cookie that was given."""
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status >= 400:
            raise SystemExit(f"{path} is answered with {response.status}: {body.decode()}")
        return body, (response.getheader("Set-Cookie") or "").partition(";")[0]


_PAGES: dict[str, tuple[str, float | None]] = {
    "calls, first page": ("/calls", _FIRST),
    "calls, page 1,000": ("/calls?page=1000", _FIRST),
    "calls, by duration": ("/calls?sort=duration", _FIRST),
    "calls, of a function": ("/calls?function=work_7", _FIRST),
    "calls, a rare word": ("/calls?search=needle", _FIRST),
    "calls, two frequent words": ("/calls?search=part_1+hay", None),
    "functions": ("/functions", _FIRST),
    "a function": ("/functions/app.part_3%3Awork_4", _FIRST),
    "a call with 500 others in it": ("/calls?function=outer", None),
    "heat, with the treemap": ("/heat", _MAP),
    "heat, the list": ("/heat/functions", _FIRST),
    "memo": ("/memo", _FIRST),
    "a memoized function, 10,000 results": ("/memo/__main__%3Akept", _FIRST),
    "objects": ("/objects", _FIRST),
}


def pages() -> None:
    """Each page, beside the floor; many at once; the memory of the server after all that."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _application(folder)
        with (
            _started(folder, "-c", _FLOOR) as (_, floor_port),
            _started(folder, "-m", "snapshot", "web", "--port", "0") as (server, address),
        ):
            parts = urlsplit(address)
            port = parts.port or 0
            _, cookie = _Asking(port).get(f"{parts.path}?{parts.query}")
            asking, floor = _Asking(port, cookie), _Asking(int(floor_port))
            listed = asking.get("/calls?function=outer")[0].decode()
            outer = listed.partition('<a href="/calls/')[2].partition('"')[0]
            for what, (path, target) in _PAGES.items():
                if "500" in what:
                    path = f"/calls/{outer}"
                _page(what, path, target, asking, floor)
            _at_once(port, cookie)
            check(
                "explorer: memory of the server",
                psutil.Process(server.pid).memory_info().rss,
                _MEMORY,
            )


def _page(what: str, path: str, target: float | None, asking: _Asking, floor: _Asking) -> None:
    size = len(asking.get(path)[0])
    rounds = [
        (timed(lambda: asking.get(path)), timed(lambda: floor.get(f"/{size}")))
        for _ in range(_ROUNDS)
    ]
    ours, bare = (median(each) for each in zip(*rounds, strict=True))
    compare(f"explorer: {what} ({size / 1000:.0f} KB)", ours, bare, "a page that is there")
    if target is not None:
        check_time(f"explorer: {what}", ours, target)


def _at_once(port: int, cookie: str) -> None:
    """A hundred people load the first page together."""
    took: list[float] = []

    def load() -> None:
        began = time.perf_counter()
        _Asking(port, cookie).get("/calls")
        took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=load) for _ in range(100)]
    began = time.perf_counter()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    show(
        "explorer: a hundred at once",
        f"{time.perf_counter() - began:.2f} s for all, {len(took)} answered",
    )


if __name__ == "__main__":
    sys.exit(main("benchmarks.web", {"pages": pages}))
