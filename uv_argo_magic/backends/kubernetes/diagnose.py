"""Explain the problem of a pod in one sentence with a hint, from the pod and its events.

Rules:
- The functions are pure: they take plain objects of the API and return text. Messages of the API are quoted and
  shortened.
- Temporary states of a normal start are not reported.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.kubernetes.api_errors import POD_ERRORS, ErrorTable, short
from uv_argo_magic.core.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ApiObject = dict[str, Any]

MAIN = "main"
"""The container that runs the cell."""
INSTALL = "install"
"""The init container that installs packages, if there is one."""
GPU = re.compile(r"gpu|/mig-")
"""In the names of resources of GPUs and of parts of them."""
_BLOCKED = re.compile(
    r'^(?:CreateContainerConfigError|CreateContainerError|RunContainerError)\b|persistentvolumeclaim "[^"]*" not found'
)
"""Messages of a pod that cannot start without a change by someone."""
DELETED = "its pod was deleted, by a user or with its node"
_DISRUPTIONS = {
    "PreemptionByScheduler": "a pod of higher priority needed its node",
    "DeletionByTaintManager": "its node was lost, or got a taint that the pod does not tolerate",
    "EvictionByEvictionAPI": "its pod was evicted, for example by an autoscaler or to drain its node",
    "DeletionByPodGC": "its node was removed",
    "TerminationByKubelet": "its node terminated it to free resources or to shut down",
}
"""Reasons in a pod's condition DisruptionTarget."""
_DISRUPTING_EVENTS = {
    "Preempted": _DISRUPTIONS["PreemptionByScheduler"],
    "TaintManagerEviction": _DISRUPTIONS["DeletionByTaintManager"],
    "Evicted": _DISRUPTIONS["TerminationByKubelet"],
}
"""Reasons of events, which remain after the pod is deleted."""
_REPORTED_EVENTS = frozenset({"FailedMount", "FailedAttachVolume", "ProvisioningFailed", "FailedMapVolume", "Failed"})
"""Reasons of events for problems that the pod's status does not show, or only ten seconds later."""


@frozen
class ImageProblem:
    """An image that cannot be pulled, and the container that needs it."""

    container: str
    image: str
    cause: str


def phase(pod: Mapping[str, Any] | None) -> str:
    """The pod's phase; "Pending" if there is no pod yet."""
    return str(_status(pod).get("phase") or "Pending")


def waiting(
    pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = (), *, errors: ErrorTable = POD_ERRORS
) -> str:
    """Why the pod has not started; "" while it starts normally."""
    if started(pod):
        return ""
    problem = image_problem(pod)
    message = (
        explain_image(problem) if problem else _explain_selector(pod) or errors.explain_first(_waiting_messages(pod))
    )
    # Once the install container has started, the volumes are mounted, and events about them are outdated.
    install = _container(pod, INSTALL).get("state") or {}
    if message or "running" in install or "terminated" in install:
        return message
    for event in reversed(events):
        if event.get("reason") not in _REPORTED_EVENTS:
            continue
        if message := errors.explain(f"{event.get('reason', '')}: {event.get('message', '')}"):
            return message
    return ""


def ended(pod: Mapping[str, Any], *, errors: ErrorTable = POD_ERRORS) -> str:
    """What ended the pod, if the program did not report a reason; "" if the pod does not show it."""
    status = _status(pod)
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if reason == "Evicted":
        return _evicted(message)
    if reason == "DeadlineExceeded":
        return errors.explain(message) or short(message)
    for container in _containers(pod):
        state = (container.get("state") or {}).get("terminated")
        if state and (explanation := _terminated(pod, str(container.get("name")), state, errors)):
            return explanation
    disruption = next((item for item in _conditions(pod) if item.get("type") == "DisruptionTarget"), None)
    if disruption and disruption.get("status") == "True":
        cause = short(str(disruption.get("message") or disruption.get("reason") or ""))
        return f"the cluster evicted the pod ({cause}); run the cell again"
    if reason or message:
        return errors.explain(f"{reason}: {message}") or short(f"{reason}: {message}")
    return ""


def deleted(pod: Mapping[str, Any] | None, events: Sequence[Mapping[str, Any]] = ()) -> str:
    """Why a pod was deleted, from its status or its events. Kubernetes does not record which user deleted it."""
    status = _status(pod)
    if status.get("reason") == "NodeLost":
        return "its node was lost"
    for condition in _conditions(pod or {}):
        if condition.get("type") == "DisruptionTarget" and (cause := _DISRUPTIONS.get(str(condition.get("reason")))):
            return cause
    for event in reversed(events):
        if cause := _DISRUPTING_EVENTS.get(str(event.get("reason"))):
            return cause
    return DELETED


