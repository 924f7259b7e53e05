"""The server: where it listens, and how it begins and ends."""

from __future__ import annotations

import contextlib
import html
import ipaddress
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path

import uvicorn
from starlette.concurrency import run_in_threadpool

from snapshot.errors import UsageError
from snapshot.web.application import application
from snapshot.web.site import Options, Site

PORT = 8642


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, site: Site, address: str, *, browse: bool) -> None:
        super().__init__(config)
        self._site = site
        self._address = address
        self._browse = browse
        self._after = contextlib.ExitStack()  # what is to be done when it has ended

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self.handle_exit)
            self._after.callback(signal.signal, signal.SIGHUP, signal.SIG_DFL)
        try:
            print(self._address, flush=True)
        except OSError as error:
            raise UsageError(
                f"the address cannot be written to standard output: {error.strerror}"
            ) from None
        if self._browse:
            folder = self._after.enter_context(tempfile.TemporaryDirectory(prefix="snapshot-"))
            threading.Thread(target=_open, args=(self._address, folder), daemon=True).start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._site.closing = True  # pages that wait for news would be waited for
        await super().shutdown(sockets)
        await run_in_threadpool(self._site.close)  # a signal ends this process soon
        self._after.close()


def _open(address: str, folder: str) -> None:
    """By a page that only this user can read: what a browser is started with, all users can."""
    page = Path(folder, "open.html")
    there = html.escape(address)
    page.write_text(
        f'<!doctype html><meta http-equiv="refresh" content="0; url={there}">'
        f'<a href="{there}">The explorer</a>\n'
    )
    if not webbrowser.open(page.as_uri()):
        print("snapshot: no browser can be opened: open the address above", file=sys.stderr)


def serve(
    options: Options,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    path: str = "/",
    browse: bool = False,
) -> None:
    """Serve the explorer until the process is told to end (SIGINT, SIGTERM).

    The address with its token is printed on a line of its own when pages can be loaded.
    port: None takes `PORT`, or any that is free where that is taken; 0 any. path: of the page that
    the address leads to. browse: open it in a browser.

    Raises `UsageError` where it cannot listen there, or cannot tell the address.
    """
    if sys.stdout is None:
        raise UsageError("standard output is closed: nobody would be told the address")
    listening = _listen(host, port)
    with contextlib.closing(listening):
        number = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        local = _is_loopback(host)
        site = Site(options)
        if not local:
            print(
                f"snapshot: whoever reaches {shown}:{number} and sees what is sent there, which is "
                "not encrypted, can do what you can do here",
                file=sys.stderr,
            )
            if ipaddress.ip_address(host).is_unspecified:
                shown = socket.gethostname()
        address = f"http://{shown}:{number}{path}?token={site.keys.token}"
        config = uvicorn.Config(
            application(site, hosts=_names(host), any_address=not local, port=number),
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        try:
            with contextlib.suppress(KeyboardInterrupt):
                _Server(config, site, address, browse=browse).run([listening])
        finally:
            site.close()


def _listen(host: str, port: int | None) -> socket.socket:
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        raise UsageError(f"--host {host}: give an address, such as 127.0.0.1 or 0.0.0.0") from None
    # With its protocol told, asyncio sets TCP_NODELAY; else each page would wait for 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        for each in (PORT, 0) if port is None else (port,):
            try:
                listening.bind((host, each))
                listening.listen(512)
                return listening
            except OSError as error:
                if port is None and each:
                    continue
                raise UsageError(
                    f"cannot listen on {host}:{each}: {error.strerror}; give another --port, or "
                    "none"
                ) from None
        raise AssertionError
    except BaseException:
        listening.close()
        raise


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _names(host: str) -> set[str]:
    """What requests may call this machine."""
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}
    return names if _is_loopback(host) else {*names, socket.gethostname(), socket.getfqdn()}
