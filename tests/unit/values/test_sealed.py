"""values/sealed.py: a sealed value, and the error if the value itself is needed."""

from __future__ import annotations

import copy
import pickle

import pytest
from support.cases import each

from uv_argo_magic.values.sealed import Origin, Sealed, SealedValueError

MODEL = Sealed(type="sklearn.LinearModel", size=9, digest="", origin=Origin(run="r1"), name="model")


@each(
    ("use", "part"),
    [
        (lambda: MODEL.predict([1]), ".predict needs the value of model, a sealed sklearn.LinearModel"),
        (lambda: MODEL(1), "a call needs"),
        (lambda: MODEL[0], "an index needs"),
        (lambda: len(MODEL), "len() needs"),
        (lambda: list(MODEL), "iter() needs"),
        (lambda: MODEL + 1, "+ needs"),
        (lambda: 1 + MODEL, "radd needs"),
    ],
)
def test_use_of_a_sealed_value_explains_how_to_open_it(use, part):
    with pytest.raises(SealedValueError) as exc_info:
        use()
    assert part in exc_info.value.message
    assert ".open()" in exc_info.value.hint
    assert "--push model" in exc_info.value.hint
    assert isinstance(exc_info.value, AttributeError)
    assert isinstance(exc_info.value, TypeError)


def test_sealed_value_is_an_object_with_only_its_own_attributes():
    assert bool(MODEL)
    assert hasattr(MODEL, "open")
    assert not hasattr(MODEL, "predict")
    assert not hasattr(MODEL, "_repr_png_")
    assert getattr(MODEL, "predict", None) is None
    assert copy.copy(MODEL) != MODEL
    numpy = pytest.importorskip("numpy")
    assert list(numpy.array([MODEL, MODEL], dtype=object)) == [MODEL, MODEL]
    for other in (copy.copy(MODEL), copy.deepcopy(MODEL), pickle.loads(pickle.dumps(MODEL))):
        assert vars(other) == vars(MODEL)