def image_problem(pod: Mapping[str, Any]) -> ImageProblem | None:
    """The image that prevents the pod from starting, or None."""
    for container in _containers(pod):
        state = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
        if not re.search(r"ImagePull|ImageInspect|InvalidImageName|ErrImageNeverPull|RegistryUnavailable", reason):
            continue
        # The kubelet alternates between the failure and the wait for a retry, whose message quotes the failure.
        reason = "ErrImagePull" if reason == "ImagePullBackOff" else reason
        message = re.sub(r'^Back-off pulling image "[^"]*"(?:: )?(?:ErrImagePull: )?', "", message)
        detail = short(re.sub(r'.*(?:Head "[^"]*"|failed to pull and unpack image "[^"]*"): ', "", message), 100)
        return ImageProblem(
            container=str(container.get("name")),
            image=short(str(container.get("image") or "of the pod"), 80),
            cause=f"{reason}: {detail}" if detail else reason,
        )
    return None


def explain_image(problem: ImageProblem) -> str:
    """The sentence on an image that cannot be pulled."""
    return (
        f"cannot pull the image {problem.image} ({problem.cause}); "
        "check its name and the cluster's access to it, or use another: --set image=IMAGE"
    )


def _explain_selector(pod: Mapping[str, Any]) -> str:
    """The sentence on a pod whose node selector matches no node; "" for other reasons, or without a selector."""
    text = next((message for message in _waiting_messages(pod) if "node affinity/selector" in message), "")
    selector = dict((pod.get("spec") or {}).get("nodeSelector") or {})
    if not selector or "Insufficient" in text or not text:
        return ""
    nodes = short(re.sub(r"^\w+: |(?<=selector)\. .*", "", text))
    architecture = selector.pop("kubernetes.io/arch", "")
    if not selector:
        other = "aarch64" if architecture == "amd64" else "x86_64"
        return (
            f"no node has the architecture {architecture} ({nodes}); use another: --set platform={other}-manylinux_2_28"
        )
    labels = short(", ".join(f"{name}={value}" for name, value in selector.items()))
    also = f" and the architecture {architecture}" if architecture else ""
    return f"no node has the labels {labels}{also} ({nodes}); change --set node_selector"


