"""Runs a program as the module `__main__`, as Python itself would, and knows how it ended.

    Program ─────────── load ──> Main ─── run ──> the exception that ended it, or None
    where its code is            its globals

What cannot be run is found while loading: `UsageError` where it cannot be read, else `CannotRun`,
or `SyntaxError` as the compiler gives it. The module stays in place afterwards, for the prompt, for
pickle and for inspect.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import os
import pkgutil
import runpy
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import snapshot
from snapshot.errors import CannotRun, UsageError
from snapshot.repl import failure

if TYPE_CHECKING:
    from snapshot.repl.timemachine import TimeMachine

STDIN = "<stdin>"

# What the program finds in its globals afterwards, and where it comes from.
_AT_HAND = {
    "frames": "snapshot.repl.frames",
    "keep": "snapshot.keep",
    "revert": "snapshot.revert",
    "snapshot": "snapshot.snapshot",
    "snapshots": "snapshot.snapshots",
}


# Of the time machine, without `tm.` before them.
_BARE = ("past", "present", "states")


def _ours(name: str) -> Any:
    return failure.frames if name == "frames" else getattr(snapshot, name)


class _Code(NamedTuple):
    """What was found: the code, and what `__main__` and `sys.argv[0]` are to be for it."""

    code: CodeType
    attributes: dict[str, Any]
    argv0: str | None = None


@dataclass(frozen=True)
class Program:
    """A program that has not been looked for yet.

    argv: what it finds in `sys.argv`. folder: what it finds in `sys.path[0]`. source: its text, if
    that is in no file.
    """

    argv: list[str]
    folder: str
    find: Callable[[], _Code]
    source: str | None = None


def script(path: str, arguments: Sequence[str] = ()) -> Program:
    """A file; or a folder or zip file with a `__main__.py` in it."""
    if pkgutil.get_importer(path) is not None:
        find = functools.partial(_find_main, path)
        return Program([path, *arguments], os.path.abspath(path), find)
    try:
        folder = os.path.dirname(os.path.realpath(path))
    except FileNotFoundError:  # there is no working directory any more, and so no such file
        folder = ""
    return Program([path, *arguments], folder, functools.partial(_find_script, path))


def module(name: str, arguments: Sequence[str] = ()) -> Program:
    """A module, or a package with a `__main__` module, looked for from the working directory."""
    find = functools.partial(_find_module, name)
    return Program(["-m", *arguments], _working_directory(), find)


def command(source: str, arguments: Sequence[str] = ()) -> Program:
    """The source itself."""
    data = source.encode("utf-8", "surrogateescape")
    return Program(["-c", *arguments], "", lambda: _Code(_compiled(data, "<string>"), {}), source)


def nothing(argv: Sequence[str] = ("",)) -> Program:
    """No program: an empty `__main__`."""
    return Program([*argv], "", lambda: _Code(_compiled(b"", STDIN), {}))


class Main:
    """The module `__main__` of a program that has been loaded, and is run once.

    namespace: its globals. code: that is run.
    """

    def __init__(self, program: Program) -> None:
        """Find the program and put its arguments, import path and `__main__` in place.

        Raises `UsageError` or `SyntaxError` where it cannot be run; nothing has run then but,
        for a module, the packages that it is in.
        """
        sys.argv = list(program.argv)
        if not sys.flags.safe_path:
            sys.path[0] = program.folder
        self.code, attributes, argv0 = program.find()
        if argv0 is not None:
            sys.argv[0] = argv0
        main = ModuleType("__main__")
        self.namespace = vars(main)
        self.namespace.update(__builtins__=builtins, **attributes)
        sys.modules["__main__"] = main

    def run(self) -> BaseException | None:
        """Run the program. Returns the exception that it did not catch, None if it ended well."""
        return self._execute(self.code)

    def run_file(self, path: str) -> BaseException | None:
        """Run one more file in the same globals; raises `UsageError` where it cannot be read."""
        return self._compile_and_execute(_read(path), path)

    def run_standard_input(self) -> BaseException | None:
        """Run what is left on standard input, in the same globals, as Python runs it."""
        self.namespace.setdefault("__file__", STDIN)
        return self._compile_and_execute(_standard_input(), STDIN)

    def reopen_streams(self) -> None:
        """Open the standard streams again that are closed: `exit()` does that to standard input."""
        for fd, name in enumerate(("stdin", "stdout", "stderr")):
            for attribute in (f"__{name}__", name):
                if getattr(getattr(sys, attribute), "closed", False):
                    with contextlib.suppress(OSError):
                        stream = os.fdopen(fd, "w" if fd else "r", closefd=False)
                        setattr(sys, attribute, stream)

    def offer(self, machine: TimeMachine | None = None) -> None:
        """Put our own names into the globals, save those that the program has taken itself."""
        taken = {}
        ours = {name: (home, _ours(name)) for name, home in _AT_HAND.items()}
        if machine is not None:
            ours["tm"] = "snapshot.repl.timemachine", machine
            ours |= {name: (f"tm.{name}", getattr(machine, name)) for name in _BARE}
        for name, (home, value) in ours.items():
            if self.namespace.setdefault(name, value) is not value:
                taken[name] = home
        if taken:
            own, homes = ", ".join(taken), ", ".join(taken.values())
            print(
                f"snapshot: not set, as the program has its own: {own}; ours: {homes}",
                file=sys.stderr,
            )

    def _compile_and_execute(self, source: bytes, name: str) -> BaseException | None:
        try:
            return self._execute(_compiled(source, name))
        except SyntaxError as error:
            return error.with_traceback(None)

    def _execute(self, code: CodeType) -> BaseException | None:
        try:
            exec(code, self.namespace)
        except BaseException as error:
            return error
        return None


def exit_status(error: BaseException | None) -> int:
    """End as Python would after that exception, which has been shown: 1, or 0 for None.

    A SystemExit is raised again; and so is a KeyboardInterrupt, without a word, by which Python
    then dies of SIGINT as its parent expects.
    """
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, KeyboardInterrupt):
        sys.excepthook = lambda *_: None
        raise error
    return 0 if error is None else 1


def _working_directory() -> str:
    """As Python takes it for `sys.path`: nothing where the directory is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _find_script(path: str) -> _Code:
    name = os.path.join(_working_directory(), path)
    loader = SourceFileLoader("__main__", name)
    attributes = {"__file__": name, "__cached__": None, "__loader__": loader}
    return _Code(_compiled(_read(path), name), attributes)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror}") from None


