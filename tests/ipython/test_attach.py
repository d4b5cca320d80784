"""`%argo attach` of a run that this kernel did not begin: after a restart, from another notebook or machine."""

from __future__ import annotations

import json

import pytest

from uv_argo_magic.backends import base
from uv_argo_magic.core.protocol.state import RunState
from uv_argo_magic.core.resolution.lock import Lock, Target
from uv_argo_magic.core.spec.run_spec import RunSpec
from uv_argo_magic.errors import SpecError
from uv_argo_magic.history.store import History
from uv_argo_magic.notebook import background
from uv_argo_magic.testing import FakeBackend, play, write

HELLO = ("hello", {"protocol": 1, "python": "3.12.1", "platform": "linux", "pid": 1})
FOUND = base.RemoteRun(
    name="w-1", run="r-1", nonce="theirs", location="c, namespace nb", phase="Running", started_at=900.0
)


@pytest.fixture
def backend(monkeypatch):
    made = FakeBackend([write(HELLO, "one\n"), write("two\n", ("exit", {"reason": "ok"}), n=2)])
    made.remote_runs.append(FOUND)
    monkeypatch.setattr(base, "load", lambda name: made)
    background.RUNS.clear()
    return made


@pytest.fixture
def history(tmp_path):
    return History(tmp_path / "home" / "data" / "runs")


def keep(history, *, alive=False):
    """What a kernel leaves of a run on a cluster."""
    files = history.begin("r-1", spec=RunSpec(cell="x", backend="argo"), resolution=LOCK, nonce="theirs")
    files.note("name", "w-1")
    files.append("one\n")
    if not alive:
        about = json.loads((files.folder / "spec.json").read_text())
        (files.folder / "spec.json").write_text(json.dumps(about | {"started": "another process"}))


LOCK = Lock(packages=(), target=Target(python="3.12.1"))


@pytest.mark.parametrize("name", ["w-1", "r-1"])
def test_a_run_that_nothing_is_kept_of_is_found_where_it_runs(shell, backend, history, capsys, name):
    run = shell.run_line_magic("argo", f"attach {name}")
    assert (run.id, run.name, run.wait(60).outcome) == ("r-1", "w-1", "Succeeded")
    assert run.state.phases[0] == ("queued", 900.0)
    assert capsys.readouterr().out == "one\ntwo\n"
    assert history.list() == ()  # it is somebody else's


def test_after_a_restart_the_history_is_written_on(shell, backend, history, capsys):
    keep(history)
    run = shell.run_line_magic("argo", "attach")
    assert run.wait(60).outcome == "Succeeded"
    assert capsys.readouterr().out == "one\ntwo\n"
    run._is_read.wait(60)
    entry = history.get("r-1")
    assert (entry.outcome, entry.live) == ("Succeeded", False)
    assert [line for line in entry.log().split("\n") if not line.startswith("@")] == ["one", "two", ""]


def test_another_kernels_run_is_seen_and_its_history_left_to_it(shell, backend, history, capsys):
    keep(history, alive=True)
    assert shell.run_line_magic("argo", "attach r-1").wait(60).outcome == "Succeeded"
    assert capsys.readouterr().out == "one\ntwo\n"
    assert history.get("r-1").log() == "one\n"


def test_a_run_whose_place_knows_nothing_any_more_is_shown_as_it_is_kept(shell, backend, history, capsys):
    keep(history)
    backend.remote_runs.clear()
    assert shell.run_line_magic("argo", "attach r-1") is None
    assert capsys.readouterr().out == "argo Lost\none\n"


def test_a_name_that_nobody_knows(shell, backend):
    with pytest.raises(SpecError, match="no such run: nope") as caught:
        shell.run_line_magic("argo", "attach nope")
    assert "Not found on" in caught.value.hint
    assert "Try `-b " in caught.value.hint


def test_the_verbs_ask_where_it_runs(shell, backend, history, capsys):
    keep(history)
    shell.run_line_magic("argo", "runs --all")
    assert "  Running  " in capsys.readouterr().out
    shell.run_line_magic("argo", "logs r-1")
    assert capsys.readouterr().out.strip() == "one\ntwo"
    shell.run_line_magic("argo", "stop r-1")
    assert backend.stopped == ["w-1"]
    assert "Stop requested for r-1 (w-1)" in capsys.readouterr().out


def test_after_a_restart_the_values_of_an_ended_run_are_there(shell, backend, history):
    files = history.begin("r-2", spec=RunSpec(cell="x", pull=("total",)), resolution=LOCK, nonce="n")
    values = ("value", {"name": "total", "body": "[1, 2]", "type": "list", "size": 6})
    text = write(HELLO, values, ("exit", {"reason": "ok"}), nonce="n")
    files.append(text)
    files.finish(play(text, nonce="n", start=RunState(run="r-2")))
    run = shell.run_line_magic("argo", "attach r-2")
    assert repr(run) == "<RunRecord r-2: Succeeded>"
    assert run.values == {"total": [1, 2]}
