"""Create clients for the Kubernetes API or for an Argo Server; equal settings share one connection."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from uv_argo_magic.backends.argo import client, server
from uv_argo_magic.backends.kubernetes.client import LOADING
from uv_argo_magic.core.spec.run_spec import Settings

if TYPE_CHECKING:
    from uv_argo_magic.backends.argo.client import ArgoClient


def connect(settings: Settings) -> ArgoClient:
    """The client for these settings; the process keeps it.

    Raises:
        BackendUnavailable: no cluster is configured, or the configuration cannot be used.
    """
    selection = replace(
        Settings(), kubeconfig=settings.kubeconfig, context=settings.context, namespace=settings.namespace,
        server=server.server_address(settings),
    )  # fmt: skip
    # A notebook can change these variables. Tokens are not among them, because they are read for each request.
    variables = tuple((name, value) for name, value in sorted(os.environ.items()) if name in VARIABLES)
    with LOADING:
        return _connect(selection, variables)


VARIABLES = frozenset(
    {"KUBECONFIG", "KUBERNETES_SERVICE_HOST", "ARGO_NAMESPACE", "ARGO_SECURE", "ARGO_BASE_HREF",
     "ARGO_INSECURE_SKIP_VERIFY"}
)  # fmt: skip
"""The environment variables that select a connection, besides ARGO_SERVER."""


@functools.lru_cache(maxsize=8)
def _connect(selection: Settings, variables: tuple[tuple[str, str], ...]) -> ArgoClient:
    del variables  # only a part of the cache key
    return server.connect(selection) if server.server_address(selection) else client.connect(selection)
