"""Cells that run through the API of an Argo Server."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.argo_rest import ArgoRest
from support.argo_server import ArgoServer
from support.waiting import until_printed

from uv_argo_magic.backends.argo import diagnose, follow_state, server
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.kubernetes import diagnose as pods
from uv_argo_magic.backends.kubernetes import transport, watchers
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start
from uv_argo_magic.errors import BackendUnavailable, NodeFailed, SubmitRejected

if TYPE_CHECKING:
    from uv_argo_magic.engine.run import Run

HERE = ".".join(map(str, sys.version_info[:3]))
RECORDINGS = Path(__file__).parent.parent / "golden" / "recordings"
# "none", because an Argo Server does not report the containers of pods.
SETTINGS = {"images": ((HERE, "none"),)}


@pytest.fixture
def api(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    for name in ("ARGO_BASE_HREF", "ARGO_INSECURE_SKIP_VERIFY", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARGO_TOKEN", "secret")
    monkeypatch.setenv("ARGO_SECURE", "false")
    monkeypatch.setenv("ARGO_NAMESPACE", "nb")
    monkeypatch.setattr(watchers, "POLL", 0.1)
    monkeypatch.setattr(watchers, "RETRY", (0.02, 0.1))
    with ArgoServer(tmp_path) as api:
        yield api


@pytest.fixture
def rest(api, monkeypatch):
    with ArgoRest(api) as rest:
        monkeypatch.setenv("ARGO_SERVER", rest.address)
        yield rest


def begin(cell: str, backend=None) -> Run:
    backend = backend or ArgoBackend()
    spec = RunSpec(cell=cell, settings=Settings(**SETTINGS), backend="argo")
    return start(prepare(spec, backend), backend=backend)


@pytest.mark.slow
def test_output_is_complete_despite_cut_streams(rest):
    # Each stream ends within a line, but after a whole second of output: the next request starts there.
    rest.cut_logs_after = 9000
    run = begin("import time\nfor i in range(120): print('line', i, flush=True); time.sleep(.03)\n1 / 0")
    state = run.wait(60)
    assert (state.outcome, "ZeroDivisionError" in state.error) == ("Failed", True)
    assert run.logs() == "".join(f"line {i}\n" for i in range(120))
    assert not state.gaps
    assert state.location == f"the Argo Server {rest.address}, namespace nb"
    run._is_read.wait(60)
    assert run.state.node.phase == "Failed"
    assert any("sinceTime.seconds" in path for _, path in rest.calls)


def test_run_can_be_found_and_stopped_by_other_client(api, rest):
    run = begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    backend = ArgoBackend()
    found = backend.find(run.state.run, Settings(**SETTINGS))
    assert found.name == run.name
    assert backend.manual_stop_commands(run.name) == (f"ARGO_SERVER={rest.address} argo -n nb stop {run.name}",)
    backend.stop(run.name)
    assert run.wait(60).outcome == "Stopped"
    run._is_read.wait(60)
    # Stopping an ended or missing workflow again is not an error.
    next(iter(api.workflows.values())).manifest["status"]["finishedAt"] = "2026-01-01T00:00:00Z"
    backend.stop(run.name)
    output = "".join(item for item in backend.watch(run.name, follow=False) if isinstance(item, str))
    assert "on\n" in output
    api.workflows.clear()
    backend.stop(run.name)
    assert backend.find(run.name, Settings(**SETTINGS)) is None


def test_deleted_pod_ends_workflow(api, rest, monkeypatch):
    monkeypatch.setattr(follow_state, "CAUSE_DELAY", 2.0)
    run = begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    (workflow,) = api.workflows.values()
    workflow.kill(signal.SIGTERM)  # like `kubectl delete pod`; the Argo Server does not report the reason
    state = run.wait(60)
    assert (state.outcome, run.logs()) == ("Lost", "on\n")
    with pytest.raises(NodeFailed, match="The pod was deleted, by a user or with its node"):
        run.raise_for_state()
    assert workflow.manifest["spec"]["shutdown"] == "Terminate"


def test_recreated_pod_ends_workflow(api, rest):
    run = begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    (workflow,) = api.workflows.values()
    workflow.delete_and_recreate()
    state = run.wait(60)
    assert (state.outcome, run.logs()) == ("Lost", "on\n")
    assert workflow.manifest["spec"]["shutdown"] == "Terminate"


def test_no_token_is_sent_if_none_is_set(rest, monkeypatch):
    monkeypatch.delenv("ARGO_TOKEN")
    client = server.connect(Settings())
    assert "Authorization" not in client.transport.session.headers()
    with pytest.raises(BackendUnavailable, match="not logged in to") as caught:
        client.workflow("x")
    assert "ARGO_TOKEN" in caught.value.hint


def test_server_with_base_path_is_supported(api, monkeypatch):
    with ArgoRest(api, base="/argo") as rest:
        monkeypatch.setenv("ARGO_SERVER", rest.address)
        monkeypatch.setenv("ARGO_BASE_HREF", "/argo/")
        run = begin("print(1)")
        assert (run.wait(60).outcome, run.logs()) == ("Succeeded", "1\n")
        run._is_read.wait(60)


def test_unsupported_requests_are_reported(rest, monkeypatch):
    cell = "# " + "".join(f"{i:x}" for i in range(40_000))
    with pytest.raises(SubmitRejected, match="an Argo Server cannot create ConfigMaps") as caught:
        begin(cell)
    assert caught.value.hint == "Push less (--push). Or use the Kubernetes API: --set context=NAME."
    client = server.connect(Settings())
    assert (client.events("x"), client.any_pod(), client.has_field("pendingTimeout")) == ([], None, False)
    with pytest.raises(transport.Gone):
        b"".join(client.log("nope"))
    with pytest.raises(transport.Gone):
        client.pod("nope")
    assert client.pods("x=nope") == ([], "")
    monkeypatch.setenv("ARGO_TOKEN", "another")
    with pytest.raises(BackendUnavailable, match="not logged in to"):
        client.workflow("x")


@pytest.mark.parametrize(
    ("settings", "environ", "address"),
    [
        ({}, {}, ""),
        ({}, {"ARGO_SERVER": "a:2746"}, "a:2746"),
        ({"server": "b:1"}, {"ARGO_SERVER": "a:2746"}, "b:1"),
        ({"kubeconfig": "x"}, {"ARGO_SERVER": "a:2746"}, ""),
        ({"context": "x"}, {"ARGO_SERVER": "a:2746"}, ""),
        ({"context": "x", "server": "b:1"}, {}, "b:1"),
    ],
)
def test_server_address_is_chosen_from_settings_and_environment(settings, environ, address):
    assert server.server_address(Settings(**settings), environ) == address


@pytest.mark.parametrize(
    ("setting", "environ", "host"),
    [
        ("a:2746", {}, "https://a:2746"),
        ("a:2746", {"ARGO_SECURE": "false"}, "http://a:2746"),
        ("http://a:2746", {}, "http://a:2746"),
        ("https://a.example.com/argo/", {}, "https://a.example.com/argo"),
        ("a:2746", {"ARGO_BASE_HREF": "argo/"}, "https://a:2746/argo"),
    ],
)
def test_server_host_is_built_from_address_and_environment(setting, environ, host):
    client = server.connect(Settings(server=setting), {"ARGO_TOKEN": "Bearer x", **environ})
    assert client.transport.session.host == host
    assert client.namespace == "default"
    assert client.transport.session.headers() == {"Authorization": "Bearer x"}


@pytest.mark.parametrize(
    ("setting", "environ", "message"),
    [
        ("ftp://a", {"ARGO_TOKEN": "x"}, "invalid address"),
        ("a b", {"ARGO_TOKEN": "x"}, "invalid addr"),
    ],
)
def test_invalid_server_address_is_refused(setting, environ, message):
    with pytest.raises(BackendUnavailable, match=message) as caught:
        server.connect(Settings(server=setting), environ)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        ("bad_image", "the image"),
        ("unschedulable", "no node has enough free resources"),
        ("missing_secret", "secret nope not found"),
        ("missing_pvc", "volume claim nope not found"),
        ("oom_main", "the cell exceeded its memory limit"),
        ("no_bash", "the image has no bash"),
        ("user_exception", "ended with exit code 1"),
    ],
)
def test_problems_are_explained_from_workflow_nodes(recording, message):
    sentences = []
    for line in (RECORDINGS / f"{recording}.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["kind"] != "workflow":
            continue
        workflow = record["object"]
        for key, node in (workflow.get("status", {}).get("nodes") or {}).items():
            pod = server._pod(workflow["metadata"]["name"], {"id": key, **node})
            ended = pods.terminated(pod)
            sentences.append(diagnose.ended(pod, workflow) if ended else diagnose.waiting(pod, workflow))
    assert any(message in sentence for sentence in sentences), sentences


def test_pod_is_built_from_workflow_node():
    node = {"id": "w-123", "type": "Pod", "templateName": "cell", "phase": "Running", "hostNodeName": "n1"}
    pod = server._pod("w", node)
    assert (pod["metadata"]["name"], pod["metadata"]["uid"]) == ("w-cell-123", "w-123")
    assert pods.started(pod)
    lost = server._pod("w", {**node, "phase": "Error", "message": "pod deleted"})
    assert "the pod was deleted" in diagnose.ended(lost, None)
