"""The one door to the Kubernetes API: workflows, pods, events and logs as plain objects, problems as errors of ours.

Rules:
- The kubernetes package reads the configuration, keeps the credentials fresh and opens the connections (TLS, proxy,
  client certificates). Requests are made on its pool: its typed calls decode logs, lose a last line, and differ from
  release to release.
- Credentials that the API refuses are loaded anew, once: somebody may have logged in again.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from uv_argo_magic.backends.kubernetes.rbac import Denied
from uv_argo_magic.backends.kubernetes.transport import SILENCE, Expired, Gone, HttpTransport, TooEarly, reason
from uv_argo_magic.errors import BackendUnavailable, SubmitRejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from uv_argo_magic.backends.kubernetes.transport import Stream
    from uv_argo_magic.core.spec.run_spec import Settings

WORKFLOWS = "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows"
DESCRIPTION = "/openapi/v3/apis/argoproj.io/v1alpha1"
WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


@dataclass(frozen=True, kw_only=True)
class Client:
    """One cluster and namespace, as one user."""

    wire: HttpTransport
    namespace: str
    flags: tuple[str, ...] = ()
    """What names this cluster on the line of kubectl and argo."""

    @property
    def place(self) -> str:
        """Context and namespace, in words."""
        return self.wire.place

    def by_hand(self, name: str) -> tuple[str, ...]:
        """Lines for a terminal that stop a workflow."""
        patch = '{"spec": {"shutdown": "Stop"}}'
        where = [*self.flags, "-n", self.namespace]
        return (
            shlex.join(["kubectl", *where, "patch", "workflow", name, "--type", "merge", "-p", patch]),
            shlex.join(["argo", *where, "stop", name]),
        )

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A question that no run asks: GET, or POST where there is a body.

        Raises:
            Gone, Denied, BackendError: as for any other.
        """
        return self.wire.ask("POST" if body else "GET", path, body=body)

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        """Create the workflow; the object that the API made of it.

        Raises:
            SubmitRejected: the API refused it.
            BackendUnavailable: the API does not answer, or there is no Argo Workflows.
        """
        # Strict: the API says which fields it does not know, instead of dropping them.
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        try:
            return self.wire.ask("POST", self._workflows(), query=query, body=manifest)
        except Gone as problem:
            if "namespaces" in str(problem):
                raise SubmitRejected(
                    f"there is no namespace {self.namespace} in this cluster", hint="Choose one: --set namespace=NAME."
                ) from problem
            raise BackendUnavailable(
                f"Argo Workflows is not installed at {self.wire.place}: the API does not know workflows",
                hint="Ask an administrator to install it, or choose another cluster: --set context=NAME.",
            ) from problem
        except (Denied, Expired) as problem:
            raise SubmitRejected(str(problem), hint=problem.hint) from problem

    def create_config_map(self, manifest: Mapping[str, Any]) -> None:
        """Create it.

        Raises:
            BackendError: the API refused it, or does not answer.
        """
        self.wire.ask("POST", f"/api/v1/namespaces/{quote(self.namespace)}/configmaps", body=manifest)

    def workflow(self, name: str) -> dict[str, Any]:
        """The workflow as it is now.

        Raises:
            Gone: there is none of this name.
            BackendError: it cannot be asked for.
        """
        return self.wire.ask("GET", f"{self._workflows()}/{quote(name)}")

    def workflows(self, labels: str) -> list[dict[str, Any]]:
        """The workflows with these labels, the newest first.

        Raises:
            BackendError: they cannot be asked for.
        """
        items = self.wire.ask("GET", self._workflows(), query={"labelSelector": labels}).get("items") or []
        return sorted(items, key=lambda one: str(one["metadata"].get("creationTimestamp") or ""), reverse=True)

    def workflow_template(self, name: str) -> dict[str, Any]:
        """The template as it is now.

        Raises:
            Gone: there is none of this name.
            Denied: the user may not read it.
            BackendError: the API does not answer.
        """
        path = self._workflows().removesuffix("workflows") + "workflowtemplates"
        return self.wire.ask("GET", f"{path}/{quote(name)}")

    def shutdown(self, name: str, how: str) -> None:
        """End the workflow: "Stop" lets exit handlers run, "Terminate" does not; no error where there is none.

        Raises:
            BackendError: it could not be asked for.
        """
        body = {"spec": {"shutdown": how}}
        with contextlib.suppress(Gone):
            self.wire.ask("PATCH", f"{self._workflows()}/{quote(name)}", body=body, kind="application/merge-patch+json")

    def warnings(self, pod: str) -> list[dict[str, Any]]:
        """The warning events about a pod, oldest first.

        Raises:
            BackendError: they cannot be asked for.
        """
        query = {"fieldSelector": f"involvedObject.name={pod},type=Warning"}
        items = (
            self.wire.ask("GET", f"/api/v1/namespaces/{quote(self.namespace)}/events", query=query).get("items") or []
        )
        return sorted(items, key=lambda event: str(event.get("lastTimestamp") or ""))

    def pods(self, workflow: str) -> tuple[list[dict[str, Any]], str]:
        """The workflow's pods, and the place in time from which to watch them.

        Raises:
            BackendError: they cannot be asked for.
        """
        said = self.wire.ask("GET", self._pods(), query={"labelSelector": f"{WORKFLOW_LABEL}={workflow}"})
        return said.get("items") or [], str((said.get("metadata") or {}).get("resourceVersion") or "")

    def pod(self, name: str) -> dict[str, Any]:
        """A pod as it is now.

        Raises:
            Gone: there is none of this name.
            BackendError: it cannot be asked for.
        """
        return self.wire.ask("GET", f"{self._pods()}/{quote(name)}")

    def any_pod(self) -> dict[str, Any] | None:
        """A pod of any workflow in the namespace; None where there is none.

        Raises:
            BackendError: they cannot be asked for.
        """
        found = self.wire.ask("GET", self._pods(), query={"labelSelector": WORKFLOW_LABEL, "limit": "1"}).get("items")
        return found[0] if found else None

    def describes(self, field: str) -> bool:
        """Whether the API's own description of Argo's objects has a field of this name; everybody may read it.

        Raises:
            BackendUnavailable: the API does not answer.
        """
        try:
            return f'"{field}":'.encode() in b"".join(self.wire.open(DESCRIPTION, {}))
        except (Gone, Denied, TooEarly):
            return False

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
        return self.wire.open(self._pods(), query, silence=330.0)

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
        return self.wire.open(f"{self._pods()}/{quote(pod)}/log", query, silence=SILENCE)

    def _workflows(self) -> str:
        return WORKFLOWS.format(quote(self.namespace))

    def _pods(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace)}/pods"


