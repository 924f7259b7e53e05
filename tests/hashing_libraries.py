"""As `hashing_oracles`, for arrays, tables and tensors of the libraries that are installed."""

from __future__ import annotations

import importlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Made = Callable[[Any], list[Any]]

EQUAL: dict[str, tuple[str, Made]] = {}
DIFFERENT: dict[str, tuple[str, Made]] = {}


def equal(library: str) -> Callable[[Made], Made]:
    """All that the function makes with the library has one key."""
    return lambda made: EQUAL.setdefault(made.__name__, (library, made))[1]


def different(library: str) -> Callable[[Made], Made]:
    """No two of these have one key."""
    return lambda made: DIFFERENT.setdefault(made.__name__, (library, made))[1]


def values(library: str, made: Made) -> list[Any]:
    return made(importlib.import_module(library))


# numpy.


@different("numpy")
def arrays_alike(np: Any) -> list[Any]:
    data = np.arange(24, dtype="<i8")
    return [
        *(data, data.astype(">i8"), data.view("<u8"), data.view("<f8"), data.view("<M8[s]")),
        *(data.view("<M8[ns]"), data.view("<m8[s]"), data.view("<c16"), data.view("<i4")),
        *(data.view("V8"), data.view("S8"), data.view("U2"), data.astype(object), data.tolist()),
        *(
            data.view([("a", "<i8")]),
            data.view([("b", "<i8")]),
            data.view([("a", "<i4"), ("b", "<i4")]),
        ),
        *(data.reshape(4, 6), data.reshape(6, 4), data.reshape(4, 6).T, data.reshape(2, 3, 4)),
        *(np.asfortranarray(data.reshape(4, 6)), data.reshape(4, 6)[:, :3], data[:12], data[::2]),
        *(data[::3], data[::-1], np.ma.array(data), np.asmatrix(data), data.view(np.recarray)),
        *(data.tobytes(), memoryview(data), data + 1, [data], (data,), np.delete(data, 3)),
        *(data.reshape(24, 1), data.reshape(1, 24), np.ma.array(data, mask=data == 3)),
        *(np.ma.array(data, mask=data == 4), np.ma.array(data, fill_value=7), data[:1].reshape(())),
        np.dtype([("a", "<i8")]),
    ]


@different("numpy")
def arrays_of_no_items(np: Any) -> list[Any]:
    return [
        *(np.array([]), np.array([], "i8"), np.array([], "f4"), np.zeros((0, 3)), np.zeros((3, 0))),
        *(np.array(0), np.array([0]), np.array([[0]]), np.array(0.0), np.array(None), [], 0),
        *(np.array([None]), np.array([], object), np.array(""), np.array(b""), np.array([[]])),
    ]


@different("numpy")
def scalars(np: Any) -> list[Any]:
    return [
        *(1, 1.0, "1", np.int64(1), np.int32(1), np.uint32(1), np.float64(1), np.float32(1)),
        *(np.float16(1), np.bool_(True), np.str_("1"), np.bytes_(b"1"), np.complex128(1)),
        *(np.longdouble(1), np.datetime64(1, "s"), np.datetime64(1, "D"), np.timedelta64(1, "s")),
        *(np.array(1), np.float64(2), np.float64("nan"), np.float64(-0.0), np.float64(0.0)),
        *(
            np.array([(1, 2)], [("a", "i4"), ("b", "i8")])[0],
            np.datetime64("NaT", "s"),
            np.void(b"1"),
        ),
        *(np.dtype("i8"), np.dtype(">i8"), np.dtype("f8"), np.dtype("M8[s]"), np.dtype("U3")),
        *(np.dtype([("a", "i4")]), np.dtype([("b", "i4")]), np.dtype(("i4", (2,))), np.int64),
        *(np.float64, np.dtype([("a", "i4")], align=True), np.dtype("i8", metadata={"a": 1})),
        *(np.sin, np.cos, np.add, np.sum, np.mean, np.linalg.norm, np.newaxis, np.s_[1:2]),
    ]


