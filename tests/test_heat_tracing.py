"""Tracing: whatever kind a function is of, and however a process ends, what ran is known."""

from __future__ import annotations

import re
import signal
import sys
import textwrap
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from snapshot.heat import reports
from snapshot.heat.inventory import functions_in
from snapshot.heat.reports import Row
from tests import postgres
from tests.libraries import require
from tests.processes import Program, Result

Run = Callable[..., Result]
Start = Callable[..., Program]

MONITORS = sys.version_info >= (3, 12)
MODES = ("once", "activity", "counts")

# One of each kind. What is called says so in its name, or is in `CALLED`.
EVERY_KIND = """
import asyncio, atexit, contextlib, functools, importlib, sys, threading
from snapshot.heat import tracing

def before_and_after(): pass
def only_before(): pass
before_and_after()
only_before()
assert tracing.start(mode=sys.argv[1])

def decorator(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper

registered = {}
def register(function):
    registered["x"] = function
    return None

@decorator
@functools.lru_cache
def decorated(): pass

@register
def _(): pass

@register
def _(): return 1

def same_name(): return 1
first = same_name
def same_name(): return 2

def outer():
    def inner(): pass
    def cold_inner(): pass
    inner()

def generator():
    yield 1
    yield 2
    yield 3

async def coroutine():
    await asyncio.sleep(0)
async def agenerator():
    yield 1
    yield 2
async def main():
    await coroutine()
    async for _ in agenerator(): pass

@contextlib.contextmanager
def manager():
    yield

class Thing:
    def __init__(self): pass
    def method(self): pass
    def cold_method(self): pass
    @property
    def prop(self): return 1
    @prop.setter
    def prop(self, value): pass
    @staticmethod
    def static(): pass
    @classmethod
    def of_class(cls): pass
    @functools.cached_property
    def cached(self): return 1
    def __del__(self): pass

@functools.singledispatch
def generic(value): pass
@generic.register
def _(value: int): pass

hot_lambda = lambda: 1
cold_lambda = lambda: 2

def raises(): raise ValueError

def cold(): pass

def at_exit(): pass
def in_thread(): pass

exec("def made(): pass")

before_and_after()
decorated()
registered["x"]()
first()
outer()
list(generator())
asyncio.run(main())
with manager(): pass
thing = Thing()
thing.method()
thing.prop
thing.prop
Thing.static()
Thing.of_class()
thing.cached
generic(1)
hot_lambda()
try: raises()
except ValueError: pass
made()
thread = threading.Thread(target=in_thread)
thread.start()
thread.join()
atexit.register(at_exit)
"""

