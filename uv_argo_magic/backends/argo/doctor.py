"""The checks of `doctor` for a cluster: some need only requests to the API, others a pod of a test run.

Rules:
- If a check needs permissions that the user lacks, its result is a note instead of a failure.
- Each failed check has a hint. Checks that depend on a failed one are skipped.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from uv_argo_magic.backends.argo import pod_workers
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
    from uv_argo_magic.backends.kubernetes.rbac import Rule
    from uv_argo_magic.core.spec.run_spec import Settings

FINALIZER = "workflows.argoproj.io/status"
"""A finalizer of pods: with it, a pod is kept until the controller has seen its end, and is never created again."""
UNSEEN = 30.0
"""A workflow without a phase after this many seconds is not processed by a controller."""
REVIEWS = "/apis/authorization.k8s.io/v1"
STEPS = ("configuration", "API", "user", "Argo", "permissions", "controller", "executor")
"""The checks in order; each depends on those before it."""


def before(connect: Callable[[], ArgoClient], settings: Settings) -> Iterator[Check]:
    """The checks that need no run."""
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
            name="API",
            outcome="ok",
            message=f"connected to Kubernetes {client.request('/version').get('gitVersion', '')}",
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
        yield _sessions(client)
    except BackendError as problem:
        yield Check(name=STEPS[at], outcome="failed", message=str(problem), hint=problem.hint)
        yield from _skipped(at, STEPS[at])


KEEP_PODS = "Ask your administrator to set ARGO_POD_STATUS_CAPTURE_FINALIZER=true on the workflow controller."
"""The hint if Argo can create a lost pod again."""


def _through_server(client: Server) -> Iterator[Check]:
    """The checks with an Argo Server. It does not report permissions, so the requests are tried."""
    yield Check(
        name="API",
        outcome="ok",
        message=f"connected to Argo Server {client.request('/api/v1/version').get('version', '')}",
    )
    try:
        items = client.workflows("")
    except Denied as problem:
        yield Check(name="list workflows", outcome="failed", message=str(problem), hint=problem.hint)
        yield from _skipped(STEPS.index("permissions"), "list workflows")
        return
    yield Check(name="list workflows", outcome="ok", message=f"in the namespace {client.namespace}")
    try:
        client.try_watch()
    except BackendError as problem:
        yield Check(name="watch workflows", outcome="failed", message=str(problem), hint=problem.hint)
    else:
        yield Check(name="watch workflows", outcome="ok", message=f"in the namespace {client.namespace}")
    yield _phases(items)
    yield Check(name="executor", outcome="note", message="unknown with an Argo Server")


def meanwhile(client: ArgoClient, name: str) -> Iterator[Check]:
    """The checks of a run's pod: the version of Argo, and whether Argo would create the pod again if it were lost."""
    try:
        pods, _ = client.pods(pods_of(name))
    except BackendError as problem:
        yield Check(name="pod", outcome="note", message=str(problem), hint=problem.hint)
        return
    for pod in pods[:1]:
        if isinstance(client, Server):
            message = "an Argo Server does not show whether Argo recreates a pod that is lost in its first seconds"
            yield Check(name="at most once", outcome="note", message=message, hint=KEEP_PODS)
            return
        if version := _version(pod):
            yield Check(name="Argo's version", outcome="ok", message=version)
        is_kept = FINALIZER in (pod["metadata"].get("finalizers") or ())
        yield Check(
            name="at most once",
            outcome="ok" if is_kept else "note",
            message="a lost pod is not created again"
            if is_kept
            else "Argo recreates a pod that is lost in its first seconds, so that the cell could run twice",
            hint="" if is_kept else KEEP_PODS,
        )


def _skipped(at: int, failed: str) -> Iterator[Check]:
    for name in STEPS[at + 1 :]:
        yield Check(name=name, outcome="skipped", message=f"depends on {failed}")


def _user(client: ArgoClient) -> Check:
    """The user name as known to the API; older versions do not report it."""
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        review = client.request("/apis/authentication.k8s.io/v1/selfsubjectreviews", body)
    except (Gone, Denied):
        return Check(name="user", outcome="ok", message="logged in")
    return Check(
        name="user", outcome="ok", message=str(review.get("status", {}).get("userInfo", {}).get("username", ""))
    )


