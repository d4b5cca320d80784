"""backends/argo/backend.py: the runs that it remembers."""

from __future__ import annotations

import pytest

from uv_argo_magic.backends.argo import backend as argo
from uv_argo_magic.backends.argo.manifests import run_metadata
from uv_argo_magic.backends.base import Diagnoses, Exports, Images, ManualStop, Warms
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.core.spec.settings import Settings
from uv_argo_magic.engine.find_run import RunRef
from uv_argo_magic.errors import BackendUnavailable


class Client:
    """A namespace where every workflow is a run of this package."""

    location = "test, namespace nb"
    problems = iter(())

    def workflow(self, name: str) -> dict:
        metadata = {
            "name": name,
            "labels": {"uv-argo-magic/run": f"run-of-{name}"},
            "annotations": {"uv-argo-magic/schema": "1", "uv-argo-magic/nonce": "ab"},
        }
        return {"metadata": metadata, "status": {"phase": "Succeeded"}}

    def policy(self) -> str:
        if problem := next(self.problems, None):
            raise problem
        return "[packages]"

    def manual_stop_commands(self, name: str) -> tuple[str, ...]:
        return (f"argo stop {name}",)


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr(argo, "MAX_ENDED", 10)
    return argo.ArgoBackend(lambda _: Client())


def test_oldest_runs_are_forgotten_first(backend):
    for number in range(50):
        assert backend.find(f"w-{number}", Settings()).run == f"run-of-w-{number}"
    assert len(backend._runs) <= 11
    assert backend.manual_stop_commands("w-0") == ()
    assert backend.manual_stop_commands("w-49") == ("argo stop w-49",)


def test_followed_run_is_remembered_until_it_is_deleted(backend):
    backend.find("live", Settings())
    backend._runs["live"].followed = True
    for number in range(50):
        backend.find(f"w-{number}", Settings())
    assert backend.manual_stop_commands("live") == ("argo stop live",)
    backend.delete("live")
    backend.delete("unknown")
    for number in range(50, 100):
        backend.find(f"w-{number}", Settings())
    assert backend.manual_stop_commands("live") == ()


@pytest.mark.parametrize(
    ("error", "second_text"), [(BackendUnavailable("no response"), "[packages]"), (Denied("forbidden"), "")]
)
def test_unread_policy_is_cached_only_if_forbidden(backend, monkeypatch, error, second_text):
    monkeypatch.setattr(Client, "problems", iter([error]))
    first = backend.policy(Settings())
    assert (first.problem, bool(first.unavailable)) == (str(error), isinstance(error, BackendUnavailable))
    assert backend.policy(Settings()).text == second_text


def test_optional_protocols_are_recognized_by_type(backend):
    assert isinstance(backend, Images | Exports | Diagnoses | ManualStop)
    assert not isinstance(backend, Warms)


def test_stopped_run_is_not_failed():
    metadata = {
        "name": "x",
        "labels": {"uv-argo-magic/run": "r"},
        "annotations": {"uv-argo-magic/schema": "1", "uv-argo-magic/nonce": "ab"},
    }
    for spec, outcome in (({"shutdown": "Stop"}, "Stopped"), ({}, "Failed")):
        remote = run_metadata.read({"metadata": metadata, "spec": spec, "status": {"phase": "Failed"}}, "here")
        assert RunRef(backend="argo", settings=Settings(), remote=remote).outcome == outcome
