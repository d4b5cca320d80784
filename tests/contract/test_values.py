"""Values pushed to and pulled from real cells: plain data of libraries and sealed values."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import zoneinfo

import pytest
from support.waiting import until_printed

import uv_argo_magic as argo
from uv_argo_magic._os import paths
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.errors import ArgoMagicError, PullError, SpecError
from uv_argo_magic.values.sealed import Sealed

numpy = pytest.importorskip("numpy")
pandas = pytest.importorskip("pandas")


def test_reading_values_imports_no_library():
    code = (
        "import sys; from uv_argo_magic.core.protocol import values as v; v.decode(v.encode('x', [1], 99));"
        "print({'numpy', 'pandas', 'polars', 'pyarrow', 'scipy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.sample(1)
@pytest.mark.parametrize("packages", ["pandas", "pandas pyarrow"])
def test_dataframe_is_pushed_and_pulled(packages):
    frame = pandas.DataFrame(
        {"n": numpy.arange(30_000), "text": ["a", None, "ä"] * 10_000, "when": pandas.Timestamp("2026-01-01", tz="UTC")}
    )
    run = argo.run("back, head = frame, frame.head(2)", deps=packages, push={"frame": frame}, pull="back head")
    pandas.testing.assert_frame_equal(run.values["back"], frame)
    pandas.testing.assert_frame_equal(run.values["head"], frame.head(2))


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


def test_objects_are_pulled_as_sealed_values():
    run = argo.run(CELL, pull="model total")
    model = run.values["model"]
    assert run.values["total"] == 5
    assert isinstance(model, Sealed)
    assert repr(model) == "<Sealed Model> Model(3)"
    assert (model.run, model.type, model.lock) == (run.id, "Model", run.lock().key)
    assert argo.run("y = model(2)", push={"model": model}, pull="y").values == {"y": 6}
    assert model.open()(5) == 15


def test_time_with_a_zoneinfo_zone_is_pushed_and_pulled():
    time = dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    run = argo.run("back = {'times': [time]}", push={"time": time}, pull="back")
    assert run.values["back"] == {"times": [time]}
    assert run.values["back"]["times"][0].tzinfo is time.tzinfo


SLOW_TO_PICKLE = """
import time

class Slow:
    def __reduce__(self):
        print("begun", flush=True)
        time.sleep(1000)

slow = Slow()
"""


def test_interrupt_while_values_are_sent_shows_no_internal_traceback():
    run = argo.submit(SLOW_TO_PICKLE, pull="slow")
    until_printed(run, "begun")
    run.stop()
    assert run.wait(60).outcome == "Stopped"
    assert run.logs() == "begun\n"
    assert json.loads(run.state.error)["ename"] == "KeyboardInterrupt"


def test_interrupted_submission_keeps_no_pushed_values(monkeypatch):
    def interrupt(_, program, spec, run_id, **options):
        pushed.extend(paths.run_dir(run_id).glob("values/pushed-*"))
        raise KeyboardInterrupt

    pushed = []
    monkeypatch.setattr(LocalBackend, "submit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        argo.run("1", push={"data": bytes(10_000_000)})
    assert pushed
    assert not any(path.exists() for path in pushed)


def test_function_is_pushed_with_its_closure():
    offset = 4

    def add(x):
        return x + offset

    assert argo.run("y = add(1)", push={"add": add}, pull="y").values == {"y": 5}


def test_unpicklable_attribute_is_reported_before_submission():
    import threading
    import types

    model = types.SimpleNamespace(callbacks=[1, 2, types.SimpleNamespace(_lock=threading.Lock())])
    with pytest.raises(SpecError, match=r"model\.callbacks\[2\]\._lock is a thread lock and cannot be pickled"):
        argo.submit("1", push={"model": model})


def test_failed_pull_returns_the_other_values():
    run = argo.submit("import threading; x, lock = 5, threading.Lock()", pull="x lock nothing")
    with pytest.raises(PullError) as failed:
        run.result()
    assert "lock is a thread lock and cannot be pickled" in failed.value.message
    assert "the cell does not define nothing" in failed.value.message
    assert failed.value.hint == "The cell itself succeeded, and x came back."
    assert run.values == {"x": 5}


def test_changed_sealed_value_is_refused():
    import dataclasses

    model = argo.run(CELL, pull="model").values["model"]
    changed = dataclasses.replace(model, digest="0" * 64)
    with pytest.raises(ArgoMagicError, match=r"model was changed since the run .* sent it"):
        changed.open()


def test_exception_has_its_class_if_it_is_importable():
    import json

    with pytest.raises(json.JSONDecodeError) as failed:
        argo.run("import json; json.loads('{')")
    assert (failed.value.pos, failed.value.doc) == (1, "{")
    assert isinstance(failed.value, argo.CellFailed)


BOMB = """
import os
class Bomb:
    def __reduce__(self):
        return os.mkdir, (path,)
