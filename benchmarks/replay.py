"""Recording calls, and making them again: `python -m benchmarks.replay`.

MonkeyType, VizTracer and Kolo are measured beside it where they are installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import (
    by_turns,
    check,
    check_time,
    compare,
    main,
    milliseconds,
    show,
    timed,
)

_CALLS = 20_000
_ROUNDS = 15


def _identity(x: Any) -> Any:
    return x


def _length(x: Any) -> int:
    return len(x)


@contextlib.contextmanager
def _store() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SNAPSHOT_STORE"] = f"{folder}/calls.db"
        yield Path(folder)


def _bytes(folder: Path) -> int:
    """On the disk."""
    return sum(512 * each.stat().st_blocks for each in folder.rglob("*") if each.is_file())


def _each(function: Callable[[Any], Any], values: list[Any]) -> Callable[[], float]:
    def run() -> float:
        begun = time.perf_counter()
        for value in values:
            function(value)
        return (time.perf_counter() - begun) / len(values)

    return run


def _recorded(
    function: Callable[[Any], Any], values: list[Any], folder: Path
) -> Callable[[], float]:
    """Each time in a new store, of that number, so that nothing is folded in meanwhile."""
    from snapshot.replay import record

    numbers = itertools.count(1)

    def run() -> float:
        recorded = record(store=folder / f"{next(numbers)}.db")(function)
        recorded(values[0])  # which makes it
        return _each(recorded, values)()

    return run


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} µs"


def _compare(what: str, added: float, other: float, name: str, most: float | None) -> None:
    ratio = added / other
    verdict = "" if most is None else f" (at most {most}: {'met' if ratio <= most else 'missed'})"
    figures = f"{_microseconds(added)}, {name} {_microseconds(other)}, ratio {ratio:.2f}{verdict}"
    show(f"{what}: recording adds", figures)


@contextlib.contextmanager
def _rows() -> Iterator[sqlite3.Connection]:
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(sqlite3.connect(f"{folder}/rows.db")) as database,
    ):
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE calls (given, value, begun, took)")
        yield database


def _wrapped(function: Callable[[Any], Any], database: sqlite3.Connection) -> Callable[[Any], Any]:
    """What anybody would write: two pickles, and 1,000 rows at a time.

    A kill loses those; nothing is known of what called it, of what it reads, and what it changed.
    """
    rows: list[tuple[bytes, bytes, int, int]] = []

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter_ns()
        given = pickle.dumps((args, kwargs), 5)
        value = function(*args, **kwargs)
        rows.append((given, pickle.dumps(value, 5), begun, time.perf_counter_ns() - begun))
        if len(rows) == 1000:
            with database:
                database.executemany("INSERT INTO calls VALUES (?, ?, ?, ?)", rows)
            rows.clear()
        return value

    return wrapper


def calls() -> None:
    """What a recorded call costs the program, beside a bare pickle of its argument."""
    from snapshot.store import Store

    table = {f"key {n}": {"name": f"value {n}", "count": n, "tags": ["a", n]} for n in range(22)}
    for what, function, values, most in (
        ("a call of an int", _identity, list(range(_CALLS)), None),
        ("a call of a 1 KB dict", _length, [table] * (_CALLS // 10), 2.5),
    ):
        with _store() as folder, _rows() as rows:
            ours, simple, floor, plain = by_turns(
                _ROUNDS,
                _recorded(function, values, folder),
                _each(_wrapped(function, rows), values),
                _each(lambda value: pickle.dumps(value, 5), values),
                _each(function, values),
            )
            added = ours - plain
            # At most 5 µs where that wrapper takes 2.27 µs.
            _compare(what, added, simple - plain, "a bare wrapper", 2.2 if most is None else None)
            _compare(what, added, floor, "its bare pickle", most)
            with Store(last := folder / f"{_ROUNDS}.db") as store:
                begun = time.perf_counter()
                folded = store.fold()
                took = (time.perf_counter() - begun) / max(1, folded / 2)
                store._database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
                count = store.calls.count()
            show(f"{what}: folding it in", _microseconds(took))
            if most is None:
                held = 1000 * last.stat().st_size // count
                check(f"{what}: 1,000 of them hold", held, 150_000)
    _peers()


def _peers() -> None:
    values = list(range(_CALLS))
    plain = median(_each(_identity, values)() for _ in range(_ROUNDS))
    for name, make in (("monkeytype", _monkeytype), ("viztracer", _viztracer), ("kolo", _kolo)):
        if find_spec(name) is None:
            show(f"a call of an int: {name}", "not installed")
            continue
        took = median(make(values) for _ in range(3))
        show(f"a call of an int: {name} adds", _microseconds(took - plain))


def _monkeytype(values: list[Any]) -> float:
    import monkeytype
    from monkeytype.config import DefaultConfig

    with tempfile.TemporaryDirectory() as folder:
        os.environ["MT_DB_PATH"] = f"{folder}/types.db"
        begun = time.perf_counter()
        with monkeytype.trace(DefaultConfig()):
            for value in values:
                _identity(value)
        return (time.perf_counter() - begun) / len(values)


def _viztracer(values: list[Any]) -> float:
    from viztracer import VizTracer

    tracer = VizTracer(log_func_args=True, verbose=0, tracer_entries=4 * len(values))
    tracer.start()
    took = _each(_identity, values)()
    tracer.stop()
    return took


def _kolo(values: list[Any]) -> float:
    import kolo

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        begun = time.perf_counter()
        with kolo.enable(_save_in_thread=False):
            for value in values:
                _identity(value)
        return (time.perf_counter() - begun) / len(values)


def equal_calls() -> None:
    """A million of them, and what one costs to be found among them."""
    from snapshot.replay import load_execution_data, record
    from snapshot.store import Store

    with _store() as folder:
        recorded = record(_identity)
        longest, clock = 0.0, time.perf_counter
        begun = before = clock()
        for _ in range(1_000_000):
            recorded(5)
            after = clock()
            longest, before = max(longest, after - before), after
        show("a million equal calls", _microseconds((before - begun) / 1e6) + " each")
        show("a million equal calls: the longest", milliseconds(longest))
        with Store() as store:
            store.fold()
            spools = sum(512 * each.stat().st_blocks for each in store.spools.iterdir())
        # This process goes on writing to one, and takes it along when it ends.
        check("a million equal calls hold", _bytes(folder) - spools, 60_000_000)
        small = Path(folder / "small.db")
        few = record(store=small)(_identity)
        for _ in range(1000):
            few(5)
        with Store(small) as store:
            store.fold()
        many, little = by_turns(
            50,
            lambda: timed(lambda: load_execution_data(500_000)),
            lambda: timed(lambda: load_execution_data(500, small)),
        )
        check_time("loading by id, of a million", many, 0.002)
        compare("loading by id, of a million", many, little, "of a thousand", at_most=1.5)


def arrays() -> None:
    """The same 8 MB again and again."""
    import numpy as np

    from snapshot.replay import record

    array = np.random.default_rng(1).random(1_000_000)
    with _store():
        recorded = record(_identity_of_size)
        ours, floor = by_turns(
            21, lambda: timed(lambda: recorded(array)), lambda: timed(lambda: _hashed(array))
        )
        compare("a call of the same 8 MB", ours, floor, "pickle and sha256", at_most=1.5)


def _identity_of_size(array: Any) -> int:
    return int(array.size)


def _hashed(array: Any) -> None:
    hashlib.sha256(pickle.dumps(array, 5)).digest()


def background() -> None:
    """Where it pays that a fork pickles: another content each time, and nothing but the call."""
    import numpy as np

    from snapshot.core import process
    from snapshot.replay import record

    process.adopt_orphans()  # so that the forks can be waited for, between the turns
    numbers = np.random.default_rng(1).random(1_000_000)
    values: dict[str, Any] = {
        "8 MB in an array": numbers,
        "80 MB in an array": np.tile(numbers, 10),
        "100,000 numbers in a list": list(range(100_000)),
        "100,000 objects": [{"number": n, "text": str(n)} for n in range(50_000)],
    }
    with _store():
        fronted = record(_length)
        behind = record(background=1)(_length)
        for what, value in values.items():
            counter = iter(range(1_000_000))

            def turn(function: Callable[[Any], Any], value: Any = value) -> float:
                value[0] = next(counter)  # noqa: B023
                took = timed(lambda: function(value))
                while process.has_children():
                    os.wait()
                return took

            front, back, forks = by_turns(
                9, lambda: turn(fronted), lambda: turn(behind), lambda: turn(_four_forks)
            )
            compare(f"a call of {what}", back, front, "without a fork")
            compare(f"a call of {what}", back, forks, "four bare forks")


def _four_forks(_: Any) -> None:
    """One that forks another one, before the call and after it."""
    for _ in range(2):
        if (pid := os.fork()) == 0:
            if os.fork():
                os._exit(0)
            os._exit(0)
        os.waitpid(pid, 0)


_MODULE = """
import json, decimal, email.message  # as large as modules are
from snapshot.replay import record

