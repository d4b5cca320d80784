"""DataFrames, Series, indexes, arrays and scalars of pandas: columns as numpy buffers, with or without pyarrow.

Rules:
- Each column keeps its dtype. Strings are sent as one buffer of UTF-8 and the positions of their ends, for every dtype.
- Between pandas 2 and 3, strings change their dtype as in `read_parquet`: object becomes str, and str becomes object.
- Types without a public constructor in pandas are not plain data.
"""

import datetime as dt
import sys

from .trees import Unsupported, raw, reader, tag

PLAIN = ("NumpyExtensionArray", "PandasArray", "DatetimeArray", "TimedeltaArray")
"""Arrays of pandas that contain a numpy array; the first two are names of the same class."""


def _pandas():
    import pandas

    return pandas


def _arrow():
    from . import arrow

    return arrow


def _major(pd):
    return int(pd.__version__.partition(".")[0])


def pack(value, inner):
    """The tree of a pandas value."""
    pd = _pandas()
    kind = type(value)
    if kind is pd.DataFrame:
        return _pack_frame(value, inner)
    if kind is pd.Series:
        fields = {"v": _pack_array(value.array, inner), "index": inner(value.index), "name": inner(value.name)}
        return tag("pandas.Series", **_with_attributes(value, fields, inner))
    if isinstance(value, pd.Index):
        return _pack_index(value, inner)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return tag("pandas.array", v=_pack_array(value, inner))
    return _pack_scalar(pd, value, inner)


def _pack_scalar(pd, value, inner):
    kind = type(value)
    if value is pd.NaT or value is pd.NA:
        return tag("pandas.missing", v="NaT" if value is pd.NaT else "NA")
    if kind is pd.Timestamp:
        return tag("pandas.Timestamp", v=inner(value.asm8), zone=pack_zone(value.tz))
    if kind is pd.Timedelta:
        return tag("pandas.Timedelta", v=inner(value.asm8))
    if kind is pd.Period:
        return tag("pandas.Period", v=value.ordinal, freq=value.freqstr)
    if kind is pd.Interval:
        return tag("pandas.Interval", left=inner(value.left), right=inner(value.right), closed=value.closed)
    raise Unsupported


def _pack_frame(frame, inner):
    arrays = [frame.iloc[:, number].array for number in range(frame.shape[1])]
    fields = {"index": inner(frame.index), "columns": inner(frame.columns)}
    dtypes = set(frame.dtypes)
    if len(arrays) > 1 and len(dtypes) == 1 and _is_plain(next(iter(dtypes))):
        fields["block"] = inner(frame.to_numpy(copy=False))
    else:
        fields["data"] = []
        for number, array in enumerate(arrays):
            try:
                fields["data"].append(_pack_array(array, inner))
            except Exception as error:
                if hasattr(error, "path"):  # NotPlain of guest/values.py
                    error.path.insert(0, "[%r]" % (frame.columns[number],))
                raise
    return tag("pandas.DataFrame", **_with_attributes(frame, fields, inner))


def _with_attributes(value, fields, inner):
    if value.attrs:
        fields["attrs"] = inner(dict(value.attrs))
    if not value.flags.allows_duplicate_labels:
        fields["unique"] = True
    return fields


def _is_plain(dtype):
    import numpy as np

    return isinstance(dtype, np.dtype) and dtype.kind in "biufcmM"


def _pack_array(array, inner):  # noqa: PLR0911 - one case for each dtype
    """The tree of a column or of an index's values."""
    pd = _pandas()
    dtype = array.dtype
    name = type(dtype).__name__
    if name == "CategoricalDtype":
        return tag(
            "pandas.categorical", v=inner(array.codes), categories=inner(array.categories), ordered=bool(array.ordered)
        )
    if name == "StringDtype":
        return _pack_strings(pd, array, dtype, inner)
    if name == "ArrowDtype":
        return tag("pandas.arrow", v=_arrow().write(_to_arrow(array)))
    if name == "DatetimeTZDtype":
        naive = array.tz_convert("UTC").tz_localize(None)
        return tag("pandas.zoned", v=inner(naive.to_numpy(dtype="M8[%s]" % dtype.unit)), zone=pack_zone(dtype.tz))
    if name == "PeriodDtype":
        return tag("pandas.period", v=inner(array.asi8), freq=array.freqstr)
    if name == "IntervalDtype":
        return tag("pandas.interval", left=inner(array.left), right=inner(array.right), closed=array.closed)
    if name == "SparseDtype":
        found = array.sp_index
        block = type(found).__name__ == "BlockIndex"
        places = found.to_int_index().indices
        return tag(
            "pandas.sparse", v=inner(array.sp_values), places=inner(places), length=len(array), block=block,
            fill=inner(array.fill_value), dtype=_pack_subtype(dtype.subtype),
        )  # fmt: skip
    if type(array).__name__ in ("IntegerArray", "FloatingArray", "BooleanArray"):
        plain = array.to_numpy(dtype=getattr(dtype, "numpy_dtype", "bool"), na_value=0)
        return tag("pandas.masked", kind=type(array).__name__, v=inner(plain), mask=inner(array.isna()))
    if type(array).__name__ not in PLAIN:
        raise Unsupported  # an extension of another library
    values = array.to_numpy()
    if values.dtype == object:
        texts = pack_texts(values.tolist(), inner)
        return dict(texts, old=_major(pd) < 3) if texts else inner(values)
    return inner(values)


