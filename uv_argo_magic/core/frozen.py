"""`@frozen`: a frozen, keyword-only dataclass that is cheap to define.

`dataclasses` compiles six methods for each class, which takes 0.4 ms. With a hundred classes, that was a third of the
time of `uv-argo run`. Here all classes share the same methods. The fields are those of `dataclasses`, so that its
`field`, `fields`, `replace` and `asdict` work.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class _Layout:
    """The fields of a class, as its methods use them."""

    def __init__(self, fields: tuple[Field[Any], ...]) -> None:
        self.defaults = {item.name: item.default for item in fields if item.default is not MISSING}
        self.factories = {item.name: item.default_factory for item in fields if item.default_factory is not MISSING}
        self.names = frozenset(item.name for item in fields)
        self.required = self.names - self.defaults.keys() - self.factories.keys()
        self.in_repr = [item.name for item in fields if item.repr]
        compared = [item.name for item in fields if item.compare]
        self.value: Callable[[object], object] = attrgetter(*compared) if compared else type
        """Two instances are equal if this is."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Like `dataclass(frozen=True, kw_only=True)`, without `__post_init__`. Methods that the class defines are kept."""
    own_methods = {
        name for name in _METHODS if cls.__dict__.get(name) is not None
    }  # __hash__ is None in a class with __eq__
    decorated: Any = dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
    decorated.__frozen_layout__ = _Layout(fields(decorated))
    for name, method in _METHODS.items():
        if name not in own_methods:
            setattr(decorated, name, method)
    return cls


def _init(self: Any, /, **values: object) -> None:
    layout = self.__frozen_layout__
    if not layout.required <= values.keys() <= layout.names:
        missing, unknown = layout.required - values.keys(), values.keys() - layout.names
        problem = "misses" if missing else "does not take"
        raise TypeError(f"{type(self).__qualname__}() {problem} {', '.join(sorted(missing or unknown))}")
    state = self.__dict__
    state.update(layout.defaults)
    for name, factory in layout.factories.items():
        if name not in values:
            state[name] = factory()
    state.update(values)


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    value = self.__frozen_layout__.value
    return self is other or value(self) == value(other)


def _hash(self: Any) -> int:
    return hash(self.__frozen_layout__.value(self))


def _repr(self: Any) -> str:
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__frozen_layout__.in_repr)
    return f"{type(self).__qualname__}({values})"


def _setattr(_self: object, name: str, _value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS: dict[str, Callable[..., object]] = {
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
}
