"""`doctor`: each problem is found in order and has a hint, and checks that depend on it are skipped."""

from __future__ import annotations

import re
import sys

import pytest
from support.argo_rest import ArgoRest
from support.argo_server import ArgoServer
from support.index_server import IndexServer

from uv_argo_magic import cli
from uv_argo_magic.backends import base
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
    base.load.cache_clear()


@pytest.fixture
def words(server, index):
    return [
        "doctor", "-b", "argo", "--set", f"kubeconfig={server.kubeconfig}", "--set", f"images={HERE}=none",
        "--set", f"index_url={index.url}",
    ]  # fmt: skip


@pytest.fixture
def examine(words):
    def examine(*more: str) -> dict[str, Check]:
        line = read_argv([*words, *more])
        found = list(doctor.examine(line, CellContext.current(names={}, traits={}, line_offset=0)))
        return {check.name: check for check in found}

    return examine


def outcomes(found: dict[str, Check], outcome: str) -> list[str]:
    return [name for name, check in found.items() if check.outcome == outcome]


def test_all_is_well(server, words, capsys):
    server.finalizers.append(argo_doctor.FINALIZER)
    assert cli.main(words) == 0
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


def test_a_pod_that_could_run_twice_is_noted(examine):
    found = examine()
    assert found["at most once"].outcome == "note"
    assert "ARGO_POD_STATUS_CAPTURE_FINALIZER=true" in found["at most once"].hint
    assert (found["Argo's version"].message, found["end"].outcome) == ("v4.1.2", "ok")
    assert examine()["controller"].outcome == "ok"


@pytest.mark.parametrize(
    ("path", "status", "failed", "hint"),
    [
        ("/version", 503, "API", "Wait a moment"),
        ("selfsubjectreviews", 401, "user", "Log in to the cluster again"),
        ("/apis/argoproj.io/v1alpha1?", 404, "Argo", "Ask your administrator to install it"),
    ],
)
def test_what_needs_a_failed_check_is_skipped(server, examine, path, status, failed, hint):
    server.fail(path, status, times=2 if status == 401 else 1)
    found = examine()
    assert outcomes(found, "failed") == [failed]
    assert hint in found[failed].hint
    after = [*argo_doctor.STEPS[argo_doctor.STEPS.index(failed) + 1 :], "test cell"]
    assert outcomes(found, "skipped") == after
    assert all(check.message == f"depends on {failed}" for check in found.values() if check.outcome == "skipped")
    assert server.workflows == {}


def test_without_a_configuration_everything_is_skipped(words, tmp_path, capsys):
    words[4] = f"kubeconfig={tmp_path / 'nowhere'}"
    assert cli.main(words) == 1
    assert capsys.readouterr().out.startswith("FAILED   configuration             no cluster is configured")


def test_rights_that_are_missing_are_named_with_their_rule(server, examine):
    server.denied |= {("pods/log", "get"), ("configmaps", "create"), ("workflows", "patch")}
    server.denied.add(("workflowtaskresults", "patch"))
    found = examine()
    assert outcomes(found, "failed") == ["access: workflows", "access: pods/log", "executor"]
    assert found["access: workflows"].message == "not patch in the namespace nb"
    assert '{apiGroups: [""], resources: [pods/log], verbs: [get]}' in found["access: pods/log"].hint
    assert (found["access: configmaps"].outcome, found["test cell"].outcome) == ("note", "skipped")
    assert found["executor"].message == "the service account default cannot patch workflowtaskresults"


def test_what_may_not_be_asked_is_not_known(server, examine):
    server.fail("localsubjectaccessreviews", 403, "no")
    server.fail("GET /apis/argoproj.io/v1alpha1/namespaces/nb/workflows?", 403, "no")
    server.fail("selfsubjectreviews", 404, "no")
    found = examine()
    assert outcomes(found, "failed") == []
    assert outcomes(found, "note") == ["controller", "executor", "at most once"]


