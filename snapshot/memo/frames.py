"""How tables are written: those of pandas, polars and pyarrow.

How they are held in memory, in chunks or blocks, does not count.
"""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any

from snapshot.memo.arrays import items
from snapshot.memo.kinds import reduced
from snapshot.memo.writing import Handler, Refusal, Writer, buffer, plain, sequence, special

# pandas.


def _frame(writer: Writer, frame: Any) -> bytes:
    columns = []
    for position in range(frame.shape[1]):
        try:
            columns.append(_values(writer, frame.iloc[:, position].array))
        except Refusal as refusal:
            refusal.steps.append(f"[{frame.columns[position]!r}]")
            raise
    return special(
        "DataFrame",
        writer.at(".columns", frame.columns),
        sequence(b"[", columns),
        *_around(writer, frame),
    )


def _series(writer: Writer, series: Any) -> bytes:
    values = _values(writer, series.array)
    return special("Series", values, writer.write(series.name), *_around(writer, series))


def _around(writer: Writer, value: Any) -> list[bytes]:
    """Class and labels; attributes, also those that a class of the user's has declared."""
    declared = {name: getattr(value, name, None) for name in value._metadata if name != "name"}
    return [
        writer.write(type(value)),
        writer.at(".index", value.index),
        plain(value.flags.allows_duplicate_labels),
        writer.at(".attrs", value.attrs),
        writer.mapping(declared.items(), ".{}"),
    ]


def _index(writer: Writer, index: Any) -> bytes:
    pandas: Any = sys.modules["pandas"]
    kind, names = writer.write(type(index)), writer.write([*index.names])
    if isinstance(index, pandas.RangeIndex):
        return special("RangeIndex", names, plain((index.start, index.stop, index.step)))
    if isinstance(index, pandas.MultiIndex):
        levels, codes = writer.each(index.levels), writer.each(index.codes)
        return special("MultiIndex", kind, names, sequence(b"[", levels), sequence(b"[", codes))
    frequency = writer.write(getattr(index, "freq", None))
    return special("Index", kind, names, frequency, _values(writer, index.array))


def _extension_array(writer: Writer, array: Any) -> bytes:
    return special("array", writer.write(type(array)), _values(writer, array))


def _values(writer: Writer, array: Any) -> bytes:
    """Their type, and what they are; of those that are missing nothing but that."""
    pandas: Any = sys.modules["pandas"]
    dtype = writer.write(array.dtype)
    if isinstance(array, pandas.Categorical):
        parts = [items(writer, array.codes)]
    elif isinstance(array.dtype, pandas.StringDtype):
        missing = array.isna()
        instead = {"na_value": ""} if missing.any() else {}
        texts = array.to_numpy(dtype=object, **instead).tolist()
        parts = [items(writer, missing), writer.write(texts)]
    elif isinstance(array, pandas.arrays.NumpyExtensionArray):
        parts = [items(writer, array.to_numpy())]
    elif hasattr(array, "asi8"):
        parts = [items(writer, array.asi8)]
    elif hasattr(array.dtype, "numpy_dtype") and hasattr(array, "_mask"):
        kept = array.to_numpy(dtype=array.dtype.numpy_dtype, na_value=0)
        parts = [items(writer, array.isna()), items(writer, kept)]
    elif hasattr(array, "__arrow_array__") and hasattr(array.dtype, "pyarrow_dtype"):
        parts = [writer.write(array.__arrow_array__())]
    else:
        parts = [reduced(writer, array)]
    return sequence(b"(", [dtype, *parts])


def _extension_dtype(writer: Writer, dtype: Any) -> bytes:
    """By its parameters, as pandas itself compares two of them."""
    parts = [getattr(dtype, name) for name in dtype._metadata]
    if dtype.__class__.__module__.partition(".")[0] != "pandas":
        return reduced(writer, dtype)
    return special("dtype", writer.write(type(dtype)), sequence(b"(", writer.each(parts)))


# polars.


def _polars_frame(writer: Writer, frame: Any) -> bytes:
    parts = []
    for series in frame.get_columns():
        parts.append(writer.at(f"[{series.name!r}]", series))
    return special("polars", plain(frame.height), *parts)


def _polars_series(writer: Writer, series: Any) -> bytes:
    polars: Any = sys.modules["polars"]
    dtype = series.dtype
    told = plain((series.name, len(series), repr(dtype)))
    if dtype == polars.Object:
        return special("polars series", told, writer.write(series.to_list()))
    if dtype.is_numeric() or dtype.is_temporal():
        numbers = series.to_physical()
        if not numbers.dtype.is_decimal() and "128" not in str(numbers.dtype):
            missing = series.is_null().to_numpy() if series.null_count() else None
            kept = numbers if missing is None else numbers.fill_null(0)
            array = kept.rechunk().to_numpy()
            parts = [writer.write(missing), items(writer, array)]
            return special("polars series", told, *parts)
    if isinstance(dtype, polars.Categorical):
        series = series.cast(polars.String)
    stream = io.BytesIO()
    frame = series.rename("").rechunk().to_frame()
    frame.write_ipc_stream(stream, compat_level=polars.CompatLevel.oldest())
    return special("polars series", told, buffer(stream.getbuffer()))


def _polars_plan(_: Writer, plan: Any) -> bytes:
    """A file that is to be read counts by its name."""
    try:
        return special("polars plan", buffer(plan.serialize()))
    except Exception as error:
        raise Refusal("the LazyFrame", f"its plan cannot be written: {error}") from error


# pyarrow.


def _table(writer: Writer, table: Any) -> bytes:
    """In the stream form, as one batch, which has nothing of what stands around a slice."""
    return special("arrow table", writer.write(type(table)), buffer(_streamed(table)))


def _arrow_array(writer: Writer, array: Any) -> bytes:
    pyarrow: Any = sys.modules["pyarrow"]
    table = pyarrow.table({"": array})
    return special("arrow array", writer.write(type(array)), buffer(_streamed(table)))


def _streamed(table: Any) -> Any:
    pyarrow: Any = sys.modules["pyarrow"]
    if isinstance(table, pyarrow.RecordBatch):
        table = pyarrow.Table.from_batches([table])
    ipc: Any = importlib.import_module("pyarrow.ipc")
    sink = pyarrow.BufferOutputStream()
    with ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return memoryview(sink.getvalue())


DERIVED: dict[str, Handler] = {
    **dict.fromkeys(("pandas.DataFrame", "pandas.core.frame.DataFrame"), _frame),
    **dict.fromkeys(("pandas.Series", "pandas.core.series.Series"), _series),
    **dict.fromkeys(("pandas.Index", "pandas.core.indexes.base.Index"), _index),
    "pandas.api.extensions.ExtensionArray": _extension_array,
    "pandas.core.arrays.base.ExtensionArray": _extension_array,
    "pandas.api.extensions.ExtensionDtype": _extension_dtype,
    "pandas.core.dtypes.base.ExtensionDtype": _extension_dtype,
    "polars.dataframe.frame.DataFrame": _polars_frame,
    "polars.series.series.Series": _polars_series,
    "polars.lazyframe.frame.LazyFrame": _polars_plan,
    "pyarrow.lib.Table": _table,
    "pyarrow.lib.RecordBatch": _table,
    "pyarrow.lib.Array": _arrow_array,
    "pyarrow.lib.ChunkedArray": _arrow_array,
}
