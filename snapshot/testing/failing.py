"""A test that has failed is run again, in an experiment, and its past is kept.

pytest's process                            the experiment
────────────────────────────────            ────────────────────────────────
takes a snapshot ─────────────────────────→ the call phase, under the debugger
waits                                       asks where it fails
goes on, or ends the session ←───────────── `c` or `q`
"""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Any, NoReturn, cast

import pytest
from _pytest.debugging import pytestPDB

from snapshot.core import tree
from snapshot.core.line import Place
from snapshot.core.messages import say
from snapshot.core.moment import Options
from snapshot.core.timeline.starting import supervise_experiment
from snapshot.debugger.backwards import Pdb
from snapshot.debugger.engine import Event
from snapshot.debugger.world import World
from snapshot.errors import SnapshotError
from snapshot.testing.witness import Witness

Run = Callable[..., pytest.TestReport]

_GOES_ON, _QUITS, _PASSED = "goes on", "quits", "passed"
_GRACE = 1.0  # seconds in which a test that is to be stopped comes to its next line


def run_again(
    item: pytest.Item,
    run: Run,
    reports: Sequence[pytest.TestReport] = (),
    patience: float | None = None,
) -> bool:
    """Run the call phase of a test under the debugger; whether the session is to go on.

    run: `call_and_report` of pytest. reports: of its failure, to be shown before; none if it has
    asked for the debugger. patience: seconds after which it is stopped where it is; by default,
    never.
    """
    for each in reports:
        _show(item, each)
    writer = item.config.get_terminal_writer()
    writer.line()
    writer.sep(">", f"{item.name}, run again" if reports else f"{item.name} opens the debugger")
    writer.line("`revert` goes on to the next test, `q` ends the session")
    file, number, _ = item.location
    place = Place(str(item.path or file), (number or 0) + 1, item.name)
    try:
        in_experiment = tree.snapshot_at(place, options=Options(supervised=True))
    except SnapshotError as error:
        say(f"snapshot: {item.name} is not run again: {error}")
        return True
    if in_experiment:
        _debug(item, run, patience)
    experiment = tree.last_experiment()
    assert experiment is not None
    if experiment.value == _PASSED:
        say(f"snapshot: {item.name} has passed when it was run again")
    elif experiment.value is None:
        say(experiment.report)
    return bool(experiment.value != _QUITS)


def _show(item: pytest.Item, report: pytest.TestReport) -> None:
    """As pytest does where it opens a debugger."""
    writer = item.config.get_terminal_writer()
    wanted = item.config.getoption("showcapture")
    writer.line()
    for title, text in report.sections:
        if wanted == "all" or f" {wanted} " in title:
            writer.sep(">", title)
            writer.line(text.removesuffix("\n"))
    writer.sep(">", "traceback")
    report.toterminal(writer)


def _debug(item: pytest.Item, run: Run, patience: float | None) -> NoReturn:
    """In the experiment, which ends here."""
    signal.setitimer(signal.ITIMER_REAL, 0)  # whoever is asked may take as long as they like
    witness = Witness(item.config)
    debugger = Failing(item)
    cast(Any, pytestPDB)._init_pdb = lambda *_, **__: debugger

    def failure() -> BaseException | None:
        if patience is not None:
            signal.signal(signal.SIGALRM, debugger.lose_patience)
            signal.setitimer(signal.ITIMER_REAL, patience, _GRACE)
        try:
            run(item, "call", log=False)
        except BaseException as error:
            return error
        return next(iter(witness.failures), None)

    try:
        debugger.run_program(supervise_experiment(), failure)
    except BaseException:  # a fault of our own; pytest must not go on in this process
        traceback.print_exc()
    tree.revert(status=1)


class Failing(Pdb):
    """The debugger of a test that is run again: it asks where that fails, and not before."""

    def __init__(self, item: pytest.Item) -> None:
        super().__init__()
        self._item = item
        self._own.include_file(str(item.path))
        self._begun = self._asked = self._halted = False
        module = getattr(item, "module", None)
        if module is not None:
            self.main = module.__name__

    def show(self, event: Event) -> None:
        """See `engine.Prompt`; at the beginning there is a state, and nobody is asked."""
        begun, self._begun = self._begun, True
        if not begun and not self._traveller.visiting:
            self.set_continue()
            return
        self._ask()
        super().show(event)

    def _ask(self) -> None:
        self._asked = True
        signal.setitimer(signal.ITIMER_REAL, 0)

    def lose_patience(self, *_: object) -> None:
        """Handles a signal: stop at the next line; at the second one, where it waits."""
        if self._halted:
            if World.here is not None and World.here.aside:
                return  # the test does not wait: this debugger is at work
            raise pytest.fail.Exception("it waits for too long", pytrace=False)
        self._halted = True
        self.halt()

    def take(self, carried: bytes) -> None:
        self._begun = True
        super().take(carried)

    def show_end(self, moment: int, error: BaseException | None) -> None:
        """See `engine.Prompt`."""
        if error is None and not self._asked and not self._traveller.visiting:
            self._finish(_PASSED)
        self._ask()
        super().show_end(moment, error)

    def told_of_end(self, how: str) -> str:
        return f"{self._item.name} {how}. Its past is there (rs, back, goto), c goes on."

    def get_stack(
        self, frame: FrameType | None, trace: TracebackType | None
    ) -> tuple[list[tuple[FrameType, int]], int]:
        """As `Pdb`; of an exception, the last frame that is not a helper's which hides itself."""
        stack, index = super().get_stack(frame, trace)
        if frame is None:
            while index and _hides(stack[index][0]):
                index -= 1
        return stack, index

    def do_continue(self, arg: str) -> bool | None:
        """c(ont(inue))

        Go on; from the end of the test, to the next one.
        """
        if self._engine.event is None:
            self._finish(_GOES_ON)
        return super().do_continue(arg)

    do_c = do_cont = do_continue

    def do_quit(self, arg: str) -> bool:
        """q(uit)

        End pytest's session.
        """
        self._finish(_QUITS)

    do_q = do_exit = do_quit

    def do_keep(self, arg: str) -> None:
        """keep

        The real test has ended: there is nothing to go on with.
        """
        self.error("this is a test that is run again: the real one has ended")

    def _end_experiment(self, name: str) -> None:
        self._finish(_GOES_ON)

    def _finish(self, how: str) -> NoReturn:
        self._traveller.bye()
        tree.revert(value=how)


def _hides(frame: FrameType) -> bool:
    return bool(frame.f_locals.get("__tracebackhide__") or "__unittest" in frame.f_globals)
