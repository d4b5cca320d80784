"""Convert values of libraries to JSON trees with bytes and back; guest/values.py writes the trees as text.

Rules:
- Only exact types are supported, because a subclass can have additional data.
- Reading imports the library, and calls only constructors of data.
- For all other values `pack` returns None.
"""

import importlib
import sys

from . import classes
from .trees import READERS, Unsupported, reader, tag

__all__ = ["READERS", "load", "pack"]

MODULES = {"pandas": "frames", "polars": "arrow", "pyarrow": "arrow"}
"""Library -> the module of this package for its values, which is sent only if it can be needed."""
SPARSE = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


def pack(value, inner):
    """The tree of a value, or None; `inner` packs its parts."""
    root = type(value).__module__.partition(".")[0]
    packers = {"numpy": _pack_numpy, "scipy": _pack_sparse}
    try:
        if root in MODULES and root in sys.modules:
            return importlib.import_module("." + MODULES[root], __package__).pack(value, inner)
        return packers.get(root, classes.pack)(value, inner)
    except (Unsupported, ImportError):
        return None


def load():
    """Register the readers of all modules that were sent with this run."""
    for name in sorted(set(MODULES.values())):
        try:
            importlib.import_module("." + name, __package__)
        except ModuleNotFoundError:  # not sent, since no value needs it
            pass


def _pack_numpy(value, inner):
    import numpy as np

    if type(value) is np.ma.MaskedArray:
        mask = np.ma.getmask(value)
        return tag(
            "masked", data=inner(value.data), mask=None if mask is np.ma.nomask else inner(mask),
            fill=inner(value.fill_value), hard=bool(value.hardmask),
        )  # fmt: skip
    if type(value) is np.ndarray and value.dtype == object:
        return tag("objects", shape=list(value.shape), v=pack_objects(value.reshape(-1), inner))
    raise Unsupported


@reader("masked")
def _read_masked(tree, inner):
    import numpy as np

    mask = np.ma.nomask if tree["mask"] is None else inner(tree["mask"])
    array = np.ma.MaskedArray(inner(tree["data"]), mask=mask, hard_mask=bool(tree["hard"]))
    array.fill_value = inner(tree["fill"])
    return array


@reader("objects")
def _read_objects(tree, inner):
    import numpy as np

    items = inner(tree["v"])
    if isinstance(items, np.ndarray):  # texts
        return items.reshape(tree["shape"])
    array = np.empty(len(items), object)  # type: ignore[var-annotated]  # of any items
    for number, item in enumerate(items):
        array[number] = item
    return array.reshape(tree["shape"])


def pack_objects(array, inner):
    """The tree of a flat array of objects: strings in one buffer, other objects one by one."""
    items = array.tolist()
    try:
        from . import frames
    except ImportError:  # not sent
        return inner(items)
    return frames.pack_texts(items, inner) or inner(items)


def _pack_sparse(value, inner):
    """A sparse matrix or array of any format."""
    kind = type(value)
    name, _, suffix = kind.__name__.partition("_")
    if not kind.__module__.startswith("scipy.sparse.") or name not in SPARSE or suffix not in ("matrix", "array"):
        raise Unsupported
    if name in ("csr", "csc", "bsr"):
        parts = [value.data, value.indices, value.indptr]
    elif name == "dia":
        parts = [value.data, value.offsets]
    else:
        flat = value.tocoo()
        parts = [flat.data, *(flat.coords if hasattr(flat, "coords") else (flat.row, flat.col))]
    return tag("scipy.sparse", c=kind.__name__, shape=list(value.shape), parts=[inner(part) for part in parts])


@reader("scipy.sparse")
def _read_sparse(tree, inner):
    name, _, suffix = tree["c"].partition("_")
    if name not in SPARSE or suffix not in ("matrix", "array"):
        raise ValueError("an unknown sparse format")
    sparse = importlib.import_module("scipy.sparse")
    shape = tuple(tree["shape"])
    data, *rest = [inner(part) for part in tree["parts"]]
    if name in ("csr", "csc", "bsr"):
        matrix = getattr(sparse, tree["c"])((data, *rest), shape=shape)
        matrix.check_format(full_check=True)  # before its C code uses the indexes
        return matrix
    if name == "dia":
        return getattr(sparse, tree["c"])((data, rest[0]), shape=shape)
    for indices, side in zip(rest, shape):
        if len(indices) and not (indices.min() >= 0 and indices.max() < side):
            raise ValueError("an index outside of the shape")
    matrix = getattr(sparse, "coo_" + suffix)((data, tuple(rest)), shape=shape)
    return matrix if name == "coo" else matrix.asformat(name)
