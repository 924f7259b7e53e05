"""The store: one contract for SQLite and PostgreSQL, and files that outlive any death."""

from __future__ import annotations

import fcntl
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import Mock

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from snapshot.errors import (
    DamagedObject,
    DamagedSpool,
    NoStore,
    NotTrusted,
    StoreError,
    StoreTooNew,
    UnknownObject,
    UsageError,
)
from snapshot.store import Store, database, events, schema
from snapshot.store.files import Remote
from snapshot.store.objects import Placeholder, pack
from snapshot.store.place import place
from snapshot.store.schema import VERSION
from snapshot.store.spool import Segment, Spool
from tests.libraries import require
from tests.processes import Program, Result

LARGE = np.arange(1 << 17, dtype=np.int64)  # 1 MiB


def files(store: Store) -> set[Path]:
    """Of the large objects."""
    return {path for path in (store.place.folder / "objects").rglob("*") if path.is_file()}


# Values.


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass(frozen=True)
class Point:
    x: int
    name: str


def test_what_is_put_is_got(store: Store) -> None:
    values = ["1", 1, True, "None", None, 1.0, -0.0, b"", {1: {2}}, Pair(1, "x"), Point(1, "p")]
    for value in values:
        found = store.objects.get(store.objects.put(value))
        assert (type(found), found, str(found)) == (type(value), value, str(value))
    nan = store.objects.get(store.objects.put(float("nan")))
    assert nan != nan
    cycle: list[Any] = []
    cycle.append(cycle)
    found = store.objects.get(store.objects.put(cycle))
    assert found[0] is found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=20,
)


