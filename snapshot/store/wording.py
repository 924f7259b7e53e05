"""How people write and read times, durations, sizes and numbers of things."""

from __future__ import annotations

import re
import time
from datetime import datetime

from snapshot.core import line
from snapshot.errors import UsageError

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONG = 1e11  # seconds, or 3000 years: a database takes them in microseconds


def seconds(text: str) -> float:
    """`90`, `90s`, `15m`, `12h`, `7d`, `2w`; `250ms`, `40us`. Raises `UsageError`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([um\u00b5\u03bc]s|[smhdw]?)", text)
    if found is None:
        raise UsageError(f"{text!r} is no duration: write 250ms, 45s, 15m, 12h, 7d or 2w")
    unit = re.sub("[\u00b5\u03bc]", "u", found[2])  # both are in use as a micro
    value = float(found[1]) * _UNITS[unit or "s"]
    if value > _LONG:
        raise UsageError(f"{text!r} is too long")
    return value


def moment(text: str) -> float:
    """Seconds since 1970: a duration before now, or a date. Raises `UsageError`."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    try:
        return time.time() - seconds(text)
    except UsageError:
        raise UsageError(
            f"{text!r} is no time: write 2026-01-31, 2026-01-31T12:00, or 15m, 12h, 7d (ago)"
        ) from None


def when(moment: float) -> str:
    """`2026-01-31 12:00:00`, in the time of this place. moment: in seconds since 1970."""
    try:
        return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "at no time that there is"


def duration(value: float | None) -> str:
    """`3 min 20 s`, `1.2 s`, `35 ms`, `7 µs`; nothing for what never ended."""
    if value is None:
        return ""
    if value >= 60:
        return line.duration(value)
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if value * factor >= 0.9995:  # which is 1 in three digits
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e6:.0f} µs"


def age(seconds: float) -> str:
    """`5s`, `12m`, `3h`, `9d`."""
    for length, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def size(count: float) -> str:
    """`312 B`, `1.2 MiB`. count: of bytes."""
    units = ["GiB", "MiB", "KiB", "B"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop()
    return f"{count:.0f} B" if units[-1] == "B" else f"{count:.1f} {units[-1]}"


def so_many(count: int, what: str) -> str:
    """`1 call`, `2 misses`, `1,200 calls`."""
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count:,} {what if count == 1 else plural}"
