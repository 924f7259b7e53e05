"""`%load_ext snapshot` in an ordinary kernel: from then on its cells can be travelled to.

    notebook ══ kernel ─── supervisor ─── worker
           ZMQ

The kernel keeps its sockets and threads, which no fork can have, and passes cells on to a fork of
itself, which has all that was in its memory: it has become what `broker` is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
import threading
from typing import Any

import snapshot
from snapshot.core import census, descriptors, hosts, process, threads
from snapshot.core.messages import say
from snapshot.core.timeline.channel import Channel
from snapshot.core.timeline.copies import Copy
from snapshot.core.timeline.starting import supervise
from snapshot.repl.kernel.wire import Outlet, Streams
from snapshot.repl.magics import mistake, say_not_set


def load(shell: Any) -> None:
    """In the kernel "Python (snapshot)", and where it was loaded before, all is there already."""
    machine = getattr(shell.kernel, "machine", None)
    if machine is not None and not machine.is_on:
        raise mistake("tm.unhook() has switched the time machine off: restart the kernel for it")
    if not hosts.hangs():
        return
    from snapshot.repl.kernel import broker, worker

    kernel = shell.kernel
    if isinstance(kernel, broker.Adopted):
        return
    lost = threads.described(_threads_of_the_user(kernel))
    number = len(shell.history_manager.input_hist_parsed)  # of the next cell
    timeline = _fork(kernel, number)
    kernel.__class__ = broker.Adopted
    kernel.adopt(timeline, number)
    say(
        "snapshot: from the next cell on each leaves a state: past(n), present(), states(), tm; "
        f"they run in forks of process {os.getpid()}"
        + (f", without the threads {lost}" * bool(lost))
    )
    theirs = kernel.shell.user_ns
    offered = {name: getattr(snapshot, name, None) for name in worker.NAMES}
    taken = (name for name in offered if name in theirs and theirs[name] is not offered[name])
    say_not_set(taken, "%past, %present, %states, and in module snapshot")


def _fork(kernel: Any, number: int) -> Any:
    """In the fork this does not return."""
    from snapshot.repl.kernel import broker, worker

    near, far = Channel.pair()
    streams, outlet = Streams(), Outlet.of_terminal()
    copy = Copy()
    try:
        child = process.fork()
        if child is None:
            near.close()
            os.setpgid(0, 0)
            _part_from_connections()
            streams.take_place()
            worker.adopt(kernel, far, supervise(number, "jupyter"), outlet, copy)
    finally:
        copy.go_on()
    far.close()
    return broker.Timeline(near, child, streams, outlet)


def _part_from_connections() -> None:
    """In the fork: what leads to the notebook, and what wakes the kernel's threads, is not ours."""
    census.look()
    for loop in census.known(asyncio.BaseEventLoop):
        loop.__dict__.update(_ssock=None, _csock=None)
    users = {each.fileno() for each in census.known(socket.socket)}
    outputs = {descriptors.identity(fd) for fd in (1, 2, *_outputs())}
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for each in descriptors.open_descriptors():
        connects = stat.S_ISSOCK(os.fstat(each.fd).st_mode) and each.fd not in users
        if each.fd > 2 and (connects or descriptors.identity(each.fd) in outputs):
            os.dup2(nothing, each.fd, inheritable=False)
    os.close(nothing)


def _outputs() -> list[int]:
    """What ipykernel keeps of the standard streams that it has put its own into the place of."""
    kept = [getattr(each, "_original_stdstream_copy", None) for each in _streams()]
    return [fd for fd in kept if fd is not None]


def _threads_of_the_user(kernel: Any) -> list[threading.Thread]:
    app = kernel.parent
    own = [app.heartbeat, app.control_thread, app.shell_channel_thread, app.iopub_thread.thread]
    own += [app.poller, *(getattr(each, "watch_fd_thread", None) for each in _streams())]
    return [each for each in threads.others() if each not in own]


def _streams() -> tuple[Any, Any]:
    return sys.stdout, sys.stderr
