"""A client for the pods, logs, events and ConfigMaps of one namespace, as plain objects, with our exceptions.

Rules:
- The kubernetes package reads the configuration, renews credentials and opens connections (TLS, proxy, client
  certificates). Requests use its connection pool directly, because its typed methods decode logs, lose a last line, and
  differ between releases.
- If the API refuses credentials, they are loaded once more, since the user may have logged in again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import urllib3

from uv_argo_magic.backends.kubernetes.rbac import POD_RULES, Rule
from uv_argo_magic.backends.kubernetes.transport import SILENCE, HttpTransport, reason
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from uv_argo_magic.backends.kubernetes.transport import Stream
    from uv_argo_magic.core.spec.run_spec import Settings

USUAL = "~/.kube/config"
"""The default kubeconfig."""
NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"


@frozen
class Client:
    """A client for one namespace of a cluster, as one user."""

    transport: HttpTransport
    namespace: str
    flags: tuple[str, ...] = ()
    """The options of kubectl that select this cluster and namespace."""

    @property
    def location(self) -> str:
        """Context and namespace, for messages."""
        return self.transport.location

    def request(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send any other request (GET, or POST with a body), and return the response.

        Raises:
            Gone, Denied, BackendError: as for every request.
        """
        return self.transport.request("POST" if body else "GET", path, body=body)

    def create_config_map(self, manifest: Mapping[str, Any]) -> None:
        """Create a ConfigMap.

        Raises:
            BackendError: the API refused it, or does not respond.
        """
        self.transport.request("POST", f"/api/v1/namespaces/{quote(self.namespace)}/configmaps", body=manifest)

    def events(self, pod: str) -> list[dict[str, Any]]:
        """The events of a pod, oldest first.

        Raises:
            BackendError: the events cannot be read.
        """
        query = {"fieldSelector": f"involvedObject.name={pod}"}
        path = f"/api/v1/namespaces/{quote(self.namespace)}/events"
        events = self.transport.request("GET", path, query=query).get("items") or []
        # The timestamps are whole seconds, but the name of an event contains nanoseconds.
        return sorted(events, key=lambda event: (str(event.get("lastTimestamp") or ""), str(event["metadata"]["name"])))

    def pods(self, selector: str, *, limit: int = 0) -> tuple[list[dict[str, Any]], str]:
        """The pods that match a label selector (at most `limit`, if not 0), and the version to watch from.

        Raises:
            BackendError: the pods cannot be read.
        """
        query = {"labelSelector": selector, **({"limit": str(limit)} if limit else {})}
        response = self.transport.request("GET", self._pods(), query=query)
        return response.get("items") or [], str((response.get("metadata") or {}).get("resourceVersion") or "")

    def pod(self, name: str) -> dict[str, Any]:
        """The current state of a pod.

        Raises:
            Gone: there is no pod with this name.
            BackendError: the pod cannot be read.
        """
        return self.transport.request("GET", f"{self._pods()}/{quote(name)}")

    def watch_pods(self, selector: str, version: str) -> Stream:
        """Changes of the pods that match a label selector: lines of JSON, `{"type": ..., "object": ...}`.

        Raises:
            Expired: the API no longer has `version`.
            BackendError: the pods cannot be watched.
        """
        query = {
            "labelSelector": selector,
            "watch": "1",
            "allowWatchBookmarks": "1",
            "resourceVersion": version,
            "timeoutSeconds": "300",
        }
        return self.transport.stream(self._pods(), query, silence=330.0)

    def log(
        self, pod: str, *, container: str = "main", since: str = "", follow: bool = True, silence: float = SILENCE
    ) -> Stream:
        """The log of one container of a pod, with a timestamp before each line, from `since` (RFC 3339) on.

        After `silence` seconds without a byte, the read times out.

        Raises:
            TooEarly: the container has not started.
            Gone: there is no such pod.
            BackendError: the log cannot be read.
        """
        query = {"container": container, "timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if since:
            query["sinceTime"] = since
        return self.transport.stream(f"{self._pods()}/{quote(pod)}/log", query, silence=silence)

    def _pods(self) -> str:
        return f"/api/v1/namespaces/{quote(self.namespace)}/pods"


ADVICE = "Check the network, the VPN, and the context: kubectl config get-contexts."
LOADING = threading.RLock()
"""Held while the configuration is used, since the kubernetes package is not thread-safe: a thread can get a certificate
file that another one is still writing."""
ClientT = TypeVar("ClientT", bound=Client)


def connect(settings: Settings, client: type[ClientT], *, rules: Iterable[Rule] = POD_RULES) -> ClientT:
    """A `client` for the cluster of the settings, of KUBECONFIG, of this pod, or of ~/.kube/config.

    `rules` are the permissions that its requests need, for the hint if one is denied.

    Raises:
        BackendUnavailable: there is no configuration, or it refers to something that does not exist.
    """
    session = _KubeSession(settings)
    namespace = settings.namespace or session.loaded.namespace or "default"
    location = f"{session.loaded.context}, namespace {namespace}"
    transport = HttpTransport(session=session, location=location, advice=ADVICE, rules=tuple(rules))
    return client(transport=transport, namespace=namespace, flags=session.loaded.flags)


@frozen
class _Loaded:
    """A loaded configuration of the kubernetes package, its connection pool, and the selected cluster."""

    configuration: Any
    pool: Any
    context: str
    namespace: str
    flags: tuple[str, ...]


class _KubeSession:
    """Connections from a kubeconfig or a pod's own files, which are read again if their credentials are refused."""

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
        # Read for each request, because the configuration replaces expired tokens.
        with LOADING:
            try:
                schemes = self.loaded.configuration.auth_settings().values()
            except KeyError:  # it iterates over os.environ, and another thread has just removed a variable
                schemes = self.loaded.configuration.auth_settings().values()
        return {
            scheme["key"]: scheme["value"] for scheme in schemes if scheme.get("in") == "header" and scheme.get("value")
        }

    def renew(self, pool: object) -> None:
        with LOADING:
            if self.loaded.pool is pool:  # otherwise another thread has just renewed them
                self.loaded = _load(self._settings)


def _load(settings: Settings) -> _Loaded:
    from kubernetes import client, config  # noqa: PLC0415 - 500 ms, and only a run on a cluster needs it

    configuration = client.Configuration()
    flags: tuple[str, ...]
    # The kubernetes package would read KUBECONFIG only once, when it is imported.
    path = os.path.expanduser(settings.kubeconfig or os.environ.get("KUBECONFIG", "") or USUAL)  # noqa: PTH111 - may be a list
    is_selected = settings.kubeconfig or settings.context or os.environ.get("KUBECONFIG")
    try:
        if not is_selected and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(configuration)
            context, namespace, flags = "this cluster", _own_namespace(), ()
        else:
            _check_exists(path)
            requested = settings.context or None
            config.load_kube_config(config_file=path, context=requested, client_configuration=configuration)
            contexts, current = config.list_kube_config_contexts(config_file=path)
            entry = next((entry for entry in contexts if entry["name"] == requested), current)
            context, namespace = str(entry["name"]), str((entry.get("context") or {}).get("namespace") or "")
            flags = (*(("--kubeconfig", path) if settings.kubeconfig else ()), "--context", context)
    except (config.ConfigException, OSError, TypeError, KeyError, ValueError) as problem:
        raise BackendUnavailable(
            f"no cluster is configured: {reason(problem)}",
            hint=(
                "Set a kubeconfig (KUBECONFIG or --set kubeconfig=FILE) and a context (--set context=NAME), or run the "
                "cell on this machine: -b local. A notebook in a cluster needs a pod with a service account."
            ),
        ) from problem
    if not configuration.verify_ssl:
        # The user chose this in the kubeconfig, and there would be a warning for each request.
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    # Each watch and each log holds a connection; urllib3 prints a warning if there are more than the pool's size.
    configuration.connection_pool_maxsize = 64
    return _Loaded(
        configuration=configuration,
        pool=client.ApiClient(configuration).rest_client.pool_manager,
        context=context,
        namespace=namespace,
        flags=flags,
    )


def _check_exists(path: str) -> None:
    """Raise an error that names a missing kubeconfig, unlike the kubernetes package. One file of a list is enough."""
    if not any(Path(file).is_file() for file in path.split(os.pathsep)):
        raise FileNotFoundError(f"kubeconfig {path} not found")


def _own_namespace() -> str:
    with contextlib.suppress(OSError), open(NAMESPACE_FILE, encoding="utf-8") as file:  # noqa: PTH123
        return file.read().strip()
    return ""
