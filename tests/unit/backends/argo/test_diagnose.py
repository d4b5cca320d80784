"""Explanations of workflows that no recording shows; test_recordings.py has those of recordings."""

from __future__ import annotations

import pytest
from support.cases import each

from uv_argo_magic.backends.argo import diagnose


def test_a_patch_for_containers_that_are_not_there_is_named():
    message = 'Pod "x" is invalid: [spec.containers[2].image: Required value, spec.initContainers[0].image: Required]'
    assert "executor_patch=supervisor" in diagnose.ended(None, {"status": {"phase": "Error", "message": message}})


def test_a_pod_that_argo_itself_took_away_was_late():
    pod = {"status": {"phase": "Pending"}}
    assert diagnose.lost(pod).startswith("the pod was deleted, by a user")
    late = {"status": {"phase": "Error", "message": "error in entry template execution: timeout"}}
    assert "pending_timeout" in diagnose.lost(pod, late)
    dead = {"status": {"phase": "Failed", "nodes": {"x": {"message": "Step exceeded its deadline"}}}}
    assert "--set deadline" in diagnose.lost(pod, dead)


def test_a_normal_start_is_nothing_to_speak_of():
    pod = {
        "status": {
            "phase": "Pending",
            "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}],
        }
    }
    assert diagnose.waiting(pod, {"status": {"phase": "Running"}}, [], 60.0) == ""
    assert diagnose.waiting(None, {"status": {}}, [], 1.0) == ""


def test_words_of_the_api_stay_short_and_harmless():
    workflow = {"status": {"phase": "Error", "message": "pods is {forbidden} " + "x " * 500}}
    assert "{forbidden}" in diagnose.ended(None, workflow)
    assert len(diagnose.ended(None, workflow)) < 200


@pytest.mark.parametrize(
    ("text", "words"),
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
def test_what_an_administrator_forbids_is_said(text, words):
    # As Argo 4.1.2 on Kubernetes 1.35 has it.
    assert diagnose.ended(None, {"status": {"phase": "Error", "message": text}}) == words


@pytest.mark.parametrize(
    ("metadata", "who"),
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
def test_who_stopped_it(metadata, who):
    assert diagnose.stopped_by({"metadata": metadata}) == who


def test_an_install_that_was_killed_is_guessed_where_only_argo_tells():
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
        (ending_pod(condition="EvictionByEvictionAPI", exit_code=143), (), "its pod was evicted, as by an autoscaler"),
        (ending_pod(condition="DeletionByPodGC"), (), "its node was removed"),
        (ending_pod(condition="Unknown"), ({"reason": "Preempted"}, {"reason": "Killing"}), "a pod of higher priority"),
        (ending_pod(reason="NodeLost"), (), "its node was lost"),
        (None, ({"reason": "TaintManagerEviction"},), "its node was lost, or got a taint"),
        (None, ({"reason": "Killing"},), "its pod was deleted, by a user or with its node"),
        # What ended it before it was deleted, as by a clean-up of ended pods.
        (ending_pod(exit_code=137, main_reason="OOMKilled"), (), "the cell exceeded its memory limit (8Gi)"),
    ],
)
def test_what_deleted_the_pod_of_a_session(pod, events, cause):
    found, advice = diagnose.session_end(pod, {"status": {"phase": "Running"}}, events)
    assert found.startswith(cause)
    assert (advice != "") == ("memory" in cause)


def test_the_end_of_a_session_names_who_stopped_it_and_a_limit_to_raise():
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
