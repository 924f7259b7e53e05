"""What the tutorial of memoization shows, under the names that it documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import libraries
from tests.processes import Program, Result, write_script


@pytest.fixture
def run(python: Callable[..., Result], tmp_path: Path) -> Callable[..., list[str]]:
    """Run a program that keeps its results in this folder; what it prints, in lines."""
    (tmp_path / ".snapshot").mkdir()

    def ran(source: str | Path, *args: str, **options: Any) -> list[str]:
        result = python(source, *args, **options)
        assert (result.code, result.stderr) == (0, ""), result
        return result.stdout.splitlines()

    return ran


def test_how_to_use(run: Callable[..., list[str]]) -> None:
    source = """
        from snapshot.memo import MemoizedGroup, memoize

        @memoize()
        def squared(x):
            print(f"squaring {x}")
            return x**2

        print(squared(2))
        print(squared(2))
        squared.group = MemoizedGroup(size="100KiB")
        print(squared(2), squared.group.size)
        """
    assert run(source) == ["squaring 2", "4", "4", "4 102400"]


def test_time_to_live(run: Callable[..., list[str]]) -> None:
    assert run(
        """
        import datetime, time
        from snapshot.memo import MemoizedGroup, TTLInterval, memoize

        now = [1_000_000_000.0]
        time.time = lambda: now[0]
        time.time_ns = lambda: int(now[0]) * 10**9
        group = MemoizedGroup(extra_system_state=TTLInterval(datetime.timedelta(hours=1)))

        @memoize(extra_function_state=TTLInterval(60))
        def asked(url):
            print("asking", url)

        @memoize(group=group)
        def listed(url):
            print("listing", url)

        for seconds in (0, 1, 60, 3600):
            now[0] += seconds
            asked("a"), listed("a")
        """
    ) == ["asking a", "listing a", "asking a", "asking a", "listing a"]


def test_files_with_their_contents(run: Callable[..., list[str]], tmp_path: Path) -> None:
    source = """
        from snapshot.memo import FileContents, memoize

        def long_function(data):
            return data[::-1]

        def copy(src, dst):
            with open(src, "rb") as src_f:
                result = long_function(src_f.read())
            with open(dst, "wb") as dst_f:
                dst_f.write(result)

        @memoize()
        def pure_copy(src: FileContents) -> FileContents:
            dst = src + "_copy"
            print("Doing copy")
            copy(src, dst)
            return dst

        print(pure_copy(FileContents("test")))
        print(open("test_copy").read())
        """
    (tmp_path / "test").write_text("abc")
    script = write_script(tmp_path, source)
    assert run(script) == ["Doing copy", "test_copy", "cba"]
    (tmp_path / "test_copy").unlink()
    assert run(script) == ["test_copy", "cba"]
    (tmp_path / "test").write_text("abcd")
    assert run(script) == ["Doing copy", "test_copy", "dcba"]
    (tmp_path / "test").write_text("abc")
    assert run(script) == ["test_copy", "cba"]


def test_a_pipeline_of_thunks(run: Callable[..., list[str]], tmp_path: Path) -> None:
    libraries.require("pandas")
    source = """
        import functools
        from typing import Generic, TypeVar
        import pandas as pd
        from snapshot.memo import memoize

        T = TypeVar("T")
        class Thunk(Generic[T]):
            def __call__(self) -> T:
                ...

        @memoize()
        def f(filename: str) -> pd.DataFrame:
            print("reading", filename)
            return pd.DataFrame({"a": [1, 2]})

        @memoize()
        def g(df_thunk: Thunk[pd.DataFrame]) -> pd.DataFrame:
            df = df_thunk()
            print("doubling")
            return 2 * df

        df_thunk = functools.partial(f, "filename")
        print(list(g(df_thunk)["a"]))
        """
    script = write_script(tmp_path, source)
    assert run(script) == ["reading filename", "doubling", "[2, 4]"]
    assert run(script) == ["[2, 4]"]
    script.write_text(script.read_text().replace('"doubling"', '"twice"'))
    assert run(script) == ["twice", "[2, 4]"]
    script.write_text(script.read_text().replace("[1, 2]", "[1, 3]"))
    assert run(script) == ["reading filename", "twice", "[2, 6]"]


def test_old_code_is_adapted(run: Callable[..., list[str]], tmp_path: Path) -> None:
    source = """
        from snapshot.memo import FileContents, memoize

        global_var = 10

        class Input:
            def __init__(self):
                self.handle = open(__file__)

        def work(input1, input2):
            real_input1 = FileContents(input1)
            input2.__cache_key__ = lambda: "its key"
            input3 = global_var
            ret = _real_work(real_input1, input2, input3)
            return ret[0]

        @memoize()
        def _real_work(input1, input2, global_var):
            print("working")
            with open("file_I_wrote.txt", "w") as file:
                file.write("written")
            output_side_effect1 = FileContents("file_I_wrote.txt")
            return len(open(input1).read()) + global_var, output_side_effect1

        with open("input", "w") as file:
            file.write("12345")
        given = Input()
        print(work("input", given), open("file_I_wrote.txt").read())
        given.handle.close()
        """
    script = write_script(tmp_path, source)
    options = ("-W", "ignore::ResourceWarning")
    assert run(script, options=options) == ["working", "15 written"]
    (tmp_path / "file_I_wrote.txt").unlink()
    assert run(script, options=options) == ["15 written"]
    script.write_text(script.read_text().replace("global_var = 10", "global_var = 11"))
    assert run(script, options=options) == ["working", "16 written"]


def test_a_place_that_machines_share(run: Callable[..., list[str]], tmp_path: Path) -> None:
    source = """
        import sys
        from snapshot.memo import DirObjStore, MemoizedGroup, memoize

        group = MemoizedGroup(
            obj_store=DirObjStore("shared"), store=sys.argv[1], fine_grain_persistence=True
        )

        @memoize(group=group)
        def f(x):
            print("computing")
            return [x] * 1000

        print(f(3)[0])
        """
    script = write_script(tmp_path, source)
    for store, expected in (("one.db", ["computing", "3"]), ("two.db", ["3"]), ("one.db", ["3"])):
        assert run(script, store) == expected
    assert any((tmp_path / "shared").rglob("*"))


def test_work_of_a_concurrent_process_is_used(
    run: Callable[..., list[str]], start: Callable[..., Program], tmp_path: Path
) -> None:
    source = """
        import sys
        from snapshot.memo import memoize

        @memoize(fine_grain_persistence=True)
        def f(x):
            print("computing")
            return x

        print(f(3), flush=True)
        if sys.argv[1:]:
            input()
        """
    script = write_script(tmp_path, source)
    other = start(script, "stays")
    other.wait_for("computing\n3\n")
    assert run(script) == ["3"]
    other.send("\n")
    assert other.finish().code == 0


def test_states_that_change(run: Callable[..., list[str]]) -> None:
    assert run(
        """
        from snapshot.memo import MemoizedGroup, memoize

        states = {"function": 1, "system": 1}
        group = MemoizedGroup(
            extra_system_state=lambda: states["system"], keep_versions=False
        )

        @memoize(group=group, extra_function_state=lambda: states["function"])
        def f(x):
            print("f")

        @memoize(group=group)
        def g(x):
            print("g")

        for changed in (None, "function", None, "system", None):
            if changed:
                states[changed] += 1
            print(changed)
            f(1), g(1)
        """
    ) == ["None", "f", "g", "function", "f", "None", "system", "f", "g", "None"]


def test_debugging(run: Callable[..., list[str]], tmp_path: Path) -> None:
    run(
        """
        import logging, os
        logger = logging.getLogger("snapshot.memo.ops")
        logger.setLevel(logging.DEBUG)
        fh = logging.FileHandler("cache.log")
        fh.setLevel(logging.DEBUG)
        fh.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(fh)
        logger.debug("Program %d", os.getpid())

        from snapshot.memo import memoize

        @memoize()
        def f(x):
            return x

        f(1), f(1)
        """
    )
    program, *lines = (tmp_path / "cache.log").read_text().splitlines()
    assert program.startswith("Program ")
    events = [json.loads(each) for each in lines]
    assert [each["event"] for each in events] == ["index_read", "miss", "hit"]
    assert events[1]["name"] == events[2]["name"] == events[2]["key"][1] == "__main__:f"
    assert len(events[1]["key"]) == 5
    assert events[1]["obj_key"] == events[2]["obj_key"]


def test_events_of_what_is_deleted(run: Callable[..., list[str]], tmp_path: Path) -> None:
    source = """
        import logging
        logging.basicConfig(filename="cache.log", format="%(message)s")
        logging.getLogger("snapshot.memo.ops").setLevel(logging.DEBUG)

        from snapshot.memo import memoize

        @memoize(keep_versions=False, size="100KiB")
        def f(n):
            return bytes(n)

        f(60_000), f(60_001)
        """
    script = write_script(tmp_path, source)
    run(script)
    script.write_text(script.read_text().replace("bytes(n)", "bytes(n - 1)"))
    run(script)
    events = [json.loads(each) for each in (tmp_path / "cache.log").read_text().splitlines()]
    kinds = ["index_read", "miss", "miss", "evict", "index_read", "cascading_delete", "miss"]
    assert [each["event"] for each in events] == [*kinds, "miss", "evict"]
    first, second = events[1]["obj_key"], events[2]["obj_key"]
    assert (events[3]["obj_key"], events[5]["obj_key"]) == (first, second)


def test_a_report_of_what_was_saved(python: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / ".snapshot").mkdir()
    result = python(
        """
        from snapshot.memo import memoize

        @memoize(verbose=True)
        def f(x):
            return x

        f(1), f(1), f(1)
        """
    )
    assert result.stderr.startswith("snapshot.memo: __main__:f: 2 hits saved "), result
    assert ", 1 miss took " in result.stderr


def test_other_behaviours(run: Callable[..., list[str]]) -> None:
    assert run(
        """
        from snapshot.memo import GreedyDualSize, ReplacementPolicy, memoize

        class YourPolicy(ReplacementPolicy):
            def worth(self, entry, floor):
                return entry.cost

        @memoize(use_obj_store=False)
        def a(x): return x

        @memoize(use_metadata_size=True)
        def b(x): return x

        @memoize(fine_grain_eviction=True, size="100KiB")
        def c(x): return bytes(x)

        @memoize(replacement_policy=YourPolicy())
        def d(x): return x

        @memoize(replacement_policy=GreedyDualSize(), verbose=False)
        def e(x): return x

        print([f(n) for f in (a, b, d, e) for n in (1, 1)])
        print([len(c(50_000 + n)) for n in range(5)])
        print(c.would_hit(50_004), sum(c.would_hit(50_000 + n) for n in range(5)))
        """
    ) == ["[1, 1, 1, 1, 1, 1, 1, 1]", "[50000, 50001, 50002, 50003, 50004]", "True 2"]
