"""`snapshot debug` on a real terminal: programs, commands, and what is shown."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.debugging import Debugging
from tests.processes import Program
from tests.terminal import Terminal

Start = Callable[..., Debugging]


@pytest.fixture
def debug(open_terminal: Callable[..., Terminal]) -> Start:
    """Starts the debugger on a source, with options."""

    def started(source: str, options: str = "") -> Debugging:
        return Debugging(open_terminal(rows=40, columns=160), source, options)

    return started


WORK = """
import random

def work(n):
    total = 0
    for i in range(n):
        total += i
    return total

x = work(3)
y = work(2)
print("sum", x + y)
"""


def test_steps_forwards_and_back(debug: Start) -> None:
    it = debug(WORK)
    assert (it.position, it.line) == (2, 1)
    assert it.lines("n", "n", "s") == [3, 9, 3]
    assert it.shown.startswith("--Call--")
    assert it.lines("s", "n", "n", "rn", "rn", "rn") == [4, 5, 6, 5, 4, 9]
    it.stands(4, 9)
    assert it.lines("n", "rs") == [10, 7]
    assert it.shown.startswith("--Return--")
    assert it.lines("rs", "rs") == [7, 5]
    assert it.lines("rr") == [9]
    assert it.lines("s", "s", "unt 7", "r") == [3, 4, 7, 7]
    assert "--Return--" in it.shown
    assert it.lines("rn", "rr") == [7, 9]
    assert it.quit() == 0


def test_the_first_prompt_is_the_beginning_and_the_tip_the_end(debug: Start) -> None:
    it = debug(WORK)
    for command in ("rs", "rn", "rc", "back", "goto 1"):
        assert it.say(command).startswith("*** "), command
        assert len(it.shown.splitlines()) == 1
        assert it.position == 2
    assert it.say("goto 99") == "*** position 99 is beyond the end: it is known up to 2"
    assert it.say("forward") == "*** there are no stops after this one"
    assert it.say("rr") == "*** nothing of the program's own has called this"
    assert "sum 4" in it.say("c")
    end = it.position
    assert it.say(f"goto {end + 1}").startswith("*** position")
    assert it.say("forward") == "*** there are no stops after this one"
    assert it.lines("rn", "rs", "rc") == [11, 7, 1]
    assert "this is the beginning" in it.shown
    it.say("c")
    assert it.position == end
    assert it.quit() == 0


AHEAD = """
def work(count):
    total = 0
    for n in range(count):
        total += n
    return total

