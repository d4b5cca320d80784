"""`%argo attach` to a run that this kernel did not start: after a restart, from another notebook or machine."""

from __future__ import annotations

import json
import threading

import pytest
from support.waiting import until

from uv_argo_magic.backends import base, lookup
from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.core.resolution.lock import Lock, Target
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.engine import run as engine_run
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.recorder import Recorder
from uv_argo_magic.history.store import History
from uv_argo_magic.notebook import background
from uv_argo_magic.testing import FakeBackend, play, write

HELLO = ("hello", {"protocol": 1, "python": "3.12.1", "platform": "linux", "pid": 1})
REMOTE_RUN = base.RemoteRun(
    name="w-1", run="r-1", nonce="theirs", location="c, namespace nb", phase="Running", started_at=900.0
)


@pytest.fixture
def backend(monkeypatch):
    fake = FakeBackend([write(HELLO, "one\n"), write("two\n", ("exit", {"reason": "ok"}), n=2)])
    fake.remote_runs.append(REMOTE_RUN)
    monkeypatch.setattr(lookup, "load", lambda name: fake)
    background._runs.clear()
    return fake


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "home" / "data" / "runs")


def store_run(history, *, alive=False):
    """Store a run on a cluster, like another kernel that is still `alive` or has ended."""
    files = history.begin("r-1", spec=RunSpec(cell="x", backend="argo"), resolution=LOCK, nonce="theirs")
    files.note("name", "w-1")
    files.append("one\n")
    if not alive:
        spec = json.loads((files.folder / "spec.json").read_text())
        (files.folder / "spec.json").write_text(json.dumps(spec | {"started": "another process"}))


LOCK = Lock(packages=(), target=Target(python="3.12.1"))


@pytest.mark.parametrize("name", ["w-1", "r-1"])
def test_attach_finds_a_run_on_the_backend(shell, backend, history, capsys, name):
    run = shell.run_line_magic("argo", f"attach {name}")
    assert (run.id, run.name, run.wait(60).outcome) == ("r-1", "w-1", "Succeeded")
    assert run.state.phases[0] == ("queued", 900.0)
    assert capsys.readouterr().out == "one\ntwo\n"
    assert history.list() == ()  # the run of another user is not stored


def test_attach_continues_the_history_after_a_restart(shell, backend, history, capsys):
    store_run(history)
    run = shell.run_line_magic("argo", "attach")
    assert run.wait(60).outcome == "Succeeded"
    assert capsys.readouterr().out == "one\ntwo\n"
    run._is_read.wait(60)
    entry = history.get("r-1")
    assert (entry.outcome, entry.live) == ("Succeeded", False)
    assert [line for line in entry.log().split("\n") if not line.startswith("@")] == ["one", "two", ""]


def test_attach_waits_for_the_history_of_a_run_that_has_just_ended(shell, backend, history, capsys, monkeypatch):
    store_run(history)
    writing, finish = threading.Event(), Recorder.finish

    def finish_late(recorder, state):
        writing.wait(60)
        finish(recorder, state)

    monkeypatch.setattr(Recorder, "finish", finish_late)
    monkeypatch.setattr(engine_run, "WRITE_AFTER", 0.0)
    run = shell.run_line_magic("argo", "attach")
    until(lambda: run.state.ended)
    capsys.readouterr()
    assert not run._ended.is_set()
    background.remember(run)  # as in a kernel that shows it in the background
    backend.remote_runs.clear()  # as in a session, whose worker forgets a run that was read
    threading.Timer(0.2, writing.set).start()
    shell.run_line_magic("argo", "attach")
    assert capsys.readouterr().out == "argo Succeeded\none\ntwo\n"


def test_attach_does_not_write_the_history_of_another_kernel(shell, backend, history, capsys):
    store_run(history, alive=True)
    assert shell.run_line_magic("argo", "attach r-1").wait(60).outcome == "Succeeded"
    assert capsys.readouterr().out == "one\ntwo\n"
    assert history.get("r-1").log() == "one\n"


def test_attach_shows_the_stored_log_of_a_lost_run(shell, backend, history, capsys):
    store_run(history)
    backend.remote_runs.clear()
    assert shell.run_line_magic("argo", "attach r-1") is None
    assert capsys.readouterr().out == "argo Lost\none\n"


def test_attach_rejects_an_unknown_run(shell, backend):
    with pytest.raises(SpecError, match="no such run: nope") as exc_info:
        shell.run_line_magic("argo", "attach nope")
    assert "Not found on" in exc_info.value.hint
    assert "Try `-b " in exc_info.value.hint


def test_commands_query_the_backend(shell, backend, history, capsys):
    store_run(history)
    shell.run_line_magic("argo", "runs --all")
    assert "  Running  " in capsys.readouterr().out
    shell.run_line_magic("argo", "logs r-1")
    assert capsys.readouterr().out.strip() == "one\ntwo"
    shell.run_line_magic("argo", "stop r-1")
    assert backend.stopped == ["w-1"]
    assert "Stop requested for r-1 (w-1)" in capsys.readouterr().out


def test_attach_restores_the_values_of_an_ended_run(shell, backend, history):
    files = history.begin("r-2", spec=RunSpec(cell="x", pull=("total",)), resolution=LOCK, nonce="n")
    values = ("value", {"name": "total", "body": "[1, 2]", "type": "list", "size": 6})
    text = write(HELLO, values, ("exit", {"reason": "ok"}), nonce="n")
    files.append(text)
    files.finish(play(text, nonce="n", start=RunState(run="r-2")))
    run = shell.run_line_magic("argo", "attach r-2")
    assert repr(run) == "<RunRecord r-2: Succeeded>"
    assert run.values == {"total": [1, 2]}