@record
def total(values):
    return sum(values)
"""


# What a fork costs grows with the process: this one has imported what a replay has.
_FLOOR = """
import os, sums, time
import snapshot.commands.replay, snapshot.core.executor, snapshot.replay.bulk
begun = time.perf_counter()
for _ in range(500):
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
print((time.perf_counter() - begun) / 500)
"""


def replays() -> None:
    """One call at the command line, and many."""
    with _store() as folder:
        (folder / "sums.py").write_text(_MODULE)
        environment = os.environ | {"PYTHONPATH": str(folder)}
        # What is installed has been compiled, on both sides.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        python = [sys.executable]

        def run(*words: str) -> None:
            subprocess.run(
                [*python, *words], cwd=folder, env=environment, check=True, capture_output=True
            )

        run("-c", "import sums\nfor n in range(2000): sums.total([n, n + 1])")
        run("-m", "snapshot", "calls")
        one, fresh = by_turns(
            21,
            lambda: timed(lambda: run("-m", "snapshot", "replay", "7")),
            lambda: timed(lambda: run("-c", "import sums")),
        )
        compare("replay of one call", one, fresh, "python and the import", at_most=1.3)
        many, floor = by_turns(
            5,
            lambda: timed(lambda: run("-m", "snapshot", "replay", "--all")) / 2000,
            lambda: float(subprocess.check_output([*python, "-c", _FLOOR], env=environment)),
        )
        compare("each of 2,000 replays", many, floor, "bare fork, exit, wait", at_most=1 / 0.7)
        compare("each of 2,000 replays", many, fresh, "a fresh interpreter", at_most=1 / 20)


if __name__ == "__main__":
    cases = {
        "calls": calls,
        "equal": equal_calls,
        "arrays": arrays,
        "background": background,
        "replays": replays,
    }
    raise SystemExit(main("benchmarks.replay", cases))
