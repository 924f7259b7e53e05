"""Recording by name: the same is stored as under `record`, and everything else is let alone."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from snapshot.errors import UsageError
from snapshot.replay import recording
from snapshot.replay.executions import opened
from snapshot.store import Store
from snapshot.store.calls import Call
from snapshot.store.events import Outcome
from tests.processes import Result

Run = Callable[..., Result]

HAS_MONITORING = sys.version_info >= (3, 12)


@pytest.fixture
def where(tmp_path: Path) -> Path:
    """A store that is not there yet, with nothing else in its folder."""
    return tmp_path / "stored" / "store.db"


@pytest.fixture
def run(python: Run, where: Path) -> Run:
    """Run a program that records there, to its good end, without a word on standard error."""

    def ran(source: str | Path, *args: str | Path, **options: Any) -> Result:
        env = {"SNAPSHOT_STORE": str(where), **options.pop("env", {})}
        result = python(source, *args, env=env, **options)
        assert (result.code, result.stderr) == (0, ""), result
        return result

    return ran


@contextlib.contextmanager
def recorded(where: Path) -> Iterator[tuple[Store, list[Call]]]:
    """The store and its calls, in the order in which they were made."""
    with opened(where) as store:
        yield store, sorted(store.calls.find(), key=lambda each: each.id)


def name(call: Call) -> str:
    return call.function.key.partition(":")[2]


def told(where: Path) -> list[tuple[Any, ...]]:
    """All that is stored of the calls but their times."""
    with recorded(where) as (store, calls):
        by_id = {each.id: index for index, each in enumerate(calls)}

        def shown(value: Any) -> str | None:
            return None if value is None else store.calls.show(value).text

        return [
            (
                each.function.key,
                each.outcome.name,
                shown(each.arguments),
                re.sub(DRIVEN, seen, shown(each.result) or ""),
                shown(each.after),
                shown(each.surroundings),
                None if each.parent is None else by_id[each.parent],
                each.thread,
                each.failure and (each.failure.type, each.failure.text),
                each.failure and re.sub(WRAPPER, "", each.failure.traceback),
                each.function.digest,
                {key: each.function.facts[key] for key in FACTS},
            )
            for each in calls
        ]


DRIVEN = r"driven\((\[.*\]), \{'sent': (\{.*\}), 'returned': (.*), 'raised': (.*)\}\)"


def seen(driven: re.Match[str]) -> str:
    """What events tell of a generator: not what is sent, and on 3.11 not what is thrown."""
    values, sent, returned, raised = driven.groups()
    if HAS_MONITORING and "'send'" not in sent:
        return driven[0]
    if raised != "None":
        return raised
    return values if returned == "None" else f"{values} and {returned}"


WRAPPER = r'  File ".*/snapshot/replay/decorator.py", .*\n(    .*\n)*'
FACTS = ("kind", "source", "file", "line", "parameters", "code")


def brief(where: Path) -> list[tuple[str, str, object]]:
    """Name, outcome and result of each call."""
    with recorded(where) as (store, calls):
        return [
            (name(each), each.outcome.name, each.result and store.calls.load(each.result))
            for each in calls
        ]


def names(where: Path) -> list[str]:
    with recorded(where) as (_, calls):
        return [name(each) for each in calls]


# The same functions, under `record` and by their names. What is passed is bound as it is given.

FORMS = """
import asyncio, contextlib, os, threading, types
from snapshot.replay import record

def as_it_is(fn):
    return fn

mark = record if os.environ["HOW"] == "record" else as_it_is
LIMIT = [3]

@mark
def plain(a, b, /, c, *more, d, **others):
    def inner():
        return a
    others["added"] = 1
    return a, b, c, more, d, inner()

@mark
def mutates(items):
    items.append(LIMIT[0])
    return items

@mark
def factorial(n):
    return n * factorial(n - 1) if n else 1

