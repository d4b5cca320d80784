"""Dataclasses and enums of plain data.

Rules:
- No code of the class runs: an instance is created without its constructor, and only if the class is a dataclass or
  enum with exactly these fields or this member, and no content of a built-in class such as dict or Exception.
- Only classes that are already imported are used. In the cell, which receives pushed values (`may_import`), classes are
  also imported by name.
- A class of the cell is plain data only if the notebook has the same one: `known` has its name and fields.
"""

import enum
import importlib
import sys

from .trees import Unsupported, reader, tag

known = {}  # type: dict
"""Classes of the notebook: name -> names of the fields or members."""
may_import = [False]
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that Python code defines


def shape(kind):
    """The names of a dataclass's fields or an enum's members; None for other classes."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return sorted(kind.__members__)
    if not isinstance(kind, type) or not hasattr(kind, "__dataclass_fields__"):
        return None
    import dataclasses

    return sorted(field.name for field in dataclasses.fields(kind))


def pack(value, inner):
    """The tree of an instance of such a class."""
    kind = type(value)
    names = shape(kind)
    if names is None or "<locals>" in kind.__qualname__:
        raise Unsupported
    if kind.__module__ == "__main__" and known.get(kind.__qualname__) != names:
        raise Unsupported
    fields = {"module": kind.__module__, "name": kind.__qualname__}
    if isinstance(value, enum.Enum):
        if value.name not in kind.__members__:  # a combination of flags
            raise Unsupported
        return tag("enum", v=value.name, **fields)
    layout = next(base for base in kind.__mro__ if not base.__flags__ & HEAP_TYPE)  # of the memory of an instance
    if layout is not object or (kind.__dictoffset__ and set(vars(value)) - set(names)):
        raise Unsupported  # it has more than its fields
    try:
        return tag("dataclass", v=[[name, inner(getattr(value, name))] for name in names], **fields)
    except AttributeError:  # a field without a value
        raise Unsupported from None


@reader("enum")
def _read_enum(tree, inner):
    kind = _find(tree)
    if not issubclass(kind, enum.Enum):
        raise TypeError("not an enum")
    return kind.__members__[inner(tree["v"])]


@reader("dataclass")
def _read_dataclass(tree, inner):
    kind = _find(tree)
    fields = {name: inner(part) for name, part in tree["v"]}
    if issubclass(kind, (enum.Enum, BaseException)) or shape(kind) != sorted(fields):
        raise TypeError("not a dataclass with these fields")
    value = object.__new__(kind)
    for name, part in fields.items():
        object.__setattr__(value, name, part)
    return value


def _find(tree):
    """The class named by a tree."""
    module, name = tree["module"], tree["name"]
    if module not in sys.modules and not may_import[0]:
        raise ModuleNotFoundError("a class of a module that is not imported here", name=module)
    found = importlib.import_module(module)  # type: object
    for part in name.split("."):
        found = vars(found).get(part)
        if found is None:
            raise ModuleNotFoundError("no such class", name=module)
    if not isinstance(found, type):
        raise TypeError("not a class")
    return found
