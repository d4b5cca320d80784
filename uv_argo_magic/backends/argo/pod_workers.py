"""The workers of sessions in pods: each session is a Workflow, whose container runs the worker (guest/session).

Rules:
- A worker listens on PORT of 127.0.0.1 in its pod, and clients use a port-forward. The token stays on this machine.
- The pod has the name of its workflow. If Argo creates the pod again, it is another session, so the workflow is ended.
- Before the workflow is created, a port-forward is tried, to find out whether the user has the permission.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from uv_argo_magic.backends.argo import diagnose
from uv_argo_magic.backends.argo.client import pods_of
from uv_argo_magic.backends.argo.follow import Follower, so_far
from uv_argo_magic.backends.kubernetes import diagnose as pods
from uv_argo_magic.backends.kubernetes import port_forward
from uv_argo_magic.backends.kubernetes.transport import Gone, TimedOut, TooEarly
from uv_argo_magic.backends.sessions import WorkerEnd
from uv_argo_magic.core.frozen import frozen
from uv_argo_magic.core.protocol.events import NOT_STARTED, NodePhase
from uv_argo_magic.core.spec.run_spec import Settings
from uv_argo_magic.errors import BackendError, BackendUnavailable, SpecError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from uv_argo_magic.backends.argo.client import ArgoClient
    from uv_argo_magic.backends.base import Item
    from uv_argo_magic.backends.sessions import WorkerOptions
    from uv_argo_magic.core.spec.run_spec import RunSpec

PORT = 8471
REPORT = "/dev/termination-log"
"""Kubernetes copies the content of this file into the status of the container."""
TERMINATED = "terminated"
"""The reason reported by a worker that received SIGTERM (guest/session/worker.py)."""
OUT_OF_MEMORY = "memory ran out"
"""The reason reported by a worker whose interpreter was killed because of its memory."""
MORE_MEMORY = "request more with --memory SIZE, or process the data in parts"
REPLACED = "its pod was lost, and Argo created another one"
PROBE = "uv-argo-none"
"""The name of a pod that does not exist: a port-forward to it fails with "denied" or "not found"."""
FIRST, FACTOR, LAST = 0.1, 1.5, 2.0
"""Seconds between two attempts to reach a starting worker: initial value, growth factor and maximum."""
EAGER = 3.0
"""Seconds after which the time between two attempts starts to grow."""


@frozen
class Address:
    """The workflow of a worker, and the settings that select its cluster."""

    workflow: str
    namespace: str
    kubeconfig: str = ""
    context: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read the result of `str`."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        """As JSON, for the registry of sessions."""
        return json.dumps(asdict(self))

    @property
    def settings(self) -> Settings:
        """The settings for a connection to the cluster."""
        return replace(Settings(), namespace=self.namespace, kubeconfig=self.kubeconfig, context=self.context)


def check(client: ArgoClient, spec: RunSpec) -> None:
    """Check that the spec can run as a session, and that the user can reach it.

    Raises:
        SpecError: a setting does not allow sessions.
        Denied: the user is not allowed to forward ports.
        BackendUnavailable: the API does not respond, or a proxy does not pass websockets.
    """
    if spec.settings.separate_install:
        raise SpecError(
            "a session installs packages while it runs, which shape=init and index_secrets do not allow",
            hint="Use --set shape=script or --set shape=runtime, or run the cell without --session.",
        )
    if not client.sees_pods:
        raise SpecError(
            "sessions need the Kubernetes API: an Argo Server does not forward ports",
            hint="Use a kubeconfig (--set context=NAME), or run the cell without --session.",
        )
    probe(client)


def probe(client: ArgoClient) -> None:
    """Check that the user can reach sessions.

    Raises:
        Denied: the user is not allowed to forward ports.
        BackendUnavailable: the API does not respond, or a proxy does not pass websockets.
    """
    with contextlib.suppress(TooEarly):
        port_forward.connect(client.transport, client.namespace, PROBE, PORT).close()


def options(options: WorkerOptions) -> str:
    """The value of UV_ARGO_SESSION for the worker."""
    return json.dumps(
        {
            "name": options.name, "port": PORT, "token": options.token_digest, "keep": options.keep,
            "max_age": options.max_age, "bound": options.is_bound, "report": REPORT,
        }
    )  # fmt: skip


def connect(client: ArgoClient, address: Address) -> socket.socket:
    """A connection to the worker.

    Raises:
        OSError: the worker cannot be reached now.
        BackendError: the API does not respond, or denies the request.
    """
    try:
        return port_forward.connect(client.transport, client.namespace, address.workflow, PORT)
    except TooEarly as problem:
        raise ConnectionRefusedError(str(problem)) from problem
    except TimedOut as problem:
        raise TimeoutError(str(problem)) from problem


def starting(
    client: ArgoClient,
    address: Address,
    *,
    settings: Settings,
    is_ready: Callable[[], bool],
    stopping: threading.Event,
) -> Iterator[NodePhase]:
    """The phases of a new worker's pod, until the worker `is_ready`, cannot start, or has to stop.

    The last phase is Running, with whether the pod has a GPU, or explains why the worker did not start.

    Raises:
        BackendError: the workflow cannot be followed.
    """
    follower = Follower(client, address.workflow, "", stopping=stopping, start_timeout=settings.start_timeout)
    seen: queue.SimpleQueue[NodePhase | BaseException | None] = queue.SimpleQueue()

    def follow() -> None:
        try:
            for item in follower.items():
                if isinstance(item, NodePhase):
                    seen.put(item)
            seen.put(None)
        except BaseException as problem:  # noqa: BLE001 - raised again by the reader
            seen.put(problem)

    threading.Thread(target=follow, name="uv-argo-session-start", daemon=True).start()
    try:
        yield from _until_ready(follower, seen, is_ready, stopping, settings.gpu_resource)
    finally:
        follower.close()


def _until_ready(
    follower: Follower,
    seen: queue.SimpleQueue[NodePhase | BaseException | None],
    is_ready: Callable[[], bool],
    stopping: threading.Event,
    gpu_resource: str,
) -> Iterator[NodePhase]:
    last = NodePhase(phase="Pending", t=time.time())
    pause, first_try = FIRST, 0.0
    while not stopping.is_set():
        with contextlib.suppress(queue.Empty):
            item = seen.get(timeout=pause)
            if isinstance(item, BaseException):
                raise item
            if item is None:
                message = last.message or "its worker ended before the first cell"
                yield replace(last, phase=NOT_STARTED, message=message)
                return
            last = item
            yield item
        if follower.pod is None or not pods.is_starting(follower.pod):
            continue
        first_try = first_try or time.monotonic()
        if is_ready():
            has_gpu = pods.has_gpu(follower.pod, gpu_resource)
            yield NodePhase(phase="Running", t=time.time(), uid=pods.uid_of(follower.pod), has_gpu=has_gpu)
            return
        pause = FIRST if pods.started(follower.pod) else next_pause(pause, first_try)


def next_pause(pause: float, first_try: float) -> float:
    """Seconds until the next attempt; `first_try` is when the first one began (time.monotonic())."""
    return min(LAST, pause * FACTOR) if time.monotonic() - first_try > EAGER else pause


def worker_end(client: ArgoClient, address: Address, instance: str = "") -> WorkerEnd | None:
    """How the worker ended; None while it runs. `instance` is the uid of its pod, if known.

    Raises:
        BackendError: the API does not respond, or denies the request.
    """
    try:
        workflow = client.workflow(address.workflow)
    except Gone:
        return WorkerEnd(reason="its workflow was deleted, by a user or by a clean-up", is_known=False)
    found, _ = client.pods(pods_of(address.workflow))
    pod: dict[str, Any] | None = max(found, key=pods.created, default=None)
    if pod is not None and instance not in ("", pods.uid_of(pod)):
        return WorkerEnd(reason=REPLACED, is_replaced=True)
    is_over = diagnose.is_final(workflow)
    if pod is None:
        is_over = is_over or diagnose.has_run(workflow)
    else:
        is_over = is_over or pods.terminated(pod) or pods.is_deleting(pod)
    if not is_over:
        return None
    events: list[dict[str, Any]] = []
    if pod is None or pods.is_deleting(pod):
        with contextlib.suppress(BackendError):
            events = client.events(address.workflow)
    cause, advice = diagnose.session_end(pod, workflow, events)
    report = pods.termination_message(pod) if pod else ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        own_reason = str(json.loads(report)["reason"])
        # A worker that received SIGTERM does not know the cause.
        if own_reason != TERMINATED:
            cause, advice = _with_limit(own_reason, pod), MORE_MEMORY if own_reason == OUT_OF_MEMORY else ""
        return WorkerEnd(reason=cause or own_reason, advice=advice, report=report)
    is_known = cause not in ("", pods.DELETED)
    return WorkerEnd(reason=cause or "its worker has ended", advice=advice, is_known=is_known)


def _with_limit(reason: str, pod: dict[str, Any] | None) -> str:
    """The reason, with the limit of the pod's memory if that was exceeded."""
    limit = pods.memory_limit(pod) if pod and reason == OUT_OF_MEMORY else ""
    return f"{reason} (limit: {limit})" if limit else reason


def log(client: ArgoClient, address: Address, *, follow: bool) -> Iterator[Item]:
    """The log of the worker's pod, as far as the node keeps it, and phases; with `follow`, to its end.

    Raises:
        BackendError: the log cannot be read.
    """
    if follow:
        return Follower(client, address.workflow, "").items()
    return so_far(client, address.workflow)


def end(client: ArgoClient, address: Address) -> None:
    """Stop the workflow; no error if it does not exist.

    Raises:
        BackendUnavailable: the API does not respond, or denies the request.
    """
    try:
        client.shutdown(address.workflow, "Stop")
    except BackendUnavailable:
        raise
    except BackendError as problem:
        raise BackendUnavailable(str(problem), hint=problem.hint) from problem
