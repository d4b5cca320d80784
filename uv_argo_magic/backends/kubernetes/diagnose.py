"""Pod, workflow and events -> one sentence of what is wrong there, and the next step.

Rules:
- Pure: plain objects of the API go in, text comes out. Words of the API are quoted, shortened.
- The pod knows first: Argo's node hides its own init containers behind "PodInitializing", and lags by ten seconds.
- Nothing is said of what is only a moment of a normal start.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.kubernetes import api_errors
from uv_argo_magic.backends.kubernetes.api_errors import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ApiObject = dict[str, Any]

QUIET = 10.0
"""Seconds without any status after which nobody seems to look after the workflow."""
OURS = "main"
INSTALL = "install"
"""The container that installs, where one does so before the cell's."""
_TELLING = frozenset({"FailedMount", "FailedAttachVolume", "ProvisioningFailed", "FailedMapVolume", "Failed"})
"""Events that tell what the pod itself does not, or not for ten seconds more."""
FINAL = frozenset({"Succeeded", "Failed", "Error"})


def phase(pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None) -> str:
    """Argo's phase word for what is seen: the workflow's end, else what the pod does."""
    seen = _status(workflow).get("phase")
    if seen in FINAL or pod is None:
        return str(seen or "Pending") if seen in FINAL else "Pending"
    return str(_status(pod).get("phase") or "Pending")


def waiting(
    pod: Mapping[str, Any] | None,
    workflow: Mapping[str, Any] | None,
    events: Sequence[Mapping[str, Any]] = (),
    seconds: float = 0.0,
) -> str:
    """Why it has not started after so many seconds; empty while all goes its normal way."""
    if pod is not None and started(pod):
        return ""
    if pod is not None:
        found = _image(pod) or api_errors.told(_pod_words(pod))
        # Once a container of ours has started, its volumes are there: what was said of them is over.
        installs = _named(pod, INSTALL).get("state") or {}
        if found or "running" in installs or "terminated" in installs:
            return found
        for event in reversed(events):
            if event.get("reason") not in _TELLING:
                continue
            if found := api_errors.sentence(f"{event.get('reason', '')}: {event.get('message', '')}"):
                return found
        return ""
    if found := api_errors.told(_workflow_words(workflow)):
        return found
    if seconds > QUIET and not _status(workflow).get("phase"):
        return (
            "no workflow controller has looked at it; check that Argo's controller runs and looks after this namespace"
        )
    return ""


def ended(pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None) -> str:
    """What ended it, where the guest could not say."""
    if ((workflow or {}).get("spec") or {}).get("shutdown"):
        return "the workflow was stopped"
    if pod is not None:
        status = _status(pod)
        reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
        if reason == "Evicted":
            return _evicted(message)
        if reason == "DeadlineExceeded":
            return str(api_errors.sentence(message) or short(message))
        for container in _containers(pod):
            terminated = (container.get("state") or {}).get("terminated")
            if terminated and (found := _terminated(pod, container, terminated)):
                return found
        disrupted = next((one for one in _conditions(pod) if one.get("type") == "DisruptionTarget"), None)
        if disrupted and disrupted.get("status") == "True":
            why = short(str(disrupted.get("message") or disrupted.get("reason") or ""))
            return f"the cluster took the pod away ({why}); run the cell again"
        if reason or message:
            return api_errors.sentence(f"{reason}: {message}") or short(f"{reason}: {message}")
    words = list(_workflow_words(workflow))
    return api_errors.told(words) or (short(words[0]) if words else "")


def lost(pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None = None) -> str:
    """A pod that went away before its cell had ended: Argo's own doing at a deadline, or somebody else's."""
    if late := api_errors.late(_workflow_words(workflow)):
        return late
    why = ended(pod, None)
    return (
        f"the pod was deleted ({why})" if why else "the pod was deleted, by hand or by a node that went away"
    ) + "; the workflow was stopped, so that the cell does not run twice; run the cell again"


def attempts(workflow: Mapping[str, Any] | None) -> int:
    """How often it is tried where it does not succeed: 1 unless its template says otherwise; 0: until it does."""
    wanted = (workflow or {}).get("spec") or {}
    # An administrator's template stands in the status, as it was at that time.
    for spec in (wanted, _status(workflow).get("storedWorkflowTemplateSpec") or {}):
        cell = [
            one
            for one in spec.get("templates") or []
            if one.get("name") == (wanted.get("entrypoint") or spec.get("entrypoint"))
        ]
        for one in (*cell, spec.get("templateDefaults") or {}, spec):
            if (strategy := one.get("retryStrategy")) is not None:
                limit = str(strategy.get("limit") or "")
                return int(limit) + 1 if limit.isdigit() else 0 if not limit else 1
    return 1


def stopper(workflow: Mapping[str, Any] | None) -> str:
    """Who had it stopped, as far as the API says: a user that an Argo Server names, else the program that wrote it."""
    about = (workflow or {}).get("metadata") or {}
    labels = about.get("labels") or {}
    for name in ("actor-preferred-username", "actor-email", "actor"):
        if who := labels.get(f"workflows.argoproj.io/{name}"):
            return short(str(who), 60)
    for one in about.get("managedFields") or []:
        if "f:shutdown" in ((one.get("fieldsV1") or {}).get("f:spec") or {}):
            return f"somebody else, with {short(str(one.get('manager')), 60)}"
    return "somebody else"


def ran(workflow: Mapping[str, Any] | None) -> bool:
    """Whether a node once had its pod."""
    nodes = (_status(workflow).get("nodes") or {}).values()
    return any(node.get("type") == "Pod" and node.get("hostNodeName") for node in nodes)


