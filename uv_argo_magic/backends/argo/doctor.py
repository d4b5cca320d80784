"""What `doctor` can know of a cluster: before a run by asking the API, and by what a run's pod shows.

Rules:
- Only questions that any user may ask; where an answer takes more rights, the check says that it is not known.
- Each failed check says what to do, and whom to ask; checks that need what failed are skipped.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from uv_argo_magic.backends.argo.client import pods_of
from uv_argo_magic.backends.argo.role import OPTIONAL, ROLE
from uv_argo_magic.backends.argo.server import Server
from uv_argo_magic.backends.base import Check
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import Gone
from uv_argo_magic.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.core.spec.run_spec import Settings

FINALIZER = "workflows.argoproj.io/status"
"""On a pod: its controller keeps it until it has seen how it ended, and so never makes it again."""
UNSEEN = 30.0
"""Seconds after which a workflow without a phase was seen by no controller."""
REVIEWS = "/apis/authorization.k8s.io/v1"
STEPS = ("configuration", "API", "user", "Argo", "rights", "controller", "executor")
"""The checks in their order: each needs those before it."""


def before(connect: Callable[[], ArgoClient], settings: Settings) -> Iterator[Check]:
    """Everything that can be asked without a run."""
    at = 0
    try:
        client = connect()
        yield Check(
            name="configuration", outcome="ok", message=f"{client.location}, at {client.transport.session.host}"
        )
        at = 1
        if isinstance(client, Server):
            yield from _through_server(client)
            return
        yield Check(
            name="API", outcome="ok", message=f"Kubernetes {client.request('/version').get('gitVersion', '')} answers"
        )
        at = 2
        yield _user(client)
        at = 3
        argo = _argo(client)
        yield argo
        if argo.outcome == "failed":
            yield from _skipped(at, argo.name)
            return
        at = 4
        yield from _rights(client)
        at = 5
        yield _controller(client)
        at = 6
        yield _executor(client, settings)
    except BackendError as problem:
        yield Check(name=STEPS[at], outcome="failed", message=str(problem), hint=problem.hint)
        yield from _skipped(at, STEPS[at])


def _through_server(client: Server) -> Iterator[Check]:
    """What an Argo Server tells: it knows its own version, and lets one try what it does not tell of rights."""
    yield Check(
        name="API", outcome="ok", message=f"Argo Server {client.request('/api/v1/version').get('version', '')} answers"
    )
    try:
        items = client.workflows("")
    except Denied as problem:
        yield Check(name="rights", outcome="failed", message=str(problem), hint=problem.hint)
        yield from _skipped(STEPS.index("rights"), "rights")
        return
    yield Check(name="rights", outcome="ok", message=f"you may list workflows in the namespace {client.namespace}")
    yield _phases(items)
    yield Check(name="executor", outcome="note", message="not known: an Argo Server does not tell; a run will")


def meanwhile(client: ArgoClient, name: str) -> Iterator[Check]:
    """What the pod of a run shows: the version of Argo that made it, and what would become of it if it were lost."""
    try:
        pods, _ = client.pods(pods_of(name))
    except BackendError as problem:
        yield Check(name="pod", outcome="note", message=str(problem), hint=problem.hint)
        return
    for pod in pods[:1]:
        if isinstance(client, Server):
            yield Check(name="at most once", outcome="note", message="not known: an Argo Server shows no pods")
            return
        if version := _version(pod):
            yield Check(name="Argo's version", outcome="ok", message=version)
        kept = FINALIZER in (pod["metadata"].get("finalizers") or ())
        yield Check(
            name="at most once",
            outcome="ok" if kept else "note",
            message="a pod that is lost is not made again"
            if kept
            else "Argo makes a pod again that is lost in its first seconds, and the cell would run twice",
            hint=""
            if kept
            else "An administrator prevents it by ARGO_POD_STATUS_CAPTURE_FINALIZER=true on the workflow controller.",
        )


def _skipped(at: int, failed: str) -> Iterator[Check]:
    for name in STEPS[at + 1 :]:
        yield Check(name=name, outcome="skipped", message=f"needs {failed}")


def _user(client: ArgoClient) -> Check:
    """Who the API takes us for; older APIs do not say."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        said = client.request("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except (Gone, Denied):
        return Check(name="user", outcome="ok", message="the API knows you")
    return Check(name="user", outcome="ok", message=str(said.get("status", {}).get("userInfo", {}).get("username", "")))


