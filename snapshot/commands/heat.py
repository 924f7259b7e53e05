"""Which functions of an application really run, and safe edits of the cold ones.

The root of the application is the nearest folder upwards with a file `snapshot.rootmarker`, which
may be empty, and says what is ignored.

  run PROGRAM          run a program, and count the calls of the application's functions
  fetch                list functions with what is known of their calls
  map                  the same as a picture
  restore KEY...       take functions that were gone out of the archive
  files                list the files of the application
  srcs                 list its functions, and where they are
  cache warm|clear     read all files now, or forget what is kept of them
  ignore KEY...        add functions, or patterns of keys, to those that are ignored
  rm KEY...            remove cold functions from the text, after showing the diff
  undo                 put back what was removed last
  connect              open the explorer on it
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from snapshot.commands import stores, web
from snapshot.commands.heat_inventory import add_root, inventory_of, progress
from snapshot.errors import UsageError

if TYPE_CHECKING:
    from snapshot.heat.inventory import Inventory
    from snapshot.heat.removal import Removal

_REPORTS = ("fetch", "map", "restore")

USAGE = "run|fetch|map|restore|files|srcs|cache|ignore|rm|undo|connect ..."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do; the rest is parsed for it."""
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def execute(options: argparse.Namespace) -> int:
    """Do it. Raises `SnapshotError`."""
    words: list[str] = options.words
    known = ", ".join(["run", *_REPORTS, *_SUBCOMMANDS])
    if not words:
        raise UsageError(f"say what to do, one of {known}")
    name, *rest = words
    add: Callable[[argparse.ArgumentParser], None]
    do: Callable[[argparse.Namespace], int]
    if name == "run":
        from snapshot.commands import heat_run

        add, do = heat_run.add_arguments, heat_run.execute
    elif name in _REPORTS:
        from snapshot.commands import heat_reports

        add, do = heat_reports.SUBCOMMANDS[name]
    elif name in _SUBCOMMANDS:
        add, do = _SUBCOMMANDS[name]
    else:
        raise UsageError(f"{name!r} is none of {known}")
    options.prog = f"snapshot heat {name}"
    parser = argparse.ArgumentParser(options.prog, description=do.__doc__, allow_abbrev=False)
    add_root(parser)
    add(parser)
    parser.parse_args(rest, options)
    status: int = do(options)
    return status


# The application.


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text")


def _add_nothing(parser: argparse.ArgumentParser) -> None:
    """It has no arguments."""


def _files(options: argparse.Namespace) -> int:
    """List the files whose functions are counted."""
    from snapshot.heat import rootmarker

    marker = rootmarker.find(options.root)
    stores.say(marker.unmatched())
    paths = marker.paths()
    if options.format == "json":
        stores.tell(json.dumps(paths))
    else:
        stores.tell(*paths)
    return 0


def _srcs(options: argparse.Namespace) -> int:
    """List the functions that are counted, and where they are."""
    inventory = inventory_of(options.root)
    if options.format == "json":
        facts = [asdict(each) | {"name": inventory.name_of(each)} for each in inventory]
        stores.tell(json.dumps(facts, indent=2))
    else:
        stores.tell(*(f"{inventory.name_of(each)}  {each.path}:{each.line}" for each in inventory))
    return 0


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("warm", "clear"))


def _cache(options: argparse.Namespace) -> int:
    """Read all files now, so that the next start is fast, or forget what is kept of them."""
    from snapshot.heat import inventory, rootmarker

    if options.action == "clear":
        there = inventory.clear_cache(rootmarker.find(options.root).root)
        stores.tell("what was kept is forgotten" if there else "nothing was kept")
        return 0
    found = inventory_of(options.root)
    stores.tell(f"{len(found)} functions in {len(found.modules)} files of {found.root}")
    return 0


# What is ignored.


def _add_ignore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("keys", nargs="+", metavar="KEY", help="a key, or a pattern of keys")


def _ignore(options: argparse.Namespace) -> int:
    """Add functions to those that are neither counted nor listed, in the root marker."""
    from snapshot.heat import rootmarker

    inventory = inventory_of(options.root)
    for key in options.keys:
        if not inventory.matching(key):
            inventory.find(key)  # which tells what is like it
    added = rootmarker.ignore(inventory.marker, options.keys)
    for key in options.keys:
        count = len(inventory.matching(key))
        what = "1 function" if count == 1 else f"{count} functions"
        stores.tell(f"{key}: {what} ignored" + ("" if key in added else ", as before"))
    return 0


# What is removed.


def _add_rm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "keys", nargs="+", metavar="KEY", help="module:qualname, or module:qualname@line"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument(
        "--force",
        action="store_true",
        help="though they may be called; what leads to them gets a comment",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    stores.add_place(parser)


def _rm(options: argparse.Namespace) -> int:
    """Remove cold functions that nothing leads to, and imports of them, after showing the diff.

    Status 1: something leads to them, or the answer was no.
    """
    from snapshot.heat import undo
    from snapshot.heat.removal import plan
    from snapshot.heat.reports import coldness

    inventory = inventory_of(options.root)
    functions = list(dict.fromkeys(inventory.find(each) for each in options.keys))
    names = [inventory.name_of(each) for each in functions]
    with progress("files are searched, or edited") as step:
        removal = plan(
            inventory,
            functions,
            is_cold=coldness(inventory.root, options.store),
            force=options.force,
            progress=step,
        )
    stores.write(removal.diff())
    _tell_stops(inventory, removal)
    if removal.stops and not options.force:
        stores.say(["nothing was removed: see to these places first, or give --force"])
        return 1
    if options.dry_run:
        return 0
    if not (options.yes or _agreed(names)):
        return 1
    undo.write(inventory.root, removal.changes, names)
    stores.tell(f"removed {', '.join(names)}: `snapshot heat undo` puts it back")
    return 0


def _tell_stops(inventory: Inventory, removal: Removal) -> None:
    lines = (
        f"{each.path}:{each.line}: {inventory.name_of(function)}: {each.kind}"
        for function, each in removal.stops
    )
    stores.tell(*dict.fromkeys(lines))


def _agreed(names: list[str]) -> bool:
    """Whether the answer on standard input is yes. Raises `UsageError` where there is none."""
    print(f"remove {', '.join(names)}? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline() if sys.stdin is not None else ""
    if not answer:
        print(file=sys.stderr)
        raise UsageError("nobody answers on standard input: give --yes, and nothing was removed")
    if re.fullmatch(r"\s*y(es)?\s*", answer, re.IGNORECASE):
        return True
    stores.say(["nothing was removed"])
    return False


def _undo(options: argparse.Namespace) -> int:
    """Put back what was removed last, unless its files have been changed since."""
    from snapshot.heat import rootmarker, undo

    names, files = undo.undo(rootmarker.find(options.root).root)
    stores.tell(f"put back {', '.join(names)}, in {', '.join(files)}")
    return 0


def _connect(options: argparse.Namespace) -> int:
    """Look at it in a browser: the explorer begins with its heat."""
    from snapshot.heat import rootmarker, tracing

    options.root = rootmarker.find(options.root).root
    place = tracing.store_of(options.root, options.store)
    options.store = place.url or place.path
    web.explore(options, "/heat")
    return 0


_SUBCOMMANDS: dict[
    str,
    tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]],
] = {
    "files": (_add_format, _files),
    "srcs": (_add_format, _srcs),
    "cache": (_add_cache, _cache),
    "ignore": (_add_ignore, _ignore),
    "rm": (_add_rm, _rm),
    "undo": (_add_nothing, _undo),
    "connect": (web.add_serving, _connect),
}
