"""Programs that nobody here wrote, each with a snapshot in the middle of what it does."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import textwrap
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.libraries import require
from tests.processes import Program, Result
from tests.terminal import Terminal

Run = Callable[..., Result]
Start = Callable[..., Program]

LEAVING = {
    "revert()": "exited with code 0",
    "sys.exit(3)": "exited with code 3",
    "raise ValueError": "exited with code 1",
    "os._exit(3)": "exited with code 3",
    "os.kill(os.getpid(), 9)": "was killed by SIGKILL",
}

# pytest

TESTS = """
import os, signal, sys
import pytest
from snapshot import last_experiment, revert, snapshot

ENDINGS = {
    "revert": (lambda: revert(), 0),
    "the last line": (lambda: None, 0),
    "assert": (lambda: 1 / 0, 1),
    "sys.exit": (lambda: sys.exit(3), 3),
    "pytest.fail": (lambda: pytest.fail("on purpose"), 1),
    "pytest.skip": (lambda: pytest.skip("on purpose"), 0),
    "pytest.exit": (lambda: pytest.exit("on purpose"), 2),
    "Ctrl-C": (lambda: os.kill(os.getpid(), signal.SIGINT), signal.SIGINT),
    "os._exit": (lambda: os._exit(3), 3),
    "SIGKILL": (lambda: os.kill(os.getpid(), signal.SIGKILL), signal.SIGKILL),
}

@pytest.fixture
def place(tmp_path):
    yield tmp_path
    note("torn down")

def note(what):
    with open("notes", "a") as notes:
        print(what, os.getpid(), file=notes)

@pytest.mark.parametrize("ending", ENDINGS)
def test_ending(place, ending):
    print("before")
    (place / "made").touch()
    leave, expected = ENDINGS[ending]
    if snapshot():
        print("experiment", flush=True)
        leave()
        return
    print("after")
    assert (place / "made").exists()
    assert expected in (last_experiment().code, last_experiment().signal)

def test_last():
    note("run")
"""


def pytest_run(python: Run, tmp_path: Path, tests: str, *options: str) -> Result:
    (tmp_path / "test_it.py").write_text(tests)
    return python(
        tmp_path / "test_it.py",
        "--basetemp=temporary",
        "--junitxml=report.xml",
        "--override-ini=junit_logging=all",
        *options,
        options=["-m", "pytest"],
    )


def captured(tmp_path: Path, stream: str) -> list[list[str]]:
    """The lines of each test's `system-out` or `system-err` in the report, without headings."""
    cases = ElementTree.parse(tmp_path / "report.xml").iter("testcase")
    texts = [case.findtext(stream) or "" for case in cases]
    return [[line for line in text.splitlines() if line and "--- " not in line] for text in texts]


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_a_test_of_pytest(python: Run, tmp_path: Path, capture: str) -> None:
    result = pytest_run(python, tmp_path, TESTS, f"--capture={capture}")
    assert result.code == 0, result
    assert result.stdout.count("test session starts") == 1, result
    assert re.findall(r"=+ (.*) in [\d.]+s =+", result.stdout) == ["11 passed"], result
    assert result.stdout.count("generated xml file") == 1, result
    notes = (tmp_path / "notes").read_text().split("\n")
    assert len(notes) == 10 + 1 + 1, notes
    assert len({note.split()[-1] for note in notes if note}) == 1, notes
    if capture == "fd":
        *endings, _ = captured(tmp_path, "system-out")
        assert endings == [["before", "experiment", "after"]] * 10
    if capture != "no":
        told = captured(tmp_path, "system-err")
        failures = [text[-2].partition(" ")[2] for text in told if len(text) > 1]
        assert failures == ["ZeroDivisionError", "Failed"]


def test_pytest_goes_on_in_what_is_kept(python: Run, tmp_path: Path) -> None:
    result = pytest_run(
        python,
        tmp_path,
        """
        from snapshot import keep, revert, snapshot

        def test_keep(capfd):
            print("before")
            assert snapshot("first") and snapshot("second")
            keep()
            print("kept")
            assert capfd.readouterr().out == "before\\nkept\\n"

        def test_next():
            print("before")
            if snapshot():
                revert()
            print("after")
        """.replace("\n        ", "\n"),
    )
    assert "2 passed" in result.stdout, result
    assert captured(tmp_path, "system-out") == [[], ["before", "after"]]


