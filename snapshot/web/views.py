"""What a value looks like, as plain data: dicts, lists, texts, numbers, None.

It runs in the process that has loaded the value, and calls code of the value's own: its `repr`,
what its library has. A library is asked for nothing unless it is loaded, since the value is of it.

Nothing here is HTML or SVG. A text is what it is, cut off where it is long; whoever shows it has to
escape it. The kinds, and what each has in `data`:

table       shape: [rows, columns]. columns: of each that is shown name, type and nulls, how many.
            index: the label of each row that is shown. rows: the cells, a text or None.
array       type, shape, bytes; values: texts of the first ones. Of numbers also nan, inf: how many;
            of: "values", or "magnitudes" of complex ones; min, max, mean, std: of the finite ones;
            histogram: counts of as many equal steps from min to max. picture: an `image`; line:
            points of an SVG polyline in a box of width and height, y downwards. table: a `table` of
            what has two dimensions.
image       media_type, base64, bytes; width and height in pixels, None if not known.
text        text, length: characters, lines. Of bytes hex: lines of an offset, bytes and ASCII;
            length: bytes.
tree        name, type, text, count: how many children it has, children, more: how many of them are
            not shown; cycle: it is one that it is in.
placeholder type, reason, text: of what was not stored.
failed      reason: one sentence.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import enum
import functools
import io
import itertools
import math
import operator
import pathlib
import re
import signal
import struct
import sys
import types
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from snapshot.store.objects import Placeholder, text_of, type_name

_COLUMNS = 50  # of a table
_CELL = 200  # characters
_VALUES = 100  # of an array
_BINS = 20
_SIDE = 512  # pixels of a picture
_POINTS = 500
_WIDTH, _HEIGHT = 500, 100  # of a line
_CHUNK = 1 << 18  # elements of an array that are looked at together
_LARGEST = 8 << 20  # bytes of an image
_TEXT = 100_000  # characters
_DUMP = 4096  # bytes
_DEPTH = 4
_ITEMS = 100  # of one node
_NODES = 3000  # of a tree
_BITS = 1000  # of an integer that is shown in digits
_PATIENCE = 0.5  # seconds for one `repr`
_MADE_IN_PYTHON = 1 << 9  # a flag of a class

# Dark, blue, green, yellow: each lighter than the one before, whatever eyes see it.
_COLORS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))

Data = dict[str, Any]


def seen(value: Any, rows: int = 200) -> Data:
    """What a value looks like: `kind`, `type` and `data`. rows: of a table.

    Raises MemoryError, and nothing that the value's own code raises.
    """
    for kind, look in _LOOKS:
        with _Caught():
            data = look(value, rows)
            if data is not None:
                return {"kind": kind, "type": type_name(value), "data": data}
    with _Caught():
        return {"kind": "tree", "type": type_name(value), "data": tree(value)}
    return {"kind": "failed", "type": "", "data": {"reason": "nothing can be asked of it"}}


class _Caught:
    """In the block code of the value's own runs: what it raises ends the block, and no more."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        return error is not None and not isinstance(error, MemoryError)


def _of(value: Any, module: str, *names: str) -> bool:
    """Whether it is of one of the classes of a module; if that is not loaded, it is not."""
    loaded = sys.modules.get(module)
    kinds = (getattr(loaded, name, None) for name in names)
    return any(isinstance(kind, type) and issubclass(type(value), kind) for kind in kinds)


# Texts.


class _TooSlow(BaseException):
    """A `repr` takes too long."""


def _alarm(number: int, frame: object) -> None:
    raise _TooSlow


_slow: set[type] = set()


def _said(value: Any) -> str:
    """A short `repr`, whatever it does; of a type whose `repr` took long once, none."""
    kind = type(value)
    if kind in _slow:
        return "<its repr takes too long>"
    before = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        return text_of(value)
    except _TooSlow:
        _slow.add(kind)
        return "<its repr takes too long>"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _clean(text: str, most: int = _CELL) -> str:
    """What can be encoded, and no more than so much of it."""
    some = text if len(text) <= most else text[: most - 1] + "…"
    return some.encode("utf-8", "backslashreplace").decode()


