"""Runs with retries follow each pod; without retries, a recreated pod ends the workflow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from support.argo_server import ArgoServer
from support.waiting import until

from uv_argo_magic.backends.argo import diagnose, follow_state
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.argo.watchers import WorkflowSeen
from uv_argo_magic.backends.kubernetes import watchers
from uv_argo_magic.core.protocol import events as ev
from uv_argo_magic.core.protocol.state import Restarted
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import join, start

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

HERE = ".".join(map(str, sys.version_info[:3]))
CELL = """import os
with open({counter!r}, "a+") as file:
    file.write("x")
    file.seek(0)
    times = len(file.read())
print("time", times, flush=True)
if times < {good}:
    os._exit(3)
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(watchers, "POLL", 0.1)
    with ArgoServer(tmp_path) as server:
        yield server


def begin(server, backend, cell, retries=2) -> Run:
    settings = Settings(kubeconfig=str(server.kubeconfig), images=((HERE, "none"),), retries=retries)
    return start(prepare(RunSpec(cell=cell, settings=settings, backend="argo"), backend), backend=backend)


def test_run_ends_with_first_successful_attempt(server, tmp_path):
    run = begin(server, ArgoBackend(), CELL.format(counter=str(tmp_path / "times"), good=2))
    state = run.wait(60)
    assert (state.outcome, state.attempt, state.attempts) == ("Succeeded", 2, 3)
    assert run.logs() == "time 1\ntime 2\n"
    assert [output.attempt for output in state.outputs if isinstance(output, Restarted)] == [2]
    run._is_read.wait(60)
    assert run.state.node.phase == "Succeeded"


def test_run_fails_with_last_attempt(server, tmp_path):
    run = begin(server, ArgoBackend(), CELL.format(counter=str(tmp_path / "times"), good=9))
    state = run.wait(60)
    assert (state.outcome, state.exited.code, state.attempt) == ("Failed", 3, 3)
    assert run.logs() == "time 1\ntime 2\ntime 3\n"
    assert "shutdown" not in next(iter(server.workflows.values())).manifest["spec"]
    # Another client reads the output of all attempts, too.
    backend = ArgoBackend()
    found = backend.find(run.name, run.settings)
    events = list(backend.watch(found.name))
    assert ev.Attempts in {type(event) for event in events}
    text = "".join(event for event in events if isinstance(event, str))
    assert [line for line in text.split("\n") if line.startswith("time")] == ["time 1", "time 2", "time 3"]
    text = "".join(event for event in backend.watch(found.name, follow=False) if isinstance(event, str))
    assert [line for line in text.split("\n") if line.startswith("time")] == ["time 1", "time 2", "time 3"]


def test_stopped_run_is_not_retried(server, tmp_path):
    run = begin(server, ArgoBackend(), f"open({str(tmp_path / 'on')!r}, 'a').write('x')\nimport time; time.sleep(1000)")
    until((tmp_path / "on").exists)
    run.stop("a test")
    assert run.wait(60).outcome == "Stopped"
    assert (tmp_path / "on").read_text() == "x"


def pod(name, uid, phase="Running"):
    return {"metadata": {"name": name, "uid": uid}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("limit", "second", "ends"),
    [
        (None, pod("w", "2"), True),  # recreated with the same name
        (None, pod("w-cell-2", "2"), True),
        (3, pod("w-cell-1", "2"), True),
        (3, pod("w-cell-2", "2"), False),
    ],
    ids=["recreated pod", "second pod", "recreated attempt", "retry"],
)
def test_unexpected_pod_ends_the_workflow(limit, second, ends):
    template = {"name": "cell"} | ({"retryStrategy": {"limit": str(limit)}} if limit else {})
    first = pod("w-cell-1" if limit else "w", "1")
    # Pods that arrive before the workflow are checked when the workflow arrives.
    changes = watchers.PodsChanged((watchers.PodChange("ADDED", first), watchers.PodChange("ADDED", second)))
    state, effects = follow_state.advance(follow_state.FollowState(nonce="ab"), changes, t=0.0, seconds=0.0)
    assert effects == ()
    workflow = WorkflowSeen({"spec": {"entrypoint": "cell", "templates": [template]}})
    _, effects = follow_state.advance(state, workflow, t=0.0, seconds=0.0)
    assert (follow_state.Terminate() in effects) is ends
    assert any(isinstance(effect, ev.NodePhase) and "run twice" in effect.message for effect in effects) is ends


@pytest.mark.parametrize(
    ("workflow", "attempts"),
    [
        (None, 1),
        ({"spec": {"entrypoint": "a", "templates": [{"name": "a"}]}}, 1),
        ({"spec": {"entrypoint": "a", "templates": [{"name": "a", "retryStrategy": {"limit": 2}}]}}, 3),
        ({"spec": {"entrypoint": "a", "templates": [{"name": "b", "retryStrategy": {"limit": 2}}, {"name": "a"}]}}, 1),
        ({"spec": {"entrypoint": "a", "templates": [{"name": "a", "retryStrategy": {}}]}}, 0),
        ({"spec": {"retryStrategy": {"limit": "{{=2}}"}}}, 1),
        ({"spec": {"templateDefaults": {"retryStrategy": {"limit": "1"}}}}, 2),
        (
            {
                "spec": {"workflowTemplateRef": {"name": "t"}},
                "status": {
                    "storedWorkflowTemplateSpec": {
                        "entrypoint": "a",
                        "templates": [{"name": "a", "retryStrategy": {"limit": 4}}],
                    }
                },
            },
            5,
        ),
    ],
    ids=["no workflow", "no retries", "limit", "other template", "no limit", "expression", "defaults", "reference"],
)
def test_attempt_limit_is_read_from_workflow(workflow, attempts):
    assert diagnose.attempt_limit(workflow) == attempts


def test_join_needs_a_backend_that_has_the_run():
    from uv_argo_magic.engine.find_run import RunRef

    with pytest.raises(ValueError, match="the backend has no run"):
        join(RunRef(backend="argo", settings=Settings()), settings=Settings())
