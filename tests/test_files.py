"""Directories under a private overlay: snapshot(files=…), changes(), keep(files=…)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from tests import trees
from tests.processes import Program, Result, run_python

Run = Callable[..., Result]

# An ordinary user, to whom all files belong: in a user namespace in which nothing is permitted.
USER = "unshare --user --map-user=65534 --map-group=65534 {}"

QUIET = {"SNAPSHOT_QUIET": "1"}


def _refused() -> str:
    """Why this machine can show nothing of all this; nothing if it can."""
    if shutil.which("unshare") is None:
        return "there is no command `unshare`"
    command = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return tried.stderr.strip()


@pytest.fixture(scope="module", autouse=True)
def namespaces() -> None:
    if reason := _refused():
        message = f"the system allows no namespaces: {reason}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(params=["administrator", "user"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run a program as the administrator, and as an ordinary user."""
    if request.param == "administrator" and os.geteuid() != 0:
        pytest.skip("only the administrator can do that")
    via_shell = USER if request.param == "user" else False

    def run(source: str, *args: str | Path, **options: Any) -> Result:
        shutil.copy(trees.__file__, tmp_path / "trees.py")
        return run_python(
            source, *args, directory=tmp_path, via_shell=via_shell, timeout=60, **options
        )

    return run


@pytest.mark.parametrize(
    ("end", "files"),
    [
        ("revert()", 10_000),
        ("sys.exit(3)", 500),
        ("1 / 0", 500),
        ("os.kill(os.getpid(), 9)", 500),
        ("os._exit(0)", 500),
    ],
)
def test_a_tree_is_as_it_was(run: Run, end: str, files: int) -> None:
    result = run(
        f"""
        import mmap, os, sys
        from pathlib import Path
        import trees
        from snapshot import last_experiment, revert, snapshot

        root = Path("tree").absolute()
        trees.build(root, {files})
        log = open(root / "log", "a")
        file = open(root / "map", "r+b")
        pages = mmap.mmap(file.fileno(), 0)
        mounts = Path("/proc/self/mountinfo").read_text()
        seen = trees.look(root)
        if snapshot(files=root):
            trees.spoil(root)
            log.write("written by the experiment\\n")
            log.flush()
            pages[:3] = b"xyz"
            {end}
        print(trees.look(root) == seen, pages[:3], os.path.getsize(root / "log"))
        print(Path("/proc/self/mountinfo").read_text() == mounts)
        log.write("written by the original\\n")
        log.close()
        print((root / "log").read_text(), end="")
        """,
        env=QUIET,
    )
    assert result.stdout.splitlines() == [
        "True b'mmm' 11",
        "True",
        "first line",
        "written by the original",
    ], result


def test_a_tree_is_what_the_experiment_saw_once_that_is_kept(run: Run, tmp_path: Path) -> None:
    result = run(
        """
        import mmap, os, sys
        from pathlib import Path
        import trees
        from snapshot import keep, snapshot

        root = Path("tree").absolute()
        trees.build(root, 1_000)
        os.chdir(root / "old")
        log = open(root / "log", "a")
        file = open(root / "map", "r+b")
        pages = mmap.mmap(file.fileno(), 0)
        if snapshot(files=root):
            os.chdir(root)
            trees.spoil(root)
            pages[:3] = b"xyz"
            log.write("third line\\n")
            log.flush()
            seen = trees.describe(root, changed=False)
            keep()
            print(trees.differences(root, seen) or "as it was seen")
            os.chdir("/")
            print(trees.differences(root, seen) or "as it was seen")
            pages[3:6] = b"abc"
            log.write("fourth line\\n")
            log.close()
            Path(root, "after").write_text("after")
            print("tree" not in Path("/proc/self/mountinfo").read_text())
        """,
        env=QUIET,
    )
    assert result.stdout == "as it was seen\nas it was seen\nTrue\n", result
    root = tmp_path / "tree"
    assert (root / "log").read_text() == "first line\nsecond line\nthird line\nfourth line\n"
    assert (root / "map").read_bytes()[:7] == b"xyzabcm"
    assert (root / "after").read_text() == "after"
    assert (root / "made").samefile(root / "made too")
    assert not list(root.rglob(".snapshot-*"))


NAMES = st.sampled_from(["a", "b", "a/x", "a/y", "b/x", "a/x/z"])
DEEDS = st.lists(st.tuples(st.sampled_from(sorted(trees.DEEDS)), NAMES, NAMES), max_size=12)


