"""Which code is the program's own, and is watched."""

from __future__ import annotations

import linecache
import os
import site
import sysconfig
from collections.abc import Iterable


class Own:
    """Which code is the program's own.

    everything: whether what is installed is, too.
    """

    def __init__(self, *, everything: bool = False) -> None:
        self._everything = everything
        self._known: dict[str, bool] = {}
        self._installed = tuple(sorted(_installed()))

    def __call__(self, file: str) -> bool:
        known = self._known.get(file)
        if known is None:
            known = self._known[file] = self._is_own(file)
        return known

    def include(self, file: str, source: str | None = None) -> None:
        """That file, whatever it is. source: what is listed, where there is no such file."""
        self._known[file] = True
        if source is not None:
            lines = [each + "\n" for each in source.splitlines()]
            linecache.cache[file] = len(source), None, lines, file

    def _is_own(self, file: str) -> bool:
        if file.startswith(_TYPED):
            return True
        if file.startswith("<") or is_ours(file):
            return False
        return self._everything or not os.path.abspath(file).startswith(self._installed)


def is_ours(file: str) -> bool:
    """Whether it is one of this package's."""
    return file.startswith(_OURS)


COMMAND = "<string>"  # the file of code that has none: `-c`, and a statement under `run`

# What is typed at a prompt: IPython's cells, Python's lines.
_TYPED = ("<ipython-input-", "<python-input-", "<stdin>")

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _installed() -> Iterable[str]:
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return {os.path.join(os.path.realpath(each), "") for each in found} | {
        os.path.join(os.path.abspath(each), "") for each in found
    }