def test_the_fixtures_that_capture(python: Run, tmp_path: Path) -> None:
    result = pytest_run(
        python,
        tmp_path,
        """
        import pytest
        from snapshot import snapshot

        @pytest.mark.parametrize("leave", [lambda: None, lambda: 1 / 0])
        def test_files(capfd, leave):
            print("before")
            if snapshot():
                print("experiment")
                return leave()
            assert capfd.readouterr().out == "before\\nexperiment\\n"

        @pytest.mark.parametrize("leave", [lambda: None, lambda: 1 / 0])
        def test_memory(capsys, leave):
            print("before")
            if snapshot():
                print("experiment")
                return leave()
            assert capsys.readouterr().out == "before\\n"
        """.replace("\n        ", "\n"),
    )
    assert "4 passed" in result.stdout, result


def test_a_snapshot_in_a_fixture_runs_the_test_twice(python: Run, tmp_path: Path) -> None:
    result = pytest_run(
        python,
        tmp_path,
        """
        import pytest
        from snapshot import in_snapshot, last_experiment, snapshot

        @pytest.fixture
        def twice():
            snapshot()

        def test_twice(twice):
            if not in_snapshot():
                print("code", last_experiment().code)
            assert not in_snapshot()
        """.replace("\n        ", "\n"),
    )
    assert "1 passed" in result.stdout, result
    assert captured(tmp_path, "system-out") == [["code 1"]]


DEBUGGED = """
def total(prices):
    rate = 0.5
    breakpoint()
    return sum(prices) * (1 + rate)

def test_total(tmp_path):
    print("captured")
    assert total([10, 20]) == 45

def test_fails():
    value = 1
    assert value == 2
"""
IN_EXPERIMENT, IN_ORIGINAL = (re.compile(rf"\(Pdb{n}\) $") for n in (" 0", ""))


def start_pytest(terminal: Terminal, options: str, *, hook: str = "") -> None:
    (terminal.directory / "test_it.py").write_text(DEBUGGED)
    hook = f"PYTHONBREAKPOINT={hook} " if hook else ""
    terminal.line(f"{hook}python -m pytest -q --basetemp=temporary {options} test_it.py")


def say(terminal: Terminal, prompt: re.Pattern[str], line: str) -> None:
    terminal.wait_for(prompt, since=terminal.typed_at)
    terminal.line(line)


def session(terminal: Terminal) -> str:
    terminal.prompt()
    return "\n".join(terminal.lines())


@pytest.mark.parametrize("capture", ["", "-s"])
def test_breakpoint_in_a_test(open_terminal: Callable[..., Terminal], capture: str) -> None:
    terminal = open_terminal(rows=50, columns=100)
    start_pytest(terminal, f"{capture} -k total", hook="snapshot.set_trace")
    say(terminal, IN_EXPERIMENT, "rate = 1")
    say(terminal, IN_EXPERIMENT, "c")
    ended = "The program was ended by AssertionError: assert 60 == 45. Its past is there"
    terminal.wait_for(ended, since=terminal.typed_at)
    say(terminal, re.compile(r"\(Pdb 5\) $"), "goto 1")
    say(terminal, re.compile(r"\(Pdb 1\) $"), "p rate")
    terminal.wait_for("1", since=terminal.typed_at)
    say(terminal, re.compile(r"\(Pdb 1\) $"), "q")
    back = r"snapshot: back at 0 \(test_it\.py:4 total\); the experiment exited with code 0"
    terminal.wait_for(re.compile(back), since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "p rate")
    terminal.wait_for("0.5", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "c")
    shown = session(terminal)
    assert re.findall(r"\d+ (?:passed|failed)", shown) == ["1 passed"], shown
    assert shown.count("E       assert 60 == 45") == 1, shown
    assert shown.count("\ncaptured\n") == (1 if capture else 0), shown


def test_quitting_the_debugger_in_a_test(terminal: Terminal) -> None:
    start_pytest(terminal, "-k total", hook="snapshot.set_trace")
    say(terminal, IN_EXPERIMENT, "q")
    terminal.wait_for("the experiment exited with code 2", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "snap")
    say(terminal, IN_EXPERIMENT, "revert")
    say(terminal, IN_ORIGINAL, "q")
    assert session(terminal).count("Exit: Quitting debugger") == 1


