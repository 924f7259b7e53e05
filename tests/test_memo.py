"""Memo: what somebody types, and what comes of it in the next process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import pytest

from tests.processes import Result, write_script

if TYPE_CHECKING:  # what mypy makes of them
    from snapshot.memo import memoize

    @memoize(ttl=60)
    def squared(x: int) -> int: ...

    @memoize
    async def sent(x: int, *, to: str = "") -> bytes: ...

    async def typed() -> None:
        assert_type(squared(2), int)
        assert_type(squared.peek(2), int)
        squared("2")  # type: ignore[arg-type]
        assert_type(await sent(2, to="me"), bytes)
        assert_type(await sent.refresh(2), bytes)
        assert_type(sent.peek(2), bytes)
        sent.put(b"", 2, to="me")


Run = Callable[..., list[str]]


@pytest.fixture
def run(python: Callable[..., Result], tmp_path: Path) -> Run:
    """Run a program with a store of its own folder; what it prints, in lines. It says nothing on
    standard error but what `told` begins."""

    def ran(source: str | Path, *args: str, told: str = "", **options: Any) -> list[str]:
        env = {"SNAPSHOT_STORE": str(tmp_path / "stored" / "store.db"), **options.pop("env", {})}
        result = python(source, *args, env=env, **options)
        assert result.code == 0, result
        assert all(told and told in each for each in result.stderr.splitlines()[:1]), result
        return result.stdout.splitlines()

    return ran


def twice(run: Run, directory: Path, source: str, **options: Any) -> tuple[list[str], list[str]]:
    script = write_script(directory, source)
    return run(script, **options), run(script, **options)


def test_a_result_is_given_again_in_the_next_process(run: Run, tmp_path: Path) -> None:
    first, second = twice(
        run,
        tmp_path,
        """
        from snapshot.memo import memoize

        @memoize()
        def squared(x):
            print(f"squaring {x}")
            return x**2

        print(squared(2))
        print(squared(2))
        print(squared.__name__, squared.__wrapped__(3))
        """,
    )
    assert first == ["squaring 2", "4", "4", "squaring 3", "squared 9"]
    assert second == ["4", "4", "squaring 3", "squared 9"]


def test_positional_keyword_and_default_are_one_call(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        def counted(function):
            memoized = memoize(function)
            def calls(*several):
                before = memoized.misses
                for args, kwargs in several:
                    memoized(*args, **kwargs)
                return memoized.misses - before
            return calls

        @counted
        def plain(a, b=2, *, c=3):
            return a

        @counted
        def only(a, /, b=2, *more, c=3, **rest):
            return a

        print(plain(((1,), {}), ((1, 2), {}), ((), dict(a=1, c=3)), ((), dict(c=3, b=2, a=1))))
        print(plain(((1, 3), {}), ((1, 2), dict(c=4))))
        print(only(((1,), {}), ((1, 2), {}), ((1,), dict(b=2, c=3))))
        print(only(((1, 2, 3), {}), ((1, 2), dict(a=3))))
        print(only(((1,), dict(x=1, y=2)), ((1,), dict(x=1, b=2, y=2))))
        """
    ) == ["1", "2", "1", "2", "1"]


@pytest.mark.parametrize("decorated", ["table", "functools.partial(table)"])
def test_the_order_of_keywords_counts_where_a_function_sees_it(run: Run, decorated: str) -> None:
    assert run(
        f"""
        import functools
        from snapshot.memo import memoize

        def table(title="", **columns):
            return [*columns]

        f = memoize({decorated})
        print(f(a=1, b=2), f(b=2, a=1), f(a=1, title="", b=2), f.misses)
        """
    ) == ["['a', 'b'] ['b', 'a'] ['a', 'b'] 2"]


