"""A file's path and its contents: snapshot.memo.contents."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot import pickling
from snapshot.errors import CannotRead, StoreError, UsageError
from snapshot.memo.contents import FileContents, taken_along
from tests.processes import Result

PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)

# A file and a folder have these names in UTF-8, and one has no UTF-8.
NAMES = ["plain", "with space", "\N{SNOWMAN}", os.fsdecode(b"caf\xe9"), "-", "new\nline"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a file, a folder, and nothing else; what is pickled is a result."""
    folder = tmp_path / "here"
    (folder / "folder" / "deep" / "empty").mkdir(parents=True)
    (folder / "test").write_bytes(b"content")
    (folder / "folder" / "one").write_bytes(b"1")
    (folder / "folder" / "run").write_bytes(b"#!/bin/sh\n")
    (folder / "folder" / "run").chmod(0o755)
    (folder / "folder" / "deep" / "two").write_bytes(b"2" * 100_000)
    (folder / "folder" / "to two").symlink_to("deep/two")
    monkeypatch.chdir(folder)
    with taken_along:
        yield folder


def version(path: str | os.PathLike[str]) -> str:
    return FileContents(path).__cache_ver__()


def seen(path: str | Path) -> Any:
    """What is there, to be compared."""
    path = Path(path)
    if path.is_symlink():
        return "link", os.readlink(path)
    if path.is_dir():
        return {each.name: seen(each) for each in path.iterdir()}
    if path.exists():
        return path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR)
    return None


# A string.


def test_it_is_a_path_and_a_string() -> None:
    src = FileContents("test")
    assert isinstance(src, str)
    assert isinstance(src, os.PathLike)
    assert os.fspath(src) == str(src) == f"{src}" == "test"
    assert src == "test"
    assert hash(src) == hash("test")
    assert src != FileContents("other")
    assert repr(src) == "FileContents('test')"
    with open(src, "rb") as file:
        assert file.read() == b"content"
    assert os.path.exists(src)
    assert Path(src).read_bytes() == b"content"
    assert shutil.copy(src, src + "_copy") == "test_copy"
    assert seen("test_copy") == seen("test")


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (FileContents("test") + "_copy", "test_copy"),
        ("folder/" + FileContents("one"), "folder/one"),
        (FileContents("folder") / "one", "folder/one"),
        (FileContents("folder") / Path("one"), "folder/one"),
        ("folder" / FileContents("one"), "folder/one"),
        (FileContents(Path("folder", "one")), "folder/one"),
        (FileContents(FileContents("test")), "test"),
    ],
)
def test_what_is_made_of_it_is_one(made: object, text: str) -> None:
    assert type(made) is FileContents
    assert made == made.__cache_key__() == text
    assert type(made.__cache_key__()) is str


@pytest.mark.parametrize("wrong", ["", "a\0b", None, 3])
def test_what_is_no_path_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="path"):
        FileContents(wrong)


def test_copies_do_not_look_at_the_disk() -> None:
    missing = FileContents("nowhere/at/all")
    assert copy.copy(missing) is copy.deepcopy([missing])[0] is missing
    assert copy.deepcopy(FileContents("test")) == "test"


# Versions.


def test_a_version_is_that_of_the_contents_alone() -> None:
    first = version("test")
    os.utime("test", (1, 1))
    assert version("test") == version(os.path.abspath("test")) == first
    Path("other").write_bytes(b"content")
    assert version("other") == first
    Path("test").write_bytes(b"CONTENT")
    assert version("test") != first
    Path("test").write_bytes(b"content")
    assert version("test") == first
    os.chmod("test", 0o755)
    assert version("test") != first
    os.unlink("test")
    assert version("test") == version("test/below") == version("nowhere/test") == "missing"
    Path("test").touch()
    assert version("test") not in ("missing", first)