print("found", work(30_000))
"""


def test_a_long_way_back_leaves_a_state_from_which_all_goes_on(debug: Start) -> None:
    it = debug(AHEAD)
    it.say("b 5", "c")
    end = it.position
    assert it.lines("rn", "rn") == [3, 4]
    assert it.say("p n") == "29999"
    assert it.lines("rs", "rn") == [3, 4]
    assert it.say("p n") == "29998"
    it.say(f"goto {end - 30_000}")
    assert it.position == end - 30_000
    it.say("rn")
    assert it.position == end - 30_001
    found = sum(range(30_000)) - int(it.say("p total"))
    it.say("total = 0", "c")
    assert it.say("c").startswith(f"found {found}\n")
    assert it.lines("rn", "rn") == [7, 1]
    assert it.quit() == 0


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("goto", "*** no moment is named ''"),
        ("goto nowhere", "*** no moment is named 'nowhere'"),
        ("goto -3", "*** no moment is named '-3'"),
        ("goto 1.5", "*** no moment is named '1.5'"),
        ("goto 0", "*** position 0 is before the beginning, which is 2"),
        ("back nine", "*** 'nine' is no number of stops"),
        ("back 0", "*** '0' is no number of stops"),
        ("forward -1", "*** '-1' is no number of stops"),
        ("back 9", "*** there are 2 stops before this one"),
        ("last", "*** '' is no expression"),
        ("last x +", "*** 'x +' is no expression"),
        ("last nothing", "*** nothing: NameError: name 'nothing' is not defined"),
        ("last 1/0", "*** 1/0: ZeroDivisionError: division by zero"),
        ("watch 1/0", "*** 1/0: ZeroDivisionError: division by zero"),
        ("watch )", "*** ')' is no expression"),
        ("unwatch x", "*** 'x' is not watched"),
        ("try x =", "*** 'x =' is no statement"),
        ("try", "*** '' is no statement"),
        ("branch 7", "*** branch '7': there is 1"),
        ("branch x", "*** branch 'x': there is 1"),
        ("revert", "*** no moment before this one was named by `snap`"),
        ("revert nowhere", "*** no moment is named 'nowhere'"),
        ("keep", "*** nothing was changed: this is the program"),
        ("debug work(1)", "*** there is one debugger at a time"),
        ("1/0", "*** ZeroDivisionError: division by zero"),
        ("p nothing", "*** NameError: name 'nothing' is not defined"),
    ],
)
def test_what_cannot_be_is_one_sentence(debug: Start, command: str, told: str) -> None:
    it = debug(WORK, "--command n --command n")
    assert it.say(command).startswith(told)
    assert len(it.shown.splitlines()) == 1
    it.stands(4, 9)


def test_breakpoints_and_what_is_told_survive_every_jump(debug: Start) -> None:
    it = debug(WORK)
    it.say("b 6, i == 1", "b work", "ignore 2 1", "alias pt p 'total', total", "n", "n", "n")
    assert (it.position, it.line) == (10, 6)
    it.say("display total")
    assert it.lines("c") == [4]
    info = it.say("b")
    assert "stop only if i == 1" in info
    assert "breakpoint already hit 2 times" in info  # `work` twice, one of them ignored
    assert it.lines("rc", "rc") == [6, 4]
    assert it.lines("c", "n") == [6, 5]
    assert "display total: 1  [old: 0]" in it.shown
    assert it.say("pt") == "('total', 1)"
    assert it.lines("back 3", "c", "c") == [9, 4, 6]
    assert it.say("pt") == "('total', 0)"
    assert "stop only if i == 1" in it.say("b")
    it.say("clear 1", "goto 2")
    assert "i == 1" not in it.say("b")
    assert it.say("alias") == "pt = p 'total', total"
    assert it.quit() == 0


def test_a_temporary_breakpoint_and_commands(debug: Start) -> None:
    it = debug(WORK)
    it.say("tbreak 6")
    it.terminal.line("commands 1")
    it.terminal.wait_for("(com) ", since=it.terminal.typed_at)
    it.terminal.line("p 'at', i")
    it.terminal.wait_for("(com) ", since=it.terminal.typed_at)
    it.say("end")
    assert "('at', 0)" in it.say("c")
    assert "Deleted" in it.shown
    assert it.line == 6
    assert it.lines("rr") == [9]
    assert "The program has ended" in it.say("c", "c")
    assert it.quit() == 0


def test_a_breakpoint_that_would_never_be_hit_is_refused(debug: Start) -> None:
    it = debug("import textwrap\ntextwrap.dedent('x')\nlast = 1\n")
    assert "not watched: start with --libraries" in it.say("n", "b textwrap.dedent")
    assert "textwrap.py" not in it.say("b")
    assert it.quit() == 0


def test_one_and_another(debug: Start) -> None:
    it = debug(WORK)
    assert "'here'" in it.say("n ;; n ;; p 'here'").splitlines()
    assert it.position == 4
    assert "3" in it.say("rn ;; n ;; s ;; p n").splitlines()
    assert it.lines("b 6 ;; c ;; rn ;; rn ;; n") == [5]
    assert it.lines("") == [6]  # `n` once more
    assert it.quit() == 0


def test_ctrl_d_quits(debug: Start) -> None:
    it = debug(WORK)
    it.say("n", "rs")
    it.terminal.type("\x04")
    it.terminal.prompt()
    assert it.terminal.run("echo $?") == "0"
    it.terminal.vacated()


def test_what_has_changed_last(debug: Start) -> None:
    it = debug(WORK, "--command 'b 11' --command c")
    assert it.line == 11
    assert it.lines("last x + y") == [10]
    assert "x + y: (not there) → 4" in it.shown
    it.stands(it.position, 10)
    assert it.lines("rwatch x") == [9]
    assert "x: (not there) → 3" in it.shown
    assert it.lines("last work") == [3]
    assert it.quit() == 0


def test_watching(debug: Start) -> None:
    it = debug(WORK, "--command 'b work' --command c")
    assert it.say("n", "watch total") == "total: 0"
    assert "total: 0 → 1" in it.say("c")
    assert "total: 1 → 3" in it.say("c")
    assert it.say("watch") == "total: 3"
    it.say("goto 2")
    assert "total" in it.say("watch")
    it.say("unwatch total")
    assert it.say("watch") == ""
    assert it.quit() == 0


def test_names_and_the_drawing_of_the_past(debug: Start) -> None:
    it = debug(WORK)
    it.say("n", "snap early", "n", "snap")
    assert it.shown == "position 4 is '4'"
    assert it.say("snaps").splitlines() == [
        "position  name   place",
        "2                p.py:1 <module>",
        "3         early  p.py:3 <module>",
        "4         4      p.py:9 <module>  end of branch 1, <- here",
    ]
    assert it.lines("n", "goto early", "goto 4", "revert", "forward", "forward") == [
        *(10, 3, 9, 3, 9, 10)
    ]
    assert it.lines("revert", "revert", "back") == [9, 3, 1]
    assert it.quit() == 0


def test_a_changed_past_is_a_branch(debug: Start) -> None:
    it = debug(WORK)
    it.say("b 11", "c")
    assert it.say("p x") == "3"
    end = it.position
    it.say("rn", "!x = 100")
    assert "branch 2 begins at" in it.say("c")
    assert (it.position, it.line) == (end, 11)
    assert it.say("p x + y") == "101"
    assert it.say("branch").splitlines()[2].split()[:2] == ["2", "at"]
    it.say("branch 1")
    assert (it.position, it.say("p x + y")) == (end, "4")
    it.say("branch 2")
    assert it.say("keep") == "branch 2 is the program now"
    assert it.say("p x") == "100"
    assert it.lines("rn") == [10]
    it.say("branch 2")
    assert "sum 101" in it.say("c")
    assert it.terminal.transcript().count("sum ") == 1
    assert it.quit() == 0


def test_a_change_where_the_program_stands_is_a_branch_too(debug: Start) -> None:
    it = debug(WORK)
    it.say("n", "n", "n", "snap before", "!x = 50", "n")
    assert it.say("p x + y") == "51"
    it.say("branch 1")
    assert it.say("p x") == "3"
    it.stands(it.position, 10)
    it.say("n")
    assert it.say("p x + y") == "4"
    it.say("branch 2", "revert before")
    assert it.say("p x") == "3"
    assert it.quit() == 0


def test_a_jump_is_a_branch(debug: Start) -> None:
    it = debug(WORK)
    it.say("n", "n", "n")
    assert it.lines("jump 9", "n") == [9, 10]
    assert "branch 2 begins at" in it.shown
    assert it.lines("rs", "rs", "rn", "rr", "rn", "rn") == [7, 7, 5, 9, 9, 3]
    assert it.quit() == 0


TOTAL = """
import sys
total = 0
def work(n):
    global total
    total += n
    if n == 3:
        print("three", flush=True)
    return total
