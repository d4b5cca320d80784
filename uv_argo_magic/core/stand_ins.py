"""Objects that stand in for a value of another process: Python's operations on them raise an error that explains it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

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
    truediv xor index
"""


class StandIn:
    """The base class of such objects; a subclass returns the error."""

    def _error(self, use: str) -> Exception:
        """The error for a use of the value, such as ".name", "+" or "len()"; an AttributeError and a TypeError."""
        raise NotImplementedError  # pragma: no cover

    def __bool__(self) -> bool:
        return True

    if not TYPE_CHECKING:  # pragma: no branch - type checkers would accept every attribute

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):  # IPython, copy and pickle look for their own methods
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            raise self._error(f".{name}")


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(self: StandIn, *_args: object, **_options: object) -> NoReturn:
        raise self._error(f"{name}()" if name in _FUNCTIONS else _WRITTEN.get(name, f"the operation {name}"))

    return refuse


for _name in (*_FUNCTIONS, *_OPERATIONS.split()):
    setattr(StandIn, f"__{_name}__", _refusing(_name))