def test_a_change_by_way_of_a_map_is_seen(python: Callable[..., Result]) -> None:
    """Which leaves the times of the file as they are, on some file systems for ever."""
    result = python(
        """
        import mmap, os
        from snapshot.memo.contents import FileContents

        with open("mapped", "w+b") as file:
            file.write(bytes(8192))
            file.flush()
            there = mmap.mmap(file.fileno(), 0)
        there[0] = 1
        os.utime("mapped", (1, 1))
        before, version = os.stat("mapped"), FileContents("mapped").__cache_ver__()
        there[1] = 1
        after = os.stat("mapped")
        print(before.st_mtime_ns == after.st_mtime_ns, before.st_ctime_ns == after.st_ctime_ns)
        assert FileContents("mapped").__cache_ver__() != version
        """
    )
    assert result.code == 0, result
    assert result.stdout == "True True\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda: Path("folder/one").write_bytes(b"2"),
        lambda: os.rename("folder/one", "folder/ONE"),
        lambda: os.chmod("folder/one", 0o755),
        lambda: os.chmod("folder/run", 0o644),
        lambda: os.unlink("folder/one"),
        lambda: Path("folder/new").touch(),
        lambda: Path("folder/new").mkdir(),
        lambda: os.rmdir("folder/deep/empty"),
        lambda: Path("folder/deep/two").write_bytes(b""),
        lambda: os.replace(shutil.copy("folder/run", "folder/deep"), "folder/to two"),
        lambda: os.rename("folder/one", "folder/deep/empty/one"),
        lambda: os.rename("folder/deep/two", "folder/two"),
    ],
)
def test_all_that_is_in_a_folder_counts(change: Callable[[], object]) -> None:
    before = version("folder")
    shutil.copytree("folder", "same", symlinks=True)
    assert version("same") == version("folder/") == before
    change()
    assert version("folder") != before
    assert version("same") == before


def test_what_links_lead_to_counts(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"1")
    for name, target in [("f", "elsewhere/file"), ("d", "elsewhere"), ("nothing", "none")]:
        os.symlink(tmp_path / target, f"folder/{name}")
    for target in (".", "..", "loop"):
        os.symlink(target, f"folder/{'loop' * len(target)}")
    os.symlink(tmp_path / "here" / "folder", tmp_path / "elsewhere" / "back")
    before = version("folder")
    (tmp_path / "elsewhere" / "file").write_bytes(b"2")
    after = version("folder")
    assert after != before
    (tmp_path / "none").touch()
    assert version("folder") != after


def test_a_link_stands_for_what_it_leads_to() -> None:
    os.symlink("test", "link")
    os.symlink("folder", "folder link")
    assert version("link") == version("test")
    assert version("folder link") == version("folder")
    data = pickle.dumps(FileContents("link"))
    Path("test").write_bytes(b"changed")
    pickle.loads(data)
    assert os.readlink("link") == "test"
    assert seen("test") == (b"content", False)
    os.symlink("nothing", "dangling")
    assert version("dangling") == "missing"
    os.symlink("round", "round")
    assert version("round") != "missing"


def test_what_has_no_contents_is_refused() -> None:
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("folder/socket")
    for path, word in [("fifo", "a FIFO"), ("/dev/null", "a device"), ("folder", "a socket")]:
        with pytest.raises(UsageError, match=rf"{path}.* is {word}, which has no contents"):
            version(path)
        with pytest.raises(UsageError, match=f"is {word}"):
            pickle.dumps(FileContents(path))


