"""The time machine: what a person says at a prompt about states, branches and futures.

One object, `tm`, for every prompt. The prompt tells it when a cell begins and ends; in a process
that was woken elsewhere, `end` returns a `Landing`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from snapshot.core import line, tree
from snapshot.core.descriptors import close
from snapshot.core.garbage import Garbage
from snapshot.core.immortal import Immortals
from snapshot.core.limits import in_bytes
from snapshot.core.memory import compact, own_memory, size
from snapshot.core.messages import say
from snapshot.core.timeline.asking import About, Variable
from snapshot.core.timeline.channel import high
from snapshot.core.timeline.member import Landing, Member
from snapshot.core.timeline.tasks import Task
from snapshot.errors import TimelineError, UsageError
from snapshot.repl import archive, differences
from snapshot.repl.archive import Archive, Variables
from snapshot.repl.futures import BranchFuture, evaluation
from snapshot.repl.views import Past, Tasks, Tree, ending

_MARGIN = 10  # columns to the left of what a prompt shows
_BURST = 40  # lines that a future may show at once

# Collapsing memory to huge pages pays where so much has come since the last state; it may take that
# part of the time that the cell took, or so many seconds if this is more.
_GROWN, _PART, _LEAST = 64 << 20, 0.2, 0.5


class TimeMachine:
    """Travel in the past of this process, and branches of it that run in the background.

    past(n), present(), states(), name(n, text), vars(n), ans(n), diff(m, n), rerun(n);
    future(…), tasks, running, finished, output(n); save(path), load(path), to_main(mapping);
    saving(on), dontsave(thing), clear_past(cells), budget(…), notify_terminal(on), unhook().
    """

    def __init__(
        self,
        member: Member,
        over: Callable[[], NoReturn] | None = None,
        *,
        began: float | None = None,
    ) -> None:
        """over: ends a process that waits, where a `SystemExit` would not come through.

        began: when what is there before the first cell began to run, on the clock of
        `time.monotonic`; now, if it is not given.
        """
        self._member: Member | None = member
        self._over = over
        self._saving = True
        self._hidden: list[object] = []
        self._source = ""
        self._thread = threading.get_ident()  # the one that runs the cells
        self._garbage = Garbage()
        self._immortals = Immortals()
        self._began = time.monotonic() if began is None else began
        self._held = 0  # bytes, when the last state was made
        self._travelled = False
        self._futures: dict[int, BranchFuture] = {}
        self._shown: dict[int, int] = {}
        self._notify = {"terminal": True, "jupyter": False}

    # What a prompt calls.

    @property
    def number(self) -> int:
        """Of the cell that is typed or runs."""
        return self._here.number

    @property
    def branch(self) -> int:
        """The branch that this process is on; 1 is the present."""
        return self._here.branch

    @property
    def is_on(self) -> bool:
        """False after `unhook()`."""
        return self._member is not None

    def fileno(self) -> int:
        """Readable when there is something for `news` to tell."""
        return self._here.fileno()

    @property
    def has_news(self) -> bool:
        """Whether there is some that `fileno` announces no more: another request met it."""
        return self._member is not None and self._member.has_news

    def begin(self, source: str) -> None:
        """A cell is about to run."""
        self._source, self._began, self._travelled = source, time.monotonic(), False
        self._thread = threading.get_ident()
        if self._member is not None:
            self._garbage.collect()  # what a prompt has left: the cell's objects take its place
            self._member.begun(source)

    def end(self, value: Any = None, error: BaseException | None = None) -> Landing | None:
        """The cell has ended, or (before the first one) nothing was done yet: make a state.

        Returns None; in a process that was woken here, later, a `Landing`.
        """
        member = self._member
        if member is None or self._travelled:
            return None
        try:
            if not self._saving or tree.in_snapshot():
                member.passed()
                return None
            self._garbage.collect_before_freezing()
            self._immortals.add()
            self._collapse()
            landing = member.freeze(
                About(self._source, value, error, self._hidden_names()), self._began
            )
        except TimelineError as problem:
            self._member = None
            say(f"snapshot: the time machine is off: {problem}")
            return None
        if landing is not None:
            self._arrive()
        return landing

    def _collapse(self) -> None:
        """Make what has come since the last state cheap to fork, while no state shares it yet."""
        held = own_memory()
        if held - self._held >= _GROWN:
            compact(seconds=max(_LEAST, _PART * (time.monotonic() - self._began)))
        self._held = held

    def _arrive(self) -> None:
        """In a process that was woken: what was begun elsewhere is not this one's."""
        self._futures.clear()
        self._travelled = False

    @property
    def about(self) -> About:
        """The cell of the state where this process was woken."""
        return self._here.about

    def news(self) -> list[str]:
        """What is to be told of futures since this was asked for: output, and their ends."""
        told: list[str] = []
        for kind, content in self._here.news():
            if kind == "output":
                told += self._output_of(content)
            else:
                told += self._output_of(content.number)
                if (future := self._futures.get(content.number)) is not None:
                    future.notice(content)
                if self._notify["terminal"]:
                    told.append(ending(content))
        return told

    def endings(self) -> list[Task]:
        """The futures that have ended since `news` or this was asked for."""
        ended = [content for kind, content in self._here.news() if kind != "output"]
        for task in ended:
            if (future := self._futures.get(task.number)) is not None:
                future.notice(task)
        return ended

    def notifies(self, where: str) -> bool:
        """Whether that is to be told: in the "terminal", or in "jupyter"."""
        return self._notify[where]

    def may_leave(self) -> bool:
        """Ask, where futures run, whether they may end; where nobody answers, they may."""
        if self._member is None or tree.in_snapshot() or not (running := self.running):
            return True
        print(repr(running), file=sys.stderr)
        try:
            answer = input("These futures still run: end them and leave? [y/N] ")
        except (EOFError, KeyboardInterrupt):
            print(file=sys.stderr)
            return True
        leaves = answer.strip().lower() in ("y", "yes")
        if not leaves:
            self._member.passed()  # the cell that would have left, if it was one
        return leaves

    def bye(self) -> None:
        """This process is about to end because its user wants it to."""
        if self._member is not None and not tree.in_snapshot():
            self._member.tell("bye")

    # Travelling.

    def past(self, n: int | str) -> None:
        """Go to the state after cell `n`, or that of this name: the whole process as it was then.

        Names that came later are gone; random numbers and positions in files are as they were.
        It is another process, without the other threads, its sockets and pipes closed. From there
        on is a new branch; `present()` comes back. The state itself stays, to be visited again.
        Raises `UnknownState`, which names the nearest one.
        """
        self._travel(state=n)

    def present(self, branch: int = 1) -> None:
        """Go back to the process that was there first, or to that at the tip of another branch.

        Same pid, its threads alive. Raises `UnknownState`; `TimelineError` where one is there.
        """
        if not _is_number(branch):
            raise UsageError(f"present({branch!r}): give the number of a branch")
        self._travel(branch=branch)

    def rerun(self, n: int | str) -> None:
        """Run the code of cell `n` again from the state before it: a branch."""
        self._only_here("rerun")
        state = self._state(n)
        if state.parent is None:
            raise UsageError(f"rerun({n!r}): nothing comes before state {state.number}")
        source = self._here.ask(state.number, "source")
        self._travel(state=state.parent, brought={"source": source})

    def _travel(self, **where: Any) -> None:
        self._only_here("past" if "state" in where else "present")
        with contextlib.suppress(AttributeError, ValueError):  # none, or closed
            sys.stdout.flush()
        try:
            landing = self._here.travel(**where, drop=_is_one_call(self._source))
        except SystemExit:
            self._member = None  # nobody listens any more
            if self._over is not None:
                self._over()
            raise
        self._travelled = True
        say(f"snapshot: back in process {os.getpid()}, at state {landing.at}")

    def _only_here(self, verb: str) -> None:
        if threading.get_ident() != self._thread:
            name = threading.current_thread().name
            raise TimelineError(
                f"{verb}(): this is thread {name!r}, and the one that runs the cells would go on: "
                "call it in a cell"
            )
        if tree.in_snapshot():
            raise TimelineError(
                f"{verb}(): this is an experiment, whose cells leave no states: revert() or keep() "
                "first"
            )

    # Looking.

    def states(self) -> Tree:
        """The tree of states: number, branch, name, code, age, private memory, a mark for here."""
        columns = shutil.get_terminal_size().columns
        text = self._here.request("drawn", width=columns - _MARGIN)
        return Tree(text, self._here.request("states"))

    def name(self, n: int | str, name: str | None) -> None:
        """Give a state a name, which `past` takes too; it is thinned out last. None takes it."""
        if name is not None and (
            not isinstance(name, str)
            or not name.strip()
            or not name.isprintable()
            or name.isdecimal()
        ):
            raise UsageError(f"name({n!r}, {name!r}): a name is a text in one line, and no number")
        self._here.request("name", state=n, name=name)

    def vars(self, where: Any, n: Any = None) -> Variables:
        """The variables after cell `n`: a mapping, whose values are fetched when looked at.

        `vars(n)`, or `vars(archive, n)` for what `load` returned. What cannot leave its process is
        there as type, repr and reason. Raises `UnknownState`.
        """
        if n is None:
            here = self._here
            state = self._state(where).number
            listing: dict[str, Variable] = here.ask(state, "listing")
            return Variables(listing, lambda name: here.ask(state, "value", name=name))
        if not isinstance(where, Archive | Past):
            raise UsageError(f"vars(VX, n): VX is what load() returned, or tm.VX, not {where!r}")
        return where.vars(n)

    def ans(self, n: int | str) -> Any:
        """The value of cell `n`, or of a future; raises what it raised."""
        return self._here.ask(n, "answer")

    def diff(self, m: int | str, n: int | str) -> differences.Differences:
        """Which variables differ between two states, and how."""
        here = self._here
        return differences.between(
            (self.vars(m), here.ask(m, "digests")), (self.vars(n), here.ask(n, "digests")), m, n
        )

    @property
    def VX(self) -> Past:
        """All states that there are, as `vars(VX, n)` takes them; `save` writes them to a file."""
        return Past(self.states, self.vars)

    # Keeping.

    def saving(self, on: bool) -> None:
        """Whether cells leave states."""
        self._saving = _switch("saving", on)

    def dontsave(self, thing: object) -> None:
        """Leave an object out of archives. The states themselves have everything."""
        if not any(each is thing for each in self._hidden):
            self._hidden.append(thing)

    def clear_past(self, cells: Iterable[int] | int | None = None) -> None:
        """Give up the states of these cells; of all but the named ones, if none are given."""
        several: Any = cells if isinstance(cells, Iterable) else [cells]
        numbers = None if cells is None else list(several)
        if wrong := [each for each in numbers or () if not _is_number(each)]:
            raise UsageError(f"clear_past({cells!r}): {wrong[0]!r} is not the number of a cell")
        cleared, kept = self._here.request("clear", cells=numbers)
        text = f"snapshot: cleared {_count(len(cleared), 'state')}"
        if kept:
            text += f"; kept, as named: {', '.join(map(str, kept))} (clear_past([…]) clears them)"
        say(text)

    def budget(self, *, states: int | None = None, memory: int | str | None = None) -> str:
        """How many states there may be, and how much memory they may hold for themselves.

        memory: bytes, or as "2G". By default 100 states and a quarter of the memory that was free
        at the beginning. Beyond it they are thinned out, older ones more, named ones last. Returns
        what is in force and used, as text.
        """
        if states is not None and (not _is_number(states) or states < 1):
            raise UsageError(f"budget(states={states!r}): give a number from 1 on")
        limit = None if memory is None else in_bytes("memory", memory)
        budget, count, held = self._here.request("budget", states=states, memory=limit)
        return f"{count} states with {size(held)} of their own; allowed are {budget}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the variables of all states into an archive; the same value is stored once.

        A zip file with pickles in it, which `load` reads in any process that has the same modules.
        What cannot be pickled is there as type, repr and reason.
        """
        here, file = self._here, _path("save", path)
        states = sorted(here.request("states").frozen(), key=lambda each: each.number)
        archive.write(file, states, lambda n, known: here.ask(n, "contents", known=known))

    def load(self, path: str | os.PathLike[str]) -> Archive:
        """Open an archive: see `vars(archive, n)`. Unpickling a value of it runs code."""
        return Archive(_path("load", path))

    def to_main(self, mapping: Mapping[str, Any]) -> None:
        """Put all variables of a mapping, such as `vars(n)`, into the globals of the prompt."""
        if not isinstance(mapping, Mapping):
            raise UsageError(f"to_main({mapping!r}): give a mapping, such as vars(n)")
        for name in mapping:
            if not isinstance(name, str) or not name.isidentifier():
                raise UsageError(f"to_main(…): {name!r} is no name of a variable")
        vars(sys.modules["__main__"]).update(dict(mapping))

    # Futures.

    def future(self, work: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> BranchFuture:
        """Run a function, or source, in a fork with a copy of everything, in the background.

        Its random numbers are its own. When it is done it is a state: `past(n)`, `vars(n)` and
        `ans(n)` take its number, `future.state`. Raises `CannotFork`.
        """
        if isinstance(work, str):
            if args or kwargs:
                raise UsageError("future(source): source takes no arguments")
            try:
                source, call = work, evaluation(work, vars(sys.modules["__main__"]))
            except SyntaxError as error:
                where = f"in line {error.lineno}: {(error.text or '').strip()}"
                raise UsageError(f"future(source): {error.msg} {where}") from None
        elif callable(work):
            source, call = _call_text(work, args, kwargs), functools.partial(work, *args, **kwargs)
        else:
            raise UsageError(f"future({work!r}): give a function and its arguments, or source")
        self._only_here("future")
        readable, writable = os.pipe()
        ended = high(readable)
        try:
            started = self._here.start(call, source, writable)
        except BaseException:
            close(ended)
            raise
        if isinstance(started, Landing):
            self._arrive()
            raise Landed(started)
        future = BranchFuture(self._here, started, ended)
        self._futures[started] = future
        return future

    @property
    def tasks(self) -> Tasks:
        """All futures: a sequence that shows as a table."""
        return Tasks(self._here.request("tasks"))

    @property
    def running(self) -> Tasks:
        """The futures that run."""
        if not self._here.busy:  # asked for whenever a prompt is drawn
            return Tasks()
        return Tasks(each for each in self.tasks if each.status == "running")

    @property
    def finished(self) -> Tasks:
        """The futures that have ended."""
        return Tasks(each for each in self.tasks if each.status != "running")

    def output(self, n: int) -> str:
        """All that a future has written; of more than 16 MiB the last."""
        _, data = self._here.request("output", future=n)
        return str(data.decode(errors="replace"))

    def notify_terminal(self, on: bool = True) -> None:
        """Whether a line says that a future has ended. On, if nobody says otherwise."""
        self._notify["terminal"] = _switch("notify_terminal", on)

    def notify_jupyter(self, on: bool = True) -> None:
        """Whether that is said in the output of the current notebook cell. Off by default."""
        self._notify["jupyter"] = _switch("notify_jupyter", on)

    def unhook(self) -> None:
        """Switch all of it off: states, futures and other branches end. The prompt goes on."""
        self._only_here("unhook")
        if self._here.branch != 1:
            raise TimelineError(
                "unhook(): go back to the present first, which would end: present()"
            )
        self._here.request("unhook")
        self._member = None
        say("snapshot: the time machine is off; nothing of it runs any more")

    # What all of these need.

    @property
    def _here(self) -> Member:
        if self._member is None:
            raise TimelineError("the time machine is off, after unhook() or an error")
        pid, here = self._member.pid, line.here
        if pid != os.getpid() and (here.disposable or not (here.waiting or pid in here.before)):
            raise TimelineError(
                f"process {os.getpid()} is a fork of process {pid}, whose time machine this is"
            )
        return self._member

    def _state(self, n: Any) -> Any:
        return self._here.request("state", state=n)

    def _hidden_names(self) -> frozenset[str]:
        if not self._hidden:
            return frozenset()
        named = vars(sys.modules["__main__"]).items()
        return frozenset(n for n, v in named if any(v is each for each in self._hidden))

    def _output_of(self, number: int) -> list[str]:
        position, data = self._here.request(
            "output", future=number, since=self._shown.get(number, 0)
        )
        self._shown[number] = position
        lines = [f"[{number}] {each}" for each in data.decode(errors="replace").splitlines()]
        if len(lines) <= _BURST:
            return lines
        more = f"[{number}] … {len(lines) - _BURST} lines more: tm.output({number})"
        return [more, *lines[-_BURST:]]


class Landed(BaseException):
    """Raised where a future was started, in a process that was woken when it was done.

    It passes through the frames of the cell that started it, up to the prompt.
    """

    def __init__(self, landing: Landing) -> None:
        super().__init__(landing)
        self.landing = landing


def _is_one_call(source: str) -> bool:
    """Whether a cell does nothing but go somewhere, so that nothing is lost with its process."""
    import ast

    try:
        body = ast.parse(source.strip()).body
    except SyntaxError:
        return True  # a magic of IPython's
    return len(body) == 1 and isinstance(body[0], ast.Expr)


def _call_text(work: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    import reprlib

    from snapshot.core.job import name_of

    given = [reprlib.repr(each) for each in args]
    given += [f"{name}={reprlib.repr(each)}" for name, each in kwargs.items()]
    return f"{name_of(work)}({', '.join(given)})"


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _switch(verb: str, on: object) -> bool:
    if not isinstance(on, bool):
        raise UsageError(f"{verb}({on!r}): give True or False")
    return on


def _path(verb: str, path: Any) -> Path:
    try:
        return Path(path)
    except TypeError:
        raise UsageError(f"{verb}({path!r}): give the path of a file") from None


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
