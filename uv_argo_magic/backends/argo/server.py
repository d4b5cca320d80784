"""The other door: an Argo Server, where the Kubernetes API cannot be reached; pods are what Argo's nodes say of them.

Rules:
- Named by `--set server=HOST:PORT`, or as Argo's own command has it: ARGO_SERVER, ARGO_TOKEN, ARGO_NAMESPACE,
  ARGO_SECURE, ARGO_BASE_HREF, ARGO_INSECURE_SKIP_VERIFY.
- Not through Hera's service: that one has no time limit on any request, drops fields that it does not know, and its
  reader of logs fails at the second line.
- What a server cannot tell is not made up: warning events, and a pod that was made again under its own name, which
  only the Kubernetes API shows. Nodes are up to ten seconds old, so a log is asked for before its pod is known to run.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from uv_argo_magic.backends.kubernetes.client import WORKFLOW_LABEL, Client
from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import SILENCE, Expired, Gone, HttpTransport, Stream, TooEarly
from uv_argo_magic.errors import BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from uv_argo_magic.core.spec.run_spec import Settings

ADVICE = "Check ARGO_SERVER or --set server=HOST:PORT, and that the server can be reached from here."
NOT_FOUND = 5
"""The code of gRPC for what is not there."""


@dataclass(frozen=True, kw_only=True)
class Server(Client):
    """One Argo Server and namespace, as one user."""

    address: str
    _workflow_of: dict[str, str] = field(default_factory=dict)
    """Pod name -> its workflow's."""

    def by_hand(self, name: str) -> tuple[str, ...]:
        """The line for Argo's own command."""
        return (f"ARGO_SERVER={shlex.quote(self.address)} " + shlex.join(["argo", "-n", self.namespace, "stop", name]),)

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create the workflow; the object that the server made of it.

        Raises:
            SubmitRejected: the server refused it.
            BackendUnavailable: it does not answer.
        """
        try:
            return self.wire.ask("POST", self._workflows(), body={"workflow": manifest, "serverDryRun": dry_run})
        except (Denied, Gone) as problem:
            raise SubmitRejected(str(problem), hint=problem.hint) from problem

    def create_config_map(self, manifest: Mapping[str, Any]) -> None:
        """There is no way to.

        Raises:
            SubmitRejected: always.
        """
        del manifest
        raise SubmitRejected("an Argo Server makes no ConfigMaps", hint="Push less, or use the Kubernetes API itself.")

    def workflows(self, labels: str) -> list[dict[str, Any]]:
        """The workflows with these labels, the newest first.

        Raises:
            BackendError: they cannot be asked for.
        """
        items = self.wire.ask("GET", self._workflows(), query={"listOptions.labelSelector": labels}).get("items") or []
        return sorted(items, key=lambda one: str(one["metadata"].get("creationTimestamp") or ""), reverse=True)

    def workflow_template(self, name: str) -> dict[str, Any]:
        """An administrator's template.

        Raises:
            Gone: there is none of this name.
            BackendError: it cannot be asked for.
        """
        return self.wire.ask("GET", f"/api/v1/workflow-templates/{quote(self.namespace)}/{quote(name)}")

    def shutdown(self, name: str, how: str) -> None:
        """End the workflow; no error where there is none, or where it has ended.

        Raises:
            BackendError: it could not be asked for.
        """
        try:
            self.wire.ask("PUT", f"{self._workflows()}/{quote(name)}/{how.lower()}", body={})
        except Gone:
            pass
        except SubmitRejected:
            status = self.workflow(name).get("status") or {}
            if not status.get("finishedAt"):
                raise

    def warnings(self, pod: str) -> list[dict[str, Any]]:
        """None: a server only streams events."""
        del pod
        return []

    def pods(self, workflow: str) -> tuple[list[dict[str, Any]], str]:
        """The workflow's pods as its nodes tell of them, and the place in time from which to watch them.

        Raises:
            BackendError: they cannot be asked for.
        """
        try:
            made = self.workflow(workflow)
        except Gone:
            return [], ""
        return self._seen(made), str(made["metadata"].get("resourceVersion") or "")

    def pod(self, name: str) -> dict[str, Any]:
        """A pod as its node tells of it now.

        Raises:
            Gone: there is none of this name.
            BackendError: it cannot be asked for.
        """
        pods, _ = self.pods(self._workflow_of.get(name, name))
        for one in pods:
            if one["metadata"]["name"] == name:
                return one
        raise Gone(f"there is no pod {name}")

    def any_pod(self) -> None:
        """Nothing: what containers a pod has, a server does not tell."""

    def describes(self, field: str) -> bool:  # noqa: ARG002 - the signature is Client's
        """No: a server drops what it does not know, without a word."""
        return False

    def watch_pods(self, workflow: str, version: str) -> Stream:
        """What happens to the workflow's pods from `version` on: lines of JSON, `{"type": ..., "object": ...}`.

        Raises:
            BackendError: they cannot be watched.
        """
        query = {"listOptions.fieldSelector": f"metadata.name={workflow}", "listOptions.resourceVersion": version}
        opened = self.wire.open(f"/api/v1/workflow-events/{quote(self.namespace)}", query, silence=330.0)
        return _Told(opened, self._changes)

    def log(self, pod: str, *, container: str = "main", since: str = "", follow: bool = True) -> Stream:
        """The log of one of the pod's containers with a timestamp before each line, from `since` (RFC 3339) on.

        Raises:
            BackendError: it cannot be read.
        """
        query = {"podName": pod, "logOptions.container": container, "logOptions.timestamps": "true"}
        if follow:
            query["logOptions.follow"] = "true"
        if since:
            query["logOptions.sinceTime.seconds"] = str(int(datetime.fromisoformat(since).timestamp()))
        path = f"{self._workflows()}/{quote(self._workflow_of.get(pod, pod))}/log"
        return _Told(self.wire.open(path, query, silence=SILENCE), _line)

    def _workflows(self) -> str:
        return f"/api/v1/workflows/{quote(self.namespace)}"

    def _changes(self, said: Mapping[str, Any]) -> bytes:
        kind, made = said.get("type"), said.get("object") or {}
        if kind in {"DELETED", "ERROR", "BOOKMARK"} or "metadata" not in made:
            return b""  # the look at the workflow itself tells that it is gone
        version = made["metadata"].get("resourceVersion")
        pods = self._seen(made)
        for one in pods:
            one["metadata"]["resourceVersion"] = version
        return b"".join(json.dumps({"type": "MODIFIED", "object": one}).encode() + b"\n" for one in pods)

    def _seen(self, workflow: Mapping[str, Any]) -> list[dict[str, Any]]:
        name = str(workflow["metadata"]["name"])
        nodes = ((workflow.get("status") or {}).get("nodes") or {}).values()
        pods = [_pod(name, node) for node in nodes if node.get("type") == "Pod"]
        self._workflow_of.update({one["metadata"]["name"]: name for one in pods})
        return pods


class _Told(Stream):
    """A server's stream, each line an object with a `result`, as the bytes that the Kubernetes API would send."""

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
        """End it."""
        self._stream.close()


