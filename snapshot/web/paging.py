"""Long lists: pages of them, and the column by which they are sorted. Both are in the address."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from starlette.requests import Request

from snapshot.errors import UsageError
from snapshot.web.pages import address, asked, number

ROWS = 50


@dataclass(frozen=True)
class Pager:
    """A page of a list. page: its number, from 1. before, after: addresses of its neighbours."""

    page: int
    pages: int
    total: int
    before: str | None
    after: str | None

    @property
    def offset(self) -> int:
        """How many rows are before it."""
        return (self.page - 1) * ROWS


def pager(request: Request, total: int) -> Pager:
    """The page `?page=N` of so many rows; the last one, if there are fewer. Raises `UsageError`."""
    pages = max(1, -(-total // ROWS))
    page = min(max(1, number(request, "page", 1)), pages)

    def neighbour(other: int) -> str | None:
        return with_query(request, page=other) if 1 <= other <= pages else None

    return Pager(page, pages, total, neighbour(page - 1), neighbour(page + 1))


@dataclass(frozen=True)
class Sorting:
    """By which column the rows are sorted, and which way."""

    by: str
    down: bool
    request: Request

    def address(self, name: str) -> str:
        """Of the list sorted by another column, or the other way round."""
        down = not self.down if name == self.by else True
        return with_query(self.request, sort=name, way="down" if down else "up", page=None)


def sorting(request: Request, columns: Collection[str], default: str) -> Sorting:
    """`?sort=COLUMN&way=up|down`. Raises `UsageError` for another column."""
    by = asked(request, "sort") or default
    if by not in columns:
        raise UsageError(f"sort={by!r}: give one of {', '.join(columns)}")
    return Sorting(by, asked(request, "way") != "up", request)


def with_query(request: Request, **changes: object) -> str:
    """The address of this page, with other values in its query; None takes one away."""
    return address(request.url.path, **{**request.query_params, **changes})