def _argo(client: ArgoClient) -> Check:
    try:
        kinds = {one.get("name") for one in client.request("/apis/argoproj.io/v1alpha1").get("resources", ())}
    except Gone:
        kinds = set()
    if "workflows" in kinds:
        return Check(name="Argo", outcome="ok", message="Argo Workflows is installed")
    return Check(
        name="Argo",
        outcome="failed",
        message="Argo Workflows is not installed: the API does not know workflows",
        hint="Ask an administrator to install it, or choose another cluster: --set context=NAME.",
    )


def _rights(client: ArgoClient) -> Iterator[Check]:
    """One check for each rule of the Role that users need."""
    for group, resource, verbs in ROLE:
        missing = [verb for verb in verbs if not _may(client, group, resource, verb)]
        name = f"may {resource}"
        if not missing:
            yield Check(name=name, outcome="ok", message=", ".join(verbs))
            continue
        rule = f'{{apiGroups: ["{group}"], resources: [{resource}], verbs: [{", ".join(verbs)}]}}'
        spared = OPTIONAL.get(resource, "")
        yield Check(
            name=name,
            outcome="note" if spared else "failed",
            message=f"not {', '.join(missing)} in the namespace {client.namespace}" + (f"; {spared}" if spared else ""),
            hint=f"Ask an administrator for a Role with this rule: {rule}.",
        )


def _may(client: ArgoClient, group: str, resource: str, verb: str) -> bool:
    what, _, part = resource.partition("/")
    asked = {"namespace": client.namespace, "verb": verb, "group": group, "resource": what, "subresource": part}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    return bool(client.request(f"{REVIEWS}/selfsubjectaccessreviews", body)["status"]["allowed"])


def _controller(client: ArgoClient) -> Check:
    """Whether workflows of the namespace get their phases."""
    try:
        items = client.workflows("")
    except Denied:
        return Check(
            name="controller", outcome="note", message="not known: you may not list workflows; a run will tell"
        )
    return _phases(items)


def _phases(items: list[dict[str, Any]]) -> Check:
    now = dt.datetime.now(dt.UTC)
    unseen = [one for one in items if not (one.get("status") or {}).get("phase") and _age(one, now) > UNSEEN]
    if unseen:
        return Check(
            name="controller",
            outcome="failed",
            message=f"{len(unseen)} of {len(items)} workflows here were seen by no controller",
            hint="Ask an administrator whether the workflow controller runs, and looks after this namespace.",
        )
    if any((one.get("status") or {}).get("phase") for one in items):
        return Check(name="controller", outcome="ok", message="the workflows of this namespace have their phases")
    return Check(
        name="controller", outcome="note", message="not known: there are no workflows here yet; a run will tell"
    )


def _age(workflow: dict[str, Any], now: dt.datetime) -> float:
    try:
        made = dt.datetime.fromisoformat(str(workflow["metadata"]["creationTimestamp"]))
        return (now - made).total_seconds()
    except (KeyError, ValueError, TypeError):
        return 0.0


def _executor(client: ArgoClient, settings: Settings) -> Check:
    """Whether the pods' service account may say how they ended; asking that for another takes rights of its own."""
    account = settings.service_account or "default"
    attributes = {"namespace": client.namespace, "group": "argoproj.io", "resource": "workflowtaskresults"}
    missing = []
    try:
        for verb in ("create", "patch"):
            body = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "LocalSubjectAccessReview",
                "metadata": {"namespace": client.namespace},
                "spec": {
                    "user": f"system:serviceaccount:{client.namespace}:{account}",
                    "resourceAttributes": attributes | {"verb": verb},
                },
            }
            path = f"{REVIEWS}/namespaces/{quote(client.namespace)}/localsubjectaccessreviews"
            if not client.request(path, body)["status"]["allowed"]:
                missing.append(verb)
    except Denied:
        return Check(
            name="executor", outcome="note", message=f"not known for the service account {account}; a run will tell"
        )
    if not missing:
        return Check(name="executor", outcome="ok", message=f"the service account {account} may report results")
    return Check(
        name="executor",
        outcome="failed",
        message=f"the service account {account} may not {', '.join(missing)} workflowtaskresults",
        hint='Ask an administrator to bind this rule to it: {apiGroups: ["argoproj.io"], '
        "resources: [workflowtaskresults], verbs: [create, patch]}.",
    )


def _version(pod: dict[str, Any]) -> str:
    """The tag of Argo's own image in a pod."""
    spec = pod.get("spec") or {}
    for one in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if found := re.search(r"argoexec[^:@]*:([\w.-]+)", str(one.get("image", ""))):
            return found[1]
    return ""
