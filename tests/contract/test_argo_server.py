"""Where only an Argo Server can be reached: the same cells through its own API."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from support.argo_rest import ArgoRest
from support.argo_server import ArgoServer
from support.waiting import until_printed

from uv_argo_magic.backends.argo import diagnose, follow_state, server
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.kubernetes import diagnose as pods
from uv_argo_magic.backends.kubernetes import transport, watchers
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import Run, start
from uv_argo_magic.errors import BackendUnavailable, NodeFailed, SubmitRejected

HERE = ".".join(map(str, sys.version_info[:3]))
RECORDINGS = Path(__file__).parent.parent / "golden" / "recordings"
# A server does not tell of a pod's containers: which of Argo's own there are is not asked.
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


def test_a_cells_output_is_whole(rest):
    # Each stream ends in the middle of a line, but not before it has told a whole second: from there it is asked again.
    rest.cut = 9000
    one = begin("import time\nfor i in range(120): print('line', i, flush=True); time.sleep(.03)\n1 / 0")
    state = one.wait(60)
    assert (state.outcome, "ZeroDivisionError" in state.error) == ("Failed", True)
    assert one.logs() == "".join(f"line {i}\n" for i in range(120))
    assert not state.gaps
    assert state.location == f"the Argo Server {rest.address}, namespace nb"
    one._is_read.wait(60)
    assert one.state.node.phase == "Failed"
    assert any("sinceTime.seconds" in path for _, path in rest.calls)


def test_it_is_stopped_and_found_again(api, rest):
    one = begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(one, "on")
    other = ArgoBackend()
    found = other.find(one.state.run, Settings(**SETTINGS))
    assert found.name == one.name
    assert other.manual_stop_commands(one.name) == (f"ARGO_SERVER={rest.address} argo -n nb stop {one.name}",)
    other.stop(one.name)
    assert one.wait(60).outcome == "Stopped"
    one._is_read.wait(60)
    # Again, of what has ended and of what is gone: no error.
    next(iter(api.workflows.values())).made["status"]["finishedAt"] = "2026-01-01T00:00:00Z"
    other.stop(one.name)
    seen = "".join(item for item in other.watch(one.name, follow=False) if isinstance(item, str))
    assert "on\n" in seen
    api.workflows.clear()
    other.stop(one.name)
    assert other.find(one.name, Settings(**SETTINGS)) is None


def test_a_pod_that_is_deleted_ends_the_workflow(api, rest, monkeypatch):
    monkeypatch.setattr(follow_state, "CAUSE_DELAY", 2.0)
    run = begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    (workflow,) = api.workflows.values()
    workflow.kill(signal.SIGTERM)  # as `kubectl delete pod` does; the server's client cannot see why
    state = run.wait(60)
    assert (state.outcome, run.logs()) == ("Lost", "on\n")
    with pytest.raises(NodeFailed, match="The pod was deleted, by a user or with its node"):
        run.raise_for_state()
    assert workflow.made["spec"]["shutdown"] == "Terminate"


def test_a_cell_that_starts_again_ends_the_workflow(api, rest):
    run = begin("import time\nprint('on', flush=True)\ntime.sleep(1000)")
    until_printed(run, "on")
    (workflow,) = api.workflows.values()
    workflow.lose()
    state = run.wait(60)
    assert (state.outcome, run.logs()) == ("Lost", "on\n")
    assert workflow.made["spec"]["shutdown"] == "Terminate"


def test_a_server_without_authentication_needs_no_token(rest, monkeypatch):
    monkeypatch.delenv("ARGO_TOKEN")
    door = server.connect(Settings())
    assert "Authorization" not in door.transport.session.headers()
    with pytest.raises(BackendUnavailable, match="not logged in to") as refusal:
        door.workflow("x")
    assert "ARGO_TOKEN" in refusal.value.hint


def test_a_path_before_every_other(api, monkeypatch):
    with ArgoRest(api, base="/argo") as rest:
        monkeypatch.setenv("ARGO_SERVER", rest.address)
        monkeypatch.setenv("ARGO_BASE_HREF", "/argo/")
        one = begin("print(1)")
        assert (one.wait(60).outcome, one.logs()) == ("Succeeded", "1\n")
        one._is_read.wait(60)


def test_what_a_server_cannot_do_is_said(rest, monkeypatch):
    cell = "# " + "".join(f"{i:x}" for i in range(40_000))
    with pytest.raises(SubmitRejected, match="an Argo Server cannot create ConfigMaps") as refusal:
        begin(cell)
    assert refusal.value.hint == "Push less (--push). Or use the Kubernetes API: --set context=NAME."
    door = server.connect(Settings())
    assert (door.events("x"), door.any_pod(), door.has_field("pendingTimeout")) == ([], None, False)
    with pytest.raises(transport.Gone):
        b"".join(door.log("nope"))
    with pytest.raises(transport.Gone):
        door.pod("nope")
    assert door.pods("x=nope") == ([], "")
    monkeypatch.setenv("ARGO_TOKEN", "another")
    with pytest.raises(BackendUnavailable, match="not logged in to"):
        door.workflow("x")


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
def test_which_door_is_meant(settings, environ, address):
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
def test_where_a_server_is(setting, environ, host):
    door = server.connect(Settings(server=setting), {"ARGO_TOKEN": "Bearer x", **environ})
    assert door.transport.session.host == host
    assert door.namespace == "default"
    assert door.transport.session.headers() == {"Authorization": "Bearer x"}


@pytest.mark.parametrize(
    ("setting", "environ", "words"),
    [
        ("ftp://a", {"ARGO_TOKEN": "x"}, "invalid address"),
        ("a b", {"ARGO_TOKEN": "x"}, "invalid addr"),
    ],
)
def test_a_server_that_cannot_be_meant(setting, environ, words):
    with pytest.raises(BackendUnavailable, match=words) as caught:
        server.connect(Settings(server=setting), environ)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("recording", "words"),
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
def test_what_argos_nodes_alone_tell(recording, words):
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
    assert any(words in one for one in sentences), sentences


def test_the_pod_of_a_node():
    node = {"id": "w-123", "type": "Pod", "templateName": "cell", "phase": "Running", "hostNodeName": "n1"}
    pod = server._pod("w", node)
    assert (pod["metadata"]["name"], pod["metadata"]["uid"]) == ("w-cell-123", "w-123")
    assert pods.started(pod)
    lost = server._pod("w", {**node, "phase": "Error", "message": "pod deleted"})
    assert "the pod was deleted" in diagnose.ended(lost, None)
