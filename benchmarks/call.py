"""A function in a disposable fork, against bare and against peers: `-m benchmarks.call`."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing.connection import Connection

from benchmarks.harness import bare, by_turns, compare, main, timed
from snapshot import fork_call

_CONTEXT = multiprocessing.get_context("fork")


def answer() -> int:
    return 42


def ours() -> None:
    assert fork_call(answer) == 42


def process_and_pipe() -> None:
    readable, writable = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_send, args=(writable,))
    process.start()
    assert readable.recv() == 42
    process.join()
    process.close()
    readable.close()
    writable.close()


def fresh_pool() -> None:
    with ProcessPoolExecutor(1, mp_context=_CONTEXT) as pool:
        assert pool.submit(answer).result() == 42


def calls() -> None:
    """Each peer takes turns with ours alone: what runs before a fork changes its cost."""
    peers = (
        ("bare", bare, 2.5),
        ("Process and Pipe", process_and_pipe, 1.0),
        ("fresh ProcessPoolExecutor", fresh_pool, 1.0),
    )
    for name, peer, at_most in peers:
        by_turns(10, partial(timed, ours), partial(timed, peer))  # not counted: all is loaded now
        call, other = by_turns(300, partial(timed, ours), partial(timed, peer))
        compare("fork_call, small heap", call, other, name, at_most)


def _send(writable: Connection) -> None:
    writable.send(answer())


if __name__ == "__main__":
    raise SystemExit(main("benchmarks.call", {"calls": calls}))
