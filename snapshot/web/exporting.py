"""The pages of the explorer as files, which a browser opens without a server.

They are those of the application itself, which is asked for the first one and then for those that
it leads to. What only a server can do is taken out of them: forms, and links to what is chosen,
sorted, live or made when it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import re
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from html import escape, unescape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

from starlette.applications import Starlette
from starlette.types import Message

from snapshot.errors import UsageError
from snapshot.store.wording import so_many
from snapshot.web.application import application
from snapshot.web.pages import PLACES
from snapshot.web.paging import ROWS
from snapshot.web.site import Options, Site

MOST = 1000  # pages of a kind

_HOST = "localhost"
_SERVED = frozenset({"events", "jobs", "sessions"})  # what there is only while a server runs
_NAMES = frozenset({"page", "key", "path", "in", "application"})  # say which page it is
_BESIDE = frozenset({"line"})  # where to look on it

# Browsers do not agree on whether `self` is a folder of files.
_POLICY = (
    "default-src 'none'; style-src 'self' file:; img-src 'self' file: data:; base-uri 'none'; "
    "form-action 'none'"
)

# All that is shown is escaped: a page has no `<`, `>` or `"` but those of its elements.
_ATTRIBUTES = r"((?:[^>\"]|\"[^\"]*\")*)"
_LINK = re.compile(rf"<a\b{_ATTRIBUTES}>(.*?)</a>", re.DOTALL)
_LOADED = re.compile(rf"<(?:link|img|image|use)\b{_ATTRIBUTES}>")
_LEADING = re.compile(r"\s(?:xlink:)?(?:href|src)=\"([^\"]*)\"")
_OF_LINKS = re.compile(r"\s(?:tabindex|rel|target|download|aria-current|aria-label)=\"[^\"]*\"")
_BUTTON = re.compile(r"\sclass=\"(?:[^\"]* )?button[ \"]")
_FORM = re.compile(r"<form\b.*?</form>", re.DOTALL)
_SERVER_ONLY = re.compile(
    r"<(button|select|textarea|datalist|script|noscript)\b.*?</\1>|</?form\b[^>]*>|<input\b[^>]*>"
    r"|\sdata-events=\"[^\"]*\"",
    re.DOTALL,
)
_MAIN = re.compile(rf"<main\b{_ATTRIBUTES}>")
_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")
_LONG = 90  # characters of a file's name


@dataclass(frozen=True)
class Exported:
    """What was written. pages: how many. older: calls that have no page of their own.

    cut: the names of other lists of which not everything has one. failed: pages that could not be
    made, by their addresses, and why, in lines.
    """

    pages: int
    older: int
    cut: list[str]
    failed: list[str]


def export(
    options: Options,
    directory: str | os.PathLike[str],
    *,
    most: int = MOST,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write the pages into a folder, which is new or empty: all of them, or none.

    most: how many calls have a page of their own, the newest ones, and how many pages there are of
    any other kind, those that the lists lead to first. tell: called with how many pages are made,
    and how many are known of.

    Raises `UsageError` for a folder that cannot be written, `NoStore`, `StoreError`.
    """
    wanted = Path(directory)
    with contextlib.closing(Site(replace(options, exporting=True))) as site:
        try:
            with _whole(wanted) as folder:
                return asyncio.run(_Export(site, folder, most, tell).run())
        except OSError as error:
            raise UsageError(f"cannot write {wanted}: {error.strerror or error}") from None


