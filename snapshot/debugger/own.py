"""Which code is the program's own, and is watched."""

from __future__ import annotations

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

    def _is_own(self, file: str) -> bool:
        if file.startswith("<") or file.startswith(_OURS):
            return False
        return self._everything or not os.path.abspath(file).startswith(self._installed)


_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _installed() -> Iterable[str]:
    paths = sysconfig.get_paths()
    found = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    found += [*site.getsitepackages(), site.getusersitepackages()]
    return {os.path.join(os.path.realpath(each), "") for each in found} | {
        os.path.join(os.path.abspath(each), "") for each in found
    }
