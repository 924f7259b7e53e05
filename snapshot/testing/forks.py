"""Each test's call phase in a disposable fork; its setup, its teardown and its fixtures stay here.

pytest's process                            a fork of it
────────────────────────────────            ────────────────────────────────
setup
forks ────────────────────────────────────→ the call phase, as pytest runs it
reads what it tells, or how it died ←────── its reports, warnings, properties
hands the reports on; teardown
"""

from __future__ import annotations

import copy
import faulthandler
import functools
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pickle import PickleBuffer
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, NoReturn, cast

import pytest
from _pytest import runner
from _pytest.debugging import pytestPDB
from _pytest.outcomes import Exit as Leave

from snapshot import pickling
from snapshot.core.disposable import fork_call
from snapshot.core.process import Exit
from snapshot.errors import ForkExited, ForkKilled, ForkTimeout, NotPicklable, SnapshotError
from snapshot.testing import capturing
from snapshot.testing.failing import run_again
from snapshot.testing.finishing import Finishing
from snapshot.testing.system import Patches, System, put
from snapshot.testing.witness import Witness

_GRACE = 1.0  # seconds that a fork has to do something about a timer that has gone off in it

_Timer = tuple[float, float]  # seconds until it goes off, and between two times, as setitimer(2)


class Raised(NamedTuple):
    """An exception on its way out of a fork. text: what it says, if it does not get here."""

    text: str
    data: bytes
    buffers: list[PickleBuffer]

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        text = "".join(traceback.format_exception_only(error)).rstrip()
        try:
            data, buffers = pickling.dump(error)
        except NotPicklable:
            return cls(text, b"", [])
        return cls(text, data, [PickleBuffer(raw) for raw in buffers])

    def here(self) -> BaseException:
        """It, or what stands for one that cannot leave its process."""
        try:
            error = pickling.load(self.data, map(memoryview, self.buffers))
        except NotPicklable:
            error = None
        if isinstance(error, BaseException):
            return error
        return pytest.fail.Exception(self.text, pytrace=False)


class Told(NamedTuple):
    """What a fork tells of its test.

    subtests: their reports. error: what the test has raised. teardown: the report of what the fork
    has torn down, if that has failed. failed: whether a debugger would be opened for the test.
    sections: what was captured, each with its phase and stream. warned: in the fork.
    """

    report: pytest.TestReport
    subtests: list[pytest.TestReport]
    error: Raised | None
    teardown: pytest.TestReport | None
    failed: bool
    sections: list[tuple[str, str, str]]
    properties: list[tuple[str, object]]
    warned: list[warnings.WarningMessage]


class Asks(Leave):
    """A test opens the debugger, in a fork that has no terminal."""