def test_a_wrong_call_is_the_functions_own_error(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        @memoize
        def f(a, *, b):
            pass

        for args, kwargs in (((), {}), ((1,), {}), ((1, 2), dict(b=1)), ((1,), dict(b=1, c=2))):
            try:
                f(*args, **kwargs)
            except TypeError as error:
                print(error)
        """
    ) == [
        "f() missing 1 required positional argument: 'a'",
        "f() missing 1 required keyword-only argument: 'b'",
        "f() takes 1 positional argument but 2 positional arguments (and 1 keyword-only argument) "
        "were given",
        "f() got an unexpected keyword argument 'c'",
    ]


def test_methods_of_all_kinds(run: Run, tmp_path: Path) -> None:
    source = """
        import pickle
        from snapshot.memo import memoize

        class Scale:
            factor = 10

            def __init__(self, by):
                self.by = by

            @memoize
            def times(self, x):
                print("times", self.by, x)
                return self.by * x

            @memoize()
            @classmethod
            def of_class(cls, x):
                print("of class", x)
                return cls.factor * x

            @staticmethod
            @memoize
            def plain(x):
                print("plain", x)
                return x

            @property
            @memoize
            def twice(self):
                print("twice")
                return 2 * self.by

        two, three = Scale(2), Scale(3)
        print(two.times(5), three.times(5), Scale(2).times(x=5))
        print(Scale.of_class(1), two.of_class(1), Scale.plain(1), two.plain(1), two.twice)
        print(two.times.would_hit(5), two.times.would_hit(6), two.times.peek(5))
        print(two.times.forget(5), two.times.would_hit(5), Scale.times.would_hit(three, 5))
        two.times.put("put", 5)
        print(two.times(5), two.times.refresh(5), two.times(5))
        print(pickle.loads(pickle.dumps(two.times))(5))
        """
    first, second = twice(run, tmp_path, source)
    assert first[:6] == [
        *("times 2 5", "times 3 5", "10 15 10"),
        *("of class 1", "plain 1", "twice"),
    ]
    assert first[6:] == [
        *("10 10 1 1 4", "True False 10", "True False True"),
        *("times 2 5", "put 10 10", "10"),
    ]
    assert second == ["10 15 10", *first[6:]]


def test_coroutines(run: Run, tmp_path: Path) -> None:
    first, second = twice(
        run,
        tmp_path,
        """
        import asyncio, inspect
        from snapshot.memo import memoize

        @memoize
        async def fetched(x):
            print("fetching", x)
            await asyncio.sleep(0)
            return x + 1

        async def main():
            print(await asyncio.gather(*(fetched(each) for each in (1, 1, 2, 1))))
            print(fetched.would_hit(2), await fetched.refresh(2))

        asyncio.run(main())
        print(asyncio.iscoroutinefunction(fetched))
        """,
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert first == ["fetching 1", "fetching 2", "[2, 2, 3, 2]", "fetching 2", "True 3", "True"]
    assert second == ["[2, 2, 3, 2]", "fetching 2", "True 3", "True"]


def test_none_is_kept_and_exceptions_are_when_asked_for(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        @memoize
        def nothing():
            print("nothing")

        @memoize(keep_exceptions=ValueError)
        def refused(kind):
            print("refused")
            raise kind("no")

        nothing(), nothing()
        for kind in (ValueError, ValueError, KeyError, KeyError):
            try:
                refused(kind)
            except Exception as error:
                print(repr(error))
        """
    ) == [
        *("nothing", "refused", "ValueError('no')", "ValueError('no')"),
        *("refused", "KeyError('no')", "refused", "KeyError('no')"),
    ]


def test_what_decides_wrongly_costs_a_warning(run: Run) -> None:
    assert run(
        """
        import json, types, warnings
        from snapshot.memo import memoize

        warnings.simplefilter("always")

        @memoize(keep_if=lambda result: 1 / 0)
        def f():
            return 1

        @memoize(pickler=types.SimpleNamespace(dumps=json.dumps, loads=json.loads))
        def g():
            return 2

        @memoize(keep_exceptions=BaseException)
        def h():
            raise KeyboardInterrupt

        with warnings.catch_warnings(record=True) as told:
            print(f(), g(), f.would_hit(), g.would_hit())
        for each in told:
            print(each.message)
        for _ in range(2):
            try:
                h()
            except KeyboardInterrupt:
                print(h.misses, h.would_hit())
        """
    ) == [
        "1 2 False False",
        "keep_if= of __main__:f raised ZeroDivisionError('division by zero'): nothing is kept",
        "the result of __main__:g cannot be kept: its pickler makes str, and not bytes",
        *["0 False"] * 2,
    ]


def test_a_signal_comes_while_a_result_is_kept_or_found(run: Run) -> None:
    """What its handler raises is no error of the code that makes or reads the bytes."""
    assert run(
        """
        import pickle, signal, types
        from snapshot.memo import memoize

        def alarm(*_):
            raise TimeoutError

        def interrupted(call):
            def run(value):
                if it == call.__name__:
                    signal.raise_signal(signal.SIGALRM)
                return call(value)
            return run

        def wanted(result):
            return True

        pickler = types.SimpleNamespace(
            dumps=interrupted(pickle.dumps), loads=interrupted(pickle.loads)
        )

        @memoize(pickler=pickler, keep_if=interrupted(wanted), ignore="n")
        def f(x, n):
            return x

        signal.signal(signal.SIGALRM, alarm)
        for it in ("wanted", "dumps", "", "loads", ""):
            try:
                print(it, f(3, 1), f.hits)
            except TimeoutError:
                print(it, "too late")
        """
    ) == ["wanted too late", "dumps too late", " 3 0", "loads too late", " 3 1"]


def test_what_a_caller_does_to_a_result_is_its_own_affair(run: Run) -> None:
    assert (
        run(
            """
        import numpy as np
        from snapshot.memo import memoize

        @memoize
        def made(n):
            return [0] * n, np.zeros(n)

        for _ in range(3):
            numbers, array = made(100_000)
            print(numbers[0], array[0])
            numbers[0], array[0] = 1, 1
        """
        )
        == ["0 0.0"] * 3
    )


def test_an_argument_that_is_changed_counts_as_it_was(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        @memoize
        def popped(items):
            return items.pop()

        print(popped([1, 2]), popped([1]), popped([1, 2]), popped.misses)
        """,
        told="MemoWarning: __main__:popped has changed its argument items",
    ) == ["2 1 2 2"]


def test_a_function_that_changes_what_it_reads_is_told_of(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        calls = []

        @memoize
        def f(x):
            calls.append(x)
            return x

        print(f(1), f(1), f.misses)
        """,
        told="MemoWarning: __main__:f has changed __main__.calls, which it reads",
    ) == ["1 1 2"]