class Thing:
    def __init__(self, size):
        self.size = size

    @mark
    def grow(self, by):
        self.size += by
        return self.twice

    @property
    @mark
    def twice(self):
        return self.of(self.size) + self.made(1)

    @staticmethod
    @mark
    def of(size):
        return 2 * size

    @classmethod
    @mark
    def made(cls, size):
        return size

    def __repr__(self):
        return f"Thing({self.size})"

class Special(Thing):
    @mark
    def grow(self, by):
        return super().grow(by + 1)

def make(start):
    step = 2
    @mark
    def counted(n):
        return start + step + (counted(n - 1) if n else 0)
    return counted

double = mark(lambda x: 2 * x)

@mark
def raises(kind):
    raise kind("no")

@mark
def passes(kind):
    try:
        raises(kind)
    finally:
        try:
            raises(KeyError)
        except KeyError: pass

@mark
def again(kind):
    with contextlib.suppress(OSError):
        try:
            raises(kind)
        except kind as error:
            factorial(0)
            raise

@mark
def replaces(kind):
    try:
        raises(kind)
    except kind as error:
        raise RuntimeError("instead") from error

@mark
def generator(n):
    for i in range(n):
        got = yield i
        factorial(i % 2)
    return "end"

@mark
def growing(n):
    items = []
    for i in range(n):
        items.append(i)
        yield items

@mark
def patient(n):
    while True:
        try:
            yield
        except ValueError:
            factorial(0)

@mark
def careful(n):
    with contextlib.nullcontext():
        yield n
        yield

@mark
def handling(n):
    try:
        raise KeyError(n)
    except KeyError:
        yield
        yield 2
        raise

@mark
def refuses(n):
    try:
        yield n
    except GeneratorExit:
        pass

@mark
def delegates(n):
    got = yield from generator(n)
    yield got

@mark
async def coroutine(n):
    await asyncio.sleep(0)
    if n:
        return await coroutine(n - 1) + 1
    return factorial(1)

@mark
async def fails(n):
    await asyncio.sleep(0)
    raise ValueError(n)

@mark
async def numbers(n):
    for i in range(n):
        await asyncio.sleep(0)
        yield await coroutine(0)

@mark
async def stops(n):
    yield n
    await fails(n)

def said(call, *args, **kwargs):
    try:
        print(call(*args, **kwargs))
    except Exception as error:
        print(repr(error), repr(error.__context__), error.__traceback__ is not None)

def drive(fn, *steps):
    iterator = fn(3)
    for step in (next, *steps):
        try:
            print(fn.__name__, step(iterator))
        except BaseException as error:
            print(fn.__name__, repr(error))
    return iterator

def throw(error):
    return lambda iterator: iterator.throw(error)

def close(iterator):
    iterator.close()

async def loop():
    print(await coroutine(2))
    print(await asyncio.gather(coroutine(1), fails(1), coroutine(0), return_exceptions=True))
    print([each async for each in numbers(2)])
    iterator = numbers(3)
    print(await anext(iterator))
    await iterator.aclose()
    try:
        print([each async for each in stops(1)])
    except ValueError as error:
        print(repr(error))

def main():
    said(plain, 1, [2], 3, 4, 5, d=6, e=7)
    said(mutates, [1])
    said(factorial, 3)
    said(Thing(1).grow, 2)
    said(Special(1).grow, 2)
    said(make(5), 2)
    said(double, 4)
    for each in (raises, passes, again, replaces):
        said(each, ValueError)
    said(again, OSError)
    said(getattr, types.SimpleNamespace(), "x", 0)
    said(list, map(raises, [ValueError]))
    said(sorted, [1, 2], key=factorial)
    drive(generator)
    drive(generator, next, next, next)
    said(list, growing(3))
    drive(generator, lambda each: each.send(5), close)
    drive(generator, throw(ValueError("thrown")))
    drive(generator, throw(GeneratorExit()))
    drive(patient, throw(ValueError()), next, throw(ValueError()), close)
    drive(patient, throw(KeyError()))
    drive(careful, close)
    drive(careful, next, close)
    drive(careful, next, throw(ValueError()))
    drive(careful, next, next)
    drive(handling, next, next)
    drive(handling, close)
    drive(refuses, close)
    drive(delegates, next, close)
    drive(delegates, throw(ValueError("through")))
    drive(delegates, next, next, next, next)
    generator(1).close()
    asyncio.run(loop())
    thread = threading.Thread(target=said, args=(factorial, 2), name="other")
    thread.start()
    thread.join()