def _cell(value: Any) -> str | None:
    """A text as it is, None for what is null, a short `repr` of anything else."""
    if value is None:
        return None
    if type(value) is str:
        return _clean(value)
    if type(value) in (bool, float):
        return repr(value)
    if type(value).__module__ in ("numpy", "datetime", "decimal", "pandas"):
        return _clean(str(value))
    return _said(value)


# Tables.


class _Columns(NamedTuple):
    """One column, as a library gives it: its name, its type, how many nulls, its first cells."""

    name: Any
    type: Any
    nulls: int
    cells: Sequence[Any]


def table(value: Any, rows: int) -> Data | None:
    """Of data frames and series, structured arrays, lists of dicts or tuples of one form."""
    if _of(value, "pandas", "DataFrame", "Series"):
        return _of_pandas(value, rows)
    if _of(value, "polars", "DataFrame", "Series"):
        return _of_polars(value, rows)
    if _of(value, "pyarrow", "Table", "RecordBatch"):
        return _of_arrow(value, rows)
    if _of(value, "numpy", "ndarray") and value.dtype.names and value.ndim == 1:
        return _of_records(value, rows)
    if type(value) in (list, tuple) and len(value) > 1:
        return _of_dicts(value, rows) or _of_tuples(value, rows)
    return None


def _tabular(
    shape: tuple[int, int], columns: Iterable[_Columns], index: Iterable[Any] = ()
) -> Data:
    found = list(columns)
    return {
        "shape": [int(each) for each in shape],
        "columns": [
            {"name": _label(each.name), "type": _clean(str(each.type)), "nulls": int(each.nulls)}
            for each in found
        ],
        "index": [_label(each) for each in index],
        "rows": [
            list(row) for row in zip(*(map(_cell, each.cells) for each in found), strict=True)
        ],
    }


def _label(name: Any) -> str:
    return _clean(name) if type(name) is str else _cell(name) or "None"


def _of_pandas(value: Any, rows: int) -> Data:
    frame = value.to_frame() if _of(value, "pandas", "Series") else value
    head = frame.iloc[:rows]

    def columns() -> Iterator[_Columns]:
        for place, name in enumerate(frame.columns[:_COLUMNS]):
            cells, nulls = head.iloc[:, place], head.iloc[:, place].isna()
            shown = [None if null else cell for cell, null in zip(cells, nulls, strict=True)]
            whole = frame.iloc[:, place]
            yield _Columns(name, whole.dtype, whole.isna().sum(), shown)

    return _tabular(frame.shape, columns(), head.index)


def _of_polars(value: Any, rows: int) -> Data:
    frame = value.to_frame() if _of(value, "polars", "Series") else value
    columns = [
        _Columns(each.name, each.dtype, each.null_count(), each.head(rows).to_list())
        for each in frame.get_columns()[:_COLUMNS]
    ]
    return _tabular(frame.shape, columns, range(min(rows, frame.height)))


def _of_arrow(value: Any, rows: int) -> Data:
    columns = [
        _Columns(field.name, field.type, column.null_count, column.slice(0, rows).to_pylist())
        for field, column in zip(value.schema, value.columns, strict=True)
    ]
    shape = value.num_rows, value.num_columns
    return _tabular(shape, columns[:_COLUMNS], range(min(rows, shape[0])))


def _of_records(value: Any, rows: int) -> Data:
    columns = [
        _Columns(name, value.dtype[name], _nulls_of(value[name]), list(value[name][:rows]))
        for name in value.dtype.names[:_COLUMNS]
    ]
    return _tabular((len(value), len(value.dtype.names)), columns, range(min(rows, len(value))))


def _nulls_of(column: Any) -> int:
    """How many NaN and NaT."""
    return int((column != column).sum()) if column.dtype.kind in "fcmM" else 0


def _of_dicts(value: Sequence[Any], rows: int) -> Data | None:
    first = value[0]
    if type(first) is not dict or not first or not all(type(each) is str for each in first):
        return None
    if not all(type(each) is dict and each.keys() == first.keys() for each in value):
        return None
    columns = [
        _mixed(name, [each[name] for each in value], rows)
        for name in itertools.islice(first, _COLUMNS)
    ]
    return _tabular((len(value), len(first)), columns, range(min(rows, len(value))))