class Forks:
    """The plugin of pytest where `--snapshot` was given."""

    def __init__(self, config: pytest.Config) -> None:
        if config.getoption("trace"):
            raise pytest.UsageError(
                "--trace opens a debugger in each test, and --snapshot runs each test in a fork, "
                "which has no terminal: give one of the two"
            )
        self._config = config
        self._timeout: float | None = config.getoption("snapshot_timeout")
        self._told: Told | None = None
        self._debugged = False
        self._torn_down: pytest.TestReport | None = None  # in a fork, and that has failed
        self._warned: list[warnings.WarningMessage] = []
        self._finishing = Finishing()
        config.pluginmanager.register(self._finishing)
        # All who run a test come by here; there is no hook that could run a phase in another way.
        self._in_this_process = runner.call_and_report
        runner.call_and_report = self._call_and_report

    def pytest_unconfigure(self) -> None:
        runner.call_and_report = self._in_this_process

    def pytest_collection_finish(self) -> None:
        """Before there are fixtures; what somebody has replaced by now is to stay."""
        self._system = System()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        """Warnings of the fork are added to those of this process.

        They are taken outside of what fixtures do with them, as pytest takes them.
        """
        if not self._config.pluginmanager.hasplugin("warnings"):
            return (yield)
        try:
            with warnings.catch_warnings(record=True) as self._warned:
                return (yield)
        finally:
            for each in self._warned:
                cast(Any, warnings)._showwarnmsg(each)  # with its source

    def pytest_report_header(self) -> str:
        limit = "" if self._timeout is None else f", {self._timeout:g} s at most"
        return f"snapshot: each test in a fork{limit}"

    @functools.cached_property
    def _may_ask(self) -> bool:
        """Whether there is a terminal, and pytest writes to it; a worker of xdist has none."""
        if hasattr(self._config, "workerinput"):
            return False
        if not self._config.pluginmanager.hasplugin("terminalreporter"):
            return False
        with capturing.suspended(self._config):
            return os.isatty(0) and os.isatty(1)

    def _call_and_report(
        self,
        item: pytest.Item,
        when: Literal["setup", "call", "teardown"],
        log: bool = True,
        **more: Any,
    ) -> pytest.TestReport:
        """As pytest's own."""
        if when != "call" or item.config is not self._config:
            return self._in_this_process(item, when, log, **more)
        self._told, self._debugged, self._torn_down = None, False, None
        faulthandler.cancel_dump_traceback_later()  # a fork that did so would wait for its thread
        call = pytest.CallInfo.from_call(
            lambda: self._run(item), when, reraise=(Leave, KeyboardInterrupt)
        )
        told = self._told
        if told is None:
            for stream, text in zip(("stdout", "stderr"), capturing.read(item.config), strict=True):
                item.add_report_section(when, stream, text)
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        subtests: list[pytest.TestReport] = []
        failed = report.failed
        if told is not None:
            report, subtests, failed = told.report, told.subtests, told.failed
        for each in [*subtests, *([report] if log else [])]:
            item.ihook.pytest_runtest_logreport(report=each)
        if failed and not self._debugged:
            self._debug(item, [each for each in (*subtests, report) if each.failed])
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> pytest.TestReport | None:
        """The report that was made in the fork, where other plugins have added what they add.

        Here they get a copy: for what they note of it until the teardown.
        """
        if call.when == "teardown" and self._torn_down is not None and call.excinfo is None:
            report = self._torn_down
            report.sections = pytest.TestReport.from_item_and_call(item, call).sections
            return report
        if self._told is None:
            return None
        report, self._told = copy.copy(self._told.report), None
        report.sections = list(report.sections)
        return report

    def _run(self, item: pytest.Item) -> None:
        """Run a test in a fork; raise what it raises."""
        try:
            try:
                told = self._forked(item, _ask if self._may_ask else None)
            except Asks:
                self._debug(item)
                self._debugged = True
                told = self._forked(item, _ask_nobody)
        except ForkKilled as error:
            reason = f"its process {Exit(signal=error.signal)}"
        except ForkExited as error:
            reason = f"its process {Exit(code=error.code)}"
        except ForkTimeout:
            reason = f"it did not end within {self._timeout:g} s, and was killed"
        except SnapshotError as error:
            reason = str(error).partition("\n")[0]
        except pytest.fail.Exception as error:  # of a timer that has gone off in this process
            reason = str(error.msg)
        else:
            self._told, self._torn_down = told, told.teardown
            item.user_properties[:] = told.properties
            for section in told.sections:
                item.add_report_section(*section)
            self._warned += told.warned
            if told.error is not None:
                raise told.error.here()
            return
        pytest.fail(reason, pytrace=False)

    def _forked(self, item: pytest.Item, open_debugger: Callable[..., Any] | None) -> Told:
        patches = self._system.restore()
        try:
            with _timer_of_both() as timer:
                return fork_call(
                    self._tell, item, open_debugger, timer, patches, timeout=self._timeout
                )
        finally:
            put(patches)

    def _tell(
        self,
        item: pytest.Item,
        open_debugger: Callable[..., Any] | None,
        timer: _Timer,
        patches: Patches,
    ) -> Told:
        """In the fork: run the test as pytest does."""
        if open_debugger is not None:
            cast(Any, pytestPDB)._init_pdb = open_debugger
        if faulthandler.is_enabled():
            faulthandler.enable(2)  # not pytest's own copy of it, which is not captured
        witness = Witness(item.config)
        known, warned = len(item._report_sections), len(self._warned)
        self._finishing.forget(item)
        signal.setitimer(signal.ITIMER_REAL, *timer)
        put(patches)
        try:
            with _watched(item):
                report = self._in_this_process(item, "call", log=False)
            error = witness.error
            teardown = self._finishing.failure(item)
        finally:
            self._system.restore()
        signal.setitimer(signal.ITIMER_REAL, 0)
        # As its status is asked for, it becomes that of a test in which a subtest has failed.
        item.config.hook.pytest_report_teststatus(report=report, config=item.config)
        _save_coverage()
        return Told(
            report,
            witness.reports,
            None if error is None else Raised.of(error),
            teardown,
            bool(witness.failures),
            item._report_sections[known:],
            item.user_properties,
            [*map(_portable, self._warned[warned:])],
        )

    def _debug(self, item: pytest.Item, reports: Sequence[pytest.TestReport] = ()) -> None:
        """Run a test again, under the debugger, if there is somebody to ask."""
        if not self._may_ask:
            return
        patches = self._system.restore()

        def run(*args: Any, **kwargs: Any) -> pytest.TestReport:
            put(patches)
            return self._in_this_process(*args, **kwargs)

        with capturing.suspended(item.config):
            goes_on = run_again(item, run, reports, self._timeout)
            capturing.read(item.config)  # that was not of the test which is reported
        put(patches)
        if not goes_on:
            pytest.exit("Quitting debugger")


def _portable(warned: warnings.WarningMessage) -> warnings.WarningMessage:
    """With something in the place of its source: where there is one, pytest gives advice."""
    if warned.source is not None:
        warned.source = type(warned.source).__qualname__
    return warned


def _ask(*_: Any, **__: Any) -> NoReturn:
    raise Asks("the debugger")


def _ask_nobody(*_: Any, **__: Any) -> Any:
    return SimpleNamespace(set_trace=lambda *_, **__: None)


def _watched(item: pytest.Item) -> AbstractContextManager[object]:
    """What takes too long in the block is shown, if pytest was told so: `faulthandler_timeout`."""
    plugin: Any = item.config.pluginmanager.getplugin("faulthandler")
    return nullcontext() if plugin is None else contextmanager(plugin.pytest_runtest_protocol)(item)


def _save_coverage() -> None:
    """What coverage.py has measured in this process would be gone with it."""
    coverage: Any = sys.modules.get("coverage")
    current = None if coverage is None else coverage.Coverage.current()
    if current is not None:
        current.save()


@contextmanager
def _timer_of_both() -> Iterator[_Timer]:
    """The interval timer is the fork's as well, where more is known when it goes off.

    Here it goes off later, if the fork has done nothing about it.
    """
    timer = left, interval = signal.getitimer(signal.ITIMER_REAL)
    if not left:
        yield timer
        return
    signal.setitimer(signal.ITIMER_REAL, left + _GRACE, interval)
    try:
        yield timer
    finally:
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        signal.setitimer(signal.ITIMER_REAL, left - _GRACE if left > _GRACE else interval, interval)
