"""What a list of sessions reads from a workflow."""

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


def test_a_session_with_all_its_fields():
    made = workflow(phase="Running")
    assert list(session_list.read_all([made])) == [
        RemoteSession(
            name="_main", workflow="uv-argo-x", namespace="team", user="ana@example.com",
            notebook="/home/ana/study.ipynb", phase="Running", started_at=1767225600.0, used_at=1767225600.0,
            cpu="500m", memory="2Gi", gpu="1",
        )
    ]  # fmt: skip


def test_notes_of_the_client_come_first():
    made = workflow(phase="Running")
    made["metadata"]["annotations"] |= {
        "uv-argo-magic/user": "hub-ana",
        **session_list.used(1767229200.9, is_running=True),
    }
    (read,) = session_list.read_all([made])
    assert (read.user, read.used_at, read.is_running) == ("hub-ana", 1767229200.0, True)
    made["metadata"]["annotations"] |= session_list.used(1767229300, is_running=False)
    (read,) = session_list.read_all([made])
    assert (read.used_at, read.is_running) == (1767229300.0, False)


@pytest.mark.parametrize(
    ("status", "shutdown", "phase"),
    [
        ({}, "", "Pending"),
        ({"phase": "Running"}, "", "Running"),
        ({"phase": "Running", "nodes": {"x": {"type": "Pod", "phase": "Pending"}}}, "", "Pending"),
        ({"phase": "Running", "nodes": {"x": {"type": "Pod", "phase": "Running"}}}, "Stop", "Stopping"),
    ],
)
def test_the_phase_is_that_of_the_pod(status, shutdown, phase):
    made = workflow(**status)
    if shutdown:
        made["spec"]["shutdown"] = shutdown
    (read,) = session_list.read_all([made])
    assert read.phase == phase


def test_sessions_that_have_ended_are_not_listed():
    assert not list(session_list.read_all([workflow(phase="Succeeded"), workflow(phase="Failed")]))


def test_a_template_and_its_parameters_tell_the_requests():
    made = workflow(phase="Running")
    resources = {"requests": {"cpu": "1", "memory": "{{workflow.parameters.memory}}", "nvidia.com/mig-1g.5gb": "2"}}
    made["spec"] = {
        "workflowTemplateRef": {"name": "big"},
        "arguments": {"parameters": [{"name": "memory", "value": "64Gi"}]},
    }
    made["status"]["storedWorkflowTemplateSpec"] = {
        "entrypoint": "cell",
        "arguments": {"parameters": [{"name": "memory", "value": "1Gi"}]},
        "templates": [{"name": "cell", "script": {"resources": resources}}],
    }
    (read,) = session_list.read_all([made])
    assert (read.cpu, read.memory, read.gpu) == ("1", "64Gi", "2")
    del made["status"]["storedWorkflowTemplateSpec"]
    (read,) = session_list.read_all([made])
    assert (read.cpu, read.memory, read.gpu) == ("", "", "")
