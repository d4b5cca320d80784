"""Python values <-> text, in the guest: JSON, with tags for what JSON cannot express.

Rules:
- What arrives is equal, and of the same type at every depth; a type that cannot be kept so is refused by name.
- Reading runs no code of the value's: no pickle, no class looked up by name.
- A JSON object is a dict with text keys; with the key `@` it is a tag: {"@": "tuple", "v": [...]}.
- numpy is imported when an array arrives, never before; a value of numpy's has it imported already.
"""

import base64
import datetime as dt
import json
import math

TAG = "@"
DEEPEST = 200
LONG_INT = 8192  # bits; longer ones travel as hexadecimal, since newer Pythons refuse their decimal digits
KINDS = "biufcmMSUV"  # of numpy's: all that have a fixed size and are not objects


class CannotTravel(Exception):
    """A value that has no text: one sentence, and what to do."""

    def __init__(self, reason, hint):
        Exception.__init__(self, reason)
        self.reason = reason
        self.hint = hint
        self.path = []  # type: list[str]


def encode(name, value, limit):
    # type: (str, object, int) -> str
    """The text of `value`, at most `limit` bytes; CannotTravel, naming the part and what to do, path there is none."""
    try:
        text = json.dumps(pack(value), allow_nan=False, separators=(",", ":"))
    except CannotTravel as error:
        path = name + "".join(error.path)
        message = "%s %s, so %r cannot be sent. %s" % (path, error.reason, name, error.hint.replace("{}", path))
        raise CannotTravel(message, error.hint) from None
    if len(text) > limit:
        message = "%r takes %d bytes as text, and the limit is %d. " % (name, len(text), limit)
        hint = "Pull less of it, or write it to a file or a bucket that both sides can read."
        raise CannotTravel(message + hint, hint)
    return text


def decode(text):
    # type: (str) -> object
    """The value of a text; ValueError if it is invalid, CannotTravel if it needs a numpy that is missing."""
    return unpack(json.loads(text))


def pack(value, inside=()):  # noqa: C901 - one case a kind
    """The JSON tree of a value; CannotTravel where there is none."""
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if value.bit_length() <= LONG_INT else {TAG: "int", "v": hex(value)}
    if kind is float:
        return value if math.isfinite(value) else {TAG: "float", "v": repr(value)}
    if kind.__module__ == "numpy":
        return _pack_numpy(value)
    if kind in _ATOMS or (kind.__module__, kind.__name__) in _TEXTS:
        return {TAG: kind.__name__, "v": _ATOMS.get(kind, str)(value)}
    if kind not in (list, dict, tuple, set, frozenset):
        raise CannotTravel(*_reason(value))
    if id(value) in inside:
        raise CannotTravel("contains itself", "Pull the parts of it.")
    if len(inside) >= DEEPEST:
        raise CannotTravel("is nested more than %d deep" % DEEPEST, "Pull a flatter one, such as a list of rows.")
    inside = (*inside, id(value))
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
    except CannotTravel as error:
        error.path.insert(0, "[%.40r]" % (step,) if kind in (dict, list, tuple) else " (an element)")
        raise
    if kind is list:
        return items
    if kind is dict and TAG not in value and all(type(key) is str for key in value):
        return dict(items)
    return {TAG: kind.__name__, "v": items}


