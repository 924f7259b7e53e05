"""Look at calls, heat, memo and running sessions in a browser.

Prints an address with a token in it, which opens the explorer in a browser on this machine; it is
served until Ctrl-C. With --export the pages are written into a folder instead, to be opened from
there.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snapshot.commands import stores
from snapshot.errors import UsageError
from snapshot.store import wording

if TYPE_CHECKING:
    from snapshot.web.site import Options

USAGE = "[--open] [--port PORT] [--read-only] [--export DIR [--most N]] [--store WHERE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it is served, and what it shows."""
    add_serving(parser)
    parser.add_argument(
        "--root", metavar="DIR", default=".", help="of the application whose heat is shown"
    )
    parser.add_argument(
        "--export", metavar="DIR", help="write the pages into a folder, which is new or empty"
    )
    parser.add_argument(
        "--most",
        metavar="N",
        help="how many calls have a page of their own in there, the newest; default: 1,000",
    )


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Where it is served, and of which store."""
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument(
        "--port", metavar="PORT", help="of this machine; default: 8642, or one that is free"
    )
    parser.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="where it listens; default: 127.0.0.1, which is reached from this machine alone",
    )
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="nothing can be changed, deleted or run from the pages",
    )
    stores.add_store(parser)


def execute(options: argparse.Namespace) -> int:
    """Serve, or write the pages. Raises `UsageError`, `StoreError`."""
    if options.export is not None:
        return _export(options)
    if options.most is not None:
        raise UsageError("--most is of no use without --export: it says how many pages are written")
    explore(options, "/")
    return 0


def _export(options: argparse.Namespace) -> int:
    """Write the pages; 1 if some could not be made. Raises `UsageError`, `StoreError`."""
    with _extra():
        from snapshot.web.exporting import MOST, export
    most = MOST if options.most is None else _count(options.most)
    progress = stores.Progress(0, "pages")
    try:
        done = export(_options(options), options.export, most=most, tell=progress.reach)
    finally:
        progress.close()
    left_out = []
    if done.older:
        have = "has" if done.older == 1 else "have"
        their = "its" if done.older == 1 else "their"
        left_out.append(
            f"{wording.so_many(done.older, 'older call')} {have} no page of {their} own"
        )
    if done.cut:
        left_out.append(f"not everything has one in {', '.join(done.cut)}")
    told = f"wrote {wording.so_many(done.pages, 'page')} to {options.export}"
    stores.tell(f"{told}; {', '.join(left_out)}: --most" if left_out else told)
    stores.say(f"not written: {each}" for each in done.failed)
    return int(bool(done.failed))


def explore(options: argparse.Namespace, path: str) -> None:
    """Serve; the address leads to that page. Raises `UsageError`."""
    with _extra():
        from snapshot.web.serving import serve
    serve(
        _options(options),
        host=options.host,
        port=_port(options.port),
        path=path,
        browse=options.open,
    )


@contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the explorer needs {error.name}: install the extra, `pip install 'snapshot[web]'`"
        ) from None


def _options(options: argparse.Namespace) -> Options:
    from snapshot.web.site import Options

    return Options(
        store=options.store,
        trust=options.trust,
        read_only=options.read_only,
        root=options.root,
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) < 10):
        raise UsageError(f"--most {text}: give a number, such as 1000")
    return int(text)


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) < 6 and int(text) < 1 << 16):
        raise UsageError(f"--port {text}: give a number up to 65535")
    return int(text)
