"""Which code is the program's own, and is watched."""

from __future__ import annotations

import linecache
import os
import site
import sysconfig
from collections.abc import Iterable
from types import CodeType


class Own:
    """Which code is the program's own.

    everything: whether what is installed is, too.
    """

    def __init__(self, *, everything: bool = False) -> None:
        self._everything = everything
        self._known: dict[str, bool] = {}
        self._commands: dict[int, CodeType] = {}  # held, so that no other one gets the same id
        self._installed = tuple(sorted(_installed()))

    def __call__(self, code: CodeType) -> bool:
        file = code.co_filename
        known = self._known.get(file)
        if known is None:
            if file == COMMAND:
                return id(code) in self._commands
            known = self._known[file] = self._is_own(file)
        return known

    def has_file(self, file: str) -> bool:
        """Whether code of that file is, or may be, the program's own."""
        if file == COMMAND:
            return bool(self._commands)
        return self._known.get(file, self._is_own(file))

    def include(self, code: CodeType, source: str | None = None) -> None:
        """That code and all of its file, whatever it is. source: what is listed, where there is no
        such file."""
        file = code.co_filename
        if file == COMMAND:
            self._include_command(code)
        else:
            self.include_file(file)
        if source is not None:
            lines = [each + "\n" for each in source.splitlines()]
            linecache.cache[file] = len(source), None, lines, file

    def include_file(self, file: str) -> None:
        """That file, whatever it is."""
        self._known[file] = True

    def _include_command(self, code: CodeType) -> None:
        """What is defined in it, too; but not what libraries make of texts, which has no file
        either: the methods of named tuples and data classes, for instance."""
        self._commands[id(code)] = code
        for each in code.co_consts:
            if isinstance(each, CodeType):
                self._include_command(each)

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
