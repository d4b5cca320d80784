"""Python values as text and back: JSON, with tags for what JSON cannot express.

The guest's `values.py` is the other side; docs/protocol.md, `value`, has the table of tags.

Rules:
- A decoded value is equal and of the same type at every depth; a type that cannot be kept is an error.
- Decoding runs no code of the value: no pickle, no class looked up by name.
- A JSON object is a dict with text keys; with the key `@` it is a tag: {"@": "tuple", "v": [...]}.
- numpy is imported only when a value needs it.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import decimal
import importlib
import json
import math
import uuid
from collections.abc import Sized
from typing import TYPE_CHECKING, Any, TypeAlias

from uv_argo_magic.errors import ArgoMagicError, ProtocolError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

TAG = "@"
DEEPEST = 200
LONG_INT = 8192  # bits; longer ones are sent as hexadecimal, since Python refuses their decimal digits

Tree: TypeAlias = Any
"""A value that `json` reads and writes."""
Foreign: TypeAlias = Any
"""A container of any items, or an object of numpy, which may not be installed."""
Part: TypeAlias = tuple[object, ...]


class _Refused(Exception):
    """A value that cannot be encoded; `path` leads to it from the outside."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.path: list[str] = []


class _Bad(ValueError):
    """An invalid text."""


def encode(name: str, value: object, limit: int) -> str:
    """Encode `value` as text of at most `limit` bytes.

    Raises:
        SpecError: a part of it cannot be encoded, or it is too large.
    """
    try:
        text = json.dumps(pack(value), allow_nan=False, separators=(",", ":"))
    except _Refused as error:
        location = name + "".join(error.path)
        raise SpecError(
            f"{location} {error.reason}, so {name!r} cannot be sent", hint=error.hint.replace("{}", location)
        ) from None
    if len(text) > limit:
        raise SpecError(
            f"{name!r} takes {len(text)} bytes, but the limit is {limit}",
            hint="Send less of it, raise --set value_limit, or use a file or bucket that both sides can read.",
        )
    return text


LARGE = 1000
"""Items from which on a value is not looked into, where only its kind matters."""


def can_encode(value: object) -> bool:
    """Whether a value is of a kind that can be encoded; large ones are not looked into."""
    if isinstance(value, Sized) and len(value) > LARGE and (type(value) in _CONTAINERS or type(value) is str):
        return True
    if getattr(value, "size", 0) > LARGE and type(value).__module__ == "numpy":
        return getattr(getattr(value, "dtype", None), "kind", "O") != "O"
    try:
        pack(value)
    except _Refused:
        return False
    return True


def decode(text: str) -> object:
    """Decode the text of a value.

    Raises:
        ProtocolError: the text is invalid.
        ArgoMagicError: the value needs numpy, which is not installed here.
    """
    try:
        return unpack(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"unreadable value: {error}", hint="Please report this with the cell.") from error


