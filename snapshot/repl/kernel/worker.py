"""The process that runs the cells: IPython's shell without a socket of ZMQ and without a thread.

What it publishes goes over the wire; what answers a request is sent when its state is made, by the
process that goes on then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import comm
from ipykernel.ipkernel import IPythonKernel
from ipykernel.jsonutil import json_clean
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core.application import BaseIPythonApplication
from IPython.core.shellapp import InteractiveShellApp
from jupyter_client.session import Session
from traitlets import Type

import snapshot
from snapshot.core.ending import end
from snapshot.core.process import Exit
from snapshot.core.timeline.channel import Channel
from snapshot.core.timeline.copies import Copy
from snapshot.core.timeline.member import Landing, Member
from snapshot.errors import SnapshotError
from snapshot.repl import failure
from snapshot.repl.kernel.wire import Outlet
from snapshot.repl.magics import Magics
from snapshot.repl.timemachine import Landed, TimeMachine
from snapshot.repl.views import ending

_AT_HAND = ("keep", "revert", "snapshot", "snapshots")
_BARE = ("past", "present", "states")
NAMES = frozenset((*_AT_HAND, *_BARE, "tm"))  # given to the shell, unless the user has such ones


def run(channel: Channel, member: Member, outlet: Outlet) -> int:
    """Serve the broker until it says that this is enough, or a cell does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    machine = TimeMachine(member, over=_over)
    worker = Worker.instance(channel, machine, outlet)
    Application.instance(kernel=worker).initialize([])
    worker.serve()
    machine.bye()
    return 0


def adopt(kernel: Any, channel: Channel, member: Member, outlet: Outlet, copy: Copy) -> NoReturn:
    """In a fork of an ordinary kernel: run its cells, with what it had in its memory."""
    history = kernel.shell.history_manager
    copy.wake()
    if history.save_thread is not None:
        history.save_thread.stop()
    history.enabled, history.save_thread = False, None  # the broker writes it
    history.db.close()
    asyncio.events._set_running_loop(None)
    asyncio.set_event_loop(None)  # IPython makes one of its own
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kernel.__class__ = Worker
    kernel.attach(channel, TimeMachine(member, over=_over), outlet)
    kernel.equip()
    kernel.serve()
    kernel._machine.bye()
    _over()


def _over() -> NoReturn:
    """This process waits at the tip of a branch, in a cell, and everything ends."""
    end(Exit(code=0))
    raise AssertionError("unreachable")


class Application(BaseIPythonApplication, InteractiveShellApp):
    """Does what the user's profile says: settings, extensions, files that are run at first."""

    name = "ipython-kernel"

    def __init__(self, kernel: Worker) -> None:
        super().__init__()
        self.kernel = kernel

    def initialize(self, argv: list[str] | None = None) -> None:
        super().initialize(argv)
        os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        self.init_path()
        self.kernel.open(self)
        self.shell = self.kernel.shell
        self.init_gui_pylab()
        self.init_extensions()
        self.init_code()