@pytest.mark.parametrize("via_shell", [False, USER], ids=["administrator", "user"])
@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@example(
    before=[("remove", "a/y", "b")],
    first=[],
    then=[("rename", "a/x/z", "a/y"), ("write", "a/x/z", "b")],  # its name is used again
)
@example(
    before=[],
    first=[("write", "a/y", "a")],
    then=[("rename", "a/y", "b/y")],  # what it is a copy of is itself one
)
@given(before=DEEDS, first=DEEDS, then=DEEDS)
def test_whatever_is_done(
    before: list[tuple[str, str, str]],
    first: list[tuple[str, str, str]],
    then: list[tuple[str, str, str]],
    via_shell: str | bool,
) -> None:
    """Kept, the files are what the innermost experiment saw; reverted, what they were."""
    if not via_shell and os.geteuid() != 0:
        pytest.skip("only the administrator can do that")
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(trees.__file__, directory)
        result = run_python(
            """
            import json, os, sys
            from pathlib import Path
            import trees
            from snapshot import keep, last_experiment, revert, snapshot

            before, first, then = json.load(sys.stdin)
            root = Path("tree").absolute()
            (root / "a" / "x").mkdir(parents=True)
            (root / "a" / "x" / "z").write_text("z")
            (root / "a" / "y").write_text("y")
            (root / "b").mkdir()
            trees.do(root, before)
            at_first = trees.look(root)
            if snapshot(files=root):
                trees.do(root, first)
                between = trees.describe(root, changed=False)
                if snapshot(files=root):
                    trees.do(root, then)
                    revert()
                assert not trees.differences(root, between), trees.differences(root, between)
                revert(value="reverted")
            assert last_experiment().value == "reverted", last_experiment()
            assert trees.look(root) == at_first, "the outer one"
            if snapshot(files=root):
                trees.do(root, first)
                if snapshot(files=root):
                    trees.do(root, then)
                    seen = trees.describe(root, changed=False)
                    keep()
                    print(trees.differences(root, seen) or "as it was seen")
                    sys.exit()
            print("not kept", last_experiment())
            """,
            directory=Path(directory),
            stdin=json.dumps([before, first, then]),
            env=QUIET,
            via_shell=via_shell,
        )
    assert result.stdout == "as it was seen\n", result


def test_what_is_open_is_moved(run: Run) -> None:
    """Descriptors, their shared positions, directories, the working directory, a shared map."""
    result = run(
        """
        import ctypes, fcntl, mmap, os
        from pathlib import Path
        from snapshot import last_experiment, revert, snapshot

        root = Path("tree").absolute()
        (root / "sub").mkdir(parents=True)
        (root / "text").write_text("0123456789")
        (root / "map").write_bytes(b"m" * 2 * mmap.PAGESIZE)
        os.chdir(root / "sub")
        reading = os.open(root / "text", os.O_RDONLY)
        os.lseek(reading, 3, 0)
        twin = os.dup(reading)
        other = os.open(root / "text", os.O_RDONLY)
        appending = os.open(root / "text", os.O_WRONLY | os.O_APPEND)
        os.set_inheritable(appending, True)
        directory = os.open(root, os.O_RDONLY)
        above = os.open(root.parent, os.O_PATH)
        with open(root / "map", "r+b") as file:
            pages = mmap.mmap(file.fileno(), mmap.PAGESIZE, offset=mmap.PAGESIZE)
        place = ctypes.addressof(ctypes.c_char.from_buffer(pages))

        def written(name, **options):
            with open(os.open(name, os.O_WRONLY | os.O_CREAT, **options), "w") as file:
                file.write("private")

        if snapshot(files=root):
            os.write(appending, b"!")
            seen = [os.read(reading, 2), os.read(twin, 2), os.read(other, 2)]
            seen.append(bool(fcntl.fcntl(appending, fcntl.F_GETFL) & os.O_APPEND))
            seen.append([os.get_inheritable(each) for each in (reading, appending)])
            seen.append((root / "text").read_text())
            written("here")
            written("there", dir_fd=directory)
            written("tree/by another way", dir_fd=above)
            pages[:3] = b"xyz"
            seen.append(place == ctypes.addressof(ctypes.c_char.from_buffer(pages)))
            seen.append((root / "map").read_bytes()[mmap.PAGESIZE:][:4])
            (root / "map").write_bytes(b"n" * 2 * mmap.PAGESIZE)
            seen.append(pages[:2])
            seen.append(sorted(str(each.relative_to(root)) for each in root.rglob("*")))
            revert(value=seen)
        for each in last_experiment().value:
            print(each)
        print(os.read(twin, 2), os.read(reading, 2), pages[:3], os.getcwd() == str(root / "sub"))
        print(sorted(str(each.relative_to(root)) for each in root.rglob("*")))
        """,
        env=QUIET,
    )
    assert result.stdout.splitlines() == [
        "b'34'",
        "b'56'",
        "b'01'",
        "True",
        "[False, True]",
        "0123456789!",
        "True",
        "b'xyzm'",
        "b'nn'",
        "['by another way', 'map', 'sub', 'sub/here', 'text', 'there']",
        "b'34' b'56' b'mmm' True",
        "['map', 'sub', 'text']",
    ], result