def outer(k):
    a = work(k)
    b = work(k + 1)
    return a + b
for i in range(6):
    x = outer(i)
print("end", total, x)
"""


def test_a_watch_compares_with_the_value_of_the_moment(debug: Start) -> None:
    it = debug(TOTAL)
    it.say("c", "goto 90")
    assert it.say("watch total") == "total: 25"
    it.say("goto 6")
    assert it.say("watch") == "total: 0"
    assert "total: 0 → 1" in it.say("c")
    assert (it.position, it.line) == (18, 6)
    it.say("goto 2")  # where there is none
    assert it.say("watch") == "total: (not there)"
    assert "total: (not there) → 0" in it.say("c")
    assert "total: 0 → 1" in it.say("c")
    it.say("goto 90", "s", "goto 97", "s", "back")  # to the tip, and away again
    assert it.say("watch") == f"total: {it.say('p total')}"
    assert it.quit() == 0


def test_a_watched_local_is_that_of_the_caller_within_a_call(debug: Start) -> None:
    it = debug(TOTAL, "--command 'b 11' --command c")
    assert it.say("watch a") == "a: 0"
    it.say("n")
    inside = it.position - 4
    it.say(f"goto {inside}")
    assert it.function == "work"
    assert it.say("watch") == "a: 0"
    assert it.quit() == 0


def test_a_tip_that_is_come_back_to_watches_its_own_values(debug: Start) -> None:
    it = debug(WORK, "--command 'b 11' --command 'b 6' --command c --command c --command c")
    assert it.say("watch total") == "total: 1"
    tip = it.position
    it.say("rn", "rc")
    assert it.say("watch") == "total: 0"
    it.say(f"goto {tip}")
    assert it.say("watch") == "total: 1"
    assert "total: 1 → 3" in it.say("c")
    assert it.quit() == 0


def test_a_display_shows_what_differs_from_what_was_shown_last(debug: Start) -> None:
    it = debug(TOTAL, "--command 'b 14' --command c --command c")
    assert it.say("display x") == "display x: 1"
    assert "display x: 6  [old: 1]" in it.say("c")
    assert "display x: 1  [old: 6]" in it.say("rc")
    assert "display x: 6  [old: 1]" in it.say("c")
    assert "display x: 1  [old: 6]" in it.say("back")
    assert "display x: 6  [old: 1]" in it.say("forward")
    assert it.say("display x") == "display x: 6"
    it.say("back", "undisplay x", "forward")
    assert "display x" not in it.shown
    assert "x:" not in it.say("display")
    assert it.quit() == 0


LETS_GO = """
class Thing:
    def __del__(self):
        log.append("gone")

def one():
    return 1

def use():
    thing = Thing()
    a = one()
    return a