@contextlib.contextmanager
def _whole(wanted: Path) -> Iterator[Path]:
    """A folder that becomes that one, or its content, in the end; is nowhere after a failure."""
    exists = os.path.lexists(wanted)
    if exists and not wanted.is_dir():
        raise UsageError(f"{wanted} is a file: name a folder that is new, or empty")
    if exists and any(wanted.iterdir()):
        raise UsageError(f"{wanted} is not empty: name a folder that is new, or empty")
    # What is there stays itself: it may be somebody's working directory, or have been mounted.
    beside = wanted if exists else wanted.absolute().parent
    temporary = Path(tempfile.mkdtemp(prefix=".snapshot-export-", dir=beside))
    try:
        yield temporary
        if exists:
            for each in [*temporary.iterdir()]:
                each.rename(wanted / each.name)
        else:
            temporary.rename(wanted)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class _Export:
    """One export. Pages are kept on disk as they come, until it is known which of them there are.

    _files: by its address, the file of a page. _leads: addresses that lead to another one.
    _taken: names of files, in lower case. _kinds: how many pages there are of each. _refused:
    addresses for which there was no room.
    """

    site: Site
    folder: Path
    most: int
    tell: Callable[[int, int], None]
    _files: dict[str, str] = field(default_factory=dict)
    _leads: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    _calls: frozenset[str] = frozenset()
    _older: int = 0
    _kinds: Counter[str] = field(default_factory=Counter)
    _refused: set[str] = field(default_factory=set)
    _failed: list[str] = field(default_factory=list)

    async def run(self) -> Exported:
        with self.site.store() as store:
            newest = store.calls.find(newest=True, limit=self.most)
            self._calls = frozenset(str(each.id) for each in newest)
            self._older = max(0, store.calls.count() - len(self._calls))
        pages = await self._collect()
        for each in pages:
            self._finish(each)
        shutil.copy(self.folder / self._files[self._found("/")], self.folder / "index.html")
        kinds = {urlsplit(each).path.split("/")[1] for each in self._refused} - {"calls"}
        cut = [name for name, where in PLACES.items() if where[1:] in kinds]
        return Exported(len(pages), self._older, cut, self._failed)

    async def _collect(self) -> list[str]:
        """Write the first page as it is, and all that it leads to. The addresses of the pages."""
        made = application(self.site, hosts=[_HOST])
        waiting, known = deque(["/"]), {"/"}
        pages: list[str] = []
        for done in itertools.count(1):
            if not waiting:
                return pages
            address = waiting.popleft()
            answer = await _ask(made, self.site, address)
            found = []
            if answer.status in (301, 302, 303, 307, 308):
                target = _canonical(address, answer.headers.get("location", ""))
                if target is not None and target != address:
                    self._leads[address] = target
                    found.append(target)
            elif answer.status != 200:
                if answer.status != 404:
                    self._failed.append(f"{address}: {_told(answer)}")
            elif address.startswith("/static/") or _is_page(answer):
                path = self.folder / self._name(address)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(answer.body)
                self._files[address] = path.relative_to(self.folder).as_posix()
                if _is_page(answer):
                    pages.append(address)
                    found += _links(address, answer.body.decode())
            for each in found:
                if each in known or each in self._refused:
                    continue
                if self._has_room(each):
                    known.add(each)
                    waiting.append(each)
                else:
                    self._refused.add(each)
            self.tell(done, len(known))
        raise AssertionError

    def _has_room(self, address: str) -> bool:
        """Whether one more page of its kind may be written."""
        parts = urlsplit(address)
        query = dict(parse_qsl(parts.query))
        if "page" in query:
            page = query["page"]
            return page.isdecimal() and (int(page) - 1) * ROWS < self.most
        kind, *which = parts.path[1:].split("/")
        if kind == "static" or not which:
            return True
        if kind == "calls":
            return which[0] in self._calls
        self._kinds[kind] += 1
        return self._kinds[kind] <= self.most

    def _found(self, address: str) -> str:
        """Where an address leads to in the end."""
        for _ in range(5):
            address = self._leads.get(address, address)
        return address

    def _name(self, address: str) -> str:
        """The file of an address: readable, and safe on any file system."""
        parts = urlsplit(address)
        texts = [unquote(each) for each in parts.path.strip("/").split("/")]
        if texts[0] == "static":
            return "/".join(texts)
        texts[-1] += "".join(f"-{name}-{each}" for name, each in parse_qsl(parts.query))
        plain = [_plain(each) for each in texts]
        folders = [f"{each}-" if each.lower().endswith(".html") else each for each in plain[:-1]]
        base = "/".join([*folders, plain[-1]])
        same = [each.replace(":", "-") for each in texts] == plain
        if not same or f"{base}.html".lower() in self._taken | {"index.html"}:
            base += f"-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
        self._taken.add(f"{base}.html".lower())
        return f"{base}.html"

    def _finish(self, address: str) -> None:
        """Let a page lead to files, and have nothing that needs a server."""
        name = self._files[address]
        path = self.folder / name
        up = "../" * name.count("/")
        is_cut = False

        def where(link: str) -> str | None:
            nonlocal is_cut
            if link.startswith("#"):
                return link
            target = _canonical(address, link)
            if target is None:
                return None
            file = self._files.get(self._found(target))
            if file is None:
                is_cut |= target in self._refused
                return None
            _, mark, fragment = link.partition("#")
            return up + quote(file) + mark + fragment

        text = _relinked(_without_forms(path.read_text("utf-8")), where)
        policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        text = text.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n  {policy}', 1)
        if is_cut:
            text = _MAIN.sub(lambda each: each[0] + self._note(address), text, count=1)
        path.write_text(text, "utf-8")

    def _note(self, address: str) -> str:
        said = f"No more than {self.most:,} pages of a kind were written: not all that is named "
        said += "here can be gone to."
        if address.startswith("/calls") and self._older:
            said = (
                f"The newest {so_many(len(self._calls), 'call')} were written here; "
                f"{so_many(self._older, 'older call')} "
                f"{'has' if self._older == 1 else 'have'} no page of "
                f"{'its' if self._older == 1 else 'their'} own."
            )
        return f'\n    <p class="note">{said}</p>'


