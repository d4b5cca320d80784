"""Pod, workflow and events -> one sentence of what is wrong there, and the next step.

Rules:
- Pure: plain objects of the API go in, text comes out. Words of the API are quoted, shortened.
- The pod knows first: Argo's node hides its own init containers behind "PodInitializing", and lags by ten seconds.
- Nothing is said of what is only a moment of a normal start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Thing = dict[str, Any]

QUIET = 10.0
"""Seconds without any status after which nobody seems to look after the workflow."""
OURS = "main"
INSTALL = "install"
"""The container that installs, where one does so before the cell's."""
_LONGEST = 150
"""Characters of the API's words in a sentence."""
_TELLING = frozenset({"FailedMount", "FailedAttachVolume", "ProvisioningFailed", "FailedMapVolume", "Failed"})
"""Events that tell what the pod itself does not, or not for ten seconds more."""
FINAL = frozenset({"Succeeded", "Failed", "Error"})


@dataclass(frozen=True, kw_only=True)
class _Rule:
    """A cause by what it is called there; `said` may name {0} the pattern's group and {text} the shortened whole."""

    pattern: str
    said: str


# What stands in the way of a start, and what ended a workflow before or without its pod; the first that fits counts.
_RULES = (
    _Rule(
        pattern=r"exceeded quota: (?P<what>.+)",
        said="the quota is used up ({what}); ask for less with --resources, or wait until others have ended",
    ),
    _Rule(
        pattern=r"m\w+mum (?P<what>\S+) usage per \w+ is (?P<space>\S+?), but (?:limit|request) is (?P<why>\S+?)\.?$",
        said="the namespace allows {space} of {what}, and {why} was asked for; ask for another amount: --resources",
    ),
    _Rule(
        pattern=r'violates PodSecurity "(?P<what>[^"]+)"(?P<why>.*)',
        said="Pod Security {what} forbids the pod{why}; an administrator can change the namespace's level",
    ),
    _Rule(
        pattern=r'service account (?P<space>\S+?)/(?P<what>[^\s:]+): serviceaccount ".*" not found',
        said=(
            "there is no service account {what} in namespace {space}; name another with --set service_account=NAME, "
            "or have it made"
        ),
    ),
    _Rule(
        pattern=r"ValidatingAdmissionPolicy '(?P<what>[^']+)'.*?denied request: (?P<why>.*)",
        said="the cluster's policy {what} forbids it: {why}; change what it names, or ask an administrator",
    ),
    _Rule(
        pattern=r'admission webhook "(?P<what>[^"]+)" denied the request: (?P<why>.*)',
        said="the cluster's {what} forbids it: {why}; change what it names, or ask an administrator",
    ),
    _Rule(
        pattern=r"ontainers\[\d+\]\.image: Required value",
        said=(
            "Argo here adds other containers to a pod than was thought; say which: --set executor_patch=supervisor "
            "(or init, or none)"
        ),
    ),
    _Rule(
        pattern=r"workflows must use workflowTemplateRef",
        said="cells run here by an administrator's templates alone; name one with --set template=NAME",
    ),
    _Rule(
        pattern=r"fields \[(?P<what>[^\]]+)\] are not permitted",
        said="the templates of this cluster decide on {what}; leave out what asks for it",
    ),
    _Rule(
        pattern=r"invalid spec: (?P<what>.*)",
        said="Argo cannot use the workflow: {what}; correct the setting that it names",
    ),
    _Rule(
        pattern=r"failed to initialize semaphore (?P<what>\S+)",
        said="the semaphore {what} does not exist; have its ConfigMap made, or leave the semaphore out",
    ),
    _Rule(
        pattern=r"Waiting for (?P<what>\S+) lock\.(?: Lock status: (?P<why>\S+))?",
        said="it waits for its turn at {what} ({why} free); it starts by itself when others have ended",
    ),
    _Rule(
        pattern=r"too many workflows are already running",
        said="Argo's limit of workflows at one time is reached; it starts by itself when others have ended",
    ),
    _Rule(
        pattern=r'persistentvolumeclaim "(?P<what>[^"]+)" not found',
        said="there is no volume claim {what} in the namespace; have it made, or name another",
    ),
    _Rule(
        pattern=r"nodes? are available: .*?(?P<what>Insufficient [\w./-]+)",
        said="no node has room for the pod ({what}: {text}); ask for less with --resources, or wait for a larger node",
    ),
    _Rule(
        pattern=r"didn't match Pod's node affinity/selector",
        said="no node is of the images' platform ({text}); choose another: --set platform=aarch64-manylinux_2_28",
    ),
    _Rule(
        pattern=r"untolerated taint",
        said="every node is reserved for others ({text}); ask an administrator which nodes cells may use",
    ),
    _Rule(
        pattern=r"\d+/\d+ nodes are available",
        said="no node takes the pod ({text}); ask for less, or ask an administrator",
    ),
    _Rule(
        pattern=r'(?P<what>secret|configmap) "(?P<why>[^"]+)" not found',
        said="there is no {what} {why} in the namespace; have it made, or leave out what refers to it",
    ),
    _Rule(
        pattern=r"MountVolume\S* failed for volume \"(?P<what>[^\"]+)\"(?P<why>.*)",
        said="the volume {what} cannot be mounted{why}; check that what it refers to exists",
    ),
    _Rule(
        pattern=r"(?:FailedAttachVolume|ProvisioningFailed).*",
        said="a volume cannot be had ({text}); ask whoever looks after the cluster's storage",
    ),
    _Rule(
        pattern=r"workflowtaskresults\S* is forbidden: User \"(?P<what>[^\"]+)\"",
        said=(
            "the pod's {what} may not report to Argo: it needs a Role with create and patch on workflowtaskresults "
            "(argoproj.io); or name another with --set service_account=NAME"
        ),
    ),
    _Rule(
        pattern=r'exec: "?(?P<what>[^":]+)"?: executable file not found',
        said="the image has no {what}; choose one that has Python and uv: --set image=IMAGE",
    ),
    _Rule(
        pattern=r"argument list too long",
        said="the program is too large for a Workflow; push less, or read the data over there",
    ),
    _Rule(
        pattern=r"Pod failed before main container starts",
        said=(
            "the pod ended before the cell's container began, often because the install used more memory than it was "
            "given; ask for more with --resources memory=SIZE"
        ),
    ),
    _Rule(
        pattern=r"NodeLost|[Nn]ode \S+ (?:is|which was running the pod is) unresponsive",
        said="its node does not answer any more ({text}); run the cell again",
    ),
    _Rule(
        pattern=r"pod deleted",
        said="the pod was deleted, by hand or by a node that went away; run the cell again",
    ),
    _Rule(
        pattern=r"Stopped with strategy '(?P<what>\w+)'|workflow shutdown with strategy:\s*(?P<why>\w+)",
        said="the workflow was stopped",
    ),
    _Rule(
        pattern=r"(?:^|execution: )timeout$",
        said="it waited for its start longer than it may; allow more with --set pending_timeout=SECONDS",
    ),
    _Rule(
        pattern=r"Step exceeded its deadline|active on the node longer than the specified deadline",
        said="it lived longer than its deadline allows; allow more with --set deadline=SECONDS",
    ),
    _Rule(
        pattern=r"Pod was rejected: .*|OutOf(?:cpu|memory|pods).*",
        said="the node refused the pod ({text}); run the cell again",
    ),
)