def _result(line: bytes) -> Mapping[str, Any]:
    """What one line of a stream holds.

    Raises:
        BackendError: it tells of a problem.
    """
    try:
        said = json.loads(line)
    except ValueError as problem:
        raise BackendUnavailable(f"the connection broke off: a line is no JSON: {problem}") from problem
    if error := said.get("error"):
        text = str(error.get("message"))
        if error.get("grpc_code") == NOT_FOUND:
            raise Gone(text)
        if "waiting to start" in text:
            raise TooEarly(text)
        if "too old" in text or "expired" in text:
            raise Expired(text)
        raise BackendUnavailable(f"the server ended the stream: {text}")
    result: Mapping[str, Any] = said.get("result") or {}
    return result


def _line(said: Mapping[str, Any]) -> bytes:
    return str(said.get("content") or "").encode() + b"\n"


def _pod(workflow: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """A node as the pod that it stands for, as far as diagnose.py asks for one."""
    node_id, phase, message = str(node["id"]), str(node.get("phase") or "Pending"), str(node.get("message") or "")
    # Argo's own rule for the names of pods; the node of a workflow of one template has the workflow's name.
    name = node_id
    if node_id != workflow:
        name = f"{workflow}-{node.get('templateName')}-{node_id.removeprefix(workflow + '-')}"
    reason, _, rest = message.partition(": ")
    status: dict[str, Any] = {"phase": phase}
    state: dict[str, Any] = {"waiting": {"reason": reason, "message": rest} if rest else {}}
    if phase == "Running":
        state = {"running": {}}
    elif phase != "Pending":
        ended = re.match(r"main: (?P<reason>\w+) \(exit code (?P<code>\d+)\)(?:: (?P<words>.*))?", message, re.DOTALL)
        status = {"phase": "Succeeded" if phase == "Succeeded" else "Failed"}
        if ended:
            said = {"reason": ended["reason"], "message": ended["words"] or ""}
            state = {"terminated": {"exitCode": int(ended["code"]), **said}}
        else:
            state = {"terminated": {"exitCode": 0}}
            status |= {"message": message} if phase != "Succeeded" else {}
    elif reason == "Unschedulable":
        status["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": reason, "message": rest}]
    return {
        "metadata": {
            "name": name,
            "uid": node_id,
            "labels": {WORKFLOW_LABEL: workflow},
            "creationTimestamp": node.get("startedAt"),
        },
        # Its log can be asked for at once: the server waits until there is one.
        "spec": {"nodeName": node.get("hostNodeName") or "?", "containers": [{"name": "main"}]},
        "status": {**status, "containerStatuses": [{"name": "main", "state": state}]},
    }


