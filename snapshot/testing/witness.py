"""In a fork that runs a test: what comes of it is taken down, and nobody else hears of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest


class Witness:
    """Takes the reports that are made in this process, before any other plugin sees them.

    reports: those of subtests, which are made on the way. error: what the test has raised, whether
    or not that was expected. failures: what a debugger would be opened for, the first one first.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.reports: list[pytest.TestReport] = []
        self.error: BaseException | None = None
        self.failures: list[BaseException] = []
        plugins = config.pluginmanager
        if (post_mortem := plugins.getplugin("pdbinvoke")) is not None:  # --pdb
            plugins.unregister(post_mortem)
        plugins.register(_Wall())
        plugins.register(self)  # the last one is asked first

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self.error = None if call.excinfo is None else call.excinfo.value
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(
        self, report: pytest.TestReport
    ) -> Generator[None, list[Any], list[Any]]:
        self.reports.append(report)
        try:
            return (yield)
        except _Taken:
            return []

    def pytest_exception_interact(self, call: pytest.CallInfo[None]) -> None:
        assert call.excinfo is not None
        self.failures.append(call.excinfo.value)


class _Taken(Exception):
    """A report goes no further."""


class _Wall:
    """Between the witness and all other plugins."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self) -> Generator[None, list[Any], list[Any]]:
        raise _Taken
        return (yield)
