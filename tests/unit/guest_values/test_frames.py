"""guest_values/frames.py: pandas values survive a round trip with their dtypes, with and without buffers."""

from __future__ import annotations

import datetime as dt
import json
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import each

from uv_argo_magic.core.protocol import values
from uv_argo_magic.errors import ProtocolError
from uv_argo_magic.guest_values import frames

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

LIMIT = 10**9
SIZES = (3, 700)
"""Numbers of rows; with the second, columns are long enough for separate buffers."""


def round_trips(value):
    """The decoded value, without and with separate buffers."""
    buffers = []
    text = values.encode("x", value, LIMIT, buffers)
    with_buffers = values.decode(text, [bytearray(raw) for raw in buffers])
    inline = values.decode(values.encode("x", value, LIMIT))
    assert type(with_buffers) is type(inline) is type(value)
    return inline, with_buffers


def check_frame(frame):
    for decoded in round_trips(frame):
        pd.testing.assert_frame_equal(decoded, frame, check_freq=True, check_flags=True)
        assert list(decoded.dtypes) == list(frame.dtypes)
        assert decoded.attrs == frame.attrs


def check_series(series):
    for decoded in round_trips(series):
        pd.testing.assert_series_equal(decoded, series, check_freq=True, check_flags=True)
        assert decoded.dtype == series.dtype


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
DAYS = {"start": "2026-03-28", "freq": "h"}
COLUMNS = {
    "int8": lambda n: np.arange(n).astype("int8"),
    "uint64": lambda n: np.arange(n).astype("uint64"),
    "float32": lambda n: np.linspace(0, 1, n).astype("float32"),
    "complex": lambda n: np.arange(n) * 1j,
    "bool": lambda n: np.arange(n) % 2 == 0,
    "big endian": lambda n: np.arange(n).astype(">i4"),
    "str": lambda n: pd.Series([f"ä{i}" for i in range(n - 1)] + [None], dtype="str"),
    "object of strings": lambda n: pd.Series([f"t{i}" for i in range(n - 1)] + [None], dtype=object),
    "object with nan": lambda n: pd.Series(["a", float("nan")] * (n // 2) + ["b"] * (n % 2), dtype=object),
    "mixed objects": lambda n: pd.Series([1, "a", [2, {"k": (3,)}]] * (n // 3) + [None] * (n % 3), dtype=object),
    "surrogates": lambda n: pd.Series(["\ud800"] * n, dtype=object),
    "categories": lambda n: pd.Categorical(["u", "v", None] * (n // 3) + ["w"] * (n % 3), ordered=True),
    "categories of numbers": lambda n: pd.Categorical.from_codes([0, -1, 1] * (n // 3) + [0] * (n % 3), [1.5, 2.5]),
    "Int64": lambda n: pd.array([1, None, 3] * (n // 3) + [4] * (n % 3), "Int64"),
    "UInt8": lambda n: pd.array([1, None, 3] * (n // 3) + [4] * (n % 3), "UInt8"),
    "Float32": lambda n: pd.array([1.5, None, 3] * (n // 3) + [4] * (n % 3), "Float32"),
    "boolean": lambda n: pd.array([True, None, False] * (n // 3) + [True] * (n % 3), "boolean"),
    "string[python]": lambda n: pd.array(["a", None, "ä"] * (n // 3) + ["b"] * (n % 3), pd.StringDtype("python")),
    "datetime": lambda n: pd.date_range(periods=n, **DAYS).as_unit("ns"),
    "datetime in seconds": lambda n: pd.date_range(periods=n, **DAYS).as_unit("s"),
    "zoned": lambda n: pd.date_range(periods=n, tz=BERLIN, **DAYS),
    "UTC": lambda n: pd.date_range(periods=n, tz="UTC", **DAYS),
    "offset": lambda n: pd.date_range(periods=n, tz=dt.timezone(dt.timedelta(hours=5, minutes=30)), **DAYS),
    "timedelta": lambda n: pd.to_timedelta(np.arange(n), "s"),
    "period": lambda n: pd.period_range("2026-01", periods=n, freq="M"),
    "interval": lambda n: pd.interval_range(0, n, closed="left"),
    "interval of times": lambda n: pd.interval_range(pd.Timestamp("2026-01-01"), periods=n),
    "sparse": lambda n: pd.arrays.SparseArray(np.arange(n) % 3, fill_value=0),
    "sparse in blocks": lambda n: pd.arrays.SparseArray([0.0] * (n - 1) + [1.5], kind="block"),
    "Arrow int64": lambda n: pd.array([1, None, 3] * (n // 3) + [4] * (n % 3), "int64[pyarrow]"),
    "Arrow list": lambda n: pd.array([[1], None] * (n // 2) + [[2]] * (n % 2), pd.ArrowDtype(lists())),
    "string[pyarrow]": lambda n: pd.array(["a", None, "ä"] * (n // 3) + ["b"] * (n % 3), pd.StringDtype("pyarrow")),
}  # fmt: skip


def lists():
    import pyarrow as pa

    return pa.list_(pa.int8())


def column(name, size):
    if "rrow" in name:
        pytest.importorskip("pyarrow")
    return COLUMNS[name](size)


@each("size", SIZES)
@pytest.mark.parametrize("name", COLUMNS)
def test_columns_keep_their_dtype_and_values(name, size):
    values_of_column = column(name, size)
    check_series(pd.Series(values_of_column, name=("a", 1), index=pd.RangeIndex(5, 5 + size)))
    frame = pd.DataFrame({"x": values_of_column, "n": np.arange(size)})
    check_frame(frame)
    check_frame(frame.iloc[::2])
    if name not in ("sparse", "sparse in blocks"):
        for index in round_trips(pd.Index(values_of_column, name="i")):
            pd.testing.assert_index_equal(index, pd.Index(values_of_column, name="i"), exact=True)
            assert getattr(index, "freq", None) == getattr(pd.Index(values_of_column), "freq", None)
    array = pd.Series(values_of_column).array
    if not isinstance(array, pd.arrays.NumpyExtensionArray):
        for decoded in round_trips(array):
            pd.testing.assert_extension_array_equal(decoded, array)


def with_attrs():
    frame = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    frame.attrs["source"] = {"path": "x", "at": dt.date(2026, 1, 1)}
    return frame


FRAMES = {
    "empty": pd.DataFrame,
    "no columns": lambda: pd.DataFrame(index=[1, 2]),
    "no rows": lambda: pd.DataFrame({"a": np.zeros(0), "b": pd.Series([], dtype="str")}),
    "one dtype": lambda: pd.DataFrame(np.arange(6000.0).reshape(1500, 4), columns=list("abcd")),
    "one dtype in Fortran order": lambda: pd.DataFrame(np.asfortranarray(np.arange(12).reshape(3, 4))),
    "duplicate names": lambda: pd.DataFrame([[1, "x"], [3, "y"]], columns=["a", "a"]),
    "MultiIndex": lambda: pd.DataFrame(
        [[1, "x"], [2, None]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None]),
        index=pd.MultiIndex.from_tuples([("u", 1.5), ("v", float("nan"))], names=["l", "m"]),
    ),
    "attrs and flags": with_attrs,
    "a frame in a frame": lambda: pd.DataFrame({"f": pd.Series([pd.DataFrame({"a": [1]}).to_dict()], dtype=object)}),
    "names of columns": lambda: pd.DataFrame({1: [1], "b": ["x"], None: [2.5]}).rename_axis("c", axis=1),
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_frames_keep_their_shape(name):
    check_frame(FRAMES[name]())


def test_scalars_keep_type_unit_and_time_zone():
    scalars = [
        pd.Timestamp("2026-07-01 02:30", tz=BERLIN), pd.Timestamp(5), pd.Timestamp("2026-01-01").as_unit("s"),
        pd.Timedelta("1 day 3 ns"), pd.NaT, pd.NA, pd.Period("2026-01", "M"), pd.Interval(1.5, 2.5, closed="both"),
        pd.Interval(pd.Timestamp(1), pd.Timestamp(2)),
    ]  # fmt: skip
    for decoded in round_trips(scalars):
        assert [type(scalar) for scalar in decoded] == [type(scalar) for scalar in scalars]
        assert repr(decoded) == repr(scalars)
        assert [getattr(scalar, "unit", "") for scalar in decoded] == [
            getattr(scalar, "unit", "") for scalar in scalars
        ]
    ambiguous = pd.date_range("2026-10-25 02:00", periods=2, freq="30min").tz_localize(BERLIN, ambiguous=False)
    for decoded in round_trips(ambiguous[0]):
        assert decoded.utcoffset() == ambiguous[0].utcoffset()


class Sub(pd.DataFrame):
    pass


def test_subclasses_and_unsupported_objects_are_not_plain_data():
    for value in (Sub({"a": [1]}), pd.Series([print], dtype=object), pd.offsets.Day(), pd.api.types.CategoricalDtype()):
        with pytest.raises(values.NotPlain):
            values.encode("x", value, LIMIT)
    with pytest.raises(values.NotPlain, match=r"x\['b'\]\[1\] is a builtin_function"):
        values.encode("x", pd.DataFrame({"a": [1, 2], "b": pd.Series([1, print], dtype=object)}), LIMIT)


def test_strings_are_converted_between_pandas_2_and_3(monkeypatch):
    old, new = pd.Series(["a", None], dtype=object), pd.Series(["a", None], dtype="str")
    with monkeypatch.context() as patch:
        patch.setattr(frames, "_major", lambda _: 2)
        text = values.encode("x", old, LIMIT)
        decoded = values.decode(values.encode("x", new, LIMIT))
        assert (decoded.dtype, decoded.tolist()) == (np.dtype(object), ["a", None])
    if pd.__version__.startswith("3"):
        assert values.decode(text).dtype == "str"


@each("change", [{"ends": [0, 5]}, {"ends": [1, 2]}, {"ends": []}, {"mask": [True]}, {"v": "gA=="}])
def test_forged_strings_are_rejected(change):
    tree = json.loads(values.encode("x", pd.Series(["a", "b"], dtype=object), LIMIT))
    for key, value in change.items():
        array = np.array(value, np.int64 if key == "ends" else bool)
        tree["v"][key] = value if key == "v" else json.loads(values.encode("x", array, LIMIT))
    with pytest.raises(ProtocolError):
        values.decode(json.dumps(tree))


TEXTS = st.lists(st.none() | st.text(), max_size=8)


@given(TEXTS, st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=8), st.lists(st.floats(), max_size=8))
def test_any_content_survives_a_round_trip(texts, numbers, floats):
    size = min(len(texts), len(numbers), len(floats))
    frame = pd.DataFrame(
        {
            "t": pd.Series(texts[:size], dtype=object),
            "s": pd.array(texts[:size], pd.StringDtype("python")),
            "n": pd.array(numbers[:size], "Int64"),
            "f": np.array(floats[:size], float),
            "c": pd.Categorical(texts[:size]),
        }
    )
    check_frame(frame)
    check_frame(frame.set_index(["s", "n"]))


def test_frequencies_with_more_than_their_text_are_not_plain_data():
    for freq in (pd.offsets.CustomBusinessDay(holidays=["2026-03-30"]), pd.DateOffset(months=1)):
        index = pd.date_range("2026-03-27", periods=3, freq=freq)
        with pytest.raises(values.NotPlain):
            values.encode("x", pd.Series(range(3), index=index), LIMIT)