def test_what_cannot_be_read_is_named(python: Callable[..., Result], tmp_path: Path) -> None:
    for path in ("x" * 300, "folder/" + "x" * 300):
        with pytest.raises(CannotRead, match=f"cannot read {path}: File name too long"):
            version(path)
    os.chmod("test", 0)
    os.chmod("folder/deep", 0)
    tmp_path.chmod(0o755)
    result = python(
        """
        import os, pickle
        from snapshot.memo.contents import FileContents, taken_along

        taken_along.__enter__()
        if os.geteuid() == 0:
            os.setuid(65534)
        for path in ("test", "folder"):
            for function in (FileContents.__cache_ver__, pickle.dumps):
                try:
                    function(FileContents(f"here/{path}"))
                except Exception as error:
                    print(f"{type(error).__name__}: {error}")
        """
    )
    os.chmod("folder/deep", 0o700)
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        *["CannotRead: cannot read here/test: Permission denied"] * 2,
        *["CannotRead: cannot read here/folder/deep: Permission denied"] * 2,
    ]


# Pickles.


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("path", ["test", "folder"])
def test_contents_are_put_back(path: str, protocol: int) -> None:
    before, shown = version(path), seen(path)
    data = pickle.dumps({"result": [FileContents(path)]}, protocol)
    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    found = pickle.loads(data)["result"][0]
    assert type(found) is FileContents
    assert found == path
    assert seen(path) == shown
    assert version(path) == before


