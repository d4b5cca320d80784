"""backends/argo/session_list.py: sessions are read from their workflows."""

from __future__ import annotations

import pytest

from uv_argo_magic.backends.argo import session_list
from uv_argo_magic.backends.sessions import RemoteSession

REQUESTS = {"limits": {"nvidia.com/gpu": "1", "memory": "8Gi"}, "requests": {"cpu": "500m", "memory": "2Gi"}}


def workflow(**status):
    return {
        "metadata": {
            "name": "uv-argo-x",
            "namespace": "team",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"uv-argo-magic/session": "main", "workflows.argoproj.io/creator-email": "ana@example.com"},
            "annotations": {"uv-argo-magic/session": "_main", "uv-argo-magic/notebook": "/home/ana/study.ipynb"},
        },
        "spec": {"entrypoint": "cell", "templates": [{"name": "cell", "script": {"resources": REQUESTS}}]},
        "status": status,
    }


def test_session_has_all_fields():
    session_workflow = workflow(phase="Running")
    assert list(session_list.read_all([session_workflow])) == [
        RemoteSession(
            name="_main", workflow="uv-argo-x", namespace="team", user="ana@example.com",
            notebook="/home/ana/study.ipynb", phase="Running", started_at=1767225600.0, used_at=1767225600.0,
            cpu="500m", memory="2Gi", gpu="1",
        )
    ]  # fmt: skip


def test_annotations_of_the_client_take_precedence():
    session_workflow = workflow(phase="Running")
    session_workflow["metadata"]["annotations"] |= {
        "uv-argo-magic/user": "hub-ana",
        **session_list.used(1767229200.9, is_running=True),
    }
    (session,) = session_list.read_all([session_workflow])
    assert (session.user, session.used_at, session.is_running) == ("hub-ana", 1767229200.0, True)
    session_workflow["metadata"]["annotations"] |= session_list.used(1767229300, is_running=False)
    (session,) = session_list.read_all([session_workflow])
    assert (session.used_at, session.is_running) == (1767229300.0, False)


@pytest.mark.parametrize(
    ("status", "shutdown", "phase"),
    [
        ({}, "", "Pending"),
        ({"phase": "Running"}, "", "Running"),
        ({"phase": "Running", "nodes": {"x": {"type": "Pod", "phase": "Pending"}}}, "", "Pending"),
        ({"phase": "Running", "nodes": {"x": {"type": "Pod", "phase": "Running"}}}, "Stop", "Stopping"),
    ],
)
def test_phase_is_that_of_the_pod(status, shutdown, phase):
    session_workflow = workflow(**status)
    if shutdown:
        session_workflow["spec"]["shutdown"] = shutdown
    (session,) = session_list.read_all([session_workflow])
    assert session.phase == phase


def test_ended_sessions_are_not_listed():
    assert not list(session_list.read_all([workflow(phase="Succeeded"), workflow(phase="Failed")]))


def test_resources_are_read_from_the_template():
    session_workflow = workflow(phase="Running")
    resources = {"requests": {"cpu": "1", "memory": "{{workflow.parameters.memory}}", "nvidia.com/mig-1g.5gb": "2"}}
    session_workflow["spec"] = {
        "workflowTemplateRef": {"name": "big"},
        "arguments": {"parameters": [{"name": "memory", "value": "64Gi"}]},
    }
    session_workflow["status"]["storedWorkflowTemplateSpec"] = {
        "entrypoint": "cell",
        "arguments": {"parameters": [{"name": "memory", "value": "1Gi"}]},
        "templates": [{"name": "cell", "script": {"resources": resources}}],
    }
    (session,) = session_list.read_all([session_workflow])
    assert (session.cpu, session.memory, session.gpu) == ("1", "64Gi", "2")
    del session_workflow["status"]["storedWorkflowTemplateSpec"]
    (session,) = session_list.read_all([session_workflow])
    assert (session.cpu, session.memory, session.gpu) == ("", "", "")
