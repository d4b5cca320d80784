"""The client for an Argo Server, for users who cannot reach the Kubernetes API; pods are derived from Argo's nodes.

Rules:
- The server is set by `--set server=HOST:PORT`, or by the variables of the `argo` CLI: ARGO_SERVER, ARGO_TOKEN,
  ARGO_NAMESPACE, ARGO_SECURE, ARGO_BASE_HREF, ARGO_INSECURE_SKIP_VERIFY.
- Hera's client is not used: it has no timeouts, drops unknown fields, and its log reader fails at the second line.
- Only the Kubernetes API shows events, and pods that were created again with the same name. Nodes are up to ten seconds
  old, so a log is requested before its pod is known to run.
- A deleted pod is detected from the records: the guest reports a stop without a request, or starts again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote, urlsplit

import urllib3

from uv_argo_magic.backends.argo.client import WORKFLOW_LABEL, ArgoClient, newest_first, pods_of
from uv_argo_magic.backends.argo.role import SERVER_ROLE
from uv_argo_magic.backends.kubernetes.rbac import Denied, denied
from uv_argo_magic.backends.kubernetes.transport import (
    SILENCE,
    Expired,
    Gone,
    HttpTransport,
    Stream,
    TimedOut,
    TooEarly,
)
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import BackendError, BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from uv_argo_magic.core.spec.run_spec import Settings

ADVICE = "Check ARGO_SERVER or --set server=HOST:PORT, and that this machine can reach the server."
LOGIN = "Set ARGO_TOKEN in the environment to a valid token; argo auth token and the server's web page show one."
TRIAL = 2.0
"""A server that refuses a watch does so within this many seconds."""
NOT_FOUND = 5
"""The gRPC code for a missing object."""
FORBIDDEN = 7
"""The gRPC code for a missing permission."""


@frozen
class Server(ArgoClient):
    """A client for one namespace of an Argo Server, as one user."""

    sees_pods: ClassVar[bool] = False
    address: str
    _workflow_of: dict[str, str] = field(default_factory=dict)
    """Pod name -> name of its workflow."""

    def manual_stop_commands(self, name: str) -> tuple[str, ...]:
        """The commands of the `argo` CLI."""
        return (f"ARGO_SERVER={shlex.quote(self.address)} " + shlex.join(["argo", "-n", self.namespace, "stop", name]),)

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create the workflow, and return the created object.

        Raises:
            SubmitRejected: the server refused it.
            BackendUnavailable: the server does not respond.
        """
        try:
            return self.transport.request(
                "POST", self._workflows(), body={"workflow": manifest, "serverDryRun": dry_run}
            )
        except (Denied, Gone) as problem:
            raise SubmitRejected(str(problem), hint=problem.hint) from problem

    def create_config_map(self, manifest: Mapping[str, Any]) -> None:
        """Always fails.

        Raises:
            SubmitRejected: always.
        """
        del manifest
        raise SubmitRejected(
            "an Argo Server cannot create ConfigMaps", hint="Or use the Kubernetes API: --set context=NAME."
        )

    def policy(self) -> str:
        """Always fails.

        Raises:
            BackendError: always; the server is available, and its runs have no policy of the namespace.
        """
        raise BackendError("an Argo Server does not read ConfigMaps")

    def workflows(self, selector: str, *, all_namespaces: bool = False) -> list[dict[str, Any]]:
        """The workflows that match a label selector, newest first.

        Raises:
            BackendError: the workflows cannot be read.
        """
        path = "/api/v1/workflows/" if all_namespaces else self._workflows()
        response = self.transport.request("GET", path, query={"listOptions.labelSelector": selector})
        return newest_first(response.get("items") or [])

    def workflow_template(self, name: str) -> dict[str, Any]:
        """A WorkflowTemplate.

        Raises:
            Gone: there is no template with this name.
            BackendError: the template cannot be read.
        """
        return self.transport.request("GET", f"/api/v1/workflow-templates/{quote(self.namespace)}/{quote(name)}")

    def shutdown(self, name: str, strategy: str) -> None:
        """End the workflow; no error if it does not exist or has ended.

        Raises:
            BackendError: the server refused the request, or does not respond.
        """
        try:
            self.transport.request("PUT", f"{self._workflows()}/{quote(name)}/{strategy.lower()}", body={})
        except Gone:
            pass
        except SubmitRejected:
            status = self.workflow(name).get("status") or {}
            if not status.get("finishedAt"):
                raise

    def annotate(self, name: str, annotations: Mapping[str, str]) -> None:
        """Always fails.

        Raises:
            BackendUnavailable: always.
        """
        del name, annotations
        raise BackendUnavailable("an Argo Server does not change annotations")

    def events(self, pod: str) -> list[dict[str, Any]]:
        """An empty list, because a server can only stream events."""
        del pod
        return []

    def pods(self, selector: str, *, limit: int = 0) -> tuple[list[dict[str, Any]], str]:
        """The pods of a workflow (`selector` from `pods_of`), derived from its nodes, and the version to watch from.

        Raises:
            BackendError: the workflow cannot be read.
        """
        try:
            workflow = self.workflow(_workflow_in(selector))
        except Gone:
            return [], ""
        pods = self._pods_in(workflow)
        return pods[:limit] if limit else pods, str(workflow["metadata"].get("resourceVersion") or "")

    def pod(self, name: str) -> dict[str, Any]:
        """The current state of a pod.

        Raises:
            Gone: there is no pod with this name.
            BackendError: its workflow cannot be read.
        """
        pods, _ = self.pods(pods_of(self._workflow_of.get(name, name)))
        for pod in pods:
            if pod["metadata"]["name"] == name:
                return pod
        raise Gone(f"pod {name} not found")

    def any_pod(self) -> None:
        """None, because a server does not show the containers of a pod."""

    def has_field(self, field: str) -> bool:  # noqa: ARG002 - the signature is ArgoClient's
        """False, because a server silently drops unknown fields."""
        return False

    def watch_pods(self, selector: str, version: str) -> Stream:
        """Changes of a workflow's pods from `version` on: lines of JSON, `{"type": ..., "object": ...}`.

        Raises:
            BackendError: the workflow cannot be watched.
        """
        workflow = _workflow_in(selector)
        query = {"listOptions.fieldSelector": f"metadata.name={workflow}", "listOptions.resourceVersion": version}
        stream = self.transport.stream(f"/api/v1/workflow-events/{quote(self.namespace)}", query, silence=330.0)
        return _TranslatedStream(stream, self._changes)

    def try_watch(self) -> None:
        """Check that the user can watch workflows, which is needed to follow a run.

        Raises:
            BackendError: the server refused the watch.
        """
        # Select by label, because a server first reads a workflow that is selected by name.
        query = {"listOptions.labelSelector": f"{WORKFLOW_LABEL}=none"}
        path = f"/api/v1/workflow-events/{quote(self.namespace)}"
        with contextlib.suppress(TimedOut):  # the server accepted the request, and has nothing to send
            for data in self.transport.stream(path, query, silence=TRIAL):
                for line in filter(None, data.split(b"\n")):
                    _result(line)

    def log(
        self, pod: str, *, container: str = "main", since: str = "", follow: bool = True, silence: float = SILENCE
    ) -> Stream:
        """The log of one container of a pod, with a timestamp before each line, from `since` (RFC 3339) on.

        After `silence` seconds without a byte, the read times out.

        Raises:
            BackendError: the log cannot be read.
        """
        query = {"podName": pod, "logOptions.container": container, "logOptions.timestamps": "true"}
        if follow:
            query["logOptions.follow"] = "true"
        if since:
            query["logOptions.sinceTime.seconds"] = str(int(datetime.fromisoformat(since).timestamp()))
        path = f"{self._workflows()}/{quote(self._workflow_of.get(pod, pod))}/log"
        return _TranslatedStream(self.transport.stream(path, query, silence=silence), _log_line)

    def _workflows(self) -> str:
        return f"/api/v1/workflows/{quote(self.namespace)}"

    def _changes(self, event: Mapping[str, Any]) -> bytes:
        change, workflow = event.get("type"), event.get("object") or {}
        if change in {"DELETED", "ERROR", "BOOKMARK"} or "metadata" not in workflow:
            return b""  # the watcher of the workflow itself reports its deletion
        version = workflow["metadata"].get("resourceVersion")
        pods = self._pods_in(workflow)
        for pod in pods:
            pod["metadata"]["resourceVersion"] = version
        return b"".join(json.dumps({"type": "MODIFIED", "object": pod}).encode() + b"\n" for pod in pods)

    def _pods_in(self, workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
        name = str(workflow["metadata"]["name"])
        nodes = ((workflow.get("status") or {}).get("nodes") or {}).values()
        pods = [_pod(name, node) for node in nodes if node.get("type") == "Pod"]
        for pod in pods:
            pod["spec"]["nodeSelector"] = (workflow.get("spec") or {}).get("nodeSelector")
        self._workflow_of.update({pod["metadata"]["name"]: name for pod in pods})
        return pods


def _workflow_in(selector: str) -> str:
    """The name of the workflow in a selector of `pods_of`."""
    return selector.partition("=")[2]


class _TranslatedStream(Stream):
    """Translates a server's stream of objects with a `result` to the bytes that the Kubernetes API would send."""

    def __init__(self, stream: Stream, translate: Callable[[Mapping[str, Any]], bytes]) -> None:
        self._stream = stream
        self._translate = translate

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        for data in self._stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in filter(None, lines):
                yield self._translate(_result(line))
        if rest.strip():
            yield self._translate(_result(rest))

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def _result(line: bytes) -> Mapping[str, Any]:
    """The result in one line of a stream.

    Raises:
        BackendError: the line contains an error.
    """
    try:
        message = json.loads(line)
    except ValueError as problem:
        raise BackendUnavailable(f"the connection was lost: a line is not JSON: {problem}") from problem
    if error := message.get("error"):
        text = str(error.get("message"))
        if error.get("grpc_code") == NOT_FOUND:
            raise Gone(text)
        if error.get("grpc_code") == FORBIDDEN:
            raise denied(text, SERVER_ROLE)
        if "waiting to start" in text:
            raise TooEarly(text)
        if "too old" in text or "expired" in text:
            raise Expired(text)
        raise BackendUnavailable(f"the server ended the stream: {text}")
    result: Mapping[str, Any] = message.get("result") or {}
    return result


def _log_line(entry: Mapping[str, Any]) -> bytes:
    return str(entry.get("content") or "").encode() + b"\n"


def _pod(workflow: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """The pod of a node, with the fields that diagnose.py reads."""
    node_id, phase, message = str(node["id"]), str(node.get("phase") or "Pending"), str(node.get("message") or "")
    # Argo's rule for the names of pods. In a workflow with one template, the node has the workflow's name.
    name = node_id
    if node_id != workflow:
        name = f"{workflow}-{node.get('templateName')}-{node_id.removeprefix(workflow + '-')}"
    reason, _, detail = message.partition(": ")
    status: dict[str, Any] = {"phase": phase}
    is_passing = message in {"PodInitializing", "ContainerCreating"}
    state: dict[str, Any] = {"waiting": {"reason": reason, "message": detail} if detail or is_passing else {}}
    if phase == "Running":
        state = {"running": {}}
    elif phase != "Pending":
        status = {"phase": "Succeeded" if phase == "Succeeded" else "Failed"}
        match = re.match(r"main: (?P<reason>\w+) \(exit code (?P<code>\d+)\)(?:: (?P<message>.*))?", message, re.DOTALL)
        if match:
            terminated = {"exitCode": int(match["code"]), "reason": match["reason"], "message": match["message"] or ""}
            state = {"terminated": terminated}
        else:
            state = {"terminated": {"exitCode": 0}}
            status |= {"message": message} if phase != "Succeeded" else {}
    elif reason == "Unschedulable":
        status["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": reason, "message": detail}]
    return {
        "metadata": {
            "name": name,
            "uid": node_id,
            "labels": {WORKFLOW_LABEL: workflow},
            "creationTimestamp": node.get("startedAt"),
        },
        # The log can be requested immediately, because the server waits for it.
        "spec": {"nodeName": node.get("hostNodeName") or "?", "containers": [{"name": "main"}]},
        "status": {**status, "containerStatuses": [{"name": "main", "state": state}]},
    }


def server_address(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """The address of the Argo Server to use; "" to use the Kubernetes API."""
    if settings.server or settings.kubeconfig or settings.context:
        return settings.server
    return environ.get("ARGO_SERVER", "")


def connect(settings: Settings, environ: Mapping[str, str] = os.environ) -> Server:
    """A client for the server at `server_address`.

    Raises:
        BackendUnavailable: the address is invalid.
    """
    address = server_address(settings, environ)
    secure = environ.get("ARGO_SECURE", "true").lower() != "false"
    url = urlsplit(address if "://" in address else f"http{'s' if secure else ''}://{address}")
    if not re.fullmatch(r"https?://[^/@\s]+(/.*)?", url.geturl()):
        raise BackendUnavailable(
            f"invalid address of an Argo Server: {address}",
            hint="Write --set server=argo.example.com:2746, or with https://.",
        )
    base = url.path.rstrip("/") or environ.get("ARGO_BASE_HREF", "").rstrip("/")
    namespace = settings.namespace or environ.get("ARGO_NAMESPACE", "") or "default"
    session = _Session(
        host=f"{url.scheme}://{url.netloc}{base and '/' + base.lstrip('/')}",
        environ=environ,
        insecure=environ.get("ARGO_INSECURE_SKIP_VERIFY", "").lower() in {"1", "true"},
    )
    location = f"the Argo Server {url.netloc}, namespace {namespace}"
    return Server(
        transport=HttpTransport(session=session, location=location, advice=ADVICE, login=LOGIN, rules=SERVER_ROLE),
        namespace=namespace,
        address=url.netloc,
    )


@frozen
class _Session:
    """Connections to a server; the token is read from the environment for each request."""

    host: str
    environ: Mapping[str, str]
    insecure: bool

    @functools.cached_property
    def _pool(self) -> Any:
        if self.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return urllib3.PoolManager(maxsize=64, cert_reqs="CERT_NONE" if self.insecure else "CERT_REQUIRED")

    @property
    def pool(self) -> Any:
        return self._pool

    def headers(self) -> dict[str, str]:
        token = self.environ.get("ARGO_TOKEN", "")
        if not token:
            return {}  # a server in auth mode `server` uses its own permissions, and refuses a token
        return {"Authorization": token if " " in token else f"Bearer {token}"}

    def renew(self, pool: object) -> None:
        """Does nothing, since the token is read for each request."""