ADVICE = "Check the network, the VPN, and that the context is the right one: kubectl config get-contexts."
LOADING = threading.Lock()
"""The kubernetes package hands one thread the certificate file that another is still writing: one at a time."""


def connect(settings: Settings) -> Client:
    """The cluster that the settings, KUBECONFIG, the pod that this is, or the usual kubeconfig name, in this order.

    Raises:
        BackendUnavailable: there is no configuration, or it names what is not there.
    """
    session = _Configured(settings)
    namespace = settings.namespace or session.loaded.namespace or "default"
    place = f"{session.loaded.context}, namespace {namespace}"
    return Client(
        wire=HttpTransport(session=session, place=place, advice=ADVICE), namespace=namespace, flags=session.loaded.flags
    )


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    """A configuration of the kubernetes package, its connections, and what it says of where it leads."""

    configuration: Any
    pool: Any
    context: str
    namespace: str
    flags: tuple[str, ...]


class _Configured:
    """What a kubeconfig or the pod's own files say; read again where what they said is refused."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        with LOADING:
            self.loaded = _load(settings)

    @property
    def host(self) -> str:
        return str(self.loaded.configuration.host)

    @property
    def pool(self) -> Any:
        return self.loaded.pool

    def headers(self) -> dict[str, str]:
        # Read each time: a token expires, and the configuration knows how to get the next one.
        with LOADING:
            said = self.loaded.configuration.auth_settings().values()
        return {one["key"]: one["value"] for one in said if one.get("in") == "header" and one.get("value")}

    def renew(self, pool: object) -> None:
        with LOADING:
            if self.loaded.pool is pool:  # else another thread has just done it
                self.loaded = _load(self._settings)


def _load(settings: Settings) -> _Loaded:
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
            f"no cluster is configured here: {reason(problem)}",
            hint=(
                "Name a kubeconfig (KUBECONFIG or --set kubeconfig=FILE) and a context (--set context=NAME); a "
                "notebook in a cluster needs a pod with a service account. Or run it here: -b local."
            ),
        ) from problem
    # A watch and a log each hold a connection; beyond the pool's size urllib3 warns on stderr.
    configuration.connection_pool_maxsize = 64
    return _Loaded(
        configuration=configuration,
        pool=client.ApiClient(configuration).rest_client.pool_manager,
        context=context,
        namespace=namespace,
        flags=flags,
    )


def _own_namespace() -> str:
    with contextlib.suppress(OSError), open(NAMESPACE_FILE, encoding="utf-8") as file:  # noqa: PTH123
        return file.read().strip()
    return ""