bomb = Bomb()
"""


def test_pickle_is_not_loaded_until_it_is_opened(tmp_path):
    bomb = argo.run(BOMB, push={"path": str(tmp_path / "made")}, pull="bomb").values["bomb"]
    repr(bomb)
    bomb._repr_html_()
    assert not (tmp_path / "made").exists()
    bomb.open()
    assert (tmp_path / "made").exists()


def test_value_of_missing_library_is_sealed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    run = argo.run("import pandas; frame = pandas.DataFrame({'a': [1, 2]})", deps="pandas", pull="frame")
    frame = run.values["frame"]
    assert (frame.type, repr(frame)) == (
        "pandas.DataFrame",
        "<Sealed pandas.DataFrame>\n   a\n0  1\n1  2",
    )
    assert "<table" in frame._repr_html_()
    with pytest.raises(ArgoMagicError, match="needs pandas, which is not installed here"):
        frame.open()
    monkeypatch.undo()
    pandas.testing.assert_frame_equal(frame.open(), pandas.DataFrame({"a": [1, 2]}))
    run = argo.run("total = int(frame.a.sum())", deps="pandas", push={"frame": frame}, pull="total")
    assert run.values == {"total": 3}


def test_function_of_another_python_is_refused(monkeypatch):
    from uv_argo_magic.guest_values import pickles

    monkeypatch.setattr(pickles, "minor", lambda: "3.7")
    with pytest.raises(SpecError, match=r"f contains code of Python 3\.7, and the cell runs on Python 3\.") as caught:
        argo.submit("f()", push={"f": lambda: 1})
    assert caught.value.hint == "Add --python 3.7, or define it in the cell."


def test_values_are_stored_with_their_run(home):
    from uv_argo_magic._os import paths
    from uv_argo_magic.history.store import History

    run = argo.run(CELL + "array = __import__('array').array('d', [0.5] * 9000)\n", pull="model total array")
    values = History(paths.data_dir() / "runs").get(run.id).values
    assert (values["total"], repr(values["model"])) == (5, "<Sealed Model> Model(3)")
    assert values["array"].open() == run.values["array"].open()
    folder = paths.run_dir(run.id) / "values"
    file = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[-200] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArgoMagicError, match=r"array was changed since the run .* its SHA-256 does not match"):
        values["array"].open()
    assert "array" not in History(paths.data_dir() / "runs").get(run.id).values


@pytest.fixture
def session(home, tmp_path, monkeypatch):
    from support.session_notebook import Notebook, end_all

    monkeypatch.setenv("UV_ARGO_BACKEND", "local")
    yield Notebook(tmp_path / "study.ipynb")
    end_all()


def test_session_pushes_and_pulls_values(session, home):
    numbers = numpy.arange(20_000.0)
    session.names.update(numbers=numbers, scale=lambda x: x * offset, offset=3)
    offset = 3
    run = session.run(
        "total = float(scale(numbers).sum())", "-s --deps numpy --push numbers,scale --pull total,scale,numbers"
    )
    assert run.values["total"] == float(numbers.sum()) * offset
    assert isinstance(run.values["scale"], Sealed)
    assert (run.values["numbers"] == numbers).all()
    assert run.values["scale"].open()(1) == 3
    folder = session.path.parent / "runs" / run.id / "values"
    assert not [path for path in folder.iterdir() if path.name.startswith("pushed")]
    failing_run = session.run("import threading; lock = threading.Lock()", "-s --pull lock,total")
    with pytest.raises(PullError) as failed:
        failing_run.raise_for_state()
    assert failed.value.hint.endswith("The session main still has the variables.")
    assert session.text("print(lock.locked())") == "False\n"
    session.names.update(numbers=0, fresh=[1])
    assert session.text("print(len(numbers), fresh)", "-s --push auto") == "20000 [1]\n"


@pytest.mark.slow
@pytest.mark.parametrize("packages", ["pandas>=2,<3", "pandas<2 numpy<2"])
def test_dataframe_survives_older_pandas(packages):
    frame = pandas.DataFrame(
        {
            "text": ["x", None, "ä"],
            "kind": pandas.Categorical(["u", "v", "u"]),
            "zoned": pandas.date_range("2026-01-01", periods=3, tz="Europe/Berlin").as_unit("ns"),
            "n": pandas.array([1, None, 3], "Int64"),
            "sparse": pandas.arrays.SparseArray([0, 0, 1]),
        },
        index=pandas.date_range("2026-01-01", periods=3, freq="D", name="day").as_unit("ns"),
    )
    cell = "dtype, back, zone = str(frame.text.dtype), frame, frame.zoned.iloc[0]"
    run = argo.run(cell, deps=packages, push={"frame": frame}, pull="dtype back zone")
    back = run.values["back"]
    assert (run.values["dtype"], run.values["zone"]) == ("object", frame.zoned.iloc[0])
    pandas.testing.assert_frame_equal(back, frame, check_freq=True)


def test_unreadable_pushed_value_is_reported():
    class Broken:
        def __reduce__(self):
            return int, ("x",)

    with pytest.raises(ValueError, match=r"the pushed value 'broken' cannot be read here: ValueError: invalid literal"):
        argo.run("1", push={"broken": Broken()})
    with pytest.raises(
        ModuleNotFoundError, match=r"No module named 'numpy', which the pushed value 'array' needs"
    ) as failed:
        argo.run("1", push={"array": numpy.arange(3)})
    assert failed.value.hint.endswith("Add --deps numpy.")
