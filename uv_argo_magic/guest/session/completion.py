"""Completions: names, attributes and keys of the session's own values.

Rule: as in IPython's limited evaluation, finding a value never runs the user's code: no calls, no properties, and no
attributes or items of types that compute them, except those of numpy and pandas.
"""

import ast
import builtins
import functools
import keyword
import signal
import sys
import types

SECONDS = 0.25
MOST = 500
COMPUTES = frozenset({("pandas", "DataFrame"), ("pandas", "Series")})
"""Types whose computed attributes have no side effects."""
HAS_ITEMS = COMPUTES | {("pandas", "_LocIndexer"), ("pandas", "_iLocIndexer"), ("numpy", "ndarray")}
CONTAINERS = (dict, list, tuple, str, bytes)


class Refused(Exception):
    """The value cannot be found without running code."""


class TooLong(Exception):
    """`dir` of a value took too long."""


def complete(names, order):
    """[text, type] of completions that begin with order["prefix"], after order["base"] ("": a name); [] if unknown."""
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        found = _find(names, order["base"], order["prefix"], order["kind"])
    except BaseException:  # noqa: BLE001 - `dir` can run the user's code
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return found[:MOST]


def _stop(_number, _frame):
    raise TooLong


def _find(names, base, prefix, kind):
    if kind == "name":
        places = names, vars(builtins)
        found = {name: _type(place[name]) for place in reversed(places) for name in list(place) if name in place}
        found.update(dict.fromkeys(keyword.kwlist, "keyword"))
    else:
        value = _evaluate(ast.parse(base, mode="eval").body, names)
        if kind == "key":
            found = dict.fromkeys(_keys(value), "dict key")
        else:
            found = {name: _type_of_attribute(value, name) for name in dir(value)}
    shown = (name for name in found if name.startswith(prefix) and _is_public(name, prefix, kind))
    return [[name, found[name]] for name in sorted(shown)]


def _is_public(name, prefix, kind):
    return kind == "key" or not name.startswith("_") or prefix.startswith("_")


def _keys(value):
    """The keys that are strings."""
    if _is_of(value, COMPUTES):
        value = getattr(value, "columns", None) if type(value).__name__ == "DataFrame" else value.index
    elif type(value) is not dict:
        raise Refused
    return [key for key in list(value)[: 10 * MOST] if type(key) is str]


def _evaluate(node, names):
    """The value of names, attributes and items."""
    if isinstance(node, ast.Name):
        if node.id in names:
            return names[node.id]
        return vars(builtins)[node.id]
    if isinstance(node, ast.Attribute):
        return _attribute(_evaluate(node.value, names), node.attr)
    if isinstance(node, ast.Subscript):
        value = _evaluate(node.value, names)
        if type(value) not in CONTAINERS and not _is_of(value, HAS_ITEMS):
            raise Refused
        key = getattr(node.slice, "value", node.slice) if sys.version_info < (3, 9) else node.slice  # an ast.Index
        return value[ast.literal_eval(key)]
    return ast.literal_eval(node)


def _attribute(value, name):
    if isinstance(value, types.ModuleType):
        return vars(value)[name]
    kind = type(value)
    is_plain = all(
        getattr(kind, method, None) in (None, object.__getattribute__, type.__getattribute__)
        for method in ("__getattr__", "__getattribute__")
    )
    if not is_plain and not _is_of(value, COMPUTES):
        raise Refused
    if isinstance(_in_class(kind, name), (property, functools.cached_property)):
        raise Refused
    return getattr(value, name)


def _in_class(kind, name):
    """The attribute of the class, not bound to a value."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)


def _is_of(value, known):
    kind = type(value)
    return (kind.__module__.split(".")[0], kind.__name__) in known


def _type_of_attribute(value, name):
    if isinstance(value, types.ModuleType):
        return _type(vars(value).get(name))
    found = _in_class(type(value), name)
    return "instance" if found is None else _type(found)


def _type(value):
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, type):
        return "class"
    return "function" if callable(value) or isinstance(value, (classmethod, staticmethod)) else "instance"
