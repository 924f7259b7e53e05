"""The timeline: any sequence of travels agrees with a simple model of the tree."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import tempfile
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from snapshot.core.memory import why_not_compact
from snapshot.core.timeline.drawing import drawn
from snapshot.core.timeline.records import State, Timeline
from snapshot.core.timeline.thinning import Budget, superfluous
from tests.processes import Program, Result, children_of, start_python, wait_gone

# A prompt without a terminal: each line of its standard input is a cell; after each the process
# that is live says where it is.
PROMPT = """
import json, os, sys
from snapshot.core.timeline.starting import supervise
member = supervise()
from snapshot.repl.timemachine import Landed, TimeMachine

tm = TimeMachine(member)
log = []
error = None

def read():
    line = b""
    while not line.endswith(b"\\n"):
        byte = os.read(0, 1)
        if not byte:
            tm.bye()
            sys.exit(0)
        line += byte
    return line.decode()

def future(value):
    return tm.future(log.append, value).result()

tm.end()
while True:
    print(json.dumps([member.number, member.at, member.branch, log, error]), flush=True)
    error = None
    source = read()
    tm.begin(source)
    try:
        exec(source)
    except Landed:
        continue
    except Exception as problem:
        error = type(problem).__name__
        tm.end(error=problem)
    else:
        tm.end()
