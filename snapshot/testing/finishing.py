"""In a fork that runs a test: what was set up there is torn down there, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from snapshot.testing import capturing


class Finishing:
    """A plugin of pytest, which sees what is set up from the first test on."""

    def __init__(self) -> None:
        self._fixtures: set[Any] = set()
        self._held: list[Any] = []  # a generator that nobody holds runs to its end

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        self._fixtures.add(fixturedef)

    def forget(self, item: pytest.Item) -> None:
        """What there is by now belongs to the process that this one is a fork of."""
        stack = [finalizers for finalizers, _ in _set_up(item).stack.values()]
        # Until pytest 8.3, a fixture that is asked for again is to be torn down again.
        for finalizers in [*stack, *(each._finalizers for each in self._fixtures)]:
            self._held += finalizers
            finalizers.clear()

    def failure(self, item: pytest.Item) -> pytest.TestReport | None:
        """Tear down what was set up since `forget`, as by `request.getfixturevalue()` in a test.

        The report, if that fails, or if there is one more failure, as in a clean-up of unittest's.
        """
        state = _set_up(item)
        more = getattr(item, "_excinfo", None)
        if not more and not any(finalizers for finalizers, _ in state.stack.values()):
            return None
        with capturing.phase(item, "teardown"):
            call = pytest.CallInfo.from_call(lambda: state.teardown_exact(None), "teardown")
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        return None if report.passed else report


def _set_up(item: pytest.Item) -> Any:
    return item.session._setupstate
