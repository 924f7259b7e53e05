"""Pages: templates of Jinja, which escape all that they are given."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup, escape
from pygments import lex
from pygments.lexers.diff import DiffLexer
from pygments.lexers.python import PythonLexer, PythonTracebackLexer
from pygments.token import STANDARD_TYPES
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from snapshot.errors import UsageError
from snapshot.store import wording
from snapshot.web.site import Site

# What the pages are called that can be gone to from everywhere, and where they are.
PLACES: Mapping[str, str] = {
    "Calls": "/calls",
    "Functions": "/functions",
    "Heat": "/heat",
    "Memo": "/memo",
    "Objects": "/objects",
    "Sessions": "/sessions",
}

_LEXERS = {
    "python": PythonLexer(stripnl=False, ensurenl=False),
    "traceback": PythonTracebackLexer(stripnl=False, ensurenl=False),
    "diff": DiffLexer(stripnl=False, ensurenl=False),
}
_LIT = 50_000  # characters: a longer text has no colours
_WIDE = 400  # characters of a line: where one is longer the lexers take their time, squared


class _Anything(Convertor[str]):
    """`{name:anything}` of a route: a name may have slashes, and the ends of lines."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("anything", _Anything())


def site_of(request: Request) -> Site:
    """What all pages share."""
    site: Site = request.app.state.site
    return site


def render(request: Request, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """The page that a template makes of these values.

    A template has `site`, `places`, `path` (of this page), `form_token` and `may_change` as well.
    """
    site = site_of(request)
    text = (
        _environment()
        .get_template(template)
        .render(
            values
            | {
                "site": site,
                "places": PLACES,
                "path": request.url.path,
                "query": request.url.query,
                "form_token": site.keys.form,
                "may_change": not (site.options.read_only or site.options.exporting),
                "exporting": site.options.exporting,
            }
        )
    )
    # A file may have a name that is no text: it is shown with marks in the place of what is none.
    return HTMLResponse(text.encode(errors="replace"), status)


def seen(where: str) -> RedirectResponse:
    """What a form is answered with: a page that can be loaded again."""
    return RedirectResponse(where, 303)


def field(request: Request, name: str, default: str = "") -> str:
    """What a form has said under that name."""
    form: dict[str, list[str]] = request.state.form
    return form.get(name, [default])[0]


def fields(request: Request, name: str) -> list[str]:
    """All that a form has said under that name."""
    form: dict[str, list[str]] = request.state.form
    return form.get(name, [])


def asked(request: Request, name: str) -> str | None:
    """What the address says under that name; None for nothing, or blanks."""
    return request.query_params.get(name, "").strip() or None


def number(request: Request, name: str, default: int, most: int = 1 << 62) -> int:
    """The same as a number from 0. Raises `UsageError`."""
    text = asked(request, name)
    if text is None:
        return default
    if not (text.isdecimal() and text.isascii() and len(text) < 19 and int(text) <= most):
        raise UsageError(f"{name}={text!r}: give a number from 0 to {most:,}")
    return int(text)


def address(path: str, /, **query: object) -> str:
    """An address of a page here; what of the query is None or empty is left out."""
    told = {name: each for name, each in query.items() if each is not None and each != ""}
    return path + (f"?{urlencode(told, errors='surrogateescape')}" if told else "")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("snapshot.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
    )
    environment.globals |= {"address": address}
    environment.filters |= {
        "when": wording.when,
        "iso": _iso,
        "ago": _ago,
        "duration": wording.duration,
        "size": wording.size,
        "so_many": wording.so_many,
        "number": lambda count: f"{count:,}",
        "quoted": lambda text: quote(text, safe="", errors="surrogateescape"),
        "coloured": coloured,
        "lines": lambda text, kind="python": [*_lines(text.rstrip("\n"), kind)],
    }
    return environment


def _iso(moment: float) -> str:
    """For the attribute `datetime` of an element `time`."""
    try:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""


def _ago(moment: float) -> str:
    return f"{wording.age(time.time() - moment)} ago"


def coloured(text: str, kind: str = "python") -> Markup:
    """Source, a `traceback` or a `diff`, with classes for its colours."""
    return Markup("\n").join(_lines(text, kind))


def _lines(text: str, kind: str) -> Iterator[Markup]:
    lines = text.split("\n")
    if len(text) > _LIT or max(map(len, lines)) > _WIDE:
        yield from map(escape, lines)
        return
    line = Markup()
    for token, value in lex(text, _LEXERS[kind]):
        name = STANDARD_TYPES.get(token, "")
        first, *others = value.split("\n")
        for part, ends in ((first, False), *((each, True) for each in others)):
            if ends:
                yield line
                line = Markup()
            if part:
                shown = escape(part)
                line += Markup(f'<span class="hl-{name}">{shown}</span>') if name else shown
    yield line