class Wire(Session):
    """ipykernel's session: what is sent goes to the broker, which knows whom it is for."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(key=b"")
        self._channel = channel

    def send(
        self,
        stream: Any,
        msg_or_type: Any,
        content: Any = None,
        parent: Any = None,
        ident: Any = None,
        buffers: Any = None,
        track: bool = False,
        header: Any = None,
        metadata: Any = None,
    ) -> Any:
        message = msg_or_type
        if isinstance(message, str):
            message = self.msg(message, content=content, metadata=metadata)
        pieces = [bytes(each) for each in buffers or message.get("buffers") or ()]
        packed = self.pack(message["content"]), self.pack(message["metadata"])
        self._channel.send(("publish", str(message["msg_type"]), *packed, pieces))
        return message

    def done(self, number: int, content: dict[str, Any]) -> None:
        self._channel.send(("done", number, self.pack(json_clean(content))))


class Worker(IPythonKernel):
    """ipykernel's answers to the requests that need the user's objects."""

    debugger_class = Type(None, allow_none=True)  # it would be loaded

    def __init__(self, channel: Channel, machine: TimeMachine, outlet: Outlet) -> None:
        # Not IPythonKernel's own, which makes a debugger that listens on a socket.
        super(IPythonKernel, self).__init__()
        self.attach(channel, machine, outlet)
        self.comm_manager = comm.get_comm_manager()

    @property
    def machine(self) -> TimeMachine:
        """The one of its cells."""
        return self._machine

    def attach(self, channel: Channel, machine: TimeMachine, outlet: Outlet) -> None:
        """What is said from now on goes to the broker."""
        self._channel, self._machine, self._outlet = channel, machine, outlet
        self._landing: Landing | None = None
        self._left = False
        self.session = Wire(channel)

    def open(self, app: Application) -> None:
        """Make the shell, with the settings of the user's profile."""
        app.config.HistoryManager.enabled = False  # the broker writes it: all branches have one
        self.config = app.config
        shell = ZMQInteractiveShell.instance(
            parent=self,
            profile_dir=app.profile_dir,
            kernel=self,
            compiler_class=self.compiler_class,
        )
        self.shell = shell
        shell.configurables.append(self.comm_manager)
        self.equip()

    def equip(self) -> None:
        """Give the shell what is ours."""
        shell = self.shell
        for each in (shell.displayhook, shell.display_pub):
            each.session = self.session
        shell.displayhook.topic = None
        shell.set_custom_exc((Landed, SnapshotError), self._handle)
        Magics(shell, self._machine).register()
        names = {name: getattr(snapshot, name) for name in _AT_HAND}
        names |= {name: getattr(self._machine, name) for name in _BARE} | {"tm": self._machine}
        taken = shell.user_ns.keys() & NAMES
        shell.push({name: names[name] for name in NAMES - taken}, interactive=False)

    def _handle(self, shell: Any, kind: Any, error: Any, trace: Any, tb_offset: Any = None) -> Any:
        """What a cell raised that is ours: a mistake of the user's needs no traceback."""
        if isinstance(error, Landed):
            self._landing = error.landing
        elif failure.is_ours(error):
            shell._showtraceback(kind, error, [f"{kind.__name__}: {error}"])
        else:
            shell.set_custom_exc((), None)
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            shell.set_custom_exc((Landed, SnapshotError), self._handle)

    # The requests of the broker.

    def serve(self) -> None:
        """Answer one after the other; copies of this process that are woken go on here."""
        self._finish({"status": "ok"}, None, None)
        while not self._left and (message := self._next()) is not None:
            verb, details = message
            if verb == "leave":
                return
            if (handle := getattr(self, f"_on_{verb}", None)) is not None:
                handle(**details)

    def _next(self) -> Any:
        """The next request; while there is none, tell of futures that end."""
        while self._machine.is_on:
            poll = select.poll()
            poll.register(self._channel, select.POLLIN)
            poll.register(self._machine, select.POLLIN)
            ready = [fd for fd, _ in poll.poll()]
            if self._channel.fileno() in ready:
                break
            self._tell_endings()
        return self._receive()

    def _receive(self) -> Any:
        received = self._channel.receive()
        return received and received[0]

    def _tell_endings(self) -> None:
        for task in self._machine.endings():
            if self._machine.notifies("terminal"):
                self._outlet.say(ending(task))
            if self._machine.notifies("jupyter"):
                print(ending(task), flush=True)

    def _answer(self, content: dict[str, Any]) -> None:
        if self._machine.is_on:
            self._tell_endings()
        sys.stdout.flush()
        sys.stderr.flush()
        self.session.done(self._machine.number if self._machine.is_on else self._count, content)

    def _request(self, work: Callable[..., Any], **details: Any) -> None:
        self._channel.send(("taken", os.getpid()))
        try:
            with _interruptible():
                content = work(**details)
        except Landed as landed:
            self._land(landed.landing)
            return
        except BaseException as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error)}
            content["traceback"] = []
        self._answer(content)

    def _on_complete(self, **details: Any) -> None:
        self._request(self.do_complete, **details)

    def _on_inspect(self, **details: Any) -> None:
        self._request(self.do_inspect, **details)

    def _on_is_complete(self, **details: Any) -> None:
        self._request(self.do_is_complete, **details)

    def _on_comms(self, target_name: str | None) -> None:
        comms = self.comm_manager.comms.items()
        found = {
            key: {"target_name": each.target_name}
            for key, each in comms
            if target_name in (None, each.target_name)
        }
        self._request(lambda: {"status": "ok", "comms": found})

    def _on_comm(self, message: dict[str, Any], parent: Any) -> None:
        self.set_parent([], parent, channel="shell")
        self._request(self._call_back, message=message)

    def _call_back(self, message: dict[str, Any]) -> dict[str, Any]:
        handle = getattr(self.comm_manager, message["header"]["msg_type"])
        try:
            handle(None, None, message)
        except KeyboardInterrupt:
            self.shell.showtraceback()
        return {"status": "ok"}

    # Cells.

    def _on_execute(self, code: str, parent: Any, **details: Any) -> None:
        self.set_parent([], parent, channel="shell")
        self._channel.send(("taken", os.getpid()))
        self._execute(code, **details)

    def _execute(
        self,
        code: str,
        silent: bool = False,
        store_history: bool = True,
        user_expressions: dict[str, str] | None = None,
        allow_stdin: bool = False,
    ) -> None:
        kept = store_history and not silent
        if kept:
            self._begin(code)
        self._landing = None
        result = self._run(code, silent, store_history, allow_stdin)
        error = result and (result.error_before_exec or result.error_in_exec)
        if result is None:
            error = KeyboardInterrupt()
        content = self._content(error, user_expressions or {})
        if self._landing is not None:
            self._land(self._landing)
        elif kept:
            self._finish(content, result and result.result, error)
        else:
            self._answer(content)
        self._left = self._left or self.shell.exit_now

    def _begin(self, code: str) -> None:
        self._machine.begin(code)
        if self._machine.is_on:
            self.shell.execution_count = self._machine.number

    def _run(self, code: str, silent: bool, store_history: bool, allow_stdin: bool) -> Any:
        """IPython's result of a cell; None if it was interrupted before it had begun."""
        self._forward_input(allow_stdin)
        try:
            with _interruptible():
                return self.shell.run_cell(code, store_history=store_history, silent=silent)
        except KeyboardInterrupt:
            return None
        finally:
            self._restore_input()

    def _content(self, error: BaseException | None, expressions: dict[str, str]) -> dict[str, Any]:
        shell = self.shell
        content: dict[str, Any] = {"status": "ok", "user_expressions": {}}
        if error is None and not getattr(shell, "_last_traceback_during_displayhook", False):
            with _interruptible():
                content["user_expressions"] = shell.user_expressions(expressions)
        else:
            content |= {"status": "error", "ename": type(error).__name__, "evalue": str(error)}
            content["traceback"] = shell._last_traceback or []
        content["payload"] = shell.payload_manager.read_payload()
        shell.payload_manager.clear_payload()
        return content

    def _finish(self, content: dict[str, Any], value: Any, error: BaseException | None) -> None:
        """The cell has ended: make a state, and answer. Where that is woken, go on here."""
        self._count = self.shell.execution_count
        landing = self._machine.end(value, error)
        if landing is None:
            self._answer(content)
        else:
            self._land(landing)

    def _land(self, landing: Landing) -> None:
        """In a process that was woken: the request that has brought us here is answered by it."""
        self._left = False
        self.shell.exit_now = False
        source = landing.brought.get("source")
        if source is not None:
            self._execute(source)
        elif landing.died is None:
            self._answer({"status": "ok", "user_expressions": {}, "payload": []})
        else:
            told = f"{landing.died[1]}: back at state {landing.at}"
            content = {"status": "error", "ename": "ProcessEnded", "evalue": told, "died": True}
            self._answer({**content, "traceback": [f"ProcessEnded: {told}"]})

    # Of ipykernel's: typing.

    def _input_request(self, prompt: str, ident: Any, parent: Any, password: bool = False) -> str:
        sys.stdout.flush()
        sys.stderr.flush()
        self._channel.send(("ask", prompt, password))
        while (message := self._receive()) is not None and message[0] != "leave":
            verb, details = message
            if verb == "input":
                if details["value"] is None:
                    raise EOFError
                return str(details["value"])
        self._left = True
        raise EOFError


@contextlib.contextmanager
def _interruptible() -> Any:
    """An interrupt of the notebook's is a KeyboardInterrupt meanwhile, and nothing afterwards."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
