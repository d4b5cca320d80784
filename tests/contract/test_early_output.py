"""The early copy of a pod's log, sent by port forwarding before the log is readable; both must be the same."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest
from support.argo_server import ArgoServer
from support.waiting import gated, until, until_printed

from uv_argo_magic.backends.argo import early_output
from uv_argo_magic.backends.argo import watchers as argo_watchers
from uv_argo_magic.backends.argo.backend import ArgoBackend
from uv_argo_magic.backends.kubernetes import watchers
from uv_argo_magic.core.spec.run_spec import RunSpec, Settings
from uv_argo_magic.engine.preparation.prepare import prepare
from uv_argo_magic.engine.start_run import start

LINES = "".join(f"line {number}\n" for number in range(2000))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(watchers, "POLL", 0.1)
    monkeypatch.setattr(watchers, "RETRY", (0.02, 0.1))
    monkeypatch.setattr(argo_watchers, "LOG_WAIT", 60.0)  # until the watch reports that the log can be read
    monkeypatch.setattr(early_output, "_denied", set())
    with ArgoServer(tmp_path) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def begin(server):
    def begin(cell, **settings):
        images = ((server.settings["UV_ARGO_IMAGES"].partition("=")[0], "none"),)
        run_settings = Settings(kubeconfig=str(server.kubeconfig), images=images, **settings)
        backend = ArgoBackend()
        return start(prepare(RunSpec(cell=cell, backend="argo", settings=run_settings), backend), backend=backend)

    return begin


def only_workflow(server):
    (workflow,) = server.workflows.values()
    return workflow


def count_forwards(server):
    return sum(path.endswith("/portforward") for _, path, _ in server.calls)


def count_log_requests(server):
    return sum(path.endswith("/log") for _, path, _ in server.calls)


def variable_names(server):
    return {entry["name"] for entry in only_workflow(server).template["script"]["env"]}


def test_output_and_outcome_arrive_before_the_log(server, begin, tmp_path):
    server.logs_are_frozen = True
    run = begin(gated(tmp_path / "go"))
    until_printed(run, "begun")
    (tmp_path / "go").touch()
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "begun\nend\n"
    server.logs_are_frozen = False
    assert run._is_read.wait(60)
    assert (run.logs(), run.state.gaps, run.state.notes) == ("begun\nend\n", (), ())
    assert run.state.node.phase == "Succeeded"


@pytest.mark.sample(2)
@pytest.mark.parametrize("cut", [0, 1, 100, 700, 5000])
def test_broken_copy_is_continued_from_the_log(server, begin, cut):
    server.forward_cuts = [cut] * 50
    run = begin(f"print({LINES!r}, end='')")
    assert run.wait(60).outcome == "Succeeded"
    assert (run.logs(), run.state.gaps) == (LINES, ())


@pytest.mark.slow
def test_output_beyond_copy_is_read_from_the_log(server, begin):
    run = begin(f"for _ in range(80): print({LINES!r}, end='')")
    assert run.wait(120).outcome == "Succeeded"
    assert (run.logs(), run.state.gaps) == (LINES * 80, ())


def test_no_connection_is_attempted_before_the_containers_start(server, begin):
    server.pod_limit = threading.Semaphore(0)
    run = begin("print('one')")
    # The pod is scheduled, but its containers have not started.
    until(lambda: sum(path.startswith("/apis/argoproj") and "/workflows/" in path for _, path, _ in server.calls) > 5)
    assert (count_forwards(server), count_log_requests(server)) == (0, 1)
    server.pod_limit.release()
    assert run.wait(60).outcome == "Succeeded"
    assert count_forwards(server) > 0


def test_log_is_read_if_port_forwarding_is_forbidden(server, begin):
    server.denied = {("pods/portforward", "create")}
    for _ in range(2):
        run = begin("print('one')")
        assert run.wait(60).outcome == "Succeeded"
        assert (run.logs(), run.state.notes) == ("one\n", ())
    assert count_forwards(server) == 1
    first, second = server.workflows.values()
    names = [{entry["name"] for entry in workflow.template["script"]["env"]} for workflow in (first, second)]
    assert ["UV_ARGO_EARLY" in variables for variables in names] == [True, False]


@pytest.mark.parametrize("status", [0, 400, 502])
def test_log_is_read_if_proxy_blocks_port_forwarding(server, begin, status):
    server.fail("/portforward", status, "Upgrade request required", times=50)
    run = begin("print('one')")
    assert run.wait(60).outcome == "Succeeded"
    assert (run.logs(), run.state.notes) == ("one\n", ())


@pytest.mark.parametrize(
    "settings", [{"early_output": False}, {"shape": "init"}, {"retries": 1}], ids=["off", "init", "retries"]
)
def test_early_output_is_off_by_setting_shape_or_retries(server, begin, settings):
    run = begin("print('one')", **settings)
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "one\n"
    assert count_forwards(server) == 0
    assert "UV_ARGO_EARLY" not in variable_names(server)


def test_early_output_needs_token_that_is_not_in_workflow(server, begin, tmp_path, monkeypatch):
    tokens = []
    lines = early_output.EarlyOutput.lines

    def wait_for_attempt(early, *arguments, **options):
        tokens.append(early.token)
        until((tmp_path / "tried").exists)
        return lines(early, *arguments, **options)

    monkeypatch.setattr(early_output.EarlyOutput, "lines", wait_for_attempt)
    server.logs_are_frozen = True
    run = begin(gated(tmp_path / "go"))
    workflow = until(lambda: server.workflows and only_workflow(server))

    def connect():
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", workflow.port), 5)

    sock = until(connect)
    with sock:
        sock.sendall(b"x" * 64 + b"\n")
        assert sock.recv(100) == b""
    assert until(lambda: tokens)[0] not in json.dumps(workflow.manifest)
    (tmp_path / "tried").touch()
    until_printed(run, "begun")
    (tmp_path / "go").touch()
    server.logs_are_frozen = False
    assert run.wait(60).outcome == "Succeeded"


def test_differing_log_is_an_error(server, begin, tmp_path):
    server.logs_are_frozen = True
    run = begin(gated(tmp_path / "go"))
    until_printed(run, "begun")
    log = only_workflow(server).logs["main"]
    position = next(position for position, (_, line) in enumerate(log.lines) if b'"hello"' in line)
    log.lines[position] = (log.lines[position][0], log.lines[position][1].replace(b'"hello"', b'"other"'))
    server.logs_are_frozen = False
    assert run.wait(60).outcome == "Lost"
    assert "the log of the pod differs from the output that the cell sent" in run.state.node.message
