"""core/frozen.py: `frozen` behaves like a frozen, keyword-only dataclass of the standard library."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, is_dataclass, replace

import pytest

from uv_argo_magic.core.frozen import frozen


@frozen
class Point:
    """A point."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


@frozen
class Named(Point):
    """A point with a name, and a note that is neither shown nor compared."""

    name: str
    note: str = field(default="", repr=False, compare=False)


@frozen
class Empty:
    """A class without fields."""


@frozen
class CustomMethods:
    """A class that defines its own methods."""

    x: int = 0

    def __repr__(self) -> str:
        return "<CustomMethods>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomMethods)

    def __hash__(self) -> int:
        return 7


@frozen
class CustomEquality:  # noqa: PLW1641 - `frozen` adds the hash
    """A class that defines `__eq__`: like in a dataclass, the hash is that of the fields."""

    x: int = 0

    def __eq__(self, other: object) -> bool:
        return other == 7


@dataclass(frozen=True, kw_only=True)
class PlainPoint:
    """A dataclass like `Point`."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = ()


def test_values_are_keywords_with_defaults():
    instance = Named(name="a", x=1)
    assert (instance.name, instance.x, instance.y, instance.tags, instance.note) == ("a", 1, 0, [], "")
    assert Named(name="a", x=1).tags is not instance.tags


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Named() misses name, x"),
        ({"x": 1, "name": "a", "z": 2}, "Named() does not take z"),
    ],
)
def test_missing_and_unknown_values_are_rejected(values, message):
    with pytest.raises(TypeError) as exc_info:
        Named(**values)
    assert str(exc_info.value) == message


def test_positional_values_are_rejected():
    with pytest.raises(TypeError):
        Point(1)


def test_equality_and_hash_use_the_compared_fields():
    assert Named(name="a", x=1, note="b") == Named(name="a", x=1, note="c")
    assert Named(name="a", x=1) != Named(name="b", x=1)
    assert Point(x=1) != Named(x=1, name="")
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert hash(Point(x=1, tags=())) == hash(Point(x=1, tags=()))
    with pytest.raises(TypeError):
        hash(Point(x=1))


def test_fields_cannot_be_assigned_or_deleted():
    instance = Point(x=1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        instance.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del instance.x
    assert instance.x == 1


def test_repr_is_that_of_a_dataclass():
    expected = repr(PlainPoint(x=1, y=2)).replace("tags=()", "tags=[]").replace("PlainPoint", "Point")
    assert repr(Point(x=1, y=2)) == expected
    assert repr(Named(x=1, name="a", note="b")) == "Named(x=1, y=0, tags=[], name='a')"


def test_methods_of_the_class_are_not_replaced():
    assert CustomEquality() == 7
    assert hash(CustomEquality(x=2)) == hash(CustomEquality(x=2))
    assert (repr(CustomMethods()), CustomMethods(x=1) == CustomMethods(x=2), hash(CustomMethods())) == (
        "<CustomMethods>",
        True,
        7,
    )


def test_functions_of_dataclasses_work():
    instance = Named(name="a", x=1, tags=["b"])
    assert is_dataclass(instance)
    assert [item.name for item in fields(Named)] == ["x", "y", "tags", "name", "note"]
    assert asdict(instance) == {"x": 1, "y": 0, "tags": ["b"], "name": "a", "note": ""}
    assert replace(instance, x=2) == Named(name="a", x=2, tags=["b"])
    assert copy.copy(instance) == copy.deepcopy(instance) == pickle.loads(pickle.dumps(instance)) == instance
    match instance:
        case Named(name=name, x=1):
            assert name == "a"
        case _:
            pytest.fail("no match")
