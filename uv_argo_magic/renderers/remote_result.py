"""The result of a cell in the notebook: the display of its last expression, and an error if its value is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from uv_argo_magic.core.humanize import one_line
from uv_argo_magic.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

SHOWN = 40
"""Maximum characters of the value's text in an error."""


class RemoteValueError(SpecError, AttributeError, TypeError):
    """The value is needed, but the notebook has only its display."""


class RemoteResult:
    """The display of the cell's last expression as a mimebundle, without its value; bound to `_` and `Out[n]`."""

    def __init__(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._data = data
        self._metadata = metadata

    def __repr__(self) -> str:
        return str(self._data.get("text/plain", "<value without a text representation>"))

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del include, exclude  # IPython filters the result
        return self._data, self._metadata

    def __bool__(self) -> bool:
        return True

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # IPython, copy and pickle look for their own methods
            raise AttributeError(name)
        raise _error(self, f".{name}")


def _error(result: RemoteResult, use: str) -> RemoteValueError:
    return RemoteValueError(
        f"{use} needs the value {one_line(repr(result), SHOWN)}, which was not sent to the notebook; "
        "_ and Out only contain its display",
        hint="Do this in the cell, or assign the value to a name and add --pull NAME.",
    )


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(result: RemoteResult, *_args: object, **_options: object) -> NoReturn:
        raise _error(result, f"{name}()" if name in _FUNCTIONS else _WRITTEN.get(name, f"the operation {name}"))

    return refuse


_FUNCTIONS = ("abs", "complex", "float", "int", "iter", "len", "next", "reversed", "round")
_WRITTEN = {
    "call": "a call",
    "getitem": "an index",
    "contains": "in",
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
}
_OPERATIONS = """
    add and call contains delitem divmod floordiv ge getitem gt invert le lshift lt matmul mod mul neg or pos pow
    radd rand rdivmod rfloordiv rlshift rmatmul rmod rmul ror rpow rrshift rshift rsub rtruediv rxor setitem sub
    truediv xor array index
"""
for _name in (*_FUNCTIONS, *_OPERATIONS.split()):
    setattr(RemoteResult, f"__{_name}__", _refusing(_name))
