"""Files are written atomically, all or none; what edits them is loaded when it is needed."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from snapshot.errors import UsageError
from snapshot.store.place import FOLDER, private


def home(root: Path) -> Path:
    """The folder for what heat keeps of an application, made if need be. Raises `UsageError`."""
    folder = root / FOLDER / "heat"
    try:
        private(folder)
        mark = root / FOLDER / ".gitignore"
        if not mark.exists():
            mark.write_text("*\n")
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}") from None
    return folder


def optional(name: str, purpose: str) -> Any:
    """A module of the extra `code`. Raises `UsageError` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(
            f"{name.partition('.')[0]} is needed to {purpose}, and is not installed: "
            "pip install 'snapshot[code]'"
        ) from None


def replace(contents: Mapping[Path, bytes], begin: Callable[[], None] = lambda: None) -> None:
    """Write files, all or none, each atomically; one that was there keeps its mode.

    Where a link is, the file is written that it leads to.

    begin: called when nothing but their renaming is left to be done.

    Raises `UsageError` where one cannot be written; then none is changed.
    """
    ready: dict[Path, str] = {}
    done: dict[Path, bytes | None] = {}
    at: Path | None = None
    try:
        real = {path.resolve(): content for path, content in contents.items()}
        for at, content in real.items():
            ready[at] = _beside(at, content)
        begin()
        for at, name in ready.items():
            done[at] = at.read_bytes() if at.exists() else None
            os.replace(name, at)
    except BaseException as error:  # Ctrl-C, too
        for path, before in done.items():
            if before is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != before:
                os.replace(_beside(path, before), path)
        if not isinstance(error, OSError):
            raise
        raise UsageError(
            f"{at or 'a file'} cannot be written, and nothing was changed: {error.strerror}"
        ) from None
    finally:
        for name in ready.values():
            Path(name).unlink(missing_ok=True)


def _beside(path: Path, content: bytes) -> str:
    """A temporary file next to the place of another, with its mode."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(name)
        raise
    return name