IMMOVABLE = """
    import ctypes, fcntl, os, socket, sys
    from pathlib import Path
    from snapshot import last_experiment, revert, snapshot
    from snapshot.errors import CannotOverlay

    root = Path("tree").absolute()
    (root / "sub").mkdir(parents=True)
    for name in ("unlinked", "locked", "posix", "replaced", "watched", "free"):
        (root / "sub" / name).write_text(name)
    os.chdir(root)
    unlinked = open("sub/unlinked", "r+")
    os.unlink("sub/unlinked")
    locked = open("sub/locked", "r+")
    fcntl.flock(locked, fcntl.LOCK_EX)
    posix = open("sub/posix", "r+")
    fcntl.lockf(posix, fcntl.LOCK_EX)
    replaced = open("sub/replaced", "r+")
    Path("new").write_text("new")
    os.rename("new", "sub/replaced")
    libc = ctypes.CDLL(None)
    watching = libc.inotify_init1(0)
    assert libc.inotify_add_watch(watching, b"sub/watched", 2) >= 0
    elsewhere = libc.inotify_init1(0)
    Path("../elsewhere").write_text("")
    assert libc.inotify_add_watch(elsewhere, b"../elsewhere", 2) >= 0
    server = socket.socket(socket.AF_UNIX)
    server.bind("socket")
    os.mkfifo("pipe")
    pipe = os.open("pipe", os.O_RDWR)
    free = open("sub/free", "r+")
    """


def test_what_cannot_be_moved_is_listed_and_refused(run: Run) -> None:
    result = run(
        IMMOVABLE
        + """
    try:
        snapshot(files=".")
    except CannotOverlay as error:
        what, _, rest = str(error).replace(str(root), "").partition(": open in there, ")
        found, _, advice = rest.partition("; ")
        found = found.removeprefix("and not to be moved into an overlay: ")
        print(*sorted(found.split("), ")), advice, sep="\\n")
    """,
        env=QUIET,
    )
    *found, advice = result.stdout.splitlines()
    watching = next(line for line in found if "watched" in line)
    assert [line.removesuffix(")") for line in found] == [
        "/pipe (not a regular file",
        "/sub/locked (locked by this process",
        "/sub/posix (locked by this process",
        "/sub/replaced (deleted",
        "/sub/unlinked (deleted",
        watching.removesuffix(")"),
        "socket (a socket: who connects reaches the original",
    ], result
    assert watching.startswith("/sub/watched (watched, by inotify: descriptor "), result
    assert advice == (
        "close them, or share them with the original by files_strict=False; nothing was forked"
    )


def test_what_cannot_be_moved_is_shared_if_asked_for(run: Run) -> None:
    result = run(
        IMMOVABLE
        + """
    if snapshot(files=".", files_strict=False):
        unlinked.write("U")
        unlinked.flush()
        free.write("F")
        free.flush()
        Path("sub/locked").write_text("private")
        revert()
    print(os.pread(unlinked.fileno(), 1, 0), os.pread(free.fileno(), 1, 0))
    print(Path("sub/locked").read_text())
    """,
    )
    assert result.stdout.splitlines() == ["b'U' b'f'", "locked"], result
    (shared,) = (line for line in result.stderr.splitlines() if line.startswith("snapshot: shared"))
    for name in ("unlinked", "locked", "posix", "replaced", "watched", "socket", "pipe"):
        assert name in shared, result
    assert "elsewhere" not in shared, result
    assert "free" not in shared, result


