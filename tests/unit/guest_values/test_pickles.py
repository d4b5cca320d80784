"""guest_values/pickles.py: pickles of values, and the part of a value that cannot be pickled."""

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
def test_error_names_the_part_that_cannot_be_pickled(value, message):
    with pytest.raises(pickles.Unpicklable) as exc_info:
        pickles.dump_or_explain("x", value, pickling.load_cloudpickle)
    assert str(exc_info.value) == message + " and cannot be pickled"


class Proxy:
    """Has every attribute, such as `__code__`."""

    def __init__(self):
        self.lock = LOCK

    def __getattr__(self, name):
        return self


def test_value_that_cannot_be_inspected_is_named():
    with pytest.raises(pickles.Unpicklable, match=r"x is a .* Proxy and cannot be pickled"):
        pickles.dump_or_explain("x", Proxy(), pickling.load_cloudpickle)


def test_search_ends_at_cycles():
    loop = [LOCK]
    loop.insert(0, loop)
    with pytest.raises(pickles.Unpicklable, match=r"x\[1\] is a thread lock"):
        pickles.dump_or_explain("x", loop, pickling.load_cloudpickle)


def fail_to_load_cloudpickle():
    raise AssertionError


def test_pickle_is_used_if_everything_can_be_imported():
    data, method = pickles.dumps([Model(1), Slots(2), uses_lock, len], fail_to_load_cloudpickle)
    assert method == "pickle"
    assert [type(item).__name__ for item in pickles.loads(data)][:2] == ["Model", "Slots"]


@pytest.mark.parametrize("kind", ["function", "class", "instance", "lambda"])
def test_objects_of_the_notebook_are_pickled_with_their_code(kind):
    names = {"__name__": "__main__"}
    exec("def function(): return 5\nclass Own:\n    def __call__(self): return 5", names)
    value = {"function": names["function"], "class": names["Own"], "instance": names["Own"](), "lambda": lambda: 5}[
        kind
    ]
    data, method = pickles.dumps([value], pickling.load_cloudpickle)
    assert method == "cloudpickle"
    assert pickles.PRIVATE in sealed.modules_of(data)
    assert "cloudpickle" not in sealed.modules_of(data)
    (unpickled,) = pickles.loads(data)
    assert (unpickled()() if kind == "class" else unpickled()) == 5


def test_sealed_tree_has_the_version_of_cloudpickle():
    assert pickling.load_cloudpickle() is pickling.load_cloudpickle()
    tree = pickles.sealed_tree(b"x", "cloudpickle")
    assert tree["cloudpickle"] == pickling.load_cloudpickle().__version__


def test_type_names_are_readable():
    assert [pickles.type_name(kind) for kind in (int, threading.Thread)] == ["int", "threading.Thread"]
    assert pickles.describe(object()) == "an object"
