# ruff: noqa: E501 - tables of cases
"""guest/pretty.py: the same text of values as IPython."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import os
import re
import sys
import types

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.lib import pretty as ipython_pretty
from support.cases import each

from uv_argo_magic.guest.pretty import pretty


@dataclasses.dataclass
class Point:
    x: int
    y: list


Pair = collections.namedtuple("Pair", "left right")  # noqa: PYI024 - a value to show


class Colour(enum.Enum):
    RED = 1


class Plain:
    class Inner:
        pass

    def method(self):
        pass


class WithRepr:
    def __repr__(self):
        return "two\nlines"


class Child(WithRepr):
    pass


class MyList(list):
    pass


class MyReprList(list):
    def __repr__(self):
        return "MyReprList!"


class MyDict(dict):
    pass


class Meta(type):
    def __repr__(cls):
        return f"<<{cls.__name__}>>"


class Metaed(metaclass=Meta):
    pass


class Drawn:
    def __init__(self, *parts):
        self.parts = parts

    def _repr_pretty_(self, p, cycle):
        if cycle:
            p.text("Drawn(...)")
            return
        with p.group(6, "Drawn(", ")"):
            for index, part in enumerate(self.parts):
                if index:
                    p.text(",")
                    p.breakable()
                p.pretty(part)
            with p.indent(2):
                p.break_()
                p.text("end")


class MyError(ValueError):
    pass


class LyingClass:
    __class__ = property(lambda self: 1 / 0)


class Sub(Plain):
    def parent(self):
        return super()


def annotated(a: int, *, b: "str" = "x", **more: float) -> list[int]:
    raise NotImplementedError


def cyclic():
    items: list = [1]
    items.append(items)
    mapping: dict = {"a": items}
    mapping["me"] = mapping
    deque: collections.deque = collections.deque([1])
    deque.append(deque)
    ordered: collections.OrderedDict = collections.OrderedDict(a=1)
    ordered["me"] = ordered
    default = collections.defaultdict(list)
    default["x"].append(default)
    space = types.SimpleNamespace(a=1)
    space.me = space
    drawn = Drawn(1)
    drawn.parts = (drawn,)
    user: collections.UserList = collections.UserList([1])
    user.append(user)
    return [items, mapping, deque, ordered, default, space, drawn, user]


WORDS = ["some", "words", "that", "are", "long", "enough", "to", "need", "more", "than", "one", "line"] * 2
TABLE = [
    None, True, ..., NotImplemented, 1, -1.5, float("nan"), 1j, "text", "two\nlines", b"bytes", bytearray(b"x"),
    (), (1,), [], {}, set(), frozenset(), {1}, frozenset({2, 1}), {"b", "a"}, {1, "a", None},
    list(range(100)), tuple(range(100)), {n: "x" * n for n in range(20)}, list(range(1200)), set(range(1200)),
    dict.fromkeys(range(1100)), WORDS, {tuple(WORDS): WORDS}, {(1, 2): ["a" * 80, "b" * 80]}, [WORDS, [WORDS]],
    {"b": 1, "a": 2}, Point(1, [2]), Pair(1, "x"), Colour.RED, Plain, Plain.Inner, int, Metaed, MyError, type(None),
    WithRepr(), Child(), [WithRepr(), WithRepr()], {"k": WithRepr()}, MyList([1, 2]), MyReprList([1]), MyDict(a=1),
    Drawn(1, *WORDS), [Drawn(1), Drawn(*WORDS, *WORDS)], collections.OrderedDict(a=1), collections.OrderedDict(),
    collections.defaultdict(list, a=[1]), collections.Counter("hello"), collections.Counter(),
    collections.deque([1, 2]), collections.deque(WORDS, maxlen=50), collections.UserList([1]),
    collections.UserDict(a=1), collections.ChainMap({"a": 1}), types.SimpleNamespace(), types.SimpleNamespace(a=1, b=[2]),
    types.SimpleNamespace(words=WORDS, more=WORDS), types.MappingProxyType({"a": 1}), {"a": 1}.keys(), range(3), slice(1),
    re.compile(r"a\d"), re.compile(b"x\\\\", re.IGNORECASE | re.DOTALL), len, print, annotated, "x".join, Plain.method,
    (lambda x, *y: x), sys, os.environ.__class__, functools.partial(len, 1), dt.date(2026, 1, 2), decimal.Decimal("1.5"),
    dt.datetime(2026, 1, 2, tzinfo=dt.UTC), dt.timedelta(1), ValueError("a", 1), MyError(), KeyError(*WORDS),
    ExceptionGroup("g", [ValueError(1)]), object, memoryview, *cyclic(),
]  # fmt: skip


@each("value", TABLE)
def test_text_is_that_of_ipython(value):
    assert pretty(value) == ipython_pretty.pretty(value)


def test_default_repr_shows_class_and_address():
    plain = Plain()
    assert pretty(plain) == ipython_pretty.pretty(plain)
    assert pretty([plain, plain.method]) == ipython_pretty.pretty([plain, plain.method])
    sub = Sub()
    assert pretty(sub.parent()) == ipython_pretty.pretty(sub.parent())
    lying_class = LyingClass()
    assert pretty(lying_class) == ipython_pretty.pretty(lying_class)


def test_os_environ_is_shown_as_a_mapping(monkeypatch):
    monkeypatch.setattr(os, "environ", type(os.environ)({}, *(vars(os.environ)[k] for k in
                        ("encodekey", "decodekey", "encodevalue", "decodevalue"))))  # fmt: skip
    os.environ["A"] = "b"
    assert pretty(os.environ) == ipython_pretty.pretty(os.environ) == "environ{'A': 'b'}"


def test_exception_of_a_repr_is_raised():
    class Bad:
        def __repr__(self):
            raise RuntimeError("no text")

    with pytest.raises(RuntimeError, match="no text"):
        pretty([Bad()])


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60) | st.binary(max_size=30)
HASHABLE = st.recursive(
    ATOMS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=6) | st.tuples(inner), max_leaves=8
)
VALUES = st.recursive(
    ATOMS | HASHABLE | st.builds(WithRepr),
    lambda inner: (
        st.lists(inner, max_size=12)
        | st.dictionaries(HASHABLE, inner, max_size=6)
        | st.tuples(inner)
        | st.lists(inner, max_size=5).map(tuple)
        | st.sets(HASHABLE, max_size=8)
        | st.lists(inner, max_size=5).map(collections.deque)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4).map(collections.OrderedDict)
        | st.dictionaries(st.sampled_from(["a", "bc", "long_name"]), inner).map(lambda d: types.SimpleNamespace(**d))
        | st.lists(inner, max_size=4).map(lambda items: Drawn(*items))
        | st.lists(inner, max_size=3).map(lambda items: ValueError(*items))
    ),
    max_leaves=40,
)


@settings(max_examples=3 * settings.default.max_examples)
@given(VALUES)
def test_lines_of_nested_values_break_as_in_ipython(value):
    assert pretty(value) == ipython_pretty.pretty(value)