def test_the_files_of_sqlite_are_no_obstacle(run: Run) -> None:
    """Its connections are guarded: none is used in the experiment, which opens its own."""
    result = run(
        """
        import sqlite3
        from pathlib import Path
        from snapshot import last_experiment, revert, snapshot

        root = Path("tree").absolute()
        root.mkdir()
        connection = sqlite3.connect(root / "data.db")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE numbers (number)")
        connection.execute("INSERT INTO numbers VALUES (1)")
        connection.commit()
        connection.execute("INSERT INTO numbers VALUES (2)")
        if snapshot(files=root):
            with sqlite3.connect(root / "data.db") as other:
                other.execute("UPDATE numbers SET number = 10")
                seen = other.execute("SELECT * FROM numbers").fetchall()
            other.close()
            revert(value=seen)
        print(last_experiment().value, last_experiment().changes.summary)
        connection.commit()
        print(connection.execute("SELECT * FROM numbers").fetchall())
        print(connection.execute("PRAGMA integrity_check").fetchall())
        """,
        env=QUIET,
    )
    assert result.stdout.splitlines() == [
        "[(10,)] 1 modified, 2 deleted",
        "[(1,), (2,)]",
        "[('ok',)]",
    ], result


def test_changes_show_what_was_done(run: Run) -> None:
    result = run(
        """
        import os
        from pathlib import Path
        from snapshot import changes, last_experiment, revert, snapshot
        from snapshot.errors import NotAnExperiment

        root = Path("tree")
        (root / "old").mkdir(parents=True)
        (root / "old" / "file").write_text("in it")
        for name in ("text", "gone", "moved", "touched", "kept"):
            (root / name).write_text(f"{name}\\n1\\n2\\n")
        (root / "binary").write_bytes(bytes(range(256)))
        (root / "wide").write_text("w" * 1000)
        if snapshot(files=root):
            print(changes())
            (root / "text").write_text("text\\none\\n2\\n")
            (root / "gone").unlink()
            (root / "moved").rename(root / "there")
            (root / "touched").chmod(0o600)
            (root / "kept").open("a").close()
            (root / "binary").write_bytes(bytes(range(255)))
            (root / "wide").write_text("v" * 1000)
            (root / "made").mkdir()
            (root / "made" / "new").write_text("new\\n")
            print(changes())
            print(changes().diff(root / "made" / "new"))
            print(changes()[0], changes().diff("kept") == "")
            revert()
        print(last_experiment().changes.summary, "|", last_experiment().report.split("; ")[-1])
        print(last_experiment().changes[1].path.replace(os.getcwd() + "/", ""))
        try:
            changes()
        except NotAnExperiment as error:
            print(error)
        """,
        env=QUIET,
    )
    expected = """\
no file was changed
modified  tree/binary
deleted   tree/gone
created   tree/made/
created   tree/made/new
modified  tree/text
renamed   tree/moved → tree/there
modified  tree/touched
modified  tree/wide

--- tree/text
+++ tree/text
@@ -1,3 +1,3 @@
 text
-1
+one
 2

--- tree/wide
+++ tree/wide
@@ -1 +1 @@
"""
    assert result.stdout.startswith(expected), result
    rest = result.stdout.removeprefix(expected).splitlines()
    assert [line[:3] + line[-2:] for line in rest[:2]] == ["-wwww…"[:3] + "w…", "+vvv…"[:3] + "v…"]
    assert rest[2:6] == ["--- /dev/null", "+++ tree/made/new", "@@ -0,0 +1 @@", "+new"], result
    assert rest[6].endswith("tree/binary', before=None) True"), result
    counts = "2 created, 4 modified, 1 deleted, 1 renamed"
    assert rest[7] == f"{counts} | files rolled back: {counts}", result
    assert rest[8] == "tree/gone", result
    assert "has no files of its own; take the snapshot with files=" in rest[9], result


CONFLICTS = """
    import os, subprocess, sys
    from pathlib import Path
    from snapshot import changes, is_root, keep, snapshot
    from snapshot.errors import FilesChanged, UsageError

    root = Path("tree").absolute()
    (root / "sub").mkdir(parents=True)
    for name in ("one", "two", "three", "sub/four", "sub/five"):
        (root / name).write_text(name)
    # Another process outside, which does what it is told.
    outside = subprocess.Popen([sys.executable, "-c", '''if 1:
        import sys
        for line in sys.stdin:
            exec(line)
            print(flush=True)
        '''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)

    def tell(line):
        os.write(outside.stdin.fileno(), line.encode() + b"\\n")
        os.read(outside.stdout.fileno(), 1)

    tell("pass")
    if snapshot(files=root):
        (root / "one").write_text("here 1")
        (root / "two").unlink()
        (root / "sub" / "four").write_text("here 4")
        (root / "new").write_text("here")
    """


