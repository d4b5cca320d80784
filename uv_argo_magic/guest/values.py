"""Convert Python values to text and back: JSON, with tags for types that JSON lacks. Both ends use this module.

Rules:
- A decoded value is equal to the original and has the same types at every depth. Other values are not plain data.
- Decoding never runs code of the value: no pickle, no class imported by name.
- A JSON object is a dict with text keys; with the key `@`, it is a tag: {"@": "tuple", "v": [...]}.
- Long bytes can be separate from the text: {"@": "buffer", "v": 0} refers to the first buffer.
- numpy is imported only when an array is decoded. `extend` adds the types of other libraries
  (guest_values/libraries.py), if a run can need them.
"""

import base64
import datetime as dt
import functools
import json
import math

TAG = "@"
DEEPEST = 200
LONG_INT = 8192  # bits; longer integers are sent as hexadecimal, since newer Pythons limit decimal conversion
KINDS = "biufcmMSUV"  # numpy's kinds with a fixed size, except objects
SHORT = 1024  # bytes up to this length are part of the text
_PACKERS = []  # type: list


def extend(pack_more, readers):
    """Add types: `pack_more(value, inner)` returns a tree or None, `readers` has a function (tree, inner) by tag."""
    _PACKERS[:] = [pack_more]
    for name, read in readers.items():
        _READERS[name] = functools.partial(_read_more, read)


def _read_more(read, tree):
    return read(tree, unpack)


class NotPlain(Exception):
    """A value, or a part of it, is not plain data; has its description and what to use instead."""

    def __init__(self, reason, hint):
        Exception.__init__(self, reason)
        self.reason = reason
        self.hint = hint
        self.path = []  # type: list[str]

    def locate(self, name):
        """(path of the part, hint) for a value with this name."""
        path = name + "".join(self.path)
        return path, self.hint.replace("{}", path)


class Invalid(ValueError):
    """The text is not a valid value."""


class MissingLibrary(Exception):
    """A value needs a library that is not installed at this end."""

    def __init__(self, library):
        Exception.__init__(self, "the value needs %s" % library)
        self.library = library


def encode(value, buffers=None):
    """The text of `value`; bytes longer than SHORT are added to the list `buffers`, if given.

    Raises:
        NotPlain: the value is not plain data.
    """
    return dump(pack(value), buffers)


def dump(tree, buffers=None):
    """The text of a tree; `buffers` as for `encode`."""

    def place(raw):
        if buffers is None or len(raw) < SHORT:
            return base64.b64encode(raw).decode("ascii")
        buffers.append(raw)
        return {TAG: "buffer", "v": len(buffers) - 1}

    return json.dumps(tree, allow_nan=False, separators=(",", ":"), default=place)


def decode(text, buffers=()):
    """The value of a text and its buffers (writable memory), which the value then shares.

    Raises:
        ValueError: the text is invalid.
        MissingLibrary: the value needs a library that is not installed.
    """

    def find(tree):
        return buffers[tree["v"]] if tree.get(TAG) == "buffer" else tree

    try:
        return unpack(json.loads(text, object_hook=find if buffers else None))
    except (KeyError, TypeError, IndexError) as error:
        raise Invalid(repr(error)) from error