"""


@dataclass
class Node:
    """A state in the model: what the log was, where it came from, and whether it is there."""

    log: tuple[int, ...]
    parent: int | None
    there: bool = True
    name: str | None = None


@dataclass
class Line:
    """A branch in the model."""

    log: tuple[int, ...]
    at: int
    root: int | None


class Model:
    """What there should be: the whole of what the time machine promises of its tree."""

    def __init__(self) -> None:
        self.nodes = {0: Node((), None)}
        self.lines = {1: Line((), 0, None)}
        self.here, self.next, self.branches = 1, 1, 1
        self.cell = self._take()

    @property
    def line(self) -> Line:
        return self.lines[self.here]

    def _take(self) -> int:
        number, self.next = self.next, self.next + 1
        return number

    def _branch(self) -> int:
        self.branches += 1
        return self.branches

    def ran(self, *values: int) -> None:
        """A cell has ended, and left a state."""
        self.line.log += values
        self.nodes[self.cell] = Node(self.line.log, self.line.at)
        self.line.at = self.cell
        self.cell = self._take()

    def future(self, value: int) -> None:
        number = self._take()
        self._branch()
        self.nodes[number] = Node((*self.line.log, value), self.line.at)
        self.ran()

    def past(self, number: int) -> bool:
        node = self.nodes.get(number)
        if node is None or not node.there:
            self.ran()
            return False
        self.cell = self._take()
        branch = self._branch()
        self._leave()
        self.lines[branch] = Line(node.log, number, number)
        self.here = branch
        return True

    def present(self, branch: int) -> bool:
        if branch not in self.lines or branch == self.here:
            self.ran()
            return False
        self._leave()
        self.here = branch
        self.cell = self._take()
        return True

    def _leave(self) -> None:
        """Where one only looked, nothing is kept."""
        if self.line.root is not None and self.line.at == self.line.root:
            del self.lines[self.here]

    def clear(self, number: int) -> None:
        if number in self.nodes:
            self.nodes[number].there = False
            self.nodes[number].name = None
        self.ran()

    def name(self, number: int, name: str) -> bool:
        node = self.nodes.get(number)
        taken = any(each.name == name for n, each in self.nodes.items() if n != number)
        done = node is not None and node.there and not taken
        if done and node is not None:
            node.name = name
        self.ran()
        return done

    def crash(self) -> bool:
        """Whether anything goes on."""
        number: int | None = self.line.at
        while number is not None and not self.nodes[number].there:
            number = self.nodes[number].parent
        if number is not None:
            self.line.log, self.line.at = self.nodes[number].log, number
        else:
            others = [each for each in self.lines if each != self.here]
            if not others:
                return False
            del self.lines[self.here]
            self.here = others[0]
        self.cell = self._take()
        return True


class Travels(RuleBasedStateMachine):
    """Cells, travels and crashes in a real process with its real states."""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.model = Model()
        self.over = False
        self.program = start_python(PROMPT, directory=Path(self.directory.name))
        self.answers = 0
        self.told = self.answer()

    def answer(self) -> list[Any]:
        """The next line that a live process writes."""
        found = self.program.wait_for(re.compile(rf"\A(?:.*\n){{{self.answers}}}(.*)\n"))
        self.answers += 1
        told: list[Any] = json.loads(found[1])
        return told

    def say(self, line: str) -> None:
        self.program.send(line + "\n")
        self.told = self.answer()

    @precondition(lambda self: not self.over)
    @rule(value=st.integers(0, 9))
    def run(self, value: int) -> None:
        self.say(f"log.append({value})")
        self.model.ran(value)

    @precondition(lambda self: not self.over)
    @rule(number=st.integers(-1, 25))
    def past(self, number: int) -> None:
        self.say(f"tm.past({number})")
        assert self.model.past(number) or self.told[4] == "UnknownState"

    @precondition(lambda self: not self.over)
    @rule(branch=st.integers(1, 6))
    def present(self, branch: int) -> None:
        self.say(f"tm.present({branch})")
        assert self.model.present(branch) or self.told[4] in ("UnknownState", "TimelineError")

    @precondition(lambda self: not self.over)
    @rule(value=st.integers(10, 19))
    def future(self, value: int) -> None:
        self.say(f"future({value})")
        self.model.future(value)

    @precondition(lambda self: not self.over)
    @rule(number=st.integers(0, 25))
    def clear(self, number: int) -> None:
        self.say(f"tm.clear_past([{number}])")
        self.model.clear(number)

    @precondition(lambda self: not self.over)
    @rule(number=st.integers(0, 25), name=st.sampled_from(["one", "two"]))
    def name(self, number: int, name: str) -> None:
        self.say(f"tm.name({number}, {name!r})")
        assert self.model.name(number, name) or self.told[4] in ("UnknownState", "UsageError")

    @precondition(lambda self: not self.over)
    @rule(how=st.sampled_from(["os._exit(3)", "os.kill(os.getpid(), 9)"]))
    def crash(self, how: str) -> None:
        self.program.send(f"{how}\n")
        if self.model.crash():
            self.told = self.answer()
        else:
            self.over = True
            assert self.program.finish().stdout.count("\n") == self.answers

    @precondition(lambda self: not self.over)
    @rule()
    def look(self) -> None:
        self.say("error = [sorted(tm.VX), [tm.vars(n)['log'] for n in sorted(tm.VX)]]")
        there = sorted(n for n, node in self.model.nodes.items() if node.there)
        assert self.told[4] == [there, [list(self.model.nodes[n].log) for n in there]]
        self.model.ran()

    @invariant()
    def is_where_it_should_be(self) -> None:
        if hasattr(self, "program") and not self.over:
            line = self.model.line
            assert self.told[:4] == [self.model.cell, line.at, self.model.here, list(line.log)]

    def teardown(self) -> None:
        if hasattr(self, "program"):
            self.program.close()
            self.directory.cleanup()


Travels.TestCase.settings = hypothesis.settings(
    max_examples=12, stateful_step_count=25, deadline=None
)
test_any_sequence_of_travels_agrees_with_the_model = Travels.TestCase


class Prompt:
    """The prompt above in a program of its own, for a test that says cells one by one."""

    def __init__(self, start: Callable[..., Program], *, before: str = "") -> None:
        """before: what runs before the first cell."""
        self.program = start(textwrap.dedent(before) + PROMPT)
        self.answers = 0
        self.answer()

    def answer(self) -> list[Any]:
        """Number of the next cell, state, branch, the log, and the error of the last cell."""
        found = self.program.wait_for(re.compile(rf"\A(?:.*\n){{{self.answers}}}(.*)\n"))
        self.answers += 1
        self.number, self.at, self.branch, self.log, self.error = json.loads(found[1])
        return [self.number, self.at, self.branch, self.log, self.error]

    def say(self, source: str) -> Prompt:
        self.program.send(source + "\n")
        self.answer()
        return self

    def value(self, expression: str) -> Any:
        """What an expression is; JSON must have it."""
        return self.say(f"error = {expression}").error


def test_how_a_future_ended_is_known_while_the_supervisor_has_other_work(
    start: Callable[..., Program],
) -> None:
    # One that ends during another request is reaped before its channel has been read to its end.
    prompt = Prompt(start, before="big = bytearray(20 << 20)\n")
    for _ in range(6):
        prompt.say("pass")
    prompt.say("killed = 'import os, time; time.sleep(0.05); os.kill(os.getpid(), 9)'")
    prompt.say("ends = [tm.future(killed) for _ in range(6)]")
    prompt.say("while tm.running: str(tm.states())")
    found = prompt.value("[str(each.exception()) for each in ends]")
    assert [each.partition(") ")[2][-21:] for each in found] == ["was killed by SIGKILL"] * 6


def test_how_a_future_ended_is_known_though_nobody_had_told_of_it(
    start: Callable[..., Program],
) -> None:
    # What forked it is not scheduled until the supervisor has reaped it.
    prompt = Prompt(
        start,
        before="""
