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
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from snapshot.core import modules
from snapshot.core.hosts.host import Host, Tell
from snapshot.core.hosts.ipython import IPyKernel, IPython
from snapshot.core.hosts.loops import Asyncio, ForkExecutors, SocketServer, ThreadPool
from snapshot.core.hosts.prompts import PromptToolkit, Pyrepl, Readline
from snapshot.core.hosts.testing import Pytest

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
    reasons = (host.hangs() for host in HOSTS if modules.loaded(host.module))
    return next(filter(None, reasons), None)


class Guests:
    """The hosts that are there at one snapshot, and what each of them remembers.

    ending: whether those are among them that let an experiment end before the program does.
    """

    def __init__(self, *, ending: bool = True) -> None:
        hosts = (each for each in HOSTS if modules.loaded(each.module))
        self._present = [(each, each.before()) for each in hosts if ending or not each.ends]

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


def serve_no_more() -> None:
    """In a process whose sockets lead nowhere: what serves ends after the present request."""
    host = SocketServer()
    if modules.loaded(host.module):
        host.in_experiment(host.before(), lambda _: None)


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
        PromptToolkit().load_again()
    if IPython.module in sys.modules:
        IPython().refresh(IPython().shell())


def hidden() -> Mapping[str, Any]:
    """Names of `__main__`, with their values, that IPython does not count as the user's."""
    shell = IPython().shell() if IPython.module in sys.modules else None
    return getattr(shell, "user_ns_hidden", {})


def made_again(thread: threading.Thread) -> bool:
    """Whether a host sees to it that an experiment does not miss this thread."""
    return thread.name.startswith(tuple(name for host in HOSTS for name in host.threads))


def _teller(tell: Callable[[str, Any], None], host: Host) -> Tell:
    return lambda value: tell(host.module, value)