def _pack_subtype(dtype):
    if not _is_plain(dtype):
        raise Unsupported
    return dtype.str


def _pack_strings(pd, array, dtype, inner):
    """Strings with a string dtype."""
    if dtype.storage.startswith("pyarrow"):
        import pyarrow as pa

        column = _to_arrow(array)
        chunk = pa.chunked_array(column.chunks, type=column.type).cast(pa.large_string()).combine_chunks()
        if isinstance(chunk, pa.ChunkedArray):
            chunk = chunk.chunk(0) if chunk.num_chunks else pa.array([], pa.large_string())
        tree = _pack_arrow_texts(chunk, inner)
    else:
        tree = pack_texts([None if missing else text for text, missing in zip(array, array.isna())], inner, True)
        if tree is None:
            raise Unsupported
    is_na = getattr(dtype, "na_value", pd.NA) is pd.NA
    # The default storage depends on whether pyarrow is installed, so the other end uses its own default.
    storage = "" if dtype == _string_dtype(pd, "", is_na) else dtype.storage.partition("_")[0]
    return tag("pandas.string", v=tree, storage=storage, na=is_na)


def _string_dtype(pd, storage, is_na):
    """The string dtype; without pyarrow, its storage is python."""
    options = {} if is_na else {"na_value": float("nan")}
    try:
        return pd.StringDtype(storage or None, **options)
    except ImportError:
        return pd.StringDtype("python", **options)


def _to_arrow(array):
    import pyarrow as pa

    column = array.__arrow_array__()
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column], type=column.type)


def _pack_arrow_texts(chunk, inner):
    import numpy as np
    import pyarrow as pa

    if chunk.offset:
        chunk = pa.concat_arrays([chunk.slice(0, 0), chunk])  # without the data before the slice
    count = len(chunk)
    _, ends, data = chunk.buffers()
    places = np.frombuffer(ends, np.int64)[: count + 1] if ends else np.zeros(1, np.int64)
    body = memoryview(data)[places[0] : places[-1]] if data else b""
    mask = np.asarray(chunk.is_null()) if chunk.null_count else None
    return tag("texts", v=body, ends=inner(places - places[0]), mask=None if mask is None else inner(mask))


def pack_texts(items, inner, may_lack=False):
    """The tree of a list of str and None, in one buffer; None for any other list, or one without a str.

    With `may_lack`, a list without a str is allowed.
    """
    import numpy as np

    kinds = set(map(type, items))
    if not kinds <= {str, type(None)} or not (may_lack or str in kinds):
        return None
    missing = type(None) in kinds
    texts = [text or "" for text in items] if missing else items
    try:
        data = "".join(texts).encode("utf-8")
        if len(data) == sum(map(len, texts)):
            sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        else:
            sizes = np.fromiter((len(text.encode("utf-8")) for text in texts), np.int64, len(texts))
    except UnicodeEncodeError:  # a lone surrogate: use JSON
        return None
    ends = np.zeros(len(texts) + 1, np.int64)  # type: ignore[var-annotated]  # this code supports Python 3.8
    np.cumsum(sizes, out=ends[1:])
    mask = inner(np.array([text is None for text in items])) if missing else None
    return tag("texts", v=data, ends=inner(ends), mask=mask)


def _pack_index(index, inner):
    pd = _pandas()
    kind = type(index)
    if kind is pd.RangeIndex:
        return tag("pandas.RangeIndex", v=[index.start, index.stop, index.step], name=inner(index.name))
    if kind is pd.MultiIndex:
        return tag(
            "pandas.MultiIndex", levels=[inner(level) for level in index.levels],
            codes=[inner(codes) for codes in _plain_codes(index)], names=[inner(name) for name in index.names],
        )  # fmt: skip
    if kind.__module__.partition(".")[0] != "pandas":
        raise Unsupported
    freq = _pack_freq(pd, index.freq) if kind in (pd.DatetimeIndex, pd.TimedeltaIndex) else None
    return tag("pandas.Index", v=_pack_array(index.array, inner), name=inner(index.name), freq=freq)