@different("numpy")
def objects_in_arrays(np: Any) -> list[Any]:
    def made(*items: Any) -> Any:
        array = np.empty(len(items), object)
        array[:] = items
        return array

    mixed = [("a", object), ("b", "i4")]
    return [
        *(made(1, 2), made(1.0, 2), made(True, 2), made("a", None), made("a", float("nan"))),
        *(made("a", "b"), made("ab", ""), made(b"a", "b"), made([1], 2), made((1,), 2)),
        *(
            made(np.arange(2), 1),
            made(np.arange(3), 1),
            made("foo", "Jos\xe9"),
            made("a\ud83d", ""),
        ),
        *(np.array([("a", 1)], mixed), np.array([("b", 1)], mixed), np.array([("a", 2)], mixed)),
        *(made(1, 2).reshape(1, 2), np.array(["a", "b"]), np.array([b"a", b"b"])),
    ]


@different("numpy")
def long_arrays(np: Any) -> list[Any]:
    one, two = np.arange(20_000), np.arange(20_000)
    two[10_000] = 0
    return [one, two, [one], [two], {"a": one, "b": two}, {"a": two, "b": one}, one.reshape(2, -1)]


@different("numpy")
def randomness(np: Any) -> list[Any]:
    used = np.random.RandomState(123)
    used.random()
    return [
        *(np.random.RandomState(123), np.random.RandomState(456), used, np.random.default_rng(1)),
        *(np.random.default_rng(2), np.random.Generator(np.random.Philox(1)), np.random.PCG64(1)),
        *(np.random.RandomState(123).random, np.random.RandomState(456).random),
        np.random.SeedSequence(1),
    ]


@different("numpy")
def derived_arrays(np: Any) -> list[Any]:
    class Measured(np.ndarray):  # type: ignore[misc]
        __slots__ = ("unit",)

    class Told(np.ndarray):  # type: ignore[misc]
        pass

    def made(kind: Any, **attributes: Any) -> Any:
        array = np.arange(3).view(kind)
        for name, value in attributes.items():
            setattr(array, name, value)
        return array

    hard = np.ma.array([1, 2], mask=[0, 1], hard_mask=True)
    return [
        *(made(Measured, unit="m"), made(Measured, unit="s"), made(Told), made(Told, unit="m")),
        *(made(Told, unit="s"), made(np.ndarray), hard, np.ma.array([1, 2], mask=[0, 1])),
    ]


@equal("numpy")
def one_array(np: Any) -> list[Any]:
    array = np.arange(12.0).reshape(3, 4)
    writable = array.copy()
    writable.flags.writeable = False
    wide = np.zeros((3, 8))
    wide[:, :4] = array
    return [array, array.copy(), writable, wide[:, :4].copy(), np.array(array.tolist())]


@equal("numpy")
def one_view(np: Any) -> list[Any]:
    array = np.arange(24.0).reshape(4, 6)
    return [array[:, ::2], np.repeat(array[:, ::2], 3, axis=1)[:, ::3]]


@equal("numpy")
def one_masked_array(np: Any) -> list[Any]:
    masked = np.ma.array([1, 2, 3], mask=[0, 1, 0])
    return [masked, masked.copy(), np.ma.array([1, 2, 3], mask=[0, 1, 0])]


@equal("numpy")
def one_dtype(np: Any) -> list[Any]:
    fields = [("name", np.str_, 16), ("grades", np.float64, (2,))]
    return [np.dtype(fields), np.dtype(fields), np.dtype(np.dtype(fields).descr)]


@equal("numpy")
def one_type_of_item(np: Any) -> list[Any]:
    return [np.arange(3, dtype="i8"), np.arange(3, dtype="=i8"), np.arange(3, dtype=np.longlong)]


