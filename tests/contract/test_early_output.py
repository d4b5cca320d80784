"""The early copy of a log, through a port-forward of the tests' API server: it comes sooner, and changes nothing."""

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
from uv_argo_magic.engine.prepare import prepare
from uv_argo_magic.engine.run import start

LINES = "".join(f"line {number}\n" for number in range(2000))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_ARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(watchers, "POLL", 0.1)
    monkeypatch.setattr(watchers, "RETRY", (0.02, 0.1))
    monkeypatch.setattr(argo_watchers, "LOG_WAIT", 60.0)  # the watch tells when a log can be read
    monkeypatch.setattr(early_output, "_denied", set())
    with ArgoServer(tmp_path) as server:
        for name, value in server.settings.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def begin(server):
    def begin(cell, **settings):
        images = ((server.settings["UV_ARGO_IMAGES"].partition("=")[0], "none"),)
        made = Settings(kubeconfig=str(server.kubeconfig), images=images, **settings)
        backend = ArgoBackend()
        return start(prepare(RunSpec(cell=cell, backend="argo", settings=made), backend), backend=backend)

    return begin


def only(server):
    (workflow,) = server.workflows.values()
    return workflow


def forwards(server):
    return sum(path.endswith("/portforward") for _, path, _ in server.calls)


def logs(server):
    return sum(path.endswith("/log") for _, path, _ in server.calls)


def variables(server):
    return {one["name"] for one in only(server).template["script"]["env"]}


def test_output_and_the_end_come_before_the_log(server, begin, tmp_path):
    server.frozen = True
    run = begin(gated(tmp_path / "go"))
    until_printed(run, "begun")
    (tmp_path / "go").touch()
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "begun\nend\n"
    server.frozen = False
    assert run._is_read.wait(60)
    assert (run.logs(), run.state.gaps, run.state.notes) == ("begun\nend\n", (), ())
    assert run.state.node.phase == "Succeeded"


@pytest.mark.parametrize("cut", [0, 1, 100, 700, 5000])
def test_a_copy_that_breaks_is_continued_by_the_log(server, begin, cut):
    server.forward_cuts = [cut] * 50
    run = begin(f"print({LINES!r}, end='')")
    assert run.wait(60).outcome == "Succeeded"
    assert (run.logs(), run.state.gaps) == (LINES, ())


def test_more_output_than_the_copy_has_is_read_from_the_log(server, begin):
    run = begin(f"for _ in range(80): print({LINES!r}, end='')")
    assert run.wait(120).outcome == "Succeeded"
    assert (run.logs(), run.state.gaps) == (LINES * 80, ())


def test_no_connection_is_attempted_before_the_containers_start(server, begin):
    server.most = threading.Semaphore(0)
    run = begin("print('one')")
    # The pod has a node, and its containers wait.
    until(lambda: sum(path.startswith("/apis/argoproj") and "/workflows/" in path for _, path, _ in server.calls) > 5)
    assert (forwards(server), logs(server)) == (0, 1)
    server.most.release()
    assert run.wait(60).outcome == "Succeeded"
    assert forwards(server) > 0


def test_where_ports_may_not_be_forwarded_the_log_is_read_and_it_is_not_tried_again(server, begin):
    server.denied = {("pods/portforward", "create")}
    for _ in range(2):
        run = begin("print('one')")
        assert run.wait(60).outcome == "Succeeded"
        assert (run.logs(), run.state.notes) == ("one\n", ())
    assert forwards(server) == 1
    first, second = server.workflows.values()
    names = [{one["name"] for one in workflow.template["script"]["env"]} for workflow in (first, second)]
    assert ["UV_ARGO_EARLY" in one for one in names] == [True, False]


@pytest.mark.parametrize("status", [0, 400, 502])
def test_a_proxy_that_does_not_pass_it_costs_nothing(server, begin, status):
    server.fail("/portforward", status, "Upgrade request required", times=50)
    run = begin("print('one')")
    assert run.wait(60).outcome == "Succeeded"
    assert (run.logs(), run.state.notes) == ("one\n", ())


@pytest.mark.parametrize("settings", [{"early_output": False}, {"shape": "init"}, {"retries": 1}])
def test_it_can_be_switched_off_and_is_not_for_every_shape(server, begin, settings):
    run = begin("print('one')", **settings)
    assert run.wait(60).outcome == "Succeeded"
    assert run.logs() == "one\n"
    assert forwards(server) == 0
    assert "UV_ARGO_EARLY" not in variables(server)


def test_only_the_token_opens_it_and_the_workflow_does_not_contain_it(server, begin, tmp_path, monkeypatch):
    tokens = []
    lines = early_output.EarlyOutput.lines

    def wait(early, *arguments, **options):
        tokens.append(early.token)
        until((tmp_path / "tried").exists)
        return lines(early, *arguments, **options)

    monkeypatch.setattr(early_output.EarlyOutput, "lines", wait)
    server.frozen = True
    run = begin(gated(tmp_path / "go"))
    workflow = until(lambda: server.workflows and only(server))

    def listens():
        with contextlib.suppress(OSError):
            return socket.create_connection(("127.0.0.1", workflow.port), 5)

    sock = until(listens)
    with sock:
        sock.sendall(b"x" * 64 + b"\n")
        assert sock.recv(100) == b""
    assert until(lambda: tokens)[0] not in json.dumps(workflow.made)
    (tmp_path / "tried").touch()
    until_printed(run, "begun")
    (tmp_path / "go").touch()
    server.frozen = False
    assert run.wait(60).outcome == "Succeeded"


def test_a_log_that_differs_is_a_bug_of_this_package(server, begin, tmp_path):
    server.frozen = True
    run = begin(gated(tmp_path / "go"))
    until_printed(run, "begun")
    log = only(server).logs["main"]
    at = next(at for at, (_, line) in enumerate(log.lines) if b'"hello"' in line)
    log.lines[at] = (log.lines[at][0], log.lines[at][1].replace(b'"hello"', b'"other"'))
    server.frozen = False
    assert run.wait(60).outcome == "Lost"
    assert "the log of the pod differs from what the cell has sent" in run.state.node.message
