"""guest_values/arrow.py: values of pyarrow and polars, and invalid streams."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uv_argo_magic.core.protocol import values
from uv_argo_magic.errors import ProtocolError
from uv_argo_magic.guest_values import arrow

pa = pytest.importorskip("pyarrow")
pl = pytest.importorskip("polars")
LIMIT = 10**9


def round_trip(value):
    buffers = []
    text = values.encode("x", value, LIMIT, buffers)
    return values.decode(text, [bytearray(raw) for raw in buffers])


COLUMNS = {
    "i": [1, None, 3] * 300,
    "s": ["a", None, "ä"] * 300,
    "f": [0.5, float("inf"), None] * 300,
    "d": [dt.date(2026, 1, 1), None, dt.date(1, 1, 1)] * 300,
    "t": [dt.datetime(2026, 1, 1, 1, tzinfo=dt.UTC)] * 900,
    "l": [[1, 2], [], None] * 300,
    "r": [{"a": 1, "b": "x"}, {"a": None, "b": "y"}, None] * 300,
    "b": [b"\0", None, b""] * 300,
}


def test_polars_frames_and_series_survive_a_round_trip():
    from polars.testing import assert_frame_equal, assert_series_equal

    frame = pl.DataFrame(COLUMNS).with_columns(
        c=pl.Series(["u", "v", None] * 300, dtype=pl.Categorical),
        e=pl.Series(["u", "v", "u"] * 300, dtype=pl.Enum(["u", "v"])),
        n=pl.lit(None), m=pl.Series([dt.timedelta(1)] * 900), z=pl.lit("1.50").cast(pl.Decimal(10, 2)),
    )  # fmt: skip
    for value in (frame, frame.head(2), frame.clear(), pl.DataFrame()):
        decoded = round_trip(value)
        assert_frame_equal(decoded, value)
        assert decoded.schema == value.schema
    assert_frame_equal(round_trip(frame.lazy().select("i")), frame.select("i"))
    for name in frame.columns:
        assert_series_equal(round_trip(frame[name]), frame[name])
    with pytest.raises(values.NotPlain):
        values.encode("x", pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}), LIMIT)
    with pytest.raises(values.NotPlain):
        values.encode("x", pl.col("a"), LIMIT)


def test_pyarrow_values_survive_a_round_trip():
    table = pa.table(COLUMNS).append_column("c", pa.array(["u", "v", None] * 300).dictionary_encode())
    table = table.replace_schema_metadata({"k": "v"})
    batch = table.to_batches()[0]
    for value in (table, table.slice(1, 2), table.schema.empty_table(), batch, batch.slice(0, 0)):
        decoded = round_trip(value)
        assert isinstance(decoded, type(value))
        assert decoded.equals(value, check_metadata=True)
    chunked = pa.chunked_array([[1], [2, None]])
    for value in (chunked, pa.chunked_array([], pa.string()), *(column.combine_chunks() for column in table.columns)):
        decoded = round_trip(value)
        assert type(decoded) is type(value)
        assert decoded.equals(value)
    empty = pa.array([], pa.int8())
    assert round_trip(empty).equals(empty)
    with pytest.raises(values.NotPlain):
        values.encode("x", pa.schema([]), LIMIT)


def read(stream, tag="pyarrow.Table"):
    return values.decode(json.dumps({"@": tag, "v": base64.b64encode(stream).decode()}))


def stream(codec=None, metadata=None):
    schema = pa.schema([pa.field("a", pa.int64(), metadata=metadata)])
    out = io.BytesIO()
    with pa.ipc.new_stream(out, schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write(pa.table([pa.array([0] * 10_000)], schema=schema))
    return out.getvalue()


@pytest.mark.parametrize("tag", ["pyarrow.Table", "pyarrow.Array", "polars.DataFrame", "polars.Series", "pandas.arrow"])
def test_compressed_and_unsafe_streams_are_rejected(tag):
    read(stream(), "pyarrow.Table")
    unpickled = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": b"x"}
    for invalid in (
        stream("zstd"),
        stream("lz4"),
        stream(metadata=unpickled),
        b"",
        b"nonsense",
        stream()[:100],
        stream()[4:],
    ):
        with pytest.raises(ProtocolError):
            read(invalid, tag)


def test_compressed_dictionaries_are_rejected():
    table = pa.table({"c": pa.array(["a" * 1000] * 100).dictionary_encode()})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write(table)
    with pytest.raises(ValueError, match="compressed"):
        arrow.check(out.getvalue())


def test_invalid_text_is_rejected():
    text = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))
    with pytest.raises(ProtocolError, match="UTF8"):
        values.decode(values.encode("x", pa.table({"t": text}), LIMIT))


@given(st.lists(st.none() | st.text() | st.just("ä")), st.data())
def test_any_strings_survive_a_round_trip(texts, data):
    array = pa.array(texts, data.draw(st.sampled_from([pa.string(), pa.large_string()])))
    assert round_trip(array).equals(array)
    assert round_trip(pl.Series("s", texts, pl.String)).to_list() == texts


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_rejected(data):
    for tag in ("pyarrow.Table", "polars.DataFrame"):
        with contextlib.suppress(ProtocolError):
            read(data, tag)