def named(settings: Settings, environ: Mapping[str, str] = os.environ) -> str:
    """The address of the server that is meant; "" where it is the Kubernetes API."""
    if settings.server or settings.kubeconfig or settings.context:
        return settings.server
    return environ.get("ARGO_SERVER", "")


def connect(settings: Settings, environ: Mapping[str, str] = os.environ) -> Server:
    """The server that `named` names.

    Raises:
        BackendUnavailable: its address makes no sense, or there is no token for it.
    """
    said = named(settings, environ)
    secure = environ.get("ARGO_SECURE", "true").lower() != "false"
    url = urlsplit(said if "://" in said else f"http{'s' if secure else ''}://{said}")
    if not re.fullmatch(r"https?://[^/@\s]+(/.*)?", url.geturl()):
        raise BackendUnavailable(
            f"{said} is no address of an Argo Server",
            hint="Write --set server=argo.example.com:2746, or with https://.",
        )
    if not environ.get("ARGO_TOKEN"):
        raise BackendUnavailable(
            f"there is no token for the Argo Server {url.netloc}",
            hint="Set ARGO_TOKEN in the environment: argo auth token prints one, and so does the server's web page.",
        )
    base = url.path.rstrip("/") or environ.get("ARGO_BASE_HREF", "").rstrip("/")
    namespace = settings.namespace or environ.get("ARGO_NAMESPACE", "") or "default"
    session = _Session(
        host=f"{url.scheme}://{url.netloc}{base and '/' + base.lstrip('/')}",
        environ=environ,
        trusting=environ.get("ARGO_INSECURE_SKIP_VERIFY", "").lower() in {"1", "true"},
    )
    place = f"the Argo Server {url.netloc}, namespace {namespace}"
    return Server(
        wire=HttpTransport(session=session, place=place, advice=ADVICE), namespace=namespace, address=url.netloc
    )


@dataclass(frozen=True, kw_only=True)
class _Session:
    """Connections to a server, with the token that the environment has at that moment."""

    host: str
    environ: Mapping[str, str]
    trusting: bool

    @functools.cached_property
    def _pool(self) -> Any:
        import urllib3  # noqa: PLC0415 - comes with kubernetes and hera

        if self.trusting:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return urllib3.PoolManager(maxsize=64, cert_reqs="CERT_NONE" if self.trusting else "CERT_REQUIRED")

    @property
    def pool(self) -> Any:
        return self._pool

    def headers(self) -> dict[str, str]:
        token = self.environ.get("ARGO_TOKEN", "")
        return {"Authorization": token if " " in token else f"Bearer {token}"}

    def renew(self, pool: object) -> None:
        """There is nothing else to try."""