def test_what_is_ignored_and_what_cannot_be_told_apart(run: Run) -> None:
    assert run(
        """
        import threading
        from snapshot.memo import memoize

        @memoize(ignore=(each for each in ["verbose"]))
        def f(x, verbose=False):
            return x

        @memoize
        def g(config):
            return 1

        f(1, verbose=threading.Lock()), f(1), f(1, verbose=True)
        print(f.misses)
        try:
            g({"model": [threading.Lock()]})
        except TypeError as error:
            print(type(error).__name__, error)
        try:
            memoize(ignore="nothing")(lambda x: x)
        except ValueError as error:
            print(error)
        """
    ) == [
        "1",
        "NotKeyable cannot tell the lock at config['model'][0] from another one in another "
        "process: name the parameter in ignore=, or give its class a __cache_key__",
        "ignore=['nothing']: 'nothing' is no parameter of <lambda>; it has x",
    ]


def test_a_condition_on_what_is_kept_and_for_how_long(run: Run) -> None:
    assert run(
        """
        import time
        from snapshot.memo import memoize

        @memoize(keep_if=lambda result: result > 1)
        def f(x):
            return x

        @memoize(ttl=1000)
        def g():
            return 1

        @memoize(ttl=1000, stale=1000)
        def h(x):
            return x

        print(f(1), f.would_hit(1), f(2), f.would_hit(2))
        print(g(), g.would_hit())
        h(1)
        began = time.time
        time.time = lambda: began() + 1500
        print(g.would_hit(), h.would_hit(1))
        """
    ) == ["1 False 2 True", "1 True", "False True"]


def test_what_is_stale_is_used_while_it_is_computed_anew(run: Run) -> None:
    assert run(
        """
        import asyncio, os, time
        from pathlib import Path
        from snapshot.memo import memoize

        os.cpu_count = lambda: 2  # so many forks may be at work

        def following(path):
            number = int(Path(path).read_text()) + 1 if Path(path).exists() else 1
            Path(path).write_text(str(number))
            return number

        @memoize(ttl=100, stale=1000)
        def h(path):
            return following(path)

        @memoize(ttl=100, stale=1000)
        async def g(path):
            return following(path)

        print(h("h"), h("h"), asyncio.run(g("g")), asyncio.run(g("g")))
        now = time.time
        time.time = lambda: now() + 150
        print(h("h"), asyncio.run(g("g")))
        while h.peek("h") == 1 or g.peek("g") == 1:
            pass
        print(h("h"), asyncio.run(g("g")))
        time.time = lambda: now() + 1500
        print(h("h"), asyncio.run(g("g")))
        """
    ) == ["1 1 1 1", "1 1", "2 2", "3 3"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("on", ["1 kept"]),
        ("off", ["run", "1", "run", "1 run"]),
        ("read-only", ["1 kept"]),
        ("refresh", ["run", "1", "run", "1 run"]),
    ],
)
def test_by_the_environment(run: Run, tmp_path: Path, mode: str, expected: list[str]) -> None:
    source = """
        import sys
        from snapshot.memo import memoize

        @memoize
        def f(x):
            ran.append(x)
            return x

        @memoize(ignore=["ran"])
        def g(x, ran):
            ran.append(x)
            return x

        ran = []
        print(g(int(sys.argv[1]), ran), "run" if ran else "kept")
        """
    script = write_script(tmp_path, source)
    ran = "kept" if mode in ("on", "read-only") else "run"
    assert run(script, "1") == ["1 run"]
    assert run(script, "1", env={"SNAPSHOT_MEMO": mode}) == [f"1 {ran}"]
    assert run(script, "2", env={"SNAPSHOT_MEMO": mode}) == ["2 run"]
    kept = mode in ("on", "refresh")
    assert run(script, "2") == ["2 kept" if kept else "2 run"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("on", ["one True", "three True", "four", "four True", "0"]),
        ("refresh", ["one False", "three False", "four", "four False", "0"]),
        ("read-only", ["one True", "one True", "four", "one True", "0"]),
        ("off", ["NotKept False", "NotKept False", "four", "NotKept False", "0"]),
    ],
)
def test_of_one_call_by_the_environment(
    run: Run, tmp_path: Path, mode: str, expected: list[str]
) -> None:
    source = """
        import sys
        from snapshot.errors import NotKept
        from snapshot.memo import memoize

        seen = []

        @memoize(fork=True, ignore=["made", "seen"])
        def f(x, made=None, seen=None):
            seen.append(x)
            return made

        def look():
            try:
                print(f.peek(1), f.would_hit(1))
            except NotKept:
                print("NotKept", f.would_hit(1))

        if sys.argv[1:]:
            f.put("one", 1)
        else:
            look()
            f.put("three", 1)
            look()
            print(f.refresh(1, "four", seen))
            look()
            f(2, "", seen)
            print(len(seen))
        """
    script = write_script(tmp_path, source)
    run(script, "store")
    assert run(script, env={"SNAPSHOT_MEMO": mode}) == expected


def test_a_mode_that_there_is_not(python: Callable[..., Result]) -> None:
    result = python(
        "from snapshot.memo import memoize\n@memoize\ndef f(): pass",
        env={"SNAPSHOT_MEMO": "of"},
    )
    assert result.stderr.splitlines()[-1] == (
        "snapshot.errors.UsageError: SNAPSHOT_MEMO='of' means nothing: say on, off, read-only, "
        "refresh"
    )


