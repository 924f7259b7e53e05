"""Arrays and frames, side by side; see `parts`. Nothing is imported for them."""

from __future__ import annotations

from typing import Any

from snapshot.core.modules import loaded
from snapshot.replay.parts import Compare, Parts, Place, Step, are_same, attributes, unlike


def of_library(kind: type) -> Compare | None:
    """How two values of a type of numpy's or pandas' are compared; None for another type."""
    numpy: Any = loaded("numpy")
    if numpy is not None:
        if issubclass(kind, numpy.ma.MaskedArray):
            return _masked
        if issubclass(kind, numpy.ndarray | numpy.generic):
            return _arrays
    pandas: Any = loaded("pandas")
    if pandas is not None:
        if issubclass(kind, pandas.DataFrame):
            return _frames
        if issubclass(kind, pandas.Series):
            return _series
        if issubclass(kind, pandas.Index):
            return _indexes
        if issubclass(kind, pandas.api.extensions.ExtensionArray):
            return _extensions
    return None


# numpy.


def _arrays(then: Any, now: Any, place: Place) -> Parts:
    numpy: Any = loaded("numpy")
    if then.dtype != now.dtype or then.shape != now.shape:
        yield _of_other_form(then, now, place)
        return
    if isinstance(then, numpy.generic) and not then.dtype.names:
        if _unequal(numpy.asarray(then), numpy.asarray(now)).any():
            yield unlike(then, now, place)
        return
    if type(then).__reduce__ is not numpy.ndarray.__reduce__ and hasattr(then, "__dict__"):
        yield from attributes(vars(then), vars(now), place)
    yield from _elements(numpy.asarray(then), numpy.asarray(now), place)


def _elements(then: Any, now: Any, place: Place) -> Parts:
    if then.dtype.names:
        for name in then.dtype.names:
            yield from _elements(then[name], now[name], place.inside("[{1}]", name))
    elif then.dtype.hasobject and then.dtype.kind == "O":
        for index, (one, other) in enumerate(zip(then.flat, now.flat, strict=True)):
            if not are_same(one, other):
                yield Step(one, other, place.inside(".flat[{0}]", index))
    else:
        numpy: Any = loaded("numpy")
        count = int(numpy.count_nonzero(_unequal(then, now)))
        if count:
            yield f"{place}: {count} of {then.size} elements differ"


def _unequal(then: Any, now: Any) -> Any:
    """Where they differ: what is not equal to itself, NaN or NaT, is equal to another such."""
    numpy: Any = loaded("numpy")
    if then.dtype.kind == "c":
        return _unequal(then.real, now.real) | _unequal(then.imag, now.imag)
    differ = (then != now) & ~((then != then) & (now != now))
    if then.dtype.kind == "f":
        signs = numpy.signbit(then) != numpy.signbit(now)
        differ |= signs & (then == 0) & (now == 0)
    return differ


def _of_other_form(then: Any, now: Any, place: Place) -> str:
    return f"{place}: {then.dtype} {then.shape} then, {now.dtype} {now.shape} now"


def _masked(then: Any, now: Any, place: Place) -> Parts:
    """What is under the mask does not count."""
    ma: Any = loaded("numpy.ma")
    if then.dtype != now.dtype or then.shape != now.shape:
        yield _of_other_form(then, now, place)
        return
    yield Step(ma.getmaskarray(then), ma.getmaskarray(now), place.inside(".mask"))
    yield Step(then.fill_value, now.fill_value, place.inside(".fill_value"))
    yield Step(then.filled(), now.filled(), place)


# pandas.


def _values(labelled: Any) -> Any:
    """Of a series or an index: an array of numpy's, or one of pandas' own."""
    numpy: Any = loaded("numpy")
    if isinstance(labelled.dtype, numpy.dtype):
        return labelled.to_numpy()
    return labelled.array


def _frames(then: Any, now: Any, place: Place) -> Parts:
    if then.shape != now.shape:
        yield f"{place}: {then.shape} then, {now.shape} now"
        return
    yield Step(then.columns, now.columns, place.inside(".columns"))
    yield from _labels(then, now, place)
    for index, name in enumerate(then.columns):
        one, other = then.iloc[:, index], now.iloc[:, index]
        yield Step(_values(one), _values(other), place.inside("[{1}]", name))


def _series(then: Any, now: Any, place: Place) -> Parts:
    yield Step(then.name, now.name, place.inside(".name"))
    yield from _labels(then, now, place)
    yield Step(_values(then), _values(now), place)


def _labels(then: Any, now: Any, place: Place) -> Parts:
    """What frames and series have beside their values."""
    yield Step(then.index, now.index, place.inside(".index"))
    yield Step(dict(then.attrs), dict(now.attrs), place.inside(".attrs"))
    one, other = (each.flags.allows_duplicate_labels for each in (then, now))
    yield Step(one, other, place.inside(".flags.allows_duplicate_labels"))
    for name in type(then)._metadata:
        if name != "_name":
            one, other = (getattr(each, name, None) for each in (then, now))
            yield Step(one, other, place.inside(".{0}", name))


def _indexes(then: Any, now: Any, place: Place) -> Parts:
    if then.nlevels > 1 and then.nlevels == now.nlevels:
        for level in range(then.nlevels):
            one, other = then.get_level_values(level), now.get_level_values(level)
            yield Step(one, other, place.inside(".get_level_values({0})", level))
        return
    yield Step(then.name, now.name, place.inside(".name"))
    one, other = (getattr(each, "freq", None) for each in (then, now))
    yield Step(one, other, place.inside(".freq"))
    yield Step(_values(then), _values(now), place)


def _extensions(then: Any, now: Any, place: Place) -> Parts:
    if then.shape != now.shape or str(then.dtype) != str(now.dtype):
        yield _of_other_form(then, now, place)
        return
    if hasattr(then, "categories"):
        for name in ("ordered", "categories", "codes"):
            yield Step(getattr(then, name), getattr(now, name), place.inside(f".{name}"))
        return
    yield Step(then.dtype, now.dtype, place.inside(".dtype"))
    # 0.0 equals -0.0 to them, and objects what they say themselves.
    if then.dtype.kind in "fcO" or not then.equals(now):
        yield Step(then.to_numpy(dtype=object), now.to_numpy(dtype=object), place)