import os, time
import snapshot.core.process
fork_sibling = snapshot.core.process.fork_sibling

def slowly(**options):
    pid = fork_sibling(**options)
    while pid and os.path.exists(f"/proc/{pid}"):
        time.sleep(0.001)
    return pid
""",
    )
    prompt.say(
        "snapshot.core.process.fork_sibling = slowly; "
        "ends = [tm.future(code).exception() for code in ('import os; os._exit(5)', 'exit(6)')]; "
        "snapshot.core.process.fork_sibling = fork_sibling"
    )
    found = prompt.value("[str(each) for each in ends]")
    assert [each[-18:] for each in found] == ["exited with code 5", "exited with code 6"]


def test_states_are_given_up_when_they_hold_too_much(start: Callable[..., Program]) -> None:
    prompt = Prompt(start, before="big = bytearray(20 << 20)\n")
    prompt.say("tm.budget(memory='70M')")
    for each in range(1, 9):
        prompt.say(f"big[:] = bytes([{each}]) * len(big)")
    prompt.say("pass")
    kept = prompt.value("[[n, tm.vars(n)['big'][0]] for n in sorted(tm.VX)]")
    assert kept[0] == [0, 0]
    assert len(kept) < 8
    assert kept[1][1] == kept[1][0] - 1
    assert "given up, to stay within 100 states and 70.0 MiB" in prompt.program.stderr
    there = prompt.say("tm.past(sorted(tm.VX)[1])").at  # others are given up meanwhile
    assert prompt.value("big[-1]") == there - 1


def test_what_several_states_share_counts_too(start: Callable[..., Program]) -> None:
    prompt = Prompt(start, before="big = bytearray(20 << 20)\n")
    prompt.say("tm.budget(memory='70M')")
    for each in range(1, 9):
        prompt.say(f"big[:] = bytes([{each}]) * len(big)")
        prompt.say("pass")
    for _ in range(100):  # it is not looked at each time
        if "given up" in prompt.program.stderr:
            break
        prompt.say("pass")
    assert "given up, to stay within 100 states and 70.0 MiB" in prompt.program.stderr
    assert prompt.value("[tm.vars(n)['big'][0] for n in sorted(tm.VX)][0]") == 0


def test_a_fork_that_is_refused_costs_a_state_and_nothing_else(
    start: Callable[..., Program],
) -> None:
    prompt = Prompt(start, before="import resource\n")
    for each in range(4):
        prompt.say(f"log.append({each})")
    prompt.say(
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')), 4096))"
    )
    prompt.program.wait_for("there will be no state of this cell", stream="stderr")
    prompt.say("resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096))")
    assert prompt.log == [0, 1, 2, 3]
    assert len(prompt.value("sorted(tm.VX)")) < 6
    prompt.say("tm.past(4)")
    assert prompt.log == [0, 1, 2, 3]
    prompt.say("tm.present()")
    assert prompt.branch == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_present_may_be_killed_while_one_is_in_the_past(
    start: Callable[..., Program], number: signal.Signals
) -> None:
    prompt = Prompt(start)
    present = prompt.value("os.getpid()")
    prompt.say("log.append(1)").say("log.append(2)").say("tm.past(2)").say("log.append(3)")
    os.kill(present, number)
    wait_gone([present])
    prompt.say("tm.present()")
    assert (prompt.branch, prompt.log) == (1, [1, 2])
    assert prompt.value("os.getpid()") != present


def test_a_state_that_is_killed_is_gone_and_nothing_else(start: Callable[..., Program]) -> None:
    prompt = Prompt(start)
    prompt.say("log.append(1)").say("log.append(2)")
    pid = prompt.value("tm._here.request('state', state=1).pid")
    os.kill(pid, signal.SIGKILL)
    wait_gone([pid])
    prompt.say("tm.past(1)")
    assert prompt.error == "UnknownState"
    prompt.say("tm.past(2)")
    assert prompt.log == [1, 2]


@pytest.mark.parametrize("who", ["supervisor", "present"])
def test_nothing_outlives_the_supervisor(start: Callable[..., Program], who: str) -> None:
    prompt = Prompt(start)
    prompt.say("log.append(1)").say("tm.future('import time; time.sleep(1000)')").say("tm.past(1)")
    members = [each.pid for each in prompt.program.members()]
    members += [each.pid for each in children_of(prompt.program.pid)]
    if who == "supervisor":
        prompt.program.kill()
    else:
        prompt.program.send("tm.bye(); sys.exit(0)\n")
    wait_gone(members)


def test_random_numbers_go_on_in_every_copy(start: Callable[..., Program]) -> None:
    prompt = Prompt(start, before="import random\nimport numpy.random\n")
    draw = "[random.random(), numpy.random.random()]"
    prompt.say("random.seed(3); numpy.random.seed(3)")
    first = prompt.value(draw)
    for _ in range(2):
        prompt.say("tm.past(1)")
        assert prompt.value(draw) == first
    futures = [prompt.value(f"tm.future({draw!r}).result()") for _ in range(2)]
    assert len({str(each) for each in [first, *futures]}) == 3


def test_the_timeout_of_the_programs_sockets_is_not_that_of_a_state(
    start: Callable[..., Program],
) -> None:
    prompt = Prompt(start, before="import socket\nsocket.setdefaulttimeout(0.000001)\n")
    prompt.say("log.append(1)").say("log.append(2)").say("tm.past(1)")
    assert (prompt.error, prompt.log) == (None, [1])
    assert prompt.value("tm.future('6 * 7').result()") == 42


def test_only_the_thread_of_the_cells_travels(start: Callable[..., Program]) -> None:
    before = """
