"""What is said of each recorded failure of a real Argo: the sentences are golden.

`UV_ARGO_TEST_GOLDEN=write` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from uv_argo_magic.backends.argo import diagnose

GOLDEN = Path(__file__).parent.parent / "golden"
SCENARIOS = sorted(path.stem for path in (GOLDEN / "recordings").glob("*.jsonl"))


def said(name: str) -> list[str]:
    """Every distinct thing that is said while the recording goes on, then how it ended."""
    pod = workflow = None
    events, lines = [], []
    seconds = 0.0
    for text in (GOLDEN / "recordings" / f"{name}.jsonl").read_text().splitlines():
        record = json.loads(text)
        seconds = record["t"]
        if record["kind"] == "pod":
            pod = record["object"]
        elif record["kind"] == "workflow":
            workflow = record["object"]
        elif record["kind"] == "event" and record["object"]["involvedObject"]["kind"] == "Pod":
            events.append(record["object"])
        phase = diagnose.phase(pod, workflow)
        line = f"{phase}: {diagnose.waiting(pod, workflow, events, seconds)}".rstrip(": ")
        if phase not in diagnose.FINAL and line not in lines[-1:]:
            lines.append(line)
    if name == "no_controller":
        lines.append(f"Pending: {diagnose.waiting(pod, workflow, events, diagnose.QUIET + 1)}")
    phase = diagnose.phase(pod, workflow)
    if phase in diagnose.FINAL and phase != "Succeeded":
        lines.append(f"{phase}: {diagnose.ended(pod, workflow)}")
    return lines


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_said_of_a_recording(name):
    path = GOLDEN / "argo" / "said" / f"{name}.txt"
    text = "\n".join(said(name)) + "\n"
    if os.environ.get("UV_ARGO_TEST_GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


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
    assert diagnose.ended(broken, None) == "the container that installs ended with exit code 3"
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
        ({"reason": "NodeLost", "message": "Node n1 is unresponsive"}, "NodeLost: Node n1 is unresponsive"),
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