def _pack_freq(pd, freq):
    """The text of a frequency, unless it has more than its text, such as holidays."""
    if freq is None:
        return None
    try:
        is_complete = pd.tseries.frequencies.to_offset(freq.freqstr) == freq
    except ValueError:
        is_complete = False
    if not is_complete:
        raise Unsupported
    return freq.freqstr


def _plain_codes(index):
    import numpy as np

    return [np.asarray(codes) for codes in index.codes]


def pack_zone(zone):
    """A time zone: None, its offset in microseconds, its key, or [library, key]."""
    if zone is None:
        return None
    if type(zone) is dt.timezone:
        return zone.utcoffset(None) // dt.timedelta(microseconds=1)
    if type(zone).__module__ == "zoneinfo" and zone.key:
        return zone.key
    if type(zone).__module__.partition(".")[0] == "pytz" and getattr(zone, "zone", None):
        return ["pytz", zone.zone]
    raise Unsupported


def read_zone(tree):
    """The time zone of a tree."""
    if tree is None:
        return None
    if isinstance(tree, int):
        return dt.timezone(dt.timedelta(microseconds=tree))
    library, key = ("zoneinfo", tree) if isinstance(tree, str) else tree
    try:
        if library == "pytz":
            import pytz

            return pytz.timezone(key)
        import zoneinfo

        return zoneinfo.ZoneInfo(key)
    except ModuleNotFoundError:  # pandas 3 has no pytz, and Python 3.8 no zoneinfo: use the other library
        return _pandas().DatetimeTZDtype(tz=key).tz


@reader("pandas.missing")
def _read_missing(tree, _inner):
    pd = _pandas()
    return {"NaT": pd.NaT, "NA": pd.NA}[tree["v"]]


@reader("pandas.Timestamp")
def _read_timestamp(tree, inner):
    time = _pandas().Timestamp(inner(tree["v"]))
    zone = read_zone(tree["zone"])
    return time if zone is None else time.tz_localize("UTC").tz_convert(zone)


@reader("pandas.Timedelta")
def _read_timedelta(tree, inner):
    return _pandas().Timedelta(inner(tree["v"]))


@reader("pandas.Period")
def _read_one_period(tree, _inner):
    return _pandas().Period(ordinal=int(tree["v"]), freq=tree["freq"])


@reader("pandas.Interval")
def _read_one_interval(tree, inner):
    return _pandas().Interval(inner(tree["left"]), inner(tree["right"]), closed=tree["closed"])


@reader("pandas.DataFrame")
def _read_frame(tree, inner):
    pd = _pandas()
    index, columns = inner(tree["index"]), inner(tree["columns"])
    if "block" in tree:
        frame = pd.DataFrame(inner(tree["block"]), index=index, columns=columns, copy=False)
    else:
        data = [inner(part) for part in tree["data"]]
        frame = pd.DataFrame(
            {number: _series(array, index) for number, array in enumerate(data)}, index=index, copy=False
        )
        frame.columns = columns
    return _set_attributes(frame, tree, inner)


@reader("pandas.Series")
def _read_series(tree, inner):
    series = _series(inner(tree["v"]), inner(tree["index"]))
    series.name = inner(tree["name"])
    return _set_attributes(series, tree, inner)


def _series(array, index):
    # Pass the dtype, because pandas 3 infers one from an array of objects.
    array = _in_known_unit(array)
    return _pandas().Series(array, index=index, dtype=array.dtype, copy=False)


def _in_known_unit(array):
    """The array, with times converted to nanoseconds before pandas 2."""
    if _major(_pandas()) < 2 and array.dtype.kind in "mM" and not hasattr(array.dtype, "tz"):
        return array.astype(array.dtype.kind + "8[ns]")
    return array


def _set_attributes(value, tree, inner):
    if "attrs" in tree:
        value.attrs.update(inner(tree["attrs"]))
    return value.set_flags(allows_duplicate_labels=False) if tree.get("unique") else value


@reader("pandas.Index")
def _read_index(tree, inner):
    pd = _pandas()
    array = _in_known_unit(inner(tree["v"]))
    index = pd.Index(array, dtype=array.dtype, name=inner(tree["name"]), copy=False)
    if tree["freq"]:
        index.freq = tree["freq"]
    return index


@reader("pandas.RangeIndex")
def _read_range(tree, inner):
    return _pandas().RangeIndex(*tree["v"], name=inner(tree["name"]))


@reader("pandas.MultiIndex")
def _read_multi(tree, inner):
    levels, codes = [inner(part) for part in tree["levels"]], [inner(part) for part in tree["codes"]]
    names = [inner(name) for name in tree["names"]]
    return _pandas().MultiIndex(levels=levels, codes=codes, names=names, verify_integrity=True)