@equal("numpy")
def between_the_fields(np: Any) -> list[Any]:
    """What stands there is by chance."""
    dtype = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    zeros, ones = np.zeros(3, dtype), np.full(3 * dtype.itemsize, 255, "u1").view(dtype)
    ones["a"], ones["b"] = 0, 0
    return [zeros, ones]


@equal("numpy")
def beside_a_long_double(np: Any) -> list[Any]:
    size = np.dtype("g").itemsize
    zeros, ones = np.zeros(3 * size, "u1").view("g"), np.full(3 * size, 255, "u1").view("g")
    zeros[:], ones[:] = 1.5, 1.5
    return [zeros, ones]


@equal("numpy")
def objects_of_one_value(np: Any) -> list[Any]:
    array = np.array([[1, "a" * 100], ["a" * 100, None]], dtype=object)
    return [array, np.array([[1, "aa" * 50], ["a" * 100, None]], dtype=object)]


@different("numpy")
def mapped_files(np: Any) -> list[Any]:
    """One is no array of the same content: what is written to it is in the file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"ashekwicht")
        file.flush()
        first = np.memmap(file.name, np.uint8, "r", 0, 5)
        second = np.memmap(file.name, np.uint8, "r", 5, 5)
        return [first, second, first[1:2], first[1:3], second[1:3], np.array(first)]


@equal("numpy")
def one_mapped_file(np: Any) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for name in ("a", "b"):
            np.save(Path(folder, f"{name}.npy"), np.arange(5))
            made.append(np.load(Path(folder, f"{name}.npy"), mmap_mode="r"))
        return made


@different("numpy")
def texts_of_any_length(np: Any) -> list[Any]:
    if not hasattr(np.dtypes, "StringDType"):
        return []
    kind, other = np.dtypes.StringDType(), np.dtypes.StringDType(na_object=None)
    return [
        *(np.array(["a", "b"], kind), np.array(["a", "c"], kind), np.array(["a" * 99, "c"], kind)),
        *(np.array(["a", None], other), np.array(["a", ""], other), np.array(["a", "b"])),
    ]


# pandas.


@different("pandas")
def tables(pd: Any) -> list[Any]:
    def made(**options: Any) -> Any:
        return pd.DataFrame({"x": [1, 2], "y": ["a", None]}, **options)

    named, told = made(), made()
    named.index.name = "foo"
    told.attrs["a"] = 1
    return [
        *(made(), made(index=[1, 2]), made(columns=["y", "x"]), made(columns=["x"]), named, told),
        *(made().astype({"x": float}), made().astype({"x": "Int64"}), made().astype({"y": object})),
        *(made().astype({"y": "category"}), made().rename(columns={"x": 1}), made().T, made()["x"]),
        *(
            made()[:1],
            made()[:0],
            made().set_index("x"),
            made().set_flags(allows_duplicate_labels=False),
        ),
        *(pd.DataFrame(), pd.DataFrame(index=[1]), pd.DataFrame(columns=["a"]), made().to_dict()),
        *(
            pd.DataFrame({"x": [1, 3], "y": ["a", None]}),
            pd.DataFrame([[1, 2]], columns=["a", "a"]),
        ),
        *(
            pd.DataFrame({"x": [1.0, 2.0]}),
            pd.DataFrame({"x": [1.0, -0.0]}),
            pd.DataFrame({"x": [1.0, 0]}),
        ),
        pd.DataFrame({"x": pd.Series(["4", "asd\ud83d", None], dtype=object)}),
        pd.DataFrame({"ö".encode(): [1], "ö": ["ö".encode()]}),
        pd.DataFrame({"x": pd.Series(["a", None], dtype=object)}),
        pd.DataFrame({"x": pd.Series(["a", float("nan")], dtype=object)}),
        pd.DataFrame({"x": pd.Series(["a", pd.NA], dtype=object)}),
        pd.DataFrame({"x": pd.Series(["a", pd.NaT], dtype=object)}),
    ]


@different("pandas")
def columns(pd: Any) -> list[Any]:
    return [
        *(pd.Series([1, 2]), pd.Series([1, 2], name="a"), pd.Series([1, 2], name="b")),
        *(pd.Series([1, 2], index=["a", "b"]), pd.Series([1, 2], dtype="int32"), pd.Series([2, 1])),
        *(
            pd.Series([1, None]),
            pd.Series([1, None], dtype="Int64"),
            pd.Series([1, 0], dtype="Int64"),
        ),
        *(
            pd.Series([True, None], dtype="boolean"),
            pd.Series(["a"], dtype="string"),
            pd.Series(["a"]),
        ),
        *(pd.Series(["a"], dtype=object), pd.Series(["a"], dtype="category"), pd.Series([None])),
        *(pd.Series([1.5, None], dtype="Float64"), pd.Series([pd.NaT]), pd.Series([1, 2]).array),
        *(pd.Series(["a", None], dtype="string"), pd.Series(["a", ""], dtype="string")),
        *(pd.Series([pd.Timestamp("2000")]), pd.Series([pd.Timestamp("2000", tz="CET")])),
        *(
            pd.Series([pd.Timestamp("2000", tz="UTC")]),
            pd.Series(pd.period_range("2000", periods=2)),
        ),
        *(pd.Series(pd.period_range("2000", periods=2, freq="M")), pd.Series([pd.Timedelta(1)])),
        *(pd.Series(pd.arrays.SparseArray([1, 0])), pd.Series(pd.arrays.SparseArray([0, 1]))),
        *(pd.Series(pd.interval_range(0, 2)), pd.Series(pd.interval_range(0, 2, closed="left"))),
        *(pd.array([1, None], "Int64"), pd.array(["a"], "string"), pd.array([1.0]), [1, 2]),
    ]


@different("pandas")
def labels(pd: Any) -> list[Any]:
    return [
        *(pd.Index([1, 2]), pd.Index([1, 2], name="a"), pd.Index([1.0, 2.0]), pd.Index(["1", "2"])),
        *(pd.RangeIndex(1, 3), pd.RangeIndex(0, 10), pd.RangeIndex(0, 20), pd.RangeIndex(0, 10, 2)),
        *(pd.RangeIndex(0, 10, 3), pd.RangeIndex(0, 10, name="a"), pd.Index([1, "2"])),
        *(
            pd.MultiIndex.from_product([["a", "b"], [0, 1]]),
            pd.Index([("a", 0)], tupleize_cols=False),
        ),
        pd.MultiIndex.from_product([["a", "b"], [0, 1]], names=["x", "y"]),
        pd.MultiIndex.from_product([["a", "b"], [0, 2]]),
        *(pd.date_range("2000", periods=3), pd.date_range("2000", periods=3, tz="CET")),
        *(
            pd.DatetimeIndex(pd.date_range("2000", periods=3).values),
            pd.CategoricalIndex(["a", "b"]),
        ),
        *(
            pd.CategoricalIndex(["a", "b"], ordered=True),
            pd.CategoricalIndex(["a", "b"], ["b", "a"]),
        ),
        *(
            pd.IntervalIndex.from_breaks([0, 1, 2]),
            pd.TimedeltaIndex([1]),
            pd.period_range("2000", periods=1),
        ),
        pd.Index([1, 2], dtype="Int64"),
    ]


@different("pandas")
def single_things(pd: Any) -> list[Any]:
    return [
        *(pd.NA, pd.NaT, None, float("nan"), pd.Timestamp("2000"), pd.Timestamp("2000", tz="CET")),
        *(pd.Timestamp("2000").as_unit("s"), pd.Timestamp("2000").as_unit("ns"), pd.Timedelta(1)),
        *(pd.Timestamp("2000").to_pydatetime(), pd.Interval(0, 1), pd.Interval(0, 1, "both")),
        *(pd.Period("2000", "D"), pd.Period("2000", "M"), pd.offsets.Second(1), pd.offsets.Day(1)),
        *(pd.offsets.MonthBegin(2), pd.offsets.BQuarterEnd(2), pd.DateOffset(years=1)),
        *(pd.DateOffset(months=7), pd.CategoricalDtype(["a"]), pd.CategoricalDtype(["a"], True)),
        *(pd.DatetimeTZDtype(tz="CET"), pd.DatetimeTZDtype(tz="UTC"), pd.Int64Dtype()),
        *(pd.PeriodDtype("D"), pd.StringDtype("python"), pd.DataFrame, pd.Series),
    ]


@equal("pandas")
def one_table(pd: Any) -> list[Any]:
    np = importlib.import_module("numpy")
    data = np.arange(10.0).reshape(5, 2)
    parts = pd.concat([pd.DataFrame({"a": data[:, 0]}), pd.DataFrame({"b": data[:, 1]})], axis=1)
    added = pd.DataFrame({"a": data[:, 0]})
    added["b"] = data[:, 1]
    rows = pd.concat([parts[:2], parts[2:]], ignore_index=True)
    return [pd.DataFrame(data, columns=["a", "b"]), parts, added, rows, parts.copy(), parts[:]]


@equal("pandas")
def one_column_of_many_types(pd: Any) -> list[Any]:
    def made() -> Any:
        frame = pd.DataFrame({"x": [1, 2, 3], "y": ["4", "asd", None]}, index=[1, 2, 3])
        frame["z"] = frame["y"].astype("category")
        frame["w"] = pd.date_range("2000", periods=3, tz="CET")
        frame["v"] = pd.array([1, None, 3], "Int64")
        return frame

    return [made(), made(), made().copy(deep=True), made().iloc[[0, 1, 2]]]


@equal("pandas")
def below_a_mask(pd: Any) -> list[Any]:
    np = importlib.import_module("numpy")
    mask = np.array([False, True])
    return [pd.arrays.IntegerArray(np.array([1, each]), mask) for each in (1, 2)]


@equal("pandas")
def used_labels(pd: Any) -> list[Any]:
    used = pd.Index(["a", "b"])
    assert used.get_loc("b") == 1
    assert used.is_unique
    return [used, pd.Index(["a", "b"]), pd.Series([1, 2], used).index]


# polars.


@different("polars")
def polars_tables(pl: Any) -> list[Any]:
    return [
        *(pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [1, 3]}), pl.DataFrame({"b": [1, 2]})),
        *(
            pl.DataFrame({"a": [1.0, 2.0]}),
            pl.DataFrame({"a": [1, None]}),
            pl.DataFrame({"a": [1, 0]}),
        ),
        *(pl.DataFrame({"a": [1], "b": [2]}), pl.DataFrame({"b": [2], "a": [1]}), pl.DataFrame()),
        *(
            pl.DataFrame({"a": ["x", "y"]}),
            pl.DataFrame({"a": ["x", None]}),
            pl.DataFrame({"a": ["x", ""]}),
        ),
        *(
            pl.DataFrame({"a": [[1], [2]]}),
            pl.DataFrame({"a": [[1, 2], []]}),
            pl.DataFrame({"a": [True]}),
        ),
        *(
            pl.DataFrame({"a": [{"x": 1}]}),
            pl.DataFrame({"a": [{"y": 1}]}),
            pl.DataFrame({"a": [b"x"]}),
        ),
        *(
            pl.Series([1, 2]),
            pl.Series("a", [1, 2]),
            pl.Series("a", [1, 2], pl.Int32),
            pl.Series("a", []),
        ),
        *(
            pl.Series(["x"], dtype=pl.Categorical),
            pl.Series(["x"], dtype=pl.Enum(["x"])),
            pl.Series(["x"]),
        ),
        *(pl.Series(["x"], dtype=pl.Enum(["x", "y"])), pl.Series([1.5], dtype=pl.Decimal(10, 2))),
        *(pl.Series([0], dtype=pl.Date), pl.Series([0], dtype=pl.Datetime("us")), pl.Series([0])),
        *(pl.Series([0], dtype=pl.Datetime("us", "UTC")), pl.Series([0], dtype=pl.Duration("us"))),
        *(pl.Series([None]), pl.Series([object], dtype=pl.Object), pl.Series([0], dtype=pl.Int128)),
        *(pl.DataFrame({"a": [1, 2]}).lazy(), pl.DataFrame({"a": [1, 3]}).lazy()),
        *(pl.DataFrame({"a": [1, 2]}).lazy().filter(pl.col("a") > 1), pl.col("a"), pl.col("b")),
        *(
            pl.Int64,
            pl.Int64(),
            pl.Datetime("us"),
            pl.Datetime("ns"),
            pl.Series([0.0]),
            pl.Series([-0.0]),
        ),
    ]


@equal("polars")
def one_polars_table(pl: Any) -> list[Any]:
    def made(first: int, last: int) -> Any:
        numbers = range(first, last)
        return pl.DataFrame(
            {
                "a": numbers,
                "b": [None if each % 3 == 0 else each / 2 for each in numbers],
                "c": [None if each % 5 == 0 else f"text {each} " * (each % 7) for each in numbers],
                "d": [[each] * (each % 3) for each in numbers],
                "e": [each % 2 == 0 for each in numbers],
                "f": [{"x": each, "y": str(each)} for each in numbers],
            }
        ).with_columns(g=pl.col("a").cast(pl.Datetime("us")), h=pl.col("c").cast(pl.Categorical))

    whole = made(0, 100)
    return [
        *(whole, made(0, 100), pl.concat([made(0, 40), made(40, 100)]), whole.clone()),
        *(pl.concat([made(90, 100), whole])[10:], pl.concat([made(90, 100), whole]).slice(10)),
        *(whole.rechunk(), pl.concat([whole, made(0, 3)]).filter(pl.int_range(pl.len()) < 100)),
        whole.with_columns(pl.col("a").cast(pl.Int32).cast(pl.Int64)),
        pl.read_ipc_stream(io.BytesIO(streamed(whole))),
    ]


def streamed(frame: Any) -> bytes:
    stream = io.BytesIO()
    frame.write_ipc_stream(stream)
    return stream.getvalue()


# scipy, xarray, pyarrow, torch.


@different("scipy.sparse")
def sparse(sp: Any) -> list[Any]:
    dense = [[0, 1], [2, 0]]
    kinds = ("csr", "csc", "coo", "dok", "lil", "bsr", "dia")
    return [
        *(getattr(sp, f"{kind}_matrix")(dense) for kind in kinds),
        *(sp.csr_array(dense), sp.csr_array([[0, 1], [3, 0]]), sp.csr_array([[1, 0], [2, 0]])),
        *(sp.dok_matrix([[0, 1], [3, 0]]), sp.csr_array((2, 2)), sp.csr_array((2, 3))),
    ]


@equal("scipy.sparse")
def one_sparse(sp: Any) -> list[Any]:
    return [sp.csr_array([[0, 1], [2, 0]]), sp.csr_array([[0, 1], [2, 0]])]


@different("xarray")
def labelled_arrays(xr: Any) -> list[Any]:
    return [
        *(xr.DataArray([1, 2]), xr.DataArray([1, 3]), xr.DataArray([1, 2], dims="x")),
        *(xr.DataArray([1, 2], {"x": [1, 2]}, "x"), xr.DataArray([1, 2], attrs={"a": 1})),
        *(xr.Dataset({"a": ("x", [1])}), xr.Dataset({"b": ("x", [1])}), xr.Dataset()),
    ]


@equal("xarray")
def one_labelled_array(xr: Any) -> list[Any]:
    return [xr.DataArray([1, 2], {"x": [1, 2]}, "x"), xr.DataArray([1, 2], {"x": [1, 2]}, "x")]


@different("pyarrow")
def arrow(pa: Any) -> list[Any]:
    return [
        *(pa.table({"x": [1, 2], "y": ["a", "b"]}), pa.table({"x": [1, 2], "y": ["a", "c"]})),
        *(pa.table({"x": [1, 2]}), pa.table({"x": [1, None]}), pa.table({"x": [1.0, 2.0]})),
        *(pa.table({"x": [1, 2]}, metadata={"a": "b"}), pa.RecordBatch.from_pydict({"x": [1, 2]})),
        *(
            pa.array([1, 2]),
            pa.array([1, 3]),
            pa.array([1, 2], pa.int32()),
            pa.chunked_array([[1, 2]]),
        ),
        *(
            pa.array(["a"]),
            pa.array(["a"]).dictionary_encode(),
            pa.array([[1]]),
            pa.array([{"x": 1}]),
        ),
        *(pa.int64(), pa.float64(), pa.struct({"x": pa.int32()}), pa.struct({"x": pa.int16()})),
        *(pa.schema({"x": pa.int32()}), pa.scalar(1), pa.scalar(2), pa.scalar("1")),
    ]


@equal("pyarrow")
def one_arrow_table(pa: Any) -> list[Any]:
    whole: dict[str, list[Any]] = {
        "x": [1, None, 3, 4],
        "y": ["a", "bb", None, ""],
        "z": [[1], [], None, [2, 3]],
    }
    first = {name: each[:1] for name, each in whole.items()}
    rest = {name: each[1:] for name, each in whole.items()}
    longer = {name: [*each[:2], *each] for name, each in whole.items()}
    schema = pa.table(whole).schema
    return [
        pa.table(whole),
        pa.concat_tables([pa.table(first, schema=schema), pa.table(rest, schema=schema)]),
        pa.table(longer).slice(2),
    ]


@different("torch")
def tensors(torch: Any) -> list[Any]:
    ones = torch.ones(2, 3)
    leaf = torch.ones(2, 3, requires_grad=True)
    used = torch.ones(2, 3, requires_grad=True)
    used.sum().backward()
    return [
        *(ones, torch.zeros(2, 3), ones.T, ones.reshape(6), ones.double(), ones.half(), ones.int()),
        *(
            ones.bfloat16(),
            ones.bool(),
            torch.ones(()),
            torch.ones(0),
            torch.ones(0, 3),
            ones.numpy(),
        ),
        *(
            leaf,
            used,
            torch.nn.Parameter(torch.ones(2, 3)),
            torch.ones(2, 3, dtype=torch.complex64),
        ),
        *(torch.ones(1), torch.tensor(float("nan")), torch.tensor(0.0), torch.tensor(-0.0)),
        *(
            torch.float32,
            torch.float64,
            torch.device("cpu"),
            torch.Size([1]),
            torch.Size([2]),
            (1,),
        ),
        *(torch.nn.Tanh(), torch.nn.ReLU(), torch.ones(2, 3) * 1j),
    ]


@equal("torch")
def one_tensor(torch: Any) -> list[Any]:
    data = torch.arange(6.0).reshape(2, 3)
    conjugated = torch.complex(data, -data).conj()
    assert conjugated.is_conj()
    assert torch.equal(conjugated, torch.complex(data, data))
    return [data, data.clone(), data.T.contiguous().T, torch.arange(12.0)[:6].view(2, 3)]


@equal("torch")
def one_conjugate(torch: Any) -> list[Any]:
    data = torch.arange(6.0)
    return [torch.complex(data, -data).conj(), torch.complex(data, data)]


@equal("torch")
def one_model(torch: Any) -> list[Any]:
    def made() -> Any:
        torch.manual_seed(1)
        return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())

    return [made(), made()]
