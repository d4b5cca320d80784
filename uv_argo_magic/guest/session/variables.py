"""The variables of a session: names, types and sizes.

Rule: this never runs the user's code. A size is 0 if it cannot be found without calling the object.
"""

import sys
import types

MOST = 200  # maximum variables; if there are more, the newest ones
BUILTIN = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range)


def describe(names, hidden):
    """[name, type, bytes, shape] of each variable except those in `hidden`, and the number of variables."""
    found = [
        name
        for name, value in list(names.items())
        if isinstance(name, str) and not name.startswith("_") and name not in hidden and not _is_module(value)
    ]
    return [_describe(name, names[name]) for name in found[-MOST:] if name in names], len(found)


def _is_module(value):
    return isinstance(value, types.ModuleType)


def _describe(name, value):
    kind = type(value)
    return [name[:100], kind.__qualname__[:100], size(value), shape(value)]


def size(value):
    """The bytes of a value, without the objects it refers to; for arrays and tables, of their data; 0: unknown."""
    kind = type(value)
    try:
        if kind in BUILTIN:
            return sys.getsizeof(value)
        package = kind.__module__.split(".")[0]
        if package == "numpy":
            return int(value.nbytes)
        if package == "pandas":
            return _size_in_pandas(value)
        if package == "polars":
            return int(value.estimated_size())
    except Exception:  # noqa: BLE001 - a library of another version
        return 0
    return 0


def _size_in_pandas(value):
    """Bytes of a table, a column or an index: a table's `memory_usage` takes 0.5 ms and more, after each cell."""
    manager = getattr(value, "_mgr", None)
    if manager is not None and hasattr(manager, "blocks"):
        return int(value.index.memory_usage() + sum(block.values.nbytes for block in manager.blocks))
    used = value.memory_usage(deep=False)
    return int(used if isinstance(used, int) else used.sum())


def shape(value):
    """The shape of an array or table, the length of a container, or ""."""
    kind = type(value)
    try:
        if kind.__module__.split(".")[0] in ("numpy", "pandas", "polars", "torch", "xarray"):
            found = getattr(value, "shape", None)
            return "x".join(str(int(length)) for length in found) if isinstance(found, tuple) else ""
        if kind in BUILTIN and hasattr(value, "__len__"):
            return str(len(value))
    except Exception:  # noqa: BLE001 - a library of another version
        return ""
    return ""
