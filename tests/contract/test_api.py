"""api.py: runs from a Python process, on the local backend."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

import uv_argo_magic
from uv_argo_magic import CellFailed, SpecError, Stopped, run, submit
from uv_argo_magic.core.protocol.state import RunState


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UV_ARGO_BACKEND", "local")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_values_are_pushed_and_pulled():
    completed = run("print('hi')\ntotal = sum(numbers)", push={"numbers": [1, 2, 3]}, pull="total")
    assert completed.result() == {"total": 6}
    assert completed.logs() == "hi\n"
    assert completed.status == "Succeeded"


def test_resources_and_env_file_are_applied(home):
    (home / "job.env").write_text("MODE=test\n", encoding="utf-8")
    code = "import os, resource\nfound = os.environ['MODE'], resource.getrlimit(resource.RLIMIT_DATA)[0]"
    completed = run(code, pull="found", resources={"memory": "2Gi"}, env_file="job.env")
    assert completed.result() == {"found": ("test", 2 << 30 if sys.platform == "linux" else -1)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": 5}, "source must be a string or a pathlib.Path, not of type int"),
        ({"deps": 5}, "deps must be a string or a list of strings, not of type int"),
        ({"deps": ["numpy", 5]}, "deps must be a string or a list of strings, not of type list"),
        ({"push": "df"}, "push must be a dict with strings as keys, not of type str"),
        ({"push": ["a"]}, "push must be a dict with strings as keys, not of type list"),
        ({"push": {5: "a"}}, "push must be a dict with strings as keys, not of type dict"),
        ({"pull": 5}, "pull must be a string or a list of strings, not of type int"),
        ({"pull": None}, "pull must be a string or a list of strings, not of type NoneType"),
        ({"resources": "cpu=1"}, "resources must be a dict with strings as keys, not of type str"),
        ({"settings": "panel=html"}, "settings must be a dict with strings as keys, not of type str"),
        ({"env_file": 5}, "env_file must be a path, not of type int"),
        ({"python": 3.12}, "python must be a string, not of type float"),
        ({"backend": None}, "backend must be a string, not of type NoneType"),
        ({"python": "new"}, "Invalid Python version 'new'."),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(SpecError) as caught:
        submit(**{"source": "1", **arguments})
    assert caught.value.message == message
    assert caught.value.hint


def test_failing_file_raises_its_exception(home):
    (home / "study.py").write_text("x = 1\nx / 0\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError) as caught:
        run(home / "study.py")
    assert isinstance(caught.value, CellFailed)
    assert isinstance(caught.value.state, RunState)


def test_submitted_run_can_be_stopped():
    submitted = submit("import time; time.sleep(1000)", settings={"history": 5})
    assert not submitted.wait(0.1).ended
    submitted.stop("a test")
    with pytest.raises(Stopped):
        submitted.result(30)


def test_notes_are_logged(home, caplog):
    (home / "uv-argo.toml").write_text('deps = ""\n', encoding="utf-8")
    (home / "study.py").write_text("", encoding="utf-8")
    with caplog.at_level(logging.INFO, "uv_argo_magic"):
        run("print(1)", deps=[])
    assert all(record.name == "uv_argo_magic" for record in caplog.records)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": {"pannel": "none"}}, "pannel"),
        ({"deps": "numpy=1"}, "is not a comparison"),
        ({"backend": "nope"}, "nope"),
        ({"python": "three"}, "three"),
        ({"resources": {"cpus": 2}}, "unknown resource cpus"),
        ({"resources": {"memory": "much"}}, "much"),
        ({"env_file": "nowhere.env"}, r"cannot read nowhere\.env"),
    ],
)
def test_invalid_arguments_are_reported(arguments, message):
    with pytest.raises(SpecError, match=message):
        submit("print(1)", **arguments)


def test_missing_file_and_invalid_source_are_reported(home):
    with pytest.raises(SpecError, match=r"cannot read .*nowhere\.py"):
        submit(home / "nowhere.py")
    with pytest.raises(CellFailed, match="invalid syntax"):
        submit("x = = 1")


def test_import_is_lazy_and_public_names_exist():
    code = (
        "import sys, uv_argo_magic\n"
        "assert not {'IPython', 'uv', 'packaging', 'uv_argo_magic.engine', 'uv_argo_magic.api'} & set(sys.modules)\n"
        "for name in uv_argo_magic.__all__: getattr(uv_argo_magic, name)\n"
        "from uv_argo_magic import *\n"
        "assert submit and Run and Backend and Renderer and testing and __version__\n"
        "assert 'IPython' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    with pytest.raises(AttributeError, match="sumbit"):
        _ = uv_argo_magic.sumbit
