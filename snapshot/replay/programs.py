"""The script of the program that has recorded, by the names that it has in different processes."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from snapshot.pickling import FindClass

_MAIN = "__main__"
_OF_WORKERS = "__mp_main__"  # as a process calls it that multiprocessing has not forked
MAINS = (_MAIN, _OF_WORKERS)


def main_name(name: str) -> str:
    """The name of a module, or a dotted one in it, by which the program itself has it."""
    first, dot, rest = name.partition(".")
    return _MAIN + dot + rest if first == _OF_WORKERS else name


def main_key(key: str) -> str:
    """The same for the key of a function."""
    module, colon, qualname = key.partition(":")
    return main_name(module) + colon + qualname


def found_by_name(module: str, name: str) -> Any:
    """What an unpickler finds, unless it is told otherwise."""
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def in_main(find_class: FindClass) -> FindClass:
    """The same, for which the script of a worker is that of the program."""

    def find(module: str, name: str) -> Any:
        return find_class(main_name(module), name)

    return find
