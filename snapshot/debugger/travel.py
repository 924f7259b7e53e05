"""To every moment of the program's past: this process's place in it, and its way to another one.

    freeze      a state of this process as it is, now and then while the program runs
    go          the state of a moment wakes, or the nearest earlier one, which runs on to it
    search      copies of states run on, and tell when something was; one that has come a long way
                leaves a state near its end, so that nobody goes that way again

A process that was woken is a visitor: the program in it is given again what the world gave it, and
what it does has no effect, until it gets beyond what is known of its branch.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from snapshot.core import hosts, line, process, streams, threads
from snapshot.core.process import Exit
from snapshot.core.timeline.asking import About
from snapshot.core.timeline.member import Errand, Landing, Member
from snapshot.debugger.chronicle import Branch, Chronicle, Company, Stop
from snapshot.debugger.output import Output
from snapshot.debugger.searching import CUT, Found
from snapshot.debugger.shield import Shield
from snapshot.debugger.tape import Tape
from snapshot.debugger.world import World
from snapshot.errors import DebuggerError, TimelineError, UnknownState

_INTERVAL = 0.02  # seconds after which a state is made while the program runs
_SHARE = 8  # times as long as making the last one took, at least
_NEAR = 1000  # events before a moment among which something is looked for first
_FAR = 20_000  # events, from which on a state is left on the way: to repeat them takes longer
_CHECK = 0.005  # seconds between looks at the time
_MOST = 256  # events between them


class Traveller:
    """A process of the program under the debugger.

    branch: of the program's past it is on. visiting: whether it is a visitor. target: the time at
    which it is to stop, on its way. errand: what it is sent for. output: what it shows. news: what
    it was woken with. missing: what it has not that was there. died: how the process ended whose
    place it takes. home: the branch of the timeline on which the program has run at its own speed,
    if it has.
    """

    def __init__(
        self, member: Member, now: Callable[[], int], differs: Callable[[str, str], NoReturn]
    ) -> None:
        self._member = member
        member.quiet = True
        member.guards = False  # in a repeat all goes as it went
        member.flushes = False  # or what is written, and when, would depend on the states
        self.chronicle = Chronicle()
        self._tape = Tape()
        self._now = now
        self.world = World(self._tape, now)
        self.world.differs = differs
        self.world.shows = self._shown
        self.branch = self.chronicle.begin(None, 0)
        self.visiting = False
        self.target: int | None = None
        self.errand: Errand | None = None
        self.news: Mapping[str, Any] = {}
        self.missing = ""
        self.died: Exit | None = None
        self.home: int | None = None
        self._beginning = 0
        self._here: tuple[int, int] | None = None  # the branch and the time of the last state
        self._asked: tuple[int, str] | None = None  # when and where, while somebody is asked
        self._took = 0.0
        self._made = time.monotonic()
        self._looked = 0, self._made
        self._stride = 1
        self.output = Output()
        self._shield = Shield()
        self.world.stands_for = self.output.stands_for
        self._tell_past()

    # States.

    def look_at(self, now: int) -> int:
        """Look at the time; the event at which to look again."""
        before, then = self._looked
        seconds = time.monotonic() - then
        self._looked = now, then + seconds
        fitting = int(max(1, now - before) * _CHECK / max(seconds, 1e-9))
        self._stride = max(1, min(_MOST, 2 * self._stride, fitting))
        return now + self._stride

    def is_due(self) -> bool:
        """Whether it is time for another state."""
        return time.monotonic() - self._made > max(_INTERVAL, _SHARE * self._took)

    def freeze(self, now: int, place: str, *, prompted: bool) -> bool:
        """Make a state, unless there is one of this moment; whether a copy of it has woken here."""
        if self._here != (self.branch, now):
            self._look_for_others(now)
            self._here = self.branch, now
            began = time.monotonic()
            self.output.flush()
            landing = self._member.freeze(About(f"{now} {place}"), began)
            self._made = time.monotonic()
            self._looked = now, self._made
            if landing is not None:
                self._land(landing)
                return True
            self._took = self._made - began
        elif not prompted or any(each.time == now for each in self.chronicle.prompts(self.branch)):
            return False
        self._stopped(Stop(self.branch, now, self._member.at, prompted, place))
        return False

    def _stopped(self, stop: Stop) -> None:
        """A state was made, or somebody is asked where there was one."""
        self.chronicle.stopped(stop)
        facts = {"branch": stop.branch, "position": stop.time, "asked": stop.prompted}
        self._member.tell("stop", state=stop.state, **facts)

    def leave(self, now: int, place: str) -> bool:
        """On an errand: make a state, for who has sent it; whether a copy of it has woken here."""
        assert self.errand is not None
        self._here = self.branch, now
        note = self.branch, now, place
        landing = self._member.leave(self.errand, About(f"{now} {place}"), note)
        self._made = time.monotonic()
        self._looked = now, self._made
        if landing is None:
            return False
        self._land(landing)
        return True

    def begin(self) -> bool:
        """Make a state of the beginning, which is no moment of the program's; see `freeze`."""
        self.output.flush()
        landing = self._member.freeze(About("the beginning"), time.monotonic())
        if landing is not None:
            self._land(landing)
            return True
        self._beginning = self._member.at
        self._member.request("name", state=self._beginning, name="the beginning")
        return False

    def go_to_beginning(self, **brought: Any) -> None:
        """Let a copy of that state go on, until somebody comes back to this process.

        Raises `DebuggerError` where the program cannot be repeated from there.
        """
        if (hindrance := self.hindrance()) is not None:
            raise DebuggerError(hindrance)
        brought |= {"back": ("branch", self._member.branch), "quiet": True}
        try:
            self._leave(state=self._beginning, brought=brought)
        except TimelineError as error:
            raise DebuggerError(f"the program cannot be run again: {error}") from None

    def hindrance(self) -> str | None:
        """Why the program cannot be run again from its beginning, as far as that is known."""
        if not line.owns(self._member.pid):
            return "the program cannot be run again from here: this is a fork that it has made"
        company = self.chronicle.company(self.branch, 0, 1)
        if company is None:
            return None
        names = ", ".join(map(repr, company.names))
        return f"the program cannot be run again: it had other threads, {names}"

    def go_home(self) -> None:
        """End, and let the process go on that stands at `home`; raises `TimelineError` where there
        is none."""
        self.visiting = True
        self._leave(branch=self.home, brought={"quiet": True})

    def _shown(self) -> None:
        self.chronicle.shown(self.branch, self._now())

    def accompanied(self, name: str) -> None:
        """A thread is about to be started."""
        if not self.visiting:
            self.chronicle.accompanied(self.branch, self._now(), name)

    def _look_for_others(self, now: int) -> None:
        """Whether other threads run, which may have been started unseen, or have ended."""
        if self.visiting:
            return
        company = self.chronicle.company(self.branch, now, now + 1)
        if threads.alone():
            if company is not None:
                self.chronicle.alone(self.branch, now)
        elif company is None:
            since = now if self._here is None else self._here[1]
            for each in threads.others():
                self.chronicle.accompanied(self.branch, since, each.name)

    def _land(self, landing: Landing) -> None:
        if not self.visiting:  # else it was made by one that had not all that was there, either
            self.missing = landing.missing
        self.visiting = True
        self.errand = landing.errand
        self.news = landing.errand.details if landing.errand else landing.brought
        self.target = self.news.get("time")
        self.died = landing.died[2] if landing.died else None
        self.world.repeat(self.branch)
        self._shield.up()
        if self.errand is not None:
            self.output.mute()

    def mute(self) -> None:
        """The program is repeated: what it does has no effect from now on."""
        self.output.mute()
        self._shield.up()

    def unmute(self) -> None:
        """Somebody is asked, or what the program does is done for the first time."""
        self._shield.down()
        self.output.unmute()

    @contextlib.contextmanager
    def aloud(self) -> Iterator[None]:
        """What the debugger says is heard, wherever the program has put its streams, and in a
        repeat."""
        with self._shield.aside(), self.output.ours():
            yield

    def finish(self, found: Found) -> NoReturn:
        """End an errand."""
        assert self.errand is not None
        self._shield.down()
        self.errand.finish(tuple(found))

    def fail(self, reason: str) -> NoReturn:
        """End an errand on which the way was another one."""
        assert self.errand is not None
        self._shield.down()
        self.errand.finish(reason, leaves=False)

    # Where one can go.

    @property
    def known(self) -> Branch:
        """The branch that this process is on."""
        return self.chronicle.branches()[self.branch]

    def tell_where(self, now: int, ended: str | None = None) -> None:
        """The program has come this far on its branch."""
        if not self.visiting:
            self.chronicle.reached(self.branch, now, self._member.branch, ended)

    def asks(self, now: int, place: str) -> None:
        """Somebody is asked, at that place."""
        self._asked = now, place
        self._tell_past()

    def _tell_past(self) -> None:
        """Those who look at the session see what there is now."""
        courses = [
            (
                *(each.number, each.parent, each.root),
                None if each.number == self.branch else each.past,
                *(each.process, each.ended),
            )
            for each in self.chronicle.branches().values()
            if not each.hidden or each.number == self.branch
        ]
        here = None if self._asked is None else (self.branch, *self._asked)
        self._member.tell("courses", courses=courses, here=here)

    def go(
        self, branch: int, moment: int, *, drop: bool = False, sure: bool = False, **brought: Any
    ) -> None:
        """Stand at another moment; drop: and forget the branch that is left, if there was one.
        sure: whether a search has come by there, and so has seen that the way is the same.

        Returns where somebody has come back to this process, later. Raises `DebuggerError` if that
        moment cannot be reached; then nobody went anywhere.
        """
        back = ("state", self._member.at) if self.visiting else ("branch", self._member.branch)
        brought |= {"time": moment, "back": back, "quiet": True}
        found = self.chronicle.branches()[branch]
        if found.process is not None and moment == found.tip:
            try:
                return self._leave(branch=found.process, brought=brought, drop=drop)
            except TimelineError:
                self.chronicle.reached(branch, found.tip, None, found.ended)
        tried = sure
        while stops := self.chronicle.before(branch, moment):
            stop = stops[0]
            self._must_be_alone(branch, stop.time, moment)
            if not tried and stop.time != moment:
                tried = self._try_the_way(stop, moment)  # there may be a nearer one then
                continue
            try:
                return self._leave(state=stop.state, brought=brought, drop=drop)
            except UnknownState:
                self.chronicle.gone(stop.state)
                tried = sure
        raise DebuggerError(f"position {moment} cannot be reached: no state before it is left")

    def _try_the_way(self, stop: Stop, moment: int) -> bool:
        """From a state to the first known place that is not before a moment; False if the state is
        not there any more."""
        known = self.chronicle.known(stop.branch, moment)
        if known is None or self.chronicle.company(stop.branch, stop.time, known.time):
            return True
        return self._send(stop, "path", known.time, {"start": moment - _NEAR}) is not None

    def place(self, time: int) -> str | None:
        """Where this branch was at a time, if that is known."""
        known = self.chronicle.known(self.branch, time)
        return known.place if known is not None and known.time == time else None

    def company(self, begin: int, end: int) -> Company | None:
        """The first other threads that ran between two times of this branch."""
        return self.chronicle.company(self.branch, begin, end)

    def _must_be_alone(self, branch: int, begin: int, end: int) -> None:
        if (company := self.chronicle.company(branch, begin, end)) is not None:
            raise DebuggerError(
                f"what was between {begin} and {end} cannot be repeated: {company}; "
                "`back` and `forward` go to the stops"
            )

    def give_up(self, reason: str, carried: bytes) -> None:
        """On the way to a moment: go back to where the way began."""
        kind, number = self.news["back"]
        brought = {"failed": reason, "carried": carried, "quiet": True}
        self._leave(**{kind: number}, brought=brought)

    def _leave(self, *, drop: bool = False, **where: Any) -> None:
        if drop:
            self.chronicle.forget(self.branch)
        try:
            landing = self._member.travel(**where, forget=self.visiting or drop)
        except SystemExit:
            if not self.visiting:
                streams.flush_last()
            process.exit_now(Exit(code=0))
        except TimelineError:
            if drop:
                self.chronicle.restore(self.branch)
            raise
        self.news = landing.brought
        self._tell_past()

    def begin_branch(self, now: int) -> None:
        """What is done from here on has not been done before: it is a branch of its own."""
        self.branch = self.chronicle.begin(self.branch, now)
        self._here = None
        self.settle(now)
        self._tell_past()

    def takes_the_place_of_a_visitor(self) -> bool:
        """Whether the one that has died was not the process of its branch, which is there still."""
        return self.known.process not in (None, self._member.branch)

    def recover(self, now: int) -> int:
        """The process has died whose branch this is: what it did in the world is known, still.

        Returns the last time at which it is known to have lived.
        """
        times = (time for number, time in self._remembered() if number == self.branch)
        last = max(max(times, default=now), self.known.shown)
        self.chronicle.reached(self.branch, last + (last > now), None)
        return max(last, now, self.known.tip - 1)

    def stand_before_the_end(self, last: int, carried: bytes) -> None:
        """The process whose place this one takes has died after that time: go on to it."""
        self.news = {
            "back": ("state", self._member.at),
            "carried": carried,
            "told": f"The program {self.died}, after position {self.recover(last)}.",
        }
        self.chronicle.reached(self.branch, last + 1, None)
        self.died, self.target = None, last

    def _remembered(self) -> Iterator[tuple[int, int]]:
        """The branch and the time of all that the world has given."""
        for _, record in self._tape.records():
            yield marshal.loads(record)[:2]

    def settle(self, now: int) -> None:
        """No visitor any more: from here on this is the process of its branch."""
        if self.visiting and self.died is None:
            # What it does is done, from now on; its sockets lead nowhere.
            self._member.guard()
            hosts.serve_no_more()
        self.visiting = False
        self.target = None
        self.world.remember(self.branch)
        self.tell_where(now)

    def drop_others(self) -> None:
        """Forget all branches but this one and its past, and end the processes of all."""
        if self.home is not None:
            with contextlib.suppress(UnknownState):
                self._member.request("drop", branch=self.home)
            self.home = None
        line = {each.number: last for each, last in self.chronicle.lineage(self.branch)}
        for each in list(self.chronicle.branches().values()):
            if each.number != self.branch and each.process is not None:
                with contextlib.suppress(UnknownState):  # it went when `revert` left it
                    self._member.request("drop", branch=each.process)
                self.chronicle.reached(each.number, each.tip, None, each.ended)
            if each.number not in line:
                self.chronicle.forget(each.number)
            elif each.number != self.branch:
                self.chronicle.become_past(each.number, line[each.number])
        self._tell_past()

    def runs(self, statement: str) -> None:
        """What the user has typed is about to run: it is not this moment's fault if it kills."""
        self._member.begun(statement)

    def begun(self, place: str, told: bytes) -> None:
        """The program goes on, with that in mind which the user has told the debugger."""
        self.chronicle.leave(told)
        self.news = {**self.news, "back": ("state", self._member.at)}
        self._member.begun(place)
        self._asked = None
        self._tell_past()

    def is_here(self) -> bool:
        """Whether this process is one of the debugger's, and not a fork that the program made."""
        return os.getpid() == self._member.pid

    def bye(self) -> None:
        """The program has ended, and everything may."""
        self._member.tell("bye")

    def name(self, name: str | None) -> None:
        """Name the state made last. Raises `TimelineError`."""
        self._member.request("name", state=self._member.at, name=name)

    # Searching.

    def search(self, question: str, until: int, details: Mapping[str, Any]) -> Found:
        """The latest answer before a time, looked for from the nearest state backwards.

        Raises `DebuggerError`, and KeyboardInterrupt.
        """
        end, depth = until, details.get("depth", 0)
        for branch, last in list(self.chronicle.lineage(self.branch)):
            end = min(end, last)
            before = self.chronicle.before(branch.number, end)
            stops, rest = self._alone_until(end, [each for each in before if each.time < end])
            for stop, start in _stretches(stops, end):
                more = {**details, "depth": depth, "start": start}
                answer = self._send(stop, question, end, more)
                if answer is not None and answer.depth == CUT and start == stop.time:
                    first = (rest or stops)[-1]
                    answer = self._send(first, question, end, {**more, "start": 0})
                    if answer is not None and answer.depth == CUT:
                        return Found(None)
                if answer is None or answer.depth == CUT:
                    continue  # the next stretch begins earlier, and has the same end
                if answer.time is not None or answer.depth is None:
                    return answer
                end, depth = start, answer.depth
            if rest:
                self._must_be_alone(branch.number, rest[0].time, end)
        return Found(None)

    def _alone_until(self, end: int, stops: list[Stop]) -> tuple[list[Stop], list[Stop]]:
        """Those from which no other threads ran up to a time, and the others; the nearest first."""
        company = self.chronicle.company
        count = sum(company(each.branch, each.time, end) is None for each in stops)
        return stops[:count], stops[count:]

    def _send(
        self, stop: Stop, question: str, until: int, details: Mapping[str, Any]
    ) -> Found | None:
        self._must_be_alone(stop.branch, stop.time, until)
        leaves = details["start"] - stop.time >= _FAR
        more = {**details, "sought": question, "time": until, "leaves": leaves}
        try:
            answer, left = self._member.send(stop.state, **more)
        except UnknownState:
            self.chronicle.gone(stop.state)
            return None
        except TimelineError as error:
            raise DebuggerError(str(error)) from None
        if isinstance(answer, str):
            raise DebuggerError(answer)
        if left is not None:
            state, (branch, time, place) = left
            self._stopped(Stop(branch, time, state, prompted=False, place=place))
        return Found(*answer)


def _stretches(stops: Sequence[Stop], end: int) -> Iterator[tuple[Stop, int]]:
    """From which of these states to search back from a time, the nearest first, and from when on.

    First a short way; then the farther back, the longer.
    """
    if stops and stops[0].time < end - _NEAR:
        yield stops[0], end - _NEAR
    least = 0
    for stop in stops:
        span = end - stop.time
        if span and (span >= least or stop is stops[-1]):
            yield stop, stop.time
            least, end = 2 * span, stop.time