COLD = {
    "only_before",
    "_@1",
    "same_name@2",
    "outer.<locals>.cold_inner",
    "Thing.cold_method",
    "Thing.prop@2",
    "generic",
    "<lambda>@2",
    "cold",
}


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A folder with a root marker."""
    (tmp_path / "snapshot.rootmarker").touch()
    return tmp_path


def known(root: Path, where: str | None = None) -> dict[str, Row]:
    rows = reports.known(functions_in(root), where)
    return {each.key.partition(":")[2]: each for each in rows}


def cold(root: Path) -> set[str]:
    return {name for name, each in known(root).items() if each.hits == 0}


def numbered(names: dict[str, Row]) -> dict[str, str]:
    """What `name@2` is: the second of that name."""
    lines: dict[str, list[str]] = {}
    for name in names:
        bare, at, line = name.partition("@")
        if at:
            lines.setdefault(bare, []).append(line)
    return {
        f"{bare}@{several.index(line) + 1}": f"{bare}@{line}"
        for bare, several in lines.items()
        for line in several
    }


@pytest.mark.parametrize("mode", MODES)
def test_nothing_that_was_called_is_cold(python: Run, application: Path, mode: str) -> None:
    result = python(EVERY_KIND, mode)
    assert (result.code, result.stderr) == (0, ""), result
    rows = known(application)
    places = numbered(rows)
    found = {name for name, each in rows.items() if each.hits == 0}
    assert found == {places.get(each, each) for each in COLD}
    if mode == "counts":
        assert {name: rows[name].hits for name in ("generator", "agenerator", "coroutine")} == {
            "generator": 1,
            "agenerator": 1,
            "coroutine": 1,
        }
        assert rows[places["Thing.prop@1"]].hits == 2
    assert rows["made"].drift == "generated"


@pytest.mark.skipif(not MONITORS, reason="a syntax of Python 3.12")
def test_type_parameters_are_no_functions(python: Run, application: Path) -> None:
    result = python(
        traced(
            """
            def f[T](x: T) -> T:
                def inner[U](y: U) -> U: return y
                return inner(x)
            def cold[T](): pass
            class C[T]:
                def method[U](self, x: U) -> U: return x
                @staticmethod
                def cold[U](): pass
            f(1)
            C().method(1)
            """
        )
    )
    assert (result.code, result.stderr) == (0, ""), result
    hits = {name: each.hits for name, each in known(application).items()}
    assert hits == {"f": 1, "f.<locals>.inner": 1, "cold": 0, "C.method": 1, "C.cold": 0}


def traced(body: str, mode: str = "counts") -> str:
    begin = f"from snapshot.heat import tracing\ntracing.start(mode={mode!r})\n"
    return begin + textwrap.dedent(body)


def test_only_if(python: Run, application: Path) -> None:
    result = python(
        """
        from snapshot.heat import tracing
        print(tracing.start(only_if=False))
        """
    )
    assert (result.stdout, result.stderr) == ("False\n", "")
    assert not (application / ".snapshot").exists()


def test_without_a_root_marker_the_program_goes_on(python: Run) -> None:
    result = python(traced("print('on')"))
    assert (result.stdout, result.code) == ("on\n", 0)
    (line,) = result.stderr.splitlines()
    assert line.startswith("snapshot: nothing is traced: there is no snapshot.rootmarker")


def test_a_root_marker_that_is_no_toml(python: Run, application: Path) -> None:
    (application / "snapshot.rootmarker").write_text("[ignore\n")
    result = python(traced("print('on')"))
    assert (result.stdout, result.code) == ("on\n", 0)
    assert "is no TOML" in result.stderr


def test_a_store_that_cannot_be_written_is_told(python: Run, application: Path) -> None:
    (application / ".snapshot").write_text("no folder")
    done = python("from snapshot.heat import tracing\ntracing.start()\nprint('goes on')")
    assert (done.code, done.stdout) == (0, "goes on\n")
    assert done.stderr.startswith(
        "snapshot: what runs cannot be stored for now, and is tried again: "
    )
    assert done.stderr.count("\n") == 1


def test_files_that_are_links(
    python: Run, application: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (application / "own.py").write_text("def f(): pass\n")
    (application / "link.py").symlink_to("own.py")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "far.py").write_text("def f(): pass\n")
    (application / "far.py").symlink_to(outside / "far.py")
    (outside / "near.py").symlink_to(application / "own.py")
    source = f"""
from snapshot.heat import tracing
tracing.start({str(application)!r})
import link, far
link.f(), far.f()
"""
    assert python(source).code == 0
    hits = {each.key: each.hits for each in reports.known(functions_in(application), None)}
    assert (hits["link:f"], hits["far:f"], hits["own:f"]) == (1, 1, 0)
    near = f"""
