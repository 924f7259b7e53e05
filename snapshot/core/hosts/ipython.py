"""IPython's shell, and its kernel."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

from snapshot.core.hosts.host import Host, Tell
from snapshot.core.messages import say


class IPython(Host):
    """Its history is written by a thread to SQLite; its temporary files die with the shell."""

    module = "IPython.core.history"
    threads = ("IPythonHistorySavingThread",)

    def before(self) -> Any:
        shell = self.shell()
        manager: Any = getattr(shell, "history_manager", None)
        thread = getattr(manager, "save_thread", None)
        if thread is not None:
            with contextlib.suppress(Exception):
                manager.writeout_cache()
            thread.stop()
            manager.db.close()  # no connection is carried over a fork
        return shell, manager, type(thread) if thread is not None else None

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        shell, manager, thread = memo
        if shell is None:
            return
        self._tempfiles = (shell.tempfiles, shell.tempdirs)
        shell.tempfiles, shell.tempdirs = [], []
        if manager is not None and manager.enabled:
            if thread is None:
                self._connection = manager.db  # the original's: never closed here
                manager.init_db()
            self._start(manager, thread)
            self._begin_session(manager)

    def at_end(self, memo: Any, tell: Tell) -> None:
        manager = getattr(memo[0], "history_manager", None)
        if manager is not None:
            with contextlib.suppress(Exception):
                manager.writeout_cache()

    def go_on(self, memo: Any) -> None:
        _, manager, thread = memo
        self._start(manager, thread)

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        self.go_on(memo)
        shell, manager, _ = memo
        with contextlib.suppress(Exception):
            # The experiment's lines are those of a later session: go on in one that is later yet.
            manager.end_session()
            manager.new_session()
            self.refresh(shell)

    def refresh(self, shell: Any) -> None:
        """What was typed elsewhere since is in the database."""
        with contextlib.suppress(AttributeError):  # a simple prompt has no history
            shell.pt_app.history._loaded = False
            shell.pt_app.history._refresh()

    def keep(self, memo: Any) -> None:
        if memo[0] is not None:
            memo[0].tempfiles += self._tempfiles[0]
            memo[0].tempdirs += self._tempfiles[1]

    def _start(self, manager: Any, thread: Any) -> None:
        if thread is not None:
            self._connect(manager)
            manager.save_thread = thread(manager)
            if not manager.save_thread.is_alive():
                manager.save_thread.start()

    def _connect(self, manager: Any) -> None:
        """As IPython does, which would also look at the tables, and move a locked file away."""
        sqlite: Any = sys.modules["sqlite3"]
        kinds = sqlite.PARSE_DECLTYPES | sqlite.PARSE_COLNAMES
        options = {"detect_types": kinds, **manager.connection_options}
        manager.db = sqlite.connect(str(manager.hist_file), **options)

    def _begin_session(self, manager: Any) -> None:
        try:
            manager.new_session()
        except Exception as error:  # somebody has it locked, or it is gone
            say(f"snapshot: the history of this process is not written: {error}")
            manager.hist_file = ":memory:"
            manager.init_db()
            manager.new_session()

    def shell(self) -> Any:
        return getattr(sys.modules["IPython"], "get_ipython", lambda: None)()


class IPyKernel(Host):
    """The notebook's kernel: the sockets and threads that its cells speak through live in it."""

    module = "ipykernel.kernelapp"

    def hangs(self) -> str | None:
        app = sys.modules[self.module].IPKernelApp
        heartbeat = app.instance().heartbeat if app.initialized() else None
        if heartbeat is None or not heartbeat.is_alive():  # a fork of the kernel has no thread
            return None
        return (
            "the experiment would be without this kernel's connection to the notebook, which would "
            "hang; it works after `%load_ext snapshot`, and in the kernel "
            '"Python (snapshot)" of `snapshot jupyter install`'
        )
