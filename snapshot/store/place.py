"""Where a store is: a file with others next to it, or a PostgreSQL database."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from snapshot.core import modules
from snapshot.errors import UsageError

FOLDER = ".snapshot"
VARIABLE = "SNAPSHOT_STORE"
OBJECTS = "SNAPSHOT_OBJECTS"
_PROJECT = (FOLDER, "pyproject.toml", "setup.cfg", ".git")
_POSTGRESQL = ("postgresql://", "postgres://")


@dataclass(frozen=True, slots=True)
class Place:
    """url: of a PostgreSQL database, None for SQLite. path: SQLite's file, an absolute one where
    there is a working directory.

    folder: where the large objects and the spools are, whatever the database. objects: the URL of
    another place for the objects, which fsspec knows.
    """

    path: Path
    folder: Path
    url: str | None = None
    objects: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.url is None else _without_secrets(self.url)


def place(where: str | os.PathLike[str] | None = None) -> Place:
    """The place of a store that is named by a file or a `postgresql://` URL.

    where: None is what SNAPSHOT_STORE says, else `.snapshot/store.db` of the project: the nearest
    folder above the script, or above the working directory where there is none, that holds
    `.snapshot`, `pyproject.toml`, `setup.cfg` or `.git`; without such a one, that folder itself,
    of a module in a package (`python -m`) the one that the package is in.

    What a PostgreSQL store has in files is in the user's state folder (XDG_STATE_HOME, by default
    `~/.local/state`), wherever its processes run; its large objects are where SNAPSHOT_OBJECTS
    says, if it says something: a URL that fsspec knows, for several machines.

    Nothing is made. Raises `UsageError` for a directory, or an empty name.
    """
    if where is None:
        where = os.environ.get(VARIABLE) or _project() / FOLDER / "store.db"
    named = os.fsdecode(where)
    if named.startswith(_POSTGRESQL):
        key = hashlib.sha256(_database_of(named).encode("utf-8", "replace")).hexdigest()[:16]
        folder = _state() / "snapshot" / f"postgresql-{key}"
        return Place(folder, folder, named, os.environ.get(OBJECTS) or None)
    if not named:
        raise UsageError("a store has a name: give a file, or a postgresql:// URL")
    if "://" in named:
        shown = _without_secrets(named)
        raise UsageError(f"{shown!r} is no store: give a file, or a postgresql:// URL")
    try:
        path = Path(os.path.realpath(named))
    except FileNotFoundError:  # the working directory is gone: whoever opens it is told so
        path = Path(named)
    if os.path.isdir(path):
        raise UsageError(f"{named!r} is a directory: name the file in it that is the store")
    return Place(path, path.with_name(f"{path.name}.files"))


def _database_of(url: str) -> str:
    """Which database it is, however the URL spells it."""
    try:
        from psycopg.conninfo import conninfo_to_dict

        parts = conninfo_to_dict(url)
    except Exception:  # psycopg is not there, or this is no URL, which opening it will tell
        return url
    database = parts.get("dbname") or parts.get("user")
    return repr([str(parts.get(each, "")) for each in ("host", "hostaddr", "port")] + [database])


def _without_secrets(url: str) -> str:
    """Without what comes before the host, and after the name of the database."""
    scheme, _, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    name = user.partition(":")[0] + ":***" if ":" in user else user
    return f"{scheme.strip()}://{name}{at}{host.partition('?')[0]}"


def quotes_secrets(url: str) -> bool:
    """Whether its password has characters at which a reader of URLs may cut it into pieces."""
    rest = url.partition("://")[2]
    secret = rest.rpartition("@")[0].partition(":")[2]
    return any(each in secret for each in "@/?#:[] ")


def private(folder: Path) -> None:
    """Make a folder, and those above it, for one's own eyes, whatever the umask. Raises OSError."""
    if not folder.is_dir():
        private(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o700)


def _project() -> Path:
    start = _start()
    for folder in (start, *start.parents):
        if any(os.path.exists(folder / each) for each in _PROJECT):
            return folder
    package = getattr(modules.main(), "__package__", None) or ""
    while package and start.name == package.rpartition(".")[2]:
        start, package = start.parent, package.rpartition(".")[0]
    return start


def _state() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def _start() -> Path:
    """The folder of the script that runs; the working directory for an installed command."""
    script = getattr(modules.main(), "__file__", None)
    if script is not None and os.path.isfile(script):
        folder = Path(script).resolve().parent
        ours = Path(__file__).resolve().parent.parent
        installed = {ours, *(Path(each).resolve() for each in (sys.prefix, sys.base_prefix))}
        if installed.isdisjoint((folder, *folder.parents)):
            return folder
    try:
        return Path.cwd()
    except FileNotFoundError:
        return Path()
