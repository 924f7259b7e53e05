"""Large results under keys, wherever they are: snapshot.memo.objstore."""

from __future__ import annotations

import importlib
import os
import pickle
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snapshot.errors import DamagedObject, StoreError, UsageError
from snapshot.memo.objstore import HEAD, DirObjStore, ObjStore
from snapshot.pickling import Bytes
from tests.libraries import require
from tests.processes import Result

Run = Callable[..., Result]

KEY = bytes(range(16))
LARGE = 1 << 18  # bytes from which on an object is mapped


class Pathlike:
    """What is like a path of pathlib, and is none."""

    def __init__(self, path: Path, *, movable: bool = True) -> None:
        self._path, self._movable = path, movable

    def __str__(self) -> str:
        return f"like:{self._path}"

    @property
    def name(self) -> str:
        return self._path.name

    def __truediv__(self, name: str) -> Pathlike:
        return type(self)(self._path / name, movable=self._movable)

    def open(self, mode: str) -> IO[Any]:
        return self._path.open(mode)

    def iterdir(self) -> Iterator[Pathlike]:
        return (self / each.name for each in self._path.iterdir())

    def stat(self) -> os.stat_result:
        return self._path.stat()

    def mkdir(self, *, parents: bool, exist_ok: bool) -> None:
        self._path.mkdir(parents=parents, exist_ok=exist_ok)

    def replace(self, target: Pathlike) -> None:
        if not self._movable:
            raise NotImplementedError
        self._path.replace(target._path)

    def unlink(self) -> None:
        self._path.unlink()


def immovable(path: Path) -> Pathlike:
    """One whose files cannot be moved; each is there when it is closed."""
    return Pathlike(path, movable=False)


class InMemory(ObjStore):
    """A store as a user writes one."""

    def __init__(self) -> None:
        self.there: dict[bytes, bytes] = {}

    def read(self, key: bytes) -> Bytes:
        return bytearray(self.there[key])

    def write(self, key: bytes, parts: Any) -> None:
        self.there[key] = b"".join(parts)

    def delete(self, key: bytes) -> None:
        self.there.pop(key, None)

    def entries(self) -> Iterator[tuple[bytes, int]]:
        return iter([(key, HEAD + len(content)) for key, content in self.there.items()])

    def sweep(self, age: float = 0.0) -> None:
        """Nothing is left over."""


def in_memory(path: Path) -> str:
    return f"memory://{path}"


def _upath(url: str) -> Any:
    """A path of universal_pathlib, if that is there."""
    require("upath")
    return importlib.import_module("upath").UPath(url)


STORES: dict[str, Callable[[Path], ObjStore]] = {
    "folder": DirObjStore,
    "text": lambda path: DirObjStore(str(path)),
    "file URL": lambda path: DirObjStore(path.as_uri()),
    "memory URL": lambda path: DirObjStore(in_memory(path)),
    "like a path": lambda path: DirObjStore(Pathlike(path)),
    "immovable": lambda path: DirObjStore(immovable(path)),
    "UPath, memory": lambda path: DirObjStore(_upath(in_memory(path))),
    "UPath, file": lambda path: DirObjStore(_upath(path.as_uri())),
    "UPath, local": lambda path: DirObjStore(_upath(str(path))),
    "two": lambda path: DirObjStore(path / "remote", local=path / "local"),
    "two elsewhere": lambda path: DirObjStore(in_memory(path), local=InMemory()),
    "three": lambda path: DirObjStore(
        path.as_uri() + "/far", local=DirObjStore(path / "near", local=InMemory())
    ),
}


@pytest.fixture(params=STORES)
def make(request: pytest.FixtureRequest) -> Callable[[Path], ObjStore]:
    if "URL" in request.param or "elsewhere" in request.param or request.param == "three":
        require("fsspec")
    if "UPath" in request.param:
        require("upath")
    return STORES[request.param]