log = []
use()
b = 3
"""


def test_a_step_that_has_ended_holds_no_frame_in_a_repeat(debug: Start) -> None:
    it = debug(LETS_GO)
    it.say("b 6", "c")
    assert it.lines("r") == [6]
    it.say("b 15")
    assert it.lines("c", "rs", "rs") == [15, 3, 3]
    assert it.quit() == 0


def test_what_is_displayed_holds_no_frame(debug: Start) -> None:
    it = debug(LETS_GO)
    it.say("b 10", "c", "display thing is None", "b 15", "c")
    assert it.say("p log") == "['gone']"
    assert it.lines("rs", "back") == [3, 10]
    assert it.say("display").endswith("thing is None: False")
    assert it.quit() == 0


def test_what_is_displayed_may_be_anything(debug: Start) -> None:
    it = debug(
        """
        class Odd:
            def __repr__(self): raise RuntimeError("no repr")
            def __eq__(self, other): raise RuntimeError("no eq")
        class Array(list):
            def __eq__(self, other): return Array([1, 2])
            def __bool__(self): raise ValueError("ambiguous")
            __ne__ = __eq__
        a = 1
        a = Odd()
        a = Odd()
        a = Array([3])
        a = Array([4])
        print("end")
        """
    )
    it.say("b 9", "c", "display a")
    assert "display a: *** repr failed: RuntimeError ***  [old: 1]" in it.say("n")
    assert "display a" not in it.say("n")  # the next one looks like it
    assert "display a: [3]" in it.say("n")
    assert "display a: [4]  [old: [3]]" in it.say("n")
    assert it.lines("rn", "rn", "last a", "n", "rc") == [12, 11, 9, 10, 9]
    assert it.say("c").splitlines()[0] == "end"
    assert it.quit() == 0


def test_what_was_changed_here_has_no_name_yet(debug: Start) -> None:
    it = debug(TOTAL)
    it.say("c", "goto 40", "!total = 1000")
    told = "*** something was changed here, and is no past yet: go on by a step, then `snap`"
    assert it.say("snap one") == told
    assert it.say("goto one").startswith("*** no moment is named 'one'")
    it.say("s")
    assert "branch 2 begins at 40" in it.shown
    it.say("snap one", "c", "revert one")
    assert int(it.say("p total")) >= 1000
    assert it.quit() == 0


def test_a_branch_is_kept_after_another_was_left(debug: Start) -> None:
    it = debug(TOTAL)
    it.say("c", "goto 40", "snap one", "!total = 1000", "c", "snap late", "revert", "total += 1")
    assert "branch 3 begins at 40" in it.say("c")
    assert it.say("goto late").startswith("*** no moment is named 'late'")
    assert it.say("keep") == "branch 3 is the program now"
    branches = it.say("branch")
    assert [row.split()[0] for row in branches.splitlines()] == ["branch", "3"]
    for number in (1, 2):
        assert it.say(f"branch {number}") == f"*** branch '{number}': there is 3"
    drawn = it.say("snaps")
    assert "end of branch 3, <- here" in drawn
    assert "end of branch 1" not in drawn
    it.say("goto 30")  # which is its past
    assert (it.position, it.say("p total")) == (30, "2")
    it.say("branch 3", "revert one")
    assert (it.position, it.say("p total")) == (40, "4")
    it.say("c", "goto 50", "!total = 7", "s")  # as it went without the change, and then not
    assert "branch 4 begins at 50" in it.shown
    assert "end of branch 4, <- here" in it.say("snaps")
    assert it.quit() == 0


def test_back_to_a_stop_that_the_program_has_asked_for(debug: Start) -> None:
    it = debug(
        """
        import pdb
        def f(n):
            if n % 2:
                breakpoint()
            else:
                pdb.set_trace()
            return n
        for i in range(4):
            f(i)
        """
    )
    it.say("b 9")
    stops = [(it.say("c"), it.position, it.line)[1:] for _ in range(6)]
    assert [line for _, line in stops] == [9, 7, 9, 7, 9, 7]
    back = [(it.say("rc"), it.position, it.line)[1:] for _ in range(5)]
    assert back == stops[-2::-1]
    it.say("cl 1", "c")
    assert (it.position, it.line) == stops[1]
    it.say("rc")
    assert "no breakpoint was hit before" in it.shown
    assert it.quit() == 0


def test_a_change_that_the_repr_does_not_show(debug: Start) -> None:
    it = debug(
        """
        class A:
            def __init__(self):
                self.n, self.all = 0, []
            def add(self, n):
                self.n += n
        class Slots:
            __slots__ = ["n"]
        a, b = A(), Slots()
        b.n = 1
        a.add(2)
        print("end")
        """,
        "--command 'b 10' --command c",
    )
    assert it.say("try a.add(3)") == "would change a.n: 0 → 3"
    told = it.say("try setattr(b, 'n', 4)")
    assert told.startswith("would change b: <")
    assert told.endswith("(changed)")
    it.say("watch a")
    assert "a.n: 0 → 2" in it.say("c")
    assert it.quit() == 0


def test_a_trial_changes_nothing(debug: Start) -> None:
    it = debug(WORK)
    it.say("n", "n", "n")
    assert it.say("try x = 7") == "would change x: 3 → 7"
    assert it.say("try print('hello') or x + 1") == "hello\n4"
    assert it.say("try 1/0") == "*** ZeroDivisionError: division by zero"
    assert it.say("p x") == "3"
    assert it.say("branch").count("\n") == 1
    assert it.quit() == 0


SHAPES = {
    "coroutine": (
        """
        import asyncio

        async def other():
            await asyncio.sleep(0)
            return 1

        async def main():
            a = await other()
            b = await asyncio.sleep(0, 2)
            return a + b

        asyncio.run(main())
        """,
        "main",
        [8, 9, 10],
        12,
    ),
    "generator": (
        """
        def numbers():
            yield 1
            x = 2
            yield x
            y = 3

        for each in numbers():
            print(each)
        """,
        "numbers",
        [2, 3, 4, 5],
        7,
    ),
    "recursive": (
        """
        def fact(n):
            if n < 2:
                return 1
            below = fact(n - 1)
            return n * below

        fact(4)
        """,
        "fact",
        [2, 4, 5],
        7,
    ),
    "finally": (
        """
        def work():
            try:
                a = 1
                [][0]
            except IndexError:
                a = 2
            finally:
                b = 3
            return a

        work()
        """,
        "work",
        [2, 3, 4, 5, 6, 8, 9],
        11,
    ),
    "with": (
        """
        import contextlib

        @contextlib.contextmanager
        def around():
            a = 1
            yield a
            a = 2

        def work():
            with around() as x:
                y = x
            return y

        work()
        """,
        "work",
        [10, 11, 10, 12],
        14,
    ),
    "lambda": (
        """
        f = lambda x: (
            x +
            1
        )

        f(2)
        """,
        "<lambda>",
        None,
        6,
    ),
    "decorated": (
        """
        import functools

        def twice(function):
            @functools.wraps(function)
            def wrapper(*args):
                function(*args)
                return function(*args)
            return wrapper

        @twice
        def work(n):
            a = n
            return a

        work(1)
        """,
        "work",
        [12, 13],
        6,
    ),
    "class": (
        """
        class Thing:
            a = 1
            def method(self):
                b = self.a
                return b
            c = a + 1

        Thing().method()
        """,
        "Thing",
        None,
        1,
    ),
    "method": (
        """
        class Thing:
            a = 1
            def method(self):
                b = self.a
                return b

        Thing().method()
        """,
        "method",
        [4, 5],
        7,
    ),
    "nested": (
        """
        def outer():
            x = 1
            def inner():
                nonlocal x
                x += 1
                return x
            return inner()

        outer()
        """,
        "inner",
        [5, 6],
        7,
    ),
    "sorted": (
        """
        def key(n):
            a = -n
            return a

        sorted([3, 1, 2], key=key)
        """,
        "key",
        [2, 3],
        5,
    ),
    "map": (
        """
        def twice(n):
            a = n
            return 2 * a

        list(map(twice, [1, 2]))
        """,
        "twice",
        [2, 3],
        5,
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_back_in_every_kind_of_frame(debug: Start, shape: str) -> None:
    source, function, lines, caller = SHAPES[shape]
    it = debug(source)
    while it.function != function:
        it.say("s")
    forwards = []
    while it.function == function and "--Return--" not in it.shown:
        if it.is_line:
            forwards.append((it.position, it.line))
        it.say("n")
    if lines is not None:
        assert [line for _, line in forwards] == lines
    it.say("rn" if it.function == function else f"goto {forwards[-1][0]}")
    backwards = []
    while it.function == function:
        it.stands(it.position, it.line)
        backwards.append((it.position, it.line))
        it.say("rn")
    assert backwards == forwards[::-1]
    assert it.line == caller
    it.say(f"goto {forwards[-1][0]}", "rr")
    assert it.line == caller
    assert it.quit() == 0


def test_a_comprehension(debug: Start) -> None:
    it = debug("a = 1\nb = [\n    each * a\n    for each in range(3)\n]\nc = 3\n")
    it.say("n")
    assert it.lines("unt 6") == [6]
    seen = []
    while it.position > 2:
        it.say("rs")
        seen.append(it.line)
    assert seen[-1] == 1
    assert 3 in seen
    assert it.quit() == 0


WORLD = """
import os, random, time, uuid

