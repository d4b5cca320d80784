"""api.py: runs from a plain Python process, on the local backend."""

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


def test_values_go_there_and_come_back():
    done = run("print('hi')\ntotal = sum(numbers)", push={"numbers": [1, 2, 3]}, pull="total")
    assert done.result() == {"total": 6}
    assert done.logs() == "hi\n"
    assert done.status == "Succeeded"


def test_resources_and_an_environment_file(home):
    (home / "job.env").write_text("MODE=test\n", encoding="utf-8")
    code = "import os, resource\nseen = os.environ['MODE'], resource.getrlimit(resource.RLIMIT_DATA)[0]"
    done = run(code, pull="seen", resources={"memory": "2Gi"}, env_file="job.env")
    assert done.result() == {"seen": ("test", 2 << 30 if sys.platform == "linux" else -1)}


def test_a_file_fails_with_its_own_exception_on_its_own_line(home):
    (home / "study.py").write_text("x = 1\nx / 0\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError) as caught:
        run(home / "study.py")
    assert isinstance(caught.value, CellFailed)
    assert isinstance(caught.value.state, RunState)


def test_a_submitted_run_can_be_stopped():
    started = submit("import time; time.sleep(1000)", settings={"history": 5})
    assert not started.wait(0.1).ended
    started.stop("a test")
    with pytest.raises(Stopped):
        started.result(30)


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
def test_wrong_arguments(arguments, message):
    with pytest.raises(SpecError, match=message):
        submit("print(1)", **arguments)


def test_source_that_is_not_there_or_not_python(home):
    with pytest.raises(SpecError, match=r"cannot read .*nowhere\.py"):
        submit(home / "nowhere.py")
    with pytest.raises(CellFailed, match="invalid syntax"):
        submit("x = = 1")


def test_importing_the_package_is_light_and_all_names_are_there():
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