def _find_main(path: str) -> _Code:
    code, attributes, _ = _details(path, cast(Any, runpy)._get_main_module_details)
    return _Code(code, attributes)


def _find_module(name: str) -> _Code:
    return _details(name, functools.partial(cast(Any, runpy)._get_module_details, name))


def _details(
    name: str, find: Callable[[type[Exception]], tuple[Any, ModuleSpec, CodeType]]
) -> _Code:
    """What runpy finds, which is what `python -m` runs."""
    try:
        _, spec, code = find(UsageError)
    except UsageError as error:
        raise CannotRun(f"cannot run {name!r}: {error}") from None
    except SyntaxError:
        raise
    except Exception as error:  # of the packages that it is in, which have been imported
        failure.show(error)
        reason = "a package that it is in cannot be imported"
        raise CannotRun(f"cannot run {name!r}: {reason}") from None
    attributes = {
        "__spec__": spec,
        "__package__": spec.parent,
        "__loader__": spec.loader,
        "__file__": spec.origin,
        "__cached__": spec.cached,
    }
    return _Code(code, attributes, spec.origin)


def _compiled(source: bytes, name: str) -> CodeType:
    try:
        return compile(source, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        error.filename = error.filename or name
        raise
    except ValueError as error:  # early patch releases of 3.11: null bytes
        raise SyntaxError(str(error), (name, None, None, None)) from None


def _standard_input() -> bytes:
    """All that the program has not read, as bytes: their encoding is the compiler's to judge."""
    stdin = cast("io.TextIOWrapper | None", sys.stdin)
    if stdin is None:
        return b""
    with contextlib.suppress(io.UnsupportedOperation):  # once something was read of it
        stdin.reconfigure(errors="surrogateescape")
    return stdin.read().encode(stdin.encoding, "surrogateescape")