import sys
sys.path.insert(0, {str(outside)!r})
from snapshot.heat import tracing
tracing.start({str(application)!r})
import near
near.f()
"""
    assert python(near).code == 0
    hits = {each.key: each.hits for each in reports.known(functions_in(application), None)}
    assert hits["own:f"] == 1


def test_what_is_ignored_is_not_traced(python: Run, application: Path) -> None:
    (application / "snapshot.rootmarker").write_text('[ignore]\nkeys = ["*:debug_*"]\n')
    result = python(
        traced(
            """
            def debug_it(): pass
            def other(): pass
            debug_it()
            other()
            """
        )
    )
    assert result.code == 0, result
    assert set(known(application)) == {"other"}


@pytest.mark.parametrize(
    "end",
    [
        "os._exit(3)",
        "os.kill(os.getpid(), signal.SIGTERM); time.sleep(10)",
        "sys.exit(2)",
        "raise ValueError",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_however_it_ends_nothing_is_lost(python: Run, application: Path, end: str) -> None:
    source = """
        import os, signal, sys, time
        def f(): pass
        for _ in range(12345): f()
    """
    result = python(traced(textwrap.dedent(source) + end))
    assert result.signal == (signal.SIGTERM if "SIGTERM" in end else None)
    assert known(application)["f"].hits == 12345


@pytest.mark.parametrize("part", ["_scope.seen", "_sender.send"])
def test_a_signal_while_sums_are_taken_or_written(
    python: Run, application: Path, part: str
) -> None:
    """As of a pool that is terminated while its workers end."""
    result = python(
        traced(
            f"""
            import os, signal
            def f(): pass
            for _ in range(5): f()
            def interrupt(*given, do=tracing._tracing.{part}):
                done = do(*given)
                os.kill(os.getpid(), signal.SIGTERM)
                return done
            tracing._tracing.{part} = interrupt
            os._exit(3)
            """
        )
    )
    assert result.signal == signal.SIGTERM, result
    assert known(application)["f"].hits == 5


def test_kill_takes_no_more_than_the_last_seconds(start: Start, application: Path) -> None:
    program = start(
        traced(
            """
            import pathlib, time
            def f(): pass
            f()
            folder = pathlib.Path(".snapshot/store.db.files/spool")
            def head(): return [each.read_bytes()[:9999] for each in folder.iterdir()]
            before = head()
            while head() == before: time.sleep(0.05)
            print("written", flush=True)
            time.sleep(60)
            """,
            "once",
        )
    )
    program.wait_for("written")
    program.kill()
    program.finish()
    assert known(application)["f"].hits == 1


def test_a_handler_of_the_programs_own_is_left_alone(python: Run, application: Path) -> None:
    result = python(
        """
        import os, signal
        from snapshot.heat import tracing
        def handler(*_):
            print("handled")
            raise SystemExit(4)
        signal.signal(signal.SIGTERM, handler)
        tracing.start()
        os.kill(os.getpid(), signal.SIGTERM)
        """
    )
    assert (result.stdout, result.code) == ("handled\n", 4)
    assert known(application)["handler"].hits == 1


FORKING = """
import os, signal, sys, threading, time, warnings
def in_parent(): pass
def in_worker(): pass
def in_thread(): pass
def in_child_of_worker(): pass
def before_the_end(): pass
def before_terminated(): pass
def never(): pass
in_parent()
def worker(number):
    in_worker()
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if number == 0:
        before_the_end()
        os._exit(1)
    if number == 1:
        before_terminated()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    if number == 2:
        pid = os.fork()
        if pid == 0:
            in_child_of_worker()
            os._exit(0)
        os.waitpid(pid, 0)
pids = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        worker(number)
        os._exit(0)
    pids.append(pid)