def test_what_somebody_else_has_changed_is_not_replaced(run: Run, tmp_path: Path) -> None:
    result = run(
        CONFLICTS
        + """
        import time
        begun = time.time_ns()
        tell("open('one', 'w').write('there')")
        tell("open('two', 'a').write('there')")
        tell("open('new', 'w').write('there')")
        tell("open('three', 'w').write('there, and of no concern here')")
        try:
            keep()
        except FilesChanged as error:
            print(*(os.path.relpath(path, root) for path in error.paths))
            print("nothing was kept" in str(error), is_root())
        try:
            keep(files=["tree/sub", "tree/nothing"])
        except UsageError as error:
            print(error)
        keep(files=["tree/sub"])
        print(is_root(), (root / "one").read_text(), (root / "sub" / "four").read_text())
        (root / "after").write_text("")
    outside.communicate("import os; print(sorted(os.listdir('.')))\\n")
        """,
        env=QUIET,
    )
    lines = result.stdout.splitlines()
    assert lines[:2] == ["new one two", "True False"], result
    assert "nothing was changed in 'tree/nothing'" in lines[2], result
    assert lines[3] == "True there here 4", result
    root = tmp_path / "tree"
    assert {each.name: each.read_text() for each in root.iterdir() if each.is_file()} == {
        "one": "there",
        "two": "twothere",
        "three": "there, and of no concern here",
        "new": "there",
        "after": "",
    }


def test_kept_without_its_files(run: Run, tmp_path: Path) -> None:
    result = run(
        """
        from pathlib import Path
        from snapshot import keep, snapshot

        root = Path("tree")
        root.mkdir()
        (root / "one").write_text("before")
        file = open(root / "one", "r+")
        if snapshot(files="tree"):
            (root / "one").write_text("in the experiment")
            (root / "two").write_text("")
            keep(files=False)
            print(*root.iterdir(), (root / "one").read_text(), file.read())
            file.write(", and after")
        """,
        env=QUIET,
    )
    assert result.stdout == "tree/one before before\n", result
    assert (tmp_path / "tree" / "one").read_text() == "before, and after"


def test_a_full_upper_layer_is_the_experiments_alone(run: Run) -> None:
    result = run(
        """
        import errno
        from pathlib import Path
        from snapshot import last_experiment, revert, snapshot
        from snapshot.errors import CannotOverlay

        Path("tree").mkdir()
        if snapshot(files="tree", files_limit="1M"):
            try:
                Path("tree/large").write_bytes(bytes(2 << 20))
            except OSError as error:
                revert(value=errno.errorcode[error.errno])
        print(last_experiment().value, list(Path("tree").iterdir()))
        Path("tree/large").write_bytes(bytes(2 << 20))
        with open("tree/large", "a"):
            try:
                snapshot(files="tree", files_limit="1M")
            except CannotOverlay as error:
                print(error)
            if snapshot(files="tree", files_limit="1M", files_on_disk="disk"):
                Path("tree/larger").write_bytes(bytes(2 << 20))
                revert(value="written")
        print(last_experiment().value, list(Path("disk").iterdir()))
        """,
        env=QUIET,
    )
    first, refused, last = result.stdout.splitlines()
    assert first == "ENOSPC []", result
    assert "2.0 MiB are open for writing in there" in refused, result
    assert refused.endswith("or give files_limit= or files_on_disk=True; nothing was forked")
    assert last == "written []", result


ON_DISK = """
    import os, signal, sys
    from pathlib import Path
    from snapshot import revert, snapshot

    Path("tree").mkdir(exist_ok=True)
    if snapshot(files="tree", files_on_disk=True):
        Path("tree/file").write_text("private")
        print(os.getppid(), os.getpid(), flush=True)
        signal.pause()
    print("back")
    """


def test_upper_layers_on_a_disk_are_swept(start: Callable[..., Program], tmp_path: Path) -> None:
    """Killed with the original, one is left: until the next snapshot, and not while it is used."""
    cache = tmp_path / "home" / "cache" / "snapshot"
    killed = start(ON_DISK, env=QUIET)
    killed.wait_for(re.compile(r"(\d+) (\d+)\n"))
    (used,) = cache.iterdir()
    assert (used / "files" / "upper0" / "file").read_text() == "private"
    other = start(ON_DISK, env=QUIET)
    other.wait_for(re.compile(r"\d+ \d+\n"))
    assert len(list(cache.iterdir())) == 2
    killed.kill(signal.SIGKILL)
    assert killed.finish().signal == signal.SIGKILL
    assert used.exists()
    third = start(ON_DISK, env=QUIET)
    experiment = int(third.wait_for(re.compile(r"\d+ (\d+)\n"))[1])
    assert not used.exists()
    assert len(list(cache.iterdir())) == 2
    os.kill(experiment, signal.SIGKILL)
    third.wait_for("back")
    assert third.finish().code == 0
    assert len(list(cache.iterdir())) == 1
    other.kill(signal.SIGKILL)


