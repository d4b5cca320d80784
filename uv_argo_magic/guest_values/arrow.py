"""Values of pyarrow and polars, as Arrow IPC streams.

Rule: a stream is checked before a library reads it. Compressed bodies are refused, because their decompressed size is
unlimited. So are extension types, because pyarrow would unpickle them.
"""

import io
import struct

from .trees import Unsupported, raw, reader, tag

UNPICKLED = b"arrow.py_extension_type"
CONTINUATION = 0xFFFFFFFF
RECORD_BATCH, DICTIONARY_BATCH = 3, 2  # message types in Arrow's Message.fbs


def pack(value, _inner):
    """The tree of a polars or pyarrow value."""
    return (pack_polars if type(value).__module__.startswith("polars.") else pack_pyarrow)(value)


def pack_polars(value):
    """The tree of a DataFrame, Series or LazyFrame; a LazyFrame is computed first."""
    import polars as pl

    kind = type(value)
    if kind is pl.LazyFrame:
        value, kind = value.collect(), pl.DataFrame
    frame = value.to_frame() if kind is pl.Series else value
    if kind not in (pl.Series, pl.DataFrame) or any(dtype == pl.Object for dtype in frame.dtypes):
        raise Unsupported
    out = io.BytesIO()
    frame.write_ipc_stream(out)
    return tag("polars." + kind.__name__, v=out.getbuffer())


@reader("polars.DataFrame")
def _read_polars(tree, _inner):
    import polars as pl

    return pl.read_ipc_stream(io.BytesIO(check(raw(tree))))


@reader("polars.Series")
def _read_series(tree, inner):
    return _read_polars(tree, inner).to_series(0)


def pack_pyarrow(value):
    """The tree of a Table, RecordBatch, Array or ChunkedArray."""
    import pyarrow as pa

    kind = next((name for name in KINDS if isinstance(value, getattr(pa, name))), None)
    if kind is None:
        raise Unsupported
    return tag("pyarrow." + kind, v=write(value))


KINDS = ("Table", "RecordBatch", "ChunkedArray", "Array")


def write(value):
    """The stream of a pyarrow value."""
    import pyarrow as pa

    if not isinstance(value, (pa.Table, pa.RecordBatch)):
        chunks = value.chunks if isinstance(value, pa.ChunkedArray) else [value]
        value = pa.table({"v": pa.chunked_array(chunks, type=value.type)})
    sink = pa.BufferOutputStream()
    try:
        with pa.ipc.new_stream(sink, value.schema) as stream:
            stream.write(value)
    except pa.ArrowException:
        raise Unsupported from None
    data = memoryview(sink.getvalue())
    if UNPICKLED in data[:65536].tobytes():
        raise Unsupported
    return data


def read(data):
    """The table of a stream."""
    import pyarrow as pa

    table = pa.ipc.open_stream(pa.py_buffer(check(data))).read_all()
    table.validate(full=True)
    return table


def read_column(data):
    """The only column of a stream, as a ChunkedArray."""
    return read(data).column(0)


@reader("pyarrow.Table")
def _read_table(tree, _inner):
    return read(raw(tree))


@reader("pyarrow.RecordBatch")
def _read_batch(tree, _inner):
    import pyarrow as pa

    table = read(raw(tree))
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


@reader("pyarrow.ChunkedArray")
def _read_chunked(tree, _inner):
    return read_column(raw(tree))


@reader("pyarrow.Array")
def _read_array(tree, _inner):
    import pyarrow as pa

    column = read_column(raw(tree))
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # pyarrow before 12, or no rows
        array = array.chunk(0) if array.num_chunks else pa.array([], type=column.type)
    return array


def check(data):
    """Check that each message of a stream is allowed, and return the stream."""
    view = memoryview(data)
    position = 0
    while position + 8 <= len(view):
        mark, length = struct.unpack_from("<Ii", view, position)
        if mark != CONTINUATION:
            raise ValueError("not a stream of Arrow IPC")
        if length == 0:
            break
        start = position + 8
        message = bytes(view[start : start + length])
        if UNPICKLED in message:
            raise ValueError("an Arrow extension type that would be unpickled")
        root = struct.unpack_from("<I", message)[0]
        header, kind, body = (_field(message, root, slot) for slot in (8, 6, 10))
        kind = message[kind] if kind else 0
        if kind in (RECORD_BATCH, DICTIONARY_BATCH) and header:
            batch = _follow(message, header)
            if kind == DICTIONARY_BATCH:
                data_at = _field(message, batch, 6)
                batch = _follow(message, data_at) if data_at else batch
            if _field(message, batch, 10):
                raise ValueError("a compressed Arrow body")
        size = struct.unpack_from("<q", message, body)[0] if body else 0
        if size < 0:
            raise ValueError("an Arrow body of negative size")
        position = start + length + size
    return data


def _follow(message, position):
    return position + struct.unpack_from("<I", message, position)[0]


def _field(message, table, slot):
    """The position of a field in a flatbuffer table, or 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, vtable)[0]
    offset = struct.unpack_from("<H", message, vtable + slot)[0] if slot < size else 0
    return table + offset if offset else 0
