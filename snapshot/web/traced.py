"""The application whose heat is shown: read when it has changed, and not for each page."""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import xxhash

from snapshot.errors import NoStore, UsageError
from snapshot.heat import reports
from snapshot.heat.inventory import Function, Inventory, functions_in, unread
from snapshot.heat.references import SETTINGS, Reference
from snapshot.heat.reports import Row
from snapshot.heat.rootmarker import Ignoring, RootMarker, find
from snapshot.heat.tracing import store_of
from snapshot.store.heat import Hit
from snapshot.web.jobs import Job
from snapshot.web.site import Site

_MINUTE = 60.0  # what ran "since" a moment is asked for by minutes, and kept for these
_KEPT = 50  # of what is kept for pages that are shown later
_LONG = 2_000_000  # bytes of source that are not read while a page is waited for

_Kept = TypeVar("_Kept")


class Known(NamedTuple):
    """What a store knows of the application. rows: of its functions; those that are not in the
    source come last. others: applications of the store whose source is not here."""

    rows: list[Row]
    hits: list[Hit]
    deployments: list[str]
    others: list[str]


class Unread(Exception):
    """So much of the source is to be read that a job is to do it. root: of the application."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root


class Traced:
    """That of a server."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._inventory: Inventory | None = None
        self._stamp = self._sources = ""
        self._known: OrderedDict[tuple[Inventory, str, float | None], Known] = OrderedDict()
        self._reading: Job | None = None
        self._counting: Job | None = None
        self._finding: OrderedDict[str, Job] = OrderedDict()
        self._said: OrderedDict[str, str] = OrderedDict()
        self._ignorings: OrderedDict[str, Ignoring] = OrderedDict()

    # The source.

    def inventory(self) -> Inventory:
        """That of the application as it is now. Raises `UsageError`, `CannotRead`, `Unread`."""
        marker = find(self._site.options.root)
        with self._lock:
            found = self._inventory
            stamp = _stamp(marker.root, marker.paths())
            if found is None or found.marker != marker or stamp != self._stamp:
                if self._takes_long(marker):
                    raise Unread(marker.root)
                found = self._inventory = functions_in(marker)
                self._stamp = stamp
                self._known.clear()
            self._sources = stamp_of(marker)
            return found

    def _takes_long(self, marker: RootMarker) -> bool:
        """Once it was read, it is read here at worst: what was read cannot be kept everywhere."""
        job, self._reading = self._reading, None
        if job is not None and job.status == "running":
            self._reading = job
            return True
        if job is not None and job.status != "ended":
            return False
        return not self._site.options.exporting and unread(marker) > _LONG

    def reading(self, start: Callable[[], Job]) -> Job:
        """The job that reads it, which is started unless it runs."""
        with self._lock:
            if self._reading is None:
                self._reading = start()
            return self._reading

    # What is known of it.

    def known(self, inventory: Inventory, since: float | None = None) -> Known:
        """Nothing of any function where there is no store. Raises `StoreError`."""
        if since is not None:
            since -= since % _MINUTE
        # Asked before: what comes meanwhile is seen the next time.
        key = (inventory, self._site.revision(), since)
        with self._lock:
            if key in self._known:
                return self._known[key]
        known = self._read(inventory, since)
        with self._lock:
            _keep(self._known, key, known, 4)
        return known

    def _read(self, inventory: Inventory, since: float | None) -> Known:
        name = name_of(inventory)
        try:
            with self._site.store() as store:
                hits = store.heat.hits(name, since)
                rows = reports.rows_of(inventory, hits, store.heat.published(name))
                others = [each for each in store.heat.applications() if each != name]
                return Known(rows, hits, store.heat.deployments(name), others)
        except NoStore:
            return Known(reports.rows_of(inventory, (), ()), [], [], [])

    def others(self) -> list[str]:
        """All applications of the store, for who has no source at hand."""
        try:
            with self._site.store() as store:
                return store.heat.applications()
        except NoStore:
            return []

    def elsewhere(self, inventory: Inventory) -> str | None:
        """The store in which the application is counted by itself, if it is another one."""
        place = store_of(inventory.root, self._site.options.store)
        return None if place == self._site.place else str(place)

    # References: dear to find, and true as long as the source is the same.

    def count_references(self, job: Job) -> None:
        """It is done by that job."""
        self._counting = job

    def find_references(self, key: str, job: Job) -> None:
        """Those to one function are found by that job."""
        with self._lock:
            _keep(self._finding, key, job, _KEPT)

    def references(self) -> dict[str, int] | None:
        """How many lead to each function, by names; None where that is unknown."""
        counts: dict[str, int] | None = self._found(self._counting, "counts")
        return counts

    def references_to(self, key: str) -> list[Reference] | None:
        """Those to one function; None where nobody has looked."""
        found = self._found(self._finding.get(key), "references")
        return None if found is None else [Reference(*each) for each in found]

    def _found(self, job: Job | None, name: str) -> Any:
        if job is None or job.result.get("stamp") != self._sources:
            return None
        return job.result[name]

    # What is told on a page that is loaded after a form was sent.

    def say(self, text: str) -> str:
        """What to ask `said` for."""
        return self._remember(self._said, text)

    def said(self, which: str | None) -> str | None:
        """The text, if it is still known."""
        return self._said.get(which or "")

    def ignored(self, change: Ignoring) -> str:
        """What to ask `ignoring` for."""
        return self._remember(self._ignorings, change)

    def ignoring(self, which: str) -> Ignoring | None:
        """What was ignored, if it is still known."""
        return self._ignorings.get(which)

    def _remember(self, kept: OrderedDict[str, _Kept], value: _Kept) -> str:
        name = secrets.token_urlsafe(9)
        with self._lock:
            _keep(kept, name, value, _KEPT)
        return name