@pytest.fixture
def store(make: Callable[[Path], ObjStore], tmp_path: Path) -> ObjStore:
    return make(tmp_path / "store")


@pytest.fixture(autouse=True)
def empty_memory() -> Iterator[None]:
    yield
    try:
        from fsspec.implementations.memory import MemoryFileSystem
    except ImportError:
        return
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def files(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*") if each.is_file())


# All kinds.


def test_what_is_written_is_read(store: ObjStore) -> None:
    with pytest.raises(KeyError, match=re.escape(repr(KEY))):
        store.read(KEY)
    assert list(store.entries()) == []
    large = os.urandom(3 * LARGE)
    numbers: Any = memoryview(bytearray(80)).cast("d")
    several: list[Bytes] = [b"in ", bytearray(b"parts"), memoryview(b"!")]
    for parts in ([b"content"], several, [], [b""]):
        store.write(KEY, parts)
        assert store.read(KEY) == b"".join(parts)
    store.write(KEY, [large[:100], numbers, large])
    assert bytes(store.read(KEY)) == large[:100] + bytes(80) + large
    assert list(store.entries()) == [(KEY, HEAD + 180 + len(large))]
    other = KEY[::-1]
    store.write(other, [b"other"])
    assert sorted(store.entries()) == [(KEY, HEAD + 180 + len(large)), (other, HEAD + 5)]
    store.delete(KEY)
    store.delete(KEY)
    with pytest.raises(KeyError):
        store.read(KEY)
    assert store.read(other) == b"other"
    store.clear()
    assert list(store.entries()) == []


def test_what_is_read_may_be_written_to(store: ObjStore) -> None:
    for content in (b"content", bytes(LARGE)):
        store.write(KEY, [content])
        view = memoryview(store.read(KEY))
        view[0] = 255
        assert store.read(KEY) == content
        store.write(KEY, [b"another"])
        store.delete(KEY)
        assert view[1:] == content[1:]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "read", "delete", "clear", "sweep"]),
        st.sampled_from([b"\0", b"\1", b"\1\2", b"\1\3", b"." * 100]),
        st.sampled_from([b"", b"a", bytes(1000), bytes(LARGE)]),
    )
)


# What makes a store remembers nothing.
STATELESS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=20, suppress_health_check=STATELESS)
@given(operations=OPERATIONS)
def test_a_store_is_like_a_dictionary(
    make: Callable[[Path], ObjStore], operations: list[tuple[str, bytes, bytes]]
) -> None:
    expected: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = make(Path(folder, "store"))
        for operation, key, content in operations:
            match operation:
                case "write":
                    store.write(key, [content[:10], content[10:]])
                    expected[key] = content
                case "read" if key in expected:
                    assert store.read(key) == expected[key]
                case "read":
                    with pytest.raises(KeyError):
                        store.read(key)
                case "delete":
                    store.delete(key)
                    expected.pop(key, None)
                case "clear":
                    store.clear()
                    expected.clear()
                case "sweep":
                    store.sweep(age=0)
        assert dict(store.entries()) == {key: HEAD + len(each) for key, each in expected.items()}
        store.clear()


def test_it_is_the_same_in_another_process(
    make: Callable[[Path], ObjStore], tmp_path: Path
) -> None:
    store = make(tmp_path / "store")
    store.write(KEY, [b"content"])
    if "like" in repr(store):
        return
    copied = pickle.loads(pickle.dumps(store))
    assert repr(copied)
    assert copied.read(KEY) == b"content"


@pytest.mark.parametrize("key", [b"", b"k" * 101])
def test_what_is_no_key_is_refused(tmp_path: Path, key: bytes) -> None:
    store = DirObjStore(tmp_path)
    for use in (store.read, store.delete, lambda key: store.write(key, [])):
        with pytest.raises(UsageError, match=f"a key of {len(key)} bytes"):
            use(key)


# Places.