def test_breakpoint_with_the_debugger_of_pytest(terminal: Terminal) -> None:
    start_pytest(terminal, "-k total")
    say(terminal, IN_ORIGINAL, "import snapshot; snapshot.snapshot()")
    terminal.wait_for("True", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "rate = 1")
    say(terminal, IN_ORIGINAL, "c")
    terminal.wait_for("False", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "p rate")
    terminal.wait_for("0.5", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "c")
    assert re.findall(r"\d+ (?:passed|failed)", session(terminal)) == ["1 passed"]


def test_a_snapshot_after_a_failure_in_pytest(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal(rows=50, columns=100)
    start_pytest(terminal, "--pdb -k fails")
    say(terminal, IN_ORIGINAL, "from snapshot import revert, snapshot")
    for leave in ("revert()", "c", "q"):
        say(terminal, IN_ORIGINAL, "snapshot()")
        terminal.wait_for("True", since=terminal.typed_at)
        say(terminal, IN_ORIGINAL, "value = 7")
        say(terminal, IN_ORIGINAL, leave)
        terminal.wait_for("False", since=terminal.typed_at)
        say(terminal, IN_ORIGINAL, "p 'value', value")
        terminal.wait_for("('value', 1)", since=terminal.typed_at)
    say(terminal, IN_ORIGINAL, "c")
    shown = session(terminal)
    assert re.findall(r"\d+ (?:passed|failed)", shown) == ["1 failed"], shown


# Flask, with an open transaction of SQLite

ENDINGS = {
    "revert": "reverted",
    "exception": "exited with code 0",  # Flask answers it, on a connection that is dead there
    "sys.exit": "exited with code 3",
    "os._exit": "exited with code 3",
    "SIGKILL": "was killed by SIGKILL",
}

SHOP = """
import contextlib, os, signal, sqlite3, sys
from flask import Flask, g
from werkzeug.serving import make_server
from snapshot import last_experiment, revert, snapshot

ENDINGS = {
    "revert": revert,
    "exception": lambda: 1 / 0,
    "sys.exit": lambda: sys.exit(3),
    "os._exit": lambda: os._exit(3),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
app = Flask("shop")

def database():
    if "database" not in g:
        g.database = sqlite3.connect("shop.db")
    return g.database

@app.teardown_appcontext
def close(error):
    if "database" in g:
        g.pop("database").close()

@app.get("/buy/<ending>/<use>")
def buy(ending, use):
    database().execute("insert into orders values (?)", [f"{ending} {use}"])
    if snapshot(sockets="drop"):
        if use == "used":
            with contextlib.suppress(sqlite3.DatabaseError):
                database().execute("insert into orders values ('never')")
            database().commit()
        ENDINGS[ending]()
    database().commit()
    return last_experiment().report

with sqlite3.connect("shop.db") as connection:
    connection.execute("create table orders (what)")
connection.close()
server = make_server("127.0.0.1", 0, app, threaded=sys.argv[1] == "threads")
print("port", server.server_port, flush=True)
server.serve_forever()
"""


@pytest.mark.parametrize("serving", ["one thread", "threads"])
def test_a_request_to_flask(start: Start, tmp_path: Path, serving: str) -> None:
    require("flask")
    port = port_of(start(SHOP, serving))
    for ending, ended in ENDINGS.items():
        for use in ("not used", "used"):
            answer = ask(port, f"/buy/{ending}/{quote(use)}")
            assert f"the experiment {ended}" in answer
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        rows = [what for (what,) in database.execute("select what from orders")]
        assert rows == [f"{ending} {use}" for ending in ENDINGS for use in ("not used", "used")]
        assert database.execute("pragma integrity_check").fetchall() == [("ok",)]


def port_of(program: Program) -> int:
    return int(program.wait_for(re.compile(r"port (\d+)\n"))[1])


def ask(port: int, path: str) -> str:
    """What the server answers, which must be 200 and this text alone."""
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=20)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.status == 200
        return answer.read().decode()