@pytest.mark.parametrize("path", ["test", "folder"])
def test_a_file_that_is_the_same_is_not_touched(path: str) -> None:
    def statuses() -> dict[str, tuple[int, int, int]]:
        paths = [path, *map(str, Path(path).rglob("*"))]
        found = {each: os.lstat(each) for each in paths}
        return {name: (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for name, s in found.items()}

    data = pickle.dumps(FileContents(path))
    before = statuses()
    pickle.loads(data)
    assert statuses() == before
    os.chmod("folder/run", 0o600)
    os.chmod("test", 0o700)
    inodes = {name: inode for name, (inode, _, _) in statuses().items()}
    pickle.loads(data)
    assert {name: inode for name, (inode, _, _) in statuses().items()} == inodes
    assert os.access("folder/run", os.X_OK) == (path == "folder")
    assert os.stat("test").st_mode & 0o777 == (0o600 if path == "test" else 0o700)


def test_what_is_no_result_is_its_path_alone() -> None:
    within = pickle.dumps(FileContents("test"))
    Path("test").write_bytes(b"changed")
    taken_along.__exit__()
    try:
        data = pickle.dumps([FileContents("test"), FileContents("/dev/null")])
        Path("test").unlink()
        for each in (data, within):
            pickle.loads(each)
    finally:
        taken_along.__enter__()
    assert pickle.loads(data) == ["test", "/dev/null"]
    assert not os.path.exists("test")


def test_large_contents_are_out_of_band() -> None:
    large = os.urandom(1 << 20)
    Path("folder/large").write_bytes(large)
    data, buffers = pickling.dump([FileContents("folder"), FileContents("test")])
    assert len(data) < 2000
    assert sorted(each.nbytes for each in buffers) == [100_000, 1 << 20]
    shown = seen("folder")
    shutil.rmtree("folder")
    assert pickling.load(data, buffers) == ["folder", "test"]
    assert seen("folder") == shown


def test_contents_are_as_they_were_when_pickled() -> None:
    data = pickle.dumps(FileContents("test"))
    Path("test").write_bytes(b"CONTENT")  # of the same size
    pickle.loads(data)
    assert seen("test") == (b"content", False)
    Path("test").write_bytes(b"longer than that")
    pickle.loads(data)
    assert seen("test") == (b"content", False)
    assert sorted(os.listdir()) == ["folder", "test"]


def test_nothing_is_deleted() -> None:
    nothing, folder = pickle.dumps(FileContents("later")), pickle.dumps(FileContents("folder"))
    Path("later").touch()
    Path("folder/later").touch()
    Path("folder/one").unlink()
    pickle.loads(nothing)
    pickle.loads(folder)
    assert os.path.exists("later")
    assert os.path.exists("folder/later")
    assert seen("folder/one") == (b"1", False)
    os.unlink("later")
    pickle.loads(nothing)
    assert not os.path.exists("later")


def test_permissions_are_those_of_the_file_or_of_a_new_one(python: Callable[..., Result]) -> None:
    result = python(
        """
        import os, pickle
        from snapshot.memo.contents import FileContents, taken_along

        taken_along.__enter__()
        os.umask(0o027)
        for name in ("plain", "run"):
            with open(name, "w") as file:
                file.write(name)
        os.chmod("run", 0o700)
        data = [pickle.dumps(FileContents(name)) for name in ("plain", "run")]
        for umask, kept in ((0o027, None), (0o002, None), (0o002, 0o640)):
            os.umask(umask)
            for name in ("plain", "run"):
                if kept is None:
                    os.unlink(name)
                else:
                    os.chmod(name, kept)
                    with open(name, "w") as file:
                        file.write("changed")
            for each in data:
                print(oct(os.stat(pickle.loads(each)).st_mode & 0o777))
        """
    )
    assert result.code == 0, result
    assert result.stdout.split() == ["0o640", "0o750", "0o664", "0o775", "0o640", "0o750"]


def test_folders_above_are_made_where_one_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle.dumps(FileContents("folder/deep/two"))
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    pickle.loads(data)
    assert seen("folder") == {"deep": {"two": (b"2" * 100_000, False)}}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_all_kinds(name: str) -> None:
    shutil.copytree("folder", name, symlinks=True)
    Path(name, name).write_bytes(b"within")
    before, shown = version(name), seen(name)
    data = pickle.dumps(FileContents(name))
    shutil.rmtree(name)
    assert pickle.loads(data) == name
    assert (version(name), seen(name)) == (before, shown)


def test_links_in_a_folder_are_put_back(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    data = pickle.dumps(FileContents("folder"))
    shown = seen("folder")
    os.unlink("folder/one")
    os.symlink(tmp_path / "outside", "folder/one")
    os.unlink("folder/to two")
    Path("folder/to two").write_bytes(b"a file by now")
    pickle.loads(data)
    assert seen("folder") == shown
    assert (tmp_path / "outside").read_bytes() == b"outside"


def test_what_cannot_be_written_is_named() -> None:
    data = {name: pickle.dumps(FileContents(name)) for name in ("test", "folder/one", "folder")}
    os.unlink("test")
    os.mkdir("test")
    Path("test/kept").touch()
    with pytest.raises(StoreError, match=r"cannot write test: Is a directory"):
        pickle.loads(data["test"])
    assert sorted(os.listdir()) == ["folder", "test"]
    shutil.rmtree("folder")
    Path("folder").touch()
    for name in ("folder/one", "folder"):
        with pytest.raises(StoreError, match=f"cannot write {name}: "):
            pickle.loads(data[name])
    shutil.rmtree("test")
    os.mkfifo("test")
    with pytest.raises(UsageError, match="is a FIFO"):
        pickle.loads(data["test"])
    assert stat.S_ISFIFO(os.stat("test").st_mode)


TREES: st.SearchStrategy[Any] = st.recursive(
    st.tuples(st.binary(max_size=20), st.booleans()),
    lambda below: st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)


def make(path: Path, tree: Any) -> None:
    if isinstance(tree, dict):
        path.mkdir()
        for name, below in tree.items():
            make(path / name, below)
    else:
        path.write_bytes(tree[0])
        path.chmod(0o755 if tree[1] else 0o644)


@given(TREES, TREES)
def test_trees_of_one_version_are_the_same(one: Any, other: Any) -> None:
    for name, tree in (("one tree", one), ("other tree", other)):
        if os.path.exists(name):
            shutil.rmtree(name) if os.path.isdir(name) else os.unlink(name)
        make(Path(name), tree)
    assert (version("one tree") == version("other tree")) == (one == other)
    data = pickle.dumps(FileContents("one tree"))
    shutil.rmtree("one tree") if os.path.isdir("one tree") else os.unlink("one tree")
    pickle.loads(data)
    assert seen("one tree") == one
