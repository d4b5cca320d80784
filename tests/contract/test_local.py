"""The local backend with a real process: how a run's end is told."""

from __future__ import annotations

import sys
import threading

import pytest

from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine import run as engine
from uv_argo_magic.errors import RunError
from uv_argo_magic.history.store import History, RunFiles


@pytest.fixture(autouse=True)
def broken_threads(tmp_path, monkeypatch):
    """What the threads of a test died of: nothing, or the test fails."""
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "a 'home' with blanks"))
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    yield
    assert seen == []


def start(cell: str, history: History | None = None) -> engine.Run:
    return engine.start(engine.prepare(RunSpec(cell=cell)), backend=LocalBackend(), history=history)


@pytest.mark.parametrize(
    ("cell", "outcome", "phase"),
    [
        ("1", "Succeeded", "Succeeded"),
        ("import sys; sys.exit(200)", "Failed", "Failed"),
        ("import sys; sys.exit(-1)", "Failed", "Failed"),
        ("import os; os._exit(137)", "Failed", "Failed"),
        ("import os, shutil; shutil.rmtree(os.path.dirname(os.getcwd())); 1 / 0", "Failed", "Failed"),
        ("import os, shutil; shutil.rmtree(os.path.dirname(os.getcwd()))", "Succeeded", "Succeeded"),
    ],
)
def test_every_end_is_read_to_the_end(cell, outcome, phase):
    run = start(cell)
    run.wait(60)
    run._thread.join(60)  # the rest of the log, after the record that ended the run
    assert (run.state.outcome, run.state.node.phase if run.state.node else "") == (outcome, phase)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the supervisor's end is told by a file descriptor")
def test_a_killed_supervisor_is_named():
    run = start("import os, time; os.kill(os.getppid(), 9); time.sleep(60)")
    run.wait(60)
    with pytest.raises(RunError, match="SIGKILL"):
        run.raise_for_state()


def test_a_history_on_a_full_disk_costs_its_record_and_not_the_run(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFiles, "append", full)
    run = start("print(1)", History(tmp_path / "runs"))
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "1\n"
    assert "not kept in the history: [Errno 28]" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_settings_of_uv_in_this_environment_do_not_reach_the_install(monkeypatch):
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "1990-01-01")
    monkeypatch.setenv("UV_INDEX_MINE_PASSWORD", "x")
    run = start("import os\nprint(*open(f'/proc/{os.getppid()}/environ').read().split('\\0'), sep='\\n')")
    run.wait(60)
    names = {line.partition("=")[0] for line in run.logs().splitlines()}
    assert "UV_INDEX_MINE_PASSWORD" in names
    assert "UV_EXCLUDE_NEWER" not in names
