"""A treemap: what belongs to an application, by size, in the colours of what runs in it.

It is an SVG without scripts: by itself, with its colours, readable on light and dark; or a part of
a page, whose boxes are links, and whose stylesheet has a colour for each class of a legend.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 1200.0, 800.0
_HEAD = 16.0  # of the line with a name, above what is inside
_GAP = 1.0
_LEGEND = 24.0  # its height, above the map
_LETTER = 6.4  # width of one
_WARMTHS = 5
_DAY = 86400.0  # seconds
_AGES = (1.0, 7.0, 30.0, 90.0)  # days since it ran last, from the warmest on

# What colours tell: the classes, and what each means.
LEGENDS = {
    "hits": (
        *(("unknown", "unknown"), ("h0", "never ran"), ("h1", "ran")),
        *(("h2", ""), ("h3", ""), ("h4", ""), ("h5", "ran most")),
    ),
    "last": (
        *(("unknown", "unknown"), ("h0", "never ran"), ("h1", "longer ago")),
        *(("h2", "within 90 days"), ("h3", "30 days"), ("h4", "7 days"), ("h5", "a day")),
    ),
}

_STYLE = """
  svg { --paper: #fff; --ink: #1b1f24; --line: #fff; --frame: #eceff3; --unknown: #dfe3e8;
    --h0: #b9d3f0; --h1: #ffe9b8; --h2: #ffd37a; --h3: #fdae55; --h4: #f4813f; --h5: #e8633f;
    font: 11px system-ui, sans-serif; background: var(--paper); }
  @media (prefers-color-scheme: dark) { svg { --paper: #14171b; --ink: #eef1f5; --line: #14171b;
    --frame: #22272e; --unknown: #3a4048;
    --h0: #24476e; --h1: #5b4a1c; --h2: #7d5f16; --h3: #985a14; --h4: #ab4b17; --h5: #b93a1d; } }
  text { fill: var(--ink); pointer-events: none; }
  rect { stroke: var(--line); stroke-width: 0.6; }
  .frame { fill: var(--frame); } .unknown { fill: var(--unknown); }
  .h0 { fill: var(--h0); } .h1 { fill: var(--h1); } .h2 { fill: var(--h2); }
  .h3 { fill: var(--h3); } .h4 { fill: var(--h4); } .h5 { fill: var(--h5); }
"""


@dataclass
class Node:
    """A package, module or function.

    title: what is said of it where one points at it. size: of a function, its lines. hits: how
    often it ran, None where that is unknown. last: when it ran last, in seconds since 1970. key: of
    a function; of others the name with its packages. inside: what a package or module has.
    """

    name: str
    title: str
    size: float = 0.0
    hits: int | None = None
    last: float | None = None
    key: str = ""
    inside: list[Node] = field(default_factory=list)

    def total(self) -> float:
        """The size of all in it."""
        return self.size + sum(each.total() for each in self.inside)

    def leaves(self) -> Iterator[Node]:
        """The functions in it."""
        if not self.inside:
            yield self
        for each in self.inside:
            yield from each.leaves()


class _Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float

    def inner(self) -> _Box:
        """What is left below the line with a name."""
        return _Box(
            self.x + 2 * _GAP,
            self.y + _HEAD,
            max(self.width - 4 * _GAP, 0.0),
            max(self.height - _HEAD - 2 * _GAP, 0.0),
        )


def html(root: Node) -> str:
    """A page with the treemap."""
    title = escape(root.title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>body {{ margin: 1rem; font: 14px system-ui, sans-serif; }}"
        f" h1 {{ font-size: 1.25rem; }} main {{ overflow-x: auto; }}"
        f" svg {{ width: 100%; min-width: 60rem; height: auto; }}</style></head>\n"
        f"<body><h1>{title}</h1>\n<main>{svg(root)}</main></body></html>\n"
    )


def svg(root: Node) -> str:
    """The treemap alone."""
    drawing = _Drawing("hits", _most(root), 0.0, None)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_LEGEND + _HEIGHT:g}"'
        f' role="img"><title>{escape(root.title)}</title><style>{_STYLE}</style>\n',
        *_legend(),
        *drawing.drawn(root, _Box(0.0, _LEGEND, _WIDTH, _HEIGHT)),
        "</svg>\n",
    ]
    return "".join(parts)


def linked(root: Node, address: Callable[[Node], str], *, by: str, height: float = 600.0) -> str:
    """The treemap as a part of a page, hidden from who does not see: a table has to say the same.

    address: where a node leads to. by: the one of `LEGENDS` that says what the colours tell; the
    page has the legend. height: of 1200 that it is wide.
    """
    drawing = _Drawing(by, _most(root), time.time(), address)
    parts = [
        f'<svg class="treemap" viewBox="0 0 {_WIDTH:g} {height:g}" aria-hidden="true">\n',
        *drawing.drawn(root, _Box(0.0, 0.0, _WIDTH, height)),
        "</svg>\n",
    ]
    return "".join(parts)


def _most(root: Node) -> int:
    return max((each.hits or 0 for each in root.leaves()), default=0)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """by: of `LEGENDS`. most: hits of the function that has most. now: in seconds since 1970."""

    by: str
    most: int
    now: float
    address: Callable[[Node], str] | None

    def drawn(self, node: Node, box: _Box) -> Iterator[str]:
        """A node, and what is inside of it."""
        kind = "frame" if node.inside else self._warmth(node)
        leads = ""
        if self.address is not None:
            leads = f'<a href="{escape(self.address(node))}" tabindex="-1">'
        yield (
            f'<g>{leads}<title>{escape(node.title)}</title><rect class="{kind}" x="{box.x:.1f}"'
            f' y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"/>'
        )
        if box.height >= _HEAD * 0.8:
            yield _label(node.name, box)
        if leads:
            yield "</a>"
        inner = box.inner()
        if node.inside and min(inner.width, inner.height) > 1:
            for each, place in _laid_out(node.inside, inner):
                yield from self.drawn(each, place)
        yield "</g>\n"

    def _warmth(self, node: Node) -> str:
        if node.hits is None:
            return "unknown"
        if node.hits == 0:
            return "h0"
        if self.by == "last" and node.last is not None:
            days = (self.now - node.last) / _DAY
            return f"h{_WARMTHS - sum(days > each for each in _AGES)}"
        part = math.log1p(node.hits) / math.log1p(self.most)
        return f"h{max(1, math.ceil(part * _WARMTHS))}"


def _label(name: str, box: _Box) -> str:
    room = int((box.width - 6) / _LETTER)
    if room < 3:
        return ""
    last = name if len(name) <= room else name.rpartition(".")[2]  # that of its class says less
    shown = last if len(last) <= room else f"{last[: room - 1]}…"
    return f'<text x="{box.x + 3:.1f}" y="{box.y + 12:.1f}">{escape(shown)}</text>'


def _legend() -> Iterator[str]:
    x = 4.0
    for kind, text in LEGENDS["hits"]:
        yield f'<rect class="{kind}" x="{x:.0f}" y="6" width="12" height="12"/>'
        yield f'<text x="{x + 16:.0f}" y="16">{text}</text>'
        x += 20 + len(text) * _LETTER + (8 if text else 0)


def _laid_out(nodes: Iterable[Node], box: _Box) -> Iterator[tuple[Node, _Box]]:
    """Squarified: rows along the shorter side, each as long as that makes its boxes squarer."""
    left = sorted(nodes, key=Node.total, reverse=True)
    whole = sum(each.total() for each in left)
    if not whole:
        return
    scale = box.width * box.height / whole
    areas = [each.total() * scale for each in left]
    begin = 0
    while begin < len(left):
        side = min(box.width, box.height)
        end = begin + 1
        while end < len(left) and _worst(areas[begin : end + 1], side) <= _worst(
            areas[begin:end], side
        ):
            end += 1
        places, box = _row(areas[begin:end], box)
        yield from zip(left[begin:end], places, strict=True)
        begin = end


def _worst(row: Sequence[float], side: float) -> float:
    """The least square one of a row: how many times as long as wide."""
    total = sum(row)
    if not total or not side:
        return math.inf
    return max(side * side * max(row) / total**2, total**2 / (side * side * max(min(row), 1e-9)))


def _row(areas: Sequence[float], box: _Box) -> tuple[list[_Box], _Box]:
    """The boxes of a row along the shorter side, and what is left."""
    places, at = [], 0.0
    thick = sum(areas) / max(min(box.width, box.height), 1e-9)
    for area in areas:
        long = area / max(thick, 1e-9)
        if box.width >= box.height:
            places.append(_Box(box.x, box.y + at, thick, long))
        else:
            places.append(_Box(box.x + at, box.y, long, thick))
        at += long
    if box.width >= box.height:
        return places, _Box(box.x + thick, box.y, max(box.width - thick, 0.0), box.height)
    return places, _Box(box.x, box.y + thick, box.width, max(box.height - thick, 0.0))
