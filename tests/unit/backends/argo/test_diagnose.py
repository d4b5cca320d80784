"""backends/argo/diagnose.py: failures of workflows without a recording; test_recordings.py has the recorded ones."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.backends.argo import diagnose


def test_patch_for_missing_containers_is_explained():
    message = 'Pod "x" is invalid: [spec.containers[2].image: Required value, spec.initContainers[0].image: Required]'
    assert "executor_patch=supervisor" in diagnose.ended(None, {"status": {"phase": "Error", "message": message}})


def test_pod_deleted_by_argo_exceeded_a_time_limit():
    pod = {"status": {"phase": "Pending"}}
    assert diagnose.lost(pod).startswith("the pod was deleted, by a user")
    timed_out = {"status": {"phase": "Error", "message": "error in entry template execution: timeout"}}
    assert "pending_timeout" in diagnose.lost(pod, timed_out)
    after_deadline = {"status": {"phase": "Failed", "nodes": {"x": {"message": "Step exceeded its deadline"}}}}
    assert "--set deadline" in diagnose.lost(pod, after_deadline)


def test_normal_start_has_no_explanation():
    pod = {
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}],
        }
    }
    assert diagnose.waiting(pod, {"status": {"phase": "Running"}}, [], 60.0) == ""
    assert diagnose.waiting(None, {"status": {}}, [], 1.0) == ""


def test_api_messages_are_shortened():
    workflow = {"status": {"phase": "Error", "message": "pods is {forbidden} " + "x " * 500}}
    assert "{forbidden}" in diagnose.ended(None, workflow)
    assert len(diagnose.ended(None, workflow)) < 200


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'pods "uv-argo-x" is forbidden: maximum memory usage per Container is 32Gi, but limit is 40Gi.',
            "the namespace allows 32Gi of memory, and 40Gi was requested; change --resources",
        ),
        (
            "workflows must use workflowTemplateRef to be executed when the controller is in reference mode",
            "this cluster only allows workflows from templates; use one with --set template=NAME",
        ),
        (
            "fields [PodSpecPatch] are not permitted when using workflowTemplateRef with a restriction",
            "the templates of this cluster define PodSpecPatch; remove the setting for it",
        ),
    ],
)
def test_restrictions_of_the_cluster_are_explained(text, sentence):
    # Messages of Argo 4.1.2 on Kubernetes 1.35.
    assert diagnose.ended(None, {"status": {"phase": "Error", "message": text}}) == sentence


@pytest.mark.parametrize(
    ("metadata", "client"),
    [
        ({}, "another client"),
        ({"labels": {"workflows.argoproj.io/actor-email": "a.at.example.com"}}, "a.at.example.com"),
        (
            {"managedFields": [{"manager": "kubectl-patch", "fieldsV1": {"f:spec": {"f:shutdown": {}}}}]},
            "another client (kubectl-patch)",
        ),
        ({"managedFields": [{"manager": "other", "fieldsV1": {"f:status": {}}}, {}]}, "another client"),
    ],
)
def test_stopped_by_names_the_client(metadata, client):
    assert diagnose.stopped_by({"metadata": metadata}) == client


def test_killed_install_is_inferred_from_the_workflow():
    workflow = {"status": {"message": "Pod failed before main container starts due to PodInitializing: "}}
    assert "the install exceeded its memory limit" in diagnose.ended(None, workflow)


def ending_pod(*, reason="", deleting=True, exit_code=0, condition="", main_reason="Error"):
    terminated = {"terminated": {"exitCode": exit_code, "reason": main_reason}} if exit_code else {"running": {}}
    return {
        "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {},
        "spec": {"containers": [{"name": "main", "resources": {"limits": {"memory": "8Gi"}}}]},
        "status": {
            "reason": reason,
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": condition}] if condition else [],
            "containerStatuses": [{"name": "main", "state": terminated}],
        },
    }


@each(
    ("pod", "events", "cause"),
    [
        (ending_pod(), (), "its pod was deleted, by a user or with its node"),
        (
            ending_pod(condition="EvictionByEvictionAPI", exit_code=143),
            (),
            "its pod was evicted, for example by an autoscaler",
        ),
        (ending_pod(condition="DeletionByPodGC"), (), "its node was removed"),
        (ending_pod(condition="Unknown"), ({"reason": "Preempted"}, {"reason": "Killing"}), "a pod of higher priority"),
        (ending_pod(reason="NodeLost"), (), "its node was lost"),
        (None, ({"reason": "TaintManagerEviction"},), "its node was lost, or got a taint"),
        (None, ({"reason": "Killing"},), "its pod was deleted, by a user or with its node"),
        # The pod ended before it was deleted, for example by pod garbage collection.
        (ending_pod(exit_code=137, main_reason="OOMKilled"), (), "the cell exceeded its memory limit (8Gi)"),
    ],
)
def test_session_end_explains_why_its_pod_was_deleted(pod, events, cause):
    actual, advice = diagnose.session_end(pod, {"status": {"phase": "Running"}}, events)
    assert actual.startswith(cause)
    assert (advice != "") == ("memory" in cause)


def test_session_end_names_the_client_or_the_limit():
    stopped = {
        "metadata": {"labels": {"workflows.argoproj.io/actor": "ana"}},
        "spec": {"shutdown": "Stop", "activeDeadlineSeconds": 60},
    }
    assert diagnose.session_end(ending_pod(), stopped) == ("its workflow was stopped by ana", "")
    late = {
        "spec": {"activeDeadlineSeconds": 60},
        "status": {"phase": "Failed", "nodes": {"x": {"message": "Step exceeded its deadline"}}},
    }
    cause, advice = diagnose.session_end(ending_pod(exit_code=143), late)
    assert "deadline of 60 seconds" in cause
    assert advice == "allow more with --set deadline=SECONDS"
    assert diagnose.session_end(ending_pod(deleting=False), {"status": {"phase": "Succeeded"}}) == ("", "")