_Key = TypeVar("_Key")


def _keep(kept: OrderedDict[_Key, _Kept], key: _Key, value: _Kept, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)


def name_of(inventory: Inventory) -> str:
    """The name by which a store knows the application."""
    return inventory.marker.name


def by_name(inventory: Inventory) -> dict[str, Function]:
    """The functions by what the inventory calls them, ignored ones, too."""
    return {inventory.name_of(each): each for each in (*inventory.functions, *inventory.ignored)}


def texts(marker: RootMarker) -> list[str]:
    """The files that can lead to a function, from the root, if they are in it."""
    root = marker.root.resolve()
    there = [each for each in SETTINGS if (root / each).is_file()]
    return [
        each
        for each in dict.fromkeys((*marker.sources(), *there))
        if not (root / each).is_symlink() or (root / each).resolve().is_relative_to(root)
    ]


def stamp_of(marker: RootMarker) -> str:
    """Another text when a file that can lead to a function seems to have changed."""
    return _stamp(marker.root, (*marker.sources(), *SETTINGS))


def digest_of(marker: RootMarker) -> str:
    """Another text when one of these files has other contents."""
    digest = xxhash.xxh3_128()
    for each in (*marker.sources(), *SETTINGS):
        content = read(marker.root / each)
        length = -1 if content is None else len(content)
        digest.update(f"{each}\0{length}\0".encode(errors="surrogateescape"))
        digest.update(content or b"")
    return digest.hexdigest()


def read(path: Path) -> bytes | None:
    """The contents of a file; None where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _stamp(root: Path, paths: Iterable[str]) -> str:
    digest = xxhash.xxh3_128(str(root).encode())
    for each in paths:
        try:
            facts = os.stat(f"{root}/{each}")
            text = f"{each}\0{facts.st_mtime_ns}\0{facts.st_size}\0{facts.st_ino}\0"
        except OSError:
            text = f"{each}\0"
        digest.update(text.encode(errors="surrogateescape"))
    return digest.hexdigest()


def functions_named(inventory: Inventory, names: Iterable[str]) -> list[Function]:
    """Those functions, each once. Raises `UsageError` for one that is not there."""
    known = by_name(inventory)
    wanted = dict.fromkeys(names)
    for each in wanted:
        if each not in known:
            raise UsageError(f"there is no function {each!r} in the source now")
    return [known[each] for each in wanted]