def unpack(tree):
    """The value of a JSON tree; ValueError if it is invalid."""
    if isinstance(tree, list):
        return [unpack(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if TAG not in tree:
        return {key: unpack(item) for key, item in tree.items()}
    if not isinstance(tree[TAG], str) or tree[TAG] not in _READERS:
        raise ValueError("unknown tag %r" % (tree[TAG],))
    try:
        return _READERS[tree[TAG]](tree)
    except (KeyError, TypeError, AttributeError, IndexError, ArithmeticError) as error:
        raise ValueError("tag %r: %r" % (tree[TAG], error)) from error


def _offset(zone):
    """Microseconds east of Greenwich; other time zones have rules that cannot be sent."""
    if zone is None:
        return None
    if type(zone) is not dt.timezone:
        raise CannotTravel("has a time zone with rules", "Pull {}.astimezone(datetime.timezone.utc).")
    return zone.utcoffset(None) // dt.timedelta(microseconds=1)


def _clock(value):
    return [value.replace(tzinfo=None, fold=0).isoformat(), value.fold, _offset(value.tzinfo)]


def _read_clock(kind, body):
    text, fold, offset = body
    zone = None if offset is None else dt.timezone(dt.timedelta(microseconds=offset))
    return kind.fromisoformat(text).replace(fold=fold, tzinfo=zone)


def _base64(value):
    return base64.b64encode(value).decode("ascii")


def _bytes(tree):
    return base64.b64decode(tree["v"], validate=True)


_ATOMS = {  # type: dict
    complex: lambda v: [pack(v.real), pack(v.imag)],
    bytes: _base64,
    bytearray: _base64,
    dt.datetime: _clock,
    dt.time: _clock,
    dt.date: lambda v: v.isoformat(),
    dt.timedelta: lambda v: [v.days, v.seconds, v.microseconds],
}
_TEXTS = (("decimal", "Decimal"), ("uuid", "UUID"))  # by name, since few cells import these modules

_READERS = {
    "int": lambda t: int(t["v"], 16),
    "float": lambda t: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[t["v"]],
    "complex": lambda t: complex(unpack(t["v"][0]), unpack(t["v"][1])),
    "bytes": _bytes,
    "bytearray": lambda t: bytearray(_bytes(t)),
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


def _pack_numpy(value):
    """An array or a scalar: its type, shape, order and bytes."""
    import numpy as np

    scalar = isinstance(value, np.generic)
    if not scalar and type(value) is not np.ndarray:
        raise CannotTravel(*_reason(value))
    array = np.asarray(value)
    tree = {TAG: "scalar" if scalar else "array", "dtype": _pack_dtype(array.dtype)}
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    if not scalar:
        tree.update(shape=list(array.shape), order=order)
    tree["v"] = _base64(array.tobytes(order=order))
    return tree


def _pack_dtype(dtype):
    if dtype.hasobject or dtype.kind not in KINDS:
        raise CannotTravel(
            "is a numpy array of %s" % dtype, "Give it a type of fixed size, such as {}.astype(float) or .astype('U')."
        )
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
            raise ValueError("an array of objects")
        return dtype
    if "base" in tree:
        return np.dtype((_read_dtype(np, tree["base"]), tuple(tree["shape"])))
    layout = {key: tree[key] for key in ("names", "offsets", "itemsize")}
    layout["formats"] = [_read_dtype(np, item) for item in tree["formats"]]
    return np.dtype(layout, align=bool(tree["aligned"]))


def _read_array(tree):
    try:
        import numpy as np
    except ImportError:
        hint = "Add numpy to --deps, or push a list: x.tolist()."
        reason = "the pushed value is a numpy array, but numpy is not among the cell's dependencies. "
        raise CannotTravel(reason + hint, hint) from None
    raw = _bytes(tree)
    dtype = _read_dtype(np, tree["dtype"])
    shape = tuple(tree["shape"])
    size = dtype.itemsize
    for side in shape:
        if type(side) is not int or side < 0:
            raise ValueError("an array with an impossible shape")
        size *= side
    if size != len(raw):
        raise ValueError("an array whose bytes do not fill its shape")
    # The copy is writable, and has the memory layout of the original.
    return np.ndarray(shape, dtype, raw or bytes(max(dtype.itemsize, 1)), order=tree["order"]).copy(order="K")


_READERS["array"] = _read_array
_READERS["scalar"] = lambda t: _read_array(dict(t, shape=[], order="C"))[()]

# Type -> an expression that can be sent instead; {} stands for the name.
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
    return "is a %s" % name, "Pull %s." % _instead(value, root, kind)


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
