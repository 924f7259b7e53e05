"""A treemap: what belongs to an application, by size, in the colours of what runs in it.

It is an SVG by itself, without scripts, and readable on light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 1200.0, 800.0
_HEAD = 16.0  # of the line with a name, above what is inside
_GAP = 1.0
_LEGEND = 24.0  # its height, above the map
_LETTER = 6.4  # width of one
_WARMTHS = 5

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
    often it ran, None where that is unknown. inside: what a package or module has.
    """

    name: str
    title: str
    size: float = 0.0
    hits: int | None = None
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
    most = max((each.hits or 0 for each in root.leaves()), default=0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_LEGEND + _HEIGHT:g}"'
        f' role="img"><title>{escape(root.title)}</title><style>{_STYLE}</style>\n',
        *_legend(),
        *_drawn(root, _Box(0.0, _LEGEND, _WIDTH, _HEIGHT), most),
        "</svg>\n",
    ]
    return "".join(parts)


def _drawn(node: Node, box: _Box, most: int) -> Iterator[str]:
    kind = "frame" if node.inside else _warmth(node.hits, most)
    yield (
        f'<g><title>{escape(node.title)}</title><rect class="{kind}" x="{box.x:.1f}"'
        f' y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"/>'
    )
    if box.height >= _HEAD * 0.8:
        yield _label(node.name, box)
    yield "</g>\n"
    inner = box.inner()
    if node.inside and min(inner.width, inner.height) > 1:
        for each, place in _laid_out(node.inside, inner):
            yield from _drawn(each, place, most)


def _label(name: str, box: _Box) -> str:
    room = int((box.width - 6) / _LETTER)
    if room < 3:
        return ""
    last = name if len(name) <= room else name.rpartition(".")[2]  # that of its class says less
    shown = last if len(last) <= room else f"{last[: room - 1]}…"
    return f'<text x="{box.x + 3:.1f}" y="{box.y + 12:.1f}">{escape(shown)}</text>'


def _warmth(hits: int | None, most: int) -> str:
    if hits is None:
        return "unknown"
    if hits == 0:
        return "h0"
    part = math.log1p(hits) / math.log1p(most)
    return f"h{max(1, math.ceil(part * _WARMTHS))}"


def _legend() -> Iterator[str]:
    told = [("unknown", "unknown"), ("h0", "never ran"), ("h1", "ran")]
    told += [(f"h{each}", "") for each in range(2, _WARMTHS)] + [(f"h{_WARMTHS}", "ran most")]
    x = 4.0
    for kind, text in told:
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
