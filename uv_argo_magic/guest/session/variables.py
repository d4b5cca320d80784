"""The variables of a session: names, types and sizes.

Rule: no code of the user's runs: sizes are those that are known without asking an object, else 0.
"""

import sys
import types

MOST = 200  # variables; the newest, as far as there are more
BUILTIN = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range)


def describe(names, hidden):
    """[name, type, bytes, shape] of each variable but the names in `hidden`, and how many there are."""
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
    """Bytes of a value itself, without what it refers to; for arrays and tables of their data; 0: not known."""
    kind = type(value)
    try:
        if kind in BUILTIN:
            return sys.getsizeof(value)
        package = kind.__module__.split(".")[0]
        if package == "numpy":
            return int(value.nbytes)
        if package == "pandas":
            used = value.memory_usage(deep=False)
            return int(used if isinstance(used, int) else used.sum())
        if package == "polars":
            return int(value.estimated_size())
    except Exception:  # noqa: BLE001 - a library of another version
        return 0
    return 0


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
