"""Test runners."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from snapshot.core import ending
from snapshot.core.hosts.host import Host, Tell, callers
from snapshot.core.process import Exit


class Pytest(Host):
    """A snapshot in a test: the experiment ends when the test function does.

    So it tears down no fixture, runs no other test, and reports to nobody. What pytest has captured
    is in files that both processes have; the original takes it from there.
    """

    module = "_pytest.runner"
    ends = True

    # What would take from the files of the capture, and what it is in the experiment.
    _capture: ClassVar[dict[str, Any]] = {
        "read_global_capture": lambda: ("", ""),
        "deactivate_fixture": lambda: None,
        "stop_global_capturing": lambda: None,
    }

    def before(self) -> Any:
        """The plugins of the session whose test is running."""
        protocol = sys.modules[self.module].runtestprotocol.__code__
        for frame in callers():
            if frame.f_code is protocol:
                return frame.f_locals["item"].config.pluginmanager
        return None

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        if memo is None:
            return
        self._tell = tell
        if memo.is_registered(self):
            return
        memo.register(self)
        if (capture := memo.getplugin("capturemanager")) is not None:
            vars(capture).update(self._capture)

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        for failure in told:
            print(failure, file=sys.stderr)

    def keep(self, memo: Any) -> None:
        if memo is None or not memo.is_registered(self):
            return
        memo.unregister(self)
        if (capture := memo.getplugin("capturemanager")) is not None:
            for name in self._capture:
                delattr(capture, name)

    # What pytest calls in the experiment. The last plugin to be registered is the first to know.

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        if call.excinfo is not None:
            ending.end(Exit(code=self._code(item, call.excinfo)))
        elif call.when == "call":
            ending.end(Exit(code=0))

    def pytest_runtest_teardown(self) -> None:
        ending.end(Exit(code=0))  # after a post-mortem, which follows the report

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        if isinstance(excinfo.value, KeyboardInterrupt):
            ending.end(Exit(signal=signal.SIGINT))
        ending.end(Exit(code=excinfo.value.returncode or 2))

    def _code(self, item: Any, excinfo: Any) -> int:
        if isinstance(excinfo.value, SystemExit):
            return ending.status(excinfo.value.code)
        if isinstance(excinfo.value, sys.modules[self.module].Skipped):
            return 0
        self._tell(str(item.repr_failure(excinfo)))
        return 1