def pack(value, inside=()):  # noqa: C901, PLR0911, PLR0912 - one case for each type
    """The JSON tree of a value, with bytes and memoryviews in it; raises NotPlain if there is none."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if value.bit_length() <= LONG_INT else {TAG: "int", "v": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": repr(value)}
    if kind.__module__ == "numpy" and _is_plain_array(value):
        return _pack_numpy(value)
    if kind in _ATOMS or (kind.__module__, kind.__name__) in _TEXTS:
        return {TAG: kind.__name__, "v": _ATOMS.get(kind, str)(value)}
    if id(value) in inside:
        raise NotPlain("contains itself", "Use its parts instead.")
    if len(inside) >= DEEPEST:
        raise NotPlain("is nested more than %d deep" % DEEPEST, "Use a flatter one instead, such as a list of rows.")
    inside = (*inside, id(value))
    if kind not in (list, dict, tuple, set, frozenset):
        for packer in _PACKERS:
            tree = packer(value, lambda part: pack(part, inside))
            if tree is not None:
                return tree
        raise NotPlain(*_reason(value))
    items = []
    step = None  # the key or index of the part that is being packed
    try:
        if kind is dict:
            for key, item in value.items():
                step = key
                items.append([pack(key, inside), pack(item, inside)])
        else:
            for number, item in enumerate(value):
                step = number
                items.append(pack(item, inside))
    except NotPlain as error:
        error.path.insert(0, "[%.40r]" % (step,) if kind in (dict, list, tuple) else " (an element)")
        raise
    if kind is list:
        return items
    if kind is dict and TAG not in value and all(type(key) is str for key in value):
        return dict(items)
    return {TAG: kind.__name__, "v": items}


def unpack(tree):
    """The value of a JSON tree; raises ValueError if the tree is invalid."""
    if isinstance(tree, list):
        return [unpack(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if TAG not in tree:
        return {key: unpack(item) for key, item in tree.items()}
    name = tree[TAG]
    if not isinstance(name, str) or name not in _READERS:
        raise Invalid("unknown tag %r" % (name,))
    try:
        return _READERS[name](tree)
    except ModuleNotFoundError as error:
        raise MissingLibrary(str(error.name).partition(".")[0]) from error
    except (MissingLibrary, Invalid):
        raise
    except Exception as error:  # libraries raise many kinds of errors for invalid data
        if type(error).__name__ == "ZoneInfoNotFoundError":
            raise MissingLibrary("tzdata") from error
        raise Invalid("tag %r: %r" % (name, error)) from error


def _pack_zone(zone):
    """None, the fixed UTC offset in microseconds, or the key of a zoneinfo time zone; others cannot be sent."""
    if zone is None:
        return None
    if type(zone) is dt.timezone:
        return zone.utcoffset(None) // dt.timedelta(microseconds=1)
    if type(zone).__module__ == "zoneinfo" and zone.key:
        return zone.key
    raise NotPlain("has an unsupported time zone", "Use {}.astimezone(datetime.timezone.utc) instead.")


def _clock(value):
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _pack_zone(value.tzinfo)]


def _read_clock(kind, body):
    text, fold, zone = body
    if isinstance(zone, str):
        zone = __import__("zoneinfo").ZoneInfo(zone)
    elif zone is not None:
        zone = dt.timezone(dt.timedelta(microseconds=zone))
    return kind.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def raw(tree):
    """The bytes of a tree, from the text or a buffer."""
    body = tree["v"]
    return base64.b64decode(body, validate=True) if isinstance(body, str) else body


_ATOMS = {  # type: dict
    complex: lambda v: [pack(v.real), pack(v.imag)],
    bytes: bytes,
    bytearray: bytes,
    dt.datetime: _clock,
    dt.time: _clock,
    dt.date: lambda v: v.isoformat(),
    dt.timedelta: lambda v: [v.days, v.seconds, v.microseconds],
}
_TEXTS = (("decimal", "Decimal"), ("uuid", "UUID"))  # by name, because few cells import these modules

_READERS = {
    "int": lambda t: int(t["v"], 16),
    "float": lambda t: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[t["v"]],
    "complex": lambda t: complex(unpack(t["v"][0]), unpack(t["v"][1])),
    "bytes": lambda t: bytes(raw(t)),
    "bytearray": lambda t: bytearray(raw(t)),
    "tuple": lambda t: tuple(unpack(item) for item in t["v"]),
    "set": lambda t: {unpack(item) for item in t["v"]},
    "frozenset": lambda t: frozenset(unpack(item) for item in t["v"]),
    "dict": lambda t: {unpack(key): unpack(item) for key, item in t["v"]},
    "datetime": lambda t: _read_clock(dt.datetime, t["v"]),
    "time": lambda t: _read_clock(dt.time, t["v"]),
    "date": lambda t: dt.date.fromisoformat(t["v"]),
    "timedelta": lambda t: dt.timedelta(*t["v"]),
    "Decimal": lambda t: __import__("decimal").Decimal(t["v"]),
    "UUID": lambda t: __import__("uuid").UUID(t["v"]),
}


def _is_plain_array(value):
    import numpy as np

    scalar = isinstance(value, np.generic)
    return (scalar or type(value) is np.ndarray) and not value.dtype.hasobject and value.dtype.kind in KINDS


def _pack_numpy(value):
    """An array or a scalar: its type, shape, order and bytes."""
    import numpy as np

    array = np.asarray(value)
    tree = {TAG: "array", "dtype": _pack_dtype(array.dtype)}
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    if isinstance(value, np.generic):
        tree[TAG] = "scalar"
    else:
        tree.update(shape=list(array.shape), order=order)
    if array.nbytes < SHORT or not array.dtype.itemsize:
        tree["v"] = array.tobytes(order=order)
    else:  # without a copy, if the array has this order
        packed = np.asfortranarray(array) if order == "F" else np.ascontiguousarray(array)
        tree["v"] = memoryview(packed.ravel(order="K").view(np.uint8))
    return tree


def _pack_dtype(dtype):
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return {"base": _pack_dtype(base), "shape": list(shape)}
    if dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [_pack_dtype(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
    }


def _read_dtype(np, tree):
    if isinstance(tree, str):
        dtype = np.dtype(tree)
        if dtype.hasobject:
            raise Invalid("an array of objects")
        return dtype
    if "base" in tree:
        return np.dtype((_read_dtype(np, tree["base"]), tuple(tree["shape"])))
    layout = {key: tree[key] for key in ("names", "offsets", "itemsize")}
    layout["formats"] = [_read_dtype(np, item) for item in tree["formats"]]
    return np.dtype(layout, align=bool(tree["aligned"]))


def _read_array(tree):
    import numpy as np

    body = raw(tree)
    dtype = _read_dtype(np, tree["dtype"])
    shape = tuple(tree["shape"])
    size = dtype.itemsize
    for side in shape:
        if type(side) is not int or side < 0:
            raise Invalid("an array with an impossible shape")
        size *= side
    if size != len(body):
        raise Invalid("an array whose bytes do not fill its shape")
    # Writable, with the memory layout of the original.
    array = np.ndarray(shape, dtype, body or bytes(max(dtype.itemsize, 1)), order=tree["order"])
    return array if array.flags.writeable and body else array.copy(order="K")


_READERS["array"] = _read_array
_READERS["scalar"] = lambda t: _read_array(dict(t, shape=[], order="C"))[()]

# Type -> an expression that can be sent instead; {} is replaced by the name.
_INSTEAD = {
    ("pandas", "DataFrame"): "{}.to_numpy() or {}.to_dict('list')",
    ("pandas", "Series"): "{}.to_numpy() or {}.tolist()",
    ("pandas", "Index"): "{}.to_numpy() or {}.tolist()",
    ("pandas", "Timestamp"): "{}.to_pydatetime()",
    ("polars", "DataFrame"): "{}.to_dict(as_series=False)",
    ("polars", "Series"): "{}.to_numpy() or {}.to_list()",
    ("pyarrow", "Table"): "{}.to_pydict()",
    ("torch", "Tensor"): "{}.detach().cpu().numpy()",
    ("numpy", "MaskedArray"): "{}.filled() and {}.mask",
    ("numpy", "matrix"): "numpy.asarray({})",
    ("builtins", "memoryview"): "bytes({})",
    ("fractions", "Fraction"): "({}.numerator, {}.denominator)",
}
_LISTS = ("deque", "generator", "range", "map", "filter", "zip", "dict_keys", "dict_values", "dict_items")


def _reason(value):
    # type: (object) -> tuple[str, str]
    kind = type(value)
    root = str(kind.__module__).partition(".")[0]
    name = kind.__qualname__ if root in ("builtins", "__main__") else "%s %s" % (root, kind.__qualname__)
    return "is a %s" % name, "Use %s instead." % _instead(value, root, kind)


def _instead(value, root, kind):
    expression = _INSTEAD.get((root, kind.__name__))
    if expression:
        return expression
    if root in ("builtins", "collections") and kind.__name__ in _LISTS:
        return "list({})"
    for attribute, instead in (
        ("_asdict", "{}._asdict() or tuple({})"),
        ("__dataclass_fields__", "dataclasses.asdict({})"),
        ("__members__", "{}.value"),
        ("__fspath__", "str({})"),
    ):
        if hasattr(kind, attribute):
            return instead
    for base in (dict, list, tuple, set, frozenset, str, bytes, int, float):
        if isinstance(value, base):
            return base.__name__ + "({})"
    return "the data in it, as numbers, text, lists, dicts or numpy arrays"