"""

USE = """
import os
from snapshot.replay import lost, recording
import forms

if os.environ["HOW"] == "recording":
    left_out = ["forms.main*", "forms.said", "forms.drive", "forms.loop", "forms.make"]
    left_out += ["forms.throw*", "forms.close", "forms.as_it_is", "*.__*__", "*.inner"]
    with recording("forms.*", exclude=left_out):
        forms.main()
else:
    forms.main()
assert lost() == 0
"""


def test_what_is_stored_is_what_record_stores(run: Run, tmp_path: Path) -> None:
    (tmp_path / "forms.py").write_text(FORMS)
    stored, printed = {}, {}
    for how in ("nothing", "record", "recording"):
        place = tmp_path / how / "store.db"
        printed[how] = run(USE, env={"HOW": how, "SNAPSHOT_STORE": str(place)}).stdout
        if how != "nothing":
            stored[how] = told(place)
    assert printed["nothing"] == printed["record"] == printed["recording"]
    assert len(stored["record"]) > 80
    for ours, theirs in zip(stored["recording"], stored["record"], strict=False):
        assert ours == theirs


# Which functions.

PACKAGE = {
    "shop/__init__.py": "def f():\n    return [g() for g in (lambda: 1,)]\n",
    "shop/cart.py": "class Cart:\n    def add(self):\n        return self.count()\n"
    "    def count(self):\n        return 1\n"
    "def f():\n    def g():\n        return 2\n    return g()\n",
    "shop/sub/__init__.py": "",
    "shop/sub/deep.py": "def f():\n    return sum(x for x in [1])\n",
    "shopping.py": "def f():\n    return 3\n",
}

CALL_ALL = """
import json, sys
from snapshot.replay import recording

include, exclude = json.loads(sys.argv[1])
with recording(include, exclude=exclude):
    import shop, shop.cart, shop.sub.deep, shopping
    shop.f()
    shop.cart.Cart().add()
    shop.cart.f()
    shop.sub.deep.f()
    shopping.f()
