"""The command `snapshot`: one file here for each of its subcommands.

Such a file has a docstring, whose first line is shown by `snapshot --help` and all of it by its
own; `USAGE`, what follows its name on the command line; `add_arguments(parser)`; and
`execute(options) -> int`, which returns the exit status. `options.own_process` says whether this
process is the command's own, and not a program's that calls `main`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, TextIO

import snapshot
from snapshot.errors import CannotRun, SnapshotError, UsageError

if TYPE_CHECKING:
    from snapshot.repl.launcher import Program

COMMANDS = (
    *(
        "calls",
        "debug",
        "delete",
        "doctor",
        "export",
        "heat",
        "import",
        "jupyter",
        "memo",
        "record",
        "repl",
        "replay",
        "run",
    ),
    *("script", "show", "vacuum", "web"),
)

_PROGRAMS = ("debug", "jupyter", "record", "repl", "run")

PROGRAM_USAGE = "script [args...] | -m module [args...] | -c code [args...]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `snapshot`; `argv` is what follows its name, by default on the command line.

    Returns the exit status: 2 for what cannot be done as asked, which one line on standard error
    explains. SystemExit comes through, of a program that was run and of the help texts.
    """
    parser = argparse.ArgumentParser(
        "snapshot", description=f"{snapshot.__doc__}".partition("\n")[0], allow_abbrev=False
    )
    add_version(parser)
    commands = parser.add_subparsers(metavar="command", required=True)
    words = [*(sys.argv[1:] if argv is None else argv)]
    parser.set_defaults(own_process=argv is None)
    if (words[:1] and words[0] in _PROGRAMS) or words[:2] == ["heat", "run"]:
        return _main(parser, commands, words)  # what Ctrl-C does is the program's affair
    try:
        return _main(parser, commands, words)
    except KeyboardInterrupt:
        print(f"{' '.join(['snapshot', *words[:1]])}: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _main(parser: argparse.ArgumentParser, commands: Any, words: list[str]) -> int:
    for name in words[:1] if words[:1] and words[0] in COMMANDS else COMMANDS:
        module = import_module(f"{__name__}.{name}{'_' * iskeyword(name)}")
        command = commands.add_parser(name, **describe(f"snapshot {name}", module))
        module.add_arguments(command)
        command.set_defaults(execute=module.execute, prog=command.prog)
    options = parser.parse_args(words)
    return perform(options.execute, options)


def perform(execute: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Execute a command; an error of ours gives status 2.

    As from Python itself, a program that does not parse, or is none, gives status 1.
    """
    try:
        return execute(options)
    except CannotRun as error:
        print(f"{options.prog}: {printable(str(error))}", file=sys.stderr)
        return 1
    except SnapshotError as error:
        print(f"{options.prog}: {printable(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read what it prints has seen enough
        drop_output()
        return 128 + signal.SIGPIPE
    except SyntaxError as error:
        sys.excepthook(type(error), error.with_traceback(None), None)
        return 1


def drop_output() -> None:
    """What was printed and could not be written is not tried again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def printable(text: str) -> str:
    """With the escapes of Python in the place of control characters but line ends and tabs."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else repr(each)[1:-1] for each in text
    )


def describe(prog: str, module: Any) -> dict[str, Any]:
    """The arguments of an `ArgumentParser` for a command that such a file describes."""
    text = module.__doc__.strip()
    return {
        "prog": prog,
        "usage": f"{prog} {module.USAGE}",
        "help": text.partition("\n")[0],
        "description": text,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def add_version(parser: argparse.ArgumentParser) -> None:
    """`--version`, the same for every command."""
    parser.add_argument("--version", action="version", version=f"snapshot {snapshot.__version__}")


def add_program(parser: argparse.ArgumentParser) -> None:
    """The program to run, as `python` takes it; all that follows it are its own arguments."""
    rest = argparse.REMAINDER
    parser.add_argument(
        "-m", nargs=rest, dest="module", help="a module to run, as `python -m` does"
    )
    parser.add_argument("-c", nargs=rest, dest="code", help="code to run, as `python -c` does")
    parser.add_argument("script", nargs=rest, help="a file to run, or a folder with a __main__.py")


def program(options: argparse.Namespace) -> Program | None:
    """The program that was asked for, None if none was. Raises `UsageError`."""
    from snapshot.repl import launcher

    rest: list[str] = options.script
    for option, given, make in (
        ("-m", options.module, launcher.module),
        ("-c", options.code, launcher.command),
    ):
        if given is not None:
            words = [*given, *rest]
            if not words:
                raise UsageError(f"nothing follows {option}")
            return make(words[0], words[1:])
    if rest[:1] == ["--"]:
        rest = rest[1:]
    return launcher.script(rest[0], rest[1:]) if rest else None


def is_terminal(stream: TextIO | None) -> bool:
    """Whether somebody can be asked, or told, through this stream."""
    return stream is not None and not stream.closed and stream.isatty()