def test_nothing_is_left_when_the_original_is_killed(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    program = start(ON_DISK.replace(", files_on_disk=True", ""), env=QUIET)
    program.wait_for(re.compile(r"(\d+) (\d+)\n"))
    program.kill(signal.SIGKILL)
    assert program.finish().signal == signal.SIGKILL
    assert list((tmp_path / "tree").iterdir()) == []
    assert str(tmp_path / "tree") not in Path("/proc/self/mountinfo").read_text()


RENAMED = {
    "a directory, and its name used again": """
        os.rename(root / "a", root / "z")
        (root / "a").mkdir()
        (root / "a" / "g").write_text("another")
        """,
    "directories within each other": """
        os.rename(root / "a", root / "z")
        os.rename(root / "z" / "b" / "c", root / "z" / "c")
        (root / "z" / "b" / "c").mkdir()
        """,
    "directories exchanged": """
        os.rename(root / "a" / "b", root / "c")
        os.rename(root / "a", root / "b")
        (root / "a").mkdir()
        os.rename(root / "b", root / "a" / "b")
        """,
}


@pytest.mark.parametrize("what", RENAMED)
def test_renamed_directories_are_kept(python: Run, tmp_path: Path, what: str) -> None:
    """An ordinary user cannot rename one: the kernel says that it is on another device."""
    if os.geteuid() != 0:
        pytest.skip("only the administrator can do that")
    shutil.copy(trees.__file__, tmp_path / "trees.py")
    result = python(
        f"""
        import os
        from pathlib import Path
        import trees
        from snapshot import changes, keep, last_experiment, revert, snapshot

        root = Path("tree")
        (root / "a" / "b" / "c").mkdir(parents=True)
        (root / "a" / "b" / "c" / "f").write_text("precious")
        (root / "a" / "g").write_text("g")
        before = trees.look(root)
        for end in (revert, keep):
            if snapshot(files=root):
                {"; ".join(line.strip() for line in RENAMED[what].strip().splitlines())}
                assert "renamed" in repr(changes())
                seen = trees.describe(root, changed=False)
                end()
                print(trees.differences(root, seen) or "as it was seen")
                raise SystemExit
            print(trees.look(root) == before, "renamed" in last_experiment().changes.summary)
        """,
        env=QUIET,
    )
    assert result.stdout == "True True\nas it was seen\n", result


def test_a_keep_that_fails_leaves_everything_as_it_was(run: Run) -> None:
    """The disk is full; there is room again, and it can be kept."""
    result = run(
        """
        import os, resource, signal
        from pathlib import Path
        import trees
        from snapshot import is_root, keep, snapshot
        from snapshot.errors import SnapshotError

        root = Path("tree")
        (root / "sub").mkdir(parents=True)
        for name in ("a", "b", "sub/c", "sub/d"):
            (root / name).write_text(name)
        before = trees.describe(root, changed=False)
        if snapshot(files=root):
            (root / "a").write_text("new")
            (root / "b").unlink()
            (root / "sub" / "c").write_bytes(bytes(1 << 20))
            (root / "sub" / "new").mkdir()
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, resource.RLIM_INFINITY))
            try:
                keep()
            except SnapshotError as error:
                print("nothing was kept" in str(error), is_root())
            from snapshot.core.rollback import overlay
            below = overlay.here[0]._layers[0].below
            there = trees.describe(Path(f"{below}/."), changed=False)
            there, before = ([each[:5] for each in tree.values()][1:] for tree in (there, before))
            print(there == before)
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            seen = trees.describe(root, changed=False)
            keep()
            print(is_root(), trees.differences(root, seen) or "as it was seen")
        """,
        env=QUIET,
    )
    assert result.stdout.splitlines() == ["True False", "True", "True as it was seen"], result


def test_a_keep_that_fails_half_way_is_taken_back(python: Run, tmp_path: Path) -> None:
    """A directory in which nothing may be changed: what was done before that is undone."""
    shutil.copy(trees.__file__, tmp_path / "trees.py")
    if subprocess.run(["chattr", "-i", tmp_path], capture_output=True, check=False).returncode:
        pytest.skip("only the administrator can do that, and not on each file system")
    result = python(
        """
        import os, subprocess
        from pathlib import Path
        import trees
        from snapshot import changes, keep, last_experiment, revert, snapshot
        from snapshot.errors import SnapshotError

        root = Path("tree")
        (root / "first" / "deep").mkdir(parents=True)
        (root / "last").mkdir()
        for name in ("a", "b", "first/c", "first/deep/d", "last/e"):
            (root / name).write_text(name)
        os.link(root / "a", root / "a too")
        (root / "link").symlink_to("a")
        subprocess.run(["chattr", "+i", "tree/last"], check=True)
        before = trees.describe(root, changed=False)
        if snapshot(files=root):
            (root / "a").write_text("new")
            (root / "b").unlink()
            (root / "link").unlink()
            (root / "link").symlink_to("b")
            os.rename(root / "first", root / "renamed")
            (root / "renamed" / "deep" / "d").unlink()
            (root / "renamed" / "deep").rmdir()
            (root / "made" / "in it").mkdir(parents=True)
            (root / "last" / "e").write_text("never")
            seen = changes().summary
            try:
                keep()
            except SnapshotError as error:
                assert "nothing was kept" in str(error), error
                revert(value=changes().summary == seen)
        print(last_experiment().value)
        subprocess.run(["chattr", "-i", "tree/last"], check=True)
        print(trees.differences(root, before) or "as it was")
        """,
        env=QUIET,
    )
    subprocess.run(["chattr", "-i", tmp_path / "tree" / "last"], check=True)
    assert result.stdout == "True\nas it was\n", result


def test_what_somebody_else_has_deleted_or_made_is_not_overwritten(run: Run) -> None:
    result = run(
        CONFLICTS
        + """
        os.rename(root / "three", root / "drei")
        (root / "drei").write_text("renamed, and of no concern")
        os.link(root / "sub" / "five", root / "linked")
        (root / "both").mkdir()
        (root / "both" / "here").write_text("here")
        tell("import os; os.remove('one'); os.mkdir('both'); open('both/there', 'w').close()")
        tell("open('both/there', 'w').close()")
        try:
            keep()
        except FilesChanged as error:
            print(sorted({os.path.relpath(path, root)[:4] for path in error.paths}))
        keep(files=[root / "drei", root / "three", root / "linked"])
        print((root / "drei").read_text(), (root / "linked").read_text(), is_root())
        """,
        env=QUIET,
    )
    assert result.stdout.splitlines() == [
        "['both', 'one']",
        "renamed, and of no concern sub/five True",
    ], result


def test_many_files_of_one_size_are_told_apart_in_no_time(run: Run) -> None:
    """Each is compared with none but those of its content: it took minutes once."""
    result = run(
        """
        import os
        from pathlib import Path
        from snapshot import last_experiment, revert, snapshot

        root = Path("tree")
        root.mkdir()
        for number in range(3000):
            (root / f"old{number}").write_text(f"{number:5}")
        if snapshot(files=root):
            for number in range(3000):
                (root / f"old{number}").unlink()
                (root / f"new{number}").write_text(f"{number if number % 2 else -number:5}")
            revert()
        print(last_experiment().changes.summary)
        """,
        env=QUIET,
    )
    assert result.stdout == "1499 created, 1499 deleted, 1501 renamed\n", result


def test_a_hole_is_kept_as_a_hole(run: Run, tmp_path: Path) -> None:
    result = run(
        """
        from pathlib import Path
        from snapshot import keep, snapshot

        Path("tree").mkdir()
        if snapshot(files="tree"):
            with open("tree/sparse", "wb") as file:
                file.truncate(1 << 30)
                file.seek(1 << 29)
                file.write(b"in the middle")
            keep()
        """,
        env=QUIET,
    )
    assert result.code == 0, result
    sparse = tmp_path / "tree" / "sparse"
    assert sparse.stat().st_size == 1 << 30
    assert sparse.stat().st_blocks * 512 < 1 << 20
    with open(sparse, "rb") as file:
        file.seek((1 << 29) - 1)
        assert file.read(15) == b"\0in the middle\0"


def test_too_few_descriptors_are_noticed_before_the_fork(run: Run) -> None:
    result = run(
        """
        import os, resource
        from pathlib import Path
        from snapshot import last_experiment, revert, snapshot
        from snapshot.errors import CannotFork

        Path("tree").mkdir()
        forks = []
        os.register_at_fork(before=lambda: forks.append(1))
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.open("/", os.O_RDONLY))
        except OSError:
            pass
        while held:
            os.close(held.pop())
            forks.clear()
            try:
                if snapshot(files="tree"):
                    revert(value="begun")
            except CannotFork as error:
                assert "ulimit -n" in str(error), error
                assert not forks, error
            else:
                break
        print(last_experiment().value, len(held) > 20)
        """,
        env=QUIET,
    )
    assert result.stdout == "begun True\n", result


def test_links_and_their_owners_are_kept(run: Run) -> None:
    result = run(
        """
        import os
        from pathlib import Path
        import trees
        from snapshot import keep, snapshot

        root = Path("tree")
        root.mkdir()
        (root / "link").symlink_to("nowhere")
        os.setxattr(root, "user.colour", b"red")
        if snapshot(files=root):
            os.utime(root / "link", ns=(1, 2_000_000_003), follow_symlinks=False)
            os.removexattr(root, "user.colour")
            seen = trees.describe(root, changed=False)
            keep()
            print(trees.differences(root, seen) or "as it was seen")
        """,
        env=QUIET,
    )
    assert result.stdout == "as it was seen\n", result


BAD = """
    import os, sys
    from snapshot import fork_call, snapshot
    from snapshot.errors import SnapshotError

    os.makedirs("tree", exist_ok=True)
    open("file", "w").close()
    forks = []
    os.register_at_fork(before=lambda: forks.append(1))
    for files in eval(sys.argv[1]):
        for call in (lambda: snapshot(files=files), lambda: fork_call(print, files=files)):
            try:
                call()
            except SnapshotError as error:
                print(type(error).__name__, error)
    assert not forks
    """


def test_directories_that_cannot_be(run: Run) -> None:
    directories = [
        *("missing", "file", "/", "/proc", "/proc/self", "/sys/kernel", "/dev/pts", ""),
        *([], ["tree", "missing"], 3, [3], "a\0b", "\ud800", b"tree"),
    ]
    result = run(BAD, repr(directories), env=QUIET)
    lines = result.stdout.splitlines()
    assert len(lines) == 2 * len(directories), result
    assert lines[::2] == lines[1::2], result
    assert all(line.endswith(("nothing was forked", "nothing was done")) for line in lines), result
    told = dict(zip(map(repr, directories), lines[::2], strict=True))
    assert told["'missing'"].startswith("UsageError files='missing': "), told
    assert "is not there" in told["'missing'"], told
    assert "is not a directory" in told["'file'"], told
    assert "the root itself" in told["'/'"], told
    assert "proc is the kernel's own file system" in told["'/proc'"], told


# No namespaces may be made below this one; and nothing else is permitted, either.
NO_MORE = (
    "unshare --user --map-root-user sh -c '"
    'echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all "$@"\' - {}'
)


def test_a_system_that_has_no_more_namespaces(python: Run) -> None:
    result = python(BAD, "['tree']", env=QUIET, via_shell=NO_MORE)
    assert "no more namespaces are allowed (sysctl user.max_user_names" in result.stdout, result
    assert result.stdout.count("nothing was forked") == 2, result


# A filter of system calls, as containers have it: seccomp(2).
FILTERED = """
    import ctypes, os, platform, struct

    libc = ctypes.CDLL(None, use_errno=True)
    unshare = {"x86_64": 272, "aarch64": 97}[platform.machine()]
    load, equal, give, allow, refuse = 0x20, 0x15, 0x06, 0x7FFF0000, 0x50001
    code = [(load, 0, 0, 0), (equal, 0, 1, unshare), (give, 0, 0, refuse), (give, 0, 0, allow)]
    steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(steps))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())
    """


def test_a_system_that_lets_nobody_make_namespaces(python: Run) -> None:
    result = python(FILTERED + BAD, "['tree']", env=QUIET)
    assert "this system lets it make no namespaces" in result.stdout, result
    assert result.stdout.count("nothing was forked") == 2, result


def test_an_overlay_on_overlays(python: Run) -> None:
    """The kernel stacks two: on one there may be another, on two there may not."""
    result = python(
        BAD,
        "['first', 'second']",
        env=QUIET,
        via_shell="""unshare --user --map-root-user --mount sh -c '
            mount -t tmpfs none /mnt && cd /mnt && mkdir a b c d e f first second &&
            mount -t overlay -o userxattr,lowerdir=a,upperdir=b,workdir=c none first &&
            mount -t overlay -o userxattr,lowerdir=first,upperdir=d,workdir=e none second &&
            "$@" || exit 3; touch first/there; ls first' - {}""",
    )
    assert result.stdout.count("nothing was forked") == 2, result