shop.f()
"""

ALL = ["shop:f", "shop:f.<locals>.<lambda>", "shop.cart:Cart.add", "shop.cart:Cart.count"]
ALL += ["shop.cart:f", "shop.cart:f.<locals>.g", "shop.sub.deep:f"]


@pytest.mark.parametrize(
    ("include", "exclude", "wanted"),
    [
        ("shop", (), ALL),
        ("shop.*", (), ALL),
        ("shop*", "shop.*", ["shopping:f"]),
        ("shop.cart", (), ALL[2:6]),
        ("shop.cart:Cart.*", (), ALL[2:4]),
        ("shop.cart.Cart.add", (), ALL[2:3]),
        ("*:f", (), ["shop:f", "shop.cart:f", "shop.sub.deep:f", "shopping:f"]),
        (["shop.sub", "shopping"], (), ["shop.sub.deep:f", "shopping:f"]),
        ("shop", ["shop.cart", "*lambda*"], ["shop:f", "shop.sub.deep:f"]),
        ("snapshot", (), []),
    ],
)
def test_names(
    run: Run, where: Path, tmp_path: Path, include: Any, exclude: Any, wanted: list[str]
) -> None:
    for path, text in PACKAGE.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    where.parent.mkdir()
    Store(where, create=True).close()
    run(CALL_ALL, json.dumps([include, exclude]))
    with recorded(where) as (_, calls):
        assert [each.function.key for each in calls] == wanted


def test_arguments_that_mean_nothing() -> None:
    for include in ("", [], [""], [1]):
        with pytest.raises(UsageError, match="include="):
            recording(include)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="exclude="):
        recording("x", exclude=[""])
    with pytest.raises(UsageError, match="sample=2"):
        recording("x", sample=2)


def test_arguments_are_stored_as_they_were_bound(run: Run, where: Path) -> None:
    run("""
        from snapshot.replay import recording

        def f(a, /, b=2, *more, c=3, **others):
            a = b = more = c = others = [lambda: (a, b)]

        with recording("__main__:f"):
            f(1)
            f(1, c=5, b=4, d=6)
            f(1, 2, 3)
    """)
    with recorded(where) as (store, calls):
        assert [store.calls.load(each.arguments) for each in calls if each.arguments] == [
            ((1, 2), {"c": 3}),
            ((1, 4), {"c": 5, "d": 6}),
            ((1, 2, 3), {"c": 3}),
        ]
        assert not any(each.after for each in calls)


def test_what_is_redacted_is_nowhere(run: Run, where: Path) -> None:
    run("""
        from snapshot.replay import recording

        def make():
            def login(name, password="hunter2"):
                return name + password
            return login

        with recording("__main__:make.*", redact=["password"]):
            make()("me")
    """)
    with recorded(where) as (store, calls):
        (call,) = calls
        assert call.function.facts["source"] is None
        assert call.arguments
        assert call.result
        texts = [store.calls.show(each).text for each in (call.arguments, call.result)]
    assert "<redacted>" in texts[0]
    assert not any("hunter2" in each for each in texts)
    for path in where.parent.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes()


# When.


def test_it_begins_and_ends_in_the_middle(run: Run, where: Path) -> None:
    run("""
        from snapshot.replay import record, recording

        recorder = recording("__main__")

        def outer(n):
            recorder.start()
            middle(n)
            after()

        def middle(n):
            inner(n)
            recorder.stop()
            after()

        def inner(n):
            return n

        @record
        def after():
            return before and next(before)

        def steps():
            while True:
                yield 1

        before = steps()
        next(before)
        outer(1)
        before = None
        recorder.stop()
        with recorder:
            inner(2)
            after()
    """)
    with recorded(where) as (_, calls):
        ids = {each.id: name(each) for each in calls}
        assert [
            (name(each), each.outcome.name, each.parent and ids[each.parent]) for each in calls
        ] == [
            ("middle", "running", None),
            ("inner", "returned", "middle"),
            ("after", "returned", None),
            ("after", "returned", None),
            ("inner", "returned", None),
            ("after", "returned", None),
        ]


def test_it_is_entered_once_at_a_time(run: Run) -> None:
    run("""
        from snapshot.replay import recording
        from snapshot.errors import UsageError

        with recording("x") as one:
            try:
                one.start()
            except UsageError as error:
                print(error)
    """)


def test_generators_that_are_dropped_are_closed(run: Run, where: Path) -> None:
    run("""
        from snapshot.replay import recording

        def numbers(n):
            yield from range(n)

        def simple(n):
            yield n
            yield n

        with recording("__main__"):
            for each in numbers(3):
                break
            for each in simple(3):
                break
            for each in simple(4):
                pass
            kept = simple(5)
            next(kept)
            never = simple(6)
        kept.close()
    """)
    assert brief(where) == [
        ("numbers", "closed", [0]),
        ("simple", "closed", [3]),
        ("simple", "yielded", [4, 4]),
        ("simple", "running", None),
    ]


def test_threads(run: Run, where: Path) -> None:
    run("""
        import threading
        from snapshot.replay import lost, recording

        def fib(n):
            return fib(n - 1) + fib(n - 2) if n > 1 else n

        def work(i):
            barrier.wait()
            assert fib(i) == [0, 1, 1, 2, 3, 5][i]

        barrier = threading.Barrier(6)
        with recording("__main__:fib"):
            threads = [threading.Thread(target=work, args=(i,), name=f"t{i}") for i in range(6)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            hold = threading.Event()
            late = threading.Thread(target=lambda: (hold.wait(), fib(3)))
            late.start()
        hold.set()
        late.join()
        assert not lost()
    """)
    with recorded(where) as (store, calls):
        assert len(calls) == sum([1, 1, 3, 5, 9, 15])
        assert all(each.outcome is Outcome.returned for each in calls)
        by_id = {each.id: each for each in calls}
        for each in calls:
            assert each.arguments
            (n,), _ = store.calls.load(each.arguments)
            if each.parent is None:
                assert each.thread == f"t{n}"
            else:
                parent = by_id[each.parent]
                assert parent.thread == each.thread
                assert parent.arguments
                assert store.calls.load(parent.arguments)[0][0] - n in (1, 2)


def test_a_fork_goes_on_recording(run: Run, where: Path) -> None:
    run("""
        import os
        from snapshot.replay import recording

        def f(n):
            return n

        with recording("__main__"):
            f(1)
            if not os.fork():
                f(2)
                os._exit(0)
            os.wait()
            f(3)
    """)
    with recorded(where) as (_, calls):
        assert len({each.process.writer for each in calls}) == 2
        assert len(calls) == 3


# What it lets alone.


def test_what_is_recorded_already_is_not_recorded_twice(run: Run, where: Path) -> None:
    run("""
        import asyncio
        from snapshot.replay import record, recording

        @record
        def f(n):
            return g(n)

        def g(n):
            return n

        @record
        def numbers():
            yield 1

        @record
        async def coroutine():
            return 2

        @record
        async def more():
            yield 3

        async def loop():
            await coroutine()
            return [each async for each in more()]

        with recording("__main__", exclude="__main__:loop"):
            f(1)
            list(numbers())
            asyncio.run(loop())
    """)
    assert names(where) == ["f", "g", "numbers", "coroutine", "more"]


def test_code_that_runs_because_a_call_is_recorded_is_not_recorded(run: Run, where: Path) -> None:
    result = run("""
        import warnings
        from snapshot.replay import lost, recording, record

        class Odd:
            def __reduce__(self):
                return make, (helper(),)

        def helper():
            return 1

        def make(n):
            return Odd()

        def f(odd):
            return odd

        @record
        def g(odd):
            return odd

        def wanted(odd):
            return helper()

        def broken(odd):
            raise ValueError

        with recording("__main__", when=wanted):
            f(Odd())
            g(Odd())
        with recording("__main__:f", when=broken), warnings.catch_warnings(record=True) as told:
            print(f(2), lost(), len(told))
    """)
    assert names(where) == ["f", "g"]
    assert result.stdout == "2 1 1\n"


def test_arguments_do_not_outlive_their_call(run: Run, where: Path) -> None:
    run("""
        import gc, weakref
        from snapshot.replay import recording

        class Thing:
            pass

        def f(thing):
            return 1

        def raises(thing):
            try:
                raise KeyError(thing)
            except KeyError:
                pass
            raise ValueError

        def numbers(thing):
            yield 1
            yield 2

        def dropped(thing):
            for each in numbers(thing):
                break

        def caught(thing):
            try:
                raises(thing)
            except ValueError:
                pass

        def nested(thing):
            def inner():
                return thing
            inner()

        gc.disable()
        with recording("__main__"):
            for each in (f, caught, dropped, nested, lambda thing: list(numbers(thing))):
                thing = Thing()
                seen = weakref.ref(thing)
                each(thing)
                del thing
                assert seen() is None, each
    """)
    assert len(names(where)) == 9


def test_code_that_is_made_at_run_time(run: Run, where: Path) -> None:
    run("""
        from dataclasses import dataclass
        from snapshot.replay import recording

        with recording("made"):
            for n in range(3):
                space = {"__name__": "made"}
                exec(f"def f(a=1): return a + {n}", space)
                space["f"]()
    """)
    assert brief(where) == [("f", "returned", 1), ("f", "returned", 2), ("f", "returned", 3)]


def test_profilers_and_other_tools(run: Run, where: Path) -> None:
    result = run("""
        import cProfile, pstats, sys, io
        from snapshot.errors import UsageError
        from snapshot.replay import recording

        def f(n):
            return f(n - 1) if n else 0

        profile = cProfile.Profile()
        profile.enable()
        with recording("__main__"):
            f(3)
            profile.disable()
            f(1)
            profile.enable()
            f(0)
        f(2)
        profile.disable()
        print(next(total for (_, _, name), (_, total, *_) in
            pstats.Stats(profile).stats.items() if name == "f"))

        if sys.version_info >= (3, 12):
            tools = sys.monitoring
            lines = []
            tools.use_tool_id(1, "coverage")
            tools.register_callback(1, tools.events.LINE, lambda *each: lines.append(each))
            tools.set_events(1, tools.events.LINE)
            with recording("__main__"):
                f(0)
            print(lines.count((f.__code__, f.__code__.co_firstlineno + 1)))
            tools.set_events(1, 0)
            for each in (3, 4, 5):
                assert tools.get_tool(each) is None
                tools.use_tool_id(each, f"tool {each}")
            try:
                recording("__main__").start()
            except UsageError as error:
                print(error)
    """)
    assert len(names(where)) == 4 + 2 + 1 + HAS_MONITORING
    lines = result.stdout.splitlines()
    assert lines[0] == "8"
    if HAS_MONITORING:
        assert lines[1] == "1"
        assert "3 by tool 3, 4 by tool 4, 5 by tool 5" in lines[2]


def test_a_trace_function_is_called_along(run: Run, where: Path) -> None:
    result = run("""
        import sys, threading
        from snapshot.replay import recording

        def f(n):
            try:
                raise KeyError
            except KeyError:
                return n

        def trace(frame, event, arg):
            if frame.f_code is f.__code__:
                seen.append((event, frame.f_lineno - f.__code__.co_firstlineno))
                return trace

        runs = []
        for with_it in (False, True):
            seen = []
            runs.append(seen)
            sys.settrace(trace)
            if with_it:
                with recording("__main__:f"):
                    f(1)
            else:
                f(1)
            assert sys.gettrace() is trace
            sys.settrace(None)
        assert runs[0] == runs[1], runs
        print(len(seen))
        with recording("__main__:f"):
            pass
        assert sys.gettrace() is sys.getprofile() is threading.gettrace() is None
    """)
    assert brief(where) == [("f", "returned", 1)]
    assert int(result.stdout) > 4


def test_a_debugger_stops_at_the_lines_of_what_is_recorded(run: Run, where: Path) -> None:
    result = run(
        """
        from snapshot.replay import recording

        def f(n):
            breakpoint()
            n += 1
            n += 1
            return n

        with recording("__main__:f"):
            f(1)
        """,
        stdin="n\nn\np 'n is', n\nc\n",
    )
    assert "'n is', 3" in result.stdout or "('n is', 3)" in result.stdout
    assert names(where) == ["f"]


DEEP = """
import signal
import sys
import time

from snapshot.replay import recording

class Late(Exception): pass
def late(*_): raise Late
signal.signal(signal.SIGALRM, late)

sys.setrecursionlimit(300)
def deeper(n): return deeper(n + 1)
def after(n): return n

with recording("__main__"):
    try:
        deeper(0)
    except RecursionError:
        pass
    after(0)
    for n in range(1, 41):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0005 + n / 1e6)
            while True:
                after(None)
        except Late:
            pass
        after(n)
"""


def test_it_goes_on_when_something_was_raised_in_it(python: Run, where: Path) -> None:
    """Python takes a trace function away that raises, or for which the stack is too deep."""
    result = python(DEEP, env={"SNAPSHOT_STORE": str(where)})
    assert result.code == 0, result
    with recorded(where) as (store, calls):
        after = [each for each in calls if name(each) == "after"]
        ended = [each.result for each in after if each.outcome is Outcome.returned and each.result]
        ends = [store.calls.load(each) for each in ended]
    assert [each for each in ends if each is not None] == [*range(41)]
