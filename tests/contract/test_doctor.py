"""`doctor`: reports each problem with a hint, and skips the checks that depend on it."""

from __future__ import annotations

import re
import sys

import pytest
from support.argo_rest import ArgoRest
from support.argo_server import ArgoServer
from support.index_server import IndexServer

from uv_argo_magic import cli
from uv_argo_magic.backends import lookup
from uv_argo_magic.backends.argo import doctor as argo_doctor
from uv_argo_magic.backends.argo import role
from uv_argo_magic.backends.base import Backend, Check
from uv_argo_magic.backends.kubernetes import watchers
from uv_argo_magic.backends.local import LocalBackend
from uv_argo_magic.commands import doctor
from uv_argo_magic.core.commands.table import read_argv
from uv_argo_magic.engine.context import CellContext
from uv_argo_magic.testing import FakeBackend

HERE = ".".join(map(str, sys.version_info[:3]))
NO_RUN = ["package index", "submission", "start", "Argo's version", "at most once", "install", "cell", "end"]


@pytest.fixture(scope="module")
def index():
    with IndexServer() as server:
        server.add("six", "1.0", files={"six.py": "__version__ = '1.0'\n"})
        yield server


@pytest.fixture
def server(tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(watchers, "POLL", 0.1)
    with ArgoServer(tmp_path) as server:
        yield server
    lookup.load.cache_clear()


@pytest.fixture
def arguments(server, index):
    return [
        "doctor", "-b", "argo", "--set", f"kubeconfig={server.kubeconfig}", "--set", f"images={HERE}=none",
        "--set", f"index_url={index.url}",
    ]  # fmt: skip


@pytest.fixture
def run_checks(arguments):
    def run_checks(*options: str) -> dict[str, Check]:
        command = read_argv([*arguments, *options])
        checks = list(doctor.examine(command, CellContext.current(names={}, traits={}, line_offset=0)))
        return {check.name: check for check in checks}

    return run_checks


def outcomes(checks: dict[str, Check], outcome: str) -> list[str]:
    return [name for name, check in checks.items() if check.outcome == outcome]


def test_all_checks_pass(server, arguments, capsys):
    server.finalizers.append(argo_doctor.FINALIZER)
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    lines = [
        " ".join([line[:34], *line[34:].split()]) for line in re.sub(r"\n +", " ", out).splitlines() if line.strip()
    ]
    assert [line[9:34].strip() for line in lines if line[:2] == "ok"] == [
        "configuration", "API", "user", "Argo",
        *(f"access: {rule.names[0] if rule.names else rule.resource}" for rule in role.ROLE),
        "executor", "sessions", *NO_RUN,
    ]  # fmt: skip
    assert [line for line in lines if line[:2] != "ok"] == [
        "note     controller                unknown: there are no workflows in this namespace yet"
    ]
    assert f"{HERE} 1.0" in " ".join(lines)


@pytest.mark.slow
def test_missing_finalizer_is_a_note(run_checks):
    checks = run_checks()
    assert checks["at most once"].outcome == "note"
    assert "ARGO_POD_STATUS_CAPTURE_FINALIZER=true" in checks["at most once"].hint
    assert (checks["Argo's version"].message, checks["end"].outcome) == ("v4.1.2", "ok")
    assert run_checks()["controller"].outcome == "ok"


@pytest.mark.parametrize(
    ("path", "status", "failed", "hint"),
    [
        ("/version", 503, "API", "Wait a moment"),
        ("selfsubjectreviews", 401, "user", "Log in to the cluster again"),
        ("/apis/argoproj.io/v1alpha1?", 404, "Argo", "Ask your administrator to install it"),
    ],
)
def test_checks_after_failed_check_are_skipped(server, run_checks, path, status, failed, hint):
    server.fail(path, status, times=2 if status == 401 else 1)
    checks = run_checks()
    assert outcomes(checks, "failed") == [failed]
    assert hint in checks[failed].hint
    skipped = [*argo_doctor.STEPS[argo_doctor.STEPS.index(failed) + 1 :], "test cell"]
    assert outcomes(checks, "skipped") == skipped
    assert all(check.message == f"depends on {failed}" for check in checks.values() if check.outcome == "skipped")
    assert server.workflows == {}


def test_missing_cluster_configuration_fails(arguments, tmp_path, capsys):
    arguments[4] = f"kubeconfig={tmp_path / 'nowhere'}"
    assert cli.main(arguments) == 1
    assert capsys.readouterr().out.startswith("FAILED   configuration             no cluster is configured")


def test_missing_permissions_are_reported_with_rule(server, run_checks):
    server.denied |= {("pods/log", "get"), ("configmaps", "create"), ("workflows", "patch")}
    server.denied.add(("workflowtaskresults", "patch"))
    checks = run_checks()
    assert outcomes(checks, "failed") == ["access: workflows", "access: pods/log", "executor"]
    assert checks["access: workflows"].message == "you cannot patch in the namespace nb"
    assert '{apiGroups: [""], resources: [pods/log], verbs: [get]}' in checks["access: pods/log"].hint
    assert (checks["access: configmaps"].outcome, checks["test cell"].outcome) == ("note", "skipped")
    assert checks["executor"].message == "the service account default cannot patch workflowtaskresults"


def test_forbidden_checks_are_notes(server, run_checks):
    server.fail("localsubjectaccessreviews", 403, "no")
    server.fail("GET /apis/argoproj.io/v1alpha1/namespaces/nb/workflows?", 403, "no")
    server.fail("selfsubjectreviews", 404, "no")
    checks = run_checks()
    assert outcomes(checks, "failed") == []
    assert outcomes(checks, "note") == ["controller", "executor", "at most once"]


@pytest.mark.slow
def test_idle_controller_is_reported(server, run_checks):
    run_checks()
    for workflow in server.workflows.values():
        workflow.thread.join(60)
        workflow.manifest["status"] = {}
        workflow.manifest["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    checks = run_checks()
    assert outcomes(checks, "failed") == ["controller"]
    assert checks["controller"].message == "1 of 1 workflows in this namespace have no phase"


def test_failures_of_test_cell_are_reported(server, run_checks, index, monkeypatch):
    server.fail("POST /apis/argoproj.io/v1alpha1/namespaces/nb/workflows", 422, "ValidatingAdmissionPolicy says no")
    assert outcomes(run_checks(), "failed") == ["submission"]
    index.misbehave("six", "404", where="file")
    try:
        checks = run_checks()
    finally:
        index.misbehave("six", "", where="file")
    assert outcomes(checks, "failed") == ["cell"]
    assert "six" in checks["cell"].message
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    server.start_after = 5.0
    checks = run_checks()
    assert outcomes(checks, "failed") == ["start"]
    assert checks["start"].message.startswith("the cell has not started after 0 s")
    # The test cell was stopped.
    assert list(server.workflows.values())[-1].manifest["spec"]["shutdown"] == "Stop"


def test_blocked_pod_is_reported_early(server, run_checks, monkeypatch):
    monkeypatch.setattr(doctor, "BLOCKED", 0.3)
    server.start_after = 30.0
    server.events = [
        {
            "metadata": {"name": "x.1"}, "type": "Warning", "reason": "FailedMount",
            "message": 'MountVolume.SetUp failed for volume "v" : secret "nope" not found',
        }
    ]  # fmt: skip
    checks = run_checks()
    assert outcomes(checks, "failed") == ["start"]
    assert re.match(r"the cell has not started after \d s: secret nope not found", checks["start"].message)
    assert checks["start"].hint.startswith("Create it, or change the setting")


def test_argo_server_is_checked(server, arguments, capsys, monkeypatch):
    monkeypatch.setenv("ARGO_TOKEN", "secret")
    monkeypatch.setenv("ARGO_SECURE", "false")
    monkeypatch.setenv("ARGO_NAMESPACE", "nb")
    with ArgoRest(server) as rest:
        arguments[4] = f"server={rest.address}"
        assert cli.main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line[9:31].strip() for line in lines if line[:2] == "ok"] == [
            "configuration", "API", "list workflows", "watch workflows",
            *(name for name in NO_RUN if name not in ("Argo's version", "at most once")),
        ]  # fmt: skip
        assert [line[9:31].strip() for line in lines if line[:4] == "note"] == [
            "controller",
            "executor",
            "at most once",
        ]
        rest.watch_denied = (
            'workflows.argoproj.io is forbidden: User "x" cannot watch resource "workflows" in API group "argoproj.io" '
            'in the namespace "nb"'
        )
        assert cli.main(arguments) == 1
        output = " ".join(capsys.readouterr().out.split())
        assert "FAILED watch workflows you cannot watch workflows in the namespace nb" in output
        assert "verbs: [create, get, list, patch, watch]}" in output
        monkeypatch.setenv("ARGO_TOKEN", "another")
        assert cli.main(arguments) == 1
        assert "FAILED   API" in capsys.readouterr().out


def test_resolution_and_template_errors_are_reported(server, arguments, run_checks):
    checks = run_checks("--set", "constraints=six>5")
    assert outcomes(checks, "failed") == ["package index"]
    checks = run_checks("--set", "template=nope")
    assert outcomes(checks, "failed") == ["settings"]
    assert checks["settings"].message == "WorkflowTemplate nope not found at test, namespace nb"


def test_local_backend_is_checked(home, index, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", "-b", "local", "--set", f"index_url={index.url}"]) == 0
    out = capsys.readouterr().out
    assert [line[9:31].strip() for line in out.splitlines() if line[0] != " "] == [
        "uv", "Python", "disk", "package index", "submission", "start", "install", "cell", "end",
    ]  # fmt: skip
    lookup.load.cache_clear()


def test_problems_of_local_backend_are_reported(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").write_text("a file where the folder should be")
    monkeypatch.setattr("uv_argo_magic.backends.local.find_uv_bin", lambda: str(tmp_path / "no-uv"))
    assert cli.main(["doctor", "-b", "local", "-p", "3.7"]) == 1
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("FAILED")] == ["uv", "Python", "disk"]
    assert "skipped  test cell                 depends on uv" in out
    lookup.load.cache_clear()


def test_backends_implement_the_protocol():
    assert isinstance(FakeBackend(), Backend)
    assert isinstance(LocalBackend(), Backend)
