"""Start the kernel: `python -m snapshot.repl.kernel -f connection-file`."""

from __future__ import annotations

import os
import sys

from snapshot.core import process
from snapshot.core.timeline.channel import Channel
from snapshot.core.timeline.starting import supervise
from snapshot.repl.kernel.wire import Outlet, Streams


def main() -> int:
    """Fork first of all, while this process is small and has no thread."""
    near, far = Channel.pair()
    streams = Streams()
    outlet = Outlet.of_terminal()
    child = process.fork()
    if child is None:
        near.close()
        os.setpgid(0, 0)  # an interrupt is for this group, which the broker is not in
        streams.take_place()
        member = supervise(kind="jupyter")
        from snapshot.repl.kernel import worker

        return worker.run(far, member, outlet)
    far.close()
    from snapshot.repl.kernel import broker

    broker.run(near, child, streams, outlet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
