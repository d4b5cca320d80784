"""The one door to the Kubernetes API: workflows, pods, events and logs as plain objects, problems as errors of ours.

Rules:
- The kubernetes package reads the configuration, keeps the credentials fresh and opens the connections (TLS, proxy,
  client certificates). Requests are made on its pool: its typed calls decode logs, lose a last line, and differ from
  release to release.
- Every problem is translated here, once: a denial names what was denied, and the rule that would allow it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from uv_argo_magic.errors import BackendError, BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from uv_argo_magic.core.spec import Settings

WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows"
DESCRIPTION = "/openapi/v3/apis/argoproj.io/v1alpha1"
WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
CONNECT = 10.0
"""Seconds to reach the API."""
ANSWER = 30.0
"""Seconds that it may take to answer a plain question."""
SILENCE = 75.0
"""Seconds without a byte after which a stream is opened anew: a proxy may have forgotten it."""
NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

ROLE = (
    ("argoproj.io", "workflows", ("create", "get", "list", "patch")),
    ("argoproj.io", "workflowtemplates", ("get",)),
    ("", "pods", ("get", "list", "watch")),
    ("", "pods/log", ("get",)),
    ("", "events", ("list",)),
    ("", "configmaps", ("create",)),
)
"""All that this package asks of the API, as a Role has it: group, resource, verbs."""
SPARED = {
    "configmaps": "only programs above 96 KiB travel in one",
    "workflowtemplates": "only --set template=NAME reads one",
}
"""What most runs do without, and what it is for."""


class Gone(BackendError):
    """What was asked for is not there."""


class TooEarly(BackendError):
    """There is no log yet: the container waits for its start."""


class Expired(BackendError):
    """The place in a watch is too long ago: list again."""


class Denied(BackendError):
    """The user may not do this."""


class Stream:
    """Bytes as they come; `close` may be called from any thread, and ends a read that waits."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of any size, until the other end closes.

        Raises:
            BackendUnavailable: the connection broke off.
        """
        import urllib3  # noqa: PLC0415 - comes with kubernetes

        try:
            for data in self._response.stream(None):
                if self._closed:
                    # Python's TLS sockets give what is still encrypted to a read that goes on after a shutdown.
                    return
                yield data
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as problem:
            # The last two are what urllib3 says of a connection closed by another thread.
            raise BackendUnavailable(f"the connection broke off: {problem}") from problem
        finally:
            self._response.close()

    def close(self) -> None:
        """End it; nothing happens to one that has ended."""
        self._closed = True
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            self._response.shutdown()


@dataclass(frozen=True, kw_only=True)
class Client:
    """One cluster and namespace, as one user."""

    configuration: Any
    pool: Any
    namespace: str
    place: str
    flags: tuple[str, ...] = ()
    """What names this cluster on the line of kubectl and argo."""

    def by_hand(self, name: str) -> tuple[str, ...]:
        """Lines for a terminal that stop a workflow."""
        patch = '{"spec": {"shutdown": "Stop"}}'
        words = [
            "kubectl",
            *self.flags,
            "-n",
            self.namespace,
            "patch",
            "workflow",
            name,
            "--type",
            "merge",
            "-p",
            patch,
        ]
        return shlex.join(words), shlex.join(["argo", *self.flags, "-n", self.namespace, "stop", name])

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A question that no run asks: GET, or POST where there is a body.

        Raises:
            Gone, Denied, BackendError: as for any other.
        """
        return self._ask("POST" if body else "GET", path, body=body)

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create the workflow; the object that the API made of it.

        Raises:
            SubmitRejected: the API refused it.
            BackendUnavailable: the API does not answer, or there is no Argo Workflows.
        """
        # Strict: the API says which fields it does not know, instead of dropping them.
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        try:
            return self._ask("POST", self._workflows(), query=query, body=manifest)
        except Gone as problem:
            if "namespaces" in str(problem):
                raise SubmitRejected(
                    f"there is no namespace {self.namespace} in this cluster", hint="Choose one: --set namespace=NAME."
                ) from problem
            raise BackendUnavailable(
                f"Argo Workflows is not installed at {self.place}: the API does not know workflows",
                hint="Ask an administrator to install it, or choose another cluster: --set context=NAME.",
            ) from problem
        except (Denied, Expired) as problem:
            raise SubmitRejected(str(problem), hint=problem.hint) from problem

    def create_config_map(self, manifest: Mapping[str, Any]) -> None:
        """Create it.

        Raises:
            BackendError: the API refused it, or does not answer.
        """
        self._ask("POST", f"/api/v1/namespaces/{quote(self.namespace)}/configmaps", body=manifest)

    def workflow(self, name: str) -> dict[str, Any]:
        """The workflow as it is now.

        Raises:
            Gone: there is none of this name.
            BackendError: it cannot be asked for.
        """
        return self._ask("GET", f"{self._workflows()}/{quote(name)}")

    def workflows(self, labels: str) -> list[dict[str, Any]]:
        """The workflows with these labels, the newest first.

        Raises:
            BackendError: they cannot be asked for.
        """
        items = self._ask("GET", self._workflows(), query={"labelSelector": labels}).get("items") or []
        return sorted(items, key=lambda one: str(one["metadata"].get("creationTimestamp") or ""), reverse=True)

    def workflow_template(self, name: str) -> dict[str, Any]:
        """The template as it is now.

        Raises:
            Gone: there is none of this name.
            Denied: the user may not read it.
            BackendError: the API does not answer.
        """
        path = self._workflows().removesuffix("workflows") + "workflowtemplates"
        return self._ask("GET", f"{path}/{quote(name)}")

    def shutdown(self, name: str, how: str) -> None:
        """End the workflow: "Stop" lets exit handlers run, "Terminate" does not; no error where there is none.

        Raises:
            BackendError: it could not be asked for.
        """
        body = {"spec": {"shutdown": how}}
        with contextlib.suppress(Gone):
            self._ask("PATCH", f"{self._workflows()}/{quote(name)}", body=body, kind="application/merge-patch+json")

    def warnings(self, pod: str) -> list[dict[str, Any]]:
        """The warning events about a pod, oldest first.

        Raises:
            BackendError: they cannot be asked for.
        """
        query = {"fieldSelector": f"involvedObject.name={pod},type=Warning"}
        items = self._ask("GET", f"/api/v1/namespaces/{quote(self.namespace)}/events", query=query).get("items") or []
        return sorted(items, key=lambda event: str(event.get("lastTimestamp") or ""))

    def pods(self, workflow: str) -> tuple[list[dict[str, Any]], str]:
        """The workflow's pods, and the place in time from which to watch them.

        Raises:
            BackendError: they cannot be asked for.
        """
        said = self._ask("GET", self._pods(), query={"labelSelector": f"{WORKFLOW_LABEL}={workflow}"})
        return said.get("items") or [], str((said.get("metadata") or {}).get("resourceVersion") or "")

    def pod(self, name: str) -> dict[str, Any]:
        """A pod as it is now.

        Raises:
            Gone: there is none of this name.
            BackendError: it cannot be asked for.
        """
        return self._ask("GET", f"{self._pods()}/{quote(name)}")

    def any_pod(self) -> dict[str, Any] | None:
        """A pod of any workflow in the namespace; None where there is none.

        Raises:
            BackendError: they cannot be asked for.
        """
        found = self._ask("GET", self._pods(), query={"labelSelector": WORKFLOW_LABEL, "limit": "1"}).get("items")
        return found[0] if found else None

    def describes(self, field: str) -> bool:
        """Whether the API's own description of Argo's objects has a field of this name; everybody may read it.

        Raises:
            BackendUnavailable: the API does not answer.
        """
        response = self._request("GET", DESCRIPTION, {}, ANSWER, preload_content=True)
        return response.status == 200 and f'"{field}":'.encode() in response.data

    def watch_pods(self, workflow: str, version: str) -> Stream:
        """What happens to the workflow's pods from `version` on: lines of JSON, `{"type": ..., "object": ...}`.

        Raises:
            Expired: that is too long ago.
            BackendError: they cannot be watched.
        """
        query = {
            "labelSelector": f"{WORKFLOW_LABEL}={workflow}",
            "watch": "1",
            "allowWatchBookmarks": "1",
            "resourceVersion": version,
            "timeoutSeconds": "300",
        }
        return self._open(self._pods(), query, silence=330.0)

    def log(self, pod: str, *, container: str = "main", since: str = "", follow: bool = True) -> Stream:
        """The log of one of the pod's containers with a timestamp before each line, from `since` (RFC 3339) on.

        Raises:
            TooEarly: the container has not started.
            Gone: there is no such pod.
            BackendError: it cannot be read.
        """
        query = {"container": container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if since:
            query["sinceTime"] = since
        return self._open(f"{self._pods()}/{quote(pod)}/log", query, silence=SILENCE)

    def _workflows(self) -> str:
        return WORKFLOWS.format(quote(self.namespace))

    def _pods(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace)}/pods"

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        kind: str = "application/json",
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        response = self._request(method, path, query or {}, ANSWER, data=data, kind=kind, preload_content=True)
        self._check(response.status, response.data)
        try:
            said = json.loads(response.data)
        except ValueError as problem:
            raise _no_api(self.place) from problem
        if not isinstance(said, dict):
            raise _no_api(self.place)
        return said

    def _open(self, path: str, query: Mapping[str, str], *, silence: float) -> Stream:
        response = self._request("GET", path, query, silence, preload_content=False)
        if response.status >= 300:
            data = response.read(65536)
            if response.status == 400:
                # All that a correct question for a log or a watch can be refused for: nothing is there to be read.
                raise TooEarly(_message(data))
            self._check(response.status, data)
        return Stream(response)

    def _request(  # noqa: PLR0913 - what a request has
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        silence: float,
        *,
        data: bytes | None = None,
        kind: str = "application/json",
        preload_content: bool,
    ) -> Any:
        import urllib3  # noqa: PLC0415 - comes with kubernetes

        # Asked for each time: a token expires, and the configuration knows how to get the next one.
        said = self.configuration.auth_settings().values()
        headers = {one["key"]: one["value"] for one in said if one.get("in") == "header" and one.get("value")}
        if data is not None:
            headers["Content-Type"] = kind
        try:
            return self.pool.request(
                method,
                f"{self.configuration.host.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else ""),
                body=data,
                headers=headers | {"Accept": "application/json, */*"},
                retries=False,
                timeout=urllib3.Timeout(connect=CONNECT, read=silence),
                preload_content=preload_content,
            )
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            raise BackendUnavailable(
                f"the API of {self.place} does not answer: {_reason(problem)}",
                hint="Check the network, the VPN, and that the context is the right one: kubectl config get-contexts.",
            ) from problem

    def _check(self, status: int, data: bytes) -> None:
        """Raise what an answer means."""
        if status < 300:
            return
        text = _message(data)
        match status:
            case 401:
                raise BackendUnavailable(
                    f"{self.place} does not know you (401)",
                    hint="Log in to the cluster again, then run the cell again.",
                )
            case 403:
                raise denied(text)
            case 404:
                raise Gone(text)
            case 410:
                raise Expired(text)
            case 429 | 500 | 502 | 503 | 504:
                raise BackendUnavailable(
                    f"the API of {self.place} has a problem of its own ({status}): {text}",
                    hint="Wait a moment, and run the cell again.",
                )
            case _ if unknown := re.findall(r'unknown field "([^"]+)"', text):
                raise SubmitRejected(
                    f"Argo at {self.place} does not know {', '.join(unknown)}",
                    hint="Leave it out of the patch, or correct it; a newer Argo may know it.",
                )
            case _:
                raise SubmitRejected(f"the API refused it ({status}): {_short(text)}", hint=_refusal_hint(text))


def denied(text: str) -> Denied:
    """A 403 in words: what was denied, and the rule of a Role that would allow it."""
    found = re.search(
        r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
        r'(?: in the namespace "(?P<namespace>[^"]+)")?',
        text,
    )
    if not found:
        return Denied(f"the cluster refused it: {text}", hint=_refusal_hint(text))
    where = f" in the namespace {found['namespace']}" if found["namespace"] else ""
    verbs = next((verbs for group, resource, verbs in ROLE if resource == found["resource"]), (found["verb"],))
    return Denied(
        f"you may not {found['verb']} {found['resource']}{where}",
        hint=(
            "Ask an administrator for a Role with this rule: "
            f'{{apiGroups: ["{found["group"]}"], resources: [{found["resource"]}], verbs: [{", ".join(verbs)}]}}, '
            "or choose another namespace: --set namespace=NAME."
        ),
    )


def connect(settings: Settings) -> Client:
    """The cluster that the settings, KUBECONFIG, the pod that this is, or the usual kubeconfig name, in this order.

    Raises:
        BackendUnavailable: there is no configuration, or it names what is not there.
    """
    from kubernetes import client, config  # noqa: PLC0415 - half a second, and only a run on a cluster needs it

    configuration = client.Configuration()
    flags: tuple[str, ...]
    named = settings.kubeconfig or settings.context or os.environ.get("KUBECONFIG")
    try:
        if not named and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(configuration)
            context, namespace, flags = "this cluster", _own_namespace(), ()
        else:
            path = os.path.expanduser(settings.kubeconfig) or None  # noqa: PTH111 - None and "" mean the usual one
            wanted = settings.context or None
            config.load_kube_config(config_file=path, context=wanted, client_configuration=configuration)
            contexts, current = config.list_kube_config_contexts(config_file=path)
            chosen = next((one for one in contexts if one["name"] == wanted), current)
            context, namespace = str(chosen["name"]), str((chosen.get("context") or {}).get("namespace") or "")
            flags = (*(("--kubeconfig", path) if path else ()), "--context", context)
    except (config.ConfigException, OSError, TypeError, KeyError, ValueError) as problem:
        raise BackendUnavailable(
            f"no cluster is configured here: {_reason(problem)}",
            hint=(
                "Name a kubeconfig (KUBECONFIG or --set kubeconfig=FILE) and a context (--set context=NAME); a "
                "notebook in a cluster needs a pod with a service account. Or run it here: -b local."
            ),
        ) from problem
    # A watch and a log each hold a connection; beyond the pool's size urllib3 warns on stderr.
    configuration.connection_pool_maxsize = 64
    namespace = settings.namespace or namespace or "default"
    return Client(
        configuration=configuration,
        pool=client.ApiClient(configuration).rest_client.pool_manager,
        namespace=namespace,
        flags=flags,
        place=f"{context}, namespace {namespace}",
    )


def _own_namespace() -> str:
    with contextlib.suppress(OSError), open(NAMESPACE_FILE, encoding="utf-8") as file:  # noqa: PTH123
        return file.read().strip()
    return ""


def _no_api(place: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"{place} answers with something that is no Kubernetes API",
        hint="Check the server's address in the kubeconfig; a proxy or a login page may be in between.",
    )


def _refusal_hint(text: str) -> str:
    if "ValidatingAdmissionPolicy" in text or "admission webhook" in text:
        return "A rule of this cluster forbids it: change what it names, or ask an administrator."
    if "exceeded quota" in text:
        return "Ask for less with --resources, or wait until others have ended."
    if re.search(r"quantity|Quantity|resources\.(?:requests|limits)", text):
        return "Quantities are written 500m, 2 or 2Gi: --resources cpu=500m memory=2Gi."
    return "Correct the setting that it names."


def _message(data: bytes) -> str:
    """What an answer that is an error says: a Status object's message, or the first of its text."""
    try:
        said = json.loads(data)
        return str(said["message"])
    except (ValueError, KeyError, TypeError):
        return data.decode("utf-8", "replace").strip()[:500]


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:299] + "\N{HORIZONTAL ELLIPSIS}"


def _reason(problem: BaseException) -> str:
    """The innermost words of a vendor's error, in one line of bearable length."""
    inner = getattr(problem, "reason", None) or problem
    text = re.sub(r"^<[^>]*>: |^\w+\([^)]*\): ", "", str(inner))
    return re.sub(r"\s+", " ", text)[:300] or type(problem).__name__