import threading
def attempt():
    try:
        tm.past(1)
    except Exception as error:
        log.append(str(error))
"""
    prompt = Prompt(start, before=before)
    prompt.say("thread = threading.Thread(target=attempt, name='mine'); thread.start()")
    prompt.say("thread.join()")
    assert prompt.log == [
        "past(): this is thread 'mine', and the one that runs the cells would go on: "
        "call it in a cell"
    ]
    assert prompt.branch == 1


def test_a_fork_that_a_future_makes_does_not_speak_for_it(start: Callable[..., Program]) -> None:
    prompt = Prompt(start)
    work = "import os; child = os.fork(); child and os.waitpid(child, 0); child > 0"
    assert prompt.value(f"tm.future({work!r}).result()") is True
    assert prompt.value("tm.ans(2)") is True
    assert "Traceback" not in prompt.program.stderr


def test_futures_where_there_are_few_descriptors(start: Callable[..., Program]) -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (40, 4096))\n"
    prompt = Prompt(start, before=limit)
    assert prompt.value("tm.future('6 * 7').result()") == 42


def test_news_that_another_request_has_met_is_not_lost(start: Callable[..., Program]) -> None:
    before = """
import os, select
os.mkfifo("gate")
def wait():
    while tm.running:
        pass
"""
    prompt = Prompt(start, before=before)
    prompt.say("tm.future(\"open('gate').read()\")")
    prompt.say("open('gate', 'w').close(); wait()")
    assert prompt.value("[select.select([tm], [], [], 0)[0], tm.has_news]") == [[], True]
    assert re.search("future 2 done", prompt.value("' '.join(tm.news())"))


def timeline(*parents: int | None) -> Timeline:
    """A timeline of which each state has that parent; where it is not the one before, a branch."""
    made = Timeline()
    made.begin(pid=1)
    for number, parent in enumerate(parents):
        if parent is not None and parent != number - 1:
            made.landed(made.take_branch(), made.states[parent], pid=100 + number)
        made.ended(number, f"cell {number}", float(number), pid=1000 + number, failed=False)
    return made


def test_the_tree_is_drawn() -> None:
    made = timeline(None, 0, 1, 1, 3, 3)
    made.states[2].name = "loaded"
    made.states[4].failed = True
    shown = drawn(made, 50.0, {1: " (4103)"}, 80)
    assert [re.split(" {2,}", row) for row in shown.splitlines()] == [
        ["state", "branch", "name", "code", "age", "private"],
        ["0", "1", "cell 0", "50 s", "?"],
        ["1", "1", "cell 1", "49 s", "?"],
        ["├─3", "2", "cell 3", "47 s", "?"],
        ["│ ├─5", "3", "cell 5", "45 s", "?", "<- here"],
        ["├─4", "2", "cell 4", "46 s", "?", "failed, tip"],
        ["2", "1", "loaded", "cell 2", "48 s", "?", "tip (4103)"],
    ]


def test_states_that_are_gone_are_folded() -> None:
    made = timeline(None, *range(9))
    for number in (2, 3, 4, 6):
        made.states[number].status = "evicted"
    numbers = [row.split()[0] for row in drawn(made, 60.0, {}, 80).splitlines()[1:]]
    assert numbers == ["0", "1", "…", "5", "6", "7", "8", "9"]


@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 20),
    st.integers(0, 500),
)
def test_thinning_keeps_within_the_budget_and_spares_what_it_must(
    cells: list[tuple[int, bool]], most: int, memory: int
) -> None:
    states = [
        State(n, n - 1, 1, "", 0.0, memory=size, name=str(n) if named else None)
        for n, (size, named) in enumerate(cells)
    ]
    last = states[-1]
    going = superfluous(states, Budget(most, memory), frozenset({last.number}))
    left = [each for each in states if each not in going]
    assert last in left
    assert len(left) <= most
    assert sum(each.memory or 0 for each in left) <= memory or left == [last]
    if any(each.name is not None for each in going):  # then there was nothing else to give up
        first = next(i for i, each in enumerate(going) if each.name is not None)
        assert all(each.name is not None for each in going[first:])
    again = superfluous(left, Budget(most, memory), frozenset({last.number}))
    assert again == []


def test_older_states_lie_farther_apart() -> None:
    kept: list[State] = []
    for number in range(200):
        kept.append(State(number, number - 1, 1, "", 0.0, memory=0))
        going = superfluous(kept, Budget(12, 1), frozenset({number}))
        kept = [each for each in kept if each not in going]
    numbers = [each.number for each in kept]
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    assert len(numbers) == 12
    assert numbers[-3:] == [197, 198, 199]
    assert numbers[0] == 0
    assert sum(gaps[:4]) > 4 * sum(gaps[-4:])


def test_a_state_that_shares_nothing_does_nothing_until_it_is_woken(
    start: Callable[..., Program],
) -> None:
    prompt = Prompt(start, before="import psutil\n")
    prompt.say("log.append(1)")
    prompt.say("log.append(2)")
    others = (
        "sorted(p.pid for p in psutil.Process(os.getppid()).children() if p.pid != os.getpid())"
    )
    last = prompt.value(others)[-1]
    faults = "int(open(f'/proc/{%d}/stat').read().rpartition(')')[2].split()[7])"
    assert prompt.value(faults % last) < 200  # pages; 500 where Python goes on in it
    prompt.say("tm.past(2)")
    assert prompt.log == [1, 2]
    assert prompt.value(faults % last) > 200


def test_a_state_that_holds_a_pipe_lets_go_of_it_at_once(start: Callable[..., Program]) -> None:
    prompt = Prompt(start)
    prompt.say("readable, writable = os.pipe()")
    prompt.say("os.close(writable)")
    assert prompt.value("os.read(readable, 1).decode()") == ""


def test_a_state_has_the_registrations_of_its_own_epoll(start: Callable[..., Program]) -> None:
    prompt = Prompt(start, before="import select\n")
    prompt.say("epoll, event = select.epoll(), os.eventfd(1); epoll.register(event)")
    prompt.say("epoll.unregister(event)")
    prompt.say("tm.past(1)")
    assert prompt.value("len(epoll.poll(0))") == 1


def test_a_state_lets_go_of_a_pseudo_terminal(start: Callable[..., Program]) -> None:
    prompt = Prompt(start, before="import select\n")
    prompt.say("master, slave = os.openpty()")
    prompt.say("os.close(slave)")
    prompt.say("poll = select.poll(); poll.register(master)")
    assert prompt.value("poll.poll(0)[0][1] & select.POLLHUP > 0")


def test_a_module_that_a_thread_imports_while_a_cell_ends(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "gate")
    (tmp_path / "ssl.py").write_text(
        "import sys, sysconfig\nopen('gate').read()\n"
        "exec(open(sysconfig.get_path('stdlib') + '/ssl.py').read())\n"
    )
    prompt = Prompt(start, before="import threading\n")
    prompt.say("thread = threading.Thread(target=__import__, args=('ssl',)); thread.start()")
    prompt.say("log.append(1)")
    prompt.say("open('gate', 'w').close(); thread.join()")
    assert prompt.value("sys.modules['ssl'].SSLSocket.__name__") == "SSLSocket"
    assert prompt.log == [1]
    assert "Traceback" not in prompt.program.stderr


ODD_MODULES = """
import types
def no(*_):
    raise ZeroDivisionError
