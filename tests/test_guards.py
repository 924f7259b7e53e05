"""What a user guards: methods of an object, the exit of a context manager, callbacks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.processes import Result

Run = Callable[..., Result]


def test_methods_of_an_object(python: Run) -> None:
    result = python(
        """
        import asyncio
        from snapshot import fork_call, guard, keep, revert, snapshot
        from snapshot.errors import RootOnly

        class Connection:
            name = "it"
            def commit(self, what): return f"{self.name} committed {what}"
            def close(self): return "closed"
            def query(self): return "answer"
            async def ping(self): return "pong"
            def __enter__(self): return self
            def __exit__(self, *error): print("left")

        connection = guard(Connection(), "commit", "ping", "__exit__")
        guard(connection, "close", otherwise="raise")
        guard(connection, "query", otherwise=lambda: "pretended")

        def use():
            said = [connection.commit("x"), connection.query(), asyncio.run(connection.ping())]
            try:
                said.append(connection.close())
            except RootOnly as error:
                said.append("close runs in" in str(error))
            return said

        print(use(), isinstance(connection, Connection))
        print(fork_call(use))
        with connection:
            if snapshot():
                print(use(), flush=True)
                raise SystemExit
        if snapshot():
            other = guard(Connection(), "commit")
            print(other.commit("mine"), fork_call(lambda: other.commit("theirs")), flush=True)
            revert()
        if snapshot():
            keep()
            print(use())
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    here = "['it committed x', 'answer', 'pong', 'closed']"
    there = "[None, 'pretended', None, True]"
    assert result.stdout.splitlines() == [
        f"{here} True",
        there,
        there,
        "left",
        "it committed mine None",
        here,
    ], result