def gone(workflow: Mapping[str, Any] | None) -> str:
    """What can still be known of a run whose pod and log are gone: Argo's own words."""
    status = _status(workflow)
    words = "" if status.get("phase") == "Succeeded" else ended(None, workflow)
    begun, end = status.get("startedAt"), status.get("finishedAt")
    times = f"it ran from {begun} to {end}" if begun and end else f"it began at {begun}"
    return f"its pod and its log are gone; {times}{f' ({words})' if words else ''}; run the cell again for its output"


def started(pod: Mapping[str, Any]) -> bool:
    """Whether the cell's container has started, and perhaps ended."""
    state = _named(pod, OURS).get("state") or {}
    return "running" in state or "terminated" in state


def terminated(pod: Mapping[str, Any], container: str = OURS) -> bool:
    """Whether a container, the cell's if none is named, will write no more."""
    state = _named(pod, container).get("state") or {}
    return "terminated" in state or _status(pod).get("phase") in {"Succeeded", "Failed"}


def own_end(pod: Mapping[str, Any]) -> str:
    """The phase word for how the cell's container ended, which Argo will say some seconds later."""
    state = (_named(pod, OURS).get("state") or {}).get("terminated") or {}
    return "Succeeded" if state.get("exitCode") == 0 else "Failed"


def writers(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """The containers whose logs make the run's, in order."""
    before = (pod.get("spec") or {}).get("initContainers") or []
    return (INSTALL, OURS) if any(one.get("name") == INSTALL for one in before) else (OURS,)


def leaves(pod: Mapping[str, Any]) -> bool:
    """Whether somebody deleted it: it has its grace period left, or not even that."""
    return bool((pod.get("metadata") or {}).get("deletionTimestamp"))


def scheduled(pod: Mapping[str, Any]) -> bool:
    """Whether a node has the pod, so that a log can be asked for."""
    return bool((pod.get("spec") or {}).get("nodeName"))


def _status(thing: Mapping[str, Any] | None) -> ApiObject:
    return (thing or {}).get("status") or {}


def _conditions(pod: Mapping[str, Any]) -> list[ApiObject]:
    return _status(pod).get("conditions") or []


def _containers(pod: Mapping[str, Any]) -> list[ApiObject]:
    """Init containers too, and ours first."""
    status = _status(pod)
    every = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return sorted(every, key=lambda one: one.get("name") not in (OURS, INSTALL))


def _named(pod: Mapping[str, Any], name: str) -> ApiObject:
    return next((one for one in _containers(pod) if one.get("name") == name), {})


def _image(pod: Mapping[str, Any]) -> str:
    """An image that cannot be had: ours, or the executor's, which Argo does not tell."""
    for container in _containers(pod):
        waits = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waits.get("reason") or ""), str(waits.get("message") or "")
        if not re.search(r"ImagePull|ImageInspect|InvalidImageName|ErrImageNeverPull|RegistryUnavailable", reason):
            continue
        image = short(str(container.get("image") or "of the pod"), 80)
        why = short(re.sub(r'.*(?:Head "[^"]*"|failed to pull and unpack image "[^"]*"): ', "", message), 100)
        if container.get("name") in (OURS, INSTALL):
            return (
                f"the image {image} cannot be pulled ({reason}: {why}); check its name and that the cluster may have it"
            )
        return (
            f"Argo's own image {image} cannot be pulled ({reason}: {why}); "
            "an administrator has to correct the controller's executor image"
        )
    return ""


def _pod_words(pod: Mapping[str, Any]) -> Iterator[str]:
    for container in _containers(pod):
        waits = (container.get("state") or {}).get("waiting") or {}
        if waits.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            yield f"{waits.get('reason')}: {waits.get('message') or ''}"
    for condition in _conditions(pod):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield f"{condition.get('reason')}: {condition.get('message') or ''}"


def _workflow_words(workflow: Mapping[str, Any] | None) -> Iterator[str]:
    status = _status(workflow)
    nodes = (status.get("nodes") or {}).values()
    yield from (str(node["message"]) for node in nodes if node.get("message") and node["message"] != "PodInitializing")
    if status.get("message"):
        yield str(status["message"])


def _terminated(pod: Mapping[str, Any], container: Mapping[str, Any], state: Mapping[str, Any]) -> str:
    name, code = str(container.get("name")), int(state.get("exitCode") or 0)
    reason, message = str(state.get("reason") or ""), str(state.get("message") or "")
    if code == 0 and reason != "OOMKilled":
        return ""
    if reason == "OOMKilled":
        limit = _limit(pod, name)
        given = f" ({limit})" if limit else ""
        if name == INSTALL:
            return (
                f"the install used more memory than it was given{given} and was killed; "
                "ask for more with --resources memory=SIZE, or for fewer packages"
            )
        return (
            f"it used more memory than it was given{given} and was killed; "
            "ask for more with --resources memory=SIZE, or handle the data in pieces"
        )
    if known := api_errors.sentence(message):
        return known
    who = {OURS: "the cell's container", INSTALL: "the container that installs"}.get(name, f"the container {name}")
    about = f": {short(message)}" if message else ""
    return f"{who} ended with exit code {code}{about}; its log may say why"


def _limit(pod: Mapping[str, Any], name: str) -> str:
    """A container's limit of memory, as its pod has it."""
    spec = pod.get("spec") or {}
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        if container.get("name") == name:
            return str(((container.get("resources") or {}).get("limits") or {}).get("memory") or "")
    return ""


def _evicted(message: str) -> str:
    if re.search(r"ephemeral|EmptyDir|emptyDir", message):
        return f"it used more disk than it may and was evicted ({short(message)}); ask for more: --resources disk=20Gi"
    return f"its node ran short and evicted it ({short(message)}); ask for what it needs with --resources"
