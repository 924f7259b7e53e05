"""Between the notebook and the live worker: ipykernel's sockets, and no code of the user's.

Requests of the notebook come one at a time, and so at most one is with the worker. Whoever answers
is the process that is live then: one that travelled there, or that was woken after a crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

from ipykernel._version import kernel_protocol_version
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel
from zmq.eventloop.zmqstream import ZMQStream

import snapshot
from snapshot.core.process import Child, has_ended
from snapshot.core.timeline.channel import Channel
from snapshot.repl.kernel.history import History
from snapshot.repl.kernel.wire import Outlet, Streams, Written

_GRACE = 2.0  # seconds that the worker has to end in order
_PACE = 0.05  # seconds between two messages of output: who is flooded with them loses some
_FULL = 1 << 20  # characters of output that wait no longer
_CONTROL = ("connect", "interrupt", "kernel_info", "shutdown", "usage")
_WIDGETS = ("comm_open", "comm_msg", "comm_close")


def run(channel: Channel, supervisor: Child, streams: Streams, outlet: Outlet) -> None:
    """Serve the notebook until it has enough, or the last process of the timeline has ended."""
    app = App.instance(kernel_class=Broker)
    app.timeline = Timeline(channel, supervisor, streams, outlet)
    app.initialize(sys.argv[1:])
    app.start()


@dataclass(frozen=True)
class Timeline:
    """The broker's ends of what leads to the worker, and the process above that."""

    channel: Channel
    supervisor: Child
    streams: Streams
    outlet: Outlet


class App(IPKernelApp):
    """ipykernel's application: connection file, sockets, heartbeat, an eye on the parent."""

    timeline: Timeline

    def init_signal(self) -> None:
        signal.signal(signal.SIGINT, lambda *_: self.kernel and self.kernel.interrupt())

    def init_gui_pylab(self) -> None:
        pass

    def init_extensions(self) -> None:
        pass

    def init_code(self) -> None:
        pass


@dataclass
class _Request:
    """What the worker has been asked, and for whom.

    taken: whether some process works on it. asks: whether somebody is to type something.
    """

    parent: Any
    identity: Any
    reply: asyncio.Future[dict[str, Any]]
    taken: bool = False
    asks: bool = False


