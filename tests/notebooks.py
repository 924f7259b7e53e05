"""A notebook: a real kernel in a process of its own, driven by jupyter_client."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from snapshot.repl.kernel import spec
from tests.processes import environment, wait_gone

TIMEOUT = 60


@dataclass
class Cell:
    """What came of a cell: its reply, and what was published while it ran."""

    reply: dict[str, Any] = field(default_factory=dict)
    published: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def number(self) -> int:
        return int(self.reply["execution_count"])

    @property
    def ok(self) -> bool:
        return bool(self.reply["status"] == "ok")

    @property
    def stdout(self) -> str:
        return self._stream("stdout")

    @property
    def stderr(self) -> str:
        return self._stream("stderr")

    @property
    def value(self) -> str | None:
        """The value of its last expression, as text."""
        results = self.data("execute_result")
        return str(results[0]["text/plain"]) if results else None

    @property
    def error(self) -> str:
        """As it was published: the name and the message."""
        (content,) = [content for kind, content in self.published if kind == "error"]
        assert content["ename"] == self.reply["ename"], self
        return f"{content['ename']}: {content['evalue']}"

    def data(self, kind: str) -> list[dict[str, Any]]:
        return [content["data"] for each, content in self.published if each == kind]

    def _stream(self, name: str) -> str:
        texts = [content for kind, content in self.published if kind == "stream"]
        return "".join(content["text"] for content in texts if content["name"] == name)


class Notebook:
    """A kernel, by its name, and a client of it."""

    def __init__(self, directory: Path, kernel: str = spec.NAME) -> None:
        self.directory = directory
        spec.install(prefix=str(directory))
        self._context: zmq.Context[Any] = zmq.Context()
        self._log = (directory / "kernel.log").open("w+")
        self.manager = KernelManager(
            kernel_name=kernel,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(directory / spec.BELOW)]),
            connection_file=str(directory / "connection.json"),
            context=self._context,
        )
        self.manager.start_kernel(
            env=environment(directory), cwd=str(directory), stdout=self._log, stderr=self._log
        )
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.ready()

    @property
    def pid(self) -> int:
        """Of the process that Jupyter has started."""
        return int(self.manager.provisioner.pid)

    @property
    def log(self) -> str:
        """What the kernel has written to the terminal that Jupyter was started from."""
        return (self.directory / "kernel.log").read_text()

    def ready(self) -> None:
        self.client.wait_for_ready(timeout=TIMEOUT)

    def run(
        self,
        code: str,
        typed: list[str] | None = None,
        during: tuple[str, Callable[[], object]] | None = None,
        **options: Any,
    ) -> Cell:
        """Run a cell to its end.

        typed: what is typed where it asks. during: what to do when it has printed this text.
        """
        cell = Cell()
        options.setdefault("stop_on_error", False)  # or what follows at once is given up
        wanted = self.client.execute(code, allow_stdin=typed is not None, **options)
        while (message := self._next())["content"] != {"execution_state": "idle"} or (
            message["parent_header"].get("msg_id") != wanted
        ):
            cell.published.append((message["msg_type"], message["content"]))
            if message["msg_type"] == "input_request":
                assert typed is not None
                self.client.input(typed.pop(0))
            if during is not None and during[0] in cell.stdout:
                during[1]()
                during = None
        cell.reply = self.reply(wanted)
        return cell

    def _next(self) -> dict[str, Any]:
        """What comes next, published or asking for somebody to type."""
        client = self.client
        asks = client.stdin_channel
        poller = zmq.Poller()
        poller.register(client.iopub_channel.socket, zmq.POLLIN)
        poller.register(asks.socket, zmq.POLLIN)
        if asks.socket in dict(poller.poll(TIMEOUT * 1000)):
            return dict(client.get_stdin_msg(timeout=0))
        return dict(client.get_iopub_msg(timeout=0))

    def reply(self, wanted: str) -> dict[str, Any]:
        """What was answered to that message."""
        while True:
            message = self.client.get_shell_msg(timeout=TIMEOUT)
            if message["parent_header"].get("msg_id") == wanted:
                return dict(message["content"])

    def value(self, code: str) -> str:
        """The value of an expression, which must have one, as text."""
        cell = self.run(code)
        assert cell.value is not None, cell
        return cell.value

    def ask(self, request: str, *details: Any) -> dict[str, Any]:
        """The answer to a request of the shell channel: `complete`, `inspect`, `history`, …"""
        return self.reply(getattr(self.client, request)(*details))

    def family(self) -> list[psutil.Process]:
        """The kernel's process and all below it."""
        kernel = psutil.Process(self.pid)
        return [kernel, *kernel.children(recursive=True)]

    def shut_down(self) -> None:
        """As Jupyter does it; nothing of the kernel may be left."""
        family = self.family()
        self.manager.shutdown_kernel()
        wait_gone(family, 2)

    def close(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess, AttributeError, TypeError):
            self.manager.shutdown_kernel(now=True)
        self.client.stop_channels()
        self.manager.cleanup_resources()
        self._context.destroy(linger=0)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plain(text: str) -> str:
    """Without the escape sequences of colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)