def test_a_server_of_the_standard_library(start: Start) -> None:
    program = start(
        """
        import http.server
        from snapshot import in_snapshot, keep, snapshot

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/look":
                    snapshot(sockets="drop")
                elif self.path == "/keep" and snapshot():
                    keep()
                    print("kept", flush=True)
                who = b"experiment" if in_snapshot() else b"original"
                self.send_response(200)
                self.send_header("Content-Length", str(len(who)))
                self.end_headers()
                self.wfile.write(who)

        with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
            print("port", server.server_port, flush=True)
            server.serve_forever()
            print("served", in_snapshot(), flush=True)
        """
    )
    port = port_of(program)
    assert [ask(port, path) for path in ("/look", "/keep", "/", "/look")] == ["original"] * 4
    program.wait_for(re.compile(r"served True\nkept\nserved True\n"))


def test_a_session_of_sqlalchemy_in_flask(python: Run) -> None:
    require("flask")
    result = python(
        """
        import os, signal, sys
        from flask import Flask, g
        from sqlalchemy import create_engine, text
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
        from snapshot import revert, snapshot

        class Base(DeclarativeBase):
            pass

        class Order(Base):
            __tablename__ = "orders"
            number: Mapped[int] = mapped_column(primary_key=True)
            what: Mapped[str]

        engine = create_engine("sqlite:///shop.db")
        Base.metadata.create_all(engine)
        app = Flask("shop")
        app.testing = True  # what a view raises is raised by the client, too

        @app.post("/buy/<ending>")
        def buy(ending):
            with Session(engine) as session:
                session.add(Order(what=ending))
                session.flush()
                if snapshot():
                    with Session(engine) as own:
                        assert own.query(Order).filter_by(what=ending).count() == 0
                    exec(ending)
                session.commit()
                return {"orders": session.query(Order).count()}

        for number, ending in enumerate(sys.argv[1:], 1):
            answer = app.test_client().post(f"/buy/{ending}")
            assert answer.json == {"orders": number}, answer.json
            print(ending, flush=True)
        with engine.connect() as connection:
            assert connection.execute(text("pragma integrity_check")).scalar() == "ok"
        """,
        *LEAVING,
    )
    assert result.code == 0, result
    assert result.stdout.splitlines() == [*LEAVING], result
    assert result.stderr.count("Traceback") == 1, result  # of what is raised on purpose


# asyncio: a client that has half of an answer

SERVER = """
import http.server, sys

class Halves(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b"first ")
        sys.stdin.readline()
        self.wfile.write(b"second")

with http.server.HTTPServer(("127.0.0.1", 0), Halves) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
"""

CLIENTS = {
    "aiohttp": """
        @contextlib.asynccontextmanager
        async def get(url):
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                yield response.content.iter_any()
        """,
    "httpx": """
        @contextlib.asynccontextmanager
        async def get(url):
            async with httpx.AsyncClient() as client, client.stream("GET", url) as response:
                yield response.aiter_raw()
        """,
}

REQUESTS = """
import asyncio, contextlib, os, subprocess, sys
import CLIENT
from snapshot import last_experiment, revert, snapshot

async def request(url, go_on, ending, sockets):
    async with get(url) as answer:
        first = await anext(answer)
        assert first == b"first ", first
        if snapshot(sockets=sockets):
            if sockets == "drop":
                try:
                    await anext(answer)
                except Exception as error:
                    print("experiment", type(error).__name__, flush=True)
            exec(ending)
        go_on()
        second = b"".join([part async for part in answer])
        assert second == b"second", second

pipe = subprocess.PIPE
with subprocess.Popen([sys.executable, "server.py"], stdin=pipe, stdout=pipe, text=True) as server:
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/"
    for sockets in ("drop", "share"):
        for ending in sys.argv[1:]:
            go_on = lambda: print(file=server.stdin, flush=True)
            asyncio.run(request(url, go_on, ending, sockets))
            print(sockets, ending, last_experiment().exit, flush=True)
    server.terminate()
"""