async def _ask(made: Starlette, site: Site, address: str) -> _Answer:
    """What the application answers."""
    path, _, query = address.partition("?")
    cookie = site.keys.cookie("snapshot-0").partition(";")[0]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", _HOST.encode()), (b"cookie", cookie.encode())],
        "client": None,
        "server": (_HOST, 80),
    }
    messages: list[Message] = []
    asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        for each in asked:
            return each
        await asyncio.Event().wait()  # nobody goes away before it is answered
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    await made(scope, receive, send)
    start: Any = messages[0]
    headers = {
        name.decode("latin-1").lower(): each.decode("latin-1") for name, each in start["headers"]
    }
    return _Answer(
        start["status"], headers, b"".join(each.get("body", b"") for each in messages[1:])
    )


def _is_page(answer: _Answer) -> bool:
    return answer.headers.get("content-type", "").startswith("text/html")


def _told(answer: _Answer) -> str:
    """What a page says that is none."""
    found = re.search(r'<p class="note[^"]*">(.*?)</p>', answer.body.decode(errors="replace"))
    return unescape(found[1]) if found else f"status {answer.status}"


def _canonical(base: str, link: str) -> str | None:
    """The address that a link leads to from there, without what is the same page; None for none.

    No page is chosen by more than `_NAMES`: of what can be filtered and sorted there is no end.
    """
    try:
        parts = urlsplit(urljoin(f"http://{_HOST}{base}", link))
    except ValueError:
        return None
    if (parts.scheme, parts.netloc) != ("http", _HOST):
        return None
    path = "/" + "/".join(quote(unquote(each), safe="") for each in parts.path[1:].split("/"))
    if path.split("/")[1] in _SERVED:
        return None
    query = [
        each
        for each in parse_qsl(parts.query, keep_blank_values=True)
        if each[0] not in _BESIDE and each != ("page", "1")
    ]
    if not _NAMES.issuperset(name for name, _ in query):
        return None
    return path + (f"?{urlencode(sorted(query))}" if query else "")


def _links(base: str, text: str) -> Iterator[str]:
    """The addresses that a page leads to."""
    for each in _LEADING.finditer(_without_forms(text)):
        target = _canonical(base, unescape(each[1]))
        if target is not None and not each[1].startswith("#"):
            yield target


def _without_forms(text: str) -> str:
    """A form around a list is taken off it; any other one goes with all that is in it."""
    text = _FORM.sub(lambda form: form[0] if "<table" in form[0] else "", text)
    return _SERVER_ONLY.sub("", text)


def _relinked(text: str, where: Callable[[str], str | None]) -> str:
    """Links lead to where `where` says; those to None are text, and gone if they are buttons."""

    def leading(attributes: str) -> str | None:
        found = _LEADING.search(attributes)
        if found is None:
            return attributes
        target = where(unescape(found[1]))
        if target is None:
            return None
        begin, end = found.span(1)
        return f"{attributes[:begin]}{escape(target)}{attributes[end:]}"

    def link(found: re.Match[str]) -> str:
        attributes = leading(found[1])
        if attributes is not None:
            return f"<a{attributes}>{found[2]}</a>"
        if _BUTTON.search(found[1]):
            return ""
        return f"<a{_OF_LINKS.sub('', _LEADING.sub('', found[1]))}>{found[2]}</a>"

    def loaded(found: re.Match[str]) -> str:
        attributes = leading(found[1])
        return "" if attributes is None else found[0].replace(found[1], attributes)

    return _LOADED.sub(loaded, _LINK.sub(link, text))


def _plain(text: str) -> str:
    """A text as a part of the name of a file."""
    text = _PLAIN.sub("-", text)
    if text.startswith("."):
        text = f"-{text.lstrip('.')}"
    return text[:_LONG] or "-"