def look():
    return (random.random(), time.time(), uuid.uuid4().hex, os.getpid(), {"a", "b", "c", "d"})

seen = look()
name = input("name? ")
print("hello", name)
with open("written.txt", "a") as file:
    file.write("once\\n")
more = look()
print("end", hash(str(more)))
"""


def test_twenty_trips_bring_the_same(debug: Start) -> None:
    it = debug(WORLD)
    assert it.lines("n", "n", "n") == [3, 6, 7]
    it.terminal.line("n")
    it.terminal.wait_for("name? ", since=it.terminal.typed_at)
    it.say("Ada")
    it.say("b 12")
    assert it.lines("c") == [12]
    tip, seen = it.position, it.say("p seen, name, more")
    for _ in range(5):
        for there in ("goto 5", "rn ;; rn ;; rn ;; rn", "rc ;; goto 4", "back 3"):
            it.say(there)
            assert it.position < tip
            it.say("c")
            assert (it.position, it.line) == (tip, 12)
            assert it.say("p seen, name, more") == seen
    it.say("c")
    transcript = it.terminal.transcript()
    assert transcript.count("hello Ada") == 1
    assert transcript.count("\nend ") == 1
    assert (it.terminal.directory / "written.txt").read_text() == "once\n"
    assert it.quit() == 0


FAILING = """
def share(n, of):
    part = n / of
    return part

def work(n):
    try:
        share(n, 1)
        share(n, 0)
    finally:
        try:
            [][0]
        except IndexError:
            pass

work(3)
"""


def test_after_an_exception_the_line_that_raised_it(debug: Start) -> None:
    it = debug(FAILING)
    assert "The program was ended by ZeroDivisionError: division by zero" in it.say("c")
    assert (it.line, it.function) == (2, "share")
    end = it.position
    assert it.lines("rn") == [2]
    it.stands(it.position, 2)
    assert it.say("p of") == "0"
    assert it.lines("rn", "c") == [8, 2]
    assert it.position == end
    assert it.lines("up", "rn") == [8, 8]
    assert it.lines("c", "rr", "c", "rs") == [2, 8, 2, 15]
    it.say("c")
    assert it.quit() == 1


@pytest.mark.parametrize(
    ("statement", "told", "status"),
    [
        ("sys.exit(3)", "The program was ended by SystemExit: 3.", 3),
        ("pass", "The program has ended.", 0),
        ("raise KeyError(1)", "The program was ended by KeyError: 1.", 1),
        ("open('nowhere/at/all')", "The program was ended by FileNotFoundError", 1),
    ],
)
def test_the_end_and_the_status(debug: Start, statement: str, told: str, status: int) -> None:
    it = debug(f"import sys\nprint('once')\ndef last():\n    {statement}\nlast()\n")
    assert told in it.say("c")
    if status:
        assert it.lines("rn", "rn") == [4, 5]
    else:
        assert it.lines("rn", "rn") == [5, 3]
    it.say("c")
    assert it.terminal.transcript().count("once\n") == 1
    assert it.quit() == status


@pytest.mark.parametrize(
    ("statement", "how"),
    [
        ("ctypes.string_at(0)", "was killed by SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("os._exit(4)", "exited with code 4"),
    ],
)
def test_the_past_of_a_program_that_died(debug: Start, statement: str, how: str) -> None:
    it = debug(f"import ctypes, os\nprint('once')\ndef last(n):\n    {statement}\nlast(1)\n")
    it.say("b last", "n")
    assert f"The program {how}, after position" in it.say("c ;; c")
    assert it.position >= 3
    assert re.search("p.py:[34]", it.say("b"))  # on 3.13, where its body begins
    assert it.lines("goto 2", "c") == [1, 4]
    assert it.say("p n") == "1"
    assert it.lines("rn", "rn", "c") == [5, 3, 4]
    assert f"The program {how}" in it.say("n")
    assert it.terminal.transcript().count("once\n") == 1
    assert it.quit() == 0


def test_what_kills_a_visitor_does_not_kill_the_program(debug: Start) -> None:
    it = debug("import os\nfor i in range(3):\n    print('line', i)\nprint('last')\n")
    it.say("n", "n", "n")  # stops to go back to, and moments without one
    end = (it.say("c"), it.position)[1]
    for moment, line, statement in ((4, 3, "os._exit(4)"), (6, 3, "os.kill(os.getpid(), 9)")):
        it.say(f"goto {moment}")
        it.say(statement)
        assert f"What went on from position {moment} " in it.shown
        it.stands(moment, line)
    assert "the program ended" in it.say("branch")
    it.say("c")
    assert it.position == end
    assert it.lines("rn") == [4]
    assert it.terminal.transcript().count("last\n") == 1
    it.say("c")
    assert f"What went on from position {end} exited with code 3;" in it.say("os._exit(3)")
    assert it.position == end
    assert it.lines("rn") == [4]
    assert it.quit() == 0


def test_over_the_end_of_a_file_and_back(debug: Start) -> None:
    it = debug(
        """
        f = open("out.txt", "w")
        f.write("hello")
        f.close()
        g = open("out.txt")
        text = g.read()
        g.close()
        """
    )
    assert it.lines("n", "n", "n", "rn", "rn", "n", "n") == [2, 3, 4, 3, 2, 3, 4]
    assert it.lines("n", "n", "rn", "rn", "rn", "n", "n", "n") == [5, 6, 5, 4, 3, 4, 5, 6]
    assert it.say("p text") == "'hello'"
    assert "has ended" in it.say("c")
    assert (it.terminal.directory / "out.txt").read_text() == "hello"
    assert it.quit() == 0


LONG = """
def work(n):
    total = 0
    for i in range(n):
        total += i
    return total

