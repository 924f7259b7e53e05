"""Packages: the version of what is installed, without the time that `importlib.metadata` takes."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys

_FOLDERS = ("site-packages", "dist-packages")
_TOLD = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info")


def version_of_package(module: str) -> str | None:
    """The version of the distribution that a module is of, None if nothing says it.

    module: its name; the part before the first dot counts, and need not have been imported. The
    names in the folder that it is installed in are tried first, then its `__version__`, and last
    what each distribution in the folder lists, which takes some milliseconds for the first time.
    """
    top = module.partition(".")[0]
    folder = _folder_of(top)
    if folder is None:
        return _own_word(top)
    try:
        changed = os.stat(folder).st_mtime_ns
        _, told = _listed(folder, changed).get(_normalized(top), ("", ""))
        return told or _own_word(top) or _told_by_contents(folder, changed, top)
    except OSError:
        return _own_word(top)


@functools.lru_cache(maxsize=256)
def versions_of_packages(tops: frozenset[str]) -> tuple[tuple[str, str | None], ...]:
    """Those of modules that have been imported, of the standard library none: as they were at
    the first time, since that is what runs."""
    others = tops - sys.stdlib_module_names - {__name__.partition(".")[0]}
    return tuple((each, version_of_package(each)) for each in sorted(others))


def _folder_of(top: str) -> str | None:
    """The folder of installed packages that a module is in."""
    for place in places_of(top):
        parts = os.path.abspath(place).split(os.sep)
        for position, part in enumerate(parts):
            if part in _FOLDERS:
                return os.sep.join(parts[: position + 1])
    return None


def places_of(top: str) -> list[str]:
    """The file of a module, which need not have been imported; of a namespace its folders."""
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None)
    if module is None:
        spec = _found(top)
    for file in (getattr(module, "__file__", None), getattr(spec, "origin", None)):
        if isinstance(file, str):
            return [file]
    return [str(each) for each in getattr(spec, "submodule_search_locations", None) or ()]


def _found(top: str) -> object:
    """What the finders know of a module that was not imported."""
    for finder in sys.meta_path:
        with contextlib.suppress(Exception):  # anybody may put a finder there
            if (spec := finder.find_spec(top, None)) is not None:
                return spec
    return None


@functools.lru_cache(maxsize=64)
def _listed(folder: str, _changed: int) -> dict[str, tuple[str, str]]:
    """By the normalized name of each distribution: where it is told of, and its version."""
    matches = [_TOLD.fullmatch(each) for each in os.listdir(folder)]
    return {_normalized(each["name"]): (each[0], each["version"]) for each in matches if each}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _own_word(top: str) -> str | None:
    version = vars(sys.modules[top]).get("__version__") if top in sys.modules else None
    return version if isinstance(version, str) else None


@functools.lru_cache(maxsize=1024)
def _told_by_contents(folder: str, changed: int, top: str) -> str | None:
    """The versions of the distributions that list a file of the module among theirs: several, if
    it is a namespace."""
    several = os.path.join(folder, top) in places_of(top)
    name = _normalized(top)
    listed = sorted(_listed(folder, changed).items(), key=lambda each: (name not in each[0], each))
    found = []
    for distribution, (info, version) in listed:
        if _lists(os.path.join(folder, info), top):
            found.append(f"{distribution} {version}")
            if not several:
                break
    return ", ".join(sorted(found)) or None


def _lists(info: str, top: str) -> bool:
    wanted = re.compile(rb"(?m)^%s($|[/.])" % re.escape(top.encode()))
    for name in ("RECORD", "top_level.txt"):
        with contextlib.suppress(OSError), open(os.path.join(info, name), "rb") as listing:
            if wanted.search(listing.read()):
                return True
    return False
