"""Look at calls, heat, memo and running sessions in a browser.

Prints an address with a token in it, which opens the explorer in a browser on this machine; it is
served until Ctrl-C. With --export the pages are written into a folder instead, to be opened from
there.
"""

from __future__ import annotations

import argparse

from snapshot.commands import stores
from snapshot.errors import UsageError

USAGE = "[--open] [--port PORT] [--read-only] [--export DIR] [--store WHERE]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where it is served, and what it shows."""
    add_serving(parser)
    parser.add_argument(
        "--root", metavar="DIR", default=".", help="of the application whose heat is shown"
    )
    parser.add_argument("--export", metavar="DIR", help="write the pages into a new folder")


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
    explore(options, "/")
    return 0


def explore(options: argparse.Namespace, path: str) -> None:
    """Serve; the address leads to that page. Raises `UsageError`."""
    try:
        from snapshot.web.serving import serve
        from snapshot.web.site import Options
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the explorer needs {error.name}: install the extra, `pip install 'snapshot[web]'`"
        ) from None
    serve(
        Options(
            store=options.store,
            trust=options.trust,
            read_only=options.read_only,
            root=options.root,
        ),
        host=options.host,
        port=_port(options.port),
        path=path,
        browse=options.open,
    )


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isdecimal() and text.isascii() and len(text) < 6 and int(text) < 1 << 16):
        raise UsageError(f"--port {text}: give a number up to 65535")
    return int(text)
