"""Pickles of values, and what of a value cannot be pickled."""

from __future__ import annotations

import functools
import sys
import threading
import types

import pytest
from support.cases import each

from uv_argo_magic.guest_values import pickles
from uv_argo_magic.values import pickling, sealed

pytest.importorskip("cloudpickle")
LOCK = threading.Lock()


class Model:
    def __init__(self, part):
        self.part = part


class Slots:
    __slots__ = ("part",)

    def __init__(self, part):
        self.part = part


def uses_lock():
    return LOCK


def closure():
    held = {"lock": LOCK}
    return lambda: held


UNPICKLABLE = [
    (LOCK, "x is a thread lock"),
    ({"k": [0, LOCK]}, "x['k'][1] is a thread lock"),
    (Model((1, Model(LOCK))), "x.part[1].part is a thread lock"),
    (Slots(LOCK), "x.part is a thread lock"),
    ({frozenset([1]), (LOCK,)}, "x (an element)[0] is a thread lock"),
    (closure(), "held['lock'] (used by x) is a thread lock"),
    (functools.partial(print, LOCK), "x.args[0] is a thread lock"),
    (Model(LOCK).__init__, "x.__self__.part is a thread lock"),
    ((i for i in ()), "x is a generator"),
    (types.SimpleNamespace(frame=sys._getframe()), "x.frame is a stack frame"),
]  # fmt: skip


@each(("value", "message"), UNPICKLABLE)
def test_what_cannot_be_pickled_is_named_down_to_the_attribute(value, message):
    with pytest.raises(pickles.Unpicklable) as failed:
        pickles.dump_or_explain("x", value, pickling.load_cloudpickle)
    assert str(failed.value) == message + " and cannot be pickled"


def test_a_part_that_contains_itself_ends_the_search():
    loop = [LOCK]
    loop.insert(0, loop)
    with pytest.raises(pickles.Unpicklable, match=r"x\[1\] is a thread lock"):
        pickles.dump_or_explain("x", loop, pickling.load_cloudpickle)


def never():
    raise AssertionError


def test_pickle_is_used_where_the_receiver_can_import_everything():
    data, how = pickles.dumps([Model(1), Slots(2), uses_lock, len], never)
    assert how == "pickle"
    assert [type(one).__name__ for one in pickles.loads(data)][:2] == ["Model", "Slots"]


@pytest.mark.parametrize("kind", ["function", "class", "instance", "lambda"])
def test_what_refers_to_the_notebook_is_pickled_with_its_code(kind):
    names = {"__name__": "__main__"}
    exec("def function(): return 5\nclass Own:\n    def __call__(self): return 5", names)
    value = {"function": names["function"], "class": names["Own"], "instance": names["Own"](), "lambda": lambda: 5}[
        kind
    ]
    data, how = pickles.dumps([value], pickling.load_cloudpickle)
    assert how == "cloudpickle"
    assert pickles.PRIVATE in sealed.modules_of(data)
    assert "cloudpickle" not in sealed.modules_of(data)
    (arrived,) = pickles.loads(data)
    assert (arrived()() if kind == "class" else arrived()) == 5


def test_cloudpickle_says_its_version():
    assert pickling.load_cloudpickle() is pickling.load_cloudpickle()
    tree = pickles.sealed_tree(b"x", "cloudpickle")
    assert tree["cloudpickle"] == pickling.load_cloudpickle().__version__


def test_types_are_named_as_people_know_them():
    assert [pickles.type_name(kind) for kind in (int, threading.Thread)] == ["int", "threading.Thread"]
    assert pickles.describe(object()) == "an object"