def test_states_of_the_function_and_of_the_system(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import MemoizedGroup, memoize

        state = {"system": 1, "function": 1}
        group = MemoizedGroup(extra_system_state=lambda: state["system"])

        @memoize(group=group, extra_function_state=lambda f: (f.__name__, state["function"]))
        def f():
            return 0

        @memoize(extra_function_state=lambda: state["function"])
        def g():
            return 0

        def ran():
            before = f.misses, g.misses
            f(), g()
            return f.misses - before[0], g.misses - before[1]

        print(ran(), ran())
        state["function"] = 2
        print(ran(), ran())
        state["system"] = 2
        print(ran(), ran())
        state.update(system=1, function=1)
        print(ran())
        """
    ) == ["(1, 1) (0, 0)", "(1, 1) (0, 0)", "(1, 0) (0, 0)", "(0, 0)"]


def test_a_group_that_keeps_no_versions_drops_them(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        state = [1]

        @memoize(keep_versions=False, extra_function_state=lambda: state[0])
        def f(x):
            return x

        f(1), f(2)
        state[0] = 2
        f(1)
        state[0] = 1
        f(1), f(2)
        print(f.misses)
        """
    ) == ["5"]


def test_states_without_results_are_forgotten(run: Run) -> None:
    assert run(
        """
        import time
        from snapshot.memo import memoize
        from snapshot.store import Store

        now = [time.time()]
        time.time = lambda: now[0]

        @memoize(size="20KiB", extra_function_state=lambda: now[0])
        def f(x):
            return x

        @memoize
        def idle(x):
            return x

        idle(1)
        for each in range(100):
            now[0] += 100
            f(each)
        old = f.group.backend.results
        with Store() as store:
            (states,) = [each.states for each in old.functions() if each.name.endswith(":f")]
            ((rows,),) = store._database.rows("SELECT COUNT(*) FROM states")
            ((facts,),) = store._database.rows(
                "SELECT COUNT(*) FROM objects WHERE id NOT IN (SELECT facts FROM states)"
            )
            print(states < rows < 90, facts)
        """
    ) == ["True 0"]


def test_a_state_that_was_forgotten_is_entered_again(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize
        from snapshot.store import Store

        @memoize
        def f(x):
            return x

        f(1), f.forget(1)
        with Store() as store:
            store._database.rows("DELETE FROM states")
        print(f(2), f.would_hit(2), f.misses)
        """
    ) == ["2 True 2"]


def test_what_was_done_is_logged_as_json(run: Run) -> None:
    lines = run(
        """
        import logging, sys
        from snapshot.memo import memoize

        logger = logging.getLogger("snapshot.memo.ops")
        logger.setLevel(logging.DEBUG)
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        state = [1]

        @memoize(size="8KiB", keep_versions=False, extra_function_state=lambda: state[0])
        def f(x):
            return "x" * x

        f(1), f(1)
        state[0] = 2
        f(1), f(5000), f(5001)
        """
    )
    events = [json.loads(each) for each in lines]
    assert [each["event"] for each in events] == [
        *("index_read", "miss", "hit", "cascading_delete", "miss", "miss", "miss", "evict"),
        *["evict"] * (len(events) - 8),
    ]
    miss, hit = events[1:3]
    assert (miss["key"], miss["obj_key"]) == (hit["key"], hit["obj_key"])
    system, name, _, arguments, versions = miss["key"]
    assert (system, name, versions) == ("None", "__main__:f", [])
    others = [each["key"][3] for each in events if each["event"] == "miss"]
    assert arguments == others[0] == others[1] != others[2] != others[3]  # f(1), f(1), f(5000), …
    assert miss["key"][2] != events[4]["key"][2]  # the state of the function


def test_a_report_at_exit(python: Callable[..., Result], tmp_path: Path) -> None:
    result = python(
        """
        from snapshot.memo import memoize

        @memoize(verbose=True)
        def f(x):
            return x

        f(1), f(1), f(1), f(2)
        """,
        env={"SNAPSHOT_STORE": str(tmp_path / "store.db")},
    )
    (line,) = result.stderr.splitlines()
    assert line.startswith("snapshot.memo: __main__:f: 2 hits saved ")
    assert "2 misses took" in line


def test_a_temporary_group_is_gone_at_exit(run: Run) -> None:
    (folder,) = run(
        """
        import os
        from snapshot.memo import memoize

        @memoize(temporary=True)
        def f(x):
            return x

        f(1)
        if not os.fork():
            f(2)
            raise SystemExit
        os.wait()
        assert f.would_hit(1) and f.would_hit(2)
        print(f.group.backend.place.path.parent)
        """
    )
    assert not Path(folder).exists()


def test_another_pickler(run: Run) -> None:
    assert run(
        """
        import json, types
        from snapshot.memo import memoize

        plain = types.SimpleNamespace(
            dumps=lambda value: json.dumps(value).encode(), loads=json.loads, __qualname__="plain"
        )

        @memoize(pickler=plain)
        def f():
            return (1, 2)

        print(f(), f())
        """
    ) == ["(1, 2) [1, 2]"]


def test_results_that_are_stored_together(run: Run, tmp_path: Path) -> None:
    script = write_script(
        tmp_path,
        """
        import contextlib, os, sys
        from snapshot.memo import memoize

        class Lock:
            def __enter__(self): entered.append(1)
            def __exit__(self, *_): pass

        entered = []

        @memoize(fine_grain_persistence=False, lock=Lock(), ignore=["ran"])
        def f(x, ran):
            ran.append(x)
            return x

        ran = []
        for each in range(100):
            f(each, ran), f(each, ran)
        print(len(ran), len(entered))
        """,
    )
    assert run(script) == ["100 0"]
    assert run(script) == ["0 0"]


def test_a_result_that_waits_is_replaced_by_one_that_does_not(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        @memoize(fine_grain_persistence=False)
        def f(x):
            return bytes(x)

        f(1)
        f.put(bytearray(1 << 20), 1)
        print(len(f(1)))
        f.group.flush()
        print(len(f(1)))
        """
    ) == ["1048576", "1048576"]


