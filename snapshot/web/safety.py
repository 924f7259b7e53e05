"""Who is answered: whoever has opened the address with its token, from pages of this server.

A browser sends requests on behalf of any page that is open in it. So a request must name this
server as its host (against DNS rebinding), carry the cookie that was given for the token of the
address, and come from a page of ours; and whoever wants to change something must send what is
hidden in our forms. See RFC 6265 for cookies, and W3C's "Content Security Policy Level 3".
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MOST = 1 << 20  # bytes of a form

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            *("style-src 'self'", "script-src 'self'", "img-src 'self' data:"),
            *("connect-src 'self'", "form-action 'self'"),
            *("base-uri 'none'", "frame-ancestors 'none'"),
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Keys:
    """The secrets of a server. token: for its address. form: hidden in its forms."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(24)
        self.form = secrets.token_urlsafe(24)
        self._cookie = secrets.token_urlsafe(24)

    def is_token(self, given: str) -> bool:
        return _same(given, self.token)

    def is_cookie(self, given: str) -> bool:
        return _same(given, self._cookie)

    def is_form(self, given: str) -> bool:
        return _same(given, self.form)

    def cookie(self, name: str) -> str:
        """The header that gives it to a browser."""
        return f"{name}={self._cookie}; Path=/; HttpOnly; SameSite=Lax"


class _Refused(Exception):
    """status, why: what is answered."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())


class Safety:
    """Answers what is allowed by `application`, and refuses the rest.

    hosts: those that requests may name, whatever the port, which may be forwarded. any_address:
    any address in numbers will do, too. name: of the cookie, which browsers send to all ports of a
    host. What a form has said is in `request.state.form`.
    """

    def __init__(
        self,
        application: ASGIApp,
        keys: Keys,
        *,
        hosts: Iterable[str],
        any_address: bool,
        name: str,
        read_only: bool,
        refuse: Callable[[Request, int, str], Response],
    ) -> None:
        self._application = application
        self._keys = keys
        self._hosts = frozenset(each.lower() for each in hosts)
        self._any_address = any_address
        self._name = name
        self._read_only = read_only
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI wants it."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for each, value in HEADERS.items():
                    headers.setdefault(each, value)
            await send(message)

        try:
            await self._checked(scope, receive, answer)
        except ClientDisconnect:
            pass  # in the middle of a form
        except _Refused as refused:
            response = self._refuse(Request(scope), refused.status, refused.why)
            await response(scope, receive, answer)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self._check_host(request.headers)
        if request.url.path.startswith("/static/"):  # nobody's secret
            await self._application(scope, receive, send)
            return
        given = request.query_params.get("token")
        if given is not None and request.method == "GET" and self._keys.is_token(given):
            rest = [each for each in request.query_params.multi_items() if each[0] != "token"]
            path = "/" + request.url.path.lstrip("/")  # `//` would lead to another host
            where = path + (f"?{urlencode(rest)}" if rest else "")
            cookie = {"Set-Cookie": self._keys.cookie(self._name)}
            await RedirectResponse(where, 303, cookie)(scope, receive, send)
            return
        if not any(map(self._keys.is_cookie, _cookies(request.headers, self._name))):
            raise _Refused(
                403,
                "this page needs the token: open the address that `snapshot web` printed, all of "
                "it, with what is behind `token=`",
            )
        self._check_origin(request)
        scope.setdefault("state", {})["form"] = await self._form(request)
        await self._application(scope, receive, send)

    def _check_host(self, headers: Headers) -> None:
        """A page of somebody else's can let its name lead to us, but not a name of ours to it."""
        given = headers.getlist("host")
        name = re.sub(r":\d+$", "", given[0].lower()) if len(given) == 1 else ""
        if name in self._hosts or (self._any_address and _is_address(name)):
            return
        raise _Refused(421, f"this server is not {', '.join(given)!r}")

    def _check_origin(self, request: Request) -> None:
        """Of a page of ours, or of nobody: typed in, or not from a browser."""
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{request.url.scheme}://{request.headers['host']}":
            raise _Refused(403, f"pages of {origin} may not use this server")
        site = request.headers.get("sec-fetch-site", "none")
        follows_link = (
            request.method == "GET" and request.headers.get("sec-fetch-mode") == "navigate"
        )
        if site not in ("same-origin", "none") and not follows_link:
            raise _Refused(403, "other pages may not use this server")

    async def _form(self, request: Request) -> dict[str, list[str]]:
        if request.method in ("GET", "HEAD"):
            return {}
        if request.method != "POST":
            raise _Refused(405, f"nothing is done by {request.method}")
        if self._read_only:
            raise _Refused(403, "this server was started with --read-only: it only shows")
        body = b""
        async for each in request.stream():
            body += each
            if len(body) > _MOST:
                raise _Refused(413, f"a form has no more than {_MOST:,} bytes")
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body))
        except ValueError:
            raise _Refused(400, "that is no form") from None
        form: dict[str, list[str]] = {}
        for name, value in pairs:
            form.setdefault(name, []).append(value)
        if not self._keys.is_form(form.pop("form-token", [""])[0]):
            raise _Refused(
                403, "the form is of another run of this server: load its page again, and retry"
            )
        return form


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _cookies(headers: Headers, name: str) -> Iterator[str]:
    """Those of that name, among others of servers on this machine, which may be of any form."""
    for each in ";".join(headers.getlist("cookie")).split(";"):
        found, _, value = each.strip().partition("=")
        if found == name:
            yield value