def pack(value: object, *, _inside: tuple[int, ...] = ()) -> Tree:
    """The JSON tree of a value.

    Raises:
        _Refused: the value, or a part of it, cannot be encoded.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if isinstance(value, int) and kind is int:
        return value if value.bit_length() <= LONG_INT else _tag("int", hex(value))
    if isinstance(value, float) and kind is float:
        return value if math.isfinite(value) else _tag("float", repr(value))
    if kind.__module__ == "numpy":
        return _pack_numpy(value)
    atom = _ATOMS.get(kind)
    if atom:
        return _tag(kind.__name__, atom(value))
    if kind not in _CONTAINERS:
        raise _Refused(*_refusal(value))
    if id(value) in _inside:
        raise _Refused("contains itself", "Send its parts.")
    if len(_inside) >= DEEPEST:
        raise _Refused(f"is nested more than {DEEPEST} deep", "Send a flatter one, such as a list of rows.")
    inside = (*_inside, id(value))
    if isinstance(value, dict):
        return _pack_dict(value, inside)
    items = _pack_items(value, inside)
    return items if kind is list else _tag(kind.__name__, items)


def unpack(tree: Tree) -> object:
    """The value of a JSON tree.

    Raises:
        ValueError: the tree is invalid.
    """
    if isinstance(tree, list):
        return [unpack(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if TAG not in tree:
        return {key: unpack(item) for key, item in tree.items()}
    read = _READERS.get(tree[TAG]) if isinstance(tree[TAG], str) else None
    if read is None:
        raise _Bad(f"unknown tag {tree[TAG]!r}")
    try:
        return read(tree)
    except (KeyError, TypeError, AttributeError, IndexError, ArithmeticError, binascii.Error) as error:
        raise _Bad(f"tag {tree[TAG]!r}: {type(error).__name__}: {error}") from error


def _tag(name: str, body: Tree) -> Tree:
    return {TAG: name, "v": body}


_CONTAINERS = (list, dict, tuple, set, frozenset)


def _pack_items(value: Foreign, inside: tuple[int, ...]) -> list[Tree]:
    items: list[Tree] = []
    for item in value:
        try:
            items.append(pack(item, _inside=inside))
        except _Refused as error:
            error.path.insert(0, f"[{len(items)}]" if isinstance(value, list | tuple) else " (an element)")
            raise
    return items


def _pack_dict(value: dict[Any, Any], inside: tuple[int, ...]) -> Tree:
    pairs: list[Part] = []
    for key, item in value.items():
        try:
            pairs.append((pack(key, _inside=inside), pack(item, _inside=inside)))
        except _Refused as error:
            error.path.insert(0, f"[{key!r:.40}]")
            raise
    if all(type(key) is str for key in value) and TAG not in value:
        return dict(pairs)  # type: ignore[arg-type]
    return _tag("dict", [list(pair) for pair in pairs])


def _offset(zone: dt.tzinfo | None) -> Tree:
    """Offset from UTC in microseconds; other time zones have rules that cannot be sent."""
    if zone is None:
        return None
    if type(zone) is not dt.timezone:
        raise _Refused("has a time zone with rules", "Send {}.astimezone(datetime.timezone.utc).")
    return zone.utcoffset(None) // dt.timedelta(microseconds=1)


def _zone(offset: Tree) -> dt.timezone | None:
    return None if offset is None else dt.timezone(dt.timedelta(microseconds=offset))


_ATOMS: dict[type, Callable[[Any], Tree]] = {
    complex: lambda v: [pack(v.real), pack(v.imag)],
    bytes: lambda v: base64.b64encode(v).decode("ascii"),
    bytearray: lambda v: base64.b64encode(v).decode("ascii"),
    dt.datetime: lambda v: [v.replace(tzinfo=None, fold=0).isoformat(), v.fold, _offset(v.tzinfo)],
    dt.time: lambda v: [v.replace(tzinfo=None, fold=0).isoformat(), v.fold, _offset(v.tzinfo)],
    dt.date: lambda v: v.isoformat(),
    dt.timedelta: lambda v: [v.days, v.seconds, v.microseconds],
    decimal.Decimal: str,
    uuid.UUID: str,
}

_READERS: dict[str, Callable[[dict[str, Tree]], object]] = {
    "int": lambda t: int(t["v"], 16),
    "float": lambda t: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[t["v"]],
    "complex": lambda t: complex(unpack(t["v"][0]), unpack(t["v"][1])),  # type: ignore[call-overload]
    "bytes": lambda t: base64.b64decode(t["v"], validate=True),
    "bytearray": lambda t: bytearray(base64.b64decode(t["v"], validate=True)),
    "tuple": lambda t: tuple(unpack(item) for item in t["v"]),
    "set": lambda t: {unpack(item) for item in t["v"]},
    "frozenset": lambda t: frozenset(unpack(item) for item in t["v"]),
    "dict": lambda t: {unpack(key): unpack(item) for key, item in t["v"]},
    "datetime": lambda t: dt.datetime.fromisoformat(t["v"][0]).replace(fold=t["v"][1], tzinfo=_zone(t["v"][2])),
    "time": lambda t: dt.time.fromisoformat(t["v"][0]).replace(fold=t["v"][1], tzinfo=_zone(t["v"][2])),
    "date": lambda t: dt.date.fromisoformat(t["v"]),
    "timedelta": lambda t: dt.timedelta(*t["v"]),
    "Decimal": lambda t: decimal.Decimal(t["v"]),
    "UUID": lambda t: uuid.UUID(t["v"]),
}


def _pack_numpy(value: Foreign) -> Tree:
    """An array or a scalar: its type, shape, order and bytes."""
    numpy = importlib.import_module("numpy")
    scalar = isinstance(value, numpy.generic)
    if not scalar and type(value) is not numpy.ndarray:
        raise _Refused(*_refusal(value))
    array = numpy.asarray(value)
    tree = {TAG: "scalar" if scalar else "array", "dtype": _pack_dtype(array.dtype)}
    if not scalar:
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        tree |= {"shape": list(array.shape), "order": "F" if fortran else "C"}
    raw = array.tobytes(order=tree.get("order", "C"))
    return tree | {"v": base64.b64encode(raw).decode("ascii")}


def _pack_dtype(dtype: Foreign) -> Tree:
    if dtype.hasobject or dtype.kind not in "biufcmMSUV":
        raise _Refused(
            f"is a numpy array of {dtype}", "Give it a type of fixed size, such as {}.astype(float) or .astype('U')."
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


def _read_dtype(numpy: Foreign, tree: Tree) -> Foreign:
    if isinstance(tree, str):
        dtype = numpy.dtype(tree)
        if dtype.hasobject:
            raise _Bad("an array of objects")
        return dtype
    if "base" in tree:
        return numpy.dtype((_read_dtype(numpy, tree["base"]), tuple(tree["shape"])))
    layout = {key: tree[key] for key in ("names", "offsets", "itemsize")}
    formats = [_read_dtype(numpy, item) for item in tree["formats"]]
    return numpy.dtype({**layout, "formats": formats}, align=bool(tree["aligned"]))


def _read_array(tree: dict[str, Tree]) -> Foreign:
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        raise ArgoMagicError(
            "a pulled value is a numpy array, but numpy is not installed here",
            hint="Install numpy in the notebook's environment, or pull a list: x.tolist().",
        ) from None
    raw = base64.b64decode(tree["v"], validate=True)
    dtype = _read_dtype(numpy, tree["dtype"])
    shape = tuple(tree["shape"])
    # Checked before numpy allocates memory for a wrong shape.
    if any(type(side) is not int or side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != len(raw):
        raise _Bad("an array whose bytes do not fill its shape")
    # The copy is writable, with the memory layout of the original.
    return numpy.ndarray(shape, dtype, raw or bytes(max(dtype.itemsize, 1)), order=tree["order"]).copy(order="K")


_READERS["array"] = _read_array
_READERS["scalar"] = lambda t: _read_array({**t, "shape": [], "order": "C"})[()]

# What to send instead of a value that cannot be encoded; {} is its name.
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
_BY_ATTRIBUTE = (
    ("_asdict", "{}._asdict() or tuple({})"),
    ("__dataclass_fields__", "dataclasses.asdict({})"),
    ("__members__", "{}.value"),
    ("__fspath__", "str({})"),
)


def _refusal(value: object) -> tuple[str, str]:
    kind = type(value)
    root = kind.__module__.partition(".")[0]
    name = kind.__qualname__ if root in ("builtins", "__main__") else f"{root} {kind.__qualname__}"
    return f"is a {name}", f"Send {_instead(value, root, kind)}."


def _instead(value: object, root: str, kind: type) -> str:
    replacement = _INSTEAD.get((root, kind.__name__))
    if replacement:
        return replacement
    if root in ("builtins", "collections") and kind.__name__ in _LISTS:
        return "list({})"
    for attribute, instead in _BY_ATTRIBUTE:
        if hasattr(kind, attribute):
            return instead
    for base in (dict, list, tuple, set, frozenset, str, bytes, int, float):
        if isinstance(value, base):
            return f"{base.__name__}({{}})"
    return "the data in it, as numbers, text, lists, dicts or numpy arrays"
