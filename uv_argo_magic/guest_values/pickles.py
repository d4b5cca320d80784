"""Pickle values that are not plain data, and find the part of a value that cannot be pickled.

Rules:
- pickle is used, unless something refers to `__main__` or cannot be imported by name. Then cloudpickle is used, which
  sends the code; that code needs the same minor version of Python.
- Both ends import cloudpickle under a private name, so that it is independent of the cell's version.
- Errors name the exact part that cannot be pickled, such as an attribute.
"""

import io
import pickle
import sys

from .trees import tag

PICKLE, CLOUDPICKLE = "pickle", "cloudpickle"
PROTOCOL = 5
DEEPEST = 40
PRIVATE = "uv_argo_cloudpickle"

_IS = {
    "lock": "a thread lock", "RLock": "a thread lock", "_RLock": "a thread lock", "generator": "a generator",
    "coroutine": "a coroutine", "socket": "a socket", "SSLSocket": "a socket", "TextIOWrapper": "an open file",
    "BufferedReader": "an open file", "BufferedWriter": "an open file", "FileIO": "an open file",
    "Connection": "a connection", "frame": "a stack frame", "_asyncio.Task": "a task", "Thread": "a thread",
    "ReferenceType": "a weak reference", "mmap": "a memory map", "memoryview": "a memory view",
}  # fmt: skip


class Unpicklable(Exception):
    """A value cannot be pickled; has the path and description of the part that cannot."""

    def __init__(self, path, description, cause):
        Exception.__init__(self, "%s is %s and cannot be pickled" % (path, description))
        self.path = path
        self.description = description
        self.cause = cause


class _NeedsCode(Exception):
    """A part of the value refers to `__main__`."""


class _Pickler(pickle.Pickler):
    """A pickler that raises if the receiver would lack a module."""

    def reducer_override(self, value):
        if getattr(value, "__module__", None) == "__main__" and (isinstance(value, type) or callable(value)):
            raise _NeedsCode
        if type(value).__module__ == "__main__":
            raise _NeedsCode
        return NotImplemented


def dumps(value, load_cloudpickle):
    """(the pickle, PICKLE or CLOUDPICKLE); `load_cloudpickle` returns the module, and is called only if needed.

    Raises:
        Exception: any exception of the value's methods.
    """
    out = io.BytesIO()
    try:
        _Pickler(out, PROTOCOL).dump(value)
        return out.getbuffer(), PICKLE
    except (_NeedsCode, pickle.PicklingError, AttributeError, TypeError):
        pass
    return memoryview(load_cloudpickle().dumps(value, PROTOCOL)), CLOUDPICKLE


def dump_or_explain(name, value, load_cloudpickle):
    """Like `dumps`, for a value with this name.

    Raises:
        Unpicklable: a part of the value cannot be pickled.
    """
    try:
        return dumps(value, load_cloudpickle)
    except Exception as problem:
        try:
            path, part = find_part(name, value, load_cloudpickle)
        except Exception:  # noqa: BLE001 - the value's own methods run here
            path, part = name, value
        raise Unpicklable(path, describe(part), problem) from problem


def find_part(name, value, load_cloudpickle):
    """(path, part) of the innermost part of a value that cannot be pickled, as far as it can be found."""
    path, suffix = name, ""
    seen = {id(value)}
    for _ in range(DEEPEST):
        for step, user, part in _parts(value):
            if id(part) in seen or _can_dump(part, load_cloudpickle):
                continue
            seen.add(id(part))
            if user:
                path, suffix = step, " (used by %s)" % (path + suffix)
            else:
                path += step
            value = part
            break
        else:
            break
    return path + suffix, value


def _can_dump(value, load_cloudpickle):
    try:
        dumps(value, load_cloudpickle)
    except Exception:  # noqa: BLE001 - the value's own methods run here
        return False
    return True


def _parts(value):
    """(step of the path, whether it is a name used by code, part) for each part of a value."""
    yield from _items(value)
    yield from _used(value)
    if type(value).__module__ in ("builtins", "functools"):  # methods and functools.partial
        for attribute in ("__self__", "func", "args", "keywords"):
            if hasattr(value, attribute):
                yield "." + attribute, False, getattr(value, attribute)
    for name, part in _attributes(value).items():
        if name not in ("__dict__", "__weakref__"):
            yield "." + name, False, part


def _items(value):
    if isinstance(value, dict):
        for key, part in list(value.items()):
            yield "[%.40r]" % (key,), False, part
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield "[%d]" % number, False, part
    elif isinstance(value, (set, frozenset)):
        for part in list(value):
            yield " (an element)", False, part


def _used(value):
    """The variables that a function uses, from enclosing functions and from its module."""
    code = getattr(value, "__code__", None)
    if code is None:
        return
    for name, cell in zip(code.co_freevars, getattr(value, "__closure__", None) or ()):
        try:
            yield name, True, cell.cell_contents
        except ValueError:  # not set yet
            pass
    names = getattr(value, "__globals__", {})
    for name in code.co_names:
        if name in names:
            yield name, True, names[name]


def _attributes(value):
    try:
        found = dict(vars(value))
    except TypeError:
        found = {}
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                found[name] = getattr(value, name)
    return found


def describe(value):
    """A description of a value in two or three words."""
    kind = type(value)
    known = _IS.get(kind.__name__)
    if known:
        return known
    root = str(kind.__module__).partition(".")[0]
    name = kind.__qualname__ if root in ("builtins", "__main__") else "%s %s" % (root, kind.__qualname__)
    return "%s %s" % ("an" if name[:1].lower() in "aeiou" else "a", name)


def sealed_tree(data, how):
    """The tree of a pickle, with the requirements for reading it."""
    tree = tag("sealed", v=data, format=how, python=minor())
    if how == CLOUDPICKLE:
        tree["cloudpickle"] = sys.modules[PRIVATE].__version__
    return tree


def type_name(kind):
    """The name of a class, with its module unless that is obvious."""
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else kind.__module__ + "." + kind.__qualname__
    )


def minor():
    """The minor version of this Python, "3.12"."""
    return "%d.%d" % sys.version_info[:2]


def loads(data):
    """The value of a pickle; this runs code in the pickle."""
    return pickle.loads(data)
