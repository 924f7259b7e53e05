"""The root marker: a TOML file at the root of an application, which says what belongs to it.

    name = "shop"                        # of the application in a store; else that of the folder

    [ignore]
    files = ["scripts/*.py", "legacy"]   # globs of files and folders, from the root
    keys = ["app.views:debug_*"]         # keys of functions, or patterns of them

    [include]
    files = ["tests"]                    # what is left out by itself, and belongs to it here

By itself it has every `*.py` below the root but virtual environments, `node_modules`,
`site-packages`, `__pycache__`, folders whose names begin with a dot, and tests: folders `tests`,
`test_*.py`, `*_test.py`, `conftest.py`.
"""

from __future__ import annotations

import functools
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from snapshot.errors import CannotRead, UsageError
from snapshot.heat.writing import optional, replace
from snapshot.store.searching import storable

NAME = "snapshot.rootmarker"

_FOREIGN = frozenset({"venv", "node_modules", "site-packages", "__pycache__"})
_TESTS = re.compile(r"test_.*\.py|.*_test\.py|conftest\.py")


@dataclass(frozen=True, slots=True)
class RootMarker:
    """What a root marker says.

    path: the file. files, keys: those to ignore. included: globs of files that are taken though
    they are left out by themselves. named: the name that the application is given, if any.
    """

    path: Path
    files: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    included: tuple[str, ...] = ()
    named: str = ""

    @property
    def name(self) -> str:
        """The name by which a store knows the application; by default that of its folder."""
        return storable(self.named or self.root.resolve().name) or "/"

    @property
    def root(self) -> Path:
        """The folder of the application."""
        return self.path.parent

    def ignores(self, key: str) -> bool:
        """Whether the function of that key is ignored; `KEY@line` is ignored with KEY."""
        bare = key.partition("@")[0]
        return any(fnmatchcase(key, each) or fnmatchcase(bare, each) for each in self.keys)

    def takes(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file belongs to the application; `path` is absolute, or from the root."""
        relative = os.path.relpath(os.path.join(self.root, path), self.root).replace(os.sep, "/")
        if relative.startswith("../") or not relative.endswith(".py"):
            return False
        *folders, name = relative.split("/")
        left_out = any(map(_left_out_folder, folders)) or bool(_TESTS.fullmatch(name))
        return not _any(self.files, relative) and (not left_out or _any(self.included, relative))

    def paths(self) -> list[str]:
        """The files of the application, from the root, sorted."""
        return [each for each in _python_files(self.root, self._enters) if self.takes(each)]

    def sources(self) -> list[str]:
        """Every Python file that could refer to a function of it: tests and ignored ones, too."""

        def enters(folder: str) -> bool:
            return not _foreign(folder.rpartition("/")[2]) or self._names(folder)

        return list(_python_files(self.root, enters))

    def unmatched(self) -> list[str]:
        """A sentence for each glob that matches no file."""
        patterns = [*(("ignore", each) for each in self.files)]
        patterns += [("include", each) for each in self.included]
        everything = list(_python_files(self.root, lambda _: True)) if patterns else []
        return [
            f"{self.path}: {each!r} in [{table}] files matches no Python file: correct or delete it"
            for table, each in patterns
            if not any(_matches(each, path) for path in everything)
        ]

    def _enters(self, folder: str) -> bool:
        return not _left_out_folder(folder.rpartition("/")[2]) or self._names(folder)

    def _names(self, folder: str) -> bool:
        """Whether a glob of `[include]` may match something in a folder."""
        return any(_may_match_below(each, folder) for each in self.included)


def find(start: str | os.PathLike[str] | None = None) -> RootMarker:
    """The root marker of the nearest folder from `start` upwards, by default the working directory.

    Raises `UsageError` where there is none, `CannotRead`.
    """
    try:
        begin = Path(os.path.abspath(start or os.curdir))
    except FileNotFoundError:
        raise UsageError(
            f"there is no working directory to look for {NAME} from: it was deleted; go to another "
            "one"
        ) from None
    for folder in (begin, *begin.parents):
        if (folder / NAME).is_file():
            return read(folder / NAME)
    raise UsageError(
        f"there is no {NAME} in {begin} or above: make that file, it may be empty, in the root of "
        "the application"
    )


def read(path: Path) -> RootMarker:
    """What a root marker says. Raises `CannotRead` if it is damaged, or says what nobody knows."""
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise CannotRead(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())
        raise CannotRead(f"{path} is no TOML, correct it: {text}") from None
    known = {"ignore": ("files", "keys"), "include": ("files",)}
    named = content.pop("name", "")
    if not isinstance(named, str):
        raise CannotRead(f"{path} has {named!r} as name: give a text")
    for table, entries in content.items():
        if table not in known:
            expected = "which is neither name nor [ignore] nor [include]"
            raise CannotRead(f"{path} has {table!r}, {expected}")
        if not isinstance(entries, dict):
            raise CannotRead(f"{path} has {table} as no table: write [{table}]")
        for name in entries:
            if name not in known[table]:
                expected = " and ".join(known[table])
                raise CannotRead(f"{path} has {name!r} in [{table}], where only {expected} can be")
    return RootMarker(
        path,
        _texts(path, content, "ignore", "files"),
        _texts(path, content, "ignore", "keys"),
        _texts(path, content, "include", "files"),
        named.strip(),
    )


def _texts(path: Path, content: dict[str, Any], table: str, name: str) -> tuple[str, ...]:
    found = content.get(table, {}).get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) and each for each in found):
        raise CannotRead(f"{path} has {found!r} as {name} in [{table}]: give a list of texts")
    return tuple(found)


class Ignoring(NamedTuple):
    """What ignoring some keys would change. keys: those that are new. before, after: the file."""

    keys: list[str]
    before: bytes
    after: bytes


def ignoring(marker: RootMarker, keys: Iterable[str]) -> Ignoring:
    """Keys, or patterns of them, added to those that are ignored; comments and order stay.

    Nothing is written. Raises `UsageError` where tomlkit is missing, `CannotRead`.
    """
    tomlkit = optional("tomlkit", "ignore functions")
    current = read(marker.path)
    before = marker.path.read_bytes()
    new = [each for each in dict.fromkeys(keys) if each not in current.keys]
    if not new:
        return Ignoring([], before, before)
    document = tomlkit.parse(before.decode())
    table = document.setdefault("ignore", tomlkit.table())
    listed = table.setdefault("keys", tomlkit.array())
    indents = re.findall(r"\n([ \t]*)[\"']", listed.as_string())
    for each in new:
        if "\n" in listed.as_string():
            listed.add_line(each, indent=indents[-1] if indents else "    ")
        else:
            listed.append(each)
    after = tomlkit.dumps(document).encode()
    if b"\r\n" in before:
        after = re.sub(rb"\r?\n", b"\r\n", after)
    return Ignoring(new, before, after)


def ignore(marker: RootMarker, keys: Iterable[str]) -> list[str]:
    """Add keys, or patterns of them, to those that are ignored: see `ignoring`.

    Returns the ones that were not there. Raises `UsageError`, also where the file cannot be
    written, `CannotRead`.
    """
    change = ignoring(marker, keys)
    if change.keys:
        replace({marker.path: change.after})
    return change.keys


def _python_files(root: Path, enters: Callable[[str], bool]) -> Iterator[str]:
    """Those below a folder, from there, in the order of their names."""
    waiting = [""]
    found = []
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError:
            continue
        for each in entries:
            relative = f"{folder}/{each.name}" if folder else each.name
            if each.is_dir(follow_symlinks=False):
                if enters(relative) and not os.path.exists(f"{each.path}/pyvenv.cfg"):
                    waiting.append(relative)
            elif each.name.endswith(".py") and os.path.isfile(each):
                found.append(relative)
    yield from sorted(found)


def _foreign(folder: str) -> bool:
    return folder in _FOREIGN or folder.startswith(".")


def _left_out_folder(folder: str) -> bool:
    return _foreign(folder) or folder == "tests"


def _any(patterns: Sequence[str], relative: str) -> bool:
    return any(_matches(each, relative) for each in patterns)


def _matches(pattern: str, relative: str) -> bool:
    """Whether a glob matches a path, or one of the folders that it is in."""
    return bool(_expression(pattern).match(relative))


def _may_match_below(pattern: str, folder: str) -> bool:
    parts = pattern.strip("/").removeprefix("./").split("/")
    for wanted, there in zip(parts, folder.split("/"), strict=False):
        if wanted == "**":
            return True
        if not fnmatchcase(there, wanted):
            return False
    return True


@functools.lru_cache(maxsize=256)
def _expression(pattern: str) -> re.Pattern[str]:
    text = ""
    rest = pattern.removeprefix("./").strip("/")
    tokens = re.findall(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|.", rest, re.DOTALL)
    for each in tokens:
        if each == "**/":
            text += "(?:.*/)?"
        elif each == "**":
            text += ".*"
        elif each == "*":
            text += "[^/]*"
        elif each == "?":
            text += "[^/]"
        elif len(each) > 1:
            inner = each[1:-1].replace("\\", r"\\")
            text += f"[^{inner[1:]}/]" if inner.startswith("!") else f"[{inner}]"
        else:
            text += re.escape(each)
    try:
        return re.compile(f"(?:{text})(?:/|$)", re.DOTALL)
    except re.error:
        return re.compile(re.escape(rest) + "(?:/|$)")
