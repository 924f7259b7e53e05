"""What the prompts, event loops and test runners around us need at a fork: one table.

An entry acts only if its module is loaded already. Its methods are called in the order

    before          in the process that takes the snapshot
    in_experiment   in the child; returns what to tell at once, through `tell`
    go_on           in the process that has forked and does not wait
    at_end          in the experiment, at an orderly end
    back            in the process that took it, with everything that the experiment told
    keep            in the experiment that becomes the original

and what `before` returns is handed to the others. `hangs` says what to do where the process that
takes a snapshot must not stand still; nothing of the others is called then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, ClassVar

from snapshot.core import census, ending
from snapshot.core.messages import say
from snapshot.core.process import Exit

Tell = Callable[[Any], None]


class Host:
    """An entry that does nothing; `module` is the one that must be loaded."""

    module = ""
    # Beginnings of the names of threads that the host makes again itself: their loss is no loss.
    threads: tuple[str, ...] = ()

    def hangs(self) -> str | None:
        return None

    def before(self) -> Any:
        return None

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        pass

    def go_on(self, memo: Any) -> None:
        pass

    def at_end(self, memo: Any, tell: Tell) -> None:
        pass

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        pass

    def keep(self, memo: Any) -> None:
        pass


class Asyncio(Host):
    """The running loop goes on in the experiment, with a self-pipe of its own (also: `epoll`)."""

    module = "asyncio"
    threads = ("asyncio_",)

    def before(self) -> Any:
        events: Any = sys.modules["asyncio.events"]
        policy = getattr(events, "_event_loop_policy", None)
        wakeup = -1
        with contextlib.suppress(ValueError):  # only the main thread may ask, or has set one
            wakeup = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(wakeup)
        census.look()
        loops = census.known(sys.modules["asyncio.base_events"].BaseEventLoop)
        return events._get_running_loop(), policy, getattr(policy, "_local", None), wakeup, loops

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        running, policy, local, wakeup, loops = memo
        for loop in loops:
            self._own_self_pipe(loop)
        if policy is not None:
            policy._local = local
        sys.modules["asyncio.events"]._set_running_loop(running)
        signal.set_wakeup_fd(wakeup)

    def _own_self_pipe(self, loop: Any) -> None:
        loop._default_executor = None
        if getattr(loop, "_csock", None) is None:
            return
        for old, new in zip((loop._ssock, loop._csock), socket.socketpair(), strict=True):
            new.setblocking(False)
            os.dup2(new.fileno(), old.fileno(), inheritable=False)
            new.close()


class PromptToolkit(Host):
    """ptpython and IPython: keys read ahead are handed over and back, and so is the history."""

    module = "prompt_toolkit.history"
    threads = ("asyncio_",)

    def before(self) -> Any:
        census.look()
        histories = census.known(sys.modules[self.module].History)
        # IPython's adapter reads its lines from a database, see below.
        return {id(each): each for each in histories if not hasattr(each, "_refresh")}

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        self._tell = tell
        for history in memo.values():
            if "append_string" not in vars(history):
                self._listen(history)

    def _listen(self, history: Any) -> None:
        append = history.append_string

        def append_string(string: str) -> None:
            append(string)
            self._tell(("line", id(history), string))

        history.append_string = append_string

    def at_end(self, memo: Any, tell: Tell) -> None:
        typeahead = self._typeahead()
        tell(("keys", dict(typeahead._buffer)))

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        typeahead = self._typeahead()
        typeahead._buffer.clear()
        for kind, *rest in told:
            if kind == "keys":
                typeahead._buffer.update(rest[0])
            elif (history := memo.get(rest[0])) is not None:
                history._loaded_strings.insert(0, rest[1])
                if hasattr(self, "_tell"):
                    self._tell((kind, *rest))

    def _typeahead(self) -> Any:
        import prompt_toolkit.input.typeahead as typeahead

        return typeahead


class Readline(Host):
    """The lines that the experiment reads through GNU readline: python's prompt, pdb, `input`.

    Each is told when the next prompt appears, so that a kill costs at most the last one.
    """

    module = "readline"

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        readline = self._readline()
        self._told = readline.get_current_history_length()
        readline.set_startup_hook(lambda: self._tell_new(tell))

    def at_end(self, memo: Any, tell: Tell) -> None:
        self._tell_new(tell)

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        for line in told:
            self._readline().add_history(line)

    def _tell_new(self, tell: Tell) -> None:
        readline = self._readline()
        length = readline.get_current_history_length()
        for index in range(self._told, length):
            tell(readline.get_history_item(index + 1))
        self._told = length

    def _readline(self) -> Any:
        return sys.modules[self.module]


class Pyrepl(Host):
    """The prompt of Python 3.13+: it reads far ahead, and keeps its history in a list."""

    module = "_pyrepl.readline"

    def before(self) -> Any:
        return self._reader()

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        reader = memo
        if reader is None:
            return
        self._told = len(reader.history)
        prepare = reader.prepare

        def prepare_and_tell() -> None:
            self._tell_new(reader, tell)
            prepare()

        reader.prepare = prepare_and_tell

    def at_end(self, memo: Any, tell: Tell) -> None:
        if memo is not None:
            self._tell_new(memo, tell)
            tell(_unread(memo.console))

    def back(self, memo: Any, told: Sequence[Any]) -> None:
        if memo is None:
            return
        console = memo.console
        console.event_queue.events.clear()
        console.event_queue.flush_buf()
        console.input_buffer, console.input_buffer_pos = b"", 0
        for each in told:
            if isinstance(each, bytes):
                console.input_buffer = each
            else:
                memo.history.append(each)

    def _tell_new(self, reader: Any, tell: Tell) -> None:
        for line in reader.history[self._told :]:
            tell(line)
        self._told = len(reader.history)

    def _reader(self) -> Any:
        return sys.modules[self.module]._wrapper.reader


def _unread(console: Any) -> bytes:
    """The keys that a console of _pyrepl has read and not used, as the bytes they came as."""
    events = b"".join(bytes(each.raw) for each in console.event_queue.events)
    unread: bytes = getattr(console, "input_buffer", b"")[getattr(console, "input_buffer_pos", 0) :]
    return events + bytes(console.event_queue.buf) + unread


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


class ThreadPool(Host):
    """A snapshot taken by a worker of a thread pool: its queue is never filled in the child.

    So the worker is told to stop when it has done its present work, and the experiment ends.
    """

    module = "concurrent.futures.thread"

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        worker = sys.modules[self.module]._worker.__code__
        for frame in _callers():
            if frame.f_code is worker:
                self._stop(frame.f_locals["work_queue"], frame.f_locals["executor_reference"]())
                return

    def _stop(self, queue: Any, executor: Any) -> None:
        with contextlib.suppress(Exception):
            while True:
                queue.get_nowait()
        if executor is not None:
            executor._shutdown = True
            executor._threads = set()
            executor._shutdown_lock = threading.Lock()
        queue.put(None)


class Pytest(Host):
    """A snapshot in a test: the experiment ends when the test function does.

    So it tears down no fixture, runs no other test, and reports to nobody. What pytest has captured
    is in files that both processes have; the original takes it from there.
    """

    module = "_pytest.runner"

    # What would take from the files of the capture, and what it is in the experiment.
    _capture: ClassVar[dict[str, Any]] = {
        "read_global_capture": lambda: ("", ""),
        "deactivate_fixture": lambda: None,
        "stop_global_capturing": lambda: None,
    }

    def before(self) -> Any:
        """The plugins of the session whose test is running."""
        protocol = sys.modules[self.module].runtestprotocol.__code__
        for frame in _callers():
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


class SocketServer(Host):
    """A snapshot in a request handler: the experiment serves this request, and no other.

    So the loop that serves, if it is in the experiment at all, ends after it: other requests are
    the original's, and where the sockets were dropped there is no other one.
    """

    module = "socketserver"

    def before(self) -> Any:
        serve_forever = sys.modules[self.module].BaseServer.serve_forever.__code__
        return [each.f_locals["self"] for each in _callers() if each.f_code is serve_forever]

    def in_experiment(self, memo: Any, tell: Tell) -> None:
        for server in memo:
            server._BaseServer__shutdown_request = True

    def keep(self, memo: Any) -> None:
        for server in memo:
            server._BaseServer__shutdown_request = False


class ForkExecutors(Host):
    """An executor that was inherited starts its thread anew when something is submitted."""

    module = "snapshot.core.executor"
    threads = ("ForkExecutor",)


HOSTS: tuple[Host, ...] = (
    Asyncio(),
    ForkExecutors(),
    IPyKernel(),
    IPython(),
    PromptToolkit(),
    Pyrepl(),
    Pytest(),
    Readline(),
    SocketServer(),
    ThreadPool(),
)


def hangs() -> str | None:
    """Why this process must not stand still, if it must not, and what to do instead."""
    reasons = (host.hangs() for host in HOSTS if host.module in sys.modules)
    return next(filter(None, reasons), None)


class Guests:
    """The hosts that are there at one snapshot, and what each of them remembers."""

    def __init__(self) -> None:
        self._present = [(host, host.before()) for host in HOSTS if host.module in sys.modules]

    def in_experiment(self, tell: Callable[[str, Any], None]) -> None:
        for host, memo in self._present:
            host.in_experiment(memo, _teller(tell, host))

    def go_on(self) -> None:
        for host, memo in self._present:
            host.go_on(memo)

    def at_end(self, tell: Callable[[str, Any], None]) -> None:
        for host, memo in self._present:
            with contextlib.suppress(Exception):
                host.at_end(memo, _teller(tell, host))

    def back(self, told: Iterable[tuple[str, Any]]) -> None:
        messages = list(told)
        for host, memo in self._present:
            host.back(memo, [value for subject, value in messages if subject == host.module])

    def keep(self) -> None:
        for host, memo in self._present:
            host.keep(memo)


def handed_over() -> dict[str, Any]:
    """The keys that were read ahead, when another process goes on at this prompt."""
    typeahead = sys.modules.get("prompt_toolkit.input.typeahead")
    return {"keys": dict(typeahead._buffer)} if typeahead else {}


def take(handed: Mapping[str, Any]) -> None:
    """In the process that goes on: those are all that is read ahead; lines are in a file."""
    typeahead = sys.modules.get("prompt_toolkit.input.typeahead")
    if typeahead:
        typeahead._buffer.clear()
        typeahead._buffer.update(handed.get("keys", {}))
        for history in PromptToolkit().before().values():
            _load_again(history)
    if IPython.module in sys.modules:
        IPython().refresh(IPython().shell())


def _load_again(history: Any) -> None:
    """Unless it has still to be loaded for the first time, or a thread is about to do that."""
    thread = getattr(history, "_load_thread", history)
    if thread is history:
        if not history._loaded:
            return
    elif thread is None or thread in threading.enumerate():  # alive it seems, if it was just ending
        return
    else:
        history._lock = threading.Lock()  # which the thread may have had at the fork
    history._loaded_strings = list(history.load_history_strings())
    history._loaded = True


def hidden() -> Mapping[str, Any]:
    """Names of `__main__`, with their values, that IPython does not count as the user's."""
    shell = IPython().shell() if IPython.module in sys.modules else None
    return getattr(shell, "user_ns_hidden", {})


def made_again(thread: threading.Thread) -> bool:
    """Whether a host sees to it that an experiment does not miss this thread."""
    return thread.name.startswith(tuple(name for host in HOSTS for name in host.threads))


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _teller(tell: Callable[[str, Any], None], host: Host) -> Tell:
    return lambda value: tell(host.module, value)
