"""Values that are pushed to real cells and pulled from them: plain data of libraries, and sealed ones."""

from __future__ import annotations

import subprocess
import sys

import pytest

import uv_argo_magic as argo
from uv_argo_magic.errors import ArgoMagicError, PullError, SpecError
from uv_argo_magic.values.sealed import Sealed

numpy = pytest.importorskip("numpy")
pandas = pytest.importorskip("pandas")


def test_reading_values_does_not_import_a_library():
    code = (
        "import sys; from uv_argo_magic.core.protocol import values as v; v.decode(v.encode('x', [1], 99));"
        "print({'numpy', 'pandas', 'polars', 'pyarrow', 'scipy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("packages", ["pandas", "pandas pyarrow"])
def test_a_dataframe_goes_in_and_comes_back_with_and_without_pyarrow(packages):
    frame = pandas.DataFrame(
        {"n": numpy.arange(30_000), "text": ["a", None, "ä"] * 10_000, "when": pandas.Timestamp("2026-01-01", tz="UTC")}
    )
    done = argo.run("back, head = frame, frame.head(2)", deps=packages, push={"frame": frame}, pull="back head")
    pandas.testing.assert_frame_equal(done.values["back"], frame)
    pandas.testing.assert_frame_equal(done.values["head"], frame.head(2))


CELL = """
class Model:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x

    def __repr__(self):
        return f"Model({self.factor})"


model, total = Model(3), 5
"""


def test_what_is_not_plain_data_comes_back_sealed_and_goes_into_another_cell_unopened():
    run = argo.run(CELL, pull="model total")
    model = run.values["model"]
    assert run.values["total"] == 5
    assert isinstance(model, Sealed)
    assert repr(model) == "<Sealed Model> Model(3)"
    assert (model.run, model.type, model.lock) == (run.id, "Model", run.lock().key)
    assert argo.run("y = model(2)", push={"model": model}, pull="y").values == {"y": 6}
    assert model.open()(5) == 15


def test_functions_of_the_notebook_are_pushed_with_what_they_use():
    offset = 4

    def add(x):
        return x + offset

    assert argo.run("y = add(1)", push={"add": add}, pull="y").values == {"y": 5}


def test_what_cannot_be_pickled_is_named_down_to_the_attribute_before_anything_is_submitted():
    import threading
    import types

    model = types.SimpleNamespace(callbacks=[1, 2, types.SimpleNamespace(_lock=threading.Lock())])
    with pytest.raises(SpecError, match=r"model\.callbacks\[2\]\._lock is a thread lock and cannot be pickled"):
        argo.submit("1", push={"model": model})


def test_a_failed_pull_brings_the_others_and_is_a_pull_error():
    run = argo.submit("import threading; x, lock = 5, threading.Lock()", pull="x lock nothing")
    with pytest.raises(PullError) as failed:
        run.result()
    assert "lock is a thread lock and cannot be pickled" in failed.value.message
    assert "the cell does not define nothing" in failed.value.message
    assert failed.value.hint == "The cell itself succeeded, and x arrived."
    assert run.values == {"x": 5}


def test_a_sealed_value_that_was_changed_is_refused():
    import dataclasses

    model = argo.run(CELL, pull="model").values["model"]
    changed = dataclasses.replace(model, digest="0" * 64)
    with pytest.raises(ArgoMagicError, match=r"model was changed since the run .* sent it"):
        changed.open()