def test_a_controller_that_does_not_look_is_found(server, examine):
    examine()
    for one in server.workflows.values():
        one.thread.join(60)
        one.made["status"] = {}
        one.made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    found = examine()
    assert outcomes(found, "failed") == ["controller"]
    assert found["controller"].message == "1 of 1 workflows in this namespace have no phase"


def test_the_small_run_tells_what_else_is_wrong(server, examine, index, monkeypatch):
    server.fail("POST /apis/argoproj.io/v1alpha1/namespaces/nb/workflows", 422, "ValidatingAdmissionPolicy says no")
    assert outcomes(examine(), "failed") == ["submission"]
    index.misbehave("six", "404", where="file")
    try:
        found = examine()
    finally:
        index.misbehave("six", "", where="file")
    assert outcomes(found, "failed") == ["cell"]
    assert "six" in found["cell"].message
    monkeypatch.setattr(doctor, "PATIENCE", 0.2)
    server.start_after = 5.0
    found = examine()
    assert outcomes(found, "failed") == ["start"]
    assert found["start"].message.startswith("the cell has not started after 0 s")
    # What had begun is stopped.
    assert list(server.workflows.values())[-1].made["spec"]["shutdown"] == "Stop"


def test_a_pod_that_cannot_start_is_not_waited_for(server, examine, monkeypatch):
    monkeypatch.setattr(doctor, "BLOCKED", 0.3)
    server.start_after = 30.0
    server.events = [
        {
            "metadata": {"name": "x.1"}, "type": "Warning", "reason": "FailedMount",
            "message": 'MountVolume.SetUp failed for volume "v" : secret "nope" not found',
        }
    ]  # fmt: skip
    found = examine()
    assert outcomes(found, "failed") == ["start"]
    assert re.match(r"the cell has not started after \d s: secret nope not found", found["start"].message)
    assert found["start"].hint.startswith("Create it, or change the setting")


def test_through_an_argo_server(server, words, capsys, monkeypatch):
    monkeypatch.setenv("ARGO_TOKEN", "secret")
    monkeypatch.setenv("ARGO_SECURE", "false")
    monkeypatch.setenv("ARGO_NAMESPACE", "nb")
    with ArgoRest(server) as rest:
        words[4] = f"server={rest.address}"
        assert cli.main(words) == 0
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
        assert cli.main(words) == 1
        output = " ".join(capsys.readouterr().out.split())
        assert "FAILED watch workflows you cannot watch workflows in the namespace nb" in output
        assert "verbs: [create, get, list, patch, watch]}" in output
        monkeypatch.setenv("ARGO_TOKEN", "another")
        assert cli.main(words) == 1
        assert "FAILED   API" in capsys.readouterr().out


def test_an_index_without_the_package(server, words, examine):
    found = examine("--set", "constraints=six>5")
    assert outcomes(found, "failed") == ["package index"]
    found = examine("--set", "template=nope")
    assert outcomes(found, "failed") == ["settings"]
    assert found["settings"].message == "there is no WorkflowTemplate nope at test, namespace nb"


def test_here(home, index, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor", "-b", "local", "--set", f"index_url={index.url}"]) == 0
    out = capsys.readouterr().out
    assert [line[9:31].strip() for line in out.splitlines() if line[0] != " "] == [
        "uv", "Python", "disk", "package index", "submission", "start", "install", "cell", "end",
    ]  # fmt: skip
    base.load.cache_clear()


def test_what_is_wrong_here(home, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").write_text("a file where the folder should be")
    monkeypatch.setattr("uv_argo_magic.backends.local.find_uv_bin", lambda: str(tmp_path / "no-uv"))
    assert cli.main(["doctor", "-b", "local", "-p", "3.7"]) == 1
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("FAILED")] == ["uv", "Python", "disk"]
    assert "skipped  test cell                 depends on uv" in out
    base.load.cache_clear()


def test_every_backend_has_them():
    assert isinstance(FakeBackend(), Backend)
    assert isinstance(LocalBackend(), Backend)
