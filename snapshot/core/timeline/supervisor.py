"""The process above all others of a timeline: it runs no code of the user's.

It is the shell's child, has the terminal's modes, and ends as the process ends that is live. The
processes of the timeline are its children, so that none is one of the user's own. What is to happen
is decided in `records` and `thinning`; here it is done to processes.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from snapshot.core import proc, process, sessions
from snapshot.core.memory import anonymous_memory, machine, private_memory
from snapshot.core.messages import say
from snapshot.core.process import Exit
from snapshot.core.sessions import Announced
from snapshot.core.terminal import Terminal
from snapshot.core.timeline.channel import Channel, close_all
from snapshot.core.timeline.door import Door
from snapshot.core.timeline.drawing import drawn
from snapshot.core.timeline.past import Course, Past, Stop
from snapshot.core.timeline.records import Branch, State, Timeline
from snapshot.core.timeline.tasks import Futures, Task
from snapshot.core.timeline.telling import told
from snapshot.core.timeline.thinning import Budget, superfluous
from snapshot.errors import SnapshotError, TimelineError, UnknownState, UsageError

_GRACE = 5.0  # seconds that the processes at the tips of branches have to end in order
_STILLBORN = 1.0  # seconds within which one that was woken, and ran nothing, died of its state
_STATES = 100  # how many states there may be, if nobody says otherwise
_SHARE = 4  # of the memory that is free at the beginning, a quarter
_TIGHT = 20  # states are given up when less than a twentieth of the memory is free
_WEIGHED = 20  # times as long as it took to weigh all states, they are not weighed again
_DRAWN = 0.1  # seconds after a cell in which its prompt is drawn, and nothing is measured
_UNKNOWN = (4 << 30, 4 << 30)  # bytes that are free and that there are, if nobody can tell
_PIECE = 1 << 18  # bytes of what a future has written that are told at once to those who look
# What a process says, and nothing has changed.
_QUESTIONS = {"ask", "await", "drawn", "news", "output", "state", "states", "task", "tasks"}


@dataclass(eq=False)
class _Process:
    """A process of the timeline, and what it has asked and was not answered yet.

    original: what it was forked from, until it is frozen: that waits before its next cell.
    woken: when, on the clock of `time.monotonic`, and from which state; None once it ran a cell.
    """

    pid: int
    channel: Channel
    original: _Process | None = None
    asked: int | None = None  # the travel that it waits in
    watched: bool = True
    news: list[Any] = field(default_factory=list)
    notified: bool = False
    woken: tuple[float, State] | None = None


class Supervisor:
    """All processes of a timeline, by what they say and how they end."""

    def __init__(
        self,
        pid: int,
        channel: Channel,
        first: int = 0,
        cell: int | None = None,
        announced: Announced | None = None,
    ) -> None:
        """first: the number of the first state. cell: that of the cell which comes next. announced:
        what those who look from outside are told of the session; None if nobody is to find it."""
        self._timeline = Timeline()
        self._timeline.begin(pid, first)
        if cell is not None:
            self._timeline.next = cell
        self._processes = {pid: _Process(pid, channel)}
        self._live = self._processes[pid]
        self._asked: set[int] = set()  # processes that work on an answer
        self._early: dict[int, Exit] = {}  # ended before anybody had told us of them
        self._futures = Futures(self._timeline)
        free, _ = machine() or _UNKNOWN
        self._budget = Budget(_STATES, free // _SHARE)
        self._terminal = Terminal.here()
        self._ending = False  # somebody has told us to end, or the live process that it ends
        self._alarm, self._wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._told: list[str] = []
        self._weigh_at = 0.0  # not before that time
        self._unmeasured = False  # whether there is a state whose memory is not known
        self._measure_at: float | None = None  # unless a cell has begun before
        self._announced = announced
        self._door = Door(self._answer_outside)
        self._revision = 0  # another one when there is something new to be seen from outside
        self._past: Past | None = None

    def run(self) -> NoReturn:
        """Until the live process has ended; then this one ends as it did."""
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a state takes one
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end_all)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if self._announced is not None:
            self._door.open()
        while True:
            for fd in self._ready():
                if not self._door.serve(fd):
                    self._read(fd)
            self._reap()
            if self._measure_at is not None and time.monotonic() >= self._measure_at:
                self._measure_what_is_new()
            self._door.answer_those_who_wait()

    def _ready(self) -> list[int]:
        poll = select.poll()
        poll.register(self._alarm, select.POLLIN)
        for each in self._processes.values():
            if each.watched:
                poll.register(each.channel, select.POLLIN)
        for fd in self._futures.descriptors():
            poll.register(fd, select.POLLIN)
        self._door.register(poll)
        left = None if self._measure_at is None else self._measure_at - time.monotonic()
        return [fd for fd, _ in poll.poll(None if left is None else max(0, 1000 * left))]

    def _read(self, fd: int) -> None:
        if fd == self._alarm:
            with contextlib.suppress(BlockingIOError):
                os.read(fd, 4096)
            return
        if fd in self._futures.descriptors():
            if (number := self._futures.read(fd)) is not None:
                self._revision += 1
                self._news(("output", number))
            return
        for each in list(self._processes.values()):
            if each.watched and each.channel.fileno() == fd:
                # Without words it was an answer, and taken meanwhile.
                if self._has_said(each) and not self._hear(each):
                    self._lost(each)
                return

    def _hear(self, speaker: _Process) -> bool:
        """Do what it says; False if nobody speaks there any more."""
        message = None
        with contextlib.suppress(OSError):
            message = speaker.channel.receive()
        if message is None:
            return False
        (number, verb, facts), descriptors = message
        self._revision += verb not in _QUESTIONS
        try:
            handler: Callable[..., Any] = getattr(self, f"_on_{verb}")
            answer = handler(speaker, number, descriptors, **facts)
        except SnapshotError as error:
            self._answer(speaker, number, error)
        except Exception as error:  # a fault of our own must not cost the user the process
            fault = TimelineError(f"{verb}: the supervisor failed: {error!r}")
            self._answer(speaker, number, fault)
        else:
            if answer is not _LATER and number:
                self._answer(speaker, number, answer)
        finally:
            close_all(descriptors)
        return True

    def _answer(self, asker: _Process, number: int, content: Any) -> None:
        kind = "error" if isinstance(content, Exception) else "answer"
        with contextlib.suppress(OSError):
            asker.channel.send((kind, number, content))

    def _news(self, content: Any) -> None:
        """Let the live process know that it may ask; once, until it does."""
        if content not in self._live.news:
            self._live.news.append(content)
        if not self._live.notified:
            self._live.notified = True
            with contextlib.suppress(OSError):
                self._live.channel.send(("news", 0, None))

    def _on_news(self, speaker: _Process, number: int, fds: list[int]) -> list[Any]:
        news, speaker.news, speaker.notified = speaker.news, [], False
        return news

    # What the live process says.

    def _on_begun(
        self, speaker: _Process, number: int, fds: list[int], cell: int, line: str
    ) -> None:
        self._must_be_live(speaker)
        speaker.woken = None
        self._measure_at = None
        self._timeline.begun(cell, line)

    def _must_be_live(self, speaker: _Process) -> None:
        if speaker is not self._live:
            raise TimelineError(f"process {speaker.pid} is a future, and no cell runs in it")

    def _on_passed(self, speaker: _Process, number: int, fds: list[int]) -> dict[str, Any]:
        self._must_be_live(speaker)
        self._timeline.passed()
        return self._where()

    def _on_froze(
        self,
        speaker: _Process,
        number: int,
        fds: list[int],
        pid: int | None,
        cell: int,
        line: str,
        began: float,
        failed: bool,
        parting: bool,
    ) -> Any:
        self._must_be_live(speaker)
        unmeasured = self._unmeasured
        if pid is not None and not fds:  # no descriptor was free here to receive it
            _kill(pid)
            pid = None
        self._timeline.ended(cell, line, began, pid, failed=failed)
        if pid is None:
            self._want_less()
        else:
            copy = _Process(pid, Channel(fds.pop()), speaker if parting else None)
            self._add(copy)
            self._thin()
            if not parting:
                self._on_ready(copy, 0, [])
        if unmeasured:
            self._measure_at = time.monotonic()  # at once, but nobody waits for it
        return self._where()

    def _on_ready(self, speaker: _Process, number: int, fds: list[int]) -> None:
        """A copy is frozen. The state before it has by now what its own cell has changed."""
        self._has_parted(speaker)
        for state in self._timeline.frozen():
            if state.pid == speaker.pid and state.parent in self._timeline.states:
                self._timeline.states[state.parent].memory = None
        self._unmeasured = True
        self._measure_at = time.monotonic() + _DRAWN

    def _measure_what_is_new(self) -> None:
        self._unmeasured, self._measure_at = False, None
        self._revision += 1
        for state in self._timeline.frozen():
            if state.memory is None:
                self._measure(state)
        self._thin()
        began = time.monotonic()
        if began < self._weigh_at:
            return
        held = self._weigh()
        self._weigh_at = time.monotonic() + _WEIGHED * (time.monotonic() - began)
        if held > self._budget.memory:
            spared = frozenset({self._timeline.live.at})
            fewer = self._part(self._budget.memory, held)
            self._give_up(superfluous(self._timeline.frozen(), fewer, spared))

    def _has_parted(self, copy: _Process) -> None:
        """What a copy was forked from may run a cell; a future was forked in one."""
        original, copy.original = copy.original, None
        if original is not None and original.pid in self._processes:
            with contextlib.suppress(OSError):
                original.channel.send(("ready", 0, None))

    def _want_less(self) -> None:
        """The system has refused to fork: be content with fewer states than there are."""
        count = sum(1 for _ in self._timeline.frozen())
        if count > 1:
            self._budget = Budget(min(self._budget.states, count * 3 // 4), self._budget.memory)
            self._thin()

    def _on_bye(self, speaker: _Process, number: int, fds: list[int]) -> None:
        if speaker is self._live:
            self._ending = True

    def _on_travel(
        self,
        speaker: _Process,
        number: int,
        fds: list[int],
        brought: bytes,
        state: Any = None,
        branch: Any = None,
        drop: bool = False,
        forget: bool = False,
    ) -> Any:
        self._must_be_live(speaker)
        speaker.asked = number
        drop = forget or (drop and self._has_done_nothing())
        try:
            if branch is not None:
                self._to_branch(self._timeline.branch(branch), brought, drop=drop)
            else:
                self._wake(self._timeline.find(state), brought, drop=drop)
        except BaseException:
            speaker.asked = None
            raise
        return _LATER

    def _to_branch(self, branch: Branch, brought: bytes, *, drop: bool) -> None:
        if branch.number == self._timeline.here:
            raise TimelineError(f"this is the tip of branch {branch.number} already")
        if branch.pid is None:
            refuge = self._timeline.refuge(branch)
            if refuge is None:
                raise UnknownState(f"the process of branch {branch.number} has died, and no state")
            self._told.append(
                f"snapshot: the process at the tip of branch {branch.number} has died; this is "
                f"another one, woken from state {refuge.number}, without its threads"
            )
            self._wake(refuge, brought, drop=drop, branch=branch)
            return
        self._leave(drop=drop)
        self._resume(branch, brought)

    def _resume(self, branch: Branch, brought: bytes) -> None:
        """Let the process at the tip of a branch go on."""
        assert branch.pid is not None
        self._live = self._processes[branch.pid]
        self._timeline.returned(branch)
        asked, self._live.asked = self._live.asked, None
        self._answer(self._live, asked or 0, self._where(brought=brought))

    def _wake(
        self,
        state: State,
        brought: bytes,
        *,
        drop: bool = False,
        branch: Branch | None = None,
        died: tuple[int, str, Exit] | None = None,
    ) -> None:
        """Let a copy of a state go on: as a branch of its own, or in the place of another one."""
        facts: dict[str, Any] = {
            "number": self._timeline.take(),
            "at": state.number,
            "branch": branch.number if branch else self._timeline.take_branch(),
            "brought": brought,
            "died": died,
            "busy": self._is_busy(),
            "told": tuple(self._told),
        }
        self._told.clear()
        told, fds = self._order(state, ("wake", facts))
        pid = told["pid"]
        self._add(_Process(pid, Channel(fds[0])))
        if died is None:
            self._leave(drop=drop)
        if branch is None:
            self._timeline.landed(facts["branch"], state, pid)
        else:
            self._timeline.inherited(branch, state, pid)
        self._live = self._processes[pid]
        self._live.woken = time.monotonic(), state

    def _order(self, state: State, order: Any, fds: tuple[int, ...] = ()) -> tuple[Any, list[int]]:
        """Let a frozen process do something; what it says. Raises `TimelineError`.

        One that does not answer is given up.
        """
        assert state.pid is not None
        channel = self._processes[state.pid].channel
        deadline = time.monotonic() + _GRACE
        with contextlib.suppress(OSError):
            channel.send(order, fds)
            while (left := deadline - time.monotonic()) > 0:
                if not process.wait_for_input(channel.fileno(), left):
                    continue  # a signal, perhaps
                message = channel.receive()
                if message is None:
                    break
                (_, verb, facts), received = message
                if verb == "failed":
                    raise TimelineError(f"state {state.number} can do nothing: {facts['reason']}")
                if verb != "ready":  # which it may say late
                    return facts, received
                self._on_ready(self._processes[state.pid], 0, [])
        self._evict(state)
        raise TimelineError(f"state {state.number} has died; try another one")

    def _has_done_nothing(self) -> bool:
        """Whether the live process is a copy of a state that has made none of its own."""
        root = self._timeline.live.root
        return root is not None and self._timeline.live.at == root

    def _leave(self, *, drop: bool) -> None:
        """The live process waits now, or ends."""
        left = self._live
        self._timeline.left(drop=drop)
        if drop and left.asked is not None:
            self._answer(left, left.asked, None)

    def _where(self, **more: Any) -> dict[str, Any]:
        told, self._told = tuple(self._told), []
        live = self._timeline.live
        return {
            "number": self._timeline.take(),
            "at": live.at,
            "branch": live.number,
            "busy": self._is_busy(),
            "told": told,
            **more,
        }

    # What it asks.

    def _on_states(self, speaker: _Process, number: int, fds: list[int]) -> Timeline:
        self._measure_all()
        return self._timeline

    def _on_drawn(self, speaker: _Process, number: int, fds: list[int], width: int) -> str:
        timeline = self._on_states(speaker, number, fds)
        tips = {
            branch.number: f" ({branch.pid})" if branch.pid else ", whose process has died"
            for branch in timeline.branches.values()
        }
        return drawn(timeline, time.monotonic(), tips, width)

    def _on_state(self, speaker: _Process, number: int, fds: list[int], state: Any) -> State:
        return self._timeline.find(state)

    def _on_name(
        self, speaker: _Process, number: int, fds: list[int], state: Any, name: str | None
    ) -> None:
        found = self._timeline.find(state)
        for each in self._timeline.frozen():
            if name is not None and each.name == name and each is not found:
                raise UsageError(f"state {each.number} is named {name!r} already")
        found.name = name

    def _on_clear(
        self, speaker: _Process, number: int, fds: list[int], cells: list[int] | None
    ) -> tuple[list[int], list[int]]:
        """Returns which were cleared, and which were kept since they have a name."""
        frozen = list(self._timeline.frozen())
        if cells is None:
            going = [each for each in frozen if each.name is None]
        else:
            going = [each for each in frozen if each.number in set(cells)]
        for each in going:
            self._evict(each)
        kept = [each.number for each in frozen if cells is None and each.name is not None]
        return [each.number for each in going], kept

    def _on_budget(
        self,
        speaker: _Process,
        number: int,
        fds: list[int],
        states: int | None = None,
        memory: int | None = None,
    ) -> tuple[Budget, int, int]:
        """Returns the budget, and how much of each is used."""
        if states is not None or memory is not None:
            self._budget = Budget(
                self._budget.states if states is None else states,
                self._budget.memory if memory is None else memory,
            )
            self._measure_all()
            self._thin()
        frozen = list(self._timeline.frozen())
        held = max(self._weigh(), sum(each.memory or 0 for each in frozen))
        return self._budget, len(frozen), held

    def _on_ask(
        self,
        speaker: _Process,
        number: int,
        fds: list[int],
        state: Any,
        question: str,
        details: dict[str, Any],
    ) -> int:
        order = ("ask", {"question": question, "details": details})
        told, _ = self._order(self._timeline.find(state), order, tuple(fds))
        pid: int = told["pid"]
        if self._early.pop(pid, None) is None:
            self._asked.add(pid)
        return pid

    def _on_adopt(
        self, speaker: _Process, number: int, fds: list[int], pid: int, parent: int, line: str
    ) -> int | None:
        """A copy that was asked has left a state; its number."""
        self._must_be_live(speaker)
        if not fds:  # see `_on_froze`; it ends, since nobody can speak to it
            return None
        copy = _Process(pid, Channel(fds.pop()))
        state = self._timeline.adopted(parent, line, time.monotonic(), pid)
        self._add(copy)
        self._on_ready(copy, 0, [])
        self._thin()
        return state.number

    def _on_never_mind(self, speaker: _Process, number: int, fds: list[int], pid: int) -> None:
        if pid in self._asked:
            _kill(pid)

    # Of a debugger: what its past is, for those who look.

    def _on_stop(
        self,
        speaker: _Process,
        number: int,
        fds: list[int],
        state: int,
        branch: int,
        position: int,
        asked: bool,
    ) -> None:
        """A state was made there."""
        self._past = self._past or Past()
        self._past.stops[state] = Stop(branch, position, asked)

    def _on_courses(
        self,
        speaker: _Process,
        number: int,
        fds: list[int],
        courses: list[tuple[Any, ...]],
        here: tuple[int, int, str] | None,
    ) -> None:
        """All branches of the past; and where somebody is asked, or None: it goes on from there."""
        self._past = self._past or Past()
        self._past.courses = {each[0]: Course(*each) for each in courses}
        self._past.runs = here is None
        if here is not None:
            self._past.branch, self._past.position, self._past.line = here

    # Who looks from outside.

    def _answer_outside(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """None as long as there is nothing new."""
        if request["ask"] == "output":
            return self._tell_output(request["future"], request["since"])
        if request["ask"] != "session":
            raise UsageError(f"{request['ask']!r} is no question")
        if request.get("since") == self._revision:
            return None
        assert self._announced is not None
        is_idle = self._timeline.cell is None and self._measure_at is None
        if is_idle and any(each.memory is None for each in self._timeline.frozen()):
            self._measure_at = time.monotonic()  # and that is something new, then
        tasks, name = self._futures.all(), self._door.name
        session = told(self._announced, name, self._revision, self._timeline, tasks, self._past)
        return {"session": sessions.encoded(session)}

    def _tell_output(self, number: Any, since: int) -> dict[str, Any]:
        try:
            state = self._futures.find(number)
        except SnapshotError as error:
            return {"error": str(error)}
        end, data = self._futures.output(number).since(max(0, since), _PIECE)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data, final=state.status != "running" and len(data) < _PIECE)
        kept, _ = decoder.getstate()  # of a character whose rest is to come
        return {"output": [end - len(kept), text]}

    # Futures.

    def _on_started(
        self, speaker: _Process, number: int, fds: list[int], pid: int, line: str, began: float
    ) -> int:
        state = self._timeline.started(line, began, pid)
        output, channel = fds.pop(), fds.pop()
        self._add(_Process(pid, Channel(channel)))
        self._futures.begin(state, output)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return state.number

    def _on_done(self, speaker: _Process, number: int, fds: list[int], failed: bool) -> Any:
        for state in self._timeline.states.values():
            if state.pid == speaker.pid:
                state.status, state.failed = "frozen", failed
                self._finished(state, Exit(code=0))
        self._thin()
        return _LATER

    def _finished(self, state: State, how: Exit) -> None:
        for asker, asked in self._futures.finish(state, how):
            self._answer(asker, asked, self._futures.of(state))
        self._news(("done", self._futures.of(state)))

    def _on_tasks(self, speaker: _Process, number: int, fds: list[int]) -> list[Task]:
        return self._futures.all()

    def _on_task(self, speaker: _Process, number: int, fds: list[int], future: Any) -> Task:
        return self._futures.of(self._futures.find(future))

    def _on_await(self, speaker: _Process, number: int, fds: list[int], future: Any) -> Any:
        state = self._futures.find(future)
        if state.status != "running":
            return self._futures.of(state)
        self._futures.output(future).waiting.append((speaker, number))
        return _LATER

    def _on_output(
        self, speaker: _Process, number: int, fds: list[int], future: Any, since: int = 0
    ) -> tuple[int, bytes]:
        return self._futures.output(future).since(since)

    def _on_cancel(self, speaker: _Process, number: int, fds: list[int], future: Any) -> bool:
        state = self._futures.find(future)
        if state.status != "running" or state.pid is None:
            return False
        self._futures.output(future).cancelled = True
        _kill(state.pid, group=True)
        return True

    def _on_drop(self, speaker: _Process, number: int, fds: list[int], branch: Any) -> None:
        """The process at the tip of another branch ends, and the branch is forgotten."""
        self._must_be_live(speaker)
        found = self._timeline.branch(branch)
        if found is self._timeline.live:
            raise TimelineError(f"branch {found.number} is the one that is live")
        tip = self._processes.get(found.pid or 0)
        del self._timeline.branches[found.number]
        if tip is not None and tip.asked is not None:
            self._answer(tip, tip.asked, None)

    def _on_unhook(self, speaker: _Process, number: int, fds: list[int]) -> None:
        self._must_be_live(speaker)
        self._end_others()

    # What becomes of processes.

    def _evict(self, state: State) -> None:
        pid, state.status = state.pid, "evicted"
        state.pid = state.memory = state.name = None
        for each in self._timeline.frozen():
            if state.number in (each.parent, each.number) or each.number == state.parent:
                each.memory = None  # what it shared with this one alone is its own now
        if pid is not None:
            self._forget(pid)
            _kill(pid)

    def _thin(self) -> None:
        spared = frozenset({self._timeline.live.at})
        going = superfluous(self._timeline.frozen(), self._budget, spared)
        free, most = machine() or _UNKNOWN
        if not going and free < most // _TIGHT:
            going = superfluous(self._timeline.frozen(), self._part(1, 2), spared)
        self._give_up(going)

    def _part(self, numerator: int, denominator: int) -> Budget:
        """A budget for that part of the states there are, whatever memory they hold."""
        count = sum(1 for _ in self._timeline.frozen())
        return Budget(max(1, count * numerator // denominator), sys.maxsize)

    def _weigh(self) -> int:
        """Bytes that are there for the states alone, what several of them share among it."""
        shares = (anonymous_memory(each.pid) for each in self._timeline.frozen() if each.pid)
        held = sum(found[1] for found in shares if found is not None)
        live = anonymous_memory(self._live.pid)
        return max(0, held - (live[0] - live[1])) if live is not None else 0

    def _give_up(self, going: list[State]) -> None:
        for each in going:
            self._evict(each)
        if going:
            numbers = ", ".join(str(each.number) for each in sorted(going, key=lambda s: s.number))
            self._told.append(
                f"snapshot: given up, to stay within {self._budget}: state {numbers} "
                "(tm.budget(states=…, memory=…), or name(n, …) to keep one)"
            )

    def _measure_all(self) -> None:
        for state in self._timeline.frozen():
            self._measure(state)

    def _measure(self, state: State) -> None:
        if state.status == "frozen" and state.pid is not None:
            state.memory = private_memory(state.pid)

    def _add(self, one: _Process) -> None:
        self._processes[one.pid] = one
        if proc.parent_of(one.pid):  # it is there: another one had the same pid
            self._early.pop(one.pid, None)

    def _lost(self, one: _Process) -> None:
        """Nobody speaks there any more, though the process may live."""
        one.watched = False
        if one.pid in self._early:
            self._ended(one.pid, self._early.pop(one.pid))
            return
        if one is not self._live and proc.parent_of(one.pid) != os.getpid():
            # Of a process that was kept (see `keep`) we are no parent: so much must do.
            self._ended(one.pid, Exit())
            return
        if one is self._live and not proc.is_ending(one.pid):
            # It has become another program (execve(2)); what there was before is of no use to it.
            self._ending = True
            self._end_others()

    def _reap(self) -> None:
        for pid, how in process.changed_children():
            if how is None:
                self._stopped(pid)
            else:
                self._ended(pid, how)

    def _stopped(self, pid: int) -> None:
        """Stop with the live process, so that the shell sees it, and go on with it."""
        if pid == self._live.pid and proc.is_stopped(pid):
            os.kill(os.getpid(), signal.SIGSTOP)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _ended(self, pid: int, how: Exit) -> None:
        self._revision += 1
        one = self._processes.get(pid)
        if pid in self._asked:
            self._asked.discard(pid)
            return
        if one is None:
            self._early[pid] = how  # perhaps what forked it comes to say so yet
            return
        while one.watched and self._has_said(one) and self._hear(one):
            pass
        live = one is self._live
        woken = one.woken if live and not self._ending else None
        if woken is not None and time.monotonic() - woken[0] < _STILLBORN:
            self._evict(woken[1])  # or the next one to be woken there would die in turn
        self._forget(pid)
        record = self._timeline.died(pid)
        if isinstance(record, State) and record.status == "ended":
            _kill(pid, group=True)
            self._finished(record, how)
        if live:
            self._bury(record, pid, how)

    def _has_said(self, one: _Process) -> bool:
        return process.wait_for_input(one.channel.fileno(), 0)

    def _bury(self, branch: Branch | State | None, pid: int, how: Exit) -> None:
        """The live process has ended. Somebody takes its place, or everything ends."""
        assert isinstance(branch, Branch)
        if not self._ending:
            if self._terminal is not None:
                self._terminal.put_back(reset=True)
            running = self._timeline.cell
            cell = "at the prompt" if running is None else f"in cell {running[0]}"
            while (refuge := self._timeline.refuge(branch)) is not None:
                why = f"process {pid}, {cell}, {how}"
                try:
                    self._wake(refuge, b"", branch=branch, died=(pid, why, how))
                except TimelineError as error:
                    say(f"snapshot: {error}")
                    self._evict(refuge)
                else:
                    return
            for other in self._timeline.branches.values():
                if other.pid is not None:
                    say(f"snapshot: process {pid}, {cell}, {how}: branch {other.number} goes on")
                    self._timeline.left(drop=False)
                    self._resume(other, b"")
                    return
        self._end_others()
        if how.signal is not None and self._terminal is not None:
            self._terminal.put_back(reset=True)
        process.exit_now(how)

    def _forget(self, pid: int) -> None:
        one = self._processes.pop(pid, None)
        if one is not None:
            self._has_parted(one)  # nobody need wait for it now
            one.channel.close()

    # The end.

    def _end_all(self, number: int, _frame: Any) -> None:
        """SIGTERM, SIGHUP: for the live process, which may handle it; then for all."""
        self._ending = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._live.pid, number)
            os.kill(self._live.pid, signal.SIGCONT)

    def _end_others(self) -> None:
        """States and futures are killed; the tips of branches end in order."""
        self._door.close()
        tips = []
        others = [one for one in self._processes.values() if one is not self._live]
        for one in others:
            if one.asked is not None and one.watched:
                self._answer(one, one.asked, None)
                tips.append(one.pid)
            else:
                _kill(one.pid, group=self._is_running(one.pid))
        for pid in self._asked:
            _kill(pid)
            process.reap(pid)
        deadline = time.monotonic() + _GRACE
        for pid in tips:
            if not process.has_ended(pid, deadline - time.monotonic()):
                _kill(pid)
        for one in others:
            process.reap(one.pid)
            self._forget(one.pid)
            self._timeline.died(one.pid)

    def _is_busy(self) -> bool:
        return any(state.status == "running" for state in self._timeline.states.values())

    def _is_running(self, pid: int) -> bool:
        states = self._timeline.states.values()
        return any(state.pid == pid and state.status == "running" for state in states)


_LATER = object()


def _kill(pid: int, *, group: bool = False) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