class Broker(Kernel):
    """Passes requests on to the live worker, and what that says to the notebook."""

    implementation = "snapshot"
    implementation_version = snapshot.__version__
    language_info = IPythonKernel.language_info
    banner = f"snapshot {snapshot.__version__}: past(n) to be where you were after cell n"
    control_msg_types = [f"{name}_request" for name in _CONTROL]  # noqa: RUF012 (as Kernel has it)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attach(kwargs["parent"].timeline)

    def attach(self, timeline: Timeline, number: int = 1, parent: Any = None) -> None:
        """number: of the first cell. parent: the message that is being answered."""
        self._timeline = timeline
        self._request: _Request | None = None
        self._history = History(self.profile_dir.location)
        self._parent = parent or {}  # of what is published
        self._written = Written()
        self._pause: asyncio.TimerHandle | None = None  # until output is published again
        self._number = number
        self._ready: asyncio.Future[None] | None = None
        self._shuts_down = False
        for name in _WIDGETS:
            self.shell_handlers[name] = self._pass_on

    # ipykernel counts cells itself; ours are numbered by the timeline.

    @property
    def execution_count(self) -> int:
        return self._number

    @execution_count.setter
    def execution_count(self, count: int) -> None:
        pass

    @property
    def kernel_info(self) -> dict[str, Any]:
        """Without looking for a debugger, which has to be loaded for that."""
        return {
            "protocol_version": kernel_protocol_version,
            "implementation": self.implementation,
            "implementation_version": self.implementation_version,
            "language_info": self.language_info,
            "banner": self.banner,
            "help_links": self.help_links,
            "supported_features": [],
        }

    def start(self) -> None:
        super().start()
        self.listen()

    def listen(self) -> None:
        """Hear what the worker says from now on."""
        loop = asyncio.get_event_loop()
        self._ready = loop.create_future()
        for fd in self._timeline.streams.listen():
            loop.add_reader(fd, self._gather)
        loop.add_reader(self._timeline.channel, self._hear)
        loop.add_reader(self._timeline.supervisor, self._all_ended)
        ZMQStream(self.stdin_socket).on_recv(self._typed)

    def pre_handler_hook(self) -> None:
        pass

    def post_handler_hook(self) -> None:
        pass

    # What the worker says.

    def _hear(self) -> None:
        received = self._timeline.channel.receive()
        if received is None:
            asyncio.get_event_loop().remove_reader(self._timeline.channel)
            return
        verb, *details = received[0]
        self._read_streams()
        getattr(self, f"_on_{verb}")(*details)

    def _gather(self) -> None:
        """Publish the first of what is written at once, and what follows in larger pieces."""
        self._written.add(self._timeline.streams.read())
        if self._written.size > _FULL:
            self._tell_written()
        elif self._pause is None:
            self._tell_written()
            self._pause = asyncio.get_running_loop().call_later(_PACE, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if self._written.size:
            self._gather()

    def _read_streams(self) -> None:
        self._written.add(self._timeline.streams.read())
        self._tell_written()

    def _tell_written(self) -> None:
        for name, text in self._written.take():
            self._publish("stream", {"name": name, "text": text})

    def _publish(self, kind: str, content: Any, metadata: Any = None, buffers: Any = None) -> None:
        if not self._parent:  # before the first cell, nobody could see it in the notebook
            self._timeline.outlet.say(content.get("text") or "\n".join(content["traceback"]))
            return
        self.session.send(
            self.iopub_socket,
            kind,
            content,
            parent=self._parent,
            ident=self._topic(kind),
            metadata=metadata,
            buffers=buffers,
        )

    def _on_taken(self, pid: int) -> None:
        if self._request is not None:
            self._request.taken = True

    def _on_publish(self, kind: str, content: bytes, metadata: bytes, buffers: list[bytes]) -> None:
        unpack = self.session.unpack
        self._publish(kind, unpack(content), unpack(metadata), buffers)

    def _on_done(self, number: int, content: bytes) -> None:
        self._number = number
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        request = self._request
        if request is not None and request.taken and not request.reply.done():
            request.reply.set_result(self.session.unpack(content))

    def _on_ask(self, prompt: str, password: bool) -> None:
        if self._request is None:
            return
        self._request.asks = True
        content = {"prompt": prompt, "password": password}
        parent, identity = self._request.parent, self._request.identity
        self.session.send(self.stdin_socket, "input_request", content, parent, ident=identity)

    def _typed(self, frames: list[Any]) -> None:
        _, frames = self.session.feed_identities(frames)
        with contextlib.suppress(Exception):
            value = self.session.deserialize(frames)["content"]["value"]
            if self._request is not None and self._request.asks:
                self._request.asks = False
                self._tell("input", value=None if value == "\x04" else value)

    def _all_ended(self) -> None:
        loop = asyncio.get_event_loop()
        loop.remove_reader(self._timeline.supervisor)
        self._read_streams()
        if self._request is not None and not self._request.reply.done():
            told = "the process of this cell has ended, and the kernel with it"
            content = {"ename": "ProcessEnded", "evalue": told, "traceback": [], "died": True}
            self._request.reply.set_result({"status": "error", **content})
        if not self._shuts_down:  # which stops the loops itself, when it has answered
            self.io_loop.call_later(0.1, self.io_loop.stop)

    # What the notebook says.

    async def shell_main(self, subshell_id: str | None, msg: Any) -> None:
        """One message after the other, those of widgets too, which ipykernel lets overtake.

        So the worker reads whenever this process writes: neither waits for the other for ever.
        """
        if subshell_id is not None:
            await super().shell_main(subshell_id, msg)
            return
        async with self._main_asyncio_lock:
            await self.dispatch_shell(msg, subshell_id=subshell_id)

    def _tell(self, verb: str, **details: Any) -> None:
        with contextlib.suppress(OSError):  # it has ended, which is seen elsewhere
            self._timeline.channel.send((verb, details))

    async def _ask(self, verb: str, **details: Any) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        assert self._ready is not None
        await self._ready
        identity = self._get_shell_context_var(self._shell_parent_ident)
        request = _Request(self.get_parent("shell"), identity, loop.create_future())
        if verb in ("execute", "comm"):  # what is published meanwhile is their output
            self._parent = details["parent"] = request.parent
        self._request = request
        try:
            self._tell(verb, **details)
            return await request.reply
        finally:
            self._request = None

    async def execute_request(self, stream: Any, ident: Any, parent: Any) -> None:
        assert self._ready is not None
        await self._ready  # from then on the number of the cell is known
        await super().execute_request(stream, ident, parent)

    async def do_execute(
        self,
        code: str,
        silent: bool,
        store_history: bool = True,
        user_expressions: Any = None,
        allow_stdin: bool = False,
        *,
        cell_meta: Any = None,
        cell_id: Any = None,
    ) -> dict[str, Any]:
        number = self._number
        if store_history and not silent:
            self._history.add(number, code)
        content = await self._ask(
            "execute",
            code=code,
            silent=silent,
            store_history=store_history,
            user_expressions=user_expressions,
            allow_stdin=allow_stdin,
        )
        if content.pop("died", False):
            names = ("ename", "evalue", "traceback")
            self._publish("error", {name: content[name] for name in names})
        return {**content, "execution_count": number}

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        return await self._ask("complete", code=code, cursor_pos=cursor_pos)

    async def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> dict[str, Any]:
        return await self._ask(
            "inspect",
            code=code,
            cursor_pos=cursor_pos,
            detail_level=detail_level,
            omit_sections=omit_sections,
        )

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        return await self._ask("is_complete", code=code)

    async def do_history(self, **details: Any) -> dict[str, Any]:
        return {"status": "ok", "history": self._history.entries(**details)}

    async def comm_info_request(self, stream: Any, ident: Any, parent: Any) -> None:
        content = await self._ask("comms", target_name=parent["content"].get("target_name"))
        self.session.send(stream, "comm_info_reply", content, parent, ident)

    async def _pass_on(self, stream: Any, ident: Any, message: Any) -> None:
        """A message of a widget."""
        buffers = [bytes(each) for each in message["buffers"]]
        await self._ask("comm", message={**message, "buffers": buffers})

    # Interrupting and ending: in the thread of the control channel.

    def interrupt(self) -> None:
        """A KeyboardInterrupt in the cell, and SIGINT for what it has started."""
        if self._request is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._timeline.supervisor.pid, signal.SIGINT)

    def _send_interrupt_children(self) -> None:
        self.interrupt()

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        self._shuts_down = True
        self.parent.reset_io()  # ipykernel's streams wait for a thread that is stopped soon
        supervisor = self._timeline.supervisor
        if self._request is None:
            self._tell("leave")
        else:
            supervisor.kill(signal.SIGTERM)
        if not has_ended(supervisor.pid, _GRACE):
            supervisor.kill()
        return {"status": "ok", "restart": restart}


class Adopted(Broker, IPythonKernel):
    """An ordinary kernel that has become a broker: `%load_ext snapshot`."""

    def adopt(self, timeline: Timeline, number: int) -> None:
        self.attach(timeline, number, self.get_parent("shell"))
        for name in self.msg_types:
            self.shell_handlers[name] = getattr(self, name)
        for name in self.control_handlers.keys() & {f"{each}_request" for each in _CONTROL}:
            self.control_handlers[name] = getattr(self, name)
        signal.signal(signal.SIGINT, lambda *_: self.interrupt())
        self.listen()
