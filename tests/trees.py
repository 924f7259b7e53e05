"""A tree of files of every kind, what is done to it, and what it looks like: for programs under
test, which import a copy of this file."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path


def describe(root: Path, *, changed: bool = True) -> dict[str, list[object]]:
    """All that can be seen of each file and directory of a tree.

    changed: with the numbers of the files and when they were changed, which the kernel alone sets.
    """
    described: dict[str, list[object]] = {}
    links: dict[int, str] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        facts: list[object] = [status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns]
        if changed:
            facts += [status.st_ctime_ns, status.st_ino]
        if stat.S_ISLNK(status.st_mode):
            facts.append(os.readlink(path))
        else:
            names = sorted(each for each in os.listxattr(path) if each.startswith("user."))
            facts += [(name, os.getxattr(path, name)) for name in names]
        if stat.S_ISREG(status.st_mode):
            facts += [path.read_bytes(), links.setdefault(status.st_ino, str(path))]
        described[str(path)] = facts
    return described


def look(root: Path) -> str:
    """A digest of all that can be seen of a tree."""
    return hashlib.sha256(repr(describe(root)).encode()).hexdigest()


def differences(root: Path, before: dict[str, list[object]]) -> str:
    """What is not as it was described without `changed`, a line for each; nothing if all is."""
    after = describe(root, changed=False)
    paths = sorted(before.keys() | after.keys())
    return "".join(
        f"{path}: {before.get(path)} is {after.get(path)}\n"
        for path in paths
        if before.get(path) != after.get(path)
    )


def build(root: Path, files: int) -> None:
    """Files, links, pipes, odd modes and attributes, a database, and in `many` so many files."""
    many = root / "many"
    many.mkdir(parents=True)
    for number in range(files):
        place = many / str(number % 100)
        place.mkdir(exist_ok=True)
        (place / f"{number}.txt").write_text(str(number))
    (root / "old" / "deep").mkdir(parents=True)
    (root / "old" / "deep" / "file").write_text("deep\n")
    (root / "old" / "other").write_text("other\n")
    (root / "log").write_text("first line\n")
    (root / "map").write_bytes(b"m" * 3 * mmap.PAGESIZE)
    (root / "script").write_text("#!/bin/sh\n")
    (root / "script").chmod(0o751)
    (root / "twice").write_text("twice\n")
    os.link(root / "twice", root / "again")
    (root / "link").symlink_to("log")
    (root / "nowhere").symlink_to("is not there")
    os.mkfifo(root / "pipe", 0o640)
    (root / "closed").mkdir(0o700)
    (root / "a name, with: a \\ in it\n").write_text("odd\n")
    os.setxattr(root / "script", "user.colour", b"red")
    os.setxattr(root / "closed", "user.colour", b"blue")
    connection = sqlite3.connect(root / "data.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE numbers (number)")
    connection.executemany("INSERT INTO numbers VALUES (?)", [(each,) for each in range(100)])
    connection.commit()
    connection.close()


def spoil(root: Path) -> None:
    """All that the tree is to recover from."""
    shutil.rmtree(root / "many")
    connection = sqlite3.connect(root / "data.db")
    connection.execute("UPDATE numbers SET number = -number")
    connection.execute("CREATE TABLE more AS SELECT * FROM numbers")
    connection.commit()
    connection.execute("VACUUM")
    connection.close()
    shutil.move(root / "old", root / "new")
    (root / "new" / "deep" / "file").write_text("deeper\n")
    (root / "new" / "other").unlink()
    with open(root / "log", "a") as log:
        log.write("second line\n")
    os.truncate(root / "map", mmap.PAGESIZE)
    (root / "script").chmod(0o600)
    os.setxattr(root / "script", "user.colour", b"green")
    os.removexattr(root / "closed", "user.colour")
    (root / "twice").unlink()
    (root / "pipe").unlink()
    (root / "pipe").mkdir()
    (root / "pipe" / "in it").write_text("a file\n")
    shutil.rmtree(root / "closed")
    (root / "closed").write_text("a file now\n")
    (root / "link").unlink()
    (root / "link").symlink_to("elsewhere")
    (root / "made").write_text("made\n")
    os.link(root / "made", root / "made too")
    os.mkfifo(root / "made pipe")
    os.utime(root / "script", ns=(1, 2_000_000_003))


# What can be done to one of a few names in one of a few directories; each may fail.
def _write(path: Path, other: Path) -> None:
    path.write_text(str(other))


def _append(path: Path, other: Path) -> None:
    with open(path, "a") as file:
        file.write("more")


def _remove(path: Path, other: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _make_anew(path: Path, other: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


DEEDS: dict[str, Callable[[Path, Path], object]] = {
    "write": _write,
    "append": _append,
    "remove": _remove,
    "make anew": _make_anew,
    "mkdir": lambda path, other: path.mkdir(),
    "rename": os.rename,
    "move": lambda path, other: shutil.move(path, other),
    "link": os.link,
    "symlink": lambda path, other: path.symlink_to(other),
    "chmod": lambda path, other: path.chmod(0o500),
}


def do(root: Path, deeds: list[tuple[str, str, str]]) -> None:
    """Each deed with its two names, as far as it can be done."""
    for deed, name, other in deeds:
        with contextlib.suppress(OSError, shutil.Error):
            DEEDS[deed](root / name, root / other)