def test_results_that_wait_do_not_depend_on_each_other(run: Run) -> None:
    assert run(
        """
        from snapshot.errors import StoreError
        from snapshot.memo import DirObjStore, memoize

        class Store(DirObjStore):
            def write(self, key, parts):
                print("found meanwhile:", f.would_hit(written.pop()))
                if len(written) == 2:
                    raise StoreError("one fails")
                super().write(key, parts)

        @memoize(fine_grain_persistence=False, obj_store=Store("objects"))
        def f(x):
            return x

        f(1), f(2), f(3)
        written = [3, 2, 1]
        f.group.flush()
        print(f.would_hit(1), f.would_hit(2), f.would_hit(3))
        """,
        told="one fails",
    ) == ["found meanwhile: True"] * 3 + ["False True True"]


def test_results_of_a_fork_do_not_wait(run: Run) -> None:
    assert run(
        """
        import multiprocessing
        from snapshot.memo import memoize

        @memoize(fine_grain_persistence=False)
        def f(x):
            return x

        f(1)
        worker = multiprocessing.get_context("fork").Process(target=f, args=(2,))
        worker.start()
        worker.join()
        print(f.would_hit(1), f.would_hit(2))
        """
    ) == ["True True"]


def test_options_of_a_function_stay_with_it_in_any_group(
    python: Callable[..., Result], tmp_path: Path
) -> None:
    objects = tmp_path / "objects"
    result = python(
        f"""
        import os
        from snapshot.memo import DirObjStore, MemoizedGroup, memoize

        group = MemoizedGroup("shared", obj_store=DirObjStore("{objects}"), size="10KiB")

        @memoize(group=group, use_obj_store=False)
        def f(x):
            return x

        @memoize(verbose=True, use_metadata_size=False)
        def g(x):
            return x

        g.group = group
        f(1)
        print(os.path.exists("{objects}"))
        before = group.backend.results.size("shared")
        g(1)
        print(group.backend.results.size("shared") - before < 256, os.path.exists("{objects}"))
        """,
        env={"SNAPSHOT_STORE": str(tmp_path / "store.db")},
    )
    assert result.stdout.splitlines() == ["False", "True True"]
    (line,) = result.stderr.splitlines()
    assert line.startswith("snapshot.memo: __main__:g: 0 hits saved 0 s, 1 miss")


def test_the_default_of_an_ignored_parameter_is_ignored(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        ran = []

        @memoize(ignore=["ran", "also"])
        def f(x, ran=ran, *, also=ran):
            also.append(x)
            return x

        f(1), f(1)
        print(f.hits, len(ran))
        """
    ) == ["1 1"]


def test_arguments_of_partials_and_of_bound_methods(run: Run) -> None:
    assert run(
        """
        import functools
        from snapshot.memo import memoize

        def f(a, b, c=3):
            return a, b, c

        five = memoize(functools.partial(f, c=5))
        print(five(1, 2), five(1, 2, c=5), five(1, 2, c=3), five.hits)
        part = functools.partial
        one, two = (memoize(each) for each in (functools.update_wrapper(part(f, 1), f), part(f, 2)))
        print(one(2), one(b=2), one(2, c=3), one.hits, two(2), two.hits)

        class C:
            def f(self, x, y=2):
                return self.n, x, y

            def state(self):
                return self.n

        c = C()
        c.n = 1
        bound = memoize(c.f)
        print(bound(1), bound(x=1), bound(1, 2), bound.hits)
        c.n = 2
        print(bound(1), bound.hits)

        for state in (c.state, functools.partial(lambda x: x, 5)):
            memoize(extra_function_state=state)(f)(1, 7)
        """
    ) == [
        "(1, 2, 5) (1, 2, 5) (1, 2, 3) 1",
        "(1, 2, 3) (1, 2, 3) (1, 2, 3) 2 (2, 2, 3) 0",
        "(1, 1, 2) (1, 1, 2) (1, 1, 2) 2",
        "(2, 1, 2) 2",
    ]


def test_a_decorator_that_has_parameters_of_its_own(run: Run) -> None:
    assert run(
        """
        import functools
        from snapshot.memo import memoize

        def f(x, y=2):
            return x, y

        @memoize()
        @functools.wraps(f)
        def ten(x, y=10):
            return f(x, y)

        @memoize(name="swapped")
        @functools.wraps(f)
        def swapped(y, x):
            return f(x, y)

        @memoize(name="passed")
        @functools.wraps(f)
        def passed(x, *args, **kwargs):
            return f(x, *args, **kwargs)

        print(ten(1), ten(1, 2))
        print(swapped(1, 2), swapped(x=1, y=2))
        print(passed(1), passed(1, 2), passed(x=1, y=2), passed.hits)
        """
    ) == ["(1, 10) (1, 2)", "(2, 1) (1, 2)", "(1, 2) (1, 2) (1, 2) 2"]


def test_a_decorator_that_changes_the_arguments_is_told(run: Run) -> None:
    assert run(
        """
        import functools
        from snapshot.memo import memoize

        def with_one(function):
            @functools.wraps(function)
            def wrapper(*args):
                return function(1, *args)

            return wrapper

        @memoize()
        @with_one
        def f(one, x):
            return one, x

        print(f(2), f(2), f.hits)
        """,
        told="memoize the function under the decorator that changes them",
    ) == ["(1, 2) (1, 2) 0"]


def test_what_cannot_be_kept_leaves_no_older_result(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        @memoize(size="10KiB", ignore=["made"])
        def f(x, made):
            return made()

        for made in (lambda: bytes(20_000), lambda: (each for each in "ab")):
            f(1, lambda: "old")
            f.refresh(1, made)
            print(f(1, lambda: "new"))
        """,
        told="more than its group may take",
    ) == ["new", "new"]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("lock=Lock()", "lock raised TimeoutError: somebody else has it"),
        ("replacement_policy=Policy()", "replacement_policy raised ZeroDivisionError"),
    ],
)
def test_an_option_that_fails_costs_a_warning(run: Run, option: str, told: str) -> None:
    assert run(
        f"""
        from snapshot.memo import ReplacementPolicy, memoize

        class Lock:
            def __enter__(self): raise TimeoutError("somebody else has it")
            def __exit__(self, *_): pass

        class Policy(ReplacementPolicy):
            def worth(self, entry, floor): return 1 / 0

        @memoize({option})
        def f(x):
            return x

        print(f(1), f(1), f.hits)
        """,
        told=told,
    ) == ["1 1 0"]


