"""Encode variables of the notebook for a cell: as plain data, or else as a pickle; an error names the part that fails.

Rule: every problem of a value raises an error before anything is submitted.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from uv_argo_magic.core import humanize
from uv_argo_magic.core.protocol import values
from uv_argo_magic.core.spec.run_spec import Pushed, Reads
from uv_argo_magic.core.suggest import nearest
from uv_argo_magic.errors import SpecError
from uv_argo_magic.guest import values as codec
from uv_argo_magic.guest_values import classes, pickles
from uv_argo_magic.values import pickling, sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LIBRARIES = ("numpy", "pandas", "polars", "pyarrow", "scipy")


def encode(names: Sequence[str], variables: Mapping[str, object], limit: int) -> tuple[Pushed, ...]:
    """Encode the variables with these names, in total at most `limit` bytes (0: no limit).

    Raises:
        SpecError: a variable is not defined, cannot be pickled, or is too large.
    """
    room = limit or sys.maxsize
    found = []
    for name in names:
        if name not in variables:
            best = nearest(name, variables)
            raise SpecError(
                f"--push {name}: {name} is not defined" + (f"; did you mean {best}?" if best else ""),
                hint="Define it in a cell above.",
            )
        item = encode_one(name, variables[name])
        if item.size > room:
            raise SpecError(
                f"{name!r} has {humanize.size(item.size)}, but the limit is {humanize.size(limit)}",
                hint="Send less of it, raise --set value_limit, or use a file or bucket that both sides can read.",
            )
        room -= item.size
        found.append(item)
    return tuple(found)


def encode_one(name: str, value: object) -> Pushed:
    """Encode one variable.

    Raises:
        SpecError: the value cannot be pickled.
    """
    kind: type[Any] = type(value)
    if isinstance(value, sealed.Sealed):
        text, received = value.read()
        head = sealed.header(text)
        code = head["python"] if head["format"] == pickles.CLOUDPICKLE else ""
        return Pushed(name=name, text=text, buffers=tuple(received), type=value.type, form="sealed", python=code)
    buffers: list[values.Raw] = []
    type_name = pickles.type_name(kind)
    try:
        text = values.encode(name, value, sys.maxsize, buffers)
        return Pushed(name=name, text=text, buffers=tuple(buffers), type=type_name)
    except values.NotPlain as error:
        hint = error.hint
    buffers.clear()
    try:
        data, how = pickles.dump_or_explain(name, value, pickling.load_cloudpickle)
    except pickles.Unpicklable as problem:
        raise SpecError(str(problem), hint=hint if problem.path == name else _HINT) from problem.cause
    text = codec.dump(pickles.sealed_tree(data, how), buffers)
    code = pickles.minor() if how == pickles.CLOUDPICKLE else ""
    return Pushed(name=name, text=text, buffers=tuple(buffers), type=type_name, form="pickled", python=code)


_HINT = "Remove it from the value, or create it in the cell."


def refuse_other_python(pushed: Iterable[Pushed], minor: str) -> None:
    """Refuse values with code for another minor version of Python than the cell's.

    Raises:
        SpecError: a value has such code.
    """
    for item in pushed:
        if item.python and item.python != minor:
            raise SpecError(
                f"{item.name} contains code of Python {item.python}, and the cell runs on Python {minor}",
                hint=f"Add --python {item.python}, or define it in the cell.",
            )


def readable(names: Mapping[str, object]) -> Reads:
    """The values that this notebook can decode."""
    libraries = [name for name in LIBRARIES if _is_importable(name)]
    shapes = {}
    for name, value in list(names.items()):
        if isinstance(value, type) and value.__module__ == "__main__" and value.__qualname__ == name:
            fields = classes.shape(value)
            if fields is not None:
                shapes[name] = tuple(fields)
    return Reads(libraries=("builtins", *libraries), classes=tuple(sorted(shapes.items())))


def _is_importable(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name] is not None  # None prevents an import
    return importlib.util.find_spec(name) is not None