class Meta(type):
    __module__ = property(no)
odd = types.ModuleType("odd")
del odd.__name__
odder = types.ModuleType("odder")
odder.__spec__ = type("Spec", (), {"origin": property(no)})()
oddest = types.ModuleType("oddest")
del oddest.__spec__
oddest.__getattr__ = no
import colorsys
colorsys.odd = Meta("Odd", (), {})
sys.modules.update(odd=odd, odder=odder, oddest=oddest)
"""


def test_modules_that_are_like_no_other_cost_nothing(start: Callable[..., Program]) -> None:
    prompt = Prompt(start)
    prompt.say(f"exec({ODD_MODULES!r})")
    prompt.say("log.append(1)")
    assert prompt.log == [1]
    prompt.say("json.added = lambda: 0")  # it keeps the globals until the end of Python
    prompt.say("sys.exit(1)")
    assert "exited with code 1: back at state" in prompt.program.stderr
    assert prompt.log == [1]


def test_cycles_of_a_cell_are_collected_before_they_are_frozen(
    start: Callable[..., Program],
) -> None:
    prompt = Prompt(start, before="import weakref\nclass Node: pass\n")
    prompt.say("node = Node(); node.node = node; gone = weakref.ref(node); del node")
    assert prompt.value("gone() is None")


def test_older_cycles_are_collected_when_a_quarter_of_all_is_new(
    start: Callable[..., Program],
) -> None:
    prompt = Prompt(start, before="import weakref\nclass Node: pass\n")
    prompt.say("node = Node(); node.node = node; gone = weakref.ref(node)")
    prompt.say("del node")
    assert not prompt.value("gone() is None")  # a full collection would copy everything
    prompt.say("more = [[] for _ in range(200_000)]")
    assert prompt.value("gone() is None")
    prompt.say("import gc; gc.disable(); node = Node(); node.node = node")
    prompt.say("gone = weakref.ref(node); del node")
    assert not prompt.value("gone() is None")  # as Python has it


def test_a_fork_of_the_program_has_no_time_machine(start: Callable[..., Program]) -> None:
    prompt = Prompt(start, before="from snapshot import fork_call\n")
    prompt.say("log.append(1)")
    prompt.say("fork_call(tm.past, 0)")
    assert prompt.error == "TimelineError"
    prompt.say("tm.past(0)")
    assert prompt.log == []


def test_a_copy_need_not_give_up_the_gil_to_a_thread_that_it_has_not(
    python: Callable[..., Result],
) -> None:
    result = python(
        """
        import os, select, threading, time
        from snapshot.core import process, threads

        def tick():
            while True:
                time.sleep(0.001)

        process.adopt_orphans()
        between = process.fork()
        if between is not None:
            raise SystemExit(between.reap().code)
        threading.Thread(target=tick, daemon=True).start()
        junk = [{} for _ in range(200_000)]
        forked = 0
        while forked < 500:
            if not threads.quiet():
                continue
            readable, writable = os.pipe()
            if process.fork_sibling(quiet=True) == 0:
                os.write(writable, b"%d" % sum(range(1000)))
                os._exit(0)
            os.close(writable)
            poll = select.poll()
            poll.register(readable, select.POLLIN)
            assert poll.poll(10_000), forked
            os.close(readable)
            forked += 1
        os._exit(0)
        """
    )
    assert result.code == 0, result


@pytest.mark.skipif(why_not_compact() is not None, reason=str(why_not_compact()))
def test_what_has_come_is_collapsed_to_huge_pages_before_the_first_state_has_it(
    start: Callable[..., Program],
) -> None:
    prompt = Prompt(
        start,
        before="""
        import mmap

        def huge():
            lines = open("/proc/self/smaps_rollup").read().splitlines()
            return sum(int(each.split()[1]) for each in lines if each.startswith("AnonHuge")) >> 10

        def grow(length):
            global buffer
            buffer = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            buffer.madvise(mmap.MADV_NOHUGEPAGE)
            buffer[:] = b"x" * length
            buffer.madvise(mmap.MADV_HUGEPAGE)
        """,
    )
    before = prompt.value("huge()")
    prompt.say("grow(32 << 20)")
    assert prompt.value("huge()") < before + 16
    prompt.say("grow(96 << 20)")
    assert prompt.value("huge()") >= before + 32  # in the time that there was
    prompt.say("tm.past(4)")
    assert prompt.value("buffer[:] == b'x' * (96 << 20)")


def test_compact_can_be_given_a_time(python: Callable[..., Result]) -> None:
    result = python(
        """
        from snapshot import compact
        data = [bytearray(b"x") * (32 << 20) for _ in range(4)]
        done = compact(seconds=0)
        print(done.looked)
        assert done.looked == 0 or done.reason
        assert compact(seconds=100).looked > 0 or done.reason
        """
    )
    assert result.code == 0, result


def test_a_state_in_which_nothing_can_live_is_given_up(start: Callable[..., Program]) -> None:
    prompt = Prompt(start)
    prompt.say("log.append(1)")
    prompt.say("import snapshot; snapshot.on_snapshot(enter=lambda: os._exit(9))")
    prompt.say("log.append(2)")
    prompt.say("os._exit(3)")
    assert (prompt.at, prompt.log) == (1, [1])
    assert prompt.value("sorted(tm.VX)") == [0, 1]