def _of_tuples(value: Sequence[Any], rows: int) -> Data | None:
    kind = type(value[0])
    names = getattr(kind, "_fields", None) if issubclass(kind, tuple) else None
    if kind is not tuple and names is None:
        return None
    width = tuple.__len__(value[0])
    if not width or not all(type(each) is kind and tuple.__len__(each) == width for each in value):
        return None
    columns = [
        _mixed(names[place] if names else place, [*map(operator.itemgetter(place), value)], rows)
        for place in range(min(width, _COLUMNS))
    ]
    return _tabular((len(value), width), columns, range(min(rows, len(value))))


def _mixed(name: Any, cells: list[Any], rows: int) -> _Columns:
    """A column whose cells may be of any types."""
    kinds = Counter(map(type, cells))
    nulls = kinds.pop(type(None), 0)
    names = [kind.__name__ for kind, _ in kinds.most_common(3)] + ["…"] * (len(kinds) > 3)
    return _Columns(name, " or ".join(names) or "None", nulls, cells[:rows])


# Arrays.


def array(value: Any, rows: int) -> Data | None:
    """Of numpy's arrays, and of torch's tensors by those."""
    if _of(value, "torch", "Tensor"):
        value = _of_tensor(value)
    if not _of(value, "numpy", "ndarray") or value.ndim == 0 or value.dtype.names:
        return None
    import numpy as np

    if _of(value, "numpy.ma", "MaskedArray") and value.dtype.kind in "biuf":
        value = value.astype(float).filled(np.nan)
    value = np.asarray(value)
    found: Data = {
        "type": str(value.dtype),
        "shape": list(value.shape),
        "bytes": int(value.nbytes),
        "values": [_label(each) for each in itertools.islice(value.flat, _VALUES)],
    }
    if value.ndim == 2:
        columns = [
            _Columns(place, value.dtype, _nulls_of(value[:, place]), list(value[:rows, place]))
            for place in range(min(value.shape[1], _COLUMNS))
        ]
        found["table"] = _tabular(value.shape, columns, range(min(rows, len(value))))
    if value.dtype.kind in "biufc" and value.size:
        found |= _statistics(value)
        if value.ndim == 1:
            found["line"] = _line(value)
        elif (pixels := _pixels(value)) is not None:
            found["picture"] = _image(_png(pixels), "image/png")
    return found


def _of_tensor(tensor: Any) -> Any:
    tensor = tensor.detach().cpu().resolve_conj()
    if str(tensor.dtype) == "torch.bfloat16":  # which numpy does not have
        tensor = tensor.float()
    return tensor.numpy()


def _statistics(value: Any) -> Data:
    """In two passes, and a copy of one part of it at a time: it may be most of the memory."""
    import numpy as np

    nan = inf = count = 0
    total, least, most = 0.0, math.inf, -math.inf
    for part in _parts(value):
        is_nan = np.isnan(part)
        finite = part[np.isfinite(part)]
        nan += int(is_nan.sum())
        inf += part.size - finite.size - int(is_nan.sum())
        if finite.size:
            count += finite.size
            total += float(finite.sum())
            least, most = min(least, float(finite.min())), max(most, float(finite.max()))
    found: Data = {"nan": nan, "inf": inf}
    found["of"] = "magnitudes" if value.dtype.kind == "c" else "values"
    if not count:
        return found | dict.fromkeys(("min", "max", "mean", "std", "histogram"))
    mean, squares = total / count, 0.0
    histogram = np.zeros(_BINS, np.int64)
    # Halves, since the difference of the largest number and the least may be no number.
    low, step = least / 2, (most / 2 - least / 2) / _BINS
    with np.errstate(over="ignore", invalid="ignore"):
        for part in _parts(value):
            finite = part[np.isfinite(part)]
            squares += float(np.square(finite - mean).sum())
            bins = (finite / 2 - low) / step if step else np.zeros(finite.size)
            bins = np.clip(bins.astype(np.int64), 0, _BINS - 1)
            histogram += np.bincount(bins, minlength=_BINS)
    numbers = {"min": least, "max": most, "mean": mean, "std": math.sqrt(squares / count)}
    if value.dtype.kind in "iu":  # of which some are no floats
        numbers |= {"min": int(value.min()), "max": int(value.max())}
    shown = {name: each if math.isfinite(each) else None for name, each in numbers.items()}
    return found | shown | {"histogram": histogram.tolist()}


