"""backends/kubernetes/diagnose.py: failures of pods without a recording; test_recordings.py has the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from uv_argo_magic.backends.kubernetes import diagnose

GOLDEN = Path(__file__).parents[3] / "golden"


def test_out_of_memory_is_read_from_the_pod():
    pods = [
        json.loads(line)["object"]
        for line in (GOLDEN / "recordings" / "oom_main.jsonl").read_text().splitlines()
        if json.loads(line)["kind"] == "pod"
    ]
    killed_pod = next(pod for pod in pods if diagnose.terminated(pod))
    assert "exceeded its memory limit (64Mi)" in diagnose.ended(killed_pod)


def test_event_explains_a_waiting_pod_until_the_install():
    def pod(state: dict) -> dict:
        return {"status": {"phase": "Pending", "initContainerStatuses": [{"name": "install", "state": state}]}}

    event = {"reason": "Failed", "message": 'Error: secret "nope" not found'}
    starting = pod({"waiting": {"reason": "PodInitializing"}})
    assert diagnose.waiting(starting, [event]).startswith("secret nope not found")
    assert diagnose.waiting(pod({"running": {}}), [event]) == ""


def test_install_container_is_explained():
    def pod(state: dict) -> dict:
        container = {"name": "install", "image": "example.com/uv:1", "state": state}
        limit = {"name": "install", "resources": {"limits": {"memory": "64Mi"}}}
        return {
            "spec": {"initContainers": [{"name": "init"}, limit]},
            "status": {"phase": "Pending", "initContainerStatuses": [container]},
        }

    assert diagnose.log_containers(pod({})) == ("install", "main")
    assert diagnose.log_containers({"spec": {"initContainers": [{"name": "init"}]}}) == ("main",)
    killed = pod({"terminated": {"reason": "OOMKilled", "exitCode": 137}})
    assert diagnose.ended(killed).startswith("the install exceeded its memory limit (64Mi)")
    assert (diagnose.terminated(killed, "install"), diagnose.terminated(killed)) == (True, False)
    broken = pod({"terminated": {"reason": "Error", "exitCode": 3}})
    assert diagnose.ended(broken) == "the install container ended with exit code 3; see its log"
    image = pod({"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    assert diagnose.waiting(image).startswith("cannot pull the image example.com/uv:1")


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [
        (
            {"reason": "Evicted", "message": 'Usage of EmptyDir volume "tmp" exceeds the limit "20Mi". '},
            "its disk limit",
        ),
        ({"reason": "Evicted", "message": "The node was low on resource: memory. "}, "ran out of resources"),
        (
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "message": "node drained"}]},
            "evicted the pod (node drained)",
        ),
        ({"reason": "NodeLost", "message": "Node n1 is unresponsive"}, "the pod's node no longer responds"),
    ],
)
def test_evictions_are_explained(pod, sentence):
    assert sentence in diagnose.ended({"status": {"phase": "Failed", **pod}})


@pytest.mark.parametrize(
    ("reasons", "image"),
    [
        (["Scheduled", "Pulled", "Pulling a", "Pulled", "Pulling b"], "b"),
        (["Pulling a", "Pulled", "Started"], ""),
        (["Pulling a", "Failed", "BackOff"], ""),
        ([], ""),
    ],
)
def test_pulled_image_is_that_of_the_last_event(reasons, image):
    parts = [reason.partition(" ") for reason in reasons]
    events = [{"reason": reason, "message": f'Pulling image "{name}"'} for reason, _, name in parts]
    assert diagnose.pulling({"status": {"phase": "Pending"}}, events) == image
    running = {"status": {"containerStatuses": [{"name": "main", "state": {"running": {}}}]}}
    assert diagnose.pulling(running, events) == ""


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
def test_exit_phase_is_read_from_the_container(code, phase):
    ended = {"status": {"containerStatuses": [{"name": "main", "state": {"terminated": {"exitCode": code}}}]}}
    assert diagnose.exit_phase(ended) == phase


@pytest.mark.parametrize(
    ("status", "is_starting"),
    [
        ({}, False),
        (
            {"conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Initialized", "status": "False"}]},
            False,
        ),
        ({"conditions": [{"type": "Initialized", "status": "True"}]}, True),
        ({"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}]}, False),
        ({"containerStatuses": [{"name": "main", "state": {"running": {}}}]}, True),
    ],
)
def test_main_container_starts_once_the_pod_is_initialized(status, is_starting):
    assert diagnose.is_starting({"status": status}) == is_starting


def test_gpu_limit_of_any_container_counts():
    def pod(**limits):
        return {"spec": {"containers": [{"name": "wait"}, {"name": "main", "resources": {"limits": limits}}]}}

    assert diagnose.has_gpu(pod(**{"cpu": "1", "nvidia.com/gpu": "1"}), "nvidia.com/gpu")
    assert not diagnose.has_gpu(pod(**{"nvidia.com/gpu": "0"}), "nvidia.com/gpu")
    assert diagnose.has_gpu(pod(**{"example.com/chip": 2}), "example.com/chip")
    assert not diagnose.has_gpu(pod(**{"example.com/chip": 2}), "nvidia.com/gpu")
    assert not diagnose.has_gpu({}, "nvidia.com/gpu")