@reader("pandas.array")
def _read_array(tree, inner):
    array = _in_known_unit(inner(tree["v"]))
    return _pandas().array(array, dtype=array.dtype, copy=False)


@reader("pandas.categorical")
def _read_categorical(tree, inner):
    pd = _pandas()
    return pd.Categorical.from_codes(inner(tree["v"]), inner(tree["categories"]), ordered=bool(tree["ordered"]))


@reader("pandas.masked")
def _read_masked(tree, inner):
    if tree["kind"] not in ("IntegerArray", "FloatingArray", "BooleanArray"):
        raise ValueError("an unknown kind of array")
    return getattr(_pandas().arrays, tree["kind"])(inner(tree["v"]), inner(tree["mask"]))


@reader("pandas.zoned")
def _read_zoned(tree, inner):
    pd = _pandas()
    return pd.DatetimeIndex(inner(tree["v"])).tz_localize("UTC").tz_convert(read_zone(tree["zone"])).array


@reader("pandas.period")
def _read_period(tree, inner):
    pd = _pandas()
    return pd.arrays.PeriodArray(inner(tree["v"]), dtype=pd.PeriodDtype(tree["freq"]))


@reader("pandas.interval")
def _read_interval(tree, inner):
    left, right = inner(tree["left"]), inner(tree["right"])
    return _pandas().arrays.IntervalArray.from_arrays(left, right, closed=tree["closed"])


@reader("pandas.sparse")
def _read_sparse(tree, inner):
    import numpy as np

    kind = _pandas().arrays.SparseArray
    dtype, fill, length = np.dtype(tree["dtype"]), inner(tree["fill"]), int(tree["length"])
    data, places = inner(tree["v"]), np.asarray(inner(tree["places"]), np.int32)
    if hasattr(kind, "from_indices"):  # pandas 3.1
        how = "block" if tree["block"] else "integer"
        return kind.from_indices(data, places, length, fill_value=fill, kind=how, dtype=dtype)
    from pandas._libs.sparse import IntIndex  # it has no public name

    index = IntIndex(length, places)
    index = index.to_block_index() if tree["block"] else index
    return kind(data, sparse_index=index, fill_value=fill, dtype=_pandas().SparseDtype(dtype, fill))


@reader("pandas.arrow")
def _read_arrow(tree, _inner):
    return _pandas().arrays.ArrowExtensionArray(_arrow().read_column(raw(tree)))


@reader("texts")
def _read_texts(tree, inner):
    """An array of objects; if this pandas is newer than the sender's, an array of its string dtype."""
    import numpy as np

    items = _texts(tree, inner)
    if tree.get("old") and "pandas" in sys.modules and _major(_pandas()) >= 3:
        return _pandas().array(items, dtype="str")
    array = np.empty(len(items), object)  # type: ignore[var-annotated]  # as above
    array[:] = items
    return array


def _ends(tree, inner):
    """(bytes, ends of the strings, mask or None), checked."""
    import numpy as np

    body, ends = raw(tree), np.asarray(inner(tree["ends"]), np.int64)
    mask = None if tree["mask"] is None else np.asarray(inner(tree["mask"]), bool)
    if not len(ends) or ends[0] != 0 or ends[-1] != len(body) or (ends[1:] < ends[:-1]).any():
        raise ValueError("texts whose ends do not fit")
    if mask is not None and len(mask) != len(ends) - 1:
        raise ValueError("texts whose mask does not fit")
    return body, ends, mask


def _texts(tree, inner):
    body, ends, mask = _ends(tree, inner)
    data = bytes(body)
    places = ends.tolist()
    if data.isascii() if hasattr(data, "isascii") else False:
        text = data.decode("ascii")
        items = [text[start:end] for start, end in zip(places, places[1:])]
    else:
        items = [data[start:end].decode("utf-8") for start, end in zip(places, places[1:])]
    if mask is not None:
        return [None if missing else item for item, missing in zip(items, mask.tolist())]
    return items


@reader("pandas.string")
def _read_strings(tree, inner):
    pd = _pandas()
    is_na, storage = bool(tree["na"]), tree["storage"]
    if storage not in ("", "python", "pyarrow"):
        raise ValueError("an unknown storage of texts")
    if not is_na and _major(pd) < 3:
        return _read_texts(tree["v"], inner)
    dtype = _string_dtype(pd, storage, is_na)
    if dtype.storage == "python":
        return pd.array(_texts(tree["v"], inner), dtype=dtype)
    import pyarrow as pa

    body, ends, mask = _ends(tree["v"], inner)
    valid = None if mask is None else pa.array(~mask).buffers()[1]
    column = pa.LargeStringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(body), valid)
    column.validate(full=True)
    return dtype.__from_arrow__(column)