@hypothesis.given(VALUES)
@hypothesis.settings(
    max_examples=50, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_any_value_comes_back_as_it_was(store: Store, value: object) -> None:
    assert repr(store.objects.get(store.objects.put(value))) == repr(value)


def test_a_large_array_is_stored_once_whatever_holds_it(store: Store) -> None:
    first = store.objects.put(LARGE)
    others = [store.objects.put({"array": LARGE, "n": n}) for n in range(5)]
    assert len(files(store)) == 1
    found = store.objects.get(first)
    found[0] = 7  # its own memory
    assert all((store.objects.get(each)["array"] == LARGE).all() for each in others)
    assert store.objects.show(others[0]).size > LARGE.nbytes


def test_what_cannot_be_stored_has_a_placeholder(store: Store) -> None:
    found = store.objects.get(store.objects.put([1, threading.Lock()]))
    assert isinstance(found, Placeholder)
    assert found.type == "list"
    assert "lock" in found.reason
    assert "lock" in found.text


class Loud:
    """Must not be loaded to be shown."""

    def __repr__(self) -> str:
        return "loud" * 1000

    def __reduce__(self) -> Any:
        return os.mkdir, ("loaded",)


def test_showing_loads_nothing(store: Store, tmp_path: Path) -> None:
    shown = store.objects.show(store.objects.put(Loud()))
    assert shown.type.endswith("Loud")
    assert len(shown.text) == 200
    assert not (tmp_path / "loaded").exists()


def test_a_repr_may_raise_and_have_any_characters(store: Store) -> None:
    class Raises:
        def __repr__(self) -> str:
            raise KeyError

    class Exits:
        def __repr__(self) -> str:
            raise SystemExit

    assert store.objects.show(store.objects.put([Raises()])).type == "list"
    assert "SystemExit" in store.objects.show(store.objects.put([Exits()])).text
    assert len(store.objects.show(store.objects.put(bytes(1 << 20))).text) == 200
    assert store.objects.show(store.objects.put("a\0b\ud800")).text


def test_unknown_and_damaged_objects_are_named(store: Store) -> None:
    unknown = bytes(32)
    for ask in (store.objects.get, store.objects.show):
        with pytest.raises(UnknownObject, match=unknown.hex()):
            ask(unknown)
    digest = store.objects.put({"array": LARGE, "list": [1, 2]})
    (file,) = files(store)
    content = bytearray(file.read_bytes())
    content[12345] ^= 1
    file.write_bytes(content)
    buffer = file.parent.name + file.name
    with pytest.raises(DamagedObject, match=buffer) as caught:
        store.objects.get(digest)
    assert caught.value.digest.hex() == buffer
    file.write_bytes(content[:-1])
    with pytest.raises(DamagedObject, match="another size"):
        store.objects.get(digest)
    assert store.objects.put({"array": LARGE, "list": [1, 2]}) == digest  # which mends it
    assert store.objects.get(digest)["list"] == [1, 2]
    file.unlink()
    with pytest.raises(DamagedObject, match="is missing"):
        store.objects.get(digest)
    assert store.objects.show(digest).type == "dict"
    assert store.objects.put({"array": LARGE, "list": [1, 2]}) == digest  # which mends it
    assert store.objects.get(digest)["list"] == [1, 2]


@pytest.mark.parametrize("written", ["in halves", "as one", "without a thread"])
def test_each_half_of_a_very_large_object_is_verified(
    store: Store, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if written != "as one":  # as those of before are
        monkeypatch.setattr("snapshot.store.objects._HALVED", LARGE.nbytes)
    if written == "without a thread":
        monkeypatch.setattr("threading.Thread.start", Mock(side_effect=RuntimeError))
    digest = store.objects.put(LARGE)
    monkeypatch.undo()
    (file,) = files(store)
    whole = file.read_bytes()
    for position in (0, len(whole) // 2 - 1, len(whole) // 2, len(whole) - 1):
        assert np.array_equal(store.objects.get(digest), LARGE)
        content = bytearray(whole)
        content[position] ^= 1
        file.write_bytes(content)
        with pytest.raises(DamagedObject, match="is not what its name says"):
            store.objects.get(digest)
        file.write_bytes(whole)


def test_an_object_of_the_database_that_is_damaged_is_never_loaded(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db", create=True) as store:
        digest = store.objects.put("what was stored")
    with sqlite3.connect(tmp_path / "store.db") as connection:
        data = pack(Loud()).data
        connection.execute("UPDATE objects SET data = ?", (data,))
    connection.close()
    with Store(tmp_path / "store.db") as store, pytest.raises(DamagedObject, match=digest.hex()):
        store.objects.get(digest)
    assert not Path("loaded").exists()


def test_what_nobody_refers_to_is_freed_and_nothing_else(store: Store) -> None:
    kept = store.objects.put([LARGE, "kept"])
    small = store.objects.put("small")
    shared = store.objects.put({"the same array": LARGE})
    other = store.objects.put(LARGE + 1)
    ids = dict(store.objects.ids())
    assert store.vacuum([ids[kept]]) == 4  # small, shared, other and its buffer
    assert (store.objects.get(kept)[0] == LARGE).all()
    assert len(files(store)) == 1
    for each in (small, shared, other):
        assert each not in store.objects
    assert store.objects.put(LARGE + 1) == other
    assert (store.objects.get(other) == LARGE + 1).all()
    assert store.vacuum() == 4
    assert not files(store)


# Several at a time.

MANY = """
import os, sys, threading
from snapshot.store import Store

store = Store(sys.argv[1])
store.objects.put("first")  # so that there is a connection

def work(name):
    for n in range(50):
        digest = store.objects.put((name, n % 7, "x" * 100))
        assert store.objects.get(digest)[0] == name

threads = [threading.Thread(target=work, args=(f"thread {n}",)) for n in range(4)]
children = []
for n in range(4):
    if (pid := os.fork()) == 0:
        work(f"child {n}")
        sys.exit(0) if n % 2 else os._exit(0)
    children.append(pid)
for each in threads:
    each.start()
for each in threads:
    each.join()
codes = [os.waitpid(each, 0)[1] for each in children]
work("after")
print(codes)
"""


def test_threads_forks_and_processes_use_it_at_a_time(
    where: str, start: Callable[..., Program]
) -> None:
    with Store(where, create=True) as store:
        programs = [start(MANY, where) for _ in range(2)]
        for each in programs:
            result = each.finish()
            assert (result.stdout, result.stderr) == ("[0, 0, 0, 0]\n", "")
        assert len(list(store.objects.ids())) == 1 + 9 * 7


def test_a_fork_that_outlives_its_parent_loses_nothing(
    where: str, python: Callable[..., Result]
) -> None:
    with Store(where, create=True):
        pass
    source = """
    import os, sys
    from snapshot.store import Store
    store = Store(sys.argv[1])
    store.objects.put("parent")
    readable, writable = os.pipe()
    parted, told = os.pipe()
    if os.fork():
        os.read(readable, 1)
        store.close()
        os.close(told)
        os.wait()
        sys.exit(0)
    os.close(told)
    store.objects.put("before")
    os.write(writable, b"x")
    os.read(parted, 1)
    for n in range(5):
        store.objects.put(n)
    os._exit(0)
    """
    assert python(source, where).code == 0
    with Store(where) as store:
        for each in ("parent", "before", *range(5)):
            assert pack(each).digest in store.objects


def test_a_fork_in_another_threads_transaction_says_that_it_cannot_write(
    tmp_path: Path, python: Callable[..., Result]
) -> None:
    source = """
    import os, sys, threading, warnings
    from snapshot.errors import StoreError
    from snapshot.store import Store, sqlite
    warnings.simplefilter("ignore")
    sqlite._SOON = 0.05
    store = Store(sys.argv[1], create=True)
    begun, over = threading.Event(), threading.Event()
    def work():
        with store._database.transaction():
            store.objects.put("thread")
            begun.set()
            over.wait()
    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    if os.fork() == 0:
        try:
            store.objects.put("child")
        except StoreError as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
    over.set()
    thread.join()
    store.objects.put("parent")
    """
    result = python(source, tmp_path / "store.db")
    assert (result.code, result.stderr) == (0, "")
    assert "was forked in a transaction" in result.stdout
    with Store(tmp_path / "store.db") as store:
        assert len(list(store.objects.ids())) == 2


FOLDER = """
import os, sys
from snapshot.store import Store

store = Store(sys.argv[1])
def fold(_, several):
    os.write(1, b"".join(b"%s\\n" % each for each in several))
    if sys.argv[2:]:
        sys.stdin.readline()
store.folds(1, fold)
os.write(1, b"begun\\n")
store.fold()
os.write(1, b"over\\n")
"""


def test_two_that_fold_at_a_time_fold_nothing_twice(
    where: str, start: Callable[..., Program]
) -> None:
    with Store(where, create=True) as store:
        for n in range(5):
            store.spool.append(1, b"%d" % n)
    first = start(FOLDER, where, "wait", stdin="")
    first.wait_for("begun\n0\n1\n2\n3\n4\n")
    second = start(FOLDER, where)
    second.wait_for("begun")
    while not any(".spool" in file.path for one in second.members() for file in one.open_files()):
        pass  # then it waits for the other one
    first.send("go on\n")
    assert first.finish().stdout.count("4\n") == 1
    assert "4" not in second.finish().stdout


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="reads /proc")
def test_at_rest_no_file_is_open_but_in_a_transaction(tmp_path: Path) -> None:
    path = tmp_path.resolve() / "store.db"

    def is_open() -> bool:
        links = Path("/proc/self/fd").iterdir()
        return str(path) in [os.readlink(each) for each in links if each.is_symlink()]

    with Store(path, create=True) as store:
        number = store.objects.put(7)
        assert is_open()
        store.rest()
        assert not is_open()
        assert store.objects.get(number) == 7
        with store._database.transaction():
            number = store.objects.put(8)
            store.rest()
            assert is_open()
        assert store.objects.get(number) == 8


def test_ctrl_c_while_another_writes_leaves_no_transaction(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    source = """
    import os, sys
    from snapshot.store import Store
    store = Store(sys.argv[1])
    try:
        os.write(1, b"begun\\n")
        store.objects.put("interrupted")
    except KeyboardInterrupt:
        os.write(1, b"interrupted\\n")
    store.objects.put("after")
    """
    with Store(tmp_path / "store.db", create=True) as store:
        with store._database.transaction():
            program = start(source, tmp_path / "store.db")
            program.wait_for("begun")
            program.kill(signal.SIGINT)
        result = program.finish()
        assert (result.code, result.stderr) == (0, "")
        store.objects.put("others")
        assert pack("after").digest in store.objects


def test_many_large_objects_need_no_descriptors(
    tmp_path: Path, python: Callable[..., Result]
) -> None:
    source = """
    import resource, sys
    from snapshot.store import Store
    store = Store(sys.argv[1], create=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    import numpy
    arrays = store.objects.put([numpy.full(40_000, n) for n in range(100)])
    assert [each[5] for each in store.objects.get(arrays)] == list(range(100))
    """
    result = python(source, tmp_path / "store.db")
    assert (result.code, result.stderr) == (0, "")


def test_vacuum_deletes_what_was_never_finished(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db", create=True) as store:
        digest = b"\1" * 32
        store._files.write(digest, b"whole")
        objects = store.place.folder / "objects" / digest.hex()[:2]
        store.spool.append(7, b"record")
        old, recent, held = (store.spools / f"{name}.new" for name in ("old", "recent", "held"))
        left, written = objects / ".left", objects / ".written"
        for each in (old, recent, held, left, written):
            each.touch()
        for each in (old, held, left):
            os.utime(each, (1, 1))
        with open(held) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            store.vacuum()
        found = {each.name for each in (*store.spools.iterdir(), *objects.iterdir())}
        assert found == {"recent.new", "held.new", store.spool.file, ".written"}


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_however_a_url_is_spelt_its_files_are_the_same(where: str) -> None:
    with Store(where, create=True) as store:
        digest = store.objects.put(LARGE)
        store.spool.append(1, b"1")
    with Store(f"{where}&application_name=other") as store:
        assert (store.objects.get(digest) == LARGE).all()
        assert numbers(store) == [1]


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_a_connection_that_is_lost_spoils_one_transaction(where: str) -> None:
    import psycopg

    with Store(where, create=True) as store, psycopg.connect(where, autocommit=True) as other:
        kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != %s"

        def write(name: str, then: Callable[[], object]) -> None:
            with store._database.transaction():
                store.objects.put(name)
                then()
                store.objects.put("more")

        with pytest.raises(StoreError):
            write("lost", lambda: other.execute(kill, (other.info.backend_pid,)))
        assert pack("lost").digest not in store.objects
        with pytest.raises(ZeroDivisionError):
            write("half", lambda: 1 / 0)
        assert pack("half").digest not in store.objects


# Where it is, and what it may be.


def test_reading_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(NoStore, match="there is no store"):
        Store(tmp_path / "none.db")
    assert not list(tmp_path.iterdir())


def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        Store(tmp_path, create=True)
    for named in ("", "http://example.org"):
        with pytest.raises(UsageError):
            Store(named)
    text = tmp_path / "text.db"
    text.write_text("no database at all, but long enough to be one\n" * 100)
    with pytest.raises(StoreError, match="no store, or is damaged"):
        Store(text, create=True)
    assert text.read_text().startswith("no database")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(StoreError, match="no store of snapshot's"):
        Store(other, create=True)
    with pytest.raises(StoreError, match="cannot make"):
        Store(text / "below" / "store.db", create=True)


def test_a_database_of_a_server_that_is_not_there(tmp_path: Path) -> None:
    url = f"postgresql://somebody:secret@/none?host={tmp_path}"
    with pytest.raises(StoreError) as caught:
        Store(url)
    assert "secret" not in str(caught.value)


def test_a_store_of_a_later_version_is_refused_by_name(where: str) -> None:
    Store(where, create=True).close()
    if where.startswith("postgresql"):
        import psycopg

        with psycopg.connect(where, autocommit=True) as server:
            server.execute("UPDATE snapshot.about SET version = version + 1")
    else:
        with sqlite3.connect(where) as connection:
            connection.execute(f"PRAGMA user_version = {VERSION + 1}")
        connection.close()
    with pytest.raises(StoreTooNew, match=f"version {VERSION + 1} .* update snapshot"):
        Store(where)


def test_a_store_of_the_first_version_is_brought_forward(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        for module in (schema, database):
            earlier.setattr(module, "MIGRATIONS", schema.MIGRATIONS[:1])
            earlier.setattr(module, "VERSION", 1)
        Store(where, create=True).close()
        with Store(where) as store:
            assert not any(name == "checksum" for name in columns(store, "objects"))
            store._database.rows(
                "INSERT INTO objects (digest, size, data) VALUES (?, ?, ?)", (*put_by_hand("old"),)
            )
    with Store(where) as store:
        assert "checksum" in columns(store, "objects")
        assert store.objects.get(put_by_hand("old")[0]) == "old"
        assert store.objects.get(store.objects.put(LARGE)).sum() == LARGE.sum()
        assert store.results.functions() == []
    Store(where).close()


def columns(store: Store, table: str) -> list[str]:
    """Their names."""
    with store._database._using() as connection:
        cursor = connection.execute(f"SELECT * FROM {table}")
        return [each[0] for each in cursor.description]


def put_by_hand(value: object) -> tuple[bytes, int, bytes]:
    """Digest, size and data of an object."""
    packed = pack(value)
    return packed.digest, len(packed.data), packed.data


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_somebody_else_has_tables_of_that_name(where: str) -> None:
    import psycopg

    with psycopg.connect(where, autocommit=True) as server:
        server.execute("CREATE SCHEMA snapshot")
        server.execute("CREATE TABLE snapshot.theirs (x integer)")
    with pytest.raises(StoreError, match="no store of snapshot's"):
        Store(where, create=True)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_files_are_for_ones_own_eyes_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    before = os.umask(umask)
    try:
        with Store(create=True) as store:
            store.objects.put(LARGE)
            store.spool.append(1, b"x")
    finally:
        os.umask(before)
    assert store.place.path == tmp_path / ".snapshot" / "store.db"
    found = {path: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob(".snapshot/**/*")}
    for path, mode in found.items():
        if path.name != ".gitignore":
            assert mode == (0o700 if path.is_dir() else 0o600), path
    assert (tmp_path / ".snapshot" / ".gitignore").read_text() == "*\n"


def test_the_place_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAPSHOT_STORE", "postgresql://me:secret@host/db")
    assert str(place()) == "postgresql://me:***@host/db"
    for hidden in ("?user=u&password=secret", "u:sec#secret@host", "u:secret@[::1]x/db"):
        assert "secret" not in str(place(f"postgresql://{hidden}"))
    with pytest.raises(UsageError) as caught:
        place(" postgresql+psycopg://u:secret@host/db")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("SNAPSHOT_STORE", "/somewhere/calls.db")
    assert place().path == Path("/somewhere/calls.db")


def test_the_place_is_the_project_of_the_script(
    python: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "project" / "tools").mkdir(parents=True)
    (tmp_path / "project" / "setup.cfg").touch()
    script = tmp_path / "project" / "tools" / "script.py"
    script.write_text("from snapshot.store.place import place\nprint(place())\n")
    result = python(script)
    assert result.stdout == f"{tmp_path}/project/.snapshot/store.db\n"


def test_the_place_of_a_module_is_beside_its_package(
    python: Callable[..., Result], tmp_path: Path
) -> None:
    package = tmp_path / "alone" / "package" / "inner"
    package.mkdir(parents=True)
    (package / "module.py").write_text("from snapshot.store.place import place\nprint(place())\n")
    shutil.copy(package / "module.py", package / "__main__.py")
    for module in ("package.inner.module", "package.inner"):
        code = f"import runpy; runpy._run_module_as_main({module!r})"
        result = python(code, env={"PYTHONPATH": str(tmp_path / "alone")})
        found = Path(result.stdout.removesuffix("\n"))
        assert found.parts[-2:] == (".snapshot", "store.db"), result
        # What is above the temporary folder may be a project.
        assert found.parent.parent in (tmp_path / "alone", *tmp_path.parents), result


def test_a_store_that_others_may_write_to_is_shown_and_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Store(path, create=True) as store:
        digest = store.objects.put("harmless")
    for changed, mode in ((path, 0o620), (store.place.folder, 0o702)):
        before = changed.stat().st_mode
        changed.chmod(mode)
        with Store(path) as store:
            assert not store.trusted
            assert store.objects.show(digest).text == "'harmless'"
            with pytest.raises(NotTrusted, match=r"other users may write.*--trust"):
                store.objects.get(digest)
        with Store(path, trust=True) as store:
            assert store.objects.get(digest) == "harmless"
        changed.chmod(before)
    beside = tmp_path / "store.db-wal"
    beside.touch(0o600)
    beside.chmod(0o666)
    (tmp_path / "link.db").symlink_to(path)
    for each in (path, tmp_path / "link.db"):
        with Store(each) as store:
            assert not store.trusted
        beside.touch()
        beside.chmod(0o666)
    beside.unlink()
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    with Store(shared / "store.db", create=True) as store:
        store.spool.append(1, b"1")
        store.folds(1, lambda *_: pytest.fail("folded"))
        with pytest.raises(NotTrusted):
            store.fold()
    if os.geteuid() == 0:
        os.chown(path, 65534, -1)
        with Store(path) as store, pytest.raises(NotTrusted, match="belongs to another user"):
            store.objects.get(digest)


# Spools.


def numbers(store: Store) -> list[int]:
    """What has been folded in, for records that are numbers."""
    found: list[int] = []
    store.folds(1, lambda _, several: found.extend(map(int, several)))
    store.fold()
    return found


def test_records_are_folded_in_once_and_in_their_order(store: Store) -> None:
    for n in range(3):
        store.spool.append(1, b"%d" % n)
    assert numbers(store) == [0, 1, 2]  # while it is being written
    assert numbers(store) == []
    store.spool.append(1, b"3")
    store.spool.append(1, b"4" * 10_000_000)  # more than a file takes
    store.spool.append(1, b"5")
    assert [str(n)[0] for n in texts(store)] == ["3", "4", "5"]
    store.close()
    assert numbers(store) == []
    assert not list(store.spools.iterdir())


def texts(store: Store) -> list[str]:
    found: list[str] = []
    store.folds(1, lambda _, several: found.extend(each.decode() for each in several))
    store.fold()
    return found


def test_what_fails_to_fold_stays(store: Store) -> None:
    store.spool.append(1, b"7")

    found = []

    def fails(_: Segment, several: list[bytes]) -> None:
        store.objects.put("half of it")
        found.extend(several)
        if b"7" in several:
            raise ZeroDivisionError

    store.folds(1, fails)
    with pytest.raises(ZeroDivisionError):
        store.fold()
    assert pack("half of it").digest not in store.objects
    with Store(store.place) as other:
        other.spool.append(1, b"8")
    with pytest.raises(ZeroDivisionError):
        store.fold()
    assert found == [b"7", b"7", b"8"]
    assert numbers(store) == [7]


def test_records_of_a_kind_that_nobody_knows_stay(store: Store) -> None:
    store.spool.append(1, b"1")
    store.spool.append(99, b"of a later version")
    store.spool.append(1, b"2")
    store.spool.close()
    assert numbers(store) == [1]
    assert len(list(store.spools.iterdir())) == 1
    store.folds(99, lambda *_: None)
    assert numbers(store) == [2]
    assert not list(store.spools.iterdir())


WRITER = """
import itertools, os, signal, sys
from snapshot.store import Store

store = Store(sys.argv[1])
os.write(1, b"begun\\n")
for n in itertools.count():
    store.spool.append(1, b"%d" % n)
    if n % 100 == 0:
        os.write(1, b"%d\\n" % n)
"""


def test_a_kill_loses_nothing_that_was_finished(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    path = str(tmp_path / "store.db")
    chance = random.Random(4)
    with Store(path, create=True) as store:
        for _ in range(10):
            with start(WRITER, path) as program:
                program.wait_for("begun")
                program.wait_for(f"\n{chance.randrange(1, 300)}00\n")
                program.kill()
                program.finish()
                told = int(program.stdout.split()[-1])
            found = numbers(store)
            assert found == list(range(len(found)))
            assert len(found) > told
            assert not list(store.spools.glob("*.spool"))  # one that was being made may be left


LEAVERS = """
import os, sys, threading
from snapshot.store import Store

store = Store(sys.argv[1])
store.spool.append(1, b"0")
for child in range(1, 5):
    if os.fork() == 0:
        def work():
            for n in range(250):
                store.spool.append(1, b"%d" % child)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads: each.start()
        for each in threads: each.join()
        os._exit(0)
for _ in range(4):
    os.wait()
store.spool.append(1, b"0")
os._exit(0)
"""


def test_forks_have_spools_of_their_own(where: str, python: Callable[..., Result]) -> None:
    with Store(where, create=True) as store:
        result = python(LEAVERS, where)
        assert (result.code, result.stderr) == (0, "")
        found = numbers(store)
        assert [found.count(n) for n in range(5)] == [2, 1000, 1000, 1000, 1000]
        assert not list(store.spools.iterdir())


def test_no_room_is_an_error_and_no_signal(tmp_path: Path, python: Callable[..., Result]) -> None:
    result = python(
        """
        import resource, signal, sys
        from snapshot.errors import StoreError
        from snapshot.store.spool import Spool
        from pathlib import Path
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        spool = Spool(Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        written = 0
        try:
            while True:
                spool.append(1, b"x" * 1000)
                written += 1
        except StoreError as error:
            print(written, error)
        """,
        tmp_path / "spool",
    )
    written, _, message = result.stdout.partition(" ")
    assert int(written) > 200
    assert message.startswith("cannot write")
    paths = list((tmp_path / "spool").iterdir())
    assert len(paths) == 1
    segment = Segment(paths[0])
    assert sum(1 for _ in segment.records(0)) == int(written)
    segment.close()


def test_a_spool_makes_no_file_before_there_is_something_to_write(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").close()
    assert not list(tmp_path.iterdir())


# What is deleted while it is recorded.

TOTAL = """
import os, sys
import numpy as np
from snapshot.replay import record
from snapshot.store import spool

@record
def total(array):
    return int(array.sum())

array = np.arange(1 << 17)
total(array)
append = spool.Spool.append

def told_when_asked(self, kind, content):
    if content[:1] == b"E":
        print("about to tell", flush=True)
        input()
    append(self, kind, content)
    if content[:1] == b"L":
        print("told", flush=True)

spool.Spool.append = told_when_asked
total(array)
print("over", flush=True)
"""


def total_of_last(store: Store) -> int:
    store.fold()
    call = [*store.calls.find()][-1]
    assert call.arguments is not None
    ((array,), _) = store.calls.load(call.arguments)
    return int(array.sum())


@pytest.mark.parametrize("way", ["delete", "vacuum"])
def test_what_is_about_to_be_told_keeps_its_file(
    where: str, start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The recorder has passed over a file that is there, and has not told of it yet."""
    program = start(TOTAL, env={"SNAPSHOT_STORE": where})
    program.wait_for("about to tell")
    monkeypatch.setattr("snapshot.store.relying._PATIENCE", 0.1)
    with Store(where) as store:
        store.fold()
        store._database.rows("DELETE FROM held")  # as if its first spool file were over
        store.calls.delete(store.calls.ids()) if way == "vacuum" else None
        store.vacuum() if way == "vacuum" else store.delete(store.calls.ids())
        assert "a process is recording large values just now" in store.undone[0]
        assert len(files(store)) == 1
        program.send("\n")
        program.wait_for("over")
        assert total_of_last(store) == (1 << 16) * ((1 << 17) - 1)
        store.delete(store.calls.ids())
        assert program.finish().code == 0
        store.fold()
        store.vacuum()
        assert (files(store), store.undone) == (set(), [])


def test_what_is_told_while_files_are_deleted_keeps_its_file(
    where: str, start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call is in a spool that was folded in before it was."""
    program = start(TOTAL, env={"SNAPSHOT_STORE": where})
    program.wait_for("about to tell")
    with Store(where) as store:
        store.fold()
        store._database.rows("DELETE FROM held")
        uses = store.calls.uses

        def and_one_more() -> set[int]:
            program.send("\n")
            program.wait_for("over")
            return uses()

        monkeypatch.setattr(store.calls, "uses", and_one_more)
        store.delete(store.calls.ids())
        assert total_of_last(store) == (1 << 16) * ((1 << 17) - 1)
        assert len(files(store)) == 1
        assert program.finish().code == 0


def test_who_comes_when_files_are_going_writes_his_own(
    tmp_path: Path, start: Callable[..., Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = str(tmp_path / "store.db")
    program = start(
        TOTAL.replace("total(array)\nprint", "input('ready')\ntotal(array)\nprint"),
        env={"SNAPSHOT_STORE": where},
    )
    program.wait_for("ready")
    with Store(where) as store:
        store.fold()
        store._database.rows("DELETE FROM held")
        referred = store._intake.referred

        def and_then_one_more() -> set[bytes]:
            found = referred()
            program.send("\n\n")
            program.wait_for("over")
            return found

        monkeypatch.setattr(store._intake, "referred", and_then_one_more)
        store.delete(store.calls.ids())
        monkeypatch.undo()
        assert total_of_last(store) == (1 << 16) * ((1 << 17) - 1)


KILLED = """
import os, sys
from snapshot.store import Store
from snapshot.store.relying import Reliance

with Store(sys.argv[1]) as store:
    store.fold()
    Reliance.settle = lambda self: os.kill(os.getpid(), 9)
    getattr(store, sys.argv[2])(*([[1]] if sys.argv[2] == "delete" else []))
"""


def test_who_deletes_may_be_killed(tmp_path: Path, python: Callable[..., Result]) -> None:
    where = tmp_path / "store.db"
    source = TOTAL.partition("append =")[0] + "total(array)\nimport snapshot.store"
    assert python(source, env={"SNAPSHOT_STORE": str(where)}).code == 0
    with Store(where) as store:
        store.fold()
        kept = files(store)
        assert len(kept) == 1
        store.calls.delete([1])
        store.calls.delete([2])
    assert python(KILLED, where, "vacuum").signal == signal.SIGKILL
    with Store(where) as store:
        (going,) = files(store)
        assert going not in kept
        assert store.objects.get(pack(((np.arange(1 << 17),), {})).digest)[0][0][7] == 7
        assert store.vacuum() == 2
        assert not files(store)


def test_who_is_killed_relies_on_nothing_and_leaves_nothing(
    where: str, start: Callable[..., Program]
) -> None:
    source = TOTAL.replace("total(array)\nappend", "append")
    program = start(source, env={"SNAPSHOT_STORE": where})
    program.wait_for("about to tell")
    program.kill()
    program.finish()
    with Store(where) as store:
        store.fold()
        assert len(files(store)) == 1
        store.vacuum()
        assert (files(store), store.undone) == (set(), [])


def test_a_fork_relies_on_nothing_of_its_parents(
    tmp_path: Path, python: Callable[..., Result]
) -> None:
    source = """
    import os, sys, threading
    from pathlib import Path
    from snapshot.store.relying import Reliance
    reliance = Reliance(Path(sys.argv[1]))
    reliance.begin()
    readable, writable = os.pipe()
    if (pid := os.fork()) == 0:
        reliance.begin()
        reliance.end()
        assert not reliance.open
        os.close(writable)
        os.read(readable, 1)
        os._exit(0)
    import snapshot.store.relying
    snapshot.store.relying._PATIENCE = 0.05
    print(reliance.settle())
    reliance.end()
    print(reliance.settle())
    os.close(writable)
    os.waitpid(pid, 0)
    """
    result = python(source, tmp_path / "objects")
    assert (result.stdout, result.stderr) == ("False\nTrue\n", "")


def test_what_is_held_for_a_file_that_is_gone_is_freed(tmp_path: Path) -> None:
    source = events.told("process", {"session": "s", "parent": None, "forked": 0})
    with Store(tmp_path / "store.db", create=True) as store:
        digest = store.objects.put("x" * 1000)
        number = store.objects.id(digest)
        store.spool.append(events.KIND, source)
        store.fold()
        store._database.rows(
            "INSERT INTO held (spool, object) VALUES (?, ?)", (f"{store.spool.file}", number)
        )
        assert store.vacuum() == 0
        (store.spools / f"{store.spool.file}").unlink()
        assert store.vacuum() == 1
        assert store._database.rows("SELECT * FROM spools") == []


def test_objects_elsewhere_stay_for_a_day(tmp_path: Path) -> None:
    require("fsspec")
    remote = Remote((tmp_path / "objects").as_uri())
    digest = b"\1" * 32
    remote.write(digest, b"content")
    path = tmp_path / "objects" / digest.hex()[:2] / digest.hex()[2:]
    assert remote.delete([digest], set) == []
    assert path.exists()
    os.utime(path, (1, 1))
    remote.write(digest, b"content")
    assert path.stat().st_mtime > 1  # since somebody relies on it again
    os.utime(path, (1, 1))
    remote.delete([digest], lambda: {digest})
    assert path.exists()
    remote.delete([digest, b"\2" * 32], set)
    assert not path.exists()


# What records tell.


def tell(store: Store, source: str = "", text: str = "t") -> None:
    """A call, as a process tells of it."""
    facts = {"session": "s", "parent": None, "forked": 0, "pid": 1, "host": "h", "python": "3"}
    function = {"number": 1, "key": "m:f", "digest": "00" * 32, "source": source}
    for record in (
        events.told("process", facts),
        events.told("function", function),
        events.told("thread", {"number": 1, "name": text}),
        events.entered(1, 1, 0, 1, 1, b"\x80\x05)}\x86.", b""),
        events.left(1, 2, 1, b"", b"", {"type": text, "text": text, "traceback": text}),
    ):
        store.spool.append(events.KIND, record)


def test_a_function_may_be_long(store: Store) -> None:
    chance = random.Random(1)
    for _ in range(2):
        tell(store, "".join(chance.choices("abcdefghijklmnopqrstuvwxyz ", k=300_000)))
        store.spool.close()
        store._spool = Spool(store.spools)
    tell(store, "short")
    store.fold()
    assert [len(each.function.facts["source"]) > 10 for each in store.calls.find()] == [
        *(True, True, False)
    ]


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_databases_of_other_encodings(where: str, encoding: str) -> None:
    import psycopg

    with psycopg.connect(where, autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {encoding}")
        server.execute(
            f"CREATE DATABASE {encoding} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
        )
    there = where.replace("/postgres?", f"/{encoding.lower()}?")
    if encoding == "LATIN1":
        with pytest.raises(StoreError, match=r"encoding LATIN1 .*ENCODING 'UTF8'"):
            Store(there, create=True)
    else:
        with Store(there, create=True) as store:
            tell(store, text="語")
            store.fold()
            (call,) = store.calls.find()
            assert call.failure is not None
            assert (call.thread, call.failure.text) == ("語", "語")
    with psycopg.connect(where, autocommit=True) as server:
        server.execute(f"DROP DATABASE {encoding} WITH (FORCE)")


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_reading_makes_no_tables(where: str) -> None:
    import psycopg

    with pytest.raises(NoStore, match=r"there is no store .*: record something first"):
        Store(where)
    with psycopg.connect(where) as server:
        found = server.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'snapshot'")
        assert found.fetchall() == []


@pytest.mark.parametrize("where", ["postgresql"], indirect=True)
def test_who_may_only_read_reads(where: str) -> None:
    import psycopg

    with Store(where, create=True) as store:
        tell(store)
        store.fold()
        tell(store)
        with psycopg.connect(where, autocommit=True) as server:
            server.execute("DROP ROLE IF EXISTS reader")
            server.execute("CREATE ROLE reader LOGIN")
            server.execute("GRANT USAGE ON SCHEMA snapshot TO reader")
            server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA snapshot TO reader")
        with Store(where.replace("postgres@", "reader@")) as other:
            (line,) = other.catch_up()
            assert "cannot be written: calls that it has only in its spool are left out" in line
            assert other.calls.count() == 1
            with pytest.raises(StoreError, match="permission denied"):
                other.delete([1])
    with psycopg.connect(where, autocommit=True) as server:
        server.execute("DROP OWNED BY reader")
        server.execute("DROP ROLE reader")


def test_a_server_that_never_answers(tmp_path: Path, python: Callable[..., Result]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"postgresql://me@127.0.0.1:{server.getsockname()[1]}/db"
        source = """
        import time
        from snapshot.replay import lost, record
        @record
        def add(a): return a + 1
        began = time.monotonic()
        print(add(1), add(2), lost(), time.monotonic() - began < 10)  # which is the default
        """
        for more, env in (("?connect_timeout=2", {}), ("", {"PGCONNECT_TIMEOUT": "2"})):
            result = python(source, env={"SNAPSHOT_STORE": url + more, **env})
            assert result.stdout == "2 3 2 True\n"
            assert result.stderr.count("calls are not recorded in postgresql://me@127") == 1
        source = """
        import sys
        from snapshot.errors import StoreError
        from snapshot.store import Store, postgres
        postgres._ANSWERS = 2
        try:
            Store(sys.argv[1])
        except StoreError as error:
            print(error)
        """
        assert "timeout" in python(source, url).stdout


def test_a_password_is_in_no_message(tmp_path: Path) -> None:
    for url in (
        "postgresql://u:se@cret@localhost/db",
        "postgresql://u:se/cret@localhost/db",
        "postgresql://u:se?cret@localhost/db",
        "postgresql://u:se#cret@localhost/db",
        "postgresql://u:se:cret@localhost:x/db",
        "postgresql://u:[cret@localhost/db",
    ):
        with pytest.raises(StoreError) as caught:
            Store(url)
        assert "cret" not in str(caught.value), caught.value
        assert "%40" in str(caught.value)


def test_a_recorder_never_waits_for_others_that_write(where: str) -> None:
    with Store(where, create=True, patience=3600) as store, Store(where) as other:
        tell(store)
        with other._database.transaction():
            other._database.lock(exclusive=True)
            with pytest.raises(StoreError, match="locked"):
                store.fold(wait=False)
        assert store.fold(wait=False) == 5
        assert store.calls.count() == 1


@pytest.mark.parametrize("harm", ["flipped", "zeroed", "cut", "emptied", "shorter", "hole"])
def test_what_is_damaged_is_said_and_kept(store: Store, harm: str) -> None:
    for n in range(100):
        store.spool.append(1000, b"%08d" % n)
    found: list[bytes] = []
    store.folds(1000, lambda _, several: found.extend(several))
    if harm == "shorter":
        store.fold()
    path = store.spools / f"{store.spool.file}"
    store.spool.close()
    content = bytearray(path.read_bytes())
    if harm == "flipped":
        content[20 * 50 + 15] ^= 1
    elif harm == "zeroed":
        content[:20] = bytes(20)
    elif harm == "hole":
        content[20 * 50 : 20 * 60] = bytes(200)
    else:
        content = content[: {"cut": 1015, "emptied": 0, "shorter": 500}[harm]]
    path.write_bytes(content)
    store.spool.append(1000, b"of another")  # whose calls are there all the same
    for _ in range(2):
        with pytest.raises(DamagedSpool, match=f"{path.name} is damaged: .* byte") as caught:
            store.fold()
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert found.pop() == b"of another"
    assert len(found) == {"flipped": 50, "hole": 50, "cut": 50, "shorter": 100}.get(harm, 0)


def test_the_last_record_of_who_was_killed_may_be_half_there(store: Store) -> None:
    for n in range(10):
        store.spool.append(1, b"%d" % n)
    path = store.spools / f"{store.spool.file}"
    store.spool.close()
    whole = path.read_bytes()
    for kept in range(9 * 13, 10 * 13):
        content = bytearray(whole)
        content[kept:] = bytes(len(whole) - kept)
        half = store.spools / f"1-{kept:012x}-0.spool"
        half.write_bytes(content)
        assert len(numbers(store)) >= 9
        assert not half.exists()


@pytest.mark.parametrize("copied", [70, 4096, 9999])
@pytest.mark.parametrize("missing", [1, 4, 9, 12, 33, 64])
def test_the_head_of_the_last_record_may_be_what_is_missing(
    store: Store, missing: int, copied: int
) -> None:
    """memcpy(3) writes the first bytes of a large record last, up to where it can be aligned."""
    store.spool.append(1, b"1")
    store.spool.append(1, bytes(range(1, 11)) * 1000)
    path = store.spools / f"{store.spool.file}"
    store.spool.close()
    content = bytearray(path.read_bytes())
    content[13 : 13 + missing] = bytes(missing)
    content[13 + copied :] = bytes(len(content) - 13 - copied)
    path.write_bytes(content)
    assert numbers(store) == [1]
    assert not path.exists()


@pytest.mark.parametrize("harm", ["missing", "cut", "zeroed"])
def test_without_its_first_file_a_spool_costs_no_others(store: Store, harm: str) -> None:
    tell(store)
    first = store.spools / f"{store.spool.file}"
    store.spool.close()
    store.spool.append(events.KIND, events.entered(2, 1, 0, 1, 1, b"\x80\x05)}\x86.", b""))
    store.spool.close()
    if harm == "missing":
        first.unlink()
    else:
        size = first.stat().st_size
        first.write_bytes(first.read_bytes()[:100] if harm == "cut" else bytes(size))
    with Store(store.place) as other:
        tell(other)
    for _ in range(2):
        with Store(store.place) as other:
            (line,) = other.catch_up()
            assert re.search(r"\.spool (is damaged|refers to what is not in).*left out", line), line
            assert other.catch_up() == []  # said once
            assert other.calls.count() == 1


def test_the_name_of_a_spool_may_be_no_file(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db", create=True) as store:
        tell(store)
        (store.spools / "1-2-0.spool").mkdir()
        os.mkfifo(store.spools / "1-3-0.spool", 0o600)
        (line,) = store.catch_up()
        assert re.search(r"cannot read .*/1-[23]-0.spool: it is no file.* with 1 more", line)
        assert store.calls.count() == 1
        store.vacuum()


def test_a_store_that_is_made_anew_while_a_process_records(
    tmp_path: Path, start: Callable[..., Program]
) -> None:
    where = tmp_path / "stored" / "store.db"
    source = """
    import os
    from snapshot.replay import lost, record

    @record
    def same(value):
        return value

    same("first")
    for _ in range(2):
        input("ready")
        for n in range(3000):
            same(str(n) * 50)
        print(lost(), "lost", flush=True)
    """
    program = start(source, env={"SNAPSHOT_STORE": str(where)})
    program.wait_for("ready")
    for times, harm in enumerate(("all", "database"), 1):
        if harm == "all":
            shutil.rmtree(where.parent)
        else:
            for each in where.parent.glob("store.db*"):
                each.unlink() if each.is_file() else None
        with Store(where, create=True) as store:
            tell(store)
            store.fold()
            program.send("\n")
            program.wait_for(re.compile(rf"(\d+ lost\n.*){{{times}}}", re.DOTALL))
    result = program.finish()
    assert (result.code, result.stderr.count("Warning")) == (0, 1), result
    assert "it was deleted while this process recorded, and is made anew" in result.stderr
    with Store(where) as store:
        store.catch_up()
        assert store.calls.count() > 1000
        assert {each.function.key for each in store.calls.find()} == {"m:f", "__main__:same"}


def test_an_empty_file_is_no_store_to_read(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    with pytest.raises(NoStore):
        Store(tmp_path / "store.db")
    Store(tmp_path / "store.db", create=True).close()
    Store(tmp_path / "store.db").close()


def test_a_call_waits_for_no_more_than_a_file_to_be_folded_in(
    where: str, start: Callable[..., Program]
) -> None:
    source = """
    import os
    from snapshot.replay import lost, record, recorder
    from snapshot.store.place import place
    recorder._FOLD_AT = 1 << 21

    @record
    def same(value):
        return value

    spools, numbers = place().folder / "spool", []
    for n in range(60_000):
        same(n)
        if n % 100 == 0:
            numbers.append(len(os.listdir(spools)))
    print(numbers[0], max(numbers), min(numbers[300:]), lost())
    """
    program = start(source, env={"SNAPSHOT_STORE": where})
    first, most, least, lost = map(int, program.finish().stdout.split())
    assert first == 1
    assert 3 < least <= most < 8, (most, least)  # else all of them were folded in at once, or none
    assert lost == 0
    with Store(where) as store:
        assert 0 < store.calls.count() < 60_000
        store.fold()
        assert store.calls.count() == 60_000


def test_a_program_that_records_does_not_wait_for_who_writes(
    where: str, start: Callable[..., Program]
) -> None:
    source = """
    from snapshot.replay import lost, record, recorder
    recorder._FOLD_AT = 1 << 18

    @record
    def same(value):
        return value

    same("first")
    input("ready")
    for n in range(5000):
        same(str(n) * 50)
    print("over", lost(), flush=True)
    """
    program = start(source, env={"SNAPSHOT_STORE": where})
    program.wait_for("ready")
    with Store(where) as store:
        with store._database.transaction():
            store._database.lock(exclusive=True)
            program.send("\n")
            program.wait_for("over 0\n")
        assert program.finish().stderr == ""
        store.fold()
        assert store.calls.count() == 5001