def test_a_method_of_an_object_is_as_any_other(run: Run) -> None:
    assert run(
        """
        import inspect
        from snapshot.memo import MemoizedGroup, memoize

        class Same:
            def __eq__(self, other): return True

        class Tea(Same):
            @memoize()
            def brewed(self, minutes: int) -> str:
                "Hot."
                return f"{minutes} minutes"

        tea = Tea()
        print(tea.brewed.__doc__, inspect.signature(tea.brewed), inspect.getdoc(tea.brewed))
        print(inspect.signature(Tea.brewed))
        print(tea.brewed == tea.brewed, tea.brewed == Tea().brewed)
        tea.brewed.group = group = MemoizedGroup("tea")
        print(Tea.brewed.group is group)
        """
    ) == [
        "Hot. (minutes: int) -> str Hot.",
        "(self, minutes: int) -> str",
        "True False",
        "True",
    ]


def test_one_call_of_a_class_method(run: Run) -> None:
    assert run(
        """
        from snapshot.memo import memoize

        class Tea:
            @memoize()
            @classmethod
            def brewed(cls, minutes):
                return f"{cls.__name__}: {minutes}"

        class Green(Tea):
            pass

        for each in (Tea, Green, Green()):
            print(each.brewed(3), each.brewed.would_hit(3), each.brewed.peek(3), Tea.brewed.hits)
        """
    ) == [
        "Tea: 3 True Tea: 3 1",
        "Green: 3 True Green: 3 2",
        "Green: 3 True Green: 3 4",
    ]


def test_a_group_has_the_name_of_the_first_function_in_it(run: Run, tmp_path: Path) -> None:
    source = """
        from snapshot.memo import MemoizedGroup, memoize

        group = MemoizedGroup()

        @memoize(group=group)
        def f(x):
            return x

        @memoize(group=group)
        def g(x):
            return x

        g(1)
        print(group.name)
        """
    assert run(write_script(tmp_path, source)) == ["__main__:f"]


def test_temporary_groups_leave_no_descriptors(run: Run) -> None:
    before, after = run(
        """
        import gc, os
        from snapshot.memo import memoize

        for n in range(3):
            @memoize(temporary=True)
            def f(x):
                return x

            f(1)
            del f
            gc.collect()
            if n != 1:
                print(len(os.listdir("/proc/self/fd")))
        """
    )
    assert before == after


def test_a_function_that_leaves_nothing_behind(run: Run) -> None:
    assert run(
        """
        import asyncio
        from snapshot.memo import memoize

        seen = []

        @memoize(fork=True, ignore=["seen"])
        def f(x, seen):
            seen.append(x)
            return len(seen)

        @memoize(fork=True, ignore=["seen"])
        async def g(x, seen):
            await asyncio.sleep(0)
            seen.append(x)
            return len(seen)

        print(f(1, seen), f(2, seen), f(1, seen), seen)
        print(asyncio.run(g(1, seen)), asyncio.run(g(1, seen)), seen, g.misses)
        """
    ) == ["1 1 1 []", "1 1 [] 1"]


