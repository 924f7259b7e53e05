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


def test_whoever_waits_for_a_dropped_socket_is_woken(python: Run) -> None:
    result = python(
        """
        import asyncio, socket
        from snapshot import last_experiment, revert, snapshot

        async def main():
            ours, theirs = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=ours)
            if snapshot(sockets="drop"):
                revert(value=await asyncio.wait_for(reader.read(), 10))
            theirs.sendall(b"alive")
            print(last_experiment(), await reader.readexactly(5))
            writer.close()
            theirs.close()

        asyncio.run(main())
        """
    )
    assert "value=b''" in result.stdout, result
    assert "b'alive'" in result.stdout, result


def test_maps_of_files_that_come_and_go(python: Run) -> None:
    """The next one has the address of the last one, as often as not, and another file."""
    result = python(
        """
        import mmap
        from snapshot import last_experiment, revert, snapshot

        def mapped(name, offset=0):
            with open(name, "r+b") as file:
                return mmap.mmap(file.fileno(), 5 * mmap.PAGESIZE, offset=offset)

        for name in "abcdef":
            with open(name, "wb") as file:
                file.write(name.encode() * 20 * mmap.PAGESIZE)
        kept = mapped("f")
        for name in "abcde":
            one, far = mapped(name), mapped(name, 10 * mmap.PAGESIZE)
            far.resize(7 * mmap.PAGESIZE)
            far[0] = ord("!")
            if snapshot():
                seen = one[:2], far[:2], kept[:1]
                one[:], far[:], kept[:] = (b"x" * len(each) for each in (one, far, kept))
                revert(value=seen)
            text = name.encode()
            assert last_experiment().value == (text * 2, b"!" + text, b"f"), last_experiment()
            assert one[:] == name.encode() * len(one)
            assert far[:2] == b"!" + name.encode() and kept[:1] == b"f"
            del one, far
        print("as they were")
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout == "as they were\n", result


def test_what_lies_where_a_map_was_is_left_alone(python: Run) -> None:
    """An object that takes a dead one's id and length is another: its pages lie elsewhere."""
    result = python(
        """
        import ctypes, mmap
        from snapshot import last_experiment, revert, snapshot

        PRIVATE, ANONYMOUS, AT_THIS_FREE_PLACE = 0x2, 0x20, 0x100000

        def mapped(name):
            with open(name, "r+b") as file:
                return mmap.mmap(file.fileno(), 0)

        for name in "ab":
            with open(name, "wb") as file:
                file.write(name.encode() * mmap.PAGESIZE)
        one = mapped("a")
        if snapshot():
            revert()
        was, place = id(one), ctypes.addressof(ctypes.c_char.from_buffer(one))
        del one
        several = [mapped("b") for _ in range(500)]
        (one,) = (each for each in several if id(each) == was)
        del several
        if ctypes.addressof(ctypes.c_char.from_buffer(one)) != place:
            libc = ctypes.CDLL(None)
            libc.mmap.restype = ctypes.c_void_p
            number = ctypes.c_int
            libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[number] * 3, ctypes.c_long)
            how = PRIVATE | ANONYMOUS | AT_THIS_FREE_PLACE
            assert libc.mmap(place, mmap.PAGESIZE, 3, how, -1, 0) == place
            ctypes.memset(place, ord("b"), mmap.PAGESIZE)
        if snapshot():
            revert(value=ctypes.string_at(place, 1))
        assert last_experiment().value == b"b", last_experiment()
        print("as it was")
        """,
        env={"SNAPSHOT_QUIET": "1"},
    )
    assert result.stdout == "as it was\n", result