x = 1
y = work(700000)
print("for ever")
z = work(10 ** 12)
"""

_MEMBER = "__import__('sys')._getframe(1).f_locals['self']._traveller._member"


def test_ctrl_c_ends_a_long_way_and_stops_the_program(debug: Start) -> None:
    it = debug(LONG)
    it.say("b 9", "c")
    here = it.position
    assert it.say(f"p {_MEMBER}.request('clear', cells=[*range(1, 999)])[1]") == "[]"
    for command in ("last x", f"goto {here - 2}"):
        it.terminal.line(command)
        time.sleep(0.05)  # until it is under way, as a person would
        assert re.search(r"--KeyboardInterrupt--|\*\*\* interrupted", it.interrupt())
        it.stands(here, 9)
    it.say("goto 2")
    while "work()" not in it.shown:  # on a loaded machine it may not have come that far
        it.terminal.line("c")
        time.sleep(0.1)
        it.interrupt()
    assert 2 < it.position < here
    assert it.lines("rr", "c") == [8, 9]
    it.terminal.line("c")
    it.terminal.wait_for(re.compile("^for ever", re.M), since=it.terminal.typed_at)
    it.interrupt()
    assert it.position > here
    if it.function == "work":  # else it has not been called yet
        it.say("rr")
    assert (it.function, it.line) == ("<module>", 10)
    assert it.quit() == 0


THREADS = """
import threading
go = threading.Event()
def other():
    go.wait()