def test_an_explanation_of_a_miss(run: Run, tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text("LIMIT = 3\ndef half(x):\n    return x / 2\n")
    script = write_script(
        tmp_path,
        """
        import helpers
        from snapshot.memo import memoize

        @memoize
        def f(x, y=1):
            return helpers.half(x) + helpers.LIMIT + y

        print(f.explain(1))
        f(1)
        print(f.explain(1))
        print(f.explain(1, y=2))
        """,
    )
    assert run(script)[0] == "__main__:f: a miss: nothing is kept of it"
    (tmp_path / "helpers.py").write_text("LIMIT = 4\ndef half(x):\n    return x // 2\n")
    told = run(script)
    assert told[0] == "__main__:f: a miss: the nearest of 1 entries differs in"
    assert "  value helpers.LIMIT: 3 then, 4 now" in told
    assert "  function helpers:half:" in told
    assert "    -    return x / 2" in told
    assert "    +    return x // 2" in told
    assert any(each.startswith("__main__:f: a hit: stored") for each in told)
    assert told[-1] == "  argument y: 1 then, 2 now"


def test_an_explanation_is_of_what_a_call_would_do(run: Run) -> None:
    source = """
        import time
        from snapshot.memo import DirObjStore, MemoizedGroup, explain, memoize

        @memoize
        def many(x): return x
        with many.group.backend.results.together():
            for each in range(1005):
                many(each)
        print(many.would_hit(0), explain(many, 0).hit)

        now = [time.time()]
        @memoize(ttl=60)
        def timed(x): return x
        timed(1)
        time.time = lambda: now[0] + 61
        print(timed.would_hit(1), timed.explain(1).hit, str(timed.explain(1)).partition("; ")[2])

        def shared(x): return [x] * 1000
        for name in "one", "two":
            f = memoize(store=f"{name}.db", obj_store=DirObjStore("shared"))(shared)
            if name == "one":
                f(1)
            print(f.would_hit(1), f.explain(1).hit)
        """
    assert run(source) == [
        *("True True", "False False it held for 60 s (ttl=)", "True True", "True True")
    ]


@pytest.mark.parametrize("mode", ["off", "read-only", "refresh"])
def test_an_explanation_by_the_environment(run: Run, tmp_path: Path, mode: str) -> None:
    script = write_script(
        tmp_path,
        """
        from snapshot.memo import memoize

        @memoize
        def f(x): return x

        f(1)
        print(f.would_hit(1) is f.explain(1).hit, str(f.explain(1)).partition("; ")[2])
        """,
    )
    run(script)
    why = "" if mode == "read-only" else f"SNAPSHOT_MEMO is {mode}"
    assert run(script, env={"SNAPSHOT_MEMO": mode}) == [f"True {why}"]


def test_a_recorded_call_serves_as_a_result(run: Run, tmp_path: Path) -> None:
    source = """
        import sys
        from snapshot.memo import memoize
        from snapshot.replay import record

        SCALE = 2

        def f(x, y=1):
            print("run", x)
            return [x * SCALE + y] * 100

        if sys.argv[1] == "record":
            f = record(f)
            print(len(f(1)), len(f(2)), len(f(2)))
        else:
            f = memoize(f)
            adopted = f.adopt()
            print(len(adopted.calls), sorted({*adopted.left.values()}))
            print(f(1)[0], f(x=2, y=1)[0])
        """
    script = write_script(tmp_path, source)
    assert run(script, "record") == ["run 1", "run 2", "run 2", "100 100 100"]
    assert run(script, "memo") == ["2 ['there is a result for its arguments']", "3 5"]
    script.write_text(script.read_text().replace("SCALE = 2", "SCALE = 3"))
    assert run(script, "memo") == ["0 ['SCALE had another value']", "run 1", "run 2", "4 7"]
    script.write_text(script.read_text().replace("+ y", "- y"))
    assert run(script, "memo")[0] == "0 ['the function was another one then']"


@pytest.mark.parametrize(
    ("then", "now", "why"),
    [
        ("RATE = 1", "RATE = 2", "what __main__.RATE was then is not known"),
        ("made(1)", "made(2)", "what __main__:made.<locals>.inner closure n was then is not known"),
        ("more=[1]", "more=[2]", "the default of more was another one"),
    ],
)
def test_a_recorded_call_that_may_have_read_something_else_does_not(
    run: Run, tmp_path: Path, then: str, now: str, why: str
) -> None:
    source = """
        import sys
        from snapshot.memo import memoize
        from snapshot.replay import record

        RATE = 1
        def helper(x): return x * RATE

        def made(n):
            def inner(): return n
            return inner
        inner = made(1)

        def reads(x): return helper(x)
        def calls(x): return inner()
        def takes(x, more=[1]): return more

        for each in (reads, calls, takes):
            if sys.argv[1] == "record":
                record(each)(3)
            else:
                f = memoize(each)
                print(*f.adopt().left.values())
                print(f(3) == each(3))
        """
    script = write_script(tmp_path, source)
    run(script, "record")
    script.write_text(script.read_text().replace(then, now))
    told = run(script, "memo")
    assert why in told
    assert told.count("True") == 3


NONE = "no recorded call has results for it"


def test_recorded_calls_of_another_than_what_is_memoized_do_not_serve(run: Run) -> None:
    assert run(
        """
        import functools
        from snapshot.errors import UsageError
        from snapshot.memo import MemoizedGroup, memoize
        from snapshot.replay import record

        @record
        def f(x):
            return x

        def doubled(function):
            @functools.wraps(function)
            def wrapper(*args):
                return 2 * function(*args)
            return wrapper

        f(1)
        print(len(memoize(f).adopt().calls))
        for each in (
            memoize(doubled(f)),
            memoize(functools.partial(f, 1)),
            memoize(len),
            memoize(ttl=60)(f),
            memoize(extra_function_state=lambda: 1)(f),
            memoize(extra_system_state=lambda: 1)(f),
        ):
            try:
                each.adopt()
            except UsageError as error:
                print(error)
        """
    ) == [
        "1",
        *["__main__:f is made of f, and may return something else: " + NONE] * 2,
        "builtins:len is no function of Python's: " + NONE,
        "__main__:f has results that hold for a time, ttl=: " + NONE,
        *["__main__:f depends on extra_function_state= or extra_system_state=: " + NONE] * 2,
    ]


def test_files_of_recorded_calls_are_not_put_back(run: Run, tmp_path: Path) -> None:
    script = write_script(
        tmp_path,
        """
        import sys
        from pathlib import Path
        from snapshot.memo import FileContents, memoize
        from snapshot.replay import load_execution_data, reanimate_function, record

        file = FileContents("data.txt")
        def given(path): return len(open(path).read())
        def reads(x): return len(open(file).read())
        def returns(x): return file

        Path("data.txt").write_text(sys.argv[1])
        for each, value in ((given, file), (reads, 1), (returns, 1)):
            if sys.argv[1] == "then":
                record(each)(value)
            else:
                (why,) = memoize(each).adopt().left.values()
                print(why.partition(":")[0], Path("data.txt").read_text())
        if sys.argv[1] == "later":
            (loaded,), _ = load_execution_data(1)
            print(repr(loaded), reanimate_function(1), Path("data.txt").read_text())
        """,
    )
    run(script, "then")
    assert run(script, "later") == [
        *["it had a FileContents later"] * 3,
        "FileContents('data.txt') 5 later",
    ]


def test_a_run_that_is_recorded_too_stores_its_result_once(run: Run, tmp_path: Path) -> None:
    script = write_script(
        tmp_path,
        """
        import sys
        from snapshot.memo import memoize
        from snapshot.replay import record
        from snapshot.store import Store

        @memoize
        @record
        def made(n):
            return bytes(n)

        print(len(made(1_000_000)), made.misses)
        if sys.argv[1:]:
            with Store() as store:
                store.fold()
                (call,) = store.calls.find()
                objects = store.place.folder / "objects"
                (file,) = [each for each in objects.rglob("*") if each.is_file()]
                print(store.calls.load(call.result) == made(1_000_000))
                store.delete([call.id])
                print(file.exists(), len(made(1_000_000)))
                made.forget(1_000_000)
                print(file.exists())
        """,
    )
    assert run(script) == ["1000000 1"]
    assert run(script, "delete") == ["1000000 0", "True", "True 1000000", "False"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("memoize(property(f))", "memoize the function, and make a property of that"),
        ("memoize(memoize(f))", "is memoized already"),
        ("record(memoize(f))", "put @record below what was made of f"),
        ("memoize(int)", "is no function: memoize one"),
        ("memoize(3)", "3 is no function: memoize one"),
        ("memoize(g)", "is a generator function, which gives something that can be read once"),
        ("memoize(size='big')(f)", "size='big' is no size"),
        ("memoize(sise=3)(f)", "sise"),
        ("memoize(group=3)(f)", "group=3 is none: give a MemoizedGroup"),
        ("memoize(ttl=0)(f)", "ttl=0 is no time"),
        ("memoize(ttl='60')(f)", "ttl='60' is no time"),
        ("memoize(ttl=1, stale=-1)(f)", "stale=-1 is no time"),
        ("memoize(stale=60)(f)", "stale=60 is the time after ttl=: give that, too"),
        ("memoize(keep_if=3)(f)", "keep_if=3 cannot be called"),
        ("memoize(ignore=3)(f)", "ignore=3: give the names of parameters"),
        ("memoize(ignore=iter('y'))(f)", "ignore=['y']: 'y' is no parameter of f"),
        ("memoize(keep_exceptions=[OSError])(f)", "give a class of exceptions, or a tuple of them"),
        ("memoize(extra_function_state=3)(f)", "extra_function_state=3 cannot be called"),
        ("memoize(extra_system_state=3)(f)", "extra_system_state=3 is none: give a function"),
        ("memoize(obj_store='folder')(f)", "obj_store='folder' is none: give an ObjStore"),
        ("memoize(lock='lock')(f)", "lock='lock' is none: give a context manager"),
        ("memoize(pickler=3)(f)", "pickler=3 is none: give something with `dumps` and `loads`"),
        ("memoize(temporary=True, store='s.db')(f)", "with temporary=True there is another one"),
        ("memoize(name='\\ud800')(f)", "name='\\ud800' is none: give a text"),
        ("MemoizedGroup(3)", "name=3 is none: give a text"),
        (
            "memoize(extra_function_state=lambda: (x for x in 'a'))(f)(1)",
            "at extra_function_state() from",
        ),
        ("memoize(group=MemoizedGroup(), size=3)(f)", "these are options of a group"),
        ("memoize(replacement_policy='best')(f)", "replacement_policy='best' is none"),
        ("memoize(f).peek(1)", "there is no result of __main__:f for these arguments: call it"),
        ("memoize(f).peek()", "cannot be called like that: it takes x"),
        ("explain(f, 1)", "is not memoized: put @memoize above it"),
    ],
)
def test_what_means_nothing_is_said(
    python: Callable[..., Result], source: str, message: str
) -> None:
    result = python(
        f"""
        from snapshot.errors import SnapshotError
        from snapshot.memo import MemoizedGroup, explain, memoize
        from snapshot.replay import record

        def f(x): pass
        def g(): yield

        try:
            {source}
        except SnapshotError as error:
            print(error)
        """
    )
    assert message in result.stdout, result
    assert result.stderr == ""