for pid in pids: os.waitpid(pid, 0)
in_parent()
"""


@pytest.mark.parametrize("mode", MODES)
def test_the_union_of_workers(python: Run, application: Path, mode: str) -> None:
    result = python(traced(FORKING, mode), options=["-W", "error"])
    assert (result.code, result.stderr) == (0, ""), result
    rows = known(application)
    assert {name for name, each in rows.items() if each.hits == 0} == {"never"}
    if mode == "counts":
        counted = {name: each.hits for name, each in rows.items()}
        assert counted == {
            "in_parent": 2,
            "in_worker": 4,
            "in_thread": 4,
            "in_child_of_worker": 1,
            "before_the_end": 1,
            "before_terminated": 1,
            "never": 0,
            "worker": 4,
        }


def test_the_files_of_many_short_processes_do_not_pile_up(python: Run, application: Path) -> None:
    result = python(
        traced(
            """
            import os
            def f(): pass
            for _ in range(100):
                pid = os.fork()
                if pid == 0:
                    f()
                    os._exit(0)
                os.waitpid(pid, 0)
            """
        )
    )
    assert (result.code, result.stderr) == (0, ""), result
    assert len(list((application / ".snapshot/store.db.files/spool").iterdir())) < 70
    assert known(application)["f"].hits == 100


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_spawned(python: Run, application: Path, method: str) -> None:
    (application / "lib.py").write_text(
        "import concurrent.futures, multiprocessing, sys\n"
        "def worker(number): pass\ndef pooled(number): pass\ndef cold(): pass\n"
        "def grandparent():\n    context = multiprocessing.get_context(sys.argv[1])\n"
        "    child = context.Process(target=grandchild)\n    child.start()\n    child.join()\n"
        "def grandchild(): pass\n"
    )
    (application / "program.py").write_text(
        textwrap.dedent(
            """
            import concurrent.futures, multiprocessing, sys
            import lib
            from snapshot.heat import tracing

            if __name__ == "__main__":
                tracing.start(mode="counts")
                context = multiprocessing.get_context(sys.argv[1])
                with context.Pool(2) as pool:
                    pool.map(lib.worker, range(10))
                with concurrent.futures.ProcessPoolExecutor(2, context) as pool:
                    list(pool.map(lib.pooled, range(10)))
                child = context.Process(target=lib.grandparent)
                child.start()
                child.join()
                tracing.stop()
                child = context.Process(target=lib.cold)
                child.start()
                child.join()
            """
        )
    )
    result = python(application / "program.py", method)
    assert (result.code, result.stderr) == (0, ""), result
    hits = {name: each.hits for name, each in known(application).items()}
    assert hits == {"worker": 10, "pooled": 10, "grandparent": 1, "grandchild": 1, "cold": 0}


def test_threads_lose_no_call(python: Run, application: Path) -> None:
    result = python(
        traced(
            """
            import sys, threading
            sys.setswitchinterval(1e-5)
            def f(): pass
            def work():
                for _ in range(50_000): f()
            threads = [threading.Thread(target=work) for _ in range(8)]
            for each in threads: each.start()
            for each in threads: each.join()
            """
        )
    )
    assert result.code == 0, result
    assert known(application)["f"].hits == 400_000


def test_ten_million_calls_while_the_store_is_away(python: Run, application: Path) -> None:
    result = python(
        """
        import os, resource
        from snapshot.heat import tracing
        open(".snapshot", "w").close()  # where the folder would be
        assert tracing.start(mode="counts")
        def f(): pass
        f()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(9_999_999): f()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        os.unlink(".snapshot")
        """,
        timeout=100,
    )
    assert result.code == 0, result
    assert result.stderr.startswith("snapshot: what runs cannot be stored for now"), result
    assert result.stderr.count("\n") == 1
    assert int(result.stdout) < 4096  # KiB
    assert known(application)["f"].hits == 10_000_000


def test_an_edited_or_moved_function_keeps_its_history(python: Run, application: Path) -> None:
    module = application / "module.py"
    program = traced("import module\nmodule.a()\n")
    module.write_text("def a(): return 1\ndef b(): return 2\n")
    assert python(program).code == 0
    module.write_text("\n\ndef b(): return 2\n\ndef a(): return 3\n")
    rows = known(application)
    assert (rows["a"].hits, rows["a"].drift, rows["b"].hits) == (1, "changed", 0)
    module.write_text("\ndef new(): pass\ndef a(): return 1\n")
    rows = known(application)
    assert (rows["a"].drift, rows["new"].drift, rows["new"].hits) == ("", "new", None)
    assert rows["b"].drift == "gone"


def test_what_is_gone_is_archived_and_can_be_restored(python: Run, application: Path) -> None:
    module = application / "module.py"
    module.write_text("def a(): pass\ndef b(): pass\n")
    program = traced("import module\nmodule.b()\n")
    assert python(program).code == 0
    module.write_text("def b(): pass\n")
    assert python(program).code == 0
    assert known(application)["a"].drift == "archived"
    assert known(application)["b"].hits == 2


def test_deployments_are_kept_apart(python: Run, application: Path) -> None:
    (application / "module.py").write_text("def a(): pass\n")
    for each in ("one", "two"):
        env = {"SNAPSHOT_DEPLOYMENT": each}
        assert python(traced("import module\nmodule.a()\n"), env=env).code == 0
    row = known(application)["a"]
    assert (row.hits, row.deployments) == (2, ("one", "two"))


def test_what_makes_code_again_and_again_takes_no_more_memory(
    python: Run, application: Path
) -> None:
    result = python(
        """
        import sys, time
        from snapshot.heat import tracing
        tracing.start(mode="counts")
        code = "def f(): return " + "+".join(map(str, range(100)))
        for number in range(3000):
            exec(code)
            f()
        tracing._tracing._tick()
        print(len(tracing._tracing._counting._counters))
        """
    )
    assert result.code == 0, result
    assert int(result.stdout) < 1000


def test_signals_that_raise_take_no_call_away(python: Run, application: Path) -> None:
    """Also when they come while a call is being counted; nor does a stack that is full."""
    result = python(
        traced(
            """
            import signal, sys
            class Late(Exception): pass
            def late(*_): raise Late
            def spin(): pass
            def after(): pass
            def deeper(): deeper()
            signal.signal(signal.SIGALRM, late)
            for n in range(200):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0005 + n / 1e6)
                    while True:
                        spin()
                except Late:
                    pass
                after()
            sys.setrecursionlimit(200)
            try:
                deeper()
            except RecursionError:
                pass
            if sys.version_info < (3, 12):
                while sys.getprofile() is None:  # for a second at most
                    pass
            for n in range(50):
                after()
            """
        )
    )
    assert (result.code, result.stderr) == (0, ""), result
    assert known(application)["after"].hits == 250


@pytest.mark.skipif(not MONITORS, reason="Python 3.11 has one profile function")
def test_beside_cprofile_and_pdb(python: Run, application: Path) -> None:
    result = python(
        traced(
            """
            import cProfile, io, pdb, pstats
            def a(): return 1
            def b(): return 2
            profile = cProfile.Profile()
            profile.enable()
            a()
            profile.disable()
            assert any(name == "a" for _, _, name in pstats.Stats(profile).stats)
            typed = io.StringIO("step\\nstep\\ncontinue\\n")
            pdb.Pdb(stdin=typed, stdout=io.StringIO()).set_trace()
            b()
            a()
            """
        )
    )
    assert (result.code, result.stderr) == (0, ""), result
    rows = known(application)
    assert (rows["a"].hits, rows["b"].hits) == (2, 1)


@pytest.mark.parametrize("core", ["sysmon", "ctrace"])
def test_beside_coverage(python: Run, application: Path, core: str) -> None:
    require("coverage")
    if core == "sysmon" and not MONITORS:
        pytest.skip("it needs Python 3.12")
    result = python(
        traced(
            """
            import coverage
            cov = coverage.Coverage(data_file=None, source=["."])
            cov.start()
            def a():
                return 1
            def b():
                return 2
            a()
            tracing._tracing._tick()
            a()
            cov.stop()
            print(cov.analysis2(__file__)[3])
            """,
            "activity",
        ),
        env={"COVERAGE_CORE": core},
    )
    assert result.code == 0, result
    rows = known(application)
    assert (rows["a"].hits, rows["b"].hits) == (2, 0)


def test_beside_a_snapshot(python: Run, application: Path) -> None:
    result = python(
        traced(
            """
            from snapshot import revert, snapshot
            def in_experiment(): pass
            def after(): pass
            if snapshot():
                in_experiment()
                revert()
            after()
            """
        ),
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert (result.code, result.stderr) == (0, ""), result
    rows = known(application)
    assert (rows["in_experiment"].hits, rows["after"].hits) == (1, 1)


def test_beside_recording(python: Run, application: Path) -> None:
    result = python(
        traced(
            """
            from snapshot.replay import recording
            def f(): pass
            if hasattr(__import__("sys"), "monitoring"):
                with recording("__main__"): f()
            else:
                f()
            """
        )
    )
    assert (result.code, result.stderr) == (0, ""), result
    assert known(application)["f"].hits == 1


def test_several_hosts_share_a_server(python: Run, application: Path) -> None:
    postgres.require()
    (application / "module.py").write_text("def a(): pass\ndef b(): pass\ndef c(): pass\n")
    with postgres.server() as url:
        for host, name in (("one", "a"), ("two", "b")):
            env = {"SNAPSHOT_STORE": url, "XDG_STATE_HOME": str(application / host)}
            result = python(traced(f"import module\nmodule.{name}()\n"), env=env)
            assert (result.code, result.stderr) == (0, ""), result
        rows = known(application, url)
    assert [rows[each].hits for each in "abc"] == [1, 1, 0]


def test_a_server_that_comes_later(
    python: Run, application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.require()
    monkeypatch.setenv("XDG_STATE_HOME", str(application / "state"))
    (application / "module.py").write_text("def a(): pass\n")
    link = application / "socket"
    url = f"postgresql://postgres@/postgres?host={link}"
    env = {"SNAPSHOT_STORE": url, "XDG_STATE_HOME": str(application / "state")}
    result = python(traced("import module\nmodule.a()\n"), env=env)
    assert result.code == 0
    assert result.stderr.startswith("snapshot: what runs cannot be stored for now"), result
    with postgres.server() as there:
        link.symlink_to(there.partition("host=")[2])
        assert known(application, url)["a"].hits == 1


def test_gunicorn(start: Start, application: Path) -> None:
    require("gunicorn")
    (application / "web.py").write_text(
        textwrap.dedent(
            """
            import os, signal, threading
            from snapshot.heat import tracing
            tracing.start(mode="counts")
            def in_thread(): pass
            def in_fork(): pass
            def never(): pass
            def page(environ, respond):
                thread = threading.Thread(target=in_thread)
                thread.start()
                thread.join()
                path = environ["PATH_INFO"]
                if path == "/fork":
                    pid = os.fork()
                    if pid == 0:
                        in_fork()
                        os._exit(0)
                    os.waitpid(pid, 0)
                if path == "/crash":
                    os._exit(9)
                respond("200 OK", [])
                return [b"done"]
            """
        )
    )
    program = start(
        """
        import sys
        from gunicorn.app.wsgiapp import run
        sys.argv = ["gunicorn", "-w", "4", "--preload", "-b", "127.0.0.1:0", "web:page"]
        run()
        """,
        env={"PYTHONPATH": str(application)},
    )
    listening = re.compile(r"Listening at: http://[\d.]+:(\d+)")
    port = program.wait_for(listening, stream="stderr")[1]
    for path in ["/"] * 8 + ["/fork", "/crash", "/", "/"]:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20).read()
        except OSError:
            assert path == "/crash"
    program.kill(signal.SIGTERM)
    program.finish()
    rows = known(application)
    counted = {name: each.hits for name, each in rows.items()}
    assert counted == {"in_thread": 12, "in_fork": 1, "never": 0, "page": 12}