t = threading.Thread(target=other, name="worker")
a = 1
t.start()
a = 2
a = 3
go.set()
t.join()
a = 4
a = 5
"""


def test_what_other_threads_did_is_not_repeated(debug: Start) -> None:
    it = debug(THREADS)
    assert it.lines("n", "n", "n", "n", "n", "n", "n") == [2, 3, 5, 6, 7, 8, 9]
    tip = it.position
    assert it.say("rn").startswith("*** what was between")
    assert it.position == tip
    it.say("back")
    assert it.line == 8
    assert "without the threads 'worker'" in it.shown
    assert it.say("p a") == "1"
    assert "other threads ran: 'worker', and cannot be repeated" in it.say("n")
    it.stands(it.position, 8)
    it.say("goto 3", "c")
    assert (it.line, it.position) == (7, 7)
    assert "other threads ran: 'worker', and cannot be repeated" in it.shown
    it.say("forward ;; forward")
    assert (it.line, it.position) == (9, tip)
    assert it.lines("unt 12", "n", "rs") == [12, 13, 12]
    assert it.lines("goto 3", "branch 1") == [2, 13]
    assert it.quit() == 0


def test_what_came_after_other_threads_is_found(debug: Start) -> None:
    it = debug(
        """
        import threading; go = threading.Event()
        t = threading.Thread(target=go.wait)  # else a state is made at line 4, if it has ended
        t.start()
        go.set(); t.join()
        a = 1
        a = 2
        a = 3
        """
    )
    it.say("b 5")
    assert it.lines("c", "n") == [5, 6]
    it.say("c")
    end = it.position
    assert it.lines("rc") == [5]  # a way that leads by there alone
    it.say(f"goto {end}")
    assert it.lines("last a", "last a", "last a") == [7, 6, 5]
    here = it.position
    for command in ("rn", "last t", f"goto {here - 1}"):
        assert "cannot be repeated" in it.say(command)
        it.stands(here, 5)
    assert it.quit() == 0


def test_a_state_that_was_given_up(debug: Start) -> None:
    it = debug(WORK)
    it.say("n", "n", "n")
    assert it.say(f"p {_MEMBER}.request('clear', cells=None)[1]") == "[]"
    here = it.position
    assert it.say("goto 4") == "*** position 4 cannot be reached: no state before it is left"
    assert it.say("rn").startswith("*** ")
    it.stands(here, 10)
    assert it.lines("n") == [11]
    assert it.say("back").startswith("*** ")
    it.stands(it.position, 11)
    assert it.quit() == 0


def test_a_script_of_commands(start: Callable[..., Program], tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "name = input('name? ')\nprint('hello', name)\nmore = input()\nprint(more)\n"
    )
    commands = "n\nAda\nn\nrn\nrn\np 'one'\nn\np name\nc\nBob\np 'two'\nrs\nq\n"
    (tmp_path / "commands").write_text(commands)
    command = [sys.executable, "-m", "snapshot", "debug", "asks.py"]
    for piped in (True, False):
        with (tmp_path / "commands").open("rb") as file:
            given = commands if piped else file
            with Program(command, directory=tmp_path, stdin=given) as program:
                result = program.finish()
        assert result.code == 0
        for once in ("'one'", "'two'", "'Ada'", "hello Ada", "Bob\n"):
            assert result.stdout.count(once) == 1, result
        assert result.stderr == ""


def test_what_a_command_raises_is_no_exception_of_the_program(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("a = 1\na = 2\n")
    command = [sys.executable, "-m", "snapshot", "debug", "p.py"]
    stdin = f"n\ngoto {'9' * 5000}\nrn\nn\nc\nq\n"  # more digits than Python reads
    with Program(command, directory=tmp_path, stdin=stdin) as program:
        result = program.finish()
    assert (result.code, result.stderr) == (0, "")
    assert "(Pdb 3) *** ValueError: Exceeds the limit" in result.stdout
    assert "The program has ended." in result.stdout


def test_what_is_shown_may_go_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("a = 1\na = 2\na = 3\na = 4\n")
    commands = "n\nn\nn\nrn\nrn\nwatch a\nc\nc\ngoto 2\nunwatch\ntbreak 3\nc\nq\n"
    shown = []
    debugger = f"{sys.executable} -m snapshot debug p.py"
    for way in ("| cat", "> out.txt; cat out.txt", ">> out.txt; cat out.txt"):
        command = ["sh", "-c", f"{debugger} {way}"]
        with Program(command, directory=tmp_path, stdin=commands) as program:
            result = program.finish()
        assert (result.code, result.stderr) == (0, "")
        shown.append(result.stdout)
    first, second, third = shown
    for told in ("a: 1 → 2", "a: 2 → 3", "Deleted breakpoint"):
        assert told in first
    assert (second, third) == (first, 2 * first)


def test_what_the_program_shows_is_its_own(debug: Start) -> None:
    it = debug(
        """
        import contextlib, io
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            print("one")
            x = 1
            print("two")
        print("half", end="")
        x = 2
        print(" and half")
        """
    )
    assert it.lines("n", "n", "n", "n", "n", "rn", "rn", "n", "n", "n") == [
        *(2, 3, 4, 5, 6, 5, 4, 5, 6, 3)
    ]
    assert it.say("n", "p text.getvalue()") == r"'one\ntwo\n'"
    assert it.lines("n", "rn", "n", "n", "rn") == [8, 7, 8, 9, 8]
    assert "has ended" in it.say("c ;; c")
    transcript = it.terminal.transcript()
    assert (transcript.count("\nhalf"), transcript.count("\n and half")) == (1, 1)
    assert it.quit() == 0


def test_a_repeat_that_takes_another_path_says_so(debug: Start) -> None:
    it = debug(
        """
        import ctypes, os, time
        real = ctypes.CDLL(None).getpid
        a = 1
        if real() != os.getpid():
            time.time()
        a = 2
        a = 3
        """
    )
    it.say("b 7", "c")
    here = it.position
    assert it.line == 7
    for command in (f"goto {here - 1}", "rs", "rn", "last a"):
        assert it.say(command).startswith("*** the program takes another path when it is repeated")
        assert "p.py:" in it.shown or "time.time()" in it.shown
        it.stands(here, 7)
    assert it.lines("goto 2", "n", "n") == [1, 2, 3]
    here = it.position
    assert "*** the program takes another path" in it.say("c")
    it.stands(here, 3)
    assert it.quit() == 0


def test_help_tells_of_every_command(debug: Start) -> None:
    it = debug(WORK)
    names = "rs rn rr rc last rwatch watch unwatch back forward goto snap snaps branch revert keep"
    for name in [*names.split(), "try", "run", "debug", "q"]:
        assert len(it.say(f"help {name}").splitlines()) >= 3
    assert it.quit() == 0


def test_looking_changes_nothing(debug: Start) -> None:
    it = debug(
        """
        found = [1, 2, 3]
        def last():
            return found.pop()
        first = 1
        print(found, first)
        """
    )
    assert it.lines("n", "n", "n") == [2, 4, 5]
    assert [it.say(each) for each in ("p last()", "pp last()", "p found")] == [
        "3",
        "3",
        "[1, 2, 3]",
    ]
    assert it.say("whatis last()") == "<class 'int'>"
    assert it.say("p last() / 0") == "*** ZeroDivisionError: division by zero"
    assert it.lines("rn") == [4]
    assert it.say("p found.append(4), found") == "(None, [1, 2, 3, 4])"
    assert it.lines("n") == [5]
    assert it.say("c").startswith("[1, 2, 3] 1\nThe program has ended.")
    assert "branch 2" not in it.terminal.transcript()
    assert it.quit() == 0


@pytest.mark.parametrize("look", ["p len(said)", "whatis len(said)", "try said.clear()"])
def test_looking_leaves_no_trace_in_a_repeat(debug: Start, look: str) -> None:
    it = debug(
        """
        import subprocess, tempfile
        said = [1, 2]
        said.append(subprocess.run(["echo", "hello"], stdout=subprocess.PIPE).stdout)
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("x")
        end = 1
        """
    )
    it.say("n", "n", look, "c")
    end = it.position
    assert it.lines("goto 5", "goto 3", f"goto {end - 2}") == [4, 2, 6]
    it.say("goto 4", look)
    assert it.lines("n", "n", "n", "n") == [4, 5, 4, 6]
    assert it.say("p said[2]") == repr(b"hello\n")
    assert it.quit() == 0


def test_what_a_frame_held_that_has_failed(debug: Start) -> None:
    it = debug(
        """
        def f(x):
            total = 0
            for each in range(x):
                total += each
            return total
        def g(x, box):
            y = f(x)
            box.append(y + 1)
            y += 5
            return y / 0
        g(3, [])
        """
    )
    it.say("c")
    end = it.position
    assert "y: 3 → 8" in it.say("last y")
    assert it.line == 9
    it.say(f"goto {end}")
    assert "box: [] → [4]" in it.say("last box")
    assert it.line == 8
    it.say(f"goto {end}")
    assert "x: (not there) → 3" in it.say("last x")
    assert it.line == 11
    assert it.quit() == 0


def test_next_from_where_a_function_returns(debug: Start) -> None:
    it = debug(
        """
        def f(n):
            return n
        def g():
            a = f(1)
            b = f(2)
            return a + b
        x = g()
        y = 1
        """
    )
    it.say("b 2")
    assert it.lines("c", "s", "n", "n", "s", "until", "s", "n") == [2, 2, 5, 2, 2, 6, 6, 8]
    it.say("c")
    assert [each for each in it.say("w").splitlines() if "(" in each] == [
        "> <the end>(2)<module>()"
    ]
    assert it.quit() == 0


def test_quit_where_a_function_returns(debug: Start) -> None:
    it = debug("x = 1\ny = 2\nz = 3\n")
    it.say("n", "n", "c", "rs")
    assert it.shown.startswith("--Return--")
    assert it.quit() == 0


def test_as_deep_as_the_stack_goes(debug: Start) -> None:
    it = debug("def deeper(n):\n    return deeper(n + 1)\ndeeper(0)\n")
    assert "The program was ended by RecursionError" in it.say("c")
    assert it.function == "deeper"
    deepest = int(it.say("p n"))
    assert it.lines("rn", "forward", "rr")[::2] == [2, 2]
    assert it.function == "deeper"
    assert deepest - int(it.say("p n")) in (1, 2)  # Python 3.11 tells of no exception at the limit
    assert it.quit() == 0


def test_a_fork_that_the_program_has_made_ends_as_it_does(debug: Start) -> None:
    it = debug(
        """
        import os, sys
        for code in ("sys.exit(7)", "1 / 0", "None"):
            if (pid := os.fork()) == 0:
                exec(code)
                break
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            print("status", status)
        """
    )
    shown = it.say("c").splitlines()
    assert [line for line in shown if line.startswith("status")] == [
        "status 7",
        "status 1",
        "status 0",
    ]
    assert shown.count("ZeroDivisionError: division by zero") == 1
    assert not any("snapshot/" in line for line in shown)
    assert it.lines("rs", "rn") == [2, 2]
    assert it.quit() == 0


def test_pythons_own_prompt(debug: Start) -> None:
    it = debug("x = 1\ny = 2\nprint(x, y)\n")
    it.say("n")
    it.terminal.line("interact")
    it.terminal.wait_for(">>> ", since=it.terminal.typed_at)
    it.terminal.line("x + 41")
    it.terminal.wait_for("42", since=it.terminal.typed_at)
    it.terminal.type("\x04")
    it.wait()
    assert it.say("c").splitlines()[:2] == ["branch 2 begins at 3", "1 2"]
    assert it.quit() == 0


def test_a_program_that_died_stands_where_it_was_known_to_live(debug: Start) -> None:
    it = debug(
        """
        import os, signal
        for each in range(3000):
            pass
        os.kill(os.getpid(), signal.SIGSEGV)
        """
    )
    shown = it.say("c")
    last = int(re.findall(r"was killed by SIGSEGV, after position (\d+)\.", shown)[0])
    assert last > 5000
    assert it.position == last
    each = int(it.say("p each"))
    assert 2500 < each < 3000
    assert it.lines("rn")[0] in (2, 3)
    it.quit()


def test_last_names_the_attributes_that_changed(debug: Start) -> None:
    it = debug(
        """
        class Account:
            def __init__(self):
                self.owner, self.money = "me", 0

        account = Account()
        account.money += 5
        account.owner = "you"
        account.money -= 2
        print("done")
        """
    )
    it.say("c")
    assert "account.money: 5 → 3" in it.say("last account")
    assert it.lines("w")[-1:] == [8]
    assert "account.owner: 'me' → 'you'" in it.say("last account")
    assert it.quit() == 0
