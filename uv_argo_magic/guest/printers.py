"""The functions that print values for `pretty.Printer`, one per type; a class's own `__repr__` takes precedence.

Rule: a writer takes (value, printer, whether the value contains itself), and only calls the printer.
"""

import datetime as dt
import os
import re
import sys
import types

MOST = 1000  # maximum elements of a container; a longer set is not sorted
_OURS = ("__builtin__", "builtins", "exceptions")  # modules whose names are left out


def _get(obj, name, default=None):
    try:
        return getattr(obj, name, default)
    except Exception:  # noqa: BLE001 - a value can raise anything
        return default


def writer(obj):
    """The function that prints this value, from the first class in its MRO that has one."""
    if obj is None or obj is True or obj is False or obj is Ellipsis or obj is NotImplemented:
        return _own_repr
    cls = _get(obj, "__class__") or type(obj)
    for base in cls.__mro__:
        function = _BY_TYPE.get(base) or _BY_NAME.get((_get(base, "__module__"), _get(base, "__name__")))
        if function:
            return function
        if "_repr_pretty_" in base.__dict__ and callable(_get(base, "_repr_pretty_")):
            return _get(base, "_repr_pretty_")
        if base is not object and "__repr__" in base.__dict__ and callable(_get(base, "__repr__")):
            return _own_repr
    return _plain


# The writers take (value, printer, whether the value contains itself).


def _own_repr(obj, p, _cycle):
    with p.group():
        for number, line in enumerate(repr(obj).splitlines()):
            if number:
                p.break_()
            p.text(line)


def _plain(obj, p, cycle):
    cls = _get(obj, "__class__") or type(obj)
    if _get(cls, "__repr__") is not object.__repr__:
        _own_repr(obj, p, cycle)
        return
    p.begin_group(1, "<")
    p.pretty(cls)
    p.text(" at 0x%x" % id(obj))
    if cycle:
        p.text(" ...")
    p.end_group(1, ">")


def _items(p, items):
    for index, item in p._enumerate(items):  # noqa: SLF001
        if index:
            p.text(",")
            p.breakable()
        p.pretty(item)


def _sequence(opening, closing):
    def write(obj, p, cycle):
        if cycle:
            p.text(opening + "..." + closing)
            return
        with p.group(1, opening, closing):
            _items(p, obj)
            if len(obj) == 1 and isinstance(obj, tuple):
                p.text(",")

    return write


def _sorted(obj):
    for key in (None, str):
        try:
            return sorted(obj, key=key)
        except Exception:  # noqa: BLE001, S112 - sets that cannot be sorted keep their order
            continue
    return list(obj)


def _set(opening, closing):
    def write(obj, p, cycle):
        if cycle:
            p.text(opening + "..." + closing)
        elif not obj:
            p.text(type(obj).__name__ + "()")
        else:
            with p.group(len(opening), opening, closing):
                _items(p, obj if len(obj) >= MOST else _sorted(obj))

    return write


def _mapping(opening, closing):
    def write(obj, p, cycle):
        if cycle:
            p.text("{...}")
            return
        with p.group(len(opening), opening, closing):
            for index, key in p._enumerate(obj.keys()):  # noqa: SLF001
                if index:
                    p.text(",")
                    p.breakable()
                p.pretty(key)
                p.text(": ")
                p.pretty(obj[key])

    return write


def _super(obj, p, _cycle):
    with p.group(8, "<super: ", ">"):
        p.pretty(obj.__thisclass__)
        p.text(",")
        p.breakable()
        p.pretty(obj.__self__)


_FLAGS = ("IGNORECASE", "LOCALE", "MULTILINE", "DOTALL", "UNICODE", "VERBOSE", "DEBUG")


def _pattern(obj, p, _cycle):
    def inside(text):
        return lambda: _grouped(p, text)

    args = [inside("r" + repr(obj.pattern).replace("\\\\", "\\"))]
    if obj.flags:
        args.append(inside("|".join("re." + flag for flag in _FLAGS if obj.flags & getattr(re, flag))))
    with p.group():
        p.call("re.compile", args)


def _grouped(p, text):
    with p.group():
        p.text(text)


def _namespace(obj, p, cycle):
    if cycle:
        p.call("namespace", [lambda: _grouped(p, "...")])
    else:
        p.call("namespace", [], obj.__dict__.items())


def _class(obj, p, cycle):
    if [base for base in type(obj).__mro__ if "__repr__" in vars(base)][:1] != [type]:
        _own_repr(obj, p, cycle)
        return
    name = _get(obj, "__qualname__")
    if not isinstance(name, str):
        name = obj.__name__ if isinstance(obj.__name__, str) else "<unknown type>"
    module = _get(obj, "__module__")
    p.text(name if module is None or module in _OURS else module + "." + name)


def _function(obj, p, _cycle):
    import inspect  # it takes longer to import than this whole module

    name = _get(obj, "__qualname__", obj.__name__)
    if obj.__module__ and obj.__module__ not in _OURS:
        name = obj.__module__ + "." + name
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            signature = inspect.signature(obj, annotation_format=annotationlib.Format.FORWARDREF)
        else:
            signature = inspect.signature(obj)
        name += str(signature)
    except ValueError:  # a builtin without a signature
        pass
    p.text("<function %s>" % name)


def _exception(obj, p, _cycle):
    cls = obj.__class__
    name = getattr(cls, "__qualname__", cls.__name__)
    if cls.__module__ not in ("exceptions", "builtins"):
        name = "%s.%s" % (cls.__module__, name)
    p.call(name, [lambda arg=arg: p.pretty(arg) for arg in getattr(obj, "args", ())])


def _constructed(parts):
    """A writer of `Name(...)`; `parts(value)` returns the positional and the keyword arguments."""

    def write(obj, p, cycle):
        name = obj.__class__.__name__
        if cycle:
            p.call(name, [lambda: _grouped(p, "...")])
            return
        args, kwargs = parts(obj)
        p.call(name, [lambda arg=arg: p.pretty(arg) for arg in args], kwargs)

    return write


_BY_TYPE = {
    int: _own_repr,
    float: _own_repr,
    str: _own_repr,
    bytes: _own_repr,
    range: _own_repr,
    slice: _own_repr,
    types.MethodType: _own_repr,
    dt.datetime: _own_repr,
    dt.timedelta: _own_repr,
    tuple: _sequence("(", ")"),
    list: _sequence("[", "]"),
    dict: _mapping("{", "}"),
    type(os.environ): _mapping("environ{", "}"),
    types.MappingProxyType: _mapping("mappingproxy({", "})"),
    set: _set("{", "}"),
    frozenset: _set("frozenset({", "})"),
    super: _super,
    type(re.compile("")): _pattern,
    type: _class,
    types.FunctionType: _function,
    types.BuiltinFunctionType: _function,
    types.SimpleNamespace: _namespace,
    BaseException: _exception,
}

_BY_NAME = {
    ("collections", "defaultdict"): _constructed(lambda obj: ([obj.default_factory, dict(obj)], ())),
    ("collections", "OrderedDict"): _constructed(lambda obj: ([list(obj.items())] if obj else [], ())),
    ("collections", "deque"): _constructed(
        lambda obj: ([list(obj)], () if obj.maxlen is None else (("maxlen", obj.maxlen),))
    ),
    ("collections", "Counter"): _constructed(lambda obj: ([dict(obj.most_common())] if obj else [], ())),
    ("collections", "UserList"): _constructed(lambda obj: ([obj.data], ())),
}