@pytest.mark.parametrize("ending", ["revert()", "sys.exit()", "raise ValueError", "pass"])
def test_the_exit_of_a_context_manager(python: Run, ending: str) -> None:
    result = python(
        f"""
        import asyncio, contextlib, os, sys
        from snapshot import revert, root_only, snapshot

        original = os.getpid()

        @contextlib.contextmanager
        def manager(name):
            yield name
            print("left", name, os.getpid() == original, flush=True)

        @contextlib.asynccontextmanager
        async def asynchronous(name):
            yield name
            print("left", name, os.getpid() == original, flush=True)

        async def main():
            async with root_only(asynchronous("asynchronous")) as name:
                assert name == "asynchronous"
                if snapshot():
                    with root_only(manager("of the experiment")):
                        pass
                    {ending}

        with root_only(manager("plain")) as name:
            assert name == "plain"
            asyncio.run(main())
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout.splitlines() == [
        "left of the experiment False",
        "left asynchronous True",
        "left plain True",
    ], result


def test_callbacks(python: Run) -> None:
    result = python(
        """
        import os
        from snapshot import fork_call, last_experiment, on_snapshot, revert, snapshot

        original = os.getpid()

        def tell(what):
            print(what, "in the original" if os.getpid() == original else "here", flush=True)

        def fails():
            raise OSError("no answer")

        on_snapshot(lambda: tell("first"), lambda: tell(f"back, {last_experiment().value}"))
        remove = on_snapshot(enter=fails, leave=lambda: tell("checked"))
        if snapshot():
            revert(value=1)
        remove()
        remove()
        fork_call(int)
        if snapshot():
            if snapshot():
                revert(value=3)
            revert(value=2)
        """
    )
    assert result.stdout.splitlines() == [
        "first here",
        "back, 1 in the original",
        "checked in the original",
        "first here",
        "first here",
        "first here",
        "back, 3 here",
        "back, 2 in the original",
    ], result
    assert "on_snapshot: fails raised OSError: no answer" in result.stderr


def test_what_cannot_be_guarded(python: Run) -> None:
    result = python(
        """
        import sqlite3
        from snapshot import guard, on_snapshot, root_only

        class Thing:
            def close(self): return "closed"

        thing = Thing()
        for attempt in (
            lambda: guard(thing),
            lambda: guard(thing, "close", "commit"),
            lambda: guard(thing, "close", otherwise="skp"),
            lambda: guard(sqlite3.connect(":memory:"), "commit"),
            lambda: guard([], "append"),
            lambda: guard([], "__len__"),
            lambda: on_snapshot(),
            lambda: on_snapshot(5),
            lambda: root_only(5),
        ):
            try:
                attempt()
            except Exception as error:
                print(type(error).__name__, "|", error)
        print(vars(thing))
        """
    )
    lines = result.stdout.splitlines()
    assert [line.partition(" |")[0] for line in lines[:-1]] == ["UsageError"] * 9, result
    assert "this Thing has no method 'commit'; nothing is guarded" in lines[1]
    assert "the methods of a Connection cannot be replaced" in lines[3]
    assert lines[-1] == "{}"


def test_what_is_guarded_is_not_kept_alive(python: Run) -> None:
    result = python(
        """
        import logging.handlers, multiprocessing, os, sqlite3, weakref
        from snapshot import compact, fork_call, revert, snapshot

        def descriptors():
            return len(os.listdir("/proc/self/fd"))

        multiprocessing.Queue()  # starts a process that stays
        before = descriptors()
        connection = sqlite3.connect("data.db")
        connection.execute("create table t (x)")
        queue = multiprocessing.Queue()
        handler = logging.handlers.MemoryHandler(1)
        held = [weakref.ref(queue), weakref.ref(handler)]
        if snapshot():
            revert()
        fork_call(int)
        handler.close()
        del connection, queue, handler
        compact(collect=True)  # a connection to SQLite is in a cycle with its cache
        print([each() for each in held], descriptors() - before)
        """
    )
    assert result.stdout == "[None, None] 0\n", result


def test_a_fork_of_the_programs_own_is_as_python_has_it(python: Run) -> None:
    result = python(
        """
        import os, tempfile
        from snapshot import revert, snapshot
        if snapshot():
            revert()
        file = tempfile.NamedTemporaryFile()
        child = os.fork()
        if child == 0:
            file.close()
            os._exit(0)
        os.waitpid(child, 0)
        print(os.path.exists(file.name))
        open(file.name, "w").close()
        """
    )
    assert result.stdout == "False\n", result


NETWORK = """
import asyncio, os, socket, sys, threading
from snapshot import revert, snapshot

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
local, other = socket.socketpair()
"""


def test_sockets_are_shared_and_named(python: Run) -> None:
    result = python(
        NETWORK
        + """
if snapshot():
    client.sendall(b"from the experiment")
    revert()
client.sendall(b", and on")
print(server.recv(100))
print(listener.getsockname()[1], client.getsockname()[1])
"""
    )
    received, ports = result.stdout.splitlines()
    assert received == "b'from the experiment, and on'"
    listens, calls = ports.split()
    named = f"a server on 127.0.0.1:{listens}, 127.0.0.1:{listens}, 127.0.0.1:{calls}\n"
    assert f"shared with the original: the connections to {named}" in result.stderr, result


def test_sockets_are_dropped(python: Run) -> None:
    result = python(
        NETWORK
        + """
async def main():
    if snapshot(sockets="drop"):
        for each in (client, server, local, other):
            try:
                each.send(b"x")
            except BrokenPipeError:
                print("dead", each.recv(1), flush=True)
        await asyncio.sleep(0.01)  # the loop's own sockets live
        asyncio.get_running_loop().call_soon_threadsafe(lambda: print("awake", flush=True))
        await asyncio.sleep(0.01)
        revert()

asyncio.run(main())
for sender, receiver in ((client, server), (server, client), (local, other)):
    sender.sendall(b"alive")
    print(receiver.recv(100))
try:
    snapshot(sockets="drp")
except ValueError as error:
    print(error)
"""
    )
    assert result.stdout.splitlines() == [
        *["dead b''"] * 4,
        "awake",
        *["b'alive'"] * 3,
        'snapshot(sockets=\'drp\'): it must be "share" or "drop"; nothing was forked',
    ], result
    assert "shared with" not in result.stderr
