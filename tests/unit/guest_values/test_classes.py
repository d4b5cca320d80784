"""guest_values/classes.py: dataclasses and enums that are plain data, and finding their classes."""

from __future__ import annotations

import dataclasses
import enum
import json
import sys

import pytest
from support.cases import each

from uv_argo_magic.core.protocol import values
from uv_argo_magic.errors import ProtocolError
from uv_argo_magic.guest_values import classes

LIMIT = 10**6


class Colour(enum.Enum):
    RED = "r"
    ALSO_RED = "r"  # noqa: PIE796 - another name of one member


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        if self.x == 13:
            raise AssertionError

    @dataclasses.dataclass
    class Inner:
        z: float


@dataclasses.dataclass
class Failure(Exception):
    code: int


@dataclasses.dataclass
class Table(dict):
    name: str


@dataclasses.dataclass
class Unset:
    x: int = dataclasses.field(init=False)


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int


def test_instances_are_rebuilt_without_their_constructors():
    for value in (
        Point(1, [2]),
        Point.Inner(0.5),
        Slotted(3),
        Colour.RED,
        Colour.ALSO_RED,
        Bits.A,
        {Colour.RED: Point(2)},
    ):
        assert values.decode(values.encode("x", value, LIMIT)) == value
    text = values.encode("x", Point(1), LIMIT).replace('["x",1]', '["x",13]')
    assert values.decode(text).x == 13


def test_instances_with_other_attributes_are_not_plain_data():
    @dataclasses.dataclass
    class Local:
        a: int

    more = Point.Inner(1.0)
    more.extra = 5
    own = (Failure(1), Table("x"), Unset())
    for value in (more, Local(1), Bits.A | Bits.B, Point(1, [print]), Point, Colour, *own):
        with pytest.raises(values.NotPlain):
            values.encode("x", value, LIMIT)


def test_class_of_the_cell_must_exist_in_the_notebook(monkeypatch):
    own_class = dataclasses.make_dataclass("Own", ["a", "b"])
    own_class.__module__ = "__main__"
    with pytest.raises(values.NotPlain):
        values.encode("x", own_class(1, 2), LIMIT)
    monkeypatch.setitem(classes.known, "Own", ["a", "b"])
    text = values.encode("x", own_class(1, 2), LIMIT)
    with pytest.raises(values.MissingLibrary, match="__main__"):
        values.decode(text)
    monkeypatch.setattr(sys.modules["__main__"], "Own", own_class, raising=False)
    assert values.decode(text) == own_class(1, 2)


CHANGES = [
    {"name": "Colour"}, {"name": "Point.Inner"}, {"v": [["x", 1]]}, {"v": [["x", 1], ["y", 2], ["z", 3]]},
    {"module": "builtins", "name": "ValueError"}, {"module": "builtins", "name": "print"},
    {"v": 3}, {"@": "enum", "v": "x"},
    {"name": "CHANGES"}, {"@": "enum", "name": "Colour", "v": "GREEN"},
]  # fmt: skip


@each("change", CHANGES)
def test_forged_instances_are_rejected(change):
    tree = json.loads(values.encode("x", Point(1), LIMIT)) | change
    with pytest.raises(ProtocolError):
        values.decode(json.dumps(tree))


@pytest.mark.parametrize("change", [{"module": "this"}, {"name": "Nothing"}, {"module": "antigravity"}], ids=str)
def test_modules_are_not_imported_to_find_a_class(change):
    tree = json.loads(values.encode("x", Point(1), LIMIT)) | change
    with pytest.raises(values.MissingLibrary):
        values.decode(json.dumps(tree))
    assert not {"this", "antigravity"} & set(sys.modules)