def test_a_folder_is_for_ones_own_eyes(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        DirObjStore(tmp_path / "a" / "b").write(KEY, [b"content"])
    finally:
        os.umask(old)
    made = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    modes = {stat.filemode(each.stat().st_mode) for each in made}
    assert modes == {"drwx------", "-rw-------"}
    assert files(tmp_path) == [tmp_path / "a" / "b" / "00" / KEY.hex()]


def test_a_folder_stays_when_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = DirObjStore("store")
    monkeypatch.chdir("/")
    store.write(KEY, [b"content"])
    assert DirObjStore(tmp_path / "store").read(KEY) == b"content"
    assert repr(store) == f"DirObjStore({str(tmp_path / 'store')!r})"


class Located:
    """An os.PathLike, and no more than that."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


def test_any_path_names_a_folder(tmp_path: Path) -> None:
    DirObjStore(Located(tmp_path / "x")).write(KEY, [b"content"])
    assert DirObjStore(tmp_path / "x").read(KEY) == b"content"


@pytest.mark.parametrize("wrong", ["", b"bytes", 3, None])
def test_what_is_no_place_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="is no folder"):
        DirObjStore(wrong)


def test_a_url_that_nobody_knows_is_refused() -> None:
    require("fsspec")
    with pytest.raises(UsageError, match="nobody://knows"):
        DirObjStore("nobody://knows")


def test_fsspec_is_imported_for_a_url_alone(python: Run) -> None:
    result = python(
        """
        import sys
        from snapshot.memo.objstore import DirObjStore

        DirObjStore("folder").write(b"key", [b"content"])
        print(*{"fsspec", "upath"} & set(sys.modules))
        sys.modules["fsspec.core"] = None
        try:
            DirObjStore("memory://folder")
        except ValueError as error:
            print(error)
        """
    )
    assert result.code == 0, result
    assert result.stdout == "\nmemory://folder: install fsspec, which the extra `remote` brings\n"


def test_other_files_are_left_alone(make: Callable[[Path], ObjStore], tmp_path: Path) -> None:
    folder = tmp_path / "store"
    store = make(folder)
    store.write(KEY, [b"content"])
    others = ["README", "00/README", "00/0", "00/ab", "00/00 00", "a/b/c", "ab/AB"]
    for other in others:
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_text("mine")
    assert list(store.entries()) == [(KEY, HEAD + 7)]
    store.clear()
    store.sweep(age=0)
    assert all((folder / other).read_text() == "mine" for other in others)


@pytest.mark.parametrize("kind", ["folder", "file URL", "like a path"])
def test_what_cannot_be_used_is_named(kind: str, tmp_path: Path) -> None:
    if kind == "file URL":
        require("fsspec")
    (tmp_path / "file").touch()
    store = STORES[kind](tmp_path / "file")
    with pytest.raises(StoreError, match=rf"cannot write .*{tmp_path}/file/00/{KEY.hex()}: "):
        store.write(KEY, [b"content"])
    (tmp_path / "store" / "00" / KEY.hex()).mkdir(parents=True)
    store = STORES[kind](tmp_path / "store")
    with pytest.raises(StoreError, match=rf"cannot read .*{tmp_path}/store/00/{KEY.hex()}: "):
        store.read(KEY)
    with pytest.raises(StoreError, match=rf"cannot delete .*{tmp_path}/store/00/{KEY.hex()}: "):
        store.delete(KEY)


def test_what_a_driver_raises_is_told_with_the_place() -> None:
    require("fsspec")
    memory = importlib.import_module("fsspec.implementations.memory")

    class Credentials(Exception):
        pass

    class Broken(memory.MemoryFileSystem):  # type: ignore[misc, name-defined]
        def pipe_file(self, *args: Any, **kwargs: Any) -> None:
            raise Credentials("no credentials")

        cat_file = find = rm_file = pipe_file

    store = DirObjStore(SimpleNamespace(fs=Broken(), path="/bucket/x"))
    uses: list[Callable[[], object]] = [
        lambda: store.read(KEY),
        lambda: store.write(KEY, [b"content"]),
        lambda: store.delete(KEY),
        lambda: list(store.entries()),
        store.sweep,
    ]
    for use, word in zip(uses, ["read", "write", "delete", "list", "sweep"], strict=True):
        with pytest.raises(StoreError, match=f"cannot {word} memory://.*/x.*: no credentials"):
            use()


def test_what_cannot_be_moved_into_its_place_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stuck(*args: Any) -> None:
        raise OSError("stuck")

    monkeypatch.setattr(Pathlike, "replace", stuck)
    DirObjStore(tmp_path).write(KEY, [b"before"])
    store = DirObjStore(Pathlike(tmp_path))
    with pytest.raises(StoreError, match="stuck"):
        store.write(KEY, [b"after"])
    assert store.read(KEY) == b"before"
    assert len(files(tmp_path)) == 1


def test_a_file_system_that_cannot_move_changes_nothing(tmp_path: Path) -> None:
    require("fsspec")
    local = importlib.import_module("fsspec.implementations.local")

    class Stuck(local.LocalFileSystem):  # type: ignore[misc, name-defined]
        def mv(self, *args: Any, **kwargs: Any) -> None:
            raise OSError("stuck")

    DirObjStore(tmp_path).write(KEY, [b"before"])
    store = DirObjStore(SimpleNamespace(fs=Stuck(), path=str(tmp_path)))
    with pytest.raises(StoreError, match="stuck"):
        store.write(KEY, [b"after"])
    assert store.read(KEY) == b"before"
    assert len(files(tmp_path)) == 1


def test_a_fork_uses_a_file_system_of_its_own(python: Run) -> None:
    require("fsspec")
    result = python(
        """
        import os
        from snapshot.memo.objstore import DirObjStore

        store = DirObjStore(f"file://{os.getcwd()}/store")
        store.write(b"key", [b"content"])
        system = store._place._system
        if os.fork() == 0:
            assert store.read(b"key") == b"content"
            assert store._place._system is not system
            print("fork", flush=True)
            os._exit(0)
        assert os.wait()[1] == 0
        assert store._place._system is system
        """
    )
    assert result.code == 0, result
    assert result.stdout == "fork\n"


# Two places.


def test_the_local_one_is_read_first_and_filled(tmp_path: Path) -> None:
    remote, local = DirObjStore(tmp_path / "remote"), InMemory()
    store = DirObjStore(tmp_path / "remote", local=local)
    remote.write(KEY, [b"content"])
    assert store.read(KEY) == local.there[KEY] == b"content"
    local.there[KEY] = b"local"
    assert store.read(KEY) == b"local"
    del local.there[KEY]
    store.write(KEY, [b"a", b"b"])
    assert remote.read(KEY) == local.there[KEY] == b"ab"
    store.delete(KEY)
    assert not local.there
    with pytest.raises(KeyError):
        remote.read(KEY)


def test_a_failure_of_the_remote_one_does_not_lose_the_local_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = DirObjStore(tmp_path / "file", local=tmp_path / "local")
    with pytest.raises(StoreError, match=f"cannot write {tmp_path}/file/"):
        store.write(KEY, [b"content"])
    assert store.read(KEY) == b"content"
    assert list(store.entries()) == [(KEY, HEAD + 7)]


def test_a_failure_of_the_local_one_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = DirObjStore(tmp_path / "remote", local=tmp_path / "file")
    store.write(KEY, [b"content"])
    assert store.read(KEY) == b"content"
    store = DirObjStore(tmp_path / "remote", local=tmp_path / "local")
    store.write(KEY, [b"content"])
    (damaged,) = files(tmp_path / "local")
    damaged.write_bytes(b"")
    assert store.read(KEY) == b"content"
    assert DirObjStore(tmp_path / "local").read(KEY) == b"content"


# Damage.


@pytest.mark.parametrize("kind", ["folder", "file URL", "like a path"])
def test_each_damaged_byte_is_noticed(kind: str, tmp_path: Path) -> None:
    if kind == "file URL":
        require("fsspec")
    store = STORES[kind](tmp_path)
    store.write(KEY, [b"content"])
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    flipped = [
        whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        for place in range(len(whole))
    ]
    cut = [whole[:size] for size in range(len(whole))]
    for damaged in [*flipped, *cut, whole + b"\0", whole * 2]:
        path.write_bytes(damaged)
        with pytest.raises(DamagedObject, match=re.escape(str(path))) as caught:
            store.read(KEY)
        assert caught.value.digest == KEY
    assert list(store.entries()) == [(KEY, 2 * len(whole))]
    store.write(KEY, [b"content"])
    assert store.read(KEY) == b"content"


def test_a_damaged_byte_of_a_large_object_is_noticed(tmp_path: Path) -> None:
    store = DirObjStore(tmp_path)
    store.write(KEY, [bytes(10), bytes(4 * LARGE)])
    (path,) = files(tmp_path)
    for place in (HEAD, 2 * LARGE, HEAD + 4 * LARGE + 9):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"\1")
        with pytest.raises(DamagedObject):
            store.read(KEY)
        store.write(KEY, [bytes(4 * LARGE + 10)])
        assert store.read(KEY) == bytes(4 * LARGE + 10)


def test_an_object_of_another_key_is_noticed(tmp_path: Path) -> None:
    store = DirObjStore(tmp_path)
    other = KEY[:1] + KEY[:0:-1]
    store.write(KEY, [b"content"])
    store.write(other, [b"another"])
    first, second = files(tmp_path)
    shutil.copy(first, second)
    found = [key for key in (KEY, other) if not _is_damaged(store, key)]
    assert len(found) == 1


def _is_damaged(store: ObjStore, key: bytes) -> bool:
    try:
        store.read(key)
    except DamagedObject:
        return True
    return False


# Left-overs.


@pytest.mark.parametrize("kind", ["folder", "file URL", "like a path", "memory URL", "two"])
def test_what_killed_writers_left_is_swept(kind: str, tmp_path: Path) -> None:
    if "URL" in kind:
        require("fsspec")
    store = STORES[kind](tmp_path)
    store.write(KEY, [b"content"])
    assert isinstance(store, DirObjStore)
    if kind == "memory URL":
        store._place._system.pipe_file(f"{tmp_path}/00/.begun", b"")  # type: ignore[attr-defined]
        assert len(list(store._place.files())) == 2
        store.sweep()
        assert len(list(store._place.files())) == 2
    else:
        left = [path.with_name(f".{name}") for path in files(tmp_path) for name in ("old", "new")]
        for path in left:
            path.write_bytes(b"begun")
            if path.name == ".old":
                os.utime(path, (time.time() - 4000, time.time() - 4000))
        store.sweep()
        assert [path.name for path in left if path.exists()] == [".new"] * (len(left) // 2)
    assert list(store.entries()) == [(KEY, HEAD + 7)]
    store.sweep(age=0)
    assert len(list(store._place.files())) == 1
    assert store.read(KEY) == b"content"


def test_fifty_killed_writers(python: Run) -> None:
    """What was finished is whole, whenever the writer of the next object is killed."""
    result = python(
        """
        import os, random, select, signal, time
        from snapshot.memo.objstore import DirObjStore

        store = DirObjStore("store")
        content = random.Random(1).randbytes(20_000_000)
        begun = time.perf_counter()
        store.write(b"first", [content])
        takes = time.perf_counter() - begun
        chance = random.Random(2)
        finished, left = 0, 0

        def write(key, tell):
            os.write(tell, b"begin")
            while True:
                key += b"+"
                store.write(key, [content[:1000], content[1000:]])
                os.write(tell, b"!")

        for number in range(50):
            hear, tell = os.pipe()
            key = b"%d" % number
            if (pid := os.fork()) == 0:
                write(key, tell)
            os.close(tell)
            assert os.read(hear, 5) == b"begin"
            done = b"".join(os.read(hear, 1) for _ in range(number % 2))
            select.select([], [], [], chance.uniform(0, takes))
            os.kill(pid, signal.SIGKILL)
            assert os.waitpid(pid, 0)[1] == signal.SIGKILL
            done += os.read(hear, 1000)
            os.close(hear)
            for index in range(len(done)):
                finished += 1
                assert len(store.read(key + b"+" * (index + 1))) == len(content)
            for name, size in store.entries():  # one more may be there than was told of
                assert len(store.read(name)) == len(content) and size == 64 + len(content)
                if name != b"first":
                    store.delete(name)
            left += len(list(store._place.files())) - 1
            store.sweep()
            store.sweep(age=0)
        assert [key for key, _ in store.entries()] == [b"first"]
        assert len(list(store._place.files())) == 1
        print(finished >= 25, left > 0, finished, left, takes)
        """,
        timeout=100,
    )
    assert result.code == 0, result
    assert result.stdout.startswith("True True"), result


def test_readers_see_the_old_or_the_new_one(python: Run) -> None:
    result = python(
        """
        import os
        from snapshot.errors import StoreError
        from snapshot.memo.objstore import DirObjStore

        store = DirObjStore("store")
        store.write(b"key", [bytes(300_000)])

        def write(number):
            for size in range(40):
                store.write(b"key", [bytes([number]) * 150_000, bytes([number]) * 150_000])

        def read():
            seen = set()
            for _ in range(300):
                found = bytes(store.read(b"key"))
                assert len(found) == 300_000 and len(set(found)) == 1
                seen.add(found[0])
            return len(seen)

        writers = []
        for number in range(1, 5):
            if (pid := os.fork()) == 0:
                write(number)
                os._exit(0)
            writers.append(pid)
        seen = read()
        for pid in writers:
            assert os.waitpid(pid, 0)[1] == 0
        read()
        print(seen > 1, len(list(store._place.files())))
        """,
        timeout=60,
    )
    assert result.code == 0, result
    assert result.stdout == "True 1\n"


# Who may write there.


def test_a_folder_of_ones_own_is_not_suspicious(tmp_path: Path) -> None:
    store = DirObjStore(tmp_path / "store", local=tmp_path / "local")
    assert store.suspicion() is None
    store.write(KEY, [b"content"])
    assert store.suspicion() is None


@pytest.mark.parametrize("which", ["", "store", "store/00", "local"])
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to_is_suspicious(
    tmp_path: Path, which: str, mode: int
) -> None:
    store = DirObjStore(tmp_path / "store", local=tmp_path / "local")
    store.write(KEY, [b"content"])
    (tmp_path / which).chmod(mode)
    assert store.suspicion() == f"other users may write to {tmp_path / which}"


def test_in_a_sticky_folder_nobody_else_can_replace_it(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    store = DirObjStore(tmp_path / "tmp" / "store")
    store.write(KEY, [b"content"])
    assert store.suspicion() is None


@pytest.mark.parametrize("which", ["", "store", "store/00"])
def test_a_folder_of_another_user_is_suspicious(tmp_path: Path, which: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only the administrator can give a folder away")
    store = DirObjStore(tmp_path / "store")
    store.write(KEY, [b"content"])
    os.chown(tmp_path / which, 65534, 65534)
    assert store.suspicion() == f"{tmp_path / which} belongs to another user"


def test_what_is_elsewhere_is_trusted_by_naming_it(tmp_path: Path) -> None:
    require("fsspec")
    (tmp_path / "shared").mkdir(mode=0o777)
    assert DirObjStore((tmp_path / "shared").as_uri()).suspicion() is None
    assert InMemory().suspicion() is None