@pytest.mark.parametrize(
    ("client", "error"), [("aiohttp", "ClientPayloadError"), ("httpx", "RemoteProtocolError")]
)
def test_half_of_an_answer(python: Run, tmp_path: Path, client: str, error: str) -> None:
    require(client)
    (tmp_path / "server.py").write_text(SERVER)
    source = f"import {client}\n{textwrap.dedent(CLIENTS[client])}"
    result = python(REQUESTS.replace("import CLIENT\n", source), *LEAVING)
    assert result.code == 0, result
    ended = [f"{leave} {how}" for leave, how in LEAVING.items()]
    assert result.stdout.splitlines() == [
        *(line for each in ended for line in (f"experiment {error}", f"drop {each}")),
        *(f"share {each}" for each in ended),
    ], result


# pandas


def test_a_session_of_pandas(terminal: Terminal) -> None:
    require("pandas")
    (terminal.directory / "prices.csv").write_text("item,price\npear,1\napple,2\nplum,3\nfig,4\n")
    terminal.line("python -q")
    for line in (
        "import pandas as pd",
        "from snapshot import *",
        "chunks = pd.read_csv('prices.csv', chunksize=1, index_col='item')",
        "prices = next(chunks)",
        "snapshot()",
    ):
        type_at(terminal, line)
    type_at(terminal, "prices['price'] *= 10; prices.loc['new'] = 5")
    type_at(terminal, "prices = pd.concat([prices, *chunks])")
    type_at(terminal, "print('sum', prices['price'].sum())")
    terminal.wait_for("sum 24", since=terminal.typed_at)
    type_at(terminal, "revert()")
    type_at(terminal, "print(prices.to_csv().split())")
    terminal.wait_for("['item,price', 'pear,1']", since=terminal.typed_at)
    type_at(terminal, "print(pd.concat(chunks).to_csv().split())")
    terminal.wait_for("['item,price', 'apple,2', 'plum,3', 'fig,4']", since=terminal.typed_at)
    type_at(terminal, "exit()")
    terminal.prompt()


def type_at(terminal: Terminal, line: str) -> None:
    terminal.wait_for(re.compile(r">>> $"), since=terminal.typed_at)
    terminal.line(line)


def test_a_large_file_in_chunks(python: Run, tmp_path: Path) -> None:
    require("pandas")
    lines = [f"{number},{number * number}" for number in range(200_000)]
    (tmp_path / "squares.csv").write_text("\n".join(["number,square", *lines]))
    result = python(
        """
        import os, sys
        import pandas
        from snapshot import revert, snapshot

        for ending in sys.argv[1:]:
            for used in (False, True):
                seen = []
                with pandas.read_csv("squares.csv", chunksize=20_000) as chunks:
                    for number, chunk in enumerate(chunks):
                        if number == 3 and snapshot():
                            chunk.iloc[:] = 0
                            if used:
                                assert sum(map(len, chunks)) == 6 * 20_000
                                seen.clear()
                            exec(ending)
                        seen.append(chunk)
                frame = pandas.concat(seen)
                assert (frame["number"] == range(200_000)).all()
                assert (frame["square"] == frame["number"] ** 2).all()
                print(ending, used, flush=True)
        """,
        *LEAVING,
    )
    assert result.code == 0, result
    assert result.stdout.splitlines() == [f"{e} {used}" for e in LEAVING for used in (False, True)]
    assert result.stderr.count("Traceback") == 2, result  # of what is raised on purpose


@pytest.mark.parametrize("ending", LEAVING)
def test_a_file_that_pandas_overwrites_is_rolled_back(python: Run, ending: str) -> None:
    """While the original reads it in chunks, and has another one open for writing."""
    require("pandas")
    result = python(
        """
        import os, signal, sys
        from pathlib import Path
        import pandas
        from snapshot import changes, revert, snapshot

        Path("data").mkdir()
        path = Path("data/squares.csv")
        squares = {"n": range(50_000), "square": [n * n for n in range(50_000)]}
        pandas.DataFrame(squares).to_csv(path)
        content = path.read_bytes()
        with pandas.read_csv(path, chunksize=20_000) as chunks, open("data/log", "w") as log:
            seen = [next(chunks)]
            if snapshot(files="data"):
                frame = pandas.read_csv(path, index_col=0)
                frame["cube"] = frame.n**3
                frame.to_csv(path)
                frame.to_pickle("data/cubes.pickle")
                log.write("experiment")
                assert pandas.read_csv(path).cube.iloc[-1] == 49_999**3
                assert changes().summary.startswith("1 created, 1 modified"), changes()
                exec(sys.argv[1])
            log.write("original")
            seen += chunks
        assert path.read_bytes() == content
        assert pandas.concat(seen).square.tolist() == [n * n for n in range(50_000)]
        print(sorted(os.listdir("data")), Path("data/log").read_text())
        """,
        ending,
        timeout=60,
    )
    assert result.stdout == "['log', 'squares.csv'] original\n", result