_DEADLINE = r"(?:^|execution: )timeout$|exceeded its deadline|longer than the specified deadline"


def short(text: str, longest: int = _LONGEST) -> str:
    """Words of the API as one line of bearable length."""
    line = re.sub(r"\s+", " ", text).strip().rstrip(".:;,")
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


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
        found = _image(pod) or _told(_pod_words(pod))
        # Once a container of ours has started, its volumes are there: what was said of them is over.
        installs = _named(pod, INSTALL).get("state") or {}
        if found or "running" in installs or "terminated" in installs:
            return found
        for event in reversed(events):
            if event.get("reason") not in _TELLING:
                continue
            if found := _rule(f"{event.get('reason', '')}: {event.get('message', '')}"):
                return found
        return ""
    if found := _told(_workflow_words(workflow)):
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
            return str(_rule(message) or short(message))
        for container in _containers(pod):
            terminated = (container.get("state") or {}).get("terminated")
            if terminated and (found := _terminated(pod, container, terminated)):
                return found
        disrupted = next((one for one in _conditions(pod) if one.get("type") == "DisruptionTarget"), None)
        if disrupted and disrupted.get("status") == "True":
            why = short(str(disrupted.get("message") or disrupted.get("reason") or ""))
            return f"the cluster took the pod away ({why}); run the cell again"
        if reason or message:
            return _rule(f"{reason}: {message}") or short(f"{reason}: {message}")
    words = list(_workflow_words(workflow))
    return _told(words) or (short(words[0]) if words else "")


def lost(pod: Mapping[str, Any] | None, workflow: Mapping[str, Any] | None = None) -> str:
    """A pod that went away before its cell had ended: Argo's own doing at a deadline, or somebody else's."""
    if late := next((one for one in _workflow_words(workflow) if re.search(_DEADLINE, one)), ""):
        return _rule(late)
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


def _status(thing: Mapping[str, Any] | None) -> Thing:
    return (thing or {}).get("status") or {}


def _conditions(pod: Mapping[str, Any]) -> list[Thing]:
    return _status(pod).get("conditions") or []


def _containers(pod: Mapping[str, Any]) -> list[Thing]:
    """Init containers too, and ours first."""
    status = _status(pod)
    every = (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or [])
    return sorted(every, key=lambda one: one.get("name") not in (OURS, INSTALL))


def _named(pod: Mapping[str, Any], name: str) -> Thing:
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


def _told(words: Iterator[str] | list[str]) -> str:
    """The first of the words that a rule knows, else the first as it is."""
    every = list(words)
    return next((found for one in every if (found := _rule(one))), "") or next(map(short, every), "")


def _rule(text: str) -> str:
    for rule in _RULES:
        if found := re.search(rule.pattern, text, re.DOTALL):
            values = {name: short(value or "", 120) for name, value in found.groupdict().items()}
            return rule.said.format_map({"what": "python3", **values, "text": short(text, 90)})
    return ""


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
    if known := _rule(message):
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
