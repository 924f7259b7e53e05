"""An archive: the variables of all states in one file, each value once.

A zip file. `index.json` says which variables each state had; `objects/DIGEST` are their pickles and
the buffers that these leave out of band, named by the SHA-256 of their content, which is compared
before anything is unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from snapshot import pickling
from snapshot.core.line import table
from snapshot.core.memory import size
from snapshot.core.timeline.asking import Stored, Unavailable, Variable
from snapshot.core.timeline.records import State
from snapshot.errors import CannotRead, UnknownState, UsageError

_FORMAT, _VERSION = "snapshot archive", 1
_INDEX = "index.json"
_SHOWN = 60

Contents = Callable[[int, frozenset[str]], tuple[dict[str, Stored], dict[str, Any]]]


class Variables(Mapping[str, Any]):
    """Variables of a state, by name; shows as a table. A value is fetched when it is looked at."""

    def __init__(self, listing: Mapping[str, Variable], fetch: Callable[[str], Any]) -> None:
        self.listing = dict(listing)
        self._fetch = fetch

    def __getitem__(self, name: str) -> Any:
        if name not in self.listing:
            raise KeyError(name)
        return self._fetch(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.listing)

    def __len__(self) -> int:
        return len(self.listing)

    def __contains__(self, name: object) -> bool:
        return name in self.listing

    def __repr__(self) -> str:
        if not self.listing:
            return "no variables"
        rows = [("name", "type", "size")]
        rows += [(name, each.type, size(each.size)) for name, each in self.listing.items()]
        return table(rows)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.listing)


class Archive(Mapping[int, Variables]):
    """An archive in a file, by the numbers of the cells. Reading a value runs what its pickle says.

    Raises `CannotRead` where it is none, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as file:
                index = json.loads(file.read(_INDEX))
        except FileNotFoundError:
            raise CannotRead(f"there is no archive {str(path)!r}") from None
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise CannotRead(f"{str(path)!r} is no archive of states: {error}") from None
        if not isinstance(index, dict) or index.get("format") != _FORMAT:
            raise CannotRead(f"{str(path)!r} is no archive of states")
        if index["version"] != _VERSION:
            raise CannotRead(
                f"{str(path)!r} is an archive of version {index['version']}; this release reads "
                f"version {_VERSION}"
            )
        try:
            self.python: str = index["python"]
            self._states: dict[int, Any] = {int(each["number"]): each for each in index["states"]}
        except (KeyError, TypeError, ValueError) as error:
            raise CannotRead(f"{str(path)!r} is damaged: {error!r}") from None

    def vars(self, n: int) -> Variables:
        """The variables after that cell. Raises `UnknownState`."""
        state = self._states.get(n)
        if state is None:
            there = ", ".join(map(str, self._states)) or "none"
            raise UnknownState(f"{str(self.path)!r} has no state {n!r}; it has {there}")
        stored = {name: _stored(each) for name, each in state["variables"].items()}
        listing = {name: Variable(each.type, each.size) for name, each in stored.items()}
        return Variables(listing, lambda name: self._value(stored[name]))

    def __getitem__(self, n: int) -> Variables:
        try:
            return self.vars(n)
        except UnknownState as error:
            raise KeyError(n) from error

    def __iter__(self) -> Iterator[int]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __repr__(self) -> str:
        rows = [("state", "name", "code", "variables")]
        for number, each in self._states.items():
            names = ", ".join(each["variables"])
            shown = names if len(names) <= _SHOWN else names[: _SHOWN - 1] + "…"
            rows.append((str(number), each["name"] or "", each["line"], shown))
        return table(rows)

    def _value(self, stored: Stored) -> Any:
        if stored.pickle is None:
            return stored.unavailable
        try:
            with zipfile.ZipFile(self.path) as file:
                data, *buffers = [
                    self._object(file, digest) for digest in (stored.pickle, *stored.buffers)
                ]
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise CannotRead(f"{str(self.path)!r} is damaged: {error}") from None
        return pickling.load(data, [bytearray(each) for each in buffers])

    def _object(self, file: zipfile.ZipFile, digest: str) -> bytes:
        data = file.read(f"objects/{digest}")
        if hashlib.sha256(data).hexdigest() != digest:
            raise CannotRead(f"{str(self.path)!r} is damaged: object {digest} is another one")
        return data


def write(path: Path, states: Iterable[State], contents: Contents) -> None:
    """Write an archive; an older one of that name is replaced when it is complete.

    contents: asks a state for its variables, and for the objects that are not known yet.
    """
    asked, path = str(path), path.resolve()  # a link stays one
    if path.exists() and not path.is_file():
        raise UsageError(f"save({asked!r}): it is there, and no regular file")
    states = list(states)
    index: list[dict[str, Any]] = []
    known: set[str] = set()
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise UsageError(f"save({asked!r}): {error.strerror}") from None
    try:
        with open(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for done, state in enumerate(states, 1):
                    _progress(f"state {state.number}, {done} of {len(states)}")
                    stored, pieces = contents(state.number, frozenset(known))
                    for digest, piece in pieces.items():
                        with archive.open(f"objects/{digest}", "w", force_zip64=True) as entry:
                            entry.write(memoryview(piece).cast("B"))
                    known.update(pieces)
                    index.append(_entry(state, stored))
                archive.writestr(_INDEX, json.dumps(_head() | {"states": index}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        if isinstance(error, OSError):
            raise UsageError(f"save({asked!r}): {error.strerror or error}") from None
        raise
    finally:
        _progress("")


def _head() -> dict[str, Any]:
    python = ".".join(map(str, sys.version_info[:3]))
    return {"format": _FORMAT, "version": _VERSION, "python": python}


def _entry(state: State, stored: dict[str, Stored]) -> dict[str, Any]:
    return {
        "number": state.number,
        "parent": state.parent,
        "branch": state.branch,
        "name": state.name,
        "line": state.line,
        "variables": {name: list(each) for name, each in stored.items()},
    }


def _stored(entry: list[Any]) -> Stored:
    kind, length, digest, buffers, unavailable = entry
    return Stored(kind, length, digest, tuple(buffers), unavailable and Unavailable(*unavailable))


def _progress(text: str) -> None:
    """What is being done, in one line that is written over; only where somebody looks."""
    if sys.stderr is not None and sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[Ksaving {text}" if text else "\r\x1b[K")
        sys.stderr.flush()