def test_a_session_of_sqlalchemy_that_is_rolled_back(python: Run) -> None:
    """The experiment commits, to files of its own."""
    require("flask")
    result = python(
        """
        import os, signal, sys
        from pathlib import Path
        from flask import Flask
        from sqlalchemy import create_engine, text
        from snapshot import revert, snapshot

        Path("data").mkdir()
        engine = create_engine("sqlite:///data/shop.db")
        with engine.begin() as connection:
            connection.execute(text("pragma journal_mode=wal"))
            connection.execute(text("create table orders (what)"))
        app = Flask("shop")
        app.testing = True

        @app.post("/buy/<ending>")
        def buy(ending):
            with engine.begin() as connection:
                connection.execute(text("insert into orders values (:what)"), {"what": ending})
                if snapshot(files="data"):
                    with engine.begin() as own:
                        own.execute(text("delete from orders"))
                        own.execute(text("insert into orders values ('never')"))
                    with engine.connect() as own:
                        assert own.execute(text("select * from orders")).all() == [("never",)]
                    exec(ending)
            with engine.connect() as connection:
                return {"orders": connection.execute(text("select count(*) from orders")).scalar()}

        for number, ending in enumerate(sys.argv[1:], 1):
            answer = app.test_client().post(f"/buy/{ending}")
            assert answer.json == {"orders": number}, answer.json
            print(ending, flush=True)
        with engine.connect() as connection:
            assert connection.execute(text("pragma integrity_check")).scalar() == "ok"
            assert "never" not in connection.execute(text("select * from orders")).scalars().all()
        """,
        *LEAVING,
        timeout=60,
    )
    assert result.code == 0, result
    assert result.stdout.splitlines() == [*LEAVING], result


def test_the_recipe_for_a_pool_of_connections(start: Start) -> None:
    """What the README has for libraries that the table does not know, with httpx."""
    require("httpx")
    program = start(
        """
        import http.server, threading
        import httpx
        from snapshot import last_experiment, on_snapshot, revert, snapshot

        class Counting(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            connections = 0

            def setup(self):
                Counting.connections += 1
                self.number = Counting.connections
                super().setup()

            def do_GET(self):
                answer = f"connection {self.number}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"

        client = httpx.Client()

        def connect_anew():
            global client
            client = httpx.Client()

        on_snapshot(enter=connect_anew)
        print(client.get(url).text)
        if snapshot(threads="run"):
            revert(value=[client.get(url).text, client.get(url).text])
        print(*last_experiment().value)
        print(client.get(url).text)
        print("used" in last_experiment().report)
        client.close()
        server.shutdown()
        server.server_close()
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    result = program.finish()
    assert result.stdout.splitlines() == [
        "connection 1",
        "connection 2 connection 2",
        "connection 1",
        "False",
    ], result


def test_an_open_file_of_h5py_is_rolled_back(python: Run) -> None:
    require("h5py")
    result = python(
        """
        import os
        import h5py
        from snapshot import last_experiment, revert, snapshot

        os.mkdir("data")
        file = h5py.File("data/numbers.h5", "w")
        file["a"] = [1, 2, 3]
        if snapshot(files="data"):
            file["a"][0] = 9
            file["b"] = [4] * 1000
            file.close()
            with h5py.File("data/numbers.h5") as again:
                revert(value=[list(again), again["a"][:].tolist()])
        print(*last_experiment().value)
        file["c"] = [7]
        file.close()
        with h5py.File("data/numbers.h5") as again:
            print(list(again), again["a"][:].tolist())
        """,
        env={"HDF5_USE_FILE_LOCKING": "FALSE"},
    )
    assert result.stdout.splitlines() == ["['a', 'b'] [9, 2, 3]", "['a', 'c'] [1, 2, 3]"], result