def _argo(client: ArgoClient) -> Check:
    try:
        kinds = {kind.get("name") for kind in client.request("/apis/argoproj.io/v1alpha1").get("resources", ())}
    except Gone:
        kinds = set()
    if "workflows" in kinds:
        return Check(name="Argo", outcome="ok", message="Argo Workflows is installed")
    return Check(
        name="Argo",
        outcome="failed",
        message="Argo Workflows is not installed",
        hint="Ask your administrator to install it, or use another cluster: --set context=NAME.",
    )


def _rights(client: ArgoClient) -> Iterator[Check]:
    """One check for each rule of the Role that users need."""
    for rule in ROLE:
        verbs = rule.verbs
        missing = [verb for verb in verbs if not _may(client, rule, verb)]
        subject = rule.names[0] if rule.names else rule.resource
        name = f"access: {subject}"
        if not missing:
            yield Check(name=name, outcome="ok", message=", ".join(verbs))
            continue
        purpose = OPTIONAL.get(subject, "")
        yield Check(
            name=name,
            outcome="note" if purpose else "failed",
            message=f"you cannot {', '.join(missing)} in the namespace {client.namespace}"
            + (f"; {purpose}" if purpose else ""),
            hint=f"Ask your administrator for a Role with this rule: {rule}.",
        )


def _may(client: ArgoClient, rule: Rule, verb: str) -> bool:
    resource, _, part = rule.resource.partition("/")
    attributes = {
        "namespace": client.namespace, "verb": verb, "group": rule.group, "resource": resource, "subresource": part,
        "name": "".join(rule.names[:1]),
    }  # fmt: skip
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return bool(client.request(f"{REVIEWS}/selfsubjectaccessreviews", body)["status"]["allowed"])


def _controller(client: ArgoClient) -> Check:
    """Check that a controller processes workflows in the namespace, because it sets their phases."""
    try:
        items = client.workflows("")
    except Denied:
        return Check(name="controller", outcome="note", message="unknown: you cannot list workflows")
    return _phases(items)


def _phases(items: list[dict[str, Any]]) -> Check:
    now = dt.datetime.now(dt.UTC)
    unseen = [item for item in items if not (item.get("status") or {}).get("phase") and _age(item, now) > UNSEEN]
    if unseen:
        return Check(
            name="controller",
            outcome="failed",
            message=f"{len(unseen)} of {len(items)} workflows in this namespace have no phase",
            hint="Ask your administrator whether the workflow controller is running and watches this namespace.",
        )
    if any((item.get("status") or {}).get("phase") for item in items):
        return Check(name="controller", outcome="ok", message="the workflows in this namespace have phases")
    return Check(name="controller", outcome="note", message="unknown: there are no workflows in this namespace yet")


def _age(workflow: dict[str, Any], now: dt.datetime) -> float:
    try:
        created_at = dt.datetime.fromisoformat(str(workflow["metadata"]["creationTimestamp"]))
        return (now - created_at).total_seconds()
    except (KeyError, ValueError, TypeError):
        return 0.0


def _executor(client: ArgoClient, settings: Settings) -> Check:
    """Check that the pods' service account can report results. For another account, this needs further permissions."""
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
        return Check(name="executor", outcome="note", message=f"unknown for the service account {account}")
    if not missing:
        return Check(name="executor", outcome="ok", message=f"the service account {account} can report results")
    return Check(
        name="executor",
        outcome="failed",
        message=f"the service account {account} cannot {', '.join(missing)} workflowtaskresults",
        hint='Ask your administrator to bind this rule to it: {apiGroups: ["argoproj.io"], '
        "resources: [workflowtaskresults], verbs: [create, patch]}.",
    )


def _sessions(client: ArgoClient) -> Check:
    """Check a port-forward by trying it, because access reviews do not cover policies and proxies."""
    try:
        pod_workers.probe(client)
    except BackendError as problem:
        return Check(name="sessions", outcome="note", message=str(problem), hint=problem.hint)
    return Check(name="sessions", outcome="ok", message="ports of pods can be forwarded")


def _version(pod: dict[str, Any]) -> str:
    """The tag of Argo's image in a pod."""
    spec = pod.get("spec") or {}
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if match := re.search(r"argoexec[^:@]*:([\w.-]+)", str(container.get("image", ""))):
            return match[1]
    return ""