def pulling(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """The image that the node is pulling for the pod; "" if there is none, or this is unknown."""
    if started(pod):
        return ""
    image = ""
    for event in events:
        if event.get("reason") == "Pulling" and (match := re.search(r'image "([^"]+)"', str(event.get("message")))):
            image = match[1]
        elif event.get("reason") in {"Pulled", "Failed", "BackOff"}:
            image = ""
    return image


def is_preparing(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has a node, and its containers are waiting for their images and volumes."""
    state = (_container(pod, MAIN).get("state") or {}).get("waiting") or {}
    node = (pod.get("spec") or {}).get("nodeName")
    return node not in (None, "", "?") and state.get("reason") in {"PodInitializing", "ContainerCreating"}


def is_blocked(pod: Mapping[str, Any], events: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Whether the pod cannot start until someone fixes its image, or creates an object that it refers to."""
    if started(pod):
        return False
    if image_problem(pod) or any(_BLOCKED.search(message) for message in _waiting_messages(pod)):
        return True
    has_sandbox = any(
        item.get("type") == "PodReadyToStartContainers" and item.get("status") == "True" for item in _conditions(pod)
    )
    # Once the sandbox exists, the volumes are mounted, and events about them are outdated.
    return not has_sandbox and any(
        event.get("reason") == "FailedMount" and re.search(r"not found|non-existent", str(event.get("message")))
        for event in events
    )


def is_starting(pod: Mapping[str, Any]) -> bool:
    """Whether the node starts the main container now, or has started it; its state becomes known a second later.

    The node reports the end of the init containers, or that there are none, at once.
    """
    conditions = {item.get("type"): item.get("status") for item in _conditions(pod)}
    return conditions.get("Initialized") == "True" or started(pod)


def started(pod: Mapping[str, Any], container: str = MAIN) -> bool:
    """Whether a container has started; it can also have ended."""
    state = _container(pod, container).get("state") or {}
    return "running" in state or "terminated" in state


def terminated(pod: Mapping[str, Any], container: str = MAIN) -> bool:
    """Whether a container has ended, so that its log is complete."""
    state = _container(pod, container).get("state") or {}
    return "terminated" in state or _status(pod).get("phase") in {"Succeeded", "Failed"}


def termination_message(pod: Mapping[str, Any]) -> str:
    """The text that the main container wrote to its termination log; "" before its end."""
    state = _container(pod, MAIN).get("state") or {}
    return str((state.get("terminated") or {}).get("message") or "")


def exit_phase(pod: Mapping[str, Any]) -> str:
    """The phase according to the main container's exit code, which is available before the pod's own phase."""
    state = (_container(pod, MAIN).get("state") or {}).get("terminated") or {}
    return "Succeeded" if state.get("exitCode") == 0 else "Failed"


def ended_early(pod: Mapping[str, Any] | None) -> bool:
    """Whether the pod ended for a reason in its status other than the program: an eviction or a deadline."""
    return _status(pod).get("reason") in {"Evicted", "DeadlineExceeded", "Preempting", "Terminated", "NodeShutdown"}


def log_containers(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """The containers whose logs, in this order, are the run's log."""
    containers = (pod.get("spec") or {}).get("initContainers") or []
    return (INSTALL, MAIN) if any(item.get("name") == INSTALL for item in containers) else (MAIN,)


def is_deleting(pod: Mapping[str, Any]) -> bool:
    """Whether the pod was deleted and is in its grace period."""
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))


def is_scheduled(pod: Mapping[str, Any]) -> bool:
    """Whether the pod has a node, so that its log can be requested."""
    return bool((pod.get("spec") or {}).get("nodeName"))


def uid_of(pod: Mapping[str, Any] | None) -> str:
    """The pod's uid; "" if there is no pod."""
    return str(((pod or {}).get("metadata") or {}).get("uid") or "")


def name_of(pod: Mapping[str, Any]) -> str:
    """The pod's name."""
    return str((pod.get("metadata") or {}).get("name") or "")


def created(pod: Mapping[str, Any]) -> str:
    """The creation time of the pod, as text that sorts by time."""
    return str((pod.get("metadata") or {}).get("creationTimestamp") or "")


def _status(pod: Mapping[str, Any] | None) -> ApiObject:
    return (pod or {}).get("status") or {}


def _conditions(pod: Mapping[str, Any]) -> list[ApiObject]:
    return _status(pod).get("conditions") or []


def _containers(pod: Mapping[str, Any]) -> list[ApiObject]:
    """The statuses of all containers, ours first."""
    status = _status(pod)
    statuses = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return sorted(statuses, key=lambda container: container.get("name") not in (MAIN, INSTALL))


def _container(pod: Mapping[str, Any], name: str) -> ApiObject:
    return next((container for container in _containers(pod) if container.get("name") == name), {})


def _waiting_messages(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in _containers(pod):
        state = (container.get("state") or {}).get("waiting") or {}
        if state.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            yield f"{state.get('reason')}: {state.get('message') or ''}"
    for condition in _conditions(pod):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"{condition.get('reason')}: {condition.get('message') or ''}"


def _terminated(pod: Mapping[str, Any], name: str, state: Mapping[str, Any], errors: ErrorTable) -> str:
    code = int(state.get("exitCode") or 0)
    reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
    if code == 0 and reason != "OOMKilled":
        return ""
    if reason == "OOMKilled":
        limit = memory_limit(pod, name)
        amount = f" ({limit})" if limit else ""
        if name == INSTALL:
            return (
                f"the install exceeded its memory limit{amount} and was killed; "
                "request more with --memory SIZE, or install fewer packages"
            )
        return (
            f"the cell exceeded its memory limit{amount} and was killed; "
            "request more with --memory SIZE, or process the data in parts"
        )
    if explanation := errors.explain(message):
        return explanation
    subject = {MAIN: "the cell's container", INSTALL: "the install container"}.get(name, f"the container {name}")
    detail = f": {short(message)}" if message else ""
    return f"{subject} ended with exit code {code}{detail}; see its log"


def memory_limit(pod: Mapping[str, Any], name: str = MAIN) -> str:
    """A container's memory limit; "" if it has none."""
    spec = pod.get("spec") or {}
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        if container.get("name") == name:
            return str(((container.get("resources") or {}).get("limits") or {}).get("memory") or "")
    return ""


def has_gpu(pod: Mapping[str, Any], resource: str) -> bool:
    """Whether a container of the pod occupies a GPU; `resource` is the name of the nodes' GPUs, if it is another."""
    for container in (pod.get("spec") or {}).get("containers") or []:
        # Kubernetes copies the limits of such resources to the requests, and allows no other requests.
        limits = (container.get("resources") or {}).get("limits") or {}
        if any(str(amount) != "0" for name, amount in limits.items() if name == resource or GPU.search(name)):
            return True
    return False


def _evicted(message: str) -> str:
    if not message.startswith("The node") and re.search(r"ephemeral|EmptyDir|emptyDir", message):
        return (
            f"the pod exceeded its disk limit and was evicted ({short(message)}); "
            "request more with --resources disk=SIZE, or write less"
        )
    return f"the node ran out of resources and evicted the pod ({short(message)}); request more with --resources"
