"""Causes of failing pods and workflows that no recording shows; the recorded ones are golden (test_recordings.py)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uv_argo_magic.backends.kubernetes import diagnose

GOLDEN = Path(__file__).parents[3] / "golden"


def test_an_out_of_memory_pod_is_known_before_the_workflow_knows():
    running = {"status": {"phase": "Running"}}
    pods = [
        json.loads(line)["object"]
        for line in (GOLDEN / "recordings" / "oom_main.jsonl").read_text().splitlines()
        if json.loads(line)["kind"] == "pod"
    ]
    dead = next(pod for pod in pods if diagnose.terminated(pod))
    assert "used more memory than it was given (64Mi)" in diagnose.ended(dead, running)


def test_an_event_tells_before_the_pod_does_and_is_over_when_the_install_runs():
    def pod(state: dict) -> dict:
        return {"status": {"phase": "Pending", "initContainerStatuses": [{"name": "install", "state": state}]}}

    event = {"reason": "Failed", "message": 'Error: secret "nope" not found'}
    starting = pod({"waiting": {"reason": "PodInitializing"}})
    assert diagnose.waiting(starting, None, [event]).startswith("there is no secret nope")
    assert diagnose.waiting(pod({"running": {}}), None, [event]) == ""


def test_a_patch_for_containers_that_are_not_there_is_named():
    said = 'Pod "x" is invalid: [spec.containers[2].image: Required value, spec.initContainers[0].image: Required]'
    assert "executor_patch=supervisor" in diagnose.ended(None, {"status": {"phase": "Error", "message": said}})


def test_a_pod_that_argo_itself_took_away_was_late():
    pod = {"status": {"phase": "Pending"}}
    assert diagnose.lost(pod).startswith("the pod was deleted, by hand")
    late = {"status": {"phase": "Error", "message": "error in entry template execution: timeout"}}
    assert "pending_timeout" in diagnose.lost(pod, late)
    dead = {"status": {"phase": "Failed", "nodes": {"x": {"message": "Step exceeded its deadline"}}}}
    assert "--set deadline" in diagnose.lost(pod, dead)


def test_a_container_that_installs_is_ours():
    def pod(state: dict) -> dict:
        container = {"name": "install", "image": "example.com/uv:1", "state": state}
        limit = {"name": "install", "resources": {"limits": {"memory": "64Mi"}}}
        return {
            "spec": {"initContainers": [{"name": "init"}, limit]},
            "status": {"phase": "Pending", "initContainerStatuses": [container]},
        }

    assert diagnose.writers(pod({})) == ("install", "main")
    assert diagnose.writers({"spec": {"initContainers": [{"name": "init"}]}}) == ("main",)
    killed = pod({"terminated": {"reason": "OOMKilled", "exitCode": 137}})
    assert diagnose.ended(killed, None).startswith("the install used more memory than it was given (64Mi)")
    assert (diagnose.terminated(killed, "install"), diagnose.terminated(killed)) == (True, False)
    broken = pod({"terminated": {"reason": "Error", "exitCode": 3}})
    assert diagnose.ended(broken, None) == "the container that installs ended with exit code 3; its log may say why"
    image = pod({"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    assert diagnose.waiting(image, None).startswith("the image example.com/uv:1 cannot be pulled")


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        ({"reason": "Evicted", "message": 'Usage of EmptyDir volume "tmp" exceeds the limit "20Mi". '}, "more disk"),
        ({"reason": "Evicted", "message": "The node was low on resource: memory. "}, "ran short"),
        (
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "message": "node drained"}]},
            "took the pod away (node drained)",
        ),
        ({"reason": "NodeLost", "message": "Node n1 is unresponsive"}, "its node does not answer any more"),
    ],
)
def test_what_the_cluster_does_to_a_pod(pod, words):
    assert words in diagnose.ended({"status": {"phase": "Failed", **pod}}, None)


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
            "the namespace allows 32Gi of memory, and 40Gi was asked for; ask for another amount: --resources",
        ),
        (
            "workflows must use workflowTemplateRef to be executed when the controller is in reference mode",
            "cells run here by an administrator's templates alone; name one with --set template=NAME",
        ),
        (
            "fields [PodSpecPatch] are not permitted when using workflowTemplateRef with a restriction",
            "the templates of this cluster decide on PodSpecPatch; leave out what asks for it",
        ),
    ],
)
def test_what_an_administrator_forbids_is_said(text, words):
    # As Argo 4.1.2 on Kubernetes 1.35 has it.
    assert diagnose.ended(None, {"status": {"phase": "Error", "message": text}}) == words


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
def test_how_a_container_ended_before_argo_says_so(code, phase):
    ended = {"status": {"containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": code}}}]}}
    assert diagnose.own_end(ended) == phase


@pytest.mark.parametrize(
    ("metadata", "who"),
    [
        ({}, "somebody else"),
        ({"labels": {"workflows.argoproj.io/actor-email": "a.at.example.com"}}, "a.at.example.com"),
        (
            {"managedFields": [{"manager": "kubectl-patch", "fieldsV1": {"f:spec": {"f:shutdown": {}}}}]},
            "somebody else, with kubectl-patch",
        ),
        ({"managedFields": [{"manager": "other", "fieldsV1": {"f:status": {}}}, {}]}, "somebody else"),
    ],
)
def test_who_stopped_it(metadata, who):
    assert diagnose.stopper({"metadata": metadata}) == who


def test_an_install_that_was_killed_is_guessed_where_only_argo_tells():
    workflow = {"status": {"message": "Pod failed before main container starts due to PodInitializing: "}}
    assert "the install used more memory" in diagnose.ended(None, workflow)
