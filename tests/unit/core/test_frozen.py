"""core/frozen.py: it behaves as a frozen, keyword-only dataclass of the standard library."""

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
    """Nothing."""


@frozen
class Own:
    """A class with methods of its own."""

    x: int = 0

    def __repr__(self) -> str:
        return "<Own>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own)

    def __hash__(self) -> int:
        return 7


@frozen
class OwnEquality:  # noqa: PLW1641 - `frozen` adds the hash
    """A class with an equality of its own: as with a dataclass, the hash is that of the fields."""

    x: int = 0

    def __eq__(self, other: object) -> bool:
        return other == 7


@dataclass(frozen=True, kw_only=True)
class PlainPoint:
    """What `Point` is to behave like."""

    x: int
    y: int = 0
    tags: tuple[str, ...] = ()


def test_values_are_given_by_name_and_defaults_fill_the_rest():
    found = Named(name="a", x=1)
    assert (found.name, found.x, found.y, found.tags, found.note) == ("a", 1, 0, [], "")
    assert Named(name="a", x=1).tags is not found.tags


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "Named() misses name, x"),
        ({"x": 1, "name": "a", "z": 2}, "Named() does not take z"),
    ],
)
def test_missing_and_unknown_values_are_refused(values, message):
    with pytest.raises(TypeError) as caught:
        Named(**values)
    assert str(caught.value) == message


def test_positional_values_are_refused():
    with pytest.raises(TypeError):
        Point(1)


def test_equality_and_hash_are_those_of_the_compared_fields():
    assert Named(name="a", x=1, note="b") == Named(name="a", x=1, note="c")
    assert Named(name="a", x=1) != Named(name="b", x=1)
    assert Point(x=1) != Named(x=1, name="")
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert hash(Point(x=1, tags=())) == hash(Point(x=1, tags=()))
    with pytest.raises(TypeError):
        hash(Point(x=1))


def test_nothing_can_be_assigned_or_deleted():
    found = Point(x=1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        found.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del found.x
    assert found.x == 1


def test_the_representation_is_that_of_a_dataclass():
    expected = repr(PlainPoint(x=1, y=2)).replace("tags=()", "tags=[]").replace("PlainPoint", "Point")
    assert repr(Point(x=1, y=2)) == expected
    assert repr(Named(x=1, name="a", note="b")) == "Named(x=1, y=0, tags=[], name='a')"


def test_methods_of_the_class_stay():
    assert OwnEquality() == 7
    assert hash(OwnEquality(x=2)) == hash(OwnEquality(x=2))
    assert (repr(Own()), Own(x=1) == Own(x=2), hash(Own())) == ("<Own>", True, 7)


def test_the_functions_of_dataclasses_work():
    found = Named(name="a", x=1, tags=["b"])
    assert is_dataclass(found)
    assert [one.name for one in fields(Named)] == ["x", "y", "tags", "name", "note"]
    assert asdict(found) == {"x": 1, "y": 0, "tags": ["b"], "name": "a", "note": ""}
    assert replace(found, x=2) == Named(name="a", x=2, tags=["b"])
    assert copy.copy(found) == copy.deepcopy(found) == pickle.loads(pickle.dumps(found)) == found
    match found:
        case Named(name=name, x=1):
            assert name == "a"
        case _:
            pytest.fail("no match")