def _parts(value: Any) -> Iterator[Any]:
    """All elements as floats, so many at a time."""
    import numpy as np

    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    parts: Any = np.nditer(value, flags=flags, buffersize=_CHUNK, order="K")
    for part in parts:
        for begin in range(0, part.size, _CHUNK):
            yield _floats(part[begin : begin + _CHUNK])


def _floats(part: Any) -> Any:
    import numpy as np

    return np.abs(part).astype(np.float64) if part.dtype.kind == "c" else part.astype(np.float64)


def _line(value: Any) -> Data | None:
    """Of many numbers the least and the largest of each part, so that none sticks out unseen."""
    import numpy as np

    step = 1 if len(value) <= _POINTS else math.ceil(len(value) / (_POINTS // 2))
    found: list[tuple[int, float]] = []
    for begin in range(0, len(value), step):
        part = _floats(value[begin : begin + step])
        places = np.flatnonzero(np.isfinite(part))
        if places.size:
            finite = part[places]
            ends = {int(places[finite.argmin()]), int(places[finite.argmax()])}
            found += [(begin + place, float(part[place])) for place in sorted(ends)]
    if not found:
        return None
    low, high = min(y for _, y in found), max(y for _, y in found)
    across = _WIDTH / max(1, len(value) - 1)

    def up(y: float) -> float:
        return (y / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5

    points = " ".join(f"{x * across:.1f},{(1 - up(y)) * _HEIGHT:.1f}" for x, y in found)
    return {"points": points, "width": _WIDTH, "height": _HEIGHT, "low": low, "high": high}


def _pixels(value: Any) -> Any:
    """Bytes of rows, columns and colours with their opacity; None for what is no picture."""
    import numpy as np

    if value.ndim == 3 and value.dtype.kind != "c":
        if value.shape[2] not in (1, 3, 4) and value.shape[0] in (1, 3, 4):
            value = np.moveaxis(value, 0, 2)  # colours first, as tensors have it
        if value.shape[2] in (3, 4):
            return _colored(value)
        value = value[:, :, 0] if value.shape[2] == 1 else value
    if value.ndim != 2:
        return None
    height, width = value.shape
    means = _shrunk(value, math.ceil(height / _SIDE), math.ceil(width / _SIDE))
    known = np.isfinite(means)
    low, high = (means[known].min(), means[known].max()) if known.any() else (0.0, 0.0)
    scaled = (
        (means / 2 - low / 2) / (high / 2 - low / 2) if high > low else np.full_like(means, 0.5)
    )
    scaled = np.where(known, scaled, 0.0)
    steps = np.linspace(0, 1, len(_COLORS))
    colors = [np.interp(scaled, steps, [each[place] for each in _COLORS]) for place in range(3)]
    return np.stack([*colors, known * 255.0], axis=-1).round().astype(np.uint8)


def _colored(value: Any) -> Any:
    """Whole numbers are from 0 to 255; others from 0 to 1, unless there are larger ones."""
    import numpy as np

    step = math.ceil(max(value.shape[:2]) / _SIDE)
    means = np.stack([_shrunk(value[:, :, n], step, step) for n in range(value.shape[2])], axis=-1)
    means = np.nan_to_num(means)
    if value.dtype.kind in "fb" and means.max(initial=0) <= 1:
        means = means * 255
    return means.clip(0, 255).round().astype(np.uint8)


def _shrunk(value: Any, down: int, across: int) -> Any:
    """The means of blocks of so many rows and columns, without what is not finite."""
    import numpy as np

    begins = np.arange(0, value.shape[1], across)
    rows = []
    for begin in range(0, value.shape[0], down):
        sums, counts = np.zeros(value.shape[1]), np.zeros(value.shape[1])
        for row in value[begin : begin + down]:
            part = _floats(row)
            known = np.isfinite(part)
            sums += np.where(known, part, 0)
            counts += known
        with np.errstate(all="ignore"):
            rows.append(np.add.reduceat(sums, begins) / np.add.reduceat(counts, begins))
    return np.stack(rows)


# Images.


def image(value: Any, rows: int) -> Data | None:
    """Of Pillow's images, matplotlib's figures, what draws itself for a notebook, and bytes."""
    if type(value) in (bytes, bytearray):
        media_type = _media_type(value)
        is_small = media_type and len(value) <= _LARGEST
        return _image(bytes(value), media_type) if is_small else None
    if _of(value, "PIL.Image", "Image"):
        return _of_pillow(value)
    if _of(value, "matplotlib.figure", "Figure"):
        file = io.BytesIO()
        value.savefig(file, format="png")
        return _image(file.getvalue(), "image/png")
    draw = getattr(type(value), "_repr_png_", None)
    drawn = draw(value) if callable(draw) and not isinstance(value, type) else None
    drawn = drawn[0] if type(drawn) is tuple else drawn
    if type(drawn) is bytes and _media_type(drawn) == "image/png" and len(drawn) <= _LARGEST:
        return _image(drawn, "image/png")
    return None


def _of_pillow(value: Any) -> Data:
    file = io.BytesIO()
    shown = value.copy()
    shown.thumbnail((2 * _SIDE, 2 * _SIDE))
    if shown.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
        shown = shown.convert("RGBA")
    shown.save(file, format="png")
    width, height = value.size
    return _image(file.getvalue(), "image/png") | {"width": int(width), "height": int(height)}


def _media_type(data: bytes | bytearray) -> str:
    """By its first bytes; of a few harmless ones alone: no image of these runs anything."""
    for pattern, name in (
        (rb"\x89PNG\r\n\x1a\n", "png"),
        (rb"\xff\xd8\xff", "jpeg"),
        (rb"GIF8[79]a", "gif"),
        (rb"RIFF....WEBP", "webp"),
    ):
        if re.match(pattern, data, re.DOTALL):
            return f"image/{name}"
    return ""


def _image(data: bytes, media_type: str) -> Data:
    width = height = None
    if media_type == "image/png" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
    encoded = base64.b64encode(data).decode()
    return {"media_type": media_type, "base64": encoded, "width": width, "height": height}


def _png(pixels: Any) -> bytes:
    """The file of a picture: 8 bits a colour, no filter."""
    height, width, colors = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    head = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[colors], 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(itertools.starmap(_chunk, chunks))


def _chunk(name: bytes, data: bytes) -> bytes:
    checked = name + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


# Texts and bytes.


def text(value: Any, rows: int) -> Data | None:
    """Of a text itself; of bytes a table of them in hexadecimal."""
    if issubclass(type(value), str) and not issubclass(type(value), enum.Enum):
        shown = str.__str__(value)
        return {
            "text": _clean(shown, _TEXT),
            "length": len(shown),
            "lines": shown.count("\n") + bool(shown and not shown.endswith("\n")),
        }
    if issubclass(type(value), bytes | bytearray | memoryview):
        raw = memoryview(value).cast("B")
        return {"hex": list(_dumped(bytes(raw[:_DUMP]))), "length": raw.nbytes}
    return None


def _dumped(data: bytes) -> Iterator[list[str]]:
    for begin in range(0, len(data), 16):
        part = data[begin : begin + 16]
        shown = "".join(chr(each) if 32 <= each < 127 else "." for each in part)
        yield [f"{begin:08x}", part.hex(" "), shown]


def placeholder(value: Any, rows: int) -> Data | None:
    """Of what was not stored."""
    if type(value) is not Placeholder:
        return None
    parts = {"type": value.type, "reason": value.reason, "text": value.text}
    return {name: _clean(str(each)) for name, each in parts.items()}


# Trees.


class _Node(NamedTuple):
    """A value that is in the tree already, and may get children.

    above: the ids of those that it is in, its own included.
    """

    value: Any
    told: Data
    depth: int
    above: frozenset[int]


def tree(value: Any) -> Data:
    """Of anything: what it holds, the upper levels first, if all would be too much."""
    root, waiting, count = _told("", value), deque[_Node](), 1
    waiting.append(_Node(value, root, 0, frozenset([id(value)])))
    while waiting:
        node = waiting.popleft()
        with _Caught():
            children, node.told["count"] = _children(node.value)
            for name, each in children if node.depth < _DEPTH and count < _NODES else ():
                told = _told(name, each)
                told["cycle"] = id(each) in node.above and not isinstance(each, _ATOMS)
                node.told["children"].append(told)
                count += 1
                if not told["cycle"]:
                    above = node.above | {id(each)}
                    waiting.append(_Node(each, told, node.depth + 1, above))
        node.told["more"] = node.told["count"] - len(node.told["children"])
    return root


_ATOMS = (type(None), bool, int, float, complex, str, bytes)
_LEAVES = (
    *(*_ATOMS, enum.Enum, pathlib.PurePath, type, types.FunctionType, types.BuiltinFunctionType),
    *(types.ModuleType, Placeholder, functools.partial),
)


def _told(name: str, value: Any) -> Data:
    said = "<it cannot be shown>"
    with _Caught():
        said = _in_short(value)
    kind = "?"
    with _Caught():
        kind = _clean(type_name(value))
    told = {"name": name, "type": kind, "text": said, "count": 0}
    return {**told, "children": [], "more": 0, "cycle": False}


def _in_short(value: Any) -> str:
    """Nothing of what its children say."""
    kind = type(value)
    if _of(value, "numpy", "ndarray") and value.size > 20:
        return f"{value.dtype} of shape {value.shape}"
    if _of(value, "pandas", "DataFrame", "Series") or _of(value, "polars", "DataFrame", "Series"):
        return f"of shape {value.shape}"
    if kind is int and value.bit_length() > _BITS:
        return f"<int of {value.bit_length()} bits>"
    if issubclass(kind, tuple(_HOLDERS)) or dataclasses.is_dataclass(kind):
        return "" if kind is not Placeholder else _said(value)
    return _said(value)


# How what is held by a builtin is found, whatever a class of the program has made of that.
_HOLDERS: dict[type, Callable[[Any], tuple[Iterable[Any], int]]] = {
    dict: lambda value: (
        ((_said(key), each) for key, each in dict.items(value)),
        dict.__len__(value),
    ),
    list: lambda value: (_numbered(list.__iter__(value)), list.__len__(value)),
    tuple: lambda value: (_numbered(tuple.__iter__(value)), tuple.__len__(value)),
    set: lambda value: (_numbered(set.__iter__(value)), set.__len__(value)),
    frozenset: lambda value: (_numbered(frozenset.__iter__(value)), frozenset.__len__(value)),
    deque: lambda value: (_numbered(deque.__iter__(value)), deque.__len__(value)),
}


def _numbered(values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((str(place), each) for place, each in enumerate(values))


def _children(value: Any) -> tuple[Iterable[tuple[str, Any]], int]:
    """The first ones, by name, and how many there are. No code of its own reads attributes."""
    if issubclass(type(value), _LEAVES) or _of(value, "numpy", "ndarray", "generic"):
        return (), 0
    held, count = next(
        (find(value) for kind, find in _HOLDERS.items() if issubclass(type(value), kind)), ((), 0)
    )
    attributes = list(itertools.islice(_attributes(value), _NODES))
    if issubclass(type(value), tuple) and (names := getattr(type(value), "_fields", None)):
        held = zip(map(str, names), tuple.__iter__(value), strict=False)
    shown = itertools.islice(itertools.chain(attributes, held), _ITEMS)
    return shown, count + len(attributes)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    kind = type(value)
    if issubclass(kind, BaseException):
        yield "args", vars(BaseException)["args"].__get__(value)
    with contextlib.suppress(AttributeError):
        found = object.__getattribute__(value, "__dict__")
        if issubclass(type(found), dict):
            for name, each in dict.items(found):
                yield _clean(str(name)), each
    for base in type.__dict__["__mro__"].__get__(kind):
        for name, each in type.__dict__["__dict__"].__get__(base).items():
            if type(each) is types.MemberDescriptorType and base.__flags__ & _MADE_IN_PYTHON:
                with contextlib.suppress(AttributeError):  # nothing was assigned
                    yield _clean(name), each.__get__(value)


_LOOKS: tuple[tuple[str, Callable[[Any, int], Data | None]], ...] = (
    ("placeholder", placeholder),
    ("table", table),
    ("array", array),
    ("image", image),
    ("text", text),
)
